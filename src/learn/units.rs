//! Losses of all units, hidden ones too.

use super::gradient::{GradientReport, LearnError, Objective, add, all_finite, both};
use super::loss::{Loss, LossError};
use super::optimizer::check_rate;
use super::unsolved::{Outcome, Unsolved};
use crate::kernel::{Matrix, Scalar};
use crate::network::{Architecture, Flat, Network, Samples, State, Takes, Workspace};
use crate::simd::{Backend, Element};
use crate::solve::Runner;
use crate::threads::Threads;
use core::fmt;

/// A loss J of all units of a network for `B` samples: of hidden layers that are to come near something themselves (deep supervision), of how
/// many units are active (sparsity), or with any other penalty on states. [`OfOutputs`] makes one of any [`Loss`].
///
/// One of your own writes dJ/dh of every unit into `gradient`, which is zero before, and returns J; both are checked for NaN and infinity.
/// Its gradient is exact: d = s'(z) (A^T d + dJ/dh), where A holds the weights inside the loop, is what the adjoint solves. See
/// [`Network::gradient_of_units`].
///
/// ```
/// use attractor::learn::{LossError, Objective, UnitLoss};
/// use attractor::network::Takes;
/// use attractor::{Network, State, Workspace, fnn};
///
/// /// The mean square of the outputs' errors, and `weight` times that of all units.
/// struct Sparse {
///     weight: f32,
/// }
/// impl<A: Takes<2, Scalar = f32>, const B: usize> UnitLoss<A, [f32; B], B> for Sparse {
///     fn evaluate(
///         &self,
///         state: &State<Network<A>, B>,
///         target: &[f32; B],
///         gradient: &mut State<Network<A>, B>,
///     ) -> Result<f32, LossError> {
///         let h = state.as_slice();
///         let share = self.weight / h.len() as f32;
///         for (g, h) in gradient.as_mut_slice().iter_mut().zip(h) {
///             *g = 2.0 * share * h;
///         }
///         let mut loss = share * h.iter().map(|h| h * h).sum::<f32>();
///         // The outputs come last, the samples of a unit side by side.
///         let outputs = h.len() - B;
///         for ((g, h), y) in gradient.as_mut_slice()[outputs..].iter_mut().zip(&h[outputs..]).zip(target) {
///             *g += 2.0 * (h - y) / B as f32;
///             loss += (h - y) * (h - y) / B as f32;
///         }
///         Ok(loss)
///     }
/// }
///
/// type Net = fnn![2, 4, 1];
/// let (net, mut gradient) = (Net::ZERO, Net::ZERO);
/// let (mut workspace, mut room) = (Workspace::<Net>::ZERO, attractor::learn::UnitRoom::ZERO);
/// let objective = Objective::new(Sparse { weight: 0.1 });
/// let learned =
///     net.gradient_of_units(&objective, &[0.5, -0.5], &[1.0], &mut workspace, &mut room, &mut gradient)?;
/// assert_eq!(learned.loss, 1.0);
/// # Ok::<(), attractor::learn::LearnError>(())
/// ```
pub trait UnitLoss<A: Architecture, Y: ?Sized, const B: usize> {
    /// J, with dJ/dh of every unit written into `gradient`.
    ///
    /// # Errors
    /// [`LossError`] if the target does not go with the network, or a setting is out of its range.
    fn evaluate(
        &self,
        state: &State<Network<A>, B>,
        target: &Y,
        gradient: &mut State<Network<A>, B>,
    ) -> Result<A::Scalar, LossError>;

