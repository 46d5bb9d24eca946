//! An independent oracle in `f64`: plain loops over `Vec`s, one sample at a time, none of the crate's arithmetic.
//!
//! Layers are counted from 1 as in the formulas; `h[0]` is the input, `h[l]` layer l.

#![allow(dead_code, reason = "every test program uses another part of the oracle")]

pub(crate) mod subject;

use rand::{RngExt, rngs::SmallRng};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Activation {
    Tanh,
    Sigmoid,
    Relu,
    HardTanh,
    LeakyRelu,
    Identity,
}

impl Activation {
    pub(crate) fn value(self, z: f64) -> f64 {
        match self {
            Self::Tanh => z.tanh(),
            Self::Sigmoid => 1.0 / (1.0 + (-z).exp()),
            Self::Relu => z.max(0.0),
            Self::HardTanh => z.clamp(-1.0, 1.0),
            Self::LeakyRelu => z.max(z / 128.0),
            Self::Identity => z,
        }
    }

    /// s'(z), from z.
    pub(crate) fn slope(self, z: f64) -> f64 {
        match self {
            Self::Tanh => z.cosh().powi(-2),
            Self::Sigmoid => 1.0 / ((1.0 + (-z).exp()) * (1.0 + z.exp())),
            Self::Relu => f64::from(u8::from(z > 0.0)),
            Self::HardTanh => f64::from(u8::from(z.abs() < 1.0)),
            Self::LeakyRelu if z > 0.0 => 1.0,
            Self::LeakyRelu => 1.0 / 128.0,
            Self::Identity => 1.0,
        }
    }

    pub(crate) fn steepest(self) -> f64 {
        if self == Self::Sigmoid { 0.25 } else { 1.0 }
    }

    /// How far z is from the nearest point without a derivative.
    pub(crate) fn margin(self, z: f64) -> f64 {
        match self {
            Self::Relu | Self::LeakyRelu => z.abs(),
            Self::HardTanh => (z.abs() - 1.0).abs(),
            _ => f64::INFINITY,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Feedback {
    None,
    Adjacent,
    Skip,
    Dense,
    /// U^(l,l+1) is this times the transpose of W^(l+1).
    Tied(f64),
}

/// What a sample should give.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Mean squared error against these values.
    Values(Vec<f64>),
    /// Cross-entropy of the softmax against a label, some of it spread over all classes.
    Label { label: usize, smoothing: f64 },
}

impl Target {
    pub(crate) fn loss(&self, output: &[f64]) -> f64 {
        let n = output.len() as f64;
        match self {
            Self::Values(values) => {
                output.iter().zip(values).map(|(h, y)| (h - y) * (h - y)).sum::<f64>() / n
            }
            Self::Label { label, smoothing } => {
                let top = output.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let log_sum = top + output.iter().map(|h| (h - top).exp()).sum::<f64>().ln();
                let wanted = |class| smoothing / n + if class == *label { 1.0 - smoothing } else { 0.0 };
                output.iter().enumerate().map(|(class, h)| wanted(class) * (log_sum - h)).sum()
            }
        }
    }

    /// dJ/dh of the output.
    pub(crate) fn slope(&self, output: &[f64]) -> Vec<f64> {
        let n = output.len() as f64;
        match self {
            Self::Values(values) => output.iter().zip(values).map(|(h, y)| 2.0 * (h - y) / n).collect(),
            Self::Label { label, smoothing } => {
                let top = output.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = output.iter().map(|h| (h - top).exp()).sum();
                let wanted = |class| smoothing / n + if class == *label { 1.0 - smoothing } else { 0.0 };
                output.iter().enumerate().map(|(class, h)| (h - top).exp() / sum - wanted(class)).collect()
            }
        }
    }
}

/// How a gradient is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    /// At the solution, exact.
    Adjoint,
    /// At the solution, without what the output layer reads from below.
    Literal,
    /// At the solution, so many adjoint sweeps from zero.
    Truncated(usize),
    /// Of exactly so many sweeps from zero.
    Unrolled(usize),
}

/// Loss and gradients of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Gradient {
    pub(crate) loss: f64,
    pub(crate) params: Vec<f64>,
    /// A row a sample.
    pub(crate) inputs: Vec<Vec<f64>>,
}

