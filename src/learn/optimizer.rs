//! Optimizers over flat slices: what they need beside the parameters is shaped like the network.

use crate::kernel::{
    Adaptive, Matrix, OfAny, OfSgd, Plain, Scalar, TYPED, Update, WithMomentum, largest, largest_on, norm,
    once,
};
use crate::network::{Flat, NoMemory, Storage};
use crate::simd::{Backend, Element, Entry, Lanes, Operation};
use crate::solve::{Rule, Setting};
use crate::threads::Threads;
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

    /// What [`update`](Self::update) does, if it does it to every entry on its own and is one of this crate's: a trainer may then update each weight
    /// as soon as it has its gradient, and does not call `update`. Nothing by default; an optimizer that hands all of its updates on to [`Sgd`] or
    /// [`Adam`] may hand on this, too.
    fn entrywise(&mut self) -> Option<Entrywise<'_, T>> {
        None
    }
}

/// What an optimizer of this crate does to every entry, and its memory; see [`Optimizer::entrywise`].
#[derive(Debug)]
pub struct Entrywise<'a, T>(OneOf<'a, T>);

#[derive(Debug)]
enum OneOf<'a, T> {
    Sgd(SgdUpdate<'a, T>),
    Adam(AdamUpdate<'a, T>),
}

/// Settings and memory of an optimizer.
pub(super) trait Settings<T: Scalar>: Sized {
    /// What it does.
    type Update: Update<T>;
    /// Whether its memory is that of so many parameters; if not, how long it is.
    fn memory(&self, params: usize) -> Result<(), usize>;
    /// Weight decay a unit of rate.
    fn decay(&self) -> T;
    /// What it does with this learning rate, if its other settings are in their ranges.
    fn update(self, rate: T) -> Result<Self::Update, UpdateError>;
}

impl<'a, T: Scalar> Settings<T> for Entrywise<'a, T> {
    type Update = OfAny<'a, T>;
    fn memory(&self, params: usize) -> Result<(), usize> {
        match &self.0 {
            OneOf::Sgd(sgd) => sgd.memory(params),
            OneOf::Adam(adam) => adam.memory(params),
        }
    }
    fn decay(&self) -> T {
        match &self.0 {
            OneOf::Sgd(sgd) => sgd.decay,
            OneOf::Adam(adam) => adam.decay,
        }
    }
    fn update(self, rate: T) -> Result<OfAny<'a, T>, UpdateError> {
        match self.0 {
            OneOf::Sgd(sgd) => sgd.update(rate).map(OfAny::Sgd),
            OneOf::Adam(adam) => adam.update(rate).map(OfAny::Adaptive),
        }
    }
}

/// Refuses memory or a gradient that are not as long as the parameters are.
#[inline(always)]
pub(super) fn check_lengths<T: Scalar>(
    settings: &impl Settings<T>,
    expected: usize,
    gradient: usize,
) -> Result<(), UpdateError> {
    let memory = if gradient == expected { settings.memory(expected) } else { Err(gradient) };
    memory.map_err(|found| UpdateError::Length { expected, found })
}

/// What an optimizer does, if all its settings are in their ranges.
#[inline(always)]
pub(super) fn ready<T: Scalar, S: Settings<T>>(settings: S, rate: T) -> Result<S::Update, UpdateError> {
    check_rate(rate)?;
    let decay = settings.decay();
    if !(decay >= T::ZERO && decay * rate <= T::ONE) {
        return Err(Setting { rule: &Rule { name: "decay", range: "0 to 1 / rate" }, value: decay }.into());
    }
    settings.update(rate)
}

/// Refuses parameters that are not finite, and gradients that are too large.
#[inline(always)]
fn check<T: Scalar>(params: &[T], gradient: &[T]) -> Result<(), UpdateError> {
    let limit = T::GRADIENT_LIMIT;
    let (small, finite) = if const { TYPED } {
        (
            gradient.iter().fold(true, |all, g| all & (g.magnitude() < limit)),
            params.iter().fold(true, |all, w| all & (w.magnitude() <= T::MAX)),
        )
    } else {
        // NaN if any is infinite or NaN.
        let largest = |values| largest_on(Backend::best(), Matrix::of_row(values));
        (largest(gradient) < limit, largest(params) <= T::MAX)
    };
    if small & finite { Ok(()) } else { Err(not_finite(params, gradient)) }
}

