//! What the options of programs have in common; also `attractor-lm`'s.

use clap::error::ErrorKind;
use std::str::FromStr;

/// What is wrong with a command line, in one line and without the usage.
pub(crate) fn message(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "no command is given".to_owned();
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    // The usage and hints stand behind an empty line; lists in lines of their own before it.
    let first = text.split("\n\n").next().unwrap_or_default();
    first.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// A whole number from `LEAST` to `MOST`.
pub(crate) fn whole<const LEAST: usize, const MOST: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (LEAST..=MOST).contains(&number) => Ok(number),
        _ if MOST == usize::MAX => Err(format!("not a whole number of at least {LEAST}")),
        _ => Err(format!("not a whole number from {LEAST} to {MOST}")),
    }
}

/// A number in a range, which is also given in words.
pub(crate) fn within<T: FromStr + Copy + Into<f64>>(
    text: &str,
    range: impl Fn(f64) -> bool,
    words: &str,
) -> Result<T, String> {
    match T::from_str(text) {
        Ok(number) if number.into().is_finite() && range(number.into()) => Ok(number),
        _ => Err(format!("not a number {words}")),
    }
}

pub(crate) fn positive<T: FromStr + Copy + Into<f64>>(text: &str) -> Result<T, String> {
    within(text, |x| x >= 0.0, "of at least 0")
}

pub(crate) fn above_zero<T: FromStr + Copy + Into<f64>>(text: &str) -> Result<T, String> {
    within(text, |x| x > 0.0, "above 0")
}
