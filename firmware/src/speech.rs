//! A language model in flash, its memory, and how it writes.

use crate::{Failure, Place};
use attractor::simd::Backend;
use attractor_language::Config;
use attractor_language::draw::{Choice, of_all};
use attractor_language::generate::{Continued, Generator};
use attractor_language::pass::PassError;
use attractor_language::small::{Header, Small, Stored};

/// Written by `attractor-lm shrink`.
const FILE: &[u8] = include_bytes!("../data/speak.small");
/// What the file says of its model.
pub const HEADER: Header = match Header::read(FILE) {
    Ok(header) => header,
    Err(_) => panic!("firmware/data/speak.small is damaged"),
};
const CONFIG: Config = HEADER.config;
static MODEL: Stored<i8, { HEADER.numbers() }, { HEADER.weights() }> =
    match Stored::<i8, { HEADER.numbers() }, { HEADER.weights() }>::read(FILE) {
        Ok(stored) => stored,
        Err(_) => panic!("firmware/data/speak.small has weights of another size"),
    };

/// All the memory that writing takes, beside the stack.
pub struct Memory {
    room: [f32; Generator::room(&CONFIG, HEADER.sweeps, 1)],
    tokens: [u32; CONFIG.context],
    choices: [Choice; CONFIG.vocabulary],
}

/// The memory, once.
pub static MEMORY: Place<Memory> = Place::new(Memory {
    room: [0.0; Generator::room(&CONFIG, HEADER.sweeps, 1)],
    tokens: [0; CONFIG.context],
    choices: [Choice::EMPTY; CONFIG.vocabulary],
});

/// How the text begins, and how it is drawn, as `attractor-lm sample firmware/data/speak.small` does with these options.
pub const PROMPT: &str = "And the king ";
pub const TEMPERATURE: f32 = 0.8;
pub const SEED: u64 = 1;

/// A text in the making.
pub struct Speech<'a> {
    text: Continued<'a, Small<'static, i8>>,
    choices: &'a mut [Choice],
}

impl<'a> Speech<'a> {
    /// Reads the prompt.
    ///
    /// # Errors
    /// None, of a model that is whole.
    pub fn new(memory: &'a mut Memory) -> Result<Self, PassError> {
        let mut prompt = [0_u32; PROMPT.len()];
        prompt.iter_mut().zip(PROMPT.bytes()).for_each(|(to, byte)| *to = byte.into());
        let generator = Generator::new(Backend::best(), MODEL.model(), HEADER.sweeps, 1, &mut memory.room)?;
        let text = Continued::new(generator, &prompt, &mut memory.tokens)?;
        Ok(Self { text, choices: &mut memory.choices })
    }

    /// The next byte, drawn by a number from 0 to below 1.
    ///
    /// # Errors
    /// None, of a model that is whole.
    pub fn next(&mut self, unit: f64) -> Result<u8, PassError> {
        let logits = self.text.logits()?;
        let token = of_all(TEMPERATURE, logits, unit, self.choices).unwrap_or(0);
        self.text.push(token);
        Ok(token as u8)
    }
}

impl From<PassError> for Failure {
    fn from(error: PassError) -> Self {
        Self::Language(error)
    }
}
