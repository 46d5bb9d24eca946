//! The one way out of every program: what it prints, what it warns of, the files it writes.
//!
//! `println!` and `eprintln!` here are not those of std, which panic when nobody can read what they print. Whoever
//! closes a pipe has read enough: the program ends as after success. A full disk ends it with 1 and one line that says
//! so; what cannot be said on standard error is not said.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process;

/// A line on standard output.
macro_rules! println {
    () => { $crate::output::print(format_args!("\n")) };
    ($($text:tt)+) => { $crate::output::print(format_args!("{}\n", format_args!($($text)+))) };
}

/// A line on standard error.
macro_rules! eprintln {
    ($($text:tt)+) => { $crate::output::warn(format_args!("{}\n", format_args!($($text)+))) };
}

/// The program, as its messages call it.
const NAME: &str = match option_env!("CARGO_BIN_NAME") {
    Some(name) => name,
    None => env!("CARGO_CRATE_NAME"),
};

pub(crate) fn print(text: fmt::Arguments<'_>) {
    // In one piece, for other threads print too.
    let text = text.to_string();
    let outcome = {
        let mut output = io::stdout().lock();
        output.write_all(text.as_bytes()).and_then(|()| output.flush())
    };
    match outcome {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => process::exit(0),
        Err(error) => {
            eprintln!("{NAME}: standard output: {error}");
            process::exit(1);
        }
    }
}

pub(crate) fn warn(text: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_all(text.to_string().as_bytes());
}

/// A message in one line that leaves the terminal alone, whatever it quotes: control characters are escaped, and so are
/// those that turn the direction of text or cannot be seen.
pub(crate) fn plain(message: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
    };
    let mut plain = String::new();
    for c in message.chars() {
        if hidden(c) {
            let _ = write!(plain, "{}", c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// Writes a file, or leaves the one that is there as it is.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    drawn(path, |part| Ok(OpenOptions::new().write(true).open(part)?.write_all(bytes)?))
}

/// Has `draw` write a file beside `path`, and only a whole one takes its place.
pub(crate) fn drawn(
    path: &Path,
    draw: impl FnOnce(&Path) -> Result<(), Box<dyn Error>>,
) -> Result<(), String> {
    replace(path, Box::new(draw)).map_err(|error| format!("{}: {error}", path.display()))
}

/// What draws or writes a file of the name it is given.
type Draw<'a> = Box<dyn FnOnce(&Path) -> Result<(), Box<dyn Error>> + 'a>;

/// Boxed, so that it is compiled once.
fn replace(path: &Path, draw: Draw<'_>) -> Result<(), Box<dyn Error>> {
    // A link stays a link: what it leads to is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let there = match fs::metadata(&target) {
        Ok(there) if there.is_dir() => return Err("is a folder".into()),
        // Nothing can take the place of a device or a pipe.
        Ok(there) if !there.is_file() => return draw(&target),
        Ok(there) => {
            // Renaming would not ask whether the file may be written.
            OpenOptions::new().write(true).open(&target)?;
            Some(there.permissions())
        }
        Err(_) => None,
    };
    let part = beside(&target)?;
    let made = OpenOptions::new().write(true).create_new(true).open(&part);
    made?;
    let outcome = draw(&part).and_then(|()| {
        // What the disk does not take shows here at the latest.
        OpenOptions::new().write(true).open(&part)?.sync_all()?;
        if let Some(permissions) = there {
            fs::set_permissions(&part, permissions)?;
        }
        Ok(fs::rename(&part, &target)?)
    });
    if outcome.is_err() {
        let _ = fs::remove_file(&part);
    }
    outcome
}

/// A name for the time being, in the folder of `path`.
fn beside(path: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().ok_or("is no name of a file")?);
    name.push(format!(".{}.part", process::id()));
    Ok(path.with_file_name(name))
}

/// The folder target/`name` of this checkout, as [`folder`].
#[allow(dead_code, reason = "not every program writes files")]
pub(crate) fn target(name: &str) -> Result<PathBuf, String> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Packages of a workspace share one.
    let checkout = package.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).unwrap_or(package);
    let path = checkout.join("target").join(name);
    folder(&path)?;
    Ok(path)
}

/// Makes a folder if need be, and sees that files can be written there: before the work, not after it.
pub(crate) fn folder(path: &Path) -> Result<(), String> {
    let try_it = || -> Result<(), Box<dyn Error>> {
        fs::create_dir_all(path)?;
        let part = beside(&path.join("try"))?;
        File::create(&part)?;
        Ok(fs::remove_file(part)?)
    };
    try_it().map_err(|error| format!("{}: cannot be written to: {error}", path.display()))
}
