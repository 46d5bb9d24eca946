//! One sweep over the layers.

use crate::kernel::{Activate, Activation, Base, CHUNK, Change, Finish, Matrix, MatrixMut, Product, Scalar, ShapeError, fused};
use crate::network::Parameters;
use crate::simd::Lanes;
use core::marker::PhantomData;

/// Shapes inside the crate come from one layout and always fit; a kernel that found otherwise has done nothing.
#[inline(always)]
pub(crate) fn fits(result: Result<(), ShapeError>) {
    debug_assert!(result.is_ok(), "{result:?}");
}

/// Calls `each` with the first sample and the rows of every chunk.
#[inline(always)]
pub(crate) fn for_each_chunk<T, E>(
    mut states: MatrixMut<'_, T>,
    mut each: impl FnMut(usize, MatrixMut<'_, T>) -> Result<(), E>,
) -> Result<(), E> {
    let mut first = 0;
    while first < states.rows() {
        each(first, states.reborrow().row_range(first, CHUNK))?;
        first += CHUNK;
    }
    Ok(())
}

/// One sweep: every layer from the freshest values, the first from `base` = W^1 x + b^1.
#[inline(always)]
pub(crate) fn sweep<T: Scalar, L: Lanes<T>, H: Activation, O: Activation>(
    lanes: L,
    params: Parameters<'_, T>,
    base: Matrix<'_, T>,
    mut states: MatrixMut<'_, T>,
    changes: &mut [Change<L::Vector>],
) {
    for change in changes.iter_mut() {
        change.reset(lanes);
    }
    let layout = params.layout();
    for (l, layer) in layout.layers().iter().enumerate() {
        let (below, own, above) = states.reborrow().split(layer.units, layer.width);
        let (base, up) = if l == 0 {
            (Base::Matrix(base), None)
        } else {
            let operand = below.columns(layer.units - layer.inputs, layer.inputs);
            (Base::Bias(params.b(layer)), Some(Product { matrix: params.w(layer), operand }))
        };
        let down = (layer.feedback > 0)
            .then(|| Product { matrix: params.u(layer), operand: above.columns(0, layer.feedback) });
        let products = [up, down].into_iter().flatten();
        if l + 1 == layout.depth() {
            apply(lanes, base, products, Activate::<O>(PhantomData), own, changes);
        } else {
            apply(lanes, base, products, Activate::<H>(PhantomData), own, changes);
        }
    }
}

#[inline(always)]
fn apply<'a, T: Scalar, L: Lanes<T>, F: Finish<T>>(
    lanes: L,
    base: Base<'a, T>,
    products: impl Iterator<Item = Product<'a, T>> + Clone,
    finish: F,
    own: MatrixMut<'_, T>,
    changes: &mut [Change<L::Vector>],
) {
    fits(fused::<false, T, L, F>(lanes, base, products, finish, own, changes));
}
