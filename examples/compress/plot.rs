//! Accuracy over bytes.

use crate::output;
use crate::title::titled;
use core::error::Error;
use plotters::prelude::*;
use std::path::Path;

/// One point a network: its name, its bytes, its accuracy in percent; written to accuracy.svg in `folder`.
pub(crate) fn draw(folder: &Path, points: &[(&str, f64, f64)], subtitle: &str) -> Result<(), String> {
    output::drawn(&folder.join("accuracy.svg"), |part| plot(part, points, subtitle))
}

fn plot(path: &Path, points: &[(&str, f64, f64)], subtitle: &str) -> Result<(), Box<dyn Error>> {
    let range = |of: fn(&(&str, f64, f64)) -> f64| {
        points.iter().map(of).fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(x), high.max(x)))
    };
    let ((left, right), (low, high)) = (range(|point| point.1), range(|point| point.2));
    let root = SVGBackend::new(path, (720, 460)).into_drawing_area();
    let area = titled(&root, "What is left of the accuracy in fewer bytes", subtitle)?;
    let mut chart = ChartBuilder::on(&area)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d((left / 1.3..right * 1.5).log_scale(), low - 0.5..high + 0.5)?;
    chart
        .configure_mesh()
        .x_desc("bytes of the network")
        .y_desc("accuracy on the test digits, %")
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .draw()?;
    chart.draw_series(
        points.iter().map(|(_, bytes, accuracy)| Circle::new((*bytes, *accuracy), 4, BLUE.filled())),
    )?;
    // Where two are as large, their names stand one above the other.
    chart.draw_series(points.iter().enumerate().map(|(i, (name, bytes, accuracy))| {
        let above = if i % 2 == 0 { 0.12 } else { -0.02 } * (high - low + 1.0);
        Text::new((*name).to_owned(), (bytes * 1.02, accuracy + above), ("sans-serif", 13))
    }))?;
    root.present()?;
    Ok(())
}
