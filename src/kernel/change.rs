//! What a pass over a layer changed: the residual and whether all stayed finite, lane by lane.

use super::{Matrix, Scalar, load, rolled};
use crate::simd::{Lanes, MAX_WIDTH, Routine};

/// What one pass changed, lane by lane. With one sample the lanes are units, with a batch they are samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<V> {
    /// Largest |new - old|.
    pub(crate) residual: V,
    /// Largest |new|, where [`scales`] has looked for it.
    pub(crate) scale: V,
    /// 0, or NaN as soon as any z, or any new value with [`Finish::SHOWS`], was infinite or NaN.
    pub(crate) poison: V,
    /// Above zero where a sample is still to be changed. Not looked at with one sample.
    pub(crate) active: V,
}

impl<V: Copy> Change<V> {
    /// Nothing has changed yet, all samples may.
    #[inline(always)]
    pub(crate) fn none<T: Scalar, L: Lanes<T, Vector = V>>(lanes: L) -> Self {
        let zero = lanes.splat(T::ZERO);
        Self { residual: zero, scale: zero, poison: zero, active: lanes.splat(T::ONE) }
    }

    /// Forgets the change and keeps who is active.
    #[inline(always)]
    pub(crate) fn reset<T: Scalar, L: Lanes<T, Vector = V>>(&mut self, lanes: L) {
        *self = Self { active: self.active, ..Self::none(lanes) };
    }

    /// The largest change of all lanes; NaN if something was not finite.
    #[inline(always)]
    pub(super) fn largest<T: Scalar, L: Lanes<T, Vector = V>>(&self, lanes: L) -> T {
        lanes.reduce_max(self.residual) + lanes.reduce_add(self.poison)
    }

    /// The largest change of the one sample there is; NaN if something was not finite.
    #[inline(always)]
    pub(crate) fn of_one<T: Scalar, L: Lanes<T, Vector = V>>(&self, lanes: L) -> T {
        if const { L::BLOCKING.outlined } {
            // All of it is in the first lane.
            let narrow = lanes.narrow();
            return narrow.reduce_add(self.narrow(narrow));
        }
        self.largest(lanes)
    }

    /// The residual for narrow lanes, which record on: that of the first lanes, in which [`set`](Self::set) leaves it.
    #[inline(always)]
    pub(super) fn narrow<T: Scalar, N: Lanes<T>>(&self, narrow: N) -> N::Vector {
        // SAFETY: a vector is scalars in a row, and a narrow one has no more of them.
        unsafe { narrow.load((&raw const self.residual).cast()) }
    }

    /// Takes in what narrow lanes have recorded on: a residual that is NaN if something was not finite.
    #[inline(always)]
    pub(super) fn set<T: Scalar, L: Lanes<T, Vector = V>, N: Lanes<T>>(
        &mut self,
        lanes: L,
        narrow: N,
        residual: N::Vector,
    ) {
        self.residual = lanes.first(narrow.reduce_add(residual));
    }

    /// Takes in a sum z and a |new - old|, as its [`Finish`](super::Finish) weighs it. A NaN leaves the residual as it is.
    #[inline(always)]
    pub(super) fn record<T: Scalar, L: Lanes<T, Vector = V>>(&mut self, lanes: L, z: V, difference: V) {
        self.residual = lanes.max(difference, self.residual);
        self.poison = lanes.mul_add(z, lanes.splat(T::ZERO), self.poison);
    }
}

/// Samples solved together: a chunk's states stay in the nearest cache, and it stops on its own.
pub(crate) const CHUNK: usize = 32;

/// Room for the changes of up to `C` samples on any backend: one sample, or a chunk of a batch.
pub(crate) struct Changes<V, const C: usize>([Change<V>; C]);

impl<V: Copy, const C: usize> Changes<V, C> {
    #[inline(always)]
    pub(crate) fn none<T: Scalar, L: Lanes<T, Vector = V>>(lanes: L) -> Self {
        Self([Change::none(lanes); C])
    }
    /// Those of `samples` samples, one a vector; lanes beyond the last sample are not active. With one sample
    /// the lanes of its one entry are units.
    #[inline(always)]
    pub(crate) fn of<T: Scalar, L: Lanes<T, Vector = V>>(
        &mut self,
        lanes: L,
        samples: usize,
    ) -> &mut [Change<V>] {
        if C == 1 {
            return &mut self.0;
        }
        let changes = self.0.get_mut(..samples.div_ceil(L::WIDTH)).unwrap_or_default();
        let rest = samples % L::WIDTH;
        if let Some(last) = changes.last_mut()
            && rest > 0
        {
            // SAFETY: `rest` < WIDTH <= MAX_WIDTH.
            last.active = unsafe { lanes.load_partial([T::ONE; MAX_WIDTH].as_ptr(), rest) };
        }
        changes
    }
}

/// Looks for the largest |h| of every sample of a batch's state, whose columns are units: only relative tolerances ask for
/// it.
#[inline(always)]
pub(crate) fn scales<T: Scalar, L: Lanes<T>>(
    lanes: L,
    state: Matrix<'_, T>,
    changes: &mut [Change<L::Vector>],
) {
    for unit in 0..state.cols() {
        for (change, first) in changes.iter_mut().zip((0..state.rows()).step_by(L::WIDTH)) {
            let count = L::WIDTH.min(state.rows() - first);
            // SAFETY: `count` scalars of an existing column.
            let h = unsafe {
                let from = state.start().add(unit * state.stride() + first);
                load(lanes, from, (count < L::WIDTH).then_some(count))
            };
            change.scale = lanes.max(lanes.abs(h), change.scale);
        }
    }
}

/// The largest magnitude in a matrix; NaN if any value is infinite or NaN.
#[inline(always)]
pub(crate) fn largest<T: Scalar, L: Lanes<T>>(lanes: L, matrix: Matrix<'_, T>) -> T {
    if const { L::BLOCKING.outlined } {
        lanes.narrow().vectorize(Largest(matrix))
    } else {
        Largest(matrix).run(lanes)
    }
}

struct Largest<'a, T>(Matrix<'a, T>);

impl<T: Scalar, L: Lanes<T>> Routine<L> for Largest<'_, T> {
    type Output = T;

    #[inline(always)]
    fn run(self, lanes: L) -> T {
        largest_of(lanes, self.0)
    }
}

#[inline(always)]
fn largest_of<T: Scalar, L: Lanes<T>>(lanes: L, matrix: Matrix<'_, T>) -> T {
    // What lies in a row is read as one long column.
    let (rows, cols) = if matrix.stride() == matrix.rows() {
        (matrix.rows() * matrix.cols(), 1)
    } else {
        (matrix.rows(), matrix.cols())
    };
    let mut change = Change::none(lanes);
    for column in 0..cols {
        let mut row = 0;
        while row < rows {
            let count = L::WIDTH.min(rows - row);
            // SAFETY: `count` scalars of an existing column.
            let v = unsafe {
                let from = matrix.start().add(column * matrix.stride() + row);
                load(lanes, from, (count < L::WIDTH).then_some(count))
            };
            change.scale = lanes.max(lanes.abs(v), change.scale);
            change.poison = lanes.mul_add(v, lanes.splat(T::ZERO), change.poison);
            row += L::WIDTH;
            if const { L::BLOCKING.outlined } {
                rolled();
            }
        }
    }
    lanes.reduce_max(change.scale) + lanes.reduce_add(change.poison)
}
