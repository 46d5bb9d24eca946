//! Why a pass over a model was refused.

use crate::ConfigError;
use attractor::kernel::ShapeError;
use core::fmt;

/// Why a pass over a model was refused.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum PassError {
    /// There is no such model.
    Config(ConfigError),
    /// Something is not as long as it must be.
    Length {
        /// What.
        what: &'static str,
        /// How long it must be (room: at least).
        expected: usize,
        /// How long it is.
        found: usize,
    },
    /// Something is longer than the model's context, or empty.
    Tokens {
        /// How many tokens there are.
        found: usize,
        /// How many there may be at most.
        most: usize,
    },
    /// The vocabulary has no such token.
    Token {
        /// The token.
        token: u32,
        /// How many there are.
        vocabulary: usize,
    },
    /// No target is counted.
    NoTarget,
    /// There must be a sweep at least.
    NoSweep,
    /// One token after another is foretold by a causal model only.
    NotCausal,
    /// The share of a teacher is out of its range.
    Share {
        /// What it is.
        found: f64,
    },
    /// The loss, and then the gradient, is infinite or NaN.
    NotFinite,
    /// Sweeps did not come to an end.
    NotConverged {
        /// How many there were.
        sweeps: usize,
        /// The largest change of a state in the last one.
        residual: f64,
    },
}

impl fmt::Display for PassError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Length { what, expected, found } => write!(f, "{what}: expected {expected}, found {found}"),
            Self::Tokens { found, most } => write!(f, "{found} tokens; there may be 1 to {most}"),
            Self::Token { token, vocabulary } => {
                write!(f, "token {token}; the vocabulary has 0 to {}", vocabulary.saturating_sub(1))
            }
            Self::NoTarget => f.write_str("no target is counted"),
            Self::NoSweep => f.write_str("0 sweeps; there must be 1 at least"),
            Self::Share { found } => write!(f, "the share of the teacher is {found}; it may be 0 to 1"),
            Self::NotCausal => f.write_str("the model is not causal; it foretells no next token"),
            Self::NotFinite => f.write_str("the loss is infinite or not a number"),
            Self::NotConverged { sweeps, residual } => {
                write!(f, "not converged after {sweeps} sweeps; the largest change was {residual:e}")
            }
        }
    }
}

impl core::error::Error for PassError {}

/// Whether something is as long as it must be.
pub(crate) fn expect(what: &'static str, expected: usize, found: usize) -> Result<(), PassError> {
    if expected == found { Ok(()) } else { Err(PassError::Length { what, expected, found }) }
}

impl From<ConfigError> for PassError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<ShapeError> for PassError {
    fn from(error: ShapeError) -> Self {
        Self::Length { what: error.what, expected: error.expected, found: error.found }
    }
}
