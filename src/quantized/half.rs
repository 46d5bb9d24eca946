//! Weights of 16 bits with states of 32: for hosts, where large weights wait for memory.

use super::{around, part};
use crate::kernel::{
    Activations, Change, Codes, HalfBase, HalfLayer, Identity, Matrix, PackedMatrix, ShapeError,
    WithActivation, built_in, largest, place,
};
use crate::network::{
    Architecture, Flat, Form, LayerLayout, Layout, Network, ParamsOf, Samples, State, Takes,
};
use crate::simd::{Backend, Bf16, InLine, Lanes, Operation};
use crate::solve::{
    Failure, Injection, NonFinite, Progress, Runner, SolveError, Solved, Stop, Sweep, fits, in_input,
    in_params, in_states, refine,
};
use crate::threads::Threads;
use core::fmt;

/// Columns of weights that lie side by side.
const GROUP: usize = 2;

/// A network `N` with every parameter as a [`Bf16`], weights as [pairs](Bf16::pair), in half its bytes; states, sums and what [`Network::solve`] promises of them are those of `f32`.
///
/// It is the network [`to_network`](Self::to_network) gives, so what is certified of that is certified of this one but for the order of
/// sums.
///
/// ```
/// use attractor::{Stop, fnn, quantized::Bf16Network};
/// type Net = fnn![3, 8, 2];
/// let mut net = Net::ZERO;
/// net.layer_mut::<1>().w.fill(0.25);
/// net.layer_mut::<1>().u.fill(-0.02);
/// net.layer_mut::<2>().w.fill(0.5);
/// let half = Bf16Network::new(&net)?;
/// assert_eq!(size_of_val(&half) * 2, size_of_val(&net));
/// let (mut state, mut exact) = (Net::state(), Net::state());
/// half.solve(&[1.0, 0.5, -0.5], &mut state, Stop::residual(1e-5))?;
/// net.solve(&[1.0, 0.5, -0.5], &mut exact, Stop::residual(1e-5))?;
/// assert!((state.output()[0] - exact.output()[0]).abs() < 0.01);
/// # Ok::<(), attractor::SolveError>(())
/// ```
#[repr(transparent)]
pub struct Bf16Network<N: Architecture> {
    pub(super) weights: ParamsOf<N, Bf16>,
}

impl<N: Architecture> Clone for Bf16Network<N> {
    fn clone(&self) -> Self {
        Self { weights: self.weights.clone() }
    }
}
impl<N: Architecture> fmt::Debug for Bf16Network<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bf16Network({})", N::SHAPE)
    }
}

impl<N: Architecture> Bf16Network<N> {
    /// All weights zero: room for a network.
    pub const ZERO: Self = Self { weights: Flat::ZERO };
    /// Bytes of it.
    pub const BYTES: usize = size_of::<Self>();

    crate::network::in_a_box!("Room for a network, to be [filled](Self::fill),");

    /// It, whatever its type.
    fn view(&self) -> View<'_> {
        View { layout: const { &N::LAYOUT }, weights: self.weights.flat() }
    }
}

/// A network of halved weights, whatever its type.
#[derive(Clone, Copy)]
struct View<'a> {
    layout: &'a Layout,
    weights: &'a [Bf16],
}

impl<'a> View<'a> {
    /// W of a layer, which is its first part, or U, its second.
    #[inline(always)]
    fn matrix(
        &self,
        layer: &LayerLayout,
        first: usize,
        columns: usize,
    ) -> Result<PackedMatrix<'a, Bf16>, ShapeError> {
        PackedMatrix::new(
            part(self.weights, layer.params + first, layer.width * columns),
            layer.width,
            columns,
        )
    }
    #[inline(always)]
    fn w(&self, layer: &LayerLayout) -> Result<PackedMatrix<'a, Bf16>, ShapeError> {
        self.matrix(layer, 0, layer.inputs)
    }
    #[inline(always)]
    fn u(&self, layer: &LayerLayout) -> Result<PackedMatrix<'a, Bf16>, ShapeError> {
        self.matrix(layer, layer.width * layer.inputs, layer.feedback)
    }
    #[inline(always)]
    fn b(&self, layer: &LayerLayout) -> HalfBase<'a, f32> {
        HalfBase::Bias(part(self.weights, layer.b(), layer.width))
    }
}

/// Where every parameter of a network lies in a halved one, and where its pair begins if it has one.
fn places(layout: &Layout) -> impl Iterator<Item = (usize, usize, Option<usize>)> + '_ {
    layout.layers().iter().flat_map(|layer| {
        let (rows, blocks) = (layer.width, [layer.inputs, layer.feedback, 1]);
        let mut first = layer.params;
        blocks.into_iter().flat_map(move |columns| {
            let start = first;
            first += rows * columns;
            (0..rows * columns).map(move |at| {
                let (row, column) = (at % rows, at / rows);
                let place = |column| start + place(GROUP, rows, columns, row, column);
                let paired = column < columns - columns % GROUP;
                (start + at, place(column), paired.then(|| place(column - column % GROUP)))
            })
        })
    })
}

