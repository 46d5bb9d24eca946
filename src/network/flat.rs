//! Flat views: networks and states are nothing but scalars in a row, and here they are seen as such.

use super::align::Align64;
use super::layout::{LayerLayout, Layout};
use super::text::Text;
use crate::kernel::{Matrix, MatrixMut};
use crate::simd::{Element, Entry};
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

/// A slice or array of a wrong length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct LengthError {
    /// The length that would fit.
    pub expected: usize,
    /// The length that was given.
    pub found: usize,
}

impl fmt::Display for LengthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} scalars, found {}", self.expected, self.found)
    }
}

impl core::error::Error for LengthError {}

/// Types that are nothing but scalars in a row: networks, states, and what is shaped like them.
///
/// # Safety
/// The type must be `repr(C)` or `repr(transparent)` over scalars `Scalar`, without padding, aligned as they are.
pub unsafe trait Flat: Sized {
    /// The scalar.
    type Scalar: Entry;
    /// All scalars zero.
    // SAFETY: scalars of all-zero bytes are zeros, and the type is nothing else.
    const ZERO: Self = unsafe { MaybeUninit::<Self>::zeroed().assume_init() };
    /// Number of scalars.
    const LEN: usize = {
        assert!(align_of::<Self>() <= align_of::<Self::Scalar>());
        size_of::<Self>() / size_of::<Self::Scalar>()
    };

    /// The scalars.
    #[inline(always)]
    fn flat(&self) -> &[Self::Scalar] {
        // SAFETY: the type is LEN scalars in a row.
        unsafe { core::slice::from_raw_parts((&raw const *self).cast(), Self::LEN) }
    }
    /// The scalars, to change.
    #[inline(always)]
    fn flat_mut(&mut self) -> &mut [Self::Scalar] {
        // SAFETY: as above, and any scalars will do.
        unsafe { core::slice::from_raw_parts_mut((&raw mut *self).cast(), Self::LEN) }
    }
    /// Sees scalars as this type, without copying.
    ///
    /// # Errors
    /// [`LengthError`] unless there are exactly `LEN` of them.
    #[inline]
    fn view(scalars: &[Self::Scalar]) -> Result<&Self, LengthError> {
        if scalars.len() != Self::LEN {
            return Err(LengthError { expected: Self::LEN, found: scalars.len() });
        }
        // SAFETY: LEN scalars in a row are this type, whose alignment is a scalar's.
        Ok(unsafe { &*scalars.as_ptr().cast() })
    }
    /// Sees scalars as this type, to change, without copying.
    ///
    /// # Errors
    /// [`LengthError`] unless there are exactly `LEN` of them.
    #[inline]
    fn view_mut(scalars: &mut [Self::Scalar]) -> Result<&mut Self, LengthError> {
        if scalars.len() != Self::LEN {
            return Err(LengthError { expected: Self::LEN, found: scalars.len() });
        }
        // SAFETY: as above, borrowed mutably.
        Ok(unsafe { &mut *scalars.as_mut_ptr().cast() })
    }
}

/// No scalars: the memory of an optimizer that needs none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
// An array and not a marker: also where nothing is, there is an address, and it must be aligned as scalars are.
pub struct NoMemory<T>([T; 0]);

// SAFETY: no scalars at all.
unsafe impl<T: Entry> Flat for NoMemory<T> {
    type Scalar = T;
}
// SAFETY: nalgebra's matrix is repr(C) over an array of arrays and empty markers.
unsafe impl<T: Entry, const R: usize, const C: usize> Flat for nalgebra::SMatrix<T, R, C> {
    type Scalar = T;
}

/// Copies an array of scalars into a type that is the same scalars.
///
/// # Safety
/// `To` must be nothing but the scalars of `From`; the lengths are compared when the crate that names them is
/// compiled.
pub(super) const unsafe fn reshape<From: Copy, To>(from: From) -> To {
    const {
        if size_of::<From>() != size_of::<To>() {
            panic_with_sizes(size_of::<To>(), size_of::<From>());
        }
    }
    // SAFETY: the caller vouches for the types, the sizes were compared.
    unsafe { core::mem::transmute_copy(&from) }
}

/// Reads little-endian scalars of `SCALAR` bytes.
///
/// # Safety
/// `To` must be nothing but such scalars.
pub(super) const unsafe fn from_le_bytes<const LEN: usize, To>(bytes: &[u8; LEN], scalar: usize) -> To {
    const {
        if LEN != size_of::<To>() {
            panic_with_sizes(size_of::<To>(), LEN);
        }
    }
    // SAFETY: the caller vouches for the type, the sizes were compared.
    unsafe { in_host_order(bytes, if cfg!(target_endian = "big") { scalar } else { 1 }) }
}

/// Copies `bytes`, each group of `swapped` bytes reversed.
///
/// # Safety
/// `To` must accept any such bytes and have as many.
const unsafe fn in_host_order<const LEN: usize, To>(bytes: &[u8; LEN], swapped: usize) -> To {
    if swapped == 1 {
        // SAFETY: the caller vouches for type and size.
        return unsafe { core::mem::transmute_copy(bytes) };
    }
    let mut reversed = *bytes;
    let mut i = 0;
    while i < LEN {
        reversed[i] = bytes[i / swapped * swapped + (swapped - 1 - i % swapped)];
        i += 1;
    }
    // SAFETY: as above.
    unsafe { core::mem::transmute_copy(&reversed) }
}

