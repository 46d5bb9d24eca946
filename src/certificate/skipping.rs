//! Streams on which most layers stay as they are: a layer is computed again only where what it reads has moved.
//!
//! Let a sweep leave out layers, each of which would change by at most p in the weighted norm. It is a sweep with one more error,
//! of p a unit, beside those of rounding, so what follows from rho follows from rho + c p: the error is gamma times what it was, and
//! (rho + c p) / (1 - gamma) at least. How far a layer would move is known without computing it. Whenever a layer it reads
//! changes by d, it is due by |S W v|_v d or |S U v|_v d more; and by how far W^1 x + b^1 has moved, for the first.

use super::comparison::{Bounds, Comparison, norm};
use super::outward::{larger, plus, times, up};
use super::refinement::own;
use super::stated::Stated;
use super::{Certified, CertifiedRoom, ErrorBound, Lent, NotFinite, Own, Place, Refinement};
use crate::kernel::{Activation, Scalar, weighted_distance};
use crate::network::{Architecture, Flat, Form, MAX_DEPTH, Network, Samples, State, Takes};
use crate::solve::Injection;
use core::borrow::{Borrow, BorrowMut};
use core::fmt;

/// What came of a solve that leaves out layers.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SkipReport<T = f32> {
    /// Layers computed, in all sweeps together; a sweep of them all is as many as the network has.
    pub layers: usize,
    /// How far the state is from the solution at most; more than what was asked for only if that is less than rounding
    /// errors allow.
    pub bound: ErrorBound<T>,
}

/// A state that follows a stream of inputs, certified, and computes only the layers that have to be: those whose inputs have
/// moved by more than the error asked for allows. Made by [`Certified::skipping`].
///
/// Where inputs hardly move, as those of a sensor at rest, no layer is computed at all, and where they move in what the second
/// layer hardly reads, only the first. W^1 x + b^1 is computed for every input. For networks whose hidden layers are not bounded
/// ([`Certificate::range`](super::Certificate::range)) a layer is left out only if nothing has moved.
///
/// ```
/// use attractor::fnn;
/// type Net = fnn![3, 8, 8, 2];
/// # let mut net = Net::ZERO;
/// # for (i, w) in net.params_mut().iter_mut().enumerate() {
/// #     *w = 0.3 * (i as f32).sin();
/// # }
/// let certificate = net.limit_rate(0.2)?;
/// let mut state = Net::state();
/// let mut stream = certificate.verify(&net)?.skipping(&[1.0, 0.5, -0.5], &mut state)?;
/// let first = stream.solve(1e-2)?;
/// stream.follow(&[1.0, 0.5001, -0.5])?;
/// let next = stream.solve(1e-2)?;
/// assert!(first.layers >= 3 && next.layers == 0 && next.bound.largest() <= 1e-2);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct Skipping<'a, N: Architecture, P: Place = Own> {
    refinement: Refinement<'a, N, P>,
    /// W^1 x + b^1 of the last sweep of the first layer, and the largest magnitude of that x.
    swept: P::Of<'a, Injection<N>>,
    swept_magnitude: N::Scalar,
    /// The largest magnitude of the input of now.
    magnitude: N::Scalar,
    /// What a change of the layer below is worth in a layer, and what one of those above it reads is.
    gains: [[N::Scalar; 2]; MAX_DEPTH],
    /// How far a layer would move at most if it were computed now, but for what the first layer reads of the input.
    due: [N::Scalar; MAX_DEPTH],
}

impl<N: Architecture, P: Place> fmt::Debug for Skipping<'_, N, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Skipping").field("refinement", &self.refinement).finish()
    }
}

impl<N: Architecture, P: Place> Skipping<'_, N, P> {
    /// The state.
    #[must_use]
    pub fn state(&self) -> &State<N> {
        self.refinement.state()
    }
    /// How far the state is from the solution at most.
    #[must_use]
    pub fn bound(&self) -> ErrorBound<N::Scalar> {
        self.refinement.bound()
    }
}

