//! One body of tests for every backend and both scalars: each operation against scalar arithmetic.

extern crate std;

use super::{Backend, Bf16, Element, Lanes, MAX_WIDTH, Operation, SQUARE};
use core::marker::PhantomData;
use std::vec::Vec;

/// Scalars in the buffers below: room for a vector and for what must not be touched around it.
const ROOM: usize = 2 * MAX_WIDTH + 3;

/// What scalar arithmetic says; written out for both scalars, without `Lanes`.
trait Reference: Element {
    const INFINITY: Self;
    const TINY: Self;
    fn fused(self, b: Self, c: Self) -> Self;
    fn bits(self) -> u64;
    fn root(self) -> Self;
    /// Exponent and first fraction bit, the low three bits of both, by arithmetic on numbers.
    fn octave(self) -> usize;
    /// Exponent and first two fraction bits, the low four bits of both.
    fn quarter(self) -> usize;
    fn two_to(self) -> Self;
}
macro_rules! reference {
    ($scalar:ty, $tiny:expr) => {
        impl Reference for $scalar {
            const INFINITY: Self = <$scalar>::INFINITY;
            const TINY: Self = $tiny;
            fn fused(self, b: Self, c: Self) -> Self {
                <$scalar>::mul_add(self, b, c)
            }
            fn bits(self) -> u64 {
                u64::from(self.to_bits())
            }
            fn root(self) -> Self {
                <$scalar>::sqrt(self)
            }
            fn octave(self) -> usize {
                // x = 2^e (1 + f/2 + ...): the biased exponent ends in the bits of e + 7 = e - 1 modulo 8.
                let e = self.log2().floor();
                let upper = self >= 1.5 * e.exp2();
                (((e as i64 + 7) * 2 + i64::from(upper)) & 7) as usize
            }
            fn quarter(self) -> usize {
                // The biased exponent ends in the bits of e + 7 = e - 1 modulo 4.
                let e = self.log2().floor();
                let quarters = (4.0 * (self / e.exp2() - 1.0)).floor();
                (((e as i64 + 7) * 4 + quarters as i64) & 15) as usize
            }
            fn two_to(self) -> Self {
                self.exp2()
            }
        }
    };
}
reference!(f32, f32::from_bits(1));
reference!(f64, f64::from_bits(1));

/// Equal bits, or two NaNs.
#[track_caller]
fn same<T: Reference>(found: T, expected: T) {
    let nan = |x: T| x.partial_cmp(&x).is_none();
    assert!(
        found.bits() == expected.bits() || (nan(found) && nan(expected)),
        "found {found:?}, expected {expected:?}"
    );
}

/// Numbers between -4 and 4, always the same.
struct Draw(u64);

impl Draw {
    fn next<T: Element>(&mut self) -> T {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        T::from_f64((self.0 >> 11) as f64 / (1_u64 << 50) as f64 - 4.0)
    }
    fn array<T: Element>(&mut self) -> [T; MAX_WIDTH] {
        core::array::from_fn(|_| self.next())
    }
}

/// A set of values in which every pair of special values meets in some lane of some round, then random ones.
fn pairs<T: Reference>() -> Vec<([T; MAX_WIDTH], [T; MAX_WIDTH])> {
    let number = T::from_f64;
    let special = [
        T::ZERO,
        -T::ZERO,
        T::ONE,
        -T::ONE,
        number(1.5),
        number(-2.25),
        T::TINY,
        -T::TINY,
        T::MAX,
        -T::MAX,
        T::INFINITY,
        -T::INFINITY,
        T::NAN,
        number(0.1),
        number(3.0),
        number(-1e-30),
    ];
    let mut pairs = Vec::new();
    for turn in 0..special.len() {
        for first in (0..special.len()).step_by(MAX_WIDTH) {
            let from = |start: usize| core::array::from_fn(|i| special[(start + i) % special.len()]);
            pairs.push((from(first), from(first + turn)));
        }
    }
    let mut draw = Draw(5);
    pairs.extend((0..50).map(|_| (draw.array(), draw.array())));
    pairs
}

