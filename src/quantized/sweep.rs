//! Sweeps over integers.

use super::around;
use super::view::View;
use crate::kernel::{
    Activation, IntegerRows, PackedProduct, ShapeError, WithActivation, integer_drive, integer_sums, once,
    with_activation,
};
use crate::network::{Alike, EachLayer, Walk};
use crate::simd::{Backend, Integers, IntegersOnce, OnIntegers, Packed, Quantum};
use crate::solve::{Solved, fits};
use core::marker::PhantomData;

/// How the layers of a network of integers end.
pub(super) trait IntegerEnds: Copy {
    /// A layer with its activation. Whether it is the last is `LAST`, or `is_last` where the walk does not tell ([`Alike`]).
    ///
    /// # Errors
    /// [`ShapeError`] if the shapes do not fit; nothing is changed then.
    #[allow(clippy::too_many_arguments, reason = "those of a layer, in registers")]
    fn layer<const UNITS: usize, const LAST: bool, H: Quantum, L>(
        self,
        lanes: L,
        is_last: bool,
        products: [Option<PackedProduct<'_, i8, H>>; 2],
        rows: IntegerRows<'_>,
        base: Option<&[i32]>,
        own: &mut [H],
        change: &mut <L as Integers>::Whole,
    ) -> Result<(), ShapeError>
    where
        L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>;
}

/// Activations as types.
pub(super) struct TypedEnds<A, O>(PhantomData<(A, O)>);

impl<A, O> TypedEnds<A, O> {
    pub(super) const NEW: Self = Self(PhantomData);
}
impl<A, O> Clone for TypedEnds<A, O> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<A, O> Copy for TypedEnds<A, O> {}

impl<A: Activation, O: Activation> IntegerEnds for TypedEnds<A, O> {
    #[inline(always)]
    fn layer<const UNITS: usize, const LAST: bool, H: Quantum, L>(
        self,
        lanes: L,
        _: bool,
        products: [Option<PackedProduct<'_, i8, H>>; 2],
        rows: IntegerRows<'_>,
        base: Option<&[i32]>,
        own: &mut [H],
        change: &mut <L as Integers>::Whole,
    ) -> Result<(), ShapeError>
    where
        L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>,
    {
        if LAST {
            integer_sums::<UNITS, H, O, L>(lanes, products, rows, base, own, change)
        } else {
            integer_sums::<UNITS, H, A, L>(lanes, products, rows, base, own, change)
        }
    }
}

/// Activations by their numbers, as model files have them.
#[derive(Clone, Copy)]
pub(super) struct Codes {
    pub(super) hidden: u8,
    pub(super) output: u8,
}

impl IntegerEnds for Codes {
    #[inline(always)]
    fn layer<const UNITS: usize, const LAST: bool, H: Quantum, L>(
        self,
        lanes: L,
        is_last: bool,
        products: [Option<PackedProduct<'_, i8, H>>; 2],
        rows: IntegerRows<'_>,
        base: Option<&[i32]>,
        own: &mut [H],
        change: &mut <L as Integers>::Whole,
    ) -> Result<(), ShapeError>
    where
        L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>,
    {
        let code = if is_last { self.output } else { self.hidden };
        let unknown = ShapeError { what: "activation", expected: 0, found: code.into() };
        let layer = LayerWith { lanes, products, rows, base, own, change };
        with_activation(code, layer).unwrap_or(Err(unknown))
    }
}

/// A layer whose activation is still to come.
struct LayerWith<'a, 'b, H, L: Integers> {
    lanes: L,
    products: [Option<PackedProduct<'a, i8, H>>; 2],
    rows: IntegerRows<'a>,
    base: Option<&'a [i32]>,
    own: &'b mut [H],
    change: &'b mut L::Whole,
}

impl<H: Quantum, L> WithActivation for LayerWith<'_, '_, H, L>
where
    L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>,
{
    type Output = Result<(), ShapeError>;
    #[inline(always)]
    fn with<A: Activation>(self) -> Self::Output {
        let Self { lanes, products, rows, base, own, change } = self;
        integer_sums::<0, H, A, L>(lanes, products, rows, base, own, change)
    }
}

/// Drive, then sweeps until no state changes by more than `enough`, or until the limit.
pub(super) struct Solve<'a, H, E, W> {
    pub(super) view: View<'a>,
    pub(super) input: &'a [H],
    pub(super) state: &'a mut [H],
    /// Room for the first layer's sums of its inputs.
    pub(super) drive: &'a mut [i32],
    pub(super) enough: i32,
    pub(super) limit: usize,
    pub(super) ends: E,
    pub(super) walk: W,
}

impl<H: Quantum, E: IntegerEnds, W: Walk> OnIntegers<H> for Solve<'_, H, E, W> {
    type Output = Solved<i32>;

