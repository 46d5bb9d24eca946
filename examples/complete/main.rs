//! Completes handwritten digits half of whose pixels are lost: do more sweeps find more of them, and more than a network
//! without feedback does?
//!
//! `cargo run --release --example complete` takes a minute or two; `-- --help` lists the options.

#[macro_use]
#[path = "../shared/output.rs"]
#[allow(dead_code, unused_macros, reason = "not all of it is needed here")]
mod output;

#[path = "../shared/arguments.rs"]
mod arguments;
#[path = "../shared/clamped.rs"]
mod clamped;
#[path = "../shared/command_line.rs"]
mod command_line;
#[path = "../shared/cores.rs"]
mod cores;
#[path = "../shared/curves.rs"]
mod curves;
#[allow(dead_code, reason = "that example also varies digits")]
#[path = "../digits/data.rs"]
mod data;
#[path = "../shared/experiment.rs"]
mod experiment;
#[path = "../shared/learning.rs"]
mod learning;
#[path = "../shared/legend.rs"]
mod legend;
#[path = "../shared/options.rs"]
mod options;
mod pictures;
#[path = "../shared/spread.rs"]
mod spread;
#[path = "../shared/title.rs"]
mod title;

use attractor::kernel::Tanh;
use attractor::learn::{CrossEntropy, Loss};
use attractor::network::Takes;
use attractor::{Boxed, Feedforward, Network, fnn};
use clamped::{Completed, First, Missing, Problem, SWEEPS, UNITS, Units, complete, learn};
use curves::{COLORS, Curve, Frame};
use data::{CLASSES, Digit};
use experiment::side_by_side;
use indicatif::ProgressBar;
use learning::{BATCH, Inputs, Recipe, train};
use options::Options;
use plotters::prelude::SeriesLabelPosition;
use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng};
use spread::{Spread, seeds};
use std::process::ExitCode;
use std::time::Instant;

type Clamped = fnn![64, 64, 80, 64; output = Tanh];
type ClampedDeeper = fnn![64, 64, 56, 55, 64; output = Tanh];
type Learnt = fnn![64, 73, 72, 64; output = Tanh];
type TwoWithout = fnn![64, 105, 105, 64; feedback = Feedforward, output = Tanh];
type ThreeWithout = fnn![64, 83, 83, 83, 64; feedback = Feedforward, output = Tanh];
type FiveWithout = fnn![64, 64, 64, 64, 64, 64, 64; feedback = Feedforward, output = Tanh];
/// Reads digits off pictures, complete ones.
type Reader = fnn![64, 64, 10; feedback = Feedforward];

/// Name and parameters of every network.
const NETWORKS: [(&str, usize); 6] = [
    ("feedback, pixels clamped 64-64-80-64", Clamped::PARAMS),
    ("feedback, pixels clamped 64-64-56-55-64", ClampedDeeper::PARAMS),
    ("feedback, first layer learnt 64-73-72-64", Learnt::PARAMS),
    ("without 64-105-105-64", TwoWithout::PARAMS),
    ("without 64-83-83-83-64", ThreeWithout::PARAMS),
    ("without 64-64-64-64-64-64-64", FiveWithout::PARAMS),
];
/// So many of them hold the picture in their first layer.
const CLAMPED: usize = 2;
/// The share of pixels that are lost, in training and in the test.
const LOST: f32 = 0.5;
/// Other shares, which no network was trained for.
const OTHERS: [f32; 4] = [0.2, 0.35, 0.65, 0.8];
const RATE: f32 = 6e-3;
const DECAY: f32 = 0.01;

const DEFAULT: Options = Options { seed: 1, seeds: 5, steps: 6000 };
const WHAT: &str = "\
Trains networks with feedback and without to complete digits half of whose pixels are lost, and counts the wrong
pixels after 1, 2, 4... sweeps.";

fn main() -> ExitCode {
    let help = DEFAULT.help("complete", WHAT);
    command_line::run("complete", &help, |arguments| DEFAULT.parse(arguments), run)
}

