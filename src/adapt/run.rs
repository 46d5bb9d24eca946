//! Solve, adjoint and gradient of an adapted network: what runs inside a backend.

use super::Plan;
use super::sweep::{Backward, Forward, part, set_injection, thin, thin_back};
use super::view::{View, own};
use crate::kernel::{
    CHUNK, Chosen, Ends, Identity, Matrix, MatrixMut, Outer, Scalar, Scratch, Typed, column_sums, largest,
    once,
};
use crate::learn::{LearnError, Method, fits_gradient};
use crate::network::Parameters;
use crate::simd::{Backend, Lanes, Operation};
use crate::solve::{
    First, HalfRoom, Progress, ROOM, SMALL_ROOM, SolveError, Stop, chunks, chunks_of, fits, refine,
    samples_in,
};

/// A solve: of one sample (`C` = 1) or in chunks.
pub(super) struct Solve<'a, 'b, T, E, Q, R, const C: usize> {
    pub(super) view: View<'a, T>,
    pub(super) input: Matrix<'a, T>,
    pub(super) states: MatrixMut<'a, T>,
    pub(super) stop: Stop<T>,
    pub(super) ends: E,
    /// For W^1 x + b^1 + P Q^T x of a chunk.
    pub(super) base: &'b mut Q,
    /// For Q^T h of a chunk.
    pub(super) room: &'b mut R,
}

impl<T: Scalar, E: Ends<T>, Q: HalfRoom<T>, R: HalfRoom<T>, const C: usize> Operation<T>
    for Solve<'_, '_, T, E, Q, R, C>
{
    type Output = Result<Progress<T>, SolveError<T>>;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output {
        let Self { view, input, mut states, stop, ends, base, room } = self;
        let mut progress = Progress::default();
        let width = view.layout().layers().first().map_or(0, |layer| layer.width);
        let rank = view.plan.rank();
        let thin = samples_in(room, rank, CHUNK);
        // Where there is no room for one sample, its first sum is made again in every sweep.
        let (kept, most) = match samples_in(base, width, CHUNK) {
            0 => (false, thin),
            most => (true, most.min(thin)),
        };
        for (first, samples) in chunks_of(states.rows(), most) {
            let Some(room) = room.first(samples * rank) else { return Err(SolveError::NotFinite) };
            let input = input.row_range(first, samples);
            let rows = if kept { samples } else { 0 };
            let base = base.first(rows * width).unwrap_or_default();
            let Ok(mut base) = MatrixMut::new(base, rows, width) else {
                return Err(SolveError::NotFinite);
            };
            if kept && !set_injection::<C, T, L, E>(lanes, view, ends, input, base.reborrow(), room) {
                return Err(SolveError::NotFinite);
            }
            let states = states.reborrow().row_range(first, samples);
            let base = First { matrix: if kept { base.as_ref() } else { input }, is_input: !kept };
            let forward = Forward { view, base, states, ends, room };
            progress.merge(refine::<C, T, L>(lanes, samples, stop, forward))?;
        }
        Ok(progress)
    }
}

