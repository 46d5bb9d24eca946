//! The command line.

use crate::model::{Feedback, activation, scalar};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Feedback neural networks that settle to a fixed point: trains, examines and converts them.
///
/// Files are written whole or not at all. The exit code is 1 for a failure, 2 for a command line that makes no sense.
#[derive(Parser)]
#[command(name = "attractor", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Import(Import),
    Export(Export),
    Show(Show),
}

/// Makes a model file of PyTorch's tensors.
///
/// Tensors, for every layer L from 1:
///   layers.L.weight    width x units below
///   layers.L.feedback  width x units that are fed back, the nearest layer first; none in the last layer and in plain networks
///   layers.L.bias      width
///
/// What the file says as attractor.feedback, attractor.hidden and attractor.output goes before a default, and an option before both.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Import {
    /// The tensors, as safetensors.
    #[arg(value_name = "MODEL.safetensors")]
    pub(crate) from: PathBuf,
    /// The file to write.
    #[arg(long, value_name = "MODEL.attr")]
    pub(crate) to: PathBuf,
    /// adjacent, skip, dense, tied:PERCENT or feedforward [default: adjacent if there are feedback tensors, else feedforward]
    #[arg(long, value_name = "FORM", value_parser = Feedback::parse)]
    pub(crate) feedback: Option<Feedback>,
    /// Activation of the hidden layers: identity, tanh, sigmoid, relu, hard-tanh or leaky-relu [default: tanh]
    #[arg(long, value_name = "NAME", value_parser = activation)]
    pub(crate) hidden: Option<&'static str>,
    /// Activation of the last layer [default: identity]
    #[arg(long, value_name = "NAME", value_parser = activation)]
    pub(crate) output: Option<&'static str>,
    /// Rounds or widens to f32 or f64 [default: what the tensors have]
    #[arg(long, value_name = "SCALAR", value_parser = scalar)]
    pub(crate) scalar: Option<&'static str>,
}

/// Makes PyTorch's tensors of a model file.
#[derive(Args)]
pub(crate) struct Export {
    #[arg(value_name = "MODEL.attr")]
    pub(crate) from: PathBuf,
    /// The file to write.
    #[arg(long, value_name = "MODEL.safetensors")]
    pub(crate) to: PathBuf,
}

/// Says what a file holds: shape, sizes, certificate.
#[derive(Args)]
pub(crate) struct Show {
    #[arg(value_name = "MODEL.attr|MODEL.safetensors")]
    pub(crate) from: PathBuf,
}

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
