//! Certainty: a proof, checked in one pass over the weights, that sweeps converge, how fast, and how far a state is from the
//! solution.
//!
//! # Convergence
//! Let A hold the weights inside the loop, W^2.. and all U, and S the steepest slope of each unit's activation; M = S |A|
//! entrywise, Lo its part from W, Up its part from U. An error e of the state before a sweep makes the error e' after it, and
//! |e'| <= Lo |e'| + Up |e|, because a sweep works with fresh values from below and old ones from above. So if
//!
//! w = Lo w + Up v  with some v > 0  and  w <= gamma v,
//!
//! then |e| <= E v implies |e'| <= E w <= gamma E v: in the norm |e|_v = max |e_i| / v_i every sweep shrinks the error by
//! gamma, the rate. With gamma < 1 there is exactly one solution for every input, and sweeps converge to it from every start (Chazan
//! and Miranker 1969; Jafarpour et al. 2021 for such norms). Any v will do, whoever found it and however; only the last check
//! must round outwards. gamma is linear in U.
//!
//! # Rounding
//! A computed sweep does not give s(z) but something within delta of it. With u half of the distance from 1 to the next number,
//! n the most products of any sum, kappa a bound on (n + 2) u / (1 - (n + 2) u), eta the error of an activation and a such that
//! |h| <= a v for every state,
//!
//! delta <= kappa S (|A| |h| + |W^1| |x| + |b|) + eta.
//!
//! (n + 2: W^1 x + b^1 is summed first, then the products with U; each product is rounded once and goes through as many
//! additions as there are other terms. What numbers too small for all their digits lose is in eta.) Errors of one sweep are
//! carried on within it by (I - Lo)^-1, so that with c = |(I - Lo)^-1 v|_v they make at most
//!
//! rho = c |delta|_v <= c (kappa (a + beta + xi max|x|) + eta),  beta = |S b|_v,  xi = |S |W^1| 1|_v,
//!
//! because (I - Lo)^-1 (Lo + Up) v = (I - Lo)^-1 v - v + w <= (c - 1 + gamma) v <= c v, and v >= 1. After any sweep that changed the state by d,
//! then,
//!
//! |h - h*|_v <= gamma |old - h*|_v + rho <= gamma |h - h*|_v + gamma |d|_v + rho,  so
//! |h - h*|_v <= (gamma |d|_v + rho) / (1 - gamma),
//!
//! and both are bounds: what was known before, shrunk, plus rho; and what the change says. The smaller is kept. No bound is
//! smaller than rho / (1 - gamma). Where a label hangs on less than that, units get bounds of their own (`componentwise.rs`).
//!
//! # Sweeps
//! So after K sweeps the error is at most gamma^K E + rho / (1 - gamma). With activations that are bounded, |h*|_v is at most the
//! certificate's *range* R (1 / v_i in hidden layers; row sums of |W| plus |b| in a linear output layer), E is at most
//! 2 R from any state the network has been in, and K is a constant of the weights. Otherwise E is known after the
//! first sweep.
//!
//! All of this is rounded outwards and computed by [`Backend::portable`](crate::simd::Backend::portable), so that
//! every processor agrees. It asks for arithmetic as IEEE 754 has it, rounding to nearest, with gradual underflow: the vectors
//! of the feature `helium` have none, so a certificate does not speak for them.

mod adjoint;
mod certified;
mod comparison;
mod componentwise;
mod constant;
mod hold;
mod limit;
mod measure;
mod outward;
mod refinement;
mod search;
mod skipping;
mod stated;

pub use adjoint::AdjointCertificate;
pub use certified::{Certified, CertifiedRoom};
pub(crate) use constant::{Weights, check};
pub use refinement::{CertifiedSolve, ErrorBound, Label, Lent, Own, Place, Refinement};
pub use skipping::{SkipReport, Skipping};

use crate::kernel::{Activation, Scalar, activate};
use crate::network::{Architecture, Flat, LengthError, Network, Numbered, Parameters, Source, State};
use crate::simd::{Backend, Element};
use crate::solve::Setting;
pub(crate) use comparison::Bounds;
use comparison::Comparison;
use core::fmt;
pub(crate) use measure::measured;
use measure::propose;
use stated::{GAMMA, LARGEST, up_by_steps};
pub(crate) use stated::{NUMBERS, Proposed, RANGE, Stated, eta, kappa};

