//! Layers of one sample whose shapes are compared once, for sweeps that follow one another: a small layer takes less than comparing it.

use super::products::Term;
use super::single::{EachTerm, Single, Sources};
use super::{Base, Change, Finish, Matrix, MatrixMut, Scalar, ShapeError, expect};
use crate::simd::{Lanes, Routine};
use core::mem::MaybeUninit;
use core::ops::Range;

/// The most layers a plan has; the deepest network is compared with it where layers are.
pub(crate) const MOST_LAYERS: usize = 32;

/// The layers of one sweep of one sample over its states, or deltas, which it borrows. `TRANSPOSED` as in the fused layer.
pub(crate) struct Plan<'a, T, const TRANSPOSED: bool> {
    states: MatrixMut<'a, T>,
    /// The first `depth` are there.
    layers: [MaybeUninit<Planned<T>>; MOST_LAYERS],
    depth: usize,
}

/// A layer: all that it reads and writes exists as long as its plan.
#[derive(Clone, Copy)]
struct Planned<T> {
    base: *const T,
    /// The first `count` are there.
    terms: [Term<T>; 2],
    count: usize,
    out: *mut T,
    /// The first of its units among all, and how many they are.
    first: usize,
    units: usize,
    is_output: bool,
}

/// What a layer of a plan is made of: its units, whether they are the outputs, what its sums start from, and matrices with the units that they
/// are multiplied with.
pub(crate) struct NewLayer<'a, T> {
    pub(crate) own: Range<usize>,
    pub(crate) is_output: bool,
    pub(crate) base: Base<'a, T>,
    pub(crate) products: [Option<(Matrix<'a, T>, Range<usize>)>; 2],
}

impl<'a, T: Scalar, const TRANSPOSED: bool> Plan<'a, T, TRANSPOSED> {
    /// No layer yet.
    ///
    /// # Errors
    /// [`ShapeError`] unless the states are those of one sample, side by side.
    #[inline(always)]
    pub(crate) fn new(states: MatrixMut<'a, T>) -> Result<Self, ShapeError> {
        expect("samples", 1, states.rows())?;
        expect("stride", 1, states.stride())?;
        Ok(Self { states, layers: [const { MaybeUninit::uninit() }; MOST_LAYERS], depth: 0 })
    }

    /// One more layer.
    ///
    /// # Errors
    /// [`ShapeError`] if the shapes do not fit, a product reads units that are its own, or there are too many layers; the plan is as it was then.
    #[inline(always)]
    pub(crate) fn push(&mut self, layer: NewLayer<'a, T>) -> Result<(), ShapeError> {
        let NewLayer { own, is_output, base, products } = layer;
        let (all, units) = (self.states.cols(), own.len());
        if own.end > all {
            return Err(ShapeError { what: "units", expected: all, found: own.end });
        }
        match base {
            Base::Zero => {}
            Base::Bias(bias) => expect("biases", units, bias.len())?,
            Base::Matrix(matrix) => {
                expect("samples of the base", 1, matrix.rows())?;
                expect("units of the base", units, matrix.cols())?;
                expect("stride of the base", 1, matrix.stride())?;
            }
        }
        let start = self.states.start();
        let null = core::ptr::null();
        let mut terms = [Term { matrix: null, stride: 0, operand: null, count: 0 }; 2];
        let mut count = 0;
        for ((matrix, read), term) in products.into_iter().flatten().zip(&mut terms) {
            let (outputs, inputs) =
                if TRANSPOSED { (matrix.cols(), matrix.rows()) } else { (matrix.rows(), matrix.cols()) };
            expect("outputs of a matrix", units, outputs)?;
            expect("units of an operand", inputs, read.len())?;
            if read.end > all || (read.start < own.end && own.start < read.end) {
                return Err(ShapeError { what: "units of an operand", expected: all, found: read.end });
            }
            let operand = start.wrapping_add(read.start).cast_const();
            *term = Term { matrix: matrix.start(), stride: matrix.stride(), operand, count: inputs };
            count += 1;
        }
        let Some(place) = self.layers.get_mut(self.depth) else {
            return Err(ShapeError { what: "layers", expected: MOST_LAYERS, found: MOST_LAYERS + 1 });
        };
        let (first, out) = (own.start, start.wrapping_add(own.start));
        place.write(Planned { base: base.start(), terms, count, out, first, units, is_output });
        self.depth += 1;
        Ok(())
    }

    /// The states.
    #[inline(always)]
    pub(crate) fn states(&self) -> Matrix<'_, T> {
        self.states.as_ref()
    }

    /// The states, for a finish of all units to be compared with.
    #[inline(always)]
    pub(crate) fn out(&self) -> &MatrixMut<'a, T> {
        &self.states
    }

    /// Takes the layers in their order. Both finishes are of all units: that of the outputs, and that of other layers.
    #[inline(always)]
    pub(crate) fn sweep<L: Lanes<T>, F: Finish<T>, E: Finish<T>>(
        &mut self,
        lanes: L,
        (hidden, output): (F, E),
        change: &mut Change<L::Vector>,
    ) {
        for layer in self.layers.iter().take(self.depth) {
            // SAFETY: the first `depth` are there. `push` compared the shapes, and what is read and written is borrowed by the plan: the states
            // for itself alone.
            unsafe {
                let layer = layer.assume_init_ref();
                if layer.is_output {
                    layer.run::<TRANSPOSED, L, E>(lanes, output.skip(layer.first), change);
                } else {
                    layer.run::<TRANSPOSED, L, F>(lanes, hidden.skip(layer.first), change);
                }
            }
        }
    }
}

