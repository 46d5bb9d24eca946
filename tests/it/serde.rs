//! Networks, states and certificates through a text format and a compact one, and what is refused.

use attractor::kernel::{Relu, Sigmoid};
use attractor::network::Flat;
use attractor::{Certificate, Dense, State, Tied, fnn};
use serde_json::{Value, from_str, from_value, json, to_string, to_value};

type Net = fnn![2, 3, 1];
type Double = fnn![2, 4, 3, 2; feedback = Dense, hidden = Sigmoid, scalar = f64];
type TiedNet = fnn![2, 4, 3; feedback = Tied<30>];
type Unbounded = fnn![2, 4, 3; hidden = Relu];

/// Writes it both ways, reads it back, and compares every bit.
macro_rules! round_trip {
    ($value:expr, $type:ty) => {{
        let value: &$type = &$value;
        let bits = |value: &$type| value.flat().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let read: $type = from_str(&to_string(value).unwrap()).unwrap();
        assert_eq!(bits(&read), bits(value));
        let mut compact = Vec::new();
        ciborium::into_writer(value, &mut compact).unwrap();
        let read: $type = ciborium::from_reader(&compact[..]).unwrap();
        assert_eq!(bits(&read), bits(value));
    }};
}

macro_rules! filled {
    ($type:ty) => {{
        let mut net = <$type>::ZERO;
        for (i, w) in net.flat_mut().iter_mut().enumerate() {
            *w = 0.1 * (i as f64 * 1.7).sin() as <$type as Flat>::Scalar;
        }
        net.flat_mut()[3] = -0.0;
        net.flat_mut()[4] = 1e-42 as <$type as Flat>::Scalar; // less than normal
        net
    }};
}

#[test]
fn all_come_back_bit_for_bit() {
    round_trip!(filled!(Net), Net);
    round_trip!(filled!(Double), Double);
    round_trip!(filled!(TiedNet), TiedNet);
    round_trip!(filled!(State<Net, 3>), State<Net, 3>);
    round_trip!(filled!(State<Double>), State<Double>);
    round_trip!(filled!(Net).certify().unwrap(), Certificate<Net>);
    round_trip!(filled!(Double).certify().unwrap(), Certificate<Double>);
    let unbounded = filled!(Unbounded);
    let certificate = unbounded.certify().unwrap();
    assert_eq!(certificate.range(), None, "which is what this is about");
    round_trip!(certificate, Certificate<Unbounded>);
    // It still holds.
    let read: Certificate<Unbounded> = from_str(&to_string(&certificate).unwrap()).unwrap();
    read.verify(&unbounded).unwrap();
}

#[test]
fn the_text_says_what_it_is() {
    let mut net = <fnn![1, 1]>::ZERO;
    net.params_mut().copy_from_slice(&[0.5, -1.25]);
    let expected = json!({
        "shape": "fnn![1, 1; feedback = adjacent, hidden = tanh, output = identity, scalar = f32]",
        "scalars": [0.5, -1.25],
    });
    assert_eq!(to_value(&net).unwrap(), expected);
    assert_eq!(
        to_value(State::<fnn![1, 1], 2>::ZERO).unwrap()["shape"],
        "2 states of fnn![1, 1; feedback = adjacent, hidden = tanh, output = identity, scalar = f32]"
    );
    // The order of the fields is nobody's business.
    let text = format!("{{\"scalars\": [0.5, -1.25], \"shape\": {}}}", expected["shape"]);
    assert_eq!(from_str::<fnn![1, 1]>(&text).unwrap(), net);
}

