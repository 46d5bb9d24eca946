//! Networks of integers: the same on every backend, and within their stated bounds of solutions in `f64`.

mod oracle;

use attractor::file::FileError;
use attractor::kernel::{Activation, HardTanh, Identity, LeakyRelu, Relu, Sigmoid, Tanh};
use attractor::learn::{Adam, MeanSquared, Objective, Optimizer};
use attractor::network::{Flat, Fnn, Form, Stack, Takes};
use attractor::quantized::{Bf16Network, Calibration, QuantizeError, Quantized};
use attractor::simd::{Backend, Bf16, IntState};
use attractor::{
    Align64, Certificate, Dense, Feedforward, Layer, Network, Repeat, Skip, SolveError, Solved, Stop,
    Workspace, fnn, include_network,
};
use oracle::subject;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

fn draw(random: &mut SmallRng, count: usize, size: f64) -> Vec<f64> {
    (0..count).map(|_| size * random.random_range(-1.0..1.0)).collect()
}

/// A random network, rounded, on all backends, against solutions in `f64` of the network it was made of and of the one it says it is.
fn rounded_is_near<N: Takes<I, Scalar = f32>, H: IntState, const I: usize>(
    seed: u64,
    gain: f64,
    rate: f64,
) -> Result<(), TestCaseError> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut exact = subject::oracle(&Network::<N>::ZERO);
    exact.draw(&mut random, gain, rate);
    let net: Box<Network<N>> = Box::new(subject::network(&exact));
    // What the oracle then solves are the weights as `f32` has them.
    for (to, from) in exact.params.iter_mut().zip(net.params()) {
        *to = f64::from(*from);
    }
    let mut calibration = Calibration::ZERO;
    let mut state = Network::<N>::state();
    for _ in 0..12 {
        let input: [f32; I] = core::array::from_fn(|_| random.random_range(-1.0..1.0));
        state.reset();
        net.solve(&input, &mut state, Stop::residual(1e-4)).expect("it converges");
        calibration.observe(&input, &state).expect("finite");
    }
    let small = Box::new(Quantized::<_, H>::new(&net, &calibration).expect("weights of moderate size"));
    prop_assert_eq!(small.check(), Ok(()));
    let mut back: Box<Network<N>> = Box::new(Network::ZERO);
    small.to_network(&mut back);
    let mut said = exact.clone();
    for (to, from) in said.params.iter_mut().zip(back.params()) {
        *to = f64::from(*from);
    }
    // It is near the one it was made of: weights by half a step of their row, biases by what that makes of the largest states.
    let most =
        [small.input_unit(), small.hidden_unit(), small.output_unit()].map(|unit| f64::from(unit) * 2.0);
    let most = most.into_iter().fold(0.0, f64::max) * f64::from(H::MOST);
    for l in 1..=exact.depth() {
        let last = l == exact.depth();
        let unit = f64::from(if last { small.output_unit() } else { small.hidden_unit() });
        for i in 0..exact.widths[l] {
            let below = (0..exact.widths[l - 1]).map(|j| exact.w(l, i, j));
            let above = exact.reads(l).filter(|_| exact.feedback != oracle::Feedback::None);
            let above: Vec<usize> = above
                .flat_map(|k| (0..exact.widths[k]).map(move |j| (k, j)))
                .map(|(k, j)| exact.u(l, k, i, j))
                .collect();
            let missed: f64 = below.chain(above).map(|at| (said.params[at] - exact.params[at]).abs()).sum();
            let bias = (said.params[exact.b(l, i)] - exact.params[exact.b(l, i)]).abs();
            prop_assert!(bias <= missed * most + 2.0 * unit, "{net:?} layer {l} unit {i}: {bias}, {missed}");
        }
    }
    let certificate = match small.certify() {
        Ok(certificate) => certificate,
        // Only where the rate comes near 1.
        Err(error) => {
            prop_assert!(rate > 0.7, "{error}");
            return Ok(());
        }
    };
    prop_assert_eq!(certificate.verify(&small), Ok(()));
    // Beside the crate's own proof of the same weights: neither may be far below the other.
    let of_floats = back.certify().map(|proof: Certificate<_>| f64::from(proof.rate()));
    if let Ok(gamma) = of_floats {
        prop_assert!(certificate.rate() < 1.3 * gamma + 0.02, "{} {gamma}", certificate.rate());
    }

    let input: [f32; I] = core::array::from_fn(|_| random.random_range(-1.0..1.0));
    let integers = small.input(&input).expect("finite");
    let limit = certificate.sweeps::<H>();
    let mut solved = None;
    for backend in Backend::available() {
        let mut state = Quantized::<Network<N>, H>::state();
        let found = match small.on(backend).solve(&integers, &mut state, limit.max(64)) {
            Ok(solved) => solved,
            // It may go round near the solution, by what its last digits make at both ends of a step.
            Err(SolveError::NotConverged { sweeps, residual }) => {
                let most = (0..state.as_slice().len()).map(|unit| certificate.bound_of(unit, &state, 1));
                // Nothing is stated where a unit is cut.
                let most = most.map(|bound| bound.unwrap_or(f64::INFINITY)).fold(0.0, f64::max);
                prop_assert!(f64::from(residual) <= 2.0 * most, "{net:?}: {residual}");
                Solved { sweeps, residual }
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        if let Some((first, of)) = &solved {
            prop_assert_eq!(&found, first, "{}", backend.name());
            prop_assert_eq!(&state, of, "{}", backend.name());
        } else {
            solved = Some((found, state));
        }
    }
    let (solved, state) = solved.expect("there is a backend");
    let states: Vec<f64> = state.as_slice().iter().map(|h| f64::from((*h).into())).collect();
    // The solution it says it comes near to, unit for unit; with inputs as they were rounded.
    let seen: Vec<f64> = Flat::flat(&integers)
        .iter()
        .map(|x| f64::from((*x).into()) * f64::from(small.input_unit()))
        .collect();
    let solution: Vec<f64> = said.solve(&seen)[1..].concat();
    let outputs = Network::<N>::OUTPUTS;
    let hidden = solution.len() - outputs;
    let one = |unit| f64::from(if unit < hidden { small.hidden_unit() } else { small.output_unit() });
    for (unit, h) in solution.iter().enumerate() {
        let one = one(unit);
        let error = (states[unit] - h / one).abs();
        let bound = certificate.bound_of(unit, &state, solved.residual);
        // Where nothing can be cut there is always a bound.
        prop_assert!(bound.is_some() || <N::Hidden>::BOUND.is_none() || <N::Outputs>::BOUND.is_none());
        let Some(bound) = bound else { continue };
        let bound = bound * (1.0 + 1e-4) + 1e-3;
        prop_assert!(error <= bound, "{net:?} {} unit {unit}: {error} > {bound}", H::NAME);
    }
    // And the one it was made of.
    let floats: Vec<f64> = input.iter().map(|x| f64::from(*x)).collect();
    let solution: Vec<f64> = exact.solve(&floats)[1..].concat();
    let within = input.iter().all(|x| x.abs() <= small.input_unit() * H::MOST as f32);
    let bound = certificate.distance(&small, &net, solved.residual);
    let inside = solution.iter().enumerate().all(|(unit, h)| h.abs() <= one(unit) * f64::from(H::MOST + 1));
    if within && inside {
        for (unit, h) in solution.iter().enumerate().skip(hidden) {
            let error = (states[unit] * one(unit) - h).abs();
            prop_assert!(error <= bound, "{net:?} {} output {unit}: {error} > {bound}", H::NAME);
        }
    }
    Ok(())
}

/// A random network with weights of 16 bits, on all backends, against the solution in `f64` of the network it says it is.
fn halved_is_what_it_says<N: Takes<I, Scalar = f32>, const I: usize>(
    seed: u64,
    gain: f64,
    rate: f64,
) -> Result<(), TestCaseError> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut exact = subject::oracle(&Network::<N>::ZERO);
    exact.draw(&mut random, gain, rate);
    let net: Box<Network<N>> = Box::new(subject::network(&exact));
    let half = Box::new(Bf16Network::new(&net).expect("finite"));
    let mut back: Box<Network<N>> = Box::new(Network::ZERO);
    half.to_network(&mut back);
    for ((rounded, from), to) in back.params().iter().zip(net.params()).zip(&mut exact.params) {
        prop_assert!((rounded - from).abs() <= from.abs() / 255.9 + 1e-29, "{from} became {rounded}");
        *to = f64::from(*rounded);
    }
    let input: [f32; I] = core::array::from_fn(|_| random.random_range(-1.0..1.0));
    let floats: Vec<f64> = input.iter().map(|x| f64::from(*x)).collect();
    let solution: Vec<f64> = exact.solve(&floats)[1..].concat();
    let size = oracle::largest(&solution).max(1.0);
    for backend in Backend::available() {
        let mut state = Network::<N>::state();
        let tolerance = Stop::residual(1e-6).or_relative(1e-6);
        half.on(backend).solve(&input, &mut state, tolerance).expect("it converges");
        for (unit, (found, exact)) in state.as_slice().iter().zip(&solution).enumerate() {
            let error = (f64::from(*found) - exact).abs();
            prop_assert!(error < 2e-5 * size, "{net:?} {} unit {unit}: {found} {exact}", backend.name());
        }
        // An input that is not finite changes nothing, and a state that is not is reset.
        let before = state.clone();
        let wrong = input.map(|x| x + f32::INFINITY);
        let refused = half.on(backend).solve(&wrong, &mut state, tolerance);
        prop_assert!(matches!(refused, Err(SolveError::NotFinite(_))));
        prop_assert_eq!(&before, &state);
        state.as_mut_slice().fill(f32::NAN);
        let refused = half.on(backend).solve(&input, &mut state, tolerance);
        if <N::Form>::REACH != attractor::network::Reach::None {
            prop_assert!(matches!(refused, Err(SolveError::NotFinite(_))));
            prop_assert!(state.as_slice().iter().all(|h| *h == 0.0));
        }
    }
    Ok(())
}

