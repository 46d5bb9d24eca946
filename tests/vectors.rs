//! The portable backend gives the bits stored in `tests/data/vectors.txt`, on every processor, in every profile.
//!
//! `ATTRACTOR_VECTORS=renew cargo test --test vectors` writes the file anew, where results are meant to change. Programs
//! for other targets print the same lines and are compared with the same file.

#[path = "vectors/mod.rs"]
mod vectors;

use attractor::simd::Backend;
use std::fmt::Write;
use std::path::Path;
use vectors::{FINE, NOT_CONVERGED, NOT_FINITE, OTHER, vectors};

fn lines(backend: Backend) -> String {
    let mut lines = String::new();
    vectors(backend, &mut |name, bits| writeln!(lines, "{name} {bits:x}").expect("a string can grow"));
    lines
}

#[test]
fn the_portable_backend_gives_the_stored_bits() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/vectors.txt");
    let found = lines(Backend::portable());
    if std::env::var("ATTRACTOR_VECTORS").is_ok_and(|what| what == "renew") {
        std::fs::write(&path, &found).expect("the file can be written");
        return;
    }
    let stored = std::fs::read_to_string(&path).expect("the file can be read");
    for (number, (found, stored)) in found.lines().zip(stored.lines()).enumerate() {
        assert_eq!(found, stored, "line {} of {}", number + 1, path.display());
    }
    assert_eq!(found.lines().count(), stored.lines().count());
}

/// Which calls fail and which succeed is known without the file.
#[test]
fn calls_come_to_what_they_should_on_every_backend() {
    for backend in Backend::available() {
        let mut previous = String::new();
        let mut calls = 0;
        vectors(backend, &mut |name, bits| {
            // Integers have a test of their own.
            let Some((_, call)) = name.split_once('.') else { return };
            let (expected, is_first) = match call {
                "sweep" | "solve" | "gradient" | "adjoint" | "unrolled" => (FINE, name != previous),
                // An error has no further numbers.
                "short" => (NOT_CONVERGED, true),
                "nan" => (NOT_FINITE, true),
                "nan.changed" => (0, true),
                _ => (OTHER, false),
            };
            if is_first {
                assert_eq!(bits, expected, "{name}, {}", backend.name());
                calls += 1;
            }
            name.clone_into(&mut previous);
        });
        assert_eq!(calls, 7 * (5 + 1 + 2 + 1), "seven networks");
    }
}

/// Those of the stored file on every backend, for there is no other way to round them.
#[test]
fn every_backend_gives_the_stored_integers() {
    let stored = include_str!("data/vectors.txt");
    for backend in Backend::available() {
        let lines = lines(backend);
        let integers = |text: &str| text.lines().filter(|line| line.starts_with("integers")).count();
        assert_eq!(integers(&lines), 2 * (2 + 3 * 42), "{}", backend.name());
        let found = lines.lines().filter(|line| line.starts_with("integers"));
        assert!(found.eq(stored.lines().filter(|line| line.starts_with("integers"))), "{}", backend.name());
    }
}
