//! Smaller networks: pruned ones against the naive network some of whose units always say their mean, importance against its definition,
//! distillation against differences, shared layers against networks that have the same weights several times.

use crate::oracle::{self, Network, States, Target, Way, subject};
use attractor::compress::{CompressError, Distill, Importance, Measure, Narrows, Prunes};
use attractor::kernel::{Activation as Act, HardTanh, Identity, Relu, Scalar, Sigmoid, Tanh};
use attractor::learn::{Loss, LossError, MeanSquared, Method, Objective, UnrolledTape};
use attractor::network::{Architecture, Flat, Fnn, Form, Stack, Takes};
use attractor::simd::Backend;
use attractor::{
    Adjacent, Dense, Feedforward, Layer, Network as Net, Repeat, Skip, State, Stop, Threads, Tied, Workspace,
    fnn,
};
use nalgebra::SMatrix;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

const SAMPLES: usize = 3;

/// Sweeps of the naive network in which some units always say what `says` has for them, and what all others say is moved by `moves`.
fn solve_with(
    network: &Network,
    input: &[f64],
    says: &dyn Fn(usize, usize) -> Option<f64>,
    moves: &dyn Fn(usize, usize) -> f64,
) -> States {
    let mut h = network.start(input);
    for _ in 0..400 {
        for l in 1..=network.depth() {
            let new: Vec<f64> = (0..network.widths[l])
                .map(|i| {
                    if let Some(mean) = says(l, i) {
                        return mean;
                    }
                    let mut z = network.params[network.b(l, i)];
                    z += (0..network.widths[l - 1])
                        .map(|j| network.params[network.w(l, i, j)] * h[l - 1][j])
                        .sum::<f64>();
                    for k in network.reads(l) {
                        z += (0..network.widths[k])
                            .map(|j| network.weight_from(l, k, i, j) * h[k][j])
                            .sum::<f64>();
                    }
                    network.activation(l).value(z) + moves(l, i)
                })
                .collect();
            h[l] = new;
        }
    }
    h
}

/// The listed values of a state, layer after layer from the first.
fn layered(network: &Network, flat: &[f64]) -> States {
    let mut rest = flat;
    (0..=network.depth())
        .map(|l| {
            let width = if l == 0 { 0 } else { network.widths[l] };
            let (own, others) = rest.split_at(width);
            rest = others;
            own.to_vec()
        })
        .collect()
}

fn fill<T: Scalar>(to: &mut [T], value: &mut dyn FnMut() -> f64) -> Vec<f64> {
    to.iter_mut().for_each(|to| *to = T::from_f64(value()));
    to.iter().map(|value| value.to_f64()).collect()
}

fn inputs(network: &Network, random: &mut SmallRng, count: usize) -> Vec<Vec<f64>> {
    let one = |random: &mut SmallRng| {
        (0..network.widths[0]).map(|_| f64::from(random.random_range(-1.0_f32..1.0))).collect()
    };
    (0..count).map(|_| one(random)).collect()
}

/// A network is pruned by random scores, some of them equal, to means that are its own; what it then says is what the naive network says.
fn pruned_is_clamped<T: Scalar, A, R, const I: usize>(seed: u64, tolerance: f64) -> Result<(), TestCaseError>
where
    A: Takes<I, Scalar = T> + Prunes<R>,
    R: Takes<I, Scalar = T>,
{
    let random = &mut SmallRng::seed_from_u64(seed);
    let mut network = subject::oracle(&Net::<A>::ZERO);
    network.draw(random, 1.0, 0.3);
    let large: Net<A> = subject::network(&network);
    let (mut scores, mut means) = (State::<Net<A>>::ZERO, State::ZERO);
    let scored = fill(scores.as_mut_slice(), &mut || f64::from(random.random_range(0..6_u8)));
    let meant = fill(means.as_mut_slice(), &mut || random.random_range(-1.0..1.0));
    let mut small = Net::<R>::ZERO;
    large.prune(&scores, &means, &mut small).unwrap();

    let x = &inputs(&network, random, 1)[0];
    let expected = clamped(&network, R::SHAPE.widths(), (&scored, &meant), x);
    let input: SMatrix<T, 1, I> = subject::samples(core::slice::from_ref(x));
    let mut state = Net::<R>::state::<1>();
    small.solve(&input, &mut state, Stop::residual(T::from_f64(tolerance * 0.1)).at_most(400)).unwrap();
    near(&subject::states(&state)[0], &expected, tolerance)
}

