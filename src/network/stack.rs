//! The list of layers, in types.

use super::flat::{Flat, NoMemory};
use super::form::Form;
use super::layout::MAX_DEPTH;
use super::state::Rows;
use super::walk::EachLayer;
use crate::simd::Entry;
use core::fmt;
use core::marker::PhantomData;
use core::ops::IndexMut;
use nalgebra::SMatrix;

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// A layer of `N` units, and the layers above it. Made by [`fnn!`](crate::fnn).
pub struct Layer<const N: usize, Above = Top>(PhantomData<Above>);

/// A layer of `N` units with the very W, U and b of the layer below it, and the layers above it: the weights are stored once, in flash
/// and in RAM, and the gradient is the sum over all layers that have them. It must be as wide as the layer below and read as many units,
/// below and above; anything else does not compile. Below it stands a [`Layer`] or another `Repeat`.
///
/// [`fnn!`](crate::fnn) does not know it; the list is written out. Layers are counted with it in states, and without it in parameters
/// ([`Network::layer`](crate::Network::layer)). There is no model file of such a network: its flash image is
/// [`Network::from_le_bytes`](crate::Network::from_le_bytes).
///
/// ```
/// use attractor::{Layer, Network, Repeat, Tied, fnn, network::Fnn};
/// // Three layers of 48 units with one W and b, below ten outputs; the first layer reads the input, so it has its own.
/// type Deep = Network<Fnn<64, Layer<48, Layer<48, Repeat<48, Repeat<48, Layer<10>>>>>, f32, Tied<50>>>;
/// assert_eq!(Deep::DEPTH, 5);
/// assert_eq!(Deep::PARAMS, <fnn![64, 48, 48, 10; feedback = Tied<50>]>::PARAMS);
/// ```
///
/// With [`Adjacent`](crate::Adjacent) feedback the last layer of a run reads a layer of the same width:
///
/// ```
/// use attractor::{Layer, Network, Repeat, network::Fnn};
/// type Deep = Network<Fnn<64, Layer<48, Layer<48, Repeat<48, Layer<48, Layer<10>>>>>>>;
/// assert!(Deep::PARAMS > 0);
/// ```
///
/// ```compile_fail
/// use attractor::{Layer, Network, Repeat, network::Fnn};
/// type Deep = Network<Fnn<64, Layer<48, Layer<48, Repeat<48, Layer<10>>>>>>; // it would read 10 units, and the one below 48
/// const WRONG: usize = Deep::PARAMS;
/// ```
pub struct Repeat<const N: usize, Above = Top>(PhantomData<Above>);

impl<const N: usize, Above> fmt::Debug for Repeat<N, Above> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repeat<{N}>")
    }
}

/// The end of the list: nothing above.
#[derive(Clone, Copy, Debug)]
pub struct Top;

impl<const N: usize, Above> fmt::Debug for Layer<N, Above> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layer<{N}>")
    }
}

impl sealed::Sealed for Top {}
impl<const N: usize, Above: Tail> sealed::Sealed for Layer<N, Above> {}
impl<const N: usize, Above: Tail> sealed::Sealed for Repeat<N, Above> {}

