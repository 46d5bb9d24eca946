//! The recurrence: sweeps that refine a state until it stops changing.
//!
//! A sweep updates the layers in order with the freshest values (Gauss-Seidel); a state that a sweep no longer
//! changes solves z^l = W^l h^(l-1) + b^l + sum U^(l,k) h^k, h^l = s(z^l). W^1 x + b^1 does not change meanwhile and
//! is computed once an input. (Bai, Kolter and Koltun 2019 call such a network a deep equilibrium model.)

mod accelerate;
mod diagnosis;
mod energy;
mod refine;
mod steps;
mod sweep;
mod tolerance;
mod trace;

pub use accelerate::Acceleration;
pub use diagnosis::Diagnosis;
pub(crate) use refine::{Progress, Sweep, refine};
use sweep::{Forward, Weights, set_drive};
pub(crate) use sweep::{Halves, apply, chunks, fits};
pub use tolerance::{SolveError, Solved, Tolerance};
pub use trace::Trace;

use crate::kernel::{Activation, CHUNK, Matrix, MatrixMut, Scalar, largest};
use crate::network::{
    Architecture, Flat, Form, Looped, Network, Only, Parameters, Samples, Stack, State, Unrolled, Walk,
};
use crate::simd::{Backend, Lanes, Operation};
use crate::threads::Threads;
use core::fmt;
use core::marker::PhantomData;

/// A network on a chosen backend; see [`Network::on`]. [`Network`]'s own methods use [`Backend::best`].
#[derive(Debug)]
pub struct On<'a, N> {
    pub(crate) network: &'a N,
    pub(crate) backend: Backend,
    pub(crate) threads: Threads,
}

impl<N> Clone for On<'_, N> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<N> Copy for On<'_, N> {}

impl<N> On<'_, N> {
    /// The same with other threads for batches of more than 32 samples. The results do not change by a bit.
    #[must_use]
    #[inline(always)]
    pub fn threads(self, threads: Threads) -> Self {
        Self { threads, ..self }
    }
}

/// W^1 x + b^1 of `B` samples: all a sweep needs to know of its input. Filled by [`Network::drive`].
pub struct Drive<N: Architecture, const B: usize = 1> {
    pub(crate) first: N::First<B>,
}

impl<N: Architecture, const B: usize> Drive<N, B> {
    /// No input yet.
    pub const ZERO: Self = Self { first: Flat::ZERO };
}

impl<N: Architecture, const B: usize> fmt::Debug for Drive<N, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)
    }
}

