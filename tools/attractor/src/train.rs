//! Learning: a table in, a model file out.

use crate::cli::{Scale, Train};
use crate::files::{other, writable, write};
use crate::net::{Floats, Solve, from_layers, layers, outputs_fed_back};
use crate::output::plain;
use crate::scaling::{Scaling, fold_inputs, fold_targets};
use crate::score::Score;
use crate::table::{Table, Targets};
use attractor::Shape;
use attractor::dynamic::{DynError, DynNetwork, DynTrainer};
use attractor::kernel::Scalar;
use attractor::learn::{
    Adam, Cosine, CrossEntropy, MeanSquared, Method, Moments, Objective, Outcome, Step, Unsolved,
};
use attractor::nalgebra::DMatrixView;
use indicatif::{ProgressBar, ProgressStyle};
use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use std::fmt::Debug;
use std::time::Instant;

pub(crate) fn train(arguments: &Train) -> Result<(), String> {
    let Train { data, to, scaling_to, .. } = arguments;
    other(data, to)?;
    writable(to)?;
    if let Some(scaling_to) = scaling_to {
        other(data, scaling_to)?;
        writable(scaling_to)?;
        if scaling_to == to {
            return Err(crate::files::about(to, "`--to` and `--scaling-to` are one file"));
        }
    }
    let table = arguments.columns.read(data)?;
    if let Targets::Classes { names, .. } = &table.targets
        && names.len() < 2
    {
        return Err(crate::files::about(data, "there is but one class (`--regression` learns numbers)"));
    }
    match arguments.scalar {
        "f64" => learn::<f64>(arguments, table),
        _ => learn::<f32>(arguments, table),
    }
}

/// How a table is learnt. Inputs are scaled batch after batch: a copy of large tables would not fit into memory.
struct Scaled {
    targets: Vec<f64>,
    of_inputs: Scaling,
    /// Of numbers to learn, if they are scaled.
    of_targets: Option<Scaling>,
}

fn learn<T: Scalar + Debug>(arguments: &Train, table: Table) -> Result<(), String>
where
    Vec<T>: Moments<Scalar = T>,
{
    let started = Instant::now();
    let shape = shape(arguments, &table)?;
    let image = image(arguments, &table)?;
    let mut random = SmallRng::seed_from_u64(arguments.seed);
    let mut rows: Vec<usize> = (0..table.rows()).collect();
    rows.shuffle(&mut random);
    let tested = (arguments.validation * rows.len() as f64).round() as usize;
    let mut training = rows.split_off(tested);
    let mut validation = rows;
    validation.sort_unstable();
    if training.is_empty() {
        return Err("no row is left to learn from".to_owned());
    }
    training.sort_unstable();
    let scaled = scaled(arguments, &table, &training);

    let mut net = DynNetwork::<T>::zeros(shape).map_err(|error| error.to_string())?;
    net.initialize(&mut random);
    let mut learner = Learner::new(arguments, net, &table);
    let steps = u32::try_from(arguments.epochs * training.len().div_ceil(arguments.batch))
        .map_err(|_| "epochs times rows are too many".to_owned())?;
    let warm_up = (f64::from(steps) * arguments.warm_up) as u32;
    let peak = T::from_f64(arguments.rate);
    let schedule = Cosine { start: peak / T::from_f64(25.0), peak, end: T::ZERO, warm_up, steps };

    let bar = ProgressBar::new(arguments.epochs as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40.blue} {pos}/{len} epochs  {msg}  {elapsed}") {
        bar.set_style(style);
    }
    let mut last = None;
    let (mut step, mut saturated) = (0, 0);
    let (mut inputs, mut targets) = (Vec::new(), Vec::new());
    for _ in 0..arguments.epochs {
        training.shuffle(&mut random);
        let (mut loss, mut learnt) = (0.0, 0);
        for rows in training.chunks(arguments.batch) {
            let columns = table.columns;
            inputs.clear();
            inputs.resize(rows.len() * columns, T::ZERO);
            for (at, row) in rows.iter().enumerate() {
                let own = table.row(*row);
                let moved = image.map(|size| (size, shift(arguments.shift, &mut random)));
                for (column, (mean, deviation)) in scaled.of_inputs.0.iter().enumerate() {
                    let value = moved.map_or(own[column], |moved| pixel(own, column, moved));
                    inputs[column * rows.len() + at] = T::from_f64((value - mean) / deviation);
                }
            }
            if arguments.noise > 0.0 {
                for pair in inputs.chunks_mut(2) {
                    for (input, noise) in pair.iter_mut().zip(normal(&mut random)) {
                        *input += T::from_f64(arguments.noise * noise);
                    }
                }
            }
            let rate = if arguments.constant_rate { peak } else { schedule.rate(step) };
            step += 1;
            let made = learner.step(rate, &inputs, rows, &scaled.targets, &mut targets);
            let made = made.map_err(|error| format!("step {step}: {error}"))?;
            if made.outcome == Outcome::Solved {
                loss += made.report.loss.to_f64();
                learnt += 1;
            }
            saturated += u32::from(made.is_saturated());
            last = Some(made);
        }
        bar.set_message(format!("loss {:.4}", loss / f64::from(learnt)));
        bar.inc(1);
    }
    bar.finish_and_clear();
    if 2 * saturated > step {
        eprintln!(
            "attractor: the first layer was saturated in {saturated} of {step} steps, and learns next to nothing then: inputs are too large to go without scaling"
        );
    }

    let net = unscaled(learner.network(), shape, &scaled, arguments.scaling_to.is_some())?;
    let solve = Solve::from(&arguments.solve);
    // On inputs as they are: what the file will give.
    let mut raw = table;
    if arguments.scaling_to.is_some() {
        scaled.of_inputs.apply(&mut raw.inputs);
    }
    let mut lines = vec![
        format!("network: {shape}"),
        format!("parameters: {}", shape.params()),
        format!("rows: {}", training.len()),
    ];
    if let Targets::Classes { names, .. } = &raw.targets {
        let names: Vec<String> = names.iter().map(|name| plain(name)).collect();
        lines.push(format!("classes: {}", names.join(",")));
    }
    lines.push(format!("steps: {step}"));
    if let Some(made) = last {
        lines.push(format!("steps not converged: {}", made.unsolved));
        if let Some(held) = made.held {
            lines.push(format!("held to a rate of: {:.3}", held.rate.to_f64()));
        }
    }
    training.sort_unstable();
    let mut floats = Floats::new(&net);
    lines.extend(Score::of(&mut floats, &raw, training.iter().copied(), solve)?.lines(&raw, ""));
    if !validation.is_empty() {
        lines.push(format!("validation rows: {}", validation.len()));
        let score = Score::of(&mut floats, &raw, validation.iter().copied(), solve)?;
        lines.extend(score.lines(&raw, "validation "));
    }
    lines.push(format!("seconds: {:.1}", started.elapsed().as_secs_f64()));
    let bytes = net.to_bytes::<Vec<T>>(None).map_err(|error| error.to_string())?;
    if let Some(scaling_to) = &arguments.scaling_to {
        write(scaling_to, scaled.of_inputs.to_text().as_bytes())?;
    }
    write(&arguments.to, &bytes)?;
    lines.push(format!("bytes: {}", bytes.len()));
    println!("{}", lines.join("\n"));
    Ok(())
}

