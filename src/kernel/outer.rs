//! The outer-product update M += d^T h, summed over the samples of a batch: what every weight gradient is.

use super::tile::{CUT, LAST, Operand, WHOLE, add, in_whole_tiles};
use super::{Matrix, MatrixMut, Scalar, ShapeError, expect, load, rolled, store};
use crate::simd::{Lanes, Operation, Routine, SQUARE};

/// Samples that are brought into weight order at a time.
const SAMPLES: usize = 32;
/// Scalars of the scratch they are brought into: two vectors of rows for each sample.
const SCRATCH: usize = SAMPLES * 2 * crate::simd::MAX_WIDTH;

/// `gradient[i, j] += factor * sum over samples of deltas[sample, i] * inputs[sample, j]`.
pub(crate) struct Outer<'a, T> {
    pub(crate) factor: T,
    pub(crate) deltas: Matrix<'a, T>,
    pub(crate) inputs: Matrix<'a, T>,
    pub(crate) gradient: MatrixMut<'a, T>,
}

impl<T: Scalar, L: Lanes<T>> Routine<L> for Outer<'_, T> {
    type Output = Result<(), ShapeError>;

    #[inline(always)]
    fn run(self, lanes: L) -> Self::Output {
        outer(lanes, self)
    }
}

impl<T: Scalar> Operation<T> for Outer<'_, T> {
    type Output = Result<(), ShapeError>;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output {
        outer(lanes, self)
    }
}

/// An [`Outer`] as a function of its own, wherever it runs.
pub(crate) struct OuterOutlined<'a, T>(pub(crate) Outer<'a, T>);

impl<T: Scalar> Operation<T> for OuterOutlined<'_, T> {
    type Output = Result<(), ShapeError>;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output {
        lanes.vectorize(self.0)
    }
}

/// [`Outer`] of one sample with what was sent, what was fed back and a constant 1, whose matrices lie side by side.
pub(crate) struct SideBySide<'a, T> {
    pub(crate) factor: T,
    pub(crate) deltas: Matrix<'a, T>,
    pub(crate) sent: Matrix<'a, T>,
    pub(crate) fed_back: Matrix<'a, T>,
    pub(crate) gradient: MatrixMut<'a, T>,
}

impl<T: Scalar> SideBySide<'_, T> {
    /// # Errors
    /// [`ShapeError`] if the shapes do not fit; nothing is changed then.
    #[inline(always)]
    pub(crate) fn add<L: Lanes<T>>(self, lanes: L) -> Result<(), ShapeError> {
        let Self { factor, deltas, sent, fed_back, mut gradient } = self;
        expect_row(deltas)?;
        expect_row(sent)?;
        expect_row(fed_back)?;
        expect("rows of the gradient", deltas.cols(), gradient.rows())?;
        expect("columns of the gradient", sent.cols() + fed_back.cols() + 1, gradient.cols())?;
        lanes.vectorize(AddColumns {
            factor,
            deltas: deltas.start(),
            inputs: [
                (sent.start(), sent.cols()),
                (fed_back.start(), fed_back.cols()),
                (T::ONE_PLACE.as_ptr(), 1),
            ],
            rows: gradient.rows(),
            gradient: gradient.start(),
            stride: gradient.stride(),
        });
        Ok(())
    }
}

/// # Errors
/// [`ShapeError`] unless it is one sample in a row.
#[inline(always)]
fn expect_row<T>(matrix: Matrix<'_, T>) -> Result<(), ShapeError> {
    expect("samples", 1, matrix.rows())?;
    expect("stride", 1, matrix.stride())
}

/// [`SideBySide`] whose shapes fit, all operands in a row.
struct AddColumns<T> {
    factor: T,
    deltas: *const T,
    /// Where they start, and how many there are.
    inputs: [(*const T, usize); 3],
    gradient: *mut T,
    rows: usize,
    stride: usize,
}

impl<T: Scalar, L: Lanes<T>> Routine<L> for AddColumns<T> {
    type Output = ();

