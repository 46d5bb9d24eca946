//! Vectors of scalars: the trait [`Lanes`], its backends and the choice among them at run time.
//!
//! Everything above this module is written once over [`Lanes`]. A backend is a token: a value of type
//! [`Avx2`] or [`Avx512`] exists only where the processor was found to have that instruction set (and one of type `Neon` only where the
//! target has it), so the operations that take it are safe.
//!
//! # Choosing a backend
//! [`Backend::best`] asks the processor, in `no_std` too and without compiler flags. To force one, build with
//! the environment variable `ATTRACTOR_BACKEND` set to `portable`, `avx2`, `avx512` or `neon` (a processor that lacks it
//! falls back to [`Backend::best`] of what it has), or pick one at run time with [`Backend::portable`],
//! [`Backend::avx2`], [`Backend::avx512`], [`Backend::neon`] and hand it to `Network::on`.

// The 8087's registers keep more digits than a scalar has and round twice, so tanh, exp and what adds 1.5 * 2^23 to round to a whole
// number would be wrong without a word. Every target but this one rounds each operation to its type.
#[cfg(all(target_arch = "x86", not(target_feature = "sse2")))]
compile_error!(
    "attractor needs SSE2 on x86: without it operations are not rounded to their type, and results are wrong; \
     build for i686 instead of i586, or with RUSTFLAGS=\"-C target-feature=+sse2\""
);

/// Writes the methods of `Lanes` that are one instruction each, by their intrinsics' names. The safety of all of them is said where it is used.
#[cfg(any(
    target_arch = "x86",
    target_arch = "x86_64",
    all(target_arch = "aarch64", target_feature = "neon")
))]
macro_rules! by_intrinsics {
    (
        $scalar:ty, $vector:ty,
        $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $sqrt:ident
    ) => {
        #[inline(always)]
        fn splat(self, x: $scalar) -> $vector {
            unsafe { $splat(x) }
        }
        #[inline(always)]
        unsafe fn load(self, from: *const $scalar) -> $vector {
            unsafe { $load(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut $scalar, v: $vector) {
            unsafe { $store(to, v) }
        }
        #[inline(always)]
        fn add(self, a: $vector, b: $vector) -> $vector {
            unsafe { $add(a, b) }
        }
        #[inline(always)]
        fn sub(self, a: $vector, b: $vector) -> $vector {
            unsafe { $sub(a, b) }
        }
        #[inline(always)]
        fn mul(self, a: $vector, b: $vector) -> $vector {
            unsafe { $mul(a, b) }
        }
        #[inline(always)]
        fn div(self, a: $vector, b: $vector) -> $vector {
            unsafe { $div(a, b) }
        }
        #[inline(always)]
        fn sqrt(self, a: $vector) -> $vector {
            unsafe { $sqrt(a) }
        }
    };
}

mod caches;
// Where `wide` has vectors; to test the scalars on such a machine, build with `--cfg attractor_scalars`.
#[cfg(all(any(feature = "asm", feature = "helium"), target_arch = "arm", target_abi = "eabihf"))]
mod dsp;
mod integers;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod integers_x86;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod neon;
#[cfg(all(
    any(target_feature = "sse2", target_feature = "neon", target_feature = "simd128"),
    not(attractor_scalars)
))]
mod portable;
#[cfg(not(all(
    any(target_feature = "sse2", target_feature = "neon", target_feature = "simd128"),
    not(attractor_scalars)
)))]
mod scalars;
#[cfg(target_os = "none")]
mod small;
mod tables;
mod unrolled;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod x86;

pub(crate) use caches::Caches;
#[doc(hidden)]
pub use integers::IntegersOnce;
pub use integers::{IntState, Integers, OnIntegers, Packed, Single};
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use integers_x86::Vnni;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
pub use neon::Neon;
pub(crate) use unrolled::each;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use x86::{Avx2, Avx512};

