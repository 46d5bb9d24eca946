//! A text as bytes, its held-out part, and batches of it.
//!
//! The last tenth is held out: it is never drawn from, and bits a byte are measured on it. Batches are drawn at random places, by numbers
//! whose whole state is 16 bytes ([`Random::state`]), so that a run that is resumed draws what it would have drawn.
//!
//! Of a model of bytes the text itself is what batches are made of. Of one whose tokens are pieces of words it is the tokens
//! ([`Tokens::encode`](crate::tokens::Tokens::encode)) of each part of it ([`Text::between_characters`]).
//!
//! ```
//! use attractor_language::text::{Batches, Random, Task, Text};
//! let text = Text::new(b"a text of some bytes, over and over. ".repeat(20))?;
//! text.check(16)?;
//! let mut batches = Batches::new(2, 16);
//! batches.draw(text.training(), Task::Next, &mut Random::new(1))?;
//! assert_eq!(batches.tokens()[1..16], batches.targets()[..15]);
//! # Ok::<(), attractor_language::text::TextError>(())
//! ```

use crate::labels::{Line, Lines};
use crate::pass::IGNORED;
pub use crate::random::Random;
use core::fmt;
use core::ops::Range;
use std::path::Path;
use std::{fs, io};

/// What stands in the place of a masked byte: 0, which text does not have.
pub const MASK: u32 = 0;

/// The share of bytes whose value is to be found, where bytes are masked.
pub const MASKED: f64 = 0.15;

/// Of those, the share that [`MASK`] takes the place of.
const REPLACED: f64 = 0.8;

/// Of those, the share that any byte takes the place of; the others stay as they are.
const RANDOM: f64 = 0.1;

/// What is wrong with a text.
#[derive(Debug)]
#[non_exhaustive]
pub enum TextError {
    /// It cannot be read.
    Read(io::Error),
    /// It has no bytes.
    Empty,
    /// A part of it is shorter than a context and the token after it.
    TooShort {
        /// Which part.
        part: &'static str,
        /// How many bytes it has, or tokens of another kind.
        bytes: usize,
        /// What they are called.
        name: &'static str,
        /// How many tokens a context has.
        context: usize,
    },
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Empty => f.write_str("the text is empty"),
            Self::TooShort { part, bytes, name, context } => {
                write!(f, "{part} has {bytes} {name}, and a context of {context} needs {}", context + 1)
            }
        }
    }
}

impl core::error::Error for TextError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Read(error) => Some(error),
            _ => None,
        }
    }
}

/// What batches are made of: the bytes of a text, or tokens of any kind.
pub trait Token: Copy + Into<u32> {
    /// What several are called.
    const NAME: &'static str;
}

impl Token for u8 {
    const NAME: &'static str = "bytes";
}

impl Token for u32 {
    const NAME: &'static str = "tokens";
}

/// The bytes of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    bytes: Vec<u8>,
    learnt: usize,
}

impl Text {
    /// A text; the last tenth of its bytes, rounded down, is held out.
    ///
    /// # Errors
    /// [`TextError::Empty`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, TextError> {
        if bytes.is_empty() {
            return Err(TextError::Empty);
        }
        let learnt = bytes.len() - bytes.len() / 10;
        Ok(Self { bytes, learnt })
    }

    /// The text in a file.
    ///
    /// # Errors
    /// [`TextError`]: the file cannot be read, or is empty.
    pub fn read(path: &Path) -> Result<Self, TextError> {
        Self::new(fs::read(path).map_err(TextError::Read)?)
    }

    /// Whether both parts have a context and the byte after it.
    ///
    /// # Errors
    /// [`TextError::TooShort`].
    pub fn check(&self, context: usize) -> Result<(), TextError> {
        check(self.training(), self.held_out(), context)
    }

    /// All bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What is learnt from.
    #[must_use]
    pub fn training(&self) -> &[u8] {
        &self.bytes[..self.learnt]
    }

    /// The last tenth.
    #[must_use]
    pub fn held_out(&self) -> &[u8] {
        &self.bytes[self.learnt..]
    }

    /// What is learnt from and what is held out, for tokens that are pieces of UTF-8: where the last tenth would begin within a
    /// character, it begins after it.
    ///
    /// ```
    /// use attractor_language::text::Text;
    /// let text = Text::new("123456789ä".into())?; // 11 bytes
    /// assert_eq!(text.held_out(), [0xa4]);
    /// assert_eq!(text.between_characters(), ("123456789ä".as_bytes(), &b""[..]));
    /// # Ok::<(), attractor_language::text::TextError>(())
    /// ```
    #[must_use]
    pub fn between_characters(&self) -> (&[u8], &[u8]) {
        // Bytes within a character begin with the bits 10.
        let within = self.held_out().iter().take_while(|byte| *byte >> 6 == 0b10).count();
        self.bytes.split_at(self.learnt + within)
    }
}

/// Whether both parts of a text have a context and the token after it.
///
/// # Errors
/// [`TextError::TooShort`].
pub fn check<T: Token>(training: &[T], held_out: &[T], context: usize) -> Result<(), TextError> {
    long_enough("the text before the held-out tenth", training, context)?;
    long_enough("the held-out tenth", held_out, context)
}

fn long_enough<T: Token>(part: &'static str, tokens: &[T], context: usize) -> Result<(), TextError> {
    if tokens.len() > context {
        return Ok(());
    }
    Err(TextError::TooShort { part, bytes: tokens.len(), name: T::NAME, context })
}

/// What is to be predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// After every token the next one.
    Next,
    /// 15 % of the bytes, which do not show, and only of bytes: of them 80 % are [`MASK`] in the text, 10 % any byte, 10 % themselves (Devlin et al. 2018).
    Masked,
}

