//! Solve, adjoint and gradient of an adapted network: what runs inside a backend.

use super::Plan;
use super::sweep::{Backward, Forward, part, set_drive, thin, thin_back};
use super::view::{View, own};
use crate::kernel::{Activation, Matrix, MatrixMut, Outer, Scalar, column_sums, largest};
use crate::learn::{LearnError, fits_gradient};
use crate::simd::{Lanes, Operation};
use crate::solve::{Progress, SolveError, Tolerance, chunks, fits, refine};
use core::marker::PhantomData;

/// A solve: of one sample (`C` = 1) or in chunks.
pub(super) struct Solve<'a, T, H, O, const C: usize> {
    pub(super) view: View<'a, T>,
    pub(super) input: Matrix<'a, T>,
    pub(super) states: MatrixMut<'a, T>,
    pub(super) tolerance: Tolerance<T>,
    /// For W^1 x + b^1 + P Q^T x of a chunk.
    pub(super) base: &'a mut [T],
    /// For Q^T h of a chunk.
    pub(super) room: &'a mut [T],
    pub(super) activations: PhantomData<(H, O)>,
}

impl<T: Scalar, H: Activation, O: Activation, const C: usize> Operation<T> for Solve<'_, T, H, O, C> {
    type Output = Result<Progress<T>, SolveError<T>>;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output {
        let Self { view, input, mut states, tolerance, base, room, activations } = self;
        let mut progress = Progress::default();
        let width = view.layout().layers().first().map_or(0, |layer| layer.width);
        for (first, samples) in chunks(states.rows()) {
            let base = base.get_mut(..samples * width).unwrap_or_default();
            let Ok(mut base) = MatrixMut::new(base, samples, width) else {
                return Err(SolveError::NotFinite);
            };
            let input = input.row_range(first, samples);
            if !set_drive::<C, T, L>(lanes, view, input, base.reborrow(), room) {
                return Err(SolveError::NotFinite);
            }
            let states = states.reborrow().row_range(first, samples);
            let base = base.as_ref();
            let forward = Forward::<T, H, O> { view, base, states, activations, room: &mut *room };
            progress.merge(refine::<C, T, L>(lanes, samples, tolerance, forward))?;
        }
        Ok(progress)
    }
}

/// An adjoint, as [`Solve`].
pub(super) struct Adjoint<'a, T, H, O, const C: usize> {
    pub(super) view: View<'a, T>,
    pub(super) states: Matrix<'a, T>,
    pub(super) output: Matrix<'a, T>,
    pub(super) deltas: MatrixMut<'a, T>,
    pub(super) tolerance: Tolerance<T>,
    pub(super) literal: bool,
    /// For P^T d of all layers of a chunk.
    pub(super) room: &'a mut [T],
    pub(super) activations: PhantomData<(H, O)>,
}

impl<T: Scalar, H: Activation, O: Activation, const C: usize> Operation<T> for Adjoint<'_, T, H, O, C> {
    type Output = Result<Progress<T>, SolveError<T>>;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output {
        let Self { view, states, output, mut deltas, tolerance, literal, room, activations } = self;
        let mut progress = Progress::default();
        for (first, samples) in chunks(deltas.rows()) {
            let mut backward = Backward::<T, H, O> {
                view,
                injected: output.row_range(first, samples),
                literal,
                states: states.row_range(first, samples),
                deltas: deltas.reborrow().row_range(first, samples),
                activations,
                room: &mut *room,
            };
            backward.start::<C, L>(lanes);
            progress.merge(refine::<C, T, L>(lanes, samples, tolerance, backward))?;
        }
        Ok(progress)
    }
}

/// What a gradient is added to.
pub(super) enum To<'a, T> {
    /// Parameters it is the gradient of.
    InPlace(&'a mut [T]),
    /// Others, with these as they are.
    Apart(&'a [T], &'a mut [T]),
}

impl<T> To<'_, T> {
    #[inline(always)]
    fn of(&self) -> &[T] {
        match self {
            Self::InPlace(own) => own,
            Self::Apart(of, _) => of,
        }
    }
    #[inline(always)]
    fn to(&mut self) -> &mut [T] {
        match self {
            Self::InPlace(own) => own,
            Self::Apart(_, to) => to,
        }
    }
}

/// Adds `factor` times the gradient of the adapter, if no sum can leave the finite numbers.
pub(super) struct Add<'a, T, const C: usize> {
    pub(super) base: crate::network::Parameters<'a, T>,
    pub(super) plan: Plan,
    pub(super) to: To<'a, T>,
    pub(super) input: Matrix<'a, T>,
    pub(super) states: Matrix<'a, T>,
    pub(super) deltas: Matrix<'a, T>,
    pub(super) factor: T,
    /// For s = Q^T h of a layer, and t = P^T d, of all samples.
    pub(super) rooms: [&'a mut [T]; 2],
}

