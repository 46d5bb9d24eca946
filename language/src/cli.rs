//! The command line.

use crate::options::{above_zero, positive, whole, within};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Language models with feedback: trained on a text, sampled, evaluated, and exchanged with others.
///
/// Results are lines of `name: value` on standard output. Files are written whole or not at all. The exit code is 0 after success, 1 for a failure, 2 for
/// a command line that makes no sense, 130 for training that was interrupted and is saved.
#[derive(Parser)]
#[command(name = "attractor-lm", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Pretrain(Box<Pretrain>),
    Finetune(Box<Finetune>),
    Sample(Sample),
    Eval(Eval),
    Export(Export),
    Import(Import),
    Merge(Merge),
    Shrink(Shrink),
}

/// Trains a model on a text, and writes checkpoints and the loss curve into a folder.
///
/// Tokens are bytes, or with `--from` those of that model. The last tenth of the text is held out, and bits a byte are measured on it. The folder has the
/// newest checkpoints, checkpoint-STEPS.bin, and curve.csv and curve.svg. `--resume` goes on from the newest one, with its options, to the bits the run
/// would have reached without a pause; where there is none, it starts.
///
/// Ctrl-C (and SIGTERM) saves after the step and ends with exit code 130; pressed again it ends at once. A run that is killed loses what came after its
/// last checkpoint, and nothing else.
#[derive(Args)]
pub(crate) struct Pretrain {
    /// The text [default: the King James Bible of this repository]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Starts from the parameters of another checkpoint, such as an imported one; the shape is its shape
    #[arg(long, value_name = "CHECKPOINT")]
    pub(crate) from: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) shape: Shape,
    #[command(flatten)]
    pub(crate) run: Run,
}

/// Goes on with a trained model on another text: all of it, its last block, or adapters beside its matrices.
///
/// As in `pretrain` the last tenth of the text is held out, and bits a byte are measured on it; the folder has the newest checkpoints and the curve,
/// `--resume` goes on, and Ctrl-C saves. The other commands take a checkpoint with adapters as the model they are added to; `merge` writes that model.
#[derive(Args)]
pub(crate) struct Finetune {
    /// The model: a checkpoint, or the folder of a run for its newest one
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) checkpoint: PathBuf,
    /// The text
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Only adapters learn: terms of this rank beside the matrices, and one beside every gain, shift, bias and gate
    #[arg(long, value_name = "RANK", value_parser = whole::<1, 65_536>, help_heading = "Model")]
    pub(crate) adapters: Option<usize>,
    /// Only the last block and the normalisation behind it learn
    #[arg(long, conflicts_with = "adapters", help_heading = "Model")]
    pub(crate) last: bool,
    /// FILE has labelled lines: a label, a tab, a text. What is learnt is the label behind the text; of ten lines the last is held out
    #[arg(long, help_heading = "Model")]
    pub(crate) labels: bool,
    /// Adds feedback to a plain model; its first sweep stays what the model was
    #[arg(long, help_heading = "Model")]
    pub(crate) feedback: bool,
    #[command(flatten)]
    pub(crate) run: Run,
}

/// Writes a model alone: without its training, adapters added to the parameters they are beside.
#[derive(Args)]
pub(crate) struct Merge {
    /// A checkpoint, or the folder of a run for its newest one
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) checkpoint: PathBuf,
    /// The file to write
    #[arg(long, value_name = "CHECKPOINT")]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) pieces: Pieces,
}

/// Writes a small model: matrices rounded to 8 bits, with a scale a row, or to 16; the rest as it is.
///
/// `sample` multiplies with them as they are. The other commands take the file as the model its weights stand for.
#[derive(Args)]
pub(crate) struct Shrink {
    /// A checkpoint, or the folder of a run for its newest one
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) checkpoint: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
    /// Bits of a weight: 8 or 16
    #[arg(long, value_name = "N", default_value = "8", value_parser = bits)]
    pub(crate) bits: u32,
    #[command(flatten)]
    pub(crate) pieces: Pieces,
}

/// The shape of a model.
#[derive(Args, Default)]
pub(crate) struct Shape {
    /// Features of a token [default: 128]
    #[arg(long, value_name = "N", value_parser = whole::<1, 65_536>, help_heading = "Model")]
    pub(crate) width: Option<usize>,
    /// Heads of attention [default: 4]
    #[arg(long, value_name = "N", value_parser = whole::<1, 65_536>, help_heading = "Model")]
    pub(crate) heads: Option<usize>,
    /// Blocks [default: 4]
    #[arg(long, value_name = "N", value_parser = whole::<1, 1_024>, help_heading = "Model")]
    pub(crate) blocks: Option<usize>,
    /// Tokens of a sequence [default: 256]
    #[arg(long, value_name = "N", value_parser = whole::<1, 1_048_576>, help_heading = "Model")]
    pub(crate) context: Option<usize>,
    /// A plain Transformer: no feedback weights, one sweep
    #[arg(long, conflicts_with_all = ["sweeps", "switch"], help_heading = "Model")]
    pub(crate) no_feedback: bool,
    /// All blocks have the same parameters: one block, iterated
    #[arg(long, help_heading = "Model")]
    pub(crate) tied: bool,
    /// Places have no embeddings: a context costs no parameters
    #[arg(long, help_heading = "Model")]
    pub(crate) no_places: bool,
    /// How many tokens attention goes back, itself included [default: all]
    #[arg(long, value_name = "N", value_parser = whole::<1, 65_535>, conflicts_with = "masked", help_heading = "Model")]
    pub(crate) window: Option<usize>,
    /// Sees both ways and finds masked bytes, 15 % of all, in the place of the next byte
    #[arg(long, help_heading = "Model")]
    pub(crate) masked: bool,
}

