//! Adapters: their gradients against central differences through the solutions of the merged network, which the oracle forms and
//! solves in `f64` itself; merged and unmerged networks; what an adapter does to bad input.

use crate::oracle::{Network, Target, relative_error, subject};
use attractor::adapt::{Adapted, Adapter, BiasOnly, Frozen, LastLayer, LowRank, ParamsOf};
use attractor::kernel::{Identity, Relu, Sigmoid, Tanh};
use attractor::learn::{LearnError, MeanSquared, Method, Objective, UpdateError};
use attractor::network::Flat;
use attractor::simd::Backend;
use attractor::{
    Acceleration, Adjacent, CertificateError, Dense, Feedforward, Injection, Skip, SolveError, State, Stop,
    Threads, Trace, Workspace, fnn,
};
use nalgebra::SMatrix;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Against differences; `f64` against the oracle; `f32` against `f64`.
const DIFFERENCES: f64 = 1e-6;
const DOUBLE: f64 = 1e-10;
const SINGLE: f64 = 3e-5;
const STEP: f64 = 1e-5;
/// No unit comes nearer to a kink.
const MARGIN: f64 = 2e-3;

/// The kinds of adapters as the test sees them.
#[derive(Clone, Copy, Debug)]
enum Kind {
    LowRank(usize),
    /// All parameters above so many layers.
    Above(usize),
}

impl Kind {
    /// How many parameters there are.
    fn len(self, base: &Network) -> usize {
        match self {
            Self::LowRank(rank) => (1..=base.depth())
                .map(|l| rank * (base.widths[l] + senders(base, l).len()) + base.widths[l])
                .sum(),
            Self::Above(layers) => base.params.len() - base.w(layers + 1, 0, 0),
        }
    }

    /// The merged network, formed entry by entry.
    fn merge(self, base: &Network, own: &[f64]) -> Network {
        let mut merged = base.clone();
        match self {
            Self::Above(layers) => {
                let first = base.w(layers + 1, 0, 0);
                merged.params[first..].copy_from_slice(own);
            }
            Self::LowRank(rank) => {
                let mut start = 0;
                for l in 1..=base.depth() {
                    let (width, senders) = (base.widths[l], senders(base, l));
                    let q = start + width * rank;
                    let b = q + rank * senders.len();
                    for i in 0..width {
                        for (j, (k, unit)) in senders.iter().enumerate() {
                            let place = if *k < l { base.w(l, i, *unit) } else { base.u(l, *k, i, *unit) };
                            for r in 0..rank {
                                merged.params[place] += own[start + r * width + i] * own[q + j * rank + r];
                            }
                        }
                        merged.params[base.b(l, i)] = own[b + i];
                    }
                    start = b + width;
                }
            }
        }
        merged
    }
}

/// Layer and unit of everything layer `l` reads: the layer below, then those above, the nearest first.
fn senders(base: &Network, l: usize) -> Vec<(usize, usize)> {
    core::iter::once(l - 1)
        .chain(base.reads(l))
        .flat_map(|k| (0..base.widths[k]).map(move |unit| (k, unit)))
        .collect()
}

struct Case {
    base: Network,
    own: Vec<f64>,
    inputs: Vec<Vec<f64>>,
    targets: Vec<Target>,
}

/// A network, an adapter that moves it, inputs and targets; all of them `f32` numbers, so that both scalars see the same problem.
fn case(mut base: Network, kind: Kind, samples: usize, seed: u64) -> Case {
    let random = &mut SmallRng::seed_from_u64(seed);
    for tries in 0..1000 {
        base.draw(random, 0.9, 0.4);
        for param in &mut base.params {
            *param = f64::from(*param as f32);
        }
        let mut own: Vec<f64> =
            (0..kind.len(&base)).map(|_| f64::from(random.random_range(-0.4_f32..0.4))).collect();
        // Ever smaller, until it converges.
        own.iter_mut().for_each(|own| *own = f64::from((*own * 0.95_f64.powi(tries)) as f32));
        if let Kind::Above(layers) = kind {
            let first = base.w(layers + 1, 0, 0);
            for (own, base) in own.iter_mut().zip(&base.params[first..]) {
                *own = f64::from((base + 0.3 * *own) as f32);
            }
        }
        let merged = kind.merge(&base, &own);
        let inputs: Vec<Vec<f64>> = (0..samples)
            .map(|_| (0..base.widths[0]).map(|_| f64::from(random.random_range(-1.0_f32..1.0))).collect())
            .collect();
        if merged.rate() > 0.8 || inputs.iter().any(|x| merged.margin(x, None) < MARGIN) {
            continue;
        }
        let targets = inputs
            .iter()
            .map(|x| {
                let output = merged.solve(x).pop().unwrap();
                let away = output.iter().map(|h| f64::from((h + random.random_range(0.5..1.5)) as f32));
                Target::Values(away.collect())
            })
            .collect();
        return Case { base, own, inputs, targets };
    }
    panic!("no network that converges");
}

