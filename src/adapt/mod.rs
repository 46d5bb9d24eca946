//! Adapters: a network in read-only memory learns a new task by a few parameters beside it.
//!
//! The network is borrowed, in flash as well as anywhere else. An adapter holds what may change, and nothing else of it takes RAM:
//!
//! | adapter | holds, for every layer it changes |
//! |-|-|
//! | [`LowRank<R>`] | P (`width x R`) and Q (`(inputs + feedback) x R`) of a correction \[W U\] + P Q^T, and b |
//! | [`BiasOnly`] | b |
//! | [`Frozen<K>`] | W, U and b of all layers but the first `K` |
//! | [`LastLayer`] | W and b of the last layer |
//!
//! Corrections of low rank are those of Hu et al. 2021 (LoRA), here of a fixed point: P starts at zero and Q at random, so that the
//! adapted network starts as the borrowed one. W + P Q^T is never formed: s = Q^T h is R numbers, and P s is one product more of the
//! layer. The gradient is exact as that of a network is: at a solution, with t^l = (P^l)^T d^l,
//!
//! d^l = D^l * ( g^l + (W^(l+1))^T d^(l+1) + Q_W^(l+1) t^(l+1) + sum over k < l of ( (U^(k,l))^T d^k + Q_U^(k,l) t^k ) ),
//!
//! dJ/dP^l = d^l (s^l)^T, dJ/dQ^l = h (t^l)^T with all h the layer reads, dJ/db^l = d^l.
//!
//! ```
//! use attractor::adapt::{Adapted, AdapterTrainer, LowRank};
//! use attractor::fnn;
//! use attractor::learn::{Adam, MeanSquared, Objective};
//!
//! type Net = fnn![2, 16, 1];
//! static NET: Net = Net::ZERO; // trained, in flash
//! type Small<'a> = Adapted<'a, Net, LowRank<1>>;
//!
//! let adam = Adam::<attractor::adapt::ParamsOf<Net, LowRank<1>>>::new();
//! let mut trainer: AdapterTrainer<'_, Net, LowRank<1>, _, _> =
//!     AdapterTrainer::new(Small::new(&NET, 1), adam, Objective::new(MeanSquared));
//! trainer.rate = 0.02;
//! for _ in 0..200 {
//!     trainer.step(&[1.0, -0.5], &[0.5])?;
//! }
//! let mut merged = Net::ZERO;
//! trainer.adapted.merge_into(&mut merged)?; // an ordinary network again
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod certificate;
mod run;
mod trainer;

pub use certificate::AdaptedCertificate;
pub use trainer::AdapterTrainer;

use crate::certificate::NotFinite;
use crate::kernel::{Base, CHUNK, Matrix, MatrixMut, Product, Scalar, TYPED, largest_on};
use crate::learn::{GradientReport, LearnError, Learner, Loss, Objective, check_rate, lost_gradient};
use crate::network::{
    Architecture, Flat, Form, Layout, LengthError, Memory, Network, NoMemory, Plan, Samples, Sealed, Source,
    State, Takes, View, Viewed, Workspace, own,
};
use crate::simd::{Backend, Element, Whole};
use crate::solve::{Model, NonFinite, ROOM, Runner, SolveError, Solved, Stop, in_weights};
use crate::threads::Threads;
use core::fmt;
use run::{Add, AddJob, AddOnce, To};

/// A kind of adapter for a network `N`. Sealed.
pub trait Adapter<N: Architecture>: Sealed + 'static {
    /// Its parameters: scalars in a row, for any optimizer.
    type Params: Flat<Scalar = N::Scalar> + fmt::Debug + Clone + Send + Sync + 'static;
    /// As many values as the rank, for `B` samples.
    #[doc(hidden)]
    type Thin<const B: usize>: Flat<Scalar = N::Scalar>;
    /// The same for every layer.
    #[doc(hidden)]
    type EveryThin<const B: usize>: Flat<Scalar = N::Scalar>;
    #[doc(hidden)]
    const PLAN: Plan;
}

/// The parameters of an adapter `A` for a network `N`.
pub type ParamsOf<N, A> = <A as Adapter<N>>::Params;