impl Gradient {
    /// The largest difference of two gradients by the parameters, relative to the largest entry of `exact`.
    pub(crate) fn params_error(&self, exact: &Self) -> f64 {
        relative_error(&self.params, &exact.params)
    }
    /// The same by the inputs. Where these are next to nothing beside the parameters', as behind a weight of
    /// almost zero, a tenth of the latter is what the difference is relative to.
    pub(crate) fn inputs_error(&self, exact: &Self) -> f64 {
        let scale = largest(&exact.inputs.concat());
        let floor = 0.1 * largest(&exact.params);
        let error = relative_error(&self.inputs.concat(), &exact.inputs.concat());
        if scale > 0.0 && scale < floor { error * (scale / floor) } else { error }
    }
}

pub(crate) fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, v| if v.is_nan() { f64::NAN } else { v.abs().max(largest) })
}

pub(crate) fn relative_error(found: &[f64], exact: &[f64]) -> f64 {
    assert_eq!(found.len(), exact.len());
    let differences: Vec<f64> = found.iter().zip(exact).map(|(f, e)| f - e).collect();
    let scale = largest(exact);
    // Two gradients of nothing but zeros agree.
    if scale == 0.0 { largest(&differences) } else { largest(&differences) / scale }
}

/// A network: widths with the inputs first, and the flat parameters in the crate's order: layer after layer W
/// (column-major, width x below), U (column-major, width x units that are fed back, the nearest layer first), b.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) widths: Vec<usize>,
    pub(crate) feedback: Feedback,
    pub(crate) hidden: Activation,
    pub(crate) output: Activation,
    pub(crate) params: Vec<f64>,
    starts: Vec<usize>,
}

pub(crate) type States = Vec<Vec<f64>>;

impl Network {
    pub(crate) fn zero(widths: &[usize], feedback: Feedback, hidden: Activation, output: Activation) -> Self {
        let mut network = Self {
            widths: widths.to_vec(),
            feedback,
            hidden,
            output,
            params: Vec::new(),
            starts: vec![usize::MAX],
        };
        let mut length = 0;
        for l in 1..=network.depth() {
            network.starts.push(length);
            let columns = network.columns(l);
            length += widths[l] * (widths[l - 1] + columns + 1);
        }
        network.params = vec![0.0; length];
        network
    }

    pub(crate) fn depth(&self) -> usize {
        self.widths.len() - 1
    }
    /// The layers above that layer l reads, the nearest first.
    pub(crate) fn reads(&self, l: usize) -> std::ops::RangeInclusive<usize> {
        let farthest = match self.feedback {
            Feedback::None => l,
            Feedback::Adjacent | Feedback::Tied(_) => self.depth().min(l + 1),
            Feedback::Skip => self.depth().min(l + 2),
            Feedback::Dense => self.depth(),
        };
        l + 1..=farthest
    }
    /// The columns of U^l.
    fn columns(&self, l: usize) -> usize {
        if let Feedback::Tied(_) = self.feedback { 0 } else { self.reads(l).map(|k| self.widths[k]).sum() }
    }
    pub(crate) fn activation(&self, l: usize) -> Activation {
        if l == self.depth() { self.output } else { self.hidden }
    }
    /// The place of W^l_ij.
    pub(crate) fn w(&self, l: usize, i: usize, j: usize) -> usize {
        self.starts[l] + j * self.widths[l] + i
    }
    /// U^(l,k)_ij = a parameter times a factor: the place of the one, and the other.
    fn feedback(&self, l: usize, k: usize, i: usize, j: usize) -> (usize, f64) {
        match self.feedback {
            Feedback::Tied(factor) => (self.w(k, j, i), factor),
            _ => (self.u(l, k, i, j), 1.0),
        }
    }
    /// U^(l,k)_ij.
    pub(crate) fn weight_from(&self, l: usize, k: usize, i: usize, j: usize) -> f64 {
        let (place, factor) = self.feedback(l, k, i, j);
        factor * self.params[place]
    }
    /// The place of U^(l,k)_ij.
    pub(crate) fn u(&self, l: usize, k: usize, i: usize, j: usize) -> usize {
        assert!(!matches!(self.feedback, Feedback::Tied(_)), "it has no place of its own");
        let nearer: usize = (l + 1..k).map(|k| self.widths[k]).sum();
        self.starts[l] + (self.widths[l - 1] + nearer + j) * self.widths[l] + i
    }
    /// The place of b^l_i.
    pub(crate) fn b(&self, l: usize, i: usize) -> usize {
        self.starts[l] + (self.widths[l - 1] + self.columns(l)) * self.widths[l] + i
    }
    /// Whether any layer reads another above it.
    pub(crate) fn feeds_back(&self) -> bool {
        (1..=self.depth()).any(|l| !self.reads(l).is_empty())
    }
    /// The places of all feedback weights.
    pub(crate) fn feedback_places(&self) -> Vec<usize> {
        let mut places = Vec::new();
        if let Feedback::Tied(_) = self.feedback {
            return places;
        }
        for l in 1..=self.depth() {
            for k in self.reads(l) {
                for j in 0..self.widths[k] {
                    places.extend((0..self.widths[l]).map(|i| self.u(l, k, i, j)));
                }
            }
        }
        places
    }

