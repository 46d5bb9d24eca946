//! Layers of integers and their activations: the same on every backend, as they are summed up one by one.

use attractor::kernel::{
    Activation, HardTanh, Identity, IntegerRows, LeakyRelu, Relu, ShapeError, Sigmoid, Tanh, affine_bf16,
    affine_i8, integer_layer, place_bf16, place_i8,
};
use attractor::simd::{Backend, Bf16, IntState, Integers, OnIntegers, Packed};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Integers through an activation, on one backend.
struct Through<'a, A>(&'a mut [i32], core::marker::PhantomData<A>);

impl<A: Activation, H: IntState> OnIntegers<H> for Through<'_, A> {
    type Output = ();
    #[inline(always)]
    fn run<L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>>(self, lanes: L) {
        for chunk in self.0.chunks_mut(L::WIDTH) {
            let count = (chunk.len() < L::WIDTH).then_some(chunk.len());
            // SAFETY: a chunk has so many integers.
            unsafe {
                let z = lanes.load(chunk.as_ptr(), count);
                lanes.store(chunk.as_mut_ptr(), A::quantized::<H, L>(lanes, z), count);
            }
        }
    }
}

fn through<A: Activation, H: IntState>(backend: Backend, z: &[i32]) -> Vec<i32> {
    let mut out = z.to_vec();
    H::run(backend, Through::<A>(&mut out, core::marker::PhantomData));
    out
}

/// Every sum up to 10 in magnitude, and the largest there are.
fn activations_are_right<A: Activation, H: IntState>(exact: impl Fn(f64) -> f64) {
    let one = 1_i32 << (H::BITS + H::EXTRA);
    let mut sums: Vec<i32> = (-10 * one..=10 * one).collect();
    sums.extend([i32::MAX, i32::MAX - 1, 1 << 30, -(1 << 30), -i32::MAX]);
    let inside = sums.len() - 5;
    let mut found = Vec::new();
    for backend in Backend::available() {
        let states = through::<A, H>(backend, &sums);
        if backend == Backend::portable() {
            found = states;
        } else {
            assert_eq!(states, found, "{} on {}", A::NAME, backend.name());
        }
    }
    let bound = A::quantized_error::<H>();
    let (unit, step) = (f64::from(1 << H::BITS), 1 << H::EXTRA);
    let mut worst = 0.0_f64;
    for (z, h) in sums.iter().zip(&found) {
        assert!((-H::MOST - 1..=H::MOST).contains(h), "{} of {z} is {h}", A::NAME);
        let exact = exact(f64::from(*z) / f64::from(one)) * unit;
        if exact.abs() <= unit {
            worst = worst.max((exact - f64::from(*h)).abs());
        }
    }
    assert!(worst <= bound, "{} of {}: {worst}, not {bound}", A::NAME, H::NAME);
    assert!(worst > 0.4 * bound || bound == 1.0, "{}: {worst} of {bound}", A::NAME);
    for pair in found[..inside].windows(2) {
        assert!(pair[1] == pair[0] || pair[1] == pair[0] + 1, "{} makes steps of one", A::NAME);
    }
    // Over as many sums as make a state's last digit, no more than that digit, but for rounding.
    for pair in found[..inside].windows(8 * step + 1) {
        assert!(pair[8 * step] - pair[0] <= 9, "{} rises by more than its argument", A::NAME);
    }
}

#[test]
fn activations_of_integers_are_monotone_and_rise_no_more_than_their_argument() {
    fn all<H: IntState>() {
        activations_are_right::<Tanh, H>(f64::tanh);
        activations_are_right::<Sigmoid, H>(|z| 1.0 / (1.0 + (-z).exp()));
        activations_are_right::<HardTanh, H>(|z| z.clamp(-1.0, 1.0));
        activations_are_right::<Relu, H>(|z| z.max(0.0));
        activations_are_right::<LeakyRelu, H>(|z| z.max(z / 128.0));
        activations_are_right::<Identity, H>(|z| z);
    }
    all::<i8>();
    all::<i16>();
    // tanh of integers is odd.
    let sums: Vec<i32> = (1..200_000).collect();
    let negative: Vec<i32> = sums.iter().map(|z| -z).collect();
    let (up, down) = (
        through::<Tanh, i16>(Backend::portable(), &sums),
        through::<Tanh, i16>(Backend::portable(), &negative),
    );
    assert!(up.iter().zip(&down).all(|(up, down)| *up == -*down));
}

