//! From a network to integers: calibration on samples, rounding, and back.

use super::Quantized;
use super::error::QuantizeError;
use super::view::Seen;
use crate::certificate::NotFinite;
use crate::kernel::{Activation, Matrix};
use crate::network::{Architecture, Flat, Network, Samples, State, Takes, UnitsOf};
use crate::simd::IntState;
use core::fmt;

/// What samples say about inputs and states: how large they get, and their means. Memory of a state and an input; for networks that are too
/// large for the stack, [`Storage`](crate::network::Storage) has a place, `<Boxed<Calibration<Net>>>::zeroed()`.
#[repr(C)]
pub struct Calibration<N: Architecture> {
    inputs: N::Inputs<f32>,
    units: UnitsOf<N, f32>,
    /// The largest input, hidden state and output.
    largest: [f32; 3],
    samples: f32,
}

// SAFETY: repr(C) over numbers of 32 bits in a row.
#[allow(unsafe_code, reason = "what samples say is numbers, wherever it is kept")]
unsafe impl<N: Architecture> Flat for Calibration<N> {
    type Scalar = f32;
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

impl<N: Architecture<Scalar = f32>> Calibration<Network<N>> {
    /// Takes in samples and their solutions.
    ///
    /// # Errors
    /// [`NotFinite`] if one of the numbers is not finite; nothing is taken in then.
    pub fn observe<X: Samples<f32, I, B>, const I: usize, const B: usize>(
        &mut self,
        input: &X,
        state: &State<Network<N>, B>,
    ) -> Result<(), NotFinite>
    where
        N: Takes<I>,
    {
        let hidden = Network::<N>::UNITS - Network::<N>::OUTPUTS;
        let (inputs, units) = (self.inputs.flat_mut(), self.units.flat_mut());
        let mut seen = SeenMut { inputs, units, largest: &mut self.largest, samples: &mut self.samples };
        seen.observe(input.samples(), state.as_slice(), hidden)
    }
}

/// What a calibration saw, to be added to.
pub(crate) struct SeenMut<'a> {
    pub(crate) inputs: &'a mut [f32],
    pub(crate) units: &'a mut [f32],
    pub(crate) largest: &'a mut [f32; 3],
    pub(crate) samples: &'a mut f32,
}

impl SeenMut<'_> {
    /// [`Calibration::observe`] of a network with so many hidden units.
    pub(crate) fn observe(
        &mut self,
        input: Matrix<'_, f32>,
        states: &[f32],
        hidden: usize,
    ) -> Result<(), NotFinite> {
        let samples = input.rows();
        let value = |sample, unit| input.at(sample, unit).unwrap_or(f32::NAN);
        let finite = (0..samples).all(|sample| (0..input.cols()).all(|unit| value(sample, unit).is_finite()));
        if !finite || !states.iter().all(|h| h.is_finite()) {
            return Err(NotFinite);
        }
        for (unit, sum) in self.inputs.iter_mut().enumerate() {
            for sample in 0..samples {
                let x = value(sample, unit);
                *sum += x;
                self.largest[0] = self.largest[0].max(x.abs());
            }
        }
        let units = self.units.iter_mut().zip(states.chunks_exact(samples.max(1)));
        for (unit, (sum, samples)) in units.enumerate() {
            for h in samples {
                *sum += h;
                let largest = &mut self.largest[if unit < hidden { 1 } else { 2 }];
                *largest = largest.max(h.abs());
            }
        }
        *self.samples += samples as f32;
        Ok(())
    }
}

/// What a state of 1 is worth must be more, so that nothing made of it loses its digits.
const LEAST_UNIT: f32 = 1e-30;

/// How much more than the calibration's largest an unbounded layer can hold.
const MARGIN: f32 = 1.25;

