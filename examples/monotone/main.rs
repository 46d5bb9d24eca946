//! A monotone equilibrium network (Winston and Kolter 2020) as a map of its own, trained on handwritten digits by the solvers and their exact gradients.
//!
//! `cargo run --release --example monotone` takes some seconds; `-- --help` lists the options.

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
#[allow(dead_code, reason = "batches are made in another way here")]
#[path = "../digits/data.rs"]
mod data;
#[path = "../shared/epochs.rs"]
mod epochs;
#[path = "../shared/experiment.rs"]
mod experiment;
mod network;
mod options;
#[path = "../shared/spread.rs"]
mod spread;

use attractor::Stop;
use attractor::solve::{MapError, Solver};
use data::{BATCH, CLASSES, Digit};
use epochs::Options;
use experiment::side_by_side;
use nalgebra::SMatrix;
use network::{Answers, Inputs, Monotone, Sweep, UNITS};
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};
use spread::{Spread, seeds};
use std::process::ExitCode;

const STOP: Stop<f64> = Stop::residual(1e-4).at_most(200);
/// For the adjoint: deltas are as small as the loss's gradient.
const ADJOINT: Stop<f64> = Stop::relative(1e-3).at_most(200);
const RATE: f64 = 3e-3;
/// Part of the way of a plain sweep that the splitting goes.
const PART: f64 = 0.25;

fn main() -> ExitCode {
    command_line::run("monotone", options::HELP, options::parse, run)
}

/// What came of a seed.
struct Run {
    right: f64,
    /// Mean sweeps of the solve and of the adjoint, over the last epoch.
    sweeps: [f64; 2],
    /// Of the test batches, by every way: the share solved in 200 sweeps, and the mean sweeps of those that are.
    ways: Vec<(f64, f64)>,
    /// The largest error of some entries of the gradient, relative to the largest of them.
    gradient: f64,
}

/// The ways to solve: their names, the part of a plain sweep, and the solver.
fn ways() -> [(&'static str, f64, Solver<f64>); 4] {
    [
        ("plain sweeps", 1.0, Solver::plain()),
        ("splitting", PART, Solver::plain()),
        ("splitting, Anderson 3", PART, Solver::anderson(3)),
        ("splitting, Broyden 12", PART, Solver::broyden(12)),
    ]
}

fn run(options: Options) -> Result<(), String> {
    let (training, test) = (data::training()?, data::test()?);
    println!(
        "digits: {} to train, {} to test; {UNITS} units, batches of {BATCH}",
        training.len(),
        test.len()
    );
    let steps = options.epochs as usize * (training.len() / BATCH);
    let runs = side_by_side(options.seeds as usize, options.seeds * steps as u64, |index, bar| {
        train(options.seed + index as u64, options.epochs, &training, &test, || bar.inc(1))
            .map_err(|error| format!("training: {error}"))
    })?;

    println!("\n{:<24}{:>16}{:>16}", "test batches, trained", "solved, %", "mean sweeps");
    for (index, (name, ..)) in ways().iter().enumerate() {
        let of =
            |value: fn(&(f64, f64)) -> f64| Spread::of(runs.iter().map(|run| value(&run.ways[index]))).mean;
        let sweeps = of(|way| way.1);
        let sweeps = if sweeps.is_nan() { "none".to_owned() } else { format!("{sweeps:.1}") };
        println!("{name:<24}{:>16.1}{sweeps:>16}", of(|way| way.0));
    }
    let of = |value: fn(&Run) -> f64| Spread::of(runs.iter().map(value));
    println!(
        "\nsweeps of a solve, of an adjoint: {:.1} {:.1}",
        of(|run| run.sweeps[0]).mean,
        of(|run| run.sweeps[1]).mean
    );
    println!("gradient against differences, largest error: {:.1e}", of(|run| run.gradient).max);
    println!("test accuracy: mean {:.1} % ({})", of(|run| run.right).mean, seeds(options.seeds));
    Ok(())
}

fn batch(digits: &[Digit], rows: &[usize]) -> (Inputs, [usize; BATCH]) {
    let of = |row: usize| &digits[rows[row % rows.len()]];
    (
        Inputs::from_fn(|row, pixel| f64::from(of(row).pixels[pixel])),
        core::array::from_fn(|row| of(row).label),
    )
}

/// Trains a network and tests it.
fn train(
    seed: u64,
    epochs: u32,
    training: &[Digit],
    test: &[Digit],
    progress: impl Fn(),
) -> Result<Run, MapError<f64>> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut network = Monotone::random(&mut random);
    let mut moments = [Monotone::zeroed(), Monotone::zeroed()];
    let mut order: Vec<usize> = (0..training.len()).collect();
    let solver = Solver::anderson(3);
    let mut room = vec![0.0; Solver::<f64>::broyden(12).room(UNITS, BATCH)];
    let (mut steps, mut sweeps) = (0, [0.0; 2]);
    for _ in 0..epochs {
        order.shuffle(&mut random);
        sweeps = [0.0; 2];
        let batches = order.as_chunks::<BATCH>().0;
        for rows in batches {
            let (input, labels) = batch(training, rows);
            let (_, gradient, own) = learn(&network, &input, &labels, solver, [STOP, ADJOINT], &mut room)?;
            sweeps = [sweeps[0] + own[0] / batches.len() as f64, sweeps[1] + own[1] / batches.len() as f64];
            steps += 1;
            network.adam(&gradient, &mut moments, steps, RATE);
            progress();
        }
    }

    let all: Vec<usize> = (0..test.len()).collect();
    let (mut right, mut count) = (0, 0.0);
    let mut ways_seen = [(0.0, 0.0); 4];
    for rows in all.chunks(BATCH) {
        let (input, labels) = batch(test, rows);
        count += 1.0;
        for ((_, part, solver), seen) in ways().iter().zip(&mut ways_seen) {
            let mut states = vec![0.0; UNITS * BATCH];
            let solved = solver.solve(&network.sweep(&input, *part), &mut states, STOP, &mut room);
            let Ok(solved) = solved else { continue };
            *seen = (seen.0 + 1.0, seen.1 + solved.sweeps as f64);
        }
        let mut states = vec![0.0; UNITS * BATCH];
        solver.solve(&network.sweep(&input, PART), &mut states, STOP, &mut room)?;
        let answers = network.answers(&states);
        right += (0..rows.len()).filter(|row| largest(&answers, *row) == labels[*row]).count();
    }
    let ways = ways_seen.iter().map(|(solved, sweeps)| (100.0 * solved / count, sweeps / solved)).collect();
    let (input, labels) = batch(test, &all[..BATCH]);
    let gradient = differences(&network, &input, &labels, &mut room)?;
    Ok(Run { right: 100.0 * right as f64 / test.len() as f64, sweeps, ways, gradient })
}

