//! Optimizers over flat slices: what they need beside the parameters is shaped like the network.

use crate::kernel::{Scalar, once};
use crate::network::{Flat, NoMemory, Storage};
use crate::simd::{Element, Entry};
use crate::solve::{Rule, Setting};
use core::fmt;

/// Why an update was refused. Nothing has been changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum UpdateError {
    /// Gradient, memory and parameters are not of one length.
    Length {
        /// Number of parameters.
        expected: usize,
        /// Length of the gradient or the memory.
        found: usize,
    },
    /// The parameter of this number is not finite, or its entry of the gradient is a NaN or too large (2^62 in `f32`, 2^510 in
    /// `f64`): squares and sums of it would not be finite. On microcontrollers nobody looks which, and it is `usize::MAX`.
    NotFinite(usize),
    /// A setting is out of its range; its value is the nearest `f32`.
    Setting(Setting<f32>),
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, found } => write!(f, "expected {expected} entries, found {found}"),
            Self::NotFinite(usize::MAX) => {
                f.write_str("a parameter or an entry of the gradient is a NaN or too large")
            }
            Self::NotFinite(entry) => {
                write!(f, "parameter {entry} or its entry of the gradient is a NaN or too large")
            }
            Self::Setting(setting) => setting.fmt(f),
        }
    }
}

impl core::error::Error for UpdateError {}

impl<T: Element> From<Setting<T>> for UpdateError {
    fn from(setting: Setting<T>) -> Self {
        Self::Setting(setting.narrow())
    }
}

/// Refuses a learning rate out of its range.
pub(crate) fn check_rate<T: Scalar>(value: T) -> Result<(), UpdateError> {
    let sound = value >= T::ZERO && value <= T::from_usize(1024);
    if sound {
        Ok(())
    } else {
        Err(Setting { rule: &Rule { name: "rate", range: "0 to 1024" }, value }.into())
    }
}

/// Refuses a norm of clipping out of its range.
pub(crate) fn check_clip<T: Scalar>(value: T) -> Result<(), UpdateError> {
    if value > T::ZERO {
        Ok(())
    } else {
        Err(Setting { rule: &Rule { name: "clip", range: "more than 0" }, value }.into())
    }
}

/// The range of what is kept of the past.
const PART: &str = "0 or more, less than 1";

/// The memory of an optimizer: so many scalars. Any [`Storage`]; with the feature `alloc` a `Vec` too, for what is as long as is known
/// when running.
pub trait Moments {
    /// The scalar.
    type Scalar: Entry;
    /// The scalars.
    fn moments(&mut self) -> &mut [Self::Scalar];
}

impl<M: Storage> Moments for M {
    type Scalar = <M::Content as Flat>::Scalar;
    #[inline(always)]
    fn moments(&mut self) -> &mut [Self::Scalar] {
        self.get_mut().flat_mut()
    }
}

/// A vector of each scalar, and not of any: another crate may say that a vector of something of its own is flat.
#[cfg(feature = "alloc")]
macro_rules! vectors {
    ($($scalar:ty),*) => {$(
        #[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
        impl Moments for alloc::vec::Vec<$scalar> {
            type Scalar = $scalar;
            fn moments(&mut self) -> &mut [$scalar] {
                self
            }
        }
    )*};
}
#[cfg(feature = "alloc")]
vectors!(f32, f64);

/// The scalar of an optimizer's memory.
type ScalarOf<M> = <M as Moments>::Scalar;

/// An optimizer: changes parameters by a gradient.
pub trait Optimizer<T: Scalar> {
    /// One update with learning rate `rate`, between 0 and 1024.
    ///
    /// # Errors
    /// [`UpdateError`]; nothing is changed then.
    fn update(&mut self, params: &mut [T], gradient: &[T], rate: T) -> Result<(), UpdateError>;
}

