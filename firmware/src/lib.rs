//! What the programs share: an entry, what may go wrong, places for what is large, a counter of instructions, a painted stack.

#![no_std]

pub mod counter;
pub mod digits;
mod failure;
mod place;
mod random;
#[cfg(feature = "language")]
pub mod speech;
pub mod stack;

pub use failure::Failure;
pub use place::Place;
pub use random::Random;

/// Makes `fn() -> Result<(), E: Display>` the program: exit code 0, or 1 after telling the error or the panic.
#[macro_export]
macro_rules! program {
    ($body:path) => {
        $crate::start!($body);
        #[panic_handler]
        fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
            $crate::finish(Err(info))
        }
    };
}

/// Makes `fn()` a program that never says anything, and that does not link if any way to panic survives.
#[macro_export]
macro_rules! minimal_program {
    ($body:path) => {
        #[cfg(target_arch = "arm")]
        #[cortex_m_rt::entry]
        fn start() -> ! {
            loop {
                $body();
            }
        }
        #[cfg(target_arch = "riscv32")]
        #[riscv_rt::entry]
        fn start() -> ! {
            loop {
                $body();
            }
        }
        unsafe extern "C" {
            fn a_way_to_panic_survived() -> !;
        }
        #[panic_handler]
        fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
            // SAFETY: there is no such function: if this is reachable, nothing links.
            unsafe { a_way_to_panic_survived() }
        }
    };
}

/// The entry alone.
#[macro_export]
macro_rules! start {
    ($body:path) => {
        #[cfg(target_arch = "arm")]
        #[cortex_m_rt::entry]
        fn start() -> ! {
            $crate::finish($body())
        }
        #[cfg(target_arch = "riscv32")]
        #[riscv_rt::entry]
        fn start() -> ! {
            $crate::finish($body())
        }
    };
}

/// Ends the program.
pub fn finish<E: Report>(result: Result<(), E>) -> ! {
    if let Err(error) = &result {
        error.report();
    }
    semihosting::process::exit(i32::from(result.is_err()))
}

/// What an error leaves behind.
pub trait Report {
    /// Tells it, if there is anything to tell.
    fn report(&self);
}

impl<E: core::fmt::Display> Report for E {
    fn report(&self) {
        semihosting::eprintln!("error: {self}");
    }
}
