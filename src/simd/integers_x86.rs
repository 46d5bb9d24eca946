//! Integers on AVX2, and on AVX-512 with VNNI.

use super::integers::{IntState, Integers, Packed, last};
use super::{Avx2, Avx512, Routine};
#[cfg(target_arch = "x86")]
use core::arch::x86::*;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::*;
use core::sync::atomic::{AtomicU8, Ordering};

/// Proof that this processor has AVX-512 F, BW, DQ, VL and VNNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vnni(());

impl Vnni {
    /// The token, if a processor with AVX-512 has VNNI too.
    #[must_use]
    #[inline]
    pub fn detect(_: Avx512) -> Option<Self> {
        // Asked once: the question is slow in a virtual machine. 0 is not yet asked, 1 no, 2 yes.
        static KNOWN: AtomicU8 = AtomicU8::new(0);
        let known = match KNOWN.load(Ordering::Relaxed) {
            0 => {
                #[allow(unused_unsafe, reason = "unsafe for the oldest compiler only")]
                // SAFETY: a processor with AVX-512 has the instruction.
                let features = unsafe { __cpuid_count(7, 0) };
                let answer = 1 + (features.ecx >> 11 & 1) as u8;
                KNOWN.store(answer, Ordering::Relaxed);
                answer
            }
            known => known,
        };
        (known == 2).then_some(Self(()))
    }
}

/// Four states of 16 bits, which a state of either kind becomes.
#[inline(always)]
unsafe fn four<H: IntState>(states: *const H) -> i64 {
    if H::BITS < 8 {
        // SAFETY: the caller vouches for four states, here of a byte.
        let bytes = unsafe { states.cast::<u32>().read_unaligned() } ^ 0x8080_8080;
        let wide = |byte: u32| u64::from((bytes >> (8 * byte)) & 0xff) << (16 * byte);
        (wide(0) | wide(1) | wide(2) | wide(3)) as i64
    } else {
        // SAFETY: the caller vouches for four states, here of two bytes.
        unsafe { states.cast::<i64>().read_unaligned() }
    }
}

/// One state of 16 bits, and three zeros.
#[inline(always)]
unsafe fn single<H: IntState>(state: *const H) -> i64 {
    // SAFETY: the caller vouches for the state.
    let state: i32 = unsafe { state.read() }.into() + H::OFFSET;
    i64::from(state as u16)
}

/// The first `count` of 16 bits or all, of `N`.
#[inline(always)]
unsafe fn copied<T: Copy + Default, const N: usize>(from: *const T, count: usize) -> [T; N] {
    let mut array = [T::default(); N];
    for (i, a) in array.iter_mut().enumerate().take(count) {
        // SAFETY: the caller vouches for `count` of them.
        *a = unsafe { from.add(i).read() };
    }
    array
}

static FIRST: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// The first `count` of eight.
#[inline(always)]
fn first(_: Avx2, count: usize) -> __m256i {
    // SAFETY: eight words from 8 - count on lie in FIRST; the token proves AVX2.
    unsafe { _mm256_loadu_si256(FIRST.as_ptr().add(8 - count.min(8)).cast()) }
}

// SAFETY of every block: the token was made by `detect`, so the processor has the instructions; pointers are the caller's to vouch for.
#[allow(clippy::undocumented_unsafe_blocks, reason = "one reason for all of them stands above")]
impl Integers for Avx2 {
    const WIDTH: usize = 8;
    type Whole = __m256i;

