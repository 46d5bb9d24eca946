//! Vectors of 128 bits from the crate `wide`: SSE2, NEON or WebAssembly SIMD.

use super::{Blocking, Element, Family, Lanes, Portable, Routine};
use wide::{f32x4, f64x2};

macro_rules! portable {
    ($scalar:ty, $vector:ident, $width:literal, $sqrt:path) => {
        impl Lanes<$scalar> for Portable {
            type Vector = $vector;
            type Mask = $vector;
            const WIDTH: usize = $width;
            const BLOCKING: Blocking =
                Blocking { rows: 8, outlined: false, split: false, tile_vectors: 2, tile_columns: 4 };
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
                $vector::splat(x)
            }
            #[inline(always)]
            unsafe fn load(self, from: *const $scalar) -> $vector {
                // SAFETY: the caller vouches for WIDTH readable scalars.
                $vector::new(unsafe { from.cast::<[$scalar; $width]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn load_partial(self, from: *const $scalar, count: usize) -> $vector {
                // One by one into the register: a vector loaded from where scalars were just stored would wait for them.
                let lanes = core::array::from_fn(|i| {
                    // SAFETY: i < count, and the caller vouches for `count` readable scalars.
                    if i < count { unsafe { *from.add(i) } } else { 0.0 }
                });
                $vector::new(lanes)
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $scalar, v: $vector) {
                // SAFETY: the caller vouches for WIDTH writable scalars.
                unsafe { to.cast::<[$scalar; $width]>().write_unaligned(v.to_array()) }
            }
            #[inline(always)]
            unsafe fn store_partial(self, to: *mut $scalar, v: $vector, count: usize) {
                for (i, lane) in v.to_array().into_iter().enumerate().take(count) {
                    // SAFETY: i < count, and the caller vouches for `count` writable scalars.
                    unsafe { *to.add(i) = lane };
                }
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
                let bit = $vector::splat(-0.0);
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

portable!(f32, f32x4, 4, libm::sqrtf);
portable!(f64, f64x2, 2, libm::sqrt);
