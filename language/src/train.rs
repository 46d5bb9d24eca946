//! Training: exact gradients of a batch on all cores, AdamW and Muon.
//!
//! A batch is cut into [`SHARDS`] parts, or another fixed number, and their gradients are added up in a fixed order. So a step has the same bits on any
//! number of threads. A step allocates nothing.
//!
//! Parts may be shared out to [ranks], each of which has memory for its own only. A sum goes through the ranks as a chain: rank 0 adds up its
//! parts and sends what it has to rank 1, which adds its own, one after the other, and so on; the last one sends the whole to all. That is the order of one
//! process, so its bits are too. The sum is sent in pieces, and all ranks but those at the ends work at different pieces at once.

use crate::adapt::{AdapterPart, Adapters, Learns, last};
use crate::memory::Numbers;
use crate::muon::{Hidden, MuonStep, hidden};
use crate::pass::{Model, PassError, Sequences, Sweeps, Teacher, check_share, expect, room};
use crate::ranks::{self, Lost, Ranks};
use crate::small::Small;
use crate::text::Random;
use crate::{Config, ConfigError};
use attractor::kernel::{self, AdamStep, ShapeError};
use attractor::simd::Backend;
use core::fmt;
use core::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Parts of a batch, if nothing else is said: as many threads can work at once.
pub const SHARDS: usize = 8;

/// Sequences that are short are one matrix, of so many tokens at most: weights are read for all of them then, and what lies between the products takes more
/// memory.
const TOKENS: usize = 256;

/// Entries that one thread updates at a time.
const PIECE: usize = 1 << 14;

/// Entries of a sum that go from rank to rank at once: some [`PIECE`]s.
const MESSAGE: usize = 1 << 16;

/// Sequences, and what is to be predicted.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// How many sequences.
    pub sequences: usize,
    /// Tokens of each.
    pub length: usize,
    /// The tokens, one sequence after another.
    pub tokens: &'a [u32],
    /// A target for every token, or [`IGNORED`](crate::pass::IGNORED); with [`Sweeps::Supervised`] one for every sweep and token: those of a sequence are
    /// together, sweep after sweep.
    pub targets: &'a [u32],
}

/// Settings of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepSettings {
    /// Learning rate.
    pub rate: f32,
    /// Decay of weights, a unit of rate; biases, gains, shifts, gates and embeddings of places have none.
    pub decay: f32,
    /// The largest norm of a gradient; a longer one is shortened to it.
    pub clip: f32,
    /// How states are refined, and what the gradient is of.
    pub sweeps: Sweeps,
}

/// How steps are taken. Rates and decay have the same meaning for both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Optimizer {
    /// AdamW (Loshchilov and Hutter 2019).
    #[default]
    AdamW,
    /// Matrices of the blocks and of the feedback take steps as a whole: their momentum, made nearly orthogonal (Jordan et al. 2024). Embeddings, gains,
    /// shifts and adapters take those of AdamW.
    Muon,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The mean loss before the step, in nats a target.
    pub loss: f64,
    /// The gradient's norm, before it is shortened.
    pub norm: f64,
}

/// Why a step, or a learner, was refused. Nothing has been changed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum TrainError {
    /// The pass over the model.
    Pass(PassError),
    /// The batch is not of the size the learner was made for.
    Batch {
        /// What.
        what: &'static str,
        /// How many there may be at most.
        most: usize,
        /// How many there are.
        found: usize,
    },
    /// A setting is out of its range.
    Setting {
        /// Which.
        name: &'static str,
        /// Its range.
        range: &'static str,
        /// What it is.
        value: f32,
    },
    /// The teacher sees both ways and the learner does not, or the other way round.
    Teacher {
        /// Whether the teacher sees what came before only.
        causal: bool,
    },
    /// The gradient is infinite or not a number.
    NotFinite,
    /// Another rank cannot go on, for a reason of its own.
    Rank {
        /// Which.
        rank: usize,
    },
    /// Another rank is gone. Where the others are then is not known.
    Lost(Lost),
}

impl fmt::Display for TrainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass(error) => error.fmt(f),
            Self::Batch { what, most, found } => write!(f, "{what}: {found}; there is room for {most}"),
            Self::Setting { name, range, value } => write!(f, "{name} is {value}; it may be {range}"),
            Self::Teacher { causal: true } => {
                f.write_str("the teacher is causal, and the learner sees both ways")
            }
            Self::Teacher { causal: false } => {
                f.write_str("the teacher sees both ways, and the learner is causal")
            }
            Self::NotFinite => f.write_str("the gradient is infinite or not a number"),
            Self::Rank { rank } => write!(f, "rank {rank} cannot go on"),
            Self::Lost(lost) => lost.fmt(f),
        }
    }
}

impl std::error::Error for TrainError {}

impl From<PassError> for TrainError {
    fn from(error: PassError) -> Self {
        Self::Pass(error)
    }
}
impl From<Lost> for TrainError {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}
impl From<ShapeError> for TrainError {
    fn from(error: ShapeError) -> Self {
        Self::Pass(error.into())
    }
}
impl From<ConfigError> for TrainError {
    fn from(error: ConfigError) -> Self {
        Self::Pass(error.into())
    }
}