use core::fmt::Debug;
use core::marker::PhantomData;
use core::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// Has the processor load a line of memory that will soon be read or written, where it can be asked to. There may be nothing at the address.
#[inline(always)]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which reads nothing and fails at no address; every x86-64 has it.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for i8 {}
    impl Sealed for i16 {}
    impl Sealed for i32 {}
    impl Sealed for super::Bf16 {}

    /// A type whose width and instructions the kernels may trust: their loads and stores go by it.
    pub trait Token {}
    impl Token for super::Portable {}
    impl Token for super::Single {}
    #[cfg(not(all(
        any(target_feature = "sse2", target_feature = "neon", target_feature = "simd128"),
        not(attractor_scalars)
    )))]
    impl Token for super::scalars::One {}
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    impl Token for super::Avx2 {}
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    impl Token for super::Avx512 {}
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    impl Token for super::Vnni {}
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    impl Token for super::Neon {}
}

/// A number of which networks, states and what is shaped like them may consist. Bytes of zeros are one, as any bytes are. Sealed.
pub trait Entry: sealed::Sealed + Copy + Debug + Default + PartialEq + Send + Sync + 'static {}

impl Entry for f32 {}
impl Entry for f64 {}
impl Entry for i8 {}
impl Entry for i16 {}
impl Entry for i32 {}
impl Entry for Bf16 {}

/// A number in the first half of the bits of an `f32`: its range, and 8 digits of it ("bfloat16"). To store weights, not to compute with.
///
/// ```
/// use attractor::simd::Bf16;
/// assert_eq!(Bf16::nearest(1.0 + 1.0 / 256.0).value(), 1.0);
/// assert_eq!(Bf16::nearest(-3.15).value(), -3.15625);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(transparent)]
pub struct Bf16(pub u16);

impl Bf16 {
    /// The number nearest to `x`, of two equally near ones the even one; infinite beyond the largest, and NaN stays NaN.
    #[must_use]
    pub const fn nearest(x: f32) -> Self {
        let bits = x.to_bits();
        if x.is_nan() {
            return Self((bits >> 16) as u16 | 1 << 6);
        }
        Self(((bits + (0x7fff + (bits >> 16 & 1))) >> 16) as u16)
    }
    /// The same number as `f32`.
    #[must_use]
    pub const fn value(self) -> f32 {
        f32::from_bits((self.0 as u32) << 16)
    }

    /// Two numbers side by side as layers of weights have them: the nearest to `first`; and the one that is nearest to `second` when it is read
    /// with the bits of the first behind its own, as [`values`](Self::values) does. Either is off by 2^-8 of its magnitude at most.
    ///
    /// So one instruction takes a pair apart and not two, which is what a product waits for. What is less than 2^-100 becomes that, unless the
    /// first is zero: the bits behind would make it a number without all its digits, and slow. Then what is too large, or
    /// infinite, becomes the largest, too: an infinity with bits behind it is a NaN.
    ///
    /// ```
    /// use attractor::simd::Bf16;
    /// let [first, second] = Bf16::values(Bf16::pair(0.1, -0.3));
    /// assert!((first - 0.1).abs() < 0.1 / 256.0 && (second + 0.3).abs() < 0.3 / 256.0);
    /// ```
    #[must_use]
    pub const fn pair(first: f32, second: f32) -> [Self; 2] {
        /// 2^-100.
        const LEAST: u32 = 27 << 23;
        /// The upper half of the largest finite number.
        const LARGEST: u32 = 0x7f7f;
        let low = Self::nearest(first);
        if low.0 == 0 || second.is_nan() {
            return [low, Self::nearest(second)];
        }
        let (sign, magnitude) = (second.to_bits() >> 31, second.to_bits() & !(1 << 31));
        let magnitude = if magnitude < LEAST { LEAST } else { magnitude };
        let high = (magnitude + 0x8000 - low.0 as u32) >> 16;
        let high = if high > LARGEST { LARGEST } else { high };
        [low, Self((sign << 15 | high) as u16)]
    }
    /// The numbers of a pair.
    #[must_use]
    pub const fn values(pair: [Self; 2]) -> [f32; 2] {
        [pair[0].value(), f32::from_bits((pair[1].0 as u32) << 16 | pair[0].0 as u32)]
    }
}

