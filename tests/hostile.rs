//! NaN, infinities, subnormal and huge numbers everywhere: an error or a finite result, never a panic, never an
//! endless loop; and what an error promises to leave alone keeps every bit.

use attractor::kernel::{
    self, Base, HardTanh, Identity, LeakyRelu, Matrix, MatrixMut, Product, Relu, Scalar, Sigmoid, Tanh,
};
use attractor::learn::{
    Adam, Cosine, CrossEntropy, LearnError, Loss, LossError, MeanSquared, Method, Objective, Optimizer, Sgd,
    Trainer, UnrolledTape, UpdateError, clip,
};
use attractor::network::NoMemory;
use attractor::simd::Backend;
use attractor::solve::Solver;
use attractor::{Dense, Injection, Rule, Setting, SolveError, Stop, Workspace, fnn};
use nalgebra::SMatrix;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// What no well-meaning caller hands over.
trait Hostile: Scalar {
    const ALL: [Self; 18];
}

macro_rules! hostile {
    ($scalar:ident, $huge:literal) => {
        impl Hostile for $scalar {
            const ALL: [Self; 18] = [
                $scalar::NAN,
                -$scalar::NAN,
                $scalar::INFINITY,
                $scalar::NEG_INFINITY,
                $scalar::MAX,
                $scalar::MIN,
                $huge,
                -$huge,
                1e30,
                $scalar::MIN_POSITIVE,
                -$scalar::MIN_POSITIVE,
                $scalar::from_bits(1),
                -$scalar::from_bits(1),
                0.0,
                -0.0,
                1.0,
                -1.0,
                0.1,
            ];
        }
    };
}
hostile!(f32, 1e38);
hostile!(f64, 1e308);

fn bits<T: Scalar>(values: &[T]) -> Vec<u64> {
    values.iter().map(|x| x.to_f64().to_bits()).collect()
}

fn finite<T: Scalar>(values: &[T]) -> bool {
    values.iter().all(|x| x.is_finite())
}

fn zero<T: Scalar>(values: &[T]) -> bool {
    values.iter().all(|x| x.to_f64().to_bits() == 0)
}

/// Whether a tolerance is in its range.
fn is_sound<T: Scalar>(tolerance: T) -> bool {
    tolerance >= T::ZERO && tolerance <= T::MAX
}

