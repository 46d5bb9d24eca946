//! The command line.

use crate::arguments::Arguments;
use std::ffi::OsString;

pub(crate) const HELP: &str = "\
Trains a feedback network on handwritten digits, and the same network without feedback beside it.

Usage: cargo run --release --example digits -- [OPTIONS]

Options:
  --seed N     first seed of initial weights, order and noise [default: 1]
  --seeds N    train with N seeds, spread over the cores [default: 1]
  --epochs N   times every training digit is seen [default: 120]
  --large      fnn![64, 128, 64, 10] in place of fnn![64, 48, 32, 10]
  --help       print this help

Weights and plots are written to target/digits (with --large, target/digits/large).";

const MOST_SEEDS: u64 = 1000;
const MOST_EPOCHS: u64 = 10_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) seeds: u64,
    pub(crate) epochs: u32,
    pub(crate) large: bool,
}

/// What the command line asks for; `None` is the help.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
    let mut options = Options { seed: 1, seeds: 1, epochs: 120, large: false };
    let mut arguments = Arguments::new(arguments);
    while let Some(name) = arguments.next()? {
        match name.as_str() {
            "--seed" => options.seed = arguments.number(0, u64::from(u32::MAX))?,
            "--seeds" => options.seeds = arguments.number(1, MOST_SEEDS)?,
            "--epochs" => options.epochs = arguments.number(1, MOST_EPOCHS)? as u32,
            "--large" => {
                arguments.flag()?;
                options.large = true;
            }
            "--help" | "-h" => {
                arguments.flag()?;
                return Ok(None);
            }
            _ => return arguments.unknown(),
        }
    }
    Ok(Some(options))
}
