//! What the feature `helium` promises in place of the portable bits, looked at on the device: every kernel of one sample keeps
//! the bound of its rounding errors against `f64`, writes where it should and nowhere else, and finds what is not finite; tanh
//! keeps its error, its order, its symmetry and its ends; a solve and its gradients are those of `f64`.
//!
//! The bounds hold on every target and with every feature. What is fused is not the same everywhere, and looked at, so that
//! none of this passes because the kernels are not the ones they should be.

#![no_std]
#![no_main]

use attractor::kernel::{self, Base, Identity, Matrix, MatrixMut, Product, Tanh};
use attractor::learn::{MeanSquared, Method, Objective};
use attractor::simd::Backend;
use attractor::{Dense, Stop, Workspace, fnn};
use attractor_firmware::{Failure, Place, Random};
use semihosting::println;

attractor_firmware::program!(main);

fn main() -> Result<(), Failure> {
    fused()?;
    let room = ROOM.take().ok_or(Failure::Taken)?;
    println!("sums: {:.2} of their bound at most", sums(room)?);
    println!("outer products: {:.2} of their bound at most", outer(room)?);
    not_finite(room)?;
    println!("tanh: {:.1e} from f64 at most", tanh()?);
    tails()?;
    println!("networks: {:.1e} from f64 at most", networks()?);
    Ok(())
}

/// Half a unit in the last place of 1.
const ROUNDING: f64 = 1.0 / (1 << 24) as f64;
/// Helium takes subnormal numbers for zero.
const TINY: f64 = f32::MIN_POSITIVE as f64;
/// The most rows, rows of the matrices they are cut from, columns, products.
const ROWS: usize = 70;
const TALL: usize = 72;
const COLUMNS: usize = 19;
const PRODUCTS: usize = 5;
/// What must stay where nothing is written, and must not be seen where nothing is read.
const GUARD: f32 = f32::NAN;

static ROOM: Place<Room> = Place::new(Room {
    weights: [GUARD; TALL * COLUMNS],
    operand: [GUARD; TALL],
    base: [GUARD; TALL],
    out: [GUARD; TALL],
});

struct Room {
    weights: [f32; TALL * COLUMNS],
    operand: [f32; TALL],
    base: [f32; TALL],
    out: [f32; TALL],
}

/// (1 + 2^-12)^2 has a last bit that only a fused sum keeps.
fn fused() -> Result<(), Failure> {
    let near = 1.0 + 1.0 / 4096.0;
    let (weights, operand) = ([near; 4], [near]);
    let product = Product { matrix: Matrix::new(&weights, 4, 1)?, operand: Matrix::new(&operand, 1, 1)? };
    let mut out = [0.0; 4];
    let base = [-(1.0 + 1.0 / 2048.0); 4];
    let place = MatrixMut::new(&mut out, 1, 4)?;
    kernel::affine(Backend::best(), Base::Bias(&base), &[product], place)?;
    let found = out == [ROUNDING as f32; 4];
    (found == cfg!(feature = "helium")).then_some(()).ok_or(Failure::Wrong("what is fused", 0))
}

