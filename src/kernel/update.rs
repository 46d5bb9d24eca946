//! The update of parameters by their gradient, each entry on its own: what optimizers do; and for the gradient of one sample, which is outer
//! products, in the pass in which these are made.
//!
//! No operation is fused: an update has the same bits on every backend.

use super::{Scalar, ShapeError, expect, load, once, store};
use crate::simd::{Backend, Lanes, MAX_WIDTH, Operation};

/// Entries of a gradient that are made before parameters are updated by them and they are stored.
///
/// They are made in a place of their own. Gradient and parameters often lie at the same place of a page, and a load whose address has the last 12 bits
/// of a store that is not done yet waits for that one on some processors (docs/performance.md).
const AT_ONCE: usize = 256;

/// What an optimizer does with every entry.
pub(crate) trait Update<T: Scalar>: Sized + Send {
    /// What is done with the entries before this one, and with the others, which are counted anew.
    fn split_at(self, at: usize) -> (Self, Self);

    /// Updates parameters by their gradient, and stores that, if it is to be; `first` is the number of the first among all of them. Slices one by one
    /// and not in a structure: the compiler then knows that none overlaps another, and keeps the settings in registers.
    fn apply<L: Lanes<T>>(
        &mut self,
        lanes: L,
        first: usize,
        params: &mut [T],
        gradient: &[T],
        stored: Option<&mut [T]>,
    );
}

/// The same of one vector of entries.
trait EachEntry<T: Scalar> {
    /// For how many entries there is memory.
    fn entries(&self) -> usize;
    /// The parameters `w` after the update by `g`, of the entries from `at` on: a vector of them, or so many as `part` says.
    ///
    /// # Safety
    /// There must be memory for these entries.
    unsafe fn entry<L: Lanes<T>>(
        &mut self,
        lanes: L,
        at: usize,
        part: Option<usize>,
        w: L::Vector,
        g: L::Vector,
    ) -> L::Vector;
}

/// w <- keep w - rate g.
#[derive(Debug)]
pub(crate) struct Plain<T> {
    pub(crate) keep: T,
    pub(crate) rate: T,
}

impl<T: Scalar> EachEntry<T> for Plain<T> {
    #[inline(always)]
    fn entries(&self) -> usize {
        usize::MAX
    }
    #[inline(always)]
    unsafe fn entry<L: Lanes<T>>(
        &mut self,
        lanes: L,
        _: usize,
        _: Option<usize>,
        w: L::Vector,
        g: L::Vector,
    ) -> L::Vector {
        lanes.sub(lanes.mul(w, lanes.splat(self.keep)), lanes.mul(lanes.splat(self.rate), g))
    }
}

/// v <- momentum v + g, w <- keep w - rate v.
#[derive(Debug)]
pub(crate) struct WithMomentum<'a, T> {
    pub(crate) keep: T,
    pub(crate) rate: T,
    pub(crate) momentum: T,
    pub(crate) velocity: &'a mut [T],
}

impl<T: Scalar> EachEntry<T> for WithMomentum<'_, T> {
    #[inline(always)]
    fn entries(&self) -> usize {
        self.velocity.len()
    }
    #[inline(always)]
    unsafe fn entry<L: Lanes<T>>(
        &mut self,
        lanes: L,
        at: usize,
        part: Option<usize>,
        w: L::Vector,
        g: L::Vector,
    ) -> L::Vector {
        // SAFETY: the caller vouches for these entries.
        let v = unsafe {
            let place = self.velocity.as_mut_ptr().add(at);
            let v = lanes.add(lanes.mul(lanes.splat(self.momentum), load(lanes, place, part)), g);
            store(lanes, place, v, part);
            v
        };
        lanes.sub(lanes.mul(w, lanes.splat(self.keep)), lanes.mul(lanes.splat(self.rate), v))
    }
}

