//! What becomes of a batch whose solve or adjoint does not converge.

use crate::simd::Element;
use crate::solve::{Rule, Setting, SolveError, Solved};

/// What a step of training does with a batch whose solve, or whose adjoint, does not converge within its limit of sweeps.
///
/// ```
/// use attractor::learn::{MeanSquared, Objective, Outcome, Sgd, Trainer, Unsolved};
/// use attractor::{Stop, fnn};
/// type Net = fnn![1, 1, 1];
/// let mut net = Net::ZERO;
/// net.params_mut().fill(0.5);
/// let objective = Objective::new(MeanSquared).solve(Stop::residual(0.0).at_most(2));
/// let mut trainer: Trainer<Net, _, _> = Trainer::new(net, Sgd::plain(), objective);
/// trainer.unsolved = Unsolved::Skip;
/// let step = trainer.step(&[1.0], &[0.0])?;
/// assert_eq!((step.outcome, step.unsolved), (Outcome::Skipped, 1));
/// # Ok::<(), attractor::learn::LearnError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Unsolved<T = f32> {
    /// An error; nothing is changed. The default.
    #[default]
    Error,
    /// Nothing is learnt from it. The report says so, with the loss where the sweeps ended.
    Skip,
    /// As `Skip`, and every U is multiplied by this factor, 0 to 1. With [`Tied`](crate::Tied) feedback it is every W from the second layer on.
    Weaken(T),
    /// It is learnt from as it is: from the states and deltas of the last sweep. That is not the exact gradient, and the report says so.
    UseLast,
}

/// What a step learnt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Outcome {
    /// Both fixed points met their tolerance: the gradient is what the [`Method`](super::Method) states, exact for `Implicit`.
    Solved,
    /// One did not, and the last sweep was used ([`Unsolved::UseLast`]).
    Inexact,
    /// One did not, and there is no gradient ([`Unsolved::Skip`], [`Unsolved::Weaken`]).
    Skipped,
}

impl<T: Element> Unsolved<T> {
    /// Refuses a factor out of its range.
    pub(crate) fn check(self) -> Result<(), Setting<T>> {
        match self {
            Self::Weaken(value) if !(value >= T::ZERO && value <= T::ONE) => {
                Err(Setting { rule: &Rule { name: "Unsolved::Weaken", range: "0 to 1" }, value })
            }
            _ => Ok(()),
        }
    }
    /// What was solved, and whether it met its tolerance.
    #[inline(always)]
    pub(super) fn admits(
        self,
        result: Result<Solved<T>, SolveError<T>>,
    ) -> Result<(Solved<T>, bool), SolveError<T>> {
        match (result, self) {
            (
                Err(SolveError::NotConverged { sweeps, residual }),
                Self::Skip | Self::Weaken(_) | Self::UseLast,
            ) => Ok((Solved { sweeps, residual }, false)),
            (result, _) => result.map(|solved| (solved, true)),
        }
    }
}
