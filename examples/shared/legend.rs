//! The legend of the plots.

use core::error::Error;
use plotters::coord::CoordTranslate;
use plotters::prelude::*;

/// Lines that should not be noticed.
pub(crate) const FAINT: RGBColor = RGBColor(225, 225, 225);

/// Draws the labels of all series.
pub(crate) fn legend<'a, C: CoordTranslate>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, C>,
    position: SeriesLabelPosition,
) -> Result<(), Box<dyn Error>> {
    chart
        .configure_series_labels()
        .position(position)
        .label_font(("sans-serif", 14))
        .background_style(WHITE.mix(0.9))
        .border_style(FAINT)
        .draw()?;
    Ok(())
}
