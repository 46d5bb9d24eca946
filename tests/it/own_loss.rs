//! Losses of all units and penalties on the Jacobian: gradients against finite differences, and measures against dense matrices.

use attractor::NonFinite;
use attractor::kernel::{HardTanh, Sigmoid, Tanh};
use attractor::learn::{
    Descent, JacobianPenalty, LearnError, LossError, MeanSquared, Method, Objective, OfOutputs, Sgd, Trainer,
    UnitLoss, UnitRoom,
};
use attractor::network::{Architecture, Fnn, Takes};
use attractor::simd::Backend;
use attractor::{
    Dense, Feedforward, Layer, Network, Repeat, Skip, State, Stop, Threads, Tied, Workspace, fnn,
};
use nalgebra::SMatrix;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Of every unit its own: sum of sin(i) h + cos(i) h^2 / 2, mean over the samples, plus the error of the first output.
struct Everywhere;

impl<A: Architecture<Scalar = f64>, const B: usize> UnitLoss<A, [f64; B], B> for Everywhere {
    fn evaluate(
        &self,
        state: &State<Network<A>, B>,
        target: &[f64; B],
        gradient: &mut State<Network<A>, B>,
    ) -> Result<f64, LossError> {
        let (mut loss, share) = (0.0, 1.0 / B as f64);
        let h = state.as_slice();
        for (i, (g, h)) in gradient.as_mut_slice().iter_mut().zip(h).enumerate() {
            assert_eq!(*g, 0.0);
            let unit = (i / B) as f64;
            loss += share * (unit.sin() * h + unit.cos() * h * h / 2.0);
            *g = share * (unit.sin() + unit.cos() * h);
        }
        let first = h.len() - B;
        for sample in 0..B {
            let error = h[first + sample] - target[sample];
            loss += share * error * error;
            gradient.as_mut_slice()[first + sample] += 2.0 * share * error;
        }
        Ok(loss)
    }
}

fn fine<C>(loss: C) -> Objective<C, f64> {
    Objective::new(loss)
        .solve(Stop::residual(1e-14).at_most(3000))
        .method(Method::Implicit(Stop::relative(1e-13).at_most(3000)))
}

/// The gradient of every parameter by differences of the loss that is reported.
fn exact<A, C, const B: usize>(zero: &Network<A>, size: f64, loss: &C, backend: Backend)
where
    A: Takes<3, Scalar = f64>,
    C: UnitLoss<A, [f64; B], B> + Clone,
{
    let mut random = SmallRng::seed_from_u64(B as u64);
    let mut net = zero.clone();
    net.params_mut().iter_mut().for_each(|w| *w = random.random_range(-size..size));
    let x = SMatrix::<f64, B, 3>::from_fn(|_, _| random.random_range(-1.0..1.0));
    let y: [f64; B] = core::array::from_fn(|_| random.random_range(-1.0..1.0));
    let objective = fine(loss.clone());
    let take = |net: &Network<A>, gradient: &mut Network<A>| {
        let (mut workspace, mut room) = (Workspace::<Network<A>, B>::ZERO, UnitRoom::ZERO);
        let on = net.on(backend).threads(if B > 32 { Threads::Rayon } else { Threads::One });
        on.gradient_of_units(&objective, &x, &y, &mut workspace, &mut room, gradient)
            .expect("it converges")
            .loss
    };
    let (mut found, mut unused) = (zero.clone(), zero.clone());
    found.params_mut().fill(0.5);
    take(&net, &mut found);
    let step = 1e-5;
    for i in 0..net.params().len() {
        let was = net.params()[i];
        let mut at = |w: f64| {
            net.params_mut()[i] = w;
            take(&net, &mut unused)
        };
        let wanted = (at(was + step) - at(was - step)) / (2.0 * step);
        net.params_mut()[i] = was;
        let found = found.params()[i] - 0.5;
        assert!((found - wanted).abs() < 1e-6, "{net:?} {B} {}: {i}: {found} {wanted}", backend.name());
    }
}

impl Clone for Everywhere {
    fn clone(&self) -> Self {
        Self
    }
}

