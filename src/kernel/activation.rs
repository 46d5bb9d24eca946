//! Activations over lanes: tanh, sigmoid, ReLU, hard tanh, identity, and the exponential that softmax needs.

use super::Part;
use super::ends::{Functions, functions};
use super::once::Once;
use crate::simd::{Element, IntState, Integers, Lanes, each, numbered};
use core::fmt::Debug;

/// A scalar networks can be made of: `f32` or `f64`. Sealed through [`Element`].
pub trait Scalar: Element + nalgebra::Scalar {
    /// Hyperbolic tangent of every lane.
    fn tanh<L: Lanes<Self>>(lanes: L, x: L::Vector) -> L::Vector;
    /// A bound on the error of [`tanh`](Self::tanh) on any backend.
    const TANH_ERROR: f64;
    /// Exponential of every lane, for arguments of at most zero; in `f32` it is 0 below -87.
    fn exp<L: Lanes<Self>>(lanes: L, x: L::Vector) -> L::Vector;
    /// Natural logarithm of one positive number.
    fn ln(self) -> Self;
    /// Whether the inner loops of one sample are in assembly here; see the features `asm` and `helium`.
    #[doc(hidden)]
    const ASSEMBLY: bool = false;
    /// Whether there is [`sum_rows`](Self::sum_rows), which then is used and not [`add_columns`](Self::add_columns).
    #[doc(hidden)]
    const SUMS_ROWS: bool = false;
    /// Of how many rows at a time [`add_rows`](Self::add_rows) wants to have whole ones.
    #[doc(hidden)]
    const ROWS: usize = 4;
    /// Adds `rows` rows of all parts, of which there is one at least, to the sums from `from` and leaves them at `to`, where
    /// there is assembly that does.
    ///
    /// # Safety
    /// All of that must exist.
    #[doc(hidden)]
    #[inline(always)]
    unsafe fn sum_rows(from: *const Self, to: *mut Self, parts: &[Part<Self>], rows: usize) {
        let _ = (from, to, parts, rows);
    }
    /// Adds columns to the sums of 4, 8 or 16 `rows` from `from` and leaves them at `to`, where there is assembly.
    ///
    /// # Safety
    /// `columns` columns of `rows` scalars must exist `stride` apart, as many scalars from `x` on, and `rows` sums.
    #[doc(hidden)]
    #[inline(always)]
    unsafe fn add_columns(
        from: *const Self,
        to: *mut Self,
        rows: usize,
        column: *const Self,
        stride: usize,
        x: *const Self,
        columns: usize,
    ) {
        let _ = (from, to, rows, column, stride, x, columns);
    }
    /// Adds `rows` rows of four columns to four sums of each from `from` and leaves them at `to`, where there is assembly.
    ///
    /// # Safety
    /// All of that must exist; `rows` must be a multiple of `ROWS`, and not 0.
    #[doc(hidden)]
    #[inline(always)]
    unsafe fn add_rows(
        from: *const Self,
        to: *mut Self,
        column: *const Self,
        stride: usize,
        x: *const Self,
        rows: usize,
    ) {
        let _ = (from, to, column, stride, x, rows);
    }
    /// The sums of each four of 16 sums, where there is assembly.
    #[doc(hidden)]
    #[inline(always)]
    fn sums_of_4(sums: &[Self; 16]) -> [Self; 4] {
        let [first, ..] = *sums;
        [first; 4]
    }
    /// Adds the outer product of eight deltas and of `columns` scalars to eight rows, where there is assembly.
    ///
    /// # Safety
    /// All of that must exist, and at least one column.
    #[doc(hidden)]
    #[inline(always)]
    unsafe fn add_outer(
        matrix: *mut Self,
        stride: usize,
        deltas: &[Self; 8],
        x: *const Self,
        columns: usize,
    ) {
        let _ = (matrix, stride, deltas, x, columns);
    }
    /// Makes each of `count` units from `out` on tanh of its sum, of those from `sums` on, where there is assembly. Gives
    /// the largest |new - old|, and 0, or NaN if a sum is not finite.
    ///
    /// # Safety
    /// All of that must exist; `sums` and `out` may be the same.
    #[doc(hidden)]
    #[inline(always)]
    unsafe fn finish_tanh(sums: *const Self, out: *mut Self, count: usize) -> Option<(Self, Self)> {
        let _ = (sums, out, count);
        None
    }
    /// Makes each of `count` units from `out` on the slope of tanh times its sum, of those from `sums` on, with the states from
    /// `states` on, where there is assembly. Gives the largest |new - old|, and 0, or NaN if a new value is not finite.
    ///
    /// # Safety
    /// All of that must exist.
    #[doc(hidden)]
    #[inline(always)]
    unsafe fn finish_tanh_slope(
        sums: *const Self,
        states: *const Self,
        out: *mut Self,
        count: usize,
    ) -> Option<(Self, Self)> {
        let _ = (sums, states, out, count);
        None
    }
    /// The functions of an activation, compiled once, in this crate.
    #[doc(hidden)]
    fn functions<A: Activation>() -> &'static Functions<Self>;
    /// Does work that is compiled once, in this crate.
    #[doc(hidden)]
    fn once<O: Once>(job: O::Job<'_, Self>) -> O::Output<Self>;
    /// Square root of one number that is not negative.
    fn sqrt(self) -> Self;
    /// Cosine of one number.
    fn cos(self) -> Self;
    /// `self` to the power of the whole number `n`.
    #[must_use]
    fn power(self, n: u64) -> Self {
        let (mut result, mut base, mut n) = (Self::ONE, self, n);
        while n > 0 {
            if n & 1 == 1 {
                result = result * base;
            }
            base = base * base;
            n >>= 1;
        }
        result
    }
}

impl Scalar for f32 {
    #[inline(always)]
    fn functions<A: Activation>() -> &'static Functions<Self> {
        A::f32()
    }
    #[inline(always)]
    fn once<O: Once>(job: O::Job<'_, Self>) -> O::Output<Self> {
        if const { super::TYPED } { O::any(job) } else { O::f32(job) }
    }
    const TANH_ERROR: f64 = 5e-7;
    /// A division-free hyperbolic tangent: a polynomial of degree seven on each of seven segments, chosen by
    /// exponent and first fraction bit of |x| + 1; or, where sixteen entries are looked up at once, one of degree five on
    /// each of sixteen. The last operation adds the value at the segment's anchor
    /// to a correction that is never larger than half the slope there, so the rounding errors of the
    /// correction stay below the rise from one float to the next: the result never decreases.
    #[inline(always)]
    fn tanh<L: Lanes<Self>>(lanes: L, x: L::Vector) -> L::Vector {
        use super::tanh_table::{COLUMNS, ENTRIES, MAX, OFFSET, QUARTERS, ROWS};
        // `min` gives its second argument when that is NaN.
        let a = lanes.min(lanes.splat(MAX), lanes.abs(x));
        let (t, value, mut slope);
        if const { L::QUARTERS } {
            let segment = lanes.add(a, lanes.splat(OFFSET));
            let [anchor, there, horner @ .., highest] = lanes.lookup_quarters(const { &QUARTERS }, segment);
            (t, value, slope) = (lanes.sub(a, anchor), there, highest);
            for coefficient in horner.iter().rev() {
                slope = lanes.mul_add(slope, t, *coefficient);
            }
        } else {
            let segment = lanes.add(a, lanes.splat(1.0));
            let [anchor, there, horner @ .., highest] =
                lanes.lookup_all(const { &ROWS }, const { &COLUMNS }, segment);
            (t, value, slope) = (lanes.sub(a, anchor), there, highest);
            if const { L::BLOCKING.outlined } {
                for coefficient in horner.iter().rev() {
                    slope = lanes.mul_add(slope, t, *coefficient);
                }
            } else {
                const TERMS: usize = ENTRIES - 3;
                each!(term < TERMS => {
                    slope = lanes.mul_add(slope, t, horner[TERMS - 1 - term]);
                });
            }
        }
        // In the segment at zero the table holds 0 and t is |x| itself: small results keep all their digits.
        // In every other segment t is the smaller.
        let value = lanes.max(value, t);
        lanes.copy_sign(lanes.mul_add(t, slope, value), x)
    }

