//! Takes networks from PyTorch and gives them back, as safetensors; docs/exchange.md says under which names.
//!
//! ```text
//! cargo run --manifest-path tools/exchange/Cargo.toml -- import model.safetensors --to model.attr
//! ```

#[macro_use]
#[path = "../../../examples/shared/output.rs"]
#[allow(dead_code, unused_macros, reason = "not all of it is needed here")]
mod output;

// A command line like those of the examples.
#[path = "../../../examples/shared/arguments.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod arguments;
#[path = "../../../examples/shared/command_line.rs"]
mod command_line;
mod model;
mod options;
mod show;
mod tensors;
mod twice;

use model::Model;
use options::{HELP, Request, Wanted};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    command_line::run("exchange", HELP, options::parse, work)
}

fn work(request: Request) -> Result<(), String> {
    match request {
        Request::Import { from, to, wanted } => {
            other(&from, &to)?;
            let bytes = read(&from)?;
            let model = if Model::is_one(&bytes) {
                Err("this is a model file already".to_owned())
            } else {
                tensors::import(&bytes, &wanted)
            };
            let bytes =
                model.and_then(|model| model.to_bytes()).map_err(|error| format!("{from}: {error}"))?;
            write(&to, &bytes)
        }
        Request::Export { from, to } => {
            other(&from, &to)?;
            let bytes = read(&from)?;
            let model = Model::from_bytes(&bytes).map_err(|error| format!("{from}: {error}"))?;
            write(&to, &tensors::export(&model).map_err(|error| format!("{from}: {error}"))?)?;
            if model.certified {
                eprintln!(
                    "exchange: the certificate of {} is not exported; `certify` finds it again",
                    output::plain(&from)
                );
            }
            Ok(())
        }
        Request::Show { from } => {
            let bytes = read(&from)?;
            let facts = if Model::is_one(&bytes) {
                Model::from_bytes(&bytes).map(|model| show::facts(&model, "attr"))
            } else {
                tensors::import(&bytes, &Wanted::default()).map(|model| show::facts(&model, "safetensors"))
            };
            println!("{}", facts.map_err(|error| format!("{from}: {error}"))?);
            Ok(())
        }
    }
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{path}: {error}"))
}

/// Whether what is read and what is to be written are two files, whatever their names.
fn other(from: &str, to: &str) -> Result<(), String> {
    let same = match (fs::canonicalize(from), fs::canonicalize(to)) {
        (Ok(from), Ok(to)) => from == to || same_inode(&from, &to),
        _ => false,
    };
    if same { Err(format!("{to}: `--to` is the file that is read")) } else { Ok(()) }
}

/// Two names of one file.
fn same_inode(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let place = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
        place(one).is_some() && place(one) == place(other)
    }
    #[cfg(not(unix))]
    {
        let _ = (one, other);
        false
    }
}

/// After everything was checked: what cannot be exchanged leaves no file behind.
fn write(path: &str, bytes: &[u8]) -> Result<(), String> {
    output::write(Path::new(path), bytes)
}