type Small = fnn![5, 7, 3];
type Odd = fnn![9, 33, 18, 6, 11];
type Wide = fnn![70, 130, 65, 10];
type All = fnn![6, 20, 17, 5; feedback = Dense];
type Plain = fnn![13, 21, 4; feedback = Feedforward];
type Rectified = fnn![6, 19, 8, 3; hidden = Relu];
type Hard = fnn![6, 12, 8, 3; hidden = HardTanh, output = Tanh];
type Skips = fnn![6, 12, 9, 8, 3; feedback = Skip];
type Leaky = fnn![6, 12, 8, 3; hidden = LeakyRelu, output = Tanh];
type Sigmoids = fnn![6, 12, 8, 3; hidden = Sigmoid, output = Sigmoid, feedback = Dense];

macro_rules! each {
    ($run:ident $arguments:tt: $($type:ty),+) => {
        $(Case::<$type>::$run $arguments?;)+
    };
}

struct Case<N>(core::marker::PhantomData<N>);

impl<S: Stack, F: Form, A: Activation, O: Activation, const I: usize> Case<Network<Fnn<I, S, f32, F, A, O>>> {
    fn half(seed: u64, gain: f64, rate: f64) -> Result<(), TestCaseError> {
        halved_is_what_it_says::<Fnn<I, S, f32, F, A, O>, I>(seed, gain, rate)
    }
    fn cut<H: IntState>() -> [usize; 3] {
        of_cut::<Fnn<I, S, f32, F, A, O>, H, I>()
    }
    fn near(seed: u64, gain: f64, rate: f64) -> Result<(), TestCaseError> {
        rounded_is_near::<Fnn<I, S, f32, F, A, O>, i8, I>(seed, gain, rate)?;
        rounded_is_near::<Fnn<I, S, f32, F, A, O>, i16, I>(seed, gain, rate)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_rounded_network_is_within_its_bounds_and_the_same_everywhere(
        seed in any::<u64>(), gain in 0.2_f64..2.0, rate in 0.05_f64..0.6,
    ) {
        each!(near(seed, gain, rate): Small, Odd, Wide, All, Plain, Rectified, Hard, Skips, Leaky, Sigmoids);
    }

    #[test]
    fn a_halved_network_is_what_it_says(
        seed in any::<u64>(), gain in 0.2_f64..2.0, rate in 0.05_f64..0.6,
    ) {
        each!(half(seed, gain, rate): Small, Odd, Wide, All, Plain, Rectified, Hard, Sigmoids);
    }

    #[test]
    fn pairs_of_16_bits_are_near(first in any::<f32>(), second in any::<f32>()) {
        prop_assume!(first.abs() < 3.3e38 && second.abs() < 3.3e38);
        let found = Bf16::values(Bf16::pair(first, second));
        for (found, asked) in found.into_iter().zip([first, second]) {
            prop_assert!((found - asked).abs() <= asked.abs() / 255.9 + 1e-30, "{asked} became {found}");
        }
        prop_assert_eq!(Bf16::values(Bf16::pair(0.0, 0.0)), [0.0, 0.0]);
    }
}

#[test]
fn no_sum_overflows_however_large_a_row_is() {
    // Of 1,024 weights of the same size, 8 bits each, with states of 16 bits a sum would take 33 bits.
    type Long = fnn![1024, 3, 2];
    let mut net = Box::new(Long::ZERO);
    net.params_mut().fill(0.01);
    let mut calibration = Calibration::<Long>::ZERO;
    let mut state = Long::state();
    let input = [1.0_f32; 1024];
    net.solve(&input, &mut state, Stop::residual(1e-4)).expect("it converges");
    calibration.observe(&input, &state).expect("finite");
    let small = Quantized::<Long, i16>::new(&net, &calibration).expect("smaller weights");
    assert_eq!(small.check(), Ok(()));
    let mut integers = Quantized::<Long, i16>::state();
    small.solve(&small.input(&input).expect("finite"), &mut integers, 64).expect("it converges");
    for (found, exact) in integers.output().iter().zip(state.output().iter()) {
        let found = f32::from(*found) * small.output_unit();
        assert!((found - exact).abs() < 1e-3, "{found} {exact}");
    }
}

#[test]
fn what_cannot_be_rounded_is_refused() {
    let mut net = Small::ZERO;
    let mut calibration = Calibration::<Small>::ZERO;
    assert_eq!(Quantized::<Small, i8>::new(&net, &calibration).err(), Some(QuantizeError::Uncalibrated));
    let state = Small::state();
    assert!(calibration.observe(&[1.0, 0.0, f32::NAN, 0.0, 0.0], &state).is_err());
    assert_eq!(Quantized::<Small, i8>::new(&net, &calibration).err(), Some(QuantizeError::Uncalibrated));
    calibration.observe(&[1.0, 0.0, 0.0, 0.0, 0.0], &state).expect("finite");
    net.layer_mut::<2>().w[(1, 3)] = f32::INFINITY;
    assert_eq!(Quantized::<Small, i8>::new(&net, &calibration).err(), Some(QuantizeError::NotFinite));
    net.layer_mut::<2>().w[(1, 3)] = 3.0e4;
    let large = Quantized::<Small, i8>::new(&net, &calibration).err();
    assert_eq!(large, Some(QuantizeError::Large { layer: 2, unit: 1 }));
    net.layer_mut::<2>().w[(1, 3)] = 0.0;
    let small = Quantized::<Small, i8>::new(&net, &calibration).expect("all zero");
    assert!(small.input(&[0.0, f32::NAN, 0.0, 0.0, 0.0]).is_err());
    let cut = small.input(&[5.0, -7.0, 0.0, 0.5, 1.0]).expect("finite");
    assert_eq!(cut.as_slice(), [127, -127, 0, 64, 127]);
    let mut integers = Quantized::<Small, i8>::state();
    let solved = small.solve(&cut, &mut integers, 3).expect("nothing moves");
    assert_eq!((solved.sweeps, integers.as_slice()), (1, &[0; 10][..]));
}

#[test]
fn sweeps_that_do_not_settle_say_so() {
    let mut net = <fnn![1, 1, 1]>::ZERO;
    net.layer_mut::<1>().u[(0, 0)] = -3.0;
    net.layer_mut::<1>().w[(0, 0)] = 1.0;
    net.layer_mut::<2>().w[(0, 0)] = 3.0;
    let mut calibration = Calibration::<fnn![1, 1, 1]>::ZERO;
    let mut state = <fnn![1, 1, 1]>::state();
    state.as_mut_slice().copy_from_slice(&[1.0, 3.0]);
    calibration.observe(&[1.0], &state).expect("finite");
    let small = Quantized::<_, i16>::new(&net, &calibration).expect("moderate");
    let mut integers = Quantized::<fnn![1, 1, 1], i16>::state();
    let input = small.input(&[0.7]).expect("finite");
    let error = small.solve(&input, &mut integers, 50).expect_err("it goes back and forth");
    assert!(matches!(error, SolveError::NotConverged { sweeps: 50, residual } if residual > 1000));
    assert!(small.certify().is_err());
    let swept = small.on(Backend::best()).sweep(&input, &mut integers, 7);
    assert_eq!(swept.sweeps, 7);
}

/// A network with weak feedback, and what one sample says of it.
fn small_net() -> (Small, Calibration<Small>) {
    let mut net = Small::ZERO;
    let mut random = SmallRng::seed_from_u64(3);
    for (to, from) in net.params_mut().iter_mut().zip(draw(&mut random, Small::PARAMS, 0.3)) {
        *to = from as f32;
    }
    let mut calibration = Calibration::<Small>::ZERO;
    let mut state = Small::state();
    net.solve(&[1.0; 5], &mut state, Stop::residual(1e-4)).expect("it converges");
    calibration.observe(&[1.0; 5], &state).expect("finite");
    (net, calibration)
}

/// Hidden layers that share their weights, for 20 networks: the integers are those of the same layers written out, and near the solution. (Layers of which one is the first, the last or reads the outputs do not compile:
/// documentation of `Quantized::new`.)
#[test]
fn layers_that_share_weights_are_those_written_out() {
    type Sharing = Network<Fnn<3, Layer<5, Layer<5, Repeat<5, Repeat<5, Layer<5, Layer<2>>>>>>>>;
    type WrittenOut = fnn![3, 5, 5, 5, 5, 5, 2];
    fn all<H: IntState>(nearness: f32) {
        let mut random = SmallRng::seed_from_u64(5);
        for _ in 0..20 {
            let (mut net, mut written) = (Sharing::ZERO, WrittenOut::ZERO);
            let params: Vec<f32> =
                draw(&mut random, Sharing::PARAMS, 0.35).into_iter().map(|w| w as f32).collect();
            net.params_mut().copy_from_slice(&params);
            // Layers 2 to 4 have the same W, U and b, of 55 numbers.
            let (first, shared) = params.split_at(Sharing::PARAMS - 55 - 40 - 12);
            let (shared, rest) = shared.split_at(55);
            let repeated: Vec<f32> = [first, shared, shared, shared, rest].concat();
            written.params_mut().copy_from_slice(&repeated);

            let (mut calibration, mut of_written) =
                (Calibration::<Sharing>::ZERO, Calibration::<WrittenOut>::ZERO);
            let (mut state, mut other) = (Sharing::state(), WrittenOut::state());
            for _ in 0..8 {
                let x: Vec<f32> = draw(&mut random, 3, 1.0).into_iter().map(|x| x as f32).collect();
                let x = [x[0], x[1], x[2]];
                net.solve(&x, &mut state, Stop::residual(1e-6)).expect("it converges");
                written.solve(&x, &mut other, Stop::residual(1e-6)).expect("it converges");
                calibration.observe(&x, &state).expect("finite");
                of_written.observe(&x, &other).expect("finite");
            }
            let small = Quantized::<Sharing, H>::new(&net, &calibration).expect("moderate");
            let repeated = Quantized::<WrittenOut, H>::new(&written, &of_written).expect("moderate");
            let x = [0.5, -0.25, 0.75];
            let input = small.input(&x).expect("finite");
            let (mut integers, mut others) =
                (Quantized::<Sharing, H>::state(), Quantized::<WrittenOut, H>::state());
            small.on(Backend::best()).sweep(&input, &mut integers, 32);
            repeated.on(Backend::portable()).sweep(&input, &mut others, 32);
            assert_eq!(integers.as_slice(), others.as_slice());
            net.solve(&x, &mut state, Stop::residual(1e-6)).expect("it converges");
            for (found, exact) in integers.output().iter().zip(state.output()) {
                let found: i32 = (*found).into();
                let found = found as f32 * small.output_unit();
                assert!((found - exact).abs() < nearness, "{found} for {exact}");
            }
        }
    }
    all::<i8>(0.05);
    all::<i16>(0.02);
}

#[test]
fn a_certificate_of_other_integers_is_refused() {
    let (mut net, calibration) = small_net();
    let small = Quantized::<Small, i16>::new(&net, &calibration).expect("moderate");
    let certificate = small.certify().expect("weak feedback");
    assert_eq!(certificate.verify(&small), Ok(()));
    for value in net.layer_mut::<1>().u.iter_mut() {
        *value *= 1.2;
    }
    let other = Quantized::<Small, i16>::new(&net, &calibration).expect("moderate");
    assert!(certificate.verify(&other).is_err());
}

/// A small network of integers with a certificate, and one of halved weights, in files.
#[test]
fn files_are_read_in_place_and_refused_when_a_bit_is_wrong() {
    let (net, calibration) = small_net();
    let small = Quantized::<Small, i16>::new(&net, &calibration).expect("moderate");
    let certificate = small.certify().expect("weak feedback");
    const LENGTH: usize = Quantized::<Small, i16>::file_bytes(true);
    let mut file = Align64([0xff; LENGTH]);
    assert_eq!(small.to_bytes(Some(&certificate), &mut file.0), Ok(LENGTH));
    assert!(matches!(
        small.to_bytes(Some(&certificate), &mut [0; LENGTH - 1]),
        Err(FileError::Length { expected, found }) if (expected, found) == (LENGTH as u64, LENGTH as u64 - 1)
    ));

    let model = Quantized::<Small, i16>::from_bytes(&file.0).expect("whole");
    assert_eq!(model.certificate(), Some(&certificate));
    assert_eq!(model.certificate().expect("one").verify(model.network()), Ok(()));
    // Where it lies: nothing is copied.
    let start = file.0.as_ptr().addr();
    assert_eq!((&raw const *model.network()).addr(), start + 64);
    let input = small.input(&[1.0, -0.5, 0.25, 0.0, 1.0]).expect("finite");
    let solve = |small: &Quantized<Small, i16>| {
        let mut integers = Quantized::<Small, i16>::state();
        small.solve(&input, &mut integers, 64).expect("it converges");
        integers
    };
    assert_eq!(solve(&small), solve(model.network()));
    // The same by hand: magic, version and codes, then the weights where they should be.
    assert_eq!(&file.0[..8], b"\x89attr\r\n\x1a");
    assert_eq!(file.0[14..20], [4, 1, 0, 1, 0, 2]);
    let weights = Small::PARAMS.next_multiple_of(4);
    let word = |at: usize| i32::from_le_bytes(file.0[at..at + 4].try_into().expect("four"));
    let units = 64 + weights + 4 * (10 + 7);
    assert_eq!(f32::from_bits(word(units) as u32), small.input_unit());
    assert_eq!(f32::from_bits(word(units + 8) as u32), small.output_unit());
    let after = (units + 12 + 2 * (10 + 7) + 7).next_multiple_of(64);
    let found: Vec<i32> = (0..10).map(|i| word(after + 4 * i)).collect();
    assert_eq!(found, certificate.vector());
    assert_eq!(LENGTH, after + 4 * 13);

    for bit in 0..8 * LENGTH {
        let mut damaged = file;
        damaged.0[bit / 8] ^= 1 << (bit % 8);
        assert!(Quantized::<Small, i16>::from_bytes(&damaged.0).is_err(), "bit {bit}");
    }
    for length in 0..LENGTH {
        assert!(Quantized::<Small, i16>::from_bytes(&file.0[..length]).is_err(), "{length} bytes");
    }
    let other = Quantized::<Small, i8>::from_bytes(&file.0).expect_err("other states").to_string();
    assert!(other.contains("scalar = i8") && other.contains("scalar = i16"), "{other}");
    assert!(Quantized::<fnn![5, 8, 3], i16>::from_bytes(&file.0).is_err());
    assert!(Small::from_bytes(&file.0).is_err());

    let half = Bf16Network::new(&net).expect("finite");
    const HALF: usize = Bf16Network::<Small>::file_bytes();
    assert_eq!(HALF, 64 + 2 * Small::PARAMS);
    let mut file = Align64([0; HALF]);
    assert_eq!(half.to_bytes(&mut file.0), Ok(HALF));
    let read = Bf16Network::<Small>::from_bytes(&file.0).expect("whole");
    let (mut back, mut same) = (Small::ZERO, Small::ZERO);
    half.to_network(&mut back);
    read.to_network(&mut same);
    assert_eq!(back, same);
    assert_eq!((&raw const *read).addr(), file.0.as_ptr().addr() + 64);
    for bit in 0..8 * HALF {
        let mut damaged = file;
        damaged.0[bit / 8] ^= 1 << (bit % 8);
        assert!(Bf16Network::<Small>::from_bytes(&damaged.0).is_err(), "bit {bit}");
    }
}

/// Straight through: the gradient where the rounded weights are, added to those that are rounded anew.
#[test]
fn training_on_with_rounded_weights_lowers_their_loss() {
    type Net = fnn![4, 12, 6, 2];
    let mut random = SmallRng::seed_from_u64(5);
    let mut net = Net::ZERO;
    for (i, (to, from)) in net.params_mut().iter_mut().zip(draw(&mut random, Net::PARAMS, 0.5)).enumerate() {
        // One weight far larger than the rest of its row leaves these few digits.
        *to = from as f32 * if i % 17 == 0 { 3.0 } else { 0.06 };
    }
    let inputs: [[f32; 4]; 16] =
        core::array::from_fn(|_| core::array::from_fn(|_| random.random_range(-1.0..1.0)));
    let mut state = Net::state();
    let mut calibration = Calibration::<Net>::ZERO;
    // What the network says unrounded is what the rounded one should say.
    let targets: Vec<[f32; 2]> = inputs
        .iter()
        .map(|input| {
            state.reset();
            net.solve(input, &mut state, Stop::residual(1e-5)).expect("it converges");
            calibration.observe(input, &state).expect("finite");
            let output = state.output();
            [output[0], output[1]]
        })
        .collect();
    let loss = |small: &Quantized<Net, i16>| {
        let errors = inputs.iter().zip(&targets).flat_map(|(input, target)| {
            let mut integers = Quantized::<Net, i16>::state();
            // Enough sweeps; the last digits may go round.
            small.on(Backend::best()).sweep(&small.input(input).expect("finite"), &mut integers, 32);
            let found: Vec<f32> =
                integers.output().iter().map(|h| f32::from(*h) * small.output_unit()).collect();
            [found[0] - target[0], found[1] - target[1]]
        });
        errors.map(|error| error * error).sum::<f32>()
    };
    let mut small = Quantized::<Net, i16>::new(&net, &calibration).expect("moderate");
    let before = loss(&small);
    let (mut rounded, mut gradient) = (Net::ZERO, Net::ZERO);
    let mut workspace = Workspace::<Net>::ZERO;
    let mut adam = Adam::<Net>::new();
    const STEPS: usize = 1600;
    for step in 0..STEPS {
        let (at, rate) = (step % inputs.len(), 1e-3 * (1.0 - step as f32 / STEPS as f32));
        small.fill(&net, &calibration).expect("moderate");
        small.to_network(&mut rounded);
        gradient.params_mut().fill(0.0);
        workspace.state.reset();
        workspace.adjoint.reset();
        let objective = Objective::new(MeanSquared);
        rounded
            .gradient(&objective, &inputs[at], &targets[at], &mut workspace, &mut gradient)
            .expect("it converges");
        adam.update(net.params_mut(), gradient.params(), rate).expect("finite");
    }
    small.fill(&net, &calibration).expect("moderate");
    let after = loss(&small);
    assert!(after < 0.7 * before, "{before} became {after}");
}

/// Bounds stated, none stated though nothing is cut, and none stated where something is.
fn of_cut<N: Takes<I, Scalar = f32>, H: IntState, const I: usize>() -> [usize; 3] {
    let mut counts = [0; 3];
    for seed in 0..60 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut exact = subject::oracle(&Network::<N>::ZERO);
        exact.draw(&mut random, 1.0, 0.3);
        let net: Network<N> = subject::network(&exact);
        let input: [f32; I] = core::array::from_fn(|_| random.random_range(-1.0..1.0));
        let mut state = Network::<N>::state();
        net.solve(&input, &mut state, Stop::residual(1e-5)).expect("it converges");
        // Of the hidden units, of the outputs, or of both, less is seen than there will be.
        let hidden = state.as_slice().len() - Network::<N>::OUTPUTS;
        let factors = [1.0, 0.9, 0.75, 0.4, 0.1];
        for (of_hidden, of_outputs) in factors.iter().flat_map(|h| factors.iter().map(move |o| (h, o))) {
            let mut seen = state.clone();
            for (unit, h) in seen.as_mut_slice().iter_mut().enumerate() {
                *h *= if unit < hidden { of_hidden } else { of_outputs };
            }
            let mut calibration = Calibration::ZERO;
            calibration.observe(&input, &seen).expect("finite");
            let Ok(small) = Quantized::<_, H>::new(&net, &calibration) else { continue };
            let Ok(certificate) = small.certify() else { continue };
            let mut back = Network::<N>::ZERO;
            small.to_network(&mut back);
            let mut said = exact.clone();
            for (to, from) in said.params.iter_mut().zip(back.params()) {
                *to = f64::from(*from);
            }
            let integers = small.input(&input).expect("finite");
            let seen: Vec<f64> = Flat::flat(&integers)
                .iter()
                .map(|x| f64::from((*x).into()) * f64::from(small.input_unit()))
                .collect();
            let one = |unit| f64::from(if unit < hidden { small.hidden_unit() } else { small.output_unit() });
            let solution: Vec<f64> = said.solve(&seen)[1..].concat();
            let floats: Vec<f64> = input.iter().map(|x| f64::from(*x)).collect();
            let unrounded: Vec<f64> = exact.solve(&floats)[1..].concat();
            let is_inside = |solution: &[f64]| {
                solution.iter().enumerate().all(|(unit, h)| h.abs() <= one(unit) * f64::from(H::MOST))
            };
            let largest = |units: core::ops::Range<usize>, bound: Option<f64>| {
                let units = units.map(|unit| (solution[unit] / one(unit)).abs());
                if bound.is_some() { 0.0 } else { units.fold(0.0, f64::max) }
            };
            let largest = largest(0..hidden, <N::Hidden>::BOUND)
                .max(largest(hidden..solution.len(), <N::Outputs>::BOUND));
            let mut state = Quantized::<Network<N>, H>::state();
            for sweeps in [1, 2, 8, 40] {
                let residual = small.on(Backend::best()).sweep(&integers, &mut state, sweeps).residual;
                let error = |unit: usize, of: &[f64]| {
                    (f64::from(state.as_slice()[unit].into()) * one(unit) - of[unit]).abs()
                };
                let outputs = hidden..solution.len();
                let worst =
                    outputs.clone().map(|unit| error(unit, &solution) / one(unit)).fold(0.0, f64::max);
                match certificate.bound(&state, residual) {
                    Some(bound) => {
                        counts[0] += 1;
                        assert!(worst <= bound * (1.0 + 1e-4) + 1e-3, "{worst} {bound} {largest}");
                        assert!(largest <= f64::from(H::MOST) + 0.5, "{largest} is beyond what there is");
                    }
                    None if largest <= f64::from(H::MOST) => counts[1] += 1,
                    None => counts[2] += 1,
                }
                for unit in 0..solution.len() {
                    let bound = certificate.bound_of(unit, &state, residual);
                    assert_eq!(bound.is_some(), certificate.bound(&state, residual).is_some());
                    let error = error(unit, &solution) / one(unit);
                    assert!(
                        bound.is_none_or(|bound| error <= bound * (1.0 + 1e-4) + 1e-3),
                        "{error} {bound:?}"
                    );
                }
                assert_eq!(certificate.bound_of(solution.len(), &state, residual), None);
                if is_inside(&unrounded) {
                    let bound = certificate.distance(&small, &net, residual);
                    let worst = outputs.map(|unit| error(unit, &unrounded)).fold(0.0, f64::max);
                    assert!(worst <= bound * (1.0 + 1e-6), "{worst} {bound} {largest}");
                }
            }
        }
    }
    counts
}

