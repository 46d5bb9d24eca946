//! Products of dense matrices of any shape, by tiles of sums that stay in registers (Goto and van de Geijn 2008; Van Zee and
//! van de Geijn 2015).
//!
//! Rows of the result are in the lanes. A tile takes vectors of the left operand and single numbers of the right one, so that either may be
//! read where it stands: packing is for what would not stay in a cache, and for left operands whose rows are not side by side.

use super::ends::End;
use super::tile::{CUT, LAST, Operand, SCATTERED, WHOLE, add};
use super::{
    Activate, Activation, Finish, Functions, Matrix, MatrixMut, Scalar, ShapeError, TYPED, expect, load,
    once, store,
};
use crate::simd::{Backend, Blocking, Caches, Lanes, Operation, Routine, SQUARE, prefetch};
use core::marker::PhantomData;

/// Most steps that are summed up at a time: of a panel of both operands so many are in the first cache. A constant of the crate
/// and not of a processor's caches, for the sum of a long product is rounded by it.
const DEPTH: usize = 256;
/// Most rows and columns of a block, however large the caches are: what [`multiply_room`] asks for at most.
const MOST_ROWS: usize = 1024;
const MOST_COLUMNS: usize = 4096;
/// A multiple of the rows and columns of every backend's panels, which packed panels are filled up to.
const PANEL: usize = 96;
/// Bytes that packed panels are aligned to.
const ALIGNMENT: usize = Caches::LINE;

/// The operands of a product, column-major.
#[derive(Clone, Copy, Debug)]
pub enum Factors<'a, T> {
    /// A B: `rows x inner` and `inner x columns`.
    Plain(Matrix<'a, T>, Matrix<'a, T>),
    /// A^T B: `inner x rows` and `inner x columns`.
    TransposedLeft(Matrix<'a, T>, Matrix<'a, T>),
    /// A B^T: `rows x inner` and `columns x inner`.
    TransposedRight(Matrix<'a, T>, Matrix<'a, T>),
}

