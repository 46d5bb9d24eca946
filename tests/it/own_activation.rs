//! Activations of a user's own, in safe code: solutions and gradients against plain `f64` and finite differences, certificates, and what is
//! refused.

use attractor::kernel::{self, Activation, Identity, Scalar, Tanh};
use attractor::learn::{LearnError, MeanSquared, Objective, Sgd, Trainer};
use attractor::network::{Architecture, Takes};
use attractor::simd::{Backend, Lanes};
use attractor::{
    Adjacent, CertificateError, Dense, Feedforward, Network, Skip, SolveError, State, Stop, Threads, Tied,
    Workspace, fnn,
};
use nalgebra::SMatrix;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// An activation over lanes, and the same over plain numbers.
trait Plain: Activation {
    fn plain(z: f64) -> f64;
}

/// 1.1 z / (1 + |z|).
#[derive(Clone, Copy, Debug, Default)]
struct Softsign;
const GAIN: f64 = 1.1;
impl Activation for Softsign {
    const NAME: &'static str = "softsign";
    const LIPSCHITZ: Option<f64> = Some(GAIN);
    const RANGE: Option<[f64; 2]> = Some([-GAIN, GAIN]);
    #[inline(always)]
    fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector {
        let z = lanes.mul(lanes.splat(T::from_f64(GAIN)), z);
        lanes.div(
            z,
            lanes.add(lanes.splat(T::ONE), lanes.abs(lanes.mul(lanes.splat(T::from_f64(1.0 / GAIN)), z))),
        )
    }
    #[inline(always)]
    fn slope<T: Scalar, L: Lanes<T>>(lanes: L, h: L::Vector) -> L::Vector {
        let part = lanes.mul(lanes.splat(T::from_f64(1.0 / GAIN)), lanes.abs(h));
        let root = lanes.sub(lanes.splat(T::ONE), part);
        lanes.mul(lanes.splat(T::from_f64(GAIN)), lanes.mul(root, root))
    }
    fn error<T: Scalar>() -> f64 {
        8.0 * T::PRECISION.to_f64()
    }
}
impl Plain for Softsign {
    fn plain(z: f64) -> f64 {
        GAIN * z / (1.0 + z.abs())
    }
}

/// z + sqrt(1 + z^2) - 1: without bounds, steeper than 1, and of both signs. Its slope is 2 (h + 1)^2 / ((h + 1)^2 + 1).
#[derive(Clone, Copy, Debug, Default)]
struct Squareplus;
impl Activation for Squareplus {
    const NAME: &'static str = "squareplus";
    const LIPSCHITZ: Option<f64> = Some(2.0);
    #[inline(always)]
    fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector {
        let one = lanes.splat(T::ONE);
        let root = lanes.map(lanes.add(one, lanes.mul(z, z)), T::sqrt);
        // z / (1 + root) z is root - 1 without its loss of digits.
        lanes.add(z, lanes.mul(z, lanes.div(z, lanes.add(one, root))))
    }
    #[inline(always)]
    fn slope<T: Scalar, L: Lanes<T>>(lanes: L, h: L::Vector) -> L::Vector {
        let one = lanes.splat(T::ONE);
        let square = lanes.add(h, one);
        let square = lanes.mul(square, square);
        lanes.div(lanes.add(square, square), lanes.add(square, one))
    }
}
impl Plain for Squareplus {
    fn plain(z: f64) -> f64 {
        z + (1.0 + z * z).sqrt() - 1.0
    }
}

impl Plain for Tanh {
    fn plain(z: f64) -> f64 {
        z.tanh()
    }
}
impl Plain for Identity {
    fn plain(z: f64) -> f64 {
        z
    }
}

fn draw<A: Architecture<Scalar = f64>>(net: &mut Network<A>, size: f64, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    net.params_mut().iter_mut().for_each(|w| *w = random.random_range(-size..size));
}

const FINE: Stop<f64> = Stop::residual(1e-15).at_most(2000);

