//! What a transformer is made of, in `attractor::kernel`, against plain `f64`: on every backend, in both scalars, with shapes that meet every tail
//! and views into larger matrices; backward against derivatives that are themselves compared with central differences.

use crate::multiply::Framed;
use attractor::kernel::{
    self, Activation, AdamStep, Gelu, Mask, Matrix, MatrixMut, Relu, Scalar, Slope, Tanh, attention_room,
};
use attractor::learn::{Adam, Optimizer};
use attractor::simd::Backend;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// A plain matrix, row after row.
#[derive(Clone, Debug)]
struct Plain {
    rows: usize,
    cols: usize,
    values: Vec<f64>,
}

impl Plain {
    fn zeros(rows: usize, cols: usize) -> Self {
        Self { rows, cols, values: vec![0.0; rows * cols] }
    }
    fn random(random: &mut SmallRng, rows: usize, cols: usize) -> Self {
        let values = (0..rows * cols).map(|_| random.random_range(-1.0..1.0)).collect();
        Self { rows, cols, values }
    }
    fn of<T: Scalar>(framed: &Framed<T>, rows: usize, cols: usize) -> Self {
        let mut plain = Self::zeros(rows, cols);
        for row in 0..rows {
            for col in 0..cols {
                *plain.at(row, col) = framed.at(row, col);
            }
        }
        plain
    }
    fn at(&mut self, row: usize, col: usize) -> &mut f64 {
        &mut self.values[row * self.cols + col]
    }
    fn get(&self, row: usize, col: usize) -> f64 {
        self.values[row * self.cols + col]
    }
    /// The sum of all products of entries.
    fn dot(&self, other: &Self) -> f64 {
        self.values.iter().zip(&other.values).map(|(a, b)| a * b).sum()
    }
}

/// Guards that would be seen in what is computed of them.
fn input<T: Scalar>(random: &mut SmallRng, rows: usize, cols: usize, frame: [usize; 2]) -> Framed<T> {
    Framed::random(random, [rows, cols], frame, T::NAN)
}
/// Guards that must stay.
fn output<T: Scalar>(random: &mut SmallRng, rows: usize, cols: usize, frame: [usize; 2]) -> Framed<T> {
    Framed::random(random, [rows, cols], frame, T::from_f64(77.0))
}

/// Numbers of a scalar, and the same in `f64`.
fn numbers<T: Scalar>(random: &mut SmallRng, count: usize) -> (Vec<T>, Vec<f64>) {
    let numbers: Vec<T> = (0..count).map(|_| T::from_f64(random.random_range(-1.0..1.0))).collect();
    let same = numbers.iter().map(|x| x.to_f64()).collect();
    (numbers, same)
}

fn close<T: Scalar>(what: &str, found: f64, expected: f64, roundings: f64) {
    let bound = roundings * T::PRECISION.to_f64() * (1.0 + expected.abs());
    assert!((found - expected).abs() <= bound, "{what}: {found}, expected {expected}, allowed {bound:e}");
}

/// All entries, and that nothing else was written.
fn compare<T: Scalar>(what: &str, before: &Framed<T>, found: &Framed<T>, expected: &Plain, roundings: f64) {
    before.check_frame(found, what);
    for row in 0..expected.rows {
        for col in 0..expected.cols {
            let what = format!("{what} at {row}, {col}");
            close::<T>(&what, found.at(row, col), expected.get(row, col), roundings);
        }
    }
}

const FRAMES: [[usize; 2]; 4] = [[0, 0], [1, 2], [3, 0], [5, 60]];

// Layer normalisation.

/// Values, means, and 1 / sqrt(variance + epsilon).
fn plain_normalize(x: &Plain, gain: &[f64], shift: &[f64], epsilon: f64) -> (Plain, Vec<f64>, Vec<f64>) {
    let n = x.cols as f64;
    let (mut out, mut means, mut scales) = (x.clone(), vec![], vec![]);
    for row in 0..x.rows {
        let mean = (0..x.cols).map(|col| x.get(row, col)).sum::<f64>() / n;
        let variance = (0..x.cols).map(|col| (x.get(row, col) - mean).powi(2)).sum::<f64>() / n;
        let scale = 1.0 / (variance + epsilon).sqrt();
        for col in 0..x.cols {
            *out.at(row, col) = (x.get(row, col) - mean) * scale * gain[col] + shift[col];
        }
        means.push(mean);
        scales.push(scale);
    }
    (out, means, scales)
}

/// Gradients of input, gain and shift.
fn plain_normalize_back(x: &Plain, gain: &[f64], epsilon: f64, delta: &Plain) -> (Plain, Vec<f64>, Vec<f64>) {
    let n = x.cols as f64;
    let (normal, _, scales) = plain_normalize(x, &vec![1.0; x.cols], &vec![0.0; x.cols], epsilon);
    let (mut dx, mut dgain, mut dshift) = (x.clone(), vec![0.0; x.cols], vec![0.0; x.cols]);
    for (row, scale) in scales.into_iter().enumerate() {
        let g: Vec<f64> = (0..x.cols).map(|col| delta.get(row, col) * gain[col]).collect();
        let mean = g.iter().sum::<f64>() / n;
        let along = g.iter().enumerate().map(|(col, g)| g * normal.get(row, col)).sum::<f64>() / n;
        for col in 0..x.cols {
            *dx.at(row, col) = scale * (g[col] - mean - normal.get(row, col) * along);
            dgain[col] += delta.get(row, col) * normal.get(row, col);
            dshift[col] += delta.get(row, col);
        }
    }
    (dx, dgain, dshift)
}

