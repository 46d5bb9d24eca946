//! Executed instructions, where the emulator counts them: `-icount shift=8` on Arm, `shift=0` on RISC-V.

/// Executes `work` and gives the number of instructions that took.
#[inline(never)]
pub fn instructions<R>(work: impl FnOnce() -> R) -> (u32, R) {
    let overhead = {
        let start = now();
        now().since(start)
    };
    let start = now();
    let result = core::hint::black_box(work());
    let end = now();
    (end.since(start) - overhead, result)
}

/// The same of work that takes many millions, on Arm. The program counts in `wraps` how often the system timer interrupts it.
#[cfg(target_arch = "arm")]
#[inline(never)]
pub fn many_instructions<R>(wraps: &core::sync::atomic::AtomicU32, work: impl FnOnce() -> R) -> (u64, R) {
    const KNOWN: u64 = 200_000;
    let long = clock::Long::new(wraps);
    let start = long.now();
    // SAFETY: counts a register down.
    unsafe {
        core::arch::asm!("2:", "subs {n}, #1", "bne 2b", n = inout(reg) KNOWN as u32 / 2 => _);
    }
    let known = long.now() - start;
    let start = long.now();
    let result = core::hint::black_box(work());
    let ticks = long.now() - start;
    (ticks * KNOWN / known.max(1), result)
}

#[cfg(target_arch = "arm")]
mod clock {
    use core::ptr::{read_volatile, write_volatile};
    use core::sync::atomic::{AtomicU32, Ordering};

    const CONTROL: *mut u32 = 0xE000_E010 as *mut u32;
    const RELOAD: *mut u32 = 0xE000_E014 as *mut u32;
    const CURRENT: *mut u32 = 0xE000_E018 as *mut u32;
    const WRAP: u32 = 1 << 24;
    /// An instruction takes so many nanoseconds under `-icount shift=8`.
    const INSTRUCTION: u64 = 256;

    /// The system timer, and how often it has interrupted the program.
    pub struct Long<'a>(&'a AtomicU32);

    impl<'a> Long<'a> {
        pub fn new(wraps: &'a AtomicU32) -> Self {
            wraps.store(0, Ordering::Relaxed);
            // SAFETY: as in `now`.
            unsafe {
                write_volatile(CONTROL, 0);
                write_volatile(RELOAD, WRAP - 1);
                write_volatile(CURRENT, 0);
                write_volatile(CONTROL, 7);
                while read_volatile(CURRENT) == 0 {}
            }
            Self(wraps)
        }
        /// Ticks since the start.
        #[inline(never)]
        pub fn now(&self) -> u64 {
            loop {
                let wraps = self.0.load(Ordering::Relaxed);
                // SAFETY: as in `now`.
                let left = unsafe { read_volatile(CURRENT) };
                // An interrupt in between makes the two not belong together.
                if wraps == self.0.load(Ordering::Relaxed) {
                    return u64::from(wraps) * u64::from(WRAP) + u64::from(WRAP - 1 - left);
                }
            }
        }
    }

    impl Drop for Long<'_> {
        /// Whoever measures next finds the timer as it was.
        fn drop(&mut self) {
            // SAFETY: as in `now`.
            unsafe { write_volatile(CONTROL, 0) };
        }
    }

    /// A moment, in ticks that count down.
    #[derive(Clone, Copy)]
    pub struct Moment(u32);

    #[inline(never)]
    pub fn now() -> Moment {
        // SAFETY: the registers of the system timer, which all Cortex-M machines used here have.
        unsafe {
            if read_volatile(CONTROL) & 1 == 0 {
                write_volatile(RELOAD, WRAP - 1);
                write_volatile(CURRENT, 0);
                write_volatile(CONTROL, 5);
                while read_volatile(CURRENT) == 0 {}
            }
            Moment(read_volatile(CURRENT))
        }
    }

    impl Moment {
        /// Instructions since `start`, up to some millions.
        pub fn since(self, start: Self) -> u32 {
            let ticks = u64::from((start.0.wrapping_sub(self.0)) & (WRAP - 1));
            ((ticks * tick() + INSTRUCTION * 50) / (INSTRUCTION * 100)) as u32
        }
    }

    /// A tick in hundredths of a nanosecond: of the clocks these machines have the one that is nearest to what a loop
    /// of a known number of instructions takes.
    fn tick() -> u64 {
        const INSTRUCTIONS: u32 = 20_000;
        let start = now();
        // SAFETY: counts a register down.
        unsafe {
            core::arch::asm!("2:", "subs {n}, #1", "bne 2b", n = inout(reg) INSTRUCTIONS / 2 => _);
        }
        let ticks = u64::from((start.0.wrapping_sub(now().0)) & (WRAP - 1));
        let measured = u64::from(INSTRUCTIONS) * INSTRUCTION * 100 / ticks;
        // 25, 32, 16 and 64 MHz.
        [4000, 3125, 6250, 1562].into_iter().min_by_key(|tick| measured.abs_diff(*tick)).unwrap_or(measured)
    }
}

#[cfg(target_arch = "riscv32")]
mod clock {
    /// A moment, in instructions.
    #[derive(Clone, Copy)]
    pub struct Moment(u32);

    #[inline(never)]
    pub fn now() -> Moment {
        let count;
        // SAFETY: reads the counter of instructions.
        unsafe { core::arch::asm!("csrr {}, minstret", out(reg) count) };
        Moment(count)
    }

    impl Moment {
        /// Instructions since `start`.
        pub fn since(self, start: Self) -> u32 {
            self.0.wrapping_sub(start.0)
        }
    }
}

#[cfg(any(target_arch = "arm", target_arch = "riscv32"))]
use clock::now;
