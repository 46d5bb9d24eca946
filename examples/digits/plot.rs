//! The plots, as SVG.

use crate::classes::{CLASSES, largest};
use crate::data::{Digit, SIDE};
use crate::drawing::{CONTROL, FEEDBACK, Outcome, QUIET, WRONG, anchored, draw_image};
use crate::legend::{FAINT, legend};
use crate::spread::{Spread, seeds};
use crate::title::titled;
use crate::training::{History, Run, SWEEPS};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use std::path::Path;

const RIGHT: RGBColor = RGBColor(20, 130, 70);

/// The test accuracy in per cent after 1, 2, 3... sweeps.
pub(crate) fn accuracies(runs: &[Run], test: &[Digit]) -> Vec<Spread> {
    let share = |run: &Run, sweep: usize| {
        let right = |(history, digit): &(&History, &Digit)| largest(&history.scores[sweep]) == digit.label;
        100.0 * run.histories.iter().zip(test).filter(right).count() as f64 / test.len() as f64
    };
    (0..SWEEPS).map(|sweep| Spread::of(runs.iter().map(|run| share(run, sweep)))).collect()
}

fn sweeps() -> impl Iterator<Item = f64> + Clone {
    (1..=SWEEPS).map(|sweep| sweep as f64)
}

/// How the residual falls, over all test digits of all seeds.
pub(crate) fn residuals(path: &Path, shape: &str, runs: &[Run], without: &[Run]) -> Outcome {
    /// Below this, f32 rounding is all that is left.
    const LEAST: f64 = 1e-8;
    let quantiles = |runs: &[Run], sweep: usize| {
        let histories = runs.iter().flat_map(|run| &run.histories);
        let mut residuals: Vec<f32> = histories.map(|history| history.residuals[sweep]).collect();
        residuals.sort_by(f32::total_cmp);
        let last = residuals.len() - 1;
        [last / 10, last / 2, last * 9 / 10, last].map(|at| f64::from(residuals[at]).max(LEAST))
    };
    let settling: Vec<[f64; 4]> = (0..SWEEPS).map(|sweep| quantiles(runs, sweep)).collect();
    // Its first sweep is its solution, the second changes nothing.
    let control = [0, 1].map(|sweep| (sweep as f64 + 1.0, quantiles(without, sweep)[3]));
    let top = 10_f64.powf(settling.iter().flatten().fold(control[0].1, |a, &b| a.max(b)).log10().ceil());
    let line = |quantile: usize| sweeps().zip(settling.iter().map(move |q| q[quantile]));

    let root = SVGBackend::new(path, (820, 500)).into_drawing_area();
    let area = titled(
        &root,
        "A feedback network settles: residual after each sweep",
        &format!(
            "{shape}, {} test digits, {}, from a state of zero; what is below 1e-8 is drawn there",
            runs[0].histories.len(),
            seeds(runs.len())
        ),
    )?;
    let mut chart = ChartBuilder::on(&area)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0.8..SWEEPS as f64 + 0.2, (LEAST..top).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("sweep")
        .y_desc("residual: largest change of a unit")
        .x_labels(SWEEPS)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0e}"))
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_desc_style(("sans-serif", 16))
        .label_style(("sans-serif", 14))
        .draw()?;
    let band: Vec<_> = line(0).chain(line(2).collect::<Vec<_>>().into_iter().rev()).collect();
    chart
        .draw_series([Polygon::new(band, FEEDBACK.mix(0.2))])?
        .label("80 % of the digits")
        .legend(|(x, y)| Rectangle::new([(x, y - 6), (x + 24, y + 6)], FEEDBACK.mix(0.2).filled()));
    chart
        .draw_series(LineSeries::new(line(3), FEEDBACK.mix(0.5)))?
        .label("slowest digit")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 24, y)], FEEDBACK.mix(0.5)));
    chart
        .draw_series(LineSeries::new(line(1), FEEDBACK.stroke_width(3)).point_size(4))?
        .label("median digit")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 24, y)], FEEDBACK.stroke_width(3)));
    chart
        .draw_series(LineSeries::new(control, CONTROL.stroke_width(2)).point_size(4))?
        .label("without feedback: the first sweep is all")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 24, y)], CONTROL.stroke_width(2)));
    legend(&mut chart, SeriesLabelPosition::UpperRight)?;
    root.present()?;
    Ok(())
}

/// What further sweeps are worth, beside a network that has no use for them.
pub(crate) fn accuracy(path: &Path, shape: &str, with: &[Run], without: &[Run], test: &[Digit]) -> Outcome {
    let (with_feedback, control) = (accuracies(with, test), accuracies(without, test));
    let lowest = with_feedback.iter().chain(&control).map(|spread| spread.min).fold(100.0, f64::min);
    let bottom = (lowest - 0.3).floor().max(0.0);

    let root = SVGBackend::new(path, (820, 500)).into_drawing_area();
    let area = titled(
        &root,
        "Test accuracy after 1, 2, 3... sweeps",
        &format!(
            "{shape}, {} test digits by other writers; mean of {}, band from worst to best",
            test.len(),
            seeds(with.len())
        ),
    )?;
    let mut chart = ChartBuilder::on(&area)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0.8..SWEEPS as f64 + 0.2, bottom..100.0)?;
    chart
        .configure_mesh()
        .x_desc("sweeps")
        .y_desc("test accuracy in %")
        .x_labels(SWEEPS)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_desc_style(("sans-serif", 16))
        .label_style(("sans-serif", 14))
        .draw()?;
    for (name, spreads, color) in
        [("without feedback", &control, CONTROL), ("with feedback", &with_feedback, FEEDBACK)]
    {
        let line = |value: fn(&Spread) -> f64| sweeps().zip(spreads.iter().map(value));
        let band: Vec<_> =
            line(|s| s.min).chain(line(|s| s.max).collect::<Vec<_>>().into_iter().rev()).collect();
        chart.draw_series([Polygon::new(band, color.mix(0.2))])?;
        let last = spreads.last().map_or(0.0, |spread| spread.mean);
        chart
            .draw_series(LineSeries::new(line(|s| s.mean), color.stroke_width(3)).point_size(4))?
            .label(format!("{name}: {last:.1} %"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], color.stroke_width(3)));
    }
    legend(&mut chart, SeriesLabelPosition::LowerRight)?;
    root.present()?;
    Ok(())
}