/// d (sum of delta times what `of` gives) / d entry, by central differences.
fn differences(at: &Plain, delta: &Plain, of: impl Fn(&Plain) -> Plain) -> Plain {
    let (mut gradient, step) = (at.clone(), 1e-5);
    for i in 0..at.values.len() {
        let moved = |by: f64| {
            let mut moved = at.clone();
            moved.values[i] += by;
            of(&moved).dot(delta)
        };
        gradient.values[i] = (moved(step) - moved(-step)) / (2.0 * step);
    }
    gradient
}

fn same(what: &str, found: &[f64], expected: &[f64]) {
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < 1e-8, "{what} {i}: {found}, by differences {expected}");
    }
}

#[test]
fn plain_normalization_has_the_gradient_of_differences() {
    let random = &mut SmallRng::seed_from_u64(1);
    let (x, delta) = (Plain::random(random, 3, 5), Plain::random(random, 3, 5));
    let row = |values: Vec<f64>| Plain { rows: 1, cols: 5, values };
    let gain = Plain::random(random, 1, 5).values;
    let shift = Plain::random(random, 1, 5).values;
    let (dx, dgain, dshift) = plain_normalize_back(&x, &gain, 0.1, &delta);
    let by = |x: &Plain, gain: &[f64], shift: &[f64]| plain_normalize(x, gain, shift, 0.1).0;
    same("input", &dx.values, &differences(&x, &delta, |x| by(x, &gain, &shift)).values);
    let expected = differences(&row(gain.clone()), &delta, |gain| by(&x, &gain.values, &shift));
    same("gain", &dgain, &expected.values);
    let expected = differences(&row(shift), &delta, |shift| by(&x, &gain, &shift.values));
    same("shift", &dshift, &expected.values);
}

fn normalization<T: Scalar>() {
    let mut number = 0;
    for tokens in [1, 2, 7, 16, 33, 64, 65, 130, 300] {
        for features in [1, 3, 15, 16, 17, 40] {
            number += 1;
            let random = &mut SmallRng::seed_from_u64(number);
            let frame = FRAMES[number as usize % 4];
            let x = input::<T>(random, tokens, features, frame);
            let delta = input::<T>(random, tokens, features, FRAMES[number as usize / 4 % 4]);
            let (gain, plain_gain) = numbers::<T>(random, features);
            let (shift, plain_shift) = numbers::<T>(random, features);
            let epsilon = T::from_f64(0.01);
            let before = output::<T>(random, tokens, features, FRAMES[(number as usize + 1) % 4]);
            let (before_gain, plain_before_gain) = numbers::<T>(random, features);
            let (before_shift, plain_before_shift) = numbers::<T>(random, features);
            let (plain_x, plain_delta) =
                (Plain::of(&x, tokens, features), Plain::of(&delta, tokens, features));
            let epsilon_64 = epsilon.to_f64();
            let (expected, means, scales) = plain_normalize(&plain_x, &plain_gain, &plain_shift, epsilon_64);
            let (mut dx, dgain, dshift) =
                plain_normalize_back(&plain_x, &plain_gain, epsilon_64, &plain_delta);
            for row in 0..tokens {
                for col in 0..features {
                    *dx.at(row, col) += before.at(row, col);
                }
            }
            for backend in Backend::available() {
                let what = format!("{tokens} x {features}, {}", backend.name());
                let (mut found, mut statistics) = (before.copy(), vec![T::ZERO; 2 * tokens]);
                let view = found.view_mut();
                kernel::normalize(backend, x.view(), &gain, &shift, epsilon, &mut statistics, view).unwrap();
                compare(&what, &before, &found, &expected, 60.0);
                for (found, expected) in statistics.iter().zip(means.iter().chain(&scales)) {
                    close::<T>(&what, found.to_f64(), *expected, 40.0);
                }
                let (mut of_gain, mut of_shift) = (before_gain.clone(), before_shift.clone());
                let mut found = before.copy();
                kernel::normalize_back(
                    backend,
                    x.view(),
                    &gain,
                    &statistics,
                    delta.view(),
                    &mut of_gain,
                    &mut of_shift,
                    found.view_mut(),
                )
                .unwrap();
                compare(&format!("{what}, back"), &before, &found, &dx, 400.0);
                for feature in 0..features {
                    let expected = dgain[feature] + plain_before_gain[feature];
                    close::<T>(&format!("{what}, gain"), of_gain[feature].to_f64(), expected, 400.0);
                    let expected = dshift[feature] + plain_before_shift[feature];
                    close::<T>(&format!("{what}, shift"), of_shift[feature].to_f64(), expected, 400.0);
                }
            }
        }
    }
}

#[test]
fn layers_are_normalized() {
    normalization::<f32>();
    normalization::<f64>();
}

// Elementwise.

fn plain_gelu(z: f64) -> f64 {
    let scale = (2.0 / std::f64::consts::PI).sqrt();
    0.5 * z * (1.0 + (scale * (z + 0.044715 * z * z * z)).tanh())
}

