//! AVX2 with FMA, and AVX-512, on `core::arch`.

use super::{Bf16, Blocking, Element, Family, Lanes, MAX_WIDTH, Routine};
use core::arch::asm;
#[cfg(target_arch = "x86")]
use core::arch::x86::*;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::*;

cpufeatures::new!(has_avx2, "avx2", "fma");
cpufeatures::new!(has_avx512, "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl");

/// Proof that this processor has AVX2 and FMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Avx2(());

/// Proof that this processor has AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Avx512(());

impl Avx2 {
    /// The token, if the processor has AVX2 and FMA.
    #[must_use]
    #[inline]
    pub fn detect() -> Option<Self> {
        has_avx2::get().then_some(Self(()))
    }
}

impl From<Avx512> for Avx2 {
    #[inline(always)]
    fn from(_: Avx512) -> Self {
        Self(())
    }
}

impl Avx512 {
    /// The token, if the processor has AVX-512 F, BW, DQ and VL.
    #[must_use]
    #[inline]
    pub fn detect() -> Option<Self> {
        has_avx512::get().then_some(Self(()))
    }
}

/// Writes a function that gives its vector back without an instruction, unseen by the compiler.
macro_rules! opaque {
    ($($name:ident: $vector:ty, $register:ident, $feature:literal;)*) => {$(
        #[inline]
        #[target_feature(enable = $feature)]
        fn $name(mut v: $vector) -> $vector {
            // SAFETY: it does nothing.
            unsafe { asm!("/* {0} */", inout($register) v, options(pure, nomem, nostack, preserves_flags)) };
            v
        }
    )*};
}
opaque! {
    opaque_256: __m256, ymm_reg, "avx2";
    opaque_256d: __m256d, ymm_reg, "avx2";
    opaque_512: __m512, zmm_reg, "avx512f";
    opaque_512d: __m512d, zmm_reg, "avx512f";
}

/// Writes one implementation of `Lanes`; the two instruction sets and two scalars differ in the names of their
/// intrinsics and in the few methods that stand in braces.
macro_rules! x86_lanes {
    (
        $token:ident, $entry:ident, $features:literal, $opaque:ident, $tile_columns:literal, $tall_vectors:literal, $scalar:ty, $vector:ty, $mask:ty, $width:literal,
        $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $fma:ident,
        $min:ident, $max:ident, $and:ident, $andnot:ident, $or:ident, $sqrt:ident,
        { $($own:item)* }
    ) => {
        // SAFETY of every block in this implementation: the token was made by `detect`, so the processor has
        // the instructions; pointers are the caller's to vouch for.
        #[allow(clippy::undocumented_unsafe_blocks, reason = "one reason for all of them stands above")]
        impl Lanes<$scalar> for $token {
            type Vector = $vector;
            type Mask = $mask;
            const WIDTH: usize = $width;
            const BLOCKING: Blocking = Blocking {
                rows: 8,
                outlined: false,
                split: true,
                tile_vectors: 2,
                tile_columns: $tile_columns,
                tall_vectors: $tall_vectors,
                tall_columns: 6,
            };
            type Narrow = Self;

            #[inline(always)]
            fn narrow(self) -> Self {
                self
            }
            #[inline(always)]
            fn of<F: Family<$scalar>>(
                table: &'static <$scalar as Element>::Each<F>,
            ) -> Option<&'static F::On<Self>> {
                Some(&table.$entry)
            }

            #[inline(always)]
            fn opaque(self, v: $vector) -> $vector {
                unsafe { $opaque(v) }
            }
            by_intrinsics!($scalar, $vector, $splat, $load, $store, $add, $sub, $mul, $div, $sqrt);
            #[inline(always)]
            fn mul_add(self, a: $vector, b: $vector, c: $vector) -> $vector {
                unsafe { $fma(a, b, c) }
            }
            #[inline(always)]
            fn min(self, a: $vector, b: $vector) -> $vector {
                unsafe { $min(a, b) }
            }
            #[inline(always)]
            fn max(self, a: $vector, b: $vector) -> $vector {
                unsafe { $max(a, b) }
            }
            #[inline(always)]
            fn abs(self, a: $vector) -> $vector {
                unsafe { $andnot($splat(-0.0), a) }
            }
            #[inline(always)]
            fn copy_sign(self, magnitude: $vector, sign: $vector) -> $vector {
                unsafe { $or($andnot($splat(-0.0), magnitude), $and($splat(-0.0), sign)) }
            }
            #[inline(always)]
            fn vectorize<R: Routine<Self>>(self, routine: R) -> R::Output {
                #[target_feature(enable = $features)]
                #[inline(never)]
                fn shell<R: Routine<$token>>(lanes: $token, routine: R) -> R::Output {
                    routine.run(lanes)
                }
                unsafe { shell(self, routine) }
            }
            $($own)*
        }
    };
}

