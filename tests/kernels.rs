//! The public kernels on every backend against naive loops in `f64`, and against each other.

mod oracle;

use attractor::kernel::{
    self, Activation, Base, HardTanh, Identity, LeakyRelu, Matrix, MatrixMut, Product, Relu, Scalar,
    ShapeError, Sigmoid, Tanh,
};
use attractor::simd::Backend;
use oracle::subject;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Widths that meet every tail of every backend.
const WIDTHS: [usize; 25] =
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 70];
const SAMPLES: [usize; 5] = [1, 3, 8, 16, 17];
const ALL: [&[usize]; 3] = [&SAMPLES, &WIDTHS, &WIDTHS];

trait Precise: Scalar {
    const EPSILON: f64;
    /// The largest error of an activation.
    const ACTIVATION: f64;
}
impl Precise for f32 {
    const EPSILON: f64 = f32::EPSILON as f64;
    const ACTIVATION: f64 = 5e-7;
}
impl Precise for f64 {
    const EPSILON: f64 = f64::EPSILON;
    const ACTIVATION: f64 = 4e-16;
}

/// A column-major matrix of the scalar, and its values in `f64`; `offset` scalars stand before it, so that it
/// need not be aligned to a vector.
struct Data<T> {
    storage: Vec<T>,
    offset: usize,
    rows: usize,
    cols: usize,
}

impl<T: Precise> Data<T> {
    fn random(random: &mut SmallRng, rows: usize, cols: usize, offset: usize) -> Self {
        let storage =
            (0..offset + rows * cols).map(|_| T::from_f64(random.random_range(-1.0..1.0))).collect();
        Self { storage, offset, rows, cols }
    }
    fn copy(&self) -> Self {
        Self { storage: self.storage.clone(), ..*self }
    }
    fn slice(&self) -> &[T] {
        &self.storage[self.offset..]
    }
    fn view(&self) -> Matrix<'_, T> {
        Matrix::new(self.slice(), self.rows, self.cols).unwrap()
    }
    fn view_mut(&mut self) -> MatrixMut<'_, T> {
        MatrixMut::new(&mut self.storage[self.offset..], self.rows, self.cols).unwrap()
    }
    fn at(&self, row: usize, col: usize) -> f64 {
        self.slice()[col * self.rows + row].to_f64()
    }
}

/// Expected values with the error each may have, column-major.
struct Expected(Vec<(f64, f64)>);

impl Expected {
    fn matrix(rows: usize, cols: usize, mut entry: impl FnMut(usize, usize) -> (f64, f64)) -> Self {
        Self((0..cols).flat_map(|c| (0..rows).map(move |r| (r, c))).map(|(r, c)| entry(r, c)).collect())
    }
    fn check<T: Precise>(&self, found: &[T], what: &str) {
        assert_eq!(self.0.len(), found.len());
        for (i, ((expected, bound), found)) in self.0.iter().zip(found).enumerate() {
            let error = (found.to_f64() - expected).abs();
            assert!(
                error <= *bound,
                "{what}: entry {i} is {found:?}, expected {expected}, allowed {bound:e}"
            );
        }
    }
    /// Two backends differ by no more than both bounds together.
    fn check_pair<T: Precise>(&self, one: &[T], other: &[T], what: &str) {
        for ((_, bound), (a, b)) in self.0.iter().zip(one.iter().zip(other)) {
            assert!((a.to_f64() - b.to_f64()).abs() <= 2.0 * bound, "{what}: {a:?} and {b:?}");
        }
    }
}

/// The bound on a sum of `count` products in any order, each rounded at most twice: (count + 2) units of half an
/// epsilon, times the sum of the magnitudes; and a last rounding of the result.
fn rounding<T: Precise>(count: usize, magnitudes: f64) -> f64 {
    (count + 2) as f64 * T::EPSILON * magnitudes
}

