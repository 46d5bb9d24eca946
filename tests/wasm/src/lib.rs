//! Every number of `tests/data/vectors.txt`, computed in WebAssembly; `run.mjs` prints them. And work for `time.mjs` to time.

#![no_std]

use attractor::learn::{MeanSquared, Method, Objective};
use attractor::nalgebra::SMatrix;
use attractor::simd::Backend;
use attractor::{Stop, Workspace, fnn};

#[path = "../../vectors/mod.rs"]
mod vectors;

#[link(wasm_import_module = "host")]
unsafe extern "C" {
    /// Takes a name of `length` bytes, and the bits of a number.
    fn number(name: *const u8, length: usize, bits: u64);
}

/// Hands all numbers to the host.
#[unsafe(no_mangle)]
pub extern "C" fn vectors() {
    vectors::vectors(Backend::portable(), &mut |name, bits| {
        // SAFETY: the host reads these bytes while it is called, and keeps nothing.
        unsafe { number(name.as_ptr(), name.len(), bits) }
    });
}

type Net = fnn![64, 48, 32, 10];

/// Some weights, and an input, always the same.
fn drawn(net: &mut Net, input: &mut [f32]) {
    let mut bits = 1_u32;
    let mut next = |scale: f32| {
        bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        scale * ((bits >> 8) as f32 / (1 << 23) as f32 - 1.0)
    };
    net.params_mut().iter_mut().for_each(|w| *w = next(0.1));
    input.iter_mut().for_each(|x| *x = next(1.0));
}

/// Solves so many times, 16 sweeps each; 0 if that went well.
#[unsafe(no_mangle)]
pub extern "C" fn solve(times: u32) -> u32 {
    let (mut net, mut input) = (Net::ZERO, [0.0; 64]);
    drawn(&mut net, &mut input);
    let (on, mut state) = (net.on(Backend::best()), Net::state());
    for _ in 0..times {
        state.reset();
        if on.solve(core::hint::black_box(&input), &mut state, Stop::after(16)).is_err() {
            return 1;
        }
    }
    0
}

/// The gradient of 16 samples so many times, 16 sweeps each way; 0 if that went well.
#[unsafe(no_mangle)]
pub extern "C" fn learn(times: u32) -> u32 {
    let (mut net, mut input) = (Net::ZERO, SMatrix::<f32, 16, 64>::zeros());
    drawn(&mut net, input.as_mut_slice());
    let (solve, method) = (Stop::after(16), Method::Implicit(Stop::after(16)));
    let objective = Objective { solve, method, ..Objective::new(MeanSquared) };
    let (target, mut gradient) = (SMatrix::<f32, 16, 10>::zeros(), Net::ZERO);
    let (on, mut workspace) = (net.on(Backend::best()), Workspace::<Net, 16>::ZERO);
    for _ in 0..times {
        gradient.params_mut().fill(0.0);
        workspace.state.reset();
        workspace.adjoint.reset();
        if on
            .gradient(&objective, core::hint::black_box(&input), &target, &mut workspace, &mut gradient)
            .is_err()
        {
            return 1;
        }
    }
    0
}

#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
