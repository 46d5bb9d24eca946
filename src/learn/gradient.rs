//! From a batch and its targets to a gradient.

use super::adjoint::{Backward, OfHidden, Sent, Share, Start, accumulate_side_by_side, fits_gradient};
use super::learner::Learner;
use super::loss::{Loss, LossError};
use super::planned;
use super::unsolved::{Outcome, Unsolved};
use crate::certificate::CertificateError;
use crate::kernel::{
    Activation, Base, CHUNK, Chosen, Ends, LargestOf, Lent, Matrix, MatrixMut, Outer, Product, Scalar,
    Scratch, TYPED, Typed, column_sums, largest, of_value, once,
};
use crate::network::{
    Architecture, Flat, Form, Looped, Network, Parameters, ParametersMut, Samples, Shape, Source, State,
    Takes, Unrolled, View, Viewed, Walk, Workspace,
};
use crate::simd::{Backend, InLine, Lanes, Operation, Site, Whole, Work};
use crate::solve::{
    HalfRoom, Injection, Lost, Model, NonFinite, Progress, ROOM, Rule, Runner, SMALL_ROOM, Setting,
    SolveError, Solved, Solver, Specialized, Stop, chunks, chunks_of, fits, in_deltas, in_gradient,
    in_loss_gradient, in_states, in_weights, refine, samples_in,
};
use crate::threads::Threads;
use core::fmt;
use nalgebra::SMatrix;

/// How the gradient is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Method<T = f32> {
    /// The exact gradient at the solution: adjoint sweeps until they meet the tolerance (Almeida 1987, Pineda
    /// 1987).
    Implicit(Stop<T>),
    /// So many adjoint sweeps, at least 1, converged or not. One sweep is plain back-propagation through W with the solution's
    /// activations (Fung et al. 2022: Jacobian-free back-propagation).
    Truncated(usize),
    /// The rule as the source article prints it, to compare with: the output layer's delta leaves out what it
    /// reads from below, (U^(L-1,L))^T d^(L-1). It is **not** the gradient as soon as that U is not zero.
    Literal(Stop<T>),
}

impl<T: Scalar> Method<T> {
    /// For the adjoint sweeps; and whether the article's rule is meant.
    #[inline(always)]
    pub(crate) fn stop(self) -> (Stop<T>, bool) {
        match self {
            Self::Implicit(stop) => (stop, false),
            Self::Truncated(sweeps) => (Stop::after(sweeps), false),
            Self::Literal(stop) => (stop, true),
        }
    }

    /// When a solver stops, and the method of one sweep of it.
    pub(crate) fn one_by_one(self) -> (Stop<T>, Self) {
        let (stop, literal) = self.stop();
        (stop, if literal { Self::Literal(Stop::after(1)) } else { Self::Truncated(1) })
    }

    /// Refuses settings out of their range.
    #[inline(always)]
    pub(crate) fn check(&self) -> Result<(), Setting<T>> {
        match self {
            Self::Implicit(stop) | Self::Literal(stop) => stop.check_stored(),
            Self::Truncated(0) => {
                Err(Setting { rule: &Rule { name: "Method::Truncated", range: "1 or more" }, value: T::ZERO })
            }
            Self::Truncated(_) => Ok(()),
        }
    }
}

/// What is to be learnt, and how well the two fixed points are to be met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective<C, T = f32> {
    /// The loss.
    pub loss: C,
    /// For the solve.
    pub solve: Stop<T>,
    /// For the gradient.
    pub method: Method<T>,
    /// By what both fixed points are found: sweeps and nothing else at first. Any other takes room of the caller's; see
    /// [`gradient_in`](Runner::gradient_in).
    pub solver: Solver<T>,
}

impl<C, T: Scalar> Objective<C, T> {
    /// The exact gradient: the solve to a residual of 1e-5, the adjoint to 1e-5 of its largest delta (deltas are
    /// as small as the loss's gradient), each in at most 100 sweeps.
    pub fn new(loss: C) -> Self {
        let residual = T::from_f64(1e-5);
        let method = Method::Implicit(Stop::relative(residual));
        Self { loss, solve: Stop::residual(residual), method, solver: Solver::plain() }
    }
    /// Refuses settings out of their range, before anything is changed.
    #[inline(always)]
    pub(crate) fn check(&self) -> Result<(), LearnError<T>> {
        self.solve.check_stored().map_err(|setting| LearnError::Solve(setting.into()))?;
        self.method.check().map_err(|setting| LearnError::Adjoint(setting.into()))
    }
    /// With another tolerance for the solve.
    #[must_use]
    pub fn solve(self, solve: Stop<T>) -> Self {
        Self { solve, ..self }
    }
    /// With another rule for the gradient.
    #[must_use]
    pub fn method(self, method: Method<T>) -> Self {
        Self { method, ..self }
    }
    /// Finds both fixed points by another solver: damped, by Anderson or Broyden. [`gradient_in`](Runner::gradient_in) and
    /// [`Trainer::step_in`](super::Trainer::step_in) take the room for it.
    #[must_use]
    pub fn solver(self, solver: Solver<T>) -> Self {
        Self { solver, ..self }
    }
}

/// The states of exactly `SWEEPS` sweeps, for the unrolled gradient.
pub struct UnrolledTape<N: Architecture, const B: usize, const SWEEPS: usize> {
    /// Where the sweeps start from.
    pub start: State<N, B>,
    states: [State<N, B>; SWEEPS],
    injection: Injection<N, B>,
    injection_gradient: N::First<B>,
}

impl<N: Architecture, const B: usize, const SWEEPS: usize> UnrolledTape<N, B, SWEEPS> {
    /// From zero.
    pub const ZERO: Self = Self {
        start: State::ZERO,
        states: [const { State::ZERO }; SWEEPS],
        injection: Injection::ZERO,
        injection_gradient: Flat::ZERO,
    };

    /// The states after each sweep.
    #[must_use]
    pub fn states(&self) -> &[State<N, B>; SWEEPS] {
        &self.states
    }
    /// dJ/d(W^1 x + b^1) of the last gradient, for [`Network::input_gradient`].
    #[must_use]
    pub fn injection_gradient(&self) -> &N::First<B> {
        &self.injection_gradient
    }
}

impl<N: Architecture, const B: usize, const SWEEPS: usize> fmt::Debug for UnrolledTape<N, B, SWEEPS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnrolledTape({SWEEPS} sweeps)")
    }
}

/// A gradient that was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct GradientReport<T = f32> {
    /// The loss, before any update.
    pub loss: T,
    /// The solve.
    pub solve: Solved<T>,
    /// The adjoint.
    pub adjoint: Solved<T>,
}

