//! Trains a model on a text, from the start or from another model.

use super::labels;
use super::measure::{self, bits};
use super::plan::{self, Asked};
use super::progress::{Bar, Speed};
use super::together::{self, Together};
use super::tokens::{self, Parts, tokens};
use super::{Failure, Outcome, about, load, newest, start_threads, stop, task, text};
use crate::cli::{Finetune, Pretrain};
use crate::output;
use attractor::simd::Backend;
use attractor_language::adapt::Learns;
use attractor_language::checkpoint::{Checkpoint, Folder, Settings, Teaching, Training};
use attractor_language::limits::peak_flops;
use attractor_language::pass::{Model, Sweeps};
use attractor_language::plot::{self, Point};
use attractor_language::schedule::Costs;
use attractor_language::text::{Batches, Random, Task};
use attractor_language::train::{Exchanged, Learner, Shards, State, StepSettings, flops_per_token};
use attractor_language::{Config, ConfigError};
use core::fmt::Display;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SEED: u64 = 1;

pub(crate) fn pretrain(arguments: &Pretrain) -> Outcome {
    train(Asked::pretrain(arguments))
}

pub(crate) fn finetune(arguments: &Finetune) -> Outcome {
    train(Asked::finetune(arguments))
}

fn train(asked: Asked<'_>) -> Outcome {
    let together = Together::begin()?;
    let outcome = by_all(asked, &together);
    together.end(outcome)
}

/// What every rank does.
fn by_all(mut asked: Asked<'_>, together: &Together) -> Outcome {
    let started = Instant::now();
    asked.teacher = asked.run.teacher.as_deref().map(load).transpose()?;
    let asked = &asked;
    let (text, file) = text(asked.file)?;
    let from = asked.from.map(|path| Ok::<_, String>((path, load(path)?))).transpose()?;
    // What needs no folder is looked at before there is one.
    let mut config = asked.config(None);
    let named = asked.run.pieces.tokenizer.as_ref();
    let mut pieces = None;
    if let Some((path, from)) = &from {
        // Feedback may be added or left out.
        config = asked.config(Some(&from.config));
        let expected = Config { feedback: from.config.feedback, ..config };
        from.expect(&expected).map_err(|error| about(path, error))?;
        asked.learns.check(&config).map_err(nonsense)?;
        let tokens = tokens(path, named, &config)?;
        tokens::can_learn(&config, &tokens).map_err(|error| about(path, error))?;
        if asked.labels {
            labels::can_learn(&config).map_err(|error| about(path, error))?;
            Parts::of_lines(&tokens, &text, config.context).map_err(|error| about(&file, error))?;
        } else if tokens.is_bytes() {
            text.check(config.context).map_err(|error| about(&file, error))?;
        }
        pieces = Some(tokens);
    } else if !asked.run.resume {
        config.check().map_err(nonsense)?;
        text.check(config.context).map_err(|error| about(&file, error))?;
    }
    let out = asked.out;
    let folder = together::is_first().then(|| {
        Folder::open(out, asked.run.keep)
            .map_err(|error| format!("{}: cannot be written to: {error}", out.display()))
    });
    let folder = folder.transpose()?;
    together.all_are_well()?;
    // Another rank may be where there is no such folder.
    let found = if folder.is_none() && !out.exists() {
        None
    } else if asked.run.resume {
        newest(out)?
    } else if Folder::checkpoints(out).map_err(|error| about(out, error))?.is_empty() {
        None
    } else {
        let error = "has the checkpoints of a run: `--resume` goes on with it, `--out` takes another folder";
        return Err(about(out, error).into());
    };
    if let Some(found) = &found {
        config = asked.config(Some(&found.config));
        config.check().map_err(nonsense)?;
        found.expect(&config).map_err(|error| about(out, error))?;
    }
    config.check().map_err(nonsense)?;
    // A run that goes on has its own.
    let pieces = match pieces.filter(|_| found.is_none()) {
        Some(pieces) => pieces,
        None => tokens(out, named, &config)?,
    };
    tokens::can_learn(&config, &pieces).map_err(|error| about(out, error))?;
    let parts = match asked.labels {
        true => Parts::of_lines(&pieces, &text, config.context),
        false => Parts::new(&pieces, &text, config.context),
    };
    let parts = parts.map_err(|error| about(&file, error))?;
    if together::is_first() {
        tokens::keep(&pieces, out)?;
    }
    start_threads(&asked.run.threads)?;
    stop::listen()?;

    let mut run = match found {
        Some(found) => Run::resume(asked, found, &parts, together)?,
        None => Run::start(asked, config, from.map(|(_, from)| from), &parts, together)?,
    };
    let fixed = asked.run.eval_every.is_some();
    run.evaluations();
    together.same(|| run.list())?;
    if run.settings.schedule.steps == 0 {
        run.measure(started, 60.0 * asked.minutes, fixed)?;
        run.evaluations();
    }
    run.train(asked, folder.as_ref())
}

