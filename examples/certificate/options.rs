//! The command line.

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
pub(crate) fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
    let mut options = Options { seed: 1, seeds: 1, epochs: 120 };
    while let Some(argument) = arguments.next() {
        let argument = argument.to_string_lossy().into_owned();
        let mut number = |least: u64, most: u64| {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{argument} needs a number, such as `{argument} 5`"))?;
            let value = value.to_string_lossy();
            match value.parse() {
                Ok(number) if (least..=most).contains(&number) => Ok(number),
                _ => Err(format!("{argument} takes a whole number from {least} to {most}, not `{value}`")),
            }
        };
        match argument.as_str() {
            "--seed" => options.seed = number(0, u64::from(u32::MAX))?,
            "--seeds" => options.seeds = number(1, 100)?,
            "--epochs" => options.epochs = number(1, 10_000)? as u32,
            "--help" | "-h" => return Ok(None),
            _ => return Err(format!("unknown option `{argument}`")),
        }
    }
    Ok(Some(options))
}
