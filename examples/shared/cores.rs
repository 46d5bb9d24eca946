//! Independent runs on all cores.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// `work(0)`, `work(1)` and so on, `count` of them, each on one core; the results in order.
pub(crate) fn on_all_cores<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let indices =
            core::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&index| index < count));
        indices.map(|index| (index, work(index))).collect::<Vec<_>>()
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
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
