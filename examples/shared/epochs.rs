//! The options of experiments that learn the same digits again and again.

use crate::arguments::Arguments;
use std::ffi::OsString;

const MOST_SEEDS: u64 = 1000;
const MOST_EPOCHS: u64 = 10_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// First seed of initial weights, order and noise.
    pub(crate) seed: u64,
    pub(crate) seeds: u64,
    /// Times every training digit is seen.
    pub(crate) epochs: u32,
}

impl Options {
    /// What the command line asks for, `self` where it says nothing; `None` is the help.
    pub(crate) fn parse(mut self, arguments: impl Iterator<Item = OsString>) -> Result<Option<Self>, String> {
        let mut arguments = Arguments::new(arguments);
        while let Some(name) = arguments.next()? {
            match name.as_str() {
                "--seed" => self.seed = arguments.number(0, u64::from(u32::MAX))?,
                "--seeds" => self.seeds = arguments.number(1, MOST_SEEDS)?,
                "--epochs" => self.epochs = arguments.number(1, MOST_EPOCHS)? as u32,
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