/// Hands out every parameter of a halved network as the number it is.
fn widen_from(layout: &Layout, at: impl Fn(usize) -> Bf16, mut put: impl FnMut(usize, f32)) {
    for (to, from, pair) in places(layout) {
        put(
            to,
            match pair {
                Some(first) => {
                    let [one, other] = Bf16::values([at(first), at(first + 1)]);
                    if from == first { one } else { other }
                }
                None => at(from).value(),
            },
        );
    }
}

/// [`widen_from`] the bytes of a model file.
#[cfg(feature = "alloc")]
pub(crate) fn widen(layout: &Layout, weights: &[u8], put: impl FnMut(usize, f32)) {
    let at = |at: usize| {
        let bytes = weights.get(2 * at..2 * at + 2).and_then(|bytes| bytes.first_chunk());
        bytes.map_or_else(Bf16::default, |bytes| Bf16(u16::from_le_bytes(*bytes)))
    };
    widen_from(layout, at, put);
}

impl<N: Architecture<Scalar = f32>> Bf16Network<Network<N>> {
    /// Networks that cannot be halved do not compile.
    const SUPPORTED: () = {
        let _ = (built_in::<N::Hidden>(), built_in::<N::Outputs>());
        assert!(<N::Form>::TIED == 0, "tied feedback is not halved: W would have to be read in two orders");
        assert!(
            !Network::<N>::LAYOUT.is_shared(),
            "layers that share weights are not halved: pairs of weights would lie across layers"
        );
    };

    /// The network with every parameter rounded to the nearest. [`Tied`](crate::Tied) feedback and layers that share weights do not compile:
    ///
    /// ```compile_fail
    /// use attractor::quantized::Bf16Network;
    /// use attractor::{Tied, fnn};
    /// let _ = Bf16Network::new(&<fnn![3, 4, 2; feedback = Tied<50>]>::ZERO);
    /// ```
    ///
    /// ```compile_fail
    /// use attractor::quantized::Bf16Network;
    /// use attractor::network::Fnn;
    /// use attractor::{Layer, Network, Repeat};
    /// let _ = Bf16Network::new(&Network::<Fnn<3, Layer<4, Layer<4, Repeat<4, Layer<2>>>>>>::ZERO);
    /// ```
    ///
    /// # Errors
    /// [`SolveError::NotFinite`] if a parameter is a NaN or infinite, or becomes so.
    pub fn new(net: &Network<N>) -> Result<Self, SolveError> {
        let mut half = Self::ZERO;
        half.fill(net)?;
        Ok(half)
    }

    /// [`new`](Self::new), in place: for what is too large for the stack ([`boxed`](Self::boxed)).
    ///
    /// # Errors
    /// As there; nothing is changed then.
    pub fn fill(&mut self, net: &Network<N>) -> Result<(), SolveError> {
        const { Self::SUPPORTED }
        // The largest there is would be rounded to infinity.
        if !net.params().iter().all(|w| w.abs() < 3.3e38) {
            let found = in_params(&Network::<N>::SHAPE, net.params());
            return Err(SolveError::NotFinite(found.unwrap_or(NonFinite::Overflow)));
        }
        let weights = self.weights.flat_mut();
        for (from, to, pair) in places(&Network::<N>::LAYOUT) {
            let value = net.params().get(from).copied().unwrap_or_default();
            // The first of a pair comes first.
            let rounded = match pair.filter(|pair| *pair != to).and_then(|pair| weights.get(pair)) {
                Some(first) => Bf16::pair(first.value(), value)[1],
                None => Bf16::nearest(value),
            };
            if let Some(to) = weights.get_mut(to) {
                *to = rounded;
            }
        }
        Ok(())
    }

    /// The same network with parameters of 32 bits.
    pub fn to_network(&self, net: &mut Network<N>) {
        let weights = self.weights.flat();
        widen_from(
            &Network::<N>::LAYOUT,
            |at| weights.get(at).copied().unwrap_or_default(),
            |at, weight| {
                if let Some(to) = net.params_mut().get_mut(at) {
                    *to = weight;
                }
            },
        );
    }

    /// The network on a chosen backend.
    #[must_use]
    #[inline(always)]
    pub fn on(&self, backend: Backend) -> Runner<'_, Self> {
        const { Self::SUPPORTED }
        Runner { network: self, backend, threads: Threads::One }
    }

    /// Sweeps one sample from whatever `state` holds until it meets `stop`; as [`Network::solve`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn solve<const I: usize>(
        &self,
        input: &impl Samples<f32, I, 1>,
        state: &mut State<Network<N>>,
        stop: Stop,
    ) -> Result<Solved, SolveError>
    where
        N: Takes<I>,
    {
        self.on(Backend::best()).solve(input, state, stop)
    }

    /// [`solve`](Self::solve) in room of the caller's, which is overwritten: that takes an [`Injection`] of stack.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn solve_in<const I: usize>(
        &self,
        input: &impl Samples<f32, I, 1>,
        state: &mut State<Network<N>>,
        stop: Stop,
        room: &mut Injection<Network<N>>,
    ) -> Result<Solved, SolveError>
    where
        N: Takes<I>,
    {
        self.on(Backend::best()).solve_in(input, state, stop, room)
    }
}

