//! Sweeps and solves of the crate against the oracle, on every backend, in both scalars.

mod oracle;

use attractor::kernel::{Activation, HardTanh, Identity, Relu, Scalar, Sigmoid, Tanh};
use attractor::network::Takes;
use attractor::simd::{Backend, Element, Lanes};
use attractor::{Adjacent, Dense, Feedforward, Injection, Network, Skip, SolveError, State, Stop, Tied, fnn};
use nalgebra::SMatrix;
use oracle::subject;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// The error a sweep and a solve may have, relative to 1 or to the largest unit if that is larger: the tanh of
/// `f32` errs by up to 5e-7, sums of up to 130 products of numbers about 1 by about as much, and the sweeps
/// double both at the rate of 0.5 used here.
fn bound<T: Element>() -> f64 {
    if size_of::<T>() == 4 { 6e-6 } else { 1e-13 }
}

fn inputs(random: &mut SmallRng, samples: usize, width: usize) -> Vec<Vec<f64>> {
    (0..samples)
        .map(|_| (0..width).map(|_| f64::from(random.random_range(-1.0_f32..1.0))).collect())
        .collect()
}

fn close(found: &[f64], exact: &[f64], bound: f64, what: &str) {
    assert_eq!(found.len(), exact.len());
    let scale = oracle::largest(exact).max(1.0);
    for (unit, (f, e)) in found.iter().zip(exact).enumerate() {
        let error = (f - e).abs();
        assert!(error <= bound * scale, "{what}: unit {unit} is {f}, expected {e}, off by {error:e}");
    }
}

/// What a network made of some samples on a backend: units with a row a sample, and how it says it ended.
struct Made {
    states: Vec<Vec<f64>>,
    sweeps: usize,
    residual: f64,
}

/// What is asked of a network type: a sweep from these units, or a solve.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Sweep(&'a [Vec<f64>]),
    /// Until a residual or a relative residual.
    Solve(f64),
    After(usize),
}

/// The part of [`agree`] that knows types: everything else is compiled once for all of them.
fn make<T: Scalar, A: Takes<I, Scalar = T>, const I: usize, const B: usize>(
    network: &oracle::Network,
    rows: &[Vec<f64>],
    backend: Backend,
    asked: Asked,
) -> Made {
    let net: Network<A> = subject::network(network);
    let x: SMatrix<T, B, I> = subject::samples(rows);
    let on = net.on(backend);
    let mut state = Network::<A>::state::<B>();
    let stop = match asked {
        Asked::Sweep(starts) => {
            let mut injection = Injection::<Network<A>, B>::ZERO;
            on.inject(&x, &mut injection).unwrap();
            for (i, unit) in state.as_mut_slice().iter_mut().enumerate() {
                *unit = T::from_f64(starts[i % B][i / B]);
            }
            let residual = on.sweep(&injection, &mut state).unwrap().to_f64();
            return Made { states: subject::states(&state), sweeps: 1, residual };
        }
        Asked::Solve(tolerance) => Stop::residual(T::from_f64(tolerance)).or_relative(T::from_f64(tolerance)),
        Asked::After(sweeps) => Stop::after(sweeps),
    };
    let solved = on.solve(&x, &mut state, stop).unwrap();
    Made { states: subject::states(&state), sweeps: solved.sweeps, residual: solved.residual.to_f64() }
}

/// One network type with one number of samples, on all backends.
fn agree<T: Scalar, A: Takes<I, Scalar = T>, const I: usize, const B: usize>(zero: &Network<A>) {
    let what = format!("{zero:?}, {} bytes, {B} samples", size_of::<T>());
    agreed(&what, subject::oracle(zero), (B, bound::<T>(), size_of::<T>() == 4), make::<T, A, I, B>);
}

