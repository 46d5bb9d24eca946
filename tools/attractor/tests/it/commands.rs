//! What is made of networks that are there, compared with what the library makes of networks as types.

use crate::common::{Room, done, figure, run, table, value};
use attractor::compress::{Importance, Measure};
use attractor::file::FileError;
use attractor::kernel::{LeakyRelu, Sigmoid};
use attractor::network::{Architecture, Takes};
use attractor::quantized::{Bf16Network, Calibration, Quantized};
use attractor::{Align64, Certificate, Dense, Network, Skip, Stop, Tied, fnn};
use std::fs;
use std::path::Path;

/// A model file of the library.
macro_rules! bytes {
    ($net:expr, $net_type:ty, $certificate:expr) => {{
        let certificate: Option<&Certificate<$net_type>> = $certificate;
        let mut file = vec![0; <$net_type>::file_bytes(certificate.is_some())];
        $net.to_bytes(certificate, &mut file).unwrap();
        file
    }};
}

/// Weights that are neither regular nor large.
fn fill<A: Architecture<Scalar = f32>>(net: &mut Network<A>, size: f32) {
    for (i, w) in net.params_mut().iter_mut().enumerate() {
        *w = size * (1.7 * i as f32 + 0.3).sin();
    }
}

/// 40 rows of 4 numbers and a class of 3, as text and as numbers.
fn rows() -> (String, Vec<[f32; 4]>) {
    let row = |i: usize| core::array::from_fn(|j| (0.9 * i as f32 + 1.3 * j as f32).sin());
    let rows: Vec<[f32; 4]> = (0..40).map(row).collect();
    let line = |(i, [a, b, c, d]): (usize, &[f32; 4])| format!("{a},{b},{c},{d},{}\n", i % 3);
    (rows.iter().enumerate().map(line).collect(), rows)
}

#[test]
fn certificates_are_those_of_the_library() {
    type Net = fnn![4, 6, 5, 3; feedback = Dense];
    let room = Room::new("certify");
    let mut net = Net::ZERO;
    fill(&mut net, 0.2);
    let certificate = net.certify().unwrap();
    let model = room.write("net.attr", &bytes!(net, Net, None));
    let other = room.path("certified.attr");
    let said = done(&["certify", &model, "--to", &other, "--error", "0.01", "--input", "2"]);
    assert_eq!(room.read("certified.attr"), bytes!(net, Net, Some(&certificate)));
    assert_eq!(room.read("net.attr"), bytes!(net, Net, None));
    assert_eq!(value(&said, "rate"), format!("{:.6}", certificate.rate()));
    let sweeps = certificate.sweeps(0.01, 2.0).unwrap();
    assert_eq!(value(&said, "sweeps to an error of 0.01 for inputs up to 2"), sweeps.to_string());
    // Without another name, in the file that is read.
    done(&["certify", &model]);
    assert_eq!(room.read("net.attr"), bytes!(net, Net, Some(&certificate)));
    let shown = done(&["show", &model]);
    assert_eq!(value(&shown, "rate"), format!("{:.6}", certificate.rate()));
    assert_eq!(value(&shown, "proved"), "yes");
    assert_eq!(value(&shown, "file bytes"), Net::file_bytes(true).to_string());
    // A certificate of other weights is said to be none.
    net.params_mut()[0] = 50.0;
    let wrong = room.write("wrong.attr", &bytes!(net, Net, Some(&certificate)));
    assert!(value(&done(&["show", &wrong]), "proved").starts_with("no, "));

    // A network without a proof stays as it is.
    fill(&mut net, 2.0);
    let model = room.write("net.attr", &bytes!(net, Net, None));
    let answer = run(&["certify", &model]);
    assert_eq!((answer.code, answer.output.as_str()), (1, ""));
    assert!(answer.error.contains("`limit` makes a network that has one"), "{}", answer.error);
    assert_eq!(room.read("net.attr"), bytes!(net, Net, None));

    let mut limited = net.clone();
    let certificate = limited.limit_rate(0.5).unwrap();
    let said = done(&["limit", &model, "--rate", "0.5"]);
    assert_eq!(room.read("net.attr"), bytes!(limited, Net, Some(&certificate)));
    assert_eq!(value(&said, "rate"), format!("{:.6}", certificate.rate()));
    // Of U of the first layer, behind its 24 weights of W.
    let largest =
        |net: &Net| net.params().iter().skip(24).take(18).fold(0.0_f32, |most, u| most.max(u.abs()));
    let factor = f64::from(largest(&limited) / largest(&net));
    assert!((figure(&said, "feedback multiplied by") - factor).abs() < 1e-4, "{said} {factor}");
}

