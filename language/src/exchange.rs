//! Folders that other programs open: safetensors in GPT-2's names, `config.json`, `tokenizer.json`.
//!
//! [`export`] writes them. transformers and candle open a plain causal model as GPT-2; of a model with feedback they see the
//! first sweep, and tensors they do not know. [`import`] opens what [`export`] wrote and what others published: names with and without
//! `transformer.` before them, numbers of 16 and 32 bits, one file or several with an index.
//!
//! ```
//! use attractor_language::{Config, exchange};
//! let config = Config::new(8, 2, 2, 16);
//! let parameters = vec![0.5; config.parameters()];
//! let folder = tempfile::tempdir()?;
//! exchange::export(folder.path(), &config, &parameters)?;
//! assert_eq!(exchange::import(folder.path())?, (config, parameters));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::files::part;
use crate::{Config, ConfigError, EPSILON, twice};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const CONFIG: &str = "config.json";
pub(crate) const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// Headers are this long at most, in bytes; the format says so.
const HEADER_MOST: u64 = 100_000_000;
/// Numbers that are converted at a time.
const CHUNK: usize = 1 << 14;

/// Why a model was not exported or imported. It is printed as one line.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExchangeError {
    /// A file or folder could not be read or written.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is damaged, or says what has no meaning here.
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no model of this shape.
    Config {
        /// The file that says so; none when exporting.
        path: Option<PathBuf>,
        /// What is wrong with it.
        error: ConfigError,
    },
    /// A tensor is not there.
    Missing {
        /// Its name.
        name: String,
        /// The shape that it should have.
        shape: Vec<usize>,
    },
    /// A tensor has another shape than it should have.
    Shape {
        /// The file it is in.
        path: PathBuf,
        /// Its name there.
        name: String,
        /// The shape it has.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A number is infinite, or none.
    NotFinite {
        /// The tensor.
        name: String,
        /// The number's place in it, row after row.
        place: usize,
        /// The number.
        number: f32,
    },
    /// There are more or fewer parameters than a model of this shape has.
    Parameters {
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A text or tokens that the tokenizer cannot turn into the other.
    Text {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Content { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Config { path: Some(path), error } => write!(f, "{}: {error}", path.display()),
            Self::Config { path: None, error } => error.fmt(f),
            Self::Missing { name, shape } => {
                write!(f, "tensor `{name}`, which is {}, is missing", by(shape))
            }
            Self::Shape { path, name, found, expected } => {
                write!(f, "{}: tensor `{name}` is {} and must be {}", path.display(), by(found), by(expected))
            }
            Self::NotFinite { name, place, number } => {
                write!(f, "tensor `{name}` has {number} at place {place}: parameters are finite")
            }
            Self::Parameters { found, expected } => {
                write!(f, "there are {found} parameters, and a model of this shape has {expected}")
            }
            Self::Text { reason } => f.write_str(reason),
        }
    }
}

impl std::error::Error for ExchangeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { error, .. } => Some(error),
            Self::Config { error, .. } => Some(error),
            _ => None,
        }
    }
}

fn by(shape: &[usize]) -> String {
    match shape {
        [] => "a single number".to_owned(),
        _ => shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x "),
    }
}

/// An error about a file that could not be read or written.
pub(crate) fn file_error(path: &Path) -> impl FnOnce(io::Error) -> ExchangeError {
    let path = path.to_owned();
    |error| ExchangeError::File { path, error }
}

/// An error about what a file says.
pub(crate) fn content(path: &Path, reason: impl fmt::Display) -> ExchangeError {
    // Others' messages may have more lines.
    let reason = reason.to_string().replace(['\n', '\r'], " ");
    ExchangeError::Content { path: path.to_owned(), reason }
}

