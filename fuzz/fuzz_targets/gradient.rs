//! Any bits as weights, inputs, targets and start: a gradient is finite, or there is a typed error and the
//! accumulator keeps every bit; a training step that fails changes neither network nor optimizer, but that the first step holds the network before
//! it begins.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use attractor::learn::{
    Adam, CrossEntropy, LearnError, MeanSquared, Method, Objective, Optimizer, Sgd, Trainer, UnrolledTape,
    UpdateError, clip,
};
use attractor::simd::Backend;
use attractor::{Dense, SolveError, State, Stop, Workspace, fnn};
use libfuzzer_sys::fuzz_target;
use nalgebra::SMatrix;

type Net = fnn![3, 7, 4, 3; feedback = Dense];

/// Any bits, or numbers of a size that networks have: only with these do most gradients succeed.
fn number(u: &mut Unstructured<'_>) -> Result<f32> {
    Ok(match u.int_in_range(0..=15)? {
        0 => f32::from_bits(u.arbitrary()?),
        1 => [0.0, -0.0, f32::MAX, f32::MIN_POSITIVE, 1e-45, 1e38, f32::INFINITY, f32::NAN]
            [u.choose_index(8)?],
        2 => f32::from(i8::arbitrary(u)?) * 1e17,
        _ => f32::from(i8::arbitrary(u)?) / 300.0,
    })
}

