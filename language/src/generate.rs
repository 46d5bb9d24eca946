//! One token after another: keys and values of earlier tokens are kept, for every sweep, so that the logits are those of a whole pass.

use crate::pass::{Model, PassError, stride};
use crate::weights::{Gains, Weights};
use crate::{Config, EPSILON};
use attractor::kernel::{
    self, Base, Gelu, Matrix, MatrixMut, Product, ShapeError, affine, normalize, transposed,
};
use attractor::simd::Backend;

/// Reads tokens and foretells the next one. The memory is the caller's: [`Generator::room`]. The weights are those of a [`Model`] or of a
/// [`Small`](crate::small::Small) one.
///
/// ```
/// use attractor_language::{Config, generate::Generator, pass::Model};
/// use attractor::simd::Backend;
///
/// const CONFIG: Config = Config { vocabulary: 5, ..Config::new(8, 2, 2, 4) };
/// let parameters = [0.0; CONFIG.parameters()];
/// let mut room = [0.0; Generator::room(&CONFIG, 2, 1)];
/// let model = Model::new(CONFIG, &parameters)?;
/// let mut generator = Generator::new(Backend::best(), model, 2, 1, &mut room)?;
/// assert_eq!(generator.read(&[0, 4])?, [0.0; 5]); // the logits of the third token
/// # Ok::<(), attractor_language::pass::PassError>(())
/// ```
#[derive(Debug)]
pub struct Generator<'a, W = Model<'a>> {
    backend: Backend,
    weights: W,
    sweeps: usize,
    /// Tokens that are read at a time.
    together: usize,
    /// Keys and values, a column a feature and a row a place: of every block, of every sweep.
    caches: &'a mut [f32],
    working: &'a mut [f32],
    length: usize,
}

impl Generator<'_> {
    /// How many numbers of room a model takes with so many sweeps, if it reads so many tokens at a time: weights are loaded once for all of them.
    #[must_use]
    pub const fn room(config: &Config, sweeps: usize, together: usize) -> usize {
        Self::caches(config, sweeps) + Self::working(config, together)
    }
    const fn caches(config: &Config, sweeps: usize) -> usize {
        sweeps * config.blocks * Self::cache(config)
    }
    const fn cache(config: &Config) -> usize {
        2 * stride(config.context) * config.width
    }
    const fn working(config: &Config, together: usize) -> usize {
        let token = (config.blocks + 1 + 2 + 4 + 4) * config.width + 2;
        together * token + 4 * config.width + config.context + config.vocabulary
    }
}

impl<'a, W: Weights> Generator<'a, W> {
    /// Nothing is read yet. What `room` holds does not matter.
    ///
    /// # Errors
    /// [`PassError`] if there is no sweep, no token at a time, too little room, or the model is not causal.
    pub fn new(
        backend: Backend,
        weights: W,
        sweeps: usize,
        together: usize,
        room: &'a mut [f32],
    ) -> Result<Self, PassError> {
        let config = weights.config();
        if sweeps == 0 {
            return Err(PassError::NoSweep);
        }
        if !config.causal {
            return Err(PassError::NotCausal);
        }
        if together == 0 {
            return Err(PassError::Tokens { found: 0, most: config.context });
        }
        let (expected, found) = (Generator::room(config, sweeps, together), room.len());
        if found < expected {
            return Err(PassError::Length { what: "room", expected, found });
        }
        // A model without feedback is the same in every sweep.
        let caches = Generator::caches(config, sweeps);
        let (caches, working) = room.split_at_mut_checked(caches).unwrap_or_default();
        let sweeps = if config.feedback { sweeps } else { 1 };
        let together = if W::TOGETHER { together } else { 1 };
        Ok(Self { backend, weights, sweeps, together, caches, working, length: 0 })
    }

    /// How many tokens were read.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }
    /// Whether none was.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
    /// Forgets all that was read.
    pub const fn clear(&mut self) {
        self.length = 0;
    }

