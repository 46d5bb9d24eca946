//! Certainty on handwritten digits: networks held to a rate while they train, labels that are proved, and how many sweeps
//! the proof takes.
//!
//! `cargo run --release --example certificate` takes about a minute; `-- --help` lists the options.

#[macro_use]
#[path = "../shared/output.rs"]
#[allow(dead_code, unused_macros, reason = "not all of it is needed here")]
mod output;

#[path = "../shared/arguments.rs"]
mod arguments;
#[path = "../shared/classes.rs"]
#[allow(dead_code, reason = "others look at more")]
mod classes;
#[path = "../shared/command_line.rs"]
mod command_line;
#[path = "../shared/cores.rs"]
mod cores;
#[path = "../digits/data.rs"]
#[allow(dead_code, reason = "the example digits draws them")]
mod data;
#[path = "../shared/epochs.rs"]
mod epochs;
#[path = "../shared/legend.rs"]
mod legend;
mod options;
mod plot;
#[path = "../digits/training.rs"]
#[allow(dead_code, reason = "the example digits looks at more")]
mod training;

use attractor::certificate::Label;
use attractor::simd::Backend;
use attractor::{Boxed, Certificate, Certified, Stop, fnn};
use classes::start;
use cores::on_all_cores;
use data::Digit;
use epochs::Options;
use indicatif::{ProgressBar, ProgressStyle};
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;
use training::{Task, train};

type Net = fnn![64, 48, 32, 10];
/// The same in double precision, for labels that rounding errors of `f32` leave open.
type Double = fnn![64, 48, 32, 10; scalar = f64];

/// The rates networks are held to; the first is the one the last lines are about.
const RATES: [f32; 3] = [0.2, 0.5, 0.9];
/// What a network without a certificate makes for every digit.
const FIXED: usize = 16;
/// Times all digits are timed.
const ROUNDS: usize = 5;

/// What came of the test digits of one network.
struct Outcome {
    rate: f32,
    gamma: f32,
    /// Labels that were proved.
    certified: usize,
    /// Those of them that took double precision.
    double: usize,
    /// Proved labels that are not those of the network converged in double precision.
    disagreements: usize,
    /// Sweeps of every digit until its label was proved.
    sweeps: Vec<usize>,
    /// The most sweeps any input between 0 and 1 can take.
    worst_case: usize,
    /// Largest certified bound on a unit's error after the worst case of sweeps.
    bound: f32,
    right: usize,
    /// Of one digit, in seconds: until its label is proved, and for a fixed number of sweeps.
    seconds: [f64; 2],
}

fn main() -> ExitCode {
    command_line::run("certificate", options::HELP, options::parse, run)
}

fn run(options: Options) -> Result<(), String> {
    let directory = output::target("certificate")?;
    let (training, test) = (data::training()?, data::test()?);
    println!("network: fnn![64, 48, 32, 10]");
    println!("backend: {}", Backend::best().name());
    let mut networks = train_all(options, &training, &test)?;

    let mut outcomes = Vec::new();
    let mut free = 0;
    for (rate, runs) in &mut networks {
        for (network, right) in runs {
            match rate {
                Some(rate) => outcomes.push(examine(*rate, network, &test)?),
                None => free += *right,
            }
        }
    }
    println!();
    for outcome in &outcomes {
        println!("{}", line(outcome, test.len()));
    }
    let path = directory.join("certified.svg");
    let drawn =
        output::drawn(&path, |part| plot::certified(part, &outcomes, options.seeds as usize, test.len()));
    if drawn.is_ok() {
        println!("plot: {}", path.display());
    }

    let first: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.rate == RATES[0]).collect();
    let count = first.len() * test.len();
    let all = || first.iter().flat_map(|outcome| &outcome.sweeps);
    let percent = |right: usize| 100.0 * right as f64 / count as f64;
    let right = first.iter().map(|outcome| outcome.right).sum();
    let seconds =
        |which: usize| first.iter().map(|outcome| outcome.seconds[which]).sum::<f64>() / first.len() as f64;
    println!("rate: {}", RATES[0]);
    println!("accuracy not held to a rate: {:.2} %", percent(free));
    println!("accuracy: {:.2} %", percent(right));
    println!("time of a digit, {FIXED} sweeps: {:.2} us", 1e6 * seconds(1));
    println!("time of a digit, certified label: {:.2} us", 1e6 * seconds(0));
    println!("times faster: {:.2}", seconds(1) / seconds(0));
    println!("certified labels: {} of {count}", first.iter().map(|outcome| outcome.certified).sum::<usize>());
    println!("of these in double precision: {}", first.iter().map(|outcome| outcome.double).sum::<usize>());
    println!("disagreements: {}", first.iter().map(|outcome| outcome.disagreements).sum::<usize>());
    println!("mean sweeps: {:.2}", all().sum::<usize>() as f64 / count as f64);
    println!("maximum sweeps: {}", all().max().unwrap_or(&0));
    println!("worst case sweeps: {}", first.iter().map(|outcome| outcome.worst_case).max().unwrap_or(0));
    drawn
}

/// Trained networks and how many test digits each has right, for every rate and, last, for none.
type Trained = Vec<(Option<f32>, Vec<(Boxed<Net>, usize)>)>;