/// A floating-point number the backends have vectors of: `f32` or `f64`. Sealed.
pub trait Element:
    Entry
    + PartialOrd
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// 1, in memory.
    const ONE_PLACE: &'static [Self; 1];
    /// Not a number.
    const NAN: Self;
    /// The largest finite number.
    const MAX: Self;
    /// More than any finite number.
    const INFINITE: Self;
    /// The distance from 1 to the next larger number, twice the largest relative error of a rounding.
    const PRECISION: Self;
    /// The smallest positive number with all its digits.
    const MIN_POSITIVE: Self;
    /// Half a unit in the last place of [`Element::MAX`]: anything below it can be added to any finite number
    /// without overflow.
    const HEADROOM: Self;
    /// A bound below which a square, and sums of up to 2^24 products with 2^24, stay finite.
    const GRADIENT_LIMIT: Self;

    /// The nearest number to `x`.
    fn from_f64(x: f64) -> Self;
    /// The same number.
    fn from_f32(x: f32) -> Self;
    /// The nearest scalar to a whole number, without `f64` on the way.
    fn from_usize(n: usize) -> Self;
    /// The same number with at least as many digits.
    fn to_f64(self) -> f64;
    /// Whether the number is neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// Whether the number is 0 or more, and finite.
    fn is_tolerance(self) -> bool;
    /// Whether the number is 1 or more, and finite.
    fn is_one_or_more(self) -> bool;
    /// The absolute value.
    fn magnitude(self) -> Self;
    /// The eight-entry table index of [`Lanes::lookup`]: exponent and first fraction bit, low three bits.
    fn half_octave(self) -> usize;
    /// The sixteen-entry table index of [`Lanes::lookup_quarters`]: exponent and first two fraction bits, low four bits.
    fn quarter_octave(self) -> usize;
    /// 2 to the power of `self`, a whole number in the range of normal exponents.
    fn power_of_two(self) -> Self;
    /// One of `F` for every backend of this target.
    type Each<F: Family<Self>>: Debug + Send + Sync + 'static;
    /// Runs `operation` with the lanes of `backend`.
    fn run<O: Operation<Self>>(backend: Backend, operation: O) -> O::Output;
    /// The same in the function of the caller where there are no vectors, so that nothing remains of what nobody looks at.
    fn run_here<O: Operation<Self>>(backend: Backend, operation: O) -> O::Output;
}

macro_rules! element {
    ($scalar:ty, $bits:ty, $fraction:literal, $bias:literal, $headroom:expr, $limit:expr) => {
        impl Element for $scalar {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const ONE_PLACE: &'static [Self; 1] = &[1.0];
            const NAN: Self = <$scalar>::NAN;
            const MAX: Self = <$scalar>::MAX;
            const INFINITE: Self = <$scalar>::INFINITY;
            const PRECISION: Self = <$scalar>::EPSILON;
            const MIN_POSITIVE: Self = <$scalar>::MIN_POSITIVE;
            const HEADROOM: Self = $headroom;
            const GRADIENT_LIMIT: Self = $limit;
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            type Each<F: Family<Self>> = ForEach<F::On<Portable>, F::On<Avx2>, F::On<Avx512>, ()>;
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            type Each<F: Family<Self>> = ForEach<F::On<Portable>, (), (), F::On<Neon>>;
            #[cfg(not(any(
                target_arch = "x86",
                target_arch = "x86_64",
                all(target_arch = "aarch64", target_feature = "neon")
            )))]
            type Each<F: Family<Self>> = ForEach<F::On<Portable>, (), (), ()>;

            #[inline(always)]
            fn from_f32(x: f32) -> Self {
                x.into()
            }
            #[inline(always)]
            fn from_usize(n: usize) -> Self {
                n as Self
            }
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $scalar
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                <$scalar>::is_finite(self)
            }
            #[inline(always)]
            fn is_tolerance(self) -> bool {
                // One comparison: -0 + 0 is 0, and what is negative or a NaN has more bits than infinity.
                (self + 0.0).to_bits() < <$scalar>::INFINITY.to_bits()
            }
            #[inline(always)]
            fn is_one_or_more(self) -> bool {
                const ONE: $bits = <$scalar>::to_bits(1.0);
                self.to_bits().wrapping_sub(ONE) < <$scalar>::INFINITY.to_bits() - ONE
            }
            #[inline(always)]
            fn magnitude(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn half_octave(self) -> usize {
                ((self.to_bits() >> ($fraction - 1)) & 7) as usize
            }
            #[inline(always)]
            fn quarter_octave(self) -> usize {
                ((self.to_bits() >> ($fraction - 2)) & 15) as usize
            }
            #[inline(always)]
            fn power_of_two(self) -> Self {
                <$scalar>::from_bits(((self as i32 + $bias) as $bits) << $fraction)
            }
            #[inline(always)]
            fn run<O: Operation<Self>>(backend: Backend, operation: O) -> O::Output {
                match backend.0 {
                    Kind::Portable => Lanes::<$scalar>::vectorize(Portable, OnAny::new(operation)),
                    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
                    Kind::Avx2(lanes) => Lanes::<$scalar>::vectorize(lanes, OnAny::new(operation)),
                    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
                    Kind::Avx512(lanes) => Lanes::<$scalar>::vectorize(lanes, OnAny::new(operation)),
                    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
                    Kind::Neon(lanes) => Lanes::<$scalar>::vectorize(lanes, OnAny::new(operation)),
                }
            }
            #[inline(always)]
            fn run_here<O: Operation<Self>>(backend: Backend, operation: O) -> O::Output {
                if const { <Portable as Lanes<$scalar>>::BLOCKING.outlined } {
                    operation.run(Portable)
                } else {
                    Self::run(backend, operation)
                }
            }
        }
    };
}

