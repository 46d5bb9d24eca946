//! The command line.

use crate::model::{Feedback, activation, scalar};
use crate::net::Solve;
use crate::options::{above_zero, positive, whole, within};
use crate::table::{Last, Reading, Table, Targets};
use clap::{Args, Parser, Subcommand, ValueEnum};
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
    Train(Box<Train>),
    Evaluate(Evaluate),
    Show(Show),
    Certify(Certify),
    Limit(Limit),
    Quantise(Quantise),
    Prune(Prune),
    Import(Import),
    Export(Export),
    Codegen(Codegen),
}

/// Learns a table of numbers, and writes a model file.
///
/// Of a CSV file the last column is the class: an integer from 0, or a name; then classes are numbered in the order of their names. A first line
/// without numbers has the names of the columns. With --regression the last columns are numbers to learn. An IDX file, such as MNIST's, has images,
/// and --labels their labels.
///
/// Inputs are standardised, and numbers to learn too (unless feedback is tied or the output has an activation). The network in the file takes and
/// gives them as they are. It is held to a rate at which sweeps converge. Lines of `name: value` on standard output say what came of it.
#[derive(Args)]
pub(crate) struct Train {
    /// The table: CSV, or IDX images.
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,
    /// The file to write.
    #[arg(long, value_name = "MODEL.attr")]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) columns: Columns,

    /// Widths of the hidden layers
    #[arg(long, value_name = "N,N,..", value_delimiter = ',', default_value = "32,16", value_parser = whole::<1, 1_000_000>, help_heading = "Network")]
    pub(crate) widths: Vec<usize>,
    /// adjacent, skip, dense, tied:PERCENT or feedforward
    #[arg(long, value_name = "FORM", default_value = "adjacent", value_parser = Feedback::parse, help_heading = "Network")]
    pub(crate) feedback: Feedback,
    /// Activation of the hidden layers: identity, tanh, sigmoid, relu, hard-tanh or leaky-relu
    #[arg(long, value_name = "NAME", default_value = "tanh", value_parser = activation, help_heading = "Network")]
    pub(crate) hidden: &'static str,
    /// Activation of the last layer
    #[arg(long, value_name = "NAME", default_value = "identity", value_parser = activation, help_heading = "Network")]
    pub(crate) output: &'static str,
    /// f32 or f64
    #[arg(long, value_name = "SCALAR", default_value = "f32", value_parser = scalar, help_heading = "Network")]
    pub(crate) scalar: &'static str,

    /// Times every row is seen
    #[arg(long, value_name = "N", default_value = "60", value_parser = whole::<1, 1_000_000>, help_heading = "Learning")]
    pub(crate) epochs: usize,
    /// Rows in a step
    #[arg(long, value_name = "N", default_value = "32", value_parser = whole::<1, 65_536>, help_heading = "Learning")]
    pub(crate) batch: usize,
    /// Highest learning rate of Adam; it rises and falls along a cosine
    #[arg(long, value_name = "X", default_value = "0.003", value_parser = rate, help_heading = "Learning")]
    pub(crate) rate: f64,
    /// Share of the steps in which the learning rate rises
    #[arg(long, value_name = "SHARE", default_value = "0.1", value_parser = share, help_heading = "Learning")]
    pub(crate) warm_up: f64,
    /// The learning rate stays as it is
    #[arg(long, conflicts_with = "warm_up", help_heading = "Learning")]
    pub(crate) constant_rate: bool,
    /// Weight decay, a unit of learning rate
    #[arg(long, value_name = "X", default_value = "0", value_parser = positive::<f64>, help_heading = "Learning")]
    pub(crate) decay: f64,
    /// Clips the norm of gradients
    #[arg(long, value_name = "X", value_parser = above_zero::<f64>, help_heading = "Learning")]
    pub(crate) clip: Option<f64>,
    /// Label smoothing
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share, conflicts_with = "regression", help_heading = "Learning")]
    pub(crate) smoothing: f64,
    /// Standard deviation of the noise added to scaled inputs
    #[arg(long, value_name = "X", default_value = "0", value_parser = positive::<f64>, help_heading = "Learning")]
    pub(crate) noise: f64,
    /// How often images are shifted by a pixel to each side, 0 to 0.5
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = half, help_heading = "Learning")]
    pub(crate) shift: f64,
    /// Rows are images of so many pixels
    #[arg(long, value_name = "ROWSxCOLUMNS", value_parser = image, help_heading = "Learning")]
    pub(crate) image: Option<(usize, usize)>,
    /// Share of the rows that are not learnt, but tested
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share, help_heading = "Learning")]
    pub(crate) validation: f64,
    /// Of initial weights, order, noise and the rows for validation
    #[arg(long, value_name = "N", default_value = "1", help_heading = "Learning")]
    pub(crate) seed: u64,
    /// The rate the network is held to: what a sweep leaves of an error, at most
    #[arg(long, value_name = "X", default_value = "0.9", value_parser = contraction, help_heading = "Learning")]
    pub(crate) hold: f64,
    /// The network is not held to any rate
    #[arg(long, conflicts_with = "hold", help_heading = "Learning")]
    pub(crate) no_hold: bool,

    /// How columns are scaled
    #[arg(long, value_name = "HOW", default_value = "standard", help_heading = "Scaling")]
    pub(crate) scaling: Scale,
    /// Neither inputs nor numbers to learn are scaled: --scaling none
    #[arg(long, conflicts_with_all = ["scaling", "scaling_to"], help_heading = "Scaling")]
    pub(crate) no_scaling: bool,
    /// Writes the scaling of the inputs to a file, for `--scaling` of other commands; the network then takes scaled inputs
    #[arg(long, value_name = "SCALING.csv", help_heading = "Scaling")]
    pub(crate) scaling_to: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) solve: Sweeps,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scale {
    /// Every column to mean 0 and standard deviation 1
    Standard,
    /// All columns by the largest magnitude there is, for pixels
    Range,
    /// Not at all
    None,
}

