//! Four rows of packed weights of 8 bits on Arm cores with instructions for pairs of 16 bits (Cortex-M4, M7, M33): two products and two sums
//! at a time. The integers are those of the portable loop.

use super::integers::IntState;
use core::arch::asm;

/// Four states become two pairs: the first and the third, the second and the fourth.
macro_rules! spread {
    (8) => {
        concat!(
            "ldr {p}, [{states}], #4\n",
            "eor {p}, {p}, #0x80808080\n", // 128 added to each
            "uxtb16 {q}, {p}, ror #8\n",
            "uxtb16 {p}, {p}\n",
        )
    };
    (16) => {
        concat!(
            "ldr {p}, [{states}], #4\n",
            "ldr {t}, [{states}], #4\n",
            "pkhtb {q}, {t}, {p}, asr #16\n",
            "pkhbt {p}, {p}, {t}, lsl #16\n",
        )
    };
}

/// A row: four weights become two pairs.
macro_rules! row {
    ($sum:literal, $at:literal) => {
        concat!(
            "ldr {t}, [{weights}, #",
            $at,
            "]\n",
            "sxtb16 {u}, {t}\n",
            "sxtb16 {t}, {t}, ror #8\n",
            "smlad ",
            $sum,
            ", {u}, {p}, ",
            $sum,
            "\n",
            "smlad ",
            $sum,
            ", {t}, {q}, ",
            $sum,
            "\n",
        )
    };
}

/// A group of four columns.
macro_rules! group {
    ($bits:tt) => {
        concat!(
            spread!($bits),
            row!("{a}", "0"),
            row!("{b}", "4"),
            row!("{c}", "8"),
            row!("{d}", "12"),
            "add {weights}, {weights}, {stride}\n",
        )
    };
}

/// Two groups a time, an odd one first.
macro_rules! groups {
    ($bits:tt, $sum:ident, $weights:ident, $stride:ident, $states:ident, $end:ident, $odd:expr) => {
        asm!(
            "cmp {u}, #0",
            "bne 3f",
            "2:",
            group!($bits),
            "3:",
            group!($bits),
            "cmp {states}, {end}",
            "bne 2b",
            a = inout(reg) $sum[0],
            b = inout(reg) $sum[1],
            c = inout(reg) $sum[2],
            d = inout(reg) $sum[3],
            weights = inout(reg) $weights => _,
            stride = in(reg) $stride,
            states = inout(reg) $states => _,
            end = in(reg) $end,
            p = out(reg) _,
            q = out(reg) _,
            t = out(reg) _,
            u = inout(reg) $odd => _,
            options(nostack, readonly),
        )
    };
}

/// Adds the products of `groups` groups, `stride` weights apart, to four sums.
///
/// # Safety
/// All of that must exist.
#[inline(always)]
pub(super) unsafe fn add_groups<H: IntState>(
    sum: &mut [i32; 4],
    weights: *const i8,
    stride: usize,
    states: *const H,
    groups: usize,
) {
    if groups == 0 {
        return;
    }
    // SAFETY: the caller vouches for what is read.
    unsafe {
        let end = states.add(4 * groups);
        if H::BITS < 8 {
            groups!(8, sum, weights, stride, states, end, groups % 2);
        } else {
            groups!(16, sum, weights, stride, states, end, groups % 2);
        }
    }
}

/// The floor of a / 2^by.
#[inline(always)]
pub(super) fn shift(a: i32, by: i32) -> i32 {
    let shifted;
    // SAFETY: a shift, of which the instruction takes any number; the compiler would cut it to 31 first.
    unsafe {
        asm!("asr {shifted}, {a}, {by}", shifted = lateout(reg) shifted, a = in(reg) a, by = in(reg) by,
            options(pure, nomem, nostack, preserves_flags));
    }
    shifted
}
