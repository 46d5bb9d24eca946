//! A row of weights as integers, and back.

use super::error::QuantizeError;
use super::view::Of;

/// What a row of integers has beside its weights.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) bias: i32,
    pub(super) scale: i16,
    pub(super) exponent: i8,
}

/// The largest exponent.
pub(super) const EXPONENTS: i32 = 31;

impl Row {
    /// The scale r.
    pub(super) fn ratio(&self) -> f32 {
        f32::from(self.scale) / power(16 + i32::from(self.exponent))
    }

    /// The smallest ratio that is at least `least`, and its scale and exponent.
    fn with_ratio(least: f32) -> Option<Self> {
        for exponent in (0..=EXPONENTS).rev() {
            let scale = libm::ceilf(least * power(16 + exponent));
            if scale <= f32::from(i16::MAX) {
                return Some(Self { bias: 0, scale: scale as i16, exponent: exponent as i8 });
            }
        }
        None
    }
}

fn power(n: i32) -> f32 {
    libm::ldexpf(1.0, n)
}

/// Makes integers of a row with this bias, in units of z. States are multiplied with `offset` added, and come to no more than `most` then.
pub(super) fn quantize(
    columns: &mut Of<'_>,
    bias: f32,
    offset: i32,
    most: i32,
    unit: (usize, usize),
) -> Result<Row, QuantizeError> {
    let mut largest = 0.0_f32;
    for column in 0..columns.count() {
        let weight = columns.weight(column).0;
        if !weight.is_finite() {
            return Err(QuantizeError::NotFinite);
        }
        largest = largest.max(weight.abs());
    }
    if !bias.is_finite() {
        return Err(QuantizeError::NotFinite);
    }
    let mut least = (largest / 127.0).max(bias.abs() / power(24)).max(power(-40));
    // Each time sums half as large.
    loop {
        let Some(mut row) = Row::with_ratio(least) else {
            return Err(QuantizeError::Large { layer: unit.0, unit: unit.1 });
        };
        let ratio = row.ratio();
        let (mut sum, mut magnitudes, mut missed) = (0_i64, 0_i64, 0.0);
        for column in 0..columns.count() {
            let (weight, mean) = columns.weight(column);
            let integer = libm::roundf(weight / ratio).clamp(-127.0, 127.0);
            missed += (weight - integer * ratio) * mean;
            sum += integer as i64;
            magnitudes += libm::fabsf(integer) as i64;
        }
        if !missed.is_finite() {
            // The calibration's sums overflowed.
            return Err(QuantizeError::NotFinite);
        }
        // What rounding the weights makes of the average sum; and a half, to round by.
        let bias = libm::roundf((bias + missed + 0.5) / ratio);
        // What is not finite, or near the end of 64 bits, does not fit.
        let bias = if bias.is_finite() { bias as i64 } else { i64::MAX };
        let bias = bias.saturating_sub(i64::from(offset) * sum);
        if fits(magnitudes, most, bias) {
            row.bias = bias as i32;
            for column in 0..columns.count() {
                let integer = libm::roundf(columns.weight(column).0 / ratio).clamp(-127.0, 127.0);
                columns.put(column, integer as i8);
            }
            return Ok(row);
        }
        least *= 2.0;
    }
}

/// Whether no part of the sum, in whatever order, leaves 32 bits.
pub(super) const fn fits(magnitudes: i64, most: i32, bias: i64) -> bool {
    magnitudes.saturating_mul(most as i64).saturating_add(bias.saturating_abs()) <= i32::MAX as i64
}
