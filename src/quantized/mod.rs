//! Networks of integers: weights of 8 bits with a scale for each row, states of 8 or 16 bits, no floating point while solving.
//!
//! # Numbers
//! A state is an integer h that stands for h u, where u is 2^-7 or 2^-15 in layers whose activation is bounded and a unit found by
//! [`Calibration`] in others. A row of weights is integers q of -127 to 127 and a scale r = m 2^-(16 + e), so that
//!
//! z_i = floor(r_i (sum over j of q_ij (h_j + o) + b_i)),
//!
//! where o is 128 for states of 8 bits (a product then is of unsigned with signed numbers, as processors have it) and 0 for 16; b holds
//! the bias, what o adds, and a half to round by. The sums are exact, in 32 bits, which [`Quantized::check`] proves from the weights. tanh is a table of
//! straight lines that rises and never by more than its argument; all its entries are checked while compiling. So every backend and
//! every target gives the same integers.
//!
//! # Sweeps
//! Rounded sweeps come within rho / (1 - gamma) of the solution and there may go round in circles of one last digit; so a solve ends at a
//! change of at most one. What a [`QuantizedCertificate`] proves, it proves of the integers themselves.
//! (Jacob et al. 2018 for integers in feed-forward networks.)
//!
//! ```
//! use attractor::quantized::{Calibration, Quantized};
//! use attractor::{Stop, fnn};
//! type Net = fnn![3, 8, 2];
//! let mut net = Net::ZERO;
//! net.layer_mut::<1>().w.fill(0.25);
//! net.layer_mut::<1>().u.fill(-0.02);
//! net.layer_mut::<2>().w.fill(0.5);
//!
//! let (mut calibration, mut state) = (Calibration::<Net>::ZERO, Net::state());
//! for input in [[1.0, 0.5, -0.5], [0.0, 1.0, 1.0]] {
//!     net.solve(&input, &mut state, Stop::residual(1e-5))?;
//!     calibration.observe(&input, &state)?;
//! }
//! let small = Quantized::<Net, i16>::new(&net, &calibration)?; // 145 bytes of weights instead of 232
//!
//! let input = small.input(&[1.0, 0.5, -0.5])?;
//! let mut integers = Quantized::<Net, i16>::state();
//! small.solve(&input, &mut integers, 64)?;
//! net.solve(&[1.0, 0.5, -0.5], &mut state, Stop::residual(1e-5))?;
//! let output = f32::from(integers.output()[0]) * small.output_unit();
//! assert!((output - state.output()[0]).abs() < 0.01);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod calibration;
mod certificate;
mod constant;
mod error;
mod file;
mod half;
mod rows;
mod sweep;
mod view;

pub use calibration::Calibration;
pub use certificate::QuantizedCertificate;
pub use error::QuantizeError;
pub use file::QuantizedModel;
pub use half::Bf16Network;

use crate::certificate::NotFinite;
use crate::kernel::{Codes, IntegerRows, TYPED, Typed, built_in};
use crate::network::{Architecture, Flat, Form, LayerLayout, Network, ParamsOf, Samples, Takes, UnitsOf};
use crate::simd::{Backend, IntState};
use crate::solve::{Runner, SolveError, Solved};
#[cfg(feature = "alloc")]
pub(crate) use calibration::{SeenMut, units_of};
use core::fmt;
use core::marker::PhantomData;
#[cfg(feature = "alloc")]
pub(crate) use half::widen;
pub(crate) use sweep::{Solve, SolveOnce};
#[cfg(feature = "alloc")]
pub(crate) use view::Seen;
pub(crate) use view::{Digits, View, ViewMut};

/// Columns of weights that lie side by side.
const GROUP: usize = 4;

/// A network `N` whose weights are integers of 8 bits and whose states are integers `H`: `i8` or `i16`. It lies in a model file as it lies in
/// memory (`docs/model-file.md`).
#[repr(C)]
pub struct Quantized<N: Architecture, H: IntState = i16> {
    /// W and U, packed; in the place of b, the exponents of the scales.
    weights: ParamsOf<N, i8>,
    bias: UnitsOf<N, i32>,
    /// The first layer reads its inputs through rows of their own.
    first_bias: N::FirstUnits<i32>,
    /// What one is worth: of the inputs, of the hidden layers, of the outputs.
    units: [f32; 3],
    scale: UnitsOf<N, i16>,
    first_scale: N::FirstUnits<i16>,
    first_exponent: N::FirstUnits<i8>,
    states: PhantomData<H>,
}