/// ReLU and identity units calibrated on states that are too small: wherever a bound is stated it is true.
#[test]
fn no_bound_is_stated_of_a_network_that_is_cut() {
    macro_rules! cases {
        ($($net:ty),+) => { $({
            let (coarse, fine) = (Case::<$net>::cut::<i8>(), Case::<$net>::cut::<i16>());
            println!("{}: {coarse:?}, {fine:?}", stringify!($net));
            // Bounds are stated where nothing is cut, and not where something is.
            assert!(coarse[0] > 20 && fine[0] > 100, "{coarse:?} {fine:?}");
            assert!(coarse[2] > 100 && fine[2] > 100, "{coarse:?} {fine:?}");
            // Digits of 15 bits leave little between what is cut and what may be.
            assert!(fine[1] < fine[0], "{coarse:?} {fine:?}");
        })+ };
    }
    cases!(
        fnn![3, 5, 2; hidden = Relu],
        fnn![3, 5, 4, 2; hidden = Relu, output = Tanh],
        fnn![3, 5, 2; hidden = Identity, feedback = Dense],
        fnn![3, 5, 2]
    );
}

/// Files of integers that are whole, and of which something else is wrong: what is refused at run time does not compile either.
#[test]
fn what_is_refused_at_run_time_is_not_included() {
    fn crc(bytes: &[u8]) -> u32 {
        let mut crc = !0_u32;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            }
        }
        !crc
    }
    fn all<H: IntState, const LENGTH: usize>() -> [usize; 2] {
        let (net, calibration) = small_net();
        let small = Quantized::<Small, H>::new(&net, &calibration).expect("moderate");
        let mut file = Align64([0; LENGTH]);
        assert_eq!(small.to_bytes(None, &mut file.0), Ok(LENGTH));
        let mut counts = [0; 2];
        // Every byte of weights, exponents, biases, scales and units of measure, made this.
        for (at, value) in (64..LENGTH).flat_map(|at| [0, 31, 32, 33, 127, 128, 255].map(|value| (at, value)))
        {
            let mut damaged = file;
            damaged.0[at] = value;
            let sum = crc(&damaged.0[12..]);
            damaged.0[8..12].copy_from_slice(&sum.to_le_bytes());
            let file: &'static Align64<[u8; LENGTH]> = Box::leak(Box::new(damaged));
            let read = Quantized::<Small, H>::from_bytes(&file.0);
            let included = std::panic::catch_unwind(|| Quantized::<Small, H>::included(file));
            let is_malformed = matches!(read, Err(FileError::Malformed));
            assert!(read.is_ok() || is_malformed, "{read:?}");
            assert_eq!(read.is_ok(), included.is_ok(), "{value} at {at} for {}", H::NAME);
            if let Err(text) = included {
                let text = text.downcast_ref::<&str>().map_or_else(
                    || text.downcast_ref::<String>().cloned().unwrap_or_default(),
                    |text| (*text).to_owned(),
                );
                assert!(text.contains("the model file is refused: "), "{text}");
            }
            counts[usize::from(is_malformed)] += 1;
        }
        counts
    }
    // The texts of so many panics help nobody.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let counts = std::panic::catch_unwind(|| {
        (
            all::<i8, { Quantized::<Small, i8>::file_bytes(false) }>(),
            all::<i16, { Quantized::<Small, i16>::file_bytes(false) }>(),
        )
    });
    std::panic::set_hook(hook);
    let (coarse, fine) = counts.unwrap_or_else(|text| std::panic::resume_unwind(text));
    for [whole, refused] in [coarse, fine] {
        assert!(whole > 300 && refused > 80, "{whole} {refused}");
    }
}

