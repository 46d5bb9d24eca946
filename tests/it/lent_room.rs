//! Gradients in lent room: by any solver, where sweeps converge and where they do not, and of activations whose slope is a function of the sum,
//! against plain `f64` and finite differences; what is too small or out of its range changes nothing.

use crate::oracle::subject;
use attractor::adapt::{Adapted, AdapterTrainer, LowRank, ParamsOf};
use attractor::dynamic::{DynError, DynNetwork, DynTrainer};
use attractor::kernel::{Activation, Scalar, Sigmoid, Slope, Tanh};
use attractor::learn::{
    Adam, Descent, LearnError, Loss, MeanSquared, Method, Objective, OfOutputs, Outcome, Sgd, Trainer,
    UnitRoom, Unsolved,
};
use attractor::network::{Architecture, Flat, Takes};
use attractor::simd::{Backend, Lanes};
use attractor::solve::{MapError, Solver};
use attractor::{
    CertificateError, Dense, Feedforward, Injection, Network, NonFinite, Skip, SolveError, State, Stop,
    Threads, Tied, Workspace, fnn,
};
use nalgebra::{DMatrixView, SMatrix};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// z sigmoid(z). (Elfwing, Uchibe and Doya 2018.)
#[derive(Clone, Copy, Debug, Default)]
struct Silu;
impl Activation for Silu {
    const NAME: &'static str = "silu";
    const LIPSCHITZ: Option<f64> = Some(1.0999);
    const SLOPE: Slope = Slope::OfSum;
    #[inline(always)]
    fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector {
        lanes.mul(z, Sigmoid::value(lanes, z))
    }
    #[inline(always)]
    fn slope<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector {
        let s = Sigmoid::value(lanes, z);
        let rest = lanes.mul(z, lanes.sub(lanes.splat(T::ONE), s));
        lanes.mul_add(s, rest, s)
    }
    fn error<T: Scalar>() -> f64 {
        100.0 * T::TANH_ERROR
    }
}

/// The Gaussian error linear unit by tanh. (Hendrycks and Gimpel 2016.)
#[derive(Clone, Copy, Debug, Default)]
struct Gelu;
impl Gelu {
    /// tanh of the polynomial, and z cut to where that is not yet 1.
    #[inline(always)]
    fn parts<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> (L::Vector, L::Vector) {
        let most = lanes.splat(T::from_f64(16.0));
        let cut = lanes.max(lanes.splat(T::from_f64(-16.0)), lanes.min(most, z));
        let square = lanes.mul(cut, cut);
        let cubic = lanes.mul_add(lanes.splat(T::from_f64(0.044715)), square, lanes.splat(T::ONE));
        let scale = lanes.splat(T::from_f64((2.0 / core::f64::consts::PI).sqrt()));
        (T::tanh(lanes, lanes.mul(scale, lanes.mul(cut, cubic))), cut)
    }
}
impl Activation for Gelu {
    const NAME: &'static str = "gelu";
    const SLOPE: Slope = Slope::OfSum;
    #[inline(always)]
    fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector {
        let (t, _) = Self::parts(lanes, z);
        let half = lanes.mul(lanes.splat(T::from_f64(0.5)), z);
        lanes.mul_add(half, t, half)
    }
    #[inline(always)]
    fn slope<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector {
        let (t, cut) = Self::parts(lanes, z);
        let (one, half) = (lanes.splat(T::ONE), lanes.splat(T::from_f64(0.5)));
        let scale = (2.0 / core::f64::consts::PI).sqrt();
        let inner = lanes.mul_add(
            lanes.splat(T::from_f64(scale * 3.0 * 0.044715)),
            lanes.mul(cut, cut),
            lanes.splat(T::from_f64(scale)),
        );
        let bent = lanes.mul(lanes.mul(half, cut), lanes.mul(lanes.sub(one, lanes.mul(t, t)), inner));
        lanes.add(lanes.mul_add(half, t, half), bent)
    }
}

const FINE: Stop<f64> = Stop::residual(1e-14).at_most(3000);

