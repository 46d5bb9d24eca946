//! Networks that tell ten classes apart: how they start, and what the outputs say.

use attractor::learn::LearnError;
use attractor::network::{Architecture, Storage, Takes};
use attractor::{Boxed, Network, SolveError, State, Stop};
use core::array;
use nalgebra::SMatrix;
use rand::{SeedableRng, rngs::SmallRng};

pub(crate) const CLASSES: usize = 10;

/// For the solve of a step.
pub(crate) const TOLERANCE: Stop = Stop::residual(1e-4).at_most(64);
/// Deltas are as small as the loss's gradient, so their tolerance goes by their size.
pub(crate) const ADJOINT: Stop = Stop::relative(1e-3).at_most(64);
/// For the answers of a test.
const EXACT: Stop = Stop::residual(1e-5).at_most(64);

/// A third of the variance that `initialize` gives: a smaller start generalised a little better.
const INITIAL_SCALE: f32 = 0.577;

/// A network to train.
#[allow(dead_code, reason = "one example starts otherwise")]
pub(crate) fn start<A: Architecture<Scalar = f32>>(
    mut network: Boxed<Network<A>>,
    seed: u64,
) -> Boxed<Network<A>> {
    network.initialize(&mut SmallRng::seed_from_u64(seed));
    network.params_mut().iter_mut().for_each(|weight| *weight *= INITIAL_SCALE);
    network
}

/// The outputs for `count` images, solved in batches of `B`, and how many solves did not converge. `pixel(i, j)` is
/// pixel j of image i.
pub(crate) fn scores<A: Takes<PIXELS, Scalar = f32>, const PIXELS: usize, const B: usize>(
    network: &Network<A>,
    count: usize,
    pixel: impl Fn(usize, usize) -> f32,
) -> Result<(Vec<[f32; CLASSES]>, usize), LearnError> {
    let mut scores = Vec::with_capacity(count);
    let mut not_converged = 0;
    let mut input = Boxed::<SMatrix<f32, B, PIXELS>>::zeroed();
    let mut state = State::<Network<A>, B>::boxed();
    for start in (0..count).step_by(B) {
        // The last batch is filled up with the first images.
        for column in 0..PIXELS {
            for row in 0..B {
                input.0[(row, column)] = pixel((start + row) % count, column);
            }
        }
        let own = B.min(count - start);
        state.reset();
        match network.solve(&input.0, &mut state, EXACT) {
            Ok(_) => {}
            // The state is an answer all the same; the report says of how many images.
            Err(SolveError::NotConverged { .. }) => not_converged += own,
            Err(error) => return Err(LearnError::Solve(error)),
        }
        scores.extend(outputs::<B>(state.as_slice()).into_iter().take(own));
    }
    Ok((scores, not_converged))
}

/// The output layer of a state, sample after sample. The units of a state stand in order, those of the output
/// last, and the `B` samples of a unit side by side.
pub(crate) fn outputs<const B: usize>(state: &[f32]) -> [[f32; CLASSES]; B] {
    let output = &state[state.len() - CLASSES * B..];
    array::from_fn(|sample| array::from_fn(|class| output[class * B + sample]))
}

/// The class with the largest score.
pub(crate) fn largest(scores: &[f32; CLASSES]) -> usize {
    (1..CLASSES).fold(0, |best, class| if scores[class] > scores[best] { class } else { best })
}

/// A table of labels, down the side, and answers, across the top.
pub(crate) fn print_confusion(labels_and_answers: impl Iterator<Item = (usize, usize)>) {
    let mut counts = [[0; CLASSES]; CLASSES];
    for (label, answer) in labels_and_answers {
        counts[label][answer] += 1;
    }
    let header: String = (0..CLASSES).map(|class| format!("{class:>5}")).collect();
    println!("   {header}");
    for (label, row) in counts.iter().enumerate() {
        let row: String = row
            .iter()
            .map(|&count| if count == 0 { format!("{:>5}", "·") } else { format!("{count:>5}") })
            .collect();
        println!("{label:>3}{row}");
    }
}
