//! Hands the linker its scripts.

use std::{env, fs, path::PathBuf};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let riscv = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "riscv32");
    let large = env::var_os("CARGO_FEATURE_LANGUAGE").is_some();
    let memory = if riscv {
        ("memory-riscv.x", "memory-riscv.x")
    } else if large {
        ("memory-large.x", "memory.x")
    } else {
        ("memory-micro.x", "memory.x")
    };
    for (script, name) in [memory, ("stack-sizes.x", "stack-sizes.x")] {
        println!("cargo:rerun-if-changed={script}");
        fs::copy(script, out.join(name)).expect("the linker script can be copied");
    }
    println!("cargo:rustc-link-search={}", out.display());
    // The entry of Arm includes memory.x by itself.
    if riscv {
        println!("cargo:rustc-link-arg-bins=-Tmemory-riscv.x");
    }
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rustc-link-arg-bins=-Tstack-sizes.x");
}