// MAX = (2 - 2^-p) 2^e has a last place of 2^(e-p); half of it is 2^103 and 2^970.
element!(f32, u32, 23, 127, f32::from_bits((103 + 127) << 23), f32::from_bits((62 + 127) << 23));
element!(f64, u64, 52, 1023, f64::from_bits((970 + 1023) << 52), f64::from_bits((510 + 1023) << 52));

/// The backend that runs everywhere. It never fuses a multiplication with an addition and never splits a sum,
/// so that its results have the same bits on every processor. The feature `helium` is the one exception: for one sample of
/// `f32`, on the processors it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portable;

/// How kernels divide their work among the registers of a backend: the one place to tune it. The figures behind
/// the choices are in docs/performance.md and docs/embedded.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocking {
    /// One sample: vectors of units in the largest block, 8 or 4.
    pub rows: usize,
    /// Whether the parts of a layer are functions of their own, shared by all layers: where flash is small and calls
    /// are cheap.
    pub outlined: bool,
    /// One sample: whether a sum over columns may be split over several accumulators. `false` keeps the plain
    /// order, which is what makes the bits of [`Portable`] independent of the processor.
    pub split: bool,
    /// A batch, or a product of matrices: vectors of samples, or rows, in a tile of sums, 2 or 1.
    pub tile_vectors: usize,
    /// A batch, or a product of matrices: units, or columns, in a tile of sums, 12, 6 or 4.
    pub tile_columns: usize,
    /// A product of matrices with rows enough for it: vectors of rows in a tile, 4 or as above. What is loaded of the rows serves
    /// fewer columns, and what is loaded of the columns more rows.
    pub tall_vectors: usize,
    /// The same: columns, 12, 6 or 4.
    pub tall_columns: usize,
}

