//! The least that learns, not held to a rate, to be measured, as `minimal_infer`.

#![no_std]
#![no_main]

use attractor::learn::{MeanSquared, Method, Objective};
use attractor::{Stop, Workspace, fnn};
use attractor_firmware::Place;
use core::hint::black_box;

type Net = fnn![16, 32, 16, 4];

struct Learner {
    network: Net,
    objective: Objective<MeanSquared>,
    workspace: Workspace<Net>,
}

static LEARNER: Place<Option<Learner>> = Place::new(None);

attractor_firmware::minimal_program!(forever);

fn forever() {
    if let Some(place) = LEARNER.take() {
        let objective = Objective::new(MeanSquared).solve(Stop::after(8)).method(Method::Truncated(8));
        let learner = place.insert(Learner { network: Net::ZERO, objective, workspace: Workspace::ZERO });
        let (input, target) = ([0.0; 16], [0.0; 4]);
        loop {
            black_box(train(learner, black_box(&input), black_box(&target)));
        }
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
fn train(learner: &mut Learner, input: &[f32; 16], target: &[f32; 4]) -> bool {
    let Learner { network, objective, workspace } = learner;
    workspace.state.reset();
    workspace.adjoint.reset();
    network.descend(objective, input, target, workspace, 0.01).is_ok()
}
