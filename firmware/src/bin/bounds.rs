//! What is promised beforehand, looked at: a solve of a fixed number of sweeps takes as many instructions whatever its
//! input, and stack is taken as far as `inspect` says it may be, from the painted bottom up.

#![no_std]
#![no_main]

use attractor::learn::{Descent, MeanSquared, Method, Objective};
use attractor::{State, Stop, Workspace, fnn};
use attractor_firmware::counter::instructions;
use attractor_firmware::stack::taken;
use attractor_firmware::{Place, Random};
use core::hint::black_box;
use semihosting::println;

attractor_firmware::program!(main);

type Net = fnn![16, 32, 16, 4];
type Learner = Descent<Net, MeanSquared>;

static LEARNER: Place<Option<Learner>> = Place::new(None);

static WORKSPACE: Place<Workspace<Net>> = Place::new(Workspace::ZERO);

fn main() -> Result<(), &'static str> {
    let learner = prepared().ok_or("taken twice")?;
    let mut state = Net::state();
    let mut counts = [0; 3];
    let inputs = [[0.0; 16], core::array::from_fn(|i| i as f32 - 8.0), [1e-20; 16]];
    for (count, input) in counts.iter_mut().zip(&inputs) {
        state.reset();
        let (instructions, solved) = instructions(|| infer(&learner.network, input, &mut state));
        if !solved {
            return Err("not solved");
        }
        *count = instructions;
    }
    let [first, second, third] = counts;
    println!("solve_8_sweeps_instructions {first} {second} {third}");

    let workspace = WORKSPACE.take().ok_or("taken twice")?;
    let (bytes, solved) = taken(|| infer(&learner.network, black_box(&inputs[1]), &mut state));
    println!("infer_painted {bytes} bytes");
    let (learning, learnt) =
        taken(|| train(learner, workspace, black_box(&inputs[2]), black_box(&[0.1, 0.2, 0.3, 0.4])));
    println!("train_painted {learning} bytes");
    let (held, also) = taken(|| train_held(learner, black_box(&inputs[2]), black_box(&[0.1, 0.2, 0.3, 0.4])));
    println!("train_held_painted {held} bytes");
    if !(solved && learnt && also) {
        return Err("not learnt");
    }
    if counts != [first; 3] { Err("the time depends on the input") } else { Ok(()) }
}

/// What passes through the stack here is gone when the stack is painted.
#[inline(never)]
fn prepared() -> Option<&'static mut Learner> {
    let objective = Objective::new(MeanSquared).solve(Stop::after(8)).method(Method::Truncated(8));
    let learner = LEARNER.take()?.insert(Learner::new(Net::ZERO, objective, 0.01));
    Random::new(7).fill(learner.network.params_mut());
    learner.network.params_mut().iter_mut().for_each(|w| *w *= 0.5);
    Some(learner)
}

#[unsafe(no_mangle)]
#[inline(never)]
fn infer(net: &Net, input: &[f32; 16], state: &mut State<Net>) -> bool {
    net.solve(input, state, Stop::after(8)).is_ok()
}

#[unsafe(no_mangle)]
#[inline(never)]
fn train(
    learner: &mut Learner,
    workspace: &mut Workspace<Net>,
    input: &[f32; 16],
    target: &[f32; 4],
) -> bool {
    workspace.state.reset();
    workspace.adjoint.reset();
    let Learner { network, objective, .. } = learner;
    network.descend(objective, input, target, workspace, 0.01).is_ok()
}

#[unsafe(no_mangle)]
#[inline(never)]
fn train_held(learner: &mut Learner, input: &[f32; 16], target: &[f32; 4]) -> bool {
    learner.step(input, target).is_ok()
}