    #[inline(always)]
    fn lane(self, a: __m256i, index: usize) -> i32 {
        let mut lanes = [0; 8];
        unsafe { self.store(lanes.as_mut_ptr(), a, None) };
        lanes.get(index).copied().unwrap_or_default()
    }
    #[inline(always)]
    fn splat(self, x: i32) -> __m256i {
        unsafe { _mm256_set1_epi32(x) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const i32, count: Option<usize>) -> __m256i {
        match count {
            None => unsafe { _mm256_loadu_si256(from.cast()) },
            Some(count) => unsafe { _mm256_maskload_epi32(from, first(self, count)) },
        }
    }
    #[inline(always)]
    unsafe fn load_16(self, from: *const i16, count: Option<usize>) -> __m256i {
        unsafe {
            let array: [i16; 8] = match count {
                None => from.cast::<[i16; 8]>().read_unaligned(),
                Some(count) => copied(from, count),
            };
            _mm256_cvtepi16_epi32(_mm_loadu_si128(array.as_ptr().cast()))
        }
    }
    #[inline(always)]
    unsafe fn load_8(self, from: *const i8, count: Option<usize>) -> __m256i {
        unsafe {
            let array: [i8; 8] = match count {
                None => from.cast::<[i8; 8]>().read_unaligned(),
                Some(count) => copied(from, count),
            };
            _mm256_cvtepi8_epi32(_mm_loadl_epi64(array.as_ptr().cast()))
        }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i32, v: __m256i, count: Option<usize>) {
        match count {
            None => unsafe { _mm256_storeu_si256(to.cast(), v) },
            Some(count) => unsafe { _mm256_maskstore_epi32(to, first(self, count), v) },
        }
    }
    #[inline(always)]
    unsafe fn store_16(self, to: *mut i16, v: __m256i, count: Option<usize>) {
        unsafe {
            let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packs_epi32(v, v));
            let packed = _mm256_castsi256_si128(packed);
            match count {
                None => _mm_storeu_si128(to.cast(), packed),
                Some(count) => {
                    let mut array = [0_i16; 8];
                    _mm_storeu_si128(array.as_mut_ptr().cast(), packed);
                    core::ptr::copy_nonoverlapping(array.as_ptr(), to, count.min(8));
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn store_8(self, to: *mut i8, v: __m256i, count: Option<usize>) {
        unsafe {
            let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packs_epi32(v, v));
            let packed = _mm256_castsi256_si128(packed);
            let bytes = _mm_packs_epi16(packed, packed);
            let mut array = [0_i8; 16];
            match count {
                None => _mm_storel_epi64(to.cast(), bytes),
                Some(count) => {
                    _mm_storeu_si128(array.as_mut_ptr().cast(), bytes);
                    core::ptr::copy_nonoverlapping(array.as_ptr(), to, count.min(8));
                }
            }
        }
    }
    #[inline(always)]
    fn plus(self, a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(a, b) }
    }
    #[inline(always)]
    fn minus(self, a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_sub_epi32(a, b) }
    }
    #[inline(always)]
    fn least(self, a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_min_epi32(a, b) }
    }
    #[inline(always)]
    fn most(self, a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_max_epi32(a, b) }
    }
    #[inline(always)]
    fn magnitude(self, a: __m256i) -> __m256i {
        unsafe { _mm256_abs_epi32(a) }
    }
    #[inline(always)]
    fn signed(self, a: __m256i, sign: __m256i) -> __m256i {
        // Not vpsignd, for which a sign of zero is a zero.
        unsafe {
            let negative = _mm256_srai_epi32::<31>(sign);
            _mm256_sub_epi32(_mm256_xor_si256(a, negative), negative)
        }
    }
    #[inline(always)]
    fn shift(self, a: __m256i, by: u32) -> __m256i {
        unsafe { _mm256_sra_epi32(a, _mm_cvtsi32_si128(by as i32)) }
    }
    #[inline(always)]
    fn shift_each(self, a: __m256i, by: __m256i) -> __m256i {
        unsafe { _mm256_srav_epi32(a, by) }
    }
    #[inline(always)]
    fn high_product(self, a: __m256i, f: __m256i) -> __m256i {
        // The upper half of a, signed, times f; and the upper half of its lower half, unsigned, times f.
        unsafe {
            let upper = _mm256_madd_epi16(a, _mm256_slli_epi32::<16>(f));
            _mm256_add_epi32(upper, _mm256_mulhi_epu16(a, f))
        }
    }
    #[inline(always)]
    fn between<H: IntState>(self, digits: u32, at: __m256i) -> __m256i {
        let (table, segment) = (H::TABLE, H::SEGMENT);
        unsafe {
            // Two entries in one word. The least of unsigned numbers: whatever `at` is, they lie in the table.
            let at = _mm256_min_epu32(at, _mm256_set1_epi32(last(table, segment)));
            let index = _mm256_srl_epi32(at, _mm_cvtsi32_si128(segment as i32));
            let rest = _mm256_and_si256(at, _mm256_set1_epi32((1 << segment) - 1));
            let pairs = _mm256_i32gather_epi32::<2>(table.as_ptr().cast(), index);
            let from = _mm256_set1_epi32(1 << segment);
            let weights = _mm256_or_si256(_mm256_sub_epi32(from, rest), _mm256_slli_epi32::<16>(rest));
            let half = _mm256_set1_epi32(1 << (segment + digits - 1));
            let sum = _mm256_add_epi32(_mm256_madd_epi16(pairs, weights), half);
            _mm256_srl_epi32(sum, _mm_cvtsi32_si128((segment + digits) as i32))
        }
    }
    #[inline(always)]
    fn first_of(self, a: __m256i, count: usize) -> __m256i {
        unsafe { _mm256_and_si256(a, first(self, count)) }
    }
    #[inline(always)]
    fn largest(self, a: __m256i) -> i32 {
        unsafe {
            let a = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
            let a = _mm_max_epi32(a, _mm_shuffle_epi32::<0b1110>(a));
            _mm_cvtsi128_si32(_mm_max_epi32(a, _mm_shuffle_epi32::<1>(a)))
        }
    }
    #[inline(always)]
    fn enter<R: Routine<Self>>(self, routine: R) -> R::Output {
        #[target_feature(enable = "avx2,fma")]
        #[inline(never)]
        fn shell<R: Routine<Avx2>>(lanes: Avx2, routine: R) -> R::Output {
            routine.run(lanes)
        }
        unsafe { shell(self, routine) }
    }
}