    /// Reads tokens, one at least, and returns the logits of the one after the last.
    ///
    /// # Errors
    /// [`PassError`]: an unknown token, or more than there are places left; nothing is read then. A number that is not finite ends it.
    pub fn read(&mut self, tokens: &[u32]) -> Result<&[f32], PassError> {
        let Config { context, vocabulary, .. } = *self.weights.config();
        let left = context - self.length;
        if tokens.is_empty() || tokens.len() > left {
            return Err(PassError::Tokens { found: tokens.len(), most: left });
        }
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
            return Err(PassError::Token { token, vocabulary });
        }
        let mut read = 0;
        while read < tokens.len() {
            let end = (read + self.together).min(tokens.len());
            self.some(tokens.get(read..end).unwrap_or_default(), end == tokens.len())?;
            self.length += end - read;
            read = end;
        }
        let logits = self.working.get(self.working.len().saturating_sub(vocabulary)..).unwrap_or_default();
        if logits.iter().all(|x| x.is_finite()) { Ok(logits) } else { Err(PassError::NotFinite) }
    }

    /// Tokens that follow one another. Matrices have a row a token.
    fn some(&mut self, tokens: &[u32], last: bool) -> Result<(), PassError> {
        let config = *self.weights.config();
        let Config { width, blocks, context, vocabulary, .. } = config;
        let (backend, length, rows) = (self.backend, self.length, tokens.len().max(1));
        let mut rest = &mut *self.working;
        // Logits come last, where `read` finds them.
        let mut take = |count: usize| {
            let (some, left) = core::mem::take(&mut rest).split_at_mut_checked(count).unwrap_or_default();
            rest = left;
            some
        };
        let state = rows * width;
        let states = take((blocks + 1) * state);
        let (input, normal) = (take(state), take(state));
        let (wide, other, statistics) = (take(4 * state), take(4 * state), take(2 * rows));
        let (scores, token) = (take(context), take(4 * width));
        let before = rest.len().saturating_sub(vocabulary);
        let logits = rest.get_mut(before..).unwrap_or_default();
        let epsilon = EPSILON as f32;
        let product = |base: Option<&[f32]>, matrix: W::Matrix, from: &[f32], to: &mut [f32]| {
            W::product(backend, base, matrix, rows, from, to)
        };
        let mut normalized = |from: &[f32], [gain, shift]: Gains<'_>, to: &mut [f32]| {
            let (from, to) = (Matrix::new(from, rows, width)?, MatrixMut::new(to, rows, width)?);
            normalize(backend, from, gain, shift, epsilon, statistics, to)
        };

        let (embedding, states) = states.split_at_mut_checked(state).unwrap_or_default();
        for (row, &token) in tokens.iter().enumerate() {
            let to = embedding.iter_mut().skip(row).step_by(rows);
            self.weights.embed(token as usize, length + row, to);
        }
        for sweep in 0..self.sweeps {
            for number in 0..blocks {
                let block = self.weights.block(number);
                let below = match number {
                    0 => &*embedding,
                    _ => states.get((number - 1) * state..number * state).unwrap_or_default(),
                };
                input.iter_mut().zip(below).for_each(|(to, x)| *to = *x);
                if let (Some(feedback), true) = (self.weights.feedback(number), sweep > 0) {
                    let above = states.get((number + 1) * state..(number + 2) * state).unwrap_or_default();
                    normalized(above, feedback.ln, normal)?;
                    let fed_back = wide.get_mut(..state).unwrap_or_default();
                    product(None, feedback.weight, normal, fed_back)?;
                    let columns = input.chunks_exact_mut(rows).zip(fed_back.chunks_exact(rows));
                    for ((to, u), gate) in columns.zip(feedback.gate) {
                        for (to, u) in to.iter_mut().zip(u) {
                            *to += *gate * *u;
                        }
                    }
                }
                normalized(input, block.ln_1, normal)?;
                let qkv = wide.get_mut(..3 * state).unwrap_or_default();
                let (matrix, bias) = block.attn_c_attn;
                product(Some(bias), matrix, normal, qkv)?;
                let start = (sweep * blocks + number) * Generator::cache(&config);
                let cache = self.caches.get_mut(start..start + Generator::cache(&config)).unwrap_or_default();
                let attended = other.get_mut(..state).unwrap_or_default();
                for row in 0..rows {
                    let (own, to) = token.split_at_mut_checked(3 * width).unwrap_or_default();
                    own.iter_mut().zip(qkv.iter().skip(row).step_by(rows)).for_each(|(to, x)| *to = *x);
                    attend_to(backend, &config, length + row, own, cache, scores, to)?;
                    let places = attended.iter_mut().skip(row).step_by(rows);
                    places.zip(to).for_each(|(to, x)| *to = *x);
                }
                let (matrix, bias) = block.attn_c_proj;
                product(Some(bias), matrix, attended, normal)?;
                for (to, x) in input.iter_mut().zip(&*normal) {
                    *to += *x;
                }
                normalized(input, block.ln_2, normal)?;
                let (matrix, bias) = block.mlp_c_fc;
                product(Some(bias), matrix, normal, wide)?;
                kernel::activate::<_, Gelu>(backend, wide);
                let (matrix, bias) = block.mlp_c_proj;
                product(Some(bias), matrix, wide, normal)?;
                let state = states.get_mut(number * state..(number + 1) * state).unwrap_or_default();
                for ((to, x), y) in state.iter_mut().zip(&*input).zip(&*normal) {
                    *to = *x + *y;
                }
            }
        }
        if last {
            let top = states.get((blocks - 1) * state..).unwrap_or_default();
            normalized(top, self.weights.last(), normal)?;
            let token = token.get_mut(..width).unwrap_or_default();
            token.iter_mut().zip(normal.iter().skip(rows - 1).step_by(rows)).for_each(|(to, x)| *to = *x);
            self.weights.logits(backend, token, logits)?;
        }
        Ok(())
    }
}

