//! Sweeps of a certified network, each with a bound on the error.

use super::comparison::{Bounds, Comparison};
use super::componentwise::{self, Swept};
use super::outward::{larger, minus, over, plus, smaller, times, up};
use super::stated::Stated;
use super::{Certified, NotFinite};
use crate::kernel::{Matrix, Scalar, largest_on, weighted_norm};
use crate::network::{Architecture, Flat, Network, Samples, State, Takes};
use crate::simd::Backend;
use crate::solve::Injection;
use core::borrow::{Borrow, BorrowMut};
use core::fmt;
use sealed::Sealed;

/// How far a state is from the solution at most.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ErrorBound<T = f32> {
    weighted: T,
    largest: T,
}

impl<T: Scalar> ErrorBound<T> {
    /// A bound on max |h_i - h*_i| / v_i.
    #[must_use]
    pub fn weighted(&self) -> T {
        self.weighted
    }
    /// A bound on |h_i - h*_i| of every unit.
    #[must_use]
    pub fn largest(&self) -> T {
        self.largest
    }
    /// A bound on the error of the unit whose entry of the certificate's vector is `v`.
    #[must_use]
    pub fn unit(&self, v: T) -> T {
        times(self.weighted, v)
    }
}

/// What came of a certified solve.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CertifiedSolve<T = f32> {
    /// Sweeps made.
    pub sweeps: usize,
    /// How far the state is from the solution at most; more than what was asked for only if that is less than rounding
    /// errors allow.
    pub bound: ErrorBound<T>,
}

/// The class with the largest output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Label {
    /// The class; of outputs that tie, the first.
    pub class: usize,
    /// Sweeps made.
    pub sweeps: usize,
    /// Whether it is proved to be the one with the largest output at the solution. Else there is another that ties with it
    /// within rounding errors.
    pub certified: bool,
}

/// A state being refined for an input, sweep by sweep, with a bound on its error after each. Made by
/// [`Certified::refine`]; holds the state, so that nobody else changes it.
///
/// For a stream of inputs, [`follow`](Self::follow) goes on to another: the bound then grows by how far the solution can have
/// moved, so that the sweeps it will take are known before any is made.
///
/// ```
/// use attractor::fnn;
/// type Net = fnn![3, 8, 2];
/// # let mut net = Net::ZERO;
/// # net.layer_mut::<1>().w.fill(0.25);
/// # net.layer_mut::<1>().u.fill(-0.02);
/// # net.layer_mut::<2>().w.fill(0.5);
/// let certificate = net.certify()?;
/// let mut state = Net::state();
/// let mut stream = certificate.verify(&net)?.refine(&[1.0, 0.5, -0.5], &mut state)?;
/// let cold = stream.solve(1e-4)?;
/// stream.follow(&[1.0, 0.51, -0.5])?;
/// let needed = stream.sweeps_left(1e-4).unwrap(); // before computing
/// let warm = stream.solve(1e-4)?;
/// assert!(warm.sweeps <= needed && warm.sweeps < cold.sweeps);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct Refinement<'a, N: Architecture, P: Place = Own> {
    pub(super) certified: Certified<'a, N>,
    state: &'a mut State<N>,
    pub(super) injection: P::Of<'a, Injection<N>>,
    input: P::Of<'a, N::Inputs<N::Scalar>>,
    /// Room for two states, if it is lent.
    states: P::States<'a, N::Scalar>,
    /// max|x|.
    pub(super) magnitude: N::Scalar,
    /// |h|_v of the state is at most this.
    norm: N::Scalar,
    /// |h|_v of all states from now on is at most this; infinite as long as it is not known.
    held: N::Scalar,
    /// |h - h*|_v is at most this; infinite as long as it is not known.
    pub(super) error: N::Scalar,
    /// rho where the range is known, and rho / (1 - gamma): worked out once an input.
    rounding: [N::Scalar; 2],
    /// |change|_v of the last sweep at most.
    change: N::Scalar,
    sweeps: usize,
}

/// Where a [`Refinement`] keeps what grows with its network: [`Own`], in itself, or [`Lent`], in room of the caller's. Sealed.
pub trait Place: Sealed + Sized {
    /// One of what is kept.
    #[doc(hidden)]
    type Of<'a, F: 'a>: BorrowMut<F>;
    /// Room for two states, if there is any.
    #[doc(hidden)]
    type States<'a, T: 'a>;
    /// Does what needs room for `B` states, at most two.
    #[doc(hidden)]
    fn with_states<'a, N: Architecture, R, const B: usize>(
        refinement: &mut Refinement<'a, N, Self>,
        work: impl FnOnce(&mut Refinement<'a, N, Self>, &mut [N::Scalar]) -> R,
    ) -> R;
}