/// What may stand above a layer: more layers, or the [`Top`]. Sealed.
pub trait Tail: sealed::Sealed + 'static {
    /// Layers from here on.
    const DEPTH: usize;
    /// Their widths, then zeros.
    const WIDTHS: [usize; MAX_DEPTH];
    /// Whether they have the parameters of the layer below.
    const SHARED: [bool; MAX_DEPTH];
    /// The parameters from here on, above a layer of `BELOW` units.
    type Params<T: Entry, F: Form, const BELOW: usize>: fmt::Debug + Clone + Send + Sync + 'static;
    /// The activations of `B` samples from here on.
    type States<T: Entry, const B: usize>: fmt::Debug + Clone + Send + Sync + 'static;
    /// A matrix with `ROWS` rows and a column for each unit of the first layer from here on; nothing at the top.
    type Nearest<T: Entry, const ROWS: usize>: fmt::Debug + Clone + Send + Sync + 'static;
    /// Such a matrix for each of the first two layers from here on.
    type NextTwo<T: Entry, const ROWS: usize>: fmt::Debug + Clone + Send + Sync + 'static;
    /// Such a matrix for each layer from here on.
    type Every<T: Entry, const ROWS: usize>: fmt::Debug + Clone + Send + Sync + 'static;
    /// `B` samples of the last layer, if the layer before has `LAST` units.
    type Last<T: Entry, const B: usize, const LAST: usize>: Rows<Scalar = T, Labels = [usize; B]>
        + IndexMut<(usize, usize), Output = T>
        + fmt::Debug
        + Clone
        + Send
        + Sync
        + 'static;
    /// `B` samples of the widest layer from here on.
    type Widest<T: Entry, const B: usize>: Flat<Scalar = T> + Copy;
    /// Corrections of rank `RANK` to the layers from here on, above a layer of `BELOW` units.
    type Corrections<T: Entry, F: Form, const BELOW: usize, const RANK: usize>: fmt::Debug
        + Clone
        + Send
        + Sync
        + 'static;
    /// `B` samples of `RANK` values for each layer from here on.
    type Thin<T: Entry, const B: usize, const RANK: usize>: Flat<Scalar = T>;
    /// The parameters of the last layer, if the layer before has `LAST` units above `BELOW`.
    type LastParams<T: Entry, F: Form, const LAST: usize, const BELOW: usize>: Flat<Scalar = T>
        + fmt::Debug
        + Clone
        + Send
        + Sync
        + 'static;
    /// Visits the layers from here on, the first of which is `index`.
    fn up<E: EachLayer>(each: &mut E, index: usize);
    /// Visits the layers from here on in reverse, the first of which is `index`.
    fn down<E: EachLayer>(each: &mut E, index: usize);
}

/// At least one layer: what a network is made of. Sealed.
#[diagnostic::on_unimplemented(
    message = "a network needs at least one layer above its input",
    label = "no layers here",
    note = "write the widths once, input first: fnn![64, 48, 32, 10]"
)]
pub trait Stack: Tail {
    /// Units of the first layer.
    const FIRST: usize;
    /// Visits the first layer.
    fn first<E: EachLayer>(each: &mut E);
    /// `B` samples of the first layer.
    type First<T: Entry, const B: usize>: Flat<Scalar = T> + fmt::Debug + Clone + Send + Sync + 'static;
    /// `B` samples of the last layer.
    type Output<T: Entry, const B: usize>: Rows<Scalar = T, Labels = [usize; B]>
        + IndexMut<(usize, usize), Output = T>
        + fmt::Debug
        + Clone
        + Send
        + Sync
        + 'static;
    /// Corrections of rank `RANK` to all layers.
    type LowRank<T: Entry, F: Form, const INPUT: usize, const RANK: usize>: Flat<Scalar = T>
        + fmt::Debug
        + Clone
        + Send
        + Sync
        + 'static;
    /// The parameters of the last layer.
    type LastLayer<T: Entry, F: Form, const INPUT: usize>: Flat<Scalar = T>
        + fmt::Debug
        + Clone
        + Send
        + Sync
        + 'static;
}

impl Tail for Top {
    const DEPTH: usize = 0;
    const WIDTHS: [usize; MAX_DEPTH] = [0; MAX_DEPTH];
    const SHARED: [bool; MAX_DEPTH] = [false; MAX_DEPTH];
    type Params<T: Entry, F: Form, const BELOW: usize> = ();
    type States<T: Entry, const B: usize> = ();
    type Nearest<T: Entry, const ROWS: usize> = ();
    type NextTwo<T: Entry, const ROWS: usize> = ();
    type Every<T: Entry, const ROWS: usize> = ();
    type Last<T: Entry, const B: usize, const LAST: usize> = SMatrix<T, B, LAST>;
    type Widest<T: Entry, const B: usize> = NoMemory<T>;
    type Corrections<T: Entry, F: Form, const BELOW: usize, const RANK: usize> = ();
    type Thin<T: Entry, const B: usize, const RANK: usize> = NoMemory<T>;
    type LastParams<T: Entry, F: Form, const LAST: usize, const BELOW: usize> =
        LayerParams<T, F, Self, LAST, BELOW>;
    #[inline(always)]
    fn up<E: EachLayer>(_: &mut E, _: usize) {}
    #[inline(always)]
    fn down<E: EachLayer>(_: &mut E, _: usize) {}
}

