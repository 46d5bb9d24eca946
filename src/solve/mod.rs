//! The recurrence: sweeps that refine a state until it stops changing.
//!
//! A sweep updates the layers in order with the freshest values (Gauss-Seidel); a state that a sweep no longer
//! changes solves z^l = W^l h^(l-1) + b^l + sum U^(l,k) h^k, h^l = s(z^l). W^1 x + b^1 does not change meanwhile and
//! is computed once an input. (Bai, Kolter and Koltun 2019 call such a network a deep equilibrium model.)

mod accelerate;
mod corrected;
mod diagnosis;
mod energy;
mod map;
mod model;
mod non_finite;
mod planned;
mod refine;
mod solver;
mod steps;
mod stop;
mod sweep;
mod trace;

pub use accelerate::Acceleration;
pub(crate) use corrected::{Thin, ThinBack, thin_back};
pub use diagnosis::Diagnosis;
pub(crate) use map::swept;
pub use map::{Map, Sweeps, Transposed};
pub use model::Model;
pub use non_finite::NonFinite;
pub(crate) use non_finite::{
    in_deltas, in_first_sums, in_gradient, in_input, in_loss_gradient, in_params, in_states, in_weights,
};
pub(crate) use planned::Planned;
pub(crate) use refine::{Progress, Sweep, refine};
pub use solver::{MapError, Solver};
pub use stop::{Rule, Setting, SolveError, Solved, Stop};
use sweep::{First, Forward, Weights, set_injection};
pub(crate) use sweep::{HalfRoom, Halves, apply, chunks, chunks_of, fits, no_room, samples_in};
pub use trace::{Trace, TraceRoom};

use crate::kernel::{
    Activation, CHUNK, Chosen, Ends, LargestOf, Lent, Matrix, MatrixMut, Scalar, Scratch, SlopeOf, TYPED,
    Typed, largest_on, once,
};
use crate::network::{
    Architecture, Flat, Looped, Network, OneOrAll, Only, Parameters, Samples, Shape, Source, State, Takes,
    Unrolled, View, Viewed, Walk,
};
use crate::simd::{Backend, InLine, Lanes, Operation, Site, Whole, Work};
use crate::threads::Threads;
use core::fmt;

/// A network, or an adapted one, on a chosen backend; see [`Network::on`]. Their own methods use [`Backend::best`].
#[derive(Debug)]
pub struct Runner<'a, N> {
    pub(crate) network: &'a N,
    pub(crate) backend: Backend,
    pub(crate) threads: Threads,
}

impl<N> Clone for Runner<'_, N> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<N> Copy for Runner<'_, N> {}

impl<N> Runner<'_, N> {
    /// The same with other threads for batches of more than 32 samples. The results do not change by a bit.
    #[must_use]
    #[inline(always)]
    pub fn threads(self, threads: Threads) -> Self {
        Self { threads, ..self }
    }
}

/// W^1 x + b^1 of `B` samples: all a sweep needs to know of its input. Filled by [`Network::inject`].
#[repr(transparent)]
pub struct Injection<N: Architecture, const B: usize = 1> {
    pub(crate) first: N::First<B>,
}

// SAFETY: repr(transparent) over scalars in a row.
#[allow(unsafe_code, reason = "an injection is scalars, wherever it is kept")]
unsafe impl<N: Architecture, const B: usize> Flat for Injection<N, B> {
    type Scalar = N::Scalar;
}

impl<N: Architecture, const B: usize> Injection<N, B> {
    /// No input yet.
    pub const ZERO: Self = Self { first: Flat::ZERO };
}