#[test]
fn gelu_keeps_its_bounds() {
    fn check<T: Scalar>() {
        assert_eq!(Gelu::SLOPE, Slope::OfSum);
        let zs: Vec<f64> = (-12_000..=12_000).map(|i| f64::from(i) / 1000.0).collect();
        let steepest = Gelu::LIPSCHITZ.unwrap();
        for backend in Backend::available() {
            let mut sums: Vec<T> = zs.iter().map(|z| T::from_f64(*z)).collect();
            let exact: Vec<f64> = sums.iter().map(|z| z.to_f64()).collect();
            let mut values = vec![T::NAN; sums.len()];
            let mut alone = sums.clone();
            kernel::activate::<T, Gelu>(backend, &mut alone);
            let count = sums.len();
            let views = (MatrixMut::new(&mut sums, count, 1), MatrixMut::new(&mut values, count, 1));
            kernel::activate_with_slopes::<T, Gelu>(backend, views.0.unwrap(), views.1.unwrap()).unwrap();
            assert_eq!(values, alone);
            for ((z, value), slope) in exact.iter().zip(&values).zip(&sums) {
                let error = (value.to_f64() - plain_gelu(*z)).abs();
                assert!(error <= Gelu::error::<T>(), "{z}: off by {error:e}, {}", backend.name());
                let expected = (plain_gelu(z + 1e-6) - plain_gelu(z - 1e-6)) / 2e-6;
                assert!(
                    (slope.to_f64() - expected).abs() < 2e-6 + 1e-9,
                    "slope at {z}: {slope:?}, {expected}"
                );
                assert!(slope.to_f64().abs() <= steepest);
            }
            // Far out it is z, or 0; what is NaN stays one.
            let mut far = [T::from_f64(1e30), T::from_f64(-1e30), T::NAN, T::ZERO];
            kernel::activate::<T, Gelu>(backend, &mut far);
            assert_eq!((far[0], far[1], far[3]), (T::from_f64(1e30), T::ZERO, T::ZERO));
            assert!(far[2].to_f64().is_nan());
        }
    }
    check::<f32>();
    check::<f64>();
    let steepest = (0..400_000)
        .map(|i| f64::from(i) / 1e5)
        .map(|z| (plain_gelu(z + 1e-6) - plain_gelu(z - 1e-6)) / 2e-6)
        .fold(0.0, f64::max);
    assert!(steepest < Gelu::LIPSCHITZ.unwrap() && steepest > 0.9999 * Gelu::LIPSCHITZ.unwrap());
}

fn pairs<T: Scalar>() {
    for (i, rows) in [1, 3, 16, 17, 50].into_iter().enumerate() {
        for (j, cols) in [1, 2, 7].into_iter().enumerate() {
            let random = &mut SmallRng::seed_from_u64(7);
            // Without gaps in both, in one, in none.
            let (first, second) = (FRAMES[(i + j) % 4], FRAMES[(i + j) % 3]);
            let sums = output::<T>(random, rows, cols, first);
            let out = output::<T>(random, rows, cols, second);
            let factors = input::<T>(random, rows, cols, first);
            let zs = Plain::of(&sums, rows, cols);
            let map =
                |of: &dyn Fn(f64) -> f64| Plain { values: zs.values.iter().map(|z| of(*z)).collect(), ..zs };
            let slope = |z: f64| (plain_gelu(z + 1e-6) - plain_gelu(z - 1e-6)) / 2e-6;
            let mut scaled = Plain::of(&out, rows, cols);
            for (value, factor) in scaled.values.iter_mut().zip(&Plain::of(&factors, rows, cols).values) {
                *value *= factor;
            }
            for backend in Backend::available() {
                let what = format!("{rows} x {cols}, {}", backend.name());
                let both = |of: fn(
                    Backend,
                    MatrixMut<'_, T>,
                    MatrixMut<'_, T>,
                ) -> Result<(), kernel::ShapeError>| {
                    let (mut slopes, mut values) = (sums.copy(), out.copy());
                    of(backend, slopes.view_mut(), values.view_mut()).unwrap();
                    (slopes, values)
                };
                // Differences of `f64` have no more digits.
                let roundings = 20.0 + 1e-9 / T::PRECISION.to_f64();
                let (slopes, values) = both(kernel::activate_with_slopes::<T, Gelu>);
                compare(&format!("{what}, gelu"), &out, &values, &map(&plain_gelu), 20.0);
                compare(&format!("{what}, slope of gelu"), &sums, &slopes, &map(&slope), roundings);
                let (slopes, values) = both(kernel::activate_with_slopes::<T, Tanh>);
                compare(&format!("{what}, tanh"), &out, &values, &map(&f64::tanh), 20.0);
                let of_tanh = map(&|z| 1.0 - z.tanh().powi(2));
                compare(&format!("{what}, slope of tanh"), &sums, &slopes, &of_tanh, 20.0);
                let (slopes, values) = both(kernel::activate_with_slopes::<T, Relu>);
                compare(&format!("{what}, relu"), &out, &values, &map(&|z| z.max(0.0)), 0.0);
                let of_relu = map(&|z| if z > 0.0 { 1.0 } else { 0.0 });
                compare(&format!("{what}, slope of relu"), &sums, &slopes, &of_relu, 0.0);
                let mut found = out.copy();
                kernel::scale_by(backend, factors.view(), found.view_mut()).unwrap();
                compare(&format!("{what}, scaled"), &out, &found, &scaled, 1.0);
            }
        }
    }
}

#[test]
fn pairs_of_entries() {
    pairs::<f32>();
    pairs::<f64>();
}

// Attention.

#[derive(Clone, Copy, Debug)]
struct Heads {
    heads: usize,
    mask: Mask,
}

