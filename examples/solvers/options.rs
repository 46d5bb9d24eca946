//! The command line.

use crate::arguments::Arguments;
use std::ffi::OsString;

pub(crate) const HELP: &str = "\
Solves random networks of tanh whose sweeps leave 0.9 to 1.5 of an error, by plain and damped sweeps, Anderson acceleration and Broyden's method:
how many are solved within 200 sweeps, and in how many.

Usage: cargo run --release --example solvers -- [OPTIONS]

Options:
  --seed N      first seed of weights and inputs [default: 1]
  --networks N  so many networks, spread over the cores [default: 1000]
  --help        print this help

A plot is written to target/solvers.";

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) networks: usize,
}

/// What the command line asks for; `None` is the help.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
    let mut options = Options { seed: 1, networks: 1000 };
    let mut arguments = Arguments::new(arguments);
    while let Some(name) = arguments.next()? {
        match name.as_str() {
            "--seed" => options.seed = arguments.number(0, u64::from(u32::MAX))?,
            "--networks" => options.networks = arguments.number(6, 1_000_000)? as usize,
            "--help" | "-h" => {
                arguments.flag()?;
                return Ok(None);
            }
            _ => return arguments.unknown(),
        }
    }
    Ok(Some(options))
}
