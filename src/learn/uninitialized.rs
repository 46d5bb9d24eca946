//! What stands for `initialize` where its feature is off, so that the compiler says which one is missing.

use crate::kernel::Scalar;
use crate::network::{Architecture, Network};

/// Of no type: the feature `rand_core` is off.
#[diagnostic::on_unimplemented(
    message = "`initialize` needs the feature `rand_core` of attractor",
    label = "the feature `rand_core` is off",
    note = "`cargo add attractor --features rand_core` turns it on"
)]
#[doc(hidden)]
pub trait FeatureRandCore {}

impl<T: Scalar, A: Architecture<Scalar = T>> Network<A> {
    /// Needs the feature `rand_core`.
    #[doc(hidden)]
    pub fn initialize<R: FeatureRandCore + ?Sized>(&mut self, random: &mut R) {
        let _ = random;
    }
}
