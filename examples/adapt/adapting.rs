//! A network that is trained on digits, and what adapters make of it with a few examples of other digits.

use crate::data::{CLASSES, Digit, PIXELS, Variation};
use crate::learning::{BATCH, Inputs, Recipe, train};
use attractor::adapt::{Adapted, Adapter, BiasOnly, Frozen, LastLayer, LowRank, ParamsOf};
use attractor::kernel::Tanh;
use attractor::learn::{Adam, Cosine, CrossEntropy, LearnError, Method, Objective, Optimizer};
use attractor::network::Flat;
use attractor::{Boxed, Memory, NonFinite, SolveError, State, Stop, Workspace, fnn};
use indicatif::ProgressBar;
use nalgebra::SMatrix;
use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::SliceRandom};

pub(crate) type Net = fnn![64, 128, 64, 10; hidden = Tanh];

/// Batches a network is trained with before it is adapted.
pub(crate) const BASE_STEPS: u32 = 2500;
const BASE: Recipe = Recipe { rate: 1e-2, decay: 0.05, steps: BASE_STEPS, start: 0.577, sweeps: 16 };
const VARIATION: Variation = Variation { shift: 0.16, noise: 0.05 };
const SMOOTHING: f32 = 0.05;
/// The rate the sweeps of a trained network are held to, and those of an adapted one.
const BASE_GAMMA: f32 = 0.1;
pub(crate) const GAMMA: f32 = 0.9;
/// How often they are.
const STEPS_BETWEEN_LIMITS: u32 = 25;

/// Examples in a batch of adapting.
pub(crate) const FEW: usize = 8;
const WARM_UP: f32 = 0.1;

/// How a network is adapted.
#[derive(Clone, Copy)]
pub(crate) struct Approach {
    pub(crate) name: &'static str,
    /// The rate chosen on training digits held out, by `--choose`.
    pub(crate) rate: f32,
    pub(crate) memory: Memory,
    adapt: fn(&Net, Task<'_>) -> Result<Adaption, LearnError>,
    /// Whether it begins with a network that has learnt nothing.
    pub(crate) scratch: bool,
}

/// A method that adapts with an adapter `A`.
const fn method<A: Adapter<Net>>(name: &'static str, rate: f32) -> Approach {
    Approach { name, rate, memory: Adapted::<Net, A>::MEMORY, adapt: adapt::<A>, scratch: false }
}

pub(crate) const FULL: usize = 0;
/// The adapter that the last lines speak of.
pub(crate) const ADAPTER: usize = 3;
pub(crate) const BIASES: usize = 5;
pub(crate) const LAST: usize = 6;
pub(crate) const SCRATCH: usize = 7;
pub(crate) const METHODS: [Approach; 8] = [
    method::<Frozen<0>>("full", 1e-2),
    method::<LowRank<1>>("rank 1", 3e-2),
    method::<LowRank<2>>("rank 2", 3e-2),
    method::<LowRank<4>>("rank 4", 1e-2),
    method::<LowRank<8>>("rank 8", 1e-2),
    method::<BiasOnly>("bias only", 1e-1),
    method::<LastLayer>("last layer", 3e-2),
    Approach { scratch: true, ..method::<Frozen<0>>("scratch", 1e-2) },
];
/// The rates that are tried.
pub(crate) const RATES: [f32; 5] = [1e-3, 3e-3, 1e-2, 3e-2, 1e-1];

/// What is to be learnt.
#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    pub(crate) seed: u64,
    pub(crate) steps: u32,
    pub(crate) rate: f32,
    pub(crate) examples: &'a [Digit],
    /// Digits to test with: of the kind of the examples, and of the kind the network was trained on.
    pub(crate) new: &'a [Digit],
    pub(crate) old: &'a [Digit],
}

/// What came of it.
#[derive(Clone, Copy)]
pub(crate) struct Adaption {
    /// Shares of right answers, in per cent.
    pub(crate) new: f64,
    pub(crate) old: f64,
    pub(crate) gamma: f32,
    /// Batches left out, because a solve met its limit.
    pub(crate) not_converged: u32,
}

impl Approach {
    /// Adapts `network`, or one that has learnt nothing.
    pub(crate) fn run(&self, network: &Net, task: Task<'_>) -> Result<Adaption, LearnError> {
        if !self.scratch {
            return (self.adapt)(network, task);
        }
        let mut fresh = Net::boxed();
        fresh.initialize(&mut SmallRng::seed_from_u64(task.seed));
        fresh.params_mut().iter_mut().for_each(|weight| *weight *= BASE.start);
        (self.adapt)(&fresh, task)
    }
}

