//! Certificates against the oracle: what they prove is so, what is wrong is refused.

mod oracle;

use attractor::certificate::{AdjointCertificate, NotFinite};
use attractor::kernel::{Activation, HardTanh, Identity, LeakyRelu, Relu, Scalar, Sigmoid, Tanh};
use attractor::learn::{MeanSquared, Method, Objective};
use attractor::network::{Flat, SameLayers, Takes};
use attractor::simd::{Backend, Element};
use attractor::{
    Adjacent, Certificate, CertificateError, Dense, Feedforward, Network, Skip, State, Stop, Tied, Workspace,
    fnn,
};
use oracle::{States, subject};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// What a certificate states, by naive loops in `f64` over its vector and the weights: gamma, propagation, bias, input gain.
///
/// For an `f32` network the products with weights are within 2^-52 of exact and none of the few sums subtracts, so that all
/// four are within 1e-13 of exact, relatively; what is rounded outwards in `f32` is off by a millionth.
fn measured(network: &oracle::Network, v: &[f64]) -> [f64; 4] {
    let v = by_layer(network, v);
    let zero = |states: &States| -> States { states.iter().map(|h| vec![0.0; h.len()]).collect() };
    let (mut w, mut r) = (zero(&v), zero(&v));
    let mut numbers = [0.0; 4];
    let mut raise = |index: usize, value: f64| {
        numbers[index] = if value.is_nan() { f64::NAN } else { f64::max(numbers[index], value) };
    };
    for l in 1..=network.depth() {
        let steepest = network.activation(l).steepest();
        for i in 0..network.widths[l] {
            let (mut fresh, mut carried, mut input) = (0.0, 0.0, 0.0);
            for j in 0..network.widths[l - 1] {
                let weight = network.params[network.w(l, i, j)].abs();
                if l > 1 {
                    fresh += weight * w[l - 1][j];
                    carried += weight * r[l - 1][j];
                } else {
                    input += weight;
                }
            }
            for k in network.reads(l) {
                for (j, v) in v[k].iter().enumerate() {
                    fresh += network.weight_from(l, k, i, j).abs() * v;
                }
            }
            w[l][i] = steepest * fresh;
            r[l][i] = v[l][i] + steepest * carried;
            raise(0, w[l][i] / v[l][i]);
            raise(1, r[l][i] / v[l][i]);
            raise(2, steepest * network.params[network.b(l, i)].abs() / v[l][i]);
            raise(3, steepest * input / v[l][i]);
        }
    }
    numbers
}

/// gamma of an adjoint certificate, in the same way.
fn measured_adjoint(network: &oracle::Network, v: &[f64]) -> f64 {
    let v = by_layer(network, v);
    let mut w = v.clone();
    let mut gamma = 0.0;
    for l in (1..=network.depth()).rev() {
        for j in 0..network.widths[l] {
            let mut sum = 0.0;
            if l < network.depth() {
                for (i, w) in w[l + 1].iter().enumerate() {
                    sum += network.params[network.w(l + 1, i, j)].abs() * w;
                }
            }
            for k in (1..l).filter(|k| network.reads(*k).contains(&l)) {
                for (i, v) in v[k].iter().enumerate() {
                    sum += network.weight_from(k, l, i, j).abs() * v;
                }
            }
            w[l][j] = network.activation(l).steepest() * sum;
            gamma = f64::max(gamma, w[l][j] / v[l][j]);
        }
    }
    gamma
}

/// A lower bound of the least gamma there is: for every vector v >= 0 and any unit set on which G v >= lambda v, the
/// spectral radius of G is at least lambda (Collatz and Wielandt).
fn least_gamma(network: &oracle::Network) -> f64 {
    let units: usize = network.widths[1..].iter().sum();
    let mut v = vec![1.0; units];
    let mut least = 0.0;
    for _ in 0..40 {
        let w = comparison(network, &v);
        let top = oracle::largest(&w);
        if top == 0.0 {
            return 0.0;
        }
        least = f64::max(
            least,
            w.iter().zip(&v).filter(|(_, v)| **v > 0.0).map(|(w, v)| w / v).fold(f64::INFINITY, f64::min),
        );
        v = w.iter().map(|w| w / top).collect();
    }
    least
}

/// G v.
fn comparison(network: &oracle::Network, v: &[f64]) -> Vec<f64> {
    let v = by_layer(network, v);
    let mut w = v.clone();
    for l in 1..=network.depth() {
        for i in 0..network.widths[l] {
            let mut sum = 0.0;
            if l > 1 {
                for (j, w) in w[l - 1].iter().enumerate() {
                    sum += network.params[network.w(l, i, j)].abs() * w;
                }
            }
            for k in network.reads(l) {
                for (j, v) in v[k].iter().enumerate() {
                    sum += network.weight_from(l, k, i, j).abs() * v;
                }
            }
            w[l][i] = network.activation(l).steepest() * sum;
        }
    }
    w[1..].concat()
}

/// Flat units as the oracle has them, with nothing for the inputs.
fn by_layer(network: &oracle::Network, flat: &[f64]) -> States {
    let mut rest = flat.iter().copied();
    let mut layers = vec![Vec::new()];
    layers.extend(network.widths[1..].iter().map(|n| rest.by_ref().take(*n).collect::<Vec<f64>>()));
    assert!(rest.next().is_none());
    layers
}

fn numbers<T: Element>(flat: &[T]) -> Vec<f64> {
    flat.iter().map(|x| x.to_f64()).collect()
}

fn random_array<T: Scalar, const I: usize>(random: &mut SmallRng, size: f64) -> [T; I] {
    core::array::from_fn(|_| T::from_f64(f64::from(random.random_range(-1.0_f32..1.0)) * size))
}

/// A network with the weights of another rate; the oracle's weights are the network's.
fn draw<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(
    random: &mut SmallRng,
    gain: f64,
    rate: f64,
) -> (oracle::Network, Network<A>) {
    let mut network = subject::oracle(&Network::<A>::ZERO);
    network.draw(random, gain, rate);
    let net: Network<A> = subject::network(&network);
    network.params = numbers(net.params());
    (network, net)
}

/// Whether what a certificate states of these weights is so.
fn holds<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(
    network: &oracle::Network,
    certificate: &Certificate<Network<A>>,
) -> bool {
    let all = numbers(certificate.as_slice());
    let (v, stated) = all.split_at(all.len() - 6);
    // Twice what f64 can be wrong by; for f64 networks the same holds of what is rounded outwards.
    let found = measured(network, v);
    v.iter().all(|v| *v >= 1.0 && v.is_finite())
        && stated[0] < 1.0
        && found.iter().zip(stated).all(|(found, stated)| *found * (1.0 - 2e-13 * f32_only::<T>()) <= *stated)
        && stated[5] >= oracle::largest(v)
}

