//! Speed beside what a Rust programmer would otherwise write, and beside what the processor can do.
//!
//! | group | what is timed |
//! |-|-|
//! | `solve/{S,M,D,L}` | one input, 16 sweeps from zero |
//! | `batch16/..`, `batch64/..` | a batch of inputs, 16 sweeps from zero |
//! | `wide/{512x32,1024x32,1024x64}` | so many inputs of layers of that width, whose weights do not stay in a second cache |
//! | `few/{2,3,4,8}` | fewer inputs than a vector has lanes, of M |
//! | `train1/..`, `train64/..` | one step: 16 sweeps, 16 adjoint sweeps, gradient, update |
//! | `quantized/{S,M,D,L}` | `solve`, with weights of 32 bits, of 16, and of 8 with states of 8 |
//! | `product/{64,128,..,4096}` | A B of square matrices; `product-samples/..` a batch times the transpose of weights |
//! | `outer/..` | the sums of a weight gradient, of so many samples, inputs and outputs |
//! | `activation/{tanh,sigmoid}` | 4096 values, with the copy of the arguments |
//! | `dispatch` | one call through the choice of a backend that does nothing |
//!
//! `attractor` is [`specialized`](attractor::Runner::specialized) wherever that can be; `attractor-default` is the engine that is compiled once,
//! and `attractor-run-time` the same with widths chosen when running.
//!
//! `cargo bench` runs all, `cargo bench -- solve/M` one group, and `cargo run --release --example bench_table` makes
//! tables of the results. What is timed is compared with the tests' oracle in `f64` first.

#[path = "../examples/scaling/limits.rs"]
mod limits;
#[path = "../tests/oracle/mod.rs"]
mod oracle;

use attractor::dynamic::{DynNetwork, DynStates};
use attractor::kernel::{
    self, Activation, Base, Factors, Identity, Matrix, MatrixMut, Product, Sigmoid, Start, Tanh, activate,
    multiply, multiply_room,
};
use attractor::learn::{CrossEntropy, Method, Objective, Sgd, Trainer};
use attractor::network::Architecture;
use attractor::quantized::{Bf16Network, Calibration, Quantized};
use attractor::simd::{Backend, Element, Lanes, Operation};
use attractor::{Align64, Boxed, Dense, State, Stop, Threads, fnn};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use limits::{FmaPeak, LoadRoof};
use nalgebra::{DMatrixView, SMatrix, SVector};
use oracle::subject::{oracle as oracle_of, rows};
use oracle::{Target, Way, relative_error};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::cell::LazyCell;
use std::hint::black_box;
use wide::f32x8;

const SWEEPS: usize = 16;

/// A network with two hidden layers and adjacent feedback.
type Net<const I: usize, const A: usize, const B: usize, const O: usize> = fnn![I, A, B, O];

