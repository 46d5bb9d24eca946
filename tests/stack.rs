//! Networks of megabytes in a thread of 2 MiB of stack. `.ci/run` repeats this without optimization, where the
//! compiler moves every value through the stack that the code moves.

use attractor::adapt::{Adapted, AdaptedCertificate, BiasOnly, LowRank};
use attractor::certificate::{AdjointCertificate, CertifiedRoom};
use attractor::compress::{Importance, Measure};
use attractor::kernel::Scalar;
use attractor::learn::{
    Adam, CrossEntropy, JacobianPenalty, MeanSquared, Method, Objective, OfOutputs, Optimizer, Trainer,
    UnitRoom,
};
use attractor::network::{Flat, Form, Storage};
use attractor::quantized::{
    Bf16Network, Calibration, IntegerRoom, Quantized, QuantizedCertificate, QuantizedState,
};
use attractor::simd::{Backend, Element};
use attractor::solve::TraceRoom;
use attractor::{
    Adjacent, Boxed, Certificate, Dense, Injection, State, Stop, Threads, Tied, Trace, Workspace, fnn,
};
use nalgebra::SMatrix;
use rand::{SeedableRng, rngs::SmallRng};

type Net = fnn![784, 1024, 10];
const B: usize = 64;
const STACK: usize = 2 << 20;
const _: () = assert!(Net::BYTES > STACK, "one network alone would overflow it");

/// Runs `work` with 2 MiB of stack.
fn with_small_stack(work: impl FnOnce() + Send + 'static) {
    with_stack(STACK, work);
}

fn with_stack(bytes: usize, work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(bytes).spawn(work).expect("threads can be started");
    thread.join().expect("the thread ends well");
}

/// Made on the heap: 200 KB would fit, but large inputs are the caller's and never need to pass the stack.
fn inputs() -> Box<SMatrix<f32, B, 784>> {
    let mut inputs = Vec::with_capacity(B * 784);
    inputs.extend((0..B * 784).map(|i| ((i * 37 % 101) as f32) / 101.0));
    let flat: Box<[[f32; B]; 784]> =
        inputs.as_chunks::<B>().0.to_vec().into_boxed_slice().try_into().expect("784 columns");
    // SAFETY: a matrix is its array of columns, `repr(transparent)` over one field and markers of no size.
    unsafe { Box::from_raw(Box::into_raw(flat).cast()) }
}

fn labels() -> Box<[usize; B]> {
    Box::new(core::array::from_fn(|i| i % 10))
}

#[test]
fn a_large_network_in_boxes() {
    with_small_stack(|| {
        let mut net = Net::boxed();
        net.initialize(&mut SmallRng::seed_from_u64(1));
        let (inputs, labels) = (inputs(), labels());
        let tolerance = Stop::residual(1e-4);

        let mut one = State::<Net>::boxed();
        let pixels: Box<[f32; 784]> = Box::new(core::array::from_fn(|i| inputs[(0, i)]));
        net.solve(&*pixels, &mut one, tolerance).unwrap();
        let mut state = State::<Net, B>::boxed();
        net.solve(&*inputs, &mut state, tolerance).unwrap();
        for class in 0..10 {
            let (alone, among) = (one.output()[class], state.output()[(0, class)]);
            assert!((alone - among).abs() < 1e-3, "class {class}: {alone} alone, {among} in the batch");
        }

        let objective = Objective::new(CrossEntropy::new()).solve(tolerance);
        let mut trainer: Trainer<Boxed<Net>, _, _, B> =
            Trainer::new(net, Adam::<Boxed<Net>>::new().decay(0.01), objective);
        trainer.clip = Some(1.0);
        let before = trainer.step(&*inputs, &*labels).unwrap().report.loss;
        let mut after = before;
        for _ in 0..3 {
            after = trainer.step(&*inputs, &*labels).unwrap().report.loss;
        }
        assert!(after < before, "{after} is less than {before}");
    });
}

