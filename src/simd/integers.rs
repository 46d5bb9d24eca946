//! Vectors of 32-bit integers, and products of packed weights with states: the trait [`Integers`] and what every backend has of it.

use super::sealed::Token;
use super::{Backend, Bf16, Element, Entry, Kind, Lanes, Portable, Routine};

/// States of a quantised layer: `i8` or `i16`. Sealed.
///
/// A state h stands for h 2^-`BITS`, or h units where the activation has no bound. A sum comes with `EXTRA` more binary digits.
pub trait IntState: Entry + Ord + Into<i32> {
    /// The name in reports.
    const NAME: &'static str;
    /// Its number in model files.
    const CODE: u8;
    /// Binary digits after the point.
    const BITS: u32;
    /// Digits a sum has beyond those of a state.
    const EXTRA: u32;
    /// What is added to a state before it is multiplied, so that it may be unsigned.
    const OFFSET: i32;
    /// The largest state; the smallest is one less than its negative.
    const MOST: i32 = (1 << Self::BITS) - 1;
    /// tanh at multiples of 2^`SEGMENT` of a sum's last digit, in units of 2^-15.
    const TABLE: &'static [i16];
    /// See [`TABLE`](Self::TABLE).
    const SEGMENT: u32;

    /// The state of this value, which is one.
    fn narrow(value: i32) -> Self;
    /// Runs `operation` with what `backend` has for such states.
    fn run<O: OnIntegers<Self>>(backend: Backend, operation: O) -> O::Output;
    /// Does work that is compiled once, in this crate.
    #[doc(hidden)]
    fn once<O: IntegersOnce>(job: O::Job<'_, Self>) -> O::Output<Self>;
}

/// Work on integers that is compiled once, in this crate, for both kinds of states: a program that uses the crate compiles a call.
#[doc(hidden)]
pub trait IntegersOnce {
    /// What it works on.
    type Job<'a, H: IntState>;
    /// What it gives.
    type Output<H: IntState>;
    /// Does it for states of 8 bits.
    fn i8(job: Self::Job<'_, i8>) -> Self::Output<i8>;
    /// Does it for states of 16 bits.
    fn i16(job: Self::Job<'_, i16>) -> Self::Output<i16>;
}

/// Work that is compiled once for every backend, for states `H`. Mark `run` and all it calls `#[inline(always)]`.
pub trait OnIntegers<H: IntState> {
    /// What `run` returns.
    type Output;
    /// Does the work.
    fn run<L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>>(self, lanes: L) -> Self::Output;
}

/// An operation as a routine of any backend.
struct OnAny<H, O>(O, core::marker::PhantomData<H>);

impl<H: IntState, O: OnIntegers<H>, L> Routine<L> for OnAny<H, O>
where
    L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>,
{
    type Output = O::Output;
    #[inline(always)]
    fn run(self, lanes: L) -> O::Output {
        self.0.run(lanes)
    }
}

macro_rules! quantum {
    ($state:ident, $name:literal, $code:literal, $bits:literal, $extra:literal, $offset:literal, $table:expr, $segment:literal) => {
        impl IntState for $state {
            const NAME: &'static str = $name;
            const CODE: u8 = $code;
            const BITS: u32 = $bits;
            const EXTRA: u32 = $extra;
            const OFFSET: i32 = $offset;
            const TABLE: &'static [i16] = $table;
            const SEGMENT: u32 = $segment;

            #[inline(always)]
            fn narrow(value: i32) -> Self {
                value as Self
            }
            #[inline(always)]
            fn once<O: IntegersOnce>(job: O::Job<'_, Self>) -> O::Output<Self> {
                O::$state(job)
            }
            #[inline(always)]
            fn run<O: OnIntegers<Self>>(backend: Backend, operation: O) -> O::Output {
                let operation = OnAny::<Self, O>(operation, core::marker::PhantomData);
                match backend.0 {
                    Kind::Portable => Portable.enter(operation),
                    // The compiler makes vectors of the arrays.
                    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
                    Kind::Neon(_) => Portable.enter(operation),
                    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
                    Kind::Avx2(lanes) => lanes.enter(operation),
                    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
                    Kind::Avx512(lanes) => match super::Vnni::detect(lanes) {
                        Some(lanes) => lanes.enter(operation),
                        None => super::Avx2::from(lanes).enter(operation),
                    },
                }
            }
        }
    };
}

quantum!(i8, "i8", 5, 7, 2, 128, &super::tables::COARSE, 5);
quantum!(i16, "i16", 4, 15, 0, 0, &super::tables::FINE, 9);

/// Sums of products of packed weights `W` with states `H`, `ROWS` rows at a time.
///
/// Weights are packed in groups of `GROUP` columns: for each group, row after row, the weights of one row side by side. Columns left over
/// come after the groups, each on its own. Sealed.
pub trait Packed<W, H>: Token + Copy + Send + Sync + 'static {
    /// Rows in a vector.
    const ROWS: usize;
    /// Columns in a group.
    const GROUP: usize;
    /// Vectors there are registers for to sum up side by side: 8, 4 or 1.
    const VECTORS: usize;
    /// `ROWS` sums, in the making.
    type Sum: Copy;
    /// `ROWS` sums.
    type Vector: Copy;
    /// The states of a group, as a product wants them.
    type Spread: Copy;

    /// Sums of nothing.
    fn none(self) -> Self::Sum;
    /// The states of a group.
    ///
    /// # Safety
    /// `GROUP` states must be there.
    unsafe fn spread(self, states: *const H) -> Self::Spread;
    /// The state of a single column.
    ///
    /// # Safety
    /// It must be there.
    unsafe fn spread_one(self, state: *const H) -> Self::Spread;
    /// Adds the products of a group, of the first `count` rows if that is less than all.
    ///
    /// # Safety
    /// The weights of so many rows must be there.
    unsafe fn add(
        self,
        sum: Self::Sum,
        weights: *const W,
        count: Option<usize>,
        states: Self::Spread,
    ) -> Self::Sum;
    /// Adds the products of a single column.
    ///
    /// # Safety
    /// The weights of so many rows must be there.
    unsafe fn add_one(
        self,
        sum: Self::Sum,
        weights: *const W,
        count: Option<usize>,
        state: Self::Spread,
    ) -> Self::Sum;
    /// Both together.
    fn both(self, a: Self::Sum, b: Self::Sum) -> Self::Sum;
    /// The sums.
    fn total(self, sum: Self::Sum) -> Self::Vector;

    /// Whether there is a [`product`](Self::product).
    const WHOLE: bool = false;
    /// Adds all products of the rows from `row` on of a matrix with so many rows and columns, of all in a vector or the first `count`.
    ///
    /// # Safety
    /// All of that must exist.
    #[inline(always)]
    unsafe fn product(
        self,
        sum: &mut Self::Sum,
        weights: *const W,
        (rows, columns): (usize, usize),
        states: *const H,
        row: usize,
        count: Option<usize>,
    ) {
        let _ = (sum, weights, rows, columns, states, row, count);
    }
}

/// Vectors of 32-bit integers. The implementing type is a token whose existence proves that the instructions exist. All of it is exact:
/// every backend has the same integers. Sealed.
pub trait Integers: Token + Copy + Send + Sync + 'static {
    /// Integers in a vector.
    const WIDTH: usize;
    /// `WIDTH` integers.
    type Whole: Copy;
    /// Whether sums are finished one at a time, as [`Single`]: where code must be short.
    const NARROW: bool = false;