/// The solvers there are, the last two with memory to spare.
fn solvers<T: Scalar>() -> [Solver<T>; 5] {
    [
        Solver::plain(),
        Solver::damped(T::from_f64(0.7)),
        Solver::anderson(3),
        Solver::anderson(5).damping(T::from_f64(0.9)),
        Solver::broyden(16),
    ]
}

fn draw(params: &mut [f64], size: f64, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    params.iter_mut().for_each(|w| *w = random.random_range(-size..size));
}

fn values<const B: usize, const N: usize>(seed: u64) -> SMatrix<f64, B, N> {
    let mut random = SmallRng::seed_from_u64(seed);
    SMatrix::from_fn(|_, _| random.random_range(-1.0..1.0))
}

/// A network of `f64` with a batch: what is compiled for its type. All else is compiled once for all of them.
struct Typed<'a, A: Takes<3, Scalar = f64>, const B: usize> {
    net: &'a mut Network<A>,
    x: SMatrix<f64, B, 3>,
    y: A::Output<B>,
}

impl<'a, A: Takes<3, Scalar = f64>, const B: usize> Typed<'a, A, B> {
    fn new(net: &'a mut Network<A>, x: SMatrix<f64, B, 3>, goal: &SMatrix<f64, B, 2>) -> Self {
        let mut y: A::Output<B> = Flat::ZERO;
        y.flat_mut().copy_from_slice(goal.as_slice());
        Self { net, x, y }
    }
}

trait Subject {
    fn params(&mut self) -> &mut [f64];
    fn target(&self) -> &[f64];
    fn units(&self) -> usize;
    /// Solved as far as `stop` says, from `units` on, by sweeps or by a solver.
    fn solve(
        &self,
        solver: Option<Solver<f64>>,
        stop: Stop<f64>,
        units: &mut [f64],
    ) -> Result<(), SolveError<f64>>;
    fn gradient(
        &self,
        backend: Backend,
        objective: Objective<MeanSquared, f64>,
        units: &[f64],
    ) -> Result<Vec<f64>, LearnError<f64>>;
}

impl<A: Takes<3, Scalar = f64>, const B: usize> Subject for Typed<'_, A, B>
where
    MeanSquared: Loss<A::Output<B>, A::Output<B>, Scalar = f64>,
{
    fn params(&mut self) -> &mut [f64] {
        self.net.params_mut()
    }
    fn target(&self) -> &[f64] {
        self.y.flat()
    }
    fn units(&self) -> usize {
        Network::<A>::UNITS * B
    }
    fn solve(
        &self,
        solver: Option<Solver<f64>>,
        stop: Stop<f64>,
        units: &mut [f64],
    ) -> Result<(), SolveError<f64>> {
        let on = self.net.on(Backend::portable());
        let mut state = State::<Network<A>, B>::ZERO;
        state.as_mut_slice().copy_from_slice(units);
        let solved = match solver {
            None => on.solve(&self.x, &mut state, stop),
            Some(solver) => {
                let mut room = vec![0.0; solver.room_of::<Network<A>>(B)];
                on.solve_in(&solver, &self.x, &mut state, stop, &mut room).map_err(|error| match error {
                    MapError::Solve(error) => error,
                    other => panic!("{other}"),
                })
            }
        };
        units.copy_from_slice(state.as_slice());
        solved.map(|_| ())
    }
    fn gradient(
        &self,
        backend: Backend,
        objective: Objective<MeanSquared, f64>,
        units: &[f64],
    ) -> Result<Vec<f64>, LearnError<f64>> {
        let mut room = vec![f64::NAN; objective.room::<Network<A>>(B)];
        let mut workspace = Workspace::<Network<A>, B>::ZERO;
        workspace.state.as_mut_slice().copy_from_slice(units);
        let mut gradient = Network::<A>::ZERO;
        let on = self.net.on(backend);
        on.gradient_in(&objective, &self.x, &self.y, &mut workspace, &mut room, &mut gradient)?;
        Ok(gradient.params().to_vec())
    }
}

