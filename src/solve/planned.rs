//! One sample on an engine that is compiled once: what does not change from sweep to sweep is worked out before the first one, and the usual
//! activations have code of their own.

use super::refine::{Progress, Sweep, refine};
use super::sweep::{HalfRoom, set_injection};
use super::{Failure, SolveJob};
use crate::kernel::{
    Base, Change, Chosen, End, Ends, Finish, Identity, MOST_LAYERS, Matrix, MatrixMut, NewLayer, Plan,
    Scalar, Scratch, Tanh, Typed, largest,
};
use crate::network::{Looped, MAX_DEPTH, Source};
use crate::simd::{Lanes, Operation};

const _: () = assert!(MAX_DEPTH <= MOST_LAYERS);

/// Sweeps by a plan, with what hidden layers and the output layer are finished with.
pub(crate) struct Planned<'a, T, H, O, const TRANSPOSED: bool> {
    pub(crate) plan: Plan<'a, T, TRANSPOSED>,
    pub(crate) hidden: H,
    pub(crate) output: O,
}

impl<T: Scalar, H: Finish<T>, O: Finish<T>, const TRANSPOSED: bool> Sweep<T>
    for Planned<'_, T, H, O, TRANSPOSED>
{
    #[inline(always)]
    fn sweep<const C: usize, L: Lanes<T>>(&mut self, lanes: L, changes: &mut [Change<L::Vector>]) {
        for change in changes {
            self.plan.sweep(lanes, (self.hidden, self.output), change);
        }
    }
    #[inline(always)]
    fn refined(&self) -> Matrix<'_, T> {
        self.plan.states()
    }
}

/// Whether a network of this job, which has no corrections, can be solved by a plan: it has no tied feedback, and there is room.
pub(super) fn fits<'a, T: Scalar, S: Source<'a, T>, E>(
    job: &SolveJob<'a, T, S, E>,
    base: &impl HalfRoom<T>,
) -> bool {
    let layout = job.params.layout();
    layout.percent() == 0 && layout.layers().first().is_none_or(|first| first.width <= base.bound())
}

/// A solve of one sample that lies in a row, if it [`fits`].
pub(super) fn solve<'s, 'a: 's, T: Scalar, S: Source<'a, T>, Q: HalfRoom<T>>(
    job: SolveJob<'s, T, S, Chosen<T>>,
    base: &mut Q,
) -> Result<Progress<T>, Failure> {
    let (ends, backend) = (job.ends, job.backend);
    if const { Chosen::<T>::USUAL } && ends.are_usual() {
        T::run(backend, Solve { job, ends: Typed::<Tanh, Identity>::NEW, base })
    } else {
        T::run(backend, Solve { job, ends, base })
    }
}

/// The solve with these ends, of the job's activations.
struct Solve<'s, 'b, T: Scalar, S, E, Q> {
    job: SolveJob<'s, T, S, Chosen<T>>,
    ends: E,
    base: &'b mut Q,
}

impl<'s, 'a: 's, T, S, E, Q> Operation<T> for Solve<'s, '_, T, S, E, Q>
where
    T: Scalar,
    S: Source<'a, T>,
    E: Ends<T>,
    Q: HalfRoom<T>,
{
    type Output = Result<Progress<T>, Failure>;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output {
        let Self { job: SolveJob { params, input, states, stop, ends: chosen, .. }, ends, base } = self;
        if !largest(lanes, input).is_finite() {
            return Err(Failure::Input);
        }
        let layers = params.layout().layers();
        let width = layers.first().map_or(0, |layer| layer.width);
        let mut injection = MatrixMut::new(base.first(width).unwrap_or_default(), 1, width)?;
        let to = (input, injection.reborrow());
        let none = &mut Scratch::<T, 0>::new();
        if !set_injection::<1, _, _, _, _, _, _>(lanes, Looped, chosen, params, to, &mut none.lend()) {
            return Err(Failure::Lost);
        }
        let injection = injection.as_ref();
        let mut plan = Plan::<_, false>::new(states)?;
        for (index, layer) in layers.iter().enumerate() {
            let base = if index == 0 { Base::Matrix(injection) } else { Base::Bias(params.b(layer)) };
            // What the layers above sent is known since the last sweep: its product runs while the layer below finishes.
            let down = (layer.feedback > 0).then(|| (params.u(layer), layer.above()));
            let up = (index > 0).then(|| (params.w(layer), layer.below()));
            let is_output = index + 1 == layers.len();
            plan.push(NewLayer { own: layer.own(), is_output, base, products: [down, up] })?;
        }
        let mut progress = Progress::default();
        let sweeps = Planned { plan, hidden: ends.hidden().up(), output: ends.output().up() };
        progress.merge(refine::<1, T, L>(lanes, 1, stop, sweeps))?;
        Ok(progress)
    }
}
