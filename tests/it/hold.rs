//! Networks that are held to a rate while they learn, and batches that do not converge all the same.

use super::oracle::subject;
use attractor::adapt::{Adapted, LowRank};
use attractor::learn::{
    Adam, CrossEntropy, Descent, LearnError, MeanSquared, Method, Objective, Outcome, Sgd, Trainer, Unsolved,
    UpdateError,
};
use attractor::network::{Architecture, Flat};
use attractor::simd::Element;
use attractor::{
    Adjacent, CertificateError, Dense, Feedforward, Network, Skip, SolveError, State, Stop, Tied, fnn,
};
use nalgebra::SMatrix;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// The spectral radius of a sweep with the magnitudes of the weights, in `f64`: no bound is below it.
fn spectral<A: Architecture>(network: &Network<A>) -> f64 {
    let mut oracle = subject::oracle(network);
    oracle.params = network.params().iter().map(|w| w.to_f64()).collect();
    oracle.rate()
}

fn draw<A: Architecture<Scalar = f32>>(network: &mut Network<A>, random: &mut SmallRng, gain: f32) {
    network.params_mut().iter_mut().for_each(|w| *w = random.random_range(-gain..gain));
}

macro_rules! forms {
    ($with:ident) => {
        $with!("adjacent", Adjacent);
        $with!("skip", Skip);
        $with!("dense", Dense);
        $with!("tied", Tied<60>);
    };
}

#[test]
fn a_bound_follows_the_weights() {
    macro_rules! with {
        ($name:literal, $form:ty) => {{
    type Net = fnn![3, 7, 6, 5, 2; feedback = $form];
            let random = &mut SmallRng::seed_from_u64(5);
            for gain in [0.05, 0.3, 2.0] {
                let (mut net, mut room) = (Net::ZERO, State::<Net, 2>::ZERO);
                draw(&mut net, random, gain);
                for step in 0..40 {
                    // Weights that move as those of training do.
                    net.params_mut().iter_mut().for_each(|w| *w += random.random_range(-0.01..0.01) * gain);
                    let before = spectral(&net);
                    let held = net.hold_rate(0.8, &mut room).unwrap();
                    let after = spectral(&net);
                    let what = format!("{}, gain {gain}, step {step}: {held:?}, {before} to {after}", $name);
                    assert!(f64::from(held.rate) >= after * (1.0 - 1e-6) && held.rate <= 0.8, "{what}");
                    assert_eq!(held.factor < 1.0, held.factor != 1.0, "{what}");
                    assert!(held.factor == 1.0 || before > 0.7, "{what}: weakened without need");
                    if step > 30 {
                        assert!(f64::from(held.rate) < 0.05 + 1.25 * after, "{what}: far off");
                    }
                }
            }
        }};
    }
    forms!(with);
}

#[test]
fn other_entries_than_feedback_stay() {
    type Net = fnn![3, 7, 6, 2; feedback = Dense];
    let (mut net, mut room) = (Net::ZERO, State::<Net, 2>::ZERO);
    draw(&mut net, &mut SmallRng::seed_from_u64(6), 2.0);
    let before = net.clone();
    let held = net.hold_rate(0.5, &mut room).unwrap();
    assert!(held.factor < 1.0);
    let (first, was) = (net.layer::<1>(), before.layer::<1>());
    assert_eq!((first.w, first.b), (was.w, was.b));
    let scaled = was.u.nearest * held.factor;
    assert!((first.u.nearest - scaled).amax() <= 1e-6 * scaled.amax());
}