#[test]
fn a_large_network_in_slices() {
    with_small_stack(|| {
        // As it would be on a machine without `alloc`: all memory is the caller's, seen as what it is.
        let mut weights = vec![0.0_f32; Net::PARAMS];
        let mut slopes = vec![0.0_f32; Net::PARAMS];
        let net = Net::from_slice_mut(&mut weights).unwrap();
        let gradient = Net::from_slice_mut(&mut slopes).unwrap();
        net.initialize(&mut SmallRng::seed_from_u64(2));
        let (inputs, labels) = (inputs(), labels());
        let objective = Objective::new(CrossEntropy::new()).solve(Stop::residual(1e-4));

        let mut workspace = <Boxed<Workspace<Net, B>> as Storage>::zeroed();
        let learned = net.gradient(&objective, &*inputs, &*labels, &mut workspace, gradient).unwrap();
        let mut adam = Adam::<Boxed<Net>>::new();
        adam.update(net.params_mut(), gradient.params(), 1e-5).unwrap();
        let mut cold = <Boxed<Workspace<Net, B>> as Storage>::zeroed();
        let again = net.gradient(&objective, &*inputs, &*labels, &mut cold, gradient).unwrap();
        assert!(again.loss < learned.loss);

        // The parts one by one.
        let mut injection = Box::new(Injection::<Net>::ZERO);
        let mut state = State::<Net>::boxed();
        let pixels: Box<[f32; 784]> = Box::new(core::array::from_fn(|i| inputs[(0, i)]));
        let net = Net::from_slice(&weights).unwrap();
        net.inject(&*pixels, &mut injection).unwrap();
        let mut residual = f32::MAX;
        for _ in 0..20 {
            residual = net.sweep(&injection, &mut state).unwrap();
        }
        assert!(residual < 1e-4);
        let mut slope = Box::new(SMatrix::<f32, B, 784>::zeros());
        net.input_gradient(workspace.adjoint.first(), &mut slope).unwrap();
        assert!(slope.iter().any(|s| *s != 0.0));
    });
}

#[test]
fn cloning_and_comparing_in_boxes() {
    with_small_stack(|| {
        let mut net = Net::boxed();
        net.initialize(&mut SmallRng::seed_from_u64(3));
        let mut copy = Net::boxed();
        copy.params_mut().copy_from_slice(net.params());
        assert!(*copy == *net);
        copy.layer_mut::<2>().w[(9, 1023)] += 1.0;
        assert!(*copy != *net);
    });
}

/// Weights that make sums of thousands of units small, and every output another.
fn weights(params: &mut [impl Scalar], most: f64) {
    for (i, weight) in params.iter_mut().enumerate() {
        *weight = Element::from_f64(most * ((i as u64 * 2_654_435_761 % 1009) as f64 / 504.5 - 1.0));
    }
}

/// What three sweeps from zero make of one sample, in loops of `f64`: the outputs of a network of two layers of which the first
/// reads the second.
fn sweeps_of_two<T: Scalar + Into<f64>>(
    (w1, u1, b1): (&[T], &[T], &[T]),
    (w2, b2): (&[T], &[T]),
    x: &[f64],
) -> Vec<f64> {
    let (wide, outputs) = (b1.len(), b2.len());
    let (mut h1, mut h2) = (vec![0.0; wide], vec![0.0; outputs]);
    for _ in 0..3 {
        for i in 0..wide {
            let mut z: f64 = b1[i].into();
            for (j, x) in x.iter().enumerate() {
                z += w1[j * wide + i].into() * x;
            }
            for (j, h) in h2.iter().enumerate() {
                z += u1[j * wide + i].into() * h;
            }
            h1[i] = z.tanh();
        }
        for i in 0..outputs {
            let mut z: f64 = b2[i].into();
            for (j, h) in h1.iter().enumerate() {
                z += w2[j * outputs + i].into() * h;
            }
            h2[i] = z;
        }
    }
    h2
}

