//! Instructions of a layer and a network of integers, beside those of floating-point numbers: what `firmware/measure` prints.

#![no_std]
#![no_main]

use attractor::kernel::{Identity, IntegerRows, Tanh, integer_layer};
use attractor::network::Architecture;
use attractor::quantized::{Calibration, Quantized, QuantizedState};
use attractor::simd::{Backend, IntState};
use attractor::{Align64, Stop, fnn};
use attractor_firmware::counter::instructions;
use attractor_firmware::{Failure, Random};
use core::hint::black_box;
use semihosting::println;

attractor_firmware::program!(main);

type Net = fnn![16, 32, 16, 4];

const WIDTH: usize = 32;

fn main() -> Result<(), Failure> {
    layer::<i8>()?;
    layer::<i16>()?;
    network::<i8>()?;
    network::<i16>()
}

/// A layer of 32 units that reads 32.
#[inline(never)]
fn layer<H: IntState>() -> Result<(), Failure> {
    let (mut random, name) = (Random::new(1), H::NAME);
    let mut numbers = [0.0; WIDTH];
    let mut weights = Align64([0_i8; WIDTH * WIDTH]);
    for row in weights.chunks_exact_mut(WIDTH) {
        random.fill(&mut numbers);
        row.iter_mut().zip(numbers).for_each(|(w, number)| *w = (number * 127.0) as i8);
    }
    random.fill(&mut numbers);
    let states = numbers.map(|number| H::narrow((number * H::MOST as f32) as i32));
    let rows = IntegerRows { bias: &[100; WIDTH], scale: &[20_000; WIDTH], exponent: &[1; WIDTH] };
    let mut out = [H::default(); WIDTH];
    let backend = Backend::best();
    let macs = (WIDTH * WIDTH) as f32;
    let shown = |which: &str, count: u32| {
        println!("layer_{name}{which}.instructions {count} instructions");
        println!("layer_{name}{which}.per_mac {:.2} instructions", count as f32 / macs);
    };
    let (count, result) =
        instructions(|| integer_layer::<H, Identity>(backend, black_box(&*weights), &states, rows, &mut out));
    result?;
    shown("", count);
    let (count, result) =
        instructions(|| integer_layer::<H, Tanh>(backend, black_box(&*weights), &states, rows, &mut out));
    result?;
    shown("_tanh", count);
    Ok(())
}

/// The network of `figures`, rounded.
#[inline(never)]
fn network<H: IntState>() -> Result<(), Failure> {
    let mut net = Net::ZERO;
    Random::new(7).fill(net.params_mut());
    net.params_mut().iter_mut().for_each(|w| *w *= 0.5);
    let mut input = [0.0; 16];
    Random::new(9).fill(&mut input);
    let mut state = Net::state();
    net.solve(&input, &mut state, Stop::residual(1e-4))?;
    let mut calibration = Calibration::<Net>::ZERO;
    calibration.observe(&input, &state).map_err(|_| Failure::Taken)?;
    let small = Quantized::<Net, H>::new(&net, &calibration).map_err(|_| Failure::Taken)?;
    let input = small.input(&input).map_err(|_| Failure::Taken)?;
    let mut integers = Quantized::<Net, H>::state();
    let (eight, _) = instructions(|| sweep(&small, &input, &mut integers, 8));
    let (sixteen, _) = instructions(|| sweep(&small, &input, &mut integers, 16));
    println!("net_{}.sweep_instructions {} instructions", H::NAME, (sixteen - eight) / 8);
    println!("net_{}.weights {} bytes", H::NAME, Quantized::<Net, H>::BYTES);
    println!("net_{}.state {} bytes", H::NAME, size_of::<QuantizedState<Net, H>>());
    Ok(())
}

#[inline(never)]
fn sweep<H: IntState>(
    small: &Quantized<Net, H>,
    input: &<Net as Architecture>::Inputs<H>,
    state: &mut QuantizedState<Net, H>,
    sweeps: usize,
) -> i32 {
    small.on(Backend::best()).sweep(input, state, sweeps).residual
}
