//! Checkpoints: what is written is read again, and what is not that is refused.

use attractor_language::Config;
use attractor_language::adapt::Learns;
use attractor_language::checkpoint::{
    Checkpoint, CheckpointError, Folder, Settings, Teaching, Training, checksum,
};
use attractor_language::pass::PassError;
use attractor_language::plot::Point;
use attractor_language::schedule::Schedule;
use attractor_language::text::Random;
use attractor_language::train::Optimizer;
use std::borrow::Cow;
use std::fs;
use std::path::PathBuf;

fn config() -> Config {
    Config { vocabulary: 3, ..Config::new(2, 1, 2, 2) }
}

fn numbers(count: usize, start: f32) -> Cow<'static, [f32]> {
    (0..count).map(|i| start + 0.37 * i as f32).collect()
}

fn training(steps: u32) -> Training<'static> {
    let count = config().parameters();
    let schedule = Schedule { rate: 1e-3, warm_up: 0.02, end: 0.1, switch: 0.5, sweeps: 3, steps: 1_000_000 };
    let mut random = Random::new(9);
    random.unit();
    Training {
        settings: Settings {
            schedule,
            batch: 32,
            optimizer: Optimizer::AdamW,
            decay: 0.1,
            clip: 1.5,
            evaluate_every: 50,
            shards: 8,
            rounded: false,
            teacher: None,
            labels: false,
            text_bytes: 1 << 33,
            text_checksum: 0xdead_beef,
        },
        first: numbers(count, -1.0),
        second: numbers(count, 7.0),
        steps,
        random: random.state(),
        sequences: 1 << 40,
        loss: 12.25,
        loss_steps: 7,
        curve: vec![
            Point { step: 50, sweeps: 1, rate: 1e-4, training: 4.5, held_out: 4.75 },
            Point { step: 100, sweeps: 3, rate: 1e-3, training: 3.5, held_out: 3.75 },
        ]
        .into(),
    }
}

fn checkpoint(training: Option<Training<'static>>) -> Checkpoint<'static> {
    Checkpoint { training, ..Checkpoint::of(config(), 3, numbers(config().parameters(), 0.5)) }
}

/// One of each kind: a model; trainings in which all learns, by either optimizer, the last block, adapters.
fn kinds() -> [Checkpoint<'static>; 6] {
    let learning = |learns: Learns, trained: bool| {
        let count = learns.count(&config());
        let training = trained.then(|| {
            let (first, second) = (numbers(count, -1.0), numbers(count, 7.0));
            Training { first, second, ..training(100) }
        });
        let own = if matches!(learns, Learns::LowRank { .. }) { count } else { 0 };
        Checkpoint { learns, adapters: numbers(own, 0.25), ..checkpoint(training) }
    };
    let adapters = Learns::LowRank { rank: 2 };
    let mut muon = training(100);
    muon.settings.optimizer = Optimizer::Muon;
    muon.settings.labels = true;
    muon.settings.rounded = true;
    muon.settings.shards = 12;
    muon.settings.teacher = Some(Teaching { share: 0.75, checksum: 0xdead_beef });
    [
        learning(Learns::All, false),
        checkpoint(Some(muon)),
        learning(Learns::All, true),
        learning(Learns::Last, true),
        learning(adapters, false),
        learning(adapters, true),
    ]
}

fn written(checkpoint: &Checkpoint<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    checkpoint.write(&mut bytes).unwrap();
    bytes
}

/// A folder of one test's own.
fn room(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("checkpoint-{name}"));
    let _ = fs::remove_dir_all(&path);
    path
}

/// CRC-32 bit by bit.
fn naive_checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}