/// The same as nalgebra users would hold it.
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
    fn of(net: &Net<I, A, B, O>) -> Self {
        let (first, second, third) = (net.layer::<1>(), net.layer::<2>(), net.layer::<3>());
        Self {
            w1: first.w,
            u1: first.u,
            b1: first.b,
            w2: second.w,
            u2: second.u,
            b2: second.b,
            w3: third.w,
            b3: third.b,
        }
    }

    /// `W h + U g + b` with nalgebra's own products.
    fn nalgebra(&self, x: &SVector<f32, I>, tanh: impl Fn(&mut [f32])) -> SVector<f32, O> {
        let injection = self.w1 * x + self.b1;
        let mut h1 = SVector::<f32, A>::zeros();
        let mut h2 = SVector::<f32, B>::zeros();
        let mut h3 = SVector::<f32, O>::zeros();
        for _ in 0..SWEEPS {
            h1.copy_from(&injection);
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
        let mut injection = self.b1;
        wide_add(injection.as_mut_slice(), self.w1.as_slice(), x.as_slice());
        let mut h1 = SVector::<f32, A>::zeros();
        let mut h2 = SVector::<f32, B>::zeros();
        let mut h3 = SVector::<f32, O>::zeros();
        for _ in 0..SWEEPS {
            h1.copy_from(&injection);
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

/// Multiply-adds of W^1 x, once an input, and of all other weights, once a sweep.
const fn products<const I: usize, const A: usize, const B: usize, const O: usize>() -> (usize, usize) {
    (I * A, 2 * (A * B + B * O))
}

/// Times what `run` does to `subject`, once `check` has seen what comes of it.
fn time<S>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: &str,
    mut subject: S,
    run: impl Fn(&mut S),
    check: impl Fn(&S),
) {
    let mut checked = false;
    // Called for this id only if the command line asks for it, and then many times.
    group.bench_function(id, |bencher| {
        if !checked {
            run(&mut subject);
            check(&subject);
            checked = true;
        }
        bencher.iter(|| {
            run(&mut subject);
            black_box(&mut subject);
        });
    });
}

/// Times `run`, once `check` has seen what it returns.
fn time_value<R>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: &str,
    mut run: impl FnMut() -> R,
    check: impl Fn(&R),
) {
    let mut checked = false;
    group.bench_function(id, |bencher| {
        if !checked {
            check(&run());
            checked = true;
        }
        bencher.iter(&mut run);
    });
}

/// Times the multiply-adds of a group.
fn time_fma_peak(group: &mut BenchmarkGroup<'_, WallTime>, count: usize) {
    group.bench_function("fma-peak", |bencher| {
        bencher.iter(|| f32::run(Backend::best(), FmaPeak { count: black_box(count) }));
    });
}

/// A network with a batch of inputs; every group draws the same.
struct Case<const I: usize, const A: usize, const B: usize, const O: usize, const N: usize> {
    net: Boxed<Net<I, A, B, O>>,
    input: Box<Align64<SMatrix<f32, N, I>>>,
}

impl<const I: usize, const A: usize, const B: usize, const O: usize, const N: usize> Case<I, A, B, O, N> {
    fn draw() -> Self {
        let mut random = SmallRng::seed_from_u64(7);
        let mut net = Net::boxed();
        net.initialize(&mut random);
        let input = Box::new(Align64(SMatrix::from_fn(|_, _| random.random_range(-1.0..1.0))));
        Self { net, input }
    }

    /// The same in `f64`.
    fn oracle(&self) -> (oracle::Network, Vec<Vec<f64>>) {
        let mut oracle = oracle_of(&**self.net);
        for (to, from) in oracle.params.iter_mut().zip(self.net.params()) {
            *to = f64::from(*from);
        }
        (oracle, rows(self.input.as_slice(), N))
    }

    /// Compares the outputs of all samples, a column a unit, with those of the oracle.
    fn checker(&self) -> impl Fn(&str, &[f32]) {
        let exact = LazyCell::new(|| {
            let (oracle, inputs) = self.oracle();
            let outputs = inputs.iter().filter_map(|x| oracle.unroll(x, SWEEPS).pop()?.pop());
            outputs.collect::<Vec<_>>()
        });
        move |id, found| {
            let found = rows(found, N);
            assert_eq!(found.len(), exact.len());
            for (found, exact) in found.iter().flatten().zip(exact.iter().flatten()) {
                assert!((found - exact).abs() < 1e-5, "{id}: {found} is not {exact}");
            }
        }
    }
}

/// Times the crate's solve of a batch on a backend.
fn time_solve<const I: usize, const A: usize, const B: usize, const O: usize, const N: usize>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: &str,
    backend: Option<Backend>,
    threads: Threads,
    case: &Case<I, A, B, O, N>,
    check: impl Fn(&str, &[f32]),
) {
    let Some(backend) = backend else { return };
    let run = |state: &mut Boxed<State<Net<I, A, B, O>, N>>| {
        state.reset();
        let input = black_box(&**case.input);
        let on = case.net.on(backend).threads(threads).specialized();
        let solved = on.solve(input, state, Stop::after(SWEEPS));
        black_box(solved.expect("finite"));
    };
    time(group, id, State::boxed(), run, |state| check(id, state.output().as_slice()));
}

