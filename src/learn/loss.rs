//! Losses: what an output is worth, and the gradient with respect to it.

use crate::kernel::{Matrix, MatrixMut, Scalar, cross_entropy, once};
use crate::network::{Flat, Rows};
use crate::simd::{Backend, Element};
use crate::solve::{Rule, Setting};
use core::fmt;
use nalgebra::SMatrix;

/// A target that does not go with the output, or a setting out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LossError {
    /// A label names no class.
    Label {
        /// Number of classes; labels are below it.
        classes: usize,
        /// The label.
        found: usize,
    },
    /// The loss cannot be had for this target, in the words of the loss.
    Target(&'static str),
    /// The loss cannot be had of this network, in the words of the loss.
    Unsupported(&'static str),
    /// A setting of the loss is out of its range; its value is the nearest `f32`.
    Setting(Setting<f32>),
}

impl fmt::Display for LossError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label { classes, found } => write!(f, "label {found}, but there are {classes} classes"),
            Self::Target(what) | Self::Unsupported(what) => f.write_str(what),
            Self::Setting(setting) => setting.fmt(f),
        }
    }
}

impl core::error::Error for LossError {}

impl<T: Element> From<Setting<T>> for LossError {
    fn from(setting: Setting<T>) -> Self {
        Self::Setting(setting.narrow())
    }
}

/// A loss J of outputs `M` = `SMatrix<T, B, N>` against targets.
///
/// A loss of one's own writes dJ/dh into `gradient` and returns J; both are checked for NaN and infinity by the
/// caller. Take means over the samples, so that a batch weighs as much as one sample.
///
/// ```
/// use attractor::learn::{Loss, LossError};
/// use nalgebra::SMatrix;
///
/// /// Mean of |h - y|.
/// struct Absolute;
/// impl<const B: usize, const N: usize> Loss<SMatrix<f32, B, N>, SMatrix<f32, B, N>> for Absolute {
///     type Scalar = f32;
///     fn evaluate(
///         &self,
///         output: &SMatrix<f32, B, N>,
///         target: &SMatrix<f32, B, N>,
///         gradient: &mut SMatrix<f32, B, N>,
///     ) -> Result<f32, LossError> {
///         let difference = output - target;
///         *gradient = difference.map(|d| d.signum() / (B * N) as f32);
///         Ok(difference.abs().mean())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Y}` is no target of `{Self}` for this network's outputs",
    label = "not a target of `{Self}` for this network's outputs",
    note = "the outputs are `{M}`",
    note = "CrossEntropy takes labels `[usize; B]`, MeanSquared one sample `[T; N]` or several `SMatrix<T, B, N>`"
)]
pub trait Loss<M, Y: ?Sized> {
    /// The scalar of the outputs.
    type Scalar;
    /// J, with dJ/dh written into `gradient`.
    ///
    /// # Errors
    /// [`LossError`] if the target does not go with the output, or a setting is out of its range.
    fn evaluate(&self, output: &M, target: &Y, gradient: &mut M) -> Result<Self::Scalar, LossError>;

    /// [`evaluate`](Self::evaluate) on a chosen backend, which is how gradients call it. A loss that uses no backend need
    /// not have it.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    fn evaluate_on(
        &self,
        _backend: Backend,
        output: &M,
        target: &Y,
        gradient: &mut M,
    ) -> Result<Self::Scalar, LossError> {
        self.evaluate(output, target, gradient)
    }
}

/// Cross-entropy of the softmax of the outputs against labels, one class a sample; mean over the samples.
///
/// Stable for logits of any finite size; a loss that is more than the largest number of the scalar is infinite. The outputs stay
/// linear: the loss owns the softmax.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CrossEntropy<T = f32> {
    /// How much of the target is spread evenly over all classes (label smoothing), 0 to 1; any other number is refused by
    /// [`evaluate`](Loss::evaluate) with [`LossError::Setting`].
    pub smoothing: T,
}

impl<T: Scalar> CrossEntropy<T> {
    /// All of the target on the label.
    #[must_use]
    pub const fn new() -> Self {
        Self { smoothing: T::ZERO }
    }
    /// `smoothing` of the target, 0 to 1, spread over all classes.
    #[must_use]
    pub const fn smoothed(smoothing: T) -> Self {
        Self { smoothing }
    }
    /// Whether the setting is in its range.
    pub(crate) fn check(&self) -> Result<(), LossError> {
        if self.smoothing >= T::ZERO && self.smoothing <= T::ONE {
            Ok(())
        } else {
            const RULE: &Rule = &Rule { name: "CrossEntropy::smoothing", range: "0 to 1" };
            Err(Setting { rule: RULE, value: self.smoothing }.into())
        }
    }
}

