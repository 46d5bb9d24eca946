//! What is done with a finished sum: an activation going up, its slope going down.

use super::activation::value;
use super::{Activation, Matrix, MatrixMut, Scalar, ShapeError, expect, load};
use crate::simd::Lanes;
use core::marker::PhantomData;

/// What is done with a finished sum z.
pub(crate) trait Finish<T: Scalar>: Copy {
    /// Whether the new value may be infinite or NaN where z is not, and is so wherever z is.
    const SHOWS: bool;
    /// Whether the residual is recorded.
    const RECORDS: bool = true;
    /// The new value of the unit at `offset` scalars from the start of the output; only the first `count` lanes
    /// count, if given.
    ///
    /// # Safety
    /// `offset` must lie in the output, with WIDTH or `count` scalars from it on.
    unsafe fn finish<L: Lanes<T>>(
        self,
        lanes: L,
        z: L::Vector,
        offset: usize,
        count: Option<usize>,
    ) -> L::Vector;
    /// Finishes `count` units from `out` on, the first at `offset`, with their sums from `sums` on, where there is assembly
    /// that does. Gives the largest |new - old|, and 0, or NaN if a sum (with [`SHOWS`](Self::SHOWS), a new value) is not
    /// finite.
    ///
    /// # Safety
    /// All of that must exist.
    #[inline(always)]
    unsafe fn finish_all(self, sums: *const T, out: *mut T, offset: usize, count: usize) -> Option<(T, T)> {
        let _ = (sums, out, offset, count);
        None
    }
    /// Whether whole tiles are finished at once, by a call of a function.
    const TILED: bool = false;
    /// [`finish`](Self::finish) of the sums of a tile, of whose rows, each of neighbouring vectors, the first starts at `offset` and every
    /// other `stride` after the one before.
    ///
    /// # Safety
    /// As [`finish`](Self::finish), for every vector.
    #[inline(always)]
    unsafe fn finish_tile<L: Lanes<T>, const C: usize>(
        self,
        lanes: L,
        tile: &mut [[L::Vector; C]],
        offset: usize,
        stride: usize,
        count: Option<usize>,
    ) {
        for (r, row) in tile.iter_mut().enumerate() {
            for (c, value) in row.iter_mut().enumerate() {
                // SAFETY: one vector of the caller's tile.
                *value = unsafe { self.finish(lanes, *value, offset + r * stride + c * L::WIDTH, count) };
            }
        }
    }
    /// Whether what is made of a sum depends on the sum alone, and not on where it lies.
    #[inline(always)]
    fn is_elementwise(self) -> bool {
        false
    }
    /// The same of a factor times the sum.
    type Times: Finish<T>;
    /// Makes it of `factor` times the sum.
    fn times(self, factor: T) -> Self::Times;
    /// The same, a change of a unit divided by its weight, for one sample.
    type Weighed<'w>: Finish<T>
    where
        Self: 'w;
    /// Divides so; there is one weight a unit of the output.
    fn weighed<'w>(self, weights: &'w [T]) -> Self::Weighed<'w>
    where
        Self: 'w;
    /// The same for an output that starts `scalars` scalars later.
    #[inline(always)]
    fn skip(self, scalars: usize) -> Self {
        let _ = scalars;
        self
    }
    /// Whether what is made of a sum shows whether either is infinite or NaN; else the sum does.
    #[inline(always)]
    fn shows(self) -> bool {
        Self::SHOWS
    }
    /// Of a sum and what was made of it, the one that shows whether either is infinite or NaN.
    #[inline(always)]
    fn shown<L: Lanes<T>>(self, _: L, z: L::Vector, new: L::Vector) -> L::Vector {
        if self.shows() { new } else { z }
    }
    /// What a change of the unit at `offset` counts in the residual: itself, unless units are weighed.
    ///
    /// # Safety
    /// As [`finish`](Self::finish).
    #[inline(always)]
    unsafe fn weigh<L: Lanes<T>>(self, _: L, difference: L::Vector, _: usize, _: Option<usize>) -> L::Vector {
        difference
    }
}

/// A finish whose weighed form is another around it.
macro_rules! weighed {
    () => {
        type Weighed<'w>
            = Weighted<'w, T, Self>
        where
            Self: 'w;
        #[inline(always)]
        fn weighed<'w>(self, weights: &'w [T]) -> Weighted<'w, T, Self>
        where
            Self: 'w,
        {
            Weighted { finish: self, weights }
        }
    };
}

/// A finish whose form for a factor is another around it.
macro_rules! times {
    () => {
        type Times = Scaled<T, Self>;
        #[inline(always)]
        fn times(self, factor: T) -> Scaled<T, Self> {
            Scaled { factor, finish: self }
        }
    };
}

/// h = s(z).
#[derive(Clone, Copy)]
pub(crate) struct Activate<A>(pub(crate) PhantomData<A>);

impl<T: Scalar, A: Activation> Finish<T> for Activate<A> {
    weighed!();
    times!();
    const SHOWS: bool = A::BUILT_IN.is_none();
    #[inline(always)]
    unsafe fn finish<L: Lanes<T>>(self, lanes: L, z: L::Vector, _: usize, _: Option<usize>) -> L::Vector {
        value::<A, T, L>(lanes, z)
    }
    #[inline(always)]
    unsafe fn finish_all(self, sums: *const T, out: *mut T, _: usize, count: usize) -> Option<(T, T)> {
        // SAFETY: the same contract, which the caller keeps.
        unsafe { A::finish(sums, out, count) }
    }
}

