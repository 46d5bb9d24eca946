//! The command line.

use crate::arguments::Arguments;
use std::ffi::OsString;

pub(crate) const HELP: &str = "\
Trains networks on handwritten digits that are held to a rate of convergence, and proves their labels.

Usage: cargo run --release --example certificate -- [OPTIONS]

Options:
  --seed N     first seed of initial weights, order and noise [default: 1]
  --seeds N    train with N seeds [default: 1]
  --epochs N   times every training digit is seen [default: 120]
  --help       print this help

A plot is written to target/certificate.";

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) seeds: u64,
    pub(crate) epochs: u32,
}

/// What the command line asks for; `None` is the help.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
    let mut options = Options { seed: 1, seeds: 1, epochs: 120 };
    let mut arguments = Arguments::new(arguments);
    while let Some(name) = arguments.next()? {
        match name.as_str() {
            "--seed" => options.seed = arguments.number(0, u64::from(u32::MAX))?,
            "--seeds" => options.seeds = arguments.number(1, 100)?,
            "--epochs" => options.epochs = arguments.number(1, 10_000)? as u32,
            "--help" | "-h" => {
                arguments.flag()?;
                return Ok(None);
            }
            _ => return arguments.unknown(),
        }
    }
    Ok(Some(options))
}