/// What depends on what all ranks have or have told each other.
fn agreed(error: impl Display) -> Failure {
    Failure::Agreed(error.to_string())
}

fn nonsense(error: ConfigError) -> Failure {
    Failure::Nonsense(error.to_string())
}

/// A training, and where it is.
struct Run<'a> {
    config: Config,
    settings: Settings,
    learner: Learner,
    parts: &'a Parts<'a>,
    together: &'a Together,
    task: Task,
    batches: Batches,
    random: Random,
    sequences: u64,
    loss: f64,
    loss_steps: u32,
    curve: Vec<Point>,
    /// Steps that were taken since the start of this process, and what they had to do with other ranks.
    taken: (u32, Exchanged),
}

impl<'a> Run<'a> {
    fn new(
        config: Config,
        (settings, seed, learns): (Settings, u64, Learns),
        teacher: Option<&Checkpoint<'_>>,
        parts: &'a Parts<'a>,
        together: &'a Together,
    ) -> Result<Self, Failure> {
        let Settings { batch, shards, schedule, .. } = settings;
        let (ranks, most) = (together.count(), shards.min(batch));
        if ranks > most {
            let error =
                format!("{ranks} ranks: a batch of {batch} has {most} shards, and each rank needs one");
            return Err(Failure::Nonsense(error));
        }
        let shards = Shards { count: shards, ranks: together.shared() };
        let learner = Learner::among(config, learns, batch, config.context, schedule.sweeps, &shards);
        let learner = learner.map_err(|error| error.to_string())?;
        let learner = learner.with(settings.optimizer).rounded(settings.rounded);
        Ok(Self {
            config,
            settings,
            learner: Self::taught(learner, &settings, teacher)?,
            parts,
            together,
            task: task(&config),
            batches: Batches::new(batch, config.context),
            random: Random::new(seed),
            sequences: 0,
            loss: 0.0,
            loss_steps: 0,
            curve: Vec::new(),
            taken: (0, Exchanged::default()),
        })
    }

    /// A learner that has a teacher if the run has one.
    fn taught(
        learner: Learner,
        settings: &Settings,
        teacher: Option<&Checkpoint<'_>>,
    ) -> Result<Learner, String> {
        let Some(Teaching { share, .. }) = settings.teacher else { return Ok(learner) };
        let Some(teacher) = teacher else {
            return Err("the run was begun with a teacher: `--teacher` names its checkpoint".to_owned());
        };
        let Checkpoint { config, sweeps, ref parameters, .. } = *teacher;
        let taught = learner.taught(config, parameters.to_vec(), sweeps, share);
        taught.map_err(|error| format!("--teacher: {error}"))
    }

    fn start(
        asked: &Asked<'_>,
        config: Config,
        from: Option<Checkpoint<'_>>,
        parts: &'a Parts<'a>,
        together: &'a Together,
    ) -> Result<Self, Failure> {
        let seed = asked.run.seed.unwrap_or(SEED);
        let settings = asked.settings(&config, from.as_ref().map(|from| from.sweeps), parts.text);
        let mut run =
            Self::new(config, (settings, seed, asked.learns), asked.teacher.as_ref(), parts, together)?;
        run.learner.initialize(seed);
        if let Some(from) = from {
            // Feedback is last: where one of the two has none, the others are the same.
            let mut parameters = run.learner.parameters().to_vec();
            for (parameter, from) in parameters.iter_mut().zip(from.parameters.iter()) {
                *parameter = *from;
            }
            run.learner.start_from(&parameters, seed).map_err(|error| error.to_string())?;
        }
        Ok(run)
    }

