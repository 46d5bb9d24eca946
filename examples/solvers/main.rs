//! Which solver finds a fixed point where sweeps hardly contract, or do not? Random networks of tanh, by every solver.
//!
//! `cargo run --release --example solvers` takes some seconds; `-- --help` lists the options.

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
#[allow(dead_code, reason = "there are fewer curves here")]
#[path = "../shared/curves.rs"]
mod curves;
#[path = "../shared/experiment.rs"]
mod experiment;
#[path = "../shared/legend.rs"]
mod legend;
mod options;
#[allow(dead_code, reason = "networks are no seeds")]
#[path = "../shared/spread.rs"]
mod spread;
#[path = "../shared/title.rs"]
mod title;

use attractor::kernel::Identity;
use attractor::simd::Backend;
use attractor::solve::Solver;
use attractor::{Acceleration, Injection, Solved, State, Stop, fnn};
use curves::{COLORS, Curve, Frame};
use experiment::side_by_side;
use nalgebra::SMatrix;
use options::Options;
use plotters::prelude::SeriesLabelPosition;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use spread::Spread;
use std::process::ExitCode;

const INPUTS: usize = 16;
/// Inputs that are solved side by side.
const BATCH: usize = 8;
type Net = fnn![16, 32, 16, 4];
/// The same without activations, in which rates are measured.
type Linear = fnn![16, 32, 16, 4; hidden = Identity, scalar = f64];

const LEAST: f64 = 0.9;
const MOST: f64 = 1.5;
/// Places of the plot.
const PARTS: usize = 6;
const STOP: Stop = Stop::residual(1e-5).at_most(200);

/// The solvers; the first is one of a single sample only, with the engine of the network.
const NAMES: [&str; 7] = [
    "plain",
    "damped 0.5",
    "Acceleration, window 3",
    "Anderson 3",
    "Anderson 5",
    "Anderson 5, batch of 8",
    "Broyden 20",
];

/// The solvers that take any map; nothing is the acceleration of one sample.
fn solver(index: usize) -> Option<Solver> {
    match index {
        0 => Some(Solver::plain()),
        1 => Some(Solver::damped(0.5)),
        3 => Some(Solver::anderson(3)),
        4 | 5 => Some(Solver::anderson(5)),
        6 => Some(Solver::broyden(20)),
        _ => None,
    }
}

fn main() -> ExitCode {
    command_line::run("solvers", options::HELP, options::parse, run)
}

/// What one solver made of one network: the sweeps, where it was solved.
type Outcome = Option<usize>;

/// What all made of one network, and of its adjoint at a fixed point, where one was found.
struct Run {
    solved: [Outcome; NAMES.len()],
    adjoint: Option<[Outcome; NAMES.len()]>,
}

