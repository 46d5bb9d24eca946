//! What every unit is worth, measured on samples.

use super::{CompressError, for_each_listener};
use crate::kernel::Scalar;
use crate::network::{Architecture, Network, Plain, State, Workspace};
use crate::simd::Element;
use core::fmt;

/// What units are compared by. Both estimate, to second order, how much the network changes if a unit is held at its mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Measure {
    /// The variance of h times the sum of the squares of all weights that multiply it: what changes in the units that read it. Needs
    /// [`Importance::observe`] and no targets.
    Weights,
    /// The variance of h times the mean square of dJ/dh: what changes in the loss, were its share in the outputs independent of h
    /// (after Molchanov et al. 2017). Needs [`Importance::observe_gradient`].
    Gradient,
}

/// Means, variances and, if asked for, mean squares of dJ/dh of every unit of a network `N`, over the samples it was shown: three scalars
/// a unit.
///
/// The module [`compress`](crate::compress) has an example.
#[repr(C)]
pub struct Importance<N: Architecture> {
    means: State<N>,
    variances: State<N>,
    slopes: State<N>,
    samples: u32,
    /// Of these, how many came with their gradient.
    gradients: u32,
}

// SAFETY: repr(C) over numbers, and any bytes are such.
#[allow(unsafe_code, reason = "what was observed is numbers, wherever it is kept")]
unsafe impl<N: Architecture> Plain for Importance<N> {}

impl<N: Architecture> Clone for Importance<N> {
    fn clone(&self) -> Self {
        let Self { means, variances, slopes, samples, gradients } = self;
        let (means, variances, slopes) = (means.clone(), variances.clone(), slopes.clone());
        Self { means, variances, slopes, samples: *samples, gradients: *gradients }
    }
}

impl<N: Architecture> fmt::Debug for Importance<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Importance({}, {} samples, {} gradients)", N::OUTLINE, self.samples, self.gradients)
    }
}

impl<N: Architecture> Default for Importance<N> {
    fn default() -> Self {
        Self::ZERO
    }
}

impl<N: Architecture> Importance<N> {
    /// Nothing observed.
    pub const ZERO: Self =
        Self { means: State::ZERO, variances: State::ZERO, slopes: State::ZERO, samples: 0, gradients: 0 };
    /// Bytes of it.
    pub const BYTES: usize = size_of::<Self>();

    crate::network::in_a_box!("Nothing observed,");

    /// Observes `B` samples: a state that a solve left.
    ///
    /// # Errors
    /// [`CompressError::NotFinite`] if an activation is a NaN or too large.
    pub fn observe<const B: usize>(&mut self, state: &State<N, B>) -> Result<(), CompressError> {
        if !state.as_slice().iter().all(|h| h.magnitude() < N::Scalar::GRADIENT_LIMIT) {
            return Err(CompressError::NotFinite);
        }
        let statistics = self.means.as_mut_slice().iter_mut().zip(self.variances.as_mut_slice());
        for ((mean, variance), h) in statistics.zip(state.as_slice().chunks_exact(B)) {
            let mut samples = self.samples;
            for h in h {
                // Welford's recurrence, whose terms stay as small as what they are the mean of.
                samples = samples.saturating_add(1);
                let (share, before) = (share(samples), *h - *mean);
                *mean += before * share;
                *variance += (before * (*h - *mean) - *variance) * share;
            }
        }
        self.samples = self.samples.saturating_add(B as u32);
        Ok(())
    }

    /// The mean activation of every unit.
    #[must_use]
    pub const fn means(&self) -> &State<N> {
        &self.means
    }
    /// The variance of every unit's activation.
    #[must_use]
    pub const fn variances(&self) -> &State<N> {
        &self.variances
    }
    /// Samples observed.
    #[must_use]
    pub const fn samples(&self) -> u32 {
        self.samples
    }
}

/// 1 / `samples`.
fn share<T: Element>(samples: u32) -> T {
    T::ONE / T::from_usize(samples as usize)
}

