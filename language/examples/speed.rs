//! How fast a whole training step is, and what part of what the processor can do.
//!
//! ```text
//! cargo run --release -p attractor-language --example speed -- [WIDTH [SWEEPS [THREADS [SEQUENCES [STEPS]]]]]
//! ```

use attractor_language::Config;
use attractor_language::limits::peak_flops;
use attractor_language::pass::Sweeps;
use attractor_language::train::{Batch, Learner, StepSettings, flops_per_token};
use std::process::ExitCode;
use std::time::Instant;

const DEFAULTS: [usize; 5] = [128, 1, 1, 16, 7];

/// Numbers of the command line, where there are any: of at least 1, and a width in heads of 32 features.
fn numbers() -> Option<[usize; 5]> {
    let mut numbers = DEFAULTS;
    let mut arguments = std::env::args().skip(1);
    for (number, argument) in numbers.iter_mut().zip(&mut arguments) {
        *number = argument.parse().ok().filter(|number| *number > 0)?;
    }
    (arguments.next().is_none() && numbers[0].is_multiple_of(32)).then_some(numbers)
}

fn main() -> ExitCode {
    let Some([width, sweeps, threads, batch, steps]) = numbers() else {
        eprintln!(
            "usage: speed [WIDTH [SWEEPS [THREADS [SEQUENCES [STEPS]]]]], whole numbers; 32 divides the width"
        );
        return ExitCode::from(2);
    };
    let config = Config { feedback: sweeps > 1, ..Config::new(width, width / 32, 4, 128) };
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("threads");
    let mut learner = Learner::new(config, batch, 128, sweeps).expect("a shape");
    learner.initialize(1);
    let tokens: Vec<u32> = (0..batch * 128).map(|i| (i * i % 251) as u32).collect();
    let targets: Vec<u32> = (0..batch * 128).map(|i| (i * 7 % 253) as u32).collect();
    let batch_of = Batch { sequences: batch, length: 128, tokens: &tokens, targets: &targets };
    let settings = StepSettings { rate: 1e-4, decay: 0.1, clip: 1.0, sweeps: Sweeps::Unrolled(sweeps) };
    let mut times = Vec::new();
    let mut peak = 0.0_f64;
    for _ in 0..steps {
        peak = peak.max(peak_flops());
        let start = Instant::now();
        learner.step(&batch_of, &settings).expect("a step");
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let time = times[times.len() / 2];
    let rate = (batch * 128) as f64 / time;
    println!("tokens per second: {rate:.0}");
    println!("peak of a thread: {:.1} GFLOP/s", peak / 1e9);
    println!("share of peak: {:.3}", rate * flops_per_token(&config, 128, sweeps) / peak / threads as f64);
    ExitCode::SUCCESS
}
