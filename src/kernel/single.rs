//! The fused layer of one sample: units in the lanes.
//!
//! y += M[:, j] x_j with y in registers, so that a sum has no horizontal step; the transposed product takes a
//! vector's worth of columns at a time.

use super::products::Term;
use super::{Change, EachProduct, Finish, Product, Products, Scalar, load, store};
use crate::simd::{Caches, Lanes, MAX_WIDTH, each, prefetch};
use core::marker::PhantomData;
use core::mem::MaybeUninit;

/// One sample: units in the lanes. Its base and its operands lie in a row.
pub(super) struct Single<'s, T, L, P, F> {
    pub(super) lanes: L,
    /// What the sums start from; null for zero.
    pub(super) base: *const T,
    pub(super) sources: &'s P,
    pub(super) finish: F,
    pub(super) out: *mut T,
    pub(super) units: usize,
}

impl<T: Scalar, L: Lanes<T>, P: Sources<T>, F: Finish<T>> Single<'_, T, L, P, F> {
    /// All units, of `UNITS` where that is known.
    ///
    /// # Safety
    /// Base, sources, what `finish` reads and the output must have the units, in a row.
    #[inline(always)]
    pub(super) unsafe fn run<const TRANSPOSED: bool, const UNITS: usize>(
        &self,
        change: &mut Change<L::Vector>,
    ) {
        // SAFETY: the same contract, which the caller keeps.
        unsafe {
            if TRANSPOSED {
                self.transposed::<UNITS>(change);
            } else {
                self.straight::<UNITS>(change);
            }
        }
    }

    /// Blocks of rows, the tallest first, then what is left.
    #[inline(always)]
    unsafe fn straight<const UNITS: usize>(&self, change: &mut Change<L::Vector>) {
        let mut unit = 0;
        // SAFETY: every block lies below `units`.
        unsafe {
            if const { L::BLOCKING.rows >= 8 && (UNITS == 0 || UNITS >= 8 * L::WIDTH) } {
                // Sums of columns that were read whole, of the units from one to another.
                let mut wide = MaybeUninit::<[u64; WIDE / 8]>::uninit();
                let (sums, mut from, mut to) = (wide.as_mut_ptr().cast::<T>(), 0, 0);
                while self.units - unit >= 8 * L::WIDTH {
                    let z = if const { UNITS == 0 } && self.units * size_of::<T>() >= FAR {
                        if unit >= to {
                            let most = const { WIDE / (8 * L::WIDTH * size_of::<T>()) };
                            let blocks = ((self.units - unit) / (8 * L::WIDTH)).min(most);
                            (from, to) = (unit, unit + blocks * 8 * L::WIDTH);
                            self.whole_columns(unit, 8 * blocks, sums);
                        }
                        let sums = sums.add(unit - from);
                        core::array::from_fn(|v| self.lanes.load(sums.add(v * L::WIDTH)))
                    } else {
                        let Self { base, sources, .. } = *self;
                        SumRows::<_, _, 8, 1, false> { base, sources, unit, count: 0 }.sums(self.lanes)
                    };
                    self.finish(&z, unit, None, change);
                    unit += 8 * L::WIDTH;
                }
            }
            // At most one where there are taller blocks.
            if const { UNITS == 0 || left::<T, L>(UNITS) >= 4 * L::WIDTH } {
                while self.units - unit >= 4 * L::WIDTH {
                    self.rows_split::<4, 2>(unit, None, change);
                    unit += 4 * L::WIDTH;
                }
            }
            if const { UNITS == 0 || UNITS % (4 * L::WIDTH) >= 2 * L::WIDTH }
                && self.units - unit >= 2 * L::WIDTH
            {
                self.rows_split::<2, 4>(unit, None, change);
                unit += 2 * L::WIDTH;
            }
            if const { UNITS == 0 || UNITS % (2 * L::WIDTH) >= L::WIDTH } && self.units - unit >= L::WIDTH {
                self.rows_split::<1, 8>(unit, None, change);
                unit += L::WIDTH;
            }
            if const { UNITS == 0 || UNITS % L::WIDTH >= 1 } && self.units > unit {
                self.rows_split::<1, 8>(unit, Some(self.units - unit), change);
            }
        }
    }

    /// The sums of so many vectors of units, column after column: as the sums of fewer rows at a time, but in the order of memory.
    #[inline(always)]
    unsafe fn whole_columns(&self, unit: usize, vectors: usize, to: *mut T) {
        let Self { lanes, base, sources, .. } = *self;
        // SAFETY: the caller's block lies in the units, and there is room for its sums.
        unsafe {
            for v in 0..vectors {
                lanes.store(to.add(v * L::WIDTH), start(lanes, base, unit + v * L::WIDTH, None));
            }
        }
        sources.visit(&mut WholeColumns { lanes, sums: to, vectors, unit });
    }

    /// Splits the columns over `S` accumulators where the backend allows it.
    #[inline(always)]
    unsafe fn rows_split<const V: usize, const S: usize>(
        &self,
        unit: usize,
        count: Option<usize>,
        change: &mut Change<L::Vector>,
    ) {
        // SAFETY: the same contract, which the caller keeps.
        unsafe {
            if L::BLOCKING.split {
                self.rows::<V, S>(unit, count, change);
            } else {
                self.rows::<V, 1>(unit, count, change);
            }
        }
    }

    /// `V` vectors of rows, the columns split over `S` sums.
    #[inline(always)]
    unsafe fn rows<const V: usize, const S: usize>(
        &self,
        unit: usize,
        count: Option<usize>,
        change: &mut Change<L::Vector>,
    ) {
        let Self { lanes, base, sources, .. } = *self;
        // SAFETY: the caller's block lies in the units.
        unsafe {
            let z = match count {
                None => SumRows::<_, _, V, S, false> { base, sources, unit, count: 0 }.sums(lanes),
                Some(count) => SumRows::<_, _, V, S, true> { base, sources, unit, count }.sums(lanes),
            };
            self.finish(&z, unit, count, change);
        }
    }

    /// A vector's worth of columns at a time, each summed along its rows.
    #[inline(always)]
    unsafe fn transposed<const UNITS: usize>(&self, change: &mut Change<L::Vector>) {
        let mut unit = 0;
        // SAFETY: every block lies below `units`.
        unsafe {
            if const { UNITS == 0 || UNITS >= L::WIDTH } {
                while self.units - unit >= L::WIDTH {
                    self.columns(unit, None, change);
                    unit += L::WIDTH;
                }
            }
            if const { UNITS == 0 || UNITS % L::WIDTH >= 1 } && self.units > unit {
                self.columns(unit, Some(self.units - unit), change);
            }
        }
    }

    #[inline(always)]
    unsafe fn columns(&self, unit: usize, count: Option<usize>, change: &mut Change<L::Vector>) {
        let Self { lanes, base, sources, .. } = *self;
        let z = match count {
            None => SumColumns::<_, _, false> { base, sources, unit, count: L::WIDTH }.sums(lanes),
            Some(count) => SumColumns::<_, _, true> { base, sources, unit, count }.sums(lanes),
        };
        // SAFETY: the same contract, which the caller keeps.
        unsafe { self.finish(&[z], unit, count, change) };
    }

    /// Finishes the units whose sums are `z`.
    #[inline(always)]
    unsafe fn finish<const N: usize>(
        &self,
        z: &[L::Vector; N],
        unit: usize,
        count: Option<usize>,
        change: &mut Change<L::Vector>,
    ) {
        let ending = Ending { finish: self.finish, out: self.out, unit };
        if const { F::TILED } {
            let mut new = [*z];
            // SAFETY: the caller's units.
            unsafe { self.finish.finish_tile(self.lanes, &mut new, unit, 0, count) };
            for (v, (z, new)) in z.iter().zip(new.as_flattened()).enumerate() {
                // SAFETY: as above.
                unsafe { ending.store_new(self.lanes, *z, *new, v * L::WIDTH, count, change) };
            }
            return;
        }
        for (v, z) in z.iter().enumerate() {
            // SAFETY: the same contract, which the caller keeps.
            unsafe { ending.store(self.lanes, *z, v * L::WIDTH, count, change) };
        }
    }
}

