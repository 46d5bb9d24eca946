//! Maps whose fixed points are asked for: your own, and those of networks.

use super::{Injection, MapError, Model, Runner, SolveError, Solved, Solver, Stop};
use crate::kernel::{Activation, Scalar};
use crate::network::{Architecture, Flat, Network, Samples, State, Takes};
use crate::simd::Element;

/// A map f of a flat state, whose fixed point h = f(h) is asked for: see [`Solver`](super::Solver), which has an example.
///
/// Several samples are solved side by side: the samples of a unit are neighbours, as in a [`State`]. They must not depend on each other.
pub trait Map {
    /// `f32` or `f64`.
    type Scalar: Scalar;

    /// Numbers in the state of one sample.
    fn units(&self) -> usize;

    /// Samples in a state.
    fn samples(&self) -> usize {
        1
    }

    /// `next` := f(`state`), `units() * samples()` numbers each. What `next` holds before is of no account. A map that has no value
    /// somewhere fills it with NaN.
    fn apply(&self, state: &[Self::Scalar], next: &mut [Self::Scalar]);

    /// A bound on the magnitude of the entries of f(h), whatever h is, if there is one. With it a [`Diagnosis`](super::Diagnosis) knows that growing
    /// changes come to an end.
    fn bound(&self) -> Option<Self::Scalar> {
        None
    }
}

/// A [`Map`] with a derivative, for exact implicit gradients: see [`Solver::adjoint`](super::Solver::adjoint).
pub trait Transposed: Map {
    /// `next` := J^T `deltas`, where J is the Jacobian of f at `state`: entry j is the sum over i of `deltas[i]` df_i/dh_j.
    fn apply_transposed(&self, state: &[Self::Scalar], deltas: &[Self::Scalar], next: &mut [Self::Scalar]);
}

/// The adjoint of a map at a state, which is a map too: d = J^T d + g.
pub(super) struct Adjoint<'a, M: Map + ?Sized> {
    pub(super) map: &'a M,
    pub(super) state: &'a [M::Scalar],
    pub(super) gradient: &'a [M::Scalar],
}

impl<M: Transposed + ?Sized> Map for Adjoint<'_, M> {
    type Scalar = M::Scalar;
    fn units(&self) -> usize {
        self.map.units()
    }
    fn samples(&self) -> usize {
        self.map.samples()
    }
    fn apply(&self, state: &[M::Scalar], next: &mut [M::Scalar]) {
        self.map.apply_transposed(self.state, state, next);
        next.iter_mut().zip(self.gradient).for_each(|(next, g)| *next += *g);
    }
}

/// A sweep of a network, or of an adapted one, as a [`Map`]; see [`Runner::map`].
pub struct Sweeps<'a, M: Model, const B: usize> {
    on: Runner<'a, M>,
    injection: &'a [<M::Architecture as Architecture>::Scalar],
}

impl<M: Model, const B: usize> core::fmt::Debug for Sweeps<'_, M, B> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Sweeps({B} samples)")
    }
}

