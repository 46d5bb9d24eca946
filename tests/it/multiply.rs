//! `kernel::multiply` against a naive product in `f64`: every orientation, scalar and backend, with shapes that meet every tail, views into larger
//! matrices, every start and end, and room of several lengths.

use attractor::kernel::{
    self, Activation, Factors, Identity, Matrix, MatrixMut, Relu, Scalar, Start, Tanh, multiply_room,
};
use attractor::simd::{Backend, Lanes};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Sizes that meet every tail of every backend's tiles.
const SIZES: [usize; 23] =
    [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 65, 97];
const ORIENTATIONS: [&str; 3] = ["A B", "A^T B", "A B^T"];
const STARTS: usize = 5;

/// A matrix in a larger one, which has other numbers before, behind and between its columns.
pub(super) struct Framed<T> {
    storage: Vec<T>,
    rows: usize,
    cols: usize,
    before: usize,
    stride: usize,
}

impl<T: Scalar> Framed<T> {
    /// What stands around it is `guard`.
    pub(super) fn random(
        random: &mut SmallRng,
        [rows, cols]: [usize; 2],
        [before, behind]: [usize; 2],
        guard: T,
    ) -> Self {
        let stride = before + rows + behind;
        let mut storage = vec![guard; stride * cols];
        for col in 0..cols {
            for row in 0..rows {
                storage[col * stride + before + row] = T::from_f64(random.random_range(-1.0..1.0));
            }
        }
        Self { storage, rows, cols, before, stride }
    }
    pub(super) fn view(&self) -> Matrix<'_, T> {
        Matrix::new(&self.storage, self.stride, self.cols).unwrap().row_range(self.before, self.rows)
    }
    pub(super) fn view_mut(&mut self) -> MatrixMut<'_, T> {
        let (before, rows) = (self.before, self.rows);
        MatrixMut::new(&mut self.storage, self.stride, self.cols).unwrap().row_range(before, rows)
    }
    pub(super) fn at(&self, row: usize, col: usize) -> f64 {
        self.storage[col * self.stride + self.before + row].to_f64()
    }
    pub(super) fn copy(&self) -> Self {
        Self { storage: self.storage.clone(), ..*self }
    }
    /// Compares everything that is not the matrix.
    pub(super) fn check_frame(&self, other: &Self, what: &str) {
        for (i, (a, b)) in self.storage.iter().zip(&other.storage).enumerate() {
            let row = i % self.stride;
            if row < self.before || row >= self.before + self.rows {
                assert!(a == b, "{what}: wrote {b:?} outside of the output, at {i}");
            }
        }
    }
}

/// An activation over lanes, and the same over plain numbers.
trait Plain: Activation {
    fn plain(z: f64) -> f64;
}
impl Plain for Identity {
    fn plain(z: f64) -> f64 {
        z
    }
}
impl Plain for Relu {
    fn plain(z: f64) -> f64 {
        z.max(0.0)
    }
}
impl Plain for Tanh {
    fn plain(z: f64) -> f64 {
        z.tanh()
    }
}

/// Half of a number: one of a user's own.
#[derive(Clone, Copy, Debug, Default)]
struct Half;
impl Activation for Half {
    const NAME: &'static str = "half";
    #[inline(always)]
    fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector {
        lanes.mul(lanes.splat(T::from_f64(0.5)), z)
    }
    #[inline(always)]
    fn slope<T: Scalar, L: Lanes<T>>(lanes: L, _: L::Vector) -> L::Vector {
        lanes.splat(T::from_f64(0.5))
    }
}
impl Plain for Half {
    fn plain(z: f64) -> f64 {
        0.5 * z
    }
}

/// How an output is to be made.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// Rows, inner size, columns.
    shape: [usize; 3],
    orientation: usize,
    start: usize,
    factor: f64,
    /// Numbers around the matrices.
    frame: [usize; 2],
    seed: u64,
}