    /// The same of a loss that depends on the weights as well. `deltas` may be used as room, and are then left zero.
    #[doc(hidden)]
    fn evaluate_on(
        &self,
        backend: Backend,
        network: &Network<A>,
        state: &State<Network<A>, B>,
        target: &Y,
        room: &mut UnitRoom<Network<A>, B>,
        deltas: &mut State<Network<A>, B>,
    ) -> Result<A::Scalar, LossError> {
        let _ = (network, deltas);
        self.evaluate_units(backend, state, target, &mut room.gradient)
    }
    /// [`evaluate`](Self::evaluate) on a chosen backend.
    #[doc(hidden)]
    fn evaluate_units(
        &self,
        backend: Backend,
        state: &State<Network<A>, B>,
        target: &Y,
        gradient: &mut State<Network<A>, B>,
    ) -> Result<A::Scalar, LossError> {
        let _ = backend;
        self.evaluate(state, target, gradient)
    }
    /// After the adjoint: leaves in `room` what [`add_direct`](Self::add_direct) needs. Whether it can be added without leaving the finite
    /// numbers.
    #[doc(hidden)]
    fn prepare_direct(
        &self,
        backend: Backend,
        state: &State<Network<A>, B>,
        room: &mut UnitRoom<Network<A>, B>,
    ) -> bool {
        let _ = (backend, state, room);
        true
    }
    /// Adds `factor` times what the weights change in J where the states stay.
    #[doc(hidden)]
    fn add_direct(
        &self,
        backend: Backend,
        factor: A::Scalar,
        room: &UnitRoom<Network<A>, B>,
        to: &mut Network<A>,
    ) -> Result<(), LearnError<A::Scalar>> {
        let _ = (backend, factor, room, to);
        Ok(())
    }
}

/// A [`Loss`] of the outputs as a [`UnitLoss`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfOutputs<C>(pub C);

impl<A: Architecture, Y: ?Sized, C, const B: usize> UnitLoss<A, Y, B> for OfOutputs<C>
where
    C: Loss<A::Output<B>, Y, Scalar = A::Scalar>,
{
    fn evaluate(
        &self,
        state: &State<Network<A>, B>,
        target: &Y,
        gradient: &mut State<Network<A>, B>,
    ) -> Result<A::Scalar, LossError> {
        outputs(&self.0, Backend::best(), state, target, gradient)
    }
    fn evaluate_units(
        &self,
        backend: Backend,
        state: &State<Network<A>, B>,
        target: &Y,
        gradient: &mut State<Network<A>, B>,
    ) -> Result<A::Scalar, LossError> {
        outputs(&self.0, backend, state, target, gradient)
    }
}

/// A loss of the outputs, with its gradient in the place of the outputs.
fn outputs<A: Architecture, Y: ?Sized, C, const B: usize>(
    loss: &C,
    backend: Backend,
    state: &State<Network<A>, B>,
    target: &Y,
    gradient: &mut State<Network<A>, B>,
) -> Result<A::Scalar, LossError>
where
    C: Loss<A::Output<B>, Y, Scalar = A::Scalar>,
{
    let own = gradient.output_mut();
    own.flat_mut().fill(<A::Scalar as Element>::ZERO);
    loss.evaluate_on(backend, state.output(), target, own)
}

/// Room for the gradient of a [`UnitLoss`]: two states. What other networks and losses take does not grow by it.
#[repr(C)]
pub struct UnitRoom<N: Architecture, const B: usize = 1> {
    /// dJ/dh of every unit.
    pub(super) gradient: State<N, B>,
    /// For penalties of the weights.
    pub(super) spare: State<N, B>,
}

// SAFETY: repr(C) over scalars in a row.
#[allow(unsafe_code, reason = "room is scalars, wherever it is kept")]
unsafe impl<N: Architecture, const B: usize> Flat for UnitRoom<N, B> {
    type Scalar = N::Scalar;
}

impl<N: Architecture, const B: usize> UnitRoom<N, B> {
    /// All zero.
    pub const ZERO: Self = Self { gradient: State::ZERO, spare: State::ZERO };
}

impl<N: Architecture, const B: usize> Default for UnitRoom<N, B> {
    fn default() -> Self {
        Self::ZERO
    }
}

