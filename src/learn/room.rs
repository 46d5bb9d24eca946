//! Gradients in room of the caller's: both fixed points by any solver, and slopes that are functions of sums.

use super::gradient::{GradientReport, LearnError, Method, Objective, both, evaluate};
use super::learner::Learner;
use super::loss::Loss;
use super::unsolved::{Outcome, Unsolved};
use crate::kernel::{Scalar, Stored, of_sum, of_value};
use crate::network::{Architecture, Network, Samples, State, Takes, Workspace};
use crate::solve::{Lost, Map, MapError, Progress, Rule, Runner, Setting, SolveError, Solved, swept};
use core::fmt;

impl<C, T: Scalar> Objective<C, T> {
    /// Numbers of room that a gradient of a network `N` takes of so many samples: those of the solver
    /// ([`Solver::room_of`](crate::solve::Solver::room_of)), and of slopes that are functions of sums
    /// ([`Activation::SLOPE`](crate::kernel::Activation::SLOPE)), one a unit and sample, with W^1 x + b^1. Without either, none.
    #[must_use]
    pub const fn room<N: Architecture<Scalar = T>>(&self, samples: usize) -> usize {
        let slopes =
            if of_sum::<N::Hidden, N::Outputs>() { N::LAYOUT.units().saturating_mul(samples) } else { 0 };
        let first = N::LAYOUT.layer(0).width.saturating_mul(samples);
        if !self.solver.is_plain() {
            slopes.saturating_add(self.solver.room_of::<N>(samples))
        } else if slopes > 0 {
            slopes.saturating_add(first)
        } else {
            0
        }
    }

    /// Refuses settings of the solver out of their range.
    pub(crate) fn check_solver(&self) -> Result<(), LearnError<T>> {
        self.solver.check_own().map_err(|setting| LearnError::Solve(setting.into()))
    }

    /// The same, and a room that is too small.
    pub(crate) fn check_room(&self, needed: usize, given: usize) -> Result<(), LearnError<T>> {
        self.check_solver()?;
        if given < needed { Err(LearnError::Room { needed, given }) } else { Ok(()) }
    }

    /// Refuses a solver that takes room, where none is lent.
    #[inline(always)]
    pub(crate) fn check_plain(&self, needed: impl FnOnce() -> usize) -> Result<(), LearnError<T>> {
        if self.solver.is_plain() { Ok(()) } else { Err(LearnError::Room { needed: needed(), given: 0 }) }
    }

    /// Refuses a solver that takes room, for a loss of all units.
    pub(crate) fn check_plain_units(&self) -> Result<(), LearnError<T>> {
        const RULE: &Rule =
            &Rule { name: "Objective::solver", range: "`Solver::plain` for a loss of all units" };
        if self.solver.is_plain() {
            return Ok(());
        }
        let value = T::from_usize(self.solver.columns());
        Err(LearnError::Solve(Setting { rule: RULE, value }.into()))
    }
}

/// An adjoint sweep of a network, or of an adapted one, at a state, as a [`Map`]; see [`Runner::adjoint_map`].
pub struct AdjointSweeps<'a, M: Learner, const B: usize> {
    on: Runner<'a, M>,
    /// One sweep, of the rule that is meant.
    method: Method<<M::Architecture as Architecture>::Scalar>,
    /// Or slopes, of a network whose activations have them of sums.
    state: &'a State<Network<M::Architecture>, B>,
    output: &'a <M::Architecture as Architecture>::Output<B>,
}

impl<M: Learner, const B: usize> fmt::Debug for AdjointSweeps<'_, M, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdjointSweeps({B} samples)")
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>, M: Learner<Architecture = A>, const B: usize> Map
    for AdjointSweeps<'_, M, B>
{
    type Scalar = T;
    fn units(&self) -> usize {
        Network::<A>::UNITS
    }
    fn samples(&self) -> usize {
        B
    }
    fn apply(&self, deltas: &[T], next: &mut [T]) {
        let Self { on, method, state, output } = self;
        swept(deltas, next, |next| {
            let next = State::<Network<A>, B>::from_slice_mut(next);
            next.is_ok_and(|next| on.adjoint_at(*method, state, output, next).is_ok())
        });
    }
}

