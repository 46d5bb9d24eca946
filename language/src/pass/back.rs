//! Gradients, from above.

use super::plan::{Kept, On, Place, Plan, add, dot, largest_change, places, view, view_mut};
use super::{Model, PassError};
use crate::{Config, FeedbackLayout};
use attractor::kernel::{
    self, Factors, Identity, Matrix, MatrixMut, Scalar, ShapeError, Start, attend_back, multiply,
    normalize_back,
};

impl<T: Scalar> Model<'_, T> {
    /// Sweeps the adjoint until it does not change: what the last sweep sends back to the states before it is sent back again.
    pub(super) fn settle_back(
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
    pub(super) fn sweep_back(
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
                if let Some([words]) = parts(&mut back.gradient, [self.config.wte()])? {
                    let out = MatrixMut::new(words, width, vocabulary)?;
                    let factors = Factors::TransposedLeft(view(&plan, normal, width)?, deltas);
                    multiply::<T, Identity>(on.backend, factors, share, Start::Output, on.room, out)?;
                }
                let gain = self.at(gain_at.clone());
                let gradients = parts(&mut back.gradient, [gain_at, shift_at])?;
                normal_back(on, (state, statistics), gain, inside, gradients, delta)?;
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
            self.block_back(on, block, memory, (below, above), &kept, &mut back.gradient)?;
        }
        if let Some(gradient) = back.gradient {
            let d = memory.get(delta()).unwrap_or_default();
            let [words, positions] = places(gradient, [self.config.wte(), self.config.wpe()])?;
            for (row, &token) in back.tokens.iter().enumerate() {
                let word = words.get_mut(token as usize * width..).unwrap_or_default();
                let d = || d.iter().skip(row).step_by(plan.stride).take(width);
                d().zip(word).for_each(|(d, word)| *word += *d);
                // Without embeddings of places there is nothing there.
                let place = positions.get_mut(row % plan.length * width..).unwrap_or_default();
                d().zip(place).for_each(|(d, place)| *place += *d);
            }
        }
        Ok(())
    }

    /// The gradient of a block: of its output, in the first place of [`Plan::inside`], to that of what is below, in the same place.
    pub(super) fn block_back(
        &self,
        on: &mut On<'_, T>,
        block: usize,
        memory: &mut [T],
        (below, above): (Place, Option<(Place, Place)>),
        kept: &Kept,
        gradient: &mut Option<&mut [T]>,
    ) -> Result<(), PassError> {
        let Config { width, heads, .. } = self.config;
        let (plan, backend) = (on.plan, on.backend);
        let at = self.config.block(block);
        let [delta, wide, qkv_delta, narrow, _] = plan.inside();

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
        let weights = [at.mlp_c_proj_weight, at.mlp_c_proj_bias, at.mlp_c_fc_weight, at.mlp_c_fc_bias];
        if let Some([w_out, b_out, w_in, b_in]) = parts(gradient, weights)? {
            on.weights((w_out, Some(b_out)), (d, width), (activated, 4 * width))?;
            on.weights((w_in, Some(b_in)), (dw, 4 * width), (normal, width))?;
        }
        let gain = self.at(at.ln_2_weight.clone());
        let gradients = parts(gradient, [at.ln_2_weight, at.ln_2_bias])?;
        normal_back(on, (middle, statistics), gain, dn, gradients, d)?;

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
            let (qkv, mask) = (view(&plan, qkv, 3 * width)?, self.config.mask());
            let each = heads * plan.length;
            for (sequence, logs) in logs.chunks_exact(each).take(plan.rows / plan.length).enumerate() {
                let (first, count) = (sequence * plan.length, plan.length);
                let part = |number| qkv.columns(number * width, width).row_range(first, count);
                let deltas = view(&plan, dn, width)?.row_range(first, count);
                let all = view_mut(&plan, dqkv, 3 * width)?.row_range(first, count);
                let (dq, rest) = all.split_columns(width);
                let (dk, dv) = rest.split_columns(width);
                let parts = [dq, dk, dv];
                attend_back(backend, heads, mask, part(0), part(1), part(2), logs, deltas, on.room, parts)?;
            }
        }
        on.back(self.at(at.attn_c_attn_weight.clone()), (dqkv, 3 * width), (dn, width))?;
        let weights =
            [at.attn_c_proj_weight, at.attn_c_proj_bias, at.attn_c_attn_weight, at.attn_c_attn_bias];
        if let Some([w_out, b_out, w_in, b_in]) = parts(gradient, weights)? {
            on.weights((w_out, Some(b_out)), (d, width), (attended, width))?;
            on.weights((w_in, Some(b_in)), (dqkv, 3 * width), (normal, width))?;
        }
        let gain = self.at(at.ln_1_weight.clone());
        let gradients = parts(gradient, [at.ln_1_weight, at.ln_1_bias])?;
        normal_back(on, (input, statistics), gain, dn, gradients, d)?;

        let (Some(feedback), Some((state, carried))) = (self.config.feedback_of(block), above) else {
            return Ok(());
        };
        self.feedback_back(on, memory, &feedback, (state, carried), kept, gradient)
    }

    /// The gradient of what a block took from above.
    pub(super) fn feedback_back(
        &self,
        on: &mut On<'_, T>,
        memory: &mut [T],
        at: &FeedbackLayout,
        (state, carried): (Place, Place),
        kept: &Kept,
        gradient: &mut Option<&mut [T]>,
    ) -> Result<(), PassError> {
        let width = self.config.width;
        let plan = on.plan;
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
        let weights = [at.weight.clone(), at.gate.clone()];
        if let Some([weights, gate]) = parts(gradient, weights)? {
            let columns = d.chunks_exact(stride).zip(fed_back.chunks_exact(stride));
            for (gate, (d, u)) in gate.iter_mut().zip(columns) {
                *gate += dot(d.get(..plan.rows).unwrap_or_default(), u.get(..plan.rows).unwrap_or_default());
            }
            on.weights((weights, None), (du, width), (normal, width))?;
        }
        let gain = self.at(at.ln_weight.clone());
        let gradients = parts(gradient, [at.ln_weight.clone(), at.ln_bias.clone()])?;
        Ok(normal_back(on, (state, statistics), gain, dn, gradients, carried)?)
    }
}

