//! What a training step takes, and its parts, beside the multiply-adds of one thread (`fma-peak`, as many as the other entries of the group count).
//!
//! | group | what is timed, on one thread unless named |
//! |-|-|
//! | `language/step/{128,512}` | a step of 16 sequences of 128 tokens: gradient, norm, AdamW; `two-threads` on two |
//! | `language/product/..` | the products of a block of width 128: forward, back, weights |
//! | `language/attention/..` | four heads of 32 features over 128 tokens, causal, forward and back |
//! | `language/norm/..` | a layer normalisation of 128 tokens of 128 features, forward and back |
//! | `language/adam` | one update of 842,496 parameters |

use attractor::kernel::{self, AdamStep, Factors, Identity, Mask, Matrix, MatrixMut, Start};
use attractor::simd::{Backend, Element};
use attractor_language::Config;
use attractor_language::limits::MultiplyAdds;
use attractor_language::pass::Sweeps;
use attractor_language::train::{Batch, Learner, StepSettings, flops_per_token};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// The limit of a group that takes so many multiplications and additions.
fn limit(group: &mut BenchmarkGroup<'_, WallTime>, flops: f64) {
    group.throughput(Throughput::Elements(flops as u64));
    let count = (flops / 2.0) as usize;
    group.bench_function("fma-peak", |bencher| {
        bencher.iter(|| f32::run(Backend::best(), MultiplyAdds(black_box(count))));
    });
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919) % 1009) as f32 / 1009.0 - 0.5).collect()
}

fn step(criterion: &mut Criterion) {
    for width in [128, 512] {
        let config = Config { feedback: false, ..Config::new(width, width / 32, 4, 128) };
        let tokens: Vec<u32> = (0..16 * 128_u32).map(|i| i * i % 251).collect();
        let targets: Vec<u32> = (0..16 * 128).map(|i| i * 7 % 253).collect();
        let batch = Batch { sequences: 16, length: 128, tokens: &tokens, targets: &targets };
        let settings = StepSettings { rate: 1e-4, decay: 0.1, clip: 1.0, sweeps: Sweeps::Unrolled(1) };
        let mut group = criterion.benchmark_group(format!("language/step/{width}"));
        group.sample_size(10);
        limit(&mut group, 16.0 * 128.0 * flops_per_token(&config, 128, 1));
        for (name, threads) in [("attractor", 1), ("two-threads", 2)] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let mut learner = Learner::new(config, 16, 128, 1).expect("a shape");
            learner.initialize(1);
            group.bench_function(name, |bencher| {
                pool.install(|| bencher.iter(|| learner.step(&batch, &settings).expect("a step")));
            });
        }
        group.finish();
    }
}

fn product(criterion: &mut Criterion) {
    let backend = Backend::best();
    let (tokens, stride) = (128, 144);
    for (name, inputs, outputs) in [("qkv", 128, 384), ("wide", 128, 512), ("narrow", 512, 128)] {
        let mut group = criterion.benchmark_group(format!("language/product/{name}"));
        limit(&mut group, 2.0 * (tokens * inputs * outputs) as f64);
        let (x, d, w) = (numbers(stride * inputs), numbers(stride * outputs), numbers(inputs * outputs));
        let view = |data, columns| Matrix::with_stride(data, tokens, columns, stride).expect("a shape");
        let weights = Matrix::new(&w, outputs, inputs).expect("a shape");
        let mut room = vec![0.0; kernel::multiply_room(512, 512, 512)];
        for (way, factors, rows, columns, apart) in [
            ("forward", Factors::TransposedRight(view(&x, inputs), weights), tokens, outputs, stride),
            ("back", Factors::Plain(view(&d, outputs), weights), tokens, inputs, stride),
            (
                "weights",
                Factors::TransposedLeft(view(&d, outputs), view(&x, inputs)),
                outputs,
                inputs,
                outputs,
            ),
        ] {
            let mut out = vec![0.0; apart * columns];
            group.bench_function(way, |bencher| {
                bencher.iter(|| {
                    let out = MatrixMut::with_stride(&mut out, rows, columns, apart).expect("a shape");
                    let done = kernel::multiply::<_, Identity>(
                        backend,
                        black_box(factors),
                        1.0,
                        Start::Zero,
                        &mut room,
                        out,
                    );
                    done.expect("a shape");
                });
            });
        }
        group.finish();
    }
}

