//! Any shapes and values: every backend agrees with plain `f64` loops, within what rounding allows, and shapes that
//! do not fit are refused with nothing changed.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use attractor::kernel::{
    self, Activation, Base, HardTanh, Identity, LeakyRelu, Matrix, MatrixMut, Product, Relu, Sigmoid, Tanh,
};
use attractor::simd::Backend;
use libfuzzer_sys::fuzz_target;

/// Values whose products and sums stay finite, and now and then one of any bits.
fn numbers(u: &mut Unstructured<'_>, count: usize, wild: bool) -> Result<Vec<f32>> {
    // A short pattern goes a long way: shapes matter more than digits.
    let mut pattern = Vec::new();
    for _ in 0..u.int_in_range(1..=11)? {
        pattern.push(if wild && u.ratio(1, 8)? {
            f32::from_bits(u.arbitrary()?)
        } else {
            f32::from(i16::arbitrary(u)?) / 8192.0
        });
    }
    Ok((0..count).map(|i| pattern[i % pattern.len()]).collect())
}

/// |found - wanted| within `size` times what sums of `terms` products in `f32` may lose.
#[track_caller]
fn close(what: &str, backend: Backend, found: f32, wanted: f64, size: f64, terms: usize) {
    let bound = size * (terms + 2) as f64 * 1.2e-7 + 5.5e-7;
    let error = (f64::from(found) - wanted).abs();
    if wanted.is_finite() && size < 1e38 {
        assert!(
            error <= bound,
            "{what} on {}: {found:e}, not {wanted:e} ({error:e} > {bound:e})",
            backend.name()
        );
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

fn layer<A: Activation>(u: &mut Unstructured<'_>, exact: fn(f64) -> f64) -> Result<()> {
    let wild = u.ratio(1, 4)?;
    let samples = u.int_in_range(1..=40)?;
    let units = u.int_in_range(1..=70)?;
    let widths = [u.int_in_range(0..=40)?, u.int_in_range(0..=9)?];
    let transposed: bool = u.arbitrary()?;
    let mut weights = Vec::new();
    let mut operands = Vec::new();
    for width in widths {
        weights.push(numbers(u, units * width, wild)?);
        operands.push(numbers(u, samples * width, wild)?);
    }
    let bias = numbers(u, units, wild)?;
    let before = numbers(u, samples * units, wild)?;
    let full: Vec<f32> = (0..samples * units).map(|i| bias[i / samples]).collect();
    let which = u.choose_index(3)?;
    for backend in Backend::available() {
        let mut after = before.clone();
        let base = match which {
            0 => Base::Zero,
            1 => Base::Bias(&bias),
            _ => Base::Matrix(Matrix::new(&full, samples, units).unwrap()),
        };
        let products = [0, 1].map(|p| {
            let (rows, cols) = if transposed { (widths[p], units) } else { (units, widths[p]) };
            Product {
                matrix: Matrix::new(&weights[p], rows, cols).unwrap(),
                operand: Matrix::new(&operands[p], samples, widths[p]).unwrap(),
            }
        });
        let out = MatrixMut::new(&mut after, samples, units).unwrap();
        let changed = if transposed {
            kernel::transposed(backend, base, &products, out)
        } else {
            kernel::layer::<_, A>(backend, base, &products, out)
        }
        .unwrap();
        let mut largest = 0.0_f32;
        let mut finite = true;
        for unit in 0..units {
            for sample in 0..samples {
                let mut z = if which == 0 { 0.0 } else { f64::from(bias[unit]) };
                let mut size = z.abs();
                for p in [0, 1] {
                    for j in 0..widths[p] {
                        let at = if transposed { unit * widths[p] + j } else { j * units + unit };
                        let term = f64::from(weights[p][at]) * f64::from(operands[p][j * samples + sample]);
                        z += term;
                        size += term.abs();
                    }
                }
                let at = unit * samples + sample;
                finite &= z.is_finite() && size < 3e38;
                let wanted = if transposed { z } else { exact(z) };
                close("layer", backend, after[at], wanted, size, widths[0] + widths[1]);
                let change = (after[at] - before[at]).abs();
                largest = if change > largest { change } else { largest };
            }
        }
        if finite && before.iter().all(|x| x.is_finite()) {
            assert_eq!(changed.residual, largest, "the residual is the largest change");
        } else if after.iter().any(|x| x.is_nan()) {
            assert!(changed.residual.is_nan());
        }
        // One unit too many.
        let mut odd = numbers(&mut Unstructured::new(&[]), samples * (units + 1), false).unwrap_or_default();
        let untouched = bits(&odd);
        if let Ok(out) = MatrixMut::new(&mut odd, samples, units + 1) {
            let result = kernel::layer::<_, A>(backend, Base::Bias(&bias), &products, out);
            assert!(result.is_err());
            assert_eq!(bits(&odd), untouched, "nothing is changed by an error");
        }
    }
    Ok(())
}

fn outer(u: &mut Unstructured<'_>) -> Result<()> {
    let samples = u.int_in_range(0..=70)?;
    let (rows, cols) = (u.int_in_range(0..=70)?, u.int_in_range(0..=20)?);
    let deltas = numbers(u, samples * rows, false)?;
    let inputs = numbers(u, samples * cols, false)?;
    let before = numbers(u, rows * cols, false)?;
    for backend in Backend::available() {
        let mut after = before.clone();
        let result = kernel::outer(
            backend,
            Matrix::new(&deltas, samples, rows).unwrap(),
            Matrix::new(&inputs, samples, cols).unwrap(),
            MatrixMut::new(&mut after, rows, cols).unwrap(),
        );
        assert!(result.is_ok());
        for row in 0..rows {
            for col in 0..cols {
                let mut wanted = f64::from(before[col * rows + row]);
                let mut size = wanted.abs();
                for sample in 0..samples {
                    let term =
                        f64::from(deltas[row * samples + sample]) * f64::from(inputs[col * samples + sample]);
                    wanted += term;
                    size += term.abs();
                }
                close("outer", backend, after[col * rows + row], wanted, size, samples);
            }
        }
    }
    Ok(())
}

fn activate<A: Activation>(u: &mut Unstructured<'_>, exact: fn(f64) -> f64) -> Result<()> {
    let values: Vec<f32> = Vec::<u32>::arbitrary(u)?.into_iter().map(f32::from_bits).collect();
    for backend in Backend::available() {
        let mut after = values.clone();
        kernel::activate::<_, A>(backend, &mut after);
        for (x, y) in values.iter().zip(&after) {
            if x.is_nan() {
                assert!(y.is_nan(), "NaN stays NaN");
            } else {
                let wanted = exact(f64::from(*x));
                let error = (f64::from(*y) - wanted).abs();
                assert!(f64::from(*y) == wanted || error <= 5e-7, "{x:e} gives {y:e}, not {wanted:e}");
            }
        }
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
    let relu = |z: f64| z.max(0.0);
    let hard = |z: f64| z.clamp(-1.0, 1.0);
    let leaky = |z: f64| z.max(z / 128.0);
    let _ = match u.int_in_range(0..=9).unwrap_or(0) {
        0 => layer::<Tanh>(&mut u, f64::tanh),
        1 => layer::<Sigmoid>(&mut u, sigmoid),
        2 => layer::<Relu>(&mut u, relu),
        3 => layer::<HardTanh>(&mut u, hard),
        4 => layer::<Identity>(&mut u, |z| z),
        5 => activate::<Tanh>(&mut u, f64::tanh),
        6 => activate::<Sigmoid>(&mut u, sigmoid),
        7 => activate::<HardTanh>(&mut u, hard),
        8 => layer::<LeakyRelu>(&mut u, leaky),
        _ => outer(&mut u),
    };
});