// SAFETY: as above.
#[allow(clippy::undocumented_unsafe_blocks, reason = "one reason for all of them stands above")]
impl<H: IntState> Packed<i8, H> for Avx2 {
    const ROWS: usize = 8;
    const GROUP: usize = 4;
    const VECTORS: usize = 4;
    /// Two sums a row, of two columns each; four rows in each half.
    type Sum = [__m256i; 2];
    type Vector = __m256i;
    type Spread = __m256i;

    #[inline(always)]
    fn none(self) -> [__m256i; 2] {
        [Integers::splat(self, 0); 2]
    }
    #[inline(always)]
    unsafe fn spread(self, states: *const H) -> __m256i {
        unsafe {
            if H::BITS < 8 {
                let bytes = _mm_cvtsi32_si128(states.cast::<i32>().read_unaligned() ^ 0x8080_8080_u32 as i32);
                _mm256_broadcastq_epi64(_mm_cvtepu8_epi16(bytes))
            } else {
                _mm256_set1_epi64x(four(states))
            }
        }
    }
    #[inline(always)]
    unsafe fn spread_one(self, state: *const H) -> __m256i {
        unsafe { _mm256_set1_epi64x(single(state)) }
    }
    #[inline(always)]
    unsafe fn add(
        self,
        sum: [__m256i; 2],
        weights: *const i8,
        count: Option<usize>,
        states: __m256i,
    ) -> [__m256i; 2] {
        unsafe {
            let (low, high) = match count {
                None => (_mm_loadu_si128(weights.cast()), _mm_loadu_si128(weights.add(16).cast())),
                Some(count) => {
                    let all = _mm256_maskload_epi32(weights.cast(), first(self, count));
                    (_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all))
                }
            };
            let product = |weights| _mm256_madd_epi16(_mm256_cvtepi8_epi16(weights), states);
            [_mm256_add_epi32(sum[0], product(low)), _mm256_add_epi32(sum[1], product(high))]
        }
    }
    #[inline(always)]
    unsafe fn add_one(
        self,
        sum: [__m256i; 2],
        weights: *const i8,
        count: Option<usize>,
        state: __m256i,
    ) -> [__m256i; 2] {
        unsafe {
            let eight: [i8; 8] = match count {
                None => weights.cast::<[i8; 8]>().read_unaligned(),
                Some(count) => copied(weights, count),
            };
            let eight = _mm_loadl_epi64(eight.as_ptr().cast());
            // A weight, its sign, and a state with three zeros.
            let product = |weights| _mm256_madd_epi16(_mm256_cvtepi8_epi64(weights), state);
            let high = _mm_srli_si128::<4>(eight);
            [_mm256_add_epi32(sum[0], product(eight)), _mm256_add_epi32(sum[1], product(high))]
        }
    }
    #[inline(always)]
    fn both(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        [self.plus(a[0], b[0]), self.plus(a[1], b[1])]
    }
    #[inline(always)]
    fn total(self, sum: [__m256i; 2]) -> __m256i {
        // Rows 0 1 4 5 and 2 3 6 7, put in order.
        unsafe { _mm256_permute4x64_epi64::<0b1101_1000>(_mm256_hadd_epi32(sum[0], sum[1])) }
    }
}