/// The same widths with dense feedback: the first hidden layer reads the outputs too.
fn time_dense<const I: usize, const A: usize, const B: usize, const O: usize>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    x: &SVector<f32, I>,
) {
    type DenseNet<const I: usize, const A: usize, const B: usize, const O: usize> =
        fnn![I, A, B, O; feedback = Dense];
    let mut net = DenseNet::<I, A, B, O>::boxed();
    net.initialize(&mut SmallRng::seed_from_u64(7));
    let exact = LazyCell::new(|| {
        let mut oracle = oracle_of(&**net);
        for (to, from) in oracle.params.iter_mut().zip(net.params()) {
            *to = f64::from(*from);
        }
        let x: Vec<f64> = x.iter().copied().map(f64::from).collect();
        oracle.unroll(&x, SWEEPS).pop().and_then(|mut states| states.pop()).unwrap_or_default()
    });
    let mut state = Align64(State::<DenseNet<I, A, B, O>>::ZERO);
    let run = || {
        state.reset();
        let solved = net.on(Backend::best()).specialized().solve(
            black_box(&x.data.0[0]),
            &mut state,
            Stop::after(SWEEPS),
        );
        black_box(solved.expect("finite"));
        *state.output()
    };
    time_value(group, "attractor-dense", run, |output| {
        assert_eq!(output.len(), exact.len());
        for (found, exact) in output.iter().zip(exact.iter()) {
            assert!((f64::from(*found) - exact).abs() < 1e-5, "dense: {found} is not {exact}");
        }
    });
}

fn solve_net<const I: usize, const A: usize, const B: usize, const O: usize>(
    criterion: &mut Criterion,
    name: &str,
) {
    let case = Case::<I, A, B, O, 1>::draw();
    let check = case.checker();
    let plain = Box::new(Align64(Plain::of(&case.net)));
    let x = Align64(case.input.transpose());
    let mut group = criterion.benchmark_group(name);
    let backends = [("attractor", Some(Backend::best())), ("attractor-avx2", Backend::avx2())]
        .into_iter()
        .chain([("attractor-portable", Some(Backend::portable()))]);
    for (id, backend) in backends {
        let Some(backend) = backend else { continue };
        let mut state = Align64(State::<Net<I, A, B, O>>::ZERO);
        let run = || {
            state.reset();
            let solved = case.net.on(backend).specialized().solve(
                black_box(&x.data.0[0]),
                &mut state,
                Stop::after(SWEEPS),
            );
            black_box(solved.expect("finite"));
            *state.output()
        };
        time_value(&mut group, id, run, |output| check(id, output.as_slice()));
    }
    let mut state = Align64(State::<Net<I, A, B, O>>::ZERO);
    let run = || {
        state.reset();
        let solved = case.net.solve(black_box(&x.data.0[0]), &mut state, Stop::after(SWEEPS));
        black_box(solved.expect("finite"));
        *state.output()
    };
    time_value(&mut group, "attractor-default", run, |output| check("attractor-default", output.as_slice()));
    // The same with widths that are chosen when running.
    let mut net = DynNetwork::<f32>::zeros(Net::<I, A, B, O>::SHAPE).expect("of this scalar");
    net.params_mut().copy_from_slice(case.net.params());
    let mut states = DynStates::zeros(&net, 1);
    let inputs = DMatrixView::from_slice(&x.data.0[0], 1, I);
    let run = || {
        states.reset();
        let solved = net.solve(black_box(&inputs), &mut states, Stop::after(SWEEPS));
        black_box(solved.expect("finite"));
        SVector::<f32, O>::from_fn(|output, _| states.output()[(0, output)])
    };
    time_value(&mut group, "attractor-run-time", run, |output| {
        check("attractor-run-time", output.as_slice())
    });
    time_dense::<I, A, B, O>(&mut group, &x);
    // Each as it stands: through a pointer to a function they take up to a third longer.
    macro_rules! peer {
        ($id:literal, $run:expr) => {
            time_value(&mut group, $id, || $run, |output| check($id, output.as_slice()));
        };
    }
    peer!("nalgebra", plain.nalgebra(black_box(&x), libm_tanh));
    peer!("nalgebra-fast", plain.nalgebra(black_box(&x), our_tanh));
    peer!("wide", plain.wide(black_box(&x)));
    let (once, each_sweep) = case.net.params().split_at(I * A);
    group.bench_function("load-roof", |bencher| {
        bencher.iter(|| {
            f32::run(Backend::best(), LoadRoof { once: black_box(once), each_sweep, sweeps: SWEEPS })
        });
    });
    group.finish();
}