/// Runs a case on every backend with room of several lengths.
fn check<T: Scalar, A: Plain>(case: Case) {
    let random = &mut SmallRng::seed_from_u64(case.seed);
    let Case { shape: [rows, inner, columns], orientation, start, factor, frame, .. } = case;
    let [before, behind] = frame;
    let (left, right) = match orientation {
        0 => ([rows, inner], [inner, columns]),
        1 => ([inner, rows], [inner, columns]),
        _ => ([rows, inner], [columns, inner]),
    };
    // Guards that would be seen in a sum.
    let a = Framed::random(random, left, frame, T::NAN);
    let b = Framed::random(random, right, [behind, before], T::NAN);
    let whole = Framed::random(random, [rows, columns], frame, T::NAN);
    let out = Framed::random(random, [rows, columns], [behind, before], T::from_f64(77.0));
    let numbers: Vec<T> =
        (0..rows.max(columns)).map(|_| T::from_f64(random.random_range(-1.0..1.0))).collect();
    let factor = T::from_f64(factor);
    let begin = match start {
        0 => Start::Zero,
        1 => Start::Output,
        2 => Start::Rows(&numbers[..rows]),
        3 => Start::Columns(&numbers[..columns]),
        _ => Start::Matrix(whole.view()),
    };
    let factors = match orientation {
        0 => Factors::Plain(a.view(), b.view()),
        1 => Factors::TransposedLeft(a.view(), b.view()),
        _ => Factors::TransposedRight(a.view(), b.view()),
    };
    let mut expected = Vec::with_capacity(rows * columns);
    for column in 0..columns {
        for row in 0..rows {
            let (mut sum, mut magnitudes) = (0.0, 0.0);
            for k in 0..inner {
                let x = if orientation == 1 { a.at(k, row) } else { a.at(row, k) };
                let y = if orientation == 2 { b.at(column, k) } else { b.at(k, column) };
                sum += x * y;
                magnitudes += (x * y).abs();
            }
            let base = match start {
                0 => 0.0,
                1 => out.at(row, column),
                2 => numbers[row].to_f64(),
                3 => numbers[column].to_f64(),
                _ => whole.at(row, column),
            };
            let bound = (inner + 4) as f64
                * T::PRECISION.to_f64()
                * (factor.to_f64().abs() * magnitudes + base.abs());
            expected.push((A::plain(base + factor.to_f64() * sum), bound + A::error::<T>().min(1e-6)));
        }
    }
    let full = multiply_room(rows, inner, columns);
    for backend in Backend::available() {
        let mut first: Option<Framed<T>> = None;
        for length in [0, full, full / 3, 100, full + 17] {
            let what = format!(
                "{}, {case:?}, room {length}, {}, {}",
                ORIENTATIONS[orientation],
                A::NAME,
                backend.name()
            );
            // What is in the room does not matter.
            let mut room = vec![T::NAN; length + 8];
            room[length..].fill(T::from_f64(55.0));
            let mut found = out.copy();
            let lent = &mut room[..length];
            kernel::multiply::<T, A>(backend, factors, factor, begin, lent, found.view_mut()).unwrap();
            assert!(
                room[length..].iter().all(|guard| *guard == T::from_f64(55.0)),
                "{what}: wrote behind the room"
            );
            out.check_frame(&found, &what);
            let places = (0..columns).flat_map(|column| (0..rows).map(move |row| (row, column)));
            for ((row, column), (expected, bound)) in places.zip(&expected) {
                let error = (found.at(row, column) - expected).abs();
                assert!(
                    error <= *bound,
                    "{what}: {row}, {column} is {}, expected {expected}, allowed {bound:e}",
                    found.at(row, column)
                );
            }
            match &first {
                None => first = Some(found),
                Some(first) => {
                    assert!(first.storage == found.storage, "{what}: other bits than without room");
                }
            }
        }
    }
}