impl<const N: usize, Above: Tail> Tail for Layer<N, Above> {
    const DEPTH: usize = {
        assert!(N > 0, "a layer needs at least one unit");
        assert!(Above::DEPTH < MAX_DEPTH, "a network has at most 32 layers");
        1 + Above::DEPTH
    };
    const WIDTHS: [usize; MAX_DEPTH] = {
        let mut widths = [N; MAX_DEPTH];
        let mut l = 1;
        while l < MAX_DEPTH {
            widths[l] = Above::WIDTHS[l - 1];
            l += 1;
        }
        widths
    };
    const SHARED: [bool; MAX_DEPTH] = behind(false, &Above::SHARED);
    type Params<T: Entry, F: Form, const BELOW: usize> = LayerParams<T, F, Above, N, BELOW>;
    type States<T: Entry, const B: usize> = LayerStates<T, Above, N, B>;
    type Nearest<T: Entry, const ROWS: usize> = SMatrix<T, ROWS, N>;
    type NextTwo<T: Entry, const ROWS: usize> = Blocks<T, Above::Nearest<T, ROWS>, ROWS, N>;
    type Every<T: Entry, const ROWS: usize> = Blocks<T, Above::Every<T, ROWS>, ROWS, N>;
    type Last<T: Entry, const B: usize, const LAST: usize> = Above::Last<T, B, N>;
    type Widest<T: Entry, const B: usize> = Widest<T, Above, N, B>;
    type Corrections<T: Entry, F: Form, const BELOW: usize, const RANK: usize> =
        LayerCorrection<T, F, Above, N, BELOW, RANK>;
    type Thin<T: Entry, const B: usize, const RANK: usize> = Thin<T, Above, B, RANK>;
    type LastParams<T: Entry, F: Form, const LAST: usize, const BELOW: usize> =
        Above::LastParams<T, F, N, LAST>;
    #[inline(always)]
    fn up<E: EachLayer>(each: &mut E, index: usize) {
        Self::visit(each, index);
        Above::up(each, index + 1);
    }
    #[inline(always)]
    fn down<E: EachLayer>(each: &mut E, index: usize) {
        Above::down(each, index + 1);
        Self::visit(each, index);
    }
}

/// A list with one more before it; the last falls off.
const fn behind(first: bool, others: &[bool; MAX_DEPTH]) -> [bool; MAX_DEPTH] {
    let mut all = [first; MAX_DEPTH];
    let mut l = 1;
    while l < MAX_DEPTH {
        all[l] = others[l - 1];
        l += 1;
    }
    all
}

/// In all but its parameters it is a layer.
impl<const N: usize, Above: Tail> Tail for Repeat<N, Above> {
    const DEPTH: usize = <Layer<N, Above> as Tail>::DEPTH;
    const WIDTHS: [usize; MAX_DEPTH] = <Layer<N, Above> as Tail>::WIDTHS;
    const SHARED: [bool; MAX_DEPTH] = behind(true, &Above::SHARED);
    type Params<T: Entry, F: Form, const BELOW: usize> = Above::Params<T, F, N>;
    type States<T: Entry, const B: usize> = <Layer<N, Above> as Tail>::States<T, B>;
    type Nearest<T: Entry, const ROWS: usize> = <Layer<N, Above> as Tail>::Nearest<T, ROWS>;
    type NextTwo<T: Entry, const ROWS: usize> = <Layer<N, Above> as Tail>::NextTwo<T, ROWS>;
    type Every<T: Entry, const ROWS: usize> = <Layer<N, Above> as Tail>::Every<T, ROWS>;
    type Last<T: Entry, const B: usize, const LAST: usize> = Above::Last<T, B, N>;
    type Widest<T: Entry, const B: usize> = <Layer<N, Above> as Tail>::Widest<T, B>;
    type Corrections<T: Entry, F: Form, const BELOW: usize, const RANK: usize> =
        <Layer<N, Above> as Tail>::Corrections<T, F, BELOW, RANK>;
    type Thin<T: Entry, const B: usize, const RANK: usize> = <Layer<N, Above> as Tail>::Thin<T, B, RANK>;
    type LastParams<T: Entry, F: Form, const LAST: usize, const BELOW: usize> =
        <Layer<N, Above> as Tail>::LastParams<T, F, LAST, BELOW>;
    #[inline(always)]
    fn up<E: EachLayer>(each: &mut E, index: usize) {
        <Layer<N, Above> as Tail>::up(each, index);
    }
    #[inline(always)]
    fn down<E: EachLayer>(each: &mut E, index: usize) {
        <Layer<N, Above> as Tail>::down(each, index);
    }
}