    /// Cody and Waite's reduction to 2^n e^r with |r| <= ln(2)/2, and a polynomial of degree six.
    #[inline(always)]
    fn exp<L: Lanes<Self>>(lanes: L, x: L::Vector) -> L::Vector {
        const LN_2_HIGH: f32 = 355.0 / 512.0; // nine bits: n times it is exact
        const LN_2_LOW: f32 = -2.121_944_4e-4;
        const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to a whole number
        const LOWEST: f32 = -87.0;
        const TERMS: [f32; 6] = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0];
        let bounded = lanes.min(lanes.splat(88.0), lanes.max(lanes.splat(LOWEST), x));
        let n = lanes.mul(bounded, lanes.splat(core::f32::consts::LOG2_E));
        let n = lanes.sub(lanes.add(n, lanes.splat(ROUND)), lanes.splat(ROUND));
        let r = lanes.mul_add(n, lanes.splat(-LN_2_HIGH), bounded);
        let r = lanes.mul_add(n, lanes.splat(-LN_2_LOW), r);
        let mut y = lanes.splat(TERMS[0]);
        for term in TERMS.iter().skip(1) {
            y = lanes.mul_add(y, r, lanes.splat(*term));
        }
        let y = lanes.mul(lanes.mul_add(y, r, lanes.splat(1.0)), lanes.power_of_two(n));
        lanes.select(lanes.less(x, lanes.splat(LOWEST)), lanes.splat(0.0), y)
    }

    #[cfg(all(any(feature = "asm", feature = "helium"), target_arch = "arm", target_abi = "eabihf"))]
    const ASSEMBLY: bool = true;
    #[cfg(all(feature = "asm", not(feature = "helium"), target_arch = "arm", target_abi = "eabihf"))]
    #[inline(always)]
    unsafe fn add_columns(
        from: *const f32,
        to: *mut f32,
        rows: usize,
        column: *const f32,
        stride: usize,
        x: *const f32,
        columns: usize,
    ) {
        // SAFETY: the same contract, which the caller keeps.
        unsafe {
            match rows {
                16 => super::assembly::rows_16(from, to, column, stride, x, columns),
                8 => super::assembly::rows_8(from, to, column, stride, x, columns),
                _ => super::assembly::rows_4(from, to, column, stride, x, columns),
            }
        }
    }
    #[cfg(all(any(feature = "asm", feature = "helium"), target_arch = "arm", target_abi = "eabihf"))]
    #[inline(always)]
    fn sums_of_4(sums: &[f32; 16]) -> [f32; 4] {
        super::assembly::sums_of_4(sums)
    }
    #[cfg(all(any(feature = "asm", feature = "helium"), target_arch = "arm", target_abi = "eabihf"))]
    #[inline(always)]
    unsafe fn add_rows(
        from: *const f32,
        to: *mut f32,
        column: *const f32,
        stride: usize,
        x: *const f32,
        rows: usize,
    ) {
        // SAFETY: the same contract, which the caller keeps.
        unsafe { super::assembly::columns_4(from, to, column, stride, x, rows) };
    }
    #[cfg(all(any(feature = "asm", feature = "helium"), target_arch = "arm", target_abi = "eabihf"))]
    #[inline(always)]
    unsafe fn add_outer(matrix: *mut f32, stride: usize, deltas: &[f32; 8], x: *const f32, columns: usize) {
        // SAFETY: the same contract, which the caller keeps.
        unsafe { super::assembly::outer_8(matrix, stride, deltas, x, columns) };
    }

    #[cfg(all(feature = "asm", not(feature = "helium"), target_arch = "arm", target_abi = "eabihf"))]
    #[inline(always)]
    unsafe fn finish_tanh(sums: *const f32, out: *mut f32, count: usize) -> Option<(f32, f32)> {
        // It takes them by twos.
        if count == 0 || !count.is_multiple_of(2) {
            return None;
        }
        // SAFETY: the same contract, which the caller keeps.
        let became = unsafe { super::assembly::tanh_units(sums, out, count) };
        Some((became.residual, became.poison))
    }
    #[cfg(all(feature = "helium", target_arch = "arm", target_abi = "eabihf"))]
    const SUMS_ROWS: bool = true;
    #[cfg(all(feature = "helium", target_arch = "arm", target_abi = "eabihf"))]
    const ROWS: usize = 1;
    #[cfg(all(feature = "helium", target_arch = "arm", target_abi = "eabihf"))]
    #[inline(always)]
    unsafe fn sum_rows(from: *const f32, to: *mut f32, parts: &[Part<f32>], rows: usize) {
        // SAFETY: the same contract, which the caller keeps.
        unsafe { super::assembly::sum_rows(from, to, parts, rows) };
    }
    #[cfg(all(feature = "helium", target_arch = "arm", target_abi = "eabihf"))]
    #[inline(always)]
    unsafe fn finish_tanh(sums: *const f32, out: *mut f32, count: usize) -> Option<(f32, f32)> {
        // SAFETY: the same contract, which the caller keeps.
        Some(unsafe { super::assembly::finish_tanh(sums, out, count) })
    }
    #[cfg(all(feature = "helium", target_arch = "arm", target_abi = "eabihf"))]
    #[inline(always)]
    unsafe fn finish_tanh_slope(
        sums: *const f32,
        states: *const f32,
        out: *mut f32,
        count: usize,
    ) -> Option<(f32, f32)> {
        // SAFETY: the same contract, which the caller keeps.
        Some(unsafe { super::assembly::finish_tanh_slope(sums, states, out, count) })
    }

    fn ln(self) -> Self {
        libm::logf(self)
    }
    fn sqrt(self) -> Self {
        libm::sqrtf(self)
    }
    fn cos(self) -> Self {
        libm::cosf(self)
    }
}

