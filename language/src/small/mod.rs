//! Models made small: matrices of 8 bits with a scale a row, or of 16 bits; gains, shifts, biases and gates as they were.
//!
//! A file of one is read as a constant where there is no file system. All numbers are little-endian:
//!
//! | bytes | what |
//! |-|-|
//! | 8 | `ATTRSM\r\n` |
//! | 4 | version, 1 |
//! | 4 | flags: 1 feedback, 2 causal, 4 weights of 16 bits, not of 8, 256 tied, 512 no places; bits 16 to 31: the window |
//! | 8 | length of the file |
//! | 5 x 8 | vocabulary, context, width, heads, blocks |
//! | 8 | sweeps the model is for |
//! | 4 each | the numbers: vectors, and in the place of every matrix of 8 bits the scales of its rows, in the order of [`Config::tensors`] |
//! | 1 or 2 each | the weights, in the same order, each matrix packed as [`affine_i8`] or [`affine_bf16`] takes it |
//! | 4 | CRC-32 (ISO-HDLC) of all bytes before it |

#[cfg(feature = "std")]
mod file;

#[cfg(feature = "std")]
pub use file::{AnySmall, SmallFile};

use crate::head::{self, word};
use crate::pass::{PassError, expect};
use crate::weights::{Block, Feedback, Gains, Weights, sealed};
use crate::{Config, ConfigError};
use attractor::kernel::{ShapeError, affine_bf16, affine_i8, place_bf16, place_i8};
use attractor::simd::{Backend, Bf16};
use core::fmt;
use core::ops::Range;
use crc::{CRC_32_ISO_HDLC, Crc, Table};

const MAGIC: [u8; 8] = *b"ATTRSM\r\n";

/// The version of files that are written and read.
pub const VERSION: u32 = 1;

/// A flag beside those of the shape.
const SIXTEEN: u32 = 4;

/// Without a large table: while compiling it would take longer to make than it saves.
static CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// Why a file is not a small model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SmallError {
    /// It does not begin like one.
    Foreign,
    /// It is of a version that is not known.
    Version {
        /// Which.
        found: u32,
    },
    /// It is not as long as it should be.
    Length {
        /// How many bytes there are.
        found: u64,
        /// How many there should be.
        expected: u64,
    },
    /// It is damaged.
    Damaged,
    /// There is no such model.
    Config(ConfigError),
    /// Weights are of another size.
    Bits {
        /// How many bits.
        found: u32,
        /// How many were expected.
        expected: u32,
    },
    /// There are more numbers or weights, or fewer, than were made room for.
    Room {
        /// What.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there is room for.
        expected: usize,
    },
}

impl fmt::Display for SmallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("not a small model"),
            Self::Version { found } => {
                write!(f, "a small model of version {found}; this program reads version {VERSION}")
            }
            Self::Length { found, expected } => {
                write!(f, "the file is {found} bytes long and should be {expected}")
            }
            Self::Damaged => f.write_str("damaged: its checksum is another one"),
            Self::Config(error) => error.fmt(f),
            Self::Bits { found, expected } => {
                write!(f, "weights of {found} bits; expected {expected}")
            }
            Self::Room { what, found, expected } => {
                write!(f, "{what}: {found}; there is room for {expected}")
            }
        }
    }
}

impl core::error::Error for SmallError {}

/// What weights are in: `i8` or [`Bf16`]. Sealed.
pub trait Weight: Copy + sealed::Sealed {
    /// Whether each row has a scale.
    const SCALED: bool;
    /// Zero.
    const ZERO: Self;

    /// `out = base + W x`.
    ///
    /// # Errors
    /// [`ShapeError`] if shapes do not fit.
    fn affine(
        backend: Backend,
        base: Option<&[f32]>,
        matrix: SmallMatrix<'_, Self>,
        x: &[f32],
        out: &mut [f32],
    ) -> Result<(), ShapeError>;
    /// Rounds a matrix, which is given by rows and columns.
    #[doc(hidden)]
    fn round(shape: [usize; 2], from: impl Fn(usize, usize) -> f32, weights: &mut [Self], scales: &mut [f32]);
    /// The number that a weight stands for.
    #[doc(hidden)]
    fn number(matrix: SmallMatrix<'_, Self>, shape: [usize; 2], row: usize, column: usize) -> f32;
}

/// A matrix: packed weights, and a scale a row if they are of 8 bits.
#[derive(Clone, Copy, Debug)]
pub struct SmallMatrix<'a, W> {
    weights: &'a [W],
    scales: &'a [f32],
}