macro_rules! networks {
    ($module:ident, $scalar:ty, $batch:literal, [$($shape:tt)*]) => {
        mod $module {
            use super::*;

            type T = $scalar;
            const B: usize = $batch;
            type Net = fnn![$($shape)*];
            type Inputs = SMatrix<T, B, 3>;
            type Outputs = SMatrix<T, B, 2>;

            /// All that a caller can hand over.
            #[derive(Clone, Debug)]
            struct Given {
                net: Net,
                input: Inputs,
                target: Outputs,
                state: attractor::State<Net, B>,
                deltas: attractor::State<Net, B>,
                absolute: T,
                limit: usize,
                backend: Backend,
            }

            impl Given {
                /// Well-meant values.
                fn tame(seed: u64, backend: Backend) -> Self {
                    let mut random = SmallRng::seed_from_u64(seed);
                    let mut net = Net::ZERO;
                    net.initialize(&mut random);
                    let mut draw = |_, _| random.random_range(-1.0..1.0);
                    let (input, target) = (Inputs::from_fn(&mut draw), Outputs::from_fn(&mut draw));
                    let (state, deltas) = (Net::state(), Net::state());
                    Self { net, input, target, state, deltas, absolute: 1e-4, limit: 60, backend }
                }
                /// Every place a number can be in.
                fn places(&mut self) -> [&mut [T]; 5] {
                    [
                        self.net.params_mut(),
                        self.input.as_mut_slice(),
                        self.target.as_mut_slice(),
                        self.state.as_mut_slice(),
                        self.deltas.as_mut_slice(),
                    ]
                }

                fn check(&self) {
                    self.solves();
                    self.sweeps();
                    self.goes_back();
                    for rule in [
                        Method::Implicit(Stop::residual(self.absolute).at_most(self.limit)),
                        Method::Literal(Stop::residual(1e-4)),
                        Method::Truncated(self.limit.min(3)),
                    ] {
                        self.learns(rule);
                    }
                    self.unrolls();
                }

                fn solves(&self) {
                    let on = self.net.on(self.backend);
                    let tolerance = Stop::residual(self.absolute).at_most(self.limit);
                    let good = finite(self.input.as_slice()) && finite(self.net.params());
                    for tolerance in [tolerance, tolerance.or_relative(1e-3), Stop::after(self.limit)] {
                        let exact = tolerance == Stop::after(self.limit);
                        let mut state = self.state.clone();
                        let result = on.solve(&self.input, &mut state, tolerance);
                        let sound = self.limit > 0 && (exact || is_sound(self.absolute));
                        assert_eq!(matches!(result, Err(SolveError::Setting(_))), !sound, "{tolerance:?}");
                        match result {
                            Ok(solved) => {
                                assert!(solved.sweeps <= self.limit && solved.residual.is_finite());
                                assert!(good, "accepted {self:?}");
                                assert!(finite(state.as_slice()), "{solved:?} {state:?}");
                                if !exact && tolerance == tolerance.or_relative(0.0) {
                                    assert!(solved.residual <= self.absolute, "{solved:?} {:?}", self.absolute);
                                }
                            }
                            Err(SolveError::NotConverged { sweeps, residual }) => {
                                assert!(!exact && good && residual.is_finite());
                                assert_eq!(sweeps, self.limit);
                                let mut kept = self.state.clone();
                                on.solve(&self.input, &mut kept, Stop::after(self.limit)).unwrap();
                                if B == 1 {
                                    assert_eq!(bits(state.as_slice()), bits(kept.as_slice()), "the state is kept");
                                } else {
                                    assert!(finite(state.as_slice()));
                                }
                            }
                            Err(_) if !sound || !finite(self.input.as_slice()) => {
                                assert_eq!(bits(state.as_slice()), bits(self.state.as_slice()), "untouched");
                            }
                            Err(_) => assert!(zero(state.as_slice()), "reset"),
                        }
                    }
                }

                fn sweeps(&self) {
                    let on = self.net.on(self.backend);
                    let mut injection = Injection::<Net, B>::ZERO;
                    let driven = on.inject(&self.input, &mut injection);
                    if !finite(self.input.as_slice()) {
                        assert!(matches!(driven, Err(SolveError::NotFinite(_))));
                    }
                    // An injection that failed is of no use, and harmless too.
                    let mut state = self.state.clone();
                    for _ in 0..3 {
                        match on.sweep(&injection, &mut state) {
                            Ok(residual) => assert!(residual.is_finite() && finite(state.as_slice())),
                            Err(error) => {
                                assert!(matches!(error, SolveError::NotFinite(_)));
                                assert!(zero(state.as_slice()), "reset");
                            }
                        }
                    }
                }

                /// The adjoint and what follows it, each from hostile states, slopes and deltas.
                fn goes_back(&self) {
                    let tolerance = Stop::residual(self.absolute).at_most(self.limit);
                    for rule in [Method::Implicit(tolerance), Method::Literal(tolerance), Method::Truncated(2)] {
                        let mut deltas = self.deltas.clone();
                        let result =
                            self.net.on(self.backend).adjoint(rule, &self.state, &self.target, &mut deltas);
                        let sound = rule == Method::Truncated(2) || (self.limit > 0 && is_sound(self.absolute));
                        assert_eq!(matches!(result, Err(SolveError::Setting(_))), !sound, "{rule:?}");
                        match result {
                            Ok(solved) => {
                                assert!(solved.residual.is_finite());
                                assert!(finite(deltas.as_slice()));
                            }
                            Err(SolveError::NotConverged { sweeps, residual }) => {
                                assert!(residual.is_finite() && sweeps == self.limit);
                                assert!(finite(deltas.as_slice()));
                            }
                            Err(_) if !sound => assert_eq!(bits(deltas.as_slice()), bits(self.deltas.as_slice())),
                            Err(_) => assert!(zero(deltas.as_slice()), "reset"),
                        }
                    }
                    let mut gradient = self.accumulator();
                    match Net::accumulate(&self.input, &self.state, &self.deltas, &mut gradient) {
                        Ok(()) => assert!(finite(gradient.params())),
                        Err(error) => {
                            assert!(matches!(error, LearnError::NotFinite(_)));
                            assert_eq!(bits(gradient.params()), bits(self.accumulator().params()));
                        }
                    }
                    // What the slope held before is of no account.
                    for before in [0.0, T::NAN, T::INFINITY, T::MAX] {
                        let mut slope = Inputs::from_element(before);
                        let went = self.net.input_gradient(self.deltas.first(), &mut slope);
                        assert_eq!(went.is_ok(), finite(slope.as_slice()), "{before:?} {slope:?}");
                    }
                }

                /// A gradient that already holds something.
                fn accumulator(&self) -> Net {
                    let mut gradient = Net::ZERO;
                    for (i, g) in gradient.params_mut().iter_mut().enumerate() {
                        *g = [0.25, -0.0, T::MAX, T::MIN, T::MIN_POSITIVE][i % 5];
                    }
                    gradient
                }

                fn judge(&self, result: Result<attractor::learn::GradientReport<T>, LearnError<T>>, gradient: &Net) {
                    match result {
                        Ok(learned) => {
                            assert!(learned.loss.is_finite() && finite(gradient.params()), "{learned:?}");
                            assert!(learned.solve.residual.is_finite() && learned.adjoint.residual.is_finite());
                            assert!(finite(self.input.as_slice()), "accepted {self:?}");
                            assert!(finite(self.net.params()), "accepted {self:?}");
                        }
                        Err(_) => assert_eq!(
                            bits(gradient.params()),
                            bits(self.accumulator().params()),
                            "an error accumulates nothing"
                        ),
                    }
                }

                fn workspace(&self) -> Workspace<Net, B> {
                    let mut workspace = Workspace::<Net, B>::ZERO;
                    workspace.state = self.state.clone();
                    workspace.adjoint = self.deltas.clone();
                    workspace
                }

                fn learns(&self, rule: Method<T>) {
                    let on = self.net.on(self.backend);
                    let solve = Stop::residual(self.absolute).at_most(self.limit);
                    let objective = Objective::new(MeanSquared).solve(solve).method(rule);
                    let mut gradient = self.accumulator();
                    let mut workspace = self.workspace();
                    let result =
                        on.gradient(&objective, &self.input, &self.target, &mut workspace, &mut gradient);
                    self.judge(result, &gradient);
                    if matches!(rule, Method::Implicit(_)) {
                        // One of the solvers, and not of every rule, for time.
                        let solvers = [Solver::damped(0.5), Solver::anderson(2), Solver::broyden(2)];
                        let objective = objective.solver(solvers[(self.limit + B) % 3]);
                        let mut room = vec![T::NAN; objective.room::<Net>(B)];
                        let (mut gradient, mut workspace) = (self.accumulator(), self.workspace());
                        let (input, target) = (&self.input, &self.target);
                        let result =
                            on.gradient_in(&objective, input, target, &mut workspace, &mut room, &mut gradient);
                        self.judge(result, &gradient);
                    }

                    let smoothing = self.target[0];
                    let objective = Objective::new(CrossEntropy::smoothed(smoothing)).solve(solve).method(rule);
                    for label in [0, 1, 2, usize::MAX] {
                        let mut labels = [1; B];
                        labels[B - 1] = label;
                        let mut gradient = self.accumulator();
                        let mut workspace = self.workspace();
                        let result =
                            on.gradient(&objective, &self.input, &labels, &mut workspace, &mut gradient);
                        self.judge(result, &gradient);
                        if label > 1 && !matches!(result, Err(LearnError::Solve(_) | LearnError::Adjoint(_))) {
                            if (0.0..=1.0).contains(&smoothing) {
                                let error = LossError::Label { classes: 2, found: label };
                                assert_eq!(format!("{result:?}"), format!("Err(Loss({error:?}))"));
                            } else {
                                let Err(LearnError::Loss(LossError::Setting(setting))) = result else {
                                    panic!("{result:?}")
                                };
                                assert_eq!(setting.name(), "CrossEntropy::smoothing");
                                assert!(!(0.0..=1.0).contains(&setting.value), "{setting}");
                            }
                        }
                    }
                }

                fn unrolls(&self) {
                    let mut gradient = self.accumulator();
                    let mut tape = UnrolledTape::<Net, B, 3>::ZERO;
                    tape.start = self.state.clone();
                    let mut workspace = self.workspace();
                    let result = self.net.on(self.backend).gradient_unrolled(
                        &MeanSquared, &self.input, &self.target, &mut tape, &mut workspace, &mut gradient,
                    );
                    self.judge(result, &gradient);
                    if result.is_ok() {
                        assert!(finite(self.net.params()));
                    }
                }
            }

            /// One hostile number in every single place, on the backends in turn.
            #[test]
            fn one_place() {
                let backends = Backend::available().count();
                for (turn, backend) in Backend::available().enumerate() {
                    let mut tame = Given::tame(1, backend);
                    tame.check();
                    for place in 0..5 {
                        for i in 0..tame.places()[place].len() {
                            for x in T::ALL.into_iter().skip((turn + i) % backends).step_by(backends) {
                                // What only the last sweep meets must be seen too.
                                for limit in [1, 60] {
                                    let mut given = Given { limit, ..tame.clone() };
                                    given.places()[place][i] = x;
                                    given.check();
                                }
                            }
                        }
                    }
                }
            }

            /// Two hostile numbers, each filling any of the places, in all combinations, on the backends in turn.
            #[test]
            fn all_places() {
                let backends = Backend::available().count();
                for (turn, backend) in Backend::available().enumerate() {
                    for combination in 0..3_usize.pow(5) {
                        for (i, x) in T::ALL.into_iter().enumerate().skip((turn + combination) % backends).step_by(backends) {
                            for y in [x, T::ALL[(i + 5) % 18], T::ALL[(i + 11) % 18]] {
                                let mut given = Given::tame(2, backend);
                                given.limit = 7;
                                for (place, values) in given.places().into_iter().enumerate() {
                                    match combination / 3_usize.pow(place as u32) % 3 {
                                        0 => {}
                                        1 => values.fill(x),
                                        _ => values.fill(y),
                                    }
                                }
                                given.check();
                            }
                        }
                    }
                }
            }

            /// Tolerances and limits.
            #[test]
            fn tolerances() {
                for backend in Backend::available() {
                    for absolute in T::ALL {
                        for limit in [0, 1, 2, 40] {
                            for place in 0..6 {
                                let mut given = Given { absolute, limit, ..Given::tame(3, backend) };
                                if place < 5 {
                                    given.places()[place].fill(absolute);
                                }
                                given.check();
                            }
                            let given = Given::tame(3, backend);
                            let mut state = Net::state::<B>();
                            let on = given.net.on(backend);
                            for tolerance in [Stop::residual(absolute), Stop::relative(absolute)] {
                                let result = on.solve(&given.input, &mut state, tolerance.at_most(limit));
                                let sound = limit > 0 && is_sound(absolute);
                                let refused = matches!(result, Err(SolveError::Setting(_)));
                                assert_eq!(refused, !sound, "{absolute:?} {limit} {result:?}");
                                if limit == 40 && absolute >= 0.01 && absolute.is_finite() {
                                    assert!(result.is_ok(), "{absolute:?} {result:?}");
                                }
                            }
                        }
                    }
                }
            }

            /// Any bits anywhere.
            #[test]
            fn any_bits() {
                let number = prop_oneof![
                    6 => -1.0..1.0 as T,
                    1 => proptest::sample::select(T::ALL.to_vec()),
                    1 => any::<T>(),
                ];
                let places = proptest::collection::vec((0..5_usize, any::<usize>(), number), 0..12);
                let backends: Vec<Backend> = Backend::available().collect();
                let all = (places, proptest::sample::select(backends), any::<u64>(), 1..30_usize);
                let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() });
                runner
                    .run(&all, |(changes, backend, seed, limit)| {
                        let mut given = Given { limit, ..Given::tame(seed, backend) };
                        for (place, at, x) in changes {
                            let values = &mut *given.places()[place];
                            values[at % values.len()] = x;
                        }
                        given.check();
                        Ok(())
                    })
                    .unwrap();
            }

            /// A loss of the user's that goes wrong.
            #[test]
            fn losses_that_go_wrong() {
                struct Wrong(T, T);
                impl Loss<Outputs, ()> for Wrong {
                    type Scalar = T;
                    fn evaluate(&self, _: &Outputs, (): &(), gradient: &mut Outputs) -> Result<T, LossError> {
                        gradient.fill(0.5);
                        gradient[B] = self.1;
                        if self.0 == 7.0 { Err(LossError::Target("seven")) } else { Ok(self.0) }
                    }
                }
                let given = Given::tame(4, Backend::best());
                for (loss, slope) in T::ALL.into_iter().flat_map(|x| T::ALL.map(|y| (x, y))).chain([(7.0, 0.0)]) {
                    let objective = Objective::new(Wrong(loss, slope));
                    let (mut gradient, mut workspace) = (given.accumulator(), given.workspace());
                    let result =
                        given.net.gradient(&objective, &given.input, &(), &mut workspace, &mut gradient);
                    given.judge(result, &gradient);
                    if loss == 7.0 {
                        assert_eq!(result, Err(LearnError::Loss(LossError::Target("seven"))));
                    } else if !loss.is_finite() || !slope.is_finite() {
                        assert!(matches!(result, Err(LearnError::NotFinite(_))), "{loss} {slope}");
                    } else if slope.abs() <= 1.0 {
                        assert!(result.is_ok(), "{loss} {slope}: {result:?}");
                    }
                }
            }

            /// A training step that fails changes neither the network nor what the optimizer remembers.
            #[test]
            fn steps_that_fail() {
                let given = Given::tame(5, Backend::best());
                let mut failures = 0;
                for x in T::ALL {
                    for place in 0..6 {
                        let mut trainer: Trainer<Net, _, _, B> =
                            Trainer::new(given.net.clone(), Adam::<Net>::new(), Objective::new(MeanSquared));
                        trainer.step(&given.input, &given.target).unwrap();
                        let mut other = given.clone();
                        match place {
                            0 => other.input.fill(x),
                            1 => other.target.fill(x),
                            2 => trainer.rate = x,
                            3 => trainer.clip = Some(x),
                            4 => trainer.optimizer.epsilon = x,
                            _ => trainer.optimizer.first_decay = x,
                        }
                        let network = trainer.network.clone();
                        let optimizer = trainer.optimizer.clone();
                        if trainer.step(&other.input, &other.target).is_ok() {
                            assert!(finite(trainer.network.params()));
                        } else {
                            failures += 1;
                            assert_eq!(bits(trainer.network.params()), bits(network.params()));
                            assert_eq!(format!("{:#?}", trainer.optimizer), format!("{optimizer:#?}"));
                        }
                    }
                }
                assert!(failures >= 6 * 4, "NaN and infinity are refused everywhere but as a norm: {failures}");
            }
        }
    };
}