    /// Draws random parameters, each an `f32`, whose sweeps shrink an error to `rate` or less for every input:
    /// with G = (I - Lo)^-1 Up of the comparison matrix, G is linear in U, so U is scaled to the wanted rate.
    pub(crate) fn draw(&mut self, random: &mut SmallRng, gain: f64, rate: f64) {
        for l in 1..=self.depth() {
            let below = self.widths[l - 1];
            let bound = gain * (3.0 / below as f64).sqrt();
            for i in 0..self.widths[l] {
                for j in 0..below {
                    let place = self.w(l, i, j);
                    self.params[place] = random.random_range(-bound..bound);
                }
                let place = self.b(l, i);
                self.params[place] = random.random_range(-0.3..0.3);
            }
        }
        let places = self.feedback_places();
        for &place in &places {
            self.params[place] = random.random_range(-1.0..1.0);
        }
        if let Feedback::Tied(_) = self.feedback {
            // Every loop goes through a W twice: up and down.
            let factor = (rate / self.rate()).sqrt().min(1.0);
            for l in 2..=self.depth() {
                for i in 0..self.widths[l] {
                    for j in 0..self.widths[l - 1] {
                        let place = self.w(l, i, j);
                        self.params[place] *= factor;
                    }
                }
            }
        }
        if !places.is_empty() {
            let factor = rate / self.rate();
            for &place in &places {
                self.params[place] *= factor;
            }
        }
        for param in &mut self.params {
            *param = f64::from(*param as f32);
        }
    }

    /// An upper bound of the factor by which a sweep shrinks an error, in a weighted maximum norm.
    pub(crate) fn rate(&self) -> f64 {
        let mut v: States = self.widths.iter().map(|n| vec![1.0; *n]).collect();
        let mut rate = 0.0;
        for _ in 0..60 {
            let mut w = v.clone();
            for l in 1..=self.depth() {
                for i in 0..self.widths[l] {
                    let mut sum = 0.0;
                    if l > 1 {
                        sum += (0..self.widths[l - 1])
                            .map(|j| self.params[self.w(l, i, j)].abs() * w[l - 1][j])
                            .sum::<f64>();
                    }
                    for k in self.reads(l) {
                        sum += (0..self.widths[k])
                            .map(|j| self.weight_from(l, k, i, j).abs() * v[k][j])
                            .sum::<f64>();
                    }
                    w[l][i] = self.activation(l).steepest() * sum;
                }
            }
            rate = 0.0;
            for l in 1..=self.depth() {
                for i in 0..self.widths[l] {
                    rate = f64::max(rate, w[l][i] / v[l][i]);
                }
            }
            // A little of the old vector keeps every entry above zero.
            for l in 1..=self.depth() {
                for i in 0..self.widths[l] {
                    v[l][i] = (w[l][i] / rate).max(1e-3 * v[l][i]);
                }
            }
        }
        rate
    }