/// One part of a batch: its memory and its gradient.
#[derive(Debug)]
struct Shard {
    room: Numbers,
    /// That of the teacher.
    answers: Numbers,
    gradient: Numbers,
    /// Sum of losses, and targets that were counted.
    loss: Result<(f64, usize), PassError>,
}

/// How a batch is cut, and whose the parts are.
#[derive(Clone, Debug)]
pub struct Shards {
    /// How many parts, if a batch has as many sequences. The bits of a sum depend on it.
    pub count: usize,
    /// Who shares them; nobody if there are no ranks.
    pub ranks: Option<Arc<dyn Ranks>>,
}

impl Default for Shards {
    fn default() -> Self {
        Self { count: SHARDS, ranks: None }
    }
}

/// What this rank has to do with the others.
#[derive(Debug)]
struct Chain {
    ranks: Arc<dyn Ranks>,
    /// The parts that are its own.
    own: Range<usize>,
    /// What the rank before this one has added up.
    incoming: Numbers,
    /// What came of each part, of all ranks.
    words: Vec<[u64; 3]>,
    exchanged: Exchanged,
}

/// What a rank had to do with others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// Bytes of gradients that came or went: the sum of the ranks before, that for the next one, the whole.
    pub bytes: u64,
    /// How long that took, and waiting for others.
    pub time: Duration,
}

/// Parameters of one kind, a piece of them.
#[derive(Clone, Debug)]
struct Piece {
    place: Range<usize>,
    decays: bool,
    /// Of a matrix that takes its steps as a whole.
    hidden: bool,
}

/// A model that learns: parameters, the moments of AdamW (Loshchilov and Hutter 2019), memory.
///
/// ```
/// use attractor_language::{Config, pass::Sweeps, train::{Batch, Learner, StepSettings}};
///
/// let config = Config { vocabulary: 7, ..Config::new(16, 2, 2, 8) };
/// let mut learner = Learner::new(config, 4, 8, 2)?;
/// learner.initialize(1);
/// let tokens: Vec<u32> = (0..4 * 8).map(|i| i % 7).collect();
/// let targets: Vec<u32> = (0..4 * 8).map(|i| (i + 1) % 7).collect();
/// let batch = Batch { sequences: 4, length: 8, tokens: &tokens, targets: &targets };
/// let settings = StepSettings { rate: 0.01, decay: 0.0, clip: 1.0, sweeps: Sweeps::Unrolled(2) };
/// let first = learner.step(&batch, &settings)?.loss;
/// for _ in 0..20 {
///     learner.step(&batch, &settings)?;
/// }
/// assert!(learner.step(&batch, &settings)?.loss < 0.5 * first);
/// # Ok::<(), attractor_language::train::TrainError>(())
/// ```
#[derive(Debug)]
pub struct Learner {
    config: Config,
    backend: Backend,
    batch: usize,
    length: usize,
    kept: usize,
    /// Sequences that are one matrix.
    together: usize,
    learns: Learns,
    parameters: Numbers,
    /// The parameters that learn, or whose gradient adapters take.
    range: Range<usize>,
    beside: Option<Beside>,
    /// The parameters as passes take them, if not as they are.
    rounded: Option<Rounded>,
    teacher: Option<Tutor>,
    /// Matrices whose steps are Muon's.
    hidden: Vec<Hidden>,
    /// Moments of what learns.
    first: Numbers,
    second: Numbers,
    steps: u32,
    /// How many parts a batch has.
    parts: usize,
    /// Those of this rank: all without ranks.
    shards: Vec<Shard>,
    chain: Option<Chain>,
    pieces: Vec<Piece>,
    /// The sum of squares of each piece of the gradient.
    squares: Vec<f32>,
}

/// What a [`Teacher`] is made of for each pass.
#[derive(Debug)]
struct Tutor {
    config: Config,
    parameters: Vec<f32>,
    sweeps: usize,
    share: f32,
}

/// Adapters, and the parameters they are beside.
#[derive(Debug)]
struct Beside {
    adapters: Adapters,
    base: Numbers,
    numbers: Numbers,
    gradient: Numbers,
    pieces: Vec<Piece>,
    squares: Vec<f32>,
}

/// Parameters rounded to 8 bits, and the numbers they stand for.
#[derive(Debug)]
struct Rounded {
    numbers: Vec<f32>,
    weights: Vec<i8>,
    parameters: Numbers,
}

impl Rounded {
    fn of(&mut self, config: Config, parameters: &[f32]) {
        let Self { numbers, weights, parameters: to } = self;
        let widened = Small::round(config, parameters, numbers, weights).and_then(|small| small.widen(to));
        if widened.is_err() {
            // Not finite: the next pass says so.
            to.fill(f32::NAN);
        }
    }
}

/// All that training goes on from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State<'a> {
    /// The parameters, in the order of [`Config::tensors`]: those that adapters are beside, if there are any.
    pub parameters: &'a [f32],
    /// The numbers of the adapters; none unless [`Learns::LowRank`].
    pub adapters: &'a [f32],
    /// The first moments of AdamW, of what learns.
    pub first: &'a [f32],
    /// The second moments.
    pub second: &'a [f32],
    /// How many steps were made.
    pub steps: u32,
}

/// A range in pieces.
fn cut(pieces: &mut Vec<Piece>, place: Range<usize>, decays: bool) {
    let mut start = place.start;
    while start < place.end {
        let end = place.end.min(start + PIECE);
        pieces.push(Piece { place: start..end, decays, hidden: false });
        start = end;
    }
}