/// Central differences by every parameter of the adapter.
fn differences(kind: Kind, case: &Case) -> Vec<f64> {
    let Case { base, own, inputs, targets } = case;
    let mut moved = own.clone();
    (0..own.len())
        .map(|place| {
            let [high, low] = [own[place] + STEP, own[place] - STEP].map(|param| {
                moved[place] = param;
                kind.merge(base, &moved).loss(inputs, targets, None)
            });
            moved[place] = own[place];
            (high - low) / (2.0 * STEP)
        })
        .collect()
}

fn values<T: attractor::simd::Element>(flat: &[T]) -> Vec<f64> {
    flat.iter().map(|value| value.to_f64()).collect()
}

fn near(found: &[f64], exact: &[f64], bound: f64, what: &str) -> Result<(), TestCaseError> {
    let error = relative_error(found, exact);
    prop_assert!(error <= bound, "{what}: {error:e} of {bound:e}");
    Ok(())
}

/// Whether these are the solutions of the network.
fn solved(found: &[Vec<f64>], network: &Network, inputs: &[Vec<f64>]) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), inputs.len());
    found
        .iter()
        .zip(inputs)
        .try_for_each(|(found, x)| near(found, &network.solve(x)[1..].concat(), DOUBLE, "solved"))
}

fn rows(targets: &[Target]) -> Vec<Vec<f64>> {
    let row = |target: &Target| match target {
        Target::Values(values) => values.clone(),
        Target::Label { .. } => unreachable!(),
    };
    targets.iter().map(row).collect()
}

/// A quarter of the gradient down.
fn stepped(own: &[f64], gradient: &[f64]) -> Vec<f64> {
    own.iter().zip(gradient).map(|(own, g)| own - 0.25 * g).collect()
}

fn rounded(to: &mut [f32], from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from as f32);
}

