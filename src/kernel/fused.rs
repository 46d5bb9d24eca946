//! The fused layer: out = finish(base + sum of matrix-vector products), with the change it makes, in one pass.
//!
//! One sample keeps the rows of the matrix in the lanes: y += M[:, j] x_j with y in registers, so that a sum has
//! no horizontal step; the transposed product takes a vector's worth of columns at a time. A batch
//! keeps samples in the lanes, and a weight is then one broadcast whichever way the matrix is read.

use super::{Activation, Matrix, MatrixMut, Scalar, ShapeError};
use crate::simd::{Lanes, MAX_WIDTH, Routine};
use core::marker::PhantomData;

/// What a fused layer starts its sums from.
#[derive(Clone, Copy, Debug)]
pub enum Base<'a, T> {
    /// Zero.
    Zero,
    /// One value a unit, the same for every sample.
    Bias(&'a [T]),
    /// One value a sample and unit: `samples x units`.
    Matrix(Matrix<'a, T>),
}

/// A product `x M^T` (or `x M` when transposed) of a batch `x`, `samples x units`, with a matrix.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a, T> {
    /// The matrix M.
    pub matrix: Matrix<'a, T>,
    /// The batch x, its rows samples.
    pub operand: Matrix<'a, T>,
}

/// What one pass changed, lane by lane. With one sample the lanes are units, with a batch they are samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<V> {
    /// Largest |new - old|.
    pub(crate) residual: V,
    /// Largest |new|.
    pub(crate) scale: V,
    /// 0, or NaN as soon as any z, or any new value with [`Finish::SHOWS`], was infinite or NaN.
    pub(crate) poison: V,
    /// Above zero where a sample is still to be changed. Not looked at with one sample.
    pub(crate) active: V,
}

impl<V: Copy> Change<V> {
    /// Nothing has changed yet, all samples may.
    #[inline(always)]
    pub(crate) fn none<T: Scalar, L: Lanes<T, Vector = V>>(lanes: L) -> Self {
        let zero = lanes.splat(T::ZERO);
        Self { residual: zero, scale: zero, poison: zero, active: lanes.splat(T::ONE) }
    }

    /// Forgets the change and keeps who is active.
    #[inline(always)]
    pub(crate) fn reset<T: Scalar, L: Lanes<T, Vector = V>>(&mut self, lanes: L) {
        *self = Self { active: self.active, ..Self::none(lanes) };
    }

    #[inline(always)]
    fn record<T: Scalar, L: Lanes<T, Vector = V>>(&mut self, lanes: L, z: V, old: V, new: V) {
        self.residual = lanes.max(lanes.abs(lanes.sub(new, old)), self.residual);
        self.scale = lanes.max(lanes.abs(new), self.scale);
        self.poison = lanes.mul_add(z, lanes.splat(T::ZERO), self.poison);
    }
}

/// Samples solved together: a chunk's states stay in the nearest cache, and it stops on its own.
pub(crate) const CHUNK: usize = 32;

/// Room for the changes of up to `C` samples on any backend: one sample, or a chunk of a batch.
pub(crate) struct Changes<V, const C: usize>([Change<V>; C]);

impl<V: Copy, const C: usize> Changes<V, C> {
    #[inline(always)]
    pub(crate) fn none<T: Scalar, L: Lanes<T, Vector = V>>(lanes: L) -> Self {
        Self([Change::none(lanes); C])
    }
    /// Those of `samples` samples, one a vector; lanes beyond the last sample are not active. With one sample
    /// the lanes of its one entry are units.
    #[inline(always)]
    pub(crate) fn of<T: Scalar, L: Lanes<T, Vector = V>>(
        &mut self,
        lanes: L,
        samples: usize,
    ) -> &mut [Change<V>] {
        if C == 1 {
            return &mut self.0;
        }
        let changes = self.0.get_mut(..samples.div_ceil(L::WIDTH)).unwrap_or_default();
        let rest = samples % L::WIDTH;
        if let Some(last) = changes.last_mut()
            && rest > 0
        {
            // SAFETY: `rest` < WIDTH <= MAX_WIDTH.
            last.active = unsafe { lanes.load_partial([T::ONE; MAX_WIDTH].as_ptr(), rest) };
        }
        changes
    }
}