impl sealed::Sealed for i8 {}

impl Weight for i8 {
    const SCALED: bool = true;
    const ZERO: Self = 0;

    fn affine(
        backend: Backend,
        base: Option<&[f32]>,
        matrix: SmallMatrix<'_, Self>,
        x: &[f32],
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        affine_i8(backend, base, matrix.weights, matrix.scales, x, out)
    }

    fn round(
        [rows, columns]: [usize; 2],
        from: impl Fn(usize, usize) -> f32,
        weights: &mut [Self],
        scales: &mut [f32],
    ) {
        for (row, scale) in scales.iter_mut().enumerate() {
            let step = step((0..columns).map(|column| from(row, column)));
            *scale = step;
            for column in 0..columns {
                if let Some(to) = weights.get_mut(place_i8(rows, columns, row, column)) {
                    *to = nearest(from(row, column), step);
                }
            }
        }
    }

    fn number(matrix: SmallMatrix<'_, Self>, [rows, columns]: [usize; 2], row: usize, column: usize) -> f32 {
        let weight = matrix.weights.get(place_i8(rows, columns, row, column)).copied().unwrap_or_default();
        matrix.scales.get(row).copied().unwrap_or_default() * f32::from(weight)
    }
}

/// The step by which a row is rounded to 8 bits: its largest is 127 of it.
fn step(row: impl Iterator<Item = f32>) -> f32 {
    row.fold(0.0, |largest: f32, w| largest.max(w.abs())) / 127.0
}

/// How many steps a weight is.
fn nearest(weight: f32, step: f32) -> i8 {
    if step > 0.0 { libm::rintf(weight / step) as i8 } else { 0 }
}

impl sealed::Sealed for Bf16 {}

impl Weight for Bf16 {
    const SCALED: bool = false;
    const ZERO: Self = Self(0);

    fn affine(
        backend: Backend,
        base: Option<&[f32]>,
        matrix: SmallMatrix<'_, Self>,
        x: &[f32],
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        affine_bf16(backend, base, matrix.weights, x, out)
    }

    fn round(
        [rows, columns]: [usize; 2],
        from: impl Fn(usize, usize) -> f32,
        weights: &mut [Self],
        _: &mut [f32],
    ) {
        for row in 0..rows {
            for column in (0..columns).step_by(2) {
                let places = [column, column + 1].map(|column| place_bf16(rows, columns, row, column));
                let pair = match column + 1 < columns {
                    true => Self::pair(from(row, column), from(row, column + 1)),
                    false => [Self::nearest(from(row, column)), Self::ZERO],
                };
                for (place, weight) in places.into_iter().zip(pair).take(columns - column) {
                    if let Some(to) = weights.get_mut(place) {
                        *to = weight;
                    }
                }
            }
        }
    }

    fn number(matrix: SmallMatrix<'_, Self>, [rows, columns]: [usize; 2], row: usize, column: usize) -> f32 {
        let at = |column| {
            let place = place_bf16(rows, columns, row, column);
            matrix.weights.get(place).copied().unwrap_or_default()
        };
        let first = column - column % 2;
        if first + 1 < columns {
            let [a, b] = Self::values([at(first), at(first + 1)]);
            if column == first { a } else { b }
        } else {
            at(column).value()
        }
    }
}