/// What is left after the first of `count` in the middle.
const fn middle(count: usize) -> usize {
    count.div_ceil(2)
}

impl Learner {
    /// A model of this shape, all parameters zero, with memory for batches of so many sequences of so many tokens, and so many unrolled sweeps. All
    /// parameters learn.
    ///
    /// # Errors
    /// [`TrainError`] if there is no such shape, or nothing to be learned from.
    pub fn new(config: Config, batch: usize, length: usize, sweeps: usize) -> Result<Self, TrainError> {
        Self::of(config, Learns::All, batch, length, sweeps)
    }

    /// [`new`](Self::new), but not all learns.
    ///
    /// # Errors
    /// As there, and a rank that is out of its range.
    pub fn of(
        config: Config,
        learns: Learns,
        batch: usize,
        length: usize,
        sweeps: usize,
    ) -> Result<Self, TrainError> {
        Self::among(config, learns, batch, length, sweeps, &Shards::default())
    }

    /// [`of`](Self::of), with another number of shards, or with other ranks: all take the same batches, and all have the same parameters and moments after
    /// every step. Of the shards, and what they need of memory, each has its own.
    ///
    /// # Errors
    /// As there, and if there are more ranks than shards, or no shard.
    pub fn among(
        config: Config,
        learns: Learns,
        batch: usize,
        length: usize,
        sweeps: usize,
        shards: &Shards,
    ) -> Result<Self, TrainError> {
        config.check()?;
        learns.check(&config)?;
        if length == 0 || length > config.context {
            return Err(PassError::Tokens { found: length, most: config.context }.into());
        }
        if batch == 0 {
            return Err(TrainError::Batch { what: "sequences", most: 1, found: 0 });
        }
        if sweeps == 0 {
            return Err(PassError::NoSweep.into());
        }
        let kept = if config.feedback { sweeps } else { 1 };
        let count = config.parameters();
        let Shards { count: most, ranks } = shards;
        if *most == 0 {
            return Err(TrainError::Batch { what: "shards", most: batch, found: 0 });
        }
        let parts = batch.min(*most);
        let (rank, all) = ranks.as_ref().map_or((0, 1), |ranks| (ranks.rank(), ranks.count()));
        if all > parts {
            return Err(TrainError::Batch { what: "ranks", most: parts, found: all });
        }
        let own = ranks::own(rank, all, parts);
        let together = (TOKENS / length).clamp(1, batch.div_ceil(*most));
        let shards = own
            .clone()
            .map(|_| Shard {
                room: Numbers::new(room(&config, together, length, kept)),
                answers: Numbers::new(0),
                gradient: Numbers::new(count),
                loss: Ok((0.0, 0)),
            })
            .collect();
        let range = if learns == Learns::Last { last(&config) } else { 0..count };
        let mut pieces = Vec::new();
        let places = config.wpe();
        config.tensors(|_, shape, place| {
            if range.start <= place.start && place.end <= range.end {
                let decays = shape.len() > 1 && place != places;
                cut(&mut pieces, place, decays);
            }
        });
        let beside = match learns {
            Learns::LowRank { rank } => {
                let adapters = Adapters::new(&config, rank);
                let (count, mut pieces) = (learns.count(&config), Vec::new());
                adapters.parts(|part, place| cut(&mut pieces, place, part != AdapterPart::Vector));
                let [base, numbers, gradient] = [config.parameters(), count, count].map(Numbers::new);
                let squares = vec![0.0; pieces.len()];
                Some(Beside { adapters, base, numbers, gradient, pieces, squares })
            }
            Learns::All | Learns::Last => None,
        };
        let learnt = beside.as_ref().map_or(range.len(), |beside| beside.numbers.len());
        let squares = vec![0.0; pieces.len()];
        let chain = ranks.as_ref().map(|ranks| Chain {
            ranks: Arc::clone(ranks),
            own,
            incoming: Numbers::new(MESSAGE.min(range.len())),
            words: vec![[0; 3]; parts],
            exchanged: Exchanged::default(),
        });
        Ok(Self {
            config,
            backend: Backend::best(),
            batch,
            length,
            kept,
            together,
            learns,
            parameters: Numbers::new(count),
            range,
            beside,
            rounded: None,
            teacher: None,
            hidden: Vec::new(),
            first: Numbers::new(learnt),
            second: Numbers::new(learnt),
            steps: 0,
            parts,
            shards,
            chain,
            pieces,
            squares,
        })
    }

    /// Takes its steps by another optimizer.
    #[must_use]
    pub fn with(mut self, optimizer: Optimizer) -> Self {
        let whole = optimizer == Optimizer::Muon && self.beside.is_none();
        self.hidden = if whole { hidden(&self.config, &self.range) } else { Vec::new() };
        for piece in &mut self.pieces {
            let of = |hidden: &Hidden| hidden.place.contains(&piece.place.start);
            piece.hidden = self.hidden.iter().any(of);
        }
        self
    }

    /// Passes take matrices rounded to 8 bits, as [`Small`] has them; what learns are the numbers before, by the gradient of the rounded ones (Courbariaux
    /// et al. 2015). So a model learns to do with what rounding leaves.
    #[must_use]
    pub fn rounded(mut self, on: bool) -> Self {
        let config = self.config;
        self.rounded = on.then(|| Rounded {
            numbers: vec![0.0; Small::<i8>::numbers(&config)],
            weights: vec![0; Small::<i8>::weights(&config)],
            parameters: Numbers::new(config.parameters()),
        });
        self.round();
        self
    }

