//! What is shaped like a network or its state, of other entries.

use super::Architecture;
use super::flat::Flat;
use crate::simd::Entry;
use core::fmt;

/// One entry for each parameter of a network.
#[repr(transparent)]
pub(crate) struct ParamsOf<N: Architecture, W: Entry>(N::Params<W>);

/// One entry for each unit of a network.
#[repr(transparent)]
pub(crate) struct UnitsOf<N: Architecture, W: Entry>(N::Units<W>);

macro_rules! like {
    ($name:ident, $count:ident) => {
        // SAFETY: repr(transparent) over repr(C) structs of nalgebra matrices of the entry; the layout counts them.
        unsafe impl<N: Architecture, W: Entry> Flat for $name<N, W> {
            type Scalar = W;
            const LEN: usize = {
                assert!(N::LAYOUT.$count() * size_of::<W>() == size_of::<Self>(), "the layout is the memory");
                N::LAYOUT.$count()
            };
        }

        impl<N: Architecture, W: Entry> Clone for $name<N, W> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }

        impl<N: Architecture, W: Entry> fmt::Debug for $name<N, W> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

like!(ParamsOf, params);
like!(UnitsOf, units);