/// A network with a wide first layer, with any feature: solve, gradient and adapter of a batch, in 2 MiB of stack and in threads of
/// as much; three sweeps are those of the loops above, and threads leave no trace.
macro_rules! wide {
    ($name:ident, $scalar:ty, $net:ty, $wide:literal, $batch:literal, tied: $tied:literal $(, $adapter:ty)?) => {
        #[test]
        fn $name() {
            with_small_stack(|| {
                type Net = $net;
                let mut net = Net::boxed();
                weights(net.params_mut(), 8.0 / $wide as f64);
                let mut x: Box<[$scalar]> = vec![0.0; $batch * 8].into_boxed_slice();
                weights(&mut x, 3.0);
                // SAFETY: a matrix is its array of columns.
                let x: Box<SMatrix<$scalar, $batch, 8>> = unsafe { Box::from_raw(Box::into_raw(x).cast()) };
                let tolerance = Stop::after(3);
                let mut state = State::<Net, $batch>::boxed();
                net.solve(&*x, &mut state, tolerance).expect("finite");

                let tied: Vec<$scalar>;
                let (first, second) = (net.layer::<1>(), net.layer::<2>());
                let u = if $tied {
                    // Half of W^2, transposed.
                    let w = &second.w;
                    tied = (0..4 * $wide).map(|i| w[(i / $wide, i % $wide)] * 0.5).collect();
                    &tied[..]
                } else {
                    &net.params()[8 * $wide..12 * $wide]
                };
                for sample in [0, $batch / 2, $batch - 1] {
                    let x: Vec<f64> = (0..8).map(|i| x[(sample, i)].into()).collect();
                    let (b1, b2) = (first.b.as_slice(), second.b.as_slice());
                    let exact =
                        sweeps_of_two((first.w.as_slice(), u, b1), (second.w.as_slice(), b2), &x);
                    for (class, exact) in exact.into_iter().enumerate() {
                        let found: f64 = state.output()[(sample, class)].into();
                        assert!((found - exact).abs() < 1e-4, "{sample}, {class}: {found} is not {exact}");
                    }
                }

                let mut workspace = <Boxed<Workspace<Net, $batch>> as Storage>::zeroed();
                let mut gradient = Net::boxed();
                let target = Box::new(SMatrix::<$scalar, $batch, 4>::zeros());
                let rule = Method::Implicit(tolerance);
                let objective = Objective::new(MeanSquared).solve(tolerance).method(rule);
                net.gradient(&objective, &*x, &*target, &mut workspace, &mut gradient).expect("finite");

                let pool = rayon::ThreadPoolBuilder::new().num_threads(3).stack_size(STACK).build();
                pool.expect("threads can be started").install(|| {
                    let on = net.on(Backend::best()).threads(Threads::Rayon);
                    let mut again = State::<Net, $batch>::boxed();
                    on.solve(&*x, &mut again, tolerance).expect("finite");
                    assert!(*again == *state);
                    let mut workspace = <Boxed<Workspace<Net, $batch>> as Storage>::zeroed();
                    let mut side_by_side = Net::boxed();
                    on.gradient(&objective, &*x, &*target, &mut workspace, &mut side_by_side).expect("finite");
                    assert!(*side_by_side == *gradient);
                });
                $(
                    // One that changes nothing yet.
                    let adapted = Adapted::<Net, $adapter>::new(&net, 1);
                    let mut as_well = State::<Net, $batch>::boxed();
                    adapted.solve(&*x, &mut as_well, tolerance).expect("finite");
                    for (a, b) in as_well.as_slice().iter().zip(state.as_slice()) {
                        assert!((a - b).abs() < 1e-5, "{a} is not {b}");
                    }
                    let mut slopes = Box::new(Adapted::<Net, $adapter>::gradient_zero());
                    adapted.gradient(&objective, &*x, &*target, &mut workspace, &mut slopes).expect("finite");
                )?
            });
        }
    };
}

// Of the first, a few samples at a time have room for what the first layer is given of its input; of the last not even one.
wide!(wide_layers_in_threads, f32, fnn![8, 4096, 4], 4096, 260, tied: false, LowRank<1>);
wide!(wider_layers, f32, fnn![8, 16384, 4], 16384, 32, tied: false, LowRank<1>);
wide!(wider_layers_in_threads, f32, fnn![8, 12000, 4], 12000, 33, tied: false, LowRank<1>);
wide!(wider_layers_that_are_tied, f32, fnn![8, 16387, 4; feedback = Tied<50>], 16387, 33, tied: true);
wide!(wider_layers_of_doubles, f64, fnn![8, 8192, 4; scalar = f64], 8192, 33, tied: false, BiasOnly);
wide!(tied_doubles, f64, fnn![8, 8192, 4; feedback = Tied<50>, scalar = f64], 8192, 33, tied: true);
wide!(layers_without_room, f32, fnn![8, 70_000, 4], 70_000, 2, tied: false);
wide!(one_sample_without_room, f32, fnn![8, 70_000, 4], 70_000, 1, tied: false);
wide!(tied_without_room, f32, fnn![8, 70_000, 4; feedback = Tied<50>], 70_000, 2, tied: true);
wide!(one_tied_sample_without_room, f32, fnn![8, 70_000, 4; feedback = Tied<50>], 70_000, 1, tied: true);