/// All heights, some widths, all kinds of base, up to five products, matrices that are cut from taller ones or not: both ways.
fn sums(room: &mut Room) -> Result<f64, Failure> {
    let mut random = Random::new(3);
    let mut worst = 0.0_f64;
    for units in 1..=ROWS {
        for (case, inputs) in [1, 2, 3, 4, 5, 7, 8, 16, COLUMNS].into_iter().enumerate() {
            for transposed in [false, true] {
                let (rows, columns) = if transposed { (inputs, units) } else { (units, inputs) };
                if columns > COLUMNS {
                    continue;
                }
                let stride = if case % 2 == 0 { rows } else { rows + 2 };
                let first = (stride - rows) / 2;
                room.weights.fill(GUARD);
                random.fill(room.weights.get_mut(..stride * columns).unwrap_or_default());
                for column in 0..columns {
                    for row in (0..stride).filter(|row| *row < first || *row >= first + rows) {
                        if let Some(outside) = room.weights.get_mut(column * stride + row) {
                            *outside = GUARD;
                        }
                    }
                }
                fill(&mut random, &mut room.operand, inputs);
                fill(&mut random, &mut room.base, units);
                room.out.fill(GUARD);
                let weights = room.weights.get(..stride * columns).unwrap_or_default();
                let product = Product {
                    matrix: Matrix::new(weights, stride, columns)?.row_range(first, rows),
                    operand: Matrix::new(room.operand.get(..inputs).unwrap_or_default(), 1, inputs)?,
                };
                let given = room.base.get(..units).unwrap_or_default();
                let base = match (units + case) % 3 {
                    0 => Base::Zero,
                    1 => Base::Bias(given),
                    _ => Base::Matrix(Matrix::new(given, 1, units)?),
                };
                let products = [product; PRODUCTS];
                let products = products.get(..(units + case) % (PRODUCTS + 1)).unwrap_or_default();
                let old = 0.25_f32;
                let own = room.out.get_mut(1..=units).unwrap_or_default();
                own.fill(old);
                let out = MatrixMut::new(own, 1, units)?;
                let residual = if transposed {
                    Some(kernel::transposed(Backend::best(), base, products, out)?.residual)
                } else if case % 2 == 0 {
                    kernel::affine(Backend::best(), base, products, out)?;
                    None
                } else {
                    Some(kernel::layer::<_, Identity>(Backend::best(), base, products, out)?.residual)
                };
                let mut largest = 0.0_f32;
                for (unit, new) in room.out.iter().skip(1).take(units).enumerate() {
                    let start = if matches!(base, Base::Zero) { 0.0 } else { at(given, unit) };
                    let (mut exact, mut size) = (start, start.abs());
                    for product in products {
                        for input in 0..inputs {
                            let (row, column) = if transposed { (input, unit) } else { (unit, input) };
                            let weight = product.matrix.at(row, column).map_or(f64::NAN, f64::from);
                            let term = weight * at(&room.operand, input);
                            exact += term;
                            size += term.abs();
                        }
                    }
                    // Every product and every sum rounds, and what is folded in the end.
                    let operations = 2 * products.len() * inputs + 4;
                    let bound = operations as f64 * ROUNDING * size;
                    let error = (f64::from(*new) - exact).abs();
                    if !(error <= bound) {
                        return Err(Failure::Wrong("a sum", units));
                    }
                    if bound > 0.0 {
                        worst = worst.max(error / bound);
                    }
                    largest = largest.max((new - old).abs());
                }
                if residual.is_some_and(|residual| residual != largest) {
                    return Err(Failure::Wrong("the residual of sums", units));
                }
                guarded(&room.out, units)?;
            }
        }
    }
    Ok(worst)
}

/// Outer products of one sample, added to what is there.
fn outer(room: &mut Room) -> Result<f64, Failure> {
    let mut random = Random::new(5);
    let mut worst = 0.0_f64;
    for rows in 1..=40 {
        for columns in [1, 2, 3, 5, COLUMNS] {
            let stride = rows + 2;
            room.weights.fill(0.5);
            fill(&mut random, &mut room.operand, columns);
            fill(&mut random, &mut room.base, rows);
            let deltas = Matrix::new(room.base.get(..rows).unwrap_or_default(), 1, rows)?;
            let inputs = Matrix::new(room.operand.get(..columns).unwrap_or_default(), 1, columns)?;
            let gradient = room.weights.get_mut(..stride * columns).unwrap_or_default();
            let gradient = MatrixMut::new(gradient, stride, columns)?.row_range(1, rows);
            kernel::outer(Backend::best(), deltas, inputs, gradient)?;
            for (index, new) in room.weights.iter().enumerate() {
                let (row, column) = (index % stride, index / stride);
                let inside = (1..=rows).contains(&row) && column < columns;
                let added = if inside { at(&room.base, row - 1) * at(&room.operand, column) } else { 0.0 };
                let bound = if inside { 3.0 * ROUNDING * (0.5 + added.abs()) } else { 0.0 };
                let error = (f64::from(*new) - (0.5 + added)).abs();
                if !(error <= bound) {
                    return Err(Failure::Wrong("an outer product", rows));
                }
                if bound > 0.0 {
                    worst = worst.max(error / bound);
                }
            }
        }
    }
    Ok(worst)
}

