//! A network of integers whatever its type: its layout, and slices of it. What works on that is compiled once, in this crate.

use super::error::QuantizeError;
use super::rows::{self, EXPONENTS, Row};
use super::{GROUP, part};
use crate::kernel::{IntegerRows, PackedMatrix, ShapeError, place};
use crate::network::{LayerLayout, Layout};
use crate::simd::IntState;

/// The digits of a type of states, as [`IntState`] has them.
#[derive(Clone, Copy)]
pub(crate) struct Digits {
    pub(crate) extra: u32,
    pub(crate) offset: i32,
    pub(crate) most: i32,
}

impl Digits {
    pub(crate) const fn of<H: IntState>() -> Self {
        Self { extra: H::EXTRA, offset: H::OFFSET, most: H::MOST }
    }
    /// The largest that a state can be where it is multiplied.
    pub(super) const fn largest(self) -> i32 {
        self.most + 1 + self.offset
    }
}

/// A network of integers.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) weights: &'a [i8],
    pub(crate) bias: &'a [i32],
    pub(crate) scale: &'a [i16],
    /// The rows through which the first layer reads its inputs.
    pub(crate) first: IntegerRows<'a>,
    /// What one is worth: of the inputs, of the hidden layers, of the outputs.
    pub(crate) units: [f32; 3],
    pub(crate) digits: Digits,
}

/// The sums of a layer: from which column to which, and whether it is that of the inputs.
pub(super) fn sums_of(
    index: usize,
    layer: &LayerLayout,
) -> impl Iterator<Item = (usize, usize, bool)> + use<> {
    let end = layer.columns();
    let (whole, split) =
        ([Some((0, end, false)), None], [Some((0, layer.inputs, true)), Some((layer.inputs, end, false))]);
    if index == 0 { split } else { whole }.into_iter().flatten()
}

