//! Settings and start states out of their range: refused by name or without effect, never a wrong number.

use attractor::adapt::{Adapted, Adapter, LastLayer, LowRank};
use attractor::kernel::{Relu, Scalar, Sigmoid};
use attractor::learn::{
    Adam, Cosine, CrossEntropy, Descent, Loss, MeanSquared, Method, Objective, Optimizer, Sgd, Trainer,
    UpdateError, clip,
};
use attractor::network::{Flat, NoMemory, Takes};
use attractor::quantized::Bf16Network;
use attractor::simd::Backend;
use attractor::solve::{MapError, Solver};
use attractor::{
    Acceleration, Dense, Feedforward, Injection, Network, Rule, Setting, SolveError, Solved, State, Stop,
    Tied, Trace, Workspace, fnn,
};
use nalgebra::SMatrix;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

#[test]
fn label_smoothing_is_0_to_1() {
    macro_rules! check {
        ($t:ty) => {
            let logits = SMatrix::<$t, 2, 3>::from_row_slice(&[1.0, 2.0, -1.0, 0.0, 20.0, -20.0]);
            for (smoothing, fine) in [
                (0.0, true),
                (-0.0, true),
                (<$t>::MIN_POSITIVE, true),
                (0.1, true),
                (1.0, true),
                (-<$t>::MIN_POSITIVE, false),
                (-0.5, false),
                (1.0 + <$t>::EPSILON, false),
                (2.0, false),
                (<$t>::NAN, false),
                (<$t>::INFINITY, false),
                (<$t>::NEG_INFINITY, false),
            ] {
                let mut gradient = SMatrix::<$t, 2, 3>::repeat(7.0);
                let loss = CrossEntropy::smoothed(smoothing).evaluate(&logits, &[0, 2], &mut gradient);
                assert_eq!(loss.is_ok(), fine, "{smoothing}: {loss:?}");
                match loss {
                    Ok(loss) => assert!(loss.is_finite() && loss >= 0.0, "{smoothing}: {loss}"),
                    Err(error) => {
                        assert!(error.to_string().contains("0 to 1"), "{error}");
                        assert!(gradient.iter().all(|slope| *slope == 7.0), "{gradient}");
                    }
                }
            }
        };
    }
    check!(f32);
    check!(f64);
}

#[test]
fn a_cosine_ends_at_its_steps() {
    let counts = [0_u32, 1, 2, 7, 100, 150, u32::MAX];
    for (warm_up, steps) in counts.into_iter().flat_map(|a| counts.map(|b| (a, b))) {
        let schedule = Cosine { start: 0.25_f64, peak: 1.0, end: 0.125, warm_up, steps };
        for step in counts.into_iter().flat_map(|n| [n.saturating_sub(1), n, n.saturating_add(1)]) {
            let (rate, pi) = (schedule.rate(step), std::f64::consts::PI);
            let part = |at: u32, of: u32| (1.0 - (pi * f64::from(at) / f64::from(of)).cos()) / 2.0;
            let wanted = if step >= steps {
                0.125
            } else if step < warm_up {
                0.25 + 0.75 * part(step, warm_up)
            } else {
                1.0 - 0.875 * part(step - warm_up, steps - warm_up)
            };
            assert!((rate - wanted).abs() < 1e-12, "{schedule:?} at {step}: {rate}, wanted {wanted}");
        }
    }
}

