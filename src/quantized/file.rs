//! Networks of integers and of halved weights in model files.

#![allow(clippy::result_large_err, reason = "an error that names both shapes, without allocation")]

use super::constant::{Bytes, refuse};
use super::{Bf16Network, Quantized, QuantizedCertificate};
use crate::file::{Contents, FileError, length, put};
use crate::network::{Align64, Architecture, BF16, Network, Plain, Shape, bytes, seen, seen_at};
use crate::simd::IntState;
use core::fmt;
use core::mem::offset_of;

/// A network of integers in a model file, and its certificate if the file has one. Borrows the file.
pub struct QuantizedModel<'a, N: Architecture, H: IntState> {
    network: &'a Quantized<N, H>,
    certificate: Option<&'a QuantizedCertificate<N>>,
}

impl<N: Architecture, H: IntState> Clone for QuantizedModel<'_, N, H> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<N: Architecture, H: IntState> Copy for QuantizedModel<'_, N, H> {}

impl<N: Architecture, H: IntState> fmt::Debug for QuantizedModel<'_, N, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QuantizedModel({:?}, {:?})", self.network, self.certificate)
    }
}

impl<'a, N: Architecture, H: IntState> QuantizedModel<'a, N, H> {
    /// The network, where it lies in the file.
    #[must_use]
    pub const fn network(&self) -> &'a Quantized<N, H> {
        self.network
    }
    /// The certificate, where it lies in the file; it proves nothing until it is [verified](QuantizedCertificate::verify).
    #[must_use]
    pub const fn certificate(&self) -> Option<&'a QuantizedCertificate<N>> {
        self.certificate
    }
}

// SAFETY: repr(C) over integers, floating-point numbers and what is shaped of them.
#[allow(unsafe_code, reason = "networks of integers are seen in files")]
unsafe impl<N: Architecture, H: IntState> Plain for Quantized<N, H> {}

// SAFETY: repr(transparent) over numbers.
#[allow(unsafe_code, reason = "networks of halved weights are seen in files")]
unsafe impl<N: Architecture> Plain for Bf16Network<N> {}

impl<N: Architecture, H: IntState> Quantized<N, H> {
    const SHAPE: Shape = N::SHAPE.with_scalar(H::CODE);

    /// Bytes of the network's model file, with a certificate or without.
    #[must_use]
    pub const fn file_bytes(certified: bool) -> usize {
        const {
            let contents = Contents::expected(&Self::SHAPE, false);
            assert!(contents.params_bytes() == size_of::<Self>(), "a file is what is in memory");
        };
        length(&Self::SHAPE, certified) as usize
    }

    /// Writes the network and, if there is one, its certificate as a model file; returns its length,
    /// [`file_bytes`](Self::file_bytes).
    ///
    /// # Errors
    /// [`FileError::Length`] if `file` has less room; it is then unchanged. [`FileError::Place`] on a processor that is not little-endian.
    pub fn to_bytes(
        &self,
        certificate: Option<&QuantizedCertificate<N>>,
        file: &mut [u8],
    ) -> Result<usize, FileError> {
        if cfg!(target_endian = "big") {
            return Err(FileError::Place);
        }
        let _ = Self::file_bytes(false);
        // One after the other, for there may be gaps between them.
        let at = |field: *const u8| field.addr() - (&raw const *self).addr();
        let units = self.units.map(f32::to_le_bytes);
        let parts: [(usize, &[u8]); 7] = [
            (at((&raw const self.weights).cast()), bytes(&self.weights)),
            (at((&raw const self.bias).cast()), bytes(&self.bias)),
            (at((&raw const self.first_bias).cast()), bytes(&self.first_bias)),
            (at((&raw const self.units).cast()), units.as_flattened()),
            (at((&raw const self.scale).cast()), bytes(&self.scale)),
            (at((&raw const self.first_scale).cast()), bytes(&self.first_scale)),
            (at((&raw const self.first_exponent).cast()), bytes(&self.first_exponent)),
        ];
        put(&Self::SHAPE, &parts, certificate.map(bytes), file, false)
    }
}

