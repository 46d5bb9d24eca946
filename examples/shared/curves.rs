//! A plot of several curves, each with the band from the worst seed to the best.

use crate::legend::{FAINT, legend};
use crate::output;
use crate::spread::Spread;
use crate::title::titled;
use core::error::Error;
use plotters::prelude::*;
use std::path::Path;

/// With feedback first, then those to compare with.
pub(crate) const COLORS: [RGBColor; 6] = [
    RGBColor(0, 94, 162),
    RGBColor(200, 90, 20),
    RGBColor(90, 60, 160),
    RGBColor(130, 110, 40),
    RGBColor(20, 130, 70),
    RGBColor(120, 120, 120),
];

/// What stands around the curves.
pub(crate) struct Frame<'a> {
    pub(crate) title: &'a str,
    pub(crate) subtitle: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    /// Names of the places, from left to right.
    pub(crate) places: &'a [String],
    pub(crate) legend: SeriesLabelPosition,
}

/// A curve with a point at every place.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) color: RGBColor,
    pub(crate) points: Vec<Spread>,
}

/// Draws the curves.
pub(crate) fn draw(path: &Path, frame: &Frame<'_>, curves: &[Curve]) -> Result<(), String> {
    output::drawn(path, |part| plot(part, frame, curves))
}

fn plot(path: &Path, frame: &Frame<'_>, curves: &[Curve]) -> Result<(), Box<dyn Error>> {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let (least, most) =
        points().fold((f64::MAX, f64::MIN), |(least, most), p| (least.min(p.min), most.max(p.max)));
    let room = 0.05 * (most - least).max(0.1);
    let last = frame.places.len().saturating_sub(1) as f64;

    let root = SVGBackend::new(path, (820, 500)).into_drawing_area();
    let area = titled(&root, frame.title, frame.subtitle)?;
    let mut chart = ChartBuilder::on(&area)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(-0.2..last + 0.2, (least - room).max(0.0)..most + room)?;
    let name = |x: &f64| {
        let place = x.round();
        let there = (x - place).abs() < 1e-6 && place >= 0.0;
        frame.places.get(place as usize).filter(|_| there).cloned().unwrap_or_default()
    };
    chart
        .configure_mesh()
        .x_desc(frame.x)
        .y_desc(frame.y)
        .x_labels(frame.places.len() + 2)
        .x_label_formatter(&name)
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_desc_style(("sans-serif", 16))
        .label_style(("sans-serif", 14))
        .draw()?;
    for Curve { name, color, points } in curves {
        let color = *color;
        let line =
            |value: fn(&Spread) -> f64| points.iter().map(value).enumerate().map(|(x, y)| (x as f64, y));
        let band: Vec<_> =
            line(|p| p.min).chain(line(|p| p.max).collect::<Vec<_>>().into_iter().rev()).collect();
        chart.draw_series([Polygon::new(band, color.mix(0.15))])?;
        chart
            .draw_series(LineSeries::new(line(|p| p.mean), color.stroke_width(3)).point_size(4))?
            .label(name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], color.stroke_width(3)));
    }
    legend(&mut chart, frame.legend.clone())?;
    root.present()?;
    Ok(())
}