/// Parts of the gradient of parameters, if it is asked for.
fn parts<'g, T, const N: usize>(
    gradient: &'g mut Option<&mut [T]>,
    at: [Place; N],
) -> Result<Option<[&'g mut [T]; N]>, PassError> {
    gradient.as_deref_mut().map(|gradient| places(gradient, at)).transpose()
}

/// What a sweep back takes.
pub(super) struct Back<'a, T> {
    /// What a loss counts, where the loss is taken after this sweep.
    pub(super) seed: Option<T>,
    /// Whether what is fed back is the settled state and not that of the sweep before.
    pub(super) fixed: bool,
    pub(super) tokens: &'a [u32],
    /// Where gradients of parameters are added up, if they are asked for.
    pub(super) gradient: Option<&'a mut [T]>,
}

/// Adds to `to` what goes back through a layer normalisation, and to the gradients of gain and shift where they are asked for.
fn normal_back<T: Scalar>(
    on: &mut On<'_, T>,
    (input, statistics): (&[T], &[T]),
    gain: &[T],
    deltas: &[T],
    gradients: Option<[&mut [T]; 2]>,
    to: &mut [T],
) -> Result<(), ShapeError> {
    let (plan, width) = (on.plan, gain.len());
    let statistics = statistics.get(..2 * plan.rows).unwrap_or_default();
    let (x, d) = (view(&plan, input, width)?, view(&plan, deltas, width)?);
    let to = view_mut(&plan, to, width)?;
    let [gains, shifts] = match gradients {
        Some(gradients) => gradients,
        None => spare(on.room, width),
    };
    normalize_back(on.backend, x, gain, statistics, d, gains, shifts, to)
}

/// Gradients of gain and shift that nobody asks for.
fn spare<T: Scalar>(room: &mut [T], width: usize) -> [&mut [T]; 2] {
    let (gains, rest) = room.split_at_mut(width.min(room.len()));
    let shifts = rest.get_mut(..width).unwrap_or_default();
    gains.fill(T::ZERO);
    shifts.fill(T::ZERO);
    [gains, shifts]
}

pub(super) fn all_carried(plan: &Plan, parity: usize) -> Place {
    plan.carried(parity, 0).start..plan.carried(parity, plan.blocks - 1).end
}

pub(super) fn carried<'a, T>(plan: &Plan, memory: &'a mut [T], parity: usize) -> &'a mut [T] {
    memory.get_mut(all_carried(plan, parity)).unwrap_or_default()
}
