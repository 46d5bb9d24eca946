//! Gradients and training of networks whose widths are chosen when running.

use super::states::Widths;
use super::{DynError, DynNetwork, DynStates, Own};
use crate::kernel::{Chosen, DynMatrix, Matrix, MatrixMut, Scalar, ShapeError, cross_entropy};
use crate::learn::{
    CrossEntropy, GradientReport, LearnError, Loss, LossError, MeanSquared, Method, Objective, Outcome, Sent,
    SquaresOnce, Unsolved, add_flat, adjoint_flat, all_finite, both, into_solve, lost_adjoint_flat,
};
use crate::network::{Parameters, ParametersMut, Shape};
use crate::simd::Backend;
use crate::solve::{
    Map, Runner, SolveError, Solver, in_input, inject_flat, lost_flat, solve_flat, sweep_flat, swept,
};
use crate::threads::Threads;
use core::fmt;
use nalgebra::{DMatrixViewMut, Dyn, RawStorage};

impl<'v, T: Scalar> Loss<DMatrixViewMut<'v, T>, [usize]> for CrossEntropy<T> {
    type Scalar = T;

    fn evaluate(
        &self,
        output: &DMatrixViewMut<'v, T>,
        target: &[usize],
        gradient: &mut DMatrixViewMut<'v, T>,
    ) -> Result<T, LossError> {
        self.evaluate_on(Backend::best(), output, target, gradient)
    }

    fn evaluate_on(
        &self,
        backend: Backend,
        output: &DMatrixViewMut<'v, T>,
        target: &[usize],
        gradient: &mut DMatrixViewMut<'v, T>,
    ) -> Result<T, LossError> {
        self.check()?;
        if target.len() != output.nrows() {
            return Err(LossError::Target("one label a sample is asked for"));
        }
        let (output, gradient) = views(output, gradient)?;
        cross_entropy(backend, output, target, self.smoothing, gradient)
            .map_err(|shape| LossError::Label { classes: shape.expected, found: shape.found })
    }
}

impl<'v, T: Scalar, X: RawStorage<T, Dyn, Dyn>> Loss<DMatrixViewMut<'v, T>, DynMatrix<T, X>> for MeanSquared {
    type Scalar = T;

    fn evaluate(
        &self,
        output: &DMatrixViewMut<'v, T>,
        target: &DynMatrix<T, X>,
        gradient: &mut DMatrixViewMut<'v, T>,
    ) -> Result<T, LossError> {
        if target.shape() != output.shape() {
            return Err(LossError::Target("a target is a row a sample and as wide as the output layer"));
        }
        // The targets wait where the gradient will be, whatever their strides.
        gradient.copy_from(target);
        let (output, gradient) = views(output, gradient)?;
        Ok(T::once::<SquaresOnce>((output, None, gradient)))
    }
}

/// Outputs and gradient as the kernels see them.
fn views<'a, T>(
    output: &'a DMatrixViewMut<'_, T>,
    gradient: &'a mut DMatrixViewMut<'_, T>,
) -> Result<(Matrix<'a, T>, MatrixMut<'a, T>), LossError> {
    match (Matrix::of_dynamic(output), MatrixMut::of_dynamic(gradient)) {
        (Some(output), Some(gradient)) => Ok((output, gradient)),
        _ => Err(LossError::Target("the columns of outputs and gradient may not overlap")),
    }
}

/// Room for a gradient of up to so many samples: states and inputs, deltas, and dJ/dh of the outputs. `P` is where they are.
#[derive(Clone)]
pub struct DynWorkspace<T: Scalar = f32, P = Own<T>> {
    /// The activations: where the solve starts from, and its solution.
    pub states: DynStates<T, P>,
    deltas: P,
    output: P,
}

#[cfg(feature = "alloc")]
impl<T: Scalar> DynWorkspace<T> {
    /// Room for up to so many samples.
    #[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
    #[must_use]
    pub fn zeros<N: AsRef<[T]>>(net: &DynNetwork<T, N>, samples: usize) -> Self {
        let memory = |each: usize| Own::zeros(samples.saturating_mul(each));
        Self {
            states: DynStates::zeros(net, samples),
            deltas: memory(net.units()),
            output: memory(net.outputs()),
        }
    }
}