/// 1 for `f32`; for `f64` the oracle's own rounding is of the size of what is rounded outwards, a hundredth of it.
fn f32_only<T>() -> f64 {
    if size_of::<T>() == 4 { 1.0 } else { 0.02 }
}

/// The state's error in every unit is at most what the bound says. `slack`: what the oracle's solution may be wrong by.
fn within(state: &[f64], exact: &[f64], v: &[f64], weighted: f64, what: &str) {
    for (unit, ((h, exact), v)) in state.iter().zip(exact).zip(v).enumerate() {
        let slack = 2e-14 * exact.abs().max(1.0);
        let error = (h - exact).abs();
        assert!(
            error <= weighted * v + slack,
            "{what}: unit {unit} is off by {error:e}, bound {:e}",
            weighted * v
        );
    }
}

/// One network type with several rates, on all backends.
fn prove<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(zero: &Network<A>) {
    let single = size_of::<T>() == 4;
    let random = &mut SmallRng::seed_from_u64(zero.params().len() as u64);
    for (gain, rate) in [(0.9, 0.02), (1.5, 0.3), (0.6, 0.7), (1.0, 0.95)] {
        let (network, net) = draw::<T, A, I>(random, gain, rate);
        let what = format!("{zero:?}, {} bytes, rate {rate}", size_of::<T>());
        let certificate = net.certify().unwrap_or_else(|error| panic!("{what}: {error}"));
        let certified = certificate.verify(&net).unwrap();
        let v = numbers(certificate.vector().as_slice());
        assert!(holds(&network, &certificate), "{what}");
        let gamma = certificate.rate().to_f64();
        if !network.feeds_back() {
            assert_eq!(gamma, 0.0, "{what}");
        }
        assert!(gamma >= least_gamma(&network) * (1.0 - 1e-12), "{what}");
        // An eighth more than can be, for the sake of a flat vector.
        assert!(gamma <= 1.13 * network.rate(), "{what}: {gamma}, {}", network.rate());
        for (wanted, start) in [(1e-2, 0.0), (1e-4, 1.0), (0.0, 0.5), (1e-9, 30.0)] {
            let x: [T; I] = random_array(random, 1.0);
            let exact = network.solve(&numbers(&x))[1..].concat();
            let from: Vec<T> = exact.iter().map(|_| random_array::<T, 1>(random, start)[0]).collect();
            for backend in Backend::available() {
                let what = format!("{what}, {wanted} from {start}, {}", backend.name());
                let certified = certified.on(backend);
                let mut state = Network::<A>::state();
                state.as_mut_slice().copy_from_slice(&from);
                let error = T::from_f64(wanted);
                let mut refinement = certified.refine(&x, &mut state).unwrap();
                if refinement.bound().weighted().is_finite() {
                    let bound = refinement.bound().weighted().to_f64();
                    within(&numbers(refinement.state().as_slice()), &exact, &v, bound, &what);
                }
                let known = refinement.sweeps_left(error);
                assert!(known.is_some() || <A::Hidden>::BOUND.is_none(), "{what}");
                let mut left = known.unwrap_or(usize::MAX).max(1);
                let mut last = f64::INFINITY;
                while left > 0 {
                    let bound = refinement.sweep().unwrap().weighted().to_f64();
                    within(&numbers(refinement.state().as_slice()), &exact, &v, bound, &what);
                    left = (left - 1).min(refinement.sweeps_left(error).unwrap());
                    last = bound;
                    assert!(refinement.sweeps() < 5000, "{what}");
                }
                // The most that any sweep can do, and a sixteenth.
                let reached = refinement.bound().largest().to_f64();
                let level = if single { 0.2 } else { 1e-9 };
                assert!(reached <= wanted.max(level) || start > 1.0, "{what}: {reached:e}");
                let made = refinement.sweeps();
                let again = refinement.bound();
                assert_eq!(again.weighted().to_f64(), last);
                assert!(
                    again.unit(certificate.largest()).to_f64() <= again.largest().to_f64() * (1.0 + 1e-6)
                );

                state.as_mut_slice().copy_from_slice(&from);
                let answer = certified.solve(&x, &mut state, error).unwrap();
                assert_eq!((answer.sweeps, answer.bound), (made, again), "{what}");
                let norm = from.iter().zip(&v).map(|(h, v)| h.to_f64().abs() / v).fold(0.0, f64::max);
                if certificate.range().is_some_and(|range| norm <= range.to_f64())
                    && let Some(most) = certificate.sweeps(error, T::ONE)
                {
                    assert!(answer.sweeps <= most, "{what}: {} sweeps, {most} certified", answer.sweeps);
                }
                // From where it stands there is nothing to do but one sweep that says so.
                let more = certified.solve(&x, &mut state, T::from_f64(0.5)).unwrap();
                assert!(more.sweeps <= 2 + usize::from(rate > 0.5) * 400, "{what}: {}", more.sweeps);
            }
        }
    }
}

macro_rules! prove {
    ($($name:ident: [$($width:literal),*], $feedback:ty, $hidden:ty, $output:ty;)*) => {$(
        #[test]
        fn $name() {
            subject::backends();
            prove(&<fnn![$($width),*; feedback = $feedback, hidden = $hidden, output = $output]>::ZERO);
            prove(&<fnn![$($width),*; feedback = $feedback, hidden = $hidden, output = $output, scalar = f64]>::ZERO);
        }
    )*};
}

prove! {
    adjacent_tanh: [6, 9, 7, 3], Adjacent, Tanh, Identity;
    adjacent_sigmoid: [5, 17, 4], Adjacent, Sigmoid, Identity;
    adjacent_relu: [4, 8, 8, 2], Adjacent, Relu, Identity;
    dense_leaky: [4, 8, 6, 2], Dense, LeakyRelu, Identity;
    adjacent_bounded_output: [4, 12, 5], Adjacent, Tanh, Sigmoid;
    dense_hard_tanh: [3, 6, 5, 4, 3], Dense, HardTanh, Identity;
    skip_tanh: [7, 5, 6, 5, 4, 2], Skip, Tanh, Tanh;
    dense_tanh: [7, 5, 5, 5, 5, 2], Dense, Tanh, Tanh;
    dense_identity: [3, 4, 4, 4], Dense, Identity, Relu;
    wide: [64, 48, 32, 10], Adjacent, Tanh, Identity;
    feedforward: [5, 8, 3], Feedforward, Tanh, Identity;
    one_layer: [5, 3], Adjacent, Tanh, Identity;
    one_layer_bounded: [5, 3], Dense, Tanh, HardTanh;
    one_unit: [1, 1, 1], Adjacent, Tanh, Identity;
    tied: [5, 8, 6, 3], Tied<30>, Tanh, Identity;
    tied_bounded_output: [4, 9, 5], Tied, Sigmoid, Tanh;
}

