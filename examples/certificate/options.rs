//! The command line.

use crate::epochs::Options;
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

/// What the command line asks for; `None` is the help.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
    Options { seed: 1, seeds: 1, epochs: 120 }.parse(arguments)
}