fn largest(answers: &Answers, row: usize) -> usize {
    (1..CLASSES)
        .fold(0, |best, class| if answers[(row, class)] > answers[(row, best)] { class } else { best })
}

/// The loss of a batch, its exact gradient, and the sweeps of both fixed points.
fn learn(
    network: &Monotone,
    input: &Inputs,
    labels: &[usize; BATCH],
    solver: Solver<f64>,
    [stop, adjoint]: [Stop<f64>; 2],
    room: &mut [f64],
) -> Result<(f64, Monotone, [f64; 2]), MapError<f64>> {
    let map: Sweep<'_> = network.sweep(input, PART);
    let mut states = vec![0.0; UNITS * BATCH];
    let solved = solver.solve(&map, &mut states, stop, room)?;
    let (loss, sent) = cross_entropy(&network.answers(&states), labels);
    let from_outputs = sent * network.v.transpose();
    let mut deltas = vec![0.0; UNITS * BATCH];
    let adjoint = solver.adjoint(&map, &states, from_outputs.as_slice(), &mut deltas, adjoint, room)?;
    let gradient = map.gradient(&states, &deltas, &sent);
    Ok((loss, gradient, [solved.sweeps as f64, adjoint.sweeps as f64]))
}

/// Mean cross-entropy of a softmax, and its slope.
fn cross_entropy(answers: &Answers, labels: &[usize; BATCH]) -> (f64, Answers) {
    let (mut loss, mut slope) = (0.0, SMatrix::zeros());
    for (row, label) in labels.iter().enumerate() {
        let most = answers.row(row).max();
        let total: f64 = answers.row(row).iter().map(|answer| (answer - most).exp()).sum();
        loss += total.ln() + most - answers[(row, *label)];
        for class in 0..CLASSES {
            let share = (answers[(row, class)] - most).exp() / total;
            slope[(row, class)] = (share - f64::from(u8::from(class == *label))) / BATCH as f64;
        }
    }
    (loss / BATCH as f64, slope)
}

/// How far some entries of the gradient are from central differences, relative to the largest of them.
fn differences(
    network: &Monotone,
    input: &Inputs,
    labels: &[usize; BATCH],
    room: &mut [f64],
) -> Result<f64, MapError<f64>> {
    const WIDTH: f64 = 1e-6;
    let solver = Solver::anderson(3);
    let stops = [Stop::residual(1e-12).at_most(1000), Stop::relative(1e-10).at_most(1000)];
    let (_, exact, _) = learn(network, input, labels, solver, stops, room)?;
    let (mut worst, mut most) = (0.0_f64, 0.0_f64);
    let exact: Vec<f64> = exact.entries().collect();
    for place in (0..exact.len()).step_by(exact.len() / 40) {
        let mut loss = |change: f64| {
            let mut network = network.clone();
            network.entries_mut().skip(place).take(1).for_each(|weight| *weight += change);
            learn(&network, input, labels, solver, stops, room).map(|learnt| learnt.0)
        };
        let difference = (loss(WIDTH)? - loss(-WIDTH)?) / (2.0 * WIDTH);
        let exact = exact[place];
        (worst, most) = (worst.max((exact - difference).abs()), most.max(difference.abs()));
    }
    Ok(worst / most)
}
