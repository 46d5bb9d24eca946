//! Tied feedback: the energy, which is what it is said to be, and which no update of a layer raises.

use crate::oracle::{self, Activation, States, subject};
use attractor::kernel::{HardTanh, Identity, LeakyRelu, Relu, Sigmoid, Tanh};
use attractor::learn::{Adam, CrossEntropy, Objective, Trainer};
use attractor::network::Takes;
use attractor::{Injection, Network, SolveError, State, Stop, Tied, fnn};
use nalgebra::SMatrix;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// s^-1(h), inside of the range of s.
fn inverse(activation: Activation, h: f64) -> f64 {
    match activation {
        Activation::Tanh => h.atanh(),
        Activation::Sigmoid => (h / (1.0 - h)).ln(),
        Activation::LeakyRelu => h.min(128.0 * h),
        Activation::Relu | Activation::HardTanh | Activation::Identity => h,
    }
}

/// A number inside of the range of s.
fn inside(activation: Activation, random: &mut SmallRng) -> f64 {
    match activation {
        Activation::Sigmoid | Activation::Relu => random.random_range(0.05..0.95),
        _ => random.random_range(-0.9..0.9),
    }
}

/// The oracle with weights far too large for a certificate.
fn large<A: Takes<I, Scalar = f64, Form = Tied<P>>, const I: usize, const P: usize>(
    zero: &Network<A>,
    random: &mut SmallRng,
) -> oracle::Network {
    let mut network = subject::oracle(zero);
    for param in &mut network.params {
        *param = random.random_range(-2.5..2.5);
    }
    network
}

/// Random input and a random state within range, as the oracle and as the crate have them.
fn draw<A: Takes<I, Scalar = f64, Form = Tied<P>>, const I: usize, const P: usize>(
    network: &oracle::Network,
    random: &mut SmallRng,
) -> ([f64; I], States, State<Network<A>>) {
    let x: [f64; I] = std::array::from_fn(|_| random.random_range(-1.0..1.0));
    let mut h = network.start(&x);
    for (l, units) in h.iter_mut().enumerate().skip(1) {
        units.fill_with(|| inside(network.activation(l), random));
    }
    let mut state = State::ZERO;
    state.as_mut_slice().copy_from_slice(&h[1..].concat());
    (x, h, state)
}

/// Its slope by every unit is k^(l-1) (s^-1(h) - z): that of the energy in the docs, and no other up to a constant.
fn slopes<A: Takes<I, Scalar = f64, Form = Tied<P>>, const I: usize, const P: usize>(zero: &Network<A>) {
    let random = &mut SmallRng::seed_from_u64(5);
    for _ in 0..20 {
        let network = large(zero, random);
        let net: Network<A> = subject::network(&network);
        let (x, h, mut state) = draw::<A, I, P>(&network, random);
        let mut unit = 0;
        for l in 1..=network.depth() {
            for i in 0..network.widths[l] {
                let step = 1e-5;
                let [high, low] = [step, -step].map(|by| {
                    state.as_mut_slice()[unit] = h[l][i] + by;
                    net.energy(&x, &state).unwrap()
                });
                state.as_mut_slice()[unit] = h[l][i];
                let mut z = network.params[network.b(l, i)];
                for (j, below) in h[l - 1].iter().enumerate() {
                    z += network.params[network.w(l, i, j)] * below;
                }
                for k in network.reads(l) {
                    z += h[k]
                        .iter()
                        .enumerate()
                        .map(|(j, h)| network.weight_from(l, k, i, j) * h)
                        .sum::<f64>();
                }
                let weight = (P as f64 / 100.0).powi(l as i32 - 1);
                let exact = weight * (inverse(network.activation(l), h[l][i]) - z);
                let found = (high - low) / (2.0 * step);
                assert!(
                    (found - exact).abs() <= 1e-7 * exact.abs().max(1.0),
                    "{zero:?}: {found} is not {exact}"
                );
                unit += 1;
            }
        }
    }
}

#[test]
fn its_slope_is_what_a_unit_is_short_of_its_sum() {
    slopes(&<fnn![3, 5, 4, 3; feedback = Tied<60>, scalar = f64]>::ZERO);
    slopes(&<fnn![3, 5, 4; feedback = Tied, hidden = Sigmoid, output = Tanh, scalar = f64]>::ZERO);
    slopes(&<fnn![2, 4, 4, 2; feedback = Tied<25>, hidden = HardTanh, output = Relu, scalar = f64]>::ZERO);
    slopes(&<fnn![2, 4, 3; feedback = Tied<25>, hidden = LeakyRelu, output = Tanh, scalar = f64]>::ZERO);
}

/// Sweeps never raise it, however large the weights; and most of them would not converge with the same U untied.
fn descends<A: Takes<I, Scalar = f64, Form = Tied<P>>, const I: usize, const P: usize>(zero: &Network<A>) {
    for backend in subject::backends() {
        let random = &mut SmallRng::seed_from_u64(6);
        let (mut settled, mut fallen) = (0, 0.0);
        for _ in 0..100 {
            let network = large(zero, random);
            let net: Network<A> = subject::network(&network);
            assert!(net.certify().is_err(), "weights that need no energy");
            let (x, _, mut state) = draw::<A, I, P>(&network, random);
            let mut injection = Injection::ZERO;
            let on = net.on(backend);
            on.inject(&x, &mut injection).unwrap();
            let mut before = net.energy(&x, &state).unwrap();
            let first = before;
            for sweep in 0..400 {
                let residual = on.sweep(&injection, &mut state).unwrap();
                let after = net.energy(&x, &state).unwrap();
                assert!(
                    after <= before + 1e-12 * before.abs().max(1.0),
                    "{zero:?}, {sweep}: {before} to {after}"
                );
                before = after;
                if residual <= 1e-9 {
                    settled += 1;
                    break;
                }
            }
            fallen += first - before;
        }
        // Where the landscape is all but flat, sweeps go on for long.
        assert!(settled >= 95, "{zero:?}: {settled} of 100 settled");
        assert!(fallen > 100.0, "{zero:?}: it hardly fell, {fallen}");
    }
}