/// Corrections \[W U\] + P Q^T of rank `R` of every layer, and its b. `R` times the number of layers is at most 16384:
///
/// ```compile_fail
/// use attractor::adapt::{Adapted, LowRank};
/// use attractor::fnn;
/// let net = <fnn![2, 3, 1]>::ZERO;
/// Adapted::<fnn![2, 3, 1], LowRank<8193>>::new(&net, 1);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LowRank<const R: usize>;

/// The biases of all layers.
pub type BiasOnly = LowRank<0>;

/// All parameters but those of the first `K` layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frozen<const K: usize>;

/// The parameters of the last layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastLayer;

impl<const R: usize> Sealed for LowRank<R> {}
impl<const K: usize> Sealed for Frozen<K> {}
impl Sealed for LastLayer {}

impl<N: Architecture, const R: usize> Adapter<N> for LowRank<R> {
    type Params = N::LowRank<R>;
    type Thin<const B: usize> = nalgebra::SMatrix<N::Scalar, B, R>;
    type EveryThin<const B: usize> = N::Thin<B, R>;
    const PLAN: Plan = Plan::LowRank(R);
}

impl<N: Architecture> Adapter<N> for LastLayer {
    type Params = N::LastLayer;
    type Thin<const B: usize> = NoMemory<N::Scalar>;
    type EveryThin<const B: usize> = NoMemory<N::Scalar>;
    const PLAN: Plan = Plan::Above(N::LAYOUT.depth() - 1);
}

macro_rules! frozen {
    ($($frozen:literal $layer:literal),*) => {$(
        impl<T: Scalar, N: Architecture<Scalar = T>> Adapter<N> for Frozen<$frozen>
        where
            N::Params<T>: crate::network::At<$layer>,
            <N::Params<T> as crate::network::At<$layer>>::Layer:
                Flat<Scalar = T> + fmt::Debug + Clone + Send + Sync + 'static,
        {
            type Params = <N::Params<T> as crate::network::At<$layer>>::Layer;
            type Thin<const B: usize> = NoMemory<T>;
            type EveryThin<const B: usize> = NoMemory<T>;
            const PLAN: Plan = Plan::Above($frozen);
        }
    )*};
}
frozen!(0 1, 1 2, 2 3, 3 4, 4 5, 5 6, 6 7, 7 8, 8 9, 9 10, 10 11, 11 12, 12 13, 13 14, 14 15, 15 16);

/// A borrowed network and an adapter `A` for it; see the [module](self).
pub struct Adapted<'a, N: Architecture, A: Adapter<N>> {
    network: &'a N,
    params: A::Params,
}

impl<N: Architecture, A: Adapter<N>> Clone for Adapted<'_, N, A> {
    fn clone(&self) -> Self {
        Self { network: self.network, params: self.params.clone() }
    }
}

impl<N: Architecture + fmt::Debug, A: Adapter<N>> fmt::Debug for Adapted<'_, N, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Adapted({:?}, {:?})", self.network, A::PLAN)
    }
}