#[test]
fn integers_are_those_of_the_library() {
    type Net = fnn![4, 6, 5, 3];
    let room = Room::new("quantise");
    let (text, rows) = rows();
    let data = room.write("data.csv", text.as_bytes());
    let mut net = Net::ZERO;
    fill(&mut net, 0.3);
    net.limit_rate(0.5).unwrap();
    let model = room.write("net.attr", &bytes!(net, Net, None));
    let (mut calibration, mut state) = (Calibration::<Net>::ZERO, Net::state());
    for row in &rows {
        state.reset();
        net.solve(row, &mut state, Stop::residual(1e-5).or_relative(1e-5)).unwrap();
        calibration.observe(row, &state).unwrap();
    }
    macro_rules! check {
        ($bits:ty) => {
            let integers = Quantized::<Net, $bits>::new(&net, &calibration).unwrap();
            let mut expected = vec![0; Quantized::<Net, $bits>::file_bytes(false)];
            integers.to_bytes(None, &mut expected).unwrap();
            let to = room.path("integers.attr");
            let said = done(&["quantise", &model, &data, "--to", &to, "--states", stringify!($bits)]);
            assert!(room.read("integers.attr") == expected, stringify!($bits));
            assert_eq!(value(&said, "bytes"), expected.len().to_string());
            // And they are evaluated: as right as the library has it.
            let mut state = Quantized::<Net, $bits>::state();
            let mut right = 0;
            for (i, row) in rows.iter().enumerate() {
                state.reset();
                integers.solve(&integers.input(row).unwrap(), &mut state, 100).unwrap();
                right += usize::from(state.label() == i % 3);
            }
            let accuracy = format!("{:.2} %", 100.0 * right as f64 / rows.len() as f64);
            assert_eq!(value(&done(&["evaluate", &to, &data]), "accuracy"), accuracy);
            let shown = done(&["show", &to]);
            assert_eq!(value(&shown, "scalar"), stringify!($bits));
            for command in [
                &["certify", &to][..],
                &["limit", &to, "--rate", "0.5"],
                &["prune", &to, &data, "--to", &model, "--widths", "2,2"],
            ] {
                let answer = run(command);
                assert!(answer.code == 1 && answer.error.contains("integers"), "{}", answer.error);
            }
        };
    }
    check!(i8);
    check!(i16);
}

/// The way of a table whose columns differ: the scaling stays outside.
#[test]
fn raw_tables_become_integers_by_their_scaling() {
    let room = Room::new("scaling");
    let (data, model, scaling) = (table("wine.csv"), room.path("net.attr"), room.path("scaling.csv"));
    let trained = done(&["train", &data, "--to", &model, "--scaling-to", &scaling]);
    let with = ["--scaling", &scaling];
    let evaluated = |model: &str| done(&[&["evaluate", model, &data], &with[..]].concat());
    for line in ["accuracy", "loss", "sweeps"] {
        assert_eq!(value(&evaluated(&model), line), value(&trained, line));
    }
    for states in ["i8", "i16"] {
        let integers = room.path("integers.attr");
        done(&[&["quantise", &model, &data, "--to", &integers, "--states", states], &with[..]].concat());
        assert!(figure(&evaluated(&integers), "accuracy") > 97.0, "{states}");
    }
    // Folded into the weights it is too much for integers, and that is said.
    done(&["train", &data, "--to", &model]);
    let to = room.path("refused.attr");
    let answer = run(&["quantise", &model, &data, "--to", &to]);
    assert!(answer.code == 1 && answer.error.contains("`train --scaling-to`"), "{}", answer.error);
    assert!(!Path::new(&to).exists());
    let short = room.write("short.csv", b"0,1\n");
    let answer = run(&["evaluate", &model, &data, "--scaling", &short]);
    assert_eq!(answer.error, format!("attractor: {short}: scales 1 columns, and the data have 13\n"));
}