/// The message with which this is refused, in the order in which it is written: `Value` has its fields by name.
fn refused<N: for<'de> serde_core::Deserialize<'de>>(value: &Value) -> String {
    let fields = ["shape", "scalars", "weights"].map(|name| Some(format!("\"{name}\":{}", value.get(name)?)));
    let text = format!("{{{}}}", fields.into_iter().flatten().collect::<Vec<_>>().join(","));
    match from_str::<N>(&text) {
        Ok(_) => panic!("{value} is no such thing"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_wrong_is_named() {
    let good = to_value(filled!(Net)).unwrap();
    assert!(from_value::<Net>(good.clone()).is_ok());
    let contains = |message: String, words: &[&str]| {
        for word in words {
            assert!(message.contains(word), "`{word}` is not in `{message}`");
        }
    };
    // Another shape, form, scalar; a state of another number of samples; something else altogether.
    contains(refused::<fnn![2, 4, 1]>(&good), &["fnn![2, 3, 1; ", "expected fnn![2, 4, 1; "]);
    contains(refused::<fnn![2, 3, 1; feedback = Dense]>(&good), &["= adjacent", "= dense"]);
    contains(refused::<fnn![2, 3, 1; scalar = f64]>(&good), &["scalar = f32", "scalar = f64"]);
    contains(refused::<State<Net>>(&good), &["fnn![2, 3, 1; ", "expected state of fnn![2, 3, 1; "]);
    let longer = json!({ "shape": format!("{} and more", good["shape"].as_str().unwrap()), "scalars": [] });
    contains(refused::<Net>(&longer), &["] and more", "expected fnn![2, 3, 1; "]);
    let states = to_value(State::<Net, 2>::ZERO).unwrap();
    contains(refused::<State<Net, 3>>(&states), &["2 states of", "3 states of"]);
    contains(refused::<Certificate<Net>>(&good), &["certificate of fnn![2, 3, 1; "]);

    let with = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut value = good.clone();
        change(value["scalars"].as_array_mut().unwrap());
        value
    };
    let fewer = with(&|scalars| drop(scalars.pop()));
    contains(refused::<Net>(&fewer), &["invalid length 15", "16 scalars of a fnn![2, 3, 1; "]);
    let more = with(&|scalars| scalars.extend([json!(1.0), json!(2.0)]));
    contains(refused::<Net>(&more), &["invalid length 18", "16 scalars of a fnn![2, 3, 1; "]);
    let huge = with(&|scalars| scalars[7] = json!(1e300));
    contains(refused::<Net>(&huge), &["out of range"]); // which serde_json finds
    contains(refused::<Net>(&with(&|scalars| scalars[7] = Value::Null)), &["null"]);
    contains(refused::<Net>(&json!({ "shape": good["shape"] })), &["missing field `scalars`"]);
    contains(refused::<Net>(&json!({ "shape": good["shape"], "weights": [] })), &["unknown field `weights`"]);
    let twice = format!("{{\"shape\": {0}, \"shape\": {0}}}", good["shape"]);
    contains(from_str::<Net>(&twice).unwrap_err().to_string(), &["duplicate field `shape`"]);

    // Only one number of a certificate can be missing, and a NaN is not written.
    let mut certificate = to_value(filled!(Net).certify().unwrap()).unwrap();
    certificate["scalars"][4] = Value::Null;
    contains(refused::<Certificate<Net>>(&certificate), &["null"]);
    let mut broken = filled!(Net);
    broken.params_mut()[5] = f32::NAN;
    contains(to_string(&broken).unwrap_err().to_string(), &["scalar 5 of fnn![2, 3, 1; ", "is not finite"]);
    let mut compact = Vec::new();
    let [shape, infinite] = [good["shape"].as_str().unwrap().into(), f64::INFINITY.into()];
    let map = [("shape".into(), shape), ("scalars".into(), ciborium::Value::Array(vec![infinite; 16]))];
    ciborium::into_writer(&ciborium::Value::Map(map.into()), &mut compact).unwrap();
    let error = ciborium::from_reader::<Net, _>(&compact[..]).unwrap_err().to_string();
    contains(error, &["scalar 0 of a fnn![2, 3, 1; ", "is not finite"]);
}
