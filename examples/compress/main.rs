//! A network trained on handwritten digits in fewer bits, with fewer units, without feedback weights, and a small one taught by it: bytes,
//! accuracy, sweeps, certificate and time.
//!
//! `cargo run --release --example compress` takes some minutes; `-- --help` lists the options.

#[macro_use]
#[path = "../shared/output.rs"]
#[allow(dead_code, unused_macros, reason = "not all of it is needed here")]
mod output;

#[path = "../shared/arguments.rs"]
mod arguments;
#[allow(dead_code, reason = "that example trains in another way")]
#[path = "../shared/classes.rs"]
mod classes;
#[path = "../shared/command_line.rs"]
mod command_line;
#[path = "../shared/cores.rs"]
mod cores;
#[allow(dead_code, reason = "that example makes batches in another way")]
#[path = "../digits/data.rs"]
mod data;
#[path = "../shared/epochs.rs"]
mod epochs;
#[path = "../shared/experiment.rs"]
mod experiment;
mod options;
mod plot;
mod rounding;
#[allow(dead_code, reason = "not all ways to be small are tried here")]
#[path = "../shared/smaller.rs"]
mod smaller;
#[path = "../shared/spread.rs"]
mod spread;
#[path = "../shared/title.rs"]
mod title;

use attractor::compress::{Distill, Measure};
use attractor::learn::LearnError;
use attractor::network::Takes;
use attractor::quantized::{Bf16Network, Quantized};
use attractor::simd::IntState;
use attractor::{Align64, Boxed, Network, NonFinite, Stop, Tied, fnn};
use classes::start;
use data::{Digit, PIXELS};
use epochs::Options;
use experiment::side_by_side;
use rounding::{round, train_rounded};
use smaller::{Course, distill, prune, train};
use spread::{Spread, seeds};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

/// The network that is made smaller.
type Net = fnn![64, 48, 32, 10];
/// One with fewer units.
type Small = fnn![64, 24, 16, 10];
/// One that teaches.
type Teacher = fnn![64, 128, 64, 10];
/// One with feedback through 2 % of W^T.
type Mirrored = fnn![64, 48, 32, 10; feedback = Tied<2>];
/// A network of integers.
type Integers<H> = Box<Align64<Quantized<Net, H>>>;

const TOLERANCE: Stop = Stop::residual(1e-4).at_most(64);
/// Sweeps of integers, at most.
const LIMIT: usize = 64;
const RATE: f32 = 1e-2;

fn main() -> ExitCode {
    command_line::run("compress", options::HELP, options::parse, run)
}

/// What one seed's training made.
struct Trained {
    net: Boxed<Net>,
    half: Box<Align64<Bf16Network<Net>>>,
    fine: Integers<i16>,
    coarse: Integers<i8>,
    tuned: Integers<i8>,
    pruned: Boxed<Small>,
    tied: Boxed<Mirrored>,
    distilled: Boxed<Small>,
}

fn learn(seed: u64, epochs: u32, digits: &[Digit], done: impl Fn()) -> Result<Trained, LearnError> {
    let course = Course { seed, epochs, rate: RATE };
    let shorter = Course { epochs: epochs.div_ceil(2), ..course };
    let net = train(start(Net::boxed(), seed), digits, course)?;
    done();
    let mut half = Box::new(Align64(Bf16Network::ZERO));
    half.fill(&net)?;
    let tuned =
        train_rounded::<i8>(&net, digits, Course { epochs: epochs.div_ceil(12), rate: 1e-3, ..course })?;
    done();
    let pruned = train(prune(&net, digits, Measure::Weights)?, digits, shorter)?;
    done();
    let tied = train(start(Mirrored::boxed(), seed), digits, course)?;
    done();
    let teacher = train(start(Teacher::boxed(), seed), digits, course)?;
    let loss = Distill { temperature: 2.0, weight: 0.9 };
    let distilled = distill(start(Small::boxed(), seed), &teacher, loss, digits, course)?;
    done();
    Ok(Trained {
        half,
        fine: round(&net, digits)?,
        coarse: round(&net, digits)?,
        tuned,
        pruned,
        tied,
        distilled,
        net,
    })
}

/// What a network gives on the test digits.
#[derive(Clone, Copy)]
struct Given {
    /// In percent.
    accuracy: f64,
    sweeps: f64,
    /// Its certificate's rate; infinite without one.
    gamma: f64,
    microseconds: f64,
}

/// A way to be small.
struct Way {
    name: &'static str,
    /// Of the network in memory, and of its file.
    bytes: usize,
    file: usize,
    given: Vec<Given>,
}

fn given(
    digits: &[Digit],
    gamma: f64,
    mut solve: impl FnMut(&[f32; PIXELS]) -> Result<(usize, usize), LearnError>,
) -> Result<Given, LearnError> {
    let start = Instant::now();
    let (mut right, mut sweeps) = (0, 0);
    for digit in digits {
        let (label, made) = solve(&digit.pixels)?;
        right += usize::from(label == digit.label);
        sweeps += made;
    }
    let count = digits.len() as f64;
    let microseconds = start.elapsed().as_secs_f64() * 1e6 / count;
    Ok(Given { accuracy: 100.0 * right as f64 / count, sweeps: sweeps as f64 / count, gamma, microseconds })
}

fn of_floats<A: Takes<PIXELS, Scalar = f32>>(
    net: &Network<A>,
    digits: &[Digit],
) -> Result<Given, LearnError> {
    let gamma = net.certify().map_or(f64::INFINITY, |certificate| certificate.rate().into());
    let mut state = Network::<A>::state::<1>();
    given(digits, gamma, |pixels| {
        state.reset();
        let solved = net.solve(pixels, &mut state, TOLERANCE)?;
        Ok((label(state.as_slice()), solved.sweeps))
    })
}