/// Runs `kernel` on a copy of `out` for every backend and checks what it leaves there; the residual too, if any.
fn on_every_backend<T: Precise>(
    what: &str,
    out: &Data<T>,
    expected: &Expected,
    mut kernel: impl FnMut(Backend, MatrixMut<'_, T>) -> Option<T>,
) {
    let mut others: Vec<Vec<T>> = Vec::new();
    for backend in Backend::available() {
        let what = format!("{what}, {}", backend.name());
        let mut result = out.copy();
        let residual = kernel(backend, result.view_mut());
        expected.check(result.slice(), &what);
        for (before, after) in out.storage[..out.offset].iter().zip(&result.storage) {
            assert_eq!(before, after, "{what}: wrote in front of its output");
        }
        for other in &others {
            expected.check_pair(other, result.slice(), &what);
        }
        if let Some(residual) = residual {
            let changes = out.slice().iter().zip(result.slice());
            let changes = changes.map(|(old, new)| (new.to_f64() - old.to_f64()).abs());
            let largest = changes.fold(0.0, f64::max);
            assert!(
                (residual.to_f64() - largest).abs() <= T::EPSILON * largest,
                "{what}: residual {residual:?}, changed by {largest}"
            );
        }
        others.push(result.slice().to_vec());
    }
}

/// Layers of all these samples, outputs and inputs.
fn layers<T: Precise, A: Activation>(
    activation: oracle::Activation,
    [all_samples, all_outputs, all_inputs]: [&[usize]; 3],
    offset: usize,
    seed: u64,
) {
    let random = &mut SmallRng::seed_from_u64(seed);
    for &samples in all_samples {
        for (at, &outputs) in all_outputs.iter().enumerate() {
            for (j, &inputs) in all_inputs.iter().enumerate() {
                let more = WIDTHS[(at + 7 * j + samples) % WIDTHS.len()];
                let w = Data::<T>::random(random, outputs, inputs, offset);
                let u = Data::<T>::random(random, outputs, more, offset);
                let x = Data::<T>::random(random, samples, inputs, offset);
                let h = Data::<T>::random(random, samples, more, offset);
                let bias = Data::<T>::random(random, outputs, 1, offset);
                let base = Data::<T>::random(random, samples, outputs, offset);
                let out = Data::<T>::random(random, samples, outputs, offset);
                // A base of each kind, one product or two.
                let kind = (at + j) % 3;
                let two = (at + j) % 2 == 0;
                let expected = Expected::matrix(samples, outputs, |s, i| {
                    let mut terms: Vec<f64> = (0..inputs).map(|k| w.at(i, k) * x.at(s, k)).collect();
                    if two {
                        terms.extend((0..more).map(|k| u.at(i, k) * h.at(s, k)));
                    }
                    terms.push([0.0, bias.at(i, 0), base.at(s, i)][kind]);
                    let z: f64 = terms.iter().sum();
                    let error = rounding::<T>(terms.len(), terms.iter().map(|t| t.abs()).sum());
                    let exact = activation == oracle::Activation::Identity;
                    let own = if exact { 0.0 } else { T::ACTIVATION };
                    (activation.value(z), activation.steepest() * error + own)
                });
                let what = format!("layer {outputs} x {inputs} and {more}, {samples} samples, {}", A::NAME);
                on_every_backend(&what, &out, &expected, |backend, out| {
                    let base = match kind {
                        0 => Base::Zero,
                        1 => Base::Bias(bias.slice()),
                        _ => Base::Matrix(base.view()),
                    };
                    let products = [
                        Product { matrix: w.view(), operand: x.view() },
                        Product { matrix: u.view(), operand: h.view() },
                    ];
                    let products = &products[..if two { 2 } else { 1 }];
                    Some(kernel::layer::<T, A>(backend, base, products, out).unwrap().residual)
                });
                // The same matrices the other way round: what stood in the output sends back to the inputs.
                let back = Data::<T>::random(random, samples, inputs, offset);
                let v = Data::<T>::random(random, more, inputs, offset);
                let expected = Expected::matrix(samples, inputs, |s, i| {
                    let mut terms: Vec<f64> = (0..outputs).map(|k| w.at(k, i) * out.at(s, k)).collect();
                    if two {
                        terms.extend((0..more).map(|k| v.at(k, i) * h.at(s, k)));
                    }
                    terms.push([0.0, x.at(0, i), x.at(s, i)][kind]);
                    let error = rounding::<T>(terms.len(), terms.iter().map(|t| t.abs()).sum());
                    (terms.iter().sum(), error)
                });
                let first: Vec<T> = (0..inputs).map(|i| T::from_f64(x.at(0, i))).collect();
                let what = format!("transposed {outputs} x {inputs} and {more}, {samples} samples");
                on_every_backend(&what, &back, &expected, |backend, target| {
                    let base = match kind {
                        0 => Base::Zero,
                        1 => Base::Bias(&first),
                        _ => Base::Matrix(x.view()),
                    };
                    let products = [
                        Product { matrix: w.view(), operand: out.view() },
                        Product { matrix: v.view(), operand: h.view() },
                    ];
                    let products = &products[..if two { 2 } else { 1 }];
                    Some(kernel::transposed(backend, base, products, target).unwrap().residual)
                });
            }
        }
    }
}

#[test]
fn layers_of_all_widths() {
    subject::backends();
    layers::<f32, Identity>(oracle::Activation::Identity, ALL, 0, 1);
    layers::<f64, Identity>(oracle::Activation::Identity, ALL, 0, 2);
}

/// Columns that are read whole, some of them more than a kernel keeps the sums of, and each with tails of every length.
#[test]
fn wide_layers_of_one_sample() {
    subject::backends();
    let shapes: [&[usize]; 3] = [&[1], &[127, 128, 137, 200, 517, 1024, 1030, 2053], &[1, 3, 4, 5, 9, 70]];
    layers::<f32, Tanh>(oracle::Activation::Tanh, shapes, 1, 5);
    layers::<f64, Tanh>(oracle::Activation::Tanh, shapes, 1, 6);
}

#[test]
fn layers_on_unaligned_storage() {
    subject::backends();
    layers::<f32, Tanh>(oracle::Activation::Tanh, ALL, 1, 3);
    layers::<f64, Tanh>(oracle::Activation::Tanh, ALL, 1, 4);
}

#[test]
fn layers_of_other_activations() {
    subject::backends();
    layers::<f32, Sigmoid>(oracle::Activation::Sigmoid, ALL, 0, 5);
    layers::<f32, Relu>(oracle::Activation::Relu, ALL, 3, 6);
    layers::<f64, HardTanh>(oracle::Activation::HardTanh, ALL, 0, 7);
    layers::<f32, LeakyRelu>(oracle::Activation::LeakyRelu, ALL, 1, 8);
}

fn outers<T: Precise>(offset: usize, seed: u64) {
    let random = &mut SmallRng::seed_from_u64(seed);
    for samples in SAMPLES.into_iter().chain([33, 40]) {
        for outputs in WIDTHS {
            for inputs in WIDTHS {
                let d = Data::<T>::random(random, samples, outputs, offset);
                let h = Data::<T>::random(random, samples, inputs, offset);
                let gradient = Data::<T>::random(random, outputs, inputs, offset);
                let expected = Expected::matrix(outputs, inputs, |i, j| {
                    let mut terms: Vec<f64> = (0..samples).map(|s| d.at(s, i) * h.at(s, j)).collect();
                    terms.push(gradient.at(i, j));
                    let error = rounding::<T>(terms.len(), terms.iter().map(|t| t.abs()).sum());
                    (terms.iter().sum(), error)
                });
                let what = format!("outer {outputs} x {inputs}, {samples} samples");
                on_every_backend(&what, &gradient, &expected, |backend, gradient| {
                    kernel::outer(backend, d.view(), h.view(), gradient).unwrap();
                    None
                });
            }
        }
    }
}

#[test]
fn outer_products_of_all_widths() {
    subject::backends();
    outers::<f32>(0, 8);
    outers::<f64>(0, 9);
}

#[test]
fn outer_products_on_unaligned_storage() {
    subject::backends();
    outers::<f32>(1, 10);
    outers::<f64>(1, 11);
}

/// Batches longer than what the kernels take at a time.
#[test]
fn long_batches() {
    let random = &mut SmallRng::seed_from_u64(12);
    for samples in [31, 32, 33, 40, 64, 65, 100] {
        for (outputs, inputs) in [(1, 1), (1, 5), (7, 3), (17, 9)] {
            let w = Data::<f32>::random(random, outputs, inputs, 0);
            let x = Data::<f32>::random(random, samples, inputs, 0);
            let base = Data::<f32>::random(random, samples, outputs, 0);
            let out = Data::<f32>::random(random, samples, outputs, 0);
            let expected = Expected::matrix(samples, outputs, |s, i| {
                let mut terms: Vec<f64> = (0..inputs).map(|k| w.at(i, k) * x.at(s, k)).collect();
                terms.push(base.at(s, i));
                let error = rounding::<f32>(terms.len(), terms.iter().map(|t| t.abs()).sum());
                (terms.iter().sum(), error)
            });
            let what = format!("layer {outputs} x {inputs}, {samples} samples");
            on_every_backend(&what, &out, &expected, |backend, out| {
                let products = [Product { matrix: w.view(), operand: x.view() }];
                let base = Base::Matrix(base.view());
                Some(kernel::layer::<f32, Identity>(backend, base, &products, out).unwrap().residual)
            });
        }
    }
}

fn functions<T: Precise>(offset: usize) {
    let random = &mut SmallRng::seed_from_u64(13);
    for length in WIDTHS {
        let mut values = Data::<T>::random(random, length, 1, offset);
        for value in &mut values.storage {
            *value = T::from_f64(3.0 * value.to_f64());
        }
        fn check<T: Precise, A: Activation>(values: &Data<T>, activation: oracle::Activation) {
            let expected =
                Expected::matrix(values.rows, 1, |i, _| (activation.value(values.at(i, 0)), T::ACTIVATION));
            let mut others: Vec<Vec<T>> = Vec::new();
            for backend in Backend::available() {
                let what = format!("{} values, {}, {}", values.rows, A::NAME, backend.name());
                let mut result = values.copy();
                kernel::activate::<T, A>(backend, &mut result.storage[values.offset..]);
                expected.check(result.slice(), &what);
                assert_eq!(values.storage[..values.offset], result.storage[..values.offset], "{what}");
                for other in &others {
                    expected.check_pair(other, result.slice(), &what);
                }
                others.push(result.slice().to_vec());
            }
        }
        check::<T, Tanh>(&values, oracle::Activation::Tanh);
        check::<T, Sigmoid>(&values, oracle::Activation::Sigmoid);
        check::<T, Relu>(&values, oracle::Activation::Relu);
        check::<T, HardTanh>(&values, oracle::Activation::HardTanh);
        check::<T, LeakyRelu>(&values, oracle::Activation::LeakyRelu);
        check::<T, Identity>(&values, oracle::Activation::Identity);
        for value in &mut values.storage {
            *value = T::from_f64(-10.0 * value.to_f64().abs());
        }
        let expected = Expected::matrix(length, 1, |i, _| {
            let exact = values.at(i, 0).exp();
            (exact, 4.0 * T::EPSILON * exact)
        });
        for backend in Backend::available() {
            let mut result = values.copy();
            kernel::exp(backend, &mut result.storage[offset..]);
            expected.check(result.slice(), &format!("exp of {length} values, {}", backend.name()));
            assert_eq!(values.storage[..offset], result.storage[..offset]);
        }
    }
}

#[test]
fn functions_of_all_lengths() {
    subject::backends();
    for offset in [0, 1] {
        functions::<f32>(offset);
        functions::<f64>(offset);
    }
}

/// Shapes of a call of `layer`: the fitting ones first.
#[derive(Clone, Copy)]
struct Shapes {
    out: (usize, usize),
    matrix: (usize, usize),
    operand: (usize, usize),
    bias: usize,
    base: (usize, usize),
}

/// What a call on such shapes says; whatever it is, an error must leave the output alone.
fn attempt(backend: Backend, shapes: Shapes, with: &str, transposed: bool) -> Result<(), ShapeError> {
    let zeros = |(rows, cols): (usize, usize)| vec![0.5_f32; rows * cols];
    let (matrix, operand, base) = (zeros(shapes.matrix), zeros(shapes.operand), zeros(shapes.base));
    let bias = vec![0.5; shapes.bias];
    let mut out = vec![7.0_f32; shapes.out.0 * shapes.out.1];
    let view = |data, (rows, cols)| Matrix::new(data, rows, cols).unwrap();
    let products =
        [Product { matrix: view(&matrix, shapes.matrix), operand: view(&operand, shapes.operand) }];
    let base = match with {
        "zero" => Base::Zero,
        "bias" => Base::Bias(&bias),
        _ => Base::Matrix(view(&base, shapes.base)),
    };
    let target = MatrixMut::new(&mut out, shapes.out.0, shapes.out.1).unwrap();
    let result = if transposed {
        kernel::transposed(backend, base, &products, target)
    } else {
        kernel::layer::<f32, Tanh>(backend, base, &products, target)
    };
    if result.is_err() {
        assert!(out.iter().all(|value| *value == 7.0), "an error changed the output: {result:?}");
    }
    result.map(|_| ())
}

#[test]
fn wrong_shapes_are_named_and_change_nothing() {
    let named = |result: Result<(), ShapeError>, expected: usize, found: usize| {
        let error = result.expect_err("these shapes do not fit");
        assert_eq!((error.expected, error.found), (expected, found), "{error}");
        let text = error.to_string();
        assert!(text.contains(&expected.to_string()) && text.contains(&found.to_string()), "{text}");
        assert!(text.starts_with(error.what) && !error.what.is_empty());
    };
    for backend in subject::backends() {
        for transposed in [false, true] {
            for samples in [1, 3, 40, 64, 70] {
                let (units, inputs) = (7, 5);
                let turn = |(a, b): (usize, usize)| if transposed { (b, a) } else { (a, b) };
                let fitting = Shapes {
                    out: (samples, units),
                    matrix: turn((units, inputs)),
                    operand: (samples, inputs),
                    bias: units,
                    base: (samples, units),
                };
                for with in ["zero", "bias", "matrix"] {
                    attempt(backend, fitting, with, transposed).unwrap();
                    // 32, 8 and 6 are what a long batch is cut into.
                    for wrong in [0, 2, 6, 8, 32, 41] {
                        let shapes = Shapes { operand: (wrong, inputs), ..fitting };
                        named(attempt(backend, shapes, with, transposed), samples, wrong);
                    }
                    let shapes = Shapes { operand: (samples, 6), ..fitting };
                    named(attempt(backend, shapes, with, transposed), 5, 6);
                    let shapes = Shapes { matrix: turn((8, inputs)), ..fitting };
                    named(attempt(backend, shapes, with, transposed), 7, 8);
                }
                let shapes = Shapes { bias: 9, ..fitting };
                named(attempt(backend, shapes, "bias", transposed), 7, 9);
                for wrong in [0, 2, 6, 8, 32, 41] {
                    let shapes = Shapes { base: (wrong, units), ..fitting };
                    named(attempt(backend, shapes, "matrix", transposed), samples, wrong);
                }
                let shapes = Shapes { base: (samples, 6), ..fitting };
                named(attempt(backend, shapes, "matrix", transposed), 7, 6);
            }
        }

        let outer = |deltas: (usize, usize), inputs: (usize, usize), gradient: (usize, usize)| {
            let (d, h) = (vec![1.0_f32; deltas.0 * deltas.1], vec![1.0_f32; inputs.0 * inputs.1]);
            let mut g = vec![7.0_f32; gradient.0 * gradient.1];
            let result = kernel::outer(
                backend,
                Matrix::new(&d, deltas.0, deltas.1).unwrap(),
                Matrix::new(&h, inputs.0, inputs.1).unwrap(),
                MatrixMut::new(&mut g, gradient.0, gradient.1).unwrap(),
            );
            assert!(result.is_ok() || g.iter().all(|value| *value == 7.0));
            result
        };
        outer((3, 5), (3, 4), (5, 4)).unwrap();
        named(outer((3, 5), (2, 4), (5, 4)), 3, 2);
        named(outer((3, 5), (3, 4), (6, 4)), 5, 6);
        named(outer((3, 5), (3, 4), (5, 9)), 4, 9);
    }
    let mut data = [0.0_f32; 6];
    named(Matrix::new(&data, 2, 4).map(|_| ()), 8, 6);
    named(MatrixMut::new(&mut data, 7, 1).map(|_| ()), 7, 6);
    named(Matrix::new(&data, usize::MAX, 2).map(|_| ()), usize::MAX, 6);
}

#[test]
fn empty_matrices_do_nothing() {
    let nothing: [f32; 0] = [];
    let ones = [1.0_f32; 12];
    for backend in subject::backends() {
        for samples in [0, 1, 3] {
            for units in [0, 1, 4] {
                // Without inputs a layer is its base, whichever way the matrix is read.
                let mut out = vec![7.0_f32; samples * units];
                let bias = vec![0.5_f32; units];
                let operand = Matrix::new(&nothing, samples, 0).unwrap();
                let straight = Product { matrix: Matrix::new(&nothing, units, 0).unwrap(), operand };
                let target = MatrixMut::new(&mut out, samples, units).unwrap();
                let changed =
                    kernel::layer::<_, Identity>(backend, Base::Bias(&bias), &[straight], target).unwrap();
                assert!(out.iter().all(|h| *h == 0.5));
                assert_eq!(changed.residual, if out.is_empty() { 0.0 } else { 6.5 });
                out.fill(7.0);
                let turned = Product { matrix: Matrix::new(&nothing, 0, units).unwrap(), operand };
                let target = MatrixMut::new(&mut out, samples, units).unwrap();
                let changed = kernel::transposed(backend, Base::Bias(&bias), &[turned], target).unwrap();
                assert!(out.iter().all(|h| *h == 0.5));
                assert_eq!(changed.residual, if out.is_empty() { 0.0 } else { 6.5 });
                out.fill(7.0);
                let target = MatrixMut::new(&mut out, samples, units).unwrap();
                kernel::layer::<_, Identity>(backend, Base::Zero, &[], target).unwrap();
                assert!(out.iter().all(|h| *h == 0.0));

                let deltas = Matrix::new(&ones[..samples * units], samples, units).unwrap();
                let mut gradient = [];
                let empty = MatrixMut::new(&mut gradient, units, 0).unwrap();
                kernel::outer(backend, deltas, operand, empty).unwrap();
            }
        }
        let mut gradient = [3.0_f32; 6];
        let none = |cols| Matrix::new(&nothing, 0, cols).unwrap();
        kernel::outer(backend, none(2), none(3), MatrixMut::new(&mut gradient, 2, 3).unwrap()).unwrap();
        assert_eq!(gradient, [3.0; 6]);
        let mut values = [];
        kernel::activate::<f32, Tanh>(backend, &mut values);
        kernel::exp::<f32>(backend, &mut values);
    }
}

/// A sum that is not finite shows in the residual, whatever the activation makes of it.
#[test]
fn what_is_not_finite_shows() {
    for backend in subject::backends() {
        for samples in [1, 3, 17, 40] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for place in [0, samples - 1] {
                    let w = [0.5_f32; 6];
                    let mut x = vec![0.25_f32; samples * 2];
                    x[place] = bad;
                    let mut out = vec![0.0_f32; samples * 3];
                    let products = [Product {
                        matrix: Matrix::new(&w, 3, 2).unwrap(),
                        operand: Matrix::new(&x, samples, 2).unwrap(),
                    }];
                    let target = MatrixMut::new(&mut out, samples, 3).unwrap();
                    let changed = kernel::layer::<_, Tanh>(backend, Base::Zero, &products, target).unwrap();
                    assert!(changed.residual.is_nan(), "{bad} gave {changed:?}, {}", backend.name());
                }
            }
        }
    }
}

