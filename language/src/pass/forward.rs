//! Sweeps from below: blocks, states that settle, logits, losses.

use super::plan::{Kept, On, Place, Plan, largest_change, places, shifted, view, view_mut};
use super::{IGNORED, Model, PassError, Sweeps, Targets};
use crate::{BlockLayout, Config, EPSILON};
use attractor::kernel::{
    self, Factors, Gelu, Identity, Matrix, Scalar, ShapeError, Start, attend, multiply, normalize,
};

impl<T: Scalar> Model<'_, T> {
    /// The first states: embeddings of tokens and of their places.
    pub(super) fn embed(&self, plan: &Plan, tokens: &[u32], to: &mut [T]) {
        let width = self.config.width;
        let (words, places) = (self.at(self.config.wte()), self.at(self.config.wpe()));
        for (row, &token) in tokens.iter().enumerate() {
            let word = words.get(token as usize * width..).unwrap_or_default();
            if !self.config.places {
                let to = to.iter_mut().skip(row).step_by(plan.stride);
                to.zip(word).take(width).for_each(|(to, word)| *to = *word);
                continue;
            }
            let place = places.get(row % plan.length * width..).unwrap_or_default();
            for ((to, word), place) in
                to.iter_mut().skip(row).step_by(plan.stride).zip(word).zip(place).take(width)
            {
                *to = *word + *place;
            }
        }
    }

    /// One block. What is below and above lies in `memory`, as does what the block leaves.
    pub(super) fn block(
        &self,
        on: &mut On<'_, T>,
        block: usize,
        memory: &mut [T],
        (below, above, output): (Place, Option<Place>, Place),
        kept: &Kept,
    ) -> Result<(), PassError> {
        let Config { width, heads, .. } = self.config;
        let (plan, backend) = (on.plan, on.backend);
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
                normalized(on, above, (gain, shift), statistics, normal)?;
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
        normalized(on, input, (self.at(at.ln_1_weight), self.at(at.ln_1_bias)), statistics, normal)?;
        let bias = Start::Columns(self.at(at.attn_c_attn_bias));
        on.forward(self.at(at.attn_c_attn_weight), bias, (normal, width), (qkv, 3 * width))?;
        let qkv = view(&plan, qkv, 3 * width)?;
        let each = heads * plan.length;
        for (sequence, logs) in logs.chunks_exact_mut(each).take(plan.rows / plan.length).enumerate() {
            let (first, count) = (sequence * plan.length, plan.length);
            let part = |number| qkv.columns(number * width, width).row_range(first, count);
            let out = view_mut(&plan, attended, width)?.row_range(first, count);
            attend(backend, heads, self.config.mask(), part(0), part(1), part(2), logs, on.room, out)?;
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
        normalized(on, middle, (self.at(at.ln_2_weight), self.at(at.ln_2_bias)), statistics, normal)?;
        let bias = Start::Columns(self.at(at.mlp_c_fc_bias));
        on.forward(self.at(at.mlp_c_fc_weight), bias, (normal, width), (slopes, 4 * width))?;
        let (sums, values) = (view_mut(&plan, slopes, 4 * width)?, view_mut(&plan, activated, 4 * width)?);
        kernel::activate_with_slopes::<T, Gelu>(backend, sums, values)?;
        shifted(&plan, middle, self.at(at.mlp_c_proj_bias), output);
        on.forward(self.at(at.mlp_c_proj_weight), Start::Output, (activated, 4 * width), (output, width))
    }

    /// Sweeps whose states alone are kept, in place; returns how many there were.
    pub(super) fn settle(
        &self,
        on: &mut On<'_, T>,
        memory: &mut [T],
        sweeps: Sweeps,
    ) -> Result<usize, PassError> {
        let (most, tolerance) = match sweeps {
            Sweeps::Unrolled(count) | Sweeps::Supervised(count) => (count, None),
            Sweeps::Settled { tolerance, most } | Sweeps::OneStep { tolerance, most } => {
                (most, Some(tolerance))
            }
        };
        let mut residual = T::ZERO;
        for sweep in 0..most {
            residual = self.sweep(on, memory, sweep, tolerance.is_some() && sweep > 0)?;
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

    /// A sweep whose states alone are kept, in place; returns their largest change, if it is asked for.
    pub(super) fn sweep(
        &self,
        on: &mut On<'_, T>,
        memory: &mut [T],
        sweep: usize,
        measured: bool,
    ) -> Result<T, PassError> {
        let plan = on.plan;
        let mut residual = T::ZERO;
        for block in 0..plan.blocks {
            let state = plan.state(block);
            if measured {
                let [old, copy] = places(memory, [state.clone(), plan.copy()])?;
                copy.copy_from_slice(old);
            }
            let below = if block == 0 { plan.embedding() } else { plan.state(block - 1) };
            let above = (sweep > 0 && block + 1 < plan.blocks).then(|| plan.state(block + 1));
            self.block(on, block, memory, (below, above, state.clone()), &plan.kept(0, block))?;
            if measured {
                let [new, old] = places(memory, [state, plan.copy()])?;
                residual = largest_change(&plan, old, new, residual);
            }
        }
        Ok(residual)
    }

    /// The last normalisation and the logits of the top state.
    pub(super) fn head(&self, on: &mut On<'_, T>, memory: &mut [T], top: Place) -> Result<(), PassError> {
        let Config { width, vocabulary, .. } = self.config;
        let plan = on.plan;
        let [normal, statistics] = plan.last();
        let [logits, _] = plan.logits();
        let [top, normal, statistics, logits] = places(memory, [top, normal, statistics, logits])?;
        let (gain, shift) = self.config.ln_f();
        normalized(on, top, (self.at(gain), self.at(shift)), statistics, normal)?;
        let words = Matrix::new(self.at(self.config.wte()), width, vocabulary)?;
        let factors = Factors::Plain(view(&plan, normal, width)?, words);
        let out = view_mut(&plan, logits, vocabulary)?;
        Ok(multiply::<T, Identity>(on.backend, factors, T::ONE, Start::Zero, on.room, out)?)
    }

    /// The loss of the logits, summed up, and its gradient in the second place of logits; rows that are not counted have none.
    pub(super) fn cross_entropy(
        &self,
        on: &On<'_, T>,
        memory: &mut [T],
        targets: Targets<'_>,
    ) -> Result<(T, usize), PassError> {
        let plan = on.plan;
        let vocabulary = self.config.vocabulary;
        let [logits, gradient] = places(memory, plan.logits())?;
        let (mut total, mut counted) = (T::ZERO, 0);
        // As many at a time as there is a list for, of one kind: counted or not.
        let mut labels = [0_usize; 64];
        let mut first = 0;
        while first < plan.rows {
            let rest = || (first..plan.rows).map(|row| targets.at(row));
            let ignored = targets.at(first) == IGNORED;
            let same = rest().take(labels.len()).take_while(|&t| (t == IGNORED) == ignored).count();
            let count = same.max(1);
            let mut out = view_mut(&plan, gradient, vocabulary)?.row_range(first, count);
            if ignored {
                out.fill_with(|_| T::ZERO);
            } else {
                for (label, target) in labels.iter_mut().zip(rest()) {
                    *label = target as usize;
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
}

/// A layer normalisation of all tokens.
fn normalized<T: Scalar>(
    on: &On<'_, T>,
    from: &[T],
    (gain, shift): (&[T], &[T]),
    statistics: &mut [T],
    to: &mut [T],
) -> Result<(), ShapeError> {
    let (plan, width, epsilon) = (on.plan, gain.len(), T::from_f64(EPSILON));
    let statistics = statistics.get_mut(..2 * plan.rows).unwrap_or_default();
    let (from, to) = (view(&plan, from, width)?, view_mut(&plan, to, width)?);
    normalize(on.backend, from, gain, shift, epsilon, statistics, to)
}
