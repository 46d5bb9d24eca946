//! Checking a certificate while compiling, where there is arithmetic of numbers but no traits.
//!
//! What [`Certificate::verify`](super::Certificate::verify) computes in the network's scalar is computed here in `f64`, which holds every `f32`, entry
//! by entry and rounded outwards: what is accepted holds, whatever the other would say.

use crate::network::{Layout, MAX_DEPTH};

/// What a certificate is checked against.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a> {
    pub(crate) layout: &'a Layout,
    /// Bounds on the slopes of hidden layers and output layer.
    pub(crate) steepest: [f64; 2],
    /// Bounds on their activations.
    pub(crate) bounds: [Option<f64>; 2],
    /// Bytes of a scalar.
    pub(crate) scalar: usize,
    /// The parameters, little-endian.
    pub(crate) params: &'a [u8],
}

/// The scalar at `index`.
const fn at(bytes: &[u8], scalar: usize, index: usize) -> f64 {
    let (_, rest) = bytes.split_at(index * scalar);
    if scalar == 4 {
        match rest.first_chunk() {
            Some(bytes) => f32::from_le_bytes(*bytes) as f64,
            None => f64::NAN,
        }
    } else {
        match rest.first_chunk() {
            Some(bytes) => f64::from_le_bytes(*bytes),
            None => f64::NAN,
        }
    }
}

/// The larger one, and NaN if one is.
const fn larger(a: f64, b: f64) -> f64 {
    if a > b || a.is_nan() { a } else { b }
}

/// A product of numbers that are not negative; 0 only if one is.
const fn product(a: f64, b: f64) -> f64 {
    let product = a * b;
    if product == 0.0 && a != 0.0 && b != 0.0 { f64::MIN_POSITIVE } else { product }
}

/// At least the exact sum of `terms` products that was rounded to `sum`, times a slope, which is a power of two.
///
/// A product is rounded once and goes through at most `terms` additions: the sum is at least (1 - u)^(terms + 1) times the exact
/// one, u being 2^-53; and three roundings follow.
const fn grown(sum: f64, terms: usize, slope: f64) -> f64 {
    if sum == 0.0 {
        // All of them are.
        return 0.0;
    }
    const HALF: f64 = f64::EPSILON / 2.0;
    sum * slope * (1.0 + (terms + 5) as f64 * HALF * 1.0625) + f64::MIN_POSITIVE
}

/// Whether `found` is no more than `stated` for this entry of the vector.
const fn holds(found: f64, stated: f64, v: f64) -> bool {
    found <= stated * v * (1.0 - f64::EPSILON)
}

