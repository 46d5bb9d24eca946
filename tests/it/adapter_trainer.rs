//! The trainer of adapters: steps are those of a loop of one's own; what is held goes through what is not held does not.

use super::oracle::subject;
use attractor::adapt::{Adapted, AdapterTrainer, BiasOnly, Frozen, LastLayer, LowRank, ParamsOf};
use attractor::learn::{
    Adam, CrossEntropy, LearnError, MeanSquared, Method, Objective, Optimizer, Outcome, Sgd, Unsolved,
    clip_on,
};
use attractor::network::Flat;
use attractor::{CertificateError, SolveError, State, Stop, Threads, Workspace, fnn};
use nalgebra::SMatrix;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

type Net = fnn![4, 8, 6, 3];

/// A network whose sweeps leave at most this part of an error.
fn base(seed: u64, rate: f32) -> Net {
    let random = &mut SmallRng::seed_from_u64(seed);
    let mut net = Net::ZERO;
    net.params_mut().iter_mut().for_each(|w| *w = random.random_range(-0.6..0.6));
    net.limit_rate(rate).expect("it can be held");
    net
}

fn batch<const B: usize>(random: &mut SmallRng) -> (SMatrix<f32, B, 4>, [usize; B]) {
    let x = SMatrix::from_fn(|_, _| random.random_range(-1.0..1.0));
    (x, core::array::from_fn(|_| random.random_range(0..3)))
}

macro_rules! kinds {
    ($check:ident) => {
        $check!(LowRank<2>);
        $check!(BiasOnly);
        $check!(Frozen<0>);
        $check!(Frozen<1>);
        $check!(LastLayer);
    };
}

#[test]
fn a_step_is_gradient_clip_update_and_holding() {
    const B: usize = 40;
    let net = base(1, 0.4);
    macro_rules! check {
        ($adapter:ty) => {
            for backend in subject::backends() {
                for (clipped, held, rate, threads) in
                    [(None, None, 0.005, Threads::One), (Some(0.05), Some(0.45), 0.1, Threads::Rayon)]
                {
                    let random = &mut SmallRng::seed_from_u64(2);
                    let objective = Objective::new(CrossEntropy::new());
                    let mut own = Adapted::<Net, $adapter>::new(&net, 3);
                    let mut adam = Adam::<ParamsOf<Net, $adapter>>::new();
                    let mut trainer: AdapterTrainer<'_, Net, $adapter, _, _, B> =
                        AdapterTrainer::new(own.clone(), adam.clone(), objective);
                    (trainer.rate, trainer.clip, trainer.hold) = (rate, clipped, held);
                    (trainer.backend, trainer.threads) = (backend, threads);
                    let mut room = State::ZERO;
                    let mut seen = 0;
                    if let Some(rate) = held {
                        own.hold_rate(rate, &mut room).unwrap();
                    }
                    for _ in 0..12 {
                        let (x, labels) = batch::<B>(random);
                        let mut workspace = Workspace::<Net, B>::ZERO;
                        let mut gradient = Adapted::<Net, $adapter>::gradient_zero();
                        let on = own.on(backend);
                        let report =
                            on.gradient(&objective, &x, &labels, &mut workspace, &mut gradient).unwrap();
                        let norm = clipped.map(|most| clip_on(backend, gradient.flat_mut(), most).unwrap());
                        adam.update(own.params_mut().flat_mut(), gradient.flat(), rate).unwrap();
                        let kept = held.map(|rate| own.hold_rate(rate, &mut room).unwrap());
                        let step = trainer.step(&x, &labels).unwrap();
                        assert_eq!((step.report, step.outcome, step.norm), (report, Outcome::Solved, norm));
                        assert_eq!((step.held, step.unsolved), (kept, 0));
                        assert_eq!(trainer.adapted.params().flat(), own.params().flat());
                        assert_eq!(trainer.gradient().flat(), gradient.flat());
                        assert_eq!(trainer.workspace().state, workspace.state);
                        seen += usize::from(kept.is_some_and(|kept| kept.factor < 1.0));
                    }
                    let can_strengthen = !matches!(stringify!($adapter), "BiasOnly" | "LastLayer");
                    assert!(held.is_none() || !can_strengthen || seen > 0, "it never had to be held");
                }
            }
        };
    }
    kinds!(check);
}

