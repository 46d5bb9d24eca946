//! Scaled dot-product attention (Vaswani et al. 2017) in blocks of queries and keys, so that the room does not grow with the context (Dao et al.,
//! "FlashAttention", 2022). The products are [`multiply`]'s.

use super::{
    Factors, Identity, Matrix, MatrixMut, Scalar, ShapeError, Start, expect, load, multiply, multiply_room,
    once, store,
};
use crate::simd::{Backend, Lanes, Operation};
use core::ops::Range;

/// Queries of a block: whole tiles of every backend.
const QUERIES: usize = 64;
/// Keys of a block. Going back, keys of more than one block are gone over twice.
const KEYS: usize = 512;
/// Vectors of queries whose scores are taken together, so that one sum does not wait for another.
const TOGETHER: usize = 4;
/// Bytes that scores are aligned to.
const ALIGNMENT: usize = 64;

/// How many numbers of room [`attend`] and [`attend_back`] take, for so many queries, keys and features of a head. It has a bound that does not depend on any
/// of them.
///
/// ```
/// use attractor::kernel::attention_room;
/// assert_eq!(attention_room(1 << 20, 1 << 20, 32), attention_room(1 << 10, 1 << 10, 32));
/// ```
#[must_use]
pub const fn attention_room(queries: usize, keys: usize, features: usize) -> usize {
    const fn larger(a: usize, b: usize) -> usize {
        if a > b { a } else { b }
    }
    let queries = if queries < QUERIES { queries } else { QUERIES };
    let keys = if keys < KEYS { keys } else { KEYS };
    let forth = larger(multiply_room(queries, features, keys), multiply_room(queries, keys, features));
    let back = larger(multiply_room(keys, features, queries), multiply_room(keys, queries, features));
    2 * queries * keys + 2 * queries + larger(forth, back) + ALIGNMENT
}

/// Which keys a query sees in [`attend`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mask {
    /// All of them.
    None,
    /// The queries are the last of the keys' tokens, and each sees the keys up to its own place.
    Causal,
    /// Of those only so many, the last one being its own: a sliding window (Beltagy et al., "Longformer", 2020). No other keys are read, so time grows with
    /// the window, not with the keys. A window of 0 is one of 1.
    Window(usize),
}

impl Mask {
    const fn is_causal(self) -> bool {
        !matches!(self, Self::None)
    }

    /// How many keys a query sees at most.
    const fn most(self) -> usize {
        match self {
            Self::None | Self::Causal => usize::MAX,
            Self::Window(0) => 1,
            Self::Window(most) => most,
        }
    }
}

/// Sizes that fit each other.
#[derive(Clone, Copy)]
struct Sizes {
    heads: usize,
    mask: Mask,
    queries: usize,
    keys: usize,
    /// Of a head.
    features: usize,
}

impl Sizes {
    /// # Errors
    /// [`ShapeError`] if they do not fit.
    fn new<T>(
        (heads, mask): (usize, Mask),
        queries: Matrix<'_, T>,
        keys: Matrix<'_, T>,
        values: Matrix<'_, T>,
        logs: usize,
        room: usize,
    ) -> Result<Self, ShapeError> {
        let (width, tokens) = (queries.cols(), queries.rows());
        expect("features of the keys", width, keys.cols())?;
        expect("features of the values", width, values.cols())?;
        expect("values", keys.rows(), values.rows())?;
        let features = width.checked_div(heads).unwrap_or(0);
        if features == 0 || features * heads != width {
            return Err(ShapeError { what: "features of all heads", expected: heads.max(1), found: width });
        }
        let least = if mask.is_causal() { tokens } else { tokens.min(1) };
        if keys.rows() < least {
            return Err(ShapeError { what: "keys", expected: least, found: keys.rows() });
        }
        expect("logs", heads.saturating_mul(tokens), logs)?;
        let needed = attention_room(tokens, keys.rows(), features);
        if room < needed {
            return Err(ShapeError { what: "room", expected: needed, found: room });
        }
        Ok(Self { heads, mask, queries: tokens, keys: keys.rows(), features })
    }

