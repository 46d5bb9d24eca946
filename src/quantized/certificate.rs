//! What is certain of the integers themselves.

use super::view::{View, sums_of};
use super::{IntegerRoom, Quantized, QuantizedState, part};
use crate::certificate::CertificateError;
use crate::file::QUANTIZED_NUMBERS;
use crate::kernel::Activation;
use crate::network::{Architecture, Flat, LayerLayout, Network, UnitsOf};
use crate::simd::IntState;
use core::fmt;

/// Entries of a vector are integers up to this.
const LARGEST: i64 = 1 << 16;
/// Digits after the point of what comes out of a comparison sweep.
const POINT: u32 = 12;
/// Digits of gamma after the point.
const GAMMA: u32 = 24;
/// 1, as a rate.
const ONE: i64 = 1 << GAMMA;

/// A proof that the sweeps of a quantised network converge: a vector of integers v > 0 and a rate gamma < 1 such that every sweep, but for
/// the rounding of its states, shrinks the error max |h_i - h*_i| / v_i by gamma; h* is the solution of [`Quantized::to_network`].
///
/// All of it is integers and computed on the integers of the weights, every division rounded up: nothing is assumed of floating-point
/// numbers.
///
/// ```
/// use attractor::fnn;
/// use attractor::quantized::{Calibration, Quantized};
/// type Net = fnn![3, 8, 2];
/// let mut net = Net::ZERO;
/// net.layer_mut::<1>().u.fill(-0.02);
/// net.layer_mut::<2>().w.fill(0.5);
/// let mut calibration = Calibration::<Net>::ZERO;
/// calibration.observe(&[1.0, 1.0, 1.0], &Net::state())?;
/// let small = Quantized::<Net, i16>::new(&net, &calibration)?;
/// let certificate = small.certify()?;
/// assert!(certificate.rate() < 0.17);
/// certificate.verify(&small)?;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[repr(C)]
pub struct QuantizedCertificate<N: Architecture> {
    v: UnitsOf<N, i32>,
    gamma: i32,
    /// c: what errors of one last digit in every unit come to in a sweep, in entries of v, with `POINT` digits.
    propagation: i32,
    /// The smallest entry of v.
    least: i32,
}

// SAFETY: repr(C) over integers in a row.
#[allow(unsafe_code, reason = "certificates are seen as flat integers, in model files")]
unsafe impl<N: Architecture> Flat for QuantizedCertificate<N> {
    type Scalar = i32;
    const LEN: usize = {
        let entries = N::LAYOUT.units() + QUANTIZED_NUMBERS;
        assert!(entries * size_of::<i32>() == size_of::<Self>(), "what a file has of it");
        entries
    };
}

impl<N: Architecture> Clone for QuantizedCertificate<N> {
    fn clone(&self) -> Self {
        Self { v: self.v.clone(), ..*self }
    }
}
impl<N: Architecture> fmt::Debug for QuantizedCertificate<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuantizedCertificate").field("rate", &self.rate()).finish()
    }
}
impl<N: Architecture> PartialEq for QuantizedCertificate<N> {
    fn eq(&self, other: &Self) -> bool {
        self.v.flat() == other.v.flat()
            && (self.gamma, self.propagation, self.least) == (other.gamma, other.propagation, other.least)
    }
}

/// What a comparison sweep finds.
struct Found {
    gamma: i64,
    propagation: i64,
    least: i64,
}

impl<N: Architecture> QuantizedCertificate<N> {
    /// The rate.
    #[must_use]
    pub fn rate(&self) -> f64 {
        f64::from(self.gamma) / ONE as f64
    }
    /// v, one entry a unit.
    #[must_use]
    pub fn vector(&self) -> &[i32] {
        self.v.flat()
    }
    /// Entry i of v times this is a bound on the error of unit i, in its last digit, after a sweep that changed no unit by more than
    /// `residual`, if sweeps come within `rounding` digits of the exact ones.
    fn weighted(&self, residual: f64, rounding: f64) -> f64 {
        let (gamma, c) = (self.rate(), f64::from(self.propagation) / f64::from(1 << POINT));
        (gamma * residual / f64::from(self.least) + c * rounding) / (1.0 - gamma)
    }
}

