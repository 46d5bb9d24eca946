//! The arithmetic, written once over [`Lanes`]: fused layers, transposed products,
//! outer-product updates, activations, softmax; layer normalisation, attention and steps of Adam for transformers.
//!
//! Other numeric crates can call these directly. They take column-major views checked by their shapes, work for
//! every width and every number of samples, allocate nothing and do not panic.
//!
//! ```
//! use attractor::kernel::{self, Base, Product, Tanh};
//! use attractor::simd::Backend;
//! use nalgebra::{matrix, SMatrix};
//!
//! let weights = matrix![0.5_f32, -1.0, 0.25; 2.0, 0.0, 1.0]; // 2 outputs x 3 inputs
//! let inputs = matrix![1.0_f32, 2.0, 3.0];                   // 1 sample x 3 inputs
//! let mut outputs = SMatrix::<f32, 1, 2>::zeros();           // 1 sample x 2 outputs
//! let product = Product { matrix: (&weights).into(), operand: (&inputs).into() };
//! let change =
//!     kernel::layer::<_, Tanh>(Backend::best(), Base::Bias(&[0.5, -5.0]), &[product], (&mut outputs).into())?;
//! assert!((outputs[0] - (-0.25_f32).tanh()).abs() < 1e-6);
//! assert!((outputs[1] - 0.0).abs() < 1e-6);
//! assert_eq!(change.residual, outputs[0].abs());
//! # Ok::<(), kernel::ShapeError>(())
//! ```

mod activation;
#[cfg(all(feature = "helium", target_arch = "arm", target_abi = "eabihf"))]
#[path = "helium.rs"]
mod assembly;
#[cfg(all(feature = "asm", not(feature = "helium"), target_arch = "arm", target_abi = "eabihf"))]
mod assembly;
mod attention;
mod batch;
mod change;
mod comparison;
#[cfg_attr(
    not(all(
        any(target_feature = "sse2", target_feature = "neon", target_feature = "simd128"),
        not(attractor_scalars)
    )),
    allow(dead_code, reason = "activations are types where the scalars have no vectors")
)]
mod ends;
mod finish;
mod fused;
mod multiply;
mod normalize;
mod once;
mod outer;
mod outlined;
mod packed;
mod pairs;
mod plan;
mod products;
mod rounded;
mod scratch;
mod single;
mod softmax;
mod tanh_table;
mod tile;
mod update;
mod view;

// With all activations there are.
pub use activation::*;
#[cfg(feature = "alloc")]
pub(crate) use activation::{WithActivation, with_activation};
pub use attention::{Mask, attend, attend_back, attention_room};
pub(crate) use change::{CHUNK, Change, Changes, largest, scales};
pub use comparison::{add_magnitudes, add_magnitudes_transposed, weighted_distance, weighted_norm};
#[doc(hidden)]
pub use ends::Functions;
use ends::Through;
#[cfg(feature = "rand_core")]
pub(crate) use ends::gain;
pub(crate) use ends::{Activations, Chosen, Codes, End, Ends, Facts, Typed};
use finish::Keep;
pub(crate) use finish::{Activate, Backpropagate, Finish};
use fused::one;
pub(crate) use fused::{fused, fused_outlined};
pub use multiply::{Factors, Start, multiply, multiply_room};
pub use normalize::{normalize, normalize_back};
#[doc(hidden)]
pub use once::Once;
pub(crate) use once::{compiled_here, once};
pub(crate) use outer::{Outer, OuterOutlined, SideBySide, column_sums};
pub(crate) use packed::{HalfBase, HalfLayer, IntegerLayer, PackedMatrix, integer_injection, place};
pub use packed::{IntegerRows, integer_layer};
pub use pairs::{activate_with_slopes, scale_by};
pub(crate) use plan::{MOST_LAYERS, NewLayer, Plan};
#[doc(hidden)]
pub use products::Part;
pub use products::{Base, Product};
pub(crate) use products::{Before, EachProduct, Gathered, MOST_PRODUCTS, Products, Term, Terms};
pub use rounded::{affine_bf16, affine_i8, place_bf16, place_i8};
pub(crate) use scratch::{Lent, Scratch};
pub use softmax::cross_entropy;
pub use update::{AdamStep, adam, add_to, sum_of_squares};
pub(crate) use update::{Adaptive, LayerUpdate, OfAny, OfSgd, Plain, Update, WithMomentum, norm};
pub(crate) use view::DynMatrix;
pub use view::{Matrix, MatrixMut};

use crate::simd::{Backend, Lanes, Operation};
use core::fmt;
use core::marker::PhantomData;
use products::{List, shapes_fit};

/// Whether every network has its activations in its types and is compiled for itself, as where flash is small; elsewhere the engine is
/// compiled once, in this crate.
pub(crate) const TYPED: bool = <crate::simd::Portable as Lanes<f32>>::BLOCKING.outlined;