    /// The block of queries from this one on.
    #[inline]
    fn block(&self, from: usize) -> Block {
        let count = QUERIES.min(self.queries - from);
        if self.mask.is_causal() {
            let place = self.keys - self.queries + from;
            Block { count, first: (place + 1).saturating_sub(self.mask.most()), seen: place + count, place }
        } else {
            // As if all of them stood behind the last key.
            Block { count, first: 0, seen: self.keys, place: self.keys }
        }
    }

    /// 1 / sqrt(features).
    #[inline]
    fn scale<T: Scalar>(&self) -> T {
        T::ONE / T::from_usize(self.features).sqrt()
    }
}

/// Some queries.
#[derive(Clone, Copy)]
struct Block {
    count: usize,
    /// The first key its first query sees.
    first: usize,
    /// The key behind the last one that its last query sees.
    seen: usize,
    /// The key the first query stands at.
    place: usize,
}

/// `room` as two blocks of scores, two numbers for every query of a block, and what is left for products.
#[inline]
fn parts<T>(room: &mut [T], sizes: Sizes) -> Result<[&mut [T]; 4], ShapeError> {
    let (queries, keys) = (sizes.queries.min(QUERIES), sizes.keys.min(KEYS));
    let skip = room.as_ptr().align_offset(ALIGNMENT);
    let skip = if skip <= ALIGNMENT { skip } else { 0 };
    let scores = queries * keys;
    let short = ShapeError { what: "room", expected: skip + 2 * scores + 2 * queries, found: room.len() };
    let (_, room) = room.split_at_mut_checked(skip).ok_or(short)?;
    let (first, room) = room.split_at_mut_checked(scores).ok_or(short)?;
    let (second, room) = room.split_at_mut_checked(scores).ok_or(short)?;
    let (numbers, room) = room.split_at_mut_checked(2 * queries).ok_or(short)?;
    Ok([first, second, numbers, room])
}

/// The start of `room` as a matrix.
#[inline]
fn matrix<T>(room: &mut [T], rows: usize, cols: usize) -> Result<MatrixMut<'_, T>, ShapeError> {
    let found = room.len();
    let room =
        room.get_mut(..rows * cols).ok_or(ShapeError { what: "room", expected: rows * cols, found })?;
    MatrixMut::new(room, rows, cols)
}

