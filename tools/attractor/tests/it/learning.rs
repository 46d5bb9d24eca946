//! What `train` learns, and what it makes of what it is given.

use crate::common::{Room, done, fifth, figure, run, table, value};
use attractor::file;
use std::fs;
use std::path::Path;

/// Trains on four fifths of a table and evaluates on the others.
fn split(room: &Room, name: &str, options: &[&str], kind: &[&str]) -> (String, String) {
    let text = fs::read_to_string(table(name)).unwrap();
    let (test, training) = fifth(&text, 0);
    let (test, training) = (room.write("test", test.as_bytes()), room.write("training", training.as_bytes()));
    let model = room.path("model.attr");
    let trained = done(&[&["train", &training, "--to", &model], options, kind].concat());
    (trained, done(&[&["evaluate", &model, &test], kind].concat()))
}

/// Columns of up to 1,680 and 4,254: by the defaults, as they are.
#[test]
fn tables_as_people_have_them() {
    for (name, least) in [("iris.csv", 93.0), ("wine.csv", 94.0), ("breast-cancer.csv", 94.0)] {
        let room = Room::new(&format!("raw-{name}"));
        let (trained, tested) = split(&room, name, &[], &[]);
        assert_eq!(value(&trained, "steps not converged"), "0");
        assert!(figure(&tested, "accuracy") >= least, "{name}: {tested}");
        assert_eq!(value(&tested, "not converged"), "0.00 %");
        // What it says of the rows it learnt is what the file gives.
        let again = done(&["evaluate", &room.path("model.attr"), &room.path("training")]);
        for line in ["accuracy", "loss", "sweeps", "network", "rows"] {
            assert_eq!(value(&again, line), value(&trained, line), "{name}");
        }
    }
    // It is the scaling that does it, and its want is said.
    let room = Room::new("raw-unscaled");
    let (data, model) = (table("wine.csv"), room.path("model.attr"));
    let answer = run(&["train", &data, "--to", &model, "--no-scaling"]);
    assert_eq!((answer.code, answer.error.lines().count()), (0, 1));
    assert!(answer.error.starts_with("attractor: the first layer was saturated in "), "{}", answer.error);
    assert!(figure(&done(&["evaluate", &model, &data]), "accuracy") < 90.0);
}

#[test]
fn digits_as_well_as_the_example() {
    let room = Room::new("digits");
    let model = room.path("digits.attr");
    let recipe = "--widths 48,32 --batch 64 --epochs 120 --rate 0.01 --decay 0.05 --smoothing 0.05 --warm-up 0.3 --scaling range --image 8x8 --shift 0.16 --noise 0.05";
    let recipe: Vec<&str> = recipe.split(' ').collect();
    let trained = done(&[&["train", &table("optdigits.tra"), "--to", &model], &recipe[..]].concat());
    assert_eq!(value(&trained, "parameters"), "6874");
    let tested = done(&["evaluate", &model, &table("optdigits.tes")]);
    assert!(figure(&tested, "accuracy") >= 97.5, "{tested}");
}

#[test]
fn numbers_are_learnt_in_their_own_units() {
    let room = Room::new("numbers");
    let (trained, tested) = split(&room, "diabetes.csv", &["--epochs", "20"], &["--regression"]);
    assert!(figure(&tested, "R2") > 0.3, "{tested}");
    assert_eq!(value(&trained, "steps not converged"), "0");

    // Two numbers a row, one in thousands, one in thousandths, without any noise.
    let row = |i: usize| {
        let (x, y) = ((i as f64 * 0.37).sin(), (i as f64 * 0.73).cos());
        format!("{},{},{},{}\n", 100.0 * x, y, 5000.0 + 1000.0 * x * y, 0.001 * (x - y))
    };
    let data = room.write("two", (0..400).map(row).collect::<String>().as_bytes());
    let kind = ["--regression", "--targets", "2"];
    for options in [
        &["--epochs", "200"][..],
        &["--epochs", "200", "--feedback", "dense", "--scalar", "f64"],
        &["--epochs", "200", "--feedback", "skip", "--widths", "16,8,8"],
        &["--epochs", "200", "--feedback", "feedforward"],
    ] {
        let model = room.path("two.attr");
        let trained = done(&[&["train", &data, "--to", &model], options, &kind].concat());
        let r2 = figure(&trained, "R2");
        // The mean over both columns is one of the large one's: by the outputs each is looked at.
        let outputs = room.path("outputs");
        done(&[&["evaluate", &model, &data, "--outputs", &outputs], &kind[..]].concat());
        let text = fs::read_to_string(&outputs).unwrap();
        for column in 0..2 {
            let (mut left, mut all) = (0.0, 0.0);
            for (i, line) in text.lines().enumerate() {
                let number =
                    |text: &str, at: usize| text.split(',').nth(at).unwrap().trim().parse::<f64>().unwrap();
                let target = number(&row(i), 2 + column);
                left += (number(line, column) - target).powi(2);
                // The mean of each is known: 5000 and about 0.
                all += (target - [5000.0, 0.0][column]).powi(2);
            }
            assert!(1.0 - left / all > 0.97, "{options:?} column {column}: {} {r2}", 1.0 - left / all);
        }
    }
    // What tied feedback cannot say in its weights is not scaled, and can be learnt all the same if it is small.
    let small = |i: usize| format!("{},{}\n", i as f64 / 10.0 - 10.0, (i as f64 / 30.0).sin());
    let data = room.write("small", (0..200).map(small).collect::<String>().as_bytes());
    let model = room.path("small.attr");
    let trained =
        done(&["train", &data, "--to", &model, "--regression", "--feedback", "tied:50", "--epochs", "300"]);
    assert!(figure(&trained, "R2") > 0.95, "{trained}");
}

