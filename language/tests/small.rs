//! Small models: what rounding leaves of a model, against plain loops in f64; their files; training that rounds.

mod naive;

use attractor::simd::{Backend, Bf16};
use attractor_language::draw::{Choice, of_all};
use attractor_language::generate::{Continued, Generator};
use attractor_language::pass::{Model, PassError, Sweeps};
use attractor_language::random::Random;
use attractor_language::small::{AnySmall, Header, Small, SmallError, SmallFile, Stored, Weight};
use attractor_language::train::{Batch, Learner, StepSettings};
use attractor_language::weights::Weights;
use attractor_language::{Config, ConfigError};

/// Widths with columns left over behind groups of four and of two, one whose inner width is more than is rounded at a time.
fn shapes() -> Vec<Config> {
    let shape = |width, heads, blocks, feedback| Config {
        vocabulary: 13,
        feedback,
        ..Config::new(width, heads, blocks, 7)
    };
    vec![
        shape(8, 2, 1, true),
        shape(12, 3, 3, true),
        shape(18, 3, 2, true),
        shape(9, 3, 2, false),
        shape(5, 1, 3, true),
        shape(96, 4, 2, true),
        Config { tied: true, ..shape(12, 2, 3, true) },
        Config { tied: true, ..shape(8, 1, 2, false) },
        Config { places: false, window: 2, ..shape(12, 2, 2, true) },
    ]
}

/// Rows and columns of a matrix, and where an entry lies among the parameters.
fn matrices(config: &Config, mut visit: impl FnMut(usize, usize, &dyn Fn(usize, usize) -> usize)) {
    config.tensors(|name, shape, place| {
        let &[first, second] = shape else { return };
        let start = place.start;
        if name.to_string().contains("transformer.w") {
            visit(first, second, &|row, column| start + row * second + column);
        } else {
            // Inputs x outputs: a row is what makes one output.
            visit(second, first, &|row, column| start + column * second + row);
        }
    });
}

#[test]
fn weights_are_rounded_to_the_nearest() {
    for config in shapes() {
        let parameters = naive::natural(&config, 3);
        for bits in [8, 16] {
            let rounded = SmallFile::round(config, 2, bits, &parameters).unwrap().parameters();
            let mut of_matrices = vec![false; parameters.len()];
            matrices(&config, |rows, columns, at| {
                for row in 0..rows {
                    let all = || (0..columns).map(|column| at(row, column));
                    let largest = all().map(|at| parameters[at].abs()).fold(0.0, f32::max);
                    for at in all() {
                        of_matrices[at] = true;
                        let off = (f64::from(rounded[at]) - f64::from(parameters[at])).abs();
                        let most = match bits {
                            8 => f64::from(largest) / 127.0 * 0.500_01,
                            _ => f64::from(parameters[at].abs()) / 256.0,
                        };
                        assert!(off <= most, "{config} {bits}: {} and {}", rounded[at], parameters[at]);
                    }
                }
            });
            for (at, matrix) in of_matrices.iter().enumerate().filter(|(_, matrix)| !**matrix) {
                assert!(!matrix && rounded[at].to_bits() == parameters[at].to_bits(), "{config}: {at}");
            }
            // What is rounded stays so.
            let again = SmallFile::round(config, 2, bits, &rounded).unwrap().parameters();
            for (again, rounded) in again.iter().zip(&rounded) {
                assert!((again - rounded).abs() <= 1e-6 * rounded.abs(), "{config} {bits}");
            }
        }
    }
}

fn logits<W: Weights>(backend: Backend, weights: W, tokens: &[u32], sweeps: usize) -> Vec<Vec<f32>> {
    let mut room = vec![f32::NAN; Generator::room(weights.config(), sweeps, 3)];
    let mut generator = Generator::new(backend, weights, sweeps, 3, &mut room).unwrap();
    // One after another, and then all of them together.
    let mut all: Vec<_> = tokens.iter().map(|token| generator.read(&[*token]).unwrap().to_vec()).collect();
    generator.clear();
    all.push(generator.read(tokens).unwrap().to_vec());
    all
}

#[test]
fn logits_are_those_of_what_the_weights_stand_for() {
    let tokens = [3, 0, 12, 7, 7];
    for config in shapes() {
        let parameters = naive::natural(&config, 5);
        for sweeps in [1, 2, 3] {
            for bits in [8, 16] {
                let file = SmallFile::round(config, sweeps, bits, &parameters).unwrap();
                let wide: Vec<f64> = file.parameters().iter().map(|x| f64::from(*x)).collect();
                let right = naive::logits(&config, &wide, &tokens, if config.feedback { sweeps } else { 1 });
                let mut found = Vec::new();
                for backend in Backend::available() {
                    let all = match file.model() {
                        AnySmall::Eight(model) if bits == 8 => logits(backend, model, &tokens, sweeps),
                        AnySmall::Sixteen(model) if bits == 16 => logits(backend, model, &tokens, sweeps),
                        other => panic!("{bits} bits, and not {other:?}"),
                    };
                    let last = right.last().unwrap();
                    for (found, right) in all.iter().zip(right.iter().chain([last])) {
                        let scale = right.iter().fold(0.1, |most: f64, x| most.max(x.abs()));
                        for (found, right) in found.iter().zip(right) {
                            let off = (f64::from(*found) - right).abs() / scale;
                            assert!(off < 2e-3, "{config} {bits} {sweeps} {}: {off}", backend.name());
                        }
                    }
                    found.push(all);
                }
            }
        }
    }
}