/// The first `count` of 16, or all.
#[inline(always)]
const fn mask(count: Option<usize>) -> __mmask16 {
    match count {
        None => !0,
        Some(count) => ((1_u32 << count) - 1) as __mmask16,
    }
}

// SAFETY: as above.
#[allow(clippy::undocumented_unsafe_blocks, reason = "one reason for all of them stands above")]
impl Integers for Vnni {
    const WIDTH: usize = 16;
    type Whole = __m512i;

    #[inline(always)]
    fn lane(self, a: __m512i, index: usize) -> i32 {
        let mut lanes = [0; 16];
        unsafe { self.store(lanes.as_mut_ptr(), a, None) };
        lanes.get(index).copied().unwrap_or_default()
    }
    #[inline(always)]
    fn splat(self, x: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const i32, count: Option<usize>) -> __m512i {
        unsafe { _mm512_maskz_loadu_epi32(mask(count), from) }
    }
    #[inline(always)]
    unsafe fn load_16(self, from: *const i16, count: Option<usize>) -> __m512i {
        unsafe { _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(mask(count), from)) }
    }
    #[inline(always)]
    unsafe fn load_8(self, from: *const i8, count: Option<usize>) -> __m512i {
        unsafe { _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask(count), from)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i32, v: __m512i, count: Option<usize>) {
        unsafe { _mm512_mask_storeu_epi32(to, mask(count), v) }
    }
    #[inline(always)]
    unsafe fn store_16(self, to: *mut i16, v: __m512i, count: Option<usize>) {
        // One instruction that narrows and stores: of a masked store of what was narrowed before, with a mask known while compiling of
        // which one lane is set, LLVM makes a store of 32 bits (LLVM issue 179489).
        unsafe { _mm512_mask_cvtepi32_storeu_epi16(to, mask(count), v) }
    }
    #[inline(always)]
    unsafe fn store_8(self, to: *mut i8, v: __m512i, count: Option<usize>) {
        // As above.
        unsafe { _mm512_mask_cvtepi32_storeu_epi8(to, mask(count), v) }
    }
    #[inline(always)]
    fn plus(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    fn minus(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_sub_epi32(a, b) }
    }
    #[inline(always)]
    fn least(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_min_epi32(a, b) }
    }
    #[inline(always)]
    fn most(self, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_max_epi32(a, b) }
    }
    #[inline(always)]
    fn magnitude(self, a: __m512i) -> __m512i {
        unsafe { _mm512_abs_epi32(a) }
    }
    #[inline(always)]
    fn signed(self, a: __m512i, sign: __m512i) -> __m512i {
        unsafe { _mm512_mask_sub_epi32(a, _mm512_movepi32_mask(sign), _mm512_setzero_si512(), a) }
    }
    #[inline(always)]
    fn shift(self, a: __m512i, by: u32) -> __m512i {
        unsafe { _mm512_sra_epi32(a, _mm_cvtsi32_si128(by as i32)) }
    }
    #[inline(always)]
    fn shift_each(self, a: __m512i, by: __m512i) -> __m512i {
        unsafe { _mm512_srav_epi32(a, by) }
    }
    #[inline(always)]
    fn high_product(self, a: __m512i, f: __m512i) -> __m512i {
        // As on AVX2.
        unsafe {
            let upper = _mm512_madd_epi16(a, _mm512_slli_epi32::<16>(f));
            _mm512_add_epi32(upper, _mm512_mulhi_epu16(a, f))
        }
    }
    #[inline(always)]
    fn between<H: IntState>(self, digits: u32, at: __m512i) -> __m512i {
        let (table, segment) = (H::TABLE, H::SEGMENT);
        unsafe {
            // As on AVX2.
            let one = _mm512_set1_epi32(1 << segment);
            let at = _mm512_min_epu32(at, _mm512_set1_epi32(last(table, segment)));
            let (pairs, weights) = if table.len() == 64 {
                // In both halves of a word, the second for the next entry: by permutation of two registers.
                let both = _mm512_or_si512(at, _mm512_slli_epi32::<16>(at));
                let next = _mm512_add_epi32(both, _mm512_set1_epi32(1 << (segment + 16)));
                let index = _mm512_srl_epi16(next, _mm_cvtsi32_si128(segment as i32));
                let rest = _mm512_and_si512(both, _mm512_set1_epi16((1 << segment) - 1));
                let (low, high) = (table.as_ptr(), table.as_ptr().add(32));
                let pairs =
                    _mm512_permutex2var_epi16(_mm512_loadu_epi16(low), index, _mm512_loadu_epi16(high));
                (pairs, _mm512_mask_sub_epi16(rest, 0x5555_5555, one, rest))
            } else {
                let index = _mm512_srl_epi32(at, _mm_cvtsi32_si128(segment as i32));
                let rest = _mm512_and_si512(at, _mm512_set1_epi32((1 << segment) - 1));
                let pairs = _mm512_i32gather_epi32::<2>(index, table.as_ptr().cast());
                (pairs, _mm512_or_si512(_mm512_sub_epi32(one, rest), _mm512_slli_epi32::<16>(rest)))
            };
            let half = _mm512_set1_epi32(1 << (segment + digits - 1));
            let sum = _mm512_add_epi32(_mm512_madd_epi16(pairs, weights), half);
            _mm512_srl_epi32(sum, _mm_cvtsi32_si128((segment + digits) as i32))
        }
    }
    #[inline(always)]
    fn first_of(self, a: __m512i, count: usize) -> __m512i {
        unsafe { _mm512_maskz_mov_epi32(mask(Some(count)), a) }
    }
    #[inline(always)]
    fn largest(self, a: __m512i) -> i32 {
        unsafe { _mm512_reduce_max_epi32(a) }
    }
    #[inline(always)]
    fn enter<R: Routine<Self>>(self, routine: R) -> R::Output {
        #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        #[inline(never)]
        fn shell<R: Routine<Vnni>>(lanes: Vnni, routine: R) -> R::Output {
            routine.run(lanes)
        }
        unsafe { shell(self, routine) }
    }
}