/// Updates parameters by their gradient: in two halves, side by side, where that is of use.
#[inline(always)]
fn update_by<T: Scalar, S: Settings<T>>(
    threads: Threads,
    settings: S,
    params: &mut [T],
    gradient: &[T],
    rate: T,
) -> Result<(), UpdateError> {
    check_lengths(&settings, params.len(), gradient.len())?;
    let Some(at) = threads.split_entries(params.len()) else {
        check(params, gradient)?;
        // The bits are those of any backend.
        T::run_here(Backend::best(), Apply { update: ready(settings, rate)?, params, gradient });
        return Ok(());
    };
    let ((params_low, params_high), (low, high)) = (params.split_at_mut(at), gradient.split_at(at));
    let checked = threads.join(|| check(params_low, low), || check(params_high, high));
    if checked != (Ok(()), Ok(())) {
        // The entry has another number among all.
        return check(params, gradient);
    }
    let (update_low, update_high) = ready(settings, rate)?.split_at(at);
    let of = |update, params, gradient| T::run(Backend::best(), Apply { update, params, gradient });
    threads.join(|| of(update_low, params_low, low), || of(update_high, params_high, high));
    Ok(())
}

struct Apply<'a, U, T> {
    update: U,
    params: &'a mut [T],
    gradient: &'a [T],
}

impl<U: Update<T>, T: Scalar> Operation<T> for Apply<'_, U, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(mut self, lanes: L) {
        self.update.apply(lanes.narrow(), 0, self.params, self.gradient, None);
    }
}

