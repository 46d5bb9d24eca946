//! Ranks that are threads, with channels between them: whatever their number, a training has the bits of one process.

use attractor_language::Config;
use attractor_language::adapt::Learns;
use attractor_language::pass::{PassError, Sweeps};
use attractor_language::ranks::{Lost, Ranks};
use attractor_language::train::{
    Batch, Exchanged, Learner, Optimizer, SHARDS, Shards, StepSettings, TrainError,
};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

/// One rank of several that are threads.
#[derive(Debug)]
struct Thread {
    rank: usize,
    to: Vec<Sender<Vec<f32>>>,
    from: Vec<Mutex<Receiver<Vec<f32>>>>,
    words: Arc<Mutex<Vec<u64>>>,
    barrier: Arc<Barrier>,
}

fn threads(count: usize) -> Vec<Thread> {
    let (words, barrier) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Barrier::new(count)));
    let mut all: Vec<Thread> = (0..count)
        .map(|rank| {
            let (words, barrier) = (Arc::clone(&words), Arc::clone(&barrier));
            Thread { rank, to: Vec::new(), from: Vec::new(), words, barrier }
        })
        .collect();
    for from in 0..count {
        for to in 0..count {
            let (sender, receiver) = channel();
            all[from].to.push(sender);
            all[to].from.push(Mutex::new(receiver));
        }
    }
    all
}

impl Ranks for Thread {
    fn rank(&self) -> usize {
        self.rank
    }
    fn count(&self) -> usize {
        self.to.len()
    }
    fn send(&self, to: usize, numbers: &[f32]) -> Result<(), Lost> {
        self.to[to].send(numbers.to_vec()).map_err(|_| Lost { rank: to })
    }
    fn receive(&self, from: usize, numbers: &mut [f32]) -> Result<(), Lost> {
        let sent = self.from[from].lock().unwrap().recv().map_err(|_| Lost { rank: from })?;
        numbers.copy_from_slice(&sent);
        Ok(())
    }
    fn broadcast(&self, from: usize, numbers: &mut [f32]) -> Result<(), Lost> {
        if from != self.rank {
            return self.receive(from, numbers);
        }
        (0..self.count()).filter(|to| *to != from).try_for_each(|to| self.send(to, numbers))
    }
    fn or(&self, words: &mut [u64]) -> Result<(), Lost> {
        if self.barrier.wait().is_leader() {
            *self.words.lock().unwrap() = vec![0; words.len()];
        }
        self.barrier.wait();
        for (sum, word) in self.words.lock().unwrap().iter_mut().zip(&*words) {
            *sum |= word;
        }
        self.barrier.wait();
        words.copy_from_slice(&self.words.lock().unwrap());
        Ok(())
    }
    fn abort(&self, _code: u8) {}
}

/// Some 170,000 parameters, most of them for places that no token has, so that a sum takes three messages.
const CONFIG: Config = Config { vocabulary: 13, ..Config::new(32, 2, 3, 4096) };
const SETTINGS: StepSettings =
    StepSettings { rate: 0.01, decay: 0.1, clip: 1.0, sweeps: Sweeps::Unrolled(2) };

/// Tokens and targets of a batch: sequences that are not like each other, so that their gradients are of different sizes.
fn batch(sequences: usize, step: usize) -> (Vec<u32>, Vec<u32>) {
    let token = |s: usize, t: usize| ((s * s * 5 + step + t * (1 + s % 3)) % 13) as u32;
    let all = |add: usize| (0..sequences).flat_map(|s| (0..12).map(move |t| token(s, t + add))).collect();
    (all(0), all(1))
}

/// What a training comes to: losses and norms of its steps, a loss that is measured, parameters and moments.
type Outcome = (Vec<(u64, u64)>, (u64, usize), Vec<Vec<u32>>);

#[derive(Clone, Copy)]
struct Kind {
    learns: Learns,
    optimizer: Optimizer,
    sequences: usize,
    shards: usize,
}

fn trained(kind: Kind, ranks: Option<Arc<dyn Ranks>>) -> (Outcome, Option<Exchanged>) {
    let Kind { learns, optimizer, sequences, shards } = kind;
    let shards = Shards { count: shards, ranks };
    let mut learner = Learner::among(CONFIG, learns, sequences, 12, 2, &shards).unwrap().with(optimizer);
    learner.initialize(5);
    let mut reports = Vec::new();
    for step in 0..3 {
        let (tokens, targets) = batch(sequences, step);
        let batch = Batch { sequences, length: 12, tokens: &tokens, targets: &targets };
        let report = learner.step(&batch, &SETTINGS).unwrap();
        reports.push((report.loss.to_bits(), report.norm.to_bits()));
    }
    let exchanged = learner.exchanged();
    // Fewer sequences than there is room for.
    let (tokens, targets) = batch(sequences.div_ceil(2), 9);
    let batch = Batch { sequences: sequences.div_ceil(2), length: 12, tokens: &tokens, targets: &targets };
    let (loss, counted) = learner.evaluate(&batch, Sweeps::Unrolled(2)).unwrap();
    let state = learner.state();
    let all = [state.parameters, state.adapters, state.first, state.second];
    let bits = all.map(|numbers| numbers.iter().map(|number| number.to_bits()).collect()).to_vec();
    ((reports, (loss.to_bits(), counted), bits), exchanged)
}