impl<const INPUT: usize, S: Stack, T: Scalar, F: Form, H: Activation, O: Activation>
    Network<INPUT, S, T, F, H, O>
{
    /// The network on a chosen backend.
    ///
    /// ```
    /// use attractor::{fnn, simd::Backend, Tolerance};
    /// let net = <fnn![2, 4, 1]>::ZERO;
    /// let mut state = <fnn![2, 4, 1]>::state();
    /// let solved = net.on(Backend::portable()).solve(&[1.0, -1.0], &mut state, Tolerance::residual(1e-6))?;
    /// assert_eq!(solved.sweeps, 1);
    /// # Ok::<(), attractor::SolveError>(())
    /// ```
    #[must_use]
    #[inline(always)]
    pub fn on(&self, backend: Backend) -> On<'_, Self> {
        On { network: self, backend, threads: Threads::One }
    }

    /// Sweeps from whatever `state` holds until every sample meets `tolerance`.
    ///
    /// `input`: `B` samples of `INPUT` values ([`Samples`]); `state`: `B` samples. A sample that meets the
    /// tolerance is not changed any more, so its result does not depend on the rest of its batch.
    ///
    /// ```
    /// use attractor::{fnn, Tolerance};
    /// type Net = fnn![3, 8, 2];
    /// let mut net = Net::ZERO;
    /// net.layer_mut::<1>().w.fill(0.25);
    /// net.layer_mut::<1>().u.fill(-0.02); // feedback from the outputs
    /// net.layer_mut::<2>().w.fill(0.5);
    /// let mut state = Net::state();
    /// let solved = net.solve(&[1.0, 0.5, -0.5], &mut state, Tolerance::residual(1e-5))?;
    /// assert!(solved.sweeps < 20 && solved.residual <= 1e-5);
    /// let again = net.solve(&[1.0, 0.5, -0.5], &mut state, Tolerance::residual(1e-5))?;
    /// assert_eq!(again.sweeps, 1); // warm start
    /// # Ok::<(), attractor::SolveError>(())
    /// ```
    ///
    /// The state may begin as anything finite. What the first layer held, and without feedback what any did, is heard by nobody before
    /// it is computed: a NaN there is replaced by the first sweep. Anywhere else a NaN is an error, and infinity is one everywhere.
    ///
    /// # Errors
    /// [`SolveError::NotFinite`] if the input has a NaN or infinity (the state is then unchanged) or the
    /// arithmetic leaves the finite numbers, for weights or states that are not finite or too large (the state
    /// is then reset to zero). [`SolveError::NotConverged`] if the limit is reached first; the state is kept, so
    /// that a further solve goes on from there.
    #[inline]
    pub fn solve<X: Samples<T, INPUT, B>, const B: usize>(
        &self,
        input: &X,
        state: &mut State<Self, B>,
        tolerance: Tolerance<T>,
    ) -> Result<Solved<T>, SolveError<T>> {
        self.on(Backend::best()).solve(input, state, tolerance)
    }

    /// Computes W^1 x + b^1, once an input, for [`sweep`](Self::sweep).
    ///
    /// # Errors
    /// [`SolveError::NotFinite`] if it is not finite; `drive` is then of no use.
    #[inline]
    pub fn drive<X: Samples<T, INPUT, B>, const B: usize>(
        &self,
        input: &X,
        drive: &mut Drive<Self, B>,
    ) -> Result<(), SolveError<T>> {
        self.on(Backend::best()).drive(input, drive)
    }

    /// One sweep; returns the residual, the largest change of a unit. The caller owns the deadline and may stop
    /// after any sweep: the state is an answer at any time.
    ///
    /// ```
    /// use attractor::{fnn, Drive};
    /// type Net = fnn![3, 8, 2];
    /// let net = Net::ZERO;
    /// let (mut drive, mut state) = (Drive::<Net>::ZERO, Net::state());
    /// net.drive(&[1.0, 0.5, -0.5], &mut drive)?;
    /// let mut time_left = 3;
    /// while net.sweep(&drive, &mut state)? > 1e-5 && time_left > 0 {
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
        drive: &Drive<Self, B>,
        state: &mut State<Self, B>,
    ) -> Result<T, SolveError<T>> {
        self.on(Backend::best()).sweep(drive, state)
    }
}

