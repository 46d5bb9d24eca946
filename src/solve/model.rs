//! What a runner runs.

use super::{NonFinite, in_params};
use crate::kernel::TYPED;
use crate::network::{Architecture, Flat, LengthError, Network, Sealed, Viewed};

/// What a [`Runner`](super::Runner) runs: a network, or one with an adapter beside it. Sealed.
pub trait Model: Sealed {
    /// The architecture of the network.
    type Architecture: Architecture;
    /// Room for what a sweep of `B` samples needs besides.
    #[doc(hidden)]
    type Room<const B: usize>: Flat<Scalar = <Self::Architecture as Architecture>::Scalar>;
    /// Whether it is a network and nothing else, which may have code of its own.
    #[doc(hidden)]
    const PLAIN: bool;
    /// Where the weights are.
    #[doc(hidden)]
    fn source(&self) -> Result<impl Viewed<'_, <Self::Architecture as Architecture>::Scalar>, LengthError>;
    /// A weight that is not finite, if there is one. Where flash is small, nobody looks: the state that it spoils first is named.
    #[doc(hidden)]
    fn wrong_weight(&self) -> Option<NonFinite>;
}

impl<A: Architecture> Model for Network<A> {
    type Architecture = A;
    type Room<const B: usize> = A::Scratch<B>;
    const PLAIN: bool = true;
    #[inline(always)]
    fn source(&self) -> Result<impl Viewed<'_, A::Scalar>, LengthError> {
        self.parameters()
    }
    fn wrong_weight(&self) -> Option<NonFinite> {
        if const { TYPED } { None } else { in_params(const { &Self::OUTLINE }, self.params()) }
    }
}
