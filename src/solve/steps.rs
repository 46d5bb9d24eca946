//! A solve of one sample in single sweeps, for those who do something in between.

use super::{Injection, Model, NonFinite, Runner, SolveError, Solved, Stop, in_input};
use crate::kernel::{Matrix, Scalar, largest_on};
use crate::network::{Architecture, Network, Samples, State, Takes};

/// A solve under way. Swept until the tolerance is met, it is [`Network::solve`], bit for bit.
pub(super) struct Steps<'a, M: Model<Architecture = A>, A: Architecture> {
    on: Runner<'a, M>,
    injection: &'a Injection<Network<A>>,
    stop: Stop<A::Scalar>,
    /// Sweeps made.
    pub(super) sweeps: usize,
}

/// What a sweep did.
pub(super) struct Step<T> {
    /// The largest change of a unit.
    pub(super) residual: T,
    /// The largest change that would have met the tolerance.
    pub(super) bound: T,
}

impl<T: Scalar> Step<T> {
    /// Whether the tolerance is met. A bound that is NaN is never met.
    pub(super) fn met(&self) -> bool {
        self.residual <= self.bound
    }
}

impl<'a, T: Scalar, A: Architecture<Scalar = T>, M: Model<Architecture = A>> Steps<'a, M, A> {
    /// Before the first sweep. Errors as [`Network::solve`] gives them: an input that is not finite leaves the state as it is.
    pub(super) fn new<X: Samples<T, I, 1>, const I: usize>(
        on: Runner<'a, M>,
        input: &X,
        injection: &'a mut Injection<Network<A>>,
        state: &mut State<Network<A>>,
        stop: Stop<T>,
    ) -> Result<Self, SolveError<T>>
    where
        A: Takes<I>,
    {
        stop.check()?;
        if !largest_on(on.backend, input.samples()).is_finite() {
            let found = in_input(input.samples()).unwrap_or(NonFinite::Overflow);
            return Err(SolveError::NotFinite(found));
        }
        if let Err(error) = on.inject(input, injection) {
            state.reset();
            return Err(error);
        }
        Ok(Self { on, injection, stop, sweeps: 0 })
    }

    /// Whether the limit allows another sweep.
    pub(super) fn allowed(&self) -> bool {
        self.sweeps < self.stop.limit
    }

    /// One sweep. After an error the state is zero.
    pub(super) fn sweep(&mut self, state: &mut State<Network<A>>) -> Result<Step<T>, SolveError<T>> {
        self.sweeps += 1;
        let residual = self.on.sweep(self.injection, state)?;
        let Stop { absolute, relative, .. } = self.stop;
        let scale = if relative == T::ZERO { T::ZERO } else { self.largest(state) };
        Ok(Step { residual, bound: absolute + relative * scale })
    }

    /// The largest activation.
    pub(super) fn largest(&self, state: &State<Network<A>>) -> T {
        let column = Matrix::new(state.as_slice(), 1, Network::<A>::UNITS);
        column.map_or(T::NAN, |column| largest_on(self.on.backend, column))
    }

    /// What came of it after a last sweep of this residual, of none before the first.
    pub(super) fn finish(&self, residual: Option<T>, met: bool) -> Result<Solved<T>, SolveError<T>> {
        let sweeps = self.sweeps;
        if met || self.stop.exact {
            return Ok(Solved { sweeps, residual: residual.unwrap_or(T::ZERO) });
        }
        Err(SolveError::NotConverged { sweeps, residual: residual.unwrap_or(T::MAX) })
    }

    /// Whether a solve ends here: with a sweep that met the tolerance, unless exactly so many were asked for.
    pub(super) fn ends(&self, step: &Step<T>) -> bool {
        step.met() && !self.stop.exact
    }
}
