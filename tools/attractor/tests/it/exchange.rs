//! The command line, on files that PyTorch wrote and on files made here. `data/make.py` wrote the former, and what
//! their networks must give, computed with NumPy alone.

use crate::common::{Answer, Room, run};
use attractor::kernel::{LeakyRelu, Scalar, Sigmoid, Tanh};
use attractor::network::Takes;
use attractor::{Align64, Certificate, Dense, Feedforward, Network, Skip, Stop, Tied, fnn};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What only these tests do in a room.
impl Room {
    /// Imports a file and gives back the model file.
    fn import(&self, from: &str, options: &[&str]) -> Vec<u8> {
        quiet(&run(&[&["import", from, "--to", &self.path("imported.attr")], options].concat()));
        self.read("imported.attr")
    }
    /// Why an import is refused; nothing is written then.
    fn refused(&self, from: &str, options: &[&str]) -> String {
        let to = self.path("refused.attr");
        let answer = run(&[&["import", from, "--to", &to], options].concat());
        assert_eq!((answer.code, answer.output.as_str()), (1, ""), "{}", answer.error);
        assert_eq!(answer.error.lines().count(), 1, "{}", answer.error);
        assert!(!Path::new(&to).exists());
        answer.error.trim_end().strip_prefix(&format!("attractor: {from}: ")).unwrap().to_owned()
    }
}

fn quiet(answer: &Answer) {
    assert_eq!((answer.code, answer.output.as_str(), answer.error.as_str()), (0, "", ""));
}

/// A file that PyTorch wrote.
fn data(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name).to_str().unwrap().to_owned()
}

/// What the network called `name` must give for the inputs of `make.py`.
fn expected(name: &str) -> [f64; 2] {
    let text = fs::read_to_string(data("expected.txt")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
    let numbers: Vec<f64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// A tensor: bytes, row after row.
#[derive(Clone, Debug, PartialEq)]
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

type Tensors = BTreeMap<String, Tensor>;

fn tensors(file: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(file).unwrap();
    let owned = |(name, view): (String, TensorView<'_>)| {
        (name, Tensor { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() })
    };
    file.tensors().into_iter().map(owned).collect()
}

fn metadata(file: &[u8]) -> BTreeMap<String, String> {
    let (_, header) = SafeTensors::read_metadata(file).unwrap();
    header.metadata().clone().into_iter().flatten().collect()
}

fn packed(tensors: &Tensors, metadata: &[(&str, &str)]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, tensor)| {
        (name, TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes).unwrap())
    });
    let pairs = metadata.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    safetensors::serialize(views, (!metadata.is_empty()).then(|| pairs.collect())).unwrap()
}

fn f32s(shape: &[usize], numbers: &[f32]) -> Tensor {
    assert_eq!(shape.iter().product::<usize>(), numbers.len());
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    Tensor { dtype: Dtype::F32, shape: shape.to_vec(), bytes }
}

fn f64s(shape: &[usize], numbers: &[f64]) -> Tensor {
    assert_eq!(shape.iter().product::<usize>(), numbers.len());
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    Tensor { dtype: Dtype::F64, shape: shape.to_vec(), bytes }
}

