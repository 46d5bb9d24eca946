//! Writes firmware/data: networks trained here, one of PyTorch's, test digits, and the labels the host gives them.
//!
//! `cargo run --release --manifest-path firmware/prepare/Cargo.toml` from the repository's root; some seconds. The
//! same machine and backend write the same bytes.

use attractor::learn::{Adam, Cosine, CrossEntropy, Method, Objective, Trainer};
use attractor::simd::Backend;
use attractor::{Align64, Stop, Tied, fnn};
use nalgebra::SMatrix;
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};
use std::error::Error;
use std::fs;
use std::process::Command;

/// What `infer` and `stream` run.
type Digits = fnn![64, 48, 32, 10];
/// What `learn` adapts: as much as learns in 16 KiB.
type Small = fnn![64, 12, 10];
/// What `shipped` runs.
type Shipped = fnn![3, 7, 2; feedback = Tied<50>];

const BATCH: usize = 32;
/// As the programs solve.
const TOLERANCE: Stop = Stop::residual(1e-4).at_most(32);

/// 64 pixels of 0 to 16, and the label.
type Digit = [u8; 65];

fn main() -> Result<(), Box<dyn Error>> {
    let training = read("data/optdigits.tra")?;
    let test = read("data/optdigits.tes")?;

    macro_rules! train {
        ($network:ty, $epochs:expr) => {{
            let mut random = SmallRng::seed_from_u64(1);
            let mut net = <$network>::ZERO;
            net.initialize(&mut random);
            net.scale_feedback(0.5)?;
            let objective = Objective::new(CrossEntropy::smoothed(0.05))
                .solve(Stop::residual(1e-4).at_most(64))
                .method(Method::Implicit(Stop::relative(1e-3).at_most(64)));
            let mut trainer: Trainer<_, _, _, BATCH> = Trainer::new(net, Adam::<$network>::new(), objective);
            trainer.backend = Backend::portable();
            let steps = $epochs * (training.len() / BATCH);
            let schedule = Cosine { start: 1e-4, peak: 5e-3, end: 1e-4, warm_up: 100, steps: steps as u32 };
            let mut order: Vec<usize> = (0..training.len()).collect();
            let mut step = 0;
            for _ in 0..$epochs {
                order.shuffle(&mut random);
                for chunk in order.chunks_exact(BATCH) {
                    let input = SMatrix::<f32, BATCH, 64>::from_fn(|row, pixel| {
                        f32::from(training[chunk[row]][pixel]) / 16.0
                    });
                    let labels: [usize; BATCH] = std::array::from_fn(|row| training[chunk[row]][64].into());
                    trainer.rate = schedule.rate(step);
                    // A batch that does not converge is left out, and the feedback made a little weaker.
                    match trainer.step(&input, &labels) {
                        Ok(made) if made.report.solve.sweeps <= 8 => {}
                        _ => trainer.network.scale_feedback(0.9)?,
                    }
                    step += 1;
                }
            }
            trainer.network
        }};
    }
    let digits = train!(Digits, 30);
    let small = train!(Small, 30);
    write("digits.f32", &bytes(digits.params()))?;
    write("small.f32", &bytes(small.params()))?;
    // What `adapt` adapts: certified, as it must stay.
    let mut held = digits.clone();
    held.limit_rate(0.2)?;
    write("held.f32", &bytes(held.params()))?;

    // Every sixth test digit, with its own label and the one the host gives it.
    let mut shown = Vec::new();
    let mut right = 0;
    for digit in test.iter().step_by(6) {
        let pixels: [f32; 64] = std::array::from_fn(|i| f32::from(digit[i]) / 16.0);
        let mut state = Digits::state::<1>();
        digits.on(Backend::portable()).solve(&pixels, &mut state, TOLERANCE)?;
        let label = state.output().row(0).transpose().argmax().0 as u8;
        right += usize::from(label == digit[64]);
        shown.extend_from_slice(digit);
        shown.push(label);
    }
    println!("host: {right} of {} right", shown.len() / 66);
    write("shown.u8", &shown)?;

    // What `learn` learns from: digits of writers who are not in the training set.
    let (own, others): (Vec<_>, Vec<_>) = test.iter().enumerate().partition(|(i, _)| i % 3 == 0);
    let take = |digits: Vec<(usize, &Digit)>| -> Vec<u8> {
        digits.into_iter().take(300).flat_map(|(_, digit)| digit.to_vec()).collect()
    };
    write("own.u8", &take(own))?;
    write("others.u8", &take(others))?;
    shipped()
}

/// What `shipped` runs: a network that PyTorch wrote, as the tool imports it, with the certificate found here.
fn shipped() -> Result<(), Box<dyn Error>> {
    let imported = std::env::temp_dir().join(format!("attractor-{}.attr", std::process::id()));
    let status = Command::new("cargo")
        .args([
            "run",
            "--quiet",
            "--locked",
            "--release",
            "--manifest-path",
            "tools/attractor/Cargo.toml",
            "--",
        ])
        .args(["import", "tools/attractor/tests/data/plain.safetensors", "--feedback", "tied:50", "--to"])
        .arg(&imported)
        .status()?;
    if !status.success() {
        return Err(format!("the import ends with {status}").into());
    }
    let mut place = Align64([0; Shipped::file_bytes(false)]);
    let read = fs::read(&imported)?;
    fs::remove_file(&imported)?;
    place.0.get_mut(..read.len()).ok_or("the model file is too long")?.copy_from_slice(&read);
    let network = Shipped::from_bytes(&place.0)?.network();
    let certificate = network.certify()?;
    let mut file = [0; Shipped::file_bytes(true)];
    network.to_bytes(Some(&certificate), &mut file)?;
    write("shipped.attr", &file)
}

fn read(path: &str) -> Result<Vec<Digit>, Box<dyn Error>> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let digit = |line: &str| -> Option<Digit> {
        let values: Option<Vec<u8>> = line.split(',').map(|value| value.trim().parse().ok()).collect();
        values?.try_into().ok()
    };
    text.lines()
        .map(|line| digit(line).ok_or_else(|| format!("{path}: not a digit: {line}").into()))
        .collect()
}

fn bytes(params: &[f32]) -> Vec<u8> {
    params.iter().flat_map(|w| w.to_le_bytes()).collect()
}

fn write(name: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let path = format!("firmware/data/{name}");
    fs::create_dir_all("firmware/data")?;
    fs::write(&path, bytes).map_err(|error| format!("{path}: {error}"))?;
    println!("{path}: {} bytes", bytes.len());
    Ok(())
}