/// Large steps towards labels drawn at random: without holding, sweeps do not converge any more.
#[test]
fn held_training_goes_through_where_training_diverges() {
    const B: usize = 8;
    macro_rules! check {
        ($adapter:ty) => {
            let net = base(4, 0.8);
            for (hold, goes_through) in [(None, false), (Some(0.9), true), (Some(0.85), true)] {
                let random = &mut SmallRng::seed_from_u64(5);
                let adapted = Adapted::<Net, $adapter>::new(&net, 3);
                let adam = Adam::<ParamsOf<Net, $adapter>>::new();
                let mut trainer: AdapterTrainer<'_, Net, $adapter, _, _, B> =
                    AdapterTrainer::new(adapted, adam, Objective::new(CrossEntropy::new()));
                assert_eq!(trainer.hold, Some(0.9), "by default");
                (trainer.rate, trainer.hold) = (0.1, hold);
                let mut failed = 0;
                for _ in 0..300 {
                    let (x, labels) = batch::<B>(random);
                    match trainer.step(&x, &labels) {
                        Ok(step) => {
                            assert_eq!(step.held.is_some(), hold.is_some());
                            assert!(step.held.is_none_or(|held| Some(held.rate) <= hold), "{step:?}");
                        }
                        Err(LearnError::Solve(SolveError::NotConverged { .. }))
                        | Err(LearnError::Adjoint(SolveError::NotConverged { .. })) => failed += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
                let name = stringify!($adapter);
                assert_eq!(failed == 0, goes_through, "{name}, {hold:?}: {failed} steps failed");
                if let Some(rate) = hold {
                    let certificate = trainer.adapted.certify().expect("held");
                    assert!(certificate.rate() <= rate * (1.0 + 1e-5), "{name}: {certificate:?}");
                }
            }
        };
    }
    check!(LowRank<2>);
    check!(Frozen<0>);
    check!(Frozen<1>);
}

#[test]
fn batches_that_do_not_converge_are_treated_as_asked() {
    let net = base(6, 0.5);
    let (x, y) = ([0.5, -0.5, 1.0, 0.25], [1.0, 0.0, -1.0]);
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
            let mut adapted = Adapted::<Net, Frozen<0>>::new(&net, 1);
            adapted.params_mut().flat_mut().iter_mut().for_each(|w| *w += 0.125);
            let before = adapted.params().flat().to_vec();
            let mut trainer: AdapterTrainer<'_, Net, Frozen<0>, _, _> =
                AdapterTrainer::new(adapted, Sgd::plain(), objective);
            (trainer.unsolved, trainer.hold) = (unsolved, None);
            let what = format!("{unsolved:?}, at the solve: {at_solve}");
            for count in 1..=2 {
                let step = trainer.step(&x, &y);
                let after = trainer.adapted.params().flat();
                let Some(outcome) = outcome else {
                    let error = step.expect_err(&what);
                    let expected = SolveError::NotConverged { sweeps: 2, residual: 0.0 };
                    let (LearnError::Solve(found) | LearnError::Adjoint(found)) = error else {
                        panic!("{error}")
                    };
                    assert_eq!(std::mem::discriminant(&found), std::mem::discriminant(&expected), "{what}");
                    assert_eq!(matches!(error, LearnError::Solve(_)), at_solve, "{what}");
                    assert_eq!(after, before, "{what}");
                    continue;
                };
                let step = step.expect(&what);
                assert_eq!((step.outcome, step.unsolved), (outcome, count), "{what}");
                match unsolved {
                    Unsolved::Skip => assert_eq!(after, before, "{what}"),
                    Unsolved::Weaken(_) => {
                        let left = 0.125 * 0.5_f32.powi(count as i32);
                        for (index, (after, base)) in after.iter().zip(net.params()).enumerate() {
                            // U of the first layer is 8 x 6 behind W, 8 x 4; that of the second 6 x 3 behind W, 6 x 8, and those are all.
                            let of_u = (32..80).contains(&index) || (88 + 48..88 + 48 + 18).contains(&index);
                            let added = if of_u { left } else { 0.125 };
                            assert!((after - base - added).abs() < 1e-6, "{what}, {index}: {after}, {base}");
                        }
                    }
                    _ => assert_ne!(after, before, "{what}"),
                }
            }
        }
    }
}

/// The smallest of them.
type Small<'a> = AdapterTrainer<'a, Net, LowRank<1>, Sgd, MeanSquared>;

/// An adapter cannot make good what the borrowed network is not: that is said before anything is changed. Settings are refused by name.
#[test]
fn what_cannot_be_held_is_an_error() {
    let net = base(7, 0.8);
    let adapted = Adapted::<Net, LowRank<1>>::new(&net, 1);
    let before = adapted.params().flat().to_vec();
    let mut trainer: Small<'_> = AdapterTrainer::new(adapted, Sgd::plain(), Objective::new(MeanSquared));
    let mut refused = |change: &dyn Fn(&mut Small<'_>), text: &str| {
        (trainer.rate, trainer.clip, trainer.hold, trainer.unsolved) =
            (0.1, None, Some(0.9), Unsolved::Error);
        trainer.objective = Objective::new(MeanSquared);
        change(&mut trainer);
        let error = trainer.step(&[0.5; 4], &[1.0, 0.0, 0.0]).expect_err(text);
        assert!(error.to_string().starts_with(text), "{error}");
        assert_eq!(trainer.adapted.params().flat(), before, "{text}");
        error
    };
    let error = refused(&|trainer| trainer.hold = Some(0.1), "hold: no proof of convergence, rate is ");
    assert!(matches!(error, LearnError::Hold(CertificateError::NotContracting { .. })));
    refused(
        &|trainer| trainer.hold = Some(1.0),
        "update: `hold` is 1.0, its range is 0 or more, less than 1",
    );
    refused(&|trainer| trainer.rate = f32::NAN, "update: `rate` is NaN, its range is 0 to 1024");
    refused(&|trainer| trainer.clip = Some(-1.0), "update: `clip` is -1.0, its range is more than 0");
    refused(
        &|trainer| trainer.unsolved = Unsolved::Weaken(2.0),
        "update: `Unsolved::Weaken` is 2.0, its range is 0 to 1",
    );
    refused(
        &|trainer| trainer.objective = Objective::new(MeanSquared).solve(Stop::after(0)),
        "solve: `Stop::after` is 0.0, its range is 1 or more",
    );
    trainer.hold = None;
    trainer.objective = Objective::new(MeanSquared);
    (trainer.rate, trainer.unsolved) = (0.1, Unsolved::Error);
    assert_eq!(trainer.step(&[0.5; 4], &[1.0, 0.0, 0.0]).expect("not held").held, None);
}
