//! Solving with a certificate that has been verified.

use super::comparison::{Bounds, Comparison, norm};
use super::outward::{minus, over, up};
use super::refinement::own;
use super::stated::Stated;
use super::{Certificate, CertifiedSolve, Label, Lent, NotFinite, Refinement};
use crate::kernel::Scalar;
use crate::network::{Architecture, Flat, Network, Samples, State, Takes};
use crate::simd::Backend;
use crate::solve::Injection;
use core::fmt;

/// A network and a certificate that holds for it: every solve succeeds and knows how far it is from the solution.
///
/// Made by [`Certificate::verify`], and borrows both, so that neither can change. One sample at a time.
pub struct Certified<'a, N: Architecture> {
    pub(super) network: &'a N,
    pub(super) certificate: &'a Certificate<N>,
    pub(super) backend: Backend,
}

impl<N: Architecture> Clone for Certified<'_, N> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<N: Architecture> Copy for Certified<'_, N> {}

impl<N: Architecture> fmt::Debug for Certified<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certified({:?}, {})", self.certificate, self.backend.name())
    }
}

impl<'a, N: Architecture> Certified<'a, N> {
    /// With a certificate that was verified while compiling.
    pub(crate) fn proved(network: &'a N, certificate: &'a Certificate<N>) -> Self {
        Self { network, certificate, backend: Backend::best() }
    }
    /// The same on another backend; the bounds hold on every one.
    #[must_use]
    pub fn on(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }
    /// The network.
    #[must_use]
    pub fn network(&self) -> &'a N {
        self.network
    }
    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &'a Certificate<N> {
        self.certificate
    }
}

/// Room for the solves of a [`Certified`] network, where it is not to lie on the stack: [`Certified::solve_in`], `label_in`, `refine_in` and
/// `skipping_in`. Two states, two [`Injection`]s and an input; what they need of it they overwrite.
#[repr(C)]
pub struct CertifiedRoom<N: Architecture> {
    pub(super) injection: Injection<N>,
    /// W^1 x + b^1 of a sweep before, of a [`Skipping`](super::Skipping).
    pub(super) swept: Injection<N>,
    pub(super) input: N::Inputs<N::Scalar>,
    pub(super) states: State<N, 2>,
}

// SAFETY: repr(C) over scalars in a row, aligned alike.
#[allow(unsafe_code, reason = "room is scalars, wherever it is kept")]
unsafe impl<N: Architecture> Flat for CertifiedRoom<N> {
    type Scalar = N::Scalar;
}

impl<N: Architecture> CertifiedRoom<N> {
    /// Room for any solve.
    pub const ZERO: Self = Flat::ZERO;
    /// Bytes of it.
    pub const BYTES: usize = size_of::<Self>();
}

impl<N: Architecture> fmt::Debug for CertifiedRoom<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertifiedRoom").finish_non_exhaustive()
    }
}

impl<'a, T: Scalar, A: Architecture<Scalar = T>> Certified<'a, Network<A>> {
    /// Starts to refine `state` for an input: sweep by sweep, with a bound on the error at any time. Computes W^1 x + b^1 and
    /// makes no sweep yet.
    ///
    /// ```
    /// use attractor::fnn;
    /// type Net = fnn![3, 8, 2];
    /// # let mut net = Net::ZERO;
    /// # net.layer_mut::<1>().w.fill(0.25);
    /// # net.layer_mut::<1>().u.fill(-0.02);
    /// # net.layer_mut::<2>().w.fill(0.5);
    /// let certificate = net.certify()?;
    /// let mut state = Net::state();
    /// let mut refinement = certificate.verify(&net)?.refine(&[1.0, 0.5, -0.5], &mut state)?;
    /// let mut time_left = 3;
    /// while time_left > 0 {
    ///     let bound = refinement.sweep()?;
    ///     println!("no unit is off by more than {}", bound.largest());
    ///     time_left -= 1;
    /// }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFinite`] if the input or the state has a NaN or infinity, or W^1 x + b^1 overflows; the state is then unchanged.
    pub fn refine<X: Samples<T, I, 1>, const I: usize>(
        self,
        input: &X,
        state: &'a mut State<Network<A>>,
    ) -> Result<Refinement<'a, Network<A>>, NotFinite>
    where
        A: Takes<I>,
    {
        Refinement::new(self, input, state, own)
    }

    /// [`refine`](Self::refine) in room of the caller's, which it borrows: for networks that are too large for the stack.
    ///
    /// # Errors
    /// As there.
    pub fn refine_in<X: Samples<T, I, 1>, const I: usize>(
        self,
        input: &X,
        state: &'a mut State<Network<A>>,
        room: &'a mut CertifiedRoom<Network<A>>,
    ) -> Result<Refinement<'a, Network<A>, Lent>, NotFinite>
    where
        A: Takes<I>,
    {
        let CertifiedRoom { injection, input: kept, states, .. } = room;
        Refinement::new(self, input, state, || (injection, kept, states.as_mut_slice()))
    }

