//! Networks of integers whose widths are chosen when running.

use super::{DynError, DynNetwork, DynStates};
use crate::certificate::NotFinite;
use crate::file::{Contents, FileError, length, put, read};
use crate::kernel::{Codes, DynMatrix, Facts, IntegerRows, Matrix, ShapeError};
use crate::network::{Layout, Shape};
use crate::quantized::{
    Digits, QuantizeError, Seen, SeenMut, Solve, SolveOnce, View, ViewMut, integer, label_of, units_of,
};
use crate::simd::{Backend, IntState};
use crate::solve::{SolveError, Solved};
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use nalgebra::{Dyn, RawStorage};

/// A [`Calibration`](crate::quantized::Calibration) of a [`DynNetwork`]: what samples say about inputs and states.
#[derive(Clone)]
pub struct DynCalibration {
    inputs: Vec<f32>,
    units: Vec<f32>,
    outputs: usize,
    largest: [f32; 3],
    samples: f32,
}

impl DynCalibration {
    /// Nothing seen yet.
    #[must_use]
    pub fn new<P: AsRef<[f32]>>(net: &DynNetwork<f32, P>) -> Self {
        Self {
            inputs: alloc::vec![0.0; net.inputs()],
            units: alloc::vec![0.0; net.units()],
            outputs: net.outputs(),
            largest: [0.0; 3],
            samples: 0.0,
        }
    }

    /// Takes in samples and their solutions, which `states` hold.
    ///
    /// # Errors
    /// [`DynError::Shape`] if they do not go together, [`DynError::Solve`] if one of the numbers is not finite; nothing is taken in then.
    pub fn observe<X: RawStorage<f32, Dyn, Dyn>, P: AsRef<[f32]> + AsMut<[f32]>>(
        &mut self,
        inputs: &nalgebra::Matrix<f32, Dyn, Dyn, X>,
        states: &DynStates<f32, P>,
    ) -> Result<(), DynError> {
        let (rows, columns) = inputs.shape();
        for (what, expected, found) in [
            ("values of a sample", self.inputs.len(), columns),
            ("samples", states.samples(), rows),
            ("states", self.units.len() * rows, states.as_slice().len()),
        ] {
            if expected != found {
                return Err(ShapeError { what, expected, found }.into());
            }
        }
        // One after the other, whatever the strides of the matrix are.
        let values: Vec<f32> = columns_of(inputs).collect();
        let hidden = self.units.len() - self.outputs;
        let Self { inputs, units, largest, samples, .. } = self;
        let mut seen = SeenMut { inputs, units, largest, samples };
        seen.observe(Matrix::new(&values, rows, columns)?, states.as_slice(), hidden).map_err(not_finite)
    }
}

fn not_finite(_: NotFinite) -> DynError {
    SolveError::NOT_FINITE.into()
}

/// All values, column after column.
fn columns_of<'a, X: RawStorage<f32, Dyn, Dyn>>(
    matrix: &'a DynMatrix<f32, X>,
) -> impl Iterator<Item = f32> + use<'a, X> {
    let (rows, columns) = matrix.shape();
    (0..rows * columns).map(move |at| matrix.get((at % rows, at / rows)).copied().unwrap_or(f32::NAN))
}

/// A [`Quantized`](crate::quantized::Quantized) network whose widths are chosen when running: weights of 8 bits, states of `i8` or `i16`.
///
/// ```
/// use attractor::dynamic::{DynCalibration, DynNetwork, DynQuantized, DynStates};
/// use attractor::nalgebra::DMatrixView;
/// use attractor::{Shape, Stop};
/// let shape = Shape::new(&[2, 3, 1], "f32", "adjacent", 0, "tanh", "identity").unwrap();
/// let mut net = DynNetwork::<f32>::zeros(shape)?;
/// net.params_mut().fill(0.25);
/// let samples = DMatrixView::from_slice(&[1.0, -0.5, 0.25, 0.75], 2, 2);
/// let mut states = DynStates::zeros(&net, 2);
/// net.solve(&samples, &mut states, Stop::residual(1e-5))?;
/// let mut calibration = DynCalibration::new(&net);
/// calibration.observe(&samples, &states)?;
/// let integers = DynQuantized::<i16>::new(&net, &calibration)?;
/// let mut state = integers.state();
/// integers.solve(&[1.0, 0.25], &mut state, 100)?;
/// let output = f32::from(integers.output(&state)[0]) * integers.output_unit();
/// assert!((output - states.output()[(0, 0)]).abs() < 0.01);
/// # Ok::<(), attractor::dynamic::DynError>(())
/// ```
#[derive(Clone)]
pub struct DynQuantized<H: IntState = i16> {
    shape: Shape,
    layout: Layout,
    /// W and U, packed; in the place of b, the exponents of the scales.
    weights: Vec<i8>,
    bias: Vec<i32>,
    first_bias: Vec<i32>,
    /// What one is worth: of the inputs, of the hidden layers, of the outputs.
    units: [f32; 3],
    scale: Vec<i16>,
    first_scale: Vec<i16>,
    first_exponent: Vec<i8>,
    states: PhantomData<H>,
}

