//! Networks out of model files, whatever their scalar, and what they answer.

use crate::files::{about, read};
use crate::model::Model;
use crate::scaling::Layer;
use attractor::dynamic::{DynCertificate, DynError, DynNetwork, DynQuantized, DynStates};
use attractor::kernel::Scalar;
use attractor::nalgebra::DMatrixView;
use attractor::simd::IntState;
use attractor::{Shape, SolveError, Stop};
use std::fmt::Debug;
use std::path::Path;

/// A network, in the type that goes with its scalar.
pub(crate) enum Net {
    F32(DynNetwork<f32>, Option<DynCertificate<f32>>),
    F64(DynNetwork<f64>, Option<DynCertificate<f64>>),
    I16(DynQuantized<i16>),
    I8(DynQuantized<i8>),
}

/// Runs code on a network of floats, whichever, with its certificate; integers are refused with a text.
macro_rules! with_floats {
    ($net:expr, ($network:pat, $certificate:pat) => $run:expr, else $refusal:expr) => {
        match $net {
            $crate::net::Net::F32($network, $certificate) => $run,
            $crate::net::Net::F64($network, $certificate) => $run,
            _ => Err($refusal.to_string()),
        }
    };
}
pub(crate) use with_floats;

/// Of a model file: its network, and the shape that is stored.
pub(crate) fn load(path: &Path) -> Result<(Net, Shape), String> {
    let bytes = read(path)?;
    let model = Model::from_bytes(&bytes).map_err(|error| about(path, error))?;
    let said = |error: DynError| about(path, error);
    let net = match model.shape.scalar() {
        // Weights of 16 bits become the f32 they are.
        "f32" | "bf16" => {
            let (net, certificate) = DynNetwork::from_bytes(&bytes).map_err(said)?;
            Net::F32(net, certificate)
        }
        "f64" => {
            let (net, certificate) = DynNetwork::from_bytes(&bytes).map_err(|error| about(path, error))?;
            Net::F64(net, certificate)
        }
        "i16" => Net::I16(DynQuantized::from_bytes(&bytes).map_err(said)?),
        _ => Net::I8(DynQuantized::from_bytes(&bytes).map_err(said)?),
    };
    Ok((net, model.shape))
}

/// What a network makes of a row.
pub(crate) struct Answer {
    pub(crate) outputs: Vec<f64>,
    pub(crate) sweeps: usize,
    pub(crate) converged: bool,
}

impl Answer {
    /// The class with the largest output, the first of several.
    pub(crate) fn label(&self) -> usize {
        let outputs = &self.outputs;
        (1..outputs.len()).fold(0, |best, class| if outputs[class] > outputs[best] { class } else { best })
    }
}

/// How well and how long to solve.
#[derive(Clone, Copy)]
pub(crate) struct Solve {
    pub(crate) tolerance: f64,
    pub(crate) sweeps: usize,
}

impl Solve {
    /// A residual of this, or of this part of the largest activation: outputs may be in any units.
    pub(crate) fn stop<T: Scalar>(self) -> Stop<T> {
        let tolerance = T::from_f64(self.tolerance);
        Stop::residual(tolerance).or_relative(tolerance).at_most(self.sweeps)
    }
}

/// Something that answers row after row.
pub(crate) trait Answers {
    fn inputs(&self) -> usize;
    fn outputs(&self) -> usize;
    fn answer(&mut self, row: &[f64], solve: Solve) -> Result<Answer, String>;
}

/// A network and room for one sample.
pub(crate) struct Floats<'a, T: Scalar> {
    net: &'a DynNetwork<T>,
    states: DynStates<T>,
    input: Vec<T>,
}

impl<'a, T: Scalar> Floats<'a, T> {
    pub(crate) fn new(net: &'a DynNetwork<T>) -> Self {
        Self { net, states: DynStates::zeros(net, 1), input: Vec::new() }
    }
    /// The activations of the last answer.
    pub(crate) fn states(&self) -> &[T] {
        self.states.as_slice()
    }
}

