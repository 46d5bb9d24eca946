//! The support table of README.md: every cell that says yes is tried here, against the `f64` oracle. What it says is not supported does not
//! compile: `tests/compile_fail` and the `compile_fail` examples of `Quantized::new`, `Bf16Network::new` and `Adapted`.

use crate::oracle::{Feedback, Target, Way, relative_error, subject};
use attractor::adapt::{Adapted, LowRank};
use attractor::learn::{MeanSquared, Objective};
use attractor::network::{Architecture, Fnn};
use attractor::quantized::{Bf16Network, Calibration, Quantized};
use attractor::simd::Backend;
use attractor::{
    Adjacent, Align64, Dense, Feedforward, Layer, Network, Repeat, Skip, State, Stop, Threads, Tied,
    Workspace, fnn,
};
use nalgebra::SMatrix;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

const FINE: Stop = Stop::residual(1e-6).at_most(300);
/// More than one chunk, so that threads have something to share.
const SAMPLES: usize = 70;

fn numbers(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

/// How far the output of `found` is from that of `exact`.
fn distance(found: &[f32], exact: &[f64]) -> f64 {
    found.iter().zip(exact).map(|(found, exact)| (f64::from(*found) - exact).abs()).fold(0.0, f64::max)
}

/// A network of three inputs with random weights, the oracle of the very same weights, and inputs.
macro_rules! drawn {
    ($net:ty) => {{
        let mut random = SmallRng::seed_from_u64(29);
        let mut exact = subject::oracle(&<$net>::ZERO);
        exact.draw(&mut random, 0.9, 0.4);
        let net: $net = subject::network(&exact);
        exact.params = numbers(net.params());
        let inputs: Vec<[f32; 3]> =
            (0..SAMPLES).map(|_| core::array::from_fn(|_| random.random_range(-1.0..1.0))).collect();
        (net, exact, inputs)
    }};
}

/// Solves, gradients, certificates and threads.
macro_rules! solved {
    ($net:ty, $drawn:expr) => {{
        let (net, exact, inputs) = $drawn;
        let mut state = <$net>::state();
        let certificate = net.certify().expect("it contracts");
        let certified = certificate.verify(net).expect("it holds");
        for input in inputs {
            let solution = exact.solve(&numbers(input))[1..].concat();
            state.reset();
            net.solve(input, &mut state, FINE).expect("it converges");
            assert!(distance(state.as_slice(), &solution) < 1e-5, "{net:?}");
            let bound = certified.solve(input, &mut state, 1e-3).expect("finite").bound.largest();
            assert!(bound <= 1e-3 && distance(state.as_slice(), &solution) <= f64::from(bound), "{net:?}");
        }

        let x = SMatrix::<f32, SAMPLES, 3>::from_fn(|row, column| inputs[row][column]);
        let y = SMatrix::<f32, SAMPLES, 2>::from_fn(|row, column| 0.5 * x[(row, column)]);
        let rows: Vec<Vec<f64>> = inputs.iter().map(|input| numbers(input)).collect();
        let targets: Vec<Target> =
            (0..SAMPLES).map(|row| Target::Values(vec![y[(row, 0)].into(), y[(row, 1)].into()])).collect();
        let wanted = exact.gradient(&rows, &targets, Way::Adjoint);
        let gradient = |threads: Threads| {
            let mut workspace = Box::new(Workspace::<$net, SAMPLES>::ZERO);
            let mut gradient = <$net>::ZERO;
            let on = net.on(Backend::best()).threads(threads);
            on.gradient(&Objective::new(MeanSquared), &x, &y, &mut workspace, &mut gradient)
                .expect("it converges");
            gradient
        };
        let alone = gradient(Threads::One);
        assert!(relative_error(&numbers(alone.params()), &wanted.params) < 1e-4, "{net:?}");
        assert!(gradient(Threads::Rayon) == alone, "{net:?}");
    }};
}

/// A model file with its certificate.
macro_rules! filed {
    ($net:ty, $drawn:expr) => {{
        let (net, _, _) = $drawn;
        let certificate = net.certify().expect("it contracts");
        let mut file = Align64([0; <$net>::file_bytes(true)]);
        net.to_bytes(Some(&certificate), &mut file.0).expect("there is room");
        let model = <$net>::from_bytes(&file.0).expect("as it was written");
        assert!(*model.network() == *net && model.certificate().is_some(), "{net:?}");
    }};
}

/// Integers of 8 and of 16 bits.
macro_rules! integers {
    ($net:ty, $drawn:expr) => {{
        let (net, exact, inputs) = $drawn;
        let (mut calibration, mut state) = (Calibration::<$net>::ZERO, <$net>::state());
        for input in inputs {
            state.reset();
            net.solve(input, &mut state, FINE).expect("it converges");
            calibration.observe(input, &state).expect("finite");
        }
        integers!(@one i8, 0.06, $net, net, exact, inputs, calibration);
        integers!(@one i16, 0.03, $net, net, exact, inputs, calibration);
    }};
    (@one $state:ty, $far:literal, $net:ty, $given:ident, $exact:ident, $inputs:ident, $calibration:ident) => {{
        let small = Quantized::<$net, $state>::new($given, &$calibration).expect("weights of moderate size");
        let mut state = Quantized::<$net, $state>::state();
        for input in $inputs {
            let solution = $exact.solve(&numbers(input)).pop().expect("outputs");
            state.reset();
            // It may go round in circles of a last digit.
            small.on(Backend::best()).sweep(&small.input(input).expect("finite"), &mut state, 40);
            let output: Vec<f32> =
                state.output().iter().map(|h| f32::from(*h) * small.output_unit()).collect();
            assert!(distance(&output, &solution) < $far, "{:?}: {output:?} {solution:?}", $given);
        }
    }};
}

/// Weights of 16 bits, and an adapter.
macro_rules! small {
    ($net:ty, $drawn:expr) => {{
        let (net, exact, inputs) = $drawn;
        let half = Bf16Network::new(net).expect("finite");
        let mut state = <$net>::state();
        for input in inputs {
            let solution = exact.solve(&numbers(input)).pop().expect("outputs");
            state.reset();
            half.solve(input, &mut state, FINE).expect("it converges");
            assert!(distance(state.output().as_slice(), &solution) < 0.02, "{net:?}");
        }

        let mut adapted = Adapted::<$net, LowRank<1>>::new(net, 3);
        let (mut workspace, objective) = (Workspace::<$net>::ZERO, Objective::new(MeanSquared));
        let mut losses = Vec::new();
        for _ in 0..40 {
            losses.push(
                adapted
                    .descend(&objective, &inputs[0], &[0.5, -0.5], &mut workspace, 0.2)
                    .expect("finite")
                    .loss,
            );
        }
        assert!(losses[39] < 0.2 * losses[0], "{net:?}: {losses:?}");
        let mut merged = <$net>::ZERO;
        adapted.merge_into(&mut merged).expect("finite");
        let mut of_merged = exact.clone();
        of_merged.params = numbers(merged.params());
        adapted.solve(&inputs[1], &mut state, FINE).expect("it converges");
        let solution = of_merged.solve(&numbers(&inputs[1]))[1..].concat();
        assert!(distance(state.as_slice(), &solution) < 1e-4, "{net:?}");
    }};
}

/// A narrower network, of the first units of every layer.
macro_rules! pruned {
    ($net:ty, $narrow:ty, $drawn:expr) => {{
        let (net, exact, inputs) = $drawn;
        let mut scores = State::<$net>::ZERO;
        let units = scores.as_slice().len();
        for (unit, score) in scores.as_mut_slice().iter_mut().enumerate() {
            *score = (units - unit) as f32;
        }
        let mut narrow = <$narrow>::ZERO;
        net.prune(&scores, &State::ZERO, &mut narrow).expect("finite");
        // A unit left out counts as its mean, here zero: as one does that reads nothing and has no bias.
        let mut without = exact.clone();
        for l in 1..without.depth() {
            for i in <$narrow>::SHAPE.widths()[l] as usize..without.widths[l] {
                let mut places = vec![without.b(l, i)];
                places.extend((0..without.widths[l - 1]).map(|j| without.w(l, i, j)));
                places.extend((0..without.widths[l + 1]).map(|j| without.w(l + 1, j, i)));
                if !matches!(without.feedback, Feedback::None | Feedback::Tied(_)) {
                    let above = without.reads(l).flat_map(|k| (0..without.widths[k]).map(move |j| (k, j)));
                    places.extend(above.map(|(k, j)| without.u(l, k, i, j)));
                }
                for place in places {
                    without.params[place] = 0.0;
                }
            }
        }
        let mut state = <$narrow>::state();
        for input in inputs {
            let solution = without.solve(&numbers(input)).pop().expect("outputs");
            state.reset();
            narrow.solve(input, &mut state, FINE).expect("it converges");
            assert!(distance(state.output().as_slice(), &solution) < 1e-5, "{net:?}");
        }
    }};
}

macro_rules! rows {
    ($($name:ident: $feedback:ty;)*) => {$(
        #[test]
        fn $name() {
            type Net = fnn![3, 6, 5, 2; feedback = $feedback];
            type Narrow = fnn![3, 4, 3, 2; feedback = $feedback];
            let (net, exact, inputs) = &drawn!(Net);
            solved!(Net, (net, exact, inputs));
            filed!(Net, (net, exact, inputs));
            integers!(Net, (net, exact, inputs));
            small!(Net, (net, exact, inputs));
            pruned!(Net, Narrow, (net, exact, inputs));
        }
    )*};
}

rows! {
    adjacent: Adjacent;
    skip: Skip;
    dense: Dense;
    feedforward: Feedforward;
}

/// No integers, halves or adapters.
#[test]
fn tied() {
    type Net = fnn![3, 6, 5, 2; feedback = Tied<50>];
    type Narrow = fnn![3, 4, 3, 2; feedback = Tied<50>];
    let (net, exact, inputs) = &drawn!(Net);
    solved!(Net, (net, exact, inputs));
    filed!(Net, (net, exact, inputs));
    pruned!(Net, Narrow, (net, exact, inputs));
}

/// Solves, gradients, certificates, and integers of inner layers.
#[test]
fn repeat() {
    type Plain = fnn![3, 5, 5, 5, 5, 2];
    type Net = Network<Fnn<3, Layer<5, Layer<5, Repeat<5, Layer<5, Layer<2>>>>>>>;
    let (plain, mut exact, inputs) = drawn!(Plain);
    // The third layer has the weights of the second.
    let (second, third, fourth) = (exact.w(2, 0, 0), exact.w(3, 0, 0), exact.w(4, 0, 0));
    exact.params.copy_within(second..third, third);
    let mut net = Net::ZERO;
    let own = plain.params()[..third].iter().chain(&plain.params()[fourth..]);
    net.params_mut().iter_mut().zip(own).for_each(|(to, from)| *to = *from);
    let (net, exact, inputs) = &(net, exact, inputs);
    let mut state = Net::state();
    let certificate = net.certify().expect("it contracts");
    let certified = certificate.verify(net).expect("it holds");
    for input in inputs {
        let solution = exact.solve(&numbers(input))[1..].concat();
        state.reset();
        net.solve(input, &mut state, FINE).expect("it converges");
        assert!(distance(state.as_slice(), &solution) < 1e-5);
        let bound = certified.solve(input, &mut state, 1e-2).expect("finite").bound.largest();
        let far = distance(state.as_slice(), &solution);
        assert!(bound <= 1e-2 && far <= f64::from(bound), "{far} {bound}");
    }
    integers!(Net, (net, exact, inputs));
}
