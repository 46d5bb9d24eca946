//! From PyTorch to flash: a network that was made there, imported by `tools/attractor`, with a certificate, in the program as a model file
//! that was checked while compiling. Its outputs are compared with what NumPy computed in `f64` from PyTorch's own file.

#![no_std]
#![no_main]

use attractor::{Tied, fnn, include_network};
use attractor_firmware::Failure;
use semihosting::println;

attractor_firmware::program!(main);

type Net = fnn![3, 7, 2; feedback = Tied<50>];

/// Written by `tools/attractor/tests/data/make.py`, for the input below.
const EXPECTED: &str = include_str!("../../../tools/attractor/tests/data/expected.txt");
const INPUT: [f32; 3] = [0.5, -1.0, 0.25];
/// The largest difference allowed.
const MOST: f64 = 1e-6;
/// The error asked of every unit; a solve gives what rounding allows.
const ERROR: f32 = 1e-7;

fn main() -> Result<(), Failure> {
    let model = include_network!("../../data/shipped.attr", Net);
    let certified = model.certified().map_err(|_| Failure::Wrong("no certificate", 0))?;
    let mut state = Net::state();
    let answer = certified.solve(&INPUT, &mut state, ERROR)?;
    println!("sweeps: {}", answer.sweeps);
    println!("no unit is further from the solution than {:e}", answer.bound.largest());

    let line = EXPECTED.lines().find_map(|line| line.strip_prefix("tied:50 "));
    let mut expected = line.ok_or(Failure::Wrong("no expected outputs", 0))?.split(' ');
    for (index, found) in state.output().iter().enumerate() {
        let wanted = expected.next().and_then(|number| number.parse::<f64>().ok());
        let wanted = wanted.ok_or(Failure::Wrong("no expected output", index))?;
        let difference = (f64::from(*found) - wanted).abs();
        println!("output {index}: {found}, expected {wanted}, difference {difference:e}");
        // A NaN is no small difference.
        if !(difference <= MOST) {
            return Err(Failure::Wrong("an output differs", index));
        }
    }
    if expected.next().is_some() { Err(Failure::Wrong("more outputs are expected", 2)) } else { Ok(()) }
}