/// Vectors of [`WIDTH`](Lanes::WIDTH) scalars `T` and the arithmetic on them. The implementing type is a token
/// whose existence proves that the instructions exist. Sealed: kernels read and write by what a token says of itself.
///
/// `min(a, b)` and `max(a, b)` give `b` when either is NaN. `mul_add` is fused where the backend has fused
/// multiply-add, and rounds twice on [`Portable`], which therefore gives the same bits on every processor.
pub trait Lanes<T: Element>: sealed::Token + Copy + Send + Sync + 'static {
    /// `WIDTH` scalars.
    type Vector: Copy;
    /// A choice for each lane.
    type Mask: Copy;
    /// Scalars in a vector.
    const WIDTH: usize;
    /// How kernels use the registers.
    const BLOCKING: Blocking;
    /// Lanes for what is done with every unit on its own: these, or one scalar where code must be short.
    type Narrow: Lanes<T>;

    /// The token of [`Narrow`](Self::Narrow).
    fn narrow(self) -> Self::Narrow;

    /// All lanes `x`.
    fn splat(self, x: T) -> Self::Vector;
    /// The `n`-th of `of` scalars from `from` on in all lanes, for a product. Where `n` and `of` are constants, what several of them load
    /// is loaded together.
    ///
    /// # Safety
    /// All of these scalars must be there, and `n` be less than `of`.
    #[inline(always)]
    unsafe fn splat_of(self, from: *const T, n: usize, of: usize) -> Self::Vector {
        let _ = of;
        // SAFETY: one of the caller's scalars.
        self.splat(unsafe { *from.add(n) })
    }
    /// `x` in the first lane, zero in the others.
    #[inline(always)]
    fn first(self, x: T) -> Self::Vector {
        // SAFETY: one scalar is there.
        unsafe { self.load_partial(&raw const x, 1) }
    }
    /// Loads `WIDTH` scalars.
    ///
    /// # Safety
    /// `from` must be valid for reading `WIDTH` scalars; any alignment of `T` will do.
    unsafe fn load(self, from: *const T) -> Self::Vector;
    /// Loads the first `count < WIDTH` lanes, zero in the others.
    ///
    /// # Safety
    /// `from` must be valid for reading `count` scalars.
    unsafe fn load_partial(self, from: *const T, count: usize) -> Self::Vector;
    /// Stores `WIDTH` scalars.
    ///
    /// # Safety
    /// `to` must be valid for writing `WIDTH` scalars.
    unsafe fn store(self, to: *mut T, v: Self::Vector);
    /// Stores the first `count < WIDTH` lanes.
    ///
    /// # Safety
    /// `to` must be valid for writing `count` scalars.
    unsafe fn store_partial(self, to: *mut T, v: Self::Vector, count: usize);

    /// Turns a square of [`SQUARE`] rows, each of neighbours and `across` scalars from the one before: its columns are rows at `to`, `width`
    /// scalars apart.
    ///
    /// # Safety
    /// All rows must exist, and may not overlap.
    #[inline(always)]
    unsafe fn turn(self, from: *const T, across: usize, to: *mut T, width: usize) {
        for row in 0..SQUARE {
            for column in 0..SQUARE {
                // SAFETY: the caller vouches for both places.
                unsafe { *to.add(column * width + row) = *from.add(row * across + column) };
            }
        }
    }

    /// Loads the first `count` numbers or all, the others zero.
    ///
    /// # Safety
    /// So many must be there.
    #[inline(always)]
    unsafe fn load_bf16(self, from: *const Bf16, count: Option<usize>) -> Self::Vector {
        // SAFETY: the same contract, which the caller keeps.
        let number = |i| T::from_f32(unsafe { from.add(i).read() }.value());
        each(self, count, number)
    }
    /// Loads the first `count` pairs of numbers or all, as [`Bf16::values`] has them: the first of each pair, and the second.
    ///
    /// # Safety
    /// So many pairs must be there.
    #[inline(always)]
    unsafe fn load_bf16_pairs(self, from: *const Bf16, count: Option<usize>) -> (Self::Vector, Self::Vector) {
        // SAFETY: the same contract, which the caller keeps.
        let pair = |i| Bf16::values(unsafe { from.cast::<[Bf16; 2]>().add(i).read() });
        (each(self, count, |i| T::from_f32(pair(i)[0])), each(self, count, |i| T::from_f32(pair(i)[1])))
    }

    /// `a + b`.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a - b`.
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b`.
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a / b`.
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// The smaller, `b` when either is NaN.
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The larger, `b` when either is NaN.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Square root, correctly rounded.
    fn sqrt(self, a: Self::Vector) -> Self::Vector;
    /// Absolute value.
    fn abs(self, a: Self::Vector) -> Self::Vector;
    /// The magnitude of `magnitude` with the sign of `sign`.
    fn copy_sign(self, magnitude: Self::Vector, sign: Self::Vector) -> Self::Vector;
    /// Where `a < b`; false for NaN.
    fn less(self, a: Self::Vector, b: Self::Vector) -> Self::Mask;
    /// `yes` where the mask is set, else `no`.
    fn select(self, mask: Self::Mask, yes: Self::Vector, no: Self::Vector) -> Self::Vector;
    /// `v`, of which the compiler knows nothing. It makes a masked store of a selection that is stored where one side was loaded: slow on
    /// some processors, and what is loaded from there next has to wait for it.
    #[inline(always)]
    fn opaque(self, v: Self::Vector) -> Self::Vector {
        v
    }

    /// What `table` holds for these lanes; nothing where it has no place for them.
    #[inline(always)]
    fn of<F: Family<T>>(table: &'static T::Each<F>) -> Option<&'static F::On<Self>> {
        let _ = table;
        None
    }

    /// Runs `routine` compiled for this instruction set, in a function of its own: one copy for all callers.
    fn vectorize<R: Routine<Self>>(self, routine: R) -> R::Output;

    /// Applies `f` to every lane.
    #[inline(always)]
    fn map(self, v: Self::Vector, f: impl Fn(T) -> T) -> Self::Vector {
        let mut lanes = [T::ZERO; MAX_WIDTH];
        // SAFETY: the array holds MAX_WIDTH >= WIDTH scalars.
        unsafe { self.store(lanes.as_mut_ptr(), v) };
        for lane in lanes.iter_mut().take(Self::WIDTH) {
            *lane = f(*lane);
        }
        // SAFETY: as above.
        unsafe { self.load(lanes.as_ptr()) }
    }

    /// In every lane the entry of `table` that [`Element::half_octave`] of `by` names.
    #[inline(always)]
    fn lookup(self, table: &[T; 8], by: Self::Vector) -> Self::Vector {
        self.map(by, |x| table.get(x.half_octave()).copied().unwrap_or(T::NAN))
    }

    /// In every lane the column of a table that [`Element::half_octave`] of `by` names. The table comes in both orders,
    /// of which a backend uses one: `rows` are read by permutation, `columns` by address.
    #[inline(always)]
    fn lookup_all<const N: usize>(
        self,
        rows: &'static [[T; 8]; N],
        columns: &'static [[T; N]; 8],
        by: Self::Vector,
    ) -> [Self::Vector; N] {
        let _ = columns;
        let mut entries = [by; N];
        for (entry, row) in entries.iter_mut().zip(rows) {
            *entry = self.lookup(row, by);
        }
        entries
    }

    /// Whether a table of sixteen entries takes no longer than one of eight.
    const QUARTERS: bool = false;

    /// In every lane the column of a table that [`Element::quarter_octave`] of `by` names.
    #[inline(always)]
    fn lookup_quarters<const N: usize>(self, rows: &[[T; 16]; N], by: Self::Vector) -> [Self::Vector; N] {
        let mut entries = [by; N];
        for (entry, row) in entries.iter_mut().zip(rows) {
            *entry = self.map(by, |x| row.get(x.quarter_octave()).copied().unwrap_or(T::NAN));
        }
        entries
    }

    /// 2 to the power of every lane, whole numbers in the range of normal exponents.
    #[inline(always)]
    fn power_of_two(self, v: Self::Vector) -> Self::Vector {
        self.map(v, T::power_of_two)
    }

    /// The largest lane; of no meaning if one is NaN.
    #[inline(always)]
    fn reduce_max(self, v: Self::Vector) -> T {
        let mut lanes = [T::ZERO; MAX_WIDTH];
        // SAFETY: the array holds MAX_WIDTH >= WIDTH scalars.
        unsafe { self.store(lanes.as_mut_ptr(), v) };
        let mut largest = lanes[0];
        for &lane in lanes.iter().take(Self::WIDTH) {
            largest = if lane > largest { lane } else { largest };
        }
        largest
    }

    /// The sum of the lanes, by halves: lane i with lane i + WIDTH/2, and so on.
    #[inline(always)]
    fn reduce_add(self, v: Self::Vector) -> T {
        let mut lanes = [T::ZERO; MAX_WIDTH];
        // SAFETY: the array holds MAX_WIDTH >= WIDTH scalars.
        unsafe { self.store(lanes.as_mut_ptr(), v) };
        let mut half = Self::WIDTH / 2;
        while half > 0 {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
            half /= 2;
        }
        lanes[0]
    }

    /// In lane i the sum of the lanes of `v[i]`, for the first `WIDTH` vectors.
    #[inline(always)]
    fn sums(self, v: &[Self::Vector; MAX_WIDTH]) -> Self::Vector {
        let mut sums = [T::ZERO; MAX_WIDTH];
        for (sum, v) in sums.iter_mut().zip(v).take(Self::WIDTH) {
            *sum = self.reduce_add(*v);
        }
        // SAFETY: the array holds MAX_WIDTH >= WIDTH scalars.
        unsafe { self.load(sums.as_ptr()) }
    }
}

