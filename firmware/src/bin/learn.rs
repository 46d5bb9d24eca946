//! Adapts a network on the device: its sensor is mounted a quarter turn wrong, so it reads almost nothing; it learns from
//! digits its user names, in place, with the adjoint's exact gradient and no gradient in memory.

#![no_std]
#![no_main]

use attractor::learn::{CrossEntropy, Descent, Method, Objective, Unsolved};
use attractor::{SolveError, Stop};
use attractor_firmware::digits::{SMALL, Small, answer, others, own};
use attractor_firmware::{Failure, Place};
use semihosting::println;

attractor_firmware::program!(main);

type Learner = Descent<Small, CrossEntropy>;

const EPOCHS: usize = 3;

fn main() -> Result<(), Failure> {
    static LEARNER: Place<Option<Learner>> = Place::new(None);
    let objective = Objective::new(CrossEntropy::new())
        .solve(Stop::residual(1e-3).at_most(32))
        .method(Method::Implicit(Stop::relative(1e-2).at_most(32)));
    let learner = LEARNER.take().ok_or(Failure::Taken)?;
    let learner = learner.insert(Learner::new(Small::ZERO, objective, 0.02));
    learner.network.params_mut().copy_from_slice(SMALL.params());
    learner.unsolved = Unsolved::Skip;

    let before = right(&learner.network)?;
    println!("right before: {before} of {}", others().count());
    let (mut first, mut last, mut unsolved) = (None, 0.0, 0);
    for _ in 0..EPOCHS {
        let mut loss = 0.0;
        let mut steps = 0.0;
        for digit in own() {
            match learner.step(&digit.turned(), &[digit.label]) {
                Ok(step) => {
                    loss += step.report.loss;
                    steps += 1.0;
                    unsolved = step.unsolved;
                }
                Err(error) => return Err(error.into()),
            }
        }
        last = loss / steps;
        first.get_or_insert(last);
        println!("loss: {last:.3}");
    }
    let after = right(&learner.network)?;
    println!("right after: {after} of {}", others().count());
    println!("steps that did not converge: {unsolved}");
    println!("ram: {} bytes", Learner::BYTES);
    if after > before + 60 && unsolved == 0 && first.is_some_and(|first| last < first) {
        Ok(())
    } else {
        Err(Failure::Wrong("it did not get better", after))
    }
}

/// How many of the others' digits the network reads as the sensor is mounted.
fn right(net: &Small) -> Result<usize, Failure> {
    let mut state = Small::state::<1>();
    let mut right = 0;
    for digit in others() {
        state.reset();
        // A digit on which it does not settle is not read.
        match net.solve(&digit.turned(), &mut state, Stop::residual(1e-3).at_most(32)) {
            Ok(_) => right += usize::from(answer(state.output().as_slice()) == digit.label),
            Err(SolveError::NotConverged { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(right)
}