impl<N: Architecture, const B: usize> fmt::Debug for Injection<N, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>> Network<A> {
    /// The network on a chosen backend.
    ///
    /// ```
    /// use attractor::{fnn, simd::Backend, Stop};
    /// let net = <fnn![2, 4, 1]>::ZERO;
    /// let mut state = <fnn![2, 4, 1]>::state();
    /// let solved = net.on(Backend::portable()).solve(&[1.0, -1.0], &mut state, Stop::residual(1e-6))?;
    /// assert_eq!(solved.sweeps, 1);
    /// # Ok::<(), attractor::SolveError>(())
    /// ```
    #[must_use]
    #[inline(always)]
    pub fn on(&self, backend: Backend) -> Runner<'_, Self> {
        Runner { network: self, backend, threads: Threads::One }
    }

    /// Sweeps from whatever `state` holds until every sample meets `stop`.
    ///
    /// `input`: `B` samples of as many values as the network has inputs ([`Samples`]); `state`: `B` samples. A sample that meets the
    /// tolerance is not changed any more, so its result does not depend on the rest of its batch.
    ///
    /// ```
    /// use attractor::{fnn, Stop};
    /// type Net = fnn![3, 8, 2];
    /// let mut net = Net::ZERO;
    /// net.layer_mut::<1>().w.fill(0.25);
    /// net.layer_mut::<1>().u.fill(-0.02); // feedback from the outputs
    /// net.layer_mut::<2>().w.fill(0.5);
    /// let mut state = Net::state();
    /// let solved = net.solve(&[1.0, 0.5, -0.5], &mut state, Stop::residual(1e-5))?;
    /// assert!(solved.sweeps < 20 && solved.residual <= 1e-5);
    /// let again = net.solve(&[1.0, 0.5, -0.5], &mut state, Stop::residual(1e-5))?;
    /// assert_eq!(again.sweeps, 1); // warm start
    /// # Ok::<(), attractor::SolveError>(())
    /// ```
    ///
    /// The state may begin as anything finite. What the first layer held, and without feedback what any did, is read by no layer before
    /// it is computed: a NaN there is replaced by the first sweep. Anywhere else a NaN is an error, and infinity is one everywhere.
    ///
    /// # Errors
    /// [`SolveError::NotFinite`] if the input has a NaN or infinity (the state is then unchanged) or the
    /// arithmetic leaves the finite numbers, for weights or states that are not finite or too large (the state
    /// is then reset to zero). [`SolveError::NotConverged`] if the limit is reached first; the state is kept, so
    /// that a further solve goes on from there. [`SolveError::Setting`] if `stop` is out of its range; nothing is changed then.
    #[inline]
    pub fn solve<X: Samples<T, I, B>, const I: usize, const B: usize>(
        &self,
        input: &X,
        state: &mut State<Self, B>,
        stop: Stop<T>,
    ) -> Result<Solved<T>, SolveError<T>>
    where
        A: Takes<I>,
    {
        self.on(Backend::best()).solve(input, state, stop)
    }

    /// Computes W^1 x + b^1, once an input, for [`sweep`](Self::sweep).
    ///
    /// # Errors
    /// [`SolveError::NotFinite`] if it is not finite; `inject` is then of no use.
    #[inline]
    pub fn inject<X: Samples<T, I, B>, const I: usize, const B: usize>(
        &self,
        input: &X,
        injection: &mut Injection<Self, B>,
    ) -> Result<(), SolveError<T>>
    where
        A: Takes<I>,
    {
        self.on(Backend::best()).inject(input, injection)
    }

    /// One sweep; returns the residual, the largest change of a unit. The caller owns the deadline and may stop
    /// after any sweep: the state is an answer at any time.
    ///
    /// ```
    /// use attractor::{fnn, Injection};
    /// type Net = fnn![3, 8, 2];
    /// let net = Net::ZERO;
    /// let (mut injection, mut state) = (Injection::<Net>::ZERO, Net::state());
    /// net.inject(&[1.0, 0.5, -0.5], &mut injection)?;
    /// let mut time_left = 3;
    /// while net.sweep(&injection, &mut state)? > 1e-5 && time_left > 0 {
    ///     time_left -= 1;
    /// }
    /// # Ok::<(), attractor::SolveError>(())
    /// ```
    ///
    /// # Errors
    /// [`SolveError::NotFinite`] if the arithmetic leaves the finite numbers; the state is then reset to zero.
    #[inline]
    pub fn sweep<const B: usize>(
        &self,
        injection: &Injection<Self, B>,
        state: &mut State<Self, B>,
    ) -> Result<T, SolveError<T>> {
        self.on(Backend::best()).sweep(injection, state)
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>, M: Model<Architecture = A>> Runner<'_, M> {
    /// [`Network::solve`] on this backend.
    ///
    /// # Errors
    /// As [`Network::solve`].
    #[inline]
    pub fn solve<X: Samples<T, I, B>, const I: usize, const B: usize>(
        self,
        input: &X,
        state: &mut State<Network<A>, B>,
        stop: Stop<T>,
    ) -> Result<Solved<T>, SolveError<T>>
    where
        A: Takes<I>,
    {
        stop.check()?;
        self.solve_checked(input, state, stop)
    }

    /// The same of a `Stop` whose settings are in their ranges.
    #[inline]
    pub(crate) fn solve_checked<X: Samples<T, I, B>, const I: usize, const B: usize>(
        self,
        input: &X,
        state: &mut State<Network<A>, B>,
        stop: Stop<T>,
    ) -> Result<Solved<T>, SolveError<T>>
    where
        A: Takes<I>,
    {
        let result = if !const { M::PLAIN && Network::<A>::unrolls(B) } || self.threads.split(B).is_some() {
            self.solve_looped(input.samples(), state, stop)
        } else {
            self.solve_unrolled(input, state, stop)
        };
        self.settled(input.samples(), result, state)
    }

    /// What a solve gave, its state back at zero where that may be anything.
    #[inline(always)]
    fn settled<const B: usize>(
        self,
        input: Matrix<'_, T>,
        result: Result<Progress<T>, Failure>,
        state: &mut State<Network<A>, B>,
    ) -> Result<Solved<T>, SolveError<T>> {
        match result {
            Ok(progress) => progress.finish(),
            Err(Failure::Lost) => Err(self.lost(Some(input), state)),
            Err(Failure::Input) if const { TYPED } => Err(SolveError::NOT_FINITE),
            Err(Failure::Input) => Err(SolveError::NotFinite(in_input(input).unwrap_or(NonFinite::Overflow))),
        }
    }

    /// What it was that left the finite numbers, and the state back at zero.
    #[inline(always)]
    pub(crate) fn lost<const B: usize>(
        self,
        input: Option<Matrix<'_, T>>,
        state: &mut State<Network<A>, B>,
    ) -> SolveError<T> {
        if const { TYPED } {
            // Where flash is small nobody looks, and no error is handed from function to function.
            state.reset();
            return SolveError::NOT_FINITE;
        }
        self.search(input, state)
    }

    /// [`lost`](Self::lost) where flash is not small.
    #[cold]
    #[inline(never)]
    fn search<const B: usize>(
        self,
        input: Option<Matrix<'_, T>>,
        state: &mut State<Network<A>, B>,
    ) -> SolveError<T> {
        let in_states = || {
            let states = Matrix::new(state.as_slice(), B, Network::<A>::UNITS).ok()?;
            in_states(const { &Network::<A>::OUTLINE }, states)
        };
        let found = self.network.wrong_weight().or_else(in_states).or_else(|| self.wrong_sum(input?));
        state.reset();
        SolveError::NotFinite(found.unwrap_or(NonFinite::Overflow))
    }

    /// A sum of the first layer that is not finite, where flash is not small.
    fn wrong_sum(self, input: Matrix<'_, T>) -> Option<NonFinite> {
        if const { TYPED } { None } else { in_first_sums(self.network.source().ok()?, input) }
    }

    #[inline(always)]
    fn solve_unrolled<X: Samples<T, I, B>, const I: usize, const B: usize>(
        self,
        input: &X,
        state: &mut State<Network<A>, B>,
        stop: Stop<T>,
    ) -> Result<Progress<T>, Failure>
    where
        A: Takes<I>,
    {
        let walk = Unrolled::<Network<A>>::NEW;
        let network = self.network;
        if const { B == 1 } {
            T::run(self.backend, SolveUnrolled::<_, _, _, _, _, I, 1> { network, input, state, stop, walk })
        } else {
            T::run(
                self.backend,
                SolveUnrolled::<_, _, _, _, _, I, CHUNK> { network, input, state, stop, walk },
            )
        }
    }

    fn solve_looped<const B: usize>(
        self,
        input: Matrix<'_, T>,
        state: &mut State<Network<A>, B>,
        stop: Stop<T>,
    ) -> Result<Progress<T>, Failure> {
        let params = self.network.source()?;
        let states = MatrixMut::new(state.as_mut_slice(), B, Network::<A>::UNITS)?;
        let Runner { backend, threads, .. } = self;
        if const { !TYPED } {
            let (params, ends) = (params.view(), Chosen::new::<A::Hidden, A::Outputs>());
            T::once::<SolveOnce>(SolveJob { params, ends, input, states, stop, backend, threads })
        } else {
            let ends = Typed::<A::Hidden, A::Outputs>::NEW;
            let job = SolveJob { params, ends, input, states, stop, backend, threads };
            job.side_by_side(&|part: SolveJob<'_, _, _, _>| {
                if const { B == 1 } {
                    let (mut base, mut room): (A::First<1>, M::Room<1>) = (Flat::ZERO, Flat::ZERO);
                    part.run::<_, _, 1>(&mut base, &mut room)
                } else {
                    let (mut base, mut room): (A::First<CHUNK>, M::Room<CHUNK>) = (Flat::ZERO, Flat::ZERO);
                    part.run::<_, _, CHUNK>(&mut base, &mut room)
                }
            })
        }
    }

    /// [`Network::inject`] on this backend.
    ///
    /// # Errors
    /// As [`Network::inject`].
    #[inline]
    pub fn inject<X: Samples<T, I, B>, const I: usize, const B: usize>(
        self,
        input: &X,
        injection: &mut Injection<Network<A>, B>,
    ) -> Result<(), SolveError<T>>
    where
        A: Takes<I>,
    {
        self.inject_into(input, Flat::flat_mut(&mut injection.first))
    }

    /// [`inject`](Self::inject) into scalars, wherever they are.
    #[inline]
    pub(crate) fn inject_into<X: Samples<T, I, B>, const I: usize, const B: usize>(
        self,
        input: &X,
        injection: &mut [T],
    ) -> Result<(), SolveError<T>>
    where
        A: Takes<I>,
    {
        if self.inject_matrix::<B>(input.samples(), injection) {
            return Ok(());
        }
        let found = in_input(input.samples()).or_else(|| self.network.wrong_weight());
        let found = found.or_else(|| self.wrong_sum(input.samples()));
        Err(SolveError::NotFinite(found.unwrap_or(NonFinite::Overflow)))
    }

    /// [`inject`](Self::inject) of a matrix whose shape the types do not say; whether all of it is finite.
    #[inline]
    pub(crate) fn inject_matrix<const B: usize>(self, input: Matrix<'_, T>, injection: &mut [T]) -> bool {
        let (Ok(params), Ok(out)) =
            (self.network.source(), MatrixMut::new(injection, B, Network::<A>::FIRST))
        else {
            return false;
        };
        if const { !TYPED } {
            T::once::<InjectOnce>(InjectJob {
                params: params.view(),
                input,
                out,
                ends: Chosen::new::<A::Hidden, A::Outputs>(),
                backend: self.backend,
            })
        } else if const { B == 1 } {
            let (ends, walk, mut room): (_, _, M::Room<1>) =
                (Typed::<A::Hidden, A::Outputs>::NEW, Looped, Flat::ZERO);
            let room = &mut room;
            T::run(
                self.backend,
                Whole(SetInjection::<_, _, _, _, _, 1> { params, input, out, ends, room, walk }),
            )
        } else {
            let (ends, walk, mut room): (_, _, M::Room<CHUNK>) =
                (Typed::<A::Hidden, A::Outputs>::NEW, Looped, Flat::ZERO);
            let room = &mut room;
            T::run(
                self.backend,
                Whole(SetInjection::<_, _, _, _, _, CHUNK> { params, input, out, ends, room, walk }),
            )
        }
    }

    /// [`Network::sweep`] on this backend.
    ///
    /// # Errors
    /// As [`Network::sweep`].
    #[inline]
    pub fn sweep<const B: usize>(
        self,
        injection: &Injection<Network<A>, B>,
        state: &mut State<Network<A>, B>,
    ) -> Result<T, SolveError<T>> {
        self.sweep_from(Flat::flat(&injection.first), state).map_err(|_| self.lost(None, state))
    }

    /// A sweep from an injection in scalars. The state may be anything after an error.
    pub(crate) fn sweep_from<const B: usize>(
        self,
        injection: &[T],
        state: &mut State<Network<A>, B>,
    ) -> Result<T, Lost> {
        self.sweep_as::<A::Hidden, A::Outputs, _, B>(injection, state, Looped)
    }

    /// The layers of a walk, swept with these activations. The state may be anything after an error.
    #[inline(always)]
    fn sweep_as<H: Activation, O: Activation, W: Walk, const B: usize>(
        self,
        injection: &[T],
        state: &mut State<Network<A>, B>,
        walk: W,
    ) -> Result<T, Lost> {
        let params = self.network.source()?;
        let injection = Matrix::new(injection, B, Network::<A>::FIRST)?;
        let states = MatrixMut::new(state.as_mut_slice(), B, Network::<A>::UNITS)?;
        let (ends, backend) = (Typed::<H, O>::NEW, self.backend);
        if const { !TYPED } {
            let (params, ends, only) = (params.view(), Chosen::new::<H, O>(), walk.only());
            T::once::<SweepOnce>(SweepJob { params, injection, states, ends, weights: None, only, backend })
        } else if const { B == 1 } {
            let mut room: M::Room<1> = Flat::ZERO;
            let room = &mut room;
            T::run(
                backend,
                Whole(OneSweep::<_, _, _, _, _, _, 1> {
                    params,
                    injection,
                    states,
                    ends,
                    room,
                    weights: (),
                    walk,
                }),
            )
        } else {
            let mut room: M::Room<CHUNK> = Flat::ZERO;
            let room = &mut room;
            T::run(
                backend,
                Whole(OneSweep::<_, _, _, _, _, _, CHUNK> {
                    params,
                    injection,
                    states,
                    ends,
                    room,
                    weights: (),
                    walk,
                }),
            )
        }
    }

    /// `slopes` := the slopes of all units at a state, whose sums are computed once more. The state is as before, also after an error.
    pub(crate) fn slopes_at<const B: usize>(
        self,
        injection: &[T],
        state: &mut State<Network<A>, B>,
        slopes: &mut State<Network<A>, B>,
    ) -> Result<(), Lost> {
        slopes.as_mut_slice().copy_from_slice(state.as_slice());
        for (index, layer) in const { &A::LAYOUT }.layers().iter().enumerate() {
            let swept =
                self.sweep_as::<SlopeOf<A::Hidden>, SlopeOf<A::Outputs>, _, B>(injection, state, Only(index));
            // The layer's states lay beside; now its slopes do, and the layers above read states.
            let own = layer.units * B..(layer.units + layer.width) * B;
            if let (Some(states), Some(slopes)) =
                (state.as_mut_slice().get_mut(own.clone()), slopes.as_mut_slice().get_mut(own))
            {
                states.swap_with_slice(slopes);
            }
            swept?;
        }
        Ok(())
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>> Runner<'_, Network<A>> {
    /// The layers of this network in the code of the caller, every width a constant. It spares a small network (a few thousand
    /// parameters, one sample) some of its time and costs seconds of compiling for every type it is used with; see
    /// docs/performance.md. The results are the same to the bit.
    ///
    /// ```
    /// use attractor::{fnn, Stop};
    /// type Net = fnn![3, 8, 2];
    /// let (net, mut state) = (Net::ZERO, Net::state());
    /// let solved = net.on(attractor::simd::Backend::best()).specialized().solve(
    ///     &[1.0, 0.5, -0.5],
    ///     &mut state,
    ///     Stop::residual(1e-5),
    /// )?;
    /// assert_eq!(solved.sweeps, 1);
    /// # Ok::<(), attractor::SolveError>(())
    /// ```
    #[must_use]
    #[inline(always)]
    pub fn specialized(self) -> Specialized<Self> {
        Specialized(self)
    }

    /// [`sweep`](Self::sweep) of one sample, a unit's change divided by its weight; `weights` has one a unit.
    ///
    /// # Errors
    /// As [`sweep`](Self::sweep).
    pub(crate) fn weighted_sweep(
        self,
        injection: &Injection<Network<A>>,
        state: &mut State<Network<A>>,
        weights: &[T],
    ) -> Result<T, Lost> {
        if const { Network::<A>::unrolls(1) } {
            self.weighted(injection, state, weights, Unrolled::<Network<A>>::NEW)
        } else {
            self.weighted(injection, state, weights, Looped)
        }
    }

    /// [`weighted_sweep`](Self::weighted_sweep) of one layer, counted from 0.
    ///
    /// # Errors
    /// As [`sweep`](Self::sweep).
    pub(crate) fn weighted_layer(
        self,
        index: usize,
        injection: &Injection<Network<A>>,
        state: &mut State<Network<A>>,
        weights: &[T],
    ) -> Result<T, Lost> {
        self.weighted(injection, state, weights, Only(index))
    }

    fn weighted(
        self,
        injection: &Injection<Network<A>>,
        state: &mut State<Network<A>>,
        weights: &[T],
        walk: impl Walk,
    ) -> Result<T, Lost> {
        let params = self.network.parameters()?;
        let injection = Matrix::new(Flat::flat(&injection.first), 1, Network::<A>::FIRST)?;
        let states = MatrixMut::new(state.as_mut_slice(), 1, Network::<A>::UNITS)?;
        let backend = self.backend;
        let result = if const { !TYPED } {
            let (ends, weights, only) = (Chosen::new::<A::Hidden, A::Outputs>(), Some(weights), walk.only());
            let params = params.view();
            T::once::<SweepOnce>(SweepJob { params, injection, states, ends, weights, only, backend })
        } else {
            let (ends, mut room): (_, A::Scratch<1>) = (Typed::<A::Hidden, A::Outputs>::NEW, Flat::ZERO);
            let room = &mut room;
            T::run(
                backend,
                Whole(OneSweep::<_, _, _, _, _, _, 1> {
                    params,
                    injection,
                    states,
                    ends,
                    room,
                    weights,
                    walk,
                }),
            )
        };
        // Whoever asks says no more than that something is not finite: nobody looks for it.
        if result.is_err() {
            state.reset();
        }
        result
    }
}