/// Every setting of an optimizer: what is in its range is taken, what is not is refused with the range, and changes nothing.
#[test]
fn settings_of_optimizers_have_ranges() {
    type Net = fnn![1, 1; feedback = Feedforward];
    const GRADIENT: [f32; 2] = [0.5, -0.25];
    let wrong = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::MIN_POSITIVE];
    type Update<'a> = &'a dyn Fn(f32, &mut [f32]) -> Result<(), UpdateError>;
    let check = |range: &'static str, fine: &[f32], more: &[f32], update: Update<'_>| {
        for setting in fine.iter().copied() {
            let mut params = [1.0, 2.0];
            assert_eq!(update(setting, &mut params), Ok(()), "{range}: {setting}");
            assert!(params.iter().all(|w| w.is_finite()), "{range}: {setting}");
        }
        for setting in wrong.into_iter().chain(more.iter().copied()) {
            let mut params = [1.0, 2.0];
            let error = update(setting, &mut params).expect_err(range);
            let UpdateError::Setting(Setting { rule: &Rule { name, range: found }, value }) = error else {
                panic!("{error}")
            };
            assert_eq!(range, format!("{name} is {found}"));
            assert!(value == setting || value.is_nan() && setting.is_nan(), "{value}, {setting}");
            let text = error.to_string();
            assert!([name, &format!("{value:?}"), found].iter().all(|part| text.contains(part)), "{text}");
            assert_eq!(params, [1.0, 2.0], "{range}: {setting}");
        }
    };
    // Of `f64` the nearest `f32` is named, which is 0 only if that is.
    for (rate, text) in [(-1e-300, "-1.1754944e-38"), (1e300, "inf"), (-0.1, "-0.1"), (f64::NAN, "NaN")] {
        let error = Sgd::<NoMemory<f64>>::plain().update(&mut [1.0], &[1.0], rate).expect_err(text);
        assert_eq!(error.to_string(), format!("`rate` is {text}, its range is 0 to 1024"));
    }
    let part = [0.0, 0.5, 1.0 - f32::EPSILON];
    check("rate is 0 to 1024", &[0.0, 0.1, 1024.0], &[1024.1], &|rate, params| {
        Sgd::<NoMemory<f32>>::plain().update(params, &GRADIENT, rate)
    });
    check("rate is 0 to 1024", &[0.0, 0.1, 1024.0], &[1024.1], &|rate, params| {
        Adam::<Net>::new().update(params, &GRADIENT, rate)
    });
    check("decay is 0 to 1 / rate", &[0.0, 2.0], &[2.1], &|decay, params| {
        Adam::<Net>::new().decay(decay).update(params, &GRADIENT, 0.5)
    });
    check("momentum is 0 or more, less than 1", &part, &[1.0], &|momentum, params| {
        Sgd::<Net>::with_momentum(momentum).update(params, &GRADIENT, 0.5)
    });
    check("first_decay is 0 or more, less than 1", &part, &[1.0], &|decay, params| {
        let mut adam = Adam::<Net>::new();
        adam.first_decay = decay;
        adam.update(params, &GRADIENT, 0.5)
    });
    check("second_decay is 0 or more, less than 1", &part, &[1.0], &|decay, params| {
        let mut adam = Adam::<Net>::new();
        adam.second_decay = decay;
        adam.update(params, &GRADIENT, 0.5)
    });
    check("epsilon is more than 0, finite", &[f32::MIN_POSITIVE, 1.0], &[0.0], &|epsilon, params| {
        let mut adam = Adam::<Net>::new();
        adam.epsilon = epsilon;
        adam.update(params, &GRADIENT, 0.5)
    });
    for norm in [f32::NAN, 0.0, -1.0] {
        let mut gradient = GRADIENT;
        let error = clip(&mut gradient, norm).expect_err("out of range");
        assert_eq!(error.to_string(), format!("`clip` is {norm:?}, its range is more than 0"));
        assert_eq!(gradient, GRADIENT);
    }
}

/// Stops out of their range, and what is said of them.
const STOPS: [(Stop, &str); 10] = [
    (Stop::residual(f32::NAN), "`Stop::residual` is NaN, its range is 0 or more, finite"),
    (Stop::residual(f32::INFINITY), "`Stop::residual` is inf, its range is 0 or more, finite"),
    (
        Stop::residual(-f32::MIN_POSITIVE),
        "`Stop::residual` is -1.1754944e-38, its range is 0 or more, finite",
    ),
    (
        Stop::residual(f32::NEG_INFINITY).or_relative(1.0),
        "`Stop::residual` is -inf, its range is 0 or more, finite",
    ),
    (Stop::relative(f32::NAN), "`Stop::relative` is NaN, its range is 0 or more, finite"),
    (Stop::relative(-1e-3), "`Stop::relative` is -0.001, its range is 0 or more, finite"),
    (
        Stop::residual(0.5).or_relative(f32::INFINITY),
        "`Stop::relative` is inf, its range is 0 or more, finite",
    ),
    (Stop::residual(0.5).at_most(0), "`Stop::at_most` is 0.0, its range is 1 or more"),
    (Stop::relative(0.5).at_most(0), "`Stop::at_most` is 0.0, its range is 1 or more"),
    (Stop::after(0), "`Stop::after` is 0.0, its range is 1 or more"),
];