/// z = W below + U above + b by plain loops in `f64`, sweep after sweep, from the numbers in the file.
fn solved_by_hand(model: &[u8], input: &[f64]) -> Vec<f64> {
    let contents = file::read(model).unwrap();
    let widths: Vec<usize> = contents.shape().widths().iter().map(|width| *width as usize).collect();
    assert_eq!((contents.shape().feedback(), contents.shape().hidden()), ("adjacent", "tanh"));
    let params = &model[contents.params_start()..][..contents.params_bytes()];
    let params: Vec<f64> =
        params.as_chunks::<4>().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect();
    let mut h: Vec<Vec<f64>> = widths.iter().map(|width| vec![0.0; *width]).collect();
    h[0] = input.to_vec();
    for _ in 0..300 {
        let mut at = 0;
        for l in 1..widths.len() {
            let rows = widths[l];
            let mut z = vec![0.0; rows];
            let mut add = |values: &[f64]| {
                for value in values {
                    for z in &mut z {
                        *z += params[at] * value;
                        at += 1;
                    }
                }
            };
            add(&h[l - 1]);
            if l + 1 < widths.len() {
                add(&h[l + 1]);
            }
            add(&[1.0]);
            let last = l + 1 == widths.len();
            h[l] = z.into_iter().map(|z| if last { z } else { z.tanh() }).collect();
        }
        assert_eq!(at, params.len());
    }
    h.pop().unwrap()
}

#[test]
fn outputs_are_those_of_plain_loops() {
    let room = Room::new("outputs-by-hand");
    split(&room, "wine.csv", &["--epochs", "20"], &[]);
    let (model, outputs) = (room.path("model.attr"), room.path("outputs"));
    let answer =
        done(&["evaluate", &model, &room.path("test"), "--outputs", &outputs, "--tolerance", "1e-6"]);
    let (outputs, rows) =
        (fs::read_to_string(outputs).unwrap(), fs::read_to_string(room.path("test")).unwrap());
    assert_eq!(outputs.lines().count(), rows.lines().count());
    let mut right = 0;
    for (outputs, row) in outputs.lines().zip(rows.lines()) {
        let numbers =
            |line: &str| line.split(',').map(|number| number.parse().unwrap()).collect::<Vec<f64>>();
        let mut row = numbers(row);
        let label = row.pop().unwrap() as usize;
        let expected = solved_by_hand(&room.read("model.attr"), &row);
        for (found, expected) in numbers(outputs).iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
        right += usize::from((0..3).all(|class| expected[class] <= expected[label]));
    }
    let accuracy = 100.0 * right as f64 / rows.lines().count() as f64;
    assert_eq!(value(&answer, "accuracy"), format!("{accuracy:.2} %"));
}

#[test]
fn the_seed_says_it_all() {
    let room = Room::new("seeds");
    let train = |name: &str, options: &[&str]| {
        let to = room.path(name);
        let arguments =
            [&["train", &table("iris.csv"), "--epochs", "3", "--noise", "0.1", "--to", &to], options];
        (done(&arguments.concat()), room.read(name))
    };
    let first = train("first", &["--seed", "7", "--validation", "0.2"]);
    let second = train("second", &["--seed", "7", "--validation", "0.2"]);
    assert_eq!(first.1, second.1);
    assert_ne!(first.1, train("other", &["--seed", "8", "--validation", "0.2"]).1);
    assert_eq!((value(&first.0, "rows"), value(&first.0, "validation rows")), ("120", "30"));
    // What is held out is not learnt.
    assert_ne!(first.1, train("all", &["--seed", "7"]).1);
}

