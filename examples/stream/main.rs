//! A stream of motions, classified tick by tick: what is it worth to start from the last state?
//!
//! `cargo run --release --example stream` takes some seconds; `-- --help` lists the options.

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
#[path = "../shared/curves.rs"]
mod curves;
#[path = "../shared/experiment.rs"]
mod experiment;
#[path = "../shared/learning.rs"]
mod learning;
#[path = "../shared/legend.rs"]
mod legend;
mod motions;
#[path = "../shared/options.rs"]
mod options;
mod sense;
#[path = "../shared/spread.rs"]
mod spread;
#[path = "../shared/title.rs"]
mod title;

use attractor::learn::{CrossEntropy, Loss};
use attractor::network::Takes;
use attractor::{Boxed, Feedforward, Network, SolveError, State, Stop, fnn};
use curves::{COLORS, Curve, Frame};
use experiment::side_by_side;
use indicatif::ProgressBar;
use learning::{BATCH, Inputs, Recipe, train};
use motions::{CLASSES, Series, TICKS};
use options::Options;
use plotters::prelude::SeriesLabelPosition;
use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use sense::{Sense, Statistics, WINDOW, Window};
use spread::{Spread, seeds};
use std::process::ExitCode;
use std::time::Instant;

type OfWindow = fnn![48, 32, 16, 4];
type OfWindowWithout = fnn![48, 40, 17, 4; feedback = Feedforward];
type OfStatistics = fnn![12, 32, 16, 4];
type OfStatisticsWithout = fnn![12, 45, 20, 4; feedback = Feedforward];

/// Name and parameters of every network.
const NETWORKS: [(&str, usize); 4] = [
    ("window, feedback 48-32-16-4", OfWindow::PARAMS),
    ("window, without 48-40-17-4", OfWindowWithout::PARAMS),
    ("statistics, feedback 12-32-16-4", OfStatistics::PARAMS),
    ("statistics, without 12-45-20-4", OfStatisticsWithout::PARAMS),
];
/// How each tick is solved.
const TOLERANCES: [(&str, Stop); 6] = [
    ("1e-1", Stop::residual(1e-1)),
    ("1e-2", Stop::residual(1e-2)),
    ("1e-3", Stop::residual(1e-3)),
    ("1e-4", Stop::residual(1e-4)),
    ("1e-5", Stop::residual(1e-5)),
    ("one sweep", Stop::after(1)),
];
/// How far any unit may be off, where that is certified.
const ERRORS: [f32; 2] = [1e-1, 1e-2];
/// What feedback is held to, where that is certified.
const GAMMA: f32 = 0.2;
const STARTS: [&str; 2] = ["cold", "warm"];
const RATE: f32 = 5e-3;
const DECAY: f32 = 0.05;
/// Standard deviation of noise on training inputs; a channel's own is 1.
const NOISE: f32 = 0.1;

const DEFAULT: Options = Options { seed: 1, seeds: 5, steps: 3000 };
const WHAT: &str = "\
Trains networks with feedback and without to tell standing, running, walking and badminton by a wrist's motion, and
runs them on a stream, from a state of zero at every tick (cold) and from the last state (warm).";

fn main() -> ExitCode {
    let help = DEFAULT.help("stream", WHAT);
    command_line::run("stream", &help, |arguments| DEFAULT.parse(arguments), run)
}

/// What a stream took and gave, by tolerance and start.
type Streamed<T> = [[T; STARTS.len()]; TOLERANCES.len()];

/// What became of one network.
struct Run {
    /// Mean sweeps a tick.
    sweeps: Streamed<f64>,
    /// Ticks recognised, in per cent.
    right: Streamed<f64>,
    /// Series of which most ticks are recognised, from cold solves to 1e-5, in per cent.
    series: f64,
    not_converged: usize,
    /// Sweeps of a batch at the end of training.
    batch_sweeps: f64,
    ticks_not_converged: usize,
    /// Layers computed a tick by certified solves that start warm, all of a sweep and only those that are due; for every error of
    /// [`ERRORS`].
    layers: [[f64; 2]; ERRORS.len()],
}