impl<'a> View<'a> {
    /// W of a layer.
    #[inline(always)]
    pub(super) fn w(&self, layer: &LayerLayout) -> Result<PackedMatrix<'a, i8>, ShapeError> {
        let (rows, columns) = (layer.width, layer.inputs);
        PackedMatrix::new(part(self.weights, layer.params, rows * columns), rows, columns)
    }
    /// U of a layer.
    #[inline(always)]
    pub(super) fn u(&self, layer: &LayerLayout) -> Result<PackedMatrix<'a, i8>, ShapeError> {
        let (rows, columns) = (layer.width, layer.feedback);
        PackedMatrix::new(part(self.weights, layer.u(), rows * columns), rows, columns)
    }
    /// The rows of a layer; of the first, those of its U.
    #[inline(always)]
    pub(super) fn rows(&self, layer: &LayerLayout) -> IntegerRows<'a> {
        IntegerRows {
            bias: part(self.bias, layer.units, layer.width),
            scale: part(self.scale, layer.units, layer.width),
            exponent: part(self.weights, layer.b(), layer.width),
        }
    }

    /// q of a row and a column of the columns W has and then U.
    pub(super) fn weight(&self, layer: &LayerLayout, row: usize, column: usize) -> i8 {
        let (first, columns, column) = if column < layer.inputs {
            (layer.params, layer.inputs, column)
        } else {
            (layer.u(), layer.feedback, column - layer.inputs)
        };
        let at = first + place(GROUP, layer.width, columns, row, column);
        self.weights.get(at).copied().unwrap_or_default()
    }

    /// A row of a layer: the one of its inputs, or the other.
    pub(super) fn row(&self, layer: &LayerLayout, row: usize, of_inputs: bool) -> Row {
        let rows = if of_inputs { self.first } else { self.rows(layer) };
        Row {
            bias: rows.bias.get(row).copied().unwrap_or_default(),
            scale: rows.scale.get(row).copied().unwrap_or_default(),
            exponent: rows.exponent.get(row).copied().unwrap_or_default(),
        }
    }

    /// What a state of 1 in this column is worth.
    pub(super) fn column_unit(&self, index: usize, layer: &LayerLayout, column: usize) -> f32 {
        match column.checked_sub(layer.inputs) {
            None if index == 0 => self.units[0],
            None => self.units[1],
            Some(column) => {
                let unit = layer.above().start + column;
                let outputs = self.layout.layers().last().map_or(0, |last| last.units);
                self.units[if unit < outputs { 1 } else { 2 }]
            }
        }
    }

    /// Whether a layer is the output layer.
    pub(super) fn is_last(&self, index: usize) -> bool {
        index + 1 == self.layout.depth()
    }

    /// Whether all sums stay within 32 bits.
    ///
    /// # Errors
    /// [`QuantizeError`].
    pub(crate) fn check(&self) -> Result<(), QuantizeError> {
        if !self.units.iter().all(|unit| unit.is_finite() && *unit > 0.0) {
            return Err(QuantizeError::NotFinite);
        }
        for (index, layer) in self.layout.layers().iter().enumerate() {
            for row in 0..layer.width {
                for (first, end, of_inputs) in sums_of(index, layer) {
                    let found = self.row(layer, row, of_inputs);
                    let magnitudes =
                        (first..end).map(|column| i64::from(self.weight(layer, row, column)).abs()).sum();
                    let sensible = found.scale >= 0 && (0..=EXPONENTS).contains(&i32::from(found.exponent));
                    let minimal = (first..end).all(|column| self.weight(layer, row, column) != i8::MIN);
                    let fits = rows::fits(magnitudes, self.digits.largest(), found.bias.into());
                    if !sensible || !minimal || !fits {
                        return Err(QuantizeError::Overflow { layer: index + 1, unit: row });
                    }
                }
            }
        }
        Ok(())
    }

    /// The parameters of floating-point numbers that these integers are.
    pub(crate) fn to_params(self, params: &mut [f32]) {
        let extra = libm::ldexpf(1.0, self.digits.extra as i32);
        for (index, layer) in self.layout.layers().iter().enumerate() {
            let z = self.units[if self.is_last(index) { 2 } else { 1 }] / extra;
            for row in 0..layer.width {
                // The sums' own offset and half are no bias.
                let mut bias = 0.0;
                for (first, end, of_inputs) in sums_of(index, layer) {
                    let found = self.row(layer, row, of_inputs);
                    let (ratio, mut sum) = (found.ratio(), found.bias);
                    for column in first..end {
                        let q = self.weight(layer, row, column);
                        sum += self.digits.offset * i32::from(q);
                        let value = f32::from(q) * ratio * z / self.column_unit(index, layer, column);
                        put(params, layer.weight(row, column), value);
                    }
                    bias += sum as f32 * ratio - 0.5;
                }
                put(params, layer.b() + row, bias * z);
            }
        }
    }
}

/// A network of integers, to be written.
pub(crate) struct ViewMut<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) weights: &'a mut [i8],
    pub(crate) bias: &'a mut [i32],
    pub(crate) scale: &'a mut [i16],
    pub(crate) first_bias: &'a mut [i32],
    pub(crate) first_scale: &'a mut [i16],
    pub(crate) first_exponent: &'a mut [i8],
    pub(crate) units: [f32; 3],
    pub(crate) digits: Digits,
}

/// What samples showed, as [`Calibration`](super::Calibration) has it.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    /// Sums of inputs.
    pub(crate) inputs: &'a [f32],
    /// Sums of states.
    pub(crate) units: &'a [f32],
    pub(crate) samples: f32,
}

