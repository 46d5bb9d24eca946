//! Checking a network of integers while compiling, where there is arithmetic but no traits: what [`Quantized::check`](super::Quantized::check)
//! refuses, from the bytes of a file.

use super::error::QuantizeError;
use super::{GROUP, rows};
use crate::kernel::place;
use crate::network::{LayerLayout, Layout, Text};

/// A network as it lies in memory and in a file, and where its parts begin.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    pub(super) layout: &'a Layout,
    /// The largest state with what is added to it.
    pub(super) most: i32,
    pub(super) bytes: &'a [u8],
    pub(super) weights: usize,
    pub(super) bias: usize,
    pub(super) first_bias: usize,
    pub(super) units: usize,
    pub(super) scale: usize,
    pub(super) first_scale: usize,
    pub(super) first_exponent: usize,
}

impl Bytes<'_> {
    /// `N` bytes; none of these are missing in a file of the right length.
    const fn at<const N: usize>(&self, start: usize) -> [u8; N] {
        match self.bytes.split_at(start).1.first_chunk() {
            Some(bytes) => *bytes,
            None => panic!("a part of the file"),
        }
    }
    const fn signed(&self, at: usize) -> i8 {
        i8::from_le_bytes(self.at(at))
    }
    /// [`Quantized::weight`](super::Quantized::weight).
    const fn weight(&self, layer: LayerLayout, row: usize, column: usize) -> i8 {
        let (first, columns, column) = if column < layer.inputs {
            (layer.params, layer.inputs, column)
        } else {
            (layer.u(), layer.feedback, column - layer.inputs)
        };
        self.signed(self.weights + first + place(GROUP, layer.width, columns, row, column))
    }

    /// Whether the sum of a row's columns from `first` to `end` is sound.
    const fn is_sound(
        &self,
        layer: LayerLayout,
        row: usize,
        (first, end): (usize, usize),
        inputs: bool,
    ) -> bool {
        let exponents = layer.b();
        let (bias, scale, exponent) = if inputs {
            (self.first_bias + 4 * row, self.first_scale + 2 * row, self.first_exponent + row)
        } else {
            let unit = layer.units + row;
            (self.bias + 4 * unit, self.scale + 2 * unit, self.weights + exponents + row)
        };
        let exponent = self.signed(exponent) as i32;
        if i16::from_le_bytes(self.at(scale)) < 0 || exponent < 0 || exponent > rows::EXPONENTS {
            return false;
        }
        let (mut magnitudes, mut column) = (0, first);
        while column < end {
            let weight = self.weight(layer, row, column);
            if weight == i8::MIN {
                return false;
            }
            magnitudes += (weight as i64).abs();
            column += 1;
        }
        rows::fits(magnitudes, self.most, i32::from_le_bytes(self.at(bias)) as i64)
    }

    /// # Errors
    /// As [`Quantized::check`](super::Quantized::check).
    pub(super) const fn check(&self) -> Result<(), QuantizeError> {
        let mut i = 0;
        while i < 3 {
            let unit = f32::from_le_bytes(self.at(self.units + 4 * i));
            if !(unit.is_finite() && unit > 0.0) {
                return Err(QuantizeError::NotFinite);
            }
            i += 1;
        }
        let mut index = 0;
        while index < self.layout.depth() {
            let layer = self.layout.layer(index);
            let end = layer.columns();
            // The first layer reads its inputs through rows of their own.
            let first = if index == 0 { layer.inputs } else { 0 };
            let mut row = 0;
            while row < layer.width {
                if (index == 0 && !self.is_sound(layer, row, (0, first), true))
                    || !self.is_sound(layer, row, (first, end), false)
                {
                    return Err(QuantizeError::Overflow { layer: index + 1, unit: row });
                }
                row += 1;
            }
            index += 1;
        }
        Ok(())
    }
}

/// Stops the compilation with the error's text.
pub(super) const fn refuse(error: QuantizeError) -> ! {
    let text = Text::EMPTY.and("the model file is refused: ");
    match error {
        QuantizeError::Overflow { layer, unit } => {
            let text = text.and("the sum of unit ").and_number(unit).and(" of layer ").and_number(layer);
            text.and(" may overflow, or its scale makes no sense").panic()
        }
        _ => text.and("what its inputs, states or outputs are worth is not above 0 and finite").panic(),
    }
}