/// |M| v, |M|^T v and weighted maximum norms, for every tail, aligned or not.
#[test]
fn magnitudes_and_weighted_norms() {
    fn check<T: Precise>() {
        let random = &mut SmallRng::seed_from_u64(99);
        for backend in subject::backends() {
            for rows in WIDTHS {
                for cols in [1, 2, 5, 16, 33] {
                    let matrix = Data::<T>::random(random, rows, cols, rows % 3);
                    let positive = |random: &mut SmallRng, n: usize| -> Vec<T> {
                        (0..n).map(|_| T::from_f64(random.random_range(0.1..3.0))).collect()
                    };
                    let (right, left) = (positive(random, cols), positive(random, rows));
                    let (mut straight, mut transposed) = (positive(random, rows), positive(random, cols));
                    let (before, before_transposed) = (straight.clone(), transposed.clone());
                    kernel::add_magnitudes(backend, matrix.view(), &right, &mut straight).unwrap();
                    kernel::add_magnitudes_transposed(backend, matrix.view(), &left, &mut transposed)
                        .unwrap();
                    let close = |found: T, exact: f64, terms: usize| {
                        let error = (found.to_f64() - exact).abs();
                        assert!(
                            error <= (terms + 1) as f64 * <T as Precise>::EPSILON * exact,
                            "{found:?} {exact}"
                        );
                    };
                    for i in 0..rows {
                        let sum: f64 = (0..cols).map(|j| matrix.at(i, j).abs() * right[j].to_f64()).sum();
                        close(straight[i], sum + before[i].to_f64(), cols);
                    }
                    for j in 0..cols {
                        let sum: f64 = (0..rows).map(|i| matrix.at(i, j).abs() * left[i].to_f64()).sum();
                        close(transposed[j], sum + before_transposed[j].to_f64(), rows);
                    }

                    let (a, b) =
                        (Data::<T>::random(random, rows, 1, 1), Data::<T>::random(random, rows, 1, 2));
                    let weighted = |with: f64| {
                        (0..rows)
                            .map(|i| (a.at(i, 0) - with * b.at(i, 0)).abs() / left[i].to_f64())
                            .fold(0.0, f64::max)
                    };
                    let norm = kernel::weighted_norm(backend, a.slice(), &left).unwrap();
                    let distance = kernel::weighted_distance(backend, a.slice(), b.slice(), &left).unwrap();
                    close(norm, weighted(0.0), 1);
                    close(distance, weighted(1.0), 1);
                    let mut spoilt = a.copy();
                    for bad in [f64::NAN, f64::INFINITY] {
                        spoilt.storage[1 + rows / 2] = T::from_f64(bad);
                        assert!(!kernel::weighted_norm(backend, spoilt.slice(), &left).unwrap().is_finite());
                    }
                    assert!(
                        kernel::add_magnitudes(backend, matrix.view(), &right[1..], &mut straight).is_err()
                    );
                    assert!(
                        kernel::add_magnitudes(backend, matrix.view(), &right, &mut straight[1..]).is_err()
                    );
                    assert!(kernel::weighted_norm(backend, a.slice(), &left[1..]).is_err());
                    let short = &mut transposed[1..];
                    assert!(kernel::add_magnitudes_transposed(backend, matrix.view(), &left, short).is_err());
                    assert!(kernel::weighted_distance(backend, a.slice(), &b.slice()[1..], &left).is_err());
                }
            }
        }
    }
    check::<f32>();
    check::<f64>();
}
