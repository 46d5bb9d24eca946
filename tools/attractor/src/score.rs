//! How good answers are.

use crate::net::{Answers, Solve};
use crate::table::{Table, Targets};

/// What came of the rows of a table.
pub(crate) struct Score {
    /// Of classes the share that is right, of numbers R2.
    pub(crate) good: f64,
    /// Cross-entropy, or the mean of squared errors.
    pub(crate) loss: f64,
    pub(crate) sweeps: f64,
    pub(crate) most_sweeps: usize,
    /// The share of the rows.
    pub(crate) not_converged: f64,
    /// Row after row.
    pub(crate) outputs: Vec<Vec<f64>>,
}

impl Score {
    /// Of these rows of a table.
    pub(crate) fn of(
        net: &mut dyn Answers,
        table: &Table,
        rows: impl Iterator<Item = usize> + Clone,
        solve: Solve,
    ) -> Result<Self, String> {
        let (mut sweeps, mut most_sweeps, mut not_converged) = (0, 0, 0);
        let (mut outputs, mut right, mut loss) = (Vec::new(), 0, 0.0);
        for row in rows.clone() {
            let answer = net
                .answer(table.row(row), solve)
                .map_err(|error| format!("row {} of the data: {error}", row + 1))?;
            sweeps += answer.sweeps;
            most_sweeps = most_sweeps.max(answer.sweeps);
            not_converged += usize::from(!answer.converged);
            match &table.targets {
                Targets::Classes { labels, .. } => {
                    right += usize::from(answer.label() == labels[row]);
                    loss += cross_entropy(&answer.outputs, labels[row]);
                }
                Targets::Numbers { columns, values } => {
                    let targets = &values[row * columns..][..*columns];
                    loss += answer.outputs.iter().zip(targets).map(|(h, y)| (h - y).powi(2)).sum::<f64>()
                        / *columns as f64;
                }
            }
            outputs.push(answer.outputs);
        }
        let count = outputs.len() as f64;
        let loss = loss / count;
        let good = match &table.targets {
            Targets::Classes { .. } => right as f64 / count,
            Targets::Numbers { columns, values } => 1.0 - loss / variance(*columns, values, rows),
        };
        Ok(Self {
            good,
            loss,
            sweeps: sweeps as f64 / count,
            most_sweeps,
            not_converged: not_converged as f64 / count,
            outputs,
        })
    }

    /// `name: value` lines, each name after this.
    pub(crate) fn lines(&self, table: &Table, before: &str) -> Vec<String> {
        let mut lines = match table.targets {
            Targets::Classes { .. } => vec![
                format!("{before}accuracy: {:.2} %", 100.0 * self.good),
                format!("{before}loss: {:.5}", self.loss),
            ],
            Targets::Numbers { .. } => vec![
                format!("{before}R2: {:.4}", self.good),
                format!("{before}mean squared error: {:.6e}", self.loss),
            ],
        };
        lines.push(format!("{before}sweeps: mean {:.1}, most {}", self.sweeps, self.most_sweeps));
        lines.push(format!("{before}not converged: {:.2} %", 100.0 * self.not_converged));
        lines
    }
}

/// -log softmax of a class.
fn cross_entropy(outputs: &[f64], label: usize) -> f64 {
    let most = outputs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = outputs.iter().map(|output| (output - most).exp()).sum();
    most + sum.ln() - outputs[label]
}

/// Of the targets of these rows, the mean over their columns.
fn variance(columns: usize, values: &[f64], rows: impl Iterator<Item = usize> + Clone) -> f64 {
    let each = (0..columns).map(|column| {
        let values = rows.clone().map(|row| values[row * columns + column]);
        let count = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / count;
        values.map(|value| (value - mean).powi(2)).sum::<f64>() / count
    });
    each.sum::<f64>() / columns as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Answer;

    /// Answers with the first numbers of a row; the last says how many sweeps it took, and a negative one that they did not converge.
    struct Echo;
    impl Answers for Echo {
        fn inputs(&self) -> usize {
            3
        }
        fn outputs(&self) -> usize {
            2
        }
        fn answer(&mut self, row: &[f64], _: Solve) -> Result<Answer, String> {
            let (sweeps, converged) = (row[2].abs() as usize, row[2] > 0.0);
            Ok(Answer { outputs: row[..2].to_vec(), sweeps, converged })
        }
    }

    #[test]
    fn right_answers_and_squares_are_counted() {
        let inputs = vec![1.0, 0.0, 3.0, 2.0, 4.0, -5.0, 9.0, 9.0, 9.0];
        let names = vec!["0".to_owned(), "1".to_owned()];
        let targets = Targets::Classes { labels: vec![0, 0, 0], names };
        let mut table = Table { columns: 3, inputs, targets, image: None };
        let solve = Solve { tolerance: 1e-5, sweeps: 100 };
        let score = Score::of(&mut Echo, &table, 0..2, solve).unwrap();
        // log(1 + e^-1) and 2 + log(1 + e^-2)
        let loss = (0.313_261_687_518_222_8 + 2.126_928_011_042_972_5) / 2.0;
        assert!((score.loss - loss).abs() < 1e-12, "{}", score.loss);
        assert_eq!((score.good, score.sweeps, score.most_sweeps, score.not_converged), (0.5, 4.0, 5, 0.5));
        table.targets = Targets::Numbers { columns: 2, values: vec![1.0, 2.0, 3.0, 4.0, 0.0, 0.0] };
        let score = Score::of(&mut Echo, &table, 0..2, solve).unwrap();
        // Errors 0, -2, -1, 0; targets vary by 1 in both columns.
        assert_eq!((score.loss, score.good), (1.25, -0.25));
    }
}
