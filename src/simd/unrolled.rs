//! Loops over vectors in registers, written out: a compiler that optimizes for size leaves loops as they are, registers cannot be indexed,
//! and so the vectors would go through memory.
//!
//! Not on x86: programs for it are compiled for speed, which unrolls the loops, and written out they are a fifth of this crate's code to compile.

/// Does the block for every place below a constant of at most 16, each written out; in a loop where `L` is for little flash, and on x86.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
macro_rules! each {
    ($L:ident: $place:ident < $count:expr => $body:block) => {
        $crate::simd::each!($place < $count => $body)
    };
    ($place:ident < $count:expr => $body:block) => {
        for $place in 0..$count {
            $body
        }
    };
}
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
macro_rules! each {
    ($L:ident: $place:ident < $count:expr => $body:block) => {
        if const { <$L as $crate::simd::Lanes<_>>::BLOCKING.outlined } {
            for $place in 0..$count {
                $body
            }
        } else {
            $crate::simd::each!($place < $count => $body);
        }
    };
    ($place:ident < $count:expr => $body:block) => {
        $crate::simd::each!(@ $place, $count, $body; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (@ $place:ident, $count:expr, $body:block; $($at:literal)*) => {
        const { assert!($count <= 16) };
        $(if const { $at < $count } {
            // Below the count where nobody comes, too, so that no index looks out of bounds.
            let $place: usize = const { if $at < $count { $at } else { 0 } };
            $body
        })*
    };
}
pub(crate) use each;