/// m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, w <- keep w - step m / (sqrt(unbias v) + epsilon).
#[derive(Debug)]
pub(crate) struct Adaptive<'a, T> {
    pub(crate) keep: T,
    pub(crate) step: T,
    pub(crate) unbias: T,
    pub(crate) decays: (T, T),
    pub(crate) epsilon: T,
    pub(crate) first: &'a mut [T],
    pub(crate) second: &'a mut [T],
}

impl<'a, T: Scalar> Adaptive<'a, T> {
    /// With what frees the moments from their start at zero, at the step of this number, from 1.
    #[inline(always)]
    pub(crate) fn new(
        (rate, decay): (T, T),
        decays: (T, T),
        epsilon: T,
        steps: u64,
        (first, second): (&'a mut [T], &'a mut [T]),
    ) -> Self {
        let keep = T::ONE - rate * decay;
        let step = rate / (T::ONE - decays.0.power(steps));
        let unbias = T::ONE / (T::ONE - decays.1.power(steps));
        Self { keep, step, unbias, decays, epsilon, first, second }
    }
}

impl<T: Scalar> EachEntry<T> for Adaptive<'_, T> {
    #[inline(always)]
    fn entries(&self) -> usize {
        self.first.len().min(self.second.len())
    }
    #[inline(always)]
    unsafe fn entry<L: Lanes<T>>(
        &mut self,
        lanes: L,
        at: usize,
        part: Option<usize>,
        w: L::Vector,
        g: L::Vector,
    ) -> L::Vector {
        let (b1, b2) = self.decays;
        // SAFETY: the caller vouches for these entries.
        let (m, v) = unsafe {
            let (first, second) = (self.first.as_mut_ptr().add(at), self.second.as_mut_ptr().add(at));
            let (old_m, old_v) = (load(lanes, first, part), load(lanes, second, part));
            let m = lanes.add(lanes.mul(lanes.splat(b1), old_m), lanes.mul(lanes.splat(T::ONE - b1), g));
            let square = lanes.mul(lanes.mul(lanes.splat(T::ONE - b2), g), g);
            let v = lanes.add(lanes.mul(lanes.splat(b2), old_v), square);
            store(lanes, first, m, part);
            store(lanes, second, v, part);
            (m, v)
        };
        let root = lanes.sqrt(lanes.mul(v, lanes.splat(self.unbias)));
        // Bounded, for an epsilon so small that it does not do it.
        let (most, least) = (lanes.splat(T::GRADIENT_LIMIT), lanes.splat(-T::GRADIENT_LIMIT));
        let direction = lanes.div(m, lanes.add(root, lanes.splat(self.epsilon)));
        let direction = lanes.max(lanes.min(direction, most), least);
        lanes.sub(lanes.mul(w, lanes.splat(self.keep)), lanes.mul(lanes.splat(self.step), direction))
    }
}

/// What stochastic gradient descent does.
#[derive(Debug)]
pub(crate) enum OfSgd<'a, T> {
    Plain(Plain<T>),
    WithMomentum(WithMomentum<'a, T>),
}

impl<T: Scalar> Update<T> for OfSgd<'_, T> {
    #[inline(always)]
    fn split_at(self, at: usize) -> (Self, Self) {
        match self {
            Self::Plain(Plain { keep, rate }) => {
                (Self::Plain(Plain { keep, rate }), Self::Plain(Plain { keep, rate }))
            }
            Self::WithMomentum(WithMomentum { keep, rate, momentum, velocity }) => {
                let (low, high) = velocity.split_at_mut(at.min(velocity.len()));
                let of = |velocity| Self::WithMomentum(WithMomentum { keep, rate, momentum, velocity });
                (of(low), of(high))
            }
        }
    }
    #[inline(always)]
    fn apply<L: Lanes<T>>(
        &mut self,
        lanes: L,
        first: usize,
        params: &mut [T],
        gradient: &[T],
        stored: Option<&mut [T]>,
    ) {
        match self {
            Self::Plain(update) => each(lanes, update, first, params, gradient, stored),
            Self::WithMomentum(update) => each(lanes, update, first, params, gradient, stored),
        }
    }
}

