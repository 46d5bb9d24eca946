//! Where the work of a batch is done: on the calling thread, or on many with the same bits.
//!
//! A sample never depends on the rest of its batch, and every entry of a gradient is summed by one thread over all
//! samples in their order. So there is nothing to reduce, and the number of threads cannot be seen in the result.

use crate::kernel::{CHUNK, Scalar};

/// The threads a batch is worked on with; see [`Runner::threads`](crate::Runner::threads).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Threads {
    /// The calling thread. Allocates nothing.
    #[default]
    One,
    /// The threads of rayon's current pool. A batch is split into chunks of 32 samples, a gradient into columns;
    /// the results have the bits of [`Threads::One`].
    #[cfg(feature = "rayon")]
    Rayon,
}

/// Parameters from which on two threads update them sooner than one: waking one takes some microseconds.
const MANY_ENTRIES: usize = 1 << 16;

impl Threads {
    /// Does both, side by side where there are threads for it.
    pub(crate) fn join<A: Send, B: Send>(
        self,
        a: impl FnOnce() -> A + Send,
        b: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        match self {
            Self::One => (a(), b()),
            #[cfg(feature = "rayon")]
            Self::Rayon => rayon::join(a, b),
        }
    }

    /// Where to split so many parameters in two, if that is of use: whole lines of a cache for both.
    #[inline(always)]
    pub(crate) fn split_entries(self, entries: usize) -> Option<usize> {
        (cfg!(feature = "rayon") && self != Self::One && entries >= MANY_ENTRIES)
            .then(|| (entries / 2).next_multiple_of(16))
    }

    /// Sets parameters to zero.
    pub(crate) fn clear<T: Scalar>(self, params: &mut [T]) {
        match self.split_entries(params.len()) {
            Some(at) => {
                let (low, high) = params.split_at_mut(at);
                self.join(|| low.fill(T::ZERO), || high.fill(T::ZERO));
            }
            None => params.fill(T::ZERO),
        }
    }

    /// Where to split so many samples in two, if that is of use.
    #[inline(always)]
    pub(crate) fn split(self, samples: usize) -> Option<usize> {
        let chunks = samples.div_ceil(CHUNK);
        // Said so that it is known while compiling: a program without threads has no code that splits.
        (cfg!(feature = "rayon") && self != Self::One && chunks > 1).then(|| chunks.div_ceil(2) * CHUNK)
    }
}