impl Scalar for f64 {
    #[inline(always)]
    fn functions<A: Activation>() -> &'static Functions<Self> {
        A::f64()
    }
    #[inline(always)]
    fn once<O: Once>(job: O::Job<'_, Self>) -> O::Output<Self> {
        if const { super::TYPED } { O::any(job) } else { O::f64(job) }
    }
    const TANH_ERROR: f64 = 4.0 * f64::EPSILON;
    /// The crate `libm`, lane by lane: `f64` networks are for exactness, not for speed.
    #[inline(always)]
    fn tanh<L: Lanes<Self>>(lanes: L, x: L::Vector) -> L::Vector {
        lanes.map(x, libm::tanh)
    }
    /// The crate `libm`, lane by lane.
    #[inline(always)]
    fn exp<L: Lanes<Self>>(lanes: L, x: L::Vector) -> L::Vector {
        lanes.map(x, libm::exp)
    }
    fn ln(self) -> Self {
        libm::log(self)
    }
    fn sqrt(self) -> Self {
        libm::sqrt(self)
    }
    fn cos(self) -> Self {
        libm::cos(self)
    }
}

mod sealed {
    /// The number of a built-in activation in model files. Its type has no name elsewhere, so that no other activation claims one.
    #[derive(Clone, Copy, Debug)]
    pub struct Number(pub(super) u8);
}
use sealed::Number;

/// The number of an activation of a user's own: none.
pub(crate) const OWN: u8 = u8::MAX;

/// The number of an activation in model files, or [`OWN`].
pub(crate) const fn number<A: Activation>() -> u8 {
    match A::BUILT_IN {
        Some(Number(number)) => number,
        None => OWN,
    }
}

/// The number of a built-in activation. Stops the compilation at any other.
pub(crate) const fn built_in<A: Activation>() -> u8 {
    assert!(
        A::BUILT_IN.is_some(),
        "an activation of your own has no number in model files: model files, `include_network!`, `Shape`, serde, and networks of integers \
         or of 16-bit weights take built-in activations only"
    );
    number::<A>()
}

/// A positive number of few digits, so that every scalar holds it exactly, and no less than `x`.
const fn rounded_up(x: f64) -> f64 {
    const REST: u64 = (1 << 36) - 1;
    let bits = x.to_bits();
    if bits & REST == 0 || !x.is_finite() { x } else { f64::from_bits((bits | REST) + 1) }
}

/// What certificates take for the steepest slope; infinite where nothing is known. Not less than the least of the built-in ones, by which they
/// know that no sum overflows.
const fn steepest(lipschitz: Option<f64>) -> f64 {
    match lipschitz {
        Some(most) if most <= 0.25 && most >= 0.0 => 0.25,
        Some(most) if most > 0.25 => rounded_up(most),
        _ => f64::INFINITY,
    }
}

/// The largest magnitude in a range; nothing if it is not one.
const fn magnitude(range: Option<[f64; 2]>) -> Option<f64> {
    match range {
        Some([low, high]) if low <= high && low.is_finite() && high.is_finite() => {
            Some(rounded_up(if high.abs() > low.abs() { high.abs() } else { low.abs() }))
        }
        _ => None,
    }
}

/// h = s(z) as the kernels take it. What is of a user's own is kept in its range, and is not finite where z is not: so whoever looks at h
/// has looked at z.
#[inline(always)]
pub(super) fn value<A: Activation, T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector {
    kept::<A, T, L>(lanes, z, A::value(lanes, z))
}

/// [`value`] and the slope, which may share work.
#[inline(always)]
pub(super) fn value_and_slope<A: Activation, T: Scalar, L: Lanes<T>>(
    lanes: L,
    z: L::Vector,
) -> (L::Vector, L::Vector) {
    let (h, slope) = A::value_and_slope(lanes, z);
    (kept::<A, T, L>(lanes, z, h), slope)
}