once!(UpdateOnce: (Threads, Entrywise<'a, T>, &'a mut [T], &'a [T], T) => Result<(), UpdateError>, update_once);

fn update_once<T: Scalar>(
    (threads, settings, params, gradient, rate): (Threads, Entrywise<'_, T>, &mut [T], &[T], T),
) -> Result<(), UpdateError> {
    update_by(threads, settings, params, gradient, rate)
}

/// [`Optimizer::update`], on many threads if the optimizer says what it does; the same bits.
pub(super) fn update_on<T: Scalar>(
    threads: Threads,
    optimizer: &mut impl Optimizer<T>,
    params: &mut [T],
    gradient: &[T],
    rate: T,
) -> Result<(), UpdateError> {
    if threads.split_entries(params.len()).is_some()
        && let Some(settings) = optimizer.entrywise()
    {
        return T::once::<UpdateOnce>((threads, settings, params, gradient, rate));
    }
    optimizer.update(params, gradient, rate)
}

/// Which entry it is, where flash is not small.
#[cold]
#[inline(never)]
fn not_finite<T: Scalar>(params: &[T], gradient: &[T]) -> UpdateError {
    if const { TYPED } {
        return UpdateError::NotFinite(usize::MAX);
    }
    let wrong = |g: &T| !(g.magnitude() < T::GRADIENT_LIMIT);
    let found = gradient.iter().position(wrong).or_else(|| params.iter().position(|w| !w.is_finite()));
    UpdateError::NotFinite(found.unwrap_or(usize::MAX))
}

/// Scales `gradient` so that its Euclidean norm is at most `norm`; returns the norm it had.
///
/// # Errors
/// [`UpdateError::NotFinite`] if an entry is a NaN or too large for its square to be finite,
/// [`UpdateError::Setting`] if `norm` is not more than 0; nothing is changed then.
pub fn clip<T: Scalar>(gradient: &mut [T], norm: T) -> Result<T, UpdateError> {
    clip_on(Backend::best(), gradient, norm)
}

/// [`clip`] on this backend, as a trainer clips: squares are summed up in its order.
///
/// # Errors
/// As [`clip`].
pub fn clip_on<T: Scalar>(backend: Backend, gradient: &mut [T], norm: T) -> Result<T, UpdateError> {
    T::once::<ClipOnce>((backend, gradient, norm))
}
once!(ClipOnce: (Backend, &'a mut [T], T) => Result<T, UpdateError>, clip_once);

fn clip_once<T: Scalar>((backend, gradient, norm): (Backend, &mut [T], T)) -> Result<T, UpdateError> {
    check_clip(norm)?;
    let clip = Clip { gradient: &mut *gradient, most: norm };
    T::run_here(backend, clip).ok_or_else(|| not_finite(&[], gradient))
}

/// Nothing if an entry is a NaN or too large.
struct Clip<'a, T> {
    gradient: &'a mut [T],
    most: T,
}

impl<T: Scalar> Operation<T> for Clip<'_, T> {
    type Output = Option<T>;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Option<T> {
        let (Self { gradient, most }, lanes) = (self, lanes.narrow());
        let largest = largest(lanes, Matrix::of_row(gradient));
        if !(largest < T::GRADIENT_LIMIT) {
            return None;
        }
        if !(largest > T::ZERO) {
            return Some(T::ZERO);
        }
        let had = norm(lanes, gradient, largest);
        if had > most {
            let factor = most / had;
            for g in gradient {
                *g = *g * factor;
            }
        }
        Some(had)
    }
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

impl<M: Moments<Scalar = T>, T: Scalar> Sgd<M> {
    #[inline(always)]
    fn settings(&mut self) -> SgdUpdate<'_, T> {
        let Self { momentum, decay, velocity } = self;
        let velocity = Some(velocity.moments()).filter(|velocity| !velocity.is_empty());
        SgdUpdate { velocity, momentum: *momentum, decay: *decay }
    }
}

impl<M: Moments<Scalar = T>, T: Scalar> Optimizer<T> for Sgd<M> {
    fn update(&mut self, params: &mut [T], gradient: &[T], rate: T) -> Result<(), UpdateError> {
        // Where flash is small, one that is not used is not there.
        if const { TYPED } {
            return update_by(Threads::One, self.settings(), params, gradient, rate);
        }
        T::once::<UpdateOnce>((Threads::One, Entrywise(OneOf::Sgd(self.settings())), params, gradient, rate))
    }
    fn entrywise(&mut self) -> Option<Entrywise<'_, T>> {
        Some(Entrywise(OneOf::Sgd(self.settings())))
    }
}

/// Settings and memory of [`Sgd`].
#[derive(Debug)]
struct SgdUpdate<'a, T> {
    velocity: Option<&'a mut [T]>,
    momentum: T,
    decay: T,
}

impl<'a, T: Scalar> Settings<T> for SgdUpdate<'a, T> {
    type Update = OfSgd<'a, T>;
    #[inline(always)]
    fn memory(&self, params: usize) -> Result<(), usize> {
        match &self.velocity {
            Some(velocity) if velocity.len() != params => Err(velocity.len()),
            _ => Ok(()),
        }
    }
    #[inline(always)]
    fn decay(&self) -> T {
        self.decay
    }
    #[inline(always)]
    fn update(self, rate: T) -> Result<OfSgd<'a, T>, UpdateError> {
        let Self { velocity, momentum, decay } = self;
        if !(momentum >= T::ZERO && momentum < T::ONE) {
            return Err(Setting { rule: &Rule { name: "momentum", range: PART }, value: momentum }.into());
        }
        let keep = T::ONE - rate * decay;
        Ok(match velocity {
            None => OfSgd::Plain(Plain { keep, rate }),
            Some(velocity) => OfSgd::WithMomentum(WithMomentum { keep, rate, momentum, velocity }),
        })
    }
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

impl<M: Moments<Scalar = T>, T: Scalar> Adam<M> {
    #[inline(always)]
    fn settings(&mut self) -> AdamUpdate<'_, T> {
        AdamUpdate {
            first: self.first.moments(),
            second: self.second.moments(),
            steps: &mut self.steps,
            decays: (self.first_decay, self.second_decay),
            epsilon: self.epsilon,
            decay: self.decay,
        }
    }
}

impl<M: Moments<Scalar = T>, T: Scalar> Optimizer<T> for Adam<M> {
    fn update(&mut self, params: &mut [T], gradient: &[T], rate: T) -> Result<(), UpdateError> {
        if const { TYPED } {
            return update_by(Threads::One, self.settings(), params, gradient, rate);
        }
        T::once::<UpdateOnce>((Threads::One, Entrywise(OneOf::Adam(self.settings())), params, gradient, rate))
    }
    fn entrywise(&mut self) -> Option<Entrywise<'_, T>> {
        Some(Entrywise(OneOf::Adam(self.settings())))
    }
}

/// Settings and memory of [`Adam`].
#[derive(Debug)]
struct AdamUpdate<'a, T> {
    first: &'a mut [T],
    second: &'a mut [T],
    steps: &'a mut u64,
    decays: (T, T),
    epsilon: T,
    decay: T,
}