/// What is done with a finished sum z.
pub(crate) trait Finish<T: Scalar>: Copy {
    /// Whether the new value may be infinite or NaN where z is not, and is so wherever z is.
    const SHOWS: bool;
    /// The new value of the unit at `offset` scalars from the start of the output; only the first `count` lanes
    /// count, if given.
    ///
    /// # Safety
    /// `offset` must lie in the output, with WIDTH or `count` scalars from it on.
    unsafe fn finish<L: Lanes<T>>(
        self,
        lanes: L,
        z: L::Vector,
        offset: usize,
        count: Option<usize>,
    ) -> L::Vector;
}

/// h = s(z).
#[derive(Clone, Copy)]
pub(crate) struct Activate<A>(pub(crate) PhantomData<A>);

impl<T: Scalar, A: Activation> Finish<T> for Activate<A> {
    const SHOWS: bool = false;
    #[inline(always)]
    unsafe fn finish<L: Lanes<T>>(self, lanes: L, z: L::Vector, _: usize, _: Option<usize>) -> L::Vector {
        A::value(lanes, z)
    }
}

/// d = s'(z) * (sum), with s' taken from the states h that lie as the output does.
#[derive(Clone, Copy)]
pub(crate) struct Backpropagate<'a, T, A> {
    states: Matrix<'a, T>,
    activation: PhantomData<A>,
}

impl<'a, T: Scalar, A: Activation> Backpropagate<'a, T, A> {
    /// # Errors
    /// [`ShapeError`] unless `states` has the shape and stride of `out`.
    #[inline(always)]
    pub(crate) fn new(states: Matrix<'a, T>, out: &MatrixMut<'_, T>) -> Result<Self, ShapeError> {
        expect("states", out.rows(), states.rows())?;
        expect("units", out.cols(), states.cols())?;
        expect("stride", out.stride(), states.stride())?;
        Ok(Self { states, activation: PhantomData })
    }
}

impl<T: Scalar, A: Activation> Finish<T> for Backpropagate<'_, T, A> {
    // The slope comes from states that may be anything.
    const SHOWS: bool = true;
    #[inline(always)]
    unsafe fn finish<L: Lanes<T>>(
        self,
        lanes: L,
        z: L::Vector,
        offset: usize,
        count: Option<usize>,
    ) -> L::Vector {
        // SAFETY: `new` compared the shapes, so what lies in the output lies in the states.
        let h = unsafe { load(lanes, self.states.start().add(offset), count) };
        lanes.mul(A::slope(lanes, h), z)
    }
}

/// # Safety
/// As [`Lanes::load`], or [`Lanes::load_partial`] with a count.
#[inline(always)]
pub(super) unsafe fn load<T: Scalar, L: Lanes<T>>(
    lanes: L,
    from: *const T,
    count: Option<usize>,
) -> L::Vector {
    match count {
        // SAFETY: handed on.
        None => unsafe { lanes.load(from) },
        // SAFETY: handed on.
        Some(count) => unsafe { lanes.load_partial(from, count) },
    }
}

/// # Safety
/// As [`Lanes::store`], or [`Lanes::store_partial`] with a count.
#[inline(always)]
pub(super) unsafe fn store<T: Scalar, L: Lanes<T>>(lanes: L, to: *mut T, v: L::Vector, count: Option<usize>) {
    match count {
        // SAFETY: handed on.
        None => unsafe { lanes.store(to, v) },
        // SAFETY: handed on.
        Some(count) => unsafe { lanes.store_partial(to, v, count) },
    }
}