/// The same solve with weights of 32, 16 and 8 bits. What rounding the weights changes is allowed for, by what the oracle finds for the rounded
/// ones.
fn quantized_net<const I: usize, const A: usize, const B: usize, const O: usize>(
    criterion: &mut Criterion,
    name: &str,
) {
    let case = Case::<I, A, B, O, 1>::draw();
    let (mut exact, inputs) = case.oracle();
    let x = Align64(case.input.transpose());
    let mut state = Align64(State::<Net<I, A, B, O>>::ZERO);
    let solve = |state: &mut State<Net<I, A, B, O>>| {
        state.reset();
        let on = case.net.on(Backend::best()).specialized();
        let solved = on.solve(black_box(&x.data.0[0]), state, Stop::after(SWEEPS));
        black_box(solved.expect("finite"));
        *state.output()
    };
    let near = |id: &str, found: &[f32], oracle: &oracle::Network, bound: f64| {
        let exact = oracle.unroll(&inputs[0], SWEEPS).pop().and_then(|mut states| states.pop());
        for (found, exact) in found.iter().zip(&exact.expect("there are sweeps")) {
            assert!((f64::from(*found) - exact).abs() < bound, "{id}: {found} is not {exact}");
        }
    };
    let mut calibration = Box::new(Calibration::ZERO);
    solve(&mut state);
    calibration.observe(&case.input.data.0.map(|[x]| x), &state).expect("finite");

    let mut group = criterion.benchmark_group(name);
    time_value(
        &mut group,
        "f32",
        || solve(&mut state),
        |output| near("f32", output.as_slice(), &exact, 1e-5),
    );

    let mut half = Box::new(Align64(Bf16Network::ZERO));
    half.fill(&case.net).expect("finite");
    let mut rounded = Net::<I, A, B, O>::boxed();
    let mut seen = |rounded: &Net<I, A, B, O>| {
        for (to, from) in exact.params.iter_mut().zip(rounded.params()) {
            *to = f64::from(*from);
        }
        exact.clone()
    };
    half.to_network(&mut rounded);
    let oracle = seen(&rounded);
    let run = || {
        state.reset();
        let solved = half.solve(black_box(&x.data.0[0]), &mut state, Stop::after(SWEEPS));
        black_box(solved.expect("finite"));
        *state.output()
    };
    time_value(&mut group, "bf16", run, |output| near("bf16", output.as_slice(), &oracle, 1e-5));

    let mut small = Box::new(Align64(Quantized::<_, i8>::ZERO));
    small.fill(&case.net, &calibration).expect("moderate weights");
    small.to_network(&mut rounded);
    let oracle = seen(&rounded);
    let input = Align64(small.input(&x.data.0[0]).expect("finite"));
    let mut integers = Align64(Quantized::<Net<I, A, B, O>, i8>::state());
    let run = || {
        integers.reset();
        black_box(small.on(Backend::best()).sweep(black_box(&input), &mut integers, SWEEPS));
        core::array::from_fn::<_, O, _>(|i| f32::from(integers.output()[i]) * small.output_unit())
    };
    time_value(&mut group, "int8", run, |output| near("int8", output, &oracle, 0.1));
    group.finish();
}

/// outputs += inputs M^T, a row a sample, all column-major.
fn multiply_add(samples: usize, inputs: &[f32], matrix: &[f32], outputs: &mut [f32]) {
    let (columns, rows) = (inputs.len() / samples, outputs.len() / samples);
    assert_eq!(matrix.len(), rows * columns);
    let [samples_stride, rows_stride] = [samples, rows].map(|stride| stride as isize);
    // SAFETY: the three matrices have these shapes and strides, and the outputs are borrowed mutably.
    unsafe {
        matrixmultiply::sgemm(
            samples,
            columns,
            rows,
            1.0,
            inputs.as_ptr(),
            1,
            samples_stride,
            matrix.as_ptr(),
            rows_stride,
            1,
            1.0,
            outputs.as_mut_ptr(),
            1,
            samples_stride,
        );
    }
}

/// Gives every sample the bias.
fn spread(samples: usize, bias: &[f32], outputs: &mut [f32]) {
    for (column, b) in outputs.chunks_exact_mut(samples).zip(bias) {
        column.fill(*b);
    }
}

/// The memory of a solve by [`multiply_add`].
struct Multiplied<N: Architecture<Scalar = f32>, const SAMPLES: usize> {
    injection: Vec<f32>,
    state: Boxed<State<N, SAMPLES>>,
}

