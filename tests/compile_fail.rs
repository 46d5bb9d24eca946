//! What must not compile does not, and the compiler's words help.
//!
//! Compilers word things differently, so by default only key words are looked for. With
//! `ATTRACTOR_EXACT_ERRORS=1` the texts are compared letter by letter with the `.stderr` files, written by the
//! compiler that `.ci/run` uses (`TRYBUILD=overwrite` writes them anew).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Every file of tests/compile_fail, and what a helpful text must contain.
const CASES: [(&str, &[&str]); 17] = [
    ("array_length", &["wrong size", "64 bytes", "60"]),
    ("batch_of_no_samples", &["a batch needs at least one sample"]),
    ("empty_stack", &["a network needs at least one layer above its input", "fnn![64, 48, 32, 10]"]),
    ("file_size", &["wrong size", "16360 bytes", "15000"]),
    ("input_width", &["64", "60"]),
    ("input_width_of_batch", &["64", "60"]),
    ("layer_number", &["this network has no layer of this number", "layer::<3>()"]),
    ("layer_of_no_units", &["a layer needs at least one unit"]),
    (
        "own_integers",
        &["the trait bound `Mine: attractor::simd::sealed::Token` is not satisfied", "sealed trait"],
    ),
    (
        "own_lanes",
        &["the trait bound `Wide: attractor::simd::sealed::Token` is not satisfied", "sealed trait"],
    ),
    (
        "own_samples",
        &["the trait bound `Short: ", "network::state::sealed::Shaped` is not satisfied", "sealed trait"],
    ),
    ("pruned_to_another", &["mismatched types", "Layer<_, Layer<_, Layer<10>>>", "Layer<32, Layer<10"]),
    ("target_width", &["expected a target of as many values as the outputs", "found `[{float}; 9]`"]),
    ("tied_too_strongly", &["tied feedback has a strength of 1 to 100 percent"]),
    ("too_small_a_workspace", &["16", "8"]),
    ("too_wide_a_window", &["the window of an acceleration is 1, 2 or 3", "Acceleration::<Net, 2>::new()"]),
    ("unknown_option", &["unknown option `dropout`", "feedback, hidden, output and scalar"]),
];

/// Names a directory of files that this test, run by itself once more, hands to trybuild.
const INNER: &str = "ATTRACTOR_COMPILE_FAIL_DIRECTORY";

/// The folder of a package of no content that depends on what the files use. trybuild checks all that the package it is run for depends
/// on, and this crate's tests need much more than that.
fn package() -> PathBuf {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_fail_package");
    fs::create_dir_all(package.join("src")).expect("the folder can be made");
    let manifest = format!(
        "[package]\nname = \"compile-fail\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n\
        attractor = {{ path = {:?}, features = [\"alloc\", \"rand_core\", \"rayon\", \"serde\"] }}\n\
        nalgebra = {{ version = \"*\", default-features = false }}\n\n[workspace]\n",
        env!("CARGO_MANIFEST_DIR")
    );
    fs::write(package.join("Cargo.toml"), manifest).expect("its manifest can be written");
    fs::write(package.join("src/lib.rs"), "").expect("and its code");
    package
}

/// This test once more, which hands those files to trybuild. What it said.
fn run(files: &Path, settings: &[(&str, &str)]) -> String {
    let output = Command::new(env::current_exe().expect("this test is a file"))
        .args(["--exact", "wrong_code_does_not_compile", "--nocapture"])
        .env(INNER, files)
        .env("CARGO_MANIFEST_DIR", package())
        .envs(settings.iter().copied())
        .output()
        .expect("this test can be run by itself");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    said.into_owned()
}

/// The files with this ending, by name.
fn files(directory: &Path, ending: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("the directory can be read") {
        let path = entry.expect("its entries too").path();
        if path.extension().is_some_and(|extension| extension == ending) {
            let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
            found.insert(name, fs::read_to_string(&path).expect("the file can be read"));
        }
    }
    found
}

#[test]
fn wrong_code_does_not_compile() {
    if let Some(directory) = env::var_os(INNER) {
        trybuild::TestCases::new().compile_fail(Path::new(&directory).join("*.rs"));
        return;
    }
    let given = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let sources = files(&given, "rs");
    assert!(
        sources.keys().eq(CASES.iter().map(|(name, _)| name)),
        "every file has its words: {:?}",
        sources.keys()
    );
    if env::var("ATTRACTOR_EXACT_ERRORS").is_ok_and(|exact| exact == "1") {
        let said = run(&given, &[]);
        // They are these texts then, so that neither way of looking is left behind by the other.
        look_for_words(&files(&given, "stderr"), &said);
        return;
    }

    // Copies, so that the compiler's texts can be collected beside them.
    let copies = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_fail");
    fs::remove_dir_all(&copies).or_else(|error| if copies.exists() { Err(error) } else { Ok(()) }).unwrap();
    fs::create_dir_all(&copies).unwrap();
    for (name, source) in &sources {
        fs::write(copies.join(name).with_extension("rs"), source).unwrap();
    }
    let said = run(&copies, &[("TRYBUILD", "overwrite")]);
    look_for_words(&files(&copies, "stderr"), &said);
}

/// That every text has its words.
fn look_for_words(texts: &BTreeMap<String, String>, said: &str) {
    for (name, words) in CASES {
        let text = texts.get(name).unwrap_or_else(|| panic!("no text for {name}: {said}"));
        assert!(text.contains("error"), "{name}: {text}");
        for word in words {
            assert!(text.contains(word), "{name}: `{word}` is not in this text:\n{text}");
        }
    }
}
