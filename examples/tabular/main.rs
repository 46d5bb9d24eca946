//! Tables as people have them: five splits each, by the trainer's defaults. Does every step converge, and is the network as good as others?
//!
//! `cargo run --release --example tabular` takes some seconds; `-- --help` lists the options.

#[macro_use]
#[path = "../shared/output.rs"]
#[allow(dead_code, unused_macros, reason = "not all of it is needed here")]
mod output;

#[path = "../shared/arguments.rs"]
mod arguments;
#[path = "../shared/command_line.rs"]
mod command_line;
#[path = "../shared/cores.rs"]
mod cores;
#[path = "../shared/experiment.rs"]
mod experiment;
#[path = "../shared/legend.rs"]
mod legend;
mod options;
mod plot;
#[allow(dead_code, reason = "splits are no seeds")]
#[path = "../shared/spread.rs"]
mod spread;
mod tables;
#[path = "../shared/title.rs"]
mod title;
mod training;

use attractor::fnn;
use attractor::learn::{CrossEntropy, LearnError, MeanSquared};
use attractor::solve::Solver;
use experiment::side_by_side;
use nalgebra::SMatrix;
use options::Options;
use spread::Spread;
use std::process::ExitCode;
use tables::{Split, Table};
use training::{BATCH, Kind, Run, cost, train};

type Iris = fnn![4, 16, 8, 3];
type Wine = fnn![13, 16, 8, 3];
type BreastCancer = fnn![30, 32, 16, 2];
type Digits = fnn![64, 48, 32, 10];
type Diabetes = fnn![10, 32, 16, 1];
type Autoencoder = fnn![64, 16, 64];