/// What a product is added to.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a, T> {
    /// Nothing: what was in the output is not read.
    Zero,
    /// What is in the output.
    Output,
    /// One number a row.
    Rows(&'a [T]),
    /// One number a column.
    Columns(&'a [T]),
    /// A matrix of the output's shape.
    Matrix(Matrix<'a, T>),
}

/// How many numbers of room [`multiply`] makes use of at most, for an output `rows x columns` and operands that have `inner` in common.
///
/// ```
/// use attractor::kernel::multiply_room;
/// const ROOM: usize = multiply_room(64, 784, 256);
/// assert!(ROOM < 100_000); // of a product of 64 samples with 200,704 weights
/// ```
#[must_use]
pub const fn multiply_room(rows: usize, inner: usize, columns: usize) -> usize {
    let depth = steps(inner);
    let rows = if rows < MOST_ROWS { rows } else { MOST_ROWS };
    let columns = if columns < MOST_COLUMNS { columns } else { MOST_COLUMNS };
    depth * (rows.next_multiple_of(PANEL) + columns.next_multiple_of(PANEL)) + ALIGNMENT
}

/// Steps that are summed up at a time, of `inner`: as many each time, but for the last.
const fn steps(inner: usize) -> usize {
    if inner <= DEPTH {
        return inner;
    }
    inner.div_ceil(inner.div_ceil(DEPTH))
}

/// `out = s(start + factor * product)` with the activation `A`, [`Identity`](super::Identity) for none: a product of dense matrices of any
/// shape, in blocks that stay in the caches and tiles that stay in registers (Goto and van de Geijn, "Anatomy of high-performance matrix
/// multiplication", ACM TOMS 34(3), 2008; Van Zee and van de Geijn, "BLIS: a framework for rapidly instantiating BLAS functionality",
/// ACM TOMS 41(3), 2015).
///
/// `room` is for copies of operands in the order they are read in. [`multiply_room`] says how many numbers it takes; what they are does not
/// matter. Any length will do, none too: with less room less is copied. Long products are slower then, and A^T B, whose left operand has no
/// rows side by side, is so at any length. Copies are made where they pay only. The result has the same bits with any room.
///
/// Rows of the output are in the lanes of vectors, so it should have at least a few. For a single sample there are
/// [`layer`](super::layer) and [`transposed`](super::transposed).
///
/// A number of the output is off by at most `(inner + 4) * PRECISION` times what it is with all operands' magnitudes in their place, before
/// its activation. What is infinite or NaN goes where plain arithmetic has it go.
///
/// ```
/// use attractor::kernel::{self, Factors, Identity, Start, Tanh};
/// use attractor::simd::Backend;
/// use nalgebra::{SMatrix, matrix};
///
/// let inputs = matrix![1.0_f32, 2.0; 3.0, 4.0; 5.0, 6.0];  // 3 samples x 2 inputs
/// let weights = matrix![0.5_f32, -1.0; 2.0, 0.0];          // 2 outputs x 2 inputs
/// let mut outputs = SMatrix::<f32, 3, 2>::zeros();
/// let factors = Factors::TransposedRight((&inputs).into(), (&weights).into());
/// let bias = Start::Columns(&[0.5, -2.0]);
/// kernel::multiply::<_, Identity>(Backend::best(), factors, 1.0, bias, &mut [], (&mut outputs).into())?;
/// assert_eq!(outputs, matrix![-1.0, 0.0; -2.0, 4.0; -3.0, 8.0]);
///
/// kernel::multiply::<_, Tanh>(Backend::best(), factors, 1.0, bias, &mut [], (&mut outputs).into())?;
/// assert!((outputs[(0, 0)] - (-1.0_f32).tanh()).abs() < 1e-6);
/// # Ok::<(), kernel::ShapeError>(())
/// ```
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit; nothing is changed then.
#[inline]
pub fn multiply<T: Scalar, A: Activation>(
    backend: Backend,
    factors: Factors<'_, T>,
    factor: T,
    start: Start<'_, T>,
    room: &mut [T],
    out: MatrixMut<'_, T>,
) -> Result<(), ShapeError> {
    if const { TYPED } {
        let finish = if const { A::IDENTITY } { None } else { Some(Activate::<A>(PhantomData)) };
        let job = Job::new(factors, factor, start, room, out, None)?;
        T::run(backend, Multiply { job, finish });
    } else {
        let functions = if const { A::IDENTITY } { None } else { Some(T::functions::<A>()) };
        let job = Job::new(factors, factor, start, room, out, functions)?;
        T::once::<MultiplyOnce>((backend, job));
    }
    Ok(())
}
once!(MultiplyOnce: (Backend, Job<'a, T>) => (), multiply_once);

fn multiply_once<T: Scalar>((backend, job): (Backend, Job<'_, T>)) {
    let finish = job.functions.map(|functions| functions.up());
    T::run(backend, Multiply { job, finish });
}

/// What tiles are added to.
#[derive(Clone, Copy)]
enum Begin<T> {
    /// Numbers for every row, columns so far apart, of which there may be one for all.
    Vectors(*const T, usize),
    /// A number for every column, so far apart, or one for all.
    Numbers(*const T, usize),
}

impl<T> Begin<T> {
    #[inline(always)]
    fn at(self, row: usize, column: usize) -> Self {
        match self {
            Self::Vectors(start, stride) => Self::Vectors(start.wrapping_add(row + column * stride), stride),
            Self::Numbers(start, stride) => Self::Numbers(start.wrapping_add(column * stride), stride),
        }
    }
}

/// A product whose shapes fit.
pub(crate) struct Job<'a, T: Scalar> {
    left: Operand<T>,
    right: Operand<T>,
    rows: usize,
    inner: usize,
    columns: usize,
    factor: T,
    start: Start<'a, T>,
    room: &'a mut [T],
    out: MatrixMut<'a, T>,
    functions: Option<&'static Functions<T>>,
}

impl<'a, T: Scalar> Job<'a, T> {
    /// # Errors
    /// [`ShapeError`] if the shapes do not fit.
    #[inline]
    fn new(
        factors: Factors<'a, T>,
        factor: T,
        start: Start<'a, T>,
        room: &'a mut [T],
        out: MatrixMut<'a, T>,
        functions: Option<&'static Functions<T>>,
    ) -> Result<Self, ShapeError> {
        let operand = |matrix: Matrix<'a, T>, turned| {
            let (across, along) = if turned { (matrix.stride(), 1) } else { (1, matrix.stride()) };
            Operand { start: matrix.start(), across, along }
        };
        let (left, right, [left_rows, left_inner], [right_columns, right_inner]) = match factors {
            Factors::Plain(a, b) => {
                (operand(a, false), operand(b, true), [a.rows(), a.cols()], [b.cols(), b.rows()])
            }
            Factors::TransposedLeft(a, b) => {
                (operand(a, true), operand(b, true), [a.cols(), a.rows()], [b.cols(), b.rows()])
            }
            Factors::TransposedRight(a, b) => {
                (operand(a, false), operand(b, false), [a.rows(), a.cols()], [b.rows(), b.cols()])
            }
        };
        let (rows, columns) = (out.rows(), out.cols());
        expect("rows of a product", rows, left_rows)?;
        expect("columns of a product", columns, right_columns)?;
        expect("inner size of a product", left_inner, right_inner)?;
        match start {
            Start::Zero | Start::Output => {}
            Start::Rows(numbers) => expect("numbers for rows", rows, numbers.len())?,
            Start::Columns(numbers) => expect("numbers for columns", columns, numbers.len())?,
            Start::Matrix(matrix) => {
                expect("rows of the start", rows, matrix.rows())?;
                expect("columns of the start", columns, matrix.cols())?;
            }
        }
        Ok(Self { left, right, rows, inner: left_inner, columns, factor, start, room, out, functions })
    }
}

struct Multiply<'a, T: Scalar, F> {
    job: Job<'a, T>,
    finish: Option<F>,
}

impl<T: Scalar, F: Finish<T>> Operation<T> for Multiply<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        let Self { job, finish } = self;
        let Job { left, right, rows, inner, columns, factor, start, room, mut out, functions: _ } = job;
        // Without rows there may be any number of columns.
        if rows == 0 || columns == 0 {
            return;
        }
        let zero = T::ZERO;
        let stride = out.stride();
        let out = out.start();
        let begin = match start {
            Start::Zero => Begin::Numbers(&raw const zero, 0),
            Start::Output => Begin::Vectors(out.cast_const(), stride),
            Start::Rows(numbers) => Begin::Vectors(numbers.as_ptr(), 0),
            Start::Columns(numbers) => Begin::Numbers(numbers.as_ptr(), 1),
            Start::Matrix(matrix) => Begin::Vectors(matrix.start(), matrix.stride()),
        };
        let depth = steps(inner);
        let plan = Plan::new::<L>(left, right, rows, columns, depth, room);
        let (high, wide) = tile::<T, L>(plan.tall);
        let mut column = 0;
        while column < columns {
            let width = plan.columns.min(columns - column);
            let mut step = 0;
            // Once at least, for the start and the end.
            loop {
                let deep = depth.min(inner - step);
                let mut part = Part {
                    tall: plan.tall,
                    left,
                    right: right.at(column, step),
                    packed: [plan.left.is_some(), plan.right.is_some()],
                    rows: 0,
                    columns: width,
                    deep,
                    out,
                    stride,
                    // What was summed up before is in the output.
                    begin: if step == 0 { begin } else { Begin::Vectors(out.cast_const(), stride) },
                    factor,
                    finish: if inner - step == deep { finish } else { None },
                };
                if let Some(place) = plan.right {
                    // SAFETY: the plan has room for all panels of so many columns, and `deep` steps of them exist.
                    unsafe { pack::<T, L>(lanes, part.right, width, deep, wide, place) };
                    part.right.start = place;
                }
                let mut row = 0;
                while row < rows {
                    part.rows = plan.rows.min(rows - row);
                    part.left = left.at(row, step);
                    if let Some(place) = plan.left {
                        let whole = part.rows - part.rows % high;
                        // SAFETY: as above, for rows.
                        unsafe {
                            let rest = part.rows - whole;
                            pack::<T, L>(lanes, part.left, whole, deep, high, place);
                            let (from, to) = (part.left.at(whole, 0), place.add(whole * deep));
                            pack::<T, L>(lanes, from, rest, deep, L::WIDTH, to);
                        }
                        part.left.start = place;
                    }
                    let mut here = part;
                    here.out = out.wrapping_add(row + column * stride);
                    here.begin = part.begin.at(row, column);
                    // SAFETY: rows, columns and steps that exist, or their copies.
                    unsafe { here.run::<L>(lanes) };
                    row += part.rows;
                }
                step += deep;
                if step >= inner {
                    break;
                }
            }
            column += width;
        }
    }
}

