//! `attractor_solve` for C: networks whose weights are where C has them, in memory of the caller's. Nothing is allocated, and nothing is global.
//!
//! On hosts it solves any network. With `ATTRACTOR_NET`, the file that `attractor codegen --rust` wrote, it is compiled for that one and
//! refuses others: less code, and the only way on bare metal. The header that `attractor codegen --c` writes declares all of it; what stands
//! here and there must be the same.
//!
//! # Unsafe
//! All of it is in this file: C gives pointers, and `slices` makes slices of them. That they are as long as their counts say, valid for the call
//! and not written by anybody else meanwhile is what the header asks of the caller; null, odd addresses and counts that do not go together are
//! refused.

#![cfg_attr(target_os = "none", no_std)]

// The names in what `codegen --rust` writes.
extern crate engine as attractor;

#[cfg(not(attractor_net))]
#[path = "any.rs"]
mod solver;
#[cfg(attractor_net)]
#[path = "one.rs"]
mod solver;

use core::slice;
use engine::kernel::Scalar;
use engine::network::MAX_DEPTH;
use engine::{Shape, SolveError, Solved, Stop};

/// Names by the numbers in the header, which are those of the model file.
const FEEDBACK: [&str; 5] = ["feedforward", "adjacent", "dense", "tied", "skip"];
const ACTIVATIONS: [&str; 6] = ["identity", "tanh", "sigmoid", "relu", "hard tanh", "leaky relu"];

const SOLVED: i32 = 0;
const NOT_CONVERGED: i32 = 1;
const NOT_FINITE: i32 = 2;
const REFUSED: i32 = 3;

/// `attractor_network` and `attractor_network_f64` in C.
#[repr(C)]
pub struct Network<T> {
    weights: *const T,
    widths: *const u32,
    weight_count: u32,
    depth: u32,
    feedback: u32,
    percent: u32,
    hidden: u32,
    output: u32,
}

/// `attractor_report` and `attractor_report_f64` in C.
#[repr(C)]
pub struct Report<T> {
    sweeps: u32,
    residual: T,
}

/// What a call is about, in C's types.
struct Call<T> {
    network: *const Network<T>,
    input: *const T,
    output: *mut T,
    memory: *mut T,
    memory_count: u32,
    tolerance: T,
    most_sweeps: u32,
    report: *mut Report<T>,
}

/// # Safety
/// As the header says: every pointer to as many as it counts, for the time of the call, and what is written is nobody else's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_solve(
    network: *const Network<f32>,
    input: *const f32,
    output: *mut f32,
    memory: *mut f32,
    memory_count: u32,
    tolerance: f32,
    most_sweeps: u32,
    report: *mut Report<f32>,
) -> i32 {
    // SAFETY: the caller's promise.
    unsafe {
        solve(
            Call { network, input, output, memory, memory_count, tolerance, most_sweeps, report },
            solver::f32,
        )
    }
}

/// # Safety
/// As [`attractor_solve`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_solve_f64(
    network: *const Network<f64>,
    input: *const f64,
    output: *mut f64,
    memory: *mut f64,
    memory_count: u32,
    tolerance: f64,
    most_sweeps: u32,
    report: *mut Report<f64>,
) -> i32 {
    // SAFETY: the caller's promise.
    unsafe {
        solve(
            Call { network, input, output, memory, memory_count, tolerance, most_sweeps, report },
            solver::f64,
        )
    }
}

/// What is to be solved, in Rust's types.
struct Work<'a, T> {
    shape: Shape,
    weights: &'a [T],
    input: &'a [T],
    /// After sweeps that did not converge it has what they came to.
    output: &'a mut [T],
    /// At least as many as the network has units and inputs.
    memory: &'a mut [T],
    stop: Stop<T>,
}

/// What came of it: why it was not solved, or nothing for another network than the library has.
type Outcome<T> = Result<Solved<T>, Option<SolveError<T>>>;

