//! Holding the feedback to a rate.

use super::comparison::Bounds;
use super::hold::check_contraction;
use super::measure::{measured, propose};
use super::outward::{count, smaller, times};
use super::stated::{Proposed, Stated};
use super::{Certificate, CertificateError, NUMBERS, NotFinite, known};
use crate::kernel::{Scalar, largest_on};
use crate::network::{
    Architecture, Feedforward, Flat, Form, Network, Numbered, ParametersMut, SameLayers, State,
};
use crate::simd::Backend;

impl<T: Scalar, A: Architecture<Scalar = T>> Network<A> {
    /// Multiplies every U by `factor`. The rate at which sweeps shrink an error is linear in U where weights are
    /// bounded by magnitudes, so a factor below 1 strengthens convergence and 0 leaves the feed-forward network.
    ///
    /// [`Tied`](crate::Tied) feedback has its strength in its type:
    ///
    /// ```compile_fail
    /// use attractor::{Tied, fnn};
    /// <fnn![2, 3, 1; feedback = Tied<50>]>::ZERO.scale_feedback(0.5);
    /// ```
    ///
    /// # Errors
    /// [`NotFinite`] if `factor` or a product is a NaN or an infinity; the network is then unchanged.
    pub fn scale_feedback(&mut self, factor: T) -> Result<(), NotFinite> {
        const { own_feedback::<A::Form>() };
        let params = self.parameters().map_err(|_| NotFinite)?;
        for layer in params.layout().layers() {
            if !(largest_on(Backend::best(), params.u(layer)) * factor).is_finite() {
                return Err(NotFinite);
            }
        }
        self.multiply_feedback(factor);
        Ok(())
    }

    /// Multiplies every matrix that feeds back: U, or, where feedback is tied, every W from the second layer on.
    pub(crate) fn multiply_feedback(&mut self, factor: T) {
        if let Ok(mut params) = self.parameters_mut() {
            multiply_feedback(&mut params, factor);
        }
    }

    /// Gives feedback to a network that was trained without: takes W and b of `plain` and keeps its own U.
    ///
    /// The first sweep from zero stays the plain network bit for bit, whatever U is, because nothing comes down yet; what
    /// further sweeps do is up to U. Held to a rate, it can be trained on from there. Does not compile for [`Tied`](crate::Tied) feedback,
    /// which has no U to keep.
    ///
    /// ```
    /// use attractor::{Feedforward, Stop, fnn};
    /// let mut plain = <fnn![2, 3, 1; feedback = Feedforward]>::ZERO;
    /// plain.layer_mut::<1>().w.fill(0.5);
    /// plain.layer_mut::<2>().w.fill(2.0);
    /// let mut net = <fnn![2, 3, 1]>::ZERO;
    /// net.layer_mut::<1>().u.fill(0.75);
    /// net.retrofit(&plain);
    /// let certificate = net.limit_rate(0.2)?; // whatever the weights of the plain network
    /// assert!(certificate.rate() <= 0.2);
    ///
    /// let (mut before, mut after) = (<fnn![2, 3, 1; feedback = Feedforward]>::state(), <fnn![2, 3, 1]>::state());
    /// plain.solve(&[1.0, 0.5], &mut before, Stop::after(1)).unwrap();
    /// net.solve(&[1.0, 0.5], &mut after, Stop::after(1)).unwrap();
    /// assert_eq!(after.output(), before.output());
    /// # Ok::<(), attractor::CertificateError>(())
    /// ```
    pub fn retrofit<G: Architecture<Scalar = T, Form = Feedforward>>(&mut self, plain: &Network<G>)
    where
        A: SameLayers<G>,
    {
        const { own_feedback::<A::Form>() };
        self.take_weights(plain);
    }

    /// Holds the network to a rate: if its certified rate is more than `rate`, every U is multiplied by one factor such that it is `rate`,
    /// up to rounding and never more. W and b stay as they are. Returns the certificate. A rate that the scalar cannot hold, below some
    /// 1e-36 in `f32`, leaves nothing of the feedback. Takes a [`State`] of stack beside what is returned; [`limit_rate_in`](Self::limit_rate_in)
    /// takes neither.
    ///
    /// With [`Tied`](crate::Tied) feedback it is W, from the second layer on, that is multiplied: there is no other way, and the
    /// outputs for the same input change. Held so after every step of training, it learns within the rate.
    ///
    /// It works for every network with finite weights, also for one trained without feedback that is given some
    /// ([`retrofit`](Self::retrofit)). After each step of training it keeps the network certified. A rate of 0.2 is a good one: it
    /// asks for few sweeps and costs no accuracy that was seen.
    ///
    /// ```
    /// use attractor::fnn;
    /// let mut net = <fnn![1, 1, 1]>::ZERO;
    /// net.layer_mut::<2>().w.fill(2.0);
    /// net.layer_mut::<1>().u.fill(0.75); // gamma = 1.5
    /// let certificate = net.limit_rate(0.3)?;
    /// assert!(certificate.rate() <= 0.3 && certificate.rate() > 0.29999);
    /// assert!((net.layer::<1>().u[0] - 0.15).abs() < 1e-5);
    /// # Ok::<(), attractor::CertificateError>(())
    /// ```
    ///
    /// # Errors
    /// [`CertificateError::Setting`] unless 0 <= `rate` < 1, `NotFinite` for weights that are not finite or far too large, `Rounding` if
    /// rounding errors outweigh everything even where nothing is fed back. The network is then unchanged.
    pub fn limit_rate(&mut self, rate: T) -> Result<Certificate<Self>, CertificateError<T>> {
        let mut certificate = Certificate::ZERO;
        self.limit_rate_in(rate, &mut certificate, &mut Network::<A>::state())?;
        Ok(certificate)
    }

