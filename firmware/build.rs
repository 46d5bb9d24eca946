//! Hands the linker its scripts.

use std::{env, fs, path::PathBuf};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let riscv = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "riscv32");
    let memory = if riscv { "memory-riscv.x" } else { "memory.x" };
    for (from, to) in [(memory, "memory.x"), ("stack-sizes.x", "stack-sizes.x")] {
        println!("cargo:rerun-if-changed={from}");
        fs::copy(from, out.join(to)).expect("the linker script can be copied");
    }
    println!("cargo:rustc-link-search={}", out.display());
    if riscv {
        println!("cargo:rustc-link-arg-bins=-Tmemory.x");
    }
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rustc-link-arg-bins=-Tstack-sizes.x");
}