/// Where W^1 x + b^1 has no room and is worked out in every sweep, the bits are those of single sweeps from an injection, which is the
/// caller's; and an adapter that changes nothing gives nearly the same. (Injection and adapter are values, so that this needs stack.)
#[test]
fn without_room_the_bits_are_the_same() {
    const WIDE: usize = 20_003;
    type Net<F> = fnn![8, WIDE, 4; feedback = F];
    fn agree<F: Form, const B: usize>() {
        let mut net = Net::<F>::boxed();
        weights(net.params_mut(), 8.0 / WIDE as f64);
        let mut x = SMatrix::<f32, B, 8>::zeros();
        weights(x.as_mut_slice(), 3.0);
        let on = net.on(Backend::portable());
        let (mut solved, mut swept) = (State::<Net<F>, B>::boxed(), State::<Net<F>, B>::boxed());
        on.solve(&x, &mut solved, Stop::after(3)).expect("finite");
        let mut injection = Box::new(Injection::<Net<F>, B>::ZERO);
        on.inject(&x, &mut injection).expect("finite");
        for _ in 0..3 {
            on.sweep(&injection, &mut swept).expect("finite");
        }
        assert!(*solved == *swept);
        assert!(solved.output().iter().all(|h| *h != 0.0));
    }
    fn adapts<const B: usize>() {
        let mut net = Net::<Adjacent>::boxed();
        weights(net.params_mut(), 8.0 / WIDE as f64);
        let mut x = SMatrix::<f32, B, 8>::zeros();
        weights(x.as_mut_slice(), 3.0);
        let (mut plain, mut state) = (State::<Net<Adjacent>, B>::boxed(), State::<Net<Adjacent>, B>::boxed());
        net.solve(&x, &mut plain, Stop::after(3)).expect("finite");
        let adapted = Adapted::<Net<Adjacent>, LowRank<1>>::new(&net, 1);
        adapted.solve(&x, &mut state, Stop::after(3)).expect("finite");
        for (a, b) in state.as_slice().iter().zip(plain.as_slice()) {
            assert!((a - b).abs() < 1e-5, "{a} is not {b}");
        }
    }
    with_stack(32 << 20, || {
        agree::<Adjacent, 1>();
        agree::<Dense, 2>();
        agree::<Tied<50>, 1>();
        agree::<Tied<50>, 2>();
        adapts::<1>();
        adapts::<2>();
    });
}

/// A step in place of more samples times rank than there is room for is the step of the gradient.
#[test]
fn corrections_are_changed_in_place_a_few_columns_at_a_time() {
    with_small_stack(|| {
        type Net = fnn![3, 6, 2; scalar = f64];
        const B: usize = 4096;
        type Low<'a> = Adapted<'a, Net, LowRank<9>>;
        const { assert!(B * 9 > 2 * 16_384, "three parts") };
        let mut net = Net::ZERO;
        weights(net.params_mut(), 0.3);
        let mut input = Box::new(SMatrix::<f64, B, 3>::zeros());
        weights(input.as_mut_slice(), 1.0);
        let mut target = Box::new(SMatrix::<f64, B, 2>::zeros());
        weights(target.as_mut_slice(), 0.5);
        let mut adapted = Low::new(&net, 1);
        weights(adapted.params_mut().flat_mut(), 0.2);
        let mut workspace = <Boxed<Workspace<Net, B>> as Storage>::zeroed();
        let objective = Objective::new(MeanSquared);
        let mut slopes = Low::gradient_zero();
        adapted.gradient(&objective, &*input, &*target, &mut workspace, &mut slopes).expect("finite");
        let before = adapted.params().clone();
        let mut workspace = <Boxed<Workspace<Net, B>> as Storage>::zeroed();
        adapted.descend(&objective, &*input, &*target, &mut workspace, 0.5).expect("finite");
        let all = before.flat().iter().zip(slopes.flat()).zip(adapted.params().flat());
        let mut moved = 0;
        for ((before, slope), after) in all {
            let exact = before - 0.5 * slope;
            assert!((after - exact).abs() < 1e-12, "{after} is not {exact}");
            moved += usize::from(before != after);
        }
        assert_eq!(moved, slopes.flat().len());
    });
}

/// Room for something, which never was on the stack.
fn boxed<F: Flat>() -> Boxed<F> {
    Boxed::<F>::zeroed()
}

/// Less than one vector of the networks below.
const LITTLE: usize = 512 << 10;