impl<T: Scalar> Planned<T> {
    /// # Safety
    /// All that it reads and writes must exist.
    #[inline(always)]
    unsafe fn run<const TRANSPOSED: bool, L: Lanes<T>, F: Finish<T>>(
        &self,
        lanes: L,
        finish: F,
        change: &mut Change<L::Vector>,
    ) {
        if const { F::TILED } {
            // One copy for all layers.
            lanes.vectorize(Outlined::<TRANSPOSED, T, F, L::Vector>(self, finish, change));
        } else {
            // SAFETY: the same contract, which the caller keeps.
            unsafe { self.in_line::<TRANSPOSED, L, F>(lanes, finish, change) };
        }
    }

    /// # Safety
    /// As [`run`](Self::run).
    #[inline(always)]
    unsafe fn in_line<const TRANSPOSED: bool, L: Lanes<T>, F: Finish<T>>(
        &self,
        lanes: L,
        finish: F,
        change: &mut Change<L::Vector>,
    ) {
        let single =
            Single { lanes, base: self.base, sources: self, finish, out: self.out, units: self.units };
        // SAFETY: the same contract, which the caller keeps.
        unsafe { single.run::<TRANSPOSED, 0>(change) };
    }
}

impl<T: Copy> Sources<T> for Planned<T> {
    #[inline(always)]
    fn visit(&self, each: &mut impl EachTerm<T>) {
        for term in self.terms.iter().take(self.count) {
            each.term(*term);
        }
    }
}

struct Outlined<'b, const TRANSPOSED: bool, T, F, V>(&'b Planned<T>, F, &'b mut Change<V>);

impl<const TRANSPOSED: bool, T: Scalar, F: Finish<T>, L: Lanes<T>> Routine<L>
    for Outlined<'_, TRANSPOSED, T, F, L::Vector>
{
    type Output = ();
    #[inline(always)]
    fn run(self, lanes: L) {
        let Self(layer, finish, change) = self;
        // SAFETY: only `Planned::run` makes one, with the same contract.
        unsafe { layer.in_line::<TRANSPOSED, L, F>(lanes, finish, change) };
    }
}