/// Checks a certificate, of little-endian scalars, for a network of `UNITS` units.
///
/// # Errors
/// What does not hold.
pub(crate) const fn check<const UNITS: usize>(
    weights: &Weights<'_>,
    certificate: &[u8],
) -> Result<(), &'static str> {
    let Weights { layout, steepest, scalar, params, .. } = *weights;
    let precision = if scalar == 4 { f32::EPSILON as f64 } else { f64::EPSILON };
    let max = if scalar == 4 { f32::MAX as f64 } else { f64::MAX };
    let [gamma, propagation, bias, input, range, largest] = {
        let (mut numbers, mut i) = ([0.0; super::NUMBERS], 0);
        while i < super::NUMBERS {
            numbers[i] = at(certificate, scalar, UNITS + i);
            if !(numbers[i] >= 0.0) || (i != super::RANGE && !(numbers[i] <= max)) {
                return Err("a number is not finite");
            }
            i += 1;
        }
        numbers
    };
    if !(gamma < 1.0) {
        return Err("its rate is not less than 1");
    }
    let mut v = [0.0; UNITS];
    let mut unit = 0;
    while unit < UNITS {
        v[unit] = at(certificate, scalar, unit);
        if !(v[unit] >= 1.0 && v[unit] <= max) {
            return Err("an entry of its vector is not finite or less than 1");
        }
        if v[unit] > largest {
            return Err("an entry of its vector is larger than it says");
        }
        unit += 1;
    }
    let (mut w, mut r, mut most) = ([0.0; UNITS], [0.0; UNITS], 0);
    let mut index = 0;
    while index < layout.depth() && index < MAX_DEPTH {
        let layer = layout.layer(index);
        let last = index + 1 == layout.depth();
        let slope = steepest[last as usize];
        let terms = layout.terms(index);
        most = if terms > most { terms } else { most };
        let first_b = layer.b();
        let mut i = 0;
        while i < layer.width {
            let own = v[layer.units + i];
            let (mut fresh, mut carried, mut of_input, mut sent) = (0.0, 0.0, 0.0, 0.0);
            let mut j = 0;
            while j < layer.inputs {
                let weight = at(params, scalar, layer.weight(i, j)).abs();
                if index == 0 {
                    of_input += weight;
                } else {
                    let below = layer.below().start + j;
                    fresh += product(weight, w[below]);
                    carried += product(weight, r[below]);
                }
                j += 1;
            }
            j = 0;
            while j < layer.feedback {
                let place = layer.weight(i, layer.inputs + j);
                fresh += product(at(params, scalar, place).abs(), v[layer.above().start + j]);
                j += 1;
            }
            if layout.percent() > 0 && !last {
                // As the sweeps have it.
                let k = if scalar == 4 {
                    (layout.percent() as f32 / 100.0) as f64
                } else {
                    layout.percent() as f64 / 100.0
                };
                let next = layout.layer(index + 1);
                j = 0;
                while j < next.width {
                    let weight = at(params, scalar, next.weight(j, i)).abs();
                    let one = product(weight, v[next.units + j]);
                    sent += one;
                    fresh += product(k, one);
                    j += 1;
                }
            }
            let b = at(params, scalar, first_b + i).abs();
            let all = [fresh, carried, of_input, sent, own + carried * slope];
            let mut sum = 0;
            while sum < all.len() {
                if !fits(all[sum], terms, scalar) {
                    return Err("a weight is not finite, or they are too large together");
                }
                sum += 1;
            }
            w[layer.units + i] = grown(fresh, terms, slope);
            r[layer.units + i] = (own + grown(carried, layer.inputs, slope)) * (1.0 + f64::EPSILON);
            if !holds(w[layer.units + i], gamma, own) && w[layer.units + i] != 0.0 {
                return Err("its rate is less than the weights give");
            }
            if !holds(r[layer.units + i], propagation, own) {
                return Err("its propagation is less than the weights give");
            }
            if !holds(b * slope, bias, own) && b != 0.0 {
                return Err("its bias is less than the weights give");
            }
            if !holds(grown(of_input, layer.inputs, slope), input, own) && of_input != 0.0 {
                return Err("its input gain is less than the weights give");
            }
            i += 1;
        }
        index += 1;
    }
    if !(reach(weights, &v) <= range) {
        return Err("its range is less than the weights give");
    }
    // What follows from rounding errors stays below what sweeps take away.
    let kappa = (most + 2) as f64 * 0.5625 * precision;
    let lost = gamma * (1.0 + 32.0 * precision) + 2.0 * propagation * kappa * (1.0 + 32.0 * precision);
    if !(kappa <= 0.0625 && lost < 1.0) {
        return Err("its rate is too close to 1 for rounding errors");
    }
    // As `Certificate::outweighs_rounding` has it; the error of an activation is less than 1.
    let steady = 1.0 - gamma * (1.0 + 32.0 * precision);
    let norm = 4.0 * propagation * (bias + input + 1.0) / steady;
    let mut worst = propagation * (kappa * (2.0 + bias + input) + 1.0) / steady;
    let mut held = range + range;
    if range == f64::INFINITY {
        worst = larger(worst, norm + bias + input);
        held = norm + 2.0 * propagation * (kappa * (norm + bias + input) + 1.0) / (1.0 - lost);
    }
    worst = larger(worst, 400.0 * largest * (held + bias + input + 1.0));
    if fits(larger(worst, 2.0 + bias + input), most, scalar) {
        Ok(())
    } else {
        Err("its numbers are too large for the scalar")
    }
}

/// Whether so large a number is one in the network's scalar after a sum of `terms` products and what it is rounded up by.
const fn fits(number: f64, terms: usize, scalar: usize) -> bool {
    let (precision, max) =
        if scalar == 4 { (f32::EPSILON as f64, f32::MAX as f64) } else { (f64::EPSILON, f64::MAX) };
    number * (1.0 + (2 * terms + 64) as f64 * precision) <= max
}

