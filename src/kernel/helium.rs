//! The inner loops of one sample for Arm cores with Helium (MVE with floating point: Cortex-M55, M85).
//!
//! Four scalars a register, eight registers. Products are fused with their sums, so the bits are not those of the portable
//! loops; every sum still takes its products in order, so that a unit has the same bits in a block of any height. Vectors take
//! subnormal numbers for zero, whatever the mode of the processor.

use super::Part;
use super::tanh_table::{MAX, ROWS};
use core::arch::asm;
use core::mem::MaybeUninit;

/// One column of 16, of 8, or of up to 4 rows, so many steps of bytes from r9, times the factor in a register.
macro_rules! column {
    (16, $factor:literal, $n:literal, $step:literal) => {
        concat!(
            "vldrw.u32 q4, [r9, #",
            $n,
            " * ",
            $step,
            "]\nvldrw.u32 q5, [r9, #",
            $n,
            " * ",
            $step,
            " + 16]\n",
            "vfma.f32 q0, q4, ",
            $factor,
            "\nvldrw.u32 q6, [r9, #",
            $n,
            " * ",
            $step,
            " + 32]\n",
            "vfma.f32 q1, q5, ",
            $factor,
            "\nvldrw.u32 q7, [r9, #",
            $n,
            " * ",
            $step,
            " + 48]\n",
            "vfma.f32 q2, q6, ",
            $factor,
            "\nvfma.f32 q3, q7, ",
            $factor,
            "\n",
        )
    };
    (8, $factor:literal, $n:literal, $step:literal) => {
        concat!(
            "vldrw.u32 q2, [r9, #",
            $n,
            " * ",
            $step,
            "]\nvldrw.u32 q3, [r9, #",
            $n,
            " * ",
            $step,
            " + 16]\n",
            "vfma.f32 q0, q2, ",
            $factor,
            "\nvfma.f32 q1, q3, ",
            $factor,
            "\n",
        )
    };
    (4, $factor:literal, $n:literal, $step:literal) => {
        concat!("vpst\nvldrwt.u32 q1, [r9, #", $n, " * ", $step, "]\nvfma.f32 q0, q1, ", $factor, "\n")
    };
    // And on to the next column.
    ($rows:tt, $factor:literal) => {
        concat!(column!($rows, $factor, 0, 0), "add r9, r9, r10\n")
    };
}

/// Four columns at a time, r2 times.
macro_rules! columns {
    ($rows:tt) => {
        concat!(
            "wls lr, r2, 3f\n2:\nldm r11!, {{r2-r5}}\n",
            column!($rows, "r2"),
            column!($rows, "r3"),
            column!($rows, "r4"),
            column!($rows, "r5"),
            "le lr, 2b\n",
        )
    };
    // Where the bytes from column to column are known, an address lasts for four.
    ($rows:tt, $step:literal) => {
        concat!(
            "wls lr, r2, 3f\n2:\nldm r11!, {{r2-r5}}\n",
            column!($rows, "r2", 0, $step),
            column!($rows, "r3", 1, $step),
            column!($rows, "r4", 2, $step),
            column!($rows, "r5", 3, $step),
            "add r9, r9, #4 * ",
            $step,
            "\nle lr, 2b\n",
        )
    };
    // As they are in matrices of 16 and of 32 rows.
    (16 of any) => {
        concat!(
            "cmp r10, #128\nbeq 23f\ncmp r10, #64\nbeq 22f\n",
            columns!(16),
            "b 3f\n",
            "22:\n",
            columns!(16, "64"),
            "b 3f\n",
            "23:\n",
            columns!(16, "128"),
        )
    };
    ($rows:tt of any) => {
        columns!($rows)
    };
}

