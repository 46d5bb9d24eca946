//! Descent in place against the same step by way of a gradient; `kernel::affine` against the layer it is a part of.

use crate::oracle::subject::{self, Either};
use attractor::kernel::{self, Base, Identity, Matrix, MatrixMut, Product, Scalar};
use attractor::learn::{
    CrossEntropy, Descent, GradientReport, LearnError, Loss, LossError, MeanSquared, Method, Objective,
    UpdateError,
};
use attractor::network::Takes;
use attractor::simd::{Backend, Element};
use attractor::{Adjacent, Dense, Network, Rule, Setting, Skip, SolveError, Stop, Tied, Workspace, fnn};
use nalgebra::SMatrix;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Numbers between -1 and 1 that the scalar holds.
fn draw<T: Element>(random: &mut SmallRng, gain: f64) -> T {
    T::from_f64(gain * random.random_range(-1.0..1.0))
}

/// Whether `found` is `w - rate g`, but for how a step in place rounds: every sample's share on its own, where the
/// gradient rounds a sum of them. `samples` shares of at most `largest` each.
fn check<T: Element>(
    what: &str,
    found: &[T],
    before: &[T],
    gradient: &[T],
    rate: f64,
    samples: usize,
    epsilon: f64,
) {
    let largest = gradient.iter().fold(0.0, |most: f64, g| most.max(g.to_f64().abs()));
    assert!(largest > 1e-2, "{what}: a gradient of {largest}");
    assert!(rate * largest > 1e3 * epsilon, "{what}: a step of nothing");
    for (i, ((found, w), g)) in found.iter().zip(before).zip(gradient).enumerate() {
        let (w, g) = (w.to_f64(), g.to_f64());
        let expected = w - rate * g;
        let bound = (samples + 2) as f64 * epsilon * (w.abs() + rate * largest.max(1.0));
        let error = (found.to_f64() - expected).abs();
        assert!(
            error <= bound,
            "{what}: entry {i} went from {w} to {found:?}, expected {expected}, off by {error:e} of {bound:e}"
        );
    }
}

/// For a network type: descent on every backend, by `Descent` and, on the best one, by `Network::descend`.
macro_rules! descents {
    ($($name:ident: [$($width:literal),*], $feedback:ty, $scalar:ty, $batch:literal;)*) => {$(
        #[test]
        fn $name() {
            type Net = fnn![$($width),*; feedback = $feedback, scalar = $scalar];
            const INPUTS: usize = [$($width),*][0];
            const OUTPUTS: usize = { let all = [$($width),*]; all[all.len() - 1] };
            let random = &mut SmallRng::seed_from_u64(31);
            let tolerance = Stop::relative(100.0 * <$scalar>::EPSILON);
            let rule = Method::Implicit(tolerance);
            for round in 0..4 {
                let mut net = Net::ZERO;
                // So that wide layers settle as well.
                let gain = 0.9 / [$(f64::from($width)),*].into_iter().fold(1.0, f64::max).sqrt();
                net.params_mut().iter_mut().for_each(|w| *w = draw(random, gain));
                let x = SMatrix::<$scalar, $batch, INPUTS>::from_fn(|_, _| draw(random, 1.0));
                let y = SMatrix::<$scalar, $batch, OUTPUTS>::from_fn(|_, _| draw(random, 2.0));
                let labels: [usize; $batch] = core::array::from_fn(|s| (s + round) % OUTPUTS);
                let rate = [0.25, 1.0, 0.01, 3.0][round];
                let target = (y, labels);
                for loss in [Either::MeanSquared, Either::CrossEntropy(CrossEntropy::new())] {
                        let objective = Objective::new(loss).solve(tolerance).method(rule);
                        for backend in subject::backends() {
                            let what = format!("{}, round {round}", backend.name());
                            let (mut workspace, mut gradient) = (Workspace::<Net, $batch>::ZERO, Net::ZERO);
                            let learned = net
                                .on(backend)
                                .gradient(&objective, &x, &target, &mut workspace, &mut gradient)
                                .unwrap();
                            let mut descent: Descent<Net, _, $batch> =
                                Descent::new(net.clone(), objective, rate);
                            descent.backend = backend;
                            descent.hold = None;
                            // The solves are the same; only where the shares go is not.
                            assert_eq!(descent.step(&x, &target).map(|step| step.report), Ok(learned), "{what}");
                            assert_eq!(descent.workspace().state.as_slice(), workspace.state.as_slice());
                            assert_eq!(descent.workspace().adjoint.as_slice(), workspace.adjoint.as_slice());
                            check(
                                &what,
                                descent.network.params(),
                                net.params(),
                                gradient.params(),
                                f64::from(rate),
                                $batch,
                                f64::from(<$scalar>::EPSILON),
                            );
                            if backend == Backend::best() {
                                let mut other = net.clone();
                                let mut workspace = Workspace::<Net, $batch>::ZERO;
                                let result = other.descend(&objective, &x, &target, &mut workspace, rate);
                                assert_eq!(result, Ok(learned), "{what}");
                                assert_eq!(bits(other.params()), bits(descent.network.params()), "{what}");
                            }
                        }
                }
            }
        }
    )*};
}

