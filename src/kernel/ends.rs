//! How the layers of a network end: their activations, as types that are known while compiling, or as functions that are chosen when
//! running and compiled once, in this crate.

use super::activation::{WithActivation, built_in, value, with_activation};
use super::{
    Activate, Activation, Backpropagate, Finish, Identity, Matrix, MatrixMut, Scalar, ShapeError, expect,
};
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
use crate::simd::Neon;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Family, ForEach, Lanes, Portable, Routine};
use core::fmt;
use core::marker::PhantomData;

/// The activations of a network.
pub(crate) trait Ends<T: Scalar>: Copy + Send + Sync {
    /// That of the hidden layers.
    type Hidden: End<T>;
    /// That of the output layer.
    type Output: End<T>;
    /// The sum as it is.
    type Sum: Finish<T>;
    /// Whether both are of one type, so that which is meant can be asked when running.
    const ALIKE: bool;
    /// The output layer's end or the hidden layers', where they are of one type; else the hidden layers'.
    fn either(self, is_output: bool) -> Self::Hidden;
    /// The hidden layers' end.
    fn hidden(self) -> Self::Hidden;
    /// The output layer's end.
    fn output(self) -> Self::Output;
    /// Keeps the sum.
    fn sum(self) -> Self::Sum;
}

/// An activation and its slope.
pub(crate) trait End<T: Scalar>: Copy {
    /// h = s(z).
    type Up: Finish<T> + 'static;
    /// d = s'(z) times the sum.
    type Back<'a>: Finish<T>;
    /// Whether the slope is known to be 1, so that [`up`](Self::up) serves both ways.
    const IDENTITY: bool;
    /// Going up.
    fn up(self) -> Self::Up;
    /// Going down, with the slopes from `states`.
    ///
    /// # Errors
    /// [`ShapeError`] unless `states` lie as `out` does.
    fn back<'a>(self, states: Matrix<'a, T>, out: &MatrixMut<'_, T>) -> Result<Self::Back<'a>, ShapeError>;
}

/// Activations as types: code of its own for each, where flash is small and calls cost more than they save.
pub(crate) struct Typed<H, O>(PhantomData<(H, O)>);

impl<H, O> Typed<H, O> {
    pub(crate) const NEW: Self = Self(PhantomData);
}
impl<H, O> Clone for Typed<H, O> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<H, O> Copy for Typed<H, O> {}

/// The activations of a network where one piece of work serves all layers, as types or as numbers.
pub(crate) trait Activations: Copy {
    /// Whether they are numbers: [`with`](Self::with) is then the work with every activation there is, and should be called in one place.
    const NUMBERS: bool;
    /// Does work with the activation of the output layer, or with that of the hidden layers.
    fn with<W: WithActivation>(self, is_output: bool, work: W) -> W::Output;
}

impl<H: Activation, O: Activation> Activations for Typed<H, O> {
    const NUMBERS: bool = false;
    #[inline(always)]
    fn with<W: WithActivation>(self, is_output: bool, work: W) -> W::Output {
        if is_output { work.with::<O>() } else { work.with::<H>() }
    }
}

/// Activations by their numbers, as model files have them.
#[derive(Clone, Copy)]
pub(crate) struct Codes {
    hidden: u8,
    output: u8,
}

impl Codes {
    pub(crate) const fn of<H: Activation, O: Activation>() -> Self {
        Self { hidden: built_in::<H>(), output: built_in::<O>() }
    }
    /// Those of these numbers.
    #[cfg(feature = "alloc")]
    pub(crate) const fn new(hidden: u8, output: u8) -> Self {
        Self { hidden, output }
    }
}

impl Activations for Codes {
    const NUMBERS: bool = true;
    #[inline(always)]
    fn with<W: WithActivation>(self, is_output: bool, work: W) -> W::Output {
        with_activation(if is_output { self.output } else { self.hidden }, work)
    }
}

impl<T: Scalar, H: Activation, O: Activation> Ends<T> for Typed<H, O> {
    type Hidden = Activate<H>;
    type Output = Activate<O>;
    type Sum = Activate<Identity>;
    const ALIKE: bool = false;
    #[inline(always)]
    fn either(self, _: bool) -> Activate<H> {
        Activate(PhantomData)
    }
    #[inline(always)]
    fn hidden(self) -> Activate<H> {
        Activate(PhantomData)
    }
    #[inline(always)]
    fn output(self) -> Activate<O> {
        Activate(PhantomData)
    }
    #[inline(always)]
    fn sum(self) -> Activate<Identity> {
        Activate(PhantomData)
    }
}

