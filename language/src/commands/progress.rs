//! What a terminal shows meanwhile.

use super::together;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// A bar on standard error, if that is a terminal.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Of a training.
    pub(crate) fn steps(all: u32) -> Self {
        Self::new("{bar:24.blue} {pos}/{len}  {msg}", u64::from(all))
    }

    /// Of a measurement.
    pub(crate) fn windows(sweeps: usize) -> Self {
        let bar = Self::new("{bar:24.blue} {pos}/{len} windows, {msg}", 0);
        bar.0.set_message(format!("sweeps: {sweeps}"));
        bar
    }

    fn new(template: &str, length: u64) -> Self {
        let bar = if together::is_first() { ProgressBar::new(length) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(crate) fn at(&self, done: usize, all: usize) {
        self.0.set_length(all as u64);
        self.0.set_position(done as u64);
    }

    pub(crate) fn say(&self, message: String) {
        self.0.set_message(message);
    }

    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }

    pub(crate) fn is_hidden(&self) -> bool {
        self.0.is_hidden()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.end();
    }
}

/// How fast steps are, apart from what is done between them.
pub(crate) struct Speed {
    peak: f64,
    /// Operations a second, of the last steps above all.
    recent: Option<f64>,
    operations: f64,
    tokens: u64,
    time: Duration,
}

impl Speed {
    pub(crate) fn new(peak: f64) -> Self {
        Self { peak, recent: None, operations: 0.0, tokens: 0, time: Duration::ZERO }
    }

    /// A step of so many tokens, of so many operations each.
    pub(crate) fn step(&mut self, started: Instant, tokens: usize, each: f64) {
        let took = started.elapsed();
        let operations = tokens as f64 * each;
        self.operations += operations;
        self.tokens += tokens as u64;
        self.time += took;
        let now = operations / took.as_secs_f64().max(1e-9);
        self.recent = Some(self.recent.map_or(now, |recent| recent + 0.05 * (now - recent)));
    }

    /// In the last steps: tokens a second, the share of the peak, and how long so many operations take.
    pub(crate) fn recent(&self, each: f64, left: f64) -> String {
        let recent = self.recent.unwrap_or(f64::NAN);
        let seconds = (left / recent) as u64;
        format!(
            "{:.0} tokens a second  {:.0} % of the peak  {}:{:02} left",
            recent / each,
            100.0 * recent / self.peak,
            seconds / 60,
            seconds % 60
        )
    }

    /// Of all steps: tokens a second and the share of the peak, if there were any.
    pub(crate) fn whole(&self) -> Option<(f64, f64)> {
        let seconds = self.time.as_secs_f64();
        (self.tokens > 0).then(|| (self.tokens as f64 / seconds, self.operations / seconds / self.peak))
    }
}
