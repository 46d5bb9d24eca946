//! A trainer: network, optimizer and workspace in one place, one batch a call.

use super::adjoint::Sent;
use super::gradient::{GradientReport, LearnError, Objective};
use super::learner::Learner;
use super::loss::Loss;
use super::one_pass::OnePass;
use super::optimizer::{Optimizer, check_clip, check_rate, clip_on, update_on};
use super::scaling::saturated;
use super::units::{UnitLoss, UnitRoom, add_of_units};
use super::unsolved::{Outcome, Unsolved};
use crate::certificate::{CONTRACTIONS, Held, bounded, is_contraction};
use crate::kernel::{Matrix, Scalar, TYPED};
use crate::network::{Architecture, Form, Network, Samples, State, Storage, Takes, Workspace};
use crate::simd::{Backend, Element};
use crate::solve::{Rule, Setting};
use crate::threads::Threads;
use core::fmt;

/// The scalar of the network in a room.
type ScalarOf<R> = <<R as Storage>::Content as Architecture>::Scalar;

/// Holds all that training a network `N` on batches of `B` samples needs. A step allocates nothing.
///
/// By one sample, with [`Sgd`](super::Sgd) or [`Adam`](super::Adam) and without clipping, a step reads and writes every weight once: it is updated as soon as there is its gradient
/// ([`Optimizer::entrywise`]). Everything else, on bare metal too, adds up the gradient first. The bits are the same.
///
/// ```
/// use attractor::fnn;
/// use attractor::learn::{MeanSquared, Objective, Sgd, Trainer};
/// type Net = fnn![2, 4, 1];
/// let mut net = Net::ZERO;
/// for (i, w) in net.params_mut().iter_mut().enumerate() {
///     *w = 0.3 * (i as f32).sin();
/// }
/// let mut trainer: Trainer<Net, _, _> = Trainer::new(net, Sgd::plain(), Objective::new(MeanSquared));
/// trainer.rate = 0.1;
/// let before = trainer.step(&[1.0, -1.0], &[0.5])?.report.loss;
/// let after = trainer.step(&[1.0, -1.0], &[0.5])?.report.loss;
/// assert!(after < before);
/// # Ok::<(), attractor::learn::LearnError>(())
/// ```
pub struct Trainer<R, P, C, const B: usize = 1>
where
    R: Storage<Content: Architecture>,
{
    /// The network that learns, or the [`Storage`] it lives in.
    pub network: R,
    /// Its optimizer.
    pub optimizer: P,
    /// The loss, the tolerances, the rule.
    pub objective: Objective<C, ScalarOf<R>>,
    /// The learning rate of the next step, 1e-3 at first.
    pub rate: ScalarOf<R>,
    /// The norm gradients are clipped to; none by default.
    pub clip: Option<ScalarOf<R>>,
    /// The rate the network is held to after every step ([`Network::hold_rate`]), 0.9 at first: at least 0 and less than 1. So sweeps go on
    /// converging while it learns. `None`: it is not held, and training may end in [`SolveError::NotConverged`](crate::SolveError::NotConverged).
    pub hold: Option<ScalarOf<R>>,
    /// What is done with a batch that does not converge all the same; an error at first.
    pub unsolved: Unsolved<ScalarOf<R>>,
    /// The backend of solve and gradient; the best by default.
    pub backend: Backend,
    /// The threads for batches of more than 32 samples; one by default.
    pub threads: Threads,
    gradient: R,
    workspace: R::Like<Workspace<R::Content, B>>,
    holding: R::Like<State<R::Content, 2>>,
    count: u64,
}

/// A step that was made.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Step<T = f32> {
    /// Loss, solve and adjoint, before the update.
    pub report: GradientReport<T>,
    /// Whether both converged, and so whether the gradient was exact.
    pub outcome: Outcome,
    /// The norm of the gradient before clipping, where it is clipped.
    pub norm: Option<T>,
    /// The network after the update, where it is held to a rate.
    pub held: Option<Held<T>>,
    /// Batches that did not converge so far, this one included.
    pub unsolved: u64,
    /// The share of the first layer that is saturated ([`Network::saturated`]), before the update; nothing for activations without a bound.
    pub saturated: Option<T>,
}