/// How many networks a test draws: `ATTRACTOR_NETWORKS`, or so many.
fn networks(default: usize) -> usize {
    std::env::var("ATTRACTOR_NETWORKS").map_or(default, |n| n.parse().expect("a number of networks"))
}

/// Draws networks and inputs until `count`; how many labels were certified, and the sweeps they took.
fn labels<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(zero: &Network<A>, count: usize) {
    let random = &mut SmallRng::seed_from_u64(7 * zero.params().len() as u64);
    let (mut certain, mut sweeps) = (0, 0);
    for _ in 0..count {
        let mut network = subject::oracle(zero);
        for param in &mut network.params {
            *param = f64::from(random.random_range(-1.0_f32..1.0));
        }
        let mut net: Network<A> = subject::network(&network);
        let rate = T::from_f64(random.random_range(0.02..0.9));
        let certificate = net.limit_rate(rate).unwrap();
        network.params = numbers(net.params());
        let certified = certificate.verify(&net).unwrap();
        let x: [T; I] = random_array(random, 2.0);
        let mut state = Network::<A>::state();
        let label = certified.label(&x, &mut state).unwrap();
        let output = network.solve(&numbers(&x)).pop().unwrap();
        let top = output.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if label.certified {
            // The oracle's solution is not exact either.
            assert!(output[label.class] >= top - 1e-13, "{net:#?} {x:?}: {label:?} {output:?}");
            certain += 1;
            sweeps += label.sweeps;
        }
    }
    println!("{zero:?}: {certain} of {count} certified, {:.2} sweeps", sweeps as f64 / certain as f64);
    assert!(certain * 100 >= count * 95, "{zero:?}: {certain} of {count}");
}

#[test]
fn certified_labels_are_those_of_the_solution() {
    let count = networks(10_000) / 6;
    labels(&<fnn![4, 6, 5, 3]>::ZERO, count);
    labels(&<fnn![4, 5, 4, 3; feedback = Dense, hidden = HardTanh]>::ZERO, count);
    labels(&<fnn![3, 6, 4; hidden = Sigmoid]>::ZERO, count);
    labels(&<fnn![4, 6, 5, 3; feedback = Tied<60>]>::ZERO, count);
    labels(&<fnn![3, 5, 2; hidden = Relu]>::ZERO, count);
    labels(&<fnn![4, 5, 4, 3; output = Tanh, scalar = f64]>::ZERO, count);
}

/// Labels of networks whose two largest outputs are all but equal at the solution: here only bounds of each unit's own
/// rounding errors decide, and what they decide is right. Returns how many of those `margin` apart were certified.
fn near_ties<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(
    zero: &Network<A>,
    margin: f64,
    count: usize,
) -> usize {
    let random = &mut SmallRng::seed_from_u64(11);
    let mut certain = 0;
    for _ in 0..count {
        let mut network = subject::oracle(zero);
        for param in &mut network.params {
            *param = f64::from(random.random_range(-1.0_f32..1.0));
        }
        let mut net: Network<A> = subject::network(&network);
        net.limit_rate(T::from_f64(random.random_range(0.02..0.5))).unwrap();
        network.params = numbers(net.params());
        let x: [T; I] = random_array(random, 2.0);
        // The last bias is brought as near to the largest of the others as is asked for; it moves the solution too, so once
        // more from where it then is.
        let last = network.params.len() - 1;
        for _ in 0..40 {
            let output = network.solve(&numbers(&x)).pop().unwrap();
            let (own, others) = output.split_last().unwrap();
            let top = others.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let less = top + margin - own;
            network.params[last] += less;
            if less.abs() < 1e-15 {
                break;
            }
        }
        let net: Network<A> = subject::network(&network);
        network.params = numbers(net.params());
        let output = network.solve(&numbers(&x)).pop().unwrap();
        let top = output.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let certificate = net.certify().unwrap();
        let mut state = Network::<A>::state();
        let label = certificate.verify(&net).unwrap().label(&x, &mut state).unwrap();
        if label.certified {
            assert!(output[label.class] == top, "{net:#?} {x:?}: {label:?} {output:?}");
            certain += 1;
        }
        if let Some(most) = certificate.sweeps(T::ZERO, T::from_f64(2.0)) {
            assert!(label.sweeps <= most, "{label:?}, {most} certified");
        }
    }
    certain
}

#[test]
fn labels_that_nearly_tie_are_those_of_the_solution() {
    let count = networks(10_000) / 100;
    for margin in [3e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2] {
        let certain = [
            near_ties(&<fnn![4, 6, 5, 3]>::ZERO, margin, count),
            near_ties(&<fnn![4, 5, 4, 3; feedback = Dense, hidden = HardTanh]>::ZERO, margin, count),
            near_ties(&<fnn![3, 6, 4; hidden = Sigmoid]>::ZERO, margin, count),
            near_ties(&<fnn![4, 6, 5, 3; feedback = Tied<60>]>::ZERO, margin, count),
            near_ties(&<fnn![3, 5, 2; hidden = Relu]>::ZERO, margin, count),
        ];
        println!("{margin:e} apart: {certain:?} of {count} certified");
        // f32 has 7 digits, and some are lost in sums.
        let least = if margin >= 1e-3 { count * 9 / 10 } else { 0 };
        assert!(certain.iter().all(|certain| *certain >= least), "{margin:e}: {certain:?} of {count}");
    }
}