impl<N: Architecture<Scalar = f32>> QuantizedCertificate<Network<N>> {
    /// How far a sweep's states are from those of an exact one, at most, in the last digit: what the activation's table and the rounding of
    /// sum and state make.
    #[must_use]
    pub fn rounding<H: IntState>() -> f64 {
        // A sum is rounded by half of its last digit; the first layer's, which is two, twice.
        f64::max(<N::Hidden>::quantized_error::<H>(), <N::Outputs>::quantized_error::<H>())
            + libm::ldexp(1.0, -(H::EXTRA as i32))
    }

    /// A bound on the error of every output in `state`, which a sweep has left that changed no unit by more than `residual`, in the outputs'
    /// last digit: of the distance to the solution of [`Quantized::to_network`].
    ///
    /// `None` where a hidden unit or an output without a bound of its own ([`Relu`](crate::kernel::Relu), [`Identity`](crate::kernel::Identity))
    /// is cut at the largest state there is, or is so near to it that the solution may be: the sweeps then lead to another solution, of which
    /// nothing is known. Calibrate on samples as large as those to come.
    #[must_use]
    pub fn bound<H: IntState>(&self, state: &QuantizedState<Network<N>, H>, residual: i32) -> Option<f64> {
        self.uncut(state, self.weighted(residual.into(), Self::rounding::<H>()))
            .map(|weighted| self.largest_output() * weighted)
    }

    /// The same of every unit, in its own last digit; `None` also where there is no such unit.
    #[must_use]
    pub fn bound_of<H: IntState>(
        &self,
        unit: usize,
        state: &QuantizedState<Network<N>, H>,
        residual: i32,
    ) -> Option<f64> {
        let v = f64::from(*self.v.flat().get(unit)?);
        self.uncut(state, self.weighted(residual.into(), Self::rounding::<H>())).map(|weighted| v * weighted)
    }

    /// `weighted`, if no unit that is as far from `state` as it allows is cut.
    ///
    /// What is cut is a network that contracts as well, so its solution is that near. Where that solution is not cut, it is one of the network
    /// that is not.
    fn uncut<H: IntState>(&self, state: &QuantizedState<Network<N>, H>, weighted: f64) -> Option<f64> {
        let hidden = Network::<N>::UNITS - Network::<N>::OUTPUTS;
        let mut units = state.as_slice().iter().zip(self.v.flat()).enumerate();
        let inside = |(unit, (h, v)): (usize, (&H, &i32))| {
            let bounded = if unit < hidden { <N::Hidden>::BOUND } else { <N::Outputs>::BOUND }.is_some();
            let h: i32 = (*h).into();
            bounded || f64::from(h).abs() + f64::from(*v) * weighted <= f64::from(H::MOST)
        };
        units.all(inside).then_some(weighted)
    }

    fn largest_output(&self) -> f64 {
        let outputs = Network::<N>::OUTPUTS;
        let v = part(self.v.flat(), Network::<N>::UNITS - outputs, outputs);
        f64::from(v.iter().copied().max().unwrap_or_default())
    }

    /// Sweeps after which the [`bound`](Self::bound) for a change of 1 holds for every input and every start, if there is one; a worst-case
    /// execution time.
    #[must_use]
    pub fn sweeps<H: IntState>(&self) -> usize {
        let start = 2.0 * f64::from(H::MOST) / f64::from(self.least);
        let floor = self.weighted(0.0, Self::rounding::<H>());
        let room = self.weighted(1.0, Self::rounding::<H>()) - floor;
        if !(room > 0.0) {
            return 1;
        }
        libm::ceil(libm::log(start / room) / -libm::log(self.rate())).max(1.0) as usize
    }

