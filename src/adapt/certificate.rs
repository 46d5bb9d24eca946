//! The certificate of an adapted network, which is never formed.

use super::{Adapted, Adapter};
use crate::CertificateError;
use crate::certificate::{
    Bounds, Held, bounded, check_contraction, follow_rate, little_less, propose_rate, rate_under,
    sweeps_until,
};
use crate::kernel::{Matrix, MatrixMut, Scalar};
use crate::network::{
    Architecture, Correction, Flat, LayerLayout, Layout, Network, Numbered, Own, Plan, Source, State, View,
    own,
};
use crate::simd::{Backend, Element};
use core::fmt;

/// A proof that the sweeps of an adapted network converge to the one solution there is, for every input and from every start: a
/// vector v of `UNITS` entries, at least 1 each, and a rate gamma < 1 such that every sweep shrinks max |h_i - h*_i| / v_i by gamma,
/// in exact arithmetic.
///
/// It is that of the module [`certificate`](crate::certificate) with |W + P Q^T| v <= |W| v + |P| (|Q|^T v), rounded outwards: the
/// matrices are never formed, and a pass costs R more products a unit. For bounds of a state's error, merge the network and certify
/// that.
#[derive(Clone)]
#[repr(transparent)]
pub struct AdaptedCertificate<N: Architecture> {
    memory: Numbered<State<N>, 1>,
}

// SAFETY: repr(transparent) over scalars in a row.
#[allow(unsafe_code, reason = "certificates are seen as flat scalars, where they are kept")]
unsafe impl<N: Architecture> Flat for AdaptedCertificate<N> {
    type Scalar = N::Scalar;
}

impl<N: Architecture> AdaptedCertificate<N> {
    /// v, one entry a unit.
    #[must_use]
    pub fn vector(&self) -> &State<N> {
        &self.memory.flat
    }
    /// The rate: what is left of the weighted error after a sweep, at most.
    #[must_use]
    pub fn rate(&self) -> N::Scalar {
        let [gamma] = self.memory.numbers;
        gamma
    }
    /// The sweeps that leave no more than `part` of a weighted error.
    #[must_use]
    pub fn sweeps(&self, part: N::Scalar) -> usize {
        sweeps_until(self.rate(), N::Scalar::ONE, part)
    }
}

impl<N: Architecture> fmt::Debug for AdaptedCertificate<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaptedCertificate").field("rate", &self.rate()).finish()
    }
}

