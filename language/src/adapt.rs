//! Which parameters learn: all, those of the last block, or adapters of low rank beside all that stays.

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
    /// A low-rank term beside every matrix of the blocks and of the feedback, and that of the tokens: W + A B, where A is `inputs x rank` and B
    /// `rank x outputs` (Hu et al. 2021); and a term beside every gain, shift, bias and gate. B and those begin at zero, and with them the model as it was,
    /// to the bit. Embeddings of places stay.
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
            Self::LowRank { rank } => terms(config, rank).last().map_or(0, |last| last.own.end),
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

/// A tensor with a term beside it.
#[derive(Clone, Debug)]
struct Term {
    /// Inputs and outputs of a matrix, which has A B beside it.
    matrix: Option<(usize, usize)>,
    /// Where it lies among the parameters.
    place: Range<usize>,
    /// Where A, and then B, or the term itself, lies among the adapters' numbers.
    own: Range<usize>,
}

fn terms(config: &Config, rank: usize) -> Vec<Term> {
    let mut all = Vec::new();
    let mut end = 0_usize;
    let places = config.wpe();
    config.tensors(|_, shape, place| {
        if place == places {
            return;
        }
        let (matrix, count) = match *shape {
            [inputs, outputs] => (Some((inputs, outputs)), rank.saturating_mul(inputs + outputs)),
            _ => (None, place.len()),
        };
        // No model has so many numbers, whatever the rank.
        let start = end;
        end = start.saturating_add(count);
        all.push(Term { matrix, place, own: start..end });
    });
    all
}

/// Adapters of a model.
#[derive(Debug)]
pub(crate) struct Adapters {
    rank: usize,
    terms: Vec<Term>,
    room: Vec<f32>,
}

impl Adapters {
    pub(crate) fn new(config: &Config, rank: usize) -> Self {
        let terms = terms(config, rank);
        let room =
            |(inputs, outputs): (usize, usize)| multiply_room(outputs, inputs.max(outputs), inputs.max(rank));
        let most = terms.iter().filter_map(|term| term.matrix).map(room).max().unwrap_or_default();
        Self { rank, terms, room: vec![0.0; most] }
    }

    pub(crate) const fn rank(&self) -> usize {
        self.rank
    }

    /// Calls `visit` for every A, every B and every other term.
    pub(crate) fn parts(&self, mut visit: impl FnMut(AdapterPart, Range<usize>)) {
        for Term { matrix, own, .. } in &self.terms {
            let Some((inputs, _)) = matrix else {
                visit(AdapterPart::Vector, own.clone());
                continue;
            };
            let middle = own.start + self.rank * inputs;
            visit(AdapterPart::A, own.start..middle);
            visit(AdapterPart::B, middle..own.end);
        }
    }

    /// Parameters: those they are beside, and all terms added.
    pub(crate) fn add(
        &mut self,
        backend: Backend,
        base: &[f32],
        numbers: &[f32],
        parameters: &mut [f32],
    ) -> Result<(), ShapeError> {
        parameters.copy_from_slice(base);
        for term in &self.terms {
            let out = parameters.get_mut(term.place.clone()).unwrap_or_default();
            let Some((inputs, outputs)) = term.matrix else {
                let own = numbers.get(term.own.clone()).unwrap_or_default();
                out.iter_mut().zip(own).for_each(|(to, x)| *to += *x);
                continue;
            };
            // Column-major, a matrix of inputs x outputs in memory is one of outputs x inputs.
            let [a, b] = term.factors(numbers, (inputs, outputs), self.rank)?;
            let out = MatrixMut::new(out, outputs, inputs)?;
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
    ) -> Result<(), ShapeError> {
        for term in &self.terms {
            let of = gradient.get(term.place.clone()).unwrap_or_default();
            let own = own.get_mut(term.own.clone()).unwrap_or_default();
            let Some((inputs, outputs)) = term.matrix else {
                own.copy_from_slice(of);
                continue;
            };
            let [a, b] = term.factors(numbers, (inputs, outputs), self.rank)?;
            let of = Matrix::new(of, outputs, inputs)?;
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

/// What a part of the adapters' numbers is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdapterPart {
    A,
    B,
    Vector,
}

impl Term {
    /// A as `rank x inputs` and B as `outputs x rank`, column-major.
    fn factors<'a>(
        &self,
        numbers: &'a [f32],
        (inputs, outputs): (usize, usize),
        rank: usize,
    ) -> Result<[Matrix<'a, f32>; 2], ShapeError> {
        let own = numbers.get(self.own.clone()).unwrap_or_default();
        let (a, b) = own.split_at((rank * inputs).min(own.len()));
        Ok([Matrix::new(a, rank, inputs)?, Matrix::new(b, outputs, rank)?])
    }
}