/// A model whose matrices are rounded: the shape, and its numbers and weights wherever they are.
///
/// ```
/// use attractor_language::{Config, generate::Generator, small::Small};
/// use attractor::simd::Backend;
///
/// const CONFIG: Config = Config { vocabulary: 5, ..Config::new(8, 2, 2, 4) };
/// let parameters: Vec<f32> = (0..CONFIG.parameters()).map(|i| ((i * 7) % 11) as f32 / 40.0).collect();
/// let mut numbers = [0.0; Small::<i8>::numbers(&CONFIG)];
/// let mut weights = [0_i8; Small::<i8>::weights(&CONFIG)];
/// let model = Small::round(CONFIG, &parameters, &mut numbers, &mut weights)?;
/// let mut room = [0.0; Generator::room(&CONFIG, 2, 1)];
/// let mut generator = Generator::new(Backend::best(), model, 2, 1, &mut room)?;
/// assert_eq!(generator.read(&[0, 4])?.len(), 5);
/// # Ok::<(), attractor_language::pass::PassError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Small<'a, W> {
    config: Config,
    numbers: &'a [f32],
    weights: &'a [W],
}

/// A tensor, and how it lies among all parameters.
enum Tensor {
    Vector(Range<usize>),
    /// Rows and columns, whether the columns of a row are neighbours.
    Matrix {
        place: Range<usize>,
        shape: [usize; 2],
        by_rows: bool,
    },
}

impl Tensor {
    fn all(config: &Config, mut visit: impl FnMut(Self)) {
        let tables = config.wpe().end;
        config.tensors(|_, shape, place| {
            visit(match *shape {
                [first, second] => {
                    let by_rows = place.end <= tables;
                    let shape = if by_rows { [first, second] } else { [second, first] };
                    Self::Matrix { place, shape, by_rows }
                }
                _ => Self::Vector(place),
            });
        });
    }
}

/// Where in a matrix, stored by rows or by columns, an entry is.
const fn entry(by_rows: bool, [rows, columns]: [usize; 2], row: usize, column: usize) -> usize {
    if by_rows { row * columns + column } else { column * rows + row }
}

/// Takes the first of what is left.
fn take<'a, T>(rest: &mut &'a [T], count: usize) -> &'a [T] {
    let (some, others) = rest.split_at_checked(count).unwrap_or_default();
    *rest = others;
    some
}
fn take_mut<'a, T>(rest: &mut &'a mut [T], count: usize) -> &'a mut [T] {
    let (some, others) = core::mem::take(rest).split_at_mut_checked(count).unwrap_or_default();
    *rest = others;
    some
}

/// Numbers of a block and of its feedback, a feature: of vectors, and of the rows of matrices if those have scales.
const fn each(scaled: bool) -> [usize; 2] {
    if scaled { [13 + 9, 3 + 1] } else { [13, 3] }
}

const fn numbers(config: &Config, scaled: bool) -> usize {
    let [block, feedback] = each(scaled);
    let tables = if scaled { config.vocabulary + config.placed() } else { 0 };
    tables + (config.own_blocks() * block + 2 + config.own_feedback() * feedback) * config.width
}

const fn weights(config: &Config) -> usize {
    config.parameters() - numbers(config, false)
}

impl<'a, W: Weight> Small<'a, W> {
    /// How many numbers a model has.
    #[must_use]
    pub const fn numbers(config: &Config) -> usize {
        numbers(config, W::SCALED)
    }
    /// How many weights.
    #[must_use]
    pub const fn weights(config: &Config) -> usize {
        weights(config)
    }

    /// A model of this shape.
    ///
    /// # Errors
    /// [`PassError`] if there is no such shape, or it has other numbers of numbers or weights.
    pub fn new(config: Config, numbers: &'a [f32], weights: &'a [W]) -> Result<Self, PassError> {
        Self::check(&config, [numbers.len(), weights.len()])?;
        Ok(Self { config, numbers, weights })
    }

    fn check(config: &Config, found: [usize; 2]) -> Result<(), PassError> {
        config.check()?;
        expect("numbers", Self::numbers(config), found[0])?;
        expect("weights", Self::weights(config), found[1])
    }