/// Why there is no certificate, or why one was refused.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CertificateError<T = f32> {
    /// No vector was found under which sweeps shrink every error. They may converge all the same.
    NotContracting {
        /// The rate that was found, at least 1.
        rate: T,
    },
    /// Sweeps shrink errors, but so little that the scalar's rounding errors could outweigh it.
    Rounding {
        /// The rate.
        rate: T,
    },
    /// A NaN or an infinity in the weights or the certificate, or by overflow. [`Network::non_finite`] finds a weight.
    NotFinite,
    /// An entry of the certificate's vector is less than 1.
    Vector,
    /// The certificate does not hold for these weights: a number it states is less than what they give.
    Refuted {
        /// Which number.
        what: &'static str,
        /// What the certificate states.
        stated: T,
        /// What the weights give, rounded outwards.
        found: T,
    },
    /// A rate to be kept to that is not at least 0 and less than 1.
    Setting(Setting<T>),
    /// An [`Activation`] of your own does not say of itself what a certificate needs.
    Activation {
        /// Its name.
        name: &'static str,
        /// What is missing.
        missing: &'static str,
    },
}

impl<T: fmt::Debug> fmt::Display for CertificateError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotContracting { rate } => write!(f, "no proof of convergence, rate is {rate:?}"),
            Self::Rounding { rate } => write!(f, "too close to 1 for rounding errors, rate is {rate:?}"),
            Self::NotFinite => f.write_str("a NaN or an infinity in weights or certificate, or an overflow"),
            Self::Vector => f.write_str("an entry of the vector is less than 1"),
            Self::Refuted { what, stated, found } => {
                write!(f, "the certificate states a {what} of {stated:?}, the weights give {found:?}")
            }
            Self::Setting(setting) => setting.fmt(f),
            Self::Activation { name, missing } => write!(f, "the activation {name} has {missing}"),
        }
    }
}

impl<T: fmt::Debug> core::error::Error for CertificateError<T> {}

/// A NaN or an infinity in the input or the state, or by overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NotFinite;

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a NaN or an infinity in input or state, or an overflow")
    }
}

impl core::error::Error for NotFinite {}

/// A proof that the sweeps of a network `N` converge from every start to the one solution there is, for every input:
/// a vector v of `UNITS` entries, at least 1 each, and a rate gamma < 1 such that every sweep shrinks the error
/// max |h_i - h*_i| / v_i by gamma; and what else a solve needs to bound its error.
///
/// Made by [`Network::certify`]. It is plain scalars in a row, [`LEN`](Self::LEN) of them, and may lie in flash beside the
/// weights. It proves nothing until [`verify`](Self::verify) has compared it with the weights at hand, which takes one pass
/// over them and gives a [`Certified`] network to solve with.
///
/// ```
/// use attractor::{Certificate, fnn};
/// type Net = fnn![3, 8, 2];
/// let mut net = Net::ZERO;
/// net.layer_mut::<1>().w.fill(0.25);
/// net.layer_mut::<1>().u.fill(-0.02);
/// net.layer_mut::<2>().w.fill(0.5);
/// let certificate = net.certify()?;
/// assert!(certificate.rate() < 0.17);                  // 2 outputs x 0.02 x 8 units x 0.5 = 0.16
/// let most = certificate.sweeps(1e-4, 1.0).unwrap();    // never more, whatever the input
/// assert!(most < 9);
///
/// let certified = certificate.verify(&net)?;            // at boot, over the weights that are there
/// let mut state = Net::state();
/// let answer = certified.solve(&[1.0, 0.5, -0.5], &mut state, 1e-4)?;
/// assert!(answer.sweeps <= most && answer.bound.largest() <= 1e-4);
///
/// net.layer_mut::<1>().u.fill(-0.2);                    // other weights: the proof does not hold
/// assert!(certificate.verify(&net).is_err());
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone)]
#[repr(transparent)]
pub struct Certificate<N: Architecture> {
    memory: Numbered<State<N>, NUMBERS>,
}

