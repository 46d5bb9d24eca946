//! One token after another: keys and values of earlier tokens are kept, for every sweep, so that the logits are those of a whole pass.

use crate::pass::{Model, PassError, stride};
use crate::{Config, EPSILON};
use attractor::kernel::{
    self, Base, Gelu, Matrix, MatrixMut, Product, ShapeError, affine, normalize, transposed,
};
use attractor::simd::Backend;

/// Reads tokens and foretells the next one. The memory is the caller's: [`Generator::room`].
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
pub struct Generator<'a> {
    backend: Backend,
    model: Model<'a>,
    sweeps: usize,
    /// Tokens that are read at a time.
    together: usize,
    /// Keys and values, a column a feature and a row a place: of every block, of every sweep.
    caches: &'a mut [f32],
    working: &'a mut [f32],
    length: usize,
}

impl<'a> Generator<'a> {
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

    /// Nothing is read yet. What `room` holds does not matter.
    ///
    /// # Errors
    /// [`PassError`] if there is no sweep, no token at a time, too little room, or the model is not causal.
    pub fn new(
        backend: Backend,
        model: Model<'a>,
        sweeps: usize,
        together: usize,
        room: &'a mut [f32],
    ) -> Result<Self, PassError> {
        let config = model.config();
        if sweeps == 0 {
            return Err(PassError::NoSweep);
        }
        if !config.causal {
            return Err(PassError::NotCausal);
        }
        if together == 0 {
            return Err(PassError::Tokens { found: 0, most: config.context });
        }
        let (expected, found) = (Self::room(config, sweeps, together), room.len());
        if found < expected {
            return Err(PassError::Length { what: "room", expected, found });
        }
        // A model without feedback is the same in every sweep.
        let (caches, working) = room.split_at_mut(Self::caches(config, sweeps));
        let sweeps = if config.feedback { sweeps } else { 1 };
        Ok(Self { backend, model, sweeps, together, caches, working, length: 0 })
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
        let Config { context, vocabulary, .. } = *self.model.config();
        let left = context - self.length;
        if tokens.is_empty() || tokens.len() > left {
            return Err(PassError::Tokens { found: tokens.len(), most: left });
        }
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
            return Err(PassError::Token { token, vocabulary });
        }
        let mut read = 0;
        for some in tokens.chunks(self.together) {
            read += some.len();
            self.some(some, read == tokens.len())?;
            self.length += some.len();
        }
        let logits = self.working.get(self.working.len().saturating_sub(vocabulary)..).unwrap_or_default();
        if logits.iter().all(|x| x.is_finite()) { Ok(logits) } else { Err(PassError::NotFinite) }
    }

    /// Tokens that follow one another. Matrices have a row a token.
    fn some(&mut self, tokens: &[u32], last: bool) -> Result<(), PassError> {
        let config = *self.model.config();
        let Config { width, blocks, context, vocabulary, .. } = config;
        let (backend, length, rows) = (self.backend, self.length, tokens.len());
        let parameters = self.model.parameters();
        let at = |place: core::ops::Range<usize>| parameters.get(place).unwrap_or_default();
        let mut rest = &mut *self.working;
        // Logits come last, where `read` finds them.
        let mut take = |count: usize| {
            let (some, left) = core::mem::take(&mut rest).split_at_mut(count);
            rest = left;
            some
        };
        let state = rows * width;
        let states = take((blocks + 1) * state);
        let (input, normal) = (take(state), take(state));
        let (wide, other, statistics) = (take(4 * state), take(4 * state), take(2 * rows));
        let (scores, token) = (take(context), take(4 * width));
        let before = rest.len().saturating_sub(vocabulary);
        let logits = rest.split_at_mut(before).1;
        let epsilon = EPSILON as f32;
        let product = |start: Base<'_, f32>, weights: &[f32], from: &[f32], to: &mut [f32]| {
            let (inputs, outputs) = (from.len() / rows, to.len() / rows);
            let matrix = Matrix::new(weights, outputs, inputs)?;
            let operand = Matrix::new(from, rows, inputs)?;
            affine(backend, start, &[Product { matrix, operand }], MatrixMut::new(to, rows, outputs)?)
        };
        let mut normalized = |from: &[f32], gain: &[f32], shift: &[f32], to: &mut [f32]| {
            let (from, to) = (Matrix::new(from, rows, width)?, MatrixMut::new(to, rows, width)?);
            normalize(backend, from, gain, shift, epsilon, statistics, to)
        };

        let (embedding, states) = states.split_at_mut(state);
        for (row, &token) in tokens.iter().enumerate() {
            let word = at(config.wte()).iter().skip(token as usize * width);
            let place = at(config.wpe()).iter().skip((length + row) * width);
            for ((to, word), place) in embedding.iter_mut().skip(row).step_by(rows).zip(word).zip(place) {
                *to = *word + *place;
            }
        }
        for sweep in 0..self.sweeps {
            for block in 0..blocks {
                let layout = config.block(block);
                let below = match block {
                    0 => &*embedding,
                    _ => states.get((block - 1) * state..block * state).unwrap_or_default(),
                };
                input.copy_from_slice(below);
                if let (Some(feedback), true) = (config.feedback_of(block), sweep > 0) {
                    let above = states.get((block + 1) * state..(block + 2) * state).unwrap_or_default();
                    normalized(above, at(feedback.ln_weight), at(feedback.ln_bias), normal)?;
                    let fed_back = wide.get_mut(..state).unwrap_or_default();
                    product(Base::Zero, at(feedback.weight), normal, fed_back)?;
                    let columns = input.chunks_exact_mut(rows).zip(fed_back.chunks_exact(rows));
                    for ((to, u), gate) in columns.zip(at(feedback.gate)) {
                        for (to, u) in to.iter_mut().zip(u) {
                            *to += *gate * *u;
                        }
                    }
                }
                normalized(input, at(layout.ln_1_weight), at(layout.ln_1_bias), normal)?;
                let qkv = wide.get_mut(..3 * state).unwrap_or_default();
                product(Base::Bias(at(layout.attn_c_attn_bias)), at(layout.attn_c_attn_weight), normal, qkv)?;
                let start = (sweep * blocks + block) * Self::cache(&config);
                let cache = self.caches.get_mut(start..start + Self::cache(&config)).unwrap_or_default();
                let attended = other.get_mut(..state).unwrap_or_default();
                for row in 0..rows {
                    let (own, to) = token.split_at_mut(3 * width);
                    own.iter_mut().zip(qkv.iter().skip(row).step_by(rows)).for_each(|(to, x)| *to = *x);
                    attend_to(backend, &config, length + row, own, cache, scores, to)?;
                    let places = attended.iter_mut().skip(row).step_by(rows);
                    places.zip(to).for_each(|(to, x)| *to = *x);
                }
                let proj = Base::Bias(at(layout.attn_c_proj_bias));
                product(proj, at(layout.attn_c_proj_weight), attended, normal)?;
                for (to, x) in input.iter_mut().zip(&*normal) {
                    *to += *x;
                }
                normalized(input, at(layout.ln_2_weight), at(layout.ln_2_bias), normal)?;
                product(Base::Bias(at(layout.mlp_c_fc_bias)), at(layout.mlp_c_fc_weight), normal, wide)?;
                kernel::activate::<_, Gelu>(backend, wide);
                product(Base::Bias(at(layout.mlp_c_proj_bias)), at(layout.mlp_c_proj_weight), wide, normal)?;
                let state = states.get_mut(block * state..(block + 1) * state).unwrap_or_default();
                for ((to, x), y) in state.iter_mut().zip(&*input).zip(&*normal) {
                    *to = *x + *y;
                }
            }
        }
        if last {
            let top = states.get((blocks - 1) * state..).unwrap_or_default();
            let (gain, shift) = config.ln_f();
            normalized(top, at(gain), at(shift), normal)?;
            let token = token.get_mut(..width).unwrap_or_default();
            token.iter_mut().zip(normal.iter().skip(rows - 1).step_by(rows)).for_each(|(to, x)| *to = *x);
            let matrix = Matrix::new(at(config.wte()), width, vocabulary)?;
            transposed(backend, Base::Zero, &[Product { matrix, operand: row(token)? }], row_mut(logits)?)?;
        }
        Ok(())
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
    let Config { width, heads, .. } = *config;
    let stride = stride(config.context);
    let features = width / heads;
    let mut parts = qkv.chunks_exact(width);
    let [query, key, value] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let (keys, values) = cache.split_at_mut(cache.len() / 2);
    for (cache, new) in [(&mut *keys, key), (&mut *values, value)] {
        for (place, x) in cache.iter_mut().skip(length).step_by(stride).zip(new) {
            *place = *x;
        }
    }
    let count = length + 1;
    let (keys, values) = (
        Matrix::with_stride(keys, count, width, stride)?,
        Matrix::with_stride(values, count, width, stride)?,
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
