//! What is gained, over the RAM it takes.

use crate::curves::COLORS;
use crate::legend::{FAINT, legend};
use crate::output;
use crate::spread::Spread;
use crate::title::titled;
use core::error::Error;
use plotters::prelude::*;
use std::path::Path;

/// A method: its name, the bytes it takes, and its gain for every number of examples.
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) bytes: usize,
    pub(crate) gains: Vec<Spread>,
}

/// One series a number of examples, a point a method.
pub(crate) fn draw(path: &Path, subtitle: &str, shots: &[usize], places: &[Place]) -> Result<(), String> {
    output::drawn(path, |part| plot(part, subtitle, shots, places))
}

fn plot(path: &Path, subtitle: &str, shots: &[usize], places: &[Place]) -> Result<(), Box<dyn Error>> {
    let kilobytes = |place: &Place| place.bytes as f64 / 1024.0;
    let (left, right) =
        places.iter().map(kilobytes).fold((f64::MAX, f64::MIN), |(l, r), x| (l.min(x), r.max(x)));
    let gains = || places.iter().flat_map(|place| &place.gains);
    let (least, most) = gains().fold((0.0_f64, 0.0_f64), |(l, m), g| (l.min(g.min), m.max(g.max)));
    let root = SVGBackend::new(path, (820, 500)).into_drawing_area();
    let area = titled(&root, "What adapting gains, over the RAM it takes", subtitle)?;
    let mut chart = ChartBuilder::on(&area)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d((left / 1.3..right * 1.6).log_scale(), least - 2.0..most + 4.0)?;
    chart
        .configure_mesh()
        .x_desc("RAM to adapt with Adam, in KiB")
        .y_desc("gain in percentage points")
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_desc_style(("sans-serif", 16))
        .label_style(("sans-serif", 14))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .draw()?;
    for (index, (examples, color)) in shots.iter().zip(COLORS).enumerate() {
        let own = || places.iter().map(move |place| (kilobytes(place), place.gains[index]));
        let bars = own().map(|(x, gain)| PathElement::new([(x, gain.min), (x, gain.max)], color.mix(0.5)));
        chart.draw_series(bars)?;
        let plural = if *examples == 1 { "example" } else { "examples" };
        chart
            .draw_series(own().map(|(x, gain)| Circle::new((x, gain.mean), 4, color.filled())))?
            .label(format!("{examples} {plural} a class"))
            .legend(move |(x, y)| Circle::new((x + 12, y), 4, color.filled()));
    }
    // Names stand above the points of the most examples.
    let names = places.iter().filter_map(|place| {
        let gain = place.gains.last()?;
        let font = ("sans-serif", 13).into_font().color(&BLACK.mix(0.7));
        Some(Text::new(place.name, (kilobytes(place) * 0.95, gain.max + 3.0), font))
    });
    chart.draw_series(names)?;
    legend(&mut chart, SeriesLabelPosition::LowerRight)?;
    root.present()?;
    Ok(())
}
