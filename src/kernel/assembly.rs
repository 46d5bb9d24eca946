//! The inner loops of one sample for Arm cores with a floating-point unit and no vectors (Cortex-M4, M7, M33), where one
//! instruction loads eight weights: the compiler never makes it. And tanh of what they come to, two units at a time.
//!
//! The bits are those of the portable loops: `vmla` rounds the product and then the sum. It is one instruction, and on a
//! Cortex-M4 three cycles; with the feature `asm-m4` it is two, of one cycle each (Cortex-M4 Technical Reference Manual,
//! FPU instruction set).

use super::tanh_table::{ENTRIES, MAX, ROWS};
use core::arch::asm;
use core::mem::MaybeUninit;

/// `s{sum} += s{weight} * s{factor}` for each pair.
#[cfg(not(feature = "asm-m4"))]
macro_rules! multiply_add {
    ($factor:literal, $($sum:literal $weight:literal),+) => {
        concat!($("vmla.f32 ", $sum, ", ", $weight, ", ", $factor, "\n"),+)
    };
    (each $($sum:literal $weight:literal $factor:literal),+) => {
        concat!($("vmla.f32 ", $sum, ", ", $weight, ", ", $factor, "\n"),+)
    };
}
#[cfg(feature = "asm-m4")]
macro_rules! multiply_add {
    ($factor:literal, $($sum:literal $weight:literal),+) => {
        concat!(
            $("vmul.f32 ", $weight, ", ", $weight, ", ", $factor, "\n",)+
            $("vadd.f32 ", $sum, ", ", $sum, ", ", $weight, "\n"),+
        )
    };
    (each $($sum:literal $weight:literal $factor:literal),+) => {
        concat!(
            $("vmul.f32 ", $weight, ", ", $weight, ", ", $factor, "\n",)+
            $("vadd.f32 ", $sum, ", ", $sum, ", ", $weight, "\n"),+
        )
    };
}

/// Eight deltas times the factor, added to eight entries: the deltas stay.
#[cfg(not(feature = "asm-m4"))]
macro_rules! outer_column {
    () => {
        multiply_add!("s16", "s8" "s0", "s9" "s1", "s10" "s2", "s11" "s3", "s12" "s4", "s13" "s5", "s14" "s6", "s15" "s7")
    };
}
#[cfg(feature = "asm-m4")]
macro_rules! outer_column {
    () => {
        concat!(
            outer_column!("s17" "s0", "s18" "s1", "s19" "s2", "s20" "s3", "s21" "s4", "s22" "s5", "s23" "s6", "s24" "s7"),
            "vadd.f32 s8, s8, s17\nvadd.f32 s9, s9, s18\nvadd.f32 s10, s10, s19\nvadd.f32 s11, s11, s20\n",
            "vadd.f32 s12, s12, s21\nvadd.f32 s13, s13, s22\nvadd.f32 s14, s14, s23\nvadd.f32 s15, s15, s24\n",
        )
    };
    ($($product:literal $delta:literal),+) => {
        concat!($("vmul.f32 ", $product, ", ", $delta, ", s16\n"),+)
    };
}

/// One column of 16, 8 or 4 rows, times the factor in a register.
macro_rules! column {
    (16, $factor:literal) => {
        concat!(
            column!(8, $factor),
            "vldmia {column}!, {{s16-s23}}\n",
            multiply_add!($factor, "s8" "s16", "s9" "s17", "s10" "s18", "s11" "s19",
                "s12" "s20", "s13" "s21", "s14" "s22", "s15" "s23"),
        )
    };
    (8, $factor:literal) => {
        concat!(
            "vldmia {column}!, {{s16-s23}}\n",
            multiply_add!($factor, "s0" "s16", "s1" "s17", "s2" "s18", "s3" "s19",
                "s4" "s20", "s5" "s21", "s6" "s22", "s7" "s23"),
        )
    };
    (4, $factor:literal) => {
        concat!(
            "vldmia {column}!, {{s16-s19}}\n",
            multiply_add!($factor, "s0" "s16", "s1" "s17", "s2" "s18", "s3" "s19"),
        )
    };
}

