//! The fused layer of one sample: units in the lanes.
//!
//! y += M[:, j] x_j with y in registers, so that a sum has no horizontal step; the transposed product takes a
//! vector's worth of columns at a time.

use super::{Base, Change, EachProduct, Finish, Matrix, Product, Products, Scalar, load, store};
use crate::simd::{Lanes, MAX_WIDTH};

/// One sample: units in the lanes.
pub(super) struct Single<'a, T, L, P, F> {
    pub(super) lanes: L,
    pub(super) base: Base<'a, T>,
    pub(super) products: P,
    pub(super) finish: F,
    pub(super) out: *mut T,
    pub(super) units: usize,
}

impl<'a, T: Scalar, L: Lanes<T>, P: Products<'a, T>, F: Finish<T>> Single<'a, T, L, P, F> {
    /// The base of `count` (or WIDTH) units from `unit`.
    #[inline(always)]
    unsafe fn start(&self, unit: usize, count: Option<usize>) -> L::Vector {
        // SAFETY: the base has `units` scalars, and unit + count (or WIDTH) lies among them.
        unsafe {
            match self.base {
                Base::Zero => self.lanes.splat(T::ZERO),
                Base::Bias(bias) => load(self.lanes, bias.as_ptr().add(unit), count),
                Base::Matrix(matrix) => units(self.lanes, matrix, unit, count),
            }
        }
    }

    #[inline(always)]
    unsafe fn store(&self, z: L::Vector, unit: usize, count: Option<usize>, change: &mut Change<L::Vector>) {
        // SAFETY: unit + count (or WIDTH) <= units, which lie in a row from `out`.
        unsafe {
            let old = load(self.lanes, self.out.add(unit), count);
            let mut new = self.finish.finish(self.lanes, z, unit, count);
            store(self.lanes, self.out.add(unit), new, count);
            if let Some(count) = count {
                // Lanes beyond the units may hold anything, and are not to count as a change.
                let zero = self.lanes.splat(T::ZERO);
                let ones = self.lanes.load_partial([T::ONE; MAX_WIDTH].as_ptr(), count);
                new = self.lanes.select(self.lanes.less(zero, ones), new, old);
            }
            change.record(self.lanes, if F::SHOWS { new } else { z }, old, new);
        }
    }

    /// Blocks of rows, the tallest first, then a masked one.
    #[inline(always)]
    pub(super) unsafe fn straight<const UNITS: usize>(&self, change: &mut Change<L::Vector>) {
        let mut unit = 0;
        // SAFETY: every block lies below `units`.
        unsafe {
            if const { UNITS == 0 || UNITS >= 8 * L::WIDTH } {
                while self.units - unit >= 8 * L::WIDTH {
                    self.rows::<8, 1>(unit, None, change);
                    unit += 8 * L::WIDTH;
                }
            }
            if const { UNITS == 0 || UNITS % (8 * L::WIDTH) >= 4 * L::WIDTH }
                && self.units - unit >= 4 * L::WIDTH
            {
                self.rows_split::<4, 2>(unit, None, change);
                unit += 4 * L::WIDTH;
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

    /// Splits the columns over `S` accumulators where the backend allows it.
    #[inline(always)]
    unsafe fn rows_split<const V: usize, const S: usize>(
        &self,
        unit: usize,
        count: Option<usize>,
        change: &mut Change<L::Vector>,
    ) {
        // SAFETY: handed on.
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
        let lanes = self.lanes;
        let mut sums = [[lanes.splat(T::ZERO); V]; S];
        for (v, sum) in sums[0].iter_mut().enumerate() {
            // SAFETY: the caller's block lies in the units.
            *sum = unsafe { self.start(unit + v * L::WIDTH, count) };
        }
        let mut rows = Rows { lanes, sums, unit, count };
        self.products.visit(&mut rows);
        let mut sums = rows.sums;
        // Fold the sums by halves.
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
        for (v, z) in sums[0].iter().enumerate() {
            // SAFETY: the caller's block lies in the units.
            unsafe { self.store(*z, unit + v * L::WIDTH, count, change) };
        }
    }

    /// A vector's worth of columns at a time, each summed along its rows.
    #[inline(always)]
    pub(super) unsafe fn transposed<const UNITS: usize>(&self, change: &mut Change<L::Vector>) {
        let mut unit = 0;
        // SAFETY: at least one column exists from `unit` on; `columns` bounds the others.
        unsafe {
            if const { UNITS == 0 || UNITS >= L::WIDTH } {
                while self.units - unit >= L::WIDTH {
                    self.vector_of_columns(unit, None, change);
                    unit += L::WIDTH;
                }
            }
            if const { UNITS == 0 || UNITS % L::WIDTH >= 1 } && self.units > unit {
                self.vector_of_columns(unit, Some(self.units - unit), change);
            }
        }
    }

    #[inline(always)]
    unsafe fn vector_of_columns(&self, unit: usize, count: Option<usize>, change: &mut Change<L::Vector>) {
        // SAFETY: handed on.
        unsafe {
            let z = self.lanes.add(self.start(unit, count), self.columns(unit));
            self.store(z, unit, count, change);
        }
    }

    /// The dot products of the operands with WIDTH columns from `first`; beyond the last column, it again.
    #[inline(always)]
    unsafe fn columns(&self, first: usize) -> L::Vector {
        let lanes = self.lanes;
        let sums = [lanes.splat(T::ZERO); MAX_WIDTH];
        let mut columns = Columns { lanes, sums, first, last: self.units - 1 };
        self.products.visit(&mut columns);
        lanes.sums(&columns.sums)
    }
}

/// `V` vectors of rows, the columns split over `S` sums.
struct Rows<V, L, const N: usize, const S: usize> {
    lanes: L,
    sums: [[V; N]; S],
    unit: usize,
    count: Option<usize>,
}

impl<'a, T: Scalar, L: Lanes<T>, const N: usize, const S: usize> EachProduct<'a, T>
    for Rows<L::Vector, L, N, S>
{
    #[inline(always)]
    fn product(&mut self, Product { matrix, operand }: Product<'a, T>) {
        let Self { lanes, unit, count, .. } = *self;
        let mut sums = self.sums;
        let stride = matrix.stride();
        let x = operand.start();
        let step = operand.stride();
        // SAFETY: rows unit.. of all columns of the matrix, and as many units of the operand as the matrix
        // has columns: `fused` compared them.
        unsafe {
            let mut column = matrix.start().wrapping_add(unit);
            let mut j = 0;
            while j + S <= matrix.cols() {
                for (s, sums) in sums.iter_mut().enumerate() {
                    let factor = lanes.splat(*x.add((j + s) * step));
                    for (v, sum) in sums.iter_mut().enumerate() {
                        let weights = load(lanes, column.add(s * stride + v * L::WIDTH), count);
                        *sum = lanes.mul_add(weights, factor, *sum);
                    }
                }
                column = column.wrapping_add(S * stride);
                j += S;
            }
            while j < matrix.cols() {
                let factor = lanes.splat(*x.add(j * step));
                for (v, sum) in sums[0].iter_mut().enumerate() {
                    let weights = load(lanes, column.add(v * L::WIDTH), count);
                    *sum = lanes.mul_add(weights, factor, *sum);
                }
                column = column.wrapping_add(stride);
                j += 1;
            }
        }
        self.sums = sums;
    }
}

/// WIDTH columns, each summed along its rows.
struct Columns<V, L> {
    lanes: L,
    sums: [V; MAX_WIDTH],
    /// The first column.
    first: usize,
    /// The last column there is; what would lie beyond it is it again.
    last: usize,
}

impl<'a, T: Scalar, L: Lanes<T>> EachProduct<'a, T> for Columns<L::Vector, L> {
    #[inline(always)]
    fn product(&mut self, Product { matrix, operand }: Product<'a, T>) {
        let Self { lanes, first, last, .. } = *self;
        let mut sums = self.sums;
        let mut starts = [core::ptr::null::<T>(); MAX_WIDTH];
        for (k, start) in starts.iter_mut().enumerate().take(L::WIDTH) {
            *start = matrix.start().wrapping_add((first + k).min(last) * matrix.stride());
        }
        let rows = matrix.rows();
        let whole = rows - rows % L::WIDTH;
        let mut row = 0;
        // SAFETY: row + WIDTH (or the rest) <= rows of existing columns; the operand has as many units.
        unsafe {
            while row < whole {
                let x = units(lanes, operand, row, None);
                for (sum, start) in sums.iter_mut().zip(starts).take(L::WIDTH) {
                    *sum = lanes.mul_add(lanes.load(start.add(row)), x, *sum);
                }
                row += L::WIDTH;
            }
            if row < rows {
                let rest = Some(rows - row);
                let x = units(lanes, operand, row, rest);
                for (sum, start) in sums.iter_mut().zip(starts).take(L::WIDTH) {
                    *sum = lanes.mul_add(load(lanes, start.add(row), rest), x, *sum);
                }
            }
        }
        self.sums = sums;
    }
}

/// Units of one sample from `unit` on, gathered if they do not lie in a row.
///
/// # Safety
/// The units must exist.
#[inline(always)]
unsafe fn units<T: Scalar, L: Lanes<T>>(
    lanes: L,
    sample: Matrix<'_, T>,
    unit: usize,
    count: Option<usize>,
) -> L::Vector {
    if sample.stride() == 1 || sample.cols() == 1 {
        // SAFETY: the caller's units exist and lie in a row.
        return unsafe { load(lanes, sample.start().add(unit), count) };
    }
    let mut gathered = [T::ZERO; MAX_WIDTH];
    for (i, lane) in gathered.iter_mut().enumerate().take(count.unwrap_or(L::WIDTH)) {
        // SAFETY: the caller's units exist.
        *lane = unsafe { *sample.start().add((unit + i) * sample.stride()) };
    }
    // SAFETY: the array holds MAX_WIDTH >= WIDTH scalars.
    unsafe { lanes.load(gathered.as_ptr()) }
}
