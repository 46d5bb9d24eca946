//! Ranks: processes that train one model together, each with its own shards of every batch.
//!
//! A learner asks for four things: numbers from one rank to another, numbers of one rank to all, and words of all ranks combined by `or`, which is the
//! same in any order. What has to be added is added by the learner, in the order of shards. So this trait knows no arithmetic, and a sum has the same bits
//! on any number of ranks.

use core::fmt;
use core::ops::Range;
use std::env;

#[cfg(feature = "mpi")]
mod mpi;
#[cfg(feature = "mpi")]
pub use mpi::{Mpi, MpiError};

/// How one rank reaches the others. All ranks call the collective ones, [`broadcast`](Self::broadcast) and [`or`](Self::or), in the same order with arrays
/// of the same length.
pub trait Ranks: fmt::Debug + Send + Sync {
    /// The number of this one, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn count(&self) -> usize;

    /// Numbers for another rank, which are away, or kept elsewhere, when this returns.
    ///
    /// # Errors
    /// [`Lost`].
    fn send(&self, to: usize, numbers: &[f32]) -> Result<(), Lost>;

    /// The next numbers that another rank has sent, as many as there is room for.
    ///
    /// # Errors
    /// [`Lost`].
    fn receive(&self, from: usize, numbers: &mut [f32]) -> Result<(), Lost>;

    /// Numbers of one rank, for all.
    ///
    /// # Errors
    /// [`Lost`].
    fn broadcast(&self, from: usize, numbers: &mut [f32]) -> Result<(), Lost>;

    /// Words become those of all ranks, combined by `or`.
    ///
    /// # Errors
    /// [`Lost`].
    fn or(&self, words: &mut [u64]) -> Result<(), Lost>;

    /// Ends all ranks now, whatever they do, with this exit code. Where nothing can do that, it returns.
    fn abort(&self, code: u8);
}

/// A rank cannot be reached any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Which.
    pub rank: usize,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} cannot be reached", self.rank)
    }
}

impl core::error::Error for Lost {}

/// The shards of a rank: as many as those of others, or one more. All shards together are those of the ranks, one behind the other.
#[must_use]
pub fn own(rank: usize, ranks: usize, shards: usize) -> Range<usize> {
    let start = |rank: usize| (rank * shards).checked_div(ranks).unwrap_or(0);
    start(rank)..start(rank + 1)
}

/// Whether any rank says so. Without ranks it is what is said here.
///
/// # Errors
/// [`Lost`].
pub fn any(ranks: Option<&dyn Ranks>, said: bool) -> Result<bool, Lost> {
    let Some(ranks) = ranks else { return Ok(said) };
    let mut words = [u64::from(said)];
    ranks.or(&mut words)?;
    Ok(words != [0])
}

/// What rank 0 says. Without ranks it is what is said here.
///
/// # Errors
/// [`Lost`].
pub fn of_first(ranks: Option<&dyn Ranks>, said: u64) -> Result<u64, Lost> {
    let Some(ranks) = ranks else { return Ok(said) };
    let mut words = [if ranks.rank() == 0 { said } else { 0 }];
    ranks.or(&mut words)?;
    Ok(words[0])
}

/// How many processes a launcher started as ranks, this one among them; 0 where it does not say. None without a launcher. Asked are Open MPI, MPICH and its
/// kin, and PMIx, as of Slurm.
#[must_use]
pub fn launched() -> Option<usize> {
    let told = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"].iter().find_map(|size| env::var(size).ok());
    told.map(|count| count.parse().unwrap_or(0)).or_else(|| env::var_os("PMIX_RANK").map(|_| 0))
}

#[cfg(test)]
mod tests {
    use super::own;

    #[test]
    fn every_shard_has_one_rank() {
        for shards in 1..20 {
            for ranks in 1..=shards {
                let all: Vec<_> = (0..ranks).map(|rank| own(rank, ranks, shards)).collect();
                assert!(all.iter().flat_map(Clone::clone).eq(0..shards), "{all:?}");
                let few = shards / ranks;
                assert!(all.iter().all(|own| own.len() == few || own.len() == few + 1), "{all:?}");
            }
        }
    }
}
