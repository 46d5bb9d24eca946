//! The loop around sweeps, of a network or of its adjoint: sweep until every sample meets the tolerance.

use super::{Lost, SolveError, Solved, Stop};
use crate::kernel::{Change, Changes, Matrix, Scalar, largest, scales};
use crate::simd::{Lanes, Operation, Routine, Site};
use core::marker::PhantomData;

/// What came of the chunks of a batch so far.
pub(crate) struct Progress<T> {
    solved: Solved<T>,
    converged: bool,
}

impl<T: Scalar> Default for Progress<T> {
    #[inline(always)]
    fn default() -> Self {
        Self { solved: Solved { sweeps: 0, residual: T::ZERO }, converged: true }
    }
}

impl<T: Scalar> Progress<T> {
    /// Takes in a chunk: an error only if it left the finite numbers, so that the other chunks are still solved.
    #[inline(always)]
    pub(crate) fn merge(&mut self, chunk: Self) -> Result<(), Lost> {
        let Solved { sweeps, residual } = chunk.solved;
        if !residual.is_finite() {
            return Err(Lost);
        }
        self.converged &= chunk.converged;
        // There is nothing to compare the first chunk with; often it is the only one.
        if self.solved.sweeps == 0 || residual > self.solved.residual {
            self.solved.residual = residual;
        }
        self.solved.sweeps = self.solved.sweeps.max(sweeps);
        Ok(())
    }

    /// The largest change of a unit in the last sweep.
    #[inline(always)]
    pub(crate) fn residual(&self) -> T {
        self.solved.residual
    }

    /// The solution, if all chunks found theirs.
    #[inline(always)]
    pub(crate) fn finish(self) -> Result<Solved<T>, SolveError<T>> {
        let Solved { sweeps, residual } = self.solved;
        if self.converged { Ok(self.solved) } else { Err(SolveError::NotConverged { sweeps, residual }) }
    }
}

/// A sweep over a chunk of samples. A trait and not a closure: a closure is compiled without the instruction set
/// of the function it stands in, unless it happens to be inlined.
pub(crate) trait Sweep<T: Scalar> {
    /// Whether it is a function of its own, one copy for solves and single sweeps.
    const OUTLINED: bool = false;
    /// Makes one sweep over up to `C` samples and records what it changed.
    fn sweep<const C: usize, L: Lanes<T>>(&mut self, lanes: L, changes: &mut [Change<L::Vector>]);
    /// What the sweep refines.
    fn refined(&self) -> Matrix<'_, T>;
}

/// A sweep as a function of its own.
struct Outlined<'b, T, S, V, const C: usize> {
    by: &'b mut S,
    changes: &'b mut [Change<V>],
    scalar: PhantomData<T>,
}

impl<T: Scalar, S: Sweep<T>, L: Lanes<T>, const C: usize> Routine<L> for Outlined<'_, T, S, L::Vector, C> {
    type Output = ();
    #[inline(always)]
    fn run(self, lanes: L) {
        self.by.sweep::<C, L>(lanes, self.changes);
    }
}

/// Sweeps the samples of one chunk until all meet the tolerance or the limit is reached.
#[inline(always)]
pub(crate) fn refine<const C: usize, T: Scalar>(
    site: impl Site<T>,
    samples: usize,
    stop: Stop<T>,
    by: impl Sweep<T>,
) -> Progress<T> {
    site.run(Refine::<_, _, C> { samples, stop, by })
}

struct Refine<T, S, const C: usize> {
    samples: usize,
    stop: Stop<T>,
    by: S,
}

impl<T: Scalar, S: Sweep<T>, const C: usize> Operation<T> for Refine<T, S, C> {
    type Output = Progress<T>;
    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Progress<T> {
        refine_on::<C, T, L, S>(lanes, self.samples, self.stop, self.by)
    }
}

#[inline(always)]
fn refine_on<const C: usize, T: Scalar, L: Lanes<T>, S: Sweep<T>>(
    lanes: L,
    samples: usize,
    stop: Stop<T>,
    mut by: S,
) -> Progress<T> {
    let mut changes = Changes::<_, C>::none(lanes);
    let changes = changes.of(lanes, samples);
    let mut progress = Progress { converged: stop.exact, ..Progress::default() };
    // A limit is at least 1.
    loop {
        for change in changes.iter_mut() {
            change.reset(lanes);
        }
        if const { S::OUTLINED } {
            let (by, changes) = (&mut by, &mut *changes);
            lanes.vectorize(Outlined::<T, S, L::Vector, C> { by, changes, scalar: PhantomData });
        } else {
            by.sweep::<C, L>(lanes, changes);
        }
        progress.solved.sweeps += 1;
        let (residual, all) = if C == 1 {
            judge_one(lanes, changes, stop, by.refined())
        } else {
            judge_batch(lanes, changes, stop, by.refined())
        };
        progress.solved.residual = residual;
        if !residual.is_finite() {
            break;
        }
        if all && !stop.exact {
            progress.converged = true;
            break;
        }
        if progress.solved.sweeps >= stop.limit {
            break;
        }
    }
    progress
}

/// The residual of a sweep of one sample and whether it meets the tolerance.
#[inline(always)]
fn judge_one<T: Scalar, L: Lanes<T>>(
    lanes: L,
    changes: &[Change<L::Vector>],
    stop: Stop<T>,
    refined: Matrix<'_, T>,
) -> (T, bool) {
    let residual = changes.first().map_or(T::NAN, |change| change.of_one(lanes));
    let scale = if stop.relative == T::ZERO { T::ZERO } else { largest(lanes, refined) };
    (residual, residual <= stop.absolute + stop.relative * scale)
}

/// The residual of a sweep of a batch and whether all samples meet the tolerance; samples that do are not active any more.
#[inline(always)]
fn judge_batch<T: Scalar, L: Lanes<T>>(
    lanes: L,
    changes: &mut [Change<L::Vector>],
    stop: Stop<T>,
    refined: Matrix<'_, T>,
) -> (T, bool) {
    if stop.relative != T::ZERO {
        scales(lanes, refined, changes);
    }
    let mut worst = lanes.splat(T::ZERO);
    let mut poison = worst;
    let mut open = worst;
    for change in changes.iter_mut() {
        poison = lanes.add(poison, change.poison);
        worst = lanes.max(change.residual, worst);
        if !stop.exact {
            let bound = lanes.mul_add(lanes.splat(stop.relative), change.scale, lanes.splat(stop.absolute));
            // A bound that is NaN is never met.
            let still = lanes.less(lanes.max(bound, lanes.splat(-T::MAX)), change.residual);
            change.active = lanes.select(still, change.active, lanes.splat(T::ZERO));
            open = lanes.max(change.active, open);
        }
    }
    // 0, or NaN after anything infinite or NaN.
    let residual = lanes.reduce_max(worst) + lanes.reduce_add(poison);
    (residual, !(lanes.reduce_max(open) > T::ZERO))
}