impl<'a, T: Scalar, N: Architecture<Scalar = T>, A> Adapted<'a, Network<N>, A>
where
    A: Adapter<Network<N>>,
{
    const LAYOUT: &'static Layout = {
        let layout = &<Network<N> as Architecture>::LAYOUT;
        assert!(
            <N::Form>::TIED == 0,
            "tied feedback cannot be adapted: its W goes up and down, and a correction of one way would untie it"
        );
        assert!(
            !layout.is_shared(),
            "layers that share weights cannot be adapted: each would have a correction of its own"
        );
        assert!(A::PLAN.len(layout) == A::Params::LEN, "the layout is the memory");
        assert!(
            A::PLAN.rank() * layout.depth() <= ROOM,
            "the rank of an adapter, times the layers, is at most 16384"
        );
        layout
    };

    /// Number of parameters of the adapter.
    pub const PARAMS: usize = A::Params::LEN;
    /// Bytes of RAM for every way to use it, with the network in flash: as [`Network::MEMORY`], with the adapter's parameters
    /// for the network's.
    ///
    /// ```
    /// use attractor::adapt::{Adapted, LowRank};
    /// use attractor::fnn;
    /// type Net = fnn![64, 128, 64, 10];
    /// const ADAPTER: usize = Adapted::<Net, LowRank<4>>::MEMORY.adam(1);
    /// const FULL: usize = Net::MEMORY.adam(1);
    /// assert!(10 * ADAPTER < FULL);
    /// ```
    pub const MEMORY: Memory = Memory { params: Self::PARAMS, ..Network::<N>::MEMORY };

    /// The network with an adapter that changes nothing yet: P zero, b and whole layers copied. Q is drawn from `seed`, the entries of
    /// a layer uniform with variance 1 / (inputs + feedback), so that s = Q^T h has the size of h.
    ///
    /// [`Tied`](crate::Tied) feedback cannot be adapted:
    ///
    /// ```compile_fail
    /// use attractor::adapt::{Adapted, LowRank};
    /// use attractor::{Tied, fnn};
    /// type Net = fnn![2, 3, 1; feedback = Tied<50>];
    /// Adapted::<Net, LowRank<1>>::new(&Net::ZERO, 1);
    /// ```
    #[must_use]
    pub fn new(network: &'a Network<N>, seed: u32) -> Self {
        let mut adapted = Self { network, params: Flat::ZERO };
        let layout = const { Self::LAYOUT };
        let Ok(base) = network.parameters() else { return adapted };
        let mut random = seed;
        for layer in layout.layers() {
            let Some(own) = own(adapted.params.flat_mut(), A::PLAN, layout, layer) else { continue };
            copy(base.b(layer), own.b);
            let (mut first, mut second) = (own.first, own.second);
            if let Plan::LowRank(_) = A::PLAN {
                let deviation = T::from_usize(layer.columns());
                let width = (T::from_usize(3) / deviation).sqrt();
                second.fill_with(|_| width * uniform(&mut random));
            } else {
                copy_matrix(base.w(layer), &mut first);
                copy_matrix(base.u(layer), &mut second);
            }
        }
        adapted
    }

    /// The network with an adapter whose parameters are known.
    #[must_use]
    pub fn with(network: &'a Network<N>, params: A::Params) -> Self {
        const { Self::LAYOUT };
        Self { network, params }
    }

    /// The borrowed network.
    #[must_use]
    pub fn network(&self) -> &'a Network<N> {
        self.network
    }
    /// The adapter's parameters.
    #[must_use]
    pub fn params(&self) -> &A::Params {
        &self.params
    }
    /// The adapter's parameters, to change: by an [`Optimizer`](crate::learn::Optimizer), through [`Flat::flat_mut`].
    #[must_use]
    pub fn params_mut(&mut self) -> &mut A::Params {
        &mut self.params
    }
    /// A gradient of zero.
    #[must_use]
    pub fn gradient_zero() -> A::Params {
        Flat::ZERO
    }

    /// It on a chosen backend, as [`Network::on`].
    #[must_use]
    pub fn on(&self, backend: Backend) -> Runner<'_, Self> {
        Runner { network: self, backend, threads: Threads::One }
    }

    fn view(&self) -> Result<View<'_, T>, LengthError> {
        const { Self::LAYOUT };
        Ok(View { base: self.network.parameters()?, own: self.params.flat(), plan: A::PLAN })
    }

    /// Sweeps from whatever `state` holds until every sample meets `stop`, as [`Network::solve`] does for the merged network.
    ///
    /// # Errors
    /// As [`Network::solve`].
    pub fn solve<X: Samples<T, I, B>, const I: usize, const B: usize>(
        &self,
        input: &X,
        state: &mut State<Network<N>, B>,
        stop: Stop<T>,
    ) -> Result<Solved<T>, SolveError<T>>
    where
        N: Takes<I>,
    {
        self.on(Backend::best()).solve(input, state, stop)
    }

    /// The first weight or bias of network or adapter that is a NaN or an infinity; see [`Network::non_finite`].
    #[must_use]
    pub fn non_finite(&self) -> Option<NonFinite> {
        in_weights(self.view().ok()?)
    }

    /// Solves, takes the loss, solves the adjoint, and adds the gradient of every parameter of the adapter to `gradient`, as
    /// [`Network::gradient`]. The network's own parameters get none and need no room.
    ///
    /// Takes a bounded part of the stack where the engine is compiled once. On processors without vectors it takes 2 R values a sample, and for the
    /// adjoint R a layer for at most 32 samples.
    ///
    /// # Errors
    /// [`LearnError`]; `gradient` is then unchanged.
    pub fn gradient<X, Y: ?Sized, C, const I: usize, const B: usize>(
        &self,
        objective: &Objective<C, T>,
        input: &X,
        target: &Y,
        workspace: &mut Workspace<Network<N>, B>,
        gradient: &mut A::Params,
    ) -> Result<GradientReport<T>, LearnError<T>>
    where
        N: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<N::Output<B>, Y, Scalar = T>,
    {
        self.on(Backend::best()).gradient(objective, input, target, workspace, gradient)
    }

    /// One step of plain gradient descent of the adapter in place, as [`Network::descend`]: there is no gradient in memory.
    ///
    /// `rate`: 0 to 1024. Corrections of low rank are changed a few columns at a time, each by all samples: of these there are at most 16384, or it
    /// does not compile.
    ///
    /// # Errors
    /// [`LearnError`]; the adapter is then unchanged.
    pub fn descend<X, Y: ?Sized, C, const I: usize, const B: usize>(
        &mut self,
        objective: &Objective<C, T>,
        input: &X,
        target: &Y,
        workspace: &mut Workspace<Network<N>, B>,
        rate: T,
    ) -> Result<GradientReport<T>, LearnError<T>>
    where
        N: Takes<I>,
        X: Samples<T, I, B>,
        C: Loss<N::Output<B>, Y, Scalar = T>,
    {
        const {
            assert!(
                A::PLAN.rank() == 0 || B <= ROOM,
                "a correction of low rank is changed in place by at most 16384 samples at once"
            );
        }
        check_rate(rate).map_err(LearnError::Update)?;
        let backend = Backend::best();
        let learned = self.on(backend).settle(objective, input, target, workspace)?;
        let to = To::InPlace(self.params.flat_mut());
        add::<_, _, A, _, _, _>(self.network, backend, input, workspace, -rate, to)?;
        Ok(learned)
    }

    /// Makes `network` what the adapter makes of the borrowed one: an ordinary network with the same solutions, within rounding.
    ///
    /// # Errors
    /// [`NotFinite`] if a parameter is not finite or a sum might not be; `network` is then unchanged.
    pub fn merge_into(&self, network: &mut Network<N>) -> Result<(), NotFinite> {
        let view = self.view().map_err(|_| NotFinite)?;
        let layers = view.layout().layers();
        let mut to = network.parameters_mut().map_err(|_| NotFinite)?;
        let backend = Backend::best();
        let largest = |matrix| largest_on(backend, matrix);
        for layer in layers {
            let b = Matrix::new(view.b(layer), layer.width, 1).map_err(|_| NotFinite)?;
            let mut sum = largest(view.w(layer)) + largest(view.u(layer)) + largest(b);
            if let Some(correction) = view.correction(layer) {
                let rank = T::from_usize(correction.p.cols());
                sum += rank * largest(correction.p) * largest(correction.q);
            }
            if !(sum < T::HEADROOM) {
                return Err(NotFinite);
            }
        }
        for layer in layers {
            let (mut w, mut u, b) = to.layer(layer);
            copy(view.b(layer), b);
            let Some(correction) = view.correction(layer) else {
                copy_matrix(view.w(layer), &mut w);
                copy_matrix(view.u(layer), &mut u);
                continue;
            };
            for (from, first, to) in [(view.w(layer), 0, w), (view.u(layer), layer.inputs, u)] {
                if to.cols() == 0 {
                    continue;
                }
                let matrix = correction.q.columns(first, to.cols());
                let product = Product { matrix, operand: correction.p };
                crate::kernel::transposed(backend, Base::Matrix(from), &[product], to)
                    .map_err(|_| NotFinite)?;
            }
        }
        Ok(())
    }
}

