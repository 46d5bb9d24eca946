//! A trainer of adapters: adapter, optimizer and workspace in one place, one batch a call.

use super::{Adapted, Adapter};
use crate::certificate::Held;
use crate::kernel::Scalar;
use crate::learn::{
    GradientReport, LearnError, Learner, Loss, Objective, Optimizer, Outcome, Step, Unsolved, check_held,
    check_settings, clip_and_update, hold, saturated,
};
use crate::network::{Architecture, Flat, Network, Samples, State, Takes, Workspace};
use crate::simd::{Backend, Element};
use crate::threads::Threads;
use core::fmt;

/// Holds all that training an adapter `A` of a network `N` on batches of `B` samples needs, as [`Trainer`](crate::learn::Trainer) does for a network,
/// which is borrowed here and never changed. A step allocates nothing.
///
/// ```
/// use attractor::adapt::{Adapted, AdapterTrainer, LowRank, ParamsOf};
/// use attractor::fnn;
/// use attractor::learn::{Adam, MeanSquared, Objective};
/// type Net = fnn![2, 8, 1];
/// type Rank2 = LowRank<2>;
/// static NET: Net = Net::ZERO; // trained, in flash
/// let adapted = Adapted::<Net, Rank2>::new(&NET, 1);
/// let adam = Adam::<ParamsOf<Net, Rank2>>::new();
/// let mut trainer: AdapterTrainer<'_, Net, Rank2, _, _> =
///     AdapterTrainer::new(adapted, adam, Objective::new(MeanSquared));
/// trainer.rate = 0.02;
/// let before = trainer.step(&[1.0, -1.0], &[0.5])?.report.loss;
/// let after = trainer.step(&[1.0, -1.0], &[0.5])?.report.loss;
/// assert!(after < before);
/// # Ok::<(), attractor::learn::LearnError>(())
/// ```
pub struct AdapterTrainer<'a, N: Architecture, A: Adapter<N>, P, C, const B: usize = 1> {
    /// The adapted network.
    pub adapted: Adapted<'a, N, A>,
    /// The optimizer, of as many parameters as the adapter has.
    pub optimizer: P,
    /// The loss, the tolerances, the rule.
    pub objective: Objective<C, N::Scalar>,
    /// The learning rate of the next step, 1e-3 at first.
    pub rate: N::Scalar,
    /// The norm gradients are clipped to; none by default.
    pub clip: Option<N::Scalar>,
    /// The rate the adapted network is held to after every step ([`Adapted::hold_rate`]), 0.9 at first: at least 0 and less than 1. `None`: it is not
    /// held, and training may end in [`SolveError::NotConverged`](crate::SolveError::NotConverged).
    pub hold: Option<N::Scalar>,
    /// What is done with a batch that does not converge all the same; an error at first. [`Unsolved::Weaken`] leaves that part of what the adapter makes
    /// of U.
    pub unsolved: Unsolved<N::Scalar>,
    /// The backend of solve and gradient; the best by default.
    pub backend: Backend,
    /// The threads for batches of more than 32 samples; one by default.
    pub threads: Threads,
    gradient: A::Params,
    workspace: Workspace<N, B>,
    holding: State<N, 2>,
    count: u64,
}

impl<'a, N: Architecture, A: Adapter<N>, P, C, const B: usize> AdapterTrainer<'a, N, A, P, C, B> {
    /// Bytes of all of it: adapter, gradient, optimizer, workspace and settings.
    pub const BYTES: usize = size_of::<Self>();

    /// A trainer of this adapter.
    #[must_use]
    pub fn new(adapted: Adapted<'a, N, A>, optimizer: P, objective: Objective<C, N::Scalar>) -> Self {
        Self {
            adapted,
            optimizer,
            objective,
            rate: Element::from_f64(1e-3),
            clip: None,
            hold: Some(hold()),
            unsolved: Unsolved::Error,
            backend: Backend::best(),
            threads: Threads::One,
            gradient: Flat::ZERO,
            workspace: Workspace::ZERO,
            holding: State::ZERO,
            count: 0,
        }
    }

    /// The last step's gradient, clipped if it was clipped.
    pub fn gradient(&self) -> &A::Params {
        &self.gradient
    }
    /// The last step's states and deltas.
    pub fn workspace(&self) -> &Workspace<N, B> {
        &self.workspace
    }
}

impl<N: Architecture + fmt::Debug, A: Adapter<N>, P, C, const B: usize> fmt::Debug
    for AdapterTrainer<'_, N, A, P, C, B>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdapterTrainer({:?}, batches of {B})", self.adapted)
    }
}

