//! Handwritten digits of other kinds than those a network was trained on: what do adapters gain with a few examples, in how little RAM?
//!
//! `cargo run --release --example adapt` takes some minutes; `-- --help` lists the options.

#[macro_use]
#[path = "../shared/output.rs"]
#[allow(dead_code, unused_macros, reason = "not all of it is needed here")]
mod output;

mod adapting;
#[path = "../shared/arguments.rs"]
mod arguments;
#[path = "../shared/command_line.rs"]
mod command_line;
#[path = "../shared/cores.rs"]
mod cores;
#[allow(dead_code, reason = "that example draws curves")]
#[path = "../shared/curves.rs"]
mod curves;
#[allow(dead_code, reason = "that example makes batches in another way")]
#[path = "../digits/data.rs"]
mod data;
mod domains;
#[path = "../shared/experiment.rs"]
mod experiment;
#[allow(dead_code, reason = "other examples say more of a training")]
#[path = "../shared/learning.rs"]
mod learning;
#[path = "../shared/legend.rs"]
mod legend;
mod options;
mod plot;
#[path = "../shared/spread.rs"]
mod spread;
#[path = "../shared/title.rs"]
mod title;

use adapting::{
    ADAPTER, Adaption, BASE_STEPS, BIASES, FEW, FULL, GAMMA, LAST, METHODS, Net, RATES, SCRATCH, Task,
};
use attractor::Boxed;
use attractor::learn::LearnError;
use data::{CLASSES, Digit};
use domains::{DOMAINS, Domain};
use experiment::side_by_side;
use options::Options;
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};
use spread::{Spread, seeds};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

/// Labelled examples a class.
const SHOTS: [usize; 3] = [1, 5, 20];
/// Training digits that are held out to choose by, the last ones.
const HELD_OUT: usize = 1000;

fn main() -> ExitCode {
    command_line::run("adapt", options::HELP, options::parse, run)
}

fn run(options: Options) -> Result<(), String> {
    let directory = output::target("adapt")?;
    let mut training = data::training()?;
    let test = if options.choose { training.split_off(training.len() - HELD_OUT) } else { data::test()? };
    println!("digits: {} to train, {} to test", training.len(), test.len());
    let failed = |error: LearnError| format!("training: {error}");
    let steps = options.seeds * u64::from(BASE_STEPS);
    let bases = side_by_side(options.seeds as usize, steps, |index, bar| {
        adapting::base(options.seed + index as u64, &training, bar)
    })
    .map_err(failed)?;
    if options.choose {
        choose(options, &training, &test, &bases).map_err(failed)
    } else {
        compare(options, &training, &test, &bases, &directory).map_err(failed)?
    }
}

/// A seed, a domain, and a number of examples a class.
struct Setting<'a> {
    seed: u64,
    domain: Domain,
    shots: usize,
    base: &'a Net,
}

impl<'a> Setting<'a> {
    /// The setting at `index` of `SHOTS.len() * DOMAINS.len()` a seed.
    fn at(index: usize, options: Options, bases: &'a [Boxed<Net>]) -> Self {
        let (rest, shots) = (index / SHOTS.len(), SHOTS[index % SHOTS.len()]);
        let (seed, domain) = (rest / DOMAINS.len(), DOMAINS[rest % DOMAINS.len()]);
        Self { seed: options.seed + seed as u64, domain, shots, base: &bases[seed] }
    }

    /// So many examples of every class, any of the training digits.
    fn examples(&self, training: &[Digit]) -> Vec<Digit> {
        let random = &mut SmallRng::seed_from_u64(self.seed << 8);
        let mut order: Vec<&Digit> = training.iter().collect();
        order.shuffle(random);
        let of_class = |class| order.iter().filter(move |digit| digit.label == class).take(self.shots);
        let digits: Vec<&Digit> = (0..CLASSES).flat_map(of_class).copied().collect();
        digits.into_iter().map(|digit| self.domain.apply(digit, random)).collect()
    }
}

