//! Gradients: against central differences through the solve, against the oracle, and `f32` against `f64`.

use crate::oracle::{self, Network, Target, Way, subject};
use attractor::kernel::{HardTanh, Identity, LeakyRelu, Relu, Scalar, Sigmoid, Tanh};
use attractor::learn::{
    CrossEntropy, LearnError, Loss, LossError, MeanSquared, Method, Objective, UnrolledTape,
};
use attractor::network::Takes;
use attractor::simd::Backend;
use attractor::{Adjacent, Dense, Feedforward, Skip, SolveError, Stop, Tied, Workspace, fnn};
use nalgebra::SMatrix;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::cell::Cell;

/// Exact gradients against differences: the adjoint, and the unrolled.
const ADJOINT: f64 = 1e-6;
const UNROLLED: f64 = 1e-7;
/// `f32` against `f64`, and the bound of the oracle's own arithmetic against the crate's in `f64`.
const SINGLE: f64 = 2e-5;
const DOUBLE: f64 = 1e-10;
/// No unit may come nearer to a kink of its activation: differences step over 1e-5, `f32` errs by 1e-6.
const MARGIN: f64 = 2e-3;

struct Case {
    network: Network,
    inputs: Vec<Vec<f64>>,
    targets: Vec<Target>,
}

#[derive(Clone, Copy, Debug)]
enum LossKind {
    MeanSquared,
    CrossEntropy,
    Smoothed,
}

fn losses() -> impl Strategy<Value = LossKind> {
    prop_oneof![Just(LossKind::MeanSquared), Just(LossKind::CrossEntropy), Just(LossKind::Smoothed)]
}

/// Random parameters, inputs and targets; all of them `f32` numbers, so that both scalars see the same problem.
fn case(mut network: Network, samples: usize, seed: u64, gain: f64, rate: f64, loss: LossKind) -> Case {
    let random = &mut SmallRng::seed_from_u64(seed);
    network.draw(random, gain, rate);
    let mut inputs = Vec::new();
    let mut tries = 0;
    while inputs.len() < samples {
        let x: Vec<f64> =
            (0..network.widths[0]).map(|_| f64::from(random.random_range(-1.0_f32..1.0))).collect();
        let margins = [network.margin(&x, None), network.margin(&x, Some(subject::TAPE))];
        if margins.iter().all(|margin| *margin > MARGIN) {
            inputs.push(x);
        }
        tries += 1;
        if tries % 200 == 0 {
            // Biases can hold a unit at a kink for every input.
            network.draw(random, gain, rate);
            inputs.clear();
        }
        assert!(tries < 10_000, "no inputs away from the kinks");
    }
    let targets = inputs
        .iter()
        .map(|x| {
            let output = network.solve(x).pop().unwrap();
            match loss {
                // Not too near the output: a difference of nothing has no digits.
                LossKind::MeanSquared => Target::Values(
                    output
                        .iter()
                        .map(|h| {
                            let away = random.random_range(0.5..1.5);
                            f64::from((h + if random.random() { away } else { -away }) as f32)
                        })
                        .collect(),
                ),
                LossKind::CrossEntropy => {
                    Target::Label { label: random.random_range(0..output.len()), smoothing: 0.0 }
                }
                LossKind::Smoothed => {
                    Target::Label { label: random.random_range(0..output.len()), smoothing: 0.125 }
                }
            }
        })
        .collect();
    Case { network, inputs, targets }
}

/// Near a minimum the samples' shares, of size 1, cancel, and in `f32` their sum has no more digits than they have; and a difference of losses of
/// size 1 has an error of 1e-11, however small the slope is, as where leaky units are at rest. So an error counts relative to the largest entry, or to this
/// where all are smaller.
const CANCELLED: f64 = 1e-2;

/// What is left of a gradient's relative error when the largest entry counts as [`CANCELLED`] at least.
fn share(exact: &oracle::Gradient) -> f64 {
    (oracle::largest(&exact.params) / CANCELLED).min(1.0)
}

macro_rules! agree {
    ($found:expr, $exact:expr, $bound:expr, $($what:tt)+) => {
        agree!(share 1.0, $found, $exact, $bound, $($what)+)
    };
    (share $share:expr, $found:expr, $exact:expr, $bound:expr, $($what:tt)+) => {
        agreement(&$found, &$exact, $share, $bound, &|| format!($($what)+))?
    };
}

