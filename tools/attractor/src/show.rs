//! What a file holds, a line each.

use crate::cli::Show;
use crate::files::{about, read};
use crate::model::{Feedback, Model, slots};
use crate::tensors::{self, Wanted};
use std::fmt::Display;

pub(crate) fn show(Show { from }: &Show) -> Result<(), String> {
    let bytes = read(from)?;
    let facts = if Model::is_one(&bytes) {
        Model::from_bytes(&bytes).map(|model| facts(&model, "attr"))
    } else {
        tensors::import(&bytes, &Wanted::default()).map(|model| facts(&model, "safetensors"))
    };
    println!("{}", facts.map_err(|error| about(from, error))?);
    Ok(())
}

fn facts(model: &Model, format: &str) -> String {
    let shape = &model.shape;
    let mut lines = vec![
        format!("format: {format}"),
        format!("widths: {}", joined(shape.widths())),
        format!("feedback: {}", Feedback::of(shape)),
        format!("hidden: {}", shape.hidden()),
        format!("output: {}", shape.output()),
        format!("scalar: {}", shape.scalar()),
        format!("parameters: {}", shape.params()),
        format!("certificate: {}", if model.certified { "yes" } else { "no" }),
    ];
    lines.extend(slots(shape).iter().map(|slot| format!("{}: {}", slot.name, joined(&slot.shape()))));
    lines.join("\n")
}

fn joined(numbers: &[impl Display]) -> String {
    numbers.iter().map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
}