/// The mask of the first `count` lanes is a window on this: eight set words, then eight clear ones.
static WINDOW: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// The first `count <= 8 / words` lanes of `words` 32-bit words each.
#[inline(always)]
fn window(_: Avx2, count: usize, words: usize) -> __m256i {
    let first = 8 - (count * words).min(8);
    // SAFETY: first <= 8, so the eight words from it lie in WINDOW; the token proves AVX2.
    unsafe { _mm256_loadu_si256(WINDOW.as_ptr().add(first).cast()) }
}

/// Turns four rows of four numbers.
///
/// # Safety
/// As [`Lanes::turn`].
#[inline(always)]
unsafe fn turn_singles(_: Avx2, from: *const f32, across: usize, to: *mut f32, width: usize) {
    // SAFETY: the caller vouches for rows of four; the token proves AVX2.
    unsafe {
        let row = [
            _mm_loadu_ps(from),
            _mm_loadu_ps(from.add(across)),
            _mm_loadu_ps(from.add(2 * across)),
            _mm_loadu_ps(from.add(3 * across)),
        ];
        let (low, high) = (_mm_unpacklo_ps(row[0], row[1]), _mm_unpackhi_ps(row[0], row[1]));
        let (low_next, high_next) = (_mm_unpacklo_ps(row[2], row[3]), _mm_unpackhi_ps(row[2], row[3]));
        _mm_storeu_ps(to, _mm_movelh_ps(low, low_next));
        _mm_storeu_ps(to.add(width), _mm_movehl_ps(low_next, low));
        _mm_storeu_ps(to.add(2 * width), _mm_movelh_ps(high, high_next));
        _mm_storeu_ps(to.add(3 * width), _mm_movehl_ps(high_next, high));
    }
}

/// Turns four rows of four numbers.
///
/// # Safety
/// As [`Lanes::turn`].
#[inline(always)]
unsafe fn turn_doubles(_: Avx2, from: *const f64, across: usize, to: *mut f64, width: usize) {
    // SAFETY: the caller vouches for rows of four; the token proves AVX2.
    unsafe {
        let row = [
            _mm256_loadu_pd(from),
            _mm256_loadu_pd(from.add(across)),
            _mm256_loadu_pd(from.add(2 * across)),
            _mm256_loadu_pd(from.add(3 * across)),
        ];
        let (even, odd) = (_mm256_unpacklo_pd(row[0], row[1]), _mm256_unpackhi_pd(row[0], row[1]));
        let (even_next, odd_next) = (_mm256_unpacklo_pd(row[2], row[3]), _mm256_unpackhi_pd(row[2], row[3]));
        _mm256_storeu_pd(to, _mm256_permute2f128_pd::<0x20>(even, even_next));
        _mm256_storeu_pd(to.add(width), _mm256_permute2f128_pd::<0x20>(odd, odd_next));
        _mm256_storeu_pd(to.add(2 * width), _mm256_permute2f128_pd::<0x31>(even, even_next));
        _mm256_storeu_pd(to.add(3 * width), _mm256_permute2f128_pd::<0x31>(odd, odd_next));
    }
}