fn run(options: Options) -> Result<(), String> {
    let directory = output::target("solvers")?;
    let count = options.networks;
    let runs = side_by_side(count, count as u64, |index, bar| {
        let rate = LEAST + (MOST - LEAST) * (index as f64 + 0.5) / count as f64;
        let outcomes = solve(rate, options.seed + index as u64);
        bar.inc(1);
        outcomes
    })?;

    println!(
        "{count} networks 16-32-16-4 of tanh, rates {LEAST} to {MOST}, residual 1e-5, at most 200 sweeps"
    );
    println!(
        "\n{:<24}{:>12}{:>14}{:>22}{:>14}",
        "", "solved, %", "mean sweeps", "where all solve it", "adjoint, %"
    );
    let everywhere: Vec<bool> = runs.iter().map(|run| run.solved.iter().all(Option::is_some)).collect();
    let mut curves = Vec::new();
    let mut lines = Vec::new();
    for (index, name) in NAMES.iter().enumerate() {
        let sweeps = |all: bool| {
            let own = runs.iter().zip(&everywhere).filter(move |(_, every)| !all || **every);
            Spread::of(own.filter_map(|(run, _)| run.solved[index]).map(|sweeps| sweeps as f64)).mean
        };
        let share = |runs: &[Run]| {
            100.0 * runs.iter().filter(|run| run.solved[index].is_some()).count() as f64 / runs.len() as f64
        };
        print!("{name:<24}{:>12.1}{:>14.1}{:>22.1}", share(&runs), sweeps(false), sweeps(true));
        lines.push(format!("solved, {name}: {:.1} %", share(&runs)));
        if takes_adjoints(index) {
            let of: Vec<Outcome> = runs.iter().filter_map(|run| Some(run.adjoint.as_ref()?[index])).collect();
            let solved = of.iter().filter(|outcome| outcome.is_some()).count();
            let share = 100.0 * solved as f64 / of.len().max(1) as f64;
            print!("{share:>14.1}");
            lines.push(format!("adjoint, {name}: {share:.1} %"));
        }
        println!();
        let parts = runs.chunks(count.div_ceil(PARTS));
        let points = parts.map(|part| {
            let share = share(part);
            Spread { mean: share, min: share, max: share }
        });
        // The acceleration of one sample is Anderson's method too.
        if index != 3 {
            curves.push(Curve {
                name: (*name).to_owned(),
                color: COLORS[curves.len()],
                points: points.collect(),
            });
        }
    }
    let step = (MOST - LEAST) / PARTS as f64;
    let places: Vec<String> = (0..curves[0].points.len())
        .map(|part| format!("{:.2}", LEAST + step * (part as f64 + 0.5)))
        .collect();
    let frame = Frame {
        title: "Networks solved within 200 sweeps",
        subtitle: "16-32-16-4 of tanh, random weights, one input",
        x: "rate of sweeps without activations",
        y: "%",
        places: &places,
        legend: SeriesLabelPosition::LowerLeft,
    };
    curves::draw(&directory.join("solved.svg"), &frame, &curves)?;
    println!("\nplot: target/solvers/solved.svg");
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// Whether it is a solver of one sample that takes the adjoint too.
fn takes_adjoints(index: usize) -> bool {
    index != 5 && solver(index).is_some()
}

/// A random network of this rate, by every solver.
fn solve(rate: f64, seed: u64) -> Result<Run, String> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut net = Net::ZERO;
    net.initialize(&mut random);
    for bias in net.layer_mut::<1>().b.iter_mut() {
        *bias = random.random_range(-0.3..0.3);
    }
    // The rate goes with the feedback, though not in proportion to it.
    for _ in 0..40 {
        let seen = measure(&net);
        let factor = (rate / seen).clamp(0.25, 4.0);
        net.scale_feedback(factor as f32).map_err(|error| error.to_string())?;
        if (factor - 1.0).abs() < 1e-4 {
            break;
        }
    }
    let input: [f32; INPUTS] = core::array::from_fn(|_| random.random_range(-0.5..0.5));
    let inputs = SMatrix::<f32, BATCH, INPUTS>::from_fn(|sample, i| {
        if sample == 0 { input[i] } else { random.random_range(-0.5..0.5) }
    });
    let on = net.on(Backend::best());
    let mut one = Injection::<Net, 1>::ZERO;
    let mut many = Injection::<Net, BATCH>::ZERO;
    on.inject(&input, &mut one)
        .and_then(|()| on.inject(&inputs, &mut many))
        .map_err(|error| error.to_string())?;

    let mut outcomes = [None; NAMES.len()];
    for (index, outcome) in outcomes.iter_mut().enumerate() {
        let Some(solver) = solver(index) else {
            let mut acceleration = Acceleration::<Net, 3>::new();
            *outcome = told(on.solve_accelerated(&input, &mut Net::state(), STOP, &mut acceleration));
            continue;
        };
        let mut room = vec![0.0; solver.room(Net::UNITS, BATCH)];
        if index == 5 {
            // The sample that the others have alone, among others.
            let mut reports = [Solved { sweeps: 0, residual: 0.0 }; BATCH];
            let mut state = State::<Net, BATCH>::ZERO;
            let _ = solver.solve_each(&on.map(&many), state.as_mut_slice(), STOP, &mut room, &mut reports);
            let [first, ..] = reports;
            *outcome = (first.residual <= 1e-5).then_some(first.sweeps);
        } else {
            let mut state = Net::state::<1>();
            let solved = solver.solve(&on.map(&one), state.as_mut_slice(), STOP, &mut room);
            *outcome = told(solved);
        }
    }

    // The adjoint, for a random gradient of the outputs, at what Broyden's method found.
    let mut state = Net::state::<1>();
    let best = Solver::broyden(20);
    let mut room = vec![0.0; best.room(Net::UNITS, 1)];
    let found = best.solve(&on.map(&one), state.as_mut_slice(), STOP, &mut room).is_ok();
    let output = SMatrix::<f32, 1, 4>::from_fn(|_, _| random.random_range(-1.0..1.0));
    let adjoint = found.then(|| {
        core::array::from_fn(|index| {
            let solver = solver(index).filter(|_| takes_adjoints(index))?;
            let mut deltas = Net::state::<1>();
            let stop = Stop::relative(1e-5).at_most(STOP.limit());
            let mut room = vec![0.0; solver.room(Net::UNITS, 1)];
            let map = on.adjoint_map(&state, &output);
            told(solver.solve(&map, deltas.as_mut_slice(), stop, &mut room))
        })
    });
    Ok(Run { solved: outcomes, adjoint })
}

fn told<E>(result: Result<Solved, E>) -> Outcome {
    result.ok().map(|solved| solved.sweeps)
}

/// What a sweep leaves of an error in the long run, without activations.
fn measure(net: &Net) -> f64 {
    let mut linear = Linear::ZERO;
    linear.params_mut().iter_mut().zip(net.params()).for_each(|(to, from)| *to = f64::from(*from));
    linear.layer_mut::<1>().b.fill(0.0);
    let mut injection = Injection::<Linear, 1>::ZERO;
    let mut state = Linear::state::<1>();
    state.as_mut_slice().iter_mut().enumerate().for_each(|(i, h)| *h = (i as f64 + 0.5).sin());
    let (mut sum, mut count) = (0.0, 0.0);
    if linear.inject(&[0.0; INPUTS], &mut injection).is_err() {
        return f64::NAN;
    }
    for sweep in 0..400 {
        if linear.sweep(&injection, &mut state).is_err() {
            return f64::NAN;
        }
        let size = state.as_slice().iter().fold(0.0_f64, |most, h| most.max(h.abs()));
        state.as_mut_slice().iter_mut().for_each(|h| *h /= size);
        if sweep >= 100 {
            sum += size.ln();
            count += 1.0;
        }
    }
    (sum / count).exp()
}
