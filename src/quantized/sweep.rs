//! Sweeps over integers.

use super::around;
use super::view::View;
use crate::kernel::{Activations, Codes, IntegerLayer, integer_injection, once};
use crate::simd::{Backend, IntState, Integers, IntegersOnce, OnIntegers, Packed};
use crate::solve::{Solved, fits};

/// Injection, then sweeps until no state changes by more than `enough`, or until the limit.
pub(crate) struct Solve<'a, H, E> {
    pub(crate) view: View<'a>,
    pub(crate) input: &'a [H],
    pub(crate) state: &'a mut [H],
    /// Room for the first layer's sums of its inputs.
    pub(crate) injection: &'a mut [i32],
    pub(crate) enough: i32,
    pub(crate) limit: usize,
    pub(crate) ends: E,
}

impl<H: IntState, E: Activations> OnIntegers<H> for Solve<'_, H, E> {
    type Output = Solved<i32>;

    #[inline(always)]
    fn run<L>(mut self, lanes: L) -> Solved<i32>
    where
        L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>,
    {
        let view = self.view;
        if let Some(layer) = view.layout.layers().first() {
            fits(
                view.w(layer).and_then(|w| {
                    integer_injection(lanes, (w, self.input), view.first, &mut *self.injection)
                }),
            );
        }
        let mut solved = Solved { sweeps: 0, residual: i32::MAX };
        while solved.sweeps < self.limit {
            let mut change = lanes.splat(0);
            self.sweep(lanes, &mut change);
            solved = Solved { sweeps: solved.sweeps + 1, residual: lanes.largest(change) };
            if solved.residual <= self.enough {
                break;
            }
        }
        solved
    }
}

impl<H: IntState, E: Activations> Solve<'_, H, E> {
    #[inline(always)]
    fn sweep<L>(&mut self, lanes: L, change: &mut L::Whole)
    where
        L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>,
    {
        let depth = self.view.layout.depth();
        // The output layer on its own, where that spares the others a question.
        let alike = if const { E::NUMBERS } { depth } else { depth.saturating_sub(1) };
        for index in 0..alike {
            self.layer(lanes, index, const { E::NUMBERS } && index + 1 == depth, change);
        }
        if const { !E::NUMBERS } {
            self.layer(lanes, alike, true, change);
        }
    }

    #[inline(always)]
    fn layer<L>(&mut self, lanes: L, index: usize, is_output: bool, change: &mut L::Whole)
    where
        L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>,
    {
        let Self { view, state, injection, ends, .. } = self;
        let Some(layer) = view.layout.layers().get(index) else { return };
        let Some((below, own, above)) = around(state, layer) else { return };
        let (Ok(u), Ok(w)) = (view.u(layer), view.w(layer)) else { return };
        // What the layers above sent is known since the last sweep: its products run while the layer below finishes.
        let down = (layer.feedback > 0).then_some((u, above));
        let (base, up) = if index == 0 { (Some(&**injection), None) } else { (None, Some((w, below))) };
        let (products, rows) = ([down, up], view.rows(layer));
        fits(ends.with(is_output, IntegerLayer { lanes, products, rows, base, own, change }));
    }
}

/// A solve, compiled once for all networks.
pub(crate) enum SolveOnce {}

impl IntegersOnce for SolveOnce {
    type Job<'a, H: IntState> = (Backend, Solve<'a, H, Codes>);
    type Output<H: IntState> = Solved<i32>;
    once!(@ i8, solve_once);
    once!(@ i16, solve_once);
}

#[inline(always)]
fn solve_once<H: IntState>((backend, solve): (Backend, Solve<'_, H, Codes>)) -> Solved<i32> {
    H::run(backend, solve)
}