#[test]
fn a_network_that_is_not_held_says_so() {
    let room = Room::new("held");
    let train = |options: &[&str]| {
        let arguments = ["train", &table("iris.csv"), "--epochs", "5", "--to", &room.path("net.attr")];
        done(&[&arguments[..], options].concat())
    };
    assert!(figure(&train(&["--hold", "0.25"]), "held to a rate of") <= 0.25);
    assert!(figure(&done(&["certify", &room.path("net.attr")]), "rate") <= 0.25);
    assert!(!train(&["--no-hold"]).contains("held"));
}

#[test]
fn names_are_classes_too() {
    let room = Room::new("names");
    let text = fs::read_to_string(table("iris.csv")).unwrap();
    let kinds = ["setosa", "versi\u{1b}color", "virginica"];
    let named: String = text
        .lines()
        .map(|line| {
            let (rest, class) = line.rsplit_once(',').unwrap();
            format!("{};{}\n", rest.replace(',', ";"), kinds[class.parse::<usize>().unwrap()])
        })
        .collect();
    let data = room.write("iris", format!("a;b;c;d;kind\n{named}").as_bytes());
    let (one, other) = (room.path("one.attr"), room.path("other.attr"));
    let options = ["--separator", ";"];
    let trained = done(&[&["train", &data, "--to", &one], &options[..]].concat());
    assert_eq!(value(&trained, "classes"), "setosa,versi\\u{1b}color,virginica");
    // Named in another order they are other outputs.
    let classes = "virginica,setosa,versi\u{1b}color";
    done(&[&["train", &data, "--to", &other, "--classes", classes], &options[..]].concat());
    assert_ne!(room.read("one.attr"), room.read("other.attr"));
    let evaluated = |model: &str, data: &str, options: &[&str]| {
        run(&[&["evaluate", model, data, "--separator", ";"], options].concat())
    };
    assert!(figure(&evaluated(&other, &data, &["--classes", classes]).output, "accuracy") > 90.0);
    assert!(figure(&evaluated(&other, &data, &[]).output, "accuracy") < 50.0);
    // Where a class is missing, nobody knows which.
    let part = room.write(
        "part",
        named
            .lines()
            .filter(|line| !line.ends_with("setosa"))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
            .as_bytes(),
    );
    let answer = evaluated(&one, &part, &[]);
    assert!(
        answer.code == 1 && answer.error.contains("2 classes") && answer.error.contains("3 outputs"),
        "{}",
        answer.error
    );
    let all = kinds.join(",");
    assert!(figure(&evaluated(&one, &part, &["--classes", &all]).output, "accuracy") > 80.0);
}

/// An IDX file of bytes.
fn idx(sizes: &[u32], bytes: &[u8]) -> Vec<u8> {
    let sizes_bytes: Vec<u8> = sizes.iter().flat_map(|size| size.to_be_bytes()).collect();
    [&[0, 0, 8, sizes.len() as u8], &sizes_bytes[..], bytes].concat()
}

#[test]
fn images_are_read_as_mnist_has_them() {
    let room = Room::new("idx");
    let text = fs::read_to_string(table("optdigits.tes")).unwrap();
    let rows: Vec<Vec<u8>> =
        text.lines().map(|line| line.split(',').map(|value| value.parse().unwrap()).collect()).collect();
    let count = rows.len() as u32;
    let pixels: Vec<u8> = rows.iter().flat_map(|row| row[..64].to_vec()).collect();
    let labels: Vec<u8> = rows.iter().map(|row| row[64]).collect();
    let images = room.write("images", &idx(&[count, 8, 8], &pixels));
    let labels = room.write("labels", &idx(&[count], &labels));
    let options = ["--epochs", "4", "--scaling", "range", "--shift", "0.1"];
    let (one, other) = (room.path("one.attr"), room.path("other.attr"));
    done(&[&["train", &images, "--labels", &labels, "--to", &one], &options[..]].concat());
    // The same rows as CSV give the same network.
    done(&[&["train", &table("optdigits.tes"), "--image", "8x8", "--to", &other], &options[..]].concat());
    assert_eq!(room.read("one.attr"), room.read("other.attr"));
    let tested = done(&["evaluate", &one, &images, "--labels", &labels]);
    assert!(figure(&tested, "accuracy") > 85.0, "{tested}");
    let short = room.write("short", &idx(&[2], &[1, 2]));
    let answer = run(&["evaluate", &one, &images, "--labels", &short]);
    assert_eq!(answer.error, format!("attractor: {short}: has 2 labels, and there are {count} images\n"));
}