    /// [`limit_rate`](Self::limit_rate) into a place of the caller's, in room of the caller's, as [`certify_in`](Self::certify_in).
    ///
    /// # Errors
    /// As [`limit_rate`](Self::limit_rate); what is left in `certificate` is then none.
    // In line, so that `limit_rate` of a small processor is one function, as short as can be.
    #[inline(always)]
    pub fn limit_rate_in(
        &mut self,
        rate: T,
        certificate: &mut Certificate<Self>,
        room: &mut State<Self>,
    ) -> Result<(), CertificateError<T>> {
        check_contraction(rate)?;
        known::<A>()?;
        let params = self.parameters_mut().map_err(|_| CertificateError::NotFinite)?;
        let known = (Bounds::of::<A>(), Certificate::<Self>::rounding_of());
        let Numbered { flat: v, numbers } = &mut certificate.memory;
        *numbers = limit(params, known, rate, v.as_mut_slice(), room.as_mut_slice())?;
        Ok(())
    }
}

/// Multiplies every matrix that feeds back: U, or, where feedback is tied, every W from the second layer on.
#[inline(always)]
pub(crate) fn multiply_feedback<T: Scalar>(params: &mut ParametersMut<'_, T>, factor: T) {
    let layout = params.layout();
    let tied = layout.percent() > 0;
    let first = usize::from(tied);
    for (index, layer) in layout.layers().iter().enumerate().skip(first) {
        // Once, where layers share.
        if layer.shared && index > first {
            continue;
        }
        let (mut w, mut u, _) = params.layer(layer);
        (if tied { &mut w } else { &mut u }).fill_with(|weight| weight * factor);
    }
}

/// Multiplies the feedback until its rate is at most `rate`; leaves the vector in `v`, and returns what goes with it. `known` is what is known of the
/// activations, and how much sums round; `w` is room for as many scalars as `v`.
#[inline(always)]
pub(crate) fn limit<T: Scalar>(
    mut params: ParametersMut<'_, T>,
    (bounds, rounding): (Bounds<T>, (T, T)),
    rate: T,
    v: &mut [T],
    w: &mut [T],
) -> Result<[T; NUMBERS], CertificateError<T>> {
    check_contraction(rate)?;
    let tied = params.layout().percent() > 0;
    propose(params.as_ref(), bounds, v, w)?;
    let mut numbers = measured(params.as_ref(), bounds, v, w).ok_or(CertificateError::NotFinite)?;
    // What stands in the way of a certificate even where nothing is fed back stands there after any factor: nothing is changed then.
    // From here on there is an end, at the latest where nothing is left of the feedback.
    Proposed { v, numbers: without_feedback(numbers, tied), rounding }.outweighs_rounding()?;
    let mut less = T::PRECISION;
    loop {
        let proposed = Proposed { v, numbers, rounding };
        let found = proposed.gamma();
        if found <= rate && proposed.outweighs_rounding().is_ok() {
            return Ok(numbers);
        }
        // Once is enough but for what is rounded, and then the factor is next to 1; ever less, so that there is an end. A rate too
        // small for the scalar, or rounding errors too large for a rate, leave nothing.
        let part = smaller(rate / found, T::ONE) * (T::ONE - less);
        let factor = if less < T::ONE && part > T::ZERO { part } else { T::ZERO };
        if tied {
            // Every loop goes through a W twice, up and down; and the vector changes with it.
            multiply_feedback(&mut params, factor.sqrt());
            if propose(params.as_ref(), bounds, v, w).is_err() {
                v.fill(T::ONE);
            }
        } else {
            multiply_feedback(&mut params, factor);
        }
        if factor == T::ZERO {
            let numbers = measured(params.as_ref(), bounds, v, w).ok_or(CertificateError::NotFinite)?;
            Proposed { v, numbers, rounding }.contracts()?;
            return Ok(numbers);
        }
        less = less * count(4);
        match measured(params.as_ref(), bounds, v, w) {
            Some(found) => numbers = found,
            None => less = T::ONE,
        }
    }
}

/// What a certificate states where nothing is fed back, at most. If feedback is tied, that is without W from the second layer on, and
/// under another vector, whose entries are at least 1 as well.
fn without_feedback<T: Scalar>(numbers: [T; NUMBERS], tied: bool) -> [T; NUMBERS] {
    let [_, propagation, bias, input, range, largest] = numbers;
    if !tied {
        return [T::ZERO, propagation, bias, input, range, largest];
    }
    let alone = T::ONE + T::PRECISION * count(8);
    [T::ZERO, alone, times(bias, largest), times(input, largest), times(range, largest), largest]
}

/// Feedback that is tied to W has no weights of its own to be scaled or kept: its strength is in the type.
const fn own_feedback<F: Form>() {
    assert!(
        F::TIED == 0,
        "tied feedback has no weights of its own: its strength is the number in `Tied<PERCENT>`"
    );
}
