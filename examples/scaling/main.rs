//! How the cost of a solve grows with width, depth, sweeps and batch, beside what the processor can do at best.
//!
//! `cargo run --release --example scaling` takes about a minute; `-- --help` lists the options.

#[macro_use]
#[path = "../shared/output.rs"]
#[allow(dead_code, unused_macros, reason = "not all of it is needed here")]
mod output;

#[path = "../shared/command_line.rs"]
mod command_line;
#[path = "../shared/legend.rs"]
mod legend;
mod limits;
mod plot;

use attractor::network::{Architecture, Takes};
use attractor::simd::{Backend, Element};
use attractor::{Boxed, Network, State, Stop, fnn};
use indicatif::{ProgressBar, ProgressStyle};
use limits::{FmaPeak, LoadRoof};
use nalgebra::SMatrix;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::ffi::OsString;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

const HELP: &str = "\
Measures how the cost of a solve grows with width, depth, sweeps and batch, beside the limit of the processor.

Usage: cargo run --release --example scaling -- [OPTIONS]

Options:
  --rounds N   times everything is measured; the median counts, 1 to 1000 [default: 15]
  --out PATH   folder for the plots [default: target/scaling]
  --help       print this help

Prints lines `name: value`; times are microseconds a sample.";

const SWEEPS: usize = 16;
/// Samples of a batch, where it is not the batch that grows.
const BATCH: usize = 64;
/// A measurement repeats its work until it has taken this long, or as often as makes no difference.
const LEAST: Duration = Duration::from_millis(2);
const MOST_REPEATS: u32 = 10_000;

/// A network with all layers of one width, two of them hidden.
type Wide<const N: usize> = fnn![N, N, N, N];

struct Options {
    rounds: usize,
    out: PathBuf,
}

/// What the command line asks for; `None` is the help.
fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join("scaling");
    let mut options = Options { rounds: 15, out };
    while let Some(argument) = arguments.next() {
        match argument.to_string_lossy().as_ref() {
            "--rounds" => {
                let value = arguments.next().ok_or("--rounds needs a number, such as `--rounds 15`")?;
                let rounds = value.to_str().and_then(|value| value.parse().ok());
                options.rounds = rounds.filter(|rounds| (1..=1000).contains(rounds)).ok_or_else(|| {
                    format!("--rounds takes a whole number from 1 to 1000, not `{}`", value.to_string_lossy())
                })?;
            }
            "--out" => options.out = arguments.next().ok_or("--out needs a folder")?.into(),
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("unknown option `{other}`")),
        }
    }
    Ok(Some(options))
}

fn main() -> ExitCode {
    command_line::run("scaling", HELP, parse, |options| run(&options))
}

fn run(options: &Options) -> Result<(), String> {
    output::folder(&options.out)?;
    let makers = [width, depth, sweeps, batch];
    let bar = ProgressBar::new((makers.len() * options.rounds) as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40.blue} {percent} %  {msg}  {elapsed} eta {eta}") {
        bar.set_style(style);
    }
    let mut all = Vec::new();
    for make in makers {
        // One after the other, for the networks need memory.
        let mut series = make();
        bar.set_message(series.name);
        series.measure(options.rounds, &bar);
        all.push(series.finish());
    }
    bar.finish_and_clear();

    for series in &all {
        let path = options.out.join(format!("scaling-{}.svg", series.name));
        output::drawn(&path, |part| plot::series(part, series))?;
    }
    println!("plots: {}", options.out.display());
    println!("backend: {}", Backend::best().name());
    println!("rounds: {}", options.rounds);
    for series in &all {
        for curve in &series.curves {
            for (x, time) in &curve.points {
                println!("{} {x}, {}: {time:.3}", series.name, curve.name);
            }
        }
        for pair in series.curves.chunks_exact(2) {
            for ((x, time), (_, limit)) in pair[0].points.iter().zip(&pair[1].points) {
                println!("{} {x}, {}, share of the limit: {:.3}", series.name, pair[0].name, limit / time);
            }
        }
    }
    Ok(())
}

/// Medians of one curve: what grows, and microseconds a sample.
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(usize, f64)>,
}

/// What was measured while one thing grew. Every curve is followed by its limit.
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) curves: Vec<Curve>,
}

/// Work to be measured, with all it needs.
struct Point {
    curve: &'static str,
    x: usize,
    samples: usize,
    work: Box<dyn FnMut()>,
    repeats: u32,
    /// Microseconds a sample of every round.
    times: Vec<f64>,
}

impl Point {
    fn new(curve: &'static str, x: usize, samples: usize, work: impl FnMut() + 'static) -> Self {
        Self { curve, x, samples, work: Box::new(work), repeats: 1, times: Vec::new() }
    }

    fn time(&mut self) -> Duration {
        let started = Instant::now();
        for _ in 0..self.repeats {
            (self.work)();
        }
        started.elapsed()
    }

    /// Finds out how many repeats make a measurement; also warms up.
    fn calibrate(&mut self) {
        while self.time() < LEAST && self.repeats < MOST_REPEATS {
            self.repeats *= 2;
        }
    }

    fn measure(&mut self) {
        let seconds = self.time().as_secs_f64();
        self.times.push(1e6 * seconds / (f64::from(self.repeats) * self.samples as f64));
    }

    fn median(&self) -> f64 {
        let mut times = self.times.clone();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }
}

struct Series {
    name: &'static str,
    title: &'static str,
    points: Vec<Point>,
}

impl Series {
    /// Measures all points once a round: what disturbs the machine for a while then disturbs all alike.
    fn measure(&mut self, rounds: usize, bar: &ProgressBar) {
        self.points.iter_mut().for_each(Point::calibrate);
        for _ in 0..rounds {
            self.points.iter_mut().for_each(Point::measure);
            bar.inc(1);
        }
    }