fn load<T: Element, L: Lanes<T>>(lanes: L, from: &[T; MAX_WIDTH]) -> L::Vector {
    // SAFETY: the array holds MAX_WIDTH >= WIDTH scalars.
    unsafe { lanes.load(from.as_ptr()) }
}

fn store<T: Element, L: Lanes<T>>(lanes: L, v: L::Vector) -> Vec<T> {
    let mut to = [T::ZERO; MAX_WIDTH];
    // SAFETY: the array holds MAX_WIDTH >= WIDTH scalars.
    unsafe { lanes.store(to.as_mut_ptr(), v) };
    to[..L::WIDTH].to_vec()
}

struct Body<T>(PhantomData<T>);

impl<T: Reference> Operation<T> for Body<T> {
    type Output = usize;

    fn run<L: Lanes<T>>(self, lanes: L) -> usize {
        assert!(L::WIDTH.is_power_of_two() && L::WIDTH <= MAX_WIDTH);
        memory::<T, L>(lanes);
        arithmetic::<T, L>(lanes);
        choices::<T, L>(lanes);
        pairs_of_16_bits::<T, L>(lanes);
        tables::<T, L>(lanes);
        reductions::<T, L>(lanes);
        L::WIDTH
    }
}

/// Loads and stores at every offset, whole and in part, touch what they should and nothing else.
fn memory<T: Reference, L: Lanes<T>>(lanes: L) {
    let mut draw = Draw(1);
    let from: [T; ROOM] = core::array::from_fn(|_| draw.next());
    for offset in 0..=ROOM - MAX_WIDTH {
        // SAFETY: offset + WIDTH <= ROOM.
        let v = unsafe { lanes.load(from.as_ptr().add(offset)) };
        for (lane, expected) in store(lanes, v).into_iter().zip(&from[offset..]) {
            same(lane, *expected);
        }
        let mut to = [T::NAN; ROOM];
        // SAFETY: as above.
        unsafe { lanes.store(to.as_mut_ptr().add(offset), v) };
        for (i, found) in to.into_iter().enumerate() {
            let inside = i >= offset && i < offset + L::WIDTH;
            same(found, if inside { from[i] } else { T::NAN });
        }
        for count in 0..L::WIDTH {
            // SAFETY: offset + count < ROOM.
            let part = unsafe { lanes.load_partial(from.as_ptr().add(offset), count) };
            for (i, lane) in store(lanes, part).into_iter().enumerate() {
                same(lane, if i < count { from[offset + i] } else { T::ZERO });
            }
            let mut to = [T::NAN; ROOM];
            // SAFETY: as above.
            unsafe { lanes.store_partial(to.as_mut_ptr().add(offset), v, count) };
            for (i, found) in to.into_iter().enumerate() {
                let inside = i >= offset && i < offset + count;
                same(found, if inside { from[i] } else { T::NAN });
            }
        }
    }
    // A partial access at the very end of an allocation stays inside it.
    for count in 0..L::WIDTH {
        let mut exact: Vec<T> = from[..count].to_vec();
        exact.shrink_to_fit();
        // SAFETY: the vector holds `count` scalars.
        let part = unsafe { lanes.load_partial(exact.as_ptr(), count) };
        // SAFETY: as above.
        unsafe { lanes.store_partial(exact.as_mut_ptr(), lanes.add(part, part), count) };
        for (twice, once) in exact.iter().zip(&from) {
            same(*twice, *once + *once);
        }
    }
    for x in [T::ZERO, -T::ZERO, T::ONE, T::NAN, T::INFINITY] {
        for lane in store(lanes, lanes.splat(x)) {
            same(lane, x);
        }
    }
    // One of several at the very end of an allocation, whichever is asked for.
    for of in 1..=12 {
        let exact: Vec<T> = (0..of).map(|_| draw.next()).collect();
        for (n, x) in exact.iter().enumerate() {
            // SAFETY: the vector holds `of` scalars.
            for lane in store(lanes, unsafe { lanes.splat_of(exact.as_ptr(), n, of) }) {
                same(lane, *x);
            }
        }
    }
    // As a table of numbers, no two alike.
    let rows: [T; SQUARE * ROOM] = core::array::from_fn(|i| T::from_f64(i as f64));
    for across in [SQUARE, SQUARE + 3, ROOM] {
        for width in [SQUARE, SQUARE + 1, ROOM] {
            let mut to = [T::NAN; SQUARE * ROOM];
            // SAFETY: four rows of so many scalars, and four to write.
            unsafe { lanes.turn(rows.as_ptr(), across, to.as_mut_ptr(), width) };
            for (i, found) in to.into_iter().enumerate() {
                let (column, row) = (i / width, i % width);
                let inside = column < SQUARE && row < SQUARE;
                same(found, if inside { rows[row * across + column] } else { T::NAN });
            }
        }
    }
}

