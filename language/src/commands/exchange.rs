//! Models of others, and for others.

use super::tokens::{folder, keep, tokens};
use super::{Outcome, about, load};
use crate::cli::{Export, Import, Merge, Shrink};
use attractor_language::checkpoint::Checkpoint;
use attractor_language::exchange;
use attractor_language::small::SmallFile;
use attractor_language::tokens::Tokens;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

pub(crate) fn export(arguments: &Export) -> Outcome {
    let Checkpoint { config, parameters, .. } = load(&arguments.checkpoint)?;
    let tokens = tokens(&arguments.checkpoint, arguments.pieces.tokenizer.as_ref(), &config)?;
    exchange::export(&arguments.to, &config, &parameters).map_err(|error| about(&arguments.to, error))?;
    if !tokens.is_bytes() {
        tokens.save(&arguments.to).map_err(|error| error.to_string())?;
    }
    println!("model: {config}\nparameters: {}\nfolder: {}", parameters.len(), arguments.to.display());
    Ok(())
}

pub(crate) fn import(arguments: &Import) -> Outcome {
    let (config, parameters) =
        exchange::import(&arguments.folder).map_err(|error| about(&arguments.folder, error))?;
    let tokens = tokens(&arguments.folder, arguments.pieces.tokenizer.as_ref(), &config)?;
    // What would be read as bytes must be bytes.
    if tokens.is_bytes() && !Tokens::open(&arguments.folder, &config).is_ok_and(|tokens| tokens.is_bytes()) {
        let error = "a model of 256 tokens is one of bytes here, and its tokenizer.json has others";
        return Err(about(&arguments.folder, error).into());
    }
    let kept = keep(&tokens, folder(&arguments.to))?;
    // Files do not say with how many sweeps a model was trained.
    let sweeps = if config.feedback { 2 } else { 1 };
    let checkpoint = Checkpoint::of(config, sweeps, Cow::Owned(parameters));
    written(&checkpoint, &arguments.to, kept)
}

pub(crate) fn merge(arguments: &Merge) -> Outcome {
    let checkpoint = load(&arguments.checkpoint)?;
    let tokens = tokens(&arguments.checkpoint, arguments.pieces.tokenizer.as_ref(), &checkpoint.config)?;
    let kept = keep(&tokens, folder(&arguments.to))?;
    written(&checkpoint, &arguments.to, kept)
}

pub(crate) fn shrink(arguments: &Shrink) -> Outcome {
    let Checkpoint { config, sweeps, parameters, .. } = load(&arguments.checkpoint)?;
    let tokens = tokens(&arguments.checkpoint, arguments.pieces.tokenizer.as_ref(), &config)?;
    let small = SmallFile::round(config, sweeps, arguments.bits, &parameters);
    let small = small.map_err(|error| about(&arguments.checkpoint, error))?;
    let kept = keep(&tokens, folder(&arguments.to))?;
    small.save(&arguments.to).map_err(|error| about(&arguments.to, error))?;
    println!("model: {config}\nparameters: {}", parameters.len());
    println!("bits of a weight: {}\nbytes: {}", arguments.bits, small.header().length());
    println!("file: {}", arguments.to.display());
    said(kept);
    Ok(())
}

/// Writes a model, and says so.
fn written(checkpoint: &Checkpoint<'_>, to: &Path, tokenizer: Option<PathBuf>) -> Outcome {
    checkpoint.save(to).map_err(|error| about(to, error))?;
    println!(
        "model: {}\nparameters: {}\ncheckpoint: {}",
        checkpoint.config,
        checkpoint.parameters.len(),
        to.display()
    );
    said(tokenizer);
    Ok(())
}

fn said(tokenizer: Option<PathBuf>) {
    if let Some(path) = tokenizer {
        println!("tokenizer: {}", path.display());
    }
}
