//! A batch on many threads: the bits of one thread, whatever the number of threads.

use attractor::learn::{CrossEntropy, LearnError, Method, Objective, Sgd, Trainer};
use attractor::simd::Backend;
use attractor::{Boxed, Dense, Skip, SolveError, Solved, State, Stop, Threads, Tied, Workspace, fnn};
use nalgebra::SMatrix;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

const SAMPLES: usize = 97; // three chunks and one sample

/// Runs on rayon's pool with one, two, three and five threads.
fn with_pools(mut check: impl FnMut(usize) + Send) {
    for threads in [1, 2, 3, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| check(rayon::current_num_threads()));
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

macro_rules! same_bits {
    ($name:ident, $net:ty, $inputs:literal, $outputs:literal) => {
        #[test]
        fn $name() {
            type Net = $net;
            let mut random = SmallRng::seed_from_u64(11);
            let mut net = Net::boxed();
            net.initialize(&mut random);
            let input =
                Box::new(SMatrix::<f32, SAMPLES, $inputs>::from_fn(|_, _| random.random_range(-1.0..1.0)));
            let labels: [usize; SAMPLES] = std::array::from_fn(|i| i % $outputs);
            let objective = Objective::new(CrossEntropy::new());
            for backend in Backend::available() {
                let run = |threads: Threads| {
                    let mut workspace = <Box<Workspace<Net, SAMPLES>>>::new(Workspace::ZERO);
                    let mut gradient = Net::boxed();
                    let learned = net
                        .on(backend)
                        .threads(threads)
                        .gradient(&objective, &*input, &labels, &mut workspace, &mut gradient)
                        .expect("it converges");
                    (
                        learned,
                        bits(workspace.state.as_slice()),
                        bits(workspace.adjoint.as_slice()),
                        bits(gradient.params()),
                    )
                };
                let alone = run(Threads::One);
                assert!(alone.3.iter().any(|bits| *bits != 0));
                with_pools(|threads| {
                    assert!(run(Threads::Rayon) == alone, "{} on {threads} threads", backend.name());
                });
            }
        }
    };
}

same_bits!(adjacent, fnn![20, 33, 17, 5], 20, 5);
same_bits!(tied, fnn![20, 33, 70, 5; feedback = Tied<40>], 20, 5);
same_bits!(skip, fnn![7, 18, 20, 9, 4; feedback = Skip], 7, 4);
same_bits!(dense, fnn![7, 18, 70, 9, 4; feedback = Dense], 7, 4);
same_bits!(tiny, fnn![3, 8, 2], 3, 2);

#[test]
fn training_takes_the_same_course() {
    type Net = fnn![20, 150, 40, 5];
    let mut random = SmallRng::seed_from_u64(3);
    let mut net = Net::boxed();
    net.initialize(&mut random);
    let input = Box::new(SMatrix::<f32, SAMPLES, 20>::from_fn(|_, _| random.random_range(-1.0..1.0)));
    let labels: [usize; SAMPLES] = std::array::from_fn(|i| i % 5);
    let run = |threads| {
        let mut room: Boxed<Net> = Net::boxed();
        room.params_mut().copy_from_slice(net.params());
        let mut trainer: Trainer<_, _, _, SAMPLES> =
            Trainer::new(room, Sgd::plain(), Objective::new(CrossEntropy::new()));
        trainer.rate = 0.05;
        trainer.threads = threads;
        let losses: Vec<u32> =
            (0..5).map(|_| trainer.step(&*input, &labels).expect("a step").report.loss.to_bits()).collect();
        (losses, bits(trainer.network.params()))
    };
    let alone = run(Threads::One);
    with_pools(|threads| assert!(run(Threads::Rayon) == alone, "{threads} threads"));
}

#[test]
fn errors_are_those_of_one_thread() {
    type Net = fnn![4, 6, 3];
    let mut random = SmallRng::seed_from_u64(5);
    let mut net = Net::ZERO;
    net.initialize(&mut random);
    let mut input = SMatrix::<f32, SAMPLES, 4>::from_fn(|_, _| random.random_range(-1.0..1.0));
    let run = |input: &SMatrix<f32, SAMPLES, 4>, tolerance, threads| {
        let mut state = State::<Net, SAMPLES>::ZERO;
        state.as_mut_slice().fill(0.25);
        let solved: Result<Solved, SolveError> =
            net.on(Backend::best()).threads(threads).solve(input, &mut state, tolerance);
        (solved, bits(state.as_slice()))
    };
    with_pools(|_| {
        let too_few = Stop::residual(1e-6).at_most(2);
        let alone = run(&input, too_few, Threads::One);
        assert!(matches!(alone.0, Err(SolveError::NotConverged { sweeps: 2, .. })));
        assert!(run(&input, too_few, Threads::Rayon) == alone);
        // The last sample is wrong: nothing may have changed, in no part of the batch.
        input[(SAMPLES - 1, 2)] = f32::NAN;
        let (solved, state) = run(&input, Stop::residual(1e-5), Threads::Rayon);
        assert!(matches!(solved, Err(SolveError::NotFinite(_))));
        assert!(state.iter().all(|bits| *bits == 0.25_f32.to_bits()));
        input[(SAMPLES - 1, 2)] = 0.5;
    });
    // Weights that overflow give no gradient and leave the accumulator alone.
    let mut workspace = Workspace::<Net, SAMPLES>::ZERO;
    let mut gradient = Net::ZERO;
    net.layer_mut::<1>().w.fill(3e38);
    let failed = net.on(Backend::best()).threads(Threads::Rayon).gradient(
        &Objective::new(CrossEntropy::new()).method(Method::Truncated(1)),
        &input,
        &[0; SAMPLES],
        &mut workspace,
        &mut gradient,
    );
    assert!(matches!(failed, Err(LearnError::Solve(SolveError::NotFinite(_)))));
    assert!(gradient.params().iter().all(|g| *g == 0.0));
}