// Few types, for each is compiled for every backend; batches of three and five are a part of a vector, or one and a part.
networks!(one_sample, f32, 1, [3, 5, 3, 2]);
networks!(batch, f32, 3, [3, 5, 3, 2]);
networks!(batch_of_f64, f64, 5, [3, 5, 3, 2; feedback = Dense, scalar = f64]);

/// Cross-entropy against `ln sum exp` in f64, at logits no exponential survives; 17 samples, so that every backend
/// has a tail.
#[test]
fn cross_entropy_of_huge_logits() {
    const B: usize = 17;
    let patterns = [[1.0, -1.0, 0.0, -1.0], [1.0, 1.0, -1.0, -1.0], [-1.0; 4], [0.0, 0.5, 1.0, -0.5]];
    for size in [1.0_f32, 88.0, 1e4, 1e30, 1e38, 1.8e38, 3e38, f32::MAX, f32::MIN_POSITIVE] {
        for (pattern, smoothing) in patterns.iter().flat_map(|p| [0.0_f32, 0.1, 1.0].map(|s| (p, s))) {
            for label in 0..4 {
                // All samples but the last are the plain pattern.
                let logits = SMatrix::<f32, B, 4>::from_fn(|sample, class| {
                    pattern[class] * if sample + 1 < B { 1.0 } else { size }
                });
                let labels: [usize; B] =
                    core::array::from_fn(|sample| if sample + 1 < B { 0 } else { label });
                let mut wanted = 0.0;
                let mut slopes = SMatrix::<f64, B, 4>::zeros();
                for sample in 0..B {
                    let exact: [f64; 4] = core::array::from_fn(|class| f64::from(logits[(sample, class)]));
                    let top = exact.iter().fold(f64::MIN, |a, &b| a.max(b));
                    let sum: f64 = exact.iter().map(|z| (z - top).exp()).sum();
                    let s = f64::from(smoothing);
                    for class in 0..4 {
                        let share = s / 4.0 + if class == labels[sample] { 1.0 - s } else { 0.0 };
                        wanted += share * (top - exact[class] + sum.ln()) / B as f64;
                        slopes[(sample, class)] = ((exact[class] - top).exp() / sum - share) / B as f64;
                    }
                }
                let what = format!("{pattern:?} times {size:e}, label {label}, smoothing {smoothing}");
                for backend in Backend::available() {
                    let what = format!("{what}, {}", backend.name());
                    let mut found = SMatrix::zeros();
                    let loss = CrossEntropy::smoothed(smoothing)
                        .evaluate_on(backend, &logits, &labels, &mut found)
                        .unwrap();
                    // A single difference of logits may be more than f32 can say; its part in the mean is not.
                    let error = (f64::from(loss) - wanted).abs();
                    assert!(error <= 1e-5 * wanted + 1e-6, "{what}: {loss:e}, wanted {wanted:e}");
                    for (found, slope) in found.iter().zip(slopes.iter()) {
                        assert!((f64::from(*found) - slope).abs() < 1e-6, "{what}: {found} for {slope}");
                    }
                }
            }
        }
    }
}

