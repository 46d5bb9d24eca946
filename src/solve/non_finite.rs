//! What is not finite: looked for when something has failed, never before.

use crate::kernel::{Matrix, Scalar};
use crate::network::{Architecture, Network, Shape, Source};
use core::fmt;

/// What is not finite, the first that was found: a NaN, an infinity, or what overflowed. Layers are counted from 1, as in
/// [`layer::<1>()`](crate::Network::layer), all else from 0. It is looked for when something has failed, in the order of the variants. On
/// microcontrollers nothing is looked through, to spare flash, and all is [`Overflow`](Self::Overflow).
///
/// ```
/// use attractor::{NonFinite, SolveError, Stop, fnn};
/// type Net = fnn![2, 3, 1];
/// let mut net = Net::ZERO;
/// net.layer_mut::<2>().w[(0, 1)] = f32::NAN;
/// let error = net.solve(&[0.5, 1.0], &mut Net::state(), Stop::residual(1e-5)).unwrap_err();
/// assert_eq!(error.to_string(), "entry (0, 1) of W of layer 2 is not finite");
/// let error = net.solve(&[0.5, f32::INFINITY], &mut Net::state(), Stop::residual(1e-5)).unwrap_err();
/// assert_eq!(error, SolveError::NotFinite(NonFinite::Input { sample: 0, input: 1 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum NonFinite {
    /// An input.
    Input {
        /// The sample.
        sample: usize,
        /// Which input of it.
        input: usize,
    },
    /// A weight or a bias.
    Weight {
        /// Its matrix: `W`, `U`, `b`; of an adapter `P` or `Q`, which is Q^T.
        matrix: char,
        /// The layer.
        layer: usize,
        /// The row: of all but `Q` the unit.
        row: usize,
        /// The column.
        column: usize,
    },
    /// A state: it began so, or what was summed up for it is too large.
    State {
        /// The sample.
        sample: usize,
        /// The layer.
        layer: usize,
        /// The unit of it.
        unit: usize,
    },
    /// A delta of the adjoint: it began so, or what was summed up for it is too large.
    Delta {
        /// The sample.
        sample: usize,
        /// The layer.
        layer: usize,
        /// The unit of it.
        unit: usize,
    },
    /// The loss, while its gradient is finite.
    Loss,
    /// The gradient of the loss, dJ/dh.
    LossGradient {
        /// The sample.
        sample: usize,
        /// The output; of a loss of all units, the unit among all.
        output: usize,
    },
    /// A sum of the gradient might be, for this delta is so large: the largest there is.
    Gradient {
        /// The sample.
        sample: usize,
        /// The layer.
        layer: usize,
        /// The unit of it.
        unit: usize,
    },
    /// A number of a [`Map`](super::Map).
    Map {
        /// The sample.
        sample: usize,
        /// The unit.
        unit: usize,
    },
    /// A sum, though all there is to look at is finite.
    Overflow,
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Input { sample, input } => write!(f, "input {input} of sample {sample} is not finite"),
            Self::Weight { matrix: 'b', layer, row, .. } => {
                write!(f, "entry {row} of b of layer {layer} is not finite")
            }
            Self::Weight { matrix, layer, row, column } => {
                write!(f, "entry ({row}, {column}) of {matrix} of layer {layer} is not finite")
            }
            Self::State { sample, layer, unit } => {
                write!(f, "the state of unit {unit} of layer {layer} is not finite in sample {sample}")
            }
            Self::Delta { sample, layer, unit } => {
                write!(f, "the delta of unit {unit} of layer {layer} is not finite in sample {sample}")
            }
            Self::Loss => f.write_str("the loss is not finite"),
            Self::LossGradient { sample, output } => {
                write!(f, "the gradient of the loss is not finite at output {output} of sample {sample}")
            }
            Self::Gradient { sample, layer, unit } => write!(
                f,
                "the delta of unit {unit} of layer {layer} is too large in sample {sample}: the gradient might not be finite"
            ),
            Self::Map { sample, unit } => {
                write!(f, "unit {unit} of the map is not finite in sample {sample}")
            }
            Self::Overflow => f.write_str("a sum is not finite"),
        }
    }
}

impl core::error::Error for NonFinite {}

/// The first place in a matrix, row after row, that is not finite.
#[cold]
#[inline(never)]
fn first<T: Scalar>(matrix: Matrix<'_, T>) -> Option<(usize, usize)> {
    for row in 0..matrix.rows() {
        for column in 0..matrix.cols() {
            if !matrix.at(row, column).is_some_and(T::is_finite) {
                return Some((row, column));
            }
        }
    }
    None
}

/// In samples, a row each.
pub(crate) fn in_input<T: Scalar>(input: Matrix<'_, T>) -> Option<NonFinite> {
    first(input).map(|(sample, input)| NonFinite::Input { sample, input })
}