/// A network on a backend, its layers in the code of the caller; see [`Runner::specialized`].
#[derive(Clone, Copy, Debug)]
pub struct Specialized<K>(pub(crate) K);

impl<'a, T: Scalar, A: Architecture<Scalar = T>> Specialized<Runner<'a, Network<A>>> {
    /// [`Network::solve`].
    ///
    /// # Errors
    /// As [`Network::solve`].
    #[inline]
    pub fn solve<X: Samples<T, I, B>, const I: usize, const B: usize>(
        self,
        input: &X,
        state: &mut State<Network<A>, B>,
        stop: Stop<T>,
    ) -> Result<Solved<T>, SolveError<T>>
    where
        A: Takes<I>,
    {
        if const { !Network::<A>::specializes(B) } || self.0.threads.split(B).is_some() {
            return self.0.solve(input, state, stop);
        }
        stop.check()?;
        let result = self.0.solve_unrolled(input, state, stop);
        self.0.settled(input.samples(), result, state)
    }
}

/// A solve of whatever network; the states are back at zero where they may be anything.
pub(crate) fn solve_flat<T: Scalar>(
    (params, ends, shape): (Parameters<'_, T>, Chosen<T>, &Shape),
    input: Matrix<'_, T>,
    mut states: MatrixMut<'_, T>,
    stop: Stop<T>,
    (backend, threads): (Backend, Threads),
) -> Result<Solved<T>, SolveError<T>> {
    stop.check()?;
    let states_there = states.reborrow();
    let job = SolveJob { params: params.view(), ends, input, states: states_there, stop, backend, threads };
    match T::once::<SolveOnce>(job) {
        Ok(progress) => progress.finish(),
        Err(Failure::Input) => Err(SolveError::NotFinite(in_input(input).unwrap_or(NonFinite::Overflow))),
        Err(Failure::Lost) => Err(lost_flat(params, shape, input, states)),
    }
}

/// What it was that left the finite numbers, and the states back at zero.
pub(crate) fn lost_flat<T: Scalar>(
    params: Parameters<'_, T>,
    shape: &Shape,
    input: Matrix<'_, T>,
    mut states: MatrixMut<'_, T>,
) -> SolveError<T> {
    let found = in_weights(params)
        .or_else(|| in_states(shape, states.as_ref()))
        .or_else(|| in_first_sums(params, input));
    states.fill_with(|_| T::ZERO);
    SolveError::NotFinite(found.unwrap_or(NonFinite::Overflow))
}

/// W^1 x + b^1 of whatever network; whether all of it is finite.
pub(crate) fn inject_flat<T: Scalar>(
    (params, ends): (Parameters<'_, T>, Chosen<T>),
    input: Matrix<'_, T>,
    out: MatrixMut<'_, T>,
    backend: Backend,
) -> bool {
    T::once::<InjectOnce>(InjectJob { params: params.view(), input, out, ends, backend })
}

/// A sweep of whatever network; the states may be anything after an error.
pub(crate) fn sweep_flat<T: Scalar>(
    (params, ends): (Parameters<'_, T>, Chosen<T>),
    injection: Matrix<'_, T>,
    states: MatrixMut<'_, T>,
    backend: Backend,
) -> Result<T, Lost> {
    let (params, weights, only) = (params.view(), None, None);
    T::once::<SweepOnce>(SweepJob { params, injection, states, ends, weights, only, backend })
}

/// A solve of any number of samples.
struct SolveJob<'a, T, S, E> {
    params: S,
    ends: E,
    input: Matrix<'a, T>,
    states: MatrixMut<'a, T>,
    stop: Stop<T>,
    backend: Backend,
    threads: Threads,
}
once!(SolveOnce: SolveJob<'a, T, View<'a, T>, Chosen<T>> => Result<Progress<T>, Failure>, solve_once);

fn solve_once<'a, T: Scalar>(job: SolveJob<'a, T, View<'a, T>, Chosen<T>>) -> Result<Progress<T>, Failure> {
    job.side_by_side(&|part: SolveJob<'a, T, View<'a, T>, Chosen<T>>| {
        let layers = part.params.layout().layers();
        let widest = layers.iter().map(|layer| layer.width).max().unwrap_or(0);
        let first = layers.first().map_or(0, |layer| layer.width);
        if !part.is_one() && first.saturating_mul(part.states.rows().min(CHUNK)) > ROOM {
            solve_in_room::<_, WIDE_ROOM, ROOM>(part)
        } else if !part.is_one() || widest.max(part.params.rank()) > SMALL_ROOM {
            solve_in_room::<_, ROOM, ROOM>(part)
        } else {
            solve_in_room::<_, SMALL_ROOM, SMALL_ROOM>(part)
        }
    })
}

/// With room for so many scalars, of the first sums and beside them, which is not in the frames above, of which there are as many as there are
/// halvings.
#[inline(never)]
fn solve_in_room<'a, T: Scalar, const N: usize, const M: usize>(
    job: SolveJob<'a, T, View<'a, T>, Chosen<T>>,
) -> Result<Progress<T>, Failure> {
    let (mut base, mut room) = (Scratch::<T, N>::new(), Scratch::<T, M>::new());
    solve_with(job, &mut base.lend(), &mut room.lend())
}

