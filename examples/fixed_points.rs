//! Fixed points that are no networks: a sparse equilibrium layer, and an implicit step of an integrator, each with the exact gradient of its solution
//! beside central differences.
//!
//! `cargo run --release --example fixed_points`

#[macro_use]
#[path = "shared/output.rs"]
#[allow(dead_code, unused_macros, reason = "not all of it is needed here")]
mod output;

use attractor::Stop;
use attractor::solve::{Map, MapError, Solver, Transposed};

/// h = tanh(W h + b) with a sparse W, in rows: the entries of row i are those from `starts[i]` to `starts[i + 1]`.
struct Sparse {
    starts: Vec<usize>,
    columns: Vec<usize>,
    weights: Vec<f64>,
    b: Vec<f64>,
}

impl Sparse {
    /// A ring of units that read some others.
    fn ring(units: usize, gain: f64) -> Self {
        const READ: [usize; 4] = [1, 7, 31, 101];
        let columns = (0..units).flat_map(|i| READ.map(|far| (i + far) % units)).collect();
        let weights = (0..READ.len() * units).map(|k| gain * (0.7 * k as f64).sin()).collect();
        let starts = (0..=units).map(|i| READ.len() * i).collect();
        Self { starts, columns, weights, b: (0..units).map(|i| 0.5 * (i as f64).cos()).collect() }
    }

    fn row(&self, i: usize) -> impl Iterator<Item = (usize, f64)> {
        let own = self.starts[i]..self.starts[i + 1];
        self.columns[own.clone()].iter().copied().zip(self.weights[own].iter().copied())
    }
}

impl Map for Sparse {
    type Scalar = f64;
    fn units(&self) -> usize {
        self.b.len()
    }
    fn apply(&self, h: &[f64], next: &mut [f64]) {
        for (i, next) in next.iter_mut().enumerate() {
            *next = self.row(i).fold(self.b[i], |z, (j, w)| z + w * h[j]).tanh();
        }
    }
    fn bound(&self) -> Option<f64> {
        Some(1.0)
    }
}

impl Transposed for Sparse {
    fn apply_transposed(&self, h: &[f64], deltas: &[f64], next: &mut [f64]) {
        next.fill(0.0);
        for (i, delta) in deltas.iter().enumerate() {
            let z = self.row(i).fold(self.b[i], |z, (j, w)| z + w * h[j]);
            let sent = (1.0 - z.tanh().powi(2)) * delta;
            self.row(i).for_each(|(j, w)| next[j] += w * sent);
        }
    }
}

/// The state (x, v) of van der Pol's oscillator, x'' = m (1 - x^2) x' - x, after an implicit midpoint step: y = start + dt g((start + y) / 2).
struct Step {
    start: [f64; 2],
    dt: f64,
    m: f64,
}

impl Map for Step {
    type Scalar = f64;
    fn units(&self) -> usize {
        2
    }
    fn apply(&self, y: &[f64], next: &mut [f64]) {
        let [x, v] = [0, 1].map(|i| 0.5 * (self.start[i] + y[i]));
        next[0] = self.start[0] + self.dt * v;
        next[1] = self.start[1] + self.dt * (self.m * (1.0 - x * x) * v - x);
    }
}

impl Transposed for Step {
    fn apply_transposed(&self, y: &[f64], deltas: &[f64], next: &mut [f64]) {
        let [x, v] = [0, 1].map(|i| 0.5 * (self.start[i] + y[i]));
        let half = 0.5 * self.dt;
        next[0] = half * deltas[1] * (-2.0 * self.m * x * v - 1.0);
        next[1] = half * (deltas[0] + deltas[1] * self.m * (1.0 - x * x));
    }
}

/// dJ/dp of a loss at the fixed point, by central differences.
fn difference(p: f64, mut loss: impl FnMut(f64) -> Result<f64, MapError<f64>>) -> Result<f64, MapError<f64>> {
    let width = 1e-5;
    Ok((loss(p + width)? - loss(p - width)?) / (2.0 * width))
}

