//! Sudokus of 4x4 and 6x6 cells: a network with feedback refines its answers sweep by sweep, and knows by the residual which of them to doubt.
//!
//! `cargo run --release -p attractor-language --example sudokus` takes a while; `-- --help` lists the options.

#[macro_use]
#[path = "../../../examples/shared/output.rs"]
#[allow(dead_code, unused_macros, reason = "not all of it is needed here")]
mod output;

#[path = "../../../examples/shared/arguments.rs"]
mod arguments;
#[path = "../../../examples/shared/command_line.rs"]
mod command_line;
#[path = "../../../examples/shared/cores.rs"]
mod cores;
#[path = "../../../examples/shared/curves.rs"]
mod curves;
#[path = "../../../examples/shared/experiment.rs"]
mod experiment;
#[path = "../../../examples/shared/legend.rs"]
mod legend;
#[path = "../../../examples/shared/options.rs"]
mod options;
mod puzzle;
#[path = "../../../examples/shared/spread.rs"]
mod spread;
#[path = "../shared/tasks.rs"]
mod tasks;
#[path = "../../../examples/shared/title.rs"]
mod title;

use attractor_language::Config;
use attractor_language::pass::IGNORED;
use attractor_language::random::Random;
use indicatif::ProgressBar;
use options::Options;
use puzzle::{Boxes, Puzzle};
use std::collections::BTreeSet;
use std::process::ExitCode;
use tasks::{Answers, Drawn, Experiment, Network, Recipe, learn};

const SMALL: Boxes = Boxes { rows: 2, columns: 2 };
const LARGE: Boxes = Boxes { rows: 2, columns: 3 };
/// Cells given: at least, at most.
const GIVENS: [[usize; 2]; 2] = [[4, 8], [10, 18]];
/// Puzzles that are learnt from, before their digits are renamed, and that are asked.
const LEARNT: [usize; 2] = [2_000, 10_000];
const ASKED: [usize; 2] = [1_000, 500];
/// Of the puzzles of 6x6 the surest of so many per cent.
const SUREST: [usize; 4] = [25, 50, 75, 100];

/// Sees both ways. Tokens are digits, and 0 for an empty cell.
const SHAPE: Config =
    Config { vocabulary: LARGE.side() + 1, causal: false, ..Config::new(64, 4, 2, LARGE.cells()) };
const SWEEPS: usize = 8;

const NETWORKS: [Network; 4] = [
    Network::feedback(SHAPE, SWEEPS),
    Network::plain("equal parameters", (48, 4), 2, SHAPE),
    Network::plain("equal arithmetic", (64, 4), 2 * SWEEPS, SHAPE),
    Network::plain("equal arithmetic, wide", (184, 4), 2, SHAPE),
];

const BATCH: usize = 64;
const RATE: f32 = 4e-3;
const DECAY: f32 = 0.1;
const DEFAULT: Options = Options { seed: 1, seeds: 3, steps: 2000 };
const WHAT: &str = "\
Trains networks with feedback and plain ones to solve sudokus of 4x4 and of 6x6 cells.";

fn main() -> ExitCode {
    let help = DEFAULT.help("sudokus", WHAT);
    command_line::run("sudokus", &help, |arguments| DEFAULT.parse(arguments), run)
}

/// Puzzles to learn from, and others to ask: no solution of these is one of those, whatever its digits are called.
#[derive(Debug)]
struct Puzzles {
    learnt: Vec<Puzzle>,
    asked: Vec<Puzzle>,
}

impl Puzzles {
    fn new(boxes: Boxes, [least, most]: [usize; 2], learnt: usize, asked: usize) -> Self {
        let mut random = Random::new(u64::MAX);
        let mut puzzles = Self { learnt: Vec::new(), asked: Vec::new() };
        // Solutions of 4x4 are few: a quarter of them is asked.
        let mut known = [BTreeSet::new(), BTreeSet::new()];
        while puzzles.learnt.len() < learnt || puzzles.asked.len() < asked {
            let solution = boxes.filled(&mut random);
            let named = first_named(&solution);
            let [of_learnt, of_asked] = &mut known;
            let is_asked = if of_asked.contains(&named) {
                true
            } else {
                !of_learnt.contains(&named) && random.below(4) == 0
            };
            let (known, to, most_of) = match is_asked {
                true => (of_asked, &mut puzzles.asked, asked),
                false => (of_learnt, &mut puzzles.learnt, learnt),
            };
            known.insert(named);
            if to.len() < most_of {
                let givens = least + random.below(most - least + 1);
                to.push(boxes.puzzle(&solution, givens, &mut random));
            }
        }
        puzzles
    }
}

