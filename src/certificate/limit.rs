//! Holding the feedback to a rate.

use super::outward::{count, larger};
use super::{Certificate, CertificateError};
use crate::kernel::{Activation, Scalar};
use crate::network::{Form, Network, Stack};

impl<const I: usize, S: Stack, T: Scalar, F: Form, H: Activation, O: Activation> Network<I, S, T, F, H, O> {
    /// Multiplies every U by `factor`. The rate at which sweeps shrink an error is linear in U where weights are
    /// bounded by magnitudes, so a factor below 1 strengthens convergence and 0 leaves the feed-forward network.
    pub fn scale_feedback(&mut self, factor: T) {
        let Ok(mut params) = self.parameters_mut() else { return };
        for layer in params.layout().layers() {
            let (_, mut u, _) = params.layer(layer);
            u.fill_with(|weight| weight * factor);
        }
    }

    /// Holds the network to a rate: if its gamma is more than `rate`, every U is multiplied by one factor such that it is `rate`,
    /// up to rounding and never more. W and b stay as they are. Returns the certificate.
    ///
    /// It works for every network with finite weights, also for one trained without feedback that is given some. After each
    /// step of training it keeps the network certified. A rate of 0.2 is a good one: it asks for few sweeps and costs no
    /// accuracy that was seen.
    ///
    /// ```
    /// use attractor::fnn;
    /// let mut net = <fnn![1, 1, 1]>::ZERO;
    /// net.layer_mut::<2>().w.fill(2.0);
    /// net.layer_mut::<1>().u.fill(0.75); // gamma = 1.5
    /// let certificate = net.limit_feedback(0.3)?;
    /// assert!(certificate.gamma() <= 0.3 && certificate.gamma() > 0.29999);
    /// assert!((net.layer::<1>().u[0] - 0.15).abs() < 1e-5);
    /// # Ok::<(), attractor::CertificateError>(())
    /// ```
    ///
    /// # Errors
    /// [`CertificateError::Setting`] unless 0 <= `rate` < 1, `NotFinite` for weights that are not finite or far too large: the network
    /// is then unchanged. `Rounding` if `rate` is too close to 1 for the scalar.
    pub fn limit_feedback(&mut self, rate: T) -> Result<Certificate<Self>, CertificateError<T>> {
        if !(rate >= T::ZERO && rate < T::ONE) {
            return Err(CertificateError::Setting);
        }
        let (certificate, _) = self.propose()?;
        let mut less = T::PRECISION;
        loop {
            let [gamma, ..] = certificate.measure(self).ok_or(CertificateError::NotFinite)?;
            if gamma <= rate {
                break;
            }
            // Once is enough but for what is rounded, and then the factor is next to 1; ever less, so that there is an end.
            let factor = rate / gamma * (T::ONE - less);
            self.scale_feedback(larger(factor, T::ZERO));
            less = less * count(4);
        }
        certificate.complete(self)
    }
}