impl Heads {
    /// Weights of a head, a row a query; and the logarithms of the sums.
    fn weights(self, q: &Plain, k: &Plain, head: usize) -> (Plain, Vec<f64>) {
        let features = q.cols / self.heads;
        let (mut weights, mut logs) = (Plain::zeros(q.rows, k.rows), vec![]);
        for i in 0..q.rows {
            let end = if self.mask == Mask::None { k.rows } else { k.rows - q.rows + i + 1 };
            let seen = match self.mask {
                Mask::Window(most) => (end - most.max(1).min(end))..end,
                _ => 0..end,
            };
            let score = |j: usize| {
                let columns = head * features..(head + 1) * features;
                columns.map(|f| q.get(i, f) * k.get(j, f)).sum::<f64>() / (features as f64).sqrt()
            };
            let sum: f64 = seen.clone().map(|j| score(j).exp()).sum();
            for j in seen {
                *weights.at(i, j) = score(j).exp() / sum;
            }
            logs.push(sum.ln());
        }
        (weights, logs)
    }
    fn attend(self, q: &Plain, k: &Plain, v: &Plain) -> (Plain, Vec<f64>) {
        let features = q.cols / self.heads;
        let (mut out, mut all) = (Plain::zeros(q.rows, q.cols), vec![]);
        for head in 0..self.heads {
            let (weights, logs) = self.weights(q, k, head);
            for i in 0..q.rows {
                for f in head * features..(head + 1) * features {
                    *out.at(i, f) = (0..k.rows).map(|j| weights.get(i, j) * v.get(j, f)).sum();
                }
            }
            all.extend(logs);
        }
        (out, all)
    }
    fn back(self, q: &Plain, k: &Plain, v: &Plain, delta: &Plain) -> [Plain; 3] {
        let features = q.cols / self.heads;
        let scale = 1.0 / (features as f64).sqrt();
        let mut of = [q, k, v].map(|x| Plain::zeros(x.rows, x.cols));
        for head in 0..self.heads {
            let columns = head * features..(head + 1) * features;
            let (weights, _) = self.weights(q, k, head);
            for i in 0..q.rows {
                let by_weight: Vec<f64> = (0..k.rows)
                    .map(|j| columns.clone().map(|f| delta.get(i, f) * v.get(j, f)).sum())
                    .collect();
                let mean: f64 = (0..k.rows).map(|j| weights.get(i, j) * by_weight[j]).sum();
                for (j, by_weight) in by_weight.iter().enumerate() {
                    let weight = weights.get(i, j);
                    let slope = scale * weight * (by_weight - mean);
                    for f in columns.clone() {
                        *of[0].at(i, f) += slope * k.get(j, f);
                        *of[1].at(j, f) += slope * q.get(i, f);
                        *of[2].at(j, f) += weight * delta.get(i, f);
                    }
                }
            }
        }
        of
    }
}

#[test]
fn plain_attention_has_the_gradient_of_differences() {
    for (queries, keys) in [(4, 4), (2, 5)] {
        for mask in [Mask::None, Mask::Causal, Mask::Window(0), Mask::Window(2), Mask::Window(9)] {
            let (random, heads) = (&mut SmallRng::seed_from_u64(2), Heads { heads: 2, mask });
            let [q, delta] = [(); 2].map(|()| Plain::random(random, queries, 6));
            let [k, v] = [(); 2].map(|()| Plain::random(random, keys, 6));
            let found = heads.back(&q, &k, &v, &delta);
            let of_queries = differences(&q, &delta, |q| heads.attend(q, &k, &v).0);
            same("queries", &found[0].values, &of_queries.values);
            same("keys", &found[1].values, &differences(&k, &delta, |k| heads.attend(&q, k, &v).0).values);
            same("values", &found[2].values, &differences(&v, &delta, |v| heads.attend(&q, &k, v).0).values);
        }
    }
}

/// Both ways on every backend; queries and keys are multiplied with `large`, so that the softmax is sharp.
fn attention<T: Scalar>([queries, keys]: [usize; 2], [heads, features]: [usize; 2], mask: Mask, seed: u64) {
    let random = &mut SmallRng::seed_from_u64(seed);
    let width = heads * features;
    let frame = |i: usize| FRAMES[(seed as usize + i) % 4];
    let mut q = input::<T>(random, queries, width, frame(0));
    q.view_mut().fill_with(|x| T::from_f64(3.0) * x);
    let k = input::<T>(random, keys, width, frame(1));
    let v = input::<T>(random, keys, width, frame(2));
    let delta = input::<T>(random, queries, width, frame(3));
    let before = output::<T>(random, queries, width, frame(2));
    let before_back = [queries, keys, keys].map(|rows| output::<T>(random, rows, width, frame(rows)));
    let plain = |x: &Framed<T>, rows| Plain::of(x, rows, width);
    let (plain_q, plain_k, plain_v) = (plain(&q, queries), plain(&k, keys), plain(&v, keys));
    let oracle = Heads { heads, mask };
    let (expected, expected_logs) = oracle.attend(&plain_q, &plain_k, &plain_v);
    let expected_back = oracle.back(&plain_q, &plain_k, &plain_v, &plain(&delta, queries));
    let needed = attention_room(queries, keys, features);
    for backend in Backend::available() {
        let what =
            format!("{queries} queries, {keys} keys, {heads} x {features}, {mask:?}, {}", backend.name());
        // What is in the room does not matter; where it starts does not either.
        let mut room = vec![T::NAN; needed + 3];
        room[needed + 1..].fill(T::from_f64(55.0));
        let lent = 1..needed + 1;
        let (mut found, mut logs) = (before.copy(), vec![T::NAN; heads * queries]);
        let (qv, kv, vv) = (q.view(), k.view(), v.view());
        let out = found.view_mut();
        kernel::attend(backend, heads, mask, qv, kv, vv, &mut logs, &mut room[lent.clone()], out).unwrap();
        compare(&what, &before, &found, &expected, 40.0);
        for (found, expected) in logs.iter().zip(&expected_logs) {
            close::<T>(&format!("{what}, log"), found.to_f64(), *expected, 40.0);
        }
        let mut back = before_back.each_ref().map(Framed::copy);
        let gradients = back.each_mut().map(Framed::view_mut);
        room[lent.clone()].fill(T::NAN);
        let lent = &mut room[lent];
        kernel::attend_back(backend, heads, mask, qv, kv, vv, &logs, delta.view(), lent, gradients).unwrap();
        let names = ["queries", "keys", "values"];
        for (i, name) in names.into_iter().enumerate() {
            compare(&format!("{what}, {name}"), &before_back[i], &back[i], &expected_back[i], 300.0);
        }
        assert!(
            room[needed + 1..].iter().all(|guard| *guard == T::from_f64(55.0)),
            "{what}: wrote behind the room"
        );
    }
}

