//! Networks, states and certificates in any format that serde knows: their shape as a text, and their scalars in a row.
//!
//! The text is what makes another type be refused: a network of other widths, feedback or activations has another one. Scalars that are not
//! finite are refused both ways; but a certificate whose range is unbounded says so by no number at all.

use crate::certificate::{Certificate, RANGE};
use crate::network::{Architecture, Flat, Network, Shape, State};
use crate::simd::Element;
use core::fmt::{self, Write};
use core::marker::PhantomData;
use serde_core::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny};
use serde_core::de::{MapAccess, SeqAccess, Unexpected, Visitor};
use serde_core::ser::{Error as _, Serialize, SerializeSeq, SerializeStruct, Serializer};

/// What a value is: its text.
#[derive(Clone, Copy)]
enum Label {
    Network(Shape),
    States(usize, Shape),
    Certificate(Shape),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(shape) => shape.fmt(f),
            Self::States(1, shape) => write!(f, "state of {shape}"),
            Self::States(samples, shape) => write!(f, "{samples} states of {shape}"),
            Self::Certificate(shape) => write!(f, "certificate of {shape}"),
        }
    }
}

impl Serialize for Label {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> DeserializeSeed<'de> for Label {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Label {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
    fn visit_str<E: serde_core::de::Error>(self, found: &str) -> Result<(), E> {
        let mut rest = Rest(found);
        if write!(rest, "{self}").is_ok() && rest.0.is_empty() {
            Ok(())
        } else {
            Err(E::invalid_value(Unexpected::Str(found), &self))
        }
    }
}

/// What is left of a text of which parts are compared.
struct Rest<'a>(&'a str);

impl Write for Rest<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(part).ok_or(fmt::Error)?;
        Ok(())
    }
}

/// A number of scalars of something, as errors name it.
struct Scalars(usize, Label);

impl serde_core::de::Expected for Scalars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} scalars of a {}", self.0, self.1)
    }
}

/// What is stored as its text and its scalars.
trait Stored: Flat<Scalar: Element> {
    const LABEL: Label;
    /// The scalar that may be infinite.
    const UNBOUNDED: Option<usize> = None;
}

impl<A: Architecture> Stored for Network<A> {
    const LABEL: Label = Label::Network(Self::SHAPE);
}
impl<N: Architecture, const B: usize> Stored for State<N, B> {
    const LABEL: Label = Label::States(B, N::SHAPE);
}
impl<N: Architecture> Stored for Certificate<N> {
    const LABEL: Label = Label::Certificate(N::SHAPE);
    const UNBOUNDED: Option<usize> = Some(N::LAYOUT.units() + RANGE);
}

/// The scalars of something, to be written or read.
struct Row<P>(P);

impl<V: Stored<Scalar: Serialize>> Serialize for Row<&V> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let mut row = serializer.serialize_seq(Some(V::LEN))?;
        for (index, scalar) in self.0.flat().iter().enumerate() {
            match V::UNBOUNDED {
                Some(unbounded) if unbounded == index => {
                    row.serialize_element(&scalar.is_finite().then_some(scalar))?
                }
                _ if scalar.is_finite() => row.serialize_element(scalar)?,
                _ => {
                    return Err(Z::Error::custom(format_args!(
                        "scalar {index} of {} is not finite",
                        V::LABEL
                    )));
                }
            }
        }
        row.end()
    }
}