impl<T: Scalar + Debug> Answers for Floats<'_, T> {
    fn inputs(&self) -> usize {
        self.net.inputs()
    }
    fn outputs(&self) -> usize {
        self.net.outputs()
    }
    fn answer(&mut self, row: &[f64], solve: Solve) -> Result<Answer, String> {
        self.input.clear();
        self.input.extend(row.iter().map(|value| T::from_f64(*value)));
        self.states.reset();
        let input = DMatrixView::from_slice(&self.input, 1, row.len());
        let (sweeps, converged) = match self.net.solve(&input, &mut self.states, solve.stop()) {
            Ok(solved) => (solved.sweeps, true),
            // What the sweeps came to is an answer all the same; it is counted.
            Err(DynError::Solve(SolveError::NotConverged { sweeps, .. })) => (sweeps, false),
            Err(error) => return Err(error.to_string()),
        };
        let outputs = self.states.output().iter().map(|output| output.to_f64()).collect();
        Ok(Answer { outputs, sweeps, converged })
    }
}

/// A network of integers and its state.
pub(crate) struct Integers<'a, H: IntState> {
    net: &'a DynQuantized<H>,
    state: Vec<H>,
}

impl<'a, H: IntState> Integers<'a, H> {
    pub(crate) fn new(net: &'a DynQuantized<H>) -> Self {
        Self { net, state: net.state() }
    }
}

impl<H: IntState + Into<f64>> Answers for Integers<'_, H> {
    fn inputs(&self) -> usize {
        self.net.shape().widths().first().map_or(0, |width| *width as usize)
    }
    fn outputs(&self) -> usize {
        self.net.output(&self.state).len()
    }
    fn answer(&mut self, row: &[f64], solve: Solve) -> Result<Answer, String> {
        self.state.fill(H::default());
        let input: Vec<f32> = row.iter().map(|value| *value as f32).collect();
        let (sweeps, converged) = match self.net.solve(&input, &mut self.state, solve.sweeps) {
            Ok(solved) => (solved.sweeps, true),
            Err(DynError::Solve(SolveError::NotConverged { sweeps, .. })) => (sweeps, false),
            Err(error) => return Err(error.to_string()),
        };
        let unit = f64::from(self.net.output_unit());
        let outputs =
            self.net.output(&self.state).iter().map(|output| unit * Into::<f64>::into(*output)).collect();
        Ok(Answer { outputs, sweeps, converged })
    }
}

/// Runs code with what answers for a network.
pub(crate) fn answering<R>(net: &Net, run: impl FnOnce(&mut dyn Answers) -> R) -> R {
    match net {
        Net::F32(net, _) => run(&mut Floats::new(net)),
        Net::F64(net, _) => run(&mut Floats::new(net)),
        Net::I16(net) => run(&mut Integers::new(net)),
        Net::I8(net) => run(&mut Integers::new(net)),
    }
}

/// All layers, in `f64`.
pub(crate) fn layers<T: Scalar>(net: &DynNetwork<T>) -> Vec<Layer> {
    let wide = |values: &mut dyn Iterator<Item = &T>| values.map(|value| value.to_f64()).collect();
    (1..)
        .map_while(|l| net.layer(l))
        .map(|layer| Layer {
            w: wide(&mut layer.w.iter()),
            u: wide(&mut layer.u.iter()),
            b: wide(&mut layer.b.iter()),
        })
        .collect()
}

/// The network of these layers.
pub(crate) fn from_layers<T: Scalar + Debug>(
    shape: Shape,
    layers: &[Layer],
) -> Result<DynNetwork<T>, String> {
    let weights = || layers.iter().flat_map(|Layer { w, u, b }| w.iter().chain(u).chain(b));
    if !weights().all(|weight| T::from_f64(*weight).to_f64().is_finite()) {
        return Err(format!("a weight is too large for {}", shape.scalar()));
    }
    let mut net = DynNetwork::zeros(shape).map_err(|error: DynError<T>| error.to_string())?;
    for (to, weight) in net.params_mut().iter_mut().zip(weights()) {
        *to = T::from_f64(*weight);
    }
    Ok(net)
}

/// Of every layer but the last, which columns of U are the outputs', if any are. The nearest layer stands first.
pub(crate) fn outputs_fed_back(shape: &Shape) -> Vec<Option<usize>> {
    let widths = shape.widths();
    let outputs = u64::from(widths.last().copied().unwrap_or(0));
    let units_above = |l: usize| widths.iter().skip(l + 1).map(|width| u64::from(*width)).sum::<u64>();
    (1..widths.len() - 1)
        .map(|l| {
            let fed_back = shape.feedback_units(l);
            (fed_back > 0 && fed_back == units_above(l)).then(|| (fed_back - outputs) as usize)
        })
        .collect()
}
