//! What only optimised builds do: `specialized` compiles one sample of a small network, and any batch of a tiny one, for the
//! network's type. That gives the bits of the engine all networks share, and what the oracle says. And stores whose lengths are
//! known while compiling write so much and no more.

mod oracle;

use attractor::learn::{MeanSquared, Objective};
use attractor::network::Takes;
use attractor::simd::{Backend, IntState, Integers, Lanes, OnIntegers, Operation, Packed};
use attractor::{Dense, Injection, Network, Skip, Stop, Tied, Workspace, fnn};
use nalgebra::SMatrix;
use oracle::subject;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

const SWEEPS: usize = 7;

fn agree<A: Takes<I, Scalar = f32>, const I: usize, const B: usize>(zero: &Network<A>) {
    let mut network = subject::oracle(zero);
    let random = &mut SmallRng::seed_from_u64(B as u64);
    network.draw(random, 0.9, 0.5);
    let net: Network<A> = subject::network(&network);
    let rows: Vec<Vec<f64>> =
        (0..B).map(|_| (0..I).map(|_| f64::from(random.random_range(-1.0_f32..1.0))).collect()).collect();
    let x: SMatrix<f32, B, I> = subject::samples(&rows);
    let exact: Vec<Vec<f64>> =
        rows.iter().map(|x| network.unroll(x, SWEEPS).pop().expect("a sweep")[1..].concat()).collect();
    for backend in Backend::available() {
        let what = format!("{zero:?}, {B} samples, {}", backend.name());
        let on = net.on(backend);
        let mut solved = Network::<A>::state::<B>();
        on.solve(&x, &mut solved, Stop::after(SWEEPS)).expect("finite");
        let mut special = Network::<A>::state::<B>();
        on.specialized().solve(&x, &mut special, Stop::after(SWEEPS)).expect("finite");
        let mut injection = Injection::<Network<A>, B>::ZERO;
        on.inject(&x, &mut injection).expect("finite");
        let mut swept = Network::<A>::state::<B>();
        for _ in 0..SWEEPS {
            on.sweep(&injection, &mut swept).expect("finite");
        }
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(solved.as_slice()), bits(swept.as_slice()), "{what}");
        assert_eq!(bits(solved.as_slice()), bits(special.as_slice()), "{what}, specialized");
        for (found, exact) in subject::states(&solved).iter().flatten().zip(exact.iter().flatten()) {
            assert!((found - exact).abs() <= 6e-6 * exact.abs().max(1.0), "{what}: {found} is not {exact}");
        }
    }
}

#[test]
fn one_sample() {
    subject::backends();
    agree::<_, _, 1>(&<fnn![3, 8, 2]>::ZERO);
    agree::<_, _, 1>(&<fnn![5, 70, 33, 17; feedback = Dense]>::ZERO);
    agree::<_, _, 1>(&<fnn![5, 20, 33, 17; feedback = Tied<40>]>::ZERO);
}

#[test]
fn batches_of_the_tiny() {
    agree::<_, _, 5>(&<fnn![3, 8, 2]>::ZERO);
    agree::<_, _, 41>(&<fnn![5, 17, 9, 6; feedback = Tied]>::ZERO);
    agree::<_, _, 41>(&<fnn![5, 17, 9, 6; feedback = Dense]>::ZERO);
    agree::<_, _, 1>(&<fnn![5, 17, 9, 6, 3; feedback = Skip]>::ZERO);
}