/// Writes a model into a folder, which is made if it is not there: `model.safetensors`, `config.json`, and for a vocabulary of 256, the
/// bytes, `tokenizer.json` and `tokenizer_config.json`.
///
/// Every file is written beside its place, and put there when all of them are written: a full disk leaves the files before as they were.
/// The same model gives the same bytes. Of a tied model every block is written.
///
/// A model that is not causal, has a window or no embeddings of places says so in `config.json` with a model type of its own: GPT-2's
/// programs would open it and calculate something else.
///
/// # Errors
/// [`ExchangeError::Config`] and [`ExchangeError::Parameters`] if there is no such model, [`ExchangeError::NotFinite`] for a number that
/// [`import`] would refuse, [`ExchangeError::File`] if a file cannot be written.
pub fn export(folder: &Path, config: &Config, parameters: &[f32]) -> Result<(), ExchangeError> {
    config.check().map_err(|error| ExchangeError::Config { path: None, error })?;
    if parameters.len() != config.parameters() {
        return Err(ExchangeError::Parameters { found: parameters.len(), expected: config.parameters() });
    }
    if config.tied {
        // Others have blocks of their own.
        return export(folder, &config.untied(), &untie(config, parameters));
    }
    let mut tensors = Vec::new();
    let mut infinite = None;
    config.tensors(|name, shape, place| {
        let offset = 4 * place.start;
        let numbers = &parameters[place];
        if let Some(place) = numbers.iter().position(|number| !number.is_finite()) {
            infinite.get_or_insert(ExchangeError::NotFinite {
                name: name.to_string(),
                place,
                number: numbers[place],
            });
        }
        let data_offsets = (offset, offset + 4 * numbers.len());
        tensors
            .push((name.to_string(), TensorInfo { dtype: Dtype::F32, shape: shape.to_vec(), data_offsets }));
    });
    if let Some(error) = infinite {
        return Err(error);
    }

    fs::create_dir_all(folder).map_err(file_error(folder))?;
    let weights = folder.join(WEIGHTS);
    let said = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let header = Metadata::new(Some(said), tensors).map_err(|error| content(&weights, error))?;
    let mut header = serde_json::to_vec(&header).map_err(|error| content(&weights, error))?;
    // Numbers begin at a multiple of 8 bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut files = vec![beside(folder, WEIGHTS, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        let mut bytes = Vec::with_capacity(4 * CHUNK);
        for numbers in parameters.chunks(CHUNK) {
            bytes.clear();
            bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            file.write_all(&bytes)?;
        }
        Ok(())
    })?];
    let mut texts = vec![(CONFIG, said_of(config))];
    if config.vocabulary == 256 {
        texts.push((TOKENIZER, crate::tokens::bytes_json()));
        texts.push((
            TOKENIZER_CONFIG,
            json!({
                "tokenizer_class": "PreTrainedTokenizerFast",
                "model_max_length": config.context,
                "clean_up_tokenization_spaces": false,
            }),
        ));
    }
    for (name, value) in texts {
        files.push(beside(folder, name, |file| file.write_all(format!("{value:#}\n").as_bytes()))?);
    }
    for (file, path) in files {
        file.persist(&path).map_err(|error| file_error(&path)(error.error))?;
    }
    Ok(())
}

/// The parameters of a tied model as those of blocks of their own.
fn untie(config: &Config, parameters: &[f32]) -> Vec<f32> {
    let mut names = BTreeMap::new();
    config.tensors(|name, _, place| _ = names.insert(name.to_string(), place));
    let mut all = vec![0.0; config.untied().parameters()];
    config.untied().tensors(|name, _, place| {
        let name = name.to_string();
        let first = match name.strip_prefix("transformer.h.").and_then(|rest| rest.split_once('.')) {
            Some((_, rest)) => format!("transformer.h.0.{rest}"),
            None => name,
        };
        all[place].copy_from_slice(&parameters[names[&first].clone()]);
    });
    all
}

/// A file beside the place where it will be.
fn beside(
    folder: &Path,
    name: &str,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(NamedTempFile, PathBuf), ExchangeError> {
    let path = folder.join(name);
    let written = part(folder, (".", ".part")).and_then(|mut file| {
        write(file.as_file_mut())?;
        file.as_file().sync_all()?;
        Ok(file)
    });
    match written {
        Ok(file) => Ok((file, path)),
        Err(error) => Err(file_error(&path)(error)),
    }
}

/// Writes one file so that it is there whole or not at all.
pub(crate) fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), ExchangeError> {
    let (file, path) = beside(folder, name, |file| file.write_all(bytes))?;
    file.persist(&path).map(drop).map_err(|error| file_error(&path)(error.error))
}

/// The type and the class of a model in `config.json`.
const fn model_type(config: &Config) -> (&'static str, &'static str) {
    match config {
        Config { causal: false, .. } => ("attractor-bidirectional", "AttractorBidirectional"),
        Config { places: true, window: 0, .. } => ("gpt2", "GPT2LMHeadModel"),
        _ => ("attractor-causal", "AttractorCausal"),
    }
}

