//! One sweep over the layers.

use super::refine::Sweep;
use crate::kernel::{
    Activate, Activation, Base, CHUNK, Change, Changes, Finish, Identity, Matrix, MatrixMut, Product,
    Products, Scalar, ShapeError, Weighted, fused, fused_shared,
};
use crate::network::{EachLayer, LayerLayout, Layout, Parameters, Walk};
use crate::simd::Lanes;
use core::marker::PhantomData;

/// Shapes inside the crate come from one layout and always fit; a kernel that found otherwise has done nothing.
#[inline(always)]
pub(crate) fn fits(result: Result<(), ShapeError>) {
    debug_assert!(result.is_ok(), "{result:?}");
}

/// The first sample and the number of samples of every chunk of a batch.
#[inline(always)]
pub(crate) fn chunks(samples: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..samples.div_ceil(CHUNK)).map(move |chunk| (chunk * CHUNK, CHUNK.min(samples - chunk * CHUNK)))
}

/// What a unit's change is measured by.
pub(crate) trait Weights<T: Scalar>: Copy {
    /// A finish that measures so.
    type Weighed<F: Finish<T>>: Finish<T>;
    /// `finish` in a layer.
    fn weigh<F: Finish<T>>(self, finish: F, layer: &LayerLayout) -> Self::Weighed<F>;
}

/// Nothing: the plain maximum norm.
impl<T: Scalar> Weights<T> for () {
    type Weighed<F: Finish<T>> = F;
    #[inline(always)]
    fn weigh<F: Finish<T>>(self, finish: F, _: &LayerLayout) -> F {
        finish
    }
}

/// One weight for each unit of all layers, for one sample.
impl<'a, T: Scalar> Weights<T> for &'a [T] {
    type Weighed<F: Finish<T>> = Weighted<'a, T, F>;
    #[inline(always)]
    fn weigh<F: Finish<T>>(self, finish: F, layer: &LayerLayout) -> Weighted<'a, T, F> {
        let weights = self.get(layer.units..layer.units + layer.width).unwrap_or_default();
        Weighted { finish, weights }
    }
}

/// One sweep of a network: every layer from the freshest values, the first from `base` = W^1 x + b^1.
pub(crate) struct Forward<'a, T, H, O, W, K> {
    pub(crate) params: Parameters<'a, T>,
    pub(crate) base: Matrix<'a, T>,
    pub(crate) states: MatrixMut<'a, T>,
    pub(crate) activations: PhantomData<(H, O)>,
    pub(crate) walk: W,
    pub(crate) weights: K,
}

impl<T: Scalar, H: Activation, O: Activation, W: Walk, K: Weights<T>> Sweep<T>
    for Forward<'_, T, H, O, W, K>
{
    #[inline(always)]
    fn sweep<const C: usize, L: Lanes<T>>(&mut self, lanes: L, changes: &mut [Change<L::Vector>]) {
        let layout = self.walk.layout(self.params.layout());
        let walk = self.walk;
        if const { L::BLOCKING.shared } {
            self.params = self.params.afresh();
        }
        let states = self.states.reborrow();
        let states = if const { L::BLOCKING.shared } { states.afresh() } else { states };
        let mut forward = Forward {
            params: self.params,
            base: self.base,
            states,
            weights: self.weights,
            activations: self.activations,
            walk,
        };
        walk.up(layout, &mut AtLayer::<_, _, T, C> { forward: &mut forward, lanes, changes, layout });
    }
    #[inline(always)]
    fn refined(&self) -> Matrix<'_, T> {
        self.states.as_ref()
    }
}

struct AtLayer<'a, F, L: Lanes<T>, T: Scalar, const C: usize> {
    forward: &'a mut F,
    lanes: L,
    changes: &'a mut [Change<L::Vector>],
    layout: &'static Layout,
}

