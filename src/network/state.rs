//! States: the activations of a network for a batch of samples.

use super::Architecture;
use super::flat::{Flat, LengthError};
use super::stack::At;
use crate::kernel::{Matrix, Scalar};
use core::fmt;
use nalgebra::SMatrix;

/// The activations h of all units of a network `N` for `B` samples: RAM, `B * UNITS` scalars, nothing else.
///
/// Sweeps refine it in place. A state that already holds the solution of a similar input is a good place to
/// start from; [`State::ZERO`] makes the first sweep the plain feed-forward pass.
#[repr(transparent)]
pub struct State<N: Architecture, const B: usize = 1> {
    layers: N::States<B>,
}

// SAFETY: repr(transparent) over repr(C) structs of nalgebra matrices of the scalar.
unsafe impl<N: Architecture, const B: usize> Flat for State<N, B> {
    type Scalar = N::Scalar;
    const LEN: usize = {
        assert!(B > 0, "a batch needs at least one sample");
        assert!(align_of::<Self>() <= align_of::<N::Scalar>());
        size_of::<Self>() / size_of::<N::Scalar>()
    };
}

impl<N: Architecture, const B: usize> State<N, B> {
    /// Bytes of it.
    pub const BYTES: usize = size_of::<Self>();
    /// All activations zero.
    pub const ZERO: Self = {
        assert!(B > 0, "a batch needs at least one sample");
        assert!(
            size_of::<Self>() == B * N::LAYOUT.units() * size_of::<N::Scalar>(),
            "the layout is the memory"
        );
        Flat::ZERO
    };

    /// Sets all activations to zero.
    #[inline]
    pub fn reset(&mut self) {
        self.flat_mut().fill(<N::Scalar as crate::simd::Element>::ZERO);
    }

    /// The output layer, `B x outputs`, a row a sample.
    #[must_use]
    #[inline]
    pub fn output(&self) -> &N::Output<B> {
        let from = (size_of::<Self>() - size_of::<N::Output<B>>()) / size_of::<N::Scalar>();
        // SAFETY: the output layer is the last of the state: so many scalars, with the alignment of a scalar.
        unsafe { &*self.flat().as_ptr().add(from).cast() }
    }

    /// The output layer, to change.
    #[inline]
    pub(crate) fn output_mut(&mut self) -> &mut N::Output<B> {
        let from = (size_of::<Self>() - size_of::<N::Output<B>>()) / size_of::<N::Scalar>();
        // SAFETY: as above, borrowed mutably.
        unsafe { &mut *self.flat_mut().as_mut_ptr().add(from).cast() }
    }

    /// The first layer, `B x units`, a row a sample.
    #[must_use]
    #[inline]
    pub fn first(&self) -> &N::First<B> {
        // SAFETY: the first layer is the first of the state, with the alignment of a scalar.
        unsafe { &*self.flat().as_ptr().cast() }
    }

    /// Layer `L`, counted from 1: its `h` is a matrix, `B x units`.
    #[must_use]
    #[inline]
    pub fn layer<const L: usize>(&self) -> &<N::States<B> as At<L>>::Layer
    where
        N::States<B>: At<L>,
    {
        self.layers.at()
    }

    /// All activations: unit after unit, the samples of a unit side by side.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[N::Scalar] {
        self.flat()
    }
    /// All activations, to change.
    #[must_use]
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [N::Scalar] {
        self.flat_mut()
    }

    /// Sees scalars, wherever they are, as a state.
    ///
    /// # Errors
    /// [`LengthError`] unless there are exactly `B * UNITS`.
    #[inline]
    pub fn from_slice_mut(scalars: &mut [N::Scalar]) -> Result<&mut Self, LengthError> {
        Self::view_mut(scalars)
    }

    super::in_a_box!("A zeroed state");
}

impl<N: Architecture, const B: usize> Clone for State<N, B> {
    fn clone(&self) -> Self {
        Self { layers: self.layers.clone() }
    }
}

impl<N: Architecture, const B: usize> PartialEq for State<N, B> {
    fn eq(&self, other: &Self) -> bool {
        self.flat() == other.flat()
    }
}

