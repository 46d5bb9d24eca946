//! How fast a whole training step is, and what part of what the processor can do.

use attractor_language::Config;
use attractor_language::limits::peak_flops;
use attractor_language::pass::Sweeps;
use attractor_language::train::{Batch, Learner, StepSettings, flops_per_token};
use std::time::Instant;

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).map(|x| x.parse().expect("a number")).collect();
    let at = |i: usize, or: usize| numbers.get(i).copied().unwrap_or(or);
    let (width, sweeps, threads, batch, steps) = (at(0, 128), at(1, 1), at(2, 1), at(3, 16), at(4, 6));
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
}
