//! The learning rate over time.

use crate::kernel::Scalar;

/// A rate that rises from `start` to `peak` over `warm_up` steps and falls to `end` at step `steps`, both along
/// half a cosine (Loshchilov and Hutter 2017; with a warm-up it is the one-cycle rate of Smith and Topin 2018).
/// Rates may be any finite numbers of at least 0; others are refused by the optimizer that is given them.
///
/// ```
/// use attractor::learn::Cosine;
/// let schedule = Cosine { start: 1e-4, peak: 3e-3, end: 0.0, warm_up: 100, steps: 1000 };
/// assert_eq!(schedule.rate(0), 1e-4);
/// assert_eq!(schedule.rate(100), 3e-3);
/// assert_eq!(schedule.rate(1000), 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine<T = f32> {
    /// The rate of step 0, if there is a warm-up.
    pub start: T,
    /// The highest rate.
    pub peak: T,
    /// The rate of step `steps` and of all later ones.
    pub end: T,
    /// Steps until the highest rate: fewer than `steps`, or the end comes first, and then it is never reached.
    pub warm_up: u32,
    /// Steps until the last rate.
    pub steps: u32,
}

impl<T: Scalar> Cosine<T> {
    /// The rate of step `step`, counted from 0.
    #[must_use]
    pub fn rate(&self, step: u32) -> T {
        let (from, to, at, of) = if step >= self.steps {
            return self.end;
        } else if step < self.warm_up {
            (self.start, self.peak, step, self.warm_up)
        } else {
            (self.peak, self.end, step - self.warm_up, self.steps - self.warm_up)
        };
        let angle =
            T::from_f64(core::f64::consts::PI) * T::from_f64(f64::from(at)) / T::from_f64(f64::from(of));
        let fallen = (T::ONE - angle.cos()) * T::from_f64(0.5);
        from + (to - from) * fallen
    }
}