    /// Rounds a model.
    ///
    /// # Errors
    /// [`PassError`] if there is no such shape, something has another length, or a parameter is infinite or a NaN.
    pub fn round(
        config: Config,
        parameters: &[f32],
        numbers: &'a mut [f32],
        weights: &'a mut [W],
    ) -> Result<Self, PassError> {
        Self::check(&config, [numbers.len(), weights.len()])?;
        expect("parameters", config.parameters(), parameters.len())?;
        if !parameters.iter().all(|x| x.is_finite()) {
            return Err(PassError::NotFinite);
        }
        let (mut rest, mut packed) = (&mut *numbers, &mut *weights);
        Tensor::all(&config, |tensor| match tensor {
            Tensor::Vector(place) => {
                let from = parameters.get(place).unwrap_or_default();
                take_mut(&mut rest, from.len()).copy_from_slice(from);
            }
            Tensor::Matrix { place, shape, by_rows } => {
                let from = parameters.get(place).unwrap_or_default();
                let at =
                    |row, column| from.get(entry(by_rows, shape, row, column)).copied().unwrap_or_default();
                let scales = take_mut(&mut rest, if W::SCALED { shape[0] } else { 0 });
                W::round(shape, at, take_mut(&mut packed, from.len()), scales);
            }
        });
        Self::new(config, numbers, weights)
    }

    /// The model with parameters of 32 bits, in the order of [`Config::tensors`].
    ///
    /// # Errors
    /// [`PassError`] if there is room for another number of them.
    pub fn widen(&self, parameters: &mut [f32]) -> Result<(), PassError> {
        expect("parameters", self.config.parameters(), parameters.len())?;
        let (mut numbers, mut weights) = (self.numbers, self.weights);
        Tensor::all(&self.config, |tensor| match tensor {
            Tensor::Vector(place) => {
                let to = parameters.get_mut(place).unwrap_or_default();
                to.copy_from_slice(take(&mut numbers, to.len()));
            }
            Tensor::Matrix { place, shape, by_rows } => {
                let to = parameters.get_mut(place).unwrap_or_default();
                let matrix = Self::matrix(&mut numbers, &mut weights, shape);
                for row in 0..shape[0] {
                    for column in 0..shape[1] {
                        if let Some(to) = to.get_mut(entry(by_rows, shape, row, column)) {
                            *to = W::number(matrix, shape, row, column);
                        }
                    }
                }
            }
        });
        Ok(())
    }

    /// The numbers: vectors and scales.
    #[must_use]
    pub const fn as_numbers(&self) -> &'a [f32] {
        self.numbers
    }
    /// The weights.
    #[must_use]
    pub const fn as_weights(&self) -> &'a [W] {
        self.weights
    }

    /// The next matrix.
    fn matrix(
        numbers: &mut &'a [f32],
        weights: &mut &'a [W],
        [rows, columns]: [usize; 2],
    ) -> SmallMatrix<'a, W> {
        let scales = take(numbers, if W::SCALED { rows } else { 0 });
        SmallMatrix { weights: take(weights, rows * columns), scales }
    }

    /// What is left from a block on, that behind the last one being the last normalisation.
    fn behind_blocks(&self, block: usize) -> (&'a [f32], &'a [W]) {
        let Config { vocabulary, width, .. } = self.config;
        let rows = vocabulary + self.config.placed();
        let numbers = if W::SCALED { rows } else { 0 } + block * each(W::SCALED)[0] * width;
        let weights = (rows + block * 12 * width) * width;
        (self.numbers.get(numbers..).unwrap_or_default(), self.weights.get(weights..).unwrap_or_default())
    }
}

/// A matrix and the bias behind it.
fn with_bias<'a, W: Weight>(
    numbers: &mut &'a [f32],
    weights: &mut &'a [W],
    shape: [usize; 2],
) -> (SmallMatrix<'a, W>, &'a [f32]) {
    let matrix = Small::matrix(numbers, weights, shape);
    (matrix, take(numbers, shape[0]))
}

impl<W: Weight> sealed::Sealed for Small<'_, W> {}

impl<'a, W: Weight> Weights for Small<'a, W> {
    type Matrix = SmallMatrix<'a, W>;
    const TOGETHER: bool = false;