/// What `config.json` says.
fn said_of(config: &Config) -> Value {
    let (model, architecture) = model_type(config);
    // Bytes have no token that ends a text; of GPT-2's the last one does.
    let end = (config.vocabulary == 50_257).then_some(50_256);
    json!({
        "activation_function": "gelu_new",
        "architectures": [architecture],
        "attn_pdrop": 0.0,
        "attractor_causal": config.causal,
        "attractor_feedback": config.feedback,
        "attractor_places": config.places,
        "attractor_window": config.window,
        "bos_token_id": end,
        "embd_pdrop": 0.0,
        "eos_token_id": end,
        "layer_norm_epsilon": EPSILON,
        "model_type": model,
        "n_ctx": config.context,
        "n_embd": config.width,
        "n_head": config.heads,
        "n_inner": null,
        "n_layer": config.blocks,
        "n_positions": config.context,
        "resid_pdrop": 0.0,
        "tie_word_embeddings": true,
        "torch_dtype": "float32",
        "vocab_size": config.vocabulary,
    })
}

/// Reads a model from a folder: one that [`export`] wrote, or a checkpoint of GPT-2 as transformers writes it.
///
/// The tensors are in `model.safetensors`, or in several files that `model.safetensors.index.json` names. Their numbers may be F32, F16 or
/// BF16; all are turned to f32 without rounding. The constant `attn.bias` and `attn.masked_bias` of older files are passed over, and an
/// `lm_head.weight` must be the embedding. A file without our keys in `config.json` is a causal model without feedback.
///
/// # Errors
/// [`ExchangeError`]: a file is not there, damaged or cut off; `config.json` describes another model than this crate has; a tensor is
/// missing, there twice, unknown, of another shape or of another kind of number; a number is infinite or none. Nothing is
/// returned of such a folder.
pub fn import(folder: &Path) -> Result<(Config, Vec<f32>), ExchangeError> {
    let (config, tied) = read_config(&folder.join(CONFIG))?;
    let mut sources = open(folder)?;

    let mut expected = Vec::new();
    config.tensors(|name, shape, place| expected.push((name.to_string(), shape.to_vec(), place)));
    // Where each tensor is, by its name with the prefix; the shapes of all are compared before any memory is taken.
    let mut found: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for (number, source) in sources.iter().enumerate() {
        for name in source.header.offset_keys() {
            let whole = if name.starts_with("transformer.") || name == HEAD {
                name.clone()
            } else {
                format!("transformer.{name}")
            };
            if is_constant(&whole) {
                continue;
            }
            if let Some((other, first)) = found.insert(whole, (number, name.clone())) {
                let other = sources[other].path.display();
                return Err(content(
                    &source.path,
                    format!("tensor `{name}` is there twice, also as `{first}` in {other}"),
                ));
            }
        }
    }
    for (name, shape, _) in &expected {
        let Some((number, there)) = found.get(name) else {
            return Err(ExchangeError::Missing { name: name.clone(), shape: shape.clone() });
        };
        sources[*number].check(there, shape)?;
    }
    let head = found.remove(HEAD);
    match &head {
        Some((number, there)) => {
            sources[*number].check(there, &[config.vocabulary, config.width])?;
        }
        None if !tied => {
            return Err(ExchangeError::Missing {
                name: HEAD.to_owned(),
                shape: vec![config.vocabulary, config.width],
            });
        }
        None => {}
    }
    let known: BTreeSet<&String> = expected.iter().map(|(name, ..)| name).collect();
    if let Some((_, (number, name))) = found.iter().find(|(name, _)| !known.contains(name)) {
        return Err(content(
            &sources[*number].path,
            format!("tensor `{name}` has no place in a model of {config}"),
        ));
    }

    let mut parameters = vec![0.0; config.parameters()];
    for (name, _, place) in expected {
        let (number, there) = &found[&name];
        let to = &mut parameters[place];
        let mut done = 0;
        sources[*number].read(there, |numbers| {
            to[done..done + numbers.len()].copy_from_slice(numbers);
            done += numbers.len();
            Ok(())
        })?;
    }
    if let Some((number, there)) = head {
        let path = sources[number].path.clone();
        let mut rest = &parameters[config.wte()];
        sources[number].read(&there, |numbers| {
            let (same, after) = rest.split_at(numbers.len());
            rest = after;
            if same == numbers {
                Ok(())
            } else {
                Err(content(
                    &path,
                    format!("`{HEAD}` is not the embedding: a model here has one matrix for both"),
                ))
            }
        })?;
    }
    Ok((config, parameters))
}

