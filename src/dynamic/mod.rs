//! Networks whose widths are chosen when running: from a model file, a configuration, a command line.
//!
//! A [`Network`](crate::Network) has its widths in its type, and so no allocation and no check of shapes when running. Where the widths are not
//! known while compiling, a [`DynNetwork`] does the same work with the same bits: it is a [`Shape`] and a slice of parameters, in memory of its own
//! (feature `alloc`) or of the caller's. Its batches are nalgebra's dynamic matrices, a row a sample, of whatever size and strides.
//!
//! Not on processors without vectors (Cortex-M, RV32), where it does not compile: there an engine is compiled for every network.
//!
//! ```
//! # #[cfg(feature = "alloc")] {
//! use attractor::dynamic::{DynNetwork, DynStates, DynTrainer};
//! use attractor::learn::{Adam, MeanSquared, Objective};
//! use attractor::nalgebra::DMatrixView;
//! use attractor::{Shape, Stop};
//!
//! let widths = [2, 8, 1]; // as a file or a command line has them
//! let shape = Shape::new(&widths, "f32", "adjacent", 0, "tanh", "identity").expect("a network");
//! let mut net = DynNetwork::<f32>::zeros(shape)?;
//! for (i, w) in net.params_mut().iter_mut().enumerate() {
//!     *w = 0.3 * (i as f32).sin();
//! }
//! let inputs = DMatrixView::from_slice(&[1.0, 0.5, -1.0, 0.0], 2, 2); // two samples, (1, -1) and (0.5, 0)
//! let wanted = DMatrixView::from_slice(&[0.5, 0.25], 2, 1);
//! let adam = Adam::for_params(net.params());
//! let mut trainer = DynTrainer::new(net, adam, Objective::new(MeanSquared), 2);
//! trainer.rate = 1e-2;
//! for _ in 0..200 {
//!     trainer.step(&inputs, &wanted)?;
//! }
//! let net = &trainer.network;
//! let mut states = DynStates::zeros(net, 2);
//! net.solve(&inputs, &mut states, Stop::residual(1e-5))?;
//! assert!((states.output()[(0, 0)] - 0.5).abs() < 0.05);
//! # }
//! # Ok::<(), attractor::dynamic::DynError>(())
//! ```

#![allow(clippy::result_large_err, reason = "an error that names a shape, without allocation")]

mod certificate;
mod error;
#[cfg(feature = "alloc")]
mod file;
#[cfg(feature = "alloc")]
mod integers;
mod learn;
mod states;
#[cfg(feature = "alloc")]
mod trainer;

pub use certificate::DynCertificate;
pub use error::DynError;
#[cfg(feature = "alloc")]
#[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
pub use integers::{DynCalibration, DynQuantized};
pub use learn::DynWorkspace;
pub use states::DynStates;
#[cfg(feature = "alloc")]
pub use trainer::DynTrainer;

use crate::certificate::{Bounds, eta, kappa};
use crate::kernel::{Chosen, DynMatrix, Facts, Matrix, MatrixMut, Scalar, ShapeError, TYPED};
use crate::network::{LayerLayout, Layout, Parameters, ParametersMut, Shape};
use crate::simd::Backend;
use crate::solve::{NonFinite, Runner, Solved, Stop, in_weights, solve_flat};
use crate::threads::Threads;
use core::fmt;
use nalgebra::{DMatrixView, DMatrixViewMut, Dyn, RawStorage};

/// Memory of a network's own.
#[cfg(feature = "alloc")]
pub(crate) type Own<T> = crate::network::Aligned<T>;
/// The memory a network has if none is named: without the feature `alloc` there is none that it could make.
#[cfg(not(feature = "alloc"))]
pub(crate) type Own<T> = [T; 0];