#[test]
fn what_cannot_be_learnt_is_named_and_nothing_is_written() {
    let room = Room::new("train-refused");
    let to = room.path("refused.attr");
    let good = room.write("good", b"1,2,0\n3,4,1\n5,7,0\n");
    let cases: [(&[u8], &[&str], &str); 9] = [
        (b"1,2,0\n3,x,1\n", &[], "line 2, column 2: `x` is not a number"),
        (b"1,2,0\n3,1\n", &[], "line 2: has 2 columns, and the first row has 3"),
        (b"1,2,0\n3,4,1.5\n", &[], "line 2, column 3: 1.5 is no class"),
        (b"1,2,0\n3,4,0\n", &[], "there is but one class"),
        (b"", &[], "has no rows"),
        (b"a,b,c\n", &[], "has no rows"),
        (b"1,inf,0\n", &[], "line 1, column 2: inf is not finite"),
        (b"\x1f\x8b\x08", &[], "is compressed"),
        (b"1,2,0\n3,4,1\n", &["--labels", "l"], "is no IDX file"),
    ];
    for (bytes, options, error) in cases {
        let data = room.write("data", bytes);
        let answer = run(&[&["train", &data, "--to", &to], options].concat());
        assert_eq!((answer.code, answer.output.as_str()), (1, ""), "{error}");
        assert!(answer.error.starts_with(&format!("attractor: {data}: {error}")), "{}", answer.error);
        assert_eq!(answer.error.lines().count(), 1);
        assert!(!Path::new(&to).exists());
    }
    let cases: [(&[&str], &str); 4] = [
        (&["--shift", "0.1"], "`--shift` needs the size of the images"),
        (&["--image", "3x3", "--shift", "0.1"], "images of 3x3 have 9 pixels, and a row has 2"),
        (&["--validation", "0.9"], "no row is left to learn from"),
        (&["--rate", "1000", "--decay", "1", "--epochs", "2", "--constant-rate"], "step 1: "),
    ];
    for (options, error) in cases {
        let answer = run(&[&["train", &good, "--to", &to], options].concat());
        assert_eq!((answer.code, answer.output.as_str()), (1, ""), "{error}");
        assert!(answer.error.contains(error), "{}", answer.error);
        assert!(!Path::new(&to).exists());
    }
    // Where it cannot write is said before the work; the data are not overwritten.
    let nowhere = room.path("nowhere/net.attr");
    let answer = run(&["train", &good, "--to", &nowhere]);
    assert!(
        answer.code == 1 && answer.error.contains("nowhere/net.attr: its folder is not there"),
        "{}",
        answer.error
    );
    let answer = run(&["train", &good, "--to", &good]);
    assert!(
        answer.code == 1 && answer.error.ends_with("`--to` is the file that is read\n"),
        "{}",
        answer.error
    );
    assert_eq!(room.read("good"), b"1,2,0\n3,4,1\n5,7,0\n");
}

#[test]
fn options_out_of_range_give_2_and_the_range() {
    for (option, value, range) in [
        ("--epochs", "0", "not a whole number from 1 to 1000000"),
        ("--rate", "0", "not a number above 0 and at most 1024"),
        ("--rate", "nan", "not a number above 0 and at most 1024"),
        ("--hold", "1", "not a number from 0 to below 1"),
        ("--validation", "1", "not a number from 0 to below 1"),
        ("--decay", "-1", "not a number of at least 0"),
        ("--clip", "0", "not a number above 0"),
        ("--shift", "0.6", "not a number from 0 to 0.5"),
        ("--image", "8", "not rows x columns, such as 8x8"),
        ("--widths", "8,0", "not a whole number from 1 to 1000000"),
        ("--tolerance", "-1e-3", "not a number above 0"),
        ("--separator", "::", "not one character"),
        ("--feedback", "tied:101", "tied feedback has a strength of 1 to 100 percent"),
    ] {
        let answer = run(&["train", "a", "--to", "b", &format!("{option}={value}")]);
        assert_eq!((answer.code, answer.output.as_str()), (2, ""), "{option}");
        let bad = value.split(',').next_back().unwrap();
        let start = format!("attractor: invalid value '{bad}' for '{option} <");
        assert!(answer.error.starts_with(&start) && answer.error.contains(range), "{}", answer.error);
        assert_eq!(answer.error.lines().count(), 2);
    }
    for arguments in [
        &["train", "a", "--to", "b", "--targets", "2"][..],
        &["train", "a", "--to", "b", "--no-scaling", "--scaling", "range"],
        &["train", "a", "--to", "b", "--regression", "--smoothing", "0.1"],
        &["codegen", "a"],
        &["codegen", "a", "--rust", "b", "--caller", "c"],
        &["limit", "a"],
        &["prune", "a", "b", "--to", "c"],
    ] {
        let answer = run(arguments);
        assert_eq!((answer.code, answer.error.lines().count()), (2, 2), "{arguments:?}: {}", answer.error);
    }
}
