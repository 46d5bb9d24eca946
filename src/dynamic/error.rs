//! What can be wrong where types say no shapes.

use crate::certificate::CertificateError;
use crate::file::FileError;
use crate::kernel::ShapeError;
use crate::learn::{LearnError, LossError};
use crate::network::Shape;
use crate::quantized::QuantizeError;
use crate::solve::SolveError;
use core::fmt;

/// Why something did not work with a network whose widths are chosen when running.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "an error that names both shapes, without allocation")]
#[non_exhaustive]
pub enum DynError<T = f32> {
    /// Something is of another size than goes with the network: what, and both sizes.
    Shape(ShapeError),
    /// There can be no such network here.
    Unsupported {
        /// What was asked for.
        shape: Shape,
        /// Why not.
        why: &'static str,
    },
    /// No solution.
    Solve(SolveError<T>),
    /// No gradient, or no update.
    Learn(LearnError<T>),
    /// No certificate, or one that does not hold.
    Certificate(CertificateError<T>),
    /// A file was refused.
    File(FileError),
    /// No network of integers.
    Quantize(QuantizeError),
}

impl<T: fmt::Debug> fmt::Display for DynError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(error) => fmt::Display::fmt(error, f),
            Self::Unsupported { shape, why } => write!(f, "{shape} is {why}"),
            Self::Solve(error) => fmt::Display::fmt(error, f),
            Self::Learn(error) => fmt::Display::fmt(error, f),
            Self::Certificate(error) => fmt::Display::fmt(error, f),
            Self::File(error) => fmt::Display::fmt(error, f),
            Self::Quantize(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl<T: fmt::Debug> core::error::Error for DynError<T> {}

/// Writes the conversions of errors.
macro_rules! from {
    ($($error:ty => $variant:ident),* $(,)?) => {$(
        impl<T> From<$error> for DynError<T> {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        }
    )*};
}
from!(
    ShapeError => Shape,
    SolveError<T> => Solve,
    LearnError<T> => Learn,
    CertificateError<T> => Certificate,
    FileError => File,
    QuantizeError => Quantize,
);

impl<T> From<LossError> for DynError<T> {
    fn from(error: LossError) -> Self {
        Self::Learn(LearnError::Loss(error))
    }
}