/// A network whose widths are chosen when running. `P` is where its parameters are: memory of its own, aligned to 64 bytes (feature
/// `alloc`), or anything that is a slice.
///
/// The layout of the parameters is that of [`Network::params`](crate::Network::params), and so are the bits of all it computes.
///
/// ```
/// use attractor::Shape;
/// use attractor::dynamic::DynNetwork;
/// let shape = Shape::new(&[2, 3, 1], "f32", "adjacent", 0, "tanh", "identity").unwrap();
/// let memory = [0.0_f32; 16]; // W, U and b of 3 x (2 + 1 + 1), and 1 x (3 + 1)
/// let net = DynNetwork::new(shape, &memory[..])?;
/// assert_eq!((net.inputs(), net.units(), net.outputs()), (2, 4, 1));
/// assert_eq!(net.layer(1).unwrap().w.shape(), (3, 2));
/// let error = DynNetwork::new(shape, &memory[..15]).unwrap_err();
/// assert_eq!(error.to_string(), "parameters: expected 16, found 15");
/// # Ok::<(), attractor::dynamic::DynError>(())
/// ```
#[derive(Clone)]
pub struct DynNetwork<T: Scalar = f32, P = Own<T>> {
    shape: Shape,
    layout: Layout,
    hidden: Facts<T>,
    output: Facts<T>,
    params: P,
}

/// W, U and b of a layer of a [`DynNetwork`].
#[derive(Clone, Copy, Debug)]
pub struct DynLayer<'a, T: nalgebra::Scalar> {
    /// `units x` those of the layer below, or inputs.
    pub w: DMatrixView<'a, T>,
    /// `units x` those that are fed back, the nearest layer first; no columns if none are.
    pub u: DMatrixView<'a, T>,
    /// One a unit.
    pub b: &'a [T],
}

/// W, U and b of a layer of a [`DynNetwork`], to change: `w.copy_from(&matrix)` takes them from any matrix of nalgebra's, row-major ones too.
#[derive(Debug)]
pub struct DynLayerMut<'a, T: nalgebra::Scalar> {
    /// As [`DynLayer::w`].
    pub w: DMatrixViewMut<'a, T>,
    /// As [`DynLayer::u`].
    pub u: DMatrixViewMut<'a, T>,
    /// As [`DynLayer::b`].
    pub b: &'a mut [T],
}

impl<T: Scalar, P: AsRef<[T]>> DynNetwork<T, P> {
    /// A network of this shape with these parameters, layer after layer, each W, U, b, column-major.
    ///
    /// # Errors
    /// [`DynError::Shape`] if they are not as many as the shape has; [`DynError::Unsupported`] for a shape of another scalar than `T`.
    pub fn new(shape: Shape, params: P) -> Result<Self, DynError<T>> {
        let layout = layout::<T>(&shape)?;
        let found = params.as_ref().len();
        if found != layout.params() {
            return Err(ShapeError { what: "parameters", expected: layout.params(), found }.into());
        }
        let (hidden, output) = (Facts::of(shape.hidden), Facts::of(shape.output));
        Ok(Self { shape, layout, hidden, output, params })
    }