/// What became of one network.
struct Run {
    /// Wrong among the missing pixels of the test digits after each number of sweeps, in per cent.
    wrong: Vec<f64>,
    /// The same of each of [`OTHERS`], after the most sweeps.
    others: Vec<f64>,
    /// Digits that the reader takes for what they are when completed so, in per cent.
    read: Vec<f64>,
    not_converged: usize,
    sweeps: f64,
    residual: f32,
    /// How far known pixels are from being clamped.
    slip: f32,
    /// The first of the test digits completed.
    shown: Vec<Vec<Units>>,
}

/// The test: digits with pixels lost, the same for all networks, and what they show.
struct Test {
    problems: Vec<Problem>,
    labels: Vec<usize>,
    /// The same digits with each of [`OTHERS`] lost.
    others: Vec<Vec<Problem>>,
}

fn run(options: Options) -> Result<(), String> {
    let directory = output::target("complete")?;
    let started = Instant::now();
    let training = data::training()?;
    let digits = data::test()?;
    let mut random = SmallRng::seed_from_u64(0);
    let test = Test {
        problems: digits.iter().map(|digit| lose(digit, LOST, &mut random)).collect(),
        labels: digits.iter().map(|digit| digit.label).collect(),
        others: OTHERS
            .iter()
            .map(|&share| digits.iter().map(|digit| lose(digit, share, &mut random)).collect())
            .collect(),
    };
    let missing = missing(&test.problems);
    println!("digits: {} to train, {} to test, {missing} pixels missing", training.len(), digits.len());

    let count = NETWORKS.len() * options.seeds as usize;
    let runs = side_by_side(count, count as u64 * u64::from(options.steps), |index, bar| {
        let seed = options.seed + (index / NETWORKS.len()) as u64;
        match index % NETWORKS.len() {
            0 => one(Clamped::boxed(), First::Clamped, seed, options, &training, &test, bar),
            1 => one(ClampedDeeper::boxed(), First::Clamped, seed, options, &training, &test, bar),
            2 => one(Learnt::boxed(), First::Learnt, seed, options, &training, &test, bar),
            3 => one(TwoWithout::boxed(), First::Learnt, seed, options, &training, &test, bar),
            4 => one(ThreeWithout::boxed(), First::Learnt, seed, options, &training, &test, bar),
            _ => one(FiveWithout::boxed(), First::Learnt, seed, options, &training, &test, bar),
        }
    })?;
    let originals: Vec<Units> = test.problems.iter().map(|problem| problem.truth).collect();
    let reader = reader(options.seed, &training)?;
    let read_originals = read(&reader, &originals, &test.labels)?;
    let of = |network: usize| runs.iter().skip(network).step_by(NETWORKS.len());
    let wrong = |network, at: usize| Spread::of(of(network).map(|run| run.wrong[at]));

    let last = SWEEPS.len() - 1;
    for (network, (name, _)) in NETWORKS.iter().enumerate() {
        println!("\n{name}: % of missing pixels wrong, of digits read, mean (least to most) of the seeds");
        for (at, sweeps) in SWEEPS.iter().enumerate().filter(|(at, _)| network < 3 || *at == last) {
            let read = Spread::of(of(network).map(|run| run.read[at]));
            println!("sweeps {sweeps:>2}  {:.2}  read {read}", wrong(network, at));
        }
    }
    println!(
        "\n% of missing pixels wrong when other shares are lost than trained for, after {} sweeps",
        SWEEPS[last]
    );
    for (network, (name, _)) in NETWORKS.iter().enumerate() {
        let wrong = OTHERS.iter().enumerate().map(|(at, share)| {
            format!("{:.0} % lost: {:.2}", 100.0 * share, Spread::of(of(network).map(|run| run.others[at])))
        });
        println!("{name}: {}", wrong.collect::<Vec<_>>().join("  "));
    }
    println!();
    for index in 0..options.seeds as usize {
        let last: Vec<String> = (0..NETWORKS.len())
            .map(|n| format!("{:.2}", runs[index * NETWORKS.len() + n].wrong[last]))
            .collect();
        println!("seed {}: {} % wrong, in this order", options.seed + index as u64, last.join(", "));
    }

    let curves: Vec<Curve> = (0..NETWORKS.len())
        .map(|network| Curve {
            name: NETWORKS[network].0.to_owned(),
            color: COLORS[network],
            points: (0..SWEEPS.len()).map(|at| wrong(network, at)).collect(),
        })
        .collect();
    let frame = Frame {
        title: "Missing pixels that are wrong after 1, 2, 4... sweeps",
        subtitle: &format!(
            "{} test digits, half of their pixels lost; mean, worst and best of {}",
            digits.len(),
            seeds(options.seeds)
        ),
        x: "sweeps",
        y: "wrong in %",
        places: &SWEEPS.map(|sweeps| sweeps.to_string()),
        legend: SeriesLabelPosition::UpperRight,
    };
    let drawn = curves::draw(&directory.join("wrong.svg"), &frame, &curves).and_then(|()| {
        output::drawn(&directory.join("pictures.svg"), |part| {
            pictures::draw(part, &test.problems[..SHOWN], &runs[1].shown, &runs[4].shown[last])
        })
    });
    if drawn.is_ok() {
        println!("plots: {}", directory.display());
    }

    println!("seconds: {:.1}", started.elapsed().as_secs_f64());
    println!("digits read off the complete pictures: {read_originals:.1} %");
    for (network, (name, parameters)) in NETWORKS.iter().enumerate() {
        let not_converged: usize = of(network).map(|run| run.not_converged).sum();
        let batches = options.seeds * u64::from(options.steps);
        let residual = of(network).map(|run| run.residual).fold(0.0, f32::max);
        let sweeps = Spread::of(of(network).map(|run| run.sweeps));
        println!("{name}, parameters: {parameters}");
        println!("{name}, batches not converged: {not_converged} of {batches}");
        println!("{name}, sweeps of a batch at the end of training: {sweeps:.1}");
        println!("{name}, largest residual after {} sweeps: {residual:.1e}", SWEEPS[last]);
    }
    for (network, (name, _)) in NETWORKS.iter().enumerate().take(CLAMPED) {
        let slip = of(network).map(|run| run.slip).fold(0.0, f32::max);
        println!("{name}, largest slip of a known pixel: {slip:.1e}");
    }
    for (network, (name, _)) in NETWORKS.iter().enumerate() {
        println!("{name}, wrong after 1 sweep: {:.2} %", wrong(network, 0));
        println!("{name}, wrong: {:.2} %", wrong(network, last));
    }
    drawn
}