/// Why there is no gradient. Nothing has been accumulated.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LearnError<T = f32> {
    /// The solve found no solution.
    Solve(SolveError<T>),
    /// The adjoint found no solution.
    Adjoint(SolveError<T>),
    /// The target does not go with the outputs.
    Loss(LossError),
    /// The loss, its gradient, or a sum of the gradient is a NaN or too large to be finite for certain: which, and where.
    NotFinite(NonFinite),
    /// The optimizer refused its settings or the gradient.
    Update(super::UpdateError),
    /// What learns cannot be held to its rate: a network that an adapter borrows has a larger one itself.
    Hold(CertificateError<T>),
    /// The room that was lent is too small for the solver or the activation.
    Room {
        /// Numbers needed, at least: [`Objective::room`].
        needed: usize,
        /// Numbers that were lent: none by what takes no room.
        given: usize,
    },
}

impl<T: fmt::Debug> fmt::Display for LearnError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Solve(error) => write!(f, "solve: {error}"),
            Self::Adjoint(error) => write!(f, "adjoint: {error}"),
            Self::Loss(error) => write!(f, "loss: {error}"),
            Self::NotFinite(what) => what.fmt(f),
            Self::Update(error) => write!(f, "update: {error}"),
            Self::Hold(error) => write!(f, "hold: {error}"),
            Self::Room { needed, given } => {
                write!(f, "a room of {given} numbers was lent, {needed} are needed (`Objective::room`)")
            }
        }
    }
}

impl<T: fmt::Debug> core::error::Error for LearnError<T> {}

impl<T> LearnError<T> {
    /// Where nobody has looked yet what it is.
    pub(crate) const NOT_FINITE: Self = Self::NotFinite(NonFinite::Overflow);
}

impl<T: Scalar, A: Architecture<Scalar = T>> Network<A> {
    /// Solves, takes the loss, solves the adjoint, and adds the gradient of every parameter to `gradient`.
    ///
    /// `input`: `B` samples of as many values as the network has inputs; `target`: what the loss asks for `B` samples.
    ///
    /// ```
    /// use attractor::{fnn, Workspace};
    /// use attractor::learn::{MeanSquared, Objective};
    /// type Net = fnn![2, 4, 1];
    /// let (net, mut gradient) = (Net::ZERO, Net::ZERO);
    /// let mut workspace = Workspace::<Net>::ZERO;
    /// let learned =
    ///     net.gradient(&Objective::new(MeanSquared), &[0.5, -0.5], &[1.0], &mut workspace, &mut gradient)?;
    /// assert_eq!(learned.loss, 1.0);
    /// assert_eq!(gradient.layer::<2>().b[0], -2.0);
    /// # Ok::<(), attractor::learn::LearnError>(())
    /// ```
    ///
    /// # Errors
    /// [`LearnError`]; `gradient` is then unchanged.
    #[inline]
    pub fn gradient<X, Y: ?Sized, C, const I: usize, const B: usize>(
        &self,
        objective: &Objective<C, T>,
        input: &X,
        target: &Y,
        workspace: &mut Workspace<Self, B>,
        gradient: &mut Self,
    ) -> Result<GradientReport<T>, LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<A::Output<B>, Y, Scalar = T>,
    {
        self.on(Backend::best()).gradient(objective, input, target, workspace, gradient)
    }

    /// The adjoint of a state: sweeps `deltas` from what they hold, for the gradient `output` = dJ/dh of the
    /// outputs. A part of [`gradient`](Self::gradient); `state` should be a solution.
    ///
    /// # Errors
    /// [`SolveError::NotFinite`], with the deltas reset to zero; [`SolveError::NotConverged`] and [`SolveError::Setting`], with the deltas kept.
    #[inline]
    pub fn adjoint<const B: usize>(
        &self,
        method: Method<T>,
        state: &State<Self, B>,
        output: &A::Output<B>,
        deltas: &mut State<Self, B>,
    ) -> Result<Solved<T>, SolveError<T>> {
        self.on(Backend::best()).adjoint(method, state, output, deltas)
    }

    /// Adds to `gradient` what `deltas` at `state` make of it. A part of [`gradient`](Self::gradient).
    ///
    /// # Errors
    /// [`LearnError::NotFinite`] if a value is not finite or a sum might not be; `gradient` is then unchanged.
    #[inline]
    pub fn accumulate<X: Samples<T, I, B>, const I: usize, const B: usize>(
        input: &X,
        state: &State<Self, B>,
        deltas: &State<Self, B>,
        gradient: &mut Self,
    ) -> Result<(), LearnError<T>>
    where
        A: Takes<I>,
    {
        add(Backend::best(), Threads::One, input, state, deltas, T::ONE, gradient)
    }

    /// dJ/dx = (W^1)^T d^1, from the first layer of the deltas (`workspace.adjoint.first()`) or from
    /// [`UnrolledTape::injection_gradient`].
    ///
    /// ```
    /// use attractor::{fnn, Workspace};
    /// use attractor::learn::{MeanSquared, Objective};
    /// use nalgebra::SMatrix;
    /// type Net = fnn![2, 4, 1];
    /// let mut net = Net::ZERO;
    /// net.layer_mut::<1>().w.fill(0.5);
    /// net.layer_mut::<2>().w.fill(0.5);
    /// let mut workspace = Workspace::<Net>::ZERO;
    /// net.gradient(&Objective::new(MeanSquared), &[0.5, 0.0], &[1.0], &mut workspace, &mut Net::ZERO)?;
    /// let mut slope = SMatrix::zeros();
    /// net.input_gradient(workspace.adjoint.first(), &mut slope)?;
    /// assert!(slope[0] < 0.0); // a larger input would make the loss smaller
    /// # Ok::<(), attractor::learn::LearnError>(())
    /// ```
    ///
    /// # Errors
    /// [`LearnError::NotFinite`] if the result is not finite.
    pub fn input_gradient<const I: usize, const B: usize>(
        &self,
        first: &A::First<B>,
        input: &mut SMatrix<T, B, I>,
    ) -> Result<(), LearnError<T>>
    where
        A: Takes<I>,
    {
        let (params, deltas) = (self.parameters()?, Matrix::new(first.flat(), B, Network::<A>::FIRST)?);
        let Some(layer) = params.layout().layers().first() else { return Err(LearnError::NOT_FINITE) };
        let product = Product { matrix: params.w(layer), operand: deltas };
        // From zero, the largest change is the largest result, whatever was there before.
        input.fill(T::ZERO);
        match crate::kernel::transposed(Backend::best(), Base::Zero, &[product], input.into()) {
            Ok(changed) if changed.residual.is_finite() => Ok(()),
            _ => {
                let found = self.wrong_weight().or_else(|| in_deltas(&Self::OUTLINE, deltas));
                Err(LearnError::NotFinite(found.unwrap_or(NonFinite::Overflow)))
            }
        }
    }

