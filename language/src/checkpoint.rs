//! Checkpoints: a model and, if it is being trained, all that its training goes on from, in one file.
//!
//! A file is written beside and renamed when it is whole and on the disk, so there is never a part of one under its name. It is read whole or
//! refused: its length and a CRC-32 of all of it are checked before anything else is believed. The numbers are little-endian:
//!
//! | bytes | what |
//! |-|-|
//! | 8 | `ATTRLM\r\n` |
//! | 4 | version, 2; of version 1 are files without adapters in which all parameters learn |
//! | 4 | flags: 1 feedback, 2 causal, 4 there is a training, 8 there are adapters, 16 only the last block learns, 32 matrices take the steps of Muon, 64 the text is of labelled lines, 128 passes take rounded matrices, 256 all blocks have the same parameters, 512 places have no embeddings, 1024 a batch has other than 8 shards, 2048 there is a teacher; bits 16 to 31: the window of attention |
//! | 8 | length of the file |
//! | 5 x 8 | vocabulary, context, width, heads, blocks |
//! | 8 | sweeps the model is for |
//! | 4 each | the parameters, in the order of [`Config`] |
//! | 8 + 4 each | of adapters: their rank, their numbers, in the order of the parameters they are beside |
//! | 4 each, twice | of a training: first and second moments of what learns |
//! | 3 x 8 + 8 x 4 | length of the text, sequences of a batch, sweeps; CRC-32 of the text, highest rate, decay, clip, all steps, evaluation steps, steps done, steps since the last point of the curve |
//! | 3 x 8 | shares: warm-up, end, switch |
//! | 8 | shards of a batch, where those are not 8, which flag 1024 tells |
//! | 2 x 4 | of a teacher, which flag 2048 tells: its share (f32), the CRC-32 of its parameters |
//! | 16 + 8 + 8 | state of the random numbers, sequences drawn, loss since the last point |
//! | 8 + 28 each | points of the curve: their number; step and sweeps (4 each), rate (4), bits in training and of held-out text (8 each) |
//! | 4 | CRC-32 (ISO-HDLC) of all bytes before it |

use crate::adapt::{Adapters, Learns};
use crate::files::{part, save};
use crate::head::{self, flag};
use crate::pass::{PassError, expect};
use crate::plot::Point;
use crate::schedule::Schedule;
use crate::text::Random;
use crate::train::{Optimizer, SHARDS};
use crate::{Config, ConfigError};
use attractor::simd::Backend;
use core::fmt;
use crc::{CRC_32_ISO_HDLC, Crc, Digest, Table};
use std::borrow::Cow;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"ATTRLM\r\n";

/// The version of files that are written, and the last one that is read.
pub const VERSION: u32 = 2;

/// Flags beside those of the shape.
const TRAINING: u32 = 4;
const ADAPTERS: u32 = 8;
const LAST: u32 = 16;
const MUON: u32 = 32;
const LABELS: u32 = 64;
const ROUNDED: u32 = 128;
const SHARDED: u32 = 1024;
const TAUGHT: u32 = 2048;

/// Of a training, apart from moments and the points of the curve.
const FIXED: usize = 3 * 8 + 8 * 4 + 3 * 8 + Random::BYTES + 2 * 8 + 8;
const POINT: usize = 3 * 4 + 2 * 8;

type Sum = Table<16>;
static CRC: Crc<u32, Sum> = Crc::<u32, Sum>::new(&CRC_32_ISO_HDLC);

/// The CRC-32 by which a text is recognised.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}

/// A model, and its training.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint<'a> {
    /// The shape.
    pub config: Config,
    /// How many sweeps the model is for: those it was last trained with.
    pub sweeps: usize,
    /// The parameters, in the order of [`Config`]; where there are adapters, those they are beside.
    pub parameters: Cow<'a, [f32]>,
    /// What learns, or did.
    pub learns: Learns,
    /// The numbers of the adapters; none unless [`Learns::LowRank`].
    pub adapters: Cow<'a, [f32]>,
    /// What training goes on from.
    pub training: Option<Training<'a>>,
}