macro_rules! rows {
    ($name:ident, $rows:tt, $sums:literal) => {
        /// Adds `columns` columns of so many rows, `stride` scalars apart, times the scalars from `x` on, to the sums
        /// from `from` on; leaves them at `to`.
        ///
        /// # Safety
        /// All of that must exist.
        #[inline(always)]
        pub(super) unsafe fn $name(from: *const f32, to: *mut f32, column: *const f32, stride: usize, x: *const f32, columns: usize) {
            // SAFETY: the caller vouches for what is read and written.
            unsafe {
                asm!(
                    concat!("vldmia {from}, ", $sums),
                    "subs {left}, {left}, #2",
                    "blo 3f",
                    "2:",
                    "vldmia {x}!, {{s24-s25}}",
                    column!($rows, "s24"),
                    "add {column}, {column}, {step}",
                    "4:",
                    column!($rows, "s25"),
                    "add {column}, {column}, {step}",
                    "subs {left}, {left}, #2",
                    "bhs 2b",
                    "3:",
                    "adds {left}, {left}, #2",
                    "beq 5f",
                    "vldmia {x}!, {{s25}}",
                    "subs {left}, {left}, #1",
                    "b 4b", // one more that ends as the second of two
                    "5:",
                    concat!("vstmia {to}, ", $sums),
                    from = in(reg) from,
                    to = in(reg) to,
                    left = inout(reg) columns => _,
                    column = inout(reg) column => _,
                    x = inout(reg) x => _,
                    step = in(reg) stride.wrapping_sub($rows).wrapping_mul(4),
                    out("s0") _, out("s1") _, out("s2") _, out("s3") _, out("s4") _, out("s5") _, out("s6") _,
                    out("s7") _, out("s8") _, out("s9") _, out("s10") _, out("s11") _, out("s12") _, out("s13") _,
                    out("s14") _, out("s15") _, out("s16") _, out("s17") _, out("s18") _, out("s19") _,
                    out("s20") _, out("s21") _, out("s22") _, out("s23") _, out("s24") _, out("s25") _,
                    options(nostack),
                );
            }
        }
    };
}

rows!(rows_16, 16, "{{s0-s15}}");
rows!(rows_8, 8, "{{s0-s7}}");
rows!(rows_4, 4, "{{s0-s3}}");

/// Adds `rows` rows (at least 4, a multiple of 4) of four columns, `stride` scalars apart, times the scalars from `x` on to
/// four sums of each column from `from` on; leaves them at `to`.
///
/// # Safety
/// All of that must exist.
#[inline(always)]
pub(super) unsafe fn columns_4(
    from: *const f32,
    to: *mut f32,
    column: *const f32,
    stride: usize,
    x: *const f32,
    rows: usize,
) {
    // SAFETY: the caller vouches for what is read and written.
    unsafe {
        asm!(
            "vldmia {from}, {{s0-s15}}",
            "add {second}, {first}, {stride}",
            "add {third}, {second}, {stride}",
            "add {stride}, {third}, {stride}",
            "2:",
            "vldmia {x}!, {{s16-s19}}",
            "vldmia {first}!, {{s20-s23}}",
            multiply_add!(each "s0" "s20" "s16", "s1" "s21" "s17", "s2" "s22" "s18", "s3" "s23" "s19"),
            "vldmia {second}!, {{s24-s27}}",
            multiply_add!(each "s4" "s24" "s16", "s5" "s25" "s17", "s6" "s26" "s18", "s7" "s27" "s19"),
            "vldmia {third}!, {{s20-s23}}",
            multiply_add!(each "s8" "s20" "s16", "s9" "s21" "s17", "s10" "s22" "s18", "s11" "s23" "s19"),
            "vldmia {stride}!, {{s24-s27}}", // the fourth column by now
            multiply_add!(each "s12" "s24" "s16", "s13" "s25" "s17", "s14" "s26" "s18", "s15" "s27" "s19"),
            "subs {left}, {left}, #4",
            "bne 2b",
            "vstmia {to}, {{s0-s15}}",
            from = in(reg) from,
            to = in(reg) to,
            left = inout(reg) rows => _,
            x = inout(reg) x => _,
            first = inout(reg) column => _,
            second = out(reg) _,
            third = out(reg) _,
            stride = inout(reg) stride.wrapping_mul(4) => _,
            out("s0") _, out("s1") _, out("s2") _, out("s3") _, out("s4") _, out("s5") _, out("s6") _,
            out("s7") _, out("s8") _, out("s9") _, out("s10") _, out("s11") _, out("s12") _, out("s13") _,
            out("s14") _, out("s15") _, out("s16") _, out("s17") _, out("s18") _, out("s19") _,
            out("s20") _, out("s21") _, out("s22") _, out("s23") _, out("s24") _, out("s25") _,
            out("s26") _, out("s27") _,
            options(nostack),
        );
    }
}

