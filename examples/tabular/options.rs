//! The command line.

use crate::arguments::Arguments;
use crate::tables::SPLITS;
use std::ffi::OsString;

pub(crate) const HELP: &str = "\
Trains feedback networks on small tables: iris, wine, breast cancer, digits, diabetes, and an autoencoder of the digits. Every network
has the trainer's defaults, which hold it to a rate; beside it stands one that is not held, and scikit-learn's network of the same widths.

Usage: cargo run --release --example tabular -- [OPTIONS]

Options:
  --splits N   splits of every table, spread over the cores; a split tests on a fifth of the rows [default: 5]
  --rate N     the rate networks are held to, in hundredths [default: 90]
  --help       print this help

A plot is written to target/tabular.";

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) splits: usize,
    pub(crate) rate: f32,
}

impl Options {
    /// What differs from one plot to another, in words.
    pub(crate) fn described(self) -> String {
        format!("networks held to a rate of {:.2}", self.rate)
    }
}

/// What the command line asks for; `None` is the help.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
    let mut options = Options { splits: SPLITS, rate: 0.9 };
    let mut arguments = Arguments::new(arguments);
    while let Some(name) = arguments.next()? {
        match name.as_str() {
            "--splits" => options.splits = arguments.number(1, SPLITS as u64)? as usize,
            "--rate" => options.rate = arguments.number(0, 99)? as f32 / 100.0,
            "--help" | "-h" => {
                arguments.flag()?;
                return Ok(None);
            }
            _ => return arguments.unknown(),
        }
    }
    Ok(Some(options))
}