fn run(options: Options) -> Result<(), String> {
    let directory = output::target("stream")?;
    let started = Instant::now();
    let [training, mut test] = motions::read()?;
    // Activities follow each other as chance has it, the same for all networks.
    test.shuffle(&mut SmallRng::seed_from_u64(0));
    println!("series: {} to train, {} to test, of {TICKS} ticks", training.len(), test.len());

    let count = NETWORKS.len() * options.seeds as usize;
    let runs = side_by_side(count, count as u64 * u64::from(options.steps), |index, bar| {
        let task = Task {
            seed: options.seed + (index / NETWORKS.len()) as u64,
            steps: options.steps,
            training: &training,
            test: &test,
        };
        match index % NETWORKS.len() {
            0 => one::<_, Window, _>(OfWindow::boxed(), task, bar),
            1 => one::<_, Window, _>(OfWindowWithout::boxed(), task, bar),
            2 => one::<_, Statistics, _>(OfStatistics::boxed(), task, bar),
            _ => one::<_, Statistics, _>(OfStatisticsWithout::boxed(), task, bar),
        }
    })?;
    let of = |network: usize| runs.iter().skip(network).step_by(NETWORKS.len());
    let sweeps = |network, at: usize, start: usize| Spread::of(of(network).map(|run| run.sweeps[at][start]));
    let right = |network, at: usize, start: usize| Spread::of(of(network).map(|run| run.right[at][start]));

    for (network, (name, _)) in NETWORKS.iter().enumerate() {
        println!("\n{name}: sweeps a tick, % of ticks recognised, mean (least to most) of the seeds");
        for (at, (tolerance, _)) in TOLERANCES.iter().enumerate() {
            for (start, how) in STARTS.iter().enumerate() {
                let (sweeps, right) = (sweeps(network, at, start), right(network, at, start));
                println!("{tolerance:<9}  {how}  {sweeps:.2}  recognised {right}");
            }
        }
    }

    let path = directory.join("sweeps.svg");
    let kinds = [(0, "window"), (2, "statistics")].into_iter();
    let curves: Vec<Curve> = kinds
        .flat_map(|(network, name)| {
            STARTS.iter().enumerate().map(move |(start, how)| (network, name, start, how))
        })
        .zip(COLORS)
        .map(|((network, name, start, how), color)| Curve {
            name: format!("{name}, {how}"),
            color,
            points: (0..TOLERANCES.len() - 1).map(|at| sweeps(network, at, start)).collect(),
        })
        .collect();
    let places: Vec<String> =
        TOLERANCES[..TOLERANCES.len() - 1].iter().map(|(name, _)| (*name).to_owned()).collect();
    let frame = Frame {
        title: "Sweeps a tick, from zero and from the last state",
        subtitle: &format!(
            "networks with feedback; {} ticks; mean, worst and best of {}",
            test.len() * TICKS,
            seeds(options.seeds)
        ),
        x: "residual asked for",
        y: "sweeps a tick",
        places: &places,
        legend: SeriesLabelPosition::UpperLeft,
    };
    let drawn = curves::draw(&path, &frame, &curves);
    if drawn.is_ok() {
        println!("\nplot: {}", path.display());
    }

    println!("seconds: {:.1}", started.elapsed().as_secs_f64());
    for (network, (name, parameters)) in NETWORKS.iter().enumerate() {
        let not_converged: usize = of(network).map(|run| run.not_converged).sum();
        let ticks: usize = of(network).map(|run| run.ticks_not_converged).sum();
        let batches = options.seeds * u64::from(options.steps);
        println!("{name}, parameters: {parameters}");
        println!("{name}, batches not converged: {not_converged} of {batches}");
        let sweeps = Spread::of(of(network).map(|run| run.batch_sweeps));
        println!("{name}, sweeps of a batch at the end of training: {sweeps:.1}");
        println!("{name}, solves of ticks not converged: {ticks}");
        println!("{name}, series recognised: {} %", Spread::of(of(network).map(|run| run.series)));
    }
    for (network, (name, _)) in NETWORKS.iter().enumerate() {
        for (start, how) in STARTS.iter().enumerate() {
            println!("{name}, {how}, sweeps a tick to 1e-4: {:.2}", sweeps(network, 3, start));
        }
        println!("{name}, ticks recognised: {} %", right(network, 3, 0));
        for (at, error) in ERRORS.iter().enumerate() {
            let [all, due] = [0, 1].map(|which| Spread::of(of(network).map(|run| run.layers[at][which])));
            println!("{name}, certified to {error}, layers a tick: {all:.2}");
            println!("{name}, certified to {error}, layers a tick that were due: {due:.2}");
        }
    }
    drawn
}

/// What is to be trained on what.
#[derive(Clone, Copy)]
struct Task<'a> {
    seed: u64,
    steps: u32,
    training: &'a [Series],
    test: &'a [Series],
}

