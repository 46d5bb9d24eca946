//! What a file holds, a line each.

use crate::certify;
use crate::cli::Show;
use crate::files::{about, read};
use crate::model::{Feedback, Model, slots};
use crate::net::{load, with_floats};
use crate::tensors::{self, Wanted};
use std::fmt::Display;
use std::path::Path;

pub(crate) fn show(Show { from }: &Show) -> Result<(), String> {
    let bytes = read(from)?;
    let facts = if Model::is_one(&bytes) {
        let model = Model::from_bytes(&bytes).map_err(|error| about(from, error))?;
        let mut text = facts(&model, "attr");
        let sizes = [
            format!("units: {}", model.shape.units()),
            format!("weight bytes: {}", model.parameters.len()),
            format!("file bytes: {}", bytes.len()),
        ];
        for line in sizes.into_iter().chain(proof(from)?) {
            text.push('\n');
            text.push_str(&line);
        }
        Ok(text)
    } else {
        tensors::import(&bytes, &Wanted::default()).map(|model| facts(&model, "safetensors"))
    };
    println!("{}", facts.map_err(|error| about(from, error))?);
    Ok(())
}

/// What the certificate in a file says, and whether it holds for the weights.
fn proof(from: &Path) -> Result<Vec<String>, String> {
    let (net, _) = load(from)?;
    let lines = with_floats!(
        &net,
        (net, Some(certificate)) => {
            let holds = certificate.verify(net).map_or_else(|error| format!("no, {error}"), |()| "yes".to_owned());
            Ok([certify::facts(certificate), vec![format!("proved: {holds}")]].concat())
        },
        else ""
    );
    Ok(lines.unwrap_or_default())
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
