//! A learner: that it learns, the same bits on any number of threads, nothing allocated in a step, nothing changed by an error.

use attractor_language::Config;
use attractor_language::adapt::Learns;
use attractor_language::pass::{IGNORED, PassError, Sweeps};
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
