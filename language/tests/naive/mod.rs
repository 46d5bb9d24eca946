//! The model once more, in `f64` and plain loops, from the equations: a row a token.
#![allow(dead_code, reason = "each test uses some of it")]

use attractor_language::{Config, EPSILON};
use std::ops::Range;

pub(crate) type Rows = Vec<Vec<f64>>;

/// Fixed pseudo-random numbers between -1 and 1.
pub(crate) struct Noise(u64);
impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    pub(crate) fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
    pub(crate) fn below(&mut self, count: usize) -> usize {
        ((self.next() + 1.0) / 2.0 * count as f64) as usize % count
    }
}

/// Parameters that are not special: gains near 1, all others up to `scale`.
pub(crate) fn parameters(config: &Config, scale: f64, seed: u64) -> Vec<f64> {
    let mut noise = Noise::new(seed);
    let mut all = vec![0.0; config.parameters()];
    config.tensors(|name, _, place| {
        let name = name.to_string();
        let gain =
            name.ends_with("ln_1.weight") || name.ends_with("ln_2.weight") || name.ends_with("ln.weight");
        for x in &mut all[place] {
            *x = scale * noise.next() + if gain || name.ends_with("ln_f.weight") { 1.0 } else { 0.0 };
        }
    });
    all
}

/// Parameters that are random, none of them at its usual start: gains about 1, shifts about 0.2, weights that give logits of order 1.
pub(crate) fn natural(config: &Config, seed: u64) -> Vec<f32> {
    let mut noise = Noise::new(seed);
    // The sum of four is nearly normal; its deviation is made 1.
    let mut random = || (0.866 * (0..4).map(|_| noise.next()).sum::<f64>()) as f32;
    let mut parameters = vec![0.0; config.parameters()];
    config.tensors(|name, shape, place| {
        let name = name.to_string();
        for number in &mut parameters[place] {
            let random = random();
            *number = match shape {
                [_] if name.contains("ln") && name.ends_with("weight") => 1.0 + 0.3 * random,
                [_] => 0.2 * random,
                _ if name.contains(".wte.") || name.contains(".wpe.") => 0.4 * random,
                [inputs, ..] => random / (*inputs as f32).sqrt(),
                [] => random,
            };
        }
    });
    parameters
}

fn normalized(x: &[f64], gain: &[f64], shift: &[f64]) -> Vec<f64> {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let deviation = (variance + EPSILON).sqrt();
    x.iter().zip(gain).zip(shift).map(|((x, g), b)| g * (x - mean) / deviation + b).collect()
}

/// x W + b, W stored inputs x outputs, row after row.
fn affine(x: &[f64], weights: &[f64], bias: &[f64]) -> Vec<f64> {
    let outputs = bias.len();
    (0..outputs)
        .map(|o| bias[o] + x.iter().enumerate().map(|(i, x)| x * weights[i * outputs + o]).sum::<f64>())
        .collect()
}

fn gelu(z: f64) -> f64 {
    0.5 * z * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (z + 0.044715 * z.powi(3))).tanh())
}

/// One block on one sequence.
fn block(config: &Config, all: &[f64], number: usize, input: &Rows) -> Rows {
    let at = config.block(number);
    let get = |place: Range<usize>| &all[place];
    let (width, heads) = (config.width, config.heads);
    let features = width / heads;
    let qkv: Rows = input
        .iter()
        .map(|x| normalized(x, get(at.ln_1_weight.clone()), get(at.ln_1_bias.clone())))
        .map(|n| affine(&n, get(at.attn_c_attn_weight.clone()), get(at.attn_c_attn_bias.clone())))
        .collect();
    let mut out = Vec::new();
    for (t, x) in input.iter().enumerate() {
        let end = if config.causal { t + 1 } else { input.len() };
        let first = if config.window > 0 { end.saturating_sub(config.window) } else { 0 };
        let mut attended = vec![0.0; width];
        for head in 0..heads {
            let part = |which: usize, row: usize| &qkv[row][which * width + head * features..][..features];
            let scores: Vec<f64> = (first..end)
                .map(|k| {
                    part(0, t).iter().zip(part(1, k)).map(|(q, k)| q * k).sum::<f64>()
                        / (features as f64).sqrt()
                })
                .collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
            let total: f64 = weights.iter().sum();
            for (k, weight) in weights.iter().enumerate() {
                for (f, v) in part(2, first + k).iter().enumerate() {
                    attended[head * features + f] += weight / total * v;
                }
            }
        }
        let proj = affine(&attended, get(at.attn_c_proj_weight.clone()), get(at.attn_c_proj_bias.clone()));
        let middle: Vec<f64> = x.iter().zip(proj).map(|(x, p)| x + p).collect();
        let n = normalized(&middle, get(at.ln_2_weight.clone()), get(at.ln_2_bias.clone()));
        let mut wide = affine(&n, get(at.mlp_c_fc_weight.clone()), get(at.mlp_c_fc_bias.clone()));
        wide.iter_mut().for_each(|z| *z = gelu(*z));
        let last = affine(&wide, get(at.mlp_c_proj_weight.clone()), get(at.mlp_c_proj_bias.clone()));
        out.push(middle.iter().zip(last).map(|(x, p)| x + p).collect());
    }
    out
}