impl<N: Architecture, A: Adapter<N>> Sealed for Adapted<'_, N, A> {}

impl<T: Scalar, N: Architecture<Scalar = T>, A: Adapter<Network<N>>> Model for Adapted<'_, Network<N>, A> {
    type Architecture = N;
    type Room<const B: usize> = A::Thin<B>;
    const PLAIN: bool = false;
    fn source(&self) -> Result<impl Viewed<'_, T>, LengthError> {
        self.view()
    }
    fn wrong_weight(&self) -> Option<NonFinite> {
        if const { TYPED } { None } else { in_weights(self.view().ok()?) }
    }
}

impl<T: Scalar, N: Architecture<Scalar = T>, A: Adapter<Network<N>>> Learner for Adapted<'_, Network<N>, A> {
    type Params = A::Params;
    type AdjointRoom<const B: usize> = A::EveryThin<B>;
    fn add<X: Samples<T, I, B>, const I: usize, const B: usize>(
        &self,
        (backend, _): (Backend, Threads),
        input: &X,
        workspace: &Workspace<Network<N>, B>,
        to: &mut A::Params,
    ) -> Result<(), LearnError<T>>
    where
        N: Takes<I>,
    {
        let to = To::Apart(self.params.flat(), to.flat_mut());
        add::<_, _, A, _, _, _>(self.network, backend, input, workspace, T::ONE, to)
    }
}