impl<'a, T: Scalar, A: Architecture<Scalar = T>, M: Model<Architecture = A>> Runner<'a, M> {
    /// The sweep for this input as a [`Map`], for a [`Solver`] of your choice.
    ///
    /// ```
    /// use attractor::solve::Solver;
    /// use attractor::{Injection, Stop, fnn, kernel::Identity, simd::Backend};
    /// type Net = fnn![1, 2, 1; hidden = Identity, scalar = f64];
    /// let mut net = Net::ZERO;
    /// net.layer_mut::<1>().w.fill(1.0);
    /// net.layer_mut::<1>().u.fill(1.5); // a sweep makes errors larger
    /// net.layer_mut::<2>().w.fill(0.5);
    /// let mut injection = Injection::ZERO;
    /// net.inject(&[1.0], &mut injection)?;
    /// let runner = net.on(Backend::best());
    /// let solver = Solver::anderson(2);
    /// let (mut state, mut room) = (Net::state::<1>(), [0.0; Solver::<f64>::anderson(2).room(Net::UNITS, 1)]);
    /// solver.solve(&runner.map(&injection), state.as_mut_slice(), Stop::residual(1e-12), &mut room)?;
    /// assert!((state.output()[0] + 2.0).abs() < 1e-9);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn map<const B: usize>(self, injection: &'a Injection<Network<A>, B>) -> Sweeps<'a, M, B> {
        self.map_of(Flat::flat(&injection.first))
    }

    /// [`map`](Self::map) of an injection in scalars, wherever they are.
    pub(crate) fn map_of<const B: usize>(self, injection: &'a [T]) -> Sweeps<'a, M, B> {
        Sweeps { on: self, injection }
    }

    /// [`solve`](Self::solve) by a solver of your choice: [`Solver::solve`] of a network's sweeps. `room`: at least
    /// [`Solver::room_of`] numbers, whatever they hold. One thread works.
    ///
    /// ```
    /// use attractor::solve::Solver;
    /// use attractor::{Stop, fnn, simd::Backend};
    /// type Net = fnn![1, 2, 1];
    /// let (net, mut state) = (Net::ZERO, Net::state::<1>());
    /// const ANDERSON: Solver = Solver::anderson(2);
    /// let mut room = [0.0; ANDERSON.room_of::<Net>(1)];
    /// let solved = net.on(Backend::best()).solve_in(&ANDERSON, &[1.0], &mut state, Stop::residual(1e-6), &mut room)?;
    /// assert_eq!(solved.sweeps, 1);
    /// # Ok::<(), attractor::solve::MapError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Solver::solve`]; what is not finite is named as [`Network::solve`] does.
    pub fn solve_in<X: Samples<T, I, B>, const I: usize, const B: usize>(
        self,
        solver: &Solver<T>,
        input: &X,
        state: &mut State<Network<A>, B>,
        stop: Stop<T>,
        room: &mut [T],
    ) -> Result<Solved<T>, MapError<T>>
    where
        A: Takes<I>,
    {
        let (needed, given) = (solver.room_of::<Network<A>>(B), room.len());
        let short = MapError::Length { what: "room", needed, given };
        stop.check().and_then(|()| solver.check_own()).map_err(MapError::Setting)?;
        if given < needed {
            return Err(short);
        }
        let (injection, history) = room.split_at_mut_checked(B * Network::<A>::FIRST).ok_or(short)?;
        // An input that is not finite changes nothing.
        self.inject_into(input, injection)?;
        let solved = solver.solve(&self.map_of::<B>(injection), state.as_mut_slice(), stop, history);
        solved.map_err(|error| match error {
            MapError::Solve(SolveError::NotFinite(_)) => {
                MapError::Solve(self.lost(Some(input.samples()), state))
            }
            error => error,
        })
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>, M: Model<Architecture = A>, const B: usize> Map
    for Sweeps<'_, M, B>
{
    type Scalar = T;
    fn units(&self) -> usize {
        Network::<A>::UNITS
    }
    fn samples(&self) -> usize {
        B
    }
    fn apply(&self, state: &[T], next: &mut [T]) {
        swept(state, next, |next| {
            let next = State::<Network<A>, B>::from_slice_mut(next);
            next.is_ok_and(|next| self.on.sweep_from(self.injection, next).is_ok())
        });
    }
    fn bound(&self) -> Option<T> {
        bound::<A>()
    }
}

/// `next` := what a sweep makes of `state`, or NaN where that is not finite.
pub(crate) fn swept<T: Scalar>(state: &[T], next: &mut [T], sweep: impl FnOnce(&mut [T]) -> bool) {
    next.iter_mut().zip(state).for_each(|(next, state)| *next = *state);
    if !sweep(next) {
        next.fill(T::NAN);
    }
}

/// What no activation of a hidden layer exceeds, if there is such a bound: then nothing that is fed back can grow without end.
pub(super) fn bound<A: Architecture>() -> Option<A::Scalar> {
    <A::Hidden as Activation>::BOUND.map(Element::from_f64)
}
