//! The architecture of a network as a value, as a model file has it.

use super::form::{FORMS, REACHES};
use super::layout::{Layout, MAX_DEPTH};
use super::text::Text;
use crate::kernel::ACTIVATIONS;
use crate::simd::same;
use core::fmt;

/// Widths, scalar, form of feedback and activations of a network: all its type says, as a value. Its text is that of [`fnn!`](crate::fnn).
///
/// ```
/// use attractor::network::Architecture;
/// use attractor::{Shape, fnn};
/// let shape = <fnn![64, 48, 10]>::SHAPE;
/// assert_eq!(shape.widths(), [64, 48, 10]);
/// assert_eq!(
///     shape.to_string(),
///     "fnn![64, 48, 10; feedback = adjacent, hidden = tanh, output = identity, scalar = f32]"
/// );
/// assert_eq!(Some(shape), Shape::new(&[64, 48, 10], "f32", "adjacent", 0, "tanh", "identity"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Shape {
    pub(crate) widths: [u32; MAX_DEPTH + 1],
    pub(crate) depth: u8,
    pub(crate) scalar: u8,
    pub(crate) feedback: u8,
    pub(crate) percent: u8,
    pub(crate) hidden: u8,
    pub(crate) output: u8,
    /// A bit a layer, from the lowest: whether it has the parameters of the layer below it.
    pub(crate) shared: u32,
}

/// Names by their codes in model files.
pub(crate) const SCALARS: [&str; 6] = ["", "f32", "f64", "bf16", "i16", "i8"];
const TIED: u8 = 3;
/// The code of `f32`.
#[cfg(feature = "alloc")]
pub(crate) const F32: u8 = 1;
/// The code of [`Bf16`](crate::simd::Bf16).
pub(crate) const BF16: u8 = 3;

impl Shape {
    /// The shape of these widths, inputs first, and of these names: `scalar` f32 or f64, bf16 for a [`Bf16Network`](crate::quantized::Bf16Network)
    /// network, i16 or i8 for the states of a [`Quantized`](crate::quantized::Quantized) one; `feedback` feedforward, adjacent, dense, skip or tied,
    /// and then `percent` its strength, else 0; `hidden` and `output` identity, tanh, sigmoid, relu, hard tanh or leaky relu. Nothing for other
    /// names and for widths that are 0, too few or too many.
    #[must_use]
    pub const fn new(
        widths: &[usize],
        scalar: &str,
        feedback: &str,
        percent: usize,
        hidden: &str,
        output: &str,
    ) -> Option<Self> {
        let (Some(scalar), Some(feedback)) = (code(&SCALARS, scalar), code(&FORMS, feedback)) else {
            return None;
        };
        let (Some(hidden), Some(output)) = (code(&ACTIVATIONS, hidden), code(&ACTIVATIONS, output)) else {
            return None;
        };
        if widths.len() < 2 || widths.len() > MAX_DEPTH + 1 || percent > 100 {
            return None;
        }
        let depth = (widths.len() - 1) as u8;
        let mut shape = Self {
            widths: [0; MAX_DEPTH + 1],
            depth,
            scalar,
            feedback,
            percent: percent as u8,
            hidden,
            output,
            shared: 0,
        };
        let mut i = 0;
        while i < widths.len() {
            if widths[i] > u32::MAX as usize {
                return None;
            }
            shape.widths[i] = widths[i] as u32;
            i += 1;
        }
        if shape.is_one() { Some(shape) } else { None }
    }

    /// Whether there can be such a network.
    pub(crate) const fn is_one(&self) -> bool {
        let mut l = 0;
        while l <= self.depth as usize {
            // Not out of the array, whatever the depth.
            if l > MAX_DEPTH || self.widths[l] == 0 {
                return false;
            }
            l += 1;
        }
        self.depth > 0
            && self.scalar > 0
            && (self.scalar as usize) < SCALARS.len()
            && (self.feedback as usize) < FORMS.len()
            && (self.percent > 0 && self.percent <= 100) == (self.feedback == TIED)
            && (self.percent == 0 || self.feedback == TIED)
            && (self.hidden as usize) < ACTIVATIONS.len()
            && (self.output as usize) < ACTIVATIONS.len()
    }