#[test]
fn what_is_written_is_read() {
    for checkpoint in kinds() {
        let bytes = written(&checkpoint);
        let read = Checkpoint::read(&bytes).unwrap();
        assert_eq!(read, checkpoint);
        assert_eq!(written(&read), bytes);
    }
    // Numbers that are none are kept, bit for bit.
    let mut odd = checkpoint(None);
    odd.parameters.to_mut()[..3].copy_from_slice(&[f32::from_bits(0x7fc0_1234), -0.0, f32::NEG_INFINITY]);
    assert_eq!(written(&Checkpoint::read(&written(&odd)).unwrap()), written(&odd));
    // Every flag.
    for (feedback, causal, places, window) in [
        (false, false, true, 0),
        (false, true, false, 0),
        (true, false, false, 0),
        (true, true, true, 1),
        (true, true, false, 65_535),
    ] {
        let config = Config { feedback, causal, places, window, ..config() };
        let parameters = numbers(config.parameters(), 0.5);
        let checkpoint = Checkpoint::of(config, 1, parameters);
        assert_eq!(Checkpoint::read(&written(&checkpoint)).unwrap(), checkpoint);
    }
}

/// The places that docs/language.md gives, read by hand.
#[test]
fn the_file_is_as_documented() {
    let bytes = written(&checkpoint(Some(training(100))));
    let count = config().parameters();
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!(&bytes[..8], b"ATTRLM\r\n");
    assert_eq!((u32_at(8), u32_at(12), u64_at(16)), (2, 7, bytes.len() as u64));
    assert_eq!([24, 32, 40, 48, 56, 64].map(u64_at), [3, 2, 2, 1, 2, 3]);
    assert_eq!(u32_at(72), 0.5_f32.to_bits());
    assert_eq!(u32_at(72 + 4 * count), (-1.0_f32).to_bits());
    assert_eq!(u32_at(72 + 8 * count), 7.0_f32.to_bits());
    let at = 72 + 12 * count;
    assert_eq!([at, at + 8, at + 16].map(u64_at), [1 << 33, 32, 3]);
    let floats = [1e-3_f32, 0.1, 1.5].map(f32::to_bits);
    let expected = [0xdead_beef, floats[0], floats[1], floats[2], 1_000_000, 50, 100, 7];
    assert_eq!(core::array::from_fn(|i| u32_at(at + 24 + 4 * i)), expected);
    let shares = [0.02, 0.1, 0.5].map(f64::to_bits);
    assert_eq!(core::array::from_fn(|i| u64_at(at + 56 + 8 * i)), shares);
    // The seed, two words of random numbers.
    assert_eq!([80, 88, 96].map(|more| u64_at(at + more)), [9, 2, 1 << 40]);
    assert_eq!(f64::from_bits(u64_at(at + 104)), 12.25);
    assert_eq!(u64_at(at + 112), 2);
    assert_eq!((u32_at(at + 120), u32_at(at + 124)), (50, 1));
    assert_eq!(f64::from_bits(u64_at(at + 120 + 28 + 20)), 3.75);
    let end = at + 120 + 2 * 28;
    assert_eq!(bytes.len(), end + 4);
    assert_eq!(u32_at(end), naive_checksum(&bytes[..end]));
    assert_eq!(checksum(&bytes[..end]), u32_at(end));
}

#[test]
fn every_truncation_is_refused() {
    for checkpoint in kinds() {
        let bytes = written(&checkpoint);
        for count in 0..bytes.len() {
            let error = Checkpoint::read(&bytes[..count]).unwrap_err();
            assert!(
                matches!(error, CheckpointError::Truncated { found, .. } if found == count as u64),
                "{count}: {error}"
            );
        }
        assert!(matches!(Checkpoint::read(&[&bytes[..], b"x"].concat()), Err(CheckpointError::Damaged)));
    }
}

#[test]
fn every_flipped_byte_is_refused() {
    for checkpoint in kinds() {
        let mut bytes = written(&checkpoint);
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                bytes[at] ^= flip;
                let error = Checkpoint::read(&bytes).unwrap_err();
                let right = match at {
                    0..8 => matches!(error, CheckpointError::Foreign),
                    8..12 => matches!(error, CheckpointError::Version { .. }),
                    16..24 => error.is_damage(),
                    _ => matches!(error, CheckpointError::Damaged),
                };
                assert!(right, "{at}: {error}");
                bytes[at] ^= flip;
            }
        }
    }
}

