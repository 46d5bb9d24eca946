//! A learner: that it learns, the same bits on any number of threads, nothing allocated in a step, nothing changed by an error.

use attractor::simd::Backend;
use attractor_language::Config;
use attractor_language::adapt::Learns;
use attractor_language::pass::{IGNORED, Model, PassError, Sequences, Sweeps, room};
use attractor_language::train::{Batch, Learner, Optimizer, State, StepSettings, TrainError};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counted;
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as the caller vouches.
        unsafe { System.dealloc(place, layout) }
    }
}
#[global_allocator]
static ALLOCATOR: Counted = Counted;

const CONFIG: Config = Config { vocabulary: 13, ..Config::new(16, 2, 3, 12) };
const SETTINGS: StepSettings =
    StepSettings { rate: 0.01, decay: 0.1, clip: 1.0, sweeps: Sweeps::Unrolled(2) };

/// Sequences that count up by one or by two.
fn batch(sequences: usize, step: usize) -> (Vec<u32>, Vec<u32>) {
    let token = |s: usize, t: usize| ((s * 5 + step + t * (1 + s % 2)) % 13) as u32;
    let all = |add: usize| (0..sequences).flat_map(|s| (0..12).map(move |t| token(s, t + add))).collect();
    (all(0), all(1))
}

/// A state of these parameters and moments, without adapters.
fn state<'a>(parameters: &'a [f32], first: &'a [f32], second: &'a [f32]) -> State<'a> {
    State { parameters, adapters: &[], first, second, steps: 1 }
}

fn trained(threads: usize, sequences: usize, steps: usize) -> (Vec<f32>, f64) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let mut learner = Learner::new(CONFIG, sequences, 12, 2).unwrap();
        learner.initialize(5);
        let mut loss = 0.0;
        for step in 0..steps {
            let (tokens, targets) = batch(sequences, step);
            let batch = Batch { sequences, length: 12, tokens: &tokens, targets: &targets };
            loss = learner.step(&batch, &SETTINGS).unwrap().loss;
        }
        (learner.parameters().to_vec(), loss)
    })
}

/// Parameters of a model that was just made.
fn kept_of(seed: u64) -> Vec<f32> {
    let mut learner = Learner::new(CONFIG, 1, 1, 1).unwrap();
    learner.initialize(seed);
    learner.parameters().to_vec()
}

/// Losses after every sweep, over shards of several sequences each: those of the sequences one by one.
fn every_sweep_has_its_targets() {
    let sweeps = Sweeps::Supervised(2);
    let (tokens, first) = batch(19, 0);
    let (_, second) = batch(19, 5);
    let mut targets: Vec<u32> =
        first.chunks(12).zip(second.chunks(12)).flat_map(|(a, b)| [a, b].concat()).collect();
    // A sequence without any, and a sweep.
    targets[24..48].fill(IGNORED);
    targets[72..84].fill(IGNORED);
    let parameters = kept_of(5);
    let model = Model::new(CONFIG, &parameters).unwrap();
    let mut memory = vec![0.0; room(&CONFIG, 1, 12, 0)];
    let (mut total, mut counted) = (0.0, 0);
    for (tokens, targets) in tokens.chunks(12).zip(targets.chunks(24)) {
        let of = Sequences { length: 12, tokens, targets };
        if targets.iter().any(|target| *target != IGNORED) {
            let (loss, count) = model.loss(Backend::best(), of, sweeps, &mut memory).unwrap();
            (total, counted) = (total + f64::from(loss), counted + count);
        }
    }
    let mut learner = Learner::new(CONFIG, 19, 12, 2).unwrap();
    learner.initialize(5);
    let all = Batch { sequences: 19, length: 12, tokens: &tokens, targets: &targets };
    let (found, count) = learner.evaluate(&all, sweeps).unwrap();
    assert_eq!((count, counted), (19 * 24 - 24 - 12, count));
    assert!((found - total).abs() < 1e-5 * total, "{found}, not {total}");
    let report = learner.step(&all, &StepSettings { sweeps, ..SETTINGS }).unwrap();
    assert!((report.loss - total / counted as f64).abs() < 1e-5, "{}", report.loss);
    assert!(learner.evaluate(&all, sweeps).unwrap().0 < total);
}