    /// One of them.
    fn lane(self, a: Self::Whole, index: usize) -> i32;
    /// All of them `x`.
    fn splat(self, x: i32) -> Self::Whole;
    /// Loads the first `count` or all, the others zero.
    ///
    /// # Safety
    /// They must be there.
    unsafe fn load(self, from: *const i32, count: Option<usize>) -> Self::Whole;
    /// The same of 16 bits.
    ///
    /// # Safety
    /// They must be there.
    unsafe fn load_16(self, from: *const i16, count: Option<usize>) -> Self::Whole;
    /// The same of 8 bits.
    ///
    /// # Safety
    /// They must be there.
    unsafe fn load_8(self, from: *const i8, count: Option<usize>) -> Self::Whole;
    /// Stores the first `count` or all.
    ///
    /// # Safety
    /// There must be room.
    unsafe fn store(self, to: *mut i32, v: Self::Whole, count: Option<usize>);
    /// The same as 16 bits.
    ///
    /// # Safety
    /// There must be room.
    unsafe fn store_16(self, to: *mut i16, v: Self::Whole, count: Option<usize>);
    /// The same as 8 bits.
    ///
    /// # Safety
    /// There must be room.
    unsafe fn store_8(self, to: *mut i8, v: Self::Whole, count: Option<usize>);
    /// `a + b`, which must not overflow.
    fn plus(self, a: Self::Whole, b: Self::Whole) -> Self::Whole;
    /// `a - b`, which must not overflow.
    fn minus(self, a: Self::Whole, b: Self::Whole) -> Self::Whole;
    /// The smaller.
    fn least(self, a: Self::Whole, b: Self::Whole) -> Self::Whole;
    /// The larger.
    fn most(self, a: Self::Whole, b: Self::Whole) -> Self::Whole;
    /// The magnitude.
    fn magnitude(self, a: Self::Whole) -> Self::Whole;
    /// `a`, or -`a` where `sign` is negative.
    fn signed(self, a: Self::Whole, sign: Self::Whole) -> Self::Whole;
    /// The floor of a / 2^`by`.
    fn shift(self, a: Self::Whole, by: u32) -> Self::Whole;
    /// The floor of a / 2^by, each by its own, which is 0 to 31.
    fn shift_each(self, a: Self::Whole, by: Self::Whole) -> Self::Whole;
    /// The floor of a f / 2^16, where 0 <= f < 2^15.
    fn high_product(self, a: Self::Whole, f: Self::Whole) -> Self::Whole;
    /// What the [`TABLE`](IntState::TABLE) of `H` has for `at` >= 0, of which the last [`SEGMENT`](IntState::SEGMENT) digits say where between two of its
    /// entries. With `digits` digits less, rounded.
    fn between<H: IntState>(self, digits: u32, at: Self::Whole) -> Self::Whole;
    /// The first `count`, the others zero.
    fn first_of(self, a: Self::Whole, count: usize) -> Self::Whole;
    /// The largest.
    fn largest(self, a: Self::Whole) -> i32;
    /// Runs `routine` compiled for these instructions.
    fn enter<R: Routine<Self>>(self, routine: R) -> R::Output;
}

/// The last `at` between two entries of a table: beyond it all is as there.
#[inline(always)]
pub(super) const fn last(table: &'static [i16], segment: u32) -> i32 {
    ((table.len() as i32 - 1) << segment) - 1
}

/// Rows at a time where there are no vectors for it: as many as make a call worth its while on a small core, or as the compiler makes vectors
/// of.
pub(super) const ROWS: usize = 8;

type Array = [i32; ROWS];

#[inline(always)]
fn zip(a: Array, b: Array, f: impl Fn(i32, i32) -> i32) -> Array {
    core::array::from_fn(|i| f(a[i], b[i]))
}

#[inline(always)]
unsafe fn gather<T: Copy + Into<i32>>(from: *const T, count: Option<usize>) -> Array {
    let mut array = [0; ROWS];
    match count {
        None => {
            for (i, a) in array.iter_mut().enumerate() {
                // SAFETY: the caller vouches for ROWS of them.
                *a = unsafe { from.add(i).read() }.into();
            }
        }
        Some(count) => {
            for (i, a) in array.iter_mut().enumerate().take(count) {
                // SAFETY: the caller vouches for `count` of them.
                *a = unsafe { from.add(i).read() }.into();
            }
        }
    }
    array
}

#[inline(always)]
unsafe fn scatter<T>(to: *mut T, v: Array, count: Option<usize>, narrow: impl Fn(i32) -> T) {
    for (i, v) in v.into_iter().enumerate().take(count.unwrap_or(ROWS)) {
        // SAFETY: the caller vouches for room for so many.
        unsafe { to.add(i).write(narrow(v)) };
    }
}

/// One integer after the other: a vector of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Single;

impl Integers for Single {
    const WIDTH: usize = 1;
    type Whole = i32;

