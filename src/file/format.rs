//! The bytes of a model file, without types.

#![allow(
    clippy::result_large_err,
    clippy::large_enum_variant,
    reason = "an error that names both shapes, without allocation"
)]

use crate::certificate::NUMBERS;
use crate::network::{BF16, MAX_DEPTH, Shape, Text};
use core::fmt;
use crc::{CRC_32_ISO_HDLC, Crc};

/// Numbers of a certificate of integers beside its vector.
pub(crate) const QUANTIZED_NUMBERS: usize = 3;

/// What a model file begins with.
const MAGIC: [u8; 8] = *b"\x89attr\r\n\x1a";
const VERSION: u16 = 1;
/// Where the bytes begin that are checked.
const CHECKED: usize = 12;
/// Where the widths begin.
const WIDTHS: usize = 32;
/// Header, parameters and certificate begin at multiples of it.
const ALIGN: usize = 64;

/// Where flash is small, one byte after the other without a table.
#[cfg(target_os = "none")]
const CRC: Crc<u32, crc::NoTable> = Crc::<u32, crc::NoTable>::new(&CRC_32_ISO_HDLC);
#[cfg(not(target_os = "none"))]
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Why a model file is refused, or cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum FileError {
    /// It is not a model file.
    Magic,
    /// Its format is of a version this crate does not know.
    Version(u16),
    /// It is not what was written: a bit is wrong, or more.
    Damaged {
        /// The CRC-32 it states.
        stated: u32,
        /// That of its bytes.
        found: u32,
    },
    /// It is whole, but says what cannot be; or it would, if it were written.
    Malformed,
    /// It has another length than its header asks for: it was cut. Or the room to write to is too small.
    Length {
        /// Bytes there should be; where it was cut in its header, those of a header at least.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// It holds another network.
    Shape {
        /// The network that was asked for.
        expected: Shape,
        /// The one in the file.
        found: Shape,
    },
    /// It does not lie where scalars can be read: not aligned to one (see [`Align64`](crate::Align64)), or the processor is not
    /// little-endian.
    Place,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("not a model file"),
            Self::Version(version) => write!(f, "a model file of version {version}, this is {VERSION}"),
            Self::Damaged { stated, found } => {
                write!(f, "a damaged model file: its CRC-32 is {found:08x}, not {stated:08x}")
            }
            Self::Malformed => f.write_str("a model file whose header makes no sense"),
            Self::Length { expected, found } => write!(f, "expected {expected} bytes, found {found}"),
            Self::Shape { expected, found } => write!(f, "expected {expected}, found {found}"),
            Self::Place => {
                f.write_str("the bytes are not aligned to a scalar, or not in the processor's order")
            }
        }
    }
}

impl core::error::Error for FileError {}

/// Stops the compilation with the error's text.
const fn refuse(error: &FileError) -> ! {
    let text = Text::EMPTY.and("the model file is refused: ");
    match error {
        FileError::Magic => text.and("it is none").panic(),
        FileError::Version(version) => {
            let text = text.and("its version is ").and_number(*version as usize);
            text.and(", this is ").and_number(VERSION as usize).panic()
        }
        FileError::Damaged { .. } => text.and("it is damaged").panic(),
        FileError::Malformed => text.and("its header makes no sense").panic(),
        FileError::Length { expected, found } => {
            let text = text.and("expected ").and_number(*expected as usize);
            text.and(" bytes, found ").and_number(*found as usize).panic()
        }
        FileError::Shape { expected, found } => {
            found.text(expected.text(text.and("expected ")).and(", found ")).panic()
        }
        FileError::Place => text.and("its place").panic(),
    }
}

/// Stops the compilation because a certificate does not hold.
pub(super) const fn refuse_certificate(what: &str) -> ! {
    Text::EMPTY.and("the certificate of the model file is refused: ").and(what).panic()
}

/// What is in a model file that was found to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    shape: Shape,
    certified: bool,
}

