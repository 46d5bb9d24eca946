//! Sweeps of an adapted network and of its adjoint: those of the network, with one product more where a correction is.

use super::view::{Correction, View};
use crate::kernel::{
    Base, Change, Changes, EachProduct, End, Ends, MOST_PRODUCTS, Matrix, MatrixMut, Product, Products,
    Scalar, ShapeError, Term, Terms,
};
use crate::learn::{InOne, slope};
use crate::network::{EachLayer, LayerLayout, Layout, Looped, MAX_DEPTH, Walk};
use crate::simd::Lanes;
use crate::solve::{First, Sweep, apply, fits};

// A layer reads every other at most, through a matrix and through a correction. No layer has more products than that.
const _: () = assert!(2 * (MAX_DEPTH + 1) <= MOST_PRODUCTS);

/// A product before others.
#[derive(Clone, Copy)]
struct Before<'a, T, P>(Product<'a, T>, P);

impl<'a, T: Scalar, P: Products<'a, T>> Products<'a, T> for Before<'a, T, P> {
    type Terms = BeforeTerm<T, P::Terms>;
    #[inline(always)]
    fn visit<V: EachProduct<'a, T>>(self, each: &mut V) {
        each.product(self.0);
        self.1.visit(each);
    }
    #[inline(always)]
    fn terms(self) -> Self::Terms {
        BeforeTerm(Term::of(self.0), self.1.terms())
    }
}

struct BeforeTerm<T, R>(Term<T>, R);

impl<T: Scalar, R: Terms<T>> Terms<T> for BeforeTerm<T, R> {
    #[inline(always)]
    fn at(&self, index: usize) -> Option<Term<T>> {
        match index.checked_sub(1) {
            None => Some(self.0),
            Some(index) => self.1.at(index),
        }
    }
}

/// Room for `samples` of as many values as a correction has rank, the part of it that layer `index` has.
#[inline(always)]
pub(super) fn part<T>(room: &mut [T], index: usize, samples: usize, rank: usize) -> Option<MatrixMut<'_, T>> {
    let values = samples * rank;
    let part = room.get_mut(index * values..)?.get_mut(..values)?;
    MatrixMut::new(part, samples, rank).ok()
}

/// The sums of `products` into `room`. What is not finite goes on into whatever they are for.
#[inline(always)]
fn sums<'a, const TRANSPOSED: bool, const C: usize, T: Scalar, L: Lanes<T>, E: Ends<T>>(
    lanes: L,
    ends: E,
    products: (Option<Product<'a, T>>, Option<Product<'a, T>>),
    room: MatrixMut<'_, T>,
) {
    let mut unused = Changes::<_, C>::none(lanes);
    let unused = unused.of(lanes, room.rows());
    apply::<TRANSPOSED, C, 0, Looped, T, L, _>(lanes, Base::Zero, products, ends.sum(), room, unused);
}

/// s = Q^T of what a layer reads from `below` and from `above`, into `room`.
#[inline(always)]
pub(super) fn thin<const C: usize, T: Scalar, L: Lanes<T>, E: Ends<T>>(
    lanes: L,
    ends: E,
    correction: Correction<'_, T>,
    layer: &LayerLayout,
    below: Option<Matrix<'_, T>>,
    above: Option<Matrix<'_, T>>,
    room: MatrixMut<'_, T>,
) {
    let q = correction.q;
    let below = below.map(|operand| Product { matrix: q.columns(0, layer.inputs), operand });
    let above = above.filter(|above| above.cols() > 0);
    let above = above.map(|operand| Product { matrix: q.columns(layer.inputs, layer.feedback), operand });
    sums::<false, C, T, L, E>(lanes, ends, (above, below), room);
}