/// Scaled dot-product attention of `heads` heads (Vaswani et al., "Attention is all you need", 2017): of each head
/// `out = softmax(queries keys^T / sqrt(features)) values`, the softmax over the keys.
///
/// Shapes: `queries` and `out` are `queries x width`, `keys` and `values` `keys x width`; head k has the columns from k width / heads on, as many as there
/// are features of a head. `logs` gets a number a head and query, head after head: the logarithm of the sum of exponentials of its scores, which
/// [`attend_back`] wants. `room` holds [`attention_room`] numbers at least; what they are does not matter.
///
/// `mask` says which keys a query sees.
///
/// What is infinite or NaN goes where arithmetic has it go; of a value that a query does not see it may go into that query's output, too (as 0 times infinity).
///
/// ```
/// use attractor::kernel::{Mask, attend, attention_room};
/// use attractor::simd::Backend;
/// use nalgebra::{SMatrix, matrix};
///
/// let queries = SMatrix::<f32, 2, 1>::zeros(); // 2 tokens, which look at all they see alike
/// let (keys, values) = (matrix![1.0_f32; 2.0], matrix![4.0_f32; 8.0]);
/// let mut out = SMatrix::<f32, 2, 1>::zeros();
/// let (mut logs, mut room) = ([0.0; 2], [0.0; attention_room(2, 2, 1)]);
/// let (q, k, v) = ((&queries).into(), (&keys).into(), (&values).into());
/// attend(Backend::best(), 1, Mask::Causal, q, k, v, &mut logs, &mut room, (&mut out).into())?;
/// assert!((out[0] - 4.0).abs() < 1e-6 && (out[1] - 6.0).abs() < 1e-6);
/// # Ok::<(), attractor::kernel::ShapeError>(())
/// ```
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit, the width is not that of so many heads, there are no keys for a query to see, or the room is too small; nothing
/// is changed then.
#[allow(clippy::too_many_arguments, reason = "each is one operand, and none belongs with another")]
pub fn attend<T: Scalar>(
    backend: Backend,
    heads: usize,
    mask: Mask,
    queries: Matrix<'_, T>,
    keys: Matrix<'_, T>,
    values: Matrix<'_, T>,
    logs: &mut [T],
    room: &mut [T],
    out: MatrixMut<'_, T>,
) -> Result<(), ShapeError> {
    let sizes = Sizes::new((heads, mask), queries, keys, values, logs.len(), room.len())?;
    expect("queries of the output", queries.rows(), out.rows())?;
    expect("features of the output", queries.cols(), out.cols())?;
    T::once::<AttendOnce>((backend, Attend { sizes, operands: [queries, keys, values], logs, room, out }))
}
once!(AttendOnce: (Backend, Attend<'a, T>) => Result<(), ShapeError>, attend_once);

/// Shapes fit.
struct Attend<'a, T> {
    sizes: Sizes,
    operands: [Matrix<'a, T>; 3],
    logs: &'a mut [T],
    room: &'a mut [T],
    out: MatrixMut<'a, T>,
}

/// # Errors
/// None: [`Attend`] has shapes that fit.
fn attend_once<T: Scalar>((backend, attend): (Backend, Attend<'_, T>)) -> Result<(), ShapeError> {
    let Attend { sizes, operands, logs, room, mut out } = attend;
    let [scores, _, numbers, room] = parts(room, sizes)?;
    for head in 0..sizes.heads {
        let [queries, keys, values] = operands.map(|all| all.columns(head * sizes.features, sizes.features));
        for from in (0..sizes.queries).step_by(QUERIES) {
            let Block { count, first, seen, place } = sizes.block(from);
            let queries = queries.row_range(from, count);
            let columns = out.reborrow().column_range(head * sizes.features, sizes.features);
            let mut out = columns.row_range(from, count);
            let (largest, sums) = numbers.split_at_mut(count);
            for key in (first..seen).step_by(KEYS) {
                let some = KEYS.min(seen - key);
                let mut scores = matrix(scores, count, some)?;
                let factors = Factors::TransposedRight(queries, keys.row_range(key, some));
                let here = scores.reborrow();
                multiply::<T, Identity>(backend, factors, sizes.scale(), Start::Zero, room, here)?;
                hide(scores.reborrow(), Places { query: place, key, most: sizes.mask.most() });
                let (here, to, begins) = (scores.reborrow(), out.reborrow(), key == first);
                T::run(backend, Exponentials { scores: here, out: to, largest, sums, first: begins });
                let factors = Factors::Plain(scores.as_ref(), values.row_range(key, some));
                let start = if begins { Start::Zero } else { Start::Output };
                multiply::<T, Identity>(backend, factors, T::ONE, start, room, out.reborrow())?;
            }
            T::run(backend, Divide { out, by: sums });
            let logs = logs.iter_mut().skip(head * sizes.queries + from);
            for ((log, largest), sum) in logs.zip(&*largest).zip(&*sums) {
                *log = *largest + sum.ln();
            }
        }
    }
    Ok(())
}

/// Where the first query and the first key of two blocks stand.
#[derive(Clone, Copy)]
struct Places {
    query: usize,
    key: usize,
    /// How many keys a query sees at most.
    most: usize,
}

impl Places {
    /// Which of `keys` keys this query sees.
    #[inline(always)]
    fn seen(self, query: usize, keys: usize) -> Range<usize> {
        let behind = self.query + query + 1;
        let end = behind.saturating_sub(self.key).min(keys);
        behind.saturating_sub(self.most).saturating_sub(self.key).min(end)..end
    }
}

/// Makes the scores of keys that a query does not see minus infinity: of keys behind the first query those of the queries before them, and of keys before
/// the last query's window those of the queries whose window they are not in.
fn hide<T: Scalar>(mut scores: MatrixMut<'_, T>, places: Places) {
    let (queries, keys) = (scores.rows(), scores.cols());
    for key in places.seen(0, keys).end..keys {
        let hidden = (places.key + key - places.query).min(queries);
        scores.reborrow().column_range(key, 1).row_range(0, hidden).fill_with(|_| -T::INFINITE);
    }
    for key in 0..places.seen(queries.saturating_sub(1), keys).start {
        let sees = (places.key + key).saturating_add(places.most).saturating_sub(places.query).min(queries);
        let column = scores.reborrow().column_range(key, 1);
        column.row_range(sees, queries - sees).fill_with(|_| -T::INFINITE);
    }
}

/// Makes scores exponentials of what they are below the largest of their query, and adds those up. What was summed up of other keys is brought to that
/// largest first.
struct Exponentials<'a, T> {
    scores: MatrixMut<'a, T>,
    out: MatrixMut<'a, T>,
    /// A number a query at least.
    largest: &'a mut [T],
    sums: &'a mut [T],
    /// Whether nothing was summed up before.
    first: bool,
}

impl<T: Scalar> Operation<T> for Exponentials<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(mut self, lanes: L) {
        let queries = self.scores.rows().min(self.largest.len()).min(self.sums.len()).min(self.out.rows());
        let mut query = 0;
        // SAFETY: every block lies below `queries`.
        unsafe {
            while queries - query >= TOGETHER * L::WIDTH {
                self.block::<L, TOGETHER>(lanes, query, None);
                query += TOGETHER * L::WIDTH;
            }
            while queries - query >= L::WIDTH {
                self.block::<L, 1>(lanes, query, None);
                query += L::WIDTH;
            }
            if query < queries {
                self.block::<L, 1>(lanes, query, Some(queries - query));
            }
        }
    }
}

impl<T: Scalar> Exponentials<'_, T> {
    /// `V` vectors of queries, or so many as `part` says.
    ///
    /// # Safety
    /// They must exist.
    #[inline(always)]
    unsafe fn block<L: Lanes<T>, const V: usize>(&mut self, lanes: L, query: usize, part: Option<usize>) {
        let (keys, stride) = (self.scores.cols(), self.scores.stride());
        let scores = self.scores.start().wrapping_add(query);
        let largest_at = self.largest.as_mut_ptr().wrapping_add(query);
        let sums_at = self.sums.as_mut_ptr().wrapping_add(query);
        let lowest = lanes.splat(-T::INFINITE);
        let zero = lanes.splat(T::ZERO);
        let (mut largest, mut sums) = ([lowest; V], [zero; V]);
        // SAFETY: the caller's queries, of all keys and features, and their two numbers.
        unsafe {
            let at = |key: usize, v: usize| scores.wrapping_add(key * stride + v * L::WIDTH);
            if !self.first {
                for (v, largest) in largest.iter_mut().enumerate() {
                    *largest = load(lanes, largest_at.wrapping_add(v * L::WIDTH), part);
                }
            }
            let before = largest;
            for key in 0..keys {
                for (v, largest) in largest.iter_mut().enumerate() {
                    *largest = lanes.max(load(lanes, at(key, v), part), *largest);
                }
            }
            if !self.first {
                let (features, stride) = (self.out.cols(), self.out.stride());
                let out = self.out.start().wrapping_add(query);
                let mut factors = [zero; V];
                for v in 0..V {
                    factors[v] = T::exp(lanes, lanes.sub(before[v], largest[v]));
                    sums[v] = lanes.mul(load(lanes, sums_at.wrapping_add(v * L::WIDTH), part), factors[v]);
                }
                for feature in 0..features {
                    for (v, factor) in factors.iter().enumerate() {
                        let at = out.wrapping_add(feature * stride + v * L::WIDTH);
                        store(lanes, at, lanes.mul(load(lanes, at, part), *factor), part);
                    }
                }
            }
            for key in 0..keys {
                for v in 0..V {
                    let below = lanes.sub(load(lanes, at(key, v), part), largest[v]);
                    let exponential = T::exp(lanes, below);
                    sums[v] = lanes.add(sums[v], exponential);
                    store(lanes, at(key, v), exponential, part);
                }
            }
            for v in 0..V {
                store(lanes, largest_at.wrapping_add(v * L::WIDTH), largest[v], part);
                store(lanes, sums_at.wrapping_add(v * L::WIDTH), sums[v], part);
            }
        }
    }
}

