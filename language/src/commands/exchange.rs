//! Models of others, and for others.

use super::{Outcome, about, load};
use crate::cli::{Export, Import};
use attractor_language::checkpoint::Checkpoint;
use attractor_language::exchange;
use std::borrow::Cow;

pub(crate) fn export(arguments: &Export) -> Outcome {
    let Checkpoint { config, parameters, .. } = load(&arguments.checkpoint)?;
    exchange::export(&arguments.to, &config, &parameters).map_err(|error| about(&arguments.to, error))?;
    println!("model: {config}\nparameters: {}\nfolder: {}", parameters.len(), arguments.to.display());
    Ok(())
}

pub(crate) fn import(arguments: &Import) -> Outcome {
    let (config, parameters) =
        exchange::import(&arguments.folder).map_err(|error| about(&arguments.folder, error))?;
    // Files do not say with how many sweeps a model was trained.
    let sweeps = if config.feedback { 2 } else { 1 };
    let checkpoint = Checkpoint { config, sweeps, parameters: Cow::Owned(parameters), training: None };
    checkpoint.save(&arguments.to).map_err(|error| about(&arguments.to, error))?;
    println!(
        "model: {config}\nparameters: {}\ncheckpoint: {}",
        checkpoint.parameters.len(),
        arguments.to.display()
    );
    Ok(())
}
