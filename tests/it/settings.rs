//! Settings and start states out of their range: refused by name or without effect, never a wrong number.

use attractor::adapt::{Adapted, Adapter, LastLayer, LowRank};
use attractor::kernel::{Relu, Scalar, Sigmoid};
use attractor::learn::{Adam, Cosine, CrossEntropy, Loss, Optimizer, Sgd, UpdateError, clip};
use attractor::network::{Flat, NoMemory, Takes};
use attractor::{Acceleration, Dense, Feedforward, Network, SolveError, State, Stop, Tied, Trace, fnn};
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
            assert!(error == UpdateError::Setting(range) && error.to_string().contains(range));
            assert_eq!(params, [1.0, 2.0], "{range}: {setting}");
        }
    };
    let part = [0.0, 0.5, 1.0 - f32::EPSILON];
    check("rate is 0 to 1024", &[0.0, 0.1, 1024.0], &[1024.1], &|rate, params| {
        Sgd::<NoMemory<f32>>::plain().update(params, &GRADIENT, rate)
    });
    check("rate is 0 to 1024", &[0.0, 0.1, 1024.0], &[1024.1], &|rate, params| {
        Adam::<Net>::new().update(params, &GRADIENT, rate)
    });
    check("decay is at least 0, and decay times rate at most 1", &[0.0, 2.0], &[2.1], &|decay, params| {
        Adam::<Net>::new().decay(decay).update(params, &GRADIENT, 0.5)
    });
    check("momentum is at least 0 and less than 1", &part, &[1.0], &|momentum, params| {
        Sgd::<Net>::with_momentum(momentum).update(params, &GRADIENT, 0.5)
    });
    check("first_decay is at least 0 and less than 1", &part, &[1.0], &|decay, params| {
        let mut adam = Adam::<Net>::new();
        adam.first_decay = decay;
        adam.update(params, &GRADIENT, 0.5)
    });
    check("second_decay is at least 0 and less than 1", &part, &[1.0], &|decay, params| {
        let mut adam = Adam::<Net>::new();
        adam.second_decay = decay;
        adam.update(params, &GRADIENT, 0.5)
    });
    check("epsilon is more than 0 and finite", &[f32::MIN_POSITIVE, 1.0], &[0.0], &|epsilon, params| {
        let mut adam = Adam::<Net>::new();
        adam.epsilon = epsilon;
        adam.update(params, &GRADIENT, 0.5)
    });
    for norm in [f32::NAN, 0.0, -1.0] {
        let mut gradient = GRADIENT;
        let error = clip(&mut gradient, norm).expect_err("out of range");
        assert!(error.to_string().contains("the norm of clipping is more than 0") && gradient == GRADIENT);
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
        Stop::residual(-1.0).at_most(5),
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
            if result == Err(SolveError::NotFinite) {
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
        for damping in [1.0, 0.5, -1.0, 0.0, 1.5, 1e38, f32::MAX, f32::NAN, f32::INFINITY] {
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
