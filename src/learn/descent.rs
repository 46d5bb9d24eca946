//! Plain gradient descent without a gradient in memory: for devices whose RAM holds the network once.

use super::gradient::{GradientReport, LearnError, Objective, add};
use super::loss::Loss;
use super::optimizer::check_rate;
use super::scaling::saturated;
use super::trainer::{Step, begin_held, end_held, hold};
use super::units::{UnitLoss, UnitRoom, add_of_units};
use super::unsolved::{Outcome, Unsolved};
use crate::kernel::Scalar;
use crate::network::{Architecture, Network, Samples, State, Storage, Takes, Workspace};
use crate::simd::Backend;
use crate::threads::Threads;
use core::fmt;

impl<T: Scalar, A: Architecture<Scalar = T>> Network<A> {
    /// One step of plain gradient descent, w <- w - rate dJ/dw: solves, takes the loss, solves the adjoint, and adds
    /// -rate times every weight's share straight to the weight. There is no gradient in memory, only the weights and
    /// the workspace.
    ///
    /// `input`: `B` samples of as many values as the network has inputs; `target`: what the loss asks for `B` samples; `rate`: 0 to 1024.
    ///
    /// ```
    /// use attractor::{fnn, Workspace};
    /// use attractor::learn::{MeanSquared, Objective};
    /// type Net = fnn![2, 4, 1];
    /// let mut net = Net::ZERO;
    /// let mut workspace = Workspace::<Net>::ZERO;
    /// net.descend(&Objective::new(MeanSquared), &[0.5, -0.5], &[1.0], &mut workspace, 0.25)?;
    /// assert_eq!(net.layer::<2>().b[0], 0.5);
    /// # Ok::<(), attractor::learn::LearnError>(())
    /// ```
    ///
    /// # Errors
    /// [`LearnError`]; the network is then unchanged.
    pub fn descend<X, Y: ?Sized, C, const I: usize, const B: usize>(
        &mut self,
        objective: &Objective<C, T>,
        input: &X,
        target: &Y,
        workspace: &mut Workspace<Self, B>,
        rate: T,
    ) -> Result<GradientReport<T>, LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<A::Output<B>, Y, Scalar = T>,
    {
        self.descend_on(Backend::best(), objective, input, target, workspace, rate)
    }

    #[inline]
    fn descend_on<X, Y: ?Sized, C, const I: usize, const B: usize>(
        &mut self,
        backend: Backend,
        objective: &Objective<C, T>,
        input: &X,
        target: &Y,
        workspace: &mut Workspace<Self, B>,
        rate: T,
    ) -> Result<GradientReport<T>, LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<A::Output<B>, Y, Scalar = T>,
    {
        check_rate(rate).map_err(LearnError::Update)?;
        let learned = self.on(backend).settle(objective, input, target, workspace)?;
        self.descend_by(backend, input, workspace, rate)?;
        Ok(learned)
    }

    /// Adds -rate times the gradient of what was settled.
    #[inline]
    fn descend_by<X, const I: usize, const B: usize>(
        &mut self,
        backend: Backend,
        input: &X,
        workspace: &Workspace<Self, B>,
        rate: T,
    ) -> Result<(), LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
    {
        // A weight that is not finite would have made the sweeps so; and what is added is too small to make one so.
        add(backend, Threads::One, input, &workspace.state, &workspace.adjoint, -rate, self)
    }
}

/// Holds all that plain gradient descent on batches of `B` samples needs: the network and a workspace, no gradient. A
/// [`Trainer`](super::Trainer) with other optimizers needs one gradient or more.
///
/// ```
/// use attractor::fnn;
/// use attractor::learn::{Descent, MeanSquared, Objective};
/// type Net = fnn![2, 4, 1];
/// let mut net = Net::ZERO;
/// for (i, w) in net.params_mut().iter_mut().enumerate() {
///     *w = 0.3 * (i as f32).sin();
/// }
/// let mut descent: Descent<Net, _> = Descent::new(net, Objective::new(MeanSquared), 0.1);
/// let before = descent.step(&[1.0, -1.0], &[0.5])?.report.loss;
/// let after = descent.step(&[1.0, -1.0], &[0.5])?.report.loss;
/// assert!(after < before);
/// # Ok::<(), attractor::learn::LearnError>(())
/// ```
pub struct Descent<R, C, const B: usize = 1>
where
    R: Storage<Content: Architecture>,
{
    /// The network that learns, or the [`Storage`] it lives in.
    pub network: R,
    /// The loss, the tolerances, the rule.
    pub objective: Objective<C, <R::Content as Architecture>::Scalar>,
    /// The learning rate of the next step.
    pub rate: <R::Content as Architecture>::Scalar,
    /// The rate the network is held to after every step ([`Network::hold_rate`]), 0.9 at first: at least 0 and less than 1. So sweeps go on
    /// converging while it learns. `None`: it is not held.
    pub hold: Option<<R::Content as Architecture>::Scalar>,
    /// What is done with a batch that does not converge all the same; an error at first.
    pub unsolved: Unsolved<<R::Content as Architecture>::Scalar>,
    /// The backend; the best by default.
    pub backend: Backend,
    workspace: R::Like<Workspace<R::Content, B>>,
    holding: R::Like<State<R::Content, 2>>,
    count: u64,
}

