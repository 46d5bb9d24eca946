//! A network as it is exchanged: its shape and its scalars, whatever their number.

use attractor::{Shape, file};
use std::fmt;

/// Names of the library.
const SCALARS: [&str; 2] = ["f32", "f64"];
const ACTIVATIONS: [&str; 6] = ["identity", "tanh", "sigmoid", "relu", "hard tanh", "leaky relu"];

/// A form of feedback: the library's name of it, and the strength of tied feedback in percent, 0 for other forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Feedback {
    pub(crate) name: &'static str,
    pub(crate) percent: usize,
}

impl Feedback {
    pub(crate) const FEEDFORWARD: Self = Self { name: "feedforward", percent: 0 };
    pub(crate) const ADJACENT: Self = Self { name: "adjacent", percent: 0 };
    pub(crate) const SKIP: Self = Self { name: "skip", percent: 0 };
    pub(crate) const DENSE: Self = Self { name: "dense", percent: 0 };

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let untied = [Self::FEEDFORWARD, Self::ADJACENT, Self::SKIP, Self::DENSE];
        if let Some(form) = untied.into_iter().find(|form| form.name == text) {
            return Ok(form);
        }
        match text.strip_prefix("tied:").map(str::parse) {
            Some(Ok(percent @ 1..=100)) => Ok(Self { name: "tied", percent }),
            Some(_) => Err(format!(
                "tied feedback has a strength of 1 to 100 percent, such as tied:50, not `{text}`"
            )),
            None => {
                Err(format!("feedback is adjacent, skip, dense, tied:PERCENT or feedforward, not `{text}`"))
            }
        }
    }

    pub(crate) fn of(shape: &Shape) -> Self {
        Self { name: shape.feedback(), percent: shape.percent() }
    }
}

impl fmt::Display for Feedback {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.percent {
            0 => formatter.write_str(self.name),
            percent => write!(formatter, "{}:{percent}", self.name),
        }
    }
}

/// The library's name of an activation. On a command line `hard-tanh` needs no quotes.
pub(crate) fn activation(text: &str) -> Result<&'static str, String> {
    let name = ACTIVATIONS.into_iter().find(|name| *name == text || name.replace(' ', "-") == text);
    name.ok_or_else(|| {
        format!("an activation is identity, tanh, sigmoid, relu, hard-tanh or leaky-relu, not `{text}`")
    })
}

pub(crate) fn scalar(text: &str) -> Result<&'static str, String> {
    let name = SCALARS.into_iter().find(|name| *name == text);
    name.ok_or_else(|| format!("a scalar is f32 or f64, not `{text}`"))
}

/// The numbers of form, hidden and output activation in a model file, and in C.
pub(crate) fn codes(shape: &Shape) -> [usize; 3] {
    let forms = ["feedforward", "adjacent", "dense", "tied", "skip"];
    let place =
        |names: &[&str], name: &str| names.iter().position(|other| *other == name).unwrap_or(names.len());
    [
        place(&forms, shape.feedback()),
        place(&ACTIVATIONS, shape.hidden()),
        place(&ACTIVATIONS, shape.output()),
    ]
}

pub(crate) struct Model {
    pub(crate) shape: Shape,
    /// Layer after layer W, U, b, column after column, little-endian.
    pub(crate) parameters: Vec<u8>,
    pub(crate) certified: bool,
}

impl Model {
    /// Whether the bytes begin as a model file does, whole or not.
    pub(crate) fn is_one(bytes: &[u8]) -> bool {
        !matches!(file::read(bytes), Err(file::FileError::Magic))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let contents = file::read(bytes).map_err(|error| error.to_string())?;
        let start = contents.params_start();
        let parameters = bytes.get(start..start + contents.params_bytes());
        Ok(Self {
            shape: *contents.shape(),
            parameters: parameters.ok_or("the parameters are cut")?.to_vec(),
            certified: contents.is_certified(),
        })
    }

    /// The model file, without a certificate.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        // The header is 192 bytes at most.
        let mut bytes = vec![0; 192 + self.parameters.len()];
        let length = file::write(&self.shape, &self.parameters, None, &mut bytes, false);
        bytes.truncate(length.map_err(|error| error.to_string())?);
        Ok(bytes)
    }
}

/// One tensor: its name, its rows, and its columns if it is a matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) rows: usize,
    pub(crate) columns: Option<usize>,
}

impl Slot {
    pub(crate) fn shape(&self) -> Vec<usize> {
        [Some(self.rows), self.columns].into_iter().flatten().collect()
    }
}

/// The tensors of a network in the order of its model file.
pub(crate) fn slots(shape: &Shape) -> Vec<Slot> {
    let mut slots = Vec::new();
    for (l, pair) in (1..).zip(shape.widths().windows(2)) {
        let [below, rows] = [pair[0] as usize, pair[1] as usize];
        let fed_back = usize::try_from(shape.feedback_units(l)).unwrap_or(usize::MAX);
        let mut add = |kind, columns| slots.push(Slot { name: format!("layers.{l}.{kind}"), rows, columns });
        add("weight", Some(below));
        if fed_back > 0 {
            add("feedback", Some(fed_back));
        }
        add("bias", None);
    }
    slots
}
