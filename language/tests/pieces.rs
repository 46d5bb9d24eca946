//! Models whose tokens are pieces of words, through the program: a tokenizer of eight merges, models of width 8, a text of 4,000 bytes.

#![cfg(feature = "bpe")]

use attractor::simd::Backend;
use attractor_language::checkpoint::{Checkpoint, Folder};
use attractor_language::generate::Generator;
use attractor_language::pass::Model;
use attractor_language::train::Learner;
use attractor_language::{Config, exchange};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Eight tokens more than the tokenizer has.
const CONFIG: Config = Config { vocabulary: 272, feedback: false, ..Config::new(8, 2, 2, 16) };

/// None of these goes beyond a word, so cutting a text into words before changes nothing.
const MERGES: [(&str, &str); 8] =
    [("h", "e"), ("t", "he"), ("a", "n"), ("an", "d"), ("Ġ", "and"), ("e", "a"), ("ea", "r"), ("he", "a")];

struct Answer {
    code: i32,
    output: Vec<u8>,
    error: String,
}

fn run(arguments: &[&str]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_attractor-lm")).args(arguments).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    Answer { code: output.status.code().unwrap_or(-1), output: output.stdout, error }
}

#[track_caller]
fn done(arguments: &[&str]) -> String {
    let answer = run(arguments);
    assert_eq!((answer.code, answer.error.as_str()), (0, ""), "{arguments:?}");
    String::from_utf8(answer.output).unwrap()
}

/// That fails, and says so in one line, which has all of this.
#[track_caller]
fn refused(parts: &[&str], arguments: &[&str]) {
    let Answer { code, output, error } = run(arguments);
    assert_eq!((code, output.as_slice()), (1, &b""[..]), "{arguments:?}: {error}");
    assert!(error.starts_with("attractor-lm: ") && error.lines().count() == 1, "{error}");
    for part in parts {
        assert!(error.contains(part), "`{error}` does not say `{part}`");
    }
}

#[track_caller]
fn value(output: &str, name: &str) -> f64 {
    let found = output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no `{name}` in {output}")).parse().unwrap()
}

/// A folder of one test's own, with a text in it of 3,599 bytes, a character of two, and 399 bytes.
struct Room(PathBuf);

impl Room {
    fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pieces-{test}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let words = ["the ", "heaven ", "and ", "earth.\n", "light "];
        let text: String = (0_usize..).map(|i| words[i * i % 11 % 5]).take(800).collect();
        fs::write(path.join("text"), format!("{}ä{}", &text[..3599], &text[..399])).unwrap();
        Self(path)
    }
    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap()
    }
    fn write(&self, name: &str, bytes: &[u8]) -> String {
        fs::create_dir_all(self.0.join(name).parent().unwrap()).unwrap();
        fs::write(self.0.join(name), bytes).unwrap();
        self.path(name)
    }
    /// A published model: parameters as at the start of a training, or zeros.
    fn published(&self, name: &str, config: Config, zeros: bool) -> String {
        let mut learner = Learner::new(config, 1, 1, 1).unwrap();
        if !zeros {
            learner.initialize(7);
        }
        exchange::export(&self.0.join(name), &config, learner.parameters()).unwrap();
        self.write(&format!("{name}/tokenizer.json"), tokenizer().to_string().as_bytes());
        self.path(name)
    }
    /// One that is imported.
    fn imported(&self, name: &str, zeros: bool) -> String {
        let folder = self.published(&format!("{name}-published"), CONFIG, zeros);
        fs::create_dir_all(self.0.join(name)).unwrap();
        let to = self.path(&format!("{name}/model.bin"));
        done(&["import", &folder, "--to", &to]);
        to
    }
}

/// The character for each byte, by GPT-2's rule.
fn character(byte: u8) -> char {
    let own = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let before = (0..byte).filter(|byte| !own(*byte)).count() as u32;
    char::from_u32(if own(byte) { u32::from(byte) } else { 256 + before }).unwrap()
}