/// h = s(z), as the activation gives it, so kept.
#[inline(always)]
fn kept<A: Activation, T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector, h: L::Vector) -> L::Vector {
    if const { A::BUILT_IN.is_some() } {
        return h;
    }
    let h = match (const { A::BOUND }, const { A::RANGE }) {
        (Some(_), Some([low, high])) => {
            // Either gives its second argument where that is NaN.
            let h = lanes.max(lanes.splat(T::from_f64(low)), h);
            lanes.min(lanes.splat(T::from_f64(high)), h)
        }
        _ => h,
    };
    lanes.add(h, lanes.sub(z, z))
}

/// Work that wants an activation as a type, where it is known by its number. A trait and not a closure, as all that is compiled for an
/// instruction set.
pub(crate) trait WithActivation {
    /// What it gives.
    type Output;
    /// Does it.
    fn with<A: Activation>(self) -> Self::Output;
}

/// The activations there are, in the order of their numbers.
macro_rules! activations {
    ($($name:ident),*) => {
        /// Their names.
        pub(crate) const ACTIVATIONS: [&str; [$(number::<$name>()),*].len()] = [$($name::NAME),*];
        const _: () = assert!(numbered(&[$(number::<$name>()),*]), "an activation stands at its number");
        /// Does work with the activation of this number; the first one for numbers that are none.
        #[inline(always)]
        pub(crate) fn with_activation<W: WithActivation>(code: u8, work: W) -> W::Output {
            activations!(@ code, work, $($name),*)
        }
    };
    (@ $code:ident, $work:ident, $first:ident $(, $name:ident)*) => {{
        $(if $code == const { number::<$name>() } {
            return $work.with::<$name>();
        })*
        $work.with::<$first>()
    }};
}
activations!(Identity, Tanh, Sigmoid, Relu, HardTanh, LeakyRelu);

/// What the slope of an activation is written as a function of: see [`Activation::SLOPE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slope {
    /// Of h = s(z), which is what a state holds.
    OfValue,
    /// Of z. The sums are not kept: a gradient computes them once more at the solution, in room of the caller's.
    OfSum,
}

