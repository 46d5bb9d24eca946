//! The least that solves with integers, to be measured: it does not link if any way to panic survives, and on cores without a floating-point unit
//! nothing of it may compute with such numbers.

#![no_std]
#![no_main]

use attractor::fnn;
use attractor::network::Architecture;
use attractor::quantized::{Quantized, QuantizedState};
use attractor_firmware::Place;
use core::hint::black_box;

type Net = fnn![16, 32, 16, 4];
type Input = <Net as Architecture>::Inputs<i8>;

/// Weights in flash; that they are all zero does not matter to what is measured.
static WEIGHTS: Quantized<Net, i8> = Quantized::ZERO;
static STATE: Place<QuantizedState<Net, i8>> = Place::new(QuantizedState::ZERO);

attractor_firmware::minimal_program!(forever);

fn forever() {
    if let Some(state) = STATE.take() {
        let input = Input::from_element(0);
        loop {
            black_box(infer(black_box(&WEIGHTS), black_box(&input), state));
        }
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
fn infer(net: &Quantized<Net, i8>, input: &Input, state: &mut QuantizedState<Net, i8>) -> usize {
    if net.solve(input, state, 8).is_ok() { state.label() } else { usize::MAX }
}