impl<'a, T: Scalar> Settings<T> for AdamUpdate<'a, T> {
    type Update = Adaptive<'a, T>;
    #[inline(always)]
    fn memory(&self, params: usize) -> Result<(), usize> {
        match [self.first.len(), self.second.len()].into_iter().find(|found| *found != params) {
            Some(found) => Err(found),
            None => Ok(()),
        }
    }
    #[inline(always)]
    fn decay(&self) -> T {
        self.decay
    }
    #[inline(always)]
    fn update(self, rate: T) -> Result<Adaptive<'a, T>, UpdateError> {
        let Self { first, second, steps, decays, epsilon, decay } = self;
        let (b1, b2) = decays;
        for (rule, value) in [
            (&Rule { name: "first_decay", range: PART }, b1),
            (&Rule { name: "second_decay", range: PART }, b2),
        ] {
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
        // All is in its range: this is a step.
        *steps = steps.saturating_add(1);
        Ok(Adaptive::new((rate, decay), decays, epsilon, *steps, (first, second)))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{Adam, Apply, Moments, Optimizer, Sgd, UpdateError, clip_on, ready, update_on};
    use crate::kernel::{Scalar, TYPED};
    use crate::network::NoMemory;
    use crate::simd::{Backend, Element};
    use crate::threads::Threads;
    use std::vec::Vec;

    /// Numbers between -2 and 2, always the same.
    fn draw<T: Element>(seed: u64, count: usize) -> Vec<T> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            T::from_f64((state >> 11) as f64 / (1_u64 << 51) as f64 - 2.0)
        };
        (0..count).map(|_| next()).collect()
    }

    fn bits<T: Element>(values: &[T]) -> Vec<u64> {
        values.iter().map(|value| value.to_f64().to_bits()).collect()
    }

    /// What makes an update: a backend, or threads.
    #[derive(Clone, Copy, Debug)]
    enum By {
        Backend(Backend),
        Threads(Threads),
    }

    /// Some updates of `count` parameters, and what scalar arithmetic in the order of the formulas makes of them, to the bit.
    fn updates<T: Scalar, P: Optimizer<T>>(
        by: By,
        mut optimizer: P,
        count: usize,
        mut entry: impl FnMut(u64, usize, T, T) -> T,
    ) {
        let mut params: Vec<T> = draw(1, count);
        let mut expected = params.clone();
        let rate = T::from_f64(0.1);
        for step in 1..=3 {
            let gradient: Vec<T> = draw(1 + step, count);
            match by {
                By::Backend(backend) => {
                    let settings = optimizer.entrywise().expect("one of this crate's");
                    let update = ready(settings, rate).expect("in range");
                    T::run(backend, Apply { update, params: &mut params, gradient: &gradient });
                }
                By::Threads(threads) => {
                    // An entry that is not finite changes nothing, wherever it is.
                    for wrong in [0, count / 3, count / 2, count - 1] {
                        let mut gradient = gradient.clone();
                        gradient[wrong] = T::from_f64(f64::NAN);
                        let refused = update_on(threads, &mut optimizer, &mut params, &gradient, rate);
                        assert_eq!(refused, Err(UpdateError::NotFinite(wrong)));
                    }
                    update_on(threads, &mut optimizer, &mut params, &gradient, rate).expect("finite");
                }
            }
            for (i, (w, g)) in expected.iter_mut().zip(&gradient).enumerate() {
                *w = entry(step, i, *w, *g);
            }
            assert_eq!(bits(&params), bits(&expected), "{count} by {by:?}");
        }
    }

    fn each_optimizer<T: Scalar>(by: By, counts: impl IntoIterator<Item = usize>)
    where
        Vec<T>: Moments<Scalar = T>,
    {
        let number = T::from_f64;
        let (rate, decay, momentum) = (number(0.1), number(0.3), number(0.9));
        let keep = T::ONE - rate * decay;
        for count in counts {
            let plain = Sgd { decay, ..Sgd::<NoMemory<T>>::plain() };
            updates(by, plain, count, |_, _, w, g| w * keep - rate * g);
            if count > 0 {
                let mut v = std::vec![T::ZERO; count];
                let sgd = Sgd { momentum, decay, velocity: v.clone() };
                updates(by, sgd, count, |_, i, w, g| {
                    v[i] = momentum * v[i] + g;
                    w * keep - rate * v[i]
                });
            }
            let (mut m, mut v) = (std::vec![T::ZERO; count], std::vec![T::ZERO; count]);
            let mut adam = Adam::for_params(&m).decay(decay);
            // So small that some directions are bounded.
            adam.epsilon = T::MIN_POSITIVE;
            let (b1, b2) = (adam.first_decay, adam.second_decay);
            updates(by, adam.clone(), count, |step, i, w, g| {
                m[i] = b1 * m[i] + (T::ONE - b1) * g;
                v[i] = b2 * v[i] + (T::ONE - b2) * g * g;
                let (step, unbias) = (rate / (T::ONE - b1.power(step)), T::ONE / (T::ONE - b2.power(step)));
                w * keep - step * (m[i] / ((v[i] * unbias).sqrt() + adam.epsilon))
            });
        }
    }

    #[test]
    fn updates_have_the_bits_of_scalar_arithmetic_on_every_backend() {
        for by in Backend::available().map(By::Backend) {
            each_optimizer::<f32>(by, (0..40).chain([257]));
            each_optimizer::<f64>(by, (0..40).chain([257]));
        }
    }

    /// Two halves, of as many parameters as it takes and of one more.
    #[test]
    #[cfg(feature = "rayon")]
    fn updates_on_threads_have_the_same_bits_and_refuse_the_same() {
        let by = By::Threads(Threads::Rayon);
        assert!(Threads::Rayon.split_entries(1 << 16).is_some());
        each_optimizer::<f32>(by, [1 << 16, (1 << 16) + 1, 70_007]);
        each_optimizer::<f64>(by, [1 << 16, (1 << 16) + 1]);
    }

    /// A square that vanishes beside a mean that does not.
    #[test]
    fn directions_of_adam_are_bounded() {
        for backend in Backend::available() {
            for sign in [1.0, -1.0] {
                let mut adam = Adam::for_params(&[0.0_f32; 9]);
                (adam.epsilon, adam.second_decay) = (f32::from_bits(1), 0.0);
                let (mut params, gradient) = ([0.0_f32; 9], [sign * 1e-24; 9]);
                let update = ready(adam.entrywise().expect("one of this crate's"), 1.0).expect("in range");
                f32::run(backend, Apply { update, params: &mut params, gradient: &gradient });
                let step = 1.0 / (1.0 - adam.first_decay);
                assert_eq!(params, [-sign * step * f32::GRADIENT_LIMIT; 9], "{}", backend.name());
            }
        }
    }

    /// Near the norm that `f64` finds, whatever the magnitudes; on the portable backend the bits of a sum in order.
    fn clips<T: Scalar>(precision: f64) {
        for backend in Backend::available() {
            for (count, scale) in (0..70).chain([1000]).flat_map(|count| {
                [1.0, T::MIN_POSITIVE.to_f64() * 8.0, T::GRADIENT_LIMIT.to_f64() / 4.0]
                    .map(|scale| (count, scale))
            }) {
                let before: Vec<T> = draw::<T>(9, count).iter().map(|g| *g * T::from_f64(scale)).collect();
                let exact = before.iter().map(|g| (g.to_f64() / scale).powi(2)).sum::<f64>().sqrt();
                for part in [0.5, 2.0] {
                    let mut gradient = before.clone();
                    let most = T::from_f64(if count == 0 { 1.0 } else { exact * part * scale });
                    let had = clip_on(backend, &mut gradient, most).expect("small enough");
                    let near = precision * count.max(1) as f64;
                    assert!(
                        (had.to_f64() / scale - exact).abs() <= near * exact,
                        "{count} by {scale}: {had:?}"
                    );
                    for (found, g) in gradient.iter().zip(&before) {
                        let expected = g.to_f64() / scale * f64::min(part, 1.0);
                        let off = (found.to_f64() / scale - expected).abs();
                        assert!(off <= near * expected.abs() + precision, "{found:?}, {expected}");
                    }
                    if TYPED || backend == Backend::portable() {
                        let largest = before
                            .iter()
                            .fold(T::ZERO, |most, g| if g.magnitude() > most { g.magnitude() } else { most });
                        let mut sum = T::ZERO;
                        for g in &before {
                            let ratio = *g / largest;
                            sum += ratio * ratio;
                        }
                        let expected = if largest > T::ZERO { largest * sum.sqrt() } else { T::ZERO };
                        assert_eq!(had.to_f64().to_bits(), expected.to_f64().to_bits());
                    }
                }
            }
        }
    }

    #[test]
    fn norms_are_those_of_sums_in_order() {
        clips::<f32>(f64::from(f32::EPSILON));
        clips::<f64>(f64::EPSILON);
    }
}