fn agreed(
    what: &str,
    mut network: oracle::Network,
    (samples, bound, single): (usize, f64, bool),
    make: fn(&oracle::Network, &[Vec<f64>], Backend, Asked) -> Made,
) {
    let random = &mut SmallRng::seed_from_u64((network.params.len() * 100 + samples) as u64);
    network.draw(random, 0.9, 0.5);
    let rows = inputs(random, samples, network.widths[0]);
    let solutions: Vec<Vec<f64>> = rows.iter().map(|x| network.solve(x)[1..].concat()).collect();
    let units = solutions[0].len();
    let starts = inputs(random, samples, units);
    let swept: Vec<(Vec<f64>, f64)> = rows
        .iter()
        .zip(&starts)
        .map(|(x, start)| {
            let mut h = network.start(x);
            let mut from = start.iter();
            for unit in h[1..].iter_mut().flatten() {
                *unit = *from.next().unwrap();
            }
            let residual = network.sweep(&mut h);
            (h[1..].concat(), residual)
        })
        .collect();
    for backend in Backend::available() {
        let what = format!("{what}, {}", backend.name());
        let make = |asked| {
            let made = make(&network, &rows, backend, asked);
            assert_eq!(made.states.len(), samples, "{what}");
            made
        };

        let made = make(Asked::Sweep(&starts));
        for (found, (exact, _)) in made.states.iter().zip(&swept) {
            close(found, exact, bound, &format!("sweep of {what}"));
        }
        let (residual, exact) =
            (made.residual, swept.iter().fold(0.0, |largest, (_, residual)| f64::max(largest, *residual)));
        assert!((residual - exact).abs() <= bound * exact.max(1.0), "{what}: {residual} {exact}");

        let solved = make(Asked::Solve(if single { 1e-6 } else { 5e-15 }));
        for (found, exact) in solved.states.iter().zip(&solutions) {
            close(found, exact, bound, &format!("solve of {what}"));
        }
        if !network.feeds_back() {
            // The first sweep is the solution; the second finds that nothing changes.
            assert_eq!((solved.sweeps, solved.residual), (2, 0.0), "{what}");
        }

        // Exactly three sweeps, as the oracle makes them.
        let solved = make(Asked::After(3));
        assert_eq!(solved.sweeps, 3, "{what}");
        let mut change = 0.0;
        for (found, x) in solved.states.iter().zip(&rows) {
            let states = network.unroll(x, 3);
            let (exact, before) = (states[3][1..].concat(), states[2][1..].concat());
            close(found, &exact, bound, &format!("three sweeps of {what}"));
            change = exact.iter().zip(before).fold(change, |change, (a, b)| f64::max(change, (a - b).abs()));
        }
        assert!((solved.residual - change).abs() <= 2.0 * bound * change.max(1.0), "{what}");
    }
}

/// Network types with numbers of samples, for `f32` and for `f64`.
macro_rules! networks {
    ($($name:ident: [$($width:literal),*], $feedback:ty, $hidden:ty, $output:ty, $single:tt, $double:tt;)*) => {$(
        #[test]
        fn $name() {
            subject::backends();
            networks!(@samples [$($width),*] $feedback, $hidden, $output, f32, $single);
            networks!(@samples [$($width),*] $feedback, $hidden, $output, f64, $double);
        }
    )*};
    (@samples $widths:tt $feedback:ty, $hidden:ty, $output:ty, $scalar:ty, [$($samples:literal)*]) => {$(
        networks!(@one $widths $feedback, $hidden, $output, $scalar, $samples);
    )*};
    (@one [$($width:literal),*] $feedback:ty, $hidden:ty, $output:ty, $scalar:ty, $samples:literal) => {
        agree::<_, _, _, $samples>(
            &<fnn![$($width),*; feedback = $feedback, hidden = $hidden, output = $output, scalar = $scalar]>::ZERO,
        );
    };
}