    /// All its type would say.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }
    /// Where W, U and b of every layer lie among the parameters.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }
    /// Values of a sample.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.layout.layers().first().map_or(0, |layer| layer.inputs)
    }
    /// Units in all layers.
    #[must_use]
    pub const fn units(&self) -> usize {
        self.layout.units()
    }
    /// Units in the last layer.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.layout.layers().last().map_or(0, |layer| layer.width)
    }
    /// All parameters, layer after layer, each W, U, b, column-major.
    #[must_use]
    pub fn params(&self) -> &[T] {
        self.params.as_ref()
    }
    /// Layer `l`, counted from 1; nothing if there is none.
    #[must_use]
    pub fn layer(&self, l: usize) -> Option<DynLayer<'_, T>> {
        let layer = self.layout.layers().get(l.checked_sub(1)?)?;
        let part = |first: usize, count: usize| self.params().get(first..first + count);
        let matrix = |first, columns| {
            Some(DMatrixView::from_slice(part(first, layer.width * columns)?, layer.width, columns))
        };
        Some(DynLayer {
            w: matrix(layer.params, layer.inputs)?,
            u: matrix(layer.u(), layer.feedback)?,
            b: part(layer.b(), layer.width)?,
        })
    }

    /// Sweeps from whatever `states` hold until every sample meets `stop`; see [`Network::solve`](crate::Network::solve).
    ///
    /// `inputs`: a row a sample, as many columns as the network has inputs. If there were another number of samples in `states`, they start from zero.
    ///
    /// # Errors
    /// [`DynError::Shape`] if the inputs are of another width, or more samples than there is room for; the states are then unchanged.
    /// [`DynError::Solve`] as [`Network::solve`](crate::Network::solve) has it.
    pub fn solve<X: RawStorage<T, Dyn, Dyn>, Q: AsRef<[T]> + AsMut<[T]>>(
        &self,
        inputs: &nalgebra::Matrix<T, Dyn, Dyn, X>,
        states: &mut DynStates<T, Q>,
        stop: Stop<T>,
    ) -> Result<Solved<T>, DynError<T>> {
        self.on(Backend::best()).solve(inputs, states, stop)
    }

    /// The network on a chosen backend, and, by [`Runner::threads`], on threads.
    #[must_use]
    pub fn on(&self, backend: Backend) -> Runner<'_, Self> {
        Runner { network: self, backend, threads: Threads::One }
    }

    /// The first weight or bias that is a NaN or an infinity; see [`Network::non_finite`](crate::Network::non_finite).
    #[must_use]
    pub fn non_finite(&self) -> Option<NonFinite> {
        in_weights(self.parameters().ok()?)
    }

    pub(crate) fn parameters(&self) -> Result<Parameters<'_, T>, DynError<T>> {
        let params = self.params();
        Parameters::new(params, &self.layout).map_err(|error| length("parameters", error))
    }
    pub(crate) fn ends(&self) -> Chosen<T> {
        Chosen::of(&self.hidden, &self.output)
    }
    /// What is known of the activations, and how much sums round.
    pub(crate) fn known(&self) -> (Bounds<T>, (T, T)) {
        let terms = self.layout.most_terms();
        let error = f64::max(self.hidden.error, self.output.error);
        (Bounds::of_facts(&self.hidden, &self.output), (kappa(terms), eta(error, terms)))
    }
}

impl<T: Scalar, P: AsRef<[T]> + AsMut<[T]>> DynNetwork<T, P> {
    /// All parameters, to change.
    #[must_use]
    pub fn params_mut(&mut self) -> &mut [T] {
        self.params.as_mut()
    }
    /// The layout, and all parameters to change.
    #[cfg(feature = "alloc")]
    pub(super) fn layout_and_params(&mut self) -> (&Layout, &mut [T]) {
        (&self.layout, self.params.as_mut())
    }
    /// Layer `l`, counted from 1, to change; nothing if there is none.
    #[must_use]
    pub fn layer_mut(&mut self, l: usize) -> Option<DynLayerMut<'_, T>> {
        let LayerLayout { inputs, width, feedback, params, .. } =
            *self.layout.layers().get(l.checked_sub(1)?)?;
        let rest = self.params.as_mut().get_mut(params..)?;
        let (w, rest) = rest.split_at_mut_checked(width * inputs)?;
        let (u, rest) = rest.split_at_mut_checked(width * feedback)?;
        Some(DynLayerMut {
            w: DMatrixViewMut::from_slice(w, width, inputs),
            u: DMatrixViewMut::from_slice(u, width, feedback),
            b: rest.get_mut(..width)?,
        })
    }
    /// Draws W and U from `random` and sets b to zero: [`Network::initialize`](crate::Network::initialize).
    #[cfg(feature = "rand_core")]
    #[cfg_attr(docsrs, doc(cfg(feature = "rand_core")))]
    pub fn initialize<R: rand_core::Rng + ?Sized>(&mut self, random: &mut R) {
        let gain = self.hidden.gain;
        if let Ok(mut params) = self.parameters_mut() {
            crate::learn::initialize(&mut params, gain, random);
        }
    }

    pub(crate) fn parameters_mut(&mut self) -> Result<ParametersMut<'_, T>, DynError<T>> {
        let params = self.params.as_mut();
        ParametersMut::new(params, &self.layout).map_err(|error| length("parameters", error))
    }
}

