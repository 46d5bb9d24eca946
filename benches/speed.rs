//! The speed of one input, 16 sweeps from zero, beside what a Rust programmer would otherwise write.
//!
//! `cargo bench` runs all; `cargo bench -- solve/M` one group. Every peer's output is compared with a plain `f64`
//! computation before it is timed.

use attractor::kernel::{Tanh, activate};
use attractor::simd::{Backend, Element, Lanes, Operation};
use attractor::{Align64, Tolerance, fnn};
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use nalgebra::{SMatrix, SVector};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::hint::black_box;
use wide::f32x8;

const SWEEPS: usize = 16;

/// A network with two hidden layers and adjacent feedback, as nalgebra users would hold it.
#[derive(Clone)]
struct Plain<const I: usize, const A: usize, const B: usize, const O: usize> {
    w1: SMatrix<f32, A, I>,
    u1: SMatrix<f32, A, B>,
    b1: SVector<f32, A>,
    w2: SMatrix<f32, B, A>,
    u2: SMatrix<f32, B, O>,
    b2: SVector<f32, B>,
    w3: SMatrix<f32, O, B>,
    b3: SVector<f32, O>,
}

impl<const I: usize, const A: usize, const B: usize, const O: usize> Plain<I, A, B, O> {
    /// `W h + U g + b` with nalgebra's own products.
    fn nalgebra(&self, x: &SVector<f32, I>, tanh: impl Fn(&mut [f32])) -> SVector<f32, O> {
        let drive = self.w1 * x + self.b1;
        let mut h1 = SVector::<f32, A>::zeros();
        let mut h2 = SVector::<f32, B>::zeros();
        let mut h3 = SVector::<f32, O>::zeros();
        for _ in 0..SWEEPS {
            h1.copy_from(&drive);
            h1.gemv(1.0, &self.u1, &h2, 1.0);
            tanh(h1.as_mut_slice());
            h2.copy_from(&self.b2);
            h2.gemv(1.0, &self.w2, &h1, 1.0);
            h2.gemv(1.0, &self.u2, &h3, 1.0);
            tanh(h2.as_mut_slice());
            h3.copy_from(&self.b3);
            h3.gemv(1.0, &self.w3, &h2, 1.0);
        }
        h3
    }

    /// The same with register-blocked columns of `wide` vectors.
    fn wide(&self, x: &SVector<f32, I>) -> SVector<f32, O> {
        let mut drive = self.b1;
        wide_add(drive.as_mut_slice(), self.w1.as_slice(), x.as_slice());
        let mut h1 = SVector::<f32, A>::zeros();
        let mut h2 = SVector::<f32, B>::zeros();
        let mut h3 = SVector::<f32, O>::zeros();
        for _ in 0..SWEEPS {
            h1.copy_from(&drive);
            wide_add(h1.as_mut_slice(), self.u1.as_slice(), h2.as_slice());
            wide_tanh(h1.as_mut_slice());
            h2.copy_from(&self.b2);
            wide_add(h2.as_mut_slice(), self.w2.as_slice(), h1.as_slice());
            wide_add(h2.as_mut_slice(), self.u2.as_slice(), h3.as_slice());
            wide_tanh(h2.as_mut_slice());
            h3.copy_from(&self.b3);
            wide_add(h3.as_mut_slice(), self.w3.as_slice(), h2.as_slice());
        }
        h3
    }

    /// The same in `f64` and plain loops: what all are compared with.
    fn exact(&self, x: &SVector<f32, I>) -> SVector<f64, O> {
        let drive = self.w1.cast::<f64>() * x.cast::<f64>() + self.b1.cast::<f64>();
        let (u1, w2, u2, w3) =
            (self.u1.cast::<f64>(), self.w2.cast::<f64>(), self.u2.cast::<f64>(), self.w3.cast::<f64>());
        let (mut h2, mut h3) = (SVector::<f64, B>::zeros(), SVector::<f64, O>::zeros());
        for _ in 0..SWEEPS {
            let h1 = (drive + u1 * h2).map(f64::tanh);
            h2 = (w2 * h1 + u2 * h3 + self.b2.cast::<f64>()).map(f64::tanh);
            h3 = w3 * h2 + self.b3.cast::<f64>();
        }
        h3
    }
}

/// y += M x, M column-major, blocks of 64, 32 and 8 rows in registers.
#[inline(always)]
fn wide_add(y: &mut [f32], m: &[f32], x: &[f32]) {
    let rows = y.len();
    let mut row = wide_block::<8>(y, m, x, rows, 0);
    row = wide_block::<4>(y, m, x, rows, row);
    row = wide_block::<1>(y, m, x, rows, row);
    for i in row..rows {
        for (j, x) in x.iter().enumerate() {
            y[i] += m[j * rows + i] * x;
        }
    }
}

#[inline(always)]
fn wide_block<const V: usize>(y: &mut [f32], m: &[f32], x: &[f32], rows: usize, mut row: usize) -> usize {
    let load = |from: &[f32]| f32x8::new(from[..8].try_into().expect("eight lanes"));
    while rows - row >= 8 * V {
        let mut sums: [f32x8; V] = std::array::from_fn(|v| load(&y[row + 8 * v..]));
        for (x, column) in x.iter().zip(m.chunks_exact(rows)) {
            let (x, block) = (f32x8::splat(*x), &column[row..row + 8 * V]);
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = load(&block[8 * v..]).mul_add(x, *sum);
            }
        }
        for (v, sum) in sums.iter().enumerate() {
            y[row + 8 * v..row + 8 * v + 8].copy_from_slice(&sum.to_array());
        }
        row += 8 * V;
    }
    row
}

