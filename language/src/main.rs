//! The program `attractor-lm`: docs/language.md.
//!
//! ```text
//! cargo run --release -p attractor-language -- --help
//! ```

#[macro_use]
#[path = "../../examples/shared/output.rs"]
#[allow(dead_code, unused_macros, reason = "not all of it is needed here")]
mod output;

mod cli;
mod commands;
#[path = "../../tools/attractor/src/options.rs"]
mod options;

use clap::Parser;
use clap::error::ErrorKind;
use cli::{Cli, Command};
use commands::{Failure, eval, exchange, sample, train};
use std::process::ExitCode;

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            println!("{}", error.render().to_string().trim_end());
            return ExitCode::SUCCESS;
        }
        Err(error) => return failed(&Failure::Nonsense(options::message(&error))),
    };
    let outcome = match command {
        Command::Pretrain(arguments) => train::pretrain(&arguments),
        Command::Finetune(arguments) => train::finetune(&arguments),
        Command::Sample(arguments) => sample::sample(&arguments),
        Command::Eval(arguments) => eval::eval(&arguments),
        Command::Export(arguments) => exchange::export(&arguments),
        Command::Import(arguments) => exchange::import(&arguments),
        Command::Merge(arguments) => exchange::merge(&arguments),
        Command::Shrink(arguments) => exchange::shrink(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &Failure) -> ExitCode {
    let (message, code) = failure.line();
    if !matches!(failure, Failure::Said(_)) {
        eprintln!("attractor-lm: {message}");
    }
    ExitCode::from(code)
}
