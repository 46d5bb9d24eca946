//! tanh of integers: tables, made and checked while compiling.

use super::{Entry, IntState};

/// For states of 8 bits: steps of 1/16 up to 63/16. Two AVX-512 registers hold it.
pub(super) static COARSE: [i16; 64] = table(16);
/// For states of 16 bits: steps of 1/64 up to 511/64.
pub(super) static FINE: [i16; 512] = table(64);

const _: () = assert!(rises::<i8>(&table::<64>(16)) && rises::<i16>(&table::<512>(64)));

/// tanh of i / `steps` in units of 2^-15, rounded, at most 1 - 2^-15.
const fn table<const N: usize>(steps: usize) -> [i16; N] {
    let mut table = [0; N];
    let mut i = 0;
    while i < N {
        let scaled = tanh(i as f64 / steps as f64) * 32768.0 + 0.5;
        table[i] = if scaled < 32767.0 { scaled as i16 } else { 32767 };
        i += 1;
    }
    table
}

/// tanh x = 1 - 2 / (e^(2x) + 1), with e^x = (e^(x / 1024))^1024 and a series.
const fn tanh(x: f64) -> f64 {
    let small = 2.0 * x / 1024.0;
    let (mut term, mut sum, mut n) = (1.0, 1.0, 1.0);
    while n < 16.0 {
        term *= small / n;
        sum += term;
        n += 1.0;
    }
    let mut squared = 0;
    while squared < 10 {
        sum *= sum;
        squared += 1;
    }
    1.0 - 2.0 / (sum + 1.0)
}

/// Whether no step falls, and none rises by more than the argument does: then neither does any value between two entries, for the floor of a
/// straight line with a slope of at most 1 rises by no more than the ceiling of what the line does.
const fn rises<H: IntState + Entry>(table: &[i16]) -> bool {
    // A step of a sum's last digit, in units of 2^-15, times the steps between two entries.
    let most = 1_i32 << (15 - H::BITS - H::EXTRA + H::SEGMENT);
    let mut i = 1;
    while i < table.len() {
        let rise = table[i] as i32 - table[i - 1] as i32;
        if rise < 0 || rise > most {
            return false;
        }
        i += 1;
    }
    table[0] == 0
}