// SAFETY: as above.
#[allow(clippy::undocumented_unsafe_blocks, reason = "one reason for all of them stands above")]
impl Packed<i8, i8> for Vnni {
    const ROWS: usize = 16;
    const GROUP: usize = 4;
    const VECTORS: usize = 8;
    type Sum = __m512i;
    type Vector = __m512i;
    type Spread = __m512i;

    #[inline(always)]
    fn none(self) -> __m512i {
        Integers::splat(self, 0)
    }
    #[inline(always)]
    unsafe fn spread(self, states: *const i8) -> __m512i {
        unsafe {
            let four = _mm512_set1_epi32(states.cast::<i32>().read_unaligned());
            _mm512_xor_si512(four, _mm512_set1_epi8(-128))
        }
    }
    #[inline(always)]
    unsafe fn spread_one(self, state: *const i8) -> __m512i {
        unsafe { _mm512_set1_epi32(i32::from(state.read() as u8 ^ 0x80)) }
    }
    #[inline(always)]
    unsafe fn add(self, sum: __m512i, weights: *const i8, count: Option<usize>, states: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sum, states, _mm512_maskz_loadu_epi32(mask(count), weights.cast())) }
    }
    #[inline(always)]
    unsafe fn add_one(
        self,
        sum: __m512i,
        weights: *const i8,
        count: Option<usize>,
        state: __m512i,
    ) -> __m512i {
        unsafe {
            let weights = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask(count), weights));
            _mm512_dpbusd_epi32(sum, state, weights)
        }
    }
    #[inline(always)]
    fn both(self, a: __m512i, b: __m512i) -> __m512i {
        self.plus(a, b)
    }
    #[inline(always)]
    fn total(self, sum: __m512i) -> __m512i {
        sum
    }
}

