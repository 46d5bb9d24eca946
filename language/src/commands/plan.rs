//! What a run is to do: by its options, or by the checkpoint it goes on from.

use crate::cli::{Finetune, Pretrain, Run, Shape, Steps};
use attractor_language::Config;
use attractor_language::adapt::Learns;
use attractor_language::checkpoint::{Checkpoint, Settings, Teaching, checksum};
use attractor_language::schedule::Schedule;
use attractor_language::text::Text;
use attractor_language::train::{Optimizer, SHARDS};
use std::path::{Path, PathBuf};

const TEACHER_SHARE: f32 = 0.5;
const DEFAULT: Settings = Settings {
    schedule: Schedule { rate: 6e-3, warm_up: 0.02, end: 0.02, switch: 0.9, sweeps: 2, steps: 0 },
    batch: 8,
    shards: SHARDS,
    optimizer: Optimizer::Muon,
    decay: 0.3,
    clip: 1.0,
    evaluate_every: 0,
    rounded: false,
    teacher: None,
    labels: false,
    text_bytes: 0,
    text_checksum: 0,
};

/// What a command asks for.
pub(crate) struct Asked<'a> {
    pub(crate) file: Option<&'a PathBuf>,
    pub(crate) from: Option<&'a Path>,
    shape: Option<&'a Shape>,
    /// Whether the model has feedback; if nothing is said, as the one it starts from.
    feedback: Option<bool>,
    pub(crate) learns: Learns,
    /// Whom the model learns from, beside the text.
    pub(crate) teacher: Option<Checkpoint<'static>>,
    /// Whether the text is of labelled lines.
    pub(crate) labels: bool,
    pub(crate) run: &'a Run,
    /// Where it goes, and how long it takes, unless it says so.
    pub(crate) out: &'a Path,
    pub(crate) minutes: f64,
    default: Settings,
}

impl<'a> Asked<'a> {
    pub(crate) fn pretrain(arguments: &'a Pretrain) -> Self {
        let Pretrain { file, from, shape, run } = arguments;
        Self {
            file: file.as_ref(),
            from: from.as_deref(),
            shape: Some(shape),
            feedback: Some(!shape.no_feedback),
            learns: Learns::All,
            teacher: None,
            labels: false,
            run,
            out: run.out.as_deref().unwrap_or(Path::new("target/attractor-lm")),
            minutes: run.minutes.unwrap_or(15.0),
            default: DEFAULT,
        }
    }

    pub(crate) fn finetune(arguments: &'a Finetune) -> Self {
        let Finetune { checkpoint, file, adapters, last, labels, feedback, run } = arguments;
        let schedule = Schedule { rate: 1e-3, switch: 0.0, ..DEFAULT.schedule };
        Self {
            file: Some(file),
            from: Some(checkpoint),
            shape: None,
            feedback: feedback.then_some(true),
            learns: match adapters {
                Some(rank) => Learns::LowRank { rank: *rank },
                None if *last => Learns::Last,
                None => Learns::All,
            },
            teacher: None,
            labels: *labels,
            run,
            out: run.out.as_deref().unwrap_or(Path::new("target/attractor-lm-finetuned")),
            minutes: run.minutes.unwrap_or(5.0),
            default: Settings { schedule, optimizer: Optimizer::AdamW, ..DEFAULT },
        }
    }

    /// The shape that is asked for, where what is not said is that of another model.
    pub(crate) fn config(&self, base: Option<&Config>) -> Config {
        let base = base.copied().unwrap_or(Config::new(128, 4, 4, 256));
        let none = Shape::default();
        let shape = self.shape.unwrap_or(&none);
        Config {
            vocabulary: base.vocabulary,
            context: shape.context.unwrap_or(base.context),
            width: shape.width.unwrap_or(base.width),
            heads: shape.heads.unwrap_or(base.heads),
            blocks: shape.blocks.unwrap_or(base.blocks),
            feedback: self.feedback.unwrap_or(base.feedback),
            causal: base.causal && !shape.masked,
            tied: base.tied || shape.tied,
            places: base.places && !shape.no_places,
            window: shape.window.unwrap_or(base.window),
        }
    }