// SAFETY: repr(transparent) over scalars in a row.
#[allow(unsafe_code, reason = "certificates are seen as flat scalars, in model files")]
unsafe impl<N: Architecture> Flat for Certificate<N> {
    type Scalar = N::Scalar;
}

impl<N: Architecture> Certificate<N> {
    /// Number of scalars: one a unit, and six.
    pub const LEN: usize = N::LAYOUT.units() + NUMBERS;
    /// Bytes of it.
    pub const BYTES: usize = size_of::<Self>();

    /// The certificate made of these scalars, as [`as_slice`](Self::as_slice) gives them.
    ///
    /// # Errors
    /// [`LengthError`] unless there are exactly [`LEN`](Self::LEN).
    pub fn from_slice(scalars: &[N::Scalar]) -> Result<Self, LengthError> {
        Numbered::view(scalars).map(|memory| Self { memory: memory.clone() })
    }
    /// The certificate made of these scalars, little-endian; in a `static` it is read-only data. Another length than
    /// [`BYTES`](Self::BYTES) does not compile.
    #[must_use]
    pub const fn from_le_bytes<const LEN: usize>(bytes: &[u8; LEN]) -> Self {
        Self { memory: Numbered::from_le_bytes(bytes) }
    }
    /// All scalars: the vector, then gamma and five more.
    #[must_use]
    pub fn as_slice(&self) -> &[N::Scalar] {
        self.memory.flat()
    }

    /// v, one entry a unit: a unit may be off by v_i times the weighted error.
    #[must_use]
    pub fn vector(&self) -> &State<N> {
        &self.memory.flat
    }
    /// The largest entry of v: a bound on any unit's error is this times the weighted error.
    #[must_use]
    pub fn largest(&self) -> N::Scalar {
        self.number(LARGEST)
    }
    /// The rate: what is left of the weighted error after a sweep, at most.
    #[must_use]
    pub fn rate(&self) -> N::Scalar {
        self.number(GAMMA)
    }
    /// A bound on max |h_i| / v_i of every state and solution, if there is one that holds for all inputs: if the activations
    /// of the hidden layers are bounded.
    #[must_use]
    pub fn range(&self) -> Option<N::Scalar> {
        Some(self.number(RANGE)).filter(|range| range.is_finite())
    }
}

impl<N: Architecture> Certificate<N> {
    /// kappa, and eta with what small numbers lose.
    #[inline(always)]
    fn rounding_of() -> (N::Scalar, N::Scalar) {
        let terms = const { N::LAYOUT.most_terms() };
        let error = f64::max(<N::Hidden>::error::<N::Scalar>(), <N::Outputs>::error::<N::Scalar>());
        (kappa(terms), eta(error, terms))
    }
}

impl<N: Architecture> Stated<N::Scalar> for Certificate<N> {
    #[inline(always)]
    fn numbers(&self) -> &[N::Scalar; NUMBERS] {
        &self.memory.numbers
    }
    #[inline(always)]
    fn v(&self) -> &[N::Scalar] {
        self.memory.flat.as_slice()
    }
    #[inline(always)]
    fn rounding(&self) -> (N::Scalar, N::Scalar) {
        Self::rounding_of()
    }
}

/// Leaves in `v` a vector under which sweeps with these weights shrink errors, and returns their rate under it, rounded outwards,
/// whether below 1 or not; nothing if it is not finite. `w` is room for as many scalars.
pub(crate) fn propose_rate<'a, T: Scalar>(
    weights: impl Source<'a, T>,
    bounds: Bounds<T>,
    v: &mut [T],
    w: &mut [T],
) -> Option<T> {
    search::search::<false, T>(&Comparison::new(weights, bounds), v, w)
}

/// A bound on the rate of sweeps with these weights that is at most `rate`, or as good as there is; `v` is zero at first, and follows the weights.
pub(crate) fn follow_rate<'a, T: Scalar>(
    backend: Backend,
    weights: impl Source<'a, T>,
    bounds: Bounds<T>,
    rate: T,
    v: &mut [T],
    w: &mut [T],
) -> Option<T> {
    hold::bound(&Comparison::on(backend, weights, bounds), rate, v, w)
}