/// The largest magnitude in a matrix; NaN if any value is infinite or NaN.
pub(crate) fn largest_on<T: Scalar>(backend: Backend, matrix: Matrix<'_, T>) -> T {
    T::once::<LargestOnce>((backend, matrix))
}
once!(LargestOnce: (Backend, Matrix<'a, T>) => T, largest_once);

fn largest_once<T: Scalar>((backend, matrix): (Backend, Matrix<'_, T>)) -> T {
    T::run(backend, LargestOf(matrix))
}

/// [`largest`] as an operation.
pub(crate) struct LargestOf<'a, T>(pub(crate) Matrix<'a, T>);

impl<T: Scalar> Operation<T> for LargestOf<'_, T> {
    type Output = T;
    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> T {
        largest(lanes, self.0)
    }
}

/// Two shapes that do not fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct ShapeError {
    /// What was compared.
    pub what: &'static str,
    /// The size that would fit.
    pub expected: usize,
    /// The size that was given.
    pub found: usize,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.what, self.expected, self.found)
    }
}

impl core::error::Error for ShapeError {}

/// # Safety
/// As [`Lanes::load`], or [`Lanes::load_partial`] with a count.
#[inline(always)]
unsafe fn load<T: Scalar, L: Lanes<T>>(lanes: L, from: *const T, count: Option<usize>) -> L::Vector {
    match count {
        // SAFETY: the same contract, which the caller keeps.
        None => unsafe { lanes.load(from) },
        // SAFETY: the same contract, which the caller keeps.
        Some(count) => unsafe { lanes.load_partial(from, count) },
    }
}

/// # Safety
/// As [`Lanes::store`], or [`Lanes::store_partial`] with a count.
#[inline(always)]
unsafe fn store<T: Scalar, L: Lanes<T>>(lanes: L, to: *mut T, v: L::Vector, count: Option<usize>) {
    match count {
        // SAFETY: the same contract, which the caller keeps.
        None => unsafe { lanes.store(to, v) },
        // SAFETY: the same contract, which the caller keeps.
        Some(count) => unsafe { lanes.store_partial(to, v, count) },
    }
}

/// In a loop that should stay one: the compiler doubles loops it knows nothing of, and where flash is small that costs more
/// than it gives.
#[inline(always)]
fn rolled() {
    core::hint::black_box(());
}

#[inline(always)]
fn expect(what: &'static str, expected: usize, found: usize) -> Result<(), ShapeError> {
    if expected == found { Ok(()) } else { Err(ShapeError { what, expected, found }) }
}

/// What one pass of a fused layer changed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Changed<T> {
    /// The largest |new - old| of the output; NaN if a sum was infinite or NaN.
    pub residual: T,
}