fn agreement(
    found: &oracle::Gradient,
    exact: &oracle::Gradient,
    share: f64,
    bound: f64,
    what: &dyn Fn() -> String,
) -> Result<(), TestCaseError> {
    let errors = [found.params_error(exact), found.inputs_error(exact)].map(|error| error * share);
    prop_assert!(
        errors.iter().all(|error| *error <= bound),
        "{}: parameters {:e}, inputs {:e}, allowed {:e}",
        what(),
        errors[0],
        errors[1],
        bound
    );
    Ok(())
}

/// The gradient of a case by a network type. What is done with it is compiled once for all types.
type Taken = fn(&Case, Backend, Way, f64) -> oracle::Gradient;

fn taken<T: Scalar, A: Takes<I, Scalar = T>, const I: usize, const B: usize>(
    case: &Case,
    backend: Backend,
    method: Way,
    tolerance: f64,
) -> oracle::Gradient
where
    MeanSquared: Loss<A::Output<B>, A::Output<B>, Scalar = T>,
    CrossEntropy<T>: Loss<A::Output<B>, [usize; B], Scalar = T>,
{
    let net: attractor::Network<A> = subject::network(&case.network);
    subject::gradient::<T, A, I, B>(backend, &net, &case.inputs, &case.targets, method, tolerance).unwrap()
}

/// [`taken`] of a network whose type is that of `_zero`.
fn taken_of<T: Scalar, A: Takes<I, Scalar = T>, const I: usize, const B: usize>(
    _zero: &attractor::Network<A>,
) -> Taken
where
    MeanSquared: Loss<A::Output<B>, A::Output<B>, Scalar = T>,
    CrossEntropy<T>: Loss<A::Output<B>, [usize; B], Scalar = T>,
{
    taken::<T, A, I, B>
}

/// Of random networks every gradient, on every backend, in both scalars.
fn gradients(cases: u32, zero: &Network, samples: usize, double: Taken, single: Taken) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    proptest!(config, |(
        seed in any::<u64>(), gain in 0.4..1.3_f64, rate in 0.05..0.7_f64, loss in losses(),
    )| {
        let case = case(zero.clone(), samples, seed, gain, rate, loss);
        let Case { network, inputs, targets } = &case;
        for (method, sweeps, bound) in [
            (Way::Adjoint, None, ADJOINT),
            (Way::Unrolled(subject::TAPE), Some(subject::TAPE), UNROLLED),
            (Way::Unrolled(1), Some(1), UNROLLED),
        ] {
            let differences = network.differences(inputs, targets, sweeps);
            let exact = network.gradient(inputs, targets, method);
            // The oracle against differences, so that it is an oracle.
            agree!(share share(&exact), exact, differences, bound, "oracle, {method:?}");
            for backend in Backend::available() {
                let name = backend.name();
                let g = double(&case, backend, method, 1e-14);
                prop_assert!((g.loss - exact.loss).abs() <= 1e-12 * exact.loss.abs().max(1.0));
                agree!(share share(&exact), g, differences, bound, "f64 against differences, {method:?}, {name}");
                agree!(g, exact, DOUBLE, "f64 against the oracle, {method:?}, {name}");
                let g32 = single(&case, backend, method, 1e-6);
                agree!(share share(&g), g32, g, SINGLE, "f32 against f64, {method:?}, {name}");
            }
        }
        for method in [Way::Truncated(1), Way::Truncated(3), Way::Literal] {
            let exact = network.gradient(inputs, targets, method);
            for backend in Backend::available() {
                let name = backend.name();
                let g = double(&case, backend, method, 1e-14);
                agree!(g, exact, DOUBLE, "f64 against the oracle, {method:?}, {name}");
                let g32 = single(&case, backend, method, 1e-6);
                agree!(share share(&exact), g32, exact, SINGLE, "f32 against the oracle, {method:?}, {name}");
            }
        }
    });
}

