//! Where everything lies in the memory of a pass, and products of what lies there.

use super::{PassError, expect};
use crate::Config;
use attractor::kernel::{
    Factors, Identity, Matrix, MatrixMut, Scalar, ShapeError, Start, attention_room, multiply, multiply_room,
};
use attractor::simd::Backend;
use core::ops::Range;

/// The distance of columns of so many rows: lines of the first cache, an odd number of them, so that columns do not share their places.
pub(crate) const fn stride(rows: usize) -> usize {
    (rows.div_ceil(LINE) | 1) * LINE
}

/// Numbers of a line, if they are `f32`.
pub(crate) const LINE: usize = 16;

/// Where in memory something lies.
pub(super) type Place = Range<usize>;

/// The matrices of a block in a sweep, which its gradient takes.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// What the block takes, if that is not what is below.
    pub(super) input: Place,
    pub(super) normal_1: Place,
    pub(super) statistics_1: Place,
    pub(super) qkv: Place,
    pub(super) logs: Place,
    pub(super) attended: Place,
    pub(super) middle: Place,
    pub(super) normal_2: Place,
    pub(super) statistics_2: Place,
    /// Sums before the activation, then slopes.
    pub(super) slopes: Place,
    pub(super) activated: Place,
    /// What comes out.
    pub(super) output: Place,
    /// Feedback's: the state above, normalised, and U times that.
    pub(super) above_normal: Place,
    pub(super) above_statistics: Place,
    pub(super) fed_back: Place,
}

/// Where everything lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) width: usize,
    pub(super) blocks: usize,
    pub(super) heads: usize,
    pub(super) vocabulary: usize,
    pub(super) rows: usize,
    pub(super) stride: usize,
    pub(super) length: usize,
    pub(super) kept: usize,
}

impl Plan {
    pub(super) const fn new(config: &Config, sequences: usize, length: usize, kept: usize) -> Self {
        let rows = sequences * length;
        Self {
            width: config.width,
            blocks: config.blocks,
            heads: config.heads,
            vocabulary: config.vocabulary,
            rows,
            stride: stride(rows),
            length,
            kept,
        }
    }

    /// A matrix of tokens and so many times the width.
    pub(super) const fn wide(&self, times: usize) -> usize {
        self.stride * self.width * times
    }
    pub(super) const fn logs(&self) -> usize {
        (self.heads * self.rows).next_multiple_of(LINE)
    }
    /// All of [`Kept`].
    pub(super) const fn block(&self) -> usize {
        self.wide(19) + 6 * self.stride + self.logs()
    }
    /// Before what is kept: the embedding, states that are not kept, a copy of one, the last normalisation, logits and their gradient.
    pub(super) const fn shared(&self) -> usize {
        self.wide(1 + self.blocks + 2) + 2 * self.stride + 2 * self.stride * self.vocabulary
    }
    /// Room of products and of attention.
    pub(super) const fn room(&self) -> usize {
        let wide = 4 * self.width;
        let most = if wide > self.vocabulary { wide } else { self.vocabulary };
        let deep = if most > self.rows { most } else { self.rows };
        let product = multiply_room(deep, deep, deep);
        let attention = attention_room(self.length, self.length, self.width / self.heads);
        let larger = if product > attention { product } else { attention };
        larger.next_multiple_of(LINE)
    }
    /// Gradients: of a block's output, and of what is inside; what goes back to the sweep before, twice.
    pub(super) const fn back(&self) -> usize {
        if self.kept == 0 { 0 } else { self.wide(1 + 4 + 4 + 1 + 1 + 2 * self.blocks) }
    }
    /// All but the room of products and attention, which comes last.
    pub(super) const fn memory(&self) -> usize {
        let places = if self.kept == 0 { 1 } else { self.kept * self.blocks };
        self.shared() + self.back() + places * self.block()
    }
    pub(super) const fn total(&self) -> usize {
        // What lies before the first line.
        LINE - 1 + self.memory() + self.room()
    }