/// An activation s, applied to every unit of a layer: h = s(z).
///
/// Its slope is written as a function of h, which is all that a state holds; or, where two z share an h, as with z sigmoid(z) (SiLU) and GELU, as a
/// function of z: [`SLOPE`](Self::SLOPE). Gradients then take room of the caller's, [`gradient_in`](crate::Runner::gradient_in).
///
/// Activations are types, so that a network names its own: `fnn![2, 8, 1; hidden = Softsign]`. One of your own gives [`NAME`](Self::NAME),
/// [`value`](Self::value) and [`slope`](Self::slope), over the vectors of [`Lanes`], in safe code, and is compiled for every backend. With it a network
/// solves, has exact gradients, trains, is pruned and adapted. With [`LIPSCHITZ`](Self::LIPSCHITZ) it can be held to a rate, and with
/// [`error`](Self::error) certified. Model files, [`Shape`](crate::Shape), serde and networks of integers or of 16-bit weights know activations by
/// number: with one of your own they do not compile.
///
/// What it says of itself is believed: of a wrong slope, gradients are wrong, and of a wrong bound, certificates. A value that is infinite or NaN is
/// found as one of a sum is.
///
/// ```
/// use attractor::kernel::{Activation, Scalar};
/// use attractor::simd::Lanes;
/// use attractor::{Stop, fnn};
///
/// /// z / (1 + |z|), between -1 and 1.
/// #[derive(Clone, Copy, Debug, Default)]
/// struct Softsign;
/// impl Activation for Softsign {
///     const NAME: &'static str = "softsign";
///     const LIPSCHITZ: Option<f64> = Some(1.0);
///     const RANGE: Option<[f64; 2]> = Some([-1.0, 1.0]);
///     #[inline(always)]
///     fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector {
///         lanes.div(z, lanes.add(lanes.splat(T::ONE), lanes.abs(z)))
///     }
///     #[inline(always)]
///     fn slope<T: Scalar, L: Lanes<T>>(lanes: L, h: L::Vector) -> L::Vector {
///         let root = lanes.sub(lanes.splat(T::ONE), lanes.abs(h)); // s'(z) = (1 - |h|)^2
///         lanes.mul(root, root)
///     }
///     fn error<T: Scalar>() -> f64 {
///         2.0 * T::PRECISION.to_f64() // two roundings, each of half the precision at most, and room to spare
///     }
/// }
///
/// type Net = fnn![2, 8, 1; hidden = Softsign];
/// let mut net = Net::ZERO;
/// for (i, w) in net.params_mut().iter_mut().enumerate() {
///     *w = 0.1 * (i as f32).sin();
/// }
/// let mut state = Net::state();
/// net.solve(&[0.5, -1.0], &mut state, Stop::residual(1e-6))?;
/// assert!(net.certify()?.rate() < 1.0);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// A model file of such a network does not compile, nor its shape, nor integers:
///
/// ```compile_fail
/// # use attractor::kernel::{Activation, Scalar};
/// # use attractor::simd::Lanes;
/// # use attractor::fnn;
/// # #[derive(Clone, Copy, Debug, Default)]
/// # struct Twice;
/// # impl Activation for Twice {
/// #     const NAME: &'static str = "twice";
/// #     fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector { lanes.add(z, z) }
/// #     fn slope<T: Scalar, L: Lanes<T>>(lanes: L, _: L::Vector) -> L::Vector { lanes.splat(T::ONE + T::ONE) }
/// # }
/// type Net = fnn![2, 8, 1; hidden = Twice];
/// let _ = Net::ZERO.to_bytes(None, &mut [0; 4096]);
/// ```
///
/// ```compile_fail
/// # use attractor::kernel::{Activation, Scalar};
/// # use attractor::simd::Lanes;
/// # use attractor::fnn;
/// # #[derive(Clone, Copy, Debug, Default)]
/// # struct Twice;
/// # impl Activation for Twice {
/// #     const NAME: &'static str = "twice";
/// #     fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector { lanes.add(z, z) }
/// #     fn slope<T: Scalar, L: Lanes<T>>(lanes: L, _: L::Vector) -> L::Vector { lanes.splat(T::ONE + T::ONE) }
/// # }
/// type Net = fnn![2, 8, 1; hidden = Twice];
/// let _ = <Net as attractor::network::Architecture>::SHAPE;
/// ```
///
/// ```compile_fail
/// # use attractor::kernel::{Activation, Scalar};
/// # use attractor::simd::Lanes;
/// # use attractor::fnn;
/// # #[derive(Clone, Copy, Debug, Default)]
/// # struct Twice;
/// # impl Activation for Twice {
/// #     const NAME: &'static str = "twice";
/// #     fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector { lanes.add(z, z) }
/// #     fn slope<T: Scalar, L: Lanes<T>>(lanes: L, _: L::Vector) -> L::Vector { lanes.splat(T::ONE + T::ONE) }
/// # }
/// type Net = fnn![2, 8, 1; hidden = Twice];
/// use attractor::quantized::{Calibration, Quantized};
/// let _ = Quantized::<Net, i8>::new(&Net::ZERO, &Calibration::ZERO);
/// ```
///
/// Where the slope is a function of the sum, a gradient without room for the sums does not compile:
///
/// ```compile_fail
/// # use attractor::kernel::{Activation, Scalar, Sigmoid, Slope};
/// # use attractor::simd::Lanes;
/// # use attractor::fnn;
/// # #[derive(Clone, Copy, Debug, Default)]
/// # struct Silu;
/// # impl Activation for Silu {
/// #     const NAME: &'static str = "silu";
/// #     const SLOPE: Slope = Slope::OfSum;
/// #     fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector { lanes.mul(z, Sigmoid::value(lanes, z)) }
/// #     fn slope<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector { z }
/// # }
/// # use attractor::{Workspace, learn::{MeanSquared, Objective}, simd::Backend};
/// type Net = fnn![2, 8, 1; hidden = Silu];
/// let (net, mut workspace, mut gradient) = (Net::ZERO, Workspace::ZERO, Net::ZERO);
/// let _ = net.gradient(&Objective::new(MeanSquared), &[0.5, 1.0], &[0.0], &mut workspace, &mut gradient);
/// ```
///
/// With room it does:
///
/// ```
/// # use attractor::kernel::{Activation, Scalar, Sigmoid, Slope};
/// # use attractor::simd::Lanes;
/// # use attractor::fnn;
/// # #[derive(Clone, Copy, Debug, Default)]
/// # struct Silu;
/// # impl Activation for Silu {
/// #     const NAME: &'static str = "silu";
/// #     const SLOPE: Slope = Slope::OfSum;
/// #     fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector { lanes.mul(z, Sigmoid::value(lanes, z)) }
/// #     fn slope<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector { z }
/// # }
/// # use attractor::{Workspace, learn::{MeanSquared, Objective}, simd::Backend};
/// type Net = fnn![2, 8, 1; hidden = Silu];
/// let (net, mut workspace, mut gradient) = (Net::ZERO, Workspace::ZERO, Net::ZERO);
/// let (objective, mut room) = (Objective::new(MeanSquared), [0.0; 9 + 8]);
/// let on = net.on(Backend::best());
/// on.gradient_in(&objective, &[0.5, 1.0], &[0.0], &mut workspace, &mut room, &mut gradient).unwrap();
/// ```
///
/// Solving a network of an activation of one's own does:
///
/// ```
/// # use attractor::kernel::{Activation, Scalar};
/// # use attractor::simd::Lanes;
/// # use attractor::fnn;
/// # #[derive(Clone, Copy, Debug, Default)]
/// # struct Twice;
/// # impl Activation for Twice {
/// #     const NAME: &'static str = "twice";
/// #     fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector { lanes.add(z, z) }
/// #     fn slope<T: Scalar, L: Lanes<T>>(lanes: L, _: L::Vector) -> L::Vector { lanes.splat(T::ONE + T::ONE) }
/// # }
/// type Net = fnn![2, 8, 1; hidden = Twice];
/// Net::ZERO.solve(&[0.5, 1.0], &mut Net::state(), attractor::Stop::after(3)).unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no activation",
    label = "not an activation",
    note = "attractor::kernel has Tanh, Sigmoid, Relu, LeakyRelu, HardTanh and Identity; or implement `Activation` for a type of your own"
)]
pub trait Activation: Copy + Default + Debug + Send + Sync + 'static {
    /// The name in reports.
    const NAME: &'static str;
    /// A bound on |s'|, and so on |s(x) - s(y)| / |x - y|, if there is one. Without it there are no certificates, and no rate a network is held to:
    /// [`CertificateError::Activation`](crate::CertificateError::Activation).
    const LIPSCHITZ: Option<f64> = None;
    /// The least and the largest value, if both are finite. Values are kept in it, whatever [`value`](Self::value) gives. A certificate of an activation
    /// without it asks for s(0) = 0.
    const RANGE: Option<[f64; 2]> = None;
    /// h = s(z). A NaN must stay one. Mark it `#[inline(always)]`, so that it is compiled for the instruction set of `lanes`.
    fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector;
    /// Whether [`slope`](Self::slope) takes h = s(z), or z where the slope is no function of h.
    const SLOPE: Slope = Slope::OfValue;
    /// s'(z), from h = s(z), or from z: as [`SLOPE`](Self::SLOPE) says.
    fn slope<T: Scalar, L: Lanes<T>>(lanes: L, h: L::Vector) -> L::Vector;
    /// s(z) and s'(z). One that computes the same for both may do it once here.
    #[inline(always)]
    fn value_and_slope<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> (L::Vector, L::Vector) {
        let h = value::<Self, T, L>(lanes, z);
        let slope = match Self::SLOPE {
            Slope::OfSum => Self::slope(lanes, z),
            Slope::OfValue => Self::slope(lanes, h),
        };
        (h, slope)
    }
    /// d s' / d h, how the slope changes with h, from h = s(z): for [`JacobianPenalty`](crate::learn::JacobianPenalty), which refuses an activation
    /// without it.
    #[inline(always)]
    fn bend<T: Scalar, L: Lanes<T>>(lanes: L, h: L::Vector) -> Option<L::Vector> {
        let _ = (lanes, h);
        None
    }
    /// A bound on the error of [`value`](Self::value) on any backend, apart from numbers too small to have all digits: less than 1. Without it there are
    /// no certificates.
    fn error<T: Scalar>() -> f64 {
        f64::INFINITY
    }
    /// G(h), the integral of s^-1 up to h from where it is 0; infinite where s never comes to; NaN if it is not known, as it is by default. See
    /// [`Network::energy`](crate::Network::energy).
    fn potential(h: f64) -> f64 {
        let _ = h;
        f64::NAN
    }

    /// Its number in model files, if it is built in.
    #[doc(hidden)]
    const BUILT_IN: Option<Number> = None;
    /// A bound on |s'| of few digits.
    #[doc(hidden)]
    const STEEPEST: f64 = steepest(Self::LIPSCHITZ);
    /// A bound on |s|; where there is none, |s(z)| <= [`STEEPEST`](Self::STEEPEST) |z|.
    #[doc(hidden)]
    const BOUND: Option<f64> = magnitude(Self::RANGE);
    /// Whether s(z) = z.
    #[doc(hidden)]
    const IDENTITY: bool = false;
    /// How much the slope can change with h = s(z), at most: |d s' / d h|; infinite where the slope jumps, or it is not known.
    #[doc(hidden)]
    const BEND: f64 = f64::INFINITY;
    /// The same of integers: the state nearest to s(z), for a sum z with `EXTRA` more digits than a state has; within
    /// [`quantized_error`](Self::quantized_error). It rises with z, and by no more than z does, but for its last digit.
    #[doc(hidden)]
    #[inline(always)]
    fn quantized<H: IntState, L: Integers>(lanes: L, z: L::Whole) -> L::Whole {
        let _ = const { built_in::<Self>() };
        let _ = lanes;
        z
    }
    /// A bound on the error of [`quantized`](Self::quantized), in units of a state's last digit, wherever s(z) is one of the states or
    /// between them.
    #[doc(hidden)]
    fn quantized_error<H: IntState>() -> f64 {
        f64::INFINITY
    }
    /// Its functions for `f32`.
    #[doc(hidden)]
    fn f32() -> &'static Functions<f32> {
        const { &Functions::<f32>::new_for::<Self>() }
    }
    /// Its functions for `f64`.
    #[doc(hidden)]
    fn f64() -> &'static Functions<f64> {
        const { &Functions::<f64>::new_for::<Self>() }
    }
    /// Makes `count` units of their sums at once, where there is assembly: [`Scalar::finish_tanh`] for tanh.
    ///
    /// # Safety
    /// All of that must exist; `sums` and `out` may be the same.
    #[doc(hidden)]
    #[inline(always)]
    unsafe fn finish<T: Scalar>(sums: *const T, out: *mut T, count: usize) -> Option<(T, T)> {
        let _ = (sums, out, count);
        None
    }
    /// Makes `count` units slopes times sums at once, where there is assembly: [`Scalar::finish_tanh_slope`] for tanh.
    ///
    /// # Safety
    /// All of that must exist.
    #[doc(hidden)]
    #[inline(always)]
    unsafe fn finish_slope<T: Scalar>(
        sums: *const T,
        states: *const T,
        out: *mut T,
        count: usize,
    ) -> Option<(T, T)> {
        let _ = (sums, states, out, count);
        None
    }
}