fn near(found: &[f64], expected: &[f64], tolerance: f64) -> Result<(), TestCaseError> {
    for (found, expected) in found.iter().zip(expected) {
        prop_assert!((found - expected).abs() <= tolerance, "{found} for {expected}");
    }
    prop_assert_eq!(found.len(), expected.len());
    Ok(())
}

/// What the units that stay say when the others always say their means.
fn clamped(network: &Network, widths: &[u32], (scored, meant): (&[f64], &[f64]), x: &[f64]) -> Vec<f64> {
    let (scored, meant) = (layered(network, scored), layered(network, meant));
    // The units that stay: sorted by score, the first of equals first, and then back in their order.
    let kept: Vec<Vec<usize>> = (0..=network.depth())
        .map(|l| {
            let width = if l == 0 { 0 } else { widths[l] as usize };
            let mut units: Vec<usize> = (0..scored[l].len()).collect();
            units.sort_by(|a, b| scored[l][*b].total_cmp(&scored[l][*a]));
            units.truncate(width);
            units.sort_unstable();
            units
        })
        .collect();
    let says = |l: usize, i: usize| (!kept[l].contains(&i)).then(|| meant[l][i]);
    let clamped = solve_with(network, x, &says, &|_, _| 0.0);
    (1..=network.depth()).flat_map(|l| kept[l].iter().map(|i| clamped[l][*i]).collect::<Vec<_>>()).collect()
}

/// With no unit to leave out, all bits stay.
fn pruning_nothing<T: Scalar, A: Takes<I, Scalar = T> + Prunes<A>, const I: usize>(seed: u64) {
    let random = &mut SmallRng::seed_from_u64(seed);
    let mut network = subject::oracle(&Net::<A>::ZERO);
    network.draw(random, 1.0, 0.3);
    let large: Net<A> = subject::network(&network);
    let (mut scores, mut means) = (State::<Net<A>>::ZERO, State::ZERO);
    fill(scores.as_mut_slice(), &mut || random.random());
    fill(means.as_mut_slice(), &mut || random.random());
    let mut same = Net::<A>::ZERO;
    large.prune(&scores, &means, &mut same).unwrap();
    assert_eq!(same.params(), large.params());
    assert!(same.params().iter().any(|w| *w != T::ZERO));
}

macro_rules! prunings {
    ($($name:ident: [$($large:literal),*] to [$($small:literal),*], $feedback:ty, $hidden:ty, $output:ty;)*) => {$(
        #[test]
        fn $name() {
            macro_rules! of {
                ($scalar:ty, $tolerance:expr) => {{
                    type Large = fnn![$($large),*; feedback = $feedback, hidden = $hidden, output = $output, scalar = $scalar];
                    type Small = fnn![$($small),*; feedback = $feedback, hidden = $hidden, output = $output, scalar = $scalar];
                    crate::seeds(24, &|seed| both::<Large, Small>(seed, $tolerance));
                }};
            }
            of!(f64, 1e-9);
            of!(f32, 2e-5);
        }
    )*};
}

/// The types of a pair, taken apart.
trait Pair<Small> {
    fn check(seed: u64, tolerance: f64) -> Result<(), TestCaseError>;
}
impl<const I: usize, S: Narrows<R> + Narrows<S>, R: Stack, T: Scalar, F: Form, H: Act, O: Act>
    Pair<Net<Fnn<I, R, T, F, H, O>>> for Net<Fnn<I, S, T, F, H, O>>
{
    fn check(seed: u64, tolerance: f64) -> Result<(), TestCaseError> {
        pruning_nothing::<T, Fnn<I, S, T, F, H, O>, I>(seed);
        pruned_is_clamped::<T, Fnn<I, S, T, F, H, O>, Fnn<I, R, T, F, H, O>, I>(seed, tolerance)
    }
}
fn both<Large: Pair<Small>, Small>(seed: u64, tolerance: f64) -> Result<(), TestCaseError> {
    Large::check(seed, tolerance)
}

