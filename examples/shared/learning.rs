//! The training all experiments share: the crate's trainer with a one-cycle rate, and a bound on the feedback.

use attractor::learn::{Adam, Cosine, LearnError, Loss, Method, Objective, Trainer};
use attractor::network::Takes;
use attractor::{Boxed, Network, NonFinite, SolveError, Stop};
use nalgebra::SMatrix;

/// Samples in a batch.
pub(crate) const BATCH: usize = 64;
/// Inputs of a batch.
pub(crate) type Inputs<const INPUT: usize> = SMatrix<f32, BATCH, INPUT>;

// The share of the steps in which the rate rises.
const WARM_UP: f32 = 0.2;
/// A batch that takes more sweeps than it should weakens the feedback: without a bound, training drives the sweeps
/// to the edge of convergence and beyond.
const WEAKER: f32 = 0.97;
/// A batch that does not converge at all weakens it by more.
const MUCH_WEAKER: f32 = 0.8;
const CLIP: f32 = 1.0;

/// How a network is trained: the same for one with feedback and one without.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    pub(crate) rate: f32,
    pub(crate) decay: f32,
    pub(crate) steps: u32,
    /// What initial W and U are multiplied by.
    pub(crate) start: f32,
    /// The sweeps a batch may take before the feedback is weakened.
    pub(crate) sweeps: usize,
}

/// What came of a training.
pub(crate) struct Trained<N> {
    pub(crate) network: Boxed<N>,
    /// Batches without a gradient, because solve or adjoint met its limit.
    pub(crate) not_converged: usize,
    /// Mean sweeps of the solve over the last tenth of the batches, each counted with its slowest sample.
    pub(crate) sweeps: f64,
}

/// Trains `network` on the batches that `next` makes; `after` may change the parameters after every step.
pub(crate) fn train<A: Takes<INPUT, Scalar = f32>, C, Y, const INPUT: usize>(
    network: Boxed<Network<A>>,
    loss: C,
    recipe: Recipe,
    mut next: impl FnMut() -> (Inputs<INPUT>, Y),
    mut after: impl FnMut(&mut [f32]),
) -> Result<Trained<Network<A>>, LearnError>
where
    C: Loss<A::Output<BATCH>, Y, Scalar = f32>,
{
    let Recipe { rate, decay, steps, start, sweeps: most } = recipe;
    let limit = 2 * most;
    let objective = Objective::new(loss)
        .solve(Stop::residual(1e-3).at_most(limit))
        .method(Method::Implicit(Stop::relative(1e-2).at_most(limit)));
    let adam = Adam::<Boxed<Network<A>>>::new().decay(decay);
    let mut trainer: Trainer<_, _, _, BATCH> = Trainer::new(network, adam, objective);
    // Its feedback is weakened below, where a batch takes many sweeps.
    trainer.hold = None;
    trainer.clip = Some(CLIP);
    trainer.network.params_mut().iter_mut().for_each(|weight| *weight *= start);
    after(trainer.network.params_mut());
    let warm_up = (steps as f32 * WARM_UP) as u32;
    let schedule = Cosine { start: rate / 25.0, peak: rate, end: 0.0, warm_up, steps };
    let (mut not_converged, mut sweeps, mut last) = (0, 0, 0);
    for step in 0..steps {
        let (input, target) = next();
        trainer.rate = schedule.rate(step);
        match trainer.step(&input, &target) {
            Ok(made) => {
                if made.report.solve.sweeps > most {
                    trainer
                        .network
                        .scale_feedback(WEAKER)
                        .map_err(|_| LearnError::NotFinite(NonFinite::Overflow))?;
                }
                if step >= steps - steps.div_ceil(10) {
                    sweeps += made.report.solve.sweeps;
                    last += 1;
                }
            }
            // The batch is left out.
            Err(
                LearnError::Solve(SolveError::NotConverged { .. })
                | LearnError::Adjoint(SolveError::NotConverged { .. }),
            ) => {
                not_converged += 1;
                trainer
                    .network
                    .scale_feedback(MUCH_WEAKER)
                    .map_err(|_| LearnError::NotFinite(NonFinite::Overflow))?;
            }
            Err(error) => return Err(error),
        }
        after(trainer.network.params_mut());
    }
    Ok(Trained {
        network: trainer.network,
        not_converged,
        sweeps: f64::from(sweeps as u32) / f64::from(last.max(1)),
    })
}