/// The loss, solved as finely as can be from `start`, by sweeps or by Broyden's method.
fn loss(subject: &dyn Subject, start: &[f64], contracts: bool) -> f64 {
    let mut units = start.to_vec();
    let (solver, most) = if contracts { (None, 1e-12) } else { (Some(Solver::broyden(20)), 1e-11) };
    match subject.solve(solver, FINE, &mut units) {
        Err(SolveError::NotConverged { residual, .. }) => assert!(residual < most, "{residual:e}"),
        Err(error @ SolveError::NotFinite(_)) => panic!("{error}"),
        _ => {}
    }
    let target = subject.target();
    let output = &units[units.len() - target.len()..];
    output.iter().zip(target).map(|(h, y)| (h - y) * (h - y)).sum::<f64>() / target.len() as f64
}

/// The derivative of the loss by every parameter, by central differences.
fn differences(subject: &mut dyn Subject, start: &[f64], contracts: bool) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    (0..subject.params().len())
        .map(|i| {
            let was = subject.params()[i];
            let [high, low] = [STEP, -STEP].map(|step| {
                subject.params()[i] = was + step;
                loss(subject, start, contracts)
            });
            subject.params()[i] = was;
            (high - low) / (2.0 * STEP)
        })
        .collect()
}

/// The gradient of every parameter by every solver against central differences of the loss.
fn exact<A: Takes<3, Scalar = f64>, const B: usize>(zero: &Network<A>, size: f64, contracts: bool)
where
    MeanSquared: Loss<A::Output<B>, A::Output<B>, Scalar = f64>,
{
    for seed in 0..2 {
        let mut net = zero.clone();
        draw(net.params_mut(), size, seed);
        if !contracts {
            // Two layers that push each other back further than they came: one fixed point, and sweeps lead away from it.
            let (u, w) = (A::LAYOUT.u(1).unwrap(), A::LAYOUT.w(2).unwrap());
            for (row, column) in (0..5).flat_map(|row| (0..4).map(move |column| (row, column))) {
                let back = net.params()[w.start + 4 * row + column];
                net.params_mut()[u.start + 5 * column + row] = -5.0 * back;
            }
        }
        let mut typed = Typed::<A, B>::new(&mut net, values(seed + 100), &values(seed + 200));
        exact_of(&format!("{zero:?}"), &mut typed, contracts);
    }
}

fn exact_of(what: &str, subject: &mut dyn Subject, contracts: bool) {
    // From where differences start too, so that all are at one fixed point.
    let mut start = vec![0.0; subject.units()];
    let found = subject.solve(Some(Solver::broyden(20)), FINE, &mut start);
    assert!(!matches!(found, Err(SolveError::NotConverged { residual: 1e-11.., .. })));
    if !contracts {
        let mut units: Vec<f64> = start.iter().map(|h| h + 1e-6).collect();
        let solved = subject.solve(None, Stop::residual(1e-10).at_most(200), &mut units);
        assert!(solved.is_err(), "sweeps were to lead away");
    }
    let wanted = differences(subject, &start, contracts);
    let objective = Objective::new(MeanSquared)
        .solve(Stop::residual(1e-12).at_most(1000))
        .method(Method::Implicit(Stop::relative(1e-12).at_most(1000)));
    for backend in Backend::available() {
        for solver in solvers().into_iter().skip(if contracts { 0 } else { 2 }) {
            let found = subject.gradient(backend, objective.solver(solver), &start);
            let found = found.unwrap_or_else(|error| panic!("{what} {solver:?}: {error}"));
            near(&format!("{what} {} {solver:?}", backend.name()), &found, &wanted);
        }
    }
}

fn near(what: &str, found: &[f64], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (i, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert!((found - wanted).abs() < 1e-6, "{what} {i}: {found} {wanted}");
    }
}

/// [`exact`] of a type, with so many samples.
macro_rules! exact {
    ($net:ty, $size:literal, $samples:literal, $contracts:literal) => {
        exact::<_, $samples>(&<$net>::ZERO, $size, $contracts)
    };
}

