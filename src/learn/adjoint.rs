//! The adjoint sweep and the accumulation of gradients, over flat memory.

use crate::kernel::{
    Activation, Backpropagate, Base, Change, EachProduct, Matrix, MatrixMut, Product, Products, Scalar,
    column_sums, fused, fused_shared, largest, outer, outer_shared,
};
use crate::network::{EachLayer, Form, LayerLayout, Layout, Network, Parameters, ParametersMut, Stack, Walk};
use crate::simd::{Backend, Lanes, Operation};
use crate::solve::{Sweep, fits};
use crate::threads::Threads;
use core::marker::PhantomData;

/// One adjoint sweep, from the last layer to the first, each from the freshest deltas.
pub(super) struct Backward<'a, T, H, O, W> {
    pub(super) params: Parameters<'a, T>,
    /// g, the gradient of the outputs, or nothing.
    pub(super) injected: Option<Matrix<'a, T>>,
    /// Leaves out what the output layer hears from below through U, as the article's rule does.
    pub(super) literal: bool,
    pub(super) states: Matrix<'a, T>,
    pub(super) deltas: MatrixMut<'a, T>,
    pub(super) activations: PhantomData<(H, O)>,
    pub(super) walk: W,
}

impl<T: Scalar, H: Activation, O: Activation, W: Walk> Sweep<T> for Backward<'_, T, H, O, W> {
    #[inline(always)]
    fn sweep<const C: usize, L: Lanes<T>>(&mut self, lanes: L, changes: &mut [Change<L::Vector>]) {
        let layout = self.walk.layout(self.params.layout());
        let walk = self.walk;
        walk.down(layout, &mut AtLayer::<_, _, T, C> { backward: self, lanes, changes, layout });
    }
    #[inline(always)]
    fn refined(&self) -> Matrix<'_, T> {
        self.deltas.as_ref()
    }
}

struct AtLayer<'a, K, L: Lanes<T>, T: Scalar, const C: usize> {
    backward: &'a mut K,
    lanes: L,
    changes: &'a mut [Change<L::Vector>],
    layout: &'static Layout,
}

impl<T: Scalar, L: Lanes<T>, H: Activation, O: Activation, W: Walk, const C: usize> EachLayer
    for AtLayer<'_, Backward<'_, T, H, O, W>, L, T, C>
{
    #[inline(always)]
    fn layer<const UNITS: usize, const LAST: bool>(&mut self, index: usize) {
        let Self { backward, lanes, changes, layout } = self;
        let Backward { params, injected, literal, states, deltas, .. } = &mut **backward;
        let (params, layers) = (*params, layout.layers());
        let Some(layer) = layers.get(index) else { return };
        let (below, own, above) = deltas.reborrow().split(layer.units, layer.width);
        let base = match injected {
            Some(gradient) if LAST => Base::Matrix(*gradient),
            _ => Base::Zero,
        };
        let from_above = layers
            .get(index + 1)
            .map(|next| Product { matrix: params.w(next), operand: above.columns(0, next.width) });
        let hearers = if LAST && *literal { index..index } else { layout.hearers(index) };
        let from_below =
            Hearers { params, layers: layers.get(hearers).unwrap_or_default(), to: layer, deltas: below };
        // What the layers below sent is known since the last sweep: its product runs while the layer above finishes.
        let products = (from_below, from_above);
        let h = states.columns(layer.units, layer.width);
        if LAST {
            apply::<C, UNITS, W, T, L, O>(*lanes, base, products, h, own, changes);
        } else {
            apply::<C, UNITS, W, T, L, H>(*lanes, base, products, h, own, changes);
        }
    }
}

/// What the layers that hear a layer through U send back to it.
#[derive(Clone, Copy)]
struct Hearers<'a, T> {
    params: Parameters<'a, T>,
    /// The layers that hear.
    layers: &'static [LayerLayout],
    /// The layer they hear.
    to: &'static LayerLayout,
    /// The deltas of all layers below it.
    deltas: Matrix<'a, T>,
}

impl<'a, T: Scalar> Products<'a, T> for Hearers<'a, T> {
    #[inline(always)]
    fn visit<V: EachProduct<'a, T>>(self, each: &mut V) {
        let to = self.to;
        for hearer in self.layers {
            let u = self.params.u(hearer).columns(to.units - hearer.units - hearer.width, to.width);
            each.product(Product { matrix: u, operand: self.deltas.columns(hearer.units, hearer.width) });
        }
    }
}

