//! A model that is exported and opened by candle: its logits are ours, and those of the loops in f64.

#[path = "../../naive/mod.rs"]
mod naive;

use attractor::simd::Backend;
use attractor_language::pass::{Model, Sweeps, room};
use attractor_language::{Config, exchange};
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Embedding, LayerNorm, Module, VarBuilder, layer_norm, ops::softmax_last_dim};

/// `x W + b` with W inputs x outputs.
fn affine(x: &Tensor, inputs: usize, outputs: usize, tensors: &VarBuilder) -> Result<Tensor> {
    x.matmul(&tensors.get((inputs, outputs), "weight")?)?.broadcast_add(&tensors.get(outputs, "bias")?)
}

fn gpt2(config: &Config, tokens: &[u32], tensors: &VarBuilder) -> Result<Tensor> {
    let Config { vocabulary, context, width, heads, blocks, .. } = *config;
    let (count, size) = (tokens.len(), width / heads);
    let tensors = tensors.pp("transformer");
    let norm = |name: String| -> Result<LayerNorm> { layer_norm(width, 1e-5, tensors.pp(name)) };
    let wte = tensors.get((vocabulary, width), "wte.weight")?;
    let places = tensors.get((context, width), "wpe.weight")?.narrow(0, 0, count)?;
    let mut x = (Embedding::new(wte.clone(), width).forward(&Tensor::new(tokens, &Device::Cpu)?)? + places)?;
    let future: Vec<f32> =
        (0..count * count).map(|i| if i % count > i / count { f32::NEG_INFINITY } else { 0.0 }).collect();
    let future = Tensor::from_vec(future, (count, count), &Device::Cpu)?;
    for block in 0..blocks {
        let inner = tensors.pp(format!("h.{block}"));
        let fused = norm(format!("h.{block}.ln_1"))?.forward(&x)?;
        let fused = affine(&fused, width, 3 * width, &inner.pp("attn.c_attn"))?;
        // heads x tokens x size
        let part = |number: usize| {
            fused
                .narrow(1, number * width, width)?
                .reshape((count, heads, size))?
                .transpose(0, 1)?
                .contiguous()
        };
        let (query, key, value) = (part(0)?, part(1)?, part(2)?);
        let scores = (query.matmul(&key.transpose(1, 2)?)? / (size as f64).sqrt())?;
        let taken = softmax_last_dim(&scores.broadcast_add(&future)?)?.matmul(&value)?;
        let taken = taken.transpose(0, 1)?.contiguous()?.reshape((count, width))?;
        x = (x + affine(&taken, width, width, &inner.pp("attn.c_proj"))?)?;
        let hidden = norm(format!("h.{block}.ln_2"))?.forward(&x)?;
        let hidden = affine(&hidden, width, 4 * width, &inner.pp("mlp.c_fc"))?.gelu()?;
        x = (x + affine(&hidden, 4 * width, width, &inner.pp("mlp.c_proj"))?)?;
    }
    norm("ln_f".to_owned())?.forward(&x)?.matmul(&wte.t()?)
}

#[test]
fn candle_opens_what_is_exported() -> std::result::Result<(), Box<dyn std::error::Error>> {
    for (width, heads, blocks, context) in [(24, 3, 2, 32), (32, 4, 3, 40), (28, 1, 1, 9)] {
        // candle passes over the tensors of feedback: the first sweep is GPT-2.
        for feedback in [false, true] {
            let config = Config { feedback, ..Config::new(width, heads, blocks, context) };
            let vocabulary = config.vocabulary;
            let parameters = naive::natural(&config, 7);
            let tokens: Vec<u32> = (0..context as u32).map(|t| t * t * 31 % 256).collect();
            let folder = tempfile::tempdir()?;
            exchange::export(folder.path(), &config, &parameters)?;

            let bytes = std::fs::read(folder.path().join("model.safetensors"))?;
            let tensors = VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Device::Cpu)?;
            let found = gpt2(&config, &tokens, &tensors)?.flatten_all()?.to_vec1::<f32>()?;

            let exact: Vec<f64> = parameters.iter().map(|number| f64::from(*number)).collect();
            let expected = naive::logits(&config, &exact, &tokens, 1).concat();
            assert_eq!(found.len(), expected.len());
            let mut memory = vec![0.0; room(&config, 1, context, 0)];
            let mut ours = vec![0.0; found.len()];
            let (model, sweeps) = (Model::new(config, &parameters)?, Sweeps::Unrolled(1));
            model.logits(Backend::best(), &tokens, sweeps, &mut memory, &mut ours)?;
            let size =
                (expected.iter().map(|logit| logit * logit).sum::<f64>() / expected.len() as f64).sqrt();
            assert!((0.5..5.0).contains(&size), "logits of {config} are about {size}");
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let (token, word) = (i / vocabulary, i % vocabulary);
                let found = f64::from(*found);
                for expected in [*expected, f64::from(ours[word * context + token])] {
                    let difference = (found - expected).abs();
                    assert!(difference < 1e-4, "{config}: {word} after {token} is {found}, not {expected}");
                }
            }
        }
    }
    Ok(())
}
