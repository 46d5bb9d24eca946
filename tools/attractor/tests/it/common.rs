//! What the tests of the command line have in common.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) output: String,
    pub(crate) error: String,
}

pub(crate) fn run(arguments: &[&str]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_attractor")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Answer { code: output.status.code().unwrap(), output: text(output.stdout), error: text(output.stderr) }
}

/// A folder of one test's own, and files in it.
pub(crate) struct Room(pub(crate) PathBuf);

impl Room {
    pub(crate) fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.0.join(name), bytes).unwrap();
        self.path(name)
    }
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap()
    }
}

/// Whose work is done: nothing was said on standard error.
pub(crate) fn done(arguments: &[&str]) -> String {
    let answer = run(arguments);
    assert_eq!((answer.code, answer.error.as_str()), (0, ""), "{arguments:?}");
    answer.output
}

/// The value of a line `name: value`.
pub(crate) fn value<'a>(output: &'a str, name: &str) -> &'a str {
    let found = output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no `{name}` in {output}"))
}

/// The number that such a value begins with.
pub(crate) fn figure(output: &str, name: &str) -> f64 {
    value(output, name).split(' ').next().unwrap().parse().unwrap()
}

/// A table of the repository.
pub(crate) fn table(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").join(name).to_str().unwrap().to_owned()
}

/// Every fifth line of a text from `first` on, and the others.
pub(crate) fn fifth(text: &str, first: usize) -> (String, String) {
    let pick = |fifth: bool| {
        text.lines()
            .enumerate()
            .filter(|(at, _)| (at % 5 == first) == fifth)
            .map(|(_, line)| format!("{line}\n"))
            .collect()
    };
    (pick(true), pick(false))
}
