//! Sweeps over integers.

use super::{Quantized, around};
use crate::kernel::{Activation, integer_drive, integer_sums};
use crate::network::{Architecture, EachLayer, Flat, Form, Layout, Looped, Network, Stack, Unrolled, Walk};
use crate::simd::{Integers, OnIntegers, Packed, Quantum};
use crate::solve::{Solved, fits};
use core::marker::PhantomData;

/// Drive, then sweeps until no state changes by more than `enough`, or until the limit.
pub(super) struct Solve<'a, N: Architecture, H: Quantum> {
    pub(super) network: &'a Quantized<N, H>,
    pub(super) input: &'a [H],
    pub(super) state: &'a mut [H],
    pub(super) enough: i32,
    pub(super) limit: usize,
}

impl<const I: usize, S: Stack, F: Form, A: Activation, O: Activation, H: Quantum> OnIntegers<H>
    for Solve<'_, Network<I, S, f32, F, A, O>, H>
{
    type Output = Solved<i32>;

    #[inline(always)]
    fn run<L>(self, lanes: L) -> Solved<i32>
    where
        L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>,
    {
        if const { Network::<I, S, f32, F, A, O>::SPECIAL && !cfg!(target_os = "none") } {
            self.walk::<A, O, L, _>(lanes, Unrolled::<Network<I, S, f32, F, A, O>>::NEW)
        } else {
            self.walk::<A, O, L, _>(lanes, Looped)
        }
    }
}

impl<N: Architecture, H: Quantum> Solve<'_, N, H> {
    #[inline(always)]
    fn walk<A: Activation, O: Activation, L, W: Walk>(self, lanes: L, walk: W) -> Solved<i32>
    where
        L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>,
    {
        let Self { network, input, state, enough, limit } = self;
        let layout = walk.layout(const { &N::LAYOUT });
        let mut drive: N::FirstUnits<i32> = Flat::ZERO;
        let drive = drive.flat_mut();
        walk.first(&mut AtFirst { lanes, network, input, drive, layout });
        let mut solved = Solved { sweeps: 0, residual: i32::MAX };
        while solved.sweeps < limit {
            let change = lanes.splat(0);
            let activations = PhantomData::<(A, O)>;
            let mut at = AtLayer { lanes, network, drive, state, change, layout, activations };
            walk.up(layout, &mut at);
            solved = Solved { sweeps: solved.sweeps + 1, residual: lanes.largest(at.change) };
            if solved.residual <= enough {
                break;
            }
        }
        solved
    }
}

struct AtFirst<'a, L, N: Architecture, H: Quantum> {
    lanes: L,
    network: &'a Quantized<N, H>,
    input: &'a [H],
    drive: &'a mut [i32],
    layout: &'static Layout,
}

impl<L, N: Architecture, H: Quantum> EachLayer for AtFirst<'_, L, N, H>
where
    L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>,
{
    #[inline(always)]
    fn layer<const UNITS: usize, const LAST: bool>(&mut self, index: usize) {
        let Some(layer) = self.layout.layers().get(index) else { return };
        let result = self.network.w(layer).and_then(|w| {
            let rows = self.network.first_rows();
            integer_drive::<UNITS, H, L>(self.lanes, (w, self.input), rows, self.drive)
        });
        fits(result);
    }
}

struct AtLayer<'a, L: Integers, N: Architecture, H: Quantum, A, O> {
    lanes: L,
    network: &'a Quantized<N, H>,
    drive: &'a [i32],
    state: &'a mut [H],
    change: L::Whole,
    layout: &'static Layout,
    activations: PhantomData<(A, O)>,
}

impl<L, N: Architecture, H: Quantum, A: Activation, O: Activation> EachLayer for AtLayer<'_, L, N, H, A, O>
where
    L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>,
{
    #[inline(always)]
    fn layer<const UNITS: usize, const LAST: bool>(&mut self, index: usize) {
        let Self { lanes, network, drive, state, change, layout, .. } = self;
        let Some(layer) = layout.layers().get(index) else { return };
        let Some((below, own, above)) = around(state, layer) else { return };
        // What the layers above sent is known since the last sweep: its products run while the layer below finishes.
        let (Ok(u), Ok(w)) = (network.u(layer), network.w(layer)) else { return };
        let down = (layer.feedback > 0).then_some((u, above));
        let (base, up) = if index == 0 { (Some(&**drive), None) } else { (None, Some((w, below))) };
        let rows = network.rows(layer);
        fits(if LAST {
            integer_sums::<UNITS, H, O, L>(*lanes, [down, up], rows, base, own, change)
        } else {
            integer_sums::<UNITS, H, A, L>(*lanes, [down, up], rows, base, own, change)
        });
    }
}
