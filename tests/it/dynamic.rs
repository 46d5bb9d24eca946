//! Networks whose widths are chosen when running: the bits of the typed ones, and what goes wrong where types say no shapes.

use crate::oracle::subject;
use attractor::dynamic::{
    DynCalibration, DynCertificate, DynError, DynNetwork, DynQuantized, DynStates, DynTrainer, DynWorkspace,
};
use attractor::kernel::{HardTanh, Relu, Sigmoid, Tanh};
use attractor::learn::{
    Adam, CrossEntropy, LearnError, LossError, MeanSquared, Method, Objective, Sgd, Trainer, Unsolved,
};
use attractor::network::Architecture;
use attractor::quantized::{Bf16Network, Calibration, Quantized};
use attractor::{
    Align64, Certificate, Dense, Feedforward, Network, Shape, Skip, SolveError, State, Stop, Threads, Tied,
    Workspace, fnn,
};
use nalgebra::{DMatrixView, SMatrix};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

fn dynamic<A: Architecture<Scalar = T>, T: attractor::kernel::Scalar>(net: &Network<A>) -> DynNetwork<T> {
    let mut other = DynNetwork::zeros(A::SHAPE).expect("of this scalar");
    other.params_mut().copy_from_slice(net.params());
    other
}

/// Everything a network does, by its type and by its shape, to the bit.
macro_rules! same {
    ($net:ty, $scalar:ty, $inputs:literal, $outputs:literal, [$($b:literal)*]) => {{
        type Net = $net;
        let mut random = SmallRng::seed_from_u64(7);
        let mut net = Net::boxed();
        net.initialize(&mut random);
        let mut other = DynNetwork::<$scalar>::zeros(Net::SHAPE).unwrap();
        other.initialize(&mut SmallRng::seed_from_u64(7));
        assert_eq!(net.params(), other.params(), "{other:?}");
        $(same!(@batch Net, $scalar, $inputs, $outputs, net, other, random, $b);)*

        // Certificates, files, limits.
        net.limit_rate(0.5).unwrap();
        let stronger = other.limit_rate(0.5).unwrap();
        assert_eq!(net.params(), other.params(), "{other:?}");
        let certificate = net.certify().unwrap();
        let found = other.certify().unwrap();
        assert_eq!(certificate.as_slice(), found.as_slice());
        assert_eq!(certificate.sweeps(1e-3, 1.0), found.sweeps(1e-3, 1.0));
        assert!(found.verify(&other).is_ok() && stronger.verify(&other).is_ok());
        let mut file = vec![0; Net::file_bytes(true)];
        net.to_bytes(Some(&certificate), &mut file).unwrap();
        assert_eq!(file, other.to_bytes(Some(&found)).unwrap());
        let (read, stored) = DynNetwork::<$scalar>::from_bytes(&file).unwrap();
        assert_eq!((read.params(), read.shape()), (net.params(), &Net::SHAPE));
        assert_eq!(stored.unwrap().as_slice(), certificate.as_slice());
        let (mut room, mut flat) = (State::<Net, 2>::ZERO, vec![0.0; 2 * Net::UNITS]);
        for w in other.params_mut().iter_mut().zip(net.params_mut()) {
            (*w.0, *w.1) = (*w.0 * 1.5, *w.1 * 1.5);
        }
        assert_eq!(net.hold_rate(0.3, &mut room).unwrap(), other.hold_rate(0.3, &mut flat).unwrap());
        assert_eq!((net.params(), room.as_slice()), (other.params(), &flat[..]), "{other:?}");
    }};
    (@batch $net:ty, $scalar:ty, $inputs:literal, $outputs:literal, $typed:ident, $other:ident, $random:ident, $b:literal) => {{
        let x = SMatrix::<$scalar, $b, $inputs>::from_fn(|_, _| $random.random_range(-1.0..1.0));
        let y = SMatrix::<$scalar, $b, $outputs>::from_fn(|_, _| $random.random_range(-1.0..1.0));
        // A row a sample, and a column a sample: other strides.
        let columns = DMatrixView::from_slice(x.as_slice(), $b, $inputs);
        let turned = x.transpose();
        let rows = DMatrixView::from_slice_with_strides(turned.as_slice(), $b, $inputs, $inputs, 1);
        let wanted = y.transpose();
        let wanted = DMatrixView::from_slice_with_strides(wanted.as_slice(), $b, $outputs, $outputs, 1);
        for backend in subject::backends() {
            for threads in [Threads::One, Threads::Rayon] {
                let stop = Stop::residual(1e-5);
                let mut state = <$net>::state::<$b>();
                let solved = $typed.on(backend).threads(threads).solve(&x, &mut state, stop).unwrap();
                let mut states = DynStates::zeros(&$other, 40);
                let on = $other.on(backend).threads(threads);
                assert_eq!(solved, on.solve(&columns, &mut states, stop).unwrap());
                assert_eq!(state.as_slice(), states.as_slice(), "{:?} on {backend:?}", $other);
                states.reset();
                assert_eq!(solved, on.solve(&rows, &mut states, stop).unwrap());
                assert_eq!(state.as_slice(), states.as_slice(), "{:?} on {backend:?}", $other);
                assert_eq!(states.output().iter().collect::<Vec<_>>(), state.output().iter().collect::<Vec<_>>());

                for method in [Method::Implicit(Stop::relative(1e-6)), Method::Truncated(2)] {
                    let objective = Objective::new(MeanSquared).method(method);
                    let (mut workspace, mut gradient) = (Workspace::<$net, $b>::ZERO, <$net>::boxed());
                    let on = $typed.on(backend).threads(threads);
                    let report = on.gradient(&objective, &x, &y, &mut workspace, &mut gradient).unwrap();
                    let (mut room, mut sums) = (DynWorkspace::zeros(&$other, $b), vec![0.0; <$net>::PARAMS]);
                    let on = $other.on(backend).threads(threads);
                    let found = on.gradient(&objective, &rows, &wanted, &mut room, &mut sums).unwrap();
                    assert_eq!((report, gradient.params()), (found, &sums[..]), "{:?}", $other);
                    assert_eq!(workspace.adjoint.as_slice(), room.deltas());
                }
            }
        }
        // Steps of training, on labels.
        let labels: [usize; $b] = core::array::from_fn(|sample| sample % $outputs);
        let objective = Objective::new(CrossEntropy::<$scalar>::smoothed(0.1));
        let mut trainer: Trainer<_, _, _, $b> = Trainer::new($typed.clone(), Adam::<$net>::new().decay(0.01), objective);
        let adam = Adam::for_params($other.params()).decay(0.01);
        let mut other = DynTrainer::new($other.clone(), adam, objective, $b);
        (trainer.rate, other.rate, trainer.clip, other.clip) = (0.05, 0.05, Some(0.5), Some(0.5));
        for _ in 0..3 {
            let step = trainer.step(&x, &labels).unwrap();
            assert_eq!(step, other.step(&rows, &labels[..]).unwrap());
            assert!(step.held.is_some() && step.norm.is_some());
        }
        assert_eq!(trainer.network.params(), other.network.params());
        assert_ne!(trainer.network.params(), $typed.params());
    }};
}

