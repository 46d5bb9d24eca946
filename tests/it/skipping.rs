//! Streams that leave out layers: the bound holds against the oracle at every tick, and layers are left out.

use crate::oracle::{self, subject};
use attractor::certificate::{CertifiedRoom, NotFinite};
use attractor::kernel::{HardTanh, Relu, Scalar, Sigmoid, Tanh};
use attractor::network::{Flat, Takes};
use attractor::simd::Backend;
use attractor::{Dense, Feedforward, Network, State, Tied, fnn};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// What a stream took.
#[derive(Debug, Default)]
struct Cost {
    layers: usize,
    /// With no layer left out.
    all: usize,
    ticks: usize,
    /// Ticks at which nothing was computed.
    idle: usize,
    /// The largest part of its bound that an error was.
    tightest: f64,
}

/// Follows a stream whose inputs are what `next` makes of them.
fn follow<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(
    network: &oracle::Network,
    backend: Backend,
    error: f64,
    ticks: usize,
    mut next: impl FnMut(usize, &mut [f64]),
) -> Cost {
    let net: Network<A> = subject::network(network);
    let certificate = net.certify().unwrap();
    let certified = certificate.verify(&net).unwrap().on(backend);
    let v: Vec<f64> = certificate.vector().as_slice().iter().map(|v| v.to_f64()).collect();
    let mut x = vec![0.0; I];
    let mut cost = Cost::default();
    next(0, &mut x);
    let given = |x: &[f64]| -> [T; I] { std::array::from_fn(|i| T::from_f64(x[i])) };
    let (mut state, mut other) = (State::ZERO, State::ZERO);
    let mut stream = certified.skipping(&given(&x), &mut state).unwrap();
    let mut whole = certified.refine(&given(&x), &mut other).unwrap();
    // In room of the caller's, whatever it holds, all is the same.
    let (mut third, mut fourth) = (State::ZERO, State::ZERO);
    let mut rooms = [CertifiedRoom::ZERO, CertifiedRoom::ZERO];
    rooms[0].flat_mut().fill(T::NAN);
    rooms[1].flat_mut().fill(T::NAN);
    let [one, two] = &mut rooms;
    let mut lent = certified.skipping_in(&given(&x), &mut third, one).unwrap();
    let mut lent_whole = certified.refine_in(&given(&x), &mut fourth, two).unwrap();
    for tick in 0..ticks {
        if tick > 0 {
            next(tick, &mut x);
            stream.follow(&given(&x)).unwrap();
            whole.follow(&given(&x)).unwrap();
            lent.follow(&given(&x)).unwrap();
            lent_whole.follow(&given(&x)).unwrap();
        }
        let asked = T::from_f64(error);
        let visited = stream.solve(asked).unwrap();
        assert!(lent.solve(asked).unwrap() == visited && lent.state() == stream.state(), "{tick}");
        let solved = whole.solve(asked).unwrap();
        assert!(lent_whole.solve(asked).unwrap() == solved && lent_whole.state() == whole.state(), "{tick}");
        cost.all += Network::<A>::DEPTH * solved.sweeps;
        cost.layers += visited.layers;
        cost.idle += usize::from(visited.layers == 0);
        cost.ticks += 1;
        assert!(visited.bound == stream.bound() && visited.bound.largest() <= asked, "{tick}: {visited:?}");
        let exact = network.solve(&x)[1..].concat();
        for (unit, ((h, exact), v)) in stream.state().as_slice().iter().zip(&exact).zip(&v).enumerate() {
            let (wrong, bound) = ((h.to_f64() - exact).abs(), visited.bound.unit(T::from_f64(*v)).to_f64());
            assert!(wrong <= bound, "tick {tick}, unit {unit}: {wrong:e} of {bound:e}");
            cost.tightest = cost.tightest.max(wrong / bound);
        }
    }
    cost
}

