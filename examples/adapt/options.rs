//! The command line.

use crate::arguments::Arguments;
use std::ffi::OsString;

pub(crate) const HELP: &str = "\
Trains feedback networks on handwritten digits and adapts them to others, with 1, 5 and 20 labelled examples a class: to white ones on
black, rotated, mirrored and noisy ones. Compares adapters with full fine-tuning and with learning from scratch: what is gained, what
is forgotten, and what RAM it takes.

Usage: cargo run --release --example adapt -- [OPTIONS]

Options:
  --seed N     first seed of initial weights, examples, order and noise [default: 1]
  --seeds N    adapt with N seeds, spread over the cores [default: 5]
  --steps N    batches of 8 each adapter learns from [default: 600]
  --choose     try learning rates on training digits held out, and say which is best; no test digit is read
  --help       print this help

A plot is written to target/adapt.";

const MOST_SEEDS: u64 = 1000;
const MOST_STEPS: u64 = 1_000_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) seeds: u64,
    pub(crate) steps: u32,
    pub(crate) choose: bool,
}

/// What the command line asks for; `None` is the help.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
    let mut options = Options { seed: 1, seeds: 5, steps: 600, choose: false };
    let mut arguments = Arguments::new(arguments);
    while let Some(name) = arguments.next()? {
        match name.as_str() {
            "--seed" => options.seed = arguments.number(0, u64::from(u32::MAX))?,
            "--seeds" => options.seeds = arguments.number(1, MOST_SEEDS)?,
            "--steps" => options.steps = arguments.number(1, MOST_STEPS)? as u32,
            "--choose" => {
                arguments.flag()?;
                options.choose = true;
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