// With one sample the solve is compiled for each network, so that is done for fewer of them.
networks! {
    one_layer: [5, 3], Adjacent, Tanh, Identity, [1 3 17], [3 8];
    widths_1_2_3: [4, 1, 2, 3], Adjacent, Tanh, Identity, [1 3 8 16 17 33 40], [1 3 8 16 17 33 40];
    widths_4_5_6_7: [3, 4, 5, 6, 7], Dense, Tanh, Identity, [1 3 8 16 17 33 40], [1 3 8 16 17 33 40];
    widths_8_9_10_11: [17, 8, 9, 10, 11], Adjacent, Tanh, Identity, [1 3 8 16 17 33 40], [3 8 17 40];
    skips: [3, 4, 5, 6, 3, 7], Skip, Tanh, Identity, [1 3 8 16 17 33 40], [1 3 8 17];
    widths_12_13_14: [1, 12, 13, 14], Dense, Sigmoid, Tanh, [1 3 8 16 17 33 40], [3 8 16 17 33 40];
    widths_15_16_17: [7, 15, 16, 17], Adjacent, Relu, HardTanh, [1 3 8 16 17 33 40], [3 8 16 17 33 40];
    widths_31_32_33: [9, 31, 32, 33], Dense, Tanh, Identity, [1 3 8 16 17 33 40], [3 8 17 40];
    widths_48_63: [33, 48, 63], Adjacent, Tanh, Identity, [1 3 8 16 17 33 40], [1 3 16 33];
    widths_64_65_70: [16, 64, 65, 70], Adjacent, Tanh, Identity, [1 3 8 16 17 33 40], [3 17];
    width_1_at_the_top: [6, 9, 1], Dense, Tanh, Identity, [1 3 8 16 17 33 40], [3 17 33];
    no_feedback: [10, 33, 17, 5], Feedforward, Tanh, Identity, [1 3 40], [3 33];
    tied: [5, 8, 17, 3], Tied<40>, Tanh, Identity, [1 3 17 33], [1 3 33];
    tied_wide_below: [3, 65, 31, 12, 4], Tied, Relu, HardTanh, [1 40], [3];
    nine_layers: [3, 2, 3, 4, 5, 2, 3, 4, 5, 2], Dense, Tanh, Identity, [1 3 33], [1 3];
}

type Small = fnn![5, 11, 7, 3; feedback = Dense];
type Precise = fnn![5, 11, 7, 3; feedback = Dense, scalar = f64];

fn small(rate: f64) -> (oracle::Network, Small) {
    let mut network = subject::oracle(&Small::ZERO);
    network.draw(&mut SmallRng::seed_from_u64(41), 1.1, rate);
    let net = subject::network(&network);
    (network, net)
}

/// The bits of sample `s` of a state.
fn sample<const B: usize>(state: &State<Small, B>, s: usize) -> Vec<u32> {
    state.as_slice()[s..].iter().step_by(B).map(|h| h.to_bits()).collect()
}

/// A sample of a batch of `B` has the bits it has among 32, however many lanes the batch fills.
fn companions<T: Scalar, A: Takes<I, Scalar = T>, const I: usize, const B: usize>(zero: &Network<A>) {
    let mut network = subject::oracle(zero);
    let random = &mut SmallRng::seed_from_u64(B as u64);
    network.draw(random, 1.1, 0.6);
    let net: Network<A> = subject::network(&network);
    let rows = inputs(random, 32, I);
    let few: SMatrix<T, B, I> = subject::samples(&rows[..B]);
    let many: SMatrix<T, 32, I> = subject::samples(&rows);
    for backend in subject::backends() {
        let (mut one, mut other) = (Network::<A>::state::<B>(), Network::<A>::state::<32>());
        net.on(backend).solve(&few, &mut one, Stop::after(5)).unwrap();
        net.on(backend).solve(&many, &mut other, Stop::after(5)).unwrap();
        for (unit, (one, other)) in one.as_slice().chunks(B).zip(other.as_slice().chunks(32)).enumerate() {
            let bits = |values: &[T]| values[..B].iter().map(|x| x.to_f64().to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(one), bits(other), "{zero:?}, {B} samples, unit {unit}, {}", backend.name());
        }
    }
}