#[test]
fn a_tie_is_not_certified() {
    type Net = fnn![3, 5, 3];
    let random = &mut SmallRng::seed_from_u64(5);
    let (_, mut net): (_, Net) = draw(random, 0.9, 0.3);
    let net = &mut net;
    let mut last = net.layer::<2>().clone();
    for j in 0..5 {
        last.w[(1, j)] = last.w[(0, j)];
    }
    last.b[0] = 1.0;
    last.b[1] = 1.0;
    last.b[2] = -9.0;
    net.layer_mut::<2>().w = last.w;
    net.layer_mut::<2>().b = last.b;
    let certificate = net.certify().unwrap();
    let mut state = Net::state();
    let certified = certificate.verify(net).unwrap();
    let label = certified.label(&[0.5, -0.5, 1.0], &mut state).unwrap();
    assert!(!label.certified && label.class == 0, "{label:?}");
    assert!(label.sweeps <= certificate.sweeps(0.0, 1.0).unwrap());
    // The least that breaks the tie for good.
    net.layer_mut::<2>().b[1] = 1.001;
    let certificate = net.certify().unwrap();
    let label = certificate.verify(net).unwrap().label(&[0.5, -0.5, 1.0], &mut state).unwrap();
    assert!(label.certified && label.class == 1, "{label:?}");
    // With one output there is nothing to choose.
    let net = <fnn![2, 3, 1]>::ZERO;
    let certificate = net.certify().unwrap();
    let label = certificate.verify(&net).unwrap().label(&[0.5, 1.0], &mut <fnn![2, 3, 1]>::state()).unwrap();
    assert!(label.certified && label.sweeps == 1);
}

/// Gamma of at least 1 gives no certificate, and U times a factor gives gamma times the factor.
fn limits<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(zero: &Network<A>) {
    let random = &mut SmallRng::seed_from_u64(3 * zero.params().len() as u64);
    let close = if size_of::<T>() == 4 { 3e-5 } else { 1e-12 };
    for _ in 0..20 {
        let rate = random.random_range(1.02..40.0);
        let (mut network, mut net) = draw::<T, A, I>(random, 1.1, rate);
        let least = least_gamma(&network);
        assert!(least > 1.0, "{least} of {}", network.rate());
        match net.certify() {
            Err(CertificateError::NotContracting { rate }) => {
                assert!(rate.to_f64() >= least * (1.0 - 1e-12));
            }
            other => panic!("{other:?} for {least}"),
        }
        let before = net.clone();
        let rate = random.random_range(0.01..0.95);
        let certificate = net.limit_rate(T::from_f64(rate)).unwrap();
        let gamma = certificate.rate().to_f64();
        assert!(gamma <= T::from_f64(rate).to_f64() && gamma >= rate * (1.0 - close), "{gamma} for {rate}");
        certificate.verify(&net).unwrap();
        network.params = numbers(net.params());
        assert!(holds(&network, &certificate));
        // Whoever certifies anew finds the same.
        let again = net.certify().unwrap();
        assert!((again.rate().to_f64() / gamma - 1.0).abs() < close, "{again:?} {gamma}");
        // W and b are untouched, U is U times one factor.
        let places = network.feedback_places();
        let factor = net.params()[places[0]].to_f64() / before.params()[places[0]].to_f64();
        for (place, (old, new)) in before.params().iter().zip(net.params()).enumerate() {
            let factor = if places.contains(&place) { factor } else { 1.0 };
            let wanted = old.to_f64() * factor;
            assert!((new.to_f64() - wanted).abs() <= wanted.abs() * if factor == 1.0 { 0.0 } else { close });
        }
        // Already below: nothing to do.
        let kept = net.clone();
        net.limit_rate(T::from_f64(0.97)).unwrap();
        assert_eq!(net, kept);
        net.scale_feedback(T::from_f64(0.5)).expect("finite");
        let half = net.certify().unwrap().rate().to_f64();
        assert!((half / gamma - 0.5).abs() < close, "{half} {gamma}");
        net.limit_rate(T::ZERO).unwrap();
        assert!(places.iter().all(|place| net.params()[*place] == T::ZERO));
        assert_eq!(net.certify().unwrap().rate(), T::ZERO);
    }
}

/// A plain network with feedback given to it: W and b bit for bit, its own U, and a first sweep that is the plain network.
fn retrofits<T: Scalar, A, P, const I: usize>(zero: &Network<A>, none: &Network<P>)
where
    A: Takes<I, Scalar = T> + SameLayers<P>,
    P: Takes<I, Scalar = T, Form = Feedforward>,
{
    let random = &mut SmallRng::seed_from_u64(17);
    for _ in 0..20 {
        let mut plain = none.clone();
        let mut net = zero.clone();
        plain.params_mut().fill_with(|| T::from_f64(random.random_range(-1.5..1.5)));
        net.params_mut().fill_with(|| T::from_f64(random.random_range(-1.5..1.5)));
        let before = net.clone();
        net.retrofit(&plain);
        let places = subject::oracle(zero).feedback_places();
        let mut kept = plain.params().iter();
        for (place, (new, old)) in net.params().iter().zip(before.params()).enumerate() {
            let wanted = if places.contains(&place) { old } else { kept.next().unwrap() };
            assert!(new == wanted, "{place}: {new:?}, {wanted:?}");
        }
        assert!(kept.next().is_none());
        net.limit_rate(T::from_f64(0.2)).unwrap();
        let x: [T; I] = random_array(random, 2.0);
        for backend in subject::backends() {
            let (mut first, mut state) = (State::default(), State::default());
            plain.on(backend).solve(&x, &mut first, Stop::after(1)).unwrap();
            net.on(backend).solve(&x, &mut state, Stop::after(1)).unwrap();
            let bits = |scalars: &[T]| numbers(scalars).iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(state.as_slice()), bits(first.as_slice()), "{}", backend.name());
        }
    }
}

#[test]
fn feedback_can_be_given_afterwards() {
    macro_rules! of {
        ($feedback:ty, [$($widths:tt)*] $($options:tt)*) => {
            retrofits(
                &<fnn![$($widths)*; feedback = $feedback $($options)*]>::ZERO,
                &<fnn![$($widths)*; feedback = Feedforward $($options)*]>::ZERO,
            );
        };
    }
    of!(Adjacent, [4, 6, 5, 3]);
    of!(Dense, [17, 33, 5, 9, 4], scalar = f64);
    of!(Adjacent, [3, 20, 2], hidden = Sigmoid);
    of!(Feedforward, [3, 7, 2], hidden = Relu);
}

#[test]
fn feedback_is_held_to_a_rate() {
    limits(&<fnn![4, 6, 5, 3]>::ZERO);
    limits(&<fnn![4, 6, 5, 3; scalar = f64]>::ZERO);
    limits(&<fnn![4, 5, 4, 3; feedback = Dense, hidden = Relu]>::ZERO);
    limits(&<fnn![20, 17, 9; hidden = Sigmoid]>::ZERO);
    let mut net = <fnn![2, 2, 2]>::ZERO;
    for rate in [1.0, 1.5, -0.1, f32::NAN, f32::INFINITY] {
        assert!(matches!(net.limit_rate(rate), Err(CertificateError::Setting(_))));
    }
    net.layer_mut::<2>().w[0] = f32::NAN;
    let before = net.clone();
    assert_eq!(net.limit_rate(0.5).unwrap_err(), CertificateError::NotFinite);
    assert_eq!(net.params()[..8], before.params()[..8]);
}