#[allow(clippy::too_many_arguments, reason = "a network's parameters of the type")]
fn add<T: Scalar, N: Takes<I, Scalar = T>, A, X, const I: usize, const B: usize>(
    network: &Network<N>,
    backend: Backend,
    input: &X,
    workspace: &Workspace<Network<N>, B>,
    factor: T,
    to: To<'_, T>,
) -> Result<(), LearnError<T>>
where
    A: Adapter<Network<N>>,
    X: Samples<T, I, B>,
{
    let units = Network::<N>::UNITS;
    let (base, plan, input) = (network.parameters()?, A::PLAN, input.samples());
    let states = Matrix::new(workspace.state.as_slice(), B, units)?;
    let deltas = Matrix::new(workspace.adjoint.as_slice(), B, units)?;
    let lost = |_| lost_gradient(input, &workspace.state, &workspace.adjoint);
    if const { !TYPED } {
        let added = T::once::<AddOnce>(AddJob { base, plan, to, input, states, deltas, factor, backend });
        return added.map_err(lost);
    }
    let (mut s, mut t): (A::Thin<B>, A::Thin<B>) = (Flat::ZERO, Flat::ZERO);
    let rooms = [&mut s, &mut t];
    let added = if const { B == 1 } {
        T::run(backend, Whole(Add::<T, _, 1> { base, plan, to, input, states, deltas, factor, rooms }))
    } else {
        T::run(backend, Whole(Add::<T, _, CHUNK> { base, plan, to, input, states, deltas, factor, rooms }))
    };
    added.map_err(lost)
}

fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Column after column; both are of one shape.
fn copy_matrix<T: Scalar>(from: Matrix<'_, T>, to: &mut MatrixMut<'_, T>) {
    let (rows, mut index) = (from.rows().max(1), 0);
    to.fill_with(|was| {
        let value = from.at(index % rows, index / rows);
        index += 1;
        value.unwrap_or(was)
    });
}

/// A number from -1 to 1, of a counter mixed (the finalizer of MurmurHash3, Appleby 2011).
fn uniform<T: Element>(counter: &mut u32) -> T {
    *counter = counter.wrapping_add(0x9e37_79b9);
    let mut bits = *counter;
    bits = (bits ^ (bits >> 16)).wrapping_mul(0x85eb_ca6b);
    bits = (bits ^ (bits >> 13)).wrapping_mul(0xc2b2_ae35);
    bits ^= bits >> 16;
    T::from_usize((bits >> 8) as usize) / T::from_usize(1 << 23) - T::ONE
}