/// A sum that is not finite is found wherever it is, and what is beyond the last unit is not.
fn not_finite(room: &mut Room) -> Result<(), Failure> {
    for units in 1..=ROWS {
        for (unit, bad) in
            (0..units).flat_map(|unit| [f32::NAN, f32::INFINITY, -f32::INFINITY].map(|bad| (unit, bad)))
        {
            room.base.fill(GUARD);
            let given = room.base.get_mut(..units).unwrap_or_default();
            given.fill(1.0);
            if let Some(one) = given.get_mut(unit) {
                *one = bad;
            }
            room.out.fill(GUARD);
            let own = room.out.get_mut(1..=units).unwrap_or_default();
            own.fill(0.0);
            let out = MatrixMut::new(own, 1, units)?;
            let changed = kernel::layer::<_, Tanh>(Backend::best(), Base::Bias(given), &[], out)?;
            let new = room.out.get(unit + 1).copied().unwrap_or_default();
            let right = if bad.is_nan() { new.is_nan() } else { new == bad.signum() };
            if !changed.residual.is_nan() || !right {
                return Err(Failure::Wrong("a sum that is not finite", units));
            }
            guarded(&room.out, units)?;
        }
    }
    Ok(())
}

/// The tanh of vectors against that of the crate `libm`, on numbers of all sizes and around the ends of its segments.
fn tanh() -> Result<f64, Failure> {
    let mut worst = 0.0_f64;
    let mut below = [0.0_f32; 2];
    // Every 12289th float, of all binary orders in turn, so that the fractions differ; from 0 to beyond saturation.
    for bits in (0..f32::to_bits(20.0)).step_by(12_289) {
        worst = worst.max(look(f32::from_bits(bits), &mut below)?);
    }
    // Next to each other, across the ends of the segments.
    for end in [0.5_f32, 1.0, 2.0, 3.0, 5.0, 7.0, 9.010_915, f32::MIN_POSITIVE] {
        let mut below = [0.0; 2];
        for bits in end.to_bits() - 200..end.to_bits() + 200 {
            worst = worst.max(look(f32::from_bits(bits), &mut below)?);
        }
    }
    for (x, exact) in [
        (0.0_f32, 0.0_f32),
        (-0.0, -0.0),
        (f32::INFINITY, 1.0),
        (f32::NEG_INFINITY, -1.0),
        (f32::MAX, 1.0),
        (-f32::MAX, -1.0),
        (9.5, 1.0),
    ] {
        if tanh_of(x).to_bits() != exact.to_bits() {
            return Err(Failure::Wrong("tanh at an end", 0));
        }
    }
    for nan in [f32::NAN, -f32::NAN, f32::from_bits(0x7F80_0001), f32::from_bits(0xFFFF_FFFF)] {
        if !tanh_of(nan).is_nan() {
            return Err(Failure::Wrong("tanh of NaN", 0));
        }
    }
    Ok(worst)
}

/// The error of tanh(x); it must be small, odd, at most 1, and not below that of smaller x.
fn look(x: f32, below: &mut [f32; 2]) -> Result<f64, Failure> {
    let (y, z) = (tanh_of(x), tanh_of(-x));
    if z.to_bits() != (-y).to_bits() {
        return Err(Failure::Wrong("tanh is not odd", x.to_bits() as usize));
    }
    let [last, before] = *below;
    if !(y >= last && y <= 1.0 && last >= before) {
        return Err(Failure::Wrong("tanh is not monotone", x.to_bits() as usize));
    }
    *below = [y, last];
    let mut exact = [f64::from(x)];
    kernel::activate::<_, Tanh>(Backend::best(), &mut exact);
    let error = (f64::from(y) - exact[0]).abs();
    // Small results keep their digits.
    if !(error <= (5e-7_f64).min(3e-7 * exact[0] + TINY)) {
        return Err(Failure::Wrong("tanh", x.to_bits() as usize));
    }
    Ok(error)
}

fn tanh_of(x: f32) -> f32 {
    let mut value = [x];
    kernel::activate::<_, Tanh>(Backend::best(), &mut value);
    value[0]
}

