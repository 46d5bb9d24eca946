//! Where a generator has its weights from, and how they multiply.

use crate::pass::Model;
use attractor::kernel::{Base, Matrix, MatrixMut, Product, ShapeError, affine, transposed};
use attractor::simd::Backend;

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// Gain and shift of a normalisation.
pub type Gains<'a> = [&'a [f32]; 2];

/// The weights of a block, with matrices of any kind.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names are those of `BlockLayout`")]
pub struct Block<'a, M> {
    pub ln_1: Gains<'a>,
    pub attn_c_attn: (M, &'a [f32]),
    pub attn_c_proj: (M, &'a [f32]),
    pub ln_2: Gains<'a>,
    pub mlp_c_fc: (M, &'a [f32]),
    pub mlp_c_proj: (M, &'a [f32]),
}

/// The weights by which a block takes what is above it.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names are those of `FeedbackLayout`")]
pub struct Feedback<'a, M> {
    pub ln: Gains<'a>,
    pub weight: M,
    pub gate: &'a [f32],
}

/// The weights of a model, whatever they are in: [`Model`] or [`Small`](crate::small::Small). Sealed.
pub trait Weights: Copy + sealed::Sealed {
    /// A matrix of a block.
    type Matrix: Copy;
    /// Whether weights serve several tokens at a time.
    const TOGETHER: bool;

    /// The shape.
    fn config(&self) -> &crate::Config;
    /// The first state of a token: the embeddings of it and of its place, feature after feature.
    fn embed<'t>(&self, token: usize, place: usize, to: impl Iterator<Item = &'t mut f32>);
    /// A block.
    fn block(&self, block: usize) -> Block<'_, Self::Matrix>;
    /// What feeds a block back, if anything does.
    fn feedback(&self, block: usize) -> Option<Feedback<'_, Self::Matrix>>;
    /// The last normalisation.
    fn last(&self) -> Gains<'_>;
    /// `to = base + from W`, of one token or, with [`TOGETHER`](Self::TOGETHER), of `rows`.
    ///
    /// # Errors
    /// [`ShapeError`] if shapes do not fit.
    fn product(
        backend: Backend,
        base: Option<&[f32]>,
        matrix: Self::Matrix,
        rows: usize,
        from: &[f32],
        to: &mut [f32],
    ) -> Result<(), ShapeError>;
    /// Products of one state with the embeddings of all tokens.
    ///
    /// # Errors
    /// [`ShapeError`] if shapes do not fit.
    fn logits(&self, backend: Backend, from: &[f32], to: &mut [f32]) -> Result<(), ShapeError>;
}

impl sealed::Sealed for Model<'_> {}

impl<'a> Weights for Model<'a> {
    /// As in GPT-2's files, inputs x outputs, row after row.
    type Matrix = &'a [f32];
    const TOGETHER: bool = true;

    fn config(&self) -> &crate::Config {
        Model::config(self)
    }
    fn embed<'t>(&self, token: usize, place: usize, to: impl Iterator<Item = &'t mut f32>) {
        let config = Model::config(self);
        let from = |table, row: usize| self.at(table).get(row * config.width..).unwrap_or_default();
        let word = from(config.wte(), token);
        if config.places {
            for ((to, word), place) in to.zip(word).zip(from(config.wpe(), place)) {
                *to = *word + *place;
            }
        } else {
            to.zip(word).for_each(|(to, word)| *to = *word);
        }
    }
    fn block(&self, block: usize) -> Block<'_, &'a [f32]> {
        let at = Model::config(self).block(block);
        Block {
            ln_1: [self.at(at.ln_1_weight), self.at(at.ln_1_bias)],
            attn_c_attn: (self.at(at.attn_c_attn_weight), self.at(at.attn_c_attn_bias)),
            attn_c_proj: (self.at(at.attn_c_proj_weight), self.at(at.attn_c_proj_bias)),
            ln_2: [self.at(at.ln_2_weight), self.at(at.ln_2_bias)],
            mlp_c_fc: (self.at(at.mlp_c_fc_weight), self.at(at.mlp_c_fc_bias)),
            mlp_c_proj: (self.at(at.mlp_c_proj_weight), self.at(at.mlp_c_proj_bias)),
        }
    }
    fn feedback(&self, block: usize) -> Option<Feedback<'_, &'a [f32]>> {
        let at = Model::config(self).feedback_of(block)?;
        Some(Feedback {
            ln: [self.at(at.ln_weight), self.at(at.ln_bias)],
            weight: self.at(at.weight),
            gate: self.at(at.gate),
        })
    }
    fn last(&self) -> Gains<'_> {
        let (gain, shift) = Model::config(self).ln_f();
        [self.at(gain), self.at(shift)]
    }
    fn product(
        backend: Backend,
        base: Option<&[f32]>,
        matrix: &'a [f32],
        rows: usize,
        from: &[f32],
        to: &mut [f32],
    ) -> Result<(), ShapeError> {
        let (inputs, outputs) = (from.len() / rows.max(1), to.len() / rows.max(1));
        let matrix = Matrix::new(matrix, outputs, inputs)?;
        let operand = Matrix::new(from, rows, inputs)?;
        let base = base.map_or(Base::Zero, Base::Bias);
        affine(backend, base, &[Product { matrix, operand }], MatrixMut::new(to, rows, outputs)?)
    }
    fn logits(&self, backend: Backend, from: &[f32], to: &mut [f32]) -> Result<(), ShapeError> {
        let (width, vocabulary) = (from.len(), to.len());
        let matrix = Matrix::new(self.at(Model::config(self).wte()), width, vocabulary)?;
        let product = Product { matrix, operand: Matrix::new(from, 1, width)? };
        transposed(backend, Base::Zero, &[product], MatrixMut::new(to, 1, vocabulary)?).map(|_| ())
    }
}