/// Divides every row by a number.
struct Divide<'a, T> {
    out: MatrixMut<'a, T>,
    by: &'a [T],
}

impl<T: Scalar> Operation<T> for Divide<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(mut self, lanes: L) {
        let rows = self.out.rows().min(self.by.len());
        let (out, stride) = (self.out.start(), self.out.stride());
        let mut row = 0;
        while row < rows {
            let part = (rows - row < L::WIDTH).then_some(rows - row);
            // SAFETY: rows and columns that exist.
            unsafe {
                let by = load(lanes, self.by.as_ptr().wrapping_add(row), part);
                let share = lanes.div(lanes.splat(T::ONE), by);
                for col in 0..self.out.cols() {
                    let at = out.wrapping_add(col * stride + row);
                    store(lanes, at, lanes.mul(load(lanes, at, part), share), part);
                }
            }
            row += L::WIDTH;
        }
    }
}

/// The gradients of [`attend`]: writes those of queries, keys and values, in this order, given the gradient `delta` by its output.
///
/// Shapes: each gradient is of the shape of what it is the gradient of, `delta` of that of `queries`; `logs` are those [`attend`] left, of the same queries
/// and keys, and `room` holds [`attention_room`] numbers at least.
///
/// Scores are computed once more, and not kept. With more than 512 keys those of a block of queries are so twice.
///
/// # Errors
/// [`ShapeError`] as [`attend`]; nothing is changed then.
#[allow(clippy::too_many_arguments, reason = "each is one operand, and none belongs with another")]
pub fn attend_back<T: Scalar>(
    backend: Backend,
    heads: usize,
    mask: Mask,
    queries: Matrix<'_, T>,
    keys: Matrix<'_, T>,
    values: Matrix<'_, T>,
    logs: &[T],
    delta: Matrix<'_, T>,
    room: &mut [T],
    gradients: [MatrixMut<'_, T>; 3],
) -> Result<(), ShapeError> {
    let sizes = Sizes::new((heads, mask), queries, keys, values, logs.len(), room.len())?;
    expect("queries of the delta", queries.rows(), delta.rows())?;
    expect("features of the delta", queries.cols(), delta.cols())?;
    for (gradient, operand) in gradients.iter().zip([queries, keys, values]) {
        expect("rows of a gradient", operand.rows(), gradient.rows())?;
        expect("columns of a gradient", operand.cols(), gradient.cols())?;
    }
    let back = AttendBack { sizes, operands: [queries, keys, values, delta], logs, room, gradients };
    T::once::<AttendBackOnce>((backend, back))
}
once!(AttendBackOnce: (Backend, AttendBack<'a, T>) => Result<(), ShapeError>, attend_back_once);

/// Shapes fit.
struct AttendBack<'a, T> {
    sizes: Sizes,
    operands: [Matrix<'a, T>; 4],
    logs: &'a [T],
    room: &'a mut [T],
    gradients: [MatrixMut<'a, T>; 3],
}

/// # Errors
/// None: [`AttendBack`] has shapes that fit.
fn attend_back_once<T: Scalar>((backend, back): (Backend, AttendBack<'_, T>)) -> Result<(), ShapeError> {
    let AttendBack { sizes, operands, logs, room, gradients } = back;
    let [mut for_queries, mut for_keys, mut for_values] = gradients;
    let [weights, slopes, numbers, room] = parts(room, sizes)?;
    // With a window the last queries do not see all keys.
    let windows = matches!(sizes.mask, Mask::Window(_));
    if sizes.queries == 0 || windows {
        for_keys.fill_with(|_| T::ZERO);
        for_values.fill_with(|_| T::ZERO);
    }
    for head in 0..sizes.heads {
        let column = head * sizes.features;
        let [queries, keys, values, delta] = operands.map(|all| all.columns(column, sizes.features));
        let mut for_keys = for_keys.reborrow().column_range(column, sizes.features);
        let mut for_values = for_values.reborrow().column_range(column, sizes.features);
        // The last queries first: they see all keys, whose gradients begin with them.
        for from in (0..sizes.queries).step_by(QUERIES).rev() {
            let Block { count, first, seen, place } = sizes.block(from);
            let last = from + count == sizes.queries;
            let start = if last && !windows { Start::Zero } else { Start::Output };
            let (queries, delta) = (queries.row_range(from, count), delta.row_range(from, count));
            let for_queries = for_queries.reborrow().column_range(column, sizes.features);
            let mut for_queries = for_queries.row_range(from, count);
            let logs = logs.get(head * sizes.queries + from..).unwrap_or_default();
            let means = numbers.get_mut(..count).unwrap_or_default();
            means.fill(T::ZERO);
            let scale = sizes.scale();
            // Of all keys the mean of a query must be known before slopes are. A block is gone over once if it is the only one.
            let rounds: &[_] = if seen - first > KEYS {
                &[Round::MEANS, Round::SLOPES]
            } else {
                &[Round { means: true, slopes: true }]
            };
            for round in rounds {
                for key in (first..seen).step_by(KEYS) {
                    let some = KEYS.min(seen - key);
                    // Keys are in the lanes: two of the products by weights and slopes then read them as they stand.
                    let mut weights = matrix(weights, some, count)?;
                    let mut slopes = matrix(slopes, some, count)?;
                    let (k, v) = (keys.row_range(key, some), values.row_range(key, some));
                    let of = |a, b, factor, room: &mut [T], out: MatrixMut<'_, T>| {
                        let factors = Factors::TransposedRight(a, b);
                        multiply::<T, Identity>(backend, factors, factor, Start::Zero, room, out)
                    };
                    of(k, queries, scale, room, weights.reborrow())?;
                    let places = Places { query: place, key, most: sizes.mask.most() };
                    T::run(backend, Weights { scores: weights.reborrow(), logs, places });
                    of(v, delta, T::ONE, room, slopes.reborrow())?;
                    if round.slopes {
                        let factors = Factors::Plain(weights.as_ref(), delta);
                        let out = for_values.reborrow().row_range(key, some);
                        multiply::<T, Identity>(backend, factors, T::ONE, start, room, out)?;
                    }
                    let (weights, of_slopes) = (weights.as_ref(), slopes.reborrow());
                    let round = *round;
                    T::run(backend, Slopes { weights, slopes: of_slopes, means, scale, round, places });
                    if round.slopes {
                        let factors = Factors::Plain(slopes.as_ref(), queries);
                        let out = for_keys.reborrow().row_range(key, some);
                        multiply::<T, Identity>(backend, factors, T::ONE, start, room, out)?;
                        let factors = Factors::TransposedLeft(slopes.as_ref(), k);
                        let start = if key == first { Start::Zero } else { Start::Output };
                        multiply::<T, Identity>(
                            backend,
                            factors,
                            T::ONE,
                            start,
                            room,
                            for_queries.reborrow(),
                        )?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// What is done in going over the keys.
#[derive(Clone, Copy)]
struct Round {
    means: bool,
    slopes: bool,
}

impl Round {
    const MEANS: Self = Self { means: true, slopes: false };
    const SLOPES: Self = Self { means: false, slopes: true };
}

/// Makes scores, a column a query, the weights of the softmax; 0 where a key is not seen.
struct Weights<'a, T> {
    scores: MatrixMut<'a, T>,
    logs: &'a [T],
    places: Places,
}

impl<T: Scalar> Operation<T> for Weights<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(mut self, lanes: L) {
        let (keys, queries, stride) = (self.scores.rows(), self.scores.cols(), self.scores.stride());
        let mut scores = self.scores.start();
        for (query, log) in self.logs.iter().enumerate().take(queries) {
            let (seen, log) = (self.places.seen(query, keys), lanes.splat(*log));
            let mut key = seen.start;
            // SAFETY: keys of a query that exist.
            unsafe {
                clear(lanes, scores, seen.start);
                while key < seen.end {
                    let part = (seen.end - key < L::WIDTH).then_some(seen.end - key);
                    let at = scores.add(key);
                    store(lanes, at, T::exp(lanes, lanes.sub(load(lanes, at, part), log)), part);
                    key += L::WIDTH;
                }
                clear(lanes, scores.add(seen.end), keys - seen.end);
            }
            scores = scores.wrapping_add(stride);
        }
    }
}

/// Makes so many scalars zero.
///
/// # Safety
/// They must exist.
#[inline(always)]
unsafe fn clear<T: Scalar, L: Lanes<T>>(lanes: L, from: *mut T, count: usize) {
    let mut at = 0;
    while at < count {
        let part = (count - at < L::WIDTH).then_some(count - at);
        // SAFETY: the caller's scalars.
        unsafe { store(lanes, from.add(at), lanes.splat(T::ZERO), part) };
        at += L::WIDTH;
    }
}

/// The derivatives by the weights of each query as those by its scores: `slopes = scale * weights * (slopes - mean)`, with the mean of `slopes` by the
/// weights; the mean is added to, or slopes made, or both.
struct Slopes<'a, T> {
    weights: Matrix<'a, T>,
    slopes: MatrixMut<'a, T>,
    means: &'a mut [T],
    scale: T,
    round: Round,
    places: Places,
}

impl<T: Scalar> Operation<T> for Slopes<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(mut self, lanes: L) {
        let (keys, stride) = (self.slopes.rows(), self.slopes.stride());
        let (mut weights, mut slopes) = (self.weights.start(), self.slopes.start());
        let scale = lanes.splat(self.scale);
        for (query, mean) in self.means.iter_mut().enumerate().take(self.slopes.cols()) {
            let seen = self.places.seen(query, keys);
            // SAFETY: keys of a query that exist, in both.
            unsafe {
                if self.round.means {
                    let (weights, slopes) = (weights.add(seen.start), slopes.add(seen.start));
                    *mean = add_products(lanes, *mean, weights, slopes, seen.len());
                }
                if self.round.slopes {
                    let (mean, mut key) = (lanes.splat(*mean), seen.start);
                    clear(lanes, slopes, seen.start);
                    while key < seen.end {
                        let part = (seen.end - key < L::WIDTH).then_some(seen.end - key);
                        let (weight, at) = (load(lanes, weights.add(key), part), slopes.add(key));
                        let from = lanes.sub(load(lanes, at, part), mean);
                        store(lanes, at, lanes.mul(lanes.mul(weight, scale), from), part);
                        key += L::WIDTH;
                    }
                    clear(lanes, slopes.add(seen.end), keys - seen.end);
                }
            }
            weights = weights.wrapping_add(self.weights.stride());
            slopes = slopes.wrapping_add(stride);
        }
    }
}

/// `sum` and `count` products; where sums are not split, one after the other.
///
/// # Safety
/// The factors must exist.
#[inline(always)]
unsafe fn add_products<T: Scalar, L: Lanes<T>>(
    lanes: L,
    sum: T,
    a: *const T,
    b: *const T,
    count: usize,
) -> T {
    let (mut sum, mut at) = (sum, 0);
    // SAFETY: the caller's factors.
    unsafe {
        if const { L::BLOCKING.split } {
            let mut sums = [lanes.splat(T::ZERO); 2];
            while at < count {
                for of in &mut sums {
                    if at < count {
                        let part = (count - at < L::WIDTH).then_some(count - at);
                        *of = lanes.mul_add(load(lanes, a.add(at), part), load(lanes, b.add(at), part), *of);
                        at += L::WIDTH;
                    }
                }
            }
            let [first, second] = sums;
            return sum + lanes.reduce_add(lanes.add(first, second));
        }
        while at < count {
            sum += *a.add(at) * *b.add(at);
            at += 1;
        }
    }
    sum
}
