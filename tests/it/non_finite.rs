//! What is not finite is named: what it is, which sample, which layer and unit.

use super::oracle::subject;
use attractor::adapt::{Adapted, LastLayer, LowRank};
use attractor::kernel::Identity;
use attractor::learn::{
    LearnError, MeanSquared, Method, Objective, Optimizer, Sgd, UnrolledTape, UpdateError, clip,
};
use attractor::network::{Architecture, Flat, Takes};
use attractor::quantized::Bf16Network;
use attractor::simd::{Backend, Element};
use attractor::solve::{Map, MapError, Solver};
use attractor::{
    Acceleration, Dense, Feedforward, Injection, Network, NonFinite, SolveError, Solved, State, Stop, Tied,
    Trace, Workspace, fnn,
};
use nalgebra::SMatrix;

/// The widths of all networks here, the inputs first.
const WIDTHS: [usize; 4] = [3, 5, 4, 2];
/// Units of all layers.
const UNITS: usize = 11;

/// What a parameter is, counted as the documentation says: of every layer W, U and b, each column after column. `feedback`: the columns of U.
fn parameter(mut index: usize, feedback: [usize; 3]) -> NonFinite {
    for layer in 1..4 {
        let (width, inputs) = (WIDTHS[layer], WIDTHS[layer - 1]);
        for (matrix, columns) in [('W', inputs), ('U', feedback[layer - 1]), ('b', 1)] {
            if index < width * columns {
                return NonFinite::Weight { matrix, layer, row: index % width, column: index / width };
            }
            index -= width * columns;
        }
    }
    panic!("no such parameter")
}

/// A way to solve, and its error.
type Solve<'a, A, const B: usize> =
    &'a mut dyn FnMut(&mut State<Network<A>, B>) -> Option<SolveError<<A as Architecture>::Scalar>>;

/// What every way to solve says of an input, of a state to begin with, and of a network.
fn said<A: Takes<3>, const B: usize>(
    net: &Network<A>,
    backend: Backend,
    x: &SMatrix<A::Scalar, B, 3>,
    start: &State<Network<A>, B>,
) -> Vec<NonFinite> {
    let stop = Stop::residual(A::Scalar::from_f64(1e-4)).at_most(200);
    let on = net.on(backend);
    let mut said = Vec::new();
    let mut hear = |how: &str, solve: Solve<'_, A, B>| {
        let mut state = start.clone();
        let Some(SolveError::NotFinite(what)) = solve(&mut state) else { panic!("{how} of {net:?}") };
        said.push(what);
        let is_input = matches!(what, NonFinite::Input { .. });
        let zero = state.as_slice().iter().all(|h| *h == A::Scalar::ZERO);
        assert!(is_input || zero, "{how} of {net:?}, {what}: {state:?}");
    };
    hear("solve", &mut |state| on.solve(x, state, stop).err());
    hear("specialized", &mut |state| on.specialized().solve(x, state, stop).err());
    let mut injection = Injection::ZERO;
    if on.inject(x, &mut injection).is_ok() {
        hear("sweep", &mut |state| (0..200).find_map(|_| on.sweep(&injection, state).err()));
    }
    said
}

/// The same of one sample, which may also be traced and accelerated.
fn said_of_one<A: Takes<3>>(
    net: &Network<A>,
    backend: Backend,
    x: [A::Scalar; 3],
    start: &State<Network<A>>,
) -> Vec<NonFinite> {
    let stop = Stop::residual(A::Scalar::from_f64(1e-4)).at_most(200);
    let mut said = said::<A, 1>(net, backend, &SMatrix::from_row_slice(&x), start);
    let traced = net.on(backend).solve_traced(&x, &mut start.clone(), stop, &mut Trace::<_, 8>::new());
    let mut how = Acceleration::<Network<A>, 2>::new();
    let accelerated = net.on(backend).solve_accelerated(&x, &mut start.clone(), stop, &mut how);
    for result in [traced, accelerated] {
        let Err(SolveError::NotFinite(what)) = result else { panic!("{net:?}: {result:?}") };
        said.push(what);
    }
    said
}