/// Whatever takes a `Stop` or a `Method` refuses one out of its range by name, and changes nothing.
#[test]
fn stops_have_ranges() {
    type Net = fnn![2, 3, 2];
    let net: Net = drawn(&mut SmallRng::seed_from_u64(4), 0.3);
    let half = Bf16Network::new(&net).unwrap();
    let (x, y) = ([0.5, -1.0], [1.0, 0.0]);
    let good = Objective::new(MeanSquared);
    let mut started = State::<Net>::ZERO;
    started.as_mut_slice().fill(0.25);
    for (stop, text) in STOPS {
        let solve = |how: &str, solve: &mut dyn FnMut(&mut State<Net>) -> Result<Solved, SolveError>| {
            let mut state = started.clone();
            let error = solve(&mut state).expect_err(how);
            assert_eq!((error.to_string().as_str(), state), (text, started.clone()), "{how}");
        };
        solve("solve", &mut |state| net.solve(&x, state, stop));
        solve("specialized", &mut |state| net.on(Backend::best()).specialized().solve(&x, state, stop));
        solve("traced", &mut |state| net.solve_traced(&x, state, stop, &mut Trace::<f32, 4>::new()));
        solve("accelerated", &mut |state| {
            net.solve_accelerated(&x, state, stop, &mut Acceleration::<Net, 1>::new())
        });
        solve("halves", &mut |state| half.solve(&x, state, stop));
        for method in [Method::Implicit(stop), Method::Literal(stop)] {
            solve("adjoint", &mut |deltas| net.adjoint(method, &started, &SMatrix::repeat(1.0), deltas));
        }
        let (map, solver) = (net.on(Backend::best()), Solver::anderson(2));
        let mut injection = Injection::<Net>::ZERO;
        net.inject(&x, &mut injection).unwrap();
        let mut h = [0.25; 5];
        let error =
            solver.solve(&map.map(&injection), &mut h, stop, &mut [0.0; 100]).expect_err("a map is refused");
        assert_eq!((error.to_string().as_str(), h), (text, [0.25; 5]));

        for (objective, of) in [
            (good.solve(stop), "solve"),
            (good.method(Method::Implicit(stop)), "adjoint"),
            (good.method(Method::Literal(stop)), "adjoint"),
        ] {
            refuses(&net, objective, &format!("{of}: {text}"));
        }
    }
    let text = "adjoint: `Method::Truncated` is 0.0, its range is 1 or more";
    refuses(&net, good.method(Method::Truncated(0)), text);
    // What is next to it is fine.
    for stop in
        [Stop::residual(0.0).at_most(1), Stop::after(1), Stop::relative(0.0), Stop::residual(f32::MAX)]
    {
        assert_eq!(stop.check(), Ok(()));
        let solved = net.solve(&x, &mut Net::state(), stop);
        assert!(!matches!(solved, Err(SolveError::Setting(_))), "{solved:?}");
    }
    let objective = good.method(Method::Truncated(1));
    let (mut workspace, mut gradient) = (Workspace::ZERO, Net::ZERO);
    assert!(net.gradient(&objective, &x, &y, &mut workspace, &mut gradient).is_ok());
}

/// A network of two layers.
type Two = fnn![2, 3, 2];

