//! The tokens of a model, and texts as tokens.

use super::about;
use attractor_language::Config;
use attractor_language::labels::{Line, Lines};
use attractor_language::text::{self, Batches, Random, Task, Text, TextError};
use attractor_language::tokens::Tokens;
use core::ops::Range;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Where the pieces of a model lie: in the folder of its checkpoint.
const FILE: &str = "tokenizer.json";

/// How the program is built that knows pieces of words.
const BUILD: &str = "cargo run --release -p attractor-language --features bpe -- ...";

/// The tokens of the model at a path, which is its folder or a file there: bytes, or the pieces in the file that is named or lies there.
pub(crate) fn tokens(path: &Path, named: Option<&PathBuf>, config: &Config) -> Result<Tokens, String> {
    let count = config.vocabulary;
    if count == 256 {
        return match named {
            None => Ok(Tokens::bytes()),
            Some(_) => {
                Err(about(path, "the model's tokens are bytes, and `--tokenizer` is for pieces of words"))
            }
        };
    }
    if !cfg!(feature = "bpe") {
        let error =
            format!("the model has {count} tokens, pieces of words: the feature `bpe` reads them, `{BUILD}`");
        return Err(about(path, error));
    }
    let file = named.cloned().unwrap_or_else(|| folder(path).join(FILE));
    if named.is_none() && !file.exists() {
        let error = format!(
            "the model has {count} tokens, pieces of words, and there is no {}: `--tokenizer FILE` names another",
            file.display()
        );
        return Err(about(path, error));
    }
    Tokens::read(&file, config).map_err(|error| error.to_string())
}

/// The folder that a checkpoint is in, or that it is.
pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        _ if path.is_dir() => path,
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Puts pieces where the commands find them, and returns the name of the file. Those of another model are not written over; bytes need
/// no file.
pub(crate) fn keep(tokens: &Tokens, folder: &Path) -> Result<Option<PathBuf>, String> {
    if tokens.is_bytes() {
        return Ok(None);
    }
    let path = folder.join(FILE);
    match fs::read(&path) {
        Ok(bytes) if bytes == *tokens.file() => {}
        Ok(_) => {
            return Err(about(&path, "has the tokens of another model, which stay: take another folder"));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            tokens.save(folder).map_err(|error| error.to_string())?;
        }
        Err(error) => return Err(about(&path, error)),
    }
    Ok(Some(path))
}

/// Whether a model can be measured on a text, and trained.
pub(crate) fn can_learn(config: &Config, tokens: &Tokens) -> Result<(), String> {
    if config.causal || tokens.is_bytes() {
        return Ok(());
    }
    let count = config.vocabulary;
    Err(format!(
        "the model has {count} tokens, pieces of words, and sees both ways: none of them is a mask, so there is no task"
    ))
}

/// A part of a text, as tokens.
pub(crate) enum Part<'t> {
    Bytes(&'t [u8]),
    Pieces {
        tokens: Vec<u32>,
        /// How many bytes all but the first stand for.
        predicted: usize,
    },
    Lines {
        all: Rc<Lines>,
        own: Vec<Line>,
    },
}

impl<'t> Part<'t> {
    pub(crate) fn new(tokens: &Tokens, text: &'t [u8]) -> Result<Self, String> {
        if tokens.is_bytes() {
            return Ok(Self::Bytes(text));
        }
        let pieces = tokens.encode(text).map_err(|error| error.to_string())?;
        let decode = |pieces: &[u32]| tokens.decode(pieces).map_err(|error| error.to_string());
        let all = decode(&pieces)?;
        // Some tokenizers put a space before a text. More than that would make it a text of fewer bits, or of more.
        if all != text && all.strip_prefix(b" ") != Some(text) {
            let (all, text) = (all.len(), text.len());
            return Err(format!("the tokens of its {text} bytes stand for another text, of {all}"));
        }
        let first = decode(pieces.get(..1).unwrap_or_default())?.len();
        Ok(Self::Pieces { tokens: pieces, predicted: all.len() - first })
    }

    /// What its tokens are called.
    pub(crate) fn names(&self, task: Task) -> Names {
        match (self, task) {
            (Self::Lines { .. }, _) => {
                Names { bits: "bits per token of a label", tokens: "tokens of labels" }
            }
            (Self::Pieces { .. }, _) => Names { bits: "bits per token", tokens: "tokens" },
            (_, Task::Next) => Names { bits: "bits per byte", tokens: "bytes" },
            (_, Task::Masked) => Names { bits: "bits per masked byte", tokens: "bytes" },
        }
    }

    pub(crate) fn windows(&self, batches: &Batches, task: Task) -> usize {
        match self {
            Self::Bytes(bytes) => batches.windows(bytes, task),
            Self::Pieces { tokens, .. } => batches.windows(tokens, task),
            Self::Lines { own, .. } => own.len(),
        }
    }

    pub(crate) fn draw(
        &self,
        batches: &mut Batches,
        task: Task,
        random: &mut Random,
    ) -> Result<(), TextError> {
        match self {
            Self::Bytes(bytes) => batches.draw(bytes, task, random),
            Self::Pieces { tokens, .. } => batches.draw(tokens, task, random),
            Self::Lines { all, own } => {
                let drawn = (0..batches.sequences()).filter_map(|_| own.get(random.below(own.len())));
                let drawn: Vec<&Line> = drawn.collect();
                batches.take_lines(all, drawn);
                Ok(())
            }
        }
    }

    pub(crate) fn take(
        &self,
        batches: &mut Batches,
        task: Task,
        range: Range<usize>,
    ) -> Result<(), TextError> {
        match self {
            Self::Bytes(bytes) => batches.take(bytes, task, range),
            Self::Pieces { tokens, .. } => batches.take(tokens, task, range),
            Self::Lines { all, own } => {
                batches.take_lines(all, own.get(range).unwrap_or_default());
                Ok(())
            }
        }
    }
}

/// What tokens are called where results are printed.
#[derive(Clone, Copy)]
pub(crate) struct Names {
    pub(crate) bits: &'static str,
    pub(crate) tokens: &'static str,
}

/// A text, and both parts of it as tokens.
pub(crate) struct Parts<'t> {
    pub(crate) text: &'t Text,
    pub(crate) training: Part<'t>,
    pub(crate) held_out: Part<'t>,
}

impl<'t> Parts<'t> {
    /// Labelled lines.
    pub(crate) fn of_lines(tokens: &Tokens, text: &'t Text, context: usize) -> Result<Self, String> {
        let all = Rc::new(Lines::new(tokens, text.bytes(), context).map_err(|error| error.to_string())?);
        let part = |own: Vec<Line>| Part::Lines { all: Rc::clone(&all), own };
        let (training, held_out) = (all.training().cloned().collect(), all.held_out().cloned().collect());
        Ok(Self { text, training: part(training), held_out: part(held_out) })
    }

    /// Both parts have a context and the token after it.
    pub(crate) fn new(tokens: &Tokens, text: &'t Text, context: usize) -> Result<Self, String> {
        let (training, held_out) =
            if tokens.is_bytes() { (text.training(), text.held_out()) } else { text.between_characters() };
        let parts =
            Self { text, training: Part::new(tokens, training)?, held_out: Part::new(tokens, held_out)? };
        match (&parts.training, &parts.held_out) {
            (Part::Pieces { tokens: training, .. }, Part::Pieces { tokens: held_out, .. }) => {
                text::check(training, held_out, context)
            }
            _ => text.check(context),
        }
        .map_err(|error| error.to_string())?;
        Ok(parts)
    }
}