/// Rows and columns of a whole tile, of many rows or not.
#[inline(always)]
const fn tile<T: Scalar, L: Lanes<T>>(tall: bool) -> (usize, usize) {
    let Blocking { tile_vectors, tile_columns, tall_vectors, tall_columns, .. } = L::BLOCKING;
    if tall { (tall_vectors * L::WIDTH, tall_columns) } else { (tile_vectors * L::WIDTH, tile_columns) }
}

/// What a block is, and what is copied of it.
struct Plan<T> {
    /// Whether tiles are those of many rows.
    tall: bool,
    rows: usize,
    columns: usize,
    /// Where the copies of panels begin.
    left: Option<*mut T>,
    right: Option<*mut T>,
}

impl<T: Scalar> Plan<T> {
    #[inline(always)]
    fn new<L: Lanes<T>>(
        left: Operand<T>,
        right: Operand<T>,
        rows: usize,
        columns: usize,
        depth: usize,
        room: &mut [T],
    ) -> Self {
        let tall = rows >= tile::<T, L>(true).0;
        let (high, wide) = tile::<T, L>(tall);
        let size = size_of::<T>();
        let bytes = depth * size;
        let mut plan = Self {
            tall,
            rows: rows.min(MOST_ROWS),
            columns: columns.min(MOST_COLUMNS),
            left: None,
            right: None,
        };
        // What fits any second cache is one block.
        if rows.saturating_mul(bytes) > Caches::SMALL {
            let caches = Caches::get();
            plan.rows = parts(rows, (caches.second / 4 / bytes).min(MOST_ROWS), high);
        }
        if columns.saturating_mul(bytes) > Caches::SMALL {
            let caches = Caches::get();
            plan.columns = parts(columns, (caches.third / 4 / bytes).min(MOST_COLUMNS), wide);
        }
        let mut place = room.as_mut_ptr();
        let skip = place.align_offset(ALIGNMENT).min(room.len());
        place = place.wrapping_add(skip);
        let mut left_over = room.len() - skip;
        if depth == 0 {
            return plan;
        }
        // Panels of both operands that there is room for, at `depth` steps each.
        let scattered = left.across != 1;
        // Bytes from step to step from which on a left operand is not read where it stands: a tile of more sums gives its lines more time.
        let far = 128 * (high / L::WIDTH) * wide;
        let pack_left = scattered || left.along * size >= far && columns >= 4 * wide;
        // Columns that are pages apart are in each other's places of the first cache.
        let crowded = right.across > 1 && (right.across * size).is_multiple_of(PAGE);
        let pack_right =
            rows >= 16 * high && right.across.max(right.along) * size >= NEAR || rows >= 4 * high && crowded;
        if pack_left {
            let needed = plan.rows.min(rows).next_multiple_of(high);
            let all = left_over / depth / high * high;
            let share = if pack_right { (all / 2).next_multiple_of(high).min(all) } else { all };
            if needed > all {
                plan.rows = share;
            }
            if all > 0 {
                plan.left = Some(place);
                let taken = (plan.rows.min(rows).next_multiple_of(high) * depth).next_multiple_of(ALIGNMENT);
                place = place.wrapping_add(taken);
                left_over = left_over.saturating_sub(taken);
            } else {
                // Tiles of rows that are scattered read the right operand where it stands.
                plan.rows = rows;
                if scattered {
                    return plan;
                }
            }
        }
        if pack_right {
            let most = left_over / depth / wide * wide;
            if most > 0 {
                plan.columns = plan.columns.min(most);
                plan.right = Some(place);
            }
        }
        plan
    }
}

