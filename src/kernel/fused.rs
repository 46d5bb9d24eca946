//! The fused layer: out = finish(base + sum of matrix-vector products), with the change it makes, in one pass.

use super::batch::Batch;
use super::products::{Base, Products, in_a_row, shapes_fit};
use super::single::{InLine, Single};
use super::{Change, Finish, MatrixMut, Scalar, ShapeError, expect, outlined};
use crate::simd::{Lanes, Routine};
use core::marker::PhantomData;

/// The fused layer, for one sample (`C` = 1, next to no other in memory) or for up to `C` samples of a batch.
/// `UNITS` is the number of units where it is known when compiling, else 0: it spares the code of blocks that are
/// never taken. `samples` of a batch says which: the first one, and how many. `changes` holds one entry for one sample, or one for every `WIDTH`
/// samples.
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit; nothing is changed then.
#[inline(always)]
pub(crate) fn fused<
    'a,
    const TRANSPOSED: bool,
    const C: usize,
    const UNITS: usize,
    T: Scalar,
    L: Lanes<T>,
    F: Finish<T>,
>(
    lanes: L,
    base: Base<'a, T>,
    products: &impl Products<'a, T>,
    finish: F,
    mut out: MatrixMut<'_, T>,
    (first, count): (usize, usize),
    changes: &mut [Change<L::Vector>],
) -> Result<(), ShapeError> {
    let (samples, units) = (out.rows(), out.cols());
    let lies_in_a_row = shapes_fit::<TRANSPOSED, T>(base, *products, samples, units)?;
    if C == 1 {
        // With one sample next to another in memory, lanes over units would have to gather.
        expect("samples", 1, samples)?;
        expect("stride", 1, out.stride())?;
        if !lies_in_a_row {
            in_a_row::<T>(base, *products)?;
        }
        if UNITS != 0 {
            expect("units", UNITS, units)?;
        }
        expect("changes", 1, changes.len())?;
        for change in changes {
            // SAFETY: the shapes were compared above, and that all lies in a row.
            unsafe { one::<TRANSPOSED, UNITS, T, L, F>(lanes, base, products, finish, &mut out, change) };
        }
    } else {
        expect("changes", count.div_ceil(L::WIDTH), changes.len())?;
        if count > samples || first > samples - count {
            return Err(ShapeError { what: "samples", expected: samples, found: count });
        }
        let batch = Batch::<TRANSPOSED, _, _, _, _> {
            lanes,
            base,
            products: *products,
            finish,
            stride: out.stride(),
            out: out.start(),
            first,
            samples: count,
            units,
        };
        // SAFETY: the shapes were compared above.
        unsafe { batch.run(changes) };
    }
    Ok(())
}

/// The fused layer for one sample, looked at before.
///
/// # Safety
/// The shapes must fit, and base, operands and `out` lie in a row; the units must be `UNITS` unless that is 0.
#[inline(always)]
pub(super) unsafe fn one<
    'a,
    const TRANSPOSED: bool,
    const UNITS: usize,
    T: Scalar,
    L: Lanes<T>,
    F: Finish<T>,
>(
    lanes: L,
    base: Base<'a, T>,
    products: &impl Products<'a, T>,
    finish: F,
    out: &mut MatrixMut<'_, T>,
    change: &mut Change<L::Vector>,
) {
    let (base, out, units) = (base.start(), out.start(), out.cols());
    // SAFETY: the same contract, which the caller keeps.
    unsafe {
        if const { L::BLOCKING.outlined } {
            let terms = products.terms();
            outlined::layer::<TRANSPOSED, UNITS, T, L, F>(lanes, base, terms, finish, out, units, change);
        } else {
            let sources = &InLine(*products, PhantomData);
            Single { lanes, base, sources, finish, out, units }.run::<TRANSPOSED, UNITS>(change);
        }
    }
}

/// [`fused`] in a function of its own, one copy for all callers.
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit; nothing is changed then.
#[inline(always)]
pub(crate) fn fused_outlined<
    'a,
    const TRANSPOSED: bool,
    const C: usize,
    T: Scalar,
    L: Lanes<T>,
    F: Finish<T>,
>(
    lanes: L,
    base: Base<'a, T>,
    products: &impl Products<'a, T>,
    finish: F,
    out: MatrixMut<'_, T>,
    samples: (usize, usize),
    changes: &mut [Change<L::Vector>],
) -> Result<(), ShapeError> {
    lanes.vectorize(Outlined::<TRANSPOSED, C, _, _, _, _> { base, products, finish, out, samples, changes })
}

struct Outlined<'a, 'b, const TRANSPOSED: bool, const C: usize, T, P, F, V> {
    base: Base<'a, T>,
    products: &'b P,
    finish: F,
    out: MatrixMut<'b, T>,
    /// The first sample, and how many.
    samples: (usize, usize),
    changes: &'b mut [Change<V>],
}

impl<'a, const TRANSPOSED: bool, const C: usize, T, P, F, L> Routine<L>
    for Outlined<'a, '_, TRANSPOSED, C, T, P, F, L::Vector>
where
    T: Scalar,
    L: Lanes<T>,
    P: Products<'a, T>,
    F: Finish<T>,
{
    type Output = Result<(), ShapeError>;

    #[inline(always)]
    fn run(self, lanes: L) -> Self::Output {
        let Self { base, products, finish, out, samples, changes } = self;
        fused::<TRANSPOSED, C, 0, T, L, F>(lanes, base, products, finish, out, samples, changes)
    }
}