    #[inline(always)]
    fn run(self, lanes: L) {
        let Self { factor, deltas, inputs, gradient, rows, stride } = self;
        if const { !L::BLOCKING.outlined } {
            let mut start = gradient;
            for (input, columns) in inputs {
                // SAFETY: `add` counted rows and columns.
                unsafe {
                    let inputs = Matrix::from_raw(input, 1, columns, 1);
                    let own = MatrixMut::from_raw(start, rows, columns, stride);
                    one_sample::<T, L>(lanes, factor, deltas, inputs, own);
                }
                start = start.wrapping_add(columns * stride);
            }
            return;
        }
        // Inputs inside, so that there is one loop over rows.
        let mut row = 0;
        while row < rows {
            let (deltas, mut column) = (deltas.wrapping_add(row), gradient.wrapping_add(row));
            let two = rows - row >= 2 * L::WIDTH;
            // SAFETY: as above.
            unsafe {
                for (input, columns) in &inputs {
                    if two && const { T::ASSEMBLY } {
                        if *columns > 0 {
                            let own = core::array::from_fn(|i| factor * *deltas.add(i));
                            T::add_outer(column, stride, &own, *input, *columns);
                        }
                    } else if two {
                        block::<2, T, L>(lanes, factor, deltas, *input, *columns, column, stride);
                    } else {
                        block::<1, T, _>(lanes.narrow(), factor, deltas, *input, *columns, column, stride);
                    }
                    column = column.wrapping_add(columns * stride);
                    rolled();
                }
            }
            row += if two { 2 * L::WIDTH } else { 1 };
            rolled();
        }
    }
}

/// `V` vectors of rows of so many columns.
///
/// # Safety
/// They must exist, and the deltas and inputs.
#[inline(always)]
unsafe fn block<const V: usize, T: Scalar, L: Lanes<T>>(
    lanes: L,
    factor: T,
    deltas: *const T,
    mut input: *const T,
    columns: usize,
    mut column: *mut T,
    stride: usize,
) {
    // SAFETY: the same contract, which the caller keeps.
    unsafe {
        let own: [_; V] =
            core::array::from_fn(|v| lanes.mul(lanes.splat(factor), lanes.load(deltas.add(v * L::WIDTH))));
        for _ in 0..columns {
            let input_j = lanes.splat(*input);
            for (v, delta) in own.iter().enumerate() {
                let at = column.add(v * L::WIDTH);
                lanes.store(at, lanes.mul_add(*delta, input_j, lanes.load(at)));
            }
            column = column.wrapping_add(stride);
            input = input.wrapping_add(1);
            rolled();
        }
    }
}

/// # Errors
/// [`ShapeError`] if the shapes do not fit; nothing is changed then.
#[inline(always)]
fn outer<T: Scalar, L: Lanes<T>>(
    lanes: L,
    Outer { factor, deltas, inputs, mut gradient }: Outer<'_, T>,
) -> Result<(), ShapeError> {
    expect("samples", deltas.rows(), inputs.rows())?;
    expect("rows of the gradient", deltas.cols(), gradient.rows())?;
    expect("columns of the gradient", inputs.cols(), gradient.cols())?;
    // Without units there may be any number of samples.
    if gradient.rows() == 0 || gradient.cols() == 0 {
        return Ok(());
    }
    if deltas.rows() == 1 && (deltas.stride() == 1 || deltas.cols() == 1) {
        // SAFETY: the shapes were compared above.
        unsafe { one_sample::<T, L>(lanes, factor, deltas.start(), inputs, gradient) };
        return Ok(());
    }
    let mut scratch = [T::ZERO; SCRATCH];
    let mut sample = 0;
    while sample < deltas.rows() {
        let count = SAMPLES.min(deltas.rows() - sample);
        let mut row = 0;
        while row < deltas.cols() {
            let height = (2 * L::WIDTH).min(deltas.cols() - row);
            // SAFETY: sample + s and row + r exist, and height * count <= SCRATCH.
            unsafe {
                let from = deltas.start().add(row * deltas.stride() + sample);
                turned(lanes, factor, from, deltas.stride(), (count, height), scratch.as_mut_ptr());
                let block = gradient.reborrow().row_range(row, height);
                rows::<T, L>(lanes, scratch.as_ptr(), height, count, inputs.row_range(sample, count), block);
            }
            row += height;
        }
        sample += count;
    }
    Ok(())
}