/// For a network type in both scalars.
macro_rules! gradients {
    ($($name:ident: [$($width:literal),*], $feedback:ty, $hidden:ty, $output:ty, $samples:literal, $cases:literal;)*) => {$(
        #[test]
        fn $name() {
            type Double =
                fnn![$($width),*; feedback = $feedback, hidden = $hidden, output = $output, scalar = f64];
            type Single = fnn![$($width),*; feedback = $feedback, hidden = $hidden, output = $output];
            gradients(
                $cases,
                &subject::oracle(&Double::ZERO),
                $samples,
                taken_of::<_, _, _, $samples>(&Double::ZERO),
                taken_of::<_, _, _, $samples>(&Single::ZERO),
            );
        }
    )*};
}

// Few combinations of activations: the engine is compiled anew for each, and with one sample for each network.
gradients! {
    one_layer: [3, 2], Adjacent, Tanh, Identity, 3, 12;
    two_layers: [4, 7, 3], Adjacent, Tanh, Identity, 3, 12;
    two_layers_single_sample: [5, 9, 4], Adjacent, Tanh, Identity, 1, 12;
    three_layers: [3, 8, 5, 2], Adjacent, Tanh, Identity, 8, 8;
    three_dense: [4, 5, 6, 3], Dense, Tanh, Identity, 3, 10;
    four_dense: [2, 4, 3, 5, 2], Dense, Sigmoid, Tanh, 5, 8;
    four_skip: [2, 4, 3, 5, 3, 2], Skip, Sigmoid, Tanh, 5, 8;
    four_skip_single_sample: [2, 6, 3, 4, 2, 3], Skip, Tanh, Identity, 1, 8;
    four_dense_single_sample: [2, 6, 3, 4, 3], Dense, Tanh, Identity, 1, 8;
    four_adjacent: [3, 4, 4, 3, 2], Adjacent, Sigmoid, Tanh, 17, 4;
    kinks: [4, 6, 5, 3], Adjacent, Relu, HardTanh, 3, 10;
    kinks_dense: [3, 5, 4, 2], Dense, Relu, HardTanh, 4, 10;
    leaky: [4, 6, 5, 3], Dense, LeakyRelu, LeakyRelu, 3, 10;
    leaky_single_sample: [4, 6, 5, 3], Adjacent, LeakyRelu, Identity, 1, 10;
    widths_of_one: [1, 1, 1], Adjacent, Tanh, Identity, 2, 12;
    wide: [6, 17, 9], Adjacent, Tanh, Identity, 2, 3;
    wider: [2, 33, 2], Adjacent, Tanh, Identity, 3, 3;
    across_chunks: [2, 3, 2], Dense, Tanh, Identity, 35, 3;
    no_feedback: [4, 6, 3], Feedforward, Tanh, Identity, 3, 8;
    tied: [3, 5, 6, 2], Tied<50>, Tanh, Identity, 3, 10;
    tied_single_sample: [2, 4, 5, 3, 2], Tied, Sigmoid, Tanh, 1, 8;
    tied_kinks: [4, 6, 5, 3], Tied<70>, Relu, HardTanh, 35, 3;
    tied_one_layer: [3, 2], Tied, Tanh, Tanh, 2, 6;
}

/// Against the oracle alone.
fn large(name: &str, zero: &Network, samples: usize, double: Taken, single: Taken) {
    for (seed, loss) in [LossKind::MeanSquared, LossKind::Smoothed].into_iter().enumerate() {
        let case = case(zero.clone(), samples, 77 + seed as u64, 0.9, 0.8, loss);
        for method in [Way::Adjoint, Way::Unrolled(subject::TAPE)] {
            let exact = case.network.gradient(&case.inputs, &case.targets, method);
            for backend in subject::backends() {
                let g = double(&case, backend, method, 1e-14);
                let g32 = single(&case, backend, method, 1e-6);
                let errors = [
                    g.params_error(&exact),
                    g.inputs_error(&exact),
                    g32.params_error(&exact),
                    g32.inputs_error(&exact),
                ];
                println!(
                    "{name} {method:?} {}: {:.1e} {:.1e} {:.1e} {:.1e}",
                    backend.name(),
                    errors[0],
                    errors[1],
                    errors[2],
                    errors[3]
                );
                assert!(errors[0] <= DOUBLE && errors[1] <= DOUBLE, "f64: {errors:?}");
                assert!(errors[2] <= SINGLE && errors[3] <= SINGLE, "f32: {errors:?}");
            }
        }
    }
}