#[test]
fn sweeps_go_down_whatever_the_weights() {
    descends(&<fnn![3, 6, 5, 4; feedback = Tied<60>, output = Tanh, scalar = f64]>::ZERO);
    descends(&<fnn![3, 9, 17; feedback = Tied, hidden = Sigmoid, output = HardTanh, scalar = f64]>::ZERO);
    descends(&<fnn![2, 4, 8, 3, 3; feedback = Tied, output = Sigmoid, scalar = f64]>::ZERO);
}

#[test]
fn what_is_not_finite_has_none() {
    type Net = fnn![2, 3, 1; feedback = Tied<50>];
    let (net, mut state) = (Net::ZERO, Net::state());
    assert!(matches!(net.energy(&[f32::NAN, 0.0], &state), Err(SolveError::NotFinite(_))));
    assert_eq!(net.energy(&[0.0, 0.0], &state), Ok(0.0));
    state.as_mut_slice()[0] = 1.5; // tanh never comes to that
    assert_eq!(net.energy(&[0.0, 0.0], &state), Ok(f64::INFINITY));
    state.as_mut_slice()[0] = f32::INFINITY;
    assert!(matches!(net.energy(&[0.0, 0.0], &state), Err(SolveError::NotFinite(_))));
}

#[test]
fn it_is_drawn_to_converge_and_learns_within_a_rate() {
    type Net = fnn![4, 24, 16, 3; feedback = Tied<50>];
    let mut random = SmallRng::seed_from_u64(3);
    let mut net = Net::ZERO;
    net.initialize(&mut random);
    let mut state = Net::state();
    let solved = net.solve(&[0.5, -1.0, 1.0, 0.25], &mut state, Stop::residual(1e-5)).unwrap();
    assert!(solved.sweeps <= 10, "{solved:?}");
    // Which of the first three inputs is the largest.
    let mut batch = || {
        let x = SMatrix::<f32, 16, 4>::from_fn(|_, _| random.random_range(-1.0..1.0));
        let labels: [usize; 16] = std::array::from_fn(|s| {
            (0..3).max_by(|a, b| x[(s, *a)].total_cmp(&x[(s, *b)])).expect("three of them")
        });
        (x, labels)
    };
    let mut trainer: Trainer<Net, Adam<Net>, _, 16> =
        Trainer::new(net, Adam::new(), Objective::new(CrossEntropy::new()));
    trainer.rate = 0.01;
    let mut limited = 0;
    for _ in 0..600 {
        let (x, labels) = batch();
        trainer.step(&x, &labels).unwrap();
        let before = trainer.network.layer::<2>().w;
        let certificate = trainer.network.limit_rate(0.8).unwrap();
        certificate.verify(&trainer.network).unwrap();
        assert!(certificate.rate() <= 0.8);
        if trainer.network.layer::<2>().w != before {
            // As much as it may be, not less.
            assert!(certificate.rate() >= 0.799, "{certificate:?}");
            limited += 1;
        }
    }
    assert!(limited > 100, "the rate was in nobody's way");
    let mut right = 0;
    for _ in 0..20 {
        let (x, labels) = batch();
        let mut state = Net::state::<16>();
        trainer.network.solve(&x, &mut state, Stop::residual(1e-5)).unwrap();
        for (s, label) in labels.into_iter().enumerate() {
            right +=
                usize::from((0..3).all(|other| state.output()[(s, other)] <= state.output()[(s, label)]));
        }
    }
    assert!(right >= 290, "{right} of 320");
}

#[test]
fn identity_networks_solve_their_linear_system() {
    type Net = fnn![2, 3, 2; feedback = Tied<50>, hidden = Identity, scalar = f64];
    let mut net = Net::ZERO;
    for (i, w) in net.params_mut().iter_mut().enumerate() {
        *w = 0.4 * (1.7 * i as f64).sin();
    }
    let (w1, b1) = (net.layer::<1>().w, net.layer::<1>().b);
    let (w2, b2) = (net.layer::<2>().w, net.layer::<2>().b);
    let x = nalgebra::vector![0.5, -1.0];
    // h1 = W1 x + b1 + (W2)^T h2 / 2, h2 = W2 h1 + b2.
    let system = SMatrix::<f64, 3, 3>::identity() - w2.transpose() * w2 * 0.5;
    let h1 = system.lu().solve(&(w1 * x + b1 + w2.transpose() * b2 * 0.5)).expect("not singular");
    let h2 = w2 * h1 + b2;
    let mut state = Net::state();
    net.solve(&[0.5, -1.0], &mut state, Stop::residual(1e-14)).unwrap();
    for (found, exact) in state.as_slice().iter().zip(h1.iter().chain(h2.iter())) {
        assert!((found - exact).abs() < 1e-12, "{found} is not {exact}");
    }
}