/// t = P^T d of a layer, into `room`.
#[inline(always)]
pub(super) fn thin_back<const C: usize, T: Scalar, L: Lanes<T>, E: Ends<T>>(
    lanes: L,
    ends: E,
    correction: Correction<'_, T>,
    deltas: Matrix<'_, T>,
    room: MatrixMut<'_, T>,
) {
    let product = Product { matrix: correction.p, operand: deltas };
    sums::<true, C, T, L, E>(lanes, ends, (None, Some(product)), room);
}

/// Shapes come from one layout and always fit.
#[inline(always)]
fn no_room() {
    fits(Err(ShapeError { what: "room", expected: 1, found: 0 }));
}

/// base = W^1 x + b^1 + P Q^T x, with room for Q^T x; whether it is finite.
#[inline(always)]
pub(super) fn set_injection<const C: usize, T: Scalar, L: Lanes<T>, E: Ends<T>>(
    lanes: L,
    view: View<'_, T>,
    ends: E,
    input: Matrix<'_, T>,
    base: MatrixMut<'_, T>,
    room: &mut [T],
) -> bool {
    let Some(layer) = view.layout().layers().first() else { return false };
    let mut changes = Changes::<_, C>::none(lanes);
    let changes = changes.of(lanes, base.rows());
    let products = (None, Some(Product { matrix: view.w(layer), operand: input }));
    let (bias, finish) = (Base::Bias(view.b(layer)), ends.sum());
    match view.correction(layer) {
        None => apply::<false, C, 0, Looped, T, L, _>(lanes, bias, products, finish, base, changes),
        Some(correction) => {
            let Some(mut room) = part(room, 0, base.rows(), correction.p.cols()) else { return false };
            thin::<C, T, L, E>(lanes, ends, correction, layer, Some(input), None, room.reborrow());
            let first = Product { matrix: correction.p, operand: room.as_ref() };
            let products = Before(first, products);
            apply::<false, C, 0, Looped, T, L, _>(lanes, bias, products, finish, base, changes);
        }
    }
    let mut poison = T::ZERO;
    for change in changes.iter() {
        // NaN if something was not finite. With one sample, what narrow lanes found is in the residual.
        poison += lanes.reduce_add(change.poison);
        if C == 1 {
            poison += change.of_one(lanes) * T::ZERO;
        }
    }
    poison.is_finite()
}

/// One sweep of an adapted network.
pub(super) struct Forward<'a, 'b, T, E> {
    pub(super) view: View<'a, T>,
    /// W^1 x + b^1 + P Q^T x, or x.
    pub(super) base: First<'b, T>,
    pub(super) states: MatrixMut<'b, T>,
    pub(super) ends: E,
    /// For Q^T h of a layer.
    pub(super) room: &'b mut [T],
}

impl<T: Scalar, E: Ends<T>> Sweep<T> for Forward<'_, '_, T, E> {
    #[inline(always)]
    fn sweep<const C: usize, L: Lanes<T>>(&mut self, lanes: L, changes: &mut [Change<L::Vector>]) {
        let layout = self.view.layout();
        Looped.up(layout, &mut At::<_, _, T, C> { sweep: self, lanes, changes, layout });
    }
    #[inline(always)]
    fn refined(&self) -> Matrix<'_, T> {
        self.states.as_ref()
    }
}

/// A sweep at a layer.
struct At<'a, K, L: Lanes<T>, T: Scalar, const C: usize> {
    sweep: &'a mut K,
    lanes: L,
    changes: &'a mut [Change<L::Vector>],
    layout: &'static Layout,
}

