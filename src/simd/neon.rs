//! NEON with fused multiply-adds, on `core::arch`, for AArch64 where it is part of the target: nothing is asked of the processor.

use super::{Bf16, Blocking, Element, Family, Lanes, MAX_WIDTH, Routine};
use core::arch::aarch64::*;
use core::arch::asm;

/// Proof that this processor has NEON: code for this target runs on no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Neon(());

impl Neon {
    /// The token. The type is there only where the target has NEON.
    #[must_use]
    #[inline]
    pub const fn detect() -> Option<Self> {
        Some(Self(()))
    }
}

/// Writes one implementation of `Lanes`; the two scalars differ in the names of their intrinsics and in the few methods that stand in
/// braces.
///
/// 24 sums of a tile, two vectors of the left operand and some of the right one fill the 32 registers.
macro_rules! neon_lanes {
    (
        $scalar:ty, $vector:ty, $mask:ty, $width:literal, $register:literal,
        $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $sqrt:ident, $fma:ident, $abs:ident, $less:ident,
        $select:ident, $sign:expr,
        { $($own:item)* }
    ) => {
        // SAFETY of every block in this implementation: the target has the instructions, so every processor it runs on has them;
        // pointers are the caller's to vouch for.
        #[allow(clippy::undocumented_unsafe_blocks, reason = "one reason for all of them stands above")]
        impl Lanes<$scalar> for Neon {
            type Vector = $vector;
            type Mask = $mask;
            const WIDTH: usize = $width;
            const BLOCKING: Blocking =
                Blocking { rows: 8, outlined: false, split: true, tile_vectors: 2, tile_columns: 12, tall_vectors: 2, tall_columns: 12 };
            type Narrow = Self;

            #[inline(always)]
            fn narrow(self) -> Self {
                self
            }
            #[inline(always)]
            fn of<F: Family<$scalar>>(
                table: &'static <$scalar as Element>::Each<F>,
            ) -> Option<&'static F::On<Self>> {
                Some(&table.neon)
            }

            by_intrinsics!($scalar, $vector, $splat, $load, $store, $add, $sub, $mul, $div, $sqrt);
            #[inline(always)]
            unsafe fn splat_of(self, from: *const $scalar, n: usize, of: usize) -> $vector {
                unsafe {
                    let first = n - n % $width;
                    if first + $width <= of {
                        return $load(from.add(first)).spread(n % $width);
                    }
                    // A load into all lanes would take a place among the multiply-adds. Of a number the compiler knows nothing of,
                    // it makes a multiply-add by a lane.
                    let mut x = *from.add(n);
                    asm!($register, inout(vreg) x, options(pure, nomem, nostack, preserves_flags));
                    $splat(x)
                }
            }
            #[inline(always)]
            fn mul_add(self, a: $vector, b: $vector, c: $vector) -> $vector {
                unsafe { $fma(c, a, b) }
            }
            // The instructions of these names give a NaN when either is one.
            #[inline(always)]
            fn min(self, a: $vector, b: $vector) -> $vector {
                unsafe { $select($less(a, b), a, b) }
            }
            #[inline(always)]
            fn max(self, a: $vector, b: $vector) -> $vector {
                unsafe { $select($less(b, a), a, b) }
            }
            #[inline(always)]
            fn abs(self, a: $vector) -> $vector {
                unsafe { $abs(a) }
            }
            #[inline(always)]
            fn copy_sign(self, magnitude: $vector, sign: $vector) -> $vector {
                unsafe { $select($sign, sign, magnitude) }
            }
            #[inline(always)]
            fn less(self, a: $vector, b: $vector) -> $mask {
                unsafe { $less(a, b) }
            }
            #[inline(always)]
            fn select(self, mask: $mask, yes: $vector, no: $vector) -> $vector {
                unsafe { $select(mask, yes, no) }
            }
            #[inline(always)]
            fn vectorize<R: Routine<Self>>(self, routine: R) -> R::Output {
                #[inline(never)]
                fn shell<R: Routine<Neon>>(lanes: Neon, routine: R) -> R::Output {
                    routine.run(lanes)
                }
                shell(self, routine)
            }
            $($own)*
        }
    };
}

