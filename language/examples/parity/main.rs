//! Parity of bits: learnt from strings of at most 20, asked of up to 512. A network with feedback takes more sweeps for longer strings; plain ones cannot.
//!
//! `cargo run --release -p attractor-language --example parity` takes some minutes; `-- --help` lists the options.

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
use std::process::ExitCode;
use tasks::{Answers, Drawn, Experiment, Network, Recipe, learn};

/// The longest string that is learnt from.
const LEARNT: usize = 20;
/// Sweeps behind those that a string takes, in which its answers are to stay.
const MORE: usize = 4;
/// Lengths of the strings that are asked, and how many of each.
const ASKED: [(usize, usize); 4] = [(20, 200), (40, 200), (128, 200), (512, 100)];
const LONGEST: usize = ASKED[ASKED.len() - 1].0;

/// The token before the bits 0 and 1. Without it the first bit, which sees itself alone, could not be told from one behind another of the same state.
const START: u32 = 2;
/// No places; a token sees itself and the one before it.
const NEAR: Config = Config { vocabulary: 3, places: false, window: 2, ..Config::new(32, 2, 2, LONGEST + 1) };
/// All tokens before it.
const FAR: Config = Config { window: 0, ..NEAR };

const NETWORKS: [Network; 4] = [
    Network::feedback(NEAR, LEARNT + MORE),
    Network::plain("equal parameters", (24, 2), 2, FAR),
    Network::plain("equal arithmetic", (32, 2), 40, FAR),
    Network::plain("equal arithmetic, wide", (144, 4), 2, FAR),
];

const BATCH: usize = 64;
const RATE: f32 = 4e-3;
const DECAY: f32 = 0.1;
const DEFAULT: Options = Options { seed: 1, seeds: 3, steps: 600 };
const WHAT: &str = "\
Trains networks with feedback and plain ones to tell the parity of bits, and asks longer strings than they learnt from.";

fn main() -> ExitCode {
    let help = DEFAULT.help("parity", WHAT);
    command_line::run("parity", &help, |arguments| DEFAULT.parse(arguments), run)
}

/// Bits behind the start, and at each of them the parity of those up to there.
fn string(random: &mut Random, length: usize) -> (Vec<u32>, Vec<u32>) {
    let bits: Vec<u32> = (0..length).map(|_| random.below(2) as u32).collect();
    let parities = bits.iter().scan(0, |parity, bit| {
        *parity ^= bit;
        Some(*parity)
    });
    let parities = parities.collect();
    (core::iter::once(START).chain(bits).collect(), parities)
}

/// A batch; what is asked of a sweep is what can have come that far.
fn draw(network: &Network, random: &mut Random, to: &mut Drawn) -> usize {
    let length = 1 + random.below(LEARNT);
    let sweeps = if network.sweeps > 1 { length + random.below(MORE + 1) } else { 1 };
    to.clear(length + 1);
    for _ in 0..BATCH {
        let (bits, parities) = string(random, length);
        to.tokens.extend(bits);
        for sweep in 0..sweeps {
            let target = |(place, parity): (usize, &u32)| {
                if sweeps == 1 || place <= sweep { *parity } else { IGNORED }
            };
            to.targets.push(IGNORED);
            to.targets.extend(parities.iter().enumerate().map(target));
        }
    }
    sweeps
}

/// Strings of each length whose parity is right, in per cent.
fn one(network: &Network, seed: u64, options: Options, bar: &ProgressBar) -> Result<Vec<f64>, String> {
    let recipe = Recipe { rate: RATE, decay: DECAY, steps: options.steps, batch: BATCH, length: LEARNT + 1 };
    let parameters = learn(network, recipe, seed, bar, |random, drawn| draw(network, random, drawn))?;
    let mut answers = Answers::new(network, &parameters, LONGEST + 1)?;
    // The same strings for all.
    let mut random = Random::new(u64::MAX);
    let mut right = vec![0.0; ASKED.len()];
    for (right, (length, count)) in right.iter_mut().zip(ASKED) {
        for _ in 0..count {
            let (bits, parities) = string(&mut random, length);
            let found = answers.of(&bits, if network.sweeps > 1 { length } else { 1 })?;
            if found.last() == parities.last() {
                *right += 100.0 / count as f64;
            }
        }
    }
    Ok(right)
}

fn run(options: Options) -> Result<(), String> {
    let folder = output::target("parity")?;
    let experiment = Experiment {
        folder,
        title: "Parity of strings longer than those learnt from",
        subtitle: &format!("learnt from at most {LEARNT} bits"),
        networks: &NETWORKS,
        trainings: 1,
        answer: (LEARNT + 1, LEARNT),
        results: ASKED.iter().map(|(length, _)| format!("right at {length}")).collect(),
        places: ASKED.iter().map(|(length, _)| length.to_string()).collect(),
        axis: "bits",
    };
    experiment.run(options, |network, seed, bar| one(network, seed, options, bar))
}