impl<const INPUT: usize, S: Stack, T: Scalar, F: Form, H: Activation, O: Activation>
    On<'_, Network<INPUT, S, T, F, H, O>>
{
    /// [`Network::solve`] on this backend.
    ///
    /// # Errors
    /// As [`Network::solve`].
    #[inline]
    pub fn solve<X: Samples<T, INPUT, B>, const B: usize>(
        self,
        input: &X,
        state: &mut State<Network<INPUT, S, T, F, H, O>, B>,
        tolerance: Tolerance<T>,
    ) -> Result<Solved<T>, SolveError<T>> {
        let walk = Unrolled::<Network<INPUT, S, T, F, H, O>>::NEW;
        let network = self.network;
        let result = if !const { Network::<INPUT, S, T, F, H, O>::unrolls(B) }
            || self.threads.split(B).is_some()
        {
            self.solve_looped(input.samples(), state, tolerance)
        } else if const { B == 1 } {
            let state = &mut *state;
            T::run(self.backend, SolveUnrolled::<_, _, _, _, _, 1> { network, input, state, tolerance, walk })
        } else {
            let state = &mut *state;
            T::run(
                self.backend,
                SolveUnrolled::<_, _, _, _, _, CHUNK> { network, input, state, tolerance, walk },
            )
        };
        result.map_err(|failure| match failure {
            Failure::Input => SolveError::NotFinite,
            Failure::Solve(error) => {
                if error == SolveError::NotFinite {
                    state.reset();
                }
                error
            }
        })
    }

    fn solve_looped<const B: usize>(
        self,
        input: Matrix<'_, T>,
        state: &mut State<Network<INPUT, S, T, F, H, O>, B>,
        tolerance: Tolerance<T>,
    ) -> Result<Solved<T>, Failure<T>> {
        let params = self.network.parameters()?;
        let states = MatrixMut::new(state.as_mut_slice(), B, Network::<INPUT, S, T, F, H, O>::UNITS)?;
        // Before anything changes in any part.
        if self.threads != Threads::One && !T::run(self.backend, Largest(input)).is_finite() {
            return Err(Failure::Input);
        }
        let On { backend, threads, .. } = self;
        let progress = if const { B == 1 } {
            solve_in::<S, T, H, O, F::Scratch<T, S, 1>, 1>(backend, threads, params, input, states, tolerance)
        } else {
            solve_in::<S, T, H, O, F::Scratch<T, S, CHUNK>, CHUNK>(
                backend, threads, params, input, states, tolerance,
            )
        };
        progress?.finish().map_err(Failure::Solve)
    }

    /// [`Network::drive`] on this backend.
    ///
    /// # Errors
    /// As [`Network::drive`].
    #[inline]
    pub fn drive<X: Samples<T, INPUT, B>, const B: usize>(
        self,
        input: &X,
        drive: &mut Drive<Network<INPUT, S, T, F, H, O>, B>,
    ) -> Result<(), SolveError<T>> {
        let input = input.samples();
        let (Ok(params), Ok(out)) =
            (self.network.parameters(), MatrixMut::new(Flat::flat_mut(&mut drive.first), B, S::FIRST))
        else {
            return Err(SolveError::NotFinite);
        };
        let finite = if const { B == 1 } {
            T::run(self.backend, SetDrive::<T, _, 1> { params, input, out, walk: Looped })
        } else {
            T::run(self.backend, SetDrive::<T, _, CHUNK> { params, input, out, walk: Looped })
        };
        if finite { Ok(()) } else { Err(SolveError::NotFinite) }
    }

    /// [`Network::sweep`] on this backend.
    ///
    /// # Errors
    /// As [`Network::sweep`].
    #[inline]
    pub fn sweep<const B: usize>(
        self,
        drive: &Drive<Network<INPUT, S, T, F, H, O>, B>,
        state: &mut State<Network<INPUT, S, T, F, H, O>, B>,
    ) -> Result<T, SolveError<T>> {
        let units = Network::<INPUT, S, T, F, H, O>::UNITS;
        let (Ok(params), Ok(drive), Ok(states)) = (
            self.network.parameters(),
            Matrix::new(Flat::flat(&drive.first), B, S::FIRST),
            MatrixMut::new(state.as_mut_slice(), B, units),
        ) else {
            return Err(SolveError::NotFinite);
        };
        let (parts, walk) = (PhantomData::<(H, O, F::Scratch<T, S, 1>)>, Looped);
        let sweep = OneSweep::<_, _, _, _, _, _, 1> { params, drive, states, parts, weights: (), walk };
        let result = if const { B == 1 } {
            T::run(self.backend, sweep)
        } else {
            T::run(self.backend, sweep.along::<F::Scratch<T, S, CHUNK>, _, CHUNK>(walk))
        };
        if result.is_err() {
            state.reset();
        }
        result
    }

    /// [`sweep`](Self::sweep) of one sample, a unit's change divided by its weight; `weights` has one a unit.
    ///
    /// # Errors
    /// As [`sweep`](Self::sweep).
    pub(crate) fn weighted_sweep(
        self,
        drive: &Drive<Network<INPUT, S, T, F, H, O>>,
        state: &mut State<Network<INPUT, S, T, F, H, O>>,
        weights: &[T],
    ) -> Result<T, SolveError<T>> {
        if const { Network::<INPUT, S, T, F, H, O>::unrolls(1) } {
            self.weighted(drive, state, weights, Unrolled::<Network<INPUT, S, T, F, H, O>>::NEW)
        } else {
            self.weighted(drive, state, weights, Looped)
        }
    }

    /// [`weighted_sweep`](Self::weighted_sweep) of one layer, counted from 0.
    ///
    /// # Errors
    /// As [`sweep`](Self::sweep).
    pub(crate) fn weighted_layer(
        self,
        index: usize,
        drive: &Drive<Network<INPUT, S, T, F, H, O>>,
        state: &mut State<Network<INPUT, S, T, F, H, O>>,
        weights: &[T],
    ) -> Result<T, SolveError<T>> {
        self.weighted(drive, state, weights, Only(index))
    }

    fn weighted(
        self,
        drive: &Drive<Network<INPUT, S, T, F, H, O>>,
        state: &mut State<Network<INPUT, S, T, F, H, O>>,
        weights: &[T],
        walk: impl Walk,
    ) -> Result<T, SolveError<T>> {
        let units = Network::<INPUT, S, T, F, H, O>::UNITS;
        let (Ok(params), Ok(drive), Ok(states)) = (
            self.network.parameters(),
            Matrix::new(Flat::flat(&drive.first), 1, S::FIRST),
            MatrixMut::new(state.as_mut_slice(), 1, units),
        ) else {
            return Err(SolveError::NotFinite);
        };
        let parts = PhantomData::<(H, O, F::Scratch<T, S, 1>)>;
        let sweep = OneSweep::<_, _, _, _, _, _, 1> { params, drive, states, parts, weights, walk };
        let result = T::run(self.backend, sweep);
        if result.is_err() {
            state.reset();
        }
        result
    }
}