/// 2-3-1 with feedback.
fn small() -> Tensors {
    [
        ("layers.1.weight", f32s(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
        ("layers.1.feedback", f32s(&[3, 1], &[7.0, -0.0, 9.0])),
        ("layers.1.bias", f32s(&[3], &[10.0, 11.0, 12.0])),
        ("layers.2.weight", f32s(&[1, 3], &[13.0, 14.0, 15.0])),
        ("layers.2.bias", f32s(&[1], &[16.0])),
    ]
    .map(|(name, tensor)| (name.to_owned(), tensor))
    .into()
}

/// A network of the library from a model file.
fn load<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(file: &[u8]) -> Network<A> {
    let mut place = Align64([0; 4096]);
    place.0[..file.len()].copy_from_slice(file);
    Network::from_bytes(&place.0[..file.len()]).unwrap().network().clone()
}

/// A model file of the library from a network.
#[allow(clippy::type_complexity, reason = "one name for a network, spelt out as everywhere")]
fn stored<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(
    net: &Network<A>,
    certificate: Option<&Certificate<Network<A>>>,
) -> Vec<u8> {
    let mut file = vec![0; Network::<A>::file_bytes(certificate.is_some())];
    assert_eq!(net.to_bytes(certificate, &mut file), Ok(file.len()));
    file
}

#[test]
fn networks_of_pytorch_give_what_numpy_says() {
    let room = Room::new("outputs");
    macro_rules! check {
        ($name:literal, $file:literal, $options:expr, $net:ty, $t:ty) => {
            let net: $net = load(&room.import(&data($file), &$options));
            let mut state = <$net>::state();
            let x: [$t; 3] = [0.5, -1.0, 0.25];
            net.solve(&x, &mut state, Stop::residual(1e-7)).unwrap();
            for (found, expected) in state.output().iter().zip(expected($name)) {
                let error = (f64::from(*found) - expected).abs();
                assert!(error <= 1e-6, "{}: {found}, not {expected}", $name);
            }
        };
    }
    check!("adjacent", "adjacent.safetensors", [], fnn![3, 8, 5, 2], f32);
    check!("adjacent", "adjacent.safetensors", ["--scalar=f64"], fnn![3, 8, 5, 2; scalar = f64], f64);
    // Its metadata say what it is.
    check!(
        "dense",
        "dense.safetensors",
        [],
        fnn![3, 6, 5, 4, 2; feedback = Dense, hidden = Sigmoid, output = Tanh, scalar = f64],
        f64
    );
    check!(
        "dense",
        "dense.safetensors",
        ["--scalar", "f32"],
        fnn![3, 6, 5, 4, 2; feedback = Dense, hidden = Sigmoid, output = Tanh],
        f32
    );
    check!("feedforward", "plain.safetensors", [], fnn![3, 7, 2; feedback = Feedforward], f32);
    check!(
        "tied:50",
        "plain.safetensors",
        ["--feedback", "tied:50"],
        fnn![3, 7, 2; feedback = Tied<50>],
        f32
    );
}

#[test]
fn there_and_back_no_bit_changes() {
    let room = Room::new("round-trip");
    let files = [
        ("adjacent.safetensors", ["adjacent", "tanh", "identity"]),
        ("dense.safetensors", ["dense", "sigmoid", "tanh"]),
        ("plain.safetensors", ["feedforward", "tanh", "identity"]),
    ];
    for (name, said) in files {
        let first = room.import(&data(name), &[]);
        let from = room.write("first.attr", &first);
        quiet(&run(&["export", &from, "--to", &room.path("back.safetensors")]));
        let back = room.read("back.safetensors");
        assert_eq!(tensors(&back), tensors(&fs::read(data(name)).unwrap()), "{name}");
        let keys = ["attractor.feedback", "attractor.hidden", "attractor.output"];
        let pairs = keys.iter().zip(said).map(|(key, value)| (key.to_string(), value.to_owned()));
        assert_eq!(metadata(&back), pairs.collect());
        // And what was written without metadata now says itself what it is.
        assert_eq!(room.import(&room.path("back.safetensors"), &[]), first, "{name}");
    }
    // Other forms and activations than those of the files.
    let mut net = <fnn![2, 3, 4, 5, 2; feedback = Skip, hidden = LeakyRelu]>::ZERO;
    for (i, w) in net.params_mut().iter_mut().enumerate() {
        *w = i as f32 - 20.5;
    }
    let whole = stored(&net, None);
    let from = room.write("skip.attr", &whole);
    quiet(&run(&["export", &from, "--to", &room.path("skip.safetensors")]));
    assert_eq!(room.import(&room.path("skip.safetensors"), &[]), whole);
    assert_eq!(metadata(&room.read("skip.safetensors"))["attractor.feedback"], "skip");
    assert_eq!(metadata(&room.read("skip.safetensors"))["attractor.hidden"], "leaky relu");
    // The strength of tied feedback and a name of two words.
    let options = ["--feedback", "tied:35", "--hidden", "hard-tanh", "--output=relu"];
    let first = room.import(&data("plain.safetensors"), &options);
    let from = room.write("tied.attr", &first);
    quiet(&run(&["export", &from, "--to", &room.path("tied.safetensors")]));
    assert_eq!(metadata(&room.read("tied.safetensors"))["attractor.feedback"], "tied:35");
    assert_eq!(room.import(&room.path("tied.safetensors"), &[]), first);
}

#[test]
fn every_tensor_of_the_library_is_exported_in_its_place() {
    type Net = fnn![2, 3, 4, 2; feedback = Dense];
    let room = Room::new("export");
    let mut net = Net::ZERO;
    for (i, w) in net.params_mut().iter_mut().enumerate() {
        *w = i as f32 - 20.5;
    }
    let from = room.write("net.attr", &stored(&net, None));
    quiet(&run(&["export", &from, "--to", &room.path("net.safetensors")]));
    let found = tensors(&room.read("net.safetensors"));
    let mut expected = Tensors::new();
    macro_rules! layer {
        ($l:literal, $rows:literal, $below:literal, $heard:literal) => {
            let layer = net.layer::<$l>();
            let cells = |columns| (0..$rows).flat_map(move |i| (0..columns).map(move |j| (i, j)));
            let w: Vec<f32> = cells($below).map(|at| layer.w[at]).collect();
            let b: Vec<f32> = layer.b.iter().copied().collect();
            expected.insert(concat!("layers.", $l, ".weight").to_owned(), f32s(&[$rows, $below], &w));
            expected.insert(concat!("layers.", $l, ".bias").to_owned(), f32s(&[$rows], &b));
        };
    }
    layer!(1, 3, 2, 6);
    layer!(2, 4, 3, 2);
    layer!(3, 2, 4, 0);
    // U column after column, after the 6 weights of W; then after the 12 of the second layer.
    let params = net.params();
    let u = |start: usize, rows: usize, columns: usize| -> Vec<f32> {
        (0..rows).flat_map(|i| (0..columns).map(move |j| params[start + j * rows + i])).collect()
    };
    expected.insert("layers.1.feedback".to_owned(), f32s(&[3, 6], &u(6, 3, 6)));
    expected.insert("layers.2.feedback".to_owned(), f32s(&[4, 2], &u(27 + 12, 4, 2)));
    assert_eq!(found, expected);
}

#[test]
fn a_certificate_stays_behind_and_that_is_said() {
    type Net = fnn![2, 3, 1];
    let room = Room::new("certificate");
    let mut net = Net::ZERO;
    net.params_mut().fill(0.125);
    let certificate = net.certify().unwrap();
    let from = room.write("net.attr", &stored(&net, Some(&certificate)));
    let answer = run(&["export", &from, "--to", &room.path("net.safetensors")]);
    assert_eq!((answer.code, answer.output.as_str()), (0, ""));
    assert!(answer.error.contains("certificate"), "{}", answer.error);
    assert_eq!(room.import(&room.path("net.safetensors"), &[]), stored(&net, None));
    let shown = run(&["show", &from]).output;
    assert!(shown.contains("\ncertificate: yes\n"), "{shown}");
}

#[test]
fn scalars_are_rounded_or_widened_when_told_so() {
    type Narrow = fnn![1, 1; feedback = Feedforward];
    type Wide = fnn![1, 1; feedback = Feedforward, scalar = f64];
    let room = Room::new("scalars");
    let file = |weight: Tensor, bias: Tensor| {
        packed(&[("layers.1.weight".to_owned(), weight), ("layers.1.bias".to_owned(), bias)].into(), &[])
    };
    let third = 1.0_f64 / 3.0;
    let from = room.write("f64.safetensors", &file(f64s(&[1, 1], &[third]), f64s(&[1], &[-1e-310])));
    let net: Narrow = load(&room.import(&from, &["--scalar", "f32"]));
    assert_eq!(net.params(), [third as f32, -0.0]);
    let from = room.write("f32.safetensors", &file(f32s(&[1, 1], &[0.1]), f32s(&[1], &[-2.0])));
    let mixed = room.write("mixed.safetensors", &file(f32s(&[1, 1], &[0.1]), f64s(&[1], &[third])));
    let net: Wide = load(&room.import(&from, &["--scalar", "f64"]));
    assert_eq!(net.params(), [f64::from(0.1_f32), -2.0]);
    let net: Wide = load(&room.import(&mixed, &["--scalar", "f64"]));
    assert_eq!(net.params(), [f64::from(0.1_f32), third]);
    assert_eq!(
        room.refused(&mixed, &[]),
        "tensor `layers.1.bias` is F64, but `layers.1.weight` is F32; `--scalar` rounds or widens"
    );
    let large = room.write("large.safetensors", &file(f64s(&[1, 1], &[1e39]), f64s(&[1], &[0.0])));
    assert_eq!(room.import(&large, &[]).len(), 64 + 16);
    assert_eq!(
        room.refused(&large, &["--scalar", "f32"]),
        "tensor `layers.1.weight` has 1e39 at [0, 0], too large for f32"
    );
}

#[test]
fn an_option_goes_before_metadata_and_these_before_defaults() {
    let room = Room::new("precedence");
    let said = [("attractor.hidden", "relu"), ("attractor.output", "hard tanh"), ("written by", "somebody")];
    let from = room.write("small.safetensors", &packed(&small(), &said));
    let shown = |options: &[&str]| {
        let path = room.write("shown.attr", &room.import(&from, options));
        run(&["show", &path]).output
    };
    let facts = shown(&[]);
    assert!(facts.contains("feedback: adjacent\nhidden: relu\noutput: hard tanh\n"), "{facts}");
    let facts = shown(&["--hidden", "sigmoid", "--output", "identity", "--feedback", "dense"]);
    assert!(facts.contains("feedback: dense\nhidden: sigmoid\noutput: identity\n"), "{facts}");
    for (key, value, error) in [
        (
            "attractor.feedback",
            "tied:101",
            "tied feedback has a strength of 1 to 100 percent, such as tied:50, not `tied:101`",
        ),
        (
            "attractor.feedback",
            "all",
            "feedback is adjacent, skip, dense, tied:PERCENT or feedforward, not `all`",
        ),
        (
            "attractor.hidden",
            "gelu",
            "an activation is identity, tanh, sigmoid, relu, hard-tanh or leaky-relu, not `gelu`",
        ),
        (
            "attractor.output",
            "",
            "an activation is identity, tanh, sigmoid, relu, hard-tanh or leaky-relu, not ``",
        ),
    ] {
        let from = room.write("wrong.safetensors", &packed(&small(), &[(key, value)]));
        assert_eq!(room.refused(&from, &[]), format!("metadata `{key}`: {error}"));
    }
    let from = room.write("wrong.safetensors", &packed(&small(), &[("attractor.activation", "relu")]));
    assert_eq!(room.refused(&from, &[]), "metadata `attractor.activation` is unknown");
}

#[test]
fn show_says_what_a_file_holds() {
    let room = Room::new("show");
    let from = room.write("small.safetensors", &packed(&small(), &[]));
    let to = room.write("small.attr", &room.import(&from, &[]));
    for (path, format) in [(from, "safetensors"), (to, "attr")] {
        let answer = run(&["show", &path]);
        assert_eq!((answer.code, answer.error.as_str()), (0, ""));
        let facts = [
            "widths: 2 3 1",
            "feedback: adjacent",
            "hidden: tanh",
            "output: identity",
            "scalar: f32",
            "parameters: 16",
            "certificate: no",
            "layers.1.weight: 3 2",
            "layers.1.feedback: 3 1",
            "layers.1.bias: 3",
            "layers.2.weight: 1 3",
            "layers.2.bias: 1",
        ];
        let sizes = if format == "attr" { "units: 4\nweight bytes: 64\nfile bytes: 128\n" } else { "" };
        assert_eq!(answer.output, format!("format: {format}\n{}\n{sizes}", facts.join("\n")));
    }
}

/// Every way a tensor can be wrong, with the words of the refusal.
#[test]
fn a_wrong_tensor_is_named() {
    let room = Room::new("tensors");
    let check = |change: &dyn Fn(&mut Tensors), options: &[&str], error: &str| {
        let mut tensors = small();
        change(&mut tensors);
        let from = room.write("wrong.safetensors", &packed(&tensors, &[]));
        assert_eq!(room.refused(&from, options), error);
    };
    let put = |name: &'static str, tensor: Tensor| {
        move |tensors: &mut Tensors| {
            tensors.insert(name.to_owned(), tensor.clone());
        }
    };
    let without = |name: &'static str| {
        move |tensors: &mut Tensors| {
            tensors.remove(name).unwrap();
        }
    };
    let zeros = |shape: &[usize]| f32s(shape, &vec![0.0; shape.iter().product()]);

    // Shapes: transposed, of another network, of another rank, empty.
    check(
        &put("layers.2.weight", zeros(&[3, 1])),
        &[],
        "tensor `layers.2.weight` is 3 x 1 and must be 1 x 3",
    );
    check(
        &put("layers.2.weight", zeros(&[1, 4])),
        &[],
        "tensor `layers.2.weight` is 1 x 4 and must be 1 x 3",
    );
    check(&put("layers.1.bias", zeros(&[4])), &[], "tensor `layers.1.weight` is 3 x 2 and must be 4 x 2");
    check(
        &put("layers.1.bias", zeros(&[3, 1])),
        &[],
        "tensor `layers.1.bias` is 3 x 1 and must be a row of numbers",
    );
    check(
        &put("layers.1.bias", zeros(&[])),
        &[],
        "tensor `layers.1.bias` is a single number and must be a row of numbers",
    );
    check(
        &put("layers.1.feedback", zeros(&[1, 3])),
        &[],
        "tensor `layers.1.feedback` is 1 x 3 and must be 3 x 1",
    );
    check(
        &put("layers.1.weight", zeros(&[6])),
        &[],
        "tensor `layers.1.weight` is 6 and must be width x inputs",
    );
    check(
        &put("layers.1.weight", zeros(&[0, 2])),
        &[],
        "tensor `layers.1.weight` is 0 x 2: a layer has at least one unit",
    );
    check(
        &put("layers.1.weight", zeros(&[3, 0])),
        &[],
        "tensor `layers.1.weight` is 3 x 0: a layer has at least one unit",
    );

    // Missing, and unknown.
    check(&without("layers.1.weight"), &[], "tensor `layers.1.weight` is missing");
    check(&without("layers.2.weight"), &[], "tensor `layers.2.weight`, which is 1 x 3, is missing");
    check(&without("layers.1.bias"), &[], "tensor `layers.1.bias` is missing");
    check(
        &without("layers.1.feedback"),
        &["--feedback", "adjacent"],
        "tensor `layers.1.feedback`, which is 3 x 1, is missing",
    );
    check(&put("layers.4.bias", zeros(&[3])), &[], "tensor `layers.3.bias` is missing");
    check(&|tensors| tensors.clear(), &[], "there are no tensors");
    for form in ["feedforward", "tied:50"] {
        let error =
            format!("tensor `layers.1.feedback` has no place in a network of 2 layers with {form} feedback");
        check(&|_| {}, &["--feedback", form], &error);
    }
    check(
        &put("layers.2.feedback", zeros(&[1, 1])),
        &[],
        "tensor `layers.2.feedback` has no place in a network of 2 layers with adjacent feedback",
    );
    for name in [
        "layers.0.weight",
        "layers.33.weight",
        "layers.01.weight",
        "layers.-1.bias",
        "layers.+1.bias",
        "layers.x.bias",
    ] {
        check(
            &put(name, zeros(&[3, 3])),
            &[],
            &format!("tensor `{name}` is unknown: layers count from 1 to 32"),
        );
    }
    for name in ["fc1.weight", "layers.1.weights", "layers.1", "layers.1.weight.0", ""] {
        let error = "names are layers.L.weight, layers.L.feedback and layers.L.bias";
        check(&put(name, zeros(&[3, 3])), &[], &format!("tensor `{name}` is unknown: {error}"));
    }

    // Scalars.
    for (dtype, bytes) in [(Dtype::F16, 2), (Dtype::BF16, 2), (Dtype::I64, 8), (Dtype::U8, 1)] {
        let bias = Tensor { dtype, shape: vec![3], bytes: vec![0; 3 * bytes] };
        for options in [&[][..], &["--scalar", "f32"]] {
            let error = format!("tensor `layers.1.bias` is {dtype} and must be F32 or F64");
            check(&put("layers.1.bias", bias.clone()), options, &error);
        }
    }
    for (number, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        check(
            &put("layers.1.weight", f32s(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, number])),
            &[],
            &format!("tensor `layers.1.weight` has {name} at [2, 1]: weights are finite"),
        );
        check(
            &put("layers.1.bias", f32s(&[3], &[1.0, number, 3.0])),
            &["--scalar", "f64"],
            &format!("tensor `layers.1.bias` has {name} at [1]: weights are finite"),
        );
    }

    // Without any feedback tensor it is a plain network.
    let mut tensors = small();
    tensors.remove("layers.1.feedback").unwrap();
    let answer = run(&["show", &room.write("plain.safetensors", &packed(&tensors, &[]))]);
    assert!(answer.output.contains("\nfeedback: feedforward\n"), "{}", answer.output);
}