/// An optimizer's update of two weights: an error changes nothing, not even what is remembered.
fn updates<T: Hostile, P: Optimizer<T> + Clone>(
    mut optimizer: P,
    weights: [T; 2],
    gradients: [[T; 2]; 2],
    rate: T,
) -> Result<(), UpdateError> {
    let mut now = weights;
    for gradient in gradients {
        let (before, remembered) = (now, optimizer.clone());
        match optimizer.update(&mut now, &gradient, rate) {
            Ok(()) => assert!(finite(&now), "{before:?} by {gradient:?} gives {now:?}"),
            Err(error) => {
                assert_eq!(bits(&now), bits(&before));
                let (mut a, mut b) = ([T::ONE; 2], [T::ONE; 2]);
                let mut remembered = remembered;
                let next = |p: &mut P, w: &mut [T; 2]| p.update(w, &[T::ONE; 2], T::from_f64(0.5));
                assert_eq!(next(&mut optimizer, &mut a), next(&mut remembered, &mut b));
                assert_eq!(bits(&a), bits(&b), "the memory is unchanged");
                return Err(error);
            }
        }
    }
    Ok(())
}

fn all_updates<T: Hostile>() {
    type Memory<T> = SMatrix<T, 2, 1>;
    let mut accepted = 0;
    let mut refused = 0;
    let mut note = |result: Result<(), UpdateError>| match result {
        Ok(()) => accepted += 1,
        Err(_) => refused += 1,
    };
    let tame = T::from_f64(0.01);
    for g in T::ALL {
        for w in T::ALL {
            for rate in T::ALL {
                for setting in T::ALL {
                    for decay in [T::ZERO, setting, -setting] {
                        let gradients = [[g, tame], [tame, T::ZERO]];
                        note(updates(Sgd::<NoMemory<T>>::plain().decay(decay), [w, tame], gradients, rate));
                        let momentum = Sgd::<Memory<T>>::with_momentum(setting).decay(decay);
                        note(updates(momentum, [w, tame], gradients, rate));
                        for which in 0..4 {
                            let mut adam = Adam::<Memory<T>>::new().decay(decay);
                            match which {
                                0 => adam.first_decay = setting,
                                1 => adam.second_decay = setting,
                                2 => adam.epsilon = setting,
                                _ => {
                                    adam.epsilon = setting;
                                    adam.second_decay = T::ZERO;
                                }
                            }
                            note(updates(adam, [w, tame], gradients, rate));
                        }
                    }
                }
            }
        }
    }
    assert!(accepted > 1000 && refused > 1000, "{accepted} accepted, {refused} refused");
}