/// All parts of a block of rows: sums from r0 on, left from r1 on; both then are behind the block.
macro_rules! block {
    ($rows:tt, $load:expr, $store:expr) => {
        concat!(
            $load,
            "ldrd r8, r7, [sp]\n",
            "7:\nldm r8!, {{r9-r12}}\n",
            // From behind the last row to the first of those that are left.
            "sub r9, r9, r6, lsl #2\n",
            "lsr r2, r12, #2\n",
            columns!($rows of any),
            "3:\nand r2, r12, #3\nwls lr, r2, 5f\n",
            "4:\nldr r2, [r11], #4\n",
            column!($rows, "r2"),
            "le lr, 4b\n",
            "5:\nsubs r7, r7, #1\nbne 7b\n",
            $store,
        )
    };
}

/// Adds `rows` rows of all parts, of which there must be one, to the sums from `from` on; leaves them at `to`.
///
/// # Safety
/// All of that must exist.
#[inline(never)]
pub(super) unsafe fn sum_rows(from: *const f32, to: *mut f32, parts: &[Part<f32>], rows: usize) {
    // SAFETY: the caller vouches for what is read and written; lanes beyond the last row are neither. What is pushed is popped.
    unsafe {
        asm!(
            "push {{r6, r7}}",
            "push {{r2, r3}}",
            "mov r6, r4",
            "cmp r6, #16",
            "blo 8f",
            "6:",
            block!(
                16,
                "vldrw.u32 q0, [r0], #16\nvldrw.u32 q1, [r0], #16\nvldrw.u32 q2, [r0], #16\nvldrw.u32 q3, [r0], #16\n",
                "vstrw.32 q0, [r1], #16\nvstrw.32 q1, [r1], #16\nvstrw.32 q2, [r1], #16\nvstrw.32 q3, [r1], #16\n"
            ),
            "sub r6, r6, #16",
            "cmp r6, #16",
            "bhs 6b",
            "8:",
            "cmp r6, #8",
            "blo 8f",
            block!(
                8,
                "vldrw.u32 q0, [r0], #16\nvldrw.u32 q1, [r0], #16\n",
                "vstrw.32 q0, [r1], #16\nvstrw.32 q1, [r1], #16\n"
            ),
            "sub r6, r6, #8",
            "8:",
            "cmp r6, #0",
            "beq 8f",
            "6:",
            "vctp.32 r6",
            block!(4, "vpst\nvldrwt.u32 q0, [r0], #16\n", "vpst\nvstrwt.32 q0, [r1], #16\n"),
            "subs r6, r6, #4",
            "bhi 6b",
            "8:",
            "add sp, sp, #8",
            "pop {{r6, r7}}",
            inout("r0") from => _,
            inout("r1") to => _,
            inout("r2") parts.as_ptr() => _,
            inout("r3") parts.len() => _,
            inout("r4") rows => _,
            out("r5") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _, out("r12") _, out("lr") _,
            out("q0") _, out("q1") _, out("q2") _, out("q3") _, out("q4") _, out("q5") _, out("q6") _, out("q7") _,
        );
    }
}

