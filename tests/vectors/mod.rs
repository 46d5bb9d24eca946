//! The numbers that every target must give bit for bit on the portable backend: small networks, their weights and inputs
//! made by integer arithmetic alone.
//!
//! No `std`, no allocation and little stack, so that programs for other targets can include this file by `#[path]`; they need
//! the crate without its options. `tests/vectors.rs` compares with `tests/data/vectors.txt`, and so can they: a line for
//! every number in the order of the calls, its name, a space, and its bits in hexadecimal digits without leading zeros.

use attractor::kernel::{self, HardTanh, LeakyRelu, Relu, Scalar, Sigmoid, Tanh};
use attractor::learn::{
    CrossEntropy, GradientReport, LearnError, MeanSquared, Method, Objective, UnrolledTape,
};
use attractor::nalgebra::SMatrix;
use attractor::quantized::{Calibration, Quantized};
use attractor::simd::{Backend, Element, IntState};
use attractor::{Dense, Injection, SolveError, Solved, Stop, Workspace, fnn};

/// What a call came to: the first number under the name of a solve or a gradient.
pub(crate) const FINE: u64 = 0;
/// A NaN or an infinity was found.
pub(crate) const NOT_FINITE: u64 = 1;
/// The limit of sweeps was reached.
pub(crate) const NOT_CONVERGED: u64 = 2;
/// Anything else.
pub(crate) const OTHER: u64 = 3;

/// Calls `each` with the name and the bits of every number. Numbers that belong together have one name.
#[allow(dead_code, reason = "programs with little flash take the parts one by one")]
pub(crate) fn vectors(backend: Backend, each: &mut dyn FnMut(&str, u64)) {
    part::<0>(backend, each);
    part::<1>(backend, each);
    part::<2>(backend, each);
    part::<3>(backend, each);
    part::<4>(backend, each);
}

/// One of five parts, each small enough for 256 KiB of flash.
pub(crate) fn part<const PART: usize>(backend: Backend, each: &mut dyn FnMut(&str, u64)) {
    match PART {
        0 => {
            single_functions(backend, each);
            double_functions(backend, each);
            adjacent_one::run(backend, each);
            tall_one::run(backend, each);
        }
        1 => tall_batch::run(backend, each),
        2 => {
            dense_one::run(backend, each);
            dense_batch::run(backend, each);
        }
        3 => {
            double_one::run(backend, each);
            double_batch::run(backend, each);
        }
        _ => {
            rounded::<i8>(backend, each, "integers_8");
            rounded::<i16>(backend, each, "integers_16");
        }
    }
}

/// A network rounded to integers, and what these come to. Rounding is in `f32`; after that there are no others than integers, and every
/// backend has the same.
#[inline(never)]
fn rounded<H: IntState>(backend: Backend, each: &mut dyn FnMut(&str, u64), name: &str) {
    // Groups of four columns and what is left over, of rows that fill blocks and rows that do not.
    type Net = fnn![9, 22, 13, 6; feedback = Dense];
    let (mut net, mut random) = (Net::ZERO, Random(12));
    random.fill(net.params_mut());
    let (mut state, mut input) = (Net::state::<1>(), [0.0; 9]);
    random.fill(state.as_mut_slice());
    // So that outputs have room.
    state.as_mut_slice().iter_mut().for_each(|h| *h *= 8.0);
    random.fill(&mut input);
    let mut calibration = Calibration::<Net>::ZERO;
    let observed = calibration.observe(&input, &state);
    each(name, if observed.is_ok() { FINE } else { NOT_FINITE });
    let Ok(small) = Quantized::<Net, H>::new(&net, &calibration) else { return each(name, OTHER) };
    each(name, if small.check() == Ok(()) { FINE } else { OTHER });
    let Ok(input) = small.input(&input) else { return each(name, OTHER) };
    let mut integers = Quantized::<Net, H>::state();
    for sweeps in [1, 2, 5] {
        let swept = small.on(backend).sweep(&input, &mut integers, sweeps);
        each(name, swept.residual as u64);
        for h in integers.as_slice() {
            let h: i32 = (*h).into();
            each(name, u64::from(h as u32));
        }
    }
}

trait Bits: Element {
    fn bits(self) -> u64;
}

impl Bits for f32 {
    fn bits(self) -> u64 {
        u64::from(self.to_bits())
    }
}

