//! One sweep over the layers.

use super::refine::Sweep;
use crate::kernel::{
    Activate, Activation, Base, CHUNK, Change, Changes, Finish, Identity, Matrix, MatrixMut, Product,
    Products, Scalar, Scaled, ShapeError, Weighted, fused, fused_shared,
};
use crate::network::{EachLayer, Flat, LayerLayout, Layout, Parameters, Walk};
use crate::simd::{Element, Lanes};
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

/// One sweep of a network: every layer from the freshest values, the first from `base` = W^1 x + b^1. `R` is room for half
/// the sums of a layer, where feedback is tied, or none.
pub(crate) struct Forward<'a, T, H, O, R, W, K> {
    pub(crate) params: Parameters<'a, T>,
    pub(crate) base: Matrix<'a, T>,
    pub(crate) states: MatrixMut<'a, T>,
    pub(crate) activations: PhantomData<(H, O)>,
    pub(crate) walk: W,
    pub(crate) weights: K,
    pub(crate) room: R,
}

impl<T: Scalar, H: Activation, O: Activation, R: Flat<Scalar = T>, W: Walk, K: Weights<T>> Sweep<T>
    for Forward<'_, T, H, O, &mut R, W, K>
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
            room: &mut *self.room,
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

impl<T, L, H, O, R, W, K, const C: usize> EachLayer
    for AtLayer<'_, Forward<'_, T, H, O, &mut R, W, K>, L, T, C>
where
    T: Scalar,
    L: Lanes<T>,
    H: Activation,
    O: Activation,
    R: Flat<Scalar = T>,
    W: Walk,
    K: Weights<T>,
{
    #[inline(always)]
    fn layer<const UNITS: usize, const LAST: bool>(&mut self, index: usize) {
        let Self { forward, lanes, changes, layout } = self;
        let Forward { params, base, states, weights, room, .. } = &mut **forward;
        let Some(layer) = layout.layers().get(index) else { return };
        let (below, own, above) = states.reborrow().split(layer.units, layer.width);
        let (base, up) = if index == 0 {
            (Base::Matrix(*base), None)
        } else {
            let operand = below.columns(layer.units - layer.inputs, layer.inputs);
            (Base::Bias(params.b(layer)), Some(Product { matrix: params.w(layer), operand }))
        };
        if let Some((k, next)) = tied::<R, LAST>(layout, index) {
            let down = Product { matrix: params.w(next), operand: above.columns(0, next.width) };
            let halves =
                Halves { base, first: (up, T::ONE / k), then: (Some(down), k), room: room.flat_mut() };
            let finish = weights.weigh(Activate::<H>(PhantomData), layer);
            return halves.apply::<false, true, C, UNITS, W, _, _>(*lanes, finish, own, changes);
        }
        let down = (layer.feedback > 0)
            .then(|| Product { matrix: params.u(layer), operand: above.columns(0, layer.feedback) });
        // What the layers above sent is known since the last sweep: its product runs while the layer below finishes.
        let products = (down, up);
        if LAST {
            let finish = weights.weigh(Activate::<O>(PhantomData), layer);
            apply::<false, C, UNITS, W, _, _, _>(*lanes, base, products, finish, own, changes);
        } else {
            let finish = weights.weigh(Activate::<H>(PhantomData), layer);
            apply::<false, C, UNITS, W, _, _, _>(*lanes, base, products, finish, own, changes);
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
        apply::<false, C, UNITS, W, _, _, _>(*lanes, bias, products, finish, base.reborrow(), changes);
    }
}

/// k, and the next layer, where layers hear it through W^T.
#[inline(always)]
fn tied<R: Flat<Scalar: Element>, const LAST: bool>(
    layout: &'static Layout,
    index: usize,
) -> Option<(R::Scalar, &'static LayerLayout)> {
    if const { R::LEN == 0 || LAST } {
        return None;
    }
    Some((layout.tied()?, layout.layers().get(index + 1)?))
}

/// A layer in two steps, for a sum of a product with a matrix and of one with the transpose of another: what its `first` factor
/// makes of base and first product waits in the room, and what the other makes of that and of the other product is the sum.
pub(crate) struct Halves<'a, 'b, T> {
    pub(crate) base: Base<'a, T>,
    pub(crate) first: (Option<Product<'a, T>>, T),
    pub(crate) then: (Option<Product<'a, T>>, T),
    pub(crate) room: &'b mut [T],
}

impl<T: Scalar> Halves<'_, '_, T> {
    #[inline(always)]
    pub(crate) fn apply<
        const FIRST: bool,
        const THEN: bool,
        const C: usize,
        const UNITS: usize,
        W: Walk,
        L: Lanes<T>,
        F: Finish<T>,
    >(
        self,
        lanes: L,
        finish: F,
        own: MatrixMut<'_, T>,
        changes: &mut [Change<L::Vector>],
    ) {
        let Self { base, first, then, room } = self;
        let (samples, units) = (own.rows(), own.cols());
        let Ok(mut room) =
            MatrixMut::new(room.get_mut(..samples * units).unwrap_or_default(), samples, units)
        else {
            return fits(Err(ShapeError { what: "room", expected: samples * units, found: 0 }));
        };
        // Nobody asks what changed there; and what is not finite goes on into the sum.
        let mut unasked = Changes::<_, C>::none(lanes);
        let unasked = unasked.of(lanes, samples);
        let half = Scaled { factor: first.1, finish: Activate::<Identity>(PhantomData) };
        let products = (None::<Product<'_, T>>, first.0);
        apply::<FIRST, C, UNITS, W, T, L, _>(lanes, base, products, half, room.reborrow(), unasked);
        let finish = Scaled { factor: then.1, finish };
        let products = (None::<Product<'_, T>>, then.0);
        apply::<THEN, C, UNITS, W, T, L, _>(
            lanes,
            Base::Matrix(room.as_ref()),
            products,
            finish,
            own,
            changes,
        );
    }
}

/// The fused layer as a walk wants it: a function of its own, or a part of the walk.
#[inline(always)]
pub(crate) fn apply<
    'a,
    const TRANSPOSED: bool,
    const C: usize,
    const UNITS: usize,
    W: Walk,
    T: Scalar,
    L: Lanes<T>,
    F: Finish<T>,
>(
    lanes: L,
    base: Base<'a, T>,
    products: impl Products<'a, T>,
    finish: F,
    own: MatrixMut<'_, T>,
    changes: &mut [Change<L::Vector>],
) {
    if W::SHARED {
        fits(fused_shared::<TRANSPOSED, C, T, L, F>(lanes, base, &products, finish, own, changes));
    } else {
        fits(fused::<TRANSPOSED, C, UNITS, T, L, F>(lanes, base, &products, finish, own, changes));
    }
}