/// How tables are read.
#[derive(Args)]
pub(crate) struct Columns {
    /// The IDX file of the labels of images
    #[arg(long, value_name = "LABELS", help_heading = "Data")]
    labels: Option<PathBuf>,
    /// The last column is a number, not a class
    #[arg(long, help_heading = "Data")]
    pub(crate) regression: bool,
    /// So many of the last columns are numbers to learn
    #[arg(long, value_name = "N", default_value = "1", requires = "regression", value_parser = whole::<1, 65_536>, help_heading = "Data")]
    targets: usize,
    /// The classes in their order [default: integers from 0, or all names there are, sorted]
    #[arg(
        long,
        value_name = "NAME,NAME,..",
        value_delimiter = ',',
        conflicts_with = "regression",
        help_heading = "Data"
    )]
    classes: Option<Vec<String>>,
    /// What stands between the columns of a CSV file: one character, or tab
    #[arg(long, value_name = "C", default_value = ",", value_parser = separator, help_heading = "Data")]
    separator: u8,
}

impl Columns {
    /// Whether the classes of a table are numbers from 0, which the file says by itself.
    pub(crate) fn counts_classes(&self, table: &Table) -> bool {
        let Targets::Classes { names, .. } = &table.targets else { return false };
        self.classes.is_none() && names.iter().enumerate().all(|(at, name)| *name == at.to_string())
    }
    pub(crate) fn read(&self, data: &std::path::Path) -> Result<Table, String> {
        let last =
            if self.regression { Last::Numbers(self.targets) } else { Last::Class(self.classes.as_deref()) };
        Table::read(data, &Reading { last, separator: self.separator, labels: self.labels.as_ref() })
    }
}

/// How long is solved.
#[derive(Args)]
pub(crate) struct Sweeps {
    /// Sweeps end at this residual, or at this part of the largest activation
    #[arg(long, value_name = "X", default_value = "1e-5", value_parser = above_zero::<f64>, help_heading = "Solving")]
    tolerance: f64,
    /// The most sweeps
    #[arg(long, value_name = "N", default_value = "100", value_parser = whole::<1, 1_000_000>, help_heading = "Solving")]
    sweeps: usize,
}

impl From<&Sweeps> for Solve {
    fn from(&Sweeps { tolerance, sweeps }: &Sweeps) -> Self {
        Self { tolerance, sweeps }
    }
}

/// A table for a network that is there.
#[derive(Args)]
pub(crate) struct Data {
    /// The table: CSV, or IDX images. Its last columns are read as `train` reads them.
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,
    /// Scales inputs first, by the file that `train --scaling-to` wrote
    #[arg(long, value_name = "SCALING.csv", help_heading = "Data")]
    pub(crate) scaling: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) columns: Columns,
}

/// Says how good a network is on a table: accuracy and loss, or R2; sweeps, and how often they do not converge.
#[derive(Args)]
pub(crate) struct Evaluate {
    /// Of floats, of 16 bits or of integers
    #[arg(value_name = "MODEL.attr")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) data: Data,
    /// Writes the outputs, a line a row
    #[arg(long, value_name = "OUTPUTS.csv")]
    pub(crate) outputs: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) solve: Sweeps,
}

