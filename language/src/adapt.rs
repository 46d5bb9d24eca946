//! Which parameters learn: all, those of the last block, or adapters of low rank beside all that stays.

use crate::train::TrainError;
use crate::{Config, ConfigError};
use attractor::kernel::{Factors, Identity, Matrix, MatrixMut, ShapeError, Start, multiply, multiply_room};
use attractor::simd::Backend;
use core::ops::Range;

/// What learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Learns {
    /// All parameters.
    #[default]
    All,
    /// The last block and the normalisation behind it.
    Last,
    /// A low-rank term beside every matrix of the blocks and of the feedback: W + A B, where A is `inputs x rank` and B `rank x outputs` (Hu et al. 2021).
    /// B begins at zero, and with it the model as it was, to the bit.
    LowRank {
        /// The rank, at most the model's width.
        rank: usize,
    },
}

impl Learns {
    /// How many numbers learn.
    ///
    /// ```
    /// use attractor_language::{Config, adapt::Learns};
    /// let config = Config::new(128, 4, 4, 128);
    /// assert!(Learns::LowRank { rank: 8 }.count(&config) * 10 < Learns::All.count(&config));
    /// ```
    #[must_use]
    pub fn count(self, config: &Config) -> usize {
        match self {
            Self::All => config.parameters(),
            Self::Last => last(config).len(),
            Self::LowRank { rank } => projections(config, rank).last().map_or(0, |last| last.own.end),
        }
    }

    /// Whether a model of this shape can learn so.
    ///
    /// # Errors
    /// [`ConfigError::Range`]: a rank of zero, or of more than the width.
    pub fn check(self, config: &Config) -> Result<(), ConfigError> {
        match self {
            Self::LowRank { rank } if !(1..=config.width).contains(&rank) => {
                Err(ConfigError::Range { what: "rank", least: 1, most: config.width, found: rank })
            }
            _ => Ok(()),
        }
    }
}

/// The last block, and the normalisation behind it.
pub(crate) fn last(config: &Config) -> Range<usize> {
    let block = config.block(config.blocks.saturating_sub(1));
    block.ln_1_weight.start..config.ln_f().1.end
}

/// A matrix with an adapter beside it.
#[derive(Clone, Debug)]
struct Projection {
    inputs: usize,
    outputs: usize,
    /// Where it lies among the parameters.
    place: Range<usize>,
    /// Where A, and then B, lies among the adapters' numbers.
    own: Range<usize>,
}

fn projections(config: &Config, rank: usize) -> Vec<Projection> {
    let mut all = Vec::new();
    let mut end = 0;
    let embeddings = config.wpe().end;
    config.tensors(|_, shape, place| {
        if let (&[inputs, outputs], true) = (shape, place.start >= embeddings) {
            let start = end;
            end += rank * (inputs + outputs);
            all.push(Projection { inputs, outputs, place, own: start..end });
        }
    });
    all
}

/// Adapters of a model.
#[derive(Debug)]
pub(crate) struct Adapters {
    rank: usize,
    projections: Vec<Projection>,
    room: Vec<f32>,
}

impl Adapters {
    pub(crate) fn new(config: &Config, rank: usize) -> Self {
        let projections = projections(config, rank);
        let room = |p: &Projection| multiply_room(p.outputs, p.inputs.max(p.outputs), p.inputs.max(rank));
        let most = projections.iter().map(room).max().unwrap_or_default();
        Self { rank, projections, room: vec![0.0; most] }
    }

    pub(crate) const fn rank(&self) -> usize {
        self.rank
    }

    /// How many numbers they have.
    pub(crate) fn count(&self) -> usize {
        self.projections.last().map_or(0, |last| last.own.end)
    }

    /// Calls `visit` for every A, with true, and every B.
    pub(crate) fn halves(&self, mut visit: impl FnMut(bool, Range<usize>)) {
        for Projection { inputs, own, .. } in &self.projections {
            let middle = own.start + self.rank * inputs;
            visit(true, own.start..middle);
            visit(false, middle..own.end);
        }
    }

    /// Parameters: those they are beside, and A B added to their matrices.
    pub(crate) fn add(
        &mut self,
        backend: Backend,
        base: &[f32],
        numbers: &[f32],
        parameters: &mut [f32],
    ) -> Result<(), TrainError> {
        parameters.copy_from_slice(base);
        for projection in &self.projections {
            // Column-major, a matrix of inputs x outputs in memory is one of outputs x inputs.
            let [a, b] = projection.factors(numbers, self.rank)?;
            let out = parameters.get_mut(projection.place.clone()).unwrap_or_default();
            let out = MatrixMut::new(out, projection.outputs, projection.inputs)?;
            multiply::<_, Identity>(backend, Factors::Plain(b, a), 1.0, Start::Output, &mut self.room, out)?;
        }
        Ok(())
    }

    /// The gradient of their numbers, of that of the parameters.
    pub(crate) fn gradient(
        &mut self,
        backend: Backend,
        numbers: &[f32],
        gradient: &[f32],
        own: &mut [f32],
    ) -> Result<(), TrainError> {
        for projection in &self.projections {
            let Projection { inputs, outputs, .. } = *projection;
            let [a, b] = projection.factors(numbers, self.rank)?;
            let of = gradient.get(projection.place.clone()).unwrap_or_default();
            let of = Matrix::new(of, outputs, inputs)?;
            let own = own.get_mut(projection.own.clone()).unwrap_or_default();
            let (to_a, to_b) = own.split_at_mut(self.rank * inputs);
            let to_a = MatrixMut::new(to_a, self.rank, inputs)?;
            let factors = Factors::TransposedLeft(b, of);
            multiply::<_, Identity>(backend, factors, 1.0, Start::Zero, &mut self.room, to_a)?;
            let to_b = MatrixMut::new(to_b, outputs, self.rank)?;
            let factors = Factors::TransposedRight(of, a);
            multiply::<_, Identity>(backend, factors, 1.0, Start::Zero, &mut self.room, to_b)?;
        }
        Ok(())
    }
}

impl Projection {
    /// A as `rank x inputs` and B as `outputs x rank`, column-major.
    fn factors<'a>(&self, numbers: &'a [f32], rank: usize) -> Result<[Matrix<'a, f32>; 2], ShapeError> {
        let own = numbers.get(self.own.clone()).unwrap_or_default();
        let (a, b) = own.split_at((rank * self.inputs).min(own.len()));
        Ok([Matrix::new(a, rank, self.inputs)?, Matrix::new(b, self.outputs, rank)?])
    }
}