/// Bytes of the sums that are kept while columns are read whole, at most.
const WIDE: usize = 2048;
/// Bytes of a column from which on it is read whole: blocks of rows would take a few lines of each, which are no row in memory.
const FAR: usize = 512;

/// The units that blocks of eight vectors leave, if there are any such blocks.
const fn left<T: Scalar, L: Lanes<T>>(units: usize) -> usize {
    if L::BLOCKING.rows >= 8 { units % (8 * L::WIDTH) } else { units }
}

/// How the sums of one sample are finished.
#[derive(Clone, Copy)]
pub(super) struct Ending<T, F> {
    pub(super) finish: F,
    pub(super) out: *mut T,
    /// The unit of the first sum.
    pub(super) unit: usize,
}

impl<T: Scalar, F: Finish<T>> Ending<T, F> {
    /// Stores what is made of the sums `z`, `at` units on.
    ///
    /// # Safety
    /// `count` (or WIDTH) units must exist there.
    #[inline(always)]
    pub(super) unsafe fn store<L: Lanes<T>>(
        &self,
        lanes: L,
        z: L::Vector,
        at: usize,
        count: Option<usize>,
        change: &mut Change<L::Vector>,
    ) {
        let unit = self.unit + at;
        // SAFETY: the caller's units lie in a row from `out`.
        unsafe {
            if !F::RECORDS {
                let z = self.finish.finish(lanes, z, unit, count);
                return store(lanes, self.out.add(unit), z, count);
            }
            let old = load(lanes, self.out.add(unit), count);
            let new = self.finish.finish(lanes, z, unit, count);
            self.keep(lanes, z, (old, new), unit, count, change);
        }
    }

