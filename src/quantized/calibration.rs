//! From a network to integers: calibration on samples, rounding, and back.

use super::rows::{self, Columns, EXPONENTS, Row};
use super::{GROUP, Quantized};
use crate::certificate::NotFinite;
use crate::kernel::{Activation, place};
use crate::network::{Architecture, Flat, Form, LayerLayout, Network, Samples, Stack, State, UnitsOf};
use crate::simd::Quantum;
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

/// What samples say about inputs and states: how large they get, and their means. Memory of a state and an input.
pub struct Calibration<N: Architecture> {
    inputs: N::Inputs<f32>,
    units: UnitsOf<N, f32>,
    /// The largest input, hidden state and output.
    largest: [f32; 3],
    samples: f32,
}

impl<N: Architecture> Calibration<N> {
    /// Nothing seen yet.
    pub const ZERO: Self = Self { inputs: Flat::ZERO, units: Flat::ZERO, largest: [0.0; 3], samples: 0.0 };
}

impl<N: Architecture> fmt::Debug for Calibration<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Calibration({} samples, largest {:?})", self.samples, self.largest)
    }
}

impl<const I: usize, S: Stack, F: Form, A: Activation, O: Activation>
    Calibration<Network<I, S, f32, F, A, O>>
{
    /// Takes in samples and their solutions.
    ///
    /// # Errors
    /// [`NotFinite`] if one of the numbers is not finite; nothing is taken in then.
    pub fn observe<X: Samples<f32, I, B>, const B: usize>(
        &mut self,
        input: &X,
        state: &State<Network<I, S, f32, F, A, O>, B>,
    ) -> Result<(), NotFinite> {
        let input = input.samples();
        let value = |sample, unit| input.at(sample, unit).unwrap_or(f32::NAN);
        let finite = (0..B).all(|sample| (0..I).all(|unit| value(sample, unit).is_finite()));
        if !finite || !state.as_slice().iter().all(|h| h.is_finite()) {
            return Err(NotFinite);
        }
        for (unit, sum) in self.inputs.flat_mut().iter_mut().enumerate() {
            for sample in 0..B {
                let x = value(sample, unit);
                *sum += x;
                self.largest[0] = self.largest[0].max(x.abs());
            }
        }
        let hidden = Network::<I, S, f32, F, A, O>::UNITS - Network::<I, S, f32, F, A, O>::OUTPUTS;
        let units = self.units.flat_mut().iter_mut().zip(state.as_slice().chunks_exact(B));
        for (unit, (sum, samples)) in units.enumerate() {
            for h in samples {
                *sum += h;
                let largest = &mut self.largest[if unit < hidden { 1 } else { 2 }];
                *largest = largest.max(h.abs());
            }
        }
        self.samples += B as f32;
        Ok(())
    }
}

/// What a state of 1 is worth must be more, so that nothing made of it loses its digits.
const LEAST_UNIT: f32 = 1e-30;

/// How much more than the calibration's largest an unbounded layer can hold.
const MARGIN: f32 = 1.25;

/// What a state of 1 is worth.
fn unit<A: Activation, H: Quantum>(largest: f32) -> f32 {
    if A::BOUND.is_some() {
        return libm::ldexpf(1.0, -(H::BITS as i32));
    }
    let unit = largest * MARGIN / H::MOST as f32;
    if unit > LEAST_UNIT { unit } else { libm::ldexpf(1.0, -(H::BITS as i32)) }
}

/// The columns of one row of a layer.
struct Of<'a, N: Architecture> {
    net: &'a [f32],
    weights: &'a mut [i8],
    layer: LayerLayout,
    row: usize,
    /// The columns in question, of those of W and U together.
    first: usize,
    count: usize,
    /// Sums of what W and U hear.
    means: (&'a [f32], &'a [f32]),
    /// What a state of 1 that W and U hear makes of z, times a weight of 1.
    gains: (f32, Gains),
    samples: f32,
    /// z per unit of what the weights give.
    z: f32,
    network: core::marker::PhantomData<N>,
}

/// U may hear hidden layers and, as its last columns, the outputs.
#[derive(Clone, Copy)]
struct Gains {
    hidden: f32,
    outputs: f32,
    hidden_columns: usize,
}

