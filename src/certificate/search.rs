//! Looking for a vector that certifies. What is found here is not trusted: the check is another sweep.

use super::comparison::Comparison;
use super::outward::larger;
use crate::kernel::Scalar;
use crate::network::Source;

/// Sweeps for each degree of flatness.
const SWEEPS: usize = 16;
/// The least an entry may be, as a part of the largest in its layer and of the largest of all: n for 2^-n.
#[derive(Clone, Copy)]
struct Floor {
    layer: u8,
    all: u8,
}
/// Next to none.
const STEEP: Floor = Floor { layer: 20, all: 60 };
/// Floors within a layer, the flattest vector first.
const LAYER: [u8; 4] = [4, 8, 12, STEEP.layer];
/// Floors of all: from layer to layer entries grow as the weights make them, but a layer that no feedback reaches has nothing
/// else to stand on.
const ALL: [u8; 7] = [4, 8, 12, 20, 30, 40, STEEP.all];
/// 2^-n, of no other type than the scalar: a processor without `f64` needs none here.
fn power<T: Scalar>(n: u8) -> T {
    (0..n).fold(T::ONE, |power, _| power * T::from_f64(0.5))
}
/// How much larger gamma may be for the sake of a flatter vector.
const WORSE: f64 = 1.125;
/// A gamma that is small enough in any case. Where feedback goes round nowhere, a steeper vector always gives a smaller one.
const SMALL: f64 = 1.0 / 256.0;

/// Leaves in `v`, at least 1 everywhere, a vector under which sweeps shrink errors nearly as much as they can be shown to,
/// and returns gamma, rounded outwards, whether below 1 or not. `w` is room for as many scalars.
///
/// v := G v, scaled, settles at the best vector (Perron and Frobenius). Every other step takes the mean of both, which
/// settles even where G turns in a circle. Then a flatter vector is tried: error bounds of a unit are proportional to its
/// entry, and a rounding error counts the more the smaller the entry is. All of it is linear in U: a network whose U is
/// scaled gets the same vector and a scaled gamma, but for a gamma below [`SMALL`].
pub(super) fn search<'a, const ADJOINT: bool, T: Scalar>(
    comparison: &Comparison<'a, T, impl Source<'a, T>>,
    v: &mut [T],
    w: &mut [T],
) -> Option<T> {
    v.fill(T::ONE);
    let best = iterate::<ADJOINT, T>(comparison, STEEP, v, w)?;
    if best == T::ZERO {
        return Some(best);
    }
    let mut floor = STEEP;
    for layer in LAYER {
        floor.layer = layer;
        if good(best, iterate::<ADJOINT, T>(comparison, floor, v, w)?) {
            break;
        }
    }
    let mut gamma = best;
    for all in ALL {
        floor.all = all;
        gamma = iterate::<ADJOINT, T>(comparison, floor, v, w)?;
        if good(best, gamma) {
            break;
        }
    }
    Some(gamma)
}

/// Whether a gamma is good enough where `best` is the best there is.
fn good<T: Scalar>(best: T, gamma: T) -> bool {
    let most = larger(best * T::from_f64(WORSE), T::from_f64(SMALL));
    gamma <= most && (gamma < T::ONE || best >= T::ONE)
}

/// [`SWEEPS`] sweeps with one floor, and gamma of what comes of them.
fn iterate<'a, const ADJOINT: bool, T: Scalar>(
    comparison: &Comparison<'a, T, impl Source<'a, T>>,
    floor: Floor,
    v: &mut [T],
    w: &mut [T],
) -> Option<T> {
    let largest = |v: &[T]| v.iter().fold(T::ZERO, |largest, v| larger(largest, *v));
    let (layer, all) = (power::<T>(floor.layer), power::<T>(floor.all));
    let mut rate = T::ZERO;
    for step in 0..SWEEPS {
        let least = all * rate * largest(v);
        rate = comparison.sweep::<ADJOINT>(layer, least, v, w)?;
        let top = largest(w);
        if top == T::ZERO {
            // No feedback reaches anything: every vector will do.
            v.fill(T::ONE);
            return Some(T::ZERO);
        }
        let mut lowest = T::INFINITE;
        for (w, v) in w.iter_mut().zip(v.iter()) {
            if step == 0 {
                // Its rate was not known yet.
                *w = larger(*w, all * top);
            }
            if step % 2 == 1 {
                *w += rate * *v;
            }
            lowest = if *w < lowest { *w } else { lowest };
        }
        for (v, w) in v.iter_mut().zip(w.iter()) {
            *v = larger(*w / lowest, T::ONE);
        }
    }
    comparison.sweep::<ADJOINT>(T::ZERO, T::ZERO, v, w)
}
