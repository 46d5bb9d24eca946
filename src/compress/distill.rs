//! A loss that trains a network on the outputs of another.

use crate::kernel::{Matrix, Scalar};
use crate::learn::{Loss, LossError};
use crate::network::Samples;
use crate::solve::{Rule, Setting};
use nalgebra::SMatrix;

/// Distillation (Hinton, Vinyals, Dean 2015): `1 - weight` of the cross-entropy of the outputs with labels, and `weight` of t^2 times the
/// Kullback-Leibler divergence of softmax(outputs / t) from softmax(teacher's outputs / t), t the `temperature`; mean over the samples.
///
/// The target is a pair: labels, one class a sample, and the linear outputs of the teacher for the same samples. t^2 keeps the gradient of
/// the second part as large as that of the first, whatever the temperature. Stable for logits of any finite size; computed in `f64`.
///
/// ```
/// use attractor::compress::Distill;
/// use attractor::learn::Objective;
/// use attractor::{Workspace, fnn};
/// type Student = fnn![2, 4, 3];
/// let (student, mut gradient) = (Student::ZERO, Student::ZERO);
/// let objective = Objective::new(Distill { temperature: 4.0, weight: 0.75 });
/// let target = ([2], [0.5, -1.0, 3.0]); // the label, and the teacher's outputs
/// let mut workspace = Workspace::<Student>::ZERO;
/// student.gradient(&objective, &[0.5, -0.5], &target, &mut workspace, &mut gradient)?;
/// assert!(gradient.layer::<2>().b[2] < 0.0); // more of the third class, please
/// # Ok::<(), attractor::learn::LearnError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distill<T = f32> {
    /// How soft the outputs are made that are compared: 1/1024 to 1024; 2 to 8 are usual.
    pub temperature: T,
    /// How much of the loss is the teacher's, 0 to 1.
    pub weight: T,
}

impl<T, X, const B: usize, const N: usize> Loss<SMatrix<T, B, N>, ([usize; B], X)> for Distill<T>
where
    T: Scalar,
    X: Samples<T, N, B>,
{
    type Scalar = T;

    /// # Errors
    /// [`LossError::Label`] for a label that names no class, [`LossError::Setting`] for a temperature or a weight out of its range,
    /// [`LossError::Target`] for a teacher whose outputs are not finite.
    fn evaluate(
        &self,
        output: &SMatrix<T, B, N>,
        (labels, teacher): &([usize; B], X),
        gradient: &mut SMatrix<T, B, N>,
    ) -> Result<T, LossError> {
        let (t, weight) = (self.temperature.to_f64(), self.weight.to_f64());
        if !(1.0 / 1024.0..=1024.0).contains(&t) {
            const RULE: &Rule = &Rule { name: "Distill::temperature", range: "1/1024 to 1024" };
            return Err(Setting { rule: RULE, value: self.temperature }.into());
        }
        if !(0.0..=1.0).contains(&weight) {
            const RULE: &Rule = &Rule { name: "Distill::weight", range: "0 to 1" };
            return Err(Setting { rule: RULE, value: self.weight }.into());
        }
        if let Some(&found) = labels.iter().find(|label| **label >= N) {
            return Err(LossError::Label { classes: N, found });
        }
        let teacher: Matrix<'_, T> = teacher.samples();
        let taught = |sample, class| teacher.at(sample, class).map_or(f64::NAN, |value| value.to_f64());
        if !(0..B).all(|sample| (0..N).all(|class| taught(sample, class).is_finite())) {
            return Err(LossError::Target("the outputs of the teacher are not finite"));
        }
        let mut total = 0.0;
        for (sample, &label) in labels.iter().enumerate() {
            let said = |class: usize| output[(sample, class)].to_f64();
            let hard = LogSoftmax::new(N, 1.0, said);
            let own = LogSoftmax::new(N, t, said);
            let others = LogSoftmax::new(N, t, |class| taught(sample, class));
            total -= (1.0 - weight) * hard.of(said(label));
            for class in 0..N {
                let (own, others) = (own.of(said(class)), others.of(taught(sample, class)));
                let (p, q) = (libm::exp(own), libm::exp(others));
                total += weight * t * t * q * (others - own);
                let wrong = libm::exp(hard.of(said(class))) - if class == label { 1.0 } else { 0.0 };
                let slope = (1.0 - weight) * wrong + weight * t * (p - q);
                gradient[(sample, class)] = T::from_f64(slope / B as f64);
            }
        }
        Ok(T::from_f64(total / B as f64))
    }
}

/// The logarithm of a softmax at a temperature.
struct LogSoftmax {
    temperature: f64,
    largest: f64,
    /// Of the sum of all exponentials, relative to the largest.
    log_sum: f64,
}

impl LogSoftmax {
    fn new(classes: usize, temperature: f64, logit: impl Fn(usize) -> f64) -> Self {
        let largest = (0..classes).fold(f64::NEG_INFINITY, |most, class| most.max(logit(class)));
        let mut softmax = Self { temperature, largest, log_sum: 0.0 };
        softmax.log_sum = libm::log((0..classes).map(|class| libm::exp(softmax.of(logit(class)))).sum());
        softmax
    }
    /// Finite also where the difference is not: then the largest finite number.
    fn of(&self, logit: f64) -> f64 {
        ((logit - self.largest) / self.temperature - self.log_sum).max(-f64::MAX)
    }
}