/// Network sizes that meet every tail of every backend, too large for differences.
macro_rules! large {
    ($($name:ident: [$($width:literal),*], $feedback:ty, $hidden:ty, $output:ty, $samples:literal;)*) => {$(
        #[test]
        fn $name() {
            type Double = fnn![$($width),*; feedback = $feedback, hidden = $hidden, output = $output, scalar = f64];
            type Single = fnn![$($width),*; feedback = $feedback, hidden = $hidden, output = $output];
            large(
                stringify!($name),
                &subject::oracle(&Double::ZERO),
                $samples,
                taken_of::<_, _, _, $samples>(&Double::ZERO),
                taken_of::<_, _, _, $samples>(&Single::ZERO),
            );
        }
    )*};
}

large! {
    tails_of_one_sample: [31, 65, 48, 10], Adjacent, Tanh, Identity, 1;
    tails_of_three_samples: [17, 33, 63, 7], Dense, Tanh, Identity, 3;
    tails_of_many_samples: [13, 32, 15, 11], Dense, Tanh, Identity, 33;
    tails_tied: [17, 33, 63, 7], Tied<80>, Tanh, Identity, 33;
    tails_tied_one_sample: [31, 65, 48, 10], Tied<30>, Tanh, Identity, 1;
}

type Small = fnn![3, 6, 5, 2; feedback = Dense, scalar = f64];
const SAMPLES: usize = 3;

fn small(seed: u64, rate: f64) -> Case {
    case(subject::oracle(&Small::ZERO), SAMPLES, seed, 1.0, rate, LossKind::MeanSquared)
}

fn values(targets: &[Target]) -> SMatrix<f64, SAMPLES, 2> {
    let rows: Vec<Vec<f64>> = targets
        .iter()
        .map(|target| match target {
            Target::Values(values) => values.clone(),
            Target::Label { .. } => unreachable!(),
        })
        .collect();
    subject::samples(&rows)
}

/// The rule as the source article prints it is not the gradient under feedback, and is without.
#[test]
fn the_literal_rule_errs() {
    type Net = fnn![3, 5, 4; scalar = f64];
    let mut errors = Vec::new();
    for seed in 0..20 {
        let Case { mut network, inputs, targets } =
            case(subject::oracle(&Net::ZERO), 4, seed, 1.0, 0.9, LossKind::MeanSquared);
        for backend in subject::backends() {
            let net: Net = subject::network(&network);
            let of = |net: &Net, method| {
                subject::gradient::<_, _, _, 4>(backend, net, &inputs, &targets, method, 1e-14).unwrap()
            };
            let differences = network.differences(&inputs, &targets, None);
            let adjoint = of(&net, Way::Adjoint).params_error(&differences);
            let literal = of(&net, Way::Literal).params_error(&differences);
            assert!(adjoint <= ADJOINT, "adjoint: {adjoint:e}");
            assert!(literal > 1e3 * ADJOINT, "the literal rule should err: {literal:e}");
            errors.push(literal);
        }
        for place in network.feedback_places() {
            network.params[place] = 0.0;
        }
        let net: Net = subject::network(&network);
        let differences = network.differences(&inputs, &targets, None);
        for backend in Backend::available() {
            let literal =
                subject::gradient::<_, _, _, 4>(backend, &net, &inputs, &targets, Way::Literal, 1e-15)
                    .unwrap();
            let error = literal.params_error(&differences);
            assert!(error <= ADJOINT, "without feedback it is the gradient: {error:e}");
        }
    }
    errors.sort_by(f64::total_cmp);
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    let (least, most) = (errors[0], errors[errors.len() - 1]);
    println!(
        "the literal rule's error, relative to the largest entry: {least:.2} to {most:.2}, mean {mean:.2}"
    );
    assert!(mean > 0.05, "strong feedback must show it: {mean}");
}