/// A vector of which one lane can be brought into all.
trait Spread {
    /// The lane of this number, which the compiler knows.
    fn spread(self, lane: usize) -> Self;
}

impl Spread for float32x4_t {
    #[inline(always)]
    fn spread(self, lane: usize) -> Self {
        // SAFETY: the target has NEON.
        unsafe {
            match lane {
                0 => vdupq_laneq_f32::<0>(self),
                1 => vdupq_laneq_f32::<1>(self),
                2 => vdupq_laneq_f32::<2>(self),
                _ => vdupq_laneq_f32::<3>(self),
            }
        }
    }
}

impl Spread for float64x2_t {
    #[inline(always)]
    fn spread(self, lane: usize) -> Self {
        // SAFETY: the target has NEON.
        unsafe { if lane == 0 { vdupq_laneq_f64::<0>(self) } else { vdupq_laneq_f64::<1>(self) } }
    }
}

neon_lanes! {
    f32, float32x4_t, uint32x4_t, 4, "/* {0:s} */",
    vdupq_n_f32, vld1q_f32, vst1q_f32, vaddq_f32, vsubq_f32, vmulq_f32, vdivq_f32, vsqrtq_f32, vfmaq_f32, vabsq_f32, vcltq_f32,
    vbslq_f32, vdupq_n_u32(1 << 31),
    {
        #[inline(always)]
        unsafe fn load_partial(self, from: *const f32, count: usize) -> float32x4_t {
            unsafe {
                let mut v = vdupq_n_f32(0.0);
                if count & 2 != 0 {
                    v = vcombine_f32(vld1_f32(from), vdup_n_f32(0.0));
                    if count & 1 != 0 {
                        v = vld1q_lane_f32::<2>(from.add(2), v);
                    }
                } else if count & 1 != 0 {
                    v = vld1q_lane_f32::<0>(from, v);
                }
                v
            }
        }
        #[inline(always)]
        unsafe fn store_partial(self, to: *mut f32, v: float32x4_t, count: usize) {
            unsafe {
                if count & 2 != 0 {
                    vst1_f32(to, vget_low_f32(v));
                    if count & 1 != 0 {
                        vst1q_lane_f32::<2>(to.add(2), v);
                    }
                } else if count & 1 != 0 {
                    vst1q_lane_f32::<0>(to, v);
                }
            }
        }
        #[inline(always)]
        unsafe fn turn(self, from: *const f32, across: usize, to: *mut f32, width: usize) {
            unsafe {
                let row = [
                    vld1q_f32(from),
                    vld1q_f32(from.add(across)),
                    vld1q_f32(from.add(2 * across)),
                    vld1q_f32(from.add(3 * across)),
                ];
                let (even, odd) = (vtrn1q_f32(row[0], row[1]), vtrn2q_f32(row[0], row[1]));
                let (even_next, odd_next) = (vtrn1q_f32(row[2], row[3]), vtrn2q_f32(row[2], row[3]));
                vst1q_f32(to, vcombine_f32(vget_low_f32(even), vget_low_f32(even_next)));
                vst1q_f32(to.add(width), vcombine_f32(vget_low_f32(odd), vget_low_f32(odd_next)));
                vst1q_f32(to.add(2 * width), vcombine_f32(vget_high_f32(even), vget_high_f32(even_next)));
                vst1q_f32(to.add(3 * width), vcombine_f32(vget_high_f32(odd), vget_high_f32(odd_next)));
            }
        }
        #[inline(always)]
        unsafe fn load_bf16_pairs(self, from: *const Bf16, count: Option<usize>) -> (float32x4_t, float32x4_t) {
            unsafe {
                // A pair is as long as a number.
                let from = from.cast::<f32>();
                let pairs = match count {
                    None => self.load(from),
                    Some(count) => self.load_partial(from, count),
                };
                let mut pairs = vreinterpretq_u32_f32(pairs);
                if cfg!(target_endian = "big") {
                    pairs = vreinterpretq_u32_u16(vrev32q_u16(vreinterpretq_u16_u32(pairs)));
                }
                (vreinterpretq_f32_u32(vshlq_n_u32::<16>(pairs)), vreinterpretq_f32_u32(pairs))
            }
        }
        #[inline(always)]
        fn lookup(self, table: &[f32; 8], by: float32x4_t) -> float32x4_t {
            unsafe {
                // The table in two registers, bytes by their numbers: those of an entry are four times its own, and the next three.
                let index = vandq_u32(vshrq_n_u32::<22>(vreinterpretq_u32_f32(by)), vdupq_n_u32(7));
                let bytes = vaddq_u32(
                    vmulq_u32(index, vdupq_n_u32(0x0404_0404)),
                    vdupq_n_u32(if cfg!(target_endian = "big") { 0x0001_0203 } else { 0x0302_0100 }),
                );
                let table = uint8x16x2_t(
                    vld1q_u8(table.as_ptr().cast()),
                    vld1q_u8(table.as_ptr().add(4).cast()),
                );
                vreinterpretq_f32_u8(vqtbl2q_u8(table, vreinterpretq_u8_u32(bytes)))
            }
        }
        #[inline(always)]
        fn power_of_two(self, v: float32x4_t) -> float32x4_t {
            unsafe {
                let exponent = vaddq_s32(vcvtq_s32_f32(v), vdupq_n_s32(127));
                vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))
            }
        }
        #[inline(always)]
        fn reduce_max(self, v: float32x4_t) -> f32 {
            unsafe { vmaxvq_f32(v) }
        }
        #[inline(always)]
        fn sums(self, v: &[float32x4_t; MAX_WIDTH]) -> float32x4_t {
            unsafe { vpaddq_f32(vpaddq_f32(v[0], v[1]), vpaddq_f32(v[2], v[3])) }
        }
    }
}

