//! Column-major views: a start, a number of rows and columns, and the distance between columns.

use super::ShapeError;
use core::fmt;
use core::marker::PhantomData;
use nalgebra::{DMatrixViewMut, Dyn, Matrix as DynamicMatrix, RawStorage, SMatrix};

/// nalgebra's matrix of a shape that is known when running.
pub(crate) type DynMatrix<T, S> = DynamicMatrix<T, Dyn, Dyn, S>;

/// A borrowed column-major matrix. As a weight matrix it is `outputs x inputs`; as a batch its rows are samples
/// and its columns are units.
pub struct Matrix<'a, T> {
    start: *const T,
    rows: usize,
    cols: usize,
    stride: usize,
    borrow: PhantomData<&'a [T]>,
}

/// A mutably borrowed column-major matrix.
pub struct MatrixMut<'a, T> {
    start: *mut T,
    rows: usize,
    cols: usize,
    stride: usize,
    borrow: PhantomData<&'a mut [T]>,
}

impl<T> Clone for Matrix<'_, T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Matrix<'_, T> {}

impl<T> fmt::Debug for Matrix<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Matrix({} x {}, stride {})", self.rows, self.cols, self.stride)
    }
}
impl<T> fmt::Debug for MatrixMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MatrixMut({} x {}, stride {})", self.rows, self.cols, self.stride)
    }
}

#[inline(always)]
fn check(length: usize, rows: usize, cols: usize) -> Result<(), ShapeError> {
    match rows.checked_mul(cols) {
        Some(expected) if expected == length => Ok(()),
        expected => {
            Err(ShapeError { what: "length", expected: expected.unwrap_or(usize::MAX), found: length })
        }
    }
}

/// Columns of so many rows, `stride` apart, that do not overlap, in so many scalars.
#[inline(always)]
fn check_apart(length: usize, rows: usize, cols: usize, stride: usize) -> Result<(), ShapeError> {
    if stride < rows {
        return Err(ShapeError { what: "stride", expected: rows, found: stride });
    }
    // The last column may end where its rows do.
    let needed = match cols.checked_sub(1) {
        Some(before) if rows > 0 => before.checked_mul(stride).and_then(|start| start.checked_add(rows)),
        _ => Some(0),
    };
    match needed {
        Some(needed) if needed <= length => Ok(()),
        needed => Err(ShapeError { what: "length", expected: needed.unwrap_or(usize::MAX), found: length }),
    }
}

impl<'a, T> Matrix<'a, T> {
    /// Views `data`, column after column.
    ///
    /// # Errors
    /// [`ShapeError`] if `data` does not hold `rows * cols` scalars.
    #[inline]
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Result<Self, ShapeError> {
        check(data.len(), rows, cols)?;
        Ok(Self { start: data.as_ptr(), rows, cols, stride: rows, borrow: PhantomData })
    }
    /// Views a part of `data`: columns that begin `stride` scalars apart, the first one at its start. What lies between them is not part of the matrix.
    ///
    /// ```
    /// use attractor::kernel::Matrix;
    /// let data = [1.0_f32, 2.0, 0.0, 3.0, 4.0];
    /// let matrix = Matrix::with_stride(&data, 2, 2, 3)?;
    /// assert_eq!(matrix.at(1, 1), Some(4.0));
    /// # Ok::<(), attractor::kernel::ShapeError>(())
    /// ```
    ///
    /// # Errors
    /// [`ShapeError`] if `stride` is less than `rows`, or `data` too short for the last column.
    #[inline]
    pub fn with_stride(data: &'a [T], rows: usize, cols: usize, stride: usize) -> Result<Self, ShapeError> {
        check_apart(data.len(), rows, cols, stride)?;
        Ok(Self { start: data.as_ptr(), rows, cols, stride, borrow: PhantomData })
    }
    /// One row, a column for each.
    #[inline(always)]
    pub(crate) const fn of_row(data: &'a [T]) -> Self {
        // SAFETY: each column is the next scalar.
        unsafe { Self::from_raw(data.as_ptr(), 1, data.len(), 1) }
    }

    /// # Safety
    /// For every column `c < cols` the `rows` scalars from `start + c * stride` must be readable for `'a`.
    #[inline(always)]
    pub(crate) const unsafe fn from_raw(start: *const T, rows: usize, cols: usize, stride: usize) -> Self {
        Self { start, rows, cols, stride, borrow: PhantomData }
    }

    /// Number of rows.
    #[must_use]
    #[inline(always)]
    pub const fn rows(&self) -> usize {
        self.rows
    }
    /// Number of columns.
    #[must_use]
    #[inline(always)]
    pub const fn cols(&self) -> usize {
        self.cols
    }
    #[inline(always)]
    pub(crate) const fn stride(&self) -> usize {
        self.stride
    }
    #[inline(always)]
    pub(crate) const fn start(&self) -> *const T {
        self.start
    }

    /// The value in a row and column, if there are such.
    #[must_use]
    #[inline(always)]
    pub fn at(&self, row: usize, col: usize) -> Option<T>
    where
        T: Copy,
    {
        // SAFETY: the row and column exist.
        (row < self.rows && col < self.cols).then(|| unsafe { *self.start.add(col * self.stride + row) })
    }

