//! Feedback neural networks from the command line: docs/cli.md.
//!
//! ```text
//! cargo run --release --manifest-path tools/attractor/Cargo.toml -- --help
//! ```

#[macro_use]
#[path = "../../../examples/shared/output.rs"]
#[allow(dead_code, unused_macros, reason = "not all of it is needed here")]
mod output;

mod certify;
mod cli;
mod codegen;
mod evaluate;
mod exchange;
mod files;
mod model;
mod net;
mod options;
mod prune;
mod quantise;
mod scaling;
mod score;
mod show;
mod table;
mod tensors;
mod train;
mod twice;

use clap::Parser;
use clap::error::ErrorKind;
use cli::{Cli, Command};
use output::plain;
use std::process::ExitCode;

/// 0 after success or help, 1 after a failure, 2 for a command line that makes no sense.
fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            println!("{}", error.render().to_string().trim_end());
            return ExitCode::SUCCESS;
        }
        Err(error) => return nonsense(&options::message(&error)),
    };
    match work(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("attractor: {}", plain(&message));
            ExitCode::FAILURE
        }
    }
}

fn nonsense(message: &str) -> ExitCode {
    eprintln!("attractor: {}\nattractor: `--help` lists the options", plain(message));
    ExitCode::from(2)
}

fn work(command: Command) -> Result<(), String> {
    match command {
        Command::Train(arguments) => train::train(&arguments),
        Command::Evaluate(arguments) => evaluate::evaluate(&arguments),
        Command::Certify(arguments) => certify::certify(&arguments),
        Command::Limit(arguments) => certify::limit(&arguments),
        Command::Quantise(arguments) => quantise::quantise(&arguments),
        Command::Prune(arguments) => prune::prune(&arguments),
        Command::Codegen(arguments) => codegen::codegen(&arguments),
        Command::Import(arguments) => exchange::import(&arguments),
        Command::Export(arguments) => exchange::export(&arguments),
        Command::Show(arguments) => show::show(&arguments),
    }
}
