//! What the experiments with tasks have in common: networks that are compared, how they learn, what they answer.

use crate::curves::{self, COLORS, Curve, Frame};
use crate::experiment::side_by_side;
use crate::options::Options;
use crate::spread::{Spread, seeds};
use attractor::simd::Backend;
use attractor_language::Config;
use attractor_language::memory::Numbers;
use attractor_language::pass::{Model, Sweeps, room};
use attractor_language::random::Random;
use attractor_language::train::{Batch, Learner, Optimizer, StepSettings, flops_per_token};
use indicatif::ProgressBar;
use plotters::prelude::SeriesLabelPosition;
use std::path::PathBuf;
use std::time::Instant;

/// A network that is compared with others.
pub(crate) struct Network {
    pub(crate) name: &'static str,
    pub(crate) config: Config,
    /// Sweeps of a training step at most.
    pub(crate) sweeps: usize,
}

impl Network {
    /// One block and its feedback, iterated.
    pub(crate) const fn feedback(config: Config, sweeps: usize) -> Self {
        let config = Config { blocks: 2, feedback: true, tied: true, ..config };
        Self { name: "", config, sweeps }
    }

    /// A plain one: so many blocks of such a width.
    pub(crate) const fn plain(
        name: &'static str,
        (width, heads): (usize, usize),
        blocks: usize,
        config: Config,
    ) -> Self {
        let config = Config { width, heads, blocks, feedback: false, tied: false, ..config };
        Self { name, config, sweeps: 1 }
    }

    /// The name of a result.
    pub(crate) fn of(&self, result: &str) -> String {
        if self.name.is_empty() { result.to_owned() } else { format!("{result} plain, {}", self.name) }
    }

    /// Multiplications and additions of an answer, a token.
    pub(crate) fn operations(&self, length: usize, sweeps: usize) -> f64 {
        flops_per_token(&self.config, length, sweeps) / 3.0
    }
}

/// A batch of a task.
#[derive(Default)]
pub(crate) struct Drawn {
    pub(crate) length: usize,
    pub(crate) tokens: Vec<u32>,
    pub(crate) targets: Vec<u32>,
}

impl Drawn {
    /// Another batch, of sequences of this length.
    pub(crate) fn clear(&mut self, length: usize) {
        self.length = length;
        self.tokens.clear();
        self.targets.clear();
    }
}

/// How networks learn.
#[derive(Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) rate: f32,
    pub(crate) decay: f32,
    pub(crate) steps: u32,
    pub(crate) batch: usize,
    /// The longest sequence.
    pub(crate) length: usize,
}

/// Trains a network; `draw` makes a batch and says how many sweeps it takes. Returns averaged parameters.
pub(crate) fn learn(
    network: &Network,
    recipe: Recipe,
    seed: u64,
    bar: &ProgressBar,
    mut draw: impl FnMut(&mut Random, &mut Drawn) -> usize,
) -> Result<Vec<f32>, String> {
    let Recipe { rate, decay, steps, batch, length } = recipe;
    let learner = Learner::new(network.config, batch, length, network.sweeps);
    let mut learner = learner.map_err(|error| error.to_string())?.with(Optimizer::Muon);
    learner.initialize(seed);
    let mut averaged = Numbers::new(learner.parameters().len());
    let mut random = Random::new(seed);
    let mut drawn = Drawn::default();
    for step in 0..steps {
        let done = f64::from(step) / f64::from(steps);
        let sweeps = draw(&mut random, &mut drawn);
        // Rises for a twentieth of the steps, and falls to nothing.
        let share =
            (20.0 * (done + 1.0 / f64::from(steps))).min(0.5 + 0.5 * (core::f64::consts::PI * done).cos());
        let settings = StepSettings {
            rate: rate * share.min(1.0) as f32,
            decay,
            clip: 1.0,
            sweeps: Sweeps::Supervised(sweeps),
        };
        let (tokens, targets) = (&drawn.tokens[..], &drawn.targets[..]);
        let sequences = tokens.len() / drawn.length;
        let of = Batch { sequences, length: drawn.length, tokens, targets };
        learner.step(&of, &settings).map_err(|error| format!("seed {seed}, step {step}: {error}"))?;
        // Of about the last tenth of the steps so far, of a thousand at most.
        let keep = ((1.0 + step as f32) / (10.0 + step as f32)).min(0.999);
        for (averaged, now) in averaged.iter_mut().zip(learner.parameters()) {
            *averaged = keep * *averaged + (1.0 - keep) * now;
        }
        bar.inc(1);
    }
    Ok(averaged.to_vec())
}

/// What a network answers.
pub(crate) struct Answers<'a> {
    model: Model<'a>,
    room: Numbers,
    logits: Vec<f32>,
}

impl<'a> Answers<'a> {
    pub(crate) fn new(network: &Network, parameters: &'a [f32], length: usize) -> Result<Self, String> {
        let config = network.config;
        let model = Model::new(config, parameters).map_err(|error| error.to_string())?;
        let room = Numbers::new(room(&config, 1, length, 0));
        Ok(Self { model, room, logits: vec![0.0; length * config.vocabulary] })
    }