fn train_all(options: Options, training: &[Digit], test: &[Digit]) -> Result<Trained, String> {
    let rates: Vec<Option<f32>> = RATES.into_iter().map(Some).chain([None]).collect();
    let bar = ProgressBar::new(rates.len() as u64 * options.seeds * u64::from(options.epochs));
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40.blue} {pos}/{len} epochs of all networks  {elapsed}")
    {
        bar.set_style(style);
    }
    let one = |seed: u64, rate: Option<f32>| {
        let task = Task { seed, epochs: options.epochs, training, test, watched: false, hold: rate };
        let run = train(start(Net::boxed(), task.seed), task, |_| bar.inc(1))
            .map_err(|error| format!("training: {error}"))?;
        let mut network = Net::boxed();
        network.params_mut().copy_from_slice(&run.params);
        Ok::<_, String>((network, run.right))
    };
    // One network after the other of every rate, so that both cores have as much to do.
    let results = on_all_cores(rates.len() * options.seeds as usize, |index| {
        let rate = index % rates.len();
        one(options.seed + (index / rates.len()) as u64, rates[rate]).map(|run| (rate, run))
    });
    let mut trained: Trained = rates.iter().map(|rate| (*rate, Vec::new())).collect();
    for result in results {
        let (rate, run) = result?;
        trained[rate].1.push(run);
    }
    bar.finish();
    Ok(trained)
}

/// Proves the labels of all test digits, and compares them with the converged network's.
fn examine(rate: f32, network: &mut Boxed<Net>, test: &[Digit]) -> Result<Outcome, String> {
    let error = |error: &dyn core::fmt::Display| format!("rate {rate}: {error}");
    // The certificate's bounds are for all units alike, which asks for another vector than the one it was held by, and that gives a rate that is
    // a little larger: here it is at most this one too.
    let certificate: Certificate<Net> = network.limit_rate(rate).map_err(|e| error(&e))?;
    let certified = certificate.verify(network).map_err(|e| error(&e))?;
    let mut outcome = Outcome {
        rate,
        gamma: certificate.rate(),
        certified: 0,
        double: 0,
        disagreements: 0,
        sweeps: Vec::new(),
        // An error of 0 cannot be had: the bound is then what rounding allows.
        worst_case: certificate.sweeps(0.0, 1.0).unwrap_or(0),
        bound: 0.0,
        right: 0,
        seconds: [0.0; 2],
    };
    // The very same weights, for what f32 leaves open and to compare with.
    let mut double = Double::boxed();
    double.params_mut().iter_mut().zip(network.params()).for_each(|(to, from)| *to = f64::from(*from));
    let double_certificate = double.certify().map_err(|e| error(&e))?;
    let double = double_certificate.verify(&double).map_err(|e| error(&e))?;
    for digit in test {
        let mut state = Net::state();
        let mut label = certified.label(&digit.pixels, &mut state).map_err(|e| error(&e))?;
        let pixels = digit.pixels.map(f64::from);
        if !label.certified {
            let again = double.label(&pixels, &mut Double::state()).map_err(|e| error(&e))?;
            // Sweeps are counted in f32.
            label = Label { sweeps: label.sweeps, ..again };
            outcome.double += usize::from(label.certified);
        }
        let answer = certified.solve(&digit.pixels, &mut Net::state(), 0.0).map_err(|e| error(&e))?;
        let mut exact = Double::state();
        double.solve(&pixels, &mut exact, 0.0).map_err(|e| error(&e))?;
        let converged = class(exact.output().as_slice());
        outcome.certified += usize::from(label.certified);
        outcome.disagreements += usize::from(label.certified && label.class != converged);
        outcome.sweeps.push(label.sweeps);
        outcome.bound = outcome.bound.max(answer.bound.largest());
        outcome.right += usize::from(label.class == digit.label);
    }
    outcome.seconds = time(certified, test);
    Ok(outcome)
}

/// The class with the largest output.
fn class<T: PartialOrd>(output: &[T]) -> usize {
    (1..output.len()).fold(0, |top, class| if output[class] > output[top] { class } else { top })
}

/// Seconds a digit, medians over rounds taken in turn: proved labels, and a fixed number of sweeps.
fn time(certified: Certified<'_, Net>, test: &[Digit]) -> [f64; 2] {
    let mut seconds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for digit in test {
            let mut state = Net::state();
            black_box(certified.label(black_box(&digit.pixels), &mut state).is_ok());
        }
        let between = Instant::now();
        for digit in test {
            let mut state = Net::state();
            let solved = certified.network().solve(black_box(&digit.pixels), &mut state, Stop::after(FIXED));
            black_box((solved.is_ok(), class(state.output().as_slice())));
        }
        seconds[0].push((between - start).as_secs_f64());
        seconds[1].push(between.elapsed().as_secs_f64());
    }
    seconds.map(|mut rounds| {
        rounds.sort_by(f64::total_cmp);
        rounds[ROUNDS / 2] / test.len() as f64
    })
}

fn line(outcome: &Outcome, digits: usize) -> String {
    format!(
        "held to rate {}: proved {:.3}, {} of {digits} labels certified, {} disagree, sweeps {:.2} on average and {} at most, \
         worst case {}, no unit further than {:.1e} then, {:.2} % right, {:.2} us a digit, {:.2} us with {FIXED} sweeps",
        outcome.rate,
        outcome.gamma,
        outcome.certified,
        outcome.disagreements,
        outcome.sweeps.iter().sum::<usize>() as f64 / digits as f64,
        outcome.sweeps.iter().max().unwrap_or(&0),
        outcome.worst_case,
        outcome.bound,
        100.0 * outcome.right as f64 / digits as f64,
        1e6 * outcome.seconds[0],
        1e6 * outcome.seconds[1],
    )
}