/// The loss of a network of `f64`, solved as finely as can be.
fn loss<A, const I: usize, const O: usize, const B: usize>(
    net: &Network<A>,
    x: &SMatrix<f64, B, I>,
    y: &SMatrix<f64, B, O>,
) -> f64
where
    A: Takes<I, Scalar = f64>,
    A::Output<B>: Into<SMatrix<f64, B, O>> + Clone,
{
    let mut state = State::<Network<A>, B>::ZERO;
    // The last digit may never settle.
    let solved = net.on(Backend::portable()).solve(x, &mut state, FINE);
    assert!(!matches!(
        solved,
        Err(SolveError::NotFinite(_) | SolveError::NotConverged { residual: 1e-12.., .. })
    ));
    let output: SMatrix<f64, B, O> = state.output().clone().into();
    (output - y).map(|d| d * d).mean()
}

/// The gradient of every parameter against central differences of the loss.
macro_rules! exact {
    ($net:ty, $size:literal) => {{
        type Net = $net;
        for seed in 0..3 {
            let mut net = Net::ZERO;
            draw(&mut net, $size, seed);
            let mut random = SmallRng::seed_from_u64(seed + 100);
            let x = SMatrix::<f64, 5, 3>::from_fn(|_, _| random.random_range(-1.0..1.0));
            let y = SMatrix::<f64, 5, 2>::from_fn(|_, _| random.random_range(-1.0..1.0));
            let mut wanted = Vec::new();
            for i in 0..net.params().len() {
                const STEP: f64 = 1e-5;
                let mut at = |step: f64| {
                    let was = net.params()[i];
                    net.params_mut()[i] = was + step;
                    let found = loss(&net, &x, &y);
                    net.params_mut()[i] = was;
                    found
                };
                wanted.push((at(STEP) - at(-STEP)) / (2.0 * STEP));
            }
            let objective = Objective::new(MeanSquared)
                .solve(Stop::residual(1e-13).at_most(2000))
                .method(attractor::learn::Method::Implicit(Stop::relative(1e-13).at_most(2000)));
            let close = |gradient: &Net, what: &str| {
                for (i, (found, wanted)) in gradient.params().iter().zip(&wanted).enumerate() {
                    assert!((found - wanted).abs() < 1e-6, "{net:?} {what} {i}: {found} {wanted}");
                }
            };
            for backend in Backend::available() {
                for threads in [Threads::One, Threads::Rayon] {
                    let (mut workspace, mut gradient) = (Workspace::<Net, 5>::ZERO, Net::ZERO);
                    let on = net.on(backend).threads(threads);
                    on.gradient(&objective, &x, &y, &mut workspace, &mut gradient).expect("it converges");
                    close(&gradient, backend.name());
                }
                // One by one, in the crate's code and in code of the network's own.
                for special in [false, true] {
                    let mut gradient = Net::ZERO;
                    for row in 0..5 {
                        let (mut workspace, mut one) = (Workspace::<Net>::ZERO, Net::ZERO);
                        let (x, y) = (x.row(row).into_owned(), y.row(row).into_owned());
                        let on = net.on(backend);
                        if special {
                            on.specialized().gradient(&objective, &x, &y, &mut workspace, &mut one)
                        } else {
                            on.gradient(&objective, &x, &y, &mut workspace, &mut one)
                        }
                        .expect("it converges");
                        gradient
                            .params_mut()
                            .iter_mut()
                            .zip(one.params())
                            .for_each(|(g, one)| *g += one / 5.0);
                    }
                    close(&gradient, "one by one");
                }
            }
        }
    }};
}

#[test]
fn gradients_are_exact() {
    exact!(fnn![3, 5, 4, 2; hidden = Softsign, scalar = f64], 0.4);
    exact!(fnn![3, 5, 4, 2; hidden = Squareplus, output = Softsign, scalar = f64], 0.25);
    exact!(fnn![3, 5, 4, 2; feedback = Dense, hidden = Softsign, output = Tanh, scalar = f64], 0.4);
    exact!(fnn![3, 5, 4, 2; feedback = Skip, hidden = Tanh, output = Squareplus, scalar = f64], 0.3);
    exact!(fnn![3, 5, 4, 2; feedback = Tied<60>, hidden = Softsign, scalar = f64], 0.5);
    exact!(fnn![3, 5, 4, 2; feedback = Feedforward, hidden = Squareplus, scalar = f64], 0.5);
}