impl<T: Scalar> Step<T> {
    /// Whether more than half of the first layer is saturated: a sign of inputs that are far too large, which a [`Scaling`](super::Scaling) cures.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        self.saturated.is_some_and(|share| share + share > T::ONE)
    }
}

/// The rate networks are held to at first: 0.9.
pub(crate) fn hold<T: Element>() -> T {
    T::from_usize(9) / T::from_usize(10)
}

impl<R, P, C, const B: usize> Trainer<R, P, C, B>
where
    R: Storage<Content: Architecture>,
{
    /// Bytes of all of it: network, gradient, optimizer, workspace and settings; without what lies in boxes.
    pub const BYTES: usize = size_of::<Self>();

    /// A trainer of this network.
    #[must_use]
    pub fn new(network: R, optimizer: P, objective: Objective<C, ScalarOf<R>>) -> Self {
        Self {
            network,
            optimizer,
            objective,
            rate: Element::from_f64(1e-3),
            clip: None,
            hold: Some(hold()),
            unsolved: Unsolved::Error,
            backend: Backend::best(),
            threads: Threads::One,
            gradient: R::zeroed(),
            workspace: Storage::zeroed(),
            holding: Storage::zeroed(),
            count: 0,
        }
    }

    /// The last step's gradient, clipped if it was clipped.
    pub fn gradient(&self) -> &R::Content {
        self.gradient.get()
    }
    /// The last step's states and deltas.
    pub fn workspace(&self) -> &Workspace<R::Content, B> {
        self.workspace.get()
    }
}

