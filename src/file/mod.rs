//! Model files: a network and its certificate as bytes, checked, and read where they lie.
//!
//! The format is described in `docs/model-file.md`. A file is a header of 64 to 192 bytes with shape and CRC-32, the parameters as they lie
//! in memory, and the certificate if there is one. Reading borrows: nothing is copied, and a file in flash costs no RAM.
//!
//! ```
//! use attractor::{Align64, fnn};
//! type Net = fnn![2, 3, 1];
//! let mut net = Net::ZERO;
//! net.layer_mut::<2>().w.fill(0.5);
//! let certificate = net.certify()?;
//!
//! let mut file = Align64([0; Net::file_bytes(true)]); // as a file in flash should be aligned
//! net.to_bytes(Some(&certificate), &mut file.0)?;
//! let model = Net::from_bytes(&file.0)?;
//! assert_eq!(model.network(), &net); // no copy: these are the bytes of the file
//! let certified = model.certified()?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

#![allow(
    clippy::result_large_err,
    clippy::large_enum_variant,
    reason = "an error that names both shapes, without allocation"
)]

mod format;

pub use format::{Contents, FileError, read, write};
pub(crate) use format::{QUANTIZED_NUMBERS, length, put};

use crate::certificate::{Certificate, CertificateError, Certified, Weights, check};
use crate::kernel::{Activation, Scalar};
use crate::network::{Align64, Architecture, Network, Shape, State, bytes, seen, seen_at};
use core::fmt;
use format::refuse_certificate;

/// A network in a model file, and its certificate if the file has one. Borrows the file.
pub struct Model<'a, N: Architecture> {
    network: &'a N,
    certificate: Option<&'a Certificate<N>>,
    /// Whether it was verified while compiling.
    proved: bool,
}

impl<N: Architecture> Clone for Model<'_, N> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<N: Architecture> Copy for Model<'_, N> {}

impl<N: Architecture> fmt::Debug for Model<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({}, {:?})", N::SHAPE, self.certificate)
    }
}

/// Why a model is not certified.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Uncertified<T = f32> {
    /// The file has no certificate.
    Missing,
    /// It has one that does not hold for its weights.
    Refused(CertificateError<T>),
}

impl<T: fmt::Debug> fmt::Display for Uncertified<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the file has no certificate"),
            Self::Refused(error) => write!(f, "the certificate of the file is refused: {error}"),
        }
    }
}

impl<T: fmt::Debug> core::error::Error for Uncertified<T> {}

impl<'a, N: Architecture> Model<'a, N> {
    /// The network, where it lies in the file.
    #[must_use]
    pub const fn network(&self) -> &'a N {
        self.network
    }
    /// The certificate, where it lies in the file.
    #[must_use]
    pub const fn certificate(&self) -> Option<&'a Certificate<N>> {
        self.certificate
    }
}

impl<'a, T: Scalar, A: Architecture<Scalar = T>> Model<'a, Network<A>> {
    /// Compares the certificate with the weights: [`Certificate::verify`]. Takes no time for a file in the program
    /// ([`include_network!`](crate::include_network)), where this was done while compiling.
    ///
    /// # Errors
    /// [`Uncertified`], if the file has none or one that does not hold.
    pub fn certified(&self) -> Result<Certified<'a, Network<A>>, Uncertified<T>> {
        let certificate = self.certificate.ok_or(Uncertified::Missing)?;
        if self.proved {
            return Ok(Certified::proved(self.network, certificate));
        }
        certificate.verify(self.network).map_err(Uncertified::Refused)
    }

    /// [`certified`](Self::certified) in room of the caller's, which is overwritten: [`Certificate::verify_in`].
    ///
    /// # Errors
    /// As there.
    pub fn certified_in(
        &self,
        room: &mut State<Network<A>>,
    ) -> Result<Certified<'a, Network<A>>, Uncertified<T>> {
        let certificate = self.certificate.ok_or(Uncertified::Missing)?;
        if self.proved {
            return Ok(Certified::proved(self.network, certificate));
        }
        certificate.verify_in(self.network, room).map_err(Uncertified::Refused)
    }

    /// What [`include_network!`](crate::include_network) makes of a file: a wrong one does not compile.
    #[doc(hidden)]
    #[must_use]
    pub const fn included<const LEN: usize, const UNITS: usize>(file: &'a Align64<[u8; LEN]>) -> Self {
        const { has_file(&Network::<A>::SHAPE) };
        let contents = Contents::included(&file.0, &Network::<A>::SHAPE);
        let network = seen_at(file, contents.params_start());
        if !contents.is_certified() {
            return Self { network, certificate: None, proved: false };
        }
        let weights = Weights {
            layout: &Network::<A>::LAYOUT,
            steepest: [<A::Hidden>::STEEPEST, <A::Outputs>::STEEPEST],
            bounds: [<A::Hidden>::BOUND, <A::Outputs>::BOUND],
            scalar: size_of::<T>(),
            params: file.0.split_at(contents.params_start()).1,
        };
        if let Err(what) = check::<UNITS>(&weights, file.0.split_at(contents.certificate_start()).1) {
            refuse_certificate(what);
        }
        Self { network, certificate: Some(seen_at(file, contents.certificate_start())), proved: true }
    }
}

