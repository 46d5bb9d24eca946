//! Holding a network to a rate while it learns: a bound that follows the weights, at one pass over their magnitudes a step.

use super::comparison::{Bounds, Comparison};
use super::outward::{count, larger, smaller, times};
use super::{CertificateError, bounded};
use crate::kernel::{Scalar, once};
use crate::network::{Architecture, Form, Network, Parameters, Source, State};
use crate::simd::Backend;
use crate::solve::{Rule, Setting};

/// A network held to a rate.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Held<T = f32> {
    /// A bound on the rate of its sweeps.
    pub rate: T,
    /// What the feedback weights were multiplied by; 1 if they were not. Of an adapter, whose weights are drawn towards the borrowed network's, what the
    /// bound was multiplied by.
    pub factor: T,
}

/// Sweeps to better a bound before weights are touched, at most.
const SWEEPS: usize = 32;

impl<T: Scalar, A: Architecture<Scalar = T>> Network<A> {
    /// Holds the network to a rate, from step to step of training: keeps a bound on its rate up to date, and where that is more than
    /// `rate`, multiplies every U by one factor such that it is a little less. With [`Tied`](crate::Tied) feedback it is W, from the
    /// second layer on. [`Trainer`](crate::learn::Trainer) and [`Descent`](crate::learn::Descent) call it after every step; it is here for
    /// training loops of your own.
    ///
    /// The bound is that of a [`Certificate`](crate::Certificate): max (G v)_i / v_i for a vector v > 0, where G is a sweep with the magnitudes
    /// of the weights. [`limit_rate`](Self::limit_rate) looks for v anew each time, in some 50 to 200 passes over the weights. Here v is kept in
    /// `room` and follows the weights by one step of power iteration a call, which is one pass; more are made only while the bound is too large
    /// and still falls.
    ///
    /// `rate`: at least 0 and less than 1. `room`: zero before the first call, left alone between calls.
    ///
    /// ```
    /// use attractor::{State, fnn};
    /// type Net = fnn![1, 1, 1];
    /// let mut net = Net::ZERO;
    /// net.layer_mut::<2>().w.fill(2.0);
    /// net.layer_mut::<1>().u.fill(0.75); // a rate of 1.5
    /// let mut room = State::<Net, 2>::ZERO;
    /// let held = net.hold_rate(0.9, &mut room)?;
    /// assert!(held.rate <= 0.9 && held.factor < 0.6);
    /// assert_eq!(net.hold_rate(0.9, &mut room)?.factor, 1.0); // nothing to do
    /// # Ok::<(), attractor::CertificateError>(())
    /// ```
    ///
    /// # Errors
    /// [`CertificateError::Setting`] unless 0 <= `rate` < 1, `NotFinite` for weights that are not finite or far too large, `Activation` for one of
    /// your own without a bound on its slope. The network is then unchanged.
    pub fn hold_rate(&mut self, rate: T, room: &mut State<Self, 2>) -> Result<Held<T>, CertificateError<T>> {
        check_contraction(rate)?;
        if const { <A::Form>::REACH.layers() > 0 || <A::Form>::TIED > 0 } {
            bounded::<A>()?;
        }
        self.hold_rate_on(Backend::best(), rate, room).ok_or(CertificateError::NotFinite)
    }

    /// The same of a rate in its range, and of activations that have bounds; nothing for weights that are not finite or far too large.
    pub(crate) fn hold_rate_on(
        &mut self,
        backend: Backend,
        rate: T,
        room: &mut State<Self, 2>,
    ) -> Option<Held<T>> {
        let (v, w) = room.as_mut_slice().split_at_mut(Self::UNITS);
        let found =
            |net: &mut Self| follow_on(backend, net.parameters().ok()?, Bounds::of::<A>(), rate, v, w);
        let fed_back = const { (<A::Form>::REACH.layers() > 0, <A::Form>::TIED > 0) };
        hold(self, fed_back, rate, found, Self::multiply_feedback)
    }
}

