//! Problems of which some units are known and the rest is to be found; a network's output is the completed problem, and
//! the layers below read it (recurrent back-propagation: Almeida 1987, Pineda 1987).
//!
//! The input is 1 or -1 for a known unit and 0 for a missing one, and W^1 x + b^1 stays while the states are refined.

use crate::learning::{BATCH, Inputs, Recipe, Trained, train};
use attractor::learn::{LearnError, Loss, LossError};
use attractor::network::Takes;
use attractor::{Boxed, Injection, Network, SolveError, State};
use indicatif::ProgressBar;
use rand::SeedableRng;
use rand::rngs::SmallRng;

/// Units of a problem.
pub(crate) const UNITS: usize = 64;
/// W^1 of a known unit.
const CLAMP: f32 = 10.0;

/// A network of problems.
/// The units of one problem.
pub(crate) type Units = [f32; UNITS];

/// The numbers of sweeps after which answers are looked at.
pub(crate) const SWEEPS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// What becomes of the first layer's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "one example has both")]
pub(crate) enum First {
    /// They are learnt.
    Learnt,
    /// W^1 is a multiple of the identity and stays so: the first layer holds the problem. A known unit of it is
    /// tanh(+-10 + feedback), as good as clamped; a missing unit reads nothing but b^1 and the feedback.
    Clamped,
}

/// What is known, 1, -1 or 0 for missing; and what it is all together, 1 or -1.
#[derive(Clone)]
pub(crate) struct Problem {
    pub(crate) known: Units,
    pub(crate) truth: Units,
}

/// Cross-entropy of the missing units, whose outputs h stand for probabilities (1 + h) / 2 of being 1.
///
/// The target is the truth where a unit is missing, and 0 where it is known, which does not count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing;

impl Loss<Inputs<UNITS>, Inputs<UNITS>> for Missing {
    type Scalar = f32;

    fn evaluate(
        &self,
        output: &Inputs<UNITS>,
        target: &Inputs<UNITS>,
        gradient: &mut Inputs<UNITS>,
    ) -> Result<f32, LossError> {
        const LEAST: f32 = 1e-6;
        let missing = target.iter().filter(|&&t| t != 0.0).count().max(1) as f32;
        let mut sum = 0.0;
        for ((&h, &t), gradient) in output.iter().zip(target).zip(gradient.iter_mut()) {
            let right = (1.0 + t * h).max(LEAST);
            *gradient = -t / (right * missing);
            sum -= if t == 0.0 { 0.0 } else { (right / 2.0).ln() };
        }
        Ok(sum / missing)
    }
}

fn inputs(problems: &[Problem]) -> Inputs<UNITS> {
    Inputs::from_fn(|row, unit| problems[row % problems.len()].known[unit])
}

/// Trains a network from `seed` on problems that `make` makes.
pub(crate) fn learn<A: Takes<UNITS, Scalar = f32>>(
    mut network: Boxed<Network<A>>,
    seed: u64,
    recipe: Recipe,
    first: First,
    bar: &ProgressBar,
    mut make: impl FnMut(&mut SmallRng) -> Problem,
) -> Result<Trained<Network<A>>, LearnError>
where
    Missing: Loss<A::Output<BATCH>, Inputs<UNITS>, Scalar = f32>,
{
    network.initialize(&mut SmallRng::seed_from_u64(seed));
    let mut random = SmallRng::seed_from_u64(!seed);
    let next = || {
        bar.inc(1);
        let problems: Vec<Problem> = (0..BATCH).map(|_| make(&mut random)).collect();
        let target = Inputs::<UNITS>::from_fn(|row, unit| {
            let Problem { known, truth } = &problems[row];
            if known[unit] == 0.0 { truth[unit] } else { 0.0 }
        });
        (inputs(&problems), target)
    };
    let clamp = |params: &mut [f32]| {
        if first == First::Clamped {
            for (i, weight) in params[..UNITS * UNITS].iter_mut().enumerate() {
                *weight = if i % (UNITS + 1) == 0 { CLAMP } else { 0.0 };
            }
        }
    };
    train(network, Missing, recipe, next, clamp)
}

/// What became of problems.
pub(crate) struct Completed {
    /// The outputs of all problems after each of the numbers of sweeps.
    pub(crate) outputs: Vec<Vec<Units>>,
    /// The largest residual of the last sweep.
    pub(crate) residual: f32,
    /// The furthest that a known unit of the first layer is from what is known, if that layer holds the problem.
    #[allow(dead_code, reason = "one example has such a layer")]
    pub(crate) slip: f32,
}

/// Completes problems from a state of zero; `sweeps` ascend.
pub(crate) fn complete<A: Takes<UNITS, Scalar = f32>>(
    network: &Network<A>,
    problems: &[Problem],
    sweeps: &[usize],
) -> Result<Completed, SolveError> {
    let mut injection = Injection::<_, BATCH>::ZERO;
    let mut state = State::<Network<A>, BATCH>::boxed();
    let mut outputs = vec![Vec::with_capacity(problems.len()); sweeps.len()];
    let (mut largest, mut slip) = (0.0_f32, 0.0_f32);
    for own in problems.chunks(BATCH) {
        network.inject(&inputs(own), &mut injection)?;
        state.reset();
        let (mut made, mut residual) = (0, 0.0);
        for (&sweeps, outputs) in sweeps.iter().zip(&mut outputs) {
            while made < sweeps {
                residual = network.sweep(&injection, &mut state)?;
                made += 1;
            }
            // The output stands last, the problems of a unit side by side.
            let output = &state.as_slice()[state.as_slice().len() - UNITS * BATCH..];
            outputs.extend(
                (0..own.len())
                    .map(|row| -> Units { core::array::from_fn(|unit| output[unit * BATCH + row]) }),
            );
        }
        largest = largest.max(residual);
        // The first layer stands first; without one of this width the figure means nothing.
        let first = state.as_slice().iter().take(UNITS * BATCH).enumerate();
        for (&h, known) in first.filter_map(|(i, h)| Some((h, own.get(i % BATCH)?.known[i / BATCH]))) {
            slip = slip.max(if known == 0.0 { 0.0 } else { (h - known).abs() });
        }
    }
    Ok(Completed { outputs, residual: largest, slip })
}
