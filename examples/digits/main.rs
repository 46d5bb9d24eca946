//! Handwritten digits: trains a feedback network, and the same network without feedback to compare with.
//!
//! `cargo run --release --example digits` takes some seconds; `-- --help` lists the options.

#[macro_use]
#[path = "../shared/output.rs"]
#[allow(dead_code, unused_macros, reason = "not all of it is needed here")]
mod output;

#[path = "../shared/arguments.rs"]
mod arguments;
#[path = "../shared/classes.rs"]
mod classes;
#[path = "../shared/command_line.rs"]
mod command_line;
#[path = "../shared/cores.rs"]
mod cores;
mod data;
#[path = "../shared/drawing.rs"]
mod drawing;
#[path = "../shared/legend.rs"]
mod legend;
mod options;
mod plot;
#[path = "../shared/spread.rs"]
mod spread;
#[path = "../shared/title.rs"]
mod title;
mod training;

use attractor::learn::LearnError;
use attractor::simd::Backend;
use attractor::{Feedforward, fnn};
use classes::{print_confusion, start};
use cores::on_all_cores;
use data::Digit;
use indicatif::{ProgressBar, ProgressStyle};
use options::Options;
use spread::{Spread, seeds};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use training::{Epoch, Run, SWEEPS, Task, train};

/// The rate networks are held to: the trainer's default.
const HOLD: f32 = 0.9;

type Small = fnn![64, 48, 32, 10];
type SmallWithout = fnn![64, 48, 32, 10; feedback = Feedforward];
type Large = fnn![64, 128, 64, 10];
type LargeWithout = fnn![64, 128, 64, 10; feedback = Feedforward];

fn main() -> ExitCode {
    command_line::run("digits", options::HELP, options::parse, run)
}

fn run(options: Options) -> Result<(), String> {
    let started = Instant::now();
    let (training, test) = (data::training()?, data::test()?);
    let shape = if options.large { "fnn![64, 128, 64, 10]" } else { "fnn![64, 48, 32, 10]" };
    let directory = output::target(if options.large { "digits/large" } else { "digits" })?;
    println!("network: {shape}");
    println!("backend: {}", Backend::best().name());
    println!("digits: {} to train, {} to test", training.len(), test.len());

    let runs = train_all(options, &training, &test).map_err(|error| format!("training: {error}"))?;
    let (with, without): (Vec<Run>, Vec<Run>) = runs.into_iter().unzip();

    println!();
    for (seed, (with, without)) in (options.seed..).zip(with.iter().zip(&without)) {
        let [with, without] = [with, without].map(|run| 100.0 * run.right as f64 / test.len() as f64);
        println!("seed {seed}: {with:.2} % with feedback, {without:.2} % without");
    }
    println!("\ntest digits of seed {}, written down the side, read across the top", options.seed);
    let answers = with[0].histories.iter().map(|history| history.answer);
    print_confusion(test.iter().map(|digit| digit.label).zip(answers));
    let accuracies: Vec<String> =
        plot::accuracies(&with, &test).iter().map(|a| format!("{:.1}", a.mean)).collect();
    println!("\ntest accuracy after 1 to {SWEEPS} sweeps: {} %", accuracies.join(" "));

    let written = write(&directory, shape, &with, &without, &test);
    if written.is_ok() {
        println!("weights and plots: {}", directory.display());
    }

    let all = || with.iter().chain(&without);
    println!("batches not converged: {}", all().map(|run| run.batches_not_converged).sum::<u64>());
    println!("test digits not converged: {}", all().map(|run| run.digits_not_converged).sum::<usize>());
    println!("seconds: {:.1}", started.elapsed().as_secs_f64());
    println!("parameters without feedback: {}", without[0].params.len());
    println!("spread without feedback: {}", summary(&without, test.len()));
    println!("parameters: {}", with[0].params.len());
    println!("test accuracy without feedback: {}", mean(&without, test.len()));
    println!("test accuracy: {}", summary(&with, test.len()));
    written
}

/// Trains with every seed, on all cores: each time with feedback and without.
fn train_all(options: Options, training: &[Digit], test: &[Digit]) -> Result<Vec<(Run, Run)>, LearnError> {
    let runs = 2 * options.seeds as usize;
    let watched = options.seeds == 1;
    let bar = ProgressBar::new(runs as u64 * u64::from(options.epochs));
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40.blue} {pos}/{len} epochs of both networks  {elapsed}")
    {
        bar.set_style(style);
    }
    let report = |epoch: Option<Epoch>| {
        if let Some(epoch) = epoch {
            bar.suspend(|| print_epoch(&epoch, options.epochs));
        }
        bar.inc(1);
    };
    let one = |index: usize| {
        let feedback = index.is_multiple_of(2);
        let seed = options.seed + index as u64 / 2;
        let Options { epochs, .. } = options;
        let task = Task { seed, epochs, training, test, watched: watched && feedback, hold: Some(HOLD) };
        let run = match (options.large, feedback) {
            (false, true) => train(start(Small::boxed(), seed), task, report),
            (true, true) => train(start(Large::boxed(), seed), task, report),
            // The same W to begin with.
            (false, false) => {
                let mut plain = SmallWithout::boxed();
                plain.take_weights(&start(Small::boxed(), seed));
                train(plain, task, report)
            }
            (true, false) => {
                let mut plain = LargeWithout::boxed();
                plain.take_weights(&start(Large::boxed(), seed));
                train(plain, task, report)
            }
        };
        if !watched {
            let how = if feedback { "with feedback" } else { "without" };
            bar.suspend(|| println!("trained: seed {seed} {how}"));
        }
        run
    };
    let results = on_all_cores(runs, one);
    bar.finish_and_clear();
    let mut results = results.into_iter();
    let mut pairs = Vec::new();
    while let (Some(with), Some(without)) = (results.next(), results.next()) {
        pairs.push((with?, without?));
    }
    Ok(pairs)
}

fn print_epoch(epoch: &Epoch, epochs: u32) {
    let Epoch { number, loss, train, test, sweeps } = epoch;
    println!(
        "epoch {number:>3}/{epochs}  loss {loss:.3}  train {:.1} %  test {:.1} %  sweeps {sweeps:.1}",
        100.0 * train,
        100.0 * test,
    );
}

/// The share of digits recognised in each run.
fn shares(runs: &[Run], digits: usize) -> impl Iterator<Item = f64> + Clone {
    runs.iter().map(move |run| 100.0 * run.right as f64 / digits as f64)
}

fn mean(runs: &[Run], digits: usize) -> String {
    format!("mean {:.1} %", Spread::of(shares(runs, digits)).mean)
}

/// The accuracies of all runs.
fn summary(runs: &[Run], digits: usize) -> String {
    let Spread { mean, min, max } = Spread::of(shares(runs, digits));
    format!("mean {mean:.1} % min {min:.1} % max {max:.1} % ({}, {digits} digits)", seeds(runs.len()))
}

/// Writes the first seed's weights, and the plots.
fn write(directory: &Path, shape: &str, with: &[Run], without: &[Run], test: &[Digit]) -> Result<(), String> {
    let weights: Vec<u8> = with[0].params.iter().flat_map(|weight| weight.to_le_bytes()).collect();
    output::write(&directory.join("digits.f32"), &weights)?;
    output::drawn(&directory.join("residuals.svg"), |part| plot::residuals(part, shape, with, without))?;
    output::drawn(&directory.join("accuracy.svg"), |part| plot::accuracy(part, shape, with, without, test))?;
    output::drawn(&directory.join("digits.svg"), |part| plot::digits(part, shape, &with[0], test))
}