/// Units that read nothing, send nothing, or neither; feedback that goes round in one place only.
#[test]
fn zero_rows_do_not_spoil_a_certificate() {
    type Net = fnn![3, 4, 4, 3; feedback = Dense];
    let random = &mut SmallRng::seed_from_u64(11);
    let mut loose = 0;
    for trial in 0..200 {
        let mut network = subject::oracle(&Net::ZERO);
        network.draw(random, 1.0, 0.5);
        for l in 1..=3 {
            for i in 0..network.widths[l] {
                // Some units read nothing from below, some nothing from above, some are read by none.
                for part in 0..3 {
                    if random.random_range(0..3) > 0 {
                        continue;
                    }
                    for m in 0..4 {
                        let place = match part {
                            0 if m < network.widths[l - 1] => network.w(l, i, m),
                            1 if l < 3 && m < network.widths[l + 1] => network.u(l, l + 1, i, m),
                            2 if l < 3 && m < network.widths[l + 1] => network.w(l + 1, m, i),
                            _ => continue,
                        };
                        network.params[place] = 0.0;
                    }
                }
            }
        }
        let net: Net = subject::network(&network);
        let certificate = net.certify().unwrap();
        assert!(holds(&network, &certificate), "{trial}");
        certificate.verify(&net).unwrap();
        // The oracle's vector keeps a thousandth of the old one, and its rate is not the very best.
        let best = network.rate();
        let gamma = f64::from(certificate.rate());
        assert!(gamma <= (1.2 * best).max(1.0 / 256.0), "{trial}: {gamma} {best}");
        let mut state = Net::state();
        let x: [f32; 3] = random_array(random, 1.0);
        let answer = certificate.verify(&net).unwrap().solve(&x, &mut state, 1e-3).unwrap();
        let exact = network.solve(&numbers(&x))[1..].concat();
        let v = numbers(certificate.vector().as_slice());
        within(&numbers(state.as_slice()), &exact, &v, f64::from(answer.bound.weighted()), "zero rows");
        loose += usize::from(answer.bound.largest() > 0.01);
    }
    // What reads next to nothing has a small entry, and rounding errors that are large beside it.
    assert!(loose < 20, "{loose} of 200 bounds are loose");
}

/// Flips every bit of every scalar of network and certificate: what is still accepted is still so.
#[test]
fn nothing_that_is_wrong_is_accepted() {
    type Net = fnn![3, 4, 3; feedback = Dense];
    let random = &mut SmallRng::seed_from_u64(21);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..4 {
        let (mut network, mut net): (_, Net) = draw(random, 1.0, 0.8);
        let net = &mut net;
        let certificate = net.certify().unwrap();
        let adjoint = net.certify_adjoint().unwrap();
        let flips = |length: usize| (0..length).flat_map(|place| (0..32).map(move |bit| (place, bit)));
        let flip = |value: f32, bit: u32| f32::from_bits(value.to_bits() ^ (1 << bit));
        for (place, bit) in flips(Net::PARAMS) {
            let before = net.params()[place];
            net.params_mut()[place] = flip(before, bit);
            network.params = numbers(net.params());
            if certificate.verify(net).is_ok() {
                assert!(
                    holds(&network, &certificate),
                    "weight {place} from {before} to {}",
                    flip(before, bit)
                );
                accepted += 1;
            } else {
                refused += 1;
            }
            if adjoint.verify(net).is_ok() {
                let v = numbers(adjoint.vector().as_slice());
                assert!(measured_adjoint(&network, &v) * (1.0 - 2e-13) <= f64::from(adjoint.rate()));
            }
            net.params_mut()[place] = before;
        }
        network.params = numbers(net.params());
        for (place, bit) in flips(Certificate::<Net>::LEN) {
            let mut scalars = certificate.as_slice().to_vec();
            scalars[place] = flip(scalars[place], bit);
            let other = Certificate::<Net>::from_slice(&scalars).unwrap();
            if other.verify(net).is_ok() {
                assert!(holds(&network, &other), "scalar {place}, bit {bit}");
                accepted += 1;
            } else {
                refused += 1;
            }
        }
        for (place, bit) in flips(AdjointCertificate::<Net>::LEN) {
            let mut scalars = adjoint.as_slice().to_vec();
            scalars[place] = flip(scalars[place], bit);
            let other = AdjointCertificate::<Net>::from_slice(&scalars).unwrap();
            if other.verify(net).is_ok() {
                let v = numbers(other.vector().as_slice());
                assert!(v.iter().all(|v| *v >= 1.0 && v.is_finite()) && other.rate() < 1.0);
                assert!(measured_adjoint(&network, &v) * (1.0 - 2e-13) <= f64::from(other.rate()));
            }
        }
        // The unit that sets gamma: any weight that is heavier is refused.
        assert!(certificate.verify(net).is_ok() && adjoint.verify(net).is_ok());
    }
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted > 100 && refused > 1000);
}

/// A gamma that rounding to nearest gives, and that is less than the exact one, is refused.
#[test]
fn the_check_rounds_outwards() {
    type Net = fnn![1, 3, 2];
    let random = &mut SmallRng::seed_from_u64(31);
    let mut found = 0;
    for _ in 0..2000 {
        let (network, net): (_, Net) = draw(random, 1.0, 0.8);
        let net = &net;
        let certificate = net.certify().unwrap();
        let mut scalars = certificate.as_slice().to_vec();
        // As a check would have it that rounds to nearest, in the order of the kernel.
        let v = &scalars[..Net::UNITS];
        let (u, w) = (&net.layer::<1>().u, &net.layer::<2>().w);
        let mut sums = [0.0_f32; 5];
        for i in 0..3 {
            for j in 0..2 {
                sums[i] += u[(i, j)].abs() * v[3 + j];
            }
        }
        for i in 0..2 {
            for j in 0..3 {
                sums[3 + i] += w[(i, j)].abs() * sums[j];
            }
        }
        let nearest = sums.iter().zip(v).map(|(w, v)| w / v).fold(0.0_f32, f32::max);
        let exact = measured(&network, &numbers(v))[0];
        if f64::from(nearest) < exact * (1.0 - 1e-13) {
            found += 1;
            scalars[Net::UNITS] = nearest;
            let wrong = Certificate::<Net>::from_slice(&scalars).unwrap();
            assert!(matches!(
                wrong.verify(net),
                Err(CertificateError::Refuted { what: "rate", stated, .. }) if stated == nearest
            ));
        }
    }
    assert!(found > 100, "rounding to nearest was never below: {found}");
}