#[test]
fn gradients_by_any_solver_are_exact() {
    exact!(fnn![3, 5, 4, 2; scalar = f64], 0.4, 1, true);
    exact!(fnn![3, 5, 4, 2; scalar = f64], 0.4, 5, true);
    exact!(fnn![3, 5, 4, 2; feedback = Dense, scalar = f64], 0.4, 5, true);
    exact!(fnn![3, 5, 4, 2; feedback = Skip, scalar = f64], 0.4, 5, true);
    exact!(fnn![3, 5, 4, 2; feedback = Tied<60>, scalar = f64], 0.5, 33, true);
    exact!(fnn![3, 5, 4, 2; feedback = Feedforward, scalar = f64], 0.5, 5, true);
}

#[test]
fn gradients_are_exact_where_sweeps_lead_away() {
    exact!(fnn![3, 5, 4, 2; scalar = f64], 0.6, 1, false);
    exact!(fnn![3, 5, 4, 2; scalar = f64], 0.6, 4, false);
    exact!(fnn![3, 5, 4, 2; hidden = Silu, scalar = f64], 0.6, 4, false);
}

#[test]
fn gradients_with_slopes_of_sums_are_exact() {
    exact!(fnn![3, 5, 4, 2; hidden = Silu, scalar = f64], 0.4, 1, true);
    exact!(fnn![3, 5, 4, 2; hidden = Silu, output = Tanh, scalar = f64], 0.4, 5, true);
    exact!(fnn![3, 5, 4, 2; hidden = Tanh, output = Gelu, scalar = f64], 0.4, 5, true);
    exact!(fnn![3, 5, 4, 2; feedback = Dense, hidden = Gelu, output = Silu, scalar = f64], 0.4, 33, true);
    exact!(fnn![3, 5, 4, 2; feedback = Skip, hidden = Silu, scalar = f64], 0.4, 5, true);
    exact!(fnn![3, 5, 4, 2; feedback = Tied<60>, hidden = Gelu, scalar = f64], 0.5, 5, true);
    exact!(fnn![3, 5, 4, 2; feedback = Feedforward, hidden = Gelu, scalar = f64], 0.5, 5, true);
}

/// The gradient of an adapter, by every solver, with slopes of values and of sums.
#[test]
fn gradients_of_adapters_are_exact() {
    fn check<H: Activation>()
    where
        Network<Of<H>>: Sized,
    {
        type Adapter = LowRank<2>;
        let mut net = Network::<Of<H>>::ZERO;
        draw(net.params_mut(), 0.4, 1);
        let (x, y) = (values::<5, 3>(2), values::<5, 2>(3));
        let mut adapted = Adapted::<Network<Of<H>>, Adapter>::new(&net, 4);
        let mut random = SmallRng::seed_from_u64(5);
        adapted.params_mut().flat_mut().iter_mut().for_each(|p| *p = random.random_range(-0.4..0.4));
        let mut wanted = Vec::new();
        for i in 0..adapted.params().flat().len() {
            const STEP: f64 = 1e-5;
            let mut at = |step: f64| {
                let was = adapted.params().flat()[i];
                adapted.params_mut().flat_mut()[i] = was + step;
                let mut merged = net.clone();
                adapted.merge_into(&mut merged).expect("it is finite");
                let typed = Typed::new(&mut merged, x, &y);
                let found = loss(&typed, &vec![0.0; typed.units()], true);
                adapted.params_mut().flat_mut()[i] = was;
                found
            };
            wanted.push((at(STEP) - at(-STEP)) / (2.0 * STEP));
        }
        for backend in Backend::available() {
            for solver in solvers() {
                let objective = Objective::new(MeanSquared)
                    .solve(Stop::residual(1e-12).at_most(1000))
                    .method(Method::Implicit(Stop::relative(1e-12).at_most(1000)))
                    .solver(solver);
                let mut room = vec![f64::NAN; objective.room::<Network<Of<H>>>(5)];
                let (mut workspace, mut gradient) =
                    (Workspace::ZERO, ParamsOf::<Network<Of<H>>, Adapter>::ZERO);
                adapted
                    .on(backend)
                    .gradient_in(&objective, &x, &y, &mut workspace, &mut room, &mut gradient)
                    .expect("it converges");
                near(&format!("{} {solver:?}", backend.name()), gradient.flat(), &wanted);
            }
        }
    }
    check::<Tanh>();
    check::<Silu>();
    check::<Gelu>();
}
type Of<H> = attractor::network::Fnn<
    3,
    attractor::Layer<5, attractor::Layer<4, attractor::Layer<2>>>,
    f64,
    attractor::Adjacent,
    H,