/// Stores the first `count < 8` numbers by halves: a masked store takes some processors tens of cycles, and what is loaded from there next
/// waits for it.
///
/// # Safety
/// As [`Lanes::store_partial`].
#[inline(always)]
unsafe fn store_singles(_: Avx2, mut to: *mut f32, v: __m256, count: usize) {
    // SAFETY: the caller vouches for `count` numbers, which the parts add up to; the token proves AVX2.
    unsafe {
        let mut part = _mm256_castps256_ps128(v);
        if count & 4 != 0 {
            _mm_storeu_ps(to, part);
            part = _mm256_extractf128_ps::<1>(v);
            to = to.add(4);
        }
        if count & 2 != 0 {
            _mm_storel_epi64(to.cast(), _mm_castps_si128(part));
            part = _mm_movehl_ps(part, part);
            to = to.add(2);
        }
        if count & 1 != 0 {
            _mm_store_ss(to, part);
        }
    }
}

/// Stores the first `count < 4` numbers by halves; see [`store_singles`].
///
/// # Safety
/// As [`Lanes::store_partial`].
#[inline(always)]
unsafe fn store_doubles(_: Avx2, mut to: *mut f64, v: __m256d, count: usize) {
    // SAFETY: as above.
    unsafe {
        let mut part = _mm256_castpd256_pd128(v);
        if count & 2 != 0 {
            _mm_storeu_pd(to, part);
            part = _mm256_extractf128_pd::<1>(v);
            to = to.add(2);
        }
        if count & 1 != 0 {
            _mm_store_sd(to, part);
        }
    }
}

x86_lanes! {
    Avx2, avx2, "avx2,fma", opaque_256, 6, 2, f32, __m256, __m256, 8,
    _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps,
    _mm256_div_ps, _mm256_fmadd_ps, _mm256_min_ps, _mm256_max_ps, _mm256_and_ps, _mm256_andnot_ps, _mm256_or_ps,
    _mm256_sqrt_ps,
    {
        #[inline(always)]
        unsafe fn turn(self, from: *const f32, across: usize, to: *mut f32, width: usize) {
            unsafe { turn_singles(self, from, across, to, width) }
        }
        #[inline(always)]
        unsafe fn load_partial(self, from: *const f32, count: usize) -> __m256 {
            unsafe { _mm256_maskload_ps(from, window(self, count, 1)) }
        }
        #[inline(always)]
        unsafe fn store_partial(self, to: *mut f32, v: __m256, count: usize) {
            unsafe { store_singles(self, to, v, count) }
        }
        #[inline(always)]
        unsafe fn load_bf16_pairs(self, from: *const Bf16, count: Option<usize>) -> (__m256, __m256) {
            unsafe {
                let pairs = match count {
                    None => _mm256_loadu_si256(from.cast()),
                    Some(count) => _mm256_maskload_epi32(from.cast(), window(self, count, 1)),
                };
                (_mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs)), _mm256_castsi256_ps(pairs))
            }
        }
        #[inline(always)]
        fn less(self, a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(a, b) }
        }
        #[inline(always)]
        fn select(self, mask: __m256, yes: __m256, no: __m256) -> __m256 {
            unsafe { _mm256_blendv_ps(no, yes, mask) }
        }
        #[inline(always)]
        fn lookup(self, table: &[f32; 8], by: __m256) -> __m256 {
            // vpermps looks at the low three bits of an index only.
            unsafe {
                let index = _mm256_srli_epi32::<22>(_mm256_castps_si256(by));
                _mm256_permutevar8x32_ps(_mm256_loadu_ps(table.as_ptr()), index)
            }
        }
        #[inline(always)]
        fn power_of_two(self, v: __m256) -> __m256 {
            unsafe {
                let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(v), _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
            }
        }
        #[inline(always)]
        fn reduce_max(self, v: __m256) -> f32 {
            unsafe {
                let v = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
                let v = _mm_max_ps(v, _mm_movehl_ps(v, v));
                _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)))
            }
        }
        #[inline(always)]
        fn sums(self, v: &[__m256; MAX_WIDTH]) -> __m256 {
            // A tree of horizontal additions.
            unsafe {
                let pairs = [
                    _mm256_hadd_ps(v[0], v[1]),
                    _mm256_hadd_ps(v[2], v[3]),
                    _mm256_hadd_ps(v[4], v[5]),
                    _mm256_hadd_ps(v[6], v[7]),
                ];
                let low = _mm256_hadd_ps(pairs[0], pairs[1]);
                let high = _mm256_hadd_ps(pairs[2], pairs[3]);
                _mm256_add_ps(
                    _mm256_permute2f128_ps::<0x20>(low, high),
                    _mm256_permute2f128_ps::<0x31>(low, high),
                )
            }
        }
    }
}