macro_rules! on_all {
    ($net:ty, $size:literal, $loss:expr) => {
        for backend in Backend::available() {
            exact::<_, _, 1>(&<$net>::ZERO, $size, &$loss, backend);
            exact::<_, _, 5>(&<$net>::ZERO, $size, &$loss, backend);
        }
        exact::<_, _, 35>(&<$net>::ZERO, $size, &$loss, Backend::best());
    };
}

type Shares = Network<Fnn<3, Layer<4, Layer<4, Repeat<4, Layer<4, Layer<2>>>>>, f64>>;

#[test]
fn losses_of_all_units_are_exact() {
    on_all!(fnn![3, 5, 4, 2; scalar = f64], 0.4, Everywhere);
    on_all!(
        fnn![3, 5, 4, 2; feedback = Dense, hidden = Sigmoid, output = Tanh, scalar = f64],
        0.5,
        Everywhere
    );
    on_all!(fnn![3, 5, 4, 2; feedback = Skip, scalar = f64], 0.3, Everywhere);
    on_all!(fnn![3, 5, 4, 2; feedback = Tied<60>, scalar = f64], 0.4, Everywhere);
    on_all!(fnn![3, 5, 4, 2; feedback = Feedforward, scalar = f64], 0.5, Everywhere);
    on_all!(fnn![3, 2; scalar = f64], 0.5, Everywhere);
    on_all!(Shares, 0.3, Everywhere);
}

#[test]
fn penalties_are_exact() {
    let penalty = JacobianPenalty { loss: Everywhere, weight: 3.0, seed: 7 };
    on_all!(fnn![3, 5, 4, 2; scalar = f64], 0.4, penalty);
    on_all!(fnn![3, 5, 4, 2; feedback = Dense, hidden = Sigmoid, output = Tanh, scalar = f64], 0.5, penalty);
    on_all!(fnn![3, 5, 4, 2; feedback = Skip, output = Sigmoid, scalar = f64], 0.3, penalty);
    on_all!(fnn![3, 5, 4, 2; feedback = Tied<60>, scalar = f64], 0.4, penalty);
    on_all!(fnn![3, 5, 4, 2; feedback = Feedforward, scalar = f64], 0.5, penalty);
    exact::<_, _, 1>(&<fnn![3, 70, 2; scalar = f64]>::ZERO, 0.1, &penalty, Backend::best());
    on_all!(fnn![3, 2; scalar = f64], 0.5, penalty);
    on_all!(Shares, 0.3, penalty);
}

