//! Which layers are linked, and by which parameters: said here, and read by sweeps, adjoints, gradients, certificates, pruning, integers
//! and files.
//!
//! A layer reads the one below through W and, through U, some layers above: the units of these are the columns of U in order, from the
//! nearest layer on. Where feedback is tied it has no U and reads the next layer through that layer's W, transposed.

use super::layout::{LayerLayout, Layout};
use crate::kernel::Matrix;
use crate::simd::Element;
use core::ops::Range;

/// Units, counted among those of all layers.
impl LayerLayout {
    /// Its own.
    #[inline(always)]
    pub(crate) const fn own(&self) -> Range<usize> {
        self.units..self.units + self.width
    }
    /// Those it reads through W: of the layer below. The first layer reads the input, and its range is none that any slice has.
    #[inline(always)]
    pub(crate) const fn below(&self) -> Range<usize> {
        self.units.wrapping_sub(self.inputs)..self.units
    }
    /// Those it reads through U, column after column.
    #[inline(always)]
    pub(crate) const fn above(&self) -> Range<usize> {
        let first = self.units + self.width;
        first..first + self.feedback
    }
    /// The columns of `reader`'s U that multiply this layer.
    #[inline(always)]
    pub(crate) const fn columns_in(&self, reader: &Self) -> Range<usize> {
        let first = self.units - (reader.units + reader.width);
        first..first + self.width
    }

    /// Of one column a unit of all layers, its own.
    #[inline(always)]
    pub(crate) fn own_of<'a, T>(&self, states: Matrix<'a, T>) -> Matrix<'a, T> {
        states.columns(self.units, self.width)
    }
    /// Of one column a unit of all layers, those W multiplies. Not for the first layer.
    #[inline(always)]
    pub(crate) fn below_of<'a, T>(&self, states: Matrix<'a, T>) -> Matrix<'a, T> {
        states.columns(self.units - self.inputs, self.inputs)
    }
    /// Of one column a unit of all layers, those U multiplies.
    #[inline(always)]
    pub(crate) fn above_of<'a, T>(&self, states: Matrix<'a, T>) -> Matrix<'a, T> {
        states.columns(self.units + self.width, self.feedback)
    }
}

/// Parameters, counted among those of all layers: W, U and b side by side, each column-major.
impl LayerLayout {
    /// Columns of W and U together.
    #[inline(always)]
    pub(crate) const fn columns(&self) -> usize {
        self.inputs + self.feedback
    }
    /// Where U begins; W begins at `params`.
    #[inline(always)]
    pub(crate) const fn u(&self) -> usize {
        self.params + self.width * self.inputs
    }
    /// Where b begins.
    #[inline(always)]
    pub(crate) const fn b(&self) -> usize {
        self.params + self.width * self.columns()
    }
    /// How many there are.
    #[inline(always)]
    pub(crate) const fn len(&self) -> usize {
        self.width * (self.columns() + 1)
    }
    /// A weight, in a column of W and U together.
    #[inline(always)]
    pub(crate) const fn weight(&self, row: usize, column: usize) -> usize {
        self.params + column * self.width + row
    }
}

impl Layout {
    /// The layers below `layer` whose U reads it.
    #[inline(always)]
    pub(crate) const fn readers(&self, layer: usize) -> Range<usize> {
        layer.saturating_sub(self.reach().layers())..layer
    }
    /// k and the layer above, if that one is read through k W^T.
    #[inline(always)]
    pub(crate) fn tied_to<T: Element>(&self, index: usize) -> Option<(T, &LayerLayout)> {
        Some((self.tied()?, self.layers().get(index + 1)?))
    }
    /// How many units above a layer reads, through whatever matrix.
    #[inline(always)]
    pub(crate) const fn fed_back(&self, index: usize) -> usize {
        if self.percent() == 0 {
            self.layer(index).feedback
        } else if index + 1 < self.depth() {
            self.layer(index + 1).width
        } else {
            0
        }
    }
}
