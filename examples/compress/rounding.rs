//! The trained network in fewer bits, and trained on with its weights rounded.

use crate::data::{BATCH, Digit, PIXELS};
use crate::smaller::{Course, most, objective};
use crate::{Integers, Net};
use attractor::learn::{Adam, LearnError, Optimizer};
use attractor::quantized::{Calibration, Quantized};
use attractor::simd::IntState;
use attractor::{Boxed, NonFinite, State, Stop, Workspace};
use nalgebra::SMatrix;
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};

/// Digits to calibrate on.
const CALIBRATION: usize = 500;

/// What training digits say about the states of a network.
pub(crate) fn calibrate(net: &Net, digits: &[Digit]) -> Result<Calibration<Net>, LearnError> {
    let (mut calibration, mut state) = (Calibration::<Net>::ZERO, Net::state::<1>());
    for digit in digits.iter().take(CALIBRATION) {
        state.reset();
        net.solve(&digit.pixels, &mut state, Stop::residual(1e-4))?;
        calibration.observe(&digit.pixels, &state).map_err(|_| LearnError::NotFinite(NonFinite::Overflow))?;
    }
    Ok(calibration)
}

/// The network rounded.
pub(crate) fn round<H: IntState>(net: &Net, digits: &[Digit]) -> Result<Integers<H>, LearnError> {
    let mut integers = Integers::<H>::new(attractor::Align64(Quantized::ZERO));
    integers.fill(net, &calibrate(net, digits)?).map_err(|_| LearnError::NotFinite(NonFinite::Overflow))?;
    Ok(integers)
}

/// Trains on, with the gradient taken where the rounded weights are and added to those that are rounded anew after each step.
pub(crate) fn train_rounded<H: IntState>(
    net: &Net,
    digits: &[Digit],
    course: Course,
) -> Result<Integers<H>, LearnError> {
    let (mut master, mut rounded, mut gradient) = (Net::boxed(), Net::boxed(), Net::boxed());
    master.params_mut().copy_from_slice(net.params());
    let mut integers = round::<H>(net, digits)?;
    let calibration = calibrate(net, digits)?;
    let mut holding = State::ZERO;
    let mut adam = Adam::<Boxed<Net>>::new();
    let mut workspace = Box::new(Workspace::<Net, BATCH>::ZERO);
    let mut order: Vec<usize> = (0..digits.len()).collect();
    let mut random = SmallRng::seed_from_u64(course.seed);
    for epoch in 0..course.epochs {
        order.shuffle(&mut random);
        let rate = course.rate * (1.0 - epoch as f32 / course.epochs as f32);
        for batch in order.chunks_exact(BATCH) {
            let input = SMatrix::<f32, BATCH, PIXELS>::from_fn(|row, pixel| digits[batch[row]].pixels[pixel]);
            let labels = core::array::from_fn(|row| digits[batch[row]].label);
            integers.fill(&master, &calibration).map_err(|_| LearnError::NotFinite(NonFinite::Overflow))?;
            integers.to_network(&mut rounded);
            gradient.params_mut().fill(0.0);
            workspace.state = State::ZERO;
            workspace.adjoint = State::ZERO;
            rounded.gradient(&objective(), &input, &labels, &mut workspace, &mut gradient)?;
            adam.update(master.params_mut(), gradient.params(), rate).map_err(LearnError::Update)?;
            // A loop of its own holds the network as the trainer does.
            master
                .hold_rate(most::<Net>(), &mut holding)
                .map_err(|_| LearnError::NotFinite(NonFinite::Overflow))?;
        }
    }
    round::<H>(&master, digits)
}
