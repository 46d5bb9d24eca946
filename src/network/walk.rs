//! Walking over the layers: in a loop that all networks share, or unrolled for one type of network.

use super::Architecture;
use super::layout::Layout;
use core::marker::PhantomData;

/// What is done at a layer. A trait and not a closure: a closure is compiled without the instruction set of the
/// function it stands in, unless it happens to be inlined.
pub trait EachLayer {
    /// Whether the last layer is done as the others are, so that there is one copy of the code in a loop: then `LAST` is false for it too.
    const ALIKE: bool = false;
    /// Does it at layer `index`, counted from 0, of `UNITS` units (0 where that is only known at run time).
    fn layer<const UNITS: usize, const LAST: bool>(&mut self, index: usize);
}

/// A way to walk over the layers of a network.
pub(crate) trait Walk: Copy {
    /// Whether kernels are functions of their own, or parts of the walk.
    const OUTLINED: bool;
    /// The one layer it goes to, counted from 0, if it is one.
    #[inline(always)]
    fn only(self) -> Option<usize> {
        None
    }
    /// The layout, of which `shared` is one that is only known at run time.
    fn layout(self, shared: &Layout) -> &Layout;
    /// The first layer alone.
    fn first<E: EachLayer>(self, each: &mut E);
    /// From the first layer to the last.
    fn up<E: EachLayer>(self, layout: &Layout, each: &mut E);
    /// From the last layer to the first.
    fn down<E: EachLayer>(self, layout: &Layout, each: &mut E);
}

/// A loop: compiled once for all networks.
#[derive(Clone, Copy)]
pub(crate) struct Looped;

impl Walk for Looped {
    const OUTLINED: bool = true;
    #[inline(always)]
    fn layout(self, shared: &Layout) -> &Layout {
        shared
    }
    #[inline(always)]
    fn first<E: EachLayer>(self, each: &mut E) {
        each.layer::<0, false>(0);
    }
    #[inline(always)]
    fn up<E: EachLayer>(self, layout: &Layout, each: &mut E) {
        let last = layout.depth().saturating_sub(1);
        for layer in 0..last + usize::from(E::ALIKE) {
            each.layer::<0, false>(layer);
        }
        if const { !E::ALIKE } {
            each.layer::<0, true>(last);
        }
    }
    #[inline(always)]
    fn down<E: EachLayer>(self, layout: &Layout, each: &mut E) {
        let last = layout.depth().saturating_sub(1);
        if const { !E::ALIKE } {
            each.layer::<0, true>(last);
        }
        for layer in (0..last + usize::from(E::ALIKE)).rev() {
            each.layer::<0, false>(layer);
        }
    }
}

/// One layer and no other, counted from 0.
#[derive(Clone, Copy)]
pub(crate) struct Only(pub(crate) usize);

impl Only {
    #[inline(always)]
    fn visit<E: EachLayer>(self, layout: &Layout, each: &mut E) {
        if const { !E::ALIKE } && self.0 + 1 == layout.depth() {
            each.layer::<0, true>(self.0);
        } else {
            each.layer::<0, false>(self.0);
        }
    }
}

impl Walk for Only {
    const OUTLINED: bool = true;
    #[inline(always)]
    fn only(self) -> Option<usize> {
        Some(self.0)
    }
    #[inline(always)]
    fn layout(self, shared: &Layout) -> &Layout {
        shared
    }
    #[inline(always)]
    fn first<E: EachLayer>(self, each: &mut E) {
        Looped.first(each);
    }
    #[inline(always)]
    fn up<E: EachLayer>(self, layout: &Layout, each: &mut E) {
        self.visit(layout, each);
    }
    #[inline(always)]
    fn down<E: EachLayer>(self, layout: &Layout, each: &mut E) {
        self.visit(layout, each);
    }
}

/// One layer, counted from 0, or all: a loop either way, so that there is one copy of what is done at a layer.
#[derive(Clone, Copy)]
pub(crate) struct OneOrAll(pub(crate) Option<usize>);

impl Walk for OneOrAll {
    const OUTLINED: bool = true;
    #[inline(always)]
    fn layout(self, shared: &Layout) -> &Layout {
        shared
    }
    #[inline(always)]
    fn first<E: EachLayer>(self, each: &mut E) {
        Looped.first(each);
    }
    #[inline(always)]
    fn up<E: EachLayer>(self, layout: &Layout, each: &mut E) {
        for layer in 0..layout.depth() {
            if self.0.is_none_or(|only| only == layer) {
                Only(layer).visit(layout, each);
            }
        }
    }
    #[inline(always)]
    fn down<E: EachLayer>(self, layout: &Layout, each: &mut E) {
        for layer in (0..layout.depth()).rev() {
            if self.0.is_none_or(|only| only == layer) {
                Only(layer).visit(layout, each);
            }
        }
    }
}

/// One layer after the other, every width a constant: quick where a layer takes only some ten nanoseconds.
pub(crate) struct Unrolled<N>(PhantomData<N>);

impl<N> Unrolled<N> {
    pub(crate) const NEW: Self = Self(PhantomData);
}

impl<N> Clone for Unrolled<N> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<N> Copy for Unrolled<N> {}

impl<N: Architecture> Walk for Unrolled<N> {
    const OUTLINED: bool = false;
    #[inline(always)]
    fn layout(self, _: &Layout) -> &Layout {
        const { &N::LAYOUT }
    }
    #[inline(always)]
    fn first<E: EachLayer>(self, each: &mut E) {
        N::first(each);
    }
    #[inline(always)]
    fn up<E: EachLayer>(self, _: &Layout, each: &mut E) {
        N::up(each);
    }
    #[inline(always)]
    fn down<E: EachLayer>(self, _: &Layout, each: &mut E) {
        N::down(each);
    }
}
