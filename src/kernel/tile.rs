//! The inner loop of all products: sums that stay in registers.

use super::{Scalar, load};
use crate::simd::{Lanes, MAX_WIDTH, each};

/// An operand: where it starts, from row to row (of a right one, from column to column) and from step to step of the sum.
#[derive(Clone, Copy)]
pub(super) struct Operand<T> {
    pub(super) start: *const T,
    pub(super) across: usize,
    pub(super) along: usize,
}

impl<T> Operand<T> {
    #[inline(always)]
    pub(super) fn at(self, across: usize, along: usize) -> Self {
        Self { start: self.start.wrapping_add(across * self.across + along * self.along), ..self }
    }
}

/// The rows of a tile are side by side and all there.
pub(super) const WHOLE: u8 = 0;
/// Some of them are not there.
pub(super) const CUT: u8 = 1;
/// They are not side by side.
pub(super) const SCATTERED: u8 = 2;
/// Columns of a tile at the right end; it serves fewer, too.
pub(super) const LAST: usize = 4;

/// How many of `columns` are taken by whole tiles of a backend; the others are taken [`LAST`] at a time, as all are where its tiles are no larger.
#[inline(always)]
pub(super) const fn in_whole_tiles(columns: usize, tile_columns: usize) -> usize {
    if tile_columns > LAST { columns - columns % tile_columns } else { 0 }
}

/// Adds products to the sums of a tile of `V` vectors of rows (1, 2 or 4) and `N` columns. `SIDE`: columns of the right operand are side by side, and
/// all there.
///
/// # Safety
/// So many rows (`count` if they are [`CUT`] or [`SCATTERED`]), columns (at most `N`; all `N` unless `N` is at most [`LAST`]) and steps
/// must exist.
#[inline(always)]
pub(super) unsafe fn add<
    T: Scalar,
    L: Lanes<T>,
    const V: usize,
    const N: usize,
    const LEFT: u8,
    const SIDE: bool,
>(
    lanes: L,
    left: Operand<T>,
    right: Operand<T>,
    deep: usize,
    count: usize,
    columns: usize,
    to: &mut [[L::Vector; V]; N],
) {
    // Columns that are not there are the last one once more, and not stored.
    let mut columns_at = [right.start; N];
    for (n, place) in columns_at.iter_mut().enumerate() {
        let n = if N <= LAST { n.min(columns.wrapping_sub(1)) } else { n };
        *place = right.start.wrapping_add(n * right.across);
    }
    let part = (LEFT != WHOLE && count < L::WIDTH).then_some(count);
    let mut steps = Steps::<T, L, V, N, LEFT, SIDE> {
        lanes,
        sums: *to,
        x: left.start,
        left,
        count,
        part,
        y: right.start,
        columns: columns_at,
        offset: 0,
        along: right.along,
    };
    // SAFETY: the caller's rows, columns and steps.
    unsafe {
        let mut left = deep;
        // Of columns that are apart the compiler would load several steps first, into more registers than there are.
        while SIDE && left >= UNROLLED {
            for _ in 0..UNROLLED {
                steps.step();
            }
            left -= UNROLLED;
        }
        while left > 0 {
            steps.step();
            left -= 1;
        }
    }
    *to = steps.sums;
}

/// Steps in an iteration of the loop: their loads and multiply-adds leave room for little else, and processors foresee the end of a loop that
/// is not long.
const UNROLLED: usize = 4;

/// The sums of a tile while they are added to.
struct Steps<T, L: Lanes<T>, const V: usize, const N: usize, const LEFT: u8, const SIDE: bool>
where
    T: Scalar,
{
    lanes: L,
    sums: [[L::Vector; V]; N],
    x: *const T,
    left: Operand<T>,
    count: usize,
    part: Option<usize>,
    y: *const T,
    columns: [*const T; N],
    offset: usize,
    along: usize,
}

impl<T: Scalar, L: Lanes<T>, const V: usize, const N: usize, const LEFT: u8, const SIDE: bool>
    Steps<T, L, V, N, LEFT, SIDE>
{
    /// # Safety
    /// The step must exist.
    #[inline(always)]
    unsafe fn step(&mut self) {
        let Self { lanes, x, y, offset, part, .. } = *self;
        // SAFETY: rows and columns of a step that exists.
        unsafe {
            let row = |v: usize| match LEFT {
                WHOLE => lanes.load(x.add(v * L::WIDTH)),
                CUT => load(lanes, x, part),
                _ => scattered(lanes, x, self.left.across, self.count),
            };
            // By name and not in an array, which compilers keep in memory.
            let first = row(0);
            let second = if const { V > 1 } { row(1) } else { first };
            let (third, fourth) = if const { V > 2 } { (row(2), row(3)) } else { (first, first) };
            each!(L: n < N => {
                let y = if SIDE {
                    lanes.splat_of(y, n, N)
                } else {
                    lanes.splat_of(self.columns[n].wrapping_add(offset), 0, 1)
                };
                self.sums[n][0] = lanes.mul_add(first, y, self.sums[n][0]);
                if const { V > 1 } {
                    self.sums[n][1] = lanes.mul_add(second, y, self.sums[n][1]);
                }
                if const { V > 2 } {
                    self.sums[n][2] = lanes.mul_add(third, y, self.sums[n][2]);
                    self.sums[n][3] = lanes.mul_add(fourth, y, self.sums[n][3]);
                }
            });
        }
        self.x = x.wrapping_add(self.left.along);
        self.y = y.wrapping_add(self.along);
        self.offset = offset + self.along;
    }
}

/// The first `count` rows of a vector, so far apart.
///
/// # Safety
/// They must exist.
#[inline(always)]
unsafe fn scattered<T: Scalar, L: Lanes<T>>(
    lanes: L,
    from: *const T,
    across: usize,
    count: usize,
) -> L::Vector {
    let mut rows = [T::ZERO; MAX_WIDTH];
    for (row, to) in rows.iter_mut().enumerate().take(count) {
        // SAFETY: one of the caller's.
        *to = unsafe { *from.wrapping_add(row * across) };
    }
    // SAFETY: the array holds MAX_WIDTH >= WIDTH scalars.
    unsafe { lanes.load(rows.as_ptr()) }
}
