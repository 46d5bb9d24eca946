//! Inputs and targets as a network learns best from them, and the same in its weights.

use crate::table::Table;
use std::path::Path;

/// Of every column the number that is taken away and the one it is divided by then.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scaling(pub(crate) Vec<(f64, f64)>);

impl Scaling {
    /// To mean 0 and standard deviation 1; columns that do not vary are only moved.
    pub(crate) fn standard(columns: usize, values: &[f64]) -> Self {
        let rows = (values.len() / columns) as f64;
        let column = |column| values.iter().skip(column).step_by(columns);
        let each = (0..columns).map(|at| {
            let mean = column(at).sum::<f64>() / rows;
            let variance = column(at).map(|value| (value - mean).powi(2)).sum::<f64>() / rows;
            // What rounding leaves of a column that is the same everywhere is no deviation.
            let least = 1e-12 * column(at).fold(0.0, |most: f64, value| most.max(value.abs()));
            let deviation = variance.sqrt();
            (mean, if deviation > least { deviation } else { 1.0 })
        });
        Self(each.collect())
    }

    /// All columns by one number, the largest there is: for pixels.
    pub(crate) fn range(columns: usize, values: &[f64]) -> Self {
        let most = values.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
        Self(vec![(0.0, if most > 0.0 { most } else { 1.0 }); columns])
    }

    pub(crate) fn none(columns: usize) -> Self {
        Self(vec![(0.0, 1.0); columns])
    }

    pub(crate) fn apply(&self, values: &mut [f64]) {
        for row in values.chunks_exact_mut(self.0.len()) {
            for (value, (mean, deviation)) in row.iter_mut().zip(&self.0) {
                *value = (*value - mean) / deviation;
            }
        }
    }

    /// A column, counted from 1, whose values are so far from 0 beside how much they vary that `f32` keeps few of their digits.
    pub(crate) fn far(&self) -> Option<usize> {
        self.0.iter().position(|(mean, deviation)| mean.abs() > 1e4 * deviation).map(|at| at + 1)
    }

    /// A line a column: what is taken away, what it is divided by.
    pub(crate) fn to_text(&self) -> String {
        self.0.iter().map(|(mean, deviation)| format!("{mean:?},{deviation:?}\n")).collect()
    }

    pub(crate) fn from_text(text: &str) -> Result<Self, String> {
        let line = |(at, line): (usize, &str)| {
            let pair = line.split_once(',').and_then(|(mean, deviation)| {
                Some((mean.trim().parse::<f64>().ok()?, deviation.trim().parse::<f64>().ok()?))
            });
            pair.filter(|(mean, deviation)| mean.is_finite() && deviation.is_finite() && *deviation > 0.0)
                .ok_or_else(|| {
                    format!(
                        "line {}: not what is to be taken away, a comma and what to divide by, more than 0",
                        at + 1
                    )
                })
        };
        text.lines().enumerate().map(line).collect::<Result<_, _>>().map(Self)
    }

    /// Scales a table by what a file says.
    pub(crate) fn apply_file(path: &Path, table: &mut Table) -> Result<(), String> {
        let text = String::from_utf8_lossy(&crate::files::read(path)?).into_owned();
        let scaling = Self::from_text(&text).map_err(|error| crate::files::about(path, error))?;
        if scaling.0.len() != table.columns {
            let error = format!("scales {} columns, and the data have {}", scaling.0.len(), table.columns);
            return Err(crate::files::about(path, error));
        }
        scaling.apply(&mut table.inputs);
        Ok(())
    }
}

/// A layer's parameters in `f64`, matrices column after column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layer {
    pub(crate) w: Vec<f64>,
    pub(crate) u: Vec<f64>,
    pub(crate) b: Vec<f64>,
}

/// Has the first layer take inputs as they are: W (x - m) / d + b = (W / d) x + (b - (W / d) m).
pub(crate) fn fold_inputs(first: &mut Layer, Scaling(scaling): &Scaling) {
    let rows = first.b.len();
    for (column, (mean, deviation)) in first.w.chunks_exact_mut(rows).zip(scaling) {
        for (w, b) in column.iter_mut().zip(&mut first.b) {
            *w /= deviation;
            *b -= *w * mean;
        }
    }
}

