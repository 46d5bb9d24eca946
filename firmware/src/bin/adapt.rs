//! Adapts a network whose weights stay in flash: its sensor is mounted a quarter turn wrong, and it learns from twenty digits a class
//! that its user names. RAM holds a low-rank adapter and a workspace, and nothing of the network.

#![no_std]
#![no_main]

use attractor::adapt::{Adapted, LowRank};
use attractor::learn::{CrossEntropy, LearnError, Method, Objective};
use attractor::{SolveError, Stop, Workspace};
use attractor_firmware::digits::{Digit, Digits, HELD, answer, others, own};
use attractor_firmware::{Failure, Place};
use semihosting::println;

attractor_firmware::program!(main);

type Small = Adapted<'static, Digits, LowRank<2>>;

/// All that adapting holds.
struct Adapting {
    adapted: Small,
    workspace: Workspace<Digits>,
}

static ADAPTING: Place<Option<Adapting>> = Place::new(None);

const A_CLASS: usize = 20;
const EPOCHS: usize = 8;
const RATE: f32 = 0.02;
/// What a sweep may leave of an error.
const GAMMA: f32 = 0.9;

fn main() -> Result<(), Failure> {
    let adapting = ADAPTING.take().ok_or(Failure::Taken)?;
    let Adapting { adapted, workspace } =
        adapting.insert(Adapting { adapted: Small::new(&HELD, 1), workspace: Workspace::ZERO });
    let objective = Objective::new(CrossEntropy::new())
        .solve(Stop::residual(1e-3).at_most(32))
        .method(Method::Implicit(Stop::relative(1e-2).at_most(32)));
    let Ok(certificate) = adapted.certify() else { return Err(Failure::Wrong("no certificate", 0)) };
    println!("rate before: {:.3}", certificate.rate());
    let before = right(adapted)?;
    println!("right before: {before} of {}", others().count());

    let mut left_out = 0;
    for _ in 0..EPOCHS {
        let (mut loss, mut steps) = (0.0, 0.0);
        for digit in few() {
            workspace.state.reset();
            workspace.adjoint.reset();
            match adapted.descend(&objective, &digit.turned(), &[digit.label], workspace, RATE) {
                Ok(learned) => {
                    loss += learned.loss;
                    steps += 1.0;
                }
                Err(
                    LearnError::Solve(SolveError::NotConverged { .. })
                    | LearnError::Adjoint(SolveError::NotConverged { .. }),
                ) => left_out += 1,
                Err(error) => return Err(error.into()),
            }
        }
        println!("loss: {:.3}", loss / steps);
        if adapted.limit_rate(GAMMA).is_err() {
            return Err(Failure::Wrong("it cannot be held", left_out));
        }
    }
    let after = right(adapted)?;
    println!("right after: {after} of {}", others().count());
    println!("steps that did not converge: {left_out}");
    let Ok(certificate) = adapted.certify() else { return Err(Failure::Wrong("no certificate", 1)) };
    println!("rate after: {:.3}", certificate.rate());
    println!("ram: {} bytes", Small::MEMORY.descent(1));
    println!("ram with settings: {} bytes", size_of::<Place<Option<Adapting>>>());
    println!("ram to learn all weights: {} bytes", Digits::MEMORY.descent(1));
    if after > before + 60 { Ok(()) } else { Err(Failure::Wrong("it did not get better", after)) }
}

/// The first [`A_CLASS`] digits of every class.
fn few() -> impl Iterator<Item = Digit> {
    let mut seen = [0; 10];
    own().filter(move |digit| {
        seen.get_mut(digit.label).is_some_and(|seen| {
            *seen += 1;
            *seen <= A_CLASS
        })
    })
}

/// How many of the others' digits it reads as the sensor is mounted.
fn right(adapted: &Small) -> Result<usize, Failure> {
    let mut state = Digits::state::<1>();
    let mut right = 0;
    for digit in others() {
        state.reset();
        // A digit on which it does not settle is not read.
        match adapted.solve(&digit.turned(), &mut state, Stop::residual(1e-3).at_most(32)) {
            Ok(_) => right += usize::from(answer(state.output().as_slice()) == digit.label),
            Err(SolveError::NotConverged { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(right)
}