#[test]
fn a_file_that_is_something_else_is_refused() {
    let room = Room::new("files");
    let whole = packed(&small(), &[]);
    let small_path = room.write("small.safetensors", &whole);
    for (name, bytes) in [("empty", &[][..]), ("text", b"layers"), ("cut", &whole[..whole.len() - 1])] {
        let error = room.refused(&room.write(name, bytes), &[]);
        assert!(error.starts_with("this is no safetensors file: "), "{error}");
    }
    let model = room.import(&small_path, &[]);
    let model_path = room.write("small.attr", &model);
    assert_eq!(room.refused(&model_path, &[]), "this is a model file already");

    let to = room.path("refused.safetensors");
    let refused = |bytes: &[u8]| {
        let from = room.write("wrong.attr", bytes);
        let answer = run(&["export", &from, "--to", &to]);
        assert_eq!((answer.code, answer.output.as_str()), (1, ""));
        assert!(!Path::new(&to).exists());
        answer.error.trim_end().strip_prefix(&format!("attractor: {from}: ")).unwrap().to_owned()
    };
    assert_eq!(refused(&whole), "not a model file");
    for at in (12..model.len()).step_by(5) {
        let mut damaged = model.clone();
        damaged[at] ^= 1 << (at % 8);
        let error = refused(&damaged);
        assert!(error.contains("CRC-32") || error.contains("version"), "{at}: {error}");
    }
    refused(&model[..model.len() - 4]);
    refused(&[&model[..], &[0; 4]].concat());

    let nowhere = room.path("nowhere/small.attr");
    let answer = run(&["import", &small_path, "--to", &nowhere]);
    assert!(answer.code == 1 && answer.error.contains(&nowhere), "{}", answer.error);
    let answer = run(&["show", &nowhere]);
    assert!(answer.code == 1 && answer.error.contains(&nowhere), "{}", answer.error);
}

