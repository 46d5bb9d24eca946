//! What is done with the entries of two matrices, each pair on its own.

use super::activation::value_and_slope;
use super::{Activation, Matrix, MatrixMut, Scalar, ShapeError, expect, load, once, store};
use crate::simd::{Backend, Lanes, Operation};
use core::marker::PhantomData;

/// The value and the slope of the activation `A` in one pass: every sum z is replaced by s'(z), and `out` gets s(z). A
/// backward pass then only [multiplies](scale_by) with what is left in `sums`.
///
/// ```
/// use attractor::kernel::{self, Gelu};
/// use attractor::simd::Backend;
/// use nalgebra::{SMatrix, matrix};
///
/// let mut sums = matrix![0.0_f32, 100.0; -100.0, 1.0];
/// let mut values = SMatrix::<f32, 2, 2>::zeros();
/// kernel::activate_with_slopes::<_, Gelu>(Backend::best(), (&mut sums).into(), (&mut values).into())?;
/// assert_eq!((values[(0, 0)], values[(0, 1)], values[(1, 0)]), (0.0, 100.0, 0.0));
/// assert_eq!((sums[(0, 0)], sums[(0, 1)], sums[(1, 0)]), (0.5, 1.0, 0.0));
/// assert!((values[(1, 1)] - 0.8412).abs() < 1e-4 && (sums[(1, 1)] - 1.0830).abs() < 1e-4);
/// # Ok::<(), kernel::ShapeError>(())
/// ```
///
/// # Errors
/// [`ShapeError`] if the two are not of one shape; nothing is changed then.
pub fn activate_with_slopes<T: Scalar, A: Activation>(
    backend: Backend,
    mut sums: MatrixMut<'_, T>,
    mut out: MatrixMut<'_, T>,
) -> Result<(), ShapeError> {
    expect("rows of the output", sums.rows(), out.rows())?;
    expect("columns of the output", sums.cols(), out.cols())?;
    let (shape, strides) = ((sums.rows(), sums.cols()), (sums.stride(), out.stride()));
    let pairs = Pairs::<_, WithSlope<A>>::new(shape, (sums.start(), out.start()), strides);
    T::run(backend, pairs);
    Ok(())
}

/// `values *= factors`, entry by entry.
///
/// ```
/// use attractor::{kernel, simd::Backend};
/// use nalgebra::matrix;
/// let (factors, mut values) = (matrix![2.0_f32, 0.5], matrix![1.0_f32, 4.0]);
/// kernel::scale_by(Backend::best(), (&factors).into(), (&mut values).into())?;
/// assert_eq!(values, matrix![2.0, 2.0]);
/// # Ok::<(), kernel::ShapeError>(())
/// ```
///
/// # Errors
/// [`ShapeError`] if the two are not of one shape; nothing is changed then.
pub fn scale_by<T: Scalar>(
    backend: Backend,
    factors: Matrix<'_, T>,
    mut values: MatrixMut<'_, T>,
) -> Result<(), ShapeError> {
    expect("rows of the values", factors.rows(), values.rows())?;
    expect("columns of the values", factors.cols(), values.cols())?;
    let (shape, strides) = ((factors.rows(), factors.cols()), (factors.stride(), values.stride()));
    // The factors are not written to.
    let starts = (factors.start().cast_mut(), values.start());
    T::once::<ScaleOnce>((backend, Pairs::new(shape, starts, strides)));
    Ok(())
}
once!(ScaleOnce: (Backend, Pairs<T, Scale>) => (), scale_once);

fn scale_once<T: Scalar>((backend, pairs): (Backend, Pairs<T, Scale>)) {
    T::run(backend, pairs);
}

/// What is done with a pair of vectors.
trait Pairwise {
    /// # Safety
    /// A vector of scalars must exist at both places, or so many as `part` says; those that are changed must be so for this alone.
    unsafe fn apply<T: Scalar, L: Lanes<T>>(lanes: L, first: *mut T, second: *mut T, part: Option<usize>);
}

struct WithSlope<A>(PhantomData<A>);
impl<A: Activation> Pairwise for WithSlope<A> {
    #[inline(always)]
    unsafe fn apply<T: Scalar, L: Lanes<T>>(lanes: L, sums: *mut T, out: *mut T, part: Option<usize>) {
        // SAFETY: the same contract, which the caller keeps.
        unsafe {
            let (value, slope) = value_and_slope::<A, T, L>(lanes, load(lanes, sums, part));
            store(lanes, sums, slope, part);
            store(lanes, out, value, part);
        }
    }
}

struct Scale;
impl Pairwise for Scale {
    #[inline(always)]
    unsafe fn apply<T: Scalar, L: Lanes<T>>(lanes: L, factors: *mut T, values: *mut T, part: Option<usize>) {
        // SAFETY: the same contract, which the caller keeps.
        unsafe {
            let product = lanes.mul(load(lanes, factors, part), load(lanes, values, part));
            store(lanes, values, product, part);
        }
    }
}

/// Two matrices of one shape, column by column.
struct Pairs<T, P> {
    rows: usize,
    cols: usize,
    starts: (*mut T, *mut T),
    strides: (usize, usize),
    what: PhantomData<P>,
}

impl<T, P> Pairs<T, P> {
    fn new((rows, cols): (usize, usize), starts: (*mut T, *mut T), strides: (usize, usize)) -> Self {
        // Without gaps all columns are one; without rows there may be any number of columns.
        let (rows, cols) = if rows == 0 || cols == 0 {
            (0, 0)
        } else if strides == (rows, rows) {
            (rows * cols, 1)
        } else {
            (rows, cols)
        };
        Self { rows, cols, starts, strides, what: PhantomData }
    }
}

impl<T: Scalar, P: Pairwise> Operation<T> for Pairs<T, P> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        for col in 0..self.cols {
            let first = self.starts.0.wrapping_add(col * self.strides.0);
            let second = self.starts.1.wrapping_add(col * self.strides.1);
            let mut row = 0;
            // SAFETY: both have so many rows and columns, borrowed for as long as this runs.
            unsafe {
                while self.rows - row >= L::WIDTH {
                    P::apply(lanes, first.add(row), second.add(row), None);
                    row += L::WIDTH;
                }
                if row < self.rows {
                    P::apply(lanes, first.add(row), second.add(row), Some(self.rows - row));
                }
            }
        }
    }
}
