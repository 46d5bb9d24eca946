//! The least that learns and is held to a rate, to be measured, as `minimal_infer`.

#![no_std]
#![no_main]

use attractor::learn::{Descent, MeanSquared, Method, Objective};
use attractor::{Stop, fnn};
use attractor_firmware::Place;
use core::hint::black_box;

type Net = fnn![16, 32, 16, 4];
type Learner = Descent<Net, MeanSquared>;

static LEARNER: Place<Option<Learner>> = Place::new(None);

attractor_firmware::minimal_program!(forever);

fn forever() {
    if let Some(place) = LEARNER.take() {
        let objective = Objective::new(MeanSquared).solve(Stop::after(8)).method(Method::Truncated(8));
        let learner = place.insert(Learner::new(Net::ZERO, objective, 0.01));
        let (input, target) = ([0.0; 16], [0.0; 4]);
        loop {
            black_box(train_held(learner, black_box(&input), black_box(&target)));
        }
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
fn train_held(learner: &mut Learner, input: &[f32; 16], target: &[f32; 4]) -> bool {
    learner.step(input, target).is_ok()
}
