//! Runs an experiment with several seeds.

use crate::cores::on_all_cores;
use indicatif::{ProgressBar, ProgressStyle};

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
    let results = on_all_cores(count, |index| work(index, &bar));
    bar.finish_and_clear();
    results.into_iter().collect()
}