fn attentions<T: Scalar>() {
    let mut seed = 0;
    for sizes in
        [[1, 1], [7, 7], [64, 64], [130, 130], [300, 300], [1, 7], [5, 66], [64, 130], [66, 600], [130, 1040]]
    {
        for heads in [[1, 1], [2, 5], [3, 8]] {
            for mask in [Mask::None, Mask::Causal, Mask::Window(2), Mask::Window(65)] {
                seed += 1;
                if sizes[1] > 300 && heads[0] == 1 {
                    continue;
                }
                attention::<T>(sizes, heads, mask, seed);
            }
        }
    }
    // Queries of which each sees all keys may be more.
    attention::<T>([70, 3], [2, 4], Mask::None, 98);
    // Blocks of keys that begin between the queries of one block, and behind some of them.
    attention::<T>([70, 540], [1, 3], Mask::Causal, 99);
    attention::<T>([560, 560], [1, 2], Mask::Causal, 100);
    // Windows that begin in one block of keys and end in another, and one of more keys than there are.
    for (most, seed) in [(0, 101), (1, 102), (500, 103), (513, 104), (600, 105), (usize::MAX, 106)] {
        attention::<T>([70, 1100], [1, 3], Mask::Window(most), seed);
        attention::<T>([640, 640], [1, 2], Mask::Window(most), seed + 10);
    }
}

#[test]
fn attention_f32() {
    attentions::<f32>();
}

#[test]
fn attention_f64() {
    attentions::<f64>();
}

/// Exponentials of scores this large are infinite, or all zero, unless they are taken relative to the largest.
#[test]
fn attention_of_large_scores() {
    for backend in Backend::available() {
        for sign in [1.0, -1.0] {
            let keys = 1100;
            let q = [sign * 300.0_f32];
            let k: Vec<f32> = (0..keys).map(|j| 1.0 + (j as f32) / 100.0).collect();
            let v: Vec<f32> = (0..keys).map(|j| j as f32).collect();
            let (mut out, mut logs) = ([0.0], [0.0]);
            let mut room = vec![0.0; attention_room(1, keys, 1)];
            let column = |x| Matrix::new(x, keys, 1).unwrap();
            let (q, k, v) = (Matrix::new(&q, 1, 1).unwrap(), column(&k), column(&v));
            let view = MatrixMut::new(&mut out, 1, 1).unwrap();
            kernel::attend(backend, 1, Mask::None, q, k, v, &mut logs, &mut room, view).unwrap();
            let sum: f64 = (0..50).map(|j| (-3.0 * f64::from(j)).exp()).sum();
            let mean: f64 = (0..50).map(|j| f64::from(j) * (-3.0 * f64::from(j)).exp()).sum::<f64>() / sum;
            let expected = if sign > 0.0 { 1099.0 - mean } else { mean };
            assert!((f64::from(out[0]) - expected).abs() < 1e-3, "{}, expected {expected}", out[0]);
            let largest = if sign > 0.0 { 300.0 * 11.99 } else { -300.0 };
            assert!((f64::from(logs[0]) - (largest + sum.ln())).abs() < 1e-2);
        }
    }
}

/// A NaN in a query goes into all of its output and into no other; one in a value into that feature of those that see it.
#[test]
fn attention_of_what_is_not_finite() {
    for backend in Backend::available() {
        let random = &mut SmallRng::seed_from_u64(5);
        let ones: Vec<f32> = Plain::random(random, 70, 4).values.iter().map(|x| *x as f32).collect();
        let nan_at = |row: usize| {
            let mut with = ones.clone();
            with[2 * 70 + row] = f32::NAN;
            with
        };
        let (nan, mut room) = (nan_at(66), vec![0.0; attention_room(70, 70, 2)]);
        let view = |x| Matrix::new(x, 70, 4).unwrap();
        let mut attend = |q, v| {
            let (mut out, mut logs) = (vec![0.0; 280], [0.0; 140]);
            let to = MatrixMut::new(&mut out, 70, 4).unwrap();
            kernel::attend(backend, 2, Mask::Causal, view(q), view(&ones), view(v), &mut logs, &mut room, to)
                .unwrap();
            out.iter().map(|x: &f32| x.is_nan()).collect::<Vec<_>>()
        };
        for (i, is_nan) in attend(&nan, &ones).into_iter().enumerate() {
            assert_eq!(is_nan, i % 70 == 66 && i >= 140, "query, {i}");
        }
        for (i, is_nan) in attend(&ones, &nan).into_iter().enumerate() {
            let (row, col) = (i % 70, i / 70);
            assert!(is_nan || row < 66 || col != 2, "value, {i}");
            assert!(!is_nan || row >= 64 && col == 2, "value, {i}");
        }
    }
}