/// Layers of every width up to several vectors, between guards: the same states and the same change on every backend, as summed up one by
/// one, and nothing beside them is written.
#[test]
fn layers_of_every_width_write_their_units_and_no_more() {
    const GUARD: usize = 70;
    fn all<H: IntState + core::fmt::Debug>(guard: H) {
        let mut random = SmallRng::seed_from_u64(17);
        for units in 1..=64 {
            for columns in [1, 4, 7] {
                let weights: Vec<i8> =
                    (0..units * columns).map(|_| random.random_range(-127..=127)).collect();
                let most = H::MOST / 4;
                let states: Vec<H> =
                    (0..columns).map(|_| H::narrow(random.random_range(-most..=most))).collect();
                let bias: Vec<i32> = (0..units).map(|_| random.random_range(-1000..=1000)).collect();
                let (scale, exponent) = (vec![1_i16 << 12; units], vec![1_i8; units]);
                let before: Vec<H> =
                    (0..units).map(|_| H::narrow(random.random_range(-most..=most))).collect();
                let (mut expected, mut moved) = (Vec::new(), 0);
                for row in 0..units {
                    let grouped = columns - columns % 4;
                    let sum: i64 = (0..columns)
                        .map(|column| {
                            let at = if column < grouped {
                                (column / 4 * units + row) * 4 + column % 4
                            } else {
                                column * units + row
                            };
                            let state: i32 = states[column].into();
                            i64::from(weights[at]) * i64::from(state + H::OFFSET)
                        })
                        .sum();
                    // Twice the floor: of the product with the scale, and of its shift; then the last digits of a sum, rounded.
                    let z = (((sum + i64::from(bias[row])) << 12) >> 17) as i32;
                    let h = through::<Identity, H>(Backend::portable(), &[z])[0];
                    let old: i32 = before[row].into();
                    moved = moved.max((h - old).abs());
                    expected.push(h);
                }
                for backend in Backend::available() {
                    let mut memory = vec![guard; 2 * GUARD + units];
                    memory[GUARD..GUARD + units].copy_from_slice(&before);
                    let rows = IntegerRows { bias: &bias, scale: &scale, exponent: &exponent };
                    let out = &mut memory[GUARD..GUARD + units];
                    let change = integer_layer::<H, Identity>(backend, &weights, &states, rows, out);
                    let name = (backend.name(), H::NAME, units, columns);
                    assert_eq!(change, Ok(moved), "{name:?}");
                    let found: Vec<i32> = memory[GUARD..GUARD + units].iter().map(|h| (*h).into()).collect();
                    assert_eq!(found, expected, "{name:?}");
                    let mut around = memory[..GUARD].iter().chain(&memory[GUARD + units..]);
                    assert!(around.all(|h| *h == guard), "{name:?}");
                }
            }
        }
    }
    all::<i8>(0x55);
    all::<i16>(0x5555);
}

/// Shapes with rows of every part of a vector, columns left over behind groups, more columns than are rounded at a time.
fn shapes() -> impl Iterator<Item = (usize, usize)> {
    let rows = (1..=40).chain([64, 65, 100]);
    rows.flat_map(|rows| [1, 2, 3, 4, 7, 32, 255, 256, 257, 600].map(|columns| (rows, columns)))
}

const AROUND: usize = 33;

/// What is written between guards, which must stay.
fn between_guards(rows: usize, write: impl FnOnce(&mut [f32]) -> Result<(), ShapeError>) -> Vec<f32> {
    let mut memory = vec![77.0; 2 * AROUND + rows];
    write(&mut memory[AROUND..AROUND + rows]).unwrap();
    assert!(memory[..AROUND].iter().chain(&memory[AROUND + rows..]).all(|x| *x == 77.0));
    memory[AROUND..AROUND + rows].to_vec()
}