/// A file that was changed, with a checksum that is right.
fn forged_of(
    checkpoint: &Checkpoint<'_>,
    change: impl FnOnce(&mut Vec<u8>),
) -> Result<Checkpoint<'static>, CheckpointError> {
    let mut bytes = written(checkpoint);
    bytes.truncate(bytes.len() - 4);
    change(&mut bytes);
    let sum = naive_checksum(&bytes);
    bytes.extend(sum.to_le_bytes());
    Checkpoint::read(&bytes)
}

fn forged(change: impl FnOnce(&mut Vec<u8>)) -> CheckpointError {
    forged_of(&checkpoint(Some(training(100))), change).unwrap_err()
}

#[test]
fn forged_files_are_refused() {
    let put = |at: usize, number: u64| {
        forged(move |bytes| bytes[at..at + 8].copy_from_slice(&number.to_le_bytes()))
    };
    // A context and a width of another size, heads that do not divide, sizes of no memory; a curve longer than the file.
    assert!(matches!(put(32, 3), CheckpointError::Damaged));
    assert!(matches!(put(40, 4), CheckpointError::Damaged));
    assert!(matches!(put(48, 3), CheckpointError::Config(_)));
    for at in [24, 32, 40, 48, 56] {
        assert!(matches!(put(at, u64::MAX), CheckpointError::Config(_)), "{at}");
        assert!(matches!(put(at, 0), CheckpointError::Config(_)), "{at}");
    }
    assert!(matches!(put(40, 1 << 16), CheckpointError::Damaged));
    let curve = 72 + 12 * config().parameters() + 112;
    for points in [1, 3, u64::MAX, u64::MAX / 28] {
        assert!(matches!(put(curve, points), CheckpointError::Damaged), "{points}");
    }
    // Ranks that no adapter has; kinds that exclude each other, or are unknown.
    let [.., adapted] = kinds();
    let rank = 72 + 4 * config().parameters();
    for wrong in [0, 1, 3, u64::MAX] {
        let put = |bytes: &mut Vec<u8>| bytes[rank..rank + 8].copy_from_slice(&wrong.to_le_bytes());
        assert!(matches!(forged_of(&adapted, put), Err(CheckpointError::Damaged)), "{wrong}");
    }
    for flags in [4 + 8 + 16, 4 + 8, 32, 64, 128, 512, 4 + 512] {
        let forged = forged(|bytes| bytes[12..14].copy_from_slice(&u16::to_le_bytes(flags)));
        assert!(matches!(forged, CheckpointError::Damaged), "{flags}");
    }
    let future = forged(|bytes| bytes[8] = 3);
    assert_eq!(future.to_string(), "is a checkpoint of version 3, and this program reads version 2");
    assert!(matches!(forged(|bytes| bytes[8] = 0), CheckpointError::Version { found: 0 }));
}

/// What was written before there were adapters.
#[test]
fn files_of_the_first_version_are_read() {
    for checkpoint in [checkpoint(None), checkpoint(Some(training(100)))] {
        assert_eq!(forged_of(&checkpoint, |bytes| bytes[8] = 1).unwrap(), checkpoint);
    }
}

/// The model alone, against plain loops.
#[test]
fn adapters_are_merged() {
    let [model, muon, trained, last, adapted, training] = kinds();
    for checkpoint in [model.clone(), muon, trained, last] {
        assert_eq!(checkpoint.merged().unwrap(), model);
    }
    assert_eq!(adapted.clone().merged().unwrap(), training.merged().unwrap());
    // What is no checkpoint's.
    let mut short = adapted.clone();
    short.adapters.to_mut().pop();
    let without = Checkpoint { adapters: numbers(0, 0.0), ..adapted.clone() };
    let large = Checkpoint { learns: Learns::LowRank { rank: usize::MAX }, ..adapted.clone() };
    for wrong in [short, without, large] {
        assert!(matches!(wrong.clone().merged(), Err(PassError::Length { .. })));
        assert!(wrong.write(Vec::new()).is_err());
    }
    let (rank, mut own) = (2, adapted.adapters.iter().map(|x| f64::from(*x)));
    let mut right: Vec<f64> = adapted.parameters.iter().map(|x| f64::from(*x)).collect();
    config().tensors(|name, shape, place| {
        let &[inputs, outputs] = shape else {
            right[place].iter_mut().for_each(|to| *to += own.next().unwrap());
            return;
        };
        if !name.to_string().ends_with("wpe.weight") {
            let a: Vec<f64> = own.by_ref().take(inputs * rank).collect();
            let b: Vec<f64> = own.by_ref().take(rank * outputs).collect();
            for (at, sum) in right[place].iter_mut().enumerate() {
                let (i, o) = (at / outputs, at % outputs);
                *sum += (0..rank).map(|r| a[i * rank + r] * b[r * outputs + o]).sum::<f64>();
            }
        }
    });
    let merged = adapted.merged().unwrap();
    assert_eq!((merged.learns, merged.adapters.len()), (Learns::All, 0));
    for (found, right) in merged.parameters.iter().zip(&right) {
        assert!((f64::from(*found) - right).abs() <= 1e-6 * right.abs(), "{found}, not {right}");
    }
}

