//! A step by one sample in one pass over the weights: when it is made, and that its bits are those of gradient and update one after the other.

use crate::oracle::subject;
use attractor::dynamic::{DynNetwork, DynTrainer};
use attractor::kernel::{Identity, Scalar};
use attractor::learn::{
    Adam, Entrywise, LearnError, MeanSquared, Objective, Optimizer, Outcome, Sgd, Trainer, Unsolved,
    UpdateError,
};
use attractor::network::{Architecture, Flat, Fnn, NoMemory, Takes};
use attractor::simd::{Backend, Element};
use attractor::solve::Solver;
use attractor::{Dense, Feedforward, Layer, Network, Repeat, Skip, Stop, Tied, fnn};
use nalgebra::{DMatrixView, SMatrix};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::fmt::Debug;

/// An optimizer that counts its updates, and says what it does to every entry or keeps it to itself.
#[derive(Clone, Debug)]
struct Counting<P> {
    inner: P,
    says: bool,
    updates: usize,
}

impl<T: Scalar, P: Optimizer<T>> Optimizer<T> for Counting<P> {
    fn update(&mut self, params: &mut [T], gradient: &[T], rate: T) -> Result<(), UpdateError> {
        self.updates += 1;
        self.inner.update(params, gradient, rate)
    }
    fn entrywise(&mut self) -> Option<Entrywise<'_, T>> {
        if self.says { self.inner.entrywise() } else { None }
    }
}

fn counting<P: Clone>(inner: &P) -> [Counting<P>; 2] {
    [true, false].map(|says| Counting { inner: inner.clone(), says, updates: 0 })
}

/// So that a zero is not taken for a negative one.
fn bits<T: Element>(values: &[T]) -> Vec<u64> {
    values.iter().map(|value| value.to_f64().to_bits()).collect()
}

fn draw<T: Element>(random: &mut SmallRng) -> T {
    // Some are zero, as inputs often are.
    let x = random.random_range(-1.0..1.0);
    T::from_f64(if x < -0.7 { 0.0 } else { x })
}

/// Two trainers, of which one may make a step in one pass and the other may not, step by step in the three ways a step is made.
fn same<T: Scalar, A: Takes<I, Scalar = T>, P, const I: usize>(
    optimizer: &P,
    backend: Backend,
    one_pass: bool,
) where
    P: Optimizer<T> + Clone + Debug + PartialEq,
{
    let random = &mut SmallRng::seed_from_u64(11);
    let mut net = Network::<A>::boxed();
    net.params_mut().iter_mut().for_each(|w| *w = draw::<T>(random) * T::from_f64(0.4));
    net.limit_rate(T::from_f64(0.5)).expect("finite");
    let objective = Objective::new(MeanSquared);
    let [mut first, mut other] = counting(optimizer).map(|optimizer| {
        let mut trainer: Trainer<_, _, _> = Trainer::new(net.clone(), optimizer, objective);
        (trainer.rate, trainer.backend) = (T::from_f64(0.05), backend);
        trainer
    });
    let mut room = vec![T::ZERO; objective.solver(Solver::anderson(2)).room::<Network<A>>(1)];
    for step in 0..6 {
        let x: [T; I] = core::array::from_fn(|_| draw(random));
        let mut y = <A::Output<1> as Flat>::ZERO;
        y.flat_mut().iter_mut().for_each(|y| *y = draw(random));
        let what = format!("{net:?} on {}, step {step}, {optimizer:?}", backend.name());
        for trainer in [&mut first, &mut other] {
            trainer.objective = if step % 3 == 2 { objective.solver(Solver::anderson(2)) } else { objective };
        }
        let [found, exact] = [&mut first, &mut other].map(|trainer| match step % 3 {
            0 => trainer.step(&x, &y).expect("it converges"),
            1 => trainer.step_specialized(&x, &y).expect("it converges"),
            _ => trainer.step_in(&x, &y, &mut room).expect("it converges"),
        });
        assert_eq!(found, exact, "{what}");
        assert_eq!(bits(first.network.params()), bits(other.network.params()), "{what}");
        assert_eq!(bits(first.gradient().params()), bits(other.gradient().params()), "{what}");
        assert!(first.optimizer.inner == other.optimizer.inner, "{what}");
        assert_eq!(first.optimizer.updates, if one_pass { 0 } else { step + 1 }, "{what}");
        assert_eq!(other.optimizer.updates, step + 1, "{what}");
    }
    assert!(bits(first.network.params()) != bits(net.params()), "nothing was learnt");
}