/// Stops the compilation where layers share parameters, which version 1 of the format cannot say.
const fn has_file(shape: &Shape) {
    assert!(shape.shared == 0, "there is no model file of a network whose layers share parameters");
}

impl<T: Scalar, A: Architecture<Scalar = T>> Network<A> {
    /// Bytes of the network's model file, with a certificate or without.
    #[must_use]
    pub const fn file_bytes(certified: bool) -> usize {
        const { has_file(&Self::SHAPE) };
        length(&Self::SHAPE, certified) as usize
    }

    /// Writes the network and, if there is one, its certificate as a model file; returns its length,
    /// [`file_bytes`](Self::file_bytes).
    ///
    /// # Errors
    /// [`FileError::Length`] if `file` has less room; it is then unchanged.
    pub fn to_bytes(
        &self,
        certificate: Option<&Certificate<Self>>,
        file: &mut [u8],
    ) -> Result<usize, FileError> {
        const { has_file(&Self::SHAPE) };
        write(&Self::SHAPE, bytes(self), certificate.map(bytes), file, cfg!(target_endian = "big"))
    }

    /// Sees a model file as the network it holds, where it lies: nothing is copied. The whole file is checked. A file that is
    /// damaged in any way, cut, or of another shape, scalar, form or activation is refused.
    ///
    /// # Errors
    /// [`FileError`]; of a wrong shape it names both.
    pub fn from_bytes(file: &[u8]) -> Result<Model<'_, Self>, FileError> {
        const { has_file(&Self::SHAPE) };
        let contents = Contents::of(file, &Self::SHAPE)?;
        let part = |start: usize, length: usize| file.get(start..start + length).unwrap_or_default();
        let network = seen(part(contents.params_start(), size_of::<Self>())).ok_or(FileError::Place)?;
        let certificate = if contents.is_certified() {
            let found = part(contents.certificate_start(), size_of::<Certificate<Self>>());
            Some(seen(found).ok_or(FileError::Place)?)
        } else {
            None
        };
        Ok(Model { network, certificate, proved: false })
    }
}

/// A model file in the program, as a `&'static` [`Model`](crate::file::Model): its path, as for [`include_bytes!`], and the network's type.
///
/// A file that is damaged, of another shape, or whose certificate does not hold for its weights does not compile; so
/// [`Model::certified`](crate::file::Model::certified) has nothing left to verify.
///
/// ```
/// use attractor::{fnn, include_network, Stop};
/// type Tiny = fnn![2, 3, 1];
/// let model = include_network!("../../tests/data/tiny.attr", Tiny);
/// let mut state = Tiny::state();
/// let solved = model.certified().unwrap().solve(&[1.0, -0.5], &mut state, 1e-3).unwrap();
/// assert!(solved.bound.largest() <= 1e-3);
/// ```
///
/// With a third argument, `i8` or `i16`, it is a network of integers, a [`QuantizedModel`](crate::quantized::QuantizedModel), whose sums are checked
/// as [`from_bytes`](crate::quantized::Quantized::from_bytes) checks them; the certificate of one is
/// [verified](crate::quantized::QuantizedCertificate::verify) at run time, exactly.
///
/// ```compile_fail
/// use attractor::{fnn, include_network};
/// let model = include_network!("../../tests/data/tiny.attr", fnn![2, 4, 1]);
/// ```
#[macro_export]
macro_rules! include_network {
    ($path:expr, $network:ty) => {{
        static FILE: $crate::Align64<[u8; include_bytes!($path).len()]> =
            $crate::Align64(*include_bytes!($path));
        #[allow(long_running_const_eval, reason = "a check byte by byte, of a file that may be large")]
        static MODEL: $crate::file::Model<'static, $network> =
            $crate::file::Model::included::<{ include_bytes!($path).len() }, { <$network>::UNITS }>(&FILE);
        &MODEL
    }};
    ($path:expr, $network:ty, $states:ty) => {{
        static FILE: $crate::Align64<[u8; include_bytes!($path).len()]> =
            $crate::Align64(*include_bytes!($path));
        #[allow(long_running_const_eval, reason = "a check byte by byte, of a file that may be large")]
        static MODEL: $crate::quantized::QuantizedModel<'static, $network, $states> =
            $crate::quantized::Quantized::<$network, $states>::included(&FILE);
        &MODEL
    }};
}
