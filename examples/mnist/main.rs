//! Handwritten digits of MNIST: trains a feedback network, and one without feedback and as many parameters beside it.
//!
//! `scripts/fetch-mnist`, then `cargo run --release --example mnist`: some minutes; `-- --one-epoch`: seconds;
//! `-- --help` lists the options.

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
#[path = "../shared/drawing.rs"]
mod drawing;
mod idx;
#[path = "../shared/legend.rs"]
mod legend;
mod options;
mod plot;
#[path = "../shared/spread.rs"]
mod spread;
#[path = "../shared/title.rs"]
mod title;
mod training;

use attractor::kernel::Relu;
use attractor::learn::LearnError;
use attractor::simd::Backend;
use attractor::{Feedforward, fnn};
use classes::{largest, print_confusion};
use cores::on_all_cores;
use idx::Images;
use indicatif::{ProgressBar, ProgressStyle};
use options::Options;
use spread::{Spread, seeds};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use training::{Recipe, Run, Task, train};

type Small = fnn![784, 87, 10; hidden = Relu];
type Large = fnn![784, 1024, 10; hidden = Relu];
/// The hidden layer is wider by as many units as the feedback has parameters for.
type SmallWithout = fnn![784, 88, 10; hidden = Relu, feedback = Feedforward];
type LargeWithout = fnn![784, 1037, 10; hidden = Relu, feedback = Feedforward];

const _: () = {
    assert!(Small::PARAMS.abs_diff(SmallWithout::PARAMS) * 100 < Small::PARAMS);
    assert!(Large::PARAMS.abs_diff(LargeWithout::PARAMS) * 100 < Large::PARAMS);
};

/// Images in a batch.
const SMALL_BATCH: usize = 32;
const LARGE_BATCH: usize = 128;

const ONE_EPOCH: Recipe =
    Recipe { epochs: 1, looks: 10, rate: 1e-2, warm_up: 0.3, decay: 0.0, smoothing: 0.0, blank: 0 };
const DEFAULT: Recipe =
    Recipe { epochs: 10, looks: 1, rate: 2e-3, warm_up: 0.3, decay: 0.05, smoothing: 0.1, blank: 51 };

fn main() -> ExitCode {
    command_line::run("mnist", options::HELP, options::parse, run)
}

fn run(options: Options) -> Result<(), String> {
    let started = Instant::now();
    let (training, test) = images(&options)?;
    let (shape, mut recipe) = if options.one_epoch {
        ("fnn![784, 87, 10; hidden = Relu]", ONE_EPOCH)
    } else {
        ("fnn![784, 1024, 10; hidden = Relu]", DEFAULT)
    };
    recipe.epochs = options.epochs.unwrap_or(recipe.epochs);
    println!("network: {shape}");
    println!("backend: {}", Backend::best().name());
    println!("images: {} to train, {} to test", training.len(), test.len());
    println!("recipe: {recipe}");
    let directory = output::target(if options.one_epoch { "mnist-one-epoch" } else { "mnist-default" })?;
    println!("weights and plots: {}", directory.display());

    let runs = train_all(&options, recipe, &training, &test).map_err(|error| format!("training: {error}"))?;
    let (with, without): (Vec<Run>, Vec<Run>) = runs.into_iter().unzip();

    println!();
    for (seed, (with, without)) in (options.seed..).zip(with.iter().zip(&without)) {
        let [with, without] = [with, without].map(|run| 100.0 * run.error());
        println!("seed {seed}: {with:.2} % misread with feedback, {without:.2} % without");
    }
    println!("\ntest images of seed {}, written down the side, read across the top", options.seed);
    print_confusion(test.labels.iter().copied().zip(with[0].scores.iter().map(largest)));

    println!();
    let all = || with.iter().chain(&without);
    let sweeps = Spread::of(with.iter().map(|run| run.sweeps)).mean;
    println!("batches not converged: {}", all().map(|run| run.batches_not_converged).sum::<usize>());
    println!("test images not converged: {}", all().map(|run| run.images_not_converged).sum::<usize>());
    println!("sweeps a batch: {sweeps:.1}");
    println!("seconds: {:.1}", started.elapsed().as_secs_f64());
    println!("training seconds without feedback: {}", seconds(&without));
    println!("training seconds: {}", seconds(&with));
    println!("parameters without feedback: {}", without[0].params.len());
    println!("parameters: {}", with[0].params.len());
    println!("test error without feedback: {}", summary(&without));
    println!("test error: {}", summary(&with));
    // Last, for what was printed is not lost if the disk is full by now.
    write(&directory, shape, &recipe, &with, &without, &test)
}

