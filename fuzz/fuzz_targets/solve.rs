//! Any bits as weights, inputs, start and tolerance: a solve gives an error, or a finite state that one more sweep
//! in plain `f64` moves no further than the tolerance and the rounding of `f32` allow.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use attractor::simd::Backend;
use attractor::{SolveError, State, Stop, fnn};
use libfuzzer_sys::fuzz_target;
use nalgebra::SMatrix;

const INPUTS: usize = 3;
const WIDTHS: [usize; 3] = [9, 5, 2];
type Net = fnn![3, 9, 5, 2];
const UNITS: usize = Net::UNITS;

/// Any bits, or numbers of a size that networks have: only from these do most solves come to an end.
fn number(u: &mut Unstructured<'_>) -> Result<f32> {
    Ok(match u.int_in_range(0..=7)? {
        0 => f32::from_bits(u.arbitrary()?),
        1 => [0.0, -0.0, f32::MAX, f32::MIN_POSITIVE, 1e-45, 1e38, f32::INFINITY, f32::NAN]
            [u.choose_index(8)?],
        _ => f32::from(i8::arbitrary(u)?) / 256.0,
    })
}

fn check<const B: usize>(u: &mut Unstructured<'_>) -> Result<()> {
    let mut net = Net::ZERO;
    for w in net.params_mut() {
        *w = number(u)?;
    }
    let mut input = SMatrix::<f32, B, INPUTS>::zeros();
    for x in input.as_mut_slice() {
        *x = number(u)?;
    }
    let mut start = Net::state::<B>();
    if u.arbitrary()? {
        for h in start.as_mut_slice() {
            *h = number(u)?;
        }
    }
    let (absolute, relative) = (number(u)?, if u.arbitrary()? { number(u)? } else { 0.0 });
    let limit = u.int_in_range(0..=40)?;
    let exact = u.ratio(1, 8)?;
    let tolerance = if exact {
        Stop::after(limit)
    } else {
        Stop::residual(absolute).or_relative(relative).at_most(limit)
    };

    for backend in Backend::available() {
        let mut state = start.clone();
        let result = net.on(backend).solve(&input, &mut state, tolerance);
        assert_eq!(matches!(result, Err(SolveError::Setting(_))), tolerance.check().is_err());
        match result {
            Ok(solved) => {
                assert!(solved.sweeps <= limit);
                assert!(solved.residual.is_finite() && solved.residual >= 0.0);
                let finite = |numbers: &[f32]| numbers.iter().all(|x| x.is_finite());
                assert!(finite(net.params()) && finite(input.as_slice()) && finite(state.as_slice()));
                for sample in 0..B {
                    let met = (!exact).then_some((f64::from(absolute), f64::from(relative)));
                    verify(&net, &input, &state, sample, met, solved.residual);
                }
            }
            Err(SolveError::NotConverged { sweeps, residual }) => {
                assert_eq!(sweeps, limit);
                assert!(!exact && residual.is_finite() && residual >= 0.0);
                assert!(state.as_slice().iter().all(|h| h.is_finite()));
            }
            Err(_) => {
                let kept = same_bits(state.as_slice(), start.as_slice());
                if tolerance.check().is_err() || input.iter().any(|x| !x.is_finite()) {
                    assert!(kept, "a bad setting or input changes nothing");
                } else {
                    assert!(state.as_slice().iter().all(|h| h.to_bits() == 0), "else the state is reset");
                }
            }
        }
    }
    Ok(())
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// One more sweep of a sample in `f64`, and how far it may move: what the last sweep moved, carried once through the
/// feedback, and rounding. What it moved met the tolerance (absolute, relative), if one was to be met.
fn verify<const B: usize>(
    net: &Net,
    input: &SMatrix<f32, B, INPUTS>,
    state: &State<Net, B>,
    sample: usize,
    tolerance: Option<(f64, f64)>,
    residual: f32,
) {
    let params: Vec<f64> = net.params().iter().map(|w| f64::from(*w)).collect();
    let old: Vec<f64> = (0..UNITS).map(|unit| f64::from(state.as_slice()[unit * B + sample])).collect();
    let scale = old.iter().fold(0.0_f64, |scale, h| scale.max(h.abs()));
    let mut moved = f64::from(residual);
    if let Some((absolute, relative)) = tolerance {
        let bound = (absolute + relative * scale) * (1.0 + 1e-5);
        assert!(bound >= 0.0, "a tolerance of {absolute:e} + {relative:e} * {scale:e} is never met");
        if B == 1 {
            assert!(moved <= bound, "residual {moved:e} above {bound:e}");
        } else {
            // The reported residual is that of the last sweep; this sample may have met the tolerance before.
            moved = bound.min(2.0 * f64::from(f32::MAX));
        }
    }
    let below: Vec<f64> = (0..INPUTS).map(|i| f64::from(input[(sample, i)])).collect();
    let (mut param, mut first) = (0, 0);
    let mut sender: &[f64] = &below;
    for (l, &width) in WIDTHS.iter().enumerate() {
        let above = if l + 1 < WIDTHS.len() { &old[first + width..][..WIDTHS[l + 1]] } else { &[] };
        let w = &params[param..];
        let u = &w[width * sender.len()..];
        let b = &u[width * above.len()..];
        for i in 0..width {
            // Every unit was computed from its neighbours' values before or after their last change: only what
            // lies above has changed since.
            let mut z = b[i];
            let mut size = b[i].abs();
            let mut carried = 0.0;
            for (j, h) in sender.iter().enumerate() {
                z += w[j * width + i] * h;
                size += (w[j * width + i] * h).abs();
            }
            for (j, h) in above.iter().enumerate() {
                z += u[j * width + i] * h;
                size += (u[j * width + i] * h).abs();
                carried += u[j * width + i].abs() * moved;
            }
            let h = if l + 1 < WIDTHS.len() { z.tanh() } else { z };
            let rounding = (size + carried + 1.0) * 2e-6 + 1e-37;
            let bound = carried + rounding;
            let change = (h - old[first + i]).abs();
            assert!(
                change <= bound,
                "layer {l} unit {i}: moves {change:e}, may move {bound:e}, residual {residual:e}"
            );
        }
        param += width * (sender.len() + above.len() + 1);
        sender = &old[first..][..width];
        first += width;
    }
}

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let _ = if u.arbitrary().unwrap_or(false) { check::<1>(&mut u) } else { check::<5>(&mut u) };
});
