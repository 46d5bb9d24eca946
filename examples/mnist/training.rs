//! One network, from its initial weights to what it makes of the test images.

use crate::classes::{ADJOINT, CLASSES, TOLERANCE, largest, scores};
use crate::idx::{Images, PIXELS};
use attractor::learn::{
    Adam, Cosine, CrossEntropy, GradientReport, LearnError, Loss, Method, Objective, Optimizer, Trainer,
};
use attractor::network::{Storage, Takes};
use attractor::{Boxed, Network, NonFinite, SolveError};
use core::array;
use core::fmt;
use core::ops::Range;
use nalgebra::SMatrix;
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use std::time::{Duration, Instant};

/// Images in a batch of a test.
const TEST_BATCH: usize = 128;

/// How to train: the same for both networks and every seed, and the last weights are what is tested.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    pub(crate) epochs: u32,
    /// How often the test images are looked at in an epoch, for the plot.
    pub(crate) looks: u32,
    /// The highest rate of learning.
    pub(crate) rate: f32,
    /// The share of the steps in which the rate rises.
    pub(crate) warm_up: f32,
    /// Weight decay.
    pub(crate) decay: f32,
    /// Label smoothing.
    pub(crate) smoothing: f32,
    /// Of how many 256ths of the pixels the ink is left out, others in every epoch.
    pub(crate) blank: u8,
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epochs, looks: _, rate, warm_up, decay, smoothing, blank } = self;
        let blank = 100.0 * f32::from(*blank) / 256.0;
        let plural = if *epochs == 1 { "" } else { "s" };
        write!(f, "{epochs} epoch{plural} of Adam, rate {rate}, warm-up {warm_up}, weight decay {decay}, ")?;
        write!(f, "label smoothing {smoothing}, {blank:.0} % of the pixels blank")
    }
}

/// A batch that takes more sweeps weakens the feedback. The rate at which sweeps shrink an error goes with U,
/// and without a bound training drives it to the edge of convergence and beyond.
const MOST_SWEEPS: usize = 8;
const WEAKER: f32 = 0.9;
/// A batch that did not converge at all weakens it by more.
const MUCH_WEAKER: f32 = 0.5;
/// A trained network and what came of it.
pub(crate) struct Run {
    pub(crate) params: Vec<f32>,
    /// Shares of test images misread, look after look.
    pub(crate) errors: Vec<f64>,
    /// What the outputs say to each test image in the end.
    pub(crate) scores: Vec<[f32; CLASSES]>,
    /// Batches without a gradient, because solve or adjoint met its limit.
    pub(crate) batches_not_converged: usize,
    pub(crate) images_not_converged: usize,
    /// Mean over the batches, each counted with its slowest image.
    pub(crate) sweeps: f64,
    /// Spent training, on one core, without the looks at the test images.
    pub(crate) time: Duration,
}

impl Run {
    /// The share of test images misread in the end.
    pub(crate) fn error(&self) -> f64 {
        self.errors.last().copied().unwrap_or(1.0)
    }
}

/// What is to be trained on what.
#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    pub(crate) seed: u64,
    pub(crate) recipe: Recipe,
    pub(crate) training: &'a Images,
    pub(crate) test: &'a Images,
}

