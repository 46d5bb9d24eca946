//! A sensor that sends a picture a tick, each a little different: the state is kept from tick to tick, a tick makes one
//! sweep, and the caller could stop after any of them. Beside it, the same pictures solved from zero.

#![no_std]
#![no_main]

use attractor::{Injection, SolveError, Stop};
use attractor_firmware::counter::instructions;
use attractor_firmware::digits::{DIGITS, Digits, answer, shown};
use semihosting::println;

attractor_firmware::program!(main);

/// Ticks in which one digit becomes the next.
const TICKS: usize = 8;
const DIGITS_SHOWN: usize = 24;

fn main() -> Result<(), SolveError> {
    let tolerance = Stop::residual(1e-4).at_most(32);
    let (mut injection, mut warm, mut cold) =
        (Injection::<Digits>::ZERO, Digits::state::<1>(), Digits::state::<1>());
    let (mut ticks, mut same, mut cold_sweeps) = (0_u32, 0_u32, 0_usize);
    let (mut warm_instructions, mut cold_instructions) = (0_u32, 0_u32);
    let mut worst = 0.0_f32;
    for (from, to) in shown().zip(shown().skip(1)).take(DIGITS_SHOWN) {
        let (from, to) = (from.input(), to.input());
        for tick in 0..TICKS {
            let share = tick as f32 / TICKS as f32;
            let picture: [f32; 64] = core::array::from_fn(|i| from[i] + share * (to[i] - from[i]));
            let (count, residual) = instructions(|| {
                DIGITS.inject(&picture, &mut injection)?;
                DIGITS.sweep(&injection, &mut warm)
            });
            warm_instructions += count;
            worst = worst.max(residual?);
            cold.reset();
            let (count, solved) = instructions(|| DIGITS.solve(&picture, &mut cold, tolerance));
            cold_instructions += count;
            cold_sweeps += solved?.sweeps;
            same += u32::from(answer(warm.output().as_slice()) == answer(cold.output().as_slice()));
            ticks += 1;
        }
    }
    println!("ticks: {ticks}");
    println!("sweeps a tick, warm: 1");
    println!("sweeps a tick, cold: {:.1}", cold_sweeps as f32 / ticks as f32);
    println!("same label: {same}");
    println!("largest residual: {worst:.3}");
    println!("instructions a tick, warm: {}", warm_instructions / ticks);
    println!("instructions a tick, cold: {}", cold_instructions / ticks);
    println!("ram: {} bytes", Digits::MEMORY.stream(1));
    Ok(())
}