/// Pairs of numbers of 16 bits, all and in part, each taken apart by itself.
fn pairs_of_16_bits<T: Reference, L: Lanes<T>>(lanes: L) {
    let mut draw = Draw(7);
    for count in 0..=L::WIDTH {
        let pairs: Vec<[Bf16; 2]> =
            (0..count).map(|_| Bf16::pair(draw.next::<f32>(), draw.next::<f32>())).collect();
        let part = (count < L::WIDTH).then_some(count);
        // SAFETY: so many pairs are there.
        let (first, second) = unsafe { lanes.load_bf16_pairs(pairs.as_ptr().cast(), part) };
        for (which, found) in [first, second].into_iter().enumerate() {
            each(lanes, found, |i| {
                pairs.get(i).map_or(T::ZERO, |pair| T::from_f32(Bf16::values(*pair)[which]))
            });
        }
    }
}

#[track_caller]
fn each<T: Reference, L: Lanes<T>>(lanes: L, v: L::Vector, expected: impl Fn(usize) -> T) {
    for (i, lane) in store(lanes, v).into_iter().enumerate() {
        same(lane, expected(i));
    }
}

fn arithmetic<T: Reference, L: Lanes<T>>(lanes: L) {
    for (turn, (x, y)) in pairs::<T>().into_iter().enumerate() {
        let (a, b) = (load(lanes, &x), load(lanes, &y));
        each(lanes, lanes.add(a, b), |i| x[i] + y[i]);
        each(lanes, lanes.sub(a, b), |i| x[i] - y[i]);
        each(lanes, lanes.mul(a, b), |i| x[i] * y[i]);
        each(lanes, lanes.div(a, b), |i| x[i] / y[i]);
        let z: [T; MAX_WIDTH] = Draw(turn as u64).array();
        let c = load(lanes, &z);
        // Only backends with a fused instruction may split sums, and the portable one does neither.
        each(lanes, lanes.mul_add(a, b, c), |i| {
            if L::BLOCKING.split { x[i].fused(y[i], z[i]) } else { x[i] * y[i] + z[i] }
        });
        each(lanes, lanes.abs(a), |i| x[i].magnitude());
        each(lanes, lanes.sqrt(a), |i| x[i].root());
        each(lanes, lanes.copy_sign(a, b), |i| {
            let negative = y[i].bits() >> (8 * size_of::<T>() - 1) == 1;
            if negative { -x[i].magnitude() } else { x[i].magnitude() }
        });
        each(lanes, lanes.map(a, |x| -x), |i| -x[i]);
    }
}