/// A loss of the outputs gives what it gives as ever, bit for bit; and trainer and descent take the same steps as by hand.
#[test]
fn trainers_use_them() {
    type Net = fnn![3, 6, 4, 2];
    let mut net = Net::ZERO;
    for (i, w) in net.params_mut().iter_mut().enumerate() {
        *w = 0.3 * (i as f32).sin();
    }
    let (x, y) = ([0.5, -1.0, 0.25], [0.5, -0.5]);
    let (mut plain, mut units) = (Net::ZERO, Net::ZERO);
    let (mut workspace, mut room) = (Workspace::<Net>::ZERO, UnitRoom::ZERO);
    let one = net.gradient(&Objective::new(MeanSquared), &x, &y, &mut workspace, &mut plain).expect("solved");
    workspace = Workspace::ZERO;
    let objective = Objective::new(OfOutputs(MeanSquared));
    let two =
        net.gradient_of_units(&objective, &x, &y, &mut workspace, &mut room, &mut units).expect("solved");
    assert!(plain == units && one == two);

    let loss = JacobianPenalty { loss: OfOutputs(MeanSquared), weight: 0.5, seed: 3 };
    let objective = Objective::new(loss);
    let mut gradient = Net::ZERO;
    workspace = Workspace::ZERO;
    net.gradient_of_units(&objective, &x, &y, &mut workspace, &mut room, &mut gradient).expect("solved");
    assert!(gradient != plain);
    let mut trainer: Trainer<_, _, _> = Trainer::new(net.clone(), Sgd::plain(), objective);
    let mut descent: Descent<_, _> = Descent::new(net.clone(), objective, 0.05);
    (trainer.rate, trainer.hold, descent.hold) = (0.05, None, None);
    trainer.step_of_units(&x, &y, &mut room).expect("solved");
    descent.step_of_units(&x, &y, &mut room).expect("solved");
    assert!(*trainer.gradient() == gradient);
    let mut in_place = net.clone();
    workspace = Workspace::ZERO;
    in_place.descend_of_units(&objective, &x, &y, &mut workspace, &mut room, 0.05).expect("solved");
    assert!(in_place == descent.network);
    for (((w, g), trained), descended) in
        net.params().iter().zip(gradient.params()).zip(trainer.network.params()).zip(descent.network.params())
    {
        assert!((trained - (w - 0.05 * g)).abs() < 1e-6 && (descended - trained).abs() < 1e-6);
    }

    // With a large weight it makes the Jacobian small, and the sweeps fast.
    let strong = JacobianPenalty { loss: OfOutputs(MeanSquared), weight: 20.0, seed: 0 };
    let mut trainer: Trainer<_, _, _> = Trainer::new(net.clone(), Sgd::plain(), Objective::new(strong));
    (trainer.rate, trainer.hold) = (0.02, None);
    let radius = |net: &Net| {
        let mut state = Net::state();
        net.solve(&x, &mut state, Stop::residual(1e-6).at_most(500)).expect("it converges");
        let mut room = State::ZERO;
        net.sweep_radius(&state, &mut room, 100).expect("finite")
    };
    let before = radius(&trainer.network);
    for seed in 0..200 {
        trainer.objective.loss.seed = seed;
        trainer.step_of_units(&x, &y, &mut room).expect("solved");
    }
    let after = radius(&trainer.network);
    assert!(after < 0.5 * before, "{before} {after}");
}

/// What cannot be had is refused, and nothing is changed.
#[test]
fn what_is_wrong_is_refused() {
    type Net = fnn![3, 4, 1; hidden = HardTanh, scalar = f64];
    struct Wrong(f64);
    impl<A: Architecture<Scalar = f64>> UnitLoss<A, (), 1> for Wrong {
        fn evaluate(
            &self,
            _: &State<Network<A>>,
            (): &(),
            gradient: &mut State<Network<A>>,
        ) -> Result<f64, LossError> {
            gradient.as_mut_slice()[0] = self.0;
            Ok(1.0)
        }
    }
    let (net, mut gradient) = (Net::ZERO, Net::ZERO);
    let (mut workspace, mut room) = (Workspace::<Net>::ZERO, UnitRoom::ZERO);
    let input = [0.5, -1.0, 0.25];
    for number in [f64::NAN, f64::INFINITY] {
        let objective = Objective::new(Wrong(number));
        let learned =
            net.gradient_of_units(&objective, &input, &(), &mut workspace, &mut room, &mut gradient);
        let first = NonFinite::LossGradient { sample: 0, output: 0 };
        assert_eq!(learned, Err(LearnError::NotFinite(first)));
    }
    for weight in [-1.0, f64::NAN, f64::INFINITY] {
        let objective = Objective::new(JacobianPenalty { loss: Wrong(1.0), weight, seed: 0 });
        let learned =
            net.gradient_of_units(&objective, &input, &(), &mut workspace, &mut room, &mut gradient);
        assert!(matches!(learned, Err(LearnError::Loss(LossError::Setting(_)))), "{learned:?}");
    }
    let inner = JacobianPenalty { loss: Wrong(1.0), weight: 1.0, seed: 0 };
    let objective = Objective::new(JacobianPenalty { loss: inner, weight: 1.0, seed: 0 });
    let learned = net.gradient_of_units(&objective, &input, &(), &mut workspace, &mut room, &mut gradient);
    assert!(matches!(learned, Err(LearnError::Loss(LossError::Unsupported(_)))), "{learned:?}");
    assert!(gradient == Net::ZERO);
}

type Square = SMatrix<f64, 11, 11>;

type Three = fnn![3, 5, 4, 2; scalar = f64];