/// In the [`Refinement`] itself, and on the stack: [`Certified::refine`] and `skipping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own;

/// In a [`CertifiedRoom`](super::CertifiedRoom) of the caller's: [`Certified::refine_in`] and `skipping_in`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lent;

impl Sealed for Own {}
impl Sealed for Lent {}

impl Place for Own {
    type Of<'a, F: 'a> = F;
    type States<'a, T: 'a> = ();
    #[inline(always)]
    fn with_states<'a, N: Architecture, R, const B: usize>(
        refinement: &mut Refinement<'a, N, Self>,
        work: impl FnOnce(&mut Refinement<'a, N, Self>, &mut [N::Scalar]) -> R,
    ) -> R {
        let mut states = State::<N, B>::ZERO;
        work(refinement, states.as_mut_slice())
    }
}

impl Place for Lent {
    type Of<'a, F: 'a> = &'a mut F;
    type States<'a, T: 'a> = &'a mut [T];
    #[inline(always)]
    fn with_states<'a, N: Architecture, R, const B: usize>(
        refinement: &mut Refinement<'a, N, Self>,
        work: impl FnOnce(&mut Refinement<'a, N, Self>, &mut [N::Scalar]) -> R,
    ) -> R {
        let states = core::mem::take(&mut refinement.states);
        let done = work(refinement, states.get_mut(..State::<N, B>::LEN).unwrap_or_default());
        refinement.states = states;
        done
    }
}

mod sealed {
    pub trait Sealed {}
}

impl<N: Architecture, P: Place> fmt::Debug for Refinement<'_, N, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Refinement");
        out.field("sweeps", &self.sweeps).field("error", &self.error).finish()
    }
}

impl<N: Architecture, P: Place> Refinement<'_, N, P> {
    /// The state.
    #[must_use]
    pub fn state(&self) -> &State<N> {
        self.state
    }
    /// Sweeps made for this input.
    #[must_use]
    pub fn sweeps(&self) -> usize {
        self.sweeps
    }
    /// How far the state is from the solution at most: infinitely before the first sweep, unless the hidden layers are
    /// bounded.
    #[must_use]
    pub fn bound(&self) -> ErrorBound<N::Scalar> {
        let largest = times(self.certified.certificate.largest(), self.error);
        ErrorBound { weighted: self.error, largest }
    }
}

/// A change as it was measured at least: a difference and a quotient were rounded.
fn measured<T: Scalar>(change: T) -> T {
    if change == T::ZERO { change } else { up(up(change)) }
}

/// The largest magnitude of an input, if it is finite.
fn magnitude_of<T: Scalar>(backend: Backend, input: Matrix<'_, T>) -> Result<T, NotFinite> {
    let magnitude = largest_on(backend, input);
    if magnitude.is_finite() { Ok(magnitude) } else { Err(NotFinite) }
}

/// Places for W^1 x + b^1 and for the input, and room for states.
pub(super) type Kept<'a, N, P> = (
    <P as Place>::Of<'a, Injection<N>>,
    <P as Place>::Of<'a, <N as Architecture>::Inputs<<N as Architecture>::Scalar>>,
    <P as Place>::States<'a, <N as Architecture>::Scalar>,
);

/// Places of a refinement's own.
#[inline(always)]
pub(super) fn own<'a, N: Architecture>() -> Kept<'a, N, Own> {
    (Injection::ZERO, Flat::ZERO, ())
}

impl<'a, T: Scalar, A: Architecture<Scalar = T>, P: Place> Refinement<'a, Network<A>, P> {
    pub(super) fn new<X: Samples<T, I, 1>, const I: usize>(
        certified: Certified<'a, Network<A>>,
        input: &X,
        state: &'a mut State<Network<A>>,
        places: impl FnOnce() -> Kept<'a, Network<A>, P>,
    ) -> Result<Self, NotFinite>
    where
        A: Takes<I>,
    {
        let input = input.samples();
        let magnitude = magnitude_of(certified.backend, input)?;
        let v = certified.certificate.v();
        let units = Matrix::new(state.as_slice(), 1, v.len()).map_err(|_| NotFinite)?;
        // Mostly zero, where nothing needs to be divided.
        let mut norm = largest_on(certified.backend, units);
        if norm != T::ZERO {
            norm = up(weighted_norm(certified.backend, state.as_slice(), v).map_err(|_| NotFinite)?);
        }
        if !norm.is_finite() {
            return Err(NotFinite);
        }
        // Made here, so that they are not moved.
        let (injection, kept, states) = places();
        let mut refinement = Self {
            certified,
            state,
            injection,
            input: kept,
            states,
            magnitude,
            norm,
            held: T::INFINITE,
            error: T::INFINITE,
            rounding: [T::INFINITE; 2],
            change: T::INFINITE,
            sweeps: 0,
        };
        refinement.keep(input);
        refinement.inject(input)?;
        refinement.begin();
        Ok(refinement)
    }