descents! {
    adjacent_single: [5, 9, 7, 4], Adjacent, f32, 1;
    adjacent_five: [5, 9, 7, 4], Adjacent, f32, 5;
    dense_single: [6, 17, 8, 5, 3], Dense, f32, 1;
    skip_five: [6, 17, 8, 5, 3], Skip, f32, 5;
    dense_five: [6, 17, 8, 5, 3], Dense, f32, 5;
    adjacent_single_double: [5, 9, 7, 4], Adjacent, f64, 1;
    adjacent_five_double: [5, 9, 7, 4], Adjacent, f64, 5;
    dense_single_double: [6, 17, 8, 5, 3], Dense, f64, 1;
    dense_five_double: [6, 17, 8, 5, 3], Dense, f64, 5;
    tied_single: [6, 17, 8, 3], Tied<50>, f32, 1;
    tied_five: [6, 17, 8, 3], Tied<50>, f32, 5;
    wide_single: [33, 65, 48, 10], Adjacent, f32, 1;
}

/// Bits, so that a NaN is itself and 0 is not -0.
fn bits<T: Element>(values: &[T]) -> Vec<u64> {
    values.iter().map(|v| v.to_f64().to_bits()).collect()
}

/// A loss of 1, so steep that only small steps of it are finite: rate, samples and all.
#[derive(Clone, Copy)]
struct Steep;

impl<T: Element + nalgebra::Scalar, const B: usize, const N: usize> Loss<SMatrix<T, B, N>, SMatrix<T, B, N>>
    for Steep
{
    type Scalar = T;
    fn evaluate(
        &self,
        _: &SMatrix<T, B, N>,
        _: &SMatrix<T, B, N>,
        gradient: &mut SMatrix<T, B, N>,
    ) -> Result<T, LossError> {
        gradient.fill(T::HEADROOM * T::from_f64(1.0 / 64.0));
        Ok(T::ONE)
    }
}

type Kind<T> = fn(&LearnError<T>) -> bool;

/// A step, and whether the network is as it was.
fn attempt<T: Scalar, A: Takes<I, Scalar = T>, C, Y, const I: usize, const B: usize>(
    net: &Network<A>,
    backend: Backend,
    loss: C,
    (solve, rule): (Stop<T>, Method<T>),
    x: &SMatrix<T, B, I>,
    y: &Y,
    rate: T,
) -> (Result<GradientReport<T>, LearnError<T>>, bool)
where
    C: Loss<A::Output<B>, Y, Scalar = T> + Copy,
{
    let objective = Objective::new(loss).solve(solve).method(rule);
    let mut descent: Descent<Network<A>, C, B> = Descent::new(net.clone(), objective, rate);
    descent.backend = backend;
    descent.hold = None;
    let result = descent.step(x, y).map(|step| step.report);
    let same = bits(descent.network.params()) == bits(net.params());
    // What `descend` says and does is the same.
    if backend == Backend::best() {
        let (mut other, mut workspace) = (net.clone(), Workspace::<Network<A>, B>::ZERO);
        let also = other.descend(&objective, x, y, &mut workspace, rate);
        assert_eq!(also.is_ok(), result.is_ok());
        assert_eq!(bits(other.params()), bits(descent.network.params()));
    }
    (result, same)
}