/// Every optimizer, on every backend.
fn each<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(one_pass: bool) {
    let number = T::from_f64;
    for backend in subject::backends() {
        same::<T, A, _, I>(&Sgd::<NoMemory<T>>::plain(), backend, one_pass);
        same::<T, A, _, I>(&Sgd::<NoMemory<T>>::plain().decay(number(0.1)), backend, one_pass);
        let momentum = Sgd::<Network<A>>::with_momentum(number(0.9)).decay(number(0.1));
        same::<T, A, _, I>(&momentum, backend, one_pass);
        same::<T, A, _, I>(&Adam::<Network<A>>::new().decay(number(0.1)), backend, one_pass);
    }
}

macro_rules! forms {
    ($($name:ident: $net:ty, $inputs:literal, $one_pass:literal;)*) => {$(
        #[test]
        fn $name() {
            each::<_, <$net as Is>::Architecture, $inputs>($one_pass);
        }
    )*};
}

/// What a network is one of.
trait Is {
    type Architecture: Architecture;
}
impl<A: Architecture> Is for Network<A> {
    type Architecture = A;
}

forms! {
    adjacent: fnn![5, 9, 7, 4], 5, true;
    // Whole vectors on every backend, and one unit.
    whole: fnn![16, 32, 16, 1], 16, true;
    doubles: fnn![5, 17, 3, 2; scalar = f64], 5, true;
    // A column is more than is made at once.
    wide: fnn![3, 1100, 2], 3, true;
    one_layer: fnn![6, 5], 6, true;
    dense: fnn![5, 9, 7, 6, 4; feedback = Dense], 5, true;
    skip: fnn![5, 9, 7, 6, 4; feedback = Skip], 5, true;
    feedforward: fnn![5, 9, 7, 4; feedback = Feedforward], 5, true;
    // W feeds back too: an entry is two products.
    tied: fnn![5, 9, 7, 4; feedback = Tied<50>], 5, false;
    // Two layers have one W.
    repeated: Network<Fnn<5, Layer<7, Layer<7, Repeat<7, Layer<7, Layer<2>>>>>>>, 5, false;
}

type Net = fnn![3, 6, 2];

fn net() -> Net {
    let random = &mut SmallRng::seed_from_u64(5);
    let mut net = Net::ZERO;
    net.params_mut().iter_mut().for_each(|w| *w = random.random_range(-0.4..0.4));
    net
}

/// What is clipped, of several samples or of all units is made the longer way.
#[test]
fn other_steps_are_not_one_pass() {
    const X: [f32; 3] = [0.5, -1.0, 0.25];
    let objective = Objective::new(MeanSquared);
    let [optimizer, _] = counting(&Adam::<Net>::new());
    let mut trainer: Trainer<_, _, _> = Trainer::new(net(), optimizer.clone(), objective);
    trainer.clip = Some(0.01);
    let step = trainer.step(&X, &[1.0, -1.0]).expect("it converges");
    assert!(step.norm.is_some_and(|norm| norm > 0.01) && trainer.optimizer.updates == 1);
    let norm = trainer.gradient().params().iter().map(|g| g * g).sum::<f32>().sqrt();
    assert!((norm - 0.01).abs() < 1e-6, "{norm}");

    let mut trainer: Trainer<_, _, _, 2> = Trainer::new(net(), optimizer, objective);
    let (x, y) = (SMatrix::<f32, 2, 3>::from_fn(|_, j| X[j]), SMatrix::<f32, 2, 2>::repeat(0.5));
    trainer.step(&x, &y).expect("it converges");
    assert_eq!(trainer.optimizer.updates, 1);
}