fn of_solves<A: Takes<3>, const B: usize>(zero: &Network<A>, feedback: [usize; 3]) {
    let number = |i: usize| A::Scalar::from_f64(0.1 * (i as f64).sin());
    let mut net = zero.clone();
    net.params_mut().iter_mut().enumerate().for_each(|(i, w)| *w = number(i));
    let x = SMatrix::<A::Scalar, B, 3>::from_fn(|s, i| number(7 * s + i));
    let start = State::<Network<A>, B>::ZERO;
    for backend in subject::backends() {
        for bad in [A::Scalar::NAN, A::Scalar::INFINITE] {
            for (sample, input) in [(0, 0), (B / 2, 2), (B - 1, 1)] {
                let mut x = x;
                x[(sample, input)] = bad;
                let said = said(&net, backend, &x, &start);
                assert!(said.iter().all(|what| *what == NonFinite::Input { sample, input }), "{said:?}");
            }
        }
        for index in (0..net.params().len()).step_by(if B == 1 { 1 } else { 13 }) {
            let mut net = net.clone();
            net.params_mut()[index] = A::Scalar::NAN;
            let said = said(&net, backend, &x, &start);
            assert!(said.iter().all(|what| *what == parameter(index, feedback)), "{index}: {said:?}");
            if B == 1 {
                let x = core::array::from_fn(|i| x[(0, i)]);
                let said = said_of_one(&net, backend, x, &State::ZERO);
                assert!(said.iter().all(|what| *what == parameter(index, feedback)), "{index}: {said:?}");
                assert_eq!(net.non_finite(), Some(parameter(index, feedback)));
            }
        }
    }
}

#[test]
fn inputs_and_weights() {
    of_solves::<_, 1>(&<fnn![3, 5, 4, 2]>::ZERO, [4, 2, 0]);
    of_solves::<_, 3>(&<fnn![3, 5, 4, 2; scalar = f64]>::ZERO, [4, 2, 0]);
    of_solves::<_, 40>(&<fnn![3, 5, 4, 2; feedback = Dense]>::ZERO, [6, 2, 0]);
    of_solves::<_, 1>(&<fnn![3, 5, 4, 2; feedback = Tied<50>]>::ZERO, [0; 3]);
    of_solves::<_, 2>(&<fnn![3, 5, 4, 2; feedback = Feedforward]>::ZERO, [0; 3]);
}

/// A state that begins as none is found where it arrives first; sums that overflow are found where they do.
fn of_states<const B: usize>() {
    type Net = fnn![3, 5, 4, 2];
    type Linear = fnn![3, 5, 4, 2; feedback = Feedforward, hidden = Identity];
    let mut net = Net::ZERO;
    net.params_mut().iter_mut().enumerate().for_each(|(i, w)| *w = 0.1 * (i as f32).sin());
    let x = SMatrix::<f32, B, 3>::repeat(0.5);
    for backend in subject::backends() {
        for sample in [0, B / 2, B - 1] {
            let mut start = Net::state::<B>();
            start.as_mut_slice()[7 * B + sample] = f32::NAN; // of layer 2
            let found = NonFinite::State { sample, layer: 1, unit: 0 };
            assert!(said(&net, backend, &x, &start).iter().all(|what| *what == found));

            let (mut linear, start) = (Linear::ZERO, Linear::state::<B>());
            linear.layer_mut::<1>().w[(3, 1)] = 1e30;
            linear.layer_mut::<2>().w[(1, 3)] = 1e30;
            let mut x = SMatrix::<f32, B, 3>::zeros();
            x[(sample, 1)] = 1.0;
            let found = NonFinite::State { sample, layer: 2, unit: 1 };
            let all = said(&linear, backend, &x, &start);
            assert!(all.iter().all(|what| *what == found), "{all:?}");
            // In the first layer it is found before there is a state.
            linear.layer_mut::<1>().w[(2, 1)] = 2e38;
            x[(sample, 1)] = 1e38;
            let found = NonFinite::State { sample, layer: 1, unit: 2 };
            let all = said(&linear, backend, &x, &start);
            assert!(all.iter().all(|what| *what == found), "{all:?}");
        }
    }
}

#[test]
fn states_and_sums() {
    of_states::<1>();
    of_states::<3>();
    of_states::<40>();
}