/// What belongs to certificates, in room of the caller's, and whatever else has such room: of a network that has 132,000 of something, inputs,
/// units of the first layer or outputs, in a stack that does not hold as many scalars.
macro_rules! lent {
    ($name:ident, $net:ty, $inputs:literal, $narrow:ty) => {
        #[test]
        fn $name() {
            type Net = $net;
            type Low<'a> = Adapted<'a, Net, LowRank<1>>;
            const { assert!(size_of::<State<Net>>() > LITTLE || $inputs * 4 > LITTLE) };
            let mut net = Net::boxed();
            let most = 0.5 / (Net::UNITS + $inputs) as f64;
            weights(net.params_mut(), most);
            let (mut x, mut y) = (boxed::<SMatrix<f32, 1, $inputs>>(), boxed::<SMatrix<f32, 1, $inputs>>());
            weights(x.as_mut_slice(), 1.0);
            weights(y.as_mut_slice(), 1.001);
            let (mut again, mut borrowed) = (Net::boxed(), Net::boxed());
            again.params_mut().copy_from_slice(net.params());
            borrowed.params_mut().copy_from_slice(net.params());
            // Adapters are values: this one is made elsewhere.
            let borrowed = Box::leak(borrowed);
            let mut adapted = on_a_large_stack(move || Box::new(Low::new(borrowed, 1)));
            with_stack(LITTLE, move || certificates(net, &x.0, &y.0));
            with_stack(LITTLE, move || adapters(&mut adapted));
            with_stack(LITTLE, move || integers(&again));

            fn certificates(mut net: Boxed<Net>, x: &SMatrix<f32, 1, $inputs>, y: &SMatrix<f32, 1, $inputs>) {
                let (mut certificate, mut state) = (boxed::<Certificate<Net>>(), State::<Net>::boxed());
                let (mut one, mut room) = (State::<Net>::boxed(), boxed::<CertifiedRoom<Net>>());
                net.certify_in(&mut certificate, &mut one).expect("small weights");
                net.limit_rate_in(certificate.rate() * 0.5, &mut certificate, &mut one)
                    .expect("small weights");
                let mut adjoint = boxed::<AdjointCertificate<Net>>();
                net.certify_adjoint_in(&mut adjoint, &mut one).expect("small weights");
                adjoint.verify_in(&net, &mut one).expect("as it was made");
                let certified = certificate.verify_in(&net, &mut one).expect("as it was made");
                certified.solve_in(x, &mut state, 1e-2, &mut room).expect("finite");
                certified.label_in(x, &mut state, &mut room).expect("finite");
                let change = x.as_slice().try_into().expect("a number an input");
                assert!(certified.drift_in(change, &mut one).is_finite());
                let mut stream = certified.refine_in(x, &mut state, &mut room).expect("finite");
                stream.solve(1e-2).expect("finite");
                stream.follow(y).expect("finite");
                stream.solve(1e-2).expect("finite");
                let mut stream = certified.skipping_in(x, &mut state, &mut room).expect("finite");
                stream.solve(1e-2).expect("finite");
                stream.follow(y).expect("finite");
                stream.solve(1e-2).expect("finite");

                let mut trace = Trace::<f32, 4>::new();
                let (on, mut traces) = (net.on(Backend::best()), boxed::<TraceRoom<Net>>());
                let stop = Stop::after(2);
                on.solve_traced_in(x, &mut state, stop, &mut trace, &mut traces).expect("finite");
                net.jacobian_norm(&state, &mut State::<Net, 3>::boxed(), 2).expect("finite");
                net.sweep_radius(&state, &mut State::<Net, 2>::boxed(), 2).expect("finite");

                let (mut importance, mut narrow) = (Importance::<Net>::boxed(), <$narrow>::boxed());
                importance.observe(&state).expect("finite");
                importance.scores(&net, Measure::Weights, &mut one).expect("finite");
                if Net::UNITS < 100 {
                    net.prune(&one, importance.means(), &mut narrow).expect("finite");
                }

                let mut held = State::<Net, 2>::boxed();
                net.hold_rate(0.5 * certificate.rate(), &mut held).expect("small weights");
                // Outputs that all tie ask for a bound of every unit.
                net.params_mut().fill(0.0);
                let certified = certificate.verify_in(&net, &mut one).expect("smaller weights");
                let label = certified.label_in(x, &mut state, &mut room).expect("finite");
                assert!(!label.certified);
            }

            fn adapters(adapted: &mut Low<'_>) {
                let (mut certificate, mut room) = (boxed::<AdaptedCertificate<Net>>(), State::<Net>::boxed());
                weights(adapted.params_mut().flat_mut(), 0.01);
                adapted.certify_in(&mut certificate, &mut room).expect("small weights");
                adapted.verify_in(&certificate, &mut room).expect("as it was made");
                // Less than U gives, and then less than W.
                for part in [0.5, 0.01] {
                    let rate = part * certificate.rate();
                    let _ = adapted.limit_rate_in(rate, &mut certificate, &mut room);
                }
                let mut held = State::<Net, 2>::boxed();
                weights(adapted.params_mut().flat_mut(), 0.05);
                adapted.hold_rate(0.5, &mut held).expect("a network that contracts");
            }

            fn integers(net: &Net) {
                let (mut x, mut state) = (boxed::<SMatrix<f32, 1, $inputs>>(), State::<Net>::boxed());
                weights(x.as_mut_slice(), 1.0);
                weights(state.as_mut_slice(), 0.5);
                let mut calibration = boxed::<Calibration<Net>>();
                calibration.observe(&x.0, &state).expect("finite");
                let mut small = Quantized::<Net, i16>::boxed();
                small.fill(net, &calibration).expect("small weights");
                let (mut input, mut room) =
                    (boxed::<SMatrix<i16, 1, $inputs>>(), boxed::<IntegerRoom<Net>>());
                small.input_in(&x.0, &mut input).expect("finite");
                let mut solution = boxed::<QuantizedState<Net, i16>>();
                // Without optimization the frames of the other backends' instructions are larger than this stack, whatever the network.
                let on = small.on(Backend::portable());
                on.solve_in(&input, &mut solution, 16, &mut room).expect("it contracts");
                on.sweep_in(&input, &mut solution, 1, &mut room);
                let mut certificate = boxed::<QuantizedCertificate<Net>>();
                small.certify_in(&mut certificate, &mut room).expect("small weights");
                certificate.verify_in(&small, &mut room).expect("as it was made");
                assert!(certificate.bound(&solution, 1).is_some());
                assert!(certificate.distance(&small, net, 1).is_finite());
                let mut back = Net::boxed();
                small.to_network(&mut back);

                let (mut half, mut injection) = (Bf16Network::<Net>::boxed(), boxed::<Injection<Net>>());
                half.fill(net).expect("finite");
                let on = half.on(Backend::portable());
                on.solve_in(&x.0, &mut state, Stop::after(2), &mut injection).expect("finite");
                half.to_network(&mut back);
            }
        }
    };
}