#[test]
fn gradients_accumulate() {
    let Case { network, inputs, targets } = small(5, 0.5);
    let net: Small = subject::network(&network);
    let (x, y) = (subject::samples(&inputs), values(&targets));
    let tolerance = Stop::residual(1e-14);
    let objective = Objective::new(MeanSquared).solve(tolerance).method(Method::Implicit(tolerance));
    for backend in subject::backends() {
        for unrolled in [false, true] {
            let mut tape = UnrolledTape::<Small, SAMPLES, 3>::ZERO;
            let mut add = |gradient: &mut Small| {
                let mut workspace = Workspace::<Small, SAMPLES>::ZERO;
                let on = net.on(backend);
                if unrolled {
                    on.gradient_unrolled(&MeanSquared, &x, &y, &mut tape, &mut workspace, gradient).unwrap();
                } else {
                    on.gradient(&objective, &x, &y, &mut workspace, gradient).unwrap();
                }
            };
            let mut once = Small::ZERO;
            add(&mut once);
            let mut more = Small::ZERO;
            for (i, g) in more.params_mut().iter_mut().enumerate() {
                *g = (i as f64).sin();
            }
            let before = more.clone();
            add(&mut more);
            add(&mut more);
            assert!(oracle::largest(once.params()) > 1e-2);
            for ((more, before), once) in more.params().iter().zip(before.params()).zip(once.params()) {
                assert!((more - (before + 2.0 * once)).abs() <= 1e-14, "{more} {before} {once}");
            }
        }
    }
}

/// Starting from the last solution gives the same gradient in fewer sweeps.
#[test]
fn a_warm_start_gives_the_same_gradient() {
    let Case { network, inputs, targets } = small(6, 0.7);
    let net: Small = subject::network(&network);
    let (x, y) = (subject::samples(&inputs), values(&targets));
    let tolerance = Stop::residual(1e-13);
    let objective = Objective::new(MeanSquared).solve(tolerance).method(Method::Implicit(tolerance));
    for backend in subject::backends() {
        let mut workspace = Workspace::<Small, SAMPLES>::ZERO;
        let (mut cold, mut warm) = (Small::ZERO, Small::ZERO);
        let first = net.on(backend).gradient(&objective, &x, &y, &mut workspace, &mut cold).unwrap();
        let second = net.on(backend).gradient(&objective, &x, &y, &mut workspace, &mut warm).unwrap();
        assert!(first.solve.sweeps > 2 && first.adjoint.sweeps > 2);
        assert_eq!((second.solve.sweeps, second.adjoint.sweeps), (1, 1));
        assert!(oracle::relative_error(warm.params(), cold.params()) < 1e-11);
    }
}

#[test]
fn a_failed_gradient_changes_nothing() {
    let Case { network, inputs, targets } = small(7, 0.7);
    let net: Small = subject::network(&network);
    let (x, y) = (subject::samples(&inputs), values(&targets));
    let mut filled = Small::ZERO;
    for (i, g) in filled.params_mut().iter_mut().enumerate() {
        *g = (i as f64).cos();
    }
    let (good, short) = (Stop::residual(1e-12), Stop::residual(1e-12).at_most(2));
    for backend in subject::backends() {
        let attempt = |solve, rule, x: &SMatrix<f64, SAMPLES, 3>, y: &SMatrix<f64, SAMPLES, 2>| {
            let objective = Objective::new(MeanSquared).solve(solve).method(rule);
            let mut gradient = filled.clone();
            let mut workspace = Workspace::<Small, SAMPLES>::ZERO;
            let result = net.on(backend).gradient(&objective, x, y, &mut workspace, &mut gradient);
            (result.map(|learned| learned.loss), gradient)
        };
        let (worked, changed) = attempt(good, Method::Implicit(good), &x, &y);
        assert!(worked.is_ok() && changed != filled);

        let (result, gradient) = attempt(short, Method::Implicit(good), &x, &y);
        assert!(
            matches!(result, Err(LearnError::Solve(SolveError::NotConverged { sweeps: 2, residual })) if residual > 1e-12),
            "{result:?}"
        );
        assert_eq!(gradient, filled);
        let (result, gradient) = attempt(good, Method::Implicit(short), &x, &y);
        assert!(
            matches!(result, Err(LearnError::Adjoint(SolveError::NotConverged { sweeps: 2, residual })) if residual > 1e-12),
            "{result:?}"
        );
        assert_eq!(gradient, filled);
        let (mut bad_x, mut bad_y) = (x, y);
        bad_x[(1, 2)] = f64::NAN;
        let (result, gradient) = attempt(good, Method::Implicit(good), &bad_x, &y);
        assert!(matches!(result, Err(LearnError::Solve(SolveError::NotFinite(_)))));
        assert_eq!(gradient, filled);
        bad_y[(2, 1)] = f64::INFINITY;
        let (result, gradient) = attempt(good, Method::Implicit(good), &x, &bad_y);
        assert!(matches!(result, Err(LearnError::NotFinite(_))));
        assert_eq!(gradient, filled);

        let mut gradient = filled.clone();
        let mut workspace = Workspace::<Small, SAMPLES>::ZERO;
        let mut tape = UnrolledTape::<Small, SAMPLES, 3>::ZERO;
        let on = net.on(backend);
        let result = on.gradient_unrolled(&MeanSquared, &bad_x, &y, &mut tape, &mut workspace, &mut gradient);
        assert!(matches!(
            result.map(|learned| learned.loss),
            Err(LearnError::Solve(SolveError::NotFinite(_)))
        ));
        assert_eq!(gradient, filled);
        let result = on.gradient_unrolled(&MeanSquared, &x, &bad_y, &mut tape, &mut workspace, &mut gradient);
        assert!(matches!(result.map(|learned| learned.loss), Err(LearnError::NotFinite(_))));
        assert_eq!(gradient, filled);
    }
}

