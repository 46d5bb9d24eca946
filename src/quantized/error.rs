//! Why a network cannot be made of integers.

use core::fmt;

/// Why there is no network of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum QuantizeError {
    /// A NaN or an infinity in the weights, or in what they become with the largest numbers of the calibration.
    NotFinite,
    /// The calibration has seen no sample.
    Uncalibrated,
    /// The calibration has seen no input but zeros, as of a sensor at rest (or none above 4e-26): what an input of 1 is worth is not known.
    AtRest,
    /// The weights of a unit are too large for its sum: a weight times the largest input or state it is multiplied with may come to
    /// 15.75 with states of 8 bits and to 63.49 with 16, times the largest the unit can hold; with 16, those of a row together to 16,000.
    ///
    /// The largest input is the calibration's; the largest state is 1 where the activation is bounded, else 1.25 times the calibration's.
    Large {
        /// The layer, counted from 1.
        layer: usize,
        /// The unit, counted from 0.
        unit: usize,
    },
    /// Layers that share the weights of a unit need different scales for it, because its bias is too large for one of them.
    Shared {
        /// The later layer, counted from 1.
        layer: usize,
        /// The unit, counted from 0.
        unit: usize,
    },
    /// The weights of a unit are such that its sum may leave 32 bits, or its scale makes no sense.
    Overflow {
        /// The layer, counted from 1.
        layer: usize,
        /// The unit, counted from 0.
        unit: usize,
    },
}

impl fmt::Display for QuantizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite => f.write_str(
                "a NaN or an infinity in the weights, or in them times the largest of the calibration",
            ),
            Self::Uncalibrated => f.write_str("the calibration has seen no sample"),
            Self::AtRest => {
                f.write_str("the calibration has seen no input that is not zero, or none above 4e-26")
            }
            Self::Large { layer, unit } => {
                write!(
                    f,
                    "the weights of unit {unit} of layer {layer} are too large: times the largest input or state, over the \
                     largest the unit can hold, they may come to 15.75 with states of 8 bits and to 63.49 with 16"
                )
            }
            Self::Shared { layer, unit } => {
                write!(
                    f,
                    "unit {unit} of layer {layer} needs another scale than in the layer it shares its weights with"
                )
            }
            Self::Overflow { layer, unit } => {
                write!(f, "the sum of unit {unit} of layer {layer} may overflow")
            }
        }
    }
}

impl core::error::Error for QuantizeError {}