    fn resume(
        asked: &Asked<'_>,
        found: Checkpoint<'_>,
        parts: &'a Parts<'a>,
        together: &'a Together,
    ) -> Result<Self, Failure> {
        let of_folder = |error: String| about(asked.out, error);
        let Checkpoint { config, learns, parameters, adapters, training, .. } = found;
        let Some(training) = training else {
            let error = "has a model and no training to go on with: `--from` starts one";
            return Err(of_folder(error.to_owned()).into());
        };
        let random = Random::from_state(training.random);
        let begun = (training.settings, random.seed(), learns);
        plan::same(asked, (&begun.0, begun.1, begun.2), parts.text).map_err(of_folder)?;
        let mut run = Self::new(config, begun, asked.teacher.as_ref(), parts, together)?;
        let state = State {
            parameters: &parameters,
            adapters: &adapters,
            first: &training.first,
            second: &training.second,
            steps: training.steps,
        };
        run.learner.restore(&state).map_err(|error| of_folder(error.to_string()))?;
        run.random = random;
        run.sequences = training.sequences;
        run.loss = training.loss;
        run.loss_steps = training.loss_steps;
        run.curve = training.curve.into_owned();
        Ok(run)
    }

    /// What all ranks must have in common.
    fn list(&self) -> Vec<(&'static str, String)> {
        let State { parameters, adapters, first, second, steps } = self.learner.state();
        // By Fowler, Noll and Vo, of whole numbers in the place of bytes.
        let numbers = [parameters, adapters, first, second].into_iter().flatten();
        let sum = numbers.fold(0xcbf2_9ce4_8422_2325_u64, |sum, number| {
            (sum ^ u64::from(number.to_bits())).wrapping_mul(0x0100_0000_01b3)
        });
        let mut list = vec![
            ("attractor-lm", env!("CARGO_PKG_VERSION").to_owned()),
            ("the model:", self.config.to_string()),
            ("the backend", Backend::best().name().to_owned()),
        ];
        list.extend(plan::list(&self.settings, self.random.seed(), self.learner.learns()));
        list.extend([
            ("a model at step", steps.to_string()),
            ("parameters of checksum", format!("{sum:016x}")),
        ]);
        list
    }

    /// Fixes how often there is a point of the curve, once the number of steps is fixed.
    fn evaluations(&mut self) {
        if self.settings.evaluate_every == 0 {
            self.settings.evaluate_every = self.settings.schedule.steps.div_ceil(20);
        }
    }

    /// Fixes the number of steps by how long some take, of which no trace remains.
    fn measure(&mut self, started: Instant, seconds: f64, evaluations_fixed: bool) -> Outcome {
        /// Steps that are not timed, and then those that are, and the share of the time they may take.
        const STEPS: (u32, u32) = (3, 12);
        const SHARE: f64 = 0.02;
        let begun = self.learner.state();
        let (parameters, adapters) = (begun.parameters.to_vec(), begun.adapters.to_vec());
        let mut random = Random::new(self.random.seed());
        let schedule = self.settings.schedule;
        let mut step = |run: &mut Self, sweeps: usize| -> Result<f64, Failure> {
            let part = &run.parts.training;
            part.draw(&mut run.batches, run.task, &mut random).map_err(agreed)?;
            // At a rate of 0 parameters stay.
            let Settings { decay, clip, .. } = run.settings;
            let settings = StepSettings { rate: 0.0, decay, clip, sweeps: Sweeps::Unrolled(sweeps) };
            let started = Instant::now();
            run.learner.step(&run.batches.batch(), &settings).map_err(agreed)?;
            if run.together.stopped()? {
                return Err(Failure::Interrupted("interrupted before the first step".to_owned()));
            }
            Ok(started.elapsed().as_secs_f64())
        };
        let mut mean = |run: &mut Self, sweeps: usize| -> Result<f64, Failure> {
            let begun = Instant::now();
            for _ in 0..STEPS.0 {
                step(run, sweeps)?;
            }
            let (mut sum, mut count) = (0.0, 0);
            // Rank 0 measures.
            let more =
                |count| count == 0 || (count < STEPS.1 && begun.elapsed().as_secs_f64() < SHARE * seconds);
            while run.together.of_first(more(count).into())? != 0 {
                sum += step(run, sweeps)?;
                count += 1;
            }
            Ok(sum / f64::from(count))
        };
        let plain = mean(self, 1)?;
        let full =
            if schedule.sweeps > 1 && schedule.switch < 1.0 { mean(self, schedule.sweeps)? } else { plain };
        let begun = Instant::now();
        self.held_out(schedule.sweeps)?;
        let evaluation = begun.elapsed().as_secs_f64();
        let zeros = vec![0.0; self.learner.state().first.len()];
        let begun =
            State { parameters: &parameters, adapters: &adapters, first: &zeros, second: &zeros, steps: 0 };
        self.learner.restore(&begun).map_err(agreed)?;
        let mut costs = Costs { plain, full, other: 0.0 };
        if evaluations_fixed {
            let each = evaluation / f64::from(self.settings.evaluate_every);
            costs.plain += each;
            costs.full += each;
        } else {
            costs.other = 20.0 * evaluation;
        }
        let left = seconds - started.elapsed().as_secs_f64();
        let steps = costs.steps(left, schedule.switch);
        self.settings.schedule.steps = self.together.of_first(steps.into())? as u32;
        Ok(())
    }

