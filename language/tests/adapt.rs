//! What learns, and what does not: adapters and their gradient against plain loops in `f64`, the last block alone.

use attractor_language::Config;
use attractor_language::adapt::Learns;
use attractor_language::pass::Sweeps;
use attractor_language::train::{Batch, Learner, State, StepSettings, TrainError};
use core::ops::Range;

const CONFIG: Config = Config { vocabulary: 11, ..Config::new(8, 2, 3, 6) };
const SETTINGS: StepSettings =
    StepSettings { rate: 0.02, decay: 0.1, clip: 1e9, sweeps: Sweeps::Unrolled(2) };

/// The gradient alone: moments take it, and parameters stay.
const STILL: StepSettings = StepSettings { rate: 0.0, ..SETTINGS };

fn tokens(add: usize) -> Vec<u32> {
    (0..9 * 6).map(|i| ((i * i + 3 * i + add) % 11) as u32).collect()
}

fn step(learner: &mut Learner, settings: &StepSettings) {
    let (tokens, targets) = (tokens(0), tokens(1));
    let batch = Batch { sequences: 9, length: 6, tokens: &tokens, targets: &targets };
    learner.step(&batch, settings).unwrap();
}

fn learner(learns: Learns) -> Learner {
    let mut learner = Learner::of(CONFIG, learns, 9, 6, 2).unwrap();
    learner.initialize(3);
    learner
}

/// Every tensor that has a term beside it: where it lies, inputs, outputs; of a vector no inputs.
fn tensors() -> Vec<(Range<usize>, usize, usize)> {
    let mut all = Vec::new();
    CONFIG.tensors(|name, shape, place| {
        if !name.to_string().ends_with("wpe.weight") {
            all.push(if shape.len() == 2 { (place, shape[0], shape[1]) } else { (place, 0, shape[0]) });
        }
    });
    // The tokens; twelve a block; the last normalisation; U, its normalisation and the gate of all blocks but the last.
    assert_eq!(all.len(), 1 + 3 * 12 + 2 + 2 * 4);
    all
}

/// A and B of every matrix, nothing and the term of every vector.
fn halves(numbers: &[f32], rank: usize) -> Vec<(Vec<f64>, Vec<f64>)> {
    let mut rest = numbers.iter().map(|x| f64::from(*x));
    let all = tensors().into_iter().map(|(_, inputs, outputs)| {
        let a = rest.by_ref().take(inputs * rank).collect();
        (a, rest.by_ref().take(if inputs > 0 { rank * outputs } else { outputs }).collect())
    });
    let all = all.collect();
    assert!(rest.next().is_none());
    all
}

fn near(found: f32, right: f64, what: &str) {
    assert!((f64::from(found) - right).abs() <= 2e-6 * (1.0 + right.abs()), "{what}: {found}, not {right}");
}