    /// The settings of a new run, from a model for so many sweeps if it is from one. How many steps there are and how often they are evaluated may still be
    /// 0, not fixed.
    pub(crate) fn settings(&self, config: &Config, from: Option<usize>, text: &Text) -> Settings {
        let mut default = self.default;
        if let (None, Some(sweeps)) = (self.feedback, from) {
            default.schedule.sweeps = sweeps;
        }
        let mut settings = self.over(&default, text);
        if !config.feedback {
            settings.schedule.sweeps = 1;
        }
        settings
    }

    /// Settings that are asked for, where what is not said is that of others.
    fn over(&self, base: &Settings, text: &Text) -> Settings {
        let (schedule, run) = (base.schedule, self.run);
        Settings {
            schedule: Schedule {
                rate: run.rate.unwrap_or(schedule.rate),
                warm_up: run.warm_up.unwrap_or(schedule.warm_up),
                end: run.end.unwrap_or(schedule.end),
                switch: run.switch.unwrap_or(schedule.switch),
                sweeps: run.sweeps.unwrap_or(schedule.sweeps),
                steps: run.steps.unwrap_or(schedule.steps),
            },
            batch: run.batch.unwrap_or(base.batch),
            shards: run.shards.unwrap_or(base.shards),
            optimizer: match run.optimizer {
                Some(Steps::Adamw) => Optimizer::AdamW,
                Some(Steps::Muon) => Optimizer::Muon,
                None => base.optimizer,
            },
            decay: run.decay.unwrap_or(base.decay),
            clip: run.clip.unwrap_or(base.clip),
            evaluate_every: run.eval_every.unwrap_or(base.evaluate_every),
            rounded: run.rounded || base.rounded,
            teacher: match &self.teacher {
                Some(teacher) => {
                    let begun = base.teacher.map_or(TEACHER_SHARE, |begun| begun.share);
                    let share = run.teacher_share.map_or(begun, |share| share as f32);
                    Some(Teaching::of(&teacher.parameters, share))
                }
                None => base.teacher,
            },
            labels: self.labels,
            text_bytes: text.bytes().len() as u64,
            text_checksum: checksum(text.bytes()),
        }
    }
}

/// What must stay the same as long as a run goes on, by name.
pub(crate) fn list(settings: &Settings, seed: u64, learns: Learns) -> [(&'static str, String); 18] {
    let Settings { schedule, batch, optimizer, decay, clip, evaluate_every, .. } = *settings;
    let Settings { shards, rounded, teacher, labels, text_bytes, text_checksum, .. } = *settings;
    let Schedule { rate, warm_up, end, switch, sweeps, steps } = schedule;
    [
        ("a text of bytes", format!("{text_bytes} (checksum {text_checksum:08x})")),
        ("--steps", steps.to_string()),
        ("--batch", batch.to_string()),
        ("--shards", shards.to_string()),
        ("--rounded", rounded.to_string()),
        (
            "--teacher",
            teacher.map_or("none".to_owned(), |of| {
                format!("of share {} (checksum {:08x})", of.share, of.checksum)
            }),
        ),
        ("--labels", labels.to_string()),
        ("--optimizer", format!("{optimizer:?}").to_lowercase()),
        ("--sweeps", sweeps.to_string()),
        ("--switch", switch.to_string()),
        ("--rate", rate.to_string()),
        ("--warm-up", warm_up.to_string()),
        ("--end", end.to_string()),
        ("--decay", decay.to_string()),
        ("--clip", clip.to_string()),
        ("--eval-every", evaluate_every.to_string()),
        ("--seed", seed.to_string()),
        (
            "what learns:",
            match learns {
                Learns::LowRank { rank } => format!("adapters of rank {rank}"),
                Learns::Last => "the last block".to_owned(),
                _ => "all".to_owned(),
            },
        ),
    ]
}

/// Whether a run can go on with what is asked for now: nothing, or the same as at its start.
pub(crate) fn same(
    asked: &Asked<'_>,
    (settings, seed, learns): (&Settings, u64, Learns),
    text: &Text,
) -> Result<(), String> {
    let now = asked.over(settings, text);
    let now = list(&now, asked.run.seed.unwrap_or(seed), asked.learns);
    let begun = list(settings, seed, learns);
    match begun.iter().zip(&now).find(|(begun, now)| begun != now) {
        None => Ok(()),
        Some(((name, begun), (_, now))) => {
            Err(format!("the run was begun with {name} {begun}, and now it is {now}"))
        }
    }
}
