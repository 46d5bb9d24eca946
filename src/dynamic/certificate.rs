//! Certificates of networks whose widths are chosen when running.

use super::{DynError, DynNetwork, length};
use crate::LengthError;
use crate::certificate::{
    CertificateError, Held, NUMBERS, NotFinite, Proposed, RANGE, Stated, check_contraction, follow_on, hold,
    measured, multiply_feedback,
};
#[cfg(feature = "alloc")]
use crate::certificate::{certify, limit};
use crate::kernel::{Scalar, ShapeError};
use crate::simd::Backend;
use core::fmt;

/// The memory a certificate has if none is named.
#[cfg(feature = "alloc")]
type Vector<T> = alloc::vec::Vec<T>;
#[cfg(not(feature = "alloc"))]
type Vector<T> = [T; 0];

/// A [`Certificate`](crate::Certificate) of a [`DynNetwork`]: one scalar a unit and six more, in memory `P`.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use attractor::Shape;
/// use attractor::dynamic::DynNetwork;
/// let shape = Shape::new(&[1, 1, 1], "f32", "adjacent", 0, "tanh", "identity").unwrap();
/// let mut net = DynNetwork::<f32>::zeros(shape)?;
/// net.layer_mut(2).unwrap().w.fill(2.0);
/// net.layer_mut(1).unwrap().u.fill(0.75);
/// assert!(net.certify().is_err()); // a rate of 1.5
/// let certificate = net.limit_rate(0.3)?;
/// assert!(certificate.rate() <= 0.3 && certificate.verify(&net).is_ok());
/// # }
/// # Ok::<(), attractor::dynamic::DynError>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct DynCertificate<T = f32, P = Vector<T>> {
    /// The vector, then the numbers.
    memory: P,
    rounding: (T, T),
}

impl<T: Scalar, P: AsRef<[T]>> DynCertificate<T, P> {
    /// The certificate made of these scalars, for a network of the shape of `net`; it proves nothing until it is [verified](Self::verify).
    ///
    /// # Errors
    /// [`DynError::Shape`] unless there are as many as that has units, and six.
    pub fn new<N: AsRef<[T]>>(net: &DynNetwork<T, N>, scalars: P) -> Result<Self, DynError<T>> {
        let (expected, found) = (net.units() + NUMBERS, scalars.as_ref().len());
        if expected != found {
            return Err(length("scalars of the certificate", LengthError { expected, found }));
        }
        Ok(Self { memory: scalars, rounding: net.known().1 })
    }

    /// All scalars: the vector, then the rate and five more.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        self.memory.as_ref()
    }
    /// v, one entry a unit: a unit may be off by v_i times the weighted error.
    #[must_use]
    pub fn vector(&self) -> &[T] {
        self.parts().0
    }
    /// The rate: what is left of the weighted error after a sweep, at most.
    #[must_use]
    pub fn rate(&self) -> T {
        self.stated().gamma()
    }
    /// A bound on max |h_i| / v_i of every state and solution, if the activations of the hidden layers are bounded.
    #[must_use]
    pub fn range(&self) -> Option<T> {
        Some(self.stated().number(RANGE)).filter(|range| range.is_finite())
    }
    /// The most sweeps of a solve to within `error`, for inputs of this magnitude at most; see
    /// [`Certificate::sweeps`](crate::Certificate::sweeps).
    #[must_use]
    pub fn sweeps(&self, error: T, input: T) -> Option<usize> {
        self.stated().most_sweeps(error, input)
    }

    /// Compares the certificate with the weights of `net`; see [`Certificate::verify`](crate::Certificate::verify).
    ///
    /// # Errors
    /// [`DynError::Certificate`] if it does not hold, [`DynError::Shape`] if it is of a network of another size.
    #[cfg(feature = "alloc")]
    #[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
    pub fn verify<N: AsRef<[T]>>(&self, net: &DynNetwork<T, N>) -> Result<(), DynError<T>> {
        self.verify_in(net, &mut alloc::vec![T::ZERO; net.units()])
    }

    /// `verify`, with room for one scalar a unit.
    ///
    /// # Errors
    /// As there; [`DynError::Shape`] if there is less room.
    pub fn verify_in<N: AsRef<[T]>>(
        &self,
        net: &DynNetwork<T, N>,
        room: &mut [T],
    ) -> Result<(), DynError<T>> {
        let (v, units) = (self.vector(), net.units());
        if v.len() != units {
            return Err(length("scalars of the vector", LengthError { expected: units, found: v.len() }));
        }
        let found = room.len();
        let Some(room) = room.get_mut(..units) else {
            return Err(ShapeError { what: "room for units", expected: units, found }.into());
        };
        let params = net.parameters()?;
        self.stated().check(|| measured(params, net.known().0, v, room))?;
        Ok(())
    }

    fn parts(&self) -> (&[T], [T; NUMBERS]) {
        match self.memory.as_ref().split_last_chunk() {
            Some((vector, numbers)) => (vector, *numbers),
            None => (&[], [T::NAN; NUMBERS]),
        }
    }
    fn stated(&self) -> Proposed<'_, T> {
        let (v, numbers) = self.parts();
        Proposed { v, numbers, rounding: self.rounding }
    }
}

