//! Takes networks from PyTorch and gives them back, as safetensors; docs/exchange.md says under which names.
//!
//! ```text
//! cargo run --manifest-path tools/exchange/Cargo.toml -- import model.safetensors --to model.attr
//! ```

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

use model::Model;
use options::{HELP, Request, Wanted};
use std::fs;
use std::process::ExitCode;

fn main() -> ExitCode {
    command_line::run("exchange", HELP, options::parse, work)
}

fn work(request: Request) -> Result<(), String> {
    match request {
        Request::Import { from, to, wanted } => {
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
            let bytes = read(&from)?;
            let model = Model::from_bytes(&bytes).map_err(|error| format!("{from}: {error}"))?;
            write(&to, &tensors::export(&model).map_err(|error| format!("{from}: {error}"))?)?;
            if model.certified {
                eprintln!("exchange: the certificate of {from} is not exported; `certify` finds it again");
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
            show::print(&facts.map_err(|error| format!("{from}: {error}"))?)
        }
    }
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{path}: {error}"))
}

/// After everything was checked: what cannot be exchanged leaves no file behind.
fn write(path: &str, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("{path}: {error}"))
}
