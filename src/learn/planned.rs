//! The adjoint of one sample on an engine that is compiled once: what does not change from sweep to sweep is worked out before the first one, and
//! the usual activations have code of their own.

use super::gradient::Adjoint;
use crate::kernel::{Base, Chosen, End, Ends, Identity, Matrix, NewLayer, Plan, Scalar, Tanh, Typed};
use crate::network::{Layout, Parameters};
use crate::simd::Backend;
use crate::solve::{Lost, Planned, Progress, Stop, refine};

/// Whether no layer reads others than its neighbours, each through a matrix of its own.
pub(super) fn is_near(layout: &Layout) -> bool {
    layout.percent() == 0 && !layout.reach().is_far()
}

/// The adjoint of one sample of a network whose layers read their neighbours.
#[inline(never)]
pub(super) fn adjoint<'a, T: Scalar>(
    adjoint: Adjoint<'a, T, Parameters<'a, T>, Chosen<T>>,
    backend: Backend,
) -> Result<Progress<T>, Lost> {
    let Adjoint { params, states, output, hidden, deltas, stop, literal, ends } = adjoint;
    let layout = params.layout();
    let layers = layout.layers();
    let mut plan = Plan::<_, true>::new(deltas)?;
    for (index, layer) in layers.iter().enumerate().rev() {
        let is_output = index + 1 == layers.len();
        let base = match hidden {
            _ if is_output => Base::Matrix(output),
            Some(gradient) => Base::Matrix(layer.own_of(gradient)),
            None => Base::Zero,
        };
        // What the layer below sent is known since the last sweep: its product runs while the layer above finishes.
        let reads = if is_output && literal { index..index } else { layout.readers(index) };
        let below = layers.get(reads).unwrap_or_default().last();
        let from_below =
            below.map(|from| (params.u(from).columns(layer.columns_in(from).start, layer.width), from.own()));
        let from_above = layers.get(index + 1).map(|next| (params.w(next), next.own()));
        plan.push(NewLayer { own: layer.own(), is_output, base, products: [from_below, from_above] })?;
    }
    let (mut progress, plan) = (Progress::default(), &mut plan);
    progress.merge(if const { Chosen::<T>::USUAL } && ends.are_usual() {
        refined(Typed::<Tanh, Identity>::NEW, states, plan, stop, backend)?
    } else {
        refined(ends, states, plan, stop, backend)?
    })?;
    Ok(progress)
}

#[inline(always)]
fn refined<T: Scalar, E: Ends<T>>(
    ends: E,
    states: Matrix<'_, T>,
    plan: &mut Plan<'_, T, true>,
    stop: Stop<T>,
    backend: Backend,
) -> Result<Progress<T>, Lost> {
    let (hidden, output) = (ends.hidden().back(states, plan.out())?, ends.output().back(states, plan.out())?);
    Ok(refine::<1, T>(backend, 1, stop, Planned { plan, hidden, output }))
}
