//! Where the weights of a network are.

use super::adapted::{Plan, View};
use super::flat::Parameters;
use super::layout::{LayerLayout, Layout};
use crate::kernel::Matrix;
use crate::simd::Element;

/// Where the weights of a network are: in its parameters, or in those and in what stands beside them. All that sweeps know of a network.
#[allow(private_interfaces, reason = "sealed: only this crate calls what is in it")]
pub trait Source<'a, T: Element>: Copy + Send {
    /// Whether layers may have a [`Correction`]. Where none may, there is no code for it.
    const CORRECTED: bool;
    /// The layout.
    fn layout(&self) -> &'a Layout;
    /// The same, with its address worked out anew, as [`Parameters::afresh`].
    fn afresh(self) -> Self;
    /// W of a layer, without its correction.
    fn w(&self, layer: &LayerLayout) -> Matrix<'a, T>;
    /// U of a layer, without its correction.
    fn u(&self, layer: &LayerLayout) -> Matrix<'a, T>;
    /// b of a layer.
    fn b(&self, layer: &LayerLayout) -> &'a [T];
    /// The rank of the corrections.
    #[inline(always)]
    fn rank(&self) -> usize {
        0
    }
    /// What is added to \[W U\] of a layer.
    #[inline(always)]
    fn correction(&self, _: &LayerLayout) -> Option<Correction<'a, T>> {
        None
    }
    /// Whether corrections count for W, and for U; the comparison sweeps of certificates ask.
    #[inline(always)]
    fn corrects(&self, _: &LayerLayout) -> [bool; 2] {
        [true, true]
    }
}

/// The weights of a network or of an adapted one, which are one type for what is compiled once.
#[allow(private_interfaces, reason = "sealed: only this crate calls what is in it")]
pub trait Viewed<'a, T: Element>: Source<'a, T> {
    /// As that type.
    fn view(self) -> View<'a, T>;
}

impl<'a, T: Element> Viewed<'a, T> for Parameters<'a, T> {
    #[inline(always)]
    fn view(self) -> View<'a, T> {
        View { base: self, own: Default::default(), plan: Plan::Above(self.layout().depth()) }
    }
}

/// P and Q^T of a product P Q^T that is added to \[W U\] of a layer.
#[derive(Clone, Copy, Debug)]
pub struct Correction<'a, T> {
    /// `width x rank`.
    pub(crate) p: Matrix<'a, T>,
    /// `rank x (inputs + feedback)`.
    pub(crate) q: Matrix<'a, T>,
}

impl<'a, T: Element> Source<'a, T> for Parameters<'a, T> {
    const CORRECTED: bool = false;
    #[inline(always)]
    fn layout(&self) -> &'a Layout {
        self.layout()
    }
    #[inline(always)]
    fn afresh(self) -> Self {
        self.afresh()
    }
    #[inline(always)]
    fn w(&self, layer: &LayerLayout) -> Matrix<'a, T> {
        self.w(layer)
    }
    #[inline(always)]
    fn u(&self, layer: &LayerLayout) -> Matrix<'a, T> {
        self.u(layer)
    }
    #[inline(always)]
    fn b(&self, layer: &LayerLayout) -> &'a [T] {
        self.b(layer)
    }
}