/// Three sweeps of a network in a box against the oracle, in two batches: all samples, and those of them that fill one vector.
fn far<A: Takes<3, Scalar = f32>, const B: usize>(net: &mut Network<A>) {
    let mut network = subject::oracle(net);
    let random = &mut SmallRng::seed_from_u64(B as u64);
    network.draw(random, 0.9, 0.5);
    for (w, exact) in net.params_mut().iter_mut().zip(&network.params) {
        *w = *exact as f32;
    }
    let rows = inputs(random, B, 3);
    let exact: Vec<Vec<f64>> = rows
        .iter()
        .map(|x| {
            let mut h = network.start(x);
            for _ in 0..3 {
                network.sweep(&mut h);
            }
            h[1..].concat()
        })
        .collect();
    let (all, some): (SMatrix<f32, B, 3>, SMatrix<f32, 8, 3>) =
        (subject::samples(&rows), subject::samples(&rows[B - 8..]));
    for backend in subject::backends() {
        let what = format!("{:?} of {B} on {}", network.widths, backend.name());
        let (mut state, mut last) =
            (Box::new(Network::<A>::state::<B>()), Box::new(Network::<A>::state::<8>()));
        net.on(backend).solve(&all, &mut state, Stop::after(3)).unwrap();
        net.on(backend).solve(&some, &mut last, Stop::after(3)).unwrap();
        for (found, exact) in subject::states(&state).iter().zip(&exact) {
            close(found, exact, bound::<f32>(), &what);
        }
        for (all, some) in state.as_slice().chunks(B).zip(last.as_slice().chunks(8)) {
            assert_eq!(all[B - 8..], *some, "{what}");
        }
    }
}

/// Weights of more than a megabyte, which are read in another order; and first layers for which there is no room for a whole chunk of samples.
#[test]
fn wide_layers_of_a_batch() {
    far::<_, 37>(&mut <fnn![3, 600, 600, 2; feedback = Dense]>::boxed().0);
    far::<_, 70>(&mut <fnn![3, 513, 513, 2; feedback = Dense]>::boxed().0);
    far::<_, 33>(&mut <fnn![3, 1100, 250, 2; feedback = Dense]>::boxed().0);
}

/// A hump of one's own: whatever is done with it, a value shows what is not finite.
#[derive(Clone, Copy, Debug, Default)]
struct Hump;
impl Activation for Hump {
    const NAME: &'static str = "hump";
    #[inline(always)]
    fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector {
        let one = lanes.splat(T::ONE);
        lanes.div(one, lanes.mul_add(z, z, one))
    }
    #[inline(always)]
    fn slope<T: Scalar, L: Lanes<T>>(lanes: L, _: L::Vector) -> L::Vector {
        lanes.splat(T::ZERO)
    }
}

#[test]
fn a_sample_has_the_bits_it_has_among_many() {
    macro_rules! of {
        ($($batch:literal)*) => {$(
            // Layers of more than four vectors, of one and of parts of one.
            companions::<_, _, _, $batch>(&<fnn![5, 83, 20, 3; feedback = Dense]>::ZERO);
            companions::<_, _, _, $batch>(&<fnn![5, 20, 9; feedback = Tied<40>, output = Tanh]>::ZERO);
            companions::<_, _, _, $batch>(&<fnn![5, 9, 20, 3; feedback = Dense, scalar = f64]>::ZERO);
        )*};
    }
    of!(2 3 4 5 9 18 20 27);
}

/// The same of an activation of one's own, of which the oracle knows nothing.
#[test]
fn own_values_have_the_bits_they_have_among_many() {
    type Net = fnn![5, 21, 7, 3; hidden = Hump];
    let random = &mut SmallRng::seed_from_u64(2);
    let mut net = Net::ZERO;
    for w in net.params_mut() {
        *w = random.random_range(-0.4..0.4);
    }
    let rows = inputs(random, 32, 5);
    let many: SMatrix<f32, 32, 5> = subject::samples(&rows);
    let few: SMatrix<f32, 3, 5> = subject::samples(&rows[..3]);
    for backend in subject::backends() {
        let (mut one, mut other) = (Net::state::<3>(), Net::state::<32>());
        net.on(backend).solve(&few, &mut one, Stop::after(5)).unwrap();
        net.on(backend).solve(&many, &mut other, Stop::after(5)).unwrap();
        for (one, other) in one.as_slice().chunks(3).zip(other.as_slice().chunks(32)) {
            assert_eq!(one, &other[..3], "{}", backend.name());
        }
    }
}