/// The sum as it is, with no look at what was there before.
#[derive(Clone, Copy)]
pub(crate) struct Keep;

impl<T: Scalar> Finish<T> for Keep {
    weighed!();
    times!();
    const SHOWS: bool = false;
    const RECORDS: bool = false;
    #[inline(always)]
    unsafe fn finish<L: Lanes<T>>(self, _: L, z: L::Vector, _: usize, _: Option<usize>) -> L::Vector {
        z
    }
}

/// What `finish` does, a change of a unit divided by the unit's weight. For one sample.
#[derive(Clone, Copy)]
pub(crate) struct Weighted<'a, T, F> {
    pub(crate) finish: F,
    /// One a unit of the output.
    pub(crate) weights: &'a [T],
}

impl<'a, T: Scalar, F: Finish<T>> Finish<T> for Weighted<'a, T, F> {
    weighed!();
    type Times = Weighted<'a, T, F::Times>;
    #[inline(always)]
    fn times(self, factor: T) -> Self::Times {
        Weighted { finish: self.finish.times(factor), weights: self.weights }
    }
    #[inline(always)]
    fn skip(self, scalars: usize) -> Self {
        let weights = self.weights.get(scalars..).unwrap_or_default();
        Self { finish: self.finish.skip(scalars), weights }
    }
    const SHOWS: bool = F::SHOWS;
    #[inline(always)]
    unsafe fn finish<L: Lanes<T>>(
        self,
        lanes: L,
        z: L::Vector,
        offset: usize,
        count: Option<usize>,
    ) -> L::Vector {
        // SAFETY: the same contract, which the caller keeps.
        unsafe { self.finish.finish(lanes, z, offset, count) }
    }
    #[inline(always)]
    unsafe fn weigh<L: Lanes<T>>(
        self,
        lanes: L,
        difference: L::Vector,
        offset: usize,
        count: Option<usize>,
    ) -> L::Vector {
        if offset + count.unwrap_or(L::WIDTH) > self.weights.len() {
            // Never; and then nothing is claimed.
            return lanes.splat(T::INFINITE);
        }
        // SAFETY: so many weights exist. Lanes beyond `count` divide 0 by 0, which is not recorded.
        let weights = unsafe { load(lanes, self.weights.as_ptr().add(offset), count) };
        lanes.div(difference, weights)
    }
}

/// What `finish` makes of `factor` times the sum.
#[derive(Clone, Copy)]
pub(crate) struct Scaled<T, F> {
    pub(crate) factor: T,
    pub(crate) finish: F,
}

impl<T: Scalar, F: Finish<T>> Finish<T> for Scaled<T, F> {
    weighed!();
    times!();
    const SHOWS: bool = F::SHOWS;
    #[inline(always)]
    unsafe fn finish<L: Lanes<T>>(
        self,
        lanes: L,
        z: L::Vector,
        offset: usize,
        count: Option<usize>,
    ) -> L::Vector {
        // SAFETY: the same contract, which the caller keeps.
        unsafe { self.finish.finish(lanes, lanes.mul(lanes.splat(self.factor), z), offset, count) }
    }
    #[inline(always)]
    unsafe fn weigh<L: Lanes<T>>(
        self,
        lanes: L,
        difference: L::Vector,
        offset: usize,
        count: Option<usize>,
    ) -> L::Vector {
        // SAFETY: the same contract, which the caller keeps.
        unsafe { self.finish.weigh(lanes, difference, offset, count) }
    }
}

/// d = s'(z) * (sum), with s' taken from the states h that lie as the output does.
#[derive(Clone, Copy)]
pub(crate) struct Backpropagate<'a, T, A> {
    states: Matrix<'a, T>,
    activation: PhantomData<A>,
}

impl<'a, T: Scalar, A: Activation> Backpropagate<'a, T, A> {
    /// # Errors
    /// [`ShapeError`] unless `states` has the shape and stride of `out`.
    #[inline(always)]
    pub(crate) fn new(states: Matrix<'a, T>, out: &MatrixMut<'_, T>) -> Result<Self, ShapeError> {
        expect("states", out.rows(), states.rows())?;
        expect("units", out.cols(), states.cols())?;
        expect("stride", out.stride(), states.stride())?;
        Ok(Self { states, activation: PhantomData })
    }
}

impl<T: Scalar, A: Activation> Finish<T> for Backpropagate<'_, T, A> {
    weighed!();
    times!();
    // The slope comes from states that may be anything.
    const SHOWS: bool = true;
    #[inline(always)]
    fn skip(self, scalars: usize) -> Self {
        // Typed finishes of a batch are never asked for a part, and those of one sample have columns of one scalar each.
        Self { states: self.states.columns(scalars, self.states.cols()), ..self }
    }
    #[inline(always)]
    unsafe fn finish<L: Lanes<T>>(
        self,
        lanes: L,
        z: L::Vector,
        offset: usize,
        count: Option<usize>,
    ) -> L::Vector {
        // SAFETY: `new` compared the shapes, so what lies in the output lies in the states.
        let h = unsafe { load(lanes, self.states.start().add(offset), count) };
        lanes.mul(A::slope(lanes, h), z)
    }
    #[inline(always)]
    unsafe fn finish_all(self, sums: *const T, out: *mut T, offset: usize, count: usize) -> Option<(T, T)> {
        // SAFETY: as above.
        unsafe { A::finish_slope(sums, self.states.start().add(offset), out, count) }
    }
}