/// A network trained on digits, its sweeps held to [`BASE_GAMMA`].
pub(crate) fn base(seed: u64, digits: &[Digit], bar: &ProgressBar) -> Result<Boxed<Net>, LearnError> {
    let mut network = Net::boxed();
    network.initialize(&mut SmallRng::seed_from_u64(seed));
    let mut random = SmallRng::seed_from_u64(!seed);
    let next = || {
        bar.inc(1);
        let batch: [usize; BATCH] = core::array::from_fn(|_| random.random_range(0..digits.len()));
        let pixels = batch.map(|digit| VARIATION.apply(&digits[digit], &mut random));
        (Inputs::<PIXELS>::from_fn(|row, pixel| pixels[row][pixel]), batch.map(|digit| digits[digit].label))
    };
    let mut steps = 0;
    let limit = |params: &mut [f32]| {
        steps += 1;
        if steps % STEPS_BETWEEN_LIMITS == 0
            && let Ok(network) = Net::from_slice_mut(params)
        {
            // Only weights that are not finite cannot be held, and the next step finds them.
            let _ = network.limit_rate(BASE_GAMMA);
        }
    };
    let mut trained = train(network, CrossEntropy::smoothed(SMOOTHING), BASE, next, limit)?;
    trained.network.limit_rate(BASE_GAMMA).map_err(|_| LearnError::NotFinite(NonFinite::Overflow))?;
    Ok(trained.network)
}

/// Adapts with an adapter `A` and Adam.
fn adapt<A: Adapter<Net>>(network: &Net, task: Task<'_>) -> Result<Adaption, LearnError> {
    let Task { seed, steps, rate, examples, new, old } = task;
    let mut adapted = Adapted::<Net, A>::new(network, seed as u32);
    let mut adam = Adam::<ParamsOf<Net, A>>::new();
    let mut gradient = Adapted::<Net, A>::gradient_zero();
    let mut workspace = Workspace::<Net, FEW>::ZERO;
    let objective = Objective::new(CrossEntropy::smoothed(SMOOTHING))
        .solve(Stop::residual(1e-4).at_most(32))
        .method(Method::Implicit(Stop::relative(1e-3).at_most(32)));
    let warm_up = (steps as f32 * WARM_UP) as u32;
    let schedule = Cosine { start: rate / 25.0, peak: rate, end: 0.0, warm_up, steps };
    let mut random = SmallRng::seed_from_u64(!seed);
    let mut order = Vec::new();
    let mut not_converged = 0;
    for step in 0..steps {
        let batch: [usize; FEW] = core::array::from_fn(|_| {
            order.pop().unwrap_or_else(|| {
                order = (0..examples.len()).collect();
                order.shuffle(&mut random);
                order.pop().unwrap_or_default()
            })
        });
        let pixels = batch.map(|digit| VARIATION.apply(&examples[digit], &mut random));
        let input = SMatrix::<f32, FEW, PIXELS>::from_fn(|row, pixel| pixels[row][pixel]);
        let labels = batch.map(|digit| examples[digit].label);
        gradient.flat_mut().fill(0.0);
        workspace.state.reset();
        workspace.adjoint.reset();
        match adapted.gradient(&objective, &input, &labels, &mut workspace, &mut gradient) {
            Ok(_) => adam
                .update(adapted.params_mut().flat_mut(), gradient.flat(), schedule.rate(step))
                .map_err(LearnError::Update)?,
            Err(
                LearnError::Solve(SolveError::NotConverged { .. })
                | LearnError::Adjoint(SolveError::NotConverged { .. }),
            ) => {
                not_converged += 1;
                adapted.limit_rate(GAMMA).map_err(|_| LearnError::NotFinite(NonFinite::Overflow))?;
            }
            Err(error) => return Err(error),
        }
        if (step + 1) % STEPS_BETWEEN_LIMITS == 0 {
            adapted.limit_rate(GAMMA).map_err(|_| LearnError::NotFinite(NonFinite::Overflow))?;
        }
    }
    let certificate = adapted.limit_rate(GAMMA).map_err(|_| LearnError::NotFinite(NonFinite::Overflow))?;
    adapted.verify(&certificate).map_err(|_| LearnError::NotFinite(NonFinite::Overflow))?;
    let gamma = certificate.rate();
    Ok(Adaption { new: right(&adapted, new)?, old: right(&adapted, old)?, gamma, not_converged })
}

/// What a network as it is makes of digits.
pub(crate) fn unadapted(network: &Net, digits: &[Digit]) -> Result<f64, LearnError> {
    right(&Adapted::<Net, BiasOnly>::new(network, 0), digits)
}

/// Right answers, in per cent.
fn right<A: Adapter<Net>>(adapted: &Adapted<'_, Net, A>, digits: &[Digit]) -> Result<f64, LearnError> {
    let mut state = State::<Net, BATCH>::boxed();
    let mut right = 0;
    for own in digits.chunks(BATCH) {
        let input = Inputs::<PIXELS>::from_fn(|row, pixel| own[row % own.len()].pixels[pixel]);
        state.reset();
        adapted.solve(&input, &mut state, Stop::residual(1e-4).at_most(64))?;
        let output = &state.as_slice()[state.as_slice().len() - CLASSES * BATCH..];
        for (row, digit) in own.iter().enumerate() {
            let score = |class: usize| output[class * BATCH + row];
            let answer =
                (1..CLASSES).fold(0, |best, class| if score(class) > score(best) { class } else { best });
            right += usize::from(answer == digit.label);
        }
    }
    Ok(100.0 * right as f64 / digits.len() as f64)
}