/// What is fixed before the first step of a training, and with it all steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Learning rate and sweeps of every step.
    pub schedule: Schedule,
    /// Sequences of a batch.
    pub batch: usize,
    /// [`Shards`](crate::train::Shards) of a batch.
    pub shards: usize,
    /// Whose steps are taken.
    pub optimizer: Optimizer,
    /// Weight decay.
    pub decay: f32,
    /// The longest a gradient may be.
    pub clip: f32,
    /// Steps from one point of the curve to the next.
    pub evaluate_every: u32,
    /// Whether passes take matrices rounded to 8 bits.
    pub rounded: bool,
    /// Whom the model learns from, beside the text.
    pub teacher: Option<Teaching>,
    /// Whether the text is of labelled lines.
    pub labels: bool,
    /// How many bytes the text has.
    pub text_bytes: u64,
    /// The [`checksum`] of the text.
    pub text_checksum: u32,
}

/// A teacher; its parameters are in a file of their own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Teaching {
    /// The share of its probabilities in what is predicted.
    pub share: f32,
    /// The [`checksum`] of its parameters, little-endian.
    pub checksum: u32,
}

impl Teaching {
    /// Of a model with these parameters.
    #[must_use]
    pub fn of(parameters: &[f32], share: f32) -> Self {
        let mut digest = CRC.digest();
        for number in parameters {
            digest.update(&number.to_le_bytes());
        }
        Self { share, checksum: digest.finalize() }
    }
}

/// What training goes on from.
#[derive(Clone, Debug, PartialEq)]
pub struct Training<'a> {
    /// What was fixed at its start.
    pub settings: Settings,
    /// First moments of the gradient.
    pub first: Cow<'a, [f32]>,
    /// Second moments.
    pub second: Cow<'a, [f32]>,
    /// How many steps have been taken.
    pub steps: u32,
    /// The state of the random numbers.
    pub random: [u8; Random::BYTES],
    /// The place in the data: how many sequences have been drawn.
    pub sequences: u64,
    /// The sum of the losses since the last point of the curve, in nats.
    pub loss: f64,
    /// How many steps that sum is of.
    pub loss_steps: u32,
    /// The curve up to now.
    pub curve: Cow<'a, [Point]>,
}

/// Why a checkpoint is not read or not written.
#[derive(Debug)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file system refuses.
    Io(io::Error),
    /// It is no checkpoint.
    Foreign,
    /// It is of another version of this crate.
    Version {
        /// Its version.
        found: u32,
    },
    /// It has fewer bytes than were written.
    Truncated {
        /// How many it has.
        found: u64,
        /// How many were written.
        expected: u64,
    },
    /// Some of its bytes are not those that were written.
    Damaged,
    /// There is no model of its shape.
    Config(ConfigError),
    /// It is of another shape.
    Shape {
        /// Its shape.
        found: Config,
        /// The one that is wanted.
        expected: Config,
    },
    /// Another run writes into the folder.
    Busy,
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Foreign => f.write_str("is no checkpoint"),
            Self::Version { found } => {
                write!(f, "is a checkpoint of version {found}, and this program reads version {VERSION}")
            }
            Self::Truncated { found, expected } => {
                write!(f, "is truncated: {found} bytes of {expected}")
            }
            Self::Damaged => f.write_str("is damaged: its checksum is not that of its bytes"),
            Self::Config(error) => write!(f, "has a shape that no model has: {error}"),
            Self::Shape { found, expected } => {
                write!(f, "is of another shape: {found}; asked for: {expected}")
            }
            Self::Busy => f.write_str("another run writes there"),
        }
    }
}

impl core::error::Error for CheckpointError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Config(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for CheckpointError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl CheckpointError {
    /// Whether the file itself is at fault, so that an older one may do.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Foreign | Self::Truncated { .. } | Self::Damaged)
    }
}

impl<'a> Checkpoint<'a> {
    /// A model alone.
    #[must_use]
    pub const fn of(config: Config, sweeps: usize, parameters: Cow<'a, [f32]>) -> Self {
        let adapters = Cow::Borrowed(&[] as &[f32]);
        Self { config, sweeps, parameters, learns: Learns::All, adapters, training: None }
    }

    /// Whether the model has the shape that is wanted.
    ///
    /// # Errors
    /// [`CheckpointError::Shape`] has both.
    pub fn expect(&self, expected: &Config) -> Result<(), CheckpointError> {
        if self.config == *expected {
            return Ok(());
        }
        Err(CheckpointError::Shape { found: self.config, expected: *expected })
    }

