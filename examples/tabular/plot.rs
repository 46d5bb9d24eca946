//! Scores beside those of scikit-learn.

use crate::legend::{FAINT, legend};
use crate::output;
use crate::spread::Spread;
use crate::title::titled;
use core::error::Error;
use plotters::prelude::*;
use std::path::Path;

const OWN: RGBColor = RGBColor(0, 94, 162);
const OTHER: RGBColor = RGBColor(200, 90, 20);

/// A table, its scores here and those of scikit-learn.
pub(crate) type Point<'a> = (&'a str, Spread, Spread);

/// A pair of points a table, with a line from the worst split to the best.
pub(crate) fn draw(path: &Path, subtitle: &str, points: &[Point<'_>]) -> Result<(), String> {
    output::drawn(path, |part| plot(part, subtitle, points))
}

fn plot(path: &Path, subtitle: &str, points: &[Point<'_>]) -> Result<(), Box<dyn Error>> {
    let least = points.iter().fold(1.0_f64, |least, (_, own, other)| least.min(own.min).min(other.min));
    let root = SVGBackend::new(path, (820, 500)).into_drawing_area();
    let area = titled(&root, "Shares of right answers, and R2 of diabetes and the autoencoder", subtitle)?;
    let last = points.len().saturating_sub(1) as f64;
    let mut chart = ChartBuilder::on(&area)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(-0.5..last + 0.5, (least - 0.05)..1.02)?;
    let name = |x: &f64| {
        let whole = (x - x.round()).abs() < 1e-6 && *x > -0.5;
        points.get(x.round() as usize).filter(|_| whole).map_or(String::new(), |point| point.0.to_owned())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * points.len() + 3)
        .x_label_formatter(&name)
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .label_style(("sans-serif", 14))
        .draw()?;
    let series = [("attractor", OWN, -0.08), ("scikit-learn, same widths", OTHER, 0.08)];
    for (index, (label, color, beside)) in series.into_iter().enumerate() {
        let scores = |point: &Point<'_>| if index == 0 { point.1 } else { point.2 };
        let each = || points.iter().enumerate().map(move |(x, point)| (x as f64 + beside, scores(point)));
        let bars =
            each().map(|(x, s)| PathElement::new([(x, s.min), (x, s.max)], color.mix(0.5).stroke_width(2)));
        chart.draw_series(bars)?;
        chart
            .draw_series(each().map(|(x, s)| Circle::new((x, s.mean), 5, color.filled())))?
            .label(label)
            .legend(move |(x, y)| Circle::new((x + 12, y), 5, color.filled()));
    }
    legend(&mut chart, SeriesLabelPosition::LowerLeft)?;
    root.present()?;
    Ok(())
}
