//! Sudokus of 4x4 cells: do more sweeps solve more of them, and more than a network without feedback does?
//!
//! `cargo run --release --example sudoku` takes a minute or two; `-- --help` lists the options.

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
#[path = "../shared/experiment.rs"]
mod experiment;
#[path = "../shared/learning.rs"]
mod learning;
#[path = "../shared/legend.rs"]
mod legend;
#[path = "../shared/options.rs"]
mod options;
mod puzzle;
#[path = "../shared/spread.rs"]
mod spread;
#[path = "../shared/title.rs"]
mod title;

use attractor::kernel::Tanh;
use attractor::network::Takes;
use attractor::{Boxed, Feedforward, Network, fnn};
use clamped::{Completed, First, Missing, Problem, SWEEPS, complete, learn};
use curves::{COLORS, Curve, Frame};
use experiment::side_by_side;
use indicatif::ProgressBar;
use learning::{BATCH, Inputs, Recipe};
use options::Options;
use plotters::prelude::SeriesLabelPosition;
use puzzle::{CELLS, Maker, Puzzle};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use spread::{Spread, seeds};
use std::process::ExitCode;
use std::time::Instant;

type Two = fnn![64, 73, 72, 64; output = Tanh];
type Three = fnn![64, 58, 58, 58, 64; output = Tanh];
type Five = fnn![64, 45, 45, 44, 44, 45, 64; output = Tanh];
type TwoWithout = fnn![64, 105, 105, 64; feedback = Feedforward, output = Tanh];
type ThreeWithout = fnn![64, 83, 83, 83, 64; feedback = Feedforward, output = Tanh];
type FiveWithout = fnn![64, 64, 64, 64, 64, 64, 64; feedback = Feedforward, output = Tanh];

/// Name and parameters of every network.
const NETWORKS: [(&str, usize); 6] = [
    ("feedback 64-73-72-64", Two::PARAMS),
    ("feedback 64-58-58-58-64", Three::PARAMS),
    ("feedback 64-45-45-44-44-45-64", Five::PARAMS),
    ("without 64-105-105-64", TwoWithout::PARAMS),
    ("without 64-83-83-83-64", ThreeWithout::PARAMS),
    ("without 64-64-64-64-64-64-64", FiveWithout::PARAMS),
];
/// Cells given: at least, at most.
const GIVENS: [usize; 2] = [6, 8];
/// Solutions no training puzzle has.
const HELD_OUT: usize = 72;
/// Test puzzles with each number of givens.
const TESTED: usize = 1000;
const RATE: f32 = 6e-3;
const DECAY: f32 = 0.01;

const DEFAULT: Options = Options { seed: 1, seeds: 5, steps: 6000 };
const WHAT: &str = "\
Trains networks with feedback and without to solve 4x4 sudokus, and counts what they solve after 1, 2, 4... sweeps.";

fn main() -> ExitCode {
    let help = DEFAULT.help("sudoku", WHAT);
    command_line::run("sudoku", &help, |arguments| DEFAULT.parse(arguments), run)
}

/// What became of one network.
struct Run {
    /// Test puzzles solved after each number of sweeps, in per cent; by number of givens.
    solved: Vec<[f64; GIVENS[1] - GIVENS[0] + 1]>,
    /// Cells right among those not given, in per cent.
    cells: Vec<f64>,
    not_converged: usize,
    sweeps: f64,
    residual: f32,
}