    /// The model alone, adapters added to the parameters they are beside.
    ///
    /// # Errors
    /// [`PassError`] if there are more or fewer numbers than the shape has. What was read from a file has as many.
    pub fn merged(self) -> Result<Self, PassError> {
        let Self { config, sweeps, mut parameters, learns, adapters, .. } = self;
        if let Learns::LowRank { rank } = learns {
            expect("numbers of adapters", learns.count(&config), adapters.len())?;
            let mut sums = parameters.to_vec();
            Adapters::new(&config, rank).add(Backend::best(), &parameters, &adapters, &mut sums)?;
            parameters = Cow::Owned(sums);
        }
        Ok(Self::of(config, sweeps, parameters))
    }

    fn length(&self) -> usize {
        let adapters = if self.adapters.is_empty() { 0 } else { 8 + 4 * self.adapters.len() };
        let training = self.training.as_ref().map_or(0, |training| {
            let shards = if training.settings.shards == SHARDS { 0 } else { 8 };
            let teacher = if training.settings.teacher.is_none() { 0 } else { 8 };
            let moments = 4 * (training.first.len() + training.second.len());
            moments + FIXED + shards + teacher + POINT * training.curve.len()
        });
        head::BYTES + 4 * self.parameters.len() + adapters + training + 4
    }

    /// Writes the file.
    ///
    /// # Errors
    /// What `out` says, or [`io::ErrorKind::InvalidInput`] where the numbers are not as many as the shape has.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let Self { config, sweeps, parameters, learns, adapters, training } = self;
        let learnt = learns.count(config);
        let own = if matches!(learns, Learns::LowRank { .. }) { learnt } else { 0 };
        let moments =
            training.iter().flat_map(|training| [(&training.first, learnt), (&training.second, learnt)]);
        if [(parameters, config.parameters()), (adapters, own)]
            .into_iter()
            .chain(moments)
            .any(|(numbers, count)| numbers.len() != count)
        {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not as many numbers as the shape has"));
        }
        let mut out = Writer { out, digest: CRC.digest() };
        let settings = training.as_ref().map(|training| &training.settings);
        let flags = flag(training.is_some(), TRAINING)
            | flag(matches!(learns, Learns::LowRank { .. }), ADAPTERS)
            | flag(*learns == Learns::Last, LAST)
            | flag(settings.is_some_and(|settings| settings.optimizer == Optimizer::Muon), MUON)
            | flag(settings.is_some_and(|settings| settings.labels), LABELS)
            | flag(settings.is_some_and(|settings| settings.rounded), ROUNDED)
            | flag(settings.is_some_and(|settings| settings.shards != SHARDS), SHARDED)
            | flag(settings.is_some_and(|settings| settings.teacher.is_some()), TAUGHT);
        out.put(&head::bytes((MAGIC, VERSION), flags, self.length(), config, *sweeps))?;
        out.floats(parameters)?;
        if let Learns::LowRank { rank } = learns {
            out.put(&(*rank as u64).to_le_bytes())?;
            out.floats(adapters)?;
        }
        if let Some(training) = training {
            out.floats(&training.first)?;
            out.floats(&training.second)?;
            let Settings { schedule, batch, decay, clip, evaluate_every, text_bytes, text_checksum, .. } =
                training.settings;
            for number in [text_bytes, batch as u64, schedule.sweeps as u64] {
                out.put(&number.to_le_bytes())?;
            }
            let bits = [schedule.rate, decay, clip].map(f32::to_bits);
            for number in [text_checksum].into_iter().chain(bits).chain([
                schedule.steps,
                evaluate_every,
                training.steps,
                training.loss_steps,
            ]) {
                out.put(&number.to_le_bytes())?;
            }
            for share in [schedule.warm_up, schedule.end, schedule.switch] {
                out.put(&share.to_le_bytes())?;
            }
            if training.settings.shards != SHARDS {
                out.put(&(training.settings.shards as u64).to_le_bytes())?;
            }
            if let Some(Teaching { share, checksum }) = training.settings.teacher {
                out.put(&share.to_le_bytes())?;
                out.put(&checksum.to_le_bytes())?;
            }
            out.put(&training.random)?;
            out.put(&training.sequences.to_le_bytes())?;
            out.put(&training.loss.to_le_bytes())?;
            out.put(&(training.curve.len() as u64).to_le_bytes())?;
            for point in training.curve.iter() {
                out.put(&point.step.to_le_bytes())?;
                out.put(&point.sweeps.to_le_bytes())?;
                out.put(&point.rate.to_le_bytes())?;
                out.put(&point.training.to_le_bytes())?;
                out.put(&point.held_out.to_le_bytes())?;
            }
        }
        let Writer { mut out, digest } = out;
        out.write_all(&digest.finalize().to_le_bytes())?;
        out.flush()
    }

    /// Writes the file `path`, or leaves the one that is there as it is.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        Ok(save(path, PART, |out| self.write(out))?)
    }
}