/// Of entries that are too large an error changes nothing; where they only might be, the step is made.
#[test]
fn large_gradients_are_looked_at_before_anything_is_changed() {
    type Plain = fnn![1, 1, 1; feedback = Feedforward, hidden = Identity];
    let large = 2_f32.powi(63);
    // Input, target; and what becomes of the bias of the outputs, whose gradient is 2 (0 - y), with a rate of 2^-64.
    for (x, y, bias) in [
        (1.0, large / 8.0, Ok(0.125)),
        // One entry alone.
        (1.0, large, Err(())),
        (f32::MIN_POSITIVE, -large, Err(())),
        // The delta of one layer and the input of the other, which are not multiplied.
        (2_f32.powi(30), large / 8.0, Ok(0.125)),
        (large, f32::NAN, Err(())),
    ] {
        let objective = Objective::new(MeanSquared);
        let [mut found, mut exact] = counting(&Adam::<Plain>::new()).map(|optimizer| {
            let mut trainer: Trainer<_, _, _> = Trainer::new(Plain::ZERO, optimizer, objective);
            trainer.rate = 2_f32.powi(-64);
            trainer
        });
        let [mut plain, mut exact_plain] = counting(&Sgd::plain()).map(|optimizer| {
            let mut trainer: Trainer<_, _, _> = Trainer::new(Plain::ZERO, optimizer, objective);
            trainer.rate = 2_f32.powi(-64);
            trainer
        });
        let what = format!("{x}, {y}");
        let step = found.step(&[x], &[y]);
        assert_eq!(format!("{step:?}"), format!("{:?}", exact.step(&[x], &[y])), "{what}");
        assert_eq!(step.is_ok(), bias.is_ok(), "{what}: {step:?}");
        assert!(found.network == exact.network && found.gradient() == exact.gradient(), "{what}");
        assert!(found.optimizer.inner == exact.optimizer.inner, "{what}");
        assert_eq!(found.optimizer.inner == Adam::new(), bias.is_err(), "{what}: a step was counted");
        let step = plain.step(&[x], &[y]);
        assert_eq!(format!("{step:?}"), format!("{:?}", exact_plain.step(&[x], &[y])), "{what}");
        let mut wanted = Plain::ZERO;
        wanted.layer_mut::<2>().b[0] = bias.unwrap_or(0.0);
        assert!(plain.network == wanted, "{what}: {:?}", plain.network.params());
    }
}

/// Settings out of their range, memory of another length and weights that are not finite: the errors of the longer way, and nothing is changed.
#[test]
fn what_an_optimizer_refuses_is_refused() {
    let (x, y, objective) = ([0.5, -1.0, 0.25], [1.0, -1.0], Objective::new(MeanSquared));
    fn check<P: Optimizer<f32> + Clone + PartialEq + Debug>(
        refused: P,
        objective: Objective<MeanSquared>,
        (x, y): (&[f32; 3], &[f32; 2]),
    ) {
        let [found, exact] = counting(&refused).map(|optimizer| {
            let mut trainer: Trainer<_, _, _> = Trainer::new(net(), optimizer, objective);
            (trainer.rate, trainer.hold) = (0.5, None);
            let error = trainer.step(x, y).expect_err("it is refused");
            assert!(matches!(error, LearnError::Update(_)), "{error}");
            assert!(trainer.network == net() && trainer.optimizer.inner == refused, "{error}");
            error
        });
        assert_eq!(found, exact);
    }
    let given = (&x, &y);
    check(Sgd::<Net>::with_momentum(1.0), objective, given);
    check(Sgd::<Net>::with_momentum(0.5).decay(2.5), objective, given);
    check(Sgd::plain().decay(-1.0), objective, given);
    check(Sgd::<fnn![3, 6, 1]>::with_momentum(0.5), objective, given);
    check(Adam::<fnn![3, 6, 1]>::new(), objective, given);
    let mut adam = Adam::<Net>::new();
    adam.epsilon = 0.0;
    check(adam, objective, given);

    for place in 0..Net::PARAMS {
        let mut wrong = net();
        wrong.params_mut()[place] = f32::INFINITY;
        let mut trainer: Trainer<_, _, _> = Trainer::new(wrong.clone(), Adam::<Net>::new(), objective);
        trainer.hold = None;
        assert!(trainer.step(&x, &y).is_err(), "parameter {place}");
        assert!(trainer.network == wrong && trainer.optimizer == Adam::new(), "parameter {place}");
    }
}