    /// Learns from another model, too, of this shape and these parameters and with so many sweeps: of what is to be predicted its probabilities are a
    /// share, 0 to 1 (Hinton et al. 2015). What steps report is the loss of the targets, as without one.
    ///
    /// # Errors
    /// [`TrainError`] if the teacher has another vocabulary, a shorter context, sees another way, or is no model; or the share is out of its range.
    pub fn taught(
        mut self,
        config: Config,
        parameters: Vec<f32>,
        sweeps: usize,
        share: f32,
    ) -> Result<Self, TrainError> {
        config.check()?;
        check("parameters of the teacher", &parameters, config.parameters())?;
        expect("vocabulary of the teacher", self.config.vocabulary, config.vocabulary)?;
        if config.causal != self.config.causal {
            return Err(TrainError::Teacher { causal: config.causal });
        }
        if self.length > config.context {
            return Err(PassError::Tokens { found: self.length, most: config.context }.into());
        }
        if sweeps == 0 {
            return Err(PassError::NoSweep.into());
        }
        check_share(share.into())?;
        for shard in &mut self.shards {
            shard.answers = Numbers::new(room(&config, self.together, self.length, 0));
        }
        self.teacher = Some(Tutor { config, parameters, sweeps, share });
        Ok(self)
    }

    fn round(&mut self) {
        if let Some(rounded) = &mut self.rounded {
            rounded.of(self.config, &self.parameters);
        }
    }

    /// Draws parameters as GPT-2 does: weights normal of deviation 0.02, those that end in the residual stream divided by the root of twice the number of
    /// blocks; gains 1; shifts and biases 0. Feedback: U as small as those, gates 1. Moments and steps are zero then.
    pub fn initialize(&mut self, seed: u64) {
        // Not the numbers that batches of this seed are drawn by.
        let mut random = Random::new(!seed);
        let narrow = 0.02 / (2.0 * self.config.blocks as f32).sqrt();
        let parameters = &mut self.parameters;
        self.config.tensors(|name, _, place| {
            let name = name.to_string();
            let Some(tensor) = parameters.get_mut(place) else { return };
            let deviation = match name.rsplit_once('.').map_or("", |(_, last)| last) {
                "bias" => 0.0,
                "gate" => f32::NAN,
                _ if name.contains("ln_") || name.contains(".ln.") => f32::NAN,
                _ if name.ends_with("c_proj.weight") || name.contains("feedback") => narrow,
                _ => 0.02,
            };
            if deviation.is_nan() {
                tensor.fill(1.0);
            } else if deviation == 0.0 {
                tensor.fill(0.0);
            } else {
                tensor.iter_mut().for_each(|x| *x = deviation * normal(&mut random));
            }
        });
        self.begin(&mut random);
    }

    /// Starts from the parameters of a model. Adapters are drawn.
    ///
    /// # Errors
    /// [`TrainError`] if their number is another one, or one is infinite or not a number.
    pub fn start_from(&mut self, parameters: &[f32], seed: u64) -> Result<(), TrainError> {
        check("parameters", parameters, self.parameters.len())?;
        self.parameters.copy_from_slice(parameters);
        self.begin(&mut Random::new(!seed));
        Ok(())
    }

    /// No step was made, and adapters add nothing: of their two factors the first is drawn, so that a step moves a matrix as far as its own step would,
    /// and the second is zero.
    fn begin(&mut self, random: &mut Random) {
        if let Some(Beside { adapters, base, numbers, .. }) = &mut self.beside {
            base.copy_from_slice(&self.parameters);
            let deviation = 1.0 / (adapters.rank() as f32).sqrt();
            numbers.fill(0.0);
            adapters.parts(|part, place| {
                if part == AdapterPart::A {
                    let drawn = numbers.get_mut(place).unwrap_or_default();
                    drawn.iter_mut().for_each(|x| *x = deviation * normal(random));
                }
            });
        }
        self.first.fill(0.0);
        self.second.fill(0.0);
        self.steps = 0;
        self.round();
    }