impl<'a, T: Scalar, A: Architecture<Scalar = T>> Certified<'a, Network<A>> {
    /// Starts to follow a stream of inputs with as few layers as the error asked for allows. Takes a pass over the weights.
    ///
    /// # Errors
    /// As [`refine`](Self::refine).
    pub fn skipping<X: Samples<T, I, 1>, const I: usize>(
        self,
        input: &X,
        state: &'a mut State<Network<A>>,
    ) -> Result<Skipping<'a, Network<A>>, NotFinite>
    where
        A: Takes<I>,
    {
        let gains = self.gains(&mut Network::<A>::state()).ok_or(NotFinite)?;
        let refinement = Refinement::new(self, input, state, own)?;
        Ok(Skipping::new(refinement, Injection::ZERO, gains))
    }

    /// [`skipping`](Self::skipping) in room of the caller's, which it borrows: for networks that are too large for the stack.
    ///
    /// # Errors
    /// As [`refine`](Self::refine).
    pub fn skipping_in<X: Samples<T, I, 1>, const I: usize>(
        self,
        input: &X,
        state: &'a mut State<Network<A>>,
        room: &'a mut CertifiedRoom<Network<A>>,
    ) -> Result<Skipping<'a, Network<A>, Lent>, NotFinite>
    where
        A: Takes<I>,
    {
        let CertifiedRoom { injection, swept, input: kept, states } = room;
        let states = states.as_mut_slice();
        let (first, _) = states.split_at_mut(Network::<A>::UNITS);
        let gains = State::from_slice_mut(first).ok().and_then(|room| self.gains(room)).ok_or(NotFinite)?;
        Ok(Skipping::new(Refinement::new(self, input, state, || (injection, kept, states))?, swept, gains))
    }

    /// |S W^l v|_v and |S U^l v|_v of every layer.
    fn gains(&self, room: &mut State<Network<A>>) -> Option<[[T; 2]; MAX_DEPTH]> {
        let comparison = Comparison::new(self.network.parameters().ok()?, Bounds::of::<A>());
        let v = self.certificate.v();
        let mut gains = [[T::ZERO; 2]; MAX_DEPTH];
        let room = room.as_mut_slice();
        room.copy_from_slice(v);
        for across in [None, Some(v)] {
            // From the last layer on, for a layer overwrites itself and reads those before it.
            for (index, layer) in comparison.layers().iter().enumerate().rev() {
                comparison.layer::<false>(index, across, room)?;
                let units = layer.own();
                let gain = norm(room.get(units.clone())?, v.get(units)?);
                *gains.get_mut(index)?.get_mut(usize::from(across.is_some()))? = gain;
            }
            room.fill(T::ZERO);
        }
        Some(gains)
    }
}

impl<'a, T: Scalar, A: Architecture<Scalar = T>, P: Place> Skipping<'a, Network<A>, P> {
    #[inline(always)]
    fn new(
        refinement: Refinement<'a, Network<A>, P>,
        swept: P::Of<'a, Injection<Network<A>>>,
        gains: [[T; 2]; MAX_DEPTH],
    ) -> Self {
        let magnitude = refinement.magnitude;
        let due = [T::INFINITE; MAX_DEPTH];
        Self { refinement, swept, swept_magnitude: T::ZERO, magnitude, gains, due }
    }

    /// Goes on to another input: [`Refinement::follow`].
    ///
    /// # Errors
    /// [`NotFinite`] if the input has a NaN or infinity or W^1 x + b^1 overflows; all is then as it was.
    pub fn follow<X: Samples<T, I, 1>, const I: usize>(&mut self, input: &X) -> Result<(), NotFinite>
    where
        A: Takes<I>,
    {
        self.refinement.follow(input)?;
        self.magnitude = self.refinement.magnitude;
        // What the first layer holds was rounded in that sweep.
        self.refinement.round_for(larger(self.magnitude, self.swept_magnitude));
        Ok(())
    }