    /// [`store`](Self::store) of what was made of the sums before.
    ///
    /// # Safety
    /// As [`store`](Self::store).
    #[inline(always)]
    pub(super) unsafe fn store_new<L: Lanes<T>>(
        &self,
        lanes: L,
        z: L::Vector,
        new: L::Vector,
        at: usize,
        count: Option<usize>,
        change: &mut Change<L::Vector>,
    ) {
        let unit = self.unit + at;
        // SAFETY: the caller's units lie in a row from `out`.
        unsafe {
            let old = load(lanes, self.out.add(unit), count);
            self.keep(lanes, z, (old, new), unit, count, change);
        }
    }

    /// Stores new values in place of old ones and records the change.
    ///
    /// # Safety
    /// `count` (or WIDTH) units must exist from `unit` on.
    #[inline(always)]
    unsafe fn keep<L: Lanes<T>>(
        &self,
        lanes: L,
        z: L::Vector,
        (old, mut new): (L::Vector, L::Vector),
        unit: usize,
        count: Option<usize>,
        change: &mut Change<L::Vector>,
    ) {
        // SAFETY: the caller's units lie in a row from `out`.
        unsafe {
            store(lanes, self.out.add(unit), new, count);
            if let Some(count) = count {
                // Lanes beyond the units may hold anything, and are not to count as a change.
                let zero = lanes.splat(T::ZERO);
                let ones = lanes.load_partial([T::ONE; MAX_WIDTH].as_ptr(), count);
                new = lanes.select(lanes.less(zero, ones), new, old);
            }
            let difference = self.finish.weigh(lanes, lanes.abs(lanes.sub(new, old)), unit, count);
            change.record(lanes, self.finish.shown(lanes, z, new), difference);
        }
    }
}

/// What the sums are made of.
pub(super) trait Sources<T> {
    /// Hands every term to `each`, in order.
    fn visit(&self, each: &mut impl EachTerm<T>);
}

/// What is done with a term.
pub(super) trait EachTerm<T> {
    /// Does it.
    fn term(&mut self, term: Term<T>);
}

/// Products one after the other, without a loop over them.
pub(super) struct InLine<'a, P>(pub(super) P, pub(super) PhantomData<&'a ()>);

impl<'a, T: Copy, P: Products<'a, T>> Sources<T> for InLine<'a, P> {
    #[inline(always)]
    fn visit(&self, each: &mut impl EachTerm<T>) {
        self.0.visit(&mut OnTerms(each));
    }
}

struct OnTerms<'e, E>(&'e mut E);

impl<'a, T: Copy, E: EachTerm<T>> EachProduct<'a, T> for OnTerms<'_, E> {
    #[inline(always)]
    fn product(&mut self, product: Product<'a, T>) {
        self.0.term(Term::of(product));
    }
}

/// The base of `count` (or WIDTH) units from `unit`.
///
/// # Safety
/// These units must exist, and lie in a row.
#[inline(always)]
pub(super) unsafe fn start<T: Scalar, L: Lanes<T>>(
    lanes: L,
    base: *const T,
    unit: usize,
    count: Option<usize>,
) -> L::Vector {
    if base.is_null() {
        return lanes.splat(T::ZERO);
    }
    // SAFETY: the same contract, which the caller keeps.
    unsafe { load(lanes, base.add(unit), count) }
}

/// The sums of `N` vectors of rows, or of `count` rows if `PARTIAL`, the columns split over `S` accumulators.
pub(super) struct SumRows<'s, T, P, const N: usize, const S: usize, const PARTIAL: bool> {
    pub(super) base: *const T,
    pub(super) sources: &'s P,
    pub(super) unit: usize,
    pub(super) count: usize,
}