    /// The shape.
    #[must_use]
    pub const fn config(&self) -> Config {
        self.config
    }
    /// The parameters, in the order of [`Config::tensors`].
    #[must_use]
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }
    /// What learns.
    #[must_use]
    pub const fn learns(&self) -> Learns {
        self.learns
    }
    /// What training goes on from.
    #[must_use]
    pub fn state(&self) -> State<'_> {
        let (parameters, adapters): (&[f32], &[f32]) = match &self.beside {
            Some(beside) => (&beside.base, &beside.numbers),
            None => (&self.parameters, &[]),
        };
        State { parameters, adapters, first: &self.first, second: &self.second, steps: self.steps }
    }
    /// How many steps were made.
    #[must_use]
    pub const fn steps(&self) -> u32 {
        self.steps
    }

    /// What this rank had to do with others up to now; nothing without ranks.
    #[must_use]
    pub fn exchanged(&self) -> Option<Exchanged> {
        self.chain.as_ref().map(|chain| chain.exchanged)
    }
    /// The ranks, if there are any.
    #[must_use]
    pub fn ranks(&self) -> Option<&dyn Ranks> {
        self.chain.as_ref().map(|chain| &*chain.ranks)
    }

    /// Goes on from a stored state.
    ///
    /// # Errors
    /// [`TrainError`] if there are more or fewer numbers of any kind, or one is infinite or not a number; nothing is changed then.
    pub fn restore(&mut self, state: &State<'_>) -> Result<(), TrainError> {
        let State { parameters, adapters, first, second, steps } = *state;
        check("parameters", parameters, self.parameters.len())?;
        check(
            "numbers of adapters",
            adapters,
            self.beside.as_ref().map_or(0, |beside| beside.numbers.len()),
        )?;
        check("first moments", first, self.first.len())?;
        check("second moments", second, self.second.len())?;
        self.parameters.copy_from_slice(parameters);
        if let Some(Beside { adapters: shape, base, numbers, .. }) = &mut self.beside {
            base.copy_from_slice(parameters);
            numbers.copy_from_slice(adapters);
            shape.add(self.backend, base, numbers, &mut self.parameters)?;
        }
        self.first.copy_from_slice(first);
        self.second.copy_from_slice(second);
        self.steps = steps;
        self.round();
        Ok(())
    }

    fn check(&self, batch: &Batch<'_>, sweeps: Sweeps) -> Result<(), TrainError> {
        let Batch { sequences, length, tokens, targets } = *batch;
        if sequences == 0 || sequences > self.batch {
            return Err(TrainError::Batch { what: "sequences", most: self.batch, found: sequences });
        }
        if length == 0 || length > self.length {
            return Err(TrainError::Batch { what: "tokens of a sequence", most: self.length, found: length });
        }
        expect("tokens", sequences * length, tokens.len())?;
        Ok(expect("targets", (sequences * length).saturating_mul(sweeps.losses()), targets.len())?)
    }

    /// The gradient of each shard of this rank, if the batch and the settings are sound.
    fn gradients(&mut self, batch: &Batch<'_>, settings: &StepSettings) -> Result<(), TrainError> {
        self.check(batch, settings.sweeps)?;
        for (name, range, value, sound) in [
            ("rate", "0 to 1", settings.rate, (0.0..=1.0).contains(&settings.rate)),
            ("decay", "0 to 100", settings.decay, (0.0..=100.0).contains(&settings.decay)),
            ("clip", "more than 0", settings.clip, settings.clip > 0.0),
        ] {
            if !sound {
                return Err(TrainError::Setting { name, range, value });
            }
        }
        // Without feedback more sweeps than one are one.
        let kept = match settings.sweeps {
            Sweeps::Unrolled(count) if self.config.feedback => count,
            Sweeps::Supervised(count) => count,
            _ => 1,
        };
        if kept > self.kept {
            return Err(TrainError::Batch { what: "sweeps", most: self.kept, found: kept });
        }
        let sweeps = match settings.sweeps {
            Sweeps::Unrolled(1..) if !self.config.feedback => Sweeps::Unrolled(1),
            sweeps => sweeps,
        };
        let counted = batch.targets.iter().filter(|&&target| target != crate::pass::IGNORED).count();
        if counted == 0 {
            return Err(PassError::NoTarget.into());
        }
        self.work(batch, sweeps, Some(1.0 / counted as f32))
    }

    /// One step: the exact gradient of the mean loss over all targets that are counted, shortened, and what the optimizer makes of it. Ranks take it
    /// together: if one cannot, none does.
    ///
    /// # Errors
    /// [`TrainError`]; nothing is changed then.
    pub fn step(&mut self, batch: &Batch<'_>, settings: &StepSettings) -> Result<StepReport, TrainError> {
        let begun = self.gradients(batch, settings);
        let (loss, counted) = self.losses(begun)?;

        let (sums, others) = self.shards.split_first_mut().ok_or(TrainError::NotFinite)?;
        let summed = Summed { backend: self.backend, before: None, others };
        let sums = sums.gradient.get_mut(self.range.clone()).unwrap_or_default();
        match &mut self.chain {
            None => summed.all(&self.pieces, self.range.start, sums, &mut self.squares),
            Some(chain) => chain.all(summed, &self.pieces, self.range.start, sums, &mut self.squares)?,
        }
        let parameters = self.parameters.get_mut(self.range.clone()).unwrap_or_default();
        let (pieces, squares, gradient, learnt): (_, _, &[f32], _) = match &mut self.beside {
            None => (&self.pieces, &self.squares, sums, parameters),
            Some(Beside { adapters, numbers, gradient, pieces, squares, .. }) => {
                adapters.gradient(self.backend, numbers, sums, gradient)?;
                Summed { others: &[], ..summed }.all(pieces, 0, gradient, squares);
                (pieces, squares, gradient, &mut **numbers)
            }
        };
        let norm = f64::from(squares.iter().sum::<f32>()).sqrt();
        if !norm.is_finite() {
            return Err(TrainError::NotFinite);
        }
        let scale = if norm > f64::from(settings.clip) { settings.clip / norm as f32 } else { 1.0 };
        self.steps += 1;
        let update = AdamStep {
            rate: settings.rate,
            decay: settings.decay,
            decays: (0.9, 0.95),
            epsilon: 1e-8,
            steps: self.steps.into(),
            scale,
        };
        let step = MuonStep { rate: settings.rate, decay: settings.decay, scale };
        let whole = Whole { backend: self.backend, step, gradient, start: self.range.start };
        whole.all(&mut self.hidden, self.range.start, learnt, &mut self.first)?;
        update_all(self.backend, update, pieces, gradient, [learnt, &mut self.first, &mut self.second])?;
        if let Some(Beside { adapters, base, numbers, .. }) = &mut self.beside {
            adapters.add(self.backend, base, numbers, &mut self.parameters)?;
        }
        self.round();
        Ok(StepReport { loss: loss / counted as f64, norm })
    }

    /// The sum of the loss over all targets that are counted, in nats, and how many those are. Nothing is learned. Ranks share it out.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn evaluate(&mut self, batch: &Batch<'_>, sweeps: Sweeps) -> Result<(f64, usize), TrainError> {
        let begun = self.check(batch, sweeps).and_then(|()| self.work(batch, sweeps, None));
        self.losses(begun)
    }

    /// The losses of the shards of this rank, and with a share of each target in the mean the gradients.
    fn work(&mut self, batch: &Batch<'_>, sweeps: Sweeps, share: Option<f32>) -> Result<(), TrainError> {
        let taken = taken(&self.parameters, self.rounded.as_ref());
        let model = Model::new(self.config, taken)?;
        let teacher = self.teacher.as_ref();
        let teacher = teacher
            .map(|of| Ok::<_, PassError>((Model::new(of.config, &of.parameters)?, of.sweeps, of.share)));
        let work = Work {
            backend: self.backend,
            model,
            sweeps,
            share,
            teacher: teacher.transpose()?,
            together: self.together,
            batch,
        };
        let first = self.chain.as_ref().map_or(0, |chain| chain.own.start);
        work.all(&mut self.shards, first, batch.sequences.div_ceil(self.parts));
        Ok(())
    }

    /// The losses of all shards, in their order, and the targets that were counted; or the first error, which is one on all ranks.
    fn losses(&mut self, begun: Result<(), TrainError>) -> Result<(f64, usize), TrainError> {
        match &mut self.chain {
            None => {
                begun?;
                total(self.shards.iter().map(|shard| shard.loss.map_err(TrainError::Pass)))
            }
            Some(chain) => chain.losses(begun, &self.shards, self.config.vocabulary),
        }
    }
}

