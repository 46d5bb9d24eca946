//! tanh and sigmoid of all 2^32 floats on every backend of this processor, against `f64`: error, order, symmetry,
//! infinities, NaNs.

#[macro_use]
#[path = "shared/output.rs"]
#[allow(dead_code, unused_macros, reason = "not all of it is needed here")]
mod output;

use attractor::kernel::{self, Sigmoid, Tanh};
use attractor::simd::Backend;
use indicatif::{ProgressBar, ProgressStyle};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

const USAGE: &str = "\
Checks tanh and sigmoid on all 2^32 floats, on every backend of this processor.

Usage: cargo run --release --example all_floats [-- OPTIONS]

Options:
  --threads N   threads to use, 1 to 1024 (2)
  --help        this text

Prints lines `name: value`. The exit code is 1 if a bound is broken.";

const SIGN: u32 = 1 << 31;
/// Floats of one sign that are looked at together.
const BLOCK: u32 = 1 << 16;

/// What was found of one function on one backend.
#[derive(Clone, Copy, Default)]
struct Found {
    /// Largest error.
    error: f64,
    /// Where it is.
    at: f32,
    /// Neighbouring floats with falling results.
    falls: u64,
    /// Floats x whose results do not mirror those of -x.
    asymmetric: u64,
    /// Results beyond the range of the function.
    outside: u64,
    /// NaNs that became numbers and numbers that became NaN.
    nan: u64,
    /// Infinities with another result than the limit.
    infinity: u64,
}

impl Found {
    fn merge(&mut self, other: &Self) {
        if other.error > self.error {
            (self.error, self.at) = (other.error, other.at);
        }
        self.falls += other.falls;
        self.asymmetric += other.asymmetric;
        self.outside += other.outside;
        self.nan += other.nan;
        self.infinity += other.infinity;
    }
}

/// A function with its limits; `mirrors` says whether f(x) and f(-x) belong together.
struct Function {
    name: &'static str,
    low: f32,
    value: fn(Backend, &mut [f32]),
    exact: fn(f64) -> f64,
    mirrors: fn(f32, f32) -> bool,
}

const FUNCTIONS: [Function; 2] = [
    Function {
        name: "tanh",
        low: -1.0,
        value: kernel::activate::<f32, Tanh>,
        exact: f64::tanh,
        mirrors: |y, z| y.to_bits() == z.to_bits() ^ SIGN,
    },
    Function {
        name: "sigmoid",
        low: 0.0,
        value: kernel::activate::<f32, Sigmoid>,
        exact: |x| 1.0 / (1.0 + (-x).exp()),
        // Their sum is 1 but for one rounding of numbers up to 1.
        mirrors: |y, z| (f64::from(y) + f64::from(z) - 1.0).abs() <= f64::from(f32::EPSILON) / 2.0,
    },
];

/// Looks at the floats of bits `first..first + BLOCK` and at their negatives.
fn check(function: &Function, backends: &[Backend], first: u32, found: &mut [Found]) {
    // One float before the block, so that no step from one float to the next is left out.
    let start = first.saturating_sub(1);
    let plus: Vec<f32> = (start..first + BLOCK).map(f32::from_bits).collect();
    let minus: Vec<f32> = plus.iter().map(|x| -x).collect();
    let exact: Vec<[f64; 2]> =
        plus.iter().map(|x| [(function.exact)(f64::from(*x)), (function.exact)(-f64::from(*x))]).collect();
    for (backend, found) in backends.iter().zip(found) {
        let (mut high, mut low) = (plus.clone(), minus.clone());
        (function.value)(*backend, &mut high);
        (function.value)(*backend, &mut low);
        for (i, x) in plus.iter().enumerate() {
            let (y, z) = (high[i], low[i]);
            if x.is_nan() {
                found.nan += u64::from(!y.is_nan()) + u64::from(!z.is_nan());
                continue;
            }
            found.nan += u64::from(y.is_nan()) + u64::from(z.is_nan());
            if x.is_infinite() {
                found.infinity += u64::from(y != 1.0) + u64::from(z != function.low);
            }
            for (x, y, exact) in [(*x, y, exact[i][0]), (-x, z, exact[i][1])] {
                let error = (f64::from(y) - exact).abs();
                if error > found.error {
                    (found.error, found.at) = (error, x);
                }
                found.outside += u64::from(!(function.low..=1.0).contains(&y));
            }
            found.asymmetric += u64::from(!(function.mirrors)(y, z));
            if i > 0 {
                found.falls += u64::from(y < high[i - 1]) + u64::from(z > low[i - 1]);
            }
        }
    }
}

fn threads() -> Result<Option<usize>, String> {
    let mut arguments = std::env::args().skip(1);
    let mut threads = 2;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--help" | "-h" => return Ok(None),
            "--threads" => {
                let value = arguments.next().ok_or("--threads needs a number")?;
                threads = value
                    .parse()
                    .ok()
                    .filter(|n| (1..=1024).contains(n))
                    .ok_or_else(|| format!("--threads: `{value}` is not a number from 1 to 1024"))?;
            }
            other => return Err(format!("unknown option `{other}`; see --help")),
        }
    }
    Ok(Some(threads))
}

fn main() -> ExitCode {
    let threads = match threads() {
        Ok(Some(threads)) => threads,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let backends: Vec<Backend> = Backend::available().collect();
    let blocks = SIGN / BLOCK;
    let next = AtomicU32::new(0);
    let total = Mutex::new([(); FUNCTIONS.len()].map(|()| vec![Found::default(); backends.len()]));
    let bar = ProgressBar::new(u64::from(blocks));
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent} % {elapsed_precise} eta {eta}") {
        bar.set_style(style);
    }
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = [(); FUNCTIONS.len()].map(|()| vec![Found::default(); backends.len()]);
                loop {
                    let block = next.fetch_add(1, Ordering::Relaxed);
                    if block >= blocks {
                        break;
                    }
                    for (function, found) in FUNCTIONS.iter().zip(&mut own) {
                        check(function, &backends, block * BLOCK, found);
                    }
                    bar.inc(1);
                }
                if let Ok(mut total) = total.lock() {
                    for (total, own) in total.iter_mut().flatten().zip(own.iter().flatten()) {
                        total.merge(own);
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    let total = match total.into_inner() {
        Ok(total) => total,
        Err(_) => {
            eprintln!("a thread failed");
            return ExitCode::FAILURE;
        }
    };

    println!("floats: {}", u64::from(blocks) * u64::from(BLOCK) * 2);
    let mut broken = false;
    for (function, found) in FUNCTIONS.iter().zip(&total) {
        for (backend, found) in backends.iter().zip(found) {
            let name = format!("{} {}", function.name, backend.name());
            println!("{name} largest error: {:.4e} at {:e}", found.error, found.at);
            println!("{name} monotonicity violations: {}", found.falls);
            println!("{name} symmetry violations: {}", found.asymmetric);
            println!("{name} out of range: {}", found.outside);
            println!("{name} wrong at infinity: {}", found.infinity);
            println!("{name} wrong NaNs: {}", found.nan);
            let bound = if backend.name() == "portable" { 5e-7 } else { 2e-7 };
            let violations = found.falls + found.asymmetric + found.outside + found.infinity + found.nan;
            broken |= violations > 0 || found.error > bound;
        }
    }
    println!("bounds: {}", if broken { "broken" } else { "kept" });
    if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