    /// The input that is kept.
    fn input(&self) -> &[T] {
        let input: &A::Inputs<T> = self.input.borrow();
        input.flat()
    }

    /// Keeps an input, whose width is that of the network's inputs.
    fn keep(&mut self, input: Matrix<'_, T>) {
        let kept: &mut A::Inputs<T> = self.input.borrow_mut();
        input.copy_row_to(kept.flat_mut());
    }

    /// W^1 x + b^1.
    fn inject(&mut self, input: Matrix<'_, T>) -> Result<(), NotFinite> {
        let on = self.certified.network.on(self.certified.backend);
        let injection: &mut Injection<Network<A>> = self.injection.borrow_mut();
        if on.inject_matrix::<1>(input, injection.first.flat_mut()) { Ok(()) } else { Err(NotFinite) }
    }

    /// W^1 x + b^1 of the input that is kept, anew.
    fn inject_again(&mut self) -> Result<(), NotFinite> {
        let on = self.certified.network.on(self.certified.backend);
        let input: &A::Inputs<T> = self.input.borrow();
        let injection: &mut Injection<Network<A>> = self.injection.borrow_mut();
        let injected = on.inject_matrix::<1>(Matrix::of_row(input.flat()), injection.first.flat_mut());
        if injected { Ok(()) } else { Err(NotFinite) }
    }

    /// rho for states of this weighted norm, and rho / (1 - gamma).
    fn rounding(&self, norm: T) -> [T; 2] {
        let certificate = self.certified.certificate;
        let rho = certificate.rho(norm, self.magnitude);
        [rho, over(rho, minus(T::ONE, certificate.rate()))]
    }

    /// What is known before the first sweep for an input.
    fn begin(&mut self) {
        self.sweeps = 0;
        self.held = T::INFINITE;
        if let Some(range) = self.certified.certificate.range() {
            self.held = larger(self.norm, range);
            self.rounding = self.rounding(self.held);
            self.error = smaller(self.error, plus(self.norm, range));
        } else if self.error.is_finite() {
            self.hold(self.norm, self.error);
        }
    }

    /// Bounds all states from one on whose weighted norm is `norm` and whose error is `error`.
    ///
    /// Let E be as large as `error` and as rho / (1 - gamma) for states of norm `norm` + 2 E. Then, sweep by sweep, the error
    /// stays at most E and the norm at most |h| + |h - h*| + E, as long as it was so. rho grows with the norm by c kappa,
    /// so E = (rho(norm)) / (1 - gamma - 2 c kappa) will do.
    fn hold(&mut self, norm: T, error: T) {
        let certificate = self.certified.certificate;
        let relative = certificate.relative();
        let lost = plus(certificate.pessimistic(), plus(relative, relative));
        let rho = super::up_by_steps(certificate.rho(norm, self.magnitude));
        let error = larger(error, over(rho, minus(T::ONE, lost)));
        self.held = smaller(self.held, plus(norm, plus(error, error)));
    }

    /// Goes on to another input. The solution moves by no more than [`Certified::drift`] says, so that the bound grows by this.
    ///
    /// # Errors
    /// [`NotFinite`] if the input has a NaN or infinity or W^1 x + b^1 overflows; all is then as it was.
    pub fn follow<X: Samples<T, I, 1>, const I: usize>(&mut self, input: &X) -> Result<(), NotFinite>
    where
        A: Takes<I>,
    {
        let input = input.samples();
        let magnitude = magnitude_of(self.certified.backend, input)?;
        if let Err(error) = self.inject(input) {
            // What it was it is again.
            self.inject_again()?;
            return Err(error);
        }
        let drift = P::with_states::<_, _, 1>(self, |this, room| {
            let before = this.input();
            let change = |index: usize| match (before.get(index), input.at(0, index)) {
                (Some(old), Some(new)) => (new - *old).magnitude(),
                _ => T::NAN,
            };
            this.certified.drift_by(change, room)
        });
        self.keep(input);
        self.magnitude = magnitude;
        self.error = plus(self.error, drift);
        if !(self.error <= T::INFINITE) {
            self.error = T::INFINITE;
        }
        // The first bound is of this state, the second of those from now on.
        self.norm = smaller(self.held, self.norm);
        self.begin();
        Ok(())
    }

