//! What is counted: a solve of 16 sweeps, and a training step of 16 sweeps and 16 adjoint sweeps, of the networks S, M and
//! D of `benches/speed.rs`, specialized, on the two x86 backends that valgrind knows. Batches of M and D are always the engine's that is
//! compiled once.

use attractor::learn::{CrossEntropy, Method, Objective, Sgd, Trainer};
use attractor::nalgebra::SMatrix;
use attractor::simd::Backend;
use attractor::{State, Stop, fnn};
use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use std::hint::black_box;

const SWEEPS: usize = 16;

type Net<const I: usize, const A: usize, const B: usize, const O: usize> = fnn![I, A, B, O];

/// Work that can be repeated, with all it needs.
type Work = Box<dyn FnMut()>;

fn avx2() -> Backend {
    Backend::avx2().expect("valgrind has AVX2 where the processor has it")
}

/// A network whose weights are small and of no pattern that could matter.
fn network<const I: usize, const A: usize, const B: usize, const O: usize>()
-> attractor::Boxed<Net<I, A, B, O>> {
    let mut net = Net::boxed();
    for (i, w) in net.params_mut().iter_mut().enumerate() {
        *w = 0.05 * (i as f32).sin();
    }
    net
}

/// Work that has been done once: what happens at a first call only is not counted.
fn warm(mut work: impl FnMut() + 'static) -> Work {
    work();
    Box::new(work)
}

fn solving<const I: usize, const A: usize, const B: usize, const O: usize>(backend: Backend) -> Work {
    let net = network::<I, A, B, O>();
    let input = [(); I].map(|()| 0.5);
    let mut state = State::<_, 1>::boxed();
    warm(move || {
        state.reset();
        let on = net.on(backend).specialized();
        let solved = on.solve(black_box(&input), &mut state, Stop::after(SWEEPS));
        black_box(solved.expect("finite"));
    })
}

fn training<const I: usize, const A: usize, const B: usize, const O: usize, const N: usize>(
    backend: Backend,
) -> Work {
    let objective =
        Objective::new(CrossEntropy::new()).solve(Stop::after(SWEEPS)).method(Method::Truncated(SWEEPS));
    let mut trainer: Trainer<_, _, _, N> = Trainer::new(network::<I, A, B, O>(), Sgd::plain(), objective);
    // What others do as well, and no more.
    trainer.hold = None;
    trainer.backend = backend;
    let input = SMatrix::<f32, N, I>::from_element(0.5);
    let labels: [usize; N] = std::array::from_fn(|sample| sample % O);
    warm(move || {
        black_box(trainer.step_specialized(black_box(&input), black_box(&labels)).expect("finite"));
    })
}

#[library_benchmark]
#[bench::s_avx2(solving::<16, 16, 16, 8>(avx2()))]
#[bench::m_avx2(solving::<64, 64, 64, 10>(avx2()))]
#[bench::d_avx2(solving::<64, 128, 64, 10>(avx2()))]
#[bench::s_portable(solving::<16, 16, 16, 8>(Backend::portable()))]
#[bench::m_portable(solving::<64, 64, 64, 10>(Backend::portable()))]
#[bench::d_portable(solving::<64, 128, 64, 10>(Backend::portable()))]
fn solve(mut work: Work) -> Work {
    work();
    work
}

#[library_benchmark]
#[bench::s_avx2(training::<16, 16, 16, 8, 1>(avx2()))]
#[bench::m_avx2(training::<64, 64, 64, 10, 1>(avx2()))]
#[bench::d_avx2(training::<64, 128, 64, 10, 1>(avx2()))]
#[bench::s_portable(training::<16, 16, 16, 8, 1>(Backend::portable()))]
#[bench::m_portable(training::<64, 64, 64, 10, 1>(Backend::portable()))]
#[bench::d_portable(training::<64, 128, 64, 10, 1>(Backend::portable()))]
fn train1(mut work: Work) -> Work {
    work();
    work
}

#[library_benchmark]
#[bench::s_avx2(training::<16, 16, 16, 8, 16>(avx2()))]
#[bench::m_avx2(training::<64, 64, 64, 10, 16>(avx2()))]
#[bench::d_avx2(training::<64, 128, 64, 10, 16>(avx2()))]
#[bench::s_portable(training::<16, 16, 16, 8, 16>(Backend::portable()))]
#[bench::m_portable(training::<64, 64, 64, 10, 16>(Backend::portable()))]
#[bench::d_portable(training::<64, 128, 64, 10, 16>(Backend::portable()))]
fn train16(mut work: Work) -> Work {
    work();
    work
}

library_benchmark_group!(name = counters, benchmarks = [solve, train1, train16]);

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = counters
);
