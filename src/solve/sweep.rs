//! One sweep over the layers.

use super::corrected::corrected;
use super::refine::Sweep;
use crate::kernel::{
    Base, Before, CHUNK, Change, Changes, End, Ends, Finish, Gathered, Lent, Matrix, MatrixMut, Product,
    Products, Scalar, ShapeError, fused, fused_outlined,
};
use crate::network::{EachLayer, Flat, LayerLayout, Layout, Looped, Source, Walk};
use crate::simd::{Lanes, Operation, Routine, Site};
use core::marker::PhantomData;

/// Shapes inside the crate come from one layout and always fit; a kernel that found otherwise has done nothing.
#[inline(always)]
pub(crate) fn fits(result: Result<(), ShapeError>) {
    debug_assert!(result.is_ok(), "{result:?}");
}

/// Room that a layout says is there is missing: what it is for is left out, which no layout lets happen.
#[inline(always)]
pub(crate) fn no_room() {
    fits(Err(ShapeError { what: "room", expected: 1, found: 0 }));
}

/// The first sample and the number of samples of every chunk of a batch.
#[inline(always)]
pub(crate) fn chunks(samples: usize) -> impl Iterator<Item = (usize, usize)> {
    chunks_of(samples, CHUNK)
}

/// The first sample and the number of samples of every chunk of at most `most` samples, of which there is one at least.
#[inline(always)]
pub(crate) fn chunks_of(samples: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    // As a range, which the compiler sees through where there is one chunk.
    let most = most.max(1);
    (0..samples.div_ceil(most)).map(move |chunk| (chunk * most, most.min(samples - chunk * most)))
}

/// Room for intermediate sums: W^1 x + b^1; half those of a layer, where feedback is tied; or the thin sums of a correction.
pub(crate) trait HalfRoom<T: Scalar> {
    /// Whether there may be tied feedback.
    const ANY: bool;
    /// Whether there may be too little for a layer.
    const BOUNDED: bool;
    /// How many scalars it holds, if it is bounded.
    fn bound(&self) -> usize;
    /// Room for so many scalars, or none.
    fn first(&mut self, count: usize) -> Option<&mut [T]>;
}

/// As much as a network needs.
impl<T: Scalar, R: Flat<Scalar = T>> HalfRoom<T> for R {
    const ANY: bool = R::LEN > 0;
    const BOUNDED: bool = false;
    #[inline(always)]
    fn bound(&self) -> usize {
        R::LEN
    }
    #[inline(always)]
    fn first(&mut self, count: usize) -> Option<&mut [T]> {
        self.flat_mut().get_mut(..count)
    }
}

/// Of one size for all networks: a layer that does not fit is taken in blocks of units.
impl<T: Scalar> HalfRoom<T> for Lent<'_, T> {
    const ANY: bool = true;
    const BOUNDED: bool = true;
    #[inline(always)]
    fn bound(&self) -> usize {
        self.len()
    }
    #[inline(always)]
    fn first(&mut self, count: usize) -> Option<&mut [T]> {
        Lent::first(self, count)
    }
}

/// Samples that fit in room for `each` scalars of one: at most `most`, and none if there is no room for one.
#[inline(always)]
pub(crate) fn samples_in<T: Scalar, R: HalfRoom<T>>(room: &R, each: usize, most: usize) -> usize {
    if R::BOUNDED { most.min(room.bound().checked_div(each).unwrap_or(most)) } else { most }
}

/// What the first layer is given of its input.
#[derive(Clone, Copy)]
pub(crate) struct First<'a, T> {
    /// W^1 x + b^1, computed once; or x, where there is no room to keep that.
    pub(crate) matrix: Matrix<'a, T>,
    pub(crate) is_input: bool,
}

/// What a unit's change is measured by.
pub(crate) trait Weights<T: Scalar>: Copy {
    /// A finish that measures so.
    type Weighed<F: Finish<T> + 'static>: Finish<T>;
    /// `finish` in a layer.
    fn weigh<F: Finish<T> + 'static>(self, finish: F, layer: &LayerLayout) -> Self::Weighed<F>;
}

