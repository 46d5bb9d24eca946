//! The fused layer of one sample where flash is small: one loop over the units, sums in functions of their own, and what
//! finishes a sum one unit at a time. [`single`](super::single) has the same sums in line.

use super::products::{Part, Term, Terms};
use super::single::{EachTerm, Ending, Sources, SumRows, start};
use super::{Change, Finish, Scalar, rolled};
use crate::simd::{Lanes, MAX_WIDTH, Routine};
use core::mem::MaybeUninit;
use core::ops::Range;

/// A layer of one sample: its sums, then how they are finished.
///
/// # Safety
/// Base, terms, what `finish` reads and the output must have `units` units, in a row; `UNITS` must be 0 or their number.
#[inline(always)]
pub(super) unsafe fn layer<
    const TRANSPOSED: bool,
    const UNITS: usize,
    T: Scalar,
    L: Lanes<T>,
    F: Finish<T>,
>(
    lanes: L,
    base: *const T,
    terms: impl Terms<T>,
    finish: F,
    out: *mut T,
    units: usize,
    change: &mut Change<L::Vector>,
) {
    if const { T::SUMS_ROWS && !TRANSPOSED } {
        // SAFETY: the same contract, which the caller keeps.
        return unsafe { tall::<T, L, F>(lanes, base, terms, finish, out, units, change) };
    }
    let sources = &InLoop(terms);
    let narrow = lanes.narrow();
    let mut residual = change.narrow(narrow);
    let mut room = MaybeUninit::<[T; 4 * MAX_WIDTH]>::uninit();
    let mut unit = 0;
    while unit < units {
        let left = units - unit;
        // The last vector may be of units that are already done: that does not change them, and spares the code of parts
        // of vectors.
        let first =
            if const { UNITS > 0 && UNITS < L::WIDTH } { 0 } else { unit.min(units.wrapping_sub(L::WIDTH)) };
        let to = if F::RECORDS { room.as_mut_ptr().cast() } else { out.wrapping_add(first) };
        let count;
        // Every block lies below `units`, and has at most four vectors.
        if const { UNITS < L::WIDTH } && units < L::WIDTH {
            count = units;
            if TRANSPOSED {
                lanes.vectorize(Columns::<_, _, true> { base, sources, unit: 0, count, to });
            } else {
                let sums = SumRows::<_, _, 1, 1, true> { base, sources, unit: 0, count };
                lanes.vectorize(Rows { sums, to });
            }
        } else if TRANSPOSED {
            count = if left < 4 * L::WIDTH { (left - left % L::WIDTH).max(L::WIDTH) } else { 4 * L::WIDTH };
            lanes.vectorize(Columns::<_, _, false> { base, sources, unit: first, count, to });
        } else if const { UNITS == 0 || UNITS >= 4 * L::WIDTH } && left >= 4 * L::WIDTH {
            count = 4 * L::WIDTH;
            let sums = SumRows::<_, _, 4, 1, false> { base, sources, unit, count };
            lanes.vectorize(Rows { sums, to });
        } else if const { UNITS == 0 || UNITS % (4 * L::WIDTH) >= 2 * L::WIDTH } && left >= 2 * L::WIDTH {
            count = 2 * L::WIDTH;
            let sums = SumRows::<_, _, 2, 1, false> { base, sources, unit, count };
            lanes.vectorize(Rows { sums, to });
        } else {
            count = L::WIDTH;
            if const { UNITS == 0 || !UNITS.is_multiple_of(2 * L::WIDTH) } {
                let sums = SumRows::<_, _, 1, 1, false> { base, sources, unit: first, count };
                lanes.vectorize(Rows { sums, to });
            }
        }
        if F::RECORDS {
            // SAFETY: `count` units exist from `first` on, and as many sums.
            residual =
                unsafe { finish_units(narrow, Ending { finish, out, unit: first }, to, count, residual) };
        }
        unit = first + count;
        rolled();
    }
    change.set(lanes, narrow, residual);
}

/// Rows that assembly sums at a time: room for their sums.
const TALLEST: usize = 64;
/// Products that it takes at a time.
const PARTS: usize = 4;

/// [`layer`] where there is assembly that sums all rows.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn tall<T: Scalar, L: Lanes<T>, F: Finish<T>>(
    lanes: L,
    base: *const T,
    terms: impl Terms<T>,
    finish: F,
    out: *mut T,
    units: usize,
    change: &mut Change<L::Vector>,
) {
    let narrow = lanes.narrow();
    let mut residual = change.narrow(narrow);
    let mut room = MaybeUninit::<[T; TALLEST]>::uninit();
    let mut unit = 0;
    while unit < units {
        let rows = (units - unit).min(TALLEST);
        let to = if F::RECORDS { room.as_mut_ptr().cast() } else { out.wrapping_add(unit) };
        // SAFETY: so many units exist from `unit` on, and there is room for their sums.
        unsafe {
            sum_rows(base, &terms, unit, rows, to);
            if F::RECORDS {
                residual = finish_units(narrow, Ending { finish, out, unit }, to, rows, residual);
            }
        }
        unit += rows;
    }
    change.set(lanes, narrow, residual);
}

