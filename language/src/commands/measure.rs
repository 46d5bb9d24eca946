//! Bits a token of a text.

use super::stop;
use super::tokens::Part;
use attractor_language::pass::Sweeps;
use attractor_language::ranks;
use attractor_language::text::{Batches, Task};
use attractor_language::train::Learner;
use core::ops::Range;

/// What came of it.
pub(crate) struct Measured {
    /// Bits a predicted token.
    pub(crate) bits: f64,
    /// How many tokens were predicted.
    pub(crate) counted: usize,
}

impl Measured {
    /// The lines of the result; of pieces also bits a byte they stand for.
    pub(crate) fn print(&self, (text, task): (&Part<'_>, Task), after: &str) {
        println!("{}{after}: {:.4}", text.names(task).bits, self.bits);
        if let Part::Pieces { predicted, .. } = text {
            println!("bits per byte{after}: {:.4}", self.bits * self.counted as f64 / *predicted as f64);
        }
    }
}

/// Of all windows of a text; nothing if it was asked to stop.
pub(crate) fn all(
    learner: &mut Learner,
    batches: &mut Batches,
    (text, task): (&Part<'_>, Task),
    sweeps: usize,
    mut progress: impl FnMut(usize, usize),
) -> Result<Option<Measured>, String> {
    let windows = text.windows(batches, task);
    let each = batches.sequences();
    let (mut nats, mut counted) = (0.0, 0);
    for start in (0..windows).step_by(each) {
        if ranks::any(learner.ranks(), stop::asked()).map_err(|error| error.to_string())? {
            return Ok(None);
        }
        let (more, count) = part(learner, batches, (text, task), sweeps, start..(start + each).min(windows))?;
        nats += more;
        counted += count;
        progress(start, windows);
    }
    Ok(Some(Measured { bits: bits(nats, counted), counted }))
}

/// How many batches [`some`] takes, at most.
pub(crate) const SOME: usize = 8;

/// Of some windows that are spread over the text, always the same ones.
pub(crate) fn some(
    learner: &mut Learner,
    batches: &mut Batches,
    (text, task): (&Part<'_>, Task),
    sweeps: usize,
) -> Result<f64, String> {
    let windows = text.windows(batches, task);
    let each = batches.sequences();
    let count = windows.div_ceil(each).min(SOME);
    let (mut nats, mut counted) = (0.0, 0);
    for batch in 0..count {
        let start = (batch * windows / count).min(windows.saturating_sub(each));
        let (more, count) = part(learner, batches, (text, task), sweeps, start..(start + each).min(windows))?;
        nats += more;
        counted += count;
    }
    Ok(bits(nats, counted))
}

fn part(
    learner: &mut Learner,
    batches: &mut Batches,
    (text, task): (&Part<'_>, Task),
    sweeps: usize,
    range: Range<usize>,
) -> Result<(f64, usize), String> {
    text.take(batches, task, range).map_err(|error| error.to_string())?;
    learner.evaluate(&batches.batch(), Sweeps::Unrolled(sweeps)).map_err(|error| error.to_string())
}

/// Nats of so many tokens, in bits a token.
pub(crate) fn bits(nats: f64, counted: usize) -> f64 {
    nats / counted as f64 / core::f64::consts::LN_2
}