/// A sample's bits depend on no other sample, converged or not.
fn independent<const B: usize>() {
    let (_, net) = small(0.8);
    let random = &mut SmallRng::seed_from_u64(B as u64);
    let rows = inputs(random, B, 5);
    let x: SMatrix<f32, B, 5> = subject::samples(&rows);
    for backend in subject::backends() {
        for tolerance in [Stop::residual(1e-3), Stop::relative(1e-5), Stop::after(4)] {
            let mut state = Small::state::<B>();
            let solved = net.on(backend).solve(&x, &mut state, tolerance).unwrap();
            for kept in [0, B / 2, B - 1] {
                // The others become large or nothing, and then take longer or less long.
                for factor in [0.0, 30.0] {
                    let mut changed = x;
                    for s in (0..B).filter(|s| *s != kept) {
                        changed.row_mut(s).scale_mut(factor);
                    }
                    let mut other = Small::state::<B>();
                    net.on(backend).solve(&changed, &mut other, tolerance).unwrap();
                    assert_eq!(sample(&state, kept), sample(&other, kept), "{B}, {kept}, {}", backend.name());
                    assert!(B == 1 || state != other);
                }
            }
            assert!(solved.sweeps > 1);
        }
    }
}

#[test]
fn samples_are_independent() {
    independent::<1>();
    independent::<3>();
    independent::<8>();
    independent::<16>();
    independent::<17>();
    independent::<33>();
    independent::<40>();
}

/// A sample that has met its tolerance stays as it is while the others go on.
#[test]
fn a_converged_sample_does_not_change() {
    const B: usize = 19;
    let (_, net) = small(0.8);
    let rows = inputs(&mut SmallRng::seed_from_u64(3), B, 5);
    let x: SMatrix<f32, B, 5> = subject::samples(&rows);
    let tolerance = Stop::residual(1e-3);
    for backend in subject::backends() {
        // Sweep by sweep: the sample is done in the first one that changes it by no more than the tolerance.
        let mut injection = Injection::<Small, B>::ZERO;
        net.on(backend).inject(&x, &mut injection).unwrap();
        let mut history = vec![Small::state::<B>()];
        for t in 0..60 {
            let mut next = history[t].clone();
            net.on(backend).sweep(&injection, &mut next).unwrap();
            history.push(next);
        }
        let mut state = Small::state::<B>();
        let solved = net.on(backend).solve(&x, &mut state, tolerance).unwrap();
        let mut sweeps = Vec::new();
        for s in 0..B {
            let done = (1..history.len())
                .find(|t| {
                    let (before, after) = (sample(&history[t - 1], s), sample(&history[*t], s));
                    let changes = before.iter().zip(&after);
                    changes
                        .map(|(a, b)| (f32::from_bits(*a) - f32::from_bits(*b)).abs())
                        .all(|change| change <= 1e-3)
                })
                .unwrap();
            assert_eq!(sample(&state, s), sample(&history[done], s), "sample {s}, {}", backend.name());
            sweeps.push(done);
        }
        assert_eq!(solved.sweeps, *sweeps.iter().max().unwrap());
        assert!(sweeps.iter().min() < sweeps.iter().max(), "the samples should differ in speed: {sweeps:?}");
    }
}

/// The portable backend gives a sample the same bits, whatever the size of its batch and its place in it.
#[test]
fn portable_bits_do_not_depend_on_the_batch() {
    fn of<const B: usize>(net: &Small, rows: &[Vec<f64>], tolerance: Stop) -> Vec<Vec<u32>> {
        let mut results = Vec::new();
        for batch in rows.chunks_exact(B) {
            let x: SMatrix<f32, B, 5> = subject::samples(batch);
            let mut state = Small::state::<B>();
            net.on(Backend::portable()).solve(&x, &mut state, tolerance).unwrap();
            results.extend((0..B).map(|s| sample(&state, s)));
        }
        results
    }
    subject::backends();
    let (_, net) = small(0.6);
    let rows = inputs(&mut SmallRng::seed_from_u64(8), 80, 5);
    for tolerance in [Stop::residual(1e-6), Stop::relative(1e-6), Stop::after(5)] {
        let each = of::<1>(&net, &rows, tolerance);
        for (size, results) in [
            (2, of::<2>(&net, &rows, tolerance)),
            (3, of::<3>(&net, &rows, tolerance)),
            (5, of::<5>(&net, &rows, tolerance)),
            (17, of::<17>(&net, &rows, tolerance)),
            (33, of::<33>(&net, &rows, tolerance)),
            (40, of::<40>(&net, &rows, tolerance)),
            (80, of::<80>(&net, &rows, tolerance)),
        ] {
            for (s, (one, many)) in each.iter().zip(&results).enumerate() {
                assert_eq!(one, many, "sample {s} alone and in a batch of {size}");
            }
        }
    }
}

