//! How a run goes: the learning rate and the sweeps of every step, and how many steps there are.
//!
//! All of it depends on the number of the step and on numbers that are fixed before the first step; so a run that is resumed takes the steps it
//! would have taken.

use attractor::learn::Cosine;

/// The learning rate and the sweeps of every step.
///
/// ```
/// use attractor_language::schedule::Schedule;
/// let schedule = Schedule { rate: 1e-3, warm_up: 0.1, end: 0.1, switch: 0.5, sweeps: 2, steps: 100 };
/// assert_eq!((schedule.sweeps(49), schedule.sweeps(50)), (1, 2));
/// assert!((schedule.rate(10) - 1e-3).abs() < 1e-9);
/// assert!(schedule.rate(99) < 1.1e-4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The highest rate.
    pub rate: f32,
    /// The share of the steps in which the rate rises, from a hundredth of the highest.
    pub warm_up: f64,
    /// What the rate falls to, along a cosine, as a share of the highest: 0.1, or 0.
    pub end: f64,
    /// The share of the steps after which feedback is switched on. Before it there is one sweep.
    pub switch: f64,
    /// Sweeps from then on.
    pub sweeps: usize,
    /// All steps.
    pub steps: u32,
}

impl Schedule {
    /// The learning rate of a step, counted from 0.
    #[must_use]
    pub fn rate(&self, step: u32) -> f32 {
        let peak = f64::from(self.rate);
        // At least one step is at the highest rate.
        let warm_up = self.share(self.warm_up).min(self.steps.saturating_sub(1));
        let cosine =
            Cosine::<f64> { start: 0.01 * peak, peak, end: self.end * peak, warm_up, steps: self.steps };
        cosine.rate(step) as f32
    }

    /// How many sweeps a step has, counted from 0.
    #[must_use]
    pub fn sweeps(&self, step: u32) -> usize {
        if step < self.share(self.switch) { 1 } else { self.sweeps.max(1) }
    }

    /// How many steps there are before feedback is switched on.
    #[must_use]
    pub fn plain_steps(&self) -> u32 {
        if self.sweeps > 1 { self.share(self.switch) } else { self.steps }
    }

    fn share(&self, share: f64) -> u32 {
        // A cast saturates.
        (share * f64::from(self.steps)).round() as u32
    }
}

/// What a step of either kind takes, in seconds, measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// A step of one sweep.
    pub plain: f64,
    /// A step of all sweeps.
    pub full: f64,
    /// What is measured on held-out text in a whole run.
    pub other: f64,
}

impl Costs {
    /// How many steps fit into a time, feedback being switched on after a share of them; at least 1.
    ///
    /// ```
    /// use attractor_language::schedule::Costs;
    /// let costs = Costs { plain: 0.1, full: 0.3, other: 2.0 };
    /// assert_eq!(costs.steps(102.0, 0.5), 500);
    /// ```
    #[must_use]
    pub fn steps(&self, seconds: f64, switch: f64) -> u32 {
        let step = switch * self.plain + (1.0 - switch) * self.full;
        // A cast saturates, and makes 0 of what is no number. The addition is for times that rounding made a little too short.
        ((((seconds - self.other) / step) + 1e-6) as u32).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Costs, Schedule};

    const SCHEDULE: Schedule =
        Schedule { rate: 2e-3, warm_up: 0.05, end: 0.0, switch: 0.4, sweeps: 3, steps: 200 };

    #[test]
    fn the_rate_rises_and_falls() {
        let rates: Vec<f32> = (0..200).map(|step| SCHEDULE.rate(step)).collect();
        assert!((rates[0] - 2e-5).abs() < 1e-9);
        assert!(rates[..11].windows(2).all(|pair| pair[0] < pair[1]));
        assert!((rates[10] - 2e-3).abs() < 1e-9);
        assert!(rates[10..].windows(2).all(|pair| pair[0] > pair[1]));
        // Half-way down it is half of it, by the cosine's symmetry.
        assert!((rates[105] - 1e-3).abs() < 1e-8);
        assert!(rates[199] > 0.0 && rates[199] < 1e-6);
        let tenth = Schedule { end: 0.1, ..SCHEDULE };
        assert!((tenth.rate(200) - 2e-4).abs() < 1e-9);
        assert!(tenth.rate(199) > 2e-4);
        // Neither a warm-up of all steps nor a single step is without its highest rate.
        assert_eq!(Schedule { warm_up: 1.0, ..SCHEDULE }.rate(199), 2e-3);
        assert_eq!(Schedule { steps: 1, ..SCHEDULE }.rate(0), 2e-3);
    }

    #[test]
    fn feedback_is_switched_on() {
        assert_eq!([0, 79, 80, 199].map(|step| SCHEDULE.sweeps(step)), [1, 1, 3, 3]);
        assert_eq!(SCHEDULE.plain_steps(), 80);
        assert_eq!(Schedule { sweeps: 1, ..SCHEDULE }.plain_steps(), 200);
        assert_eq!(Schedule { switch: 0.0, ..SCHEDULE }.sweeps(0), 3);
        assert_eq!(Schedule { switch: 1.0, ..SCHEDULE }.sweeps(199), 1);
    }

    #[test]
    fn steps_fit_into_the_time() {
        let costs = Costs { plain: 0.1, full: 0.2, other: 1.0 };
        assert_eq!(costs.steps(16.0, 0.5), 100);
        assert_eq!(costs.steps(11.0, 1.0), 100);
        assert_eq!(costs.steps(0.5, 0.5), 1);
        assert_eq!(costs.steps(f64::NAN, 0.5), 1);
    }
}