>;

/// Steps in lent room are those without it, where both are possible, and the network learns all the same.
#[test]
fn trainers_learn_by_any_solver() {
    type Net = fnn![3, 9, 6, 2];
    const B: usize = 7;
    let x = values::<B, 3>(1).map(|x| x as f32);
    let y = values::<B, 2>(2).map(|y| y as f32);
    let mut net = Net::ZERO;
    net.initialize(&mut SmallRng::seed_from_u64(3));
    let start = net;
    for backend in subject::backends() {
        for solver in solvers() {
            let objective = Objective::new(MeanSquared)
                .solve(Stop::residual(1e-6))
                .method(Method::Implicit(Stop::relative(1e-6)));
            let mut plain: Trainer<Net, _, _, B> = Trainer::new(start.clone(), Sgd::plain(), objective);
            let mut other: Trainer<Net, _, _, B> =
                Trainer::new(start.clone(), Sgd::plain(), objective.solver(solver));
            let mut descent: Descent<Net, _, B> = Descent::new(start.clone(), objective.solver(solver), 0.1);
            (plain.backend, other.backend, descent.backend) = (backend, backend, backend);
            (plain.rate, other.rate) = (0.1, 0.1);
            let mut room = vec![f32::NAN; other.objective.room::<Net>(B)];
            let first = plain.step(&x, &y).unwrap().report.loss;
            let (step, down) =
                (other.step_in(&x, &y, &mut room).unwrap(), descent.step_in(&x, &y, &mut room));
            assert!((step.report.loss - first).abs() < 1e-5, "{solver:?}");
            for (learned, what) in [(&other.network, "trainer"), (&descent.network, "descent")] {
                for (found, wanted) in learned.params().iter().zip(plain.network.params()) {
                    assert!((found - wanted).abs() < 1e-5, "{what} {solver:?}: {found} {wanted}");
                }
            }
            assert_eq!(down.unwrap().outcome, Outcome::Solved);
            let mut last = first;
            for _ in 0..300 {
                last = other.step_in(&x, &y, &mut room).unwrap().report.loss;
            }
            assert!(last < 0.5 * first, "{solver:?}: {first} {last}");
        }
    }
}

/// A network with slopes of sums is trained, held to a rate and certified.
#[test]
fn networks_with_slopes_of_sums_learn_and_are_held() {
    type Net = fnn![3, 9, 6, 2; hidden = Silu];
    const B: usize = 7;
    let x = values::<B, 3>(1).map(|x| x as f32);
    let y = values::<B, 2>(2).map(|y| y as f32);
    let mut net = Net::ZERO;
    net.initialize(&mut SmallRng::seed_from_u64(3));
    let mut trainer: Trainer<Net, _, _, B> =
        Trainer::new(net, Adam::<Net>::new(), Objective::new(MeanSquared));
    trainer.rate = 0.02;
    let mut room = vec![0.0; trainer.objective.room::<Net>(B)];
    assert_eq!(room.len(), B * (Net::UNITS + 9));
    let first = trainer.step_in(&x, &y, &mut room).unwrap();
    let mut last = first;
    for _ in 0..300 {
        last = trainer.step_in(&x, &y, &mut room).unwrap();
        assert_eq!((last.outcome, last.saturated), (Outcome::Solved, None));
    }
    assert!(last.report.loss < 0.1 * first.report.loss, "{} {}", first.report.loss, last.report.loss);
    assert!(last.held.is_some_and(|held| held.rate <= 0.9));
    assert!(trainer.network.certify().unwrap().rate() <= 0.91);
    // Without a bound on the slope it is not held, and no certificate.
    type Unknown = fnn![3, 9, 6, 2; hidden = Gelu];
    assert!(matches!(Unknown::ZERO.certify(), Err(CertificateError::Activation { .. })));
    let mut trainer: Trainer<Unknown, _, _, B> =
        Trainer::new(Unknown::ZERO, Sgd::plain(), Objective::new(MeanSquared));
    assert!(matches!(trainer.step_in(&x, &y, &mut room), Err(LearnError::Update(_))));
    trainer.hold = None;
    trainer.step_in(&x, &y, &mut room).unwrap();
}

