//! The command line.

use crate::arguments::Arguments;
use crate::model::{self, Feedback};
use std::ffi::OsString;

pub(crate) const HELP: &str = "\
Takes feedback networks from PyTorch and gives them back, as safetensors.

Usage: exchange import MODEL.safetensors --to MODEL.attr [options]
       exchange export MODEL.attr --to MODEL.safetensors
       exchange show MODEL.attr|MODEL.safetensors

Tensors, for every layer L from 1:
  layers.L.weight    width x units below
  layers.L.feedback  width x units that are fed back, the nearest layer first; none in the last layer and in plain networks
  layers.L.bias      width

Options of import:
  --to MODEL.attr     the file to write
  --feedback FORM     adjacent, skip, dense, tied:PERCENT or feedforward
                      [adjacent if there are feedback tensors, else feedforward]
  --hidden NAME       activation of the hidden layers: identity, tanh, sigmoid, relu, hard-tanh or leaky-relu [tanh]
  --output NAME       activation of the last layer [identity]
  --scalar f32|f64    rounds or widens to it [what the tensors have]
  --help              print this help

What the file says as attractor.feedback, attractor.hidden and attractor.output goes before what stands in brackets,
and an option before both. The exit code is 1 for a failure, 2 for another command line than these.";

pub(crate) enum Request {
    Import { from: String, to: String, wanted: Wanted },
    Export { from: String, to: String },
    Show { from: String },
}

/// What the command line wants an imported network to be.
#[derive(Default)]
pub(crate) struct Wanted {
    pub(crate) feedback: Option<Feedback>,
    pub(crate) hidden: Option<&'static str>,
    pub(crate) output: Option<&'static str>,
    pub(crate) scalar: Option<&'static str>,
}

/// What the command line asks for; `None` is the help.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Request>, String> {
    let mut arguments = Arguments::new(arguments);
    let command = match arguments.next()?.as_deref() {
        None => return Err("no command is given: import, export or show".to_owned()),
        Some("--help" | "-h") => {
            arguments.flag()?;
            return Ok(None);
        }
        Some(command @ ("import" | "export" | "show")) if arguments.flag().is_ok() => command.to_owned(),
        Some(other) => return Err(format!("unknown command `{other}`")),
    };
    let (mut from, mut to, mut wanted) = (None, None, Wanted::default());
    while let Some(name) = arguments.next()? {
        match (name.as_str(), command.as_str()) {
            ("--help" | "-h", _) => {
                arguments.flag()?;
                return Ok(None);
            }
            ("--to", "import") => once(&mut to, &name, arguments.value("a file", "model.attr")?)?,
            ("--to", "export") => once(&mut to, &name, arguments.value("a file", "model.safetensors")?)?,
            ("--feedback", "import") => {
                let feedback = Feedback::parse(&arguments.value("a form of feedback", "dense")?)?;
                once(&mut wanted.feedback, &name, feedback)?;
            }
            ("--hidden", "import") => {
                let hidden = model::activation(&arguments.value("an activation", "relu")?)?;
                once(&mut wanted.hidden, &name, hidden)?;
            }
            ("--output", "import") => {
                let output = model::activation(&arguments.value("an activation", "tanh")?)?;
                once(&mut wanted.output, &name, output)?;
            }
            ("--scalar", "import") => {
                let scalar = model::scalar(&arguments.value("a scalar", "f32")?)?;
                once(&mut wanted.scalar, &name, scalar)?;
            }
            (option, _) if option.starts_with('-') => return arguments.unknown(),
            _ => {
                // The name of a file may have a `=` in it.
                let path = match arguments.flag() {
                    Ok(()) => name,
                    Err(_) => format!("{name}={}", arguments.value("a file", "model.attr")?),
                };
                if from.is_some() {
                    return Err(format!("`{path}` is one argument too many"));
                }
                from = Some(path);
            }
        }
    }
    let from = from.ok_or_else(|| format!("{command} needs the name of a file"))?;
    if command == "show" {
        return Ok(Some(Request::Show { from }));
    }
    let to = to.ok_or_else(|| format!("{command} needs `--to` and the file to write"))?;
    Ok(Some(match command.as_str() {
        "import" => Request::Import { from, to, wanted },
        _ => Request::Export { from, to },
    }))
}

fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    if place.replace(value).is_some() { Err(format!("{name} is given twice")) } else { Ok(()) }
}