/// The digits to test with, of a domain.
fn tested(domain: Domain, test: &[Digit]) -> Vec<Digit> {
    let random = &mut SmallRng::seed_from_u64(0);
    test.iter().map(|digit| domain.apply(digit, random)).collect()
}

/// Tries all rates with 20 examples a class.
fn choose(
    options: Options,
    training: &[Digit],
    held_out: &[Digit],
    bases: &[Boxed<Net>],
) -> Result<(), LearnError> {
    let each = METHODS.len() * RATES.len();
    let count = DOMAINS.len() * bases.len();
    let runs = side_by_side(count, (count * each) as u64, |index, bar| {
        let setting = Setting::at(index * SHOTS.len() + SHOTS.len() - 1, options, bases);
        let (examples, new) = (setting.examples(training), tested(setting.domain, held_out));
        let pairs = METHODS.iter().flat_map(|method| RATES.map(|rate| (method, rate)));
        let run = |(method, rate): (&adapting::Approach, f32)| {
            let task = Task {
                seed: setting.seed,
                steps: options.steps,
                rate,
                examples: &examples,
                new: &new,
                old: &[],
            };
            bar.inc(1);
            // A rate that is too large is not good.
            Ok(method.run(setting.base, task).map_or(0.0, |adaption| adaption.new))
        };
        pairs.map(run).collect::<Result<Vec<f64>, LearnError>>()
    })?;
    println!(
        "% of {} held-out digits recognised, mean of {} and all domains\n",
        held_out.len(),
        seeds(options.seeds)
    );
    println!("{:<12}{}", "", RATES.map(|rate| format!("{rate:>9}")).concat());
    for (index, method) in METHODS.iter().enumerate() {
        let of = |rate: usize| Spread::of(runs.iter().map(|run| run[index * RATES.len() + rate])).mean;
        let best = (1..RATES.len()).fold(0, |best, rate| if of(rate) > of(best) { rate } else { best });
        let row: String = (0..RATES.len()).map(|rate| format!("{:>9.1}", of(rate))).collect();
        println!("{:<12}{row}   best: {}", method.name, RATES[best]);
    }
    Ok(())
}

/// What came of one setting: the network as it is, on the new domain and on the old one, and every method.
struct Compared {
    before: [f64; 2],
    after: Vec<Adaption>,
}