fn of_gradients<const B: usize>() {
    type Net = fnn![3, 5, 4, 2];
    let mut net = Net::ZERO;
    net.params_mut().iter_mut().enumerate().for_each(|(i, w)| *w = 0.1 * (i as f32).sin());
    let x = SMatrix::<f32, B, 3>::repeat(0.5);
    let y = SMatrix::<f32, B, 2>::repeat(0.25);
    let objective = Objective::new(MeanSquared);
    let adapter = Adapted::<Net, LowRank<2>>::new(&net, 1);
    for backend in subject::backends() {
        let on = net.on(backend);
        // Every way to a gradient.
        let all = |x: &SMatrix<f32, B, 3>, y: &SMatrix<f32, B, 2>| -> [Option<LearnError>; 4] {
            let (mut gradient, mut small) = (Net::ZERO, Adapted::<Net, LowRank<2>>::gradient_zero());
            let mut tape = UnrolledTape::<Net, B, 3>::ZERO;
            let anew = || Workspace::<Net, B>::ZERO;
            [
                on.gradient(&objective, x, y, &mut anew(), &mut gradient).err(),
                on.specialized().gradient(&objective, x, y, &mut anew(), &mut gradient).err(),
                on.gradient_unrolled(&MeanSquared, x, y, &mut tape, &mut anew(), &mut gradient).err(),
                adapter.on(backend).gradient(&objective, x, y, &mut anew(), &mut small).err(),
            ]
        };
        for (sample, input, output) in [(0, 2, 0), (B / 2, 0, 1), (B - 1, 1, 1)] {
            let mut bad = x;
            bad[(sample, input)] = f32::INFINITY;
            let found = LearnError::Solve(SolveError::NotFinite(NonFinite::Input { sample, input }));
            assert_eq!(all(&bad, &y), [Some(found); 4]);
            let mut bad = y;
            bad[(sample, output)] = f32::NAN;
            let found = LearnError::NotFinite(NonFinite::LossGradient { sample, output });
            assert_eq!(all(&x, &bad), [Some(found); 4]);
            // Its square is infinite, and its slope is not.
            bad[(sample, output)] = 1e25;
            assert_eq!(all(&x, &bad), [Some(LearnError::NotFinite(NonFinite::Loss)); 4]);

            // An adjoint alone.
            let stop = Stop::relative(1e-4);
            let adjoint = |net: &Net, state: &State<Net, B>, slope: &SMatrix<f32, B, 2>, from: f32| {
                let mut deltas = Net::state::<B>();
                deltas.as_mut_slice()[3 * B + sample] = from;
                let result = net.on(backend).adjoint(Method::Implicit(stop), state, slope, &mut deltas);
                let Err(SolveError::NotFinite(what)) = result else { panic!("{result:?}") };
                assert!(deltas.as_slice().iter().all(|d| *d == 0.0));
                what
            };
            let (state, mut slope) = (Net::state::<B>(), y);
            let what = adjoint(&net, &state, &slope, f32::NAN);
            assert!(matches!(what, NonFinite::Delta { sample: found, .. } if found == sample), "{what}");
            slope[(sample, output)] = f32::NEG_INFINITY;
            assert_eq!(adjoint(&net, &state, &slope, 0.0), NonFinite::LossGradient { sample, output });
            let mut spoilt = state.clone();
            spoilt.as_mut_slice()[6 * B + sample] = f32::NAN;
            let found = NonFinite::State { sample, layer: 2, unit: 1 };
            assert_eq!(adjoint(&net, &spoilt, &y, 0.0), found);
            let mut other = net.clone();
            other.layer_mut::<2>().w[(3, 4)] = f32::NAN;
            let found = NonFinite::Weight { matrix: 'W', layer: 2, row: 3, column: 4 };
            assert_eq!(adjoint(&other, &state, &y, 0.0), found);

            // The sums alone.
            let sums = |x: &SMatrix<f32, B, 3>, state: &State<Net, B>, delta: f32| {
                let mut deltas = Net::state::<B>();
                deltas.as_mut_slice()[10 * B + sample] = delta;
                match Net::accumulate(x, state, &deltas, &mut Network::ZERO.clone()) {
                    Err(LearnError::NotFinite(what)) => what,
                    other => panic!("{other:?}"),
                }
            };
            let mut bad = x;
            bad[(sample, input)] = f32::NAN;
            assert_eq!(sums(&bad, &state, 1.0), NonFinite::Input { sample, input });
            assert_eq!(sums(&x, &spoilt, 1.0), NonFinite::State { sample, layer: 2, unit: 1 });
            assert_eq!(sums(&x, &state, f32::NAN), NonFinite::Delta { sample, layer: 3, unit: 1 });
            assert_eq!(sums(&x, &state, -3e38), NonFinite::Gradient { sample, layer: 3, unit: 1 });
            // And the gradient of the input.
            let mut first = SMatrix::<f32, B, 5>::zeros();
            first[(sample, 4)] = f32::NAN;
            let went = net.input_gradient(&first, &mut SMatrix::<f32, B, 3>::zeros());
            let found = NonFinite::Delta { sample, layer: 1, unit: 4 };
            assert_eq!(went, Err(LearnError::NotFinite(found)));
        }
    }
}

