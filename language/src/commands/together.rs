//! Ranks of a training: whether there are any, what they must have in common, how they end.
//!
//! Rank 0 speaks and writes. What another one has to say goes through it.

use super::{Failure, Outcome, stop};
use attractor_language::ranks::{self, Lost, Ranks};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this process is rank 0, or the only one.
static FIRST: AtomicBool = AtomicBool::new(true);

/// Whether this process may speak.
pub(crate) fn is_first() -> bool {
    FIRST.load(Ordering::Relaxed)
}

/// Bytes of a message, and of a value, that go from rank to rank.
const BYTES: usize = 8 * WORDS;
const WORDS: usize = 32;

/// The ranks, if there are any.
pub(crate) struct Together {
    ranks: Option<Arc<dyn Ranks>>,
    /// What they know of each other.
    known: Cell<Known>,
}

#[derive(Clone, Copy, PartialEq)]
enum Known {
    /// A rank that fails tells the others before it ends.
    Preparing,
    /// All have begun. From now on all come to the same end, or one ends all.
    Begun,
    /// One failed, and all know.
    Failed,
}

impl Together {
    /// Those that `mpirun` started.
    pub(crate) fn begin() -> Result<Self, Failure> {
        let ranks = started()?;
        FIRST.store(ranks.as_ref().is_none_or(|ranks| ranks.rank() == 0), Ordering::Relaxed);
        Ok(Self { ranks, known: Cell::new(Known::Preparing) })
    }

    pub(crate) fn ranks(&self) -> Option<&dyn Ranks> {
        self.ranks.as_deref()
    }

    pub(crate) fn shared(&self) -> Option<Arc<dyn Ranks>> {
        self.ranks.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.ranks().map_or(1, Ranks::count)
    }

    /// Waits until all ranks are here. If one has failed, all do.
    pub(crate) fn all_are_well(&self) -> Outcome {
        self.tell(None)
    }

    /// Whether any rank is asked to stop.
    pub(crate) fn stopped(&self) -> Result<bool, Failure> {
        ranks::any(self.ranks(), stop::asked()).map_err(lost)
    }

    /// What rank 0 says.
    pub(crate) fn of_first(&self, said: u64) -> Result<u64, Failure> {
        ranks::of_first(self.ranks(), said).map_err(lost)
    }

    /// A word of each rank.
    fn each(&self, ranks: &dyn Ranks, own: u64) -> Result<Vec<u64>, Failure> {
        let mut words = vec![0; ranks.count()];
        words[ranks.rank()] = own;
        ranks.or(&mut words).map_err(lost)?;
        Ok(words)
    }

    /// Tells all ranks whether this one failed, and learns what the first that failed has to say.
    fn tell(&self, failure: Option<&Failure>) -> Outcome {
        let Some(ranks) = self.ranks() else { return Ok(()) };
        let (message, code) = match failure {
            None => ("", 0),
            Some(Failure::Work(message) | Failure::Agreed(message)) => (message.as_str(), 1),
            Some(Failure::Nonsense(message)) => (message.as_str(), 2),
            Some(Failure::Interrupted(message)) => (message.as_str(), 130),
            Some(Failure::Said(code)) => ("", u64::from(*code)),
        };
        let codes = self.each(ranks, code)?;
        let Some((rank, &code)) = codes.iter().enumerate().find(|(_, code)| **code != 0) else {
            return Ok(());
        };
        self.known.set(Known::Failed);
        let mut words = if ranks.rank() == rank { packed(message) } else { [0; WORDS] };
        ranks.or(&mut words).map_err(lost)?;
        let (said, own) = (unpacked(&words), ranks.rank() == rank);
        let message = match rank {
            _ if own && rank == 0 => message.to_owned(),
            0 => said,
            _ => format!("rank {rank}: {said}"),
        };
        Err(match code {
            2 => Failure::Nonsense(message),
            130 => Failure::Interrupted(message),
            _ => Failure::Agreed(message),
        })
    }