/// Whether the slope of one of them is a function of the sum.
pub(crate) const fn of_sum<H: Activation, O: Activation>() -> bool {
    matches!(H::SLOPE, Slope::OfSum) || matches!(O::SLOPE, Slope::OfSum)
}

/// Stops the compilation where slopes are taken from states, and one of them is no function of a state.
pub(crate) const fn of_value<H: Activation, O: Activation>() {
    assert!(
        !of_sum::<H, O>(),
        "the slope of an activation is a function of its sum, which is not kept: gradients are taken in lent room, by `gradient_in` and `step_in`; \
         there are none of all units, none unrolled, and no measures of the Jacobian"
    );
}

/// s'(z) in the place of s(z): a sweep with it computes slopes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SlopeOf<A>(core::marker::PhantomData<A>);

impl<A: Activation> Activation for SlopeOf<A> {
    const NAME: &'static str = A::NAME;
    #[inline(always)]
    fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector {
        match A::SLOPE {
            Slope::OfSum => A::slope(lanes, z),
            Slope::OfValue => A::slope(lanes, value::<A, T, L>(lanes, z)),
        }
    }
    #[inline(always)]
    fn slope<T: Scalar, L: Lanes<T>>(lanes: L, _: L::Vector) -> L::Vector {
        lanes.splat(T::NAN)
    }
}

/// What takes slopes as they are, computed before, from where states are otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stored;

impl Activation for Stored {
    const NAME: &'static str = "stored slopes";
    #[inline(always)]
    fn value<T: Scalar, L: Lanes<T>>(lanes: L, _: L::Vector) -> L::Vector {
        lanes.splat(T::NAN)
    }
    #[inline(always)]
    fn slope<T: Scalar, L: Lanes<T>>(_: L, h: L::Vector) -> L::Vector {
        h
    }
}

/// The slope of [`LeakyRelu`] where it is not 1: a power of two.
const LEAK: f64 = 1.0 / 128.0;

/// x ln x, and what it tends to at 0; infinite below.
fn x_ln_x(x: f64) -> f64 {
    if x > 0.0 {
        x * libm::log(x)
    } else if x == 0.0 {
        0.0
    } else {
        f64::INFINITY
    }
}

/// The nearest state to a value in units of 2^-15 that is between -1 and 1.
#[inline(always)]
fn narrow<H: IntState, L: Integers>(lanes: L, value: L::Whole) -> L::Whole {
    let digits = const { 15 - H::BITS };
    if digits == 0 {
        return lanes.least(value, lanes.splat(H::MOST));
    }
    let state = lanes.shift(lanes.plus(value, lanes.splat(1 << (digits - 1))), digits);
    lanes.least(state, lanes.splat(H::MOST))
}

