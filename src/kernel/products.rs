//! The sums a fused layer is made of.

use super::{Matrix, Scalar, ShapeError, expect};
use core::mem::MaybeUninit;

/// What a fused layer starts its sums from.
#[derive(Clone, Copy, Debug)]
pub enum Base<'a, T> {
    /// Zero.
    Zero,
    /// One value a unit, the same for every sample.
    Bias(&'a [T]),
    /// One value a sample and unit: `samples x units`.
    Matrix(Matrix<'a, T>),
}

impl<T> Base<'_, T> {
    /// Where it lies if there is one sample; null for zero.
    #[inline(always)]
    pub(super) fn start(&self) -> *const T {
        match self {
            Self::Zero => core::ptr::null(),
            Self::Bias(bias) => bias.as_ptr(),
            Self::Matrix(matrix) => matrix.start(),
        }
    }
}

/// A product `x M^T` (or `x M` when transposed) of a batch `x`, `samples x units`, with a matrix.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a, T> {
    /// The matrix M.
    pub matrix: Matrix<'a, T>,
    /// The batch x, its rows samples.
    pub operand: Matrix<'a, T>,
}

/// Some rows of a product, for assembly: of so many columns what lies before `end`.
#[doc(hidden)]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Part<T> {
    /// Behind the last row of the first column.
    pub(super) end: *const T,
    /// Bytes from column to column.
    pub(super) step: usize,
    /// A factor for every column.
    pub(super) x: *const T,
    pub(super) columns: usize,
}

/// The products of a fused layer. A type and not an iterator: which products there are and how long they are is then
/// known while compiling wherever it is known at all, and an unrolled network has no loop over them.
pub(crate) trait Products<'a, T>: Copy {
    /// The same for kernels of one sample that are shared.
    type Terms: Terms<T>;
    /// Hands every product to `each`, in order.
    fn visit<V: EachProduct<'a, T>>(self, each: &mut V);
    /// The terms, in order.
    fn terms(self) -> Self::Terms;
}

/// What is done with a product. A trait and not a closure: a closure is compiled without the instruction set of the
/// function it stands in, unless it happens to be inlined.
pub(crate) trait EachProduct<'a, T> {
    /// Does it.
    fn product(&mut self, product: Product<'a, T>);
}

/// One after the other, those that are there.
impl<'a, T: Copy> Products<'a, T> for (Option<Product<'a, T>>, Option<Product<'a, T>>) {
    type Terms = Few<T>;
    #[inline(always)]
    fn visit<V: EachProduct<'a, T>>(self, each: &mut V) {
        if let Some(product) = self.0 {
            each.product(product);
        }
        if let Some(product) = self.1 {
            each.product(product);
        }
    }
    #[inline(always)]
    fn terms(self) -> Few<T> {
        let term = |product| MaybeUninit::new(Term::of(product));
        match self {
            (Some(first), Some(second)) => Few { count: 2, terms: [term(first), term(second)] },
            (Some(only), None) | (None, Some(only)) => {
                Few { count: 1, terms: [term(only), MaybeUninit::uninit()] }
            }
            (None, None) => Few { count: 0, terms: [MaybeUninit::uninit(), MaybeUninit::uninit()] },
        }
    }
}

/// A product before others, if there is one.
#[derive(Clone, Copy)]
pub(crate) struct Before<'a, T, P>(pub(crate) Option<Product<'a, T>>, pub(crate) P);

impl<'a, T: Copy, P: Products<'a, T>> Products<'a, T> for Before<'a, T, P> {
    type Terms = BeforeTerms<T, P::Terms>;
    #[inline(always)]
    fn visit<V: EachProduct<'a, T>>(self, each: &mut V) {
        if let Some(product) = self.0 {
            each.product(product);
        }
        self.1.visit(each);
    }
    #[inline(always)]
    fn terms(self) -> Self::Terms {
        BeforeTerms(self.0.map(Term::of), self.1.terms())
    }
}