prunings! {
    adjacent: [3, 7, 6, 5, 2] to [3, 4, 6, 1, 2], Adjacent, Tanh, Identity;
    skip: [3, 7, 6, 5, 2] to [3, 5, 3, 4, 2], Skip, Tanh, Identity;
    dense: [3, 7, 6, 5, 2] to [3, 5, 3, 4, 2], Dense, Sigmoid, Identity;
    tied: [3, 7, 6, 5, 2] to [3, 4, 2, 3, 2], Tied<60>, Tanh, Tanh;
    feedforward: [3, 7, 6, 2] to [3, 1, 4, 2], Feedforward, Relu, Identity;
    one_layer: [3, 2] to [3, 2], Adjacent, Tanh, HardTanh;
}

/// Means, variances and both measures, by their definitions.
fn importance_of<A: Takes<I, Scalar = f64>, const I: usize>(seed: u64) -> Result<(), TestCaseError>
where
    MeanSquared: Loss<A::Output<SAMPLES>, A::Output<SAMPLES>, Scalar = f64>,
{
    let random = &mut SmallRng::seed_from_u64(seed);
    let mut network = subject::oracle(&Net::<A>::ZERO);
    network.draw(random, 1.0, 0.3);
    let net: Net<A> = subject::network(&network);
    let mut importance = Importance::<Net<A>>::ZERO;
    let (mut said, mut slopes) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let xs = inputs(&network, random, SAMPLES);
        let outputs = *network.widths.last().unwrap();
        let mut target: A::Output<SAMPLES> = Flat::ZERO;
        let flat = fill(target.flat_mut(), &mut || random.random_range(-1.0..1.0));
        let (mut workspace, mut gradient) = (Workspace::ZERO, Net::ZERO);
        let tolerance = Stop::residual(1e-13).at_most(400);
        let objective = Objective::new(MeanSquared).solve(tolerance).method(Method::Implicit(tolerance));
        let x: SMatrix<f64, SAMPLES, I> = subject::samples(&xs);
        net.gradient(&objective, &x, &target, &mut workspace, &mut gradient).unwrap();
        importance.observe_gradient(&net, &workspace).unwrap();
        for (s, x) in xs.iter().enumerate() {
            said.push(network.solve(x)[1..].concat());
            let values = Target::Values((0..outputs).map(|o| flat[o * SAMPLES + s]).collect());
            let slope = slopes_by_differences(&network, x, &values);
            slopes.push(slope);
        }
    }
    prop_assert_eq!(importance.samples(), 9);
    let mut scores = State::ZERO;
    importance.scores(&net, Measure::Gradient, &mut scores).unwrap();
    let by_gradient = scores.as_slice().to_vec();
    importance.scores(&net, Measure::Weights, &mut scores).unwrap();
    let found =
        [importance.means().as_slice(), importance.variances().as_slice(), scores.as_slice(), &by_gradient];
    measured(&network, &said, &slopes, found)
}

/// dJ/d of what every unit says.
fn slopes_by_differences(network: &Network, x: &[f64], target: &Target) -> Vec<f64> {
    let mut slopes = Vec::new();
    for l in 1..=network.depth() {
        for i in 0..network.widths[l] {
            let [up, down] = [1e-5, -1e-5].map(|step| {
                let at = |k, j| if (k, j) == (l, i) { step } else { 0.0 };
                target.loss(&solve_with(network, x, &|_, _| None, &at).pop().unwrap())
            });
            slopes.push((up - down) / 2e-5);
        }
    }
    slopes
}

/// Means, variances, scores by weights and by the gradient, of nine samples.
fn measured(
    network: &Network,
    said: &[Vec<f64>],
    slopes: &[Vec<f64>],
    [means, variances, by_weights, by_gradient]: [&[f64]; 4],
) -> Result<(), TestCaseError> {
    let mut unit = 0;
    for l in 1..=network.depth() {
        for i in 0..network.widths[l] {
            let mean = said.iter().map(|h| h[unit]).sum::<f64>() / 9.0;
            let variance = said.iter().map(|h| (h[unit] - mean).powi(2)).sum::<f64>() / 9.0;
            let mut listening = 0.0;
            for k in 1..=network.depth() {
                for j in 0..network.widths[k] {
                    if k == l + 1 {
                        listening += network.params[network.w(k, j, i)].powi(2);
                    } else if network.reads(k).contains(&l) {
                        listening += network.weight_from(k, l, j, i).powi(2);
                    }
                }
            }
            let slope = slopes.iter().map(|g| g[unit] * g[unit]).sum::<f64>() / 9.0;
            let close = |found: f64, exact: f64, what| {
                prop_assert!(
                    (found - exact).abs() <= 1e-6 * exact.abs() + 1e-11,
                    "{what}: {found} for {exact}"
                );
                Ok(())
            };
            close(means[unit], mean, "mean")?;
            close(variances[unit], variance, "variance")?;
            close(by_weights[unit], variance * listening, "by weights")?;
            close(by_gradient[unit], variance * slope, "by the gradient")?;
            unit += 1;
        }
    }
    Ok(())
}