/// Nothing: the plain maximum norm.
impl<T: Scalar> Weights<T> for () {
    type Weighed<F: Finish<T> + 'static> = F;
    #[inline(always)]
    fn weigh<F: Finish<T> + 'static>(self, finish: F, _: &LayerLayout) -> F {
        finish
    }
}

/// One weight for each unit of all layers, for one sample.
impl<'a, T: Scalar> Weights<T> for &'a [T] {
    type Weighed<F: Finish<T> + 'static> = F::Weighed<'a>;
    #[inline(always)]
    fn weigh<F: Finish<T> + 'static>(self, finish: F, layer: &LayerLayout) -> F::Weighed<'a> {
        finish.weighed(self.get(layer.own()).unwrap_or_default())
    }
}

/// One sweep of a network: every layer from the freshest values. `R` is a [`HalfRoom`].
pub(crate) struct Forward<'a, T, S, E, R, W, K> {
    pub(crate) params: S,
    pub(crate) base: First<'a, T>,
    pub(crate) states: MatrixMut<'a, T>,
    pub(crate) ends: E,
    pub(crate) walk: W,
    pub(crate) weights: K,
    pub(crate) room: R,
}

impl<'a, T, S, E, R, W, K> Sweep<T> for Forward<'_, T, S, E, &mut R, W, K>
where
    T: Scalar,
    S: Source<'a, T>,
    E: Ends<T>,
    R: HalfRoom<T>,
    W: Walk,
    K: Weights<T>,
{
    const OUTLINED: bool = E::ALIKE;

    #[inline(always)]
    fn sweep<const C: usize, L: Lanes<T>>(&mut self, lanes: L, changes: &mut [Change<L::Vector>]) {
        let layout = self.walk.layout(self.params.layout());
        let walk = self.walk;
        if const { L::BLOCKING.outlined } {
            self.params = self.params.afresh();
        }
        let states = self.states.reborrow();
        let states = if const { L::BLOCKING.outlined } { states.afresh() } else { states };
        let mut forward = Forward {
            params: self.params,
            base: self.base,
            states,
            weights: self.weights,
            ends: self.ends,
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
    layout: &'a Layout,
}

impl<'a, T, L, S, E, R, W, K, const C: usize> EachLayer
    for AtLayer<'_, Forward<'_, T, S, E, &mut R, W, K>, L, T, C>
where
    T: Scalar,
    S: Source<'a, T>,
    L: Lanes<T>,
    E: Ends<T>,
    R: HalfRoom<T>,
    W: Walk,
    K: Weights<T>,
{
    const ALIKE: bool = E::ALIKE;

    #[inline(always)]
    fn layer<const UNITS: usize, const LAST: bool>(&mut self, index: usize) {
        let Self { forward, lanes, changes, layout } = self;
        let Forward { params, base, states, weights, ends, room, .. } = &mut **forward;
        let Some(layer) = layout.layers().get(index) else { return };
        let is_output = LAST || (E::ALIKE && index + 1 == layout.layers().len());
        let (below, own, above) = states.reborrow().split(layer.units, layer.width);
        // Then the input goes before what is fed back, as it does where its sum is kept: the bits are the same.
        let again = R::BOUNDED && index == 0 && base.is_input;
        let (base, up) = if index == 0 && !again {
            (Base::Matrix(base.matrix), None)
        } else {
            let operand = if again { base.matrix } else { layer.below_of(below) };
            (Base::Bias(params.b(layer)), Some(Product { matrix: params.w(layer), operand }))
        };
        if let Some((k, next)) = tied::<T, S, R, LAST>(layout, index) {
            let down = Product { matrix: params.w(next), operand: above.columns(0, next.width) };
            let halves = Halves { base, first: (up, T::ONE / k), then: (Some(down), k), room: &mut **room };
            let finish = weights.weigh(ends.hidden().up(), layer);
            return halves.apply::<false, true, C, UNITS, W, _, _, _>(
                *lanes,
                ends.sum(),
                finish,
                own,
                changes,
            );
        }
        let down = (layer.feedback > 0)
            .then(|| Product { matrix: params.u(layer), operand: above.columns(0, layer.feedback) });
        // What the layers above sent is known since the last sweep: its product runs while the layer below finishes.
        let products = if again && params.rank() == 0 { (up, down) } else { (down, up) };
        let by = (*ends, *weights, layer, is_output);
        if const { S::CORRECTED } {
            let first = corrected::<C, _, _, _>(*lanes, *params, layer, products, own.rows(), &mut **room);
            let products = Before(first, products);
            activate::<C, UNITS, LAST, W, _, _, _, _>(*lanes, by, base, products, own, changes);
        } else {
            activate::<C, UNITS, LAST, W, _, _, _, _>(*lanes, by, base, products, own, changes);
        }
    }
}

/// A layer of known products.
#[inline(always)]
fn activate<'a, const C: usize, const UNITS: usize, const LAST: bool, W: Walk, T, L, E, K>(
    lanes: L,
    (ends, weights, layer, is_output): (E, K, &LayerLayout, bool),
    base: Base<'a, T>,
    products: impl Products<'a, T>,
    own: MatrixMut<'_, T>,
    changes: &mut [Change<L::Vector>],
) where
    T: Scalar,
    L: Lanes<T>,
    E: Ends<T>,
    K: Weights<T>,
{
    if const { E::ALIKE } {
        let finish = weights.weigh(ends.either(is_output).up(), layer);
        apply::<false, C, UNITS, W, _, _, _>(lanes, base, products, finish, own, changes);
    } else if LAST {
        let finish = weights.weigh(ends.output().up(), layer);
        apply::<false, C, UNITS, W, _, _, _>(lanes, base, products, finish, own, changes);
    } else {
        let finish = weights.weigh(ends.hidden().up(), layer);
        apply::<false, C, UNITS, W, _, _, _>(lanes, base, products, finish, own, changes);
    }
}

/// base = W^1 x + b^1, with W^1 corrected; whether it is finite.
#[inline(always)]
pub(super) fn set_injection<'a, const C: usize, T, S, E, R, W>(
    site: impl Site<T>,
    walk: W,
    ends: E,
    params: S,
    (input, base): (Matrix<'_, T>, MatrixMut<'_, T>),
    room: &mut R,
) -> bool
where
    T: Scalar,
    S: Source<'a, T>,
    E: Ends<T>,
    R: HalfRoom<T>,
    W: Walk,
{
    site.run(FirstSums::<_, _, _, _, _, C> { walk, ends, params, input, base, room, source: PhantomData })
}