/// Something there is one of for every backend, as there is of a function.
pub trait Family<T: Element>: 'static {
    /// That of one backend.
    type On<L: Lanes<T>>: Debug + Send + Sync + 'static;
}

/// One of a [`Family`] for every backend of this target; [`Lanes::of`] takes its own.
#[derive(Clone, Copy, Debug)]
pub struct ForEach<P, M, W, N> {
    /// For [`Portable`].
    pub portable: P,
    /// For AVX2; nothing on other processors than x86.
    pub avx2: M,
    /// For AVX-512; nothing on other processors than x86.
    pub avx512: W,
    /// For NEON; nothing on other processors than AArch64.
    pub neon: N,
}

/// What `number` gives for the first `count` lanes or all, the others zero.
#[inline(always)]
fn each<T: Element, L: Lanes<T>>(lanes: L, count: Option<usize>, number: impl Fn(usize) -> T) -> L::Vector {
    let mut wide = [T::ZERO; MAX_WIDTH];
    for (i, wide) in wide.iter_mut().enumerate().take(count.unwrap_or(L::WIDTH)) {
        *wide = number(i);
    }
    // SAFETY: the array holds MAX_WIDTH >= WIDTH scalars.
    unsafe { lanes.load(wide.as_ptr()) }
}

/// Scalars in the widest vector of any backend this target has.
pub const MAX_WIDTH: usize = if cfg!(any(target_arch = "x86", target_arch = "x86_64")) { 16 } else { 4 };

