//! Every number of `tests/data/vectors.txt`, computed in WebAssembly; `run.mjs` prints them.

#![no_std]

use attractor::simd::Backend;

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

#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
