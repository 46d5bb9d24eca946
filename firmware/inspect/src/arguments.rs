//! The command line.

use crate::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;

pub const HELP: &str = "\
Prints facts about a bare-metal ELF image (Cortex-M; RV32 but for `stack`), a line each: name, value, unit.

Usage: inspect IMAGE COMMAND

Commands:
  sizes [--without PART]...
      bytes of code (.text), read-only data (.rodata), the same without the statics that have PART in their names,
      and those by themselves, vector table, data, bss, and every other section in memory by its own name
  stack FUNCTION... [--allow-indirect PART]...
      the most bytes of stack from entering FUNCTION on, with the deepest way as a comment before it: what of each
      function lies on the stack at its deepest call; interrupts come on top. Recursion is an error, and so is a
      call through a pointer, unless the function it stands in has PART in its name; that then counts as no stack
  forbid NAME...
      fails if a symbol has NAME in its name
  functions
      bytes of code and of stack of each function by itself, the largest first

A FUNCTION is a symbol, or a part of one that no other has.

Options:
  --help  print this help

For stack sizes, build with `-Z emit-stack-sizes`. The exit code is 1 for a failure, 2 for another command line than
these.";

#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub image: PathBuf,
    pub command: Command,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Sizes { without: Vec<String> },
    Stack { functions: Vec<String>, allowed: Vec<String> },
    Forbid { names: Vec<String> },
    Functions,
}

/// What the command line asks for; `None` is the help.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Request>, Error> {
    let arguments: Vec<OsString> = arguments.collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        return Ok(None);
    }
    let mut arguments = arguments.into_iter();
    let image = arguments.next().ok_or_else(|| usage("no image is named"))?;
    let mut words = Vec::new();
    for argument in arguments {
        let word = argument.into_string();
        words.push(word.map_err(|word| usage(&format!("`{}` is no name", word.display())))?);
    }
    let mut words = words.into_iter();
    let command = words.next().ok_or_else(|| usage("no command is given"))?;
    let command = match command.as_str() {
        "sizes" => {
            let (names, without) = split(words, Some("--without"))?;
            none(&names)?;
            Command::Sizes { without }
        }
        "stack" => {
            let (functions, allowed) = split(words, Some("--allow-indirect"))?;
            some(&functions, "stack")?;
            Command::Stack { functions, allowed }
        }
        "forbid" => {
            let (names, _) = split(words, None)?;
            some(&names, "forbid")?;
            Command::Forbid { names }
        }
        "functions" => {
            let (names, _) = split(words, None)?;
            none(&names)?;
            Command::Functions
        }
        other => return Err(usage(&format!("unknown command `{other}`"))),
    };
    Ok(Some(Request { image: image.into(), command }))
}

/// Names, and the values of the one option there may be.
fn split(
    mut words: impl Iterator<Item = String>,
    option: Option<&str>,
) -> Result<(Vec<String>, Vec<String>), Error> {
    let (mut names, mut values) = (Vec::new(), Vec::new());
    while let Some(word) = words.next() {
        if Some(word.as_str()) == option {
            values.push(words.next().ok_or_else(|| usage(&format!("`{word}` needs a name")))?);
        } else if word.starts_with('-') {
            return Err(usage(&format!("unknown option `{word}`")));
        } else {
            names.push(word);
        }
    }
    // An empty part is in every name.
    if names.iter().chain(&values).any(String::is_empty) {
        return Err(usage("a name is empty"));
    }
    Ok((names, values))
}

fn none(names: &[String]) -> Result<(), Error> {
    names.first().map_or(Ok(()), |name| Err(usage(&format!("`{name}` is one argument too many"))))
}

fn some(names: &[String], command: &str) -> Result<(), Error> {
    if names.is_empty() { Err(usage(&format!("`{command}` needs a name"))) } else { Ok(()) }
}

fn usage(message: &str) -> Error {
    Error::Usage(message.to_owned())
}