impl<H: IntState> DynQuantized<H> {
    /// All weights zero, for a network of this shape, whatever its scalar.
    fn zeros(shape: Shape) -> Result<Self, DynError> {
        let layout = shape.layout();
        let layout =
            layout.ok_or(DynError::Unsupported { shape, why: "of more parameters than memory can have" })?;
        if layout.percent() > 0 {
            return Err(DynError::Unsupported {
                shape,
                why: "not quantised: tied feedback would be rounded once and read in two ways",
            });
        }
        let first = layout.layers().first().map_or(0, |layer| layer.width);
        let (params, units) = (layout.params(), layout.units());
        Ok(Self {
            shape: shape.with_scalar(H::CODE),
            layout,
            weights: alloc::vec![0; params],
            bias: alloc::vec![0; units],
            first_bias: alloc::vec![0; first],
            units: [1.0; 3],
            scale: alloc::vec![0; units],
            first_scale: alloc::vec![0; first],
            first_exponent: alloc::vec![0; first],
            states: PhantomData,
        })
    }

    /// The network in integers; see [`Quantized::new`](crate::quantized::Quantized::new).
    ///
    /// # Errors
    /// [`DynError::Quantize`]; [`DynError::Unsupported`] for tied feedback; [`DynError::Shape`] for the calibration of another network.
    pub fn new<P: AsRef<[f32]>>(
        net: &DynNetwork<f32, P>,
        calibration: &DynCalibration,
    ) -> Result<Self, DynError> {
        for (what, expected, found) in [
            ("inputs of the calibration", net.inputs(), calibration.inputs.len()),
            ("units of the calibration", net.units(), calibration.units.len()),
            ("outputs of the calibration", net.outputs(), calibration.outputs),
        ] {
            if expected != found {
                return Err(ShapeError { what, expected, found }.into());
            }
        }
        let mut own = Self::zeros(*net.shape())?;
        let bounded =
            [net.shape().hidden, net.shape().output].map(|code| Facts::<f32>::of(code).bound.is_some());
        own.units = units_of::<H>(calibration.samples, calibration.largest, bounded)?;
        let seen =
            Seen { inputs: &calibration.inputs, units: &calibration.units, samples: calibration.samples };
        let mut view = ViewMut {
            layout: &own.layout,
            weights: &mut own.weights,
            bias: &mut own.bias,
            scale: &mut own.scale,
            first_bias: &mut own.first_bias,
            first_scale: &mut own.first_scale,
            first_exponent: &mut own.first_exponent,
            units: own.units,
            digits: const { Digits::of::<H>() },
        };
        view.fill(net.params(), seen)?;
        Ok(own)
    }

