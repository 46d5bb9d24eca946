//! Handwritten digits under noise and behind a patch: is a network with feedback more robust than one without?
//!
//! `cargo run --release --example noise` takes a minute or so; `-- --help` lists the options.

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
mod corruption;
#[path = "../shared/curves.rs"]
mod curves;
#[allow(dead_code, reason = "that example makes batches in another way")]
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
#[path = "../shared/spread.rs"]
mod spread;
#[path = "../shared/title.rs"]
mod title;

use attractor::learn::{CrossEntropy, Loss};
use attractor::network::Takes;
use attractor::{Boxed, Feedforward, Injection, Network, State, fnn};
use corruption::Corruption;
use curves::{COLORS, Curve, Frame};
use data::{CLASSES, Digit, PIXELS, Variation};
use experiment::side_by_side;
use indicatif::ProgressBar;
use learning::{BATCH, Inputs, Recipe, train};
use options::Options;
use plotters::prelude::SeriesLabelPosition;
use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng};
use spread::{Spread, seeds};
use std::process::ExitCode;
use std::time::Instant;

type With = fnn![64, 48, 32, 10];
type Without = fnn![64, 62, 39, 10; feedback = Feedforward];

/// Name and parameters of every network.
const NETWORKS: [(&str, usize); 2] =
    [("feedback 64-48-32-10", With::PARAMS), ("without 64-62-39-10", Without::PARAMS)];
const TRAININGS: [&str; 2] = ["trained on clean digits", "trained on noisy and covered digits"];
const RATE: f32 = 1e-2;
const DECAY: f32 = 0.05;
const SHIFT: Variation = Variation { shift: 0.16, noise: 0.0 };
/// The sweeps that the answers of a network are taken after: the first alone, and more than it needs.
const SWEEPS: [usize; 2] = [1, 32];

const DEFAULT: Options = Options { seed: 1, seeds: 5, steps: 4000 };
const WHAT: &str = "\
Trains networks with feedback and without on clean digits, and on noisy and covered ones, and tests how many they
recognise under noise and behind a patch.";

fn main() -> ExitCode {
    let help = DEFAULT.help("noise", WHAT);
    command_line::run("noise", &help, |arguments| DEFAULT.parse(arguments), run)
}

/// What became of one network.
struct Run {
    /// Test digits recognised, in per cent: after each of [`SWEEPS`], of each test.
    right: [Vec<f64>; SWEEPS.len()],
    not_converged: usize,
    sweeps: f64,
    residual: f32,
}

/// The test digits under one corruption, the same for all networks.
struct Test {
    corruption: Corruption,
    pictures: Vec<[f32; PIXELS]>,
}

fn run(options: Options) -> Result<(), String> {
    let directory = output::target("noise")?;
    let started = Instant::now();
    let (training, digits) = (data::training()?, data::test()?);
    println!("digits: {} to train, {} to test", training.len(), digits.len());
    let mut random = SmallRng::seed_from_u64(0);
    let tests: Vec<Test> = corruption::TESTS
        .iter()
        .flat_map(|kind| kind.iter())
        .map(|&corruption| {
            let pictures = digits.iter().map(|digit| corruption.apply(digit.pixels, &mut random)).collect();
            Test { corruption, pictures }
        })
        .collect();
    let labels: Vec<usize> = digits.iter().map(|digit| digit.label).collect();

    const KINDS: usize = NETWORKS.len() * TRAININGS.len();
    let count = KINDS * options.seeds as usize;
    let runs = side_by_side(count, count as u64 * u64::from(options.steps), |index, bar| {
        let task = Task {
            seed: options.seed + (index / KINDS) as u64,
            steps: options.steps,
            corrupted: index % KINDS >= NETWORKS.len(),
            training: &training,
            tests: &tests,
            labels: &labels,
        };
        match index % NETWORKS.len() {
            0 => one(With::boxed(), task, bar),
            _ => one(Without::boxed(), task, bar),
        }
    })?;
    let of = |training: usize, network: usize| {
        runs.iter().skip(training * NETWORKS.len() + network).step_by(KINDS)
    };
    let right = |training, network, test: usize, sweeps: usize| {
        Spread::of(of(training, network).map(|run| run.right[sweeps][test]))
    };

    let mut drawn = Ok(());
    for (trained, how) in TRAININGS.iter().enumerate() {
        println!("\n{how}: % recognised, mean (least to most) of the seeds");
        println!("{:<18}  {:<20}  {:<20}  feedback, 1 sweep", "", NETWORKS[0].0, NETWORKS[1].0);
        for (test, Test { corruption, .. }) in tests.iter().enumerate() {
            let [with, without, first] =
                [(0, 1), (1, 1), (0, 0)].map(|(n, sweeps)| right(trained, n, test, sweeps).to_string());
            println!("{:<18}  {with:<20}  {without:<20}  {first}", corruption.to_string());
        }
        let mut from = 0;
        for (kind, name) in corruption::TESTS.iter().zip(["noise", "patch"]) {
            let own = from..from + kind.len();
            from += kind.len();
            let curve = |network: usize| Curve {
                name: NETWORKS[network].0.to_owned(),
                color: COLORS[network],
                points: own.clone().map(|test| right(trained, network, test, 1)).collect(),
            };
            let places: Vec<String> = kind.iter().map(Corruption::level).collect();
            let frame = Frame {
                title: &format!("Digits recognised, {how}"),
                subtitle: &format!(
                    "{} test digits; mean, worst and best of {}",
                    digits.len(),
                    seeds(options.seeds)
                ),
                x: kind[1].axis(),
                y: "recognised in %",
                places: &places,
                legend: SeriesLabelPosition::LowerLeft,
            };
            let path = directory.join(format!("{name}-{}.svg", ["clean", "corrupted"][trained]));
            drawn = drawn.and(curves::draw(&path, &frame, &[curve(0), curve(1)]));
        }
    }
    if drawn.is_ok() {
        println!("\nplots: {}", directory.display());
    }

    println!("seconds: {:.1}", started.elapsed().as_secs_f64());
    for (network, (name, parameters)) in NETWORKS.iter().enumerate() {
        let all = || (0..TRAININGS.len()).flat_map(|training| of(training, network));
        let not_converged: usize = all().map(|run| run.not_converged).sum();
        let batches = TRAININGS.len() as u64 * options.seeds * u64::from(options.steps);
        println!("{name}, parameters: {parameters}");
        println!("{name}, batches not converged: {not_converged} of {batches}");
        println!("{name}, sweeps at the end of training: {:.1}", Spread::of(all().map(|run| run.sweeps)));
        let residual = all().map(|run| run.residual).fold(0.0, f32::max);
        println!("{name}, largest residual after {} sweeps: {residual:.1e}", SWEEPS[1]);
    }
    for (trained, how) in TRAININGS.iter().enumerate() {
        for (network, (name, _)) in NETWORKS.iter().enumerate() {
            let mean = |run: &Run| run.right[1].iter().sum::<f64>() / tests.len() as f64;
            println!("{name}, {how}, mean of all tests: {:.2} %", Spread::of(of(trained, network).map(mean)));
        }
    }
    drawn
}

