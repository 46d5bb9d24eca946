//! Traces of solves, and what is read from them.

use crate::oracle::subject;
use attractor::kernel::{Identity, Relu, Scalar};
use attractor::network::Takes;
use attractor::simd::{Backend, Element};
use attractor::{Dense, Diagnosis, Injection, Network, SolveError, State, Stop, Trace, fnn};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

type Small = fnn![5, 11, 7, 3];
type Precise = fnn![5, 11, 7, 3; feedback = Dense, scalar = f64];

/// One unit read by one output that it reads: a sweep multiplies an error by `rate`, exactly.
fn echo<T: Scalar>(rate: f64) -> fnn![1, 1, 1; hidden = Identity, scalar = T] {
    let mut net = Network::ZERO;
    // W, U and b of the first layer, W and b of the second.
    for (to, from) in net.params_mut().iter_mut().zip([1.0, rate, 0.0, 1.0, 0.0]) {
        *to = T::from_f64(from);
    }
    net
}

/// The trace of a solve from zero that must fail, and the error.
fn failed<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(
    net: &Network<A>,
    x: [T; I],
    tolerance: Stop<T>,
) -> Trace<T, 16> {
    let mut trace = Trace::new();
    net.solve_traced(&x, &mut State::default(), tolerance, &mut trace).unwrap_err();
    trace
}

/// A text has all of these words.
#[track_caller]
fn says<T: Element>(diagnosis: Diagnosis<T>, words: &[&str]) {
    let text = diagnosis.to_string();
    for word in words {
        assert!(text.contains(word), "`{word}` is not in `{text}`");
    }
}

/// A traced solve is a solve, bit for bit, and what it writes down is what single sweeps change.
#[test]
fn a_traced_solve_is_a_solve() {
    fn check<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(zero: &Network<A>) {
        let mut network = subject::oracle(zero);
        let random = &mut SmallRng::seed_from_u64(12);
        network.draw(random, 0.9, 0.9);
        let net: Network<A> = subject::network(&network);
        let x: [T; I] = core::array::from_fn(|_| T::from_f64(f64::from(random.random_range(-1.0_f32..1.0))));
        let small = T::from_f64(1e-5);
        for backend in subject::backends() {
            for tolerance in [
                Stop::residual(small),
                Stop::relative(small),
                Stop::residual(small).at_most(3),
                Stop::residual(small).at_most(1),
                Stop::residual(T::ZERO).at_most(30),
                Stop::after(1),
                Stop::after(2),
                Stop::after(9),
            ] {
                let (mut plain, mut traced) = (State::default(), State::default());
                // The second is a warm start, and finds a trace that is not empty.
                let (mut four, mut many) = (Trace::<T, 4>::new(), Trace::<T, 40>::new());
                for _ in 0..2 {
                    let start = plain.clone();
                    let expected = net.on(backend).solve(&x, &mut plain, tolerance);
                    let found = net.on(backend).solve_traced(&x, &mut traced, tolerance, &mut four);
                    assert_eq!(found, expected, "{zero:?}, {tolerance:?}, {}", backend.name());
                    assert!(traced == plain, "{zero:?}, {tolerance:?}, {}", backend.name());
                    traced = start.clone();
                    assert_eq!(net.on(backend).solve_traced(&x, &mut traced, tolerance, &mut many), expected);

                    let mut swept = start;
                    let mut injection = Injection::ZERO;
                    net.on(backend).inject(&x, &mut injection).unwrap();
                    let all: Vec<T> = (0..four.sweeps())
                        .map(|_| net.on(backend).sweep(&injection, &mut swept).unwrap())
                        .collect();
                    assert!(many.residuals().eq(all.iter().copied()), "{many:?}, {all:?}");
                    let last = &all[all.len().saturating_sub(4)..];
                    assert!(four.residuals().eq(last.iter().copied()), "{four:?}, {last:?}");
                    assert!(four.residuals().rev().eq(last.iter().rev().copied()));
                    assert_eq!(many.sweeps(), all.len());
                    // The first change of a solve tells how far the start was, no rate. The oracle's line minimises the squares by
                    // solving for offset and slope.
                    let rate = |telling: &[T]| {
                        let n = telling.len() as f64;
                        let y: Vec<f64> = telling.iter().map(|r| r.to_f64().ln()).collect();
                        let (sum, sums) = (y.iter().sum::<f64>(), n * (n - 1.0) / 2.0);
                        let moment: f64 = y.iter().enumerate().map(|(i, y)| i as f64 * y).sum();
                        let squares = n * (n - 1.0) * (2.0 * n - 1.0) / 6.0;
                        let slope = (n * moment - sums * sum) / (n * squares - sums * sums);
                        let fixed = telling.last() == Some(&T::ZERO);
                        (telling.len() > 1).then_some(if fixed { 0.0 } else { slope.exp() })
                    };
                    for (found, exact) in [
                        (many.rate(), rate(all.get(1..).unwrap_or_default())),
                        (four.rate(), {
                            let from = all.len().saturating_sub(4).max(1);
                            rate(all.get(from..).unwrap_or_default())
                        }),
                    ] {
                        assert_eq!(found.is_some(), exact.is_some());
                        let error = found.map(|rate| rate.to_f64()).unwrap_or(0.0) - exact.unwrap_or(0.0);
                        assert!(error.abs() < 1e-6, "{found:?}, {exact:?}");
                    }
                }
            }
        }
    }
    check(&Small::ZERO);
    check(&Precise::ZERO);
}