/// `out = s(base + sum of products)` for every sample, with the activation `A`; the fused layer
/// W a + U c + b of the recurrence with two products, a plain one with one.
///
/// Shapes: `out` is `samples x outputs`, a product's matrix `outputs x inputs`, its operand `samples x inputs`.
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit; nothing is changed then.
pub fn layer<T: Scalar, A: Activation>(
    backend: Backend,
    base: Base<'_, T>,
    products: &[Product<'_, T>],
    out: MatrixMut<'_, T>,
) -> Result<Changed<T>, ShapeError> {
    run_fused::<T, A>(backend, base, products, false, out)
}

/// `out = base + sum of products` for every sample: [`layer`] before its activation, without looking at what was in `out`
/// and whether the sums are finite.
///
/// Shapes: as [`layer`].
///
/// ```
/// use attractor::kernel::{self, Base, Product};
/// use attractor::simd::Backend;
/// use nalgebra::{matrix, SMatrix};
///
/// let weights = matrix![0.5_f32, -1.0; 2.0, 0.0];
/// let inputs = matrix![1.0_f32, 2.0];
/// let mut outputs = SMatrix::<f32, 1, 2>::zeros();
/// let product = Product { matrix: (&weights).into(), operand: (&inputs).into() };
/// kernel::affine(Backend::best(), Base::Bias(&[0.5, 1.0]), &[product], (&mut outputs).into())?;
/// assert_eq!(outputs, matrix![-1.0, 3.0]);
/// # Ok::<(), kernel::ShapeError>(())
/// ```
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit; nothing is changed then.
pub fn affine<T: Scalar>(
    backend: Backend,
    base: Base<'_, T>,
    products: &[Product<'_, T>],
    out: MatrixMut<'_, T>,
) -> Result<(), ShapeError> {
    if const { TYPED } {
        // Elsewhere one engine does for all, and the look at what was there is not what takes the time.
        return T::run(backend, Fused { base, products, transposed: false, finish: Keep, out }).map(|_| ());
    }
    run_fused::<T, Identity>(backend, base, products, false, out).map(|_| ())
}

/// `out = base + sum of transposed products` for every sample: what an adjoint sends back.
///
/// Shapes: `out` is `samples x inputs`, a product's matrix `outputs x inputs`, its operand `samples x outputs`.
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit; nothing is changed then.
pub fn transposed<T: Scalar>(
    backend: Backend,
    base: Base<'_, T>,
    products: &[Product<'_, T>],
    out: MatrixMut<'_, T>,
) -> Result<Changed<T>, ShapeError> {
    run_fused::<T, Identity>(backend, base, products, true, out)
}

fn run_fused<T: Scalar, A: Activation>(
    backend: Backend,
    base: Base<'_, T>,
    products: &[Product<'_, T>],
    transposed: bool,
    out: MatrixMut<'_, T>,
) -> Result<Changed<T>, ShapeError> {
    if const { TYPED } {
        let finish = Activate::<A>(PhantomData);
        T::run(backend, Fused { base, products, transposed, finish, out })
    } else {
        let finish = T::functions::<A>().up();
        T::once::<FusedOnce>((backend, Fused { base, products, transposed, finish, out }))
    }
}
once!(FusedOnce: (Backend, Fused<'a, T, Through<'static, T>>) => Result<Changed<T>, ShapeError>, fused_once);

fn fused_once<T: Scalar>(
    (backend, fused): (Backend, Fused<'_, T, Through<'static, T>>),
) -> Result<Changed<T>, ShapeError> {
    T::run(backend, fused)
}

/// A fused layer of any number of samples.
pub(crate) struct Fused<'a, T, F> {
    base: Base<'a, T>,
    products: &'a [Product<'a, T>],
    transposed: bool,
    finish: F,
    out: MatrixMut<'a, T>,
}

impl<T: Scalar, F: Finish<T>> Operation<T> for Fused<'_, T, F> {
    type Output = Result<Changed<T>, ShapeError>;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output {
        if self.transposed { self.layer::<true, L>(lanes) } else { self.layer::<false, L>(lanes) }
    }
}

impl<T: Scalar, F: Finish<T>> Fused<'_, T, F> {
    #[inline(always)]
    fn layer<const TRANSPOSED: bool, L: Lanes<T>>(mut self, lanes: L) -> Result<Changed<T>, ShapeError> {
        let products = &List(self.products);
        let (base, finish) = (self.base, self.finish);
        let (samples, units) = (self.out.rows(), self.out.cols());
        let in_a_row = shapes_fit::<TRANSPOSED, T>(base, *products, samples, units)?;
        if samples == 1 && self.out.stride() == 1 && in_a_row {
            let mut changes = [Change::none(lanes)];
            if const { TYPED } {
                // Small cores compare shapes once.
                let [change] = &mut changes;
                // SAFETY: the shapes were compared above, and there is one sample, all of which lies in a row.
                unsafe {
                    one::<TRANSPOSED, 0, T, L, F>(lanes, base, products, finish, &mut self.out, change)
                };
                return Ok(Changed { residual: changes[0].of_one(lanes) });
            }
            fused_outlined::<TRANSPOSED, 1, T, L, F>(
                lanes,
                base,
                products,
                finish,
                self.out,
                (0, 1),
                &mut changes,
            )?;
            return Ok(Changed { residual: changes[0].of_one(lanes) });
        }
        let mut residual = T::ZERO;
        let mut first = 0;
        // Without units there may be any number of samples.
        while first < samples && units > 0 {
            let count = CHUNK.min(samples - first);
            let mut changes = Changes::<_, CHUNK>::none(lanes);
            let changes = changes.of(lanes, count);
            let out = self.out.reborrow();
            let some = (first, count);
            fused_outlined::<TRANSPOSED, CHUNK, T, L, F>(lanes, base, products, finish, out, some, changes)?;
            for change in changes {
                let largest = change.largest(lanes);
                // NaN comes in and then stays, for nothing is larger.
                if largest > residual || !(largest >= T::ZERO) {
                    residual = largest;
                }
            }
            first += count;
        }
        Ok(Changed { residual })
    }
}

/// `gradient[i, j] += sum over samples of deltas[sample, i] * inputs[sample, j]`.
///
/// # Errors
/// [`ShapeError`] if the shapes do not fit; nothing is changed then.
pub fn outer<T: Scalar>(
    backend: Backend,
    deltas: Matrix<'_, T>,
    inputs: Matrix<'_, T>,
    gradient: MatrixMut<'_, T>,
) -> Result<(), ShapeError> {
    T::run(backend, Outer { factor: T::ONE, deltas, inputs, gradient })
}