    /// A state at zero, with its input.
    pub(crate) fn start(&self, input: &[f64]) -> States {
        assert_eq!(input.len(), self.widths[0]);
        let mut h: States = self.widths.iter().map(|n| vec![0.0; *n]).collect();
        h[0].copy_from_slice(input);
        h
    }

    /// z^l_i, with what the layers above said in `above`.
    fn sum(&self, below: &[f64], above: &States, l: usize, i: usize) -> f64 {
        let mut z = self.params[self.b(l, i)];
        for (j, h) in below.iter().enumerate() {
            z += self.params[self.w(l, i, j)] * h;
        }
        for k in self.reads(l) {
            for (j, h) in above[k].iter().enumerate() {
                z += self.weight_from(l, k, i, j) * h;
            }
        }
        z
    }

    /// One sweep; the largest change.
    pub(crate) fn sweep(&self, h: &mut States) -> f64 {
        let mut residual = 0.0;
        for l in 1..=self.depth() {
            let new: Vec<f64> =
                (0..self.widths[l]).map(|i| self.activation(l).value(self.sum(&h[l - 1], h, l, i))).collect();
            for (new, old) in new.iter().zip(&h[l]) {
                residual = f64::max(residual, (new - old).abs());
            }
            h[l] = new;
        }
        residual
    }

    /// Sweeps from zero until nothing changes by more than `tolerance`; the sweeps made.
    pub(crate) fn solve_to(&self, input: &[f64], tolerance: f64) -> (States, usize) {
        let mut h = self.start(input);
        for sweeps in 1..=5000 {
            if self.sweep(&mut h) <= tolerance {
                return (h, sweeps);
            }
        }
        panic!("the oracle found no solution");
    }
    /// The solution as well as `f64` can say it.
    pub(crate) fn solve(&self, input: &[f64]) -> States {
        let (mut h, _) = self.solve_to(input, 1e-12);
        // Never "until nothing changes": rounding can go round in a circle of last places.
        for _ in 0..60 {
            self.sweep(&mut h);
        }
        h
    }
    /// Exactly so many sweeps from zero: all states from the start on.
    pub(crate) fn unroll(&self, input: &[f64], sweeps: usize) -> Vec<States> {
        let mut states = vec![self.start(input)];
        for t in 0..sweeps {
            let mut h = states[t].clone();
            self.sweep(&mut h);
            states.push(h);
        }
        states
    }

    /// The mean loss, at the solutions or after exactly so many sweeps.
    pub(crate) fn loss(&self, inputs: &[Vec<f64>], targets: &[Target], sweeps: Option<usize>) -> f64 {
        let each = inputs.iter().zip(targets).map(|(x, y)| {
            let mut h = match sweeps {
                None => self.solve(x),
                Some(sweeps) => self.unroll(x, sweeps).pop().unwrap(),
            };
            y.loss(&h.pop().unwrap())
        });
        each.sum::<f64>() / inputs.len() as f64
    }

    /// How far every z of the solution (or of so many sweeps) is from where its activation has no derivative.
    pub(crate) fn margin(&self, input: &[f64], sweeps: Option<usize>) -> f64 {
        let states = match sweeps {
            None => vec![self.solve(input); 2],
            Some(sweeps) => self.unroll(input, sweeps),
        };
        let mut margin = f64::INFINITY;
        for pair in states.windows(2) {
            for l in 1..=self.depth() {
                for i in 0..self.widths[l] {
                    let z = self.sum(&pair[1][l - 1], &pair[0], l, i);
                    margin = margin.min(self.activation(l).margin(z));
                }
            }
        }
        margin
    }