fn attention(criterion: &mut Criterion) {
    let (backend, tokens, width, heads) = (Backend::best(), 128, 128, 4);
    let data = numbers(3 * tokens * width);
    let qkv = Matrix::new(&data, tokens, 3 * width).expect("a shape");
    let part = |number: usize| qkv.columns(number * width, width);
    let delta = numbers(tokens * width);
    let mut logs = vec![0.0; heads * tokens];
    let mut room = vec![0.0; kernel::attention_room(tokens, tokens, width / heads)];
    let mut out = vec![0.0; 3 * tokens * width];
    // Two products forward, five back, of half of the scores.
    let flops = 2.0 * (tokens * (tokens + 1) / 2 * width) as f64;
    for back in [false, true] {
        let name = if back { "back" } else { "forward" };
        let mut group = criterion.benchmark_group(format!("language/attention/{name}"));
        limit(&mut group, if back { 5.0 } else { 2.0 } * flops);
        group.bench_function("attractor", |bencher| {
            bencher.iter(|| {
                let all = MatrixMut::new(&mut out, tokens, 3 * width).expect("a shape");
                let (first, rest) = all.split_columns(width);
                let done = if back {
                    let delta = Matrix::new(&delta, tokens, width).expect("a shape");
                    let (second, third) = rest.split_columns(width);
                    let to = [first, second, third];
                    let room = &mut room;
                    kernel::attend_back(
                        backend,
                        heads,
                        Mask::Causal,
                        part(0),
                        part(1),
                        part(2),
                        &logs,
                        delta,
                        room,
                        to,
                    )
                } else {
                    kernel::attend(
                        backend,
                        heads,
                        Mask::Causal,
                        part(0),
                        part(1),
                        part(2),
                        &mut logs,
                        &mut room,
                        first,
                    )
                };
                done.expect("a shape");
            });
        });
        group.finish();
    }
}

fn norm(criterion: &mut Criterion) {
    let (backend, tokens, width) = (Backend::best(), 128, 128);
    let (data, delta, gain) = (numbers(tokens * width), numbers(tokens * width), numbers(width));
    let mut statistics = vec![0.0; 2 * tokens];
    let mut out = vec![0.0; tokens * width];
    let (mut gains, mut shifts) = (vec![0.0; width], vec![0.0; width]);
    for back in [false, true] {
        let name = if back { "back" } else { "forward" };
        let mut group = criterion.benchmark_group(format!("language/norm/{name}"));
        limit(&mut group, 8.0 * (tokens * width) as f64);
        group.bench_function("attractor", |bencher| {
            bencher.iter(|| {
                let x = Matrix::new(&data, tokens, width).expect("a shape");
                let to = MatrixMut::new(&mut out, tokens, width).expect("a shape");
                let done = if back {
                    let d = Matrix::new(&delta, tokens, width).expect("a shape");
                    kernel::normalize_back(backend, x, &gain, &statistics, d, &mut gains, &mut shifts, to)
                } else {
                    kernel::normalize(backend, x, &gain, &gain, 1e-5, &mut statistics, to)
                };
                done.expect("a shape");
            });
        });
        group.finish();
    }
}

fn adam(criterion: &mut Criterion) {
    let count = 842_496;
    let (gradient, mut parameters) = (numbers(count), numbers(count));
    let (mut first, mut second) = (vec![0.0; count], vec![0.0; count]);
    let mut group = criterion.benchmark_group("language/adam");
    limit(&mut group, 14.0 * count as f64);
    group.bench_function("attractor", |bencher| {
        bencher.iter(|| {
            let step =
                AdamStep { rate: 1e-4, decay: 0.1, decays: (0.9, 0.95), epsilon: 1e-8, steps: 7, scale: 1.0 };
            let done =
                kernel::adam(Backend::best(), step, &mut parameters, &gradient, &mut first, &mut second);
            done.expect("of one length");
        });
    });
    group.finish();
}

criterion_group!(benches, step, product, attention, norm, adam);
criterion_main!(benches);