    /// Makes exactly `SWEEPS` sweeps from `tape.start`, takes the loss of the last, and adds the exact gradient
    /// of that computation to `gradient`. It keeps `SWEEPS` states and goes back through them twice, so that an
    /// overflow is found before anything is accumulated.
    ///
    /// # Errors
    /// [`LearnError`]; `gradient` is then unchanged.
    #[inline]
    pub fn gradient_unrolled<X, Y: ?Sized, C, const I: usize, const B: usize, const SWEEPS: usize>(
        &self,
        loss: &C,
        input: &X,
        target: &Y,
        tape: &mut UnrolledTape<Self, B, SWEEPS>,
        workspace: &mut Workspace<Self, B>,
        gradient: &mut Self,
    ) -> Result<GradientReport<T>, LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<A::Output<B>, Y, Scalar = T>,
    {
        self.on(Backend::best()).gradient_unrolled(loss, input, target, tape, workspace, gradient)
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>, M: Learner<Architecture = A>> Runner<'_, M> {
    /// [`Network::gradient`] on this backend.
    ///
    /// # Errors
    /// As [`Network::gradient`].
    #[inline]
    pub fn gradient<X, Y: ?Sized, C, const I: usize, const B: usize>(
        self,
        objective: &Objective<C, T>,
        input: &X,
        target: &Y,
        workspace: &mut Workspace<Network<A>, B>,
        gradient: &mut M::Params,
    ) -> Result<GradientReport<T>, LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<A::Output<B>, Y, Scalar = T>,
    {
        let learned = self.settle(objective, input, target, workspace)?;
        self.network.add((self.backend, self.threads), input, workspace, gradient)?;
        Ok(learned)
    }

    /// Both fixed points: all of a gradient but its sums.
    #[inline]
    pub(crate) fn settle<X, Y: ?Sized, C, const I: usize, const B: usize>(
        self,
        objective: &Objective<C, T>,
        input: &X,
        target: &Y,
        workspace: &mut Workspace<Network<A>, B>,
    ) -> Result<GradientReport<T>, LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<A::Output<B>, Y, Scalar = T>,
    {
        objective.check()?;
        objective.check_plain(|| objective.room::<Network<A>>(B))?;
        let Workspace { state, adjoint, output } = workspace;
        let solve = self.solve_checked(input, state, objective.solve).map_err(LearnError::Solve)?;
        let loss = evaluate(&objective.loss, self.backend, state, target, output)?;
        let adjoint = self
            .adjoint_checked(&objective.method, state, output, (), adjoint)
            .map_err(LearnError::Adjoint)?;
        Ok(GradientReport { loss, solve, adjoint })
    }

    /// [`settle`](Self::settle), or what is to be done with a batch that does not converge; of an objective that was [checked](Objective::check).
    #[inline]
    pub(crate) fn settle_or<X, Y: ?Sized, C, const I: usize, const B: usize>(
        self,
        unsolved: Unsolved<T>,
        objective: &Objective<C, T>,
        (input, target): (&X, &Y),
        workspace: &mut Workspace<Network<A>, B>,
    ) -> Result<(GradientReport<T>, Outcome), LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<A::Output<B>, Y, Scalar = T>,
    {
        objective.check_plain(|| objective.room::<Network<A>>(B))?;
        both(
            unsolved,
            workspace,
            |room| self.solve_checked(input, &mut room.state, objective.solve),
            |room| evaluate(&objective.loss, self.backend, &room.state, target, &mut room.output),
            |room| self.adjoint_checked(&objective.method, &room.state, &room.output, (), &mut room.adjoint),
        )
    }

    /// [`Network::adjoint`] on this backend.
    ///
    /// # Errors
    /// As [`Network::adjoint`].
    pub fn adjoint<const B: usize>(
        self,
        method: Method<T>,
        state: &State<Network<A>, B>,
        output: &A::Output<B>,
        deltas: &mut State<Network<A>, B>,
    ) -> Result<Solved<T>, SolveError<T>> {
        self.adjoint_of(method, state, output, (), deltas)
    }

    /// The same, of a loss of hidden units too.
    pub(super) fn adjoint_of<G: OfHidden<T>, const B: usize>(
        self,
        method: Method<T>,
        state: &State<Network<A>, B>,
        output: &A::Output<B>,
        hidden: G,
        deltas: &mut State<Network<A>, B>,
    ) -> Result<Solved<T>, SolveError<T>> {
        method.check()?;
        self.adjoint_checked(&method, state, output, hidden, deltas)
    }

    /// The same of a method whose settings are in their ranges.
    fn adjoint_checked<G: OfHidden<T>, const B: usize>(
        self,
        method: &Method<T>,
        state: &State<Network<A>, B>,
        output: &A::Output<B>,
        hidden: G,
        deltas: &mut State<Network<A>, B>,
    ) -> Result<Solved<T>, SolveError<T>> {
        const { of_value::<A::Hidden, A::Outputs>() };
        let result = if const { M::PLAIN && B == 1 && Network::<A>::UNROLLED } {
            self.adjoint_unrolled(method, state, output, hidden, deltas)
        } else {
            self.adjoint_as::<A::Hidden, A::Outputs, G, B>(*method, state, output, hidden, deltas)
        };
        self.adjoint_settled(result, state, output, deltas)
    }

    /// What an adjoint gave, its deltas back at zero where they may be anything.
    #[inline(always)]
    pub(super) fn adjoint_settled<const B: usize>(
        self,
        result: Result<Progress<T>, Lost>,
        state: &State<Network<A>, B>,
        output: &A::Output<B>,
        deltas: &mut State<Network<A>, B>,
    ) -> Result<Solved<T>, SolveError<T>> {
        match result {
            Ok(progress) => progress.finish(),
            Err(Lost) => Err(self.lost_adjoint(state, output, deltas)),
        }
    }

    /// The same with these activations, and what they take slopes from in the place of the states.
    #[inline(always)]
    pub(super) fn adjoint_as<H: Activation, O: Activation, G: OfHidden<T>, const B: usize>(
        self,
        method: Method<T>,
        state: &State<Network<A>, B>,
        output: &A::Output<B>,
        hidden: G,
        deltas: &mut State<Network<A>, B>,
    ) -> Result<Progress<T>, Lost> {
        let (units, flat) = (Network::<A>::UNITS, output.flat());
        let params = self.network.source()?;
        let states = Matrix::new(state.as_slice(), B, units)?;
        let output = Matrix::new(flat, B, flat.len() / B)?;
        let deltas = MatrixMut::new(deltas.as_mut_slice(), B, units)?;
        let (stop, literal) = method.stop();
        let (backend, threads) = (self.backend, self.threads);
        if const { !TYPED } {
            let (params, ends, hidden) = (params.view(), Chosen::new::<H, O>(), hidden.matrix());
            let adjoint = Adjoint { params, states, output, hidden, deltas, stop, literal, ends };
            T::once::<AdjointOnce>((adjoint, backend, threads))
        } else {
            let ends = Typed::<H, O>::NEW;
            let adjoint = Adjoint { params, states, output, hidden, deltas, stop, literal, ends };
            match const { (B == 1, <A::Form>::REACH.is_far()) } {
                (true, false) => adjoint.typed::<M::AdjointRoom<1>, 1, false>(backend, threads),
                (true, true) => adjoint.typed::<M::AdjointRoom<1>, 1, true>(backend, threads),
                (false, false) => adjoint.typed::<M::AdjointRoom<CHUNK>, CHUNK, false>(backend, threads),
                (false, true) => adjoint.typed::<M::AdjointRoom<CHUNK>, CHUNK, true>(backend, threads),
            }
        }
    }

    /// What it was that left the finite numbers, and the deltas back at zero.
    #[inline(always)]
    pub(super) fn lost_adjoint<const B: usize>(
        self,
        state: &State<Network<A>, B>,
        output: &A::Output<B>,
        deltas: &mut State<Network<A>, B>,
    ) -> SolveError<T> {
        if const { TYPED } {
            // As where a solve is lost.
            deltas.reset();
            return SolveError::NOT_FINITE;
        }
        self.search_adjoint(state, output, deltas)
    }

    /// [`lost_adjoint`](Self::lost_adjoint) where flash is not small.
    #[cold]
    #[inline(never)]
    fn search_adjoint<const B: usize>(
        self,
        state: &State<Network<A>, B>,
        output: &A::Output<B>,
        deltas: &mut State<Network<A>, B>,
    ) -> SolveError<T> {
        let (shape, units, flat) = (const { &Network::<A>::OUTLINE }, Network::<A>::UNITS, output.flat());
        let in_states = || in_states(shape, Matrix::new(state.as_slice(), B, units).ok()?);
        let in_output = || in_loss_gradient(Matrix::new(flat, B, flat.len() / B).ok()?);
        let in_deltas = || in_deltas(shape, Matrix::new(deltas.as_slice(), B, units).ok()?);
        let found = self.network.wrong_weight().or_else(in_states).or_else(in_output).or_else(in_deltas);
        let found = found.unwrap_or(NonFinite::Overflow);
        deltas.reset();
        SolveError::NotFinite(found)
    }

    #[inline(always)]
    fn adjoint_unrolled<G: OfHidden<T>, const B: usize>(
        self,
        method: &Method<T>,
        state: &State<Network<A>, B>,
        output: &A::Output<B>,
        hidden: G,
        deltas: &mut State<Network<A>, B>,
    ) -> Result<Progress<T>, Lost> {
        let walk = Unrolled::<Network<A>>::NEW;
        let network = self.network;
        T::run(self.backend, AdjointOne { network, state, output, hidden, deltas, method, walk })
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>> Runner<'_, Network<A>> {
    /// [`Network::gradient_unrolled`] on this backend.
    ///
    /// # Errors
    /// As [`Network::gradient_unrolled`].
    pub fn gradient_unrolled<X, Y: ?Sized, C, const I: usize, const B: usize, const SWEEPS: usize>(
        self,
        loss: &C,
        input: &X,
        target: &Y,
        tape: &mut UnrolledTape<Network<A>, B, SWEEPS>,
        workspace: &mut Workspace<Network<A>, B>,
        gradient: &mut Network<A>,
    ) -> Result<GradientReport<T>, LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<A::Output<B>, Y, Scalar = T>,
    {
        const { of_value::<A::Hidden, A::Outputs>() };
        let UnrolledTape { start, states, injection, injection_gradient } = tape;
        self.inject(input, injection).map_err(LearnError::Solve)?;
        let mut residual = T::ZERO;
        let mut previous: &State<_, B> = start;
        for state in states.iter_mut() {
            state.as_mut_slice().copy_from_slice(previous.as_slice());
            residual = self.sweep(injection, state).map_err(LearnError::Solve)?;
            previous = state;
        }
        let loss = evaluate(loss, self.backend, previous, target, &mut workspace.output)?;
        let units = Network::<A>::UNITS;
        let mut adjoint = T::ZERO;
        // The first time through only looks whether everything stays finite.
        for accumulating in [false, true] {
            workspace.adjoint.reset();
            injection_gradient.flat_mut().fill(T::ZERO);
            for t in (0..SWEEPS).rev() {
                let before = if t == 0 { Some(&*start) } else { states.get(t - 1) };
                let (Some(after), Some(before)) = (states.get(t), before) else { continue };
                let output = if t + 1 == SWEEPS { Some(workspace.output.flat()) } else { None };
                let params = self.network.parameters()?;
                let back = BackSweep {
                    output: output.map(|output| Matrix::new(output, B, output.len() / B)).transpose()?,
                    after: Matrix::new(after.as_slice(), B, units)?,
                    before: Matrix::new(before.as_slice(), B, units)?,
                    deltas: MatrixMut::new(workspace.adjoint.as_mut_slice(), B, units)?,
                    injection: injection_gradient.flat_mut(),
                    gradient: if accumulating { Some(gradient.parameters_mut()?) } else { None },
                };
                let swept = if const { !TYPED } {
                    let ends = Chosen::new::<A::Hidden, A::Outputs>();
                    T::once::<BackOnce>((params.view(), back, ends, self.backend))
                } else {
                    let (ends, mut room): (_, A::Scratch<CHUNK>) =
                        (Typed::<A::Hidden, A::Outputs>::NEW, Flat::ZERO);
                    T::run(
                        self.backend,
                        Whole(BackSweepOn { params, back, hidden: (), ends, room: &mut room }),
                    )
                };
                adjoint = swept.map_err(|lost| match lost {
                    BackLost::Deltas => {
                        let Workspace { output, adjoint, .. } = &mut *workspace;
                        LearnError::Adjoint(self.lost_adjoint(after, output, adjoint))
                    }
                    BackLost::Sums => lost_gradient(input.samples(), after, &workspace.adjoint),
                })?;
            }
            let gradient = if accumulating { Some(gradient.parameters_mut()?) } else { None };
            let deltas = Matrix::new(injection_gradient.flat(), B, Network::<A>::FIRST)?;
            T::once::<FirstOnce>((FirstLayer { input: input.samples(), deltas, gradient }, self.backend))
                .map_err(|Lost| lost_first::<T>(&Network::<A>::OUTLINE, input.samples(), deltas))?;
        }
        Ok(GradientReport {
            loss,
            solve: Solved { sweeps: SWEEPS, residual },
            adjoint: Solved { sweeps: SWEEPS, residual: adjoint },
        })
    }
}

impl<'a, T: Scalar, A: Architecture<Scalar = T>> Specialized<Runner<'a, Network<A>>> {
    /// [`Network::gradient`].
    ///
    /// # Errors
    /// As [`Network::gradient`].
    pub fn gradient<X, Y: ?Sized, C, const I: usize, const B: usize>(
        self,
        objective: &Objective<C, T>,
        input: &X,
        target: &Y,
        workspace: &mut Workspace<Network<A>, B>,
        gradient: &mut Network<A>,
    ) -> Result<GradientReport<T>, LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<A::Output<B>, Y, Scalar = T>,
    {
        let learned = self.settle_or(Unsolved::Error, objective, (input, target), workspace)?;
        self.add(input, workspace, gradient)?;
        Ok(learned.0)
    }

    /// Both fixed points, or what is to be done with a batch that does not converge.
    pub(super) fn settle_or<X, Y: ?Sized, C, const I: usize, const B: usize>(
        self,
        unsolved: Unsolved<T>,
        objective: &Objective<C, T>,
        (input, target): (&X, &Y),
        workspace: &mut Workspace<Network<A>, B>,
    ) -> Result<(GradientReport<T>, Outcome), LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<A::Output<B>, Y, Scalar = T>,
    {
        objective.method.check().map_err(|setting| LearnError::Adjoint(setting.into()))?;
        objective.check_plain(|| objective.room::<Network<A>>(B))?;
        let on = self.0;
        both(
            unsolved,
            workspace,
            |room| self.solve(input, &mut room.state, objective.solve),
            |room| evaluate(&objective.loss, on.backend, &room.state, target, &mut room.output),
            |room| {
                let Workspace { state, adjoint, output } = room;
                if const { !(B == 1 && Network::<A>::specializes(1)) } {
                    return on.adjoint_checked(&objective.method, state, output, (), adjoint);
                }
                let result = on.adjoint_unrolled(&objective.method, state, output, (), adjoint);
                on.adjoint_settled(result, state, output, adjoint)
            },
        )
    }

    /// The sums of a gradient.
    pub(super) fn add<X, const I: usize, const B: usize>(
        self,
        input: &X,
        Workspace { state, adjoint, .. }: &Workspace<Network<A>, B>,
        gradient: &mut Network<A>,
    ) -> Result<(), LearnError<T>>
    where
        A: Takes<I>,
        X: Samples<T, I, B>,
    {
        let on = self.0;
        if const { !(B == 1 && Network::<A>::specializes(1)) } {
            return add(on.backend, on.threads, input, state, adjoint, T::ONE, gradient);
        }
        let (from, walk) = (Kept { input, state, deltas: adjoint }, Unrolled::<Network<A>>::NEW);
        T::run(on.backend, Whole(Accumulate::<_, _, _, _, 1> { from, factor: T::ONE, to: gradient, walk }))
            .map_err(|Lost| lost_gradient(input.samples(), state, adjoint))
    }
}

/// So that a program that trains and solves has one error.
impl<T> From<SolveError<T>> for LearnError<T> {
    fn from(error: SolveError<T>) -> Self {
        Self::Solve(error)
    }
}

// Shapes inside the crate come from one layout and always fit; were it otherwise, there would be no gradient.
impl<T> From<crate::kernel::ShapeError> for LearnError<T> {
    fn from(_: crate::kernel::ShapeError) -> Self {
        Self::NOT_FINITE
    }
}
impl<T> From<crate::LengthError> for LearnError<T> {
    fn from(_: crate::LengthError) -> Self {
        Self::NOT_FINITE
    }
}

/// Both fixed points of a gradient and the loss between them, in `room`; or what is to be done with a batch that does not converge.
#[inline(always)]
pub(crate) fn both<T: Scalar, W>(
    unsolved: Unsolved<T>,
    room: &mut W,
    solve: impl FnOnce(&mut W) -> Result<Solved<T>, SolveError<T>>,
    loss: impl FnOnce(&mut W) -> Result<T, LearnError<T>>,
    adjoint: impl FnOnce(&mut W) -> Result<Solved<T>, SolveError<T>>,
) -> Result<(GradientReport<T>, Outcome), LearnError<T>> {
    let (solve, solved) = unsolved.admits(solve(room)).map_err(LearnError::Solve)?;
    let loss = loss(room)?;
    let mut report = GradientReport { loss, solve, adjoint: Solved { sweeps: 0, residual: T::ZERO } };
    if !solved && unsolved != Unsolved::UseLast {
        return Ok((report, Outcome::Skipped));
    }
    let (adjoint, also) = unsolved.admits(adjoint(room)).map_err(LearnError::Adjoint)?;
    report.adjoint = adjoint;
    let outcome = match (solved && also, unsolved) {
        (true, _) => Outcome::Solved,
        (false, Unsolved::UseLast) => Outcome::Inexact,
        (false, _) => Outcome::Skipped,
    };
    Ok((report, outcome))
}

/// The loss and its gradient, both finite.
pub(super) fn evaluate<
    N: Architecture,
    Y: ?Sized,
    C: Loss<N::Output<B>, Y, Scalar = N::Scalar>,
    const B: usize,
>(
    loss: &C,
    backend: Backend,
    state: &State<N, B>,
    target: &Y,
    gradient: &mut N::Output<B>,
) -> Result<N::Scalar, LearnError<N::Scalar>> {
    let value = loss.evaluate_on(backend, state.output(), target, gradient).map_err(LearnError::Loss)?;
    all_finite(value, gradient.flat(), B)
}

/// The loss, if it and its gradient, of so many samples, are finite.
pub(crate) fn all_finite<T: Scalar>(loss: T, gradient: &[T], samples: usize) -> Result<T, LearnError<T>> {
    if loss.is_finite() && gradient.iter().all(|g| g.is_finite()) {
        return Ok(loss);
    }
    if const { TYPED } {
        return Err(LearnError::NOT_FINITE);
    }
    let found =
        Matrix::new(gradient, samples, gradient.len() / samples.max(1)).ok().and_then(in_loss_gradient);
    Err(LearnError::NotFinite(found.unwrap_or(NonFinite::Loss)))
}

/// The sums of a gradient, compiled once for all networks.
struct SumsJob<'a, T> {
    from: Sent<'a, T>,
    factor: T,
    to: ParametersMut<'a, T>,
    backend: Backend,
    threads: Threads,
}
once!(SumsOnce: SumsJob<'a, T> => Result<(), Lost>, sums_once);

fn sums_once<T: Scalar>(job: SumsJob<'_, T>) -> Result<(), Lost> {
    let SumsJob { from, factor, to, backend, threads } = job;
    let (layout, walk) = (to.layout(), Looped);
    // Where layers share, a parameter has summands of several layers, and one thread adds them up in order.
    if threads == Threads::One || layout.is_shared() {
        return if from.deltas.rows() == 1 {
            Accumulate::<_, _, _, _, 1> { from, factor, to, walk }.on(backend)
        } else {
            Accumulate::<_, _, _, _, CHUNK> { from, factor, to, walk }.on(backend)
        };
    }
    if !from.fits(backend, factor, layout) {
        return Err(Lost);
    }
    let layers = to.into_layers().ok_or(Lost)?;
    accumulate_side_by_side(backend, threads, factor, from, layout, layers);
    Ok(())
}

/// An adjoint of whatever network; the deltas are back at zero where they may be anything.
pub(crate) fn adjoint_flat<T: Scalar>(
    (params, ends, shape): (Parameters<'_, T>, Chosen<T>, &Shape),
    method: Method<T>,
    (states, output): (Matrix<'_, T>, Matrix<'_, T>),
    mut deltas: MatrixMut<'_, T>,
    (backend, threads): (Backend, Threads),
) -> Result<Solved<T>, SolveError<T>> {
    let (stop, literal) = method.stop();
    let deltas_there = deltas.reborrow();
    let (params_there, hidden) = (params.view(), None);
    let adjoint =
        Adjoint { params: params_there, states, output, hidden, deltas: deltas_there, stop, literal, ends };
    match T::once::<AdjointOnce>((adjoint, backend, threads)) {
        Ok(progress) => progress.finish(),
        Err(Lost) => Err(lost_adjoint_flat(params, shape, (states, output), deltas)),
    }
}

/// What it was that left the finite numbers, and the deltas back at zero.
pub(crate) fn lost_adjoint_flat<T: Scalar>(
    params: Parameters<'_, T>,
    shape: &Shape,
    (states, output): (Matrix<'_, T>, Matrix<'_, T>),
    mut deltas: MatrixMut<'_, T>,
) -> SolveError<T> {
    let found = in_weights(params)
        .or_else(|| in_states(shape, states))
        .or_else(|| in_loss_gradient(output))
        .or_else(|| in_deltas(shape, deltas.as_ref()));
    deltas.fill_with(|_| T::ZERO);
    SolveError::NotFinite(found.unwrap_or(NonFinite::Overflow))
}

/// Adds the gradient of whatever network to what is there, if no sum can leave the finite numbers.
pub(crate) fn add_flat<T: Scalar>(
    to: ParametersMut<'_, T>,
    shape: &Shape,
    from: Sent<'_, T>,
    (backend, threads): (Backend, Threads),
) -> Result<(), LearnError<T>> {
    let Sent { input, states, deltas } = from;
    T::once::<SumsOnce>(SumsJob { from, factor: T::ONE, to, backend, threads })
        .map_err(|Lost| LearnError::NotFinite(in_gradient(shape, input, states, deltas)))
}

/// The adjoint of any number of samples.
pub(crate) struct Adjoint<'a, T, S, E, G = Option<Matrix<'a, T>>> {
    pub(super) params: S,
    pub(super) states: Matrix<'a, T>,
    pub(super) output: Matrix<'a, T>,
    pub(super) hidden: G,
    pub(super) deltas: MatrixMut<'a, T>,
    pub(super) stop: Stop<T>,
    pub(super) literal: bool,
    pub(super) ends: E,
}
once!(AdjointOnce: (Adjoint<'a, T, View<'a, T>, Chosen<T>>, Backend, Threads) => Result<Progress<T>, Lost>, adjoint_once);

fn adjoint_once<'a, T: Scalar>(
    (adjoint, backend, threads): (Adjoint<'a, T, View<'a, T>, Chosen<T>>, Backend, Threads),
) -> Result<Progress<T>, Lost> {
    // A sample that is a part of a batch does not lie in a row.
    adjoint.side_by_side(threads, &|part: Adjoint<'a, T, View<'a, T>, Chosen<T>>| {
        if part.deltas.rows() > 1 || part.deltas.stride() > 1 {
            adjoint_in_room::<_, ROOM, CHUNK>(part, backend)
        } else if part.params.rank() * part.params.layout().depth() > SMALL_ROOM {
            adjoint_in_room::<_, ROOM, 1>(part, backend)
        } else if let Some(params) = part.params.plain()
            && planned::is_near(params.layout())
        {
            let Adjoint { states, output, hidden, deltas, stop, literal, ends, .. } = part;
            planned::adjoint(Adjoint { params, states, output, hidden, deltas, stop, literal, ends }, backend)
        } else {
            adjoint_in_room::<_, SMALL_ROOM, 1>(part, backend)
        }
    })
}

/// With room for so many scalars, which is not in the frames above, of which there are as many as there are halvings.
#[inline(never)]
fn adjoint_in_room<'a, T: Scalar, const N: usize, const C: usize>(
    adjoint: Adjoint<'a, T, View<'a, T>, Chosen<T>>,
    backend: Backend,
) -> Result<Progress<T>, Lost> {
    let mut room = Scratch::<T, N>::new();
    adjoint_with::<_, C>(adjoint, backend, &mut room.lend())
}

/// One copy, whatever the size of the room.
#[inline(never)]
fn adjoint_with<'a, T: Scalar, const C: usize>(
    adjoint: Adjoint<'a, T, View<'a, T>, Chosen<T>>,
    backend: Backend,
    room: &mut Lent<'_, T>,
) -> Result<Progress<T>, Lost> {
    InChunks::<_, _, _, _, _, _, C, true> { adjoint, room, walk: Looped }.on(backend)
}

