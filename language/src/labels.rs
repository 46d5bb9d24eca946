//! Labelled lines: what a model is to say of a text, as the end of it.
//!
//! A line of the file is a label, a tab, a text. A model sees the text, a tab and the label behind it, and a line's end; only the label and the end are to be
//! predicted. Of ten lines the last is held out.
//!
//! ```
//! use attractor_language::labels::Lines;
//! use attractor_language::tokens::Tokens;
//!
//! let file = "warm\tthe sun\ncold\tthe snow\n".repeat(10);
//! let lines = Lines::new(&Tokens::bytes(), file.as_bytes(), 16)?;
//! assert_eq!((lines.labels().len(), lines.training().count(), lines.held_out().count()), (2, 18, 2));
//! # Ok::<(), attractor_language::labels::LabelError>(())
//! ```

use crate::exchange::ExchangeError;
use crate::pass::IGNORED;
use crate::tokens::Tokens;
use core::fmt;

/// Of so many lines the last is held out.
const HELD_OUT: usize = 10;

/// What is wrong with labelled lines.
#[derive(Debug)]
#[non_exhaustive]
pub enum LabelError {
    /// There is no tab in a line, or nothing before it.
    NoLabel {
        /// Its number, from 1.
        line: usize,
    },
    /// There are fewer than ten lines, or fewer than two labels.
    TooFew {
        /// How many lines.
        lines: usize,
        /// How many labels.
        labels: usize,
    },
    /// A label leaves no place for a text.
    TooLong {
        /// The label's line, from 1.
        line: usize,
        /// How many tokens it has.
        tokens: usize,
        /// How many tokens a context has.
        context: usize,
    },
    /// The tokens of a text.
    Tokens(ExchangeError),
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLabel { line } => write!(f, "line {line} has no label: a label, a tab, a text"),
            Self::TooFew { lines, labels } => {
                write!(f, "has {lines} lines of {labels} labels; there must be at least 10, and 2")
            }
            Self::TooLong { line, tokens, context } => {
                write!(
                    f,
                    "the label of line {line} has {tokens} tokens, and a context of {context} has no place for a text"
                )
            }
            Self::Tokens(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for LabelError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Tokens(error) => Some(error),
            _ => None,
        }
    }
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The tokens of its text.
    pub text: Vec<u32>,
    /// Which of the labels it has.
    pub label: usize,
}

/// Labelled lines, as tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    lines: Vec<Line>,
    /// A tab, the label, a line's end.
    labels: Vec<Vec<u32>>,
    context: usize,
}