/// Rows and columns of what [`Lanes::turn`] turns.
pub const SQUARE: usize = 4;

/// Work that is compiled once for every backend. Mark `run` and all it calls `#[inline(always)]`: only what is
/// inlined into [`Lanes::vectorize`] is compiled for the instruction set.
pub trait Operation<T: Element> {
    /// What `run` returns.
    type Output;
    /// Does the work.
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output;
}

/// Where operations run. Work that is not worth a copy for every backend is written over it.
pub(crate) trait Site<T: Element>: Copy {
    /// Runs one.
    fn run<O: Operation<T>>(self, operation: O) -> O::Output;
}

/// On a backend, whose code is entered for each.
impl<T: Element> Site<T> for Backend {
    #[inline(always)]
    fn run<O: Operation<T>>(self, operation: O) -> O::Output {
        T::run(self, operation)
    }
}

/// Work that is written over where it runs.
pub(crate) trait Work<T: Element> {
    /// What `on` returns.
    type Output;
    /// Does the work.
    fn on(self, site: impl Site<T>) -> Self::Output;
}

/// Such work as one operation, with all that it runs in line.
pub(crate) struct Whole<W>(pub(crate) W);

impl<T: Element, W: Work<T>> Operation<T> for Whole<W> {
    type Output = W::Output;
    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> W::Output {
        self.0.on(InLine(lanes))
    }
}

/// As a part of what is compiled for some lanes.
#[derive(Clone, Copy)]
pub(crate) struct InLine<L>(pub(crate) L);

