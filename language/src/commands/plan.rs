//! What a run is to do: by its options, or by the checkpoint it goes on from.

use crate::cli::Pretrain;
use attractor_language::Config;
use attractor_language::checkpoint::{Settings, checksum};
use attractor_language::schedule::Schedule;
use attractor_language::text::Text;

const DEFAULT: Settings = Settings {
    schedule: Schedule { rate: 4e-3, warm_up: 0.02, end: 0.02, switch: 0.5, sweeps: 2, steps: 0 },
    batch: 16,
    decay: 0.1,
    clip: 1.0,
    evaluate_every: 0,
    text_bytes: 0,
    text_checksum: 0,
};

/// The shape that is asked for, where what is not said is that of another model.
pub(crate) fn config(arguments: &Pretrain, base: Option<&Config>) -> Config {
    let base = base.copied().unwrap_or(Config::new(128, 4, 4, 128));
    Config {
        vocabulary: base.vocabulary,
        context: arguments.context.unwrap_or(base.context),
        width: arguments.width.unwrap_or(base.width),
        heads: arguments.heads.unwrap_or(base.heads),
        blocks: arguments.blocks.unwrap_or(base.blocks),
        feedback: base.feedback && !arguments.no_feedback,
        causal: base.causal && !arguments.masked,
    }
}

/// The settings of a new run. How many steps there are and how often they are evaluated may still be 0, not fixed.
pub(crate) fn settings(arguments: &Pretrain, config: &Config, text: &Text) -> Settings {
    let mut settings = asked(arguments, &DEFAULT, text);
    if !config.feedback {
        settings.schedule.sweeps = 1;
    }
    settings
}

/// Settings that are asked for, where what is not said is that of others.
fn asked(arguments: &Pretrain, base: &Settings, text: &Text) -> Settings {
    let schedule = base.schedule;
    Settings {
        schedule: Schedule {
            rate: arguments.rate.unwrap_or(schedule.rate),
            warm_up: arguments.warm_up.unwrap_or(schedule.warm_up),
            end: arguments.end.unwrap_or(schedule.end),
            switch: arguments.switch.unwrap_or(schedule.switch),
            sweeps: arguments.sweeps.unwrap_or(schedule.sweeps),
            steps: arguments.steps.unwrap_or(schedule.steps),
        },
        batch: arguments.batch.unwrap_or(base.batch),
        decay: arguments.decay.unwrap_or(base.decay),
        clip: arguments.clip.unwrap_or(base.clip),
        evaluate_every: arguments.eval_every.unwrap_or(base.evaluate_every),
        text_bytes: text.bytes().len() as u64,
        text_checksum: checksum(text.bytes()),
    }
}

/// Whether a run can go on with what is asked for now: nothing, or the same as at its start.
pub(crate) fn same(
    arguments: &Pretrain,
    (settings, seed): (&Settings, u64),
    text: &Text,
) -> Result<(), String> {
    let asked = asked(arguments, settings, text);
    let list = |settings: &Settings, seed: u64| {
        let Settings { schedule, batch, decay, clip, evaluate_every, text_bytes, text_checksum } = *settings;
        let Schedule { rate, warm_up, end, switch, sweeps, steps } = schedule;
        [
            ("a text of bytes", format!("{text_bytes} (checksum {text_checksum:08x})")),
            ("--steps", steps.to_string()),
            ("--batch", batch.to_string()),
            ("--sweeps", sweeps.to_string()),
            ("--switch", switch.to_string()),
            ("--rate", rate.to_string()),
            ("--warm-up", warm_up.to_string()),
            ("--end", end.to_string()),
            ("--decay", decay.to_string()),
            ("--clip", clip.to_string()),
            ("--eval-every", evaluate_every.to_string()),
            ("--seed", seed.to_string()),
        ]
    };
    let (begun, now) = (list(settings, seed), list(&asked, arguments.seed.unwrap_or(seed)));
    match begun.iter().zip(&now).find(|(begun, now)| begun != now) {
        None => Ok(()),
        Some(((name, begun), (_, now))) => {
            Err(format!("the run was begun with {name} {begun}, and now it is {now}"))
        }
    }
}
