//! Fixed points of any map, by every solver: against other ways to the same solution.

use super::oracle::subject;
use attractor::network::{Architecture, Takes};
use attractor::simd::{Backend, Element};
use attractor::solve::{Map, MapError, Solver, Transposed};
use attractor::{
    Dense, Diagnosis, Injection, Network, Skip, SolveError, Solved, State, Stop, Tied, Trace, fnn,
};
use nalgebra::{SMatrix, SVector};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::cell::RefCell;

fn solvers<T: Element>() -> [(&'static str, Solver<T>); 6] {
    [
        ("plain", Solver::plain()),
        ("damped", Solver::damped(T::from_f64(0.7))),
        ("anderson", Solver::anderson(3)),
        ("anderson, damped", Solver::anderson(5).damping(T::from_f64(0.5))),
        ("broyden", Solver::broyden(12)),
        ("broyden, little memory", Solver::broyden(2).damping(T::from_f64(0.8))),
    ]
}

fn room<T: Element>(solver: Solver<T>, units: usize, samples: usize) -> Vec<T> {
    // Whatever was there before.
    vec![T::NAN; solver.room(units, samples)]
}

/// h = A h + b, or tanh of it.
struct Layer<const N: usize> {
    a: SMatrix<f64, N, N>,
    b: SVector<f64, N>,
    tanh: bool,
}

impl<const N: usize> Layer<N> {
    fn random(gain: f64, seed: u64, tanh: bool) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut number = || random.random_range(-1.0..1.0);
        let a = SMatrix::from_fn(|_, _| gain * number() / (N as f64).sqrt());
        Self { a, b: SVector::from_fn(|_, _| number()), tanh }
    }
    fn sums(&self, h: &[f64]) -> SVector<f64, N> {
        self.a * SVector::<f64, N>::from_column_slice(h) + self.b
    }
}

impl<const N: usize> Map for Layer<N> {
    type Scalar = f64;
    fn units(&self) -> usize {
        N
    }
    fn apply(&self, state: &[f64], next: &mut [f64]) {
        for (next, z) in next.iter_mut().zip(self.sums(state).iter()) {
            *next = if self.tanh { z.tanh() } else { *z };
        }
    }
    fn bound(&self) -> Option<f64> {
        self.tanh.then_some(1.0)
    }
}

impl<const N: usize> Transposed for Layer<N> {
    fn apply_transposed(&self, state: &[f64], deltas: &[f64], next: &mut [f64]) {
        let slope = |z: &f64| if self.tanh { 1.0 - z.tanh().powi(2) } else { 1.0 };
        let sent =
            SVector::<f64, N>::from_iterator(self.sums(state).iter().zip(deltas).map(|(z, d)| slope(z) * d));
        next.copy_from_slice((self.a.transpose() * sent).as_slice());
    }
}

/// Every form, single samples and batches, both scalars: the solution of the network's own solve.
#[test]
fn networks() {
    fn check<A: Takes<4>, const B: usize>(name: &str)
    where
        A::Scalar: attractor::kernel::Scalar,
    {
        let zero = Network::<A>::ZERO;
        let mut network = subject::oracle(&zero);
        let random = &mut SmallRng::seed_from_u64(31);
        network.draw(random, 0.9, 0.8);
        let net: Network<A> = subject::network(&network);
        let rows: Vec<Vec<f64>> =
            (0..B).map(|_| (0..4).map(|_| f64::from(random.random_range(-1.0_f32..1.0))).collect()).collect();
        let input = subject::samples::<A::Scalar, B, 4>(&rows);
        let double = size_of::<A::Scalar>() == 8;
        let asked = if double { 1e-10 } else { 1e-5 };
        let stop = Stop::residual(A::Scalar::from_f64(asked)).at_most(400);
        let exact: Vec<Vec<f64>> = rows.iter().map(|row| network.solve(row)[1..].concat()).collect();
        for backend in subject::backends() {
            let on = net.on(backend);
            let mut injection = Injection::<Network<A>, B>::ZERO;
            on.inject(&input, &mut injection).unwrap();
            for (solver_name, solver) in solvers::<A::Scalar>() {
                let mut state = State::<Network<A>, B>::ZERO;
                let mut room = room(solver, Network::<A>::UNITS, B);
                let mut reports = vec![Solved { sweeps: 0, residual: A::Scalar::ZERO }; B];
                let solved = solver
                    .solve_each(&on.map(&injection), state.as_mut_slice(), stop, &mut room, &mut reports)
                    .unwrap_or_else(|error| panic!("{name}, {solver_name}: {error}"));
                let found = subject::states(&state);
                for (found, exact) in found.iter().zip(&exact) {
                    for (found, exact) in found.iter().zip(exact) {
                        assert!(
                            (found - exact).abs() < 20.0 * asked,
                            "{name}, {solver_name}: {found}, {exact}"
                        );
                    }
                }
                assert_eq!(solved.sweeps, reports.iter().map(|report| report.sweeps).max().unwrap());
                let worst = reports.iter().fold(0.0_f64, |worst, report| worst.max(report.residual.to_f64()));
                assert_eq!(solved.residual.to_f64(), worst);
                assert!(worst <= asked);
            }
        }
    }
    check::<<fnn![4, 9, 7, 3] as IsNetwork>::Architecture, 1>("adjacent");
    check::<<fnn![4, 9, 7, 3; scalar = f64] as IsNetwork>::Architecture, 5>("adjacent, f64");
    check::<<fnn![4, 9, 7, 3; feedback = Dense] as IsNetwork>::Architecture, 33>("dense");
    check::<<fnn![4, 9, 7, 3; feedback = Skip, scalar = f64] as IsNetwork>::Architecture, 1>("skip, f64");
    check::<<fnn![4, 9, 7, 3; feedback = Tied<40>] as IsNetwork>::Architecture, 2>("tied");
}