    /// The most likely token at each place.
    pub(crate) fn of(&mut self, tokens: &[u32], sweeps: usize) -> Result<Vec<u32>, String> {
        let length = tokens.len();
        let logits = &mut self.logits[..length * self.model.config().vocabulary];
        self.model
            .logits(Backend::best(), tokens, Sweeps::Unrolled(sweeps), &mut self.room, logits)
            .map_err(|error| error.to_string())?;
        let logit = |place: usize, token: usize| logits[token * length + place];
        let vocabulary = self.model.config().vocabulary;
        let best = |place| {
            (1..vocabulary)
                .fold(0, |best, token| if logit(place, token) > logit(place, best) { token } else { best })
        };
        Ok((0..length).map(|place| best(place) as u32).collect())
    }

    /// [`of`](Self::of), and how much the answer is to be doubted: of a network with feedback the largest change of a logit in the last sweep, of a plain
    /// one what the least likely answer lacks to 1. Counted are the places that are asked.
    #[allow(dead_code, reason = "not every experiment asks it")]
    pub(crate) fn with_doubt(
        &mut self,
        tokens: &[u32],
        sweeps: usize,
        asked: impl Fn(usize) -> bool,
    ) -> Result<(Vec<u32>, f32), String> {
        let length = tokens.len();
        let count = length * self.model.config().vocabulary;
        let (mut doubt, sweeps) = (0.0_f32, if self.model.config().feedback { sweeps } else { 1 });
        let before = if sweeps > 1 {
            self.of(tokens, sweeps - 1)?;
            Some(self.logits[..count].to_vec())
        } else {
            None
        };
        let answer = self.of(tokens, sweeps)?;
        for place in (0..length).filter(|&place| asked(place)) {
            let of =
                |logits: &[f32]| -> Vec<f32> { logits[place..].iter().step_by(length).copied().collect() };
            let now = of(&self.logits[..count]);
            let here = match &before {
                Some(before) => now.iter().zip(of(before)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max),
                None => {
                    let largest = now.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    1.0 - 1.0 / now.iter().map(|x| (x - largest).exp()).sum::<f32>()
                }
            };
            doubt = doubt.max(here);
        }
        Ok((answer, doubt))
    }
}

/// Networks that are compared, and what is asked of them.
pub(crate) struct Experiment<'a> {
    /// For plots.
    pub(crate) folder: PathBuf,
    pub(crate) title: &'a str,
    pub(crate) subtitle: &'a str,
    pub(crate) networks: &'a [Network],
    /// How often a network is trained with a seed.
    pub(crate) trainings: u64,
    /// Tokens of an answer whose arithmetic is told, and sweeps.
    pub(crate) answer: (usize, usize),
    /// The results of a network: how their lines begin, and what they are along the axis of the plot.
    pub(crate) results: Vec<String>,
    pub(crate) places: Vec<String>,
    pub(crate) axis: &'a str,
}

impl Experiment<'_> {
    /// Trains every network with every seed; `one` says of each result how many are right, in per cent. Draws them, and prints a line each.
    pub(crate) fn run(
        self,
        options: Options,
        one: impl Fn(&Network, u64, &ProgressBar) -> Result<Vec<f64>, String> + Sync,
    ) -> Result<(), String> {
        let Self { folder, title, subtitle, networks, trainings, answer, results, places, axis } = self;
        let (length, sweeps) = answer;
        let started = Instant::now();
        for network in networks {
            println!("{}: {}", network.of("parameters"), network.config.parameters());
            let operations = length as f64 * network.operations(length, sweeps) / 1e6;
            println!("{}: {operations:.1}", network.of("million operations of an answer"));
        }
        let count = networks.len() * options.seeds as usize;
        let steps = count as u64 * trainings * u64::from(options.steps);
        let runs = side_by_side(count, steps, |index, bar| {
            one(&networks[index % networks.len()], options.seed + (index / networks.len()) as u64, bar)
        })?;
        let right = |network: usize, at: usize| {
            Spread::of(runs.iter().skip(network).step_by(networks.len()).map(|right| right[at]))
        };
        let curve = |(number, network): (usize, &Network)| Curve {
            name: if network.name.is_empty() {
                "feedback".to_owned()
            } else {
                format!("plain, {}", network.name)
            },
            color: COLORS[number],
            points: (0..results.len()).map(|at| right(number, at)).collect(),
        };
        let curves: Vec<Curve> = networks.iter().enumerate().map(curve).collect();
        let frame = Frame {
            title,
            subtitle: &format!("{subtitle}; mean, worst and best of {}", seeds(options.seeds)),
            x: axis,
            y: "right in %",
            places: &places,
            legend: SeriesLabelPosition::MiddleMiddle,
        };
        let plot = folder.join("right.svg");
        let drawn = curves::draw(&plot, &frame, &curves);
        if drawn.is_ok() {
            println!("plot: {}", plot.display());
        }
        println!("seconds: {:.1}", started.elapsed().as_secs_f64());
        for (at, result) in results.iter().enumerate() {
            for (number, network) in networks.iter().enumerate() {
                println!("{}: {} %", network.of(result), right(number, at));
            }
        }
        drawn
    }
}