/// The types of a network, taken apart.
trait Observed {
    fn observed(seed: u64) -> Result<(), TestCaseError>;
}
impl<S: Stack, F: Form, H: Act, const I: usize> Observed for Net<Fnn<I, S, f64, F, H, Identity>>
where
    MeanSquared: Loss<S::Output<f64, SAMPLES>, S::Output<f64, SAMPLES>, Scalar = f64>,
{
    fn observed(seed: u64) -> Result<(), TestCaseError> {
        importance_of::<Fnn<I, S, f64, F, H, Identity>, I>(seed)
    }
}

#[test]
fn importance_is_as_defined() {
    crate::seeds(8, &|seed| {
        <fnn![3, 5, 4, 2; scalar = f64]>::observed(seed)?;
        <fnn![3, 5, 4, 3, 2; feedback = Dense, hidden = Sigmoid, scalar = f64]>::observed(seed)?;
        <fnn![3, 5, 4, 2; feedback = Tied<60>, scalar = f64]>::observed(seed)?;
        <fnn![3, 5, 4, 2; feedback = Feedforward, scalar = f64]>::observed(seed)
    });
}

#[test]
fn wrong_numbers_are_refused_and_change_nothing() {
    type Large = fnn![2, 4, 1];
    let mut large = Large::ZERO;
    large.params_mut().iter_mut().enumerate().for_each(|(i, w)| *w = (i as f32).sin());
    let mut importance = Importance::<Large>::ZERO;
    let mut scores = Large::state();
    for measure in [Measure::Weights, Measure::Gradient] {
        assert_eq!(importance.scores(&large, measure, &mut scores), Err(CompressError::NoSamples));
    }
    let mut state = Large::state::<1>();
    state.as_mut_slice()[2] = 0.5;
    importance.observe(&state).unwrap();
    for wrong in [f32::NAN, f32::INFINITY, f32::MAX] {
        let mut state = Large::state::<1>();
        state.as_mut_slice()[3] = wrong;
        assert_eq!(importance.observe(&state), Err(CompressError::NotFinite));
    }
    assert_eq!(importance.samples(), 1);
    assert_eq!(importance.means().as_slice(), [0.0, 0.0, 0.5, 0.0, 0.0]);

    let mut small = <fnn![2, 2, 1]>::ZERO;
    scores.as_mut_slice()[1] = f32::NAN;
    assert_eq!(large.prune(&scores, importance.means(), &mut small), Err(CompressError::NotFinite));
    scores.reset();
    let mut means = Large::state();
    means.as_mut_slice()[3] = f32::INFINITY;
    assert_eq!(large.prune(&scores, &means, &mut small), Err(CompressError::NotFinite));
    means.as_mut_slice()[3] = 3e38;
    large.layer_mut::<2>().w[3] = 3e38;
    assert_eq!(large.prune(&scores, &means, &mut small), Err(CompressError::NotFinite));
    large.layer_mut::<2>().w[3] = f32::NAN;
    means.reset();
    assert_eq!(large.prune(&scores, &means, &mut small), Err(CompressError::NotFinite));
    assert_eq!(small, <fnn![2, 2, 1]>::ZERO);
}