fn shape(arguments: &Train, table: &Table) -> Result<Shape, String> {
    let Train { widths, feedback, hidden, output, scalar, .. } = arguments;
    let widths: Vec<usize> =
        [table.columns].into_iter().chain(widths.iter().copied()).chain([table.outputs()]).collect();
    Shape::new(&widths, scalar, feedback.name, feedback.percent, hidden, output).ok_or_else(|| {
        format!(
            "there is no network of {} layers: 1 to {} are",
            widths.len() - 1,
            attractor::network::MAX_DEPTH
        )
    })
}

/// The size of the images, where they are to be shifted.
fn image(arguments: &Train, table: &Table) -> Result<Option<(usize, usize)>, String> {
    let size = arguments.image.or(table.image);
    if let Some((rows, columns)) = arguments.image
        && rows * columns != table.columns
    {
        return Err(format!(
            "images of {rows}x{columns} have {} pixels, and a row has {}",
            rows * columns,
            table.columns
        ));
    }
    match size {
        _ if arguments.shift == 0.0 => Ok(None),
        Some(size) => Ok(Some(size)),
        None => Err("`--shift` needs the size of the images: `--image ROWSxCOLUMNS`".to_owned()),
    }
}

/// The table, scaled by the rows to learn from.
fn scaled(arguments: &Train, table: &Table, training: &[usize]) -> Scaled {
    let columns = table.columns;
    let rows = |columns: usize, values: &[f64]| -> Vec<f64> {
        training.iter().flat_map(|row| values[row * columns..][..columns].to_vec()).collect()
    };
    let how = if arguments.no_scaling { Scale::None } else { arguments.scaling };
    let of_inputs = match how {
        Scale::Standard => Scaling::standard(columns, &rows(columns, &table.inputs)),
        Scale::Range => Scaling::range(columns, &rows(columns, &table.inputs)),
        Scale::None => Scaling::none(columns),
    };
    if let Some(column) = of_inputs.far()
        && arguments.scalar == "f32"
        && arguments.scaling_to.is_none()
    {
        eprintln!(
            "attractor: column {column} hardly varies beside its mean, and f32 loses its digits: subtract what it has in common, or take `--scalar f64`"
        );
    }
    let mut own = Scaled { targets: Vec::new(), of_inputs, of_targets: None };
    if let Targets::Numbers { columns, values } = &table.targets {
        own.targets.clone_from(values);
        // W of the last layer is also its feedback where that is tied, and what an activation bounds cannot be scaled.
        if how != Scale::None && arguments.output == "identity" && arguments.feedback.name != "tied" {
            let scaling = Scaling::standard(*columns, &rows(*columns, values));
            scaling.apply(&mut own.targets);
            own.of_targets = Some(scaling);
        }
    }
    own
}