impl<T: Scalar> Update<T> for Adaptive<'_, T> {
    #[inline(always)]
    fn split_at(self, at: usize) -> (Self, Self) {
        let Self { keep, step, unbias, decays, epsilon, first, second } = self;
        let (first_low, first_high) = first.split_at_mut(at.min(first.len()));
        let (second_low, second_high) = second.split_at_mut(at.min(second.len()));
        let of = |first, second| Self { keep, step, unbias, decays, epsilon, first, second };
        (of(first_low, second_low), of(first_high, second_high))
    }
    #[inline(always)]
    fn apply<L: Lanes<T>>(
        &mut self,
        lanes: L,
        first: usize,
        params: &mut [T],
        gradient: &[T],
        stored: Option<&mut [T]>,
    ) {
        each(lanes, self, first, params, gradient, stored);
    }
}

/// What an optimizer of this crate does.
#[derive(Debug)]
pub(crate) enum OfAny<'a, T> {
    Sgd(OfSgd<'a, T>),
    Adaptive(Adaptive<'a, T>),
}

impl<T: Scalar> Update<T> for OfAny<'_, T> {
    #[inline(always)]
    fn split_at(self, at: usize) -> (Self, Self) {
        match self {
            Self::Sgd(update) => {
                let (low, high) = update.split_at(at);
                (Self::Sgd(low), Self::Sgd(high))
            }
            Self::Adaptive(update) => {
                let (low, high) = update.split_at(at);
                (Self::Adaptive(low), Self::Adaptive(high))
            }
        }
    }
    #[inline(always)]
    fn apply<L: Lanes<T>>(
        &mut self,
        lanes: L,
        first: usize,
        params: &mut [T],
        gradient: &[T],
        stored: Option<&mut [T]>,
    ) {
        match self {
            Self::Sgd(update) => update.apply(lanes, first, params, gradient, stored),
            Self::Adaptive(update) => update.apply(lanes, first, params, gradient, stored),
        }
    }
}

#[inline(always)]
fn each<T: Scalar, L: Lanes<T>>(
    lanes: L,
    update: &mut impl EachEntry<T>,
    first: usize,
    params: &mut [T],
    gradient: &[T],
    stored: Option<&mut [T]>,
) {
    let stored = match stored {
        Some(stored) if stored.len() >= gradient.len() => Some(stored.as_mut_ptr()),
        _ => None,
    };
    let count = params.len().min(gradient.len()).min(update.entries().saturating_sub(first));
    let (params, gradient) = (params.as_mut_ptr(), gradient.as_ptr());
    let mut at = 0;
    // SAFETY: parameters, gradient, memory and what it is stored in have `count` entries.
    unsafe {
        while count - at >= L::WIDTH {
            let (w, g) = (lanes.load(params.add(at)), lanes.load(gradient.add(at)));
            if let Some(stored) = stored {
                lanes.store(stored.add(at), g);
            }
            lanes.store(params.add(at), update.entry(lanes, first + at, None, w, g));
            at += L::WIDTH;
        }
        if at < count {
            let rest = count - at;
            let (w, g) =
                (lanes.load_partial(params.add(at), rest), lanes.load_partial(gradient.add(at), rest));
            if let Some(stored) = stored {
                lanes.store_partial(stored.add(at), g, rest);
            }
            lanes.store_partial(params.add(at), update.entry(lanes, first + at, Some(rest), w, g), rest);
        }
    }
}

/// One layer of a network whose parameters are updated as their gradient is made of one sample, its deltas times what its W and U multiply. Writes the
/// gradient and updates by it.
pub(crate) struct LayerUpdate<'a, U, T> {
    /// The first of its parameters: W, then U, then b.
    pub(crate) first: usize,
    pub(crate) deltas: &'a [T],
    /// What W multiplies, and U.
    pub(crate) inputs: [&'a [T]; 2],
    pub(crate) update: &'a mut U,
    /// All parameters.
    pub(crate) params: &'a mut [T],
    /// The gradient of all parameters.
    pub(crate) gradient: &'a mut [T],
}

