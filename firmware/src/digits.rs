//! The digits and networks in flash, written by `prepare`.

use attractor::{Align64, fnn};

/// 64 pixels, 48 and 32 units, 10 classes.
pub type Digits = fnn![64, 48, 32, 10];
/// A network that learns in 16 KiB.
pub type Small = fnn![64, 12, 10];

/// Trained on the host.
pub static DIGITS: Align64<Digits> = Align64(Digits::from_le_bytes(include_bytes!("../data/digits.f32")));
/// Trained on the host.
pub static SMALL: Align64<Small> = Align64(Small::from_le_bytes(include_bytes!("../data/small.f32")));

/// [`DIGITS`] with its feedback held to a rate of 0.2.
pub static HELD: Align64<Digits> = Align64(Digits::from_le_bytes(include_bytes!("../data/held.f32")));

/// A digit: pixels of 0 to 16, what it shows, and what the host took it for, where the host was asked.
#[derive(Clone, Copy)]
pub struct Digit {
    pixels: &'static [u8],
    pub label: usize,
    pub host: Option<usize>,
}

impl Digit {
    /// The pixels, 0 for white to 1 for black.
    pub fn input(&self) -> [f32; 64] {
        core::array::from_fn(|i| self.pixel(i))
    }
    /// As a sensor mounted a quarter turn wrong sees it.
    pub fn turned(&self) -> [f32; 64] {
        core::array::from_fn(|i| self.pixel((7 - i % 8) * 8 + i / 8))
    }
    fn pixel(&self, i: usize) -> f32 {
        f32::from(self.pixels.get(i).copied().unwrap_or(0)) / 16.0
    }
}

/// Test digits with the labels the host gave them.
pub fn shown() -> impl Iterator<Item = Digit> + Clone {
    read(include_bytes!("../data/shown.u8"), 66)
}
/// Digits to learn from.
pub fn own() -> impl Iterator<Item = Digit> + Clone {
    read(include_bytes!("../data/own.u8"), 65)
}
/// Digits to test what was learnt.
pub fn others() -> impl Iterator<Item = Digit> + Clone {
    read(include_bytes!("../data/others.u8"), 65)
}

fn read(bytes: &'static [u8], length: usize) -> impl Iterator<Item = Digit> + Clone {
    bytes.chunks_exact(length).filter_map(|digit| {
        let (pixels, rest) = digit.split_at_checked(64)?;
        let mut labels = rest.iter().map(|&label| usize::from(label));
        Some(Digit { pixels, label: labels.next()?, host: labels.next() })
    })
}

/// The class with the highest score.
pub fn answer(scores: &[f32]) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (class, &score) in scores.iter().enumerate() {
        if score > best.1 {
            best = (class, score);
        }
    }
    best.0
}
