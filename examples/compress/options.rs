//! The command line.

use crate::epochs::Options;
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

/// What the command line asks for; `None` is the help.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
    Options { seed: 1, seeds: 5, epochs: 120 }.parse(arguments)
}
