//! A network of its own for every split, by the trainer's defaults.

use crate::tables::Split;
use attractor::learn::{Adam, LearnError, Loss, Objective, Outcome, Trainer, Unsolved};
use attractor::network::Takes;
use attractor::simd::Backend;
use attractor::solve::{MapError, Solver};
use attractor::{Boxed, Network, SolveError, State, Stop};
use nalgebra::SMatrix;
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};
use std::time::Instant;

/// Rows in a batch.
pub(crate) const BATCH: usize = 32;
const RATE: f32 = 3e-3;

/// How a network is trained.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// The rate it is held to, if it is.
    pub(crate) hold: Option<f32>,
    /// What finds its fixed points.
    pub(crate) solver: Solver,
}

/// What came of a training.
pub(crate) struct Run {
    /// Of the rows to test: the share of right answers, or R2.
    pub(crate) score: f64,
    pub(crate) steps: u64,
    /// Steps that were left out because solve or adjoint did not converge.
    pub(crate) not_converged: u64,
    /// Mean sweeps of the solve over the steps of the last epoch that converged.
    pub(crate) sweeps: f64,
}

type Learner<A, C> = Trainer<Boxed<Network<A>>, Adam<Boxed<Network<A>>>, C, BATCH>;

/// A trainer with Adam, all else as it is by default.
fn trainer<A: Takes<I, Scalar = f32>, C, const I: usize>(
    mut network: Boxed<Network<A>>,
    loss: C,
    seed: u64,
) -> Learner<A, C> {
    network.initialize(&mut SmallRng::seed_from_u64(seed));
    let mut trainer = Trainer::new(network, Adam::new(), Objective::new(loss));
    trainer.rate = RATE;
    trainer
}

fn inputs<const I: usize>(split: &Split<'_>, rows: &[usize; BATCH]) -> SMatrix<f32, BATCH, I> {
    SMatrix::from_fn(|sample, input| split.input(rows[sample])[input])
}

/// Trains `network` for so many epochs, and tests it. `targets` makes of rows what the loss asks for.
pub(crate) fn train<A: Takes<I, Scalar = f32>, C, Y, const I: usize>(
    network: Boxed<Network<A>>,
    loss: C,
    epochs: u32,
    split: &Split<'_>,
    targets: impl Fn(&Split<'_>, &[usize; BATCH]) -> Y,
    kind: Kind,
) -> Result<Run, String>
where
    C: Loss<A::Output<BATCH>, Y, Scalar = f32>,
{
    let seed = split.test[0] as u64;
    let mut trainer = trainer(network, loss, seed);
    trainer.hold = kind.hold;
    trainer.objective = trainer.objective.solver(kind.solver);
    let mut room = vec![0.0; trainer.objective.room::<Network<A>>(BATCH)];
    // Instead of an error, so that those that are not held come to an end too.
    trainer.unsolved = Unsolved::Skip;
    let mut random = SmallRng::seed_from_u64(!seed);
    let mut order = split.training.clone();
    let (mut steps, mut not_converged, mut sweeps) = (0, 0, 0.0);
    for _ in 0..epochs {
        order.shuffle(&mut random);
        let mut last = (0.0, 0.0);
        // The rows left over are others in every epoch.
        for rows in order.as_chunks::<BATCH>().0 {
            let step = trainer.step_in(&inputs(split, rows), &targets(split, rows), &mut room);
            let step = step.map_err(|error| error.to_string())?;
            (steps, not_converged) = (steps + 1, step.unsolved);
            if step.outcome == Outcome::Solved {
                last = (last.0 + step.report.solve.sweeps as f64, last.1 + 1.0);
            }
        }
        // NaN if none did.
        sweeps = last.0 / last.1;
    }
    let mut state = State::<Network<A>>::boxed();
    let mut alone = vec![0.0; kind.solver.room_of::<Network<A>>(1)];
    let mut answers = Vec::with_capacity(split.test.len());
    for row in &split.test {
        let input: [f32; I] = core::array::from_fn(|i| split.input(*row)[i]);
        state.reset();
        // One that is not held may not converge; the best state there was is an answer all the same.
        let (on, stop) = (trainer.network.on(Backend::best()), Stop::residual(1e-4));
        match on.solve_in(&kind.solver, &input, &mut state, stop, &mut alone) {
            Ok(_) | Err(MapError::Solve(SolveError::NotConverged { .. })) => {}
            Err(error) => return Err(error.to_string()),
        }
        let outputs = state.as_slice();
        answers.push(outputs[outputs.len() - Network::<A>::OUTPUTS..].to_vec());
    }
    Ok(Run { score: split.score(&answers), steps, not_converged, sweeps })
}

/// The time of a step held to a rate over that of one that is not: medians, of two trainers that step in turn.
pub(crate) fn cost<A: Takes<I, Scalar = f32>, C, Y, const I: usize>(
    network: impl Fn() -> Boxed<Network<A>>,
    loss: fn() -> C,
    split: &Split<'_>,
    targets: impl Fn(&Split<'_>, &[usize; BATCH]) -> Y,
) -> Result<f64, LearnError>
where
    C: Loss<A::Output<BATCH>, Y, Scalar = f32>,
{
    const STEPS: usize = 400;
    let mut held = trainer(network(), loss(), 1);
    let mut free = trainer(network(), loss(), 1);
    let rows = core::array::from_fn(|i| split.training[i]);
    let (input, target) = (inputs(split, &rows), targets(split, &rows));
    held.step(&input, &target)?;
    // The same weights, and at a rate that leaves them so, as many sweeps.
    free.network.params_mut().copy_from_slice(held.network.params());
    free.hold = None;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..STEPS {
        for (trainer, times) in [&mut held, &mut free].into_iter().zip(&mut times) {
            trainer.rate = 1e-9;
            let start = Instant::now();
            trainer.step(&input, &target)?;
            times.push(start.elapsed());
        }
    }
    let [held, free] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2].as_secs_f64()
    });
    Ok(held / free)
}