impl<R, P, C, const B: usize> fmt::Debug for Trainer<R, P, C, B>
where
    R: Storage<Content: Architecture + fmt::Debug>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trainer({:?}, batches of {B})", self.network.get())
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>, R, P, C, const B: usize> Trainer<R, P, C, B>
where
    R: Storage<Content = Network<A>>,
    P: Optimizer<T>,
{
    /// Learns from one batch: gradient, clipping, update; then the network is held to its rate. Every step starts cold, for batches differ.
    ///
    /// `input`: `B` samples of as many values as the network has inputs; `target`: what the loss asks for `B` samples.
    ///
    /// # Errors
    /// [`LearnError`]; the network and the optimizer are then unchanged, but that the first step holds the network before it begins.
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
        self.begin(Self::MAY_BE_ONE_PASS)?;
        let (network, workspace) = (self.network.get(), self.workspace.get_mut());
        let on = network.on(self.backend).threads(self.threads);
        let settled = on.settle_or(self.unsolved, &self.objective, (input, target), workspace);
        self.learn::<_, false, I>(input, settled)
    }

    /// [`step`](Self::step) by the objective's solver, and of networks whose activations have their slopes of sums: in room of the caller's, at least
    /// [`Objective::room`] numbers, whatever they hold.
    ///
    /// ```
    /// use attractor::fnn;
    /// use attractor::learn::{MeanSquared, Objective, Sgd, Trainer};
    /// use attractor::solve::Solver;
    /// type Net = fnn![2, 4, 1];
    /// let mut net = Net::ZERO;
    /// for (i, w) in net.params_mut().iter_mut().enumerate() {
    ///     *w = 0.3 * (i as f32).sin();
    /// }
    /// let objective = Objective::new(MeanSquared).solver(Solver::anderson(3));
    /// let mut trainer: Trainer<Net, _, _> = Trainer::new(net, Sgd::plain(), objective);
    /// let mut room = vec![0.0; objective.room::<Net>(1)]; // once, for all steps
    /// trainer.rate = 0.1;
    /// let before = trainer.step_in(&[1.0, -1.0], &[0.5], &mut room)?.report.loss;
    /// let after = trainer.step_in(&[1.0, -1.0], &[0.5], &mut room)?.report.loss;
    /// assert!(after < before);
    /// # Ok::<(), attractor::learn::LearnError>(())
    /// ```
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
        self.begin(Self::MAY_BE_ONE_PASS)?;
        let (network, workspace) = (self.network.get(), self.workspace.get_mut());
        let on = network.on(self.backend).threads(self.threads);
        let settled = on.settle_in(self.unsolved, &self.objective, (input, target), workspace, room);
        self.learn::<_, false, I>(input, settled)
    }

    /// [`step`](Self::step) with the layers of this network in the code of the caller, for small networks and single samples; see
    /// [`Runner::specialized`](crate::Runner::specialized).
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn step_specialized<X, Y: ?Sized, const I: usize>(
        &mut self,
        input: &X,
        target: &Y,
    ) -> Result<Step<T>, LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<A::Output<B>, Y, Scalar = T>,
    {
        self.begin(Self::MAY_BE_ONE_PASS)?;
        let (network, workspace) = (self.network.get(), self.workspace.get_mut());
        let on = network.on(self.backend).threads(self.threads).specialized();
        let settled = on.settle_or(self.unsolved, &self.objective, (input, target), workspace);
        self.learn::<_, true, I>(input, settled)
    }

    /// [`step`](Self::step) by a loss of all units, hidden ones too, or with a penalty: see [`UnitLoss`]. `room` is the caller's, so that other
    /// trainers take no more memory.
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
        self.begin(false)?;
        let by = (self.backend, self.threads);
        let Self { network, gradient, workspace, .. } = self;
        let (network, gradient, workspace) = (network.get_mut(), gradient.get_mut(), workspace.get_mut());
        let on = network.on(self.backend).threads(self.threads);
        let learned = on.settle_units_or(self.unsolved, &self.objective, (input, target), workspace, room)?;
        if learned.1 != Outcome::Skipped {
            add_of_units(by, &self.objective.loss, input, workspace, room, T::ONE, gradient)?;
        }
        self.update(learned)
    }

    /// Whether a step may be one pass over the weights: by one sample, and not where flash is small.
    const MAY_BE_ONE_PASS: bool = B == 1 && !TYPED;

    /// Nothing of the batch before, but in a gradient that is `written` and not added to; and a network within its rate.
    fn begin(&mut self, written: bool) -> Result<(), LearnError<T>> {
        check_settings(self.rate, self.clip, &self.objective)?;
        if !written {
            self.threads.clear(self.gradient.get_mut().params_mut());
        }
        let workspace = self.workspace.get_mut();
        workspace.state.reset();
        workspace.adjoint.reset();
        let settings = (self.hold, self.unsolved);
        begin_held(self.network.get_mut(), self.backend, settings, self.holding.get_mut())
    }

    /// Learns from what was settled: in one pass over the weights, if that can be, or gradient and update one after the other.
    #[inline(always)]
    fn learn<X, const SPECIALIZED: bool, const I: usize>(
        &mut self,
        input: &X,
        settled: Result<(GradientReport<T>, Outcome), LearnError<T>>,
    ) -> Result<Step<T>, LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
    {
        if const { Self::MAY_BE_ONE_PASS } {
            match settled {
                Ok(learned) if learned.1 != Outcome::Skipped && self.one_pass(input.samples()) => {
                    return Ok(self.end(learned, None));
                }
                _ => self.threads.clear(self.gradient.get_mut().params_mut()),
            }
        }
        let learned = settled?;
        if learned.1 != Outcome::Skipped {
            let Self { network, gradient, workspace, .. } = self;
            let (network, gradient, workspace) = (network.get(), gradient.get_mut(), workspace.get());
            if const { SPECIALIZED } {
                let on = network.on(self.backend).threads(self.threads).specialized();
                on.add(input, workspace, gradient)?;
            } else {
                network.add((self.backend, self.threads), input, workspace, gradient)?;
            }
        }
        self.update(learned)
    }

    /// Gradient and update in one pass over the weights, if the optimizer says what it does and nothing is clipped; whether it was made.
    fn one_pass(&mut self, input: Matrix<'_, T>) -> bool {
        let workspace = self.workspace.get();
        let (Ok(from), None) = (Sent::new(input, &workspace.state, &workspace.adjoint), self.clip) else {
            return false;
        };
        let Some(optimizer) = self.optimizer.entrywise() else { return false };
        let (params, gradient) = (self.network.get_mut().params_mut(), self.gradient.get_mut().params_mut());
        let (layout, rate, backend) = (const { &A::LAYOUT }, self.rate, self.backend);
        OnePass { from, layout, params, gradient, optimizer, rate, backend }.step()
    }

    /// Clips, updates, holds.
    fn update(&mut self, learned: (GradientReport<T>, Outcome)) -> Result<Step<T>, LearnError<T>> {
        let (network, gradient) = (self.network.get_mut(), self.gradient.get_mut());
        let mut norm = None;
        match (learned.1, self.unsolved) {
            (Outcome::Skipped, Unsolved::Weaken(factor)) => network.multiply_feedback(factor),
            (Outcome::Skipped, _) => {}
            _ => {
                let (params, gradient) = (network.params_mut(), gradient.params_mut());
                let by = ((self.backend, self.threads), &mut self.optimizer);
                norm = clip_and_update(by, params, gradient, self.clip, self.rate)?;
            }
        }
        Ok(self.end(learned, norm))
    }

    /// Holds.
    fn end(&mut self, (report, outcome): (GradientReport<T>, Outcome), norm: Option<T>) -> Step<T> {
        self.count += u64::from(outcome != Outcome::Solved);
        let held = end_held(self.network.get_mut(), self.backend, self.hold, self.holding.get_mut());
        let saturated = saturated(self.backend, &self.workspace.get().state);
        Step { report, outcome, norm, held, unsolved: self.count, saturated }
    }
}