#[test]
fn what_cannot_be_held_is_refused_and_stays() {
    type Net = fnn![2, 3, 2];
    let mut net = Net::ZERO;
    net.params_mut().fill(0.5);
    let before = net.clone();
    for rate in [-0.1, 1.0, f32::NAN, f32::INFINITY] {
        let held = net.hold_rate(rate, &mut State::default());
        assert!(matches!(held, Err(CertificateError::Setting(_))), "{rate}: {held:?}");
    }
    // Whatever is in the room, a bound is one.
    for left in [f32::NAN, -1.0, 1e-30, f32::INFINITY, 1e38] {
        let mut room = State::<Net, 2>::ZERO;
        room.as_mut_slice().fill(left);
        let mut net = net.clone();
        net.layer_mut::<2>().w.fill(3.0);
        let held = net.hold_rate(0.9, &mut room);
        assert!(held.is_err() || spectral(&net) <= 0.9, "{left}: {held:?}");
    }
    assert_eq!(net.params(), before.params());
    net.params_mut()[0] = f32::NAN;
    net.layer_mut::<1>().u[(0, 0)] = f32::NAN;
    assert_eq!(net.hold_rate(0.9, &mut State::default()), Err(CertificateError::NotFinite));
    assert_eq!(net.layer::<1>().u[(1, 1)], 0.5);

    type Plain = fnn![2, 3, 2; feedback = Feedforward];
    let mut plain = Plain::ZERO;
    plain.params_mut().fill(50.0);
    assert_eq!(plain.hold_rate(0.9, &mut State::default()).unwrap().rate, 0.0);
}

/// What the first step does before it begins is all that a step that fails leaves behind, and the next one leaves nothing.
#[test]
fn a_step_that_fails_changes_no_weight_but_by_the_first_hold() {
    type Net = fnn![3, 7, 6, 2; feedback = Dense];
    let mut net = Net::ZERO;
    draw(&mut net, &mut SmallRng::seed_from_u64(9), 2.0);
    let (mut held, mut room) = (net.clone(), State::<Net, 2>::ZERO);
    assert!(held.hold_rate(0.9, &mut room).unwrap().factor < 1.0);
    let mut trainer = Trainer::<Net, _, _>::new(net.clone(), Adam::<Net>::new(), Objective::new(MeanSquared));
    let mut descent = Descent::<Net, _>::new(net.clone(), Objective::new(MeanSquared), 0.1);
    // A setting out of its range is seen before the network is touched.
    trainer.hold = Some(1.0);
    descent.hold = Some(1.0);
    trainer.step(&[0.5; 3], &[0.5; 2]).unwrap_err();
    descent.step(&[0.5; 3], &[0.5; 2]).unwrap_err();
    assert_eq!((trainer.network.params(), descent.network.params()), (net.params(), net.params()));
    trainer.hold = Some(0.9);
    descent.hold = Some(0.9);
    for _ in 0..3 {
        trainer.step(&[f32::NAN; 3], &[0.5; 2]).unwrap_err();
        descent.step(&[f32::NAN; 3], &[0.5; 2]).unwrap_err();
        assert_eq!((trainer.network.params(), descent.network.params()), (held.params(), held.params()));
    }
}

#[test]
fn feedback_of_any_size_is_held_again_and_again() {
    type Net = fnn![3, 7, 6, 2; feedback = Dense];
    for size in [0.0, 1e-38, 1e-30, 1e-20, 1e-3, 1e3, 1e10, 1e18] {
        let (mut net, mut room) = (Net::ZERO, State::<Net, 2>::ZERO);
        draw(&mut net, &mut SmallRng::seed_from_u64(8), 1.0);
        net.scale_feedback(size).unwrap();
        for call in 0..5 {
            // Far more than it was, all at once.
            if call == 3 {
                net.scale_feedback(1e4).unwrap();
            }
            let held = net.hold_rate(0.9, &mut room).unwrap();
            let rate = spectral(&net);
            assert!(
                rate <= 0.9 && f64::from(held.rate) >= rate * (1.0 - 1e-6),
                "{size}, {call}: {held:?}, {rate}"
            );
            assert!(room.as_slice().iter().all(|v| v.is_finite()), "{size}, {call}");
            // It is not taken away: what held it down is what it was, but for the vector.
            assert!(size < 1e3 || rate > 0.6, "{size}, {call}: {rate}");
        }
    }
}

