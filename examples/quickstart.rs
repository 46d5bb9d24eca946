//! A feedback network learns exclusive or: `cargo run --release --example quickstart`.

#[macro_use]
#[path = "shared/output.rs"]
#[allow(dead_code, unused_macros, reason = "not all of it is needed here")]
mod output;

use attractor::learn::{Adam, LearnError, MeanSquared, Objective, Trainer};
use attractor::{Stop, fnn};
use nalgebra::matrix;
use rand::{SeedableRng, rngs::SmallRng};

type Xor = fnn![2, 8, 1]; // 2 inputs, 8 hidden units, 1 output that is fed back

fn main() -> Result<(), LearnError> {
    let inputs = matrix![-1.0, -1.0; -1.0, 1.0; 1.0, -1.0; 1.0, 1.0]; // a row a sample
    let targets = matrix![-1.0; 1.0; 1.0; -1.0];

    let mut net = Xor::ZERO;
    net.initialize(&mut SmallRng::seed_from_u64(1));
    let mut trainer = Trainer::new(net, Adam::<Xor>::new(), Objective::new(MeanSquared));
    trainer.rate = 0.03;
    for _ in 0..300 {
        trainer.step(&inputs, &targets)?; // solves, takes the exact gradient at the solution, updates
    }

    for input in [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]] {
        let mut state = Xor::state();
        let solved = trainer.network.solve(&input, &mut state, Stop::residual(1e-5))?;
        println!("{:+} xor {:+}: {:+.3} ({} sweeps)", input[0], input[1], state.output()[0], solved.sweeps);
    }
    Ok(())
}
