//! The least that infers, to be measured: what flash and stack it takes is what the network takes, and it does not link if
//! any way to panic survives.

#![no_std]
#![no_main]

use attractor::{State, Stop, fnn};
use attractor_firmware::Place;
use core::hint::black_box;

type Net = fnn![16, 32, 16, 4];

/// Weights in flash; that they are all zero does not matter to what is measured.
static WEIGHTS: Net = Net::ZERO;
static STATE: Place<State<Net>> = Place::new(Net::state());

attractor_firmware::minimal_program!(forever);

fn forever() {
    if let Some(state) = STATE.take() {
        let input = [0.0; 16];
        loop {
            black_box(infer(black_box(&WEIGHTS), black_box(&input), state));
        }
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
fn infer(net: &Net, input: &[f32; 16], state: &mut State<Net>) -> bool {
    net.solve(input, state, Stop::residual(1e-4).at_most(8)).is_ok()
}
