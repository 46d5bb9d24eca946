//! A network trained on the host, its weights in flash, reads real test digits and gives them the labels the host does.

#![no_std]
#![no_main]

use attractor::{Align64, Stop};
use attractor_firmware::Failure;
use attractor_firmware::digits::{DIGITS, Digits, answer, shown};
use semihosting::println;

attractor_firmware::program!(main);

fn main() -> Result<(), Failure> {
    let net: &Align64<Digits> = &DIGITS;
    let mut state = Digits::state::<1>();
    let (mut digits, mut right, mut same, mut sweeps) = (0_usize, 0_usize, 0_usize, 0_usize);
    for digit in shown() {
        state.reset();
        let solved = net.solve(&digit.input(), &mut state, Stop::residual(1e-4).at_most(32))?;
        let label = answer(state.output().as_slice());
        digits += 1;
        right += usize::from(label == digit.label);
        same += usize::from(Some(label) == digit.host);
        sweeps += solved.sweeps;
    }
    println!("digits: {digits}");
    println!("same label as the host: {same}");
    println!("right: {right}");
    println!("mean sweeps: {}.{}", sweeps / digits, sweeps * 10 / digits % 10);
    println!("ram: {} bytes", Digits::MEMORY.inference(1));
    if digits < 200 || same != digits {
        Err(Failure::Wrong("the host gave other labels", digits - same))
    } else {
        Ok(())
    }
}
