//! How many bytes of RAM a network takes, for every way to use it.

/// Bytes of RAM of a network type, [`Network::MEMORY`](crate::Network::MEMORY), all constants.
///
/// With t bytes a scalar, N_l units in layer l (N_0 inputs) of which F_l are fed back to it, B samples:
///
/// | what | bytes |
/// |-|-|
/// | parameters P | t sum of N_l (N_(l-1) + F_l + 1) |
/// | state M | t B sum of N_l |
/// | injection | t B N_1 |
/// | workspace | 2 M + t B N_outputs |
/// | inference, weights in flash | M |
/// | stream (sweep by sweep), weights in flash | M + injection |
/// | learning in place, [`Network::descend`](crate::Network::descend) | P + workspace |
/// | learning with `Sgd` without, with momentum | 2 P + workspace, 3 P + workspace |
/// | learning with `Adam` | 4 P + workspace |
/// | holding a rate, in [`Trainer`](crate::learn::Trainer) and [`Descent`](crate::learn::Descent) besides | 2 t sum of N_l |
///
/// [`Descent::BYTES`](crate::learn::Descent::BYTES) and [`Trainer::BYTES`](crate::learn::Trainer::BYTES) are the whole,
/// with their few settings. A solve of one sample also takes an injection of stack; with [`Tied`](crate::Tied) feedback, solve and adjoint also the
/// widest layer.
///
/// ```
/// use attractor::{fnn, State, Workspace};
/// type Net = fnn![16, 32, 16, 4];
/// const RAM: usize = Net::MEMORY.inference(1);
/// assert_eq!(RAM, 208);
/// assert_eq!(RAM, size_of::<State<Net>>());
/// let holding = size_of::<State<Net, 2>>();
/// assert_eq!(Net::MEMORY.descent(1), size_of::<Net>() + size_of::<Workspace<Net>>());
/// assert_eq!(Net::MEMORY.holding(), holding);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Memory {
    pub(crate) scalar: usize,
    pub(crate) params: usize,
    pub(crate) units: usize,
    pub(crate) first: usize,
    pub(crate) outputs: usize,
}

impl Memory {
    /// The parameters; a gradient has as many.
    #[must_use]
    pub const fn parameters(&self) -> usize {
        self.scalar * self.params
    }
    /// A [`State`](crate::State).
    #[must_use]
    pub const fn state(&self, samples: usize) -> usize {
        self.scalar * samples * self.units
    }
    /// An [`Injection`](crate::Injection).
    #[must_use]
    pub const fn injection(&self, samples: usize) -> usize {
        self.scalar * samples * self.first
    }
    /// A [`Workspace`](crate::Workspace).
    #[must_use]
    pub const fn workspace(&self, samples: usize) -> usize {
        2 * self.state(samples) + self.scalar * samples * self.outputs
    }
    /// What [`Network::hold_rate`](crate::Network::hold_rate) keeps from step to step; [`Trainer`](crate::learn::Trainer) and
    /// [`Descent`](crate::learn::Descent) have it besides.
    #[must_use]
    pub const fn holding(&self) -> usize {
        self.state(2)
    }
    /// `solve` with weights in flash.
    #[must_use]
    pub const fn inference(&self, samples: usize) -> usize {
        self.state(samples)
    }
    /// `inject` and `sweep` with weights in flash.
    #[must_use]
    pub const fn stream(&self, samples: usize) -> usize {
        self.state(samples) + self.injection(samples)
    }
    /// Plain gradient descent in place.
    #[must_use]
    pub const fn descent(&self, samples: usize) -> usize {
        self.parameters() + self.workspace(samples)
    }
    /// A trainer with `Sgd` without momentum.
    #[must_use]
    pub const fn sgd(&self, samples: usize) -> usize {
        2 * self.parameters() + self.workspace(samples)
    }
    /// A trainer with `Sgd` with momentum.
    #[must_use]
    pub const fn momentum(&self, samples: usize) -> usize {
        3 * self.parameters() + self.workspace(samples)
    }
    /// A trainer with `Adam`.
    #[must_use]
    pub const fn adam(&self, samples: usize) -> usize {
        4 * self.parameters() + self.workspace(samples)
    }
}
