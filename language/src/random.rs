//! Random numbers, the same everywhere.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Random numbers that can be stored and go on from there: ChaCha with 8 rounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random {
    seed: u64,
    numbers: ChaCha8Rng,
}

impl Random {
    /// How many bytes a state has.
    pub const BYTES: usize = 16;

    /// Numbers of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // As the key itself, so that no crate's way to spread a seed is a part of the numbers.
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self { seed, numbers: ChaCha8Rng::from_seed(key) }
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The state: the seed, and how many words of 32 bits have been drawn, both little-endian.
    #[must_use]
    pub fn state(&self) -> [u8; Self::BYTES] {
        let mut state = [0; Self::BYTES];
        state[..8].copy_from_slice(&self.seed.to_le_bytes());
        // 2^64 words are more than anybody draws.
        state[8..].copy_from_slice(&(self.numbers.get_word_pos() as u64).to_le_bytes());
        state
    }

    /// Goes on from a state: the numbers are those that the one whose state it is draws next.
    #[must_use]
    pub fn from_state(state: [u8; Self::BYTES]) -> Self {
        let half = |at: usize| u64::from_le_bytes(core::array::from_fn(|i| state[at + i]));
        let mut random = Self::new(half(0));
        random.numbers.set_word_pos(u128::from(half(8)));
        random
    }

    /// A number from 0 to below `count`, each as likely as the others to a part in 2^40 or better. 0 for a count of 0.
    pub fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.numbers.next_u64()) * count as u128) >> 64) as usize
    }

    /// A number from 0 to below 1, a multiple of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.numbers.next_u64() >> 11) as f64 * const { 1.0 / (1_u64 << 53) as f64 }
    }
}
