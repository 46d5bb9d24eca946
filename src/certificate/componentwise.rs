//! A bound for each unit by itself, for states where one for all says too little.
//!
//! A bound in the norm takes every unit's rounding errors and slope to be the worst there are. Here each has its own. Let h be a
//! state after a sweep that changed it by d in the weighted norm, and e a bound on |h - h*|. The sweep computed layer l
//! from h^(l-1) as it is now and from h^(l+1).. as it was, which is within d v of what it is; the solution has h* instead of both. So
//!
//! |h - h*| <= t (|W| (e + kappa |h|) + |U| (e + d v + kappa (|h| + d v)) + kappa |b|) + eta,
//!
//! kappa of the layer's own number of products (and kappa |W^1| |x| in the first), and t a bound on the slope between h and h*:
//! no more than s' at h, plus its largest change over e + eta. The right side is a bound as good as the one it was made of, and
//! better where that was bad; layer after layer takes those below already bettered, and it may be taken again and again.

use super::comparison::{Comparison, finish};
use super::outward::{count, plus, smaller, times, up};
use super::{eta, kappa};
use crate::kernel::{Activation, Matrix, Scalar, add_magnitudes, add_magnitudes_transposed};
use crate::network::LayerLayout;
use crate::simd::{Backend, Lanes, Operation};
use core::marker::PhantomData;

/// A state after a sweep.
pub(super) struct Swept<'a, T> {
    pub(super) input: &'a [T],
    pub(super) h: &'a [T],
    pub(super) v: &'a [T],
    /// |change|_v of the last sweep.
    pub(super) change: T,
}

/// Betters the bounds `errors` on all units of a state; `room` is for as many scalars.
pub(super) fn better<T: Scalar, H: Activation, O: Activation>(
    comparison: &Comparison<'_, T>,
    swept: &Swept<'_, T>,
    errors: &mut [T],
    room: &mut [T],
) -> Option<()> {
    let layers = comparison.layers();
    for (index, layer) in layers.iter().enumerate() {
        let terms = comparison.params.layout().terms(index);
        let (kappa, eta) = (kappa::<T>(terms), eta::<T>(f64::max(H::error::<T>(), O::error::<T>()), terms));
        sums(comparison, index, swept, kappa, errors, room)?;
        let units = layer.own();
        let (own, sums) = (errors.get_mut(units.clone())?, room.get(units.clone())?);
        let h = swept.h.get(units)?;
        for (((e, sum), h), b) in own.iter_mut().zip(sums).zip(h).zip(comparison.params.b(layer)) {
            let near = plus(*e, eta);
            let slope = if index + 1 == layers.len() {
                steepest::<O, T>(*h, near)
            } else {
                steepest::<H, T>(*h, near)
            };
            let bound = plus(times(slope, plus(*sum, times(kappa, b.magnitude()))), eta);
            *e = smaller(bound, *e);
            if !(*e <= T::INFINITE) {
                return None;
            }
        }
    }
    Some(())
}

/// |W| (e + kappa |h|) + |U| (e + d v + kappa (|h| + d v)) of a layer, rounded outwards, into its part of `room`.
fn sums<T: Scalar>(
    comparison: &Comparison<'_, T>,
    index: usize,
    swept: &Swept<'_, T>,
    kappa: T,
    errors: &[T],
    room: &mut [T],
) -> Option<()> {
    let params = comparison.params;
    let layer: &LayerLayout = comparison.layers().get(index)?;
    let Swept { input, h, v, change } = *swept;
    let (below, rest) = room.split_at_mut_checked(layer.units)?;
    let (own, above) = rest.split_at_mut_checked(layer.width)?;
    if index == 0 {
        let each = |index: usize| input.get(index).map_or(T::NAN, |x| times(kappa, x.magnitude()));
        Comparison::rows(params.w(layer), each, T::ONE, own)?;
    } else {
        own.fill(T::ZERO);
        let from = layer.below().start;
        let below = below.get_mut(from..)?;
        for ((p, e), h) in below.iter_mut().zip(errors.get(from..)?).zip(h.get(from..)?) {
            *p = plus(*e, times(kappa, h.magnitude()));
        }
        add(params.w(layer), below, own)?;
    }
    let layout = params.layout();
    let fed_back = layout.fed_back(index);
    if fed_back > 0 {
        let above = above.get_mut(..fed_back)?;
        let from = layer.own().end;
        let known = errors.get(from..)?.iter().zip(h.get(from..)?).zip(v.get(from..)?);
        for (p, ((e, h), v)) in above.iter_mut().zip(known) {
            let moved = times(change, *v);
            *p = plus(plus(*e, moved), times(kappa, plus(h.magnitude(), moved)));
        }
        if let Some((k, next)) = layout.tied_to(index) {
            for p in above.iter_mut() {
                *p = times(k, *p);
            }
            add_magnitudes_transposed(Backend::portable(), params.w(next), above, own).ok()?;
        } else {
            add(params.u(layer), above, own)?;
        }
    }
    finish(own, layout.terms(index), false, T::ONE);
    Some(())
}

fn add<T: Scalar>(matrix: Matrix<'_, T>, vector: &[T], sums: &mut [T]) -> Option<()> {
    add_magnitudes(Backend::portable(), matrix, vector, sums).ok()
}

/// A bound on the slope wherever the activation is within `near` of `h`.
fn steepest<A: Activation, T: Scalar>(h: T, near: T) -> T {
    let steepest = T::from_f64(A::STEEPEST);
    if A::BEND == f64::INFINITY {
        return steepest;
    }
    let slope = T::run(Backend::portable(), Slope::<A, T>(h, PhantomData)).magnitude();
    // It was computed with an error of some roundings of 1 at most.
    let slope = plus(slope, count::<T>(8) * T::PRECISION);
    smaller(up(slope + times(T::from_f64(A::BEND), near)), steepest)
}

/// s' at h.
struct Slope<A, T>(T, PhantomData<A>);

impl<A: Activation, T: Scalar> Operation<T> for Slope<A, T> {
    type Output = T;
    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> T {
        lanes.reduce_max(A::slope::<T, L>(lanes, lanes.splat(self.0)))
    }
}