impl<T: Scalar, P: AsRef<[T]>> DynNetwork<T, P> {
    /// Looks for a proof that sweeps converge; see [`Network::certify`](crate::Network::certify).
    ///
    /// # Errors
    /// [`DynError::Certificate`] if there is none.
    #[cfg(feature = "alloc")]
    #[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
    pub fn certify(&self) -> Result<DynCertificate<T>, DynError<T>> {
        let mut memory = alloc::vec![T::ZERO; self.units()];
        let (params, known) = (self.parameters()?, self.known());
        let numbers = certify(params, known, &mut memory, &mut alloc::vec![T::ZERO; self.units()])?;
        memory.extend_from_slice(&numbers);
        Ok(DynCertificate { memory, rounding: known.1 })
    }
}

impl<T: Scalar, P: AsRef<[T]> + AsMut<[T]>> DynNetwork<T, P> {
    /// Multiplies every U by one factor, such that the rate is at most `rate`; see [`Network::limit_rate`](crate::Network::limit_rate).
    ///
    /// # Errors
    /// [`DynError::Certificate`], as there; the network is then unchanged.
    #[cfg(feature = "alloc")]
    #[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
    pub fn limit_rate(&mut self, rate: T) -> Result<DynCertificate<T>, DynError<T>> {
        let known = self.known();
        let mut memory = alloc::vec![T::ZERO; self.units()];
        let mut room = memory.clone();
        let numbers = limit(self.parameters_mut()?, known, rate, &mut memory, &mut room)?;
        memory.extend_from_slice(&numbers);
        Ok(DynCertificate { memory, rounding: known.1 })
    }

    /// Holds the network to a rate, from step to step of training; see [`Network::hold_rate`](crate::Network::hold_rate). `room`: two scalars a unit,
    /// zero before the first call, left alone between calls.
    ///
    /// # Errors
    /// [`DynError::Certificate`] as there, [`DynError::Shape`] for other room; the network is then unchanged.
    pub fn hold_rate(&mut self, rate: T, room: &mut [T]) -> Result<Held<T>, DynError<T>> {
        self.hold_rate_on(Backend::best(), rate, room)
    }

    pub(super) fn hold_rate_on(
        &mut self,
        backend: Backend,
        rate: T,
        room: &mut [T],
    ) -> Result<Held<T>, DynError<T>> {
        let (units, found, bounds) = (self.units(), room.len(), self.known().0);
        if found != 2 * units {
            return Err(ShapeError { what: "room for units, twice", expected: 2 * units, found }.into());
        }
        check_contraction(rate)?;
        let (v, w) = room.split_at_mut(units);
        let fed_back = (self.layout().reach().layers() > 0, self.layout().percent() > 0);
        let found = |net: &mut Self| follow_on(backend, net.parameters().ok()?, bounds, rate, v, w);
        let held = hold(self, fed_back, rate, found, Self::multiply_feedback);
        Ok(held.ok_or(CertificateError::NotFinite)?)
    }

    /// Multiplies every U by `factor`, or, where feedback is tied, every W from the second layer on.
    ///
    /// # Errors
    /// [`NotFinite`] if `factor` or a product is a NaN or an infinity; the network is then unchanged.
    pub fn scale_feedback(&mut self, factor: T) -> Result<(), NotFinite> {
        let largest = self.params().iter().fold(T::ZERO, |largest, w| {
            let product = (*w * factor).magnitude();
            if product <= largest { largest } else { product }
        });
        if !factor.is_finite() || !largest.is_finite() {
            return Err(NotFinite);
        }
        self.multiply_feedback(factor);
        Ok(())
    }

    pub(super) fn multiply_feedback(&mut self, factor: T) {
        if let Ok(mut params) = self.parameters_mut() {
            multiply_feedback(&mut params, factor);
        }
    }
}

impl<T: Scalar, P: AsRef<[T]>> fmt::Debug for DynCertificate<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynCertificate").field("rate", &self.rate()).field("range", &self.range()).finish()
    }
}