/// The nearest state to a sum.
#[inline(always)]
fn rounded<H: IntState, L: Integers>(lanes: L, z: L::Whole) -> L::Whole {
    let z = if const { H::EXTRA == 0 } {
        z
    } else {
        // Rounded in two steps, so that nothing overflows.
        lanes.shift(lanes.plus(lanes.shift(z, H::EXTRA - 1), lanes.splat(1)), 1)
    };
    // As many bits as a state has, which is one instruction on Arm.
    lanes.most(lanes.least(z, lanes.splat(H::MOST)), lanes.splat(-H::MOST - 1))
}

macro_rules! activation {
    ($(#[$doc:meta])* $name:ident, $code:literal, $text:literal, $steepest:literal, $identity:literal, $range:expr, $bend:expr,
     $error:expr, |$h64:ident| $potential:expr,
     |$lanes:ident, $z:ident| $value:expr, |$lanes3:ident, $z3:ident| $quantized:expr, |$lanes2:ident, $h:ident| $slope:expr,
     |$lanes4:ident, $h4:ident| $curve:expr $(, $finish:ident, $finish_slope:ident)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name;
        impl Activation for $name {
            const NAME: &'static str = $text;
            const BUILT_IN: Option<Number> = Some(Number($code));
            const LIPSCHITZ: Option<f64> = Some($steepest);
            const IDENTITY: bool = $identity;
            const RANGE: Option<[f64; 2]> = $range;
            const BEND: f64 = $bend;
            fn f32() -> &'static Functions<f32> {
                functions!($name, f32)
            }
            fn f64() -> &'static Functions<f64> {
                functions!($name, f64)
            }
            fn potential($h64: f64) -> f64 {
                $potential
            }
            #[inline(always)]
            fn error<T: Scalar>() -> f64 {
                $error
            }
            #[inline(always)]
            fn value<T: Scalar, L: Lanes<T>>($lanes: L, $z: L::Vector) -> L::Vector {
                $value
            }
            #[inline(always)]
            fn quantized<H: IntState, L: Integers>($lanes3: L, $z3: L::Whole) -> L::Whole {
                $quantized
            }
            fn quantized_error<H: IntState>() -> f64 {
                // From a table whose straight lines are off by up to 2^-15 times 12.6 or 0.8, rounded; then to a state, of which there is
                // none for 1.
                let tabled = (if H::BITS < 8 { 13.0 } else { 0.8 } + 0.5) / f64::from(1 << (15 - H::BITS));
                if $identity || $steepest == 1.0 && $bend == f64::INFINITY { 1.0 } else { tabled + 1.0 }
            }
            #[inline(always)]
            fn slope<T: Scalar, L: Lanes<T>>($lanes2: L, $h: L::Vector) -> L::Vector {
                $slope
            }
            #[inline(always)]
            fn bend<T: Scalar, L: Lanes<T>>($lanes4: L, $h4: L::Vector) -> Option<L::Vector> {
                Some($curve)
            }
            $(
                #[inline(always)]
                unsafe fn finish<T: Scalar>(sums: *const T, out: *mut T, count: usize) -> Option<(T, T)> {
                    // SAFETY: the same contract, which the caller keeps.
                    unsafe { T::$finish(sums, out, count) }
                }
                #[inline(always)]
                unsafe fn finish_slope<T: Scalar>(
                    sums: *const T,
                    states: *const T,
                    out: *mut T,
                    count: usize,
                ) -> Option<(T, T)> {
                    // SAFETY: the same contract, which the caller keeps.
                    unsafe { T::$finish_slope(sums, states, out, count) }
                }
            )?
        }
    };
}

