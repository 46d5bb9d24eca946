//! Tensors by name, as PyTorch has them, row after row.

use crate::cli::Import;
use crate::model::{self, Feedback, Model, Slot, activation, slots};
use crate::twice;
use attractor::Shape;
use attractor::network::MAX_DEPTH;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

const FEEDBACK: &str = "attractor.feedback";
const HIDDEN: &str = "attractor.hidden";
const OUTPUT: &str = "attractor.output";

/// What the command line wants an imported network to be.
#[derive(Default)]
pub(crate) struct Wanted {
    feedback: Option<Feedback>,
    hidden: Option<&'static str>,
    output: Option<&'static str>,
    scalar: Option<&'static str>,
}

impl From<&Import> for Wanted {
    fn from(import: &Import) -> Self {
        let &Import { feedback, hidden, output, scalar, .. } = import;
        Self { feedback, hidden, output, scalar }
    }
}

/// What tensors are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scalar {
    F32,
    F64,
}

impl Scalar {
    fn of(slot: &Slot, tensor: &TensorView<'_>) -> Result<Self, String> {
        match tensor.dtype() {
            Dtype::F32 => Ok(Self::F32),
            Dtype::F64 => Ok(Self::F64),
            other => Err(format!("tensor `{}` is {other} and must be F32 or F64", slot.name)),
        }
    }
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// The network in a safetensors file.
pub(crate) fn import(bytes: &[u8], wanted: &Wanted) -> Result<Model, String> {
    let file =
        SafeTensors::deserialize(bytes).map_err(|error| format!("this is no safetensors file: {error}"))?;
    let header = || {
        let (length, rest) = bytes.split_first_chunk()?;
        rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)
    };
    let header = header().ok_or("the header is cut off")?;
    twice::refuse(header).map_err(|error| format!("the header: {error}"))?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let said = |key| header.metadata().as_ref().and_then(|metadata| metadata.get(key));
    for key in header.metadata().iter().flat_map(|metadata| metadata.keys()) {
        // Other programs may say what they like, but a misspelt word of ours must not be overlooked.
        if key.starts_with("attractor.") && ![FEEDBACK, HIDDEN, OUTPUT].contains(&key.as_str()) {
            return Err(format!("metadata `{key}` is unknown"));
        }
    }

    let depth = depth(&file)?;
    let has_feedback = file.names().iter().any(|name| name.ends_with(".feedback"));
    let feedback = choose(wanted.feedback, said(FEEDBACK), FEEDBACK, Feedback::parse)?
        .unwrap_or(if has_feedback { Feedback::ADJACENT } else { Feedback::FEEDFORWARD });
    let hidden = choose(wanted.hidden, said(HIDDEN), HIDDEN, activation)?;
    let output = choose(wanted.output, said(OUTPUT), OUTPUT, activation)?;

    let widths = widths(&file, depth)?;
    let (hidden, output) = (hidden.unwrap_or("tanh"), output.unwrap_or("identity"));
    let shape = |scalar| {
        Shape::new(&widths, scalar, feedback.name, feedback.percent, hidden, output)
            .ok_or_else(|| format!("there is no network with widths {}", by(&widths)))
    };
    // Names and shapes do not depend on the scalar.
    let slots = slots(&shape("f32")?);
    // W first: a U of a wrong shape may only be a sign of one.
    for slot in slots.iter().filter(|slot| slot.name.ends_with(".weight")) {
        find(&file, slot)?;
    }
    let mut tensors = Vec::new();
    for slot in &slots {
        tensors.push((slot, find(&file, slot)?));
    }
    let mut names = file.names();
    names.sort_unstable();
    if let Some(name) = names.iter().find(|name| slots.iter().all(|slot| slot.name != **name)) {
        return Err(format!(
            "tensor `{name}` has no place in a network of {depth} layers with {feedback} feedback"
        ));
    }

    let mut found: Option<(&Slot, Scalar)> = None;
    for (slot, tensor) in &tensors {
        let scalar = Scalar::of(slot, tensor)?;
        match found {
            Some((other, of_other)) if of_other != scalar && wanted.scalar.is_none() => {
                return Err(format!(
                    "tensor `{}` is {scalar:?}, but `{}` is {of_other:?}; `--scalar` rounds or widens",
                    slot.name, other.name
                ));
            }
            Some(_) => {}
            None => found = Some((slot, scalar)),
        }
    }
    let to = match (wanted.scalar, found) {
        (Some("f64"), _) | (None, Some((_, Scalar::F64))) => Scalar::F64,
        _ => Scalar::F32,
    };

    let mut parameters = Vec::new();
    for (slot, tensor) in &tensors {
        let from = Scalar::of(slot, tensor)?;
        let columns = transposed(tensor.data(), slot.rows, slot.columns.unwrap_or(1), from.bytes());
        convert(slot, from, &columns, to, &mut parameters)?;
    }
    Ok(Model { shape: shape(to.name())?, parameters, certified: false })
}