fn check<T: Scalar>(
    params: &[T],
    gradient: &[T],
    memory: usize,
    rate: T,
    decay: T,
) -> Result<(), UpdateError> {
    for found in [gradient.len(), memory] {
        if found != params.len() {
            return Err(UpdateError::Length { expected: params.len(), found });
        }
    }
    let limit = T::GRADIENT_LIMIT;
    // Looked at to the end, without a way out in between: so the compiler makes vectors of it.
    let small = gradient.iter().fold(true, |all, g| all & (g.magnitude() < limit));
    let finite = params.iter().fold(true, |all, w| all & (w.magnitude() <= T::MAX));
    if !(small & finite) {
        return Err(not_finite(params, gradient));
    }
    check_rate(rate)?;
    if !(decay >= T::ZERO && decay * rate <= T::ONE) {
        return Err(Setting { rule: &Rule { name: "decay", range: "0 to 1 / rate" }, value: decay }.into());
    }
    Ok(())
}

/// Which entry it is, where flash is not small.
#[cold]
#[inline(never)]
fn not_finite<T: Scalar>(params: &[T], gradient: &[T]) -> UpdateError {
    if const { crate::kernel::TYPED } {
        return UpdateError::NotFinite(usize::MAX);
    }
    let wrong = |g: &T| !(g.magnitude() < T::GRADIENT_LIMIT);
    let found = gradient.iter().position(wrong).or_else(|| params.iter().position(|w| !w.is_finite()));
    UpdateError::NotFinite(found.unwrap_or(usize::MAX))
}

/// `x`, cut to between `-limit` and `limit`.
#[inline(always)]
fn bounded<T: Scalar>(x: T, limit: T) -> T {
    let x = if x < limit { x } else { limit };
    if x > -limit { x } else { -limit }
}