/// Applies the activation `A` to every value.
///
/// ```
/// use attractor::{kernel, simd::Backend};
/// let mut values = [0.0_f32, 1.0, f32::INFINITY];
/// kernel::activate::<_, kernel::Tanh>(Backend::best(), &mut values);
/// assert_eq!(values[2], 1.0);
/// ```
pub fn activate<T: Scalar, A: Activation>(backend: Backend, values: &mut [T]) {
    T::run(backend, Each(values, PhantomData::<Value<A>>));
}

/// Replaces every value h of the activation `A` by its slope there.
///
/// ```
/// use attractor::{kernel, simd::Backend};
/// let mut values = [0.0_f32, 0.5];
/// kernel::slopes::<_, kernel::Tanh>(Backend::best(), &mut values);
/// assert_eq!(values, [1.0, 0.75]);
/// ```
pub fn slopes<T: Scalar, A: Activation>(backend: Backend, values: &mut [T]) {
    T::run(backend, Each(values, PhantomData::<Slopes<A>>));
}

/// Replaces every value h of the activation `A` by what its slope changes there with h; whether that is known.
pub(crate) fn bends<T: Scalar, A: Activation>(backend: Backend, values: &mut [T]) -> bool {
    T::run(backend, Each(values, PhantomData::<Bend<A>>));
    let mut known = [T::ZERO];
    T::run(Backend::portable(), Each(&mut known, PhantomData::<Known<A>>));
    known == [T::ONE]
}

/// Replaces every value x <= 0 by e^x, within 3e-7 of it relatively in `f32`, where below -87 it is 0.
pub fn exp<T: Scalar>(backend: Backend, values: &mut [T]) {
    T::run(backend, Each(values, PhantomData::<Exp>));
}

/// A function of one vector, as a type.
trait Elementwise {
    fn apply<T: Scalar, L: Lanes<T>>(lanes: L, v: L::Vector) -> L::Vector;
    /// Applies it to all values, where there is assembly that does; whether there is.
    #[inline(always)]
    fn apply_all<T: Scalar>(values: &mut [T]) -> bool {
        let _ = values;
        false
    }
}
struct Value<A>(PhantomData<A>);
impl<A: Activation> Elementwise for Value<A> {
    #[inline(always)]
    fn apply<T: Scalar, L: Lanes<T>>(lanes: L, v: L::Vector) -> L::Vector {
        value::<A, T, L>(lanes, v)
    }
    #[inline(always)]
    fn apply_all<T: Scalar>(values: &mut [T]) -> bool {
        let start = values.as_mut_ptr();
        // SAFETY: as many values as there are; each is read before it is written.
        unsafe { A::finish(start, start, values.len()) }.is_some()
    }
}
struct Slopes<A>(PhantomData<A>);
impl<A: Activation> Elementwise for Slopes<A> {
    #[inline(always)]
    fn apply<T: Scalar, L: Lanes<T>>(lanes: L, v: L::Vector) -> L::Vector {
        A::slope(lanes, v)
    }
}
struct Bend<A>(PhantomData<A>);
impl<A: Activation> Elementwise for Bend<A> {
    #[inline(always)]
    fn apply<T: Scalar, L: Lanes<T>>(lanes: L, v: L::Vector) -> L::Vector {
        A::bend(lanes, v).unwrap_or(lanes.splat(T::NAN))
    }
}
/// Whether there is a bend: 1 or 0.
struct Known<A>(PhantomData<A>);
impl<A: Activation> Elementwise for Known<A> {
    #[inline(always)]
    fn apply<T: Scalar, L: Lanes<T>>(lanes: L, v: L::Vector) -> L::Vector {
        lanes.splat(if A::bend(lanes, v).is_some() { T::ONE } else { T::ZERO })
    }
}
struct Exp;
impl Elementwise for Exp {
    #[inline(always)]
    fn apply<T: Scalar, L: Lanes<T>>(lanes: L, v: L::Vector) -> L::Vector {
        T::exp(lanes, v)
    }
}

struct Each<'a, T, E>(&'a mut [T], PhantomData<E>);

impl<T: Scalar, E: Elementwise> Operation<T> for Each<'_, T, E> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        if E::apply_all(self.0) {
            return;
        }
        let mut chunks = self.0.chunks_exact_mut(L::WIDTH);
        for chunk in &mut chunks {
            // SAFETY: a chunk holds WIDTH scalars.
            unsafe { lanes.store(chunk.as_mut_ptr(), E::apply(lanes, lanes.load(chunk.as_ptr()))) };
        }
        let rest = chunks.into_remainder();
        // SAFETY: the remainder holds `rest.len()` < WIDTH scalars.
        unsafe {
            let v = E::apply(lanes, lanes.load_partial(rest.as_ptr(), rest.len()));
            lanes.store_partial(rest.as_mut_ptr(), v, rest.len());
        }
    }
}
