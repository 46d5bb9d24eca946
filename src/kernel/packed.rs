//! Layers of packed weights: sums of products, written once over [`Packed`], and how sums are finished.

use super::activation::{Activation, Scalar, WithActivation};
use super::change::Change;
use super::{ShapeError, expect, load, store};
use crate::simd::{Backend, Bf16, IntState, Integers, Lanes, OnIntegers, Packed, Single};
use core::marker::PhantomData;

/// A matrix of packed weights, `rows x columns`: as many weights, in the order [`Packed`] tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedMatrix<'a, W> {
    weights: &'a [W],
    rows: usize,
    columns: usize,
}

impl<'a, W> PackedMatrix<'a, W> {
    /// # Errors
    /// [`ShapeError`] unless there are `rows * columns` weights.
    #[inline(always)]
    pub(crate) fn new(weights: &'a [W], rows: usize, columns: usize) -> Result<Self, ShapeError> {
        // A product that overflows is no number of weights.
        expect("weights", rows.saturating_mul(columns), weights.len())?;
        Ok(Self { weights, rows, columns })
    }
}

/// Where the weight of a row and a column lies in a packed matrix with so many rows and columns.
#[inline(always)]
pub(crate) const fn place(group: usize, rows: usize, columns: usize, row: usize, column: usize) -> usize {
    let grouped = columns - columns % group;
    if column < grouped {
        (column / group * rows + row) * group + column % group
    } else {
        column * rows + row
    }
}

/// A packed matrix and the states it multiplies, one for each column.
pub(crate) type PackedProduct<'a, W, H> = (PackedMatrix<'a, W>, &'a [H]);

/// What is made of sums.
pub(crate) trait EachSums<V> {
    /// Of those of all rows of a vector from `row` on, or of the first `count`.
    ///
    /// # Safety
    /// These rows must be rows of the layer.
    unsafe fn sums(&mut self, row: usize, count: Option<usize>, sums: V);
}