impl<N: Architecture> Of<'_, N> {
    /// The gain of a column.
    fn gain(&self, column: usize) -> f32 {
        match column.checked_sub(self.layer.inputs) {
            None => self.gains.0,
            Some(column) if column < self.gains.1.hidden_columns => self.gains.1.hidden,
            Some(_) => self.gains.1.outputs,
        }
    }
}

impl<N: Architecture> Columns for Of<'_, N> {
    fn count(&self) -> usize {
        self.count
    }
    fn weight(&self, column: usize) -> (f32, f32) {
        let column = self.first + column;
        let at = self.layer.params + column * self.layer.width + self.row;
        let weight = self.net.get(at).copied().unwrap_or(f32::NAN);
        let sum = match column.checked_sub(self.layer.inputs) {
            None => self.means.0.get(column),
            Some(column) => self.means.1.get(column),
        };
        let gain = self.gain(column);
        let mean = sum.copied().unwrap_or_default() / self.samples;
        // gain / z is what a state of 1 is worth.
        (weight * gain, mean * self.z / gain)
    }
    fn put(&mut self, column: usize, weight: i8) {
        let (column, layer) = (self.first + column, self.layer);
        let at = match column.checked_sub(layer.inputs) {
            None => layer.params + place(GROUP, layer.width, layer.inputs, self.row, column),
            Some(column) => {
                let first = layer.params + layer.width * layer.inputs;
                first + place(GROUP, layer.width, layer.feedback, self.row, column)
            }
        };
        if let Some(to) = self.weights.get_mut(at) {
            *to = weight;
        }
    }
}