/// The specialized gradient has the bits of the other, for one sample and for a batch.
#[test]
fn gradients() {
    fn same<const B: usize>() {
        type Net = fnn![5, 20, 33, 3; feedback = Dense];
        let mut network = subject::oracle(&Net::ZERO);
        network.draw(&mut SmallRng::seed_from_u64(3), 0.5, 0.5);
        let net: Net = subject::network(&network);
        let x = SMatrix::<f32, B, 5>::from_fn(|i, j| ((i + 3 * j) as f32).sin());
        let y = SMatrix::<f32, B, 3>::from_fn(|i, j| ((i + 5 * j) as f32).cos());
        let objective = Objective::new(MeanSquared);
        for backend in Backend::available() {
            let (mut first, mut second) = (Net::ZERO, Net::ZERO);
            let (mut one, mut other) = (Workspace::<Net, B>::ZERO, Workspace::<Net, B>::ZERO);
            let on = net.on(backend);
            let learned = on.gradient(&objective, &x, &y, &mut one, &mut first).expect("it converges");
            let special = on.specialized().gradient(&objective, &x, &y, &mut other, &mut second);
            assert_eq!(special, Ok(learned), "{}", backend.name());
            assert!(first.params().iter().any(|g| *g != 0.0));
            assert!(first.params().iter().zip(second.params()).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }
    same::<1>();
    same::<7>();
}

/// What lies around a store of `COUNT` numbers.
const GUARD: usize = 64;

struct StoreIntegers<H>(core::marker::PhantomData<H>);

/// What is stored: numbers that differ, of which the compiler knows nothing. Of a constant, or of one number in all lanes, it narrows the
/// number and not the vector; so it does of what was loaded before an earlier store. A wrong store of a narrowed vector is not seen then.
fn values<T: From<i8>>() -> [T; 16] {
    core::hint::black_box(core::array::from_fn(|i| T::from(i as i8 + 1)))
}

/// Stores the first `$count` of a vector for every count there is, each a constant, and looks at what lies around.
macro_rules! stores {
    ($width:expr, $what:expr, $scalar:ty, $guard:expr, $load:expr, |$to:ident, $v:ident, $count:ident| $store:expr) => {
        stores!($width, $what, $scalar, $guard, $load, |$to, $v, $count| $store; 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    ($width:expr, $what:expr, $scalar:ty, $guard:expr, $load:expr, |$to:ident, $v:ident, $count:ident| $store:expr; $($n:literal)*) => {
        $(if $n < $width {
            let mut memory = [$guard; 2 * GUARD + $n];
            let ($to, $count) = (memory[GUARD..].as_mut_ptr(), $n);
            // SAFETY: a vector has 16 numbers at most, which lie in `values`; so many of them lie behind `$to`.
            unsafe {
                let $v = $load;
                $store;
            }
            for (i, found) in memory.iter().enumerate() {
                let inside = (GUARD..GUARD + $n).contains(&i);
                let expected = if inside { values::<$scalar>()[i - GUARD] } else { $guard };
                assert!(*found == expected, "{}: {found} at {i} of {} numbers", $what, $n);
            }
        })*
    };
}

impl<H: IntState> OnIntegers<H> for StoreIntegers<H> {
    type Output = ();
    #[inline(always)]
    fn run<L: Integers + Packed<i8, H, Vector = <L as Integers>::Whole>>(self, lanes: L) {
        stores!(L::WIDTH, "8 bits", i8, -86, lanes.load(values::<i32>().as_ptr(), None), |to, v, n| lanes
            .store_8(to, v, Some(n)));
        stores!(L::WIDTH, "16 bits", i16, -86, lanes.load(values::<i32>().as_ptr(), None), |to, v, n| lanes
            .store_16(to, v, Some(n)));
        stores!(L::WIDTH, "32 bits", i32, -86, lanes.load(values::<i32>().as_ptr(), None), |to, v, n| lanes
            .store(to, v, Some(n)));
    }
}

struct StoreFloats;

impl Operation<f32> for StoreFloats {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes<f32>>(self, lanes: L) {
        stores!(L::WIDTH, "f32", f32, -86.0, lanes.load(values::<f32>().as_ptr()), |to, v, n| lanes
            .store_partial(to, v, n));
    }
}

impl Operation<f64> for StoreFloats {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes<f64>>(self, lanes: L) {
        stores!(L::WIDTH, "f64", f64, -86.0, lanes.load(values::<f64>().as_ptr()), |to, v, n| lanes
            .store_partial(to, v, n));
    }
}

#[test]
fn partial_stores_write_so_much_and_no_more() {
    use attractor::simd::Element;
    for backend in Backend::available() {
        i8::run(backend, StoreIntegers::<i8>(core::marker::PhantomData));
        i16::run(backend, StoreIntegers::<i16>(core::marker::PhantomData));
        f32::run(backend, StoreFloats);
        f64::run(backend, StoreFloats);
    }
}

/// Integer networks with layers of every width to a vector and beyond: the same on every backend, and nothing beside the state is
/// written.
#[test]
fn integer_states_keep_to_themselves() {
    use attractor::kernel::HardTanh;
    use attractor::quantized::{Calibration, Quantized, QuantizedState};
    #[repr(C)]
    struct Guarded<S> {
        before: [u8; 64],
        state: S,
        behind: [u8; 64],
    }
    macro_rules! widths {
        ($($h:ty, [$($n:literal)*];)*) => { $($({
            type Net = fnn![2, $n, 1, $n; hidden = HardTanh];
            let mut net = Net::ZERO;
            for (i, w) in net.params_mut().iter_mut().enumerate() {
                *w = 0.3 * (1.7 * i as f32).sin();
            }
            let mut calibration = Calibration::ZERO;
            for i in 0..8 {
                let x = [(i as f32).sin(), (i as f32).cos()];
                let mut state = Net::state();
                net.solve(&x, &mut state, Stop::after(4)).expect("finite");
                calibration.observe(&x, &state).expect("finite");
            }
            let quantized = Quantized::<Net, $h>::new(&net, &calibration).expect("small weights");
            let mut first: Option<(Vec<$h>, Vec<_>)> = None;
            for backend in Backend::available() {
                let mut guarded: Guarded<QuantizedState<Net, $h>> =
                    Guarded { before: [0xAA; 64], state: Quantized::<Net, $h>::state(), behind: [0xAA; 64] };
                let mut results = Vec::new();
                for i in 0..6 {
                    let x = quantized.input(&[(i as f32).cos(), 0.3]).expect("in range");
                    results.push(quantized.on(backend).solve(&x, &mut guarded.state, 3));
                }
                assert!(guarded.before.iter().chain(&guarded.behind).all(|b| *b == 0xAA), "{} wide", $n);
                let found = (guarded.state.as_slice().to_vec(), results);
                match &first {
                    None => first = Some(found),
                    Some(first) => assert_eq!(*first, found, "{} wide on {}", $n, backend.name()),
                }
            }
        })*)* };
    }
    widths!(i8, [1 2 3 7 15 16 17 18 33 49]; i16, [1 2 9 17 33];);
}