#[test]
fn warm_starts_continue() {
    let (network, net) = small(0.7);
    let random = &mut SmallRng::seed_from_u64(9);
    let rows = inputs(random, 3, 5);
    let x: SMatrix<f32, 3, 5> = subject::samples(&rows);
    let near = x + SMatrix::<f32, 3, 5>::from_fn(|_, _| random.random_range(-1e-3..1e-3));
    let tolerance = Stop::residual(1e-6);
    for backend in subject::backends() {
        let on = net.on(backend);
        let mut state = Small::state::<3>();
        let cold = on.solve(&x, &mut state, tolerance).unwrap();
        let again = on.solve(&x, &mut state, tolerance).unwrap();
        assert_eq!(again.sweeps, 1, "{}", backend.name());
        let moved = on.solve(&near, &mut state, tolerance).unwrap();
        assert!(moved.sweeps > 1 && moved.sweeps < cold.sweeps, "{moved:?}, cold {cold:?}");
        for (s, found) in subject::states(&state).iter().enumerate() {
            let x: Vec<f64> = (0..5).map(|j| f64::from(near[(s, j)])).collect();
            close(found, &network.solve(&x)[1..].concat(), bound::<f32>(), "warm start");
        }

        // Two sweeps and two more are four.
        let mut parts = Small::state::<3>();
        on.solve(&x, &mut parts, Stop::after(2)).unwrap();
        on.solve(&x, &mut parts, Stop::after(2)).unwrap();
        let mut whole = Small::state::<3>();
        on.solve(&x, &mut whole, Stop::after(4)).unwrap();
        assert_eq!(parts, whole);
    }
}

#[test]
fn not_converging_keeps_the_state_and_reports() {
    fn check<const B: usize>() {
        let (network, net) = small(0.8);
        let rows = inputs(&mut SmallRng::seed_from_u64(10 + B as u64), B, 5);
        let x: SMatrix<f32, B, 5> = subject::samples(&rows);
        for backend in subject::backends() {
            let on = net.on(backend);
            let mut state = Small::state::<B>();
            let tolerance = Stop::residual(1e-6);
            let result = on.solve(&x, &mut state, tolerance.at_most(3));
            let Err(SolveError::NotConverged { sweeps: 3, residual }) = result else {
                panic!("{result:?}");
            };
            let mut exact = Small::state::<B>();
            let three = on.solve(&x, &mut exact, Stop::after(3)).unwrap();
            assert_eq!(state, exact);
            assert_eq!(residual, three.residual);
            let change = rows.iter().fold(0.0, |largest, x| {
                let states = network.unroll(x, 3);
                let pairs = states[3].concat().into_iter().zip(states[2].concat());
                pairs.fold(largest, |largest, (a, b)| f64::max(largest, (a - b).abs()))
            });
            assert!((f64::from(residual) - change).abs() <= bound::<f32>(), "{residual}, {change}");
            // Going on from there ends where one solve would have.
            let rest = on.solve(&x, &mut state, tolerance).unwrap();
            let mut whole = Small::state::<B>();
            let all = on.solve(&x, &mut whole, tolerance).unwrap();
            assert_eq!((rest.sweeps + 3, rest.residual), (all.sweeps, all.residual));
            assert_eq!(state, whole);
        }
    }
    check::<1>();
    check::<3>();
    check::<40>();
}