impl<N: Architecture<Scalar = f32>> Runner<'_, Bf16Network<Network<N>>> {
    /// [`Bf16Network::solve`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn solve<const I: usize>(
        &self,
        input: &impl Samples<f32, I, 1>,
        state: &mut State<Network<N>>,
        stop: Stop,
    ) -> Result<Solved, SolveError>
    where
        N: Takes<I>,
    {
        self.solve_in(input, state, stop, &mut Injection { first: Flat::ZERO })
    }

    /// [`Bf16Network::solve_in`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn solve_in<const I: usize>(
        &self,
        input: &impl Samples<f32, I, 1>,
        state: &mut State<Network<N>>,
        stop: Stop,
        room: &mut Injection<Network<N>>,
    ) -> Result<Solved, SolveError>
    where
        N: Takes<I>,
    {
        stop.check()?;
        // One sample lies side by side.
        let Some(sample) = input.samples().row() else { return Err(SolveError::NOT_FINITE) };
        let solve = Solve {
            view: self.network.view(),
            input: sample,
            state: state.as_mut_slice(),
            injection: room.first.flat_mut(),
            stop,
            ends: const { Codes::of::<N::Hidden, N::Outputs>() },
        };
        match solve_once((self.backend, solve)) {
            // The input is looked at first, and no weight is infinite or a NaN.
            Err(Failure::Lost) => {
                let found = in_states(&Network::<N>::SHAPE, Matrix::of_row(state.as_slice()));
                state.reset();
                Err(SolveError::NotFinite(found.unwrap_or(NonFinite::Overflow)))
            }
            Ok(progress) => progress.finish(),
            Err(Failure::Input) => {
                Err(SolveError::NotFinite(in_input(input.samples()).unwrap_or(NonFinite::Overflow)))
            }
        }
    }
}

/// A solve of one sample.
struct Solve<'a> {
    view: View<'a>,
    input: &'a [f32],
    state: &'a mut [f32],
    /// Room for W^1 x + b^1.
    injection: &'a mut [f32],
    stop: Stop,
    ends: Codes,
}

/// Compiled once for all networks.
#[inline(never)]
fn solve_once((backend, solve): (Backend, Solve<'_>)) -> Result<Progress<f32>, Failure> {
    <f32 as crate::simd::Element>::run(backend, solve)
}

impl Operation<f32> for Solve<'_> {
    type Output = Result<Progress<f32>, Failure>;

    #[inline(always)]
    fn run<L: Lanes<f32>>(self, lanes: L) -> Self::Output {
        let Self { view, input, state, injection, stop, ends } = self;
        if !largest(lanes, Matrix::of_row(input)).is_finite() {
            return Err(Failure::Input);
        }
        let mut change = Change::none(lanes);
        if let Some(layer) = view.layout.layers().first() {
            fits(view.w(layer).and_then(|w| {
                let (products, base) = ([None, Some((w, input))], view.b(layer));
                HalfLayer { lanes, products, base, own: &mut *injection, change: &mut change }
                    .with::<Identity>()
            }));
        }
        // NaN if something was not finite.
        if !(change.of_one(lanes) >= 0.0) {
            return Err(Failure::Lost);
        }
        let mut progress = Progress::default();
        let forward = Forward { view, injection, state, ends };
        progress.merge(refine::<1, f32>(InLine(lanes), 1, stop, forward))?;
        Ok(progress)
    }
}

struct Forward<'a> {
    view: View<'a>,
    injection: &'a [f32],
    state: &'a mut [f32],
    ends: Codes,
}

impl Sweep<f32> for Forward<'_> {
    #[inline(always)]
    fn sweep<const C: usize, L: Lanes<f32>>(&mut self, lanes: L, changes: &mut [Change<L::Vector>]) {
        let Self { view, injection, state, ends } = self;
        let Some(change) = changes.first_mut() else { return };
        let depth = view.layout.depth();
        for (index, layer) in view.layout.layers().iter().enumerate() {
            let Some((below, own, above)) = around(state, layer) else { return };
            let (Ok(u), Ok(w)) = (view.u(layer), view.w(layer)) else { return };
            let down = (layer.feedback > 0).then_some((u, above));
            let (base, up) = if index == 0 {
                (HalfBase::Injection(injection), None)
            } else {
                (view.b(layer), Some((w, below)))
            };
            let products = [down, up];
            let layer = HalfLayer { lanes, products, base, own, change: &mut *change };
            fits(ends.with(index + 1 == depth, layer));
        }
    }
    #[inline(always)]
    fn refined(&self) -> Matrix<'_, f32> {
        Matrix::of_row(self.state)
    }
}