/// Adds the outer product of eight deltas and of `columns` scalars from `x` on to eight rows of a matrix, `stride` scalars from
/// column to column.
///
/// # Safety
/// All of that must exist; there must be at least one column.
#[inline(always)]
pub(super) unsafe fn outer_8(
    matrix: *mut f32,
    stride: usize,
    deltas: &[f32; 8],
    x: *const f32,
    columns: usize,
) {
    // SAFETY: the caller vouches for what is read and written.
    unsafe {
        asm!(
            "vldmia {deltas}, {{s0-s7}}",
            "2:",
            "vldmia {x}!, {{s16}}",
            "vldmia {matrix}, {{s8-s15}}",
            outer_column!(),
            "vstmia {matrix}!, {{s8-s15}}",
            "add {matrix}, {matrix}, {step}",
            "subs {left}, {left}, #1",
            "bne 2b",
            deltas = in(reg) deltas,
            left = inout(reg) columns => _,
            x = inout(reg) x => _,
            matrix = inout(reg) matrix => _,
            step = in(reg) stride.wrapping_sub(8).wrapping_mul(4),
            out("s0") _, out("s1") _, out("s2") _, out("s3") _, out("s4") _, out("s5") _, out("s6") _,
            out("s7") _, out("s8") _, out("s9") _, out("s10") _, out("s11") _, out("s12") _, out("s13") _,
            out("s14") _, out("s15") _, out("s16") _, out("s17") _, out("s18") _, out("s19") _,
            out("s20") _, out("s21") _, out("s22") _, out("s23") _, out("s24") _,
            options(nostack),
        );
    }
}

/// The sums of each four of 16 sums, by halves.
#[inline(always)]
pub(super) fn sums_of_4(sums: &[f32; 16]) -> [f32; 4] {
    let mut totals = MaybeUninit::<[f32; 4]>::uninit();
    // SAFETY: reads 16 and writes 4.
    unsafe {
        asm!(
            "vldmia {sums}, {{s0-s15}}",
            "vadd.f32 s0, s0, s2",
            "vadd.f32 s1, s1, s3",
            "vadd.f32 s4, s4, s6",
            "vadd.f32 s5, s5, s7",
            "vadd.f32 s8, s8, s10",
            "vadd.f32 s9, s9, s11",
            "vadd.f32 s12, s12, s14",
            "vadd.f32 s13, s13, s15",
            "vadd.f32 s0, s0, s1",
            "vadd.f32 s1, s4, s5",
            "vadd.f32 s2, s8, s9",
            "vadd.f32 s3, s12, s13",
            "vstmia {totals}, {{s0-s3}}",
            sums = in(reg) sums,
            totals = in(reg) totals.as_mut_ptr(),
            out("s0") _, out("s1") _, out("s2") _, out("s3") _, out("s4") _, out("s5") _, out("s6") _,
            out("s7") _, out("s8") _, out("s9") _, out("s10") _, out("s11") _, out("s12") _, out("s13") _,
            out("s14") _, out("s15") _,
            options(nostack),
        );
        totals.assume_init()
    }
}

/// The segments of tanh in the order of |x|: anchor, whether t itself is the result but for a correction, value, then the
/// polynomial of the slope.
static SEGMENTS: [[f32; ENTRIES + 1]; 7] = {
    let mut segments = [[0.0; ENTRIES + 1]; 7];
    let mut i = 0;
    while i < segments.len() {
        let from = (i + FIRST) % 8;
        segments[i][0] = ROWS[0][from];
        let mut entry = 1;
        while entry < ENTRIES {
            segments[i][entry + 1] = ROWS[entry][from];
            entry += 1;
        }
        i += 1;
    }
    segments[0][1] = 1.0;
    segments
};
/// The segment at zero in [`ROWS`].
const FIRST: usize = 6;
// What the code below takes for constants.
const _: () = assert!(ROWS[0][FIRST] == 0.0 && ROWS[0][(FIRST + 6) % 8] == MAX);

/// What became of some units.
#[repr(C)]
pub(super) struct Became {
    /// The largest |new - old|.
    pub(super) residual: f32,
    /// 0, or NaN if a sum was infinite or NaN.
    pub(super) poison: f32,
}