/// Text that goes on and on: when the context is full its newer half is read again.
///
/// ```
/// use attractor_language::{Config, generate::{Continued, Generator}, pass::Model};
/// use attractor::simd::Backend;
///
/// const CONFIG: Config = Config { vocabulary: 5, ..Config::new(8, 2, 2, 4) };
/// let parameters = [0.0; CONFIG.parameters()];
/// let mut room = [0.0; Generator::room(&CONFIG, 2, 1)];
/// let generator = Generator::new(Backend::best(), Model::new(CONFIG, &parameters)?, 2, 1, &mut room)?;
/// let mut tokens = [0; CONFIG.context];
/// let mut text = Continued::new(generator, &[0, 4], &mut tokens)?;
/// for next in [3, 1, 2, 0, 4, 4] {
///     assert_eq!(text.logits()?, [0.0; 5]);
///     text.push(next);
/// }
/// # Ok::<(), attractor_language::pass::PassError>(())
/// ```
#[derive(Debug)]
pub struct Continued<'a, W = Model<'a>> {
    generator: Generator<'a, W>,
    /// The newest tokens, as many as the context has at most.
    tokens: &'a mut [u32],
    known: usize,
    /// Of those the last ones, which the generator has not read.
    unread: usize,
}

impl<'a, W: Weights> Continued<'a, W> {
    /// A text that begins with a prompt, of which no more is read than the context has room for. `tokens` is room for as many.
    ///
    /// # Errors
    /// [`PassError`] if there is no prompt, or less room.
    pub fn new(
        mut generator: Generator<'a, W>,
        prompt: &[u32],
        tokens: &'a mut [u32],
    ) -> Result<Self, PassError> {
        let context = generator.weights.config().context;
        let found = tokens.len();
        let Some(tokens) = tokens.get_mut(..context) else {
            return Err(PassError::Length { what: "tokens", expected: context, found });
        };
        let prompt = prompt.get(prompt.len().saturating_sub(context)..).unwrap_or_default();
        let known = prompt.len();
        if known == 0 {
            return Err(PassError::Tokens { found: 0, most: context });
        }
        tokens.iter_mut().zip(prompt).for_each(|(to, token)| *to = *token);
        generator.clear();
        Ok(Self { generator, tokens, known, unread: known })
    }