/// Solves all samples of `states`, parts of them side by side if `threads` says so.
fn solve_in<S: Stack, T: Scalar, H: Activation, O: Activation, R: Flat<Scalar = T>, const C: usize>(
    backend: Backend,
    threads: Threads,
    params: Parameters<'_, T>,
    input: Matrix<'_, T>,
    states: MatrixMut<'_, T>,
    tolerance: Tolerance<T>,
) -> Result<Progress<T>, Failure<T>> {
    let Some(half) = threads.split(states.rows()) else {
        let mut base: S::First<T, C> = Flat::ZERO;
        let (base, parts) = (base.flat_mut(), PhantomData::<(H, O, R)>);
        return T::run(backend, Solve::<_, _, _, _, C> { params, input, states, base, tolerance, parts });
    };
    let (first, second) = states.split_rows(half);
    let (inputs, others) = (input.row_range(0, half), input.row_range(half, input.rows()));
    let (first, second) = threads.join(
        || solve_in::<S, T, H, O, R, C>(backend, threads, params, inputs, first, tolerance),
        || solve_in::<S, T, H, O, R, C>(backend, threads, params, others, second, tolerance),
    );
    let mut progress = first?;
    progress.merge(second?).map_err(Failure::Solve)?;
    Ok(progress)
}

/// The largest magnitude, NaN if any value is not finite.
pub(crate) struct Largest<'a, T>(pub(crate) Matrix<'a, T>);

impl<T: Scalar> Operation<T> for Largest<'_, T> {
    type Output = T;
    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> T {
        largest(lanes, self.0)
    }
}

/// Why a solve gave no solution.
enum Failure<T> {
    /// The input is not finite: nothing has been changed.
    Input,
    /// Something has been changed.
    Solve(SolveError<T>),
}

// Shapes inside the crate come from one layout and always fit; were it otherwise, there would be no solution.
impl<T> From<crate::kernel::ShapeError> for Failure<T> {
    fn from(_: crate::kernel::ShapeError) -> Self {
        Self::Solve(SolveError::NotFinite)
    }
}
impl<T> From<crate::LengthError> for Failure<T> {
    fn from(_: crate::LengthError) -> Self {
        Self::Solve(SolveError::NotFinite)
    }
}

/// A solve of a batch (`C` = CHUNK) or of one sample (`C` = 1), compiled once for all networks.
struct Solve<'a, T, H, O, R, const C: usize> {
    params: Parameters<'a, T>,
    input: Matrix<'a, T>,
    states: MatrixMut<'a, T>,
    /// Room for W^1 x + b^1 of one chunk of samples.
    base: &'a mut [T],
    tolerance: Tolerance<T>,
    /// Activations, and what room a sweep needs.
    parts: PhantomData<(H, O, R)>,
}

impl<T, H, O, R, const C: usize> Operation<T> for Solve<'_, T, H, O, R, C>
where
    T: Scalar,
    H: Activation,
    O: Activation,
    R: Flat<Scalar = T>,
{
    type Output = Result<Progress<T>, Failure<T>>;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output {
        solve_all(lanes, self, Looped)
    }
}

/// A solve compiled for one type of network.
struct SolveUnrolled<'a, N, X, K, T, W, const C: usize> {
    network: &'a N,
    input: &'a X,
    state: &'a mut K,
    tolerance: Tolerance<T>,
    walk: W,
}

impl<const INPUT: usize, S, T, F, H, O, X, W, const B: usize, const C: usize> Operation<T>
    for SolveUnrolled<'_, Network<INPUT, S, T, F, H, O>, X, State<Network<INPUT, S, T, F, H, O>, B>, T, W, C>