    #[inline(always)]
    fn lane(self, a: i32, _: usize) -> i32 {
        a
    }
    #[inline(always)]
    fn splat(self, x: i32) -> i32 {
        x
    }
    #[inline(always)]
    unsafe fn load(self, from: *const i32, _: Option<usize>) -> i32 {
        // SAFETY: the caller vouches for it.
        unsafe { from.read() }
    }
    #[inline(always)]
    unsafe fn load_16(self, from: *const i16, _: Option<usize>) -> i32 {
        // SAFETY: the caller vouches for it.
        unsafe { from.read() }.into()
    }
    #[inline(always)]
    unsafe fn load_8(self, from: *const i8, _: Option<usize>) -> i32 {
        // SAFETY: the caller vouches for it.
        unsafe { from.read() }.into()
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i32, v: i32, _: Option<usize>) {
        // SAFETY: the caller vouches for room.
        unsafe { to.write(v) }
    }
    #[inline(always)]
    unsafe fn store_16(self, to: *mut i16, v: i32, _: Option<usize>) {
        // SAFETY: the caller vouches for room.
        unsafe { to.write(v as i16) }
    }
    #[inline(always)]
    unsafe fn store_8(self, to: *mut i8, v: i32, _: Option<usize>) {
        // SAFETY: the caller vouches for room.
        unsafe { to.write(v as i8) }
    }
    #[inline(always)]
    fn plus(self, a: i32, b: i32) -> i32 {
        a.wrapping_add(b)
    }
    #[inline(always)]
    fn minus(self, a: i32, b: i32) -> i32 {
        a.wrapping_sub(b)
    }
    #[inline(always)]
    fn least(self, a: i32, b: i32) -> i32 {
        a.min(b)
    }
    #[inline(always)]
    fn most(self, a: i32, b: i32) -> i32 {
        a.max(b)
    }
    #[inline(always)]
    fn magnitude(self, a: i32) -> i32 {
        a.wrapping_abs()
    }
    #[inline(always)]
    fn signed(self, a: i32, sign: i32) -> i32 {
        (a ^ (sign >> 31)).wrapping_sub(sign >> 31)
    }
    #[inline(always)]
    fn shift(self, a: i32, by: u32) -> i32 {
        a >> (by & 31)
    }
    #[inline(always)]
    fn shift_each(self, a: i32, by: i32) -> i32 {
        #[cfg(all(any(feature = "asm", feature = "helium"), target_arch = "arm", target_abi = "eabihf"))]
        return super::dsp::shift(a, by);
        #[cfg(not(all(
            any(feature = "asm", feature = "helium"),
            target_arch = "arm",
            target_abi = "eabihf"
        )))]
        return a >> (by & 31);
    }
    #[inline(always)]
    fn high_product(self, a: i32, f: i32) -> i32 {
        if cfg!(all(target_os = "none", target_has_atomic = "32")) {
            // Such a small core has a product of 64 bits in one instruction.
            return ((i64::from(a) * i64::from(f)) >> 16) as i32;
        }
        // In halves, for cores that have none (Cortex-M0), and for vectors.
        let low = ((a & 0xffff) as u32).wrapping_mul(f as u32) >> 16;
        (a >> 16).wrapping_mul(f).wrapping_add(low as i32)
    }
    #[inline(always)]
    fn between<H: IntState>(self, digits: u32, at: i32) -> i32 {
        let (table, segment) = (H::TABLE, H::SEGMENT);
        let at = at.min(last(table, segment));
        let (index, rest) = ((at >> segment) as usize, at & ((1 << segment) - 1));
        let Some(&[from, to, ..]) = table.get(index..) else { return 0 };
        let (from, to) = (i32::from(from), i32::from(to));
        // Far below 2^31: a state of 15 digits, and 10 more.
        ((from << segment) + (to - from) * rest + (1 << (segment + digits - 1))) >> (segment + digits)
    }
    #[inline(always)]
    fn first_of(self, a: i32, count: usize) -> i32 {
        if count > 0 { a } else { 0 }
    }
    #[inline(always)]
    fn largest(self, a: i32) -> i32 {
        a
    }
    #[inline(always)]
    fn enter<R: Routine<Self>>(self, routine: R) -> R::Output {
        routine.run(self)
    }
}