impl<T: Scalar, P: Sources<T>, const N: usize, const S: usize, const PARTIAL: bool>
    SumRows<'_, T, P, N, S, PARTIAL>
{
    #[inline(always)]
    pub(super) fn sums<L: Lanes<T>>(&self, lanes: L) -> [L::Vector; N] {
        let Self { base, sources, unit, count, .. } = *self;
        let count = if PARTIAL { Some(count) } else { None };
        let mut sums = [[lanes.splat(T::ZERO); N]; S];
        for (v, sum) in sums[0].iter_mut().enumerate() {
            // SAFETY: the block lies in the units.
            *sum = unsafe { start(lanes, base, unit + v * L::WIDTH, count) };
        }
        let mut rows = Rows { lanes, sums, unit, count };
        sources.visit(&mut rows);
        folded(lanes, rows.sums)
    }
}

/// Split sums, added by halves.
#[inline(always)]
fn folded<T: Scalar, L: Lanes<T>, const N: usize, const S: usize>(
    lanes: L,
    mut sums: [[L::Vector; N]; S],
) -> [L::Vector; N] {
    let mut half = S / 2;
    while half > 0 {
        let (low, high) = sums.split_at_mut(half);
        for (low, high) in low.iter_mut().zip(high) {
            for (low, high) in low.iter_mut().zip(high) {
                *low = lanes.add(*low, *high);
            }
        }
        half /= 2;
    }
    sums[0]
}

struct Rows<V, L, const N: usize, const S: usize> {
    lanes: L,
    sums: [[V; N]; S],
    unit: usize,
    count: Option<usize>,
}

impl<T: Scalar, L: Lanes<T>, const N: usize, const S: usize> EachTerm<T> for Rows<L::Vector, L, N, S> {
    #[inline(always)]
    fn term(&mut self, Term { matrix, stride, operand, count: mut left }: Term<T>) {
        let Self { lanes, unit, count, .. } = *self;
        let mut sums = self.sums;
        let mut column = matrix.wrapping_add(unit);
        let mut x = operand;
        // SAFETY: rows unit.. of all columns of the matrix, and as many units of the operand, in a row, as the
        // matrix has columns: `fused` compared them.
        unsafe {
            while left >= S {
                each!(L: s < S => {
                    let factor = lanes.splat_of(x, s, S);
                    each!(L: v < N => {
                        let weights = load(lanes, column.add(s * stride + v * L::WIDTH), count);
                        sums[s][v] = lanes.mul_add(weights, factor, sums[s][v]);
                    });
                });
                column = column.wrapping_add(S * stride);
                x = x.wrapping_add(S);
                left -= S;
            }
            while const { S > 1 } && left > 0 {
                let factor = lanes.splat_of(x, 0, 1);
                each!(L: v < N => {
                    let weights = load(lanes, column.add(v * L::WIDTH), count);
                    sums[0][v] = lanes.mul_add(weights, factor, sums[0][v]);
                });
                column = column.wrapping_add(stride);
                x = x.wrapping_add(1);
                left -= 1;
            }
        }
        self.sums = sums;
    }
}

/// Sums in memory that whole columns are added to, a few at a time.
struct WholeColumns<T, L> {
    lanes: L,
    sums: *mut T,
    vectors: usize,
    unit: usize,
}

impl<T: Scalar, L: Lanes<T>> EachTerm<T> for WholeColumns<T, L> {
    #[inline(always)]
    fn term(&mut self, Term { matrix, stride, operand, count }: Term<T>) {
        const TOGETHER: usize = 4;
        let Self { lanes, sums, vectors, unit } = *self;
        let mut column = matrix.wrapping_add(unit);
        let mut x = operand;
        let mut left = count;
        // SAFETY: rows of all columns of the matrix, and as many units of the operand, in a row, as the matrix has columns: `fused` compared them.
        // There are as many sums as vectors.
        unsafe {
            while left > 0 {
                let some = if left < TOGETHER { 1 } else { TOGETHER };
                if some == TOGETHER {
                    let factors: [L::Vector; TOGETHER] = core::array::from_fn(|n| lanes.splat(*x.add(n)));
                    for v in 0..vectors {
                        let rows = column.wrapping_add(v * L::WIDTH);
                        // The next columns: the processor foresees one, and not several at once.
                        if (v * L::WIDTH).is_multiple_of(const { Caches::LINE / size_of::<T>() }) {
                            each!(L: n < TOGETHER => {
                                prefetch(rows.wrapping_add((TOGETHER + n) * stride));
                            });
                        }
                        let at = sums.add(v * L::WIDTH);
                        let mut sum = lanes.load(at);
                        each!(L: n < TOGETHER => {
                            sum = lanes.mul_add(lanes.load(rows.add(n * stride)), factors[n], sum);
                        });
                        lanes.store(at, sum);
                    }
                } else {
                    let factor = lanes.splat(*x);
                    for v in 0..vectors {
                        let (at, weights) = (sums.add(v * L::WIDTH), column.add(v * L::WIDTH));
                        lanes.store(at, lanes.mul_add(lanes.load(weights), factor, lanes.load(at)));
                    }
                }
                column = column.wrapping_add(some * stride);
                x = x.wrapping_add(some);
                left -= some;
            }
        }
    }
}