/// An optimizer.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Steps {
    Adamw,
    Muon,
}

/// How a model is trained.
#[derive(Args)]
pub(crate) struct Run {
    /// The folder of the run [default: target/attractor-lm, or target/attractor-lm-finetuned]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Goes on from the newest checkpoint in the folder
    #[arg(long)]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) pieces: Pieces,

    /// How long it may take. The first seconds measure how many steps that is, and this number stays [default: 15; finetune: 5]
    #[arg(long, value_name = "MINUTES", value_parser = above_zero::<f64>, conflicts_with = "steps", help_heading = "Length")]
    pub(crate) minutes: Option<f64>,
    /// How many steps there are
    #[arg(long, value_name = "N", value_parser = count, help_heading = "Length")]
    pub(crate) steps: Option<u32>,

    /// Sweeps, once feedback is on [default: 2; finetune: as in training]
    #[arg(long, value_name = "N", value_parser = whole::<1, 1_024>, help_heading = "Learning")]
    pub(crate) sweeps: Option<usize>,
    /// Share of the steps after which feedback is switched on; before it there is one sweep [default: 0.9; finetune: 0]
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Learning")]
    pub(crate) switch: Option<f64>,
    /// Passes take matrices rounded to 8 bits, as `shrink` rounds them; what learns are the numbers before
    #[arg(long, help_heading = "Learning")]
    pub(crate) rounded: bool,
    /// Learns from this model as well: its probabilities are a share of what is to be predicted
    #[arg(long, value_name = "CHECKPOINT", help_heading = "Learning")]
    pub(crate) teacher: Option<PathBuf>,
    /// That share; the rest is the text's [default: 0.5]
    #[arg(long, value_name = "SHARE", value_parser = share, requires = "teacher", help_heading = "Learning")]
    pub(crate) teacher_share: Option<f64>,
    /// Sequences of a step [default: 8]
    #[arg(long, value_name = "N", value_parser = whole::<1, 65_536>, help_heading = "Learning")]
    pub(crate) batch: Option<usize>,
    /// Parts of a batch, whose gradients are added up in their order: as many threads, or ranks, can work at once [default: 8]
    #[arg(long, value_name = "N", value_parser = whole::<1, 65_536>, help_heading = "Learning")]
    pub(crate) shards: Option<usize>,
    /// Whose steps are taken; adapters take those of adamw [default: muon; finetune: adamw]
    #[arg(long, value_name = "NAME", value_enum, help_heading = "Learning")]
    pub(crate) optimizer: Option<Steps>,
    /// Highest learning rate [default: 6e-3; finetune: 1e-3]
    #[arg(long, value_name = "X", value_parser = rate, help_heading = "Learning")]
    pub(crate) rate: Option<f32>,
    /// Share of the steps in which the rate rises [default: 0.02]
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Learning")]
    pub(crate) warm_up: Option<f64>,
    /// What the rate falls to along a cosine, as a share of the highest [default: 0.02]
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Learning")]
    pub(crate) end: Option<f64>,
    /// Weight decay, a unit of rate [default: 0.3]
    #[arg(long, value_name = "X", value_parser = decay, help_heading = "Learning")]
    pub(crate) decay: Option<f32>,
    /// The longest a gradient may be [default: 1]
    #[arg(long, value_name = "X", value_parser = above_zero::<f32>, help_heading = "Learning")]
    pub(crate) clip: Option<f32>,
    /// Of initial weights, batches and masks [default: 1]
    #[arg(long, value_name = "N", help_heading = "Learning")]
    pub(crate) seed: Option<u64>,

    /// Steps from one point of the curve to the next [default: a twentieth of all]
    #[arg(long, value_name = "STEPS", value_parser = count, help_heading = "Running")]
    pub(crate) eval_every: Option<u32>,
    /// How often a checkpoint is written; 0 is after every step
    #[arg(long, value_name = "MINUTES", default_value = "2", value_parser = positive::<f64>, help_heading = "Running")]
    pub(crate) save_every: f64,
    /// How many checkpoints stay
    #[arg(long, value_name = "N", default_value = "2", value_parser = whole::<1, 1_000_000>, help_heading = "Running")]
    pub(crate) keep: usize,
    #[command(flatten)]
    pub(crate) threads: Threads,
}