    /// Computes layers until no unit is further than `error` from the solution, in the order of sweeps and only those that are due.
    ///
    /// # Errors
    /// [`NotFinite`] if the arithmetic overflows; the state is then reset to zero.
    pub fn solve(&mut self, error: T) -> Result<SkipReport<T>, NotFinite> {
        let certificate = self.refinement.certified.certificate;
        let (mut layers, mut whole) = (0, false);
        loop {
            let floor = self.refinement.floor();
            let target = certificate.target(error, floor);
            if whole && self.refinement.error <= target {
                return Ok(SkipReport { layers, bound: self.bound() });
            }
            // Half of what may be is for the layers left out; what they really make is added to the bound in any case.
            let half = (target - floor) * (T::ONE - certificate.rate()) * T::from_f64(0.5);
            let allowed = if certificate.range().is_some() && half > T::ZERO {
                half / certificate.propagation()
            } else {
                T::ZERO
            };
            layers += self.sweep(allowed)?;
            whole = true;
        }
    }

    /// A sweep over the layers that are due by more than `allowed`; how many they were.
    fn sweep(&mut self, allowed: T) -> Result<usize, NotFinite> {
        let (mut visited, mut change, mut left) = (0, T::ZERO, T::ZERO);
        for index in 0..A::LAYOUT.depth() {
            let due = self.due(index);
            // A layer of which nothing is known is computed, whatever may be left out: only then is the state one that a sweep made.
            if due <= allowed && due < T::INFINITE {
                left = larger(left, due);
                continue;
            }
            let Ok(moved) = self.refinement.visit(index) else {
                self.due.fill(T::INFINITE);
                return Err(NotFinite);
            };
            if index == 0 {
                let swept: &mut Injection<Network<A>> = self.swept.borrow_mut();
                let now: &Injection<Network<A>> = self.refinement.injection.borrow();
                swept.first.flat_mut().copy_from_slice(now.first.flat());
                self.swept_magnitude = self.magnitude;
            }
            if let Some(due) = self.due.get_mut(index) {
                *due = T::ZERO;
            }
            self.spread(index, moved);
            change = larger(change, moved);
            visited += 1;
        }
        let extra = times(self.refinement.certified.certificate.propagation(), left);
        if self.refinement.account(change, extra).is_err() {
            self.due.fill(T::INFINITE);
            return Err(NotFinite);
        }
        Ok(visited)
    }

    /// How far a layer would move at most.
    fn due(&self, index: usize) -> T {
        let due = self.due.get(index).copied().unwrap_or(T::INFINITE);
        if index > 0 || !(due < T::INFINITE) {
            return due;
        }
        let now: &Injection<Network<A>> = self.refinement.injection.borrow();
        let then: &Injection<Network<A>> = self.swept.borrow();
        let (now, then) = (now.first.flat(), then.first.flat());
        let Certified { certificate, backend, .. } = self.refinement.certified;
        let v = certificate.v().get(..now.len()).unwrap_or_default();
        match weighted_distance(backend, now, then, v) {
            Ok(moved) if moved == T::ZERO => due,
            Ok(moved) => {
                let steepest = if const { A::LAYOUT.depth() == 1 } {
                    <A::Outputs>::STEEPEST
                } else {
                    <A::Hidden>::STEEPEST
                };
                plus(due, times(up(up(moved)), T::from_f64(steepest)))
            }
            Err(_) => T::INFINITE,
        }
    }

    /// What a change of a layer makes due in those that read it.
    fn spread(&mut self, from: usize, change: T) {
        let layout = const { &Network::<A>::LAYOUT };
        let below =
            if const { <A::Form>::TIED > 0 } { from.saturating_sub(1)..from } else { layout.readers(from) };
        for (readers, which) in [(from + 1..from + 2, 0), (below, 1)] {
            let (due, gains) = (self.due.get_mut(readers.clone()), self.gains.get(readers));
            for (due, gains) in due.into_iter().flatten().zip(gains.into_iter().flatten()) {
                *due = plus(*due, times(gains.get(which).copied().unwrap_or(T::INFINITE), change));
            }
        }
    }
}
