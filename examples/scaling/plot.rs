//! The plots, as SVG.

use crate::legend::{FAINT, legend};
use crate::{Curve, Measured};
use core::error::Error;
use plotters::prelude::*;
use std::path::Path;

const COLORS: [RGBColor; 2] = [RGBColor(0, 94, 162), RGBColor(200, 90, 20)];

/// One series: curves with points, and their limits as thin lines of the same colour.
pub(crate) fn series(path: &Path, series: &Measured) -> Result<(), Box<dyn Error>> {
    let points = || series.curves.iter().flat_map(|curve: &Curve| &curve.points);
    // Powers of two stand at whole numbers.
    let place = |x: usize| (x as f64).log2();
    let (left, right) = points()
        .fold((f64::MAX, f64::MIN), |(left, right), (x, _)| (left.min(place(*x)), right.max(place(*x))));
    let (bottom, top) =
        points().fold((f64::MAX, f64::MIN), |(bottom, top), (_, time)| (bottom.min(*time), top.max(*time)));
    let (bottom, top) = (10_f64.powf(bottom.log10().floor()), 10_f64.powf(top.log10().ceil()));

    let root = SVGBackend::new(path, (820, 500)).into_drawing_area();
    root.fill(&WHITE)?;
    let title = format!("Cost of a solve against {}", series.name);
    root.draw(&Text::new(title, (24, 16), ("sans-serif", 22).into_font().color(&BLACK)))?;
    let subtitle = ("sans-serif", 14).into_font().color(&BLACK.mix(0.6));
    root.draw(&Text::new(series.title, (24, 46), subtitle))?;
    let area = root.margin(70, 12, 12, 24);
    let mut chart = ChartBuilder::on(&area)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(left - 0.1..right + 0.1, (bottom..top).log_scale())?;
    chart
        .configure_mesh()
        .x_desc(series.name)
        .y_desc("microseconds a sample")
        .x_labels((right - left).round() as usize + 2)
        .x_label_formatter(&|x| {
            if (x - x.round()).abs() < 1e-6 { format!("{:.0}", x.exp2()) } else { String::new() }
        })
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_desc_style(("sans-serif", 16))
        .label_style(("sans-serif", 14))
        .draw()?;
    for (pair, color) in series.curves.chunks(2).zip(COLORS) {
        for (curve, (width, size)) in pair.iter().zip([(3, 4), (1, 0)]) {
            let line = curve.points.iter().map(|(x, time)| (place(*x), *time));
            chart
                .draw_series(LineSeries::new(line, color.stroke_width(width)).point_size(size))?
                .label(curve.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], color.stroke_width(width)));
        }
    }
    legend(&mut chart, SeriesLabelPosition::UpperLeft)?;
    root.present()?;
    Ok(())
}
