//! The sums a fused layer is made of.

use super::{Matrix, Scalar, ShapeError, expect};

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

/// A product `x M^T` (or `x M` when transposed) of a batch `x`, `samples x units`, with a matrix.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a, T> {
    /// The matrix M.
    pub matrix: Matrix<'a, T>,
    /// The batch x, its rows samples.
    pub operand: Matrix<'a, T>,
}

/// The products of a fused layer. A type and not an iterator: which products there are and how long they are is then
/// known while compiling wherever it is known at all, and an unrolled network has no loop over them.
pub(crate) trait Products<'a, T>: Copy {
    /// Hands every product to `each`, in order.
    fn visit<V: EachProduct<'a, T>>(self, each: &mut V);
    /// How many there are.
    fn count(&self) -> usize;
    /// The one at `index`, for a loop over them: less code than [`visit`](Self::visit), and nothing known while compiling.
    fn at(&self, index: usize) -> Option<Product<'a, T>>;
}

/// What is done with a product. A trait and not a closure: a closure is compiled without the instruction set of the
/// function it stands in, unless it happens to be inlined.
pub(crate) trait EachProduct<'a, T> {
    /// Does it.
    fn product(&mut self, product: Product<'a, T>);
}

impl<'a, T: Copy> Products<'a, T> for Product<'a, T> {
    #[inline(always)]
    fn visit<V: EachProduct<'a, T>>(self, each: &mut V) {
        each.product(self);
    }
    #[inline(always)]
    fn count(&self) -> usize {
        1
    }
    #[inline(always)]
    fn at(&self, index: usize) -> Option<Product<'a, T>> {
        (index == 0).then_some(*self)
    }
}

impl<'a, T, P: Products<'a, T>> Products<'a, T> for Option<P> {
    #[inline(always)]
    fn visit<V: EachProduct<'a, T>>(self, each: &mut V) {
        if let Some(products) = self {
            products.visit(each);
        }
    }
    #[inline(always)]
    fn count(&self) -> usize {
        self.as_ref().map_or(0, P::count)
    }
    #[inline(always)]
    fn at(&self, index: usize) -> Option<Product<'a, T>> {
        self.as_ref().and_then(|products| products.at(index))
    }
}

/// One after the other.
impl<'a, T, P: Products<'a, T>, Q: Products<'a, T>> Products<'a, T> for (P, Q) {
    #[inline(always)]
    fn visit<V: EachProduct<'a, T>>(self, each: &mut V) {
        self.0.visit(each);
        self.1.visit(each);
    }
    #[inline(always)]
    fn count(&self) -> usize {
        self.0.count() + self.1.count()
    }
    #[inline(always)]
    fn at(&self, index: usize) -> Option<Product<'a, T>> {
        let first = self.0.count();
        if index < first { self.0.at(index) } else { self.1.at(index - first) }
    }
}

/// Any number of products.
#[derive(Clone, Copy)]
pub(super) struct Listed<'a, 'b, T> {
    pub(super) products: &'b [Product<'a, T>],
    /// The first sample and the number of samples to be looked at; without it, all.
    pub(super) part: Option<(usize, usize)>,
}

impl<'a, T: Scalar> Products<'a, T> for Listed<'a, '_, T> {
    #[inline(always)]
    fn visit<V: EachProduct<'a, T>>(self, each: &mut V) {
        let mut index = 0;
        while let Some(product) = self.at(index) {
            each.product(product);
            index += 1;
        }
    }
    #[inline(always)]
    fn count(&self) -> usize {
        self.products.len()
    }
    #[inline(always)]
    fn at(&self, index: usize) -> Option<Product<'a, T>> {
        let Product { matrix, operand } = *self.products.get(index)?;
        let operand = match self.part {
            Some((first, samples)) => operand.row_range(first, samples),
            None => operand,
        };
        Some(Product { matrix, operand })
    }
}

/// Whether base and products give `samples x units`.
///
/// # Errors
/// [`ShapeError`] with what does not.
#[inline(always)]
pub(super) fn shapes_fit<'a, const TRANSPOSED: bool, T: Scalar>(
    base: Base<'a, T>,
    products: impl Products<'a, T>,
    samples: usize,
    units: usize,
) -> Result<(), ShapeError> {
    match base {
        Base::Zero => {}
        Base::Bias(bias) => expect("biases", units, bias.len())?,
        Base::Matrix(matrix) => {
            expect("samples of the base", samples, matrix.rows())?;
            expect("units of the base", units, matrix.cols())?;
        }
    }
    let mut fit = Fit::<TRANSPOSED> { samples, units, result: Ok(()) };
    products.visit(&mut fit);
    fit.result
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