neon_lanes! {
    f64, float64x2_t, uint64x2_t, 2, "/* {0:d} */",
    vdupq_n_f64, vld1q_f64, vst1q_f64, vaddq_f64, vsubq_f64, vmulq_f64, vdivq_f64, vsqrtq_f64, vfmaq_f64, vabsq_f64, vcltq_f64,
    vbslq_f64, vdupq_n_u64(1 << 63),
    {
        #[inline(always)]
        unsafe fn load_partial(self, from: *const f64, count: usize) -> float64x2_t {
            unsafe {
                let none = vdupq_n_f64(0.0);
                if count == 0 { none } else { vld1q_lane_f64::<0>(from, none) }
            }
        }
        #[inline(always)]
        unsafe fn store_partial(self, to: *mut f64, v: float64x2_t, count: usize) {
            unsafe {
                if count > 0 {
                    vst1q_lane_f64::<0>(to, v);
                }
            }
        }
        #[inline(always)]
        unsafe fn turn(self, from: *const f64, across: usize, to: *mut f64, width: usize) {
            unsafe {
                for column in [0, 2] {
                    for row in [0, 2] {
                        let from = from.add(row * across + column);
                        let (one, other) = (vld1q_f64(from), vld1q_f64(from.add(across)));
                        let to = to.add(column * width + row);
                        vst1q_f64(to, vzip1q_f64(one, other));
                        vst1q_f64(to.add(width), vzip2q_f64(one, other));
                    }
                }
            }
        }
        #[inline(always)]
        fn power_of_two(self, v: float64x2_t) -> float64x2_t {
            unsafe {
                let exponent = vaddq_s64(vcvtq_s64_f64(v), vdupq_n_s64(1023));
                vreinterpretq_f64_s64(vshlq_n_s64::<52>(exponent))
            }
        }
        #[inline(always)]
        fn sums(self, v: &[float64x2_t; MAX_WIDTH]) -> float64x2_t {
            unsafe { vpaddq_f64(v[0], v[1]) }
        }
    }
}
