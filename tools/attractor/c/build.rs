//! Looks for the network that the library is to be compiled for.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo::rerun-if-env-changed=ATTRACTOR_NET");
    println!("cargo::rustc-check-cfg=cfg(attractor_net, attractor_net_f64)");
    let Some(net) = env::var_os("ATTRACTOR_NET") else {
        // There the library has networks as types only.
        if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
            println!(
                "cargo::error=on bare metal the library is compiled for one network: ATTRACTOR_NET is the file that `attractor codegen --rust` wrote"
            );
        }
        return;
    };
    let found = fs::canonicalize(Path::new(&net)).and_then(|path| Ok((fs::read_to_string(&path)?, path)));
    let (text, path) = match found {
        Ok(found) => found,
        Err(error) => {
            println!("cargo::error=ATTRACTOR_NET is {}: {error}", Path::new(&net).display());
            return;
        }
    };
    println!("cargo::rerun-if-changed={}", path.display());
    println!("cargo::rustc-env=ATTRACTOR_NET_FILE={}", path.display());
    println!("cargo::rustc-cfg=attractor_net");
    if text.contains("scalar = f64") {
        println!("cargo::rustc-cfg=attractor_net_f64");
    }
}