    /// All of it, if it is one row with its values side by side.
    #[inline(always)]
    pub(crate) fn row(self) -> Option<&'a [T]> {
        // SAFETY: one row of so many columns, each the next scalar.
        (self.rows == 1 && self.stride == 1)
            .then(|| unsafe { core::slice::from_raw_parts(self.start, self.cols) })
    }

    /// Copies all of it, if it is one row of as many values as `to` holds; whether it is.
    #[inline(always)]
    pub(crate) fn copy_row_to(self, to: &mut [T]) -> bool
    where
        T: Copy,
    {
        if self.rows != 1 || self.cols != to.len() {
            return false;
        }
        if self.stride == 1 {
            // SAFETY: one row of so many columns, each the next scalar.
            to.copy_from_slice(unsafe { core::slice::from_raw_parts(self.start, self.cols) });
        } else {
            for (col, to) in to.iter_mut().enumerate() {
                // SAFETY: the column exists.
                *to = unsafe { *self.start.add(col * self.stride) };
            }
        }
        true
    }

    /// The columns from `first`, `count` of them, cut at the end of the matrix.
    #[must_use]
    #[inline(always)]
    pub fn columns(self, first: usize, count: usize) -> Self {
        let first = first.min(self.cols);
        let count = count.min(self.cols - first);
        // In range: first <= cols; for zero columns nothing is read.
        Self { start: self.start.wrapping_add(first * self.stride), cols: count, ..self }
    }

    /// The rows from `first`, `count` of them, cut at the end of the matrix.
    #[must_use]
    #[inline(always)]
    pub fn row_range(self, first: usize, count: usize) -> Self {
        let first = first.min(self.rows);
        let count = count.min(self.rows - first);
        Self { start: self.start.wrapping_add(first), rows: count, ..self }
    }
}

// SAFETY: a view is a reference in all but the form: `&[T]` and `&mut [T]` may be sent under the same conditions.
unsafe impl<T: Sync> Send for Matrix<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Matrix<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for MatrixMut<'_, T> {}

impl<'a, T> MatrixMut<'a, T> {
    /// Views `data`, column after column.
    ///
    /// # Errors
    /// [`ShapeError`] if `data` does not hold `rows * cols` scalars.
    #[inline]
    pub fn new(data: &'a mut [T], rows: usize, cols: usize) -> Result<Self, ShapeError> {
        check(data.len(), rows, cols)?;
        Ok(Self { start: data.as_mut_ptr(), rows, cols, stride: rows, borrow: PhantomData })
    }

    /// Views a part of `data`: columns that begin `stride` scalars apart, the first one at its start. What lies between them is not part of the matrix.
    ///
    /// ```
    /// use attractor::kernel::MatrixMut;
    /// let mut data = [1.0_f32, 2.0, 0.0, 3.0, 4.0];
    /// let matrix = MatrixMut::with_stride(&mut data, 2, 2, 3)?;
    /// assert_eq!(matrix.as_ref().at(1, 1), Some(4.0));
    /// # Ok::<(), attractor::kernel::ShapeError>(())
    /// ```
    ///
    /// # Errors
    /// [`ShapeError`] if `stride` is less than `rows`, or `data` too short for the last column.
    #[inline]
    pub fn with_stride(
        data: &'a mut [T],
        rows: usize,
        cols: usize,
        stride: usize,
    ) -> Result<Self, ShapeError> {
        check_apart(data.len(), rows, cols, stride)?;
        Ok(Self { start: data.as_mut_ptr(), rows, cols, stride, borrow: PhantomData })
    }

    /// # Safety
    /// For every column `c < cols` the `rows` scalars from `start + c * stride` must be readable and writable
    /// for `'a`, and nothing else may refer to them meanwhile.
    #[inline(always)]
    pub(crate) const unsafe fn from_raw(start: *mut T, rows: usize, cols: usize, stride: usize) -> Self {
        Self { start, rows, cols, stride, borrow: PhantomData }
    }

    /// Number of rows.
    #[must_use]
    #[inline(always)]
    pub const fn rows(&self) -> usize {
        self.rows
    }
    /// Number of columns.
    #[must_use]
    #[inline(always)]
    pub const fn cols(&self) -> usize {
        self.cols
    }
    #[inline(always)]
    pub(crate) const fn stride(&self) -> usize {
        self.stride
    }
    #[inline(always)]
    pub(crate) const fn start(&mut self) -> *mut T {
        self.start
    }

