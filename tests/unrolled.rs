//! Release builds compile one sample of a small network, and any batch of a tiny one, for the network's type. That gives the
//! bits of the loop all networks share, which single sweeps always go through, and what the oracle says.

mod oracle;

use attractor::kernel::Activation;
use attractor::simd::Backend;
use attractor::{Dense, Drive, Form, Network, Stack, Tied, Tolerance, fnn};
use nalgebra::SMatrix;
use oracle::subject;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

const SWEEPS: usize = 7;

fn agree<const I: usize, S: Stack, F: Form, H: Activation, O: Activation, const B: usize>(
    zero: &Network<I, S, f32, F, H, O>,
) {
    let mut network = subject::oracle(zero);
    let random = &mut SmallRng::seed_from_u64(B as u64);
    network.draw(random, 0.9, 0.5);
    let net: Network<I, S, f32, F, H, O> = subject::network(&network);
    let rows: Vec<Vec<f64>> =
        (0..B).map(|_| (0..I).map(|_| f64::from(random.random_range(-1.0_f32..1.0))).collect()).collect();
    let x: SMatrix<f32, B, I> = subject::samples(&rows);
    let exact: Vec<Vec<f64>> =
        rows.iter().map(|x| network.unroll(x, SWEEPS).pop().expect("a sweep")[1..].concat()).collect();
    for backend in Backend::available() {
        let what = format!("{zero:?}, {B} samples, {}", backend.name());
        let on = net.on(backend);
        let mut solved = Network::<I, S, f32, F, H, O>::state::<B>();
        on.solve(&x, &mut solved, Tolerance::exactly(SWEEPS)).expect("finite");
        let mut drive = Drive::<Network<I, S, f32, F, H, O>, B>::ZERO;
        on.drive(&x, &mut drive).expect("finite");
        let mut swept = Network::<I, S, f32, F, H, O>::state::<B>();
        for _ in 0..SWEEPS {
            on.sweep(&drive, &mut swept).expect("finite");
        }
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(solved.as_slice()), bits(swept.as_slice()), "{what}");
        for (found, exact) in subject::states(&solved).iter().flatten().zip(exact.iter().flatten()) {
            assert!((found - exact).abs() <= 6e-6 * exact.abs().max(1.0), "{what}: {found} is not {exact}");
        }
    }
}

#[test]
fn one_sample() {
    subject::backends();
    agree::<_, _, _, _, _, 1>(&<fnn![3, 8, 2]>::ZERO);
    agree::<_, _, _, _, _, 1>(&<fnn![5, 70, 33, 17; feedback = Dense]>::ZERO);
    agree::<_, _, _, _, _, 1>(&<fnn![5, 20, 33, 17; feedback = Tied<40>]>::ZERO);
}

#[test]
fn batches_of_the_tiny() {
    agree::<_, _, _, _, _, 5>(&<fnn![3, 8, 2]>::ZERO);
    agree::<_, _, _, _, _, 41>(&<fnn![5, 17, 9, 6; feedback = Tied]>::ZERO);
    agree::<_, _, _, _, _, 41>(&<fnn![5, 17, 9, 6; feedback = Dense]>::ZERO);
}