impl<T: Scalar, A: Architecture<Scalar = T>> Importance<Network<A>> {
    /// Observes `B` samples with their gradient: the workspace that [`Network::gradient`] or a [`Trainer`](crate::learn::Trainer) left. dJ/dh
    /// is a sum over all weights that listen, so this takes as long as a sweep in plain loops.
    ///
    /// # Errors
    /// [`CompressError::NotFinite`] if an activation, a weight or dJ/dh is a NaN or too large.
    pub fn observe_gradient<const B: usize>(
        &mut self,
        network: &Network<A>,
        workspace: &Workspace<Network<A>, B>,
    ) -> Result<(), CompressError> {
        let params = network.parameters()?;
        let (deltas, output) = (workspace.adjoint.as_slice(), crate::network::Flat::flat(&workspace.output));
        // Losses are means over the samples.
        let samples = T::from_usize(B);
        let slope = |layer: usize, unit: usize, sample: usize| {
            let mut sum = T::ZERO;
            for_each_listener(params, layer, unit, |listener, weight| {
                sum += weight * deltas.get(listener * B + sample).copied().unwrap_or(T::NAN);
            });
            if layer + 1 == A::LAYOUT.depth() {
                sum += output.get(unit * B + sample).copied().unwrap_or(T::NAN);
            }
            sum * samples
        };
        let layers = params.layout().layers();
        let all = || {
            layers.iter().enumerate().flat_map(|(l, layer)| {
                (0..layer.width)
                    .flat_map(move |unit| (0..B).map(move |sample| (l, layer.units + unit, unit, sample)))
            })
        };
        if !all().all(|(l, _, unit, sample)| slope(l, unit, sample).magnitude() < T::GRADIENT_LIMIT) {
            return Err(CompressError::NotFinite);
        }
        self.observe(&workspace.state)?;
        for (l, place, unit, sample) in all() {
            let slope = slope(l, unit, sample);
            if let Some(mean) = self.slopes.as_mut_slice().get_mut(place) {
                let count = self.gradients.saturating_add(sample as u32 + 1);
                *mean += (slope * slope - *mean) * share(count);
            }
        }
        self.gradients = self.gradients.saturating_add(B as u32);
        Ok(())
    }

    /// What every unit is worth by `measure`, the larger the more, for [`Network::prune`]. Only units of one layer can be compared.
    ///
    /// # Errors
    /// [`CompressError::NoSamples`] if nothing was observed of what the measure needs, [`CompressError::NotFinite`] if a weight or a score is not
    /// finite; `scores` is then unchanged.
    pub fn scores(
        &self,
        network: &Network<A>,
        measure: Measure,
        scores: &mut State<Network<A>>,
    ) -> Result<(), CompressError> {
        let seen = if measure == Measure::Gradient { self.gradients } else { self.samples };
        if seen == 0 {
            return Err(CompressError::NoSamples);
        }
        let params = network.parameters()?;
        let worth = |layer: usize, place: usize, unit: usize| {
            let worth = match measure {
                Measure::Gradient => self.slopes.as_slice().get(place).copied().unwrap_or(T::NAN),
                Measure::Weights => {
                    let mut sum = T::ZERO;
                    for_each_listener(params, layer, unit, |_, weight| sum += weight * weight);
                    sum
                }
            };
            worth * self.variances.as_slice().get(place).copied().unwrap_or(T::NAN)
        };
        let layers = params.layout().layers();
        let all = || {
            let units = layers.iter().enumerate();
            units.flat_map(|(l, layer)| (0..layer.width).map(move |unit| (l, layer.units + unit, unit)))
        };
        if !all().all(|(l, place, unit)| worth(l, place, unit).is_finite()) {
            return Err(CompressError::NotFinite);
        }
        for (l, place, unit) in all() {
            if let Some(score) = scores.as_mut_slice().get_mut(place) {
                *score = worth(l, place, unit);
            }
        }
        Ok(())
    }
}