    fn finish(self) -> Measured {
        let mut curves: Vec<Curve> = Vec::new();
        for point in &self.points {
            let value = (point.x, point.median());
            match curves.iter_mut().find(|curve| curve.name == point.curve) {
                Some(curve) => curve.points.push(value),
                None => curves.push(Curve { name: point.curve, points: vec![value] }),
            }
        }
        Measured { name: self.name, title: self.title, curves }
    }
}

/// A network shared by several points.
type Shared<A> = Rc<Boxed<Network<A>>>;

fn network<A: Architecture<Scalar = f32>>(random: &mut SmallRng) -> Shared<A> {
    let mut net = Network::boxed();
    net.initialize(random);
    Rc::new(net)
}

/// A solve of `B` samples by so many sweeps.
fn solve<A: Takes<I, Scalar = f32>, const I: usize, const B: usize>(
    net: &Shared<A>,
    sweeps: usize,
    random: &mut SmallRng,
) -> impl FnMut() + use<A, I, B> {
    let net = Rc::clone(net);
    let input = Box::new(SMatrix::<f32, B, I>::from_fn(|_, _| random.random_range(-1.0..1.0)));
    let mut state = State::<Network<A>, B>::boxed();
    move || {
        state.reset();
        // Weights and inputs are finite, and the activations of such a network are bounded.
        let solved = net.solve(black_box(&*input), &mut state, Stop::after(sweeps));
        let _ = black_box(solved.expect("finite"));
    }
}

/// The weights of the inputs, which are used once a solve.
fn first_weights<A: Architecture>() -> usize {
    let widths = A::SHAPE.widths().to_vec();
    widths[0] as usize * widths[1] as usize
}

/// The multiply-adds of so many sweeps of `samples`: all weights but those of the first layer's inputs, every sweep.
fn fma_peak<A: Architecture<Scalar = f32>>(
    _: &Shared<A>,
    sweeps: usize,
    samples: usize,
) -> impl FnMut() + use<A> {
    let once = first_weights::<A>();
    // One bias a unit.
    let each_sweep = Network::<A>::PARAMS - Network::<A>::UNITS - once;
    let count = samples * (once + sweeps * each_sweep);
    move || {
        black_box(f32::run(Backend::best(), FmaPeak { count: black_box(count) }));
    }
}

/// One input and a batch, each beside its limit.
fn with_limits<A: Takes<I, Scalar = f32>, const I: usize>(
    net: &Shared<A>,
    x: usize,
    sweeps: usize,
    random: &mut SmallRng,
) -> [Point; 4] {
    let weights = Rc::clone(net);
    let load_roof = move || {
        let (once, each_sweep) = weights.params().split_at(first_weights::<A>());
        black_box(f32::run(Backend::best(), LoadRoof { once: black_box(once), each_sweep, sweeps }));
    };
    [
        Point::new("one input", x, 1, solve::<A, I, 1>(net, sweeps, random)),
        Point::new("loading the weights", x, 1, load_roof),
        Point::new("batch of 64", x, BATCH, solve::<A, I, BATCH>(net, sweeps, random)),
        Point::new("FMA peak", x, BATCH, fma_peak(net, sweeps, BATCH)),
    ]
}

fn width() -> Series {
    let mut random = SmallRng::seed_from_u64(1);
    let mut points = Vec::new();
    macro_rules! widths {
        ($($width:literal)*) => {
            $({
                let net: Rc<Boxed<Wide<$width>>> = network(&mut random);
                points.extend(with_limits(&net, $width, SWEEPS, &mut random));
            })*
        };
    }
    widths!(16 32 64 96 128 192 256 384 512 1024);
    Series { name: "width", title: "two hidden layers and outputs of one width, 16 sweeps", points }
}

fn depth() -> Series {
    let mut random = SmallRng::seed_from_u64(1);
    let mut points = Vec::new();
    macro_rules! depths {
        ($($depth:literal: $net:ty,)*) => {
            $({
                let net: Rc<Boxed<$net>> = network(&mut random);
                points.extend(with_limits(&net, $depth, SWEEPS, &mut random));
            })*
        };
    }
    depths!(
        2: fnn![64, 64, 64],
        4: fnn![64, 64, 64, 64, 64],
        8: fnn![64, 64, 64, 64, 64, 64, 64, 64, 64],
        12: fnn![64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64],
        16: fnn![64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64],
    );
    Series { name: "depth", title: "layers of 64 units, 16 sweeps", points }
}

fn sweeps() -> Series {
    let mut random = SmallRng::seed_from_u64(1);
    let net: Rc<Boxed<Wide<64>>> = network(&mut random);
    let points = [1, 2, 4, 8, 16, 32, 64].into_iter().flat_map(|n| with_limits(&net, n, n, &mut random));
    let points = points.collect();
    Series { name: "sweeps", title: "two hidden layers and outputs of 64 units", points }
}

fn batch() -> Series {
    let mut random = SmallRng::seed_from_u64(1);
    let net: Rc<Boxed<Wide<64>>> = network(&mut random);
    let mut points = Vec::new();
    macro_rules! batches {
        ($($samples:literal)*) => {
            $({
                let work = solve::<_, _, $samples>(&net, SWEEPS, &mut random);
                points.push(Point::new("attractor", $samples, $samples, work));
                let peak = fma_peak(&net, SWEEPS, $samples);
                points.push(Point::new("FMA peak", $samples, $samples, peak));
            })*
        };
    }
    batches!(1 4 8 16 64 256);
    Series { name: "batch", title: "two hidden layers and outputs of 64 units, 16 sweeps", points }
}