/// An adapter learns by a solver.
#[test]
fn adapters_learn_by_any_solver() {
    type Net = fnn![3, 9, 6, 2];
    type Adapter = LowRank<2>;
    let mut net = Net::ZERO;
    net.initialize(&mut SmallRng::seed_from_u64(3));
    net.limit_rate(0.5).unwrap();
    let (x, y) = (values::<7, 3>(1).map(|x| x as f32), values::<7, 2>(2).map(|y| y as f32));
    for solver in solvers() {
        let adam = Adam::<ParamsOf<Net, Adapter>>::new();
        let objective = Objective::new(MeanSquared).solver(solver);
        let adapted = Adapted::new(&net, 1);
        let mut trainer: AdapterTrainer<'_, Net, Adapter, _, _, 7> =
            AdapterTrainer::new(adapted, adam, objective);
        trainer.rate = 0.02;
        let mut room = vec![0.0; objective.room::<Net>(7)];
        let first = trainer.step_in(&x, &y, &mut room).unwrap().report.loss;
        let mut last = first;
        for _ in 0..200 {
            last = trainer.step_in(&x, &y, &mut room).unwrap().report.loss;
        }
        assert!(last < 0.7 * first, "{solver:?}: {first} {last}");
    }
}

/// The bits of the typed trainer.
#[test]
fn widths_chosen_when_running_learn_by_any_solver() {
    type Net = fnn![3, 9, 6, 2; feedback = Dense];
    const B: usize = 35;
    let x = values::<B, 3>(1).map(|x| x as f32);
    let y = values::<B, 2>(2).map(|y| y as f32);
    let mut net = Net::ZERO;
    net.initialize(&mut SmallRng::seed_from_u64(3));
    for solver in solvers() {
        let mut dynamic = DynNetwork::<f32>::zeros(Net::SHAPE).unwrap();
        dynamic.params_mut().copy_from_slice(net.params());
        let objective = Objective::new(MeanSquared).solver(solver);
        let mut trainer: Trainer<Net, _, _, B> = Trainer::new(net.clone(), Sgd::plain(), objective);
        // Its solver is given later: the first step takes the room.
        let mut other = DynTrainer::new(dynamic, Sgd::plain(), Objective::new(MeanSquared), B);
        other.objective = objective;
        (trainer.rate, other.rate) = (0.1, 0.1);
        let mut room = vec![0.0; objective.room::<Net>(B)];
        for _ in 0..5 {
            let wanted = trainer.step_in(&x, &y, &mut room).unwrap();
            let rows = DMatrixView::from_slice(x.as_slice(), B, 3);
            let targets = DMatrixView::from_slice(y.as_slice(), B, 2);
            let found = other.step(&rows, &targets).unwrap();
            assert_eq!((found.report, found.held), (wanted.report, wanted.held), "{solver:?}");
            assert_eq!(other.network.params(), trainer.network.params(), "{solver:?}");
        }
        assert_eq!(other.network.room(&solver, B), objective.room::<Net>(B));
    }
}