/// The gradient is that of the last step, also where there was none.
#[test]
fn steps_that_are_left_out_have_no_gradient() {
    let objective = Objective::new(MeanSquared).solve(Stop::residual(0.0).at_most(1));
    for unsolved in [Unsolved::Error, Unsolved::Skip, Unsolved::UseLast] {
        let mut trainer: Trainer<_, _, _> =
            Trainer::new(net(), Sgd::<Net>::with_momentum(0.5), Objective::new(MeanSquared));
        trainer.step(&[0.5, -1.0, 0.25], &[1.0, -1.0]).expect("it converges");
        let (before, optimizer) = (trainer.network.clone(), trainer.optimizer.clone());
        assert!(*trainer.gradient() != Net::ZERO);
        (trainer.objective, trainer.unsolved) = (objective, unsolved);
        let step = trainer.step(&[0.5, -1.0, 0.25], &[1.0, -1.0]);
        let learnt = step.is_ok_and(|step| step.outcome == Outcome::Inexact);
        assert_eq!(learnt, unsolved == Unsolved::UseLast);
        assert_eq!(*trainer.gradient() == Net::ZERO, !learnt, "{unsolved:?}");
        assert_eq!(trainer.network == before, !learnt, "{unsolved:?}");
        assert_eq!(trainer.optimizer == optimizer, !learnt, "{unsolved:?}");
    }
}

/// Widths that are chosen when running: the same bits, wherever the sample lies.
#[test]
fn dynamic_networks_learn_in_one_pass() {
    let random = &mut SmallRng::seed_from_u64(3);
    for backend in subject::backends() {
        let mut other = DynNetwork::<f32>::zeros(Net::SHAPE).expect("of this scalar");
        other.params_mut().copy_from_slice(net().params());
        let objective = Objective::new(MeanSquared);
        let mut trainer: Trainer<_, _, _> = Trainer::new(net(), Adam::<Net>::new(), objective);
        let [optimizer, silent] = counting(&Adam::for_params(other.params()));
        let mut found = DynTrainer::new(other.clone(), optimizer, objective, 4);
        let mut exact = DynTrainer::new(other, silent, objective, 4);
        (trainer.backend, found.backend, exact.backend) = (backend, backend, backend);
        // Its vector follows batches too, which the typed one does not see.
        (trainer.hold, found.hold, exact.hold) = (None, None, None);
        for round in 0..4 {
            // A row among others: its values do not lie side by side.
            let x = SMatrix::<f32, 4, 3>::from_fn(|_, _| draw(random));
            let y = SMatrix::<f32, 4, 2>::from_fn(|_, _| draw(random));
            let all =
                (DMatrixView::from_slice(x.as_slice(), 4, 3), DMatrixView::from_slice(y.as_slice(), 4, 2));
            let (one, wanted) = (all.0.rows(round, 1), all.1.rows(round, 1));
            let given = core::array::from_fn::<_, 3, _>(|j| x[(round, j)]);
            let step = trainer.step(&given, &[y[(round, 0)], y[(round, 1)]]).expect("it converges");
            assert_eq!(found.step(&one, &wanted).expect("it converges"), step);
            assert_eq!(exact.step(&one, &wanted).expect("it converges"), step);
            for dynamic in [&found, &exact] {
                assert_eq!(bits(dynamic.network.params()), bits(trainer.network.params()));
                assert_eq!(bits(dynamic.gradient()), bits(trainer.gradient().params()));
            }
            // Batches go the longer way.
            let [step, wanted] =
                [&mut found, &mut exact].map(|trainer| trainer.step(&all.0, &all.1).expect("it converges"));
            assert_eq!(step, wanted);
            assert_eq!(bits(found.network.params()), bits(exact.network.params()));
            trainer.network.params_mut().copy_from_slice(found.network.params());
            assert_eq!((found.optimizer.updates, exact.optimizer.updates), (round + 1, 2 * round + 2));
            // The typed one has not seen the batch.
            found.optimizer.inner = Adam::for_params(found.network.params());
            exact.optimizer.inner = found.optimizer.inner.clone();
            trainer.optimizer = Adam::new();
        }
    }
}