/// What a state of 1 is worth, in a layer whose activation is bounded or is not.
fn unit<H: IntState>(bounded: bool, largest: f32) -> f32 {
    if bounded {
        return libm::ldexpf(1.0, -(H::BITS as i32));
    }
    let unit = largest * MARGIN / H::MOST as f32;
    if unit > LEAST_UNIT { unit } else { libm::ldexpf(1.0, -(H::BITS as i32)) }
}

/// What one is worth of inputs, hidden states and outputs, where so many samples had these largest.
pub(crate) fn units_of<H: IntState>(
    samples: f32,
    [input, hidden, output]: [f32; 3],
    bounded: [bool; 2],
) -> Result<[f32; 3], QuantizeError> {
    if samples == 0.0 {
        return Err(QuantizeError::Uncalibrated);
    }
    let input = input / H::MOST as f32;
    if !(input > LEAST_UNIT) {
        return Err(QuantizeError::AtRest);
    }
    Ok([input, unit::<H>(bounded[0], hidden), unit::<H>(bounded[1], output)])
}

impl<N: Architecture<Scalar = f32>, H: IntState> Quantized<Network<N>, H> {
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
    /// use attractor::network::Fnn;
    /// use attractor::{Layer, Network, Repeat};
    /// type Net = Network<Fnn<4, Layer<4, Repeat<4, Layer<4, Layer<2>>>>>>; // with the first layer
    /// let _ = Quantized::<Net, i8>::new(&Net::ZERO, &Calibration::ZERO);
    /// ```
    ///
    /// ```compile_fail
    /// use attractor::quantized::{Calibration, Quantized};
    /// use attractor::network::Fnn;
    /// use attractor::{Feedforward, Layer, Network, Repeat};
    /// type Net = Network<Fnn<3, Layer<4, Layer<4, Repeat<4>>>, f32, Feedforward>>; // with the output layer
    /// let _ = Quantized::<Net, i8>::new(&Net::ZERO, &Calibration::ZERO);
    /// ```
    ///
    /// ```compile_fail
    /// use attractor::quantized::{Calibration, Quantized};
    /// use attractor::network::Fnn;
    /// use attractor::{Layer, Network, Repeat};
    /// type Net = Network<Fnn<3, Layer<4, Layer<4, Repeat<4, Layer<4>>>>>>; // with a layer the outputs are fed back to
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
    pub fn new(net: &Network<N>, calibration: &Calibration<Network<N>>) -> Result<Self, QuantizeError> {
        let mut quantized = Self::ZERO;
        quantized.fill(net, calibration)?;
        Ok(quantized)
    }

    /// [`new`](Self::new), in place: for what is too large for the stack ([`boxed`](Self::boxed)), or has been made before.
    ///
    /// # Errors
    /// [`QuantizeError`]; `self` may then hold parts of both networks.
    pub fn fill(
        &mut self,
        net: &Network<N>,
        calibration: &Calibration<Network<N>>,
    ) -> Result<(), QuantizeError> {
        const { Self::SUPPORTED }
        let bounded = [<N::Hidden>::BOUND.is_some(), <N::Outputs>::BOUND.is_some()];
        self.units = units_of::<H>(calibration.samples, calibration.largest, bounded)?;
        let seen = Seen {
            inputs: calibration.inputs.flat(),
            units: calibration.units.flat(),
            samples: calibration.samples,
        };
        self.view_mut().fill(net.params(), seen)
    }

    /// Whether all sums stay within 32 bits, whatever the states are; proved from the weights, exactly. What
    /// [`new`](Self::new) makes is so.
    ///
    /// # Errors
    /// [`QuantizeError::Overflow`], which names a unit.
    pub fn check(&self) -> Result<(), QuantizeError> {
        self.view().check()
    }

    /// The network of floating-point numbers that this one is, but for the rounding of states and sums: W = q r, and so on.
    ///
    /// For fine-tuning with the weights rounded (straight through: Bengio, Leonard and Courville 2013): the gradient is taken at this
    /// network and added to the one that is rounded anew after every step.
    pub fn to_network(&self, net: &mut Network<N>) {
        self.view().to_params(net.params_mut());
    }
}