impl Integers for Portable {
    const WIDTH: usize = ROWS;
    type Whole = Array;
    const NARROW: bool = cfg!(target_os = "none");

    #[inline(always)]
    fn lane(self, a: Array, index: usize) -> i32 {
        a.get(index).copied().unwrap_or_default()
    }
    #[inline(always)]
    fn splat(self, x: i32) -> Array {
        [x; ROWS]
    }
    #[inline(always)]
    unsafe fn load(self, from: *const i32, count: Option<usize>) -> Array {
        // SAFETY: the same contract, which the caller keeps.
        unsafe { gather(from, count) }
    }
    #[inline(always)]
    unsafe fn load_16(self, from: *const i16, count: Option<usize>) -> Array {
        // SAFETY: the same contract, which the caller keeps.
        unsafe { gather(from, count) }
    }
    #[inline(always)]
    unsafe fn load_8(self, from: *const i8, count: Option<usize>) -> Array {
        // SAFETY: the same contract, which the caller keeps.
        unsafe { gather(from, count) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i32, v: Array, count: Option<usize>) {
        // SAFETY: the same contract, which the caller keeps.
        unsafe { scatter(to, v, count, |v| v) }
    }
    #[inline(always)]
    unsafe fn store_16(self, to: *mut i16, v: Array, count: Option<usize>) {
        // SAFETY: the same contract, which the caller keeps.
        unsafe { scatter(to, v, count, |v| v as i16) }
    }
    #[inline(always)]
    unsafe fn store_8(self, to: *mut i8, v: Array, count: Option<usize>) {
        // SAFETY: the same contract, which the caller keeps.
        unsafe { scatter(to, v, count, |v| v as i8) }
    }
    #[inline(always)]
    fn plus(self, a: Array, b: Array) -> Array {
        zip(a, b, |a, b| Single.plus(a, b))
    }
    #[inline(always)]
    fn minus(self, a: Array, b: Array) -> Array {
        zip(a, b, |a, b| Single.minus(a, b))
    }
    #[inline(always)]
    fn least(self, a: Array, b: Array) -> Array {
        zip(a, b, |a, b| Single.least(a, b))
    }
    #[inline(always)]
    fn most(self, a: Array, b: Array) -> Array {
        zip(a, b, |a, b| Single.most(a, b))
    }
    #[inline(always)]
    fn magnitude(self, a: Array) -> Array {
        a.map(|a| Single.magnitude(a))
    }
    #[inline(always)]
    fn signed(self, a: Array, sign: Array) -> Array {
        zip(a, sign, |a, sign| Single.signed(a, sign))
    }
    #[inline(always)]
    fn shift(self, a: Array, by: u32) -> Array {
        a.map(|a| Single.shift(a, by))
    }
    #[inline(always)]
    fn shift_each(self, a: Array, by: Array) -> Array {
        zip(a, by, |a, by| Single.shift_each(a, by))
    }
    #[inline(always)]
    fn high_product(self, a: Array, f: Array) -> Array {
        zip(a, f, |a, f| Single.high_product(a, f))
    }
    #[inline(always)]
    fn between<H: IntState>(self, digits: u32, at: Array) -> Array {
        at.map(|at| Single.between::<H>(digits, at))
    }
    #[inline(always)]
    fn first_of(self, a: Array, count: usize) -> Array {
        core::array::from_fn(|i| if i < count { a[i] } else { 0 })
    }
    #[inline(always)]
    fn largest(self, a: Array) -> i32 {
        a.into_iter().fold(i32::MIN, i32::max)
    }
    #[inline(always)]
    fn enter<R: Routine<Self>>(self, routine: R) -> R::Output {
        routine.run(self)
    }
}

impl<H: IntState> Packed<i8, H> for Portable {
    const ROWS: usize = ROWS;
    const GROUP: usize = 4;
    const VECTORS: usize = 1;
    const WHOLE: bool = cfg!(target_os = "none");
    type Sum = Array;
    type Vector = Array;
    type Spread = [i32; 4];

