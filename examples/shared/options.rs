//! The options that all experiments have.

use crate::arguments::Arguments;
use std::ffi::OsString;

const PACKAGE: &str = env!("CARGO_PKG_NAME");
const MOST_SEEDS: u64 = 1000;
const MOST_STEPS: u64 = 10_000_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// First seed of initial weights, order and noise.
    pub(crate) seed: u64,
    pub(crate) seeds: u64,
    /// Batches a network learns from.
    pub(crate) steps: u32,
}

impl Options {
    /// The options with these defaults, and the help that lists them.
    pub(crate) fn help(self, name: &str, what: &str) -> String {
        let Self { seed, seeds, steps } = self;
        let package = if PACKAGE == "attractor" { String::new() } else { format!("-p {PACKAGE} ") };
        format!(
            "\
{what}

Usage: cargo run --release {package}--example {name} -- [OPTIONS]

Options:
  --seed N     first seed of initial weights, order and noise [default: {seed}]
  --seeds N    train with N seeds, spread over the cores [default: {seeds}]
  --steps N    batches each network learns from [default: {steps}]
  --help       print this help

Plots are written to target/{name}."
        )
    }

    /// What the command line asks for, `self` where it says nothing; `None` is the help.
    pub(crate) fn parse(mut self, arguments: impl Iterator<Item = OsString>) -> Result<Option<Self>, String> {
        let mut arguments = Arguments::new(arguments);
        while let Some(name) = arguments.next()? {
            match name.as_str() {
                "--seed" => self.seed = arguments.number(0, u64::from(u32::MAX))?,
                "--seeds" => self.seeds = arguments.number(1, MOST_SEEDS)?,
                "--steps" => self.steps = arguments.number(1, MOST_STEPS)? as u32,
                "--help" | "-h" => {
                    arguments.flag()?;
                    return Ok(None);
                }
                _ => return arguments.unknown(),
            }
        }
        Ok(Some(self))
    }
}