#[test]
fn files_are_read_whole_or_refused() {
    for (bits, config) in [(8, shapes()[2]), (16, shapes()[3])] {
        let file = SmallFile::round(config, 3, bits, &naive::natural(&config, 7)).unwrap();
        let bytes = file.to_bytes();
        assert_eq!(bytes.len(), file.header().length());
        assert!(SmallFile::is_one(&bytes) && !SmallFile::is_one(b"ATTRLM\r\n"));
        assert_eq!(SmallFile::read(&bytes).as_ref(), Ok(&file));
        assert_eq!(*file.header(), Header { config, sweeps: 3, bits });
        for end in 0..bytes.len() {
            let error = SmallFile::read(&bytes[..end]).unwrap_err();
            assert!(matches!(error, SmallError::Foreign | SmallError::Length { .. }), "{end}: {error}");
        }
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 4;
            assert!(SmallFile::read(&damaged).is_err(), "{place}");
        }
        // As sound as its checksum, and no model.
        let forged = |change: &dyn Fn(&mut [u8])| {
            let mut bytes = bytes.clone();
            let end = bytes.len() - 4;
            change(&mut bytes[..end]);
            let sum = attractor_language::checkpoint::checksum(&bytes[..end]);
            bytes[end..].copy_from_slice(&sum.to_le_bytes());
            SmallFile::read(&bytes).unwrap_err()
        };
        assert_eq!(forged(&|bytes| bytes[8] = 2), SmallError::Version { found: 2 });
        assert_eq!(forged(&|bytes| bytes[12] |= 8), SmallError::Damaged);
        assert_eq!(forged(&|bytes| bytes[12] ^= 4), SmallError::Damaged);
        assert_eq!(forged(&|bytes| bytes[72..76].copy_from_slice(&[0, 0, 0xc0, 0x7f])), SmallError::Damaged);
        assert_eq!(forged(&|bytes| bytes[40] += 1), {
            let (width, heads) = (config.width + 1, config.heads);
            SmallError::Config(ConfigError::Heads { width, heads })
        });
        assert_eq!(forged(&|bytes| bytes[60] = 1), {
            let found = config.blocks + (1 << 32);
            SmallError::Config(ConfigError::Range { what: "blocks", found, least: 1, most: 1 << 10 })
        });
        assert_eq!(forged(&|bytes| bytes[64] = 0), SmallError::Damaged);
    }
    let config = shapes()[0];
    let mut wrong = naive::natural(&config, 7);
    assert!(matches!(SmallFile::round(config, 1, 4, &wrong), Err(PassError::Length { what: "bits", .. })));
    wrong[5] = f32::NAN;
    assert_eq!(SmallFile::round(config, 1, 8, &wrong), Err(PassError::NotFinite));
    wrong.pop();
    assert!(matches!(
        SmallFile::round(config, 1, 8, &wrong),
        Err(PassError::Length { what: "parameters", .. })
    ));
}

fn eight(file: &SmallFile) -> Small<'_, i8> {
    let AnySmall::Eight(model) = file.model() else { panic!("weights of 16 bits") };
    model
}

const TINY: Config = Config { vocabulary: 7, ..Config::new(8, 2, 2, 4) };
const FILE: &[u8] = include_bytes!("data/tiny.small");
const NUMBERS: usize = Small::<i8>::numbers(&TINY);
const WEIGHTS: usize = Small::<i8>::weights(&TINY);
static STORED: Stored<i8, NUMBERS, WEIGHTS> = match Stored::<i8, NUMBERS, WEIGHTS>::read(FILE) {
    Ok(stored) => stored,
    Err(_) => panic!(),
};

fn tiny() -> Vec<f32> {
    (0..TINY.parameters()).map(|i| ((i * 7919) % 1009) as f32 / 504.0 - 1.0).collect()
}

#[test]
fn a_file_is_a_constant() {
    let file = SmallFile::round(TINY, 2, 8, &tiny()).unwrap();
    assert!(file.to_bytes() == FILE, "tests/data/tiny.small is another one");
    let model = eight(&file);
    assert_eq!(STORED.model().as_numbers(), model.as_numbers());
    assert_eq!(STORED.model().as_weights(), model.as_weights());
    assert_eq!(STORED.header(), file.header());
    // And no other constant.
    let bits = Stored::<Bf16, { Small::<Bf16>::numbers(&TINY) }, WEIGHTS>::read(FILE).unwrap_err();
    assert_eq!(bits.to_string(), "weights of 8 bits; expected 16");
    let room = Stored::<i8, NUMBERS, { WEIGHTS + 1 }>::read(FILE).unwrap_err();
    assert_eq!(room.to_string(), format!("weights: {WEIGHTS}; there is room for {}", WEIGHTS + 1));
    let halves = SmallFile::round(TINY, 2, 16, &tiny()).unwrap();
    let stored =
        Stored::<Bf16, { Small::<Bf16>::numbers(&TINY) }, WEIGHTS>::read(&halves.to_bytes()).unwrap();
    let AnySmall::Sixteen(model) = halves.model() else { panic!("{halves:?}") };
    assert_eq!(stored.model().as_weights(), model.as_weights());
}