const HEAD: &str = "lm_head.weight";

/// Masks that older files have among the parameters: `transformer.h.N.attn.bias` and `masked_bias`.
fn is_constant(name: &str) -> bool {
    let Some((number, rest)) = name.strip_prefix("transformer.h.").and_then(|rest| rest.split_once('.'))
    else {
        return false;
    };
    number.bytes().all(|byte| byte.is_ascii_digit()) && matches!(rest, "attn.bias" | "attn.masked_bias")
}

/// The shape that `config.json` says, and whether it says that the embedding is also the output.
fn read_config(path: &Path) -> Result<(Config, bool), ExchangeError> {
    let said = object(path, &fs::read(path).map_err(file_error(path))?)?;
    let wrong = |key: &str, value: &Value, must: &str| content(path, format!("`{key}` is {value}; {must}"));
    let number = |key: &str| match said.get(key) {
        None => Err(content(path, format!("`{key}` is missing"))),
        Some(value) => value
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| wrong(key, value, "it must be a whole number")),
    };
    let flag = |key: &str, default: bool| match said.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value.as_bool().ok_or_else(|| wrong(key, value, "it must be true or false")),
    };
    let config = Config {
        vocabulary: number("vocab_size")?,
        context: number(if said.contains_key("n_positions") { "n_positions" } else { "n_ctx" })?,
        width: number("n_embd")?,
        heads: number("n_head")?,
        blocks: number("n_layer")?,
        feedback: flag("attractor_feedback", false)?,
        causal: flag("attractor_causal", true)?,
        tied: false,
        places: flag("attractor_places", true)?,
        window: if said.contains_key("attractor_window") { number("attractor_window")? } else { 0 },
    };
    config.check().map_err(|error| ExchangeError::Config { path: Some(path.to_owned()), error })?;

    // What else could be said, and the only answers that are calculated here; without a key the first one holds.
    let wide = json!(4 * config.width);
    let epsilon = json!(EPSILON);
    let model = model_type(&config).0;
    let meaning: [(&str, &[Value]); 7] = [
        ("activation_function", &[json!("gelu_new"), json!("gelu_pytorch_tanh")]),
        ("layer_norm_epsilon", &[epsilon]),
        ("n_inner", &[Value::Null, wide]),
        ("scale_attn_weights", &[json!(true)]),
        ("scale_attn_by_inverse_layer_idx", &[json!(false)]),
        ("add_cross_attention", &[json!(false)]),
        ("model_type", &[json!(model)]),
    ];
    for (key, answers) in meaning {
        if let Some(value) = said.get(key).filter(|value| !answers.is_empty() && !answers.contains(value)) {
            let must = answers.iter().map(Value::to_string).collect::<Vec<_>>().join(" or ");
            return Err(wrong(key, value, &format!("a model here has {must}")));
        }
    }
    Ok((config, flag("tie_word_embeddings", true)?))
}

/// An open file of tensors.
struct Source {
    path: PathBuf,
    file: File,
    /// Where the numbers begin.
    start: u64,
    header: Metadata,
}

/// The files with the tensors of a folder.
fn open(folder: &Path) -> Result<Vec<Source>, ExchangeError> {
    let (single, index) = (folder.join(WEIGHTS), folder.join(INDEX));
    // As transformers does: one file goes before several.
    if single.exists() || !index.exists() {
        return Ok(vec![Source::open(single)?]);
    }
    let said = object(&index, &fs::read(&index).map_err(file_error(&index))?)?;
    let Some(Value::Object(map)) = said.get("weight_map") else {
        return Err(content(&index, "`weight_map` with the files of the tensors is missing"));
    };
    let mut names = BTreeMap::<&str, Vec<&String>>::new();
    for (tensor, file) in map {
        let plain = |name: &&str| Path::new(name).file_name().is_some_and(|last| last == *name);
        let Some(file) = file.as_str().filter(plain) else {
            return Err(content(
                &index,
                format!("tensor `{tensor}` is in {file}, which names no file of this folder"),
            ));
        };
        names.entry(file).or_default().push(tensor);
    }
    let mut sources = Vec::new();
    for (file, tensors) in names {
        let source = Source::open(folder.join(file))?;
        if let Some(tensor) = tensors.into_iter().find(|tensor| source.header.info(tensor).is_none()) {
            return Err(content(
                &source.path,
                format!("tensor `{tensor}` is missing, and {INDEX} says it is here"),
            ));
        }
        sources.push(source);
    }
    Ok(sources)
}