/// Products too small for all their digits, and too large for any.
#[test]
fn very_small_and_very_large_weights() {
    type Net = fnn![1, 2, 1];
    let mut net = Net::ZERO;
    net.layer_mut::<1>().u.fill(f32::from_bits(1));
    net.layer_mut::<2>().w.fill(f32::MIN_POSITIVE);
    let certificate = net.certify().unwrap();
    // Not zero, for it is not: the product of both is too small to be seen.
    assert!(certificate.rate() > 0.0 && certificate.rate() < 1e-30, "{certificate:?}");
    certificate.verify(&net).unwrap();
    net.layer_mut::<2>().w.fill(f32::MAX);
    net.layer_mut::<1>().u.fill(f32::MAX);
    assert_eq!(net.certify().unwrap_err(), CertificateError::NotFinite);
    assert_eq!(net.certify_adjoint().unwrap_err(), CertificateError::NotFinite);
    assert!(certificate.verify(&net).is_err());
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for place in 0..Net::PARAMS {
            let mut net = Net::ZERO;
            net.params_mut()[place] = bad;
            assert_eq!(net.certify().unwrap_err(), CertificateError::NotFinite, "{place}");
            assert!(Net::ZERO.certify().unwrap().verify(&net).is_err(), "{place}");
        }
    }
}

#[test]
fn what_is_not_finite_is_an_error() {
    type Net = fnn![2, 3, 2];
    let random = &mut SmallRng::seed_from_u64(41);
    let (_, net): (_, Net) = draw(random, 1.0, 0.5);
    let net = &net;
    let certificate = net.certify().unwrap();
    let certified = certificate.verify(net).unwrap();
    let mut state = Net::state();
    state.as_mut_slice().fill(0.25);
    let before = state.clone();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(certified.solve(&[bad, 0.0], &mut state, 1e-3).unwrap_err(), NotFinite);
        assert_eq!(certified.label(&[0.0, bad], &mut state).unwrap_err(), NotFinite);
        assert_eq!(state, before);
        assert!(!certified.drift(&[bad, 0.0]).is_finite());
        let mut refinement = certified.refine(&[0.5, 0.5], &mut state).unwrap();
        let bound = refinement.bound();
        assert_eq!(refinement.follow(&[bad, 0.5]).unwrap_err(), NotFinite);
        assert_eq!(refinement.bound(), bound);
        let mut spoilt = before.clone();
        spoilt.as_mut_slice()[1] = bad;
        assert_eq!(certified.solve(&[0.5, 0.5], &mut spoilt, 1e-3).unwrap_err(), NotFinite);
    }
    // Whatever is asked for, there is an end.
    for error in [f32::NAN, -1.0, 0.0, f32::MIN_POSITIVE, f32::INFINITY] {
        let answer = certified.solve(&[0.5, 0.5], &mut state, error).unwrap();
        assert!(answer.sweeps >= 1 && answer.sweeps <= certificate.sweeps(error, 1.0).unwrap());
    }
    // Large states and inputs.
    state.as_mut_slice().fill(f32::MAX);
    if let Ok(answer) = certified.solve(&[f32::MAX, 1.0], &mut state, 1e-3) {
        assert!(answer.bound.largest() > 1.0);
    }
    let scalars = certificate.as_slice();
    for place in 0..scalars.len() {
        for bad in [f32::NAN, f32::INFINITY, -1.0, -f32::NAN] {
            let mut scalars = scalars.to_vec();
            scalars[place] = bad;
            let other = Certificate::<Net>::from_slice(&scalars).unwrap();
            if let Ok(certified) = other.verify(net) {
                // Infinity is true of a number nobody minds.
                assert_eq!(bad, f32::INFINITY);
                let _ = certified.solve(&[0.5, 0.5], &mut Net::state(), 1e-3).unwrap();
            }
        }
    }
    assert!(Certificate::<Net>::from_slice(&scalars[1..]).is_err());
}

/// Adjoint sweeps shrink an error of the deltas by gamma, and the deltas of k sweeps are as near as that says.
fn adjoint<T: Scalar, A, const I: usize, const OUT: usize>(zero: &Network<A>)
where
    A: Takes<I, Scalar = T, Output<1> = nalgebra::SMatrix<T, 1, OUT>>,
{
    let random = &mut SmallRng::seed_from_u64(13 * zero.params().len() as u64);
    for rate in [0.05, 0.4, 0.8] {
        let (network, net) = draw::<T, A, I>(random, 1.0, rate);
        let certificate = net.certify_adjoint().unwrap();
        certificate.verify(&net).unwrap();
        let gamma = certificate.rate().to_f64();
        let v = numbers(certificate.vector().as_slice());
        assert!(measured_adjoint(&network, &v) <= gamma * (1.0 + 1e-14), "{rate}");
        // The spectral radius is that of the sweeps themselves.
        assert!(gamma >= least_gamma(&network) * (1.0 - 1e-9) && gamma <= 1.2 * network.rate(), "{gamma}");

        let x: [T; I] = random_array(random, 1.0);
        let y: nalgebra::SMatrix<T, 1, OUT> = Flat::ZERO;
        let h = network.solve(&numbers(&x));
        let slope = oracle::Target::Values(vec![0.0; OUT]).slope(h.last().unwrap());
        let mut exact: States = h.iter().map(|h| vec![0.0; h.len()]).collect();
        let adjoint_sweep = |d: &mut States| {
            for l in (1..=network.depth()).rev() {
                for j in 0..network.widths[l] {
                    let mut sum = if l == network.depth() { slope[j] } else { 0.0 };
                    if l < network.depth() {
                        sum += (0..network.widths[l + 1])
                            .map(|i| network.params[network.w(l + 1, i, j)] * d[l + 1][i])
                            .sum::<f64>();
                    }
                    for k in (1..l).filter(|k| network.reads(*k).contains(&l)) {
                        sum += (0..network.widths[k])
                            .map(|i| network.weight_from(k, l, i, j) * d[k][i])
                            .sum::<f64>();
                    }
                    let z = h[l][j];
                    let s = match network.activation(l) {
                        oracle::Activation::Tanh => 1.0 - z * z,
                        oracle::Activation::Sigmoid => z * (1.0 - z),
                        oracle::Activation::Relu => f64::from(u8::from(z > 0.0)),
                        oracle::Activation::HardTanh => f64::from(u8::from(z.abs() < 1.0)),
                        oracle::Activation::LeakyRelu if z > 0.0 => 1.0,
                        oracle::Activation::LeakyRelu => 1.0 / 128.0,
                        oracle::Activation::Identity => 1.0,
                    };
                    d[l][j] = s * sum;
                }
            }
        };
        for _ in 0..400 {
            adjoint_sweep(&mut exact);
        }
        let exact = exact[1..].concat();
        let whole = exact.iter().zip(&v).map(|(d, v)| d.abs() / v).fold(0.0, f64::max);
        for sweeps in 1..=12 {
            let objective = Objective::new(MeanSquared)
                .solve(Stop::residual(T::from_f64(1e-15)).at_most(2000))
                .method(Method::Truncated(sweeps));
            let mut workspace = Workspace::<Network<A>>::ZERO;
            let mut gradient = Network::ZERO;
            net.gradient(&objective, &x, &y, &mut workspace, &mut gradient).unwrap();
            let left = numbers(workspace.adjoint.as_slice())
                .iter()
                .zip(&exact)
                .zip(&v)
                .map(|((found, exact), v)| (found - exact).abs() / v)
                .fold(0.0, f64::max);
            let bound = gamma.powi(sweeps as i32) * whole;
            assert!(left <= bound + 1e-12, "{rate}: {left:e} left after {sweeps} sweeps, bound {bound:e}");
            if bound <= 1e-3 * whole {
                assert!(certificate.sweeps(T::from_f64(1e-3)) <= sweeps);
            }
        }
    }
}

