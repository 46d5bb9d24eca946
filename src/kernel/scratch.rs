//! Room for intermediate results on the stack, of a size that no network makes larger.

use super::Scalar;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

/// Up to `N` scalars, of which only those that are used are ever touched.
pub(crate) struct Scratch<T, const N: usize> {
    room: MaybeUninit<[T; N]>,
    /// How many have a value.
    used: usize,
}

impl<T: Scalar, const N: usize> Scratch<T, N> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self { room: MaybeUninit::uninit(), used: 0 }
    }
    /// It, of whatever size.
    #[inline(always)]
    pub(crate) fn lend(&mut self) -> Lent<'_, T> {
        Lent { start: self.room.as_mut_ptr().cast(), len: N, used: &mut self.used, room: PhantomData }
    }
}

/// A [`Scratch`] whose size is not known while compiling, so that there is one copy of what uses it.
pub(crate) struct Lent<'a, T> {
    start: *mut T,
    /// How many there are at `start`.
    len: usize,
    /// How many of them have a value.
    used: &'a mut usize,
    room: PhantomData<&'a mut T>,
}

impl<T: Scalar> Lent<'_, T> {
    /// How many it holds.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }
    /// The first `count`, zero when they are first asked for; none if there is no room for so many.
    #[inline(always)]
    pub(crate) fn first(&mut self, count: usize) -> Option<&mut [T]> {
        if count > self.len {
            return None;
        }
        for index in *self.used..count {
            // SAFETY: below `count`, which is at most `len`.
            unsafe { self.start.add(index).write(T::ZERO) };
        }
        *self.used = count.max(*self.used);
        // SAFETY: the first `used` have a value, `count` is not more, and they are borrowed as long as `self` is.
        Some(unsafe { core::slice::from_raw_parts_mut(self.start, count) })
    }
}
