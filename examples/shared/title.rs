//! What stands above a plot.

use core::error::Error;
use plotters::coord::Shift;
use plotters::prelude::*;

/// A title and a line below it; returns what is left.
pub(crate) fn titled<'a>(
    root: &DrawingArea<SVGBackend<'a>, Shift>,
    title: &str,
    subtitle: &str,
) -> Result<DrawingArea<SVGBackend<'a>, Shift>, Box<dyn Error>> {
    root.fill(&WHITE)?;
    root.draw(&Text::new(title.to_owned(), (24, 16), ("sans-serif", 22).into_font().color(&BLACK)))?;
    root.draw(&Text::new(
        subtitle.to_owned(),
        (24, 46),
        ("sans-serif", 14).into_font().color(&BLACK.mix(0.6)),
    ))?;
    Ok(root.margin(70, 12, 12, 24))
}