/// A solve, compiled once for all networks and adapters.
pub(super) struct SolveJob<'a, T: Scalar> {
    pub(super) view: View<'a, T>,
    pub(super) input: Matrix<'a, T>,
    pub(super) states: MatrixMut<'a, T>,
    pub(super) stop: Stop<T>,
    pub(super) ends: Chosen<T>,
    pub(super) backend: Backend,
}
once!(pub(super) SolveOnce: SolveJob<'a, T> => Result<Progress<T>, SolveError<T>>, solve_once);

fn solve_once<T: Scalar>(job: SolveJob<'_, T>) -> Result<Progress<T>, SolveError<T>> {
    let width = job.view.layout().layers().first().map_or(0, |layer| layer.width);
    if job.states.rows() > 1 || width.max(job.view.plan.rank()) > SMALL_ROOM {
        solve_in_room::<T, ROOM>(job)
    } else {
        solve_in_room::<T, SMALL_ROOM>(job)
    }
}

/// With room for so many scalars, twice.
#[inline(never)]
fn solve_in_room<T: Scalar, const N: usize>(job: SolveJob<'_, T>) -> Result<Progress<T>, SolveError<T>> {
    let (mut base, mut room) = (Scratch::<T, N>::new(), Scratch::<T, N>::new());
    let (base, room) = (&mut base.lend(), &mut room.lend());
    let SolveJob { view, input, states, stop, ends, backend } = job;
    if states.rows() > 1 {
        T::run(backend, Solve::<_, _, _, _, CHUNK> { view, input, states, stop, ends, base, room })
    } else {
        T::run(backend, Solve::<_, _, _, _, 1> { view, input, states, stop, ends, base, room })
    }
}

/// An adjoint, as [`Solve`].
pub(super) struct Adjoint<'a, 'b, T, E, R, const C: usize> {
    pub(super) view: View<'a, T>,
    pub(super) states: Matrix<'a, T>,
    pub(super) output: Matrix<'a, T>,
    pub(super) deltas: MatrixMut<'a, T>,
    pub(super) stop: Stop<T>,
    pub(super) literal: bool,
    pub(super) ends: E,
    /// For P^T d of all layers of a chunk.
    pub(super) room: &'b mut R,
}

impl<T: Scalar, E: Ends<T>, R: HalfRoom<T>, const C: usize> Operation<T> for Adjoint<'_, '_, T, E, R, C> {
    type Output = Result<Progress<T>, SolveError<T>>;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output {
        let Self { view, states, output, mut deltas, stop, literal, ends, room } = self;
        let mut progress = Progress::default();
        let each = view.plan.rank() * view.layout().depth();
        for (first, samples) in chunks_of(deltas.rows(), samples_in(room, each, CHUNK)) {
            let Some(room) = room.first(samples * each) else { return Err(SolveError::NotFinite) };
            let mut backward = Backward {
                view,
                injected: output.row_range(first, samples),
                literal,
                states: states.row_range(first, samples),
                deltas: deltas.reborrow().row_range(first, samples),
                ends,
                room,
            };
            backward.start::<C, L>(lanes);
            progress.merge(refine::<C, T, L>(lanes, samples, stop, backward))?;
        }
        Ok(progress)
    }
}

/// An adjoint, compiled once for all networks and adapters.
pub(super) struct AdjointJob<'a, T: Scalar> {
    pub(super) view: View<'a, T>,
    pub(super) states: Matrix<'a, T>,
    pub(super) output: Matrix<'a, T>,
    pub(super) deltas: MatrixMut<'a, T>,
    pub(super) method: Method<T>,
    pub(super) ends: Chosen<T>,
    pub(super) backend: Backend,
}
once!(pub(super) AdjointOnce: AdjointJob<'a, T> => Result<Progress<T>, SolveError<T>>, adjoint_once);

fn adjoint_once<T: Scalar>(job: AdjointJob<'_, T>) -> Result<Progress<T>, SolveError<T>> {
    if job.deltas.rows() > 1 || job.view.plan.rank() * job.view.layout().depth() > SMALL_ROOM {
        adjoint_in_room::<T, ROOM>(job)
    } else {
        adjoint_in_room::<T, SMALL_ROOM>(job)
    }
}

/// With room for so many scalars.
#[inline(never)]
fn adjoint_in_room<T: Scalar, const N: usize>(job: AdjointJob<'_, T>) -> Result<Progress<T>, SolveError<T>> {
    let AdjointJob { view, states, output, deltas, method, ends, backend } = job;
    let ((stop, literal), mut room) = (method.stop(), Scratch::<T, N>::new());
    let room = &mut room.lend();
    if deltas.rows() > 1 {
        let adjoint = Adjoint::<_, _, _, CHUNK> { view, states, output, deltas, stop, literal, ends, room };
        T::run(backend, adjoint)
    } else {
        let adjoint = Adjoint::<_, _, _, 1> { view, states, output, deltas, stop, literal, ends, room };
        T::run(backend, adjoint)
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
pub(super) struct Add<'a, 'b, T, R, const C: usize> {
    pub(super) base: Parameters<'a, T>,
    pub(super) plan: Plan,
    pub(super) to: To<'a, T>,
    pub(super) input: Matrix<'a, T>,
    pub(super) states: Matrix<'a, T>,
    pub(super) deltas: Matrix<'a, T>,
    pub(super) factor: T,
    /// For s = Q^T h of a layer, and t = P^T d.
    pub(super) rooms: [&'b mut R; 2],
}

impl<T: Scalar, R: HalfRoom<T>, const C: usize> Operation<T> for Add<'_, '_, T, R, C> {
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
                for part in self.parts() {
                    let [s, t] = self.thin::<L>(lanes, index, part).ok_or(LearnError::NotFinite)?;
                    let t = factor * largest(lanes, t);
                    let fits = fits_gradient(delta, largest(lanes, s), samples)
                        && sent.into_iter().all(|sent| fits_gradient(t, sent, samples));
                    if !fits {
                        return Err(LearnError::NotFinite);
                    }
                }
            }
        }
        for index in 0..self.base.layout().depth() {
            self.layer::<L>(lanes, index);
        }
        Ok(())
    }
}

/// Sums are kept as they are.
const ENDS: Typed<Identity, Identity> = Typed::NEW;

/// As many values as a correction has rank, of some samples.
#[inline(always)]
fn seen<T>(room: &[T], samples: usize, rank: usize) -> Option<Matrix<'_, T>> {
    Matrix::new(room.get(..samples * rank)?, samples, rank).ok()
}

impl<T: Scalar, R: HalfRoom<T>, const C: usize> Add<'_, '_, T, R, C> {
    /// The samples whose s and t there is room for at a time.
    #[inline(always)]
    fn parts(&self) -> impl Iterator<Item = (usize, usize)> + use<T, R, C> {
        let samples = self.deltas.rows();
        chunks_of(samples, samples_in(&*self.rooms[0], self.plan.rank(), samples))
    }