/// What is to be trained on what.
#[derive(Clone, Copy)]
struct Task<'a> {
    seed: u64,
    steps: u32,
    /// Whether training digits are noisy or covered.
    corrupted: bool,
    training: &'a [Digit],
    tests: &'a [Test],
    labels: &'a [usize],
}

/// Trains a network and tests it.
fn one<A: Takes<PIXELS, Scalar = f32>>(
    mut network: Boxed<Network<A>>,
    task: Task<'_>,
    bar: &ProgressBar,
) -> Result<Run, String>
where
    CrossEntropy: Loss<A::Output<BATCH>, [usize; BATCH], Scalar = f32>,
{
    let Task { seed, steps, corrupted, training, tests, labels } = task;
    let recipe = Recipe { rate: RATE, decay: DECAY, steps, start: 0.577, sweeps: 12 };
    network.initialize(&mut SmallRng::seed_from_u64(seed));
    let mut random = SmallRng::seed_from_u64(!seed);
    let next = || {
        bar.inc(1);
        let mut labels = [0; BATCH];
        let mut input = Inputs::<PIXELS>::zeros();
        for (row, label) in labels.iter_mut().enumerate() {
            let digit = &training[random.random_range(0..training.len())];
            *label = digit.label;
            let mut pixels = SHIFT.apply(digit, &mut random);
            if corrupted {
                pixels = any_corruption(&mut random).apply(pixels, &mut random);
            }
            for (pixel, value) in pixels.into_iter().enumerate() {
                input[(row, pixel)] = value;
            }
        }
        (input, labels)
    };
    let trained = train(network, CrossEntropy::smoothed(0.05), recipe, next, |_| {})
        .map_err(|error| format!("training, seed {seed}: {error}"))?;
    let mut right = [const { Vec::new() }; SWEEPS.len()];
    let mut largest = 0.0_f32;
    for test in tests {
        let (counts, residual) = recognised(&trained.network, &test.pictures, labels)
            .map_err(|error| format!("test, seed {seed}: {error}"))?;
        largest = largest.max(residual);
        for (right, count) in right.iter_mut().zip(counts) {
            right.push(100.0 * count as f64 / labels.len() as f64);
        }
    }
    Ok(Run { right, not_converged: trained.not_converged, sweeps: trained.sweeps, residual: largest })
}

/// A corruption for a training digit: noise or a patch, of any level up to the largest of the tests.
fn any_corruption(random: &mut impl Rng) -> Corruption {
    if random.random() {
        Corruption::Noise(0.6 * random.random::<f32>())
    } else {
        Corruption::Patch(random.random_range(0..=5))
    }
}

/// The digits recognised after each of [`SWEEPS`]; and the largest residual of the last sweep.
fn recognised<A: Takes<PIXELS, Scalar = f32>>(
    network: &Network<A>,
    pictures: &[[f32; PIXELS]],
    labels: &[usize],
) -> Result<([usize; SWEEPS.len()], f32), attractor::SolveError> {
    let mut injection = Injection::<_, BATCH>::ZERO;
    let mut state = State::<Network<A>, BATCH>::boxed();
    let mut right = [0; SWEEPS.len()];
    let mut largest = 0.0_f32;
    for (pictures, labels) in pictures.chunks(BATCH).zip(labels.chunks(BATCH)) {
        let input = Inputs::<PIXELS>::from_fn(|row, pixel| pictures[row % pictures.len()][pixel]);
        network.inject(&input, &mut injection)?;
        state.reset();
        let (mut made, mut residual) = (0, 0.0);
        for (&sweeps, right) in SWEEPS.iter().zip(&mut right) {
            while made < sweeps {
                residual = network.sweep(&injection, &mut state)?;
                made += 1;
            }
            // The output stands last, the digits of a unit side by side.
            let scores = &state.as_slice()[state.as_slice().len() - CLASSES * BATCH..];
            let score = |row: usize, class: usize| scores[class * BATCH + row];
            let answer = |row: usize| {
                (1..CLASSES)
                    .fold(0, |best, class| if score(row, class) > score(row, best) { class } else { best })
            };
            *right += labels.iter().enumerate().filter(|(row, label)| answer(*row) == **label).count();
        }
        largest = largest.max(residual);
    }
    Ok((right, largest))
}