/// Every way to learn refuses an objective, and changes nothing.
fn refuses(net: &Two, objective: Objective<MeanSquared>, text: &str) {
    type Net = Two;
    let (x, y) = ([0.5, -1.0], [1.0, 0.0]);
    let mut workspace = Workspace::<Net>::ZERO;
    workspace.state.as_mut_slice().fill(0.25);
    let (mut gradient, mut other) = (Net::ZERO, net.clone());
    let on = net.on(Backend::best());
    let mut adapted = Adapted::<Net, LowRank<1>>::new(net, 1);
    let before = adapted.params().flat().to_vec();
    let mut small = Adapted::<Net, LowRank<1>>::gradient_zero();
    for error in [
        net.gradient(&objective, &x, &y, &mut workspace, &mut gradient).err(),
        on.specialized().gradient(&objective, &x, &y, &mut workspace, &mut gradient).err(),
        other.descend(&objective, &x, &y, &mut workspace, 0.5).err(),
        adapted.gradient(&objective, &x, &y, &mut workspace, &mut small).err(),
        adapted.descend(&objective, &x, &y, &mut workspace, 0.5).err(),
    ] {
        assert_eq!(error.map(|error| error.to_string()).as_deref(), Some(text));
        assert!(workspace.state.as_slice().iter().all(|h| *h == 0.25), "{text}");
    }
    assert_eq!((&gradient, &other), (&Net::ZERO, net), "{text}");
    assert_eq!(adapted.params().flat(), before);
    // The feedback is far too strong: not even that is held.
    let mut strong = net.clone();
    strong.layer_mut::<1>().u.fill(10.0);
    let mut trainer: Trainer<Net, _, _> = Trainer::new(strong.clone(), Sgd::plain(), objective);
    let mut descent: Descent<Net, _> = Descent::new(strong.clone(), objective, 0.5);
    for error in [trainer.step(&x, &y), trainer.step_specialized(&x, &y), descent.step(&x, &y)] {
        assert_eq!(error.expect_err(text).to_string(), text);
    }
    assert_eq!((&trainer.network, &descent.network), (&strong, &strong));
}

/// A trainer refuses its rate and its clip before a network is held or a batch is looked at.
#[test]
fn rates_and_clips_have_ranges() {
    type Net = fnn![2, 3, 2];
    let mut net: Net = drawn(&mut SmallRng::seed_from_u64(5), 0.3);
    net.layer_mut::<1>().u.fill(10.0);
    for (rate, clip, text) in [
        (f32::NAN, None, "update: `rate` is NaN, its range is 0 to 1024"),
        (-0.5, None, "update: `rate` is -0.5, its range is 0 to 1024"),
        (2000.0, Some(1.0), "update: `rate` is 2000.0, its range is 0 to 1024"),
        (0.5, Some(f32::NAN), "update: `clip` is NaN, its range is more than 0"),
        (0.5, Some(0.0), "update: `clip` is 0.0, its range is more than 0"),
        (0.5, Some(-1.0), "update: `clip` is -1.0, its range is more than 0"),
    ] {
        let mut trainer: Trainer<Net, _, _> =
            Trainer::new(net.clone(), Sgd::plain(), Objective::new(MeanSquared));
        (trainer.rate, trainer.clip) = (rate, clip);
        let error = trainer.step(&[0.5, -1.0], &[1.0, 0.0]).expect_err(text);
        assert_eq!((error.to_string().as_str(), &trainer.network), (text, &net));
        let mut descent: Descent<Net, _> = Descent::new(net.clone(), Objective::new(MeanSquared), rate);
        assert_eq!(descent.step(&[0.5, -1.0], &[1.0, 0.0]).is_err(), clip.is_none() || rate > 1.0);
    }
}

/// Settings of solvers and accelerations.
#[test]
fn dampings_have_ranges() {
    type Net = fnn![2, 3, 2];
    let net: Net = drawn(&mut SmallRng::seed_from_u64(6), 0.3);
    let (x, stop) = ([0.5, -1.0], Stop::residual(1e-5));
    let wrong = [f32::NAN, 0.0, -0.5, 1.0 + f32::EPSILON, f32::INFINITY];
    for a in [f32::MIN_POSITIVE, 0.5, 1.0].into_iter().chain(wrong) {
        let text = format!("`damping` is {a:?}, its range is more than 0, at most 1");
        let fine = a > 0.0 && a <= 1.0;
        macro_rules! window {
            ($($window:literal)*) => {$(
                let mut state = Net::state();
                state.as_mut_slice().fill(0.25);
                let mut how = Acceleration::<Net, $window>::new().damping(a);
                let solved = net.solve_accelerated(&x, &mut state, stop, &mut how);
                match solved {
                    Err(SolveError::Setting(setting)) => {
                        assert_eq!(format!("{setting}"), text.replace("damping", "Acceleration::damping"));
                        assert!(!fine && state.as_slice().iter().all(|h| *h == 0.25));
                    }
                    _ => assert!(fine, "{solved:?}"),
                }
            )*};
        }
        window!(0 1 3);
        for solver in [Solver::damped(a), Solver::anderson(2).damping(a), Solver::broyden(2).damping(a)] {
            let mut injection = Injection::<Net>::ZERO;
            net.inject(&x, &mut injection).unwrap();
            let map = net.on(Backend::best());
            let solved = solver.solve(&map.map(&injection), &mut [0.25; 5], stop, &mut [0.0; 100]);
            match solved {
                Err(MapError::Setting(setting)) => {
                    assert_eq!(format!("{setting}"), text.replace("damping", "Solver::damping"));
                    assert!(!fine);
                }
                _ => assert!(fine, "{solved:?}"),
            }
        }
    }
    for (factor, fine) in [(0.0, true), (0.9, true), (5.0, true), (f32::NAN, false), (-0.1, false)] {
        let mut how = Acceleration::<Net, 1>::new().safeguard(factor);
        let solved = net.solve_accelerated(&x, &mut Net::state(), stop, &mut how);
        assert_eq!(solved.is_ok(), fine, "{factor}: {solved:?}");
    }
}