/// Digits and what the network makes of them, sweep by sweep.
pub(crate) fn digits(path: &Path, shape: &str, run: &Run, test: &[Digit]) -> Outcome {
    const SHOWN: [usize; 5] = [1, 2, 3, 4, SWEEPS];
    const CELL: i32 = 150;
    const ROW: i32 = 112;
    const LEFT: i32 = 230;
    const TOP: i32 = 112;
    let chosen = choose(run, test);
    let size = (LEFT + CELL * SHOWN.len() as i32 + 8, TOP + ROW * chosen.len() as i32 + 16);
    let root = SVGBackend::new(path, (size.0 as u32, size.1 as u32)).into_drawing_area();
    titled(
        &root,
        "Digits while the network settles",
        &format!("{shape}, with feedback; bars: softmax of the ten scores, in colour the answer"),
    )?;
    for (column, sweep) in SHOWN.iter().enumerate() {
        let text = if *sweep == 1 { "1 sweep".to_owned() } else { format!("{sweep} sweeps") };
        let at = (LEFT + CELL * column as i32 + 65, 84);
        root.draw(&Text::new(text, at, anchored(15, &BLACK, HPos::Center)))?;
    }
    for (row, (index, what)) in chosen.into_iter().enumerate() {
        let (digit, history) = (&test[index], &run.histories[index]);
        let top = TOP + ROW * row as i32;
        draw_image(&root, (24, top), SIDE, 10, digit.pixels)?;
        for (line, (text, color)) in [
            (format!("a {}", digit.label), BLACK),
            (what.to_owned(), QUIET),
            (format!("digit {}", index + 1), QUIET),
        ]
        .into_iter()
        .enumerate()
        {
            let size = if line == 0 { 18 } else { 13 };
            let at = (122, top + 10 + 24 * line as i32);
            root.draw(&Text::new(text, at, anchored(size, &color, HPos::Left)))?;
        }
        for (column, sweep) in SHOWN.iter().enumerate() {
            let corner = (LEFT + CELL * column as i32, top);
            draw_scores(&root, corner, &history.scores[sweep - 1], digit.label)?;
        }
    }
    root.present()?;
    Ok(())
}

/// Digits of every kind: whose answer the later sweeps change, for better or worse, and whose they do not.
fn choose(run: &Run, test: &[Digit]) -> Vec<(usize, &'static str)> {
    const KINDS: [(&str, usize); 4] =
        [("set right", 3), ("set wrong", 1), ("right at once", 1), ("never right", 1)];
    let kind = |index: &usize| {
        let (digit, history) = (&test[*index], &run.histories[*index]);
        let first = largest(&history.scores[0]) == digit.label;
        match (first, largest(&history.scores[SWEEPS - 1]) == digit.label) {
            (false, true) => KINDS[0].0,
            (true, false) => KINDS[1].0,
            (true, true) => KINDS[2].0,
            (false, false) => KINDS[3].0,
        }
    };
    let of_kind = |(name, count)| {
        (0..test.len()).filter(move |index| kind(index) == name).take(count).map(move |index| (index, name))
    };
    KINDS.into_iter().flat_map(of_kind).collect()
}

fn draw_scores(
    root: &DrawingArea<SVGBackend<'_>, Shift>,
    (left, top): (i32, i32),
    scores: &[f32; CLASSES],
    label: usize,
) -> Outcome {
    const STEP: i32 = 13;
    const HEIGHT: i32 = 60;
    let answer = largest(scores);
    let weights = scores.map(|score| (score - scores[answer]).exp());
    let sum: f32 = weights.iter().sum();
    let floor = top + 16 + HEIGHT;
    let color = if answer == label { RIGHT } else { WRONG };
    for (class, weight) in weights.iter().enumerate() {
        let x = left + STEP * class as i32;
        let color = if class == answer { color } else { QUIET };
        let bar = (HEIGHT as f32 * weight / sum).round() as i32;
        root.draw(&Rectangle::new([(x, floor - bar), (x + STEP - 3, floor)], color.filled()))?;
        let at = (x + (STEP - 3) / 2, floor + 10);
        root.draw(&Text::new(class.to_string(), at, anchored(11, &color, HPos::Center)))?;
    }
    root.draw(&PathElement::new([(left - 2, floor), (left + STEP * CLASSES as i32, floor)], QUIET))?;
    let text = format!("{answer}  ({:.0} %)", 100.0 * weights[answer] / sum);
    root.draw(&Text::new(text, (left + 65, top + 2), anchored(14, &color, HPos::Center)))?;
    Ok(())
}