    fn held_out(&mut self, sweeps: usize) -> Result<f64, Failure> {
        let part = (&self.parts.held_out, self.task);
        measure::some(&mut self.learner, &mut self.batches, part, sweeps).map_err(agreed)
    }

    /// How many sweeps the last step had.
    fn sweeps(&self) -> usize {
        self.settings.schedule.sweeps(self.learner.steps().saturating_sub(1))
    }

    /// Writes all that there is to write, if this rank has the folder, and returns the checkpoint's name.
    fn save(&self, folder: Option<&Folder>) -> Result<PathBuf, String> {
        let Some(folder) = folder else { return Ok(PathBuf::new()) };
        let State { parameters, adapters, first, second, steps } = self.learner.state();
        let checkpoint = Checkpoint {
            config: self.config,
            sweeps: self.sweeps(),
            parameters: Cow::Borrowed(parameters),
            learns: self.learner.learns(),
            adapters: Cow::Borrowed(adapters),
            training: Some(Training {
                settings: self.settings,
                first: Cow::Borrowed(first),
                second: Cow::Borrowed(second),
                steps,
                random: self.random.state(),
                sequences: self.sequences,
                loss: self.loss,
                loss_steps: self.loss_steps,
                curve: Cow::Borrowed(&self.curve),
            }),
        };
        let path = folder.save(&checkpoint).map_err(|error| about(folder.path(), error))?;
        self.draw(folder.path())?;
        Ok(path)
    }

    fn draw(&self, folder: &Path) -> Result<(), String> {
        output::write(&folder.join("curve.csv"), plot::csv(&self.curve).as_bytes())?;
        let image = plot::svg(&self.config.to_string(), &self.curve).map_err(|error| error.to_string())?;
        output::write(&folder.join("curve.svg"), image.as_bytes())
    }

    /// One step; its loss in nats a predicted token.
    fn step(&mut self) -> Result<f64, Failure> {
        let number = self.learner.steps();
        let Settings { schedule, decay, clip, .. } = self.settings;
        let part = &self.parts.training;
        part.draw(&mut self.batches, self.task, &mut self.random).map_err(agreed)?;
        let (rate, sweeps) = (schedule.rate(number), Sweeps::Unrolled(schedule.sweeps(number)));
        let settings = StepSettings { rate, decay, clip, sweeps };
        let before = self.learner.exchanged().unwrap_or_default();
        let report = self.learner.step(&self.batches.batch(), &settings).map_err(|error| {
            agreed(format!(
                "step {}: {error}; the last checkpoint stays as it is, and a lower `--rate` may help",
                number + 1
            ))
        })?;
        let after = self.learner.exchanged().unwrap_or_default();
        let (steps, exchanged) = &mut self.taken;
        *steps += 1;
        exchanged.bytes += after.bytes - before.bytes;
        exchanged.time += after.time - before.time;
        self.sequences += self.settings.batch as u64;
        self.loss += report.loss;
        self.loss_steps += 1;
        Ok(report.loss)
    }

    /// A point of the curve.
    fn point(&mut self) -> Outcome {
        let step = self.learner.steps();
        let sweeps = self.sweeps();
        let held_out = self.held_out(sweeps)?;
        let training = bits(self.loss, self.loss_steps as usize);
        let rate = self.settings.schedule.rate(step - 1);
        self.curve.push(Point { step, sweeps: sweeps as u32, rate, training, held_out });
        (self.loss, self.loss_steps) = (0.0, 0);
        Ok(())
    }

