//! A narrower network from the units of a wider one.

use super::CompressError;
use crate::kernel::{Activation, Scalar};
use crate::network::{Architecture, Fnn, Form, Layer, LayerLayout, MAX_DEPTH, Network, Parameters, Shape};
use crate::network::{Stack, State, Tail, Text};
use crate::simd::Element;

impl<T: Scalar, A: Architecture<Scalar = T>> Network<A> {
    /// Structured pruning: writes into `small` the network of those units of every layer that have the highest `scores`, in their order; of
    /// equals the first ones. Inputs, outputs, depth, feedback, activations and scalar are the same, and no layer is wider; anything else does
    /// not compile.
    ///
    /// A unit that is left out counts as its mean: weight times mean goes into the bias of every unit that read it. Scores
    /// and means are [`Importance`](super::Importance)'s, or any others. With nothing to leave out, all bits stay.
    ///
    /// A certificate does not carry over: narrower layers mostly give a smaller gamma, but it is to be found anew.
    ///
    /// ```compile_fail
    /// use attractor::fnn;
    /// type Large = fnn![2, 8, 1];
    /// let (large, state) = (Large::ZERO, Large::state());
    /// let _ = large.prune(&state, &state, &mut <fnn![2, 9, 1]>::ZERO); // wider
    /// ```
    ///
    /// # Errors
    /// [`CompressError::NotFinite`] if a score is a NaN, or a parameter, a mean or a new bias is not finite; `small` is then unchanged.
    pub fn prune<G: Architecture<Scalar = T>>(
        &self,
        scores: &State<Self>,
        means: &State<Self>,
        small: &mut Network<G>,
    ) -> Result<(), CompressError>
    where
        A: Prunes<G>,
    {
        const { is_no_wider(&Self::OUTLINE, &G::OUTLINE) };
        let from = self.parameters()?;
        let finite = |values: &[T]| values.iter().all(|value| value.is_finite());
        let mut to = small.parameters_mut()?;
        // All but a NaN has its place.
        let ranked = scores.as_slice().iter().all(|score| score.magnitude() >= T::ZERO);
        if !(ranked && finite(self.params()) && finite(means.as_slice())) {
            return Err(CompressError::NotFinite);
        }
        let kept = Kept::best(from, scores.as_slice(), to.layout().layers());
        let pruning = Pruning { from, kept, means: means.as_slice() };
        let layers = from.layout().layers();
        for (l, layer) in layers.iter().enumerate() {
            for unit in pruning.kept.units(l, layer) {
                if !pruning.bias(l, layer, unit).is_finite() {
                    return Err(CompressError::NotFinite);
                }
            }
        }
        for (l, (layer, narrow)) in layers.iter().zip(to.layout().layers()).enumerate() {
            let (mut w, mut u, b) = to.layer(narrow);
            let rows = || pruning.kept.units(l, layer);
            let mut taken = pruning.inputs(l, layer).flat_map(|column| rows().map(move |row| (row, column)));
            w.fill_with(|own| {
                taken.next().and_then(|(row, column)| from.w(layer).at(row, column)).unwrap_or(own)
            });
            let mut taken =
                pruning.fed_back(l, layer).flat_map(|column| rows().map(move |row| (row, column)));
            u.fill_with(|own| {
                taken.next().and_then(|(row, column)| from.u(layer).at(row, column)).unwrap_or(own)
            });
            for (b, unit) in b.iter_mut().zip(rows()) {
                *b = pruning.bias(l, layer, unit);
            }
        }
        Ok(())
    }
}

/// An architecture that can be pruned to `G`: as many layers, as many outputs, and all else the same but the widths. Sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be pruned to `{G}`",
    label = "not as many layers, or not as many outputs",
    note = "pruning makes layers narrower: depth, inputs, outputs and all else stay the same"
)]
pub trait Prunes<G>: Architecture {}

impl<const I: usize, S: Narrows<R>, R: Stack, T: Scalar, F: Form, H: Activation, O: Activation>
    Prunes<Fnn<I, R, T, F, H, O>> for Fnn<I, S, T, F, H, O>
{
}

/// As many layers as `R` has, with as many outputs.
#[diagnostic::on_unimplemented(
    message = "a network of the layers `{Self}` cannot be pruned to `{R}`",
    label = "not as many layers, or not as many outputs",
    note = "pruning makes layers narrower: depth and outputs stay the same"
)]
pub trait Narrows<R>: Stack {}

impl<const N: usize> Narrows<Layer<N>> for Layer<N> {}
impl<const N: usize, const M: usize, Above: Tail + Narrows<R>, R: Tail> Narrows<Layer<M, R>>
    for Layer<N, Above>
{
}