/// Test digits in the picture.
const SHOWN: usize = 10;

fn black_and_white(digit: &Digit) -> Units {
    digit.pixels.map(|ink| if ink >= 0.5 { 1.0 } else { -1.0 })
}

/// A digit without some of its pixels.
fn lose(digit: &Digit, share: f32, random: &mut impl Rng) -> Problem {
    let truth = black_and_white(digit);
    let known = truth.map(|pixel| if random.random::<f32>() < share { 0.0 } else { pixel });
    Problem { known, truth }
}

fn missing(problems: &[Problem]) -> usize {
    problems.iter().flat_map(|problem| problem.known).filter(|&known| known == 0.0).count()
}

/// Trains a network and tests it.
fn one<A: Takes<UNITS, Scalar = f32>>(
    network: Boxed<Network<A>>,
    first: First,
    seed: u64,
    options: Options,
    training: &[Digit],
    test: &Test,
    bar: &ProgressBar,
) -> Result<Run, String>
where
    Missing: Loss<A::Output<BATCH>, Inputs<UNITS>, Scalar = f32>,
{
    let recipe = Recipe { rate: RATE, decay: DECAY, steps: options.steps, start: 1.0, sweeps: 30 };
    let make = |random: &mut SmallRng| {
        let digit = &training[random.random_range(0..training.len())];
        lose(digit, LOST, random)
    };
    let trained = learn(network, seed, recipe, first, bar, make)
        .map_err(|error| format!("training, seed {seed}: {error}"))?;
    let Completed { outputs, residual, slip } = complete(&trained.network, &test.problems, &SWEEPS)
        .map_err(|error| format!("test, seed {seed}: {error}"))?;
    let reader = reader(seed, training)?;
    let (mut wrong, mut read_off) = (Vec::new(), Vec::new());
    for outputs in &outputs {
        let completed = completed(&test.problems, outputs);
        wrong.push(share_wrong(&test.problems, &completed));
        read_off.push(read(&reader, &completed, &test.labels)?);
    }
    let mut others = Vec::new();
    for problems in &test.others {
        let Completed { outputs, .. } = complete(&trained.network, problems, &SWEEPS[SWEEPS.len() - 1..])
            .map_err(|error| format!("test, seed {seed}: {error}"))?;
        others.push(share_wrong(problems, &completed(problems, &outputs[0])));
    }
    let shown = outputs.into_iter().map(|outputs| outputs[..SHOWN].to_vec()).collect();
    let (not_converged, sweeps) = (trained.not_converged, trained.sweeps);
    Ok(Run { wrong, others, read: read_off, not_converged, sweeps, residual, slip, shown })
}