    /// The same matrix, to read.
    #[must_use]
    #[inline(always)]
    pub const fn as_ref(&self) -> Matrix<'_, T> {
        Matrix {
            start: self.start,
            rows: self.rows,
            cols: self.cols,
            stride: self.stride,
            borrow: PhantomData,
        }
    }

    /// The same matrix for a shorter time.
    #[must_use]
    #[inline(always)]
    pub const fn reborrow(&mut self) -> MatrixMut<'_, T> {
        MatrixMut {
            start: self.start,
            rows: self.rows,
            cols: self.cols,
            stride: self.stride,
            borrow: PhantomData,
        }
    }

    /// The rows from `first`, `count` of them, cut at the end of the matrix.
    #[must_use]
    #[inline(always)]
    pub fn row_range(self, first: usize, count: usize) -> Self {
        let first = first.min(self.rows);
        let count = count.min(self.rows - first);
        Self { start: self.start.wrapping_add(first), rows: count, ..self }
    }

    /// The rows before `row`, and those from it on.
    #[must_use]
    #[inline(always)]
    pub fn split_rows(self, row: usize) -> (Self, Self) {
        let row = row.min(self.rows);
        // Different rows are different scalars, though they lie between one another.
        (
            Self { rows: row, ..self },
            Self { start: self.start.wrapping_add(row), rows: self.rows - row, ..self },
        )
    }

    /// The same, with its address worked out anew, as [`Parameters::afresh`](crate::network::Parameters).
    #[inline(always)]
    pub(crate) fn afresh(self) -> Self {
        Self { start: core::hint::black_box(self.start), ..self }
    }

    /// The columns before `column`, and those from it on.
    #[must_use]
    #[inline(always)]
    pub fn split_columns(self, column: usize) -> (Self, Self) {
        let column = column.min(self.cols);
        let start = self.start.wrapping_add(column * self.stride);
        (Self { cols: column, ..self }, Self { start, cols: self.cols - column, ..self })
    }

    /// The columns from `first`, `count` of them, cut at the end of the matrix.
    #[must_use]
    #[inline(always)]
    pub fn column_range(self, first: usize, count: usize) -> Self {
        self.split(first, count).1
    }

    /// Sets every value, column after column, to what `value` gives for the one it was.
    pub fn fill_with(&mut self, mut value: impl FnMut(T) -> T)
    where
        T: Copy,
    {
        // Without rows there may be any number of columns.
        let cols = if self.rows > 0 { self.cols } else { 0 };
        for col in 0..cols {
            for row in 0..self.rows {
                // SAFETY: the row and column exist.
                unsafe {
                    let at = self.start.add(col * self.stride + row);
                    *at = value(*at);
                }
            }
        }
    }

    /// What stands left of the columns `first..first + count`, these columns, and what stands right of them;
    /// all cut at the end of the matrix.
    #[must_use]
    #[inline(always)]
    pub fn split(self, first: usize, count: usize) -> (Matrix<'a, T>, Self, Matrix<'a, T>) {
        let first = first.min(self.cols);
        let count = count.min(self.cols - first);
        let after = first + count;
        let view = |from: usize, cols: usize| Matrix {
            start: self.start.wrapping_add(from * self.stride).cast_const(),
            rows: self.rows,
            cols,
            stride: self.stride,
            borrow: PhantomData,
        };
        // Three disjoint ranges of columns, so the mutable one aliases neither of the others.
        (
            view(0, first),
            Self { start: self.start.wrapping_add(first * self.stride), cols: count, ..self },
            view(after, self.cols - after),
        )
    }
}

impl<'a, T, const R: usize, const C: usize> From<&'a SMatrix<T, R, C>> for Matrix<'a, T> {
    #[inline(always)]
    fn from(matrix: &'a SMatrix<T, R, C>) -> Self {
        Self { start: matrix.data.0.as_ptr().cast(), rows: R, cols: C, stride: R, borrow: PhantomData }
    }
}

impl<'a, T> Matrix<'a, T> {
    /// A matrix whose shape is known when running, where the rows of a column lie side by side; nothing otherwise.
    pub(crate) fn of_dynamic<S: RawStorage<T, Dyn, Dyn>>(matrix: &'a DynMatrix<T, S>) -> Option<Self> {
        let ((rows, cols), (between, stride)) = (matrix.shape(), matrix.strides());
        if rows > 1 && between != 1 {
            return None;
        }
        // SAFETY: a storage holds every entry of its shape at its strides, for as long as it is borrowed.
        Some(unsafe { Self::from_raw(matrix.as_ptr(), rows, cols, stride) })
    }
}

impl<'a, T> MatrixMut<'a, T> {
    /// [`Matrix::of_dynamic`], to change.
    pub(crate) fn of_dynamic(matrix: &'a mut DMatrixViewMut<'_, T>) -> Option<Self> {
        let ((rows, cols), (_, stride)) = (matrix.shape(), matrix.strides());
        if cols > 1 && stride < rows {
            return None;
        }
        // SAFETY: as above; the type says that rows lie side by side, and columns do not overlap.
        Some(unsafe { Self::from_raw(matrix.as_mut_ptr(), rows, cols, stride) })
    }
}

impl<'a, T, const R: usize, const C: usize> From<&'a mut SMatrix<T, R, C>> for MatrixMut<'a, T> {
    #[inline(always)]
    fn from(matrix: &'a mut SMatrix<T, R, C>) -> Self {
        Self { start: matrix.data.0.as_mut_ptr().cast(), rows: R, cols: C, stride: R, borrow: PhantomData }
    }
}