impl Lines {
    /// The lines of a file, for a model of such a context. Empty lines are passed over.
    ///
    /// # Errors
    /// [`LabelError`].
    pub fn new(tokens: &Tokens, file: &[u8], context: usize) -> Result<Self, LabelError> {
        let encode = |text: &[u8]| tokens.encode(text).map_err(LabelError::Tokens);
        let (mut lines, mut names, mut labels) = (Vec::new(), Vec::<&[u8]>::new(), Vec::new());
        for (number, line) in file.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            let number = number + 1;
            let tab = line.iter().position(|byte| *byte == b'\t').filter(|tab| *tab > 0);
            let tab = tab.ok_or(LabelError::NoLabel { line: number })?;
            let (name, text) = (&line[..tab], &line[tab + 1..]);
            let label = match names.iter().position(|known| *known == name) {
                Some(label) => label,
                None => {
                    let label = encode(&[b"\t", name, b"\n"].concat())?;
                    if label.len() > context {
                        return Err(LabelError::TooLong { line: number, tokens: label.len(), context });
                    }
                    labels.push(label);
                    names.push(name);
                    names.len() - 1
                }
            };
            lines.push(Line { text: encode(text)?, label });
        }
        if lines.len() < HELD_OUT || labels.len() < 2 {
            return Err(LabelError::TooFew { lines: lines.len(), labels: labels.len() });
        }
        Ok(Self { lines, labels, context })
    }

    /// The labels: a tab, the label, a line's end.
    #[must_use]
    pub fn labels(&self) -> &[Vec<u32>] {
        &self.labels
    }

    /// Tokens of a sequence.
    #[must_use]
    pub const fn context(&self) -> usize {
        self.context
    }

    /// What is learnt from.
    pub fn training(&self) -> impl Iterator<Item = &Line> {
        let all = self.lines.iter().enumerate();
        all.filter(|(number, _)| number % HELD_OUT != HELD_OUT - 1).map(|(_, line)| line)
    }

    /// What is held out.
    pub fn held_out(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().skip(HELD_OUT - 1).step_by(HELD_OUT)
    }

    /// Puts a text and a label into a sequence, whose other targets are not counted. Of a text that is too long the end is taken.
    pub fn fill(&self, text: &[u32], label: usize, tokens: &mut [u32], targets: &mut [u32]) {
        let label = self.labels.get(label).map_or(&[][..], |label| label);
        let length = tokens.len().min(targets.len());
        // The last token of the label is predicted, and not read.
        let room = (length + 1).saturating_sub(label.len());
        let text = &text[text.len().saturating_sub(room)..];
        tokens.fill(0);
        targets.fill(IGNORED);
        let all = text.iter().chain(label);
        tokens.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
        // The tab stands there for whoever asks.
        for (target, from) in targets.iter_mut().skip(text.len()).zip(label.iter().skip(1)) {
            *target = *from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{IGNORED, LabelError, Lines};
    use crate::tokens::Tokens;

    fn lines(file: &str, context: usize) -> Result<Lines, LabelError> {
        Lines::new(&Tokens::bytes(), file.as_bytes(), context)
    }

    #[test]
    fn a_sequence_is_a_text_and_its_label() {
        let file: String = (0..20).map(|i| format!("{}\ttext {i}\r\n\n", ["yes", "n"][i % 2])).collect();
        let lines = lines(&file, 12).unwrap();
        assert_eq!(lines.labels(), [b"\tyes\n".map(u32::from).to_vec(), b"\tn\n".map(u32::from).to_vec()]);
        let held: Vec<_> = lines.held_out().map(|line| line.label).collect();
        assert_eq!((held, lines.training().count()), (vec![1, 1], 18));
        let show = |text: &[u8], label: usize| {
            let text: Vec<u32> = text.iter().map(|byte| u32::from(*byte)).collect();
            let (mut tokens, mut targets) = ([7; 12], [7; 12]);
            lines.fill(&text, label, &mut tokens, &mut targets);
            let show = |all: [u32; 12]| {
                all.map(|token| if token == IGNORED { '.' } else { char::from(token as u8) })
                    .iter()
                    .collect::<String>()
            };
            (show(tokens), show(targets))
        };
        assert_eq!(show(b"ab", 0), ("ab\tyes\n\0\0\0\0\0".into(), "..yes\n......".into()));
        assert_eq!(show(b"0123456789", 0), ("23456789\tyes".into(), "........yes\n".into()));
        assert_eq!(show(b"", 1), ("\tn\n\0\0\0\0\0\0\0\0\0".into(), "n\n..........".into()));
    }

    #[test]
    fn what_has_no_label_is_refused() {
        let says = |file: &str, context: usize| lines(file, context).unwrap_err().to_string();
        assert_eq!(says("a\tb\nc", 8), "line 2 has no label: a label, a tab, a text");
        assert_eq!(says("a\tb\n\n\tc", 8), "line 3 has no label: a label, a tab, a text");
        assert_eq!(says("a\tb\nc\td\n", 8), "has 2 lines of 2 labels; there must be at least 10, and 2");
        assert_eq!(
            says(&"a\tb\n".repeat(10), 8),
            "has 10 lines of 1 labels; there must be at least 10, and 2"
        );
        let long = says("label\tb\n", 6);
        assert_eq!(long, "the label of line 1 has 7 tokens, and a context of 6 has no place for a text");
        assert!(lines(&"label\tb\nother\tb\n".repeat(5), 7).is_ok());
    }
}
