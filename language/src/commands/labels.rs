//! Which label a model gives to a text.

use super::tokens::Part;
use attractor::simd::Backend;
use attractor_language::Config;
use attractor_language::labels::{Line, Lines};
use attractor_language::pass::{Model, PassError, Sequences, Sweeps, room};
use rayon::prelude::*;

/// Whether a model can say what comes behind a text.
pub(crate) fn can_learn(config: &Config) -> Result<(), String> {
    if config.causal { Ok(()) } else { Err("labels are foretold, and the model sees both ways".to_owned()) }
}

/// Says how many of some lines get their label: that whose tokens are the most likely behind the text. Nothing where there are no lines.
pub(crate) fn report(model: Model<'_>, sweeps: usize, part: &Part<'_>) -> Result<(), String> {
    let Part::Lines { all, own: lines } = part else { return Ok(()) };
    // Of what is shared between threads no count is kept.
    let (all, lines): (&Lines, &[Line]) = (all, lines);
    let length = all.context();
    let count = room(model.config(), 1, length, 0);
    let memory = || (vec![0.0; count], vec![0; length], vec![0; length]);
    let given = lines.par_iter().map_init(memory, |(room, tokens, targets), line| {
        let mut best: Option<(f32, usize)> = None;
        for label in 0..all.labels().len() {
            all.fill(&line.text, label, tokens, targets);
            let of = Sequences { length, tokens, targets };
            let (loss, _) = model.loss(Backend::best(), of, Sweeps::Unrolled(sweeps), room)?;
            if best.is_none_or(|(least, _)| loss < least) {
                best = Some((loss, label));
            }
        }
        Ok(best.map(|(_, label)| label))
    });
    let given = given.collect::<Result<Vec<_>, PassError>>().map_err(|error| error.to_string())?;
    let right = given.iter().zip(lines).filter(|(given, line)| **given == Some(line.label)).count();
    let mut counts = vec![0_usize; all.labels().len()];
    for line in lines {
        counts[line.label] += 1;
    }
    let share = |count: usize| 100.0 * count as f64 / lines.len() as f64;
    println!("labels: {}\nheld-out lines: {}", all.labels().len(), lines.len());
    println!("right: {:.2} %", share(right));
    println!("right if it were always the same label: {:.2} %", share(counts.into_iter().max().unwrap_or(0)));
    Ok(())
}