/// The grid with its digits called in the order they come in.
fn first_named(solution: &[u32]) -> Vec<u32> {
    let mut names = vec![];
    let mut name = |digit: &u32| {
        names.iter().position(|known| known == digit).unwrap_or_else(|| {
            names.push(*digit);
            names.len() - 1
        }) as u32
    };
    solution.iter().map(&mut name).collect()
}

fn draw(network: &Network, puzzles: &[Puzzle], random: &mut Random, to: &mut Drawn) -> usize {
    to.clear(puzzles.first().map_or(0, |puzzle| puzzle.cells.len()));
    for _ in 0..BATCH {
        let Puzzle { cells, solution } = puzzles[random.below(puzzles.len())].renamed(random);
        for _ in 0..network.sweeps {
            let cells = cells.iter().zip(&solution);
            to.targets.extend(cells.map(|(cell, right)| if *cell == 0 { *right } else { IGNORED }));
        }
        to.tokens.extend(cells);
    }
    network.sweeps
}

/// Puzzles that are solved, in per cent: of 4x4, and of the surest of 6x6.
fn one(
    network: &Network,
    seed: u64,
    [small, large]: [&Puzzles; 2],
    options: Options,
    bar: &ProgressBar,
) -> Result<Vec<f64>, String> {
    let mut results = solved(network, seed, small, &[100], options, bar)?;
    results.extend(solved(network, seed, large, &SUREST, options, bar)?);
    Ok(results)
}

fn solved(
    network: &Network,
    seed: u64,
    puzzles: &Puzzles,
    surest: &[usize],
    options: Options,
    bar: &ProgressBar,
) -> Result<Vec<f64>, String> {
    let recipe =
        Recipe { rate: RATE, decay: DECAY, steps: options.steps, batch: BATCH, length: LARGE.cells() };
    let parameters =
        learn(network, recipe, seed, bar, |random, drawn| draw(network, &puzzles.learnt, random, drawn))?;
    let mut answers = Answers::new(network, &parameters, LARGE.cells())?;
    let mut found = Vec::new();
    for puzzle in &puzzles.asked {
        let empty = |cell: usize| puzzle.cells[cell] == 0;
        // More sweeps than were learnt with.
        let (answer, doubt) = answers.with_doubt(&puzzle.cells, 4 * network.sweeps, empty)?;
        found.push((doubt, puzzle.is_solved_by(&answer)));
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    let of = |surest: &usize| {
        let count = found.len() * surest / 100;
        100.0 * found[..count].iter().filter(|(_, right)| *right).count() as f64 / count as f64
    };
    Ok(surest.iter().map(of).collect())
}

fn run(options: Options) -> Result<(), String> {
    let folder = output::target("sudokus")?;
    let puzzles = |boxes, size: usize| Puzzles::new(boxes, GIVENS[size], LEARNT[size], ASKED[size]);
    let (small, large) = (puzzles(SMALL, 0), puzzles(LARGE, 1));
    let surest = SUREST.map(|part| format!("solved 6x6, surest {part} %"));
    let experiment = Experiment {
        folder,
        title: "Sudokus of 4x4 and 6x6 cells",
        subtitle: "solutions not learnt from",
        networks: &NETWORKS,
        trainings: 2,
        answer: (LARGE.cells(), SWEEPS),
        results: core::iter::once("solved".to_owned()).chain(surest).collect(),
        places: core::iter::once("4x4".to_owned())
            .chain(SUREST.map(|part| format!("6x6, surest {part} %")))
            .collect(),
        axis: "",
    };
    experiment.run(options, |network, seed, bar| one(network, seed, [&small, &large], options, bar))
}