impl<T: Scalar, P: AsRef<[T]> + AsMut<[T]>> DynWorkspace<T, P> {
    /// Room in memory of the caller's: for `states` as [`DynStates::new`] wants it, for deltas one scalar a unit and sample, for dJ/dh one an output and
    /// sample.
    ///
    /// # Errors
    /// [`ShapeError`] for another length of one of them.
    pub fn new<N: AsRef<[T]>>(
        net: &DynNetwork<T, N>,
        samples: usize,
        [states, mut deltas, output]: [P; 3],
    ) -> Result<Self, ShapeError> {
        for (what, each, found) in [
            ("memory of deltas", net.units(), deltas.as_ref().len()),
            ("memory of dJ/dh", net.outputs(), output.as_ref().len()),
        ] {
            let expected = samples.saturating_mul(each);
            if expected != found {
                return Err(ShapeError { what, expected, found });
            }
        }
        deltas.as_mut().fill(T::ZERO);
        Ok(Self { states: DynStates::new(net, samples, states)?, deltas, output })
    }

    /// The deltas d of the last gradient: unit after unit, the samples of a unit side by side.
    #[must_use]
    pub fn deltas(&self) -> &[T] {
        let count = self.states.samples() * self.states.widths.units;
        self.deltas.as_ref().get(..count).unwrap_or_default()
    }
    /// What a gradient is summed from, of the inputs that were settled.
    pub(super) fn sent<'a, X: RawStorage<T, Dyn, Dyn>>(
        &'a mut self,
        inputs: &'a DynMatrix<T, X>,
    ) -> Result<Sent<'a, T>, ShapeError> {
        let (samples, units) = (inputs.nrows(), self.states.widths.units);
        let (input, states) = self.states.take(inputs)?;
        let deltas = self.deltas.as_ref().get(..samples * units).unwrap_or_default();
        Ok(Sent { input, states: matrix(states, samples), deltas: matrix(deltas, samples) })
    }
    /// Sets states and deltas to zero, so that a gradient starts cold.
    pub fn reset(&mut self) {
        self.states.reset();
        self.deltas.as_mut().fill(T::ZERO);
    }
}

/// What a gradient works on, of the samples there are.
struct Room<'a, T> {
    samples: usize,
    widths: Widths,
    states: &'a mut [T],
    deltas: &'a mut [T],
    output: &'a mut [T],
}

/// So many samples of these values.
fn matrix<T>(values: &[T], samples: usize) -> Matrix<'_, T> {
    let fits = Matrix::new(values, samples, values.len().checked_div(samples).unwrap_or(0));
    fits.unwrap_or_else(|_| Matrix::of_row(&[]))
}

impl<T: Scalar, P: AsRef<[T]>> DynNetwork<T, P> {
    /// Numbers of room that a gradient by this solver takes of so many samples; none for [`Solver::plain`].
    #[must_use]
    pub fn room(&self, solver: &Solver<T>, samples: usize) -> usize {
        if solver.is_plain() { 0 } else { solver.room_in(self.layout(), samples) }
    }

    /// Solves, takes the loss, solves the adjoint, and adds the gradient of every parameter to `gradient`; see
    /// [`Network::gradient`](crate::Network::gradient).
    ///
    /// The target is what the loss asks for: [`CrossEntropy`] takes labels `[usize]`, [`MeanSquared`] a matrix as large as the outputs. A loss of one's
    /// own is a [`Loss`] of `DMatrixViewMut<T>`.
    ///
    /// # Errors
    /// [`DynError`]; `gradient` is then unchanged.
    pub fn gradient<X, Y, C, Q>(
        &self,
        objective: &Objective<C, T>,
        inputs: &nalgebra::Matrix<T, Dyn, Dyn, X>,
        target: &Y,
        workspace: &mut DynWorkspace<T, Q>,
        gradient: &mut [T],
    ) -> Result<GradientReport<T>, DynError<T>>
    where
        X: RawStorage<T, Dyn, Dyn>,
        Y: ?Sized,
        C: for<'v> Loss<DMatrixViewMut<'v, T>, Y, Scalar = T>,
        Q: AsRef<[T]> + AsMut<[T]>,
    {
        self.on(Backend::best()).gradient(objective, inputs, target, workspace, gradient)
    }
}