impl<T: Scalar, A: Activation> End<T> for Activate<A> {
    type Up = Self;
    type Back<'a> = Backpropagate<'a, T, A>;
    const IDENTITY: bool = A::IDENTITY;
    #[inline(always)]
    fn up(self) -> Self {
        self
    }
    #[inline(always)]
    fn back<'a>(self, states: Matrix<'a, T>, out: &MatrixMut<'_, T>) -> Result<Self::Back<'a>, ShapeError> {
        Backpropagate::new(states, out)
    }
}

/// The functions of one activation on every backend.
#[derive(Debug)]
pub struct Functions<T: Scalar> {
    value: T::Each<Tiles>,
    slope: T::Each<Tiles>,
    /// Whether a value shows what is not finite: it may be so where the sum is not.
    shows: bool,
}

/// Functions that finish tiles of sums.
#[derive(Debug)]
pub struct Tiles;

impl<T: Scalar> Family<T> for Tiles {
    type On<L: Lanes<T>> = OnTile<T, L>;
}

/// A function that finishes a tile of sums.
pub struct OnTile<T: Scalar, L: Lanes<T>>(unsafe fn(L, *mut L::Vector, &Place<T>));

impl<T: Scalar, L: Lanes<T>> fmt::Debug for OnTile<T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnTile")
    }
}

/// Where a tile lies, and what its sums are multiplied with.
#[derive(Clone, Copy)]
struct Place<T> {
    /// The states at the first sum; not read for a value.
    states: *const T,
    /// Vectors in all, and in a row.
    vectors: usize,
    columns: usize,
    /// From row to row.
    stride: usize,
    /// The lanes that count; all where it is `WIDTH`.
    count: usize,
    factor: T,
}

// Where the scalars have no vectors, activations are types, these are not called, and they are not compiled.
#[cfg(not(all(
    any(target_feature = "sse2", target_feature = "neon", target_feature = "simd128"),
    not(attractor_scalars)
)))]
impl<T: Scalar> Functions<T> {
    unsafe fn value<A: Activation, L: Lanes<T>>(_: L, _: *mut L::Vector, _: &Place<T>) {}
    unsafe fn slope<A: Activation, L: Lanes<T>>(_: L, _: *mut L::Vector, _: &Place<T>) {}
}

#[cfg(all(
    any(target_feature = "sse2", target_feature = "neon", target_feature = "simd128"),
    not(attractor_scalars)
))]
impl<T: Scalar> Functions<T> {
    /// h = s(z) for a tile.
    ///
    /// # Safety
    /// `values` must be the vectors of the place.
    unsafe fn value<A: Activation, L: Lanes<T>>(lanes: L, values: *mut L::Vector, place: &Place<T>) {
        lanes.vectorize(Tile::<T, L, A, false> { values, place, activation: PhantomData });
    }
    /// d = s'(z) times the sum for a tile.
    ///
    /// # Safety
    /// `values` must be the vectors of the place, and the states must exist.
    unsafe fn slope<A: Activation, L: Lanes<T>>(lanes: L, values: *mut L::Vector, place: &Place<T>) {
        lanes.vectorize(Tile::<T, L, A, true> { values, place, activation: PhantomData });
    }
}

/// The sums of a tile, to be made values of an activation or, if `SLOPES`, multiplied with its slopes.
struct Tile<'a, T: Scalar, L: Lanes<T>, A, const SLOPES: bool> {
    values: *mut L::Vector,
    // By reference: two words go through registers.
    place: &'a Place<T>,
    activation: PhantomData<A>,
}

impl<T: Scalar, L: Lanes<T>, A: Activation, const SLOPES: bool> Routine<L> for Tile<'_, T, L, A, SLOPES> {
    type Output = ();
    #[inline(always)]
    fn run(self, lanes: L) {
        if SLOPES {
            self.slopes(lanes);
        } else {
            self.values(lanes);
        }
    }
}