impl<T: Element, L: Lanes<T>> Site<T> for InLine<L> {
    #[inline(always)]
    fn run<O: Operation<T>>(self, operation: O) -> O::Output {
        operation.run(self.0)
    }
}

/// Work for one backend `L`, that [`Lanes::vectorize`] gives a function of its own.
pub trait Routine<L> {
    /// What `run` returns.
    type Output;
    /// Does the work.
    fn run(self, lanes: L) -> Self::Output;
}

/// An operation as a routine of any backend.
struct OnAny<T, O>(O, PhantomData<T>);

impl<T, O> OnAny<T, O> {
    #[inline(always)]
    fn new(operation: O) -> Self {
        Self(operation, PhantomData)
    }
}

impl<T: Element, O: Operation<T>, L: Lanes<T>> Routine<L> for OnAny<T, O> {
    type Output = O::Output;
    #[inline(always)]
    fn run(self, lanes: L) -> O::Output {
        self.0.run(lanes)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Kind {
    Portable,
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    Avx2(Avx2),
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    Avx512(Avx512),
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    Neon(Neon),
}

/// An instruction set this processor has.
///
/// ```
/// use attractor::simd::Backend;
/// for backend in Backend::available() {
///     println!("{}", backend.name());
/// }
/// assert_eq!(Backend::portable().name(), "portable");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Backend(Kind);

/// The backend asked for when the crate was compiled.
const FORCED: Option<&str> = option_env!("ATTRACTOR_BACKEND");

const fn forced(name: &str) -> bool {
    match FORCED {
        Some(forced) => same(forced, name),
        None => false,
    }
}

/// Whether numbers count up from 0, as places in a list do.
pub(crate) const fn numbered(numbers: &[u8]) -> bool {
    let mut i = 0;
    while i < numbers.len() {
        if numbers[i] as usize != i {
            return false;
        }
        i += 1;
    }
    true
}

/// Whether two texts are the same, while compiling.
pub(crate) const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

const _: () = assert!(
    FORCED.is_none()
        || forced("portable")
        || forced("avx2")
        || forced("avx512")
        || forced("neon")
        || forced(""),
    "ATTRACTOR_BACKEND must be portable, avx2, avx512 or neon"
);

impl Backend {
    /// The backend without any requirement; the same bits on every processor, but for the feature `helium`.
    #[must_use]
    pub const fn portable() -> Self {
        Self(Kind::Portable)
    }

    /// AVX2 with FMA, if the processor has both.
    #[must_use]
    #[inline]
    pub fn avx2() -> Option<Self> {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        return Avx2::detect().map(|token| Self(Kind::Avx2(token)));
        #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
        None
    }

    /// AVX-512 (F, BW, DQ, VL), if the processor has all of it.
    #[must_use]
    #[inline]
    pub fn avx512() -> Option<Self> {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        return Avx512::detect().map(|token| Self(Kind::Avx512(token)));
        #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
        None
    }

    /// NEON, if this is AArch64 with it, as its usual targets are.
    #[must_use]
    #[inline]
    pub const fn neon() -> Option<Self> {
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        return match Neon::detect() {
            Some(token) => Some(Self(Kind::Neon(token))),
            None => None,
        };
        #[cfg(not(all(target_arch = "aarch64", target_feature = "neon")))]
        None
    }

    /// The fastest backend of this processor, or the one `ATTRACTOR_BACKEND` named when the crate was compiled.
    #[must_use]
    #[inline]
    pub fn best() -> Self {
        if forced("portable") {
            return Self::portable();
        }
        if !forced("avx2")
            && let Some(backend) = Self::avx512()
        {
            return backend;
        }
        Self::neon().or_else(Self::avx2).unwrap_or(Self::portable())
    }

    /// All backends of this processor, the fastest last.
    pub fn available() -> impl Iterator<Item = Self> {
        [Some(Self::portable()), Self::avx2(), Self::avx512(), Self::neon()].into_iter().flatten()
    }

    /// `portable`, `avx2`, `avx512` or `neon`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Kind::Avx2(_) => "avx2",
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Kind::Avx512(_) => "avx512",
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Kind::Neon(_) => "neon",
        }
    }
}

#[cfg(test)]
mod tests;
