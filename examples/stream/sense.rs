//! What a network is shown of a stream, tick by tick.

use crate::motions::{CHANNELS, Tick};

/// Ticks in a window; also the time constant of the statistics.
pub(crate) const WINDOW: usize = 8;

/// Takes one tick after the other and says what the network is to see.
pub(crate) trait Sense<const INPUT: usize>: Default {
    fn see(&mut self, tick: &Tick) -> [f32; INPUT];
}

/// The last ticks as they are: nearly every input changes with every tick.
#[derive(Default)]
pub(crate) struct Window {
    last: [Tick; WINDOW],
}

impl Sense<{ WINDOW * CHANNELS }> for Window {
    fn see(&mut self, tick: &Tick) -> [f32; WINDOW * CHANNELS] {
        self.last.rotate_left(1);
        self.last[WINDOW - 1] = *tick;
        core::array::from_fn(|i| self.last[i / CHANNELS][i % CHANNELS])
    }
}

/// Running mean and running mean deviation of every channel: inputs that change slowly.
#[derive(Default)]
pub(crate) struct Statistics {
    mean: Tick,
    deviation: Tick,
}

impl Sense<{ 2 * CHANNELS }> for Statistics {
    fn see(&mut self, tick: &Tick) -> [f32; 2 * CHANNELS] {
        const SHARE: f32 = 1.0 / WINDOW as f32;
        for ((mean, deviation), value) in self.mean.iter_mut().zip(&mut self.deviation).zip(tick) {
            *mean += SHARE * (value - *mean);
            *deviation += SHARE * ((value - *mean).abs() - *deviation);
        }
        core::array::from_fn(|i| if i < CHANNELS { self.mean[i] } else { self.deviation[i - CHANNELS] })
    }
}
