//! Cache-line alignment belongs to the place, not to the network.

use core::ops::{Deref, DerefMut};

/// A place aligned to 64 bytes: a cache line, an AVX-512 register. Weights that start there are read up to 1.5
/// times faster than weights that straddle cache lines.
///
/// ```
/// use attractor::{fnn, Align64};
/// type Tiny = fnn![16, 16, 4];
/// static TINY: Align64<Tiny> = Align64(Tiny::ZERO); // read-only memory
/// assert_eq!(&raw const TINY as usize % 64, 0);
/// assert_eq!(TINY.params().len(), Tiny::PARAMS);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(64))]
pub struct Align64<T>(pub T);

impl<T> Deref for Align64<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Align64<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// As many scalars as are asked for, in a place of their own that is aligned to 64 bytes.
///
/// ```
/// use attractor::network::Aligned;
/// let mut scalars = Aligned::<f32>::zeros(100);
/// scalars.as_mut()[99] = 1.0;
/// assert_eq!((scalars.as_ref().len(), scalars.as_ref().as_ptr() as usize % 64), (100, 0));
/// ```
#[cfg(feature = "alloc")]
#[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
#[derive(Clone)]
pub struct Aligned<T> {
    lines: alloc::vec::Vec<Align64<[u8; 64]>>,
    length: usize,
    scalar: core::marker::PhantomData<T>,
}

#[cfg(feature = "alloc")]
impl<T: crate::simd::Element> Aligned<T> {
    /// So many scalars, all zero.
    #[must_use]
    pub fn zeros(length: usize) -> Self {
        let lines = length.saturating_mul(size_of::<T>()).div_ceil(64);
        Self { lines: alloc::vec![Align64([0; 64]); lines], length, scalar: core::marker::PhantomData }
    }
}

#[cfg(feature = "alloc")]
impl<T: crate::simd::Element> AsRef<[T]> for Aligned<T> {
    #[inline]
    fn as_ref(&self) -> &[T] {
        // SAFETY: lines of 64 bytes in a row, aligned to more than a scalar, hold as many scalars, and any bytes are scalars.
        unsafe { core::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

#[cfg(feature = "alloc")]
impl<T: crate::simd::Element> AsMut<[T]> for Aligned<T> {
    #[inline]
    fn as_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

#[cfg(feature = "alloc")]
impl<T> core::fmt::Debug for Aligned<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Aligned({} scalars)", self.length)
    }
}
