//! The program `attractor-lm`, run as a user runs it, on models of width 8 and a text of 4,000 bytes.

#![allow(dead_code, reason = "not all of it is needed by every test")]

use attractor_language::Config;
use attractor_language::checkpoint::{Checkpoint, Folder};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_attractor-lm");

/// A model and batches that take no time.
pub(crate) const TINY: [&str; 10] =
    ["--width", "8", "--heads", "2", "--blocks", "2", "--context", "16", "--batch", "4"];

pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) output: Vec<u8>,
    pub(crate) error: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        let error = String::from_utf8(output.stderr).unwrap();
        Self { code: output.status.code().unwrap_or(-1), output: output.stdout, error }
    }
}

pub(crate) fn run(arguments: &[&str]) -> Answer {
    Command::new(PROGRAM).args(arguments).output().unwrap().into()
}

/// By a script, which has the command as its arguments.
pub(crate) fn under(script: &str, arguments: &[&str]) -> Answer {
    Command::new("sh").args(["-c", script, "sh", PROGRAM]).args(arguments).output().unwrap().into()
}

/// Whose work is done, with nothing said on standard error.
pub(crate) fn done(arguments: &[&str]) -> String {
    let answer = run(arguments);
    assert_eq!((answer.code, answer.error.as_str()), (0, ""), "{arguments:?}");
    String::from_utf8(answer.output).unwrap()
}

/// That fails, and says so in one line, of which this is a part.
pub(crate) fn refused(code: i32, part: &str, arguments: &[&str]) {
    let answer = run(arguments);
    assert_eq!((answer.code, answer.output.as_slice()), (code, &b""[..]), "{arguments:?}: {}", answer.error);
    let Answer { error, .. } = answer;
    assert!(error.starts_with("attractor-lm: ") && error.ends_with('\n'), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains(part), "{arguments:?}: {error}");
}

pub(crate) fn value<'a>(output: &'a str, name: &str) -> &'a str {
    let found = output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no `{name}` in {output}"))
}

/// A folder of one test's own, with a text in it.
pub(crate) struct Room(pub(crate) PathBuf);

impl Room {
    pub(crate) fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("program-{test}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let words = ["the ", "heaven ", "and ", "earth.\n", "light "];
        let text: String = (0_usize..).map(|i| words[i * i % 11 % 5]).take(800).collect();
        fs::write(path.join("text"), &text[..4000]).unwrap();
        Self(path)
    }
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.0.join(name), bytes).unwrap();
        self.path(name)
    }
    /// The command that trains into a folder.
    pub(crate) fn training<'a>(&'a self, out: &str, more: &[&'a str]) -> Vec<String> {
        let command = ["pretrain".to_owned(), self.path("text"), "--out".to_owned(), self.path(out)];
        command.into_iter().chain(TINY.iter().chain(more).map(|text| (*text).to_owned())).collect()
    }
    pub(crate) fn train(&self, out: &str, more: &[&str]) -> String {
        done(&borrowed(&self.training(out, more)))
    }
    pub(crate) fn checkpoints(&self, out: &str) -> Vec<PathBuf> {
        Folder::checkpoints(&self.0.join(out)).unwrap_or_default()
    }
    /// The newest checkpoint, the curve: what must not depend on pauses.
    pub(crate) fn result(&self, out: &str) -> (Vec<u8>, Vec<u8>) {
        let newest = self.checkpoints(out).pop().unwrap();
        (fs::read(newest).unwrap(), fs::read(self.0.join(out).join("curve.csv")).unwrap())
    }
    pub(crate) fn model(&self, name: &str, config: Config) -> String {
        let parameters = vec![0.0; config.parameters()].into();
        let path = self.path(name);
        Checkpoint::of(config, 1, parameters).save(Path::new(&path)).unwrap();
        path
    }
}

pub(crate) fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

pub(crate) fn steps(path: &Path) -> u32 {
    Checkpoint::load(path).unwrap().training.unwrap().steps
}

pub(crate) fn spawn(arguments: &[String]) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until a run has a checkpoint of so many steps.
pub(crate) fn wait_for(room: &Room, out: &str, steps: u32) {
    let name = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let wanted = format!("checkpoint-{steps:010}");
    let begun = Instant::now();
    while room.checkpoints(out).last().map(name).is_none_or(|name| name < wanted) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{out} has no {wanted}");
        sleep(Duration::from_millis(1));
    }
}
