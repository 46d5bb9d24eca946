//! The network: z = relu(W z + U x + b), outputs V z + c, with W = (1 - m) I - A^T A + B - B^T, so that I - W is monotone: there is one fixed point,
//! whatever A, B and U are.

use crate::data::{BATCH, CLASSES, PIXELS};
use attractor::solve::{Map, Transposed};
use nalgebra::SMatrix;
use rand::{RngExt, rngs::SmallRng};

pub(crate) const UNITS: usize = 48;
/// How monotone I - W is: m.
const MARGIN: f64 = 0.5;

pub(crate) type Inputs = SMatrix<f64, BATCH, PIXELS>;
pub(crate) type Answers = SMatrix<f64, BATCH, CLASSES>;
/// A row a sample, as a solver has its states: the samples of a unit side by side.
type States = SMatrix<f64, BATCH, UNITS>;
type Square = SMatrix<f64, UNITS, UNITS>;

/// The parameters, or a gradient of them.
#[derive(Clone)]
pub(crate) struct Monotone {
    a: Square,
    b: Square,
    /// Transposed: a row a sender.
    u: SMatrix<f64, PIXELS, UNITS>,
    bias: SMatrix<f64, 1, UNITS>,
    /// Transposed too.
    pub(crate) v: SMatrix<f64, UNITS, CLASSES>,
    c: SMatrix<f64, 1, CLASSES>,
}

impl Monotone {
    pub(crate) fn random(random: &mut SmallRng) -> Self {
        let mut network = Self::zeroed();
        let sizes = [UNITS, UNITS, PIXELS, usize::MAX, UNITS, usize::MAX];
        for (part, senders) in network.parts_mut().into_iter().zip(sizes) {
            let most = (3.0 / senders as f64).sqrt();
            part.iter_mut().for_each(|weight| *weight = random.random_range(-most..=most));
        }
        network
    }

    pub(crate) fn zeroed() -> Self {
        Self {
            a: SMatrix::zeros(),
            b: SMatrix::zeros(),
            u: SMatrix::zeros(),
            bias: SMatrix::zeros(),
            v: SMatrix::zeros(),
            c: SMatrix::zeros(),
        }
    }

    fn parts(&self) -> [&[f64]; 6] {
        let Self { a, b, u, bias, v, c } = self;
        [a.as_slice(), b.as_slice(), u.as_slice(), bias.as_slice(), v.as_slice(), c.as_slice()]
    }

    fn parts_mut(&mut self) -> [&mut [f64]; 6] {
        let Self { a, b, u, bias, v, c } = self;
        [
            a.as_mut_slice(),
            b.as_mut_slice(),
            u.as_mut_slice(),
            bias.as_mut_slice(),
            v.as_mut_slice(),
            c.as_mut_slice(),
        ]
    }

    /// All parameters.
    pub(crate) fn entries(&self) -> impl Iterator<Item = f64> {
        self.parts().into_iter().flatten().copied()
    }

    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        self.parts_mut().into_iter().flatten()
    }

    /// A step of Adam (Kingma and Ba 2015); `moments`: of the gradients so far.
    pub(crate) fn adam(&mut self, gradient: &Self, [first, second]: &mut [Self; 2], step: i32, rate: f64) {
        let [fade, other] = [1.0 - 0.9_f64.powi(step), 1.0 - 0.999_f64.powi(step)];
        let moments = first.entries_mut().zip(second.entries_mut());
        for ((weight, g), (first, second)) in self.entries_mut().zip(gradient.entries()).zip(moments) {
            *first += 0.1 * (g - *first);
            *second += 0.001 * (g * g - *second);
            *weight -= rate * (*first / fade) / ((*second / other).sqrt() + 1e-8);
        }
    }

    /// W, transposed.
    fn w(&self) -> Square {
        Square::identity() * (1.0 - MARGIN) - self.a.transpose() * self.a + self.b.transpose() - self.b
    }

    /// The outputs at these states.
    pub(crate) fn answers(&self, states: &[f64]) -> Answers {
        let mut answers = States::from_column_slice(states) * self.v;
        answers.row_iter_mut().for_each(|mut row| row += self.c);
        answers
    }

    /// The map of a batch that goes `part` of the way of a plain sweep before the activation: z = relu((1 - a) z + a (W z + U x + b)). It has the fixed point of
    /// the plain one, and is forward-backward splitting: it converges for every a that is small enough.
    pub(crate) fn sweep(&self, input: &Inputs, part: f64) -> Sweep<'_> {
        let mut constant = input * self.u;
        constant.row_iter_mut().for_each(|mut row| row += self.bias);
        Sweep { network: self, w: self.w(), input: *input, constant, part }
    }
}

/// A sweep of a batch.
pub(crate) struct Sweep<'a> {
    network: &'a Monotone,
    w: Square,
    input: Inputs,
    /// U x + b.
    constant: States,
    part: f64,
}

impl Sweep<'_> {
    /// What goes into the activation.
    fn sums(&self, states: &States) -> States {
        states * (1.0 - self.part) + (states * self.w + self.constant) * self.part
    }

    /// The gradient of a loss, from the deltas at these states and the slope for the outputs.
    pub(crate) fn gradient(&self, states: &[f64], deltas: &[f64], sent: &Answers) -> Monotone {
        let states = States::from_column_slice(states);
        let sums = self.sums(&states);
        let own = States::from_column_slice(deltas)
            .zip_map(&sums, |d, z| if z > 0.0 { self.part * d } else { 0.0 });
        // dJ/dW, transposed as W is.
        let w = states.transpose() * own;
        let Monotone { a, .. } = self.network;
        Monotone {
            a: -(a * (w + w.transpose())),
            b: w.transpose() - w,
            u: self.input.transpose() * own,
            bias: own.row_sum(),
            v: states.transpose() * sent,
            c: sent.row_sum(),
        }
    }
}

impl Map for Sweep<'_> {
    type Scalar = f64;
    fn units(&self) -> usize {
        UNITS
    }
    fn samples(&self) -> usize {
        BATCH
    }
    fn apply(&self, state: &[f64], next: &mut [f64]) {
        let sums = self.sums(&States::from_column_slice(state));
        next.iter_mut().zip(sums.iter()).for_each(|(next, z)| *next = z.max(0.0));
    }
}

impl Transposed for Sweep<'_> {
    fn apply_transposed(&self, state: &[f64], deltas: &[f64], next: &mut [f64]) {
        let sums = self.sums(&States::from_column_slice(state));
        let own = States::from_column_slice(deltas).zip_map(&sums, |d, z| if z > 0.0 { d } else { 0.0 });
        let sent = own * (1.0 - self.part) + own * self.w.transpose() * self.part;
        next.copy_from_slice(sent.as_slice());
    }
}