#[cfg(feature = "alloc")]
impl<T: Scalar> DynNetwork<T> {
    /// A network of this shape, all parameters zero.
    ///
    /// # Errors
    /// [`DynError::Unsupported`] for a shape of another scalar than `T`, or of more parameters than memory can have.
    #[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
    pub fn zeros(shape: Shape) -> Result<Self, DynError<T>> {
        let params = layout::<T>(&shape)?.params();
        Self::new(shape, Own::zeros(params))
    }
}

impl<T: Scalar, P: AsRef<[T]>> Runner<'_, DynNetwork<T, P>> {
    /// [`DynNetwork::solve`] on this backend.
    ///
    /// # Errors
    /// As there.
    pub fn solve<X: RawStorage<T, Dyn, Dyn>, Q: AsRef<[T]> + AsMut<[T]>>(
        self,
        inputs: &nalgebra::Matrix<T, Dyn, Dyn, X>,
        states: &mut DynStates<T, Q>,
        stop: Stop<T>,
    ) -> Result<Solved<T>, DynError<T>> {
        let net = self.network;
        states.fits(net, inputs.shape())?;
        let (input, states) = states.take(inputs)?;
        let states = MatrixMut::new(states, input.rows(), net.units())?;
        let params = net.parameters()?;
        let of = (params, net.ends(), net.shape());
        Ok(solve_flat(of, input, states, stop, (self.backend, self.threads))?)
    }
}

/// The layout of a network of this shape, if there can be one of this scalar.
fn layout<T: Scalar>(shape: &Shape) -> Result<Layout, DynError<T>> {
    const {
        assert!(
            !TYPED || size_of::<T>() == 0,
            "networks whose widths are chosen when running need a processor with vectors: elsewhere activations are compiled into each network"
        );
    }
    if shape.is_quantized() || shape.scalar_bytes() != size_of::<T>() {
        return Err(DynError::Unsupported { shape: *shape, why: "of another scalar" });
    }
    shape
        .layout()
        .ok_or(DynError::Unsupported { shape: *shape, why: "of more parameters than memory can have" })
}

/// A wrong length, by its name.
fn length<T>(what: &'static str, error: crate::LengthError) -> DynError<T> {
    ShapeError { what, expected: error.expected, found: error.found }.into()
}

/// Samples as the kernels read them: where they are, or copied to `room` if the values of a column, or of the only sample, do not lie side by side.
fn samples<'a, T: Scalar, X: RawStorage<T, Dyn, Dyn>>(
    inputs: &'a DynMatrix<T, X>,
    room: &'a mut [T],
) -> Result<Matrix<'a, T>, ShapeError> {
    let (rows, columns) = inputs.shape();
    if let Some(matrix) = Matrix::of_dynamic(inputs)
        && (rows > 1 || matrix.stride() == 1)
    {
        return Ok(matrix);
    }
    let found = room.len();
    let Some(room) = room.get_mut(..rows * columns) else {
        return Err(ShapeError { what: "room for inputs", expected: rows * columns, found });
    };
    for (at, to) in room.iter_mut().enumerate() {
        *to = inputs.get((at % rows, at / rows)).copied().unwrap_or(T::NAN);
    }
    Matrix::new(room, rows, columns)
}

impl<T: Scalar, P> fmt::Debug for DynNetwork<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynNetwork({})", self.shape)
    }
}
