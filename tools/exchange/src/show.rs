//! What a file holds, a line each.

use crate::model::{Feedback, Model, slots};
use std::fmt::Display;

pub(crate) fn facts(model: &Model, format: &str) -> String {
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