impl<N: Architecture, const B: usize> fmt::Debug for UnitRoom<N, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnitRoom({B} samples)")
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>> Network<A> {
    /// [`gradient`](Self::gradient) of a loss of all units, hidden ones too: see [`UnitLoss`], and [`JacobianPenalty`](super::JacobianPenalty).
    ///
    /// # Errors
    /// [`LearnError`]; `gradient` is then unchanged.
    #[inline]
    pub fn gradient_of_units<X, Y: ?Sized, C, const I: usize, const B: usize>(
        &self,
        objective: &Objective<C, T>,
        input: &X,
        target: &Y,
        workspace: &mut Workspace<Self, B>,
        room: &mut UnitRoom<Self, B>,
        gradient: &mut Self,
    ) -> Result<GradientReport<T>, LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: UnitLoss<A, Y, B>,
    {
        self.on(Backend::best()).gradient_of_units(objective, input, target, workspace, room, gradient)
    }

    /// [`descend`](Self::descend) by a loss of all units: see [`UnitLoss`].
    ///
    /// # Errors
    /// [`LearnError`]; the network is then unchanged.
    pub fn descend_of_units<X, Y: ?Sized, C, const I: usize, const B: usize>(
        &mut self,
        objective: &Objective<C, T>,
        input: &X,
        target: &Y,
        workspace: &mut Workspace<Self, B>,
        room: &mut UnitRoom<Self, B>,
        rate: T,
    ) -> Result<GradientReport<T>, LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: UnitLoss<A, Y, B>,
    {
        check_rate(rate).map_err(LearnError::Update)?;
        let on = self.on(Backend::best());
        let learned = on.settle_units_or(Unsolved::Error, objective, (input, target), workspace, room)?;
        let by = (Backend::best(), Threads::One);
        add_of_units(by, &objective.loss, input, workspace, room, -rate, self)?;
        Ok(learned.0)
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>> Runner<'_, Network<A>> {
    /// [`Network::gradient_of_units`] on this backend.
    ///
    /// # Errors
    /// As [`Network::gradient_of_units`].
    pub fn gradient_of_units<X, Y: ?Sized, C, const I: usize, const B: usize>(
        self,
        objective: &Objective<C, T>,
        input: &X,
        target: &Y,
        workspace: &mut Workspace<Network<A>, B>,
        room: &mut UnitRoom<Network<A>, B>,
        gradient: &mut Network<A>,
    ) -> Result<GradientReport<T>, LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: UnitLoss<A, Y, B>,
    {
        let learned = self.settle_units_or(Unsolved::Error, objective, (input, target), workspace, room)?;
        let by = (self.backend, self.threads);
        add_of_units(by, &objective.loss, input, workspace, room, T::ONE, gradient)?;
        Ok(learned.0)
    }

    /// Both fixed points, or what is to be done with a batch that does not converge.
    pub(super) fn settle_units_or<X, Y: ?Sized, C, const I: usize, const B: usize>(
        self,
        unsolved: Unsolved<T>,
        objective: &Objective<C, T>,
        (input, target): (&X, &Y),
        workspace: &mut Workspace<Network<A>, B>,
        room: &mut UnitRoom<Network<A>, B>,
    ) -> Result<(GradientReport<T>, Outcome), LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: UnitLoss<A, Y, B>,
    {
        objective.check()?;
        objective.check_plain_units()?;
        both(
            unsolved,
            &mut (workspace, room),
            |(workspace, _)| self.solve(input, &mut workspace.state, objective.solve),
            |(Workspace { state, adjoint, output }, room)| {
                room.gradient.reset();
                let loss = &objective.loss;
                let value = loss
                    .evaluate_on(self.backend, self.network, state, target, room, adjoint)
                    .map_err(LearnError::Loss)?;
                output.flat_mut().copy_from_slice(room.gradient.output().flat());
                all_finite(value, room.gradient.as_slice(), B)
            },
            |(Workspace { state, adjoint, output }, room)| {
                let hidden = Matrix::new(room.gradient.as_slice(), B, Network::<A>::UNITS).ok();
                self.adjoint_of(objective.method, state, output, hidden, adjoint)
            },
        )
    }
}

/// Adds `factor` times the gradient of what was settled.
pub(super) fn add_of_units<
    T: Scalar,
    A: Takes<I, Scalar = T>,
    X,
    Y: ?Sized,
    C,
    const I: usize,
    const B: usize,
>(
    (backend, threads): (Backend, Threads),
    loss: &C,
    input: &X,
    workspace: &Workspace<Network<A>, B>,
    room: &mut UnitRoom<Network<A>, B>,
    factor: T,
    to: &mut Network<A>,
) -> Result<(), LearnError<T>>
where
    X: Samples<T, I, B>,
    C: UnitLoss<A, Y, B>,
{
    if !loss.prepare_direct(backend, &workspace.state, room) {
        return Err(LearnError::NOT_FINITE);
    }
    add(backend, threads, input, &workspace.state, &workspace.adjoint, factor, to)?;
    loss.add_direct(backend, factor, room, to)
}