impl<T: Scalar, M: Rows<Scalar = T>> Loss<M, M::Labels> for CrossEntropy<T> {
    type Scalar = T;

    fn evaluate(&self, output: &M, target: &M::Labels, gradient: &mut M) -> Result<T, LossError> {
        self.evaluate_on(Backend::best(), output, target, gradient)
    }

    fn evaluate_on(
        &self,
        backend: Backend,
        output: &M,
        target: &M::Labels,
        gradient: &mut M,
    ) -> Result<T, LossError> {
        self.check()?;
        let labels = target.as_ref();
        let (samples, classes) = (labels.len(), M::LEN.checked_div(labels.len()).unwrap_or(0));
        let (Ok(output), Ok(gradient)) = (
            Matrix::new(output.flat(), samples, classes),
            MatrixMut::new(gradient.flat_mut(), samples, classes),
        ) else {
            return Err(LossError::Target("the outputs are not as many for each label"));
        };
        cross_entropy(backend, output, labels, self.smoothing, gradient)
            .map_err(|shape| LossError::Label { classes: shape.expected, found: shape.found })
    }
}

/// Mean of (h - y)^2 over samples and outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeanSquared;

/// A target of [`MeanSquared`] for outputs `M` = `SMatrix<T, B, N>`: another such matrix, or, for one sample, an array `[T; N]`.
#[diagnostic::on_unimplemented(
    message = "expected a target of as many values as the outputs, found `{Self}`",
    label = "not a target for these outputs",
    note = "the outputs are `{M}`; give one sample as an array `[T; N]`, several as an `SMatrix<T, B, N>`, a row a sample"
)]
pub trait Targets<M: Flat> {
    /// The values, in the order of the outputs.
    fn values(&self) -> &[M::Scalar];
}

impl<M: Flat> Targets<M> for M {
    #[inline(always)]
    fn values(&self) -> &[M::Scalar] {
        self.flat()
    }
}

impl<T: Scalar, const N: usize> Targets<SMatrix<T, 1, N>> for [T; N] {
    #[inline(always)]
    fn values(&self) -> &[T] {
        self
    }
}

impl<T: Scalar, M: Flat<Scalar = T>, Y: Targets<M>> Loss<M, Y> for MeanSquared {
    type Scalar = T;

    fn evaluate(&self, output: &M, target: &Y, gradient: &mut M) -> Result<T, LossError> {
        // In one column: the mean is of all values, whatever sample they are of, in the order in which they lie.
        let (output, target) = (output.flat(), target.values());
        let (Ok(output), Ok(target), Ok(gradient)) = (
            Matrix::new(output, M::LEN, 1),
            Matrix::new(target, M::LEN, 1),
            MatrixMut::new(gradient.flat_mut(), M::LEN, 1),
        ) else {
            return Err(LossError::Target("a target has as many values as the outputs"));
        };
        Ok(T::once::<SquaresOnce>((output, Some(target), gradient)))
    }
}
// Outputs; targets, or nothing where they wait in the place of the gradient; the gradient.
once!(pub(crate) SquaresOnce: (Matrix<'a, T>, Option<Matrix<'a, T>>, MatrixMut<'a, T>) => T, squares_once);

/// The mean of the squared differences of `output` and `target`, and its gradient.
fn squares_once<T: Scalar>(
    (output, target, mut gradient): (Matrix<'_, T>, Option<Matrix<'_, T>>, MatrixMut<'_, T>),
) -> T {
    let (samples, units) = (output.rows(), output.cols());
    let share = T::ONE / T::from_f64((samples * units) as f64);
    let mut sum = T::ZERO;
    for unit in 0..units {
        let mut sample = 0;
        gradient.reborrow().column_range(unit, 1).fill_with(|waiting| {
            let wanted = target.map_or(waiting, |target| target.at(sample, unit).unwrap_or(T::NAN));
            let difference = output.at(sample, unit).unwrap_or(T::NAN) - wanted;
            sample += 1;
            sum += difference * difference;
            (difference + difference) * share
        });
    }
    sum * share
}