/// Bytes after which memory is in the same places of the first cache, on most processors.
const PAGE: usize = 4096;
/// Bytes from column to column, or step to step, up to which a right operand may stay where it stands.
const NEAR: usize = 1024;

/// How many of `count` are taken at a time, at most `most`, so that all parts are of about a size; whole tiles.
#[inline(always)]
const fn parts(count: usize, most: usize, tile: usize) -> usize {
    let most = if most < tile { tile } else { most };
    count.div_ceil(count.div_ceil(most)).next_multiple_of(tile)
}

/// Steps of a sum after which the output may have left the first cache.
const LONG: usize = 64;

/// Copies panels of `width` rows (or columns), one step after another, zeros where there are no more.
///
/// # Safety
/// `count` rows of `deep` steps must exist, and be writable at `to`, as many as `width` divides.
#[inline(always)]
unsafe fn pack<T: Scalar, L: Lanes<T>>(
    lanes: L,
    from: Operand<T>,
    count: usize,
    deep: usize,
    width: usize,
    to: *mut T,
) {
    if count > 0 {
        lanes.vectorize(Pack { from, count, deep, width, to });
    }
}

struct Pack<T> {
    from: Operand<T>,
    count: usize,
    deep: usize,
    width: usize,
    to: *mut T,
}