/// A solve with a product of matrices for every block of weights.
fn solve_multiplied<const I: usize, const A: usize, const B: usize, const O: usize, const N: usize>(
    net: &Net<I, A, B, O>,
    input: &SMatrix<f32, N, I>,
    memory: &mut Multiplied<Net<I, A, B, O>, N>,
) {
    let (first, second, third) = (net.layer::<1>(), net.layer::<2>(), net.layer::<3>());
    let Multiplied { injection, state } = memory;
    spread(N, first.b.as_slice(), injection);
    multiply_add(N, input.as_slice(), first.w.as_slice(), injection);
    state.reset();
    let (h1, above) = state.as_mut_slice().split_at_mut(N * A);
    let (h2, h3) = above.split_at_mut(N * B);
    for _ in 0..SWEEPS {
        h1.copy_from_slice(injection);
        multiply_add(N, h2, first.u.as_slice(), h1);
        our_tanh(h1);
        spread(N, second.b.as_slice(), h2);
        multiply_add(N, h1, second.w.as_slice(), h2);
        multiply_add(N, h3, second.u.as_slice(), h2);
        our_tanh(h2);
        spread(N, third.b.as_slice(), h3);
        multiply_add(N, h2, third.w.as_slice(), h3);
    }
}

fn batch_net<const I: usize, const A: usize, const B: usize, const O: usize, const N: usize>(
    criterion: &mut Criterion,
    name: &str,
) {
    let case = Case::<I, A, B, O, N>::draw();
    let check = case.checker();
    let (once, each_sweep) = products::<I, A, B, O>();
    let count = N * (once + SWEEPS * each_sweep);
    let mut group = criterion.benchmark_group(name);
    // An element is one floating-point operation, half a multiply-add; Gelem/s are GFLOP/s.
    group.throughput(Throughput::Elements(2 * count as u64));
    time_solve(&mut group, "attractor", Some(Backend::best()), Threads::One, &case, &check);
    time_solve(&mut group, "attractor-avx2", Backend::avx2(), Threads::One, &case, &check);
    let run = |state: &mut Boxed<State<Net<I, A, B, O>, N>>| {
        state.reset();
        let solved = case.net.solve(black_box(&**case.input), state, Stop::after(SWEEPS));
        black_box(solved.expect("finite"));
    };
    time(&mut group, "attractor-default", State::boxed(), run, |state| {
        check("attractor-default", state.output().as_slice());
    });
    // One chunk of samples is not shared out.
    if N > 32 {
        time_solve(&mut group, "attractor-rayon", Some(Backend::best()), Threads::Rayon, &case, &check);
    }
    let memory = Multiplied { injection: vec![0.0; N * A], state: State::boxed() };
    let run = |memory: &mut _| solve_multiplied(&case.net, black_box(&**case.input), memory);
    time(&mut group, "matrixmultiply", memory, run, |memory| {
        check("matrixmultiply", memory.state.output().as_slice());
    });
    time_fma_peak(&mut group, count);
    group.finish();
}

/// Batches of M that do not fill a vector.
fn few(criterion: &mut Criterion) {
    fn time_few<const N: usize>(criterion: &mut Criterion) {
        let case = Case::<64, 64, 64, 10, N>::draw();
        let check = case.checker();
        let mut group = criterion.benchmark_group(format!("few/{N}"));
        time_solve(&mut group, "attractor", Some(Backend::best()), Threads::One, &case, &check);
        time_solve(&mut group, "attractor-avx2", Backend::avx2(), Threads::One, &case, &check);
        time_solve(&mut group, "attractor-portable", Some(Backend::portable()), Threads::One, &case, &check);
        group.finish();
    }
    time_few::<2>(criterion);
    time_few::<3>(criterion);
    time_few::<4>(criterion);
    time_few::<8>(criterion);
}

