//! The fused layer of a batch: samples in the lanes, a weight one broadcast whichever way the matrix is read.

use super::tile::{CUT, LAST, Operand, WHOLE, add};
use super::{Base, CHUNK, Change, EachProduct, Finish, Product, Products, Scalar, load, store};
use crate::simd::{Lanes, MAX_WIDTH, SQUARE};
use core::ops::Range;

/// A batch: samples in the lanes, weights as broadcasts.
pub(super) struct Batch<'a, const TRANSPOSED: bool, T, L, P, F> {
    pub(super) lanes: L,
    pub(super) base: Base<'a, T>,
    pub(super) products: P,
    pub(super) finish: F,
    pub(super) out: *mut T,
    pub(super) stride: usize,
    /// The first sample, and how many.
    pub(super) first: usize,
    pub(super) samples: usize,
    pub(super) units: usize,
}

/// Bytes of a matrix from which on it is far: it and what is read beside it are more than the second caches of many processors hold.
const FAR: usize = 1 << 20;

/// How many numbers the largest matrix of products has.
struct Largest(usize);

impl<'a, T> EachProduct<'a, T> for Largest {
    #[inline(always)]
    fn product(&mut self, Product { matrix, .. }: Product<'a, T>) {
        self.0 = self.0.max(matrix.rows() * matrix.cols());
    }
}

/// Some samples: the first one, and how many of a vector there are.
#[derive(Clone, Copy)]
struct Samples {
    sample: usize,
    count: usize,
}

