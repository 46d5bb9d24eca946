//! With one sweep, or with U = 0, a model is a plain Transformer, bit for bit: here is one, of the kernels alone, its matrices side by side.

mod naive;

use attractor::kernel::{
    self, Factors, Gelu, Identity, Mask, Matrix, MatrixMut, Start, attend, attention_room, multiply,
    normalize,
};
use attractor::simd::Backend;
use attractor_language::pass::{Model, Sweeps, room};
use attractor_language::{Config, EPSILON};
use naive::Noise;
use std::ops::Range;

/// Tokens x features, column after column.
struct Plain<'a> {
    backend: Backend,
    config: &'a Config,
    all: &'a [f32],
    tokens: usize,
}

impl Plain<'_> {
    fn at(&self, place: Range<usize>) -> &[f32] {
        &self.all[place]
    }
    fn view<'m>(&self, data: &'m [f32]) -> Matrix<'m, f32> {
        Matrix::new(data, self.tokens, data.len() / self.tokens).unwrap()
    }
    fn normalized(&self, x: &[f32], gain: Range<usize>, shift: Range<usize>) -> Vec<f32> {
        let mut out = vec![f32::NAN; x.len()];
        let mut statistics = vec![f32::NAN; 2 * self.tokens];
        let to = MatrixMut::new(&mut out, self.tokens, self.config.width).unwrap();
        let (gain, shift) = (self.at(gain), self.at(shift));
        normalize(self.backend, self.view(x), gain, shift, EPSILON as f32, &mut statistics, to).unwrap();
        out
    }
    /// start + x W.
    fn product(&self, x: &[f32], weights: Range<usize>, outputs: usize, start: Start<'_, f32>) -> Vec<f32> {
        let weights = self.at(weights);
        let mut out = vec![f32::NAN; self.tokens * outputs];
        let matrix = Matrix::new(weights, outputs, weights.len() / outputs).unwrap();
        let factors = Factors::TransposedRight(self.view(x), matrix);
        let to = MatrixMut::new(&mut out, self.tokens, outputs).unwrap();
        multiply::<_, Identity>(self.backend, factors, 1.0, start, &mut [], to).unwrap();
        out
    }
    /// x + b + y W: the bias is added first.
    fn residual(&self, x: &[f32], y: &[f32], weights: Range<usize>, bias: Range<usize>) -> Vec<f32> {
        let columns = x.chunks_exact(self.tokens).zip(self.at(bias));
        let shifted: Vec<f32> = columns.flat_map(|(x, b)| x.iter().map(move |x| x + b)).collect();
        self.product(y, weights, self.config.width, Start::Matrix(self.view(&shifted)))
    }
    fn block(&self, number: usize, x: &[f32]) -> Vec<f32> {
        let at = self.config.block(number);
        let (width, heads) = (self.config.width, self.config.heads);
        let mask = if self.config.causal { Mask::Causal } else { Mask::None };
        let normal = self.normalized(x, at.ln_1_weight, at.ln_1_bias);
        let bias = Start::Columns(self.at(at.attn_c_attn_bias));
        let qkv = self.product(&normal, at.attn_c_attn_weight, 3 * width, bias);
        let mut attended = vec![f32::NAN; x.len()];
        let mut logs = vec![f32::NAN; heads * self.tokens];
        let mut room = vec![f32::NAN; attention_room(self.tokens, self.tokens, width / heads)];
        let [q, k, v] = [0, 1, 2].map(|part| self.view(&qkv[part * x.len()..][..x.len()]));
        let to = MatrixMut::new(&mut attended, self.tokens, width).unwrap();
        attend(self.backend, heads, mask, q, k, v, &mut logs, &mut room, to).unwrap();
        let middle = self.residual(x, &attended, at.attn_c_proj_weight, at.attn_c_proj_bias);
        let normal = self.normalized(&middle, at.ln_2_weight, at.ln_2_bias);
        let bias = Start::Columns(self.at(at.mlp_c_fc_bias));
        let mut wide = self.product(&normal, at.mlp_c_fc_weight, 4 * width, bias);
        kernel::activate::<_, Gelu>(self.backend, &mut wide);
        self.residual(&middle, &wide, at.mlp_c_proj_weight, at.mlp_c_proj_bias)
    }
    fn logits(&self, tokens: &[u32]) -> Vec<f32> {
        let (width, vocabulary) = (self.config.width, self.config.vocabulary);
        let (words, places) = (self.at(self.config.wte()), self.at(self.config.wpe()));
        let mut x: Vec<f32> = (0..width)
            .flat_map(|f| tokens.iter().enumerate().map(move |(t, token)| (f, t, *token as usize)))
            .map(|(f, t, token)| words[token * width + f] + places[t * width + f])
            .collect();
        for number in 0..self.config.blocks {
            x = self.block(number, &x);
        }
        let (gain, shift) = self.config.ln_f();
        let normal = self.normalized(&x, gain, shift);
        let mut out = vec![f32::NAN; self.tokens * vocabulary];
        let factors = Factors::Plain(self.view(&normal), Matrix::new(words, width, vocabulary).unwrap());
        let to = MatrixMut::new(&mut out, self.tokens, vocabulary).unwrap();
        multiply::<_, Identity>(self.backend, factors, 1.0, Start::Zero, &mut [], to).unwrap();
        out
    }
}

#[test]
fn one_sweep_or_no_feedback_is_a_plain_transformer_bit_for_bit() {
    for (blocks, heads, width, causal, length) in
        [(1, 1, 8, true, 1), (2, 2, 16, true, 13), (3, 4, 24, false, 40), (4, 4, 32, true, 70)]
    {
        let config = Config { vocabulary: 19, causal, ..Config::new(width, heads, blocks, 70) };
        let mut all: Vec<f32> = naive::parameters(&config, 0.3, 6).iter().map(|x| *x as f32).collect();
        let mut noise = Noise::new(2);
        let tokens: Vec<u32> = (0..length).map(|_| noise.below(19) as u32).collect();
        for backend in Backend::available() {
            let right = Plain { backend, config: &config, all: &all, tokens: length }.logits(&tokens);
            let bits = |logits: &[f32]| logits.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let logits = |all: &[f32], sweeps| {
                let mut memory = vec![f32::NAN; room(&config, 1, length, 0)];
                let mut logits = vec![f32::NAN; length * 19];
                let model = Model::new(config, all).unwrap();
                model.logits(backend, &tokens, Sweeps::Unrolled(sweeps), &mut memory, &mut logits).unwrap();
                bits(&logits)
            };
            assert!(logits(&all, 1) == bits(&right), "{config}: one sweep");
            // More sweeps are something else, but for a single block.
            assert_eq!(logits(&all, 2) == bits(&right), blocks == 1, "{config}: two sweeps");
            let kept = all.clone();
            for at in (0..blocks).filter_map(|block| config.feedback_of(block)) {
                all[at.weight].fill(0.0);
            }
            assert!(logits(&all, 3) == bits(&right), "{config}: three sweeps with U = 0");
            all = kept;
        }
    }
}
