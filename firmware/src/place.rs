//! Places in RAM for what is too large for the stack, taken once.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// A value in a `static` that one part of the program may take.
pub struct Place<T> {
    value: UnsafeCell<T>,
    taken: AtomicBool,
}

// SAFETY: `take` gives the only reference there will be.
unsafe impl<T: Send> Sync for Place<T> {}

impl<T> Place<T> {
    /// With a value.
    pub const fn new(value: T) -> Self {
        Self { value: UnsafeCell::new(value), taken: AtomicBool::new(false) }
    }

    /// The value, once.
    #[allow(clippy::mut_from_ref, reason = "taken once")]
    pub fn take(&self) -> Option<&mut T> {
        // Interrupts do not take places, and there is one core: Cortex-M0 has nothing better than load and store.
        if self.taken.load(Ordering::Acquire) {
            return None;
        }
        self.taken.store(true, Ordering::Release);
        // SAFETY: nobody has taken it before.
        Some(unsafe { &mut *self.value.get() })
    }
}