/// # Safety
/// As [`attractor_solve`].
unsafe fn solve<T: Scalar>(call: Call<T>, solver: fn(Work<'_, T>) -> Outcome<T>) -> i32 {
    // SAFETY: the caller's promise, of each of these.
    let slices = unsafe { slices(&call) };
    let Some((work, report)) = slices else { return REFUSED };
    let (sweeps, residual, code) = match solver(work) {
        Ok(Solved { sweeps, residual }) => (sweeps, residual, SOLVED),
        Err(Some(SolveError::NotConverged { sweeps, residual })) => (sweeps, residual, NOT_CONVERGED),
        Err(Some(SolveError::NotFinite(_))) => (0, T::NAN, NOT_FINITE),
        // Another network, or a tolerance or sweeps out of range.
        Err(_) => return REFUSED,
    };
    if let Some(report) = report {
        *report = Report { sweeps: u32::try_from(sweeps).unwrap_or(u32::MAX), residual };
    }
    code
}

/// What C's pointers lead to.
type Slices<'a, T> = (Work<'a, T>, Option<&'a mut Report<T>>);

/// Nothing for a null, an odd address, a network that cannot be, another number of weights than it has, and too little memory.
///
/// # Safety
/// As [`attractor_solve`].
unsafe fn slices<'a, T: Scalar>(call: &Call<T>) -> Option<Slices<'a, T>> {
    if !call.network.is_aligned() {
        return None;
    }
    // SAFETY: aligned, not null after this, and the caller's promise.
    let network = unsafe { call.network.as_ref() }?;
    let depth = network.depth as usize;
    if !(1..=MAX_DEPTH).contains(&depth) || network.widths.is_null() || !network.widths.is_aligned() {
        return None;
    }
    // SAFETY: not null, aligned, and as many widths as layers and the input by the caller's promise.
    let widths = unsafe { slice::from_raw_parts(network.widths, depth + 1) };
    let mut all = [0; MAX_DEPTH + 1];
    for (to, from) in all.iter_mut().zip(widths) {
        *to = usize::try_from(*from).ok()?;
    }
    let activation = |code: u32| ACTIVATIONS.get(code as usize).copied();
    let shape = Shape::new(
        all.get(..=depth)?,
        if size_of::<T>() == 8 { "f64" } else { "f32" },
        FEEDBACK.get(network.feedback as usize).copied()?,
        network.percent as usize,
        activation(network.hidden)?,
        activation(network.output)?,
    )?;
    let (inputs, outputs) = (*widths.first()?, *widths.last()?);
    let room = shape.units().checked_add(u64::from(inputs))?;
    if shape.params() != u64::from(network.weight_count) || u64::from(call.memory_count) < room {
        return None;
    }
    let read = [(network.weights, network.weight_count), (call.input, inputs)];
    let written = [(call.output, outputs), (call.memory, call.memory_count)];
    let fine = |pointer: *const T| !pointer.is_null() && pointer.is_aligned();
    if !read.iter().all(|(pointer, _)| fine(*pointer)) || !written.iter().all(|(pointer, _)| fine(*pointer)) {
        return None;
    }
    if !call.report.is_aligned() {
        return None;
    }
    // SAFETY: not null and aligned; as many by the caller's promise, as are all below.
    let [weights, input] =
        read.map(|(pointer, count)| unsafe { slice::from_raw_parts(pointer, count as usize) });
    // SAFETY: as above, and nobody else's by the caller's promise.
    let [output, memory] =
        written.map(|(pointer, count)| unsafe { slice::from_raw_parts_mut(pointer, count as usize) });
    // SAFETY: null or aligned, and nobody else's by the caller's promise.
    let report = unsafe { call.report.as_mut() };
    let stop = Stop::residual(call.tolerance).at_most(call.most_sweeps as usize);
    Some((Work { shape, weights, input, output, memory, stop }, report))
}

/// Nothing in the library panics; the linker wants one.
#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