    /// Central differences of the loss by every parameter and every input.
    pub(crate) fn differences(
        &self,
        inputs: &[Vec<f64>],
        targets: &[Target],
        sweeps: Option<usize>,
    ) -> Gradient {
        const STEP: f64 = 1e-5;
        let mut network = self.clone();
        let params = (0..self.params.len())
            .map(|place| {
                let param = self.params[place];
                let [high, low] = [param + STEP, param - STEP].map(|moved| {
                    network.params[place] = moved;
                    network.loss(inputs, targets, sweeps)
                });
                network.params[place] = param;
                (high - low) / (2.0 * STEP)
            })
            .collect();
        let mut moved = inputs.to_vec();
        let mut slopes = Vec::new();
        for s in 0..inputs.len() {
            let slope = (0..self.widths[0])
                .map(|j| {
                    let [high, low] = [STEP, -STEP].map(|step| {
                        moved[s][j] = inputs[s][j] + step;
                        let one = self.loss(&moved[s..=s], &targets[s..=s], sweeps);
                        one / inputs.len() as f64
                    });
                    moved[s][j] = inputs[s][j];
                    (high - low) / (2.0 * STEP)
                })
                .collect();
            slopes.push(slope);
        }
        Gradient { loss: self.loss(inputs, targets, sweeps), params, inputs: slopes }
    }

    /// The mean loss and its gradient.
    pub(crate) fn gradient(&self, inputs: &[Vec<f64>], targets: &[Target], method: Way) -> Gradient {
        let mut gradient = Gradient { loss: 0.0, params: vec![0.0; self.params.len()], inputs: Vec::new() };
        let share = 1.0 / inputs.len() as f64;
        for (x, y) in inputs.iter().zip(targets) {
            let states = match method {
                Way::Unrolled(sweeps) => self.unroll(x, sweeps),
                _ => vec![self.solve(x)],
            };
            let output = states.last().unwrap().last().unwrap();
            gradient.loss += share * y.loss(output);
            let slope: Vec<f64> = y.slope(output).iter().map(|g| share * g).collect();
            let slope = if let Way::Unrolled(_) = method {
                self.reverse(&states, slope, &mut gradient.params)
            } else {
                let h = &states[0];
                let deltas = match method {
                    Way::Truncated(sweeps) => self.adjoint_sweeps(h, &slope, sweeps),
                    method => self.adjoint(h, &slope, method == Way::Literal),
                };
                self.outer(h, &deltas, &mut gradient.params)
            };
            gradient.inputs.push(slope);
        }
        gradient
    }

    /// s'(z) of a solution.
    fn slopes(&self, h: &States) -> States {
        let slope = |l: usize, i| self.activation(l).slope(self.sum(&h[l - 1], h, l, i));
        (0..=self.depth())
            .map(|l| if l == 0 { Vec::new() } else { (0..self.widths[l]).map(|i| slope(l, i)).collect() })
            .collect()
    }

    /// dz^k_j / dh^l_i between layers inside the loop.
    fn coupling(&self, k: usize, j: usize, l: usize, i: usize) -> f64 {
        if k == l + 1 {
            self.params[self.w(k, j, i)]
        } else if self.reads(k).contains(&l) {
            self.weight_from(k, l, j, i)
        } else {
            0.0
        }
    }

    /// d = D (g + sum of M^T d), solved as one dense system of linear equations.
    fn adjoint(&self, h: &States, output: &[f64], literal: bool) -> States {
        let slopes = self.slopes(h);
        let units: Vec<(usize, usize)> =
            (1..=self.depth()).flat_map(|l| (0..self.widths[l]).map(move |i| (l, i))).collect();
        let n = units.len();
        let mut matrix: Vec<Vec<f64>> = units
            .iter()
            .enumerate()
            .map(|(row, &(l, i))| {
                let mut equation: Vec<f64> = units
                    .iter()
                    .enumerate()
                    .map(|(col, &(k, j))| {
                        let dropped = literal && l == self.depth();
                        let coupling = if dropped { 0.0 } else { self.coupling(k, j, l, i) };
                        f64::from(u8::from(row == col)) - slopes[l][i] * coupling
                    })
                    .collect();
                equation.push(if l == self.depth() { slopes[l][i] * output[i] } else { 0.0 });
                equation
            })
            .collect();
        for col in 0..n {
            let best =
                (col..n).max_by(|a, b| matrix[*a][col].abs().total_cmp(&matrix[*b][col].abs())).unwrap();
            matrix.swap(col, best);
            let pivot = matrix[col].clone();
            for equation in &mut matrix[col + 1..] {
                let factor = equation[col] / pivot[col];
                if factor != 0.0 {
                    for (e, p) in equation[col..].iter_mut().zip(&pivot[col..]) {
                        *e -= factor * p;
                    }
                }
            }
        }
        let mut solution = vec![0.0; n];
        for row in (0..n).rev() {
            let known: f64 = (row + 1..n).map(|col| matrix[row][col] * solution[col]).sum();
            solution[row] = (matrix[row][n] - known) / matrix[row][row];
        }
        let mut deltas: States = self.widths.iter().map(|n| vec![0.0; *n]).collect();
        for (&(l, i), d) in units.iter().zip(solution) {
            deltas[l][i] = d;
        }
        deltas
    }