/// Sums up the products for each of `rows` rows and gives the sums to `each`.
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit; `each` has seen nothing then.
#[inline(always)]
pub(crate) fn packed<W, H, L: Packed<W, H>, E: EachSums<L::Vector>>(
    lanes: L,
    products: [Option<PackedProduct<'_, W, H>>; 2],
    rows: usize,
    each: &mut E,
) -> Result<(), ShapeError> {
    for (matrix, states) in products.iter().flatten() {
        expect("rows", matrix.rows, rows)?;
        expect("states", matrix.columns, states.len())?;
    }
    let mut row = 0;
    // SAFETY: the shapes were compared, and the rows of a block are less than `rows`.
    unsafe {
        if const { L::VECTORS >= 8 } {
            while row + 8 * L::ROWS <= rows {
                block::<8, 1, W, H, L, E>(lanes, &products, rows, row, None, each);
                row += 8 * L::ROWS;
            }
            if row + 4 * L::ROWS <= rows {
                block::<4, 2, W, H, L, E>(lanes, &products, rows, row, None, each);
                row += 4 * L::ROWS;
            }
        } else if const { L::VECTORS >= 4 } {
            while row + 4 * L::ROWS <= rows {
                block::<4, 1, W, H, L, E>(lanes, &products, rows, row, None, each);
                row += 4 * L::ROWS;
            }
        }
        if const { L::VECTORS >= 4 } {
            while row + L::ROWS <= rows {
                block::<1, 4, W, H, L, E>(lanes, &products, rows, row, None, each);
                row += L::ROWS;
            }
            if row < rows {
                block::<1, 4, W, H, L, E>(lanes, &products, rows, row, Some(rows - row), each);
            }
        } else {
            while row < rows {
                let count = (rows - row < L::ROWS).then_some(rows - row);
                block::<1, 1, W, H, L, E>(lanes, &products, rows, row, count, each);
                row += L::ROWS;
            }
        }
    }
    Ok(())
}

/// `VECTORS` vectors of rows from `row` on, or the first `count` rows of one; each sum in `SPLIT` parts, so that one addition need not
/// wait for the other.
///
/// # Safety
/// The rows must be rows of the matrices, which have `rows`, and the shapes must fit.
#[inline(always)]
unsafe fn block<const VECTORS: usize, const SPLIT: usize, W, H, L: Packed<W, H>, E: EachSums<L::Vector>>(
    lanes: L,
    products: &[Option<PackedProduct<'_, W, H>>; 2],
    rows: usize,
    row: usize,
    count: Option<usize>,
    each: &mut E,
) {
    if const { L::WHOLE } {
        let mut sum = lanes.none();
        // SAFETY: the caller vouches for the rows; there is a state for each column.
        unsafe {
            for (matrix, states) in products.iter().flatten() {
                let (weights, shape) = (matrix.weights.as_ptr(), (rows, matrix.columns));
                lanes.product(&mut sum, weights, shape, states.as_ptr(), row, count);
            }
            each.sums(row, count, lanes.total(sum));
        }
        return;
    }
    // SAFETY: the same contract, which the caller keeps.
    let sums = unsafe { sums_of::<VECTORS, SPLIT, W, H, L>(lanes, products, rows, row, count) };
    for (vector, sum) in sums.into_iter().enumerate() {
        // SAFETY: the caller vouches for the rows.
        unsafe { each.sums(row + vector * L::ROWS, count, lanes.total(sum)) };
    }
}

/// The sums of a block.
///
/// # Safety
/// As [`block`].
#[inline(always)]
unsafe fn sums_of<const VECTORS: usize, const SPLIT: usize, W, H, L: Packed<W, H>>(
    lanes: L,
    products: &[Option<PackedProduct<'_, W, H>>; 2],
    rows: usize,
    row: usize,
    count: Option<usize>,
) -> [L::Sum; VECTORS] {
    let mut parts = [[lanes.none(); VECTORS]; SPLIT];
    for (matrix, states) in products.iter().flatten() {
        let groups = matrix.columns / L::GROUP;
        // SAFETY: a packed matrix has GROUP weights for each of `rows` rows in each group, then `rows` for each column left over; and
        // there is a state for each column.
        unsafe {
            let (first, states) = (matrix.weights.as_ptr(), states.as_ptr());
            let mut group = 0;
            while group + SPLIT <= groups {
                for (part, sums) in parts.iter_mut().enumerate() {
                    let weights = first.add(((group + part) * rows + row) * L::GROUP);
                    let states = lanes.spread(states.add((group + part) * L::GROUP));
                    for (vector, sum) in sums.iter_mut().enumerate() {
                        *sum = lanes.add(*sum, weights.add(vector * L::ROWS * L::GROUP), count, states);
                    }
                }
                group += SPLIT;
            }
            let sums = &mut parts[0];
            while group < groups {
                let weights = first.add((group * rows + row) * L::GROUP);
                let states = lanes.spread(states.add(group * L::GROUP));
                for (vector, sum) in sums.iter_mut().enumerate() {
                    *sum = lanes.add(*sum, weights.add(vector * L::ROWS * L::GROUP), count, states);
                }
                group += 1;
            }
            let mut column = groups * L::GROUP;
            while column < matrix.columns {
                let weights = first.add(column * rows + row);
                let state = lanes.spread_one(states.add(column));
                for (vector, sum) in sums.iter_mut().enumerate() {
                    *sum = lanes.add_one(*sum, weights.add(vector * L::ROWS), count, state);
                }
                column += 1;
            }
        }
    }
    let mut sums = parts[0];
    for part in &parts[1..] {
        for (sum, other) in sums.iter_mut().zip(part) {
            *sum = lanes.both(*sum, *other);
        }
    }
    sums
}

/// The rows of a layer of integers: what is added to a sum, and what it is multiplied with, scale / 2^(16 + exponent).
#[derive(Clone, Copy, Debug)]
pub struct IntegerRows<'a> {
    /// Added to a sum.
    pub bias: &'a [i32],
    /// At least 0.
    pub scale: &'a [i16],
    /// 0 to 31.
    pub exponent: &'a [i8],
}

/// One layer of integers, as [`Quantized`](crate::quantized::Quantized) has many: `out` becomes
/// s((W (h + o) + bias) scale / 2^(16 + exponent)), o being 128 for states of 8 bits, else 0. Returns the largest |new - old|.
///
/// `weights` are as many as rows times states: for each group of four columns, row after row, the four weights of a row; then the columns left
/// over, each row after row. Sums that leave 32 bits go round; see [`Quantized::check`](crate::quantized::Quantized::check).
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit; nothing is changed then.
///
/// ```
/// use attractor::kernel::{IntegerRows, Identity, integer_layer};
/// use attractor::simd::Backend;
/// let rows = IntegerRows { bias: &[5, -100], scale: &[1 << 14; 2], exponent: &[0; 2] };
/// let mut out = [0_i16; 2];
/// let change = integer_layer::<i16, Identity>(Backend::best(), &[1, 2, 3, 4, -1, -1, -1, -1], &[10, 20, 30, 40], rows, &mut out)?;
/// assert_eq!(out, [76, -50]); // (300 + 5) / 4 and (-100 - 100) / 4, rounded down
/// # Ok::<(), attractor::kernel::ShapeError>(())
/// ```
pub fn integer_layer<H: IntState, A: Activation>(
    backend: Backend,
    weights: &[i8],
    states: &[H],
    rows: IntegerRows<'_>,
    out: &mut [H],
) -> Result<i32, ShapeError> {
    let matrix = PackedMatrix::new(weights, out.len(), states.len())?;
    H::run(backend, OneLayer { product: (matrix, states), rows, out, activation: PhantomData::<A> })
}

struct OneLayer<'a, H, A> {
    product: PackedProduct<'a, i8, H>,
    rows: IntegerRows<'a>,
    out: &'a mut [H],
    activation: PhantomData<A>,
}

impl<H: IntState, A: Activation> OnIntegers<H> for OneLayer<'_, H, A> {
    type Output = Result<i32, ShapeError>;
    #[inline(always)]
    fn run<L>(self, lanes: L) -> Self::Output
    where
        L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>,
    {
        let Self { product, rows, out, .. } = self;
        let (mut change, products) = (lanes.splat(0), [None, Some(product)]);
        IntegerLayer { lanes, products, rows, base: None, own: out, change: &mut change }.with::<A>()?;
        Ok(lanes.largest(change))
    }
}