impl<T: Scalar, N: Architecture<Scalar = T>, A, P, C, const B: usize>
    AdapterTrainer<'_, Network<N>, A, P, C, B>
where
    A: Adapter<Network<N>>,
    P: Optimizer<T>,
{
    /// Learns from one batch: gradient, clipping, update; then the adapted network is held to its rate. Every step starts cold, for batches differ.
    ///
    /// `input`: `B` samples of as many values as the network has inputs; `target`: what the loss asks for `B` samples.
    ///
    /// # Errors
    /// [`LearnError`]; the adapter and the optimizer are then unchanged, but that the first step holds the adapted network before it begins.
    /// [`LearnError::Hold`] if the borrowed network itself has a larger rate than it is to be held to: no adapter makes that good.
    pub fn step<X, Y: ?Sized, const I: usize>(
        &mut self,
        input: &X,
        target: &Y,
    ) -> Result<Step<T>, LearnError<T>>
    where
        N: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<N::Output<B>, Y, Scalar = T>,
    {
        self.begin()?;
        let Self { adapted, workspace, backend, threads, unsolved, .. } = self;
        let on = adapted.on(*backend).threads(*threads);
        let learned = on.settle_or(*unsolved, &self.objective, (input, target), workspace)?;
        self.update(input, learned)
    }

    /// [`step`](Self::step) by the objective's solver, in room of the caller's, at least [`Objective::room`] numbers; see
    /// [`Trainer::step_in`](crate::learn::Trainer::step_in).
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
        N: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<N::Output<B>, Y, Scalar = T>,
    {
        self.objective.check_room(self.objective.room::<Network<N>>(B), room.len())?;
        self.begin()?;
        let Self { adapted, workspace, backend, threads, unsolved, .. } = self;
        let on = adapted.on(*backend).threads(*threads);
        let learned = on.settle_in(*unsolved, &self.objective, (input, target), workspace, room)?;
        self.update(input, learned)
    }

    /// Clips, updates, holds.
    fn update<X, const I: usize>(
        &mut self,
        input: &X,
        (report, outcome): (GradientReport<T>, Outcome),
    ) -> Result<Step<T>, LearnError<T>>
    where
        N: Takes<I>,
        X: Samples<T, I, B>,
    {
        let Self { adapted, gradient, workspace, backend, threads, unsolved, .. } = self;
        let mut norm = None;
        match (outcome, *unsolved) {
            (Outcome::Skipped, Unsolved::Weaken(factor)) => adapted.weaken(factor),
            (Outcome::Skipped, _) => {}
            _ => {
                adapted.add((*backend, *threads), input, workspace, gradient)?;
                let (params, gradient) = (adapted.params_mut().flat_mut(), gradient.flat_mut());
                let by = ((*backend, *threads), &mut self.optimizer);
                norm = clip_and_update(by, params, gradient, self.clip, self.rate)?;
            }
        }
        self.count += u64::from(outcome != Outcome::Solved);
        let held = self.end()?;
        let saturated = saturated(self.backend, &self.workspace.state);
        Ok(Step { report, outcome, norm, held, unsolved: self.count, saturated })
    }

    /// Settings in their ranges, nothing of the batch before, and an adapted network within its rate.
    fn begin(&mut self) -> Result<(), LearnError<T>> {
        check_settings(self.rate, self.clip, &self.objective)?;
        check_held(self.hold, self.unsolved)?;
        self.gradient.flat_mut().fill(T::ZERO);
        self.workspace.state.reset();
        self.workspace.adjoint.reset();
        let new = self.holding.as_slice().first() == Some(&T::ZERO);
        if let (Some(rate), true) = (self.hold, new) {
            self.adapted.hold_rate(rate, &mut self.holding).map_err(LearnError::Hold)?;
        }
        Ok(())
    }

    /// Holds it.
    fn end(&mut self) -> Result<Option<Held<T>>, LearnError<T>> {
        let Some(rate) = self.hold else { return Ok(None) };
        let held = self.adapted.hold_rate(rate, &mut self.holding).or_else(|_| {
            // The magnitudes have no finite sum: without what the adapter makes of U, and of W from the second layer on, they are the borrowed network's.
            self.adapted.give_up();
            self.holding.reset();
            self.adapted.hold_rate(rate, &mut self.holding)
        });
        held.map(Some).map_err(LearnError::Hold)
    }
}