#[inline(always)]
fn apply<'a, const C: usize, const UNITS: usize, W: Walk, T: Scalar, L: Lanes<T>, A: Activation>(
    lanes: L,
    base: Base<'a, T>,
    products: impl Products<'a, T>,
    states: Matrix<'a, T>,
    own: MatrixMut<'_, T>,
    changes: &mut [Change<L::Vector>],
) {
    match Backpropagate::<T, A>::new(states, &own) {
        Ok(finish) if W::SHARED => {
            fits(fused_shared::<true, C, T, L, _>(lanes, base, products, finish, own, changes));
        }
        Ok(finish) => fits(fused::<true, C, UNITS, T, L, _>(lanes, base, products, finish, own, changes)),
        Err(error) => fits(Err(error)),
    }
}

/// What a gradient is summed from, `samples` rows each.
#[derive(Clone, Copy)]
pub(super) struct Sent<'a, T> {
    pub(super) input: Matrix<'a, T>,
    pub(super) states: Matrix<'a, T>,
    pub(super) deltas: Matrix<'a, T>,
}

impl<T: Scalar> Operation<T> for Sent<'_, T> {
    type Output = bool;

    /// Whether no sum of the gradient can leave the finite numbers.
    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> bool {
        let delta = largest(lanes, self.deltas);
        let samples = self.deltas.rows();
        fits_gradient(delta, largest(lanes, self.input), samples)
            && fits_gradient(delta, largest(lanes, self.states), samples)
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
        let sender =
            if l == 0 { input } else { Some(below.columns(layer.units - layer.inputs, layer.inputs)) };
        if let Some(sender) = sender {
            fits(outer_shared(lanes, own, sender, w));
            fits(column_sums(own, b));
        }
        if layer.feedback > 0 {
            fits(outer_shared(lanes, own, above.columns(layer.units + layer.width, layer.feedback), u));
        }
    }
}

/// [`accumulate`] with the columns of every gradient shared out among threads: each entry is summed by one thread, over all
/// samples in their order.
pub(super) fn accumulate_side_by_side<'a, T: Scalar>(
    backend: Backend,
    threads: Threads,
    sent: Sent<'a, T>,
    mut layers: impl Iterator<Item = (&'static LayerLayout, MatrixMut<'a, T>, MatrixMut<'a, T>, &'a mut [T])>
    + Send,
) {
    let Some((layer, w, u, b)) = layers.next() else { return };
    let Sent { input, states, deltas } = sent;
    let own = deltas.columns(layer.units, layer.width);
    // The first layer hears the input.
    let below =
        if layer.units == 0 { input } else { states.columns(layer.units - layer.inputs, layer.inputs) };
    let above = states.columns(layer.units + layer.width, layer.feedback);
    threads.join(
        || {
            fits(column_sums(own, b));
            outer_side_by_side(backend, threads, own, below, w);
            outer_side_by_side(backend, threads, own, above, u);
        },
        || accumulate_side_by_side(backend, threads, sent, layers),
    );
}

/// An outer product, its columns shared out.
fn outer_side_by_side<T: Scalar>(
    backend: Backend,
    threads: Threads,
    deltas: Matrix<'_, T>,
    inputs: Matrix<'_, T>,
    gradient: MatrixMut<'_, T>,
) {
    // Few columns are not worth a thread's attention.
    const COLUMNS: usize = 64;
    let columns = gradient.cols();
    if columns <= COLUMNS {
        return fits(outer(backend, deltas, inputs, gradient));
    }
    let half = columns.div_ceil(2);
    let (first, second) = gradient.split_columns(half);
    threads.join(
        || outer_side_by_side(backend, threads, deltas, inputs.columns(0, half), first),
        || outer_side_by_side(backend, threads, deltas, inputs.columns(half, columns), second),
    );
}

impl<const INPUT: usize, S: Stack, T: Scalar, F: Form, H: Activation, O: Activation>
    Network<INPUT, S, T, F, H, O>
{
    /// Multiplies every U by `factor`. The rate at which sweeps shrink an error is linear in U where weights are
    /// bounded by magnitudes, so a factor below 1 strengthens convergence and 0 leaves the feed-forward network.
    pub fn scale_feedback(&mut self, factor: T) {
        let Ok(mut params) = self.parameters_mut() else { return };
        for layer in params.layout().layers() {
            let (_, mut u, _) = params.layer(layer);
            u.fill_with(|weight| weight * factor);
        }
    }
}

/// Whether sums of products of these magnitudes, over `samples`, can be added to any finite gradient without
/// overflow. NaN magnitudes cannot.
pub(super) fn fits_gradient<T: Scalar>(delta: T, factor: T, samples: usize) -> bool {
    // A NaN is not smaller and stays.
    let factor = if factor < T::ONE { T::ONE } else { factor };
    factor.is_finite() && delta * factor * T::from_f64(samples as f64) < T::HEADROOM
}