/// Stops the compilation if a layer is wider than it was.
const fn is_no_wider(large: &Shape, small: &Shape) {
    let mut l = 0;
    while l <= MAX_DEPTH {
        if small.widths[l] > large.widths[l] {
            let text = large.text(Text::EMPTY).and(" cannot be pruned to ");
            small.text(text).and(": no layer gets wider").panic();
        }
        l += 1;
    }
}

/// Which units stay: of every layer those whose score is at least that of one of them.
struct Kept<'a, T> {
    scores: &'a [T],
    /// The last that stays.
    last: [(T, usize); MAX_DEPTH],
}

impl<'a, T: Element> Kept<'a, T> {
    fn best(from: Parameters<'_, T>, scores: &'a [T], narrow: &[LayerLayout]) -> Self {
        let mut kept = Self { scores, last: [(T::ZERO, 0); MAX_DEPTH] };
        for ((layer, narrow), last) in from.layout().layers().iter().zip(narrow).zip(&mut kept.last) {
            let own = scores.get(layer.own()).unwrap_or_default();
            for (unit, score) in own.iter().enumerate() {
                let better = own
                    .iter()
                    .enumerate()
                    .filter(|(i, other)| **other > *score || (**other == *score && *i < unit));
                if better.count() + 1 == narrow.width {
                    *last = (*score, unit);
                }
            }
        }
        kept
    }

    fn has(&self, l: usize, layer: &LayerLayout, unit: usize) -> bool {
        match (self.scores.get(layer.units + unit), self.last.get(l)) {
            (Some(score), Some((least, last))) => *score > *least || (*score == *least && unit <= *last),
            _ => false,
        }
    }
    /// The units of a layer that stay.
    fn units(&self, l: usize, layer: &LayerLayout) -> impl Iterator<Item = usize> {
        (0..layer.width).filter(move |unit| self.has(l, layer, *unit))
    }
}

struct Pruning<'a, T> {
    from: Parameters<'a, T>,
    kept: Kept<'a, T>,
    means: &'a [T],
}

impl<'a, T: Scalar> Pruning<'a, T> {
    fn layer(&self, l: usize) -> Option<&'a LayerLayout> {
        self.from.layout().layers().get(l)
    }
    fn mean(&self, place: usize) -> T {
        self.means.get(place).copied().unwrap_or(T::NAN)
    }
    /// The columns of W that stay.
    fn inputs(&self, l: usize, layer: &LayerLayout) -> impl Iterator<Item = usize> {
        let below = l.checked_sub(1).and_then(|below| Some((below, self.layer(below)?)));
        (0..layer.inputs)
            .filter(move |column| below.is_none_or(|(l, below)| self.kept.has(l, below, *column)))
    }
    /// The columns of U that stay: all layers that are read stand side by side, the nearest first.
    fn fed_back(&self, l: usize, layer: &LayerLayout) -> impl Iterator<Item = usize> {
        (0..layer.feedback).filter(move |column| self.stays(l, layer, *column))
    }
    /// Whether the unit in a column of U stays.
    fn stays(&self, l: usize, layer: &LayerLayout, column: usize) -> bool {
        let place = layer.above().start + column;
        let above = self.from.layout().layers().iter().enumerate().skip(l + 1);
        above
            .filter(|(_, above)| above.own().contains(&place))
            .all(|(k, above)| self.kept.has(k, above, place - above.units))
    }

    /// The bias of a unit, with what units added on average that do not stay.
    fn bias(&self, l: usize, layer: &LayerLayout, unit: usize) -> T {
        let mut bias = self.from.b(layer).get(unit).copied().unwrap_or(T::NAN);
        if let Some((l, below)) = l.checked_sub(1).and_then(|below| Some((below, self.layer(below)?))) {
            for column in (0..below.width).filter(|column| !self.kept.has(l, below, *column)) {
                let weight = self.from.w(layer).at(unit, column).unwrap_or(T::NAN);
                bias += weight * self.mean(below.units + column);
            }
        }
        for column in (0..layer.feedback).filter(|column| !self.stays(l, layer, *column)) {
            let weight = self.from.u(layer).at(unit, column).unwrap_or(T::NAN);
            bias += weight * self.mean(layer.above().start + column);
        }
        if let Some((k, above)) = self.from.layout().tied_to::<T>(l) {
            for row in (0..above.width).filter(|row| !self.kept.has(l + 1, above, *row)) {
                let weight = k * self.from.w(above).at(row, unit).unwrap_or(T::NAN);
                bias += weight * self.mean(above.units + row);
            }
        }
        bias
    }
}
