//! Products of rounded weights with one vector of floating-point numbers: of 8 bits with a scale a row, and of 16 bits.

use super::packed::{EachSums, PackedMatrix, PackedProduct, packed, place};
use super::{ShapeError, compiled_here, expect, load, store};
use crate::simd::{Backend, Bf16, Element, IntState, Integers, Lanes, OnIntegers, Operation, Packed};

/// Numbers that are rounded to 16 bits at a time, of one step: a multiple of every group. Products of so many with weights of 8 bits fit into 31 bits.
const TOGETHER: usize = 256;

/// Where a weight of 8 bits lies in a matrix of [`affine_i8`].
///
/// ```
/// use attractor::kernel::place_i8;
/// // 2 rows, 5 columns: four columns of either row, then the last column.
/// assert_eq!([place_i8(2, 5, 0, 3), place_i8(2, 5, 1, 0), place_i8(2, 5, 0, 4), place_i8(2, 5, 1, 4)], [3, 4, 8, 9]);
/// ```
#[must_use]
pub const fn place_i8(rows: usize, columns: usize, row: usize, column: usize) -> usize {
    place(4, rows, columns, row, column)
}

/// Where a weight of 16 bits lies in a matrix of [`affine_bf16`]. Columns 2 i and 2 i + 1 are a [pair](Bf16::pair), and lie side by side; the last one of an odd
/// number is alone, the nearest number.
#[must_use]
pub const fn place_bf16(rows: usize, columns: usize, row: usize, column: usize) -> usize {
    place(2, rows, columns, row, column)
}

compiled_here! {
    /// out = base + S W x, for weights W of 8 bits, S being a scale a row.
    ///
    /// `weights` are as many as rows times columns, in the order of [`place_i8`]; there is a scale for every entry of `out`; without a base it is 0. The numbers of x
    /// are rounded to 16 bits, 256 at a time by the step that their largest has, and products are summed up as integers: the bits are the same on all
    /// backends and processors. Where a number of x is infinite or a NaN, all sums are NaN.
    ///
    /// # Errors
    /// [`ShapeError`] if the shapes do not fit; nothing is changed then.
    ///
    /// ```
    /// use attractor::{kernel::affine_i8, simd::Backend};
    /// let mut out = [0.0; 2];
    /// affine_i8(Backend::best(), Some(&[1.0, 0.0]), &[1, 2, 3, 4, -1, -1, -1, -1], &[0.5, 0.25], &[1.0, 0.0, -1.0, 0.5], &mut out)?;
    /// let right = [1.0, -0.125]; // 1 + (1 - 3 + 2) / 2, (-1 + 1 - 0.5) / 4
    /// assert!(out.iter().zip(right).all(|(out, right)| (out - right).abs() < 1e-4));
    /// # Ok::<(), attractor::kernel::ShapeError>(())
    /// ```
    pub fn affine_i8(
        backend: Backend,
        base: Option<&[f32]>,
        weights: &[i8],
        scales: &[f32],
        x: &[f32],
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        let rows = out.len();
        // A product that overflows is no number of weights.
        expect("weights", rows.saturating_mul(x.len()), weights.len())?;
        expect("scales", rows, scales.len())?;
        begin(base, out)?;
        let mut states = [0_i16; TOGETHER];
        let mut rest = weights;
        for x in x.chunks(TOGETHER) {
            let (some, others) = rest.split_at_checked(rows * x.len()).unwrap_or_default();
            rest = others;
            let states = states.get_mut(..x.len()).unwrap_or_default();
            let step = round(x, states);
            let product = (PackedMatrix::new(some, rows, x.len())?, &*states);
            i16::run(backend, Scaled { product, scales, step, out })?;
        }
        Ok(())
    }
}

compiled_here! {
    /// out = base + W x, for weights W of 16 bits.
    ///
    /// `weights` are as many as rows times columns, in the order of [`place_bf16`]; without a base it is 0.
    ///
    /// # Errors
    /// [`ShapeError`] if the shapes do not fit; nothing is changed then.
    ///
    /// ```
    /// use attractor::{kernel::affine_bf16, simd::{Backend, Bf16}};
    /// let [a, b] = Bf16::pair(0.5, -1.0);
    /// let mut out = [0.0];
    /// affine_bf16(Backend::best(), None, &[a, b], &[2.0, 0.25], &mut out)?;
    /// assert!((out[0] - 0.75_f32).abs() < 0.01);
    /// # Ok::<(), attractor::kernel::ShapeError>(())
    /// ```
    pub fn affine_bf16(
        backend: Backend,
        base: Option<&[f32]>,
        weights: &[Bf16],
        x: &[f32],
        out: &mut [f32],
    ) -> Result<(), ShapeError> {
        let matrix = PackedMatrix::new(weights, out.len(), x.len())?;
        begin(base, out)?;
        f32::run(backend, Halves { product: (matrix, x), out })
    }
}

