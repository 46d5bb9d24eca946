//! How good a network is.

use crate::cli::{Data, Evaluate};
use crate::files::{about, other, writable, write};
use crate::net::{answering, load};
use crate::scaling::Scaling;
use crate::score::Score;
use crate::table::Table;
use std::path::Path;

pub(crate) fn evaluate(arguments: &Evaluate) -> Result<(), String> {
    let Evaluate { model, data, outputs, solve } = arguments;
    if let Some(to) = outputs {
        other(model, to)?;
        other(&data.data, to)?;
        writable(to)?;
    }
    let (net, shape) = load(model)?;
    let (table, score) = answering(&net, |net| {
        let table = table(model, data, net.inputs(), Some(net.outputs()))?;
        let score = Score::of(net, &table, 0..table.rows(), solve.into());
        Ok::<_, String>((table, score.map_err(|error| about(&data.data, error))?))
    })?;
    if let Some(to) = outputs {
        let line =
            |outputs: &Vec<f64>| outputs.iter().map(|output| format!("{output:?}")).collect::<Vec<_>>();
        let text: String = score.outputs.iter().map(|row| line(row).join(",") + "\n").collect();
        write(to, text.as_bytes())?;
    }
    let lines = [format!("network: {shape}"), format!("rows: {}", table.rows())];
    let lines: Vec<String> = lines.into_iter().chain(score.lines(&table, "")).collect();
    println!("{}", lines.join("\n"));
    Ok(())
}

/// A table that goes with a network of so many inputs and, if these matter, outputs.
pub(crate) fn table(
    model: &Path,
    data: &Data,
    inputs: usize,
    outputs: Option<usize>,
) -> Result<Table, String> {
    let mut table = data.columns.read(&data.data)?;
    if table.columns != inputs {
        let error = format!("has {} inputs a row, and {} takes {inputs}", table.columns, model.display());
        return Err(about(&data.data, error));
    }
    if let Some(outputs) = outputs {
        let found = table.outputs();
        // Of classes that are numbers not all have to be there.
        let fits = if data.columns.counts_classes(&table) { found <= outputs } else { found == outputs };
        if !fits {
            let what = if data.columns.regression { "numbers to learn" } else { "classes" };
            let hint =
                if data.columns.regression { "`--targets`" } else { "`--classes` has all in their order" };
            let error = format!("has {found} {what}, and {} has {outputs} outputs ({hint})", model.display());
            return Err(about(&data.data, error));
        }
    }
    if let Some(scaling) = &data.scaling {
        Scaling::apply_file(scaling, &mut table)?;
    }
    Ok(table)
}