/// Leaves the sums of `rows` units from `unit` on at `to`.
///
/// # Safety
/// The units must exist, and the room.
#[inline(always)]
unsafe fn sum_rows<T: Scalar>(base: *const T, terms: &impl Terms<T>, unit: usize, rows: usize, to: *mut T) {
    let mut from = base.wrapping_add(unit);
    if base.is_null() {
        for row in 0..rows {
            // SAFETY: there is room for as many sums.
            unsafe { *to.add(row) = T::ZERO };
            rolled();
        }
        from = to;
    }
    let mut parts = [const { MaybeUninit::<Part<T>>::uninit() }; PARTS];
    let mut index = 0;
    loop {
        let mut count = 0;
        while let Some(part) = parts.get_mut(count)
            && let Some(Term { matrix, stride, operand, count: columns }) = terms.at(index)
        {
            let (end, step) = (matrix.wrapping_add(unit + rows), stride * size_of::<T>());
            part.write(Part { end, step, x: operand, columns });
            (count, index) = (count + 1, index + 1);
        }
        if count > 0 {
            // SAFETY: so many parts have been written, of rows of all columns of the matrices and as many units of the
            // operands, in a row: `fused` compared them.
            unsafe { T::sum_rows(from, to, core::slice::from_raw_parts(parts.as_ptr().cast(), count), rows) };
            from = to;
        }
        if count < PARTS {
            break;
        }
    }
    if index == 0 {
        for row in 0..rows {
            // SAFETY: so many sums, and so many scalars in the base.
            unsafe { *to.add(row) = *from.add(row) };
            rolled();
        }
    }
}

/// Finishes `count` units. The largest change so far, NaN if something was not finite.
///
/// # Safety
/// The units must exist, and as many sums.
#[inline(always)]
unsafe fn finish_units<T: Scalar, L: Lanes<T>, F: Finish<T>>(
    lanes: L,
    ending: Ending<T, F>,
    sums: *const T,
    count: usize,
    residual: L::Vector,
) -> L::Vector {
    let Ending { finish, out, unit } = ending;
    // SAFETY: the same contract, which the caller keeps.
    let changed = unsafe { finish.finish_all(sums, out.wrapping_add(unit), unit, count) };
    if let Some((largest, poison)) = changed {
        // A residual that is NaN stays so, for nothing is larger.
        return lanes.add(lanes.max(lanes.splat(largest), residual), lanes.splat(poison));
    }
    lanes.vectorize(OneByOne { ending, sums, count, residual })
}

/// Finishes units with narrow lanes, in a loop.
struct OneByOne<T, F, V> {
    ending: Ending<T, F>,
    sums: *const T,
    count: usize,
    /// The largest change so far, NaN if something was not finite.
    residual: V,
}

impl<T: Scalar, F: Finish<T>, L: Lanes<T>> Routine<L> for OneByOne<T, F, L::Vector> {
    type Output = L::Vector;

    #[inline(always)]
    fn run(self, lanes: L) -> L::Vector {
        let Self { ending, sums, count, residual } = self;
        // A residual that is NaN stays so, for nothing is larger.
        let mut change = Change { residual, ..Change::none(lanes) };
        let mut at = 0;
        while at < count {
            // SAFETY: `count` units and as many sums; narrow lanes are scalars.
            unsafe { ending.store(lanes, lanes.load(sums.add(at)), at, None, &mut change) };
            at += L::WIDTH;
            rolled();
        }
        lanes.add(change.residual, change.poison)
    }
}

/// Terms in a loop.
pub(super) struct InLoop<S>(pub(super) S);

impl<T, S: Terms<T>> Sources<T> for InLoop<S> {
    #[inline(always)]
    fn visit(&self, each: &mut impl EachTerm<T>) {
        let mut index = 0;
        while let Some(term) = self.0.at(index) {
            each.term(term);
            index += 1;
            rolled();
        }
    }
}

/// Leaves sums of rows in memory.
struct Rows<'s, T, P, const N: usize, const PARTIAL: bool> {
    sums: SumRows<'s, T, P, N, 1, PARTIAL>,
    to: *mut T,
}