/// h = s(z) in every layer of a solution, computed one by one.
#[test]
fn solutions_are_right() {
    fn largest_miss<H: Plain, O: Plain>(backend: Backend) -> f64 {
        let mut net = Network::<
            attractor::network::Fnn<
                3,
                attractor::Layer<19, attractor::Layer<18, attractor::Layer<2>>>,
                f64,
                Adjacent,
                H,
                O,
            >,
        >::ZERO;
        draw(&mut net, 0.15, 7);
        let input = [0.5, -1.0, 0.25];
        let mut state = State::ZERO;
        net.on(backend).solve(&input, &mut state, Stop::residual(1e-14).at_most(2000)).expect("it converges");
        let [first, second, third] = [
            state.layer::<1>().h.as_slice().to_vec(),
            state.layer::<2>().h.as_slice().to_vec(),
            state.layer::<3>().h.as_slice().to_vec(),
        ];
        let mut miss = 0.0_f64;
        let mut compare = |found: f64, wanted: f64| miss = miss.max((found - wanted).abs());
        let dot = |row: &[f64], with: &[f64]| row.iter().zip(with).map(|(a, b)| a * b).sum::<f64>();
        for (i, h) in first.iter().enumerate() {
            let layer = net.layer::<1>();
            let w: Vec<f64> = layer.w.row(i).iter().copied().collect();
            let u: Vec<f64> = layer.u.row(i).iter().copied().collect();
            compare(*h, H::plain(dot(&w, &input) + dot(&u, &second) + layer.b[i]));
        }
        for (i, h) in second.iter().enumerate() {
            let layer = net.layer::<2>();
            let w: Vec<f64> = layer.w.row(i).iter().copied().collect();
            let u: Vec<f64> = layer.u.row(i).iter().copied().collect();
            compare(*h, H::plain(dot(&w, &first) + dot(&u, &third) + layer.b[i]));
        }
        for (i, h) in third.iter().enumerate() {
            let layer = net.layer::<3>();
            let w: Vec<f64> = layer.w.row(i).iter().copied().collect();
            compare(*h, O::plain(dot(&w, &second) + layer.b[i]));
        }
        miss
    }
    for backend in Backend::available() {
        for miss in [
            largest_miss::<Softsign, Softsign>(backend),
            largest_miss::<Squareplus, Identity>(backend),
            largest_miss::<Tanh, Squareplus>(backend),
        ] {
            assert!(miss < 1e-12, "{}: {miss}", backend.name());
        }
    }
}

/// Values of `f32` on every backend and of every length, within the error they state.
#[test]
fn values_are_within_their_error() {
    for backend in Backend::available() {
        for length in 0..40 {
            let z: Vec<f32> = (0..length).map(|i| (i as f32 - 17.0) * 0.37).collect();
            let mut h = z.clone();
            kernel::activate::<_, Softsign>(backend, &mut h);
            for (z, h) in z.iter().zip(&h) {
                let miss = (f64::from(*h) - Softsign::plain(f64::from(*z))).abs();
                assert!(miss <= Softsign::error::<f32>(), "{}: {z} {h}", backend.name());
            }
        }
    }
}

