//! The crate under test behind the oracle's types: everything goes in and comes out as `f64`, a row a sample.

use super::{Activation, Feedback, Gradient, Network, Target, Way};
use attractor::kernel::{Activation as _, Scalar};
use attractor::learn::{
    CrossEntropy, LearnError, Loss, LossError, MeanSquared, Method, Objective, UnrolledTape,
};
use attractor::network::{Architecture, Flat, Form, Takes};
use attractor::simd::{Backend, Element};
use attractor::{Network as Net, State, Stop, Workspace};
use nalgebra::SMatrix;

/// All backends of this processor, named on the test's output. In CI, one that the processor has and the crate
/// does not find is a failure.
pub(crate) fn backends() -> Vec<Backend> {
    let backends: Vec<Backend> = Backend::available().collect();
    let names: Vec<&str> = backends.iter().map(|backend| backend.name()).collect();
    announce(&names);
    assert!(names.contains(&"portable"));
    if std::env::var_os("CI").is_some() {
        for (name, features) in [
            ("avx2", &["avx2", "fma"][..]),
            ("avx512", &["avx512f", "avx512bw", "avx512dq", "avx512vl"][..]),
            ("neon", &["neon"][..]),
        ] {
            if features.iter().all(|feature| processor_has(feature)) {
                assert!(names.contains(&name), "this processor has {name}, but it was not tested");
            }
        }
    }
    if let Some(forced) = option_env!("ATTRACTOR_BACKEND")
        && names.contains(&forced)
    {
        assert_eq!(Backend::best().name(), forced, "ATTRACTOR_BACKEND at compile time");
    }
    backends
}

/// Says once per test program what is tested. The test harness keeps back what `print!` writes in a test that passes,
/// and may have begun a line of its own; so this goes to the stream itself, with a line break before it.
fn announce(names: &[&str]) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let scalars = if cfg!(attractor_scalars) { " in scalars" } else { "" };
        let line = format!("\nbackends: {}{scalars}\n", names.join(" "));
        std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).expect("standard output is there");
    });
}

/// Asks the operating system and the standard library, not the crate.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn processor_has(feature: &str) -> bool {
    let detected = match feature {
        "avx2" => std::is_x86_feature_detected!("avx2"),
        "fma" => std::is_x86_feature_detected!("fma"),
        "avx512f" => std::is_x86_feature_detected!("avx512f"),
        "avx512bw" => std::is_x86_feature_detected!("avx512bw"),
        "avx512dq" => std::is_x86_feature_detected!("avx512dq"),
        "avx512vl" => std::is_x86_feature_detected!("avx512vl"),
        "neon" => false,
        _ => panic!("unknown feature {feature}"),
    };
    let listed = std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| {
        let flags = text.lines().find(|line| line.starts_with("flags"));
        flags.is_some_and(|line| line.split_whitespace().any(|flag| flag == feature))
    });
    detected || listed
}

/// What the operating system lists under an emulator is what the machine below has.
#[cfg(target_arch = "aarch64")]
fn processor_has(feature: &str) -> bool {
    feature == "neon" && std::arch::is_aarch64_feature_detected!("neon")
}

/// None of those features.
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn processor_has(_: &str) -> bool {
    false
}

fn activation(name: &str) -> Activation {
    match name {
        "tanh" => Activation::Tanh,
        "sigmoid" => Activation::Sigmoid,
        "relu" => Activation::Relu,
        "hard tanh" => Activation::HardTanh,
        "leaky relu" => Activation::LeakyRelu,
        "identity" => Activation::Identity,
        name => panic!("the oracle does not know {name}"),
    }
}

/// A network type as the oracle sees it, all parameters zero.
pub(crate) fn oracle<A: Architecture>(_: &Net<A>) -> Network {
    let names = [<A::Form>::NAME, <A::Hidden>::NAME, <A::Outputs>::NAME];
    named(A::SHAPE.widths(), names, <A::Form>::TIED, Net::<A>::PARAMS)
}

fn named(widths: &[u32], [form, hidden, outputs]: [&str; 3], tied: usize, params: usize) -> Network {
    let feedback = match form {
        "adjacent" => Feedback::Adjacent,
        "dense" => Feedback::Dense,
        "skip" => Feedback::Skip,
        "feedforward" => Feedback::None,
        "tied" => Feedback::Tied(tied as f64 / 100.0),
        name => panic!("the oracle does not know {name}"),
    };
    let widths: Vec<usize> = widths.iter().map(|width| *width as usize).collect();
    let network = Network::zero(&widths, feedback, activation(hidden), activation(outputs));
    assert_eq!(network.params.len(), params);
    network
}

/// The crate's network with the oracle's parameters.
pub(crate) fn network<A: Architecture>(oracle: &Network) -> Net<A> {
    let mut net = Net::ZERO;
    fill(net.params_mut(), &oracle.params);
    net
}

fn fill<T: Element>(to: &mut [T], from: &[f64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = T::from_f64(*from);
    }
}

pub(crate) fn samples<T: Scalar, const B: usize, const N: usize>(rows: &[Vec<f64>]) -> SMatrix<T, B, N> {
    assert_eq!(rows.len(), B);
    let mut matrix: SMatrix<T, B, N> = Flat::ZERO;
    fill_rows(matrix.flat_mut(), rows);
    matrix
}

/// Rows as flat column-major samples.
fn fill_rows<T: Element>(flat: &mut [T], rows: &[Vec<f64>]) {
    for (i, value) in flat.iter_mut().enumerate() {
        *value = T::from_f64(rows[i % rows.len()][i / rows.len()]);
    }
}