/// Trains `network` and tests it with its last weights; `report` is called with the share misread after every look.
///
/// Networks of the same seed see the same images in the same order with the same pixels blank.
pub(crate) fn train<A: Takes<PIXELS, Scalar = f32>, const BATCH: usize>(
    mut network: Boxed<Network<A>>,
    task: Task<'_>,
    report: impl Fn(f64),
) -> Result<Run, LearnError>
where
    CrossEntropy: Loss<A::Output<BATCH>, [usize; BATCH], Scalar = f32>,
{
    let Task { seed, recipe, training, test } = task;
    network.initialize(&mut SmallRng::seed_from_u64(seed));
    let objective = Objective::new(CrossEntropy::smoothed(recipe.smoothing))
        .solve(TOLERANCE)
        .method(Method::Implicit(ADJOINT));
    let adam = Adam::<Boxed<Network<A>>>::new().decay(recipe.decay);
    let mut trainer: Trainer<_, _, _, BATCH> = Trainer::new(network, adam, objective);
    // Its feedback is weakened by `step` where a batch takes many sweeps: the recipe that docs/results.md has figures of.
    trainer.hold = None;

    let per_epoch = training.len() / BATCH;
    let steps = recipe.epochs * per_epoch as u32;
    let warm_up = (steps as f32 * recipe.warm_up) as u32;
    let schedule = Cosine { start: recipe.rate / 25.0, peak: recipe.rate, end: 0.0, warm_up, steps };
    let mut order: Vec<usize> = (0..training.len()).collect();
    let mut random = SmallRng::seed_from_u64(!seed);
    let mut input = Boxed::<SMatrix<f32, BATCH, PIXELS>>::zeroed();
    let (mut rates, mut sweeps, mut learnt) = ((0..).map(|step| schedule.rate(step)), 0, 0);
    let mut run = Run {
        params: Vec::new(),
        errors: Vec::new(),
        scores: Vec::new(),
        batches_not_converged: 0,
        images_not_converged: 0,
        sweeps: 0.0,
        time: Duration::ZERO,
    };
    for _ in 0..recipe.epochs {
        order.shuffle(&mut random);
        // The images left over for a last, smaller batch are others in every epoch.
        let batches: Vec<_> = order.chunks_exact(BATCH).collect();
        for look in 0..recipe.looks {
            let started = Instant::now();
            for batch in &batches[part(batches.len(), look, recipe.looks)] {
                for (row, &image) in batch.iter().enumerate() {
                    for (column, ink) in
                        blanked(&training.pixels[image], recipe.blank, &mut random).enumerate()
                    {
                        input.0[(row, column)] = ink;
                    }
                }
                let labels: [usize; BATCH] = array::from_fn(|row| training.labels[batch[row]]);
                trainer.rate = rates.next().unwrap_or(0.0);
                match step(&mut trainer, &input.0, &labels)? {
                    Some(learned) => {
                        sweeps += learned.solve.sweeps;
                        learnt += 1;
                    }
                    None => run.batches_not_converged += 1,
                }
            }
            run.time += started.elapsed();
            let pixel = |image: usize, pixel: usize| ink(test.pixels[image][pixel]);
            (run.scores, run.images_not_converged) =
                scores::<_, PIXELS, TEST_BATCH>(&trainer.network, test.len(), pixel)?;
            let wrong = run
                .scores
                .iter()
                .zip(&test.labels)
                .filter(|(scores, label)| largest(scores) != **label)
                .count();
            let error = wrong as f64 / test.len() as f64;
            run.errors.push(error);
            report(error);
        }
    }
    run.params = trainer.network.params().to_vec();
    run.sweeps = sweeps as f64 / f64::from(learnt.max(1));
    Ok(run)
}

/// Learns from a batch, and weakens the feedback if the batch took many sweeps. `None` if it did not converge: then it
/// is left out.
fn step<A: Takes<PIXELS, Scalar = f32>, P: Optimizer<f32>, const B: usize>(
    trainer: &mut Trainer<Boxed<Network<A>>, P, CrossEntropy, B>,
    input: &SMatrix<f32, B, PIXELS>,
    labels: &[usize; B],
) -> Result<Option<GradientReport>, LearnError>
where
    CrossEntropy: Loss<A::Output<B>, [usize; B], Scalar = f32>,
{
    match trainer.step(input, labels) {
        Ok(step) => {
            if step.report.solve.sweeps > MOST_SWEEPS {
                trainer
                    .network
                    .scale_feedback(WEAKER)
                    .map_err(|_| LearnError::NotFinite(NonFinite::Overflow))?;
            }
            Ok(Some(step.report))
        }
        Err(
            LearnError::Solve(SolveError::NotConverged { .. })
            | LearnError::Adjoint(SolveError::NotConverged { .. }),
        ) => {
            trainer
                .network
                .scale_feedback(MUCH_WEAKER)
                .map_err(|_| LearnError::NotFinite(NonFinite::Overflow))?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Part `index` of `count` parts of so many things.
fn part(things: usize, index: u32, count: u32) -> Range<usize> {
    let place = |index: u32| things * index as usize / count as usize;
    place(index)..place(index + 1)
}

/// The ink of a pixel, 0 for none to 1.
pub(crate) fn ink(pixel: u8) -> f32 {
    f32::from(pixel) / 255.0
}

/// The ink of every pixel, and none where a throw of 256 falls below `blank`. The rest has as much more, so that a unit
/// reads as much as it will in a test (Srivastava et al. 2014).
fn blanked(pixels: &[u8; PIXELS], blank: u8, random: &mut impl Rng) -> impl Iterator<Item = f32> {
    const { assert!(PIXELS.is_multiple_of(8)) };
    let more = 256.0 / (256.0 - f32::from(blank));
    pixels.chunks_exact(8).flat_map(move |eight| {
        let throws = if blank == 0 { [255; 8] } else { random.next_u64().to_le_bytes() };
        let pixels: [u8; 8] = array::from_fn(|i| eight[i]);
        array::from_fn::<f32, 8, _>(|i| if throws[i] < blank { 0.0 } else { more * ink(pixels[i]) })
    })
}