/// Stops the compilation with a text that names both sizes.
const fn panic_with_sizes(expected: usize, found: usize) -> ! {
    let text = Text::EMPTY.and("wrong size: expected ").and_number(expected);
    text.and(" bytes, found ").and_number(found).panic()
}

/// Types that any bytes are, as many as they have.
///
/// # Safety
/// They must be `repr(C)` or `repr(transparent)` over numbers.
pub(crate) unsafe trait Plain {}

// SAFETY: scalars in a row.
unsafe impl<F: Flat> Plain for F {}

/// Sees bytes as numbers, where they are: if they are as many, little-endian like the processor, and aligned.
pub(crate) fn seen<F: Plain>(bytes: &[u8]) -> Option<&F> {
    let fits = bytes.len() == size_of::<F>() && bytes.as_ptr().addr().is_multiple_of(align_of::<F>());
    // SAFETY: compared here; any bytes are scalars.
    (fits && cfg!(target_endian = "little")).then(|| unsafe { &*bytes.as_ptr().cast() })
}

/// [`seen`], of so many bytes from `start` on, also while compiling; the processor must be little-endian. Stops with a text if they
/// are not there or not aligned.
pub(crate) const fn seen_at<F: Plain, const LEN: usize>(bytes: &Align64<[u8; LEN]>, start: usize) -> &F {
    assert!(start.is_multiple_of(64) && start <= LEN && size_of::<F>() <= LEN - start, "a part of the file");
    // SAFETY: they are there, at a multiple of 64 from a start that is aligned to 64, and any bytes are scalars.
    unsafe { &*bytes.0.as_ptr().add(start).cast() }
}

/// The bytes of scalars, in the order of the processor.
pub(crate) fn bytes<F: Flat>(flat: &F) -> &[u8] {
    // SAFETY: scalars in a row have no padding.
    unsafe { core::slice::from_raw_parts((&raw const *flat).cast(), size_of::<F>()) }
}

/// The parameters of a network, seen through its layout.
#[derive(Clone, Copy)]
pub(crate) struct Parameters<'a, T> {
    start: *const T,
    layout: &'a Layout,
    borrow: PhantomData<&'a [T]>,
}

impl<'a, T: Element> Parameters<'a, T> {
    /// # Errors
    /// [`LengthError`] unless `params` are as many as the layout has.
    #[inline(always)]
    pub(crate) fn new(params: &'a [T], layout: &'a Layout) -> Result<Self, LengthError> {
        if params.len() != layout.params() {
            return Err(LengthError { expected: layout.params(), found: params.len() });
        }
        Ok(Self { start: params.as_ptr(), layout, borrow: PhantomData })
    }
    #[inline(always)]
    pub(crate) fn layout(&self) -> &'a Layout {
        self.layout
    }
    /// The same, with the address of the parameters worked out anew: addresses of all layers, kept from one sweep to the
    /// next, take stack.
    #[inline(always)]
    pub(crate) fn afresh(self) -> Self {
        Self { start: core::hint::black_box(self.start), ..self }
    }
    /// W of a layer, `width x inputs`.
    #[inline(always)]
    pub(crate) fn w(&self, layer: &LayerLayout) -> Matrix<'a, T> {
        // SAFETY: a layout's layers lie within its parameters, and `new` counted them.
        unsafe { Matrix::from_raw(self.start.add(layer.params), layer.width, layer.inputs, layer.width) }
    }
    /// U of a layer, `width x feedback`: its blocks side by side, the nearest layer first.
    #[inline(always)]
    pub(crate) fn u(&self, layer: &LayerLayout) -> Matrix<'a, T> {
        let first = layer.u();
        // SAFETY: as above.
        unsafe { Matrix::from_raw(self.start.add(first), layer.width, layer.feedback, layer.width) }
    }
    /// b of a layer.
    #[inline(always)]
    pub(crate) fn b(&self, layer: &LayerLayout) -> &'a [T] {
        let first = layer.b();
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts(self.start.add(first), layer.width) }
    }
}

// SAFETY: a view is a shared reference in all but the form.
unsafe impl<T: Sync> Send for Parameters<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Parameters<'_, T> {}

/// A layer with its W, U and b.
pub(crate) type LayerMut<'a, T> = (&'a LayerLayout, MatrixMut<'a, T>, MatrixMut<'a, T>, &'a mut [T]);

/// The parameters of a network, seen through its layout, to change.
pub(crate) struct ParametersMut<'a, T> {
    start: *mut T,
    layout: &'a Layout,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: a view is a mutable reference in all but the form.
unsafe impl<T: Send> Send for ParametersMut<'_, T> {}