/// What tokens stand for.
#[derive(Args)]
pub(crate) struct Pieces {
    /// The tokenizer.json of a model whose tokens are pieces of words [default: the one in its folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) tokenizer: Option<PathBuf>,
}

/// How many threads there are.
#[derive(Args)]
pub(crate) struct Threads {
    /// Threads; results have the same bits with any number [default: as many as processors]
    #[arg(long, value_name = "N", value_parser = whole::<1, 1_024>, help_heading = "Running")]
    pub(crate) threads: Option<usize>,
}

/// Writes text as a model would go on, token after token, to standard output.
///
/// On standard error it says how many microseconds a token took, and what share of that loading the weights alone takes. On a terminal bytes that would
/// steer it are shown as escapes.
#[derive(Args)]
pub(crate) struct Sample {
    /// A checkpoint, or the folder of a run for its newest one
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) checkpoint: PathBuf,
    /// What the text begins with [default: a new line]
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// How many tokens are added: bytes, or pieces of words
    #[arg(long, value_name = "N", default_value = "500", value_parser = whole::<0, { usize::MAX }>)]
    pub(crate) length: usize,
    /// Divides the logits; 0 takes the most likely token
    #[arg(long, value_name = "X", default_value = "0.8", value_parser = positive::<f32>)]
    pub(crate) temperature: f32,
    /// Draws among the N most likely tokens only; 0 among all
    #[arg(long, value_name = "N", default_value = "0", value_parser = whole::<0, 1_048_576>)]
    pub(crate) top_k: usize,
    /// Draws among the fewest tokens that are this likely together
    #[arg(long, value_name = "SHARE", default_value = "1", value_parser = share)]
    pub(crate) top_p: f64,
    /// Of the draws
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
    /// Sweeps of every token [default: as in training]
    #[arg(long, value_name = "N", value_parser = whole::<1, 1_024>)]
    pub(crate) sweeps: Option<usize>,
    #[command(flatten)]
    pub(crate) pieces: Pieces,
}

/// Says how many bits a byte of a text takes, for several numbers of sweeps.
///
/// The text is cut into windows of a context, one behind the other. In each all tokens are predicted, the first with one token before it and the last with a whole
/// context; every token but the first of the text counts once. Of a model of masked bytes 15 % are masked, the same ones each time, and count. Of pieces of
/// words it also says the bits a token.
#[derive(Args)]
pub(crate) struct Eval {
    /// A checkpoint, or the folder of a run for its newest one
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) checkpoint: PathBuf,
    /// The text [default: the King James Bible of this repository]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Only the last tenth of the text, which training holds out
    #[arg(long)]
    pub(crate) held_out: bool,
    /// FILE has labelled lines, as in `finetune`: how many of those that are held out get their label
    #[arg(long, requires = "file", conflicts_with_all = ["held_out", "context", "overlap"])]
    pub(crate) labels: bool,
    /// Numbers of sweeps [default: 1,2,4,8, or 1 without feedback]
    #[arg(long, value_name = "N,N,..", value_delimiter = ',', value_parser = whole::<1, 1_024>)]
    pub(crate) sweeps: Option<Vec<usize>>,
    /// Tokens of a window [default: the model's context]
    #[arg(long, value_name = "N", value_parser = whole::<1, 1_048_576>)]
    pub(crate) context: Option<usize>,
    /// Tokens that a window has in common with the one before it, which are not predicted again: so many lie before every token behind the first window
    #[arg(long, value_name = "N", default_value = "0", value_parser = whole::<0, 1_048_575>)]
    pub(crate) overlap: usize,
    #[command(flatten)]
    pub(crate) pieces: Pieces,
    #[command(flatten)]
    pub(crate) threads: Threads,
}

/// Writes a model as others read it: model.safetensors with GPT-2's names, config.json, tokenizer.json.
#[derive(Args)]
pub(crate) struct Export {
    /// A checkpoint, or the folder of a run for its newest one
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) checkpoint: PathBuf,
    /// The folder to write
    #[arg(long, value_name = "FOLDER")]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) pieces: Pieces,
}

/// Makes a checkpoint of a folder with config.json and model.safetensors of GPT-2's shape.
///
/// If its tokens are pieces of words its tokenizer.json goes beside the checkpoint, where the other commands find it.
#[derive(Args)]
pub(crate) struct Import {
    /// The folder
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// The file to write
    #[arg(long, value_name = "CHECKPOINT")]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) pieces: Pieces,
}

fn count(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("not a whole number from 1 to {}", u32::MAX)),
    }
}

fn bits(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(bits @ (8 | 16)) => Ok(bits),
        _ => Err("neither 8 nor 16".to_owned()),
    }
}

fn rate(text: &str) -> Result<f32, String> {
    within(text, |x| x > 0.0 && x <= 1.0, "above 0 and at most 1")
}
fn decay(text: &str) -> Result<f32, String> {
    within(text, |x| (0.0..=100.0).contains(&x), "from 0 to 100")
}
fn share(text: &str) -> Result<f64, String> {
    within(text, |x| (0.0..=1.0).contains(&x), "from 0 to 1")
}