fn a_teacher_changes_what_is_learnt_and_not_what_is_told() {
    let (tokens, targets) = batch(9, 0);
    let all = Batch { sequences: 9, length: 12, tokens: &tokens, targets: &targets };
    let started = || {
        let mut learner = Learner::new(CONFIG, 9, 12, 2).unwrap();
        learner.initialize(5);
        learner
    };
    let after = |mut learner: Learner| {
        let report = learner.step(&all, &SETTINGS).unwrap();
        (report.loss, learner.parameters().to_vec())
    };
    let other = Config { blocks: 1, ..CONFIG };
    let mut teacher = Learner::new(other, 1, 1, 1).unwrap();
    teacher.initialize(7);
    let taught = |config: Config, sweeps, share| {
        started().taught(config, teacher.parameters().to_vec(), sweeps, share)
    };
    let alone = after(started());
    assert!(after(taught(other, 2, 0.0).unwrap()) == alone);
    let (loss, parameters) = after(taught(other, 2, 0.5).unwrap());
    assert!(loss == alone.0 && parameters != alone.1);

    for (config, sweeps, share) in [
        (CONFIG, 2, 0.5),
        (Config { width: 15, heads: 2, ..other }, 2, 0.5),
        (other, 0, 0.5),
        (other, 2, -0.1),
        (other, 2, 1.1),
        (other, 2, f32::NAN),
    ] {
        assert!(taught(config, sweeps, share).is_err(), "{config}, {sweeps}, {share}");
    }
    let of = |config: Config| started().taught(config, vec![0.0; config.parameters()], 1, 0.5).unwrap_err();
    assert_eq!(of(Config { causal: false, ..other }), TrainError::Teacher { causal: false });
    let short = PassError::Tokens { found: 12, most: 11 };
    assert_eq!(of(Config { context: 11, ..other }), TrainError::Pass(short));
    let (what, expected) = ("vocabulary of the teacher", 13);
    let vocabulary = PassError::Length { what, expected, found: 14 };
    assert_eq!(of(Config { vocabulary: 14, ..other }), TrainError::Pass(vocabulary));
}

/// One test of all, for other threads would allocate meanwhile.
#[test]
fn a_learner_keeps_its_promises() {
    // It learns what is to be learned: of two ways to go on, the tokens before say which.
    let (_, loss) = trained(2, 16, 150);
    assert!(loss < 0.4, "{loss}");

    // The same bits on any number of threads, whether or not they share the batch evenly.
    for sequences in [1, 3, 8, 19] {
        let (one, _) = trained(1, sequences, 3);
        for threads in [2, 3, 5] {
            assert!(trained(threads, sequences, 3).0 == one, "{sequences} sequences, {threads} threads");
        }
    }

    every_sweep_has_its_targets();
    a_teacher_changes_what_is_learnt_and_not_what_is_told();

    let mut learner = Learner::new(CONFIG, 1, 1, 1).unwrap();
    // A step, after some that wake the threads.
    let (tokens, targets) = batch(16, 0);
    let all = Batch { sequences: 16, length: 12, tokens: &tokens, targets: &targets };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for (learns, optimizer) in [
        (Learns::Last, Optimizer::AdamW),
        (Learns::LowRank { rank: 2 }, Optimizer::AdamW),
        (Learns::All, Optimizer::Muon),
        (Learns::All, Optimizer::AdamW),
    ] {
        learner = Learner::of(CONFIG, learns, 16, 12, 2).unwrap().with(optimizer);
        learner.initialize(5);
        if learns == Learns::Last {
            learner = learner.taught(CONFIG, kept_of(7), 2, 0.5).unwrap();
        }
        learner.step(&all, &SETTINGS).unwrap();
        pool.install(|| {
            learner.step(&all, &SETTINGS).unwrap();
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            learner.step(&all, &SETTINGS).unwrap();
            learner.evaluate(&all, Sweeps::Unrolled(2)).unwrap();
            assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "{learns:?} {optimizer:?}");
        });
    }

    // Errors change nothing.
    let kept = learner.parameters().to_vec();
    let ignored = vec![IGNORED; targets.len()];
    let unknown = vec![13; targets.len()];
    let refused = [
        (Batch { sequences: 17, ..all }, SETTINGS),
        (Batch { length: 13, ..all }, SETTINGS),
        (Batch { sequences: 15, ..all }, SETTINGS),
        (Batch { targets: &ignored, ..all }, SETTINGS),
        (Batch { tokens: &unknown, ..all }, SETTINGS),
        (all, StepSettings { rate: f32::NAN, ..SETTINGS }),
        (all, StepSettings { clip: 0.0, ..SETTINGS }),
        (all, StepSettings { decay: -1.0, ..SETTINGS }),
        (all, StepSettings { sweeps: Sweeps::Unrolled(3), ..SETTINGS }),
        (all, StepSettings { sweeps: Sweeps::Unrolled(0), ..SETTINGS }),
        // As many targets as tokens are too few for two sweeps.
        (all, StepSettings { sweeps: Sweeps::Supervised(2), ..SETTINGS }),
    ];
    for (batch, settings) in refused {
        assert!(learner.step(&batch, &settings).is_err());
        assert!(learner.parameters() == kept && learner.steps() == 3);
    }
    let mut short = kept.clone();
    short.pop();
    let error = learner.restore(&state(&short, &kept, &kept)).unwrap_err();
    let expected = kept.len();
    let of = PassError::Length { what: "parameters", expected, found: expected - 1 };
    assert_eq!(error, TrainError::Pass(of));
    let mut broken = kept.clone();
    broken[3] = f32::INFINITY;
    assert_eq!(learner.restore(&state(&kept, &kept, &broken)), Err(TrainError::NotFinite));
    assert!(learner.parameters() == kept);
}