pub(crate) struct BeforeTerms<T, R>(Option<Term<T>>, R);

impl<T: Copy, R: Terms<T>> Terms<T> for BeforeTerms<T, R> {
    #[inline(always)]
    fn at(&self, index: usize) -> Option<Term<T>> {
        match (self.0, index) {
            (None, index) => self.1.at(index),
            (first, 0) => first,
            (_, index) => self.1.at(index - 1),
        }
    }
}

/// A product as the kernels of one sample see it, where all operands lie in a row: an operand, and as many columns of a
/// matrix (rows of it, when transposed).
#[derive(Clone, Copy)]
pub(crate) struct Term<T> {
    pub(super) matrix: *const T,
    pub(super) stride: usize,
    pub(super) operand: *const T,
    pub(super) count: usize,
}

impl<T: Copy> Term<T> {
    #[inline(always)]
    pub(crate) fn of(Product { matrix, operand }: Product<'_, T>) -> Self {
        let (stride, count) = (matrix.stride(), operand.cols());
        Self { matrix: matrix.start(), stride, operand: operand.start(), count }
    }
}

/// Terms to be looped over: less code than [`Products::visit`], and little known while compiling.
pub(crate) trait Terms<T> {
    /// The term at `index`.
    fn at(&self, index: usize) -> Option<Term<T>>;
}

/// At most two terms. Their number is not in the type, lest a loop over them be unrolled.
pub(crate) struct Few<T> {
    count: usize,
    /// The first `count` of them are there.
    terms: [MaybeUninit<Term<T>>; 2],
}

impl<T: Copy> Terms<T> for Few<T> {
    #[inline(always)]
    fn at(&self, index: usize) -> Option<Term<T>> {
        if index >= self.count {
            return None;
        }
        let term = self.terms.get(index)?;
        // SAFETY: the first `count` are there.
        Some(unsafe { term.assume_init() })
    }
}

/// Products that [`Gathered`] holds; what a layer of the deepest network can have is compared with it where layers are.
pub(crate) const MOST_PRODUCTS: usize = 68;

/// Products put in a list one by one.
pub(crate) struct Gathered<'a, T> {
    list: [MaybeUninit<Product<'a, T>>; MOST_PRODUCTS],
    /// How many are there.
    count: usize,
}

impl<'a, T: Copy> Gathered<'a, T> {
    /// None yet. It is long and must not be moved.
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self { list: [const { MaybeUninit::uninit() }; MOST_PRODUCTS], count: 0 }
    }
    /// Them all.
    #[inline(always)]
    pub(crate) fn list(&self) -> List<'a, '_, T> {
        // SAFETY: the first `count` are there, and `count` is at most MOST_PRODUCTS.
        List(unsafe { core::slice::from_raw_parts(self.list.as_ptr().cast(), self.count) })
    }
}

impl<'a, T: Copy> EachProduct<'a, T> for Gathered<'a, T> {
    #[inline(always)]
    fn product(&mut self, product: Product<'a, T>) {
        if let Some(place) = self.list.get_mut(self.count) {
            place.write(product);
            self.count += 1;
        }
    }
}

/// Any number of products, in a loop: one copy of the code for a product.
#[derive(Clone, Copy)]
pub(crate) struct List<'a, 'b, T>(pub(super) &'b [Product<'a, T>]);

impl<'a, T: Copy> Products<'a, T> for List<'a, '_, T> {
    type Terms = Self;
    #[inline(always)]
    fn visit<V: EachProduct<'a, T>>(self, each: &mut V) {
        for product in self.0 {
            each.product(*product);
        }
    }
    #[inline(always)]
    fn terms(self) -> Self {
        self
    }
}

impl<T: Copy> Terms<T> for List<'_, '_, T> {
    #[inline(always)]
    fn at(&self, index: usize) -> Option<Term<T>> {
        self.0.get(index).copied().map(Term::of)
    }
}