/// Certificates of slopes that are no power of two: the rate is that of sweeps with magnitudes, and error bounds hold.
#[test]
fn certificates_work_with_it() {
    type Net = fnn![1, 1, 1; hidden = Softsign, scalar = f64];
    let mut net = Net::ZERO;
    net.layer_mut::<1>().w.fill(1.0);
    net.layer_mut::<1>().u.fill(0.5);
    net.layer_mut::<2>().w.fill(1.5);
    let rate = net.certify().expect("it contracts").rate();
    assert!((GAIN * 0.75..GAIN * 0.751).contains(&rate), "{rate}");

    type Wide = fnn![3, 16, 12, 2; hidden = Softsign, output = Softsign];
    type Exact = fnn![3, 16, 12, 2; hidden = Softsign, output = Softsign, scalar = f64];
    for seed in 0..20 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut net = Wide::ZERO;
        net.params_mut().iter_mut().for_each(|w| *w = random.random_range(-0.6..0.6));
        let certificate = net.limit_rate(0.7).expect("finite");
        assert!(certificate.rate() <= 0.7 && certificate.sweeps(1e-3, 1.0).is_some());
        let certified = certificate.verify(&net).expect("it holds");
        net.certify_adjoint().expect("it contracts too").verify(&net).expect("and holds");
        let mut exact = Exact::ZERO;
        exact.params_mut().iter_mut().zip(net.params()).for_each(|(w, other)| *w = f64::from(*other));
        let input: [f32; 3] = core::array::from_fn(|_| random.random_range(-1.0..1.0));
        let (mut state, mut solution) = (Wide::state(), Exact::state());
        exact.solve(&input.map(f64::from), &mut solution, Stop::residual(1e-14)).expect("it converges");
        for error in [1e-1, 1e-3, 1e-5] {
            state.reset();
            let solved = certified.solve(&input, &mut state, error).expect("finite");
            let far = state.as_slice().iter().zip(solution.as_slice());
            let far = far.map(|(h, exact)| (f64::from(*h) - exact).abs()).fold(0.0, f64::max);
            assert!(far <= f64::from(solved.bound.largest()), "{far} {:?}", solved.bound);
        }
    }
}

/// Says nothing of itself.
#[derive(Clone, Copy, Debug, Default)]
struct Silent;
impl Activation for Silent {
    const NAME: &'static str = "silent";
    #[inline(always)]
    fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector {
        Tanh::value(lanes, z)
    }
    #[inline(always)]
    fn slope<T: Scalar, L: Lanes<T>>(lanes: L, h: L::Vector) -> L::Vector {
        Tanh::slope(lanes, h)
    }
}

/// 1 / 2 + z: not 0 at 0, and without bounds.
#[derive(Clone, Copy, Debug, Default)]
struct Raised;
impl Activation for Raised {
    const NAME: &'static str = "raised";
    const LIPSCHITZ: Option<f64> = Some(1.0);
    #[inline(always)]
    fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector {
        lanes.add(lanes.splat(T::from_f64(0.5)), z)
    }
    #[inline(always)]
    fn slope<T: Scalar, L: Lanes<T>>(lanes: L, _: L::Vector) -> L::Vector {
        lanes.splat(T::ONE)
    }
    fn error<T: Scalar>() -> f64 {
        T::PRECISION.to_f64()
    }
}

