//! The residuals of a solve, sweep by sweep, and what they say.

use super::map::bound;
use super::steps::Steps;
use super::{Injection, Model, Runner, SolveError, Solved, Stop};
use crate::kernel::Scalar;
use crate::network::{Architecture, Flat, Network, Samples, State, Takes};
use crate::simd::{Backend, Element};
use core::fmt;

/// The last `CAPACITY` residuals of a solve by [`Network::solve_traced`], at least four.
///
/// ```
/// use attractor::{Diagnosis, Stop, Trace, fnn};
/// type Net = fnn![1, 1, 1];
/// let mut net = Net::ZERO;
/// net.layer_mut::<1>().w.fill(0.3);
/// net.layer_mut::<1>().u.fill(-2.0); // the output pushes the hidden unit down, that the output, and so on
/// net.layer_mut::<2>().w.fill(2.0);
/// let mut trace = Trace::<f32, 16>::new();
/// let solved = net.solve_traced(&[1.0], &mut Net::state(), Stop::residual(1e-5), &mut trace);
/// assert!(solved.is_err());
/// let diagnosis = trace.diagnosis(None);
/// assert!(matches!(diagnosis, Diagnosis::Oscillating { alternating: true, .. }));
/// println!("{diagnosis}"); // oscillating: the state goes to and fro, ...
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Trace<T = f32, const CAPACITY: usize = 16> {
    /// A ring: that of sweep k, counted from 0, lies at k modulo the capacity.
    residuals: [T; CAPACITY],
    sweeps: usize,
    pub(super) seen: Seen<T>,
}

/// What is known besides the residuals.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Seen<T> {
    /// The residual that would have met the tolerance.
    pub(super) asked: T,
    /// The largest activation.
    pub(super) largest: T,
    /// How far the state is from that of two sweeps before.
    pub(super) returned: T,
    pub(super) met: bool,
    pub(super) finite: bool,
    /// What no activation that is fed back can exceed, if there is such a bound.
    pub(super) bound: Option<T>,
}

impl<T: Element> Seen<T> {
    /// Before the first sweep.
    pub(super) const NOTHING: Self =
        Self { asked: T::ZERO, largest: T::ZERO, returned: T::ZERO, met: false, finite: true, bound: None };
}

impl<T: Element, const CAPACITY: usize> Trace<T, CAPACITY> {
    /// Bytes of it.
    pub const BYTES: usize = size_of::<Self>();

    /// Of no solve yet.
    #[must_use]
    pub const fn new() -> Self {
        const {
            assert!(CAPACITY >= 4, "a trace needs room for four residuals or more, to tell a rate");
        }
        Self { residuals: [T::ZERO; CAPACITY], sweeps: 0, seen: Seen::NOTHING }
    }

    /// Sweeps made that gave a residual.
    #[must_use]
    pub fn sweeps(&self) -> usize {
        self.sweeps
    }

    /// The residuals kept, the oldest first.
    pub fn residuals(&self) -> impl DoubleEndedIterator<Item = T> + Clone {
        let (newer, older) = self.residuals.split_at_checked(self.sweeps % CAPACITY).unwrap_or_default();
        let older = if self.sweeps < CAPACITY { &[] } else { older };
        older.iter().chain(newer).copied()
    }

    /// Those of them that tell a rate: all but the first of the solve, which is how far the start was.
    pub(super) fn telling(&self) -> impl DoubleEndedIterator<Item = T> + Clone {
        let mut residuals = self.residuals();
        if self.sweeps <= CAPACITY {
            residuals.next();
        }
        residuals
    }

    /// The rate seen: a geometric mean of the ratios of the residuals kept, without that of the solve's first sweep. It is
    /// the slope of a line through their logarithms (least squares), which ups and downs of a cycle move but little.
    /// Nothing before the third sweep.
    #[must_use]
    pub fn rate(&self) -> Option<T> {
        let last = self.telling().count().checked_sub(1).filter(|last| *last > 0)?;
        // Once nothing changes, nothing ever will.
        if self.telling().next_back() == Some(T::ZERO) {
            return Some(T::ZERO);
        }
        let middle = 0.5 * last as f64;
        let (mut along, mut square) = (0.0, 0.0);
        for (sweep, residual) in self.telling().enumerate() {
            let from_middle = sweep as f64 - middle;
            along += from_middle * libm::log(residual.to_f64());
            square += from_middle * from_middle;
        }
        Some(T::from_f64(libm::exp(along / square)))
    }

    pub(super) fn record(&mut self, residual: T) {
        if let Some(place) = self.residuals.get_mut(self.sweeps % CAPACITY) {
            *place = residual;
        }
        self.sweeps += 1;
    }
}

