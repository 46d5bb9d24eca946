//! Training of networks whose widths are chosen when running.

use super::{DynError, DynNetwork, DynWorkspace, Own};
use crate::certificate::Held;
use crate::kernel::{DynMatrix, Scalar, ShapeError};
use crate::learn::{
    Loss, Objective, OnePass, Optimizer, Outcome, Step, Unsolved, check_held, check_settings,
    clip_and_update, hold as default_hold, saturated_flat,
};
use crate::network::ParametersMut;
use crate::simd::Backend;
use crate::threads::Threads;
use core::fmt;
use nalgebra::{DMatrixViewMut, Dyn, RawStorage};

/// A [`Trainer`](crate::learn::Trainer) of a [`DynNetwork`]: network, optimizer and workspace in one place, one batch a call. A step allocates nothing,
/// but the first one after its objective was given a solver that takes more room.
#[cfg_attr(docsrs, doc(cfg(feature = "alloc")))]
pub struct DynTrainer<T: Scalar, O, C, P = Own<T>> {
    /// The network that learns.
    pub network: DynNetwork<T, P>,
    /// Its optimizer.
    pub optimizer: O,
    /// The loss, the tolerances, the rule.
    pub objective: Objective<C, T>,
    /// The learning rate of the next step, 1e-3 at first.
    pub rate: T,
    /// The norm gradients are clipped to; none by default.
    pub clip: Option<T>,
    /// The rate the network is held to after every step, 0.9 at first; see [`Trainer::hold`](crate::learn::Trainer::hold).
    pub hold: Option<T>,
    /// What is done with a batch that does not converge all the same; an error at first.
    pub unsolved: Unsolved<T>,
    /// The backend of solve and gradient; the best by default.
    pub backend: Backend,
    /// The threads for batches of more than 32 samples; one by default.
    pub threads: Threads,
    gradient: Own<T>,
    workspace: DynWorkspace<T>,
    holding: Own<T>,
    /// For the objective's solver.
    room: Own<T>,
    count: u64,
}

impl<T: Scalar, O, C, P: AsRef<[T]>> DynTrainer<T, O, C, P> {
    /// A trainer of this network on batches of up to `samples` samples.
    #[must_use]
    pub fn new(network: DynNetwork<T, P>, optimizer: O, objective: Objective<C, T>, samples: usize) -> Self {
        let room = Own::zeros(network.room(&objective.solver, samples));
        Self {
            optimizer,
            objective,
            rate: T::from_f64(1e-3),
            clip: None,
            hold: Some(default_hold()),
            unsolved: Unsolved::Error,
            backend: Backend::best(),
            threads: Threads::One,
            gradient: Own::zeros(network.params().len()),
            workspace: DynWorkspace::zeros(&network, samples),
            holding: Own::zeros(2 * network.units()),
            room,
            count: 0,
            network,
        }
    }

    /// The last step's gradient, clipped if it was clipped.
    #[must_use]
    pub fn gradient(&self) -> &[T] {
        self.gradient.as_ref()
    }
    /// The last step's states and deltas.
    #[must_use]
    pub const fn workspace(&self) -> &DynWorkspace<T> {
        &self.workspace
    }
}