/// Room for a batch of sequences of equal length, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batches {
    sequences: usize,
    length: usize,
    overlap: usize,
    tokens: Vec<u32>,
    targets: Vec<u32>,
}

impl Batches {
    /// Room for `sequences` of `length` tokens. All later calls take no memory.
    #[must_use]
    pub fn new(sequences: usize, length: usize) -> Self {
        let count = sequences * length;
        Self { sequences, length, overlap: 0, tokens: vec![0; count], targets: vec![IGNORED; count] }
    }

    /// Windows begin so many tokens before the one before them ends, at most all but one of it: those are seen again, and not predicted again, so that every
    /// token but those of the first window has as many before it. Not of masked tokens.
    #[must_use]
    pub fn overlapping(mut self, tokens: usize) -> Self {
        self.overlap = tokens.min(self.length.saturating_sub(1));
        self
    }

    /// How many sequences there are.
    #[must_use]
    pub fn sequences(&self) -> usize {
        self.sequences
    }

    /// How many tokens a sequence has.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// The tokens, one sequence after another.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// What is to be predicted at each token, or [`IGNORED`].
    #[must_use]
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// The batch, for a learner.
    #[must_use]
    pub fn batch(&self) -> crate::train::Batch<'_> {
        crate::train::Batch {
            sequences: self.sequences,
            length: self.length,
            tokens: &self.tokens,
            targets: &self.targets,
        }
    }

    /// Draws sequences at random places, each place as likely as the others.
    ///
    /// # Errors
    /// [`TextError::TooShort`], and nothing is changed.
    pub fn draw<T: Token>(&mut self, text: &[T], task: Task, random: &mut Random) -> Result<(), TextError> {
        long_enough("the text", text, self.length)?;
        for sequence in 0..self.sequences {
            let start = random.below(text.len() - self.length);
            self.fill(sequence, &text[start..=start + self.length], task, random);
        }
        Ok(())
    }

    /// How many windows a text is cut into, one behind the other unless they [overlap](Self::overlapping). For [`Task::Next`] every token but the first is predicted once, and the
    /// last window may be a part of one; for [`Task::Masked`] what is behind the last whole window is left out.
    #[must_use]
    pub fn windows<T: Token>(&self, text: &[T], task: Task) -> usize {
        match task {
            Task::Next => match text.len().saturating_sub(1) {
                0 => 0,
                predicted => 1 + predicted.saturating_sub(self.length).div_ceil(self.length - self.overlap),
            },
            Task::Masked => text.len() / self.length,
        }
    }

    /// Takes windows `range` of a text, as many as there are sequences or fewer. What is left of the room has targets that are not counted.
    /// Which tokens of a window are masked depends on its number only.
    ///
    /// # Errors
    /// [`TextError::TooShort`], and nothing is changed.
    pub fn take<T: Token>(&mut self, text: &[T], task: Task, range: Range<usize>) -> Result<(), TextError> {
        long_enough("the text", text, self.length)?;
        self.tokens.fill(0);
        self.targets.fill(IGNORED);
        for (sequence, window) in range.take(self.sequences).enumerate() {
            let overlap = if task == Task::Next { self.overlap } else { 0 };
            let start = (window * (self.length - overlap)).min(text.len());
            let end = (start + self.length + 1).min(text.len());
            self.fill(sequence, &text[start..end], task, &mut Random::new(window as u64));
            if window > 0 {
                let first = sequence * self.length;
                self.targets[first..first + overlap].fill(IGNORED);
            }
        }
        Ok(())
    }

    /// Takes labelled lines, as many as there are sequences or fewer. What is left of the room has targets that are not counted.
    pub fn take_lines<'l>(&mut self, all: &Lines, lines: impl IntoIterator<Item = &'l Line>) {
        self.tokens.fill(0);
        self.targets.fill(IGNORED);
        let sequences =
            self.tokens.chunks_exact_mut(self.length).zip(self.targets.chunks_exact_mut(self.length));
        for ((tokens, targets), line) in sequences.zip(lines) {
            all.fill(&line.text, line.label, tokens, targets);
        }
    }

    /// A sequence of the tokens of a window, which has one token more than a sequence, or fewer.
    fn fill<T: Token>(&mut self, sequence: usize, window: &[T], task: Task, random: &mut Random) {
        let place = sequence * self.length..(sequence + 1) * self.length;
        let (tokens, targets) = (&mut self.tokens[place.clone()], &mut self.targets[place]);
        for (token, from) in tokens.iter_mut().zip(window) {
            *token = (*from).into();
        }
        match task {
            Task::Next => {
                for (target, from) in targets.iter_mut().zip(window.iter().skip(1)) {
                    *target = (*from).into();
                }
            }
            Task::Masked => {
                let count = window.len().min(self.length);
                mask(&mut tokens[..count], &mut targets[..count], random);
            }
        }
    }
}

/// Masks tokens; of a sequence at least one, for there is nothing to learn from none.
fn mask(tokens: &mut [u32], targets: &mut [u32], random: &mut Random) {
    targets.fill(IGNORED);
    let mut masked = 0;
    for (token, target) in tokens.iter_mut().zip(&mut *targets) {
        if random.unit() < MASKED {
            hide(token, target, random);
            masked += 1;
        }
    }
    if masked == 0 && !tokens.is_empty() {
        let at = random.below(tokens.len());
        hide(&mut tokens[at], &mut targets[at], random);
    }
}

fn hide(token: &mut u32, target: &mut u32, random: &mut Random) {
    *target = *token;
    let share = random.unit();
    if share < REPLACED {
        *token = MASK;
    } else if share < REPLACED + RANDOM {
        *token = random.below(256) as u32;
    }
}