    fn config(&self) -> &Config {
        &self.config
    }
    fn embed<'t>(&self, token: usize, place: usize, to: impl Iterator<Item = &'t mut f32>) {
        let Config { vocabulary, width, .. } = self.config;
        let context = self.config.placed();
        let (mut numbers, mut weights) = (self.numbers, self.weights);
        let words = Self::matrix(&mut numbers, &mut weights, [vocabulary, width]);
        let places = Self::matrix(&mut numbers, &mut weights, [context, width]);
        for (feature, to) in to.enumerate().take(width) {
            *to = W::number(words, [vocabulary, width], token, feature);
            if self.config.places {
                *to += W::number(places, [context, width], place, feature);
            }
        }
    }
    fn block(&self, block: usize) -> Block<'_, SmallMatrix<'a, W>> {
        let width = self.config.width;
        let (mut numbers, mut weights) = self.behind_blocks(self.config.own(block));
        let (numbers, weights) = (&mut numbers, &mut weights);
        Block {
            ln_1: [take(numbers, width), take(numbers, width)],
            attn_c_attn: with_bias(numbers, weights, [3 * width, width]),
            attn_c_proj: with_bias(numbers, weights, [width, width]),
            ln_2: [take(numbers, width), take(numbers, width)],
            mlp_c_fc: with_bias(numbers, weights, [4 * width, width]),
            mlp_c_proj: with_bias(numbers, weights, [width, 4 * width]),
        }
    }
    fn feedback(&self, block: usize) -> Option<Feedback<'_, SmallMatrix<'a, W>>> {
        let width = self.config.width;
        self.config.feedback_of(block)?;
        let block = self.config.own(block);
        let (mut numbers, mut weights) = self.behind_blocks(self.config.own_blocks());
        take(&mut numbers, (2 + block * each(W::SCALED)[1]) * width);
        take(&mut weights, block * width * width);
        Some(Feedback {
            ln: [take(&mut numbers, width), take(&mut numbers, width)],
            weight: Self::matrix(&mut numbers, &mut weights, [width, width]),
            gate: take(&mut numbers, width),
        })
    }
    fn last(&self) -> Gains<'_> {
        let width = self.config.width;
        let (mut numbers, _) = self.behind_blocks(self.config.own_blocks());
        [take(&mut numbers, width), take(&mut numbers, width)]
    }
    fn product(
        backend: Backend,
        base: Option<&[f32]>,
        matrix: SmallMatrix<'a, W>,
        _: usize,
        from: &[f32],
        to: &mut [f32],
    ) -> Result<(), ShapeError> {
        W::affine(backend, base, matrix, from, to)
    }
    fn logits(&self, backend: Backend, from: &[f32], to: &mut [f32]) -> Result<(), ShapeError> {
        let Config { vocabulary, width, .. } = self.config;
        let words = Self::matrix(&mut { self.numbers }, &mut { self.weights }, [vocabulary, width]);
        W::affine(backend, None, words, from, to)
    }
}

/// What a file says of its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The shape.
    pub config: Config,
    /// How many sweeps the model is for.
    pub sweeps: usize,
    /// Bits of a weight: 8 or 16.
    pub bits: u32,
}

impl Header {
    /// Reads the head of a file; all of it is checked, its checksum too.
    ///
    /// # Errors
    /// [`SmallError`] says why it is refused.
    pub const fn read(bytes: &[u8]) -> Result<Self, SmallError> {
        let mut i = 0;
        while i < MAGIC.len() {
            if i >= bytes.len() || bytes[i] != MAGIC[i] {
                return Err(SmallError::Foreign);
            }
            i += 1;
        }
        let found = bytes.len() as u64;
        if bytes.len() < head::BYTES + 4 {
            return Err(SmallError::Length { found, expected: (head::BYTES + 4) as u64 });
        }
        let version = word(bytes, 8);
        if version != VERSION {
            return Err(SmallError::Version { found: version });
        }
        let (flags, expected) = (word(bytes, 12), head::long(bytes, 16));
        if found != expected {
            return Err(SmallError::Length { found, expected });
        }
        let (body, sum) = bytes.split_at(bytes.len() - 4);
        if CRC.checksum(body) != word(sum, 0) || flags & !(head::SHAPE | SIXTEEN) != 0 {
            return Err(SmallError::Damaged);
        }
        let Some((config, sweeps @ 1..)) = head::shape(bytes, flags) else {
            return Err(SmallError::Damaged);
        };
        if let Err(error) = config.check() {
            return Err(SmallError::Config(error));
        }
        let bits = if flags & SIXTEEN == 0 { 8 } else { 16 };
        let header = Self { config, sweeps, bits };
        if header.length() as u64 != expected { Err(SmallError::Damaged) } else { Ok(header) }
    }