fn tokenizer() -> Value {
    let mut vocabulary: Map<String, Value> =
        (0..=255).map(|byte| (character(byte).to_string(), json!(byte))).collect();
    let mut merges = Vec::new();
    for (token, (left, right)) in (256..).zip(MERGES) {
        vocabulary.insert(format!("{left}{right}"), json!(token));
        merges.push(format!("{left} {right}"));
    }
    let level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": level, "post_processor": null, "decoder": level,
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "vocab": vocabulary, "merges": merges },
    })
}

/// What each token stands for.
fn pieces() -> Vec<Vec<u8>> {
    let all: Vec<u8> = (0..=255).collect();
    let byte = |wanted: char| all.iter().copied().find(|byte| character(*byte) == wanted).unwrap();
    let merged = MERGES.iter().map(|(left, right)| left.chars().chain(right.chars()).map(byte).collect());
    all.iter().map(|byte| vec![*byte]).chain(merged).collect()
}

/// The tokens of a text: one merge after another.
fn naive(text: &[u8]) -> Vec<u32> {
    let pieces = pieces();
    let token = |piece: &str| {
        let bytes: Vec<u8> = piece.chars().map(|c| (0..=255).find(|b| character(*b) == c).unwrap()).collect();
        pieces.iter().position(|piece| *piece == bytes).unwrap() as u32
    };
    let mut tokens: Vec<u32> = text.iter().map(|byte| u32::from(*byte)).collect();
    for (merged, (left, right)) in (256..).zip(MERGES) {
        let (left, right) = (token(left), token(right));
        let mut rest = tokens.as_slice();
        let mut next = Vec::new();
        while let Some((first, after)) = rest.split_first() {
            let pair = *first == left && after.first() == Some(&right);
            next.push(if pair { merged } else { *first });
            rest = if pair { &after[1..] } else { after };
        }
        tokens = next;
    }
    tokens
}

/// Bytes that all tokens but the first stand for.
fn predicted(tokens: &[u32]) -> usize {
    let pieces = pieces();
    tokens[1..].iter().map(|token| pieces[*token as usize].len()).sum()
}

fn training<'a>(text: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let options = ["pretrain", text, "--out", out, "--batch", "4", "--eval-every", "8"];
    options.iter().chain(more).copied().collect()
}

#[test]
fn a_model_of_zeros_takes_the_bits_of_its_vocabulary() {
    let room = Room::new("zeros");
    let (model, text) = (room.imported("zeros", true), room.path("text"));
    let all = room.read("text");
    // The last tenth begins at byte 3600, within a character.
    assert_eq!(str::from_utf8(&all[3599..3601]).unwrap(), "ä");
    for (part, name, options) in [(&all[..], "text", &[][..]), (&all[3601..], "held-out", &["--held-out"])] {
        let tokens = naive(part);
        assert!(tokens.len() < part.len() * 4 / 5);
        let said = done(&[&["eval", &model, &text][..], options].concat());
        assert_eq!(value(&said, &format!("{name} bytes")), part.len() as f64);
        assert_eq!(value(&said, &format!("{name} tokens")), tokens.len() as f64);
        assert_eq!(value(&said, "windows"), (tokens.len() - 1).div_ceil(16) as f64);
        let bits = 272_f64.log2();
        assert!((value(&said, "bits per token at 1 sweep") - bits).abs() < 1e-4, "{said}");
        let bits = bits * (tokens.len() - 1) as f64 / predicted(&tokens) as f64;
        assert!((value(&said, "bits per byte at 1 sweep") - bits).abs() < 1e-4, "{said}");
    }
}