impl<T: Scalar, L: Lanes<T>, P: Sources<T>, const N: usize, const PARTIAL: bool> Routine<L>
    for Rows<'_, T, P, N, PARTIAL>
{
    type Output = ();

    #[inline(always)]
    fn run(self, lanes: L) {
        let Self { sums: SumRows { base, sources, unit, count }, to } = self;
        if const { T::ASSEMBLY && !PARTIAL } {
            let from = if base.is_null() {
                for v in 0..N {
                    // SAFETY: N vectors of sums.
                    unsafe { lanes.store(to.add(v * L::WIDTH), lanes.splat(T::ZERO)) };
                }
                to
            } else {
                base.wrapping_add(unit)
            };
            let mut rows = RowsInMemory { from, to, rows: N * L::WIDTH, unit };
            sources.visit(&mut rows);
            if rows.from != to {
                for v in 0..N {
                    // SAFETY: as above.
                    unsafe { lanes.store(to.add(v * L::WIDTH), lanes.load(rows.from.add(v * L::WIDTH))) };
                }
            }
            return;
        }
        // SAFETY: N vectors of sums, or `count` units.
        unsafe {
            if PARTIAL {
                let [z] = SumRows::<_, _, 1, 1, true> { base, sources, unit, count }.sums(lanes);
                return lanes.store_partial(to, z, count);
            }
            let from =
                |v| if v < N { start(lanes, base, unit + v * L::WIDTH, None) } else { lanes.splat(T::ZERO) };
            let mut rows = RowsByName::<_, _, N> { lanes, unit, sums: (from(0), from(1), from(2), from(3)) };
            sources.visit(&mut rows);
            let (a, b, c, d) = rows.sums;
            lanes.store(to, a);
            if const { N > 1 } {
                lanes.store(to.add(L::WIDTH), b);
            }
            if const { N > 2 } {
                lanes.store(to.add(2 * L::WIDTH), c);
                lanes.store(to.add(3 * L::WIDTH), d);
            }
        }
    }
}

/// Sums of 1, 2 or 4 vectors of rows. Every one has a name: a compiler that optimizes for size leaves loops over arrays as
/// they are.
struct RowsByName<V, L, const N: usize> {
    lanes: L,
    unit: usize,
    sums: (V, V, V, V),
}

impl<T: Scalar, L: Lanes<T>, const N: usize> EachTerm<T> for RowsByName<L::Vector, L, N> {
    #[inline(always)]
    fn term(&mut self, Term { matrix, stride, operand, count }: Term<T>) {
        let lanes = self.lanes;
        let (mut a, mut b, mut c, mut d) = self.sums;
        let (mut column, mut x) = (matrix.wrapping_add(self.unit), operand);
        for _ in 0..count {
            // SAFETY: rows unit.. of all columns of the matrix, and as many units of the operand, in a row, as the matrix
            // has columns: `fused` compared them.
            unsafe {
                let factor = lanes.splat(*x);
                a = lanes.mul_add(lanes.load(column), factor, a);
                if const { N > 1 } {
                    b = lanes.mul_add(lanes.load(column.add(L::WIDTH)), factor, b);
                }
                if const { N > 2 } {
                    c = lanes.mul_add(lanes.load(column.add(2 * L::WIDTH)), factor, c);
                    d = lanes.mul_add(lanes.load(column.add(3 * L::WIDTH)), factor, d);
                }
            }
            column = column.wrapping_add(stride);
            x = x.wrapping_add(1);
        }
        self.sums = (a, b, c, d);
    }
}

/// Sums of rows that lie in memory, for assembly.
struct RowsInMemory<T> {
    /// Where the sums so far are: the base at first, then `to`.
    from: *const T,
    to: *mut T,
    rows: usize,
    unit: usize,
}

impl<T: Scalar> EachTerm<T> for RowsInMemory<T> {
    #[inline(always)]
    fn term(&mut self, Term { matrix, stride, operand, count }: Term<T>) {
        let column = matrix.wrapping_add(self.unit);
        // SAFETY: rows unit.. of all columns of the matrix, and as many units of the operand, in a row, as the
        // matrix has columns: `fused` compared them.
        unsafe {
            T::add_columns(self.from, self.to, self.rows, column, stride, operand, count);
        }
        self.from = self.to;
    }
}

/// Leaves the sums of `count` columns in memory: of whole vectors of them or, if `PARTIAL`, of less than one.
struct Columns<'s, T, P, const PARTIAL: bool> {
    base: *const T,
    sources: &'s P,
    /// The first column.
    unit: usize,
    count: usize,
    to: *mut T,
}

impl<T: Scalar, L: Lanes<T>, P: Sources<T>, const PARTIAL: bool> Routine<L> for Columns<'_, T, P, PARTIAL> {
    type Output = ();

    #[inline(always)]
    fn run(self, lanes: L) {
        let Self { base, sources, mut unit, count, mut to } = self;
        let end = unit + count;
        while unit < end {
            let mut sums = [lanes.splat(T::ZERO); MAX_WIDTH];
            sources.visit(&mut ColumnsInMemory::<_, _, PARTIAL> {
                lanes,
                sums: &mut sums,
                first: unit,
                count,
            });
            let count = if PARTIAL { Some(count) } else { None };
            // SAFETY: the units exist.
            unsafe {
                let sums = if const { T::ASSEMBLY && !PARTIAL } {
                    lanes.load(T::sums_of_4(&*sums.as_ptr().cast()).as_ptr())
                } else {
                    lanes.sums(&sums)
                };
                super::store(lanes, to, lanes.add(start(lanes, base, unit, count), sums), count);
            }
            unit += L::WIDTH;
            to = to.wrapping_add(L::WIDTH);
            rolled();
        }
    }
}