impl Checkpoint<'static> {
    /// Reads a file.
    ///
    /// # Errors
    /// [`CheckpointError`]: it cannot be read, or is refused.
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        Self::read(&fs::read(path)?)
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// [`CheckpointError`] says why they are refused.
    pub fn read(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let mut reader = Reader(bytes);
        if bytes.len() < MAGIC.len() && MAGIC.starts_with(bytes) {
            return Err(CheckpointError::Truncated {
                found: bytes.len() as u64,
                expected: head::BYTES as u64,
            });
        }
        if reader.array() != Some(MAGIC) {
            return Err(CheckpointError::Foreign);
        }
        let found = bytes.len() as u64;
        let short = CheckpointError::Truncated { found, expected: head::BYTES as u64 };
        let Some(version) = reader.u32() else { return Err(short) };
        if !(1..=VERSION).contains(&version) {
            return Err(CheckpointError::Version { found: version });
        }
        let (Some(flags), Some(expected)) = (reader.u32(), reader.u64()) else { return Err(short) };
        if found < expected {
            return Err(CheckpointError::Truncated { found, expected });
        }
        let (body, sum) = bytes.split_last_chunk().ok_or(short)?;
        if found != expected || CRC.checksum(body) != u32::from_le_bytes(*sum) {
            return Err(CheckpointError::Damaged);
        }
        let rest = body.get(head::BYTES..).ok_or(CheckpointError::Damaged)?;
        let (config, sweeps) = head::shape(body, flags).ok_or(CheckpointError::Damaged)?;
        config.check().map_err(CheckpointError::Config)?;
        let mut reader = Reader(rest);
        let checkpoint = reader.rest(config, sweeps, flags);
        checkpoint.filter(|_| reader.0.is_empty()).ok_or(CheckpointError::Damaged)
    }
}

struct Writer<W> {
    out: W,
    digest: Digest<'static, u32, Sum>,
}

impl<W: Write> Writer<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.out.write_all(bytes)
    }

    fn floats(&mut self, numbers: &[f32]) -> io::Result<()> {
        let mut bytes = [0; 4096];
        for numbers in numbers.chunks(bytes.len() / 4) {
            let (places, _) = bytes.as_chunks_mut();
            for (place, number) in places.iter_mut().zip(numbers) {
                *place = number.to_le_bytes();
            }
            self.put(&bytes[..4 * numbers.len()])?;
        }
        Ok(())
    }
}

