//! The commands, and what they have in common.

pub(crate) mod eval;
pub(crate) mod exchange;
mod labels;
mod measure;
mod plan;
mod progress;
pub(crate) mod sample;
mod stop;
mod together;
mod tokens;
pub(crate) mod train;

use crate::cli::Threads;
use crate::output::plain;
use attractor_language::Config;
use attractor_language::checkpoint::{Checkpoint, CheckpointError, Folder};
use attractor_language::small::{Header, SmallFile};
use attractor_language::text::{Task, Text};
use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

/// How a command ends when it does not reach its end.
pub(crate) enum Failure {
    /// Something is wrong with what it works on.
    Work(String),
    /// The command line makes no sense.
    Nonsense(String),
    /// The user wanted it, and all is saved.
    Interrupted(String),
    /// As [`Work`](Self::Work), and all ranks of a training have come to it.
    Agreed(String),
    /// It has been said, by this rank or another one, and this is the exit code.
    Said(u8),
}

impl Failure {
    /// The line that says it, and the exit code.
    pub(crate) fn line(&self) -> (String, u8) {
        match self {
            Self::Work(message) | Self::Agreed(message) => (plain(message), 1),
            Self::Nonsense(message) => (format!("{}; `--help` lists the options", plain(message)), 2),
            Self::Interrupted(message) => (plain(message), 130),
            Self::Said(code) => (String::new(), *code),
        }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Work(message)
    }
}

pub(crate) type Outcome = Result<(), Failure>;

/// An error about a file or a folder.
fn about(path: &Path, error: impl core::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

/// The text of a file, or else that of the repository.
fn text(file: Option<&PathBuf>) -> Result<(Text, PathBuf), String> {
    let (path, hint) = match file {
        Some(path) => (path.clone(), ""),
        None => {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join("kjv.txt");
            (path, " (the default text; give the name of another FILE)")
        }
    };
    match Text::read(&path) {
        Ok(text) => Ok((text, path)),
        Err(error) => Err(format!("{}{hint}", about(&path, error))),
    }
}

/// A model, as its file has it.
enum Opened {
    /// With parameters of 32 bits, adapters added.
    Whole(Box<Checkpoint<'static>>),
    Small(SmallFile),
}

/// The model of a checkpoint, of the newest whole one in a folder, or of a file that `shrink` wrote.
fn open(path: &Path) -> Result<Opened, String> {
    let found = if path.is_dir() {
        newest(path)?.ok_or_else(|| about(path, "has no checkpoint"))?
    } else {
        let bytes = fs::read(path).map_err(|error| about(path, error))?;
        if SmallFile::is_one(&bytes) {
            return SmallFile::read(&bytes).map(Opened::Small).map_err(|error| about(path, error));
        }
        Checkpoint::read(&bytes).map_err(|error| about(path, error))?
    };
    found.merged().map(|found| Opened::Whole(Box::new(found))).map_err(|error| about(path, error))
}

/// The same with parameters of 32 bits.
fn load(path: &Path) -> Result<Checkpoint<'static>, String> {
    Ok(match open(path)? {
        Opened::Whole(checkpoint) => *checkpoint,
        Opened::Small(small) => {
            let Header { config, sweeps, .. } = *small.header();
            Checkpoint::of(config, sweeps, Cow::Owned(small.parameters()))
        }
    })
}

/// The newest whole checkpoint in a folder, if there is any. One that is damaged is passed over, which is said; if all are, it fails.
fn newest(folder: &Path) -> Result<Option<Checkpoint<'static>>, String> {
    let all = Folder::checkpoints(folder).map_err(|error| about(folder, error))?;
    let mut failed: Option<(PathBuf, CheckpointError)> = None;
    for path in all.into_iter().rev() {
        if let Some((path, error)) = failed.take()
            && together::is_first()
        {
            eprintln!("attractor-lm: {}, the one before it is taken", about(&path, error));
        }
        match Checkpoint::load(&path) {
            Ok(checkpoint) => return Ok(Some(checkpoint)),
            Err(error) if error.is_damage() => failed = Some((path, error)),
            Err(error) => return Err(about(&path, error)),
        }
    }
    failed.map_or(Ok(None), |(path, error)| Err(about(&path, error)))
}

fn task(config: &Config) -> Task {
    if config.causal { Task::Next } else { Task::Masked }
}

fn start_threads(threads: &Threads) -> Result<(), String> {
    let Some(count) = threads.threads else { return Ok(()) };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count);
    pool.build_global().map_err(|error| format!("threads: {error}"))
}
