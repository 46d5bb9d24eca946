//! The command line.

use crate::epochs::Options;
use std::ffi::OsString;

pub(crate) const HELP: &str = "\
Trains a monotone equilibrium network (Winston and Kolter 2020), a map of its own, on handwritten digits, with exact gradients at its fixed point; and solves the test
digits by plain sweeps, by forward-backward splitting, and by splitting with Anderson acceleration and Broyden's method.

Usage: cargo run --release --example monotone -- [OPTIONS]

Options:
  --seed N     first seed of weights and order [default: 1]
  --seeds N    train with N seeds, spread over the cores [default: 3]
  --epochs N   times every training digit is seen [default: 20]
  --help       print this help";

/// What the command line asks for; `None` is the help.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
    Options { seed: 1, seeds: 3, epochs: 20 }.parse(arguments)
}