fn numbers<T: Element>(flat: &[T]) -> Vec<f64> {
    flat.iter().map(|value| value.to_f64()).collect()
}

/// Flat column-major samples as rows.
pub(crate) fn rows<T: Element>(flat: &[T], samples: usize) -> Vec<Vec<f64>> {
    (0..samples).map(|s| flat[s..].iter().step_by(samples).map(|v| v.to_f64()).collect()).collect()
}

/// The units of all layers of every sample, layer after layer.
pub(crate) fn states<A: Architecture, const B: usize>(state: &State<Net<A>, B>) -> Vec<Vec<f64>> {
    rows(state.as_slice(), B)
}

/// The gradient by the crate, of `B` samples, accumulated into zeros. `tolerance` is relative.
pub(crate) fn gradient<T: Scalar, A: Takes<I, Scalar = T>, const I: usize, const B: usize>(
    backend: Backend,
    net: &Net<A>,
    inputs: &[Vec<f64>],
    targets: &[Target],
    method: Way,
    tolerance: f64,
) -> Result<Gradient, LearnError<T>>
where
    MeanSquared: Loss<A::Output<B>, A::Output<B>, Scalar = T>,
    CrossEntropy<T>: Loss<A::Output<B>, [usize; B], Scalar = T>,
{
    let x: SMatrix<T, B, I> = samples(inputs);
    let (mut values, mut labels): (A::Output<B>, _) = (Flat::ZERO, [0; B]);
    let loss = goals(targets, values.flat_mut(), &mut labels);
    gradient_of(backend, net, &x, &(values, labels), loss, method, tolerance)
}

/// Either loss, chosen when running: gradients are compiled once for both.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Either<T> {
    MeanSquared,
    CrossEntropy(CrossEntropy<T>),
}

impl<T: Scalar, O, const B: usize> Loss<O, (O, [usize; B])> for Either<T>
where
    MeanSquared: Loss<O, O, Scalar = T>,
    CrossEntropy<T>: Loss<O, [usize; B], Scalar = T>,
{
    type Scalar = T;
    fn evaluate(&self, output: &O, target: &(O, [usize; B]), gradient: &mut O) -> Result<T, LossError> {
        self.evaluate_on(Backend::best(), output, target, gradient)
    }
    fn evaluate_on(
        &self,
        backend: Backend,
        output: &O,
        (values, labels): &(O, [usize; B]),
        gradient: &mut O,
    ) -> Result<T, LossError> {
        match self {
            Self::MeanSquared => MeanSquared.evaluate_on(backend, output, values, gradient),
            Self::CrossEntropy(loss) => loss.evaluate_on(backend, output, labels, gradient),
        }
    }
}

/// The loss of a batch, with what it is against.
fn goals<T: Scalar>(targets: &[Target], values: &mut [T], labels: &mut [usize]) -> Either<T> {
    assert_eq!(targets.len(), labels.len());
    if let Target::Label { smoothing, .. } = targets[0] {
        for (to, target) in labels.iter_mut().zip(targets) {
            let Target::Label { label, .. } = target else { panic!("one batch, one loss") };
            *to = *label;
        }
        Either::CrossEntropy(CrossEntropy::smoothed(T::from_f64(smoothing)))
    } else {
        let rows = targets.iter().map(|target| match target {
            Target::Values(values) => values.clone(),
            Target::Label { .. } => panic!("one batch, one loss"),
        });
        fill_rows(values, &rows.collect::<Vec<_>>());
        Either::MeanSquared
    }
}

/// The most sweeps the unrolled gradient is tested with.
pub(crate) const TAPE: usize = 4;

fn gradient_of<T: Scalar, A: Takes<I, Scalar = T>, const I: usize, const B: usize, Y, C>(
    backend: Backend,
    net: &Net<A>,
    x: &SMatrix<T, B, I>,
    y: &Y,
    loss: C,
    method: Way,
    tolerance: f64,
) -> Result<Gradient, LearnError<T>>
where
    C: Loss<A::Output<B>, Y, Scalar = T> + Copy,
{
    let mut workspace = Workspace::<Net<A>, B>::ZERO;
    let mut gradient = Net::ZERO;
    let mut slope: SMatrix<T, B, I> = Flat::ZERO;
    let tolerance = Stop::relative(T::from_f64(tolerance)).at_most(1000);
    let learned = match method {
        Way::Unrolled(sweeps) => {
            macro_rules! unrolled {
                ($($sweeps:literal)*) => {
                    match sweeps {
                        $($sweeps => {
                            let mut tape = UnrolledTape::<Net<A>, B, $sweeps>::ZERO;
                            let learned = net
                                .on(backend)
                                .gradient_unrolled(&loss, x, y, &mut tape, &mut workspace, &mut gradient)?;
                            assert_eq!(learned.solve.sweeps, $sweeps);
                            net.input_gradient(tape.injection_gradient(), &mut slope)?;
                            learned
                        })*
                        _ => panic!("no tape for {sweeps} sweeps"),
                    }
                };
            }
            unrolled!(1 4)
        }
        method => {
            let rule = match method {
                Way::Literal => Method::Literal(tolerance),
                Way::Truncated(sweeps) => Method::Truncated(sweeps),
                _ => Method::Implicit(tolerance),
            };
            let objective = Objective::new(loss).solve(tolerance).method(rule);
            let learned = net.on(backend).gradient(&objective, x, y, &mut workspace, &mut gradient)?;
            net.input_gradient(workspace.adjoint.first(), &mut slope)?;
            learned
        }
    };
    Ok(Gradient {
        loss: learned.loss.to_f64(),
        params: numbers(gradient.params()),
        inputs: rows(slope.flat(), B),
    })
}