#[test]
fn optimizers_of_f32() {
    all_updates::<f32>();
}

#[test]
fn optimizers_of_f64() {
    all_updates::<f64>();
}

/// The edges of what is accepted, one after the other with changing settings.
#[test]
fn optimizers_at_the_edge() {
    type Memory = SMatrix<f32, 2, 1>;
    let just_below_one = 1.0 - f32::EPSILON / 2.0;
    let largest = 4.6e18; // 2^62 = 4.61e18
    let mut random = SmallRng::seed_from_u64(9);
    for _ in 0..2000 {
        let mut adam = Adam::<Memory>::new();
        let mut sgd = Sgd::<Memory>::with_momentum(just_below_one);
        let (mut a, mut s) = ([f32::MAX, 1.0], [f32::MIN, 1.0]);
        for _ in 0..8 {
            let mut pick = |from: &[f32]| from[random.random_range(0..from.len())];
            adam.first_decay = pick(&[0.0, 0.9, just_below_one]);
            adam.second_decay = pick(&[0.0, 0.9, just_below_one]);
            adam.epsilon = pick(&[1e-45, 1e-8, 1e38]);
            sgd.momentum = pick(&[0.0, 0.9, just_below_one]);
            let gradient = [pick(&[largest, -largest, 0.0, 1e-30]), pick(&[largest, -largest, 0.0, 1e-45])];
            let rate = pick(&[0.0, 1e-45, 1.0, 1024.0]);
            let told = format!("{adam:#?} {gradient:?} {rate}");
            if adam.update(&mut a, &gradient, rate).is_ok() {
                assert!(finite(&a), "{told}: {a:?}");
            }
            sgd.update(&mut s, &gradient, rate).unwrap();
            assert!(finite(&s), "{told}: {s:?}");
        }
    }
    let mut weights = [1.0_f32; 3];
    let error = Sgd::plain().update(&mut weights, &[1.0; 2], 0.1);
    assert_eq!(error, Err(UpdateError::Length { expected: 3, found: 2 }));
    let error = Adam::<Memory>::new().update(&mut weights, &[1.0; 3], 0.1);
    assert_eq!(error, Err(UpdateError::Length { expected: 3, found: 2 }));
    assert_eq!(weights, [1.0; 3]);
}