/// What is too small, out of its range or not finite is named, and nothing is changed.
#[test]
fn what_is_wrong_changes_nothing() {
    type Net = fnn![3, 5, 4, 2];
    let (x, y) = ([0.5, -0.25, 1.0], [0.5, -0.5]);
    let mut net = Net::ZERO;
    net.initialize(&mut SmallRng::seed_from_u64(3));
    let before = net.params().to_vec();
    let objective = Objective::new(MeanSquared).solver(Solver::anderson(2));
    let needed = objective.room::<Net>(1);
    assert_eq!(needed, 5 + Solver::<f32>::anderson(2).room(11, 1));
    let mut room = vec![0.0; needed];
    let short = needed - 1;

    let (mut workspace, mut gradient) = (Workspace::<Net>::ZERO, Net::ZERO);
    let on = net.on(Backend::best());
    assert_eq!(
        on.gradient(&objective, &x, &y, &mut workspace, &mut gradient),
        Err(LearnError::Room { needed, given: 0 })
    );
    assert_eq!(
        on.specialized().gradient(&objective, &x, &y, &mut workspace, &mut gradient),
        Err(LearnError::Room { needed, given: 0 })
    );
    let error =
        on.gradient_in(&objective, &x, &y, &mut workspace, &mut room[..short], &mut gradient).unwrap_err();
    assert_eq!(error, LearnError::Room { needed, given: short });
    assert_eq!(
        error.to_string(),
        format!("a room of {short} numbers was lent, {needed} are needed (`Objective::room`)")
    );
    for (solver, name) in [
        (Solver::anderson(0), "Solver::anderson"),
        (Solver::anderson(33), "Solver::anderson"),
        (Solver::broyden(0), "Solver::broyden"),
        (Solver::damped(0.0), "Solver::damping"),
        (Solver::damped(f32::NAN), "Solver::damping"),
        (Solver::plain().damping(1.5), "Solver::damping"),
    ] {
        let objective = objective.solver(solver);
        let error = on.gradient_in(&objective, &x, &y, &mut workspace, &mut room, &mut gradient).unwrap_err();
        let LearnError::Solve(SolveError::Setting(setting)) = error else { panic!("{solver:?}: {error}") };
        assert_eq!(setting.name(), name);
    }
    let wrong = [0.5, f32::NAN, 1.0];
    let result = on.gradient_in(&objective, &wrong, &y, &mut workspace, &mut room, &mut gradient);
    let input = NonFinite::Input { sample: 0, input: 1 };
    assert_eq!(result, Err(LearnError::Solve(SolveError::NotFinite(input))));
    assert!(workspace.state.as_slice().iter().all(|h| *h == 0.0));
    assert!(gradient.params().iter().all(|g| *g == 0.0));

    let mut trainer: Trainer<Net, _, _> = Trainer::new(net.clone(), Adam::<Net>::new(), objective);
    trainer.hold = None;
    assert_eq!(trainer.step(&x, &y), Err(LearnError::Room { needed, given: 0 }));
    assert_eq!(trainer.step_in(&x, &y, &mut room[..short]), Err(LearnError::Room { needed, given: short }));
    assert_eq!(trainer.step_specialized(&x, &y), Err(LearnError::Room { needed, given: 0 }));
    assert_eq!(trainer.step_in(&wrong, &y, &mut room), Err(LearnError::Solve(SolveError::NotFinite(input))));
    assert_eq!(trainer.network.params(), before);
    let mut descent: Descent<Net, _> = Descent::new(net.clone(), objective, 0.1);
    descent.hold = None;
    assert_eq!(descent.step(&x, &y), Err(LearnError::Room { needed, given: 0 }));
    assert_eq!(descent.step_in(&x, &y, &mut room[..short]), Err(LearnError::Room { needed, given: short }));
    assert_eq!(descent.network.params(), before);

    // A loss of all units takes no solver, and says so.
    let units = Objective::new(OfOutputs(MeanSquared)).solver(Solver::anderson(2));
    let mut of_units = UnitRoom::ZERO;
    let result = net.gradient_of_units(&units, &x, &y, &mut workspace, &mut of_units, &mut gradient);
    assert_eq!(
        result.unwrap_err().to_string(),
        "solve: `Objective::solver` is 2.0, its range is `Solver::plain` for a loss of all units"
    );

    // A weight that is not finite is named, by the solver as by sweeps, and so is what an adjoint overflows of.
    let mut broken = net.clone();
    broken.layer_mut::<2>().w[(1, 2)] = f32::INFINITY;
    let weight = NonFinite::Weight { matrix: 'W', layer: 2, row: 1, column: 2 };
    let result =
        broken.on(Backend::best()).gradient_in(&objective, &x, &y, &mut workspace, &mut room, &mut gradient);
    assert_eq!(result, Err(LearnError::Solve(SolveError::NotFinite(weight))));
    assert!(workspace.state.as_slice().iter().all(|h| *h == 0.0));

    // Where nothing converges, the policy holds.
    let never = objective.solve(Stop::residual(0.0).at_most(1));
    let mut trainer: Trainer<Net, _, _> = Trainer::new(net.clone(), Sgd::plain(), never);
    trainer.hold = None;
    let result = trainer.step_in(&x, &y, &mut room);
    assert!(matches!(result, Err(LearnError::Solve(SolveError::NotConverged { sweeps: 1, .. }))));
    trainer.unsolved = Unsolved::Skip;
    assert_eq!(trainer.step_in(&x, &y, &mut room).unwrap().outcome, Outcome::Skipped);
    assert_eq!(trainer.network.params(), before);
    trainer.unsolved = Unsolved::UseLast;
    assert_eq!(trainer.step_in(&x, &y, &mut room).unwrap().outcome, Outcome::Inexact);

    // Widths chosen when running.
    let mut dynamic = DynNetwork::<f32>::zeros(Net::SHAPE).unwrap();
    dynamic.params_mut().copy_from_slice(net.params());
    let mut workspace = attractor::dynamic::DynWorkspace::zeros(&dynamic, 1);
    let mut flat = vec![0.0; before.len()];
    let (row, target) = (DMatrixView::from_slice(&x, 1, 3), DMatrixView::from_slice(&y, 1, 2));
    let on = dynamic.on(Backend::best());
    let result = on.gradient(&objective, &row, &target, &mut workspace, &mut flat);
    assert_eq!(result, Err(DynError::Learn(LearnError::Room { needed, given: 0 })));
    let result = on.gradient_in(&objective, &row, &target, &mut workspace, &mut room[..short], &mut flat);
    assert_eq!(result, Err(DynError::Learn(LearnError::Room { needed, given: short })));
    let bad = DMatrixView::from_slice(&wrong, 1, 3);
    let result = on.gradient_in(&objective, &bad, &target, &mut workspace, &mut room, &mut flat);
    assert_eq!(result, Err(DynError::Learn(LearnError::Solve(SolveError::NotFinite(input)))));
    assert!(flat.iter().all(|g| *g == 0.0));
}