/// The architecture of a type that `fnn!` writes.
trait IsNetwork {
    type Architecture: Architecture;
}
impl<A: Architecture> IsNetwork for Network<A> {
    type Architecture = A;
}

/// Linear maps whose sweeps make errors larger, against a decomposition of I - A.
#[test]
fn maps_that_do_not_contract() {
    const UNITS: usize = 12;
    let mut solved_by_broyden = 0;
    for seed in 0..20 {
        let map = Layer::<UNITS>::random(3.0, seed, false);
        let identity = SMatrix::<f64, UNITS, UNITS>::identity();
        let exact = (identity - map.a).lu().solve(&map.b).expect("not singular");
        let stop = Stop::residual(1e-9).at_most(400);
        let mut state = [0.0; UNITS];
        let plain = Solver::plain();
        assert!(plain.solve(&map, &mut state, stop, &mut room(plain, UNITS, 1)).is_err());
        for solver in [Solver::anderson(UNITS), Solver::broyden(2 * UNITS)] {
            let mut state = [0.0; UNITS];
            let solved = solver.solve(&map, &mut state, stop, &mut room(solver, UNITS, 1));
            let error = state.iter().zip(exact.iter()).fold(0.0_f64, |most, (h, e)| most.max((h - e).abs()));
            if solver == Solver::anderson(UNITS) {
                // In as many sweeps as there are units, and two.
                assert!(solved.is_ok_and(|solved| solved.sweeps <= UNITS + 2), "{seed}: {solved:?}");
            } else {
                solved_by_broyden += usize::from(solved.is_ok());
            }
            assert!(solved.is_err() || error < 1e-6, "{seed}, {solver:?}: {error}");
        }
    }
    // Safeguarded, it may lose its way where a matrix is next to singular.
    assert!(solved_by_broyden >= 18, "{solved_by_broyden} of 20");
}

/// dJ/db of a loss at the fixed point, against central differences of that loss.
#[test]
fn gradients() {
    const UNITS: usize = 7;
    let stop = Stop::residual(1e-13).at_most(3000);
    for seed in 0..5 {
        let mut map = Layer::<UNITS>::random(1.2, seed, true);
        let weights: Vec<f64> = (0..UNITS).map(|i| (i as f64 + 1.0).sin()).collect();
        for (name, solver) in solvers() {
            let mut room = room(solver, UNITS, 1);
            let mut loss = |map: &Layer<UNITS>| {
                let mut state = [0.0; UNITS];
                solver
                    .solve(map, &mut state, stop, &mut room)
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                (state.iter().zip(&weights).map(|(h, w)| w * h * h).sum::<f64>(), state)
            };
            let (_, state) = loss(&map);
            let mut differences = [0.0; UNITS];
            for (i, difference) in differences.iter_mut().enumerate() {
                let was = map.b[i];
                let mut at = |b: f64| {
                    map.b[i] = b;
                    loss(&map).0
                };
                *difference = (at(was + 1e-5) - at(was - 1e-5)) / 2e-5;
                map.b[i] = was;
            }
            let sent: Vec<f64> = state.iter().zip(&weights).map(|(h, w)| 2.0 * w * h).collect();
            let mut deltas = [0.0; UNITS];
            solver.adjoint(&map, &state, &sent, &mut deltas, stop, &mut room).unwrap();
            for (i, difference) in differences.iter().enumerate() {
                let slope = 1.0 - state[i].powi(2);
                assert!(
                    (slope * deltas[i] - difference).abs() < 1e-6,
                    "{name}, {i}: {}, {difference}",
                    slope * deltas[i]
                );
            }
        }
    }
}