impl<T: Scalar, L: Lanes<T>> Routine<L> for Pack<T> {
    type Output = ();

    #[inline(always)]
    fn run(self, lanes: L) {
        let Self { from, count, deep, width, mut to } = self;
        let mut row = 0;
        // SAFETY: `pack` says that all of it exists.
        unsafe {
            if count % width != 0 {
                let last = to.add(count / width * width * deep);
                for i in 0..deep * width {
                    *last.add(i) = T::ZERO;
                }
            }
            while row < count {
                // Side by side, a step is read for several panels, as far as a page goes.
                let some = if from.across == 1 { TOGETHER * width } else { width }.min(count - row);
                let from = from.at(row, 0);
                if from.across == 1 {
                    copy(lanes, from, some, deep, width, to);
                } else {
                    turn(lanes, from, some, deep, width, to);
                }
                to = to.add(some.next_multiple_of(width) * deep);
                row += some;
            }
        }
    }
}

/// Steps on that are asked for while one is copied.
const AHEAD: usize = 2;
/// Panels that are copied together.
const TOGETHER: usize = 8;

/// Panels whose rows are side by side.
///
/// # Safety
/// As [`pack`].
#[inline(always)]
unsafe fn copy<T: Scalar, L: Lanes<T>>(
    lanes: L,
    from: Operand<T>,
    count: usize,
    deep: usize,
    width: usize,
    to: *mut T,
) {
    let along = from.along;
    for step in 0..deep {
        let mut from = from.at(0, step).start;
        let mut to = to.wrapping_add(step * width);
        let mut left = count;
        // Steps may be pages apart, where the processor foresees nothing.
        let ahead = from.wrapping_add(AHEAD * along);
        let mut line = 0;
        while line < count {
            prefetch(ahead.wrapping_add(line));
            line += const { ALIGNMENT / size_of::<T>() };
        }
        while left > 0 {
            let there = width.min(left);
            // SAFETY: so many numbers at every step.
            unsafe {
                match there {
                    12 => move_all::<T, 12>(from, to),
                    6 => move_all::<T, 6>(from, to),
                    4 => move_all::<T, 4>(from, to),
                    _ => {
                        let mut at = 0;
                        while there - at >= L::WIDTH {
                            lanes.store(to.add(at), lanes.load(from.add(at)));
                            at += L::WIDTH;
                        }
                        while at < there {
                            *to.add(at) = *from.add(at);
                            at += 1;
                        }
                    }
                }
            }
            from = from.wrapping_add(there);
            to = to.wrapping_add(width * deep);
            left -= there;
        }
    }
}

/// Moves so many numbers, which are known while compiling.
///
/// # Safety
/// They must exist.
#[inline(always)]
unsafe fn move_all<T: Scalar, const N: usize>(from: *const T, to: *mut T) {
    // SAFETY: the same contract, which the caller keeps.
    unsafe { to.cast::<[T; N]>().write_unaligned(from.cast::<[T; N]>().read_unaligned()) };
}