/// The parameters as passes take them.
fn taken<'a>(parameters: &'a [f32], rounded: Option<&'a Rounded>) -> &'a [f32] {
    rounded.map_or(parameters, |rounded| &rounded.parameters)
}

/// Whether there are so many numbers, all finite.
fn check(what: &'static str, numbers: &[f32], expected: usize) -> Result<(), TrainError> {
    expect(what, expected, numbers.len())?;
    if numbers.iter().all(|x| x.is_finite()) { Ok(()) } else { Err(TrainError::NotFinite) }
}

/// A number of a normal distribution, by Box and Muller.
fn normal(random: &mut Random) -> f32 {
    let (a, b) = (random.unit(), random.unit());
    ((-2.0 * (1.0 - a).ln()).sqrt() * (core::f64::consts::TAU * b).cos()) as f32
}

/// The sum of losses and the targets that were counted, in order, or the first error.
fn total(
    losses: impl IntoIterator<Item = Result<(f64, usize), TrainError>>,
) -> Result<(f64, usize), TrainError> {
    let (mut total, mut counted) = (0.0, 0);
    for loss in losses {
        let (loss, count) = loss?;
        total += loss;
        counted += count;
    }
    Ok((total, counted))
}

/// What came of a shard, in words: a code and what there is to say. Errors that only depend on what all ranks have are [`OTHER`]: each of them has its own.
fn words(loss: &Result<(f64, usize), PassError>) -> [u64; 3] {
    match *loss {
        Ok((loss, count)) => [SOUND, loss.to_bits(), count as u64],
        Err(PassError::NotFinite) => [NOT_FINITE, 0, 0],
        Err(PassError::NotConverged { sweeps, residual }) => {
            [NOT_CONVERGED, residual.to_bits(), sweeps as u64]
        }
        Err(PassError::Token { token, .. }) => [TOKEN, token.into(), 0],
        Err(_) => [OTHER, 0, 0],
    }
}
const SOUND: u64 = 0;
const NOT_FINITE: u64 = 1;
const NOT_CONVERGED: u64 = 2;
const TOKEN: u64 = 3;
const OTHER: u64 = 4;

impl Chain {
    fn losses(
        &mut self,
        begun: Result<(), TrainError>,
        shards: &[Shard],
        vocabulary: usize,
    ) -> Result<(f64, usize), TrainError> {
        let started = Instant::now();
        // Of the other ranks' shards nothing, which adds nothing to what they say.
        self.words.fill([0; 3]);
        let own = self.words.get_mut(self.own.clone()).unwrap_or_default();
        for (place, shard) in own.iter_mut().zip(shards) {
            *place = if begun.is_ok() { words(&shard.loss) } else { [OTHER, 0, 0] };
        }
        self.ranks.or(self.words.as_flattened_mut())?;
        self.exchanged.time += started.elapsed();
        begun?;
        let (ranks, parts) = (self.ranks.count(), self.words.len());
        total(self.words.iter().enumerate().map(|(shard, &[code, one, two])| match code {
            SOUND => Ok((f64::from_bits(one), two as usize)),
            NOT_FINITE => Err(PassError::NotFinite.into()),
            NOT_CONVERGED => {
                let (sweeps, residual) = (two as usize, f64::from_bits(one));
                Err(PassError::NotConverged { sweeps, residual }.into())
            }
            TOKEN => Err(PassError::Token { token: one as u32, vocabulary }.into()),
            _ => match shard.checked_sub(self.own.start).and_then(|at| shards.get(at)) {
                Some(Shard { loss: Err(error), .. }) => Err((*error).into()),
                _ => {
                    let of = |rank: &usize| ranks::own(*rank, ranks, parts).contains(&shard);
                    Err(TrainError::Rank { rank: (0..ranks).find(of).unwrap_or(0) })
                }
            },
        }))
    }