    #[inline(always)]
    fn none(self) -> Array {
        [0; ROWS]
    }
    #[inline(always)]
    unsafe fn spread(self, states: *const H) -> [i32; 4] {
        // SAFETY: the caller vouches for four states.
        let [a, b, c, d] = unsafe { states.cast::<[H; 4]>().read() };
        [a.into() + H::OFFSET, b.into() + H::OFFSET, c.into() + H::OFFSET, d.into() + H::OFFSET]
    }
    #[inline(always)]
    unsafe fn spread_one(self, state: *const H) -> [i32; 4] {
        // SAFETY: the caller vouches for the state.
        [unsafe { state.read() }.into() + H::OFFSET, 0, 0, 0]
    }
    #[inline(always)]
    unsafe fn add(self, mut sum: Array, weights: *const i8, count: Option<usize>, states: [i32; 4]) -> Array {
        for (i, sum) in sum.iter_mut().enumerate().take(count.unwrap_or(ROWS)) {
            // SAFETY: the caller vouches for four weights of so many rows.
            let [a, b, c, d] = unsafe { weights.add(4 * i).cast::<[i8; 4]>().read() };
            let first = (i32::from(a) * states[0]).wrapping_add(i32::from(b) * states[1]);
            let second = (i32::from(c) * states[2]).wrapping_add(i32::from(d) * states[3]);
            *sum = sum.wrapping_add(first).wrapping_add(second);
        }
        sum
    }
    #[inline(always)]
    unsafe fn add_one(
        self,
        mut sum: Array,
        weights: *const i8,
        count: Option<usize>,
        state: [i32; 4],
    ) -> Array {
        for (i, sum) in sum.iter_mut().enumerate().take(count.unwrap_or(ROWS)) {
            // SAFETY: the caller vouches for a weight of so many rows.
            let weight = i32::from(unsafe { weights.add(i).read() });
            *sum = sum.wrapping_add(weight.wrapping_mul(state[0]));
        }
        sum
    }
    #[cfg(target_os = "none")]
    #[inline(always)]
    unsafe fn product(
        self,
        sum: &mut Array,
        weights: *const i8,
        (rows, columns): (usize, usize),
        states: *const H,
        row: usize,
        count: Option<usize>,
    ) {
        // SAFETY: the same contract, which the caller keeps.
        unsafe { super::small::product(sum, weights, rows, columns, states, row, count.unwrap_or(ROWS)) };
    }
    #[inline(always)]
    fn both(self, a: Array, b: Array) -> Array {
        self.plus(a, b)
    }
    #[inline(always)]
    fn total(self, sum: Array) -> Array {
        sum
    }
}

/// Weights of 16 bits in pairs, so that a load of 32 bits brings two of them.
impl<T: Element, L: Lanes<T>> Packed<Bf16, T> for L {
    const ROWS: usize = L::WIDTH;
    const GROUP: usize = 2;
    // Two sums each: 32 registers have room for eight, 16 for four.
    const VECTORS: usize = if L::BLOCKING.tile_columns >= 12 {
        8
    } else if L::BLOCKING.split {
        4
    } else {
        1
    };
    /// Of the first and of the second of each pair.
    type Sum = [<L as Lanes<T>>::Vector; 2];
    type Vector = <L as Lanes<T>>::Vector;
    type Spread = [<L as Lanes<T>>::Vector; 2];