/// The rate of sweeps with these weights under `v`, which is finite and at least 1 everywhere, rounded outwards.
pub(crate) fn rate_under<'a, T: Scalar>(
    weights: impl Source<'a, T>,
    bounds: Bounds<T>,
    v: &[T],
    w: &mut [T],
) -> Option<T> {
    Comparison::new(weights, bounds).sweep::<false>(T::ZERO, T::ZERO, v, w)
}

pub use hold::Held;
pub(crate) use hold::{CONTRACTIONS, check_contraction, follow_on, hold, is_contraction, little_less};
#[cfg(feature = "alloc")]
pub(crate) use limit::limit;
pub(crate) use limit::multiply_feedback;
pub(crate) use outward::sweeps_until;

/// Whether the activations of a network have bounds on their slopes, which is all that a rate needs.
pub(crate) fn bounded<A: Architecture>() -> Result<(), CertificateError<A::Scalar>> {
    fn one<T, S: Activation>() -> Result<(), CertificateError<T>> {
        if const { S::STEEPEST < f64::INFINITY } {
            return Ok(());
        }
        Err(CertificateError::Activation { name: S::NAME, missing: "no bound on its slope (LIPSCHITZ)" })
    }
    one::<_, A::Hidden>()?;
    one::<_, A::Outputs>()
}

/// Whether they say all of themselves that error bounds need.
fn known<A: Architecture>() -> Result<(), CertificateError<A::Scalar>> {
    fn one<T: Scalar, S: Activation>() -> Result<(), CertificateError<T>> {
        if const { S::BUILT_IN.is_some() } {
            return Ok(());
        }
        let none = |missing| Err(CertificateError::Activation { name: S::NAME, missing });
        let error = S::error::<T>();
        if !(0.0..1.0).contains(&error) {
            return none("no bound less than 1 on the error of its value (error)");
        }
        let mut at_zero = [T::ZERO];
        activate::<T, S>(Backend::portable(), &mut at_zero);
        // What does not vanish with the sum is at most 1, which is what is allowed for.
        if const { S::BOUND.is_some() } && at_zero[0].magnitude() <= T::ONE || at_zero == [T::ZERO] {
            Ok(())
        } else {
            none("no RANGE and is not 0 at 0, or is more than 1 there")
        }
    }
    bounded::<A>()?;
    one::<_, A::Hidden>()?;
    one::<_, A::Outputs>()
}

impl<N: Architecture> fmt::Debug for Certificate<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("rate", &self.rate()).field("range", &self.range()).finish()
    }
}

impl<N: Architecture> PartialEq for Certificate<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>> Certificate<Network<A>> {
    /// The most sweeps a solve makes until every unit is within `error` of the solution, for any input of no larger magnitude than
    /// `input`, from zero or from any state this network has been in; it is a constant of the weights, a worst-case
    /// execution time. Nothing where the hidden layers are not bounded: there a [`Refinement`] knows after its first sweep.
    ///
    /// If `error` is less than rounding errors allow, these are the sweeps until the bound is what it can be.
    #[must_use]
    pub fn sweeps(&self, error: T, input: T) -> Option<usize> {
        self.most_sweeps(error, input)
    }