    /// So many sweeps of d = D (g + sum of M^T d), from the last layer to the first, from zero.
    fn adjoint_sweeps(&self, h: &States, output: &[f64], sweeps: usize) -> States {
        let slopes = self.slopes(h);
        let mut deltas: States = self.widths.iter().map(|n| vec![0.0; *n]).collect();
        for _ in 0..sweeps {
            for l in (1..=self.depth()).rev() {
                for i in 0..self.widths[l] {
                    let mut sum = if l == self.depth() { output[i] } else { 0.0 };
                    for (k, deltas) in deltas.iter().enumerate().skip(1) {
                        for (j, d) in deltas.iter().enumerate() {
                            sum += self.coupling(k, j, l, i) * d;
                        }
                    }
                    deltas[l][i] = slopes[l][i] * sum;
                }
            }
        }
        deltas
    }

    /// Adds d h^T to the gradient; dJ/dx.
    fn outer(&self, h: &States, deltas: &States, gradient: &mut [f64]) -> Vec<f64> {
        let mut input = vec![0.0; self.widths[0]];
        for l in 1..=self.depth() {
            for i in 0..self.widths[l] {
                let d = deltas[l][i];
                gradient[self.b(l, i)] += d;
                for j in 0..self.widths[l - 1] {
                    gradient[self.w(l, i, j)] += d * h[l - 1][j];
                    if l == 1 {
                        input[j] += d * self.params[self.w(1, i, j)];
                    }
                }
                for k in self.reads(l) {
                    for (j, h) in h[k].iter().enumerate() {
                        let (place, factor) = self.feedback(l, k, i, j);
                        gradient[place] += factor * d * h;
                    }
                }
            }
        }
        input
    }

    /// Goes back through all sweeps, statement by statement; dJ/dx.
    fn reverse(&self, states: &[States], output: Vec<f64>, gradient: &mut [f64]) -> Vec<f64> {
        let mut bars: Vec<States> =
            states.iter().map(|h| h.iter().map(|h| vec![0.0; h.len()]).collect()).collect();
        let mut input = vec![0.0; self.widths[0]];
        let last = states.len() - 1;
        bars[last][self.depth()] = output;
        for t in (1..=last).rev() {
            for l in (1..=self.depth()).rev() {
                for i in 0..self.widths[l] {
                    let z = self.sum(&states[t][l - 1], &states[t - 1], l, i);
                    let d = self.activation(l).slope(z) * bars[t][l][i];
                    gradient[self.b(l, i)] += d;
                    for j in 0..self.widths[l - 1] {
                        let place = self.w(l, i, j);
                        gradient[place] += d * states[t][l - 1][j];
                        if l == 1 {
                            input[j] += d * self.params[place];
                        } else {
                            bars[t][l - 1][j] += d * self.params[place];
                        }
                    }
                    for k in self.reads(l) {
                        for (j, (h, bar)) in states[t - 1][k].iter().zip(&mut bars[t - 1][k]).enumerate() {
                            let (place, factor) = self.feedback(l, k, i, j);
                            gradient[place] += factor * d * h;
                            *bar += factor * d * self.params[place];
                        }
                    }
                }
            }
        }
        input
    }
}
