//! The comparison matrix |M|, every entry its magnitude: its products with vectors that are not negative, and the
//! maximum norm weighed by such a vector.

use super::{Matrix, Scalar, ShapeError, expect, load, store};
use crate::simd::{Backend, Lanes, Operation};

/// `sums[i] += sum over j of |matrix[i, j]| * vector[j]`, for a vector that is not negative.
///
/// Every sum is taken over the columns in order, so that [`Backend::portable`] gives the same bits on every processor.
///
/// ```
/// use attractor::{kernel, simd::Backend};
/// use nalgebra::matrix;
/// let m = matrix![1.0_f32, -2.0; -3.0, 0.5];
/// let mut sums = [0.0, 1.0];
/// kernel::add_magnitudes(Backend::best(), (&m).into(), &[1.0, 10.0], &mut sums)?;
/// assert_eq!(sums, [21.0, 9.0]);
/// # Ok::<(), kernel::ShapeError>(())
/// ```
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit; nothing is changed then.
pub fn add_magnitudes<T: Scalar>(
    backend: Backend,
    matrix: Matrix<'_, T>,
    vector: &[T],
    sums: &mut [T],
) -> Result<(), ShapeError> {
    expect("inputs of the matrix", vector.len(), matrix.cols())?;
    expect("outputs of the matrix", sums.len(), matrix.rows())?;
    T::run(backend, Magnitudes::<_, false> { matrix, vector, sums });
    Ok(())
}

/// `sums[j] += sum over i of |matrix[i, j]| * vector[i]`, for a vector that is not negative.
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit; nothing is changed then.
pub fn add_magnitudes_transposed<T: Scalar>(
    backend: Backend,
    matrix: Matrix<'_, T>,
    vector: &[T],
    sums: &mut [T],
) -> Result<(), ShapeError> {
    expect("outputs of the matrix", vector.len(), matrix.rows())?;
    expect("inputs of the matrix", sums.len(), matrix.cols())?;
    T::run(backend, Magnitudes::<_, true> { matrix, vector, sums });
    Ok(())
}

/// The largest `|a[i] - b[i]| / weights[i]`, NaN if one is not a finite number.
///
/// # Errors
/// [`ShapeError`] if the lengths differ.
pub fn weighted_distance<T: Scalar>(
    backend: Backend,
    a: &[T],
    b: &[T],
    weights: &[T],
) -> Result<T, ShapeError> {
    expect("values", a.len(), b.len())?;
    expect("weights", a.len(), weights.len())?;
    Ok(T::run(backend, Distance { a, b: Some(b), weights }))
}

/// The largest `|a[i]| / weights[i]`, NaN if one is not a finite number.
///
/// # Errors
/// [`ShapeError`] if the lengths differ.
pub fn weighted_norm<T: Scalar>(backend: Backend, a: &[T], weights: &[T]) -> Result<T, ShapeError> {
    expect("weights", a.len(), weights.len())?;
    Ok(T::run(backend, Distance { a, b: None, weights }))
}

/// |M| times a vector. The shapes fit.
struct Magnitudes<'a, T, const TRANSPOSED: bool> {
    matrix: Matrix<'a, T>,
    vector: &'a [T],
    sums: &'a mut [T],
}

/// Vectors of rows in a block.
const BLOCK: usize = 4;

impl<T: Scalar, const TRANSPOSED: bool> Operation<T> for Magnitudes<'_, T, TRANSPOSED> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(mut self, lanes: L) {
        if TRANSPOSED {
            return self.columns(lanes);
        }
        let rows = self.matrix.rows();
        let mut row = 0;
        while row < rows {
            let left = rows - row;
            // SAFETY: the block's rows exist.
            unsafe {
                if left >= BLOCK * L::WIDTH {
                    self.rows::<BLOCK, L>(lanes, row, None);
                    row += BLOCK * L::WIDTH;
                } else {
                    self.rows::<1, L>(lanes, row, (left < L::WIDTH).then_some(left));
                    row += L::WIDTH;
                }
            }
        }
    }
}

impl<T: Scalar, const TRANSPOSED: bool> Magnitudes<'_, T, TRANSPOSED> {
    /// `V` vectors of rows, or `count` rows.
    ///
    /// # Safety
    /// These rows must exist.
    #[inline(always)]
    unsafe fn rows<const V: usize, L: Lanes<T>>(&mut self, lanes: L, row: usize, count: Option<usize>) {
        let to = self.sums.as_mut_ptr().wrapping_add(row);
        let mut column = self.matrix.start().wrapping_add(row);
        let mut totals = [lanes.splat(T::ZERO); V];
        // SAFETY: existing rows of every column, of which there are as many as factors, and as many sums as rows.
        unsafe {
            for (v, total) in totals.iter_mut().enumerate() {
                *total = load(lanes, to.add(v * L::WIDTH), count);
            }
            for &factor in self.vector.iter() {
                let factor = lanes.splat(factor);
                for (v, total) in totals.iter_mut().enumerate() {
                    let weights = lanes.abs(load(lanes, column.add(v * L::WIDTH), count));
                    *total = lanes.mul_add(weights, factor, *total);
                }
                column = column.wrapping_add(self.matrix.stride());
            }
            for (v, total) in totals.iter().enumerate() {
                store(lanes, to.add(v * L::WIDTH), *total, count);
            }
        }
    }

    /// All columns, each summed along its rows.
    #[inline(always)]
    fn columns<L: Lanes<T>>(&mut self, lanes: L) {
        let (rows, stride) = (self.matrix.rows(), self.matrix.stride());
        let mut column = self.matrix.start();
        for sum in self.sums.iter_mut() {
            let mut total = lanes.splat(T::ZERO);
            let mut row = 0;
            while row < rows {
                let count = (rows - row < L::WIDTH).then_some(rows - row);
                // SAFETY: WIDTH or `count` rows of an existing column, and as many factors.
                unsafe {
                    let weights = lanes.abs(load(lanes, column.add(row), count));
                    total = lanes.mul_add(weights, load(lanes, self.vector.as_ptr().add(row), count), total);
                }
                row += L::WIDTH;
            }
            *sum += lanes.reduce_add(total);
            column = column.wrapping_add(stride);
        }
    }
}

/// The largest |a - b| / weights. The lengths fit.
struct Distance<'a, T> {
    a: &'a [T],
    b: Option<&'a [T]>,
    weights: &'a [T],
}

impl<T: Scalar> Operation<T> for Distance<'_, T> {
    type Output = T;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> T {
        let Self { a, b, weights } = self;
        let zero = lanes.splat(T::ZERO);
        let (mut largest, mut poison) = (zero, zero);
        let mut at = 0;
        while at < a.len() {
            let count = (a.len() - at < L::WIDTH).then_some(a.len() - at);
            // SAFETY: WIDTH or `count` values from `at` on, of slices of one length.
            let (mut difference, weights) = unsafe {
                (load(lanes, a.as_ptr().add(at), count), load(lanes, weights.as_ptr().add(at), count))
            };
            if let Some(b) = b {
                // SAFETY: as above.
                difference = lanes.sub(difference, unsafe { load(lanes, b.as_ptr().add(at), count) });
            }
            poison = lanes.mul_add(difference, zero, poison);
            poison = lanes.mul_add(weights, zero, poison);
            // Lanes beyond `count` divide 0 by 0, and `max` passes over what is NaN.
            largest = lanes.max(lanes.div(lanes.abs(difference), weights), largest);
            at += L::WIDTH;
        }
        lanes.reduce_max(largest) + lanes.reduce_add(poison)
    }
}
