//! When to stop, and what came of it.

use crate::simd::Element;
use core::fmt;

/// When a solve may stop: as soon as no unit of a sample changed by more than `absolute + relative * |h|` in a
/// sweep, |h| being the sample's largest activation; at the latest after `limit` sweeps.
///
/// ```
/// use attractor::Stop;
/// let tolerance = Stop::residual(1e-5_f32).at_most(64);
/// assert_eq!(tolerance.limit(), 64);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use]
pub struct Stop<T = f32> {
    pub(crate) absolute: T,
    pub(crate) relative: T,
    pub(crate) limit: usize,
    pub(crate) exact: bool,
}

impl<T: Element> Stop<T> {
    /// Sweeps allowed unless [`at_most`](Self::at_most) says otherwise.
    pub const LIMIT: usize = 100;

    /// A residual of at most `absolute`. One that is negative or NaN is never met.
    pub const fn residual(absolute: T) -> Self {
        Self { absolute, relative: T::ZERO, limit: Self::LIMIT, exact: false }
    }
    /// A residual of at most `relative` times the sample's largest activation.
    pub const fn relative(relative: T) -> Self {
        Self { absolute: T::ZERO, relative, limit: Self::LIMIT, exact: false }
    }
    /// `relative` added to what is asked for.
    pub const fn or_relative(self, relative: T) -> Self {
        Self { relative, ..self }
    }
    /// At most so many sweeps.
    pub const fn at_most(self, limit: usize) -> Self {
        Self { limit, ..self }
    }
    /// Exactly so many sweeps, always a success if finite: always the same instructions.
    ///
    /// That is constant time where an instruction takes as long for all numbers. On some x86 processors those with subnormal numbers
    /// (below 1.2e-38 in `f32`, not zero) do not: with inputs so small, 16 sweeps can take tens of times as long.
    /// Where time must not depend on the data, make inputs so small zero; docs/performance.md has more.
    pub const fn after(sweeps: usize) -> Self {
        Self { absolute: T::ZERO, relative: T::ZERO, limit: sweeps, exact: true }
    }
    /// The most sweeps.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }
}

/// A solve that met its tolerance.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Solved<T = f32> {
    /// Sweeps made; of a batch, those of its slowest sample.
    pub sweeps: usize,
    /// The largest change of a unit in the last sweep.
    pub residual: T,
}

/// A solve without a solution.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SolveError<T = f32> {
    /// The limit was reached with a residual above the tolerance. The state is kept.
    NotConverged {
        /// Sweeps made.
        sweeps: usize,
        /// The largest change of a unit in the last sweep.
        residual: T,
    },
    /// A NaN or an infinity, in the input, the weights or the state, or by overflow.
    NotFinite,
}

impl<T: fmt::Debug> fmt::Display for SolveError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConverged { sweeps, residual } => {
                write!(f, "not converged after {sweeps} sweeps, residual {residual:?}")
            }
            Self::NotFinite => f.write_str("a NaN or an infinity in input, weights or state, or an overflow"),
        }
    }
}

impl<T: fmt::Debug> core::error::Error for SolveError<T> {}