#[test]
fn another_shape_is_named_with_the_one_that_is_wanted() {
    let checkpoint = checkpoint(None);
    checkpoint.expect(&config()).unwrap();
    let wanted = Config { width: 4, ..config() };
    let message = checkpoint.expect(&wanted).unwrap_err().to_string();
    assert!(message.contains(&config().to_string()) && message.contains(&wanted.to_string()), "{message}");
    let mut wrong = checkpoint;
    wrong.parameters.to_mut().pop();
    assert!(wrong.write(Vec::new()).is_err());
}

#[test]
fn folders_keep_the_newest() {
    let path = room("keep").join("deep");
    let folder = Folder::open(&path, 2).unwrap();
    fs::write(path.join("checkpoint-notes.bin"), "not one").unwrap();
    for steps in [5, 40, 300, 1000] {
        let saved = folder.save(&checkpoint(Some(training(steps)))).unwrap();
        assert_eq!(Checkpoint::load(&saved).unwrap(), checkpoint(Some(training(steps))));
    }
    let steps = || -> Vec<u32> {
        let all = Folder::checkpoints(&path).unwrap();
        all.iter().map(|path| Checkpoint::load(path).unwrap().training.unwrap().steps).collect()
    };
    assert_eq!(steps(), [300, 1000]);
    // One of fewer steps than those that are there stays too: it is the one that was just written.
    folder.save(&checkpoint(Some(training(7)))).unwrap();
    assert_eq!(steps(), [7, 300, 1000]);
    assert!(path.join("checkpoint-notes.bin").exists());
    let parts = fs::read_dir(&path)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part"));
    assert_eq!(parts.count(), 0);
}

#[test]
fn a_folder_has_one_run_at_a_time() {
    let path = room("busy");
    let folder = Folder::open(&path, 2).unwrap();
    assert!(matches!(Folder::open(&path, 2), Err(CheckpointError::Busy)));
    drop(folder);
    // What a run that was killed left half-written goes.
    let left = [".checkpoint-abc.part", ".curve.svg.123.part"].map(|name| path.join(name));
    for left in &left {
        fs::write(left, "half").unwrap();
    }
    fs::write(path.join(".other.part"), "another's").unwrap();
    let _folder = Folder::open(&path, 2).unwrap();
    assert!(left.iter().all(|left| !left.exists()));
    assert!(path.join(".other.part").exists());
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_and_a_file_stays() {
    let path = room("file");
    fs::write(&path, "text").unwrap();
    assert!(matches!(Folder::open(&path, 2), Err(CheckpointError::Io(_))));
    assert!(checkpoint(None).save(&path.join("x.bin")).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"text");
    fs::remove_file(path).unwrap();
}

#[test]
fn tied_models_are_written_and_read() {
    let config = Config { tied: true, blocks: 4, ..config() };
    let mut bytes = Vec::new();
    let checkpoint = Checkpoint::of(config, 2, numbers(config.parameters(), 0.5));
    checkpoint.write(&mut bytes).unwrap();
    assert_eq!(Checkpoint::read(&bytes).unwrap(), checkpoint);
    // A flag less, and there are too few parameters.
    assert!(matches!(forged_of(&checkpoint, |bytes| bytes[13] = 0), Err(CheckpointError::Damaged)));
}