fn train_net<const I: usize, const A: usize, const B: usize, const O: usize, const N: usize>(
    criterion: &mut Criterion,
    name: &str,
) {
    let case = Case::<I, A, B, O, N>::draw();
    let (oracle, inputs) = case.oracle();
    let input = case.input;
    let labels: [usize; N] = std::array::from_fn(|sample| sample % O);
    let (once, each_sweep) = products::<I, A, B, O>();
    // Forward, adjoint, and every weight's own product.
    let count = N * (once + SWEEPS * each_sweep + SWEEPS * each_sweep + once + each_sweep);
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(2 * count as u64));
    for (id, threads) in [("attractor", Threads::One), ("attractor-rayon", Threads::Rayon)] {
        // One chunk of samples is not shared out.
        if threads != Threads::One && N <= 32 {
            continue;
        }
        let mut net: Boxed<Net<I, A, B, O>> = Net::boxed();
        net.params_mut().copy_from_slice(case.net.params());
        let objective =
            Objective::new(CrossEntropy::new()).solve(Stop::after(SWEEPS)).method(Method::Truncated(SWEEPS));
        let mut trainer: Trainer<_, _, _, N> = Trainer::new(net, Sgd::plain(), objective);
        // What others do as well, and no more.
        trainer.hold = None;
        // The update is made and changes nothing, so that every step is the same.
        trainer.rate = 0.0;
        trainer.threads = threads;
        let run = |trainer: &mut Trainer<_, _, _, N>| {
            black_box(trainer.step_specialized(black_box(&**input), black_box(&labels)).expect("finite"));
        };
        time(&mut group, id, trainer, run, |trainer| {
            let targets = labels.map(|label| Target::Label { label, smoothing: 0.0 });
            let exact = oracle.gradient(&inputs, &targets, Way::Truncated(SWEEPS));
            let found: Vec<f64> = trainer.gradient().params().iter().copied().map(f64::from).collect();
            let error = relative_error(&found, &exact.params);
            assert!(error < 1e-5, "{name}: the gradient is off by {error:e}");
        });
    }
    time_fma_peak(&mut group, count);
    group.finish();
}

/// Runs a function of the widths of all four networks.
macro_rules! each_net {
    ($run:ident, $criterion:expr, $group:literal $(, $samples:literal)?) => {
        $run::<16, 16, 16, 8 $(, $samples)?>($criterion, concat!($group, "/S"));
        $run::<64, 64, 64, 10 $(, $samples)?>($criterion, concat!($group, "/M"));
        $run::<64, 128, 64, 10 $(, $samples)?>($criterion, concat!($group, "/D"));
        $run::<784, 256, 256, 10 $(, $samples)?>($criterion, concat!($group, "/L"));
    };
}

fn solve(criterion: &mut Criterion) {
    each_net!(solve_net, criterion, "solve");
}

fn quantized(criterion: &mut Criterion) {
    each_net!(quantized_net, criterion, "quantized");
}

fn batch16(criterion: &mut Criterion) {
    each_net!(batch_net, criterion, "batch16", 16);
}

/// Weights that stay in no second cache.
fn wide(criterion: &mut Criterion) {
    batch_net::<512, 512, 512, 512, 32>(criterion, "wide/512x32");
    batch_net::<1024, 1024, 1024, 1024, 32>(criterion, "wide/1024x32");
    batch_net::<1024, 1024, 1024, 1024, 64>(criterion, "wide/1024x64");
}

fn batch64(criterion: &mut Criterion) {
    each_net!(batch_net, criterion, "batch64", 64);
}

fn train1(criterion: &mut Criterion) {
    each_net!(train_net, criterion, "train1", 1);
}

fn train64(criterion: &mut Criterion) {
    each_net!(train_net, criterion, "train64", 64);
}

