//! What learns.

use super::gradient::{LearnError, add};
use crate::kernel::Scalar;
use crate::network::{Architecture, Flat, Network, Samples, Takes, Workspace};
use crate::simd::Backend;
use crate::solve::Model;
use crate::threads::Threads;

/// A [`Model`] that has gradients. Sealed.
pub trait Learner: Model {
    /// What learns; a gradient has as many parameters.
    type Params;
    /// Room for what an adjoint sweep of `B` samples needs besides.
    #[doc(hidden)]
    type AdjointRoom<const B: usize>: Flat<Scalar = <Self::Architecture as Architecture>::Scalar>;
    /// Adds the gradient of `B` samples, if no sum can leave the finite numbers.
    #[doc(hidden)]
    fn add<X, const I: usize, const B: usize>(
        &self,
        by: (Backend, Threads),
        input: &X,
        workspace: &Workspace<Network<Self::Architecture>, B>,
        to: &mut Self::Params,
    ) -> Result<(), LearnError<<Self::Architecture as Architecture>::Scalar>>
    where
        Self::Architecture: Takes<I>,
        X: Samples<<Self::Architecture as Architecture>::Scalar, I, B>;
}

impl<T: Scalar, A: Architecture<Scalar = T>> Learner for Network<A> {
    type Params = Self;
    type AdjointRoom<const B: usize> = A::Scratch<B>;
    #[inline(always)]
    fn add<X: Samples<T, I, B>, const I: usize, const B: usize>(
        &self,
        (backend, threads): (Backend, Threads),
        input: &X,
        workspace: &Workspace<Self, B>,
        to: &mut Self,
    ) -> Result<(), LearnError<T>>
    where
        A: Takes<I>,
    {
        add(backend, threads, input, &workspace.state, &workspace.adjoint, T::ONE, to)
    }
}