/// A file in the program, checked while compiling; of the other only the last exponent differs, and that it does not compile is seen where
/// `Quantized::included` is documented.
#[test]
fn integers_in_the_program_are_those_of_the_file() {
    type Tiny = fnn![2, 3, 1];
    let model = include_network!("data/integers.attr", Tiny, i8);
    model.certificate().expect("one").verify(model.network()).expect("it holds");
    let bytes = Align64(*include_bytes!("data/integers.attr"));
    let read = Quantized::<Tiny, i8>::from_bytes(&bytes.0).expect("whole");
    let input = read.network().input(&[1.0, -0.5]).expect("finite");
    let solve = |small: &Quantized<Tiny, i8>| {
        let mut state = Quantized::<Tiny, i8>::state();
        small.on(Backend::portable()).sweep(&input, &mut state, 8);
        state
    };
    assert_eq!(solve(model.network()), solve(read.network()));
    let refused = Align64(*include_bytes!("data/integers_refused.attr"));
    let error = Quantized::<Tiny, i8>::from_bytes(&refused.0).expect_err("an exponent of 33");
    assert_eq!(error, FileError::Malformed);
    let differ = bytes.0.iter().zip(&refused.0).skip(12).filter(|(a, b)| a != b).count();
    assert_eq!(differ, 1);
}