#[test]
fn targets_deltas_and_gradients() {
    of_gradients::<1>();
    of_gradients::<3>();
    of_gradients::<40>();
}

/// The parameters of adapters are those of the layers they change.
#[test]
fn adapters() {
    type Net = fnn![3, 5, 4, 2];
    let net = Net::ZERO;
    let stop = Stop::residual(1e-4);
    let mut low = Adapted::<Net, LowRank<2>>::new(&net, 1);
    // P, Q^T and b of each layer: 5 x 2, 2 x (3 + 4), 5 and so on.
    for (index, matrix, layer, row, column) in [
        (0, 'P', 1, 0, 0),
        (9, 'P', 1, 4, 1),
        (10, 'Q', 1, 0, 0),
        (23, 'Q', 1, 1, 6),
        (24, 'b', 1, 0, 0),
        (29, 'P', 2, 0, 0),
    ] {
        let before = low.params().flat()[index];
        low.params_mut().flat_mut()[index] = f32::NAN;
        let found = NonFinite::Weight { matrix, layer, row, column };
        let solved = low.solve(&[0.5; 3], &mut Net::state(), stop);
        assert_eq!(solved, Err(SolveError::NotFinite(found)));
        low.params_mut().flat_mut()[index] = before;
    }
    let mut last = Adapted::<Net, LastLayer>::new(&net, 1);
    last.params_mut().flat_mut()[7] = f32::NAN;
    let found = NonFinite::Weight { matrix: 'W', layer: 3, row: 1, column: 3 };
    let solved = last.solve(&[0.5; 3], &mut Net::state(), stop);
    assert_eq!(solved, Err(SolveError::NotFinite(found)));
    let solved = last.solve(&[0.5, 0.0, f32::NAN], &mut Net::state(), stop);
    assert_eq!(solved, Err(SolveError::NotFinite(NonFinite::Input { sample: 0, input: 2 })));
}

/// Of a map the sample and the unit are known.
#[test]
fn maps() {
    struct Grows {
        at: usize,
    }
    impl Map for Grows {
        type Scalar = f64;
        fn units(&self) -> usize {
            4
        }
        fn samples(&self) -> usize {
            3
        }
        fn apply(&self, h: &[f64], next: &mut [f64]) {
            for (i, (next, h)) in next.iter_mut().zip(h).enumerate() {
                *next = if i == self.at { f64::NAN } else { 0.5 * h };
            }
        }
    }
    for solver in [Solver::plain(), Solver::damped(0.5), Solver::anderson(2), Solver::broyden(3)] {
        for at in 0..12 {
            let (mut state, mut room) = ([0.5; 12], vec![0.0; solver.room(4, 3)]);
            let solved = solver.solve(&Grows { at }, &mut state, Stop::residual(1e-6), &mut room);
            let found = NonFinite::Map { sample: at % 3, unit: at / 3 };
            assert_eq!(solved, Err(MapError::Solve(SolveError::NotFinite(found))), "{solver:?}");
        }
    }
}

