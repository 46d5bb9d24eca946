//! Sweeps of a model over whole sequences, and the exact gradient of its loss.
//!
//! A sweep goes through the blocks from below: h^l = B^l(x^l), where B^l is a block of GPT-2 and x^l is
//!
//! ```text
//! x^l = h^(l-1) + g^l * (U^l N(h^(l+1))),
//! ```
//!
//! h^(l+1) of the sweep before, N a layer normalisation of its own and g^l a gate, a number a feature. In the first sweep there is nothing to feed
//! back, and the model is a plain Transformer. The loss is taken after the last sweep.
//!
//! Matrices have a row a token and a column a feature, column after column: tokens are side by side in the lanes of vectors.

use crate::{BlockLayout, Config, ConfigError, EPSILON, FeedbackLayout};
use attractor::kernel::{
    self, Factors, Gelu, Identity, Matrix, MatrixMut, Scalar, ShapeError, Start, attend, attend_back,
    attention_room, multiply, multiply_room, normalize, normalize_back,
};
use attractor::simd::Backend;
use core::fmt;
use core::ops::Range;

/// A target that is not counted.
pub const IGNORED: u32 = u32::MAX;

/// Why a pass over a model was refused.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum PassError {
    /// There is no such model.
    Config(ConfigError),
    /// Something is not as long as it must be.
    Length {
        /// What.
        what: &'static str,
        /// How long it must be (room: at least).
        expected: usize,
        /// How long it is.
        found: usize,
    },
    /// Something is longer than the model's context, or empty.
    Tokens {
        /// How many tokens there are.
        found: usize,
        /// How many there may be at most.
        most: usize,
    },
    /// The vocabulary has no such token.
    Token {
        /// The token.
        token: u32,
        /// How many there are.
        vocabulary: usize,
    },
    /// No target is counted.
    NoTarget,
    /// There must be a sweep at least.
    NoSweep,
    /// One token after another is foretold by a causal model only.
    NotCausal,
    /// The loss, and then the gradient, is infinite or NaN.
    NotFinite,
    /// Sweeps did not come to an end.
    NotConverged {
        /// How many there were.
        sweeps: usize,
        /// The largest change of a state in the last one.
        residual: f64,
    },
}

impl fmt::Display for PassError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Length { what, expected, found } => write!(f, "{what}: expected {expected}, found {found}"),
            Self::Tokens { found, most } => write!(f, "{found} tokens; there may be 1 to {most}"),
            Self::Token { token, vocabulary } => {
                write!(f, "token {token}; the vocabulary has 0 to {}", vocabulary.saturating_sub(1))
            }
            Self::NoTarget => f.write_str("no target is counted"),
            Self::NoSweep => f.write_str("0 sweeps; there must be 1 at least"),
            Self::NotCausal => f.write_str("the model is not causal; it foretells no next token"),
            Self::NotFinite => f.write_str("the loss is infinite or not a number"),
            Self::NotConverged { sweeps, residual } => {
                write!(f, "not converged after {sweeps} sweeps; the largest change was {residual:e}")
            }
        }
    }
}

impl core::error::Error for PassError {}

impl From<ConfigError> for PassError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<ShapeError> for PassError {
    fn from(error: ShapeError) -> Self {
        Self::Length { what: error.what, expected: error.expected, found: error.found }
    }
}

/// How states are refined, and what the gradient is of.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Sweeps {
    /// So many sweeps; the gradient goes back through all of them, and is exact.
    Unrolled(usize),
    /// Sweeps until no state changes by more than a tolerance. The gradient is the fixed point's, by its adjoint, which is swept as long: exact within
    /// the tolerance (Almeida 1987; Pineda 1987).
    Settled {
        /// The largest change that is left.
        tolerance: f64,
        /// Most sweeps forward, and back.
        most: usize,
    },
    /// The same states, but the gradient of the last sweep alone, as if what is fed back were constant: an approximation.
    OneStep {
        /// The largest change that is left.
        tolerance: f64,
        /// Most sweeps forward.
        most: usize,
    },
}

impl Sweeps {
    /// How many sweeps are kept for a gradient.
    const fn kept(self) -> usize {
        match self {
            Self::Unrolled(count) => count,
            Self::Settled { .. } | Self::OneStep { .. } => 1,
        }
    }

    const fn check(self) -> Result<(), PassError> {
        match self {
            Self::Unrolled(0) | Self::Settled { most: 0, .. } | Self::OneStep { most: 0, .. } => {
                Err(PassError::NoSweep)
            }
            _ => Ok(()),
        }
    }
}

/// Sequences of one length, side by side, and what is to be predicted.
#[derive(Clone, Copy, Debug)]
pub struct Sequences<'a> {
    /// Tokens of a sequence.
    pub length: usize,
    /// The tokens, one sequence after another.
    pub tokens: &'a [u32],
    /// A target for every token, or [`IGNORED`].
    pub targets: &'a [u32],
}

/// A model: its shape, and its parameters wherever they are.
///
/// ```
/// use attractor_language::{Config, pass::{Model, Sweeps, room}};
/// use attractor::simd::Backend;
///
/// const CONFIG: Config = Config { vocabulary: 5, ..Config::new(8, 2, 2, 4) };
/// let parameters = [0.0_f32; CONFIG.parameters()];
/// let model = Model::new(CONFIG, &parameters)?;
/// let mut memory = [0.0; room(&CONFIG, 1, 3, 0)];
/// let mut logits = [1.0; 3 * 5]; // tokens x vocabulary
/// model.logits(Backend::best(), &[0, 4, 2], Sweeps::Unrolled(2), &mut memory, &mut logits)?;
/// assert_eq!(logits, [0.0; 15]); // all weights are zero
/// # Ok::<(), attractor_language::pass::PassError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Model<'a, T = f32> {
    config: Config,
    parameters: &'a [T],
}