/// The images to train with, and those to test with.
fn images(options: &Options) -> Result<(Images, Images), String> {
    let mut training = idx::training(&options.data)?;
    let test = match options.held_out {
        None => idx::test(&options.data)?,
        Some(count) => {
            let kept = training.len().checked_sub(count);
            let kept = kept.ok_or_else(|| format!("--held-out: there are only {} images", training.len()))?;
            Images { pixels: training.pixels.split_off(kept), labels: training.labels.split_off(kept) }
        }
    };
    if training.len() < LARGE_BATCH {
        return Err(format!(
            "{} images to train with are fewer than a batch of {LARGE_BATCH}",
            training.len()
        ));
    }
    Ok((training, test))
}

/// Trains with every seed, on all cores: each time with feedback and without.
fn train_all(
    options: &Options,
    recipe: Recipe,
    training: &Images,
    test: &Images,
) -> Result<Vec<(Run, Run)>, LearnError> {
    let runs = 2 * options.seeds as usize;
    let looks = u64::from(recipe.epochs * recipe.looks);
    let bar = ProgressBar::new(runs as u64 * looks);
    let template = "{bar:40.blue} {pos}/{len}  last test error {msg}  {elapsed}, {eta} to go";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message("-");
    let report = |error: f64| {
        bar.set_message(format!("{:.2} %", 100.0 * error));
        bar.inc(1);
    };
    let one = |index: usize| {
        let feedback = index.is_multiple_of(2);
        let seed = options.seed + index as u64 / 2;
        let task = Task { seed, recipe, training, test };
        let run = match (options.one_epoch, feedback) {
            (true, true) => train::<_, SMALL_BATCH>(Small::boxed(), task, report),
            (true, false) => train::<_, SMALL_BATCH>(SmallWithout::boxed(), task, report),
            (false, true) => train::<_, LARGE_BATCH>(Large::boxed(), task, report),
            (false, false) => train::<_, LARGE_BATCH>(LargeWithout::boxed(), task, report),
        };
        if let Ok(run) = &run {
            let how = if feedback { "with feedback" } else { "without" };
            bar.suspend(|| println!("trained: seed {seed} {how}, {:.2} % misread", 100.0 * run.error()));
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

/// Of one run.
fn seconds(runs: &[Run]) -> String {
    format!("{:.1} a seed", Spread::of(runs.iter().map(|run| run.time.as_secs_f64())).mean)
}

/// The errors of all runs.
fn summary(runs: &[Run]) -> String {
    let Spread { mean, min, max } = Spread::of(runs.iter().map(|run| 100.0 * run.error()));
    let (seeds, images) = (seeds(runs.len()), runs[0].scores.len());
    format!("mean {mean:.2} % min {min:.2} % max {max:.2} % ({seeds}, {images} digits)")
}

/// Writes the first seed's weights, and the plots.
fn write(
    directory: &Path,
    shape: &str,
    recipe: &Recipe,
    with: &[Run],
    without: &[Run],
    test: &Images,
) -> Result<(), String> {
    let weights: Vec<u8> = with[0].params.iter().flat_map(|weight| weight.to_le_bytes()).collect();
    output::write(&directory.join("mnist.f32"), &weights)?;
    output::drawn(&directory.join("error.svg"), |part| plot::errors(part, shape, recipe, with, without))?;
    output::drawn(&directory.join("misread.svg"), |part| plot::misread(part, shape, &with[0], test))
}