    /// Compares the certificate with the weights of `network`: computes gamma and the rest from its vector and the weights, in
    /// one pass over them, rounding outwards, and refuses what is larger than stated. It cannot be deceived: a wrong vector, rate
    /// or weight is refused, or the certificate holds all the same. Takes a [`State`] of stack; [`verify_in`](Self::verify_in) takes it from
    /// elsewhere.
    ///
    /// The certified network borrows the weights, so that they cannot change.
    ///
    /// # Errors
    /// [`CertificateError`], of all kinds but `Setting`.
    pub fn verify<'a>(
        &'a self,
        network: &'a Network<A>,
    ) -> Result<Certified<'a, Network<A>>, CertificateError<T>> {
        known::<A>()?;
        self.check(|| self.measure_on_stack(network))?;
        Ok(Certified { network, certificate: self, backend: Backend::best() })
    }

    /// [`verify`](Self::verify) in room of the caller's, which is overwritten: for networks that are too large for the stack.
    ///
    /// # Errors
    /// As there.
    pub fn verify_in<'a>(
        &'a self,
        network: &'a Network<A>,
        room: &mut State<Network<A>>,
    ) -> Result<Certified<'a, Network<A>>, CertificateError<T>> {
        known::<A>()?;
        self.check(|| self.measure(network, room.as_mut_slice()))?;
        Ok(Certified { network, certificate: self, backend: Backend::best() })
    }

    /// [`measure`](Self::measure) in room that is made when everything else has returned: the stack is no deeper than either takes.
    fn measure_on_stack(&self, network: &Network<A>) -> Option<[T; NUMBERS]> {
        let mut room = Network::<A>::state::<1>();
        self.measure(network, room.as_mut_slice())
    }

    /// The numbers a certificate with this vector states of these weights, rounded outwards. `w`: room for a scalar a unit.
    #[inline(always)]
    fn measure(&self, network: &Network<A>, w: &mut [T]) -> Option<[T; NUMBERS]> {
        measured(network.parameters().ok()?, Bounds::of::<A>(), self.v(), w)
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>> Network<A> {
    /// Looks for a proof that sweeps converge. Takes some 50 to 200 passes over the weights: it belongs to training, or to
    /// the workstation; a device only verifies. The result does not depend on the processor. Takes a [`State`] of stack beside what is
    /// returned; [`certify_in`](Self::certify_in) takes neither.
    ///
    /// # Errors
    /// [`CertificateError::NotContracting`] if the magnitudes of the weights do not show convergence, where
    /// [`limit_rate`](Self::limit_rate) helps; `NotFinite` for weights that are not finite or far too large; `Activation` if one of your own
    /// does not say enough of itself.
    ///
    /// ```
    /// use attractor::{CertificateError, fnn};
    /// let mut net = <fnn![1, 1, 1]>::ZERO;
    /// net.layer_mut::<2>().w.fill(2.0);
    /// net.layer_mut::<1>().u.fill(0.75);
    /// assert!(matches!(net.certify(), Err(CertificateError::NotContracting { rate }) if rate > 1.49 && rate < 1.51));
    /// ```
    pub fn certify(&self) -> Result<Certificate<Self>, CertificateError<T>> {
        let mut certificate = Certificate::ZERO;
        self.certify_in(&mut certificate, &mut Network::<A>::state())?;
        Ok(certificate)
    }

    /// [`certify`](Self::certify) into a place of the caller's, in room of the caller's: for networks that are too large for the stack.
    ///
    /// ```
    /// use attractor::network::Storage;
    /// use attractor::{Boxed, Certificate, State, fnn};
    /// type Net = fnn![8, 16, 4];
    /// let net = Net::boxed();
    /// let mut certificate = <Boxed<Certificate<Net>>>::zeroed();
    /// let mut room = State::<Net>::boxed();
    /// net.certify_in(&mut certificate, &mut room)?;
    /// let certified = certificate.verify_in(&net, &mut room)?;
    /// # Ok::<(), attractor::CertificateError>(())
    /// ```
    ///
    /// # Errors
    /// As [`certify`](Self::certify); what is left in `certificate` is then none.
    pub fn certify_in(
        &self,
        certificate: &mut Certificate<Self>,
        room: &mut State<Self>,
    ) -> Result<(), CertificateError<T>> {
        known::<A>()?;
        let params = self.parameters().map_err(|_| CertificateError::NotFinite)?;
        let known = (Bounds::of::<A>(), Certificate::<Self>::rounding_of());
        let Numbered { flat: v, numbers } = &mut certificate.memory;
        *numbers = certify(params, known, v.as_mut_slice(), room.as_mut_slice())?;
        Ok(())
    }
}

/// [`Network::certify`] of whatever network: leaves the vector in `v`, and returns what goes with it.
pub(crate) fn certify<T: Scalar>(
    params: Parameters<'_, T>,
    (bounds, rounding): (Bounds<T>, (T, T)),
    v: &mut [T],
    w: &mut [T],
) -> Result<[T; NUMBERS], CertificateError<T>> {
    let gamma = propose(params, bounds, v, w)?;
    if !(gamma < T::ONE) {
        return Err(CertificateError::NotContracting { rate: gamma });
    }
    let numbers = measured(params, bounds, v, w).ok_or(CertificateError::NotFinite)?;
    Proposed { v, numbers, rounding }.contracts()?;
    Ok(numbers)
}
