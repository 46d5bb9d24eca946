//! The sums of an adapter's gradient.

use crate::kernel::{
    CHUNK, LargestOf, Lent, Matrix, MatrixMut, Outer, OuterOutlined, Scalar, Scratch, column_sums, once,
};
use crate::learn::fits_gradient;
use crate::network::{Correction, Parameters, Plan, Source, View, own};
use crate::simd::{Backend, Site, Work};
use crate::solve::{HalfRoom, Lost, ROOM, SMALL_ROOM, Thin, ThinBack, chunks, chunks_of, fits, samples_in};

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

impl<T: Scalar, R: HalfRoom<T>, const C: usize> Work<T> for Add<'_, '_, T, R, C> {
    type Output = Result<(), Lost>;

    #[inline(always)]
    fn on(mut self, site: impl Site<T>) -> Self::Output {
        let samples = self.deltas.rows();
        let factor = self.factor.magnitude();
        let delta = factor * site.run(LargestOf(self.deltas));
        let sent = [site.run(LargestOf(self.input)), site.run(LargestOf(self.states))];
        if !sent.into_iter().all(|sent| fits_gradient(delta, sent, samples)) {
            return Err(Lost);
        }
        // The first time through only looks.
        if let Plan::LowRank(1..) = self.plan {
            for index in 0..self.base.layout().depth() {
                for part in self.parts() {
                    let [s, t] = self.thin(site, index, part).ok_or(Lost)?;
                    let t = factor * site.run(LargestOf(t));
                    let fits = fits_gradient(delta, site.run(LargestOf(s)), samples)
                        && sent.into_iter().all(|sent| fits_gradient(t, sent, samples));
                    if !fits {
                        return Err(Lost);
                    }
                }
            }
        }
        for index in 0..self.base.layout().depth() {
            self.layer(site, index);
        }
        Ok(())
    }
}

/// Some samples of s and t, and some columns of P and Q, each from the first on so many.
#[derive(Clone, Copy)]
struct Part {
    samples: (usize, usize),
    columns: (usize, usize),
}

/// As many values as a correction has rank, of some samples.
#[inline(always)]
fn seen<T>(room: &[T], samples: usize, rank: usize) -> Option<Matrix<'_, T>> {
    Matrix::new(room.get(..samples * rank)?, samples, rank).ok()
}

impl<T: Scalar, R: HalfRoom<T>, const C: usize> Add<'_, '_, T, R, C> {
    /// What there is room for at a time of s and t: of some samples all values; or, where the parameters themselves are changed, of all
    /// samples some, for the others would be of what these have left. P and Q are changed column by column, each by its own values alone.
    #[inline(always)]
    fn parts(&self) -> impl Iterator<Item = Part> + use<T, R, C> {
        let (samples, rank) = (self.deltas.rows(), self.plan.rank());
        let in_place = R::BOUNDED && matches!(self.to, To::InPlace(_));
        let all = if in_place { rank } else { samples };
        let each = if in_place { samples } else { rank };
        let most = samples_in(&*self.rooms[0], each, all);
        chunks_of(all, most).map(move |some| {
            if in_place {
                Part { samples: (0, samples), columns: some }
            } else {
                Part { samples: some, columns: (0, rank) }
            }
        })
    }

