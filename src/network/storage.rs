//! Where large things live: in place, in place and aligned, or in an aligned box.

use super::Align64;
use super::flat::Flat;

/// A zeroed aligned box, for what is too large for the stack.
#[cfg(feature = "alloc")]
#[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
pub type Boxed<F> = alloc::boxed::Box<Align64<F>>;

/// Of no type: the feature `alloc` is off.
#[cfg(not(feature = "alloc"))]
#[diagnostic::on_unimplemented(
    message = "`boxed` needs the feature `alloc` of attractor",
    label = "the feature `alloc` is off",
    note = "`cargo add attractor --features alloc` turns it on"
)]
#[doc(hidden)]
pub trait FeatureAlloc {}

/// A place for something flat: `F` itself, [`Align64<F>`], or, with the feature `alloc`, [`Boxed<F>`].
/// Trainer and optimizers take any, so that the same code serves a microcontroller and a network of gigabytes.
pub trait Storage: Sized {
    /// What lives there.
    type Content: Flat;
    /// The same kind of place for something else.
    type Like<F: Flat>: Storage<Content = F>;
    /// A place with all scalars zero.
    fn zeroed() -> Self;
    /// What lives there.
    fn get(&self) -> &Self::Content;
    /// What lives there, to change.
    fn get_mut(&mut self) -> &mut Self::Content;
}

impl<F: Flat> Storage for F {
    type Content = F;
    type Like<G: Flat> = G;
    #[inline(always)]
    fn zeroed() -> Self {
        F::ZERO
    }
    #[inline(always)]
    fn get(&self) -> &F {
        self
    }
    #[inline(always)]
    fn get_mut(&mut self) -> &mut F {
        self
    }
}

impl<F: Flat> Storage for Align64<F> {
    type Content = F;
    type Like<G: Flat> = Align64<G>;
    #[inline(always)]
    fn zeroed() -> Self {
        Self(F::ZERO)
    }
    #[inline(always)]
    fn get(&self) -> &F {
        self
    }
    #[inline(always)]
    fn get_mut(&mut self) -> &mut F {
        self
    }
}

#[cfg(feature = "alloc")]
impl<F: Flat> Storage for Boxed<F> {
    type Content = F;
    type Like<G: Flat> = Boxed<G>;
    fn zeroed() -> Self {
        super::flat::boxed::<F>()
    }
    #[inline(always)]
    fn get(&self) -> &F {
        self
    }
    #[inline(always)]
    fn get_mut(&mut self) -> &mut F {
        self
    }
}
