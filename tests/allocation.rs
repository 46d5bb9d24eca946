//! Nothing that solves or learns allocates: a counting allocator watches.

use attractor::kernel::{self, Base, Matrix, MatrixMut, Product, Sigmoid, Tanh};
use attractor::learn::{
    Adam, Cosine, CrossEntropy, LearnError, Loss, MeanSquared, Method, Objective, Optimizer, Sgd, Trainer,
    UnrolledTape, clip,
};
use attractor::simd::Backend;
use attractor::solve::Solver;
use attractor::{
    Acceleration, Align64, Boxed, Dense, Injection, SolveError, State, Stop, Trace, Workspace, fnn,
};
use nalgebra::SMatrix;
use rand::{SeedableRng, rngs::SmallRng};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

thread_local! {
    /// Calls of the allocator by this thread; other tests and the harness have threads of their own.
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    CALLS.with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: everything is handed to the system's allocator; the counter neither allocates nor has a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the same contract, which the caller keeps.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the same contract, which the caller keeps.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the same contract, which the caller keeps.
        unsafe { System.realloc(place, layout, size) }
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count();
        // SAFETY: the same contract, which the caller keeps.
        unsafe { System.dealloc(place, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The result of `work` and how often it called the allocator.
fn counted<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let before = CALLS.with(Cell::get);
    let result = work();
    (result, CALLS.with(Cell::get) - before)
}

/// The result of `work`, which must not call the allocator.
#[track_caller]
fn without<R>(what: &str, work: impl FnOnce() -> R) -> R {
    let (result, calls) = counted(work);
    assert_eq!(calls, 0, "{what} called the allocator");
    result
}

/// What `work` gives, which must be no error, without calling the allocator.
#[track_caller]
fn fine<R, E: core::fmt::Debug>(what: &str, work: impl FnOnce() -> Result<R, E>) -> R {
    without(what, work).unwrap_or_else(|error| panic!("{what}: {error:?}"))
}

#[test]
fn the_counter_counts() {
    let (kept, calls) = counted(|| black_box(vec![1_u8; 100]));
    assert_eq!(calls, 1);
    let ((), calls) = counted(|| drop(kept));
    assert_eq!(calls, 1, "freeing is seen");
    let (_, calls) = counted(|| {
        let mut grown = black_box(Vec::with_capacity(1));
        grown.extend_from_slice(black_box(&[0_u64; 50]));
        grown.len()
    });
    assert_eq!(calls, 3, "growing is seen");
    assert_eq!(counted(<fnn![3, 2]>::boxed).1, 1, "so is a box of ours");
}

/// All of a network's life at one batch size on every backend.
macro_rules! lives_without {
    ($net:ty, $scalar:ty, $inputs:literal, $loss:expr, $batch:literal, $target:expr) => {{
        type Net = $net;
        const B: usize = $batch;
        let mut net = Net::ZERO;
        net.initialize(&mut SmallRng::seed_from_u64(7));
        let input = SMatrix::<$scalar, B, $inputs>::from_fn(|r, c| ((r * 7 + c) as $scalar).sin());
        let target = $target;
        let tolerance = Stop::residual(1e-4);
        for backend in Backend::available() {
            let name = format!("{} {} {B} {}", stringify!($net), stringify!($scalar), backend.name());
            let on = net.on(backend);
            let mut injection = Injection::<Net, B>::ZERO;
            let mut state = Net::state::<B>();
            let mut gradient = Net::ZERO;
            let mut workspace = Workspace::<Net, B>::ZERO;
            let mut tape = UnrolledTape::<Net, B, 3>::ZERO;
            let mut slope = SMatrix::<$scalar, B, $inputs>::zeros();
            let objective = Objective::new($loss).solve(tolerance);
            fine(&format!("{name}: inject"), || on.inject(&input, &mut injection));
            fine(&format!("{name}: sweep"), || on.sweep(&injection, &mut state));
            let solved = without(&format!("{name}: solve"), || on.solve(&input, &mut state, tolerance));
            assert!(solved.unwrap().residual <= 1e-4);
            for rule in [Method::Implicit(tolerance), Method::Truncated(1), Method::Literal(tolerance)] {
                let objective = objective.method(rule);
                fine(&format!("{name}: gradient"), || {
                    on.gradient(&objective, &input, &target, &mut workspace, &mut gradient)
                });
            }
            for solver in [Solver::damped(0.5), Solver::anderson(2), Solver::broyden(3)] {
                let objective = objective.solver(solver);
                let mut room = vec![0.0; objective.room::<Net>(B)];
                fine(&format!("{name}: gradient by {solver:?}"), || {
                    on.gradient_in(&objective, &input, &target, &mut workspace, &mut room, &mut gradient)
                });
            }
            fine(&format!("{name}: input gradient"), || {
                net.input_gradient(workspace.adjoint.first(), &mut slope)
            });
            fine(&format!("{name}: adjoint"), || {
                let Workspace { state, adjoint, output } = &mut workspace;
                on.adjoint(Method::Implicit(tolerance), state, output, adjoint)
            });
            fine(&format!("{name}: accumulate"), || {
                Net::accumulate(&input, &workspace.state, &workspace.adjoint, &mut gradient)
            });
            fine(&format!("{name}: unrolled"), || {
                on.gradient_unrolled(&$loss, &input, &target, &mut tape, &mut workspace, &mut gradient)
            });
            fine(&format!("{name}: loss"), || $loss.evaluate(state.output(), &target, &mut workspace.output));
            assert!(gradient.params().iter().any(|g| *g != 0.0));

            // Errors do not allocate either.
            let mut elsewhere = state.clone();
            elsewhere.as_mut_slice().fill(0.5);
            let error = without(&format!("{name}: not converged"), || {
                on.solve(&input, &mut elsewhere, Stop::residual(0.0).at_most(1))
            });
            assert!(matches!(error, Err(SolveError::NotConverged { sweeps: 1, .. })));
            let mut poisoned = input;
            poisoned[0] = <$scalar>::NAN;
            let error = without(&format!("{name}: not finite"), || {
                on.gradient(&objective, &poisoned, &target, &mut workspace, &mut gradient)
            });
            assert!(matches!(error, Err(LearnError::Solve(SolveError::NotFinite(_)))));

            // Trainers: optimizers in the places there are, with clipping.
            macro_rules! trains {
                ($room:ty, $network:expr, $optimizer:expr) => {{
                    let mut trainer: Trainer<$room, _, _, B> = Trainer::new($network, $optimizer, objective);
                    trainer.backend = backend;
                    trainer.clip = Some(0.5);
                    let before = trainer.network.params().to_vec();
                    let step = fine(&format!("{name}: {}", stringify!($optimizer)), || {
                        trainer.step(&input, &target)
                    });
                    assert!(step.norm.unwrap() > 0.0);
                    assert_ne!(trainer.network.params(), before, "it learnt");
                }};
            }
            trains!(Net, net.clone(), Sgd::plain());
            trains!(Net, net.clone(), Sgd::<Net>::with_momentum(0.9).decay(0.01));
            trains!(Net, net.clone(), Adam::<Net>::new().decay(0.01));
            trains!(Align64<Net>, Align64(net.clone()), Adam::<Align64<Net>>::new());
            let boxed = || {
                let mut boxed = Net::boxed();
                boxed.params_mut().copy_from_slice(net.params());
                boxed
            };
            trains!(Boxed<Net>, boxed(), Adam::<Boxed<Net>>::new());
        }
    }};
}

// One sample, and a batch of a whole chunk and a tail: what lies between differs only in numbers at run time. Few
// network types, for each is compiled for every backend.
#[test]
fn networks_of_f32_do_not_allocate() {
    lives_without!(fnn![9, 17, 5, 3], f32, 9, CrossEntropy::new(), 1, [1_usize; B]);
    lives_without!(fnn![9, 17, 5, 3], f32, 9, CrossEntropy::smoothed(0.1), 43, [2_usize; B]);
}

#[test]
fn networks_of_f64_do_not_allocate() {
    lives_without!(fnn![9, 12, 5, 3; feedback = Dense, scalar = f64], f64, 9, MeanSquared, 1, [0.25; 3]);
    lives_without!(
        fnn![9, 12, 5, 3; feedback = Dense, scalar = f64],
        f64,
        9,
        MeanSquared,
        43,
        SMatrix::<f64, B, 3>::from_element(0.25)
    );
}

#[test]
fn certificates_do_not_allocate() {
    type Net = fnn![9, 17, 5, 3];
    let mut net = Net::ZERO;
    net.initialize(&mut SmallRng::seed_from_u64(7));
    let certificate = fine("limit_rate", || net.limit_rate(0.3));
    assert_eq!(fine("certify", || net.certify()).as_slice().len(), Net::UNITS + 6);
    let adjoint = fine("certify_adjoint", || net.certify_adjoint());
    fine("verify the adjoint", || adjoint.verify(&net));
    let certified = fine("verify", || certificate.verify(&net));
    let (mut state, input) = (Net::state(), [0.5; 9]);
    for backend in Backend::available() {
        let certified = certified.on(backend);
        let answer = fine("certified solve", || certified.solve(&input, &mut state, 1e-3));
        assert!(answer.bound.largest() <= 1e-3);
        fine("label", || certified.label(&input, &mut state));
        let mut stream = fine("refine", || certified.refine(&input, &mut state));
        fine("follow", || stream.follow(&[0.25; 9]));
        assert!(fine("certified sweep", || stream.sweep()).weighted() > 0.0);
        assert!(without("drift", || certified.drift(&[0.1; 9])) > 0.0);
    }
    net.layer_mut::<1>().u.fill(9.0);
    without("refuse", || certificate.verify(&net).is_err().then_some(())).unwrap();
}

#[test]
fn accelerated_and_traced_solves_do_not_allocate() {
    type Net = fnn![9, 17, 5, 3];
    let mut net = Net::ZERO;
    net.initialize(&mut SmallRng::seed_from_u64(7));
    net.layer_mut::<1>().u.fill(0.3);
    let (input, tolerance) = ([0.5; 9], Stop::residual(1e-5));
    let mut acceleration = without("new", || Acceleration::<Net, 3>::new().damping(0.9).safeguard(0.8));
    let mut trace = without("new", Trace::<f32, 16>::new);
    for backend in Backend::available() {
        let on = net.on(backend);
        let mut state = Net::state();
        fine("accelerated", || on.solve_accelerated(&input, &mut state, tolerance, &mut acceleration));
        state.reset();
        let error =
            without("traced", || on.solve_traced(&input, &mut state, tolerance.at_most(5), &mut trace));
        assert!(matches!(error, Err(SolveError::NotConverged { sweeps: 5, .. })), "{error:?}");
        let mut text = String::with_capacity(1000);
        fine("diagnosis", || {
            std::fmt::Write::write_fmt(&mut text, format_args!("{}", trace.diagnosis(None)))
        });
        assert!(text.len() > 20 && text.len() < 500, "{text}");
    }
}

#[test]
fn flat_parts_do_not_allocate() {
    let mut weights = [0.5_f32; 40];
    let mut gradient = [3.0_f32; 40];
    fine("clip", || clip(&mut gradient, 1.0));
    fine("plain", || Sgd::plain().update(&mut weights, &gradient, 0.1));
    let mut scalars = vec![0.0_f32; <fnn![4, 3, 2]>::PARAMS];
    fine("from_slice", || <fnn![4, 3, 2]>::from_slice(&scalars).map(|net| net.params().len()));
    fine("from_slice_mut", || <fnn![4, 3, 2]>::from_slice_mut(&mut scalars).map(|_| ()));
    fine("State::from_slice_mut", || {
        State::<fnn![4, 3, 2], 8>::from_slice_mut(&mut [0.0; 40]).map(|state| state.as_slice().len())
    });
    let schedule = Cosine { start: 1e-4, peak: 3e-3, end: 0.0, warm_up: 10, steps: 100 };
    let rate: f32 = without("schedule", || (0..200).map(|step| schedule.rate(step)).sum());
    assert!(rate > 0.1);
    let mut fresh = <fnn![4, 3, 2]>::ZERO;
    let mut random = SmallRng::seed_from_u64(1);
    without("initialize", || fresh.initialize(&mut random));
    assert!(fresh.params().iter().any(|w| *w != 0.0));
}

#[test]
fn kernels_do_not_allocate() {
    fn run<T: kernel::Scalar>(backend: Backend, samples: usize, units: usize, inputs: usize) {
        let fill = |count: usize| -> Vec<T> {
            (0..count).map(|i| T::from_f64(((i % 13) as f64 - 6.0) / 6.0)).collect()
        };
        let (weights, batch, bias) = (fill(units * inputs), fill(samples * inputs), fill(units));
        let (mut out, mut back) = (fill(samples * units), fill(samples * inputs));
        let (deltas, mut gradient) = (fill(samples * units), fill(units * inputs));
        fine(&format!("kernels {} {samples} x {units} x {inputs}", backend.name()), || {
            let matrix = Matrix::new(&weights, units, inputs)?;
            let batch = Matrix::new(&batch, samples, inputs)?;
            let deltas = Matrix::new(&deltas, samples, units)?;
            let out = MatrixMut::new(&mut out, samples, units)?;
            let forward = [Product { matrix, operand: batch }];
            kernel::layer::<T, Tanh>(backend, Base::Bias(&bias), &forward, out)?;
            let backward = [Product { matrix, operand: deltas }];
            kernel::transposed(backend, Base::Zero, &backward, MatrixMut::new(&mut back, samples, inputs)?)?;
            kernel::outer(backend, deltas, batch, MatrixMut::new(&mut gradient, units, inputs)?)?;
            kernel::activate::<T, Sigmoid>(backend, &mut back);
            for value in &mut back {
                *value = -*value;
            }
            kernel::exp(backend, &mut back);
            Ok::<(), kernel::ShapeError>(())
        });
        let finite = |values: &[T]| values.iter().all(|x| x.to_f64().is_finite());
        assert!(finite(&out) && finite(&back) && finite(&gradient));
    }
    for backend in Backend::available() {
        for samples in [1, 2, 16, 33, 70] {
            for (units, inputs) in [(1, 1), (10, 7), (48, 65)] {
                run::<f32>(backend, samples, units, inputs);
                run::<f64>(backend, samples, units, inputs);
            }
        }
    }
}
