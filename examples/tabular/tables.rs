//! Tables of numbers in lines, and their splits into rows to train and rows to test. See data/README.md.

/// Every fifth row is a row to test, from the split's number on.
pub(crate) const SPLITS: usize = 5;

/// What a row is to be taken for.
enum Targets {
    Classes(Vec<usize>),
    Numbers(Vec<Vec<f32>>),
}

pub(crate) struct Table {
    inputs: Vec<Vec<f32>>,
    targets: Targets,
}

/// A table whose last column is a class.
pub(crate) fn classes(name: &str, text: &str, columns: usize) -> Result<Table, String> {
    let rows = parse(name, text, columns)?;
    let class = |row: &Vec<f32>| row.last().map_or(0, |class| *class as usize);
    let targets = Targets::Classes(rows.iter().map(class).collect());
    Ok(Table { inputs: without_last(rows), targets })
}

/// A table whose last column is a number.
pub(crate) fn numbers(name: &str, text: &str, columns: usize) -> Result<Table, String> {
    let rows = parse(name, text, columns)?;
    let targets =
        Targets::Numbers(rows.iter().map(|row| row.last().copied().into_iter().collect()).collect());
    Ok(Table { inputs: without_last(rows), targets })
}

fn without_last(mut rows: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    for row in &mut rows {
        row.pop();
    }
    rows
}

fn parse(name: &str, text: &str, columns: usize) -> Result<Vec<Vec<f32>>, String> {
    let row = |line: &str| {
        let values: Vec<f32> =
            line.split(',').map(|value| value.trim().parse().ok()).collect::<Option<_>>()?;
        (values.len() == columns + 1 && values.iter().all(|value| value.is_finite())).then_some(values)
    };
    let numbered = text.lines().enumerate();
    numbered
        .map(|(i, line)| {
            row(line).ok_or_else(|| format!("data/{name}, line {}: not {} numbers", i + 1, columns + 1))
        })
        .collect()
}

impl Table {
    /// The same rows, each its own target.
    pub(crate) fn of_itself(self) -> Self {
        Self { targets: Targets::Numbers(self.inputs.clone()), inputs: self.inputs }
    }

    pub(crate) fn has_classes(&self) -> bool {
        matches!(self.targets, Targets::Classes(_))
    }

    /// Split `number`, 0 to 4.
    pub(crate) fn split(&self, number: usize) -> Split<'_> {
        let is_test = |row: &usize| row % SPLITS == number;
        let (test, training): (Vec<_>, Vec<_>) = (0..self.inputs.len()).partition(is_test);
        let inputs = standard(&self.inputs, &training);
        let targets = match &self.targets {
            Targets::Classes(_) => Vec::new(),
            Targets::Numbers(rows) => standard(rows, &training),
        };
        Split { table: self, inputs, targets, training, test }
    }
}

/// The rows less the mean of those to train, over their standard deviation.
fn standard(rows: &[Vec<f32>], training: &[usize]) -> Vec<Vec<f32>> {
    let columns = rows.first().map_or(0, Vec::len);
    let count = training.len() as f64;
    let scales: Vec<(f64, f64)> = (0..columns)
        .map(|column| {
            let values = || training.iter().map(|row| f64::from(rows[*row][column]));
            let mean = values().sum::<f64>() / count;
            let deviation = (values().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
            (mean, if deviation > 0.0 { deviation } else { 1.0 })
        })
        .collect();
    let scaled =
        |(value, (mean, deviation)): (&f32, &(f64, f64))| ((f64::from(*value) - mean) / deviation) as f32;
    rows.iter().map(|row| row.iter().zip(&scales).map(scaled).collect()).collect()
}

/// A table's rows, standardised by those to train.
pub(crate) struct Split<'a> {
    table: &'a Table,
    inputs: Vec<Vec<f32>>,
    targets: Vec<Vec<f32>>,
    pub(crate) training: Vec<usize>,
    pub(crate) test: Vec<usize>,
}

impl Split<'_> {
    pub(crate) fn input(&self, row: usize) -> &[f32] {
        &self.inputs[row]
    }

    /// The class of a row; 0 where rows have none.
    pub(crate) fn label(&self, row: usize) -> usize {
        match &self.table.targets {
            Targets::Classes(labels) => labels[row],
            Targets::Numbers(_) => 0,
        }
    }

    /// The numbers of a row; none where it has a class.
    pub(crate) fn target(&self, row: usize) -> &[f32] {
        self.targets.get(row).map_or(&[], Vec::as_slice)
    }

    /// How good answers for the rows to test are: the share of classes that are right, or R2, the share of the variance of the numbers that
    /// is accounted for.
    pub(crate) fn score(&self, answers: &[Vec<f32>]) -> f64 {
        let count = self.test.len() as f64;
        if self.table.has_classes() {
            let right =
                answers.iter().zip(&self.test).filter(|(answer, row)| largest(answer) == self.label(**row));
            return right.count() as f64 / count;
        }
        let (mut left, mut all) = (0.0, 0.0);
        for output in 0..answers.first().map_or(0, Vec::len) {
            let values = || self.test.iter().map(|row| f64::from(self.targets[*row][output]));
            let mean = values().sum::<f64>() / count;
            all += values().map(|value| (value - mean).powi(2)).sum::<f64>();
            left += answers
                .iter()
                .zip(values())
                .map(|(a, value)| (f64::from(a[output]) - value).powi(2))
                .sum::<f64>();
        }
        1.0 - left / all
    }
}

/// The class with the largest output.
fn largest(outputs: &[f32]) -> usize {
    (1..outputs.len()).fold(0, |best, class| if outputs[class] > outputs[best] { class } else { best })
}