fn choices<T: Reference, L: Lanes<T>>(lanes: L) {
    for (x, y) in pairs::<T>() {
        let (a, b) = (load(lanes, &x), load(lanes, &y));
        // The second where the first is not smaller (larger), so also where either is NaN.
        each(lanes, lanes.min(a, b), |i| if x[i] < y[i] { x[i] } else { y[i] });
        each(lanes, lanes.max(a, b), |i| if x[i] > y[i] { x[i] } else { y[i] });
        let mask = lanes.less(a, b);
        each(lanes, lanes.select(mask, a, b), |i| if x[i] < y[i] { x[i] } else { y[i] });
        let (yes, no) = (lanes.splat(T::NAN), lanes.splat(T::from_f64(2.0)));
        each(lanes, lanes.select(mask, yes, no), |i| if x[i] < y[i] { T::NAN } else { T::from_f64(2.0) });
        each(lanes, lanes.select(mask, no, yes), |i| if x[i] < y[i] { T::from_f64(2.0) } else { T::NAN });
    }
    let (nan, one, two) = (lanes.splat(T::NAN), lanes.splat(T::ONE), lanes.splat(T::from_f64(2.0)));
    each(lanes, lanes.min(nan, one), |_| T::ONE);
    each(lanes, lanes.min(one, nan), |_| T::NAN);
    each(lanes, lanes.max(nan, one), |_| T::ONE);
    each(lanes, lanes.max(one, nan), |_| T::NAN);
    for (a, b) in [(nan, one), (one, nan), (nan, nan), (one, one), (two, one)] {
        each(lanes, lanes.select(lanes.less(a, b), one, two), |_| T::from_f64(2.0));
    }
    each(lanes, lanes.select(lanes.less(one, two), one, two), |_| T::ONE);
}

fn tables<T: Reference, L: Lanes<T>>(lanes: L) {
    let table: [T; 8] = core::array::from_fn(|i| T::from_f64(10.0 + i as f64));
    let quarters: [[T; 16]; 2] = [
        core::array::from_fn(|i| T::from_f64(10.0 + i as f64)),
        core::array::from_fn(|i| T::from_f64(50.0 - i as f64)),
    ];
    // The edges of the segments.
    let edges = [1.0, 1.25, 1.5, 1.75, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 64.0];
    let mut draw = Draw(9);
    for turn in 0..200 {
        let x: [T; MAX_WIDTH] = core::array::from_fn(|i| {
            let x: T = draw.next();
            if turn < edges.len() {
                T::from_f64(edges[(i + turn) % edges.len()])
            } else {
                // Between 1 and 65.
                T::ONE + x * x * T::from_f64(4.0)
            }
        });
        each(lanes, lanes.lookup(&table, load(lanes, &x)), |i| table[x[i].octave()]);
        let found = lanes.lookup_quarters(&quarters, load(lanes, &x));
        for (found, row) in found.into_iter().zip(&quarters) {
            each(lanes, found, |i| row[x[i].quarter()]);
        }
    }
    let (lowest, highest) = if size_of::<T>() == 4 { (-126, 127) } else { (-1022, 1023) };
    let mut whole: Vec<T> = (lowest..=highest).map(|n| T::from_f64(f64::from(n))).collect();
    whole.resize(whole.len().next_multiple_of(MAX_WIDTH), T::ZERO);
    for n in whole.as_chunks::<MAX_WIDTH>().0 {
        each(lanes, lanes.power_of_two(load(lanes, n)), |i| n[i].two_to());
    }
}

