//! Model files of whatever shape.

use super::{DynCertificate, DynError, DynNetwork};
use crate::file::{FileError, length, put, read};
use crate::kernel::Scalar;
use crate::network::F32;
use crate::quantized::widen;
use alloc::vec::Vec;

impl<T: Scalar> DynNetwork<T> {
    /// The network in a model file, whatever its shape, and its certificate if the file has one, which proves nothing until it is
    /// [verified](DynCertificate::verify). The whole file is checked. Weights of 16 bits become the `f32` they are; for integers see
    /// [`DynQuantized`](super::DynQuantized).
    ///
    /// # Errors
    /// [`DynError::File`] if the file is not whole, [`DynError::Unsupported`] if it is of another scalar than `T`.
    #[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
    pub fn from_bytes(file: &[u8]) -> Result<(Self, Option<DynCertificate<T>>), DynError<T>> {
        let contents = read(file)?;
        let shape = *contents.shape();
        let part = |start: usize, bytes: usize| file.get(start..start + bytes).ok_or(FileError::Malformed);
        if shape.is_bf16() {
            let mut net = Self::zeros(shape.with_scalar(F32))?;
            let weights = part(contents.params_start(), contents.params_bytes())?;
            let (layout, params) = (net.layout, net.params.as_mut());
            widen(&layout, weights, |at, weight| {
                if let Some(to) = params.get_mut(at) {
                    *to = T::from_f32(weight);
                }
            });
            return Ok((net, None));
        }
        let mut net = Self::zeros(shape)?;
        let scalars = |start, bytes| -> Result<Vec<T>, FileError> {
            Ok(part(start, bytes)?.chunks_exact(size_of::<T>()).map(from_le).collect())
        };
        let params = scalars(contents.params_start(), contents.params_bytes())?;
        net.params_mut().copy_from_slice(&params);
        let certificate = if contents.is_certified() {
            let stated = scalars(contents.certificate_start(), contents.certificate_bytes())?;
            Some(DynCertificate::new(&net, stated)?)
        } else {
            None
        };
        Ok((net, certificate))
    }
}

impl<T: Scalar, P: AsRef<[T]>> DynNetwork<T, P> {
    /// The network's model file, with a certificate or without: the bytes that [`Network::to_bytes`](crate::Network::to_bytes) writes.
    ///
    /// # Errors
    /// [`DynError::File`] if the certificate is of a network of another size.
    #[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
    pub fn to_bytes<Q: AsRef<[T]>>(
        &self,
        certificate: Option<&DynCertificate<T, Q>>,
    ) -> Result<Vec<u8>, DynError<T>> {
        let bytes = |scalars: &[T]| {
            let mut bytes = Vec::with_capacity(size_of_val(scalars));
            for scalar in scalars {
                let wide = scalar.to_f64();
                if const { size_of::<T>() == 4 } {
                    bytes.extend_from_slice(&(wide as f32).to_le_bytes());
                } else {
                    bytes.extend_from_slice(&wide.to_le_bytes());
                }
            }
            bytes
        };
        let shape = self.shape();
        let certificate = certificate.map(|certificate| bytes(certificate.as_slice()));
        let mut file = alloc::vec![0; length(shape, certificate.is_some()) as usize];
        put(shape, &[(0, &bytes(self.params()))], certificate.as_deref(), &mut file, false)?;
        Ok(file)
    }
}

/// The scalar in its little-endian bytes.
fn from_le<T: Scalar>(bytes: &[u8]) -> T {
    match (bytes.first_chunk::<8>(), bytes.first_chunk::<4>()) {
        (Some(wide), _) => T::from_f64(f64::from_le_bytes(*wide)),
        (None, Some(bytes)) => T::from_f32(f32::from_le_bytes(*bytes)),
        _ => T::NAN,
    }
}
