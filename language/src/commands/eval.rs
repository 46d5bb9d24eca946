//! Bits a token of a text, for several numbers of sweeps.

use super::labels;
use super::progress::Bar;
use super::tokens::{self, Part, Parts, tokens};
use super::{Failure, Outcome, about, load, measure, start_threads, task, text};
use crate::cli::Eval;
use attractor_language::checkpoint::Checkpoint;
use attractor_language::pass::Model;
use attractor_language::text::Batches;
use attractor_language::train::Learner;

/// Sequences of a batch; the bits do not depend on it by more than rounding.
const BATCH: usize = 32;

pub(crate) fn eval(arguments: &Eval) -> Outcome {
    let Checkpoint { config, parameters, sweeps: trained, .. } = load(&arguments.checkpoint)?;
    let tokens = tokens(&arguments.checkpoint, arguments.pieces.tokenizer.as_ref(), &config)?;
    tokens::can_learn(&config, &tokens).map_err(|error| about(&arguments.checkpoint, error))?;
    let context = arguments.context.unwrap_or(config.context);
    if context > config.context {
        let error = format!("a context of {context} is longer than the model's, which is {}", config.context);
        return Err(about(&arguments.checkpoint, error).into());
    }
    if arguments.overlap >= context {
        let error = format!("--overlap: {} is not less than the context, {context}", arguments.overlap);
        return Err(Failure::Nonsense(error));
    }
    if arguments.overlap > 0 && !config.causal {
        let error = "windows of masked bytes do not overlap: the model sees both ways";
        return Err(about(&arguments.checkpoint, error).into());
    }
    let (text, path) = text(arguments.file.as_ref())?;
    if arguments.labels {
        labels::can_learn(&config).map_err(|error| about(&arguments.checkpoint, error))?;
        let parts = Parts::of_lines(&tokens, &text, context).map_err(|error| about(&path, error))?;
        let model = Model::new(config, &parameters).map_err(|error| error.to_string())?;
        start_threads(&arguments.threads)?;
        println!("model: {config}\nparameters: {}", parameters.len());
        for sweeps in arguments.sweeps.clone().unwrap_or_else(|| vec![trained]) {
            println!("sweeps: {sweeps}");
            labels::report(model, sweeps, &parts.held_out)?;
        }
        return Ok(());
    }
    let (bytes, name) = match arguments.held_out {
        false => (text.bytes(), "text"),
        true if tokens.is_bytes() => (text.held_out(), "held-out"),
        true => (text.between_characters().1, "held-out"),
    };
    let part = Part::new(&tokens, bytes).map_err(|error| about(&path, error))?;
    let sweeps = match &arguments.sweeps {
        Some(sweeps) => sweeps.clone(),
        None if config.feedback => vec![1, 2, 4, 8],
        None => vec![1],
    };
    start_threads(&arguments.threads)?;
    let task = task(&config);
    let mut batches = Batches::new(BATCH, context).overlapping(arguments.overlap);
    // Whether it is long enough, before memory is taken.
    part.take(&mut batches, task, 0..0).map_err(|error| about(&path, error))?;
    // Of no more than one sweep anything is kept: there is no gradient.
    let mut learner = Learner::new(config, BATCH, context, 1).map_err(|error| error.to_string())?;
    learner.start_from(&parameters, 0).map_err(|error| error.to_string())?;
    println!("model: {config}\nparameters: {}", parameters.len());
    println!("{name} bytes: {}", bytes.len());
    if let Part::Pieces { tokens, .. } = &part {
        println!("{name} tokens: {}", tokens.len());
    }
    println!("context: {context}\noverlap: {}", arguments.overlap);
    println!("windows: {}", part.windows(&batches, task));
    for sweeps in sweeps {
        let bar = Bar::windows(sweeps);
        let progress = |done, all| bar.at(done, all);
        let measured = measure::all(&mut learner, &mut batches, (&part, task), sweeps, progress)?;
        bar.end();
        // Nobody asks to stop here: signals end the program.
        let Some(measured) = measured else { return Ok(()) };
        let plural = if sweeps == 1 { "sweep" } else { "sweeps" };
        measured.print((&part, task), &format!(" at {sweeps} {plural}"));
    }
    Ok(())
}