impl<T: Scalar, L: Lanes<T>, A: Activation, const SLOPES: bool> Tile<'_, T, L, A, SLOPES> {
    #[inline(always)]
    fn values(self, lanes: L) {
        let (factor, vectors) = (lanes.splat(self.place.factor), self.place.vectors);
        let mut at = 0;
        // SAFETY: `vectors` vectors from `values` on.
        unsafe {
            while vectors - at >= 4 {
                let z = |i: usize| lanes.mul(factor, *self.values.add(at + i));
                let (a, b, c, d) = (z(0), z(1), z(2), z(3));
                let (a, b) = (value::<A, T, L>(lanes, a), value::<A, T, L>(lanes, b));
                let (c, d) = (value::<A, T, L>(lanes, c), value::<A, T, L>(lanes, d));
                self.values.add(at).write(a);
                self.values.add(at + 1).write(b);
                self.values.add(at + 2).write(c);
                self.values.add(at + 3).write(d);
                at += 4;
            }
            while at < vectors {
                let one = &mut *self.values.add(at);
                *one = value::<A, T, L>(lanes, lanes.mul(factor, *one));
                at += 1;
            }
        }
    }

    #[inline(always)]
    fn slopes(self, lanes: L) {
        let Place { states, vectors, columns, stride, count, factor } = *self.place;
        let factor = lanes.splat(factor);
        let part = (count < L::WIDTH).then_some(count);
        // A whole tile of two vectors of samples, which is what a batch mostly has: nothing to ask for in between.
        if columns == 2 && part.is_none() {
            let mut row = states;
            // SAFETY: `vectors` vectors from `values` on, and as many states in rows of two vectors.
            unsafe {
                for at in (0..vectors).step_by(2) {
                    let (first, second) = (self.values.add(at), self.values.add(at + 1));
                    let h = (lanes.load(row), lanes.load(row.wrapping_add(L::WIDTH)));
                    first.write(lanes.mul(A::slope(lanes, h.0), lanes.mul(factor, *first)));
                    second.write(lanes.mul(A::slope(lanes, h.1), lanes.mul(factor, *second)));
                    row = row.wrapping_add(stride);
                }
            }
            return;
        }
        let (mut row, mut column, mut at) = (states, 0, 0);
        // SAFETY: `vectors` vectors from `values` on, and as many states in rows of `columns` vectors.
        unsafe {
            while at < vectors {
                // Two at a time, which is what a row of a batch has, so that one does not wait for the other.
                let pair = columns - column >= 2;
                let h = super::load(lanes, row.wrapping_add(column * L::WIDTH), part);
                let first = lanes.mul(A::slope(lanes, h), lanes.mul(factor, *self.values.add(at)));
                if pair {
                    let h = super::load(lanes, row.wrapping_add((column + 1) * L::WIDTH), part);
                    let second = lanes.mul(A::slope(lanes, h), lanes.mul(factor, *self.values.add(at + 1)));
                    self.values.add(at + 1).write(second);
                }
                self.values.add(at).write(first);
                let taken = if pair { 2 } else { 1 };
                (at, column) = (at + taken, column + taken);
                if column == columns {
                    (row, column) = (row.wrapping_add(stride), 0);
                }
            }
        }
    }
}

/// Writes the functions of an activation for a scalar on every backend.
macro_rules! functions {
    ($activation:ty, $scalar:ty) => {{
        static FUNCTIONS: $crate::kernel::ends::Functions<$scalar> =
            $crate::kernel::ends::Functions::<$scalar>::new_for::<$activation>();
        &FUNCTIONS
    }};
}
pub(super) use functions;

/// One of a function on every backend; nothing for those another processor has.
macro_rules! for_each {
    ($scalar:ty, $function:ident) => {
        ForEach {
            portable: OnTile(Functions::<$scalar>::$function::<A, Portable>),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            avx2: OnTile(Functions::<$scalar>::$function::<A, Avx2>),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            avx512: OnTile(Functions::<$scalar>::$function::<A, Avx512>),
            #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
            avx2: (),
            #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
            avx512: (),
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            neon: OnTile(Functions::<$scalar>::$function::<A, Neon>),
            #[cfg(not(all(target_arch = "aarch64", target_feature = "neon")))]
            neon: (),
        }
    };
}
macro_rules! new_for {
    ($scalar:ty) => {
        impl Functions<$scalar> {
            /// Those of an activation.
            pub(super) const fn new_for<A: Activation>() -> Self {
                let (value, slope) = (for_each!($scalar, value), for_each!($scalar, slope));
                Self { value, slope, shows: A::BUILT_IN.is_none() }
            }
        }
    };
}
new_for!(f32);
new_for!(f64);

