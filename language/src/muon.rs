//! Muon: a step of a matrix is its momentum with all singular values brought near 1 (Jordan et al., "Muon: An optimizer for hidden layers in neural
//! networks", 2024), of a length as a step of AdamW has (Liu et al., "Muon is scalable for LLM training", 2025).

use crate::Config;
use attractor::kernel::{
    Factors, Identity, Matrix, MatrixMut, ShapeError, Start, multiply, multiply_room, sum_of_squares,
};
use attractor::simd::Backend;
use core::ops::Range;

/// What is left of the momentum after a step.
const MOMENTUM: f32 = 0.95;
/// Iterations of the polynomial, and its coefficients: a x + b x^3 + c x^5 takes singular values from 0.01 on to between 0.7 and 1.2.
const ITERATIONS: usize = 5;
const POLYNOMIAL: [f32; 3] = [3.4445, -4.775, 2.0315];
/// Root mean square of the entries of a step of AdamW, about.
const LENGTH: f32 = 0.2;

/// A matrix of the blocks or of the feedback, and the room of its step.
#[derive(Debug)]
pub(crate) struct Hidden {
    pub(crate) place: Range<usize>,
    inputs: usize,
    outputs: usize,
    /// Queries, keys and values are three matrices side by side.
    parts: usize,
    /// Two of a part's size, two squares.
    room: Vec<f32>,
    packed: Vec<f32>,
}

/// The matrices of a model that lie in a range.
pub(crate) fn hidden(config: &Config, range: &Range<usize>) -> Vec<Hidden> {
    let mut all = Vec::new();
    let embeddings = config.wpe().end;
    config.tensors(|name, shape, place| {
        if let (&[inputs, outputs], true) = (shape, place.start >= embeddings)
            && range.start <= place.start
            && place.end <= range.end
        {
            let parts = if name.to_string().contains("c_attn") { 3 } else { 1 };
            let (rows, small) = (outputs / parts, inputs.min(outputs / parts));
            let room = vec![0.0; 2 * rows * inputs + 2 * small * small];
            let most = rows.max(inputs);
            let packed = vec![0.0; multiply_room(most, most, most)];
            all.push(Hidden { place, inputs, outputs, parts, room, packed });
        }
    });
    all
}

/// What all steps have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MuonStep {
    pub(crate) rate: f32,
    pub(crate) decay: f32,
    /// What a gradient is multiplied with.
    pub(crate) scale: f32,
}

impl Hidden {
    /// One step of the matrix.
    pub(crate) fn step(
        &mut self,
        backend: Backend,
        step: MuonStep,
        gradient: &[f32],
        parameters: &mut [f32],
        momentum: &mut [f32],
    ) -> Result<(), ShapeError> {
        let Self { inputs, outputs, parts, room, packed, .. } = self;
        let (inputs, outputs, rows) = (*inputs, *outputs, *outputs / *parts);
        for (m, g) in momentum.iter_mut().zip(gradient) {
            *m = MOMENTUM * *m + step.scale * *g;
        }
        let size = rows * inputs;
        let (mut from, rest) = room.split_at_mut(size);
        let (mut to, squares) = rest.split_at_mut(size);
        let (square, polynomial) = squares.split_at_mut(squares.len() / 2);
        for part in 0..*parts {
            let columns =
                |column: usize| column * outputs + part * rows..column * outputs + (part + 1) * rows;
            for (column, to) in from.chunks_exact_mut(rows).enumerate() {
                let momentum = momentum.get(columns(column)).unwrap_or_default();
                let gradient = gradient.get(columns(column)).unwrap_or_default();
                for ((to, m), g) in to.iter_mut().zip(momentum).zip(gradient) {
                    *to = MOMENTUM * *m + step.scale * *g;
                }
            }
            let norm = sum_of_squares(backend, from).sqrt();
            // No momentum, no step.
            let factor = if norm > 0.0 { 1.0 / norm } else { 0.0 };
            from.iter_mut().for_each(|x| *x *= factor);
            for _ in 0..ITERATIONS {
                let [a, b, c] = POLYNOMIAL;
                let x = Matrix::new(from, rows, inputs)?;
                let (small, of) = if rows <= inputs {
                    (rows, Factors::TransposedRight(x, x))
                } else {
                    (inputs, Factors::TransposedLeft(x, x))
                };
                let out = MatrixMut::new(square, small, small)?;
                multiply::<_, Identity>(backend, of, 1.0, Start::Zero, packed, out)?;
                for (to, from) in polynomial.iter_mut().zip(&*square) {
                    *to = b * *from;
                }
                polynomial.iter_mut().step_by(small + 1).for_each(|diagonal| *diagonal += a);
                let s = Matrix::new(square, small, small)?;
                let out = MatrixMut::new(polynomial, small, small)?;
                multiply::<_, Identity>(backend, Factors::Plain(s, s), c, Start::Output, packed, out)?;
                let p = Matrix::new(polynomial, small, small)?;
                let of = if rows <= inputs { Factors::Plain(p, x) } else { Factors::Plain(x, p) };
                let out = MatrixMut::new(to, rows, inputs)?;
                multiply::<_, Identity>(backend, of, 1.0, Start::Zero, packed, out)?;
                core::mem::swap(&mut from, &mut to);
            }
            let length = LENGTH * (rows.max(inputs) as f32).sqrt();
            for (column, from) in from.chunks_exact(rows).enumerate() {
                let parameters = parameters.get_mut(columns(column)).unwrap_or_default();
                for (p, x) in parameters.iter_mut().zip(from) {
                    *p -= step.rate * (step.decay * *p + length * *x);
                }
            }
        }
        Ok(())
    }
}