/// A panel whose steps are side by side.
///
/// # Safety
/// As [`pack`].
#[inline(always)]
unsafe fn turn<T: Scalar, L: Lanes<T>>(
    lanes: L,
    from: Operand<T>,
    there: usize,
    deep: usize,
    width: usize,
    to: *mut T,
) {
    let mut step = 0;
    // SAFETY: `there` rows of `deep` steps.
    unsafe {
        while step < deep {
            // A line of the cache at a time, so that it is read while it is there.
            let some = const { ALIGNMENT / size_of::<T>() }.min(deep - step);
            let mut next = 0;
            while next < there {
                // Fewer than a square are turned with some that were already.
                let (row, rows) =
                    if there < SQUARE { (0, there) } else { (next.min(there - SQUARE), SQUARE) };
                next = row + rows;
                let from = from.at(row, step);
                let to = to.add(step * width + row);
                // The panel after this one.
                for r in 0..rows {
                    prefetch(from.at(width + r, 0).start);
                }
                let mut s = 0;
                while rows == SQUARE && some - s >= SQUARE {
                    lanes.turn(from.at(0, s).start, from.across, to.add(s * width), width);
                    s += SQUARE;
                }
                while s < some {
                    for r in 0..rows {
                        *to.add(s * width + r) = *from.at(r, s).start;
                    }
                    s += 1;
                }
            }
            step += some;
        }
    }
}

/// A block: some rows and columns, and some steps of their sums.
#[derive(Clone, Copy)]
struct Part<T, F> {
    /// As in the plan.
    tall: bool,
    left: Operand<T>,
    right: Operand<T>,
    /// Whether the operands are copies, in panels.
    packed: [bool; 2],
    rows: usize,
    columns: usize,
    deep: usize,
    out: *mut T,
    stride: usize,
    begin: Begin<T>,
    factor: T,
    finish: Option<F>,
}

impl<T: Scalar, F: Finish<T>> Part<T, F> {
    /// # Safety
    /// All of it must exist.
    #[inline(always)]
    unsafe fn run<L: Lanes<T>>(self, lanes: L) {
        let (high, _) = tile::<T, L>(self.tall);
        let whole = self.rows - self.rows % high;
        // SAFETY: rows that exist.
        unsafe {
            if self.left.across != 1 && !self.packed[0] {
                let mut row = 0;
                while row < self.rows {
                    let count = L::WIDTH.min(self.rows - row);
                    let left = self.left.at(row, 0);
                    self.rows::<L, 1, SCATTERED>(lanes, left, row, count, 1, 0);
                    row += count;
                }
                return;
            }
            if whole > 0 {
                let (left, panel) = self.panels(0, high);
                if self.tall && const { L::BLOCKING.tall_vectors == 4 } {
                    self.rows::<L, 4, WHOLE>(lanes, left, 0, high, whole / high, panel);
                } else if const { L::BLOCKING.tile_vectors == 2 } {
                    self.rows::<L, 2, WHOLE>(lanes, left, 0, high, whole / high, panel);
                } else {
                    self.rows::<L, 1, WHOLE>(lanes, left, 0, high, whole / high, panel);
                }
            }
            let ones = (self.rows - whole) / L::WIDTH;
            if ones > 0 {
                let (left, panel) = self.panels(whole, L::WIDTH);
                self.rows::<L, 1, WHOLE>(lanes, left, whole, L::WIDTH, ones, panel);
            }
            let from = whole + ones * L::WIDTH;
            if from < self.rows {
                let (left, panel) = self.panels(from, L::WIDTH);
                if self.packed[0] {
                    self.rows::<L, 1, WHOLE>(lanes, left, from, self.rows - from, 1, panel);
                } else {
                    self.rows::<L, 1, CUT>(lanes, left, from, self.rows - from, 1, panel);
                }
            }
        }
    }

    /// The left operand from a row on, in panels of so many rows, and how far they are apart.
    #[inline(always)]
    fn panels(&self, row: usize, high: usize) -> (Operand<T>, usize) {
        if self.packed[0] {
            let start = self.left.start.wrapping_add(row * self.deep);
            (Operand { start, across: 1, along: high }, high * self.deep)
        } else {
            (self.left.at(row, 0), high)
        }
    }

    /// Whether panels of so many rows fit into the first cache, and all columns into the second: fewer bytes come from there then, for a tile has
    /// more rows than columns.
    #[inline(always)]
    const fn left_stays(&self, high: usize) -> bool {
        let bytes = self.deep * size_of::<T>();
        high * bytes <= Caches::FIRST && self.columns * bytes <= 2 * Caches::SMALL
    }

