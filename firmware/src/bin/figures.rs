//! Instructions of a layer, of a sweep, of a step of learning: what `firmware/measure` prints.

#![no_std]
#![no_main]

use attractor::kernel::{self, Base, Matrix, MatrixMut, Product, Tanh};
use attractor::learn::{Descent, MeanSquared, Method, Objective};
use attractor::simd::Backend;
use attractor::{Injection, State, Stop, Workspace, fnn};
use attractor_firmware::counter::instructions;
use attractor_firmware::{Failure, Place, Random};
use core::hint::black_box;
use semihosting::println;

attractor_firmware::program!(main);

type Net = fnn![16, 32, 16, 4];

/// Multiply-accumulates of the layer of 32 units that reads 32 below and 16 above.
const MACS: u32 = 32 * (32 + 16);

type Learner = Descent<Net, MeanSquared>;

/// In a frame of its own, which has ended before anything is measured.
#[inline(never)]
fn learner() -> Option<&'static mut Learner> {
    static LEARNER: Place<Option<Learner>> = Place::new(None);
    let objective = Objective::new(MeanSquared).solve(Stop::after(8)).method(Method::Truncated(8));
    Some(LEARNER.take()?.insert(Descent::new(Net::ZERO, objective, 0.01)))
}

fn main() -> Result<(), Failure> {
    let learner = learner().ok_or(Failure::Taken)?;
    // The smallest machine has no room for a layer of its own beside a network and a stack.
    let weights = learner.network.params_mut().get_mut(..MACS as usize).ok_or(Failure::Taken)?;
    layer(weights)?;
    network(learner)
}

/// One layer through the public kernels.
#[inline(never)]
fn layer(weights: &mut [f32]) -> Result<(), Failure> {
    let mut random = Random::new(1);
    random.fill(weights);
    let (mut below, mut above, mut bias, mut out) = ([0.0; 32], [0.0; 16], [0.0; 32], [0.0; 32]);
    random.fill(&mut below);
    random.fill(&mut above);
    random.fill(&mut bias);
    let (w, u) = weights.split_at(32 * 32);
    let products = black_box([
        Product { matrix: Matrix::new(u, 32, 16)?, operand: Matrix::new(&above, 1, 16)? },
        Product { matrix: Matrix::new(w, 32, 32)?, operand: Matrix::new(&below, 1, 32)? },
    ]);
    let (backend, base) = (Backend::best(), Base::Bias(&bias));
    let out = MatrixMut::new(&mut out, 1, 32)?;
    let (count, result) = instructions(|| kernel::affine(backend, base, &products, out));
    result?;
    println!("layer_f32.instructions {count} instructions");
    println!("layer_f32.per_mac {:.2} instructions", ratio(count));
    let mut out = [0.0; 32];
    let out = MatrixMut::new(&mut out, 1, 32)?;
    let (count, result) = instructions(|| kernel::layer::<_, Tanh>(backend, base, &products, out));
    result?;
    println!("layer_f32_tanh.instructions {count} instructions");
    println!("layer_f32_tanh.per_mac {:.2} instructions", ratio(count));
    Ok(())
}

fn ratio(count: u32) -> f32 {
    count as f32 / MACS as f32
}

/// A network of 1,716 parameters: sweeps, and a step of learning in place.
#[inline(never)]
fn network(learner: &mut Learner) -> Result<(), Failure> {
    let objective = learner.objective;
    Random::new(7).fill(learner.network.params_mut());
    learner.network.params_mut().iter_mut().for_each(|w| *w *= 0.5);
    let mut input = [0.0; 16];
    Random::new(9).fill(&mut input);

    let (mut injection, mut state) = (Injection::<Net>::ZERO, Net::state());
    let net = &learner.network;
    let (count, result) = instructions(|| net.inject(&input, &mut injection));
    result?;
    println!("net.inject_instructions {count} instructions");
    let (sweep, result) = instructions(|| net.sweep(&injection, &mut state));
    result?;
    println!("net.sweep_alone_instructions {sweep} instructions");
    let mut solve = |sweeps| {
        let (count, result) = instructions(|| net.solve(&input, &mut state, Stop::after(sweeps)));
        result.map(|_| count)
    };
    let (eight, sixteen) = (solve(8)?, solve(16)?);
    println!("net.solve_8_sweeps_instructions {eight} instructions");
    println!("net.sweep_instructions {} instructions", (sixteen - eight) / 8);

    static WORKSPACE: Place<Workspace<Net>> = Place::new(Workspace::ZERO);
    let workspace = WORKSPACE.take().ok_or(Failure::Taken)?;
    let target = [0.1, 0.2, 0.3, 0.4];
    let (count, result) =
        instructions(|| learner.network.descend(&objective, &input, &target, workspace, 0.01));
    result?;
    println!("net.train_instructions {count} instructions");
    // The first step looks for the vector that the others follow.
    learner.step(&input, &target)?;
    let (count, result) = instructions(|| learner.step(&input, &target));
    result?;
    println!("net.train_held_instructions {count} instructions");
    println!("net.state {} bytes", State::<Net>::BYTES);
    println!("net.train_memory {} bytes", size_of::<(Net, Workspace<Net>)>());
    println!("net.train_held_memory {} bytes", Learner::BYTES);
    Ok(())
}
