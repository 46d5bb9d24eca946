//! The command line.

use crate::arguments::Arguments;
use std::ffi::OsString;
use std::path::PathBuf;

pub(crate) const HELP: &str = "\
Trains a feedback network on the handwritten digits of MNIST, and one without feedback and as many parameters beside it.

Usage: cargo run --release --example mnist -- [OPTIONS]

Options:
  --data FOLDER  the four IDX files of MNIST, or others of their shape [default: target/mnist]
  --one-epoch    fnn![784, 87, 10] and one epoch in place of fnn![784, 1024, 10] and ten
  --epochs N     times every training image is seen [default: 10]
  --seed N       first seed of initial weights, order and blank pixels [default: 1]
  --seeds N      train with N seeds, spread over the cores [default: 3]
  --held-out N   test on the last N training images, which are then not trained with, and never on the test images:
                 for choosing a recipe
  --help         print this help

`scripts/fetch-mnist` fetches the files. Weights and plots are written to target/mnist-default, or with --one-epoch to
target/mnist-one-epoch.";

const MOST_SEEDS: u64 = 1000;
const MOST_EPOCHS: u64 = 10_000;

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) data: PathBuf,
    pub(crate) one_epoch: bool,
    pub(crate) epochs: Option<u32>,
    pub(crate) seed: u64,
    pub(crate) seeds: u64,
    pub(crate) held_out: Option<usize>,
}

/// What the command line asks for; `None` is the help.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
    let mut options = Options {
        data: PathBuf::from("target/mnist"),
        one_epoch: false,
        epochs: None,
        seed: 1,
        seeds: 3,
        held_out: None,
    };
    let mut arguments = Arguments::new(arguments);
    while let Some(name) = arguments.next()? {
        match name.as_str() {
            "--data" => options.data = arguments.value("a folder", "target/mnist")?.into(),
            "--one-epoch" => {
                arguments.flag()?;
                options.one_epoch = true;
            }
            "--epochs" => options.epochs = Some(arguments.number(1, MOST_EPOCHS)? as u32),
            "--seed" => options.seed = arguments.number(0, u64::from(u32::MAX))?,
            "--seeds" => options.seeds = arguments.number(1, MOST_SEEDS)?,
            "--held-out" => options.held_out = Some(arguments.number(1, u64::from(u32::MAX))? as usize),
            "--help" | "-h" => {
                arguments.flag()?;
                return Ok(None);
            }
            _ => return arguments.unknown(),
        }
    }
    if options.one_epoch && options.epochs.is_some() {
        return Err("--one-epoch and --epochs exclude each other".to_owned());
    }
    Ok(Some(options))
}