/// Feedback is multiplied as a whole or not at all.
#[test]
fn feedback_is_scaled_by_finite_numbers() {
    let mut net = <fnn![2, 3, 1]>::ZERO;
    net.params_mut().iter_mut().enumerate().for_each(|(i, w)| *w = i as f32 - 5.0);
    let before = net.clone();
    for factor in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        assert!(net.scale_feedback(factor).is_err() && net == before, "{factor}");
    }
    net.scale_feedback(-0.5).expect("finite");
    assert_eq!(net.layer::<1>().u, before.layer::<1>().u * -0.5);
    assert_eq!(net.layer::<1>().w, before.layer::<1>().w);
    net.layer_mut::<1>().u[(2, 0)] = f32::NAN;
    assert!(net.scale_feedback(0.5).is_err());
}

/// A network of small weights.
fn drawn<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(random: &mut SmallRng, size: f64) -> Network<A> {
    let mut net = Network::ZERO;
    for weight in net.params_mut() {
        *weight = T::from_f64(random.random_range(-size..size));
    }
    net
}

/// A solve that succeeds leaves numbers, whatever the state held before and whatever the damping; one that does not either, or zeros.
fn starts<A: Takes<I, Scalar = f32>, const I: usize>(zero: &Network<A>) {
    let random = &mut SmallRng::seed_from_u64(3);
    let mut net = zero.clone();
    net.params_mut().iter_mut().for_each(|weight| *weight = random.random_range(-0.4..0.4));
    let tolerances = [
        Stop::residual(1e-4),
        Stop::residual(1e-4).at_most(2),
        Stop::relative(1e-4),
        Stop::residual(0.0).at_most(2),
        Stop::after(1),
        Stop::after(4),
    ];
    let mut good = 0;
    let units = State::<Network<A>>::ZERO.as_slice().len();
    for (place, hostile, tolerance) in (0..units).flat_map(|place| {
        [f32::NAN, f32::INFINITY, -f32::MAX, 0.5]
            .into_iter()
            .flat_map(move |hostile| tolerances.map(|tolerance| (place, hostile, tolerance)))
    }) {
        let mut from = State::ZERO;
        from.as_mut_slice()[place] = hostile;
        let mut judge = |what: &str, result: Result<_, SolveError>, state: &[f32]| {
            let place = format!("{what} of {zero:?} from {hostile} at {place}, {tolerance:?}: {result:?}");
            assert!(state.iter().all(|h| h.is_finite()), "{place}, {state:?}");
            if matches!(result, Err(SolveError::NotFinite(_))) {
                assert!(state.iter().all(|h| *h == 0.0), "{place}, {state:?}");
            } else {
                good += usize::from(hostile.is_nan());
            }
        };
        let mut state = from.clone();
        judge("solve", net.solve(&[0.5; I], &mut state, tolerance), state.as_slice());
        let mut state = from.clone();
        let solved = net.solve_traced(&[0.5; I], &mut state, tolerance, &mut Trace::<f32, 8>::new());
        judge("solve_traced", solved, state.as_slice());
        for damping in [1.0, 0.5, f32::MIN_POSITIVE] {
            macro_rules! window {
                ($($window:literal)*) => {$(
                    let mut state = from.clone();
                    let mut how = Acceleration::<_, $window>::new().damping(damping);
                    let solved = net.solve_accelerated(&[0.5; I], &mut state, tolerance, &mut how);
                    judge(&format!("damping {damping}, window {}", $window), solved, state.as_slice());
                )*};
            }
            window!(0 2);
        }
    }
    assert!(good > 0, "what the first layer held is read by no layer");
}