/// Scales `gradient` so that its Euclidean norm is at most `norm`; returns the norm it had.
///
/// # Errors
/// [`UpdateError::NotFinite`] if an entry is a NaN or too large for its square to be finite,
/// [`UpdateError::Setting`] if `norm` is not more than 0; nothing is changed then.
pub fn clip<T: Scalar>(gradient: &mut [T], norm: T) -> Result<T, UpdateError> {
    T::once::<ClipOnce>((gradient, norm))
}
once!(ClipOnce: (&'a mut [T], T) => Result<T, UpdateError>, clip_once);

fn clip_once<T: Scalar>((gradient, norm): (&mut [T], T)) -> Result<T, UpdateError> {
    check_clip(norm)?;
    let mut largest = T::ZERO;
    for g in gradient.iter() {
        let g = g.magnitude();
        if !(g < T::GRADIENT_LIMIT) {
            return Err(not_finite(&[], gradient));
        }
        largest = if g > largest { g } else { largest };
    }
    if !(largest > T::ZERO) {
        return Ok(T::ZERO);
    }
    // Relative to the largest entry, so that small squares do not vanish and large ones do not overflow.
    let mut sum = T::ZERO;
    for g in gradient.iter() {
        let ratio = *g / largest;
        sum += ratio * ratio;
    }
    let had = largest * sum.sqrt();
    if had > norm {
        let factor = norm / had;
        for g in gradient {
            *g = *g * factor;
        }
    }
    Ok(had)
}

/// Stochastic gradient descent with momentum, v <- momentum v + g, w <- w - rate (v + decay w).
///
/// `M` is the network, or a [`Storage`] for it, with momentum; [`NoMemory`] without: then it needs no memory at all.
///
/// ```
/// use attractor::learn::{Optimizer, Sgd};
/// let mut weights = [1.0_f32, -1.0];
/// Sgd::plain().update(&mut weights, &[0.5, 0.5], 0.1)?;
/// assert_eq!(weights, [0.95, -1.05]);
/// # Ok::<(), attractor::learn::UpdateError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sgd<M: Moments = NoMemory<f32>> {
    /// Weight of the past, 0 to below 1; of no effect without memory.
    pub momentum: ScalarOf<M>,
    /// Weight decay a unit of rate; at least 0, and at most 1 / rate.
    pub decay: ScalarOf<M>,
    velocity: M,
}

impl<T: Scalar> Sgd<NoMemory<T>> {
    /// Without momentum, decay and memory.
    #[must_use]
    pub fn plain() -> Self {
        Self { momentum: T::ZERO, decay: T::ZERO, velocity: NoMemory::default() }
    }
}

impl<M: Storage<Content: Flat<Scalar = T>>, T: Scalar> Sgd<M> {
    /// With momentum, from rest.
    #[must_use]
    pub fn with_momentum(momentum: T) -> Self {
        Self { momentum, decay: T::ZERO, velocity: M::zeroed() }
    }
    /// With weight decay.
    #[must_use]
    pub fn decay(self, decay: T) -> Self {
        Self { decay, ..self }
    }
}

impl<M: Moments<Scalar = T>, T: Scalar> Optimizer<T> for Sgd<M> {
    fn update(&mut self, params: &mut [T], gradient: &[T], rate: T) -> Result<(), UpdateError> {
        let Self { momentum, decay, velocity } = self;
        let velocity = Some(velocity.moments()).filter(|velocity| !velocity.is_empty());
        T::once::<SgdOnce>(SgdUpdate { params, gradient, velocity, rate, momentum: *momentum, decay: *decay })
    }
}

/// An update by [`Sgd`].
struct SgdUpdate<'a, T> {
    params: &'a mut [T],
    gradient: &'a [T],
    velocity: Option<&'a mut [T]>,
    rate: T,
    momentum: T,
    decay: T,
}
once!(SgdOnce: SgdUpdate<'a, T> => Result<(), UpdateError>, sgd_once);

fn sgd_once<T: Scalar>(update: SgdUpdate<'_, T>) -> Result<(), UpdateError> {
    let SgdUpdate { params, gradient, velocity, rate, momentum, decay } = update;
    let memory = velocity.as_ref().map_or(params.len(), |velocity| velocity.len());
    check(params, gradient, memory, rate, decay)?;
    if !(momentum >= T::ZERO && momentum < T::ONE) {
        return Err(Setting { rule: &Rule { name: "momentum", range: PART }, value: momentum }.into());
    }
    let keep = T::ONE - rate * decay;
    match velocity {
        None => {
            for (w, g) in params.iter_mut().zip(gradient) {
                *w = *w * keep - rate * *g;
            }
        }
        Some(velocity) => {
            for ((w, g), v) in params.iter_mut().zip(gradient).zip(velocity) {
                *v = momentum * *v + *g;
                *w = *w * keep - rate * *v;
            }
        }
    }
    Ok(())
}

/// Adam with decoupled weight decay (Kingma and Ba 2015; Loshchilov and Hutter 2019):
/// m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, w <- w (1 - rate decay) - rate m' / (sqrt(v') + epsilon), with m' and
/// v' freed from their start at zero.
///
/// `M` is the network, or a [`Storage`] for it: two values a parameter.
///
/// ```
/// use attractor::fnn;
/// use attractor::learn::{Adam, Optimizer};
/// type Net = fnn![2, 3, 1];
/// let (mut net, mut gradient) = (Net::ZERO, Net::ZERO);
/// gradient.layer_mut::<1>().b.fill(1.0);
/// let mut adam = Adam::<Net>::new().decay(0.01);
/// adam.update(net.params_mut(), gradient.params(), 0.1)?;
/// assert!((net.layer::<1>().b[0] + 0.1).abs() < 1e-6); // the first step is the rate
/// # Ok::<(), attractor::learn::UpdateError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Adam<M: Moments> {
    /// b1, 0 to below 1.
    pub first_decay: ScalarOf<M>,
    /// b2, 0 to below 1.
    pub second_decay: ScalarOf<M>,
    /// Added to the root; above 0.
    pub epsilon: ScalarOf<M>,
    /// Weight decay a unit of rate; at least 0, and at most 1 / rate.
    pub decay: ScalarOf<M>,
    steps: u64,
    first: M,
    second: M,
}

