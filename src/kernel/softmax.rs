//! Softmax with cross-entropy, stable for logits of any finite size.

use super::{Matrix, MatrixMut, Scalar, ShapeError, expect, load, once, store};
use crate::simd::{Backend, Lanes, Operation};

/// Softmax of every sample's logits and, from it, the cross-entropy against targets that put `1 - smoothing` on
/// the labelled class and spread `smoothing` evenly over all classes: 0 for the label alone, less than 1.
///
/// Returns the mean loss over the samples and writes its gradient (p - y) / samples. Shapes: `logits` and `gradient` are
/// `samples x classes`; `labels` holds one class below the number of logits for every sample. Without samples it is 0.
///
/// ```
/// use attractor::kernel;
/// use attractor::simd::Backend;
/// use nalgebra::{SMatrix, matrix};
///
/// let logits = matrix![0.0_f32, 0.0; 100.0, 0.0]; // 2 samples x 2 classes
/// let mut gradient = SMatrix::<f32, 2, 2>::zeros();
/// let backend = Backend::best();
/// let loss = kernel::cross_entropy(backend, (&logits).into(), &[1, 0], 0.0, (&mut gradient).into())?;
/// assert!((loss - 2.0_f32.ln() / 2.0).abs() < 1e-6); // one sample is undecided, the other sure and right
/// assert_eq!(gradient, matrix![0.25, -0.25; 0.0, 0.0]);
/// # Ok::<(), kernel::ShapeError>(())
/// ```
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit or a label names no class; the gradient is unchanged then.
pub fn cross_entropy<T: Scalar>(
    backend: Backend,
    logits: Matrix<'_, T>,
    labels: &[usize],
    smoothing: T,
    gradient: MatrixMut<'_, T>,
) -> Result<T, ShapeError> {
    expect("labels", logits.rows(), labels.len())?;
    expect("samples of the gradient", logits.rows(), gradient.rows())?;
    expect("classes of the gradient", logits.cols(), gradient.cols())?;
    for &label in labels {
        if label >= logits.cols() {
            return Err(ShapeError { what: "classes", expected: logits.cols(), found: label });
        }
    }
    Ok(T::once::<SoftmaxOnce>((backend, CrossEntropy { logits, labels, smoothing, gradient })))
}
once!(SoftmaxOnce: (Backend, CrossEntropy<'a, T>) => T, softmax_once);

fn softmax_once<T: Scalar>((backend, cross_entropy): (Backend, CrossEntropy<'_, T>)) -> T {
    T::run(backend, cross_entropy)
}

struct CrossEntropy<'a, T> {
    logits: Matrix<'a, T>,
    labels: &'a [usize],
    smoothing: T,
    gradient: MatrixMut<'a, T>,
}

impl<T: Scalar> Operation<T> for CrossEntropy<'_, T> {
    type Output = T;

    #[inline(always)]
    fn run<L: Lanes<T>>(mut self, lanes: L) -> T {
        let (samples, classes) = (self.logits.rows(), self.logits.cols());
        let out = self.gradient.start();
        let share = T::ONE / T::from_f64(samples as f64);
        let double = share + share;
        let floor = self.smoothing / T::from_f64(classes as f64);
        let mut total = T::ZERO;
        let mut first = 0;
        while first < samples {
            let count = L::WIDTH.min(samples - first);
            let partial = (count < L::WIDTH).then_some(count);
            let logit = |class: usize| {
                // SAFETY: an existing class, and `count` samples from `first` on.
                unsafe { load(lanes, self.logits.start().add(class * self.logits.stride() + first), partial) }
            };
            // Half of a difference is finite even where the difference is not.
            let half = lanes.splat(T::from_f64(0.5));
            let half_of = |a, b| lanes.sub(lanes.mul(a, half), lanes.mul(b, half));
            let mut largest = logit(0);
            for class in 1..classes {
                largest = lanes.max(logit(class), largest);
            }
            let mut sum = lanes.splat(T::ZERO);
            // Half the sum of floor * (largest - logit) over the classes: what label smoothing adds to the loss. The share of a sample
            // may be finite where its loss is not; half of that always is.
            let mut below = lanes.splat(T::ZERO);
            for class in 0..classes {
                let shifted = lanes.sub(logit(class), largest);
                let e = T::exp(lanes, shifted);
                sum = lanes.add(sum, e);
                below = lanes.mul_add(half_of(logit(class), largest), lanes.splat(-floor), below);
                // SAFETY: the gradient has the shape of the logits.
                unsafe { store(lanes, out.add(class * self.gradient.stride() + first), e, partial) };
            }
            let inverse = lanes.div(lanes.splat(share), sum);
            for class in 0..classes {
                // SAFETY: as above.
                unsafe {
                    let at = out.add(class * self.gradient.stride() + first);
                    let p = lanes.mul(load(lanes, at, partial), inverse);
                    store(lanes, at, lanes.sub(p, lanes.splat(floor * share)), partial);
                }
            }
            let mut sums = [T::ONE; crate::simd::MAX_WIDTH];
            let mut tops = sums;
            let mut belows = sums;
            // SAFETY: the arrays hold MAX_WIDTH >= WIDTH scalars.
            unsafe {
                lanes.store(sums.as_mut_ptr(), sum);
                lanes.store(tops.as_mut_ptr(), largest);
                lanes.store(belows.as_mut_ptr(), below);
            }
            let each = sums.iter().zip(tops).zip(belows).zip(self.labels.iter().skip(first));
            for (lane, (((sum, top), below), &label)) in each.enumerate().take(count) {
                // SAFETY: the label is below the number of classes and the lane below `count`.
                unsafe {
                    let at = first + lane;
                    let picked = *self.logits.start().add(label * self.logits.stride() + at);
                    let weight = T::ONE - self.smoothing;
                    let half = T::from_f64(0.5);
                    let missed = weight * (top * half - picked * half);
                    total += double * (sum.ln() * half + missed + below);
                    let slot = out.add(label * self.gradient.stride() + at);
                    *slot = *slot - weight * share;
                }
            }
            first += count;
        }
        total
    }
}