macro_rules! adapters {
    ($($name:ident: [$($width:literal),*], $feedback:ty, $hidden:ty, $output:ty, $adapter:ty, $kind:expr, $samples:literal, $cases:literal;)*) => {$(
        #[test]
        fn $name() {
            crate::seeds($cases, &|seed| {
                type Double =
                    fnn![$($width),*; feedback = $feedback, hidden = $hidden, output = $output, scalar = f64];
                type Single = fnn![$($width),*; feedback = $feedback, hidden = $hidden, output = $output];
                const B: usize = $samples;
                let kind: Kind = $kind;
                let case = case(subject::oracle(&Double::ZERO), kind, B, seed);
                let merged = kind.merge(&case.base, &case.own);
                let exact = differences(kind, &case);
                let target_rows = rows(&case.targets);

                let inputs: SMatrix<f64, B, { [$($width),*][0] }> = subject::samples(&case.inputs);
                let targets: SMatrix<f64, B, { Double::OUTPUTS }> = subject::samples(&target_rows);
                let double: Double = subject::network(&case.base);
                let mut adapted = Adapted::<Double, $adapter>::new(&double, 1);
                prop_assert_eq!(Adapted::<Double, $adapter>::PARAMS, case.own.len());
                adapted.params_mut().flat_mut().copy_from_slice(&case.own);

                let mut formed = Double::ZERO;
                adapted.merge_into(&mut formed).unwrap();
                near(formed.params(), &merged.params, 1e-14, "merged")?;

                let tolerance = Stop::relative(1e-14).at_most(1000);
                let objective = Objective::new(MeanSquared).solve(tolerance).method(Method::Implicit(tolerance));
                let mut gradient = ParamsOf::<Double, $adapter>::ZERO;
                for backend in Backend::available() {
                    let mut workspace = Workspace::<Double, B>::ZERO;
                    gradient.flat_mut().fill(0.0);
                    let on = adapted.on(backend);
                    let learned =
                        on.gradient(&objective, &inputs, &targets, &mut workspace, &mut gradient).unwrap();
                    let loss = merged.loss(&case.inputs, &case.targets, None);
                    prop_assert!((learned.loss - loss).abs() <= 1e-12 * loss.max(1.0));
                    near(gradient.flat(), &exact, DIFFERENCES, backend.name())?;
                    solved(&subject::states(&workspace.state), &merged, &case.inputs)?;
                    // The merged network has the same solutions.
                    let mut state = State::<Double, B>::ZERO;
                    formed.on(backend).solve(&inputs, &mut state, tolerance).unwrap();
                    near(state.as_slice(), workspace.state.as_slice(), DOUBLE, "solved merged")?;

                    // Descent in place goes the way of the gradient.
                    let mut moved = adapted.clone();
                    let mut workspace = Workspace::<Double, B>::ZERO;
                    moved.descend(&objective, &inputs, &targets, &mut workspace, 0.25).unwrap();
                    near(moved.params().flat(), &stepped(&case.own, gradient.flat()), DOUBLE, "descended")?;

                    let single: Single = subject::network(&case.base);
                    let mut small = Adapted::<Single, $adapter>::new(&single, 1);
                    rounded(small.params_mut().flat_mut(), &case.own);
                    let tolerance = Stop::relative(1e-6).at_most(1000);
                    let objective = Objective::new(MeanSquared).solve(tolerance).method(Method::Implicit(tolerance));
                    let mut own = ParamsOf::<Single, $adapter>::ZERO;
                    let (x, y) = (inputs.map(|x| x as f32), targets.map(|y| y as f32));
                    let mut workspace = Workspace::<Single, B>::ZERO;
                    small.on(backend).gradient(&objective, &x, &y, &mut workspace, &mut own).unwrap();
                    near(&values(own.flat()), gradient.flat(), SINGLE, backend.name())?;
                }
                Ok(())
            });
        }
    )*};
}

adapters! {
    rank_one: [3, 5, 2], Adjacent, Tanh, Identity, LowRank<1>, Kind::LowRank(1), 3, 8;
    rank_two_of_three_layers: [3, 6, 4, 2], Adjacent, Tanh, Identity, LowRank<2>, Kind::LowRank(2), 1, 8;
    rank_three_dense: [2, 4, 5, 3, 2], Dense, Sigmoid, Tanh, LowRank<3>, Kind::LowRank(3), 3, 4;
    rank_two_skip: [3, 4, 3, 4, 3, 2], Skip, Tanh, Identity, LowRank<2>, Kind::LowRank(2), 3, 4;
    rank_two_dense_single_sample: [3, 4, 3, 4, 2], Dense, Tanh, Identity, LowRank<2>, Kind::LowRank(2), 1, 4;
    across_chunks: [2, 3, 4, 2], Adjacent, Tanh, Identity, LowRank<2>, Kind::LowRank(2), 35, 3;
    wider_than_vectors: [5, 19, 3], Adjacent, Tanh, Identity, LowRank<9>, Kind::LowRank(9), 2, 2;
    one_layer: [4, 3], Adjacent, Tanh, Tanh, LowRank<1>, Kind::LowRank(1), 2, 6;
    without_feedback: [3, 5, 4, 2], Feedforward, Tanh, Identity, LowRank<2>, Kind::LowRank(2), 3, 6;
    kinks: [4, 6, 5, 3], Adjacent, Relu, Identity, LowRank<2>, Kind::LowRank(2), 2, 6;
    bias_only: [3, 6, 4, 2], Adjacent, Tanh, Identity, BiasOnly, Kind::LowRank(0), 3, 6;
    bias_only_single_sample: [3, 6, 4, 2], Dense, Tanh, Identity, BiasOnly, Kind::LowRank(0), 1, 6;
    none_frozen: [3, 5, 4, 2], Adjacent, Tanh, Identity, Frozen<0>, Kind::Above(0), 3, 6;
    one_frozen: [3, 5, 4, 2], Adjacent, Tanh, Identity, Frozen<1>, Kind::Above(1), 1, 6;
    two_frozen_dense: [3, 4, 5, 3, 2], Dense, Tanh, Identity, Frozen<2>, Kind::Above(2), 3, 4;
    last_layer: [3, 5, 4, 2], Adjacent, Tanh, Identity, LastLayer, Kind::Above(2), 35, 3;
}