fn main() -> Result<(), MapError<f64>> {
    let stop = Stop::residual(1e-12).at_most(1000);

    // J = sum of h^2, and its slope for a weight in the middle.
    const UNITS: usize = 500;
    let mut layer = Sparse::ring(UNITS, 0.7);
    let solver = Solver::anderson(5);
    let mut room = vec![0.0; solver.room(UNITS, 1)];
    let (mut h, mut d) = (vec![0.0; UNITS], vec![0.0; UNITS]);
    let plain = Solver::plain().solve(&layer, &mut h, stop, &mut room);
    h.fill(0.0);
    let solved = solver.solve(&layer, &mut h, stop, &mut room)?;
    let sent: Vec<f64> = h.iter().map(|h| 2.0 * h).collect();
    let adjoint = solver.adjoint(&layer, &h, &sent, &mut d, stop, &mut room)?;
    let (unit, place) = (250, layer.starts[250] + 2);
    // dh_i/dz_i = 1 - h_i^2, and z_i has w h_j in it.
    let exact = (1.0 - h[unit] * h[unit]) * d[unit] * h[layer.columns[place]];
    let was = layer.weights[place];
    let by_differences = difference(was, |weight| {
        layer.weights[place] = weight;
        let mut h = vec![0.0; UNITS];
        solver.solve(&layer, &mut h, stop, &mut room)?;
        Ok(h.iter().map(|h| h * h).sum())
    })?;
    match plain {
        Ok(plain) => println!("sparse layer, plain sweeps: {}", plain.sweeps),
        Err(error) => println!("sparse layer, plain sweeps: {error}"),
    }
    println!("sparse layer, Anderson sweeps: {}", solved.sweeps);
    println!("sparse layer, adjoint sweeps: {}", adjoint.sweeps);
    println!("sparse layer, gradient: {exact:.9}, by differences {by_differences:.9}");

    // Fifty steps, and the slope of the last place for m, with the adjoint from step to step.
    const STEPS: usize = 50;
    let solver = Solver::anderson(2);
    let mut room = [0.0; Solver::<f64>::anderson(2).room(2, 1)];
    let mut last = |m: f64| {
        let mut states = vec![[2.0, 0.0]];
        let mut sweeps = 0;
        for _ in 0..STEPS {
            let start = *states.last().unwrap_or(&[2.0, 0.0]);
            let mut y = start;
            sweeps += solver.solve(&Step { start, dt: 0.2, m }, &mut y, stop, &mut room)?.sweeps;
            states.push(y);
        }
        Ok::<_, MapError<f64>>((states, sweeps))
    };
    let m = 1.5;
    let (states, sweeps) = last(m)?;
    let by_differences = difference(m, |m| Ok(last(m)?.0[STEPS][0]))?;
    let (mut sent, mut slope) = ([1.0, 0.0], 0.0);
    let mut room = [0.0; Solver::<f64>::anderson(2).room(2, 1)];
    for pair in states.windows(2).rev() {
        let step = Step { start: pair[0], dt: 0.2, m };
        let mut d = sent;
        solver.adjoint(&step, &pair[1], &sent, &mut d, stop, &mut room)?;
        // What depends on m, and on where the step starts: as on y by half, and directly.
        let [x, v] = [0, 1].map(|i| 0.5 * (pair[0][i] + pair[1][i]));
        slope += d[1] * step.dt * (1.0 - x * x) * v;
        let mut through = [0.0; 2];
        step.apply_transposed(&pair[1], &d, &mut through);
        sent = [0, 1].map(|i| d[i] + through[i]);
    }
    println!("integrator, sweeps a step: {:.1}", sweeps as f64 / STEPS as f64);
    println!("integrator, gradient: {slope:.9}, by differences {by_differences:.9}");
    println!("integrator, end: {:.6} {:.6}", states[STEPS][0], states[STEPS][1]);
    Ok(())
}
