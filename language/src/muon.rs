//! Muon: a step of a matrix is its momentum with singular values brought near 1 (Jordan et al., "Muon: An optimizer for hidden layers in neural
//! networks", 2024), of a length as a step of AdamW has (Liu et al., "Muon is scalable for LLM training", 2025).

use crate::Config;
use attractor::kernel::{
    Factors, Identity, Matrix, MatrixMut, ShapeError, Start, multiply, multiply_room, sum_of_squares,
};
use attractor::simd::Backend;
use core::ops::Range;

/// What is left of the momentum after a step.
const MOMENTUM: f32 = 0.95;
/// Polynomials a x + b x^3 + c x^5 that take singular values from 0.01 to 1, one after another, to between 0.73 and 1.27: each the best there is for what
/// the one before leaves (Amsel et al., "The Polar Express", 2025).
const POLYNOMIALS: [[f32; 3]; 3] =
    [[8.09337, -23.62043, 17.44615], [3.63659, -2.72193, 0.53655], [2.6613, -1.97715, 0.45262]];
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
    /// Two of a part's size, four squares.
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
            let room = vec![0.0; 2 * rows * inputs + 4 * small * small];
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
        let (from, rest) = room.split_at_mut(size);
        let (to, squares) = rest.split_at_mut(size);
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
            let result =
                orthogonal(Products { backend, packed }, [rows, inputs], (&mut *from, &mut *to), squares)?;
            let length = LENGTH * (rows.max(inputs) as f32).sqrt();
            for (column, result) in result.chunks_exact(rows).enumerate() {
                let parameters = parameters.get_mut(columns(column)).unwrap_or_default();
                for (p, x) in parameters.iter_mut().zip(result) {
                    *p -= step.rate * (step.decay * *p + length * *x);
                }
            }
        }
        Ok(())
    }
}

/// Products, and the room in which their operands are packed.
struct Products<'a> {
    backend: Backend,
    packed: &'a mut [f32],
}

impl Products<'_> {
    fn write(&mut self, of: Factors<'_, f32>, to: &mut [f32], rows: usize) -> Result<(), ShapeError> {
        let out = MatrixMut::new(to, rows, to.len() / rows)?;
        multiply::<_, Identity>(self.backend, of, 1.0, Start::Zero, self.packed, out)
    }
    /// Of two square matrices of so many rows.
    fn square(&mut self, a: &[f32], b: &[f32], to: &mut [f32], rows: usize) -> Result<(), ShapeError> {
        self.write(Factors::Plain(Matrix::new(a, rows, rows)?, Matrix::new(b, rows, rows)?), to, rows)
    }
    /// a + b G + c G^2.
    fn polynomial(
        &mut self,
        [a, b, c]: [f32; 3],
        gram: &[f32],
        to: &mut [f32],
        rows: usize,
    ) -> Result<(), ShapeError> {
        to.iter_mut().zip(gram).for_each(|(to, from)| *to = b * *from);
        to.iter_mut().step_by(rows + 1).for_each(|diagonal| *diagonal += a);
        let gram = Matrix::new(gram, rows, rows)?;
        let out = MatrixMut::new(to, rows, rows)?;
        multiply::<_, Identity>(self.backend, Factors::Plain(gram, gram), c, Start::Output, self.packed, out)
    }
}

/// The matrix in the first room, of no singular value above 1, with the polynomials taken of its singular values; it comes to lie in one of the two.
fn orthogonal<'r>(
    mut products: Products<'_>,
    [rows, columns]: [usize; 2],
    (mut from, mut to): (&'r mut [f32], &'r mut [f32]),
    squares: &mut [f32],
) -> Result<&'r [f32], ShapeError> {
    let (small, wide) = (rows.min(columns), rows <= columns);
    let mut parts = squares.chunks_exact_mut(small * small);
    let [gram, polynomial, mut all, mut other] = [(); 4].map(|()| parts.next().unwrap_or_default());
    fn gram_of(wide: bool, x: Matrix<'_, f32>) -> Factors<'_, f32> {
        if wide { Factors::TransposedRight(x, x) } else { Factors::TransposedLeft(x, x) }
    }
    fn times<'m>(wide: bool, p: Matrix<'m, f32>, x: Matrix<'m, f32>) -> Factors<'m, f32> {
        if wide { Factors::Plain(p, x) } else { Factors::Plain(x, p) }
    }
    if rows.max(columns) < 2 * small {
        for coefficients in POLYNOMIALS {
            let x = Matrix::new(from, rows, columns)?;
            products.write(gram_of(wide, x), gram, small)?;
            products.polynomial(coefficients, gram, polynomial, small)?;
            products.write(times(wide, Matrix::new(polynomial, small, small)?, x), to, rows)?;
            core::mem::swap(&mut from, &mut to);
        }
        return Ok(from);
    }
    // Of a long matrix the polynomials, which are all of its square, are multiplied first.
    let x = Matrix::new(from, rows, columns)?;
    products.write(gram_of(wide, x), gram, small)?;
    for (number, coefficients) in POLYNOMIALS.into_iter().enumerate() {
        products.polynomial(coefficients, gram, polynomial, small)?;
        if number == 0 {
            all.copy_from_slice(polynomial);
        } else {
            products.square(polynomial, all, other, small)?;
            core::mem::swap(&mut all, &mut other);
        }
        if number + 1 < POLYNOMIALS.len() {
            products.square(polynomial, gram, other, small)?;
            products.square(other, polynomial, gram, small)?;
        }
    }
    products.write(times(wide, Matrix::new(all, small, small)?, x), to, rows)?;
    Ok(to)
}