/// A table, a network for it, and what scikit-learn's network of these widths makes of the same splits.
struct Subject {
    name: &'static str,
    shape: &'static str,
    table: Table,
    /// Of the training, over all rows.
    epochs: u32,
    /// Mean, least and largest share of right answers, or R2: `scripts/tabular.py --reference`.
    reference: Spread,
    train: fn(&Subject, &Split<'_>, Kind) -> Result<Run, String>,
    cost: fn(&Split<'_>) -> Result<f64, LearnError>,
}

/// The functions of a network that tells classes apart.
macro_rules! classes {
    ($net:ty) => {
        (
            |subject, split, kind| {
                train(<$net>::boxed(), CrossEntropy::new(), subject.epochs, split, labels, kind)
            },
            |split| cost(<$net>::boxed, CrossEntropy::new, split, labels),
        )
    };
}

/// The functions of a network whose outputs are numbers.
macro_rules! numbers {
    ($net:ty) => {
        (
            |subject, split, kind| train(<$net>::boxed(), MeanSquared, subject.epochs, split, values, kind),
            |split| cost(<$net>::boxed, || MeanSquared, split, values),
        )
    };
}

fn labels(split: &Split<'_>, rows: &[usize; BATCH]) -> [usize; BATCH] {
    rows.map(|row| split.label(row))
}

fn values<const O: usize>(split: &Split<'_>, rows: &[usize; BATCH]) -> SMatrix<f32, BATCH, O> {
    SMatrix::from_fn(|sample, output| split.target(rows[sample])[output])
}

fn subjects() -> Result<Vec<Subject>, String> {
    let mut subjects = Vec::new();
    let mut add = |name, shape, table, epochs, [mean, min, max]: [f64; 3], (train, cost)| {
        let reference = Spread { mean, min, max };
        subjects.push(Subject { name, shape, table, epochs, reference, train, cost });
    };
    let iris = tables::classes("iris", include_str!("../../data/iris.csv"), 4)?;
    add("iris", "4-16-8-3", iris, 60, [0.9400, 0.9000, 0.9667], classes!(Iris));
    let wine = tables::classes("wine", include_str!("../../data/wine.csv"), 13)?;
    add("wine", "13-16-8-3", wine, 60, [0.9775, 0.9429, 1.0], classes!(Wine));
    let cancer = tables::classes("breast-cancer", include_str!("../../data/breast-cancer.csv"), 30)?;
    add("breast cancer", "30-32-16-2", cancer, 60, [0.9666, 0.9474, 0.9825], classes!(BreastCancer));
    let digits = || tables::classes("optdigits", include_str!("../../data/optdigits.tes"), 64);
    add("digits", "64-48-32-10", digits()?, 15, [0.9688, 0.9638, 0.9833], classes!(Digits));
    let diabetes = tables::numbers("diabetes", include_str!("../../data/diabetes.csv"), 10)?;
    add("diabetes", "10-32-16-1", diabetes, 60, [0.2357, 0.0603, 0.5154], numbers!(Diabetes));
    let pixels = digits()?.of_itself();
    add("autoencoder", "64-16-64", pixels, 60, [0.6403, 0.4969, 0.7081], numbers!(Autoencoder));
    Ok(subjects)
}

fn main() -> ExitCode {
    command_line::run("tabular", options::HELP, options::parse, run)
}

fn run(options: Options) -> Result<(), String> {
    let directory = output::target("tabular")?;
    let subjects = subjects()?;
    let failed = |name: &'static str| move |error: LearnError| format!("training, {name}: {error}");

    // Held to the rate of the trainer's default; not held, by sweeps and by Anderson acceleration.
    let kinds = [
        Kind { hold: Some(options.rate), solver: Solver::plain() },
        Kind { hold: None, solver: Solver::plain() },
        Kind { hold: None, solver: Solver::anderson(5) },
    ];
    let each = options.splits * kinds.len();
    let runs = side_by_side(subjects.len() * each, (subjects.len() * each) as u64, |index, bar| {
        let (subject, split) = (&subjects[index / each], index % each / kinds.len());
        let run = (subject.train)(subject, &subject.table.split(split), kinds[index % kinds.len()]);
        bar.inc(1);
        run.map_err(|error| format!("training, {}: {error}", subject.name))
    })?;

    println!(
        "{:<14}{:<13}{:>26}{:>26}{:>26}{:>26}",
        "", "", "held to a rate", "not held", "not held, Anderson 5", "scikit-learn"
    );
    let spread = "mean (min to max)";
    println!("{:<14}{:<13}{spread:>26}{spread:>26}{spread:>26}{spread:>26}", "", "widths");
    let mut rows = Vec::new();
    for (index, subject) in subjects.iter().enumerate() {
        let own = &runs[index * each..][..each];
        let of = |kind: usize| own.iter().skip(kind).step_by(kinds.len());
        let scores = [0, 1, 2].map(|kind| Spread::of(of(kind).map(|run| run.score)));
        let show = |spread: Spread| {
            if subject.table.has_classes() {
                format!(
                    "{:.1} %",
                    Spread { mean: 100.0 * spread.mean, min: 100.0 * spread.min, max: 100.0 * spread.max }
                )
            } else {
                format!("R2 {spread:.2}")
            }
        };
        println!(
            "{:<14}{:<13}{:>26}{:>26}{:>26}{:>26}",
            subject.name,
            subject.shape,
            show(scores[0]),
            show(scores[1]),
            show(scores[2]),
            show(subject.reference)
        );
        rows.push((subject, scores, of));
    }

    println!("\n{:<14}{:>48}{:>44}", "", "steps not converged", "sweeps of the last epoch");
    println!(
        "{:<14}{:>10}{:>10}{:>14}{:>14}{:>12}{:>16}{:>16}",
        "", "of", "held", "not held", "Anderson 5", "held", "not held", "Anderson 5"
    );
    for (subject, _, of) in &rows {
        let steps: u64 = of(0).map(|run| run.steps).sum();
        let failed = [0, 1, 2].map(|kind| of(kind).map(|run| run.not_converged).sum::<u64>());
        let sweeps = [0, 1, 2].map(|kind| Spread::of(of(kind).map(|run| run.sweeps)).mean);
        let show =
            |sweeps: f64| if sweeps.is_nan() { "none converged".to_owned() } else { format!("{sweeps:.1}") };
        println!(
            "{:<14}{steps:>10}{:>10}{:>14}{:>14}{:>12}{:>16}{:>16}",
            subject.name,
            failed[0],
            failed[1],
            failed[2],
            show(sweeps[0]),
            show(sweeps[1]),
            show(sweeps[2])
        );
    }

    println!("\ntime of a step held to a rate, over one that is not (batches of {BATCH}, medians, in turn)");
    for subject in &subjects {
        let ratio = (subject.cost)(&subject.table.split(0)).map_err(failed(subject.name))?;
        println!("{:<14}{ratio:.2}", subject.name);
    }

    let points: Vec<_> =
        rows.iter().map(|(subject, scores, _)| (subject.name, scores[0], subject.reference)).collect();
    let path = directory.join("scores.svg");
    plot::draw(&path, &format!("Test rows of {} splits, {}", options.splits, options.described()), &points)?;
    println!("\nplot: target/tabular/scores.svg");
    for (subject, scores, of) in &rows {
        let failed: u64 = of(0).map(|run| run.not_converged).sum();
        let (own, reference) = (scores[0].mean, subject.reference.mean);
        let (own, reference) = if subject.table.has_classes() {
            (format!("mean {:.1} %", 100.0 * own), format!("{:.1} %", 100.0 * reference))
        } else {
            (format!("mean R2 {own:.3}"), format!("{reference:.3}"))
        };
        println!("{}: {own}, reference {reference}, steps not converged {failed}", subject.name);
    }
    Ok(())
}