/// [`Network::hold_rate_on`] of whatever network, which feeds back through a U or through W^T: by a function that bounds its rate, and one that
/// multiplies its feedback.
#[inline(always)]
pub(crate) fn hold<T: Scalar, N: ?Sized>(
    network: &mut N,
    (through_u, mut tied): (bool, bool),
    rate: T,
    mut found: impl FnMut(&mut N) -> Option<T>,
    multiply_feedback: impl Fn(&mut N, T),
) -> Option<Held<T>> {
    let linear = !tied;
    if !through_u && linear {
        return Some(Held { rate: T::ZERO, factor: T::ONE });
    }
    let mut held = Held { rate: found(network)?, factor: T::ONE };
    // Once is enough where U is scaled, for the rate is linear in it. Every loop goes through a tied W twice, up and down.
    for _ in 0..8 {
        if held.rate <= rate {
            break;
        }
        // A little less, so that not every step has to.
        let part = rate / held.rate * little_less(64);
        let factor = if tied { part.sqrt() } else { part };
        multiply_feedback(network, factor);
        held.factor = held.factor * factor;
        if linear {
            held.rate = times(held.rate, part);
        } else {
            tied = false;
            held.rate = found(network)?;
        }
    }
    Some(held)
}

/// A bound on the rate, no better than `rate` asks for; `v` is the vector that follows the weights, `w` room for as many scalars.
#[inline(always)]
pub(crate) fn follow_on<T: Scalar>(
    backend: Backend,
    params: Parameters<'_, T>,
    bounds: Bounds<T>,
    rate: T,
    v: &mut [T],
    w: &mut [T],
) -> Option<T> {
    T::once::<FollowOnce>((Comparison::on(backend, params, bounds), rate, v, w))
}

/// 1 - 1/n. Of no other type than the scalar: a processor without `f64` needs none here.
pub(crate) fn little_less<T: Scalar>(n: usize) -> T {
    count::<T>(n - 1) / count(n)
}

/// The range of rates that a network can be held to.
pub(crate) const CONTRACTIONS: &str = "0 or more, less than 1";

/// Refuses a rate that no network can be held to.
pub(crate) fn check_contraction<T: Scalar>(value: T) -> Result<(), CertificateError<T>> {
    if is_contraction(value) {
        return Ok(());
    }
    Err(CertificateError::Setting(Setting { rule: &Rule { name: "rate", range: CONTRACTIONS }, value }))
}

/// Whether a network can be held to it.
pub(crate) fn is_contraction<T: Scalar>(rate: T) -> bool {
    rate >= T::ZERO && rate < T::ONE
}

// What is compared, the rate asked for, a vector, and room for as many scalars.
once!(FollowOnce: (Comparison<'a, T>, T, &'a mut [T], &'a mut [T]) => Option<T>, follow_once);

fn follow_once<T: Scalar>((comparison, rate, v, w): (Comparison<'_, T>, T, &mut [T], &mut [T])) -> Option<T> {
    bound(&comparison, rate, v, w)
}

/// A bound on the rate: the first found that is at most `rate`, or the best there is.
pub(super) fn bound<'a, T: Scalar>(
    comparison: &Comparison<'a, T, impl Source<'a, T>>,
    rate: T,
    v: &mut [T],
    w: &mut [T],
) -> Option<T> {
    // A vector that has not followed the weights yet has some way to go, not always downwards.
    let patience = if has_followed(v) {
        1
    } else {
        v.fill(T::ONE);
        SWEEPS / 2
    };
    let mut found = T::INFINITE;
    for sweep in 1..=SWEEPS {
        let next = follow(comparison, v, w)?;
        let falls = next < found * little_less(200);
        found = smaller(next, found);
        if found <= rate || (sweep > patience && !falls) {
            break;
        }
    }
    Some(found)
}

/// Whether a vector has been one of such bounds. A function, so that where the length is known no loop is unrolled for it.
#[inline(never)]
fn has_followed<T: Scalar>(v: &[T]) -> bool {
    v.iter().all(|v| v.is_one_or_more())
}

/// The rate of sweeps under `v`, rounded outwards; and leaves in `v` the vector one step of power iteration after it.
#[inline(never)]
fn follow<'a, T: Scalar>(
    comparison: &Comparison<'a, T, impl Source<'a, T>>,
    v: &mut [T],
    w: &mut [T],
) -> Option<T> {
    let rate = comparison.sweep::<false>(T::ZERO, T::ZERO, v, w)?;
    let mut top = T::ZERO;
    for (w, v) in w.iter_mut().zip(v.iter()) {
        // The mean of both settles even where sweeps turn in a circle.
        *w += rate * *v;
        top = larger(top, *w);
    }
    // Its largest entry, where the least is 1.
    let largest = T::ONE / (T::PRECISION * T::PRECISION);
    for (v, w) in v.iter_mut().zip(w.iter()) {
        // Where no feedback reaches anything, every vector will do. What is a NaN stays one.
        let entry = *w / top * largest;
        *v = if !(top > T::ZERO) || entry < T::ONE { T::ONE } else { entry };
    }
    Some(rate)
}
