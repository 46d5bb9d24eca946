//! What the plots of several examples are made of.

use core::error::Error;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub(crate) const FEEDBACK: RGBColor = RGBColor(0, 94, 162);
pub(crate) const CONTROL: RGBColor = RGBColor(200, 90, 20);
pub(crate) const WRONG: RGBColor = RGBColor(190, 40, 40);
pub(crate) const QUIET: RGBColor = RGBColor(160, 160, 160);

pub(crate) type Outcome = Result<(), Box<dyn Error>>;

pub(crate) fn anchored<'a>(size: u32, color: &'a RGBColor, horizontal: HPos) -> TextStyle<'a> {
    ("sans-serif", size).into_font().color(color).pos(Pos::new(horizontal, VPos::Center))
}

/// Draws an image `side` pixels wide, its rows from top to bottom, 0 for paper to 1 for ink; a pixel is `size` wide.
pub(crate) fn draw_image(
    root: &DrawingArea<SVGBackend<'_>, Shift>,
    (left, top): (i32, i32),
    side: usize,
    size: i32,
    pixels: impl IntoIterator<Item = f32>,
) -> Outcome {
    // Where there is no ink the paper shows.
    for (i, ink) in pixels.into_iter().enumerate().filter(|(_, ink)| *ink > 0.0) {
        let (x, y) = (left + size * (i % side) as i32, top + size * (i / side) as i32);
        let grey = (255.0 * (1.0 - ink)) as u8;
        let color = RGBColor(grey, grey, grey);
        root.draw(&Rectangle::new([(x, y), (x + size, y + size)], color.filled()))?;
    }
    let edge = size * side as i32;
    root.draw(&Rectangle::new([(left, top), (left + edge, top + edge)], QUIET))?;
    Ok(())
}