impl<'a, const TRANSPOSED: bool, T, L, P, F> Batch<'a, TRANSPOSED, T, L, P, F>
where
    T: Scalar,
    L: Lanes<T>,
    P: Products<'a, T>,
    F: Finish<T>,
{
    /// Two vectors of samples at a time, then one, then a masked one.
    ///
    /// # Safety
    /// The shapes must fit.
    #[inline(always)]
    pub(super) unsafe fn run(&self, changes: &mut [Change<L::Vector>]) {
        let (mut sample, end) = (self.first, self.first + self.samples);
        let mut index = 0;
        // Weights that are far are read once for all samples.
        let far = const { 2 * L::WIDTH < CHUNK } && self.samples >= 4 * L::WIDTH && self.is_far();
        // One place for each kind of group, which is long code.
        while let Some(left) = changes.get_mut(index..).filter(|left| !left.is_empty()) {
            let count = (end - sample).min(2 * L::WIDTH);
            let some = Samples { sample, count };
            let pair = if const { L::BLOCKING.tile_vectors == 2 } && count == 2 * L::WIDTH {
                let pairs = if far { (end - sample) / (2 * L::WIDTH) } else { 1 };
                left.as_chunks_mut::<2>().0.get_mut(..pairs)
            } else {
                None
            };
            // SAFETY: so many samples exist from here on.
            unsafe {
                if let Some(pairs) = pair {
                    index += 2 * pairs.len() - 1;
                    let at_once = if far { L::BLOCKING.tile_columns } else { self.units };
                    let mut unit = 0;
                    while unit < self.units {
                        let to = (unit + at_once).min(self.units);
                        let mut some = some;
                        for pair in &mut *pairs {
                            self.group::<2, WHOLE>(unit..to, some, pair);
                            some.sample += 2 * L::WIDTH;
                        }
                        unit = to;
                    }
                } else if let Some(one) = left.first_chunk_mut::<1>() {
                    if count >= L::WIDTH {
                        self.group::<1, WHOLE>(0..self.units, some, one);
                    } else if const { F::TILED && !TRANSPOSED && L::WIDTH > LAST }
                        && count <= LAST
                        && self.finish.is_elementwise()
                    {
                        self.few(some, one);
                    } else {
                        self.group::<1, CUT>(0..self.units, some, one);
                    }
                }
            }
            index += 1;
            sample = self.first + index * L::WIDTH;
        }
    }

    /// Whether the weights of a product are more than stay in a second cache beside the samples.
    #[inline(always)]
    fn is_far(&self) -> bool {
        let mut largest = Largest(0);
        self.products.visit(&mut largest);
        largest.0.saturating_mul(size_of::<T>()) >= FAR
    }

    /// Some units for `V` vectors of samples.
    ///
    /// # Safety
    /// They must exist.
    #[inline(always)]
    unsafe fn group<const V: usize, const LEFT: u8>(
        &self,
        units: Range<usize>,
        some: Samples,
        changes: &mut [Change<L::Vector>; V],
    ) {
        let mut changed = *changes;
        let Range { start: mut unit, end } = units;
        // SAFETY: the caller's units and samples.
        unsafe {
            match const { (L::BLOCKING.tile_columns, V) } {
                // Of one vector of samples a tile has fewer sums: more units keep the multiply-adds busy.
                (12, 1) => {
                    unit = self.tiles::<V, 16, LEFT>(unit, end, some, &mut changed);
                    unit = self.tiles::<V, 8, LEFT>(unit, end, some, &mut changed);
                }
                (12, _) => unit = self.tiles::<V, 12, LEFT>(unit, end, some, &mut changed),
                (6, _) => unit = self.tiles::<V, 6, LEFT>(unit, end, some, &mut changed),
                _ => {}
            }
            self.tiles::<V, LAST, LEFT>(unit, end, some, &mut changed);
        }
        *changes = changed;
    }

    /// All units for a few samples: units in the lanes while sums are made, for all lanes would be paid for the few; then they are turned. The sums
    /// have the order, and so the bits, of those with samples in the lanes.
    ///
    /// # Safety
    /// The samples, at most [`LAST`], must exist.
    #[inline(always)]
    unsafe fn few(&self, some: Samples, changes: &mut [Change<L::Vector>; 1]) {
        let mut unit = 0;
        // SAFETY: units below `units`, samples the caller's.
        unsafe {
            while self.units - unit >= 4 * L::WIDTH {
                self.few_of::<4, WHOLE>(unit, some, changes);
                unit += 4 * L::WIDTH;
            }
            while self.units - unit >= L::WIDTH {
                self.few_of::<1, WHOLE>(unit, some, changes);
                unit += L::WIDTH;
            }
            if unit < self.units {
                self.few_of::<1, CUT>(unit, some, changes);
            }
        }
    }

    /// `V` vectors of units, or those that are left.
    ///
    /// # Safety
    /// They and the samples, at most [`LAST`], must exist.
    #[inline(always)]
    unsafe fn few_of<const V: usize, const LEFT: u8>(
        &self,
        unit: usize,
        Samples { sample, count }: Samples,
        changes: &mut [Change<L::Vector>; 1],
    ) {
        let lanes = self.lanes;
        let units = (V * L::WIDTH).min(self.units - unit);
        // A row of units for every sample; behind the last one there is nothing, which is turned with the others.
        let mut rows = [[T::ZERO; 4 * MAX_WIDTH]; LAST];
        if let Base::Matrix(matrix) = self.base {
            for (s, row) in rows.iter_mut().enumerate().take(count) {
                for (u, sum) in row.iter_mut().enumerate().take(units) {
                    // SAFETY: the base has the samples and units of the output.
                    *sum = unsafe { *matrix.start().add((unit + u) * matrix.stride() + sample + s) };
                }
            }
        }
        let part = (LEFT != WHOLE).then_some(units);
        let mut sums = [[lanes.splat(T::ZERO); V]; LAST];
        for (row, sums) in rows.iter().zip(&mut sums) {
            for (v, sum) in sums.iter_mut().enumerate() {
                // SAFETY: as many units of the bias, and a row has room for four vectors.
                unsafe {
                    match self.base {
                        Base::Zero => {}
                        Base::Bias(bias) => *sum = load(lanes, bias.as_ptr().add(unit + v * L::WIDTH), part),
                        Base::Matrix(_) => *sum = lanes.load(row.as_ptr().add(v * L::WIDTH)),
                    }
                }
            }
        }
        let mut few = FewSums::<LEFT, _, _, V> { lanes, sums, unit, units, sample, count };
        self.products.visit(&mut few);
        let (sums, [change]) = (&mut few.sums, changes);
        let there = sums.get_mut(..count).unwrap_or_default();
        // It does not matter in which lane something is not finite. Lanes behind the last unit are zero.
        let shows = self.finish.shows();
        if !shows {
            for z in there.as_flattened() {
                change.poison = lanes.mul_add(*z, lanes.splat(T::ZERO), change.poison);
            }
        }
        // SAFETY: it does not depend on the place.
        unsafe { self.finish.finish_tile(lanes, there, 0, 0, None) };
        for (row, sums) in rows.iter_mut().zip(there.iter()) {
            for (v, sum) in sums.iter().enumerate() {
                // SAFETY: a row has room for four vectors.
                unsafe { lanes.store(row.as_mut_ptr().add(v * L::WIDTH), *sum) };
            }
        }
        let mut turned = [[T::ZERO; LAST]; 4 * MAX_WIDTH];
        for u in (0..units).step_by(SQUARE) {
            // SAFETY: rows of 4 * MAX_WIDTH units, a multiple of SQUARE; as many turned ones.
            unsafe {
                let from = rows.as_ptr().cast::<T>().add(u);
                lanes.turn(from, 4 * MAX_WIDTH, turned.as_mut_ptr().cast::<T>().add(u * LAST), LAST);
            }
        }
        let active = lanes.less(lanes.splat(T::ZERO), change.active);
        for (u, values) in turned.iter().enumerate().take(units) {
            let offset = (unit + u) * self.stride + sample;
            // SAFETY: the output's own units and samples; `count` is at most LAST.
            unsafe {
                let at = self.out.add(offset);
                let (old, value) =
                    (lanes.load_partial(at, count), lanes.load_partial(values.as_ptr(), count));
                let new = lanes.opaque(lanes.select(active, value, old));
                change.residual = lanes.max(lanes.abs(lanes.sub(new, old)), change.residual);
                if shows {
                    change.poison = lanes.mul_add(new, lanes.splat(T::ZERO), change.poison);
                }
                lanes.store_partial(at, new, count);
            }
        }
    }

    /// Some units, `N` at a time, and the first that is left; none is if `N` is [`LAST`].
    ///
    /// # Safety
    /// They and the samples must exist.
    #[inline(always)]
    unsafe fn tiles<const V: usize, const N: usize, const LEFT: u8>(
        &self,
        mut unit: usize,
        end: usize,
        some: Samples,
        changes: &mut [Change<L::Vector>; V],
    ) -> usize {
        let least = if N > LAST { N } else { 1 };
        while unit + least <= end {
            // SAFETY: as above.
            unsafe { self.tile::<V, N, LEFT>(unit, some, changes) };
            unit += N;
        }
        unit
    }

    /// `N` units, or those that are there, for `V` vectors of samples.
    ///
    /// # Safety
    /// They must exist.
    #[inline(always)]
    unsafe fn tile<const V: usize, const N: usize, const LEFT: u8>(
        &self,
        unit: usize,
        some: Samples,
        changes: &mut [Change<L::Vector>; V],
    ) {
        let Self { lanes, finish, .. } = *self;
        let Samples { sample, count } = some;
        let part = (LEFT != WHOLE).then_some(count);
        // Units that are not there are the last one once more.
        let units = N.min(self.units - unit);
        let mut sums = [[lanes.splat(T::ZERO); V]; N];
        for (n, sums) in sums.iter_mut().enumerate() {
            let unit = unit + if N <= LAST { n.min(units - 1) } else { n };
            match self.base {
                Base::Zero => {}
                // SAFETY: a unit below `units`, the length of the bias.
                Base::Bias(bias) => *sums = [lanes.splat(unsafe { *bias.as_ptr().add(unit) }); V],
                Base::Matrix(matrix) => {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        let offset = unit * matrix.stride() + sample + v * L::WIDTH;
                        // SAFETY: the base has the samples and units of the output.
                        *sum = unsafe { load(lanes, matrix.start().add(offset), part) };
                    }
                }
            }
        }
        let mut tile = Tile::<TRANSPOSED, LEFT, _, _, V, N> { lanes, sums, unit, units, sample, count };
        self.products.visit(&mut tile);
        let mut sums = tile.sums;
        let there = sums.get_mut(..units).unwrap_or_default();
        let offset = unit * self.stride + sample;
        // What a sum shows is seen before it is gone.
        let shows = finish.shows();
        // Where the number of units is not known, two vectors of samples are enough side by side.
        let apart = const { V == 1 || !F::TILED };
        if !shows {
            poisons(lanes, there, apart, changes);
        }
        // SAFETY: the output's own units and samples.
        unsafe {
            // All activations before anything else: their long chains of dependent operations run side by side.
            finish.finish_tile(lanes, there, offset, self.stride, part);
            if apart {
                // Two chains of largest changes, which do not wait for one another.
                let mut others = [lanes.splat(T::ZERO); V];
                let (pairs, last) = there.as_chunks::<2>();
                for (n, [first, second]) in pairs.iter().enumerate() {
                    self.keep(first, offset + 2 * n * self.stride, part, (changes, shows), None);
                    let offset = offset + (2 * n + 1) * self.stride;
                    self.keep(second, offset, part, (changes, shows), Some(&mut others));
                }
                for values in last {
                    self.keep(values, offset + (units - 1) * self.stride, part, (changes, shows), None);
                }
                for (change, other) in changes.iter_mut().zip(others) {
                    change.residual = lanes.max(other, change.residual);
                }
            } else {
                for (n, values) in there.iter().enumerate() {
                    self.keep(values, offset + n * self.stride, part, (changes, shows), None);
                }
            }
        }
    }

    /// Stores the values of a unit, and takes in what they change: their largest changes go to `beside`, where there is a second chain of them.
    ///
    /// # Safety
    /// They must exist.
    #[inline(always)]
    unsafe fn keep<const V: usize>(
        &self,
        values: &[L::Vector; V],
        offset: usize,
        part: Option<usize>,
        (changes, shows): (&mut [Change<L::Vector>; V], bool),
        mut beside: Option<&mut [L::Vector; V]>,
    ) {
        let Self { lanes, finish, .. } = *self;
        for (v, (change, value)) in changes.iter_mut().zip(values).enumerate() {
            let offset = offset + v * L::WIDTH;
            // SAFETY: the output's own units and samples.
            let (at, old) = unsafe {
                let at = self.out.add(offset);
                (at, load(lanes, at, part))
            };
            let active = lanes.less(lanes.splat(T::ZERO), change.active);
            let new = lanes.opaque(lanes.select(active, *value, old));
            // SAFETY: as above.
            let difference = unsafe { finish.weigh(lanes, lanes.abs(lanes.sub(new, old)), offset, part) };
            let largest = match beside.as_mut().and_then(|beside| beside.get_mut(v)) {
                Some(beside) => beside,
                None => &mut change.residual,
            };
            *largest = lanes.max(difference, *largest);
            if shows {
                change.poison = lanes.mul_add(new, lanes.splat(T::ZERO), change.poison);
            }
            // SAFETY: as above.
            unsafe { store(lanes, at, new, part) };
        }
    }
}