impl<const N: usize, Above: Tail> Layer<N, Above> {
    #[inline(always)]
    fn visit<E: EachLayer>(each: &mut E, index: usize) {
        if const { Above::DEPTH == 0 } {
            each.layer::<N, true>(index);
        } else {
            each.layer::<N, false>(index);
        }
    }
}

impl<const N: usize, Above: Tail> Stack for Layer<N, Above> {
    const FIRST: usize = N;
    #[inline(always)]
    fn first<E: EachLayer>(each: &mut E) {
        Self::visit(each, 0);
    }
    type First<T: Entry, const B: usize> = SMatrix<T, B, N>;
    type Output<T: Entry, const B: usize> = Above::Last<T, B, N>;
    type LowRank<T: Entry, F: Form, const INPUT: usize, const RANK: usize> =
        LayerCorrection<T, F, Above, N, INPUT, RANK>;
    type LastLayer<T: Entry, F: Form, const INPUT: usize> = Above::LastParams<T, F, N, INPUT>;
}

/// The parameters of one layer and of those above it; `repr(C)`, scalars only, no padding.
#[repr(C)]
pub struct LayerParams<T: Entry, F: Form, Above: Tail, const N: usize, const BELOW: usize> {
    /// W, from the layer below: `N x BELOW`.
    pub w: SMatrix<T, N, BELOW>,
    /// U, from the layers above: `N x` their units, as the [`Form`] has it.
    pub u: F::Block<T, Above, N>,
    /// b: `N x 1`.
    pub b: SMatrix<T, N, 1>,
    /// The layers above.
    pub above: Above::Params<T, F, N>,
}

// SAFETY: repr(C) over nalgebra matrices of T and blocks of them, all aligned as T is.
unsafe impl<T: Entry, F: Form, Above: Tail, const N: usize, const BELOW: usize> Flat
    for LayerParams<T, F, Above, N, BELOW>
{
    type Scalar = T;
}

/// What a [`LowRank`](crate::adapt::LowRank) adapter has for one layer and for those above it: \[W U\] + P Q^T and b; `repr(C)`, scalars
/// only, no padding.
#[repr(C)]
pub struct LayerCorrection<
    T: Entry,
    F: Form,
    Above: Tail,
    const N: usize,
    const BELOW: usize,
    const RANK: usize,
> {
    /// P: `N x RANK`.
    pub p: SMatrix<T, N, RANK>,
    /// Q^T of W: `RANK x BELOW`.
    pub q: SMatrix<T, RANK, BELOW>,
    /// Q^T of U: `RANK x` the units of the layers above, as the [`Form`] has it.
    pub q_feedback: F::Block<T, Above, RANK>,
    /// b, in place of the network's own: `N x 1`.
    pub b: SMatrix<T, N, 1>,
    /// The layers above.
    pub above: Above::Corrections<T, F, N, RANK>,
}

// SAFETY: repr(C) over nalgebra matrices of T and blocks of them, all aligned as T is.
unsafe impl<T: Entry, F: Form, Above: Tail, const N: usize, const BELOW: usize, const RANK: usize> Flat
    for LayerCorrection<T, F, Above, N, BELOW, RANK>
{
    type Scalar = T;
}

/// `B` samples of `RANK` values for one layer and for those above it; `repr(C)`, scalars only, no padding.
#[repr(C)]
pub struct Thin<T: Entry, Above: Tail, const B: usize, const RANK: usize> {
    own: SMatrix<T, B, RANK>,
    above: Above::Thin<T, B, RANK>,
}

