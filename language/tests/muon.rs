//! Muon's steps against plain loops in `f64`.

use attractor_language::Config;
use attractor_language::adapt::Learns;
use attractor_language::pass::Sweeps;
use attractor_language::train::{Batch, Learner, Optimizer, StepSettings};
use core::ops::Range;

const CONFIG: Config = Config { vocabulary: 11, ..Config::new(8, 2, 3, 6) };
const SETTINGS: StepSettings =
    StepSettings { rate: 0.02, decay: 0.5, clip: 0.3, sweeps: Sweeps::Unrolled(2) };

fn step(learner: &mut Learner, settings: &StepSettings) -> f64 {
    let token = |i: usize, add: usize| ((i * i + 3 * i + add) % 11) as u32;
    let all = |add: usize| (0..9 * 6).map(|i| token(i, add)).collect();
    let (tokens, targets): (Vec<u32>, Vec<u32>) = (all(0), all(1));
    let batch = Batch { sequences: 9, length: 6, tokens: &tokens, targets: &targets };
    learner.step(&batch, settings).unwrap().norm
}

fn learner(learns: Learns, optimizer: Optimizer) -> Learner {
    let mut learner = Learner::of(CONFIG, learns, 9, 6, 2).unwrap().with(optimizer);
    learner.initialize(3);
    learner
}

/// The gradient there, shortened, from the first moment of a step that moves nothing.
fn gradient(parameters: &[f32]) -> Vec<f64> {
    let mut learner = learner(Learns::All, Optimizer::AdamW);
    learner.start_from(parameters, 1).unwrap();
    step(&mut learner, &StepSettings { rate: 0.0, ..SETTINGS });
    learner.state().first.iter().map(|x| f64::from(*x) / f64::from(1.0 - 0.9_f32)).collect()
}

/// A matrix, row after row.
#[derive(Clone)]
struct Plain {
    rows: usize,
    cols: usize,
    data: Vec<f64>,
}

impl Plain {
    fn new(rows: usize, cols: usize, entry: impl Fn(usize, usize) -> f64) -> Self {
        let data = (0..rows * cols).map(|i| entry(i / cols, i % cols)).collect();
        Self { rows, cols, data }
    }
    fn at(&self, row: usize, col: usize) -> f64 {
        self.data[row * self.cols + col]
    }
    fn times(&self, other: &Self) -> Self {
        assert_eq!(self.cols, other.rows);
        Self::new(self.rows, other.cols, |i, j| (0..self.cols).map(|k| self.at(i, k) * other.at(k, j)).sum())
    }
    fn turned(&self) -> Self {
        Self::new(self.cols, self.rows, |i, j| self.at(j, i))
    }
    /// a X + b X X^T X + c (X X^T)^2 X, three times, of X over its norm.
    fn orthogonal(&self) -> Self {
        let norm = self.data.iter().map(|x| x * x).sum::<f64>().sqrt();
        let mut x = Self { data: self.data.iter().map(|x| x / norm).collect(), ..self.clone() };
        for [a, b, c] in
            [[8.09337, -23.62043, 17.44615], [3.63659, -2.72193, 0.53655], [2.6613, -1.97715, 0.45262]]
        {
            let cube = x.times(&x.turned()).times(&x);
            let fifth = x.times(&x.turned()).times(&cube);
            let next = x.data.iter().zip(&cube.data).zip(&fifth.data);
            x.data = next.map(|((x, y), z)| a * x + b * y + c * z).collect();
        }
        x
    }
}

/// Matrices that take their steps as a whole: place of the tensor, its outputs, which of them, inputs.
fn matrices() -> Vec<(Range<usize>, usize, Range<usize>, usize)> {
    let mut all = Vec::new();
    CONFIG.tensors(|name, shape, place| {
        let name = name.to_string();
        if let (&[inputs, outputs], true) = (shape, name.contains(".h.")) {
            let parts = if name.ends_with("attn.c_attn.weight") { 3 } else { 1 };
            let each = outputs / parts;
            for part in 0..parts {
                all.push((place.clone(), outputs, part * each..(part + 1) * each, inputs));
            }
        }
    });
    // Query, key, value, three more a block; U.
    assert_eq!(all.len(), 3 * 6 + 2);
    all
}

#[test]
fn steps_of_matrices_are_muons() {
    let mut found = learner(Learns::All, Optimizer::Muon);
    let mut momentum = vec![0.0; CONFIG.parameters()];
    for steps in 0..4 {
        let before = found.parameters().to_vec();
        let gradient = gradient(&before);
        let rate = 0.02 / f64::from(1 << steps);
        let norm = step(&mut found, &StepSettings { rate: rate as f32, ..SETTINGS });
        // Gradients are shortened here, as momentum feels.
        assert!(norm > 0.3, "{norm}");
        for (m, g) in momentum.iter_mut().zip(&gradient) {
            *m = 0.95 * *m + g;
        }
        let mut moved = vec![false; before.len()];
        for (place, outputs, own, inputs) in matrices() {
            let at = |i: usize, o: usize| place.start + i * outputs + own.start + o;
            let step = Plain::new(inputs, own.len(), |i, o| 0.95 * momentum[at(i, o)] + gradient[at(i, o)]);
            let step = step.orthogonal();
            let length = 0.2 * (inputs.max(own.len()) as f64).sqrt();
            for i in 0..inputs {
                for o in 0..own.len() {
                    let p = f64::from(before[at(i, o)]);
                    let right = p - rate * (0.5 * p + length * step.at(i, o));
                    let now = f64::from(found.parameters()[at(i, o)]);
                    let bound = 2e-3 * rate + 1e-6 * p.abs();
                    assert!((now - right).abs() < bound, "step {steps}, input {i}: {now}, not {right}");
                    moved[at(i, o)] = true;
                }
            }
        }
        // All else takes the steps of AdamW, the first of which is of the rate's length.
        if steps == 0 {
            let mut other = learner(Learns::All, Optimizer::AdamW);
            step(&mut other, &SETTINGS);
            for ((now, right), moved) in found.parameters().iter().zip(other.parameters()).zip(&moved) {
                assert!(*moved || now == right);
            }
            assert!(found.parameters() != other.parameters());
        }
    }
}

#[test]
fn muon_learns_on_any_number_of_threads_and_leaves_alone_what_does_not_learn() {
    let run = |learns: Learns, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut learner = learner(learns, Optimizer::Muon);
            (0..3).for_each(|_| _ = step(&mut learner, &SETTINGS));
            learner.parameters().to_vec()
        })
    };
    let start = learner(Learns::All, Optimizer::Muon).parameters().to_vec();
    for learns in [Learns::All, Learns::Last] {
        let one = run(learns, 1);
        assert!(one == run(learns, 2) && one == run(learns, 3));
        let own = if learns == Learns::All {
            0..start.len()
        } else {
            CONFIG.block(2).ln_1_weight.start..CONFIG.ln_f().1.end
        };
        for (i, (now, before)) in one.iter().zip(&start).enumerate() {
            assert!(own.contains(&i) || now == before, "{i}");
        }
        assert!(one[own.clone()] != start[own]);
    }
    // Adapters have AdamW's.
    let adapters = Learns::LowRank { rank: 2 };
    let steps = |optimizer: Optimizer| {
        let mut learner = learner(adapters, optimizer);
        step(&mut learner, &SETTINGS);
        learner.state().adapters.to_vec()
    };
    assert!(steps(Optimizer::Muon) == steps(Optimizer::AdamW));
}