/// Any number of values, each as if it were alone, and none beyond them; in a layer too, with the change.
fn tails() -> Result<(), Failure> {
    let mut random = Random::new(11);
    for count in 0..=ROWS {
        let (mut given, mut out) = ([GUARD; TALL], [GUARD; TALL]);
        let own = given.get_mut(1..=count).unwrap_or_default();
        random.fill(own);
        own.iter_mut().for_each(|z| *z *= 9.0);
        let own = out.get_mut(1..=count).unwrap_or_default();
        random.fill(own);
        let before = out;
        let z = given.get(1..=count).unwrap_or_default();
        let own = MatrixMut::new(out.get_mut(1..=count).unwrap_or_default(), 1, count)?;
        let changed = kernel::layer::<_, Tanh>(Backend::best(), Base::Bias(z), &[], own)?;
        let mut largest = 0.0_f32;
        for ((z, new), old) in z.iter().zip(out.iter().skip(1)).zip(before.iter().skip(1)) {
            if new.to_bits() != tanh_of(*z).to_bits() {
                return Err(Failure::Wrong("tanh in a layer", count));
            }
            largest = largest.max((new - old).abs());
        }
        if changed.residual != largest {
            return Err(Failure::Wrong("the residual of tanh", count));
        }
        guarded(&out, count)?;
        kernel::activate::<_, Tanh>(Backend::best(), given.get_mut(1..=count).unwrap_or_default());
        guarded(&given, count)?;
        let same = given.iter().zip(&out).all(|(a, b)| a.to_bits() == b.to_bits());
        if !same {
            return Err(Failure::Wrong("tanh of many values", count));
        }
    }
    Ok(())
}

/// The same network in both scalars, solved and differentiated.
macro_rules! network {
    ($random:expr, [$inputs:literal $(, $width:literal)*; $outputs:literal] $(, $feedback:ty)?) => {{
        type Single = fnn![$inputs $(, $width)*, $outputs; $(feedback = $feedback,)? scalar = f32];
        type Double = fnn![$inputs $(, $width)*, $outputs; $(feedback = $feedback,)? scalar = f64];
        let (mut single, mut double) = (Single::ZERO, Double::ZERO);
        $random.fill(single.params_mut());
        for (exact, w) in double.params_mut().iter_mut().zip(single.params_mut()) {
            *w *= 0.7;
            *exact = f64::from(*w);
        }
        let mut input = [0.0_f32; $inputs];
        $random.fill(&mut input);
        let exact_input = input.map(f64::from);
        let (target, exact_target) = ([0.25_f32; $outputs], [0.25_f64; $outputs]);
        let tight = Stop::residual(1e-6).at_most(200);
        let exactly = Stop::residual(1e-12).at_most(400);
        let objective = Objective::new(MeanSquared).solve(tight).method(Method::Implicit(tight));
        let exact_objective = Objective::new(MeanSquared).solve(exactly).method(Method::Implicit(exactly));
        let (mut here, mut there) = (Workspace::<Single>::ZERO, Workspace::<Double>::ZERO);
        let (mut gradient, mut exact_gradient) = (Single::ZERO, Double::ZERO);
        single.gradient(&objective, &input, &target, &mut here, &mut gradient)?;
        double.gradient(&exact_objective, &exact_input, &exact_target, &mut there, &mut exact_gradient)
            .map_err(|_| Failure::Wrong("a gradient in f64", 0))?;
        let states = apart(here.state.as_slice(), there.state.as_slice());
        let gradients = apart(gradient.params(), exact_gradient.params());
        if !(states <= 1e-5 && gradients <= 1e-5) {
            return Err(Failure::Wrong("a network", single.params().len()));
        }
        states.max(gradients)
    }};
}

#[inline(never)]
fn networks() -> Result<f64, Failure> {
    let mut random = Random::new(13);
    let first = network!(random, [5, 12, 7; 3]);
    let second = network!(random, [3, 21; 2]);
    let third = network!(random, [4, 9, 5; 6], Dense);
    Ok(first.max(second).max(third))
}

/// The largest difference.
fn apart(found: &[f32], exact: &[f64]) -> f64 {
    found.iter().zip(exact).fold(0.0, |worst, (found, exact)| {
        let error = (f64::from(*found) - exact).abs();
        if error <= worst { worst } else { error }
    })
}

/// The first `count` values, and guards behind them.
fn fill(random: &mut Random, values: &mut [f32], count: usize) {
    values.fill(GUARD);
    random.fill(values.get_mut(..count).unwrap_or_default());
}

fn at(values: &[f32], index: usize) -> f64 {
    values.get(index).map_or(f64::NAN, |value| f64::from(*value))
}

/// Whether nothing but the `units` values behind the first was written.
fn guarded(out: &[f32], units: usize) -> Result<(), Failure> {
    let untouched = |value: &f32| value.to_bits() == GUARD.to_bits();
    let mut outside = out.iter().take(1).chain(out.iter().skip(1 + units));
    outside.all(untouched).then_some(()).ok_or(Failure::Wrong("what is beyond the units", units))
}