    /// The layer, counted from 1, and the unit of it, of a unit counted among all.
    pub(crate) fn unit(&self, mut unit: usize) -> (usize, usize) {
        let mut layer = 1;
        for width in self.widths().iter().skip(1) {
            let Some(above) = unit.checked_sub(*width as usize) else { break };
            (layer, unit) = (layer + 1, above);
        }
        (layer, unit)
    }
    /// The matrix, its layer, counted from 1, row and column of a parameter counted among all.
    pub(crate) fn parameter(&self, mut index: usize) -> Option<(char, usize, usize, usize)> {
        let reach = REACHES.get(usize::from(self.feedback))?.layers();
        let mut widths = self.widths();
        for layer in 1..=usize::from(self.depth) {
            let [inputs, above @ ..] = widths else { break };
            let (width, inputs) = (*above.first()? as usize, *inputs as usize);
            widths = above;
            if self.shared.checked_shr(layer as u32 - 1).unwrap_or(0) & 1 == 1 {
                continue;
            }
            let feedback: u32 = above.iter().skip(1).take(reach).sum();
            let up = inputs + feedback as usize;
            if let Some(later) = index.checked_sub(width * (up + 1)) {
                index = later;
                continue;
            }
            let (row, column) = (index.checked_rem(width)?, index.checked_div(width)?);
            return Some(match column.checked_sub(inputs) {
                None => ('W', layer, row, column),
                Some(column) if column < feedback as usize => ('U', layer, row, column),
                Some(_) => ('b', layer, row, 0),
            });
        }
        None
    }
    /// Units of the input and of every layer.
    #[must_use]
    pub fn widths(&self) -> &[u32] {
        self.widths.get(..=usize::from(self.depth)).unwrap_or_default()
    }
    /// The name of the scalar.
    #[must_use]
    pub fn scalar(&self) -> &'static str {
        name(&SCALARS, self.scalar)
    }
    /// Bytes of a weight.
    #[must_use]
    pub const fn scalar_bytes(&self) -> usize {
        match self.scalar {
            1 => 4,
            2 => 8,
            BF16 => 2,
            _ => 1,
        }
    }
    /// Whether the weights are integers.
    pub(crate) const fn is_quantized(&self) -> bool {
        self.scalar > BF16
    }
    /// Whether the weights are of 16 bits.
    #[cfg(feature = "alloc")]
    pub(crate) const fn is_bf16(&self) -> bool {
        self.scalar == BF16
    }
    /// The same network of other scalars.
    pub(crate) const fn with_scalar(self, scalar: u8) -> Self {
        Self { scalar, ..self }
    }
    /// The name of the form of feedback.
    #[must_use]
    pub fn feedback(&self) -> &'static str {
        name(&FORMS, self.feedback)
    }
    /// The strength of tied feedback in per cent, 0 for other forms.
    #[must_use]
    pub const fn percent(&self) -> usize {
        self.percent as usize
    }
    /// The name of the activation of the hidden layers.
    #[must_use]
    pub fn hidden(&self) -> &'static str {
        activation(self.hidden)
    }
    /// The name of the activation of the output layer.
    #[must_use]
    pub fn output(&self) -> &'static str {
        activation(self.output)
    }
    /// Units in all layers.
    #[must_use]
    pub const fn units(&self) -> u64 {
        self.units_above(0, MAX_DEPTH)
    }
    /// Units that layer `layer`, counted from 1, reads through a U of its own.
    #[must_use]
    pub const fn feedback_units(&self, layer: usize) -> u64 {
        if layer == 0 || layer >= self.depth as usize || layer >= MAX_DEPTH {
            return 0;
        }
        self.units_above(layer, REACHES[self.feedback as usize % REACHES.len()].layers())
    }
    /// Units of so many layers, at most, above this one.
    const fn units_above(&self, layer: usize, layers: usize) -> u64 {
        let (mut units, mut l) = (0, layer + 1);
        while l <= self.depth as usize && l <= MAX_DEPTH && l - layer <= layers {
            units += self.widths[l] as u64;
            l += 1;
        }
        units
    }
    /// Whether layer `layer`, counted from 1, has the parameters of the layer below it ([`Repeat`](crate::Repeat)).
    #[must_use]
    pub const fn is_shared(&self, layer: usize) -> bool {
        layer > 1 && layer <= MAX_DEPTH && self.shared >> (layer - 1) & 1 == 1
    }
    /// Number of parameters; `u64::MAX` if they are more.
    #[must_use]
    pub const fn params(&self) -> u64 {
        let (mut params, mut l) = (0_u64, 1);
        while l <= self.depth as usize && l <= MAX_DEPTH {
            let columns = self.widths[l - 1] as u64 + self.feedback_units(l) + 1;
            if !self.is_shared(l) {
                params = params.saturating_add(columns.saturating_mul(self.widths[l] as u64));
            }
            l += 1;
        }
        params
    }

    /// The layout of such a network; nothing if memory cannot have as many parameters, or as many units.
    pub(crate) fn layout(&self) -> Option<Layout> {
        let most = (isize::MAX as u64) / 64;
        if !self.is_one() || self.params() > most || self.units() > most {
            return None;
        }
        let (mut widths, mut shared) = ([0; MAX_DEPTH], [false; MAX_DEPTH]);
        let (inputs, layers) = self.widths().split_first()?;
        for (l, ((to, width), shared)) in widths.iter_mut().zip(layers).zip(&mut shared).enumerate() {
            *to = *width as usize;
            *shared = self.is_shared(l + 1);
        }
        let reach = REACHES.get(usize::from(self.feedback)).copied()?;
        let layout = Layout::new(*inputs as usize, &widths, layers.len(), reach, self.percent());
        Some(layout.sharing(&shared))
    }

    /// Whether the other is the same.
    pub(crate) const fn is(&self, other: &Self) -> bool {
        let mut l = 0;
        while l <= MAX_DEPTH {
            if self.widths[l] != other.widths[l] {
                return false;
            }
            l += 1;
        }
        self.depth == other.depth
            && self.scalar == other.scalar
            && self.feedback == other.feedback
            && self.percent == other.percent
            && self.hidden == other.hidden
            && self.output == other.output
            && self.shared == other.shared
    }

    /// Its text, while compiling, behind another.
    pub(crate) const fn text(&self, mut text: Text) -> Text {
        text = text.and("fnn![");
        let mut l = 0;
        while l <= self.depth as usize && l <= MAX_DEPTH {
            text = text.and(if l == 0 { "" } else { ", " }).and_number(self.widths[l] as usize);
            text = text.and(if self.is_shared(l) { " shared" } else { "" });
            l += 1;
        }
        text = text.and("; feedback = ").and(FORMS[self.feedback as usize % FORMS.len()]);
        if self.percent > 0 {
            text = text.and("<").and_number(self.percent as usize).and(">");
        }
        text.and(", hidden = ")
            .and(activation(self.hidden))
            .and(", output = ")
            .and(activation(self.output))
            .and(", scalar = ")
            .and(SCALARS[self.scalar as usize % SCALARS.len()])
            .and("]")
    }
}

/// The name of an activation.
const fn activation(code: u8) -> &'static str {
    if (code as usize) < ACTIVATIONS.len() { ACTIVATIONS[code as usize] } else { "own" }
}

/// The code of a name.
const fn code(names: &[&str], name: &str) -> Option<u8> {
    let mut at = 0;
    while at < names.len() {
        if same(names[at], name) && !name.is_empty() {
            return Some(at as u8);
        }
        at += 1;
    }
    None
}

/// The name of a code.
fn name(names: &'static [&'static str], code: u8) -> &'static str {
    names.get(usize::from(code)).copied().unwrap_or_default()
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fnn![")?;
        for (l, width) in self.widths().iter().enumerate() {
            let shared = if self.is_shared(l) { " shared" } else { "" };
            write!(f, "{}{width}{shared}", if l == 0 { "" } else { ", " })?;
        }
        write!(f, "; feedback = {}", self.feedback())?;
        if self.percent > 0 {
            write!(f, "<{}>", self.percent)?;
        }
        write!(f, ", hidden = {}, output = {}, scalar = {}]", self.hidden(), self.output(), self.scalar())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