/// Steps on random targets at a rate that drives feedback beyond convergence: how many failed.
macro_rules! failures {
    ($form:ty, $hold:expr, $batch:literal) => {{
    type Net = fnn![4, 16, 12, 3; feedback = $form];
        let random = &mut SmallRng::seed_from_u64(9);
        let mut net = Net::boxed();
        net.initialize(random);
        let mut trainer: Trainer<_, _, _, $batch> =
            Trainer::new(net, Adam::<attractor::Boxed<Net>>::new(), Objective::new(CrossEntropy::new()));
        trainer.rate = 0.02;
        trainer.hold = $hold;
        let inputs: [SMatrix<f32, $batch, 4>; 4] =
            core::array::from_fn(|_| SMatrix::from_fn(|_, _| random.random_range(-2.0..2.0)));
        let labels: [[usize; $batch]; 4] =
            core::array::from_fn(|_| core::array::from_fn(|_| random.random_range(0..3)));
        let mut failed = 0;
        for step in 0..400 {
            match trainer.step(&inputs[step % 4], &labels[step % 4]) {
                Ok(step) => {
                    assert_eq!(step.held.is_some(), trainer.hold.is_some());
                    assert_eq!((step.outcome, step.unsolved), (Outcome::Solved, 0));
                }
                Err(
                    LearnError::Solve(SolveError::NotConverged { .. })
                    | LearnError::Adjoint(SolveError::NotConverged { .. } | SolveError::NotFinite(_)),
                ) => failed += 1,
                Err(error) => panic!("{error}"),
            }
        }
        (failed, spectral(&*trainer.network))
    }};
}

#[test]
fn training_stays_convergent() {
    macro_rules! with {
        ($name:literal, $form:ty) => {{
            let (failed, rate) = failures!($form, Some(0.9), 8);
            assert!(failed == 0 && rate <= 0.9, "{}: {failed} failed, rate {rate}", $name);
        }};
    }
    forms!(with);
    // And that these steps need to be held.
    let (failed, rate) = failures!(Dense, None, 8);
    assert!(failed > 0 && rate > 1.0, "{failed} failed, rate {rate}");
}

#[test]
fn descent_is_held_too() {
    type Net = fnn![4, 16, 12, 3; feedback = Dense];
    let random = &mut SmallRng::seed_from_u64(11);
    let mut net = Net::ZERO;
    draw(&mut net, random, 1.0);
    let mut descent: Descent<Net, _> = Descent::new(net, Objective::new(CrossEntropy::new()), 0.05);
    for step in 0..1000_usize {
        let x: [f32; 4] = core::array::from_fn(|i| ((step * (i + 3)) % 17) as f32 / 8.0 - 1.0);
        let step = descent.step(&x, &[step % 3]).unwrap();
        assert!(step.held.is_some_and(|held| held.rate <= 0.9));
    }
    assert!(spectral(&descent.network) <= 0.9);
}

#[test]
fn adapters_are_held_too() {
    type Net = fnn![4, 8, 6, 3];
    let random = &mut SmallRng::seed_from_u64(12);
    let mut net = Net::ZERO;
    draw(&mut net, random, 0.3);
    net.limit_rate(0.5).unwrap();
    let mut adapted = Adapted::<Net, LowRank<2>>::new(&net, 1);
    let mut room = State::<Net, 2>::ZERO;
    for step in 0..30 {
        adapted.params_mut().flat_mut().iter_mut().for_each(|w| *w += random.random_range(-0.2..0.2));
        let held = adapted.hold_rate(0.9, &mut room).unwrap();
        let mut merged = Net::ZERO;
        adapted.merge_into(&mut merged).unwrap();
        let rate = spectral(&merged);
        assert!(
            held.rate <= 0.9 && f64::from(held.rate) >= rate * (1.0 - 1e-6),
            "step {step}: {held:?}, {rate}"
        );
    }
    assert!(matches!(adapted.hold_rate(f32::NAN, &mut room), Err(CertificateError::Setting(_))));
    // The borrowed network itself has a larger rate.
    assert!(matches!(adapted.hold_rate(0.01, &mut room), Err(CertificateError::NotContracting { .. })));
}