impl IntegerRows<'_> {
    #[inline(always)]
    fn has(&self, rows: usize) -> Result<(), ShapeError> {
        expect("bias", rows, self.bias.len())?;
        expect("scale", rows, self.scale.len())?;
        expect("exponent", rows, self.exponent.len())
    }

    /// (sum + bias) scale / 2^(16 + exponent), rounded down.
    ///
    /// # Safety
    /// The rows must be there.
    #[inline(always)]
    unsafe fn scaled<L: Integers>(
        &self,
        lanes: L,
        row: usize,
        count: Option<usize>,
        sums: L::Whole,
    ) -> L::Whole {
        // SAFETY: the caller vouches for the rows.
        unsafe {
            let sums = lanes.plus(sums, lanes.load(self.bias.as_ptr().add(row), count));
            let product = lanes.high_product(sums, lanes.load_16(self.scale.as_ptr().add(row), count));
            lanes.shift_each(product, lanes.load_8(self.exponent.as_ptr().add(row), count))
        }
    }
}

/// z = base + (W h + bias) scale: as an injection, which other sums are added to.
struct Driven<'a, L> {
    lanes: L,
    rows: IntegerRows<'a>,
    injection: &'a mut [i32],
}

impl<L: Integers> EachSums<L::Whole> for Driven<'_, L> {
    #[inline(always)]
    unsafe fn sums(&mut self, row: usize, count: Option<usize>, sums: L::Whole) {
        // SAFETY: the same contract, which the caller keeps.
        unsafe {
            let z = self.rows.scaled(self.lanes, row, count, sums);
            self.lanes.store(self.injection.as_mut_ptr().add(row), z, count);
        }
    }
}

/// The first layer's sums of its inputs.
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit; nothing is changed then.
#[inline(always)]
pub(crate) fn integer_injection<H: IntState, L>(
    lanes: L,
    product: PackedProduct<'_, i8, H>,
    rows: IntegerRows<'_>,
    injection: &mut [i32],
) -> Result<(), ShapeError>
where
    L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>,
{
    let units = injection.len();
    rows.has(units)?;
    packed(lanes, [None, Some(product)], units, &mut Driven { lanes, rows, injection })
}

