//! Functions of all the forms that matter to a stack, each run on a painted stack. Prints how many bytes lost
//! their paint.
//!
//! `cortex-m4.elf` and `cortex-m0.elf` are this program, `cortex-m4.txt` and `cortex-m0.txt` what it prints. To
//! renew them, with a compiler whose sources are installed beside it, and with LLD the linker `rust-lld` of any
//! toolchain:
//!
//! ```text
//! export RUSTC_BOOTSTRAP=1
//! flags="-C linker=$LLD -C link-arg=-Tlink.x -C link-arg=--nmagic -Z emit-stack-sizes -Z location-detail=none"
//! RUSTFLAGS="$flags -C target-cpu=cortex-m4" cargo build --release -Z build-std=core --target thumbv7em-none-eabihf
//! RUSTFLAGS="$flags -C target-cpu=cortex-m0" cargo build --release -Z build-std=core --target thumbv6m-none-eabi
//! qemu-system-arm -machine mps2-an386 -cpu cortex-m4 -nographic -semihosting -kernel cortex-m4.elf 2>cortex-m4.txt
//! # An M3 runs what an M0 does.
//! qemu-system-arm -machine mps2-an385 -cpu cortex-m3 -nographic -semihosting -kernel cortex-m0.elf 2>cortex-m0.txt
//! ```

#![no_std]
#![no_main]

use core::arch::asm;
use core::hint::black_box;
use core::panic::PanicInfo;
use cortex_m_rt::entry;

#[unsafe(no_mangle)]
static WEIGHTS: [f32; 64] = [0.5; 64];

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

#[inline(never)]
fn leaf(values: &[f32]) -> f32 {
    values.iter().enumerate().map(|(i, value)| value * i as f32).sum()
}

#[inline(never)]
fn with_array(n: u32) -> f32 {
    let mut array = [0.0_f32; 40];
    for (i, value) in array.iter_mut().enumerate() {
        *value = (i as u32 ^ n) as f32;
    }
    leaf(black_box(&array))
}

/// `memset` and `memcpy`, the copy once aligned and once not, which takes another way and more stack.
#[inline(never)]
fn memory(n: u32) -> u32 {
    let n = (n as usize).min(190);
    let (mut from, mut to) = ([0_u8; 200], [1_u8; 200]);
    from[..n].fill(n as u8);
    to[..n].copy_from_slice(&black_box(&from)[..n]);
    to[1..=n].copy_from_slice(&black_box(&from)[2..n + 2]);
    black_box(&to)[..n].iter().map(|value| u32::from(*value)).sum()
}

#[inline(never)]
fn nested(n: u32) -> f32 {
    let array = black_box([n; 9]);
    with_array(array[3]) + array[7] as f32
}

#[inline(never)]
fn last(n: u32) -> u32 {
    let mut array = [0_u32; 30];
    for (i, value) in array.iter_mut().enumerate() {
        *value = i as u32 ^ n;
    }
    black_box(&array).iter().fold(0, |sum: u32, value| sum.wrapping_add(*value))
}

/// Gives its frame back before it goes to `last`.
#[inline(never)]
fn tail(n: u32) -> u32 {
    let sum = black_box(memory(n)).wrapping_add(black_box(n));
    last(sum)
}

#[inline(never)]
#[unsafe(no_mangle)]
fn all(n: u32) -> u32 {
    let sum = nested(n) + black_box(1.0) * nested(n + 1);
    tail(sum as u32).wrapping_add(memory(n))
}

/// A frame that is gone when the deeper one comes.
#[inline(never)]
#[unsafe(no_mangle)]
fn ends_in_a_tail(n: u32) -> u32 {
    let mut array = [0; 100];
    for i in 0..n {
        array[(i * 7 + n) as usize % 100] ^= i;
    }
    last(array[n as usize % 100])
}

/// Numbers that outlive a call: floating-point registers are saved.
#[inline(never)]
#[unsafe(no_mangle)]
fn saves_floats(n: u32) -> u32 {
    let (a, b, c) = (black_box(1.0_f32), black_box(2.0_f32), black_box(n as f32));
    let sum = nested(n);
    (a * sum + b * c + a + b + c).to_bits()
}

#[inline(never)]
#[unsafe(no_mangle)]
fn reads_weights(n: u32) -> u32 {
    leaf(&WEIGHTS[..(n as usize).min(64)]).to_bits()
}

#[inline(never)]
#[unsafe(no_mangle)]
fn moves_memory(n: u32) -> u32 {
    memory(n)
}