#[test]
fn a_published_model_goes_all_the_way() {
    let room = Room::new("all");
    let text = room.path("text");
    let model = room.imported("model", false);
    let file = tokenizer().to_string().into_bytes();
    assert_eq!(room.read("model/tokenizer.json"), file);
    let (_, parameters) = exchange::import(&room.0.join("model-published")).unwrap();
    assert_eq!(Checkpoint::load(Path::new(&model)).unwrap().parameters, parameters);

    // Trained, from no more than chance: 8.09 bits.
    let before = value(&done(&["eval", &model, &text, "--held-out"]), "bits per token at 1 sweep");
    assert!((before - 272_f64.log2()).abs() < 0.1, "{before}");
    let learning = ["--from", &model, "--steps", "60", "--rate", "0.02", "--save-every", "0", "--keep", "99"];
    let run_folder = room.path("run");
    let said = done(&training(&text, &run_folder, &learning));
    let held_out = naive(&room.read("text")[3601..]);
    assert_eq!(value(&said, "held-out tokens predicted"), (held_out.len() - 1) as f64);
    assert_eq!(value(&said, "tokens"), (60 * 4 * 16) as f64);
    let after = value(&said, "bits per token");
    assert!(after < before - 2.0, "{before} {after}");
    assert!(value(&said, "bits per token in training") < before - 2.0);
    let bytes = after * (held_out.len() - 1) as f64 / predicted(&held_out) as f64;
    assert!((value(&said, "bits per byte") - bytes).abs() < 2e-4, "{said}");
    // By itself the same, with as many sweeps as it was trained with.
    let again = done(&["eval", &run_folder, &text, "--held-out", "--sweeps", "2"]);
    assert!((value(&again, "bits per token at 2 sweeps") - after).abs() < 2e-4, "{again}");
    assert!((value(&again, "bits per byte at 2 sweeps") - bytes).abs() < 4e-4, "{again}");
    assert_eq!(room.read("run/tokenizer.json"), file);

    // Resumed from half-way: the same bytes.
    let half = "checkpoint-0000000030.bin";
    room.write(&format!("resumed/{half}"), &room.read(&format!("run/{half}")));
    let resumed = room.path("resumed");
    let resume = ["pretrain", &text, "--out", &resumed, "--resume"];
    refused(&["the model has 272 tokens", "there is no ", "resumed/tokenizer.json"], &resume);
    let mut other = tokenizer();
    other["model"]["merges"].as_array_mut().unwrap().pop();
    let other = room.write("other.json", other.to_string().as_bytes());
    let own = room.path("model/tokenizer.json");
    done(&[&resume[..], &["--tokenizer", &own]].concat());
    let newest = |folder: &str| Folder::checkpoints(&room.0.join(folder)).unwrap().pop().unwrap();
    assert_eq!(newest("resumed").file_name(), newest("run").file_name());
    assert!(fs::read(newest("resumed")).unwrap() == fs::read(newest("run")).unwrap());
    assert!(room.read("resumed/curve.csv") == room.read("run/curve.csv"));
    // The tokens a run was begun with stay; without a word it goes on with them.
    refused(&["has the tokens of another model"], &[&resume[..], &["--tokenizer", &other]].concat());
    assert_eq!(room.read("resumed/tokenizer.json"), file);
    done(&resume);

    // Sampled: the most likely tokens, one after another, as far as the context goes.
    let Checkpoint { config, parameters, sweeps, .. } = Checkpoint::load(&newest("run")).unwrap();
    let mut memory = vec![0.0; Generator::room(&config, sweeps, 2)];
    let model = Model::new(config, &parameters).unwrap();
    let mut generator = Generator::new(Backend::best(), model, sweeps, 2, &mut memory).unwrap();
    let (pieces, mut expected) = (pieces(), b"the hea".to_vec());
    let mut unread = naive(&expected);
    assert_eq!(unread.len(), 3);
    for _ in 0..12 {
        let logits = &generator.read(&unread).unwrap()[..264];
        let best = (0..264_u32).max_by(|a, b| logits[*a as usize].total_cmp(&logits[*b as usize])).unwrap();
        expected.extend(&pieces[best as usize]);
        unread = vec![best];
    }
    let sample = ["sample", &run_folder, "--prompt", "the hea", "--length", "12", "--temperature", "0"];
    let answer = run(&sample);
    assert_eq!(answer.code, 0, "{}", answer.error);
    assert!(answer.error.starts_with("microseconds per token: "), "{}", answer.error);
    assert_eq!(answer.output, expected, "{}", String::from_utf8_lossy(&answer.output));

    // Exported and imported again.
    let exported = room.path("exported");
    done(&["export", &run_folder, "--to", &exported]);
    assert_eq!(room.read("exported/tokenizer.json"), file);
    assert_eq!(exchange::import(Path::new(&exported)).unwrap(), (config, parameters.into_owned()));
    done(&["import", &exported, "--to", &room.path("again.bin")]);
    assert_eq!(room.read("tokenizer.json"), file);
}