#[test]
fn adjoint_sweeps_shrink_as_certified() {
    adjoint(&<fnn![4, 6, 5, 3; scalar = f64]>::ZERO);
    adjoint(&<fnn![4, 5, 6, 4, 2; feedback = Dense, scalar = f64]>::ZERO);
    adjoint(&<fnn![4, 9, 5; hidden = Sigmoid, output = Tanh, scalar = f64]>::ZERO);
    adjoint(&<fnn![3, 7, 4, 2; feedback = Dense, hidden = HardTanh, scalar = f64]>::ZERO);
    adjoint(&<fnn![4, 6, 5, 3; feedback = Tied<60>, scalar = f64]>::ZERO);
}

/// A stream: the solution moves no more than the drift says, the sweeps are known before they are made, the bounds hold.
fn drift<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(zero: &Network<A>) {
    let random = &mut SmallRng::seed_from_u64(17 * zero.params().len() as u64);
    for rate in [0.1, 0.6] {
        let (network, net) = draw::<T, A, I>(random, 1.0, rate);
        let certificate = net.certify().unwrap();
        let certified = certificate.verify(&net).unwrap();
        let v = numbers(certificate.vector().as_slice());
        let mut x: [T; I] = random_array(random, 1.0);
        let mut solution = network.solve(&numbers(&x))[1..].concat();
        let mut state: State<Network<A>> = State::ZERO;
        let mut stream = certified.refine(&x, &mut state).unwrap();
        let cold = stream.solve(T::from_f64(1e-3)).unwrap();
        let mut warm = 0;
        for step in 0..50 {
            let size = if step == 25 { 1.0 } else { 1e-3 };
            let change: [T; I] = random_array(random, size);
            let next: [T; I] = core::array::from_fn(|i| x[i] + change[i]);
            let moved: [T; I] = core::array::from_fn(|i| (next[i] - x[i]) * T::from_f64(1.0 + 1e-6));
            let after = network.solve(&numbers(&next))[1..].concat();
            let by =
                solution.iter().zip(&after).zip(&v).map(|((a, b), v)| (a - b).abs() / v).fold(0.0, f64::max);
            let bound = certified.drift(&moved).to_f64();
            assert!(by <= bound + 1e-14, "moved by {by:e}, bound {bound:e}");
            // The solution of a linear network moves as far, with the signs that go with it; here it is not far from that.
            assert!(bound <= 200.0 * by, "moved by {by:e}, bound {bound:e}");
            stream.follow(&next).unwrap();
            within(
                &numbers(stream.state().as_slice()),
                &after,
                &v,
                stream.bound().weighted().to_f64(),
                "follow",
            );
            let known = stream.sweeps_left(T::from_f64(1e-3)).unwrap();
            let answer = stream.solve(T::from_f64(1e-3)).unwrap();
            assert!(answer.sweeps <= known.max(1), "{} sweeps, {known} known", answer.sweeps);
            within(
                &numbers(stream.state().as_slice()),
                &after,
                &v,
                answer.bound.weighted().to_f64(),
                "stream",
            );
            if step != 25 {
                warm += answer.sweeps;
            }
            (x, solution) = (next, after);
        }
        assert!(warm <= 49 * cold.sweeps, "{warm} {cold:?}");
    }
}

#[test]
fn solutions_drift_no_further_than_stated() {
    drift(&<fnn![4, 6, 5, 3]>::ZERO);
    drift(&<fnn![4, 6, 5, 3; scalar = f64]>::ZERO);
    drift(&<fnn![3, 5, 4, 2; feedback = Dense, hidden = Relu]>::ZERO);
    drift(&<fnn![3, 8, 4; hidden = Sigmoid]>::ZERO);
}

/// A certificate as bytes is the certificate; the same on every run.
#[test]
fn certificates_are_scalars_in_a_row() {
    type Net = fnn![2, 3, 2];
    static BYTES: [u8; Certificate::<Net>::BYTES] = [0; Certificate::<Net>::BYTES];
    static ZERO: Certificate<Net> = Certificate::from_le_bytes(&BYTES);
    assert_eq!(ZERO.verify(&Net::ZERO).unwrap_err(), CertificateError::Vector);
    assert_eq!(Certificate::<Net>::LEN, 5 + 6);
    let random = &mut SmallRng::seed_from_u64(51);
    let (_, net): (_, Net) = draw(random, 1.0, 0.5);
    let net = &net;
    let certificate = net.certify().unwrap();
    let mut bytes = [0; Certificate::<Net>::BYTES];
    for (bytes, scalar) in bytes.chunks_exact_mut(4).zip(certificate.as_slice()) {
        bytes.copy_from_slice(&scalar.to_le_bytes());
    }
    let read = Certificate::<Net>::from_le_bytes(&bytes);
    assert_eq!(read, certificate);
    assert_eq!(net.certify().unwrap(), certificate);
    read.verify(net).unwrap();
    let adjoint = net.certify_adjoint().unwrap();
    assert_eq!(AdjointCertificate::<Net>::from_slice(adjoint.as_slice()).unwrap(), adjoint);
    assert_eq!(adjoint.as_slice().len(), AdjointCertificate::<Net>::LEN);
}