/// What is not known of an activation is named.
#[test]
fn what_is_missing_is_named() {
    fn missing<A: Architecture<Scalar = f32>>(net: &Network<A>) -> String {
        match net.certify() {
            Err(error @ CertificateError::Activation { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }
    type Of<H> = fnn![2, 3, 1; hidden = H];
    let found = missing(&Of::<Silent>::ZERO);
    assert!(found.contains("silent") && found.contains("LIPSCHITZ"), "{found}");
    let found = missing(&Of::<Squareplus>::ZERO);
    assert!(found.contains("squareplus") && found.contains("error"), "{found}");
    let found = missing(&Of::<Raised>::ZERO);
    assert!(found.contains("raised") && found.contains("RANGE"), "{found}");
    let mut net = Of::<Silent>::ZERO;
    let mut room = State::ZERO;
    for refused in
        [net.limit_rate(0.5).err(), net.hold_rate(0.5, &mut room).err(), net.certify_adjoint().err()]
    {
        assert!(matches!(refused, Some(CertificateError::Activation { name: "silent", .. })), "{refused:?}");
    }
    // A rate needs no error.
    let (mut bounded, mut room) = (Of::<Squareplus>::ZERO, State::ZERO);
    assert_eq!(bounded.hold_rate(0.5, &mut room).expect("bounded").factor, 1.0);

    let mut trainer: Trainer<_, _, _> = Trainer::new(net, Sgd::plain(), Objective::new(MeanSquared));
    match trainer.step(&[1.0, 0.5], &[0.5]) {
        Err(error @ LearnError::Update(_)) => assert!(error.to_string().contains("LIPSCHITZ"), "{error}"),
        other => panic!("{other:?}"),
    }
    trainer.hold = None;
    trainer.step(&[1.0, 0.5], &[0.5]).expect("it is not held");
}

/// Wrong implementations: numbers that are none are found, and values are kept in their range.
#[test]
fn wrong_values_are_found() {
    /// NaN beyond 1, and finite where the sum is not.
    #[derive(Clone, Copy, Debug, Default)]
    struct Broken;
    impl Activation for Broken {
        const NAME: &'static str = "broken";
        #[inline(always)]
        fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector {
            lanes.map(z, |z| {
                if z > T::ONE {
                    T::NAN
                } else if z <= T::ONE {
                    z
                } else {
                    T::ZERO
                }
            })
        }
        #[inline(always)]
        fn slope<T: Scalar, L: Lanes<T>>(lanes: L, h: L::Vector) -> L::Vector {
            lanes.map(h, |h| if h > T::from_f64(0.5) { T::NAN } else { T::ONE })
        }
    }
    /// Ten times its range.
    #[derive(Clone, Copy, Debug, Default)]
    struct Beyond;
    impl Activation for Beyond {
        const NAME: &'static str = "beyond";
        const RANGE: Option<[f64; 2]> = Some([-1.0, 2.0]);
        #[inline(always)]
        fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector {
            lanes.mul(lanes.splat(T::from_f64(10.0)), z)
        }
        #[inline(always)]
        fn slope<T: Scalar, L: Lanes<T>>(lanes: L, _: L::Vector) -> L::Vector {
            lanes.splat(T::ONE)
        }
    }
    type Net<H> = fnn![1, 17, 1; hidden = H, output = H];
    fn fed<H: Activation>(w: f32) -> Net<H> {
        let mut net = Net::<H>::ZERO;
        net.layer_mut::<1>().w.fill(w);
        net.layer_mut::<2>().w.fill(1.0 / 17.0);
        net
    }
    for backend in Backend::available() {
        let (net, mut state) = (fed::<Broken>(1.0), Net::<Broken>::state());
        assert!(net.on(backend).solve(&[0.75], &mut state, Stop::after(2)).is_ok());
        for input in [1.5, f32::MAX * 0.9] {
            let (net, mut state) = (fed::<Broken>(2.0), Net::<Broken>::state());
            let solved = net.on(backend).solve(&[input], &mut state, Stop::after(1));
            assert!(matches!(solved, Err(SolveError::NotFinite(_))));
            let mut batch = Net::<Broken>::state::<40>();
            let inputs = SMatrix::<f32, 40, 1>::from_element(input);
            let solved = net.on(backend).solve(&inputs, &mut batch, Stop::after(1));
            assert!(matches!(solved, Err(SolveError::NotFinite(_))));
            let on = net.on(backend).specialized();
            let solved = on.solve(&[input], &mut state, Stop::after(1));
            assert!(matches!(solved, Err(SolveError::NotFinite(_))));
        }
        let (mut workspace, mut gradient) = (Workspace::ZERO, Net::ZERO);
        let objective = Objective::new(MeanSquared);
        let learned = net.on(backend).gradient(&objective, &[0.75], &[0.0], &mut workspace, &mut gradient);
        assert!(matches!(learned, Err(LearnError::Adjoint(SolveError::NotFinite(_)))));

        let (net, mut state) = (fed::<Beyond>(1.0), Net::<Beyond>::state());
        net.on(backend).solve(&[5.0], &mut state, Stop::after(1)).expect("finite");
        assert!(state.layer::<1>().h.iter().all(|h| *h == 2.0) && state.output()[0] == 2.0);
        net.on(backend).solve(&[-5.0], &mut state, Stop::after(1)).expect("finite");
        assert!(state.as_slice().iter().all(|h| *h == -1.0));
    }
}