/// Writes what sums are added to.
#[inline]
fn begin(base: Option<&[f32]>, out: &mut [f32]) -> Result<(), ShapeError> {
    match base {
        Some(base) => {
            expect("base", out.len(), base.len())?;
            out.copy_from_slice(base);
        }
        None => out.fill(0.0),
    }
    Ok(())
}

/// Rounds numbers to multiples of a step, which it returns: NaN, and with it all products, if one of them is infinite or a NaN.
#[inline]
fn round(x: &[f32], to: &mut [i16]) -> f32 {
    const MOST: f32 = i16::MAX as f32;
    /// Added to a number of less than 2^22, it leaves the nearest integer in the last digits.
    const SHIFT: f32 = (3_u32 << 22) as f32;
    /// Below it numbers are taken for multiples of its own step: the inverse of theirs would be infinite.
    const LEAST: f32 = 1e-30;
    // Magnitudes have the order of their bits, infinities and NaNs above all others.
    let largest = x.iter().map(|x| x.to_bits() & !(1 << 31)).max().map_or(0.0, f32::from_bits);
    if !largest.is_finite() {
        return f32::NAN;
    }
    let largest = if largest > LEAST { largest } else { LEAST };
    let inverse = MOST / largest;
    for (to, x) in to.iter_mut().zip(x) {
        *to = (x * inverse + SHIFT).to_bits() as i16;
    }
    largest / MOST
}

/// out += step S W states.
struct Scaled<'a> {
    product: PackedProduct<'a, i8, i16>,
    scales: &'a [f32],
    step: f32,
    out: &'a mut [f32],
}

impl OnIntegers<i16> for Scaled<'_> {
    type Output = Result<(), ShapeError>;
    #[inline(always)]
    fn run<L>(self, lanes: L) -> Self::Output
    where
        L: Integers + Packed<i8, i16, Vector = <L as Integers>::Whole>,
    {
        let Self { product, scales, step, out } = self;
        expect("scales", out.len(), scales.len())?;
        packed(lanes, [None, Some(product)], out.len(), &mut EachScaled { lanes, scales, step, out })
    }
}

struct EachScaled<'a, L> {
    lanes: L,
    scales: &'a [f32],
    step: f32,
    out: &'a mut [f32],
}

impl<L: Integers> EachSums<L::Whole> for EachScaled<'_, L> {
    #[inline(always)]
    unsafe fn sums(&mut self, row: usize, count: Option<usize>, sums: L::Whole) {
        const MOST: usize = 16;
        const { assert!(L::WIDTH <= MOST) };
        let mut some = [0_i32; MOST];
        // SAFETY: a vector has room there.
        unsafe { self.lanes.store(some.as_mut_ptr(), sums, count) };
        let rows = count.unwrap_or(L::WIDTH);
        // SAFETY: the caller vouches for the rows, and there is a scale and a place for each.
        let (out, scales) = unsafe {
            (
                core::slice::from_raw_parts_mut(self.out.as_mut_ptr().add(row), rows),
                core::slice::from_raw_parts(self.scales.as_ptr().add(row), rows),
            )
        };
        for ((out, scale), sum) in out.iter_mut().zip(scales).zip(some) {
            *out += (self.step * scale) * sum as f32;
        }
    }
}

/// out += W x.
struct Halves<'a> {
    product: PackedProduct<'a, Bf16, f32>,
    out: &'a mut [f32],
}

impl Operation<f32> for Halves<'_> {
    type Output = Result<(), ShapeError>;
    #[inline(always)]
    fn run<L: Lanes<f32>>(self, lanes: L) -> Self::Output {
        let Self { product, out } = self;
        packed(lanes, [None, Some(product)], out.len(), &mut Added { lanes, out })
    }
}

struct Added<'a, L> {
    lanes: L,
    out: &'a mut [f32],
}

impl<L: Lanes<f32>> EachSums<L::Vector> for Added<'_, L> {
    #[inline(always)]
    unsafe fn sums(&mut self, row: usize, count: Option<usize>, sums: L::Vector) {
        // SAFETY: the caller vouches for the rows.
        unsafe {
            let out = self.out.as_mut_ptr().add(row);
            let before = load(self.lanes, out.cast_const(), count);
            store(self.lanes, out, self.lanes.add(before, sums), count);
        }
    }
}