/// Distillation by its definition, plainly.
fn distilled(outputs: &[f64], label: usize, teacher: &[f64], t: f64, weight: f64) -> f64 {
    let softmax = |logits: &[f64], t: f64| {
        let sum: f64 = logits.iter().map(|z| (z / t).exp()).sum();
        logits.iter().map(|z| (z / t).exp() / sum).collect::<Vec<_>>()
    };
    let hard = -softmax(outputs, 1.0)[label].ln();
    let soft: f64 = softmax(teacher, t).iter().zip(softmax(outputs, t)).map(|(q, p)| q * (q / p).ln()).sum();
    (1.0 - weight) * hard + weight * t * t * soft
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]
    #[test]
    fn distillation_has_the_gradient_of_its_definition(
        seed in any::<u64>(), temperature in 0.5..8.0_f64, weight in 0.0..1.0_f64,
    ) {
        const B: usize = 3;
        const N: usize = 4;
        let random = &mut SmallRng::seed_from_u64(seed);
        let mut draw = || SMatrix::<f64, B, N>::from_fn(|_, _| random.random_range(-4.0..4.0));
        let (outputs, teacher) = (draw(), draw());
        let labels: [usize; B] = core::array::from_fn(|_| random.random_range(0..N));
        let row = |m: &SMatrix<f64, B, N>, s: usize| m.row(s).iter().copied().collect::<Vec<_>>();
        let loss = |outputs: &SMatrix<f64, B, N>| {
            let one = |s| distilled(&row(outputs, s), labels[s], &row(&teacher, s), temperature, weight);
            (0..B).map(one).sum::<f64>() / B as f64
        };
        let mut gradient = SMatrix::zeros();
        let distill = Distill { temperature, weight };
        let found = distill.evaluate(&outputs, &(labels, teacher), &mut gradient).unwrap();
        prop_assert!((found - loss(&outputs)).abs() < 1e-12 * (1.0 + found.abs()));
        for s in 0..B {
            for class in 0..N {
                let [up, down] = [1e-5, -1e-5].map(|step| {
                    let mut moved = outputs;
                    moved[(s, class)] += step;
                    loss(&moved)
                });
                let slope = (up - down) / 2e-5;
                prop_assert!((gradient[(s, class)] - slope).abs() < 1e-8, "{} for {slope}", gradient[(s, class)]);
            }
            // One sample, with arrays and in f32.
            let one: [f32; N] = core::array::from_fn(|class| teacher[(s, class)] as f32);
            let output = SMatrix::<f32, 1, N>::from_fn(|_, class| outputs[(s, class)] as f32);
            let mut single = SMatrix::zeros();
            let distill = Distill { temperature: temperature as f32, weight: weight as f32 };
            let found = distill.evaluate(&output, &([labels[s]], one), &mut single).unwrap();
            let exact = distilled(&row(&outputs, s), labels[s], &row(&teacher, s), temperature, weight);
            prop_assert!((f64::from(found) - exact).abs() < 1e-5 * (1.0 + exact.abs()));
            for class in 0..N {
                let exact = gradient[(s, class)] * B as f64;
                prop_assert!((f64::from(single[class]) - exact).abs() < 1e-5 * (1.0 + exact.abs()));
            }
        }
    }
}

#[test]
fn distillation_is_stable_and_refuses_what_makes_no_sense() {
    let mut gradient = SMatrix::<f32, 1, 3>::zeros();
    let distill = Distill { temperature: 0.5, weight: 0.5 };
    let wide = SMatrix::<f32, 1, 3>::new(3e38, -3e38, 1.0);
    // The teacher agrees, so what no outputs favour costs nothing, however far away it is.
    let loss = distill.evaluate(&wide, &([0], [3e38, -3e38, -1.0]), &mut gradient).unwrap();
    assert_eq!((loss, gradient), (0.0, SMatrix::zeros()));
    // It does not: as much is lost as a number can say or more, and the gradient is finite.
    distill.evaluate(&wide, &([1], [-3e38, 3e38, 0.0]), &mut gradient).unwrap();
    assert!((gradient[0] - 0.75).abs() < 1e-6 && (gradient[1] + 0.75).abs() < 1e-6, "{gradient}");
    let mut gradient = SMatrix::<f64, 1, 2>::zeros();
    let huge = Distill { temperature: 1.0, weight: 1.0 };
    let loss = huge.evaluate(
        &SMatrix::<f64, 1, 2>::new(1.5e308, -1.5e308),
        &([0], [1.5e308, -1.5e308]),
        &mut gradient,
    );
    assert_eq!((loss, gradient), (Ok(0.0), SMatrix::zeros()));

    let fine = SMatrix::<f32, 1, 3>::zeros();
    let mut gradient = SMatrix::<f32, 1, 3>::repeat(7.0);
    let label = distill.evaluate(&fine, &([3], [0.0; 3]), &mut gradient);
    assert_eq!(label, Err(LossError::Label { classes: 3, found: 3 }));
    for (temperature, weight, teacher) in [
        (0.0, 0.5, 0.0),
        (f32::NAN, 0.5, 0.0),
        (2e3, 0.5, 0.0),
        (1.0, 1.5, 0.0),
        (1.0, -0.1, 0.0),
        (1.0, 0.5, f32::NAN),
    ] {
        let refused = Distill { temperature, weight }.evaluate(&fine, &([0], [teacher; 3]), &mut gradient);
        let of_teacher = teacher.is_nan();
        match refused {
            Err(LossError::Target(_)) if of_teacher => {}
            Err(LossError::Setting(setting)) if !of_teacher => {
                let of = if setting.name() == "Distill::weight" { weight } else { temperature };
                assert!(
                    setting.value.to_bits() == of.to_bits() && setting.range().contains(" to "),
                    "{setting}"
                );
            }
            other => panic!("{temperature} {weight} {teacher}: {other:?}"),
        }
    }
    assert_eq!(gradient, SMatrix::<f32, 1, 3>::repeat(7.0));
}