// Updates.

fn updates<T: Scalar>()
where
    Vec<T>: attractor::learn::Moments<Scalar = T>,
{
    let number = T::from_f64;
    let bits = |values: &[T]| values.iter().map(|x| x.to_f64().to_bits()).collect::<Vec<_>>();
    for count in [0, 1, 3, 16, 17, 100, 5000] {
        let random = &mut SmallRng::seed_from_u64(count as u64);
        let (start, plain_start) = numbers::<T>(random, count);
        let gradients: Vec<_> = (0..3).map(|_| numbers::<T>(random, count)).collect();
        let (rate, decay, scale) = (number(0.1), number(0.3), number(0.25));
        let (decays, epsilon) = ((number(0.9), number(0.999)), number(1e-8));
        // In `f64`, from the paper.
        let (mut w, mut m, mut v) = (plain_start, vec![0.0; count], vec![0.0; count]);
        for (step, (_, gradient)) in gradients.iter().enumerate() {
            for i in 0..count {
                let g = 0.25 * gradient[i];
                let (b1, b2) = (decays.0.to_f64(), decays.1.to_f64());
                m[i] = b1 * m[i] + (1.0 - b1) * g;
                v[i] = b2 * v[i] + (1.0 - b2) * g * g;
                let n = step as i32 + 1;
                let (mean, square) = (m[i] / (1.0 - b1.powi(n)), v[i] / (1.0 - b2.powi(n)));
                let (rate, decay) = (rate.to_f64(), decay.to_f64());
                w[i] -= rate * (decay * w[i] + mean / (square.sqrt() + epsilon.to_f64()));
            }
        }
        let mut first_found: Option<Vec<u64>> = None;
        for backend in Backend::available() {
            let (mut params, mut first, mut second) =
                (start.clone(), vec![T::ZERO; count], vec![T::ZERO; count]);
            let mut same = (start.clone(), Adam::for_params(&start).decay(decay));
            for (step, (gradient, _)) in gradients.iter().enumerate() {
                let step = AdamStep { rate, decay, decays, epsilon, steps: step as u64 + 1, scale };
                kernel::adam(backend, step, &mut params, gradient, &mut first, &mut second).unwrap();
                let scaled: Vec<T> = gradient.iter().map(|g| *g * scale).collect();
                same.1.update(&mut same.0, &scaled, rate).unwrap();
            }
            for (found, expected) in params.iter().zip(&w) {
                // 1 - b2 has few digits.
                close::<T>(&format!("adam of {count}"), found.to_f64(), *expected, 2000.0);
            }
            assert_eq!(bits(&params), bits(&same.0), "other than `learn::Adam`");
            let found = first_found.get_or_insert_with(|| bits(&params));
            assert_eq!(*found, bits(&params), "other bits on {}", backend.name());

            let (values, plain) = &numbers::<T>(random, count);
            let mut sums = start.clone();
            kernel::add_to(backend, values, &mut sums).unwrap();
            for i in 0..count {
                assert!(sums[i] == start[i] + values[i]);
            }
            let expected: f64 = plain.iter().map(|x| x * x).sum();
            let found = kernel::sum_of_squares(backend, values);
            close::<T>(&format!("squares of {count}"), found.to_f64(), expected, 100.0);
        }
    }
}

#[test]
fn updates_of_slices() {
    updates::<f32>();
    updates::<f64>();
}

#[test]
fn squares_of_many_values() {
    let values = vec![1.0_f32 / 3.0; 5_000_001];
    let exact = f64::from(1.0_f32 / 3.0).powi(2) * values.len() as f64;
    for backend in Backend::available() {
        let found = f64::from(kernel::sum_of_squares(backend, &values));
        // On the portable backend squares are added one after the other, up to 4096.
        assert!((found / exact - 1.0).abs() < 3e-5, "{found}, expected {exact}, {}", backend.name());
        assert!(kernel::sum_of_squares(backend, &[1.0, f32::NAN]).is_nan());
        assert_eq!(kernel::sum_of_squares(backend, &[1e30_f32]), f32::INFINITY);
        assert_eq!(kernel::sum_of_squares::<f64>(backend, &[]), 0.0);
    }
}

// Cross-entropy.

fn entropies<T: Scalar>() {
    for (samples, classes) in [(1, 1), (7, 3), (33, 20), (64, 5)] {
        let random = &mut SmallRng::seed_from_u64(3);
        let mut logits = input::<T>(random, samples, classes, [1, 2]);
        logits.view_mut().fill_with(|x| T::from_f64(4.0) * x);
        let before = output::<T>(random, samples, classes, [3, 0]);
        let labels: Vec<usize> = (0..samples).map(|_| random.random_range(0..classes)).collect();
        for smoothing in [0.0, 0.1] {
            let (mut loss, mut gradient) = (0.0, Plain::zeros(samples, classes));
            for (row, label) in labels.iter().enumerate() {
                let sum: f64 = (0..classes).map(|c| logits.at(row, c).exp()).sum();
                for class in 0..classes {
                    let own = if class == *label { 1.0 - smoothing } else { 0.0 };
                    let target = own + smoothing / classes as f64;
                    let p = logits.at(row, class).exp() / sum;
                    loss -= target * p.ln() / samples as f64;
                    *gradient.at(row, class) = (p - target) / samples as f64;
                }
            }
            for backend in Backend::available() {
                let mut found = before.copy();
                let (smoothing, view) = (T::from_f64(smoothing), found.view_mut());
                let of = kernel::cross_entropy(backend, logits.view(), &labels, smoothing, view).unwrap();
                close::<T>("loss", of.to_f64(), loss, 40.0);
                compare("gradient of the loss", &before, &found, &gradient, 20.0);
            }
        }
    }
}

