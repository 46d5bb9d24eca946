//! Sweeps of a model over whole sequences, and the exact gradient of its loss.
//!
//! A sweep goes through the blocks from below: h^l = B^l(x^l), where B^l is a block of GPT-2 and x^l is
//!
//! ```text
//! x^l = h^(l-1) + g^l * (U^l N(h^(l+1))),
//! ```
//!
//! h^(l+1) of the sweep before, N a layer normalisation of its own and g^l a gate, a number a feature. In the first sweep there is nothing to feed
//! back, and the model is a plain Transformer. The loss is taken after the last sweep, or after each.
//!
//! Matrices have a row a token and a column a feature, column after column: tokens are side by side in the lanes of vectors.

mod back;
mod error;
mod forward;
mod map;
mod plan;

pub use error::PassError;
pub(crate) use error::expect;
pub use map::StateMap;

use crate::Config;
use attractor::kernel::Scalar;
use attractor::simd::Backend;
use back::{Back, carried};
use core::ops::Range;
#[cfg(feature = "std")]
pub(crate) use plan::LINE;
pub(crate) use plan::stride;
use plan::{On, Plan, split_room};

/// A target that is not counted.
pub const IGNORED: u32 = u32::MAX;

/// How states are refined, and what the gradient is of.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Sweeps {
    /// So many sweeps; the gradient goes back through all of them, and is exact.
    Unrolled(usize),
    /// As many, and a loss after each of them, with targets of its own (deep supervision: Lee et al. 2015). What is counted are the targets of all sweeps.
    Supervised(usize),
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
            Self::Unrolled(count) | Self::Supervised(count) => count,
            Self::Settled { .. } | Self::OneStep { .. } => 1,
        }
    }

    /// How many targets a token has.
    pub(crate) const fn losses(self) -> usize {
        if let Self::Supervised(count) = self { count } else { 1 }
    }

    const fn check(self) -> Result<(), PassError> {
        match self {
            Self::Unrolled(0)
            | Self::Supervised(0)
            | Self::Settled { most: 0, .. }
            | Self::OneStep { most: 0, .. } => Err(PassError::NoSweep),
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
    /// A target for every token, or [`IGNORED`]; with [`Sweeps::Supervised`] one for every sweep and token: those of a sequence are together, sweep after
    /// sweep.
    pub targets: &'a [u32],
}

/// The targets of one sweep.
#[derive(Clone, Copy)]
struct Targets<'a> {
    of: Sequences<'a>,
    sweeps: usize,
    sweep: usize,
}

impl Targets<'_> {
    /// The one of a row.
    fn at(self, row: usize) -> u32 {
        let Sequences { length, targets, .. } = self.of;
        let place = (row / length * self.sweeps + self.sweep) * length + row % length;
        targets.get(place).copied().unwrap_or(IGNORED)
    }
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

/// A model that another one learns from, beside the text: its probabilities are a share of what is to be predicted (Hinton et al. 2015).
#[derive(Debug)]
pub struct Teacher<'a, T = f32> {
    /// The model; it has as many tokens as the one that learns.
    pub model: Model<'a, T>,
    /// How its states are refined.
    pub sweeps: Sweeps,
    /// The share of its probabilities, 0 to 1; what is left is the targets'.
    pub share: T,
    /// Its own [`room`], for logits alone.
    pub room: &'a mut [T],
}

impl<T: Scalar> Teacher<'_, T> {
    /// Makes the logits of its answers.
    fn answer(&mut self, backend: Backend, of: Sequences<'_>, vocabulary: usize) -> Result<(), PassError> {
        self.sweeps.check()?;
        check_share(self.share.to_f64())?;
        expect("vocabulary of the teacher", vocabulary, self.model.config.vocabulary)?;
        let plan = self.model.plan(of.tokens, of.length, 0, self.room)?;
        let (memory, working) = split_room(&plan, self.room);
        let mut on = On { backend, plan, room: working };
        self.model.embed(&plan, of.tokens, memory.get_mut(plan.embedding()).unwrap_or_default());
        self.model.settle(&mut on, memory, self.sweeps)?;
        self.model.head(&mut on, memory, plan.state(plan.blocks - 1))
    }

    /// Takes its share of the gradient of its own loss from that of another one: what is left has its probabilities in the place of that share of the text.
    fn correct(
        &mut self,
        backend: Backend,
        targets: Targets<'_>,
        gradient: &mut [T],
    ) -> Result<(), PassError> {
        let plan = self.model.plan(targets.of.tokens, targets.of.length, 0, self.room)?;
        let (memory, working) = split_room(&plan, self.room);
        self.model.cross_entropy(&On { backend, plan, room: working }, memory, targets)?;
        let own = memory.get(plan.logits()[1].clone()).unwrap_or_default();
        for (to, own) in gradient.iter_mut().zip(own) {
            *to = *to - self.share * *own;
        }
        Ok(())
    }
}

/// Whether a teacher may have this share.
pub(crate) fn check_share(found: f64) -> Result<(), PassError> {
    if (0.0..=1.0).contains(&found) { Ok(()) } else { Err(PassError::Share { found }) }
}

/// How many numbers of room passes take, over so many sequences of so many tokens, of which so many sweeps are kept for a gradient: as many as
/// [`Sweeps::Unrolled`] says, 1 for the others, 0 for logits and losses alone.
///
/// What the room holds before does not matter.
#[must_use]
pub const fn room(config: &Config, sequences: usize, length: usize, kept: usize) -> usize {
    Plan::new(config, sequences, length, kept).total()
}