/// Weights of 16 bits, and the energy.
#[test]
fn others() {
    type Net = fnn![3, 5, 4, 2];
    let (mut net, stop) = (Net::ZERO, Stop::residual(1e-4));
    let half = Bf16Network::new(&net).unwrap();
    let is =
        |solved: Result<Solved, SolveError>, found| assert_eq!(solved, Err(SolveError::NotFinite(found)));
    is(half.solve(&[0.0, f32::NAN, 0.0], &mut Net::state(), stop), NonFinite::Input { sample: 0, input: 1 });
    let mut state = Net::state();
    state.as_mut_slice()[6] = f32::INFINITY;
    is(half.solve(&[0.0; 3], &mut state, stop), NonFinite::State { sample: 0, layer: 1, unit: 0 });
    net.layer_mut::<2>().b[2] = f32::NAN;
    let found = NonFinite::Weight { matrix: 'b', layer: 2, row: 2, column: 0 };
    assert_eq!(Bf16Network::new(&net).err(), Some(SolveError::NotFinite(found)));

    type Deep = fnn![3, 5, 4, 2; feedback = Tied<50>];
    let (mut deep, mut state) = (Deep::ZERO, Deep::state());
    let found = NonFinite::Input { sample: 0, input: 2 };
    assert_eq!(deep.energy(&[0.0, 0.0, f32::NAN], &state), Err(SolveError::NotFinite(found)));
    state.as_mut_slice()[UNITS - 1] = f32::NAN;
    let found = NonFinite::State { sample: 0, layer: 3, unit: 1 };
    assert_eq!(deep.energy(&[0.0; 3], &state), Err(SolveError::NotFinite(found)));
    deep.layer_mut::<3>().w[(1, 2)] = f32::NAN;
    let found = NonFinite::Weight { matrix: 'W', layer: 3, row: 1, column: 2 };
    assert_eq!(deep.energy(&[0.0; 3], &Deep::state()), Err(SolveError::NotFinite(found)));
}

/// A plain sentence each.
#[test]
fn sentences() {
    let (sample, layer, unit) = (2, 3, 4);
    for (what, text) in [
        (NonFinite::Input { sample, input: 1 }, "input 1 of sample 2 is not finite"),
        (
            NonFinite::Weight { matrix: 'U', layer, row: 5, column: 6 },
            "entry (5, 6) of U of layer 3 is not finite",
        ),
        (
            NonFinite::Weight { matrix: 'b', layer, row: 5, column: 0 },
            "entry 5 of b of layer 3 is not finite",
        ),
        (
            NonFinite::State { sample, layer, unit },
            "the state of unit 4 of layer 3 is not finite in sample 2",
        ),
        (
            NonFinite::Delta { sample, layer, unit },
            "the delta of unit 4 of layer 3 is not finite in sample 2",
        ),
        (NonFinite::Loss, "the loss is not finite"),
        (
            NonFinite::LossGradient { sample, output: 0 },
            "the gradient of the loss is not finite at output 0 of sample 2",
        ),
        (
            NonFinite::Gradient { sample, layer, unit },
            "the delta of unit 4 of layer 3 is too large in sample 2: the gradient might not be finite",
        ),
        (NonFinite::Map { sample, unit }, "unit 4 of the map is not finite in sample 2"),
        (NonFinite::Overflow, "a sum is not finite"),
    ] {
        assert_eq!(what.to_string(), text);
        assert_eq!(SolveError::<f32>::NotFinite(what).to_string(), text);
        assert_eq!(LearnError::<f64>::NotFinite(what).to_string(), text);
    }
}

/// An update that is refused says of which parameter.
#[test]
fn updates_name_the_parameter() {
    let (params, gradient) = ([0.5_f32; 40], [0.25_f32; 40]);
    for at in [0, 1, 17, 39] {
        for wrong in [f32::NAN, f32::INFINITY, -f32::INFINITY, 1e30] {
            let mut bad = gradient;
            bad[at] = wrong;
            let mut own = params;
            let refused = Sgd::<attractor::network::NoMemory<f32>>::plain().update(&mut own, &bad, 0.1);
            assert_eq!(refused, Err(UpdateError::NotFinite(at)));
            assert_eq!(clip(&mut bad, 1.0), Err(UpdateError::NotFinite(at)));
            if !wrong.is_finite() {
                own[at] = wrong;
                let refused = Sgd::<attractor::network::NoMemory<f32>>::plain()
                    .update(&mut own, &gradient, 0.1)
                    .unwrap_err();
                assert_eq!(refused, UpdateError::NotFinite(at));
                let text = format!("parameter {at} or its entry of the gradient is a NaN or too large");
                assert_eq!(refused.to_string(), text);
            }
        }
    }
}