impl<'a, T: Scalar, A: Architecture<Scalar = T>, M: Learner<Architecture = A>> Runner<'a, M> {
    /// The adjoint's sweep at a state as a [`Map`], for a [`Solver`](crate::solve::Solver) of your choice; `output`: dJ/dh of the outputs. Its fixed point
    /// are the deltas d of [`Network::adjoint`].
    ///
    /// ```
    /// use attractor::learn::Method;
    /// use attractor::solve::Solver;
    /// use attractor::{Stop, fnn, simd::Backend};
    /// use nalgebra::SMatrix;
    /// type Net = fnn![1, 2, 1; scalar = f64];
    /// let mut net = Net::ZERO;
    /// net.params_mut().fill(0.4);
    /// let (mut state, mut deltas) = (Net::state::<1>(), Net::state::<1>());
    /// net.solve(&[1.0], &mut state, Stop::residual(1e-12))?;
    /// let (runner, output) = (net.on(Backend::best()), SMatrix::from([[1.0]]));
    /// let mut room = [0.0; Solver::<f64>::anderson(2).room(Net::UNITS, 1)];
    /// let map = runner.adjoint_map(&state, &output);
    /// Solver::anderson(2).solve(&map, deltas.as_mut_slice(), Stop::residual(1e-12), &mut room)?;
    /// let mut swept = Net::state::<1>();
    /// net.adjoint(Method::Implicit(Stop::residual(1e-12)), &state, &output, &mut swept)?;
    /// assert!((deltas.as_slice()[0] - swept.as_slice()[0]).abs() < 1e-10);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn adjoint_map<const B: usize>(
        self,
        state: &'a State<Network<A>, B>,
        output: &'a A::Output<B>,
    ) -> AdjointSweeps<'a, M, B> {
        const { of_value::<A::Hidden, A::Outputs>() };
        AdjointSweeps { on: self, method: Method::Truncated(1), state, output }
    }

    /// [`gradient`](Self::gradient) with both fixed points found by [`Objective::solver`], and for networks whose activations have their slopes of sums
    /// ([`Activation::SLOPE`](crate::kernel::Activation::SLOPE)), in room of the caller's: at least [`Objective::room`] numbers, whatever they hold.
    ///
    /// The gradient is that at the fixed point, which does not depend on how it is found. Solvers work in one thread.
    ///
    /// ```
    /// use attractor::learn::{MeanSquared, Objective};
    /// use attractor::solve::Solver;
    /// use attractor::{Stop, Workspace, fnn, kernel::Identity, simd::Backend};
    /// type Net = fnn![1, 2, 1; hidden = Identity, scalar = f64];
    /// let mut net = Net::ZERO;
    /// net.layer_mut::<1>().w.fill(1.0);
    /// net.layer_mut::<1>().u.fill(1.5); // a sweep makes errors larger
    /// net.layer_mut::<2>().w.fill(0.5);
    /// let objective = Objective::new(MeanSquared).solver(Solver::anderson(2));
    /// let mut room = [0.0; 64];
    /// assert!(objective.room::<Net>(1) <= room.len());
    /// let (mut workspace, mut gradient) = (Workspace::<Net>::ZERO, Net::ZERO);
    /// let on = net.on(Backend::best());
    /// on.gradient_in(&objective, &[1.0], &[0.0], &mut workspace, &mut room, &mut gradient)?;
    /// assert!((workspace.state.output()[0] + 2.0).abs() < 1e-4);
    /// assert!(on.gradient(&Objective::new(MeanSquared), &[1.0], &[0.0], &mut Workspace::ZERO, &mut gradient).is_err());
    /// # Ok::<(), attractor::learn::LearnError<f64>>(())
    /// ```
    ///
    /// # Errors
    /// [`LearnError`]; `gradient` is then unchanged. Of a room that is too small, everything is.
    pub fn gradient_in<X, Y: ?Sized, C, const I: usize, const B: usize>(
        self,
        objective: &Objective<C, T>,
        input: &X,
        target: &Y,
        workspace: &mut Workspace<Network<A>, B>,
        room: &mut [T],
        gradient: &mut M::Params,
    ) -> Result<GradientReport<T>, LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<A::Output<B>, Y, Scalar = T>,
    {
        let learned = self.settle_in(Unsolved::Error, objective, (input, target), workspace, room)?;
        self.network.add((self.backend, self.threads), input, workspace, gradient)?;
        Ok(learned.0)
    }

    /// Both fixed points by the objective's solver, or what is to be done with a batch that does not converge.
    pub(crate) fn settle_in<X, Y: ?Sized, C, const I: usize, const B: usize>(
        self,
        unsolved: Unsolved<T>,
        objective: &Objective<C, T>,
        (input, target): (&X, &Y),
        workspace: &mut Workspace<Network<A>, B>,
        room: &mut [T],
    ) -> Result<(GradientReport<T>, Outcome), LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<A::Output<B>, Y, Scalar = T>,
    {
        objective.check()?;
        objective.check_room(objective.room::<Network<A>>(B), room.len())?;
        let solver = &objective.solver;
        both(
            unsolved,
            &mut (workspace, room),
            |(workspace, room)| {
                if solver.is_plain() {
                    return self.solve(input, &mut workspace.state, objective.solve);
                }
                let solved = self.solve_in(solver, input, &mut workspace.state, objective.solve, room);
                solved.map_err(into_solve)
            },
            |(Workspace { state, output, .. }, _)| {
                evaluate(&objective.loss, self.backend, state, target, output)
            },
            |(workspace, room)| self.adjoint_in(objective, input, workspace, room),
        )
    }

    /// The adjoint of a workspace's state by the objective's solver.
    fn adjoint_in<X, C, const I: usize, const B: usize>(
        self,
        objective: &Objective<C, T>,
        input: &X,
        workspace: &mut Workspace<Network<A>, B>,
        room: &mut [T],
    ) -> Result<Solved<T>, SolveError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
    {
        let Workspace { state, adjoint, output } = workspace;
        let (solver, method) = (&objective.solver, objective.method);
        let (states, first) = (B * Network::<A>::UNITS, B * Network::<A>::FIRST);
        let mut history = room;
        let slopes = if const { of_sum::<A::Hidden, A::Outputs>() } {
            let Some((slopes, rest)) = history.split_at_mut_checked(states) else {
                return Err(SolveError::NOT_FINITE);
            };
            let Ok(slopes) = State::from_slice_mut(slopes) else { return Err(SolveError::NOT_FINITE) };
            let injection = rest.get_mut(..first).unwrap_or_default();
            self.inject_into(input, injection)?;
            if self.slopes_at(injection, state, slopes).is_err() {
                return Err(self.lost_adjoint(state, output, adjoint));
            }
            history = rest;
            Some(&*slopes)
        } else {
            None
        };
        let from = slopes.unwrap_or(state);
        if solver.is_plain() {
            let result = self.adjoint_at(method, from, output, adjoint);
            return self.adjoint_settled(result, state, output, adjoint);
        }
        let (stop, method) = method.one_by_one();
        let map = AdjointSweeps { on: self, method, state: from, output };
        match solver.solve(&map, adjoint.as_mut_slice(), stop, history).map_err(into_solve) {
            Err(SolveError::NotFinite(_)) => Err(self.lost_adjoint(state, output, adjoint)),
            result => result,
        }
    }

    /// The adjoint at a state, or with these slopes where activations have them of sums.
    fn adjoint_at<const B: usize>(
        self,
        method: Method<T>,
        state: &State<Network<A>, B>,
        output: &A::Output<B>,
        deltas: &mut State<Network<A>, B>,
    ) -> Result<Progress<T>, Lost> {
        if const { of_sum::<A::Hidden, A::Outputs>() } {
            self.adjoint_as::<Stored, Stored, (), B>(method, state, output, (), deltas)
        } else {
            self.adjoint_as::<A::Hidden, A::Outputs, (), B>(method, state, output, (), deltas)
        }
    }
}

/// The room was looked at before: no slice is too short.
pub(crate) fn into_solve<T>(error: MapError<T>) -> SolveError<T> {
    match error {
        MapError::Solve(error) => error,
        MapError::Setting(setting) => SolveError::Setting(setting),
        MapError::Length { .. } => SolveError::NOT_FINITE,
    }
}
