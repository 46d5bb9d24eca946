//! Digits as they were, as they are with pixels lost, and as they are completed, sweep by sweep.

use crate::clamped::{Problem, SWEEPS, Units};
use crate::title::titled;
use core::error::Error;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

const PIXEL: i32 = 9;
const SIDE: usize = 8;
const CELL: i32 = 96;
const COLUMNS: [&str; 8] = ["original", "lost", "1 sweep", "2", "4", "8", "64", "without"];
/// Of a missing pixel, before it is found.
const LOST: RGBColor = RGBColor(225, 205, 160);
const WRONG: RGBColor = RGBColor(200, 40, 40);

/// `completed`: all digits after each of [`SWEEPS`]; `without`: by a network without feedback.
pub(crate) fn draw(
    path: &Path,
    problems: &[Problem],
    completed: &[Vec<Units>],
    without: &[Units],
) -> Result<(), Box<dyn Error>> {
    let size = (24 + CELL * COLUMNS.len() as i32, 110 + CELL * problems.len() as i32);
    let root = SVGBackend::new(path, (size.0 as u32, size.1 as u32)).into_drawing_area();
    titled(
        &root,
        "What the sweeps make of a digit half of whose pixels are lost",
        "the first test digits; grey: how sure the network is; red frame: a missing pixel on the wrong side",
    )?;
    let last = SWEEPS.len() - 1;
    for (column, name) in COLUMNS.iter().enumerate() {
        let left = 24 + CELL * column as i32;
        let style = ("sans-serif", 14).into_font().color(&BLACK).pos(Pos::new(HPos::Center, VPos::Center));
        root.draw(&Text::new((*name).to_owned(), (left + PIXEL * SIDE as i32 / 2, 84), style))?;
        for (row, problem) in problems.iter().enumerate() {
            let corner = (left, 104 + CELL * row as i32);
            match column {
                0 => picture(&root, corner, problem, &problem.truth)?,
                1 => picture(&root, corner, problem, &[0.0; SIDE * SIDE])?,
                7 => picture(&root, corner, problem, &without[row])?,
                6 => picture(&root, corner, problem, &completed[last][row])?,
                _ => picture(&root, corner, problem, &completed[column - 2][row])?,
            }
        }
    }
    root.present()?;
    Ok(())
}

/// The known pixels, and the others as `found`, 0 for not at all.
fn picture(
    root: &DrawingArea<SVGBackend<'_>, Shift>,
    (left, top): (i32, i32),
    problem: &Problem,
    found: &Units,
) -> Result<(), Box<dyn Error>> {
    for (i, (&known, &found)) in problem.known.iter().zip(found).enumerate() {
        let (x, y) = (left + PIXEL * (i % SIDE) as i32, top + PIXEL * (i / SIDE) as i32);
        let value = if known == 0.0 { found } else { known };
        let grey = (127.5 * (1.0 - value)) as u8;
        let color = if value == 0.0 { LOST } else { RGBColor(grey, grey, grey) };
        root.draw(&Rectangle::new([(x, y), (x + PIXEL, y + PIXEL)], color.filled()))?;
        if value * problem.truth[i] < 0.0 {
            root.draw(&Rectangle::new([(x + 1, y + 1), (x + PIXEL - 1, y + PIXEL - 1)], WRONG))?;
        }
    }
    let edge = PIXEL * SIDE as i32;
    root.draw(&Rectangle::new([(left, top), (left + edge, top + edge)], RGBColor(160, 160, 160)))?;
    Ok(())
}
