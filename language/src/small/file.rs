//! Small models in files, where there are files.

use super::{CRC, Header, MAGIC, SIXTEEN, Small, SmallError, VERSION, Weight};
use crate::Config;
use crate::files::save;
use crate::head::{self, flag, word};
use crate::pass::PassError;
use attractor::simd::Bf16;
use std::io;
use std::path::Path;

/// The contents of a file, and memory for them.
#[derive(Clone, Debug, PartialEq)]
pub struct SmallFile {
    header: Header,
    numbers: Vec<f32>,
    weights: Kept,
}

#[derive(Clone, Debug, PartialEq)]
enum Kept {
    Eight(Vec<i8>),
    Sixteen(Vec<Bf16>),
}

/// The model of a file.
#[derive(Clone, Copy, Debug)]
pub enum AnySmall<'a> {
    /// Weights of 8 bits.
    Eight(Small<'a, i8>),
    /// Of 16.
    Sixteen(Small<'a, Bf16>),
}

impl SmallFile {
    /// How the file begins, by which it is known.
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }

    /// Rounds a model for so many sweeps to 8 or 16 bits a weight.
    ///
    /// # Errors
    /// [`PassError`]: of the model, or as [`Small::round`]; bits that are neither are none.
    pub fn round(config: Config, sweeps: usize, bits: u32, parameters: &[f32]) -> Result<Self, PassError> {
        config.check()?;
        let header = Header { config, sweeps, bits };
        let mut numbers = vec![0.0; header.numbers()];
        let weights = match bits {
            8 => Kept::Eight(rounded(config, parameters, &mut numbers)?),
            16 => Kept::Sixteen(rounded(config, parameters, &mut numbers)?),
            found => return Err(PassError::Length { what: "bits", expected: 8, found: found as usize }),
        };
        Ok(Self { header, numbers, weights })
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// [`SmallError`] says why it is refused.
    pub fn read(bytes: &[u8]) -> Result<Self, SmallError> {
        let header = Header::read(bytes)?;
        let middle = head::BYTES + 4 * header.numbers();
        let numbers: Vec<f32> =
            (head::BYTES..middle).step_by(4).map(|at| f32::from_bits(word(bytes, at))).collect();
        if !numbers.iter().all(|x| x.is_finite()) {
            return Err(SmallError::Damaged);
        }
        let weights = bytes.get(middle..bytes.len() - 4).unwrap_or_default();
        let weights = match header.bits {
            8 => Kept::Eight(weights.iter().map(|byte| *byte as i8).collect()),
            _ => {
                let pairs = weights.as_chunks().0.iter();
                Kept::Sixteen(pairs.map(|bytes| Bf16(u16::from_le_bytes(*bytes))).collect())
            }
        };
        Ok(Self { header, numbers, weights })
    }

    /// Shape, sweeps and bits.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }
    /// The model.
    #[must_use]
    pub fn model(&self) -> AnySmall<'_> {
        let (config, numbers) = (self.header.config, &self.numbers[..]);
        match &self.weights {
            Kept::Eight(weights) => AnySmall::Eight(Small { config, numbers, weights }),
            Kept::Sixteen(weights) => AnySmall::Sixteen(Small { config, numbers, weights }),
        }
    }
    /// The parameters its weights stand for, in the order of [`Config::tensors`].
    #[must_use]
    pub fn parameters(&self) -> Vec<f32> {
        let mut parameters = vec![0.0; self.header.config.parameters()];
        let widened = match self.model() {
            AnySmall::Eight(model) => model.widen(&mut parameters),
            AnySmall::Sixteen(model) => model.widen(&mut parameters),
        };
        // Of one length: both are of this shape.
        debug_assert_eq!(widened, Ok(()));
        parameters
    }

    /// The bytes of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Header { config, sweeps, bits } = self.header;
        let length = self.header.length();
        let mut bytes = Vec::with_capacity(length);
        let flags = flag(bits == 16, SIXTEEN);
        bytes.extend(head::bytes((MAGIC, VERSION), flags, length, &config, sweeps));
        bytes.extend(self.numbers.iter().flat_map(|number| number.to_le_bytes()));
        match &self.weights {
            Kept::Eight(weights) => bytes.extend(weights.iter().map(|weight| *weight as u8)),
            Kept::Sixteen(weights) => bytes.extend(weights.iter().flat_map(|weight| weight.0.to_le_bytes())),
        }
        let sum = CRC.checksum(&bytes);
        bytes.extend(sum.to_le_bytes());
        bytes
    }

    /// Writes the file `path`, or leaves the one that is there as it is.
    ///
    /// # Errors
    /// Of the file system.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        save(path, (".small-", ".part"), |file| file.write_all(&self.to_bytes()))
    }
}

fn rounded<W: Weight>(config: Config, parameters: &[f32], numbers: &mut [f32]) -> Result<Vec<W>, PassError> {
    let mut weights = vec![W::ZERO; Small::<W>::weights(&config)];
    Small::round(config, parameters, numbers, &mut weights)?;
    Ok(weights)
}
