//! Proofs that sweeps converge.

use crate::cli::{Certify, Limit};
use crate::files::{about, other, writable, write};
use crate::net::{load, with_floats};
use attractor::dynamic::{DynCertificate, DynError, DynNetwork};
use attractor::kernel::Scalar;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

const REFUSAL: &str =
    "a file of integers or of 16 bits has no certificate of floats: certify the network it was made of";

pub(crate) fn certify(arguments: &Certify) -> Result<(), String> {
    let Certify { model, to, error, input } = arguments;
    let to = target(model, to.as_ref())?;
    let (net, shape) = load(model)?;
    if shape.scalar() == "bf16" {
        return Err(about(model, REFUSAL));
    }
    with_floats!(&net, (net, _) => certified(net, model, to, *error, *input), else about(model, REFUSAL))
}

fn certified<T: Scalar + Debug>(
    net: &DynNetwork<T>,
    model: &Path,
    to: &Path,
    error: f64,
    input: f64,
) -> Result<(), String> {
    let failed = |error: DynError<T>| about(model, format!("{error} (`limit` makes a network that has one)"));
    let certificate = net.certify().map_err(failed)?;
    // Found and checked are two things.
    certificate.verify(net).map_err(failed)?;
    let bytes = net.to_bytes(Some(&certificate)).map_err(|error| about(model, error))?;
    write(to, &bytes)?;
    let sweeps = certificate.sweeps(T::from_f64(error), T::from_f64(input));
    let sweeps = sweeps.map_or("unknown".to_owned(), |sweeps| sweeps.to_string());
    let mut lines = facts(&certificate);
    lines.push(format!("sweeps to an error of {error} for inputs up to {input}: {sweeps}"));
    lines.push(format!("bytes: {}", bytes.len()));
    println!("{}", lines.join("\n"));
    Ok(())
}

pub(crate) fn limit(arguments: &Limit) -> Result<(), String> {
    let Limit { model, rate, to } = arguments;
    let to = target(model, to.as_ref())?;
    let (net, shape) = load(model)?;
    if shape.scalar() == "bf16" {
        return Err(about(model, REFUSAL));
    }
    with_floats!(net, (net, _) => limited(net, model, to, *rate), else about(model, REFUSAL))
}

fn limited<T: Scalar + Debug>(
    mut net: DynNetwork<T>,
    model: &Path,
    to: &Path,
    rate: f64,
) -> Result<(), String> {
    // The factor is that of any weight that was not 0; of tied feedback W itself is smaller.
    let before = net.params().to_vec();
    let certificate = net.limit_rate(T::from_f64(rate)).map_err(|error| about(model, error))?;
    certificate.verify(&net).map_err(|error| about(model, error))?;
    let largest = |params: &[T], changed: &dyn Fn(usize) -> bool| {
        let each = params.iter().enumerate().filter(|(at, _)| changed(*at));
        each.fold(0.0, |most: f64, (_, weight)| most.max(weight.to_f64().abs()))
    };
    let changed = |at: usize| before[at] != net.params()[at];
    let (was, is) = (largest(&before, &changed), largest(net.params(), &changed));
    let bytes = net.to_bytes(Some(&certificate)).map_err(|error| about(model, error))?;
    write(to, &bytes)?;
    let mut lines = vec![format!("feedback multiplied by: {:.6}", if was > 0.0 { is / was } else { 1.0 })];
    lines.extend(facts(&certificate));
    lines.push(format!("bytes: {}", bytes.len()));
    println!("{}", lines.join("\n"));
    Ok(())
}

/// What a certificate says.
pub(crate) fn facts<T: Scalar>(certificate: &DynCertificate<T>) -> Vec<String> {
    vec![format!("rate: {:.6}", certificate.rate().to_f64())]
}

/// The file to write: another one, or the one that is read.
fn target<'a>(model: &'a Path, to: Option<&'a PathBuf>) -> Result<&'a Path, String> {
    let to = match to {
        Some(to) => {
            other(model, to)?;
            to
        }
        None => model,
    };
    writable(to)?;
    Ok(to)
}
