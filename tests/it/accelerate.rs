//! Accelerated solves: against plain ones, the oracle, and linear systems solved directly.

use crate::oracle::{self, subject};
use attractor::kernel::{Identity, Relu, Scalar};
use attractor::network::Takes;
use attractor::simd::{Backend, Element};
use attractor::{Acceleration, Dense, Injection, Network, SolveError, Solved, State, Stop, fnn};
use nalgebra::{SMatrix, SVector};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// How to accelerate.
#[derive(Clone, Copy, Debug)]
struct How {
    window: usize,
    damping: f64,
    safeguard: f64,
}

const fn window(window: usize) -> How {
    How { window, damping: 1.0, safeguard: 1.0 }
}

type Outcome<T> = Result<Solved<T>, SolveError<T>>;

/// An accelerated solve from `state`.
fn accelerated<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(
    how: How,
    backend: Backend,
    net: &Network<A>,
    input: &[T; I],
    state: &mut State<Network<A>>,
    tolerance: Stop<T>,
) -> Outcome<T> {
    macro_rules! of {
        ($($window:literal)*) => {
            match how.window {
                $($window => {
                    let mut acceleration = Acceleration::<Network<A>, $window>::new()
                        .damping(T::from_f64(how.damping))
                        .safeguard(T::from_f64(how.safeguard));
                    net.on(backend).solve_accelerated(input, state, tolerance, &mut acceleration)
                })*
                window => panic!("no window of {window}"),
            }
        };
    }
    of!(0 1 2 3)
}

fn input<T: Element, const I: usize>(random: &mut SmallRng) -> [T; I] {
    core::array::from_fn(|_| T::from_f64(f64::from(random.random_range(-1.0_f32..1.0))))
}

/// Scales the feedback until the errors of the network without its activations shrink by `rate` a sweep in the long run: what
/// a certificate's gamma only bounds from above.
fn slow(network: &mut oracle::Network, rate: f64, random: &mut SmallRng) {
    let mut linear = network.clone();
    (linear.hidden, linear.output) = (oracle::Activation::Identity, oracle::Activation::Identity);
    for l in 1..=linear.depth() {
        for i in 0..linear.widths[l] {
            let place = linear.b(l, i);
            linear.params[place] = 0.0;
        }
    }
    let mut h = linear.start(&vec![0.0; linear.widths[0]]);
    h[1..].iter_mut().flatten().for_each(|unit| *unit = random.random_range(-1.0..1.0));
    let (mut log, mut counted) = (0.0, 0);
    for sweep in 0..600 {
        linear.sweep(&mut h);
        let size = oracle::largest(&h.concat());
        h.iter_mut().flatten().for_each(|unit| *unit /= size);
        if sweep >= 200 {
            log += size.ln();
            counted += 1;
        }
    }
    let seen = (log / f64::from(counted)).exp();
    for place in network.feedback_places() {
        network.params[place] = f64::from((network.params[place] * rate / seen) as f32);
    }
}

type Small = fnn![5, 11, 7, 3];
type Precise = fnn![5, 11, 7, 3; feedback = Dense, scalar = f64];
type Rectified = fnn![5, 9, 8, 3; feedback = Dense, hidden = Relu, scalar = f64];
type Linear = fnn![5, 9, 8, 3; feedback = Dense, hidden = Identity, scalar = f64];
type LinearSingle = fnn![5, 9, 8, 3; hidden = Identity];