/// Room for solves, certificates and their checks of networks of integers, where it is not to lie on the stack: `solve_in`, `sweep_in`,
/// `certify_in` and `verify_in`. Two integers of 32 bits a unit; what they need of it they overwrite.
///
/// ```
/// use attractor::network::Storage;
/// use attractor::quantized::{Calibration, IntegerRoom, Quantized, QuantizedCertificate};
/// use attractor::{Boxed, fnn};
/// type Net = fnn![3, 8, 2];
/// let net = Net::boxed();
/// let mut calibration = <Boxed<Calibration<Net>>>::zeroed();
/// calibration.observe(&[1.0, 1.0, 1.0], &Net::state())?;
/// let mut small = Quantized::<Net, i16>::boxed();
/// small.fill(&net, &calibration)?;
/// let mut certificate = <Boxed<QuantizedCertificate<Net>>>::zeroed();
/// let mut room = <Boxed<IntegerRoom<Net>>>::zeroed();
/// small.certify_in(&mut certificate, &mut room)?;
/// let (input, mut state) = (small.input(&[1.0, 0.5, -0.5])?, Quantized::<Net, i16>::state());
/// small.solve_in(&input, &mut state, certificate.sweeps::<i16>(), &mut room)?;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[repr(transparent)]
pub struct IntegerRoom<N: Architecture> {
    units: [UnitsOf<N, i32>; 2],
}

// SAFETY: repr(transparent) over an array of integers in a row.
#[allow(unsafe_code, reason = "room is integers, wherever it is kept")]
unsafe impl<N: Architecture> Flat for IntegerRoom<N> {
    type Scalar = i32;
}

impl<N: Architecture> IntegerRoom<N> {
    /// Room for any network of this shape.
    pub const ZERO: Self = Flat::ZERO;
    /// Bytes of it.
    pub const BYTES: usize = size_of::<Self>();

    /// Room for the first layer's sums of its inputs.
    #[inline(always)]
    fn injection(&mut self) -> &mut [i32] {
        let first = const { N::LAYOUT.layer(0).width };
        self.flat_mut().get_mut(..first).unwrap_or_default()
    }
}

impl<N: Architecture> fmt::Debug for IntegerRoom<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntegerRoom").finish_non_exhaustive()
    }
}

/// The activations of a quantised network.
#[repr(transparent)]
pub struct QuantizedState<N: Architecture, H: IntState> {
    units: UnitsOf<N, H>,
}

// SAFETY: repr(transparent) over integers in a row.
#[allow(unsafe_code, reason = "activations are integers, wherever they are kept")]
unsafe impl<N: Architecture, H: IntState> Flat for QuantizedState<N, H> {
    type Scalar = H;
}

impl<N: Architecture, H: IntState> QuantizedState<N, H> {
    /// All activations zero.
    pub const ZERO: Self = Self { units: Flat::ZERO };

    /// All activations, layer after layer.
    #[must_use]
    pub fn as_slice(&self) -> &[H] {
        self.units.flat()
    }
    /// All activations, to change.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [H] {
        self.units.flat_mut()
    }
    /// The output layer.
    #[must_use]
    pub fn output(&self) -> &[H] {
        let first = const { N::LAYOUT.layer(N::LAYOUT.depth() - 1).units };
        self.as_slice().get(first..).unwrap_or_default()
    }
    /// The output that is largest, the first of several.
    #[must_use]
    pub fn label(&self) -> usize {
        label_of(self.output())
    }
    /// Sets all activations to zero.
    pub fn reset(&mut self) {
        self.as_mut_slice().fill(H::default());
    }
}

impl<N: Architecture, H: IntState> Clone for QuantizedState<N, H> {
    fn clone(&self) -> Self {
        Self { units: self.units.clone() }
    }
}
impl<N: Architecture, H: IntState> Default for QuantizedState<N, H> {
    fn default() -> Self {
        Self::ZERO
    }
}
impl<N: Architecture, H: IntState> PartialEq for QuantizedState<N, H> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}
impl<N: Architecture, H: IntState> fmt::Debug for QuantizedState<N, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

impl<N: Architecture, H: IntState> Clone for Quantized<N, H> {
    fn clone(&self) -> Self {
        Self {
            weights: self.weights.clone(),
            bias: self.bias.clone(),
            scale: self.scale.clone(),
            first_bias: self.first_bias.clone(),
            first_scale: self.first_scale.clone(),
            first_exponent: self.first_exponent.clone(),
            units: self.units,
            states: PhantomData,
        }
    }
}
impl<N: Architecture, H: IntState> fmt::Debug for Quantized<N, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Quantized({}, states = {}, units = {:?})", N::SHAPE, H::NAME, self.units)
    }
}

/// The output that is largest, the first of several.
pub(crate) fn label_of<H: PartialOrd>(output: &[H]) -> usize {
    let mut best = 0;
    for (i, h) in output.iter().enumerate() {
        if output.get(best).is_some_and(|found| h > found) {
            best = i;
        }
    }
    best
}