    /// All ranks have come so far; whether they have all of this in common.
    pub(crate) fn same(&self, list: impl FnOnce() -> Vec<(&'static str, String)>) -> Outcome {
        self.all_are_well()?;
        let Some(ranks) = self.ranks() else { return Ok(()) };
        let list = list();
        let own: Vec<[u64; WORDS]> = list.iter().map(|(_, value)| packed(value)).collect();
        let mut first = if ranks.rank() == 0 { own.clone() } else { vec![[0; WORDS]; own.len()] };
        ranks.or(first.as_flattened_mut()).map_err(lost)?;
        let differs = own.iter().zip(&first).position(|(own, first)| own != first);
        let items = self.each(ranks, differs.map_or(0, |item| item as u64 + 1))?;
        let found = items.iter().enumerate().find(|(_, item)| **item != 0);
        let Some((rank, item)) = found.map(|(rank, item)| (rank, *item as usize - 1)) else {
            self.known.set(Known::Begun);
            return Ok(());
        };
        self.known.set(Known::Failed);
        let mut words = if ranks.rank() == rank { own[item] } else { [0; WORDS] };
        ranks.or(&mut words).map_err(lost)?;
        let (name, of_first) = &list[item];
        Err(Failure::Nonsense(format!(
            "rank 0 has {name} {of_first}, and rank {rank} has {}",
            unpacked(&words)
        )))
    }

    /// How this rank ends. Rank 0 says why before any other is gone, for that would end it too.
    pub(crate) fn end(self, outcome: Outcome) -> Outcome {
        let Some(ranks) = self.ranks() else { return outcome };
        let Err(mut failure) = outcome else { return Ok(()) };
        if self.known.get() == Known::Preparing
            && let Err(agreed) = self.tell(Some(&failure))
        {
            failure = agreed;
        }
        let (message, code) = failure.line();
        let agreed = self.known.get() == Known::Failed || !matches!(failure, Failure::Work(_));
        if ranks.rank() == 0 {
            eprintln!("attractor-lm: {message}");
        } else if !agreed {
            eprintln!("attractor-lm: rank {}: {message}", ranks.rank());
        }
        if !agreed {
            // The others wait for this one, and nothing else would tell them.
            ranks.abort(code);
        }
        let _ = ranks::any(Some(ranks), true);
        Err(Failure::Said(code))
    }
}

fn lost(lost: Lost) -> Failure {
    Failure::Work(lost.to_string())
}

/// The first bytes of a text.
fn packed(text: &str) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (place, byte) in text.bytes().take(BYTES).enumerate() {
        words[place / 8] |= u64::from(byte) << (8 * (place % 8));
    }
    words
}

fn unpacked(words: &[u64]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
}

#[cfg(feature = "mpi")]
fn started() -> Result<Option<Arc<dyn Ranks>>, Failure> {
    let begun = ranks::Mpi::begin().map_err(|error| Failure::Work(error.to_string()))?;
    Ok(begun.map(|ranks| Arc::new(ranks) as Arc<dyn Ranks>))
}

/// A program without MPI that is started several times would train as often.
#[cfg(not(feature = "mpi"))]
fn started() -> Result<Option<Arc<dyn Ranks>>, Failure> {
    let several = match ranks::launched() {
        None | Some(1) => return Ok(None),
        Some(0) => String::new(),
        Some(count) => format!("{count} "),
    };
    Err(Failure::Nonsense(format!(
        "this is one of {several}ranks: the feature `mpi` trains with them, `cargo build --release -p attractor-language --features mpi`"
    )))
}

#[cfg(test)]
mod tests {
    use super::{BYTES, packed, unpacked};

    #[test]
    fn texts_are_packed() {
        for text in ["", "a", "eighteen", "--rate 0.004, ä"] {
            assert_eq!(unpacked(&packed(text)), text);
        }
        assert_eq!(unpacked(&packed(&"x".repeat(1000))), "x".repeat(BYTES));
    }
}
