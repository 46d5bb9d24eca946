//! The plots, as SVG.

use crate::classes::{CLASSES, largest};
use crate::drawing::{CONTROL, FEEDBACK, Outcome, WRONG, anchored, draw_image};
use crate::idx::{Images, SIDE};
use crate::legend::{FAINT, legend};
use crate::spread::{Spread, seeds};
use crate::title::titled;
use crate::training::{Recipe, Run, ink};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use std::path::Path;

/// How the share of misread test images falls, with feedback and without.
pub(crate) fn errors(path: &Path, shape: &str, recipe: &Recipe, with: &[Run], without: &[Run]) -> Outcome {
    let looks = with[0].errors.len();
    let place = |look: usize| (look + 1) as f64 / f64::from(recipe.looks);
    let spreads = |runs: &[Run]| -> Vec<Spread> {
        (0..looks).map(|look| Spread::of(runs.iter().map(|run| 100.0 * run.errors[look]))).collect()
    };
    let curves =
        [("without feedback", spreads(without), CONTROL), ("with feedback", spreads(with), FEEDBACK)];
    let all = || curves.iter().flat_map(|(_, spreads, _)| spreads);
    let top = all().fold(0.0, |top, spread| spread.max.max(top)) * 1.1;

    let root = SVGBackend::new(path, (820, 500)).into_drawing_area();
    let area = titled(
        &root,
        "Test error while learning",
        &format!(
            "{shape}, {} test images; mean of {}, band from best to worst",
            with[0].scores.len(),
            seeds(with.len())
        ),
    )?;
    let mut chart = ChartBuilder::on(&area)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..place(looks - 1) * 1.02, 0.0..top.max(0.1))?;
    chart
        .configure_mesh()
        .x_desc("epochs")
        .y_desc("test error in %")
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_desc_style(("sans-serif", 16))
        .label_style(("sans-serif", 14))
        .draw()?;
    for (name, spreads, color) in &curves {
        let line = |value: fn(&Spread) -> f64| {
            spreads.iter().enumerate().map(move |(look, spread)| (place(look), value(spread)))
        };
        let band: Vec<_> =
            line(|s| s.min).chain(line(|s| s.max).collect::<Vec<_>>().into_iter().rev()).collect();
        let color = *color;
        chart.draw_series([Polygon::new(band, color.mix(0.2))])?;
        let last = spreads.last().map_or(0.0, |spread| spread.mean);
        chart
            .draw_series(LineSeries::new(line(|s| s.mean), color.stroke_width(3)).point_size(4))?
            .label(format!("{name}: {last:.2} %"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], color.stroke_width(3)));
    }
    legend(&mut chart, SeriesLabelPosition::UpperRight)?;
    root.present()?;
    Ok(())
}

/// Test images that were misread, the first ones, with what they were taken for.
pub(crate) fn misread(path: &Path, shape: &str, run: &Run, test: &Images) -> Outcome {
    const COLUMNS: usize = 8;
    const MOST: usize = 32;
    const PIXEL: i32 = 3;
    const CELL: (i32, i32) = (104, 130);
    const CORNER: (i32, i32) = (24, 84);
    let answers = || run.scores.iter().zip(&test.labels).enumerate();
    let all: Vec<_> = answers().filter(|(_, (scores, label))| largest(scores) != **label).collect();
    let rows = all.len().min(MOST).div_ceil(COLUMNS) as i32;
    let size = (2 * CORNER.0 + CELL.0 * COLUMNS as i32, CORNER.1 + CELL.1 * rows + 16);
    let root = SVGBackend::new(path, (size.0 as u32, size.1 as u32)).into_drawing_area();
    titled(
        &root,
        &format!("{} of {} images misread", all.len().min(MOST), all.len()),
        &format!("{shape}, with feedback; the label, then the answer and the softmax of its score"),
    )?;
    for (cell, (image, (scores, label))) in all.into_iter().take(MOST).enumerate() {
        let (column, row) = ((cell % COLUMNS) as i32, (cell / COLUMNS) as i32);
        let (left, top) = (CORNER.0 + CELL.0 * column, CORNER.1 + CELL.1 * row);
        draw_image(&root, (left, top), SIDE, PIXEL, test.pixels[image].map(ink))?;
        let below = top + PIXEL * SIDE as i32 + 14;
        root.draw(&Text::new(label.to_string(), (left, below), anchored(16, &BLACK, HPos::Left)))?;
        let answer = largest(scores);
        let text = format!("{answer} ({:.0} %)", 100.0 * certainty(scores, answer));
        let right = left + PIXEL * SIDE as i32;
        root.draw(&Text::new(text, (right, below), anchored(14, &WRONG, HPos::Right)))?;
    }
    root.present()?;
    Ok(())
}

/// The softmax of a score.
fn certainty(scores: &[f32; CLASSES], class: usize) -> f32 {
    1.0 / scores.iter().map(|score| (score - scores[class]).exp()).sum::<f32>()
}
