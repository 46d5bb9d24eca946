//! Sweeps with the magnitudes of the weights: how an error spreads at most. Rounded outwards.

use super::outward::{count, larger, over, times};
use crate::kernel::{Activation as _, Facts, Matrix, Scalar, add_magnitudes, add_magnitudes_transposed};
use crate::network::{Architecture, Correction, LayerLayout, Parameters, Source};
use crate::simd::Backend;
use core::marker::PhantomData;

/// What is known of the activations of the hidden layers and of the output layer.
#[derive(Clone, Copy)]
pub(crate) struct Bounds<T> {
    /// On their slopes.
    pub(super) slopes: [T; 2],
    /// On their magnitudes, where there is one.
    pub(super) magnitudes: [Option<T>; 2],
}

impl<T: Scalar> Bounds<T> {
    /// Those of a type of network. In line, so that a processor without `f64` needs none for its constants.
    #[inline(always)]
    #[allow(
        clippy::manual_map,
        reason = "where code is small, `map` is a function that converts whatever it is given"
    )]
    pub(crate) fn of<N: Architecture>() -> Self {
        let magnitudes = [
            if let Some(bound) = <N::Hidden>::BOUND { Some(T::from_f64(bound)) } else { None },
            if let Some(bound) = <N::Outputs>::BOUND { Some(T::from_f64(bound)) } else { None },
        ];
        Self { slopes: [T::from_f64(<N::Hidden>::STEEPEST), T::from_f64(<N::Outputs>::STEEPEST)], magnitudes }
    }
    /// Those of activations that are known when running.
    pub(crate) fn of_facts(hidden: &Facts<T>, output: &Facts<T>) -> Self {
        Self { slopes: [hidden.steepest, output.steepest], magnitudes: [hidden.bound, output.bound] }
    }
}

/// The network with every weight its magnitude and every activation its steepest slope.
///
/// Certificates are computed by [`Backend::portable`], which gives the same bits on every processor: a certificate that holds on
/// one holds on all.
pub(super) struct Comparison<'a, T, P = Parameters<'a, T>> {
    pub(super) params: P,
    backend: Backend,
    hidden: T,
    output: T,
    borrow: PhantomData<&'a [T]>,
}

impl<'a, T: Scalar, P: Source<'a, T>> Comparison<'a, T, P> {
    pub(super) fn new(params: P, bounds: Bounds<T>) -> Self {
        Self::on(Backend::portable(), params, bounds)
    }

    /// For a bound that need not be the same on every processor.
    pub(super) fn on(backend: Backend, params: P, bounds: Bounds<T>) -> Self {
        let [hidden, output] = bounds.slopes;
        Self { params, backend, hidden, output, borrow: PhantomData }
    }

    pub(super) fn layers(&self) -> &'a [LayerLayout] {
        self.params.layout().layers()
    }

    /// S of a layer.
    pub(super) fn slope(&self, index: usize) -> T {
        if index + 1 == self.layers().len() { self.output } else { self.hidden }
    }

    /// One layer of a sweep, w_l := S_l (what w sends within the sweep + what `across` sent before), rounded outwards. Going
    /// up, W sends within the sweep and U across; for an adjoint, W^T going down and U^T.
    ///
    /// `across` is at least 1 everywhere. A sum is 0 only if it is so exactly.
    pub(super) fn layer<const ADJOINT: bool>(
        &self,
        index: usize,
        across: Option<&[T]>,
        w: &mut [T],
    ) -> Option<()> {
        let (params, layout, layers) = (&self.params, self.params.layout(), self.layers());
        let layer = layers.get(index)?;
        let (before, rest) = w.split_at_mut_checked(layer.units)?;
        let (own, after) = rest.split_at_mut_checked(layer.width)?;
        own.fill(T::ZERO);
        let mut rounded = 0;
        if let (Some(v), Some(k)) = (across, layout.tied::<T>()) {
            // The part the layer above plays in a sweep is played by the one below in an adjoint's.
            let other = if ADJOINT { index.checked_sub(1) } else { Some(index + 1) };
            if let Some(other) = other.and_then(|other| layers.get(other)) {
                let sent = v.get(other.own())?;
                if ADJOINT {
                    add_magnitudes(self.backend, params.w(layer), sent, own).ok()?;
                } else {
                    add_magnitudes_transposed(self.backend, params.w(other), sent, own).ok()?;
                }
                for sum in own.iter_mut() {
                    *sum = times(k, *sum);
                }
                // And one for the factor.
                rounded = other.width + 1;
            }
        }
        let fresh: &[T] = if ADJOINT {
            layers.get(index + 1).map_or(Some(&[][..]), |next| after.get(..next.width))?
        } else if index > 0 {
            before.get(layer.below())?
        } else {
            &[]
        };
        let mut terms = fresh.len() + rounded;
        if !fresh.is_empty() {
            if ADJOINT {
                let next = layers.get(index + 1)?;
                add_magnitudes_transposed(self.backend, params.w(next), fresh, own).ok()?;
            } else {
                add_magnitudes(self.backend, params.w(layer), fresh, own).ok()?;
            }
        }
        let silent = fresh.iter().all(|w| *w == T::ZERO);
        if let Some(v) = across {
            if ADJOINT {
                for reader in layers.get(layout.readers(index))? {
                    let matrix = params.u(reader).columns(layer.columns_in(reader).start, layer.width);
                    let sent = v.get(reader.own())?;
                    add_magnitudes_transposed(self.backend, matrix, sent, own).ok()?;
                    terms += reader.width;
                }
            } else if layer.feedback > 0 {
                let sent = v.get(layer.above())?;
                add_magnitudes(self.backend, params.u(layer), sent, own).ok()?;
                terms += layer.feedback;
            }
        }
        let mut silent = silent;
        if let Some(Correction { p, q }) = params.correction(layer) {
            // Only going up: an adjoint of such a network has no certificate.
            if ADJOINT {
                return None;
            }
            let fed_back = match across {
                Some(v) => v.get(layer.above())?,
                None => &[],
            };
            // |W + P Q^T| h <= |W| h + |P| (|Q|^T h), some columns of P at a time.
            let [of_w, of_u] = params.corrects(layer);
            const PART: usize = 16;
            for first in (0..p.cols()).step_by(PART) {
                let mut part = [T::ZERO; PART];
                let part = part.get_mut(..PART.min(p.cols() - first))?;
                let q = q.row_range(first, part.len());
                if of_w && !fresh.is_empty() {
                    add_magnitudes(self.backend, q.columns(0, layer.inputs), fresh, part).ok()?;
                }
                if of_u && !fed_back.is_empty() {
                    let q = q.columns(layer.inputs, layer.feedback);
                    add_magnitudes(self.backend, q, fed_back, part).ok()?;
                }
                finish(part, fresh.len() + fed_back.len(), silent, T::ONE);
                let p = p.columns(first, part.len());
                if part.iter().all(|sum| *sum == T::ZERO) || zero(p) {
                    continue;
                }
                add_magnitudes(self.backend, p, part, own).ok()?;
                terms += part.len();
                // A product of two small numbers may be 0 though neither is.
                silent = false;
            }
        }
        finish(own, terms, silent, self.slope(index));
        Some(())
    }

    /// w := sweep of v, and the largest w_i / v_i. With a `floor`, no w is less than this part of the largest in its layer,
    /// nor than `least`: the same for the vector after v as G v is.
    pub(super) fn sweep<const ADJOINT: bool>(&self, floor: T, least: T, v: &[T], w: &mut [T]) -> Option<T> {
        let layers = self.layers();
        let mut rate = T::ZERO;
        for step in 0..layers.len() {
            let index = if ADJOINT { layers.len() - 1 - step } else { step };
            let layer = layers.get(index)?;
            self.layer::<ADJOINT>(index, Some(v), w)?;
            let own = w.get_mut(layer.own())?;
            if floor > T::ZERO {
                let lowest = own.iter().fold(T::ZERO, |largest, w| larger(largest, *w)) * floor;
                let lowest = larger(lowest, least);
                for w in own.iter_mut() {
                    *w = larger(*w, lowest);
                }
            }
            rate = larger(rate, norm(own, v.get(layer.own())?));
        }
        rate.is_finite().then_some(rate)
    }
}