x86_lanes! {
    Avx2, avx2, "avx2,fma", opaque_256d, 6, 2, f64, __m256d, __m256d, 4,
    _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd,
    _mm256_div_pd, _mm256_fmadd_pd, _mm256_min_pd, _mm256_max_pd, _mm256_and_pd, _mm256_andnot_pd, _mm256_or_pd,
    _mm256_sqrt_pd,
    {
        #[inline(always)]
        unsafe fn turn(self, from: *const f64, across: usize, to: *mut f64, width: usize) {
            unsafe { turn_doubles(self, from, across, to, width) }
        }
        #[inline(always)]
        unsafe fn load_partial(self, from: *const f64, count: usize) -> __m256d {
            unsafe { _mm256_maskload_pd(from, window(self, count, 2)) }
        }
        #[inline(always)]
        unsafe fn store_partial(self, to: *mut f64, v: __m256d, count: usize) {
            unsafe { store_doubles(self, to, v, count) }
        }
        #[inline(always)]
        fn less(self, a: __m256d, b: __m256d) -> __m256d {
            unsafe { _mm256_cmp_pd::<_CMP_LT_OQ>(a, b) }
        }
        #[inline(always)]
        fn select(self, mask: __m256d, yes: __m256d, no: __m256d) -> __m256d {
            unsafe { _mm256_blendv_pd(no, yes, mask) }
        }
    }
}

/// In every quarter the sums of neighbouring lanes, two of `a`, then two of `b`.
#[inline(always)]
fn pair_sums(lanes: Avx512, a: __m512, b: __m512) -> __m512 {
    // SAFETY: the token proves AVX-512.
    let (even, odd) = unsafe { (_mm512_shuffle_ps::<0x88>(a, b), _mm512_shuffle_ps::<0xdd>(a, b)) };
    Lanes::<f32>::add(lanes, even, odd)
}

/// The bits of the first `count <= 16` lanes.
#[inline(always)]
const fn first(count: usize) -> u32 {
    (1 << count) - 1
}

