//! Ranks that MPI connects.

use super::{Lost, Ranks, launched};
use core::fmt;
use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::traits::{Communicator, CommunicatorCollectives, Destination, Root, Source};
use std::sync::{Mutex, PoisonError};

/// Numbers of one call, which MPI counts by 32 bits.
const MOST: usize = 1 << 24;

/// The ranks that `mpirun` started. When it is dropped, MPI has come to its end: after that there is no other.
///
/// Errors of MPI itself, such as a rank that is gone, end all ranks, which is how MPI is set at its start. So none is [`Lost`].
pub struct Mpi {
    rank: usize,
    count: usize,
    /// One call at a time, and room for the words that are sent.
    calls: Mutex<(Universe, Vec<u64>)>,
}

/// Why MPI does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MpiError {
    /// It has begun in this process already, and does so only once.
    Begun,
    /// It was built for programs of which one thread only calls it.
    OneThread,
}

impl fmt::Display for MpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Begun => "MPI has begun in this process already",
            Self::OneThread => "this MPI takes the calls of one thread only; it must be built for several",
        })
    }
}

impl core::error::Error for MpiError {}

impl Mpi {
    /// Begins, if `mpirun` or its like started this process; else there are no ranks.
    ///
    /// # Errors
    /// [`MpiError`].
    pub fn begin() -> Result<Option<Self>, MpiError> {
        if launched().is_none() {
            return Ok(None);
        }
        let begun = mpi::initialize_with_threading(Threading::Serialized);
        let (universe, threading) = begun.ok_or(MpiError::Begun)?;
        if threading < Threading::Serialized {
            return Err(MpiError::OneThread);
        }
        let world = universe.world();
        let (rank, count) = (number(world.rank()), number(world.size()));
        Ok(Some(Self { rank, count, calls: Mutex::new((universe, Vec::new())) }))
    }

    fn call(&self, call: impl FnOnce(&Universe, &mut Vec<u64>)) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let (universe, room) = &mut *calls;
        call(universe, room);
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        // A rank that comes to its end by a panic would wait for the others here, and they wait for it.
        if std::thread::panicking() {
            self.abort(101);
        }
    }
}

/// Of ranks, which are not negative.
fn number(rank: i32) -> usize {
    usize::try_from(rank).unwrap_or(0)
}

/// As MPI has it. One that is too large is none of its ranks, and ends all.
fn rank(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {}", self.rank, self.count)
    }
}

impl Ranks for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.count
    }

    fn send(&self, to: usize, numbers: &[f32]) -> Result<(), Lost> {
        self.call(|universe, _| {
            numbers.chunks(MOST).for_each(|some| universe.world().process_at_rank(rank(to)).send(some));
        });
        Ok(())
    }

    fn receive(&self, from: usize, numbers: &mut [f32]) -> Result<(), Lost> {
        self.call(|universe, _| {
            for some in numbers.chunks_mut(MOST) {
                universe.world().process_at_rank(rank(from)).receive_into(some);
            }
        });
        Ok(())
    }

    fn broadcast(&self, from: usize, numbers: &mut [f32]) -> Result<(), Lost> {
        self.call(|universe, _| {
            for some in numbers.chunks_mut(MOST) {
                universe.world().process_at_rank(rank(from)).broadcast_into(some);
            }
        });
        Ok(())
    }

    fn or(&self, words: &mut [u64]) -> Result<(), Lost> {
        self.call(|universe, room| {
            room.clear();
            room.extend_from_slice(words);
            universe.world().all_reduce_into(&room[..], words, SystemOperation::bitwise_or());
        });
        Ok(())
    }

    fn abort(&self, code: u8) {
        self.call(|universe, _| universe.world().abort(code.into()));
    }
}