/// One copy, whatever the size of the room.
#[inline(never)]
fn solve_with<'a, T: Scalar>(
    job: SolveJob<'a, T, View<'a, T>, Chosen<T>>,
    base: &mut Lent<'_, T>,
    room: &mut Lent<'_, T>,
) -> Result<Progress<T>, Failure> {
    if !job.is_one() {
        return job.run::<_, _, CHUNK>(base, room);
    }
    if let Some(params) = job.params.plain()
        && planned::fits(params.layout(), base)
    {
        let SolveJob { ends, input, states, stop, backend, threads, .. } = job;
        return planned::solve(SolveJob { params, ends, input, states, stop, backend, threads }, base);
    }
    job.run::<_, _, 1>(base, room)
}

impl<'a, T: Scalar, S: Source<'a, T>, E: Ends<T>> SolveJob<'a, T, S, E> {
    /// Whether it is of one sample, whose states lie in a row: those of one that is a part of a batch do not.
    fn is_one(&self) -> bool {
        self.states.rows() == 1 && self.states.stride() == 1
    }

    /// Does it in this room, of one sample (`C` = 1) or in chunks (`C` = CHUNK).
    #[inline(always)]
    fn run<Q: HalfRoom<T>, R: HalfRoom<T>, const C: usize>(
        self,
        base: &mut Q,
        room: &mut R,
    ) -> Result<Progress<T>, Failure> {
        let Self { params, input, states, stop, ends, backend, .. } = self;
        if const { E::ALIKE } {
            // Of the walk a single sweep has, so that they share their code.
            let walk = OneOrAll(None);
            Solve::<_, _, _, _, _, _, C> { params, input, states, base, room, stop, ends, walk }.on(backend)
        } else {
            let walk = Looped;
            let solve = Solve::<_, _, _, _, _, _, C> { params, input, states, base, room, stop, ends, walk };
            T::run(backend, Whole(solve))
        }
    }

    /// Parts of the samples side by side, if there are threads.
    #[inline(always)]
    fn side_by_side<W>(self, work: &W) -> Result<Progress<T>, Failure>
    where
        W: Fn(Self) -> Result<Progress<T>, Failure> + Sync,
    {
        // Before anything changes in any part.
        if self.threads != Threads::One && !largest_on(self.backend, self.input).is_finite() {
            return Err(Failure::Input);
        }
        self.parts(work)
    }

    fn parts<W>(self, work: &W) -> Result<Progress<T>, Failure>
    where
        W: Fn(Self) -> Result<Progress<T>, Failure> + Sync,
    {
        let (samples, threads) = (self.states.rows(), self.threads);
        let Some(half) = threads.split(samples) else { return work(self) };
        let (first, second) = self.states.split_rows(half);
        let part = |from, count, states| Self { input: self.input.row_range(from, count), states, ..self };
        let (first, second) = (part(0, half, first), part(half, samples - half, second));
        let (first, second) = threads.join(|| first.parts(work), || second.parts(work));
        let mut progress = first?;
        progress.merge(second?)?;
        Ok(progress)
    }
}