/// The Jacobian of all layers at once, and that of a sweep, as dense matrices, from the weights of three layers with tanh and identity.
fn dense(net: &Three, h: &[f64]) -> (Square, Square) {
    let slope = |i: usize| if i < 9 { 1.0 - h[i] * h[i] } else { 1.0 };
    let (mut low, mut up) = (Square::zeros(), Square::zeros());
    for i in 0..5 {
        for j in 0..4 {
            up[(i, 5 + j)] = slope(i) * net.layer::<1>().u[(i, j)];
            low[(5 + j, i)] = slope(5 + j) * net.layer::<2>().w[(j, i)];
        }
    }
    for i in 0..4 {
        for j in 0..2 {
            up[(5 + i, 9 + j)] = slope(5 + i) * net.layer::<2>().u[(i, j)];
            low[(9 + j, 5 + i)] = slope(9 + j) * net.layer::<3>().w[(j, i)];
        }
    }
    // (I - Lo)^-1 = I + Lo + Lo^2: there are three layers.
    let inverse = Square::identity() + low + low * low;
    let swept = inverse * up;
    (low + up, swept)
}

/// The spectral radius, by squaring.
fn radius(matrix: &Square) -> f64 {
    let (mut power, mut log, mut share) = (*matrix, 0.0, 1.0);
    for _ in 0..40 {
        let norm = power.iter().map(|x| x * x).sum::<f64>().sqrt();
        log += share * norm.ln();
        power /= norm;
        power = power * power;
        share /= 2.0;
    }
    log.exp()
}

#[test]
fn measures_are_right() {
    type Net = Three;
    for seed in 0..10 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut net = Net::ZERO;
        net.params_mut().iter_mut().for_each(|w| *w = random.random_range(-0.7..0.7));
        let input: [f64; 3] = core::array::from_fn(|_| random.random_range(-1.0..1.0));
        let mut state = Net::state();
        net.solve(&input, &mut state, Stop::residual(1e-12).at_most(3000)).expect("it converges");
        let (jacobian, swept) = dense(&net, state.as_slice());

        let mut room = State::ZERO;
        let norm = net.jacobian_norm(&state, &mut room, 3000).expect("finite");
        let wanted = radius(&(jacobian.transpose() * jacobian)).sqrt();
        assert!((norm - wanted).abs() < 1e-6 * wanted, "{norm} {wanted}");
        let mut room = State::ZERO;
        let found = net.sweep_radius(&state, &mut room, 4000).expect("finite");
        let wanted = radius(&swept);
        assert!((found - wanted).abs() < 5e-3 * wanted, "{found} {wanted}");

        // The mean of the penalty is that of the squares of all entries.
        let (mut workspace, mut units, mut sum) = (Workspace::<Net>::ZERO, UnitRoom::ZERO, 0.0);
        let mut objective = fine(JacobianPenalty { loss: OfOutputs(MeanSquared), weight: 11.0, seed: 0 });
        const DRAWS: u32 = 2000;
        let mut gradient = Net::ZERO;
        let alone = net
            .gradient(&fine(MeanSquared), &input, &[0.5, 0.5], &mut workspace, &mut gradient)
            .expect("solved")
            .loss;
        for seed in 0..DRAWS {
            objective.loss.seed = seed;
            let learned = net.gradient_of_units(
                &objective,
                &input,
                &[0.5, 0.5],
                &mut workspace,
                &mut units,
                &mut gradient,
            );
            sum += learned.expect("solved").loss - alone;
        }
        let (found, wanted) = (sum / f64::from(DRAWS), jacobian.iter().map(|x| x * x).sum::<f64>());
        assert!((found - wanted).abs() < 0.06 * wanted, "{found} {wanted}");
    }
    let mut room = State::ZERO;
    let bad = {
        let mut net = Net::ZERO;
        net.layer_mut::<2>().w[0] = f64::NAN;
        net.sweep_radius(&Net::state(), &mut room, 10)
    };
    assert!(bad.is_err());
    assert_eq!(Net::ZERO.sweep_radius(&Net::state(), &mut room, 10), Ok(0.0));
}
