//! The activations and the exponential, over the whole range of `f32` in strides, and densely where it matters.

mod oracle;

use attractor::kernel::{self, Activation, HardTanh, Identity, Relu, Sigmoid, Tanh};
use attractor::simd::Backend;
use oracle::subject;

/// Bit patterns from one tested float to the next; a prime, so that all tails of the fraction turn up.
const STRIDE: usize = 2_003;
/// The bits of the largest finite float.
const LARGEST: u32 = 0x7f7f_ffff;

fn bound(backend: Backend) -> f64 {
    match backend.name() {
        "portable" => 5e-7,
        "avx2" | "avx512" | "neon" => 2e-7,
        name => panic!("no bound is stated for {name}"),
    }
}

fn values<A: Activation>(backend: Backend, inputs: &[f32]) -> Vec<f32> {
    let mut values = inputs.to_vec();
    kernel::activate::<f32, A>(backend, &mut values);
    values
}

/// Finite floats in ascending order: all of them in strides.
fn strided() -> Vec<f32> {
    let mut positive: Vec<f32> = (0..=LARGEST).step_by(STRIDE).map(f32::from_bits).collect();
    positive.push(f32::MAX);
    let negative = positive.iter().rev().map(|x| -x);
    negative.chain(positive.iter().copied()).collect()
}

/// Runs of consecutive floats in ascending order: around every power of two where the curve bends, around whole
/// and half numbers, where piecewise approximations change over, and where tanh and sigmoid saturate.
fn windows() -> Vec<Vec<f32>> {
    let mut centres =
        vec![0.0_f32, 1e-30, 0.1, 0.3, 0.6, 0.9, 8.99, 9.0, 9.01, 9.02, 17.3, 18.02, 88.0, 104.0];
    centres.extend((1..=40).map(|half| half as f32 / 2.0));
    centres.extend((0..40).map(|octave| 2.0_f32.powi(octave - 30)));
    let mut windows = Vec::new();
    for centre in centres {
        let first = centre.to_bits().saturating_sub(10_000);
        let ascending: Vec<f32> = (first..first + 20_000).map(f32::from_bits).collect();
        windows.push(ascending.iter().rev().map(|x| -x).collect());
        windows.push(ascending);
    }
    windows
}

fn sigmoid(x: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(x)).exp())
}

/// Error and order of a function that rises; the largest error.
fn check_curve<A: Activation>(backend: Backend, inputs: &[f32], exact: impl Fn(f32) -> f64, low: f32) -> f64 {
    let found = values::<A>(backend, inputs);
    let mut worst = 0.0;
    for (x, y) in inputs.iter().zip(&found) {
        let error = (f64::from(*y) - exact(*x)).abs();
        assert!(error <= bound(backend), "{}({x:e}) = {y:e} errs by {error:e}, {}", A::NAME, backend.name());
        assert!(*y >= low && *y <= 1.0, "{}({x:e}) = {y:e} is out of range", A::NAME);
        worst = f64::max(worst, error);
    }
    for (x, y) in inputs.windows(2).zip(found.windows(2)) {
        assert!(x[0] <= x[1] && y[0] <= y[1], "{} falls between {:e} and {:e}: {y:?}", A::NAME, x[0], x[1]);
    }
    worst
}

#[test]
fn tanh_and_sigmoid_over_all_floats_in_strides() {
    let inputs = strided();
    for backend in subject::backends() {
        let tanh = check_curve::<Tanh>(backend, &inputs, |x| f64::from(x).tanh(), -1.0);
        let sigmoid = check_curve::<Sigmoid>(backend, &inputs, sigmoid, 0.0);
        println!(
            "{}: {} floats, largest error of tanh {tanh:.3e}, of sigmoid {sigmoid:.3e}",
            backend.name(),
            inputs.len()
        );
    }
}

#[test]
fn tanh_and_sigmoid_densely() {
    for backend in subject::backends() {
        for window in windows() {
            check_curve::<Tanh>(backend, &window, |x| f64::from(x).tanh(), -1.0);
            check_curve::<Sigmoid>(backend, &window, sigmoid, 0.0);
        }
    }
}