#[test]
fn converged() {
    let net = echo::<f64>(0.5);
    let mut trace = Trace::<f64, 16>::new();
    let tolerance = Stop::residual(1e-6);
    let solved = net.solve_traced(&[1.0], &mut State::default(), tolerance, &mut trace).unwrap();
    let diagnosis = trace.diagnosis(Some(0.5));
    let Diagnosis::Converged { sweeps, rate: Some(rate) } = diagnosis else { panic!("{diagnosis:?}") };
    assert_eq!(sweeps, solved.sweeps);
    assert!((rate - 0.5).abs() < 1e-9);
    says(diagnosis, &["converged after", "0.500"]);
}

#[test]
fn too_short() {
    let net = echo::<f32>(0.5);
    for limit in 0..3 {
        let trace = failed(&net, [1.0], Stop::residual(1e-6).at_most(limit));
        assert_eq!(trace.rate(), None);
        let diagnosis = trace.diagnosis(None);
        assert_eq!(diagnosis, Diagnosis::TooShort { sweeps: limit });
        says(diagnosis, &[&limit.to_string(), "too few", "three"]);
    }
    let trace = failed(&net, [1.0], Stop::residual(1e-6).at_most(3));
    assert!(matches!(trace.diagnosis(None), Diagnosis::Converging { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]
    /// The rate is right, and so is the number of sweeps left: so many are enough, and half of them are not.
    #[test]
    fn converging(rate in 0.5..0.998_f64, negative in any::<bool>(), limit in 3..60_usize, x in 0.1..10.0_f64) {
        let net = echo::<f64>(if negative { -rate } else { rate });
        let tolerance = Stop::residual(1e-9 * x);
        let mut state = State::default();
        let mut trace = Trace::<f64, 16>::new();
        prop_assume!(net.solve_traced(&[x], &mut state, tolerance.at_most(limit), &mut trace).is_err());
        prop_assert!((trace.rate().unwrap() - rate).abs() < 1e-6);
        let diagnosis = trace.diagnosis(Some(rate));
        match diagnosis {
            Diagnosis::Converging { rate: seen, sweeps: Some(sweeps), alternating, proved } => {
                prop_assert!((seen - rate).abs() < 1e-6);
                prop_assert_eq!((alternating, proved), (negative, Some(rate)));
                // One more, for rounding of what should be a whole number.
                let more = |sweeps| net.solve(&[x], &mut state.clone(), tolerance.at_most(sweeps));
                prop_assert!(more(sweeps + 1).is_ok(), "{diagnosis}");
                prop_assert!(more(sweeps / 2).is_err() || sweeps < 2, "{diagnosis}");
                says(diagnosis, &[
                    "converging slowly", &format!("{rate:.3}"), "proved", &sweeps.to_string(), "limit_rate",
                    "solve_accelerated",
                ]);
                prop_assert_eq!(diagnosis.to_string().contains("damping"), negative);
            }
            // To and fro and hardly less from one to the next, that looks like a cycle.
            Diagnosis::Oscillating { alternating: true, .. } => prop_assert!(negative && rate > 0.9),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}

/// Whether proved is known or not, and a tolerance that rounding forbids.
#[test]
fn converging_towards_rounding() {
    let net = echo::<f32>(0.9);
    let x = [1.0];
    let trace = failed(&net, x, Stop::residual(1e-9).at_most(30));
    let diagnosis = trace.diagnosis(None);
    assert!(matches!(diagnosis, Diagnosis::Converging { sweeps: None, proved: None, .. }), "{diagnosis:?}");
    says(diagnosis, &["converging slowly", "0.900", "ounding", "raise", "f64"]);
    assert!(!diagnosis.to_string().contains("proved"));
    let double = failed(&echo::<f64>(0.9), [1.0], Stop::residual(0.0).at_most(30)).diagnosis(None);
    assert!(matches!(double, Diagnosis::Converging { sweeps: None, .. }), "{double:?}");
    assert!(!double.to_string().contains("f64"), "it is f64 already");
}

#[test]
fn oscillating_to_and_fro() {
    let mut net = <fnn![1, 1, 1]>::ZERO;
    net.layer_mut::<1>().w.fill(0.3);
    net.layer_mut::<1>().u.fill(-2.0);
    net.layer_mut::<2>().w.fill(2.0);
    for limit in [20, 50, 101] {
        let trace = failed(&net, [1.0], Stop::residual(1e-5).at_most(limit));
        let diagnosis = trace.diagnosis(None);
        let Diagnosis::Oscillating { rate, residual, alternating: true, proved: None } = diagnosis else {
            panic!("{diagnosis:?}")
        };
        assert!((rate - 1.0).abs() < 1e-3 && residual > 1.0);
        says(
            diagnosis,
            &["oscillating", "to and fro", "1.000", "More sweeps do not help", "damping", "limit_rate"],
        );
        // What it says does help.
        let mut limited = net.clone();
        let certificate = limited.limit_rate(0.5).unwrap();
        assert!(limited.solve(&[1.0], &mut State::default(), Stop::residual(1e-5)).is_ok());
        // A certificate rules it out: it is of another network.
        says(trace.diagnosis(Some(certificate.rate())), &["proved", "verify", "of these weights"]);
        let useless = trace.diagnosis(Some(16.0));
        says(useless, &["proved: 16.000", "More sweeps do not help"]);
    }
}

/// A pair of units that turns by a third of a circle or so and is held by tanh: a round trip of many states.
#[test]
fn oscillating_round() {
    type Net = fnn![1, 2, 2];
    let mut net = Net::ZERO;
    let angle = 0.9_f32;
    let turn = [angle.cos(), angle.sin(), -angle.sin(), angle.cos()];
    net.layer_mut::<1>().w.fill(0.1);
    for (u, turn) in net.layer_mut::<1>().u.iter_mut().zip(turn) {
        *u = 2.0 * turn;
    }
    net.layer_mut::<2>().w.fill_with_identity();
    for limit in 50..60 {
        let trace = failed(&net, [1.0], Stop::residual(1e-5).at_most(limit));
        let diagnosis = trace.diagnosis(None);
        let Diagnosis::Oscillating { rate, alternating: false, .. } = diagnosis else {
            panic!("{diagnosis:?}")
        };
        assert!((rate - 1.0).abs() < 0.02);
        says(diagnosis, &["oscillating", "round"]);
    }
}

/// A tanh network whose zero state is not stable, and which leaves it slowly: it grows, but not for ever, and then it converges.
#[test]
fn growing() {
    type Net = fnn![2, 6, 5, 3; feedback = Dense];
    let mut network = subject::oracle(&Net::ZERO);
    let random = &mut SmallRng::seed_from_u64(8);
    network.draw(random, 1.0, 0.9);
    // Positive weights: one direction grows, and no other.
    network.params.iter_mut().for_each(|w| *w = w.abs());
    let mut net: Net = subject::network(&network);
    let bias = |net: &mut Net, value: f32| {
        net.layer_mut::<1>().b.fill(value);
        net.layer_mut::<2>().b.fill(value);
        net.layer_mut::<3>().b.fill(value);
    };
    bias(&mut net, 1e-7);
    let certain = net.certify().map_or_else(
        |error| match error {
            attractor::CertificateError::NotContracting { rate } => rate,
            other => panic!("{other}"),
        },
        |certificate| certificate.rate(),
    );
    net.scale_feedback(1.08 / certain).unwrap();
    let stop = Stop::residual(1e-7_f32);
    let mut seen = 0;
    for limit in [40, 75, 100, 150] {
        let mut trace = Trace::<f32, 16>::new();
        if net.solve_traced(&[0.0; 2], &mut Net::state(), stop.at_most(limit), &mut trace).is_ok() {
            continue;
        }
        let diagnosis = trace.diagnosis(None);
        if let Diagnosis::Growing { rate, sweeps, proved: None, .. } = diagnosis {
            seen += 1;
            assert!(rate > 1.0 && rate < 1.2);
            says(diagnosis, &["growing", &sweeps.to_string(), "Allow more", "limit_rate"]);
            assert!(!diagnosis.to_string().contains("do not help"));
            // What it says is so: the changes are as large as they get by then, and it settles.
            let mut trace = Trace::<f32, 16>::new();
            let _ = net.solve_traced(&[0.0; 2], &mut Net::state(), stop.at_most(limit + sweeps), &mut trace);
            assert!(!matches!(trace.diagnosis(None), Diagnosis::Growing { .. }), "{limit} and {sweeps}");
        } else {
            assert!(!matches!(diagnosis, Diagnosis::Diverging { .. }), "{limit}: {diagnosis}");
        }
    }
    assert!(seen >= 2, "{seen} were growing");
    net.solve(&[0.0; 2], &mut Net::state(), stop.at_most(1000)).unwrap();
}

#[test]
fn diverging() {
    for rate in [1.02_f64, 1.5, 30.0] {
        for sign in [1.0, -1.0] {
            let trace = failed(&echo::<f64>(sign * rate), [1.0], Stop::residual(1e-5).at_most(40));
            let diagnosis = trace.diagnosis(None);
            let Diagnosis::Diverging { rate: seen, alternating, proved: None } = diagnosis else {
                panic!("{diagnosis:?}")
            };
            assert!((seen / rate - 1.0).abs() < 1e-6);
            says(diagnosis, &["diverging", &format!("{rate:.3}"), "limit_rate"]);
            // A change that is multiplied by -1.5 goes further than it came.
            assert_eq!(alternating, sign < 0.0);
            assert_eq!(diagnosis.to_string().contains("damping"), alternating);
        }
    }
    // A small one shows if all sweeps agree.
    let trace = failed(&echo::<f64>(1.001), [1.0], Stop::residual(1e-5).at_most(40));
    assert!(matches!(trace.diagnosis(None), Diagnosis::Diverging { .. }));
    says(trace.diagnosis(Some(0.5)), &["proved: 0.500", "verify"]);
}

/// `f32` asked for more digits than it has; `f64` has them.
#[test]
fn stalled_at_rounding() {
    let mut seen = 0;
    for seed in 0..20 {
        let mut network = subject::oracle(&Small::ZERO);
        let random = &mut SmallRng::seed_from_u64(seed);
        network.draw(random, 0.9, 0.5);
        let x: [f64; 5] = core::array::from_fn(|_| f64::from(random.random_range(-1.0_f32..1.0)));
        let net: Small = subject::network(&network);
        // Less than any change of a unit about 1; where nothing changes at all any more, even this is met.
        let tolerance = Stop::residual(1e-12).at_most(200);
        let mut trace = Trace::<f32, 16>::new();
        let single = x.map(|x| x as f32);
        if net
            .on(Backend::portable())
            .solve_traced(&single, &mut State::default(), tolerance, &mut trace)
            .is_ok()
        {
            assert!(matches!(trace.diagnosis(None), Diagnosis::Converged { .. }));
            continue;
        }
        seen += 1;
        let diagnosis = trace.diagnosis(Some(0.5));
        let Diagnosis::Stalled { residual, asked, rounding } = diagnosis else { panic!("{diagnosis:?}") };
        assert!(asked == 1e-12 && residual <= rounding && rounding < 1e-4, "{diagnosis:?}");
        says(diagnosis, &["stalled at rounding", "1.0e-12", "raise the tolerance", "f64"]);
        // What it says helps: so much is reached.
        assert!(net.solve(&single, &mut State::default(), Stop::residual(rounding)).is_ok());
        type Double = fnn![5, 11, 7, 3; scalar = f64];
        let double: Double = subject::network(&network);
        assert!(double.solve(&x, &mut State::default(), Stop::residual(1e-12)).is_ok());
    }
    assert!(seen > 0, "no network stalled");
}

#[test]
fn not_finite() {
    // Too much after some sweeps.
    type Net = fnn![1, 1, 1; hidden = Relu];
    let mut net = Net::ZERO;
    net.layer_mut::<1>().w.fill(1.0);
    net.layer_mut::<1>().u.fill(1e3);
    net.layer_mut::<2>().w.fill(1.0);
    let (mut state, mut trace) = (Net::state(), Trace::<f32, 16>::new());
    let tolerance = Stop::residual(1e-5);
    let result = net.solve_traced(&[1.0], &mut state, tolerance, &mut trace);
    assert!(matches!(result, Err(SolveError::NotFinite(_))));
    assert!(state == Net::state(), "as after a solve");
    let diagnosis = trace.diagnosis(None);
    let Diagnosis::NotFinite { sweeps, rate: Some(rate) } = diagnosis else { panic!("{diagnosis:?}") };
    assert!(sweeps == trace.sweeps() && (5..15).contains(&sweeps) && (rate / 1e3 - 1.0).abs() < 1e-2);
    says(diagnosis, &["not finite", &sweeps.to_string(), "1000", "limit_rate", "Tanh"]);

    // Too much at once, or not a number: as a solve does.
    net.layer_mut::<1>().u.fill(1.0);
    let start = {
        let mut state = Net::state();
        state.as_mut_slice().fill(0.25);
        state
    };
    let mut weights = net.clone();
    weights.layer_mut::<2>().b.fill(f32::NAN);
    let mut large = net.clone();
    large.layer_mut::<1>().w.fill(f32::MAX);
    for (net, x) in [(&net, f32::NAN), (&net, f32::INFINITY), (&weights, 1.0), (&large, 2.0)] {
        let (mut plain, mut traced) = (start.clone(), start.clone());
        assert!(matches!(net.solve(&[x], &mut plain, tolerance), Err(SolveError::NotFinite(_))));
        assert!(matches!(
            net.solve_traced(&[x], &mut traced, tolerance, &mut trace),
            Err(SolveError::NotFinite(_))
        ));
        assert!(plain == traced && (plain == start) != x.is_finite());
        let diagnosis = trace.diagnosis(Some(0.5));
        assert_eq!(diagnosis, Diagnosis::NotFinite { sweeps: 0, rate: None });
        says(diagnosis, &["not finite", "input, weights or state"]);
    }
}

#[test]
fn a_trace_is_small() {
    // Residuals, the counter, three numbers and two flags.
    let least = 4 * 16 + size_of::<usize>() + 3 * 4 + 2;
    assert!((least..least + 2 * size_of::<usize>()).contains(&Trace::<f32, 16>::BYTES));
    let empty = Trace::<f32, 8>::default();
    assert_eq!((empty.sweeps(), empty.rate(), empty.residuals().count()), (0, None, 0));
    assert_eq!(empty.diagnosis(None), Diagnosis::TooShort { sweeps: 0 });
}