/// Tokens end within characters, and those that stand for nothing are never drawn.
#[test]
fn samples_are_bytes() {
    let room = Room::new("samples");
    let model = room.imported("zeros", true);
    let sample = |seed: &str| {
        let options = ["--prompt", "ä", "--length", "2000", "--temperature", "1", "--seed", seed];
        let answer = run(&[&["sample", &model][..], &options].concat());
        assert_eq!(answer.code, 0, "{}", answer.error);
        answer.output
    };
    let text = sample("1");
    assert!(text.starts_with("ä".as_bytes()) && str::from_utf8(&text).is_err());
    // 256 tokens of one byte and merges of 20 in all.
    assert!(text.len() > 2000 && text.len() < 2300, "{}", text.len());
    assert_eq!(sample("1"), text);
    assert_ne!(sample("2"), text);
}

#[test]
fn a_missing_tokenizer_is_named() {
    let room = Room::new("missing");
    let text = room.path("text");
    let folder = room.published("published", CONFIG, false);
    let file = room.path("named.json");
    fs::rename(room.0.join("published/tokenizer.json"), &file).unwrap();
    let model = room.path("model.bin");
    let says = ["the model has 272 tokens", "there is no ", "tokenizer.json", "--tokenizer FILE"];
    refused(&says, &["import", &folder, "--to", &model]);
    assert!(!Path::new(&model).exists());
    let named = ["--tokenizer", &file];
    done(&[&["import", &folder, "--to", &model][..], &named].concat());
    assert_eq!(room.read("tokenizer.json"), room.read("named.json"));
    fs::remove_file(room.path("tokenizer.json")).unwrap();

    let (out, exported) = (room.path("run"), room.path("exported"));
    let train = training(&text, &out, &["--from", &model, "--steps", "1"]);
    for command in
        [&["eval", &model, &text][..], &["sample", &model], &["export", &model, "--to", &exported], &train]
    {
        refused(&says, command);
        assert!(!Path::new(&out).exists() && !Path::new(&exported).exists());
        assert_eq!(run(&[command, &named].concat()).code, 0, "{command:?}");
        refused(&["nowhere.json: No such file"], &[command, &["--tokenizer", "nowhere.json"]].concat());
        let _ = (fs::remove_dir_all(&out), fs::remove_dir_all(&exported));
    }
}

