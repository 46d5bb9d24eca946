//! Layer normalisation (Ba, Kiros and Hinton 2016), tokens in the lanes.

use super::{Matrix, MatrixMut, Scalar, ShapeError, expect, load, once, store};
use crate::simd::{Backend, Lanes, MAX_WIDTH, Operation};

/// Vectors of tokens that are taken together, so that one sum does not wait for another.
const TOGETHER: usize = 4;

/// `out = gain * (input - mean) / sqrt(variance + epsilon) + shift`, mean and variance those of a token's features (Ba, Kiros and Hinton,
/// "Layer normalization", 2016).
///
/// Shapes: `input` and `out` are `tokens x features`, `gain` and `shift` hold a number a feature. `statistics` gets two numbers a token, which
/// [`normalize_back`] wants: all means, then all 1 / sqrt(variance + epsilon).
///
/// ```
/// use attractor::{kernel, simd::Backend};
/// use nalgebra::{SMatrix, matrix};
///
/// let input = matrix![1.0_f32, 3.0; -2.0, -2.0]; // 2 tokens x 2 features
/// let mut out = SMatrix::<f32, 2, 2>::zeros();
/// let (gain, shift, mut statistics) = ([2.0, 2.0], [0.0, 0.5], [0.0; 4]);
/// let backend = Backend::best();
/// kernel::normalize(backend, (&input).into(), &gain, &shift, 1e-12, &mut statistics, (&mut out).into())?;
/// assert_eq!(out, matrix![-2.0, 2.5; 0.0, 0.5]);
/// assert_eq!(statistics[..3], [2.0, -2.0, 1.0]);
/// # Ok::<(), kernel::ShapeError>(())
/// ```
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit; nothing is changed then.
pub fn normalize<T: Scalar>(
    backend: Backend,
    input: Matrix<'_, T>,
    gain: &[T],
    shift: &[T],
    epsilon: T,
    statistics: &mut [T],
    out: MatrixMut<'_, T>,
) -> Result<(), ShapeError> {
    expect("gains", input.cols(), gain.len())?;
    expect("shifts", input.cols(), shift.len())?;
    expect("statistics", input.rows().saturating_mul(2), statistics.len())?;
    expect("tokens of the output", input.rows(), out.rows())?;
    expect("features of the output", input.cols(), out.cols())?;
    T::once::<NormalizeOnce>((backend, Normalize { input, gain, shift, epsilon, statistics, out }));
    Ok(())
}
once!(NormalizeOnce: (Backend, Normalize<'a, T>) => (), normalize_once);

fn normalize_once<T: Scalar>((backend, normalize): (Backend, Normalize<'_, T>)) {
    T::run(backend, normalize);
}

/// The gradients of [`normalize`], given the gradient `delta` by its output: adds to `input_gradient`, `gain_gradient` and `shift_gradient`.
///
/// Shapes: `input`, `delta` and `input_gradient` are `tokens x features`, the gradients of gain and shift hold a number a feature, and
/// `statistics` are those [`normalize`] left. Tokens may be taken part by part, and the gradients of gain and shift be added up.
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit; nothing is changed then.
#[allow(clippy::too_many_arguments, reason = "each is one operand, and none belongs with another")]
pub fn normalize_back<T: Scalar>(
    backend: Backend,
    input: Matrix<'_, T>,
    gain: &[T],
    statistics: &[T],
    delta: Matrix<'_, T>,
    gain_gradient: &mut [T],
    shift_gradient: &mut [T],
    input_gradient: MatrixMut<'_, T>,
) -> Result<(), ShapeError> {
    let (tokens, features) = (input.rows(), input.cols());
    expect("gains", features, gain.len())?;
    expect("statistics", tokens.saturating_mul(2), statistics.len())?;
    expect("tokens of the delta", tokens, delta.rows())?;
    expect("features of the delta", features, delta.cols())?;
    expect("gradient of the gains", features, gain_gradient.len())?;
    expect("gradient of the shifts", features, shift_gradient.len())?;
    expect("tokens of the gradient", tokens, input_gradient.rows())?;
    expect("features of the gradient", features, input_gradient.cols())?;
    let back =
        NormalizeBack { input, gain, statistics, delta, gain_gradient, shift_gradient, input_gradient };
    T::once::<NormalizeBackOnce>((backend, back));
    Ok(())
}
once!(NormalizeBackOnce: (Backend, NormalizeBack<'a, T>) => (), normalize_back_once);

fn normalize_back_once<T: Scalar>((backend, back): (Backend, NormalizeBack<'_, T>)) {
    T::run(backend, back);
}

/// What is done with some tokens.
trait EachBlock<T: Scalar> {
    /// `V` vectors of tokens, or so many as `part` says.
    ///
    /// # Safety
    /// They must exist.
    unsafe fn block<L: Lanes<T>, const V: usize>(&mut self, lanes: L, token: usize, part: Option<usize>);
}

/// All tokens: some vectors together, so that one sum does not wait for another, then one at a time.
#[inline(always)]
fn in_blocks<T: Scalar, L: Lanes<T>>(lanes: L, tokens: usize, mut each: impl EachBlock<T>) {
    let mut token = 0;
    // SAFETY: every block lies below `tokens`.
    unsafe {
        while tokens - token >= TOGETHER * L::WIDTH {
            each.block::<L, TOGETHER>(lanes, token, None);
            token += TOGETHER * L::WIDTH;
        }
        while tokens - token >= L::WIDTH {
            each.block::<L, 1>(lanes, token, None);
            token += L::WIDTH;
        }
        if token < tokens {
            each.block::<L, 1>(lanes, token, Some(tokens - token));
        }
    }
}

/// Shapes fit.
struct Normalize<'a, T> {
    input: Matrix<'a, T>,
    gain: &'a [T],
    shift: &'a [T],
    epsilon: T,
    statistics: &'a mut [T],
    out: MatrixMut<'a, T>,
}

impl<T: Scalar> Operation<T> for Normalize<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        in_blocks(lanes, self.input.rows(), self);
    }
}

impl<T: Scalar> EachBlock<T> for Normalize<'_, T> {
    #[inline(always)]
    unsafe fn block<L: Lanes<T>, const V: usize>(&mut self, lanes: L, token: usize, part: Option<usize>) {
        let (tokens, features) = (self.input.rows(), self.input.cols());
        let (start, stride) = (self.input.start().wrapping_add(token), self.input.stride());
        let (out, out_stride) = (self.out.start().wrapping_add(token), self.out.stride());
        let statistics = self.statistics.as_mut_ptr().wrapping_add(token);
        let zero = lanes.splat(T::ZERO);
        let share = lanes.splat(T::ONE / T::from_usize(features));
        // SAFETY: the caller's tokens; every feature has a gain and a shift, every token two statistics.
        unsafe {
            let x = |feature: usize, v: usize| {
                load(lanes, start.wrapping_add(feature * stride + v * L::WIDTH), part)
            };
            let mut means = [zero; V];
            for feature in 0..features {
                for (v, mean) in means.iter_mut().enumerate() {
                    *mean = lanes.add(*mean, x(feature, v));
                }
            }
            for mean in &mut means {
                *mean = lanes.mul(*mean, share);
            }
            // About the mean, for the mean may be much larger than what is around it.
            let mut scales = [zero; V];
            for feature in 0..features {
                for (v, square) in scales.iter_mut().enumerate() {
                    let from = lanes.sub(x(feature, v), means[v]);
                    *square = lanes.mul_add(from, from, *square);
                }
            }
            for (v, scale) in scales.iter_mut().enumerate() {
                let variance = lanes.mul_add(*scale, share, lanes.splat(self.epsilon));
                *scale = lanes.div(lanes.splat(T::ONE), lanes.sqrt(variance));
                store(lanes, statistics.wrapping_add(v * L::WIDTH), means[v], part);
                store(lanes, statistics.wrapping_add(tokens + v * L::WIDTH), *scale, part);
            }
            for feature in 0..features {
                let gain = lanes.splat(*self.gain.as_ptr().add(feature));
                let shift = lanes.splat(*self.shift.as_ptr().add(feature));
                let out = out.wrapping_add(feature * out_stride);
                for v in 0..V {
                    let normal = lanes.mul(lanes.sub(x(feature, v), means[v]), scales[v]);
                    let value = lanes.mul_add(normal, gain, shift);
                    store(lanes, out.wrapping_add(v * L::WIDTH), value, part);
                }
            }
        }
    }
}

/// Shapes fit.
struct NormalizeBack<'a, T> {
    input: Matrix<'a, T>,
    gain: &'a [T],
    statistics: &'a [T],
    delta: Matrix<'a, T>,
    gain_gradient: &'a mut [T],
    shift_gradient: &'a mut [T],
    input_gradient: MatrixMut<'a, T>,
}

impl<T: Scalar> Operation<T> for NormalizeBack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        in_blocks(lanes, self.input.rows(), self);
    }
}