impl<T: Scalar, P: AsRef<[T]>> Runner<'_, DynNetwork<T, P>> {
    /// [`DynNetwork::gradient`] on this backend.
    ///
    /// # Errors
    /// As there.
    pub fn gradient<X, Y, C, Q>(
        self,
        objective: &Objective<C, T>,
        inputs: &nalgebra::Matrix<T, Dyn, Dyn, X>,
        target: &Y,
        workspace: &mut DynWorkspace<T, Q>,
        gradient: &mut [T],
    ) -> Result<GradientReport<T>, DynError<T>>
    where
        X: RawStorage<T, Dyn, Dyn>,
        Y: ?Sized,
        C: for<'v> Loss<DMatrixViewMut<'v, T>, Y, Scalar = T>,
        Q: AsRef<[T]> + AsMut<[T]>,
    {
        objective.check_plain(|| self.network.room(&objective.solver, inputs.nrows()))?;
        self.gradient_in(objective, inputs, target, workspace, &mut [], gradient)
    }

    /// [`gradient`](Self::gradient) by the objective's solver, in room of the caller's: at least [`DynNetwork::room`] numbers, whatever they hold.
    ///
    /// # Errors
    /// As there; [`LearnError::Room`] of a room that is too small.
    pub fn gradient_in<X, Y, C, Q>(
        self,
        objective: &Objective<C, T>,
        inputs: &nalgebra::Matrix<T, Dyn, Dyn, X>,
        target: &Y,
        workspace: &mut DynWorkspace<T, Q>,
        room: &mut [T],
        gradient: &mut [T],
    ) -> Result<GradientReport<T>, DynError<T>>
    where
        X: RawStorage<T, Dyn, Dyn>,
        Y: ?Sized,
        C: for<'v> Loss<DMatrixViewMut<'v, T>, Y, Scalar = T>,
        Q: AsRef<[T]> + AsMut<[T]>,
    {
        let to = ParametersMut::new(gradient, self.network.layout())
            .map_err(|error| super::length("entries of the gradient", error))?;
        let learned = self.settle_or(Unsolved::Error, objective, (inputs, target), workspace, room)?;
        self.add(workspace.sent(inputs)?, to)?;
        Ok(learned.0)
    }

    /// The sums of a gradient.
    pub(super) fn add(self, sent: Sent<'_, T>, to: ParametersMut<'_, T>) -> Result<(), LearnError<T>> {
        let Runner { network, backend, threads } = self;
        add_flat(to, network.shape(), sent, (backend, threads))
    }

    /// Both fixed points: all of a gradient but its sums.
    pub(super) fn settle_or<X, Y, C, Q>(
        self,
        unsolved: Unsolved<T>,
        objective: &Objective<C, T>,
        (inputs, target): (&DynMatrix<T, X>, &Y),
        workspace: &mut DynWorkspace<T, Q>,
        lent: &mut [T],
    ) -> Result<(GradientReport<T>, Outcome), DynError<T>>
    where
        X: RawStorage<T, Dyn, Dyn>,
        Y: ?Sized,
        C: for<'v> Loss<DMatrixViewMut<'v, T>, Y, Scalar = T>,
        Q: AsRef<[T]> + AsMut<[T]>,
    {
        objective.check()?;
        let Runner { network, backend, threads } = self;
        let solver = &objective.solver;
        objective.check_room(network.room(solver, inputs.nrows()), lent.len())?;
        let by = (backend, threads);
        let DynWorkspace { states, deltas, output } = workspace;
        states.fits(network, inputs.shape())?;
        let (samples, widths) = (inputs.nrows(), states.widths);
        let Widths { units, outputs, .. } = widths;
        let (input, states) = states.take(inputs)?;
        let deltas = deltas.as_mut().get_mut(..samples * units).unwrap_or_default();
        let output = output.as_mut().get_mut(..samples * outputs).unwrap_or_default();
        let mut room = Room { samples, widths, states, deltas, output };
        let of = (network.parameters()?, network.ends(), network.shape());
        let wrong = |_| SolveError::NOT_FINITE;
        let learned = both(
            unsolved,
            &mut (&mut room, lent),
            |(room, lent)| {
                let mut states = MatrixMut::new(&mut *room.states, samples, units).map_err(wrong)?;
                if solver.is_plain() {
                    return solve_flat(of, input, states, objective.solve, by);
                }
                let first = network.layout().layer(0).width;
                let Some((base, history)) = lent.split_at_mut_checked(samples * first) else {
                    return Err(SolveError::NOT_FINITE);
                };
                let out = MatrixMut::new(&mut *base, samples, first).map_err(wrong)?;
                if !inject_flat((of.0, of.1), input, out, backend) {
                    // Before anything is changed.
                    let found = in_input(input).map(SolveError::NotFinite);
                    return Err(found.unwrap_or_else(|| lost_flat(of.0, of.2, input, states)));
                }
                let base = Matrix::new(base, samples, first).map_err(wrong)?;
                let map = Forward { of: (of.0, of.1), base, units, backend };
                match solver.solve(&map, room.states, objective.solve, history).map_err(into_solve) {
                    Err(SolveError::NotFinite(_)) => {
                        states = MatrixMut::new(&mut *room.states, samples, units).map_err(wrong)?;
                        Err(lost_flat(of.0, of.2, input, states))
                    }
                    result => result,
                }
            },
            |(room, _)| evaluate(&objective.loss, backend, room, target),
            |(room, lent)| {
                let given = (matrix(room.states, samples), matrix(room.output, samples));
                if solver.is_plain() {
                    let deltas = MatrixMut::new(&mut *room.deltas, samples, units).map_err(wrong)?;
                    return adjoint_flat(of, objective.method, given, deltas, by);
                }
                let (stop, method) = objective.method.one_by_one();
                let map = Back { of, method, given, backend };
                match solver.solve(&map, room.deltas, stop, lent).map_err(into_solve) {
                    Err(SolveError::NotFinite(_)) => {
                        let deltas = MatrixMut::new(&mut *room.deltas, samples, units).map_err(wrong)?;
                        Err(lost_adjoint_flat(of.0, of.2, given, deltas))
                    }
                    result => result,
                }
            },
        )?;
        Ok(learned)
    }
}