/// Numbers at the ends of what there is, wherever a network of integers or of halves takes numbers: an error or a sound network, no panic.
#[test]
fn hostile_numbers_are_refused_or_rounded() {
    const HOSTILE: [f32; 14] =
        [0.0, -0.0, 1e-45, -1e-38, 1e-30, 1e-20, 1.0, -1e10, 1e20, 1e30, -1e38, 3.4e38, f32::MAX, f32::MIN];
    /// Every layer reads units with a bound, from below and from above.
    type Net = fnn![5, 7, 4, 3; hidden = Tanh, output = Tanh];
    fn all<H: IntState>() -> [usize; 2] {
        let mut counts = [0; 2];
        // Sums of either sign.
        let cases = (0..8).flat_map(|seed| [1.0, 1e-30, 1e30].map(|scale| (seed, scale)));
        for (seed, scale) in cases {
            let mut net = Net::ZERO;
            let mut random = SmallRng::seed_from_u64(seed);
            for (to, from) in net.params_mut().iter_mut().zip(draw(&mut random, Net::PARAMS, 0.3)) {
                *to = from as f32 * scale;
            }
            for observed in HOSTILE {
                for state_of in HOSTILE {
                    let mut calibration = Calibration::<Net>::ZERO;
                    let mut state = Net::state();
                    state.as_mut_slice().fill(state_of);
                    // Sums of the largest numbers overflow.
                    for _ in 0..2 {
                        calibration.observe(&[observed; 5], &state).expect("finite");
                    }
                    match Quantized::<Net, H>::new(&net, &calibration) {
                        Err(_) => counts[1] += 1,
                        Ok(small) => {
                            counts[0] += 1;
                            assert_eq!(small.check(), Ok(()), "{observed} {state_of} {scale}");
                            for x in HOSTILE {
                                let most = f64::from(H::MOST);
                                let exact = f64::from(x) / f64::from(small.input_unit());
                                let nearest = exact.round().clamp(-most, most);
                                let found = small.input(&[x; 5]).expect("finite");
                                for found in found.iter() {
                                    let found = f64::from((*found).into());
                                    // A quotient of 24 bits may be rounded to the half.
                                    assert!(
                                        (found - nearest).abs() <= f64::from(exact.fract().abs() > 0.49),
                                        "{x}"
                                    );
                                }
                            }
                            for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                                assert!(small.input(&[0.0, x, 0.0, 0.0, 0.0]).is_err());
                            }
                            let integers = small.input(&[observed; 5]).expect("finite");
                            let mut state = Quantized::<Net, H>::state();
                            small.on(Backend::portable()).sweep(&integers, &mut state, 3);
                        }
                    }
                }
            }
        }
        counts
    }
    for [rounded, refused] in [all::<i8>(), all::<i16>()] {
        assert!(rounded > 50 && refused > 50, "{rounded} {refused}");
    }
}

