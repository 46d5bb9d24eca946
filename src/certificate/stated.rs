//! What a certificate states beside its vector, and what follows from it, of whatever network it is.

use super::CertificateError;
use super::outward::{count, minus, over, plus, sweeps_until, times};
use crate::kernel::Scalar;

/// What a certificate states beside its vector, in this order.
pub(super) const GAMMA: usize = 0;
const PROPAGATION: usize = 1;
const BIAS: usize = 2;
const INPUT: usize = 3;
pub(crate) const RANGE: usize = 4;
pub(super) const LARGEST: usize = 5;
pub(crate) const NUMBERS: usize = 6;
const NAMES: [&str; NUMBERS] = ["rate", "propagation", "bias", "input gain", "range", "largest entry"];

/// A vector and numbers, and how much the sums of the network round.
pub(crate) trait Stated<T: Scalar> {
    /// The numbers.
    fn numbers(&self) -> &[T; NUMBERS];
    /// The vector.
    fn v(&self) -> &[T];
    /// kappa, and eta with what small numbers lose.
    fn rounding(&self) -> (T, T);

    #[inline(always)]
    fn number(&self, index: usize) -> T {
        self.numbers().get(index).copied().unwrap_or(T::NAN)
    }
    #[inline(always)]
    fn gamma(&self) -> T {
        self.number(GAMMA)
    }
    /// c: what errors of 1 a unit in every layer come to in a sweep.
    #[inline(always)]
    fn propagation(&self) -> T {
        self.number(PROPAGATION)
    }
    /// The range, if there is one.
    #[inline(always)]
    fn bounded(&self) -> Option<T> {
        Some(self.number(RANGE)).filter(|range| range.is_finite())
    }

    /// gamma with what the steps of [`Refinement`](super::Refinement) round up.
    fn pessimistic(&self) -> T {
        self.gamma() * (T::ONE + count::<T>(16) * T::PRECISION)
    }

    /// c kappa: what a state of weighted norm 1 adds to a rounding error.
    fn relative(&self) -> T {
        times(self.number(PROPAGATION), self.rounding().0)
    }

    /// rho, for states of this weighted norm at most and inputs of this magnitude at most.
    fn rho(&self, held: T, input: T) -> T {
        let (kappa, eta) = self.rounding();
        let magnitudes = plus(plus(held, self.number(BIAS)), times(self.number(INPUT), input));
        times(self.number(PROPAGATION), plus(times(kappa, magnitudes), eta))
    }

    /// rho / (1 - gamma), which no bound can be below.
    fn floor(&self, rho: T) -> T {
        over(up_by_steps(rho), minus(T::ONE, self.pessimistic()))
    }

    /// The weighted error to sweep for, if `error` is asked of every unit: as much, or as little as can be promised.
    fn target(&self, error: T, floor: T) -> T {
        let one = T::ONE;
        let asked = error / self.number(LARGEST) * (one - T::PRECISION - T::PRECISION);
        // The floor itself is never reached.
        let least = floor * T::from_f64(1.0625);
        if asked > least { asked } else { least }
    }

    /// The sweeps after which the weighted error `from` is at most `target`.
    fn sweeps_to(&self, from: T, target: T, floor: T) -> usize {
        if from <= target {
            return 0;
        }
        if self.gamma() == T::ZERO {
            return 1;
        }
        sweeps_until(self.pessimistic(), from, minus(target, floor))
    }

    /// The most sweeps of a solve; see [`Certificate::sweeps`](super::Certificate::sweeps).
    fn most_sweeps(&self, error: T, input: T) -> Option<usize> {
        if self.gamma() == T::ZERO {
            return Some(1);
        }
        let range = self.bounded()?;
        let from = plus(range, range);
        let floor = |input| self.floor(self.rho(range, input));
        let target = self.target(error, floor(input));
        let mut most = self.sweeps_to(from, target, floor(input));
        if target > self.target(error, T::ZERO) {
            // It cannot be had for inputs as large, and smaller ones allow for more: what is left to sweep away is at least this
            // part of what they are swept to.
            let part = T::from_f64(0.058);
            most =
                most.max(sweeps_until(self.pessimistic(), from, self.target(error, floor(T::ZERO)) * part));
        }
        Some(most.max(1))
    }