/// By software, in functions of the compiler's library.
#[inline(never)]
#[unsafe(no_mangle)]
fn doubles(n: u32) -> u32 {
    let product = black_box(f64::from(n)) * black_box(3.25) / black_box(1.5) + 1.0;
    (product - black_box(2.0)) as u32
}

/// Too large a frame for one subtraction.
#[inline(never)]
#[unsafe(no_mangle)]
fn large(n: u32) -> u32 {
    let mut array = [n; 2000];
    black_box(&mut array);
    last(array[n as usize % 2000])
}

/// A table of targets.
#[inline(never)]
#[unsafe(no_mangle)]
fn switch(n: u32) -> u32 {
    let m = black_box(n);
    match black_box(n) % 12 {
        0 => last(m),
        1 => memory(m),
        2 => black_box(m) * 3,
        3 => black_box(m) / 7,
        4 => black_box(m) ^ 1,
        5 => last(m + 5) + 1,
        6 => tail(m),
        7 => large(m),
        8 => nested(m) as u32,
        9 => black_box(m) & 77,
        10 => black_box(m) | 3,
        _ => last(m) + 4,
    }
}

/// One way out before the frame is made, or with little of it.
#[inline(never)]
#[unsafe(no_mangle)]
fn early(n: u32) -> u32 {
    if n != 3 {
        return tail(n);
    }
    let mut array = [n; 12];
    black_box(&mut array);
    array[n as usize % 12]
}

#[repr(align(64))]
struct Wide([u32; 20]);

/// Its frame is rounded to 64 bytes, which takes more or less by where the stack happens to be.
#[inline(never)]
#[unsafe(no_mangle)]
fn aligned(n: u32) -> u32 {
    let mut wide = Wide([n; 20]);
    black_box(&mut wide);
    last(wide.0[4]) ^ wide.0[5]
}

#[inline(never)]
#[unsafe(no_mangle)]
fn recursive(n: u32) -> u32 {
    if black_box(n) == 0 { 1 } else { recursive(black_box(n) - 1).wrapping_add(n) ^ black_box(n) }
}

#[inline(never)]
#[unsafe(no_mangle)]
fn through_a_pointer(n: u32) -> u32 {
    let function: fn(u32) -> u32 = black_box(last);
    function(n) + 1
}

const PAINT: u32 = 0xa5a5_5a5a;

/// How many bytes of stack a call touches, the deepest one counts.
#[inline(never)]
fn measure(function: fn(u32) -> u32, n: u32) -> u32 {
    const DEPTH: u32 = 16384;
    let top: u32;
    // SAFETY: the stack has room for what is painted, and paint goes only where nothing lies. A call may change
    // these registers and those of floating-point numbers, of which there is none here.
    unsafe {
        asm!(
            "mov r4, sp",
            "subs r5, r4, r5",
            "2:",
            "str r3, [r5]",
            "adds r5, #4",
            "cmp r5, r4",
            "bne 2b",
            "blx r2",
            inout("r5") DEPTH => _,
            out("r4") top,
            inout("r0") n => _,
            out("r1") _,
            inout("r2") function => _,
            inout("r3") PAINT => _,
            out("r12") _,
            out("lr") _,
        );
    }
    let mut place = top - DEPTH;
    // SAFETY: these are words of the stack.
    while place < top && unsafe { (place as *const u32).read_volatile() } == PAINT {
        place += 4;
    }
    top - place
}

fn semihosting(operation: u32, argument: usize) {
    // SAFETY: the host reads what the argument points to.
    unsafe { asm!("bkpt #0xab", inout("r0") operation => _, in("r1") argument, options(nostack)) };
}

fn print(name: &str, mut value: u32) {
    let mut line = *b"                                \n\0";
    let mut digits = line.len() - 2;
    loop {
        digits -= 1;
        line[digits] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    for (place, letter) in line.iter_mut().zip(name.bytes()) {
        *place = letter;
    }
    semihosting(4, line.as_ptr() as usize);
}

#[entry]
fn main() -> ! {
    let subjects: [(&str, fn(u32) -> u32, u32); 12] = [
        ("all", all, 79),
        ("ends_in_a_tail", ends_in_a_tail, 79),
        ("saves_floats", saves_floats, 79),
        ("reads_weights", reads_weights, 79),
        ("moves_memory", moves_memory, 79),
        ("doubles", doubles, 79),
        ("large", large, 79),
        ("switch", switch, 79),
        ("early", early, 79),
        ("aligned", aligned, 79),
        ("recursive", recursive, 9),
        ("through_a_pointer", through_a_pointer, 79),
    ];
    for (name, function, n) in subjects {
        print(name, measure(black_box(function), black_box(n)));
    }
    semihosting(0x18, 0x2_0026);
    loop {}
}