macro_rules! failures {
    ($($name:ident: $feedback:ty, $scalar:ty, $batch:literal;)*) => {$(
        #[test]
        fn $name() {
            type Net = fnn![4, 9, 6, 3; feedback = $feedback, scalar = $scalar];
            let random = &mut SmallRng::seed_from_u64(32);
            let mut net = Net::ZERO;
            net.params_mut().iter_mut().for_each(|w| *w = draw(random, 0.3));
            let good = SMatrix::<$scalar, $batch, 4>::from_fn(|_, _| draw(random, 1.0));
            let good_y = SMatrix::<$scalar, $batch, 3>::from_fn(|_, _| draw(random, 1.0));
            let mut bad = good;
            bad[($batch - 1, 2)] = <$scalar>::NAN;
            let labels = [2; $batch];
            let mut wrong = labels;
            wrong[$batch - 1] = 3;
            let tolerance = Stop::relative(1e-5);
            let rule = Method::Implicit(tolerance);
            let one = Stop::residual(0.0).at_most(1);
            for backend in subject::backends() {
                let (result, same) = attempt(&net, backend, MeanSquared, (tolerance, rule), &good, &good_y, 0.5);
                assert!(result.is_ok() && !same, "{result:?}");
                let (result, same) = attempt(&net, backend, CrossEntropy::new(), (tolerance, rule), &good, &labels, 1024.0);
                assert!(result.is_ok() && !same, "{result:?}");

                for rate in [<$scalar>::NAN, -0.5, 2000.0, <$scalar>::INFINITY, <$scalar>::NEG_INFINITY] {
                    let (result, same) = attempt(&net, backend, MeanSquared, (tolerance, rule), &good, &good_y, rate);
                    let rule = &Rule { name: "rate", range: "0 to 1024" };
                    let setting = Setting { rule, value: f64::from(rate) as f32 };
                    let expected = LearnError::Update(UpdateError::Setting(setting));
                    assert_eq!(result, Err(expected), "rate {rate}");
                    assert!(same, "rate {rate} changed the network");
                }
                let refuses = |what: &str, (result, same): (Result<_, LearnError<$scalar>>, bool), kind: Kind<$scalar>| {
                    let error = result.map(|_: GradientReport<$scalar>| ()).expect_err(what);
                    assert!(kind(&error), "{what}, {}: {error:?}", backend.name());
                    assert!(same, "{what}, {}: changed the network", backend.name());
                };
                refuses(
                    "a NaN in the input",
                    attempt(&net, backend, MeanSquared, (tolerance, rule), &bad, &good_y, 0.5),
                    |error| matches!(error, LearnError::Solve(SolveError::NotFinite(_))),
                );
                refuses(
                    "a label out of range",
                    attempt(&net, backend, CrossEntropy::new(), (tolerance, rule), &good, &wrong, 0.5),
                    |error| matches!(error, LearnError::Loss(LossError::Label { classes: 3, found: 3, .. })),
                );
                refuses(
                    "a solve of one sweep",
                    attempt(&net, backend, MeanSquared, (one, rule), &good, &good_y, 0.5),
                    |error| matches!(error, LearnError::Solve(SolveError::NotConverged { sweeps: 1, .. })),
                );
                refuses(
                    "an adjoint of one sweep",
                    attempt(&net, backend, MeanSquared, (tolerance, Method::Implicit(one)), &good, &good_y, 0.5),
                    |error| matches!(error, LearnError::Adjoint(SolveError::NotConverged { sweeps: 1, .. })),
                );
                // Each of the two is fine alone.
                let (result, same) = attempt(&net, backend, Steep, (tolerance, rule), &good, &good_y, 0.5);
                assert!(result.is_ok() && !same, "{result:?}");
                refuses(
                    "huge deltas at a huge rate",
                    attempt(&net, backend, Steep, (tolerance, rule), &good, &good_y, 1024.0),
                    |error| matches!(error, LearnError::NotFinite(_)),
                );
            }
        }
    )*};
}

