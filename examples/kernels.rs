//! The kernels without a network: an associative memory and a spectral norm, on every backend here.
//!
//! `cargo run --release --example kernels`

#[macro_use]
#[path = "shared/output.rs"]
#[allow(dead_code, unused_macros, reason = "not all of it is needed here")]
mod output;

use attractor::kernel::{self, Base, Identity, Matrix, Product, ShapeError, Tanh};
use attractor::simd::Backend;
use nalgebra::SMatrix;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

const UNITS: usize = 100;
const PATTERNS: usize = 5;

/// A batch of patterns of -1 and 1, a row a pattern.
type Patterns = SMatrix<f32, PATTERNS, UNITS>;

fn main() -> Result<(), ShapeError> {
    let mut random = SmallRng::seed_from_u64(1);
    let stored = Patterns::from_fn(|_, _| if random.random() { 1.0 } else { -1.0 });
    let damaged = stored.map(|value| if random.random_bool(0.2) { -value } else { value });
    println!("units flipped: {} of {}", wrong(&damaged, &stored), stored.len());

    for backend in Backend::available() {
        let weights = memorise(backend, &stored)?;
        let (recalled, passes) = recall(backend, &weights, &damaged)?;
        println!("{}: units wrong after {passes} passes: {}", backend.name(), wrong(&recalled, &stored));
        println!("{}: norm of the weights: {:.5}", backend.name(), spectral_norm(backend, &weights)?);
    }
    Ok(())
}

/// Adds every pattern's outer product with itself: Hebb's rule, as in Hopfield 1982. No unit reads itself.
fn memorise(backend: Backend, patterns: &Patterns) -> Result<SMatrix<f32, UNITS, UNITS>, ShapeError> {
    let mut weights = SMatrix::<f32, UNITS, UNITS>::zeros();
    kernel::outer(backend, patterns.into(), patterns.into(), (&mut weights).into())?;
    weights.fill_diagonal(0.0);
    Ok(weights / UNITS as f32)
}

/// h <- tanh(4 W h) for all patterns at once, until no unit changes any more; and how often that took.
fn recall(
    backend: Backend,
    weights: &SMatrix<f32, UNITS, UNITS>,
    start: &Patterns,
) -> Result<(Patterns, usize), ShapeError> {
    let gain = weights * 4.0;
    let (mut now, mut next) = (*start, *start);
    for pass in 1..=50 {
        let product = Product { matrix: (&gain).into(), operand: (&now).into() };
        let changed = kernel::layer::<_, Tanh>(backend, Base::Zero, &[product], (&mut next).into())?;
        now = next;
        if changed.residual < 1e-5 {
            return Ok((now, pass));
        }
    }
    Ok((now, 50))
}

/// The largest singular value, by power iteration on M^T M: M and its transpose in turn.
fn spectral_norm(backend: Backend, matrix: &SMatrix<f32, UNITS, UNITS>) -> Result<f32, ShapeError> {
    let (mut vector, mut image) = ([1.0; UNITS], [0.0; UNITS]);
    let mut norm = 0.0;
    for _ in 0..200 {
        // One sample of UNITS values: a slice is enough.
        let forth = Product { matrix: matrix.into(), operand: Matrix::new(&vector, 1, UNITS)? };
        kernel::layer::<_, Identity>(backend, Base::Zero, &[forth], row(&mut image)?)?;
        let back = Product { matrix: matrix.into(), operand: Matrix::new(&image, 1, UNITS)? };
        kernel::transposed(backend, Base::Zero, &[back], row(&mut vector)?)?;
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|x| *x /= length);
        norm = length.sqrt();
    }
    Ok(norm)
}

fn row(values: &mut [f32]) -> Result<kernel::MatrixMut<'_, f32>, ShapeError> {
    let count = values.len();
    kernel::MatrixMut::new(values, 1, count)
}

/// How many units have another sign.
fn wrong(patterns: &Patterns, stored: &Patterns) -> usize {
    patterns.iter().zip(stored).filter(|(a, b)| (**a > 0.0) != (**b > 0.0)).count()
}
