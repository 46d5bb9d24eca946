//! `codegen --rust`: what it writes stands in tests/data, and compiles here.

use crate::common::{Room, done, run};
use attractor::quantized::Bf16Network;
use attractor::{Align64, Stop};
use std::fs;
use std::path::Path;

/// Networks of PyTorch's: shipped.attr with its certificate; `plain` in integers (`quantise` on eight random rows) and in 16 bits; `dense` in `f64` (`import`).
mod generated {
    pub(super) mod shipped {
        include!("../data/shipped.rs");
    }
    pub(super) mod integers {
        include!("../data/integers.rs");
    }
    pub(super) mod half {
        include!("../data/half.rs");
    }
    pub(super) mod wide {
        include!("../data/wide.rs");
    }
}

fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name).to_str().unwrap().to_owned()
}

/// A network of PyTorch's in 16 bits, as only the library makes them.
fn half(room: &Room) -> Vec<u8> {
    type Net = generated::half::Net;
    done(&["import", &file("plain.safetensors"), "--to", &room.path("plain.attr")]);
    let mut place = Align64([0; Net::file_bytes(false)]);
    place.0.copy_from_slice(&room.read("plain.attr"));
    let half = Bf16Network::new(Net::from_bytes(&place.0).unwrap().network()).unwrap();
    let mut file = vec![0; Bf16Network::<Net>::file_bytes()];
    half.to_bytes(&mut file).unwrap();
    file
}

#[test]
fn a_rust_file_is_what_compiles_here() {
    let room = Room::new("rust");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../firmware/data/shipped.attr");
    fs::copy(shipped, room.path("shipped.attr")).unwrap();
    room.write("half.attr", &half(&room));
    for name in ["integers", "wide"] {
        fs::copy(file(&format!("{name}.attr")), room.path(&format!("{name}.attr"))).unwrap();
    }
    for name in ["shipped", "integers", "half", "wide"] {
        let to = room.path(&format!("{name}.rs"));
        done(&["codegen", &room.path(&format!("{name}.attr")), "--rust", &to]);
        let expected = fs::read_to_string(file(&format!("{name}.rs"))).unwrap();
        assert!(
            fs::read_to_string(&to).unwrap() == expected,
            "write tests/data/{name}.rs anew with `codegen --rust`"
        );
    }
}

/// For the input of make.py: `expected.txt` has the outputs of NumPy.
#[test]
fn and_its_networks_solve() {
    let text = fs::read_to_string(file("expected.txt")).unwrap();
    let expected = |name: &str| -> Vec<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().map(|number| number.parse().unwrap()).collect()
    };
    let model = generated::shipped::model().unwrap();
    let mut state = generated::shipped::Net::state();
    // Its certificate came along.
    model.certified().unwrap().solve(&[0.5, -1.0, 0.25], &mut state, 1e-6).unwrap();
    for (found, expected) in state.output().iter().zip(expected("tied:50 ")) {
        assert!((f64::from(*found) - expected).abs() < 1e-6);
    }
    let model = generated::wide::model().unwrap();
    let mut state = generated::wide::Net::state();
    model.network().solve(&[0.5, -1.0, 0.25], &mut state, Stop::residual(1e-10)).unwrap();
    for (found, expected) in state.output().iter().zip(expected("dense ")) {
        assert!((found - expected).abs() < 1e-9);
    }
    let mut state = generated::half::Net::state();
    generated::half::model().unwrap().solve(&[0.5, -1.0, 0.25], &mut state, Stop::residual(1e-6)).unwrap();
    for (found, expected) in state.output().iter().zip(expected("feedforward ")) {
        assert!((f64::from(*found) - expected).abs() < 0.01);
    }
    let model = generated::integers::model().unwrap();
    let integers = model.network();
    let mut state = attractor::quantized::Quantized::<generated::integers::Net, i16>::state();
    integers.solve(&integers.input(&[0.5, -1.0, 0.25]).unwrap(), &mut state, 100).unwrap();
    for (found, expected) in state.output().iter().zip(expected("feedforward ")) {
        assert!((f64::from(f32::from(*found) * integers.output_unit()) - expected).abs() < 0.01);
    }
}

#[test]
fn what_cannot_be_written_is_said() {
    let room = Room::new("codegen-refused");
    let to = room.path("net.h");
    let integers = file("integers.attr");
    let answer = run(&["codegen", &integers, "--c", &to]);
    assert_eq!((answer.code, answer.output.as_str()), (1, ""));
    assert!(
        answer.error.contains("is of integers, and the C library solves f32 and f64"),
        "{}",
        answer.error
    );
    assert!(!Path::new(&to).exists());
    let damaged = room.write("damaged.attr", &fs::read(&integers).unwrap()[..100]);
    let answer = run(&["codegen", &damaged, "--rust", &to]);
    assert!(
        answer.code == 1 && answer.error.starts_with(&format!("attractor: {damaged}: ")),
        "{}",
        answer.error
    );
    assert!(!Path::new(&to).exists());
}