impl<T: Scalar, U: Update<T>> Operation<T> for LayerUpdate<'_, U, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        let Self { first, deltas, inputs: [sent, fed_back], update, params, gradient } = self;
        let mut made = Made([T::ZERO; AT_ONCE + MAX_WIDTH]);
        let (mut at, columns) = (first, (AT_ONCE / deltas.len().max(1)).max(1));
        for inputs in [sent, fed_back, T::ONE_PLACE] {
            for inputs in inputs.chunks(columns) {
                // Several columns, or a part of one.
                for deltas in deltas.chunks(AT_ONCE) {
                    let made = outer_anew(lanes, deltas, inputs, &mut made);
                    let place = at..at + made.len();
                    let (Some(gradient), Some(params)) =
                        (gradient.get_mut(place.clone()), params.get_mut(place))
                    else {
                        return;
                    };
                    update.apply(lanes, at, params, made, Some(gradient));
                    at += made.len();
                }
            }
        }
    }
}

/// A part of a gradient, with room for a vector after it.
#[repr(align(64))]
struct Made<T>([T; AT_ONCE + MAX_WIDTH]);

/// `deltas[i] * inputs[j]`, column after column: at most `AT_ONCE` of them.
#[inline(always)]
fn outer_anew<'a, T: Scalar, L: Lanes<T>>(
    lanes: L,
    deltas: &[T],
    inputs: &[T],
    Made(made): &'a mut Made<T>,
) -> &'a [T] {
    let (height, length) = (deltas.len(), deltas.len() * inputs.len());
    if length > AT_ONCE {
        return &[];
    }
    // As if added to zero, so that no zero is a negative one.
    let zero = lanes.splat(T::ZERO);
    let (deltas, mut to) = (deltas.as_ptr(), made.as_mut_ptr());
    for input in inputs {
        let (input, mut row) = (lanes.splat(*input), 0);
        // SAFETY: there are `height` deltas, and of what is made so many for every input, with a vector after all of them.
        unsafe {
            while height - row >= L::WIDTH {
                let product = lanes.mul_add(lanes.load(deltas.add(row)), input, zero);
                lanes.store(to.add(row), product);
                row += L::WIDTH;
            }
            if row < height {
                // A whole vector: the next column comes over it.
                let product = lanes.mul_add(lanes.load_partial(deltas.add(row), height - row), input, zero);
                lanes.store(to.add(row), product);
            }
            to = to.add(height);
        }
    }
    made.get(..length).unwrap_or_default()
}

/// The Euclidean norm of numbers whose largest magnitude, more than zero, is `most`. Relative to that, so that small squares do not vanish and
/// large ones do not overflow. Where sums are not split, they are summed up one after the other.
#[inline(always)]
pub(crate) fn norm<T: Scalar, L: Lanes<T>>(lanes: L, values: &[T], most: T) -> T {
    let (mut sum, mut at) = (T::ZERO, 0);
    if const { L::BLOCKING.split } {
        let mut sums = [lanes.splat(T::ZERO); 4];
        while values.len() - at >= 4 * L::WIDTH {
            for (v, sum) in sums.iter_mut().enumerate() {
                // SAFETY: there are four vectors from `at` on.
                let value = unsafe { lanes.load(values.as_ptr().add(at + v * L::WIDTH)) };
                let ratio = lanes.div(value, lanes.splat(most));
                *sum = lanes.mul_add(ratio, ratio, *sum);
            }
            at += 4 * L::WIDTH;
        }
        let [a, b, c, d] = sums;
        sum = lanes.reduce_add(lanes.add(lanes.add(a, b), lanes.add(c, d)));
    }
    for value in values.get(at..).unwrap_or_default() {
        let ratio = *value / most;
        sum += ratio * ratio;
    }
    most * sum.sqrt()
}