/// Tolerances that ask for the impossible are refused before anything is changed, with one sample or many.
#[test]
fn impossible_tolerances_are_refused() {
    fn check<const B: usize>() {
        let net = Small::ZERO;
        let x = SMatrix::<f32, B, 5>::zeros();
        for backend in subject::backends() {
            let refused = [
                (Stop::residual(f32::NAN), "`Stop::residual` is NaN, its range is 0 or more, finite"),
                (Stop::residual(-1.0), "`Stop::residual` is -1.0, its range is 0 or more, finite"),
                (Stop::residual(-1e-30), "`Stop::residual` is -1e-30, its range is 0 or more, finite"),
                (Stop::residual(f32::INFINITY), "`Stop::residual` is inf, its range is 0 or more, finite"),
                (Stop::relative(f32::NAN), "`Stop::relative` is NaN, its range is 0 or more, finite"),
                (
                    Stop::residual(1.0).or_relative(-0.5),
                    "`Stop::relative` is -0.5, its range is 0 or more, finite",
                ),
                (Stop::relative(1.0).at_most(0), "`Stop::at_most` is 0.0, its range is 1 or more"),
                (Stop::after(0), "`Stop::after` is 0.0, its range is 1 or more"),
            ];
            for (stop, text) in refused {
                let mut state = Small::state::<B>();
                state.as_mut_slice().fill(0.25);
                let before = state.clone();
                for error in [
                    net.on(backend).solve(&x, &mut state, stop).unwrap_err(),
                    net.on(backend).specialized().solve(&x, &mut state, stop).unwrap_err(),
                ] {
                    assert_eq!(error.to_string(), text);
                    assert_eq!(error, SolveError::Setting(stop.check().unwrap_err()));
                }
                assert_eq!(state, before);
            }
            // Zero is possible: nothing changes.
            let mut state = Small::state::<B>();
            let solved = net.on(backend).solve(&x, &mut state, Stop::residual(0.0)).unwrap();
            assert_eq!((solved.sweeps, solved.residual), (1, 0.0));
        }
    }
    check::<1>();
    check::<3>();
    check::<33>();
}

/// Relative tolerances look at a sample's own largest unit: where every unit is a thousand times larger, the
/// same relative tolerance stops after as many sweeps.
#[test]
fn relative_tolerances_scale() {
    type Linear = fnn![4, 6, 3; hidden = Relu, scalar = f64];
    fn check<const B: usize>() {
        let mut network = subject::oracle(&Linear::ZERO);
        let random = &mut SmallRng::seed_from_u64(11);
        network.draw(random, 1.0, 0.8);
        // Without biases the network is positively homogeneous.
        for l in 1..=2 {
            for i in 0..network.widths[l] {
                let place = network.b(l, i);
                network.params[place] = 0.0;
            }
        }
        let net: Linear = subject::network(&network);
        let rows = inputs(random, B, 4);
        let x: SMatrix<f64, B, 4> = subject::samples(&rows);
        for backend in subject::backends() {
            let mut sweeps = Vec::new();
            for factor in [1.0, 1024.0, 1.0 / 1024.0] {
                let mut state = Linear::state::<B>();
                let solved = net.on(backend).solve(&(x * factor), &mut state, Stop::relative(1e-6)).unwrap();
                sweeps.push(solved.sweeps);
                // By the definition, sample by sample, with the oracle's sweeps.
                let slowest = rows.iter().map(|x| {
                    let states = network.unroll(x, 60);
                    (1..60)
                        .find(|t| {
                            let (old, new) = (states[t - 1][1..].concat(), states[*t][1..].concat());
                            let changes: Vec<f64> = new.iter().zip(&old).map(|(a, b)| a - b).collect();
                            oracle::largest(&changes) <= 1e-6 * oracle::largest(&new)
                        })
                        .unwrap()
                });
                assert_eq!(solved.sweeps, slowest.max().unwrap(), "{B}, {}", backend.name());
            }
            assert!(sweeps.iter().all(|s| *s == sweeps[0] && *s > 2), "{sweeps:?}");
            // An absolute tolerance does not scale.
            let mut state = Linear::state::<B>();
            let of = |factor: f64, state: &mut State<Linear, B>| {
                state.reset();
                net.on(backend).solve(&(x * factor), state, Stop::residual(1e-6)).unwrap().sweeps
            };
            assert!(of(1024.0, &mut state) > of(1.0 / 1024.0, &mut state));
            // Both together are met as soon as their sum is.
            state.reset();
            let both = Stop::residual(1e-3).or_relative(1e-6);
            let solved = net.on(backend).solve(&x, &mut state, both).unwrap();
            assert!(solved.sweeps <= sweeps[0] && solved.residual > 0.0);
        }
    }
    check::<1>();
    check::<5>();
    check::<35>();
}

