//! Prints facts about a bare-metal image: what it takes of flash and RAM, how deep its stack can get, and that
//! symbols which must not be there are not.
//!
//! ```text
//! cargo run --manifest-path firmware/inspect/Cargo.toml -- IMAGE stack solve
//! ```
//!
//! # Stack sizes
//!
//! The compiler writes the frame of every function into the section `.stack_sizes` if it is told so:
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Z emit-stack-sizes ..." cargo build --release -Z build-std=core
//! ```
//!
//! Core as it is delivered has no such section, therefore `build-std`; without, its functions are taken by their
//! code alone. Nothing is asked of the linker script: rust-lld keeps the section, which is no part of the program
//! and is bound to the functions it describes (`SHF_LINK_ORDER`), and drops entries together with the functions
//! that `--gc-sections` drops. `strip = true` takes away the symbols, which are needed; `strip = "debuginfo"` does
//! not. A linker that does drop the section is given a second script with `-C link-arg=-Tstack-sizes.x`:
//!
//! ```text
//! SECTIONS { .stack_sizes (INFO) : { KEEP(*(.stack_sizes)); } } INSERT AFTER .bss;
//! ```
//!
//! # How deep the stack gets
//!
//! The machine code is followed from the entry of each function (`body`), so that at every call it is known how
//! much of the caller's frame is there: at a tail call, after the frame is given back, nothing. No frame is taken
//! for smaller than the compiler says, but for larger where the code does more: assembly in the function, and
//! frames rounded to more than eight bytes, of which the compiler counts the lucky case and this tool the worst.
//! Functions without an entry are taken by their code alone. What cannot be followed is an error, never zero:
//! calls through a pointer (unless it is seen to be a constant), recursion, a stack pointer from elsewhere.
//! Interrupts come on top: the bound is of one thread of control.

mod arguments;
mod body;
mod error;
mod image;
mod sizes;
mod stack;
mod tables;
mod thumb;
mod value;

use arguments::{Command, Request};
use error::Error;
use image::{Image, Machine};
use sizes::Sizes;
use stack::Graph;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(None) => print(&format!("{}\n", arguments::HELP)),
        Ok(Some(request)) => facts(&request).and_then(|facts| print(&facts)),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("inspect: {error}");
            ExitCode::from(if matches!(error, Error::Usage(_)) { 2 } else { 1 })
        }
    }
}

/// Whoever closes the pipe has read enough.
fn print(text: &str) -> Result<(), Error> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Read { path: "standard output".into(), reason: error.to_string() })
        }
        _ => Ok(()),
    }
}

fn facts(request: &Request) -> Result<String, Error> {
    let image = Image::read(&request.image)?;
    match &request.command {
        Command::Sizes { without } => sizes(&image, without),
        Command::Stack { functions, allowed } => stack(&image, functions, allowed),
        Command::Forbid { names } => forbid(&image, names),
        Command::Functions => functions(&image),
    }
}

fn sizes(image: &Image, without: &[String]) -> Result<String, Error> {
    let sizes = Sizes::new(image, without)?;
    let lines = [
        ("code", sizes.code),
        ("read_only", sizes.read_only),
        ("read_only_without_named", sizes.read_only - sizes.named),
        ("named", sizes.named),
        ("vector_table", sizes.vector_table),
        ("data", sizes.data),
        ("bss", sizes.bss),
    ];
    let others = sizes.others.iter().map(|(name, bytes)| (name.as_str(), *bytes));
    Ok(lines.into_iter().chain(others).map(|(name, bytes)| format!("{name} {bytes} bytes\n")).collect())
}

fn stack(image: &Image, functions: &[String], allowed: &[String]) -> Result<String, Error> {
    image.require_symbols()?;
    image.require_stack_sizes()?;
    let roots = functions.iter().map(|name| Ok((name, image.function(name)?.address)));
    let roots: Vec<(&String, u32)> = roots.collect::<Result<_, Error>>()?;
    let allowed = image.functions_named(allowed)?;
    let graph = Graph::new(image)?;
    let mut text = String::new();
    for (name, address) in roots {
        let bound = graph.bound(address, &allowed)?;
        let path: Vec<String> = bound.path.iter().map(|(name, depth)| format!("{name} {depth}")).collect();
        text += &format!("# {}\n{name} {} bytes\n", path.join(" -> "), bound.bytes);
    }
    Ok(text)
}

fn forbid(image: &Image, names: &[String]) -> Result<String, Error> {
    image.require_symbols()?;
    let mut found = Vec::new();
    for symbol in &image.symbols {
        if let Some(part) = names.iter().find(|part| symbol.name.contains(part.as_str())) {
            found.push((part.clone(), symbol.name.clone()));
        }
    }
    if found.is_empty() { Ok("forbidden 0 symbols\n".to_owned()) } else { Err(Error::Forbidden(found)) }
}

fn functions(image: &Image) -> Result<String, Error> {
    image.require_symbols()?;
    image.require_stack_sizes()?;
    let graph = match image.machine {
        Machine::Thumb => Some(Graph::new(image)?),
        Machine::RiscV => None,
    };
    let mut functions: Vec<_> = image.functions.values().collect();
    functions.sort_by_key(|function| (std::cmp::Reverse(function.size), function.address));
    let mut text = String::new();
    for function in functions {
        let own = graph.as_ref().map_or(function.entry, |graph| graph.own(function.address));
        let own = own.map_or_else(|| "unknown".to_owned(), |bytes| bytes.to_string());
        text += &format!("{} {} bytes {own} bytes_of_stack\n", function.name(), function.size);
    }
    Ok(text)
}