/// tanh of `units` sums, an even number and not 0, from `out` on, two at a time: the operations of `Scalar::tanh` and of
/// `Change::record`. Magnitudes are compared as integers, which order as they do.
///
/// # Safety
/// All of that must exist.
#[inline(never)]
pub(super) unsafe extern "C" fn tanh_units(sums: *const f32, out: *mut f32, units: usize) -> Became {
    // Added to twice the bits of a magnitude, takes NaN, and nothing else, past the largest integer: it is not larger then.
    const PAST: u32 = 0x00ff_ffff;
    let (largest, poison): (u32, u32);
    // SAFETY: the caller vouches for what is read and written. |x| + 1 is from 1 to 10.1, or NaN, so that the bits that name
    // the segment are, as a signed number, from -2 to 4.
    unsafe {
        asm!(
            "vldr s24, [{third}, #-80]", // two rows of 40 bytes before the third: 0, the first anchor
            "vldr s25, [{third}, #-76]", // 1, after it
            "vldr s26, [{third}, #160]", // the last anchor, where tanh has become 1
            "vmov.f32 s27, s24",
            "2:",
            "vldmia {sums}!, {{s0, s1}}",
            "vmov {x}, {y}, s0, s1",
            "vabs.f32 s2, s0",
            "vabs.f32 s3, s1",
            multiply_add!(each "s27" "s0" "s24", "s27" "s1" "s24"),
            "vcmp.f32 s2, s26",
            "vmrs APSR_nzcv, fpscr",
            "it gt",
            "vmovgt.f32 s2, s26",
            "vcmp.f32 s3, s26",
            "vmrs APSR_nzcv, fpscr",
            "it gt",
            "vmovgt.f32 s3, s26",
            "vadd.f32 s0, s2, s25",
            "vadd.f32 s1, s3, s25",
            "vmov {p}, {q}, s0, s1",
            "sbfx {p}, {p}, #22, #4",
            "sbfx {q}, {q}, #22, #4",
            "mla {p}, {p}, {size}, {third}",
            "mla {q}, {q}, {size}, {third}",
            "vldmia {p}, {{s4-s13}}",
            "vldmia {q}, {{s14-s23}}",
            "vsub.f32 s4, s2, s4",
            "vsub.f32 s14, s3, s14",
            "vldmia {out}, {{s0, s1}}",
            multiply_add!(each "s12" "s13" "s4", "s22" "s23" "s14"),
            multiply_add!(each "s11" "s12" "s4", "s21" "s22" "s14"),
            multiply_add!(each "s10" "s11" "s4", "s20" "s21" "s14"),
            multiply_add!(each "s9" "s10" "s4", "s19" "s20" "s14"),
            multiply_add!(each "s8" "s9" "s4", "s18" "s19" "s14"),
            multiply_add!(each "s7" "s8" "s4", "s17" "s18" "s14"),
            multiply_add!(each "s6" "s5" "s4", "s16" "s15" "s14"), // t in the first segment, else the value
            multiply_add!(each "s6" "s7" "s4", "s16" "s17" "s14"),
            "vmov {p}, s6",
            "vmov {q}, s16",
            "bfi {x}, {p}, #0, #31", // all but the sign
            "bfi {y}, {q}, #0, #31",
            "vmov s2, s3, {x}, {y}",
            "vstmia {out}!, {{s2, s3}}",
            "vsub.f32 s2, s2, s0",
            "vsub.f32 s3, s3, s1",
            "vmov {p}, {q}, s2, s3",
            "add {p}, {past}, {p}, lsl #1",
            "add {q}, {past}, {q}, lsl #1",
            "cmp {largest}, {p}",
            "it lo",
            "movlo {largest}, {p}",
            "cmp {largest}, {q}",
            "it lo",
            "movlo {largest}, {q}",
            "subs {left}, {left}, #2",
            "bne 2b",
            "vmov {p}, s27",
            sums = inout(reg) sums => _,
            out = inout(reg) out => _,
            left = inout(reg) units => _,
            third = in(reg) SEGMENTS.as_ptr().wrapping_add(2),
            size = in(reg) size_of::<[f32; ENTRIES + 1]>(),
            past = in(reg) PAST,
            largest = inout(reg) PAST => largest,
            x = out(reg) _,
            y = out(reg) _,
            p = out(reg) poison,
            q = out(reg) _,
            out("s0") _, out("s1") _, out("s2") _, out("s3") _, out("s4") _, out("s5") _, out("s6") _,
            out("s7") _, out("s8") _, out("s9") _, out("s10") _, out("s11") _, out("s12") _, out("s13") _,
            out("s14") _, out("s15") _, out("s16") _, out("s17") _, out("s18") _, out("s19") _,
            out("s20") _, out("s21") _, out("s22") _, out("s23") _, out("s24") _, out("s25") _,
            out("s26") _, out("s27") _,
            options(nostack),
        );
    }
    Became { residual: f32::from_bits((largest - PAST) >> 1), poison: f32::from_bits(poison) }
}
