//! States of as many samples as there are.

use super::{DynNetwork, Own, samples};
use crate::kernel::{DynMatrix, Matrix, Scalar, ShapeError};
use core::fmt;
use nalgebra::{DMatrixView, Dyn, RawStorage};

/// The activations of a [`DynNetwork`] for up to so many samples, and room for their inputs. `P` is where they are: memory of its own, or
/// anything that is a slice.
#[derive(Clone)]
pub struct DynStates<T: Scalar = f32, P = Own<T>> {
    pub(super) widths: Widths,
    /// Samples there is room for.
    capacity: usize,
    /// Samples there are.
    samples: usize,
    /// States first, then inputs.
    memory: P,
    scalar: core::marker::PhantomData<T>,
}

/// What states have to know of their network.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Widths {
    pub(super) inputs: usize,
    pub(super) units: usize,
    pub(super) outputs: usize,
}

impl Widths {
    pub(super) fn of<T: Scalar, P: AsRef<[T]>>(net: &DynNetwork<T, P>) -> Self {
        Self { inputs: net.inputs(), units: net.units(), outputs: net.outputs() }
    }
}

#[cfg(feature = "alloc")]
impl<T: Scalar> DynStates<T> {
    /// States of up to so many samples, all activations zero.
    #[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
    #[must_use]
    pub fn zeros<N: AsRef<[T]>>(net: &DynNetwork<T, N>, samples: usize) -> Self {
        let memory = Own::zeros(DynStates::<T>::length(net, samples));
        Self {
            widths: Widths::of(net),
            capacity: samples,
            samples,
            memory,
            scalar: core::marker::PhantomData,
        }
    }
}

impl<T: Scalar> DynStates<T> {
    /// Scalars that states of up to so many samples take.
    #[must_use]
    pub fn length<N: AsRef<[T]>>(net: &DynNetwork<T, N>, samples: usize) -> usize {
        samples.saturating_mul(net.units().saturating_add(net.inputs()))
    }
}

impl<T: Scalar, P: AsRef<[T]> + AsMut<[T]>> DynStates<T, P> {
    /// States of up to so many samples in this memory, which is set to zero.
    ///
    /// ```
    /// use attractor::dynamic::{DynNetwork, DynStates};
    /// use attractor::nalgebra::DMatrixView;
    /// use attractor::{Shape, Stop};
    /// let shape = Shape::new(&[2, 3, 1], "f32", "adjacent", 0, "tanh", "identity").unwrap();
    /// let (params, mut memory) = ([0.0_f32; 16], [0.0; 6]);
    /// let net = DynNetwork::new(shape, &params[..])?;
    /// let mut states = DynStates::new(&net, 1, &mut memory[..])?;
    /// net.solve(&DMatrixView::from_slice(&[1.0, -0.5], 1, 2), &mut states, Stop::residual(1e-5))?;
    /// assert_eq!(states.output()[(0, 0)], 0.0);
    /// # Ok::<(), attractor::dynamic::DynError>(())
    /// ```
    ///
    /// # Errors
    /// [`ShapeError`] unless it is as long as [`length`](DynStates::length) says.
    pub fn new<N: AsRef<[T]>>(
        net: &DynNetwork<T, N>,
        samples: usize,
        mut memory: P,
    ) -> Result<Self, ShapeError> {
        let (expected, found) = (DynStates::<T>::length(net, samples), memory.as_ref().len());
        if expected != found {
            return Err(ShapeError { what: "memory of states", expected, found });
        }
        memory.as_mut().fill(T::ZERO);
        let widths = Widths::of(net);
        Ok(Self { widths, capacity: samples, samples, memory, scalar: core::marker::PhantomData })
    }

    /// Samples there are: those of the last solve.
    #[must_use]
    pub const fn samples(&self) -> usize {
        self.samples
    }
    /// All activations: unit after unit, the samples of a unit side by side.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        self.memory.as_ref().get(..self.samples * self.widths.units).unwrap_or_default()
    }
    /// All activations, to change.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        self.memory.as_mut().get_mut(..self.samples * self.widths.units).unwrap_or_default()
    }
    /// Sets all activations to zero.
    pub fn reset(&mut self) {
        self.as_mut_slice().fill(T::ZERO);
    }
    /// The output layer, `samples x outputs`, a row a sample.
    #[must_use]
    pub fn output(&self) -> DMatrixView<'_, T> {
        self.units(self.widths.units - self.widths.outputs, self.widths.outputs)
    }
    /// Layer `l` of `net`, counted from 1, `samples x units`; nothing if there is none.
    #[must_use]
    pub fn layer<N: AsRef<[T]>>(&self, net: &DynNetwork<T, N>, l: usize) -> Option<DMatrixView<'_, T>> {
        let layer = net.layout().layers().get(l.checked_sub(1)?)?;
        (Widths::of(net) == self.widths).then(|| self.units(layer.units, layer.width))
    }
    /// The output of a sample that is largest, the first of several.
    #[must_use]
    pub fn label(&self, sample: usize) -> usize {
        let output = self.output();
        let mut best = 0;
        for class in 1..output.ncols() {
            if let (Some(found), Some(other)) = (output.get((sample, best)), output.get((sample, class)))
                && other > found
            {
                best = class;
            }
        }
        best
    }

    fn units(&self, first: usize, count: usize) -> DMatrixView<'_, T> {
        let (from, length) = (first * self.samples, count * self.samples);
        let part = self.as_slice().get(from..from + length).unwrap_or_default();
        DMatrixView::from_slice(part, self.samples, part.len().checked_div(self.samples).unwrap_or(0))
    }

    /// Whether they go with a network and with so many samples of so many values.
    pub(super) fn fits<N: AsRef<[T]>>(
        &self,
        net: &DynNetwork<T, N>,
        (rows, columns): (usize, usize),
    ) -> Result<(), ShapeError> {
        let (own, widths) = (self.widths, Widths::of(net));
        let wrong = |what, expected, found| Err(ShapeError { what, expected, found });
        if columns != widths.inputs {
            return wrong("values of a sample", widths.inputs, columns);
        }
        if own.units != widths.units {
            return wrong("units of the states", widths.units, own.units);
        }
        if (own.inputs, own.outputs) != (widths.inputs, widths.outputs) {
            return wrong("outputs of the states", widths.outputs, own.outputs);
        }
        if rows == 0 || rows > self.capacity {
            return wrong("samples", self.capacity, rows);
        }
        Ok(())
    }

    /// As many samples as these inputs have, which fit: the inputs as the kernels read them, and the states.
    pub(super) fn take<'a, X: RawStorage<T, Dyn, Dyn>>(
        &'a mut self,
        inputs: &'a DynMatrix<T, X>,
    ) -> Result<(Matrix<'a, T>, &'a mut [T]), ShapeError> {
        let rows = inputs.nrows();
        if rows != self.samples {
            self.samples = rows;
            self.reset();
        }
        let (capacity, units) = (self.capacity, self.widths.units);
        let memory = self.memory.as_mut();
        let found = memory.len();
        let Some((states, room)) = memory.split_at_mut_checked(capacity * units) else {
            return Err(ShapeError { what: "memory of states", expected: capacity * units, found });
        };
        Ok((samples(inputs, room)?, states.get_mut(..rows * units).unwrap_or_default()))
    }
}

impl<T: Scalar, P> fmt::Debug for DynStates<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "DynStates({} of up to {} samples, {} units)",
            self.samples, self.capacity, self.widths.units
        )
    }
}