impl<'de, V: Stored<Scalar: Deserialize<'de>>> DeserializeSeed<'de> for Row<&mut V> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, V: Stored<Scalar: Deserialize<'de>>> Visitor<'de> for Row<&mut V> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        serde_core::de::Expected::fmt(&Scalars(V::LEN, V::LABEL), f)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> Result<(), A::Error> {
        for (index, scalar) in self.0.flat_mut().iter_mut().enumerate() {
            let found = match V::UNBOUNDED {
                Some(unbounded) if unbounded == index => {
                    row.next_element()?.map(|number: Option<_>| number.unwrap_or(V::Scalar::INFINITE))
                }
                _ => row.next_element::<V::Scalar>()?,
            };
            let Some(number) = found else {
                return Err(A::Error::invalid_length(index, &Scalars(V::LEN, V::LABEL)));
            };
            if !(number.is_finite() || (V::UNBOUNDED == Some(index) && number == V::Scalar::INFINITE)) {
                return Err(A::Error::custom(format_args!("scalar {index} of a {} is not finite", V::LABEL)));
            }
            *scalar = number;
        }
        let mut more = 0;
        while row.next_element::<IgnoredAny>()?.is_some() {
            more += 1;
        }
        if more > 0 {
            return Err(A::Error::invalid_length(V::LEN + more, &Scalars(V::LEN, V::LABEL)));
        }
        Ok(())
    }
}

const FIELDS: [&str; 2] = ["shape", "scalars"];

fn write<V: Stored<Scalar: Serialize>, Z: Serializer>(
    value: &V,
    name: &'static str,
    serializer: Z,
) -> Result<Z::Ok, Z::Error> {
    let mut fields = serializer.serialize_struct(name, 2)?;
    fields.serialize_field(FIELDS[0], &V::LABEL)?;
    fields.serialize_field(FIELDS[1], &Row(value))?;
    fields.end()
}

/// Reads something of this type.
struct Read<V>(PhantomData<V>);

impl<'de, V: Stored<Scalar: Deserialize<'de>>> Visitor<'de> for Read<V> {
    type Value = V;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {}", V::LABEL)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut fields: A) -> Result<V, A::Error> {
        let mut value = V::ZERO;
        let missing = |count| A::Error::invalid_length(count, &"a shape and scalars");
        fields.next_element_seed(V::LABEL)?.ok_or_else(|| missing(0))?;
        fields.next_element_seed(Row(&mut value))?.ok_or_else(|| missing(1))?;
        Ok(value)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<V, A::Error> {
        let (mut value, mut seen) = (V::ZERO, [false; 2]);
        while let Some(field) = fields.next_key_seed(FieldName)? {
            let [shape, scalars] = &mut seen;
            let seen = if field == FIELDS[0] { shape } else { scalars };
            if core::mem::replace(seen, true) {
                return Err(A::Error::duplicate_field(field));
            }
            if field == FIELDS[0] {
                fields.next_value_seed(V::LABEL)?;
            } else {
                fields.next_value_seed(Row(&mut value))?;
            }
        }
        match FIELDS.iter().zip(seen).find(|(_, seen)| !seen) {
            Some((missing, _)) => Err(A::Error::missing_field(missing)),
            None => Ok(value),
        }
    }
}

/// The name of a field.
struct FieldName;

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = &'static str;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for FieldName {
    type Value = &'static str;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`shape` or `scalars`")
    }
    fn visit_str<E: serde_core::de::Error>(self, found: &str) -> Result<Self::Value, E> {
        let known = FIELDS.iter().find(|name| **name == found);
        known.copied().ok_or_else(|| E::unknown_field(found, &FIELDS))
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl<A: Architecture<Scalar: Serialize>> Serialize for Network<A> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        write(self, "Network", serializer)
    }
}
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl<'de, A: Architecture<Scalar: Deserialize<'de>>> Deserialize<'de> for Network<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("Network", &FIELDS, Read(PhantomData))
    }
}

macro_rules! stored {
    ($name:literal, $type:ty $(, $samples:ident)?) => {
        #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
        impl<N: Architecture<Scalar: Serialize> $(, const $samples: usize)?> Serialize for $type {
            fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                write(self, $name, serializer)
            }
        }
        #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
        impl<'de, N: Architecture<Scalar: Deserialize<'de>> $(, const $samples: usize)?> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_struct($name, &FIELDS, Read(PhantomData))
            }
        }
    };
}

stored!("State", State<N, B>, B);
stored!("Certificate", Certificate<N>);