/// Sums of columns, each along its rows.
struct ColumnsInMemory<'s, V, L, const PARTIAL: bool> {
    lanes: L,
    /// A vector a column.
    sums: &'s mut [V; MAX_WIDTH],
    first: usize,
    count: usize,
}

impl<T: Scalar, L: Lanes<T>, const PARTIAL: bool> EachTerm<T> for ColumnsInMemory<'_, L::Vector, L, PARTIAL> {
    #[inline(always)]
    fn term(&mut self, Term { matrix, stride, operand: x, count: rows }: Term<T>) {
        let Self { lanes, first, count, .. } = *self;
        let start = matrix.wrapping_add(first * stride);
        // Vectors of scalars lie in a row; so what fills no vector is done by the row.
        let columns = if PARTIAL { count } else { L::WIDTH };
        let width = if T::ASSEMBLY { T::ROWS } else { L::WIDTH };
        let whole = if PARTIAL { 0 } else { rows - rows % width };
        // SAFETY: rows of existing columns, as many units of the operand, and sums of WIDTH columns. Each pointer to the sums is made
        // where it is used: a reference to them made in between would end it.
        unsafe {
            if whole > 0 {
                if T::ASSEMBLY {
                    let sums = self.sums.as_mut_ptr().cast::<T>();
                    T::add_rows(sums, sums, start, stride, x, whole);
                } else {
                    add_rows(lanes, self.sums, start, stride, x, whole);
                }
            }
            if whole < rows {
                let sums = self.sums.as_mut_ptr().cast::<T>();
                ByRow { sums, width: L::WIDTH, start, columns, stride, x }.add(whole..rows);
            }
        }
    }
}

/// Adds `rows` rows of WIDTH columns. Every sum has a name: a compiler that optimizes for size leaves loops over arrays as
/// they are.
///
/// # Safety
/// The rows and columns must exist, and as many scalars from `x` on.
#[inline(always)]
unsafe fn add_rows<T: Scalar, L: Lanes<T>>(
    lanes: L,
    sums: &mut [L::Vector; MAX_WIDTH],
    start: *const T,
    stride: usize,
    mut x: *const T,
    rows: usize,
) {
    let (mut a, mut b, mut c, mut d) = (sums[0], sums[1], sums[2], sums[3]);
    let mut first = start;
    let mut second = first.wrapping_add(stride);
    let mut third = second.wrapping_add(stride);
    let mut fourth = third.wrapping_add(stride);
    let mut left = rows;
    // SAFETY: the same contract, which the caller keeps.
    unsafe {
        while left > 0 {
            let factor = lanes.load(x);
            a = lanes.mul_add(lanes.load(first), factor, a);
            b = lanes.mul_add(lanes.load(second), factor, b);
            first = first.wrapping_add(L::WIDTH);
            second = second.wrapping_add(L::WIDTH);
            if const { L::WIDTH > 2 } {
                c = lanes.mul_add(lanes.load(third), factor, c);
                d = lanes.mul_add(lanes.load(fourth), factor, d);
                third = third.wrapping_add(L::WIDTH);
                fourth = fourth.wrapping_add(L::WIDTH);
            }
            x = x.wrapping_add(L::WIDTH);
            left -= L::WIDTH;
            rolled();
        }
    }
    (sums[0], sums[1], sums[2], sums[3]) = (a, b, c, d);
}

/// Rows of columns, each into a lane of its own: those that fill no vector.
struct ByRow<T> {
    /// The sums of the columns, `width` lanes each, a power of two.
    sums: *mut T,
    width: usize,
    /// The first column.
    start: *const T,
    columns: usize,
    /// From column to column.
    stride: usize,
    x: *const T,
}

impl<T: Scalar> ByRow<T> {
    /// # Safety
    /// The rows and columns must exist, as many scalars from `x` on, and the sums.
    #[inline(always)]
    unsafe fn add(self, rows: Range<usize>) {
        for row in rows {
            for k in 0..self.columns {
                // SAFETY: the same contract, which the caller keeps.
                unsafe {
                    let sum = self.sums.add(k * self.width + (row & (self.width - 1)));
                    *sum = *self.start.add(k * self.stride + row) * *self.x.add(row) + *sum;
                }
                rolled();
            }
        }
    }
}