#[test]
fn sixteen_bits_are_evaluated() {
    type Net = fnn![4, 6, 5, 3; hidden = Sigmoid];
    let room = Room::new("bf16");
    let (text, _) = rows();
    let data = room.write("data.csv", text.as_bytes());
    let mut net = Net::ZERO;
    fill(&mut net, 0.5);
    let half = Bf16Network::new(&net).unwrap();
    let mut file = vec![0; Bf16Network::<Net>::file_bytes()];
    half.to_bytes(&mut file).unwrap();
    let model = room.write("half.attr", &file);
    let mut widened = Net::ZERO;
    half.to_network(&mut widened);
    let wide = room.write("wide.attr", &bytes!(widened, Net, None));
    let evaluated = |model: &str| {
        let outputs = room.path("outputs");
        let said = done(&["evaluate", model, &data, "--outputs", &outputs]);
        (value(&said, "accuracy").to_owned(), value(&said, "loss").to_owned(), fs::read(outputs).unwrap())
    };
    assert_eq!(evaluated(&model), evaluated(&wide));
    assert_eq!(value(&done(&["show", &model]), "scalar"), "bf16");
    let answer = run(&["certify", &model]);
    assert!(answer.code == 1 && answer.error.contains("16 bits"), "{}", answer.error);
}

/// Means and scores by the library's `Importance`, the narrow network by its `prune`.
fn check_pruned<A: Takes<4, Scalar = f32> + attractor::compress::Prunes<G>, G: Takes<4, Scalar = f32>>(
    name: &str,
    net: Network<A>,
    mut expected: Network<G>,
    widths: &str,
) {
    let room = Room::new(&format!("prune-{name}"));
    let (text, rows) = rows();
    let data = room.write("data.csv", text.as_bytes());
    let (mut importance, mut state) = (Importance::<Network<A>>::ZERO, Network::<A>::state());
    for row in &rows {
        state.reset();
        net.solve(row, &mut state, Stop::residual(1e-5).or_relative(1e-5)).unwrap();
        importance.observe(&state).unwrap();
    }
    let mut scores = Network::<A>::state();
    importance.scores(&net, Measure::Weights, &mut scores).unwrap();
    net.prune(&scores, importance.means(), &mut expected).unwrap();

    let mut file = vec![0; Network::<A>::file_bytes(false)];
    net.to_bytes(None, &mut file).unwrap();
    let (model, to) = (room.write("net.attr", &file), room.path("narrow.attr"));
    done(&["prune", &model, &data, "--to", &to, "--widths", widths]);
    let mut place = Align64([0; 4096]);
    let file = room.read("narrow.attr");
    place.0[..file.len()].copy_from_slice(&file);
    let found: Result<_, FileError> = Network::<G>::from_bytes(&place.0[..file.len()]);
    for (found, expected) in found.unwrap().network().params().iter().zip(expected.params()) {
        assert!((found - expected).abs() < 1e-6, "{name}: {found} {expected}");
    }
}

