//! The command line.

use crate::arguments::Arguments;
use std::ffi::OsString;

pub(crate) const HELP: &str = "\
Makes a network that was trained on handwritten digits smaller: weights of 16 and of 8 bits, fewer units, no feedback weights, a small network
taught by it. What remains of the accuracy?

Usage: cargo run --release --example compress -- [OPTIONS]

Options:
  --seed N     first seed of initial weights, order and noise [default: 1]
  --seeds N    train with N seeds, spread over the cores [default: 5]
  --epochs N   times every training digit is seen [default: 120]
  --help       print this help

The plot is written to target/compress.";

const MOST_SEEDS: u64 = 1000;
const MOST_EPOCHS: u64 = 10_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) seeds: u64,
    pub(crate) epochs: u32,
}

/// What the command line asks for; `None` is the help.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
    let mut options = Options { seed: 1, seeds: 5, epochs: 120 };
    let mut arguments = Arguments::new(arguments);
    while let Some(name) = arguments.next()? {
        match name.as_str() {
            "--seed" => options.seed = arguments.number(0, u64::from(u32::MAX))?,
            "--seeds" => options.seeds = arguments.number(1, MOST_SEEDS)?,
            "--epochs" => options.epochs = arguments.number(1, MOST_EPOCHS)? as u32,
            "--help" | "-h" => {
                arguments.flag()?;
                return Ok(None);
            }
            _ => return arguments.unknown(),
        }
    }
    Ok(Some(options))
}
