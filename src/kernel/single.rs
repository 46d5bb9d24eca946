//! The fused layer of one sample: units in the lanes.
//!
//! y += M[:, j] x_j with y in registers, so that a sum has no horizontal step; the transposed product takes a
//! vector's worth of columns at a time.

use super::{Base, Change, EachProduct, Finish, Product, Products, Scalar, load, rolled, store};
use crate::simd::{Lanes, MAX_WIDTH, Routine};
use core::mem::MaybeUninit;
use core::ops::Range;

/// One sample: units in the lanes. Its base and its operands lie in a row.
pub(super) struct Single<'a, 'p, T, L, P, F> {
    pub(super) lanes: L,
    pub(super) base: Base<'a, T>,
    pub(super) products: &'p P,
    pub(super) finish: F,
    pub(super) out: *mut T,
    pub(super) units: usize,
}

impl<'a, T: Scalar, L: Lanes<T>, P: Products<'a, T>, F: Finish<T>> Single<'a, '_, T, L, P, F> {
    /// Blocks of rows, the tallest first, then what is left.
    #[inline(always)]
    pub(super) unsafe fn straight<const UNITS: usize>(&self, change: &mut Change<L::Vector>) {
        let mut unit = 0;
        // SAFETY: every block lies below `units`.
        unsafe {
            if const { L::BLOCKING.rows >= 8 && (UNITS == 0 || UNITS >= 8 * L::WIDTH) } {
                while self.units - unit >= 8 * L::WIDTH {
                    self.rows::<8, 1>(unit, None, change);
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
            if const { L::BLOCKING.shared } {
                if const { UNITS == 0 || !UNITS.is_multiple_of(2 * L::WIDTH) } {
                    self.rest::<UNITS>(unit, change);
                }
                return;
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

    /// What the tall blocks have left, a vector at a time; the last one may do units again that are already done, which
    /// does not change them and spares the code of parts of vectors.
    #[inline(always)]
    unsafe fn rest<const UNITS: usize>(&self, mut unit: usize, change: &mut Change<L::Vector>) {
        // SAFETY: every block lies below `units`.
        unsafe {
            if const { UNITS == 0 || UNITS >= L::WIDTH } && self.units >= L::WIDTH {
                while unit < self.units {
                    self.rows::<1, 1>(unit.min(self.units - L::WIDTH), None, change);
                    unit += L::WIDTH;
                }
            } else if const { UNITS < L::WIDTH } {
                self.rows::<1, 1>(unit, Some(self.units), change);
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
        let Self { lanes, base, products, .. } = *self;
        let mut room = MaybeUninit::<[T; 4 * MAX_WIDTH]>::uninit();
        let to = if F::RECORDS { room.as_mut_ptr().cast() } else { self.out.wrapping_add(unit) };
        // SAFETY: the caller's block lies in the units; blocks of shared code have at most four vectors.
        unsafe {
            if const { L::BLOCKING.shared } {
                match count {
                    None => {
                        lanes.vectorize(SumRows::<_, _, V, S, false> { base, products, unit, count: 0, to })
                    }
                    Some(count) => {
                        lanes.vectorize(SumRows::<_, _, V, S, true> { base, products, unit, count, to });
                    }
                }
                if F::RECORDS {
                    self.finish_one_by_one(to, unit, count.unwrap_or(V * L::WIDTH), change);
                }
                return;
            }
            let z = match count {
                None => SumRows::<_, _, V, S, false> { base, products, unit, count: 0, to }.sums(lanes),
                Some(count) => SumRows::<_, _, V, S, true> { base, products, unit, count, to }.sums(lanes),
            };
            self.finish(&z, unit, count, change);
        }
    }

    /// A vector's worth of columns at a time, each summed along its rows.
    #[inline(always)]
    pub(super) unsafe fn transposed<const UNITS: usize>(&self, change: &mut Change<L::Vector>) {
        let mut unit = 0;
        // SAFETY: every block lies below `units`.
        unsafe {
            if const { L::BLOCKING.shared && (UNITS == 0 || UNITS >= L::WIDTH) } && self.units >= L::WIDTH {
                return self.transposed_in_blocks(change);
            }
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

    /// Several vectors of sums, then what becomes of them. The last vector may be summed again, as in
    /// [`rest`](Self::rest).
    #[inline(always)]
    unsafe fn transposed_in_blocks(&self, change: &mut Change<L::Vector>) {
        let Self { lanes, base, products, units, .. } = *self;
        let mut z = [const { MaybeUninit::<L::Vector>::uninit() }; 4];
        let mut unit = 0;
        while unit < units {
            let first = unit.min(units - L::WIDTH);
            let vectors = ((units - first) / L::WIDTH).min(z.len());
            for (v, z) in z.iter_mut().enumerate().take(vectors) {
                let unit = first + v * L::WIDTH;
                z.write(lanes.vectorize(SumColumns::<_, _, false> { base, products, unit, count: L::WIDTH }));
            }
            // SAFETY: so many vectors have been written, and so many units exist from `first` on.
            unsafe { self.finish_one_by_one(z.as_ptr().cast(), first, vectors * L::WIDTH, change) };
            unit = first + vectors * L::WIDTH;
        }
    }

    #[inline(always)]
    unsafe fn columns(&self, unit: usize, count: Option<usize>, change: &mut Change<L::Vector>) {
        let Self { lanes, base, products, .. } = *self;
        let z = match count {
            None => {
                sum::<T, _, _>(lanes, SumColumns::<_, _, false> { base, products, unit, count: L::WIDTH })
            }
            Some(count) => sum::<T, _, _>(lanes, SumColumns::<_, _, true> { base, products, unit, count }),
        };
        // SAFETY: handed on.
        unsafe { self.finish(&[z], unit, count, change) };
    }

    /// Finishes the units whose sums are `z`.
    #[inline(always)]
    unsafe fn finish(
        &self,
        z: &[L::Vector],
        unit: usize,
        count: Option<usize>,
        change: &mut Change<L::Vector>,
    ) {
        // SAFETY: handed on; vectors of scalars lie in a row.
        unsafe {
            if const { L::BLOCKING.shared } {
                let count = count.unwrap_or(z.len() * L::WIDTH);
                return self.finish_one_by_one(z.as_ptr().cast(), unit, count, change);
            }
            let ending = Ending { finish: self.finish, out: self.out, unit };
            for (v, z) in z.iter().enumerate() {
                ending.store(self.lanes, *z, v * L::WIDTH, count, change);
            }
        }
    }

    /// Finishes `count` units with narrow lanes.
    #[inline(always)]
    unsafe fn finish_one_by_one(
        &self,
        sums: *const T,
        unit: usize,
        count: usize,
        change: &mut Change<L::Vector>,
    ) {
        let ending = Ending { finish: self.finish, out: self.out, unit };
        let narrow = self.lanes.narrow();
        let changed = narrow.vectorize(OneByOne { ending, sums, count, change: Change::none(narrow) });
        change.widen(self.lanes, changed, narrow);
    }
}

/// The units that blocks of eight vectors leave, if there are any such blocks.
const fn left<T: Scalar, L: Lanes<T>>(units: usize) -> usize {
    if L::BLOCKING.rows >= 8 { units % (8 * L::WIDTH) } else { units }
}

/// What becomes of the sums of one sample.
#[derive(Clone, Copy)]
struct Ending<T, F> {
    finish: F,
    out: *mut T,
    /// The unit of the first sum.
    unit: usize,
}

impl<T: Scalar, F: Finish<T>> Ending<T, F> {
    /// Stores what is made of the sums `z`, `at` units on.
    ///
    /// # Safety
    /// `count` (or WIDTH) units must exist there.
    #[inline(always)]
    unsafe fn store<L: Lanes<T>>(
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
            let mut new = self.finish.finish(lanes, z, unit, count);
            store(lanes, self.out.add(unit), new, count);
            if let Some(count) = count {
                // Lanes beyond the units may hold anything, and are not to count as a change.
                let zero = lanes.splat(T::ZERO);
                let ones = lanes.load_partial([T::ONE; MAX_WIDTH].as_ptr(), count);
                new = lanes.select(lanes.less(zero, ones), new, old);
            }
            change.record(lanes, if F::SHOWS { new } else { z }, old, new);
        }
    }
}

/// Finishes units with narrow lanes, in a loop.
struct OneByOne<T, F, V> {
    ending: Ending<T, F>,
    sums: *const T,
    count: usize,
    change: Change<V>,
}

impl<T: Scalar, F: Finish<T>, L: Lanes<T>> Routine<L> for OneByOne<T, F, L::Vector> {
    type Output = Change<L::Vector>;

    #[inline(always)]
    fn run(self, lanes: L) -> Self::Output {
        let Self { ending, sums, count, mut change } = self;
        let mut at = 0;
        while at < count {
            // SAFETY: `count` units and as many sums; narrow lanes are scalars.
            unsafe { ending.store(lanes, lanes.load(sums.add(at)), at, None, &mut change) };
            at += L::WIDTH;
            rolled();
        }
        change
    }
}

/// Sums, in a function of its own where code is to be shared.
#[inline(always)]
fn sum<T: Scalar, L: Lanes<T>, R: Routine<L>>(lanes: L, routine: R) -> R::Output {
    if const { L::BLOCKING.shared } { lanes.vectorize(routine) } else { routine.run(lanes) }
}

/// Hands every product to `each`; in a loop where code is to be shared.
#[inline(always)]
fn visit<'a, T: Scalar, L: Lanes<T>>(
    _: L,
    products: &impl Products<'a, T>,
    each: &mut impl EachProduct<'a, T>,
) {
    if const { L::BLOCKING.shared } {
        let mut index = 0;
        while let Some(product) = products.at(index) {
            each.product(product);
            index += 1;
        }
    } else {
        products.visit(each);
    }
}

/// The base of `count` (or WIDTH) units from `unit`.
///
/// # Safety
/// These units must exist, and lie in a row.
#[inline(always)]
unsafe fn start<T: Scalar, L: Lanes<T>>(
    lanes: L,
    base: Base<'_, T>,
    unit: usize,
    count: Option<usize>,
) -> L::Vector {
    let from = match base {
        Base::Zero => return lanes.splat(T::ZERO),
        Base::Bias(bias) => bias.as_ptr(),
        Base::Matrix(matrix) => matrix.start(),
    };
    // SAFETY: handed on.
    unsafe { load(lanes, from.add(unit), count) }
}

/// The sums of `N` vectors of rows, or of `count` rows if `PARTIAL`, the columns split over `S` accumulators.
struct SumRows<'a, 'p, T, P, const N: usize, const S: usize, const PARTIAL: bool> {
    base: Base<'a, T>,
    products: &'p P,
    unit: usize,
    count: usize,
    /// Where a function of its own leaves the sums.
    to: *mut T,
}

impl<'a, T: Scalar, L: Lanes<T>, P: Products<'a, T>, const N: usize, const S: usize, const PARTIAL: bool>
    Routine<L> for SumRows<'a, '_, T, P, N, S, PARTIAL>
{
    type Output = ();

    #[inline(always)]
    fn run(self, lanes: L) {
        let Self { base, products, unit, count, to } = self;
        if const { T::ASSEMBLY && !PARTIAL } {
            let from = match base {
                Base::Zero => {
                    for v in 0..N {
                        // SAFETY: N vectors of sums.
                        unsafe { lanes.store(to.add(v * L::WIDTH), lanes.splat(T::ZERO)) };
                    }
                    to
                }
                Base::Bias(bias) => bias.as_ptr().wrapping_add(unit),
                Base::Matrix(matrix) => matrix.start().wrapping_add(unit),
            };
            let mut rows = RowsInMemory { from, to, rows: N * L::WIDTH, unit };
            visit(lanes, products, &mut rows);
            if rows.from != to {
                for v in 0..N {
                    // SAFETY: as above.
                    unsafe { lanes.store(to.add(v * L::WIDTH), lanes.load(rows.from.add(v * L::WIDTH))) };
                }
            }
            return;
        }
        let count = if PARTIAL { Some(count) } else { None };
        for (v, z) in self.sums(lanes).iter().enumerate() {
            // SAFETY: N vectors of sums, or `count` units.
            unsafe { store(lanes, to.add(v * L::WIDTH), *z, count) };
        }
    }
}

impl<'a, T: Scalar, P: Products<'a, T>, const N: usize, const S: usize, const PARTIAL: bool>
    SumRows<'a, '_, T, P, N, S, PARTIAL>
{
    #[inline(always)]
    fn sums<L: Lanes<T>>(&self, lanes: L) -> [L::Vector; N] {
        let Self { base, products, unit, count, .. } = *self;
        let count = if PARTIAL { Some(count) } else { None };
        let mut sums = [[lanes.splat(T::ZERO); N]; S];
        for (v, sum) in sums[0].iter_mut().enumerate() {
            // SAFETY: the block lies in the units.
            *sum = unsafe { start(lanes, base, unit + v * L::WIDTH, count) };
        }
        let mut rows = Rows { lanes, sums, unit, count };
        visit(lanes, products, &mut rows);
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
        sums[0]
    }
}

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
        let mut column = matrix.start().wrapping_add(unit);
        let mut x = operand.start();
        let mut left = matrix.cols();
        // SAFETY: rows unit.. of all columns of the matrix, and as many units of the operand, in a row, as the
        // matrix has columns: `fused` compared them.
        unsafe {
            while left >= S {
                for (s, sums) in sums.iter_mut().enumerate() {
                    let factor = lanes.splat(*x.add(s));
                    for (v, sum) in sums.iter_mut().enumerate() {
                        let weights = load(lanes, column.add(s * stride + v * L::WIDTH), count);
                        *sum = lanes.mul_add(weights, factor, *sum);
                    }
                }
                column = column.wrapping_add(S * stride);
                x = x.wrapping_add(S);
                left -= S;
            }
            while const { S > 1 } && left > 0 {
                let factor = lanes.splat(*x);
                for (v, sum) in sums[0].iter_mut().enumerate() {
                    let weights = load(lanes, column.add(v * L::WIDTH), count);
                    *sum = lanes.mul_add(weights, factor, *sum);
                }
                column = column.wrapping_add(stride);
                x = x.wrapping_add(1);
                left -= 1;
            }
        }
        self.sums = sums;
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

impl<'a, T: Scalar> EachProduct<'a, T> for RowsInMemory<T> {
    #[inline(always)]
    fn product(&mut self, Product { matrix, operand }: Product<'a, T>) {
        let (column, x) = (matrix.start().wrapping_add(self.unit), operand.start());
        // SAFETY: rows unit.. of all columns of the matrix, and as many units of the operand, in a row, as the
        // matrix has columns: `fused` compared them.
        unsafe {
            T::add_columns(self.from, self.to, self.rows, column, matrix.stride(), x, matrix.cols());
        }
        self.from = self.to;
    }
}

/// Four sums of four `f32` columns, all zero.
static ZEROS: [u64; 8] = [0; 8];

/// The sums of WIDTH columns; or, if `PARTIAL`, of `count`, and beyond the last column of it again.
struct SumColumns<'a, 'p, T, P, const PARTIAL: bool> {
    base: Base<'a, T>,
    products: &'p P,
    unit: usize,
    count: usize,
}

impl<'a, T: Scalar, L: Lanes<T>, P: Products<'a, T>, const PARTIAL: bool> Routine<L>
    for SumColumns<'a, '_, T, P, PARTIAL>
{
    type Output = L::Vector;

    #[inline(always)]
    fn run(self, lanes: L) -> L::Vector {
        let Self { base, products, unit, count } = self;
        if const { T::ASSEMBLY && !PARTIAL } {
            // Sums that start from zeros in memory: there is an instruction that loads them all.
            let mut sums = MaybeUninit::<[T; 16]>::uninit();
            let (from, to) = (ZEROS.as_ptr().cast(), sums.as_mut_ptr().cast());
            let mut columns = ColumnsInMemory { from, to, first: unit };
            // Short enough to be there twice.
            products.visit(&mut columns);
            // SAFETY: a product has filled them; without any, the zeros are read. The units exist.
            return unsafe {
                let totals = T::sums_of_4(&*columns.from.cast());
                lanes.add(start(lanes, base, unit, None), lanes.load(totals.as_ptr()))
            };
        }
        let sums = [lanes.splat(T::ZERO); MAX_WIDTH];
        let mut columns = Columns::<_, _, PARTIAL> { lanes, sums, first: unit, count };
        visit(lanes, products, &mut columns);
        let count = if PARTIAL { Some(count) } else { None };
        // SAFETY: the units exist.
        unsafe { lanes.add(start(lanes, base, unit, count), lanes.sums(&columns.sums)) }
    }
}

struct Columns<V, L, const PARTIAL: bool> {
    lanes: L,
    sums: [V; MAX_WIDTH],
    /// The first column.
    first: usize,
    /// How many there are.
    count: usize,
}

impl<'a, T: Scalar, L: Lanes<T>, const PARTIAL: bool> EachProduct<'a, T> for Columns<L::Vector, L, PARTIAL> {
    #[inline(always)]
    fn product(&mut self, Product { matrix, operand }: Product<'a, T>) {
        let Self { lanes, first, count, .. } = *self;
        let start = matrix.start().wrapping_add(first * matrix.stride());
        let column =
            |k: usize| start.wrapping_add(if PARTIAL { k.min(count - 1) } else { k } * matrix.stride());
        let rows = matrix.rows();
        let whole = rows - rows % L::WIDTH;
        let mut row = 0;
        // Vectors of scalars lie in a row; so what is left, where code is to be short, is done by the row.
        let by_row = const { L::BLOCKING.shared };
        if !by_row || row < whole {
            let mut sums = self.sums;
            let mut starts = [core::ptr::null::<T>(); MAX_WIDTH];
            for (k, start) in starts.iter_mut().enumerate().take(L::WIDTH) {
                *start = column(k);
            }
            // SAFETY: row + WIDTH (or the rest) <= rows of existing columns; the operand has as many units, in a row.
            unsafe {
                while row < whole {
                    let x = lanes.load(operand.start().add(row));
                    for (sum, start) in sums.iter_mut().zip(starts).take(L::WIDTH) {
                        *sum = lanes.mul_add(lanes.load(start.add(row)), x, *sum);
                    }
                    row += L::WIDTH;
                }
                if !by_row && row < rows {
                    let x = lanes.load_partial(operand.start().add(row), rows - row);
                    for (sum, start) in sums.iter_mut().zip(starts).take(L::WIDTH) {
                        *sum = lanes.mul_add(lanes.load_partial(start.add(row), rows - row), x, *sum);
                    }
                }
            }
            self.sums = sums;
        }
        if by_row && whole < rows {
            let (sums, x, stride) = (self.sums.as_mut_ptr().cast(), operand.start(), matrix.stride());
            let columns = if PARTIAL { count } else { L::WIDTH };
            // SAFETY: rows of existing columns, as many units of the operand, and sums of WIDTH columns.
            unsafe { ByRow { sums, width: L::WIDTH, start, columns, stride, x }.add(whole..rows) };
        }
    }
}

/// Rows of columns, each into a lane of its own: those that fill no vector.
struct ByRow<T> {
    /// The sums of the columns, `width` lanes each.
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
    /// A function of its own, so that what it needs is not prepared where there are no such rows.
    ///
    /// # Safety
    /// The rows and columns must exist, as many scalars from `x` on, and the sums.
    #[inline(never)]
    unsafe fn add(self, rows: Range<usize>) {
        let whole = rows.start;
        for row in rows {
            for k in 0..self.columns {
                // SAFETY: handed on.
                unsafe {
                    let sum = self.sums.add(k * self.width + row - whole);
                    *sum = *self.start.add(k * self.stride + row) * *self.x.add(row) + *sum;
                }
                rolled();
            }
        }
    }
}

/// Sums of four columns that lie in memory, for assembly.
struct ColumnsInMemory<T> {
    /// Where the sums so far are: zeros at first, then `to`.
    from: *const T,
    to: *mut T,
    first: usize,
}

impl<'a, T: Scalar> EachProduct<'a, T> for ColumnsInMemory<T> {
    #[inline(always)]
    fn product(&mut self, Product { matrix, operand }: Product<'a, T>) {
        let (stride, rows) = (matrix.stride(), matrix.rows());
        let start = matrix.start().wrapping_add(self.first * stride);
        let whole = rows - rows % 4;
        // SAFETY: `whole` rows of four columns, and as many units of the operand; then those that are left.
        unsafe {
            if whole > 0 {
                T::add_rows(self.from, self.to, start, stride, operand.start(), whole);
            } else if self.from != self.to {
                for i in 0..16 {
                    *self.to.add(i) = *self.from.add(i);
                    rolled();
                }
            }
            self.from = self.to;
            if whole < rows {
                let (sums, x) = (self.to, operand.start());
                ByRow { sums, width: 4, start, columns: 4, stride, x }.add(whole..rows);
            }
        }
    }
}
