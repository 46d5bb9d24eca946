//! One network, from its initial weights to what it makes of the test digits.

use crate::classes::{ADJOINT, CLASSES, TOLERANCE, largest, outputs, scores};
use crate::data::{BATCH, Digit, PIXELS, Variation};
use attractor::learn::{
    Adam, Cosine, CrossEntropy, LearnError, Loss, Method, Objective, Outcome, Trainer, Unsolved,
};
use attractor::network::Takes;
use attractor::{Boxed, Injection, Network, State};
use core::array;
use nalgebra::SMatrix;
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};

/// Sweeps that are looked at one by one.
pub(crate) const SWEEPS: usize = 12;

// The recipe: the same for both networks and every seed, and the last weights are what is tested.
const RATE: f32 = 1e-2;
/// The share of the steps in which the rate rises.
const WARM_UP: f32 = 0.3;
const DECAY: f32 = 0.05;
const SMOOTHING: f32 = 0.05;
const VARIATION: Variation = Variation { shift: 0.16, noise: 0.05 };

/// What is reported after an epoch.
pub(crate) struct Epoch {
    pub(crate) number: u32,
    /// Mean over the epoch, of varied digits.
    pub(crate) loss: f32,
    /// Shares of right answers now, of the digits as they are.
    pub(crate) train: f32,
    pub(crate) test: f32,
    /// Mean over the batches, each counted with its slowest digit.
    pub(crate) sweeps: f32,
}

/// What a test digit looked like to the network, sweep by sweep.
pub(crate) struct History {
    pub(crate) residuals: [f32; SWEEPS],
    pub(crate) scores: [[f32; CLASSES]; SWEEPS],
    /// After the converged solve.
    pub(crate) answer: usize,
}

/// A trained network and what came of it.
pub(crate) struct Run {
    pub(crate) params: Vec<f32>,
    /// Batches without a gradient, because solve or adjoint met its limit.
    pub(crate) batches_not_converged: u64,
    pub(crate) digits_not_converged: usize,
    /// One for each test digit.
    pub(crate) histories: Vec<History>,
    /// Test digits recognised.
    pub(crate) right: usize,
}

/// What is to be trained on what.
#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    pub(crate) seed: u64,
    pub(crate) epochs: u32,
    pub(crate) training: &'a [Digit],
    pub(crate) test: &'a [Digit],
    /// Whether epochs are reported with their figures, which takes a solve of all digits.
    pub(crate) watched: bool,
    /// The rate the network is held to, if it is.
    pub(crate) hold: Option<f32>,
}

/// Trains `network` and tests it with its last weights; `report` is called after every epoch.
///
/// Two networks of the same seed see the same digits in the same order with the same noise.
pub(crate) fn train<A: Takes<PIXELS, Scalar = f32>>(
    network: Boxed<Network<A>>,
    task: Task<'_>,
    report: impl Fn(Option<Epoch>),
) -> Result<Run, LearnError>
where
    CrossEntropy: Loss<A::Output<BATCH>, [usize; BATCH], Scalar = f32>,
{
    let Task { seed, epochs, training, test, watched, hold } = task;
    let objective =
        Objective::new(CrossEntropy::smoothed(SMOOTHING)).solve(TOLERANCE).method(Method::Implicit(ADJOINT));
    let adam = Adam::<Boxed<Network<A>>>::new().decay(DECAY);
    let mut trainer: Trainer<_, _, _, BATCH> = Trainer::new(network, adam, objective);
    trainer.hold = hold;
    trainer.unsolved = Unsolved::Skip;

    let per_epoch = training.len() / BATCH;
    let steps = epochs * per_epoch as u32;
    let warm_up = (steps as f32 * WARM_UP) as u32;
    let schedule = Cosine { start: RATE / 25.0, peak: RATE, end: 0.0, warm_up, steps };
    let mut order: Vec<usize> = (0..training.len()).collect();
    let mut random = SmallRng::seed_from_u64(!seed);
    let mut steps_made = 0;
    let mut batches_not_converged = 0;
    for number in 1..=epochs {
        order.shuffle(&mut random);
        let (mut loss, mut sweeps, mut learnt) = (0.0, 0, 0);
        // The digits left over for a last, smaller batch are others in every epoch.
        for batch in order.chunks_exact(BATCH) {
            let mut input = SMatrix::<f32, BATCH, PIXELS>::zeros();
            for (row, &digit) in batch.iter().enumerate() {
                for (pixel, value) in VARIATION.apply(&training[digit], &mut random).into_iter().enumerate() {
                    input[(row, pixel)] = value;
                }
            }
            let labels: [usize; BATCH] = array::from_fn(|row| training[batch[row]].label);
            trainer.rate = schedule.rate(steps_made);
            steps_made += 1;
            let step = trainer.step(&input, &labels)?;
            batches_not_converged = step.unsolved;
            if step.outcome == Outcome::Solved {
                loss += step.report.loss;
                sweeps += step.report.solve.sweeps;
                learnt += 1;
            }
        }
        let network = &trainer.network;
        let epoch = || {
            Ok::<_, LearnError>(Epoch {
                number,
                loss: loss / learnt as f32,
                train: accuracy(network, training)?,
                test: accuracy(network, test)?,
                sweeps: sweeps as f32 / learnt as f32,
            })
        };
        report(watched.then(epoch).transpose()?);
    }

    let network = &trainer.network;
    let (answers, digits_not_converged) = answers(network, test)?;
    let histories = test.iter().zip(&answers).map(|(digit, &answer)| history(network, digit, answer));
    Ok(Run {
        params: network.params().to_vec(),
        batches_not_converged,
        digits_not_converged,
        histories: histories.collect::<Result<_, _>>()?,
        right: right(&answers, test),
    })
}

/// What the network takes each digit for, and how many solves did not converge.
fn answers<A: Takes<PIXELS, Scalar = f32>>(
    network: &Network<A>,
    digits: &[Digit],
) -> Result<(Vec<usize>, usize), LearnError> {
    let pixel = |digit: usize, pixel: usize| digits[digit].pixels[pixel];
    let (scores, not_converged) = scores::<_, PIXELS, BATCH>(network, digits.len(), pixel)?;
    Ok((scores.iter().map(largest).collect(), not_converged))
}

fn accuracy<A: Takes<PIXELS, Scalar = f32>>(
    network: &Network<A>,
    digits: &[Digit],
) -> Result<f32, LearnError> {
    let (answers, _) = answers(network, digits)?;
    Ok(right(&answers, digits) as f32 / digits.len() as f32)
}

fn right(answers: &[usize], digits: &[Digit]) -> usize {
    answers.iter().zip(digits).filter(|(answer, digit)| **answer == digit.label).count()
}

/// Shows the network a digit and stops after every sweep.
fn history<A: Takes<PIXELS, Scalar = f32>>(
    network: &Network<A>,
    digit: &Digit,
    answer: usize,
) -> Result<History, LearnError> {
    let mut injection = Injection::<_, 1>::ZERO;
    let mut state = State::<Network<A>>::ZERO;
    let mut history = History { residuals: [0.0; SWEEPS], scores: [[0.0; CLASSES]; SWEEPS], answer };
    network.inject(&digit.pixels, &mut injection).map_err(LearnError::Solve)?;
    for (residual, scores) in history.residuals.iter_mut().zip(&mut history.scores) {
        *residual = network.sweep(&injection, &mut state).map_err(LearnError::Solve)?;
        [*scores] = outputs(state.as_slice());
    }
    Ok(history)
}
