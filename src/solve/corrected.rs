//! The products that corrections add to layers: P s, with s = Q^T of what a layer reads; in an adjoint Q t, with t = P^T d.

use super::sweep::{HalfRoom, apply, no_room};
use crate::kernel::{
    Base, Changes, Chosen, Ends, Identity, Matrix, MatrixMut, Product, Scalar, TYPED, Typed,
};
use crate::network::{Correction, LayerLayout, Looped, Source};
use crate::simd::{Lanes, Operation, Routine};

/// P s of a layer, if it has a correction and reads anything in these products; s lies in the room.
#[inline(always)]
pub(crate) fn corrected<'a, 'b, const C: usize, T: Scalar, L: Lanes<T>, R: HalfRoom<T>>(
    lanes: L,
    source: impl Source<'a, T>,
    layer: &LayerLayout,
    (down, up): (Option<Product<'b, T>>, Option<Product<'b, T>>),
    samples: usize,
    room: &'b mut R,
) -> Option<Product<'b, T>>
where
    'a: 'b,
{
    let correction = source.correction(layer)?;
    if down.is_none() && up.is_none() {
        return None;
    }
    let operand = |product: Product<'b, T>| product.operand;
    let rank = source.rank();
    let Some(room) = room.first(samples * rank) else {
        no_room();
        return None;
    };
    let s = MatrixMut::new(&mut *room, samples, rank).ok()?;
    thin::<C, T, L>(lanes, correction, layer, (down.map(operand), up.map(operand)), s);
    Some(Product { matrix: correction.p, operand: Matrix::new(room, samples, rank).ok()? })
}

/// s = Q^T of what a layer reads from above and from below, into `room`.
#[inline(always)]
fn thin<const C: usize, T: Scalar, L: Lanes<T>>(
    lanes: L,
    Correction { q, .. }: Correction<'_, T>,
    layer: &LayerLayout,
    (above, below): (Option<Matrix<'_, T>>, Option<Matrix<'_, T>>),
    room: MatrixMut<'_, T>,
) {
    let below = below.map(|operand| Product { matrix: q.columns(0, layer.inputs), operand });
    let above = above.filter(|above| above.cols() > 0);
    let above = above.map(|operand| Product { matrix: q.columns(layer.inputs, layer.feedback), operand });
    sums::<false, C, T, L>(lanes, (above, below), room);
}

/// t = P^T d of a layer, into `room`.
#[inline(always)]
pub(crate) fn thin_back<const C: usize, T: Scalar, L: Lanes<T>>(
    lanes: L,
    Correction { p, .. }: Correction<'_, T>,
    deltas: Matrix<'_, T>,
    room: MatrixMut<'_, T>,
) {
    sums::<true, C, T, L>(lanes, (None, Some(Product { matrix: p, operand: deltas })), room);
}

/// [`thin`] as an operation, of what a layer reads from above and from below.
pub(crate) struct Thin<'a, T, const C: usize> {
    pub(crate) correction: Correction<'a, T>,
    pub(crate) layer: &'a LayerLayout,
    pub(crate) reads: (Matrix<'a, T>, Matrix<'a, T>),
    pub(crate) room: MatrixMut<'a, T>,
}

impl<T: Scalar, const C: usize> Operation<T> for Thin<'_, T, C> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        let Self { correction, layer, reads: (above, below), room } = self;
        thin::<C, T, L>(lanes, correction, layer, (Some(above), Some(below)), room);
    }
}

/// [`thin_back`] as an operation.
pub(crate) struct ThinBack<'a, T, const C: usize> {
    pub(crate) correction: Correction<'a, T>,
    pub(crate) deltas: Matrix<'a, T>,
    pub(crate) room: MatrixMut<'a, T>,
}

impl<T: Scalar, const C: usize> Operation<T> for ThinBack<'_, T, C> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        thin_back::<C, T, L>(lanes, self.correction, self.deltas, self.room);
    }
}

/// The sums of `products` into `room`. What is not finite goes on into whatever they are for.
#[inline(always)]
fn sums<'a, const TRANSPOSED: bool, const C: usize, T: Scalar, L: Lanes<T>>(
    lanes: L,
    products: (Option<Product<'a, T>>, Option<Product<'a, T>>),
    room: MatrixMut<'_, T>,
) {
    if const { TYPED } {
        let mut unused = Changes::<_, C>::none(lanes);
        let unused = unused.of(lanes, room.rows());
        let sum = Ends::<T>::sum(Typed::<Identity, Identity>::NEW);
        apply::<TRANSPOSED, C, 0, Looped, T, L, _>(lanes, Base::Zero, products, sum, room, unused);
    } else {
        lanes.vectorize(Sums::<T, TRANSPOSED, C> { products, room });
    }
}

/// These sums as a function of its own, one copy for all that needs them.
struct Sums<'a, 'b, T, const TRANSPOSED: bool, const C: usize> {
    products: (Option<Product<'a, T>>, Option<Product<'a, T>>),
    room: MatrixMut<'b, T>,
}

impl<T: Scalar, L: Lanes<T>, const TRANSPOSED: bool, const C: usize> Routine<L>
    for Sums<'_, '_, T, TRANSPOSED, C>
{
    type Output = ();
    #[inline(always)]
    fn run(self, lanes: L) {
        let Self { products, room } = self;
        let mut unused = Changes::<_, C>::none(lanes);
        let unused = unused.of(lanes, room.rows());
        // Of the type the engine's sums have, so that they share their code.
        let sum = Chosen::<T>::new::<Identity, Identity>().sum();
        apply::<TRANSPOSED, C, 0, Looped, T, L, _>(lanes, Base::Zero, products, sum, room, unused);
    }
}
