//! Other digits than those a network was trained on.

use crate::data::{Digit, PIXELS, SIDE, Variation};
use core::fmt;
use rand::Rng;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Domain {
    /// White on black.
    Inverted,
    /// Turned by a quarter to the right.
    Rotated,
    /// As in a mirror.
    Mirrored,
    /// Normal noise of deviation 0.4 is added to every pixel; ink is 0 to 1.
    Noisy,
}

pub(crate) const DOMAINS: [Domain; 4] = [Domain::Inverted, Domain::Rotated, Domain::Mirrored, Domain::Noisy];
const NOISE: Variation = Variation { shift: 0.0, noise: 0.4 };

impl Domain {
    /// A digit of this domain.
    pub(crate) fn apply(self, digit: &Digit, random: &mut impl Rng) -> Digit {
        let ink = |row: usize, column: usize| digit.pixels[row * SIDE + column];
        let picture = |ink: &dyn Fn(usize, usize) -> f32| -> [f32; PIXELS] {
            core::array::from_fn(|i| ink(i / SIDE, i % SIDE))
        };
        let pixels = match self {
            Self::Inverted => digit.pixels.map(|ink| 1.0 - ink),
            Self::Rotated => picture(&|row, column| ink(SIDE - 1 - column, row)),
            Self::Mirrored => picture(&|row, column| ink(row, SIDE - 1 - column)),
            Self::Noisy => NOISE.apply(digit, random),
        };
        Digit { pixels, label: digit.label }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Inverted => "inverted",
            Self::Rotated => "rotated",
            Self::Mirrored => "mirrored",
            Self::Noisy => "noisy",
        })
    }
}