/// Inside, whether the plot could be written.
fn compare(
    options: Options,
    training: &[Digit],
    test: &[Digit],
    bases: &[Boxed<Net>],
    directory: &Path,
) -> Result<Result<(), String>, LearnError> {
    let started = Instant::now();
    let count = SHOTS.len() * DOMAINS.len() * bases.len();
    let runs = side_by_side(count, (count * METHODS.len()) as u64, |index, bar| {
        let setting = Setting::at(index, options, bases);
        let (examples, new) = (setting.examples(training), tested(setting.domain, test));
        let before = [adapting::unadapted(setting.base, &new)?, adapting::unadapted(setting.base, test)?];
        let after = METHODS.iter().map(|method| {
            let (seed, steps, rate) = (setting.seed, options.steps, method.rate);
            let adaption = method
                .run(setting.base, Task { seed, steps, rate, examples: &examples, new: &new, old: test });
            bar.inc(1);
            adaption
        });
        Ok::<_, LearnError>(Compared { before, after: after.collect::<Result<_, _>>()? })
    })?;
    // The runs of so many examples, of all seeds; of one domain or of all.
    let of = |shots: usize, domain: Option<usize>| {
        runs.iter().enumerate().filter_map(move |(index, run)| {
            let own = index % SHOTS.len() == shots
                && domain.is_none_or(|domain| index / SHOTS.len() % DOMAINS.len() == domain);
            own.then_some(run)
        })
    };
    let gain = |shots, domain, method: usize| {
        Spread::of(of(shots, domain).map(move |run| run.after[method].new - run.before[0]))
    };
    // The mean over the domains, of every seed.
    let of_seeds = |shots: usize, value: &dyn Fn(&Compared) -> f64| {
        let each = SHOTS.len() * DOMAINS.len();
        Spread::of(runs.chunks(each).map(|seed| {
            let own = seed.iter().skip(shots).step_by(SHOTS.len());
            own.map(value).sum::<f64>() / DOMAINS.len() as f64
        }))
    };
    let old = of_seeds(0, &|run| run.before[1]);
    println!("recognised before: {old} % of the digits the networks were trained on");
    for (index, domain) in DOMAINS.iter().enumerate() {
        println!("  {domain:<9} {} %", Spread::of(of(0, Some(index)).map(|run| run.before[0])));
    }
    for (shots, examples) in SHOTS.iter().enumerate() {
        println!("\n{examples} a class: gain in points, mean (least to most) of {}", seeds(options.seeds));
        println!(
            "{:<11}{:>8}  {}{:<24}{:<24}rate",
            "",
            "KiB",
            DOMAINS.map(|domain| format!("{domain:<24}")).concat(),
            "all",
            "forgotten"
        );
        for (index, method) in METHODS.iter().enumerate() {
            let gains = |domain| gain(shots, Some(domain), index).to_string();
            let row: String = (0..DOMAINS.len()).map(|domain| format!("{:<24}", gains(domain))).collect();
            let all = of_seeds(shots, &|run| run.after[index].new - run.before[0]).to_string();
            let forgotten = of_seeds(shots, &|run| run.before[1] - run.after[index].old);
            let forgotten = if method.scratch { "-".to_owned() } else { forgotten.to_string() };
            let rate = of(shots, None).map(|run| run.after[index].gamma).fold(0.0, f32::max);
            let kilobytes = method.memory.adam(FEW) as f64 / 1024.0;
            println!("{:<11}{kilobytes:>8.1}  {row}{all:<24}{forgotten:<24}{rate:.2}", method.name);
        }
    }
    let left_out: u32 = runs.iter().flat_map(|run| &run.after).map(|adaption| adaption.not_converged).sum();
    let worst = runs.iter().flat_map(|run| &run.after).map(|adaption| adaption.gamma).fold(0.0, f32::max);
    println!("\nbatches left out, for they did not converge: {left_out}");
    println!(
        "every adapted network is certified: a sweep leaves at most {worst:.2} of an error ({GAMMA} allowed)"
    );

    let places: Vec<plot::Place> = METHODS
        .iter()
        .enumerate()
        .filter(|(_, method)| !method.scratch)
        .map(|(index, method)| plot::Place {
            name: method.name,
            bytes: method.memory.adam(FEW),
            gains: (0..SHOTS.len())
                .map(|shots| of_seeds(shots, &|run| run.after[index].new - run.before[0]))
                .collect(),
        })
        .collect();
    let subtitle =
        format!("Digits of {} other kinds; mean, worst and best of {}", DOMAINS.len(), seeds(options.seeds));
    let drawn = plot::draw(&directory.join("gain.svg"), &subtitle, &SHOTS, &places);
    if drawn.is_ok() {
        println!("plot: target/adapt/gain.svg, after {:.0?}", started.elapsed());
    }

    println!("\n{} examples a class, all domains:", SHOTS[SHOTS.len() - 1]);
    for (name, method) in [
        ("full", FULL),
        ("adapter", ADAPTER),
        ("bias-only", BIASES),
        ("last-layer", LAST),
        ("scratch", SCRATCH),
    ] {
        let gain = of_seeds(SHOTS.len() - 1, &|run| run.after[method].new - run.before[0]);
        println!("gain {name}: {:.1} points", gain.mean);
    }
    let bytes = |method: usize| METHODS[method].memory.adam(FEW) as f64;
    println!("ram adapter/full: {:.2}", bytes(ADAPTER) / bytes(FULL));
    Ok(drawn)
}