    /// All columns of some panels of rows.
    ///
    /// # Safety
    /// They must exist.
    #[inline(always)]
    unsafe fn rows<L: Lanes<T>, const V: usize, const LEFT: u8>(
        &self,
        lanes: L,
        left: Operand<T>,
        row: usize,
        count: usize,
        panels: usize,
        panel: usize,
    ) {
        let (_, wide) = tile::<T, L>(self.tall);
        let whole = self.columns - self.columns % wide;
        let mut tiles = Tiles {
            left,
            panels,
            panel,
            right: self.right,
            tile: wide * self.right.across,
            columns: whole,
            deep: self.deep,
            left_stays: self.left_stays(V * L::WIDTH),
            out: self.out.wrapping_add(row),
            stride: self.stride,
            count,
            begin: self.begin.at(row, 0),
            factor: self.factor,
            finish: self.finish,
        };
        if self.packed[1] {
            tiles.right = Operand { across: 1, along: wide, ..self.right };
            tiles.tile = wide * self.deep;
        }
        if const { LEFT != SCATTERED } && whole > 0 {
            if tiles.right.across == 1 {
                tiles.whole::<L, V, LEFT, true>(lanes, self.tall);
            } else {
                tiles.whole::<L, V, LEFT, false>(lanes, self.tall);
            }
        }
        // Columns that are left, four at a time, and two if there are no more.
        let done = if const { LEFT != SCATTERED } { whole } else { 0 };
        tiles.right.start = tiles.right.start.wrapping_add(done / wide * tiles.tile);
        let right = tiles.right;
        let rest = self.columns - done;
        let fours = if rest % LAST <= 2 { rest - rest % LAST } else { rest };
        if fours > 0 {
            tiles.to(self, row, done, fours);
            tiles.tile = LAST * right.across;
            lanes.vectorize(OnTiles::<_, _, V, LAST, LEFT, false>(&tiles));
        }
        if rest > fours {
            tiles.right = right;
            tiles.right.start = right.start.wrapping_add(fours * right.across);
            tiles.to(self, row, done + fours, rest - fours);
            lanes.vectorize(OnTiles::<_, _, V, 2, LEFT, false>(&tiles));
        }
    }
}

/// Tiles of a block that are alike.
struct Tiles<T, F> {
    left: Operand<T>,
    /// How many panels of rows there are, and how far apart.
    panels: usize,
    panel: usize,
    right: Operand<T>,
    /// From tile to tile of columns.
    tile: usize,
    columns: usize,
    deep: usize,
    /// Whether a panel of rows stays in the first cache while all columns pass by, and not a tile's columns while all rows do.
    left_stays: bool,
    out: *mut T,
    stride: usize,
    /// Rows of a panel that are there.
    count: usize,
    begin: Begin<T>,
    factor: T,
    finish: Option<F>,
}

impl<T: Scalar, F: Finish<T>> Tiles<T, F> {
    /// Whole tiles. A single vector of rows is what tiles of either kind leave.
    #[inline(always)]
    fn whole<L: Lanes<T>, const V: usize, const LEFT: u8, const SIDE: bool>(&self, lanes: L, tall: bool) {
        if const { V > 2 } || const { V == 1 && L::BLOCKING.tall_columns != L::BLOCKING.tile_columns } && tall
        {
            self.of::<L, V, LEFT, SIDE, true>(lanes);
        } else {
            self.of::<L, V, LEFT, SIDE, false>(lanes);
        }
    }

    #[inline(always)]
    fn of<L: Lanes<T>, const V: usize, const LEFT: u8, const SIDE: bool, const TALL: bool>(&self, lanes: L) {
        match const { tile::<T, L>(TALL).1 } {
            12 => lanes.vectorize(OnTiles::<_, _, V, 12, LEFT, SIDE>(self)),
            6 => lanes.vectorize(OnTiles::<_, _, V, 6, LEFT, SIDE>(self)),
            _ => lanes.vectorize(OnTiles::<_, _, V, 4, LEFT, SIDE>(self)),
        }
    }

    /// Has the processor load what the end of a long tile will read and write, while the sums are made.
    #[inline(always)]
    fn prefetch<L: Lanes<T>, const V: usize, const N: usize>(&self, row: usize, column: usize) {
        if self.deep < LONG {
            return;
        }
        let out = self.out.wrapping_add(column * self.stride + row);
        for n in 0..N {
            for v in 0..V {
                prefetch(out.wrapping_add(n * self.stride + v * L::WIDTH));
            }
        }
    }