/// Whether base and products give `samples x units`; and whether the samples of all of them, if there is one of each, lie in a
/// row.
///
/// # Errors
/// [`ShapeError`] with what does not fit.
#[inline(always)]
pub(super) fn shapes_fit<'a, const TRANSPOSED: bool, T: Scalar>(
    base: Base<'a, T>,
    products: impl Products<'a, T>,
    samples: usize,
    units: usize,
) -> Result<bool, ShapeError> {
    let mut in_a_row = true;
    match base {
        Base::Zero => {}
        Base::Bias(bias) => expect("biases", units, bias.len())?,
        Base::Matrix(matrix) => {
            expect("samples of the base", samples, matrix.rows())?;
            expect("units of the base", units, matrix.cols())?;
            in_a_row = matrix.stride() == 1;
        }
    }
    let mut difference = Difference::<TRANSPOSED> { samples, units, shapes: 0, strides: 0 };
    products.visit(&mut difference);
    if difference.shapes != 0 {
        let mut fit = Fit::<TRANSPOSED> { samples, units, result: Ok(()) };
        products.visit(&mut fit);
        fit.result?;
    }
    Ok(in_a_row && difference.strides == 0)
}

/// Whether all products fit, and lie in a row: zero if so. It spares a branch for everything that may not fit.
struct Difference<const TRANSPOSED: bool> {
    samples: usize,
    units: usize,
    shapes: usize,
    strides: usize,
}

impl<'a, const TRANSPOSED: bool, T: Scalar> EachProduct<'a, T> for Difference<TRANSPOSED> {
    #[inline(always)]
    fn product(&mut self, Product { matrix, operand }: Product<'a, T>) {
        let (outputs, inputs) =
            if TRANSPOSED { (matrix.cols(), matrix.rows()) } else { (matrix.rows(), matrix.cols()) };
        self.shapes |= (self.samples ^ operand.rows()) | (inputs ^ operand.cols()) | (self.units ^ outputs);
        self.strides |= operand.stride() ^ 1;
    }
}

/// Looks for the first product that does not fit.
struct Fit<const TRANSPOSED: bool> {
    samples: usize,
    units: usize,
    result: Result<(), ShapeError>,
}

impl<'a, const TRANSPOSED: bool, T: Scalar> EachProduct<'a, T> for Fit<TRANSPOSED> {
    #[inline(always)]
    fn product(&mut self, Product { matrix, operand }: Product<'a, T>) {
        let (outputs, inputs) =
            if TRANSPOSED { (matrix.cols(), matrix.rows()) } else { (matrix.rows(), matrix.cols()) };
        self.result = self
            .result
            .and_then(|()| expect("samples of an operand", self.samples, operand.rows()))
            .and_then(|()| expect("units of an operand", inputs, operand.cols()))
            .and_then(|()| expect("outputs of a matrix", self.units, outputs));
    }
}

/// Whether the samples of base and products, of which there is one each, lie in a row.
///
/// # Errors
/// [`ShapeError`] with the stride of one that does not.
#[inline(always)]
pub(super) fn in_a_row<'a, T: Scalar>(
    base: Base<'a, T>,
    products: impl Products<'a, T>,
) -> Result<(), ShapeError> {
    let mut row = InARow(match base {
        Base::Matrix(matrix) => expect("stride of the base", 1, matrix.stride()),
        Base::Zero | Base::Bias(_) => Ok(()),
    });
    products.visit(&mut row);
    row.0
}

struct InARow(Result<(), ShapeError>);

impl<'a, T: Scalar> EachProduct<'a, T> for InARow {
    #[inline(always)]
    fn product(&mut self, Product { operand, .. }: Product<'a, T>) {
        self.0 = self.0.and_then(|()| expect("stride of an operand", 1, operand.stride()));
    }
}