/// The distance of columns of so many rows: lines of the first cache, an odd number of them, so that columns do not share their places.
const fn stride(rows: usize) -> usize {
    (rows.div_ceil(LINE) | 1) * LINE
}
const LINE: usize = 16;

/// Where in memory something lies.
type Place = Range<usize>;

/// The matrices of a block in a sweep, which its gradient takes.
#[derive(Clone, Debug)]
struct Kept {
    /// What the block takes, if that is not what is below.
    input: Place,
    normal_1: Place,
    statistics_1: Place,
    qkv: Place,
    logs: Place,
    attended: Place,
    middle: Place,
    normal_2: Place,
    statistics_2: Place,
    /// Sums before the activation, then slopes.
    slopes: Place,
    activated: Place,
    /// What comes out.
    output: Place,
    /// Feedback's: the state above, normalised, and U times that.
    above_normal: Place,
    above_statistics: Place,
    fed_back: Place,
}

/// Where everything lies.
#[derive(Clone, Copy, Debug)]
struct Plan {
    width: usize,
    blocks: usize,
    heads: usize,
    vocabulary: usize,
    rows: usize,
    stride: usize,
    length: usize,
    kept: usize,
}

impl Plan {
    const fn new(config: &Config, sequences: usize, length: usize, kept: usize) -> Self {
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
    const fn wide(&self, times: usize) -> usize {
        self.stride * self.width * times
    }
    /// A number a token, in whole lines.
    const fn column(&self) -> usize {
        self.stride
    }
    const fn logs(&self) -> usize {
        (self.heads * self.rows).next_multiple_of(LINE)
    }
    /// All of [`Kept`].
    const fn block(&self) -> usize {
        self.wide(19) + 6 * self.column() + self.logs()
    }
    /// Before what is kept: the embedding, states that are not kept, a copy of one, the last normalisation, logits and their gradient.
    const fn shared(&self) -> usize {
        self.wide(1 + self.blocks + 2) + 2 * self.column() + 2 * self.stride * self.vocabulary
    }
    /// Room of products and of attention.
    const fn room(&self) -> usize {
        let wide = 4 * self.width;
        let most = if wide > self.vocabulary { wide } else { self.vocabulary };
        let deep = if most > self.rows { most } else { self.rows };
        let product = multiply_room(deep, deep, deep);
        let attention = attention_room(self.length, self.length, self.width / self.heads);
        let larger = if product > attention { product } else { attention };
        larger.next_multiple_of(LINE)
    }
    /// Gradients: of a block's output, and of what is inside; what goes back to the sweep before, twice.
    const fn back(&self) -> usize {
        if self.kept == 0 { 0 } else { self.wide(1 + 4 + 4 + 1 + 1 + 2 * self.blocks) }
    }
    /// All but the room of products and attention, which comes last.
    const fn memory(&self) -> usize {
        let places = if self.kept == 0 { 1 } else { self.kept * self.blocks };
        self.shared() + self.back() + places * self.block()
    }
    const fn total(&self) -> usize {
        self.memory() + self.room()
    }

    fn embedding(&self) -> Place {
        0..self.wide(1)
    }
    /// The state of a block that is not kept.
    fn state(&self, block: usize) -> Place {
        let start = self.wide(1 + block);
        start..start + self.wide(1)
    }
    /// A copy of a state, the last normalisation, its statistics.
    fn copy(&self) -> Place {
        let start = self.wide(1 + self.blocks);
        start..start + self.wide(1)
    }
    fn last(&self) -> [Place; 2] {
        let start = self.copy().end;
        let end = start + self.wide(1);
        [start..end, end..end + 2 * self.column()]
    }
    fn logits(&self) -> [Place; 2] {
        let start = self.last()[1].end;
        let size = self.stride * self.vocabulary;
        [start..start + size, start + size..start + 2 * size]
    }
    /// The gradient of a block's output; three others, for what is inside.
    fn inside(&self) -> [Place; 5] {
        let start = self.shared();
        let at = |from: usize, times: usize| start + self.wide(from)..start + self.wide(from + times);
        [at(0, 1), at(1, 4), at(5, 4), at(9, 1), at(10, 1)]
    }
    /// What goes back to the state of a block in the sweep before, of even and of odd sweeps.
    fn carried(&self, parity: usize, block: usize) -> Place {
        let start = self.shared() + self.wide(11 + (parity % 2) * self.blocks + block);
        start..start + self.wide(1)
    }
    fn kept(&self, sweep: usize, block: usize) -> Kept {
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
            statistics_1: take(2 * self.column()),
            statistics_2: take(2 * self.column()),
            above_statistics: take(2 * self.column()),
            logs: take(self.logs()),
        }
    }
}

/// How many numbers of room passes take, over so many sequences of so many tokens, of which so many sweeps are kept for a gradient: as many as
/// [`Sweeps::Unrolled`] says, 1 for the others, 0 for logits and losses alone.
///
/// What the room holds before does not matter.
#[must_use]
pub const fn room(config: &Config, sequences: usize, length: usize, kept: usize) -> usize {
    Plan::new(config, sequences, length, kept).total()
}

/// Rows of tokens, so many columns.
fn view<'a, T>(plan: &Plan, data: &'a [T], columns: usize) -> Result<Matrix<'a, T>, ShapeError> {
    Matrix::with_stride(data, plan.rows, columns, plan.stride)
}
fn view_mut<'a, T>(plan: &Plan, data: &'a mut [T], columns: usize) -> Result<MatrixMut<'a, T>, ShapeError> {
    MatrixMut::with_stride(data, plan.rows, columns, plan.stride)
}