/// The sums of WIDTH columns; or, if `PARTIAL`, of `count`, and beyond the last column of it again.
pub(super) struct SumColumns<'s, T, P, const PARTIAL: bool> {
    pub(super) base: *const T,
    pub(super) sources: &'s P,
    pub(super) unit: usize,
    pub(super) count: usize,
}

impl<T: Scalar, P: Sources<T>, const PARTIAL: bool> SumColumns<'_, T, P, PARTIAL> {
    /// Few columns are split over several accumulators where the backend allows it, so that one addition need not wait for another.
    #[inline(always)]
    pub(super) fn sums<L: Lanes<T>>(&self, lanes: L) -> L::Vector {
        match const { if L::BLOCKING.split { 8 / L::WIDTH } else { 1 } } {
            4 => self.split::<L, 4>(lanes),
            2 => self.split::<L, 2>(lanes),
            _ => self.split::<L, 1>(lanes),
        }
    }

    #[inline(always)]
    fn split<L: Lanes<T>, const S: usize>(&self, lanes: L) -> L::Vector {
        let Self { base, sources, unit, count } = *self;
        let sums = [[lanes.splat(T::ZERO); MAX_WIDTH]; S];
        let mut columns = Columns::<_, _, S, PARTIAL> { lanes, sums, first: unit, count };
        sources.visit(&mut columns);
        let count = if PARTIAL { Some(count) } else { None };
        let sums = folded(lanes, columns.sums);
        // SAFETY: the units exist.
        unsafe { lanes.add(start(lanes, base, unit, count), lanes.sums(&sums)) }
    }
}

struct Columns<V, L, const S: usize, const PARTIAL: bool> {
    lanes: L,
    sums: [[V; MAX_WIDTH]; S],
    /// The first column.
    first: usize,
    /// How many there are.
    count: usize,
}

impl<T: Scalar, L: Lanes<T>, const S: usize, const PARTIAL: bool> EachTerm<T>
    for Columns<L::Vector, L, S, PARTIAL>
{
    #[inline(always)]
    fn term(&mut self, Term { matrix, stride, operand, count: rows }: Term<T>) {
        let Self { lanes, first, count, .. } = *self;
        let start = matrix.wrapping_add(first * stride);
        let column = |k: usize| start.wrapping_add(if PARTIAL { k.min(count - 1) } else { k } * stride);
        let whole = rows - rows % L::WIDTH;
        let mut row = 0;
        let mut sums = self.sums;
        let mut starts = [core::ptr::null::<T>(); MAX_WIDTH];
        for (k, start) in starts.iter_mut().enumerate().take(L::WIDTH) {
            *start = column(k);
        }
        // SAFETY: row + WIDTH (or the rest) <= rows of existing columns; the operand has as many units, in a row.
        unsafe {
            while const { S > 1 } && whole - row >= S * L::WIDTH {
                each!(L: s < S => {
                    let row = row + s * L::WIDTH;
                    let x = lanes.load(operand.add(row));
                    each!(L: k < L::WIDTH => {
                        sums[s][k] = lanes.mul_add(lanes.load(starts[k].add(row)), x, sums[s][k]);
                    });
                });
                row += S * L::WIDTH;
            }
            while row < whole {
                let x = lanes.load(operand.add(row));
                each!(L: k < L::WIDTH => {
                    sums[0][k] = lanes.mul_add(lanes.load(starts[k].add(row)), x, sums[0][k]);
                });
                row += L::WIDTH;
            }
            if row < rows {
                let x = lanes.load_partial(operand.add(row), rows - row);
                for (sum, start) in sums[0].iter_mut().zip(starts).take(L::WIDTH) {
                    *sum = lanes.mul_add(lanes.load_partial(start.add(row), rows - row), x, *sum);
                }
            }
        }
        self.sums = sums;
    }
}