type Net = fnn![3, 6, 4, 2];

/// A trained network and an adapter that moves it.
fn moved<A: Adapter<Net>>(net: &Net) -> Adapted<'_, Net, A> {
    let mut adapted = Adapted::<Net, A>::new(net, 7);
    for (i, value) in adapted.params_mut().flat_mut().iter_mut().enumerate() {
        *value += 0.1 * (i as f32).cos();
    }
    adapted
}

/// Single sweeps, traces and acceleration without a window are solves, bit for bit, as for networks; threads leave no trace.
#[test]
fn sweeps_and_traces_are_solves() {
    fn check<A: Adapter<Net>, const B: usize>(net: &Net) {
        let adapted = moved::<A>(net);
        let (x, stop) = (SMatrix::<f32, B, 3>::from_fn(|b, i| ((b + 3 * i) as f32).sin()), Stop::after(3));
        for backend in Backend::available() {
            let on = adapted.on(backend);
            let (mut solved, mut swept) = (State::<Net, B>::ZERO, State::<Net, B>::ZERO);
            on.solve(&x, &mut solved, stop).unwrap();
            let mut injection = Injection::<Net, B>::ZERO;
            on.inject(&x, &mut injection).unwrap();
            for _ in 0..3 {
                on.sweep(&injection, &mut swept).unwrap();
            }
            assert!(swept == solved);
            let mut again = State::<Net, B>::ZERO;
            on.threads(Threads::Rayon).solve(&x, &mut again, stop).unwrap();
            assert!(again == solved);
        }
    }
    fn check_one<A: Adapter<Net>>(net: &Net) {
        check::<A, 1>(net);
        check::<A, 70>(net);
        let (adapted, x, stop) = (moved::<A>(net), [0.5, -0.25, 1.0], Stop::residual(1e-5));
        let on = adapted.on(Backend::best());
        let [mut solved, mut traced, mut accelerated] = [const { State::<Net>::ZERO }; 3];
        let plain = on.solve(&x, &mut solved, stop).unwrap();
        let mut trace = Trace::<f32, 8>::new();
        assert_eq!(on.solve_traced(&x, &mut traced, stop, &mut trace).unwrap(), plain);
        let mut without = Acceleration::<Net, 0>::new();
        assert_eq!(on.solve_accelerated(&x, &mut accelerated, stop, &mut without).unwrap(), plain);
        assert!(traced == solved && accelerated == solved && trace.sweeps() == plain.sweeps);
    }
    let net = trained();
    check_one::<LowRank<2>>(&net);
    check_one::<BiasOnly>(&net);
    check_one::<LastLayer>(&net);
}

fn trained() -> Net {
    let mut net = Net::ZERO;
    net.initialize(&mut SmallRng::seed_from_u64(3));
    net
}

#[test]
fn an_adapter_starts_as_the_network() {
    fn check<A: Adapter<Net>>(net: &Net) {
        let adapted = Adapted::<Net, A>::new(net, 5);
        let mut merged = Net::ZERO;
        adapted.merge_into(&mut merged).unwrap();
        assert_eq!(merged, *net);
        let (mut own, mut plain) = (Net::state::<1>(), Net::state::<1>());
        let input = [0.5, -1.0, 0.25];
        adapted.solve(&input, &mut own, Stop::after(20)).unwrap();
        net.solve(&input, &mut plain, Stop::after(20)).unwrap();
        for (own, plain) in own.as_slice().iter().zip(plain.as_slice()) {
            assert!((own - plain).abs() < 1e-6, "{own} {plain}");
        }
    }
    let net = trained();
    check::<LowRank<2>>(&net);
    check::<BiasOnly>(&net);
    check::<Frozen<1>>(&net);
    check::<LastLayer>(&net);
    // Whatever Q is, it is not zero, and seeds give others.
    let [one, other] = [1, 2].map(|seed| Adapted::<Net, LowRank<2>>::new(&net, seed).params().q);
    assert!(one.iter().all(|q| *q != 0.0 && q.abs() < 1.0) && one != other);
}