impl<'a, T: Scalar> Model<'a, T> {
    /// A model of this shape with these parameters, in the order of [`Config::tensors`].
    ///
    /// # Errors
    /// [`PassError`] if there is no such shape, or it has another number of parameters.
    pub fn new(config: Config, parameters: &'a [T]) -> Result<Self, PassError> {
        config.check()?;
        expect("parameters", config.parameters(), parameters.len())?;
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

    pub(crate) fn at(&self, place: Range<usize>) -> &'a [T] {
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
        plan.takes(logits)?;
        let (memory, working) = split_room(&plan, room);
        let mut on = On { backend, plan, room: working };
        self.embed(&plan, tokens, memory.get_mut(plan.embedding()).unwrap_or_default());
        let count = self.settle(&mut on, memory, sweeps)?;
        self.head(&mut on, memory, plan.state(plan.blocks - 1))?;
        plan.hand_out(memory, logits)?;
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
        let plan = self.sequences(sequences, sweeps, 0, room)?;
        let (memory, working) = split_room(&plan, room);
        let mut on = On { backend, plan, room: working };
        self.embed(&plan, sequences.tokens, memory.get_mut(plan.embedding()).unwrap_or_default());
        let (losses, supervised) = (sweeps.losses(), matches!(sweeps, Sweeps::Supervised(_)));
        let (mut total, mut counted) = (T::ZERO, 0);
        for sweep in 0..losses {
            if supervised {
                self.sweep(&mut on, memory, sweep, false)?;
            } else {
                self.settle(&mut on, memory, sweeps)?;
            }
            self.head(&mut on, memory, plan.state(plan.blocks - 1))?;
            let (loss, count) =
                self.cross_entropy(&on, memory, Targets { of: sequences, sweeps: losses, sweep })?;
            total += loss;
            counted += count;
        }
        Ok((total, counted))
    }

    fn sequences(
        &self,
        sequences: Sequences<'_>,
        sweeps: Sweeps,
        kept: usize,
        room: &[T],
    ) -> Result<Plan, PassError> {
        let Sequences { length, tokens, targets } = sequences;
        let plan = self.plan(tokens, length, kept, room)?;
        expect("targets", tokens.len().saturating_mul(sweeps.losses()), targets.len())?;
        let vocabulary = self.config.vocabulary;
        let wrong = targets.iter().find(|&&target| target != IGNORED && target as usize >= vocabulary);
        match wrong {
            Some(&token) => Err(PassError::Token { token, vocabulary }),
            None if targets.iter().all(|&target| target == IGNORED) => Err(PassError::NoTarget),
            None => Ok(plan),
        }
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
        self.gradient_taught(backend, sequences, sweeps, share, None, room, gradient)
    }

    /// [`gradient`](Self::gradient), where a part of what is to be predicted are the probabilities of a teacher. What is returned is the loss of the targets,
    /// as there.
    ///
    /// # Errors
    /// [`PassError`], of the teacher as well; the gradient is unchanged then.
    #[allow(clippy::too_many_arguments, reason = "each is one operand, and none belongs with another")]
    pub fn gradient_taught(
        &self,
        backend: Backend,
        sequences: Sequences<'_>,
        sweeps: Sweeps,
        share: T,
        mut teacher: Option<&mut Teacher<'_, T>>,
        room: &mut [T],
        gradient: &mut [T],
    ) -> Result<(T, usize), PassError> {
        sweeps.check()?;
        let plan = self.sequences(sequences, sweeps, sweeps.kept(), room)?;
        expect("gradient", self.parameters.len(), gradient.len())?;
        if let Some(teacher) = &mut teacher {
            teacher.answer(backend, sequences, self.config.vocabulary)?;
        }
        let (memory, working) = split_room(&plan, room);
        let mut on = On { backend, plan, room: working };
        self.embed(&plan, sequences.tokens, memory.get_mut(plan.embedding()).unwrap_or_default());
        let fixed = !matches!(sweeps, Sweeps::Unrolled(_) | Sweeps::Supervised(_));
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
        let losses = sweeps.losses();
        let mut loss_after = |on: &mut On<'_, T>, memory: &mut [T], sweep: usize| {
            self.head(on, memory, output(sweep, top))?;
            let sweep = if losses > 1 { sweep } else { 0 };
            let targets = Targets { of: sequences, sweeps: losses, sweep };
            let loss = self.cross_entropy(on, memory, targets)?;
            if let Some(teacher) = &mut teacher {
                let [_, gradient] = plan.logits();
                teacher.correct(on.backend, targets, memory.get_mut(gradient).unwrap_or_default())?;
            }
            Ok::<_, PassError>(loss)
        };
        let first = if losses > 1 { 0 } else { last };
        let mut loss = (T::ZERO, 0);
        for sweep in first..=last {
            let (total, counted) = loss_after(&mut on, memory, sweep)?;
            loss = (loss.0 + total, loss.1 + counted);
        }

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
            // Of the logits of all sweeps the last ones are still there.
            let counted = sweep == last || losses > 1 && loss_after(&mut on, memory, sweep)?.1 > 0;
            self.sweep_back(
                &mut on,
                memory,
                at_sweeps(sweep),
                parity,
                Back {
                    seed: counted.then_some(share),
                    fixed,
                    tokens: sequences.tokens,
                    gradient: Some(&mut *gradient),
                },
            )?;
        }
        Ok(loss)
    }
}