#[test]
fn a_command_line_that_makes_no_sense_gives_2() {
    let wrong: [(&[&str], &str); 18] = [
        (&[], "no command is given"),
        (&["convert"], "unrecognized subcommand 'convert'"),
        (&["import=x"], "unrecognized subcommand 'import=x'"),
        (
            &["import"],
            "the following required arguments were not provided: --to <MODEL.attr> <MODEL.safetensors>",
        ),
        (&["import", "a"], "the following required arguments were not provided: --to <MODEL.attr>"),
        (&["export", "a"], "the following required arguments were not provided: --to <MODEL.safetensors>"),
        (&["show"], "the following required arguments were not provided: <MODEL.attr|MODEL.safetensors>"),
        (&["show", "a", "b"], "unexpected argument 'b' found"),
        (&["show", "a", "b=c"], "unexpected argument 'b=c' found"),
        (&["show", "a", "--to", "b"], "unexpected argument '--to' found"),
        (&["export", "a", "--to", "b", "--hidden", "tanh"], "unexpected argument '--hidden' found"),
        (&["import", "a", "--to"], "a value is required for '--to <MODEL.attr>' but none was supplied"),
        (
            &["import", "a", "--to", "b", "--to", "c"],
            "the argument '--to <MODEL.attr>' cannot be used multiple times",
        ),
        (
            &["import", "a", "--to", "b", "--feedback", "tied:0"],
            "invalid value 'tied:0' for '--feedback <FORM>': tied feedback has a strength of 1 to 100 percent, such as tied:50, not `tied:0`",
        ),
        (
            &["import", "a", "--to", "b", "--feedback", "tied"],
            "invalid value 'tied' for '--feedback <FORM>': feedback is adjacent, skip, dense, tied:PERCENT or feedforward, not `tied`",
        ),
        (
            &["import", "a", "--to", "b", "--output=softmax"],
            "invalid value 'softmax' for '--output <NAME>': an activation is identity, tanh, sigmoid, relu, hard-tanh or leaky-relu, not `softmax`",
        ),
        (
            &["import", "a", "--to", "b", "--scalar", "f16"],
            "invalid value 'f16' for '--scalar <SCALAR>': a scalar is f32 or f64, not `f16`",
        ),
        (
            &["import", "a", "--to", "b", "--help=yes"],
            "unexpected value 'yes' for '--help' found; no more were expected",
        ),
    ];
    for (arguments, error) in wrong {
        let answer = run(arguments);
        assert_eq!((answer.code, answer.output.as_str()), (2, ""), "{arguments:?}");
        assert_eq!(answer.error, format!("attractor: {error}\nattractor: `--help` lists the options\n"));
    }
    for (arguments, word) in [
        (&["--help"][..], "Usage: attractor <COMMAND>"),
        (&["-h"], "Usage: attractor <COMMAND>"),
        (&["import", "--help"], "layers.L.feedback"),
        (&["show", "-h"], "Usage: attractor show <MODEL.attr|MODEL.safetensors>"),
    ] {
        let answer = run(arguments);
        assert_eq!((answer.code, answer.error.as_str()), (0, ""));
        assert!(answer.output.contains(word), "{arguments:?}: {}", answer.output);
    }
}