impl<'a, T: Scalar, S: Source<'a, T>, E: Ends<T>, G: OfHidden<T>> Adjoint<'a, T, S, E, G> {
    /// In code of the network's own, with as much room as it needs.
    fn typed<R: Flat<Scalar = T>, const C: usize, const FAR: bool>(
        self,
        backend: Backend,
        threads: Threads,
    ) -> Result<Progress<T>, Lost> {
        self.side_by_side(threads, &|part| {
            let mut room = R::ZERO;
            let work = InChunks::<_, _, _, _, _, _, C, FAR> { adjoint: part, room: &mut room, walk: Looped };
            T::run(backend, Whole(work))
        })
    }

    /// Parts of the samples side by side, if `threads` says so.
    fn side_by_side<W>(self, threads: Threads, work: &W) -> Result<Progress<T>, Lost>
    where
        W: Fn(Self) -> Result<Progress<T>, Lost> + Sync,
    {
        let samples = self.deltas.rows();
        let Some(half) = threads.split(samples) else { return work(self) };
        let (first, second) = self.deltas.split_rows(half);
        let part = |from, count, deltas| Adjoint {
            states: self.states.row_range(from, count),
            output: self.output.row_range(from, count),
            hidden: self.hidden.rows(from, count),
            deltas,
            ..self
        };
        let (first, second) = (part(0, half, first), part(half, samples - half, second));
        let (first, second) =
            threads.join(|| first.side_by_side(threads, work), || second.side_by_side(threads, work));
        let mut progress = first?;
        progress.merge(second?)?;
        Ok(progress)
    }
}