#[test]
fn bad_input_changes_nothing() {
    fn check<A: Adapter<Net>>(net: &Net) {
        let mut adapted = moved::<A>(net);
        let before = adapted.params().flat().to_vec();
        let objective = Objective::new(MeanSquared);
        let mut workspace = Workspace::<Net>::ZERO;
        let mut gradient = Adapted::<Net, A>::gradient_zero();
        for input in [[f32::NAN, 0.0, 0.0], [0.0, f32::INFINITY, 0.0]] {
            workspace.state.as_mut_slice().fill(0.5);
            let result = adapted.gradient(&objective, &input, &[1.0, 0.0], &mut workspace, &mut gradient);
            assert!(matches!(result, Err(LearnError::Solve(SolveError::NotFinite(_)))));
            assert!(workspace.state.as_slice().iter().all(|h| *h == 0.5));
        }
        let never = objective.solve(Stop::residual(0.0).at_most(1));
        let result = adapted.gradient(&never, &[1.0; 3], &[1.0, 0.0], &mut workspace, &mut gradient);
        assert!(
            matches!(result, Err(LearnError::Solve(SolveError::NotConverged { sweeps: 1, .. }))),
            "{result:?}"
        );
        workspace.adjoint.reset();
        let never = objective.method(Method::Implicit(Stop::residual(0.0).at_most(1)));
        let result = adapted.gradient(&never, &[1.0; 3], &[1.0, 0.0], &mut workspace, &mut gradient);
        assert!(matches!(result, Err(LearnError::Adjoint(SolveError::NotConverged { .. }))), "{result:?}");
        let result = adapted.gradient(&objective, &[1.0; 3], &[f32::NAN, 0.0], &mut workspace, &mut gradient);
        assert!(matches!(result, Err(LearnError::NotFinite(_))));
        for rate in [-1.0, f32::NAN, 2000.0] {
            let result = adapted.descend(&objective, &[1.0; 3], &[1.0, 0.0], &mut workspace, rate);
            assert!(matches!(result, Err(LearnError::Update(UpdateError::Setting(_)))), "{result:?}");
        }
        // So large that a sum of the gradient might not be finite, though the loss is.
        workspace.state.reset();
        workspace.adjoint.reset();
        let result = adapted.descend(&objective, &[1e10; 3], &[1e19, 0.0], &mut workspace, 1000.0);
        assert!(matches!(result, Err(LearnError::NotFinite(_))));
        assert!(gradient.flat().iter().all(|g| *g == 0.0));
        assert_eq!(adapted.params().flat(), before);

        // Parameters that are not finite, wherever they are.
        for (place, before) in before.iter().enumerate() {
            for value in [f32::NAN, f32::INFINITY] {
                adapted.params_mut().flat_mut()[place] = value;
                let mut state = Net::state::<1>();
                state.as_mut_slice().fill(0.5);
                let result = adapted.solve(&[1.0; 3], &mut state, Stop::residual(1e-4));
                assert!(matches!(result, Err(SolveError::NotFinite(_))), "{place}");
                let mut merged = net.clone();
                assert!(adapted.merge_into(&mut merged).is_err());
                assert_eq!(merged, *net);
            }
            adapted.params_mut().flat_mut()[place] = *before;
        }
    }
    let net = trained();
    check::<LowRank<2>>(&net);
    check::<BiasOnly>(&net);
    check::<Frozen<1>>(&net);
    check::<LastLayer>(&net);
}

#[test]
fn memory_is_the_size_of_what_there_is() {
    fn check<A: Adapter<Net>>(params: usize) {
        let memory = Adapted::<Net, A>::MEMORY;
        assert_eq!(memory.parameters(), 4 * params);
        assert_eq!(memory.parameters(), size_of::<ParamsOf<Net, A>>());
        assert_eq!(memory.workspace(3), size_of::<Workspace<Net, 3>>());
        assert_eq!(memory.adam(1), 16 * params + size_of::<Workspace<Net>>());
        assert_eq!(memory.descent(1), 4 * params + size_of::<Workspace<Net>>());
    }
    check::<LowRank<2>>(2 * (6 + 3 + 4) + 6 + 2 * (4 + 6 + 2) + 4 + 2 * (2 + 4) + 2);
    check::<BiasOnly>(12);
    check::<Frozen<1>>(4 * (6 + 2 + 1) + 2 * 5);
    check::<LastLayer>(2 * 5);
    check::<Frozen<0>>(Net::PARAMS);
}

