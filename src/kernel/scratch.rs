//! Room for intermediate results on the stack, of a size that no network makes larger.

use super::Scalar;
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
    /// The first `count`, zero when they are first asked for; none if there is no room for so many.
    #[inline(always)]
    pub(crate) fn first(&mut self, count: usize) -> Option<&mut [T]> {
        if count > N {
            return None;
        }
        let start = self.room.as_mut_ptr().cast::<T>();
        while self.used < count {
            // SAFETY: below `count`, which is at most N.
            unsafe { start.add(self.used).write(T::ZERO) };
            self.used += 1;
        }
        // SAFETY: the first `used` have a value, and `count` is not more.
        Some(unsafe { core::slice::from_raw_parts_mut(start, count) })
    }
}