/// A sweep of the network as a map.
struct Forward<'a, T: Scalar> {
    of: (Parameters<'a, T>, Chosen<T>),
    base: Matrix<'a, T>,
    units: usize,
    backend: Backend,
}

impl<T: Scalar> Map for Forward<'_, T> {
    type Scalar = T;
    fn units(&self) -> usize {
        self.units
    }
    fn samples(&self) -> usize {
        self.base.rows()
    }
    fn apply(&self, state: &[T], next: &mut [T]) {
        swept(state, next, |next| {
            let next = MatrixMut::new(next, self.base.rows(), self.units);
            next.is_ok_and(|next| sweep_flat(self.of, self.base, next, self.backend).is_ok())
        });
    }
}

/// A sweep of its adjoint as a map.
struct Back<'a, T: Scalar> {
    of: (Parameters<'a, T>, Chosen<T>, &'a Shape),
    /// One sweep, of the rule that is meant.
    method: Method<T>,
    /// States, and dJ/dh of the outputs.
    given: (Matrix<'a, T>, Matrix<'a, T>),
    backend: Backend,
}

impl<T: Scalar> Map for Back<'_, T> {
    type Scalar = T;
    fn units(&self) -> usize {
        self.given.0.cols()
    }
    fn samples(&self) -> usize {
        self.given.0.rows()
    }
    fn apply(&self, state: &[T], next: &mut [T]) {
        let by = (self.backend, Threads::One);
        swept(state, next, |next| {
            let next = MatrixMut::new(next, self.samples(), self.units());
            next.is_ok_and(|next| adjoint_flat(self.of, self.method, self.given, next, by).is_ok())
        });
    }
}

/// The loss of the outputs, and its gradient in the room.
fn evaluate<T: Scalar, Y: ?Sized, C: for<'v> Loss<DMatrixViewMut<'v, T>, Y, Scalar = T>>(
    loss: &C,
    backend: Backend,
    room: &mut Room<'_, T>,
    target: &Y,
) -> Result<T, LearnError<T>> {
    let Room { samples, widths: Widths { units, outputs, .. }, states, output, .. } = room;
    let (samples, outputs) = (*samples, *outputs);
    let first = (*units - outputs) * samples;
    let h = states.get_mut(first..).unwrap_or_default();
    if h.len() != samples * outputs || output.len() != h.len() {
        return Err(LearnError::NOT_FINITE);
    }
    let h = DMatrixViewMut::from_slice(h, samples, outputs);
    let mut gradient = DMatrixViewMut::from_slice(output, samples, outputs);
    let value = loss.evaluate_on(backend, &h, target, &mut gradient).map_err(LearnError::Loss)?;
    all_finite(value, output, samples)
}

impl<T: Scalar, P> fmt::Debug for DynWorkspace<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynWorkspace({:?})", self.states)
    }
}