/// Looks for a proof that sweeps converge for all inputs, and writes it into the file.
#[derive(Args)]
pub(crate) struct Certify {
    #[arg(value_name = "MODEL.attr")]
    pub(crate) model: PathBuf,
    /// The file to write [default: the one that is read]
    #[arg(long, value_name = "MODEL.attr")]
    pub(crate) to: Option<PathBuf>,
    /// Also says how many sweeps it takes to come this close to the solution
    #[arg(long, value_name = "X", default_value = "1e-3", value_parser = above_zero::<f64>)]
    pub(crate) error: f64,
    /// The largest magnitude of an input, for that
    #[arg(long, value_name = "X", default_value = "1", value_parser = positive::<f64>)]
    pub(crate) input: f64,
}

/// Multiplies all feedback by one factor, such that sweeps converge at a rate, and writes network and proof.
#[derive(Args)]
pub(crate) struct Limit {
    #[arg(value_name = "MODEL.attr")]
    pub(crate) model: PathBuf,
    /// What a sweep leaves of an error, at most
    #[arg(long, value_name = "X", value_parser = contraction)]
    pub(crate) rate: f64,
    /// The file to write [default: the one that is read]
    #[arg(long, value_name = "MODEL.attr")]
    pub(crate) to: Option<PathBuf>,
}

/// Makes a network of integers, weights of 8 bits, calibrated on a table.
///
/// All inputs are rounded to one unit: where columns differ in size, train with --scaling-to and give that file as --scaling here and wherever
/// the network is used.
#[derive(Args)]
pub(crate) struct Quantise {
    /// Of f32
    #[arg(value_name = "MODEL.attr")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) data: Data,
    /// The file to write.
    #[arg(long, value_name = "MODEL.attr")]
    pub(crate) to: PathBuf,
    /// Bits of the states
    #[arg(long, value_name = "BITS", default_value = "i16")]
    pub(crate) states: States,
    #[command(flatten)]
    pub(crate) solve: Sweeps,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum States {
    I8,
    I16,
}

/// Leaves out the units that are worth least on a table, down to given widths.
#[derive(Args)]
pub(crate) struct Prune {
    #[arg(value_name = "MODEL.attr")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) data: Data,
    /// The file to write.
    #[arg(long, value_name = "MODEL.attr")]
    pub(crate) to: PathBuf,
    /// Widths of the hidden layers
    #[arg(long, value_name = "N,N,..", value_delimiter = ',', required = true, value_parser = whole::<1, 1_000_000>)]
    pub(crate) widths: Vec<usize>,
    #[command(flatten)]
    pub(crate) solve: Sweeps,
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

/// Writes a network as source text: a Rust file, or a C header for the static library in tools/attractor/c.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("language").required(true).multiple(true).args(["rust", "c"]))]
pub(crate) struct Codegen {
    #[arg(value_name = "MODEL.attr")]
    pub(crate) from: PathBuf,
    /// A Rust file with the network's type, the model file as a static and a function that gives the network
    #[arg(long, value_name = "NET.rs")]
    pub(crate) rust: Option<PathBuf>,
    /// A C header with the weights and `attractor_solve`; its name begins the names in it
    #[arg(long, value_name = "NET.h")]
    pub(crate) c: Option<PathBuf>,
    /// A C program that solves the network for inputs on standard input
    #[arg(long, value_name = "MAIN.c", requires = "c")]
    pub(crate) caller: Option<PathBuf>,
}

fn rate(text: &str) -> Result<f64, String> {
    within(text, |x| x > 0.0 && x <= 1024.0, "above 0 and at most 1024")
}
fn share(text: &str) -> Result<f64, String> {
    contraction(text)
}
fn contraction(text: &str) -> Result<f64, String> {
    within(text, |x| (0.0..1.0).contains(&x), "from 0 to below 1")
}
fn half(text: &str) -> Result<f64, String> {
    within(text, |x| (0.0..=0.5).contains(&x), "from 0 to 0.5")
}

fn image(text: &str) -> Result<(usize, usize), String> {
    let pair = text.split_once('x').and_then(|(rows, columns)| {
        Some((whole::<1, 65_536>(rows).ok()?, whole::<1, 65_536>(columns).ok()?))
    });
    pair.ok_or_else(|| "not rows x columns, such as 8x8".to_owned())
}

fn separator(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        _ if text == "tab" => Ok(b'\t'),
        &[byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b".-+\"\r\n".contains(&byte) => {
            Ok(byte)
        }
        _ => {
            Err("not one character, other than letters, digits, quotes, signs and the dot, nor tab"
                .to_owned())
        }
    }
}