/// Places of memory that do not overlap, all at once.
fn places<T, const N: usize>(memory: &mut [T], places: [Place; N]) -> Result<[&mut [T]; N], PassError> {
    let found = memory.len();
    memory.get_disjoint_mut(places).map_err(|_| PassError::Length { what: "room", expected: found, found })
}

/// What a product of tokens with weights takes beside its operands.
struct On<'a, T> {
    backend: Backend,
    plan: Plan,
    room: &'a mut [T],
}

impl<T: Scalar> On<'_, T> {
    /// out = in W + b, weights inputs x outputs in memory.
    fn forward(
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
    fn back(
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
    fn weights(
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
                *bias += sum(column.iter().take(self.plan.rows).copied());
            }
        }
        Ok(())
    }
}

/// A sum of many numbers, in an order that vectors can keep.
fn sum<T: Scalar>(numbers: impl Iterator<Item = T>) -> T {
    let mut sums = [T::ZERO; LINE];
    for (i, number) in numbers.enumerate() {
        sums[i % LINE] += number;
    }
    sums.iter().fold(T::ZERO, |a, b| a + *b)
}

/// to = from + a number a column.
fn shifted<T: Scalar>(plan: &Plan, from: &[T], shifts: &[T], to: &mut [T]) {
    let columns = from.chunks_exact(plan.stride).zip(to.chunks_exact_mut(plan.stride));
    for ((from, to), shift) in columns.zip(shifts) {
        for (to, from) in to.iter_mut().zip(from).take(plan.rows) {
            *to = *from + *shift;
        }
    }
}

/// sums += values.
fn add<T: Scalar>(values: &[T], sums: &mut [T]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += *value;
    }
}

impl<'a, T: Scalar> Model<'a, T> {
    /// A model of this shape with these parameters, in the order of [`Config::tensors`].
    ///
    /// # Errors
    /// [`PassError`] if there is no such shape, or it has another number of parameters.
    pub fn new(config: Config, parameters: &'a [T]) -> Result<Self, PassError> {
        config.check()?;
        let (expected, found) = (config.parameters(), parameters.len());
        if expected != found {
            return Err(PassError::Length { what: "parameters", expected, found });
        }
        Ok(Self { config, parameters })
    }

