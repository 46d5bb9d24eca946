//! Inputs as people have them: their mean and deviation, and whether a first layer is saturated by them.

use crate::kernel::{Activation, Scalar, of_sum};
#[cfg(feature = "alloc")]
use crate::kernel::{WithActivation, with_activation};
use crate::network::{Architecture, Network, Samples, State, Takes};
use crate::simd::{Backend, Lanes, Operation};
use crate::solve::NonFinite;
use core::marker::PhantomData;
use nalgebra::SMatrix;

/// Mean and standard deviation of every input, from samples one after the other (Welford 1962), and what they make of an input:
/// x' = (x - mean) / deviation. A constant input, whose deviation is 0, is divided by 1.
///
/// Networks learn from inputs of mean 0 and deviation 1; columns of hundreds or thousands saturate the first layer, and nothing is learnt. Train on
/// scaled inputs, and fold the scaling into the network at the end: it then takes raw ones.
///
/// ```
/// use attractor::learn::Scaling;
/// use attractor::{Stop, fnn};
/// type Net = fnn![2, 4, 1];
/// let mut scaling = Scaling::<f32, 2>::new();
/// for sample in [[1000.0, 0.5], [1200.0, 0.25], [1400.0, 0.0]] {
///     scaling.observe(&sample)?;
/// }
/// assert_eq!(scaling.mean(), &[1200.0, 0.25]);
/// let mut x = [1400.0, 0.25];
/// scaling.apply(&mut x);
/// assert!((x[0] - 1.2247).abs() < 1e-3 && x[1] == 0.0);
///
/// let mut net = Net::ZERO; // trained on scaled inputs
/// # net.layer_mut::<1>().w.fill(0.5);
/// # net.layer_mut::<2>().w.fill(0.5);
/// let (mut scaled, mut raw) = (Net::state(), Net::state());
/// net.solve(&x, &mut scaled, Stop::residual(1e-6))?;
/// scaling.fold_into(&mut net)?;
/// net.solve(&[1400.0, 0.25], &mut raw, Stop::residual(1e-6))?;
/// assert!((scaled.output()[0] - raw.output()[0]).abs() < 1e-4);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Scaling<T, const I: usize> {
    count: usize,
    mean: [T; I],
    /// Sums of squares of what the samples are from their mean.
    squares: [T; I],
}

impl<T: Scalar, const I: usize> Default for Scaling<T, I> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Scalar, const I: usize> Scaling<T, I> {
    /// Of no samples yet: mean 0 and deviation 1.
    #[must_use]
    pub const fn new() -> Self {
        Self { count: 0, mean: [T::ZERO; I], squares: [T::ZERO; I] }
    }

    /// Takes in samples. Of a split into training and test, take those that are trained on.
    ///
    /// # Errors
    /// [`NonFinite::Input`] if a number is a NaN or an infinity, or so large that its square is; nothing is taken in then.
    pub fn observe<X: Samples<T, I, B>, const B: usize>(&mut self, input: &X) -> Result<(), NonFinite> {
        let input = input.samples();
        let mut next = *self;
        for sample in 0..input.rows() {
            next.count += 1;
            let count = T::from_usize(next.count);
            for (i, (mean, squares)) in next.mean.iter_mut().zip(&mut next.squares).enumerate() {
                let x = input.at(sample, i).unwrap_or(T::NAN);
                let before = x - *mean;
                *mean += before / count;
                *squares += before * (x - *mean);
                if !(mean.is_finite() && squares.is_finite()) {
                    return Err(NonFinite::Input { sample, input: i });
                }
            }
        }
        *self = next;
        Ok(())
    }

    /// How many samples were taken in.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }
    /// The mean of every input.
    #[must_use]
    pub fn mean(&self) -> &[T; I] {
        &self.mean
    }
    /// The standard deviation of every input, the root of the mean square; 1 of a constant one.
    #[must_use]
    pub fn deviation(&self) -> [T; I] {
        let count = T::from_usize(if self.count == 0 { 1 } else { self.count });
        self.squares.map(|squares| {
            let deviation = (squares / count).sqrt();
            if deviation > T::ZERO { deviation } else { T::ONE }
        })
    }

    /// Scales a sample.
    pub fn apply(&self, sample: &mut [T; I]) {
        for ((x, mean), deviation) in sample.iter_mut().zip(&self.mean).zip(&self.deviation()) {
            *x = (*x - *mean) / *deviation;
        }
    }
    /// Scales a batch, a row a sample.
    pub fn apply_batch<const B: usize>(&self, batch: &mut SMatrix<T, B, I>) {
        for ((mut column, mean), deviation) in batch.column_iter_mut().zip(&self.mean).zip(&self.deviation())
        {
            for x in column.iter_mut() {
                *x = (*x - *mean) / *deviation;
            }
        }
    }