#[test]
fn a_name_may_have_an_equals_sign() {
    let room = Room::new("names");
    let from = room.write("a=b.safetensors", &packed(&small(), &[]));
    assert!(!room.import(&from, &[]).is_empty());
}

/// A safetensors file whose header is this text, with so many zeros after it.
fn with_header(header: &str, zeros: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; zeros]].concat()
}

#[test]
fn a_name_that_stands_twice_is_refused() {
    let room = Room::new("twice");
    // 1-1 without feedback: four bytes each.
    let weight = r#""layers.1.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}"#;
    let bias = r#""layers.1.bias":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#;
    let once = with_header(&format!("{{{weight},{bias}}}"), 8);
    assert!(!room.import(&room.write("once", &once), &[]).is_empty());

    let said = r#""__metadata__":{"attractor.hidden":"relu"}"#;
    let cases = [
        ("layers.1.bias", format!("{{{weight},{bias},{bias}}}")),
        // The same name, spelt in another way.
        ("layers.1.bias", format!("{{{weight},{bias},{}}}", bias.replace("bias", "bi\\u0061s"))),
        ("__metadata__", format!("{{{said},{weight},{bias},{said}}}")),
        ("attractor.hidden", {
            let said = said.replace('}', r#","attractor.hidden":"tanh"}"#);
            format!("{{{said},{weight},{bias}}}")
        }),
        ("shape", format!("{{{weight},{}}}", bias.replace('}', r#","shape":[1]}"#))),
    ];
    for (name, header) in cases {
        let error = room.refused(&room.write("twice", &with_header(&header, 8)), &[]);
        assert!(error.contains(name) || error.contains("duplicate field"), "{header}: {error}");
    }
}

/// Whatever a file or a command line says, the terminal gets lines of visible characters.
#[test]
fn control_characters_are_escaped() {
    let room = Room::new("controls");
    let hostile =
        ["\u{1b}[31mred", "two\nlines", "back\r", "\u{7}", "\u{9b}2J", "\u{202e}turned", "\u{200b}"];
    for text in hostile {
        let mut named = small();
        named.insert(format!("layers.1.{text}"), f32s(&[1], &[0.0]));
        let tensor = room.write("tensor", &packed(&named, &[]));
        let value = room.write("value", &packed(&small(), &[("attractor.hidden", text)]));
        let key = room.write("key", &packed(&small(), &[(&format!("attractor.{text}"), "tanh")]));
        let path = room.path(text);
        let to = room.path("out");
        for (code, arguments) in [
            (1, &["import", &tensor, "--to", &to][..]),
            (1, &["import", &value, "--to", &to]),
            (1, &["import", &key, "--to", &to]),
            (1, &["show", &tensor]),
            (1, &["show", &path]),
            (1, &["import", &path, "--to", &to]),
            (2, &[text]),
            (2, &["show", "a", text]),
            (2, &["import", "a", "--to", "b", "--hidden", text]),
        ] {
            let answer = run(arguments);
            assert_eq!((answer.code, answer.output.as_str()), (code, ""), "{arguments:?}: {}", answer.error);
            let lines: Vec<&str> = answer.error.lines().collect();
            assert_eq!(lines.len(), code as usize, "{arguments:?}: {:?}", answer.error);
            let hidden = |c: char| c.is_control() || matches!(c, '\u{200b}' | '\u{202e}');
            assert!(!lines.iter().any(|line| line.contains(hidden)), "{arguments:?}: {:?}", answer.error);
        }
    }
}

#[test]
fn the_file_that_is_read_is_not_written() {
    let room = Room::new("same");
    let tensors = room.write("same.safetensors", &packed(&small(), &[]));
    let model = room.write("same.attr", &room.import(&tensors, &[]));
    for (command, from) in [("import", &tensors), ("export", &model)] {
        let before = fs::read(from).unwrap();
        let file = Path::new(from).file_name().unwrap().to_str().unwrap();
        let mut names =
            vec![from.clone(), room.path(&format!("./{file}")), room.path(&format!("../same/{file}"))];
        #[cfg(unix)]
        {
            let (hard, soft) = (room.path(&format!("{command}.hard")), room.path(&format!("{command}.soft")));
            fs::hard_link(from, &hard).unwrap();
            std::os::unix::fs::symlink(from, &soft).unwrap();
            names.extend([hard, soft]);
        }
        for to in names {
            let answer = run(&[command, from, "--to", &to]);
            assert_eq!((answer.code, answer.output.as_str()), (1, ""), "{to}");
            assert_eq!(answer.error, format!("attractor: {to}: `--to` is the file that is read\n"));
            assert!(fs::read(from).unwrap() == before, "{to}");
        }
    }
}

/// Runs under a shell's settings; `"$@"` is the program and its arguments.
#[cfg(target_os = "linux")]
fn under(script: &str, arguments: &[&str]) -> Answer {
    let program = env!("CARGO_BIN_EXE_attractor");
    let output = Command::new("bash").args(["-c", script, "bash", program]).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Answer { code: output.status.code().unwrap(), output: text(output.stdout), error: text(output.stderr) }
}

#[cfg(target_os = "linux")]
#[test]
fn a_write_that_fails_leaves_the_file_that_was_there() {
    let room = Room::new("whole");
    let from = room.write("small.safetensors", &packed(&small(), &[]));
    let model = room.write("small.attr", &room.import(&from, &[]));
    fs::remove_file(room.path("imported.attr")).unwrap();
    for (command, from) in [("import", &from), ("export", &model)] {
        for before in [Some(&b"a good file"[..]), None] {
            let to = room.path("target");
            let _ = fs::remove_file(&to);
            if let Some(bytes) = before {
                fs::write(&to, bytes).unwrap();
            }
            // No file may grow, as on a full disk.
            let full = "trap '' XFSZ; ulimit -f 0; exec \"$@\"";
            let answer = under(full, &[command, from, "--to", &to]);
            assert_eq!((answer.code, answer.output.as_str()), (1, ""));
            assert!(answer.error.starts_with(&format!("attractor: {to}: ")), "{}", answer.error);
            assert_eq!(answer.error.lines().count(), 1, "{}", answer.error);
            assert_eq!(fs::read(&to).ok().as_deref(), before);
            let left = fs::read_dir(&room.0).unwrap().count();
            assert_eq!(left, 2 + usize::from(before.is_some()), "something is left beside the file");
            // With room it is replaced, and nothing is left either.
            quiet(&run(&[command, from, "--to", &to]));
            assert_ne!(fs::read(&to).unwrap(), b"a good file");
            assert_eq!(fs::read_dir(&room.0).unwrap().count(), 3);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_is_full_or_closed_is_no_panic() {
    let room = Room::new("outputs_full");
    let file = room.write("small.safetensors", &packed(&small(), &[]));
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../firmware/data/shipped.attr");
    let certified = room.write("certified.attr", &fs::read(shipped).unwrap());
    let to = room.path("out");
    for arguments in [&["--help"][..], &["show", &file]] {
        let answer = under("exec \"$@\" >/dev/full", arguments);
        assert_eq!(answer.code, 1, "{arguments:?}");
        assert!(answer.error.starts_with("attractor: standard output: "), "{}", answer.error);
        assert_eq!(answer.error.lines().count(), 1, "{}", answer.error);
        // Nobody reads the pipe any more.
        let closed = "{ sleep 0.2; \"$@\"; echo \"$?\" >&2; } | :";
        assert_eq!(under(closed, arguments).error, "0\n", "{arguments:?}");
    }
    for (code, arguments) in
        [(0, &["export", &certified, "--to", &to][..]), (1, &["show", "/nowhere"]), (2, &["nonsense"])]
    {
        for script in ["exec \"$@\" 2>/dev/full", "exec \"$@\" 2>&-"] {
            assert_eq!(under(script, arguments).code, code, "{script} {arguments:?}");
        }
    }
}

/// The firmware's file is what the tool makes of PyTorch's, and the certificate that is found for it.
#[test]
fn the_file_in_flash_is_the_import() {
    let imported = Room::new("in_flash").import(&data("plain.safetensors"), &["--feedback", "tied:50"]);
    let net: fnn![3, 7, 2; feedback = Tied<50>] = load(&imported);
    let certificate = net.certify().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../firmware/data/shipped.attr");
    assert!(
        fs::read(path).unwrap() == stored(&net, Some(&certificate)),
        "write it anew with firmware/prepare"
    );
}