    /// One sweep, and how far the state is from the solution at most.
    ///
    /// # Errors
    /// [`NotFinite`] if the arithmetic overflows; the state is then reset to zero.
    pub fn sweep(&mut self) -> Result<ErrorBound<T>, NotFinite> {
        let Certified { network, certificate, backend } = self.certified;
        let changed =
            network.on(backend).weighted_sweep(self.injection.borrow(), self.state, certificate.v());
        let Ok(change) = changed else {
            self.forget();
            return Err(NotFinite);
        };
        self.account(measured(change), T::ZERO)
    }

    /// Computes one layer from the freshest values; how far it moved in the weighted norm. Tells no one: [`account`](Self::account).
    ///
    /// # Errors
    /// As [`sweep`](Self::sweep).
    pub(super) fn visit(&mut self, index: usize) -> Result<T, NotFinite> {
        let Certified { network, certificate, backend } = self.certified;
        let injection = self.injection.borrow();
        let changed = network.on(backend).weighted_layer(index, injection, self.state, certificate.v());
        changed.map(measured).map_err(|_| {
            self.forget();
            NotFinite
        })
    }

    /// What follows from a sweep that changed the state by `change` in the weighted norm and made an error of `extra` beside those of
    /// rounding.
    ///
    /// # Errors
    /// As [`sweep`](Self::sweep).
    pub(super) fn account(&mut self, change: T, extra: T) -> Result<ErrorBound<T>, NotFinite> {
        let Certified { certificate, backend, .. } = self.certified;
        self.change = change;
        self.sweeps += 1;
        // Of the state before and of that after the sweep.
        let norm = smaller(plus(self.norm, change), self.held);
        let [mut rho, mut least] =
            if certificate.range().is_some() { self.rounding } else { self.rounding(norm) };
        let gamma = certificate.rate();
        if extra > T::ZERO {
            rho = plus(rho, extra);
            least = plus(least, over(extra, minus(T::ONE, gamma)));
        }
        let by_change = plus(times(over(gamma, minus(T::ONE, gamma)), change), least);
        let by_rate = if gamma == T::ZERO { rho } else { plus(times(gamma, self.error), rho) };
        self.error = smaller(by_rate, by_change);
        self.norm = norm;
        if let Some(range) = certificate.range() {
            // A state that comes of a sweep is in range, like the solution.
            self.norm = smaller(norm, range);
            if self.held > range {
                self.held = range;
                self.rounding = self.rounding(range);
            }
            self.error = smaller(self.error, plus(range, range));
        } else if let Ok(measured) = weighted_norm(backend, self.state.as_slice(), certificate.v()) {
            self.norm = smaller(norm, up(measured));
            self.hold(self.norm, self.error);
        }
        // Without a bound on the states to come, the number of sweeps has no bound.
        if self.error.is_finite() && self.held.is_finite() {
            return Ok(self.bound());
        }
        self.state.reset();
        self.forget();
        Err(NotFinite)
    }

    /// Nothing is known of the state but that it is zero.
    fn forget(&mut self) {
        self.norm = T::ZERO;
        self.error = T::INFINITE;
        self.begin();
    }

    /// Looks upon all inputs as being of this magnitude.
    pub(super) fn round_for(&mut self, magnitude: T) {
        self.magnitude = magnitude;
        self.rounding = self.rounding(self.held);
    }

    /// The error no bound can be below.
    pub(super) fn floor(&self) -> T {
        let certificate = self.certified.certificate;
        certificate.floor(certificate.rho(self.held, self.magnitude))
    }

    /// The most sweeps until no unit is further than `error` from the solution; if that is less than rounding errors allow, until
    /// the bound is what it can be. Nothing before the first sweep if the hidden layers are not bounded and nothing is
    /// known of the state.
    #[must_use]
    pub fn sweeps_left(&self, error: T) -> Option<usize> {
        if self.sweeps == 0 && self.certified.certificate.rate() == T::ZERO {
            return Some(1);
        }
        if !(self.error.is_finite() && self.held.is_finite()) {
            return None;
        }
        let floor = self.floor();
        let certificate = self.certified.certificate;
        Some(certificate.sweeps_to(self.error, certificate.target(error, floor), floor))
    }