/// Runs `work` where values may be as large as they like.
fn on_a_large_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread =
        std::thread::Builder::new().stack_size(64 << 20).spawn(work).expect("threads can be started");
    thread.join().expect("the thread ends well")
}

lent!(certificates_of_many_inputs, fnn![132_000, 4, 2], 132_000, fnn![132_000, 3, 2]);
lent!(certificates_of_many_units, fnn![2, 132_000, 2], 2, fnn![2, 100_000, 2]);
lent!(certificates_of_many_outputs, fnn![2, 3, 132_000], 2, fnn![2, 2, 132_000]);

/// The gradient of the outputs is made where it is wanted.
#[test]
fn a_loss_of_all_units_and_many_outputs() {
    with_small_stack(|| {
        type Net = fnn![2, 3, 600];
        const B: usize = 1024;
        const { assert!(B * Net::OUTPUTS * 4 > STACK) };
        let (mut net, mut x) = (Net::boxed(), boxed::<SMatrix<f32, B, 2>>());
        weights(net.params_mut(), 0.01);
        weights(x.as_mut_slice(), 1.0);
        let (target, mut workspace) = (boxed::<SMatrix<f32, B, 600>>(), boxed::<Workspace<Net, B>>());
        let (mut units, mut gradient) = (boxed::<UnitRoom<Net, B>>(), Net::boxed());
        let loss = JacobianPenalty { loss: OfOutputs(MeanSquared), weight: 0.1, seed: 1 };
        let objective = Objective::new(loss);
        let learned =
            net.gradient_of_units(&objective, &x.0, &target.0, &mut workspace, &mut units, &mut gradient);
        assert!(learned.expect("finite").loss > 0.0);
        assert!(gradient.layer::<2>().b.iter().all(|slope| *slope != 0.0));
    });
}
