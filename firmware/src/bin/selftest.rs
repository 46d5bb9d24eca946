//! The numbers every target must give bit for bit, printed to be compared with tests/data/vectors.txt (`firmware/run` does
//! that); and the numeric contract on the device itself. All of it is too much for a small flash, so an image holds the part
//! that `ATTRACTOR_PART` (0 to 4) named when it was built.

#![no_std]
#![no_main]

use attractor::kernel::{Base, MatrixMut, ShapeError, Tanh};
use attractor::simd::Backend;
use attractor::{SolveError, Stop, fnn, kernel};
use semihosting::println;

#[path = "../../../tests/vectors/mod.rs"]
mod vectors;

attractor_firmware::program!(main);

const PART: usize = match option_env!("ATTRACTOR_PART") {
    Some(part) => match part.as_bytes() {
        [digit @ b'0'..=b'4'] => (*digit - b'0') as usize,
        _ => panic!("ATTRACTOR_PART must be 0 to 4"),
    },
    None => 0,
};

fn main() -> Result<(), &'static str> {
    contract()?;
    layers()?;
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
    match net.solve(&[f32::NAN, 0.0], &mut state, Stop::residual(1e-3)) {
        Err(SolveError::NotFinite(_)) => Ok(()),
        _ => Err("a NaN went in and no error came out"),
    }
}

/// Layers of up to 20 units whose sums are given: what they store and report, one by one from the activation alone.
fn layers() -> Result<(), &'static str> {
    // Around everything that is a case of its own, either sign.
    const ENDS: [f32; 14] = [
        0.0,
        f32::MIN_POSITIVE,
        1e-20,
        0.5,
        1.0,
        2.0,
        3.0,
        5.0,
        7.0,
        9.010915,
        11.0,
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
    ];
    let mut numbers = (0..20_000_u32).map(|i| match i % 4 {
        // Everywhere, subnormals and NaN too.
        0 => i.wrapping_mul(0x9e37_79b9),
        // Where the curve bends.
        1 | 2 => ((i.wrapping_mul(0x9e37_79b9) as i32) as f32 / 2e8).to_bits(),
        _ => {
            let (which, off) = (i as usize / 4 % ENDS.len(), i / 4 / ENDS.len() as u32);
            ENDS[which].to_bits().wrapping_add(off % 16).wrapping_sub(8) | off / 16 << 31
        }
    });
    let wrong = |_: ShapeError| "a shape does not fit";
    for step in 0.. {
        let units = 1 + step % 20;
        let (mut sums, mut old) = ([0.0; 20], [0.0; 20]);
        for (sum, old) in sums.iter_mut().zip(&mut old).take(units) {
            let Some(bits) = numbers.next() else { return Ok(()) };
            *sum = f32::from_bits(bits);
            // Now and then infinite, which is a change, or NaN, which is none.
            *old = ENDS[bits as usize % if step % 8 == 0 { 14 } else { 5 }];
        }
        let mut alone = sums;
        kernel::activate::<_, Tanh>(Backend::portable(), &mut alone);
        let mut residual = 0.0;
        for (new, old) in alone.iter().zip(&old).take(units) {
            let change = (new - old).abs();
            if change > residual {
                residual = change;
            }
        }
        if sums.iter().any(|sum| !sum.is_finite()) {
            residual = f32::NAN;
        }
        let found = kernel::layer::<_, Tanh>(
            Backend::portable(),
            Base::Bias(&sums[..units]),
            &[],
            MatrixMut::new(&mut old[..units], 1, units).map_err(wrong)?,
        )
        .map_err(wrong)?
        .residual;
        let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        if !same(found, residual) {
            return Err("a layer reports another residual");
        }
        if !alone.iter().zip(&old).take(units).all(|(a, b)| same(*a, *b)) {
            return Err("a layer stores another tanh");
        }
    }
    Ok(())
}
