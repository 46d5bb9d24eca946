//! Every kind of call, for Miri, which stops at the first thing that is undefined: on widths that fill vectors and blocks
//! and on widths that do not. That numbers are right is for the tests to say.

use attractor::adapt::{Adapted, LowRank};
use attractor::kernel::{self, Scalar, Tanh};
use attractor::learn::{MeanSquared, Method, Objective};
use attractor::nalgebra::SMatrix;
use attractor::network::{Flat, Fnn};
use attractor::quantized::{Bf16Network, Calibration, Quantized};
use attractor::simd::Backend;
use attractor::{Align64, Dense, Feedforward, Layer, Network, Repeat, Stop, Tied, Workspace, fnn};

fn main() {
    forms();
    kernels();
    adapter();
    certificate();
    rounded();
    println!("nothing undefined");
}

/// From -0.5 to 0.5, whatever the place.
fn fill<T: Scalar>(values: &mut [T]) {
    for (i, value) in values.iter_mut().enumerate() {
        *value = T::from_f64(f64::from((i as u32 * 37 + 11) % 101) / 101.0 - 0.5);
    }
}

/// A solve, a gradient and the gradient of the inputs, of one sample and of batches.
fn forms() {
    macro_rules! gradients {
        ($scalar:ty, $inputs:literal, $outputs:literal, $net:ty, [$($samples:literal)*]) => {{
            type Net = $net;
            let mut net = Net::ZERO;
            fill(net.params_mut());
            let net = net;
            $({
                const B: usize = $samples;
                let mut input = SMatrix::<$scalar, B, $inputs>::zeros();
                fill(input.as_mut_slice());
                let target = SMatrix::<$scalar, B, $outputs>::zeros();
                let (mut workspace, mut gradient) = (Workspace::<Net, B>::ZERO, Net::ZERO);
                let on = net.on(Backend::portable());
                on.solve(&input, &mut workspace.state, Stop::after(2)).expect("finite");
                let objective = Objective::new(MeanSquared)
                    .solve(Stop::after(2))
                    .method(Method::Implicit(Stop::after(2)));
                on.gradient(&objective, &input, &target, &mut workspace, &mut gradient).expect("finite");
                let mut slopes = SMatrix::<$scalar, B, $inputs>::zeros();
                net.input_gradient(workspace.adjoint.first(), &mut slopes).expect("finite");
            })*
        }};
    }
    gradients!(f32, 3, 1, fnn![3, 5, 4, 1; feedback = Dense], [1 2]);
    gradients!(f64, 3, 1, fnn![3, 5, 4, 1; feedback = Dense, scalar = f64], [2]);
    gradients!(f32, 2, 3, fnn![2, 9, 3; feedback = Tied<50>], [1 2]);
    gradients!(f32, 1, 8, fnn![1, 1, 2, 8; feedback = Feedforward], [1]);
    // More than a chunk.
    gradients!(f32, 1, 1, fnn![1, 1, 1], [33]);
    gradients!(f32, 3, 1, fnn![3, 37, 1], [1]);
    gradients!(f32, 4, 2, Network<Fnn<4, Layer<4, Repeat<4, Layer<4, Layer<2>>>>>>, [1 2]);
}

/// The kernels that stand alone, on whole vectors and a tail.
fn kernels() {
    let mut values = [0.0_f32; 7];
    fill(&mut values);
    kernel::activate::<_, Tanh>(Backend::portable(), &mut values);
    kernel::exp(Backend::portable(), &mut values);
    kernel::weighted_norm(Backend::portable(), &values, &[1.0; 7]).expect("as many");
}

fn adapter() {
    type Net = fnn![3, 5, 2];
    let mut net = Net::ZERO;
    fill(net.params_mut());
    let input = [0.5, -0.25, 1.0];
    let objective = Objective::new(MeanSquared).solve(Stop::after(2));
    // Not `new`: its square root is assembly, which Miri does not know.
    let mut params = Adapted::<Net, LowRank<2>>::gradient_zero();
    fill(params.flat_mut());
    let mut adapted = Adapted::<Net, LowRank<2>>::with(&net, params);
    let mut workspace = Workspace::<Net>::ZERO;
    adapted.descend(&objective, &input, &[0.5, -0.5], &mut workspace, 0.1).expect("finite");
    let mut merged = Net::ZERO;
    adapted.merge_into(&mut merged).expect("finite");
}

fn certificate() {
    type Net = fnn![3, 5, 2];
    let mut net = Net::ZERO;
    fill(net.params_mut());
    let certificate = net.limit_rate(0.5).expect("there is one");
    let input = [0.5, -0.25, 1.0];
    let mut file = Align64([0; Net::file_bytes(true)]);
    net.to_bytes(Some(&certificate), &mut file.0).expect("there is room");
    let model = Net::from_bytes(&file.0).expect("as written");
    let certified = model.certified().expect("it has one");
    let mut state = Net::state();
    certified.solve(&input, &mut state, 1e-3).expect("finite");
    certified.label(&input, &mut state).expect("finite");
    let mut stream = certified.skipping(&input, &mut state).expect("finite");
    stream.follow(&[0.5, -0.25, 0.0]).expect("finite");
    stream.solve(1e-3).expect("finite");
}

/// Weights of 16 bits, and integers.
fn rounded() {
    type Net = fnn![5, 9, 3; feedback = Dense];
    let mut net = Net::ZERO;
    fill(net.params_mut());
    let (input, mut state) = ([0.5; 5], Net::state());
    let half = Bf16Network::new(&net).expect("finite");
    half.on(Backend::portable()).solve(&input, &mut state, Stop::after(2)).expect("finite");

    let mut calibration = Calibration::<Net>::ZERO;
    calibration.observe(&input, &state).expect("finite");
    macro_rules! integers {
        ($integer:ty) => {
            let small = Quantized::<Net, $integer>::new(&net, &calibration).expect("small weights");
            let input = small.input(&input).expect("finite");
            small.on(Backend::portable()).sweep(&input, &mut Quantized::<Net, $integer>::state(), 2);
        };
    }
    integers!(i8);
    integers!(i16);
}