/// What is left of the bytes. Whatever is not there is damage, for length and sum have been checked.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (found, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*found)
    }
    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
    fn size(&mut self) -> Option<usize> {
        self.u64()?.try_into().ok()
    }
    fn f32(&mut self) -> Option<f32> {
        self.array().map(f32::from_le_bytes)
    }
    fn f64(&mut self) -> Option<f64> {
        self.array().map(f64::from_le_bytes)
    }
    fn floats(&mut self, count: usize) -> Option<Cow<'static, [f32]>> {
        let (found, rest) = self.0.split_at_checked(count.checked_mul(4)?)?;
        self.0 = rest;
        Some(found.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    fn rest(&mut self, config: Config, sweeps: usize, flags: u32) -> Option<Checkpoint<'static>> {
        let parameters = self.floats(config.parameters())?;
        let (mut learns, mut adapters) = (Learns::All, Cow::Borrowed(&[][..]));
        let of_training = MUON | LABELS | ROUNDED | SHARDED | TAUGHT;
        if flags & TRAINING == 0 && flags & of_training != 0 {
            return None;
        }
        match flags & !(head::SHAPE | TRAINING | of_training) {
            0 => {}
            LAST => learns = Learns::Last,
            ADAPTERS => {
                learns = Learns::LowRank { rank: self.size()? };
                learns.check(&config).ok()?;
                adapters = self.floats(learns.count(&config))?;
            }
            _ => return None,
        }
        let training = match flags & TRAINING {
            0 => None,
            _ => Some(self.training(learns.count(&config), flags)?),
        };
        Some(Checkpoint { config, sweeps, parameters, learns, adapters, training })
    }

    fn training(&mut self, count: usize, flags: u32) -> Option<Training<'static>> {
        let (first, second) = (self.floats(count)?, self.floats(count)?);
        let (text_bytes, batch, sweeps) = (self.u64()?, self.size()?, self.size()?);
        let text_checksum = self.u32()?;
        let (rate, decay, clip) = (self.f32()?, self.f32()?, self.f32()?);
        let (all, evaluate_every, steps, loss_steps) = (self.u32()?, self.u32()?, self.u32()?, self.u32()?);
        let (warm_up, end, switch) = (self.f64()?, self.f64()?, self.f64()?);
        let shards = if flags & SHARDED == 0 { SHARDS } else { self.size()? };
        let teacher = match flags & TAUGHT {
            0 => None,
            _ => Some(Teaching { share: self.f32()?, checksum: self.u32()? }),
        };
        let schedule = Schedule { rate, warm_up, end, switch, sweeps, steps: all };
        let settings = Settings {
            schedule,
            batch,
            shards,
            optimizer: if flags & MUON == 0 { Optimizer::AdamW } else { Optimizer::Muon },
            decay,
            clip,
            evaluate_every,
            rounded: flags & ROUNDED != 0,
            teacher,
            labels: flags & LABELS != 0,
            text_bytes,
            text_checksum,
        };
        let (random, sequences, loss) = (self.array()?, self.u64()?, self.f64()?);
        let points = self.size()?;
        if points != self.0.len() / POINT {
            return None;
        }
        let curve = (0..points).map(|_| self.point()).collect::<Option<_>>()?;
        Some(Training { settings, first, second, steps, random, sequences, loss, loss_steps, curve })
    }

    fn point(&mut self) -> Option<Point> {
        Some(Point {
            step: self.u32()?,
            sweeps: self.u32()?,
            rate: self.f32()?,
            training: self.f64()?,
            held_out: self.f64()?,
        })
    }
}

/// How the name of a file begins and ends while it is written.
const PART: (&str, &str) = (".checkpoint-", ".part");

/// What a run that was killed may leave: of a checkpoint, and of its curve.
const LEFT: [&str; 2] = [PART.0, ".curve."];

/// How the name of a checkpoint begins and ends; between is the number of steps.
const NAME: (&str, &str) = ("checkpoint-", ".bin");

/// The folder of a run, which keeps the last checkpoints of it. Only one run at a time has it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    keep: usize,
    // Released by the system, whatever ends the run.
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be, sees that files can be written there, and removes what a run that was killed left unfinished. Of the
    /// checkpoints the newest `keep` will stay, at least 1.
    ///
    /// # Errors
    /// [`CheckpointError::Io`] or [`CheckpointError::Busy`].
    pub fn open(path: &Path, keep: usize) -> Result<Self, CheckpointError> {
        fs::create_dir_all(path)?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join(".lock"))?;
        // Some file systems have no locks; there the user has to take care.
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            return Err(CheckpointError::Busy);
        }
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if LEFT.iter().any(|start| between(&name, (start, PART.1)).is_some()) {
                fs::remove_file(entry.path())?;
            }
        }
        part(path, PART)?;
        Ok(Self { path: path.to_owned(), keep: keep.max(1), _lock: lock })
    }

    /// The folder's name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a checkpoint under the number of its steps, removes those that are too many, and returns its name. If it fails all
    /// others stay.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn save(&self, checkpoint: &Checkpoint<'_>) -> Result<PathBuf, CheckpointError> {
        let steps = checkpoint.training.as_ref().map_or(0, |training| training.steps);
        let path = self.path.join(format!("{}{steps:010}{}", NAME.0, NAME.1));
        checkpoint.save(&path)?;
        let all = Self::checkpoints(&self.path)?;
        let many = all.len().saturating_sub(self.keep);
        for old in all[..many].iter().filter(|old| **old != path) {
            // One more than there should be is no reason to end.
            let _ = fs::remove_file(old);
        }
        Ok(path)
    }

    /// The checkpoints in a folder, of few steps to many.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn checkpoints(path: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(path)? {
            let name = entry?.file_name();
            let steps = name.to_str().and_then(|name| between(name, NAME)?.parse::<u32>().ok());
            found.extend(steps.map(|steps| (steps, path.join(&name))));
        }
        found.sort();
        Ok(found.into_iter().map(|(_, path)| path).collect())
    }
}

fn between<'a>(name: &'a str, (start, end): (&str, &str)) -> Option<&'a str> {
    name.strip_prefix(start)?.strip_suffix(end)
}
