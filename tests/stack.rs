//! Networks of megabytes in a thread of 2 MiB of stack. `.ci/run` repeats this without optimization, where the
//! compiler moves every value through the stack that the code moves.

use attractor::learn::{Adam, CrossEntropy, Objective, Optimizer, Trainer};
use attractor::{Boxed, Drive, Room, State, Tolerance, Workspace, fnn};
use nalgebra::SMatrix;
use rand::{SeedableRng, rngs::SmallRng};

type Net = fnn![784, 1024, 10];
const B: usize = 64;
const STACK: usize = 2 << 20;
const _: () = assert!(Net::BYTES > STACK, "one network alone would overflow it");

/// Runs `work` with 2 MiB of stack.
fn with_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(work).expect("threads can be started");
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
        let tolerance = Tolerance::residual(1e-4);

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
        let before = trainer.step(&*inputs, &*labels).unwrap().learned.loss;
        let mut after = before;
        for _ in 0..3 {
            after = trainer.step(&*inputs, &*labels).unwrap().learned.loss;
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
        let objective = Objective::new(CrossEntropy::new()).solve(Tolerance::residual(1e-4));

        let mut workspace = <Boxed<Workspace<Net, B>> as Room>::zeroed();
        let learned = net.gradient(&objective, &*inputs, &*labels, &mut workspace, gradient).unwrap();
        let mut adam = Adam::<Boxed<Net>>::new();
        adam.update(net.params_mut(), gradient.params(), 1e-5).unwrap();
        let mut cold = <Boxed<Workspace<Net, B>> as Room>::zeroed();
        let again = net.gradient(&objective, &*inputs, &*labels, &mut cold, gradient).unwrap();
        assert!(again.loss < learned.loss);

        // The parts one by one.
        let mut drive = Box::new(Drive::<Net>::ZERO);
        let mut state = State::<Net>::boxed();
        let pixels: Box<[f32; 784]> = Box::new(core::array::from_fn(|i| inputs[(0, i)]));
        let net = Net::from_slice(&weights).unwrap();
        net.drive(&*pixels, &mut drive).unwrap();
        let mut residual = f32::MAX;
        for _ in 0..20 {
            residual = net.sweep(&drive, &mut state).unwrap();
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
