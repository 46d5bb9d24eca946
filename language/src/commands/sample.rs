//! Text as a model goes on.

use super::tokens::tokens;
use super::{Opened, Outcome, about, open};
use crate::cli::Sample;
use attractor::simd::Backend;
use attractor_language::draw::{Choice, Draw};
use attractor_language::generate::{Continued, Generator};
use attractor_language::limits::load_seconds;
use attractor_language::memory::Numbers;
use attractor_language::pass::Model;
use attractor_language::small::AnySmall;
use attractor_language::text::Random;
use attractor_language::weights::Weights;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Tokens of a prompt, and of what is read again, that weights are loaded for at once.
const TOGETHER: usize = 64;

pub(crate) fn sample(arguments: &Sample) -> Outcome {
    match open(&arguments.checkpoint)? {
        Opened::Whole(found) => {
            let mut parameters = Numbers::new(found.parameters.len());
            parameters.copy_from_slice(&found.parameters);
            let model = Model::new(found.config, &parameters).map_err(|error| error.to_string())?;
            write(arguments, model, found.sweeps, 32)
        }
        Opened::Small(found) => {
            let sweeps = found.header().sweeps;
            match found.model() {
                AnySmall::Eight(model) => write(arguments, model, sweeps, 8),
                AnySmall::Sixteen(model) => write(arguments, model, sweeps, 16),
            }
        }
    }
}

/// Of a model whose weights have so many bits.
fn write<W: Weights>(arguments: &Sample, weights: W, sweeps: usize, bits: usize) -> Outcome {
    let config = *weights.config();
    let tokens = tokens(&arguments.checkpoint, arguments.pieces.tokenizer.as_ref(), &config)?;
    if !config.causal {
        let error = "the model sees both ways, and only one that is causal can go on with a text";
        return Err(about(&arguments.checkpoint, error).into());
    }
    let sweeps = arguments.sweeps.unwrap_or(sweeps);
    let prompt = arguments.prompt.as_deref().filter(|prompt| !prompt.is_empty());
    let begin = prompt.unwrap_or("\n").as_bytes();
    let text = tokens.encode(begin).map_err(|error| error.to_string())?;
    if text.is_empty() {
        return Err("there are no tokens for the prompt".to_owned().into());
    }
    // Vocabularies may be larger than what is in use of them.
    let silent: Vec<usize> =
        (0..config.vocabulary).filter(|token| tokens.decode(&[*token as u32]).is_err()).collect();
    let mut likely = vec![0.0; config.vocabulary];

    let together = TOGETHER.min(config.context);
    let mut room = Numbers::new(Generator::room(&config, sweeps, together));
    let generator = Generator::new(Backend::best(), weights, sweeps, together, &mut room)
        .map_err(|error| error.to_string())?;
    let Sample { temperature, top_k, top_p, .. } = *arguments;
    let mut newest = vec![0; config.context];
    let mut text = Continued::new(generator, &text, &mut newest).map_err(|error| error.to_string())?;
    let mut choices = vec![Choice::EMPTY; config.vocabulary];
    let mut draw = Draw::new(temperature, top_k, top_p, &mut choices);
    let mut random = Random::new(arguments.seed);
    let mut output = Output::new();
    if let Some(prompt) = prompt
        && !output.write(prompt.as_bytes())?
    {
        return Ok(());
    }
    let (mut spent, mut timed) = (Duration::ZERO, 0_u32);
    for added in 0..arguments.length {
        let started = Instant::now();
        likely.copy_from_slice(text.logits().map_err(|error| error.to_string())?);
        // Never drawn.
        silent.iter().for_each(|token| likely[*token] = f32::NEG_INFINITY);
        let token = draw.token(&likely, random.unit());
        // The first token waits for the prompt.
        if added > 0 {
            spent += started.elapsed();
            timed += 1;
        }
        let token = token.ok_or_else(|| "the model's logits are not finite".to_owned())?;
        text.push(token);
        let bytes = tokens.decode(&[token]).map_err(|error| error.to_string())?;
        if !output.write(&bytes)? {
            return Ok(());
        }
    }
    output.end()?;
    if timed > 0 {
        let each = spent.as_secs_f64() * 1e6 / f64::from(timed);
        eprintln!("microseconds per token: {each:.1}");
        // Of a token every weight is loaded, those of blocks once a sweep.
        let seconds = |count: usize| load_seconds(&vec![1.0; (count * bits).div_ceil(32)]);
        let blocks = seconds(config.parameters() - config.wpe().end);
        let words = seconds(config.wte().len());
        let sweeps = if config.feedback { sweeps } else { 1 };
        let least = 1e6 * (blocks * sweeps as f64 + words);
        eprintln!("share of loading the weights: {:.2}", least / each);
    }
    Ok(())
}

/// Standard output, token by token: one may end within a character.
struct Output {
    stdout: io::StdoutLock<'static>,
    terminal: bool,
}

impl Output {
    fn new() -> Self {
        let stdout = io::stdout().lock();
        Self { terminal: stdout.is_terminal(), stdout }
    }

    /// Whether anybody still reads.
    fn write(&mut self, bytes: &[u8]) -> Result<bool, String> {
        let written = bytes.iter().try_for_each(|byte| match byte {
            // What steers a terminal is not for a text to do.
            byte if self.terminal && byte.is_ascii_control() && !b"\n\t".contains(byte) => {
                write!(self.stdout, "{}", byte.escape_ascii())
            }
            byte => self.stdout.write_all(&[*byte]),
        });
        match written.and_then(|()| self.stdout.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(format!("standard output: {error}")),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        if self.terminal {
            self.write(b"\n")?;
        }
        Ok(())
    }
}
