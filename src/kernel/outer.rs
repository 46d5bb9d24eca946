//! The outer-product update M += d^T h, summed over the samples of a batch: what every weight gradient is.

use super::{Matrix, MatrixMut, Scalar, ShapeError, expect, load, store};
use crate::simd::{Lanes, Operation, Routine};

/// Samples that are brought into weight order at a time.
const SAMPLES: usize = 32;
/// Scalars of the scratch they are brought into: two vectors of rows for each sample.
const SCRATCH: usize = SAMPLES * 2 * crate::simd::MAX_WIDTH;

/// [`outer`] in a function of its own, one copy for all callers.
///
/// # Errors
/// As [`outer`].
#[inline(always)]
pub(crate) fn outer_shared<T: Scalar, L: Lanes<T>>(
    lanes: L,
    deltas: Matrix<'_, T>,
    inputs: Matrix<'_, T>,
    gradient: MatrixMut<'_, T>,
) -> Result<(), ShapeError> {
    lanes.vectorize(Outer { deltas, inputs, gradient })
}

/// The operands of [`outer`].
pub(super) struct Outer<'a, T> {
    pub(super) deltas: Matrix<'a, T>,
    pub(super) inputs: Matrix<'a, T>,
    pub(super) gradient: MatrixMut<'a, T>,
}

impl<T: Scalar, L: Lanes<T>> Routine<L> for Outer<'_, T> {
    type Output = Result<(), ShapeError>;

    #[inline(always)]
    fn run(self, lanes: L) -> Self::Output {
        outer(lanes, self.deltas, self.inputs, self.gradient)
    }
}

impl<T: Scalar> Operation<T> for Outer<'_, T> {
    type Output = Result<(), ShapeError>;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output {
        outer(lanes, self.deltas, self.inputs, self.gradient)
    }
}

/// `gradient[i, j] += sum over samples of deltas[sample, i] * inputs[sample, j]`.
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit; nothing is changed then.
#[inline(always)]
fn outer<T: Scalar, L: Lanes<T>>(
    lanes: L,
    deltas: Matrix<'_, T>,
    inputs: Matrix<'_, T>,
    mut gradient: MatrixMut<'_, T>,
) -> Result<(), ShapeError> {
    expect("samples", deltas.rows(), inputs.rows())?;
    expect("rows of the gradient", deltas.cols(), gradient.rows())?;
    expect("columns of the gradient", inputs.cols(), gradient.cols())?;
    // Without units there may be any number of samples.
    if gradient.rows() == 0 || gradient.cols() == 0 {
        return Ok(());
    }
    if deltas.rows() == 1 && (deltas.stride() == 1 || deltas.cols() == 1) {
        // One sample's deltas already lie in weight order.
        // SAFETY: the shapes were compared above.
        unsafe { rows::<T, L>(lanes, deltas.start(), deltas.cols(), 1, inputs, gradient) };
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
                for r in 0..height {
                    let column = deltas.start().add((row + r) * deltas.stride() + sample);
                    for s in 0..count {
                        *scratch.as_mut_ptr().add(s * height + r) = *column.add(s);
                    }
                }
                let block = gradient.reborrow().row_range(row, height);
                rows::<T, L>(lanes, scratch.as_ptr(), height, count, inputs.row_range(sample, count), block);
            }
            row += height;
        }
        sample += count;
    }
    Ok(())
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
            block.columns::<2>(row, None);
            row += 2 * L::WIDTH;
        }
        if height - row >= L::WIDTH {
            block.columns::<1>(row, None);
            row += L::WIDTH;
        }
        if height > row {
            block.columns::<1>(row, Some(height - row));
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
    #[inline(always)]
    unsafe fn columns<const V: usize>(&self, row: usize, count: Option<usize>) {
        let mut column = 0;
        let columns = self.inputs.cols();
        // SAFETY: every tile lies below `columns`.
        unsafe {
            while columns - column >= 4 {
                self.tile::<V, 4>(row, column, count);
                column += 4;
            }
            while columns > column {
                self.tile::<V, 1>(row, column, count);
                column += 1;
            }
        }
    }

    /// `V` vectors of rows of `C` columns.
    #[inline(always)]
    unsafe fn tile<const V: usize, const C: usize>(&self, row: usize, column: usize, count: Option<usize>) {
        let lanes = self.lanes;
        let mut sums = [[lanes.splat(T::ZERO); V]; C];
        // SAFETY: existing samples, rows and columns, by the callers' bounds.
        unsafe {
            for sample in 0..self.samples {
                let mut deltas = [lanes.splat(T::ZERO); V];
                for (v, delta) in deltas.iter_mut().enumerate() {
                    *delta = load(lanes, self.deltas.add(sample * self.height + row + v * L::WIDTH), count);
                }
                for (c, sums) in sums.iter_mut().enumerate() {
                    let at = (column + c) * self.inputs.stride() + sample;
                    let input = lanes.splat(*self.inputs.start().add(at));
                    for (sum, delta) in sums.iter_mut().zip(deltas) {
                        *sum = lanes.mul_add(delta, input, *sum);
                    }
                }
            }
            for (c, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    let at = self.out.add((column + c) * self.stride + row + v * L::WIDTH);
                    store(lanes, at, lanes.add(load(lanes, at, count), *sum), count);
                }
            }
        }
    }
}

/// `gradient[i] += sum over samples of deltas[sample, i]`: the gradient of the biases.
///
/// # Errors
/// [`ShapeError`] if the lengths do not fit; nothing is changed then.
#[inline(always)]
pub(crate) fn column_sums<T: Scalar>(deltas: Matrix<'_, T>, gradient: &mut [T]) -> Result<(), ShapeError> {
    expect("biases", deltas.cols(), gradient.len())?;
    for (unit, gradient) in gradient.iter_mut().enumerate() {
        let mut sum = T::ZERO;
        for sample in 0..deltas.rows() {
            // SAFETY: an existing sample and unit.
            sum += unsafe { *deltas.start().add(unit * deltas.stride() + sample) };
        }
        *gradient += sum;
    }
    Ok(())
}