/// Pairs of numbers of 16 bits at the ends of what there is: none becomes a NaN.
#[test]
fn pairs_of_the_largest_numbers_hold_no_nan() {
    let ends = [0.0, 1e-45, 1e-38, 2.0_f32.powi(-100), 1.0, 1.9999, 1e38, 3.38e38, 3.39e38, f32::MAX];
    let signed = || ends.iter().flat_map(|x| [*x, -x]);
    for first in signed() {
        for second in signed().chain([f32::INFINITY, f32::NEG_INFINITY]) {
            let found = Bf16::values(Bf16::pair(first, second));
            assert!(!found[0].is_nan() && !found[1].is_nan(), "{first} {second}: {found:?}");
            let near = (found[1] - second).abs() <= second.abs() / 255.9 + 1e-29;
            let largest = second.is_infinite() && found[1].abs() > 3.38e38;
            // Beside a zero there is nothing behind a number: beyond the largest it is infinite, as one on its own.
            let alone =
                found[0].to_bits() == 0 && found[1].to_bits() == Bf16::nearest(second).value().to_bits();
            assert!(near || largest || alone, "{first} {second}: {found:?}");
            assert!(second == 0.0 || found[1].is_sign_negative() == second.is_sign_negative());
        }
        assert!(Bf16::values(Bf16::pair(first, f32::NAN))[1].is_nan());
    }
}

