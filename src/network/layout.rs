//! Where everything lies in the flat memory of a network and of its states, worked out at compile time.

use super::text::Text;
use crate::simd::Element;
use core::ops::Range;

/// The deepest network.
pub const MAX_DEPTH: usize = 32;

/// One layer in the flat memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayerLayout {
    /// Units of the layer below, or inputs.
    pub(crate) inputs: usize,
    /// Units.
    pub(crate) width: usize,
    /// Units above that are fed back: the columns of U.
    pub(crate) feedback: usize,
    /// First parameter: W, then U, then b, each column-major.
    pub(crate) params: usize,
    /// First unit among all units.
    pub(crate) units: usize,
    /// Whether its parameters are those of the layer below it.
    pub(crate) shared: bool,
}

/// All layers of a network; several may lie at one place. Every layer lies within `params` parameters and `units` units: `Layout::new` is
/// the only way to make one, and the unchecked views rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    layers: [LayerLayout; MAX_DEPTH],
    depth: usize,
    params: usize,
    units: usize,
    reach: Reach,
    /// How strongly W^T feeds back, in percent.
    tied: usize,
    /// How many layers have one set of parameters, at most.
    shares: usize,
}

impl Layout {
    /// The layout of `depth` layers of these widths; each reads the next layer, all above, or none through a U of its own, and
    /// the next one through W^T as strongly as `tied` says, in percent.
    pub(crate) const fn new(
        inputs: usize,
        widths: &[usize; MAX_DEPTH],
        depth: usize,
        reach: Reach,
        tied: usize,
    ) -> Self {
        let mut units = 0;
        let mut l = 0;
        while l < depth {
            units += widths[l];
            l += 1;
        }
        let empty = LayerLayout { inputs: 0, width: 0, feedback: 0, params: 0, units: 0, shared: false };
        let mut layout = Self { layers: [empty; MAX_DEPTH], depth, params: 0, units, reach, tied, shares: 1 };
        let mut below = inputs;
        let mut first = 0;
        let mut l = 0;
        while l < depth {
            let width = widths[l];
            let (mut feedback, mut above) = (0, l + 1);
            while above < depth && above - l <= reach.layers() {
                feedback += widths[above];
                above += 1;
            }
            layout.layers[l] = LayerLayout {
                inputs: below,
                width,
                feedback,
                params: layout.params,
                units: first,
                shared: false,
            };
            layout.params += layout.layers[l].len();
            first += width;
            below = width;
            l += 1;
        }
        layout
    }

    /// With the parameters of some layers stored once: each of those marked has those of the layer below it.
    pub(crate) const fn sharing(mut self, shared: &[bool; MAX_DEPTH]) -> Self {
        self.params = 0;
        let (mut run, mut l) = (1, 0);
        while l < self.depth {
            let mut layer = self.layers[l];
            if shared[l] {
                // The first layer is none of them, whatever the types say.
                let below = self.layers[l - 1];
                if layer.width != below.width
                    || layer.inputs != below.inputs
                    || layer.feedback != below.feedback
                {
                    let text = Text::EMPTY
                        .and("layer ")
                        .and_number(l + 1)
                        .and(" cannot share the parameters of the layer below: it is ");
                    let text = text.and_number(layer.width).and(" units that read ").and_number(layer.inputs);
                    let text = text.and(" below and ").and_number(layer.feedback).and(" above, that one is ");
                    let text = text.and_number(below.width).and(" that read ").and_number(below.inputs);
                    text.and(" and ").and_number(below.feedback).panic();
                }
                layer.params = below.params;
                layer.shared = true;
                run += 1;
            } else {
                run = 1;
                layer.params = self.params;
                self.params += layer.len();
            }
            self.layers[l] = layer;
            self.shares = if run > self.shares { run } else { self.shares };
            l += 1;
        }
        self
    }

    /// Where W of layer `l`, counted from 1, lies among the parameters: `units x inputs`, column-major. Nothing if there is no such layer.
    ///
    /// ```
    /// use attractor::fnn;
    /// use attractor::network::Architecture;
    /// let layout = <fnn![2, 3, 1]>::LAYOUT;
    /// assert_eq!((layout.w(1), layout.u(1), layout.b(1)), (Some(0..6), Some(6..9), Some(9..12)));
    /// assert_eq!(layout.units_of(2), Some(3..4));
    /// ```
    #[must_use]
    pub fn w(&self, l: usize) -> Option<Range<usize>> {
        let layer = self.layers().get(l.checked_sub(1)?)?;
        Some(layer.params..layer.u())
    }
    /// Where U of layer `l` lies: `units x` those that are fed back, the nearest layer first, column-major.
    #[must_use]
    pub fn u(&self, l: usize) -> Option<Range<usize>> {
        let layer = self.layers().get(l.checked_sub(1)?)?;
        Some(layer.u()..layer.b())
    }
    /// Where b of layer `l` lies.
    #[must_use]
    pub fn b(&self, l: usize) -> Option<Range<usize>> {
        let layer = self.layers().get(l.checked_sub(1)?)?;
        Some(layer.b()..layer.b() + layer.width)
    }
    /// Where the units of layer `l` lie among all units: those numbers times the number of samples, among the scalars of a state.
    #[must_use]
    pub fn units_of(&self, l: usize) -> Option<Range<usize>> {
        Some(self.layers().get(l.checked_sub(1)?)?.own())
    }

