//! The options that all experiments have.

use std::ffi::OsString;

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
        format!(
            "\
{what}

Usage: cargo run --release --example {name} -- [OPTIONS]

Options:
  --seed N     first seed of initial weights, order and noise [default: {seed}]
  --seeds N    train with N seeds, spread over the cores [default: {seeds}]
  --steps N    batches of 64 each network learns from [default: {steps}]
  --help       print this help

Plots are written to target/{name}."
        )
    }

    /// What the command line asks for, `self` where it says nothing; `None` is the help.
    pub(crate) fn parse(mut self, arguments: impl Iterator<Item = OsString>) -> Result<Option<Self>, String> {
        let mut arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
        while let Some(argument) = arguments.next() {
            let (name, attached) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            let mut number = |least: u64, most: u64| {
                let value = attached
                    .clone()
                    .or_else(|| arguments.next())
                    .ok_or_else(|| format!("{name} needs a number, such as `{name} 5`"))?;
                match value.parse() {
                    Ok(number) if (least..=most).contains(&number) => Ok(number),
                    _ => Err(format!("{name} takes a whole number from {least} to {most}, not `{value}`")),
                }
            };
            match name {
                "--seed" => self.seed = number(0, u64::from(u32::MAX))?,
                "--seeds" => self.seeds = number(1, MOST_SEEDS)?,
                "--steps" => self.steps = number(1, MOST_STEPS)? as u32,
                "--help" | "-h" if attached.is_some() => return Err(format!("{name} takes no value")),
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("unknown option `{argument}`")),
            }
        }
        Ok(Some(self))
    }
}