#[test]
fn batches_that_do_not_converge_are_treated_as_asked() {
    type Net = fnn![2, 4, 2];
    let mut net = Net::ZERO;
    draw(&mut net, &mut SmallRng::seed_from_u64(13), 0.5);
    let (x, y) = ([0.5, -0.5], [1.0, 0.0]);
    // Too few sweeps for the solve; and for the adjoint alone.
    let exact = Stop::residual(0.0);
    let solve = Objective::new(MeanSquared).solve(exact.at_most(2));
    let adjoint = Objective::new(MeanSquared).method(Method::Implicit(exact.at_most(2)));
    for (objective, at_solve) in [(solve, true), (adjoint, false)] {
        for (unsolved, outcome) in [
            (Unsolved::Error, None),
            (Unsolved::Skip, Some(Outcome::Skipped)),
            (Unsolved::Weaken(0.5), Some(Outcome::Skipped)),
            (Unsolved::UseLast, Some(Outcome::Inexact)),
        ] {
            let mut trainer: Trainer<Net, _, _> = Trainer::new(net.clone(), Sgd::plain(), objective);
            let mut descent: Descent<Net, _> = Descent::new(net.clone(), objective, 1e-3);
            (trainer.unsolved, trainer.hold) = (unsolved, None);
            (descent.unsolved, descent.hold) = (unsolved, None);
            let what = format!("{unsolved:?}, at the solve: {at_solve}");
            for (step, after) in
                [(trainer.step(&x, &y), &trainer.network), (descent.step(&x, &y), &descent.network)]
            {
                let Some(outcome) = outcome else {
                    let error = step.expect_err(&what);
                    assert_eq!(
                        matches!(error, LearnError::Solve(SolveError::NotConverged { sweeps: 2, .. })),
                        at_solve
                    );
                    assert_eq!(
                        matches!(error, LearnError::Adjoint(SolveError::NotConverged { sweeps: 2, .. })),
                        !at_solve
                    );
                    assert_eq!(after.params(), net.params(), "{what}");
                    continue;
                };
                let step = step.expect(&what);
                assert_eq!((step.outcome, step.unsolved), (outcome, 1), "{what}");
                assert!(step.report.loss.is_finite(), "{what}");
                let (u, was) = (&after.layer::<1>().u, &net.layer::<1>().u);
                let (w, w_was) = (&after.layer::<1>().w, &net.layer::<1>().w);
                match unsolved {
                    Unsolved::Skip => assert_eq!(after.params(), net.params(), "{what}"),
                    Unsolved::Weaken(factor) => assert!(*u == was * factor && w == w_was, "{what}"),
                    _ => assert!(w != w_was, "{what}"),
                }
            }
        }
    }
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    type Net = fnn![2, 4, 2];
    let mut net = Net::ZERO;
    draw(&mut net, &mut SmallRng::seed_from_u64(14), 0.5);
    let objective = Objective::new(MeanSquared);
    for (hold, unsolved, range) in [
        (Some(1.0), Unsolved::Skip, "`hold` is 1.0, its range is 0 or more, less than 1"),
        (Some(-0.5), Unsolved::Skip, "`hold` is -0.5, its range is 0 or more, less than 1"),
        (Some(f32::NAN), Unsolved::Skip, "`hold` is NaN, its range is 0 or more, less than 1"),
        (None, Unsolved::Weaken(1.5), "`Unsolved::Weaken` is 1.5, its range is 0 to 1"),
        (None, Unsolved::Weaken(f32::NAN), "`Unsolved::Weaken` is NaN, its range is 0 to 1"),
    ] {
        let mut trainer: Trainer<Net, _, _> = Trainer::new(net.clone(), Sgd::plain(), objective);
        let mut descent: Descent<Net, _> = Descent::new(net.clone(), objective, 1e-3);
        (trainer.hold, trainer.unsolved) = (hold, unsolved);
        (descent.hold, descent.unsolved) = (hold, unsolved);
        for result in [trainer.step(&[0.5, 0.5], &[1.0, 0.0]), descent.step(&[0.5, 0.5], &[1.0, 0.0])] {
            assert!(matches!(result, Err(LearnError::Update(UpdateError::Setting(_)))), "{result:?}");
            assert_eq!(result.unwrap_err().to_string(), format!("update: {range}"));
        }
        assert_eq!(trainer.network.params(), net.params());
        assert_eq!(descent.network.params(), net.params());
    }
}