fn run(options: Options) -> Result<(), String> {
    let directory = output::target("sudoku")?;
    let started = Instant::now();
    let (training, held_out) = Maker::pair(HELD_OUT);
    println!("solutions: {} to train, {} others to test", training.solutions(), held_out.solutions());
    let mut random = SmallRng::seed_from_u64(0);
    let test: Vec<Puzzle> =
        (GIVENS[0]..=GIVENS[1]).flat_map(|givens| held_out.different(TESTED, givens, &mut random)).collect();
    println!("test puzzles: {}, {} to {} cells given", test.len(), GIVENS[0], GIVENS[1]);

    let count = NETWORKS.len() * options.seeds as usize;
    let runs = side_by_side(count, count as u64 * u64::from(options.steps), |index, bar| {
        let seed = options.seed + (index / NETWORKS.len()) as u64;
        match index % NETWORKS.len() {
            0 => one(Two::boxed(), seed, options, &training, &test, bar),
            1 => one(Three::boxed(), seed, options, &training, &test, bar),
            2 => one(Five::boxed(), seed, options, &training, &test, bar),
            3 => one(TwoWithout::boxed(), seed, options, &training, &test, bar),
            4 => one(ThreeWithout::boxed(), seed, options, &training, &test, bar),
            _ => one(FiveWithout::boxed(), seed, options, &training, &test, bar),
        }
    })?;
    let of = |network: usize| runs.iter().skip(network).step_by(NETWORKS.len());
    let mean = |solved: &[f64]| solved.iter().sum::<f64>() / solved.len() as f64;
    let solved = |network, at: usize| Spread::of(of(network).map(|run| mean(&run.solved[at])));

    let last = SWEEPS.len() - 1;
    for (network, (name, _)) in NETWORKS.iter().enumerate() {
        println!("\n{name}: % of puzzles solved, and of cells right, mean (least to most) of the seeds");
        let changes = network < 3;
        for (at, sweeps) in SWEEPS.iter().enumerate().filter(|(at, _)| changes || *at == last) {
            let cells = Spread::of(of(network).map(|run| run.cells[at]));
            println!("sweeps {sweeps:>2}  {}  cells {cells:.2}", solved(network, at));
        }
        for givens in GIVENS[0]..=GIVENS[1] {
            let spread = Spread::of(of(network).map(|run| run.solved[last][givens - GIVENS[0]]));
            println!("givens {givens:>2}  {spread}");
        }
    }

    let path = directory.join("solved.svg");
    let curves: Vec<Curve> = (0..NETWORKS.len())
        .map(|network| Curve {
            name: NETWORKS[network].0.to_owned(),
            color: COLORS[network],
            points: (0..SWEEPS.len()).map(|at| solved(network, at)).collect(),
        })
        .collect();
    let frame = Frame {
        title: "4x4 sudokus solved after 1, 2, 4... sweeps",
        subtitle: &format!(
            "{} puzzles with solutions not trained on; mean, worst and best of {}",
            test.len(),
            seeds(options.seeds)
        ),
        x: "sweeps",
        y: "solved in %",
        places: &SWEEPS.map(|sweeps| sweeps.to_string()),
        legend: SeriesLabelPosition::LowerRight,
    };
    let drawn = curves::draw(&path, &frame, &curves);
    if drawn.is_ok() {
        println!("\nplot: {}", path.display());
    }

    println!("seconds: {:.1}", started.elapsed().as_secs_f64());
    for (network, (name, parameters)) in NETWORKS.iter().enumerate() {
        let not_converged: usize = of(network).map(|run| run.not_converged).sum();
        let batches = options.seeds * u64::from(options.steps);
        let residual = of(network).map(|run| run.residual).fold(0.0, f32::max);
        println!("{name}, parameters: {parameters}");
        println!("{name}, batches not converged: {not_converged} of {batches}");
        println!(
            "{name}, sweeps of a batch at the end of training: {:.1}",
            Spread::of(of(network).map(|run| run.sweeps))
        );
        println!("{name}, largest residual after {} sweeps: {residual:.1e}", SWEEPS[last]);
    }
    for (network, (name, _)) in NETWORKS.iter().enumerate() {
        println!("{name}, solved after 1 sweep: {} %", solved(network, 0));
        println!("{name}, solved: {} %", solved(network, last));
    }
    drawn
}

/// Trains a network and tests it.
fn one<A: Takes<64, Scalar = f32>>(
    network: Boxed<Network<A>>,
    seed: u64,
    options: Options,
    training: &Maker,
    test: &[Puzzle],
    bar: &ProgressBar,
) -> Result<Run, String>
where
    Missing: attractor::learn::Loss<A::Output<BATCH>, Inputs<64>, Scalar = f32>,
{
    let recipe = Recipe { rate: RATE, decay: DECAY, steps: options.steps, start: 1.0, sweeps: 40 };
    let make = |random: &mut SmallRng| {
        let givens = random.random_range(GIVENS[0]..=GIVENS[1]);
        training.puzzle(givens, random).problem()
    };
    let trained = learn(network, seed, recipe, First::Learnt, bar, make)
        .map_err(|error| format!("training, seed {seed}: {error}"))?;
    let problems: Vec<Problem> = test.iter().map(Puzzle::problem).collect();
    let Completed { outputs, residual, .. } = complete(&trained.network, &problems, &SWEEPS)
        .map_err(|error| format!("test, seed {seed}: {error}"))?;
    let given = |puzzle: &Puzzle| puzzle.given.iter().filter(|&&given| given).count();
    let (mut solved, mut cells) = (Vec::new(), Vec::new());
    for outputs in &outputs {
        let mut by_givens = [0.0; GIVENS[1] - GIVENS[0] + 1];
        let (mut right, mut asked) = (0, 0);
        for (output, puzzle) in outputs.iter().zip(test) {
            let answer = puzzle.answer(output);
            let wrong = (0..CELLS).filter(|&cell| answer[cell] != puzzle.solution[cell]).count();
            let givens = given(puzzle);
            if wrong == 0 {
                by_givens[givens - GIVENS[0]] += 100.0 / TESTED as f64;
            }
            asked += CELLS - givens;
            right += CELLS - givens - wrong;
        }
        solved.push(by_givens);
        cells.push(100.0 * right as f64 / asked as f64);
    }
    let (not_converged, sweeps) = (trained.not_converged, trained.sweeps);
    Ok(Run { solved, cells, not_converged, sweeps, residual })
}