fn table<T: Scalar>() {
    let mut number = 0;
    for (i, rows) in SIZES.into_iter().enumerate() {
        for (j, columns) in SIZES.into_iter().enumerate() {
            for orientation in 0..3 {
                number += 1;
                let case = Case {
                    shape: [rows, SIZES[(5 * i + 7 * j + orientation) % SIZES.len()], columns],
                    orientation,
                    start: number % STARTS,
                    factor: [1.0, -0.75, 1.0, 2.5][number % 4],
                    frame: [[0, 0], [1, 2], [0, 5], [3, 0], [7, 300]][number / 2 % 5],
                    seed: number as u64,
                };
                match number % 3 {
                    0 => check::<T, Identity>(case),
                    1 => check::<T, Relu>(case),
                    _ => check::<T, Half>(case),
                }
            }
        }
    }
}

#[test]
fn products_of_all_shapes_f32() {
    table::<f32>();
}

#[test]
fn products_of_all_shapes_f64() {
    table::<f64>();
}

/// More rows, steps and columns than a block has, one at a time and together.
#[test]
fn products_of_several_blocks() {
    let shapes = [
        [1100, 20, 13],
        [1030, 260, 13],
        [40, 1030, 30],
        [9, 5, 4110],
        [129, 259, 129],
        [70, 530, 40],
        [260, 257, 60],
        [259, 33, 1027],
    ];
    for (i, shape) in shapes.into_iter().enumerate() {
        for orientation in 0..3 {
            let frame = [[0, 0], [1, 2], [5, 300]][(i + orientation) % 3];
            let case = Case { shape, orientation, start: i % STARTS, factor: -0.5, frame, seed: i as u64 };
            check::<f32, Tanh>(case);
            check::<f64, Identity>(Case { start: (i + 1) % STARTS, ..case });
        }
    }
}

/// Every start with every end, where a sum is taken in several parts and where it is not.
#[test]
fn every_start_with_every_end() {
    for inner in [0, 1, 40, 600] {
        for orientation in 0..3 {
            for start in 0..STARTS {
                for factor in [1.0, 0.0, -2.0] {
                    let shape = [35, inner, 14];
                    let case = Case { shape, orientation, start, factor, frame: [1, 1], seed: 3 };
                    check::<f32, Identity>(case);
                    check::<f32, Tanh>(case);
                    check::<f32, Half>(case);
                    check::<f64, Relu>(case);
                }
            }
        }
    }
}

/// Without rows or columns nothing is done; with nothing in common the start is all there is.
#[test]
fn nothing_to_do() {
    for backend in Backend::available() {
        let (none, three) = ([0.0_f32; 0], [1.0, 2.0, 3.0]);
        for (rows, columns) in [(0, 3), (3, 0), (0, 0)] {
            let out = &mut [0.0_f32; 0];
            let (a, b) = (
                Matrix::new(&three[..rows], rows, 1).unwrap(),
                Matrix::new(&three[..columns], 1, columns).unwrap(),
            );
            let out = MatrixMut::new(out, rows, columns).unwrap();
            kernel::multiply::<_, Tanh>(backend, Factors::Plain(a, b), 1.0, Start::Zero, &mut [], out)
                .unwrap();
        }
        let mut out = [f32::NAN; 6];
        let (a, b) = (Matrix::new(&none, 2, 0).unwrap(), Matrix::new(&none, 0, 3).unwrap());
        let factors = Factors::Plain(a, b);
        let view = MatrixMut::new(&mut out, 2, 3).unwrap();
        kernel::multiply::<_, Relu>(backend, factors, 1.0, Start::Columns(&[1.0, -2.0, 3.0]), &mut [], view)
            .unwrap();
        assert_eq!(out, [1.0, 1.0, 0.0, 0.0, 3.0, 3.0]);
        let view = MatrixMut::new(&mut out, 2, 3).unwrap();
        kernel::multiply::<_, Identity>(backend, factors, 1.0, Start::Rows(&[4.0, 5.0]), &mut [], view)
            .unwrap();
        assert_eq!(out, [4.0, 5.0, 4.0, 5.0, 4.0, 5.0]);
    }
}