#[inline(always)]
pub(super) fn expect(what: &'static str, expected: usize, found: usize) -> Result<(), ShapeError> {
    if expected == found { Ok(()) } else { Err(ShapeError { what, expected, found }) }
}

/// The largest magnitude in a matrix; NaN if any value is infinite or NaN.
#[inline(always)]
pub(crate) fn largest<T: Scalar, L: Lanes<T>>(lanes: L, matrix: Matrix<'_, T>) -> T {
    // What lies in a row is read as one long column.
    let (rows, cols) = if matrix.stride() == matrix.rows() {
        (matrix.rows() * matrix.cols(), 1)
    } else {
        (matrix.rows(), matrix.cols())
    };
    let mut change = Change::none(lanes);
    for column in 0..cols {
        let mut row = 0;
        while row < rows {
            let count = L::WIDTH.min(rows - row);
            // SAFETY: `count` scalars of an existing column.
            let v = unsafe {
                let from = matrix.start().add(column * matrix.stride() + row);
                load(lanes, from, (count < L::WIDTH).then_some(count))
            };
            change.record(lanes, v, v, v);
            row += L::WIDTH;
        }
    }
    lanes.reduce_max(change.scale) + lanes.reduce_add(change.poison)
}

/// Whether base and products give `samples x units`.
///
/// # Errors
/// [`ShapeError`] with what does not.
#[inline(always)]
pub(crate) fn shapes_fit<'a, const TRANSPOSED: bool, T: Scalar>(
    base: Base<'a, T>,
    products: impl Iterator<Item = Product<'a, T>>,
    samples: usize,
    units: usize,
) -> Result<(), ShapeError> {
    match base {
        Base::Zero => {}
        Base::Bias(bias) => expect("biases", units, bias.len())?,
        Base::Matrix(matrix) => {
            expect("samples of the base", samples, matrix.rows())?;
            expect("units of the base", units, matrix.cols())?;
        }
    }
    for Product { matrix, operand } in products {
        let (outputs, inputs) =
            if TRANSPOSED { (matrix.cols(), matrix.rows()) } else { (matrix.rows(), matrix.cols()) };
        expect("samples of an operand", samples, operand.rows())?;
        expect("units of an operand", inputs, operand.cols())?;
        expect("outputs of a matrix", units, outputs)?;
    }
    Ok(())
}

/// The fused layer, for one sample (`C` = 1, next to no other in memory) or for up to `C` samples of a batch.
/// `UNITS` is the number of units where it is known when compiling, else 0: it spares the code of blocks that are
/// never taken. `changes` holds one entry for one sample, or one for every `WIDTH` samples of a batch.
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit; nothing is changed then.
#[inline(always)]
pub(crate) fn fused<
    'a,
    const TRANSPOSED: bool,
    const C: usize,
    const UNITS: usize,
    T: Scalar,
    L: Lanes<T>,
    F: Finish<T>,
>(
    lanes: L,
    base: Base<'a, T>,
    products: impl Iterator<Item = Product<'a, T>> + Clone,
    finish: F,
    mut out: MatrixMut<'_, T>,
    changes: &mut [Change<L::Vector>],
) -> Result<(), ShapeError> {
    let (samples, units) = (out.rows(), out.cols());
    shapes_fit::<TRANSPOSED, T>(base, products.clone(), samples, units)?;
    if C == 1 {
        // With one sample next to another in memory, lanes over units would have to gather.
        expect("samples", 1, samples)?;
        expect("stride", 1, out.stride())?;
        if UNITS != 0 {
            expect("units", UNITS, units)?;
        }
        let single = Single { lanes, base, products, finish, out: out.start(), units };
        expect("changes", 1, changes.len())?;
        for change in changes {
            // SAFETY: the shapes were compared above and every stride of one sample is checked in `operand`.
            unsafe {
                if TRANSPOSED {
                    single.transposed::<UNITS>(change);
                } else {
                    single.straight::<UNITS>(change);
                }
            }
        }
    } else {
        expect("changes", samples.div_ceil(L::WIDTH), changes.len())?;
        let batch = Batch::<TRANSPOSED, _, _, _, _> {
            lanes,
            base,
            products,
            finish,
            stride: out.stride(),
            out: out.start(),
            samples,
            units,
        };
        // SAFETY: the shapes were compared above.
        unsafe { batch.run(changes) };
    }
    Ok(())
}