    /// The layers, the first above the input first.
    #[inline(always)]
    pub(crate) fn layers(&self) -> &[LayerLayout] {
        self.layers.get(..self.depth).unwrap_or_default()
    }
    /// The layer at `index`, while compiling.
    pub(crate) const fn layer(&self, index: usize) -> LayerLayout {
        self.layers[index]
    }
    /// How strongly W^T feeds back, in percent.
    pub(crate) const fn percent(&self) -> usize {
        self.tied
    }
    #[inline(always)]
    pub(crate) const fn depth(&self) -> usize {
        self.depth
    }
    #[inline(always)]
    pub(crate) const fn params(&self) -> usize {
        self.params
    }
    #[inline(always)]
    pub(crate) const fn units(&self) -> usize {
        self.units
    }
    /// Whether any layer has the parameters of another.
    pub(crate) const fn is_shared(&self) -> bool {
        self.shares > 1
    }
    /// Whether layers share parameters whose inputs, states or feedback may be of different sizes: those of the first layer, of the output
    /// layer, or of one that the outputs are fed back to.
    pub(crate) const fn shares_ends(&self) -> bool {
        let mut l = 1;
        while l < self.depth {
            let layer = self.layers[l];
            let from_outputs = layer.feedback > 0 && layer.above().end == self.units;
            if layer.shared && (l == 1 || l + 1 == self.depth || from_outputs) {
                return true;
            }
            l += 1;
        }
        false
    }
    /// How many shares of a gradient a parameter has at most: one a layer, two where W feeds back as well.
    #[inline(always)]
    pub(crate) const fn shares(&self) -> usize {
        if self.tied > 0 { 2 * self.shares } else { self.shares }
    }
    /// The products in a sum of layer `index`; where it is taken in two steps, a few more for what these round.
    pub(crate) const fn terms(&self, index: usize) -> usize {
        self.layers[index].inputs + self.fed_back(index) + if self.tied == 0 { 0 } else { 4 }
    }
    /// The products in the longest sum.
    pub(crate) const fn most_terms(&self) -> usize {
        let (mut terms, mut index) = (0, 0);
        while index < self.depth {
            let found = self.terms(index);
            terms = if found > terms { found } else { terms };
            index += 1;
        }
        terms
    }
    /// Which layers above a layer reads through a U.
    #[inline(always)]
    pub(crate) const fn reach(&self) -> Reach {
        self.reach
    }
    /// k, where layers read the next one through k W^T.
    #[inline(always)]
    pub(crate) fn tied<T: Element>(&self) -> Option<T> {
        (self.tied > 0).then(|| T::from_usize(self.tied) / T::from_usize(100))
    }
}

/// Which layers above a layer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// None: a plain feed-forward network.
    None,
    /// The next one.
    Next,
    /// The next one and the one above it.
    NextTwo,
    /// All.
    All,
}

impl Reach {
    /// How many layers above, at most.
    pub(crate) const fn layers(self) -> usize {
        match self {
            Self::None => 0,
            Self::Next => 1,
            Self::NextTwo => 2,
            Self::All => MAX_DEPTH,
        }
    }
    /// Whether a layer may read others than the next.
    pub(crate) const fn is_far(self) -> bool {
        self.layers() > 1
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{Layout, MAX_DEPTH, Reach};
    use std::vec::Vec;

    #[test]
    fn shares_are_counted() {
        let (mut widths, mut shared) = ([0; MAX_DEPTH], [false; MAX_DEPTH]);
        widths[..6].copy_from_slice(&[4, 4, 4, 3, 3, 2]);
        shared[1] = true;
        shared[2] = true;
        for (tied, shares) in [(0, 3), (50, 6)] {
            let plain = Layout::new(4, &widths, 6, Reach::None, tied);
            assert!(!plain.is_shared() && plain.shares() == shares / 3);
            let layout = plain.sharing(&shared);
            assert!(layout.is_shared());
            assert_eq!(layout.shares(), shares);
            let places: Vec<usize> = layout.layers().iter().map(|layer| layer.params).collect();
            assert_eq!(places, [0, 0, 0, 20, 35, 47]);
            assert_eq!((layout.params(), plain.params()), (55, 95));
        }
    }
}