/// In the gradient of the loss, a row a sample.
pub(crate) fn in_loss_gradient<T: Scalar>(gradient: Matrix<'_, T>) -> Option<NonFinite> {
    first(gradient).map(|(sample, output)| NonFinite::LossGradient { sample, output })
}

/// In the parameters of a network.
#[cold]
#[inline(never)]
pub(crate) fn in_params<T: Scalar>(shape: &Shape, params: &[T]) -> Option<NonFinite> {
    let (_, index) = first(Matrix::of_row(params))?;
    let (matrix, layer, row, column) = shape.parameter(index)?;
    Some(NonFinite::Weight { matrix, layer, row, column })
}

impl<A: Architecture> Network<A> {
    /// The first weight or bias that is a NaN or an infinity: what `CertificateError::NotFinite` is about, if it is no overflow.
    ///
    /// ```
    /// use attractor::{CertificateError, NonFinite, fnn};
    /// let mut net = <fnn![2, 3, 1]>::ZERO;
    /// net.layer_mut::<1>().b[2] = f32::INFINITY;
    /// assert_eq!(net.certify().unwrap_err(), CertificateError::NotFinite);
    /// let bias = NonFinite::Weight { matrix: 'b', layer: 1, row: 2, column: 0 };
    /// assert_eq!(net.non_finite(), Some(bias));
    /// ```
    #[must_use]
    pub fn non_finite(&self) -> Option<NonFinite> {
        in_params(const { &Self::OUTLINE }, self.params())
    }
}

/// In weights that do not lie in a row.
#[cold]
#[inline(never)]
pub(crate) fn in_weights<'a, T: Scalar>(params: impl Source<'a, T>) -> Option<NonFinite> {
    for (index, layer) in params.layout().layers().iter().enumerate() {
        let correction = params.correction(layer);
        for (matrix, weights) in [
            ('W', Some(params.w(layer))),
            ('U', Some(params.u(layer))),
            ('b', Matrix::new(params.b(layer), layer.width, 1).ok()),
            ('P', correction.map(|correction| correction.p)),
            ('Q', correction.map(|correction| correction.q)),
        ] {
            if let Some((row, column)) = weights.and_then(first) {
                return Some(NonFinite::Weight { matrix, layer: index + 1, row, column });
            }
        }
    }
    None
}

/// In states, a row a sample.
#[cold]
#[inline(never)]
pub(crate) fn in_states<T: Scalar>(shape: &Shape, states: Matrix<'_, T>) -> Option<NonFinite> {
    let (sample, unit) = first(states)?;
    let (layer, unit) = shape.unit(unit);
    Some(NonFinite::State { sample, layer, unit })
}

/// In deltas, a row a sample.
#[cold]
#[inline(never)]
pub(crate) fn in_deltas<T: Scalar>(shape: &Shape, deltas: Matrix<'_, T>) -> Option<NonFinite> {
    let (sample, unit) = first(deltas)?;
    let (layer, unit) = shape.unit(unit);
    Some(NonFinite::Delta { sample, layer, unit })
}

/// Why a gradient was not added up: what it is summed from, or the largest delta, for which a sum might not be finite.
#[cold]
#[inline(never)]
pub(crate) fn in_gradient<T: Scalar>(
    shape: &Shape,
    input: Matrix<'_, T>,
    states: Matrix<'_, T>,
    deltas: Matrix<'_, T>,
) -> NonFinite {
    let found = in_input(input).or_else(|| in_states(shape, states)).or_else(|| in_deltas(shape, deltas));
    if let Some(found) = found {
        return found;
    }
    let (mut largest, mut found) = (T::ZERO, (0, 0));
    for sample in 0..deltas.rows() {
        for unit in 0..deltas.cols() {
            let size = deltas.at(sample, unit).unwrap_or(T::ZERO).magnitude();
            if size > largest {
                (largest, found) = (size, (sample, unit));
            }
        }
    }
    let (layer, unit) = shape.unit(found.1);
    NonFinite::Gradient { sample: found.0, layer, unit }
}

/// In W^1 x + b^1 of finite numbers.
#[cold]
#[inline(never)]
pub(crate) fn in_first_sums<'a, T: Scalar>(
    params: impl Source<'a, T>,
    input: Matrix<'_, T>,
) -> Option<NonFinite> {
    let layer = params.layout().layers().first()?;
    let (w, b) = (params.w(layer), params.b(layer));
    for sample in 0..input.rows() {
        for (unit, bias) in b.iter().enumerate() {
            let product = |i| Some(w.at(unit, i)? * input.at(sample, i)?);
            let sum = (0..layer.inputs).fold(*bias, |sum, i| sum + product(i).unwrap_or(T::ZERO));
            if !sum.is_finite() {
                return Some(NonFinite::State { sample, layer: 1, unit });
            }
        }
    }
    None
}