#[test]
fn products_of_rounded_weights_are_right_and_of_8_bits_the_same_everywhere() {
    let mut random = SmallRng::seed_from_u64(23);
    for (rows, columns) in shapes() {
        let x: Vec<f32> = (0..columns).map(|_| random.random_range(-3.0..3.0)).collect();
        let base: Vec<f32> = (0..rows).map(|_| random.random_range(-1.0..1.0)).collect();
        let scales: Vec<f32> = (0..rows).map(|_| random.random_range(0.001..0.1)).collect();
        let (mut eight, mut sixteen) = (vec![0_i8; rows * columns], vec![Bf16(0); rows * columns]);
        let (mut right_8, mut right_16) = (vec![0.0_f64; rows], vec![0.0_f64; rows]);
        let mut taken = vec![0; rows * columns];
        let mut most = [0.0_f64; 2];
        for row in 0..rows {
            let (mut sum_8, mut sum_16) = ([0.0; 2], [0.0; 2]);
            for (column, x) in x.iter().enumerate() {
                let weight: i8 = random.random_range(-127..=127);
                let place = place_i8(rows, columns, row, column);
                eight[place] = weight;
                taken[place] += 1;
                let term = f64::from(*x) * f64::from(weight) * f64::from(scales[row]);
                sum_8 = [sum_8[0] + term, sum_8[1] + term.abs()];
            }
            for column in (0..columns).step_by(2) {
                let pair = [(); 2].map(|()| random.random_range(-1.0..1.0));
                let alone = column + 1 == columns;
                let pair = if alone { [Bf16::nearest(pair[0]); 2] } else { Bf16::pair(pair[0], pair[1]) };
                let values = if alone { [pair[0].value(); 2] } else { Bf16::values(pair) };
                for i in 0..if alone { 1 } else { 2 } {
                    sixteen[place_bf16(rows, columns, row, column + i)] = pair[i];
                    let term = f64::from(x[column + i]) * f64::from(values[i]);
                    sum_16 = [sum_16[0] + term, sum_16[1] + term.abs()];
                }
            }
            right_8[row] = sum_8[0];
            right_16[row] = sum_16[0];
            // Numbers are rounded to 2^-16 of the largest of 256.
            most = [most[0].max(sum_8[1]), most[1].max(sum_16[1])];
        }
        assert!(taken.iter().all(|count| *count == 1), "{rows} x {columns}: places are not taken once each");
        let mut first = None;
        for backend in Backend::available() {
            for base in [Some(&base[..]), None] {
                let name = (backend.name(), rows, columns, base.is_some());
                let found = between_guards(rows, |out| affine_i8(backend, base, &eight, &scales, &x, out));
                let halves = between_guards(rows, |out| affine_bf16(backend, base, &sixteen, &x, out));
                for row in 0..rows {
                    let start = base.map_or(0.0, |base| f64::from(base[row]));
                    let off = (f64::from(found[row]) - start - right_8[row]).abs();
                    // Half a step a term, of steps of the largest x, 3; and what is lost in sums of f32.
                    let step = 3.0 / 32767.0 * 0.51 * 127.0 * f64::from(scales[row]) * columns as f64;
                    assert!(off <= step + 1e-6 * (most[0] + 1.0), "{name:?}: {off}");
                    let off = (f64::from(halves[row]) - start - right_16[row]).abs();
                    assert!(off <= 2e-6 * (most[1] + 1.0), "{name:?}: {off}");
                }
                if base.is_some() {
                    let bits: Vec<u32> = found.iter().map(|x| x.to_bits()).collect();
                    assert_eq!(*first.get_or_insert_with(|| bits.clone()), bits, "{name:?}");
                }
            }
        }
    }
}

#[test]
fn products_of_rounded_weights_refuse_what_does_not_fit_and_report_what_is_not_finite() {
    let backend = Backend::best();
    fn named(outcome: Result<(), ShapeError>) -> Option<(&'static str, usize, usize)> {
        outcome.err().map(|error| (error.what, error.expected, error.found))
    }
    let shape = |what, expected, found| Some((what, expected, found));
    let mut out = [5.0; 2];
    let (weights, halves, x) = ([1_i8; 6], [Bf16::nearest(1.0); 6], [1.0; 3]);
    let scales = [1.0; 2];
    assert_eq!(named(affine_i8(backend, None, &weights[1..], &scales, &x, &mut out)), shape("weights", 6, 5));
    assert_eq!(named(affine_i8(backend, None, &weights, &scales[1..], &x, &mut out)), shape("scales", 2, 1));
    assert_eq!(named(affine_i8(backend, Some(&x), &weights, &scales, &x, &mut out)), shape("base", 2, 3));
    assert_eq!(named(affine_bf16(backend, None, &halves[1..], &x, &mut out)), shape("weights", 6, 5));
    assert_eq!(named(affine_bf16(backend, Some(&x), &halves, &x, &mut out)), shape("base", 2, 3));
    assert_eq!(out, [5.0; 2]);
    for x in [[1.0, f32::NAN, 0.0], [f32::INFINITY, 1.0, 1.0], [0.0, 0.0, f32::NEG_INFINITY]] {
        affine_i8(backend, None, &weights, &scales, &x, &mut out).unwrap();
        assert!(out.iter().all(|x| x.is_nan()), "{out:?}");
        affine_bf16(backend, None, &halves, &x, &mut out).unwrap();
        assert!(out.iter().all(|x| !x.is_finite()), "{out:?}");
    }
    // Nothing at all, numbers next to nothing, the largest there are.
    for (x, right) in [([0.0; 3], 0.0), ([1e-38; 3], 3e-38), ([1e38, 1e38, -1e38], 1e38)] {
        affine_i8(backend, None, &weights, &scales, &x, &mut out).unwrap();
        assert!((out[0] - right).abs() <= 1e-4 * right + 1e-33, "{out:?}");
    }
    affine_i8(backend, Some(&[1.0, 2.0]), &[], &scales, &[], &mut out).unwrap();
    assert_eq!(out, [1.0, 2.0]);
    affine_i8(backend, None, &[], &[], &x, &mut []).unwrap();
}
