//! Products of packed weights of 8 bits where flash is small: one function for all layers, short and without unrolled ends.

use super::integers::{IntState, ROWS};

/// Adds the products of `count` rows from `row` on to their sums.
///
/// # Safety
/// All of that must exist.
#[inline(never)]
pub(super) unsafe fn product<H: IntState>(
    sums: &mut [i32; ROWS],
    weights: *const i8,
    rows: usize,
    columns: usize,
    states: *const H,
    row: usize,
    count: usize,
) {
    let (groups, stride) = (columns / 4, 4 * rows);
    // SAFETY: groups come first, four weights a row, then the columns left over, one weight a row.
    unsafe {
        let mut first = weights.add(4 * row);
        let sums = sums.get_mut(..count).unwrap_or_default();
        let (fours, others) = sums.as_chunks_mut::<4>();
        for sums in fours {
            four(sums, first, stride, states, groups);
            first = first.wrapping_add(16);
        }
        for sum in others {
            let (mut weights, mut states) = (first, states);
            for _ in 0..groups {
                rolled();
                *sum = sum.wrapping_add(dot(weights, spread(states)));
                weights = weights.wrapping_add(stride);
                states = states.wrapping_add(4);
            }
            first = first.wrapping_add(4);
        }
        for column in 4 * groups..columns {
            let state = states.add(column).read().into() + H::OFFSET;
            let mut weights = weights.add(column * rows + row);
            for sum in sums.get_mut(..count).unwrap_or_default() {
                rolled();
                *sum = sum.wrapping_add(i32::from(weights.read()) * state);
                weights = weights.wrapping_add(1);
            }
        }
    }
}

/// In a loop that should stay one.
#[inline(always)]
fn rolled() {
    core::hint::black_box(());
}

#[cfg(all(any(feature = "asm", feature = "helium"), target_arch = "arm", target_abi = "eabihf"))]
use super::dsp::add_groups as four;

/// Adds the products of `groups` groups, `stride` weights apart, to four sums.
///
/// # Safety
/// All of that must exist.
#[cfg(not(all(any(feature = "asm", feature = "helium"), target_arch = "arm", target_abi = "eabihf")))]
#[inline(always)]
unsafe fn four<H: IntState>(
    sums: &mut [i32; 4],
    mut weights: *const i8,
    stride: usize,
    mut states: *const H,
    groups: usize,
) {
    let [mut a, mut b, mut c, mut d] = *sums;
    for _ in 0..groups {
        // SAFETY: the caller vouches for four weights of four rows, and four states.
        unsafe {
            let states_here = spread(states);
            a = a.wrapping_add(dot(weights, states_here));
            b = b.wrapping_add(dot(weights.add(4), states_here));
            c = c.wrapping_add(dot(weights.add(8), states_here));
            d = d.wrapping_add(dot(weights.add(12), states_here));
            weights = weights.wrapping_add(stride);
            states = states.add(4);
        }
    }
    *sums = [a, b, c, d];
}

/// # Safety
/// Four states must be there.
#[inline(always)]
unsafe fn spread<H: IntState>(states: *const H) -> [i32; 4] {
    // SAFETY: the caller vouches for them.
    let [a, b, c, d] = unsafe { states.cast::<[H; 4]>().read() };
    [a.into() + H::OFFSET, b.into() + H::OFFSET, c.into() + H::OFFSET, d.into() + H::OFFSET]
}

/// # Safety
/// Four weights must be there.
#[inline(always)]
unsafe fn dot(weights: *const i8, states: [i32; 4]) -> i32 {
    // SAFETY: the caller vouches for them.
    let [a, b, c, d] = unsafe { weights.cast::<[i8; 4]>().read() };
    let first = (i32::from(a) * states[0]).wrapping_add(i32::from(b) * states[1]);
    let second = (i32::from(c) * states[2]).wrapping_add(i32::from(d) * states[3]);
    first.wrapping_add(second)
}