/// Some samples of one layer, side by side.
struct Batch<const N: usize>(Layer<N>, Vec<Vec<f64>>);

impl<const N: usize> Map for Batch<N> {
    type Scalar = f64;
    fn units(&self) -> usize {
        self.0.units()
    }
    fn samples(&self) -> usize {
        self.1.len()
    }
    fn apply(&self, state: &[f64], next: &mut [f64]) {
        let samples = self.samples();
        for (sample, b) in self.1.iter().enumerate() {
            let own: Vec<f64> = state.iter().skip(sample).step_by(samples).copied().collect();
            let sums = self.0.sums(&own);
            for ((next, z), b) in next.iter_mut().skip(sample).step_by(samples).zip(sums.iter()).zip(b) {
                *next = (z + b).tanh();
            }
        }
    }
}

/// What comes of a sample depends on no other: neither its solution nor its sweeps, but for a rounding or two.
#[test]
fn samples_are_apart() {
    const UNITS: usize = 9;
    let inputs: Vec<Vec<f64>> =
        (0..6).map(|s| (0..UNITS).map(|i| f64::from(s) * (i as f64).cos() / 3.0).collect()).collect();
    let stop = Stop::residual(1e-8).at_most(150);
    let none = Solved { sweeps: 0, residual: 0.0 };
    let mut apart = 0;
    for (name, solver) in solvers() {
        let layer = || Layer::<UNITS>::random(1.9, 3, true);
        let together = Batch(layer(), inputs.clone());
        let mut states = vec![0.0; UNITS * 6];
        let mut reports = [none; 6];
        let all = solver.solve_each(&together, &mut states, stop, &mut room(solver, UNITS, 6), &mut reports);
        let mut every = true;
        for (sample, input) in inputs.iter().enumerate() {
            let one = Batch(layer(), vec![input.clone()]);
            let (mut state, mut report) = ([0.0; UNITS], [none]);
            let solved = solver.solve_each(&one, &mut state, stop, &mut room(solver, UNITS, 1), &mut report);
            every &= solved.is_ok();
            if solved.is_err() {
                continue;
            }
            apart += 1;
            assert!(
                reports[sample].sweeps.abs_diff(report[0].sweeps) <= 2,
                "{name}: {reports:?}, {report:?}"
            );
            for (h, own) in states.iter().skip(sample).step_by(6).zip(&state) {
                assert!((h - own).abs() < 1e-6, "{name}, sample {sample}: {h}, {own}");
            }
        }
        assert_eq!(all.is_ok(), every, "{name}");
    }
    assert!(apart > 20, "{apart} samples are compared");
}

/// A map that writes down where it was asked.
struct Seen<'a, const N: usize>(&'a Layer<N>, RefCell<Vec<(f64, Vec<f64>)>>);

impl<const N: usize> Map for Seen<'_, N> {
    type Scalar = f64;
    fn units(&self) -> usize {
        self.0.units()
    }
    fn apply(&self, state: &[f64], next: &mut [f64]) {
        self.0.apply(state, next);
        let change = state.iter().zip(&*next).fold(0.0_f64, |most, (h, f)| most.max((f - h).abs()));
        self.1.borrow_mut().push((change, next.to_vec()));
    }
}