x86_lanes! {
    Avx512, avx512, "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl", opaque_512, 12, 4, f32, __m512, __mmask16, 16,
    _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps,
    _mm512_div_ps, _mm512_fmadd_ps, _mm512_min_ps, _mm512_max_ps, _mm512_and_ps, _mm512_andnot_ps, _mm512_or_ps,
    _mm512_sqrt_ps,
    {
        #[inline(always)]
        unsafe fn turn(self, from: *const f32, across: usize, to: *mut f32, width: usize) {
            unsafe { turn_singles(self.into(), from, across, to, width) }
        }
        #[inline(always)]
        unsafe fn load_partial(self, from: *const f32, count: usize) -> __m512 {
            unsafe { _mm512_maskz_loadu_ps(first(count) as __mmask16, from) }
        }
        #[inline(always)]
        unsafe fn store_partial(self, to: *mut f32, v: __m512, count: usize) {
            unsafe {
                let low = _mm512_castps512_ps256(v);
                if count & 8 == 0 {
                    return store_singles(self.into(), to, low, count);
                }
                _mm256_storeu_ps(to, low);
                store_singles(self.into(), to.add(8), _mm512_extractf32x8_ps::<1>(v), count - 8);
            }
        }
        #[inline(always)]
        unsafe fn load_bf16_pairs(self, from: *const Bf16, count: Option<usize>) -> (__m512, __m512) {
            unsafe {
                let pairs = match count {
                    None => _mm512_loadu_si512(from.cast()),
                    Some(count) => _mm512_maskz_loadu_epi32(first(count) as __mmask16, from.cast()),
                };
                (_mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)), _mm512_castsi512_ps(pairs))
            }
        }
        #[inline(always)]
        fn less(self, a: __m512, b: __m512) -> __mmask16 {
            unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b) }
        }
        #[inline(always)]
        fn select(self, mask: __mmask16, yes: __m512, no: __m512) -> __m512 {
            unsafe { _mm512_mask_blend_ps(mask, no, yes) }
        }
        #[inline(always)]
        fn lookup(self, table: &[f32; 8], by: __m512) -> __m512 {
            // The eight entries stand twice in the register, so the fourth bit of an index does not matter.
            unsafe {
                let index = _mm512_srli_epi32::<22>(_mm512_castps_si512(by));
                _mm512_permutexvar_ps(index, _mm512_broadcast_f32x8(_mm256_loadu_ps(table.as_ptr())))
            }
        }
        const QUARTERS: bool = true;
        #[inline(always)]
        fn lookup_quarters<const N: usize>(self, rows: &[[f32; 16]; N], by: __m512) -> [__m512; N] {
            // vpermps looks at the low four bits of an index only.
            unsafe {
                let index = _mm512_srli_epi32::<21>(_mm512_castps_si512(by));
                let mut entries = [by; N];
                for (entry, row) in entries.iter_mut().zip(rows) {
                    *entry = _mm512_permutexvar_ps(index, _mm512_loadu_ps(row.as_ptr()));
                }
                entries
            }
        }
        #[inline(always)]
        fn power_of_two(self, v: __m512) -> __m512 {
            unsafe {
                let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(v), _mm512_set1_epi32(127));
                _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
            }
        }
        #[inline(always)]
        fn reduce_max(self, v: __m512) -> f32 {
            unsafe { _mm512_reduce_max_ps(v) }
        }
        #[inline(always)]
        fn sums(self, v: &[__m512; MAX_WIDTH]) -> __m512 {
            unsafe {
                // The halves of v[i] folded into the low half, those of v[i + 8] into the high half.
                let mut folded = [_mm512_setzero_ps(); 8];
                for (i, folded) in folded.iter_mut().enumerate() {
                    let (low, high) = (v[i], v[i + 8]);
                    *folded = _mm512_add_ps(
                        _mm512_shuffle_f32x4::<0x44>(low, high),
                        _mm512_shuffle_f32x4::<0xee>(low, high),
                    );
                }
                let low = pair_sums(
                    self,
                    pair_sums(self, folded[0], folded[1]),
                    pair_sums(self, folded[2], folded[3]),
                );
                let high = pair_sums(
                    self,
                    pair_sums(self, folded[4], folded[5]),
                    pair_sums(self, folded[6], folded[7]),
                );
                // Every quarter now holds four half sums; the other half stands in the next quarter.
                let sum = _mm512_add_ps(
                    _mm512_shuffle_f32x4::<0x88>(low, high),
                    _mm512_shuffle_f32x4::<0xdd>(low, high),
                );
                _mm512_shuffle_f32x4::<0xd8>(sum, sum)
            }
        }
    }
}

x86_lanes! {
    Avx512, avx512, "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl", opaque_512d, 12, 4, f64, __m512d, __mmask8, 8,
    _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd,
    _mm512_div_pd, _mm512_fmadd_pd, _mm512_min_pd, _mm512_max_pd, _mm512_and_pd, _mm512_andnot_pd, _mm512_or_pd,
    _mm512_sqrt_pd,
    {
        #[inline(always)]
        unsafe fn turn(self, from: *const f64, across: usize, to: *mut f64, width: usize) {
            unsafe { turn_doubles(self.into(), from, across, to, width) }
        }
        #[inline(always)]
        unsafe fn load_partial(self, from: *const f64, count: usize) -> __m512d {
            unsafe { _mm512_maskz_loadu_pd(first(count) as __mmask8, from) }
        }
        #[inline(always)]
        unsafe fn store_partial(self, to: *mut f64, v: __m512d, count: usize) {
            unsafe {
                let low = _mm512_castpd512_pd256(v);
                if count & 4 == 0 {
                    return store_doubles(self.into(), to, low, count);
                }
                _mm256_storeu_pd(to, low);
                store_doubles(self.into(), to.add(4), _mm512_extractf64x4_pd::<1>(v), count - 4);
            }
        }
        #[inline(always)]
        fn less(self, a: __m512d, b: __m512d) -> __mmask8 {
            unsafe { _mm512_cmp_pd_mask::<_CMP_LT_OQ>(a, b) }
        }
        #[inline(always)]
        fn select(self, mask: __mmask8, yes: __m512d, no: __m512d) -> __m512d {
            unsafe { _mm512_mask_blend_pd(mask, no, yes) }
        }
    }
}