    #[inline(always)]
    fn run<L>(self, lanes: L) -> Solved<i32>
    where
        L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>,
    {
        let Self { view, input, state, drive, enough, limit, ends, walk } = self;
        let layout = walk.layout(view.layout);
        walk.first(&mut AtFirst { lanes, view, input, drive });
        let mut solved = Solved { sweeps: 0, residual: i32::MAX };
        while solved.sweeps < limit {
            let mut at = AtLayer { lanes, view, drive, state, change: lanes.splat(0), ends };
            walk.up(layout, &mut at);
            solved = Solved { sweeps: solved.sweeps + 1, residual: lanes.largest(at.change) };
            if solved.residual <= enough {
                break;
            }
        }
        solved
    }
}

/// A solve, compiled once for all networks.
pub(super) struct SolveJob<'a, H> {
    pub(super) view: View<'a>,
    pub(super) input: &'a [H],
    pub(super) state: &'a mut [H],
    pub(super) drive: &'a mut [i32],
    pub(super) enough: i32,
    pub(super) limit: usize,
    pub(super) ends: Codes,
    pub(super) backend: Backend,
}

/// Does a [`SolveJob`].
pub(super) enum SolveOnce {}

impl IntegersOnce for SolveOnce {
    type Job<'a, H: Quantum> = SolveJob<'a, H>;
    type Output<H: Quantum> = Solved<i32>;
    once!(@ i8, solve_once);
    once!(@ i16, solve_once);
}

#[inline(always)]
fn solve_once<H: Quantum>(job: SolveJob<'_, H>) -> Solved<i32> {
    let SolveJob { view, input, state, drive, enough, limit, ends, backend } = job;
    H::run(backend, Solve { view, input, state, drive, enough, limit, ends, walk: Alike })
}

struct AtFirst<'a, L, H> {
    lanes: L,
    view: View<'a>,
    input: &'a [H],
    drive: &'a mut [i32],
}

impl<L, H: Quantum> EachLayer for AtFirst<'_, L, H>
where
    L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>,
{
    #[inline(always)]
    fn layer<const UNITS: usize, const LAST: bool>(&mut self, index: usize) {
        let Some(layer) = self.view.layout.layers().get(index) else { return };
        let result = self.view.w(layer).and_then(|w| {
            integer_drive::<UNITS, H, L>(self.lanes, (w, self.input), self.view.first, self.drive)
        });
        fits(result);
    }
}

struct AtLayer<'a, 'b, L: Integers, H, E> {
    lanes: L,
    view: View<'a>,
    drive: &'b [i32],
    state: &'b mut [H],
    change: L::Whole,
    ends: E,
}

impl<L, H: Quantum, E: IntegerEnds> EachLayer for AtLayer<'_, '_, L, H, E>
where
    L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>,
{
    #[inline(always)]
    fn layer<const UNITS: usize, const LAST: bool>(&mut self, index: usize) {
        let Self { lanes, view, drive, state, change, ends } = self;
        let Some(layer) = view.layout.layers().get(index) else { return };
        let Some((below, own, above)) = around(state, layer) else { return };
        // What the layers above sent is known since the last sweep: its products run while the layer below finishes.
        let (Ok(u), Ok(w)) = (view.u(layer), view.w(layer)) else { return };
        let down = (layer.feedback > 0).then_some((u, above));
        let (base, up) = if index == 0 { (Some(&**drive), None) } else { (None, Some((w, below))) };
        let (rows, is_last) = (view.rows(layer), view.is_last(index));
        fits(ends.layer::<UNITS, LAST, H, L>(*lanes, is_last, [down, up], rows, base, own, change));
    }
}
