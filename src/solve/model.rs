//! What a runner runs.

use super::{
    Failure, InjectJob, InjectOnce, Lost, NonFinite, Progress, SolveJob, SolveOnce, SweepJob, SweepOnce,
    in_params,
};
use crate::kernel::{Chosen, Scalar, TYPED};
use crate::network::{Architecture, Flat, LengthError, Network, Parameters, Sealed, Source};

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
    fn source(&self) -> Result<impl Compiled<'_, <Self::Architecture as Architecture>::Scalar>, LengthError>;
    /// A weight that is not finite, if there is one. Where flash is small, nobody looks: the state that it spoils first is named.
    #[doc(hidden)]
    fn wrong_weight(&self) -> Option<NonFinite>;
}

impl<A: Architecture> Model for Network<A> {
    type Architecture = A;
    type Room<const B: usize> = A::Scratch<B>;
    const PLAIN: bool = true;
    #[inline(always)]
    fn source(&self) -> Result<impl Compiled<'_, A::Scalar>, LengthError> {
        self.parameters()
    }
    fn wrong_weight(&self) -> Option<NonFinite> {
        if const { TYPED } { None } else { in_params(const { &Self::OUTLINE }, self.params()) }
    }
}

/// A source whose solves and sweeps are compiled once, in this crate.
#[allow(private_interfaces, reason = "sealed: only this crate calls what is in it")]
pub trait Compiled<'a, T: Scalar>: Source<'a, T> {
    /// A solve.
    fn solve(job: SolveJob<'a, T, Self, Chosen<T>>) -> Result<Progress<T>, Failure>;
    /// W^1 x + b^1.
    fn inject(job: InjectJob<'a, T, Self>) -> bool;
    /// A sweep.
    fn sweep(job: SweepJob<'a, T, Self>) -> Result<T, Lost>;
}

impl<'a, T: Scalar> Compiled<'a, T> for Parameters<'a, T> {
    fn solve(job: SolveJob<'a, T, Self, Chosen<T>>) -> Result<Progress<T>, Failure> {
        T::once::<SolveOnce>(job)
    }
    fn inject(job: InjectJob<'a, T, Self>) -> bool {
        T::once::<InjectOnce>(job)
    }
    fn sweep(job: SweepJob<'a, T, Self>) -> Result<T, Lost> {
        T::once::<SweepOnce>(job)
    }
}