    /// Sweeps from whatever `state` holds until no unit is further than `error` from the solution; at most as often as the
    /// certificate says ([`Certificate::sweeps`]), and at least once. It always succeeds: if `error` is less than rounding errors
    /// allow, it stops as soon as the bound is what it can be, and says so by the bound.
    ///
    /// # Errors
    /// [`NotFinite`] as [`refine`](Self::refine), and if the arithmetic overflows, where the state is reset to zero.
    pub fn solve<X: Samples<T, I, 1>, const I: usize>(
        &self,
        input: &X,
        state: &mut State<Network<A>>,
        error: T,
    ) -> Result<CertifiedSolve<T>, NotFinite>
    where
        A: Takes<I>,
    {
        self.shorter().refine(input, state)?.solve(error)
    }

    /// The same, with a shorter borrow of all.
    fn shorter(&self) -> Certified<'_, Network<A>> {
        Certified { network: self.network, certificate: self.certificate, backend: self.backend }
    }

    /// [`solve`](Self::solve) in room of the caller's: for networks that are too large for the stack.
    ///
    /// ```
    /// use attractor::certificate::CertifiedRoom;
    /// use attractor::network::Storage;
    /// use attractor::{Boxed, State, fnn};
    /// type Net = fnn![3, 8, 2];
    /// let net = Net::boxed();
    /// let certificate = net.certify()?;
    /// let certified = certificate.verify(&net)?;
    /// let (mut state, mut room) = (State::<Net>::boxed(), <Boxed<CertifiedRoom<Net>>>::zeroed());
    /// let answer = certified.solve_in(&[1.0, 0.5, -0.5], &mut state, 1e-4, &mut room)?;
    /// assert!(answer.bound.largest() <= 1e-4);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As there.
    pub fn solve_in<X: Samples<T, I, 1>, const I: usize>(
        &self,
        input: &X,
        state: &mut State<Network<A>>,
        error: T,
        room: &mut CertifiedRoom<Network<A>>,
    ) -> Result<CertifiedSolve<T>, NotFinite>
    where
        A: Takes<I>,
    {
        self.shorter().refine_in(input, state, room)?.solve(error)
    }

    /// The class with the largest output at the solution: sweeps only until no other can be it any more, because the outputs
    /// are further apart than their errors. Mostly that takes two or three sweeps.
    ///
    /// Where the bound for all units is as small as it can be and still does not decide, every unit gets a bound of its own: that
    /// takes two states of stack and, for every further sweep, a pass over the weights as long as some sweeps. It never
    /// makes more sweeps than [`Certificate::sweeps`] says for an error of 0, where that says something.
    ///
    /// # Errors
    /// As [`solve`](Self::solve). An output that ties with another within rounding errors is no error: the label then says
    /// that it is not certified.
    pub fn label<X: Samples<T, I, 1>, const I: usize>(
        &self,
        input: &X,
        state: &mut State<Network<A>>,
    ) -> Result<Label, NotFinite>
    where
        A: Takes<I>,
    {
        self.shorter().refine(input, state)?.label()
    }

    /// [`label`](Self::label) in room of the caller's, as [`solve_in`](Self::solve_in).
    ///
    /// # Errors
    /// As there.
    pub fn label_in<X: Samples<T, I, 1>, const I: usize>(
        &self,
        input: &X,
        state: &mut State<Network<A>>,
        room: &mut CertifiedRoom<Network<A>>,
    ) -> Result<Label, NotFinite>
    where
        A: Takes<I>,
    {
        self.shorter().refine_in(input, state, room)?.label()
    }

    /// How far the solution moves at most, as a weighted error, if every input moves by no more than `change`, in magnitude:
    /// |(I - Lo)^-1 (S |W^1| |change|, 0, ...)|_v / (1 - gamma). Takes a pass over W, and a [`State`] of stack;
    /// [`drift_in`](Self::drift_in) takes it from elsewhere. NaN or infinity for changes that are not finite.
    #[must_use]
    pub fn drift<const I: usize>(&self, change: &[T; I]) -> T
    where
        A: Takes<I>,
    {
        self.drift_in(change, &mut Network::<A>::state())
    }

    /// [`drift`](Self::drift) in room of the caller's, which is overwritten.
    #[must_use]
    pub fn drift_in<const I: usize>(&self, change: &[T; I], room: &mut State<Network<A>>) -> T
    where
        A: Takes<I>,
    {
        let each = |index: usize| change.get(index).map_or(T::NAN, |change| change.magnitude());
        self.drift_by(each, room.as_mut_slice())
    }

    /// `w`: room for a scalar a unit.
    pub(super) fn drift_by(&self, change: impl Fn(usize) -> T, w: &mut [T]) -> T {
        self.moved(change, w).map_or(T::NAN, |moved| over(moved, minus(T::ONE, self.certificate.rate())))
    }

    /// |(I - Lo)^-1 (S |W^1| |change|, 0, ...)|_v.
    fn moved(&self, change: impl Fn(usize) -> T, w: &mut [T]) -> Option<T> {
        let comparison = Comparison::new(self.network.parameters().ok()?, Bounds::of::<A>());
        for (index, layer) in comparison.layers().iter().enumerate() {
            if index == 0 {
                let own = w.get_mut(..layer.width)?;
                let each = |index| {
                    let change = change(index);
                    if change == T::ZERO { change } else { up(change) }
                };
                Comparison::rows(comparison.params.w(layer), each, comparison.slope(0), own)?;
            } else {
                comparison.layer::<false>(index, None, w)?;
            }
        }
        Some(norm(w, self.certificate.v()))
    }
}