impl<M: Storage<Content: Flat<Scalar = T>>, T: Scalar> Adam<M> {
    /// The usual settings: 0.9, 0.999, 1e-8, no decay.
    #[must_use]
    pub fn new() -> Self {
        Self::with_moments(M::zeroed(), M::zeroed())
    }
}

impl<M: Moments<Scalar = T>, T: Scalar> Adam<M> {
    /// [`new`](Self::new) with this memory, all zero, twice as many scalars as there are parameters.
    #[must_use]
    pub fn with_moments(first: M, second: M) -> Self {
        Self {
            first_decay: T::from_f64(0.9),
            second_decay: T::from_f64(0.999),
            epsilon: T::from_f64(1e-8),
            decay: T::ZERO,
            steps: 0,
            first,
            second,
        }
    }

    /// With weight decay.
    #[must_use]
    pub fn decay(self, decay: T) -> Self {
        Self { decay, ..self }
    }
}

#[cfg(feature = "alloc")]
impl<T: Scalar> Adam<alloc::vec::Vec<T>>
where
    alloc::vec::Vec<T>: Moments<Scalar = T>,
{
    /// [`new`](Self::new) for as many parameters, as a [`DynNetwork`](crate::dynamic::DynNetwork) has them.
    #[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
    #[must_use]
    pub fn for_params(params: &[T]) -> Self {
        Self::with_moments(alloc::vec![T::ZERO; params.len()], alloc::vec![T::ZERO; params.len()])
    }
}

impl<M: Storage<Content: Flat<Scalar = T>>, T: Scalar> Default for Adam<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Moments<Scalar = T>, T: Scalar> Optimizer<T> for Adam<M> {
    fn update(&mut self, params: &mut [T], gradient: &[T], rate: T) -> Result<(), UpdateError> {
        let update = AdamUpdate {
            params,
            gradient,
            first: self.first.moments(),
            second: self.second.moments(),
            steps: &mut self.steps,
            rate,
            decays: (self.first_decay, self.second_decay),
            epsilon: self.epsilon,
            decay: self.decay,
        };
        T::once::<AdamOnce>(update)
    }
}

/// An update by [`Adam`].
struct AdamUpdate<'a, T> {
    params: &'a mut [T],
    gradient: &'a [T],
    first: &'a mut [T],
    second: &'a mut [T],
    steps: &'a mut u64,
    rate: T,
    decays: (T, T),
    epsilon: T,
    decay: T,
}
once!(AdamOnce: AdamUpdate<'a, T> => Result<(), UpdateError>, adam_once);

fn adam_once<T: Scalar>(update: AdamUpdate<'_, T>) -> Result<(), UpdateError> {
    let AdamUpdate { params, gradient, first, second, steps, rate, decays: (b1, b2), epsilon, decay } =
        update;
    check(params, gradient, first.len(), rate, decay)?;
    for (rule, value) in
        [(&Rule { name: "first_decay", range: PART }, b1), (&Rule { name: "second_decay", range: PART }, b2)]
    {
        if !(value >= T::ZERO && value < T::ONE) {
            return Err(Setting { rule, value }.into());
        }
    }
    if !(epsilon > T::ZERO && epsilon.is_finite()) {
        return Err(Setting {
            rule: &Rule { name: "epsilon", range: "more than 0, finite" },
            value: epsilon,
        }
        .into());
    }
    *steps = steps.saturating_add(1);
    let keep = T::ONE - rate * decay;
    let step = rate / (T::ONE - b1.power(*steps));
    let unbias = T::ONE / (T::ONE - b2.power(*steps));
    for ((w, g), (m, v)) in params.iter_mut().zip(gradient).zip(first.iter_mut().zip(second)) {
        *m = b1 * *m + (T::ONE - b1) * *g;
        *v = b2 * *v + (T::ONE - b2) * *g * *g;
        // Bounded, for an epsilon so small that it does not do it.
        let direction = bounded(*m / ((*v * unbias).sqrt() + epsilon), T::GRADIENT_LIMIT);
        *w = *w * keep - step * direction;
    }
    Ok(())
}