#[test]
fn narrow_networks_are_those_of_the_library() {
    macro_rules! check {
        ($name:literal, $size:literal, $wide:ty, $narrow:ty, $widths:literal) => {
            let mut net = <$wide>::ZERO;
            fill(&mut net, $size);
            check_pruned($name, net, <$narrow>::ZERO, $widths);
        };
    }
    check!("adjacent", 0.3, fnn![4, 8, 6, 3], fnn![4, 5, 3, 3], "5,3");
    check!(
        "dense",
        0.2,
        fnn![4, 7, 6, 5, 3; feedback = Dense, hidden = Sigmoid],
        fnn![4, 4, 6, 2, 3; feedback = Dense, hidden = Sigmoid],
        "4,6,2"
    );
    check!(
        "skip",
        0.2,
        fnn![4, 7, 6, 5, 3; feedback = Skip, hidden = LeakyRelu],
        fnn![4, 3, 3, 4, 3; feedback = Skip, hidden = LeakyRelu],
        "3,3,4"
    );
    check!(
        "tied",
        0.2,
        fnn![4, 8, 6, 3; feedback = Tied<40>, hidden = Sigmoid],
        fnn![4, 3, 4, 3; feedback = Tied<40>, hidden = Sigmoid],
        "3,4"
    );
    // Units that are worth something only because others read them from below.
    let mut net = <fnn![4, 6, 9, 7, 3; feedback = Tied<100>]>::ZERO;
    fill(&mut net, 0.15);
    for unit in 0..9 {
        let more = 0.3 + 0.3 * unit as f32;
        let mut row = net.layer_mut::<2>().w.row_mut(unit);
        row *= more;
        let mut column = net.layer_mut::<3>().w.column_mut(unit);
        column *= 0.5 / more;
    }
    check_pruned("tied-from-below", net, <fnn![4, 6, 4, 3, 3; feedback = Tied<100>]>::ZERO, "6,4,3");

    let room = Room::new("prune-refused");
    let mut net = <fnn![4, 8, 6, 3]>::ZERO;
    fill(&mut net, 0.3);
    let model = room.write("net.attr", &bytes!(net, fnn![4, 8, 6, 3], None));
    let data = room.write("data.csv", rows().0.as_bytes());
    for widths in ["9,3", "8", "8,6,3"] {
        let answer = run(&["prune", &model, &data, "--to", &room.path("narrow.attr"), "--widths", widths]);
        let error = "has hidden layers of 8,6: `--widths` has as many, each at most as wide";
        assert_eq!((answer.code, answer.error), (1, format!("attractor: {model}: {error}\n")));
        assert!(!Path::new(&room.path("narrow.attr")).exists());
    }
}

#[test]
fn a_table_must_go_with_the_network() {
    let room = Room::new("tables");
    let mut net = <fnn![4, 6, 3]>::ZERO;
    fill(&mut net, 0.3);
    let model = room.write("net.attr", &bytes!(net, fnn![4, 6, 3], None));
    for (text, options, error) in [
        ("1,2,3,0\n", &[][..], "has 3 inputs a row, and {model} takes 4"),
        (
            "1,2,3,4,3\n1,2,3,4,0\n",
            &[],
            "has 4 classes, and {model} has 3 outputs (`--classes` has all in their order)",
        ),
        ("1,2,3,4,3\n", &["--regression"], "has 1 numbers to learn, and {model} has 3 outputs (`--targets`)"),
        (
            "1,2,3,4,0\n",
            &["--classes", "0,1"],
            "has 2 classes, and {model} has 3 outputs (`--classes` has all in their order)",
        ),
    ] {
        let data = room.write("data", text.as_bytes());
        let answer = run(&[&["evaluate", &model, &data], options].concat());
        assert_eq!((answer.code, answer.output.as_str()), (1, ""));
        assert_eq!(answer.error, format!("attractor: {data}: {}\n", error.replace("{model}", &model)));
    }
    // A class that does not occur, of numbers, is no fault.
    let data = room.write("data", b"1,2,3,4,1\n0,0,0,0,0\n");
    assert_eq!(value(&done(&["evaluate", &model, &data]), "rows"), "2");
    // A network that does not converge: its answers are counted.
    fill(&mut net, 6.0);
    let wild = room.write("wild.attr", &bytes!(net, fnn![4, 6, 3], None));
    let said = done(&["evaluate", &wild, &data, "--sweeps", "20"]);
    assert_ne!(value(&said, "not converged"), "0.00 %");
    // What is read stays.
    for to in [&model, &data] {
        let answer = run(&["quantise", &model, &data, "--to", to]);
        assert!(answer.code == 1 && answer.error.ends_with("`--to` is the file that is read\n"));
    }
}