impl<T: Scalar> EachBlock<T> for NormalizeBack<'_, T> {
    #[inline(always)]
    unsafe fn block<L: Lanes<T>, const V: usize>(&mut self, lanes: L, token: usize, part: Option<usize>) {
        let (tokens, features) = (self.input.rows(), self.input.cols());
        let (input, stride) = (self.input.start().wrapping_add(token), self.input.stride());
        let (delta, delta_stride) = (self.delta.start().wrapping_add(token), self.delta.stride());
        let gradient_stride = self.input_gradient.stride();
        let gradient = self.input_gradient.start().wrapping_add(token);
        let statistics = self.statistics.as_ptr().wrapping_add(token);
        let zero = lanes.splat(T::ZERO);
        let share = lanes.splat(T::ONE / T::from_usize(features));
        let (mut means, mut scales) = ([zero; V], [zero; V]);
        // SAFETY: the caller's tokens; every feature has a gain and its gradients, every token two statistics. Lanes of no token are zero.
        unsafe {
            for v in 0..V {
                means[v] = load(lanes, statistics.wrapping_add(v * L::WIDTH), part);
                scales[v] = load(lanes, statistics.wrapping_add(tokens + v * L::WIDTH), part);
            }
            let normal = |feature: usize, v: usize| {
                let x = load(lanes, input.wrapping_add(feature * stride + v * L::WIDTH), part);
                lanes.mul(lanes.sub(x, means[v]), scales[v])
            };
            let delta = |feature: usize, v: usize| {
                load(lanes, delta.wrapping_add(feature * delta_stride + v * L::WIDTH), part)
            };
            // Of every token: the sums over its features of g = gain * delta, and of g times what is normal.
            let (mut sums, mut products) = ([zero; V], [zero; V]);
            // Of some features: sums over tokens, to be summed across lanes together.
            let mut across = [[zero; MAX_WIDTH]; 2];
            for feature in 0..features {
                let gain = lanes.splat(*self.gain.as_ptr().add(feature));
                let (mut of_shift, mut of_gain) = (zero, zero);
                for v in 0..V {
                    let (d, n) = (delta(feature, v), normal(feature, v));
                    let g = lanes.mul(d, gain);
                    sums[v] = lanes.add(sums[v], g);
                    products[v] = lanes.mul_add(g, n, products[v]);
                    if const { L::BLOCKING.split } {
                        of_shift = lanes.add(of_shift, d);
                        of_gain = lanes.mul_add(d, n, of_gain);
                    } else {
                        let count = part.unwrap_or(L::WIDTH);
                        add_in_order(lanes, d, count, self.shift_gradient.as_mut_ptr().add(feature));
                        add_in_order(
                            lanes,
                            lanes.mul(d, n),
                            count,
                            self.gain_gradient.as_mut_ptr().add(feature),
                        );
                    }
                }
                if const { L::BLOCKING.split } {
                    let place = feature % L::WIDTH;
                    across[0][place] = of_shift;
                    across[1][place] = of_gain;
                    if place + 1 == L::WIDTH || feature + 1 == features {
                        let (first, count) = (feature - place, place + 1);
                        let some = (count < L::WIDTH).then_some(count);
                        let gradients = [&mut *self.shift_gradient, &mut *self.gain_gradient];
                        for (gradient, across) in gradients.into_iter().zip(&across) {
                            let at = gradient.as_mut_ptr().add(first);
                            let sum = lanes.add(load(lanes, at, some), lanes.sums(across));
                            store(lanes, at, sum, some);
                        }
                    }
                }
            }
            for v in 0..V {
                sums[v] = lanes.mul(sums[v], share);
                products[v] = lanes.mul(products[v], share);
            }
            for feature in 0..features {
                let gain = lanes.splat(*self.gain.as_ptr().add(feature));
                let gradient = gradient.wrapping_add(feature * gradient_stride);
                for v in 0..V {
                    let at = gradient.wrapping_add(v * L::WIDTH);
                    let g = lanes.sub(lanes.mul(delta(feature, v), gain), sums[v]);
                    let g = lanes.sub(g, lanes.mul(normal(feature, v), products[v]));
                    store(lanes, at, lanes.mul_add(g, scales[v], load(lanes, at, part)), part);
                }
            }
        }
    }
}

/// Adds the first `count` lanes one after the other: the order does not depend on how many lanes there are.
///
/// # Safety
/// `to` must exist, for this alone.
#[inline(always)]
unsafe fn add_in_order<T: Scalar, L: Lanes<T>>(lanes: L, v: L::Vector, count: usize, to: *mut T) {
    let mut values = [T::ZERO; MAX_WIDTH];
    // SAFETY: the array holds MAX_WIDTH >= WIDTH scalars, and the caller vouches for the place.
    unsafe {
        lanes.store(values.as_mut_ptr(), v);
        for value in values.iter().take(count) {
            *to += *value;
        }
    }
}