impl Contents {
    /// The shape of the network.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }
    /// Whether there is a certificate.
    #[must_use]
    pub const fn is_certified(&self) -> bool {
        self.certified
    }
    /// The byte at which the parameters begin.
    #[must_use]
    pub const fn params_start(&self) -> usize {
        header(&self.shape)
    }
    /// Bytes of the parameters.
    #[must_use]
    pub const fn params_bytes(&self) -> usize {
        params(&self.shape) as usize
    }
    /// The byte at which the certificate begins, or would.
    #[must_use]
    pub const fn certificate_start(&self) -> usize {
        (self.params_start() + self.params_bytes()).next_multiple_of(ALIGN)
    }
    /// Bytes of the certificate; 0 without one.
    #[must_use]
    pub const fn certificate_bytes(&self) -> usize {
        if self.certified { certificate(&self.shape) as usize * certificate_scalar(&self.shape) } else { 0 }
    }

    /// Bytes of the file.
    const fn length(&self) -> u64 {
        length(&self.shape, self.certified)
    }

    /// Those of a file of this shape.
    pub(crate) const fn expected(shape: &Shape, certified: bool) -> Self {
        Self { shape: *shape, certified }
    }

    /// Those of a file in the program; a wrong one does not compile.
    pub(crate) const fn included(file: &[u8], expected: &Shape) -> Self {
        const {
            assert!(
                cfg!(target_endian = "little"),
                "model files are little-endian, and this processor is not"
            )
        };
        match Self::of(file, expected) {
            Ok(contents) => contents,
            Err(error) => refuse(&error),
        }
    }

    /// Those of a file that should hold this shape.
    pub(crate) const fn of(file: &[u8], expected: &Shape) -> Result<Self, FileError> {
        match read(file) {
            Ok(contents) if !contents.shape.is(expected) => {
                Err(FileError::Shape { expected: *expected, found: contents.shape })
            }
            other => other,
        }
    }
}

/// Bytes of the header.
const fn header(shape: &Shape) -> usize {
    (WIDTHS + 4 * (shape.depth as usize + 1)).next_multiple_of(ALIGN)
}

/// Scalars of a certificate.
const fn certificate(shape: &Shape) -> u64 {
    shape.units() + if shape.is_quantized() { QUANTIZED_NUMBERS } else { NUMBERS } as u64
}

/// Bytes of one of them.
const fn certificate_scalar(shape: &Shape) -> usize {
    if shape.is_quantized() { 4 } else { shape.scalar_bytes() }
}

/// Bytes of the parameters; `u64::MAX` if they are more.
const fn params(shape: &Shape) -> u64 {
    let weights = shape.params().saturating_mul(shape.scalar_bytes() as u64);
    if !shape.is_quantized() || weights > u64::MAX / 2 {
        return weights;
    }
    // Of every unit and once more of the first layer's a bias of 32 bits and a scale of 16, what three units of measure are, and the first
    // layer's exponents: those of the others stand among the weights.
    let first = shape.widths[1] as u64;
    let rows = shape.units() + first;
    (weights.next_multiple_of(4) + 4 * (rows + 3) + 2 * rows + first).next_multiple_of(4)
}

/// Bytes of the file of a network of this shape; `u64::MAX` if they are more.
pub(crate) const fn length(shape: &Shape, certified: bool) -> u64 {
    let params = (header(shape) as u64).saturating_add(params(shape));
    if !certified {
        return params;
    }
    match params.checked_next_multiple_of(ALIGN as u64) {
        Some(start) => start.saturating_add(certificate(shape) * certificate_scalar(shape) as u64),
        None => u64::MAX,
    }
}

/// 1 if there are certificates of such networks: what is certified of halved weights is so of the network they are.
const fn may_be_certified(shape: &Shape) -> u8 {
    (shape.scalar != BF16) as u8
}