/// An adjoint in chunks (`C` = CHUNK) or of one sample (`C` = 1).
struct InChunks<'a, 'b, T, S, E, G, R, W, const C: usize, const FAR: bool> {
    adjoint: Adjoint<'a, T, S, E, G>,
    room: &'b mut R,
    walk: W,
}

impl<'a, T, S, E, G, R, W, const C: usize, const FAR: bool> Work<T>
    for InChunks<'a, '_, T, S, E, G, R, W, C, FAR>
where
    G: OfHidden<T>,
    T: Scalar,
    S: Source<'a, T>,
    E: Ends<T>,
    R: HalfRoom<T>,
    W: Walk,
{
    type Output = Result<Progress<T>, Lost>;

    #[inline(always)]
    fn on(self, site: impl Site<T>) -> Self::Output {
        let (room, walk) = (self.room, self.walk);
        let Adjoint { params, states, output, hidden, mut deltas, stop, literal, ends } = self.adjoint;
        let each = params.rank() * walk.layout(params.layout()).depth();
        let most = samples_in(&*room, each, CHUNK);
        let mut progress = Progress::default();
        for (first, samples) in chunks_of(deltas.rows(), most) {
            let mut backward = Backward::<T, _, _, _, W, _, FAR> {
                params,
                injected: Some(output.row_range(first, samples)),
                hidden: hidden.rows(first, samples),
                literal,
                states: states.row_range(first, samples),
                deltas: deltas.reborrow().row_range(first, samples),
                ends,
                walk,
                room: &mut *room,
            };
            if const { S::CORRECTED } && params.rank() > 0 {
                site.run(Start::<_, C>(&mut backward));
            }
            progress.merge(refine::<C, T>(site, samples, stop, backward))?;
        }
        Ok(progress)
    }
}