#[test]
fn a_tied_network_takes_the_weights_of_another() {
    type Trained = fnn![3, 5, 4, 2];
    let mut trained = Trained::ZERO;
    trained.params_mut().iter_mut().enumerate().for_each(|(i, w)| *w = i as f32);
    let mut tied = <fnn![3, 5, 4, 2; feedback = Tied<50>]>::ZERO;
    tied.take_weights(&trained);
    assert_eq!((tied.layer::<1>().w, tied.layer::<1>().b), (trained.layer::<1>().w, trained.layer::<1>().b));
    assert_eq!((tied.layer::<2>().w, tied.layer::<2>().b), (trained.layer::<2>().w, trained.layer::<2>().b));
    assert_eq!((tied.layer::<3>().w, tied.layer::<3>().b), (trained.layer::<3>().w, trained.layer::<3>().b));
    // And back, where U stays.
    let mut back = Trained::ZERO;
    back.layer_mut::<2>().u.fill(-3.0);
    back.take_weights(&tied);
    assert_eq!(back.layer::<3>().w, trained.layer::<3>().w);
    assert!(back.layer::<2>().u.iter().all(|u| *u == -3.0));
}

/// Where the parameters of layer l lie in a network without sharing.
fn block(network: &Network, l: usize) -> std::ops::Range<usize> {
    let end = if l == network.depth() { network.params.len() } else { network.w(l + 1, 0, 0) };
    network.w(l, 0, 0)..end
}