    /// Compares what is stated with what the weights give.
    fn check(&self, measured: impl FnOnce() -> Option<[T; NUMBERS]>) -> Result<(), CertificateError<T>> {
        if !self.v().iter().chain(self.numbers()).all(|number| *number >= T::ZERO)
            || !self.v().iter().all(|v| v.is_finite())
            || !self.number(LARGEST).is_finite()
        {
            return Err(CertificateError::NotFinite);
        }
        if !self.v().iter().all(|v| *v >= T::ONE) {
            return Err(CertificateError::Vector);
        }
        let gamma = self.gamma();
        if !(gamma < T::ONE) {
            return Err(CertificateError::NotContracting { rate: gamma });
        }
        let found = measured().ok_or(CertificateError::NotFinite)?;
        for ((stated, found), what) in self.numbers().iter().copied().zip(found).zip(NAMES) {
            if !(found <= stated) {
                return Err(CertificateError::Refuted { what, stated, found });
            }
        }
        self.outweighs_rounding()?;
        Ok(())
    }

    /// Whether it proves that sweeps shrink errors, rounding errors among them.
    fn contracts(&self) -> Result<(), CertificateError<T>> {
        if !(self.gamma() < T::ONE) {
            return Err(CertificateError::NotContracting { rate: self.gamma() });
        }
        self.outweighs_rounding()
    }

    /// Whether all that follows from rounding errors stays below what sweeps take away, and is a number for inputs of 1 and less, so
    /// that a solve from zero ends with a bound.
    fn outweighs_rounding(&self) -> Result<(), CertificateError<T>> {
        let relative = self.relative();
        let lost = plus(self.pessimistic(), plus(relative, relative));
        let floor = self.floor(self.rho(T::ONE, T::ONE));
        let [_, propagation, bias, input, ..] = *self.numbers();
        let held = match self.bounded() {
            Some(range) => plus(range, range),
            None => {
                // |h*|_v at most is a fourth of this; what a refinement from zero bounds all states by is no more than follows.
                let sent = times(propagation, plus(plus(bias, input), T::ONE));
                let norm = times(count(4), over(sent, minus(T::ONE, self.pessimistic())));
                // The error of an activation is less than 1.
                let (kappa, _) = self.rounding();
                let rho = times(propagation, plus(times(kappa, plus(plus(norm, bias), input)), T::ONE));
                plus(norm, times(count(2), over(rho, minus(T::ONE, lost))))
            }
        };
        // Nor is any sum too large: a slope is a fourth at least, and tied feedback a hundredth.
        let sum = times(times(count(400), self.number(LARGEST)), plus(plus(held, bias), plus(input, T::ONE)));
        if lost < T::ONE && floor.is_finite() && sum.is_finite() {
            Ok(())
        } else {
            Err(CertificateError::Rounding { rate: self.gamma() })
        }
    }
}

/// A certificate that is being made, or one that is memory of the caller's.
pub(crate) struct Proposed<'a, T> {
    pub(crate) v: &'a [T],
    pub(crate) numbers: [T; NUMBERS],
    /// kappa and eta.
    pub(crate) rounding: (T, T),
}

impl<T: Scalar> Stated<T> for Proposed<'_, T> {
    #[inline(always)]
    fn numbers(&self) -> &[T; NUMBERS] {
        &self.numbers
    }
    #[inline(always)]
    fn v(&self) -> &[T] {
        self.v
    }
    #[inline(always)]
    fn rounding(&self) -> (T, T) {
        self.rounding
    }
}

/// kappa of sums of so many products.
pub(crate) fn kappa<T: Scalar>(terms: usize) -> T {
    // m u / (1 - m u) <= m u 16/15 <= m u 9/8 for m u <= 1/16, where u is half of PRECISION.
    let kappa = count::<T>(terms + 2) * T::from_f64(0.5625) * T::PRECISION;
    if kappa <= T::from_f64(0.0625) { kappa } else { T::INFINITE }
}

/// This error of an activation, and what small numbers lose in a sum of so many products.
pub(crate) fn eta<T: Scalar>(error: f64, terms: usize) -> T {
    plus(T::from_f64(error), count::<T>(64 * (terms + 2)) * T::MIN_POSITIVE)
}

/// rho as the steps of a refinement round it up.
pub(super) fn up_by_steps<T: Scalar>(rho: T) -> T {
    rho * (T::ONE + count::<T>(8) * T::PRECISION)
}
