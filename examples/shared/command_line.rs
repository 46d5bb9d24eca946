//! What the command lines of several examples have in common: the help, the message about nonsense, the exit codes.

use crate::output::plain;
use std::env::{self, ArgsOs};
use std::iter::Skip;
use std::process::ExitCode;

/// Runs an example: 0 after success or help, 1 after a failure, 2 for a command line that makes no sense.
///
/// `parse` says what the command line asks for; `None` is the help.
pub(crate) fn run<Options>(
    name: &str,
    help: &str,
    parse: impl FnOnce(Skip<ArgsOs>) -> Result<Option<Options>, String>,
    work: impl FnOnce(Options) -> Result<(), String>,
) -> ExitCode {
    match parse(env::args_os().skip(1)).map(|options| options.map(work)) {
        Ok(None) => println!("{help}"),
        Ok(Some(Ok(()))) => {}
        Ok(Some(Err(message))) => {
            eprintln!("{name}: {}", plain(&message));
            return ExitCode::FAILURE;
        }
        Err(message) => {
            eprintln!("{name}: {}\n{name}: `--help` lists the options", plain(&message));
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