// SAFETY: as above.
#[allow(clippy::undocumented_unsafe_blocks, reason = "one reason for all of them stands above")]
impl Packed<i8, i16> for Vnni {
    const ROWS: usize = 16;
    const GROUP: usize = 4;
    const VECTORS: usize = 8;
    /// Two sums a row, of two columns each; eight rows in each half.
    type Sum = [__m512i; 2];
    type Vector = __m512i;
    type Spread = __m512i;

    #[inline(always)]
    fn none(self) -> [__m512i; 2] {
        [Integers::splat(self, 0); 2]
    }
    #[inline(always)]
    unsafe fn spread(self, states: *const i16) -> __m512i {
        unsafe { _mm512_set1_epi64(four(states)) }
    }
    #[inline(always)]
    unsafe fn spread_one(self, state: *const i16) -> __m512i {
        unsafe { _mm512_set1_epi64(single(state)) }
    }
    #[inline(always)]
    unsafe fn add(
        self,
        sum: [__m512i; 2],
        weights: *const i8,
        count: Option<usize>,
        states: __m512i,
    ) -> [__m512i; 2] {
        unsafe {
            let rows = _mm512_maskz_loadu_epi32(mask(count), weights.cast());
            let (low, high) = (_mm512_castsi512_si256(rows), _mm512_extracti64x4_epi64::<1>(rows));
            [
                _mm512_dpwssd_epi32(sum[0], _mm512_cvtepi8_epi16(low), states),
                _mm512_dpwssd_epi32(sum[1], _mm512_cvtepi8_epi16(high), states),
            ]
        }
    }
    #[inline(always)]
    unsafe fn add_one(
        self,
        sum: [__m512i; 2],
        weights: *const i8,
        count: Option<usize>,
        state: __m512i,
    ) -> [__m512i; 2] {
        unsafe {
            let rows = _mm_maskz_loadu_epi8(mask(count), weights);
            let high = _mm_srli_si128::<8>(rows);
            [
                _mm512_dpwssd_epi32(sum[0], _mm512_cvtepi8_epi64(rows), state),
                _mm512_dpwssd_epi32(sum[1], _mm512_cvtepi8_epi64(high), state),
            ]
        }
    }
    #[inline(always)]
    fn both(self, a: [__m512i; 2], b: [__m512i; 2]) -> [__m512i; 2] {
        [self.plus(a[0], b[0]), self.plus(a[1], b[1])]
    }
    #[inline(always)]
    fn total(self, sum: [__m512i; 2]) -> __m512i {
        unsafe {
            let even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
            let odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
            _mm512_add_epi32(
                _mm512_permutex2var_epi32(sum[0], even, sum[1]),
                _mm512_permutex2var_epi32(sum[0], odd, sum[1]),
            )
        }
    }
}
