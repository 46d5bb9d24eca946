//! Writes text and says nothing: it does not link if any way to panic is left. (Random numbers are its own: those of `rand_chacha` compare lengths.)

#![no_std]
#![no_main]

use attractor_firmware::Random;
use attractor_firmware::speech::{MEMORY, Speech};
use core::hint::black_box;

attractor_firmware::minimal_program!(speak);

fn speak() {
    if let Some(memory) = MEMORY.take()
        && let Ok(mut speech) = Speech::new(memory)
    {
        let mut random = Random::new(1);
        while let Ok(byte) = speech.next(f64::from(random.next()) + 0.5) {
            black_box(byte);
        }
    }
}
