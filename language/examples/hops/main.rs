//! Hops (Sanford et al. 2024): from the last letter of a text to where it stood before, on to the letter behind it, and so on. Each sweep of a network with
//! feedback can double the number of hops; plain ones have as many as they have blocks for.
//!
//! `cargo run --release -p attractor-language --example hops` takes a while; `-- --help` lists the options.
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

/// Letters of a text, and of which it is made.
const LENGTH: usize = 100;
const LETTERS: usize = 4;
/// The answer where there is no such place.
const NOWHERE: u32 = LETTERS as u32;
/// Hops after each sweep. A text begins with a token that says how many are asked, for plain networks.
const HOPS: [usize; 4] = [1, 2, 4, 8];
/// Texts that are asked.
const ASKED: usize = 200;

const SHAPE: Config = Config { vocabulary: LETTERS + 1 + HOPS.len(), ..Config::new(64, 4, 2, LENGTH + 1) };

const NETWORKS: [Network; 4] = [
    Network::feedback(SHAPE, HOPS.len()),
    Network::plain("equal parameters", (48, 4), 2, SHAPE),
    Network::plain("equal arithmetic", (64, 4), 8, SHAPE),
    Network::plain("equal arithmetic, wide", (128, 4), 2, SHAPE),
];

const BATCH: usize = 32;
const RATE: f32 = 4e-3;
const DECAY: f32 = 0.1;
const DEFAULT: Options = Options { seed: 1, seeds: 3, steps: 1500 };
const WHAT: &str = "\
Trains networks with feedback and plain ones to hop back through a text, 1 to 8 times.";

fn main() -> ExitCode {
    let help = DEFAULT.help("hops", WHAT);
    command_line::run("hops", &help, |arguments| DEFAULT.parse(arguments), run)
}

/// Letters, no two the same in a row, and for each place the place a hop leads to: the last one before it that comes behind the same letter.
fn text(random: &mut Random) -> (Vec<u32>, Vec<Option<usize>>) {
    let (mut letters, mut hops) = (Vec::with_capacity(LENGTH), Vec::with_capacity(LENGTH));
    let (mut behind, mut letter) = ([None; LETTERS], random.below(LETTERS));
    for place in 0..LENGTH {
        if place > 0 {
            behind[letter] = Some(place);
            letter = (letter + 1 + random.below(LETTERS - 1)) % LETTERS;
        }
        letters.push(letter as u32);
        hops.push(behind[letter]);
    }
    (letters, hops)
}

/// The letter at the end of so many hops from each place.
fn ends(letters: &[u32], hops: &[Option<usize>], count: usize) -> impl Iterator<Item = u32> {
    let from = move |place: usize| (0..count).try_fold(place, |place, _| hops[place]);
    (0..letters.len()).map(move |place| from(place).map_or(NOWHERE, |place| letters[place]))
}

/// The token that says which of the numbers of hops is asked.
const fn asks(number: usize) -> u32 {
    NOWHERE + 1 + number as u32
}

fn draw(network: &Network, random: &mut Random, to: &mut Drawn) -> usize {
    to.clear(LENGTH + 1);
    for _ in 0..BATCH {
        let (letters, hops) = text(random);
        // Of a plain network one number of hops, of the others one after the other.
        let last = if network.sweeps > 1 { HOPS.len() - 1 } else { random.below(HOPS.len()) };
        to.tokens.push(asks(last));
        for count in &HOPS[last + 1 - network.sweeps..=last] {
            to.targets.push(IGNORED);
            to.targets.extend(ends(&letters, &hops, *count));
        }
        to.tokens.extend(letters);
    }
    network.sweeps
}

/// Letters that are right after each number of hops, in per cent of the places from which there are as many.
fn one(network: &Network, seed: u64, options: Options, bar: &ProgressBar) -> Result<Vec<f64>, String> {
    let recipe = Recipe { rate: RATE, decay: DECAY, steps: options.steps, batch: BATCH, length: LENGTH + 1 };
    let parameters = learn(network, recipe, seed, bar, |random, drawn| draw(network, random, drawn))?;
    let mut answers = Answers::new(network, &parameters, LENGTH + 1)?;
    // The same texts for all.
    let mut random = Random::new(u64::MAX);
    let (mut right, mut all) = ([0; HOPS.len()], [0; HOPS.len()]);
    for _ in 0..ASKED {
        let (letters, hops) = text(&mut random);
        for (number, (right, all)) in right.iter_mut().zip(&mut all).enumerate() {
            let (asked, sweeps) = if network.sweeps > 1 { (HOPS.len() - 1, number + 1) } else { (number, 1) };
            let tokens: Vec<u32> = core::iter::once(asks(asked)).chain(letters.iter().copied()).collect();
            let found = answers.of(&tokens, sweeps)?;
            let ends = found[1..].iter().zip(ends(&letters, &hops, HOPS[number]));
            for (found, end) in ends.filter(|(_, end)| *end != NOWHERE) {
                *right += u32::from(*found == end);
                *all += 1;
            }
        }
    }
    Ok(right.iter().zip(all).map(|(right, all)| 100.0 * f64::from(*right) / f64::from(all)).collect())
}

fn run(options: Options) -> Result<(), String> {
    let folder = output::target("hops")?;
    let experiment = Experiment {
        folder,
        title: "Hops back through a text",
        subtitle: &format!("{LENGTH} letters of {LETTERS}; places from which there are so many hops"),
        networks: &NETWORKS,
        trainings: 1,
        answer: (LENGTH + 1, HOPS.len()),
        results: HOPS.iter().map(|hops| format!("right at p = {hops}")).collect(),
        places: HOPS.iter().map(ToString::to_string).collect(),
        axis: "hops",
    };
    experiment.run(options, |network, seed, bar| one(network, seed, options, bar))
}
