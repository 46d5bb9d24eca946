//! The numbers every target must give bit for bit, printed to be compared with tests/data/vectors.txt (`firmware/run` does
//! that); and the numeric contract on the device itself. All of it is too much for a small flash, so an image holds the part
//! that `ATTRACTOR_PART` (0 to 3) named when it was built.

#![no_std]
#![no_main]

use attractor::simd::Backend;
use attractor::{SolveError, Tolerance, fnn, kernel};
use semihosting::println;

#[path = "../../../tests/vectors/mod.rs"]
mod vectors;

attractor_firmware::program!(main);

const PART: usize = match option_env!("ATTRACTOR_PART") {
    Some(part) => match part.as_bytes() {
        [digit @ b'0'..=b'3'] => (*digit - b'0') as usize,
        _ => panic!("ATTRACTOR_PART must be 0, 1, 2 or 3"),
    },
    None => 0,
};

fn main() -> Result<(), &'static str> {
    contract()?;
    vectors::part::<PART>(Backend::portable(), &mut |name, bits| println!("{name} {bits:x}"));
    Ok(())
}

fn contract() -> Result<(), &'static str> {
    let backend = Backend::best();
    let mut below = -1.0;
    for step in -2000..=2000 {
        let mut value = [step as f32 / 200.0, -step as f32 / 200.0];
        kernel::activate::<_, kernel::Tanh>(backend, &mut value);
        if value[0] < below || value[0] != -value[1] {
            return Err("tanh is not monotone and odd");
        }
        below = value[0];
    }
    let mut ends = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 100.0];
    kernel::activate::<_, kernel::Tanh>(backend, &mut ends);
    if ends[0] != 1.0 || ends[1] != -1.0 || !ends[2].is_nan() || ends[3] != 1.0 {
        return Err("tanh is not exact at its ends");
    }
    let net = <fnn![2, 3, 1]>::ZERO;
    let mut state = <fnn![2, 3, 1]>::state::<1>();
    match net.solve(&[f32::NAN, 0.0], &mut state, Tolerance::residual(1e-3)) {
        Err(SolveError::NotFinite) => Ok(()),
        _ => Err("a NaN went in and no error came out"),
    }
}
