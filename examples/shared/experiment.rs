//! Runs an experiment with several seeds, and sums up what came out.

use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};
use indicatif::{ProgressBar, ProgressStyle};
use std::thread;

/// Calls `work` with 0, 1... below `count` on all cores; the results come in this order. `work` reports steps out
/// of `steps` in all to the bar.
pub(crate) fn side_by_side<R: Send, E: Send>(
    count: usize,
    steps: u64,
    work: impl Fn(usize, &ProgressBar) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let bar = ProgressBar::new(steps);
    if let Ok(style) = ProgressStyle::with_template("{bar:40.blue} {percent} % of all steps  {elapsed}") {
        bar.set_style(style);
    }
    let next = AtomicUsize::new(0);
    let worker = || {
        let indices =
            core::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&index| index < count));
        indices.map(|index| (index, work(index, &bar))).collect::<Vec<_>>()
    };
    let cores = thread::available_parallelism().map_or(1, usize::from).min(count);
    let mut results = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        let results = workers.into_iter().flat_map(|worker| match worker.join() {
            Ok(results) => results,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        results.collect::<Vec<_>>()
    });
    bar.finish_and_clear();
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// So many seeds, in words.
pub(crate) fn seeds(count: u64) -> String {
    format!("{count} {}", if count == 1 { "seed" } else { "seeds" })
}

/// A figure of several seeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) mean: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut count = 0.0;
        let start = Self { mean: 0.0, min: f64::MAX, max: f64::MIN };
        let sum = values.fold(start, |Self { mean, min, max }, value| {
            count += 1.0;
            Self { mean: mean + value, min: min.min(value), max: max.max(value) }
        });
        Self { mean: sum.mean / count, ..sum }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        let Self { mean, min, max } = self;
        write!(f, "{mean:.digits$} ({min:.digits$} to {max:.digits$})")
    }
}