/// The integer nearest to an input, where 1 is worth `unit`.
pub(crate) fn integer<H: IntState>(input: f32, unit: f32) -> Result<H, NotFinite> {
    if !(input.abs() <= f32::MAX) {
        return Err(NotFinite);
    }
    // What overflows here is cut below, as all that is too large.
    let scaled = input / unit;
    Ok(H::narrow((libm::roundf(scaled) as i32).clamp(-H::MOST, H::MOST)))
}

/// A slice's part.
#[inline(always)]
fn part<T>(slice: &[T], first: usize, count: usize) -> &[T] {
    slice.get(first..first + count).unwrap_or_default()
}

/// What a layer reads from below, its own states, and what it reads from above. The first layer reads nothing from below but its drive.
#[inline(always)]
fn around<'a, T>(state: &'a mut [T], layer: &LayerLayout) -> Option<(&'a [T], &'a mut [T], &'a [T])> {
    let (below, rest) = state.split_at_mut_checked(layer.units)?;
    let (own, above) = rest.split_at_mut_checked(layer.width)?;
    Some((below.get(layer.below()).unwrap_or_default(), own, part(above, 0, layer.feedback)))
}

impl<N: Architecture, H: IntState> Quantized<N, H> {
    /// All weights zero: room for a network.
    pub const ZERO: Self = Self {
        weights: Flat::ZERO,
        bias: Flat::ZERO,
        scale: Flat::ZERO,
        first_bias: Flat::ZERO,
        first_scale: Flat::ZERO,
        first_exponent: Flat::ZERO,
        units: [1.0; 3],
        states: PhantomData,
    };
    /// Bytes of it.
    pub const BYTES: usize = size_of::<Self>();

    crate::network::in_a_box!("Room for a network, to be [filled](Self::fill),", |new| new.units = [1.0; 3]);

    /// A state at zero.
    #[must_use]
    pub const fn state() -> QuantizedState<N, H> {
        QuantizedState::ZERO
    }

    /// What an input of 1 is worth.
    #[must_use]
    pub const fn input_unit(&self) -> f32 {
        self.units[0]
    }
    /// What a hidden state of 1 is worth.
    #[must_use]
    pub const fn hidden_unit(&self) -> f32 {
        self.units[1]
    }
    /// What an output of 1 is worth.
    #[must_use]
    pub const fn output_unit(&self) -> f32 {
        self.units[2]
    }

    /// It, whatever its type.
    #[inline(always)]
    fn view(&self) -> View<'_> {
        View {
            layout: const { &N::LAYOUT },
            weights: self.weights.flat(),
            bias: self.bias.flat(),
            scale: self.scale.flat(),
            first: IntegerRows {
                bias: self.first_bias.flat(),
                scale: self.first_scale.flat(),
                exponent: self.first_exponent.flat(),
            },
            units: self.units,
            digits: const { Digits::of::<H>() },
        }
    }
    /// The same, to be written.
    fn view_mut(&mut self) -> ViewMut<'_> {
        ViewMut {
            layout: const { &N::LAYOUT },
            weights: self.weights.flat_mut(),
            bias: self.bias.flat_mut(),
            scale: self.scale.flat_mut(),
            first_bias: self.first_bias.flat_mut(),
            first_scale: self.first_scale.flat_mut(),
            first_exponent: self.first_exponent.flat_mut(),
            units: self.units,
            digits: const { Digits::of::<H>() },
        }
    }
}

impl<N: Architecture<Scalar = f32>, H: IntState> Quantized<Network<N>, H> {
    /// Inputs as integers, each the nearest; what lies beyond the calibration's largest is cut.
    ///
    /// # Errors
    /// [`NotFinite`] if an input is a NaN or infinite.
    pub fn input<const I: usize>(&self, input: &impl Samples<f32, I, 1>) -> Result<N::Inputs<H>, NotFinite>
    where
        N: Takes<I>,
    {
        let mut integers = <N::Inputs<H> as Flat>::ZERO;
        self.input_in(input, &mut integers)?;
        Ok(integers)
    }

    /// [`input`](Self::input) into a place of the caller's, a matrix of one row.
    ///
    /// # Errors
    /// As there; inputs before the one in question have been written then.
    pub fn input_in<const I: usize>(
        &self,
        input: &impl Samples<f32, I, 1>,
        integers: &mut N::Inputs<H>,
    ) -> Result<(), NotFinite>
    where
        N: Takes<I>,
    {
        let input = input.samples();
        for (column, to) in integers.flat_mut().iter_mut().enumerate() {
            *to = integer(input.at(0, column).unwrap_or(f32::NAN), self.units[0])?;
        }
        Ok(())
    }