/// Scalars a batch, or a wide network, may take of the stack for W^1 x + b^1, and as many for half sums and those of corrections.
pub(crate) const ROOM: usize = 1 << 14;
/// The same of W^1 x + b^1 of a batch where the first layer is wide: weights that are in no near cache are read for a whole chunk of samples.
pub(crate) const WIDE_ROOM: usize = 1 << 15;
/// The same of one sample of most networks: a large frame costs time, for its pages are touched one by one.
pub(crate) const SMALL_ROOM: usize = 512;

/// W^1 x + b^1, compiled once for all networks.
struct InjectJob<'a, T: Scalar> {
    params: View<'a, T>,
    input: Matrix<'a, T>,
    out: MatrixMut<'a, T>,
    ends: Chosen<T>,
    backend: Backend,
}
once!(InjectOnce: InjectJob<'a, T> => bool, inject_once);

fn inject_once<T: Scalar>(job: InjectJob<'_, T>) -> bool {
    if job.params.rank() > 0 { inject_in_room::<_, ROOM>(job) } else { inject_in_room::<_, 0>(job) }
}

#[inline(never)]
fn inject_in_room<T: Scalar, const N: usize>(job: InjectJob<'_, T>) -> bool {
    let mut room = Scratch::<T, N>::new();
    let InjectJob { params, input, out, ends, backend } = job;
    let (walk, room) = (OneOrAll(None), &mut room.lend());
    if out.rows() == 1 {
        SetInjection::<_, _, _, _, _, 1> { params, input, out, ends, room, walk }.on(backend)
    } else {
        SetInjection::<_, _, _, _, _, CHUNK> { params, input, out, ends, room, walk }.on(backend)
    }
}

/// A sweep, compiled once for all networks.
struct SweepJob<'a, T: Scalar> {
    params: View<'a, T>,
    injection: Matrix<'a, T>,
    states: MatrixMut<'a, T>,
    ends: Chosen<T>,
    /// What the changes of the units of one sample are divided by.
    weights: Option<&'a [T]>,
    /// The one layer that is swept, counted from 0.
    only: Option<usize>,
    backend: Backend,
}
once!(SweepOnce: SweepJob<'a, T> => Result<T, Lost>, sweep_once);

fn sweep_once<T: Scalar>(job: SweepJob<'_, T>) -> Result<T, Lost> {
    if job.states.rows() > 1 {
        sweep_batch(job)
    } else if job.params.rank() > SMALL_ROOM {
        sweep_one::<_, ROOM>(job)
    } else {
        sweep_one::<_, SMALL_ROOM>(job)
    }
}

#[inline(never)]
fn sweep_batch<T: Scalar>(job: SweepJob<'_, T>) -> Result<T, Lost> {
    let SweepJob { params, injection, states, ends, only, backend, .. } = job;
    let mut room = Scratch::<T, ROOM>::new();
    let (walk, weights, room) = (OneOrAll(only), (), &mut room.lend());
    OneSweep::<_, _, _, _, _, _, CHUNK> { params, injection, states, ends, room, weights, walk }.on(backend)
}

#[inline(never)]
fn sweep_one<T: Scalar, const N: usize>(job: SweepJob<'_, T>) -> Result<T, Lost> {
    let mut room = Scratch::<T, N>::new();
    sweep_with(job, &mut room.lend())
}

/// One copy, whatever the size of the room.
#[inline(never)]
fn sweep_with<T: Scalar>(job: SweepJob<'_, T>, room: &mut Lent<'_, T>) -> Result<T, Lost> {
    let SweepJob { params, injection, states, ends, weights, only, backend } = job;
    let walk = OneOrAll(only);
    match weights {
        Some(weights) => {
            OneSweep::<_, _, _, _, _, _, 1> { params, injection, states, ends, room, weights, walk }
                .on(backend)
        }
        None => {
            let weights = ();
            OneSweep::<_, _, _, _, _, _, 1> { params, injection, states, ends, room, weights, walk }
                .on(backend)
        }
    }
}

/// Something left the finite numbers, and what was computed is of no use. No size at all: what is handed up from the innermost loops is no larger
/// for the errors it may be, and whoever answers the caller makes a [`SolveError`] of it, once.
#[derive(Clone, Copy)]
pub(crate) struct Lost;

/// Why a solve gave no solution; like [`Lost`], nothing that has to be copied.
#[derive(Clone, Copy)]
pub(crate) enum Failure {
    /// The input is not finite: nothing has been changed.
    Input,
    /// Something has been changed.
    Lost,
}

impl From<Lost> for Failure {
    #[inline(always)]
    fn from(_: Lost) -> Self {
        Self::Lost
    }
}

// Shapes inside the crate come from one layout and always fit; were it otherwise, there would be no solution.
impl From<crate::kernel::ShapeError> for Lost {
    #[inline(always)]
    fn from(_: crate::kernel::ShapeError) -> Self {
        Self
    }
}
impl From<crate::LengthError> for Lost {
    #[inline(always)]
    fn from(_: crate::LengthError) -> Self {
        Self
    }
}
impl From<crate::kernel::ShapeError> for Failure {
    #[inline(always)]
    fn from(_: crate::kernel::ShapeError) -> Self {
        Self::Lost
    }
}
impl From<crate::LengthError> for Failure {
    #[inline(always)]
    fn from(_: crate::LengthError) -> Self {
        Self::Lost
    }
}

/// A solve of a batch (`C` = CHUNK) or of one sample (`C` = 1).
struct Solve<'a, 'b, T, S, E, Q, R, W, const C: usize> {
    params: S,
    input: Matrix<'a, T>,
    states: MatrixMut<'a, T>,
    /// Room for W^1 x + b^1 of one chunk of samples.
    base: &'b mut Q,
    /// Room for half sums, or for those of corrections.
    room: &'b mut R,
    stop: Stop<T>,
    ends: E,
    walk: W,
}

impl<'a, T, S, E, Q, R, W, const C: usize> Work<T> for Solve<'a, '_, T, S, E, Q, R, W, C>
where
    T: Scalar,
    S: Source<'a, T>,
    E: Ends<T>,
    Q: HalfRoom<T>,
    R: HalfRoom<T>,
    W: Walk,
{
    type Output = Result<Progress<T>, Failure>;

    #[inline(always)]
    fn on(self, site: impl Site<T>) -> Self::Output {
        let Self { params, input, mut states, base, room, stop, ends, walk } = self;
        if !site.run(LargestOf(input)).is_finite() {
            return Err(Failure::Input);
        }
        let mut progress = Progress::default();
        let width = walk.layout(params.layout()).layers().first().map_or(0, |layer| layer.width);
        let corrected = samples_in(room, params.rank(), CHUNK);
        let most = samples_in(base, width, corrected);
        // Where there is no room for one sample, its first sum is made again in every sweep.
        let (kept, most) = if most == 0 { (false, corrected) } else { (true, most) };
        for (first, samples) in chunks_of(states.rows(), most) {
            let input = input.row_range(first, samples);
            let rows = if kept { samples } else { 0 };
            let mut injection = MatrixMut::new(base.first(rows * width).unwrap_or_default(), rows, width)?;
            let to = (input, injection.reborrow());
            if kept && !set_injection::<C, _, _, _, _, _>(site, walk, ends, params, to, &mut *room) {
                return Err(Failure::Lost);
            }
            let base = First { matrix: if kept { injection.as_ref() } else { input }, is_input: !kept };
            let states = states.reborrow().row_range(first, samples);
            let forward = Forward { params, base, states, ends, walk, weights: (), room: &mut *room };
            progress.merge(refine::<C, T>(site, samples, stop, forward))?;
        }
        Ok(progress)
    }
}

/// A solve compiled for one type of network.
struct SolveUnrolled<'a, M, K, T, X, W, const I: usize, const C: usize> {
    network: &'a M,
    input: &'a X,
    state: &'a mut K,
    stop: Stop<T>,
    walk: W,
}