    /// The logits of the next token. It is to be [pushed](Self::push) before there are others.
    ///
    /// # Errors
    /// As [`Generator::read`].
    pub fn logits(&mut self) -> Result<&[f32], PassError> {
        let Self { generator, tokens, known, unread } = self;
        let some = tokens.get(*known - *unread..*known).unwrap_or_default();
        let logits = generator.read(some)?;
        *unread = 0;
        Ok(logits)
    }

    /// The next token.
    pub fn push(&mut self, token: u32) {
        let Self { generator, tokens, known, unread } = self;
        if *known >= tokens.len() {
            // With the new one, half of a context.
            let keep = (tokens.len() / 2).saturating_sub(1);
            for to in 0..keep {
                let from = tokens.get(*known - keep + to).copied().unwrap_or_default();
                if let Some(to) = tokens.get_mut(to) {
                    *to = from;
                }
            }
            generator.clear();
            (*known, *unread) = (keep, keep);
        }
        if let Some(to) = tokens.get_mut(*known) {
            *to = token;
            *known += 1;
            *unread += 1;
        }
    }
}

fn row(data: &[f32]) -> Result<Matrix<'_, f32>, ShapeError> {
    Matrix::new(data, 1, data.len())
}
fn row_mut(data: &mut [f32]) -> Result<MatrixMut<'_, f32>, ShapeError> {
    let count = data.len();
    MatrixMut::new(data, 1, count)
}

/// Keeps key and value of a token, and attends to all there are.
fn attend_to(
    backend: Backend,
    config: &Config,
    length: usize,
    qkv: &[f32],
    cache: &mut [f32],
    scores: &mut [f32],
    out: &mut [f32],
) -> Result<(), PassError> {
    let Config { width, heads, window, .. } = *config;
    let stride = stride(config.context);
    // There are heads, and they have features: the shape was checked.
    let features = (width / heads.max(1)).max(1);
    let mut parts = qkv.chunks_exact(width.max(1));
    let [query, key, value] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let (keys, values) = cache.split_at_mut_checked(cache.len() / 2).unwrap_or_default();
    for (cache, new) in [(&mut *keys, key), (&mut *values, value)] {
        for (place, x) in cache.iter_mut().skip(length).step_by(stride).zip(new) {
            *place = *x;
        }
    }
    let all = length + 1;
    let count = if window > 0 { all.min(window) } else { all };
    let (keys, values) = (
        Matrix::with_stride(keys, all, width, stride)?.row_range(all - count, count),
        Matrix::with_stride(values, all, width, stride)?.row_range(all - count, count),
    );
    let scores = scores.get_mut(..count).unwrap_or_default();
    let scale = 1.0 / libm::sqrtf(features as f32);
    for (head, (query, out)) in query.chunks_exact(features).zip(out.chunks_exact_mut(features)).enumerate() {
        let (keys, values) =
            (keys.columns(head * features, features), values.columns(head * features, features));
        affine(backend, Base::Zero, &[Product { matrix: keys, operand: row(query)? }], row_mut(scores)?)?;
        let largest = scores.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        for score in &mut *scores {
            *score = (*score - largest) * scale;
        }
        kernel::exp(backend, scores);
        let sum: f32 = scores.iter().sum();
        for score in &mut *scores {
            *score /= sum;
        }
        let operand = row(scores)?;
        transposed(backend, Base::Zero, &[Product { matrix: values, operand }], row_mut(out)?)?;
    }
    Ok(())
}