/// What is known of an activation that is found by its number.
#[derive(Clone, Copy)]
pub(crate) struct Facts<T: Scalar> {
    functions: &'static Functions<T>,
    /// [`Activation::STEEPEST`].
    pub(crate) steepest: T,
    /// [`Activation::BOUND`].
    pub(crate) bound: Option<T>,
    /// [`Activation::error`].
    pub(crate) error: f64,
    /// What a weight that keeps signals their size is larger by; see [`gain`].
    #[cfg(feature = "rand_core")]
    pub(crate) gain: f64,
}

impl<T: Scalar> Facts<T> {
    /// Those of the activation of this number.
    pub(crate) fn of(code: u8) -> Self {
        with_activation(code, FindFacts(PhantomData))
    }
}

struct FindFacts<T>(PhantomData<T>);

impl<T: Scalar> WithActivation for FindFacts<T> {
    type Output = Facts<T>;
    fn with<A: Activation>(self) -> Facts<T> {
        Facts {
            functions: T::functions::<A>(),
            steepest: T::from_f64(A::STEEPEST),
            bound: A::BOUND.map(T::from_f64),
            error: A::error::<T>(),
            #[cfg(feature = "rand_core")]
            gain: gain::<A>(),
        }
    }
}

/// How much larger the variance of weights is below units with this activation: half of what ReLU is given is lost (He et al. 2015).
#[cfg(feature = "rand_core")]
pub(crate) const fn gain<A: Activation>() -> f64 {
    if super::number::<A>() == super::number::<super::Relu>() { 2.0 } else { 1.0 }
}

/// Activations as functions: compiled once for all networks.
pub(crate) struct Chosen<T: Scalar> {
    hidden: &'static Functions<T>,
    output: &'static Functions<T>,
    sum: &'static Functions<T>,
}

impl<T: Scalar> Chosen<T> {
    #[inline(always)]
    pub(crate) fn new<H: Activation, O: Activation>() -> Self {
        Self { hidden: T::functions::<H>(), output: T::functions::<O>(), sum: T::functions::<Identity>() }
    }
    /// Whether the usual activations have code of their own: of `f64` nearly all of the time goes into tanh, lane by lane.
    pub(crate) const USUAL: bool = size_of::<T>() == size_of::<f32>();
    /// Whether the hidden layers have tanh and the output its sum.
    pub(crate) fn are_usual(&self) -> bool {
        core::ptr::eq(self.hidden, T::functions::<super::Tanh>()) && core::ptr::eq(self.output, self.sum)
    }
    /// Those of a network whose activations are known when running.
    pub(crate) fn of(hidden: &Facts<T>, output: &Facts<T>) -> Self {
        Self { hidden: hidden.functions, output: output.functions, sum: T::functions::<Identity>() }
    }
}
impl<T: Scalar> Clone for Chosen<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: Scalar> Copy for Chosen<T> {}

impl<T: Scalar> Ends<T> for Chosen<T> {
    type Hidden = &'static Functions<T>;
    type Output = &'static Functions<T>;
    type Sum = Through<'static, T>;
    const ALIKE: bool = true;
    #[inline(always)]
    fn either(self, is_output: bool) -> &'static Functions<T> {
        if is_output { self.output } else { self.hidden }
    }
    #[inline(always)]
    fn hidden(self) -> &'static Functions<T> {
        self.hidden
    }
    #[inline(always)]
    fn output(self) -> &'static Functions<T> {
        self.output
    }
    #[inline(always)]
    fn sum(self) -> Through<'static, T> {
        self.sum.up()
    }
}

impl<T: Scalar> End<T> for &'static Functions<T> {
    type Up = Through<'static, T>;
    type Back<'a> = Through<'a, T>;
    const IDENTITY: bool = false;
    #[inline(always)]
    fn up(self) -> Through<'static, T> {
        Through {
            function: &self.value,
            shows: self.shows,
            states: core::ptr::null(),
            factor: T::ONE,
            weights: core::ptr::null(),
            weighed: 0,
            borrow: PhantomData,
        }
    }
    #[inline(always)]
    fn back<'a>(self, states: Matrix<'a, T>, out: &MatrixMut<'_, T>) -> Result<Through<'a, T>, ShapeError> {
        expect("states", out.rows(), states.rows())?;
        expect("units", out.cols(), states.cols())?;
        expect("stride", out.stride(), states.stride())?;
        Ok(Through {
            function: &self.slope,
            shows: true,
            states: states.start(),
            factor: T::ONE,
            weights: core::ptr::null(),
            weighed: 0,
            borrow: PhantomData,
        })
    }
}

