//! The motions: data/basic-motions.csv, see data/README.md.

pub(crate) const CHANNELS: usize = 6;
pub(crate) const CLASSES: usize = 4;
/// Ticks of a series, at 10 a second.
pub(crate) const TICKS: usize = 100;

/// Six channels at one time.
pub(crate) type Tick = [f32; CHANNELS];

/// Ten seconds of one activity.
pub(crate) struct Series {
    pub(crate) ticks: Vec<Tick>,
    /// 0 standing, 1 running, 2 walking, 3 badminton.
    pub(crate) label: usize,
}

/// The series to train on, and those to test with; channels divided by their deviation in those to train on.
pub(crate) fn read() -> Result<[Vec<Series>; 2], String> {
    let mut parts = [const { Vec::new() }; 2];
    for (i, line) in include_str!("../../data/basic-motions.csv").lines().enumerate() {
        let (part, series) = parse(line).ok_or_else(|| {
            format!("data/basic-motions.csv, line {}: not train or test, a label 0 to 3, {TICKS} x {CHANNELS} numbers", i + 1)
        })?;
        parts[part].push(series);
    }
    let [training, _] = &parts;
    let deviations: [f32; CHANNELS] = core::array::from_fn(|channel| {
        let values = || training.iter().flat_map(|series| &series.ticks).map(|tick| tick[channel]);
        let count = values().count() as f32;
        let mean = values().sum::<f32>() / count;
        (values().map(|value| (value - mean) * (value - mean)).sum::<f32>() / count).sqrt()
    });
    for tick in parts.iter_mut().flatten().flat_map(|series| &mut series.ticks) {
        for (value, deviation) in tick.iter_mut().zip(deviations) {
            *value /= deviation;
        }
    }
    Ok(parts)
}

fn parse(line: &str) -> Option<(usize, Series)> {
    let mut fields = line.split(',');
    let part = match fields.next()? {
        "train" => 0,
        "test" => 1,
        _ => return None,
    };
    let label = fields.next()?.parse().ok().filter(|&label| label < CLASSES)?;
    let values: Vec<f32> = fields.map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let ticks: Vec<Tick> = values.chunks_exact(CHANNELS).map_while(|tick| tick.try_into().ok()).collect();
    (values.len() == CHANNELS * TICKS).then_some((part, Series { ticks, label }))
}