impl ViewMut<'_> {
    /// Makes it of the parameters of a network.
    ///
    /// # Errors
    /// [`QuantizeError`]; parts may then be of one network and parts of another.
    pub(crate) fn fill(&mut self, params: &[f32], seen: Seen<'_>) -> Result<(), QuantizeError> {
        let [input, hidden, output] = self.units;
        let (layout, digits) = (self.layout, self.digits);
        let outputs = layout.layers().last().map_or(0, |last| last.width);
        let extra = libm::ldexpf(1.0, digits.extra as i32);
        for (index, layer) in layout.layers().iter().enumerate() {
            // z per unit of what the weights give.
            let z = extra / if index + 1 == layout.depth() { output } else { hidden };
            let (inputs, below_unit) = if index == 0 {
                (seen.inputs, input)
            } else {
                (seen.units.get(layer.below()).unwrap_or_default(), hidden)
            };
            let reads_outputs = layer.above().end == layout.units() && layer.feedback > 0;
            let hidden_columns = if reads_outputs { layer.feedback - outputs } else { layer.feedback };
            for row in 0..layer.width {
                let bias = params.get(layer.b() + row);
                let bias = bias.copied().unwrap_or(f32::NAN) * z;
                let mut columns = Of {
                    params,
                    weights: self.weights,
                    layer: *layer,
                    row,
                    first: 0,
                    count: if index == 0 { layer.inputs } else { layer.columns() },
                    means: (inputs, seen.units.get(layer.above()).unwrap_or_default()),
                    gains: (
                        z * below_unit,
                        Gains { hidden: z * hidden, outputs: z * output, hidden_columns },
                    ),
                    samples: seen.samples,
                    z,
                };
                let (offset, most) = (digits.offset, digits.largest());
                let mut found = rows::quantize(&mut columns, bias, offset, most, (index + 1, row))?;
                if index == 0 {
                    put(self.first_bias, row, found.bias);
                    put(self.first_scale, row, found.scale);
                    put(self.first_exponent, row, found.exponent);
                    columns.first = layer.inputs;
                    columns.count = layer.feedback;
                    found = rows::quantize(&mut columns, 0.0, offset, most, (index + 1, row))?;
                }
                let exponents = layer.b();
                let before = self.weights.get(exponents + row);
                if layer.shared && before != Some(&found.exponent) {
                    return Err(QuantizeError::Shared { layer: index + 1, unit: row });
                }
                put(self.weights, exponents + row, found.exponent);
                put(self.bias, layer.units + row, found.bias);
                put(self.scale, layer.units + row, found.scale);
            }
        }
        Ok(())
    }
}

/// The columns of one row of a layer.
pub(super) struct Of<'a> {
    params: &'a [f32],
    weights: &'a mut [i8],
    layer: LayerLayout,
    row: usize,
    /// The columns in question, of those of W and U together.
    first: usize,
    count: usize,
    /// Sums of what W and U multiply.
    means: (&'a [f32], &'a [f32]),
    /// What a state of 1 that W and U multiply makes of z, times a weight of 1.
    gains: (f32, Gains),
    samples: f32,
    /// z per unit of what the weights give.
    z: f32,
}

/// U may multiply hidden layers and, with its last columns, the outputs.
#[derive(Clone, Copy)]
struct Gains {
    hidden: f32,
    outputs: f32,
    hidden_columns: usize,
}

impl Of<'_> {
    pub(super) fn count(&self) -> usize {
        self.count
    }
    /// The gain of a column.
    fn gain(&self, column: usize) -> f32 {
        match column.checked_sub(self.layer.inputs) {
            None => self.gains.0,
            Some(column) if column < self.gains.1.hidden_columns => self.gains.1.hidden,
            Some(_) => self.gains.1.outputs,
        }
    }
    /// What a column's weight makes of a state of 1, in units of z; and the mean of its states.
    pub(super) fn weight(&self, column: usize) -> (f32, f32) {
        let column = self.first + column;
        let at = self.layer.weight(self.row, column);
        let weight = self.params.get(at).copied().unwrap_or(f32::NAN);
        let sum = match column.checked_sub(self.layer.inputs) {
            None => self.means.0.get(column),
            Some(column) => self.means.1.get(column),
        };
        let gain = self.gain(column);
        let mean = sum.copied().unwrap_or_default() / self.samples;
        // gain / z is what a state of 1 is worth.
        (weight * gain, mean * self.z / gain)
    }
    /// Keeps a column's integer.
    pub(super) fn put(&mut self, column: usize, weight: i8) {
        let (column, layer) = (self.first + column, self.layer);
        let at = match column.checked_sub(layer.inputs) {
            None => layer.params + place(GROUP, layer.width, layer.inputs, self.row, column),
            Some(column) => layer.u() + place(GROUP, layer.width, layer.feedback, self.row, column),
        };
        put(self.weights, at, weight);
    }
}

fn put<T>(slice: &mut [T], at: usize, value: T) {
    if let Some(to) = slice.get_mut(at) {
        *to = value;
    }
}