pub(crate) fn embedded(config: &Config, all: &[f64], tokens: &[u32]) -> Rows {
    let (words, places) = (&all[config.wte()], &all[config.wpe()]);
    let width = config.width;
    let row = |t: usize, token: u32| {
        let word = &words[token as usize * width..][..width];
        if !config.places {
            return word.to_vec();
        }
        word.iter().zip(&places[t * width..][..width]).map(|(w, p)| w + p).collect()
    };
    tokens.iter().enumerate().map(|(t, token)| row(t, *token)).collect()
}

/// One sweep: the states of all blocks, given those of the sweep before, if there was one.
pub(crate) fn sweep(config: &Config, all: &[f64], embedded: &Rows, before: Option<&[Rows]>) -> Vec<Rows> {
    let mut states: Vec<Rows> = Vec::new();
    for number in 0..config.blocks {
        let mut input = states.last().unwrap_or(embedded).clone();
        if let (Some(at), Some(before)) = (config.feedback_of(number), before) {
            for (x, above) in input.iter_mut().zip(&before[number + 1]) {
                let n = normalized(above, &all[at.ln_weight.clone()], &all[at.ln_bias.clone()]);
                let u = affine(&n, &all[at.weight.clone()], &vec![0.0; config.width]);
                for ((x, u), gate) in x.iter_mut().zip(u).zip(&all[at.gate.clone()]) {
                    *x += gate * u;
                }
            }
        }
        states.push(block(config, all, number, &input));
    }
    states
}

pub(crate) fn states(config: &Config, all: &[f64], tokens: &[u32], sweeps: usize) -> Vec<Rows> {
    let embedded = embedded(config, all, tokens);
    let mut states = sweep(config, all, &embedded, None);
    for _ in 1..sweeps {
        states = sweep(config, all, &embedded, Some(&states));
    }
    states
}

pub(crate) fn logits_of(config: &Config, all: &[f64], top: &Rows) -> Rows {
    let (gain, shift) = config.ln_f();
    let words = &all[config.wte()];
    let logit = |n: &[f64], token: usize| {
        words[token * config.width..].iter().zip(n).map(|(w, x)| w * x).sum::<f64>()
    };
    top.iter()
        .map(|x| normalized(x, &all[gain.clone()], &all[shift.clone()]))
        .map(|n| (0..config.vocabulary).map(|token| logit(&n, token)).collect())
        .collect()
}

/// Logits, a row a token.
pub(crate) fn logits(config: &Config, all: &[f64], tokens: &[u32], sweeps: usize) -> Rows {
    logits_of(config, all, states(config, all, tokens, sweeps).last().unwrap())
}

pub(crate) fn loss_of(logits: &Rows, targets: &[u32]) -> f64 {
    let one = |(logits, target): (&Vec<f64>, &u32)| {
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|x| (x - largest).exp()).sum();
        sum.ln() + largest - logits[*target as usize]
    };
    logits.iter().zip(targets).filter(|(_, target)| **target != u32::MAX).map(one).sum()
}

/// The sum of the losses of all counted targets, over sequences of one length.
pub(crate) fn loss(
    config: &Config,
    all: &[f64],
    length: usize,
    tokens: &[u32],
    targets: &[u32],
    sweeps: usize,
) -> f64 {
    let sequences = tokens.chunks_exact(length).zip(targets.chunks_exact(length));
    sequences.map(|(tokens, targets)| loss_of(&logits(config, all, tokens, sweeps), targets)).sum()
}