/// Has the last layer, which has no activation, give targets as they are: y = d (W h + b) + m. Layers that read the outputs read
/// (y - m) / d: `fed_back` has the layers below and which columns of their U are the outputs'.
pub(crate) fn fold_targets(
    layers: &mut [Layer],
    outputs_fed_back: &[Option<usize>],
    Scaling(scaling): &Scaling,
) {
    let Some((last, below)) = layers.split_last_mut() else { return };
    let rows = last.b.len();
    for column in last.w.chunks_exact_mut(rows) {
        for (w, (_, deviation)) in column.iter_mut().zip(scaling) {
            *w *= deviation;
        }
    }
    for (b, (mean, deviation)) in last.b.iter_mut().zip(scaling) {
        *b = *b * deviation + mean;
    }
    for (layer, first) in below.iter_mut().zip(outputs_fed_back) {
        let Some(first) = first else { continue };
        let rows = layer.b.len();
        for (column, (mean, deviation)) in layer.u[first * rows..].chunks_exact_mut(rows).zip(scaling) {
            for (u, b) in column.iter_mut().zip(&mut layer.b) {
                *u /= deviation;
                *b -= *u * mean;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation() {
        let values = [1.0, 7.0, 3.0, 7.0, 5.0, 7.0];
        let scaling = Scaling::standard(2, &values);
        let deviation = (8.0_f64 / 3.0).sqrt();
        assert_eq!(scaling, Scaling(vec![(3.0, deviation), (7.0, 1.0)]));
        let mut scaled = values;
        scaling.apply(&mut scaled);
        assert_eq!(scaled, [-2.0 / deviation, 0.0, 0.0, 0.0, 2.0 / deviation, 0.0]);
        assert_eq!(Scaling::range(2, &[1.0, -8.0, 3.0, 7.0]), Scaling(vec![(0.0, 8.0); 2]));
        // The rounding of a mean is no deviation.
        assert_eq!(Scaling::standard(1, &[0.1; 3]).0[0].1, 1.0);
        assert_eq!(Scaling(vec![(1.0, 1.0), (2024.0, 0.1)]).far(), Some(2));
    }

    #[test]
    fn a_text_says_every_bit() {
        let scaling = Scaling(vec![(0.1 + 0.2, 1.0 / 3.0), (-1e300, 5e-324)]);
        assert_eq!(Scaling::from_text(&scaling.to_text()), Ok(scaling));
        for text in ["1", "1,0", "1,-1", "x,1", "1,inf", "1,2,3"] {
            let text = format!("0,1\n{text}\n");
            assert!(Scaling::from_text(&text).unwrap_err().starts_with("line 2: "), "{text}");
        }
    }

    /// z = W x + U h + b of a layer, by definition.
    fn sum(layer: &Layer, below: &[f64], above: &[f64]) -> Vec<f64> {
        let rows = layer.b.len();
        let product = |m: &[f64], x: &[f64], row| (0..x.len()).map(|j| m[j * rows + row] * x[j]).sum::<f64>();
        (0..rows)
            .map(|row| layer.b[row] + product(&layer.w, below, row) + product(&layer.u, above, row))
            .collect()
    }

    #[test]
    fn folded_layers_give_the_same_sums() {
        let numbers =
            |start: f64, count: usize| (0..count).map(|i| (start + i as f64).sin()).collect::<Vec<_>>();
        let layer = |start, rows: usize, below: usize, above: usize| Layer {
            w: numbers(start, rows * below),
            u: numbers(start + 50.0, rows * above),
            b: numbers(start + 90.0, rows),
        };
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);

        let mut first = layer(1.0, 3, 2, 0);
        let scaling = Scaling(vec![(5.0, 2.0), (-300.0, 40.0)]);
        let mut x = [7.5, -250.0];
        let raw = x;
        scaling.apply(&mut x);
        let before = sum(&first, &x, &[]);
        fold_inputs(&mut first, &scaling);
        assert!(close(&sum(&first, &raw, &[]), &before));

        // 3 hidden units that read 2 others and the 2 outputs behind them.
        let mut layers = [layer(3.0, 3, 1, 4), layer(4.0, 2, 3, 0)];
        let (below, above) = ([0.3], [0.5, -0.25]);
        let hidden = [0.1, -0.7, 0.4];
        let outputs = sum(&layers[1], &hidden, &[]);
        let before = sum(&layers[0], &below, &[above[0], above[1], outputs[0], outputs[1]]);
        let targets = Scaling(vec![(150.0, 77.0), (-2.0, 0.5)]);
        fold_targets(&mut layers, &[Some(2)], &targets);
        let folded = sum(&layers[1], &hidden, &[]);
        let expected: Vec<f64> = outputs.iter().zip(&targets.0).map(|(y, (m, d))| y * d + m).collect();
        assert!(close(&folded, &expected), "{folded:?} {expected:?}");
        let after = sum(&layers[0], &below, &[above[0], above[1], folded[0], folded[1]]);
        assert!(close(&after, &before), "{after:?} {before:?}");
    }
}
