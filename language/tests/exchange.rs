//! Models that go out and come in: the bits, the logits of transformers, and files that are refused.
#![cfg(feature = "std")]

mod naive;

use attractor::simd::Backend;
use attractor_language::exchange::{self, ExchangeError};
use attractor_language::pass::{Model, Sweeps, room};
use attractor_language::{Config, tokens::Tokens};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::{TempDir, tempdir};

/// So small that every byte of its file can be tried.
const TINY: Config = Config {
    vocabulary: 5,
    context: 3,
    width: 2,
    heads: 1,
    blocks: 2,
    feedback: false,
    causal: true,
    tied: false,
    places: true,
    window: 0,
};

/// A folder with an exported model.
fn exported(config: &Config) -> (TempDir, Vec<f32>) {
    let folder = tempdir().unwrap();
    let parameters = naive::natural(config, 3);
    exchange::export(folder.path(), config, &parameters).unwrap();
    (folder, parameters)
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

/// The error of an import, which is one line and says all of this.
#[track_caller]
fn refused(folder: &Path, says: &[&str]) -> ExchangeError {
    let error = exchange::import(folder).expect_err("this was imported");
    let line = error.to_string();
    assert!(!line.contains('\n'), "more than a line: {line}");
    for part in says {
        assert!(line.contains(part), "`{line}` does not say `{part}`");
    }
    error
}

/// A tensor of a file: name, kind of numbers, shape, bytes.
#[derive(Clone)]
struct Tensor {
    name: String,
    kind: &'static str,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// A file as the format describes it; names may be there twice.
fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let (mut entries, mut data) = (vec![r#""__metadata__":{"format":"pt"}"#.to_owned()], Vec::new());
    for Tensor { name, kind, shape, bytes } in tensors {
        let (from, to) = (data.len(), data.len() + bytes.len());
        entries
            .push(format!(r#""{name}":{{"dtype":"{kind}","shape":{shape:?},"data_offsets":[{from},{to}]}}"#));
        data.extend(bytes);
    }
    let header = format!("{{{}}}", entries.join(","));
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

/// The tensors of a model, their names without a prefix as in the first published files.
fn tensors(config: &Config, parameters: &[f32]) -> Vec<Tensor> {
    let mut tensors = Vec::new();
    config.tensors(|name, shape, place| {
        tensors.push(Tensor {
            name: name.to_string().replacen("transformer.", "", 1),
            kind: "F32",
            shape: shape.to_vec(),
            bytes: parameters[place].iter().flat_map(|number| number.to_le_bytes()).collect(),
        });
    });
    tensors
}

/// A folder whose tensors are these and whose `config.json` is TINY's.
fn tiny_of(tensors: &[Tensor]) -> TempDir {
    let (folder, _) = exported(&TINY);
    fs::write(folder.path().join("model.safetensors"), safetensors(tensors)).unwrap();
    folder
}

#[test]
fn a_checkpoint_of_transformers_has_its_logits() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/gpt2-tiny");
    let (config, parameters) = exchange::import(&folder).unwrap();
    let shape = Config { feedback: false, ..Config::new(24, 3, 2, 32) };
    assert_eq!(config, shape);
    let expected = fs::read(folder.join("expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&expected).unwrap();
    let four = |name: &str| -> Vec<[u8; 4]> {
        expected.tensor(name).unwrap().data().chunks_exact(4).map(|four| four.try_into().unwrap()).collect()
    };
    let tokens: Vec<u32> = four("tokens").into_iter().map(u32::from_le_bytes).collect();
    let expected: Vec<f32> = four("logits").into_iter().map(f32::from_le_bytes).collect();
    assert_eq!((tokens.len(), expected.len()), (32, 32 * 256));

    // Beginnings of it too: what comes later changes nothing.
    for length in [1, 7, 32] {
        let close = |who: &str, at: &dyn Fn(usize, usize) -> f64| {
            for (i, expected) in expected[..length * 256].iter().enumerate() {
                let (token, word) = (i / 256, i % 256);
                let found = at(token, word);
                let difference = (found - f64::from(*expected)).abs();
                assert!(difference < 1e-4, "{who}, {word} after {token}: {found}, not {expected}");
            }
        };
        let exact: Vec<f64> = parameters.iter().map(|number| f64::from(*number)).collect();
        let right = naive::logits(&config, &exact, &tokens[..length], 1);
        close("oracle", &|token, word| right[token][word]);
        let model = Model::new(config, &parameters).unwrap();
        for backend in Backend::available() {
            let mut memory = vec![f32::NAN; room(&config, 1, length, 0)];
            let mut logits = vec![f32::NAN; length * 256];
            let sweeps = Sweeps::Unrolled(1);
            model.logits(backend, &tokens[..length], sweeps, &mut memory, &mut logits).unwrap();
            close(&format!("{backend:?}"), &|token, word| f64::from(logits[word * length + token]));
        }
    }
}

#[test]
fn a_model_comes_back_with_its_bits() {
    for config in [
        TINY,
        Config::new(8, 2, 3, 16),
        Config { feedback: false, ..Config::new(8, 2, 3, 16) },
        Config { causal: false, ..Config::new(6, 3, 1, 4) },
        Config { places: false, window: 3, ..Config::new(6, 3, 2, 4) },
        Config { vocabulary: 300, ..Config::new(130, 1, 1, 7) },
    ] {
        let mut parameters = naive::natural(&config, 3);
        parameters[..4].copy_from_slice(&[-0.0, f32::from_bits(1), f32::MAX, -f32::MIN_POSITIVE]);
        let folder = tempdir().unwrap();
        let inner = folder.path().join("made/on the way");
        exchange::export(&inner, &config, &parameters).unwrap();
        let (same, back) = exchange::import(&inner).unwrap();
        assert_eq!(same, config);
        assert_eq!(bits(&back), bits(&parameters));

        let mut names: Vec<_> =
            fs::read_dir(&inner).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        let expected = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
        assert_eq!(names, expected[..if config.vocabulary == 256 { 4 } else { 2 }]);
        // Once more over the files that are there: the same bytes.
        let bytes = || names.iter().map(|name| fs::read(inner.join(name)).unwrap()).collect::<Vec<_>>();
        let before = bytes();
        exchange::export(&inner, &config, &parameters).unwrap();
        assert_eq!(bytes(), before);
        assert_eq!(fs::read_dir(&inner).unwrap().count(), names.len());
    }
}

#[test]
fn the_file_has_the_names_of_gpt2() {
    let config = Config::new(8, 2, 3, 16);
    let (folder, parameters) = exported(&config);
    let bytes = fs::read(folder.path().join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut names = vec!["transformer.wte.weight".to_owned(), "transformer.wpe.weight".to_owned()];
    for block in 0..3 {
        for part in [
            "ln_1.weight",
            "ln_1.bias",
            "attn.c_attn.weight",
            "attn.c_attn.bias",
            "attn.c_proj.weight",
            "attn.c_proj.bias",
            "ln_2.weight",
            "ln_2.bias",
            "mlp.c_fc.weight",
            "mlp.c_fc.bias",
            "mlp.c_proj.weight",
            "mlp.c_proj.bias",
            "feedback.ln.weight",
            "feedback.ln.bias",
            "feedback.weight",
            "feedback.gate",
        ] {
            if block < 2 || !part.starts_with("feedback") {
                names.push(format!("transformer.h.{block}.{part}"));
            }
        }
    }
    names.extend(["transformer.ln_f.weight".to_owned(), "transformer.ln_f.bias".to_owned()]);
    names.sort();
    let mut found: Vec<_> = file.names().into_iter().map(str::to_owned).collect();
    found.sort();
    assert_eq!(found, names);
    for (name, shape) in [
        ("transformer.wte.weight", &[256, 8][..]),
        ("transformer.wpe.weight", &[16, 8]),
        ("transformer.h.1.attn.c_attn.weight", &[8, 24]),
        ("transformer.h.1.mlp.c_fc.weight", &[8, 32]),
        ("transformer.h.1.mlp.c_proj.weight", &[32, 8]),
        ("transformer.h.1.feedback.weight", &[8, 8]),
        ("transformer.h.1.feedback.gate", &[8]),
    ] {
        assert_eq!(file.tensor(name).unwrap().shape(), shape, "{name}");
    }
    let place = config.block(1).mlp_c_fc_weight;
    let number = &file.tensor("transformer.h.1.mlp.c_fc.weight").unwrap().data()[4 * 7..4 * 8];
    assert_eq!(number, parameters[place.start + 7].to_le_bytes());

    let said: Value = serde_json::from_slice(&fs::read(folder.path().join("config.json")).unwrap()).unwrap();
    for (key, value) in [
        ("model_type", json!("gpt2")),
        ("architectures", json!(["GPT2LMHeadModel"])),
        ("vocab_size", json!(256)),
        ("n_positions", json!(16)),
        ("n_ctx", json!(16)),
        ("n_embd", json!(8)),
        ("n_head", json!(2)),
        ("n_layer", json!(3)),
        ("activation_function", json!("gelu_new")),
        ("layer_norm_epsilon", json!(1e-5)),
        ("tie_word_embeddings", json!(true)),
        ("attractor_feedback", json!(true)),
        ("attractor_causal", json!(true)),
    ] {
        assert_eq!(said[key], value, "{key}");
    }
    // What is not causal, has a window or no places is no GPT-2, and does not say so.
    for other in [
        Config { causal: false, ..config },
        Config { window: 3, ..config },
        Config { places: false, ..config },
    ] {
        let (folder, _) = exported(&other);
        let said = fs::read_to_string(folder.path().join("config.json")).unwrap();
        assert!(!said.to_lowercase().contains("gpt2"), "{said}");
    }
}

#[test]
fn what_others_published_is_read() {
    let parameters = naive::natural(&TINY, 3);
    let plain = tensors(&TINY, &parameters);
    let same = |folder: &TempDir| {
        let (config, found) = exchange::import(folder.path()).unwrap();
        assert_eq!(config, TINY);
        assert_eq!(bits(&found), bits(&parameters));
    };
    same(&tiny_of(&plain));

    // Another order, masks among the parameters, the embedding once more as the output.
    let mut more: Vec<_> = plain.iter().rev().cloned().collect();
    for (name, kind, shape, count) in [
        ("h.0.attn.bias", "F32", vec![1, 1, 3, 3], 36),
        ("h.1.attn.bias", "U8", vec![1, 1, 3, 3], 9),
        ("h.1.attn.masked_bias", "F32", vec![], 4),
        ("transformer.h.0.attn.masked_bias", "F32", vec![], 4),
    ] {
        more.push(Tensor { name: name.to_owned(), kind, shape, bytes: vec![255; count] });
    }
    more.push(Tensor { name: "lm_head.weight".to_owned(), ..plain[0].clone() });
    same(&tiny_of(&more));

    // Several files, one of which has the prefix.
    let folder = tiny_of(&plain);
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let (one, two) = more.split_at(11);
    let mut map = serde_json::Map::new();
    for (file, tensors) in
        [("model-00001-of-00002.safetensors", one), ("model-00002-of-00002.safetensors", two)]
    {
        fs::write(folder.path().join(file), safetensors(tensors)).unwrap();
        map.extend(tensors.iter().map(|tensor| (tensor.name.clone(), json!(file))));
    }
    let index = folder.path().join("model.safetensors.index.json");
    let write = |map: &serde_json::Map<String, Value>| {
        fs::write(&index, json!({ "metadata": { "total_size": 1 }, "weight_map": map }).to_string()).unwrap();
    };
    write(&map);
    same(&folder);
    let mut wrong = map.clone();
    wrong.insert("wte.weight".to_owned(), json!("../model-00001-of-00002.safetensors"));
    write(&wrong);
    refused(folder.path(), &["index.json", "`wte.weight`", "names no file of this folder"]);
    wrong.insert("wte.weight".to_owned(), map["ln_f.bias"].clone());
    write(&wrong);
    refused(folder.path(), &["`wte.weight` is missing", "index.json says it is here"]);
    fs::write(&index, "{}").unwrap();
    refused(folder.path(), &["index.json", "`weight_map`"]);
    write(&map);
    let mut twice = two.to_vec();
    twice.push(one[0].clone());
    fs::write(folder.path().join("model-00002-of-00002.safetensors"), safetensors(&twice)).unwrap();
    refused(folder.path(), &[&format!("`{}` is there twice", one[0].name), "model-00001-of-00002"]);
    fs::remove_file(folder.path().join("model-00002-of-00002.safetensors")).unwrap();
    refused(folder.path(), &["model-00002-of-00002.safetensors", "o such file"]);
}

#[test]
fn numbers_of_16_bits_are_read_exactly() {
    let halves = [
        (0x3c00, 1.0),
        (0xc000, -2.0),
        (0x7bff, 65504.0),
        (0x3555, 1365.0 / 4096.0),
        (0x0400, 1.0 / 16384.0),
        (0x03ff, 1023.0 / 16_777_216.0),
        (0x0001, 1.0 / 16_777_216.0),
        (0x8001, -1.0 / 16_777_216.0),
        (0x8000, -0.0),
        (0x0000, 0.0),
    ];
    let brains = [
        (0x3f80, 1.0),
        (0xc2f7, -123.5),
        (0x7f7f, f32::from_bits(0x7f7f_0000)),
        (0x8001, f32::from_bits(0x8001_0000)),
        (0x3eab, 171.0 / 512.0),
        (0x8000, -0.0),
        (0x0000, 0.0),
        (0x4049, 3.140625),
        (0xbf00, -0.5),
        (0x4000, 2.0),
    ];
    for (kind, table, infinite) in [("F16", halves, 0x7c00_u16), ("BF16", brains, 0xff80)] {
        let mut all = tensors(&TINY, &naive::natural(&TINY, 3));
        all[0].kind = kind;
        all[0].bytes = table.iter().flat_map(|(bits, _): &(u16, f32)| bits.to_le_bytes()).collect();
        let (_, found) = exchange::import(tiny_of(&all).path()).unwrap();
        let expected: Vec<f32> = table.iter().map(|(_, number)| *number).collect();
        assert_eq!(bits(&found[TINY.wte()]), bits(&expected), "{kind}");

        all[0].bytes[6..8].copy_from_slice(&infinite.to_le_bytes());
        refused(tiny_of(&all).path(), &["`wte.weight`", "inf at place 3"]);
    }
}

#[test]
fn every_damaged_file_is_refused() {
    let tiny = Config { blocks: 1, vocabulary: 3, ..TINY };
    let (folder, parameters) = exported(&tiny);
    let path = folder.path().join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    assert_eq!(whole.len(), header + 4 * parameters.len());
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        refused(folder.path(), &["model.safetensors"]);
    }
    fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
    refused(folder.path(), &["model.safetensors", "bytes, and by its header"]);

    // A header that differs in a bit is refused, or says the same: spaces at its end, and what `format` is.
    let said = |at: usize| {
        let text = String::from_utf8_lossy(&whole[8..header]);
        let metadata = text.find("},").unwrap();
        (8..8 + metadata).contains(&at) || at >= 8 + text.trim_end().len()
    };
    let mut accepted = 0;
    for at in 0..header {
        for bit in [0, 1 + at % 7] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            fs::write(&path, bytes).unwrap();
            match exchange::import(folder.path()) {
                Ok((config, found)) => {
                    assert!(said(at), "a changed byte {at} was taken");
                    assert!(config == tiny && bits(&found) == bits(&parameters));
                    accepted += 1;
                }
                Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
            }
        }
    }
    assert!(accepted < 60, "{accepted}");
    // A name that stands twice in an object within the header.
    let text = String::from_utf8(whole[8..header].to_vec()).unwrap();
    let twice = text.replacen(r#""shape":"#, r#""shape":[9],"shape":"#, 1);
    assert_ne!(twice, text);
    let bytes = [&(twice.len() as u64).to_le_bytes(), twice.as_bytes(), &whole[header..]].concat();
    fs::write(&path, bytes).unwrap();
    refused(folder.path(), &["model.safetensors", "`shape` stands there twice"]);
    // A length that no memory could hold.
    fs::write(&path, [&u64::MAX.to_le_bytes(), &whole[8..]].concat()).unwrap();
    refused(folder.path(), &["model.safetensors", "header of 18446744073709551615 bytes"]);
}

#[test]
fn tensors_that_do_not_fit_are_refused_by_name() {
    let plain = tensors(&TINY, &naive::natural(&TINY, 3));
    let find = |name: &str| plain.iter().position(|tensor| tensor.name == name).unwrap();

    for number in 0..plain.len() {
        let mut less = plain.clone();
        let gone = less.remove(number);
        let shape: Vec<_> = gone.shape.iter().map(usize::to_string).collect();
        let says = format!("`transformer.{}`, which is {}, is missing", gone.name, shape.join(" x "));
        refused(tiny_of(&less).path(), &[&says]);

        let mut twice = plain.clone();
        twice.push(plain[number].clone());
        refused(tiny_of(&twice).path(), &[&format!("`{}` stands there twice", gone.name)]);
        let last = twice.len() - 1;
        twice[last].name = format!("transformer.{}", gone.name);
        refused(tiny_of(&twice).path(), &["is there twice", &format!("`{}`", gone.name)]);
    }

    let mut turned = plain.clone();
    turned[find("h.1.mlp.c_fc.weight")].shape = vec![8, 2];
    refused(tiny_of(&turned).path(), &["`h.1.mlp.c_fc.weight` is 8 x 2 and must be 2 x 8"]);
    turned[find("h.1.mlp.c_fc.weight")].shape = vec![16];
    refused(tiny_of(&turned).path(), &["`h.1.mlp.c_fc.weight` is 16 and must be 2 x 8"]);

    let mut whole = plain.clone();
    whole[find("wpe.weight")].kind = "I32";
    refused(tiny_of(&whole).path(), &["`wpe.weight` is I32 and must be F32, F16 or BF16"]);

    for (number, says) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let mut infinite = plain.clone();
        infinite[find("ln_f.bias")].bytes[4..].copy_from_slice(&number.to_le_bytes());
        refused(tiny_of(&infinite).path(), &[&format!("`ln_f.bias` has {says} at place 1")]);
    }

    let mut more = plain.clone();
    more.push(Tensor { name: "h.2.ln_1.bias".to_owned(), ..plain[find("ln_f.bias")].clone() });
    refused(tiny_of(&more).path(), &["`h.2.ln_1.bias` has no place in a model of", "blocks 2"]);

    let mut head = plain.clone();
    head.push(Tensor { name: "lm_head.weight".to_owned(), ..plain[0].clone() });
    head.last_mut().unwrap().bytes[39] ^= 1;
    refused(tiny_of(&head).path(), &["`lm_head.weight` is not the embedding"]);
    head.last_mut().unwrap().shape = vec![2, 5];
    refused(tiny_of(&head).path(), &["`lm_head.weight` is 2 x 5 and must be 5 x 2"]);

    // Tensors of feedback in a model that says it has none, and the other way round.
    let fed = Config { feedback: true, ..TINY };
    let (folder, _) = exported(&fed);
    change(folder.path(), "attractor_feedback", Some(json!(false)));
    refused(folder.path(), &["`transformer.h.0.feedback.", "has no place", "no feedback"]);
    let (folder, _) = exported(&TINY);
    change(folder.path(), "attractor_feedback", Some(json!(true)));
    refused(folder.path(), &["`transformer.h.0.feedback.ln.weight`, which is 2, is missing"]);
}

/// Sets a key of `config.json`, or takes it away.
fn change(folder: &Path, key: &str, value: Option<Value>) {
    let path = folder.join("config.json");
    let mut said: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let map = said.as_object_mut().unwrap();
    match value {
        Some(value) => drop(map.insert(key.to_owned(), value)),
        None => drop(map.remove(key)),
    }
    fs::write(path, said.to_string()).unwrap();
}

#[test]
fn a_configuration_of_another_model_is_refused() {
    for (key, value, says) in [
        ("vocab_size", json!(6), "is 5 x 2 and must be 6 x 2"),
        ("n_positions", json!(4), "`transformer.wpe.weight` is 3 x 2 and must be 4 x 2"),
        ("n_embd", json!(3), "is 5 x 2 and must be 5 x 3"),
        ("n_layer", json!(3), "`transformer.h.2.ln_1.weight`, which is 2, is missing"),
        ("n_layer", json!(1), "`transformer.h.1."),
        ("n_head", json!(3), "3 heads do not divide a width of 2"),
        ("n_head", json!(0), "heads is 0"),
        ("n_embd", json!(1_000_000), "width is 1000000"),
        ("n_embd", json!(-2), "`n_embd` is -2; it must be a whole number"),
        ("n_embd", json!("2"), "`n_embd` is \"2\""),
        (
            "activation_function",
            json!("relu"),
            "`activation_function` is \"relu\"; a model here has \"gelu_new\"",
        ),
        ("layer_norm_epsilon", json!(1e-6), "`layer_norm_epsilon` is"),
        ("n_inner", json!(6), "`n_inner` is 6; a model here has null or 8"),
        ("scale_attn_weights", json!(false), "`scale_attn_weights`"),
        ("scale_attn_by_inverse_layer_idx", json!(true), "`scale_attn_by_inverse_layer_idx`"),
        ("add_cross_attention", json!(true), "`add_cross_attention`"),
        ("model_type", json!("llama"), "`model_type` is \"llama\"; a model here has \"gpt2\""),
        ("tie_word_embeddings", json!(false), "`lm_head.weight`, which is 5 x 2, is missing"),
        ("attractor_causal", json!(1), "`attractor_causal` is 1"),
    ] {
        let (folder, _) = exported(&TINY);
        change(folder.path(), key, Some(value));
        refused(folder.path(), &[says]);
    }
    for key in ["vocab_size", "n_embd", "n_head", "n_layer"] {
        let (folder, _) = exported(&TINY);
        change(folder.path(), key, None);
        refused(folder.path(), &["config.json", &format!("`{key}` is missing")]);
    }
    // What GPT-2's own files do not say, or say otherwise.
    let (folder, parameters) = exported(&TINY);
    for key in ["n_positions", "attractor_feedback", "attractor_causal", "tie_word_embeddings", "n_inner"] {
        change(folder.path(), key, None);
    }
    change(folder.path(), "activation_function", Some(json!("gelu_pytorch_tanh")));
    change(folder.path(), "n_inner", Some(json!(8)));
    assert_eq!(exchange::import(folder.path()).unwrap(), (TINY, parameters));

    let path = folder.path().join("config.json");
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        refused(folder.path(), &["config.json"]);
    }
    fs::write(&path, r#"{"n_embd": 2, "n_embd": 2}"#).unwrap();
    refused(folder.path(), &["config.json", "`n_embd` stands there twice"]);
    fs::remove_file(&path).unwrap();
    refused(folder.path(), &["config.json", "o such file"]);
}

#[test]
fn what_cannot_be_exported_changes_nothing() {
    let (folder, parameters) = exported(&TINY);
    let export = |folder: &Path, config: &Config, parameters: &[f32]| {
        exchange::export(folder, config, parameters).expect_err("this was exported").to_string()
    };
    let error = export(folder.path(), &TINY, &parameters[1..]);
    let count = parameters.len();
    assert_eq!(error, format!("there are {} parameters, and a model of this shape has {count}", count - 1));
    let error = export(folder.path(), &Config { heads: 3, ..TINY }, &parameters);
    assert_eq!(error, "3 heads do not divide a width of 2");
    let mut infinite = parameters.clone();
    infinite[TINY.wpe().start + 4] = f32::NAN;
    let error = export(folder.path(), &TINY, &infinite);
    assert_eq!(error, "tensor `transformer.wpe.weight` has NaN at place 4: parameters are finite");
    assert_eq!(exchange::import(folder.path()).unwrap(), (TINY, parameters.clone()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);

    let file = folder.path().join("config.json");
    let error = export(&file, &TINY, &parameters);
    assert!(error.contains("config.json") && !error.contains('\n'), "{error}");
}

#[test]
fn bytes_are_tokens_of_their_value() {
    let all: Vec<u8> = (0..=255).collect();
    let tokens = Tokens::bytes().encode(&all).unwrap();
    assert_eq!(tokens, (0..256).collect::<Vec<u32>>());
    assert_eq!(Tokens::bytes().decode(&tokens).unwrap(), all);
    assert_eq!(Tokens::bytes().decode(&[65, 256]).unwrap_err().to_string(), "token 256 stands for no text");
    let config = Config::new(8, 2, 1, 16);
    let (folder, _) = exported(&config);
    let exported = fs::read(folder.path().join("tokenizer.json")).unwrap();
    assert!(Tokens::open(folder.path(), &config).unwrap().is_bytes());
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let tokens = Tokens::open(folder.path(), &config).unwrap();
    assert!(tokens.is_bytes());
    tokens.save(folder.path()).unwrap();
    assert_eq!(fs::read(folder.path().join("tokenizer.json")).unwrap(), exported);

    // GPT-2's characters for some bytes, from its published vocabulary.
    let said: Value = serde_json::from_slice(&exported).unwrap();
    let vocabulary = said["model"]["vocab"].as_object().unwrap();
    assert_eq!(vocabulary.len(), 256);
    for (character, byte) in [
        ("!", 33),
        ("~", 126),
        ("¡", 161),
        ("ÿ", 255),
        ("Ā", 0),
        ("Ċ", 10),
        ("Ġ", 32),
        ("ġ", 127),
        ("Ń", 173),
    ] {
        assert_eq!(vocabulary[character], byte, "{character}");
    }

    let large = Config { vocabulary: 258, ..config };
    let error = Tokens::open(&folder.path().join("elsewhere"), &large).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json") && error.contains("o such file"), "{error}");
    #[cfg(not(feature = "bpe"))]
    {
        let error = Tokens::open(folder.path(), &large).unwrap_err().to_string();
        assert!(error.contains("258 tokens") && error.contains("feature `bpe`"), "{error}");
    }
}

#[cfg(feature = "bpe")]
mod pieces {
    use super::*;
    use tokenizers::Tokenizer;

    #[test]
    fn the_exported_tokenizer_gives_the_bytes_of_any_text() {
        let (folder, _) = exported(&Config::new(8, 2, 1, 16));
        let tokenizer = Tokenizer::from_file(folder.path().join("tokenizer.json")).unwrap();
        assert_eq!(tokenizer.get_vocab_size(true), 256);
        // All characters of one and two bytes, and some of three and four: every byte that UTF-8 has.
        let others = (0x800..0x11_0000).step_by(997).filter_map(char::from_u32);
        let text: String = (0..0x800).filter_map(char::from_u32).chain(others).collect();
        let mut seen = [false; 256];
        text.bytes().for_each(|byte| seen[usize::from(byte)] = true);
        assert_eq!(seen.iter().filter(|seen| !**seen).count(), 13, "UTF-8 has no C0, C1, F5 to FF");
        for text in [text.as_str(), " In the  beginning\n\n\tGod's 7 days", ""] {
            let encoding = tokenizer.encode(text, true).unwrap();
            let bytes: Vec<u32> = text.bytes().map(u32::from).collect();
            assert_eq!(encoding.get_ids(), bytes);
            assert_eq!(tokenizer.decode(&bytes, false).unwrap(), text);
        }
    }

    #[test]
    fn pieces_of_words_are_read() {
        let config = Config::new(8, 2, 1, 16);
        let (folder, _) = exported(&config);
        let path = folder.path().join("tokenizer.json");
        let mut said: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let model = said["model"].as_object_mut().unwrap();
        let vocabulary = model["vocab"].as_object_mut().unwrap();
        vocabulary.insert("he".to_owned(), json!(256));
        vocabulary.insert("Ġt".to_owned(), json!(257));
        vocabulary.insert("Ġthe".to_owned(), json!(258));
        model.insert("merges".to_owned(), json!(["h e", "Ġ t", "Ġt he"]));
        said["pre_tokenizer"]["use_regex"] = json!(true);
        said["added_tokens"] = json!([{ "id": 259, "content": "<|endoftext|>", "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false, "special": true }]);
        let write = |said: &Value| fs::write(&path, said.to_string()).unwrap();
        write(&said);

        let config = Config { vocabulary: 260, ..config };
        let tokens = Tokens::open(folder.path(), &config).unwrap();
        assert!(!tokens.is_bytes());
        let found = tokens.encode("he, the ä<|endoftext|>".as_bytes()).unwrap();
        assert_eq!(found, [256, 44, 258, 32, 0xc3, 0xa4, 259]);
        assert_eq!(tokens.decode(&found).unwrap(), "he, the ä<|endoftext|>".as_bytes());
        // Half a character, then all bytes by themselves.
        assert_eq!(tokens.decode(&[0xc3]).unwrap(), [0xc3]);
        let all: Vec<u32> = (0..256).collect();
        assert_eq!(tokens.decode(&all).unwrap(), (0..=255).collect::<Vec<u8>>());
        assert_eq!(tokens.decode(&[260]).unwrap_err().to_string(), "token 260 stands for no text");
        assert!(tokens.encode(&[0xff]).unwrap_err().to_string().contains("no UTF-8"));

        let elsewhere = folder.path().join("elsewhere");
        tokens.save(&elsewhere).unwrap();
        assert_eq!(fs::read(elsewhere.join("tokenizer.json")).unwrap(), fs::read(&path).unwrap());

        let error = |config: &Config| Tokens::open(folder.path(), config).unwrap_err().to_string();
        let less = Config { vocabulary: 259, ..config };
        assert!(error(&less).contains("there is a token 259, and the model has 259"), "{}", error(&less));
        said["decoder"] = json!({ "type": "WordPiece", "prefix": "##", "cleanup": true });
        write(&said);
        assert!(error(&config).contains("`ByteLevel`"), "{}", error(&config));
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(error(&config).contains("tokenizer.json: damaged"), "{}", error(&config));
    }
}

/// A tied model is written as others have it, every block by itself, and has the same logits.
#[test]
fn tied_models_are_exported_block_by_block() {
    for feedback in [false, true] {
        let config = Config { vocabulary: 7, tied: true, feedback, ..Config::new(8, 2, 3, 5) };
        let parameters: Vec<f32> =
            (0..config.parameters()).map(|i| ((i * 7919) % 1009) as f32 / 5000.0 - 0.1).collect();
        assert!(config.parameters() < config.untied().parameters());
        let folder = tempdir().unwrap();
        exchange::export(folder.path(), &config, &parameters).unwrap();
        let (found, all) = exchange::import(folder.path()).unwrap();
        assert_eq!(found, config.untied());
        let logits = |config: Config, parameters: &[f32]| {
            let mut memory = vec![0.0; room(&config, 1, 4, 0)];
            let mut logits = vec![f32::NAN; 4 * 7];
            let model = Model::new(config, parameters).unwrap();
            model
                .logits(Backend::best(), &[1, 0, 6, 2], Sweeps::Unrolled(2), &mut memory, &mut logits)
                .unwrap();
            logits
        };
        assert_eq!(logits(config, &parameters), logits(found, &all));
    }
}