impl<N: Architecture, const B: usize> Default for State<N, B> {
    fn default() -> Self {
        Self::ZERO
    }
}

impl<N: Architecture, const B: usize> fmt::Debug for State<N, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.layers.fmt(f)
    }
}

/// Room for a gradient of `B` samples: the states, the deltas d, and dJ/dh of the outputs.
///
/// States of zero make a gradient start cold; those of an earlier gradient of the same samples, warm.
#[repr(C)]
pub struct Workspace<N: Architecture, const B: usize = 1> {
    /// The activations: where the solve starts from, and its solution.
    pub state: State<N, B>,
    /// The deltas d: where the adjoint starts from, and its solution.
    pub adjoint: State<N, B>,
    /// dJ/dh of the outputs.
    pub output: N::Output<B>,
}

// SAFETY: repr(C) over three such types.
unsafe impl<N: Architecture, const B: usize> Flat for Workspace<N, B> {
    type Scalar = N::Scalar;
}

impl<N: Architecture, const B: usize> Workspace<N, B> {
    /// All zero.
    pub const ZERO: Self = Self { state: State::ZERO, adjoint: State::ZERO, output: Flat::ZERO };
}

impl<N: Architecture, const B: usize> fmt::Debug for Workspace<N, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace").field("state", &self.state).field("adjoint", &self.adjoint).finish()
    }
}

/// Something flat, and `N` numbers that go with it.
#[derive(Clone)]
#[repr(C)]
pub(crate) struct Numbered<F: Flat, const N: usize> {
    pub(crate) flat: F,
    pub(crate) numbers: [F::Scalar; N],
}

// SAFETY: repr(C) over such a type and scalars, aligned alike.
unsafe impl<F: Flat, const N: usize> Flat for Numbered<F, N> {
    type Scalar = F::Scalar;
}

impl<F: Flat, const N: usize> Numbered<F, N> {
    /// All of it, from little-endian scalars. Another length does not compile.
    pub(crate) const fn from_le_bytes<const LEN: usize>(bytes: &[u8; LEN]) -> Self {
        // SAFETY: scalars in a row, and any bytes are scalars.
        unsafe { super::flat::from_le_bytes(bytes, size_of::<F::Scalar>()) }
    }
}

mod sealed {
    use nalgebra::SMatrix;

    pub trait Shaped {}
    impl<T, const N: usize, const B: usize> Shaped for SMatrix<T, B, N> {}
    impl<T, const N: usize> Shaped for [T; N] {}
}

/// A batch of outputs: a matrix, a row a sample.
pub trait Rows: Flat {
    /// A class for each of its samples.
    type Labels: AsRef<[usize]>;
}

impl<T: crate::simd::Entry, const B: usize, const N: usize> Rows for SMatrix<T, B, N> {
    type Labels = [usize; B];
}

/// `B` samples of `N` values: an `SMatrix<T, B, N>`, a row a sample; or, for one sample, an array `[T; N]`.
///
/// An `SVector` is a column; hand over the array it holds, `vector.as_ref()`. Sealed: what is there has the shape its type says.
#[diagnostic::on_unimplemented(
    message = "expected samples of {N} values, found `{Self}`",
    label = "not samples of {N} values",
    note = "give one sample as an array `[T; {N}]`, several as an `SMatrix<T, B, {N}>`, a row a sample"
)]
pub trait Samples<T, const N: usize, const B: usize>: sealed::Shaped {
    /// The samples as a matrix, `B x N`.
    fn samples(&self) -> Matrix<'_, T>;
}

impl<T: Scalar, const N: usize, const B: usize> Samples<T, N, B> for SMatrix<T, B, N> {
    #[inline(always)]
    fn samples(&self) -> Matrix<'_, T> {
        self.into()
    }
}

impl<T: Scalar, const N: usize> Samples<T, N, 1> for [T; N] {
    #[inline(always)]
    fn samples(&self) -> Matrix<'_, T> {
        // SAFETY: one row of N columns, each the next scalar.
        unsafe { Matrix::from_raw(self.as_ptr(), 1, N, 1) }
    }
}
