//! What may go wrong in a program.

use attractor::certificate::NotFinite;
use attractor::kernel::ShapeError;
use attractor::learn::LearnError;
use attractor::{CertificateError, SolveError};
use core::fmt;

/// Why a program ends with 1.
pub enum Failure {
    /// A [`Place`](crate::Place) was taken twice.
    Taken,
    Shape(ShapeError),
    Learn(LearnError),
    Certificate(CertificateError),
    NotFinite(NotFinite),
    #[cfg(feature = "language")]
    Language(attractor_language::pass::PassError),
    /// What is not as it should be, and a number that goes with it: how many, or which bits.
    Wrong(&'static str, usize),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => f.write_str("a place was taken twice"),
            Self::Shape(error) => error.fmt(f),
            Self::Learn(error) => error.fmt(f),
            Self::Certificate(error) => error.fmt(f),
            Self::NotFinite(error) => error.fmt(f),
            #[cfg(feature = "language")]
            Self::Language(error) => error.fmt(f),
            Self::Wrong(what, with) => write!(f, "{what}, with {with}"),
        }
    }
}

macro_rules! from {
    ($($error:ident => $failure:expr;)*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                $failure(error)
            }
        })*
    };
}

from! {
    ShapeError => Self::Shape;
    LearnError => Self::Learn;
    SolveError => |error| Self::Learn(LearnError::Solve(error));
    CertificateError => Self::Certificate;
    NotFinite => Self::NotFinite;
}