#[test]
fn infinite_weights_are_reported() {
    let config = shapes()[1];
    fn read<W: Weight>(model: Small<'_, W>) -> Result<(), PassError> {
        let mut room = vec![0.0; Generator::room(model.config(), 2, 1)];
        Generator::new(Backend::best(), model, 2, 1, &mut room)?.read(&[1, 2]).map(|_| ())
    }
    let mut numbers = vec![0.0; Small::<i8>::numbers(&config)];
    let mut weights = vec![0; Small::<i8>::weights(&config)];
    Small::round(config, &naive::natural(&config, 1), &mut numbers, &mut weights).unwrap();
    assert_eq!(read(Small::new(config, &numbers, &weights).unwrap()), Ok(()));
    // A scale of a word that is read.
    numbers[1] = f32::INFINITY;
    assert_eq!(read(Small::new(config, &numbers, &weights).unwrap()), Err(PassError::NotFinite));
}

/// A step that rounds is the step of the rounded model, taken by the numbers before.
#[test]
fn training_that_rounds_takes_the_gradient_of_the_rounded_model() {
    let config = shapes()[1];
    let parameters = naive::natural(&config, 11);
    let rounded = SmallFile::round(config, 2, 8, &parameters).unwrap().parameters();
    let tokens: Vec<u32> = (0..21).map(|i| i * i % 13).collect();
    let targets: Vec<u32> = (0..21).map(|i| (i * i + 5) % 13).collect();
    let batch = Batch { sequences: 3, length: 7, tokens: &tokens, targets: &targets };
    let settings = StepSettings { rate: 1e-3, decay: 0.0, clip: 1.0, sweeps: Sweeps::Unrolled(2) };
    let learner = |from: &[f32], on| {
        let mut learner = Learner::new(config, 3, 7, 2).unwrap().rounded(on);
        learner.start_from(from, 1).unwrap();
        learner
    };
    let (mut one, mut other) = (learner(&parameters, true), learner(&rounded, false));
    assert_eq!(one.parameters(), parameters);
    assert_eq!(one.evaluate(&batch, settings.sweeps), other.evaluate(&batch, settings.sweeps));
    assert_ne!(
        learner(&parameters, false).evaluate(&batch, settings.sweeps),
        other.evaluate(&batch, settings.sweeps)
    );
    assert_eq!(one.step(&batch, &settings), other.step(&batch, &settings));
    let moved =
        |now: &[f32], before: &[f32]| -> Vec<f32> { now.iter().zip(before).map(|(a, b)| a - b).collect() };
    let (one_moved, other_moved) =
        (moved(one.parameters(), &parameters), moved(other.parameters(), &rounded));
    for (one, other) in one_moved.iter().zip(&other_moved) {
        assert!((one - other).abs() < 1e-6, "{one} {other}");
    }
    assert!(one_moved.iter().any(|x| x.abs() > 1e-4));
    // After the step, too, passes take what is rounded.
    let now = SmallFile::round(config, 2, 8, one.parameters()).unwrap().parameters();
    assert_eq!(one.evaluate(&batch, settings.sweeps), learner(&now, false).evaluate(&batch, settings.sweeps));
    assert!(Model::new(config, &now).is_ok());
}

/// What a microcontroller compares its text with is what every backend here writes.
#[test]
fn the_model_of_the_firmware_writes_its_text() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware/data");
    let file = SmallFile::read(&std::fs::read(data.join("speak.small")).unwrap()).unwrap();
    let text = std::fs::read(data.join("speak.txt")).unwrap();
    let Header { config, sweeps, .. } = *file.header();
    assert!(file.header().length() <= 400_000);
    let prompt = b"And the king ";
    assert!(text.starts_with(prompt) && text.len() >= prompt.len() + 100);
    for backend in Backend::available() {
        let mut room = vec![0.0; Generator::room(&config, sweeps, 1)];
        let generator = Generator::new(backend, eight(&file), sweeps, 1, &mut room).unwrap();
        let tokens: Vec<u32> = prompt.iter().map(|byte| u32::from(*byte)).collect();
        let mut newest = vec![0; config.context];
        let mut written = Continued::new(generator, &tokens, &mut newest).unwrap();
        let mut choices = vec![Choice::EMPTY; config.vocabulary];
        let mut random = Random::new(1);
        for (number, byte) in text.iter().enumerate().skip(prompt.len()) {
            let token = of_all(0.8, written.logits().unwrap(), random.unit(), &mut choices).unwrap();
            assert_eq!(token, u32::from(*byte), "{}: byte {number}", backend.name());
            written.push(token);
        }
    }
}
