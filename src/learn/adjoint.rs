//! The adjoint sweep and the accumulation of gradients, over flat memory.

use crate::kernel::{
    Activation, Backpropagate, Base, Change, Matrix, MatrixMut, Product, Scalar, column_sums, fused, outer_in,
};
use crate::network::{Parameters, ParametersMut};
use crate::simd::Lanes;
use crate::solve::fits;

/// One adjoint sweep, from the last layer to the first, each from the freshest deltas.
///
/// `injected` is g, the gradient of the outputs, or nothing. `literal` leaves out what the output layer hears
/// from below through U, as the article's rule does.
#[inline(always)]
pub(super) fn adjoint_sweep<T: Scalar, L: Lanes<T>, H: Activation, O: Activation>(
    lanes: L,
    params: Parameters<'_, T>,
    injected: Option<Matrix<'_, T>>,
    literal: bool,
    states: Matrix<'_, T>,
    mut deltas: MatrixMut<'_, T>,
    changes: &mut [Change<L::Vector>],
) {
    for change in changes.iter_mut() {
        change.reset(lanes);
    }
    let layout = params.layout();
    let layers = layout.layers();
    for (l, layer) in layers.iter().enumerate().rev() {
        let last = l + 1 == layout.depth();
        let (below, own, above) = deltas.reborrow().split(layer.units, layer.width);
        let base = match injected {
            Some(gradient) if last => Base::Matrix(gradient),
            _ => Base::Zero,
        };
        let from_above = layers.get(l + 1).map(|next| Product {
            matrix: params.w(next),
            operand: above.columns(0, next.width),
        });
        let hearers = if last && literal { l..l } else { layout.hearers(l) };
        let from_below = hearers.filter_map(|k| layers.get(k)).map(|hearer| Product {
            matrix: params.u(hearer).columns(layer.units - hearer.units - hearer.width, layer.width),
            operand: below.columns(hearer.units, hearer.width),
        });
        let products = from_above.into_iter().chain(from_below);
        let h = states.columns(layer.units, layer.width);
        let done = if last {
            Backpropagate::<T, O>::new(h, &own)
                .and_then(|finish| fused::<true, T, L, _>(lanes, base, products, finish, own, changes))
        } else {
            Backpropagate::<T, H>::new(h, &own)
                .and_then(|finish| fused::<true, T, L, _>(lanes, base, products, finish, own, changes))
        };
        fits(done);
    }
}

/// Adds `deltas`' share to the gradient: with W^l what the layer below sent, with U^l what the layers above did.
///
/// `input` is x, for W^1 and b^1; without it these two are left alone, to be added once for all sweeps.
#[inline(always)]
pub(super) fn accumulate<T: Scalar, L: Lanes<T>>(
    lanes: L,
    input: Option<Matrix<'_, T>>,
    below: Matrix<'_, T>,
    above: Matrix<'_, T>,
    deltas: Matrix<'_, T>,
    gradient: &mut ParametersMut<'_, T>,
) {
    for (l, layer) in gradient.layout().layers().iter().enumerate() {
        let own = deltas.columns(layer.units, layer.width);
        let (w, u, b) = gradient.layer(layer);
        let sender = if l == 0 { input } else { Some(below.columns(layer.units - layer.inputs, layer.inputs)) };
        if let Some(sender) = sender {
            fits(outer_in(lanes, own, sender, w));
            fits(column_sums(own, b));
        }
        if layer.feedback > 0 {
            fits(outer_in(lanes, own, above.columns(layer.units + layer.width, layer.feedback), u));
        }
    }
}

/// Whether sums of products of these magnitudes, over `samples`, can be added to any finite gradient without
/// overflow. NaN magnitudes cannot.
pub(super) fn fits_gradient<T: Scalar>(delta: T, factor: T, samples: usize) -> bool {
    let factor = if factor > T::ONE { factor } else { T::ONE };
    factor.is_finite() && delta * factor * T::from_f64(samples as f64) < T::HEADROOM
}