    /// Its shape.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Its parameters.
    #[must_use]
    pub const fn parameters(&self) -> &'a [T] {
        self.parameters
    }

    fn at(&self, place: Range<usize>) -> &'a [T] {
        self.parameters.get(place).unwrap_or_default()
    }

    fn plan(&self, tokens: &[u32], length: usize, kept: usize, room: &[T]) -> Result<Plan, PassError> {
        let Config { context, vocabulary, .. } = self.config;
        if length == 0 || length > context {
            return Err(PassError::Tokens { found: length, most: context });
        }
        if tokens.is_empty() || !tokens.len().is_multiple_of(length) {
            let expected = tokens.len().next_multiple_of(length).max(length);
            return Err(PassError::Length { what: "tokens", expected, found: tokens.len() });
        }
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
            return Err(PassError::Token { token, vocabulary });
        }
        let plan = Plan::new(&self.config, tokens.len() / length, length, kept);
        let (expected, found) = (plan.total(), room.len());
        if found < expected {
            return Err(PassError::Length { what: "room", expected, found });
        }
        Ok(plan)
    }

    fn embed(&self, plan: &Plan, tokens: &[u32], to: &mut [T]) {
        let width = self.config.width;
        let (words, places) = (self.at(self.config.wte()), self.at(self.config.wpe()));
        for (row, &token) in tokens.iter().enumerate() {
            let word = words.get(token as usize * width..).unwrap_or_default();
            let place = places.get(row % plan.length * width..).unwrap_or_default();
            for ((to, word), place) in
                to.iter_mut().skip(row).step_by(plan.stride).zip(word).zip(place).take(width)
            {
                *to = *word + *place;
            }
        }
    }

    /// One block. What is below and above lies in `memory`, as does what the block leaves.
    fn block(
        &self,
        on: &mut On<'_, T>,
        block: usize,
        memory: &mut [T],
        (below, above, output): (Place, Option<Place>, Place),
        kept: &Kept,
    ) -> Result<(), PassError> {
        let Config { width, heads, causal, .. } = self.config;
        let (plan, backend) = (on.plan, on.backend);
        let epsilon = T::from_f64(EPSILON);
        let at: BlockLayout = self.config.block(block);

        let input = match (self.config.feedback_of(block), above) {
            (Some(feedback), Some(above)) => {
                let [above, normal, statistics, fed_back, below, input] = places(
                    memory,
                    [
                        above,
                        kept.above_normal.clone(),
                        kept.above_statistics.clone(),
                        kept.fed_back.clone(),
                        below,
                        kept.input.clone(),
                    ],
                )?;
                let (gain, shift) = (self.at(feedback.ln_weight), self.at(feedback.ln_bias));
                let statistics = statistics.get_mut(..2 * plan.rows).unwrap_or_default();
                let (from, to) = (view(&plan, above, width)?, view_mut(&plan, normal, width)?);
                normalize(backend, from, gain, shift, epsilon, statistics, to)?;
                on.forward(self.at(feedback.weight), Start::Zero, (normal, width), (fed_back, width))?;
                let gates = self.at(feedback.gate);
                let stride = plan.stride;
                let columns = input.chunks_exact_mut(stride).zip(below.chunks_exact(stride));
                for (((to, below), fed_back), gate) in columns.zip(fed_back.chunks_exact(stride)).zip(gates) {
                    for ((to, below), fed_back) in to.iter_mut().zip(below).zip(fed_back).take(plan.rows) {
                        *to = *below + *gate * *fed_back;
                    }
                }
                kept.input.clone()
            }
            _ => below,
        };

        let [input, normal, statistics, qkv, attended, logs, middle] = places(
            memory,
            [
                input,
                kept.normal_1.clone(),
                kept.statistics_1.clone(),
                kept.qkv.clone(),
                kept.attended.clone(),
                kept.logs.clone(),
                kept.middle.clone(),
            ],
        )?;
        let statistics = statistics.get_mut(..2 * plan.rows).unwrap_or_default();
        let (gain, shift) = (self.at(at.ln_1_weight), self.at(at.ln_1_bias));
        let (from, to) = (view(&plan, input, width)?, view_mut(&plan, normal, width)?);
        normalize(backend, from, gain, shift, epsilon, statistics, to)?;
        let bias = Start::Columns(self.at(at.attn_c_attn_bias));
        on.forward(self.at(at.attn_c_attn_weight), bias, (normal, width), (qkv, 3 * width))?;
        let qkv = view(&plan, qkv, 3 * width)?;
        let each = heads * plan.length;
        for (sequence, logs) in logs.chunks_exact_mut(each).take(plan.rows / plan.length).enumerate() {
            let (first, count) = (sequence * plan.length, plan.length);
            let part = |number| qkv.columns(number * width, width).row_range(first, count);
            let out = view_mut(&plan, attended, width)?.row_range(first, count);
            attend(backend, heads, causal, part(0), part(1), part(2), logs, on.room, out)?;
        }
        shifted(&plan, input, self.at(at.attn_c_proj_bias), middle);
        on.forward(self.at(at.attn_c_proj_weight), Start::Output, (attended, width), (middle, width))?;

        let [middle, normal, statistics, slopes, activated, output] = places(
            memory,
            [
                kept.middle.clone(),
                kept.normal_2.clone(),
                kept.statistics_2.clone(),
                kept.slopes.clone(),
                kept.activated.clone(),
                output,
            ],
        )?;
        let statistics = statistics.get_mut(..2 * plan.rows).unwrap_or_default();
        let (gain, shift) = (self.at(at.ln_2_weight), self.at(at.ln_2_bias));
        let (from, to) = (view(&plan, middle, width)?, view_mut(&plan, normal, width)?);
        normalize(backend, from, gain, shift, epsilon, statistics, to)?;
        let bias = Start::Columns(self.at(at.mlp_c_fc_bias));
        on.forward(self.at(at.mlp_c_fc_weight), bias, (normal, width), (slopes, 4 * width))?;
        let (sums, values) = (view_mut(&plan, slopes, 4 * width)?, view_mut(&plan, activated, 4 * width)?);
        kernel::activate_with_slopes::<T, Gelu>(backend, sums, values)?;
        shifted(&plan, middle, self.at(at.mlp_c_proj_bias), output);
        on.forward(self.at(at.mlp_c_proj_weight), Start::Output, (activated, 4 * width), (output, width))
    }

    /// Sweeps whose states alone are kept, in place; returns how many there were.
    fn settle(&self, on: &mut On<'_, T>, memory: &mut [T], sweeps: Sweeps) -> Result<usize, PassError> {
        let plan = on.plan;
        let (most, tolerance) = match sweeps {
            Sweeps::Unrolled(count) => (count, None),
            Sweeps::Settled { tolerance, most } | Sweeps::OneStep { tolerance, most } => {
                (most, Some(tolerance))
            }
        };
        let mut residual = T::ZERO;
        for sweep in 0..most {
            residual = T::ZERO;
            for block in 0..plan.blocks {
                let state = plan.state(block);
                if tolerance.is_some() && sweep > 0 {
                    let [old, copy] = places(memory, [state.clone(), plan.copy()])?;
                    copy.copy_from_slice(old);
                }
                let below = if block == 0 { plan.embedding() } else { plan.state(block - 1) };
                let above = (sweep > 0 && block + 1 < plan.blocks).then(|| plan.state(block + 1));
                self.block(on, block, memory, (below, above, state.clone()), &plan.kept(0, block))?;
                if tolerance.is_some() && sweep > 0 {
                    let [new, old] = places(memory, [state, plan.copy()])?;
                    residual = largest_change(&plan, old, new, residual);
                }
            }
            // A sweep without feedback changes nothing any more.
            let settled = sweep > 0 && tolerance.is_some_and(|tolerance| residual.to_f64() <= tolerance);
            if settled || tolerance.is_some() && !self.config.feedback {
                return Ok(sweep + 1);
            }
        }
        match tolerance {
            None => Ok(most),
            Some(_) => Err(PassError::NotConverged { sweeps: most, residual: residual.to_f64() }),
        }
    }

    /// The last normalisation and the logits of the top state.
    fn head(&self, on: &mut On<'_, T>, memory: &mut [T], top: Place) -> Result<(), PassError> {
        let Config { width, vocabulary, .. } = self.config;
        let plan = on.plan;
        let [normal, statistics] = plan.last();
        let [logits, _] = plan.logits();
        let [top, normal, statistics, logits] = places(memory, [top, normal, statistics, logits])?;
        let statistics = statistics.get_mut(..2 * plan.rows).unwrap_or_default();
        let (gain, shift) = self.config.ln_f();
        let (from, to) = (view(&plan, top, width)?, view_mut(&plan, normal, width)?);
        normalize(on.backend, from, self.at(gain), self.at(shift), T::from_f64(EPSILON), statistics, to)?;
        let words = Matrix::new(self.at(self.config.wte()), width, vocabulary)?;
        let factors = Factors::Plain(view(&plan, normal, width)?, words);
        let out = view_mut(&plan, logits, vocabulary)?;
        Ok(multiply::<T, Identity>(on.backend, factors, T::ONE, Start::Zero, on.room, out)?)
    }

    /// The logits of the token after each: `tokens x vocabulary`, column after column. Returns the number of sweeps.
    ///
    /// # Errors
    /// [`PassError`]; the logits are unchanged then.
    pub fn logits(
        &self,
        backend: Backend,
        tokens: &[u32],
        sweeps: Sweeps,
        room: &mut [T],
        logits: &mut [T],
    ) -> Result<usize, PassError> {
        sweeps.check()?;
        let plan = self.plan(tokens, tokens.len(), 0, room)?;
        let (expected, found) = (plan.rows * plan.vocabulary, logits.len());
        if expected != found {
            return Err(PassError::Length { what: "logits", expected, found });
        }
        let (memory, working) = split_room(&plan, room);
        let mut on = On { backend, plan, room: working };
        self.embed(&plan, tokens, memory.get_mut(plan.embedding()).unwrap_or_default());
        let count = self.settle(&mut on, memory, sweeps)?;
        self.head(&mut on, memory, plan.state(plan.blocks - 1))?;
        let made = memory.get(plan.logits()[0].clone()).unwrap_or_default();
        if !made.chunks_exact(plan.stride).all(|column| column.iter().take(plan.rows).all(|x| x.is_finite()))
        {
            return Err(PassError::NotFinite);
        }
        for (to, from) in logits.chunks_exact_mut(plan.rows).zip(made.chunks_exact(plan.stride)) {
            to.copy_from_slice(from.get(..plan.rows).unwrap_or_default());
        }
        Ok(count)
    }

    /// The sum of the loss over all targets that are counted, in nats, and how many those are.
    ///
    /// # Errors
    /// [`PassError`].
    pub fn loss(
        &self,
        backend: Backend,
        sequences: Sequences<'_>,
        sweeps: Sweeps,
        room: &mut [T],
    ) -> Result<(T, usize), PassError> {
        sweeps.check()?;
        let plan = self.sequences(sequences, 0, room)?;
        let (memory, working) = split_room(&plan, room);
        let mut on = On { backend, plan, room: working };
        self.embed(&plan, sequences.tokens, memory.get_mut(plan.embedding()).unwrap_or_default());
        self.settle(&mut on, memory, sweeps)?;
        self.head(&mut on, memory, plan.state(plan.blocks - 1))?;
        self.cross_entropy(&on, memory, sequences.targets)
    }

    fn sequences(&self, sequences: Sequences<'_>, kept: usize, room: &[T]) -> Result<Plan, PassError> {
        let Sequences { length, tokens, targets } = sequences;
        let plan = self.plan(tokens, length, kept, room)?;
        let (expected, found) = (tokens.len(), targets.len());
        if expected != found {
            return Err(PassError::Length { what: "targets", expected, found });
        }
        let vocabulary = self.config.vocabulary;
        let wrong = targets.iter().find(|&&target| target != IGNORED && target as usize >= vocabulary);
        match wrong {
            Some(&token) => Err(PassError::Token { token, vocabulary }),
            None if targets.iter().all(|&target| target == IGNORED) => Err(PassError::NoTarget),
            None => Ok(plan),
        }
    }

    /// The loss of the logits, summed up, and its gradient in the second place of logits; rows that are not counted have none.
    fn cross_entropy(
        &self,
        on: &On<'_, T>,
        memory: &mut [T],
        targets: &[u32],
    ) -> Result<(T, usize), PassError> {
        let plan = on.plan;
        let vocabulary = self.config.vocabulary;
        let [logits, gradient] = places(memory, plan.logits())?;
        let (mut total, mut counted) = (T::ZERO, 0);
        // As many at a time as there is a list for, of one kind: counted or not.
        let mut labels = [0_usize; 64];
        let mut first = 0;
        while first < plan.rows {
            let rest = targets.get(first..).unwrap_or_default();
            let ignored = rest.first() == Some(&IGNORED);
            let same = rest.iter().take(labels.len()).take_while(|&&t| (t == IGNORED) == ignored).count();
            let count = same.max(1);
            let mut out = view_mut(&plan, gradient, vocabulary)?.row_range(first, count);
            if ignored {
                out.fill_with(|_| T::ZERO);
            } else {
                for (label, target) in labels.iter_mut().zip(rest) {
                    *label = *target as usize;
                }
                let from = view(&plan, logits, vocabulary)?.row_range(first, count);
                let labels = labels.get(..count).unwrap_or_default();
                let mean = kernel::cross_entropy(on.backend, from, labels, T::ZERO, out.reborrow())?;
                let count = T::from_usize(count);
                total += mean * count;
                out.fill_with(|x| x * count);
                counted += labels.len();
            }
            first += count;
        }
        if total.is_finite() { Ok((total, counted)) } else { Err(PassError::NotFinite) }
    }

    /// Adds to `gradient` the gradient of `share` times the sum of the losses of all targets that are counted. Returns that sum, in nats, and how many
    /// those are.
    ///
    /// The room is that of [`room`] with the number of sweeps that are kept: all that are unrolled, else 1.
    ///
    /// # Errors
    /// [`PassError`]; the gradient is unchanged then.
    pub fn gradient(
        &self,
        backend: Backend,
        sequences: Sequences<'_>,
        sweeps: Sweeps,
        share: T,
        room: &mut [T],
        gradient: &mut [T],
    ) -> Result<(T, usize), PassError> {
        sweeps.check()?;
        let plan = self.sequences(sequences, sweeps.kept(), room)?;
        let (expected, found) = (self.parameters.len(), gradient.len());
        if expected != found {
            return Err(PassError::Length { what: "gradient", expected, found });
        }
        let (memory, working) = split_room(&plan, room);
        let mut on = On { backend, plan, room: working };
        self.embed(&plan, sequences.tokens, memory.get_mut(plan.embedding()).unwrap_or_default());
        let fixed = !matches!(sweeps, Sweeps::Unrolled(_));
        if fixed {
            self.settle(&mut on, memory, sweeps)?;
        }
        let top = plan.blocks - 1;
        let output = |sweep: usize, block: usize| plan.kept(sweep, block).output;
        for sweep in 0..plan.kept {
            for block in 0..plan.blocks {
                let kept = plan.kept(sweep, block);
                let below = if block == 0 { plan.embedding() } else { output(sweep, block - 1) };
                let above = (self.config.feedback && block < top && (fixed || sweep > 0))
                    .then(|| if fixed { plan.state(block + 1) } else { output(sweep - 1, block + 1) });
                self.block(&mut on, block, memory, (below, above, kept.output.clone()), &kept)?;
            }
        }
        let last = plan.kept - 1;
        self.head(&mut on, memory, output(last, top))?;
        let loss = self.cross_entropy(&on, memory, sequences.targets)?;

        if let Sweeps::Settled { tolerance, most } = sweeps
            && self.config.feedback
            && top > 0
        {
            self.settle_back(&mut on, memory, share, tolerance, most)?;
        } else {
            carried(&plan, memory, 0).iter_mut().for_each(|x| *x = T::ZERO);
        }
        // From here on nothing fails.
        let at_sweeps = |sweep: usize| if fixed { 0 } else { sweep };
        for sweep in (0..plan.kept).rev() {
            let parity = last - sweep;
            self.sweep_back(
                &mut on,
                memory,
                at_sweeps(sweep),
                parity,
                Back {
                    seed: (sweep == last).then_some(share),
                    fixed,
                    tokens: sequences.tokens,
                    gradient: Some(&mut *gradient),
                },
            )?;
        }
        Ok(loss)
    }

    /// Sweeps the adjoint until it does not change: what the last sweep sends back to the states before it is sent back again.
    fn settle_back(
        &self,
        on: &mut On<'_, T>,
        memory: &mut [T],
        share: T,
        tolerance: f64,
        most: usize,
    ) -> Result<(), PassError> {
        let plan = on.plan;
        carried(&plan, memory, 0).iter_mut().for_each(|x| *x = T::ZERO);
        let mut residual = T::ZERO;
        for _ in 0..most {
            let back = Back { seed: Some(share), fixed: true, tokens: &[], gradient: None };
            self.sweep_back(on, memory, 0, 0, back)?;
            let [old, new] = places(memory, [all_carried(&plan, 0), all_carried(&plan, 1)])?;
            residual = T::ZERO;
            for (old, new) in old.chunks_exact_mut(plan.wide(1)).zip(new.chunks_exact(plan.wide(1))) {
                residual = largest_change(&plan, old, new, residual);
                old.copy_from_slice(new);
            }
            // Gradients are as large as the share of a loss.
            if residual.to_f64() <= tolerance * share.to_f64().abs() {
                return Ok(());
            }
        }
        Err(PassError::NotConverged { sweeps: most, residual: residual.to_f64() })
    }

    /// A sweep back, with what is carried in from the sweep after it, of one parity, to the one before it, of the other.
    fn sweep_back(
        &self,
        on: &mut On<'_, T>,
        memory: &mut [T],
        sweep: usize,
        parity: usize,
        mut back: Back<'_, T>,
    ) -> Result<(), PassError> {
        let Config { width, vocabulary, .. } = self.config;
        let plan = on.plan;
        let top = plan.blocks - 1;
        let [delta, ..] = plan.inside();
        let delta = || delta.clone();
        carried(&plan, memory, parity + 1).iter_mut().for_each(|x| *x = T::ZERO);
        let output = |block: usize| plan.kept(sweep, block).output;

        match back.seed {
            None => places(memory, [delta()])?.into_iter().for_each(|delta| delta.fill(T::ZERO)),
            Some(share) => {
                let [_, head_gradient, ..] = plan.inside();
                let [normal, statistics] = plan.last();
                let [delta, inside, normal, statistics, logits, state] = places(
                    memory,
                    [delta(), head_gradient, normal, statistics, plan.logits()[1].clone(), output(top)],
                )?;
                delta.fill(T::ZERO);
                let deltas = view(&plan, logits, vocabulary)?;
                let words = Matrix::new(self.at(self.config.wte()), width, vocabulary)?;
                let inside = inside.get_mut(..plan.wide(1)).unwrap_or_default();
                let out = view_mut(&plan, inside, width)?;
                let factors = Factors::TransposedRight(deltas, words);
                multiply::<T, Identity>(on.backend, factors, share, Start::Zero, on.room, out)?;
                let (gain_at, shift_at) = self.config.ln_f();
                let gain = self.at(gain_at.clone());
                let statistics = statistics.get(..2 * plan.rows).unwrap_or_default();
                let (x, d) = (view(&plan, state, width)?, view(&plan, inside, width)?);
                let to = view_mut(&plan, delta, width)?;
                match back.gradient.as_deref_mut() {
                    Some(gradient) => {
                        let [words, gains, shifts] =
                            places(gradient, [self.config.wte(), gain_at, shift_at])?;
                        let out = MatrixMut::new(words, width, vocabulary)?;
                        let factors = Factors::TransposedLeft(view(&plan, normal, width)?, deltas);
                        multiply::<T, Identity>(on.backend, factors, share, Start::Output, on.room, out)?;
                        normalize_back(on.backend, x, gain, statistics, d, gains, shifts, to)?;
                    }
                    None => {
                        let (gains, shifts) = spare(on.room, width)?;
                        normalize_back(on.backend, x, gain, statistics, d, gains, shifts, to)?;
                    }
                }
            }
        }
        for block in (0..plan.blocks).rev() {
            let [d, from_above] = places(memory, [delta(), plan.carried(parity, block)])?;
            add(from_above, d);
            let kept = plan.kept(sweep, block);
            let below = if block == 0 { plan.embedding() } else { output(block - 1) };
            let above = (self.config.feedback && block < top && (back.fixed || sweep > 0)).then(|| {
                let state =
                    if back.fixed { plan.state(block + 1) } else { plan.kept(sweep - 1, block + 1).output };
                (state, plan.carried(parity + 1, block + 1))
            });
            self.block_back(on, block, memory, (below, above), &kept, back.gradient.as_deref_mut())?;
        }
        if let Some(gradient) = back.gradient {
            let d = memory.get(delta()).unwrap_or_default();
            let [words, positions] = places(gradient, [self.config.wte(), self.config.wpe()])?;
            for (row, &token) in back.tokens.iter().enumerate() {
                let word = words.get_mut(token as usize * width..).unwrap_or_default();
                let place = positions.get_mut(row % plan.length * width..).unwrap_or_default();
                for ((d, word), place) in
                    d.iter().skip(row).step_by(plan.stride).zip(word).zip(place).take(width)
                {
                    *word += *d;
                    *place += *d;
                }
            }
        }
        Ok(())
    }

    /// The gradient of a block: of its output, in the first place of [`Plan::inside`], to that of what is below, in the same place.
    fn block_back(
        &self,
        on: &mut On<'_, T>,
        block: usize,
        memory: &mut [T],
        (below, above): (Place, Option<(Place, Place)>),
        kept: &Kept,
        mut gradient: Option<&mut [T]>,
    ) -> Result<(), PassError> {
        let Config { width, heads, causal, .. } = self.config;
        let (plan, backend) = (on.plan, on.backend);
        let at = self.config.block(block);
        let [delta, wide, qkv_delta, narrow, _] = plan.inside();
        let rows = 2 * plan.rows;

        let [d, dw, dn, activated, slopes, normal, statistics, middle] = places(
            memory,
            [
                delta.clone(),
                wide,
                narrow.clone(),
                kept.activated.clone(),
                kept.slopes.clone(),
                kept.normal_2.clone(),
                kept.statistics_2.clone(),
                kept.middle.clone(),
            ],
        )?;
        on.back(self.at(at.mlp_c_proj_weight.clone()), (d, width), (dw, 4 * width))?;
        let (factors, values) = (view(&plan, slopes, 4 * width)?, view_mut(&plan, dw, 4 * width)?);
        kernel::scale_by(backend, factors, values)?;
        on.back(self.at(at.mlp_c_fc_weight.clone()), (dw, 4 * width), (dn, width))?;
        let gain = self.at(at.ln_2_weight.clone());
        let statistics = statistics.get(..rows).unwrap_or_default();
        let through = |on: &mut On<'_, T>, gradients: Option<[&mut [T]; 2]>, d: &mut [T]| {
            let (x, dn) = (view(&plan, middle, width)?, view(&plan, dn, width)?);
            match gradients {
                Some([gains, shifts]) => normalize_back(
                    backend,
                    x,
                    gain,
                    statistics,
                    dn,
                    gains,
                    shifts,
                    view_mut(&plan, d, width)?,
                ),
                None => {
                    let (gains, shifts) = spare(on.room, width)?;
                    normalize_back(
                        backend,
                        x,
                        gain,
                        statistics,
                        dn,
                        gains,
                        shifts,
                        view_mut(&plan, d, width)?,
                    )
                }
            }
        };
        match gradient.as_deref_mut() {
            Some(gradient) => {
                let [w_out, b_out, w_in, b_in, gains, shifts] = places(
                    gradient,
                    [
                        at.mlp_c_proj_weight.clone(),
                        at.mlp_c_proj_bias.clone(),
                        at.mlp_c_fc_weight.clone(),
                        at.mlp_c_fc_bias.clone(),
                        at.ln_2_weight.clone(),
                        at.ln_2_bias.clone(),
                    ],
                )?;
                on.weights((w_out, Some(b_out)), (d, width), (activated, 4 * width))?;
                on.weights((w_in, Some(b_in)), (dw, 4 * width), (normal, width))?;
                through(on, Some([gains, shifts]), d)?;
            }
            None => through(on, None, d)?,
        }

        let input = if above.is_some() { kept.input.clone() } else { below };
        let [d, dqkv, dn, attended, qkv, logs, normal, statistics, input] = places(
            memory,
            [
                delta.clone(),
                qkv_delta,
                narrow.clone(),
                kept.attended.clone(),
                kept.qkv.clone(),
                kept.logs.clone(),
                kept.normal_1.clone(),
                kept.statistics_1.clone(),
                input,
            ],
        )?;
        let dqkv = dqkv.get_mut(..plan.wide(3)).unwrap_or_default();
        on.back(self.at(at.attn_c_proj_weight.clone()), (d, width), (dn, width))?;
        {
            let qkv = view(&plan, qkv, 3 * width)?;
            let each = heads * plan.length;
            for (sequence, logs) in logs.chunks_exact(each).take(plan.rows / plan.length).enumerate() {
                let (first, count) = (sequence * plan.length, plan.length);
                let part = |number| qkv.columns(number * width, width).row_range(first, count);
                let deltas = view(&plan, dn, width)?.row_range(first, count);
                let all = view_mut(&plan, dqkv, 3 * width)?.row_range(first, count);
                let (dq, rest) = all.split_columns(width);
                let (dk, dv) = rest.split_columns(width);
                let parts = [dq, dk, dv];
                attend_back(backend, heads, causal, part(0), part(1), part(2), logs, deltas, on.room, parts)?;
            }
        }
        if let Some(gradient) = gradient.as_deref_mut() {
            let [w_out, b_out, w_in, b_in] = places(
                gradient,
                [
                    at.attn_c_proj_weight.clone(),
                    at.attn_c_proj_bias.clone(),
                    at.attn_c_attn_weight.clone(),
                    at.attn_c_attn_bias.clone(),
                ],
            )?;
            on.weights((w_out, Some(b_out)), (d, width), (attended, width))?;
            on.weights((w_in, Some(b_in)), (dqkv, 3 * width), (normal, width))?;
        }
        on.back(self.at(at.attn_c_attn_weight.clone()), (dqkv, 3 * width), (dn, width))?;
        let gain = self.at(at.ln_1_weight.clone());
        let statistics = statistics.get(..rows).unwrap_or_default();
        let (x, deltas, to) =
            (view(&plan, input, width)?, view(&plan, dn, width)?, view_mut(&plan, d, width)?);
        match gradient.as_deref_mut() {
            Some(gradient) => {
                let [gains, shifts] = places(gradient, [at.ln_1_weight, at.ln_1_bias])?;
                normalize_back(backend, x, gain, statistics, deltas, gains, shifts, to)?;
            }
            None => {
                let (gains, shifts) = spare(on.room, width)?;
                normalize_back(backend, x, gain, statistics, deltas, gains, shifts, to)?;
            }
        }

        let (Some(feedback), Some((state, carried))) = (self.config.feedback_of(block), above) else {
            return Ok(());
        };
        self.feedback_back(on, memory, &feedback, (state, carried), kept, gradient)
    }

    /// The gradient of what a block took from above.
    fn feedback_back(
        &self,
        on: &mut On<'_, T>,
        memory: &mut [T],
        at: &FeedbackLayout,
        (state, carried): (Place, Place),
        kept: &Kept,
        gradient: Option<&mut [T]>,
    ) -> Result<(), PassError> {
        let width = self.config.width;
        let (plan, backend) = (on.plan, on.backend);
        let [delta, _, _, narrow, gated] = plan.inside();
        let [d, dn, du, normal, statistics, fed_back, state, carried] = places(
            memory,
            [
                delta,
                narrow,
                gated,
                kept.above_normal.clone(),
                kept.above_statistics.clone(),
                kept.fed_back.clone(),
                state,
                carried,
            ],
        )?;
        let gates = self.at(at.gate.clone());
        let stride = plan.stride;
        for ((to, d), gate) in du.chunks_exact_mut(stride).zip(d.chunks_exact(stride)).zip(gates) {
            for (to, d) in to.iter_mut().zip(d).take(plan.rows) {
                *to = *gate * *d;
            }
        }
        on.back(self.at(at.weight.clone()), (du, width), (dn, width))?;
        let gain = self.at(at.ln_weight.clone());
        let statistics = statistics.get(..2 * plan.rows).unwrap_or_default();
        let (x, deltas, to) =
            (view(&plan, state, width)?, view(&plan, dn, width)?, view_mut(&plan, carried, width)?);
        match gradient {
            Some(gradient) => {
                let [weights, gate, gains, shifts] = places(
                    gradient,
                    [at.weight.clone(), at.gate.clone(), at.ln_weight.clone(), at.ln_bias.clone()],
                )?;
                for ((gate, d), u) in
                    gate.iter_mut().zip(d.chunks_exact(stride)).zip(fed_back.chunks_exact(stride))
                {
                    *gate += sum(d.iter().zip(u).take(plan.rows).map(|(d, u)| *d * *u));
                }
                on.weights((weights, None), (du, width), (normal, width))?;
                Ok(normalize_back(backend, x, gain, statistics, deltas, gains, shifts, to)?)
            }
            None => {
                let (gains, shifts) = spare(on.room, width)?;
                Ok(normalize_back(backend, x, gain, statistics, deltas, gains, shifts, to)?)
            }
        }
    }
}