/// The adjoint of one sample, compiled for one type of network.
struct AdjointOne<'a, N, K, G, I, T, W> {
    network: &'a N,
    state: &'a K,
    output: &'a G,
    hidden: I,
    deltas: &'a mut K,
    method: &'a Method<T>,
    walk: W,
}

impl<T: Scalar, A: Architecture<Scalar = T>, M, G, I, W, const B: usize> Operation<T>
    for AdjointOne<'_, M, State<Network<A>, B>, G, I, T, W>
where
    I: OfHidden<T>,
    M: Learner<Architecture = A>,
    G: Flat<Scalar = T>,
    W: Walk,
{
    type Output = Result<Progress<T>, Lost>;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output {
        let units = Network::<A>::UNITS;
        let params = self.network.source()?;
        let states = Matrix::new(self.state.as_slice(), B, units)?;
        let output = Matrix::new(self.output.flat(), B, G::LEN / B)?;
        let deltas = MatrixMut::new(self.deltas.as_mut_slice(), B, units)?;
        let ((stop, literal), ends) = (self.method.stop(), Typed::<A::Hidden, A::Outputs>::NEW);
        let mut room: M::AdjointRoom<1> = Flat::ZERO;
        let hidden = self.hidden;
        let adjoint = Adjoint { params, states, output, hidden, deltas, stop, literal, ends };
        let (room, walk) = (&mut room, self.walk);
        if const { <A::Form>::REACH.is_far() } {
            InChunks::<_, _, _, _, _, _, 1, true> { adjoint, room, walk }.on(InLine(lanes))
        } else {
            InChunks::<_, _, _, _, _, _, 1, false> { adjoint, room, walk }.on(InLine(lanes))
        }
    }
}