    /// s and t of a layer, of the samples `count` from `from` on.
    #[inline(always)]
    fn thin<L: Lanes<T>>(
        &mut self,
        lanes: L,
        index: usize,
        (from, count): (usize, usize),
    ) -> Option<[Matrix<'_, T>; 2]> {
        let Self { base, plan, to, input, states, deltas, rooms: [s, t], .. } = self;
        let view = View { base: *base, own: to.of(), plan: *plan };
        let layer = base.layout().layers().get(index)?;
        let correction = view.correction(layer)?;
        let rank = correction.p.cols();
        let (s, t) = (s.first(count * rank)?, t.first(count * rank)?);
        let below =
            if index == 0 { *input } else { states.columns(layer.units - layer.inputs, layer.inputs) };
        let above = states.columns(layer.units + layer.width, layer.feedback);
        let own = deltas.columns(layer.units, layer.width);
        {
            let (mut s, mut t) = (part(s, 0, count, rank)?, part(t, 0, count, rank)?);
            for (first, samples) in chunks(count) {
                let [below, above, own] =
                    [below, above, own].map(|matrix| matrix.row_range(from + first, samples));
                let s = s.reborrow().row_range(first, samples);
                thin::<C, T, L, _>(lanes, ENDS, correction, layer, Some(below), Some(above), s);
                let t = t.reborrow().row_range(first, samples);
                thin_back::<C, T, L, _>(lanes, ENDS, correction, own, t);
            }
        }
        Some([seen(s, count, rank)?, seen(t, count, rank)?])
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
        let add = |deltas: Matrix<'_, T>, inputs: Matrix<'_, T>, gradient: MatrixMut<'_, T>| {
            fits(lanes.vectorize(Outer { factor, deltas, inputs, gradient }));
        };
        let Some(gradient) = own(self.to.to(), plan, layout, layer) else { return };
        fits(column_sums(factor, own_deltas, gradient.b));
        let Plan::LowRank(rank) = plan else {
            add(own_deltas, below, gradient.first);
            if layer.feedback > 0 {
                add(own_deltas, above, gradient.second);
            }
            return;
        };
        if rank == 0 {
            return;
        }
        for (from, count) in self.parts() {
            // Where the parameters themselves are changed there is one part, or these would be of what the last one left.
            if self.thin::<L>(lanes, index, (from, count)).is_none() {
                return;
            }
            let Self { to, rooms: [s, t], .. } = self;
            let (Some(s), Some(t)) = (s.first(count * rank), t.first(count * rank)) else { return };
            let (Some(s), Some(t)) = (seen(s, count, rank), seen(t, count, rank)) else { return };
            let Some(gradient) = own(to.to(), plan, layout, layer) else { return };
            let [own_deltas, below, above] =
                [own_deltas, below, above].map(|matrix| matrix.row_range(from, count));
            add(own_deltas, s, gradient.first);
            let (of_w, of_u) = gradient.second.split_columns(layer.inputs);
            add(t, below, of_w);
            if layer.feedback > 0 {
                add(t, above, of_u);
            }
        }
    }
}

/// [`Add`], compiled once for all networks and adapters.
pub(super) struct AddJob<'a, T> {
    pub(super) base: Parameters<'a, T>,
    pub(super) plan: Plan,
    pub(super) to: To<'a, T>,
    pub(super) input: Matrix<'a, T>,
    pub(super) states: Matrix<'a, T>,
    pub(super) deltas: Matrix<'a, T>,
    pub(super) factor: T,
    pub(super) backend: Backend,
}
once!(pub(super) AddOnce: AddJob<'a, T> => Result<(), LearnError<T>>, add_once);

fn add_once<T: Scalar>(job: AddJob<'_, T>) -> Result<(), LearnError<T>> {
    if job.deltas.rows() > 1 || job.plan.rank() > SMALL_ROOM {
        add_in_room::<T, ROOM>(job)
    } else {
        add_in_room::<T, SMALL_ROOM>(job)
    }
}

/// With room for so many scalars, twice.
#[inline(never)]
fn add_in_room<T: Scalar, const N: usize>(job: AddJob<'_, T>) -> Result<(), LearnError<T>> {
    let AddJob { base, plan, to, input, states, deltas, factor, backend } = job;
    let (mut s, mut t) = (Scratch::<T, N>::new(), Scratch::<T, N>::new());
    let rooms = [&mut s.lend(), &mut t.lend()];
    if deltas.rows() > 1 {
        T::run(backend, Add::<T, _, CHUNK> { base, plan, to, input, states, deltas, factor, rooms })
    } else {
        T::run(backend, Add::<T, _, 1> { base, plan, to, input, states, deltas, factor, rooms })
    }
}