// SAFETY: repr(C) over a matrix of T and the same above.
unsafe impl<T: Entry, Above: Tail, const B: usize, const RANK: usize> Flat for Thin<T, Above, B, RANK> {
    type Scalar = T;
}

impl<T: Entry, Above: Tail, const B: usize, const RANK: usize> fmt::Debug for Thin<T, Above, B, RANK> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flat().fmt(f)
    }
}

/// The feedback matrices of one layer that reads several, in the form [`Skip`](super::Skip) or [`Dense`](super::Dense): the nearest layer
/// first.
#[repr(C)]
#[derive(Clone, Debug)]
pub struct Blocks<T: Entry, Farther, const ROWS: usize, const N: usize> {
    /// From this layer: `ROWS x N`.
    pub nearest: SMatrix<T, ROWS, N>,
    /// From the layers above it that are read too.
    pub farther: Farther,
}

/// The activations of one layer and of those above it, for `B` samples; `repr(C)`, scalars only, no padding.
#[repr(C)]
pub struct LayerStates<T: Entry, Above: Tail, const N: usize, const B: usize> {
    /// h: `B x N`, a row a sample.
    pub h: SMatrix<T, B, N>,
    /// The layers above.
    pub above: Above::States<T, B>,
}

/// As many scalars as `B` samples of one layer or of any above it take.
#[repr(C)]
pub union Widest<T: Entry, Above: Tail, const N: usize, const B: usize> {
    own: [[T; B]; N],
    above: Above::Widest<T, B>,
}

impl<T: Entry, Above: Tail, const N: usize, const B: usize> Copy for Widest<T, Above, N, B> {}
impl<T: Entry, Above: Tail, const N: usize, const B: usize> Clone for Widest<T, Above, N, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Entry, Above: Tail, const N: usize, const B: usize> fmt::Debug for Widest<T, Above, N, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flat().fmt(f)
    }
}

// SAFETY: a union of arrays of scalars, of the size of the longest; without padding, for that one has none.
unsafe impl<T: Entry, Above: Tail, const N: usize, const B: usize> Flat for Widest<T, Above, N, B> {
    type Scalar = T;
}

// Derives would ask `Clone` and `Debug` of the marker types too.
impl<T: Entry, F: Form, Above: Tail, const N: usize, const BELOW: usize> Clone
    for LayerParams<T, F, Above, N, BELOW>
{
    fn clone(&self) -> Self {
        Self { w: self.w, u: self.u.clone(), b: self.b, above: self.above.clone() }
    }
}
impl<T: Entry, F: Form, Above: Tail, const N: usize, const BELOW: usize> fmt::Debug
    for LayerParams<T, F, Above, N, BELOW>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Layer");
        out.field("w", &self.w).field("u", &self.u).field("b", &self.b).field("above", &self.above).finish()
    }
}
impl<T: Entry, F: Form, Above: Tail, const N: usize, const BELOW: usize, const RANK: usize> Clone
    for LayerCorrection<T, F, Above, N, BELOW, RANK>
{
    fn clone(&self) -> Self {
        let Self { p, q, b, .. } = *self;
        Self { p, q, q_feedback: self.q_feedback.clone(), b, above: self.above.clone() }
    }
}
impl<T: Entry, F: Form, Above: Tail, const N: usize, const BELOW: usize, const RANK: usize> fmt::Debug
    for LayerCorrection<T, F, Above, N, BELOW, RANK>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Correction");
        out.field("p", &self.p).field("q", &self.q).field("q_feedback", &self.q_feedback);
        out.field("b", &self.b).field("above", &self.above).finish()
    }
}
impl<T: Entry, Above: Tail, const N: usize, const B: usize> Clone for LayerStates<T, Above, N, B> {
    fn clone(&self) -> Self {
        Self { h: self.h, above: self.above.clone() }
    }
}
impl<T: Entry, Above: Tail, const N: usize, const B: usize> fmt::Debug for LayerStates<T, Above, N, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("States").field("h", &self.h).field("above", &self.above).finish()
    }
}