#[test]
fn cross_entropy_of_labels() {
    entropies::<f32>();
    entropies::<f64>();
}

// Shapes.

/// That `call` fails and leaves what it was lent as it was.
fn refused<E>(what: &str, values: &mut [f32], call: impl FnOnce(&mut [f32]) -> Result<(), E>) {
    values.fill(7.0);
    assert!(call(values).is_err(), "{what} was accepted");
    assert!(values.iter().all(|x| *x == 7.0), "{what} was refused, and something changed");
}

/// `count` numbers, and what is behind them.
fn lend(values: &mut [f32], count: usize) -> (&mut [f32], &mut [f32]) {
    values.split_at_mut(count)
}

#[test]
fn wrong_shapes_of_layers_change_nothing() {
    let (backend, ones, mut values) = (Backend::best(), [1.0; 64], vec![0.0; 2000]);
    let view = |rows: usize, cols: usize| Matrix::new(&ones[..rows * cols], rows, cols).unwrap();
    // Tokens and features, of the output; gains, shifts, statistics.
    for [tokens, features, gains, shifts, statistics] in [
        [4, 5, 6, 6, 10],
        [5, 5, 6, 6, 10],
        [5, 6, 5, 6, 10],
        [5, 6, 6, 7, 10],
        [5, 6, 6, 6, 9],
        [5, 6, 6, 6, 5],
    ] {
        refused("normalize", &mut values, |values| {
            let (s, values) = lend(values, statistics);
            let out = MatrixMut::new(&mut values[..tokens * features], tokens, features)?;
            kernel::normalize(backend, view(5, 6), &ones[..gains], &ones[..shifts], 0.1, s, out)
        });
        refused("normalize back, gradients", &mut values, |values| {
            let (gain, values) = lend(values, gains);
            let (shift, values) = lend(values, shifts);
            let out = MatrixMut::new(&mut values[..tokens * features], tokens, features)?;
            let delta = view(5, 6);
            kernel::normalize_back(
                backend,
                view(5, 6),
                &ones[..6],
                &ones[..statistics],
                delta,
                gain,
                shift,
                out,
            )
        });
        refused("normalize back, operands", &mut values, |values| {
            let (gain, values) = lend(values, 6);
            let (shift, values) = lend(values, shifts);
            let out = MatrixMut::new(&mut values[..30], 5, 6)?;
            let (delta, s) = (view(tokens, features), &ones[..statistics]);
            kernel::normalize_back(backend, view(5, 6), &ones[..gains], s, delta, gain, shift, out)
        });
    }
    for (rows, cols) in [(5, 7), (4, 6)] {
        refused("slopes", &mut values, |values| {
            let (sums, values) = lend(values, 30);
            let out = MatrixMut::new(&mut values[..rows * cols], rows, cols)?;
            kernel::activate_with_slopes::<_, Gelu>(backend, MatrixMut::new(sums, 5, 6)?, out)
        });
        refused("factors", &mut values, |values| {
            kernel::scale_by(backend, view(rows, cols), MatrixMut::new(&mut values[..30], 5, 6)?)
        });
        refused("gradient of the loss", &mut values, |values| {
            let out = MatrixMut::new(&mut values[..30], 5, 6)?;
            kernel::cross_entropy(backend, view(rows, cols), &[0; 5], 0.0, out).map(|_| ())
        });
    }
    for labels in [&[0; 4][..], &[0, 1, 6, 0, 0]] {
        refused("labels", &mut values, |values| {
            let out = MatrixMut::new(&mut values[..30], 5, 6)?;
            kernel::cross_entropy(backend, view(5, 6), labels, 0.0, out).map(|_| ())
        });
    }
    let step = AdamStep { rate: 0.1, decay: 0.0, decays: (0.9, 0.999), epsilon: 1e-8, steps: 1, scale: 1.0 };
    for [gradient, first, second] in [[9, 10, 10], [10, 11, 10], [10, 10, 9]] {
        refused("adam", &mut values, |values| {
            let (params, values) = lend(values, 10);
            let (m, values) = lend(values, first);
            kernel::adam(backend, step, params, &ones[..gradient], m, &mut values[..second])
        });
    }
    refused("add", &mut values, |values| kernel::add_to(backend, &ones[..9], &mut values[..10]));
}