/// Trains a network on what the sense `V` sees, and tests it.
fn one<A: Takes<INPUT, Scalar = f32>, V: Sense<INPUT>, const INPUT: usize>(
    mut network: Boxed<Network<A>>,
    task: Task<'_>,
    bar: &ProgressBar,
) -> Result<Run, String>
where
    CrossEntropy: Loss<A::Output<BATCH>, [usize; BATCH], Scalar = f32>,
{
    let Task { seed, steps, training, test } = task;
    // What is seen once the window is full.
    let seen: Vec<([f32; INPUT], usize)> = training
        .iter()
        .flat_map(|series| {
            let mut sense = V::default();
            let seen: Vec<_> = series.ticks.iter().map(|tick| (sense.see(tick), series.label)).collect();
            seen.into_iter().skip(WINDOW - 1)
        })
        .collect();
    let recipe = Recipe { rate: RATE, decay: DECAY, steps, start: 1.0, sweeps: 12 };
    network.initialize(&mut SmallRng::seed_from_u64(seed));
    let mut random = SmallRng::seed_from_u64(!seed);
    let next = || {
        bar.inc(1);
        let chosen: [&([f32; INPUT], usize); BATCH] =
            core::array::from_fn(|_| &seen[random.random_range(0..seen.len())]);
        // Uniform noise of this deviation.
        let mut noise = || NOISE * 3_f32.sqrt() * (2.0 * random.random::<f32>() - 1.0);
        (Inputs::from_fn(|row, i| chosen[row].0[i] + noise()), chosen.map(|(_, label)| *label))
    };
    let trained = train(network, CrossEntropy::smoothed(0.05), recipe, next, |_| {})
        .map_err(|error| format!("training, seed {seed}: {error}"))?;

    let mut run = Run {
        sweeps: Streamed::default(),
        right: Streamed::default(),
        series: 0.0,
        not_converged: trained.not_converged,
        batch_sweeps: trained.sweeps,
        ticks_not_converged: 0,
        layers: [[0.0; 2]; ERRORS.len()],
    };
    for (at, (_, tolerance)) in TOLERANCES.iter().enumerate() {
        for start in 0..STARTS.len() {
            let streamed = stream::<_, V, INPUT>(&trained.network, test, *tolerance, start == 1)
                .map_err(|error| format!("test, seed {seed}: {error}"))?;
            run.sweeps[at][start] = streamed.sweeps as f64 / (test.len() * TICKS) as f64;
            let right: usize = streamed.right.iter().sum();
            run.right[at][start] = 100.0 * right as f64 / (test.len() * (TICKS - WINDOW + 1)) as f64;
            run.ticks_not_converged += streamed.not_converged;
            if (at, start) == (4, 0) {
                let most = streamed.right.iter().filter(|&&right| 2 * right > TICKS - WINDOW + 1).count();
                run.series = 100.0 * most as f64 / test.len() as f64;
            }
        }
    }
    for (layers, error) in run.layers.iter_mut().zip(ERRORS) {
        let counted = certified::<_, V, INPUT>(trained.network.clone(), test, error)
            .map_err(|error| format!("certified test, seed {seed}: {error}"))?;
        *layers = counted.map(|count| count as f64 / (test.len() * TICKS) as f64);
    }
    Ok(run)
}

/// Runs the series as one stream with feedback held to [`GAMMA`], every unit certified to be within `error`: layers computed in
/// sweeps from the last state, and where only those that are due are computed.
fn certified<A: Takes<INPUT, Scalar = f32>, V: Sense<INPUT>, const INPUT: usize>(
    mut network: Boxed<Network<A>>,
    series: &[Series],
    error: f32,
) -> Result<[usize; 2], Box<dyn std::error::Error>> {
    let certificate = network.limit_rate(GAMMA)?;
    let certified = certificate.verify(&network)?;
    let mut sense = V::default();
    let (mut whole, mut due) = (State::ZERO, State::ZERO);
    let first = sense.see(&series[0].ticks[0]);
    let mut sweeping = certified.refine(&first, &mut whole)?;
    let mut skipping = certified.skipping(&first, &mut due)?;
    let mut layers = [Network::<A>::DEPTH * sweeping.solve(error)?.sweeps, skipping.solve(error)?.layers];
    for tick in series.iter().flat_map(|series| &series.ticks).skip(1) {
        let seen = sense.see(tick);
        sweeping.follow(&seen)?;
        skipping.follow(&seen)?;
        layers[0] += Network::<A>::DEPTH * sweeping.solve(error)?.sweeps;
        layers[1] += skipping.solve(error)?.layers;
    }
    Ok(layers)
}

/// What a stream took and gave.
#[derive(Default)]
struct Sums {
    sweeps: usize,
    /// Ticks recognised, of each series; not counted are those whose window holds another series too.
    right: Vec<usize>,
    not_converged: usize,
}

/// Runs the series one after another as one stream.
fn stream<A: Takes<INPUT, Scalar = f32>, V: Sense<INPUT>, const INPUT: usize>(
    network: &Network<A>,
    series: &[Series],
    tolerance: Stop,
    warm: bool,
) -> Result<Sums, SolveError> {
    let mut sense = V::default();
    let mut state = State::<Network<A>>::ZERO;
    let mut sums = Sums::default();
    for series in series {
        let mut right = 0;
        for (at, tick) in series.ticks.iter().enumerate() {
            if !warm {
                state.reset();
            }
            match network.solve(&sense.see(tick), &mut state, tolerance) {
                Ok(solved) => sums.sweeps += solved.sweeps,
                // The state is an answer all the same.
                Err(SolveError::NotConverged { sweeps, .. }) => {
                    sums.sweeps += sweeps;
                    sums.not_converged += 1;
                }
                Err(error) => return Err(error),
            }
            let scores = &state.as_slice()[state.as_slice().len() - CLASSES..];
            let answer =
                (1..CLASSES).fold(0, |best, class| if scores[class] > scores[best] { class } else { best });
            right += usize::from(at + 1 >= WINDOW && answer == series.label);
        }
        sums.right.push(right);
    }
    Ok(sums)
}