/// The network that takes and gives numbers as they are.
fn unscaled<T: Scalar + Debug>(
    net: &DynNetwork<T>,
    shape: Shape,
    scaled: &Scaled,
    keep_inputs: bool,
) -> Result<DynNetwork<T>, String> {
    let mut layers = layers(net);
    if let Some(first) = layers.first_mut()
        && !keep_inputs
    {
        fold_inputs(first, &scaled.of_inputs);
    }
    if let Some(scaling) = &scaled.of_targets {
        fold_targets(&mut layers, &outputs_fed_back(&shape), scaling);
    }
    from_layers(shape, &layers)
}

/// A trainer for classes or for numbers.
enum Learner<T: Scalar>
where
    Vec<T>: Moments<Scalar = T>,
{
    Classes(DynTrainer<T, Adam<Vec<T>>, CrossEntropy<T>>, Vec<usize>),
    Numbers(DynTrainer<T, Adam<Vec<T>>, MeanSquared>, usize),
}

impl<T: Scalar + Debug> Learner<T>
where
    Vec<T>: Moments<Scalar = T>,
{
    fn new(arguments: &Train, net: DynNetwork<T>, table: &Table) -> Self {
        match &table.targets {
            Targets::Classes { labels, .. } => {
                let smoothing = T::from_f64(arguments.smoothing);
                let loss = if arguments.smoothing > 0.0 {
                    CrossEntropy::smoothed(smoothing)
                } else {
                    CrossEntropy::new()
                };
                Self::Classes(trainer(arguments, net, loss), labels.clone())
            }
            Targets::Numbers { columns, .. } => Self::Numbers(trainer(arguments, net, MeanSquared), *columns),
        }
    }

    fn network(&self) -> &DynNetwork<T> {
        match self {
            Self::Classes(trainer, _) => &trainer.network,
            Self::Numbers(trainer, _) => &trainer.network,
        }
    }

    /// Learns from these rows, whose inputs are given column after column. `room` is for numbers to learn.
    fn step(
        &mut self,
        rate: T,
        inputs: &[T],
        rows: &[usize],
        targets: &[f64],
        room: &mut Vec<T>,
    ) -> Result<Step<T>, DynError<T>> {
        let inputs = DMatrixView::from_slice(inputs, rows.len(), inputs.len() / rows.len());
        match self {
            Self::Classes(trainer, labels) => {
                trainer.rate = rate;
                let labels: Vec<usize> = rows.iter().map(|row| labels[*row]).collect();
                trainer.step(&inputs, labels.as_slice())
            }
            Self::Numbers(trainer, columns) => {
                trainer.rate = rate;
                let columns = *columns;
                room.clear();
                room.extend((0..columns).flat_map(|column| {
                    rows.iter().map(move |row| T::from_f64(targets[row * columns + column]))
                }));
                trainer.step(&inputs, &DMatrixView::from_slice(room, rows.len(), columns))
            }
        }
    }
}

fn trainer<T: Scalar, C>(arguments: &Train, net: DynNetwork<T>, loss: C) -> DynTrainer<T, Adam<Vec<T>>, C>
where
    Vec<T>: Moments<Scalar = T>,
{
    let solve = Solve::from(&arguments.solve);
    // Deltas are as small as the loss's gradient, so their tolerance goes by their size.
    let tolerance = T::from_f64(10.0 * solve.tolerance);
    let objective = Objective::new(loss)
        .solve(attractor::Stop::residual(tolerance).or_relative(tolerance).at_most(solve.sweeps))
        .method(Method::Implicit(attractor::Stop::relative(tolerance).at_most(solve.sweeps)));
    let adam = Adam::for_params(net.params()).decay(T::from_f64(arguments.decay));
    let mut trainer = DynTrainer::new(net, adam, objective, arguments.batch);
    trainer.hold = (!arguments.no_hold).then(|| T::from_f64(arguments.hold));
    trainer.clip = arguments.clip.map(T::from_f64);
    // It is counted and said at the end.
    trainer.unsolved = Unsolved::Skip;
    trainer
}

/// By how many pixels down and to the right.
fn shift(share: f64, random: &mut impl Rng) -> (isize, isize) {
    let mut one = || match random.random::<f64>() {
        x if x < share => -1,
        x if x < 2.0 * share => 1,
        _ => 0,
    };
    (one(), one())
}

/// A pixel of a shifted image. What comes in from outside is as dark as the corner at the top left.
fn pixel(own: &[f64], at: usize, ((rows, columns), (down, right)): ((usize, usize), (isize, isize))) -> f64 {
    let (row, column) = ((at / columns) as isize - down, (at % columns) as isize - right);
    let inside = (0..rows as isize).contains(&row) && (0..columns as isize).contains(&column);
    if inside { own[row as usize * columns + column as usize] } else { own[0] }
}

/// Two independent normal numbers (Box and Muller 1958).
fn normal(random: &mut impl Rng) -> [f64; 2] {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    let (sine, cosine) = (std::f64::consts::TAU * random.random::<f64>()).sin_cos();
    [radius * cosine, radius * sine]
}