/// A bound on max |h_i| / v_i of every state, or infinity.
const fn reach(weights: &Weights<'_>, v: &[f64]) -> f64 {
    let Weights { layout, bounds: [hidden, output], scalar, params, .. } = *weights;
    let precision = if scalar == 4 { f32::EPSILON as f64 } else { f64::EPSILON };
    let last = layout.layer(layout.depth() - 1);
    let mut most: f64 = 0.0;
    let mut i = 0;
    while i < last.width {
        let h = match (output, hidden) {
            (Some(bound), _) => bound,
            (None, Some(bound)) if layout.depth() > 1 => {
                let (mut sum, mut j) = (0.0, 0);
                while j < last.inputs {
                    sum += at(params, scalar, last.weight(i, j)).abs() * bound;
                    j += 1;
                }
                let b = at(params, scalar, last.b() + i);
                let h = grown(sum, last.inputs, 1.0) + b.abs();
                if fits(h, last.inputs, scalar) { h } else { f64::INFINITY }
            }
            _ => f64::INFINITY,
        };
        most = larger(most, h / v[last.units + i]);
        i += 1;
    }
    i = 0;
    while i < last.units {
        most = match hidden {
            Some(bound) => larger(most, bound / v[i]),
            None => f64::INFINITY,
        };
        i += 1;
    }
    most * (1.0 + 2.0 * f64::EPSILON) * (1.0 + (last.columns() + 28) as f64 * precision)
}

#[cfg(test)]
mod tests {
    use super::{Weights, check};
    use crate::certificate::Certificate;
    use crate::kernel::{Activation, HardTanh, Relu, Scalar, Sigmoid, Tanh};
    use crate::network::{Takes, bytes};
    use crate::{Dense, Feedforward, Network, Tied, fnn};
    use rand::{RngExt, SeedableRng, rngs::SmallRng};
    extern crate std;
    use std::vec::Vec;

    /// What [`Certificate::verify`] accepts is accepted; and what that refuses is refused, but for numbers within its rounding errors.
    fn agree<T: Scalar, A: Takes<I, Scalar = T>, const I: usize, const UNITS: usize>(zero: &Network<A>) {
        let random = &mut SmallRng::seed_from_u64(UNITS as u64);
        let (mut held, mut refused, mut close) = (0, 0, 0);
        for trial in 0..200 {
            let mut net = zero.clone();
            let size = random.random_range(0.1..0.9);
            for param in net.params_mut() {
                *param = T::from_f64(random.random_range(-size..size));
            }
            let Ok(certificate) = net.limit_rate(T::from_f64(random.random_range(0.05..0.95))) else {
                continue;
            };
            let checked = |net: &Network<A>, certificate: &Certificate<Network<A>>| {
                let weights = Weights {
                    layout: &A::LAYOUT,
                    steepest: [<A::Hidden>::STEEPEST, <A::Outputs>::STEEPEST],
                    bounds: [<A::Hidden>::BOUND, <A::Outputs>::BOUND],
                    scalar: size_of::<T>(),
                    params: bytes(net),
                };
                check::<UNITS>(&weights, bytes(certificate))
            };
            assert_eq!(checked(&net, &certificate), Ok(()), "{:?}", certificate.verify(&net));
            // A little less or more of anything.
            let scalars: Vec<T> = certificate.as_slice().to_vec();
            for at in 0..scalars.len() {
                for factor in [0.5, 0.999, 1.001, 2.0] {
                    let mut scalars = scalars.clone();
                    scalars[at] = scalars[at] * T::from_f64(factor);
                    let other = Certificate::from_slice(&scalars).unwrap();
                    let (found, expected) = (checked(&net, &other).is_ok(), other.verify(&net).is_ok());
                    assert!(found || !expected, "scalar {at} of {} times {factor}", scalars.len());
                    if found && !expected {
                        // It holds, but not by as much as the scalar's own arithmetic rounds it up.
                        for number in &mut scalars[UNITS..] {
                            *number = *number * (T::ONE + T::PRECISION * T::from_usize(64));
                        }
                        Certificate::from_slice(&scalars).unwrap().verify(&net).unwrap();
                        close += 1;
                    }
                    *if found { &mut held } else { &mut refused } += 1;
                }
            }
            if trial < 4 {
                absurd(&net, &certificate, checked);
            }
            // And one weight.
            for factor in [2.0, 1e20, f64::NAN] {
                let mut net = net.clone();
                let at = random.random_range(0..net.params().len());
                let param = &mut net.params_mut()[at];
                *param = *param * T::from_f64(factor);
                assert_eq!(
                    checked(&net, &certificate).is_ok(),
                    certificate.verify(&net).is_ok(),
                    "times {factor}"
                );
            }
        }
        assert!(held > 100 && refused > 100 && close * 20 < held, "{held} {refused} {close}");
    }

