//! GPT-2 by plain loops in f64, one sweep, no feedback: none of the crate's arithmetic. Written from the formulas of Radford et al. (2019)
//! and Hendrycks and Gimpel (2016).

#![allow(dead_code, unreachable_pub, reason = "every test program uses another part of the oracle")]

use attractor_language::Config;

/// `gain * (x - mean) / sqrt(variance + 1e-5) + shift`.
fn normalised(x: &[f64], gain: &[f64], shift: &[f64]) -> Vec<f64> {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let scale = 1.0 / (variance + 1e-5).sqrt();
    (0..x.len()).map(|i| gain[i] * (x[i] - mean) * scale + shift[i]).collect()
}

/// `x W + b` with W inputs x outputs, row after row.
fn affine(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let outputs = bias.len();
    assert_eq!(weight.len(), x.len() * outputs);
    (0..outputs)
        .map(|o| bias[o] + (0..x.len()).map(|i| x[i] * weight[i * outputs + o]).sum::<f64>())
        .collect()
}

fn gelu(z: f64) -> f64 {
    0.5 * z * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (z + 0.044715 * z * z * z)).tanh())
}

/// What every token takes from those it may see: queries, keys and values lie one after another in `fused`.
fn attention(config: &Config, fused: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let (width, size) = (config.width, config.width / config.heads);
    let mut taken = vec![vec![0.0; width]; fused.len()];
    for (t, taken) in taken.iter_mut().enumerate() {
        let seen = if config.causal { t + 1 } else { fused.len() };
        for first in (0..width).step_by(size) {
            let head = first..first + size;
            let scores: Vec<f64> = (0..seen)
                .map(|s| {
                    head.clone().map(|i| fused[t][i] * fused[s][width + i]).sum::<f64>()
                        / (size as f64).sqrt()
                })
                .collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|score| (score - most).exp()).sum();
            for i in head {
                taken[i] =
                    (0..seen).map(|s| (scores[s] - most).exp() / sum * fused[s][2 * width + i]).sum::<f64>();
            }
        }
    }
    taken
}

/// The logits after each token, row after row: `vocabulary` numbers a token.
///
/// Parameters are in the order of [`Config::tensors`]; those of feedback, the last ones, are not used.
pub fn logits(config: &Config, parameters: &[f64], tokens: &[u32]) -> Vec<f64> {
    let width = config.width;
    assert!(tokens.len() <= config.context && parameters.len() >= plain(config));
    // One tensor after another, as GPT-2 has them.
    let mut rest = parameters;
    let mut next = |count: usize| {
        let (tensor, after) = rest.split_at(count);
        rest = after;
        tensor
    };
    let wte = next(config.vocabulary * width);
    let wpe = next(config.context * width);
    let mut states: Vec<Vec<f64>> = tokens
        .iter()
        .enumerate()
        .map(|(t, token)| (0..width).map(|i| wte[*token as usize * width + i] + wpe[t * width + i]).collect())
        .collect();
    for _ in 0..config.blocks {
        let (gain, shift) = (next(width), next(width));
        let (weight, bias) = (next(3 * width * width), next(3 * width));
        let fused: Vec<_> =
            states.iter().map(|x| affine(&normalised(x, gain, shift), weight, bias)).collect();
        let (weight, bias) = (next(width * width), next(width));
        for (state, taken) in states.iter_mut().zip(attention(config, &fused)) {
            let added = affine(&taken, weight, bias);
            state.iter_mut().zip(added).for_each(|(x, added)| *x += added);
        }
        let (gain, shift) = (next(width), next(width));
        let (up, up_bias) = (next(4 * width * width), next(4 * width));
        let (down, down_bias) = (next(4 * width * width), next(width));
        for state in &mut states {
            let hidden: Vec<_> =
                affine(&normalised(state, gain, shift), up, up_bias).into_iter().map(gelu).collect();
            let added = affine(&hidden, down, down_bias);
            state.iter_mut().zip(added).for_each(|(x, added)| *x += added);
        }
    }
    let (gain, shift) = (next(width), next(width));
    let mut logits = Vec::new();
    for state in &states {
        let x = normalised(state, gain, shift);
        logits.extend(wte.chunks_exact(width).map(|row| row.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>()));
    }
    logits
}

/// How many parameters a GPT-2 of this shape has.
pub fn plain(config: &Config) -> usize {
    let width = config.width;
    (config.vocabulary + config.context + 2) * width + config.blocks * (12 * width * width + 13 * width)
}

/// Parameters that are random, none of them at its usual start: gains about 1, shifts about 0.2, weights that give logits of order 1.
pub fn parameters(config: &Config, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut random = || {
        // Weyl's sequence, mixed (Steele et al. 2014); the mean of four is nearly normal, with a deviation of 1.
        let mut uniform = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (uniform() + uniform() + uniform() + uniform()) * 0.866
    };
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
