//! Layers of integers and their activations: the same on every backend, as they are summed up one by one.

use attractor::kernel::{
    Activation, HardTanh, Identity, IntegerRows, LeakyRelu, Relu, Sigmoid, Tanh, integer_layer,
};
use attractor::simd::{Backend, IntState, Integers, OnIntegers, Packed};
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