    /// Weights and numbers as large as there are: neither way in accepts what the other refuses, and what both accept is of use. A
    /// solve ends, and from zero and for inputs of 1 it ends with a state.
    fn absurd<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(
        net: &Network<A>,
        certificate: &Certificate<Network<A>>,
        checked: impl Fn(&Network<A>, &Certificate<Network<A>>) -> Result<(), &'static str>,
    ) {
        let max = if size_of::<T>() == 4 { f64::from(f32::MAX) } else { f64::MAX };
        let huge: Vec<f64> =
            [1e3, 1e5, 1e6, 1.2e6, 1.5e6, 1.6e6, 1e7, 1e15, 1e30, max / 4.0, max, f64::INFINITY]
                .into_iter()
                .chain([0.0, -1.0, f64::NAN])
                .collect();
        let (units, params) = (certificate.vector().as_slice().len(), net.params().len());
        let check = |net: &Network<A>, scalars: &[T], what: &str| {
            let certificate = Certificate::from_slice(scalars).unwrap();
            let (found, expected) = (checked(net, &certificate), certificate.verify(net));
            assert_eq!(found.is_ok(), expected.is_ok(), "{what}: {found:?}, {expected:?}, {scalars:?}");
            let Ok(certified) = expected else { return false };
            for (start, input) in [(0.0, 1.0), (0.0, max / 2.0), (1e30, 0.0), (-max / 2.0, -1e20)] {
                for error in [1e-3, 0.0] {
                    let mut state = Network::<A>::state();
                    state.as_mut_slice().fill(T::from_f64(start));
                    let input = [T::from_f64(input); I];
                    let solved = certified.solve(&input, &mut state, T::from_f64(error));
                    assert!(
                        solved.is_ok() || start != 0.0 || input[0] > T::ONE,
                        "{what}: {solved:?}, {scalars:?}"
                    );
                    let _ = certified.label(&input, &mut state);
                    if let Ok(mut stream) = certified.skipping(&input, &mut state) {
                        let _ = stream.solve(T::from_f64(error));
                    }
                }
            }
            true
        };
        let (scalars, mut accepted) = (certificate.as_slice(), 0);
        for (first, a) in (0..scalars.len()).flat_map(|at| huge.iter().map(move |a| (at, *a))) {
            let mut scalars = scalars.to_vec();
            scalars[first] = T::from_f64(a);
            accepted += usize::from(check(net, &scalars, "one"));
            for (second, b) in
                (units.max(first + 1)..scalars.len()).flat_map(|at| huge.iter().map(move |b| (at, *b)))
            {
                let mut scalars = scalars.clone();
                scalars[second] = T::from_f64(b);
                accepted += usize::from(check(net, &scalars, "two"));
            }
            // A bias, or any weight, and what would go with it.
            for at in [first % params, params - 1 - first % params] {
                let mut net = net.clone();
                net.params_mut()[at] = T::from_f64(a);
                for b in [1.5e6, max / 4.0, max] {
                    let mut scalars = certificate.as_slice().to_vec();
                    for (number, place) in scalars[units..].iter_mut().zip(0..) {
                        *number = match place {
                            0 => T::from_f64(0.25),
                            1 => T::from_f64(f64::min(b, 1e6)),
                            _ => T::from_f64(b),
                        };
                    }
                    accepted += usize::from(check(&net, &scalars, "weight"));
                }
            }
        }
        assert!(accepted > 20, "{accepted}");
    }

    #[test]
    fn compile_time_and_run_time_agree() {
        agree::<_, _, _, 2>(&<fnn![1, 1, 1; hidden = Relu]>::ZERO);
        agree::<_, _, _, 12>(&<fnn![3, 5, 4, 3]>::ZERO);
        agree::<_, _, _, 13>(&<fnn![3, 5, 4, 4; feedback = Dense, hidden = HardTanh]>::ZERO);
        agree::<_, _, _, 9>(&<fnn![3, 6, 3; hidden = Relu, scalar = f64]>::ZERO);
        agree::<_, _, _, 11>(&<fnn![2, 4, 4, 3; feedback = Tied<50>, output = Tanh]>::ZERO);
        agree::<_, _, _, 11>(&<fnn![2, 4, 4, 3; feedback = Tied<30>, hidden = Sigmoid, scalar = f64]>::ZERO);
        agree::<_, _, _, 8>(&<fnn![3, 5, 3; feedback = Feedforward, output = Sigmoid]>::ZERO);
    }
}