    /// The sum over all ranks: what comes from the rank before, then the own shards one after the other, and on to the next rank. The last one has the
    /// whole.
    fn all(
        &mut self,
        summed: Summed<'_>,
        pieces: &[Piece],
        start: usize,
        sums: &mut [f32],
        squares: &mut [f32],
    ) -> Result<(), Lost> {
        let Self { ranks, incoming, exchanged, .. } = self;
        let (rank, last) = (ranks.rank(), ranks.count() - 1);
        let mut time = Duration::ZERO;
        let mut timed = |call: &mut dyn FnMut() -> Result<(), Lost>| {
            let started = Instant::now();
            let outcome = call();
            time += started.elapsed();
            outcome
        };
        let (mut pieces_left, mut sums_left, mut squares_left) = (pieces, &mut *sums, &mut *squares);
        while let Some(first) = pieces_left.first() {
            let first = first.place.start;
            let fit = pieces_left.iter().take_while(|piece| piece.place.end - first <= MESSAGE).count();
            let (some, others) = pieces_left.split_at(fit.max(1));
            let count = some.last().map_or(0, |piece| piece.place.end - first);
            let (part, sums_after) = sums_left.split_at_mut(count);
            let (part_squares, squares_after) = squares_left.split_at_mut(some.len());
            let mut before = None;
            if rank > 0 {
                let room = incoming.get_mut(..count).unwrap_or_default();
                timed(&mut || ranks.receive(rank - 1, room))?;
                before = Some((first, &*room));
            }
            Summed { before, ..summed }.all(some, first, part, part_squares);
            if rank < last {
                timed(&mut || ranks.send(rank + 1, part))?;
            }
            (pieces_left, sums_left, squares_left) = (others, sums_after, squares_after);
        }
        if last > 0 {
            timed(&mut || ranks.broadcast(last, sums))?;
            // Before it the sums were those of a part.
            Summed { before: None, others: &[], ..summed }.all(pieces, start, sums, squares);
            let times = u64::from(rank > 0) + u64::from(rank < last) + 1;
            exchanged.bytes += times * size_of_val(sums) as u64;
            exchanged.time += time;
        }
        Ok(())
    }
}

/// The gradients of the parts of a batch, or their losses alone.
#[derive(Clone, Copy)]
struct Work<'a> {
    backend: Backend,
    model: Model<'a>,
    sweeps: Sweeps,
    share: Option<f32>,
    /// The teacher, its sweeps, its share.
    teacher: Option<(Model<'a>, usize, f32)>,
    together: usize,
    batch: &'a Batch<'a>,
}

impl Work<'_> {
    /// All parts from the one of number `first` on, of `each` sequences.
    fn all(self, shards: &mut [Shard], first: usize, each: usize) {
        if let [shard] = shards {
            shard.loss = self.one(shard, first * each, each);
        } else if !shards.is_empty() {
            let at = middle(shards.len());
            let (some, others) = shards.split_at_mut(at);
            rayon::join(|| self.all(some, first, each), || self.all(others, first + at, each));
        }
    }

    fn one(self, shard: &mut Shard, from: usize, each: usize) -> Result<(f64, usize), PassError> {
        let Batch { sequences, length, tokens, targets } = *self.batch;
        if self.share.is_some() {
            shard.gradient.fill(0.0);
        }
        let (mut total, mut counted) = (0.0, 0);
        let end = sequences.min(from + each);
        let mut at = from;
        while at < end {
            let [tokens, targets] = [(tokens, 1), (targets, self.sweeps.losses())].map(|(of, each)| {
                let place = at * length * each..end.min(at + self.together) * length * each;
                of.get(place).unwrap_or_default()
            });
            at += self.together;
            if targets.iter().all(|&target| target == crate::pass::IGNORED) {
                continue;
            }
            let sequences = Sequences { length, tokens, targets };
            let (loss, count) = match self.share {
                Some(share) => {
                    let mut teacher = self.teacher.map(|(model, sweeps, share)| Teacher {
                        model,
                        sweeps: Sweeps::Unrolled(sweeps),
                        share,
                        room: &mut shard.answers,
                    });
                    let (backend, sweeps) = (self.backend, self.sweeps);
                    let (room, gradient) = (&mut shard.room, &mut shard.gradient);
                    self.model.gradient_taught(
                        backend,
                        sequences,
                        sweeps,
                        share,
                        teacher.as_mut(),
                        room,
                        gradient,
                    )?
                }
                None => self.model.loss(self.backend, sequences, self.sweeps, &mut shard.room)?,
            };
            total += f64::from(loss);
            counted += count;
        }
        Ok((total, counted))
    }
}

