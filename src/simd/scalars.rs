//! Vectors of plain scalars, for processors without any: four scalars, and one.
//!
//! Every operation is written out lane by lane, because a compiler that optimizes for size leaves loops as they are, and
//! registers cannot be indexed. Where there are vectors after all (Helium), the compiler makes them of this.

use super::{Blocking, Element, Lanes, MAX_WIDTH, Portable, Routine};

/// One scalar. For what small processors do one unit at a time: activations, whose code is long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct One;

macro_rules! scalars {
    ($token:ident, $scalar:ty, $width:literal, $sqrt:path, [$($lane:tt)*]) => {
        impl Lanes<$scalar> for $token {
            type Vector = [$scalar; $width];
            type Mask = [bool; $width];
            type Narrow = One;
            const WIDTH: usize = $width;
            const BLOCKING: Blocking = Blocking {
                rows: 4,
                outlined: true,
                split: false,
                tile_vectors: 1,
                tile_columns: 4,
                tall_vectors: 1,
                tall_columns: 4,
            };

            #[inline(always)]
            fn narrow(self) -> One {
                One
            }
            #[inline(always)]
            fn splat(self, x: $scalar) -> Self::Vector {
                [x; $width]
            }
            #[inline(always)]
            fn first(self, x: $scalar) -> Self::Vector {
                [$(if $lane == 0 { x } else { 0.0 }),*]
            }
            #[inline(always)]
            unsafe fn load(self, from: *const $scalar) -> Self::Vector {
                // SAFETY: the caller vouches for WIDTH readable scalars.
                unsafe { [$(*from.add($lane)),*] }
            }
            #[inline(always)]
            unsafe fn load_partial(self, from: *const $scalar, count: usize) -> Self::Vector {
                // SAFETY: the caller vouches for `count` readable scalars.
                unsafe { [$(if $lane < count { *from.add($lane) } else { 0.0 }),*] }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $scalar, v: Self::Vector) {
                // SAFETY: the caller vouches for WIDTH writable scalars.
                unsafe { $(*to.add($lane) = v[$lane];)* }
            }
            #[inline(always)]
            unsafe fn store_partial(self, to: *mut $scalar, v: Self::Vector, count: usize) {
                // SAFETY: the caller vouches for `count` writable scalars.
                unsafe { $(if $lane < count { *to.add($lane) = v[$lane] })* }
            }
            #[inline(always)]
            fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
                [$(a[$lane] + b[$lane]),*]
            }
            #[inline(always)]
            fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
                [$(a[$lane] - b[$lane]),*]
            }
            #[inline(always)]
            fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
                [$(a[$lane] * b[$lane]),*]
            }
            #[inline(always)]
            fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
                [$(a[$lane] / b[$lane]),*]
            }
            #[inline(always)]
            fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
                // Two roundings on purpose, so that the bits do not depend on the processor.
                [$(a[$lane] * b[$lane] + c[$lane]),*]
            }
            #[inline(always)]
            fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
                [$(if a[$lane] < b[$lane] { a[$lane] } else { b[$lane] }),*]
            }
            #[inline(always)]
            fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
                [$(if b[$lane] < a[$lane] { a[$lane] } else { b[$lane] }),*]
            }
            #[inline(always)]
            fn sqrt(self, a: Self::Vector) -> Self::Vector {
                [$($sqrt(a[$lane])),*]
            }
            #[inline(always)]
            fn abs(self, a: Self::Vector) -> Self::Vector {
                [$(a[$lane].abs()),*]
            }
            #[inline(always)]
            fn copy_sign(self, magnitude: Self::Vector, sign: Self::Vector) -> Self::Vector {
                [$(magnitude[$lane].copysign(sign[$lane])),*]
            }
            #[inline(always)]
            fn less(self, a: Self::Vector, b: Self::Vector) -> Self::Mask {
                [$(a[$lane] < b[$lane]),*]
            }
            #[inline(always)]
            fn select(self, mask: Self::Mask, yes: Self::Vector, no: Self::Vector) -> Self::Vector {
                [$(if mask[$lane] { yes[$lane] } else { no[$lane] }),*]
            }
            #[inline(always)]
            fn map(self, v: Self::Vector, f: impl Fn($scalar) -> $scalar) -> Self::Vector {
                [$(f(v[$lane])),*]
            }
            #[inline(always)]
            fn lookup_all<const N: usize>(
                self,
                _: &'static [[$scalar; 8]; N],
                columns: &'static [[$scalar; N]; 8],
                by: Self::Vector,
            ) -> [Self::Vector; N] {
                // The mask is what the compiler needs to see that the index fits.
                let columns = [$(&columns[by[$lane].half_octave() & 7]),*];
                core::array::from_fn(|row| [$(columns[$lane][row]),*])
            }
            #[inline(always)]
            fn reduce_max(self, v: Self::Vector) -> $scalar {
                let [largest, ..] = v;
                $(let largest = if v[$lane] > largest { v[$lane] } else { largest };)*
                largest
            }
            #[inline(always)]
            fn reduce_add(self, v: Self::Vector) -> $scalar {
                match v[..] {
                    [a, b, c, d] => (a + c) + (b + d),
                    [a, b] => a + b,
                    _ => v[0],
                }
            }
            #[inline(always)]
            fn sums(self, v: &[Self::Vector; MAX_WIDTH]) -> Self::Vector {
                [$(Lanes::<$scalar>::reduce_add(self, v[$lane])),*]
            }
            #[inline(always)]
            fn vectorize<R: Routine<Self>>(self, routine: R) -> R::Output {
                #[inline(never)]
                fn shell<R: Routine<$token>>(routine: R) -> R::Output {
                    routine.run($token)
                }
                shell(routine)
            }
        }
    };
}

scalars!(Portable, f32, 4, libm::sqrtf, [0 1 2 3]);
scalars!(Portable, f64, 2, libm::sqrt, [0 1]);
scalars!(One, f32, 1, libm::sqrtf, [0]);
scalars!(One, f64, 1, libm::sqrt, [0]);
