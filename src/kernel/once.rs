//! Work that is compiled once, in this crate, for every scalar there is: a program that uses the crate compiles a call.

use super::Scalar;

/// Such work. A type with a function for each scalar and not one generic function alone, which the compiler would make again in every
/// program; that is what is wanted where flash is small, and calls cost more than they save.
pub trait Once {
    /// What it works on.
    type Job<'a, T: Scalar>;
    /// What it gives.
    type Output<T: Scalar>;
    /// Does it for `f32`.
    fn f32(job: Self::Job<'_, f32>) -> Self::Output<f32>;
    /// Does it for `f64`.
    fn f64(job: Self::Job<'_, f64>) -> Self::Output<f64>;
    /// Does it for any scalar, in the program.
    fn any<T: Scalar>(job: Self::Job<'_, T>) -> Self::Output<T>;
}

/// Writes such work: its name, its job, its output and the generic function that does it.
macro_rules! once {
    ($seen:vis $name:ident: $job:ty => $output:ty, $run:path) => {
        $seen enum $name {}
        impl $crate::kernel::Once for $name {
            type Job<'a, T: $crate::kernel::Scalar> = $job;
            type Output<T: $crate::kernel::Scalar> = $output;
            $crate::kernel::once!(@ f32, $run);
            $crate::kernel::once!(@ f64, $run);
            #[inline(always)]
            fn any<T: $crate::kernel::Scalar>(job: Self::Job<'_, T>) -> Self::Output<T> {
                $run(job)
            }
        }
    };
    (@ $scalar:ident, $run:path) => {
        $crate::kernel::compiled_here! {
            fn $scalar(job: Self::Job<'_, $scalar>) -> Self::Output<$scalar> {
                $run(job)
            }
        }
    };
}
pub(crate) use once;

/// Writes a function that is no generic: compiled in this crate, but where flash is small in the program that calls it, if one does. There, what is compiled
/// here is not put in line, which makes all that it shares with a program larger.
macro_rules! compiled_here {
    ($($function:tt)*) => {
        #[cfg_attr(
            all(
                any(target_feature = "sse2", target_feature = "neon", target_feature = "simd128"),
                not(attractor_scalars)
            ),
            inline(never)
        )]
        #[cfg_attr(
            not(all(
                any(target_feature = "sse2", target_feature = "neon", target_feature = "simd128"),
                not(attractor_scalars)
            )),
            inline
        )]
        $($function)*
    };
}
pub(crate) use compiled_here;