/// The settings of a step of Adam with decoupled weight decay; see [`adam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep<T> {
    /// The learning rate.
    pub rate: T,
    /// Weight decay a unit of rate.
    pub decay: T,
    /// b1 and b2, the parts of the moments that are kept, 0 to below 1: often 0.9 and 0.999.
    pub decays: (T, T),
    /// Added to the root; more than 0.
    pub epsilon: T,
    /// Which step this is, from 1; 0 is taken as 1. As the moments start at zero, the first ones are made larger.
    pub steps: u64,
    /// What the gradient is multiplied with before: 1, or less to clip it by its norm.
    pub scale: T,
}

/// A step of Adam with decoupled weight decay (Kingma and Ba 2015; Loshchilov and Hutter 2019), entry by entry, as
/// [`learn::Adam`](crate::learn::Adam) takes it:
/// g <- scale g, m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, w <- w (1 - rate decay) - rate m' / (sqrt(v') + epsilon), with
/// m' = m / (1 - b1^steps) and v' = v / (1 - b2^steps).
///
/// `first` and `second` are the moments m and v, zero before the first step. Entries do not depend on one another, so that slices may be updated
/// part by part. The bits are the same on every backend. Nothing is looked at before: the gradient should be finite, which
/// [`sum_of_squares`] shows.
///
/// ```
/// use attractor::kernel::{AdamStep, adam};
/// use attractor::simd::Backend;
/// let (mut weights, mut first, mut second) = ([1.0_f32, -1.0], [0.0; 2], [0.0; 2]);
/// let step = AdamStep { rate: 0.1, decay: 0.0, decays: (0.9, 0.999), epsilon: 1e-8, steps: 1, scale: 1.0 };
/// adam(Backend::best(), step, &mut weights, &[3.0, -0.5], &mut first, &mut second)?;
/// assert!((weights[0] - 0.9).abs() < 1e-6 && (weights[1] + 0.9).abs() < 1e-6); // the first step is the rate
/// # Ok::<(), attractor::kernel::ShapeError>(())
/// ```
///
/// # Errors
/// [`ShapeError`] if the slices are not of one length; nothing is changed then.
pub fn adam<T: Scalar>(
    backend: Backend,
    step: AdamStep<T>,
    params: &mut [T],
    gradient: &[T],
    first: &mut [T],
    second: &mut [T],
) -> Result<(), ShapeError> {
    expect("entries of the gradient", params.len(), gradient.len())?;
    expect("first moments", params.len(), first.len())?;
    expect("second moments", params.len(), second.len())?;
    let AdamStep { rate, decay, decays, epsilon, steps, scale } = step;
    let update = Adaptive::new((rate, decay), decays, epsilon, steps.max(1), (first, second));
    T::once::<AdamOnce>((backend, ByAdam { update: Scaled { scale, update }, params, gradient }));
    Ok(())
}
once!(AdamOnce: (Backend, ByAdam<'a, T>) => (), adam_once);

fn adam_once<T: Scalar>((backend, adam): (Backend, ByAdam<'_, T>)) {
    T::run(backend, adam);
}

struct ByAdam<'a, T> {
    update: Scaled<'a, T>,
    params: &'a mut [T],
    gradient: &'a [T],
}

impl<T: Scalar> Operation<T> for ByAdam<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(mut self, lanes: L) {
        each(lanes.narrow(), &mut self.update, 0, self.params, self.gradient, None);
    }
}

/// [`Adaptive`] by a gradient times `scale`.
struct Scaled<'a, T> {
    scale: T,
    update: Adaptive<'a, T>,
}

impl<T: Scalar> EachEntry<T> for Scaled<'_, T> {
    #[inline(always)]
    fn entries(&self) -> usize {
        self.update.entries()
    }
    #[inline(always)]
    unsafe fn entry<L: Lanes<T>>(
        &mut self,
        lanes: L,
        at: usize,
        part: Option<usize>,
        w: L::Vector,
        g: L::Vector,
    ) -> L::Vector {
        // SAFETY: the same contract, which the caller keeps.
        unsafe { self.update.entry(lanes, at, part, w, lanes.mul(lanes.splat(self.scale), g)) }
    }
}

/// Values whose squares are summed up in the scalar's own digits; sums of so many are added in `f64`.
const SQUARES: usize = 4096;