/// Without a window and damping it is `solve`, bit for bit, whatever the tolerance.
#[test]
fn nothing_asked_for_is_a_plain_solve() {
    fn check<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(zero: &Network<A>) {
        let mut network = subject::oracle(zero);
        let random = &mut SmallRng::seed_from_u64(network.params.len() as u64);
        network.draw(random, 0.9, 0.9);
        let net: Network<A> = subject::network(&network);
        let (x, near): ([T; I], [T; I]) = (input(random), input(random));
        let small = T::from_f64(1e-5);
        for backend in subject::backends() {
            for tolerance in [
                Stop::residual(small),
                Stop::relative(small),
                Stop::residual(small).or_relative(small),
                Stop::residual(small).at_most(3),
                Stop::residual(small).at_most(1),
                Stop::residual(T::ZERO).at_most(9),
                Stop::after(1),
                Stop::after(7),
            ] {
                let (mut plain, mut state) = (State::ZERO, State::ZERO);
                for x in [&x, &x, &near] {
                    let expected = net.on(backend).solve(x, &mut plain, tolerance);
                    let found = accelerated(window(0), backend, &net, x, &mut state, tolerance);
                    assert_eq!(found, expected, "{zero:?}, {tolerance:?}, {}", backend.name());
                    assert!(state == plain, "{zero:?}, {tolerance:?}, {}", backend.name());
                }
            }
        }
    }
    check(&Small::ZERO);
    check(&Precise::ZERO);
    check(&Rectified::ZERO);
    check(&<fnn![4, 3]>::ZERO);
}

