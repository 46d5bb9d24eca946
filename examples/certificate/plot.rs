//! The plot, as SVG.

use crate::legend::{FAINT, legend};
use crate::{Outcome, RATES};
use core::error::Error;
use plotters::prelude::*;
use std::path::Path;

const COLOURS: [RGBColor; RATES.len()] = [RGBColor(0, 94, 162), RGBColor(20, 130, 70), RGBColor(200, 90, 20)];

/// The share of labels that is proved after 1, 2, 3... sweeps.
pub(crate) fn certified(
    path: &Path,
    outcomes: &[Outcome],
    seeds: usize,
    digits: usize,
) -> Result<(), Box<dyn Error>> {
    let most = outcomes.iter().flat_map(|outcome| &outcome.sweeps).max().copied().unwrap_or(1);
    let root = SVGBackend::new(path, (820, 500)).into_drawing_area();
    root.fill(&WHITE)?;
    let title = format!("Labels proved after so many sweeps, {digits} test digits, {seeds} networks each");
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0.8..most as f64 + 0.2, 0.0..100.0)?;
    chart
        .configure_mesh()
        .x_desc("sweeps")
        .y_desc("labels proved, %")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .label_style(("sans-serif", 14))
        .draw()?;
    for (rate, colour) in RATES.into_iter().zip(COLOURS) {
        let own =
            || outcomes.iter().filter(|outcome| outcome.rate == rate).flat_map(|outcome| &outcome.sweeps);
        let count = own().count().max(1) as f64;
        let share = |sweeps: usize| 100.0 * own().filter(|&&taken| taken <= sweeps).count() as f64 / count;
        let line = (1..=most).map(|sweeps| (sweeps as f64, share(sweeps)));
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(3)).point_size(4))?
            .label(format!("rate {rate}"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3)));
    }
    legend(&mut chart, SeriesLabelPosition::LowerRight)?;
    root.present()?;
    Ok(())
}