#[test]
fn adapters_are_added_and_learn_by_their_exact_gradient() {
    for rank in [1, 3, 8] {
        let mut adapted = learner(Learns::LowRank { rank });
        // At the start the model is what it was, to the bit.
        let base = learner(Learns::All).parameters().to_vec();
        assert!(adapted.parameters() == base);
        assert_eq!(adapted.state().adapters.len(), Learns::LowRank { rank }.count(&CONFIG));
        for _ in 0..4 {
            step(&mut adapted, &SETTINGS);
        }
        let state = adapted.state();
        assert!(state.parameters == base);
        let numbers = state.adapters.to_vec();

        let mut right: Vec<f64> = base.iter().map(|x| f64::from(*x)).collect();
        for ((place, inputs, outputs), (a, b)) in tensors().iter().zip(halves(&numbers, rank)) {
            if *inputs == 0 {
                right[place.clone()].iter_mut().zip(b).for_each(|(to, x)| *to += x);
                continue;
            }
            for i in 0..*inputs {
                for o in 0..*outputs {
                    right[place.start + i * outputs + o] +=
                        (0..rank).map(|r| a[i * rank + r] * b[r * outputs + o]).sum::<f64>();
                }
            }
        }
        let mut moved = 0;
        for ((found, right), base) in adapted.parameters().iter().zip(&right).zip(&base) {
            near(*found, *right, "parameter");
            moved += usize::from(found != base);
        }
        assert!(moved > 3 * 12 * 64 + 3 * 13 * 8);

        // The gradient of all parameters there, which is compared with differences elsewhere; then by the chain rule.
        let merged = adapted.parameters().to_vec();
        let mut whole = learner(Learns::All);
        whole.start_from(&merged, 1).unwrap();
        step(&mut whole, &STILL);
        let gradient = whole.state().first.to_vec();
        let zeros = vec![0.0; numbers.len()];
        let from = State { parameters: &base, adapters: &numbers, first: &zeros, second: &zeros, steps: 0 };
        adapted.restore(&from).unwrap();
        assert!(adapted.parameters() == merged);
        step(&mut adapted, &STILL);
        let found = adapted.state().first.to_vec();
        let mut largest = 0.0_f64;
        let own = halves(&found, rank);
        for (((place, inputs, outputs), (a, b)), (to_a, to_b)) in
            tensors().iter().zip(halves(&numbers, rank)).zip(own)
        {
            if *inputs == 0 {
                for (found, right) in to_b.iter().zip(&gradient[place.clone()]) {
                    near(*found as f32, f64::from(*right), "a vector's term");
                }
                continue;
            }
            let g = |i: usize, o: usize| f64::from(gradient[place.start + i * outputs + o]);
            for r in 0..rank {
                for i in 0..*inputs {
                    let right = (0..*outputs).map(|o| g(i, o) * b[r * outputs + o]).sum();
                    near(to_a[i * rank + r] as f32, right, "A");
                    largest = largest.max(right.abs());
                }
                for o in 0..*outputs {
                    let right: f64 = (0..*inputs).map(|i| g(i, o) * a[i * rank + r]).sum();
                    near(to_b[r * outputs + o] as f32, right, "B");
                }
            }
        }
        assert!(largest > 1e-4, "{largest}");
    }
}

#[test]
fn the_last_block_learns_alone() {
    let (mut last, mut all) = (learner(Learns::Last), learner(Learns::All));
    let before = last.parameters().to_vec();
    step(&mut last, &SETTINGS);
    step(&mut all, &SETTINGS);
    let block = CONFIG.block(2);
    let own = block.ln_1_weight.start..CONFIG.ln_f().1.end;
    assert_eq!(own.len(), Learns::Last.count(&CONFIG));
    for (i, ((now, before), all)) in last.parameters().iter().zip(&before).zip(all.parameters()).enumerate() {
        // What learns takes the step it takes among others.
        assert_eq!(now.to_bits(), if own.contains(&i) { all } else { before }.to_bits(), "{i}");
    }
    assert!(last.parameters()[own.clone()] != before[own]);
}

#[test]
fn the_same_bits_on_any_number_of_threads() {
    for learns in [Learns::Last, Learns::LowRank { rank: 2 }] {
        let results = [1, 2, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut learner = learner(learns);
                (0..3).for_each(|_| step(&mut learner, &SETTINGS));
                learner.parameters().to_vec()
            })
        });
        assert!(results[0] == results[1] && results[0] == results[2]);
    }
}

#[test]
fn wrong_ranks_and_states_are_refused() {
    for rank in [0, 9, usize::MAX] {
        let error = Learner::of(CONFIG, Learns::LowRank { rank }, 1, 1, 1).unwrap_err();
        assert_eq!(error.to_string(), format!("rank is {rank}; it may be 1 to 8"));
    }
    let mut learner = learner(Learns::LowRank { rank: 2 });
    let kept = learner.parameters().to_vec();
    let numbers = learner.state().adapters.to_vec();
    let zeros = vec![0.0; numbers.len()];
    let good = State { parameters: &kept, adapters: &numbers, first: &zeros, second: &zeros, steps: 1 };
    let mut broken = numbers.clone();
    broken[1] = f32::NAN;
    assert_eq!(learner.restore(&State { adapters: &broken, ..good }), Err(TrainError::NotFinite));
    for wrong in [
        State { adapters: &[], ..good },
        State { parameters: &numbers, ..good },
        State { first: &kept, ..good },
        State { second: &[], ..good },
    ] {
        assert!(learner.restore(&wrong).is_err());
    }
    assert!(learner.start_from(&numbers, 1).is_err());
    assert!(learner.parameters() == kept && learner.steps() == 0);
    learner.restore(&good).unwrap();
    assert_eq!(learner.steps(), 1);
}