/// The safetensors file of a network.
pub(crate) fn export(model: &Model) -> Result<Vec<u8>, String> {
    let shape = &model.shape;
    model::scalar(shape.scalar())
        .map_err(|_| format!("a network of {} is rounded: export the one it was made of", shape.scalar()))?;
    let (size, dtype) = (shape.scalar_bytes(), if shape.scalar() == "f64" { Dtype::F64 } else { Dtype::F32 });
    let mut rest = model.parameters.as_slice();
    let mut tensors = Vec::new();
    for slot in slots(shape) {
        let (columns, after) = rest
            .split_at_checked(slot.shape().iter().product::<usize>().saturating_mul(size))
            .ok_or_else(|| format!("the parameters end before `{}`", slot.name))?;
        rest = after;
        // What is column after column is the transpose row after row.
        tensors.push((slot.clone(), transposed(columns, slot.columns.unwrap_or(1), slot.rows, size)));
    }
    if !rest.is_empty() {
        return Err(format!("{} bytes follow the last parameter", rest.len()));
    }
    let views = tensors.iter().map(|(slot, rows)| {
        TensorView::new(dtype, slot.shape(), rows).map(|view| (slot.name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let metadata = [
        (FEEDBACK, Feedback::of(shape).to_string()),
        (HIDDEN, shape.hidden().to_owned()),
        (OUTPUT, shape.output().to_owned()),
    ];
    let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    safetensors::serialize(views, Some(metadata)).map_err(|error| error.to_string())
}

/// What an option wants, or else the file.
fn choose<T>(
    wanted: Option<T>,
    said: Option<&String>,
    key: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    match (wanted, said) {
        (Some(wanted), _) => Ok(Some(wanted)),
        (None, Some(text)) => parse(text).map(Some).map_err(|error| format!("metadata `{key}`: {error}")),
        (None, None) => Ok(None),
    }
}

/// The last layer there is a tensor of.
fn depth(file: &SafeTensors<'_>) -> Result<usize, String> {
    let mut names = file.names();
    names.sort_unstable();
    let mut depth = 0;
    for name in names {
        let layer = name.strip_prefix("layers.").and_then(|rest| rest.split_once('.'));
        let Some((number, "weight" | "feedback" | "bias")) = layer else {
            return Err(format!(
                "tensor `{name}` is unknown: names are layers.L.weight, layers.L.feedback and layers.L.bias"
            ));
        };
        match number.parse::<usize>() {
            Ok(l) if (1..=MAX_DEPTH).contains(&l) && number == l.to_string() => depth = depth.max(l),
            _ => return Err(format!("tensor `{name}` is unknown: layers count from 1 to {MAX_DEPTH}")),
        }
    }
    if depth == 0 { Err("there are no tensors".to_owned()) } else { Ok(depth) }
}

/// The widths of all layers, inputs first: as many units as numbers in b, for a matrix may be the transpose of what it
/// should be.
fn widths(file: &SafeTensors<'_>, depth: usize) -> Result<Vec<usize>, String> {
    let tensor = |name: &str| file.tensor(name).map_err(|_| format!("tensor `{name}` is missing"));
    let some = |name: &str, shape: &[usize]| {
        let none = shape.contains(&0);
        if none {
            Err(format!("tensor `{name}` is {}: a layer has at least one unit", by(shape)))
        } else {
            Ok(())
        }
    };
    let mut widths = Vec::new();
    for l in 1..=depth {
        if l == 1 {
            let name = "layers.1.weight";
            let tensor = tensor(name)?;
            let &[_, inputs] = tensor.shape() else {
                return Err(format!("tensor `{name}` is {} and must be width x inputs", by(tensor.shape())));
            };
            some(name, tensor.shape())?;
            widths.push(inputs);
        }
        let name = format!("layers.{l}.bias");
        let tensor = tensor(&name)?;
        let &[width] = tensor.shape() else {
            return Err(format!("tensor `{name}` is {} and must be a row of numbers", by(tensor.shape())));
        };
        some(&name, tensor.shape())?;
        widths.push(width);
    }
    Ok(widths)
}

/// The tensor for this place.
fn find<'bytes>(file: &SafeTensors<'bytes>, slot: &Slot) -> Result<TensorView<'bytes>, String> {
    let (name, expected) = (&slot.name, slot.shape());
    let tensor =
        file.tensor(name).map_err(|_| format!("tensor `{name}`, which is {}, is missing", by(&expected)))?;
    if tensor.shape() == expected {
        Ok(tensor)
    } else {
        Err(format!("tensor `{name}` is {} and must be {}", by(tensor.shape()), by(&expected)))
    }
}

fn by(shape: &[usize]) -> String {
    match shape {
        [] => "a single number".to_owned(),
        _ => shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x "),
    }
}

/// A matrix row after row, column after column.
fn transposed(bytes: &[u8], rows: usize, columns: usize, size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for column in 0..columns {
        for row in 0..rows {
            let at = (row * columns + column) * size;
            out.extend_from_slice(&bytes[at..at + size]);
        }
    }
    out
}

/// Adds scalars to the parameters, all of them finite, as they are or as another type.
fn convert(slot: &Slot, from: Scalar, bytes: &[u8], to: Scalar, out: &mut Vec<u8>) -> Result<(), String> {
    let place = |i: usize| match slot.columns {
        Some(_) => format!("[{}, {}]", i % slot.rows, i / slot.rows),
        None => format!("[{i}]"),
    };
    for (i, scalar) in bytes.chunks_exact(from.bytes()).enumerate() {
        let number = match *scalar {
            [a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => unreachable!("a scalar has 4 or 8 bytes"),
        };
        if !number.is_finite() {
            return Err(format!("tensor `{}` has {number} at {}: weights are finite", slot.name, place(i)));
        }
        let rounded = number as f32;
        match (from, to) {
            (Scalar::F32, Scalar::F64) => out.extend(number.to_le_bytes()),
            (Scalar::F64, Scalar::F32) if rounded.is_finite() => out.extend(rounded.to_le_bytes()),
            (Scalar::F64, Scalar::F32) => {
                return Err(format!(
                    "tensor `{}` has {number:e} at {}, too large for f32",
                    slot.name,
                    place(i)
                ));
            }
            _ => out.extend(scalar),
        }
    }
    Ok(())
}