/// How large a weight may be, for inputs and states of several sizes; and a sensor at rest.
#[test]
fn a_weight_has_a_limit_and_rest_is_no_calibration() {
    type Net = fnn![1, 1, 1; output = Tanh];
    type Unbounded = fnn![1, 1, 1];
    type Rectified = fnn![1, 1, 1; hidden = Relu, output = Tanh];
    fn new<N: Takes<I, Scalar = f32>, H: IntState, const I: usize>(
        net: &Network<N>,
        input: f32,
        states: f32,
    ) -> Option<QuantizeError> {
        let mut calibration = Calibration::ZERO;
        let mut state = Network::<N>::state();
        state.as_mut_slice().fill(states);
        calibration.observe(&[input; I], &state).expect("finite");
        Quantized::<_, H>::new(net, &calibration).err()
    }
    fn all<H: IntState>(stated: f64) {
        // The largest scale is 1/2, but for a last digit, of 127 times what a state is worth, in digits of a sum.
        let (one, most) = (f64::from(1 << H::BITS), f64::from(H::MOST));
        let limit = 127.0 * (32767.0 / 65536.0) / f64::from(1 << H::EXTRA);
        assert!(stated <= limit * most / one && stated > 0.999 * limit * most / one);
        for (factor, fits) in
            [(0.2, true), (0.99, true), (0.9999, true), (1.0001, false), (1.01, false), (9.0, false)]
        {
            let large = |layer| (!fits).then_some(QuantizeError::Large { layer, unit: 0 });
            for size in [0.01_f32, 0.3, 1.0, 7.0, 1000.0] {
                let name = (H::NAME, factor, size);
                let size_of = f64::from(size);
                let mut net = Net::ZERO;
                net.layer_mut::<1>().w[(0, 0)] = (factor * limit * most / one / size_of) as f32;
                assert_eq!(new::<_, H, 1>(&net, size, 0.5), large(1), "{name:?}");
                // A hidden state of 1 is one more than the largest integer.
                let mut net = Net::ZERO;
                net.layer_mut::<2>().w[(0, 0)] = (factor * limit) as f32;
                assert_eq!(new::<_, H, 1>(&net, size, 0.5), large(2), "{name:?}");
                // An output without a bound holds 1.25 times what was seen.
                let mut net = Unbounded::ZERO;
                net.layer_mut::<2>().w[(0, 0)] = (factor * limit * 1.25 * size_of * one / most) as f32;
                assert_eq!(new::<_, H, 1>(&net, 1.0, size), large(2), "{name:?}");
                // And so does a hidden unit that is read.
                let mut net = Rectified::ZERO;
                net.layer_mut::<2>().w[(0, 0)] = (factor * limit * most / one / (1.25 * size_of)) as f32;
                assert_eq!(new::<_, H, 1>(&net, 1.0, size), large(2), "{name:?}");
            }
        }
        let mut net = Net::ZERO;
        net.layer_mut::<1>().w[(0, 0)] = 0.2;
        for input in [0.0, -0.0, 1e-45, 1e-30] {
            let error = new::<_, H, 1>(&net, input, 0.0).expect("nothing was seen");
            assert_eq!(error, QuantizeError::AtRest, "{input}");
            assert!(error.to_string().contains("no input"), "{error}");
        }
        assert_eq!(new::<_, H, 1>(&net, 1e-20, 0.0), None);
        let text = QuantizeError::Large { layer: 1, unit: 0 }.to_string();
        assert!(text.contains(&stated.to_string()), "{text}");
    }
    all::<i8>(15.75);
    all::<i16>(63.49);
    // Those of a row together.
    type Long = fnn![1024, 1, 1; output = Tanh];
    let mut net = Box::new(Long::ZERO);
    net.layer_mut::<1>().w.fill(15.6);
    assert_eq!(new::<_, i16, 1024>(&net, 1.0, 0.5), None);
    net.layer_mut::<1>().w.fill(40.0);
    let large = Some(QuantizeError::Large { layer: 1, unit: 0 });
    assert_eq!(new::<_, i16, 1024>(&net, 1.0, 0.5), large);
}