/// Rests, creeps, steps and jumps.
fn wander<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(zero: &Network<A>, bounded: bool) {
    for backend in subject::backends() {
        let mut total = Cost::default();
        for (seed, rate) in [0.05, 0.2, 0.5, 0.8].into_iter().enumerate() {
            let random = &mut SmallRng::seed_from_u64(seed as u64);
            let mut network = subject::oracle(zero);
            network.draw(random, 0.8, rate);
            let error = if size_of::<T>() == 4 { 1e-3 } else { 1e-5 };
            let cost = follow::<T, A, I>(&network, backend, error, 160, |tick, x| {
                let by = match tick % 40 {
                    0 => 1.0,
                    1..10 => 0.0,
                    10..20 => 0.02 * error,
                    20..30 => error,
                    _ => 30.0 * error,
                };
                for x in x.iter_mut() {
                    // An f32, so that both see the same.
                    *x = f64::from((*x + by * random.random_range(-1.0..1.0)).clamp(-1.5, 1.5) as f32);
                }
            });
            assert!(!bounded || cost.idle >= 24, "nothing moves in 36 ticks: {cost:?}");
            total.layers += cost.layers;
            total.all += cost.all;
            total.idle += cost.idle;
            total.ticks += cost.ticks;
            total.tightest = total.tightest.max(cost.tightest);
        }
        println!("{zero:?}, {}: {total:?}", backend.name());
        if bounded {
            assert!(total.layers * 10 < total.all * 8 && total.idle > 150, "{zero:?}: {total:?}");
        }
    }
}

#[test]
fn bounds_hold_where_layers_are_left_out() {
    wander(&<fnn![4, 8, 6, 3]>::ZERO, true);
    wander(&<fnn![3, 5, 4, 6, 2; feedback = Dense, output = Sigmoid]>::ZERO, true);
    wander(&<fnn![4, 7, 5, 3; feedback = Tied<40>, scalar = f64]>::ZERO, true);
    wander(&<fnn![3, 6, 5, 2; hidden = HardTanh, scalar = f64]>::ZERO, true);
    wander(&<fnn![3, 6, 5, 2; hidden = Relu]>::ZERO, false);
    wander(&<fnn![5, 3; output = Tanh]>::ZERO, true);
}

/// All weights positive, all units where their slope is 1, all inputs creeping upwards: everything that is left out adds up, and
/// the bound is nearly what it comes to. A bound that forgot something would not hold here.
fn creep<A: Takes<I, Scalar = f64>, const I: usize>(zero: &Network<A>, rate: f64) {
    let random = &mut SmallRng::seed_from_u64(9);
    let mut network = subject::oracle(zero);
    network.draw(random, 0.5, rate);
    for param in &mut network.params {
        *param = param.abs();
    }
    for l in 1..=network.depth() {
        for i in 0..network.widths[l] {
            let place = network.b(l, i);
            network.params[place] = 0.0;
        }
    }
    for step in [1e-6, 1e-5, 1e-4] {
        let cost = follow::<f64, A, I>(&network, Backend::best(), 2e-3, 300, |_, x| {
            for x in x.iter_mut() {
                *x += step;
            }
        });
        println!("{zero:?}, rate {rate}, step {step:e}: {cost:?}");
        assert!(cost.layers < cost.all && cost.tightest > 0.2, "{cost:?}");
    }
}

#[test]
fn what_is_left_out_adds_up_to_no_more_than_the_bound() {
    creep(&<fnn![2, 1, 1, 1; hidden = HardTanh, output = HardTanh, scalar = f64]>::ZERO, 0.3);
    creep(&<fnn![2, 3, 2, 4; hidden = HardTanh, output = HardTanh, scalar = f64]>::ZERO, 0.5);
    creep(
        &<fnn![2, 2, 3, 2; feedback = Dense, hidden = HardTanh, output = HardTanh, scalar = f64]>::ZERO,
        0.5,
    );
    creep(
        &<fnn![2, 2, 3; feedback = Tied<50>, hidden = HardTanh, output = HardTanh, scalar = f64]>::ZERO,
        0.4,
    );
}