#[test]
fn a_tokenizer_that_does_not_fit_is_refused() {
    let room = Room::new("wrong");
    let (text, model) = (room.path("text"), room.path("model.bin"));
    let less = Config { vocabulary: 263, ..CONFIG };
    let folder = room.published("less", less, false);
    let import = ["import", &folder, "--to", &model];
    refused(&["tokenizer.json: there is a token 263, and the model has 263"], &import);
    assert!(!Path::new(&model).exists() && !room.0.join("tokenizer.json").exists());

    // Another model's lies where this one's would.
    let folder = room.published("published", CONFIG, false);
    let import = ["import", &folder, "--to", &model];
    room.write("tokenizer.json", b"{}");
    refused(&["tokenizer.json: has the tokens of another model, which stay"], &import);
    assert!(!Path::new(&model).exists());
    assert_eq!(room.read("tokenizer.json"), b"{}");
    fs::remove_file(room.path("tokenizer.json")).unwrap();
    done(&import);

    let eval = |tokenizer: &Value, parts: &[&str]| {
        let file = room.write("wrong.json", tokenizer.to_string().as_bytes());
        refused(parts, &["eval", &model, &text, "--tokenizer", &file]);
    };
    let mut wrong = tokenizer();
    wrong["decoder"] = json!({ "type": "WordPiece", "prefix": "##", "cleanup": true });
    eval(&wrong, &["wrong.json: ", "only pieces of bytes"]);
    // It has no `v`, and passes over those of the text.
    let mut wrong = tokenizer();
    wrong["model"]["vocab"].as_object_mut().unwrap().remove("v");
    eval(&wrong, &["text: the tokens of its 4000 bytes stand for another text"]);
    wrong = tokenizer();
    wrong["normalizer"] = json!({ "type": "Lowercase" });
    refused(
        &["the tokens of its 400 bytes stand for another text, of 400"],
        &[
            "eval",
            &model,
            &room.write("upper", &b"LIGHT".repeat(80)),
            "--tokenizer",
            &room.write("wrong.json", wrong.to_string().as_bytes()),
        ],
    );

    // Texts that have no pieces, or too few.
    refused(&["latin: the text is no UTF-8"], &["eval", &model, &room.write("latin", &[0xe4; 100])]);
    let short = room.write("short", b"hearthe and and and and and and");
    refused(&["the text has 9 tokens, and a context of 16 needs 17"], &["eval", &model, &short]);
    let out = room.path("run");
    let tenth = room.write("tenth", &b"the".repeat(100));
    refused(
        &["tenth: the held-out tenth has 10 tokens, and a context of 16 needs 17"],
        &training(&tenth, &out, &["--from", &model, "--steps", "1"]),
    );
}

#[test]
fn bytes_and_masks_are_no_matter_of_pieces() {
    let room = Room::new("kinds");
    let text = room.path("text");
    let masked = room.published("masked", Config { causal: false, ..CONFIG }, false);
    let model = room.path("masked.bin");
    done(&["import", &masked, "--to", &model]);
    let out = room.path("run");
    let says = "masked.bin: the model has 272 tokens, pieces of words, and sees both ways";
    refused(&[says], &["eval", &model, &text]);
    refused(&[says], &training(&text, &out, &["--from", &model, "--steps", "1"]));
    assert!(!Path::new(&out).exists());
    done(&["export", &model, "--to", &room.path("exported")]);
    // Models of 256 tokens, beside a tokenizer of others, are models of bytes.
    let mut learner = Learner::new(Config { vocabulary: 256, ..CONFIG }, 1, 1, 1).unwrap();
    learner.initialize(1);
    exchange::export(&room.0.join("bytes"), &learner.config(), learner.parameters()).unwrap();
    let (bytes, model) = (room.path("bytes"), room.path("bytes.bin"));
    done(&["import", &bytes, "--to", &model]);
    let said = done(&["eval", &model, &text]);
    let bits = said.lines().find_map(|line| line.strip_prefix("bits per byte at 1 sweep: ")).unwrap();
    // Nothing was learnt: all bytes are about as likely.
    assert!((bits.parse::<f64>().unwrap() - 8.0).abs() < 0.1, "{bits}");
    let file = room.path("tokenizer.json");
    refused(&["the model's tokens are bytes"], &["eval", &model, &text, "--tokenizer", &file]);
    // Unless the model says of itself that they are not.
    fs::copy(&file, room.0.join("bytes/tokenizer.json")).unwrap();
    refused(&["a model of 256 tokens is one of bytes here"], &["import", &bytes, "--to", &model]);
}