activation!(
    /// tanh(z), between -1 and 1. In `f32` within 2e-7 of the exact value on AVX2, AVX-512 and NEON and within 5e-7
    /// on the portable backend, monotone, odd, exact at infinity; over all 2^32 arguments the largest error is
    /// 7.5e-8 and 8.6e-8 (`cargo run --release --example all_floats`). The default of hidden layers.
    Tanh, 1, "tanh", 1.0, false, Some([-1.0, 1.0]), 2.0, T::TANH_ERROR,
    |h| (x_ln_x(1.0 + h) + x_ln_x(1.0 - h)) / 2.0,
    |lanes, z| T::tanh(lanes, z),
    |lanes, z| {
        // Turned round at the end, so that it is odd.
        let magnitude = lanes.between::<H>(15 - H::BITS, lanes.magnitude(z));
        lanes.signed(lanes.least(magnitude, lanes.splat(H::MOST)), z)
    },
    |lanes, h| lanes.sub(lanes.splat(T::ONE), lanes.mul(h, h)),
    |lanes, h| lanes.mul(lanes.splat(-(T::ONE + T::ONE)), h), finish_tanh, finish_tanh_slope
);
activation!(
    /// 1 / (1 + e^-z), between 0 and 1, computed as (1 + tanh(z/2)) / 2 with tanh's bounds; over all 2^32
    /// arguments the largest error is 6.7e-8.
    Sigmoid, 2, "sigmoid", 0.25, false, Some([0.0, 1.0]), 1.0, 0.5 * T::TANH_ERROR + T::PRECISION.to_f64(),
    |h| x_ln_x(h) + x_ln_x(1.0 - h) + core::f64::consts::LN_2,
    |lanes, z| {
        let half = lanes.splat(T::from_f64(0.5));
        lanes.mul_add(half, T::tanh(lanes, lanes.mul(half, z)), half)
    },
    |lanes, z| {
        let half = lanes.shift(z, 1);
        let tanh = lanes.signed(lanes.between::<H>(0, lanes.magnitude(half)), half);
        narrow::<H, L>(lanes, lanes.shift(lanes.plus(tanh, lanes.splat(1 << 15)), 1))
    },
    |lanes, h| lanes.mul(h, lanes.sub(lanes.splat(T::ONE), h)),
    |lanes, h| lanes.sub(lanes.splat(T::ONE), lanes.add(h, h))
);
activation!(
    /// max(z, 0). The derivative at 0 is taken as 0.
    Relu, 3, "relu", 1.0, false, None, f64::INFINITY, 0.0,
    |h| if h >= 0.0 { h * h / 2.0 } else { f64::INFINITY },
    |lanes, z| lanes.max(lanes.splat(T::ZERO), z),
    |lanes, z| lanes.most(rounded::<H, L>(lanes, z), lanes.splat(0)),
    |lanes, h| {
        let positive = lanes.less(lanes.splat(T::ZERO), h);
        lanes.select(positive, lanes.splat(T::ONE), lanes.splat(T::ZERO))
    },
    |lanes, _h| lanes.splat(T::ZERO)
);
activation!(
    /// z, or z / 128 where z is negative: exact in all numbers, of 32 bits as of 8. The derivative at 0 is taken as 1 / 128.
    /// (Maas, Hannun and Ng 2013.)
    LeakyRelu, 5, "leaky relu", 1.0, false, None, f64::INFINITY, 0.0,
    |h| if h >= 0.0 { h * h / 2.0 } else { 64.0 * h * h },
    |lanes, z| lanes.max(lanes.mul(lanes.splat(T::from_f64(LEAK)), z), z),
    |lanes, z| {
        // Where it is added to the largest numbers, the sum goes round and is the smaller one.
        let small = lanes.shift(lanes.plus(z, lanes.splat(64)), 7);
        lanes.most(rounded::<H, L>(lanes, z), rounded::<H, L>(lanes, small))
    },
    |lanes, h| {
        let positive = lanes.less(lanes.splat(T::ZERO), h);
        lanes.select(positive, lanes.splat(T::ONE), lanes.splat(T::from_f64(LEAK)))
    },
    |lanes, _h| lanes.splat(T::ZERO)
);
activation!(
    /// z cut to -1..1. The derivative at the cuts is taken as 0.
    HardTanh, 4, "hard tanh", 1.0, false, Some([-1.0, 1.0]), f64::INFINITY, 0.0,
    |h| if h.abs() <= 1.0 { h * h / 2.0 } else { f64::INFINITY },
    |lanes, z| lanes.max(lanes.splat(-T::ONE), lanes.min(lanes.splat(T::ONE), z)),
    |lanes, z| rounded::<H, L>(lanes, z),
    |lanes, h| {
        let inside = lanes.less(lanes.abs(h), lanes.splat(T::ONE));
        lanes.select(inside, lanes.splat(T::ONE), lanes.splat(T::ZERO))
    },
    |lanes, _h| lanes.splat(T::ZERO)
);
activation!(
    /// z itself. The default of the output layer.
    Identity, 0, "identity", 1.0, true, None, 0.0, 0.0,
    |h| h * h / 2.0,
    |_lanes, z| z,
    |lanes, z| rounded::<H, L>(lanes, z),
    |lanes, _h| lanes.splat(T::ONE),
    |lanes, _h| lanes.splat(T::ZERO)
);

/// z (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))) / 2: the Gaussian error linear unit by tanh (Hendrycks and Gimpel 2016), as GPT-2 has it
/// ("gelu_new"). Its slope is a function of z. It has no number in model files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gelu;

impl Gelu {
    /// sqrt(2/pi).
    const SCALE: f64 = core::f64::consts::FRAC_2_SQRT_PI * core::f64::consts::FRAC_1_SQRT_2;
    const CUBIC: f64 = 0.044715;

    /// The tanh, and z cut to where that is not yet 1 or -1.
    #[inline(always)]
    fn tanh<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> (L::Vector, L::Vector) {
        let number = |x| lanes.splat(T::from_f64(x));
        // Either gives its second argument where that is NaN.
        let cut = lanes.max(number(-16.0), lanes.min(number(16.0), z));
        let square = lanes.mul(cut, cut);
        let factor = lanes.mul_add(number(Self::SCALE * Self::CUBIC), square, number(Self::SCALE));
        (T::tanh(lanes, lanes.mul(cut, factor)), cut)
    }
    #[inline(always)]
    fn value_of<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector, tanh: L::Vector) -> L::Vector {
        let half = lanes.mul(lanes.splat(T::from_f64(0.5)), z);
        lanes.mul_add(half, tanh, half)
    }
    /// (1 + t) / 2 + z (1 - t^2) u' / 2.
    #[inline(always)]
    fn slope_of<T: Scalar, L: Lanes<T>>(lanes: L, tanh: L::Vector, cut: L::Vector) -> L::Vector {
        let number = |x| lanes.splat(T::from_f64(x));
        let half = number(0.5);
        let inner = lanes.mul_add(
            number(1.5 * Self::SCALE * Self::CUBIC),
            lanes.mul(cut, cut),
            number(0.5 * Self::SCALE),
        );
        let rest = lanes.sub(lanes.splat(T::ONE), lanes.mul(tanh, tanh));
        lanes.mul_add(lanes.mul(cut, inner), rest, lanes.mul_add(half, tanh, half))
    }
}

impl Activation for Gelu {
    const NAME: &'static str = "gelu";
    const LIPSCHITZ: Option<f64> = Some(1.129);
    const SLOPE: Slope = Slope::OfSum;
    fn f32() -> &'static Functions<f32> {
        functions!(Gelu, f32)
    }
    fn f64() -> &'static Functions<f64> {
        functions!(Gelu, f64)
    }
    /// The tanh is 1 or -1 beyond |z| = 7, where nothing is rounded any more.
    fn error<T: Scalar>() -> f64 {
        10.0 * T::TANH_ERROR
    }
    #[inline(always)]
    fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector {
        Self::value_of(lanes, z, Self::tanh(lanes, z).0)
    }
    #[inline(always)]
    fn slope<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector {
        let (tanh, cut) = Self::tanh(lanes, z);
        Self::slope_of(lanes, tanh, cut)
    }
    #[inline(always)]
    fn value_and_slope<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> (L::Vector, L::Vector) {
        let (tanh, cut) = Self::tanh(lanes, z);
        (Self::value_of(lanes, z, tanh), Self::slope_of(lanes, tanh, cut))
    }
}