/// The known pixels, and the missing ones on the side the network is for.
fn completed(problems: &[Problem], outputs: &[Units]) -> Vec<Units> {
    let pixel = |(&known, &found): (&f32, &f32)| if known == 0.0 { 1_f32.copysign(found) } else { known };
    let picture = |(problem, output): (&Problem, &Units)| {
        let mut pixels = problem.known.iter().zip(output).map(pixel);
        core::array::from_fn(|_| pixels.next().unwrap_or_default())
    };
    problems.iter().zip(outputs).map(picture).collect()
}

/// Wrong among the missing pixels, in per cent.
fn share_wrong(problems: &[Problem], completed: &[Units]) -> f64 {
    let differ = completed.iter().zip(problems).map(|(completed, problem)| {
        completed.iter().zip(&problem.truth).filter(|(found, truth)| found != truth).count()
    });
    100.0 * differ.sum::<usize>() as f64 / missing(problems) as f64
}

/// A network that has learnt to read complete pictures.
fn reader(seed: u64, training: &[Digit]) -> Result<Boxed<Reader>, String> {
    const STEPS: u32 = 2000;
    let recipe = Recipe { rate: 3e-3, decay: 0.05, steps: STEPS, start: 1.0, sweeps: 2 };
    let mut network = Reader::boxed();
    network.initialize(&mut SmallRng::seed_from_u64(seed));
    let mut random = SmallRng::seed_from_u64(!seed);
    let next = || {
        let digits: [&Digit; BATCH] =
            core::array::from_fn(|_| &training[random.random_range(0..training.len())]);
        let pictures = digits.map(black_and_white);
        (Inputs::from_fn(|row, pixel| pictures[row][pixel]), digits.map(|digit| digit.label))
    };
    let trained = train(network, CrossEntropy::smoothed(0.05), recipe, next, |_| {})
        .map_err(|error| format!("training the reader: {error}"))?;
    Ok(trained.network)
}

/// The share of pictures read as their labels say, in per cent.
fn read(reader: &Reader, pictures: &[Units], labels: &[usize]) -> Result<f64, String> {
    let mut right = 0;
    for (pictures, labels) in pictures.chunks(BATCH).zip(labels.chunks(BATCH)) {
        let mut state = Reader::state::<BATCH>();
        let input = Inputs::<UNITS>::from_fn(|row, pixel| pictures[row % pictures.len()][pixel]);
        reader
            .solve(&input, &mut state, attractor::Stop::after(1))
            .map_err(|error| format!("reading: {error}"))?;
        let scores = state.output();
        let answer = |row: usize| {
            (1..CLASSES).fold(
                0,
                |best, class| {
                    if scores[(row, class)] > scores[(row, best)] { class } else { best }
                },
            )
        };
        right += labels.iter().enumerate().filter(|(row, label)| answer(*row) == **label).count();
    }
    Ok(100.0 * right as f64 / labels.len() as f64)
}