impl<'a, T: Element> ParametersMut<'a, T> {
    /// # Errors
    /// [`LengthError`] unless `params` are as many as the layout has.
    #[inline(always)]
    pub(crate) fn new(params: &'a mut [T], layout: &'a Layout) -> Result<Self, LengthError> {
        if params.len() != layout.params() {
            return Err(LengthError { expected: layout.params(), found: params.len() });
        }
        Ok(Self { start: params.as_mut_ptr(), layout, borrow: PhantomData })
    }
    #[inline(always)]
    pub(crate) fn layout(&self) -> &'a Layout {
        self.layout
    }
    /// The same, to read.
    #[inline(always)]
    pub(crate) fn as_ref(&self) -> Parameters<'_, T> {
        Parameters { start: self.start, layout: self.layout, borrow: PhantomData }
    }
    /// W of a layer, `width x inputs`; U, `width x feedback`; and b.
    #[inline(always)]
    pub(crate) fn layer(&mut self, layer: &LayerLayout) -> (MatrixMut<'_, T>, MatrixMut<'_, T>, &mut [T]) {
        let u = layer.u();
        let b = layer.b();
        // SAFETY: a layout's layers lie within its parameters, `new` counted them, and the three do not overlap.
        unsafe {
            (
                MatrixMut::from_raw(self.start.add(layer.params), layer.width, layer.inputs, layer.width),
                MatrixMut::from_raw(self.start.add(u), layer.width, layer.feedback, layer.width),
                core::slice::from_raw_parts_mut(self.start.add(b), layer.width),
            )
        }
    }

    /// W, U and b of a layer, which lie side by side.
    #[inline(always)]
    pub(crate) fn block(&mut self, layer: &LayerLayout) -> MatrixMut<'_, T> {
        let columns = layer.columns() + 1;
        // SAFETY: a layout's layers lie within its parameters, and `new` counted them.
        unsafe { MatrixMut::from_raw(self.start.add(layer.params), layer.width, columns, layer.width) }
    }

    /// Every layer with its W, U and b, all at once; nothing if several layers have the same.
    pub(crate) fn into_layers(mut self) -> Option<impl Iterator<Item = LayerMut<'a, T>>> {
        if self.layout().is_shared() {
            return None;
        }
        Some(self.layout().layers().iter().map(move |layer| {
            let (mut w, mut u, b) = self.layer(layer);
            // SAFETY: every layer is handed out once, no two share a parameter (that was asked), and `self`, which borrowed
            // them all for `'a`, gives them up.
            unsafe {
                (
                    layer,
                    MatrixMut::from_raw(w.start(), w.rows(), w.cols(), w.stride()),
                    MatrixMut::from_raw(u.start(), u.rows(), u.cols(), u.stride()),
                    core::slice::from_raw_parts_mut(b.as_mut_ptr(), b.len()),
                )
            }
        }))
    }
}

/// Writes `boxed`, and where the feature it needs is off, one that says so; `$made`: what more is done with the box.
macro_rules! in_a_box {
    ($doc:literal $(, $made:expr)?) => {
        #[doc = concat!($doc, " in a box aligned to 64 bytes; it never passes through the stack.")]
        #[cfg(feature = "alloc")]
        #[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
        #[must_use]
        pub fn boxed() -> $crate::network::Boxed<Self> {
            #[allow(unused_mut, reason = "most boxes are as they are made")]
            let mut new = $crate::network::boxed::<Self>();
            $(let made: fn(&mut Self) = $made; made(&mut new);)?
            new
        }

        /// Needs the feature `alloc`, and says so.
        #[cfg(not(feature = "alloc"))]
        #[doc(hidden)]
        #[must_use]
        pub fn boxed() -> Self
        where
            Self: $crate::network::FeatureAlloc,
        {
            Self::ZERO
        }
    };
}
pub(crate) use in_a_box;

/// A zeroed box, aligned to 64 bytes, that never was on the stack.
#[cfg(feature = "alloc")]
pub(crate) fn boxed<F: Plain>() -> alloc::boxed::Box<Align64<F>> {
    let layout = core::alloc::Layout::new::<Align64<F>>();
    // SAFETY: zeroed bytes are a valid F, and the rest of Align64 is padding; what has no size needs no memory,
    // only alignment, which `dangling` has. (A value would pass through the stack in a debug build, even where it
    // is never made.)
    unsafe {
        if layout.size() == 0 {
            return alloc::boxed::Box::from_raw(core::ptr::NonNull::dangling().as_ptr());
        }
        let place = alloc::alloc::alloc_zeroed(layout).cast::<Align64<F>>();
        if place.is_null() {
            alloc::alloc::handle_alloc_error(layout);
        }
        alloc::boxed::Box::from_raw(place)
    }
}

#[cfg(test)]
mod tests {
    use super::in_host_order;

    #[test]
    fn bytes_are_reversed_in_groups() {
        // SAFETY: arrays of integers accept any bytes.
        let (plain, swapped): ([u32; 2], [u32; 2]) = unsafe {
            let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
            (in_host_order(&bytes, 1), in_host_order(&bytes, 4))
        };
        assert_eq!(swapped, plain.map(u32::swap_bytes));
    }
}