/// The same of the sums of the first layer's deltas.
#[cold]
#[inline(never)]
fn lost_first<T: Scalar>(shape: &Shape, input: Matrix<'_, T>, deltas: Matrix<'_, T>) -> LearnError<T> {
    LearnError::NotFinite(in_gradient(shape, input, input.row_range(0, 0), deltas))
}

/// What it is that a gradient cannot be summed up of.
#[inline(always)]
pub(crate) fn lost_gradient<T: Scalar, A: Architecture<Scalar = T>, const B: usize>(
    input: Matrix<'_, T>,
    state: &State<Network<A>, B>,
    deltas: &State<Network<A>, B>,
) -> LearnError<T> {
    // As where a solve is lost.
    if const { TYPED } { LearnError::NOT_FINITE } else { search_gradient(input, state, deltas) }
}

/// [`lost_gradient`] where flash is not small.
#[cold]
#[inline(never)]
fn search_gradient<T: Scalar, A: Architecture<Scalar = T>, const B: usize>(
    input: Matrix<'_, T>,
    state: &State<Network<A>, B>,
    deltas: &State<Network<A>, B>,
) -> LearnError<T> {
    let units = Network::<A>::UNITS;
    match (Matrix::new(state.as_slice(), B, units), Matrix::new(deltas.as_slice(), B, units)) {
        (Ok(states), Ok(deltas)) => {
            LearnError::NotFinite(in_gradient(const { &Network::<A>::OUTLINE }, input, states, deltas))
        }
        _ => LearnError::NOT_FINITE,
    }
}

/// Adds `factor` times the gradient of `B` samples to what is there, if no sum can leave the finite numbers.
#[inline(always)]
pub(super) fn add<T: Scalar, A: Takes<I, Scalar = T>, X, const I: usize, const B: usize>(
    backend: Backend,
    threads: Threads,
    input: &X,
    state: &State<Network<A>, B>,
    deltas: &State<Network<A>, B>,
    factor: T,
    to: &mut Network<A>,
) -> Result<(), LearnError<T>>
where
    X: Samples<T, I, B>,
{
    let added = add_fitting(backend, threads, input, state, deltas, factor, to);
    added.map_err(|Lost| lost_gradient(input.samples(), state, deltas))
}

#[inline(always)]
fn add_fitting<T: Scalar, A: Takes<I, Scalar = T>, X, const I: usize, const B: usize>(
    backend: Backend,
    threads: Threads,
    input: &X,
    state: &State<Network<A>, B>,
    deltas: &State<Network<A>, B>,
    factor: T,
    to: &mut Network<A>,
) -> Result<(), Lost>
where
    X: Samples<T, I, B>,
{
    if const { B == 1 && Network::<A>::UNROLLED } {
        let (from, walk) = (Kept::<A, _, I, B> { input, state, deltas }, Unrolled::<Network<A>>::NEW);
        return T::run(backend, Whole(Accumulate::<_, _, _, _, 1> { from, factor, to, walk }));
    }
    let (from, to) = (Sent::new(input.samples(), state, deltas)?, to.parameters_mut()?);
    // Where there are no threads, a program does not keep what shares out.
    if const { !TYPED || cfg!(feature = "rayon") } {
        return T::once::<SumsOnce>(SumsJob { from, factor, to, backend, threads });
    }
    let walk = Looped;
    if const { B == 1 } {
        T::run(backend, Whole(Accumulate::<_, _, _, _, 1> { from, factor, to, walk }))
    } else {
        T::run(backend, Whole(Accumulate::<_, _, _, _, CHUNK> { from, factor, to, walk }))
    }
}

/// What a gradient is summed from, with all shapes in its type.
struct Kept<'a, A: Architecture, X, const I: usize, const B: usize> {
    input: &'a X,
    state: &'a State<Network<A>, B>,
    deltas: &'a State<Network<A>, B>,
}