failures! {
    errors_change_nothing_adjacent_single: Adjacent, f32, 1;
    errors_change_nothing_adjacent_five: Adjacent, f32, 5;
    errors_change_nothing_dense_single: Dense, f32, 1;
    errors_change_nothing_dense_five: Dense, f32, 5;
    errors_change_nothing_double_single: Adjacent, f64, 1;
    errors_change_nothing_double_five: Dense, f64, 5;
}

/// Scalars with NaN around and between what a view sees: columns `stride` apart, from row `first` on.
struct Strided<T> {
    storage: Vec<T>,
    first: usize,
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<T: Element> Strided<T> {
    fn random(random: &mut SmallRng, rows: usize, cols: usize, first: usize, after: usize) -> Self {
        let stride = first + rows + after;
        let mut storage = vec![T::NAN; stride * cols];
        for column in storage.chunks_exact_mut(stride) {
            column[first..first + rows].iter_mut().for_each(|value| *value = draw(random, 1.0));
        }
        Self { storage, first, rows, cols, stride }
    }
    fn view(&self) -> Matrix<'_, T> {
        Matrix::new(&self.storage, self.stride, self.cols).unwrap().row_range(self.first, self.rows)
    }
    fn view_mut(&mut self) -> MatrixMut<'_, T> {
        let view = MatrixMut::new(&mut self.storage, self.stride, self.cols).unwrap();
        view.row_range(self.first, self.rows)
    }
    /// All that is not the view's is `other`.
    fn filled(&self, value: T, other: T) -> Self {
        let mut storage = vec![other; self.storage.len()];
        for column in storage.chunks_exact_mut(self.stride) {
            column[self.first..self.first + self.rows].fill(value);
        }
        Self { storage, ..*self }
    }
}

/// Rows before and after those of a view: none, or so that neither start nor stride suits a vector.
const AROUND: [(usize, usize); 3] = [(0, 0), (0, 2), (3, 1)];

fn affine_is_the_layer<T: Scalar>(seed: u64) {
    let random = &mut SmallRng::seed_from_u64(seed);
    for samples in [1, 2, 3, 8, 17, 32, 33, 70] {
        for (outputs, inputs, more) in [(1, 1, 1), (3, 5, 2), (8, 16, 4), (17, 9, 33), (65, 31, 7)] {
            for (at, (first, after)) in AROUND.into_iter().enumerate() {
                let mut strided = |rows, cols, turn: usize| {
                    let (first, after) = if turn == 0 { (first, after) } else { AROUND[(at + turn) % 3] };
                    Strided::<T>::random(random, rows, cols, first, after)
                };
                let (w, u) = (strided(outputs, inputs, 1), strided(outputs, more, 2));
                let (x, h) = (strided(samples, inputs, 0), strided(samples, more, 1));
                let (base, out) = (strided(samples, outputs, 2), strided(samples, outputs, 0));
                let bias: Vec<T> = (0..outputs).map(|_| draw(random, 1.0)).collect();
                let products = [
                    Product { matrix: w.view(), operand: x.view() },
                    Product { matrix: u.view(), operand: h.view() },
                ];
                for backend in Backend::available() {
                    for base in [Base::Zero, Base::Bias(&bias), Base::Matrix(base.view())] {
                        for products in [&products[..0], &products[..1], &products[..]] {
                            let what = format!(
                                "{outputs} x {inputs} and {more}, {samples} samples, {first} rows before and {after} \
                                 after, {} products, {}",
                                products.len(),
                                backend.name()
                            );
                            let mark = T::from_f64(7.0);
                            let mut layer = out.filled(T::ZERO, mark);
                            kernel::layer::<T, Identity>(backend, base, products, layer.view_mut()).unwrap();
                            for was in [T::ZERO, T::from_f64(-3.0), T::NAN, T::ONE / T::ZERO, T::MAX] {
                                let mut affine = out.filled(was, mark);
                                kernel::affine(backend, base, products, affine.view_mut()).unwrap();
                                // What is around the output is compared as well.
                                let (found, expected) = (bits(&affine.storage), bits(&layer.storage));
                                assert_eq!(found, expected, "{what}, over {was:?}");
                            }
                            assert!(layer.storage.iter().all(|value| value.is_finite()), "{what}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn affine_is_the_layer_before_its_activation() {
    subject::backends();
    affine_is_the_layer::<f32>(33);
    affine_is_the_layer::<f64>(34);
}