/// What a function makes of `factor` times the sums: values, or with states that lie as the output does, slopes times sums.
pub(crate) struct Through<'a, T: Scalar> {
    function: &'static T::Each<Tiles>,
    /// Whether what it gives shows what is not finite, and not the sum: a slope comes from states, a value may be of a user's own.
    shows: bool,
    states: *const T,
    factor: T,
    /// What the changes of units are divided by, one a unit; null where they count as they are.
    weights: *const T,
    /// How many of them there are.
    weighed: usize,
    borrow: PhantomData<Matrix<'a, T>>,
}

impl<T: Scalar> Clone for Through<'_, T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: Scalar> Copy for Through<'_, T> {}

// SAFETY: the states are a shared borrow.
unsafe impl<T: Scalar> Send for Through<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Scalar> Sync for Through<'_, T> {}

impl<T: Scalar> Through<'_, T> {
    /// # Safety
    /// As [`Finish::finish_tile`], for `vectors` vectors, `columns` in a row.
    #[inline(always)]
    unsafe fn call<L: Lanes<T>>(
        self,
        lanes: L,
        values: &mut [L::Vector],
        columns: usize,
        offset: usize,
        stride: usize,
        count: Option<usize>,
    ) {
        let place = Place {
            states: self.states.wrapping_add(offset),
            vectors: values.len(),
            columns,
            stride,
            count: count.unwrap_or(L::WIDTH),
            factor: self.factor,
        };
        match L::of(self.function) {
            // SAFETY: these are the vectors, and where there are states they lie as the output does (`back` compared the shapes).
            Some(function) => unsafe { (function.0)(lanes, values.as_mut_ptr(), &place) },
            // No backend is without; then nothing is claimed.
            None => values.fill(lanes.splat(T::NAN)),
        }
    }
}

impl<T: Scalar> Finish<T> for Through<'_, T> {
    const SHOWS: bool = false;
    const TILED: bool = true;
    type Times = Self;
    type Weighed<'w>
        = Through<'w, T>
    where
        Self: 'w;
    #[inline(always)]
    fn times(self, factor: T) -> Self {
        Self { factor, ..self }
    }
    #[inline(always)]
    fn weighed<'w>(self, weights: &'w [T]) -> Through<'w, T>
    where
        Self: 'w,
    {
        Self { weights: weights.as_ptr(), weighed: weights.len(), ..self }
    }
    #[inline(always)]
    fn skip(self, scalars: usize) -> Self {
        let states = self.states.wrapping_add(scalars);
        if self.weights.is_null() {
            return Self { states, ..self };
        }
        let weighed = self.weighed.saturating_sub(scalars);
        Self { states, weights: self.weights.wrapping_add(scalars), weighed, ..self }
    }
    #[inline(always)]
    unsafe fn finish<L: Lanes<T>>(
        self,
        lanes: L,
        z: L::Vector,
        offset: usize,
        count: Option<usize>,
    ) -> L::Vector {
        let mut one = [z];
        // SAFETY: one vector of the caller's.
        unsafe { self.call(lanes, &mut one, 1, offset, 0, count) };
        let [one] = one;
        one
    }
    #[inline(always)]
    unsafe fn finish_tile<L: Lanes<T>, const C: usize>(
        self,
        lanes: L,
        tile: &mut [[L::Vector; C]],
        offset: usize,
        stride: usize,
        count: Option<usize>,
    ) {
        // SAFETY: the caller's tile.
        unsafe { self.call(lanes, tile.as_flattened_mut(), C, offset, stride, count) };
    }
    #[inline(always)]
    unsafe fn weigh<L: Lanes<T>>(
        self,
        lanes: L,
        difference: L::Vector,
        offset: usize,
        count: Option<usize>,
    ) -> L::Vector {
        if self.weights.is_null() {
            return difference;
        }
        if offset + count.unwrap_or(L::WIDTH) > self.weighed {
            // Never; and then nothing is claimed.
            return lanes.splat(T::INFINITE);
        }
        // SAFETY: so many weights exist. Lanes beyond `count` divide 0 by 0, which is not recorded.
        lanes.div(difference, unsafe { super::load(lanes, self.weights.add(offset), count) })
    }
    #[inline(always)]
    fn is_elementwise(self) -> bool {
        self.states.is_null()
    }
    #[inline(always)]
    fn shows(self) -> bool {
        // A slope comes from states that may be anything; a built-in value may be finite where the sum is not.
        self.shows
    }
}