/// What a gradient is summed from: views, or what they are views of, from which they are only had where its type is known.
trait Origin<T> {
    fn sent(&self) -> Result<Sent<'_, T>, crate::kernel::ShapeError>;
}

impl<T: Scalar> Origin<T> for Sent<'_, T> {
    #[inline(always)]
    fn sent(&self) -> Result<Sent<'_, T>, crate::kernel::ShapeError> {
        Ok(*self)
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>, X, const I: usize, const B: usize> Origin<T>
    for Kept<'_, A, X, I, B>
where
    X: Samples<T, I, B>,
{
    #[inline(always)]
    fn sent(&self) -> Result<Sent<'_, T>, crate::kernel::ShapeError> {
        Sent::new(self.input.samples(), self.state, self.deltas)
    }
}

/// What a gradient is added to: parameters, or a network, from which they are only had where its type is known, so that a
/// program all of whose networks are unrolled does not keep their layouts.
trait Target<'a, T> {
    fn parameters(self) -> Result<ParametersMut<'a, T>, crate::LengthError>;
}

impl<'a, T: Scalar> Target<'a, T> for ParametersMut<'a, T> {
    #[inline(always)]
    fn parameters(self) -> Result<ParametersMut<'a, T>, crate::LengthError> {
        Ok(self)
    }
}

impl<'a, T: Scalar, A: Architecture<Scalar = T>> Target<'a, T> for &'a mut Network<A> {
    #[inline(always)]
    fn parameters(self) -> Result<ParametersMut<'a, T>, crate::LengthError> {
        self.parameters_mut()
    }
}

struct Accumulate<Q, T, P, W, const C: usize> {
    from: Q,
    factor: T,
    to: P,
    walk: W,
}

impl<'a, Q: Origin<T>, T: Scalar, P: Target<'a, T>, W: Walk, const C: usize> Work<T>
    for Accumulate<Q, T, P, W, C>
{
    type Output = Result<(), Lost>;

    #[inline(always)]
    fn on(self, site: impl Site<T>) -> Self::Output {
        let Self { from, factor, to, walk } = self;
        let (sent, mut to) = (from.sent()?, to.parameters()?);
        if !sent.fits(site, factor, walk.layout(to.layout())) {
            return Err(Lost);
        }
        let Sent { input, states, deltas } = sent;
        let share = Share { factor, input: Some(input), below: states, above: states, deltas };
        share.add::<C>(site, &mut to, walk);
        Ok(())
    }
}

/// One sweep back: the deltas of the sweep that led from `before` to `after`.
struct BackSweep<'a, T> {
    output: Option<Matrix<'a, T>>,
    after: Matrix<'a, T>,
    before: Matrix<'a, T>,
    deltas: MatrixMut<'a, T>,
    /// Sum of the first layer's deltas, as long as its states.
    injection: &'a mut [T],
    gradient: Option<ParametersMut<'a, T>>,
}
once!(BackOnce: (View<'a, T>, BackSweep<'a, T>, Chosen<T>, Backend) => Result<T, BackLost>, back_once);

/// What of a sweep back left the finite numbers.
enum BackLost {
    /// The deltas.
    Deltas,
    /// What a gradient is summed up of.
    Sums,
}

fn back_once<T: Scalar>(
    (params, back, ends, backend): (View<'_, T>, BackSweep<'_, T>, Chosen<T>, Backend),
) -> Result<T, BackLost> {
    let mut room = Scratch::<T, ROOM>::new();
    BackSweepOn { params, back, hidden: None, ends, room: &mut room.lend() }.on(backend)
}

/// The same with activations, and room for half sums.
struct BackSweepOn<'a, 'b, T, S, G, E, R> {
    params: S,
    back: BackSweep<'a, T>,
    /// No gradient of hidden units, of the type an adjoint has.
    hidden: G,
    ends: E,
    room: &'b mut R,
}

impl<'a, T, S, G, E, R> Work<T> for BackSweepOn<'a, '_, T, S, G, E, R>
where
    T: Scalar,
    S: Source<'a, T>,
    G: OfHidden<T>,
    E: Ends<T>,
    R: HalfRoom<T>,
{
    type Output = Result<T, BackLost>;

    #[inline(always)]
    fn on(self, site: impl Site<T>) -> Self::Output {
        let Self { params, back, hidden, ends, room } = self;
        let BackSweep { output, after, before, mut deltas, injection, gradient } = back;
        let samples = deltas.rows();
        let mut progress = Progress::default();
        for (first, samples) in chunks(samples) {
            let backward = Backward::<T, _, _, _, Looped, _, true> {
                params,
                hidden,
                injected: output.map(|output| output.row_range(first, samples)),
                literal: false,
                states: after.row_range(first, samples),
                deltas: deltas.reborrow().row_range(first, samples),
                ends,
                walk: Looped,
                room: &mut *room,
            };
            let solved = refine::<CHUNK, T>(site, samples, Stop::after(1), backward);
            progress.merge(solved).map_err(|Lost| BackLost::Deltas)?;
        }
        let deltas = deltas.as_ref();
        let delta = site.run(LargestOf(deltas));
        for factor in [after, before].map(|states| site.run(LargestOf(states))) {
            if !fits_gradient(delta, factor, samples * params.layout().shares()) {
                return Err(BackLost::Sums);
            }
        }
        // The first layer's units come first, the samples of a unit side by side: as the sum has them.
        for (i, sum) in injection.iter_mut().enumerate() {
            *sum += deltas.at(i % samples, i / samples).unwrap_or(T::NAN);
        }
        if let Some(mut gradient) = gradient {
            let share = Share { factor: T::ONE, input: None, below: after, above: before, deltas };
            share.add::<CHUNK>(site, &mut gradient, Looped);
        }
        Ok(progress.residual())
    }
}

once!(FirstOnce: (FirstLayer<'a, T>, Backend) => Result<(), Lost>, first_once);

fn first_once<T: Scalar>((first, backend): (FirstLayer<'_, T>, Backend)) -> Result<(), Lost> {
    T::run(backend, first)
}

/// What the first layer's summed deltas make of W^1 and b^1.
struct FirstLayer<'a, T> {
    input: Matrix<'a, T>,
    deltas: Matrix<'a, T>,
    gradient: Option<ParametersMut<'a, T>>,
}

impl<T: Scalar> Operation<T> for FirstLayer<'_, T> {
    type Output = Result<(), Lost>;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output {
        let Self { input, deltas, gradient } = self;
        if !fits_gradient(largest(lanes, deltas), largest(lanes, input), input.rows()) {
            return Err(Lost);
        }
        if let Some(mut gradient) = gradient
            && let Some(first) = gradient.layout().layers().first()
        {
            let (w, _, b) = gradient.layer(first);
            fits(lanes.vectorize(Outer { factor: T::ONE, deltas, inputs: input, gradient: w }));
            fits(column_sums(T::ONE, deltas, b));
        }
        Ok(())
    }
}
