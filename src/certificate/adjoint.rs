//! The certificate of the adjoint's sweeps.

use super::comparison::{Bounds, Comparison};
use super::measure::{AdjointRateOnce, AdjointSearchOnce};
use super::outward::sweeps_until;
use super::{CertificateError, bounded};
use crate::kernel::Scalar;
use crate::network::{Architecture, Flat, LengthError, Network, Numbered, State};
use core::fmt;

/// A proof that the sweeps of the adjoint converge, whatever the state and the gradient of the outputs: a vector v of `UNITS`
/// entries, at least 1 each, and a rate gamma < 1 such that every adjoint sweep shrinks max |d_i - d*_i| / v_i by gamma, in exact
/// arithmetic.
///
/// An adjoint sweep goes from the last layer to the first, with fresh deltas from above through W^T and old ones from below
/// through U^T. Its rate is the network's own in the long run, but its vector is another.
///
/// ```
/// use attractor::fnn;
/// type Net = fnn![3, 8, 2];
/// let mut net = Net::ZERO;
/// net.layer_mut::<1>().u.fill(-0.02);
/// net.layer_mut::<2>().w.fill(0.5);
/// let certificate = net.certify_adjoint()?;
/// assert!(certificate.rate() < 0.17);
/// assert_eq!(certificate.sweeps(1e-4), 6); // that many leave a ten-thousandth of an error
/// certificate.verify(&net)?;
/// # Ok::<(), attractor::CertificateError>(())
/// ```
#[derive(Clone)]
#[repr(transparent)]
pub struct AdjointCertificate<N: Architecture> {
    memory: Numbered<State<N>, 1>,
}

// SAFETY: repr(transparent) over scalars in a row.
#[allow(unsafe_code, reason = "certificates are seen as flat scalars, where they are kept")]
unsafe impl<N: Architecture> Flat for AdjointCertificate<N> {
    type Scalar = N::Scalar;
}

impl<N: Architecture> AdjointCertificate<N> {
    /// Number of scalars: one a unit, and gamma.
    pub const LEN: usize = N::LAYOUT.units() + 1;
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
    /// All scalars: the vector, then gamma.
    #[must_use]
    pub fn as_slice(&self) -> &[N::Scalar] {
        self.memory.flat()
    }
    /// v, one entry a unit.
    #[must_use]
    pub fn vector(&self) -> &State<N> {
        &self.memory.flat
    }
    /// The rate: what is left of the weighted error of the deltas after an adjoint sweep, at most.
    #[must_use]
    pub fn rate(&self) -> N::Scalar {
        let [gamma] = self.memory.numbers;
        gamma
    }
    /// The adjoint sweeps that leave no more than `part` of a weighted error.
    #[must_use]
    pub fn sweeps(&self, part: N::Scalar) -> usize {
        sweeps_until(self.rate(), <N::Scalar as crate::simd::Element>::ONE, part)
    }
}

impl<N: Architecture> fmt::Debug for AdjointCertificate<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdjointCertificate").field("rate", &self.rate()).finish()
    }
}

impl<N: Architecture> PartialEq for AdjointCertificate<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>> AdjointCertificate<Network<A>> {
    /// Compares the certificate with the weights of `network`, as [`Certificate::verify`](super::Certificate::verify) does. Takes a [`State`]
    /// of stack; [`verify_in`](Self::verify_in) takes it from elsewhere.
    ///
    /// # Errors
    /// [`CertificateError`], of all kinds but `Setting` and `Rounding`.
    pub fn verify(&self, network: &Network<A>) -> Result<(), CertificateError<T>> {
        self.verify_in(network, &mut Network::<A>::state())
    }

    /// [`verify`](Self::verify) in room of the caller's, which is overwritten.
    ///
    /// # Errors
    /// As there.
    pub fn verify_in(
        &self,
        network: &Network<A>,
        room: &mut State<Network<A>>,
    ) -> Result<(), CertificateError<T>> {
        bounded::<A>()?;
        let (v, stated) = (self.memory.flat.as_slice(), self.rate());
        if !(stated >= T::ZERO) || !v.iter().all(|v| v.is_finite()) {
            return Err(CertificateError::NotFinite);
        }
        if !v.iter().all(|v| *v >= T::ONE) {
            return Err(CertificateError::Vector);
        }
        if !(stated < T::ONE) {
            return Err(CertificateError::NotContracting { rate: stated });
        }
        let found = network.parameters().ok().and_then(|params| {
            T::once::<AdjointRateOnce>((Comparison::new(params, Bounds::of::<A>()), v, room.as_mut_slice()))
        });
        match found {
            None => Err(CertificateError::NotFinite),
            Some(found) if found <= stated => Ok(()),
            Some(found) => Err(CertificateError::Refuted { what: "rate", stated, found }),
        }
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>> Network<A> {
    /// [`certify`](Self::certify) for the sweeps of the adjoint: training time is bounded too.
    ///
    /// # Errors
    /// As [`certify`](Self::certify).
    pub fn certify_adjoint(&self) -> Result<AdjointCertificate<Self>, CertificateError<T>> {
        let mut certificate = AdjointCertificate::ZERO;
        self.certify_adjoint_in(&mut certificate, &mut Network::<A>::state())?;
        Ok(certificate)
    }

    /// [`certify_adjoint`](Self::certify_adjoint) into a place of the caller's, in room of the caller's, as [`certify_in`](Self::certify_in).
    ///
    /// # Errors
    /// As [`certify`](Self::certify); what is left in `certificate` is then none.
    pub fn certify_adjoint_in(
        &self,
        certificate: &mut AdjointCertificate<Self>,
        room: &mut State<Self>,
    ) -> Result<(), CertificateError<T>> {
        bounded::<A>()?;
        let params = self.parameters().map_err(|_| CertificateError::NotFinite)?;
        let comparison = Comparison::new(params, Bounds::of::<A>());
        let Numbered { flat: v, numbers } = &mut certificate.memory;
        let gamma = T::once::<AdjointSearchOnce>((comparison, v.as_mut_slice(), room.as_mut_slice()))
            .ok_or(CertificateError::NotFinite)?;
        if !(gamma < T::ONE) {
            return Err(CertificateError::NotContracting { rate: gamma });
        }
        *numbers = [gamma];
        Ok(())
    }
}