/// A product of dense matrices beside other crates' and the multiply-adds it is made of: `rows x inner` times `inner x columns`, whose
/// transpose is what is there if `turned`.
fn product_of(criterion: &mut Criterion, name: &str, [rows, inner, columns]: [usize; 3], turned: bool) {
    let mut random = SmallRng::seed_from_u64(7);
    let mut draw = |count| -> Vec<f32> { (0..count).map(|_| random.random_range(-1.0..1.0)).collect() };
    let (a, b) = (draw(rows * inner), draw(inner * columns));
    let b_strides = if turned { (1, columns) } else { (inner, 1) };
    let exact = |row: usize, column: usize| -> f64 {
        let b = |k: usize| f64::from(b[column * b_strides.0 + k * b_strides.1]);
        (0..inner).map(|k| f64::from(a[k * rows + row]) * b(k)).sum()
    };
    let check = |found: &Vec<f32>| {
        for at in (0..rows * columns).step_by(1 + rows * columns / 1000) {
            let exact = exact(at % rows, at / rows);
            assert!(
                (f64::from(found[at]) - exact).abs() < 1e-4 * inner as f64,
                "{} is not {exact}",
                found[at]
            );
        }
    };
    let left = Matrix::new(&a, rows, inner).expect("of this shape");
    let (height, width) = if turned { (columns, inner) } else { (inner, columns) };
    let right = Matrix::new(&b, height, width).expect("of this shape");
    let factors = if turned { Factors::TransposedRight(left, right) } else { Factors::Plain(left, right) };
    let count = rows * inner * columns;
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(2 * count as u64));
    // What takes seconds is done a few times, and only as it should be.
    let long = count > 1 << 33;
    if long {
        group.sample_size(10);
    }
    let backends = [("", Some(Backend::best())), ("-avx2", Backend::avx2())];
    for (id, backend) in backends.into_iter().chain([("-portable", Some(Backend::portable()))]) {
        let Some(backend) = backend else { continue };
        if long && id == "-portable" {
            continue;
        }
        for (with, length) in [("", multiply_room(rows, inner, columns)), ("-no-room", 0)] {
            if long && length == 0 {
                continue;
            }
            let run = |(room, out): &mut (Vec<f32>, Vec<f32>)| {
                let out = MatrixMut::new(out, rows, columns).expect("of this shape");
                let done = multiply::<_, Identity>(backend, black_box(factors), 1.0, Start::Zero, room, out);
                done.expect("shapes fit");
            };
            let memory = (vec![0.0; length], vec![0.0; rows * columns]);
            time(&mut group, &format!("attractor{id}{with}"), memory, run, |(_, out)| check(out));
        }
        if long {
            continue;
        }
        let run = |out: &mut Vec<f32>| {
            let out = MatrixMut::new(out, rows, columns).expect("of this shape");
            let products = [Product { matrix: right, operand: left }];
            let done = if turned {
                kernel::affine(backend, Base::Zero, black_box(&products), out)
            } else {
                kernel::transposed(backend, Base::Zero, black_box(&products), out).map(|_| ())
            };
            done.expect("shapes fit");
        };
        time(&mut group, &format!("layer{id}"), vec![0.0; rows * columns], run, check);
    }
    let strides = [rows, b_strides.0, b_strides.1].map(|stride| stride as isize);
    let run = |out: &mut Vec<f32>| {
        let (a, b, out) = (black_box(&a).as_ptr(), b.as_ptr(), out.as_mut_ptr());
        let [rows_stride, across, along] = strides;
        // SAFETY: the three matrices have these shapes and strides, and the output is borrowed mutably.
        unsafe {
            matrixmultiply::sgemm(
                rows,
                inner,
                columns,
                1.0,
                a,
                1,
                rows_stride,
                b,
                along,
                across,
                0.0,
                out,
                1,
                rows_stride,
            );
        }
    };
    time(&mut group, "matrixmultiply", vec![0.0; rows * columns], run, check);
    #[cfg(attractor_peers)]
    {
        let run = |out: &mut Vec<f32>| {
            let (a, b, out) = (black_box(&a).as_ptr(), b.as_ptr(), out.as_mut_ptr());
            let [rows_stride, across, along] = strides;
            // SAFETY: as above.
            unsafe {
                gemm::gemm(
                    rows,
                    columns,
                    inner,
                    out,
                    rows_stride,
                    1,
                    false,
                    a,
                    rows_stride,
                    1,
                    b,
                    across,
                    along,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    gemm::Parallelism::None,
                );
            }
        };
        time(&mut group, "gemm", vec![0.0; rows * columns], run, check);
    }
    time_fma_peak(&mut group, count);
    group.finish();
}

fn product(criterion: &mut Criterion) {
    for size in [64, 128, 256, 512, 1024, 2048, 4096] {
        product_of(criterion, &format!("product/{size}"), [size; 3], false);
    }
    for shape @ [samples, inputs, outputs] in
        [[16, 64, 64], [16, 256, 256], [64, 64, 64], [64, 64, 10], [64, 256, 256], [64, 784, 256]]
    {
        let name = format!("product-samples/{samples}x{inputs}x{outputs}");
        product_of(criterion, &name, shape, true);
    }
}