/// At the limit the state is the best there was, and its residual is told.
#[test]
fn the_best_state_is_kept() {
    for seed in 0..10 {
        let layer = Layer::<8>::random(4.0, seed, true);
        for (name, solver) in solvers() {
            for limit in [1, 2, 7, 20] {
                let map = Seen(&layer, RefCell::default());
                let mut state = [0.0; 8];
                let stop = Stop::residual(0.0).at_most(limit);
                let result = solver.solve(&map, &mut state, stop, &mut room(solver, 8, 1));
                let seen = map.1.into_inner();
                let best = seen.iter().fold(&seen[0], |best, one| if one.0 < best.0 { one } else { best });
                assert_eq!(seen.len(), limit);
                assert_eq!(
                    result,
                    Err(MapError::Solve(SolveError::NotConverged { sweeps: limit, residual: best.0 })),
                    "{name}"
                );
                assert_eq!(state.as_slice(), best.1, "{name}");
            }
        }
    }
}

/// h = ln(h) + 1.8 in every unit, which has no value below 0.
struct Logarithm;

impl Map for Logarithm {
    type Scalar = f64;
    fn units(&self) -> usize {
        2
    }
    fn apply(&self, state: &[f64], next: &mut [f64]) {
        next.iter_mut().zip(state).for_each(|(next, h)| *next = h.ln() + 1.8);
    }
}

#[test]
fn numbers_that_are_not_finite() {
    let stop = Stop::residual(1e-10).at_most(300);
    for (name, solver) in solvers() {
        // No way on from the start.
        let mut state = [-1.0, 2.0];
        let result = solver.solve(&Logarithm, &mut state, stop, &mut room(solver, 2, 1));
        assert!(
            matches!(result, Err(MapError::Solve(SolveError::NotFinite(_)))) && state == [0.0; 2],
            "{name}"
        );
        // From 0.2 a sweep leads to 0.19 and below 0 soon after; from 2 it leads to the solution.
        let mut state = [2.0, 1.5];
        solver.solve(&Logarithm, &mut state, stop, &mut room(solver, 2, 1)).unwrap();
        assert!(state.iter().all(|h| (h.ln() + 1.8 - h).abs() < 1e-9), "{name}: {state:?}");
    }
    // Where a sweep leads out of it, a solver that remembers goes back; a plain one cannot.
    let plain = Solver::plain();
    let mut state = [0.15, 0.15];
    let result = plain.solve(&Logarithm, &mut state, stop, &mut room(plain, 2, 1));
    assert!(matches!(result, Err(MapError::Solve(SolveError::NotFinite(_)))) && state == [0.0; 2]);
    for solver in [Solver::anderson(2), Solver::broyden(4)] {
        let mut state = [0.15, 0.15];
        let result = solver.solve(&Logarithm, &mut state, stop, &mut room(solver, 2, 1));
        assert!(
            result.is_ok() && state.iter().all(|h| (h.ln() + 1.8 - h).abs() < 1e-9),
            "{result:?}, {state:?}"
        );
    }
}

#[test]
fn what_is_wrong_is_refused_and_changes_nothing() {
    let map = Layer::<4>::random(0.5, 1, true);
    let stop = Stop::residual(1e-6);
    let solve = |solver: Solver<f64>, units: usize, room: usize| {
        let mut state = vec![0.5; units];
        let result = solver.solve(&map, &mut state, stop, &mut vec![0.0; room]);
        assert!(result.is_ok() || state.iter().all(|h| *h == 0.5));
        result
    };
    let anderson = Solver::anderson(2);
    let needed = anderson.room(4, 1);
    assert!(solve(anderson, 4, needed).is_ok());
    assert!(solve(anderson, 4, needed + 5).is_ok());
    let length = |what, needed, given| Err(MapError::Length { what, needed, given });
    assert_eq!(solve(anderson, 4, needed - 1), length("room", needed, needed - 1));
    assert_eq!(solve(anderson, 5, needed), length("state", 4, 5));
    assert_eq!(
        solve(anderson, 4, 3).unwrap_err().to_string(),
        format!("room has 3 numbers, {needed} are needed")
    );
    for wrong in [
        Solver::damped(0.0),
        Solver::damped(1.5),
        Solver::damped(f64::NAN),
        Solver::damped(-0.1),
        Solver::anderson(0),
        Solver::anderson(33),
        Solver::broyden(0),
        Solver::broyden(33),
    ] {
        assert!(matches!(solve(wrong, 4, 2000), Err(MapError::Setting(_))), "{wrong:?}");
    }
    let (state, mut deltas, mut memory) = ([0.0; 4], [0.5; 4], vec![0.0; needed]);
    let adjoint = anderson.adjoint(&map, &state[1..], &state, &mut deltas, stop, &mut memory);
    assert_eq!(adjoint, length("state", 4, 3));
    let adjoint = anderson.adjoint(&map, &state, &[], &mut deltas, stop, &mut memory);
    assert_eq!(adjoint, length("gradient", 4, 0));
    let adjoint = anderson.adjoint(&map, &state, &state, &mut deltas[..2], stop, &mut memory);
    assert_eq!(adjoint, length("deltas", 4, 2));
    // As many units as there are numbers, and more than any slice has.
    struct Endless;
    impl Map for Endless {
        type Scalar = f64;
        fn units(&self) -> usize {
            usize::MAX
        }
        fn samples(&self) -> usize {
            3
        }
        fn apply(&self, _: &[f64], _: &mut [f64]) {}
    }
    let endless = anderson.solve(&Endless, &mut deltas, stop, &mut memory);
    assert_eq!(endless, length("state", usize::MAX, 4));
    let reports = anderson.solve_each(&map, &mut deltas, stop, &mut memory, &mut []);
    assert_eq!(reports, length("reports", 1, 0));
    assert_eq!(deltas, [0.5; 4]);
}

