//! A network and its adapter, if it has one, seen layer by layer: one type for what is compiled once.

use super::flat::Parameters;
use super::layout::{LayerLayout, Layout};
use super::source::{Correction, Source, Viewed};
use crate::kernel::{Matrix, MatrixMut, TYPED};
use crate::simd::Element;

/// What an adapter holds.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Corrections of so low a rank, and biases.
    LowRank(usize),
    /// All parameters of the layers from this one on, counted from 0.
    Above(usize),
}

/// The parameters of an adapted network, without forming it: what the adapter holds, and the rest of the network. Or of a network alone.
#[derive(Clone, Copy)]
pub(crate) struct View<'a, T> {
    pub(crate) base: Parameters<'a, T>,
    /// The adapter's.
    pub(crate) own: &'a [T],
    pub(crate) plan: Plan,
}

/// Where a layer's parameters lie among the adapter's, each column-major.
enum Place {
    /// Nowhere: they are the network's.
    Frozen,
    /// W, U and b from here on.
    Layer(usize),
    /// P, Q^T and b from here on.
    Correction {
        /// The first of them.
        start: usize,
        /// Columns of P.
        rank: usize,
    },
}

impl Plan {
    /// The rank of the corrections, if there are any.
    pub(crate) const fn rank(self) -> usize {
        match self {
            Self::LowRank(rank) => rank,
            Self::Above(_) => 0,
        }
    }

    /// How many parameters the adapter has.
    pub(crate) const fn len(self, layout: &Layout) -> usize {
        match self {
            Self::Above(layers) => layout.params() - layout.layer(layers).params,
            Self::LowRank(rank) => {
                let (mut len, mut index) = (0, 0);
                while index < layout.depth() {
                    len += corrections(&layout.layer(index), rank);
                    index += 1;
                }
                len
            }
        }
    }

    /// Where the parameters of a layer lie.
    fn place(self, layout: &Layout, layer: &LayerLayout) -> Place {
        match self {
            Self::Above(layers) => {
                let first = layout.layers().get(layers).map_or(usize::MAX, |first| first.params);
                layer.params.checked_sub(first).map_or(Place::Frozen, Place::Layer)
            }
            Self::LowRank(rank) => {
                let below = layout.layers().iter().take_while(|below| below.units < layer.units);
                Place::Correction { start: below.map(|below| corrections(below, rank)).sum(), rank }
            }
        }
    }
}

/// How many parameters a correction of a layer has.
const fn corrections(layer: &LayerLayout, rank: usize) -> usize {
    rank * (layer.width + layer.columns()) + layer.width
}

impl<'a, T: Element> View<'a, T> {
    /// The network's parameters, if there are no others. On bare metal there always are: a network alone has code of its own.
    #[inline]
    pub(crate) fn plain(&self) -> Option<Parameters<'a, T>> {
        (!TYPED && self.own.is_empty()).then_some(self.base)
    }

    fn place(&self, layer: &LayerLayout) -> Place {
        self.plan.place(self.layout(), layer)
    }

    /// A matrix among the adapter's parameters.
    fn matrix(&self, start: usize, rows: usize, cols: usize) -> Option<Matrix<'a, T>> {
        Matrix::new(self.own.get(start..start + rows * cols)?, rows, cols).ok()
    }
}

impl<'a, T: Element> Viewed<'a, T> for View<'a, T> {
    fn view(self) -> Self {
        self
    }
}

// A network alone is most of what is compiled once, and does not ask where its layers are.
impl<'a, T: Element> Source<'a, T> for View<'a, T> {
    const CORRECTED: bool = true;

    #[inline]
    fn layout(&self) -> &'a Layout {
        self.base.layout()
    }

    fn afresh(self) -> Self {
        Self { base: self.base.afresh(), ..self }
    }

    #[inline]
    fn rank(&self) -> usize {
        self.plan.rank()
    }

    #[inline]
    fn w(&self, layer: &LayerLayout) -> Matrix<'a, T> {
        self.plain().map_or_else(|| self.adapted_w(layer), |base| base.w(layer))
    }

    #[inline]
    fn u(&self, layer: &LayerLayout) -> Matrix<'a, T> {
        self.plain().map_or_else(|| self.adapted_u(layer), |base| base.u(layer))
    }

    #[inline]
    fn b(&self, layer: &LayerLayout) -> &'a [T] {
        self.plain().map_or_else(|| self.adapted_b(layer), |base| base.b(layer))
    }

    #[inline]
    fn correction(&self, layer: &LayerLayout) -> Option<Correction<'a, T>> {
        if self.plain().is_some() { None } else { self.adapted_correction(layer) }
    }
}

impl<'a, T: Element> View<'a, T> {
    fn adapted_w(&self, layer: &LayerLayout) -> Matrix<'a, T> {
        let own = match self.place(layer) {
            Place::Layer(start) => self.matrix(start, layer.width, layer.inputs),
            _ => None,
        };
        own.unwrap_or_else(|| self.base.w(layer))
    }

    fn adapted_u(&self, layer: &LayerLayout) -> Matrix<'a, T> {
        let own = match self.place(layer) {
            Place::Layer(start) => self.matrix(start + layer.u() - layer.params, layer.width, layer.feedback),
            _ => None,
        };
        own.unwrap_or_else(|| self.base.u(layer))
    }

    fn adapted_b(&self, layer: &LayerLayout) -> &'a [T] {
        let inputs = layer.columns();
        let start = match self.place(layer) {
            Place::Frozen => None,
            Place::Layer(start) => Some(start + layer.b() - layer.params),
            Place::Correction { start, rank } => Some(start + rank * (layer.width + inputs)),
        };
        let own = start.and_then(|start| self.own.get(start..start + layer.width));
        own.unwrap_or_else(|| self.base.b(layer))
    }

    fn adapted_correction(&self, layer: &LayerLayout) -> Option<Correction<'a, T>> {
        match self.place(layer) {
            Place::Correction { start, rank } if rank > 0 => Some(Correction {
                p: self.matrix(start, layer.width, rank)?,
                q: self.matrix(start + layer.width * rank, rank, layer.columns())?,
            }),
            _ => None,
        }
    }
}

/// The adapter's parameters of a layer, to change: two matrices and b.
pub(crate) struct Own<'a, T> {
    /// W, or P.
    pub(crate) first: MatrixMut<'a, T>,
    /// U, or Q^T.
    pub(crate) second: MatrixMut<'a, T>,
    pub(crate) b: &'a mut [T],
}

/// The adapter's parameters of a layer, to change, if it has any.
pub(crate) fn own<'a, T>(
    own: &'a mut [T],
    plan: Plan,
    layout: &Layout,
    layer: &LayerLayout,
) -> Option<Own<'a, T>> {
    let (start, [first, second]) = match plan.place(layout, layer) {
        Place::Frozen => return None,
        Place::Layer(start) => (start, [(layer.width, layer.inputs), (layer.width, layer.feedback)]),
        Place::Correction { start, rank } => (start, [(layer.width, rank), (rank, layer.columns())]),
    };
    let (one, rest) = own.get_mut(start..)?.split_at_mut_checked(first.0 * first.1)?;
    let (two, rest) = rest.split_at_mut_checked(second.0 * second.1)?;
    Some(Own {
        first: MatrixMut::new(one, first.0, first.1).ok()?,
        second: MatrixMut::new(two, second.0, second.1).ok()?,
        b: rest.get_mut(..layer.width)?,
    })
}