/// What is not finite is an error on every path, and leaves no NaN behind.
#[test]
fn what_is_not_finite_is_an_error() {
    fn check<const B: usize>() {
        let (_, net) = small(0.5);
        let rows = inputs(&mut SmallRng::seed_from_u64(12), B, 5);
        let x: SMatrix<f32, B, 5> = subject::samples(&rows);
        let tolerance = Stop::residual(1e-5);
        for backend in subject::backends() {
            let mut solved = Small::state::<B>();
            net.on(backend).solve(&x, &mut solved, tolerance).unwrap();
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for s in [0, B / 2, B - 1] {
                    let mut wrong = x;
                    wrong[(s, 3)] = bad;
                    let mut state = solved.clone();
                    let result = net.on(backend).solve(&wrong, &mut state, tolerance);
                    assert!(matches!(result, Err(SolveError::NotFinite(_))));
                    assert_eq!(state, solved, "a bad input changes nothing");
                    let mut injection = Injection::<Small, B>::ZERO;
                    assert!(matches!(
                        net.on(backend).inject(&wrong, &mut injection),
                        Err(SolveError::NotFinite(_))
                    ));

                    // The layer above the first is read, so a bad value there spreads.
                    let mut state = solved.clone();
                    state.as_mut_slice()[15 * B + s] = bad;
                    let result = net.on(backend).solve(&x, &mut state, tolerance);
                    assert!(
                        matches!(result, Err(SolveError::NotFinite(_))),
                        "{bad} in the state of {s} of {B}"
                    );
                    assert!(state.as_slice().iter().all(|h| *h == 0.0), "the state is reset");
                }
                for place in 0..Small::PARAMS {
                    let mut wrong = net.clone();
                    wrong.params_mut()[place] = bad;
                    let mut state = solved.clone();
                    let result = wrong.on(backend).solve(&x, &mut state, tolerance);
                    assert!(
                        matches!(result, Err(SolveError::NotFinite(_))),
                        "{bad} as parameter {place}, {B} samples"
                    );
                    assert!(state.as_slice().iter().all(|h| *h == 0.0));
                }
            }
        }
    }
    check::<1>();
    check::<3>();
    check::<33>();
}

/// One sweep after another is what a solve does.
#[test]
fn sweeps_make_the_solve() {
    fn check<const B: usize>() {
        let mut network = subject::oracle(&Precise::ZERO);
        network.draw(&mut SmallRng::seed_from_u64(14), 1.0, 0.6);
        let net: Precise = subject::network(&network);
        let x: SMatrix<f64, B, 5> = subject::samples(&inputs(&mut SmallRng::seed_from_u64(15), B, 5));
        for backend in subject::backends() {
            let on = net.on(backend);
            let mut injection = Injection::<Precise, B>::ZERO;
            on.inject(&x, &mut injection).unwrap();
            let (mut by_sweeps, mut by_solve) = (Precise::state::<B>(), Precise::state::<B>());
            let mut residual = 0.0;
            for _ in 0..7 {
                residual = on.sweep(&injection, &mut by_sweeps).unwrap();
            }
            let solved = on.solve(&x, &mut by_solve, Stop::after(7)).unwrap();
            assert_eq!((solved.sweeps, solved.residual), (7, residual));
            assert_eq!(by_sweeps, by_solve);
        }
    }
    check::<1>();
    check::<4>();
    check::<34>();
}