impl Bits for f64 {
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

/// Marsaglia's xorshift.
struct Random(u32);

impl Random {
    /// Multiples of 2^-16 from -0.5 to below 0.5, which every scalar holds exactly.
    fn fill<T: Element>(&mut self, values: &mut [T]) {
        for value in values {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 17;
            self.0 ^= self.0 << 5;
            *value = T::from_f64(f64::from((self.0 >> 16) as i16) / 65536.0);
        }
    }
}

fn numbers<T: Bits>(each: &mut dyn FnMut(&str, u64), name: &str, values: &[T]) {
    for value in values {
        each(name, value.bits());
    }
}

fn failure<T>(error: &SolveError<T>) -> u64 {
    match error {
        SolveError::NotFinite(_) => NOT_FINITE,
        SolveError::NotConverged { .. } => NOT_CONVERGED,
        _ => OTHER,
    }
}

fn solved<T: Bits>(each: &mut dyn FnMut(&str, u64), name: &str, result: Result<Solved<T>, SolveError<T>>) {
    match result {
        Ok(Solved { sweeps, residual }) => {
            for number in [FINE, sweeps as u64, residual.bits()] {
                each(name, number);
            }
        }
        Err(error) => each(name, failure(&error)),
    }
}

fn learned<T: Bits>(
    each: &mut dyn FnMut(&str, u64),
    name: &str,
    result: Result<GradientReport<T>, LearnError<T>>,
) {
    match result {
        Ok(GradientReport { loss, solve, adjoint }) => {
            for number in [
                FINE,
                loss.bits(),
                solve.sweeps as u64,
                solve.residual.bits(),
                adjoint.sweeps as u64,
                adjoint.residual.bits(),
            ] {
                each(name, number);
            }
        }
        Err(LearnError::Solve(error) | LearnError::Adjoint(error)) => each(name, failure(&error)),
        Err(LearnError::NotFinite(_)) => each(name, NOT_FINITE),
        Err(_) => each(name, OTHER),
    }
}

/// Activations and the exponential: whole vectors and a tail, all segments of the table of tanh, and what targets that
/// flush subnormal numbers would get wrong.
macro_rules! functions {
    ($function:ident, $prefix:literal, $scalar:ident) => {
        // A frame of its own, so that the stack is not that of all functions together.
        #[inline(never)]
        fn $function(backend: Backend, each: &mut dyn FnMut(&str, u64)) {
            const VALUES: [$scalar; 23] = [
                0.0,
                -0.0,
                0.03125,
                -0.25,
                0.375,
                -0.5,
                0.75,
                -1.0,
                1.25,
                -1.75,
                2.5,
                -3.0,
                4.5,
                -6.0,
                8.75,
                -9.5,
                30.0,
                -87.5,
                $scalar::MAX,
                $scalar::NEG_INFINITY,
                $scalar::MIN_POSITIVE,
                -$scalar::MIN_POSITIVE / 4.0,
                $scalar::from_bits(1),
            ];
            let mut values = VALUES;
            kernel::activate::<$scalar, Tanh>(backend, &mut values);
            numbers(each, concat!($prefix, ".tanh"), &values);
            values = VALUES;
            kernel::activate::<$scalar, Sigmoid>(backend, &mut values);
            numbers(each, concat!($prefix, ".sigmoid"), &values);
            values = VALUES;
            kernel::activate::<$scalar, Relu>(backend, &mut values);
            numbers(each, concat!($prefix, ".relu"), &values);
            values = VALUES;
            kernel::activate::<$scalar, HardTanh>(backend, &mut values);
            numbers(each, concat!($prefix, ".hard_tanh"), &values);
            values = VALUES;
            kernel::activate::<$scalar, LeakyRelu>(backend, &mut values);
            numbers(each, concat!($prefix, ".leaky_relu"), &values);
            // Defined for what is not positive.
            values = VALUES.map(|x| if x > 0.0 { -x } else { x });
            kernel::exp(backend, &mut values);
            numbers(each, concat!($prefix, ".exp"), &values);
        }
    };
}

functions!(single_functions, "single", f32);
functions!(double_functions, "double", f64);

/// All that one type of network is asked at one batch size, in a module of its own.
macro_rules! network {
    (
        $name:ident, $net:ty, $scalar:ty, [$inputs:literal, $batch:literal], seed $seed:literal,
        $loss:expr, $target:expr
    ) => {
        mod $name {
            use super::*;

            type Net = $net;
            const B: usize = $batch;
            type Input = SMatrix<$scalar, B, $inputs>;

            struct Given {
                net: Net,
                input: Input,
            }

            fn given() -> Given {
                let (mut net, mut input) = (Net::ZERO, Input::zeros());
                let mut random = Random($seed);
                random.fill(net.params_mut());
                random.fill(input.as_mut_slice());
                Given { net, input }
            }

            pub(super) fn run(backend: Backend, each: &mut dyn FnMut(&str, u64)) {
                sweeps(backend, each);
                solve(backend, each);
                gradient(backend, each);
                unrolled(backend, each);
                errors(backend, each);
            }

            // Frames of their own, so that the stack is not that of all of them together.
            #[inline(never)]
            fn sweeps(backend: Backend, each: &mut dyn FnMut(&str, u64)) {
                const NAME: &str = concat!(stringify!($name), ".sweep");
                let Given { net, input } = given();
                let on = net.on(backend);
                let (mut injection, mut state) = (Injection::<Net, B>::ZERO, Net::state::<B>());
                let driven = on.inject(&input, &mut injection);
                each(NAME, driven.as_ref().map_or_else(failure, |()| FINE));
                for sweeps in 1..=3 {
                    let residual = on.sweep(&injection, &mut state);
                    solved(each, NAME, residual.map(|residual| Solved { sweeps, residual }));
                }
                numbers(each, concat!(stringify!($name), ".sweep.state"), state.as_slice());
            }

            #[inline(never)]
            fn solve(backend: Backend, each: &mut dyn FnMut(&str, u64)) {
                let Given { net, input } = given();
                let mut state = Net::state::<B>();
                let result = net.on(backend).solve(&input, &mut state, Stop::residual(1e-5));
                solved(each, concat!(stringify!($name), ".solve"), result);
                numbers(each, concat!(stringify!($name), ".solve.state"), state.as_slice());
            }

            #[inline(never)]
            fn gradient(backend: Backend, each: &mut dyn FnMut(&str, u64)) {
                let Given { net, input } = given();
                let target = $target;
                let (mut workspace, mut gradient) = (Workspace::<Net, B>::ZERO, Net::ZERO);
                let objective = Objective::new($loss);
                let on = net.on(backend);
                let result = on.gradient(&objective, &input, &target, &mut workspace, &mut gradient);
                learned(each, concat!(stringify!($name), ".gradient"), result);
                numbers(each, concat!(stringify!($name), ".gradient.params"), gradient.params());
                // Warm, by another rule.
                let Workspace { state, adjoint, output } = &mut workspace;
                let result = on.adjoint(Method::Truncated(2), state, output, adjoint);
                solved(each, concat!(stringify!($name), ".adjoint"), result);
                numbers(each, concat!(stringify!($name), ".adjoint.deltas"), adjoint.as_slice());
            }

            #[inline(never)]
            fn unrolled(backend: Backend, each: &mut dyn FnMut(&str, u64)) {
                let Given { net, input } = given();
                let target = $target;
                let (mut workspace, mut gradient) = (Workspace::<Net, B>::ZERO, Net::ZERO);
                let mut tape = UnrolledTape::<Net, B, 3>::ZERO;
                let on = net.on(backend);
                let result =
                    on.gradient_unrolled(&$loss, &input, &target, &mut tape, &mut workspace, &mut gradient);
                learned(each, concat!(stringify!($name), ".unrolled"), result);
                numbers(each, concat!(stringify!($name), ".unrolled.params"), gradient.params());
            }

            #[inline(never)]
            fn errors(backend: Backend, each: &mut dyn FnMut(&str, u64)) {
                let Given { net, mut input } = given();
                let target = $target;
                let on = net.on(backend);
                let (mut workspace, mut gradient) = (Workspace::<Net, B>::ZERO, Net::ZERO);
                let short = Stop::residual(1e-5).at_most(2);
                let result = on.solve(&input, &mut workspace.state, short);
                solved(each, concat!(stringify!($name), ".short"), result);
                let before = workspace.state.clone();
                // The last input of the last sample.
                if let Some(last) = input.as_mut_slice().last_mut() {
                    *last = <$scalar>::NAN;
                }
                const NAME: &str = concat!(stringify!($name), ".nan");
                let result = on.solve(&input, &mut workspace.state, Stop::residual(1e-5));
                solved(each, NAME, result);
                let objective = Objective::new($loss);
                let result = on.gradient(&objective, &input, &target, &mut workspace, &mut gradient);
                learned(each, NAME, result);
                let changed = workspace.state.as_slice() != before.as_slice() || gradient != Net::ZERO;
                each(concat!(stringify!($name), ".nan.changed"), u64::from(changed));
            }
        }
    };
}

// Widths that fill no vector, one of them taller than the tallest block of rows but one, and batches that fill none either.
network!(adjacent_one, fnn![5, 7, 3], f32, [5, 1], seed 1, CrossEntropy::new(), [2]);
network!(tall_one, fnn![4, 17, 2], f32, [4, 1], seed 2, MeanSquared, targets::<f32, 1, 2>(8));
network!(tall_batch, fnn![4, 17, 2], f32, [4, 3], seed 3, CrossEntropy::smoothed(0.125), [0, 1, 1]);
network!(
    dense_one, fnn![3, 5, 4, 2; feedback = Dense, hidden = Sigmoid, output = HardTanh], f32, [3, 1],
    seed 4, MeanSquared, targets::<f32, 1, 2>(9)
);
network!(
    dense_batch, fnn![3, 5, 4, 2; feedback = Dense, hidden = Sigmoid, output = HardTanh], f32, [3, 3],
    seed 5, MeanSquared, targets::<f32, 3, 2>(10)
);
network!(double_one, fnn![4, 5, 3; scalar = f64], f64, [4, 1], seed 6, CrossEntropy::new(), [1]);
network!(double_batch, fnn![4, 5, 3; scalar = f64], f64, [4, 3], seed 7, MeanSquared, targets::<f64, 3, 3>(11));

/// Targets of the size of outputs.
fn targets<T: Scalar, const B: usize, const N: usize>(seed: u32) -> SMatrix<T, B, N> {
    let mut targets = SMatrix::<T, B, N>::from_element(T::ZERO);
    Random(seed).fill(targets.as_mut_slice());
    targets
}