/// Exactly so many sweeps.
#[test]
fn so_many_sweeps() {
    let map = Layer::<5>::random(0.9, 2, true);
    let plain = Solver::plain();
    let mut state = [0.1; 5];
    let solved = plain.solve(&map, &mut state, Stop::after(3), &mut room(plain, 5, 1)).unwrap();
    let (mut h, mut next) = ([0.1; 5], [0.0; 5]);
    for _ in 0..3 {
        map.apply(&h, &mut next);
        std::mem::swap(&mut h, &mut next);
    }
    assert_eq!((solved.sweeps, state), (3, h));
}

/// A trace of a plain solve is that of the network, and one of a map of your own tells as much.
#[test]
fn traces() {
    type Net = fnn![3, 6, 2; scalar = f64];
    let mut network = subject::oracle(&Net::ZERO);
    network.draw(&mut SmallRng::seed_from_u64(4), 0.9, 0.9);
    let net: Net = subject::network(&network);
    let on = net.on(Backend::best());
    let (mut state, mut expected) = (Net::state(), Trace::<f64, 16>::new());
    let stop = Stop::residual(1e-9).at_most(25);
    let input = [0.5, -1.0, 0.25];
    let solved = on.solve_traced(&input, &mut state, stop, &mut expected);
    let mut injection = Injection::<Net, 1>::ZERO;
    on.inject(&input, &mut injection).unwrap();
    let (mut own, mut trace) = (Net::state::<1>(), Trace::<f64, 16>::new());
    let plain = Solver::plain();
    let result = plain.solve_traced(
        &on.map(&injection),
        own.as_mut_slice(),
        stop,
        &mut room(plain, Net::UNITS, 1),
        &mut trace,
    );
    assert_eq!(result.is_ok(), solved.is_ok());
    assert!(trace.residuals().eq(expected.residuals()));
    assert_eq!(trace.rate(), expected.rate());
    assert_eq!(trace.diagnosis(None).to_string(), expected.diagnosis(None).to_string());

    let growing = Layer::<1> { a: SMatrix::from_element(1.07), b: SVector::from_element(1e-6), tanh: true };
    for (limit, grows) in [(75, true), (100, true), (600, false)] {
        let mut state = [0.0];
        let stop = Stop::residual(1e-9).at_most(limit);
        let result = plain.solve_traced(&growing, &mut state, stop, &mut room(plain, 1, 1), &mut trace);
        assert_eq!(result.is_err(), grows);
        assert_eq!(
            matches!(trace.diagnosis(None), Diagnosis::Growing { .. }),
            grows,
            "{}",
            trace.diagnosis(None)
        );
    }
}

/// Maps of tanh that turn and stretch: sweeps find few fixed points, and solvers most.
#[test]
fn most_maps_are_solved() {
    let stop = Stop::residual(1e-9).at_most(300);
    let count = |solver: Solver<f64>| {
        let solved = |seed: &u64| {
            let map = Layer::<12>::random(4.0, *seed, true);
            solver.solve(&map, &mut [0.0; 12], stop, &mut room(solver, 12, 1)).is_ok()
        };
        (0..100).filter(solved).count()
    };
    assert!(count(Solver::plain()) < 30);
    assert!(count(Solver::anderson(4)) >= 85);
    assert!(count(Solver::anderson(8)) >= 85);
    assert!(count(Solver::broyden(12)) >= 90);
}