/// `wide`'s own tanh; the last few values one by one.
fn wide_tanh(values: &mut [f32]) {
    let (chunks, rest) = values.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = f32x8::new(*chunk).tanh().to_array();
    }
    for value in rest {
        *value = value.tanh();
    }
}

fn libm_tanh(values: &mut [f32]) {
    for value in values {
        *value = libm::tanhf(*value);
    }
}

fn our_tanh(values: &mut [f32]) {
    activate::<f32, Tanh>(Backend::best(), values);
}

/// Loads the bytes a solve loads, and does nothing else with them: W^1 once, the rest once a sweep.
struct LoadRoof<'a> {
    once: &'a [f32],
    each_sweep: &'a [f32],
}

impl Operation<f32> for LoadRoof<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes<f32>>(self, lanes: L) -> f32 {
        let mut sums = [lanes.splat(0.0); 8];
        take(lanes, self.once, &mut sums);
        for _ in 0..SWEEPS {
            take(lanes, black_box(self.each_sweep), &mut sums);
        }
        let mut total = 0.0;
        for sum in sums {
            total += lanes.reduce_add(sum);
        }
        total
    }
}

#[inline(always)]
fn take<L: Lanes<f32>>(lanes: L, from: &[f32], sums: &mut [L::Vector; 8]) {
    let mut blocks = from.chunks_exact(8 * L::WIDTH);
    for block in &mut blocks {
        for (v, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the block holds eight vectors.
            *sum = lanes.add(*sum, unsafe { lanes.load(block.as_ptr().add(v * L::WIDTH)) });
        }
    }
    for rest in blocks.remainder().chunks_exact(L::WIDTH) {
        // SAFETY: the chunk holds one vector.
        sums[0] = lanes.add(sums[0], unsafe { lanes.load(rest.as_ptr()) });
    }
}

macro_rules! solve_group {
    ($criterion:expr, $name:literal, $i:literal, $a:literal, $b:literal, $o:literal) => {{
        type Net = fnn![$i, $a, $b, $o];
        let mut random = SmallRng::seed_from_u64(7);
        let mut net = Box::new(Align64(Net::ZERO));
        net.initialize(&mut random);
        let plain = Box::new(Align64(Plain::<$i, $a, $b, $o> {
            w1: net.layer::<1>().w,
            u1: net.layer::<1>().u,
            b1: net.layer::<1>().b,
            w2: net.layer::<2>().w,
            u2: net.layer::<2>().u,
            b2: net.layer::<2>().b,
            w3: net.layer::<3>().w,
            b3: net.layer::<3>().b,
        }));
        let x = Align64([(); $i].map(|()| random.random_range(-1.0_f32..1.0)));
        let vector = SVector::<f32, $i>::from_column_slice(&*x);
        let exact = plain.exact(&vector);
        let check = |id: &str, found: &[f32]| {
            for (found, exact) in found.iter().zip(exact.iter()) {
                assert!((f64::from(*found) - exact).abs() < 1e-5, "{id}: {found} is not {exact}");
            }
        };
        let mut group: BenchmarkGroup<'_, WallTime> = $criterion.benchmark_group(concat!("solve/", $name));
        let backends = [("attractor", Some(Backend::best())), ("attractor-avx2", Backend::avx2())]
            .into_iter()
            .chain([("attractor-portable", Some(Backend::portable()))]);
        for (id, backend) in backends {
            let Some(backend) = backend else { continue };
            let mut state = Align64(Net::state());
            let mut run = || {
                state.reset();
                let solved =
                    net.on(backend).solve(black_box(&*x), &mut state, Tolerance::exactly(SWEEPS)).expect("finite");
                black_box(solved);
                *state.output()
            };
            check(id, run().as_slice());
            group.bench_function(id, |bencher| bencher.iter(&mut run));
        }
        check("nalgebra", plain.nalgebra(&vector, libm_tanh).as_slice());
        group.bench_function("nalgebra", |bencher| bencher.iter(|| plain.nalgebra(black_box(&vector), libm_tanh)));
        check("nalgebra-fast", plain.nalgebra(&vector, our_tanh).as_slice());
        group.bench_function("nalgebra-fast", |bencher| bencher.iter(|| plain.nalgebra(black_box(&vector), our_tanh)));
        check("wide", plain.wide(&vector).as_slice());
        group.bench_function("wide", |bencher| bencher.iter(|| plain.wide(black_box(&vector))));
        let (once, each_sweep) = net.params().split_at($i * $a);
        group.bench_function("load-roof", |bencher| {
            bencher.iter(|| f32::run(Backend::best(), LoadRoof { once: black_box(once), each_sweep }))
        });
        group.finish();
    }};
}

fn solve(criterion: &mut Criterion) {
    solve_group!(criterion, "S", 16, 16, 16, 8);
    solve_group!(criterion, "M", 64, 64, 64, 10);
    solve_group!(criterion, "D", 64, 128, 64, 10);
    solve_group!(criterion, "L", 784, 256, 256, 10);
}

fn header(_: &mut Criterion) {
    let backends: Vec<_> = Backend::available().map(Backend::name).collect();
    println!("backend: {} (of {})", Backend::best().name(), backends.join(", "));
    println!(
        "compiled with: {}",
        [
            ("fma", cfg!(target_feature = "fma")),
            ("avx2", cfg!(target_feature = "avx2")),
            ("avx512f", cfg!(target_feature = "avx512f"))
        ]
        .iter()
        .filter_map(|(name, on)| on.then_some(*name))
        .collect::<Vec<_>>()
        .join(", ")
    );
}

criterion_group!(benches, header, solve);
criterion_main!(benches);