/// What each of so many ranks has.
fn by_all<T: Send>(count: usize, each: impl Fn(Arc<dyn Ranks>) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let each = &each;
        let all: Vec<_> =
            threads(count).into_iter().map(|rank| scope.spawn(move || each(Arc::new(rank)))).collect();
        all.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

#[test]
fn ranks_have_the_bits_of_one_process() {
    let all = Kind { learns: Learns::All, optimizer: Optimizer::Muon, sequences: 19, shards: SHARDS };
    for (kind, counts) in [
        (all, &[1, 2, 3, 5, 8][..]),
        (Kind { optimizer: Optimizer::AdamW, sequences: 16, ..all }, &[2, 7]),
        (Kind { sequences: 5, ..all }, &[5]),
        (Kind { shards: 12, ..all }, &[1, 4, 12]),
        (Kind { learns: Learns::Last, ..all }, &[3]),
        (Kind { learns: Learns::LowRank { rank: 2 }, optimizer: Optimizer::AdamW, ..all }, &[3]),
    ] {
        let (alone, none) = trained(kind, None);
        assert_eq!(none, None);
        for &count in counts {
            for (rank, (outcome, exchanged)) in
                by_all(count, |ranks| trained(kind, Some(ranks))).into_iter().enumerate()
            {
                assert!(outcome == alone, "rank {rank} of {count}, {:?} {:?}", kind.learns, kind.optimizer);
                let learnt = if kind.learns == Learns::Last { alone.2[2].len() } else { CONFIG.parameters() };
                let times = match rank {
                    _ if count == 1 => 0,
                    0 => 2,
                    _ if rank + 1 == count => 2,
                    _ => 3,
                };
                assert_eq!(exchanged.unwrap().bytes, (3 * times * 4 * learnt) as u64);
            }
        }
    }
    // The number of shards is one of the things that fix the bits.
    assert!(trained(all, None).0 != trained(Kind { shards: 12, ..all }, None).0);
}

#[test]
fn an_error_of_one_rank_is_one_of_all_and_changes_nothing() {
    let (tokens, targets) = batch(16, 0);
    let all = Batch { sequences: 16, length: 12, tokens: &tokens, targets: &targets };
    let mut unknown = tokens.clone();
    // In the last shard, which the last rank has.
    unknown[15 * 12] = 13;
    let errors = by_all(3, |ranks| {
        let rank = ranks.rank();
        let shards = Shards { ranks: Some(ranks), ..Shards::default() };
        let mut learner = Learner::among(CONFIG, Learns::All, 16, 12, 2, &shards).unwrap();
        learner.initialize(5);
        let before = learner.parameters().to_vec();
        let of_a_shard = learner.step(&Batch { tokens: &unknown, ..all }, &SETTINGS).unwrap_err();
        let measured = learner.evaluate(&Batch { tokens: &unknown, ..all }, SETTINGS.sweeps).unwrap_err();
        // One that asks for something else than the others.
        let rate = if rank == 1 { f32::NAN } else { SETTINGS.rate };
        let of_a_rank = learner.step(&all, &StepSettings { rate, ..SETTINGS }).unwrap_err();
        assert!(learner.parameters() == before && learner.steps() == 0);
        // They go on.
        learner.step(&all, &SETTINGS).unwrap();
        (of_a_shard, measured, of_a_rank)
    });
    let token = TrainError::Pass(PassError::Token { token: 13, vocabulary: 13 });
    for (rank, (of_a_shard, measured, of_a_rank)) in errors.into_iter().enumerate() {
        assert_eq!((of_a_shard, measured), (token, token));
        match of_a_rank {
            TrainError::Setting { name: "rate", .. } if rank == 1 => {}
            error => assert_eq!(error, TrainError::Rank { rank: 1 }),
        }
    }
}

#[test]
fn every_rank_needs_a_shard() {
    for (count, sequences, shards) in [(9, 16, SHARDS), (4, 3, SHARDS), (3, 16, 2)] {
        for error in by_all(count, |ranks| {
            let shards = Shards { count: shards, ranks: Some(ranks) };
            Learner::among(CONFIG, Learns::All, sequences, 12, 2, &shards).unwrap_err()
        }) {
            let most = sequences.min(shards);
            assert_eq!(error, TrainError::Batch { what: "ranks", most, found: count });
        }
    }
    let none = Shards { count: 0, ranks: None };
    assert!(Learner::among(CONFIG, Learns::All, 16, 12, 2, &none).is_err());
}