impl<T: Scalar> Comparison<'_, T> {
    /// The rows of |matrix| times `vector`, of the first layer's inputs or of the last layer's; rounded outwards.
    pub(super) fn rows(
        matrix: Matrix<'_, T>,
        vector: impl Fn(usize) -> T,
        slope: T,
        sums: &mut [T],
    ) -> Option<()> {
        const PART: usize = 16;
        sums.fill(T::ZERO);
        let mut silent = true;
        for first in (0..matrix.cols()).step_by(PART) {
            let mut part = [T::ZERO; PART];
            let part = part.get_mut(..PART.min(matrix.cols() - first))?;
            for (j, factor) in part.iter_mut().enumerate() {
                *factor = vector(first + j);
                silent &= *factor == T::ZERO;
            }
            add_magnitudes(Backend::portable(), matrix.columns(first, part.len()), part, sums).ok()?;
        }
        finish(sums, matrix.cols(), silent, slope);
        Some(())
    }
}

/// A number times a slope, rounded outwards. The slopes of the built-in activations are powers of two, and nothing is rounded.
pub(super) fn steep<T: Scalar>(slope: T, x: T) -> T {
    if slope == T::ONE || slope * count(4) == T::ONE { slope * x } else { times(slope, x) }
}

/// Rounds sums of `terms` products outwards and multiplies them by a slope.
///
/// Whatever the order of summation, each product is rounded once and goes through at most `terms` additions, none of which
/// subtracts: the sum is at least (1 - u)^(terms + 1) times the exact one, less what products too small for all their digits
/// lose, each less than the smallest number that has them all. Three roundings follow here, two where the slope is
/// a power of two. With m = terms + 4 and m u <= 1/2, (1 - u)^-m <= 1 / (1 - m u) <= 1 + 2 m u, which is `growth`, an exact number.
///
/// `silent` says that the sum is exact if it is 0: what came in within the sweep is 0 everywhere, and what came across is at
/// least 1, so that only a weight of 0 makes a product of 0.
pub(super) fn finish<T: Scalar>(sums: &mut [T], terms: usize, silent: bool, slope: T) {
    let excess = count::<T>(terms + 4) * T::PRECISION;
    let growth = if excess <= T::from_f64(0.5) { T::ONE + excess } else { T::INFINITE };
    let tiny = count::<T>(terms + 1) * T::MIN_POSITIVE;
    for sum in sums {
        if !(silent && *sum == T::ZERO) {
            *sum = *sum * growth * slope + tiny;
        }
    }
}

/// Whether nothing but zeros is in it.
fn zero<T: Scalar>(matrix: Matrix<'_, T>) -> bool {
    (0..matrix.cols()).all(|col| (0..matrix.rows()).all(|row| matrix.at(row, col) == Some(T::ZERO)))
}

/// The largest w_i / v_i, rounded outwards.
pub(super) fn norm<T: Scalar>(w: &[T], v: &[T]) -> T {
    w.iter().zip(v).fold(T::ZERO, |largest, (w, v)| larger(largest, over(*w, *v)))
}