/// A network some of whose layers share is the oracle's network that has their weights several times: states, gradients by three ways, a step
/// of descent, and what it takes for its feedback to be held to a rate.
fn shared_is_repeated<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(
    seed: u64,
    shared: &[usize],
    tolerance: f64,
) -> Result<(), TestCaseError>
where
    MeanSquared: Loss<A::Output<SAMPLES>, A::Output<SAMPLES>, Scalar = T>,
{
    let random = &mut SmallRng::seed_from_u64(seed);
    let feedback = match <A::Form>::NAME {
        "adjacent" => oracle::Feedback::Adjacent,
        "tied" => oracle::Feedback::Tied(<A::Form>::TIED as f64 / 100.0),
        _ => oracle::Feedback::None,
    };
    let widths: Vec<usize> = A::SHAPE.widths().iter().map(|width| *width as usize).collect();
    let (hidden, output) = (oracle::Activation::Tanh, oracle::Activation::Identity);
    let mut network = Network::zero(&widths, feedback, hidden, output);
    network.draw(random, 0.7, 0.1);
    let mut params = Vec::new();
    for l in 1..=network.depth() {
        if shared.contains(&l) {
            let (below, own) = (block(&network, l - 1), block(&network, l));
            network.params.copy_within(below, own.start);
        } else {
            params.extend_from_slice(&network.params[block(&network, l)]);
        }
    }
    let summed = |gradient: &[f64]| {
        let mut sums: Vec<f64> = Vec::new();
        for l in 1..=network.depth() {
            let own = &gradient[block(&network, l)];
            if shared.contains(&l) {
                let start = sums.len() - own.len();
                sums[start..].iter_mut().zip(own).for_each(|(sum, g)| *sum += g);
            } else {
                sums.extend_from_slice(own);
            }
        }
        sums
    };
    prop_assert_eq!(Net::<A>::PARAMS, params.len());
    prop_assert_eq!(Net::<A>::BYTES, params.len() * size_of::<T>());
    let mut net = Net::<A>::ZERO;
    net.params_mut().iter_mut().zip(&params).for_each(|(w, given)| *w = T::from_f64(*given));

    let xs = inputs(&network, random, SAMPLES);
    let x: SMatrix<T, SAMPLES, I> = subject::samples(&xs);
    let mut target: A::Output<SAMPLES> = Flat::ZERO;
    let flat = fill(target.flat_mut(), &mut || f64::from(random.random_range(-1.0_f32..1.0)));
    let targets: Vec<Target> =
        (0..SAMPLES).map(|s| Target::Values(flat[s..].iter().step_by(SAMPLES).copied().collect())).collect();
    // Far enough below the tolerance that a slow network's error, its residual over 1 - rate, is too; but no finer than sums are.
    let residual = tolerance * if size_of::<T>() == 4 { 0.1 } else { 0.01 };
    let fine = Stop::residual(T::from_f64(residual)).at_most(400);
    let objective = Objective::new(MeanSquared).solve(fine).method(Method::Implicit(fine));
    let exact = network.gradient(&xs, &targets, Way::Adjoint);
    for threads in [Threads::One, Threads::Rayon] {
        let mut workspace = Workspace::<Net<A>, SAMPLES>::ZERO;
        let mut gradient = Net::<A>::ZERO;
        let on = net.on(Backend::best()).threads(threads);
        on.gradient(&objective, &x, &target, &mut workspace, &mut gradient).unwrap();
        for (found, x) in subject::states(&workspace.state).iter().zip(&xs) {
            let solution = network.solve(x)[1..].concat();
            let error = oracle::relative_error(found, &solution);
            prop_assert!(error < tolerance, "states: {error:e}");
        }
        let found: Vec<f64> = gradient.params().iter().map(|g| g.to_f64()).collect();
        let error = oracle::relative_error(&found, &summed(&exact.params));
        prop_assert!(error < 10.0 * tolerance, "adjoint, {threads:?}: {error:e}");
    }
    let mut descended = net.clone();
    let mut workspace = Workspace::<Net<A>, SAMPLES>::ZERO;
    descended.descend(&objective, &x, &target, &mut workspace, T::from_f64(0.5)).unwrap();
    let steps: Vec<f64> = descended
        .params()
        .iter()
        .zip(&params)
        .map(|(after, before)| 2.0 * (before - after.to_f64()))
        .collect();
    let error = oracle::relative_error(&steps, &summed(&exact.params));
    prop_assert!(error < 100.0 * tolerance, "descent: {error:e}");

    let exact = network.gradient(&xs, &targets, Way::Unrolled(3));
    let mut tape = UnrolledTape::<Net<A>, SAMPLES, 3>::ZERO;
    let mut gradient = Net::<A>::ZERO;
    net.gradient_unrolled(&MeanSquared, &x, &target, &mut tape, &mut workspace, &mut gradient).unwrap();
    let found: Vec<f64> = gradient.params().iter().map(|g| g.to_f64()).collect();
    let error = oracle::relative_error(&found, &summed(&exact.params));
    prop_assert!(error < 10.0 * tolerance, "unrolled: {error:e}");

    // One sample, which has code of its own.
    let (one, goal) = ([xs[0].clone()], [targets[0].clone()]);
    let exact = network.gradient(&one, &goal, Way::Adjoint);
    let mut workspace = Workspace::<Net<A>, 1>::ZERO;
    let input: SMatrix<T, 1, I> = subject::samples(&one);
    net.solve(&input, &mut workspace.state, fine).unwrap();
    let Target::Values(values) = &goal[0] else { unreachable!() };
    let slope = 2.0 / values.len() as f64;
    let outputs = values.len();
    let said = workspace.state.as_slice()[Net::<A>::UNITS - outputs..].to_vec();
    for ((g, h), y) in workspace.output.flat_mut().iter_mut().zip(said).zip(values) {
        *g = T::from_f64(slope * (h.to_f64() - y));
    }
    net.adjoint(Method::Implicit(fine), &workspace.state, &workspace.output, &mut workspace.adjoint).unwrap();
    let mut gradient = Net::<A>::ZERO;
    Net::accumulate(&input, &workspace.state, &workspace.adjoint, &mut gradient).unwrap();
    let found: Vec<f64> = gradient.params().iter().map(|g| g.to_f64()).collect();
    let error = oracle::relative_error(&found, &summed(&exact.params));
    prop_assert!(error < 10.0 * tolerance, "one sample: {error:e}");

    // Each matrix is scaled once, and by no more than it takes.
    if <A::Form>::NAME != "feedforward" {
        let rate = T::from_f64(0.01);
        let limited = net.limit_rate(rate).unwrap().rate();
        prop_assert!(limited <= rate);
        let kept: Vec<f64> = net.params().iter().map(|w| w.to_f64()).collect();
        let factors: Vec<f64> = kept
            .iter()
            .zip(&params)
            .map(|(after, before)| after / before)
            .filter(|f| (f - 1.0).abs() > 1e-3)
            .collect();
        prop_assert!(!factors.is_empty());
        prop_assert!(factors.iter().all(|f| (f - factors[0]).abs() < 1e-3), "{factors:?}");
    }
    Ok(())
}