    pub(super) fn embedding(&self) -> Place {
        0..self.wide(1)
    }
    /// The state of a block that is not kept.
    pub(super) fn state(&self, block: usize) -> Place {
        let start = self.wide(1 + block);
        start..start + self.wide(1)
    }
    /// A copy of a state, the last normalisation, its statistics.
    pub(super) fn copy(&self) -> Place {
        let start = self.wide(1 + self.blocks);
        start..start + self.wide(1)
    }
    pub(super) fn last(&self) -> [Place; 2] {
        let start = self.copy().end;
        let end = start + self.wide(1);
        [start..end, end..end + 2 * self.stride]
    }
    pub(super) fn logits(&self) -> [Place; 2] {
        let start = self.last()[1].end;
        let size = self.stride * self.vocabulary;
        [start..start + size, start + size..start + 2 * size]
    }
    /// The gradient of a block's output; three others, for what is inside.
    pub(super) fn inside(&self) -> [Place; 5] {
        let start = self.shared();
        let at = |from: usize, times: usize| start + self.wide(from)..start + self.wide(from + times);
        [at(0, 1), at(1, 4), at(5, 4), at(9, 1), at(10, 1)]
    }
    /// What goes back to the state of a block in the sweep before, of even and of odd sweeps.
    pub(super) fn carried(&self, parity: usize, block: usize) -> Place {
        let start = self.shared() + self.wide(11 + (parity % 2) * self.blocks + block);
        start..start + self.wide(1)
    }
    /// Whether so many logits are asked for as there are.
    pub(super) fn takes<T>(&self, logits: &[T]) -> Result<(), PassError> {
        expect("logits", self.rows * self.vocabulary, logits.len())
    }

    /// Copies the logits, if all are finite.
    pub(super) fn hand_out<T: Scalar>(&self, memory: &[T], logits: &mut [T]) -> Result<(), PassError> {
        self.takes(logits)?;
        let [made, _] = self.logits();
        let columns = || {
            let made = memory.get(made.clone()).unwrap_or_default();
            made.chunks_exact(self.stride).map(|column| column.get(..self.rows).unwrap_or_default())
        };
        if !columns().flatten().all(|x| x.is_finite()) {
            return Err(PassError::NotFinite);
        }
        logits.chunks_exact_mut(self.rows).zip(columns()).for_each(|(to, from)| to.copy_from_slice(from));
        Ok(())
    }

    pub(super) fn kept(&self, sweep: usize, block: usize) -> Kept {
        let number = if self.kept == 0 { 0 } else { sweep * self.blocks + block };
        let mut next = self.shared() + self.back() + number * self.block();
        let mut take = |size: usize| {
            let start = next;
            next += size;
            start..next
        };
        Kept {
            input: take(self.wide(1)),
            normal_1: take(self.wide(1)),
            qkv: take(self.wide(3)),
            attended: take(self.wide(1)),
            middle: take(self.wide(1)),
            normal_2: take(self.wide(1)),
            slopes: take(self.wide(4)),
            activated: take(self.wide(4)),
            output: take(self.wide(1)),
            above_normal: take(self.wide(1)),
            fed_back: take(self.wide(1)),
            statistics_1: take(2 * self.stride),
            statistics_2: take(2 * self.stride),
            above_statistics: take(2 * self.stride),
            logs: take(self.logs()),
        }
    }
}

/// Rows of tokens, so many columns.
pub(super) fn view<'a, T>(plan: &Plan, data: &'a [T], columns: usize) -> Result<Matrix<'a, T>, ShapeError> {
    Matrix::with_stride(data, plan.rows, columns, plan.stride)
}

pub(super) fn view_mut<'a, T>(
    plan: &Plan,
    data: &'a mut [T],
    columns: usize,
) -> Result<MatrixMut<'a, T>, ShapeError> {
    MatrixMut::with_stride(data, plan.rows, columns, plan.stride)
}

/// Places of memory that do not overlap, all at once.
pub(super) fn places<T, const N: usize>(
    memory: &mut [T],
    places: [Place; N],
) -> Result<[&mut [T]; N], PassError> {
    let found = memory.len();
    memory.get_disjoint_mut(places).map_err(|_| PassError::Length { what: "room", expected: found, found })
}

/// What a product of tokens with weights takes beside its operands.
pub(super) struct On<'a, T> {
    pub(super) backend: Backend,
    pub(super) plan: Plan,
    pub(super) room: &'a mut [T],
}