/// Not optimised, frames with many batches in place are large.
fn with_stack(work: fn()) {
    let thread = std::thread::Builder::new().stack_size(1 << 27).spawn(work).expect("a thread");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn bits_are_those_of_the_typed_network() {
    with_stack(|| {
        // One sample, less than a chunk, more than one; less than a chunk in each scalar, for it depends on no form of feedback.
        same!(fnn![3, 8, 2], f32, 3, 2, [1 5 37]);
        same!(fnn![5, 17, 9, 4; feedback = Dense, hidden = Sigmoid], f32, 5, 4, [1 37]);
        same!(fnn![5, 17, 9, 4; feedback = Skip, hidden = HardTanh, output = Tanh], f32, 5, 4, [1 37]);
        same!(fnn![5, 17, 9, 4; feedback = Tied<60>], f32, 5, 4, [1 37]);
        same!(fnn![5, 17, 9, 4; feedback = Feedforward, hidden = Relu], f32, 5, 4, [1 37]);
        same!(fnn![4, 33, 3; scalar = f64], f64, 4, 3, [1 5 37]);
        same!(fnn![3, 600, 2], f32, 3, 2, [1 37]); // wider than the room of one sample
    });
}

#[test]
fn integers_are_those_of_the_typed_network() {
    macro_rules! same {
        ($net:ty, $states:ty) => {{
            let mut random = SmallRng::seed_from_u64(3);
            let mut net = <$net>::ZERO;
            net.initialize(&mut random);
            let other = dynamic(&net);
            let x = SMatrix::<f32, 9, 3>::from_fn(|_, _| random.random_range(-1.0..1.0));
            let turned = x.transpose();
            let rows = DMatrixView::from_slice_with_strides(turned.as_slice(), 9, 3, 3, 1);
            let (mut state, mut states) = (<$net>::state::<9>(), DynStates::zeros(&other, 9));
            net.solve(&x, &mut state, Stop::residual(1e-5)).unwrap();
            other.solve(&rows, &mut states, Stop::residual(1e-5)).unwrap();
            let (mut seen, mut also) = (Calibration::<$net>::ZERO, DynCalibration::new(&other));
            seen.observe(&x, &state).unwrap();
            also.observe(&rows, &states).unwrap();
            let integers = Quantized::<$net, $states>::new(&net, &seen).unwrap();
            let found = DynQuantized::<$states>::new(&other, &also).unwrap();
            let mut file = vec![0; Quantized::<$net, $states>::file_bytes(false)];
            integers.to_bytes(None, &mut file).unwrap();
            assert_eq!(file, found.to_bytes().unwrap(), "{found:?}");
            let read = DynQuantized::<$states>::from_bytes(&file).unwrap();
            for sample in 0..9 {
                let input: [f32; 3] = core::array::from_fn(|column| x[(sample, column)] * 1.5);
                let (mut own, mut others) = (Quantized::<$net, $states>::state(), read.state());
                let solved = integers.solve(&integers.input(&input).unwrap(), &mut own, 50).unwrap();
                assert_eq!(solved, read.solve(&input, &mut others, 50).unwrap());
                assert_eq!((own.as_slice(), own.label()), (&others[..], read.label(&others)));
            }
            let mut back = <$net>::ZERO;
            integers.to_network(&mut back);
            assert_eq!(back.params(), read.to_network().unwrap().params());
            // A changed byte, a cut, states of the other kind.
            for at in 0..file.len() {
                file[at] ^= 1;
                assert!(matches!(DynQuantized::<$states>::from_bytes(&file), Err(DynError::File(_))));
                file[at] ^= 1;
                assert!(DynQuantized::<$states>::from_bytes(&file[..at]).is_err());
            }
        }};
    }
    same!(fnn![3, 5, 1], i8);
    same!(fnn![3, 17, 6, 4; feedback = Dense, hidden = Sigmoid], i16);
    same!(fnn![3, 7, 6, 3; feedback = Skip, hidden = Relu, output = Tanh], i8);
    same!(fnn![3, 9, 2; feedback = Feedforward, hidden = HardTanh], i16);
}

#[test]
fn files_of_halved_weights_are_opened() {
    type Net = fnn![3, 9, 6, 2; feedback = Dense];
    let mut net = Net::ZERO;
    net.initialize(&mut SmallRng::seed_from_u64(5));
    let half = Bf16Network::new(&net).unwrap();
    let mut file = vec![0; Bf16Network::<Net>::file_bytes()];
    half.to_bytes(&mut file).unwrap();
    let mut exact = Net::ZERO;
    half.to_network(&mut exact);
    let (opened, certificate) = DynNetwork::<f32>::from_bytes(&file).unwrap();
    assert!(certificate.is_none());
    assert_eq!((opened.params(), opened.shape()), (exact.params(), &Net::SHAPE));
}

#[test]
fn layers_lie_where_the_type_has_them() {
    type Net = fnn![3, 5, 4, 2; feedback = Dense];
    let mut net = Net::ZERO;
    net.initialize(&mut SmallRng::seed_from_u64(9));
    let mut other = dynamic(&net);
    let layer = other.layer(1).unwrap();
    assert_eq!(layer.w, net.layer::<1>().w);
    assert_eq!(layer.b, net.layer::<1>().b.as_slice());
    assert_eq!(layer.u.shape(), (5, 6));
    assert!(other.layer(0).is_none() && other.layer(4).is_none());
    let layout = *other.layout();
    assert_eq!(other.params()[layout.w(1).unwrap()], *net.layer::<1>().w.as_slice());
    assert_eq!(layout.u(1).unwrap().len(), 30);
    assert_eq!(other.params()[layout.b(3).unwrap()], *net.layer::<3>().b.as_slice());
    assert_eq!((layout.units_of(2).unwrap(), layout.w(4), layout.w(0)), (5..9, None, None));
    // Row-major weights.
    let rows = net.layer::<2>().w.transpose();
    let layer = other.layer_mut(2).unwrap();
    let (mut w, b) = (layer.w, layer.b);
    w.fill(0.0);
    w.copy_from(&DMatrixView::from_slice_with_strides(rows.as_slice(), 4, 5, 5, 1));
    b.fill(0.5);
    net.layer_mut::<2>().b.fill(0.5);
    assert_eq!(net.params(), other.params());
}

#[test]
fn memory_may_be_the_callers() {
    type Net = fnn![3, 5, 2];
    let mut net = Net::ZERO;
    net.initialize(&mut SmallRng::seed_from_u64(11));
    let mut params = [0.0; Net::PARAMS];
    params.copy_from_slice(net.params());
    let mut borrowed = DynNetwork::new(Net::SHAPE, &mut params[..]).unwrap();
    let (mut states, mut deltas, mut output) = ([0.0; 4 * (7 + 3)], [0.0; 4 * 7], [0.0; 4 * 2]);
    let memory = [&mut states[..], &mut deltas[..], &mut output[..]];
    let mut workspace = DynWorkspace::new(&borrowed, 4, memory).unwrap();
    let x = SMatrix::<f32, 4, 3>::from_fn(|row, column| (row as f32 - column as f32) / 4.0);
    let inputs = DMatrixView::from_slice(x.as_slice(), 4, 3);
    let mut gradient = [0.0; Net::PARAMS];
    let objective = Objective::new(CrossEntropy::new());
    borrowed.gradient(&objective, &inputs, &[0, 1, 1, 0][..], &mut workspace, &mut gradient).unwrap();
    let (mut own, mut sums) = (Workspace::<Net, 4>::ZERO, Net::ZERO);
    net.gradient(&objective, &x, &[0, 1, 1, 0], &mut own, &mut sums).unwrap();
    assert_eq!(gradient, *sums.params());
    let mut room = [0.0; 14];
    assert!(borrowed.hold_rate(0.1, &mut room).unwrap().rate <= 0.1);
    let certificate = borrowed.certify().unwrap();
    let certificate = DynCertificate::new(&borrowed, certificate.as_slice()).unwrap();
    assert!(certificate.verify_in(&borrowed, &mut room).is_ok());
}

/// What is not finite has the name that the typed network gives it.
#[test]
fn errors_are_those_of_the_typed_network() {
    type Net = fnn![3, 5, 2; feedback = Dense];
    let objective = Objective::new(MeanSquared);
    for wrong in ["input", "weight", "state", "target", "overflow", "not converged", "setting"] {
        let mut net = Net::ZERO;
        net.initialize(&mut SmallRng::seed_from_u64(13));
        let (mut x, mut y) = (SMatrix::<f32, 4, 3>::repeat(0.5), SMatrix::<f32, 4, 2>::repeat(0.25));
        let mut workspace = Workspace::<Net, 4>::ZERO;
        let mut chosen = objective;
        match wrong {
            "input" => x[(2, 1)] = f32::NAN,
            "weight" => net.layer_mut::<2>().w[(1, 3)] = f32::INFINITY,
            "state" => workspace.state.as_mut_slice()[5 * 4 + 1] = f32::NAN,
            "target" => y[(3, 0)] = f32::NAN,
            "overflow" => net.layer_mut::<1>().w.fill(f32::MAX),
            "not converged" => chosen = chosen.solve(Stop::residual(0.0).at_most(1)),
            _ => chosen = chosen.solve(Stop::residual(f32::NAN)),
        }
        let other = dynamic(&net);
        let mut room = DynWorkspace::zeros(&other, 4);
        room.states.as_mut_slice().copy_from_slice(workspace.state.as_slice());
        let (mut gradient, mut sums) = (Net::ZERO, vec![0.0; Net::PARAMS]);
        let error = net.gradient(&chosen, &x, &y, &mut workspace, &mut gradient).unwrap_err();
        let (inputs, wanted) =
            (DMatrixView::from_slice(x.as_slice(), 4, 3), DMatrixView::from_slice(y.as_slice(), 4, 2));
        let found = other.gradient(&chosen, &inputs, &wanted, &mut room, &mut sums).unwrap_err();
        assert_eq!(found, DynError::Learn(error), "{wrong}");
        assert_eq!(room.states.as_slice(), workspace.state.as_slice(), "{wrong}");
        assert!(sums.iter().all(|g| *g == 0.0));
    }
}

/// Everything of a wrong size, scalar or kind is refused, names both, and changes nothing.
#[test]
fn wrong_shapes_are_refused() {
    let shape =
        |widths: &[usize], scalar| Shape::new(widths, scalar, "adjacent", 0, "tanh", "identity").unwrap();
    let net = DynNetwork::<f32>::zeros(shape(&[3, 5, 2], "f32")).unwrap();
    let text = |error: DynError| error.to_string();
    assert_eq!(
        text(DynNetwork::new(*net.shape(), vec![0.0; 7]).unwrap_err()),
        "parameters: expected 42, found 7"
    );
    for scalar in ["f64", "i8", "bf16"] {
        let error = DynNetwork::<f32>::zeros(shape(&[3, 5, 2], scalar)).unwrap_err();
        assert!(matches!(error, DynError::Unsupported { .. }), "{error}");
    }
    let huge = u32::MAX as usize;
    assert!(DynNetwork::<f32>::zeros(shape(&[huge, huge, huge], "f32")).is_err());

    let memory = [0.5; 12];
    let inputs = |rows, columns| DMatrixView::from_slice(&memory[..rows * columns], rows, columns);
    let mut states = DynStates::zeros(&net, 2);
    net.solve(&inputs(2, 3), &mut states, Stop::residual(1e-5)).unwrap();
    states.as_mut_slice().fill(0.25);
    for (rows, columns, wrong) in [
        (2, 4, "values of a sample: expected 3, found 4"),
        (3, 3, "samples: expected 2, found 3"),
        (0, 3, "samples: expected 2, found 0"),
    ] {
        let error = net.solve(&inputs(rows, columns), &mut states, Stop::residual(1e-5)).unwrap_err();
        assert_eq!(text(error), wrong);
    }
    let other = DynNetwork::<f32>::zeros(shape(&[3, 6, 2], "f32")).unwrap();
    let error = other.solve(&inputs(2, 3), &mut states, Stop::residual(1e-5)).unwrap_err();
    assert_eq!(text(error), "units of the states: expected 8, found 7");
    assert!(states.as_slice().iter().all(|h| *h == 0.25));
    let nan = [f32::NAN; 3];
    let error = net.solve(&DMatrixView::from_slice(&nan, 1, 3), &mut states, Stop::residual(1e-5));
    assert!(matches!(error, Err(DynError::Solve(SolveError::NotFinite { .. }))));

    let mut trainer = DynTrainer::new(net.clone(), Sgd::plain(), Objective::new(CrossEntropy::new()), 2);
    for (labels, wrong) in [
        (&[0, 2][..], LossError::Label { classes: 2, found: 2 }),
        (&[0][..], LossError::Target("one label a sample is asked for")),
    ] {
        let error = trainer.step(&inputs(2, 3), labels).unwrap_err();
        assert_eq!(error, DynError::Learn(LearnError::Loss(wrong)));
    }
    trainer.unsolved = Unsolved::Weaken(2.0);
    assert!(trainer.step(&inputs(2, 3), &[0, 1][..]).is_err());
    (trainer.unsolved, trainer.hold) = (Unsolved::Skip, Some(1.0));
    assert!(trainer.step(&inputs(2, 3), &[0, 1][..]).is_err());
    assert_eq!(trainer.network.params(), net.params());
    let mut squares = DynTrainer::new(net.clone(), Sgd::plain(), Objective::new(MeanSquared), 2);
    assert!(squares.step(&inputs(2, 3), &inputs(2, 3)).is_err());
    let mut gradient = vec![1.0; 41];
    let mut room = DynWorkspace::zeros(&net, 2);
    let objective = Objective::new(MeanSquared);
    let error = net.gradient(&objective, &inputs(2, 3), &inputs(2, 2), &mut room, &mut gradient).unwrap_err();
    assert_eq!(text(error), "entries of the gradient: expected 42, found 41");
    assert!(gradient.iter().all(|g| *g == 1.0));

    let certificate = net.certify().unwrap();
    assert!(certificate.verify(&other).is_err());
    assert!(DynCertificate::new(&other, certificate.as_slice().to_vec()).is_err());
    assert!(other.to_bytes(Some(&certificate)).is_err());
    assert!(DynQuantized::<i8>::new(&net, &DynCalibration::new(&other)).is_err());
    let file = net.to_bytes(Some(&certificate)).unwrap();
    for at in 0..file.len() {
        assert!(DynNetwork::<f32>::from_bytes(&file[..at]).is_err());
    }
    assert!(DynNetwork::<f64>::from_bytes(&file).is_err() && DynQuantized::<i8>::from_bytes(&file).is_err());
    // A certificate of other weights does not hold.
    let mut stronger = net.clone();
    stronger.params_mut().fill(0.125);
    assert!(matches!(certificate.verify(&stronger), Err(DynError::Certificate(_))));
    // The typed network opens what was written.
    type Net = fnn![3, 5, 2];
    let mut aligned = Align64([0; Net::file_bytes(true)]);
    aligned.0.copy_from_slice(&file);
    let model = Net::from_bytes(&aligned.0).unwrap();
    assert_eq!(model.certificate().map(Certificate::as_slice), Some(certificate.as_slice()));
}