/// A solve of a network by a solver, in one call: what `Solver` gives of its map.
#[test]
fn networks_are_solved_by_any_solver() {
    type Net = fnn![3, 5, 4, 2; feedback = Dense, scalar = f64];
    const B: usize = 6;
    let mut net = Net::ZERO;
    draw(net.params_mut(), 0.5, 9);
    let x = values::<B, 3>(1);
    let mut injection = Injection::<Net, B>::ZERO;
    let stop = Stop::residual(1e-12).at_most(500);
    let mut wanted = State::<Net, B>::ZERO;
    net.solve(&x, &mut wanted, stop).unwrap();
    for backend in Backend::available() {
        let on = net.on(backend).threads(Threads::Rayon);
        on.inject(&x, &mut injection).unwrap();
        for solver in solvers() {
            let mut room = vec![f64::NAN; solver.room_of::<Net>(B)];
            let (mut one, mut other) = (State::<Net, B>::ZERO, State::<Net, B>::ZERO);
            let solved = on.solve_in(&solver, &x, &mut one, stop, &mut room).unwrap();
            let mut history = vec![f64::NAN; solver.room(Net::UNITS, B)];
            let mapped = solver.solve(&on.map(&injection), other.as_mut_slice(), stop, &mut history).unwrap();
            assert_eq!(solved, mapped);
            assert_eq!(one.as_slice(), other.as_slice());
            for (found, wanted) in one.as_slice().iter().zip(wanted.as_slice()) {
                assert!((found - wanted).abs() < 1e-10, "{} {solver:?}", backend.name());
            }
            let short = room.len() - 1;
            let result = on.solve_in(&solver, &x, &mut one, stop, &mut room[..short]);
            let length = MapError::Length { what: "room", needed: short + 1, given: short };
            assert_eq!(result, Err(length));
        }
    }
}