/// Layer number `L`, counted from 1 as in the formulas, of parameters or states.
#[diagnostic::on_unimplemented(
    message = "this network has no layer of this number",
    label = "no such layer",
    note = "layers are counted from 1, the first above the input, to the number of widths less one"
)]
pub trait At<const L: usize> {
    /// Its type.
    type Layer;
    /// The layer.
    fn at(&self) -> &Self::Layer;
    /// The layer, to change.
    fn at_mut(&mut self) -> &mut Self::Layer;
}

macro_rules! at {
    (first $field:ident, [$($generic:tt)*], $type:ty) => {
        impl<$($generic)*> At<1> for $type {
            type Layer = Self;
            #[inline(always)]
            fn at(&self) -> &Self { self }
            #[inline(always)]
            fn at_mut(&mut self) -> &mut Self { self }
        }
    };
    ($below:literal $layer:literal) => {
        impl<T: Entry, F: Form, Above: Tail, const N: usize, const BELOW: usize> At<$layer>
            for LayerParams<T, F, Above, N, BELOW>
        where Above::Params<T, F, N>: At<$below>
        {
            type Layer = <Above::Params<T, F, N> as At<$below>>::Layer;
            #[inline(always)]
            fn at(&self) -> &Self::Layer { self.above.at() }
            #[inline(always)]
            fn at_mut(&mut self) -> &mut Self::Layer { self.above.at_mut() }
        }
        impl<T: Entry, Above: Tail, const N: usize, const B: usize> At<$layer> for LayerStates<T, Above, N, B>
        where Above::States<T, B>: At<$below>
        {
            type Layer = <Above::States<T, B> as At<$below>>::Layer;
            #[inline(always)]
            fn at(&self) -> &Self::Layer { self.above.at() }
            #[inline(always)]
            fn at_mut(&mut self) -> &mut Self::Layer { self.above.at_mut() }
        }
    };
}

at!(first w, [T: Entry, F: Form, Above: Tail, const N: usize, const BELOW: usize], LayerParams<T, F, Above, N, BELOW>);
at!(first h, [T: Entry, Above: Tail, const N: usize, const B: usize], LayerStates<T, Above, N, B>);
at!(1 2);
at!(2 3);
at!(3 4);
at!(4 5);
at!(5 6);
at!(6 7);
at!(7 8);
at!(8 9);
at!(9 10);
at!(10 11);
at!(11 12);
at!(12 13);
at!(13 14);
at!(14 15);
at!(15 16);
at!(16 17);
at!(17 18);
at!(18 19);
at!(19 20);
at!(20 21);
at!(21 22);
at!(22 23);
at!(23 24);
at!(24 25);
at!(25 26);
at!(26 27);
at!(27 28);
at!(28 29);
at!(29 30);
at!(30 31);
at!(31 32);

#[cfg(test)]
mod tests {
    use crate::fnn;
    use crate::network::{Flat, MAX_DEPTH};

    #[test]
    fn every_layer_of_the_deepest_network_has_its_number() {
        // As many units as the number's last digit in base 4, and one.
        type Deep = fnn![
            1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1
        ];
        assert_eq!(Deep::DEPTH, MAX_DEPTH);
        let (mut net, mut state) = (Deep::ZERO, Deep::state::<1>());
        let (mut layer, mut place, mut unit) = (0, 0, 0);
        macro_rules! each {
            ($($number:literal)*) => {$(
                layer += 1;
                assert_eq!($number, layer);
                let w = net.layer_mut::<$number>().w.flat_mut();
                assert_eq!(w.len(), (layer % 4 + 1) * ((layer - 1) % 4 + 1));
                w[0] = layer as f32;
                state.as_mut_slice()[unit] = layer as f32;
                let h = &state.layer::<$number>().h;
                assert!(h.ncols() == layer % 4 + 1 && h[0] == layer as f32);
                // The layers lie one after the other: W, U and b.
                let (own, above) = (layer % 4 + 1, if layer < MAX_DEPTH { (layer + 1) % 4 + 1 } else { 0 });
                assert_eq!(net.params()[place], layer as f32);
                assert_eq!(net.layer::<$number>().b.len(), own);
                place += own * ((layer - 1) % 4 + 1) + own * above + own;
                unit += own;
            )*};
        }
        each!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
        assert_eq!((layer, place, unit), (MAX_DEPTH, Deep::PARAMS, Deep::UNITS));
    }
}