where
    S: Stack,
    T: Scalar,
    F: Form,
    H: Activation,
    O: Activation,
    X: Samples<T, INPUT, B>,
    W: Walk,
{
    type Output = Result<Solved<T>, Failure<T>>;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output {
        let mut base: S::First<T, C> = Flat::ZERO;
        let units = Network::<INPUT, S, T, F, H, O>::UNITS;
        let solve = Solve::<T, H, O, F::Scratch<T, S, C>, C> {
            params: self.network.parameters()?,
            input: self.input.samples(),
            states: MatrixMut::new(self.state.as_mut_slice(), B, units)?,
            base: base.flat_mut(),
            tolerance: self.tolerance,
            parts: PhantomData,
        };
        solve_all(lanes, solve, self.walk)?.finish().map_err(Failure::Solve)
    }
}

#[inline(always)]
fn solve_all<T, L, H, O, R, W, const C: usize>(
    lanes: L,
    solve: Solve<'_, T, H, O, R, C>,
    walk: W,
) -> Result<Progress<T>, Failure<T>>
where
    T: Scalar,
    L: Lanes<T>,
    H: Activation,
    O: Activation,
    R: Flat<Scalar = T>,
    W: Walk,
{
    let Solve { params, input, mut states, base, tolerance, .. } = solve;
    let (activations, mut room) = (PhantomData::<(H, O)>, R::ZERO);
    if !largest(lanes, input).is_finite() {
        return Err(Failure::Input);
    }
    let mut progress = Progress::default();
    let width = walk.layout(params.layout()).layers().first().map_or(0, |layer| layer.width);
    for (first, samples) in chunks(states.rows()) {
        let mut base = MatrixMut::new(base.get_mut(..samples * width).unwrap_or_default(), samples, width)?;
        let input = input.row_range(first, samples);
        if !set_drive::<C, W, T, L>(lanes, walk, params, input, base.reborrow()) {
            return Err(Failure::Solve(SolveError::NotFinite));
        }
        let states = states.reborrow().row_range(first, samples);
        let base = base.as_ref();
        let room = &mut room;
        let forward = Forward { params, base, states, activations, walk, weights: (), room };
        let chunk = refine::<C, T, L>(lanes, samples, tolerance, forward);
        progress.merge(chunk).map_err(Failure::Solve)?;
    }
    Ok(progress)
}

struct SetDrive<'a, T, W, const C: usize> {
    params: Parameters<'a, T>,
    input: Matrix<'a, T>,
    out: MatrixMut<'a, T>,
    walk: W,
}

impl<T: Scalar, W: Walk, const C: usize> Operation<T> for SetDrive<'_, T, W, C> {
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> bool {
        let Self { params, input, mut out, walk } = self;
        let mut finite = largest(lanes, input).is_finite();
        for (first, samples) in chunks(out.rows()) {
            let out = out.reborrow().row_range(first, samples);
            let input = input.row_range(first, samples);
            finite = finite && set_drive::<C, W, T, L>(lanes, walk, params, input, out);
        }
        finite
    }
}

struct OneSweep<'a, T, H, O, R, K, W, const C: usize> {
    params: Parameters<'a, T>,
    drive: Matrix<'a, T>,
    states: MatrixMut<'a, T>,
    parts: PhantomData<(H, O, R)>,
    weights: K,
    walk: W,
}

impl<'a, T, H, O, R, K, W, const C: usize> OneSweep<'a, T, H, O, R, K, W, C> {
    /// The same by another walk, `D` samples at a time, with room for as many.
    fn along<Q, V: Walk, const D: usize>(self, walk: V) -> OneSweep<'a, T, H, O, Q, K, V, D> {
        let Self { params, drive, states, weights, .. } = self;
        OneSweep { params, drive, states, parts: PhantomData, weights, walk }
    }
}

impl<T, H, O, R, K, W, const C: usize> Operation<T> for OneSweep<'_, T, H, O, R, K, W, C>
where
    T: Scalar,
    H: Activation,
    O: Activation,
    R: Flat<Scalar = T>,
    K: Weights<T>,
    W: Walk,
{
    type Output = Result<T, SolveError<T>>;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> Self::Output {
        let Self { params, drive, mut states, weights, walk, .. } = self;
        let (activations, mut room) = (PhantomData::<(H, O)>, R::ZERO);
        let mut progress = Progress::default();
        for (first, samples) in chunks(states.rows()) {
            let base = drive.row_range(first, samples);
            let states = states.reborrow().row_range(first, samples);
            let room = &mut room;
            let forward = Forward { params, base, states, activations, walk, weights, room };
            progress.merge(refine::<C, T, L>(lanes, samples, Tolerance::exactly(1), forward))?;
        }
        Ok(progress.finish()?.residual)
    }
}
