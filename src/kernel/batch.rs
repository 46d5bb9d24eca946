//! The fused layer of a batch: samples in the lanes, a weight one broadcast whichever way the matrix is read.

use super::{Base, Change, EachProduct, Finish, Product, Products, Scalar, load, store};
use crate::simd::Lanes;

/// Units from which on a matrix counts as tall.
const TALL: usize = 256;

/// A batch: samples in the lanes, weights as broadcasts.
pub(super) struct Batch<'a, const TRANSPOSED: bool, T, L, P, F> {
    pub(super) lanes: L,
    pub(super) base: Base<'a, T>,
    pub(super) products: P,
    pub(super) finish: F,
    pub(super) out: *mut T,
    pub(super) stride: usize,
    pub(super) samples: usize,
    pub(super) units: usize,
}

impl<'a, const TRANSPOSED: bool, T, L, P, F> Batch<'a, TRANSPOSED, T, L, P, F>
where
    T: Scalar,
    L: Lanes<T>,
    P: Products<'a, T>,
    F: Finish<T>,
{
    /// Two vectors of samples at a time, then one, then a masked one.
    #[inline(always)]
    pub(super) unsafe fn run(&self, changes: &mut [Change<L::Vector>]) {
        let mut sample = 0;
        let mut index = 0;
        // One place for each kind of group, which is long code.
        while let Some(left) = changes.get_mut(index..).filter(|left| !left.is_empty()) {
            let whole = self.samples - sample >= 2 * L::WIDTH;
            let pair = if whole { left.first_chunk_mut::<2>() } else { None };
            let taken = if let Some(pair) = pair {
                // Of a tall matrix, whose columns are far apart, a wide tile takes more of every cache line it touches.
                if const { L::BLOCKING.wide_tiles && !TRANSPOSED } && self.units >= TALL {
                    // SAFETY: both vectors of samples exist.
                    unsafe { self.group::<8, 2>(sample, None, pair) };
                } else {
                    // SAFETY: as above.
                    unsafe { self.group::<4, 2>(sample, None, pair) };
                }
                2
            } else if let Some(change) = changes.get_mut(index) {
                // SAFETY: `single` masks what does not exist.
                unsafe { self.single(sample, change) };
                1
            } else {
                return;
            };
            sample += taken * L::WIDTH;
            index += taken;
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
        let mut tile = Tile::<TRANSPOSED, _, _, R, C> { lanes, sums, unit, sample, count };
        self.products.visit(&mut tile);
        // All activations before anything else: their long chains of dependent operations run side by side.
        let mut values = tile.sums;
        // SAFETY: the output's own units and samples.
        unsafe {
            self.finish.finish_tile(lanes, &mut values, unit * self.stride + sample, self.stride, count);
        }
        for (r, (sums, values)) in tile.sums.iter().zip(values).enumerate() {
            let offset = (unit + r) * self.stride + sample;
            for (c, change) in changes.iter_mut().enumerate() {
                // SAFETY: as above.
                unsafe {
                    let at = self.out.add(offset + c * L::WIDTH);
                    let old = load(lanes, at, count);
                    let active = lanes.less(lanes.splat(T::ZERO), change.active);
                    let new = lanes.select(active, values[c], old);
                    let difference = lanes.abs(lanes.sub(new, old));
                    let difference = self.finish.weigh(lanes, difference, offset + c * L::WIDTH, count);
                    change.record(lanes, self.finish.shown(lanes, sums[c], new), difference);
                    store(lanes, at, new, count);
                }
            }
        }
    }
}

/// The sums of `R` units for `C` vectors of samples.
struct Tile<const TRANSPOSED: bool, V, L, const R: usize, const C: usize> {
    lanes: L,
    sums: [[V; C]; R],
    unit: usize,
    sample: usize,
    count: Option<usize>,
}

impl<'a, const TRANSPOSED: bool, T: Scalar, L: Lanes<T>, const R: usize, const C: usize> EachProduct<'a, T>
    for Tile<TRANSPOSED, L::Vector, L, R, C>
{
    #[inline(always)]
    fn product(&mut self, Product { matrix, operand }: Product<'a, T>) {
        let Self { lanes, unit, sample, count, .. } = *self;
        let mut sums = self.sums;
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
        self.sums = sums;
    }
}
