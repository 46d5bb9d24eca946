//! A program without std and without an allocator that solves and learns. Its exit status is 0 if the results are
//! right; which symbols it needs is looked at from outside.

#![no_std]
#![no_main]

use attractor::adapt::{Adapted, LowRank};
use attractor::learn::{CrossEntropy, Objective, Optimizer, Sgd};
use attractor::{Align64, Stop, Workspace, fnn, include_network};
use core::panic::PanicInfo;

type Net = fnn![3, 8, 2];

/// Weights of 1/16 with alternating signs, as a file would hold them: little-endian, in read-only data.
static NET: Align64<Net> = Align64(Net::from_le_bytes(&{
    let mut bytes = [0; Net::BYTES];
    let mut i = 0;
    while i < Net::PARAMS {
        let weight = if i % 3 == 0 { 0.0625_f32 } else { -0.0625 }.to_le_bytes();
        let mut k = 0;
        while k < weight.len() {
            bytes[4 * i + k] = weight[k];
            k += 1;
        }
        i += 1;
    }
    bytes
}));

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// `core` was compiled to unwind and names this; with `panic = "abort"` nothing calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

// memcpy and its kin, and the code that calls `main`.
#[link(name = "c")]
unsafe extern "C" {}

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    match learns() {
        Some(true) => 0,
        Some(false) => 1,
        None => 2,
    }
}

/// Whether a few steps make the loss smaller; nothing if something fails.
fn learns() -> Option<bool> {
    let input = [1.0, -0.5, 0.25];
    let mut state = Net::state();
    let solved = NET.solve(&input, &mut state, Stop::residual(1e-5)).ok()?;
    let again = NET.solve(&input, &mut state, Stop::residual(1e-5)).ok()?;

    let mut net = NET.0.clone();
    let objective = Objective::new(CrossEntropy::new());
    let mut losses = [0.0_f32; 4];
    for loss in &mut losses {
        let (mut workspace, mut gradient) = (Workspace::<Net>::ZERO, Net::ZERO);
        *loss = net.gradient(&objective, &input, &[1], &mut workspace, &mut gradient).ok()?.loss;
        Sgd::plain().update(net.params_mut(), gradient.params(), 0.5).ok()?;
    }
    let learnt = losses.is_sorted_by(|before, after| before > after);

    let certificate = net.limit_rate(0.2).ok()?;
    let certified = certificate.verify(&net).ok()?;
    let answer = certified.solve(&input, &mut state, 1e-4).ok()?;
    let label = certified.label(&input, &mut state).ok()?;
    let mut stream = certified.refine(&input, &mut state).ok()?;
    stream.follow(&[1.0, -0.5, 0.5]).ok()?;
    let streamed = stream.solve(1e-4).ok()?;
    net.certify_adjoint().ok()?.verify(&net).ok()?;

    let mut file = Align64([0; Net::file_bytes(true)]);
    net.to_bytes(Some(&certificate), &mut file.0).ok()?;
    let model = Net::from_bytes(&file.0).ok()?;
    let mut stream = model.certified().ok()?.skipping(&input, &mut state).ok()?;
    let computed = stream.solve(1e-4).ok()?.layers;
    stream.follow(&input).ok()?;
    let filed = computed >= Net::DEPTH && stream.solve(1e-4).ok()?.layers == 0;
    // One that is of another shape.
    let filed = filed
        && <fnn![3, 8, 3]>::from_bytes(&file.0).is_err()
        && include_network!("../../data/tiny.attr", fnn![2, 3, 1]).certified().is_ok();
    // With the weights where they are.
    let mut adapted = Adapted::<Net, LowRank<1>>::new(&NET.0, 1);
    let (mut first, mut last) = (0.0, 0.0);
    for step in 0..4 {
        let mut workspace = Workspace::<Net>::ZERO;
        last = adapted.descend(&objective, &input, &[1], &mut workspace, 0.5).ok()?.loss;
        if step == 0 {
            first = last;
        }
    }
    let certificate = adapted.limit_rate(0.5).ok()?;
    adapted.verify(&certificate).ok()?;
    adapted.merge_into(&mut net).ok()?;
    let adapts = last < first;

    let certain = answer.bound.largest() <= 1e-4 && streamed.bound.largest() <= 1e-4 && label.certified;
    Some(learnt && adapts && certain && filed && solved.sweeps > 1 && again.sweeps == 1)
}