/// Adds `rows` rows, any number, of four columns, `stride` scalars apart, times the scalars from `x` on to four sums of each
/// column from `from` on; leaves them at `to`.
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
    // SAFETY: the caller vouches for what is read and written; lanes beyond the last row are neither.
    unsafe {
        asm!(
            "vldrw.u32 q0, [{from}]",
            "vldrw.u32 q1, [{from}, #16]",
            "vldrw.u32 q2, [{from}, #32]",
            "vldrw.u32 q3, [{from}, #48]",
            "add {second}, {first}, {stride}",
            "add {third}, {second}, {stride}",
            "add {stride}, {third}, {stride}", // the fourth column by now
            "wlstp.32 lr, {rows}, 3f",
            "2:",
            "vldrw.u32 q4, [{x}], #16",
            "vldrw.u32 q5, [{first}], #16",
            "vldrw.u32 q6, [{second}], #16",
            "vfma.f32 q0, q5, q4",
            "vldrw.u32 q5, [{third}], #16",
            "vfma.f32 q1, q6, q4",
            "vldrw.u32 q6, [{stride}], #16",
            "vfma.f32 q2, q5, q4",
            "vfma.f32 q3, q6, q4",
            "letp lr, 2b",
            "3:",
            "vstrw.32 q0, [{to}]",
            "vstrw.32 q1, [{to}, #16]",
            "vstrw.32 q2, [{to}, #32]",
            "vstrw.32 q3, [{to}, #48]",
            from = in(reg) from,
            to = in(reg) to,
            rows = in(reg) rows,
            x = inout(reg) x => _,
            first = inout(reg) column => _,
            second = out(reg) _,
            third = out(reg) _,
            stride = inout(reg) stride.wrapping_mul(4) => _,
            out("lr") _,
            out("q0") _, out("q1") _, out("q2") _, out("q3") _, out("q4") _, out("q5") _, out("q6") _,
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
            "vldrw.u32 q0, [{deltas}]",
            "vldrw.u32 q1, [{deltas}, #16]",
            "dls lr, {columns}",
            "2:",
            "ldr {factor}, [{x}], #4",
            "vldrw.u32 q2, [{matrix}]",
            "vldrw.u32 q3, [{matrix}, #16]",
            "vfma.f32 q2, q0, {factor}",
            "vfma.f32 q3, q1, {factor}",
            "vstrw.32 q2, [{matrix}]",
            "vstrw.32 q3, [{matrix}, #16]",
            "add {matrix}, {matrix}, {step}",
            "le lr, 2b",
            deltas = in(reg) deltas,
            columns = in(reg) columns,
            factor = out(reg) _,
            x = inout(reg) x => _,
            matrix = inout(reg) matrix => _,
            step = in(reg) stride.wrapping_mul(4),
            out("lr") _, out("q0") _, out("q1") _, out("q2") _, out("q3") _,
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
            // Lane i of all fours in one register.
            "vld40.32 {{q0, q1, q2, q3}}, [{sums}]",
            "vld41.32 {{q0, q1, q2, q3}}, [{sums}]",
            "vld42.32 {{q0, q1, q2, q3}}, [{sums}]",
            "vld43.32 {{q0, q1, q2, q3}}, [{sums}]",
            "vadd.f32 q0, q0, q2",
            "vadd.f32 q1, q1, q3",
            "vadd.f32 q0, q0, q1",
            "vstrw.32 q0, [{totals}]",
            sums = in(reg) sums,
            totals = in(reg) totals.as_mut_ptr(),
            out("q0") _, out("q1") _, out("q2") _, out("q3") _,
            options(nostack),
        );
        totals.assume_init()
    }
}