#[test]
fn tanh_is_odd_and_sigmoid_symmetric() {
    let mut inputs = strided();
    inputs.extend(windows().concat());
    let turned: Vec<f32> = inputs.iter().map(|x| -x).collect();
    for backend in subject::backends() {
        let (plus, minus) = (values::<Tanh>(backend, &inputs), values::<Tanh>(backend, &turned));
        for ((x, y), z) in inputs.iter().zip(&plus).zip(&minus) {
            assert_eq!(y.to_bits(), (-z).to_bits(), "tanh({x:e}), {}", backend.name());
        }
        let (plus, minus) = (values::<Sigmoid>(backend, &inputs), values::<Sigmoid>(backend, &turned));
        for ((x, y), z) in inputs.iter().zip(&plus).zip(&minus) {
            // Two roundings of numbers below one.
            let error = (f64::from(*y) + f64::from(*z) - 1.0).abs();
            assert!(error <= f64::from(f32::EPSILON) / 2.0, "sigmoid({x:e}): {error:e}, {}", backend.name());
        }
    }
}

/// Small results keep their digits: tanh x = x for the smallest floats, denormal or not.
#[test]
fn tanh_of_small_numbers_keeps_its_digits() {
    let inputs: Vec<f32> = (0..0x3a00_0000_u32)
        .step_by(1_009)
        .flat_map(|bits| [f32::from_bits(bits), -f32::from_bits(bits)])
        .collect();
    for backend in subject::backends() {
        for (x, y) in inputs.iter().zip(values::<Tanh>(backend, &inputs)) {
            let exact = f64::from(*x).tanh();
            let error = (f64::from(y) - exact).abs();
            // A unit in the last place, of a denormal too.
            let unit = f64::max(f64::from(f32::EPSILON) * exact.abs(), f64::from(f32::from_bits(1)));
            assert!(error <= unit, "tanh({x:e}) = {y:e} errs by {error:e}, {}", backend.name());
        }
    }
}

/// Every position of a vector and of its tail gets the same special values.
#[test]
fn infinities_are_exact_and_nans_stay() {
    let payloads = [0x7fc0_0000, 0xffc0_0000, 0x7f80_0001, 0xffff_ffff, 0x7fff_ffff].map(f32::from_bits);
    for backend in subject::backends() {
        for length in 1..=35 {
            for at in 0..length {
                let with = |special: f32| {
                    let mut inputs = vec![0.0; length];
                    inputs[at] = special;
                    inputs
                };
                let one = |values: Vec<f32>| values[at];
                assert_eq!(one(values::<Tanh>(backend, &with(f32::INFINITY))), 1.0);
                assert_eq!(one(values::<Tanh>(backend, &with(f32::NEG_INFINITY))), -1.0);
                assert_eq!(one(values::<Sigmoid>(backend, &with(f32::INFINITY))), 1.0);
                assert_eq!(one(values::<Sigmoid>(backend, &with(f32::NEG_INFINITY))), 0.0);
                assert_eq!(one(values::<Relu>(backend, &with(f32::INFINITY))), f32::INFINITY);
                assert_eq!(one(values::<Relu>(backend, &with(f32::NEG_INFINITY))), 0.0);
                assert_eq!(one(values::<HardTanh>(backend, &with(f32::INFINITY))), 1.0);
                assert_eq!(one(values::<HardTanh>(backend, &with(f32::NEG_INFINITY))), -1.0);
                assert_eq!(one(values::<Identity>(backend, &with(f32::NEG_INFINITY))), f32::NEG_INFINITY);
                for nan in payloads {
                    let inputs = with(nan);
                    for (name, found) in [
                        (Tanh::NAME, values::<Tanh>(backend, &inputs)),
                        (Sigmoid::NAME, values::<Sigmoid>(backend, &inputs)),
                        (Relu::NAME, values::<Relu>(backend, &inputs)),
                        (HardTanh::NAME, values::<HardTanh>(backend, &inputs)),
                        (Identity::NAME, values::<Identity>(backend, &inputs)),
                    ] {
                        assert!(found[at].is_nan(), "{name} lost a NaN, {}", backend.name());
                        assert!(found.iter().enumerate().all(|(i, y)| i == at || !y.is_nan()));
                    }
                }
            }
        }
    }
}