    /// This part of s and t of a layer.
    #[inline(always)]
    fn thin(&mut self, site: impl Site<T>, index: usize, part: Part) -> Option<[Matrix<'_, T>; 2]> {
        let Part { samples: (from, count), columns: (column, rank) } = part;
        let Self { base, plan, to, input, states, deltas, rooms: [s, t], .. } = self;
        let view = View { base: *base, own: to.of(), plan: *plan };
        let layer = base.layout().layers().get(index)?;
        let Correction { p, q } = view.correction(layer)?;
        let correction = if R::BOUNDED {
            Correction { p: p.columns(column, rank), q: q.row_range(column, rank) }
        } else {
            Correction { p, q }
        };
        let (s, t) = (s.first(count * rank)?, t.first(count * rank)?);
        let below = if index == 0 { *input } else { layer.below_of(*states) };
        let above = layer.above_of(*states);
        let own = layer.own_of(*deltas);
        for (first, samples) in chunks(count) {
            let [below, above, own] =
                [below, above, own].map(|matrix| matrix.row_range(from + first, samples));
            let part = MatrixMut::new(&mut *s, count, rank).ok()?.row_range(first, samples);
            site.run(Thin::<_, C> { correction, layer, reads: (above, below), room: part });
            let part = MatrixMut::new(&mut *t, count, rank).ok()?.row_range(first, samples);
            site.run(ThinBack::<_, C> { correction, deltas: own, room: part });
        }
        Some([seen(s, count, rank)?, seen(t, count, rank)?])
    }

    /// Adds a layer's share.
    #[inline(always)]
    fn layer(&mut self, site: impl Site<T>, index: usize) {
        let (input, states, deltas, factor, plan) =
            (self.input, self.states, self.deltas, self.factor, self.plan);
        let layout = self.base.layout();
        let Some(layer) = layout.layers().get(index) else { return };
        let own_deltas = layer.own_of(deltas);
        let below = if index == 0 { input } else { layer.below_of(states) };
        let above = layer.above_of(states);
        let add = |deltas: Matrix<'_, T>, inputs: Matrix<'_, T>, gradient: MatrixMut<'_, T>| {
            fits(site.run(OuterOutlined(Outer { factor, deltas, inputs, gradient })));
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
        for part in self.parts() {
            if self.thin(site, index, part).is_none() {
                return;
            }
            let Part { samples: (from, count), columns: (column, rank) } = part;
            let Self { to, rooms: [s, t], .. } = self;
            let (Some(s), Some(t)) = (s.first(count * rank), t.first(count * rank)) else { return };
            let (Some(s), Some(t)) = (seen(s, count, rank), seen(t, count, rank)) else { return };
            let Some(gradient) = own(to.to(), plan, layout, layer) else { return };
            let [own_deltas, below, above] =
                [own_deltas, below, above].map(|matrix| matrix.row_range(from, count));
            let (first, second) = if R::BOUNDED {
                (gradient.first.column_range(column, rank), gradient.second.row_range(column, rank))
            } else {
                (gradient.first, gradient.second)
            };
            add(own_deltas, s, first);
            let (of_w, of_u) = second.split_columns(layer.inputs);
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
once!(pub(super) AddOnce: AddJob<'a, T> => Result<(), Lost>, add_once);

fn add_once<T: Scalar>(job: AddJob<'_, T>) -> Result<(), Lost> {
    if job.deltas.rows() > 1 || job.plan.rank() > SMALL_ROOM {
        add_in_room::<T, ROOM>(job)
    } else {
        add_in_room::<T, SMALL_ROOM>(job)
    }
}

/// With room for so many scalars, twice.
#[inline(never)]
fn add_in_room<T: Scalar, const N: usize>(job: AddJob<'_, T>) -> Result<(), Lost> {
    let (mut s, mut t) = (Scratch::<T, N>::new(), Scratch::<T, N>::new());
    let rooms = [&mut s.lend(), &mut t.lend()];
    if job.deltas.rows() > 1 { add_with::<_, CHUNK>(job, rooms) } else { add_with::<_, 1>(job, rooms) }
}

/// One copy, whatever the size of the rooms.
#[inline(never)]
fn add_with<'l, T: Scalar, const C: usize>(
    job: AddJob<'_, T>,
    rooms: [&mut Lent<'l, T>; 2],
) -> Result<(), Lost> {
    let AddJob { base, plan, to, input, states, deltas, factor, backend } = job;
    Add::<T, _, C> { base, plan, to, input, states, deltas, factor, rooms }.on(backend)
}