/// What a sweep back takes.
struct Back<'a, T> {
    /// What a loss counts, where the loss is taken after this sweep.
    seed: Option<T>,
    /// Whether what is fed back is the settled state and not that of the sweep before.
    fixed: bool,
    tokens: &'a [u32],
    /// Where gradients of parameters are added up, if they are asked for.
    gradient: Option<&'a mut [T]>,
}

/// Gradients of gain and shift that nobody asks for.
fn spare<T: Scalar>(room: &mut [T], width: usize) -> Result<(&mut [T], &mut [T]), ShapeError> {
    let (gains, rest) = room.split_at_mut(width.min(room.len()));
    let shifts = rest.get_mut(..width).unwrap_or_default();
    gains.fill(T::ZERO);
    shifts.fill(T::ZERO);
    Ok((gains, shifts))
}

fn all_carried(plan: &Plan, parity: usize) -> Place {
    plan.carried(parity, 0).start..plan.carried(parity, plan.blocks - 1).end
}

fn carried<'a, T>(plan: &Plan, memory: &'a mut [T], parity: usize) -> &'a mut [T] {
    memory.get_mut(all_carried(plan, parity)).unwrap_or_default()
}

/// The largest change of a state; a NaN stays one.
fn largest_change<T: Scalar>(plan: &Plan, old: &[T], new: &[T], mut largest: T) -> T {
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

/// Memory, and the room of products and attention.
fn split_room<'m, T>(plan: &Plan, room: &'m mut [T]) -> (&'m mut [T], &'m mut [T]) {
    room.split_at_mut(plan.memory().min(room.len()))
}