/// Gradients that are added to the first one.
#[derive(Clone, Copy)]
struct Summed<'a> {
    backend: Backend,
    /// The sum of shards before these, from an entry on.
    before: Option<(usize, &'a [f32])>,
    others: &'a [Shard],
}

impl Summed<'_> {
    /// `sums` are the entries from `start` on, of these pieces.
    fn all(self, pieces: &[Piece], start: usize, sums: &mut [f32], squares: &mut [f32]) {
        if let ([piece], [square]) = (pieces, &mut *squares) {
            if let Some((from, before)) = self.before {
                let place = piece.place.start - from..piece.place.end - from;
                // Before the first of these, which are the same bits as behind it; of one length, as below.
                let _ = kernel::add_to(self.backend, before.get(place).unwrap_or_default(), sums);
            }
            for other in self.others {
                let values = other.gradient.get(piece.place.clone()).unwrap_or_default();
                // Of one length: both are gradients of one model.
                let _ = kernel::add_to(self.backend, values, sums);
            }
            *square = kernel::sum_of_squares(self.backend, sums);
        } else if !pieces.is_empty() {
            let at = middle(pieces.len());
            let (some, others) = pieces.split_at(at);
            let cut = some.last().map_or(start, |piece| piece.place.end);
            let (low, high) = sums.split_at_mut(cut - start);
            let (low_squares, high_squares) = squares.split_at_mut(at);
            rayon::join(
                || self.all(some, start, low, low_squares),
                || self.all(others, cut, high, high_squares),
            );
        }
    }
}

/// Steps of matrices as a whole.
#[derive(Clone, Copy)]
struct Whole<'a> {
    backend: Backend,
    step: MuonStep,
    gradient: &'a [f32],
    /// Where the gradient starts.
    start: usize,
}

impl Whole<'_> {
    /// `parameters` and `momentum` are those from `start` on.
    fn all(
        self,
        hidden: &mut [Hidden],
        start: usize,
        parameters: &mut [f32],
        momentum: &mut [f32],
    ) -> Result<(), PassError> {
        if let [one] = hidden {
            let place = one.place.start - start..one.place.end - start;
            let of = one.place.start - self.start..one.place.end - self.start;
            let gradient = self.gradient.get(of).unwrap_or_default();
            let parameters = parameters.get_mut(place.clone()).unwrap_or_default();
            let momentum = momentum.get_mut(place).unwrap_or_default();
            return Ok(one.step(self.backend, self.step, gradient, parameters, momentum)?);
        }
        let at = middle(hidden.len());
        let (some, others) = hidden.split_at_mut(at);
        let Some(cut) = others.first().map(|first| first.place.start) else { return Ok(()) };
        let (parameters, parameters_2) = parameters.split_at_mut(cut - start);
        let (momentum, momentum_2) = momentum.split_at_mut(cut - start);
        let (one, other) = rayon::join(
            || self.all(some, start, parameters, momentum),
            || self.all(others, cut, parameters_2, momentum_2),
        );
        one.and(other)
    }
}

fn update_all(
    backend: Backend,
    update: AdamStep<f32>,
    pieces: &[Piece],
    gradient: &[f32],
    all: [&mut [f32]; 3],
) -> Result<(), PassError> {
    let [parameters, first, second] = all;
    match pieces {
        [] => Ok(()),
        [piece] if piece.hidden => Ok(()),
        [piece] => {
            let decay = if piece.decays { update.decay } else { 0.0 };
            Ok(kernel::adam(backend, AdamStep { decay, ..update }, parameters, gradient, first, second)?)
        }
        [start, ..] => {
            let at = middle(pieces.len());
            let (some, others) = pieces.split_at(at);
            let cut = others.first().map_or(0, |piece| piece.place.start - start.place.start);
            let (gradient, gradient_2) = gradient.split_at(cut);
            let (parameters, parameters_2) = parameters.split_at_mut(cut);
            let (first, first_2) = first.split_at_mut(cut);
            let (second, second_2) = second.split_at_mut(cut);
            let (one, other) = rayon::join(
                || update_all(backend, update, some, gradient, [parameters, first, second]),
                || update_all(backend, update, others, gradient_2, [parameters_2, first_2, second_2]),
            );
            one.and(other)
        }
    }
}

/// Multiplications and additions that a step takes a token: six a weight that tokens are multiplied with, once a sweep for those of the blocks, and
/// attention's.
#[must_use]
pub fn flops_per_token(config: &Config, length: usize, sweeps: usize) -> f64 {
    let (width, blocks) = (config.width as f64, config.blocks as f64);
    // A causal token sees half of the sequence, or a window of it, which is not yet full at its start.
    let window = if config.window > 0 { config.window.min(length) } else { length } as f64;
    let all = length as f64;
    let seen = if config.causal { window - window * (window - 1.0) / (2.0 * all) } else { all };
    let block = 6.0 * 12.0 * width * width + 6.0 * 2.0 * seen * width;
    let head = 6.0 * width * config.vocabulary as f64;
    let sweeps = if config.feedback { sweeps as f64 } else { 1.0 };
    let fed_back = if config.feedback { (blocks - 1.0) * (sweeps - 1.0) * 6.0 * width * width } else { 0.0 };
    head + sweeps * blocks * block + fed_back
}