impl<T: Element, const CAPACITY: usize> Default for Trace<T, CAPACITY> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>> Network<A> {
    /// [`solve`](Self::solve) of one sample, the same bit for bit, with its residuals written down in `trace`. What was in there
    /// before is forgotten. It takes longer, and a [`TraceRoom`] of stack; [`Runner::solve_traced_in`] takes that from elsewhere.
    ///
    /// ```
    /// use attractor::{Stop, Trace, fnn};
    /// type Net = fnn![3, 8, 2];
    /// # let mut net = Net::ZERO;
    /// # net.layer_mut::<1>().w.fill(0.25);
    /// # net.layer_mut::<1>().u.fill(-0.1);
    /// # net.layer_mut::<2>().w.fill(0.5);
    /// let mut state = Net::state();
    /// let mut trace = Trace::<f32, 32>::new();
    /// if net.solve_traced(&[1.0, 0.5, -0.5], &mut state, Stop::residual(1e-5), &mut trace).is_err() {
    ///     println!("{}", trace.diagnosis(None));
    /// }
    /// assert!(trace.rate().unwrap() < 0.9);
    /// ```
    ///
    /// # Errors
    /// As [`solve`](Self::solve).
    pub fn solve_traced<X: Samples<T, I, 1>, const I: usize, const CAPACITY: usize>(
        &self,
        input: &X,
        state: &mut State<Self>,
        stop: Stop<T>,
        trace: &mut Trace<T, CAPACITY>,
    ) -> Result<Solved<T>, SolveError<T>>
    where
        A: Takes<I>,
    {
        self.on(Backend::best()).solve_traced(input, state, stop, trace)
    }
}

/// Room for [`Runner::solve_traced_in`]: two states and an [`Injection`].
#[repr(C)]
pub struct TraceRoom<N: Architecture> {
    injection: Injection<N>,
    states: State<N, 2>,
}

// SAFETY: repr(C) over scalars in a row, aligned alike.
#[allow(unsafe_code, reason = "room is scalars, wherever it is kept")]
unsafe impl<N: Architecture> Flat for TraceRoom<N> {
    type Scalar = N::Scalar;
}

impl<N: Architecture> TraceRoom<N> {
    /// Room for any trace.
    pub const ZERO: Self = Flat::ZERO;
}

impl<N: Architecture> fmt::Debug for TraceRoom<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceRoom").finish_non_exhaustive()
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>, M: Model<Architecture = A>> Runner<'_, M> {
    /// [`Network::solve_traced`] on this backend.
    ///
    /// # Errors
    /// As [`Network::solve`].
    pub fn solve_traced<X: Samples<T, I, 1>, const I: usize, const CAPACITY: usize>(
        self,
        input: &X,
        state: &mut State<Network<A>>,
        stop: Stop<T>,
        trace: &mut Trace<T, CAPACITY>,
    ) -> Result<Solved<T>, SolveError<T>>
    where
        A: Takes<I>,
    {
        let mut room = TraceRoom::ZERO;
        self.solve_traced_in(input, state, stop, trace, &mut room)
    }

    /// [`solve_traced`](Self::solve_traced) in room of the caller's, which is overwritten: for networks that are too large for the stack.
    ///
    /// # Errors
    /// As [`Network::solve`].
    pub fn solve_traced_in<X: Samples<T, I, 1>, const I: usize, const CAPACITY: usize>(
        self,
        input: &X,
        state: &mut State<Network<A>>,
        stop: Stop<T>,
        trace: &mut Trace<T, CAPACITY>,
        room: &mut TraceRoom<Network<A>>,
    ) -> Result<Solved<T>, SolveError<T>>
    where
        A: Takes<I>,
    {
        stop.check()?;
        *trace = Trace::new();
        trace.seen.finite = false;
        let TraceRoom { injection, states } = room;
        let mut steps = Steps::new(self, input, injection, state, stop)?;
        // The states before the last sweep and before the one before.
        states.reset();
        let (mut last, mut older) = states.as_mut_slice().split_at_mut(Network::<A>::UNITS);
        let mut residual = None;
        let mut met = false;
        while steps.allowed() && !met {
            core::mem::swap(&mut last, &mut older);
            last.copy_from_slice(state.as_slice());
            let step = steps.sweep(state)?;
            residual = Some(step.residual);
            met = steps.ends(&step);
            trace.record(step.residual);
            let moved = state.as_slice().iter().zip(&*older).map(|(new, old)| (*new - *old).magnitude());
            let returned =
                moved.fold(T::ZERO, |largest, moved| if moved > largest { moved } else { largest });
            trace.seen = Seen {
                asked: step.bound,
                largest: steps.largest(state),
                returned,
                met: step.met(),
                finite: false,
                bound: bound::<A>(),
            };
        }
        trace.seen.finite = true;
        steps.finish(residual, met)
    }
}