/// [`fused`] in a function of its own, one copy for all callers.
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit; nothing is changed then.
#[inline(always)]
pub(crate) fn fused_shared<
    'a,
    const TRANSPOSED: bool,
    const C: usize,
    T: Scalar,
    L: Lanes<T>,
    F: Finish<T>,
>(
    lanes: L,
    base: Base<'a, T>,
    products: impl Iterator<Item = Product<'a, T>> + Clone,
    finish: F,
    out: MatrixMut<'_, T>,
    changes: &mut [Change<L::Vector>],
) -> Result<(), ShapeError> {
    lanes.vectorize(Shared::<TRANSPOSED, C, _, _, _, _> { base, products, finish, out, changes })
}

struct Shared<'a, 'b, const TRANSPOSED: bool, const C: usize, T, P, F, V> {
    base: Base<'a, T>,
    products: P,
    finish: F,
    out: MatrixMut<'b, T>,
    changes: &'b mut [Change<V>],
}

impl<'a, const TRANSPOSED: bool, const C: usize, T, P, F, L> Routine<L>
    for Shared<'a, '_, TRANSPOSED, C, T, P, F, L::Vector>
where
    T: Scalar,
    L: Lanes<T>,
    P: Iterator<Item = Product<'a, T>> + Clone,
    F: Finish<T>,
{
    type Output = Result<(), ShapeError>;

    #[inline(always)]
    fn run(self, lanes: L) -> Self::Output {
        fused::<TRANSPOSED, C, 0, T, L, F>(
            lanes,
            self.base,
            self.products,
            self.finish,
            self.out,
            self.changes,
        )
    }
}

/// One sample: units in the lanes.
struct Single<'a, T, L, P, F> {
    lanes: L,
    base: Base<'a, T>,
    products: P,
    finish: F,
    out: *mut T,
    units: usize,
}