type TiedRun<T> = Net<Fnn<3, Layer<5, Layer<5, Repeat<5, Repeat<5, Layer<2>>>>>, T, Tied<60>>>;
type FromTheInput<T, F> = Net<Fnn<4, Layer<4, Repeat<4, Layer<4, Layer<2>>>>, T, F>>;

/// The types of such a network, taken apart.
trait Repeats {
    fn repeats(seed: u64, shared: &[usize], tolerance: f64) -> Result<(), TestCaseError>;
}
impl<const I: usize, S: Stack, T: Scalar, F: Form> Repeats for Net<Fnn<I, S, T, F>>
where
    MeanSquared: Loss<S::Output<T, SAMPLES>, S::Output<T, SAMPLES>, Scalar = T>,
{
    fn repeats(seed: u64, shared: &[usize], tolerance: f64) -> Result<(), TestCaseError> {
        shared_is_repeated::<T, Fnn<I, S, T, F>, I>(seed, shared, tolerance)
    }
}

#[test]
fn layers_that_share_are_layers_with_the_same_weights() {
    crate::seeds(12, &|seed| {
        TiedRun::<f64>::repeats(seed, &[3, 4], 1e-9)?;
        TiedRun::<f32>::repeats(seed, &[3, 4], 2e-5)?;
        FromTheInput::<f64, Adjacent>::repeats(seed, &[2], 1e-9)?;
        FromTheInput::<f32, Adjacent>::repeats(seed, &[2], 2e-5)?;
        FromTheInput::<f64, Tied<50>>::repeats(seed, &[2], 1e-9)?;
        FromTheInput::<f64, Feedforward>::repeats(seed, &[2], 1e-9)
    });
}

/// A batch large enough for threads, on which a gradient is shared out by columns, layer by layer, unless layers share.
#[test]
fn threads_leave_no_trace_in_shared_weights() {
    const B: usize = 80;
    let mut net = TiedRun::<f32>::ZERO;
    net.params_mut().iter_mut().enumerate().for_each(|(i, w)| *w = 0.3 * (i as f32).sin());
    let x = SMatrix::<f32, B, 3>::from_fn(|s, j| ((s * 3 + j) as f32).cos());
    let y = SMatrix::<f32, B, 2>::from_fn(|s, j| ((s * 2 + j) as f32).sin());
    let objective = Objective::new(MeanSquared);
    let [one, many] = [Threads::One, Threads::Rayon].map(|threads| {
        let mut workspace = Workspace::<TiedRun<f32>, B>::ZERO;
        let mut gradient = TiedRun::<f32>::ZERO;
        let on = net.on(Backend::best()).threads(threads);
        on.gradient(&objective, &x, &y, &mut workspace, &mut gradient).unwrap();
        gradient
    });
    assert_eq!(one, many);
    assert_eq!(
        TiedRun::<f32>::SHAPE.to_string().split(';').next(),
        Some("fnn![3, 5, 5, 5 shared, 5 shared, 2")
    );
}