    /// Networks that cannot be integers do not compile.
    const SUPPORTED: () = {
        let _ = (built_in::<N::Hidden>(), built_in::<N::Outputs>());
        assert!(
            <N::Form>::TIED == 0,
            "tied feedback is not quantised: W would be rounded once and read in two ways"
        );
        assert!(
            !Network::<N>::LAYOUT.shares_ends(),
            "layers that share weights are quantised only between the first layer and the layers that the outputs are fed back to: \
             inputs, hidden states and outputs have different units"
        );
    };

    /// Sweeps from whatever `state` holds until no unit changes by more than 1; at the latest after `limit` sweeps.
    ///
    /// # Errors
    /// [`SolveError::NotConverged`] if the limit is reached first; the state is kept. There is no other error: integers are finite. A certified
    /// network may be left going round by two or three last digits; after [`QuantizedCertificate::sweeps`] it is as near to its solution as
    /// [`QuantizedCertificate::bound`] says for the state and the residual, converged or not.
    #[inline]
    pub fn solve(
        &self,
        input: &N::Inputs<H>,
        state: &mut QuantizedState<Network<N>, H>,
        limit: usize,
    ) -> Result<Solved<i32>, SolveError<i32>> {
        self.on(Backend::best()).solve(input, state, limit)
    }

    /// [`solve`](Self::solve) in room of the caller's, which is overwritten: that takes four bytes of stack a unit of the first layer.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn solve_in(
        &self,
        input: &N::Inputs<H>,
        state: &mut QuantizedState<Network<N>, H>,
        limit: usize,
        room: &mut IntegerRoom<Network<N>>,
    ) -> Result<Solved<i32>, SolveError<i32>> {
        self.on(Backend::best()).solve_in(input, state, limit, room)
    }

    /// The network on a chosen backend, for what is the same integers on all of them.
    #[must_use]
    #[inline(always)]
    pub fn on(&self, backend: Backend) -> Runner<'_, Self> {
        const { Self::SUPPORTED }
        Runner { network: self, backend, threads: crate::threads::Threads::One }
    }
}

/// Whether no unit changed by more than 1, in a sweep that was made.
#[inline(always)]
fn converged(solved: Solved<i32>) -> Result<Solved<i32>, SolveError<i32>> {
    if solved.residual <= 1 && solved.sweeps > 0 {
        return Ok(solved);
    }
    Err(SolveError::NotConverged { sweeps: solved.sweeps, residual: solved.residual })
}

impl<N: Architecture<Scalar = f32>, H: IntState> Runner<'_, Quantized<Network<N>, H>> {
    /// [`Quantized::solve`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn solve(
        &self,
        input: &N::Inputs<H>,
        state: &mut QuantizedState<Network<N>, H>,
        limit: usize,
    ) -> Result<Solved<i32>, SolveError<i32>> {
        let mut injection: N::FirstUnits<i32> = Flat::ZERO;
        converged(self.run(input, state, injection.flat_mut(), 1, limit))
    }

    /// [`Quantized::solve_in`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn solve_in(
        &self,
        input: &N::Inputs<H>,
        state: &mut QuantizedState<Network<N>, H>,
        limit: usize,
        room: &mut IntegerRoom<Network<N>>,
    ) -> Result<Solved<i32>, SolveError<i32>> {
        converged(self.run(input, state, room.injection(), 1, limit))
    }

    /// Exactly so many sweeps, in constant time.
    #[inline]
    pub fn sweep(
        &self,
        input: &N::Inputs<H>,
        state: &mut QuantizedState<Network<N>, H>,
        sweeps: usize,
    ) -> Solved<i32> {
        let mut injection: N::FirstUnits<i32> = Flat::ZERO;
        self.run(input, state, injection.flat_mut(), -1, sweeps)
    }

    /// [`sweep`](Self::sweep) in room of the caller's, which is overwritten.
    #[inline]
    pub fn sweep_in(
        &self,
        input: &N::Inputs<H>,
        state: &mut QuantizedState<Network<N>, H>,
        sweeps: usize,
        room: &mut IntegerRoom<Network<N>>,
    ) -> Solved<i32> {
        self.run(input, state, room.injection(), -1, sweeps)
    }

    #[inline(always)]
    fn run(
        &self,
        input: &N::Inputs<H>,
        state: &mut QuantizedState<Network<N>, H>,
        injection: &mut [i32],
        enough: i32,
        limit: usize,
    ) -> Solved<i32> {
        let view = self.network.view();
        let (input, state, backend) = (input.flat(), state.as_mut_slice(), self.backend);
        if const { !TYPED } {
            let ends = const { Codes::of::<N::Hidden, N::Outputs>() };
            H::once::<SolveOnce>((backend, Solve { view, input, state, injection, enough, limit, ends }))
        } else {
            let ends = Typed::<N::Hidden, N::Outputs>::NEW;
            H::run(backend, Solve { view, input, state, injection, enough, limit, ends })
        }
    }
}