/// `N` bytes from `start` on, if there are as many.
const fn part<const N: usize>(bytes: &[u8], start: usize) -> Option<&[u8; N]> {
    match bytes.split_at_checked(start) {
        Some((_, rest)) => rest.first_chunk(),
        None => None,
    }
}

/// The number in four bytes.
const fn number(bytes: &[u8], start: usize) -> Option<u32> {
    match part::<4>(bytes, start) {
        Some(bytes) => Some(u32::from_le_bytes(*bytes)),
        None => None,
    }
}

/// Reads the header of a model file and checks all of it. Every change of a single bit is found, and every cut.
///
/// Of a file that was cut it is [`FileError::Length`], as far as its header tells.
///
/// # Errors
/// [`FileError`], other than `Shape` and `Place`.
pub const fn read(file: &[u8]) -> Result<Contents, FileError> {
    let Some(magic) = part::<8>(file, 0) else { return Err(FileError::Magic) };
    if u64::from_le_bytes(*magic) != u64::from_le_bytes(MAGIC) {
        return Err(FileError::Magic);
    }
    if let Some([low, high]) = part::<2>(file, CHECKED) {
        let version = u16::from_le_bytes([*low, *high]);
        if version != VERSION {
            return Err(FileError::Version(version));
        }
    }
    let size = file.len() as u64;
    let (Some(stated), Some((_, checked)), true) =
        (number(file, 8), file.split_at_checked(CHECKED), file.len() >= ALIGN)
    else {
        return Err(FileError::Length { expected: ALIGN as u64, found: size });
    };
    let found = CRC.checksum(checked);
    let header = header_of(file);
    if found != stated {
        // Where the header makes sense and asks for more, that is what is wrong.
        return match header {
            Ok(contents) if contents.length() > size => {
                Err(FileError::Length { expected: contents.length(), found: size })
            }
            Err(error @ FileError::Length { .. }) => Err(error),
            _ => Err(FileError::Damaged { stated, found }),
        };
    }
    let contents = match header {
        Ok(contents) => contents,
        Err(error) => return Err(error),
    };
    let widths_end = WIDTHS + 4 * (contents.shape.depth as usize + 1);
    if !zero(file, widths_end, contents.params_start()) {
        return Err(FileError::Malformed);
    }
    if contents.length() != size {
        return Err(FileError::Length { expected: contents.length(), found: size });
    }
    let after = contents.params_start() + contents.params_bytes();
    if contents.certified && !zero(file, after, contents.certificate_start()) {
        return Err(FileError::Malformed);
    }
    Ok(contents)
}

/// What a header says, if it makes sense: the parameters and scalars that it counts are those of its widths.
const fn header_of(file: &[u8]) -> Result<Contents, FileError> {
    let Some([_, _, scalar, feedback, percent, hidden, output, depth, certified, zeros @ ..]) =
        part::<12>(file, CHECKED)
    else {
        return Err(FileError::Malformed);
    };
    if *depth as usize > MAX_DEPTH {
        return Err(FileError::Malformed);
    }
    let mut shape = Shape {
        widths: [0; MAX_DEPTH + 1],
        depth: *depth,
        scalar: *scalar,
        feedback: *feedback,
        percent: *percent,
        hidden: *hidden,
        output: *output,
        shared: 0,
    };
    let mut l = 0;
    while l <= *depth as usize && l <= MAX_DEPTH {
        match number(file, WIDTHS + 4 * l) {
            Some(width) => shape.widths[l] = width,
            None => {
                return Err(FileError::Length { expected: header(&shape) as u64, found: file.len() as u64 });
            }
        }
        l += 1;
    }
    let [a, b, c] = zeros;
    if !shape.is_one() || *certified > may_be_certified(&shape) || (*a | *b | *c) != 0 {
        return Err(FileError::Malformed);
    }
    let certified = *certified == 1;
    let (Some(params), Some(scalars)) = (number(file, 24), number(file, 28)) else {
        return Err(FileError::Malformed);
    };
    if params as u64 != shape.params() || scalars as u64 != if certified { certificate(&shape) } else { 0 } {
        return Err(FileError::Malformed);
    }
    Ok(Contents { shape, certified })
}