impl<T: Scalar, O: Optimizer<T>, C, P: AsRef<[T]> + AsMut<[T]>> DynTrainer<T, O, C, P> {
    /// Learns from one batch: gradient, clipping, update; then the network is held to its rate. Every step starts cold.
    ///
    /// `inputs`: a row a sample, no more than there is room for; `target`: what the loss asks for as many samples.
    ///
    /// # Errors
    /// [`DynError`]; the network and the optimizer are then unchanged, but that the first step holds the network before it begins.
    pub fn step<X: RawStorage<T, Dyn, Dyn>, Y: ?Sized>(
        &mut self,
        inputs: &nalgebra::Matrix<T, Dyn, Dyn, X>,
        target: &Y,
    ) -> Result<Step<T>, DynError<T>>
    where
        C: for<'v> Loss<DMatrixViewMut<'v, T>, Y, Scalar = T>,
    {
        check_settings(self.rate, self.clip, &self.objective)?;
        // What is wrong is refused before the room grows.
        self.objective.check_solver()?;
        self.workspace.states.fits(&self.network, inputs.shape())?;
        let needed = self.network.room(&self.objective.solver, inputs.nrows());
        if self.room.as_ref().len() < needed {
            self.room = Own::zeros(needed);
        }
        check_held(self.hold, self.unsolved)?;
        self.workspace.reset();
        if let Some(rate) = self.hold
            && self.holding.as_ref().first() == Some(&T::ZERO)
        {
            // Weights that are not finite are found by the solve.
            let _ = self.network.hold_rate_on(self.backend, rate, self.holding.as_mut());
        }
        let on = self.network.on(self.backend).threads(self.threads);
        let (given, room) = ((inputs, target), self.room.as_mut());
        let settled = on.settle_or(self.unsolved, &self.objective, given, &mut self.workspace, room);
        let mut norm = None;
        match &settled {
            Ok((_, outcome)) if *outcome != Outcome::Skipped => {
                if !self.one_pass(inputs)? {
                    norm = self.add_and_update(inputs)?;
                }
            }
            _ => self.threads.clear(self.gradient.as_mut()),
        }
        let (report, outcome) = settled?;
        if let (Outcome::Skipped, Unsolved::Weaken(factor)) = (outcome, self.unsolved) {
            self.network.multiply_feedback(factor);
        }
        self.count += u64::from(outcome != Outcome::Solved);
        let held = self.held();
        let saturated = self.saturated();
        Ok(Step { report, outcome, norm, held, unsolved: self.count, saturated })
    }

    /// Gradient and update in one pass over the weights, if there is one sample, the optimizer says what it does and nothing is clipped; whether it
    /// was made.
    fn one_pass<X: RawStorage<T, Dyn, Dyn>>(&mut self, inputs: &DynMatrix<T, X>) -> Result<bool, ShapeError> {
        let (layout, params) = self.network.layout_and_params();
        let (Some(optimizer), None) = (self.optimizer.entrywise(), self.clip) else { return Ok(false) };
        let (from, gradient) = (self.workspace.sent(inputs)?, self.gradient.as_mut());
        let (rate, backend) = (self.rate, self.backend);
        Ok(OnePass { from, layout, params, gradient, optimizer, rate, backend }.step())
    }

    /// Gradient and then update; the norm the gradient had, where it is clipped.
    fn add_and_update<X: RawStorage<T, Dyn, Dyn>>(
        &mut self,
        inputs: &DynMatrix<T, X>,
    ) -> Result<Option<T>, DynError<T>> {
        let gradient = self.gradient.as_mut();
        self.threads.clear(gradient);
        let to = ParametersMut::new(gradient, self.network.layout())
            .map_err(|error| super::length("entries of the gradient", error))?;
        let on = self.network.on(self.backend).threads(self.threads);
        on.add(self.workspace.sent(inputs)?, to)?;
        let (by, params) = (((self.backend, self.threads), &mut self.optimizer), self.network.params_mut());
        Ok(clip_and_update(by, params, self.gradient.as_mut(), self.clip, self.rate)?)
    }

    /// The share of the first layer that is saturated.
    fn saturated(&self) -> Option<T> {
        let (shape, layout) = (self.network.shape(), self.network.layout());
        let code = if layout.depth() == 1 { shape.output } else { shape.hidden };
        let units = layout.units_of(1)?.len() * self.workspace.states.samples();
        saturated_flat(code, self.backend, self.workspace.states.as_slice().get(..units)?)
    }

    fn held(&mut self) -> Option<Held<T>> {
        let held = self.network.hold_rate_on(self.backend, self.hold?, self.holding.as_mut());
        Some(held.unwrap_or_else(|_| {
            // The magnitudes have no finite sum: the network without its feedback is still one.
            self.network.multiply_feedback(T::ZERO);
            Held { rate: T::ZERO, factor: T::ZERO }
        }))
    }
}

impl<T: Scalar, O, C, P> fmt::Debug for DynTrainer<T, O, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DynTrainer({:?}, {:?})", self.network, self.workspace)
    }
}
