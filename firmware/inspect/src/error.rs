//! What can be wrong, each in one line.

use std::fmt;
use std::path::PathBuf;

/// A function and how it was reached, the function itself last.
pub type Path = Vec<String>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The command line is not one of those in the help.
    Usage(String),
    Read {
        path: PathBuf,
        reason: String,
    },
    /// Not an image this tool can read.
    Format(String),
    MissingSection(&'static str),
    NoSymbols,
    /// An entry of `.stack_sizes` is cut off or too large.
    StackSizes {
        offset: usize,
    },
    UnknownName(String),
    AmbiguousName {
        name: String,
        candidates: Vec<String>,
    },
    /// No static in `.rodata` has this in its name.
    UnknownStatic(String),
    NotThumb,
    UnknownInstruction {
        function: String,
        address: u32,
    },
    /// A call or branch to where no function starts.
    NoFunction {
        function: String,
        address: u32,
        target: u32,
    },
    /// The end of the function is reached without a branch, and no function follows.
    RunsOn {
        function: String,
        address: u32,
    },
    /// The stack pointer comes from somewhere else, and the compiler left no size.
    UnknownStack {
        function: String,
    },
    /// It returns with one stack pointer here and another there.
    Unbalanced {
        function: String,
    },
    Indirect(Vec<Path>),
    Recursion(Path),
    /// Symbols that must not be there, each with the part of its name that gave it away.
    Forbidden(Vec<(String, String)>),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) => write!(formatter, "{message} (`--help` lists the commands)"),
            Self::Read { path, reason } => write!(formatter, "{}: {reason}", path.display()),
            Self::Format(reason) => write!(formatter, "not an image that can be read: {reason}"),
            Self::MissingSection(name) => write!(formatter, "the image has no section {name}"),
            Self::NoSymbols => write!(formatter, "the image has no symbols"),
            Self::StackSizes { offset } => {
                write!(formatter, ".stack_sizes: the entry at byte {offset} is damaged")
            }
            Self::UnknownName(name) => write!(formatter, "no function is named `{name}`"),
            Self::AmbiguousName { name, candidates } => {
                write!(formatter, "`{name}` may be any of {}", candidates.join(", "))
            }
            Self::UnknownStatic(part) => write!(formatter, "no static in .rodata is named `{part}`"),
            Self::NotThumb => write!(formatter, "the stack is followed through Thumb code only"),
            Self::UnknownInstruction { function, address } => {
                write!(formatter, "{function}: the instruction at {address:#x} is not known")
            }
            Self::NoFunction { function, address, target } => {
                write!(
                    formatter,
                    "{function}: at {address:#x} it goes to {target:#x}, where no function starts"
                )
            }
            Self::RunsOn { function, address } => {
                write!(formatter, "{function}: it runs on into {address:#x}, where no code is known")
            }
            Self::UnknownStack { function } => {
                write!(
                    formatter,
                    "{function}: its stack pointer cannot be followed, and .stack_sizes has no entry"
                )
            }
            Self::Unbalanced { function } => {
                write!(formatter, "{function}: it returns with different depths of the stack")
            }
            Self::Indirect(paths) => {
                let places: Vec<String> = paths.iter().map(place).collect();
                write!(formatter, "indirect call in {}", places.join("; in "))
            }
            Self::Recursion(path) => write!(formatter, "recursion: {}", path.join(" -> ")),
            Self::Forbidden(symbols) => {
                let symbols: Vec<String> =
                    symbols.iter().map(|(part, symbol)| format!("{symbol} (`{part}`)")).collect();
                write!(formatter, "forbidden: {}", symbols.join(", "))
            }
        }
    }
}

fn place(path: &Path) -> String {
    let last = path.last().map_or("", String::as_str);
    if path.len() > 1 { format!("{last}, reached by {}", path.join(" -> ")) } else { last.to_owned() }
}

impl std::error::Error for Error {}