/// A layer of integers: h = s(base + (sum of products + bias) scale).
pub(crate) struct IntegerLayer<'a, 'b, H, L: Integers> {
    pub(crate) lanes: L,
    pub(crate) products: [Option<PackedProduct<'a, i8, H>>; 2],
    pub(crate) rows: IntegerRows<'a>,
    pub(crate) base: Option<&'b [i32]>,
    pub(crate) own: &'b mut [H],
    /// Becomes the largest |new - old| where that is larger.
    pub(crate) change: &'b mut L::Whole,
}

impl<H: IntState, L> WithActivation for IntegerLayer<'_, '_, H, L>
where
    L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>,
{
    /// [`ShapeError`] if the shapes do not fit; nothing is changed then.
    type Output = Result<(), ShapeError>;
    #[inline(always)]
    fn with<A: Activation>(self) -> Self::Output {
        let (lanes, products, units) = (self.lanes, self.products, self.own.len());
        self.rows.has(units)?;
        if let Some(base) = self.base {
            expect("base", units, base.len())?;
        }
        packed(lanes, products, units, &mut Settled { layer: self, activation: PhantomData::<A> })
    }
}

/// A layer with its activation.
struct Settled<K, A> {
    layer: K,
    activation: PhantomData<A>,
}

impl<H: IntState, A: Activation, L: Integers> EachSums<L::Whole> for Settled<IntegerLayer<'_, '_, H, L>, A> {
    #[inline(always)]
    unsafe fn sums(&mut self, row: usize, count: Option<usize>, sums: L::Whole) {
        let IntegerLayer { lanes, rows, base, ref mut own, ref mut change, .. } = self.layer;
        let own = own.as_mut_ptr();
        // SAFETY: the same contract, which the caller keeps.
        unsafe {
            let moved = if const { L::NARROW } {
                let mut moved = 0;
                for lane in 0..count.unwrap_or(L::WIDTH).min(L::WIDTH) {
                    let sum = lanes.lane(sums, lane);
                    moved = moved.max(settle::<H, A, Single>(Single, rows, base, own, row + lane, None, sum));
                }
                lanes.splat(moved)
            } else {
                settle::<H, A, L>(lanes, rows, base, own, row, count, sums)
            };
            **change = lanes.most(**change, moved);
        }
    }
}

/// Makes states of sums; by how much they change.
///
/// # Safety
/// The rows must be there.
#[inline(always)]
unsafe fn settle<H: IntState, A: Activation, L: Integers>(
    lanes: L,
    rows: IntegerRows<'_>,
    base: Option<&[i32]>,
    own: *mut H,
    row: usize,
    count: Option<usize>,
    sums: L::Whole,
) -> L::Whole {
    // SAFETY: the caller vouches for the rows; a state is of 8 or of 16 bits, as BITS says.
    unsafe {
        let mut z = rows.scaled(lanes, row, count, sums);
        if let Some(base) = base {
            z = lanes.plus(z, lanes.load(base.as_ptr().add(row), count));
        }
        let h = A::quantized::<H, L>(lanes, z);
        let own = own.add(row);
        let before =
            if H::BITS < 8 { lanes.load_8(own.cast(), count) } else { lanes.load_16(own.cast(), count) };
        if H::BITS < 8 {
            lanes.store_8(own.cast(), h, count);
        } else {
            lanes.store_16(own.cast(), h, count);
        }
        let change = lanes.magnitude(lanes.minus(h, before));
        // Beyond the last row there was nothing and there is s(0).
        match count {
            None => change,
            Some(count) => lanes.first_of(change, count),
        }
    }
}

/// What is added to the sums of a layer of floating-point numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HalfBase<'a, T> {
    Bias(&'a [Bf16]),
    Injection(&'a [T]),
}

/// A layer of weights of 16 bits: h = s(base + sum of products).
pub(crate) struct HalfLayer<'a, 'b, T: Scalar, L: Lanes<T>> {
    pub(crate) lanes: L,
    pub(crate) products: [Option<PackedProduct<'a, Bf16, T>>; 2],
    pub(crate) base: HalfBase<'b, T>,
    pub(crate) own: &'b mut [T],
    pub(crate) change: &'b mut Change<L::Vector>,
}

impl<T: Scalar, L: Lanes<T>> WithActivation for HalfLayer<'_, '_, T, L> {
    /// [`ShapeError`] if the shapes do not fit; nothing is changed then.
    type Output = Result<(), ShapeError>;
    #[inline(always)]
    fn with<A: Activation>(self) -> Self::Output {
        let (lanes, products, units) = (self.lanes, self.products, self.own.len());
        match self.base {
            HalfBase::Bias(bias) => expect("bias", units, bias.len())?,
            HalfBase::Injection(injection) => expect("injection", units, injection.len())?,
        }
        packed(lanes, products, units, &mut Settled { layer: self, activation: PhantomData::<A> })
    }
}

impl<T: Scalar, A: Activation, L: Lanes<T>> EachSums<L::Vector> for Settled<HalfLayer<'_, '_, T, L>, A> {
    #[inline(always)]
    unsafe fn sums(&mut self, row: usize, count: Option<usize>, sums: L::Vector) {
        let HalfLayer { lanes, base, ref mut own, ref mut change, .. } = self.layer;
        // SAFETY: the same contract, which the caller keeps.
        unsafe {
            let base = match base {
                HalfBase::Bias(bias) => lanes.load_bf16(bias.as_ptr().add(row), count),
                HalfBase::Injection(injection) => load(lanes, injection.as_ptr().add(row), count),
            };
            let z = lanes.add(sums, base);
            let own = own.as_mut_ptr().add(row);
            let old = load(lanes, own, count);
            store(lanes, own, A::value(lanes, z), count);
            // As it was stored: beyond the last row there are zeros.
            let new = load(lanes, own, count);
            change.record(lanes, z, lanes.abs(lanes.sub(new, old)));
        }
    }
}