    fn train(mut self, asked: &Asked<'_>, folder: Option<&Folder>) -> Outcome {
        let schedule = self.settings.schedule;
        let all = schedule.steps;
        let (context, tokens) = (self.config.context, self.settings.batch * self.config.context);
        let each = |sweeps| flops_per_token(&self.config, context, sweeps);
        let (plain, full) = (each(1), each(schedule.sweeps));
        // Of all threads: each can do as much, and ranks have as many.
        let peak = peak_flops() * (rayon::current_num_threads() * self.together.count()) as f64;
        let begun = Instant::now();
        let mut speed = Speed::new(peak);
        let bar = Bar::steps(all);
        let save_every = Duration::try_from_secs_f64(60.0 * asked.run.save_every).unwrap_or(Duration::MAX);
        // The first one has the number of steps, which is measured only once.
        let mut path = self.save(folder)?;
        let mut saved = Instant::now();
        let mut loss = None;
        while self.learner.steps() < all {
            let sweeps = schedule.sweeps(self.learner.steps());
            let started = Instant::now();
            let now = self.step()?;
            let each = if sweeps > 1 { full } else { plain };
            speed.step(started, tokens, each);
            let steps = self.learner.steps();
            if !bar.is_hidden() {
                let smooth = loss.map_or(now, |loss: f64| loss + 0.05 * (now - loss));
                loss = Some(smooth);
                let plain_left = schedule.plain_steps().saturating_sub(steps).min(all - steps);
                let full_left = all - steps - plain_left;
                let left = (f64::from(plain_left) * plain + f64::from(full_left) * full) * tokens as f64;
                bar.at(steps as usize, all as usize);
                bar.say(format!(
                    "{:.3} {}  {}",
                    bits(smooth, 1),
                    self.parts.training.names(self.task).bits,
                    speed.recent(each, left)
                ));
            }
            if steps.is_multiple_of(self.settings.evaluate_every) || steps == all {
                self.point()?;
            }
            let stopped = self.together.stopped()?;
            if stopped || steps == all || saved.elapsed() >= save_every {
                path = self.save(folder)?;
                saved = Instant::now();
            }
            if stopped && steps < all {
                bar.end();
                return Err(Failure::Interrupted(format!(
                    "interrupted after step {steps} of {all}, saved as {}; `--resume` goes on",
                    path.display()
                )));
            }
        }
        bar.end();
        self.report(&path, folder, &speed, begun)
    }

    fn report(mut self, path: &Path, folder: Option<&Folder>, speed: &Speed, begun: Instant) -> Outcome {
        let seconds = begun.elapsed().as_secs_f64();
        let sweeps = self.sweeps();
        let bar = Bar::windows(sweeps);
        let part = (&self.parts.held_out, self.task);
        let progress = |done, all| bar.at(done, all);
        let measured = measure::all(&mut self.learner, &mut self.batches, part, sweeps, progress);
        let measured = measured.map_err(agreed)?;
        bar.end();
        let Some(measured) = measured else {
            return Err(Failure::Interrupted(format!(
                "interrupted behind the last step, saved as {}",
                path.display()
            )));
        };
        // What follows is said by one.
        let Some(folder) = folder else { return Ok(()) };
        let names = part.0.names(self.task);
        println!("model: {}\nparameters: {}", self.config, self.learner.parameters().len());
        if self.learner.learns() != Learns::All {
            println!("parameters that learn: {}", self.learner.state().first.len());
        }
        println!("steps: {}\nsweeps: {sweeps}", self.learner.steps());
        println!("tokens: {}", self.sequences * self.config.context as u64);
        println!("held-out {} predicted: {}", names.tokens, measured.counted);
        if let Some(point) = self.curve.last() {
            println!("{} in training: {:.4}", names.bits, point.training);
        }
        measured.print(part, "");
        let model = Model::new(self.config, self.learner.parameters()).map_err(|error| error.to_string())?;
        labels::report(model, sweeps, part.0)?;
        // A run that had been at its end takes no step.
        if let Some((tokens, share)) = speed.whole() {
            println!("tokens per second: {tokens:.0}\nshare of peak: {share:.3}");
            println!("seconds: {seconds:.1}");
            let (steps, Exchanged { bytes, time }) = self.taken;
            if self.together.count() > 1 {
                println!("ranks: {}", self.together.count());
                println!("bytes exchanged per step: {}", bytes / u64::from(steps));
                println!("seconds in exchange: {:.1}", time.as_secs_f64());
            }
        }
        println!("checkpoint: {}", path.display());
        println!("curve: {}", folder.path().join("curve.svg").display());
        Ok(())
    }
}