/// Refuses settings of a step out of their ranges.
pub(crate) fn check_settings<C, T: Scalar>(
    rate: T,
    clip: Option<T>,
    objective: &Objective<C, T>,
) -> Result<(), LearnError<T>> {
    check_rate(rate).map_err(LearnError::Update)?;
    clip.map_or(Ok(()), check_clip).map_err(LearnError::Update)?;
    objective.check()
}

/// Clips a gradient, if it is to be, and updates by it; the norm it had, where it is clipped.
pub(crate) fn clip_and_update<T: Scalar>(
    ((backend, threads), optimizer): ((Backend, Threads), &mut impl Optimizer<T>),
    params: &mut [T],
    gradient: &mut [T],
    most: Option<T>,
    rate: T,
) -> Result<Option<T>, LearnError<T>> {
    let norm = most.map(|most| clip_on(backend, gradient, most)).transpose().map_err(LearnError::Update)?;
    update_on(threads, optimizer, params, gradient, rate).map_err(LearnError::Update)?;
    Ok(norm)
}

/// Refuses settings of holding out of their range.
pub(crate) fn check_held<T: Scalar>(hold: Option<T>, unsolved: Unsolved<T>) -> Result<(), LearnError<T>> {
    unsolved.check().map_err(|setting| LearnError::Update(setting.into()))?;
    match hold {
        Some(value) if !is_contraction(value) => {
            let setting = Setting { rule: &Rule { name: "hold", range: CONTRACTIONS }, value };
            Err(LearnError::Update(setting.into()))
        }
        _ => Ok(()),
    }
}

/// Before a step: refuses settings out of their range, and holds a network that no step has held yet.
pub(super) fn begin_held<T: Scalar, A: Architecture<Scalar = T>>(
    network: &mut Network<A>,
    backend: Backend,
    (hold, unsolved): (Option<T>, Unsolved<T>),
    room: &mut State<Network<A>, 2>,
) -> Result<(), LearnError<T>> {
    check_held(hold, unsolved)?;
    let Some(rate) = hold else { return Ok(()) };
    if const { <A::Form>::REACH.layers() > 0 || <A::Form>::TIED > 0 } && bounded::<A>().is_err() {
        const RULE: &Rule =
            &Rule { name: "hold", range: "None, for the activation has no bound on its slope (LIPSCHITZ)" };
        return Err(LearnError::Update(Setting { rule: RULE, value: rate }.into()));
    }
    if room.as_slice().first() == Some(&T::ZERO) {
        // Weights that are not finite are found by the solve.
        let _ = network.hold_rate_on(backend, rate, room);
    }
    Ok(())
}

/// After a step.
pub(super) fn end_held<T: Scalar, A: Architecture<Scalar = T>>(
    network: &mut Network<A>,
    backend: Backend,
    hold: Option<T>,
    room: &mut State<Network<A>, 2>,
) -> Option<Held<T>> {
    let held = network.hold_rate_on(backend, hold?, room);
    Some(held.unwrap_or_else(|| {
        // The magnitudes have no finite sum: the network without its feedback is still one.
        network.multiply_feedback(T::ZERO);
        Held { rate: T::ZERO, factor: T::ZERO }
    }))
}