/// Brings `height` deltas of `count` samples in weight order, times `factor`.
///
/// # Safety
/// They must exist, as many at `to`, and columns `stride` apart.
#[inline(always)]
unsafe fn turned<T: Scalar, L: Lanes<T>>(
    lanes: L,
    factor: T,
    from: *const T,
    stride: usize,
    (count, height): (usize, usize),
    to: *mut T,
) {
    let mut unit = 0;
    // SAFETY: the same contract, which the caller keeps.
    unsafe {
        while unit < height {
            let square = const { !L::BLOCKING.outlined } && height - unit >= SQUARE;
            let units = if square { SQUARE } else { 1 };
            let mut sample = 0;
            while sample < count {
                let (from, to) = (from.add(unit * stride + sample), to.add(sample * height + unit));
                if square && count - sample >= SQUARE {
                    lanes.turn(from, stride, to, height);
                    sample += SQUARE;
                    continue;
                }
                for r in 0..units {
                    *to.add(r) = *from.add(r * stride);
                }
                sample += 1;
            }
            unit += units;
        }
        let (all, mut at) = (count * height, 0);
        while at < all {
            let part = (all - at < L::WIDTH).then_some(all - at);
            let (scaled, to) = (lanes.mul(lanes.splat(factor), load(lanes, to.add(at), part)), to.add(at));
            store(lanes, to, scaled, part);
            at += L::WIDTH;
        }
    }
}

/// One sample, whose deltas already lie in weight order and stay in registers.
///
/// # Safety
/// `deltas` must hold a scalar for every row of the gradient, and `inputs` one for every column.
#[inline(always)]
unsafe fn one_sample<T: Scalar, L: Lanes<T>>(
    lanes: L,
    factor: T,
    deltas: *const T,
    inputs: Matrix<'_, T>,
    mut gradient: MatrixMut<'_, T>,
) {
    let rows = gradient.rows();
    let mut row = 0;
    // SAFETY: every block lies below `rows`.
    unsafe {
        while rows - row >= 2 * L::WIDTH {
            one_sample_rows::<2, T, L>(lanes, factor, deltas, row, None, inputs, &mut gradient);
            row += 2 * L::WIDTH;
        }
        if const { L::BLOCKING.outlined } {
            while rows > row {
                one_sample_rows::<1, _, _>(lanes.narrow(), factor, deltas, row, None, inputs, &mut gradient);
                row += 1;
            }
            return;
        }
        if rows - row >= L::WIDTH {
            one_sample_rows::<1, T, L>(lanes, factor, deltas, row, None, inputs, &mut gradient);
            row += L::WIDTH;
        }
        if rows > row {
            one_sample_rows::<1, T, L>(lanes, factor, deltas, row, Some(rows - row), inputs, &mut gradient);
        }
    }
}

/// # Safety
/// As [`one_sample`]; `V` vectors of rows, or `count` rows, must exist from `row` on.
#[inline(always)]
unsafe fn one_sample_rows<const V: usize, T: Scalar, L: Lanes<T>>(
    lanes: L,
    factor: T,
    deltas: *const T,
    row: usize,
    count: Option<usize>,
    inputs: Matrix<'_, T>,
    gradient: &mut MatrixMut<'_, T>,
) {
    let mut own = [lanes.splat(T::ZERO); V];
    // SAFETY: rows and columns that exist.
    unsafe {
        for (v, delta) in own.iter_mut().enumerate() {
            *delta = lanes.mul(lanes.splat(factor), load(lanes, deltas.add(row + v * L::WIDTH), count));
        }
        let mut column = gradient.start().wrapping_add(row);
        let mut input = inputs.start();
        for _ in 0..inputs.cols() {
            let input_j = lanes.splat(*input);
            for (v, delta) in own.iter().enumerate() {
                let at = column.add(v * L::WIDTH);
                store(lanes, at, lanes.mul_add(*delta, input_j, load(lanes, at, count)), count);
            }
            column = column.wrapping_add(gradient.stride());
            input = input.wrapping_add(inputs.stride());
            if const { L::BLOCKING.outlined } {
                rolled();
            }
        }
    }
}