struct FirstSums<'a, 'b, T, S, E, R, W, const C: usize> {
    walk: W,
    ends: E,
    params: S,
    input: Matrix<'b, T>,
    base: MatrixMut<'b, T>,
    room: &'b mut R,
    source: PhantomData<&'a [T]>,
}

impl<'a, T, S, E, R, W, const C: usize> Operation<T> for FirstSums<'a, '_, T, S, E, R, W, C>
where
    T: Scalar,
    S: Source<'a, T>,
    E: Ends<T>,
    R: HalfRoom<T>,
    W: Walk,
{
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> bool {
        let Self { walk, ends, params, input, base, room, .. } = self;
        let layout = walk.layout(params.layout());
        let mut changes = Changes::<_, C>::none(lanes);
        let changes = changes.of(lanes, base.rows());
        let walked = PhantomData;
        walk.first(&mut AtFirst::<_, _, _, _, _, W, C> {
            lanes,
            ends,
            params,
            input,
            base,
            changes,
            layout,
            room,
            walked,
        });
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
}

struct AtFirst<'a, 'b, S, E, R, L: Lanes<T>, T: Scalar, W, const C: usize> {
    lanes: L,
    ends: E,
    params: S,
    input: Matrix<'b, T>,
    base: MatrixMut<'b, T>,
    changes: &'b mut [Change<L::Vector>],
    layout: &'a Layout,
    room: &'b mut R,
    walked: PhantomData<(W, &'a [T])>,
}

impl<'a, S, E, R, L, T, W, const C: usize> EachLayer for AtFirst<'a, '_, S, E, R, L, T, W, C>
where
    T: Scalar,
    S: Source<'a, T>,
    E: Ends<T>,
    R: HalfRoom<T>,
    L: Lanes<T>,
    W: Walk,
{
    #[inline(always)]
    fn layer<const UNITS: usize, const LAST: bool>(&mut self, index: usize) {
        let Self { lanes, ends, params, input, base, changes, layout, room, .. } = self;
        let Some(layer) = layout.layers().get(index) else { return };
        // Of the type a sweep's products have, so that they share their code.
        let product = Product { matrix: params.w(layer), operand: *input };
        let products = (None::<Product<'_, T>>, Some(product));
        let (bias, finish, base) = (Base::Bias(params.b(layer)), ends.sum(), base.reborrow());
        if const { S::CORRECTED } {
            let first = corrected::<C, _, _, _>(*lanes, *params, layer, products, base.rows(), &mut **room);
            apply::<false, C, UNITS, W, _, _, _>(
                *lanes,
                bias,
                Before(first, products),
                finish,
                base,
                changes,
            );
        } else {
            apply::<false, C, UNITS, W, _, _, _>(*lanes, bias, products, finish, base, changes);
        }
    }
}

/// k, and the next layer, where layers have it fed back through W^T.
#[inline(always)]
fn tied<'a, 'l, T: Scalar, S: Source<'a, T>, R: HalfRoom<T>, const LAST: bool>(
    layout: &'l Layout,
    index: usize,
) -> Option<(T, &'l LayerLayout)> {
    // Networks with tied feedback have no corrections; one type for both is only compiled once.
    if const { !R::ANY || LAST || (S::CORRECTED && !R::BOUNDED) } {
        return None;
    }
    layout.tied_to(index)
}

/// The product of some of the units, from the first on, or of all.
#[inline(always)]
fn some_units<const TRANSPOSED: bool, T: Scalar>(
    product: Product<'_, T>,
    units: Option<(usize, usize)>,
) -> Product<'_, T> {
    match units {
        None => product,
        Some((first, count)) if TRANSPOSED => {
            Product { matrix: product.matrix.columns(first, count), ..product }
        }
        Some((first, count)) => Product { matrix: product.matrix.row_range(first, count), ..product },
    }
}

/// A layer in two steps, for a sum of a product with a matrix and of one with the transpose of another: what its `first` factor
/// makes of base and first product waits in the room, and what the other makes of that and of the other product is the sum.
pub(crate) struct Halves<'a, 'b, T, R> {
    pub(crate) base: Base<'a, T>,
    pub(crate) first: (Option<Product<'a, T>>, T),
    pub(crate) then: (Option<Product<'a, T>>, T),
    pub(crate) room: &'b mut R,
}

impl<T: Scalar, R: HalfRoom<T>> Halves<'_, '_, T, R> {
    #[inline(always)]
    pub(crate) fn apply<
        const FIRST: bool,
        const THEN: bool,
        const C: usize,
        const UNITS: usize,
        W: Walk,
        L: Lanes<T>,
        S: Finish<T>,
        F: Finish<T>,
    >(
        self,
        lanes: L,
        sum: S,
        finish: F,
        own: MatrixMut<'_, T>,
        changes: &mut [Change<L::Vector>],
    ) {
        if const { F::TILED } {
            let halves = self;
            lanes.vectorize(InTwo::<T, R, S, F, L::Vector, FIRST, THEN, C> {
                halves,
                sum,
                finish,
                own,
                changes,
            });
        } else {
            self.steps::<FIRST, THEN, C, UNITS, W, L, S, F>(lanes, sum, finish, own, changes);
        }
    }

    #[inline(always)]
    fn steps<
        const FIRST: bool,
        const THEN: bool,
        const C: usize,
        const UNITS: usize,
        W: Walk,
        L: Lanes<T>,
        S: Finish<T>,
        F: Finish<T>,
    >(
        self,
        lanes: L,
        sum: S,
        finish: F,
        mut own: MatrixMut<'_, T>,
        changes: &mut [Change<L::Vector>],
    ) {
        let Self { base, first, then, room } = self;
        let (samples, units) = (own.rows(), own.cols());
        let mut unit = 0;
        while unit < units {
            let left = units - unit;
            let count = if R::BOUNDED && samples * left > room.bound() {
                room.bound().checked_div(samples).unwrap_or(0).min(left).max(1)
            } else {
                left
            };
            let Some(room) = room.first(samples * count) else {
                return fits(Err(ShapeError { what: "room", expected: samples * count, found: 0 }));
            };
            let Ok(mut room) = MatrixMut::new(room, samples, count) else { return };
            let whole = !R::BOUNDED || count == units;
            let units = (!whole).then_some((unit, count));
            let base = match base {
                Base::Bias(bias) if !whole => Base::Bias(bias.get(unit..unit + count).unwrap_or_default()),
                Base::Matrix(matrix) if !whole => Base::Matrix(matrix.columns(unit, count)),
                base => base,
            };
            // The change of a half is of no use; and what is not finite goes on into the sum.
            let mut unused = Changes::<_, C>::none(lanes);
            let unused = unused.of(lanes, samples);
            let products =
                (None::<Product<'_, T>>, first.0.map(|product| some_units::<FIRST, T>(product, units)));
            let half = sum.times(first.1);
            // Blocks are only taken where the number of units is not known while compiling.
            apply::<FIRST, C, UNITS, W, T, L, _>(lanes, base, products, half, room.reborrow(), unused);
            let base = Base::Matrix(room.as_ref());
            let products =
                (None::<Product<'_, T>>, then.0.map(|product| some_units::<THEN, T>(product, units)));
            let finish = finish.skip(unit * own.stride()).times(then.1);
            let block = own.reborrow().column_range(unit, count);
            apply::<THEN, C, UNITS, W, T, L, _>(lanes, base, products, finish, block, changes);
            unit += count;
        }
    }
}

/// [`Halves`] as a function of its own.
struct InTwo<'a, 'b, 'c, T, R, S, F, V, const FIRST: bool, const THEN: bool, const C: usize> {
    halves: Halves<'a, 'b, T, R>,
    sum: S,
    finish: F,
    own: MatrixMut<'c, T>,
    changes: &'c mut [Change<V>],
}

impl<T, R, S, F, L, const FIRST: bool, const THEN: bool, const C: usize> Routine<L>
    for InTwo<'_, '_, '_, T, R, S, F, L::Vector, FIRST, THEN, C>
where
    T: Scalar,
    R: HalfRoom<T>,
    S: Finish<T>,
    F: Finish<T>,
    L: Lanes<T>,
{
    type Output = ();
    #[inline(always)]
    fn run(self, lanes: L) {
        let Self { halves, sum, finish, own, changes } = self;
        halves.steps::<FIRST, THEN, C, 0, Looped, L, S, F>(lanes, sum, finish, own, changes);
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
    let all = (0, own.rows());
    if const { F::TILED } {
        // Compiled once: of one type whatever the products are.
        let mut gathered = Gathered::new();
        products.visit(&mut gathered);
        fits(fused_outlined::<TRANSPOSED, C, T, L, F>(
            lanes,
            base,
            &gathered.list(),
            finish,
            own,
            all,
            changes,
        ));
    } else if W::OUTLINED {
        fits(fused_outlined::<TRANSPOSED, C, T, L, F>(lanes, base, &products, finish, own, all, changes));
    } else {
        fits(fused::<TRANSPOSED, C, UNITS, T, L, F>(lanes, base, &products, finish, own, all, changes));
    }
}
