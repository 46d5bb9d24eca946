//! The options of a command line, `--name VALUE` or `--name=VALUE`.

use std::ffi::OsString;

/// Goes over the options of a command line.
pub(crate) struct Arguments<I> {
    rest: I,
    /// The option that was seen last, and the value attached to it by `=`.
    name: String,
    attached: Option<String>,
}

impl<I: Iterator<Item = OsString>> Arguments<I> {
    pub(crate) fn new(rest: I) -> Self {
        Self { rest, name: String::new(), attached: None }
    }

    /// The name of the next option.
    pub(crate) fn next(&mut self) -> Result<Option<String>, String> {
        let Some(argument) = self.word()? else { return Ok(None) };
        (self.name, self.attached) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        Ok(Some(self.name.clone()))
    }

    /// Its value; `what` and an example of it are for the message if there is none.
    pub(crate) fn value(&mut self, what: &str, example: &str) -> Result<String, String> {
        match self.attached.take() {
            Some(value) => Ok(value),
            None => self
                .word()?
                .ok_or_else(|| format!("{name} needs {what}, such as `{name} {example}`", name = self.name)),
        }
    }

    /// Its value, a whole number.
    pub(crate) fn number(&mut self, least: u64, most: u64) -> Result<u64, String> {
        let value = self.value("a number", "5")?;
        match value.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => {
                let name = &self.name;
                Err(format!("{name} takes a whole number from {least} to {most}, not `{value}`"))
            }
        }
    }

    /// For an option without a value.
    pub(crate) fn flag(&self) -> Result<(), String> {
        match self.attached {
            Some(_) => Err(format!("{} takes no value", self.name)),
            None => Ok(()),
        }
    }

    /// What is wrong with an option that nobody knows.
    pub(crate) fn unknown<T>(&self) -> Result<T, String> {
        Err(format!("unknown option `{}`", self.name))
    }

    fn word(&mut self) -> Result<Option<String>, String> {
        let text = |word: OsString| {
            word.into_string().map_err(|word| format!("`{}` is not text", word.to_string_lossy()))
        };
        self.rest.next().map(text).transpose()
    }
}