fn reductions<T: Reference, L: Lanes<T>>(lanes: L) {
    let mut draw = Draw(3);
    for _ in 0..50 {
        let x: [T; MAX_WIDTH] = draw.array();
        let largest = x[..L::WIDTH].iter().copied().reduce(|a, b| if b > a { b } else { a });
        same(lanes.reduce_max(load(lanes, &x)), largest.unwrap_or(T::NAN));
        // Any order of additions stays within this of any other.
        let sum = |x: &[T; MAX_WIDTH]| {
            let sum: f64 = x[..L::WIDTH].iter().map(|x| x.to_f64()).sum();
            let size: f64 = x[..L::WIDTH].iter().map(|x| x.to_f64().abs()).sum();
            let epsilon = if size_of::<T>() == 4 { f64::from(f32::EPSILON) } else { f64::EPSILON };
            (sum, size * epsilon * L::WIDTH as f64)
        };
        let (expected, bound) = sum(&x);
        assert!((lanes.reduce_add(load(lanes, &x)).to_f64() - expected).abs() <= bound);
        let many: [[T; MAX_WIDTH]; MAX_WIDTH] = core::array::from_fn(|_| draw.array());
        let found = lanes.sums(&many.each_ref().map(|x| load(lanes, x)));
        for (x, found) in many.iter().zip(store(lanes, found)) {
            let (expected, bound) = sum(x);
            assert!((found.to_f64() - expected).abs() <= bound, "{found:?} {expected}");
        }
        // Whole numbers add exactly in any order: every lane counts, and counts once.
        let powers: [T; MAX_WIDTH] = core::array::from_fn(|i| T::from_f64((1 << i) as f64));
        let all = T::from_f64(((1 << L::WIDTH) - 1) as f64);
        same(lanes.reduce_add(load(lanes, &powers)), all);
        each(lanes, lanes.sums(&[load(lanes, &powers); MAX_WIDTH]), |_| all);
    }
    // The largest wherever it is, and all of them negative.
    for at in 0..L::WIDTH {
        let mut x: [T; MAX_WIDTH] = core::array::from_fn(|i| T::from_f64(-2.0 - i as f64));
        x[at] = -T::ONE;
        same(lanes.reduce_max(load(lanes, &x)), -T::ONE);
        x[at] = T::INFINITY;
        same(lanes.reduce_max(load(lanes, &x)), T::INFINITY);
        // A NaN or an infinity in any lane shows in the sum.
        x[at] = T::NAN;
        assert!(!lanes.reduce_add(load(lanes, &x)).is_finite());
        let mut vectors = [lanes.splat(T::ONE); MAX_WIDTH];
        vectors[at] = load(lanes, &x);
        for (i, sum) in store(lanes, lanes.sums(&vectors)).into_iter().enumerate() {
            assert_eq!(sum.is_finite(), i != at);
        }
    }
}

#[test]
fn every_operation_on_every_backend() {
    for backend in Backend::available() {
        let widths = (f32::run(backend, Body(PhantomData)), f64::run(backend, Body(PhantomData)));
        std::println!("{}: {} lanes of f32, {} of f64", backend.name(), widths.0, widths.1);
        let expected = match backend.name() {
            "portable" => (4, 2),
            "avx2" => (8, 4),
            "neon" => (4, 2),
            _ => (16, 8),
        };
        assert_eq!(widths, expected, "{}", backend.name());
    }
}

#[test]
fn elements_know_their_numbers() {
    fn check<T: Reference>(digits: i32) {
        let largest = T::MAX;
        assert!(largest.is_finite() && !(largest + largest).is_finite());
        assert!(!T::NAN.is_finite() && !T::INFINITY.is_finite() && !(-T::INFINITY).is_finite());
        // What is below the headroom can be added to anything finite; what is above cannot.
        let half = T::from_f64(0.5);
        assert!((largest + half * T::HEADROOM).is_finite() && (largest + T::HEADROOM * half) == largest);
        assert!(!(largest + T::HEADROOM).is_finite());
        let limit = T::GRADIENT_LIMIT;
        assert!((limit * limit * T::from_f64(2.0)).is_finite());
        let last = T::from_f64(2.0_f64.powi(-digits));
        assert!(T::ONE + last > T::ONE && T::ONE + last * half == T::ONE);
        same(T::from_f64(0.1).magnitude(), (-T::from_f64(0.1)).magnitude());
        same(T::from_f64(T::from_f64(0.1).to_f64()), T::from_f64(0.1));
    }
    check::<f32>(23);
    check::<f64>(52);
}

#[test]
fn backends_have_names_and_an_order() {
    let names: Vec<&str> = Backend::available().map(Backend::name).collect();
    assert_eq!(names[0], "portable");
    let order = ["portable", "avx2", "avx512", "neon"];
    let places: Vec<_> = names.iter().map(|name| order.iter().position(|known| known == name)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{names:?}");
    assert!(names.contains(&Backend::best().name()));
    if super::FORCED.is_none_or(str::is_empty) {
        assert_eq!(Some(Backend::best().name()), names.last().copied());
    }
}