/// A linear network without negative weights: an error that lies along v shrinks by no more than gamma in a sweep.
fn line<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(zero: &Network<A>) {
    let random = &mut SmallRng::seed_from_u64(61);
    for rate in [0.1, 0.5, 0.9] {
        let mut network = subject::oracle(zero);
        network.draw(random, 1.0, rate);
        for param in &mut network.params {
            *param = param.abs();
        }
        let net: Network<A> = subject::network(&network);
        let certificate = net.certify().unwrap();
        let certified = certificate.verify(&net).unwrap();
        let (gamma, v) = (certificate.rate().to_f64(), numbers(certificate.vector().as_slice()));
        let x: [T; I] = core::array::from_fn(|_| T::from_f64(0.5));
        let exact = network.solve(&numbers(&x))[1..].concat();
        let mut state = Network::<A>::state();
        for ((h, exact), v) in state.as_mut_slice().iter_mut().zip(&exact).zip(&v) {
            *h = T::from_f64(exact + 1000.0 * v);
        }
        let mut refinement = certified.refine(&x, &mut state).unwrap();
        let mut left = 1000.0;
        for _ in 0..5 {
            let bound = refinement.sweep().unwrap().weighted().to_f64();
            let state = numbers(refinement.state().as_slice());
            let error =
                state.iter().zip(&exact).zip(&v).map(|((h, e), v)| (h - e).abs() / v).fold(0.0, f64::max);
            within(&state, &exact, &v, bound, "line");
            assert!(error <= gamma * left + 1e-2 && error >= 0.7 * gamma * left - 1e-2, "{error} of {left}");
            // Next to nothing is lost.
            assert!(bound <= 1.5 * error + 0.5, "{bound} {error}");
            left = error;
        }
    }
}

#[test]
fn bounds_are_attained() {
    line(&<fnn![1, 1, 1; hidden = Identity]>::ZERO);
    line(&<fnn![1, 1, 1; hidden = Identity, scalar = f64]>::ZERO);
    line(&<fnn![2, 3, 4, 2; hidden = Identity, scalar = f64]>::ZERO);
    line(&<fnn![2, 3, 2, 2; feedback = Dense, hidden = Identity, scalar = f64]>::ZERO);
}

/// Two outputs of which the second is the larger at the solution, and the first for many sweeps before.
#[test]
fn a_label_is_not_certified_too_early() {
    type Net = fnn![1, 1, 2; hidden = Identity];
    let mut net = Net::ZERO;
    net.layer_mut::<2>().w[0] = 2.0;
    net.layer_mut::<2>().w[1] = 0.1;
    net.layer_mut::<2>().b[1] = 0.01;
    net.layer_mut::<1>().u[(0, 0)] = 0.45;
    let certificate = net.certify().unwrap();
    for start in [1e-3_f32, 0.1, 10.0, 1000.0] {
        let mut state = Net::state();
        state.as_mut_slice().copy_from_slice(&[start, 2.0 * start, 0.1 * start + 0.01]);
        let label = certificate.verify(&net).unwrap().label(&[0.0], &mut state).unwrap();
        assert!(label.certified && label.class == 1, "{start}: {label:?}");
        assert!(start < 0.1 || label.sweeps > 20, "{start}: {label:?}");
    }
}

/// A certificate with any vector that certifies: what a refusal says is found is what it then states.
fn with_vector<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(
    net: &Network<A>,
    v: &[T],
) -> Certificate<Network<A>> {
    let names = ["rate", "propagation", "bias", "input gain", "range", "largest entry"];
    let mut scalars = v.to_vec();
    scalars.resize(v.len() + names.len(), T::ZERO);
    loop {
        let certificate = Certificate::from_slice(&scalars).unwrap();
        let (what, found) = match certificate.verify(net) {
            Ok(_) => return certificate,
            Err(CertificateError::Refuted { what, found, .. }) => (what, found),
            Err(error) => panic!("{error}"),
        };
        let index = names.iter().position(|name| *name == what).unwrap();
        scalars[v.len() + index] = found;
    }
}

/// A small entry in an output's place: what arrives there counts the more.
#[test]
fn drift_is_carried_from_layer_to_layer() {
    type Net = fnn![1, 1, 1; hidden = Identity, scalar = f64];
    let mut net = Net::ZERO;
    net.layer_mut::<1>().w.fill(1.0);
    net.layer_mut::<1>().u.fill(0.02);
    net.layer_mut::<2>().w.fill(5.0);
    let certificate = with_vector(&net, &[1.0, 1.0]);
    assert!((certificate.rate() - 0.1).abs() < 1e-12);
    // h = x + 0.02 * 5 h.
    let bound = certificate.verify(&net).unwrap().drift(&[0.9]);
    assert!((5.0..6.0).contains(&bound), "{bound}");
}

/// No bound is below the error of an activation, and all is well with a vector that nobody would choose.
#[test]
fn rounding_errors_are_in_every_bound() {
    type Net = fnn![1, 2, 1];
    let certificate = Net::ZERO.certify().unwrap();
    let mut state = Net::state();
    let answer = certificate.verify(&Net::ZERO).unwrap().solve(&[0.0], &mut state, 0.0).unwrap();
    assert!(answer.bound.weighted() >= 5e-7 && answer.bound.weighted() < 2e-6, "{answer:?}");
    assert_eq!(answer.sweeps, 1);

    let random = &mut SmallRng::seed_from_u64(71);
    type Deeper = fnn![4, 6, 5, 3];
    let (network, net): (_, Deeper) = draw(random, 1.0, 0.2);
    let net = &net;
    let best = net.certify().unwrap();
    for _ in 0..100 {
        let v: Vec<f32> =
            best.vector().as_slice().iter().map(|v| v * random.random_range(1.0..4.0)).collect();
        let mut state = <fnn![4, 6, 5, 3]>::state();
        let gamma = measured(&network, &numbers(&v))[0];
        if gamma > 0.95 {
            continue;
        }
        let certificate = with_vector(net, &v);
        assert!(holds(&network, &certificate));
        let x: [f32; 4] = random_array(random, 1.0);
        let answer = certificate.verify(net).unwrap().solve(&x, &mut state, 1e-3).unwrap();
        assert!(answer.sweeps <= certificate.sweeps(1e-3, 1.0).unwrap());
        let exact = network.solve(&numbers(&x))[1..].concat();
        within(&numbers(state.as_slice()), &exact, &numbers(&v), f64::from(answer.bound.weighted()), "any v");
    }
}