impl<T: Scalar, const C: usize> Operation<T> for Add<'_, T, C> {
    type Output = Result<(), LearnError<T>>;

    #[inline(always)]
    fn run<L: Lanes<T>>(mut self, lanes: L) -> Self::Output {
        let samples = self.deltas.rows();
        let factor = self.factor.magnitude();
        let delta = factor * largest(lanes, self.deltas);
        let sent = [largest(lanes, self.input), largest(lanes, self.states)];
        if !sent.into_iter().all(|sent| fits_gradient(delta, sent, samples)) {
            return Err(LearnError::NotFinite);
        }
        // The first time through only looks.
        if let Plan::LowRank(1..) = self.plan {
            for index in 0..self.base.layout().depth() {
                let [s, t] = self.thin::<L>(lanes, index).ok_or(LearnError::NotFinite)?;
                let t = factor * largest(lanes, t);
                let fits = fits_gradient(delta, largest(lanes, s), samples)
                    && sent.into_iter().all(|sent| fits_gradient(t, sent, samples));
                if !fits {
                    return Err(LearnError::NotFinite);
                }
            }
        }
        for index in 0..self.base.layout().depth() {
            self.layer::<L>(lanes, index);
        }
        Ok(())
    }
}

/// As many values as a correction has rank, of all samples.
#[inline(always)]
fn seen<T>(room: &[T], samples: usize, rank: usize) -> Option<Matrix<'_, T>> {
    Matrix::new(room.get(..samples * rank)?, samples, rank).ok()
}

impl<T: Scalar, const C: usize> Add<'_, T, C> {
    /// s and t of a layer.
    #[inline(always)]
    fn thin<L: Lanes<T>>(&mut self, lanes: L, index: usize) -> Option<[Matrix<'_, T>; 2]> {
        let Self { base, plan, to, input, states, deltas, rooms: [s, t], .. } = self;
        let view = View { base: *base, own: to.of(), plan: *plan };
        let layer = base.layout().layers().get(index)?;
        let correction = view.correction(layer)?;
        let (samples, rank) = (deltas.rows(), correction.p.cols());
        let (mut s, mut t) = (part(s, 0, samples, rank)?, part(t, 0, samples, rank)?);
        let below =
            if index == 0 { *input } else { states.columns(layer.units - layer.inputs, layer.inputs) };
        let above = states.columns(layer.units + layer.width, layer.feedback);
        let own = deltas.columns(layer.units, layer.width);
        for (first, samples) in chunks(samples) {
            let [below, above, own] = [below, above, own].map(|matrix| matrix.row_range(first, samples));
            let s = s.reborrow().row_range(first, samples);
            thin::<C, T, L>(lanes, correction, layer, Some(below), Some(above), s);
            thin_back::<C, T, L>(lanes, correction, own, t.reborrow().row_range(first, samples));
        }
        let [s, t] = &mut self.rooms;
        Some([seen(s, samples, rank)?, seen(t, samples, rank)?])
    }

    /// Adds a layer's share.
    #[inline(always)]
    fn layer<L: Lanes<T>>(&mut self, lanes: L, index: usize) {
        let (input, states, deltas, factor, plan) =
            (self.input, self.states, self.deltas, self.factor, self.plan);
        let layout = self.base.layout();
        let Some(layer) = layout.layers().get(index) else { return };
        let own_deltas = deltas.columns(layer.units, layer.width);
        let below = if index == 0 { input } else { states.columns(layer.units - layer.inputs, layer.inputs) };
        let above = states.columns(layer.units + layer.width, layer.feedback);
        let low_rank = if let Plan::LowRank(rank) = plan { Some(rank) } else { None };
        if low_rank.is_some_and(|rank| rank > 0) && self.thin::<L>(lanes, index).is_none() {
            return;
        }
        let Self { to, rooms: [s, t], .. } = self;
        let Some(gradient) = own(to.to(), plan, layout, layer) else { return };
        let add = |deltas, inputs, gradient| {
            fits(lanes.vectorize(Outer { factor, deltas, inputs, gradient }));
        };
        fits(column_sums(factor, own_deltas, gradient.b));
        let Some(rank) = low_rank else {
            add(own_deltas, below, gradient.first);
            if layer.feedback > 0 {
                add(own_deltas, above, gradient.second);
            }
            return;
        };
        let (Some(s), Some(t)) = (seen(s, deltas.rows(), rank), seen(t, deltas.rows(), rank)) else { return };
        if rank > 0 {
            add(own_deltas, s, gradient.first);
            let (of_w, of_u) = gradient.second.split_columns(layer.inputs);
            add(t, below, of_w);
            if layer.feedback > 0 {
                add(t, above, of_u);
            }
        }
    }
}