    /// Sweeps until no unit is further than `error` from the solution: [`Certified::solve`].
    ///
    /// # Errors
    /// [`NotFinite`] if the arithmetic overflows; the state is then reset to zero.
    pub fn solve(&mut self, error: T) -> Result<CertifiedSolve<T>, NotFinite> {
        let first = self.sweeps;
        let mut left = self.sweeps_left(error).unwrap_or(usize::MAX);
        // A state that no sweep has seen is no answer, however near it may be.
        while left > 0 || self.sweeps == 0 {
            self.sweep()?;
            left = left.saturating_sub(1).min(self.sweeps_left(error).unwrap_or(usize::MAX));
        }
        Ok(CertifiedSolve { sweeps: self.sweeps - first, bound: self.bound() })
    }

    /// Sweeps until the class with the largest output is certain: [`Certified::label`].
    ///
    /// # Errors
    /// [`NotFinite`] if the arithmetic overflows; the state is then reset to zero.
    pub fn label(&mut self) -> Result<Label, NotFinite> {
        let first = self.sweeps;
        loop {
            if self.sweeps > 0 {
                let (class, certified) = self.top(self.certified.certificate.v(), self.error);
                if certified {
                    return Ok(Label { class, sweeps: self.sweeps - first, certified });
                }
                if self.error <= self.floor() * T::from_f64(1.0625) {
                    return self.label_closely(first);
                }
            }
            self.sweep()?;
        }
    }

    /// [`label`](Self::label) where the bound for all units is as small as it can be: one for each unit is smaller. Few
    /// inputs come here, those whose two largest outputs are close.
    #[inline(never)]
    fn label_closely(&mut self, first: usize) -> Result<Label, NotFinite> {
        P::with_states::<_, _, 2>(self, |this, room| this.label_closely_in(first, room))
    }

    /// [`label_closely`](Self::label_closely), in room for two states.
    #[inline(always)]
    fn label_closely_in(&mut self, first: usize, room: &mut [T]) -> Result<Label, NotFinite> {
        let Certified { network, certificate, .. } = self.certified;
        let v = certificate.v();
        let most = certificate.sweeps(T::ZERO, self.magnitude).unwrap_or(2 * self.sweeps);
        let comparison = Comparison::new(network.parameters().map_err(|_| NotFinite)?, Bounds::of::<A>());
        let (errors, room) = room.split_at_mut_checked(Network::<A>::UNITS).ok_or(NotFinite)?;
        errors.fill(T::INFINITE);
        let mut before = T::INFINITE;
        loop {
            for (error, v) in errors.iter_mut().zip(v) {
                // What was known of the state before, or what is known of all units.
                *error = smaller(plus(*error, times(self.change, *v)), times(self.error, *v));
            }
            let swept = Swept { input: self.input(), h: self.state.as_slice(), v, change: self.change };
            componentwise::better::<_, A::Hidden, A::Outputs>(&comparison, &swept, errors, room)
                .ok_or(NotFinite)?;
            let (class, certified) = self.top(errors, T::ONE);
            let all = errors.iter().fold(T::ZERO, |sum, error| sum + *error);
            // Where bounds do not become much better, rounding errors are all that is left.
            if certified || !(all < before * T::from_f64(0.875)) {
                return Ok(Label { class, sweeps: self.sweeps - first, certified });
            }
            before = all;
            if self.sweeps < most {
                self.sweep()?;
            }
        }
    }

    /// The class with the largest output, and whether it is so at the solution: h_top - h_j > (e_top + e_j) `factor` for all others,
    /// e being one `bound` a unit.
    fn top(&self, bounds: &[T], factor: T) -> (usize, bool) {
        let outputs = const { Network::<A>::UNITS - Network::<A>::OUTPUTS };
        let h = self.state.as_slice().get(outputs..).unwrap_or_default();
        let e = bounds.get(outputs..).unwrap_or_default();
        // The largest first, so that no step waits for a comparison that cannot be foreseen.
        let largest = h.iter().fold(-T::INFINITE, |largest, h| if *h > largest { *h } else { largest });
        let class = h.iter().position(|h| *h == largest).unwrap_or(0);
        let own = e.get(class).copied().unwrap_or(T::INFINITE);
        let mut near = 0;
        for (h, e) in h.iter().zip(e) {
            near += usize::from(!(minus(largest, *h) > times(plus(own, *e), factor)));
        }
        // The class itself is always near.
        (class, near == 1)
    }
}