fn clips<T: Hostile>() {
    for a in T::ALL {
        for b in T::ALL {
            for norm in T::ALL {
                let before = [a, b, T::ONE];
                let mut after = before;
                match clip(&mut after, norm) {
                    Ok(had) => {
                        assert!(had.is_finite() && finite(&after));
                        let exact = before.iter().map(|x| x.to_f64()).fold(0.0, f64::hypot);
                        assert!((had.to_f64() - exact).abs() <= 1e-6 * exact, "{had:?}, not {exact}");
                        let now = after.iter().map(|x| x.to_f64()).fold(0.0, f64::hypot);
                        assert!(now <= norm.to_f64() * (1.0 + 1e-6) + 1e-44, "{before:?} {norm:?} {after:?}");
                    }
                    Err(error) => {
                        assert_eq!(bits(&after), bits(&before), "{error:?}");
                        assert!(
                            !(norm > T::ZERO)
                                || !finite(&before)
                                || matches!(error, UpdateError::NotFinite(entry) if !before[entry].is_finite() || before[entry].magnitude() >= T::GRADIENT_LIMIT)
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn clipping() {
    clips::<f32>();
    clips::<f64>();
    assert_eq!(clip::<f32>(&mut [], 1.0), Ok(0.0));
}

/// A schedule gives a finite rate, or one that every optimizer refuses.
#[test]
fn schedules() {
    fn check<T: Hostile>() {
        let counts = [0, 1, 2, 1000, u32::MAX];
        for start in T::ALL {
            for peak in T::ALL {
                for end in T::ALL {
                    for (warm_up, steps) in counts.into_iter().flat_map(|a| counts.map(|b| (a, b))) {
                        for step in counts.into_iter().chain([500, 999, u32::MAX - 1]) {
                            let rate = Cosine { start, peak, end, warm_up, steps }.rate(step);
                            let tame = [start, peak, end].iter().all(|r| *r >= T::ZERO && *r <= T::ONE);
                            if tame {
                                assert!(rate >= T::ZERO && rate.to_f64() <= 1.0 + 1e-6, "{rate:?}");
                            } else if !rate.is_finite() {
                                let refused =
                                    Sgd::<NoMemory<T>>::plain().update(&mut [T::ONE], &[T::ONE], rate);
                                let rule = &Rule { name: "rate", range: "0 to 1024" };
                                let setting = Setting { rule, value: rate.to_f64() as f32 };
                                assert_eq!(refused, Err(UpdateError::Setting(setting)));
                            }
                        }
                    }
                }
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

/// Kernels hand NaN and infinity on, say so in the residual, and take any shape.
fn kernels<T: Hostile>(backend: Backend) {
    for (samples, units, inputs) in
        [(1, 3, 2), (1, 37, 5), (4, 3, 2), (35, 2, 1), (1, 0, 4), (0, 3, 2), (3, 2, 0)]
    {
        for x in T::ALL {
            for place in 0..5 {
                let fill = |here: usize, count: usize| -> Vec<T> {
                    let mut values = vec![T::from_f64(0.5); count];
                    if here == place
                        && let Some(last) = values.last_mut()
                    {
                        *last = x;
                    }
                    values
                };
                let (weights, operand) = (fill(0, units * inputs), fill(1, samples * inputs));
                let (bias, mut out) = (fill(2, units), fill(3, samples * units));
                let mut gradient = fill(4, units * inputs);
                let reaches =
                    |reads: &[usize], exists: bool| exists && reads.contains(&place) && !x.is_finite();
                let matrix = Matrix::new(&weights, units, inputs).unwrap();
                let batch = Matrix::new(&operand, samples, inputs).unwrap();
                let product = [Product { matrix, operand: batch }];
                let view = MatrixMut::new(&mut out, samples, units).unwrap();
                let changed = kernel::layer::<T, Tanh>(backend, Base::Bias(&bias), &product, view).unwrap();
                let read = if inputs == 0 { &[2][..] } else { &[0, 1, 2] };
                if reaches(read, samples * units > 0) {
                    assert!(changed.residual.to_f64().is_nan(), "{changed:?} {x:?} {place}");
                } else if place != 3 {
                    assert!(finite(&out), "{out:?}");
                }
                let deltas = out.clone();
                let deltas = Matrix::new(&deltas, samples, units).unwrap();
                let mut back = fill(3, samples * inputs);
                let view = MatrixMut::new(&mut back, samples, inputs).unwrap();
                let product = [Product { matrix, operand: deltas }];
                kernel::transposed(backend, Base::Zero, &product, view).unwrap();
                let view = MatrixMut::new(&mut gradient, units, inputs).unwrap();
                kernel::outer(backend, deltas, batch, view).unwrap();
            }
        }
    }
    for x in T::ALL {
        let mut values = [x; 37];
        kernel::activate::<T, Tanh>(backend, &mut values);
        kernel::activate::<T, Relu>(backend, &mut values);
        kernel::activate::<T, HardTanh>(backend, &mut values);
        kernel::activate::<T, Sigmoid>(backend, &mut values);
        kernel::activate::<T, LeakyRelu>(backend, &mut values);
        kernel::activate::<T, Identity>(backend, &mut values);
        let nan = x.to_f64().is_nan();
        for y in values {
            assert!(if nan { y.to_f64().is_nan() } else { y >= T::ZERO && y <= T::ONE }, "{x:?} {y:?}");
        }
        let mut values = [-x.magnitude(); 37];
        kernel::exp(backend, &mut values);
        for y in values {
            assert!(nan || (y >= T::ZERO && y.to_f64() <= 1.000_001), "exp {x:?}: {y:?}");
        }
    }
    kernel::activate::<T, Tanh>(backend, &mut []);
}

#[test]
fn kernels_of_f32_and_f64() {
    for backend in Backend::available() {
        kernels::<f32>(backend);
        kernels::<f64>(backend);
    }
}

/// No scalars, and as many rows or columns as there are numbers: nothing is done, soon.
#[test]
fn shapes_without_scalars() {
    for backend in Backend::available() {
        for (rows, cols) in [(0, usize::MAX), (usize::MAX, 0), (0, 0)] {
            let view = |mut data: MatrixMut<'_, f32>| data.fill_with(|x| x + 1.0);
            view(MatrixMut::new(&mut [], rows, cols).unwrap());
            let out = MatrixMut::new(&mut [], rows, cols).unwrap();
            let result = kernel::layer::<f32, Tanh>(backend, Base::Zero, &[], out);
            assert_eq!(result.map(|changed| changed.residual), Ok(0.0));
            let out = MatrixMut::new(&mut [], rows, cols).unwrap();
            let result = kernel::transposed::<f32>(backend, Base::Zero, &[], out);
            assert_eq!(result.map(|changed| changed.residual), Ok(0.0));
            let empty = Matrix::new(&[], 0, cols).unwrap();
            let nothing = Matrix::<f32>::new(&[], 0, 0).unwrap();
            kernel::outer(backend, empty, nothing, MatrixMut::new(&mut [], cols, 0).unwrap()).unwrap();
            kernel::outer(backend, nothing, empty, MatrixMut::new(&mut [], 0, cols).unwrap()).unwrap();
            let samples = Matrix::<f32>::new(&[], rows.max(cols), 0).unwrap();
            kernel::outer(backend, samples, samples, MatrixMut::new(&mut [], 0, 0).unwrap()).unwrap();
        }
        assert!(Matrix::<f32>::new(&[], usize::MAX, usize::MAX).is_err());
        assert!(Matrix::<f32>::new(&[], usize::MAX, 2).is_err());
        assert!(MatrixMut::<f32>::new(&mut [0.0; 6], 2, 2).is_err());
    }
}
