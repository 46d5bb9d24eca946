//! What is done to a digit.

use crate::data::{PIXELS, SIDE};
use core::fmt;
use rand::{Rng, RngExt};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Corruption {
    /// Normal noise of this standard deviation is added to every pixel; ink is 0 to 1.
    Noise(f32),
    /// A square of so many pixels a side, anywhere in the picture, is without ink.
    Patch(usize),
}

use Corruption::{Noise, Patch};

/// The tests, by kind, from none to much.
pub(crate) const TESTS: [&[Corruption]; 2] = [
    &[Noise(0.0), Noise(0.1), Noise(0.2), Noise(0.3), Noise(0.4), Noise(0.5), Noise(0.6)],
    &[Patch(0), Patch(1), Patch(2), Patch(3), Patch(4), Patch(5)],
];

impl Corruption {
    pub(crate) fn apply(self, mut pixels: [f32; PIXELS], random: &mut impl Rng) -> [f32; PIXELS] {
        match self {
            Noise(deviation) => {
                for pixel in &mut pixels {
                    *pixel += deviation * normal(random);
                }
            }
            Patch(side) => {
                let mut corner = || random.random_range(0..=SIDE - side);
                let (top, left) = (corner(), corner());
                for row in pixels.chunks_exact_mut(SIDE).skip(top).take(side) {
                    row[left..left + side].fill(0.0);
                }
            }
        }
        pixels
    }

    /// The level alone.
    pub(crate) fn level(&self) -> String {
        match self {
            Noise(deviation) => format!("{deviation:.1}"),
            Patch(side) => format!("{side}"),
        }
    }

    /// What the level counts.
    pub(crate) fn axis(&self) -> &'static str {
        match self {
            Noise(_) => "standard deviation of the noise",
            Patch(_) => "side of the patch in pixels",
        }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Noise(deviation) => write!(f, "noise {deviation:.1}"),
            Patch(side) => write!(f, "patch {side}x{side}"),
        }
    }
}

/// A normal number (Box and Muller 1958).
fn normal(random: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - random.random::<f32>()).ln()).sqrt();
    radius * (core::f32::consts::TAU * random.random::<f32>()).cos()
}