/// # Safety
/// `deltas` must hold `height` scalars for each of `samples` samples; `inputs` must have `samples` rows, and
/// `gradient` the `height` rows and the columns of `inputs`.
#[inline(always)]
unsafe fn rows<T: Scalar, L: Lanes<T>>(
    lanes: L,
    deltas: *const T,
    height: usize,
    samples: usize,
    inputs: Matrix<'_, T>,
    mut gradient: MatrixMut<'_, T>,
) {
    let block =
        Block { lanes, deltas, height, samples, inputs, stride: gradient.stride(), out: gradient.start() };
    let mut row = 0;
    // SAFETY: every block lies below `height`.
    unsafe {
        while height - row >= 2 * L::WIDTH {
            block.columns::<2, WHOLE>(row, 0);
            row += 2 * L::WIDTH;
        }
        if height - row >= L::WIDTH {
            block.columns::<1, WHOLE>(row, 0);
            row += L::WIDTH;
        }
        if height > row {
            block.columns::<1, CUT>(row, height - row);
        }
    }
}

struct Block<'a, T, L> {
    lanes: L,
    deltas: *const T,
    height: usize,
    samples: usize,
    inputs: Matrix<'a, T>,
    out: *mut T,
    stride: usize,
}

impl<T: Scalar, L: Lanes<T>> Block<'_, T, L> {
    /// `V` vectors of rows, or `count` rows, of all columns.
    ///
    /// # Safety
    /// They must exist.
    #[inline(always)]
    unsafe fn columns<const V: usize, const LEFT: u8>(&self, row: usize, count: usize) {
        let columns = self.inputs.cols();
        let whole = in_whole_tiles(columns, L::BLOCKING.tile_columns);
        // SAFETY: every tile lies below `columns`.
        unsafe {
            match const { L::BLOCKING.tile_columns } {
                12 => self.tiles::<V, 12, LEFT>(row, count, 0, whole),
                6 => self.tiles::<V, 6, LEFT>(row, count, 0, whole),
                _ => {}
            }
            self.tiles::<V, LAST, LEFT>(row, count, whole, columns);
        }
    }

    /// `V` vectors of rows of some columns, `N` at a time.
    ///
    /// # Safety
    /// They must exist; a multiple of `N` columns unless that is [`LAST`].
    #[inline(always)]
    unsafe fn tiles<const V: usize, const N: usize, const LEFT: u8>(
        &self,
        row: usize,
        count: usize,
        mut column: usize,
        end: usize,
    ) {
        let lanes = self.lanes;
        let part = (LEFT != WHOLE).then_some(count);
        while column < end {
            let there = N.min(end - column);
            let mut sums = [[lanes.splat(T::ZERO); V]; N];
            let left = Operand { start: self.deltas.wrapping_add(row), across: 1, along: self.height };
            let stride = self.inputs.stride();
            let right = Operand { start: self.inputs.start(), across: stride, along: 1 }.at(column, 0);
            // SAFETY: existing samples, rows and columns, by the callers' bounds.
            unsafe {
                add::<T, L, V, N, LEFT, false>(lanes, left, right, self.samples, count, there, &mut sums);
                for (n, sums) in sums.iter().enumerate().take(there) {
                    for (v, sum) in sums.iter().enumerate() {
                        let at = self.out.add((column + n) * self.stride + row + v * L::WIDTH);
                        store(lanes, at, lanes.add(load(lanes, at, part), *sum), part);
                    }
                }
            }
            column += N;
        }
    }
}

/// `gradient[i] += factor * sum over samples of deltas[sample, i]`: the gradient of the biases.
///
/// # Errors
/// [`ShapeError`] if the lengths do not fit; nothing is changed then.
#[inline(always)]
pub(crate) fn column_sums<T: Scalar>(
    factor: T,
    deltas: Matrix<'_, T>,
    gradient: &mut [T],
) -> Result<(), ShapeError> {
    expect("biases", deltas.cols(), gradient.len())?;
    for (unit, gradient) in gradient.iter_mut().enumerate() {
        let mut sum = T::ZERO;
        for sample in 0..deltas.rows() {
            // SAFETY: an existing sample and unit.
            sum += unsafe { *deltas.start().add(unit * deltas.stride() + sample) };
        }
        *gradient += factor * sum;
    }
    Ok(())
}