    /// Compares the proof with the weights: exact, one pass over them. Takes four bytes of stack a unit; [`verify_in`](Self::verify_in) takes
    /// them from elsewhere.
    ///
    /// # Errors
    /// [`CertificateError`] if it does not hold.
    pub fn verify<H: IntState>(
        &self,
        network: &Quantized<Network<N>, H>,
    ) -> Result<(), CertificateError<f64>> {
        let mut room: UnitsOf<Network<N>, i32> = Flat::ZERO;
        self.compare(network, room.flat_mut())
    }

    /// [`verify`](Self::verify) in room of the caller's, which is overwritten.
    ///
    /// # Errors
    /// As there.
    pub fn verify_in<H: IntState>(
        &self,
        network: &Quantized<Network<N>, H>,
        room: &mut IntegerRoom<Network<N>>,
    ) -> Result<(), CertificateError<f64>> {
        let [room, _] = &mut room.units;
        self.compare(network, room.flat_mut())
    }

    /// [`verify`](Self::verify), in room for an integer a unit.
    fn compare<H: IntState>(
        &self,
        network: &Quantized<Network<N>, H>,
        room: &mut [i32],
    ) -> Result<(), CertificateError<f64>> {
        network.view().provable(self.v.flat())?;
        let found = network.view().compare(steepest::<N>(), self.v.flat(), room);
        found.prove([self.gamma, self.propagation, self.least])
    }

    /// A bound on how far the outputs are from the solution of the network this one was made of, after a sweep that changed no unit by more
    /// than `residual`: as numbers, not as last digits. It counts what rounding made of every weight, bias and input; inputs and all units of
    /// that solution, hidden ones as well, must lie within what the calibration allowed for. Where they do not, this is no bound: that the
    /// integers are not cut, [`bound`](Self::bound) tells.
    pub fn distance<H: IntState>(
        &self,
        quantized: &Quantized<Network<N>, H>,
        net: &Network<N>,
        residual: i32,
    ) -> f64 {
        let rounded = quantized.view().largest_miss(steepest::<N>(), net.params());
        // Summed in f64 from numbers exact in it.
        let rounding = Self::rounding::<H>() + rounded * (1.0 + 1e-9);
        let unit = f64::from(quantized.output_unit());
        self.largest_output() * self.weighted(residual.into(), rounding) * unit * (1.0 + 1e-9)
    }
}

impl<N: Architecture<Scalar = f32>, H: IntState> Quantized<Network<N>, H> {
    /// A proof that sweeps converge. Takes an [`IntegerRoom`] of stack beside what is returned; [`certify_in`](Self::certify_in) takes neither.
    ///
    /// # Errors
    /// [`CertificateError::NotContracting`] if none was found.
    pub fn certify(&self) -> Result<QuantizedCertificate<Network<N>>, CertificateError<f64>> {
        let mut found = QuantizedCertificate::ZERO;
        let mut room = IntegerRoom::ZERO;
        self.certify_in(&mut found, &mut room)?;
        Ok(found)
    }

    /// [`certify`](Self::certify) into a place of the caller's, in room of the caller's: for networks that are too large for the stack.
    ///
    /// # Errors
    /// As there; what is left in `certificate` is then none.
    pub fn certify_in(
        &self,
        certificate: &mut QuantizedCertificate<Network<N>>,
        room: &mut IntegerRoom<Network<N>>,
    ) -> Result<(), CertificateError<f64>> {
        let [v, room] = &mut room.units;
        let rooms = [v.flat_mut(), room.flat_mut()];
        let QuantizedCertificate { v, gamma, propagation, least } = certificate;
        [*gamma, *propagation, *least] = self.view().search(steepest::<N>(), rooms, v.flat_mut())?;
        Ok(())
    }
}

/// Bounds on the slopes of the hidden layers and of the output layer.
fn steepest<N: Architecture>() -> [f64; 2] {
    [<N::Hidden>::STEEPEST, <N::Outputs>::STEEPEST]
}

