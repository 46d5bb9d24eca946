//! Vectors of 128 bits from the crate `wide`: SSE2, NEON or WebAssembly SIMD.
//!
//! What is done lane by lane is written out, because a compiler that optimizes for size leaves loops as they are, and so vectors go through memory.

use super::{Blocking, Element, Family, Lanes, MAX_WIDTH, Portable, Routine, each};
use core::mem::MaybeUninit;
use wide::{f32x4, f64x2};

macro_rules! portable {
    ($scalar:ty, $vector:ident, $width:literal, $sqrt:path, [$($lane:literal)*]) => {
        impl Lanes<$scalar> for Portable {
            type Vector = $vector;
            type Mask = $vector;
            const WIDTH: usize = $width;
            const BLOCKING: Blocking =
                Blocking { rows: 8, outlined: false, split: false, tile_vectors: 2, tile_columns: 4, tall_vectors: 2, tall_columns: 4 };
            type Narrow = Self;

            #[inline(always)]
            fn narrow(self) -> Self {
                self
            }
            #[inline(always)]
            fn of<F: Family<$scalar>>(
                table: &'static <$scalar as Element>::Each<F>,
            ) -> Option<&'static F::On<Self>> {
                Some(&table.portable)
            }

            #[inline(always)]
            fn splat(self, x: $scalar) -> $vector {
                $vector::new([$(each_lane!($lane, x)),*])
            }
            #[inline(always)]
            unsafe fn load(self, from: *const $scalar) -> $vector {
                // SAFETY: the caller vouches for WIDTH readable scalars.
                $vector::new(unsafe { from.cast::<[$scalar; $width]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn load_partial(self, from: *const $scalar, count: usize) -> $vector {
                // One by one into the register: a vector loaded from where scalars were just stored would wait for them.
                // SAFETY: the caller vouches for `count` readable scalars.
                $vector::new(unsafe { [$(if $lane < count { *from.add($lane) } else { 0.0 }),*] })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $scalar, v: $vector) {
                // SAFETY: the caller vouches for WIDTH writable scalars.
                unsafe { to.cast::<[$scalar; $width]>().write_unaligned(v.to_array()) }
            }
            #[inline(always)]
            unsafe fn store_partial(self, to: *mut $scalar, v: $vector, count: usize) {
                let v = v.to_array();
                // SAFETY: the caller vouches for `count` writable scalars.
                unsafe { $(if $lane < count { *to.add($lane) = v[$lane] })* }
            }
            #[inline(always)]
            fn add(self, a: $vector, b: $vector) -> $vector {
                a + b
            }
            #[inline(always)]
            fn sub(self, a: $vector, b: $vector) -> $vector {
                a - b
            }
            #[inline(always)]
            fn mul(self, a: $vector, b: $vector) -> $vector {
                a * b
            }
            #[inline(always)]
            fn div(self, a: $vector, b: $vector) -> $vector {
                a / b
            }
            #[inline(always)]
            fn mul_add(self, a: $vector, b: $vector, c: $vector) -> $vector {
                // Two roundings on purpose: `wide` would fuse on some targets and not on others.
                a * b + c
            }
            #[inline(always)]
            fn min(self, a: $vector, b: $vector) -> $vector {
                a.simd_lt(b).bitselect(a, b)
            }
            #[inline(always)]
            fn max(self, a: $vector, b: $vector) -> $vector {
                b.simd_lt(a).bitselect(a, b)
            }
            #[inline(always)]
            fn sqrt(self, a: $vector) -> $vector {
                // Elsewhere `wide` has one of its own, which is not exact.
                if cfg!(any(target_feature = "sse2", target_feature = "simd128", target_arch = "aarch64")) {
                    a.sqrt()
                } else {
                    self.map(a, $sqrt)
                }
            }
            #[inline(always)]
            fn abs(self, a: $vector) -> $vector {
                a.abs()
            }
            #[inline(always)]
            fn copy_sign(self, magnitude: $vector, sign: $vector) -> $vector {
                let bit = Lanes::<$scalar>::splat(self, -0.0);
                (magnitude & !bit) | (sign & bit)
            }
            #[inline(always)]
            fn less(self, a: $vector, b: $vector) -> $vector {
                a.simd_lt(b)
            }
            #[inline(always)]
            fn select(self, mask: $vector, yes: $vector, no: $vector) -> $vector {
                mask.bitselect(yes, no)
            }
            #[inline(always)]
            fn map(self, v: $vector, f: impl Fn($scalar) -> $scalar) -> $vector {
                let v = v.to_array();
                $vector::new([$(f(v[$lane])),*])
            }
            #[inline(always)]
            fn lookup_all<const N: usize>(
                self,
                _: &'static [[$scalar; 8]; N],
                columns: &'static [[$scalar; N]; 8],
                by: $vector,
            ) -> [$vector; N] {
                let by = by.to_array();
                // The mask is what the compiler needs to see that the index fits.
                let columns = [$(&columns[by[$lane].half_octave() & 7]),*];
                let mut entries = MaybeUninit::<[$vector; N]>::uninit();
                let start = entries.as_mut_ptr().cast::<$vector>();
                // SAFETY: N places, each written.
                unsafe {
                    each!(row < N => {
                        start.add(row).write($vector::new([$(columns[$lane][row]),*]));
                    });
                    entries.assume_init()
                }
            }
            #[inline(always)]
            fn reduce_max(self, v: $vector) -> $scalar {
                let v = v.to_array();
                let [largest, ..] = v;
                $(let largest = if v[$lane] > largest { v[$lane] } else { largest };)*
                largest
            }
            #[inline(always)]
            fn reduce_add(self, v: $vector) -> $scalar {
                match v.to_array()[..] {
                    [a, b, c, d] => (a + c) + (b + d),
                    [a, b] => a + b,
                    _ => 0.0,
                }
            }
            #[inline(always)]
            fn sums(self, v: &[$vector; MAX_WIDTH]) -> $vector {
                $vector::new([$(Lanes::<$scalar>::reduce_add(self, v[$lane])),*])
            }
            #[inline(always)]
            fn vectorize<R: Routine<Self>>(self, routine: R) -> R::Output {
                #[inline(never)]
                fn shell<R: Routine<Portable>>(routine: R) -> R::Output {
                    routine.run(Portable)
                }
                shell(routine)
            }
        }
    };
}

/// The same for every lane.
macro_rules! each_lane {
    ($lane:literal, $x:expr) => {
        $x
    };
}

portable!(f32, f32x4, 4, libm::sqrtf, [0 1 2 3]);
portable!(f64, f64x2, 2, libm::sqrt, [0 1]);