/// What does not fit is named, and nothing is changed.
#[test]
fn shapes_that_do_not_fit() {
    let numbers = [1.0_f64; 24];
    let matrix = |rows, columns| Matrix::new(&numbers[..rows * columns], rows, columns).unwrap();
    let refused = |factors, start, what, expected, found| {
        let mut out = [7.0; 6];
        let view = MatrixMut::new(&mut out, 2, 3).unwrap();
        let result = kernel::multiply::<_, Identity>(Backend::best(), factors, 1.0, start, &mut [], view);
        let error = result.unwrap_err();
        assert_eq!((error.what, error.expected, error.found), (what, expected, found));
        assert_eq!(out, [7.0; 6]);
    };
    let (rows, columns, inner) = ("rows of a product", "columns of a product", "inner size of a product");
    refused(Factors::Plain(matrix(3, 4), matrix(4, 3)), Start::Zero, rows, 2, 3);
    refused(Factors::Plain(matrix(2, 4), matrix(4, 2)), Start::Zero, columns, 3, 2);
    refused(Factors::Plain(matrix(2, 4), matrix(5, 3)), Start::Zero, inner, 4, 5);
    refused(Factors::TransposedLeft(matrix(2, 4), matrix(2, 3)), Start::Zero, rows, 2, 4);
    refused(Factors::TransposedLeft(matrix(4, 2), matrix(5, 3)), Start::Zero, inner, 4, 5);
    refused(Factors::TransposedRight(matrix(2, 4), matrix(4, 3)), Start::Zero, columns, 3, 4);
    refused(Factors::TransposedRight(matrix(2, 4), matrix(3, 5)), Start::Zero, inner, 4, 5);
    let fit = Factors::Plain(matrix(2, 4), matrix(4, 3));
    refused(fit, Start::Rows(&numbers[..3]), "numbers for rows", 2, 3);
    refused(fit, Start::Columns(&numbers[..2]), "numbers for columns", 3, 2);
    refused(fit, Start::Matrix(matrix(3, 3)), "rows of the start", 2, 3);
    refused(fit, Start::Matrix(matrix(2, 2)), "columns of the start", 3, 2);
}

/// One number of an operand that is not finite is in one row or column of the output, as in plain sums; zeros do not hide it, nor does a factor.
#[test]
fn what_is_not_finite() {
    fn run<T: Scalar>() {
        for backend in Backend::available() {
            for shape in [[5, 3, 5], [33, 20, 14], [70, 300, 30], [17, 9, 1]] {
                let [rows, inner, columns] = shape;
                for orientation in 0..3 {
                    for (bad, zeros) in [(T::NAN, false), (T::INFINITE, false), (T::INFINITE, true)] {
                        let (row, step) = (rows - 1, inner - 1);
                        let mut a = vec![T::ONE; rows * inner];
                        a[if orientation == 1 { row * inner + step } else { step * rows + row }] = bad;
                        let b = vec![if zeros { T::ZERO } else { T::ONE }; inner * columns];
                        let view = |data, rows, columns| Matrix::new(data, rows, columns).unwrap();
                        let factors = match orientation {
                            0 => Factors::Plain(view(&a, rows, inner), view(&b, inner, columns)),
                            1 => Factors::TransposedLeft(view(&a, inner, rows), view(&b, inner, columns)),
                            _ => Factors::TransposedRight(view(&a, rows, inner), view(&b, columns, inner)),
                        };
                        let mut out = vec![T::NAN; rows * columns];
                        for length in [0, multiply_room(rows, inner, columns)] {
                            let mut room = vec![T::NAN; length];
                            let to = MatrixMut::new(&mut out, rows, columns).unwrap();
                            kernel::multiply::<T, Identity>(
                                backend,
                                factors,
                                T::ONE,
                                Start::Zero,
                                &mut room,
                                to,
                            )
                            .unwrap();
                            for (i, found) in out.iter().enumerate() {
                                let plain = if zeros { 0.0 } else { inner as f64 };
                                let expected = if i % rows != row {
                                    plain
                                } else if zeros {
                                    f64::NAN
                                } else {
                                    bad.to_f64()
                                };
                                let same = found.to_f64() == expected
                                    || found.to_f64().is_nan() && expected.is_nan();
                                assert!(same, "{shape:?}, {orientation}: {found:?} is not {expected}");
                            }
                        }
                    }
                }
            }
        }
    }
    run::<f32>();
    run::<f64>();
}
