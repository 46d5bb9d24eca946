//! Digits learnt by networks that are to be small: trained from scratch, pruned and trained on, or taught by a larger one.

use crate::classes::{ADJOINT, CLASSES, TOLERANCE, largest, scores};
use crate::data::{BATCH, Digit, PIXELS, Variation};
use attractor::compress::{Distill, Importance, Measure, Prunes};
use attractor::learn::{Adam, Cosine, CrossEntropy, LearnError, Loss, Method, Objective, Trainer};
use attractor::network::{Architecture, Form, Takes};
use attractor::{Boxed, Network, NonFinite, SolveError, State, Workspace};
use nalgebra::SMatrix;
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};

/// Outputs of a batch.
pub(crate) type Outputs = SMatrix<f32, BATCH, CLASSES>;

const SMOOTHING: f32 = 0.05;
const DECAY: f32 = 0.05;
const WARM_UP: f32 = 0.3;
const VARIATION: Variation = Variation { shift: 0.16, noise: 0.05 };
/// Without a bound, training drives the feedback to the edge of convergence; this is the rate it is held to, by its certificate.
const MOST: f32 = 0.2;
/// The same where feedback is tied.
const MOST_TIED: f32 = 0.9;

/// How long and how fast to learn.
#[derive(Clone, Copy)]
pub(crate) struct Course {
    pub(crate) seed: u64,
    pub(crate) epochs: u32,
    /// The highest rate.
    pub(crate) rate: f32,
}

/// Trains on labels.
pub(crate) fn train<A: Takes<PIXELS, Scalar = f32>>(
    network: Boxed<Network<A>>,
    digits: &[Digit],
    course: Course,
) -> Result<Boxed<Network<A>>, LearnError>
where
    CrossEntropy: Loss<A::Output<BATCH>, [usize; BATCH], Scalar = f32>,
{
    learn(network, CrossEntropy::smoothed(SMOOTHING), digits, course, |_, labels| Ok(labels))
}

/// Trains on labels and on what a teacher says of the same varied digits.
pub(crate) fn distill<A: Takes<PIXELS, Scalar = f32>, G: Takes<PIXELS, Scalar = f32>>(
    network: Boxed<Network<A>>,
    teacher: &Network<G>,
    loss: Distill,
    digits: &[Digit],
    course: Course,
) -> Result<Boxed<Network<A>>, LearnError>
where
    Distill: Loss<A::Output<BATCH>, ([usize; BATCH], Outputs), Scalar = f32>,
{
    let mut state = State::<Network<G>, BATCH>::boxed();
    learn(network, loss, digits, course, |input, labels| {
        state.reset();
        teacher.solve(input, &mut state, TOLERANCE)?;
        let outputs = &state.as_slice()[state.as_slice().len() - CLASSES * BATCH..];
        Ok((labels, Outputs::from_column_slice(outputs)))
    })
}

/// Trains on whatever `target` makes of a batch and its labels.
fn learn<A: Takes<PIXELS, Scalar = f32>, C, Y>(
    network: Boxed<Network<A>>,
    loss: C,
    digits: &[Digit],
    course: Course,
    mut target: impl FnMut(&SMatrix<f32, BATCH, PIXELS>, [usize; BATCH]) -> Result<Y, SolveError>,
) -> Result<Boxed<Network<A>>, LearnError>
where
    C: Loss<A::Output<BATCH>, Y, Scalar = f32>,
{
    let Course { seed, epochs, rate } = course;
    let objective = Objective::new(loss).solve(TOLERANCE).method(Method::Implicit(ADJOINT));
    let adam = Adam::<Boxed<Network<A>>>::new().decay(DECAY);
    let mut trainer: Trainer<_, _, _, BATCH> = Trainer::new(network, adam, objective);
    trainer.hold = Some(most::<A>());
    let steps = epochs * (digits.len() / BATCH) as u32;
    let warm_up = (steps as f32 * WARM_UP) as u32;
    let schedule = Cosine { start: rate / 25.0, peak: rate, end: 0.0, warm_up, steps };
    let mut order: Vec<usize> = (0..digits.len()).collect();
    let mut random = SmallRng::seed_from_u64(!seed);
    let mut step = 0;
    for _ in 0..epochs {
        order.shuffle(&mut random);
        for batch in order.chunks_exact(BATCH) {
            let mut input = SMatrix::<f32, BATCH, PIXELS>::zeros();
            for (row, &digit) in batch.iter().enumerate() {
                for (pixel, value) in VARIATION.apply(&digits[digit], &mut random).into_iter().enumerate() {
                    input[(row, pixel)] = value;
                }
            }
            let target = target(&input, core::array::from_fn(|row| digits[batch[row]].label))?;
            trainer.rate = schedule.rate(step);
            trainer.step(&input, &target)?;
            step += 1;
        }
    }
    Ok(trainer.network)
}

/// The rate a network is held to. Where feedback is tied that bounds k |W|^2: with a rate near 1 and a k of a few percent there is room for W to
/// learn.
pub(crate) fn most<A: Architecture>() -> f32 {
    if <A::Form>::TIED > 0 { MOST_TIED } else { MOST }
}

/// Loss and tolerances of training on labels.
pub(crate) fn objective() -> Objective<CrossEntropy> {
    Objective::new(CrossEntropy::smoothed(SMOOTHING)).solve(TOLERANCE).method(Method::Implicit(ADJOINT))
}

/// The network of the units that matter most on these digits.
pub(crate) fn prune<A: Takes<PIXELS, Scalar = f32> + Prunes<R>, R: Architecture<Scalar = f32>>(
    network: &Network<A>,
    digits: &[Digit],
    measure: Measure,
) -> Result<Boxed<Network<R>>, LearnError>
where
    CrossEntropy: Loss<A::Output<1>, [usize; 1], Scalar = f32>,
{
    let objective = objective();
    let mut importance = Importance::<Network<A>>::ZERO;
    let (mut workspace, mut gradient) = (Workspace::<Network<A>>::ZERO, Network::<A>::boxed());
    for digit in digits {
        workspace.state.reset();
        workspace.adjoint.reset();
        network.gradient(&objective, &digit.pixels, &[digit.label], &mut workspace, &mut gradient.0)?;
        gradient.params_mut().fill(0.0);
        importance
            .observe_gradient(network, &workspace)
            .map_err(|_| LearnError::NotFinite(NonFinite::Overflow))?;
    }
    let mut scores = Network::<A>::state();
    let mut small = Network::<R>::boxed();
    importance
        .scores(network, measure, &mut scores)
        .and_then(|()| network.prune(&scores, importance.means(), &mut small.0))
        .map_err(|_| LearnError::NotFinite(NonFinite::Overflow))?;
    Ok(small)
}

/// The share of these digits that the network recognises.
pub(crate) fn accuracy<A: Takes<PIXELS, Scalar = f32>>(
    network: &Network<A>,
    digits: &[Digit],
) -> Result<f32, LearnError> {
    let pixel = |digit: usize, pixel: usize| digits[digit].pixels[pixel];
    let (scores, _) = scores::<_, PIXELS, BATCH>(network, digits.len(), pixel)?;
    let right = scores.iter().zip(digits).filter(|(scores, digit)| largest(scores) == digit.label).count();
    Ok(right as f32 / digits.len() as f32)
}