impl<T: Scalar, L: Lanes<T>, H: Activation, O: Activation, W: Walk, K: Weights<T>, const C: usize> EachLayer
    for AtLayer<'_, Forward<'_, T, H, O, W, K>, L, T, C>
{
    #[inline(always)]
    fn layer<const UNITS: usize, const LAST: bool>(&mut self, index: usize) {
        let Self { forward, lanes, changes, layout } = self;
        let Forward { params, base, states, weights, .. } = &mut **forward;
        let Some(layer) = layout.layers().get(index) else { return };
        let (below, own, above) = states.reborrow().split(layer.units, layer.width);
        let (base, up) = if index == 0 {
            (Base::Matrix(*base), None)
        } else {
            let operand = below.columns(layer.units - layer.inputs, layer.inputs);
            (Base::Bias(params.b(layer)), Some(Product { matrix: params.w(layer), operand }))
        };
        let down = (layer.feedback > 0)
            .then(|| Product { matrix: params.u(layer), operand: above.columns(0, layer.feedback) });
        // What the layers above sent is known since the last sweep: its product runs while the layer below finishes.
        let products = (down, up);
        if LAST {
            let finish = weights.weigh(Activate::<O>(PhantomData), layer);
            apply::<C, UNITS, W, _, _, _>(*lanes, base, products, finish, own, changes);
        } else {
            let finish = weights.weigh(Activate::<H>(PhantomData), layer);
            apply::<C, UNITS, W, _, _, _>(*lanes, base, products, finish, own, changes);
        }
    }
}

/// base = W^1 x + b^1; whether it is finite.
#[inline(always)]
pub(super) fn set_drive<const C: usize, W: Walk, T: Scalar, L: Lanes<T>>(
    lanes: L,
    walk: W,
    params: Parameters<'_, T>,
    input: Matrix<'_, T>,
    base: MatrixMut<'_, T>,
) -> bool {
    let layout = walk.layout(params.layout());
    let mut changes = Changes::<_, C>::none(lanes);
    let changes = changes.of(lanes, base.rows());
    walk.first(&mut AtFirst::<_, _, W, C> { lanes, params, input, base, changes, layout, walk: PhantomData });
    if C == 1 {
        // NaN if something was not finite; what was there before may be anything, and so may the change.
        return changes.first().is_some_and(|change| change.of_one(lanes) >= T::ZERO);
    }
    let mut poison = lanes.splat(T::ZERO);
    for change in changes.iter() {
        poison = lanes.add(change.poison, poison);
    }
    lanes.reduce_add(poison).is_finite()
}

struct AtFirst<'a, L: Lanes<T>, T: Scalar, W, const C: usize> {
    lanes: L,
    params: Parameters<'a, T>,
    input: Matrix<'a, T>,
    base: MatrixMut<'a, T>,
    changes: &'a mut [Change<L::Vector>],
    layout: &'static Layout,
    walk: PhantomData<W>,
}

impl<L: Lanes<T>, T: Scalar, W: Walk, const C: usize> EachLayer for AtFirst<'_, L, T, W, C> {
    #[inline(always)]
    fn layer<const UNITS: usize, const LAST: bool>(&mut self, index: usize) {
        let Self { lanes, params, input, base, changes, layout, .. } = self;
        let Some(layer) = layout.layers().get(index) else { return };
        // Of the type a sweep's products have, so that they share their code.
        let product = Product { matrix: params.w(layer), operand: *input };
        let products = (None::<Product<'_, T>>, Some(product));
        let (bias, finish) = (Base::Bias(params.b(layer)), Activate::<Identity>(PhantomData));
        apply::<C, UNITS, W, _, _, _>(*lanes, bias, products, finish, base.reborrow(), changes);
    }
}

#[inline(always)]
fn apply<'a, const C: usize, const UNITS: usize, W: Walk, T: Scalar, L: Lanes<T>, F: Finish<T>>(
    lanes: L,
    base: Base<'a, T>,
    products: impl Products<'a, T>,
    finish: F,
    own: MatrixMut<'_, T>,
    changes: &mut [Change<L::Vector>],
) {
    if W::SHARED {
        fits(fused_shared::<false, C, T, L, F>(lanes, base, &products, finish, own, changes));
    } else {
        fits(fused::<false, C, UNITS, T, L, F>(lanes, base, &products, finish, own, changes));
    }
}