impl Source {
    /// Reads the header and compares the file's length with what it says.
    fn open(path: PathBuf) -> Result<Self, ExchangeError> {
        let mut file = File::open(&path).map_err(file_error(&path))?;
        let length = file.metadata().map_err(file_error(&path))?.len();
        let mut size = [0; 8];
        if length < 8 {
            return Err(content(&path, format!("this is no safetensors file: it has {length} bytes")));
        }
        file.read_exact(&mut size).map_err(file_error(&path))?;
        let size = u64::from_le_bytes(size);
        if size > HEADER_MOST || size > length - 8 {
            return Err(content(
                &path,
                format!(
                    "the file is cut off or no safetensors file: a header of {size} bytes is not in {length}"
                ),
            ));
        }
        let mut header = vec![0; size as usize];
        file.read_exact(&mut header).map_err(file_error(&path))?;
        // Before the names are in a table, where the second of two would take the place of the first.
        object(&path, &header)?;
        let header: Metadata = serde_json::from_slice(&header)
            .map_err(|error| content(&path, format!("the header: {error}")))?;
        let start = 8 + size;
        let whole = start + header.data_len() as u64;
        if whole != length {
            return Err(content(
                &path,
                format!("the file has {length} bytes, and by its header {whole}: it is damaged or cut off"),
            ));
        }
        Ok(Self { path, file, start, header })
    }

    /// Whether a tensor of this file has this shape and numbers that are read here.
    fn check(&self, name: &str, shape: &[usize]) -> Result<(), ExchangeError> {
        let Some(info) = self.header.info(name) else {
            return Err(ExchangeError::Missing { name: name.to_owned(), shape: shape.to_vec() });
        };
        if info.shape != shape {
            return Err(ExchangeError::Shape {
                path: self.path.clone(),
                name: name.to_owned(),
                found: info.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        match info.dtype {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => Ok(()),
            other => {
                Err(content(&self.path, format!("tensor `{name}` is {other} and must be F32, F16 or BF16")))
            }
        }
    }

    /// Gives the numbers of a tensor that was checked, some at a time, all finite.
    fn read(
        &mut self,
        name: &str,
        mut visit: impl FnMut(&[f32]) -> Result<(), ExchangeError>,
    ) -> Result<(), ExchangeError> {
        let Some(info) = self.header.info(name) else { return Ok(()) };
        let (from, to) = info.data_offsets;
        let size = info.dtype.bitsize() / 8;
        self.file.seek(SeekFrom::Start(self.start + from as u64)).map_err(file_error(&self.path))?;
        let mut bytes = vec![0; CHUNK * size];
        let mut numbers = Vec::with_capacity(CHUNK);
        let count = (to - from) / size;
        for first in (0..count).step_by(CHUNK) {
            let bytes = &mut bytes[..CHUNK.min(count - first) * size];
            self.file.read_exact(bytes).map_err(file_error(&self.path))?;
            numbers.clear();
            match info.dtype {
                Dtype::F16 => numbers.extend(halves(bytes).map(from_f16)),
                Dtype::BF16 => {
                    numbers.extend(halves(bytes).map(|bits| f32::from_bits(u32::from(bits) << 16)))
                }
                _ => numbers.extend(
                    bytes
                        .chunks_exact(4)
                        .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])),
                ),
            }
            if let Some(place) = numbers.iter().position(|number| !number.is_finite()) {
                return Err(ExchangeError::NotFinite {
                    name: name.to_owned(),
                    place: first + place,
                    number: numbers[place],
                });
            }
            visit(&numbers)?;
        }
        Ok(())
    }
}

fn halves(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]))
}

/// A number of IEEE 754's 16 bits: sign, 5 bits of exponent, 10 of fraction. No number of it is rounded.
fn from_f16(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let (exponent, fraction) = (u32::from(bits >> 10) & 31, u32::from(bits) & 1023);
    match exponent {
        // Below the least normal number steps are 2^-24.
        0 => {
            let size = fraction as f32 / 16_777_216.0;
            if sign == 0 { size } else { -size }
        }
        31 => f32::from_bits(sign | 255 << 23 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

/// A JSON object in which no name is there twice.
pub(crate) fn object(path: &Path, bytes: &[u8]) -> Result<Map<String, Value>, ExchangeError> {
    let map = twice::refuse(bytes).and_then(|()| serde_json::from_slice(bytes));
    map.map_err(|error| content(path, format!("damaged: {error}")))
}