impl<T, L, E, const C: usize> EachLayer for At<'_, Forward<'_, '_, T, E>, L, T, C>
where
    T: Scalar,
    L: Lanes<T>,
    E: Ends<T>,
{
    #[inline(always)]
    fn layer<const UNITS: usize, const LAST: bool>(&mut self, index: usize) {
        let Self { sweep, lanes, changes, layout } = self;
        let Forward { view, base, states, ends, room } = &mut **sweep;
        let Some(layer) = layout.layers().get(index) else { return };
        let (below, own, above) = states.reborrow().split(layer.units, layer.width);
        let (base, below) = if index > 0 {
            let below = below.columns(layer.units - layer.inputs, layer.inputs);
            (Base::Bias(view.b(layer)), Some(below))
        } else if base.is_input {
            (Base::Bias(view.b(layer)), Some(base.matrix))
        } else {
            (Base::Matrix(base.matrix), None)
        };
        let above = (layer.feedback > 0).then(|| above.columns(0, layer.feedback));
        let up = below.map(|operand| Product { matrix: view.w(layer), operand });
        let down = above.map(|operand| Product { matrix: view.u(layer), operand });
        let correction = if below.is_some() || above.is_some() { view.correction(layer) } else { None };
        let Some(correction) = correction else {
            return activate::<C, LAST, T, L, E>(*lanes, *ends, base, (down, up), own, changes);
        };
        let Some(mut room) = part(room, 0, own.rows(), correction.p.cols()) else { return no_room() };
        thin::<C, T, L, E>(*lanes, *ends, correction, layer, below, above, room.reborrow());
        let first = Product { matrix: correction.p, operand: room.as_ref() };
        activate::<C, LAST, T, L, E>(*lanes, *ends, base, Before(first, (down, up)), own, changes);
    }
}

#[inline(always)]
fn activate<'a, const C: usize, const LAST: bool, T: Scalar, L: Lanes<T>, E: Ends<T>>(
    lanes: L,
    ends: E,
    base: Base<'a, T>,
    products: impl Products<'a, T>,
    own: MatrixMut<'_, T>,
    changes: &mut [Change<L::Vector>],
) {
    if LAST {
        apply::<false, C, 0, Looped, T, L, _>(lanes, base, products, ends.output().up(), own, changes);
    } else {
        apply::<false, C, 0, Looped, T, L, _>(lanes, base, products, ends.hidden().up(), own, changes);
    }
}

/// One sweep of the adjoint of an adapted network.
pub(super) struct Backward<'a, 'b, T, E> {
    pub(super) view: View<'a, T>,
    /// g, the gradient of the outputs.
    pub(super) injected: Matrix<'a, T>,
    /// As [`Method::Literal`](crate::learn::Method) has it.
    pub(super) literal: bool,
    pub(super) states: Matrix<'a, T>,
    pub(super) deltas: MatrixMut<'b, T>,
    pub(super) ends: E,
    /// t = P^T d of every layer.
    pub(super) room: &'b mut [T],
}

impl<T: Scalar, E: Ends<T>> Backward<'_, '_, T, E> {
    /// The t of the deltas that are there.
    #[inline(always)]
    pub(super) fn start<const C: usize, L: Lanes<T>>(&mut self, lanes: L) {
        let Self { view, deltas, ends, room, .. } = self;
        for (index, layer) in view.layout().layers().iter().enumerate() {
            let own = deltas.as_ref().columns(layer.units, layer.width);
            send::<C, T, L, E>(lanes, *ends, *view, (index, layer), own, room);
        }
    }
}

/// Sets t of a layer, if it has a correction.
#[inline(always)]
fn send<const C: usize, T: Scalar, L: Lanes<T>, E: Ends<T>>(
    lanes: L,
    ends: E,
    view: View<'_, T>,
    (index, layer): (usize, &LayerLayout),
    deltas: Matrix<'_, T>,
    room: &mut [T],
) {
    let Some(correction) = view.correction(layer) else { return };
    match part(room, index, deltas.rows(), correction.p.cols()) {
        Some(room) => thin_back::<C, T, L, E>(lanes, ends, correction, deltas, room),
        None => no_room(),
    }
}

impl<T: Scalar, E: Ends<T>> Sweep<T> for Backward<'_, '_, T, E> {
    #[inline(always)]
    fn sweep<const C: usize, L: Lanes<T>>(&mut self, lanes: L, changes: &mut [Change<L::Vector>]) {
        let layout = self.view.layout();
        Looped.down(layout, &mut At::<_, _, T, C> { sweep: self, lanes, changes, layout });
    }
    #[inline(always)]
    fn refined(&self) -> Matrix<'_, T> {
        self.deltas.as_ref()
    }
}

