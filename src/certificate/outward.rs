//! Arithmetic that rounds outwards without changing the rounding mode, for numbers that are not negative.
//!
//! A rounded result is at least (1 - u) times the exact one, u being half of [`Element::PRECISION`]. Multiplied by 1 + 4u,
//! which rounds once more, it is at least (1 - u)^2 (1 + 4u) > 1 times the exact one. That fails only for results too small
//! to have all their digits, which err by less than the smallest number that has, so that this much is added. Infinity and
//! NaN stay what they are, and are refused in the end.

use crate::kernel::Scalar;
use crate::simd::Element;

/// At least the exact result that was rounded to `x`.
pub(super) fn up<T: Scalar>(x: T) -> T {
    grow(x) + T::MIN_POSITIVE
}

/// [`up`] of a sum, which loses nothing to small numbers.
fn grow<T: Scalar>(x: T) -> T {
    x * (T::ONE + T::PRECISION + T::PRECISION)
}

/// At least a b; 0 only if a or b is.
pub(super) fn times<T: Scalar>(a: T, b: T) -> T {
    let product = a * b;
    if product == T::ZERO && (a == T::ZERO || b == T::ZERO) { product } else { up(product) }
}

/// At least a / b; 0 only if a is.
pub(super) fn over<T: Scalar>(a: T, b: T) -> T {
    let quotient = a / b;
    if quotient == T::ZERO && a == T::ZERO { quotient } else { up(quotient) }
}

/// At least a + b.
pub(super) fn plus<T: Scalar>(a: T, b: T) -> T {
    grow(a + b)
}

/// At most a - b, for a >= b.
pub(super) fn minus<T: Scalar>(a: T, b: T) -> T {
    (a - b) * (T::ONE - T::PRECISION - T::PRECISION)
}

/// The larger of two numbers that are not negative; NaN if one is.
pub(super) fn larger<T: Scalar>(a: T, b: T) -> T {
    if !(a >= T::ZERO) || a >= b { a } else { b }
}

/// The smaller of two numbers, the other if one is NaN.
pub(super) fn smaller<T: Scalar>(a: T, b: T) -> T {
    if a < b || !(b <= T::INFINITE) { a } else { b }
}

/// Whole numbers as scalars.
pub(super) fn count<T: Element>(n: usize) -> T {
    T::from_usize(n)
}

/// The number of sweeps after which `error`, shrunk by `rate` in each, is at most `target`: as many as a `usize` holds if
/// that is never.
///
/// The powers of the rate are made by squaring, each rounded outwards, so that the work is bounded by the bits of the result.
pub(crate) fn sweeps_until<T: Scalar>(rate: T, error: T, target: T) -> usize {
    if error <= target {
        return 0;
    }
    if rate == T::ZERO {
        return 1;
    }
    if !(rate < T::ONE && target > T::ZERO && error.is_finite()) {
        return usize::MAX;
    }
    // The first power of two that overshoots, by squaring; then the smaller ones.
    let (mut bits, mut power) = (0, rate);
    while bits < usize::BITS - 1 && times(error, power) > target {
        power = times(power, power);
        bits += 1;
    }
    let (mut sweeps, mut left) = (0_usize, error);
    for bit in (0..bits).rev() {
        let mut power = rate;
        for _ in 0..bit {
            power = times(power, power);
            if power <= T::MIN_POSITIVE + T::MIN_POSITIVE {
                break;
            }
        }
        let after = times(left, power);
        if after > target {
            left = after;
            sweeps += 1 << bit;
        }
    }
    sweeps.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_by_squaring_are_sweeps_one_by_one() {
        for rate in [0.0_f64, 1e-300, 0.01, 0.2, 0.5, 0.9, 0.99, 0.9999] {
            for target in [2.0, 0.5, 1e-3, 1e-9, 1e-15] {
                let (mut error, mut sweeps) = (1.0, 0);
                while error > target {
                    error *= rate;
                    sweeps += 1;
                }
                let found = sweeps_until(rate, 1.0, target);
                assert!(found == sweeps || found == sweeps + 1, "{rate} {target}: {found} {sweeps}");
            }
        }
        assert_eq!(sweeps_until(1.0_f32, 1.0, 0.5), usize::MAX);
        assert_eq!(sweeps_until(0.5_f32, 1.0, 0.0), usize::MAX);
        assert_eq!(sweeps_until(0.5_f32, f32::NAN, 0.5), usize::MAX);
    }

    #[test]
    fn every_result_is_at_least_the_exact_one() {
        // Of f32, whose exact products and sums f64 holds.
        let values = [1e-45_f32, 1e-40, 1.3e-38, 7e-20, 0.1, 1.0 / 3.0, 0.999_999_94, 1.0, 1.7, 3e5, 1e19];
        for a in values {
            for b in values {
                let (x, y) = (f64::from(a), f64::from(b));
                assert!(f64::from(times(a, b)) >= x * y, "{a} {b}");
                assert!(f64::from(over(a, b)) >= x / y, "{a} {b}");
                assert!(f64::from(plus(a, b)) >= x + y, "{a} {b}");
                if a >= b {
                    assert!(f64::from(minus(a, b)) <= x - y, "{a} {b}");
                }
            }
        }
        assert!(larger(f32::NAN, 1.0).is_nan() && larger(1.0, f32::NAN).is_nan());
        assert_eq!((smaller(f32::NAN, 1.0), smaller(1.0, f32::NAN)), (1.0, 1.0));
    }
}