impl<T: Scalar, A: Takes<I, Scalar = T>, M, X, W, const I: usize, const B: usize, const C: usize> Operation<T>
    for SolveUnrolled<'_, M, State<Network<A>, B>, T, X, W, I, C>
where
    M: Model<Architecture = A>,
    X: Samples<T, I, B>,
    W: Walk,
{
    type Output = Result<Progress<T>, Failure>;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output {
        let mut base: A::First<C> = Flat::ZERO;
        let units = Network::<A>::UNITS;
        let mut room: M::Room<C> = Flat::ZERO;
        let solve = Solve::<_, _, _, _, _, _, C> {
            params: self.network.source()?,
            input: self.input.samples(),
            states: MatrixMut::new(self.state.as_mut_slice(), B, units)?,
            base: &mut base,
            room: &mut room,
            stop: self.stop,
            ends: Typed::<A::Hidden, A::Outputs>::NEW,
            walk: self.walk,
        };
        solve.on(InLine(lanes))
    }
}

struct SetInjection<'a, 'b, T, S, E, R, W, const C: usize> {
    params: S,
    input: Matrix<'a, T>,
    out: MatrixMut<'a, T>,
    ends: E,
    room: &'b mut R,
    walk: W,
}

impl<'a, T, S, E, R, W, const C: usize> Work<T> for SetInjection<'a, '_, T, S, E, R, W, C>
where
    T: Scalar,
    S: Source<'a, T>,
    E: Ends<T>,
    R: HalfRoom<T>,
    W: Walk,
{
    type Output = bool;

    #[inline(always)]
    fn on(self, site: impl Site<T>) -> Self::Output {
        let Self { params, input, mut out, ends, room, walk } = self;
        let mut finite = site.run(LargestOf(input)).is_finite();
        for (first, samples) in chunks_of(out.rows(), samples_in(room, params.rank(), CHUNK)) {
            let out = out.reborrow().row_range(first, samples);
            let to = (input.row_range(first, samples), out);
            finite = finite && set_injection::<C, _, _, _, _, _>(site, walk, ends, params, to, room);
        }
        finite
    }
}

