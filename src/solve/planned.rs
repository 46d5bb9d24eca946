//! One sample on an engine that is compiled once: what does not change from sweep to sweep is worked out before the first one, and the usual
//! activations have code of their own.

use super::refine::{Progress, Sweep, refine};
use super::sweep::set_injection;
use super::{Failure, SolveJob, Stop};
use crate::kernel::{
    Base, Change, Chosen, End, Ends, Finish, Identity, LargestOf, Lent, MOST_LAYERS, Matrix, MatrixMut,
    NewLayer, Plan, Scalar, Scratch, Tanh, Typed,
};
use crate::network::{Layout, MAX_DEPTH, OneOrAll, Parameters, Viewed};
use crate::simd::{Backend, Lanes, Site};

const _: () = assert!(MAX_DEPTH <= MOST_LAYERS);

/// Sweeps by a plan, with what hidden layers and the output layer are finished with.
pub(crate) struct Planned<'b, 'a, T, H, O, const TRANSPOSED: bool> {
    // By reference, for it is long.
    pub(crate) plan: &'b mut Plan<'a, T, TRANSPOSED>,
    pub(crate) hidden: H,
    pub(crate) output: O,
}

impl<T: Scalar, H: Finish<T>, O: Finish<T>, const TRANSPOSED: bool> Sweep<T>
    for Planned<'_, '_, T, H, O, TRANSPOSED>
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

/// Whether a network without corrections can be solved by a plan: it has no tied feedback, and there is room.
pub(super) fn fits<T: Scalar>(layout: &Layout, base: &Lent<'_, T>) -> bool {
    layout.percent() == 0 && layout.layers().first().is_none_or(|first| first.width <= base.len())
}

/// A solve of one sample that lies in a row, if it [`fits`].
pub(super) fn solve<T: Scalar>(
    job: SolveJob<'_, T, Parameters<'_, T>, Chosen<T>>,
    base: &mut Lent<'_, T>,
) -> Result<Progress<T>, Failure> {
    let SolveJob { params, input, states, stop, ends, backend, .. } = job;
    if !Site::<T>::run(backend, LargestOf(input)).is_finite() {
        return Err(Failure::Input);
    }
    let layers = params.layout().layers();
    let width = layers.first().map_or(0, |layer| layer.width);
    let mut injection = MatrixMut::new(base.first(width).unwrap_or_default(), 1, width)?;
    let (to, none) = ((input, injection.reborrow()), &mut Scratch::<T, 0>::new());
    if !set_injection::<1, _, _, _, _, _>(backend, OneOrAll(None), ends, params.view(), to, &mut none.lend())
    {
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
    let (mut progress, plan) = (Progress::default(), &mut plan);
    progress.merge(if const { Chosen::<T>::USUAL } && ends.are_usual() {
        refined(Typed::<Tanh, Identity>::NEW, plan, stop, backend)
    } else {
        refined(ends, plan, stop, backend)
    })?;
    Ok(progress)
}

#[inline(always)]
fn refined<T: Scalar, E: Ends<T>>(
    ends: E,
    plan: &mut Plan<'_, T, false>,
    stop: Stop<T>,
    backend: Backend,
) -> Progress<T> {
    let (hidden, output) = (ends.hidden().up(), ends.output().up());
    refine::<1, T>(backend, 1, stop, Planned { plan, hidden, output })
}