    /// Has them give other columns.
    #[inline(always)]
    fn to(&mut self, part: &Part<T, F>, row: usize, column: usize, columns: usize) {
        self.out = part.out.wrapping_add(row + column * part.stride);
        self.begin = part.begin.at(row, column);
        self.columns = columns;
    }
}

/// Tiles of `V` vectors of rows and `N` columns; `SIDE`: columns of the right operand are side by side. By reference: one word goes
/// through a register.
struct OnTiles<'a, T, F, const V: usize, const N: usize, const LEFT: u8, const SIDE: bool>(&'a Tiles<T, F>);

impl<T: Scalar, F: Finish<T>, L: Lanes<T>, const V: usize, const N: usize, const LEFT: u8, const SIDE: bool>
    Routine<L> for OnTiles<'_, T, F, V, N, LEFT, SIDE>
{
    type Output = ();

    #[inline(always)]
    fn run(self, lanes: L) {
        let tiles = self.0;
        let across = tiles.columns.div_ceil(N);
        let (outer, inner) = if tiles.left_stays { (tiles.panels, across) } else { (across, tiles.panels) };
        for a in 0..outer {
            for b in 0..inner {
                let (panel, tile) = if tiles.left_stays { (a, b) } else { (b, a) };
                let (row, column) = (panel * V * L::WIDTH, tile * N);
                let (mut left, mut right) = (tiles.left, tiles.right);
                left.start = left.start.wrapping_add(panel * tiles.panel);
                right.start = right.start.wrapping_add(tile * tiles.tile);
                // SAFETY: `rows` says that the tile exists.
                unsafe {
                    let (count, columns) = (tiles.count, tiles.columns - column);
                    tiles.prefetch::<L, V, N>(row, column);
                    let mut sums = [[lanes.splat(T::ZERO); V]; N];
                    add::<T, L, V, N, LEFT, SIDE>(lanes, left, right, tiles.deep, count, columns, &mut sums);
                    end::<T, F, L, V, N>(lanes, tiles, row, column, sums);
                }
            }
        }
    }
}

/// Stores a tile: begun with what it is to begin with, multiplied and finished.
///
/// # Safety
/// The output must have a row and column for every sum of the tile that is there.
#[inline(always)]
unsafe fn end<T: Scalar, F: Finish<T>, L: Lanes<T>, const V: usize, const N: usize>(
    lanes: L,
    tiles: &Tiles<T, F>,
    row: usize,
    column: usize,
    sums: [[L::Vector; V]; N],
) {
    let last = (tiles.columns - column).min(N).wrapping_sub(1);
    let part = (V == 1 && tiles.count < L::WIDTH).then_some(tiles.count);
    let factor = lanes.splat(tiles.factor);
    let mut values = sums;
    // SAFETY: the caller's rows and columns; those that are not there are the last column once more.
    unsafe {
        match tiles.begin.at(row, column) {
            Begin::Numbers(start, stride) => {
                for (n, values) in values.iter_mut().enumerate() {
                    let begin = lanes.splat(*start.wrapping_add(n.min(last) * stride));
                    for value in values {
                        *value = lanes.mul_add(factor, *value, begin);
                    }
                }
            }
            Begin::Vectors(start, stride) => {
                for (n, values) in values.iter_mut().enumerate() {
                    let start = start.wrapping_add(n.min(last) * stride);
                    for (v, value) in values.iter_mut().enumerate() {
                        let begin = load(lanes, start.wrapping_add(v * L::WIDTH), part);
                        *value = lanes.mul_add(factor, *value, begin);
                    }
                }
            }
        }
        let offset = column * tiles.stride + row;
        if let Some(finish) = tiles.finish {
            finish.finish_tile(lanes, &mut values, offset, tiles.stride, part);
        }
        let out = tiles.out.wrapping_add(offset);
        for (n, values) in values.iter().enumerate() {
            if n > last {
                break;
            }
            for (v, value) in values.iter().enumerate() {
                store(lanes, out.wrapping_add(n * tiles.stride + v * L::WIDTH), *value, part);
            }
        }
    }
}
