//! A step by one sample in one pass over the weights: each is updated as soon as there is its gradient, one product.

use super::adjoint::{Fits, Sent};
use super::optimizer::{Entrywise, check_lengths, ready};
use crate::kernel::{LayerUpdate, Scalar, once};
use crate::network::Layout;
use crate::simd::Backend;

/// Such a step of whatever network: all it takes.
pub(crate) struct OnePass<'a, T> {
    pub(crate) from: Sent<'a, T>,
    pub(crate) layout: &'a Layout,
    pub(crate) params: &'a mut [T],
    /// Is written and not read.
    pub(crate) gradient: &'a mut [T],
    pub(crate) optimizer: Entrywise<'a, T>,
    pub(crate) rate: T,
    pub(crate) backend: Backend,
}

impl<T: Scalar> OnePass<'_, T> {
    /// Makes the step, with the bits of the gradient and then the update. `false` if it is not made: several samples, a gradient of several products
    /// an entry, entries that might be too large, or settings and lengths that the optimizer refuses. Nothing but the gradient is changed then, and
    /// the longer way is to be gone, which has its errors.
    pub(crate) fn step(self) -> bool {
        T::once::<OnePassOnce>(self)
    }
}
once!(OnePassOnce: OnePass<'a, T> => bool, one_pass_once);

fn one_pass_once<T: Scalar>(job: OnePass<'_, T>) -> bool {
    let OnePass { from, layout, params, gradient, optimizer, rate, backend } = job;
    let (Some(input), Some(states), Some(deltas)) = (from.input.row(), from.states.row(), from.deltas.row())
    else {
        return false;
    };
    let fits = params.len() == layout.params()
        && layout.layers().first().is_some_and(|first| first.inputs == input.len());
    // Layers that share parameters, and W that feeds back too, have several products an entry.
    if !fits || layout.shares() > 1 {
        return false;
    }
    // A weight that is not finite would have made the sweeps so.
    if check_lengths(&optimizer, params.len(), gradient.len()).is_err()
        || !T::run(backend, Fits { from, factor: T::ONE, layout, most: T::GRADIENT_LIMIT })
    {
        return false;
    }
    let Ok(mut update) = ready(optimizer, rate) else { return false };
    for (index, layer) in layout.layers().iter().enumerate() {
        let sent = if index == 0 { Some(input) } else { states.get(layer.below()) };
        if let (Some(deltas), Some(sent), Some(fed_back)) =
            (deltas.get(layer.own()), sent, states.get(layer.above()))
        {
            let (first, inputs, update) = (layer.params, [sent, fed_back], &mut update);
            T::run(backend, LayerUpdate { first, deltas, inputs, update, params, gradient });
        }
    }
    true
}