#[test]
fn piecewise_linear_activations_are_exact() {
    let mut inputs = strided();
    inputs.extend([1.0_f32, -1.0, 1.0_f32.next_up(), 1.0_f32.next_down(), -0.0, 0.0]);
    for backend in subject::backends() {
        for (x, y) in inputs.iter().zip(values::<Relu>(backend, &inputs)) {
            assert_eq!(y, if *x > 0.0 { *x } else { 0.0 }, "relu({x:e}), {}", backend.name());
        }
        for (x, y) in inputs.iter().zip(values::<HardTanh>(backend, &inputs)) {
            assert_eq!(y, x.clamp(-1.0, 1.0), "hard tanh({x:e}), {}", backend.name());
        }
        for (x, y) in inputs.iter().zip(values::<Identity>(backend, &inputs)) {
            assert_eq!(y.to_bits(), x.to_bits(), "identity, {}", backend.name());
        }
    }
}

#[test]
fn exp_of_what_is_not_positive() {
    let mut inputs: Vec<f32> = (0..=LARGEST).step_by(STRIDE).map(|bits| -f32::from_bits(bits)).collect();
    inputs.extend((0..200_000).map(|i| i as f32 * -5e-4));
    inputs.push(f32::NEG_INFINITY);
    inputs.push(0.0);
    for backend in subject::backends() {
        let mut found = inputs.clone();
        kernel::exp(backend, &mut found);
        let mut worst = 0.0;
        for (x, y) in inputs.iter().zip(&found) {
            let exact = f64::from(*x).exp();
            if exact < f64::from(f32::MIN_POSITIVE) {
                assert_eq!(*y, 0.0, "exp({x:e}), {}", backend.name());
            } else if *y != 0.0 || *x > -87.0 {
                let error = (f64::from(*y) - exact).abs() / exact;
                assert!(error <= 3e-7, "exp({x:e}) = {y:e} errs by {error:e} of it, {}", backend.name());
                worst = f64::max(worst, error);
            }
        }
        println!("{}: largest relative error of exp {worst:.3e}", backend.name());
        let mut nan = [f32::NAN];
        kernel::exp(backend, &mut nan);
        assert!(nan[0].is_nan(), "exp lost a NaN, {}", backend.name());
        assert_eq!(found[inputs.len() - 1], 1.0);
    }
}

/// In `f64` the functions are those of `libm`, within two units in the last place.
#[test]
fn double_precision() {
    let inputs: Vec<f64> = (-60_000..=60_000).map(|i| f64::from(i) * 7.3e-4).collect();
    for backend in subject::backends() {
        let (mut tanh, mut sigmoid) = (inputs.clone(), inputs.clone());
        kernel::activate::<f64, Tanh>(backend, &mut tanh);
        kernel::activate::<f64, Sigmoid>(backend, &mut sigmoid);
        for ((x, t), s) in inputs.iter().zip(tanh).zip(sigmoid) {
            assert!(
                (t - x.tanh()).abs() <= 4.0 * f64::EPSILON * x.tanh().abs(),
                "tanh({x}), {}",
                backend.name()
            );
            assert!((s - 1.0 / (1.0 + (-x).exp())).abs() <= 2.0 * f64::EPSILON, "sigmoid({x})");
        }
        let negative: Vec<f64> = inputs.iter().map(|x| -x.abs()).collect();
        let mut exp = negative.clone();
        kernel::exp(backend, &mut exp);
        for (x, y) in negative.iter().zip(exp) {
            assert!((y - x.exp()).abs() <= 4.0 * f64::EPSILON * x.exp(), "exp({x}), {}", backend.name());
        }
    }
}