impl<'a, T: Scalar, L: Lanes<T>, P: Iterator<Item = Product<'a, T>> + Clone, F: Finish<T>>
    Single<'a, T, L, P, F>
{
    /// The base of `count` (or WIDTH) units from `unit`.
    #[inline(always)]
    unsafe fn start(&self, unit: usize, count: Option<usize>) -> L::Vector {
        let from = match self.base {
            Base::Zero => return self.lanes.splat(T::ZERO),
            Base::Bias(bias) => bias.as_ptr(),
            Base::Matrix(matrix) if matrix.stride() == 1 || self.units == 1 => matrix.start(),
            Base::Matrix(matrix) => {
                let mut gathered = [T::ZERO; MAX_WIDTH];
                for (i, lane) in gathered.iter_mut().enumerate().take(count.unwrap_or(L::WIDTH)) {
                    // SAFETY: unit + i is a column of the base, whose shape `fused` compared.
                    *lane = unsafe { *matrix.start().add((unit + i) * matrix.stride()) };
                }
                // SAFETY: the array holds MAX_WIDTH >= WIDTH scalars.
                return unsafe { self.lanes.load(gathered.as_ptr()) };
            }
        };
        // SAFETY: the base has `units` scalars in a row, and unit + count (or WIDTH) lies among them.
        unsafe { load(self.lanes, from.add(unit), count) }
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
    unsafe fn straight<const UNITS: usize>(&self, change: &mut Change<L::Vector>) {
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
            if L::SPLIT {
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
        for Product { matrix, operand } in self.products.clone() {
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
        }
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
    unsafe fn transposed<const UNITS: usize>(&self, change: &mut Change<L::Vector>) {
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
        let mut sums = [lanes.splat(T::ZERO); MAX_WIDTH];
        let mut starts = [core::ptr::null::<T>(); MAX_WIDTH];
        for Product { matrix, operand } in self.products.clone() {
            let rows = matrix.rows();
            let last = self.units - 1;
            for (k, start) in starts.iter_mut().enumerate().take(L::WIDTH) {
                *start = matrix.start().wrapping_add((first + k).min(last) * matrix.stride());
            }
            let whole = rows - rows % L::WIDTH;
            let mut row = 0;
            // SAFETY: row + WIDTH (or the rest) <= rows of existing columns; the operand has as many units.
            unsafe {
                while row < whole {
                    let x = self.operand(operand, row, None);
                    for (sum, start) in sums.iter_mut().zip(starts).take(L::WIDTH) {
                        *sum = lanes.mul_add(lanes.load(start.add(row)), x, *sum);
                    }
                    row += L::WIDTH;
                }
                if row < rows {
                    let rest = Some(rows - row);
                    let x = self.operand(operand, row, rest);
                    for (sum, start) in sums.iter_mut().zip(starts).take(L::WIDTH) {
                        *sum = lanes.mul_add(load(lanes, start.add(row), rest), x, *sum);
                    }
                }
            }
        }
        lanes.sums(&sums)
    }

    /// Units of the operand from `unit` on, gathered if they do not lie in a row.
    #[inline(always)]
    unsafe fn operand(&self, operand: Matrix<'a, T>, unit: usize, count: Option<usize>) -> L::Vector {
        if operand.stride() == 1 || operand.cols() == 1 {
            // SAFETY: the caller's units exist and lie in a row.
            return unsafe { load(self.lanes, operand.start().add(unit), count) };
        }
        let mut gathered = [T::ZERO; MAX_WIDTH];
        for (i, lane) in gathered.iter_mut().enumerate().take(count.unwrap_or(L::WIDTH)) {
            // SAFETY: the caller's units exist.
            *lane = unsafe { *operand.start().add((unit + i) * operand.stride()) };
        }
        // SAFETY: the array holds MAX_WIDTH >= WIDTH scalars.
        unsafe { self.lanes.load(gathered.as_ptr()) }
    }
}

/// A batch: samples in the lanes, weights as broadcasts.
struct Batch<'a, const TRANSPOSED: bool, T, L, P, F> {
    lanes: L,
    base: Base<'a, T>,
    products: P,
    finish: F,
    out: *mut T,
    stride: usize,
    samples: usize,
    units: usize,
}

impl<
    'a,
    const TRANSPOSED: bool,
    T: Scalar,
    L: Lanes<T>,
    P: Iterator<Item = Product<'a, T>> + Clone,
    F: Finish<T>,
> Batch<'a, TRANSPOSED, T, L, P, F>
{
    /// Two vectors of samples at a time, then one, then a masked one.
    #[inline(always)]
    unsafe fn run(&self, changes: &mut [Change<L::Vector>]) {
        let mut sample = 0;
        let (pairs, rest) = changes.as_chunks_mut::<2>();
        for pair in pairs {
            if self.samples - sample >= 2 * L::WIDTH {
                // SAFETY: both vectors of samples exist.
                unsafe { self.group::<4, 2>(sample, None, pair) };
                sample += 2 * L::WIDTH;
            } else {
                for change in pair {
                    // SAFETY: `single` masks what does not exist.
                    unsafe { self.single(sample, change) };
                    sample += L::WIDTH;
                }
            }
        }
        for change in rest {
            // SAFETY: as above.
            unsafe { self.single(sample, change) };
            sample += L::WIDTH;
        }
    }

    #[inline(always)]
    unsafe fn single(&self, sample: usize, change: &mut Change<L::Vector>) {
        let count = self.samples.saturating_sub(sample);
        let change = core::array::from_mut(change);
        // SAFETY: WIDTH or `count` samples exist from `sample` on.
        unsafe {
            if count >= L::WIDTH {
                self.group::<8, 1>(sample, None, change);
            } else {
                self.group::<8, 1>(sample, Some(count), change);
            }
        }
    }

    /// All units for `C` vectors of samples, `R` units at a time.
    #[inline(always)]
    unsafe fn group<const R: usize, const C: usize>(
        &self,
        sample: usize,
        count: Option<usize>,
        changes: &mut [Change<L::Vector>; C],
    ) {
        let mut changed = *changes;
        let mut unit = 0;
        // SAFETY: units below `units`, samples the caller's.
        unsafe {
            while self.units - unit >= R {
                self.tile::<R, C>(unit, sample, count, &mut changed);
                unit += R;
            }
            while self.units > unit {
                self.tile::<1, C>(unit, sample, count, &mut changed);
                unit += 1;
            }
        }
        *changes = changed;
    }

    /// `R` units for `C` vectors of samples.
    #[inline(always)]
    unsafe fn tile<const R: usize, const C: usize>(
        &self,
        unit: usize,
        sample: usize,
        count: Option<usize>,
        changes: &mut [Change<L::Vector>; C],
    ) {
        let lanes = self.lanes;
        let mut sums = [[lanes.splat(T::ZERO); C]; R];
        for (r, sums) in sums.iter_mut().enumerate() {
            match self.base {
                Base::Zero => {}
                // SAFETY: unit + r < units, the length of the bias.
                Base::Bias(bias) => *sums = [lanes.splat(unsafe { *bias.as_ptr().add(unit + r) }); C],
                Base::Matrix(matrix) => {
                    for (c, sum) in sums.iter_mut().enumerate() {
                        let offset = (unit + r) * matrix.stride() + sample + c * L::WIDTH;
                        // SAFETY: the base has the samples and units of the output.
                        *sum = unsafe { load(lanes, matrix.start().add(offset), count) };
                    }
                }
            }
        }
        for Product { matrix, operand } in self.products.clone() {
            let inputs = if TRANSPOSED { matrix.rows() } else { matrix.cols() };
            let (row, column) = if TRANSPOSED { (matrix.stride(), 1) } else { (1, matrix.stride()) };
            // SAFETY: weights of existing rows and columns, operands of existing samples and units: `fused`
            // compared the shapes.
            unsafe {
                let mut weights = matrix.start().wrapping_add(unit * row);
                let mut x = operand.start().wrapping_add(sample);
                for _ in 0..inputs {
                    let mut xs = [lanes.splat(T::ZERO); C];
                    for (c, x_c) in xs.iter_mut().enumerate() {
                        *x_c = load(lanes, x.add(c * L::WIDTH), count);
                    }
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let weight = lanes.splat(*weights.add(r * row));
                        for (sum, x_c) in sums.iter_mut().zip(xs) {
                            *sum = lanes.mul_add(weight, x_c, *sum);
                        }
                    }
                    weights = weights.wrapping_add(column);
                    x = x.wrapping_add(operand.stride());
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (c, (z, change)) in sums.iter().zip(changes.iter_mut()).enumerate() {
                let offset = (unit + r) * self.stride + sample + c * L::WIDTH;
                // SAFETY: the output's own units and samples.
                unsafe {
                    let old = load(lanes, self.out.add(offset), count);
                    let new = self.finish.finish(lanes, *z, offset, count);
                    let new = lanes.select(lanes.less(lanes.splat(T::ZERO), change.active), new, old);
                    change.record(lanes, if F::SHOWS { new } else { *z }, old, new);
                    store(lanes, self.out.add(offset), new, count);
                }
            }
        }
    }
}