    /// Makes a network of scaled inputs one of raw inputs, with the same solutions: W^1 is divided by the deviations, column by column, and b^1
    /// becomes b^1 - W^1 mean, with the W^1 there is then. That is exact but for the rounding of these numbers; sums are in `f64`. Feedback stays as it
    /// is, and with it what a certificate says of convergence.
    ///
    /// A network whose second layer has the parameters of the first does not compile.
    ///
    /// # Errors
    /// [`NonFinite::Weight`] if a weight is not finite or would not be; the network is unchanged then.
    pub fn fold_into<A: Takes<I, Scalar = T>>(&self, network: &mut Network<A>) -> Result<(), NonFinite> {
        const {
            assert!(
                A::LAYOUT.depth() < 2 || !A::LAYOUT.layer(1).shared,
                "a scaling cannot be folded into a first layer whose weights are those of the second too"
            );
        }
        let deviation = self.deviation();
        let first = const { A::LAYOUT.layer(0) };
        // W^1 lies first, column after column, and b^1 ends the layer.
        let width = first.width;
        let params = network.params_mut();
        let Some((w, rest)) = params.split_at_mut_checked(width * I) else { return Ok(()) };
        let Some(b) = rest.get_mut(width * first.feedback..).and_then(|b| b.get_mut(..width)) else {
            return Ok(());
        };
        // The first time through only looks.
        for change in [false, true] {
            for (row, bias) in b.iter_mut().enumerate() {
                let mut sum = bias.to_f64();
                for (column, (mean, deviation)) in self.mean.iter().zip(&deviation).enumerate() {
                    let Some(weight) = w.get_mut(column * width + row) else { continue };
                    let scaled = *weight / *deviation;
                    if !scaled.is_finite() {
                        return Err(NonFinite::Weight { matrix: 'W', layer: 1, row, column });
                    }
                    sum -= scaled.to_f64() * mean.to_f64();
                    if change {
                        *weight = scaled;
                    }
                }
                let sum = T::from_f64(sum);
                if !sum.is_finite() {
                    return Err(NonFinite::Weight { matrix: 'b', layer: 1, row, column: 0 });
                }
                if change {
                    *bias = sum;
                }
            }
        }
        Ok(())
    }
}

/// The part of its steepest slope below which a unit hardly learns.
const FLAT: f64 = 0.01;

impl<T: Scalar, A: Architecture<Scalar = T>> Network<A> {
    /// The share of the first layer's units, over all samples, whose activation is all but flat where they are: its slope is less than a hundredth of the
    /// steepest. Nothing for activations without a bound, which do not saturate. A [`Trainer`](super::Trainer) has it in the report of every
    /// [`Step`](super::Step).
    ///
    /// More than a half is a sign of inputs that are far too large: see [`Scaling`].
    ///
    /// ```
    /// use attractor::{Stop, fnn};
    /// type Net = fnn![1, 4, 1];
    /// let mut net = Net::ZERO;
    /// net.layer_mut::<1>().w.fill(0.5);
    /// let mut state = Net::state();
    /// for (x, share) in [(1.0, 0.0), (1000.0, 1.0)] {
    ///     net.solve(&[x], &mut state, Stop::residual(1e-5))?;
    ///     assert_eq!(Net::saturated(&state), Some(share));
    /// }
    /// # Ok::<(), attractor::SolveError>(())
    /// ```
    #[must_use]
    pub fn saturated<const B: usize>(state: &State<Self, B>) -> Option<T> {
        saturated(Backend::best(), state)
    }
}

/// [`Network::saturated`] on a backend.
pub(crate) fn saturated<T: Scalar, A: Architecture<Scalar = T>, const B: usize>(
    backend: Backend,
    state: &State<Network<A>, B>,
) -> Option<T> {
    // The samples of a unit lie side by side, the first layer's first.
    let states = state.as_slice().get(..Network::<A>::FIRST * B)?;
    if const { A::LAYOUT.depth() == 1 } {
        share::<T, A::Outputs>(backend, states)
    } else {
        share::<T, A::Hidden>(backend, states)
    }
}

fn share<T: Scalar, E: Activation>(backend: Backend, states: &[T]) -> Option<T> {
    E::BOUND?;
    if const { of_sum::<E, E>() } {
        return None;
    }
    let flat = T::run_here(backend, CountFlat::<_, E>(states, PhantomData));
    Some(T::from_usize(flat) / T::from_usize(states.len().max(1)))
}

/// [`Network::saturated`] of a first layer whose activation is known by its number.
#[cfg(feature = "alloc")]
pub(crate) fn saturated_flat<T: Scalar>(code: u8, backend: Backend, states: &[T]) -> Option<T> {
    with_activation(code, Share { backend, states })
}

#[cfg(feature = "alloc")]
struct Share<'a, T> {
    backend: Backend,
    states: &'a [T],
}

#[cfg(feature = "alloc")]
impl<T: Scalar> WithActivation for Share<'_, T> {
    type Output = Option<T>;
    fn with<E: Activation>(self) -> Option<T> {
        share::<T, E>(self.backend, self.states)
    }
}

/// Counts the states where the slope is all but 0.
struct CountFlat<'a, T, E>(&'a [T], PhantomData<E>);

impl<T: Scalar, E: Activation> Operation<T> for CountFlat<'_, T, E> {
    type Output = usize;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> usize {
        let least = T::from_f64(FLAT * E::STEEPEST);
        let is_flat = |h: T| lanes.reduce_max(E::slope(lanes, lanes.splat(h))) < least;
        self.0.iter().fold(0, |count, h| count + usize::from(is_flat(*h)))
    }
}
