//! Numbers that look random and are the same everywhere.

/// A linear congruential generator (Numerical Recipes' constants).
pub struct Random(u32);

impl Random {
    /// From a seed.
    pub fn new(seed: u32) -> Self {
        Self(seed)
    }

    /// Between -1/2 and 1/2, a multiple of 2^-24.
    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 24) as f32 - 0.5
    }

    /// Fills all.
    pub fn fill(&mut self, values: &mut [f32]) {
        for value in values {
            *value = self.next();
        }
    }
}
