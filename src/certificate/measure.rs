//! What a certificate states of weights, and the search for one: compiled once for all networks.

use super::comparison::{Bounds, Comparison, norm, steep};
use super::outward::{count, larger, over, plus, times};
use super::search::search;
use super::{CertificateError, NUMBERS};
use crate::kernel::{Scalar, once};
use crate::network::Parameters;

// What is compared, a vector, and room for as many scalars.
once!(SearchOnce: (Comparison<'a, T>, &'a mut [T], &'a mut [T]) => Option<T>, search_upwards);
once!(pub(super) AdjointSearchOnce: (Comparison<'a, T>, &'a mut [T], &'a mut [T]) => Option<T>, search_downwards);
once!(pub(super) AdjointRateOnce: (Comparison<'a, T>, &'a [T], &'a mut [T]) => Option<T>, adjoint_rate);
once!(MeasureOnce: (Parameters<'a, T>, Bounds<T>, &'a [T], &'a mut [T]) => Option<[T; NUMBERS]>, measure);

/// Leaves in `v` a vector that certifies, if there is one, and gives its gamma, below 1 or not.
pub(super) fn propose<T: Scalar>(
    params: Parameters<'_, T>,
    bounds: Bounds<T>,
    v: &mut [T],
    w: &mut [T],
) -> Result<T, CertificateError<T>> {
    T::once::<SearchOnce>((Comparison::new(params, bounds), v, w)).ok_or(CertificateError::NotFinite)
}

/// The numbers a certificate with this vector states of these weights, rounded outwards.
pub(crate) fn measured<T: Scalar>(
    params: Parameters<'_, T>,
    bounds: Bounds<T>,
    v: &[T],
    w: &mut [T],
) -> Option<[T; NUMBERS]> {
    T::once::<MeasureOnce>((params, bounds, v, w))
}

#[inline(always)]
fn search_upwards<T: Scalar>((comparison, v, w): (Comparison<'_, T>, &mut [T], &mut [T])) -> Option<T> {
    search::<false, T>(&comparison, v, w)
}

#[inline(always)]
fn search_downwards<T: Scalar>((comparison, v, w): (Comparison<'_, T>, &mut [T], &mut [T])) -> Option<T> {
    search::<true, T>(&comparison, v, w)
}

#[inline(always)]
fn adjoint_rate<T: Scalar>((comparison, v, w): (Comparison<'_, T>, &[T], &mut [T])) -> Option<T> {
    comparison.sweep::<true>(T::ZERO, T::ZERO, v, w)
}

/// The numbers a certificate with this vector states, rounded outwards. In line where it is compiled for one network: layouts are constants
/// then.
#[inline(always)]
fn measure<T: Scalar>(
    (params, bounds, v, w): (Parameters<'_, T>, Bounds<T>, &[T], &mut [T]),
) -> Option<[T; NUMBERS]> {
    let comparison = Comparison::new(params, bounds);
    // Exactly 0 where nothing is fed back, which the sweep says too.
    let gamma = comparison.sweep::<false>(T::ZERO, T::ZERO, v, w)?;
    let (mut propagation, mut bias) = (T::ZERO, T::ZERO);
    for (index, layer) in comparison.layers().iter().enumerate() {
        comparison.layer::<false>(index, None, w)?;
        let units = layer.own();
        let (own, v) = (w.get_mut(units.clone())?, v.get(units)?);
        for (own, v) in own.iter_mut().zip(v) {
            *own = plus(*own, *v);
        }
        propagation = larger(propagation, norm(own, v));
        for (b, v) in comparison.params.b(layer).iter().zip(v) {
            bias = larger(bias, over(steep(comparison.slope(index), b.magnitude()), *v));
        }
    }
    let first = comparison.layers().first()?;
    let (own, first_v) = (w.get_mut(..first.width)?, v.get(..first.width)?);
    Comparison::rows(comparison.params.w(first), |_| T::ONE, comparison.slope(0), own)?;
    let input = norm(own, first_v);
    let range = range(&comparison, bounds.magnitudes, v, w)?;
    let largest = v.iter().fold(T::ZERO, |largest, v| larger(largest, *v));
    let numbers = [gamma, propagation, bias, input, range, largest];
    [gamma, propagation, bias, input].iter().all(|number| number.is_finite()).then_some(numbers)
}

/// A bound on max |h_i| / v_i of every state, computed or exact, or infinity.
#[inline(always)]
fn range<T: Scalar>(
    comparison: &Comparison<'_, T>,
    [hidden, output]: [Option<T>; 2],
    v: &[T],
    w: &mut [T],
) -> Option<T> {
    let (last, below) = comparison.layers().split_last()?;
    let hidden_v = v.get(..last.units)?;
    let own_v = v.get(last.units..)?;
    let mut range = T::ZERO;
    match (hidden, output) {
        (_, Some(bound)) => {
            range = own_v.iter().fold(range, |range, v| larger(range, over(bound, *v)));
        }
        (Some(hidden), None) if !below.is_empty() => {
            // |s(z)| <= S |z| for what is not bounded.
            let (own, slope) = (w.get_mut(last.units..)?, comparison.slope(below.len()));
            Comparison::rows(comparison.params.w(last), |_| hidden, slope, own)?;
            for ((z, b), v) in own.iter().zip(comparison.params.b(last)).zip(own_v) {
                range = larger(range, over(plus(*z, steep(slope, b.magnitude())), *v));
            }
        }
        _ => return Some(T::INFINITE),
    }
    match hidden {
        _ if below.is_empty() => {}
        Some(hidden) => {
            range = hidden_v.iter().fold(range, |range, v| larger(range, over(hidden, *v)));
        }
        None => return Some(T::INFINITE),
    }
    // A computed sum is larger than the exact one by a rounding error for each term; and sums of bounds round up.
    let excess = count::<T>(last.columns() + 32) * T::PRECISION;
    Some(times(range, T::ONE + excess))
}