impl<R, C, const B: usize> Descent<R, C, B>
where
    R: Storage<Content: Architecture>,
{
    /// Bytes of all of it: network, workspace and settings; without what lies in boxes.
    pub const BYTES: usize = size_of::<Self>();

    /// Descent of this network.
    #[must_use]
    pub fn new(
        network: R,
        objective: Objective<C, <R::Content as Architecture>::Scalar>,
        rate: <R::Content as Architecture>::Scalar,
    ) -> Self {
        Self {
            network,
            objective,
            rate,
            hold: Some(hold()),
            unsolved: Unsolved::Error,
            backend: Backend::best(),
            workspace: Storage::zeroed(),
            holding: Storage::zeroed(),
            count: 0,
        }
    }

    /// The last step's states and deltas.
    pub fn workspace(&self) -> &Workspace<R::Content, B> {
        self.workspace.get()
    }
}

impl<R, C, const B: usize> fmt::Debug for Descent<R, C, B>
where
    R: Storage<Content: Architecture + fmt::Debug>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Descent({:?}, batches of {B})", self.network.get())
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>, R, C, const B: usize> Descent<R, C, B>
where
    R: Storage<Content = Network<A>>,
{
    /// Learns from one batch: [`Network::descend`]; then the network is held to its rate. Every step starts cold, for batches differ.
    ///
    /// # Errors
    /// [`LearnError`]; the network is then unchanged, but that the first step holds it before it begins.
    pub fn step<X, Y: ?Sized, const I: usize>(
        &mut self,
        input: &X,
        target: &Y,
    ) -> Result<Step<T>, LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<A::Output<B>, Y, Scalar = T>,
    {
        self.begin()?;
        let Self { network, objective, rate, unsolved, backend, workspace, .. } = self;
        let (network, workspace) = (network.get_mut(), workspace.get_mut());
        let on = network.on(*backend);
        let learned = on.settle_or(*unsolved, objective, (input, target), workspace)?;
        if learned.1 != Outcome::Skipped {
            network.descend_by(*backend, input, workspace, *rate)?;
        }
        Ok(self.end(learned))
    }

    /// [`step`](Self::step) by the objective's solver, and of networks whose activations have their slopes of sums: in room of the caller's; see
    /// [`Trainer::step_in`](super::Trainer::step_in).
    ///
    /// # Errors
    /// As [`step`](Self::step); [`LearnError::Room`] of a room that is too small changes nothing.
    pub fn step_in<X, Y: ?Sized, const I: usize>(
        &mut self,
        input: &X,
        target: &Y,
        room: &mut [T],
    ) -> Result<Step<T>, LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<A::Output<B>, Y, Scalar = T>,
    {
        self.objective.check_room(self.objective.room::<Network<A>>(B), room.len())?;
        self.begin()?;
        let Self { network, objective, rate, unsolved, backend, workspace, .. } = self;
        let (network, workspace) = (network.get_mut(), workspace.get_mut());
        let on = network.on(*backend);
        let learned = on.settle_in(*unsolved, objective, (input, target), workspace, room)?;
        if learned.1 != Outcome::Skipped {
            network.descend_by(*backend, input, workspace, *rate)?;
        }
        Ok(self.end(learned))
    }

    /// [`step`](Self::step) by a loss of all units, hidden ones too, or with a penalty: see [`UnitLoss`].
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn step_of_units<X, Y: ?Sized, const I: usize>(
        &mut self,
        input: &X,
        target: &Y,
        room: &mut UnitRoom<R::Content, B>,
    ) -> Result<Step<T>, LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: UnitLoss<A, Y, B>,
    {
        self.begin()?;
        let Self { network, objective, rate, unsolved, backend, workspace, .. } = self;
        let (network, workspace) = (network.get_mut(), workspace.get_mut());
        let on = network.on(*backend);
        let learned = on.settle_units_or(*unsolved, objective, (input, target), workspace, room)?;
        if learned.1 != Outcome::Skipped {
            let by = (*backend, Threads::One);
            add_of_units(by, &objective.loss, input, workspace, room, -*rate, network)?;
        }
        Ok(self.end(learned))
    }

    /// Nothing of the batch before, and a network within its rate.
    fn begin(&mut self) -> Result<(), LearnError<T>> {
        check_rate(self.rate).map_err(LearnError::Update)?;
        self.objective.check()?;
        let workspace = self.workspace.get_mut();
        workspace.state.reset();
        workspace.adjoint.reset();
        let settings = (self.hold, self.unsolved);
        begin_held(self.network.get_mut(), self.backend, settings, self.holding.get_mut())
    }

    /// What is to be done with a batch that did not converge; then the network is held.
    fn end(&mut self, (report, outcome): (GradientReport<T>, Outcome)) -> Step<T> {
        let network = self.network.get_mut();
        if let (Outcome::Skipped, Unsolved::Weaken(factor)) = (outcome, self.unsolved) {
            network.multiply_feedback(factor);
        }
        self.count += u64::from(outcome != Outcome::Solved);
        let held = end_held(network, self.backend, self.hold, self.holding.get_mut());
        let saturated = saturated(self.backend, &self.workspace.get().state);
        Step { report, outcome, norm: None, held, unsolved: self.count, saturated }
    }
}
