//! Narrower networks: units that are worth little become their mean.

use crate::cli::Prune;
use crate::evaluate::table;
use crate::files::{about, other, writable, write};
use crate::net::{Answers, Floats, from_layers, layers, load, with_floats};
use crate::scaling::Layer;
use attractor::Shape;
use attractor::dynamic::DynNetwork;
use attractor::kernel::Scalar;
use std::fmt::Debug;
use std::ops::Range;

pub(crate) fn prune(arguments: &Prune) -> Result<(), String> {
    let Prune { model, data, to, .. } = arguments;
    other(model, to)?;
    other(&data.data, to)?;
    writable(to)?;
    let (net, shape) = load(model)?;
    let bytes = with_floats!(
        &net, (net, _) => pruned(net, &shape, arguments),
        else about(model, "is of integers: prune the network it was made of")
    )?;
    write(to, &bytes)?;
    println!("bytes: {}", bytes.len());
    Ok(())
}

fn pruned<T: Scalar + Debug>(
    net: &DynNetwork<T>,
    shape: &Shape,
    arguments: &Prune,
) -> Result<Vec<u8>, String> {
    let Prune { model, data, widths, solve, .. } = arguments;
    let old: Vec<usize> = shape.widths().iter().map(|width| *width as usize).collect();
    let hidden = &old[1..old.len() - 1];
    if hidden.len() != widths.len() || widths.iter().zip(hidden).any(|(new, old)| new > old) {
        let hidden: Vec<String> = hidden.iter().map(usize::to_string).collect();
        let error = format!(
            "has hidden layers of {}: `--widths` has as many, each at most as wide",
            if hidden.is_empty() { "no number".to_owned() } else { hidden.join(",") }
        );
        return Err(about(model, error));
    }
    let new: Vec<usize> =
        [old[0]].into_iter().chain(widths.iter().copied()).chain(old.last().copied()).collect();
    let scalar = if shape.scalar() == "bf16" { "f32" } else { shape.scalar() };
    let narrow = Shape::new(&new, scalar, shape.feedback(), shape.percent(), shape.hidden(), shape.output())
        .ok_or_else(|| about(model, "cannot have these widths"))?;

    let table = table(model, data, net.inputs(), None)?;
    let mut statistics = vec![(0.0, 0.0); net.units()];
    let mut floats = Floats::new(net);
    for row in 0..table.rows() {
        floats
            .answer(table.row(row), solve.into())
            .map_err(|error| about(&data.data, format!("row {}: {error}", row + 1)))?;
        // Welford's recurrence, whose terms stay as small as what they are the mean of.
        let share = 1.0 / (row + 1) as f64;
        for ((mean, variance), h) in statistics.iter_mut().zip(floats.states()) {
            let before = h.to_f64() - *mean;
            *mean += before * share;
            *variance += (before * (h.to_f64() - *mean) - *variance) * share;
        }
    }
    let layers = layers(net);
    let kept = kept(shape, &layers, &statistics, &new);
    let means: Vec<f64> = statistics.iter().map(|(mean, _)| *mean).collect();
    let net = from_layers::<T>(narrow, &narrowed(shape, &layers, &kept, &means))
        .map_err(|error| about(model, error))?;
    net.to_bytes::<Vec<T>>(None).map_err(|error| about(model, error))
}

/// The units of a layer, counted from 1, among all units.
fn units(shape: &Shape, l: usize) -> Range<usize> {
    let widths = shape.widths();
    let first: u32 = widths[1..l].iter().sum();
    first as usize..(first + widths[l]) as usize
}

/// The units above that layer `l` reads through its U, the nearest first.
fn above(shape: &Shape, l: usize) -> Range<usize> {
    let first = units(shape, l).end;
    first..first + shape.feedback_units(l) as usize
}

/// How strongly W feeds back.
fn tied(shape: &Shape) -> f64 {
    shape.percent() as f64 / 100.0
}

/// Of every unit whether it stays: of every layer those whose variance times the squares of all weights that multiply them is largest, of equals
/// the first.
fn kept(shape: &Shape, layers: &[Layer], statistics: &[(f64, f64)], widths: &[usize]) -> Vec<bool> {
    let mut squares = vec![0.0; statistics.len()];
    for (l, layer) in (1..).zip(layers) {
        let rows = layer.b.len();
        let below = if l > 1 { units(shape, l - 1) } else { 0..0 };
        for (unit, column) in below.clone().zip(layer.w.chunks_exact(rows)) {
            squares[unit] += column.iter().map(|w| w * w).sum::<f64>();
        }
        for (unit, column) in above(shape, l).zip(layer.u.chunks_exact(rows)) {
            squares[unit] += column.iter().map(|u| u * u).sum::<f64>();
        }
        // Through k W^T the units of this layer are read by those below.
        for column in layer.w.chunks_exact(rows).take(below.len()) {
            for (unit, w) in units(shape, l).zip(column) {
                squares[unit] += (tied(shape) * w).powi(2);
            }
        }
    }
    let worth = |unit: usize| statistics[unit].1 * squares[unit];
    let mut kept = vec![false; statistics.len()];
    for (l, width) in widths.iter().enumerate().skip(1) {
        let mut order: Vec<usize> = units(shape, l).collect();
        // Stable: of equals the first ones come first.
        order.sort_by(|a, b| worth(*b).total_cmp(&worth(*a)));
        for unit in order.into_iter().take(*width) {
            kept[unit] = true;
        }
    }
    kept
}

/// The layers of the units that stay; weight times mean of the others goes into the biases.
fn narrowed(shape: &Shape, layers: &[Layer], kept: &[bool], means: &[f64]) -> Vec<Layer> {
    let narrow = |(l, layer): (usize, &Layer)| {
        let rows = layer.b.len();
        let own: Vec<bool> = kept[units(shape, l)].to_vec();
        let mut b = layer.b.clone();
        let mut take = |matrix: &[f64], columns: Option<Range<usize>>| {
            let mut taken = Vec::new();
            for (at, column) in matrix.chunks_exact(rows).enumerate() {
                match columns.as_ref().map(|columns| columns.start + at).filter(|unit| !kept[*unit]) {
                    Some(unit) => b.iter_mut().zip(column).for_each(|(b, weight)| *b += weight * means[unit]),
                    None => taken.extend(column.iter().zip(&own).filter(|(_, own)| **own).map(|(w, _)| *w)),
                }
            }
            taken
        };
        let w = take(&layer.w, (l > 1).then(|| units(shape, l - 1)));
        let u = take(&layer.u, Some(above(shape, l)));
        if let (true, Some(next)) = (shape.percent() > 0, layers.get(l)) {
            let wide = next.b.len();
            for (row, unit) in units(shape, l + 1).enumerate().filter(|(_, unit)| !kept[*unit]) {
                for (column, b) in b.iter_mut().enumerate() {
                    *b += tied(shape) * next.w[column * wide + row] * means[unit];
                }
            }
        }
        let b = b.into_iter().zip(&own).filter(|(_, own)| **own).map(|(b, _)| b).collect();
        Layer { w, u, b }
    };
    (1..).zip(layers).map(narrow).collect()
}
