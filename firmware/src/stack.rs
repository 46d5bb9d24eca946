//! How much stack something takes: paint it, run, look how far the paint has gone.

const PAINT: u32 = 0xC5C5_C5C5;
/// More is not seen by [`taken`].
const MOST: usize = 4096;

/// Executes `work` and gives the bytes of stack that the functions it calls took.
pub fn taken<R>(work: impl FnOnce() -> R) -> (usize, R) {
    taken_of::<MOST, R>(work)
}

/// The same where up to `MOST` bytes of stack are free.
#[inline(never)]
pub fn taken_of<const MOST: usize, R>(work: impl FnOnce() -> R) -> (usize, R) {
    // Below everything this function and what called it have on the stack: the calls of `work` begin just there.
    let top = stack_pointer();
    let bottom = top - MOST;
    for at in (bottom..top).step_by(4) {
        // SAFETY: free stack; nothing is called in between, and there are no interrupts.
        unsafe { core::ptr::write_volatile(at as *mut u32, PAINT) };
    }
    let result = work();
    let mut at = bottom;
    // SAFETY: as above.
    while at < top && unsafe { core::ptr::read_volatile(at as *const u32) } == PAINT {
        at += 4;
    }
    (top - at, result)
}

#[inline(always)]
fn stack_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe {
        #[cfg(target_arch = "arm")]
        core::arch::asm!("mov {}, sp", out(reg) pointer);
        #[cfg(target_arch = "riscv32")]
        core::arch::asm!("mv {}, sp", out(reg) pointer);
    }
    pointer
}