struct OneSweep<'a, 'b, T, S, E, R, K, W, const C: usize> {
    params: S,
    injection: Matrix<'a, T>,
    states: MatrixMut<'a, T>,
    ends: E,
    room: &'b mut R,
    weights: K,
    walk: W,
}

impl<'a, T, S, E, R, K, W, const C: usize> Work<T> for OneSweep<'a, '_, T, S, E, R, K, W, C>
where
    T: Scalar,
    S: Source<'a, T>,
    E: Ends<T>,
    R: HalfRoom<T>,
    K: Weights<T>,
    W: Walk,
{
    type Output = Result<T, Lost>;

    #[inline(always)]
    fn on(self, site: impl Site<T>) -> Self::Output {
        let Self { params, injection, mut states, ends, room, weights, walk } = self;
        let mut largest = T::ZERO;
        for (first, samples) in chunks_of(states.rows(), samples_in(room, params.rank(), CHUNK)) {
            let base = First { matrix: injection.row_range(first, samples), is_input: false };
            let states = states.reborrow().row_range(first, samples);
            let room = &mut *room;
            let forward = Forward { params, base, states, ends, walk, weights, room };
            let residual = refine::<C, T>(site, samples, Stop::after(1), forward).residual();
            if !residual.is_finite() {
                return Err(Lost);
            }
            largest = if residual > largest { residual } else { largest };
        }
        Ok(largest)
    }
}