#[test]
fn adapting_learns_what_the_network_does_not_know() {
    fn loss_after<A: Adapter<Net>>(net: &Net) -> [f32; 2] {
        let mut adapted = Adapted::<Net, A>::new(net, 1);
        let inputs =
            SMatrix::<f32, 4, 3>::from_fn(|row, column| if (row + column) % 3 == 0 { 1.0 } else { -0.5 });
        let targets = SMatrix::<f32, 4, 2>::from_fn(|row, column| ((row * 2 + column) as f32).sin());
        let mut workspace = Workspace::<Net, 4>::ZERO;
        let objective = Objective::new(MeanSquared);
        let mut losses = [0.0; 2];
        for step in 0..600 {
            let learned = adapted.descend(&objective, &inputs, &targets, &mut workspace, 0.2).unwrap();
            losses[usize::from(step > 0)] = learned.loss;
        }
        losses
    }
    let net = trained();
    for [before, after] in [loss_after::<LowRank<2>>(&net), loss_after::<Frozen<1>>(&net)] {
        assert!(after < 0.2 * before, "{before} {after}");
    }
    for [before, after] in [loss_after::<BiasOnly>(&net), loss_after::<LastLayer>(&net)] {
        assert!(after < 0.9 * before, "{before} {after}");
    }
}

/// The network of magnitudes: |W| + |P| |Q|^T and so on, formed entry by entry.
fn magnitudes(kind: Kind, base: &Network, own: &[f64]) -> Network {
    let mut base = base.clone();
    base.params.iter_mut().for_each(|param| *param = param.abs());
    kind.merge(&base, &own.iter().map(|own| own.abs()).collect::<Vec<_>>())
}

/// max w_i / v_i of a sweep with magnitudes, v a value for every unit of all layers.
fn rate_under(network: &Network, v: &[f64]) -> f64 {
    let mut v: Vec<Vec<f64>> = {
        let mut rest = v;
        let layers = network.widths[1..].iter().map(|width| {
            let (own, above) = rest.split_at(*width);
            rest = above;
            own.to_vec()
        });
        core::iter::once(Vec::new()).chain(layers).collect()
    };
    let mut rate = 0.0;
    let mut w = v.clone();
    for l in 1..=network.depth() {
        for i in 0..network.widths[l] {
            let mut sum = 0.0;
            if l > 1 {
                sum += (0..network.widths[l - 1])
                    .map(|j| network.params[network.w(l, i, j)].abs() * w[l - 1][j])
                    .sum::<f64>();
            }
            for k in network.reads(l) {
                sum += (0..network.widths[k])
                    .map(|j| network.params[network.u(l, k, i, j)].abs() * v[k][j])
                    .sum::<f64>();
            }
            w[l][i] = network.activation(l).steepest() * sum;
            rate = f64::max(rate, w[l][i] / v[l][i]);
        }
    }
    v.clear();
    rate
}

macro_rules! certificates {
    ($($name:ident: [$($width:literal),*], $feedback:ty, $adapter:ty, $kind:expr;)*) => {$(
        #[test]
        fn $name() {
            type Double = fnn![$($width),*; feedback = $feedback, scalar = f64];
            let kind: Kind = $kind;
            for seed in 0..20 {
                let case = case(subject::oracle(&Double::ZERO), kind, 1, seed);
                let net: Double = subject::network(&case.base);
                let mut adapted = Adapted::<Double, $adapter>::new(&net, 1);
                adapted.params_mut().flat_mut().copy_from_slice(&case.own);
                let Ok(certificate) = adapted.certify() else {
                    assert!(magnitudes(kind, &case.base, &case.own).rate() > 0.9);
                    continue;
                };
                let v = certificate.vector().as_slice();
                assert!(v.iter().all(|v| *v >= 1.0));
                let exact = rate_under(&magnitudes(kind, &case.base, &case.own), v);
                assert!(certificate.rate() >= exact, "{} {exact}", certificate.rate());
                assert!(certificate.rate() <= exact * (1.0 + 1e-10) + 1e-12, "{} {exact}", certificate.rate());
                let merged = kind.merge(&case.base, &case.own);
                assert!(rate_under(&merged, v) <= certificate.rate());
                adapted.verify(&certificate).unwrap();

                // It is not only stated: sweeps of the merged network shrink errors so.
                let solution = merged.solve(&case.inputs[0]);
                let mut h = merged.start(&case.inputs[0]);
                let error = |h: &Vec<Vec<f64>>| {
                    let differences = h[1..].concat().into_iter().zip(solution[1..].concat()).zip(v);
                    differences.fold(0.0, |most, ((a, b), v)| f64::max(most, (a - b).abs() / v))
                };
                for _ in 0..4 {
                    let before = error(&h);
                    merged.sweep(&mut h);
                    assert!(error(&h) <= certificate.rate() * before + 1e-14);
                }
            }
        }
    )*};
}