impl Found {
    /// Whether it bears out these numbers, gamma, propagation and least.
    ///
    /// # Errors
    /// [`CertificateError`] if it does not.
    fn prove(&self, [gamma, propagation, least]: [i32; 3]) -> Result<(), CertificateError<f64>> {
        let one = ONE as f64;
        if gamma < 0 || i64::from(gamma) >= ONE {
            return Err(CertificateError::NotContracting { rate: f64::from(gamma) / one });
        }
        for (what, stated, found) in
            [("rate", gamma, self.gamma), ("propagation", propagation, self.propagation)]
        {
            if i64::from(stated) < found {
                let (stated, found) = (f64::from(stated) / one, found as f64 / one);
                return Err(CertificateError::Refuted { what, stated, found });
            }
        }
        if least < 1 || i64::from(least) > self.least {
            return Err(CertificateError::Vector);
        }
        Ok(())
    }
}

impl View<'_> {
    /// Whether a proof can be checked: no sum overflows, and entries of its vector are allowed.
    ///
    /// # Errors
    /// [`CertificateError`] if not.
    fn provable(&self, v: &[i32]) -> Result<(), CertificateError<f64>> {
        if self.check().is_err() {
            return Err(CertificateError::NotFinite);
        }
        if v.iter().any(|v| !(1..=LARGEST).contains(&i64::from(*v))) {
            return Err(CertificateError::Vector);
        }
        Ok(())
    }

    /// Leaves the vector of the best proof in `best`; its gamma, propagation and least entry.
    ///
    /// # Errors
    /// [`CertificateError::NotContracting`] if none was found.
    fn search(
        &self,
        steepest: [f64; 2],
        [v, room]: [&mut [i32]; 2],
        best: &mut [i32],
    ) -> Result<[i32; 3], CertificateError<f64>> {
        if self.check().is_err() {
            return Err(CertificateError::NotFinite);
        }
        v.fill(1 << 10);
        let mut numbers: Option<[i32; 3]> = None;
        for _ in 0..64 {
            let found = self.compare(steepest, v, room);
            if numbers.is_none_or(|[gamma, ..]| found.gamma < i64::from(gamma)) {
                best.copy_from_slice(v);
                numbers = Some([found.gamma, found.propagation, found.least].map(narrow));
            }
            // What came out is the next v, not less than a small part of its largest.
            let most = room.iter().copied().max().unwrap_or_default().max(1);
            for (v, w) in v.iter_mut().zip(&*room) {
                let scaled = i64::from(*w) * LARGEST / i64::from(most);
                *v = scaled.clamp(LARGEST / 256, LARGEST) as i32;
            }
        }
        match numbers {
            Some(found) if i64::from(found[0]) < ONE && found[1] < i32::MAX => Ok(found),
            other => Err(CertificateError::NotContracting {
                rate: other.map_or(f64::INFINITY, |[gamma, ..]| f64::from(gamma) / ONE as f64),
            }),
        }
    }

    /// w = Lo w + Up v, which is left in `room`, and what it says of v.
    fn compare(&self, steepest: [f64; 2], v: &[i32], room: &mut [i32]) -> Found {
        let propagation = self.pass(steepest, v, None, room);
        let rate = self.pass(steepest, v, Some(v), room);
        let least = v.iter().copied().min().unwrap_or_default();
        Found { gamma: rate.saturating_mul(ONE >> POINT), propagation, least: least.into() }
    }

    /// One comparison sweep, into `room`: of errors that units have from before, or else of one last digit that each unit adds. What that
    /// comes to in entries of v, rounded up; all with `POINT` digits.
    fn pass(&self, steepest: [f64; 2], v: &[i32], before: Option<&[i32]>, room: &mut [i32]) -> i64 {
        let entry = |slice: &[i32], unit: usize| i64::from(slice.get(unit).copied().unwrap_or(i32::MAX));
        let mut largest = 0;
        for (index, layer) in self.layout.layers().iter().enumerate() {
            // A power of two, by which the slope is less than 1.
            let slope = if steepest[usize::from(self.is_last(index))] < 0.5 { 2 } else { 0 };
            for unit in layer.own() {
                let sum =
                    self.magnitudes(index, layer, unit - layer.units, slope, |unit, above| match before {
                        Some(before) if above => entry(before, unit) << POINT,
                        None if above => 0,
                        _ => entry(room, unit),
                    });
                let sum = if before.is_some() { sum } else { sum.saturating_add(1 << POINT) };
                largest = largest.max(up(sum, entry(v, unit).max(1)));
                if let Some(to) = room.get_mut(unit) {
                    *to = i32::try_from(sum).unwrap_or(i32::MAX);
                }
            }
        }
        largest
    }

    /// r S sum |q| e of a row, for errors e of its operands, rounded up; the slope S is 2^-`slope`.
    fn magnitudes(
        &self,
        index: usize,
        layer: &LayerLayout,
        row: usize,
        slope: u32,
        error: impl Fn(usize, bool) -> i64,
    ) -> i64 {
        let mut sum = 0_i64;
        let first = if index == 0 { layer.inputs } else { 0 };
        for column in first..layer.columns() {
            let q = i64::from(self.weight(layer, row, column)).abs();
            let e = match column.checked_sub(layer.inputs) {
                None => error(layer.below().start + column, false),
                Some(column) => error(layer.above().start + column, true),
            };
            sum = sum.saturating_add(q.saturating_mul(e));
        }
        let found = self.row(layer, row, false);
        let shift = 16 + found.exponent as u32 + self.digits.extra + slope;
        // Eight digits first, so that the product has room.
        let product = up(sum, 1 << 8).saturating_mul(i64::from(found.scale));
        up(product, 1 << (shift - 8))
    }

    /// By how much a unit's state is off, at most, because weights, bias and inputs were rounded; in its last digit.
    fn largest_miss(&self, steepest: [f64; 2], params: &[f32]) -> f64 {
        let mut largest = 0.0_f64;
        for (index, layer) in self.layout.layers().iter().enumerate() {
            for row in 0..layer.width {
                let steepest = steepest[usize::from(self.is_last(index))];
                largest = largest.max(steepest * self.miss(params, index, layer, row));
            }
        }
        largest
    }

    /// By how much a unit's sum is off.
    fn miss(&self, params: &[f32], index: usize, layer: &LayerLayout, row: usize) -> f64 {
        let digits = self.digits;
        let z = libm::ldexp(1.0, digits.extra as i32)
            / f64::from(self.units[if self.is_last(index) { 2 } else { 1 }]);
        let param = |at: usize| f64::from(params.get(at).copied().unwrap_or(f32::NAN));
        let (mut sum, mut bias) = (0.0, param(layer.b() + row) * z);
        for (first, end, of_inputs) in sums_of(index, layer) {
            let found = self.row(layer, row, of_inputs);
            let ratio = f64::from(found.scale) * libm::ldexp(1.0, -16 - i32::from(found.exponent));
            let mut integers = f64::from(found.bias);
            for column in first..end {
                let q = f64::from(self.weight(layer, row, column));
                integers += f64::from(digits.offset) * q;
                let unit = f64::from(self.column_unit(index, layer, column));
                let weight = param(layer.weight(row, column)) * z * unit;
                sum += (weight - q * ratio).abs() * f64::from(digits.most + 1);
                if of_inputs {
                    sum += 0.5 * weight.abs();
                }
            }
            bias -= integers * ratio - 0.5;
        }
        (sum + bias.abs()) * libm::ldexp(1.0, -(digits.extra as i32))
    }
}

fn narrow(n: i64) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// a / b, rounded up.
fn up(a: i64, b: i64) -> i64 {
    a.saturating_add(b - 1) / b
}
