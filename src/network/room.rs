//! Where large things live: in place, in place and aligned, or in an aligned box.

use super::Align64;
use super::flat::Flat;

/// A zeroed aligned box, for what is too large for the stack.
#[cfg(feature = "alloc")]
#[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
pub type Boxed<F> = alloc::boxed::Box<Align64<F>>;

/// A place for something flat: `F` itself, [`Align64<F>`], or, with the feature `alloc`, [`Boxed<F>`].
/// Trainer and optimizers take any, so that the same code serves a microcontroller and a network of gigabytes.
pub trait Room: Sized {
    /// What lives there.
    type Of: Flat;
    /// The same kind of place for something else.
    type Beside<F: Flat>: Room<Of = F>;
    /// A place with all scalars zero.
    fn zeroed() -> Self;
    /// What lives there.
    fn get(&self) -> &Self::Of;
    /// What lives there, to change.
    fn get_mut(&mut self) -> &mut Self::Of;
}

impl<F: Flat> Room for F {
    type Of = F;
    type Beside<G: Flat> = G;
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

impl<F: Flat> Room for Align64<F> {
    type Of = F;
    type Beside<G: Flat> = Align64<G>;
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
impl<F: Flat> Room for Boxed<F> {
    type Of = F;
    type Beside<G: Flat> = Boxed<G>;
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