certificates! {
    the_rate_of_rank_two: [3, 6, 4, 2], Adjacent, LowRank<2>, Kind::LowRank(2);
    the_rate_of_rank_twenty: [2, 5, 3], Dense, LowRank<20>, Kind::LowRank(20);
    the_rate_of_three_skip: [3, 4, 5, 3, 2], Skip, LowRank<1>, Kind::LowRank(1);
    the_rate_of_three_dense: [3, 4, 5, 2], Dense, LowRank<1>, Kind::LowRank(1);
    the_rate_of_biases: [3, 6, 4, 2], Adjacent, BiasOnly, Kind::LowRank(0);
    the_rate_above_a_frozen_layer: [3, 6, 4, 2], Adjacent, Frozen<1>, Kind::Above(1);
}

#[test]
fn a_certified_network_stays_certified() {
    const RATE: f32 = 0.3;
    fn check<A: Adapter<Net>>(net: &Net, by: f32, moves: bool) {
        // Nothing learnt yet: nothing to be drawn back.
        let mut adapted = Adapted::<Net, A>::new(net, 5);
        let before = adapted.params().flat().to_vec();
        let certificate = adapted.limit_rate(RATE).unwrap();
        assert_eq!(adapted.params().flat(), before);
        // The vector of a low-rank bound of zero is that of the network.
        assert!(certificate.rate() <= RATE);

        for (i, value) in adapted.params_mut().flat_mut().iter_mut().enumerate() {
            *value += by * (i as f32).cos();
        }
        let wild = adapted.params().flat().to_vec();
        if moves {
            let gamma = match adapted.certify() {
                Ok(certificate) => certificate.rate(),
                Err(CertificateError::NotContracting { rate }) => rate,
                Err(error) => panic!("{error}"),
            };
            assert!(gamma > RATE, "{gamma}");
            assert!(matches!(
                adapted.verify(&certificate),
                Err(CertificateError::Refuted { what: "rate", .. })
            ));
        }
        for rate in [-0.1, 1.0, f32::NAN] {
            assert!(matches!(adapted.limit_rate(rate), Err(CertificateError::Setting(_))));
        }
        let too_much = net.certify().unwrap().rate() * 0.5;
        assert!(
            matches!(adapted.limit_rate(too_much), Err(CertificateError::NotContracting { .. })) || !moves
        );
        assert_eq!(adapted.params().flat(), wild);

        let certificate = adapted.limit_rate(RATE).unwrap();
        assert!(certificate.rate() <= RATE);
        adapted.verify(&certificate).unwrap();
        assert_eq!(adapted.params().flat() != wild, moves);
        // What is left is not nothing; and a merged network says the same.
        let mut merged = Net::ZERO;
        adapted.merge_into(&mut merged).unwrap();
        assert_ne!(merged, *net);
        assert!(merged.certify().unwrap().rate() <= RATE * 1.15);
        assert!(certificate.sweeps(1e-3) <= 6);
        let mut state = Net::state::<1>();
        let solved = adapted.solve(&[1.0, -1.0, 0.5], &mut state, Stop::residual(1e-6)).unwrap();
        assert!(solved.sweeps < 20);
    }
    let mut net = trained();
    net.params_mut().iter_mut().for_each(|weight| *weight *= 2.0);
    net.limit_rate(0.2).unwrap();
    check::<LowRank<1>>(&net, 2.0, true);
    check::<LowRank<3>>(&net, 2.0, true);
    check::<BiasOnly>(&net, 2.0, false);
    check::<Frozen<0>>(&net, 2.0, true);
    check::<Frozen<1>>(&net, 2.0, true);
    check::<LastLayer>(&net, 12.0, true);
}