    /// All its type would say.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }
    /// What an input of 1 is worth.
    #[must_use]
    pub const fn input_unit(&self) -> f32 {
        self.units[0]
    }
    /// What a hidden state of 1 is worth.
    #[must_use]
    pub const fn hidden_unit(&self) -> f32 {
        self.units[1]
    }
    /// What an output of 1 is worth.
    #[must_use]
    pub const fn output_unit(&self) -> f32 {
        self.units[2]
    }
    /// A state at zero: one integer a unit.
    #[must_use]
    pub fn state(&self) -> Vec<H> {
        alloc::vec![H::default(); self.layout.units()]
    }
    /// The output layer of a state.
    #[must_use]
    pub fn output<'a>(&self, state: &'a [H]) -> &'a [H] {
        self.layout.layers().last().and_then(|last| state.get(last.units..)).unwrap_or_default()
    }
    /// The output that is largest, the first of several.
    #[must_use]
    pub fn label(&self, state: &[H]) -> usize {
        label_of(self.output(state))
    }
    /// The network of floating-point numbers that this one is, but for the rounding of states and sums.
    ///
    /// # Errors
    /// [`DynError::Unsupported`] if memory cannot have as many parameters.
    pub fn to_network(&self) -> Result<DynNetwork, DynError> {
        let mut net = DynNetwork::zeros(self.shape.with_scalar(crate::network::F32))?;
        self.view().to_params(net.params_mut());
        Ok(net)
    }

    /// Rounds one sample to integers, and sweeps from whatever `state` holds until no unit changes by more than 1; at the latest after `limit` sweeps.
    ///
    /// # Errors
    /// [`DynError::Shape`] for a sample or a state of another width, [`DynError::Solve`] if an input is not finite; the state is then unchanged.
    /// `NotConverged` if the limit is reached first; the state is kept.
    pub fn solve(&self, input: &[f32], state: &mut [H], limit: usize) -> Result<Solved<i32>, DynError> {
        let inputs = self.layout.layers().first().map_or(0, |layer| layer.inputs);
        for (what, expected, found) in [
            ("values of a sample", inputs, input.len()),
            ("units of the state", self.layout.units(), state.len()),
        ] {
            if expected != found {
                return Err(ShapeError { what, expected, found }.into());
            }
        }
        let input: Result<Vec<H>, _> = input.iter().map(|x| integer(*x, self.units[0])).collect();
        let input = input.map_err(not_finite)?;
        let mut injection = alloc::vec![0; self.first_bias.len()];
        let ends = Codes::new(self.shape.hidden, self.shape.output);
        let (view, injection, input) = (self.view(), &mut injection[..], &input[..]);
        let solve = Solve { view, input, state, injection, enough: 1, limit, ends };
        let solved = H::once::<SolveOnce>((Backend::best(), solve));
        if solved.residual <= 1 && limit > 0 {
            return Ok(solved);
        }
        Err(SolveError::NotConverged { sweeps: solved.sweeps, residual: solved.residual as f32 }.into())
    }

    fn view(&self) -> View<'_> {
        View {
            layout: &self.layout,
            weights: &self.weights,
            bias: &self.bias,
            scale: &self.scale,
            first: IntegerRows {
                bias: &self.first_bias,
                scale: &self.first_scale,
                exponent: &self.first_exponent,
            },
            units: self.units,
            digits: const { Digits::of::<H>() },
        }
    }

    /// The parts of its file and where they lie behind the header, in the order and with the gaps that
    /// [`Quantized`](crate::quantized::Quantized) has in memory.
    fn places(&self) -> [(usize, usize); 7] {
        let (first, units) = (self.first_bias.len(), self.bias.len());
        let lengths = [self.weights.len(), 4 * units, 4 * first, 12, 2 * units, 2 * first, first];
        let mut end = 0;
        // Only the first is of bytes with something wider behind it.
        lengths.map(|length| {
            let start = end;
            end = if start == 0 { length.next_multiple_of(4) } else { start + length };
            (start, length)
        })
    }

    /// The network's model file: the bytes that [`Quantized::to_bytes`](crate::quantized::Quantized::to_bytes) writes.
    ///
    /// # Errors
    /// [`DynError::File`], which does not happen to what [`new`](Self::new) makes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DynError> {
        let narrow = |integers: &[i8]| integers.iter().flat_map(|i| i.to_le_bytes()).collect::<Vec<u8>>();
        let short = |integers: &[i16]| integers.iter().flat_map(|i| i.to_le_bytes()).collect::<Vec<u8>>();
        let long = |integers: &[i32]| integers.iter().flat_map(|i| i.to_le_bytes()).collect::<Vec<u8>>();
        let parts = [
            narrow(&self.weights),
            long(&self.bias),
            long(&self.first_bias),
            self.units.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
            short(&self.scale),
            short(&self.first_scale),
            narrow(&self.first_exponent),
        ];
        let mut placed = [(0, &[][..]); 7];
        for ((to, part), (start, _)) in placed.iter_mut().zip(&parts).zip(self.places()) {
            *to = (start, part);
        }
        let mut file = alloc::vec![0; length(&self.shape, false) as usize];
        put(&self.shape, &placed, None, &mut file, false)?;
        Ok(file)
    }

    /// The network of integers in a model file, whatever its widths. The whole file is checked, and that no sum overflows.
    ///
    /// # Errors
    /// [`DynError::File`] if the file is not whole or holds states of another kind, [`DynError::Unsupported`] for tied feedback.
    pub fn from_bytes(file: &[u8]) -> Result<Self, DynError> {
        let contents = read(file)?;
        let expected = contents.shape().with_scalar(H::CODE);
        if *contents.shape() != expected {
            return Err(FileError::Shape { expected, found: *contents.shape() }.into());
        }
        let mut own = Self::zeros(expected)?;
        own.take(&contents, file).ok_or(FileError::Malformed)?;
        own.view().check().map_err(|_: QuantizeError| FileError::Malformed)?;
        Ok(own)
    }

    fn take(&mut self, contents: &Contents, file: &[u8]) -> Option<()> {
        let start = contents.params_start();
        let [weights, bias, first_bias, units, scale, first_scale, first_exponent] =
            self.places().map(|(at, length)| file.get(start + at..start + at + length));
        let narrow = |to: &mut [i8], from: &[u8]| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = i8::from_le_bytes([*from]));
        };
        let short = |to: &mut [i16], from: &[u8]| {
            to.iter_mut().zip(from.as_chunks().0).for_each(|(to, from)| *to = i16::from_le_bytes(*from));
        };
        let long = |to: &mut [i32], from: &[u8]| {
            to.iter_mut().zip(from.as_chunks().0).for_each(|(to, from)| *to = i32::from_le_bytes(*from));
        };
        narrow(&mut self.weights, weights?);
        long(&mut self.bias, bias?);
        long(&mut self.first_bias, first_bias?);
        self.units
            .iter_mut()
            .zip(units?.as_chunks().0)
            .for_each(|(to, from)| *to = f32::from_le_bytes(*from));
        short(&mut self.scale, scale?);
        short(&mut self.first_scale, first_scale?);
        narrow(&mut self.first_exponent, first_exponent?);
        Some(())
    }
}

impl fmt::Debug for DynCalibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynCalibration({} samples, largest {:?})", self.samples, self.largest)
    }
}

impl<H: IntState> fmt::Debug for DynQuantized<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynQuantized({}, units = {:?})", self.shape, self.units)
    }
}