impl<T: Scalar> On<'_, T> {
    /// out = in W + b, weights inputs x outputs in memory.
    pub(super) fn forward(
        &mut self,
        weights: &[T],
        start: Start<'_, T>,
        (input, inputs): (&[T], usize),
        (output, outputs): (&mut [T], usize),
    ) -> Result<(), PassError> {
        let weights = Matrix::new(weights, outputs, inputs)?;
        let factors = Factors::TransposedRight(view(&self.plan, input, inputs)?, weights);
        let out = view_mut(&self.plan, output, outputs)?;
        Ok(multiply::<T, Identity>(self.backend, factors, T::ONE, start, self.room, out)?)
    }

    /// The gradient of what went in; weights inputs x outputs in memory.
    pub(super) fn back(
        &mut self,
        weights: &[T],
        (deltas, outputs): (&[T], usize),
        (gradient, inputs): (&mut [T], usize),
    ) -> Result<(), PassError> {
        let weights = Matrix::new(weights, outputs, inputs)?;
        let factors = Factors::Plain(view(&self.plan, deltas, outputs)?, weights);
        let out = view_mut(&self.plan, gradient, inputs)?;
        Ok(multiply::<T, Identity>(self.backend, factors, T::ONE, Start::Zero, self.room, out)?)
    }

    /// Adds to the gradients of weights and biases.
    pub(super) fn weights(
        &mut self,
        (weights, biases): (&mut [T], Option<&mut [T]>),
        (deltas, outputs): (&[T], usize),
        (input, inputs): (&[T], usize),
    ) -> Result<(), PassError> {
        let (d, x) = (view(&self.plan, deltas, outputs)?, view(&self.plan, input, inputs)?);
        let out = MatrixMut::new(weights, outputs, inputs)?;
        let factors = Factors::TransposedLeft(d, x);
        multiply::<T, Identity>(self.backend, factors, T::ONE, Start::Output, self.room, out)?;
        if let Some(biases) = biases {
            for (bias, column) in biases.iter_mut().zip(deltas.chunks_exact(self.plan.stride)) {
                *bias += sum(column.get(..self.plan.rows).unwrap_or_default());
            }
        }
        Ok(())
    }
}

/// A sum of many numbers, in an order that vectors can keep.
pub(super) fn sum<T: Scalar>(numbers: &[T]) -> T {
    let mut sums = [T::ZERO; LINE];
    for line in numbers.chunks(LINE) {
        add(line, &mut sums);
    }
    sums.iter().fold(T::ZERO, |a, b| a + *b)
}

/// A sum of products, in such an order.
pub(super) fn dot<T: Scalar>(a: &[T], b: &[T]) -> T {
    let mut sums = [T::ZERO; LINE];
    for (a, b) in a.chunks(LINE).zip(b.chunks(LINE)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += *a * *b;
        }
    }
    sums.iter().fold(T::ZERO, |a, b| a + *b)
}

/// to = from + a number a column.
pub(super) fn shifted<T: Scalar>(plan: &Plan, from: &[T], shifts: &[T], to: &mut [T]) {
    let columns = from.chunks_exact(plan.stride).zip(to.chunks_exact_mut(plan.stride));
    for ((from, to), shift) in columns.zip(shifts) {
        for (to, from) in to.iter_mut().zip(from).take(plan.rows) {
            *to = *from + *shift;
        }
    }
}

/// sums += values.
pub(super) fn add<T: Scalar>(values: &[T], sums: &mut [T]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += *value;
    }
}

/// The largest change of a state; a NaN stays one.
pub(super) fn largest_change<T: Scalar>(plan: &Plan, old: &[T], new: &[T], mut largest: T) -> T {
    for (old, new) in old.chunks_exact(plan.stride).zip(new.chunks_exact(plan.stride)) {
        for (old, new) in old.iter().zip(new).take(plan.rows) {
            let change = if *new > *old { *new - *old } else { *old - *new };
            if !(change <= largest) {
                largest = if largest.is_finite() { change } else { largest };
            }
        }
    }
    largest
}

/// Memory, from a line of the caches on, and the room of products and attention.
pub(super) fn split_room<'m, T>(plan: &Plan, room: &'m mut [T]) -> (&'m mut [T], &'m mut [T]) {
    let skip = room.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE - 1);
    let room = room.get_mut(skip..).unwrap_or_default();
    room.split_at_mut(plan.memory().min(room.len()))
}