/// Makes each of `count` units from `out` on tanh of its sum, of those from `sums` on. Gives the largest |new - old|, and 0, or
/// NaN if a sum is infinite or NaN.
///
/// The arithmetic is that of `Scalar::tanh`, fused, with the coefficients gathered.
///
/// # Safety
/// All of that must exist; `sums` and `out` may be the same.
#[inline(never)]
pub(super) unsafe fn finish_tanh(sums: *const f32, out: *mut f32, count: usize) -> (f32, f32) {
    let (residual, poison): (u32, u32);
    // SAFETY: the caller vouches for what is read and written; lanes beyond the last unit are neither. An entry of the table
    // is named by three bits, and the rows are 32 bytes apart.
    unsafe {
        asm!(
            "vmov.i32 q5, #0",
            "vmov.i32 q6, #0",
            "vmov.i32 q7, #0x1c",
            "wlstp.32 lr, {count}, 3f",
            "2:",
            "vldrw.u32 q0, [{sums}], #16",
            "vabs.f32 q1, q0",
            "vfma.f32 q5, q0, {zero}",
            // A NaN is not larger and stays.
            "vpt.f32 gt, q1, {max}",
            "vdupt.32 q1, {max}",
            // Exponent and first fraction bit of |z| + 1, times four, are where a row has its entry.
            "vadd.f32 q2, q1, {one}",
            "vshr.u32 q2, q2, #20",
            "vand q2, q2, q7",
            "vadd.i32 q2, q2, {table}",
            "vldrw.u32 q4, [q2]",
            "vldrw.u32 q3, [q2, #256]",
            "vsub.f32 q1, q1, q4",
            "vldrw.u32 q4, [q2, #224]",
            "vfma.f32 q4, q3, q1",
            "vldrw.u32 q3, [q2, #192]",
            "vfma.f32 q3, q4, q1",
            "vldrw.u32 q4, [q2, #160]",
            "vfma.f32 q4, q3, q1",
            "vldrw.u32 q3, [q2, #128]",
            "vfma.f32 q3, q4, q1",
            "vldrw.u32 q4, [q2, #96]",
            "vfma.f32 q4, q3, q1",
            "vldrw.u32 q3, [q2, #64]",
            "vfma.f32 q3, q4, q1",
            "vldrw.u32 q4, [q2, #32]",
            "vmaxnm.f32 q4, q4, q1",
            "vfma.f32 q4, q1, q3",
            "vldrw.u32 q2, [{out}]",
            "vpt.s32 lt, q0, zr",
            "vnegt.f32 q4, q4",
            "vsub.f32 q2, q4, q2",
            "vstrw.32 q4, [{out}], #16",
            "vmaxnma.f32 q6, q2",
            "letp lr, 2b",
            "3:",
            "mov {table}, {zero}",
            "vmaxnmav.f32 {zero}, q6",
            "vmaxv.u32 {table}, q5",
            sums = inout(reg) sums => _,
            out = inout(reg) out => _,
            count = in(reg) count,
            table = inout(reg) const { &ROWS }.as_ptr() => poison,
            zero = inout(reg) 0_u32 => residual,
            one = in(reg) 1.0_f32.to_bits(),
            max = in(reg) MAX.to_bits(),
            out("lr") _,
            out("q0") _, out("q1") _, out("q2") _, out("q3") _, out("q4") _, out("q5") _, out("q6") _, out("q7") _,
            options(nostack),
        );
    }
    (f32::from_bits(residual), f32::from_bits(poison))
}

/// Makes each of `count` units from `out` on (1 - h^2) times its sum, of those from `sums` on, with h from `states` on. Gives the
/// largest |new - old|, and 0, or NaN if a new value is infinite or NaN.
///
/// # Safety
/// All of that must exist.
#[inline(never)]
pub(super) unsafe fn finish_tanh_slope(
    sums: *const f32,
    states: *const f32,
    out: *mut f32,
    count: usize,
) -> (f32, f32) {
    let (residual, poison): (u32, u32);
    // SAFETY: the caller vouches for what is read and written; lanes beyond the last unit are neither.
    unsafe {
        asm!(
            "vmov.i32 q1, #0",
            "vmov.i32 q2, #0",
            "wlstp.32 lr, {count}, 3f",
            "2:",
            "vldrw.u32 q3, [{states}], #16",
            "vmov.f32 q0, #1.0",
            "vfms.f32 q0, q3, q3",
            "vldrw.u32 q3, [{sums}], #16",
            "vmul.f32 q0, q0, q3",
            "vldrw.u32 q3, [{out}]",
            "vfma.f32 q1, q0, {zero}",
            "vsub.f32 q3, q0, q3",
            "vstrw.32 q0, [{out}], #16",
            "vmaxnma.f32 q2, q3",
            "letp lr, 2b",
            "3:",
            "mov {count}, {zero}",
            "vmaxnmav.f32 {zero}, q2",
            "vmaxv.u32 {count}, q1",
            sums = inout(reg) sums => _,
            states = inout(reg) states => _,
            out = inout(reg) out => _,
            count = inout(reg) count => poison,
            zero = inout(reg) 0_u32 => residual,
            out("lr") _, out("q0") _, out("q1") _, out("q2") _, out("q3") _,
            options(nostack),
        );
    }
    (f32::from_bits(residual), f32::from_bits(poison))
}