#[test]
fn wrong_shapes_of_attention_change_nothing() {
    let (backend, ones, mut values) = (Backend::best(), [1.0; 100], vec![0.0; 20_000]);
    let view = |[rows, cols]: [usize; 2]| Matrix::new(&ones[..rows * cols], rows, cols).unwrap();
    let right = ([5, 6], [7, 6], [7, 6], [5, 6], 10, attention_room(5, 7, 3), 2);
    type Case = ([usize; 2], [usize; 2], [usize; 2], [usize; 2], usize, usize, usize);
    let run = |(q, k, v, o, logs, room, heads): Case, mask: Mask, values: &mut [f32]| {
        let (logs, values) = lend(values, logs);
        let (room, values) = lend(values, room);
        let out = MatrixMut::new(&mut values[..o[0] * o[1]], o[0], o[1])?;
        kernel::attend(backend, heads, mask, view(q), view(k), view(v), logs, room, out)
    };
    let back = |(q, k, v, o, logs, room, heads): Case, mask: Mask, values: &mut [f32]| {
        let (lent, values) = lend(values, room);
        let (a, values) = lend(values, q[0] * q[1]);
        let (b, values) = lend(values, k[0] * k[1]);
        let gradients = [
            MatrixMut::new(a, q[0], q[1])?,
            MatrixMut::new(b, k[0], k[1])?,
            MatrixMut::new(&mut values[..v[0] * v[1]], v[0], v[1])?,
        ];
        let (q, k, v, logs) = (view(q), view(k), view(v), &ones[..logs]);
        kernel::attend_back(backend, heads, mask, q, k, v, logs, view(o), lent, gradients)
    };
    run(right, Mask::Causal, &mut values).unwrap();
    back(right, Mask::Causal, &mut values).unwrap();
    let cases = [
        ("width of the keys", Case::from(([5, 6], [7, 4], right.2, right.3, 10, right.5, 2)), Mask::Causal),
        ("width of the values", (right.0, right.1, [7, 8], right.3, 10, right.5, 2), Mask::Causal),
        ("values for keys", (right.0, right.1, [6, 6], right.3, 10, right.5, 2), Mask::Causal),
        ("queries of the output", (right.0, right.1, right.2, [4, 6], 10, right.5, 2), Mask::Causal),
        ("features of the output", (right.0, right.1, right.2, [5, 8], 10, right.5, 2), Mask::Causal),
        ("logs", (right.0, right.1, right.2, right.3, 9, right.5, 2), Mask::Causal),
        ("room", (right.0, right.1, right.2, right.3, 10, right.5 - 1, 2), Mask::Causal),
        ("heads", (right.0, right.1, right.2, right.3, 20, 2 * right.5, 4), Mask::Causal),
        ("no heads", (right.0, right.1, right.2, right.3, 0, right.5, 0), Mask::Causal),
        ("more queries than keys", ([8, 6], right.1, right.2, [8, 6], 16, 2 * right.5, 2), Mask::Causal),
        ("no keys", (right.0, [0, 6], [0, 6], right.3, 10, right.5, 2), Mask::None),
        ("no features", ([5, 0], [7, 0], [7, 0], [5, 0], 10, right.5, 2), Mask::None),
    ];
    for (what, case, mask) in cases {
        refused(what, &mut values, |values| run(case, mask, values));
        refused(what, &mut values, |values| back(case, mask, values));
    }
    // A gradient of another shape than what it is of.
    for wrong in 0..3 {
        refused("gradient", &mut values, |values| {
            let (room, values) = lend(values, right.5);
            let mut rows = [5, 7, 7];
            rows[wrong] -= 1;
            let [a, b, c, ..] = &mut values.chunks_exact_mut(42).collect::<Vec<_>>()[..] else {
                unreachable!()
            };
            let of = |values, rows| MatrixMut::new(values, rows, 6).unwrap();
            let (a, b) = (of(&mut a[..rows[0] * 6], rows[0]), of(&mut b[..rows[1] * 6], rows[1]));
            let gradients = [a, b, of(&mut c[..rows[2] * 6], rows[2])];
            let (q, k, v) = (view(right.0), view(right.1), view(right.2));
            kernel::attend_back(backend, 2, Mask::Causal, q, k, v, &ones[..10], view([5, 6]), room, gradients)
        });
    }
    // No queries: nothing is attended to, and keys and values have no gradient.
    let empty = ([0, 6], [7, 6], [7, 6], [0, 6], 0, right.5, 2);
    values.fill(7.0);
    run(empty, Mask::Causal, &mut values).unwrap();
    assert!(values.iter().all(|x| *x == 7.0));
    back(empty, Mask::Causal, &mut values).unwrap();
    assert!(values[right.5..][..84].iter().all(|x| *x == 0.0));
}

#[test]
fn views_with_gaps() {
    let mut data: Vec<f32> = (0..11).map(|i| i as f32).collect();
    let view = Matrix::with_stride(&data, 3, 3, 4).unwrap();
    assert_eq!((view.rows(), view.cols()), (3, 3));
    assert_eq!((view.at(0, 0), view.at(2, 2), view.at(3, 0)), (Some(0.0), Some(10.0), None));
    assert_eq!(view.columns(1, 2).row_range(1, 2).at(1, 1), Some(10.0));
    // Too short by one, columns that overlap, and sizes no memory has.
    for (length, rows, cols, stride) in [(10, 3, 3, 4), (11, 3, 3, 2), (11, 2, usize::MAX, 2), (0, 1, 1, 1)] {
        assert!(Matrix::with_stride(&data[..length], rows, cols, stride).is_err());
        assert!(MatrixMut::with_stride(&mut data[..length], rows, cols, stride).is_err());
    }
    let empty = Matrix::with_stride(&data[..0], 0, 5, 3).unwrap();
    assert_eq!(empty.cols(), 5);
    let view = MatrixMut::with_stride(&mut data, 3, 3, 4).unwrap();
    let (mut left, mut right) = view.split_columns(1);
    left.fill_with(|_| -1.0);
    right.reborrow().row_range(0, 1).fill_with(|_| -2.0);
    assert_eq!(right.as_ref().at(0, 1), Some(-2.0));
    assert_eq!(data, [-1.0, -1.0, -1.0, 3.0, -2.0, 5.0, 6.0, 7.0, -2.0, 9.0, 10.0]);
}