/// The largest of the outputs, the last of a state.
fn label(state: &[f32]) -> usize {
    let outputs = &state[state.len() - data::CLASSES..];
    (0..outputs.len()).fold(0, |best, class| if outputs[class] > outputs[best] { class } else { best })
}

fn of_halves(net: &Bf16Network<Net>, digits: &[Digit]) -> Result<Given, LearnError> {
    let mut same = Net::boxed();
    net.to_network(&mut same);
    let gamma = same.certify().map_or(f64::INFINITY, |certificate| certificate.rate().into());
    let mut state = Net::state::<1>();
    given(digits, gamma, |pixels| {
        state.reset();
        let solved = net.solve(pixels, &mut state, TOLERANCE)?;
        Ok((label(state.as_slice()), solved.sweeps))
    })
}

fn of_integers<H: IntState>(net: &Quantized<Net, H>, digits: &[Digit]) -> Result<Given, LearnError> {
    let gamma = net.certify().map_or(f64::INFINITY, |certificate| certificate.rate());
    let mut state = Quantized::<Net, H>::state();
    given(digits, gamma, |pixels| {
        state.reset();
        let input = net.input(pixels).map_err(|_| LearnError::NotFinite(NonFinite::Overflow))?;
        // Whether it settles to one last digit or goes round by two or three: its label is what is asked for.
        let sweeps = match net.solve(&input, &mut state, LIMIT) {
            Ok(solved) => solved.sweeps,
            Err(_) => LIMIT,
        };
        Ok((state.label(), sweeps))
    })
}

fn run(options: Options) -> Result<(), String> {
    let directory = output::target("compress")?;
    let (training, test) = (data::training()?, data::test()?);
    println!("digits: {} to train, {} to test", training.len(), test.len());
    let Options { seed, seeds, epochs } = options;
    let failed = |error: LearnError| format!("training: {error}");
    let trained = side_by_side(seeds as usize, 5 * seeds, |index, bar| {
        learn(seed + index as u64, epochs, &training, || bar.inc(1))
    })
    .map_err(failed)?;
    let ways = compare(&trained, &test).map_err(failed)?;
    show(&ways, seeds, &directory)
}

fn compare(trained: &[Trained], test: &[Digit]) -> Result<Vec<Way>, LearnError> {
    let way = |name,
               bytes,
               file,
               each: &dyn Fn(&Trained) -> Result<Given, LearnError>|
     -> Result<Way, LearnError> {
        let given = trained.iter().map(each).collect::<Result<_, _>>()?;
        Ok(Way { name, bytes, file, given })
    };
    Ok(vec![
        way("f32", Net::BYTES, Net::file_bytes(true), &|t| of_floats(&t.net, test))?,
        way("bf16", Bf16Network::<Net>::BYTES, Bf16Network::<Net>::file_bytes(), &|t| {
            of_halves(&t.half, test)
        })?,
        way("8/16", Quantized::<Net, i16>::BYTES, Quantized::<Net, i16>::file_bytes(true), &|t| {
            of_integers(&t.fine, test)
        })?,
        way("8/8", Quantized::<Net, i8>::BYTES, Quantized::<Net, i8>::file_bytes(true), &|t| {
            of_integers(&t.coarse, test)
        })?,
        way("8/8 tuned", Quantized::<Net, i8>::BYTES, Quantized::<Net, i8>::file_bytes(true), &|t| {
            of_integers(&t.tuned, test)
        })?,
        way("pruned", Small::BYTES, Small::file_bytes(true), &|t| of_floats(&t.pruned, test))?,
        way("tied", Mirrored::BYTES, Mirrored::file_bytes(true), &|t| of_floats(&t.tied, test))?,
        way("distilled", Small::BYTES, Small::file_bytes(true), &|t| of_floats(&t.distilled, test))?,
    ])
}

fn show(ways: &[Way], count: u64, directory: &Path) -> Result<(), String> {
    let of = |way: &Way, figure: fn(&Given) -> f64| Spread::of(way.given.iter().map(figure));
    println!();
    println!(
        "{:10} {:>7} {:>7} {:>25} {:>7} {:>7} {:>9}",
        "", "bytes", "file", "accuracy, %", "sweeps", "rate", "time, us"
    );
    for way in ways {
        println!(
            "{:10} {:>7} {:>7} {:>25} {:>7.1} {:>7.3} {:>9.2}",
            way.name,
            way.bytes,
            way.file,
            format!("{:.2}", of(way, |given| given.accuracy)),
            of(way, |given| given.sweeps).mean,
            of(way, |given| given.gamma).max,
            of(way, |given| given.microseconds).mean,
        );
    }
    let points: Vec<(&str, f64, f64)> =
        ways.iter().map(|way| (way.name, way.bytes as f64, of(way, |given| given.accuracy).mean)).collect();
    let drawn = plot::draw(directory, &points, &format!("Digits: accuracy over bytes, {}", seeds(count)));
    println!();
    for way in ways {
        println!("accuracy {}: {:.1} %", way.name, of(way, |given| given.accuracy).mean);
    }
    for way in ways {
        println!("bytes {}: {}", way.name, way.bytes);
    }
    for way in ways {
        println!("file {}: {}", way.name, way.file);
    }
    for way in ways {
        println!("rate {}: {:.3}", way.name, of(way, |given| given.gamma).max);
    }
    drawn
}