impl<N: Architecture<Scalar = f32>, H: IntState> Quantized<Network<N>, H> {
    /// Sees a model file as the network of integers it holds, where it lies: nothing is copied. The whole file is checked, and that no sum
    /// overflows.
    ///
    /// # Errors
    /// [`FileError`]; of a wrong shape it names both.
    pub fn from_bytes(file: &[u8]) -> Result<QuantizedModel<'_, Network<N>, H>, FileError> {
        let contents = Contents::of(file, &Self::SHAPE)?;
        let part = |start: usize, length: usize| file.get(start..start + length).unwrap_or_default();
        let network: &Self =
            seen(part(contents.params_start(), size_of::<Self>())).ok_or(FileError::Place)?;
        network.check().map_err(|_| FileError::Malformed)?;
        let found = part(contents.certificate_start(), contents.certificate_bytes());
        let certificate =
            if contents.is_certified() { Some(seen(found).ok_or(FileError::Place)?) } else { None };
        Ok(QuantizedModel { network, certificate })
    }

    /// What [`include_network!`](crate::include_network) makes of a file: one that [`from_bytes`](Self::from_bytes) refuses does not compile.
    ///
    /// ```
    /// use attractor::{fnn, include_network};
    /// let model = include_network!("../../tests/data/integers.attr", fnn![2, 3, 1], i8);
    /// ```
    /// An exponent of 33, which shifts further than a word is long:
    /// ```compile_fail
    /// use attractor::{fnn, include_network};
    /// let model = include_network!("../../tests/data/integers_refused.attr", fnn![2, 3, 1], i8);
    /// ```
    #[doc(hidden)]
    #[must_use]
    pub const fn included<const LEN: usize>(
        file: &'static Align64<[u8; LEN]>,
    ) -> QuantizedModel<'static, Network<N>, H> {
        let contents = Contents::included(&file.0, &Self::SHAPE);
        let network = Bytes {
            layout: &Network::<N>::LAYOUT,
            most: H::MOST + 1 + H::OFFSET,
            bytes: file.0.split_at(contents.params_start()).1,
            weights: offset_of!(Self, weights),
            bias: offset_of!(Self, bias),
            first_bias: offset_of!(Self, first_bias),
            units: offset_of!(Self, units),
            scale: offset_of!(Self, scale),
            first_scale: offset_of!(Self, first_scale),
            first_exponent: offset_of!(Self, first_exponent),
        };
        if let Err(error) = network.check() {
            refuse(error);
        }
        QuantizedModel {
            network: seen_at(file, contents.params_start()),
            certificate: if contents.is_certified() {
                Some(seen_at(file, contents.certificate_start()))
            } else {
                None
            },
        }
    }
}

impl<N: Architecture> Bf16Network<N> {
    const SHAPE: Shape = N::SHAPE.with_scalar(BF16);

    /// Bytes of the network's model file.
    #[must_use]
    pub const fn file_bytes() -> usize {
        length(&Self::SHAPE, false) as usize
    }

    /// Writes the network as a model file; returns its length, [`file_bytes`](Self::file_bytes).
    ///
    /// # Errors
    /// As [`Quantized::to_bytes`].
    pub fn to_bytes(&self, file: &mut [u8]) -> Result<usize, FileError> {
        if cfg!(target_endian = "big") {
            return Err(FileError::Place);
        }
        put(&Self::SHAPE, &[(0, bytes(&self.weights))], None, file, false)
    }

    /// Sees a model file as the network of halved weights it holds, where it lies: nothing is copied. The whole file is checked.
    ///
    /// # Errors
    /// [`FileError`]; of a wrong shape it names both.
    pub fn from_bytes(file: &[u8]) -> Result<&Self, FileError> {
        let contents = Contents::of(file, &Self::SHAPE)?;
        let start = contents.params_start();
        let found = file.get(start..start + size_of::<Self>()).unwrap_or_default();
        seen(found).ok_or(FileError::Place)
    }
}
