//! The digits: data/optdigits.tra and .tes, see data/README.md.

use rand::{Rng, RngExt};

/// Pixels in a row and in a column.
pub(crate) const SIDE: usize = 8;
pub(crate) const PIXELS: usize = SIDE * SIDE;
pub(crate) const CLASSES: usize = 10;
/// Digits in a batch.
pub(crate) const BATCH: usize = 64;

/// An image, its rows from top to bottom, 0 for white to 1 for black; and which digit it shows.
pub(crate) struct Digit {
    pub(crate) pixels: [f32; PIXELS],
    pub(crate) label: usize,
}

pub(crate) fn training() -> Result<Vec<Digit>, String> {
    parse("optdigits.tra", include_str!("../../data/optdigits.tra"))
}

/// Written by other people than those of [`training`].
pub(crate) fn test() -> Result<Vec<Digit>, String> {
    parse("optdigits.tes", include_str!("../../data/optdigits.tes"))
}

fn parse(name: &str, text: &str) -> Result<Vec<Digit>, String> {
    let digit = |line: &str| {
        let values: Vec<u8> =
            line.split(',').map(|value| value.trim().parse().ok()).collect::<Option<_>>()?;
        let (&label, pixels) = values.split_last()?;
        let pixels: [u8; PIXELS] = pixels.try_into().ok()?;
        let sound = usize::from(label) < CLASSES && pixels.iter().all(|&pixel| pixel <= 16);
        sound.then(|| Digit { pixels: pixels.map(|pixel| f32::from(pixel) / 16.0), label: label.into() })
    };
    text.lines()
        .enumerate()
        .map(|(i, line)| {
            digit(line).ok_or_else(|| {
                format!("data/{name}, line {}: not {PIXELS} values 0 to 16 and a label 0 to 9", i + 1)
            })
        })
        .collect()
}

/// How a training digit is varied, so that no two epochs show the same image.
pub(crate) struct Variation {
    /// How often an image is shifted by a pixel to the left, and to the right; up, and down.
    pub(crate) shift: f32,
    /// Standard deviation of the noise added to every pixel.
    pub(crate) noise: f32,
}

impl Variation {
    /// The digit varied.
    pub(crate) fn apply(&self, digit: &Digit, random: &mut impl Rng) -> [f32; PIXELS] {
        let mut shift = || match random.random::<f32>() {
            x if x < self.shift => -1,
            x if x < 2.0 * self.shift => 1,
            _ => 0,
        };
        let (down, right) = (shift(), shift());
        let mut varied = [0.0; PIXELS];
        for (i, pair) in varied.chunks_exact_mut(2).enumerate() {
            let noise = normal(random);
            for (j, (pixel, noise)) in pair.iter_mut().zip(noise).enumerate() {
                let (row, column) = ((2 * i + j) / SIDE, (2 * i + j) % SIDE);
                *pixel =
                    ink(&digit.pixels, row as isize - down, column as isize - right) + self.noise * noise;
            }
        }
        varied
    }
}

/// The ink of a pixel; none outside.
fn ink(pixels: &[f32; PIXELS], row: isize, column: isize) -> f32 {
    let inside = 0..SIDE as isize;
    if inside.contains(&row) && inside.contains(&column) {
        pixels[row as usize * SIDE + column as usize]
    } else {
        0.0
    }
}

/// Two independent normal numbers (Box and Muller 1958).
fn normal(random: &mut impl Rng) -> [f32; 2] {
    let radius = (-2.0 * (1.0 - random.random::<f32>()).ln()).sqrt();
    let (sine, cosine) = (core::f32::consts::TAU * random.random::<f32>()).sin_cos();
    [radius * cosine, radius * sine]
}