/// The backend a gradient is asked of is the one its loss is taken on too.
#[test]
fn the_loss_is_taken_on_the_chosen_backend() {
    struct Asked(Cell<Option<Backend>>);
    type Outputs = SMatrix<f64, SAMPLES, 2>;
    impl Loss<Outputs, Outputs> for Asked {
        type Scalar = f64;
        fn evaluate(&self, _: &Outputs, _: &Outputs, _: &mut Outputs) -> Result<f64, LossError> {
            Err(LossError::Target("asked without a backend"))
        }
        fn evaluate_on(
            &self,
            backend: Backend,
            output: &Outputs,
            target: &Outputs,
            gradient: &mut Outputs,
        ) -> Result<f64, LossError> {
            self.0.set(Some(backend));
            MeanSquared.evaluate(output, target, gradient)
        }
    }
    let Case { network, inputs, targets } = small(9, 0.5);
    let net: Small = subject::network(&network);
    let (x, y): (SMatrix<f64, SAMPLES, 3>, _) = (subject::samples(&inputs), values(&targets));
    for backend in subject::backends() {
        let on = net.on(backend);
        let objective = Objective::new(Asked(Cell::new(None)));
        let (mut workspace, mut gradient) = (Workspace::<Small, SAMPLES>::ZERO, Small::ZERO);
        on.gradient(&objective, &x, &y, &mut workspace, &mut gradient).unwrap();
        assert_eq!(objective.loss.0.take(), Some(backend));
        let mut tape = UnrolledTape::<Small, SAMPLES, 3>::ZERO;
        on.gradient_unrolled(&objective.loss, &x, &y, &mut tape, &mut workspace, &mut gradient).unwrap();
        assert_eq!(objective.loss.0.take(), Some(backend));
    }
}

/// The parts `adjoint` and `accumulate` one by one make the same gradient as the whole.
#[test]
fn the_parts_make_the_whole() {
    let Case { network, inputs, targets } = small(8, 0.6);
    let net: Small = subject::network(&network);
    let (x, y): (SMatrix<f64, SAMPLES, 3>, _) = (subject::samples(&inputs), values(&targets));
    let tolerance = Stop::residual(1e-14);
    let mut state = Small::state::<SAMPLES>();
    net.solve(&x, &mut state, tolerance).unwrap();
    let slope = (state.output() - y) * (2.0 / 6.0);
    let mut deltas = Small::state::<SAMPLES>();
    net.adjoint(Method::Implicit(tolerance), &state, &slope, &mut deltas).unwrap();
    let mut gradient = Small::ZERO;
    Small::accumulate(&x, &state, &deltas, &mut gradient).unwrap();
    let exact = network.gradient(&inputs, &targets, Way::Adjoint);
    assert!(oracle::relative_error(gradient.params(), &exact.params) < DOUBLE);
}