fn tolerance(u: &mut Unstructured<'_>) -> Result<Stop> {
    let limit = u.int_in_range(0..=30)?;
    Ok(match u.choose_index(4)? {
        0 => Stop::after(limit),
        1 => Stop::residual(number(u)?).at_most(limit),
        2 => Stop::relative(number(u)?).at_most(limit),
        _ => Stop::residual(1e-3),
    })
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

fn finite(values: &[f32]) -> bool {
    values.iter().all(|x| x.is_finite())
}

fn check<const B: usize>(u: &mut Unstructured<'_>) -> Result<()> {
    let mut net = Net::ZERO;
    for w in net.params_mut() {
        *w = number(u)?;
    }
    let mut input = SMatrix::<f32, B, 3>::zeros();
    let mut target = input;
    for x in input.as_mut_slice().iter_mut().chain(target.as_mut_slice()) {
        *x = number(u)?;
    }
    let mut labels = [0; B];
    for label in &mut labels {
        *label = u.int_in_range(0..=3)?;
    }
    let mut workspace = Workspace::<Net, B>::ZERO;
    if u.ratio(1, 4)? {
        let Workspace { state, adjoint, .. } = &mut workspace;
        for h in state.as_mut_slice().iter_mut().chain(adjoint.as_mut_slice()) {
            *h = number(u)?;
        }
    }
    let mut before = Net::ZERO;
    for g in before.params_mut() {
        *g = f32::from(i8::arbitrary(u)?);
    }
    let solve = tolerance(u)?;
    let rule = match u.choose_index(3)? {
        0 => Method::Implicit(tolerance(u)?),
        1 => Method::Truncated(u.int_in_range(0..=5)?),
        _ => Method::Literal(tolerance(u)?),
    };
    let (squares, smoothing) = (u.arbitrary()?, number(u)?);
    let unroll = u.arbitrary()?;
    let backends: Vec<Backend> = Backend::available().collect();
    let backend = backends[u.choose_index(backends.len())?];

    let mut gradient = before.clone();
    let on = net.on(backend);
    let result = if unroll {
        let mut tape = Box::new(UnrolledTape::<Net, B, 4>::ZERO);
        tape.start = workspace.state.clone();
        on.gradient_unrolled(&MeanSquared, &input, &target, &mut tape, &mut workspace, &mut gradient)
    } else if squares {
        let objective = Objective::new(MeanSquared).solve(solve).method(rule);
        on.gradient(&objective, &input, &target, &mut workspace, &mut gradient)
    } else {
        let objective = Objective::new(CrossEntropy::smoothed(smoothing)).solve(solve).method(rule);
        let result = on.gradient(&objective, &input, &labels, &mut workspace, &mut gradient);
        if labels.iter().any(|&label| label >= 3) {
            let refused = matches!(result, Err(LearnError::Adjoint(SolveError::Setting(_))));
            assert!(
                refused || matches!(result, Err(LearnError::Loss(_) | LearnError::Solve(_))),
                "{result:?}"
            );
        }
        result
    };
    match result {
        Ok(learned) => {
            assert!(learned.loss.is_finite() && learned.solve.residual.is_finite());
            assert!(learned.adjoint.residual.is_finite());
            assert!(finite(gradient.params()), "{learned:?}");
            let mut slope = input;
            if net.input_gradient(workspace.adjoint.first(), &mut slope).is_ok() {
                assert!(finite(slope.as_slice()));
            }
        }
        Err(_) => assert_eq!(bits(gradient.params()), bits(before.params()), "an error accumulates nothing"),
    }

    let rate = number(u)?;
    let before = bits(gradient.params());
    let mut weights = net.clone();
    if clip(gradient.params_mut(), number(u)?).is_ok() {
        assert!(finite(gradient.params()));
    } else {
        assert_eq!(bits(gradient.params()), before);
    }
    if Adam::<Net>::new().update(weights.params_mut(), gradient.params(), rate).is_err() {
        assert_eq!(bits(weights.params()), bits(net.params()));
    }
    Ok(())
}

/// Any of the optimizers: one type, so that one trainer is compiled.
#[derive(Clone, Debug)]
enum Any {
    Plain(Sgd),
    Momentum(Sgd<Net>),
    Adam(Adam<Net>),
}

impl Optimizer<f32> for Any {
    fn update(
        &mut self,
        params: &mut [f32],
        gradient: &[f32],
        rate: f32,
    ) -> core::result::Result<(), UpdateError> {
        match self {
            Self::Plain(optimizer) => optimizer.update(params, gradient, rate),
            Self::Momentum(optimizer) => optimizer.update(params, gradient, rate),
            Self::Adam(optimizer) => optimizer.update(params, gradient, rate),
        }
    }
}

fn train(u: &mut Unstructured<'_>) -> Result<()> {
    const B: usize = 4;
    let mut net = Net::ZERO;
    for w in net.params_mut() {
        *w = number(u)?;
    }
    let optimizer = match u.choose_index(3)? {
        0 => Any::Plain(Sgd::plain().decay(number(u)?)),
        1 => Any::Momentum(Sgd::with_momentum(number(u)?).decay(number(u)?)),
        _ => {
            let mut adam = Adam::new().decay(number(u)?);
            (adam.first_decay, adam.second_decay) = (number(u)?, number(u)?);
            adam.epsilon = number(u)?.abs();
            Any::Adam(adam)
        }
    };
    let objective = Objective::new(MeanSquared).method(Method::Truncated(u.int_in_range(0..=4)?));
    let mut held = net.clone();
    let mut room = State::ZERO;
    let _ = held.hold_rate(0.9, &mut room);
    let held = bits(held.params());
    let mut trainer: Trainer<Net, _, _, B> = Trainer::new(net, optimizer, objective);
    let mut begun = false;
    for _ in 0..3 {
        (trainer.rate, trainer.clip) = (number(u)?, if u.arbitrary()? { Some(number(u)?) } else { None });
        let mut input = SMatrix::<f32, B, 3>::zeros();
        let mut target = input;
        for x in input.as_mut_slice().iter_mut().chain(target.as_mut_slice()) {
            *x = number(u)?;
        }
        let (network, optimizer) = (bits(trainer.network.params()), format!("{:#?}", trainer.optimizer));
        let result = trainer.step(&input, &target);
        let now = bits(trainer.network.params());
        if result.is_ok() {
            assert!(finite(trainer.network.params()));
            begun = true;
        } else {
            assert!(now == network || !begun && now == held, "a step that fails changes no weight");
            begun |= now != network;
            assert_eq!(format!("{:#?}", trainer.optimizer), optimizer);
        }
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let _ = match u.int_in_range(0..=2).unwrap_or(0) {
        0 => check::<1>(&mut u),
        1 => check::<4>(&mut u),
        _ => train(&mut u),
    };
});
