//! Smaller networks from larger ones: units left out, a teacher imitated, layers that share their weights, feedback without weights.
//!
//! - [`Importance`] measures on samples what every unit is worth, and [`Network::prune`](crate::Network::prune) makes a narrower network of
//!   the units that are worth most. The means of the others go into the biases of the units that read them.
//! - [`Distill`] is a loss that trains a small network on the outputs of a large one (Hinton, Vinyals, Dean 2015).
//! - [`Repeat`](crate::Repeat) in the list of layers is a layer with the weights of the layer below it: they are stored once, in flash and in RAM.
//! - [`Tied`](crate::Tied) feedback has no weights of its own; [`Network::take_weights`](crate::Network::take_weights) starts such a network from one
//!   that was trained with others.
//!
//! All of it is memory of the caller. A smaller network is trained on like any other, and certified anew.
//!
//! ```
//! use attractor::compress::{Importance, Measure};
//! use attractor::{Stop, fnn};
//!
//! type Large = fnn![2, 8, 8, 1];
//! type Small = fnn![2, 5, 4, 1]; // the same but for the widths
//! let mut large = Large::ZERO; // or trained
//! for (i, w) in large.params_mut().iter_mut().enumerate() {
//!     *w = 0.3 * (i as f32).sin();
//! }
//! let (mut importance, mut state) = (Importance::<Large>::ZERO, Large::state());
//! for x in [[0.5, -1.0], [1.0, 0.25], [-0.5, 0.0]] {
//!     large.solve(&x, &mut state, Stop::residual(1e-5))?;
//!     importance.observe(&state)?;
//! }
//! let mut scores = Large::state();
//! importance.scores(&large, Measure::Weights, &mut scores)?;
//! let mut small = Small::ZERO;
//! large.prune(&scores, importance.means(), &mut small)?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod distill;
mod importance;
mod prune;

pub use distill::Distill;
pub use importance::{Importance, Measure};
pub use prune::{Narrows, Prunes};

use crate::kernel::Scalar;
use crate::network::{LengthError, Parameters};
use core::fmt;

/// Why a network is not made smaller. Nothing has been changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CompressError {
    /// Nothing has been observed of what is asked for.
    NoSamples,
    /// An activation, a weight, a score, or a sum of them is a NaN or too large (2^62 in `f32`, 2^510 in `f64`, where squares are
    /// taken).
    NotFinite,
}

impl fmt::Display for CompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSamples => "nothing has been observed",
            Self::NotFinite => "an activation, a weight or a score is a NaN or too large",
        })
    }
}

impl core::error::Error for CompressError {}

// Lengths inside the crate come from one layout and always fit.
impl From<LengthError> for CompressError {
    fn from(_: LengthError) -> Self {
        Self::NotFinite
    }
}

/// Calls `each` for every unit that reads unit `unit` of layer `layer`, with its number among all units and the weight it reads it with.
fn for_each_listener<T: Scalar>(
    params: Parameters<'_, T>,
    layer: usize,
    unit: usize,
    mut each: impl FnMut(usize, T),
) {
    let (layout, layers) = (params.layout(), params.layout().layers());
    let Some(own) = layers.get(layer) else { return };
    if let Some(above) = layers.get(layer + 1) {
        for row in 0..above.width {
            each(above.units + row, params.w(above).at(row, unit).unwrap_or(T::NAN));
        }
    }
    if let (Some(k), true) = (layout.tied::<T>(), layer > 0) {
        for (column, below) in own.below().enumerate() {
            each(below, k * params.w(own).at(unit, column).unwrap_or(T::NAN));
        }
    }
    for reader in layers.get(layout.readers(layer)).unwrap_or_default() {
        if reader.feedback == 0 {
            continue;
        }
        let column = own.columns_in(reader).start + unit;
        for row in 0..reader.width {
            each(reader.units + row, params.u(reader).at(row, column).unwrap_or(T::NAN));
        }
    }
}