impl<const I: usize, S: Stack, F: Form, A: Activation, O: Activation, H: Quantum>
    Quantized<Network<I, S, f32, F, A, O>, H>
{
    /// The network in integers: the largest weight of a row becomes 127, and what rounding changes on average goes into the bias.
    ///
    /// A weight times the largest input of the calibration may come to 15.75 with states of 8 bits and to 63.49 with 16, where the unit's
    /// activation is bounded; see [`QuantizeError::Large`] for other units and states.
    ///
    /// Layers may share weights where inputs, states and what is fed back have the same units: between the first layer and the layers
    /// that the outputs are fed back to. Others do not compile, nor does [`Tied`](crate::Tied) feedback.
    ///
    /// ```compile_fail
    /// use attractor::quantized::{Calibration, Quantized};
    /// use attractor::{Layer, Network, Shared};
    /// type Net = Network<4, Layer<4, Shared<4, Layer<4, Layer<2>>>>>; // with the first layer
    /// let _ = Quantized::<Net, i8>::new(&Net::ZERO, &Calibration::ZERO);
    /// ```
    ///
    /// ```compile_fail
    /// use attractor::quantized::{Calibration, Quantized};
    /// use attractor::{Feedforward, Layer, Network, Shared};
    /// type Net = Network<3, Layer<4, Layer<4, Shared<4>>>, f32, Feedforward>; // with the output layer
    /// let _ = Quantized::<Net, i8>::new(&Net::ZERO, &Calibration::ZERO);
    /// ```
    ///
    /// ```compile_fail
    /// use attractor::quantized::{Calibration, Quantized};
    /// use attractor::{Layer, Network, Shared};
    /// type Net = Network<3, Layer<4, Layer<4, Shared<4, Layer<4>>>>>; // with a layer the outputs are fed back to
    /// let _ = Quantized::<Net, i8>::new(&Net::ZERO, &Calibration::ZERO);
    /// ```
    ///
    /// ```compile_fail
    /// use attractor::quantized::{Calibration, Quantized};
    /// use attractor::{Tied, fnn};
    /// type Net = fnn![3, 4, 2; feedback = Tied<50>];
    /// let _ = Quantized::<Net, i8>::new(&Net::ZERO, &Calibration::ZERO);
    /// ```
    ///
    /// # Errors
    /// [`QuantizeError`].
    pub fn new(
        net: &Network<I, S, f32, F, A, O>,
        calibration: &Calibration<Network<I, S, f32, F, A, O>>,
    ) -> Result<Self, QuantizeError> {
        let mut quantized = Self::ZERO;
        quantized.fill(net, calibration)?;
        Ok(quantized)
    }

    /// [`new`](Self::new), in place: for what is too large for the stack, or has been made before.
    ///
    /// # Errors
    /// [`QuantizeError`]; `self` may then hold parts of both networks.
    pub fn fill(
        &mut self,
        net: &Network<I, S, f32, F, A, O>,
        calibration: &Calibration<Network<I, S, f32, F, A, O>>,
    ) -> Result<(), QuantizeError> {
        const { Self::SUPPORTED }
        if calibration.samples == 0.0 {
            return Err(QuantizeError::Uncalibrated);
        }
        let [input, hidden, output] = calibration.largest;
        let input = input / H::MOST as f32;
        if !(input > LEAST_UNIT) {
            return Err(QuantizeError::AtRest);
        }
        self.units = [input, unit::<A, H>(hidden), unit::<O, H>(output)];
        let [input, hidden, output] = self.units;
        let layout = &Network::<I, S, f32, F, A, O>::LAYOUT;
        let (extra, offset) = (libm::ldexpf(1.0, H::EXTRA as i32), H::OFFSET);
        let most = H::MOST + 1 + offset;
        for (index, layer) in layout.layers().iter().enumerate() {
            let last = index + 1 == layout.depth();
            // z per unit of what the weights give.
            let z = extra / if last { output } else { hidden };
            let outputs = Network::<I, S, f32, F, A, O>::OUTPUTS;
            let heard = layer.units + layer.width;
            let sums = calibration.units.flat();
            let (inputs, below_unit) = if index == 0 {
                (calibration.inputs.flat(), input)
            } else {
                (super::part(sums, layer.units - layer.inputs, layer.inputs), hidden)
            };
            let hears_outputs = heard + layer.feedback == layout.units() && layer.feedback > 0;
            let hidden_columns = if hears_outputs { layer.feedback - outputs } else { layer.feedback };
            for row in 0..layer.width {
                let bias =
                    net.params().get(layer.params + (layer.inputs + layer.feedback) * layer.width + row);
                let bias = bias.copied().unwrap_or(f32::NAN) * z;
                let mut columns = Of::<Network<I, S, f32, F, A, O>> {
                    net: net.params(),
                    weights: self.weights.flat_mut(),
                    layer: *layer,
                    row,
                    first: 0,
                    count: if index == 0 { layer.inputs } else { layer.inputs + layer.feedback },
                    means: (inputs, super::part(sums, heard, layer.feedback)),
                    gains: (
                        z * below_unit,
                        Gains { hidden: z * hidden, outputs: z * output, hidden_columns },
                    ),
                    samples: calibration.samples,
                    z,
                    network: core::marker::PhantomData,
                };
                let mut found = rows::quantize(&mut columns, bias, offset, most, (index + 1, row))?;
                if index == 0 {
                    put(self.first_bias.flat_mut(), row, found.bias);
                    put(self.first_scale.flat_mut(), row, found.scale);
                    put(self.first_exponent.flat_mut(), row, found.exponent);
                    columns.first = layer.inputs;
                    columns.count = layer.feedback;
                    found = rows::quantize(&mut columns, 0.0, offset, most, (index + 1, row))?;
                }
                let exponents = layer.params + layer.width * (layer.inputs + layer.feedback);
                let before = self.weights.flat().get(exponents + row);
                if layer.shared && before != Some(&found.exponent) {
                    return Err(QuantizeError::Shared { layer: index + 1, unit: row });
                }
                put(self.weights.flat_mut(), exponents + row, found.exponent);
                put(self.bias.flat_mut(), layer.units + row, found.bias);
                put(self.scale.flat_mut(), layer.units + row, found.scale);
            }
        }
        Ok(())
    }

    /// Whether all sums stay within 32 bits, whatever the states are; proved from the weights, exactly. What
    /// [`new`](Self::new) makes is so.
    ///
    /// # Errors
    /// [`QuantizeError::Overflow`], which names a unit.
    pub fn check(&self) -> Result<(), QuantizeError> {
        if !self.units.iter().all(|unit| unit.is_finite() && *unit > 0.0) {
            return Err(QuantizeError::NotFinite);
        }
        let most = H::MOST + 1 + H::OFFSET;
        for (index, layer) in Network::<I, S, f32, F, A, O>::LAYOUT.layers().iter().enumerate() {
            for row in 0..layer.width {
                for (first, end, of_inputs) in self.parts(index, layer) {
                    let found = self.row(layer, row, of_inputs);
                    let magnitudes =
                        (first..end).map(|column| i64::from(self.weight(layer, row, column)).abs()).sum();
                    let sensible = found.scale >= 0 && (0..=EXPONENTS).contains(&i32::from(found.exponent));
                    let minimal = (first..end).all(|column| self.weight(layer, row, column) != i8::MIN);
                    if !sensible || !minimal || !rows::fits(magnitudes, most, found.bias.into()) {
                        return Err(QuantizeError::Overflow { layer: index + 1, unit: row });
                    }
                }
            }
        }
        Ok(())
    }

    /// A row of a layer: the one of its inputs, or the other.
    pub(super) fn row(&self, layer: &LayerLayout, row: usize, of_inputs: bool) -> Row {
        let rows = if of_inputs { self.first_rows() } else { self.rows(layer) };
        Row {
            bias: rows.bias.get(row).copied().unwrap_or_default(),
            scale: rows.scale.get(row).copied().unwrap_or_default(),
            exponent: rows.exponent.get(row).copied().unwrap_or_default(),
        }
    }

    /// What a state of 1 in this column is worth.
    pub(super) fn column_unit(&self, index: usize, layer: &LayerLayout, column: usize) -> f32 {
        let layout = &Network::<I, S, f32, F, A, O>::LAYOUT;
        match column.checked_sub(layer.inputs) {
            None if index == 0 => self.units[0],
            None => self.units[1],
            Some(column) => {
                let unit = layer.units + layer.width + column;
                let outputs = layout.units() - Network::<I, S, f32, F, A, O>::OUTPUTS;
                self.units[if unit < outputs { 1 } else { 2 }]
            }
        }
    }

    /// The network of floating-point numbers that this one is, but for the rounding of states and sums: W = q r, and so on.
    ///
    /// For fine-tuning with the weights rounded (straight through: Bengio, Leonard and Courville 2013): the gradient is taken at this
    /// network and added to the one that is rounded anew after every step.
    pub fn to_network(&self, net: &mut Network<I, S, f32, F, A, O>) {
        let layout = &Network::<I, S, f32, F, A, O>::LAYOUT;
        let extra = libm::ldexpf(1.0, H::EXTRA as i32);
        for (index, layer) in layout.layers().iter().enumerate() {
            let z = self.units[if index + 1 == layout.depth() { 2 } else { 1 }] / extra;
            for row in 0..layer.width {
                let columns = layer.inputs + layer.feedback;
                // The sums' own offset and half are no bias.
                let mut bias = 0.0;
                for (first, end, of_inputs) in self.parts(index, layer) {
                    let found = self.row(layer, row, of_inputs);
                    let (ratio, mut sum) = (found.ratio(), found.bias);
                    for column in first..end {
                        let q = self.weight(layer, row, column);
                        sum += H::OFFSET * i32::from(q);
                        let value = f32::from(q) * ratio * z / self.column_unit(index, layer, column);
                        put(net.params_mut(), layer.params + column * layer.width + row, value);
                    }
                    bias += sum as f32 * ratio - 0.5;
                }
                put(net.params_mut(), layer.params + columns * layer.width + row, bias * z);
            }
        }
    }

    /// The sums of a layer: from which column to which, and whether it is that of the inputs.
    pub(super) fn parts(
        &self,
        index: usize,
        layer: &LayerLayout,
    ) -> impl Iterator<Item = (usize, usize, bool)> {
        let end = layer.inputs + layer.feedback;
        let (whole, split) = (
            [Some((0, end, false)), None],
            [Some((0, layer.inputs, true)), Some((layer.inputs, end, false))],
        );
        if index == 0 { split } else { whole }.into_iter().flatten()
    }
}

fn put<T>(slice: &mut [T], at: usize, value: T) {
    if let Some(to) = slice.get_mut(at) {
        *to = value;
    }
}