fn outer(criterion: &mut Criterion) {
    for [samples, inputs, outputs] in [[32, 16, 16], [64, 64, 64], [64, 784, 256]] {
        let mut rng = SmallRng::seed_from_u64(9);
        let mut draw = |count: usize| (0..count).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>();
        let (deltas, x) = (draw(samples * outputs), draw(samples * inputs));
        let mut group = criterion.benchmark_group(format!("outer/{samples}x{inputs}x{outputs}"));
        let count = samples * inputs * outputs;
        group.throughput(Throughput::Elements(2 * count as u64));
        let backends = [("", Some(Backend::best())), ("-avx2", Backend::avx2())];
        for (id, backend) in backends.into_iter().chain([("-portable", Some(Backend::portable()))]) {
            let Some(backend) = backend else { continue };
            let run = |gradient: &mut Vec<f32>| {
                let deltas = Matrix::new(black_box(&deltas), samples, outputs).expect("of this shape");
                let inputs_of = Matrix::new(&x, samples, inputs).expect("of this shape");
                let out = MatrixMut::new(gradient, outputs, inputs).expect("of this shape");
                kernel::outer(backend, deltas, inputs_of, out).expect("shapes fit");
            };
            let check = |gradient: &Vec<f32>| {
                for at in (0..inputs * outputs).step_by(7) {
                    let (row, column) = (at % outputs, at / outputs);
                    let both = |s| (deltas[row * samples + s], x[column * samples + s]);
                    let exact: f64 = (0..samples).map(both).map(|(d, x)| f64::from(d) * f64::from(x)).sum();
                    assert!(
                        (f64::from(gradient[at]) - exact).abs() < 1e-4,
                        "{} is not {exact}",
                        gradient[at]
                    );
                }
            };
            time(&mut group, &format!("attractor{id}"), vec![0.0; inputs * outputs], run, check);
        }
        time_fma_peak(&mut group, count);
        group.finish();
    }
}

/// The crate's activation `F` beside others of the same meaning.
fn activation_of<F: Activation>(
    criterion: &mut Criterion,
    exact: fn(f64) -> f64,
    libm: impl Fn(f32) -> f32,
    wide: impl Fn(f32x8) -> f32x8,
) {
    const VALUES: usize = 4096;
    let mut random = SmallRng::seed_from_u64(7);
    let arguments = Align64([(); VALUES].map(|()| random.random_range(-6.0_f32..6.0)));
    let mut group = criterion.benchmark_group(format!("activation/{}", F::NAME));
    group.throughput(Throughput::Elements(VALUES as u64));
    let mut peer = |id: &str, apply: &dyn Fn(&mut [f32; VALUES])| {
        let run = |values: &mut Align64<[f32; VALUES]>| {
            *values = arguments;
            apply(values);
        };
        time(&mut group, id, Align64([0.0; VALUES]), run, |values| {
            for (x, found) in arguments.iter().zip(values.iter()) {
                let exact = exact(f64::from(*x));
                assert!((f64::from(*found) - exact).abs() < 1e-6, "{id}: {found} is not {exact}");
            }
        });
    };
    peer("attractor", &|values| activate::<f32, F>(Backend::best(), values));
    peer("attractor-portable", &|values| activate::<f32, F>(Backend::portable(), values));
    peer("libm", &|values| values.iter_mut().for_each(|value| *value = libm(*value)));
    peer("wide", &|values| {
        for chunk in values.as_chunks_mut::<8>().0 {
            *chunk = wide(f32x8::new(*chunk)).to_array();
        }
    });
    group.finish();
}

fn activation(criterion: &mut Criterion) {
    activation_of::<Tanh>(criterion, f64::tanh, libm::tanhf, f32x8::tanh);
    activation_of::<Sigmoid>(
        criterion,
        |x| 1.0 / (1.0 + (-x).exp()),
        |x| 1.0 / (1.0 + libm::expf(-x)),
        |x| f32x8::ONE / (f32x8::ONE + (-x).exp()),
    );
}

/// Does nothing that could be left out.
struct Empty(u32);

impl Operation<f32> for Empty {
    type Output = u32;

    #[inline(always)]
    fn run<L: Lanes<f32>>(self, _: L) -> u32 {
        black_box(self.0)
    }
}

fn dispatched(value: u32) -> u32 {
    f32::run(Backend::best(), Empty(value))
}

#[inline(never)]
fn plain_call(value: u32) -> u32 {
    black_box(value)
}

fn dispatch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dispatch");
    assert_eq!((dispatched(7), plain_call(7)), (7, 7));
    // Nothing passes from one call to the next: waiting for it would hide what a call costs.
    group.bench_function("dispatched", |bencher| bencher.iter(|| dispatched(black_box(7))));
    group.bench_function("plain call", |bencher| bencher.iter(|| plain_call(black_box(7))));
    group.finish();
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

criterion_group!(
    benches, header, solve, quantized, batch16, batch64, wide, few, train1, train64, product, outer,
    activation, dispatch
);
criterion_main!(benches);
