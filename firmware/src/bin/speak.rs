//! A language model of 8 bits in flash writes text: the same bytes as on the host, and what that takes.

#![no_std]
#![no_main]

use attractor_firmware::counter::many_instructions;
use attractor_firmware::speech::{HEADER, MEMORY, Memory, PROMPT, SEED, Speech};
use attractor_firmware::{Failure, stack};
use attractor_language::random::Random;
use core::sync::atomic::{AtomicU32, Ordering};
use semihosting::{print, println};

attractor_firmware::program!(main);

/// What `attractor-lm sample firmware/data/speak.small --prompt .. --length 160` writes on the host.
const HOST: &[u8] = include_bytes!("../../data/speak.txt");

static WRAPS: AtomicU32 = AtomicU32::new(0);

/// The timer has counted down.
#[cortex_m_rt::exception]
fn SysTick() {
    WRAPS.store(WRAPS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

fn main() -> Result<(), Failure> {
    let mut speech = Speech::new(MEMORY.take().ok_or(Failure::Taken)?)?;
    let mut random = Random::new(SEED);
    print!("{PROMPT}");
    let expected = HOST.get(PROMPT.len()..).unwrap_or_default();
    // The first one reads the prompt.
    let unit = random.unit();
    let (stack, mut byte) = stack::taken_of::<12_288, _>(|| speech.next(unit));
    let (mut same, mut least, mut most) = (0, u64::MAX, 0);
    for (number, expected) in expected.iter().enumerate() {
        if number > 0 {
            let unit = random.unit();
            let (count, next) = many_instructions(&WRAPS, || speech.next(unit));
            (least, most, byte) = (least.min(count), most.max(count), next);
        }
        let byte = byte?;
        print!("{}", char::from(byte));
        same += usize::from(byte == *expected);
    }
    println!();
    println!("model: {} bytes", HEADER.length());
    println!("ram: {} bytes", size_of::<Memory>());
    println!("stack: {stack} bytes");
    println!("instructions of a token: {least}");
    println!("instructions with half a context read again: {most}");
    println!("bytes: {}", expected.len());
    println!("same bytes as the host: {same}");
    if same != expected.len() || same < 100 {
        Err(Failure::Wrong("the host wrote another text", expected.len() - same))
    } else {
        Ok(())
    }
}