#[test]
fn what_is_not_finite_changes_nothing() {
    type Net = fnn![2, 4, 3];
    let mut network = subject::oracle(&Net::ZERO);
    network.draw(&mut SmallRng::seed_from_u64(2), 0.9, 0.3);
    let net: Net = subject::network(&network);
    let certificate = net.certify().unwrap();
    let certified = certificate.verify(&net).unwrap();
    let mut state = Net::state();
    assert!(matches!(certified.skipping(&[f32::NAN, 0.0], &mut state), Err(NotFinite)));
    let mut stream = certified.skipping(&[0.5, 0.25], &mut state).unwrap();
    stream.solve(1e-3).unwrap();
    let (before, bound) = (stream.state().clone(), stream.bound());
    assert_eq!(stream.follow(&[0.5, f32::INFINITY]), Err(NotFinite));
    assert!(stream.state().as_slice() == before.as_slice() && stream.bound() == bound);
    assert_eq!(stream.solve(1e-3).unwrap().layers, 0);
}

/// Any start state, any order of calls, absurd errors: a bound that is stated holds, and none is stated of what was never computed.
fn any_order<T: Scalar, A: Takes<I, Scalar = T>, const I: usize>(zero: &Network<A>) {
    let errors = [f64::INFINITY, 1e38, 1e3, 1.0, 0.1, 1e-3, 0.0, -1.0, f64::NAN, f64::NEG_INFINITY];
    for backend in subject::backends() {
        for (seed, start) in [0.0, 0.5, -1e3, 1e6, 1e18, 1e30].into_iter().enumerate() {
            for first in errors {
                let random = &mut SmallRng::seed_from_u64(seed as u64);
                let mut network = subject::oracle(zero);
                network.draw(random, 0.8, [0.2, 0.7][seed % 2]);
                let net: Network<A> = subject::network(&network);
                let certificate = net.certify().unwrap();
                let certified = certificate.verify(&net).unwrap().on(backend);
                let v: Vec<f64> = certificate.vector().as_slice().iter().map(|v| v.to_f64()).collect();
                let (mut state, mut other) = (State::ZERO, State::ZERO);
                let mut x: [T; I] = [T::from_f64(0.5); I];
                for from in [&mut state, &mut other] {
                    from.as_mut_slice().fill(T::from_f64(start));
                }
                let mut stream = certified.skipping(&x, &mut state).unwrap();
                let mut whole = certified.refine(&x, &mut other).unwrap();
                for call in 0..8 {
                    let error = if call == 0 { first } else { errors[random.random_range(0..errors.len())] };
                    if call > 0 && random.random_range(0..3) == 0 {
                        let by = [0.0, 1e-6, 1.0][random.random_range(0..3)];
                        for x in &mut x {
                            *x = T::from_f64(f64::from((x.to_f64() + by) as f32));
                        }
                        stream.follow(&x).unwrap();
                        whole.follow(&x).unwrap();
                    } else {
                        // Too large a state may overflow; nothing is claimed then.
                        let stated = stream.solve(T::from_f64(error)).map(|visited| visited.bound);
                        assert!(stated.is_ok() || start.abs() > 1e5, "{start} {error}");
                        if random.random_range(0..2) == 0 {
                            _ = whole.sweep();
                        } else {
                            _ = whole.solve(T::from_f64(error));
                        }
                    }
                    let exact = network.solve(&x.map(|x| x.to_f64()))[1..].concat();
                    for (who, state, bound) in [
                        ("skipping", stream.state(), stream.bound()),
                        ("refine", whole.state(), whole.bound()),
                    ] {
                        for ((h, exact), v) in state.as_slice().iter().zip(&exact).zip(&v) {
                            let wrong = (h.to_f64() - exact).abs();
                            let bound = bound.unit(T::from_f64(*v)).to_f64();
                            let place = format!("{who} of {zero:?} from {start}, call {call}, error {error}");
                            assert!(wrong <= bound, "{place}: {wrong:e} of {bound:e}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn bounds_hold_after_any_order_of_calls() {
    any_order(&<fnn![1, 1, 1]>::ZERO);
    any_order(&<fnn![3, 5, 4, 2; output = Sigmoid]>::ZERO);
    any_order(&<fnn![2, 4, 3, 3; feedback = Dense, scalar = f64]>::ZERO);
    any_order(&<fnn![2, 4, 3; feedback = Tied<40>, hidden = HardTanh]>::ZERO);
    any_order(&<fnn![2, 4, 3; hidden = Relu]>::ZERO);
    any_order(&<fnn![2, 4, 3; feedback = Feedforward, hidden = Sigmoid]>::ZERO);
}
