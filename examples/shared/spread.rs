//! Figures of several seeds.

use core::fmt;

/// So many seeds, in words.
pub(crate) fn seeds<N: fmt::Display + PartialEq + From<u8>>(count: N) -> String {
    format!("{count} {}", if count == N::from(1) { "seed" } else { "seeds" })
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