/// The sum of the squares of all values: of a gradient, the square of its norm. Infinite or NaN if a value is, or if it is too large.
///
/// Off by no more than some roundings, however many values there are. The bits depend on the values and the backend alone; sums of parts
/// of a slice, added up, may round otherwise.
///
/// ```
/// use attractor::{kernel::sum_of_squares, simd::Backend};
/// assert_eq!(sum_of_squares(Backend::best(), &[3.0_f32, -4.0]), 25.0);
/// ```
#[must_use]
pub fn sum_of_squares<T: Scalar>(backend: Backend, values: &[T]) -> T {
    T::once::<SquaresOnce>((backend, Squares(values)))
}
once!(SquaresOnce: (Backend, Squares<'a, T>) => T, squares_once);

fn squares_once<T: Scalar>((backend, squares): (Backend, Squares<'_, T>)) -> T {
    T::run(backend, squares)
}

struct Squares<'a, T>(&'a [T]);

impl<T: Scalar> Operation<T> for Squares<'_, T> {
    type Output = T;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> T {
        let mut total = 0.0;
        for values in self.0.chunks(SQUARES) {
            total += squares(lanes, values).to_f64();
        }
        T::from_f64(total)
    }
}

/// Where sums are not split, one after the other.
#[inline(always)]
fn squares<T: Scalar, L: Lanes<T>>(lanes: L, values: &[T]) -> T {
    let (mut sum, mut at) = (T::ZERO, 0);
    if const { L::BLOCKING.split } {
        let mut sums = [lanes.splat(T::ZERO); 4];
        while values.len() - at >= 4 * L::WIDTH {
            for (v, sum) in sums.iter_mut().enumerate() {
                // SAFETY: there are four vectors from `at` on.
                let value = unsafe { lanes.load(values.as_ptr().add(at + v * L::WIDTH)) };
                *sum = lanes.mul_add(value, value, *sum);
            }
            at += 4 * L::WIDTH;
        }
        let [a, b, c, d] = sums;
        sum = lanes.reduce_add(lanes.add(lanes.add(a, b), lanes.add(c, d)));
    }
    for value in values.get(at..).unwrap_or_default() {
        sum += *value * *value;
    }
    sum
}

/// `sums += values`, entry by entry: to add up the gradients of parts of a batch. The bits are the same on every backend.
///
/// ```
/// use attractor::{kernel::add_to, simd::Backend};
/// let mut sums = [1.0_f32, 2.0];
/// add_to(Backend::best(), &[0.5, -2.0], &mut sums)?;
/// assert_eq!(sums, [1.5, 0.0]);
/// # Ok::<(), attractor::kernel::ShapeError>(())
/// ```
///
/// # Errors
/// [`ShapeError`] if the slices are not of one length; nothing is changed then.
pub fn add_to<T: Scalar>(backend: Backend, values: &[T], sums: &mut [T]) -> Result<(), ShapeError> {
    expect("values to add", sums.len(), values.len())?;
    T::once::<AddOnce>((backend, Add { values, sums }));
    Ok(())
}
once!(AddOnce: (Backend, Add<'a, T>) => (), add_once);

fn add_once<T: Scalar>((backend, add): (Backend, Add<'_, T>)) {
    T::run(backend, add);
}

struct Add<'a, T> {
    values: &'a [T],
    sums: &'a mut [T],
}

impl<T: Scalar> Operation<T> for Add<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        each(lanes, &mut Sum, 0, self.sums, self.values, None);
    }
}

/// w <- w + g.
struct Sum;

impl<T: Scalar> EachEntry<T> for Sum {
    #[inline(always)]
    fn entries(&self) -> usize {
        usize::MAX
    }
    #[inline(always)]
    unsafe fn entry<L: Lanes<T>>(
        &mut self,
        lanes: L,
        _: usize,
        _: Option<usize>,
        w: L::Vector,
        g: L::Vector,
    ) -> L::Vector {
        lanes.add(w, g)
    }
}