    /// How many numbers there are: vectors and scales.
    #[must_use]
    pub const fn numbers(&self) -> usize {
        numbers(&self.config, self.bits == 8)
    }
    /// How many weights.
    #[must_use]
    pub const fn weights(&self) -> usize {
        weights(&self.config)
    }
    /// Bytes of the file.
    #[must_use]
    pub const fn length(&self) -> usize {
        head::BYTES + 4 * self.numbers() + self.weights() * (self.bits as usize / 8) + 4
    }

    const fn holds(&self, bits: u32, counts: [usize; 2]) -> Result<(), SmallError> {
        if self.bits != bits {
            return Err(SmallError::Bits { found: self.bits, expected: bits });
        }
        let (found, expected) = (self.numbers(), counts[0]);
        if found != expected {
            return Err(SmallError::Room { what: "numbers", found, expected });
        }
        let (found, expected) = (self.weights(), counts[1]);
        if found != expected {
            return Err(SmallError::Room { what: "weights", found, expected });
        }
        Ok(())
    }
}

/// The contents of a file, as a constant can hold them: so many numbers, so many weights.
///
/// ```
/// use attractor_language::{Config, small::{Header, Small, Stored}};
/// # const FILE: &[u8] = include_bytes!("../../tests/data/tiny.small");
/// // const FILE: &[u8] = include_bytes!("model.small");
/// const HEADER: Header = match Header::read(FILE) {
///     Ok(header) => header,
///     Err(_) => panic!("damaged"), // while compiling
/// };
/// static STORED: Stored<i8, { HEADER.numbers() }, { HEADER.weights() }> = match Stored::<i8, _, _>::read(FILE) {
///     Ok(stored) => stored,
///     Err(_) => panic!("weights of another size"),
/// };
/// let model: Small<'static, i8> = STORED.model();
/// assert_eq!(STORED.header().config, Config { vocabulary: 7, ..Config::new(8, 2, 2, 4) });
/// ```
#[derive(Clone, Debug)]
pub struct Stored<W, const NUMBERS: usize, const WEIGHTS: usize> {
    header: Header,
    numbers: [f32; NUMBERS],
    weights: [W; WEIGHTS],
}

impl<W: Weight, const NUMBERS: usize, const WEIGHTS: usize> Stored<W, NUMBERS, WEIGHTS> {
    /// What the file says of the model.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }
    /// The model.
    #[must_use]
    pub const fn model(&self) -> Small<'_, W> {
        Small { config: self.header.config, numbers: &self.numbers, weights: &self.weights }
    }
}

macro_rules! stored {
    ($weight:ty, $bits:literal, $zero:expr, $bytes:ident, $at:ident => $read:expr) => {
        impl<const NUMBERS: usize, const WEIGHTS: usize> Stored<$weight, NUMBERS, WEIGHTS> {
            /// Reads a file.
            ///
            /// # Errors
            /// [`SmallError`] says why it is refused.
            pub const fn read($bytes: &[u8]) -> Result<Self, SmallError> {
                let header = match Header::read($bytes) {
                    Ok(header) => header,
                    Err(error) => return Err(error),
                };
                if let Err(error) = header.holds($bits, [NUMBERS, WEIGHTS]) {
                    return Err(error);
                }
                let mut numbers = [0.0; NUMBERS];
                let mut i = 0;
                while i < NUMBERS {
                    numbers[i] = f32::from_bits(word($bytes, head::BYTES + 4 * i));
                    if !numbers[i].is_finite() {
                        return Err(SmallError::Damaged);
                    }
                    i += 1;
                }
                let mut weights = [$zero; WEIGHTS];
                let mut i = 0;
                while i < WEIGHTS {
                    let $at = head::BYTES + 4 * NUMBERS + i * ($bits / 8);
                    weights[i] = $read;
                    i += 1;
                }
                Ok(Self { header, numbers, weights })
            }
        }
    };
}
stored!(i8, 8, 0, bytes, at => bytes[at] as i8);
stored!(Bf16, 16, Bf16(0), bytes, at => Bf16(u16::from_le_bytes([bytes[at], bytes[at + 1]])));