impl<T: Scalar, N: Architecture<Scalar = T>, A> Adapted<'_, Network<N>, A>
where
    A: Adapter<Network<N>>,
{
    /// Looks for a proof that the adapted network's sweeps converge, as [`Network::certify`] does. Takes a [`State`] of stack beside what is
    /// returned; [`certify_in`](Self::certify_in) takes neither.
    ///
    /// # Errors
    /// [`CertificateError::NotContracting`], where [`limit_rate`](Self::limit_rate) helps, and `NotFinite`.
    pub fn certify(&self) -> Result<AdaptedCertificate<Network<N>>, CertificateError<T>> {
        let mut certificate = AdaptedCertificate::ZERO;
        self.certify_in(&mut certificate, &mut Network::<N>::state())?;
        Ok(certificate)
    }

    /// [`certify`](Self::certify) into a place of the caller's, in room of the caller's: for networks that are too large for the stack.
    ///
    /// # Errors
    /// As there; what is left in `certificate` is then none.
    pub fn certify_in(
        &self,
        certificate: &mut AdaptedCertificate<Network<N>>,
        room: &mut State<Network<N>>,
    ) -> Result<(), CertificateError<T>> {
        let Numbered { flat: v, numbers } = &mut certificate.memory;
        let gamma = self.propose(Counts::All, v.as_mut_slice(), room.as_mut_slice())?;
        if !(gamma < T::ONE) {
            return Err(CertificateError::NotContracting { rate: gamma });
        }
        *numbers = [gamma];
        Ok(())
    }

    /// So much of it, to be compared.
    fn counted(&self, counts: Counts) -> Result<Counted<'_, T>, CertificateError<T>> {
        let view = self.view().map_err(|_| CertificateError::NotFinite)?;
        Ok(Counted { view, counts })
    }

    /// Leaves a vector in `v`, and gives its gamma, below 1 or not; of so much of the adapter. `w`: room for a scalar a unit.
    fn propose(&self, counts: Counts, v: &mut [T], w: &mut [T]) -> Result<T, CertificateError<T>> {
        bounded::<N>()?;
        let view = self.counted(counts)?;
        propose_rate(view, Bounds::of::<N>(), v, w).ok_or(CertificateError::NotFinite)
    }

    /// Compares a certificate with the weights there are, in one pass over them: after a step of learning, say. Takes a [`State`] of stack;
    /// [`verify_in`](Self::verify_in) takes it from elsewhere.
    ///
    /// # Errors
    /// [`CertificateError::Refuted`] if the weights give a larger gamma than the certificate states, `NotFinite`.
    pub fn verify(&self, certificate: &AdaptedCertificate<Network<N>>) -> Result<(), CertificateError<T>> {
        self.verify_in(certificate, &mut Network::<N>::state())
    }

    /// [`verify`](Self::verify) in room of the caller's, which is overwritten.
    ///
    /// # Errors
    /// As there.
    pub fn verify_in(
        &self,
        certificate: &AdaptedCertificate<Network<N>>,
        room: &mut State<Network<N>>,
    ) -> Result<(), CertificateError<T>> {
        bounded::<N>()?;
        let view = self.counted(Counts::All)?;
        let found = rate_under(view, Bounds::of::<N>(), certificate.vector().as_slice(), room.as_mut_slice())
            .ok_or(CertificateError::NotFinite)?;
        let stated = certificate.rate();
        if found <= stated { Ok(()) } else { Err(CertificateError::Refuted { what: "rate", stated, found }) }
    }

    /// Holds the adapted network to a rate: draws what the adapter makes of U towards the borrowed network, and if that is not enough,
    /// what it makes of W^2 and above, only as far as it must, until every sweep shrinks an error to `rate` of it at most. So a
    /// certified network stays certified, however its adapter learns. W^1 and b have no part in convergence and stay as they are.
    ///
    /// Of a correction of low rank, the columns of Q^T are scaled. Gamma is linear in U, and grows no slower than in proportion to W,
    /// so a step along the chord is enough but for what is rounded, and for the vector, which changes too. Takes a [`State`] of stack beside
    /// what is returned ([`limit_rate_in`](Self::limit_rate_in) takes neither), and a hundred passes over the weights or more.
    ///
    /// ```
    /// use attractor::adapt::{Adapted, LowRank};
    /// use attractor::network::Flat;
    /// use attractor::fnn;
    /// type Net = fnn![2, 4, 1];
    /// let mut net = Net::ZERO;
    /// net.layer_mut::<1>().u.fill(0.05);
    /// net.layer_mut::<2>().w.fill(0.25);
    /// let mut adapted = Adapted::<Net, LowRank<1>>::new(&net, 1);
    /// adapted.params_mut().flat_mut().fill(1.0); // far too much
    /// assert!(adapted.certify().is_err());
    /// let certificate = adapted.limit_rate(0.5)?;
    /// assert!(certificate.rate() <= 0.5 && certificate.rate() > 0.1);
    /// # Ok::<(), attractor::CertificateError>(())
    /// ```
    ///
    /// # Errors
    /// [`CertificateError::NotContracting`] if the borrowed network itself has a larger rate, with that;
    /// [`CertificateError::Setting`] unless `rate` is at least 0 and less than 1; `NotFinite`. The adapter is then unchanged.
    pub fn limit_rate(&mut self, rate: T) -> Result<AdaptedCertificate<Network<N>>, CertificateError<T>> {
        let mut certificate = AdaptedCertificate::ZERO;
        self.limit_rate_in(rate, &mut certificate, &mut Network::<N>::state())?;
        Ok(certificate)
    }

    /// [`limit_rate`](Self::limit_rate) into a place of the caller's, in room of the caller's, as [`certify_in`](Self::certify_in).
    ///
    /// # Errors
    /// As there; what is left in `certificate` is then none.
    pub fn limit_rate_in(
        &mut self,
        rate: T,
        certificate: &mut AdaptedCertificate<Network<N>>,
        room: &mut State<Network<N>>,
    ) -> Result<(), CertificateError<T>> {
        let Numbered { flat: v, numbers } = &mut certificate.memory;
        *numbers = [self.limit(rate, v.as_mut_slice(), room.as_mut_slice())?];
        Ok(())
    }

    /// [`limit_rate`](Self::limit_rate): leaves the vector in `v`, and gives the rate.
    fn limit(&mut self, rate: T, v: &mut [T], w: &mut [T]) -> Result<T, CertificateError<T>> {
        check_contraction(rate)?;
        let mut found = self.propose(Counts::All, v, w)?;
        if found <= rate {
            return Ok(found);
        }
        // What there is once nothing is left of U's part; and of W's.
        let (mut role, mut left) = (Role::Feedback, Counts::Inner);
        let mut least = self.propose(left, v, w)?;
        if !(least <= rate) {
            (role, left) = (Role::Inner, Counts::Nothing);
            found = least;
            least = self.propose(left, v, w)?;
            if !(least <= rate) {
                return Err(CertificateError::NotContracting { rate: least });
            }
            self.draw_back(Role::Feedback, T::ZERO);
        }
        let mut margin = T::PRECISION;
        while !(found <= rate) {
            let part = (rate - least) / (found - least) * (T::ONE - margin);
            let next = if part > T::ZERO && margin < T::ONE {
                self.draw_back(role, part);
                self.propose(Counts::All, v, w).ok()
            } else {
                None
            };
            let Some(next) = next else {
                // Nothing of it is left, so that there is an end; and what has been changed cannot be had back.
                self.draw_back(role, T::ZERO);
                return self.propose(left, v, w);
            };
            found = next;
            margin = margin * T::from_usize(4);
        }
        Ok(found)
    }

    /// Holds the adapted network to a rate, from step to step of learning: as [`Network::hold_rate`], a bound on its rate follows the
    /// weights in `room` at one pass a call. Where it is more than `rate`, [`limit_rate`](Self::limit_rate) draws the adapter back to a little
    /// less, so that not every step has to.
    ///
    /// `rate`: at least 0 and less than 1. `room`: zero before the first call, left alone between calls.
    ///
    /// # Errors
    /// As [`limit_rate`](Self::limit_rate). The adapter is then unchanged.
    pub fn hold_rate(
        &mut self,
        rate: T,
        room: &mut State<Network<N>, 2>,
    ) -> Result<Held<T>, CertificateError<T>> {
        check_contraction(rate)?;
        bounded::<N>()?;
        let view = self.counted(Counts::All)?;
        let (v, w) = room.as_mut_slice().split_at_mut(Network::<N>::UNITS);
        let found = follow_rate(Backend::best(), view, Bounds::of::<N>(), rate, v, w)
            .ok_or(CertificateError::NotFinite)?;
        if found <= rate {
            return Ok(Held { rate: found, factor: T::ONE });
        }
        let less = rate * little_less(64);
        let limited = match self.limit(less, v, w) {
            // The borrowed network is no better: then what was asked for, if that can be had.
            Err(CertificateError::NotContracting { .. }) => self.limit(rate, v, w)?,
            result => result?,
        };
        Ok(Held { rate: limited, factor: limited / found })
    }

    /// Leaves this part of what the adapter makes of U.
    pub(super) fn weaken(&mut self, part: T) {
        self.draw_back(Role::Feedback, part);
    }

    /// Leaves nothing of what the adapter makes of the weights that play a part in convergence.
    pub(super) fn give_up(&mut self) {
        self.draw_back(Role::Feedback, T::ZERO);
        self.draw_back(Role::Inner, T::ZERO);
    }

    /// Leaves this part of what the adapter makes of U, or of W^2 and above.
    fn draw_back(&mut self, role: Role, part: T) {
        let layout = const { Self::LAYOUT };
        let Ok(base) = self.network.parameters() else { return };
        for (index, layer) in layout.layers().iter().enumerate() {
            let Some(Own { first, second, .. }) = own(self.params.flat_mut(), A::PLAN, layout, layer) else {
                continue;
            };
            if let Plan::LowRank(_) = A::PLAN {
                let (of_w, of_u) = second.split_columns(layer.inputs);
                match role {
                    Role::Feedback => draw(of_u, None, part),
                    Role::Inner if index > 0 => draw(of_w, None, part),
                    Role::Inner => {}
                }
            } else {
                match role {
                    Role::Feedback => draw(second, Some(base.u(layer)), part),
                    Role::Inner if index > 0 => draw(first, Some(base.w(layer)), part),
                    Role::Inner => {}
                }
            }
        }
    }
}