/// Takes in what is not finite of some units, in one chain, or `apart` in four, which do not wait for one another.
#[inline(always)]
fn poisons<T: Scalar, L: Lanes<T>, const V: usize>(
    lanes: L,
    sums: &[[L::Vector; V]],
    apart: bool,
    changes: &mut [Change<L::Vector>; V],
) {
    let zero = lanes.splat(T::ZERO);
    if !apart {
        for row in sums {
            for (change, z) in changes.iter_mut().zip(row) {
                change.poison = lanes.mul_add(*z, zero, change.poison);
            }
        }
        return;
    }
    let mut poisons = [[zero; V]; 4];
    let (fours, last) = sums.as_chunks::<4>();
    for four in fours {
        for (poison, row) in poisons.iter_mut().zip(four) {
            for (poison, z) in poison.iter_mut().zip(row) {
                *poison = lanes.mul_add(*z, zero, *poison);
            }
        }
    }
    let [first, second, third, fourth] = &mut poisons;
    for row in last {
        for (poison, z) in first.iter_mut().zip(row) {
            *poison = lanes.mul_add(*z, zero, *poison);
        }
    }
    for (v, change) in changes.iter_mut().enumerate() {
        let of = |poison: &[L::Vector; V]| poison.get(v).copied().unwrap_or(zero);
        let sum = lanes.add(lanes.add(of(first), of(second)), lanes.add(of(third), of(fourth)));
        change.poison = lanes.add(sum, change.poison);
    }
}