#[test]
fn what_a_state_held_does_not_stay() {
    starts(&<fnn![2, 3]>::ZERO);
    starts(&<fnn![2, 3, 2]>::ZERO);
    starts(&<fnn![2, 2, 3, 2; feedback = Dense, hidden = Relu]>::ZERO);
}

/// Rates no scalar can hold to, and rates next to 1.
const RATES: [f64; 15] = [
    0.0,
    1e-45,
    1e-40,
    1.1754943508e-38,
    1.2e-38,
    8e-38,
    1e-37,
    1e-36,
    1e-30,
    1e-8,
    1e-3,
    0.5,
    0.999,
    0.999_999,
    0.999_999_94,
];

/// An error leaves every weight; a success holds, and leaves numbers.
fn limits<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(_: &Network<A>) {
    let random = &mut SmallRng::seed_from_u64(1);
    let (mut held, mut refused) = (0, 0);
    for size in [1e-20, 1e-3, 0.5, 1.0, 30.0, 1e10, 1e30] {
        for bias in [0.0, 1.0, 1e30, 3.3e38] {
            for rate in RATES {
                let mut net: Network<A> = drawn(random, size);
                if bias > 0.0
                    && let Some(last) = net.params_mut().last_mut()
                {
                    *last = T::from_f64(bias);
                }
                let before = net.clone();
                let what = format!("{net:?}, weights of {size:e}, a bias of {bias:e}, rate {rate:e}");
                match net.limit_rate(T::from_f64(rate)) {
                    Ok(certificate) => {
                        assert!(certificate.rate() <= T::from_f64(rate), "{what}: {certificate:?}");
                        assert!(
                            net.params().iter().all(|weight| weight.is_finite()),
                            "{what}: {:?}",
                            net.params()
                        );
                        certificate.verify(&net).unwrap();
                        held += 1;
                    }
                    Err(error) => {
                        assert_eq!(net.params(), before.params(), "{what}: {error}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(held > 100, "{held} {refused}");
}

#[test]
fn a_rate_that_cannot_be_held_destroys_nothing() {
    limits(&<fnn![2, 3, 2; feedback = Tied<50>]>::ZERO);
    limits(&<fnn![2, 3, 4, 2; feedback = Tied<100>, hidden = Relu]>::ZERO);
    limits(&<fnn![2, 3, 2]>::ZERO);
    limits(&<fnn![2, 3, 4, 2; feedback = Dense, hidden = Sigmoid, scalar = f64]>::ZERO);
}

/// The same of adapters.
fn limits_adapter<A: Adapter<Small>>() {
    let random = &mut SmallRng::seed_from_u64(2);
    let mut held = 0;
    for (base_size, size) in
        [(0.0, 1.0), (0.0, 1e20), (1e-22, 1.0), (0.2, 1.0), (0.2, 1e-20), (0.2, 1e10), (1e20, 1e20)]
    {
        for rate in RATES {
            let mut net = Small::ZERO;
            for weight in net.params_mut() {
                *weight = base_size * random.random_range(-1.0..1.0);
            }
            let mut adapted = Adapted::<Small, A>::new(&net, 1);
            for param in adapted.params_mut().flat_mut() {
                *param = size * random.random_range(-1.0..1.0);
            }
            let before = adapted.params().flat().to_vec();
            let what = format!("{base_size:e}, {size:e}, rate {rate:e}");
            match adapted.limit_rate(rate as f32) {
                Ok(certificate) => {
                    assert!(certificate.rate() <= rate as f32, "{what}: {certificate:?}");
                    assert!(adapted.params().flat().iter().all(|param| param.is_finite()), "{what}");
                    adapted.verify(&certificate).unwrap();
                    held += 1;
                }
                Err(error) => assert_eq!(adapted.params().flat(), before, "{what}: {error}"),
            }
        }
    }
    assert!(held > 20, "{held}");
}

type Small = fnn![2, 3, 3, 2];

#[test]
fn an_adapter_that_cannot_be_held_is_as_it_was() {
    limits_adapter::<LowRank<2>>();
    limits_adapter::<LastLayer>();
}