/// Whether all bytes from `start` to `end` are there, and 0.
const fn zero(file: &[u8], start: usize, end: usize) -> bool {
    let Some((_, mut rest)) = file.split_at_checked(start) else { return false };
    let mut at = start;
    while at < end {
        match rest.split_first() {
            Some((0, others)) => rest = others,
            _ => return false,
        }
        at += 1;
    }
    true
}

/// Writes a model file: the shape, parameters as [`Network::params`](crate::Network::params) has them and, if there is one, the certificate as
/// [`Certificate::as_slice`](crate::Certificate::as_slice) has it, both as bytes, which are turned round in every scalar if `swapped`. Returns the
/// length of the file.
///
/// # Errors
/// [`FileError::Malformed`] for what no file can say: layers that share parameters, or a certificate of weights of 16 bits;
/// [`FileError::Length`] if parameters or certificate do not go with the shape or the room is too small. Nothing is then written.
pub fn write(
    shape: &Shape,
    params: &[u8],
    certificate_bytes: Option<&[u8]>,
    file: &mut [u8],
    swapped: bool,
) -> Result<usize, FileError> {
    fits(self::params(shape), params.len())?;
    put(shape, &[(0, params)], certificate_bytes, file, swapped)
}

const fn fits(expected: u64, found: usize) -> Result<(), FileError> {
    if expected == found as u64 { Ok(()) } else { Err(FileError::Length { expected, found: found as u64 }) }
}

/// [`write`], with the parameters in parts, each at its place behind the header, and zeros between them.
pub(crate) fn put(
    shape: &Shape,
    params: &[(usize, &[u8])],
    certificate_bytes: Option<&[u8]>,
    file: &mut [u8],
    swapped: bool,
) -> Result<usize, FileError> {
    let certified = certificate_bytes.is_some();
    if !shape.is_one() || shape.shared != 0 || u8::from(certified) > may_be_certified(shape) {
        return Err(FileError::Malformed);
    }
    let contents = Contents { shape: *shape, certified };
    if let Some(bytes) = certificate_bytes {
        fits(certificate(shape) * certificate_scalar(shape) as u64, bytes.len())?;
    }
    let (expected, found) = (length(shape, certified), file.len() as u64);
    let Some(file) = usize::try_from(expected).ok().and_then(|length| file.get_mut(..length)) else {
        return Err(FileError::Length { expected, found });
    };
    file.fill(0);
    let mut put = |start: usize, bytes: &[u8]| {
        if let Some(to) = file.get_mut(start..start + bytes.len()) {
            to.copy_from_slice(bytes);
        }
    };
    let Shape { depth, scalar, feedback, percent, hidden, output, .. } = *shape;
    put(0, &MAGIC);
    put(CHECKED, &VERSION.to_le_bytes());
    put(14, &[scalar, feedback, percent, hidden, output, depth, u8::from(certified)]);
    put(24, &(shape.params() as u32).to_le_bytes());
    put(28, &(if certified { certificate(shape) as u32 } else { 0 }).to_le_bytes());
    for (l, width) in shape.widths().iter().enumerate() {
        put(WIDTHS + 4 * l, &width.to_le_bytes());
    }
    for (start, bytes) in params {
        put(contents.params_start() + start, bytes);
    }
    if let Some(bytes) = certificate_bytes {
        put(contents.certificate_start(), bytes);
    }
    if swapped {
        let scalars = file.get_mut(contents.params_start()..).unwrap_or_default();
        for scalar in scalars.chunks_exact_mut(shape.scalar_bytes().max(1)) {
            scalar.reverse();
        }
    }
    let crc = CRC.checksum(file.get(CHECKED..).unwrap_or_default());
    if let Some(to) = file.get_mut(8..CHECKED) {
        to.copy_from_slice(&crc.to_le_bytes());
    }
    Ok(file.len())
}