    #[inline(always)]
    fn none(self) -> Self::Sum {
        [self.splat(T::ZERO); 2]
    }
    #[inline(always)]
    unsafe fn spread(self, states: *const T) -> Self::Spread {
        // SAFETY: the caller vouches for two states.
        unsafe { [self.splat(states.read()), self.splat(states.add(1).read())] }
    }
    #[inline(always)]
    unsafe fn spread_one(self, state: *const T) -> Self::Spread {
        // SAFETY: the caller vouches for the state.
        [self.splat(unsafe { state.read() }); 2]
    }
    #[inline(always)]
    unsafe fn add(
        self,
        sum: Self::Sum,
        weights: *const Bf16,
        count: Option<usize>,
        states: Self::Spread,
    ) -> Self::Sum {
        // SAFETY: the same contract, which the caller keeps.
        let (first, second) = unsafe { self.load_bf16_pairs(weights, count) };
        [self.mul_add(first, states[0], sum[0]), self.mul_add(second, states[1], sum[1])]
    }
    #[inline(always)]
    unsafe fn add_one(
        self,
        sum: Self::Sum,
        weights: *const Bf16,
        count: Option<usize>,
        state: Self::Spread,
    ) -> Self::Sum {
        // SAFETY: the same contract, which the caller keeps.
        [self.mul_add(unsafe { self.load_bf16(weights, count) }, state[0], sum[0]), sum[1]]
    }
    #[inline(always)]
    fn both(self, a: Self::Sum, b: Self::Sum) -> Self::Sum {
        [Lanes::add(self, a[0], b[0]), Lanes::add(self, a[1], b[1])]
    }
    #[inline(always)]
    fn total(self, sum: Self::Sum) -> Self::Vector {
        Lanes::add(self, sum[0], sum[1])
    }
}