/// How much counts of what an adapter makes of the weights that play a part in convergence.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Counts {
    /// Nothing of it.
    Nothing,
    /// What it makes of W^2 and above.
    Inner,
    /// All.
    All,
}

/// The parameters of an adapted network of whose adapter so much counts: what its rate would be without the rest, which is still there.
#[derive(Clone, Copy)]
struct Counted<'a, T> {
    view: View<'a, T>,
    counts: Counts,
}

impl<'a, T: Scalar> Source<'a, T> for Counted<'a, T> {
    const CORRECTED: bool = true;

    fn layout(&self) -> &'a Layout {
        self.view.layout()
    }
    fn afresh(self) -> Self {
        Self { view: self.view.afresh(), ..self }
    }
    fn rank(&self) -> usize {
        self.view.rank()
    }
    fn w(&self, layer: &LayerLayout) -> Matrix<'a, T> {
        if self.corrects(layer)[0] { self.view.w(layer) } else { self.view.base.w(layer) }
    }
    fn u(&self, layer: &LayerLayout) -> Matrix<'a, T> {
        if self.corrects(layer)[1] { self.view.u(layer) } else { self.view.base.u(layer) }
    }
    fn b(&self, layer: &LayerLayout) -> &'a [T] {
        self.view.b(layer)
    }
    fn correction(&self, layer: &LayerLayout) -> Option<Correction<'a, T>> {
        self.view.correction(layer)
    }
    fn corrects(&self, layer: &LayerLayout) -> [bool; 2] {
        // W^1 plays no part, and stays as it is.
        [self.counts >= Counts::Inner || layer.units == 0, self.counts == Counts::All]
    }
}

/// The weights that play a part in convergence.
#[derive(Clone, Copy)]
enum Role {
    /// U.
    Feedback,
    /// W^2 and above.
    Inner,
}

/// Leaves this part of the way from `base`, or from zero.
fn draw<T: Scalar>(mut own: MatrixMut<'_, T>, base: Option<Matrix<'_, T>>, part: T) {
    let (rows, mut index) = (own.rows().max(1), 0);
    own.fill_with(|was| {
        let base = base.map_or(T::ZERO, |base| base.at(index % rows, index / rows).unwrap_or(was));
        index += 1;
        if part == T::ZERO { base } else { base + part * (was - base) }
    });
}