/// The solution is that of plain sweeps, for every window, damped or not.
fn converges<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(
    zero: &Network<A>,
    seed: u64,
    gain: f64,
    rate: f64,
    damping: f64,
) {
    let mut network = subject::oracle(zero);
    let random = &mut SmallRng::seed_from_u64(seed);
    network.draw(random, gain, rate);
    let net: Network<A> = subject::network(&network);
    let x: [T; I] = input(random);
    let exact = network.solve(&x.map(|x| x.to_f64()))[1..].concat();
    let single = size_of::<T>() == 4;
    let (tolerance, bound) = if single { (1e-5, 2e-3) } else { (1e-11, 1e-8) };
    for window in 0..=3 {
        for (damping, safeguard) in [(1.0, 1.0), (1.0, rate), (damping, 1.0)] {
            let how = How { window, damping, safeguard };
            for backend in subject::backends() {
                let mut state = State::ZERO;
                let tolerance = Stop::relative(T::from_f64(tolerance)).at_most(5000);
                let solved = accelerated(how, backend, &net, &x, &mut state, tolerance).unwrap();
                let scale = oracle::largest(&exact).max(1.0);
                for (found, exact) in state.as_slice().iter().zip(&exact) {
                    let error = (found.to_f64() - exact).abs();
                    assert!(error <= bound * scale, "{zero:?}, {how:?}: off by {error:e}, {solved:?}");
                }
                // What meets the tolerance is nearly a solution for plain sweeps too.
                let after = net.on(backend).solve(&x, &mut state, Stop::after(1)).unwrap();
                assert!(after.residual.to_f64() <= bound * scale, "{after:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]
    #[test]
    fn contracting_networks_converge(
        seed in any::<u64>(), gain in 0.4..1.3_f64, rate in 0.05..0.98_f64, damping in 0.4..1.0_f64,
    ) {
        converges(&Small::ZERO, seed, gain, rate, damping);
        converges(&Precise::ZERO, seed, gain, rate, damping);
        converges(&Rectified::ZERO, seed, gain, rate, damping);
        converges(&Linear::ZERO, seed, gain, rate, damping);
    }

    /// Without activations the solution is that of a system of linear equations, and so is the error that a residual leaves.
    #[test]
    fn linear_networks_are_solved(seed in any::<u64>(), rate in 0.5..0.99_f64) {
        let mut network = subject::oracle(&Linear::ZERO);
        let random = &mut SmallRng::seed_from_u64(seed);
        network.draw(random, 0.9, 0.5);
        slow(&mut network, rate, random);
        let net: Linear = subject::network(&network);
        let x: [f64; 5] = input(random);

        // h = Lo h + Up h + c.
        let starts: Vec<usize> = (0..=3).map(|l| network.widths[1..=l].iter().sum()).collect();
        type Square = SMatrix<f64, { Linear::UNITS }, { Linear::UNITS }>;
        let (mut lower, mut upper) = (Square::zeros(), Square::zeros());
        let mut c = SVector::<f64, { Linear::UNITS }>::zeros();
        for l in 1..=3 {
            for i in 0..network.widths[l] {
                let row = starts[l - 1] + i;
                c[row] = network.params[network.b(l, i)];
                for j in 0..network.widths[l - 1] {
                    let w = network.params[network.w(l, i, j)];
                    if l == 1 { c[row] += w * x[j] } else { lower[(row, starts[l - 2] + j)] = w }
                }
                for k in network.reads(l) {
                    for j in 0..network.widths[k] {
                        upper[(row, starts[k - 1] + j)] = network.params[network.u(l, k, i, j)];
                    }
                }
            }
        }
        let one = Square::identity();
        let exact = (one - lower - upper).lu().solve(&c).unwrap();
        // The sweep is h -> G h + ..., so a change f leaves the error G (I - G)^-1 f.
        let sweep = (one - lower).lu().solve(&upper).unwrap();
        let left = sweep * (one - sweep).try_inverse().unwrap();
        let left = left.row_iter().map(|row| row.iter().map(|x| x.abs()).sum::<f64>()).fold(0.0, f64::max);
        for window in 0..=3 {
            let mut state = Linear::state();
            let tolerance = Stop::residual(1e-10).at_most(100_000);
            let solved = accelerated(self::window(window), Backend::best(), &net, &x, &mut state, tolerance).unwrap();
            let bound = left * (solved.residual + 1e-13 * exact.amax());
            for (found, exact) in state.as_slice().iter().zip(&exact) {
                prop_assert!((found - exact).abs() <= bound, "{window}: {found}, {exact}, {bound:e}");
            }
        }
    }
}

/// Several times what plain sweeps take at a rate of 0.99: what takes more goes round for ever.
const LIMIT: usize = 10_000;

/// Sweeps of many solves, one with each window, of networks whose errors shrink by `rate`, or of which this is proved for the
/// worst case.
fn sweeps<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(
    zero: &Network<A>,
    rate: f64,
    proved: bool,
) -> Vec<[usize; 4]> {
    let small = if size_of::<T>() == 4 { 1e-5 } else { 1e-10 };
    let tolerance = Stop::relative(T::from_f64(small)).at_most(LIMIT);
    let draws = (0..40).map(|seed| {
        let mut network = subject::oracle(zero);
        let random = &mut SmallRng::seed_from_u64(seed);
        network.draw(random, 0.9, rate);
        if !proved {
            slow(&mut network, rate, random);
        }
        let net: Network<A> = subject::network(&network);
        let x: [T; I] = input(random);
        core::array::from_fn(|size| {
            let solved =
                accelerated(window(size), Backend::portable(), &net, &x, &mut State::default(), tolerance);
            // Without activations all converge, if slowly; with them a network may go round for ever.
            solved.map_or(tolerance.limit(), |solved| solved.sweeps)
        })
    });
    draws.collect()
}

/// What docs/results.md shows: mean sweeps, plain and accelerated, by how much an error shrinks.
#[test]
fn weak_contraction_takes_fewer_sweeps() {
    println!("| network | rate | plain | window 1 | window 2 | window 3 | plain without end |");
    let mean = |counts: &[[usize; 4]], size: usize| {
        counts.iter().map(|sweeps| sweeps[size]).sum::<usize>() as f64 / counts.len() as f64
    };
    for rate in [0.3, 0.6, 0.9, 0.99] {
        for (name, linear, counts) in [
            ("identity, f32", true, sweeps(&<fnn![16, 32, 16, 4; hidden = Identity]>::ZERO, rate, false)),
            (
                "identity, dense, f64",
                true,
                sweeps(
                    &<fnn![16, 32, 16, 4; hidden = Identity, feedback = Dense, scalar = f64]>::ZERO,
                    rate,
                    false,
                ),
            ),
            ("tanh, f32", false, sweeps(&<fnn![16, 32, 16, 4]>::ZERO, rate, false)),
            ("tanh, f64", false, sweeps(&<fnn![16, 32, 16, 4; scalar = f64]>::ZERO, rate, false)),
            (
                "relu, f64",
                false,
                sweeps(&<fnn![16, 32, 16, 4; hidden = Relu, scalar = f64]>::ZERO, rate, false),
            ),
        ] {
            let ended: Vec<[usize; 4]> = counts.iter().copied().filter(|sweeps| sweeps[0] < LIMIT).collect();
            let [plain, one, two, three] = [0, 1, 2, 3].map(|size| mean(&ended, size));
            let endless = counts.len() - ended.len();
            println!("| {name} | {rate} | {plain:.1} | {one:.1} | {two:.1} | {three:.1} | {endless} |");
            // Every one of them ends if plain sweeps do, and those without activations always do.
            assert!(counts.iter().all(|sweeps| sweeps[1..].iter().all(|s| *s < LIMIT)), "{counts:?}");
            assert!(!linear || endless == 0);
            for (size, accelerated) in [(1, one), (2, two), (3, three)] {
                assert!(
                    accelerated <= plain,
                    "window {size} of {name} at {rate}: {accelerated}, plain {plain}"
                );
            }
            // Little is won where sweeps contract well, and a third or more where they hardly do.
            if rate == 0.3 {
                assert!(three > 0.8 * plain);
            }
            if rate >= 0.9 {
                assert!(one < 0.85 * plain && two < 0.75 * plain && three < 0.7 * plain);
            }
            if rate == 0.99 && linear {
                assert!(one < 0.5 * plain && three < 0.15 * plain);
            }
            // No single solve loses much.
            for sweeps in &ended {
                let most = sweeps[1..].iter().max().unwrap();
                assert!(*most <= sweeps[0] + sweeps[0] / 2 + 2, "{name} at {rate}: {sweeps:?}");
            }
        }

        // gamma as a certificate has it is the worst case, and networks with weights of both signs are far from it.
        let counts = sweeps(&<fnn![16, 32, 16, 4]>::ZERO, rate, true);
        let means = [0, 1, 2, 3].map(|size| mean(&counts, size));
        println!("| tanh, f32, proved | {rate} | {means:.1?} |");
        assert!(means.iter().all(|mean| *mean < 6.0 && (mean - means[0]).abs() < 0.5), "{means:?}");
    }
}

/// One unit pushed down by the output that it pushes up.
fn pendulum() -> fnn![1, 1, 1; scalar = f64] {
    let mut net = <fnn![1, 1, 1; scalar = f64]>::ZERO;
    net.layer_mut::<1>().w.fill(0.3);
    net.layer_mut::<1>().u.fill(-2.0);
    net.layer_mut::<2>().w.fill(2.0);
    net
}

#[test]
fn damping_and_acceleration_end_an_oscillation() {
    let net = pendulum();
    let tolerance = Stop::residual(1e-9).at_most(10_000);
    // h = tanh(0.3 - 4 h), found by halving.
    let (mut low, mut high) = (-1.0_f64, 1.0_f64);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if (0.3 - 4.0 * middle).tanh() > middle { low = middle } else { high = middle }
    }
    for backend in subject::backends() {
        let plain = net.on(backend).solve(&[1.0], &mut State::default(), tolerance);
        assert!(
            matches!(plain, Err(SolveError::NotConverged { residual, .. }) if residual > 1.0),
            "{plain:?}"
        );
        for (size, damping) in [(0, 0.3), (0, 0.2), (1, 1.0), (2, 1.0), (3, 1.0), (1, 0.5), (2, 0.5)] {
            let how = How { window: size, damping, safeguard: 1.0 };
            let mut state = State::ZERO;
            let solved = accelerated(how, backend, &net, &[1.0], &mut state, tolerance).unwrap();
            assert!(solved.sweeps < 100, "{how:?}: {solved:?}");
            assert!((state.as_slice()[0] - low).abs() < 1e-8, "{how:?}: {state:?}, {low}");
        }
        // h' = -4 (1 - h^2) or so: with more than 0.45 a sweep still goes too far.
        let how = How { window: 0, damping: 0.6, safeguard: 1.0 };
        assert!(accelerated(how, backend, &net, &[1.0], &mut State::default(), tolerance).is_err());
    }
}

/// Damping is h <- (1 - a) h + a sweep(h), as the oracle makes it.
#[test]
fn damping_is_the_formula() {
    let mut network = subject::oracle(&Precise::ZERO);
    let random = &mut SmallRng::seed_from_u64(5);
    network.draw(random, 1.0, 0.9);
    let net: Precise = subject::network(&network);
    let x: [f64; 5] = input(random);
    for a in [0.25, 0.7, 1.0] {
        let mut h = network.start(&x);
        for sweeps in 1..=6 {
            let before = h.clone();
            let residual = network.sweep(&mut h);
            for (new, old) in h.iter_mut().flatten().zip(before.iter().flatten()) {
                *new = (1.0 - a) * old + a * *new;
            }
            for backend in subject::backends() {
                let how = How { window: 0, damping: a, safeguard: 1.0 };
                let mut state = Precise::state();
                let solved = accelerated(how, backend, &net, &x, &mut state, Stop::after(sweeps)).unwrap();
                assert_eq!(solved.sweeps, sweeps);
                assert!((solved.residual - residual).abs() < 1e-13, "{a}, {sweeps}: {solved:?}, {residual}");
                for (found, exact) in state.as_slice().iter().zip(h[1..].iter().flatten()) {
                    assert!((found - exact).abs() < 1e-13, "{a}, {sweeps}: {found}, {exact}");
                }
            }
        }
    }
}

/// Sweep by sweep: a point is a plain sweep's, or it is better than all before by the safeguard's factor, or it is not taken
/// and nothing changes. Losses in a row come less and less often.
fn safeguarded<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(
    zero: &Network<A>,
    rate: f64,
    seed: u64,
    how: How,
) -> [usize; 3] {
    const SWEEPS: usize = 60;
    let mut network = subject::oracle(zero);
    let random = &mut SmallRng::seed_from_u64(seed);
    network.draw(random, 0.9, 0.5);
    slow(&mut network, rate, random);
    let net: Network<A> = subject::network(&network);
    let x: [T; I] = input(random);
    let mut injection = Injection::ZERO;
    net.inject(&x, &mut injection).unwrap();
    let mut before: Option<(State<_>, T)> = None;
    let (mut best, mut lost, mut wait) = (T::INFINITE, 0, 0_usize);
    let [mut plain, mut taken, mut losses] = [0; 3];
    for sweeps in 1..=SWEEPS {
        let mut state = State::ZERO;
        let tolerance = Stop::after(sweeps);
        let solved = accelerated(how, Backend::best(), &net, &x, &mut state, tolerance).unwrap();
        let residual = solved.residual;
        assert_eq!(solved.sweeps, sweeps);
        if let Some((mut swept, last)) = before {
            let unchanged = swept == state;
            let change = net.sweep(&injection, &mut swept).unwrap();
            if residual == change && swept == state {
                plain += 1;
                wait = wait.saturating_sub(1);
            } else if unchanged && residual == last {
                assert_eq!(wait, 0, "{lost} losses in a row, the next too soon");
                losses += 1;
                lost += 1;
                wait = 1 << lost;
            } else {
                let factor = T::from_f64(how.safeguard);
                assert!(residual < best && residual < factor * best, "{residual:?} after {best:?}");
                taken += 1;
                lost = 0;
            }
        }
        best = if residual < best { residual } else { best };
        before = Some((state, residual));
        if residual < T::from_f64(100.0) * T::PRECISION {
            break; // rounding from here on
        }
    }
    [plain, taken, losses]
}

#[test]
fn no_point_is_taken_that_is_worse() {
    let mut all = [0; 3];
    for size in 1..=3 {
        for safeguard in [2.0, 1.0, 0.9, 0.5] {
            let how = How { window: size, damping: 1.0, safeguard };
            for (seed, rate) in [(1, 0.7), (2, 0.95), (3, 0.99), (4, 1.1)] {
                for counts in [
                    safeguarded(&Small::ZERO, rate, seed, how),
                    safeguarded(&Precise::ZERO, rate, seed, how),
                    safeguarded(&Rectified::ZERO, rate, seed, how),
                    safeguarded(&Linear::ZERO, rate, seed, how),
                    safeguarded(&LinearSingle::ZERO, rate, seed, how),
                ] {
                    for (all, count) in all.iter_mut().zip(counts) {
                        *all += count;
                    }
                }
            }
        }
        let none = safeguarded(&Precise::ZERO, 0.95, 5, How { window: size, damping: 1.0, safeguard: 0.0 });
        assert!(none[1] == 0 && none[2] > 0 && none[2] <= 6, "{none:?}");
    }
    // All three were seen, often.
    assert!(all.iter().all(|count| *count > 100), "{all:?}");
}

/// A network that converges, after some sweeps, is one at whose solution the next solve begins.
#[test]
fn warm_starts_and_memory_of_other_solves() {
    let mut network = subject::oracle(&Small::ZERO);
    let random = &mut SmallRng::seed_from_u64(8);
    network.draw(random, 0.9, 0.9);
    let net: Small = subject::network(&network);
    let tolerance = Stop::residual(1e-5);
    let mut acceleration = Acceleration::<Small, 2>::new();
    let mut warm = Small::state();
    for _ in 0..5 {
        let x: [f32; 5] = input(random);
        let (mut used, mut fresh) = (Small::state(), Small::state());
        let found = net.solve_accelerated(&x, &mut used, tolerance, &mut acceleration);
        let expected = net.solve_accelerated(&x, &mut fresh, tolerance, &mut Acceleration::<Small, 2>::new());
        assert_eq!(found, expected);
        assert!(used == fresh);
        net.solve_accelerated(&x, &mut warm, tolerance, &mut acceleration).unwrap();
        let again = net.solve_accelerated(&x, &mut warm, tolerance, &mut acceleration).unwrap();
        assert!(again.sweeps <= 2, "{again:?}");
    }
}

#[test]
fn hostile_input() {
    let mut network = subject::oracle(&Precise::ZERO);
    network.draw(&mut SmallRng::seed_from_u64(8), 0.9, 0.9);
    let net: Precise = subject::network(&network);
    let tolerance = Stop::residual(1e-9);
    let (x, zero) = ([0.5; 5], Precise::state());
    for backend in subject::backends() {
        for size in 0..=3 {
            let solve = |net: &Precise, x: [f64; 5], state: &mut State<Precise>| {
                accelerated(window(size), backend, net, &x, state, tolerance)
            };
            let mut state = Precise::state();
            solve(&net, x, &mut state).unwrap();
            let kept = state.clone();
            for poison in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                for place in 0..5 {
                    let mut poisoned = x;
                    poisoned[place] = poison;
                    assert!(matches!(solve(&net, poisoned, &mut state), Err(SolveError::NotFinite(_))));
                    assert!(state == kept, "a bad input changes nothing");
                }
                for place in (0..Precise::PARAMS).step_by(7) {
                    let mut bad = net.clone();
                    bad.params_mut()[place] = poison;
                    let mut state = kept.clone();
                    let result = solve(&bad, x, &mut state);
                    // tanh of infinity is 1: not every infinity does harm. Plain sweeps decide.
                    let mut plain = kept.clone();
                    let expected = net_result(&bad, backend, x, &mut plain, tolerance);
                    assert_eq!(result.is_ok(), expected.is_ok(), "{place}, {poison}");
                    if matches!(expected, Err(SolveError::NotFinite(_))) {
                        assert_eq!(result, expected, "{place}, {poison}");
                        assert!(state == zero);
                    }
                }
                for place in 0..Precise::UNITS {
                    let mut state = kept.clone();
                    state.as_mut_slice()[place] = poison;
                    let mut plain = state.clone();
                    let expected = net_result(&net, backend, x, &mut plain, tolerance);
                    let result = solve(&net, x, &mut state);
                    assert_eq!(result.is_ok(), expected.is_ok(), "unit {place}, {poison}");
                    assert_eq!(state == zero, plain == zero, "unit {place}, {poison}");
                }
            }
        }
    }
}

fn net_result(
    net: &Precise,
    backend: Backend,
    x: [f64; 5],
    state: &mut State<Precise>,
    tolerance: Stop<f64>,
) -> Outcome<f64> {
    net.on(backend).solve(&x, state, tolerance)
}

/// Where the point to look at overflows and plain sweeps do not, these go on.
#[test]
fn a_look_that_overflows_does_no_harm() {
    type Net = fnn![1, 1, 1; hidden = Identity];
    let mut net = Net::ZERO;
    net.layer_mut::<1>().w.fill(1.0);
    net.layer_mut::<1>().u.fill(1.0);
    net.layer_mut::<2>().w.fill(0.9999);
    let x = [1e36_f32]; // the solution is 1e40
    let tolerance = Stop::residual(1.0).at_most(40);
    for backend in subject::backends() {
        for size in 1..=3 {
            let mut state = Net::state();
            let result = accelerated(window(size), backend, &net, &x, &mut state, tolerance);
            let Err(SolveError::NotConverged { sweeps: 40, residual }) = result else { panic!("{result:?}") };
            assert!(residual > 9e35 && state.as_slice().iter().all(|h| h.is_finite() && *h > 1e37));
            // And where plain sweeps overflow too, that is an error.
            let result = accelerated(window(size), backend, &net, &x, &mut state, tolerance.at_most(1000));
            assert!(matches!(result, Err(SolveError::NotFinite(_))));
            assert!(state == Net::state());
        }
    }
}

/// Numbers so small that their squares vanish, or so large that these overflow: plain sweeps remain.
#[test]
fn extreme_scales() {
    type Net = fnn![1, 2, 1; hidden = Identity];
    let mut net = Net::ZERO;
    net.layer_mut::<1>().w.fill(1.0);
    net.layer_mut::<1>().u.fill(0.5);
    net.layer_mut::<2>().w.fill(0.5);
    for backend in subject::backends() {
        for scale in [1e-35_f32, 1e-20, 1e-10, 1.0, 1e10, 1e20, 1e35] {
            let mut plain = Net::state();
            let tolerance = Stop::relative(1e-5);
            let most = net.on(backend).solve(&[scale], &mut plain, tolerance).unwrap();
            for size in 1..=3 {
                let mut state = Net::state();
                let solved =
                    accelerated(window(size), backend, &net, &[scale], &mut state, tolerance).unwrap();
                assert!(solved.sweeps <= most.sweeps, "{scale:e}, {solved:?}, {most:?}");
                assert!((state.output()[0] / scale - 2.0).abs() < 1e-4, "{scale:e}: {state:?}");
            }
        }
    }
}

#[test]
fn memory_is_what_the_docs_say() {
    for (bytes, states) in [
        (Acceleration::<Small, 0>::BYTES, 3),
        (Acceleration::<Small, 1>::BYTES, 5),
        (Acceleration::<Small, 2>::BYTES, 7),
        (Acceleration::<Small, 3>::BYTES, 9),
    ] {
        // W^1 x + b^1, the states, two counters, two settings; and what aligning the counters takes.
        let scalars = 4 * (11 + states * Small::UNITS + 2);
        let least = scalars + 2 * size_of::<usize>();
        assert!((least..least + 2 * align_of::<usize>()).contains(&bytes), "{bytes}, {least}");
    }
}