/// The sums of `N` units for `V` vectors of samples.
struct Tile<const TRANSPOSED: bool, const LEFT: u8, X, L, const V: usize, const N: usize> {
    lanes: L,
    sums: [[X; V]; N],
    unit: usize,
    /// How many units are there.
    units: usize,
    sample: usize,
    count: usize,
}

impl<'a, const TRANSPOSED: bool, const LEFT: u8, T, L, const V: usize, const N: usize> EachProduct<'a, T>
    for Tile<TRANSPOSED, LEFT, L::Vector, L, V, N>
where
    T: Scalar,
    L: Lanes<T>,
{
    #[inline(always)]
    fn product(&mut self, Product { matrix, operand }: Product<'a, T>) {
        let Self { lanes, unit, units, sample, count, .. } = *self;
        let (inputs, across, along) = if TRANSPOSED {
            (matrix.rows(), matrix.stride(), 1)
        } else {
            (matrix.cols(), 1, matrix.stride())
        };
        let left =
            Operand { start: operand.start().wrapping_add(sample), across: 1, along: operand.stride() };
        let right = Operand { start: matrix.start(), across, along }.at(unit, 0);
        // SAFETY: weights of existing rows and columns, operands of existing samples and units: `fused`
        // compared the shapes.
        unsafe {
            if const { !TRANSPOSED && N > LAST } {
                add::<T, L, V, N, LEFT, true>(lanes, left, right, inputs, count, units, &mut self.sums);
            } else {
                add::<T, L, V, N, LEFT, false>(lanes, left, right, inputs, count, units, &mut self.sums);
            }
        }
    }
}

/// The sums of `V` vectors of units, or of `units`, for a few samples.
struct FewSums<const LEFT: u8, X, L, const V: usize> {
    lanes: L,
    sums: [[X; V]; LAST],
    unit: usize,
    units: usize,
    sample: usize,
    count: usize,
}

impl<'a, const LEFT: u8, T: Scalar, L: Lanes<T>, const V: usize> EachProduct<'a, T>
    for FewSums<LEFT, L::Vector, L, V>
{
    #[inline(always)]
    fn product(&mut self, Product { matrix, operand }: Product<'a, T>) {
        let Self { lanes, unit, units, sample, count, .. } = *self;
        let left = Operand { start: matrix.start().wrapping_add(unit), across: 1, along: matrix.stride() };
        let right =
            Operand { start: operand.start().wrapping_add(sample), across: 1, along: operand.stride() };
        // SAFETY: weights of existing rows and columns, operands of existing samples and units: `fused` compared the shapes.
        unsafe {
            add::<T, L, V, LAST, LEFT, false>(
                lanes,
                left,
                right,
                matrix.cols(),
                units,
                count,
                &mut self.sums,
            );
        }
    }
}