impl<T, L, E, const C: usize> EachLayer for At<'_, Backward<'_, '_, T, E>, L, T, C>
where
    T: Scalar,
    L: Lanes<T>,
    E: Ends<T>,
{
    #[inline(always)]
    fn layer<const UNITS: usize, const LAST: bool>(&mut self, index: usize) {
        let Self { sweep, lanes, changes, layout } = self;
        let Backward { view, injected, literal, states, deltas, ends, room } = &mut **sweep;
        let Some(layer) = layout.layers().get(index) else { return };
        let (below, mut own, above) = deltas.reborrow().split(layer.units, layer.width);
        let base = if LAST { Base::Matrix(*injected) } else { Base::Zero };
        let h = states.columns(layer.units, layer.width);
        let readers = if LAST && *literal { index..index } else { layout.readers(index) };
        let received = Received { view: *view, index, first: readers.start, below, above, room };
        let step = InOne(base, received);
        slope::<C, 0, LAST, Looped, T, L, _>(*lanes, *ends, step, h, own.reborrow(), changes);
        send::<C, T, L, E>(*lanes, *ends, *view, (index, layer), own.as_ref(), room);
    }
}

/// What a layer receives in an adjoint sweep: from every layer below that reads it, through U and through Q, and from the next
/// one through W and through Q.
#[derive(Clone, Copy)]
struct Received<'a, T> {
    view: View<'a, T>,
    index: usize,
    /// The first layer that reads it.
    first: usize,
    below: Matrix<'a, T>,
    above: Matrix<'a, T>,
    room: &'a [T],
}

impl<'a, T: Scalar> Received<'a, T> {
    #[inline(always)]
    fn product(&self, number: usize) -> Option<Product<'a, T>> {
        let layers = self.view.layout().layers();
        let low_rank = matches!(self.view.plan, super::Plan::LowRank(rank) if rank > 0);
        let (step, corrected) = if low_rank { (number / 2, number % 2 == 1) } else { (number, false) };
        // The layers below that read it, then the one above.
        let mut sender = self.first + step;
        if sender >= self.index {
            sender += 1;
        }
        if sender > self.index + 1 {
            return None;
        }
        let (own, from) = (layers.get(self.index)?, layers.get(sender)?);
        let first = if sender > self.index { 0 } else { own.units - from.units - from.width };
        if corrected {
            let correction = self.view.correction(from)?;
            let first = if sender > self.index { 0 } else { from.inputs + first };
            let samples = self.above.rows();
            let values = samples * correction.p.cols();
            let t = self.room.get(sender * values..)?.get(..values)?;
            let operand = Matrix::new(t, samples, correction.p.cols()).ok()?;
            return Some(Product { matrix: correction.q.columns(first, own.width), operand });
        }
        Some(if sender > self.index {
            Product { matrix: self.view.w(from), operand: self.above.columns(0, from.width) }
        } else {
            let matrix = self.view.u(from).columns(first, own.width);
            Product { matrix, operand: self.below.columns(from.units, from.width) }
        })
    }
}

impl<'a, T: Scalar> Products<'a, T> for Received<'a, T> {
    type Terms = Self;
    #[inline(always)]
    fn visit<V: EachProduct<'a, T>>(self, each: &mut V) {
        let mut number = 0;
        while let Some(product) = self.product(number) {
            each.product(product);
            number += 1;
        }
    }
    #[inline(always)]
    fn terms(self) -> Self {
        self
    }
}

impl<T: Scalar> Terms<T> for Received<'_, T> {
    #[inline(always)]
    fn at(&self, index: usize) -> Option<Term<T>> {
        self.product(index).map(Term::of)
    }
}
