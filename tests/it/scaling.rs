//! Scaling against plain `f64` arithmetic in two passes; the folded network against the scaled input; saturation against the slopes themselves.

use super::oracle::subject;
use attractor::kernel::{HardTanh, Identity, Relu, Scalar, Sigmoid, Tanh};
use attractor::learn::{Adam, CrossEntropy, Descent, Objective, Scaling, Trainer};
use attractor::network::Takes;
use attractor::{Dense, Feedforward, Network, NonFinite, State, Stop, Tied, fnn};
use nalgebra::SMatrix;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Columns as data sets have them: mean and spread.
const COLUMNS: [(f64, f64); 5] = [(0.0, 1.0), (1680.0, 400.0), (-0.02, 1e-3), (4254.0, 3000.0), (7.0, 0.0)];

fn drawn<T: Scalar, const B: usize>(random: &mut SmallRng) -> SMatrix<T, B, 5> {
    SMatrix::from_fn(|_, i| {
        T::from_f64(COLUMNS[i].0 + COLUMNS[i].1 * f64::from(random.random_range(-1.0_f32..1.0)))
    })
}

/// Mean and deviation in two passes.
fn plain(column: &[f64]) -> (f64, f64) {
    let n = column.len() as f64;
    let mean = column.iter().sum::<f64>() / n;
    let deviation = (column.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt();
    (mean, if deviation > 0.0 { deviation } else { 1.0 })
}

fn sums<T: Scalar>(most: f64) {
    const B: usize = 50;
    let random = &mut SmallRng::seed_from_u64(1);
    let mut scaling = Scaling::<T, 5>::new();
    let mut seen: [Vec<f64>; 5] = Default::default();
    assert_eq!((scaling.count(), scaling.deviation()), (0, [T::ONE; 5]));
    for round in 0..40 {
        let batch = drawn::<T, B>(random);
        if round % 2 == 0 {
            scaling.observe(&batch).unwrap();
        } else {
            for s in 0..B {
                let sample: [T; 5] = core::array::from_fn(|i| batch[(s, i)]);
                scaling.observe(&sample).unwrap();
            }
        }
        for (i, seen) in seen.iter_mut().enumerate() {
            seen.extend((0..B).map(|s| batch[(s, i)].to_f64()));
        }
        assert_eq!(scaling.count(), (round + 1) * B);
        let mut scaled = batch;
        scaling.apply_batch(&mut scaled);
        for (i, column) in seen.iter().enumerate() {
            let (mean, deviation) = plain(column);
            let found = (scaling.mean()[i].to_f64(), scaling.deviation()[i].to_f64());
            let spread = if COLUMNS[i].1 == 0.0 { 1.0 } else { deviation };
            assert!((found.0 - mean).abs() < most * (spread + mean.abs()), "column {i}: {found:?}, {mean}");
            assert!((found.1 / deviation - 1.0).abs() < 100.0 * most, "column {i}: {found:?}, {deviation}");
            for s in 0..B {
                let mut sample: [T; 5] = core::array::from_fn(|i| batch[(s, i)]);
                scaling.apply(&mut sample);
                assert_eq!(sample[i], scaled[(s, i)]);
                let exact = (batch[(s, i)].to_f64() - found.0) / found.1;
                assert!((sample[i].to_f64() - exact).abs() < 1e3 * most, "{sample:?}, {exact}");
            }
        }
    }
}

#[test]
fn mean_and_deviation() {
    sums::<f32>(4e-6);
    sums::<f64>(1e-14);
}

/// What is no number is refused with its place, and the batch with it.
#[test]
fn bad_samples_are_not_taken_in() {
    let mut scaling = Scaling::<f32, 3>::new();
    scaling.observe(&[1.0, 2.0, 3.0]).unwrap();
    let before = scaling;
    for bad in [f32::NAN, f32::INFINITY, 3e38] {
        let mut batch = SMatrix::<f32, 4, 3>::repeat(1.0);
        batch[(2, 1)] = bad;
        assert_eq!(scaling.observe(&batch), Err(NonFinite::Input { sample: 2, input: 1 }), "{bad}");
        assert_eq!(scaling, before);
    }
}

/// Raw inputs into the folded network are scaled inputs into the network.
fn folds<T: Scalar, A: Takes<5, Scalar = T>>(zero: &Network<A>, first: usize, feedback: usize, most: f64) {
    let random = &mut SmallRng::seed_from_u64(2);
    let mut scaling = Scaling::<T, 5>::new();
    scaling.observe(&drawn::<T, 60>(random)).unwrap();
    let mut net = zero.clone();
    net.params_mut().iter_mut().for_each(|w| *w = T::from_f64(random.random_range(-0.3..0.3)));
    let mut folded = net.clone();
    scaling.fold_into(&mut folded).unwrap();
    // The formula, in `f64`; all else is as it was, bit for bit.
    let bias = first * (5 + feedback);
    for (index, (found, was)) in folded.params().iter().zip(net.params()).enumerate() {
        let near = |exact: f64, size: f64| {
            assert!(
                (found.to_f64() - exact).abs() <= 2.0 * T::PRECISION.to_f64() * size,
                "{index}: {found:?}, {exact}"
            );
        };
        if index < 5 * first {
            let exact = was.to_f64() / scaling.deviation()[index / first].to_f64();
            near(exact, exact.abs());
        } else if (bias..bias + first).contains(&index) {
            let row = index - bias;
            let terms =
                (0..5).map(|i| folded.params()[i * first + row].to_f64() * scaling.mean()[i].to_f64());
            let exact = was.to_f64() - terms.sum::<f64>();
            near(exact, exact.abs());
        } else {
            assert_eq!(found, was, "{index}");
        }
    }
    let stop = Stop::residual(T::from_f64(most / 10.0)).at_most(400);
    for _ in 0..20 {
        let raw = drawn::<T, 3>(random);
        let mut scaled = raw;
        scaling.apply_batch(&mut scaled);
        let (mut one, mut other) = (State::<Network<A>, 3>::ZERO, State::<Network<A>, 3>::ZERO);
        net.solve(&scaled, &mut one, stop).unwrap();
        folded.solve(&raw, &mut other, stop).unwrap();
        for (one, other) in one.as_slice().iter().zip(other.as_slice()) {
            assert!((one.to_f64() - other.to_f64()).abs() < most, "{zero:?}: {one:?}, {other:?}");
        }
    }
    // What would not be finite is refused, and nothing is changed: a weight, and a bias.
    for (place, value, found) in [
        (2 * first + 1, T::NAN, NonFinite::Weight { matrix: 'W', layer: 1, row: 1, column: 2 }),
        (2 * first + 1, T::MAX, NonFinite::Weight { matrix: 'W', layer: 1, row: 1, column: 2 }),
        (bias + 2, T::INFINITE, NonFinite::Weight { matrix: 'b', layer: 1, row: 2, column: 0 }),
    ] {
        let mut bad = net.clone();
        bad.params_mut()[place] = value;
        let before = format!("{:?}", bad.params());
        assert_eq!(scaling.fold_into(&mut bad), Err(found), "{zero:?}");
        assert_eq!(format!("{:?}", bad.params()), before);
    }
}

#[test]
fn a_folded_network_takes_raw_inputs() {
    folds(&<fnn![5, 6, 4, 2]>::ZERO, 6, 4, 3e-4);
    folds(&<fnn![5, 6, 4, 2; scalar = f64]>::ZERO, 6, 4, 1e-10);
    folds(&<fnn![5, 6, 4, 2; feedback = Dense, scalar = f64, hidden = Relu]>::ZERO, 6, 6, 1e-10);
    folds(&<fnn![5, 6, 4, 2; feedback = Tied<40>, scalar = f64]>::ZERO, 6, 0, 1e-10);
    folds(&<fnn![5, 6, 4; feedback = Feedforward, scalar = f64]>::ZERO, 6, 0, 1e-10);
    folds(&<fnn![5, 3; scalar = f64]>::ZERO, 3, 0, 1e-10);
}

/// The share against the slopes themselves, at the states that a solve left.
#[test]
fn saturation_is_counted() {
    macro_rules! check {
        ($net:ty, $batch:literal, $slope:expr, $steepest:literal) => {
            type Net = $net;
            const B: usize = $batch;
            let slope: Option<fn(f64) -> f64> = $slope;
            let mut net = Net::ZERO;
            let random = &mut SmallRng::seed_from_u64(3);
            net.params_mut().iter_mut().for_each(|w| *w = random.random_range(-0.5..0.5));
            let mut shares = Vec::new();
            for size in [0.1, 1.0, 5.0, 20.0, 1000.0] {
                let x = SMatrix::<_, B, 3>::from_fn(|_, _| size * random.random_range(-1.0..1.0));
                let mut state = Net::state::<B>();
                net.solve(&x, &mut state, Stop::after(3)).unwrap();
                let found = Net::saturated(&state);
                let Some(slope) = slope else {
                    assert_eq!(found, None);
                    continue;
                };
                let flat = state.as_slice()[..6 * B].iter().filter(|h| slope(h.to_f64()) < 0.01 * $steepest);
                let exact = flat.count() as f64 / (6 * B) as f64;
                assert!((f64::from(found.unwrap()) - exact).abs() < 1e-6, "{found:?}, {exact}");
                shares.push(exact);
            }
            if slope.is_some() {
                assert!(shares[0] == 0.0 && shares[4] > 0.9, "{shares:?}");
            }
        };
    }
    trait ToF64: Copy {
        fn to_f64(self) -> f64;
    }
    impl ToF64 for f32 {
        fn to_f64(self) -> f64 {
            f64::from(self)
        }
    }
    impl ToF64 for f64 {
        fn to_f64(self) -> f64 {
            self
        }
    }
    {
        check!(fnn![3, 6, 4, 2], 40, Some(|h| 1.0 - h * h), 1.0);
    }
    {
        check!(fnn![3, 6, 4, 2; hidden = Sigmoid, scalar = f64], 7, Some(|h| h * (1.0 - h)), 0.25);
    }
    {
        check!(fnn![3, 6, 2; hidden = HardTanh], 9, Some(|h| if h.abs() < 1.0 { 1.0 } else { 0.0 }), 1.0);
    }
    {
        check!(fnn![3, 6; output = Tanh], 33, Some(|h| 1.0 - h * h), 1.0);
    }
    {
        check!(fnn![3, 6, 2; hidden = Relu], 1, None, 1.0);
    }
    {
        check!(fnn![3, 6; output = Identity], 2, None, 1.0);
    }
}

/// Raw columns of thousands saturate the first layer, and the report says so; scaled they are learnt.
#[test]
fn a_step_warns_of_raw_inputs() {
    type Net = fnn![5, 8, 2];
    const B: usize = 32;
    let random = &mut SmallRng::seed_from_u64(4);
    let mut net = Net::ZERO;
    net.params_mut().iter_mut().for_each(|w| *w = random.random_range(-0.4..0.4));
    let raw: Vec<SMatrix<f32, B, 5>> = (0..8).map(|_| drawn(random)).collect();
    let labels = |raw: &SMatrix<f32, B, 5>| -> [usize; B] {
        core::array::from_fn(|s| usize::from((raw[(s, 1)] - 1680.0) / 400.0 > raw[(s, 0)]))
    };
    let mut scaling = Scaling::new();
    raw.iter().for_each(|batch| scaling.observe(batch).unwrap());
    for backend in subject::backends() {
        let right = |net: &Net, scale: bool| -> usize {
            raw.iter()
                .map(|batch| {
                    let (mut x, mut state) = (*batch, Net::state::<B>());
                    if scale {
                        scaling.apply_batch(&mut x);
                    }
                    net.solve(&x, &mut state, Stop::residual(1e-4)).unwrap();
                    let h = state.output();
                    let labels = labels(batch);
                    (0..B).filter(|s| usize::from(h[(*s, 1)] > h[(*s, 0)]) == labels[*s]).count()
                })
                .sum()
        };
        for scale in [false, true] {
            let objective = Objective::new(CrossEntropy::new());
            let mut trainer: Trainer<Net, _, _, B> = Trainer::new(net.clone(), Adam::<Net>::new(), objective);
            let mut descent: Descent<Net, _, B> = Descent::new(net.clone(), objective, 0.01);
            (trainer.rate, trainer.backend, descent.backend) = (0.01, backend, backend);
            for _ in 0..20 {
                for batch in &raw {
                    let mut x = *batch;
                    if scale {
                        scaling.apply_batch(&mut x);
                    }
                    let step = trainer.step(&x, &labels(batch)).unwrap();
                    assert_eq!(step.is_saturated(), !scale, "{step:?}");
                    assert_eq!(step.saturated, Net::saturated(&trainer.workspace().state));
                    let step = descent.step(&x, &labels(batch)).unwrap();
                    assert_eq!(step.is_saturated(), !scale, "{step:?}");
                }
            }
            if scale {
                assert!(right(&trainer.network, true) > 8 * B * 9 / 10);
                let mut folded = trainer.network.clone();
                scaling.fold_into(&mut folded).unwrap();
                assert!(right(&folded, false) > 8 * B * 9 / 10);
            }
        }
    }
}
