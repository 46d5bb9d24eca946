//! The curve of a run: as CSV, and as SVG.

use core::fmt::Write;
use plotters::prelude::*;

/// A point of the curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// How many steps had been taken.
    pub step: u32,
    /// How many sweeps the last of them had.
    pub sweeps: u32,
    /// The learning rate of the last of them.
    pub rate: f32,
    /// Bits a predicted token, mean of the steps since the last point.
    pub training: f64,
    /// Bits a predicted token of windows of the held-out tenth.
    pub held_out: f64,
}

/// A plot that could not be drawn.
#[derive(Debug)]
pub struct PlotError(String);

impl core::fmt::Display for PlotError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the plot cannot be drawn: {}", self.0)
    }
}

impl core::error::Error for PlotError {}

/// The points, a line each, below a line of names.
///
/// ```
/// use attractor_language::plot::{Point, csv};
/// let point = Point { step: 10, sweeps: 1, rate: 1e-3, training: 3.5, held_out: 3.75 };
/// let lines = "step,sweeps,rate,training_bits,held_out_bits\n10,1,0.001,3.500000,3.750000\n";
/// assert_eq!(csv(&[point]), lines);
/// ```
#[must_use]
pub fn csv(points: &[Point]) -> String {
    let mut text = String::from("step,sweeps,rate,training_bits,held_out_bits\n");
    for Point { step, sweeps, rate, training, held_out } in points {
        // Into a string nothing fails.
        let _ = writeln!(text, "{step},{sweeps},{rate},{training:.6},{held_out:.6}");
    }
    text
}

const TRAINING: RGBColor = RGBColor(160, 160, 160);
const HELD_OUT: RGBColor = RGBColor(0, 94, 162);
const FAINT: RGBColor = RGBColor(225, 225, 225);

/// The curve as an SVG image. Where feedback is switched on there is a vertical line.
///
/// # Errors
/// [`PlotError`]: the drawing library refuses.
pub fn svg(title: &str, points: &[Point]) -> Result<String, PlotError> {
    let mut image = String::new();
    draw(&mut image, title, points).map_err(|error| PlotError(error.to_string()))?;
    Ok(image)
}

fn draw(image: &mut String, title: &str, points: &[Point]) -> Result<(), Box<dyn core::error::Error>> {
    let finite = |value: f64| value.is_finite().then_some(value);
    let values = points.iter().flat_map(|point| [point.training, point.held_out]).filter_map(finite);
    let (least, most) =
        values.fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)));
    let (least, most) = if least <= most { (least, most) } else { (0.0, 1.0) };
    let room = 0.05 * (most - least).max(0.1);
    let bottom = (least - room).max(0.0);
    let last = f64::from(points.last().map_or(1, |point| point.step.max(1)));

    let root = SVGBackend::with_string(image, (820, 500)).into_drawing_area();
    root.fill(&WHITE)?;
    root.draw(&Text::new(title.to_owned(), (24, 16), ("sans-serif", 20).into_font().color(&BLACK)))?;
    let area = root.margin(48, 12, 12, 24);
    let mut chart = ChartBuilder::on(&area)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..last, bottom..most + room)?;
    chart
        .configure_mesh()
        .x_desc("step")
        .y_desc("bits a predicted token")
        .x_label_formatter(&|step| format!("{step:.0}"))
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_desc_style(("sans-serif", 16))
        .label_style(("sans-serif", 14))
        .draw()?;
    let switched = points.windows(2).find(|pair| pair[0].sweeps < pair[1].sweeps);
    if let Some([before, _]) = switched {
        let at = f64::from(before.step);
        chart.draw_series(LineSeries::new([(at, bottom), (at, most + room)], TRAINING))?;
    }
    type Value = fn(&Point) -> f64;
    let line = |value: Value| {
        let points = points.iter().map(move |point| (f64::from(point.step), value(point)));
        points.filter(|(_, value)| value.is_finite())
    };
    let curves: [(&str, RGBColor, Value); 2] =
        [("training", TRAINING, |point| point.training), ("held out", HELD_OUT, |point| point.held_out)];
    for (name, color, value) in curves {
        let name = match line(value).next_back() {
            Some((_, last)) => format!("{name}: {last:.3}"),
            None => name.to_owned(),
        };
        chart
            .draw_series(LineSeries::new(line(value), color.stroke_width(3)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], color.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(("sans-serif", 14))
        .background_style(WHITE.mix(0.9))
        .border_style(FAINT)
        .draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Point, csv, svg};

    fn points() -> Vec<Point> {
        let point = |i: u32| Point {
            step: 10 * i,
            sweeps: 1 + i / 3,
            rate: 1e-3,
            training: 8.0 / f64::from(i),
            held_out: 8.5 / f64::from(i),
        };
        (1..6).map(point).collect()
    }

    #[test]
    fn curves_are_drawn() {
        let image = svg("a < b", &points()).unwrap();
        assert!(image.starts_with("<svg") && image.trim_end().ends_with("</svg>"));
        for text in ["a &lt; b", "training: 1.600", "held out: 1.700", "bits a predicted token"] {
            assert!(image.contains(text), "{text}");
        }
        // The two curves, and the line where feedback is switched on, are polylines.
        let lines = |image: &str| image.matches("<polyline").count();
        let plain: Vec<_> = points().into_iter().map(|point| Point { sweeps: 1, ..point }).collect();
        assert_eq!(lines(&image), lines(&svg("a", &plain).unwrap()) + 1);
        assert_eq!(csv(&points()).lines().count(), 6);
    }

    #[test]
    fn a_curve_without_points_or_numbers_is_drawn() {
        svg("none", &[]).unwrap();
        let mut points = points();
        points[0].held_out = f64::NAN;
        points[1].training = f64::INFINITY;
        svg("some", &points[..1]).unwrap();
        svg("some", &points).unwrap();
    }
}
