use attractor::{Dense, Tolerance, Workspace, fnn};
use attractor::learn::{MeanSquared, Objective, Rule, Tape};
use attractor::simd::Backend;
use nalgebra::SMatrix;
use rand::{SeedableRng, rngs::SmallRng, RngExt};

#[test]
fn smoke() {
    type Net = fnn![5, 7, 6, 3; feedback = Dense, scalar = f64];
    const B: usize = 3;
    let mut rng = SmallRng::seed_from_u64(3);
    let mut net = Net::ZERO;
    net.initialize(&mut rng);
    let x = SMatrix::<f64, B, 5>::from_fn(|_, _| rng.random_range(-1.0..1.0));
    let y = SMatrix::<f64, B, 3>::from_fn(|_, _| rng.random_range(-1.0..1.0));
    for backend in Backend::available() {
        let tol = Tolerance::residual(1e-14);
        let objective = Objective::new(MeanSquared).solve(tol).rule(Rule::Adjoint(tol));
        let mut ws = Workspace::<Net, B>::ZERO;
        let mut g = Net::ZERO;
        let learned = net.on(backend).gradient(&objective, &x, &y, &mut ws, &mut g).unwrap();
        println!("{} {:?}", backend.name(), learned);
        let loss = |net: &Net| {
            let mut s = Net::state();
            net.on(backend).solve(&x, &mut s, tol).unwrap();
            (s.output() - y).norm_squared() / 9.0
        };
        let mut tape = Tape::<Net, B, 4>::ZERO;
        let mut gu = Net::ZERO;
        net.on(backend).unrolled(&MeanSquared, &x, &y, &mut tape, &mut ws, &mut gu).unwrap();
        let lossu = |net: &Net| {
            let mut s = Net::state();
            net.on(backend).solve(&x, &mut s, Tolerance::exactly(4)).unwrap();
            (s.output() - y).norm_squared() / 9.0
        };
        let mut worst = 0.0_f64;
        let mut worstu = 0.0_f64;
        for i in 0..Net::PARAMS {
            let e = 1e-5;
            let (mut p, mut m) = (net.clone(), net.clone());
            p.params_mut()[i] += e;
            m.params_mut()[i] -= e;
            worst = worst.max(((loss(&p) - loss(&m)) / (2.0 * e) - g.params()[i]).abs());
            worstu = worstu.max(((lossu(&p) - lossu(&m)) / (2.0 * e) - gu.params()[i]).abs());
        }
        println!("worst {worst} {worstu}");
        assert!(worst < 1e-8 && worstu < 1e-8);
    }
}
