//! The adjoint of one sample on an engine that is compiled once: what does not change from sweep to sweep is worked out before the first one, and
//! the usual activations have code of their own.

use super::gradient::Adjoint;
use crate::kernel::{Base, Chosen, End, Ends, Identity, NewLayer, Plan, Scalar, Tanh, Typed};
use crate::network::{Layout, Source};
use crate::simd::{Backend, Lanes, Operation};
use crate::solve::{Lost, Planned, Progress, refine};

/// Whether no layer reads others than its neighbours, each through a matrix of its own.
pub(super) fn is_near(layout: &Layout) -> bool {
    layout.percent() == 0 && !layout.reach().is_far()
}

/// The adjoint of one sample of a network whose layers read their neighbours.
#[inline(never)]
pub(super) fn adjoint<'a, T: Scalar, S: Source<'a, T>>(
    adjoint: Adjoint<'a, T, S, Chosen<T>>,
    backend: Backend,
) -> Result<Progress<T>, Lost> {
    if const { Chosen::<T>::USUAL } && adjoint.ends.are_usual() {
        let Adjoint { params, states, output, hidden, deltas, stop, literal, .. } = adjoint;
        let ends = Typed::<Tanh, Identity>::NEW;
        T::run(backend, Planning(Adjoint { params, states, output, hidden, deltas, stop, literal, ends }))
    } else {
        T::run(backend, Planning(adjoint))
    }
}

/// An adjoint whose layers are compared with their operands once, and not in every sweep.
struct Planning<'a, T, S, E>(Adjoint<'a, T, S, E>);

impl<'a, T: Scalar, S: Source<'a, T>, E: Ends<T>> Operation<T> for Planning<'a, T, S, E> {
    type Output = Result<Progress<T>, Lost>;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output {
        let Adjoint { params, states, output, hidden, deltas, stop, literal, ends } = self.0;
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
            let from_below = below
                .map(|from| (params.u(from).columns(layer.columns_in(from).start, layer.width), from.own()));
            let from_above = layers.get(index + 1).map(|next| (params.w(next), next.own()));
            plan.push(NewLayer { own: layer.own(), is_output, base, products: [from_below, from_above] })?;
        }
        let (hidden, output) =
            (ends.hidden().back(states, plan.out())?, ends.output().back(states, plan.out())?);
        let mut progress = Progress::default();
        progress.merge(refine::<1, T, L>(lanes, 1, stop, Planned { plan, hidden, output }))?;
        Ok(progress)
    }
}
