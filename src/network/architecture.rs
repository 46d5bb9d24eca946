//! What a network is, as one type: inputs, layers, scalar, feedback, activations.

use super::Network;
use super::flat::Flat;
use super::form::{Adjacent, Form};
use super::layout::{Layout, MAX_DEPTH};
use super::shape::Shape;
use super::stack::{Stack, sealed::Sealed};
use super::state::Rows;
use super::walk::EachLayer;
use crate::kernel::{Activation, Identity, Scalar, Tanh, built_in, number};
use crate::simd::Entry;
use core::fmt;
use core::marker::PhantomData;
use core::ops::IndexMut;
use nalgebra::SMatrix;

/// The [`Architecture`] of a feedback network: `INPUT` inputs, the [`Stack`] of layers `S`, the scalar `T`, the [`Form`] of feedback `F`,
/// and the activations `H` of the hidden layers and `O` of the output layer. Written by [`fnn!`](crate::fnn); written out only where
/// layers are [`Repeat`](super::Repeat).
pub struct Fnn<const INPUT: usize, S, T = f32, F = Adjacent, H = Tanh, O = Identity>(
    PhantomData<(S, T, F, H, O)>,
);

impl<const INPUT: usize, S, T, F, H, O> fmt::Debug for Fnn<INPUT, S, T, F, H, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fnn")
    }
}

/// What a network is, apart from its parameters: of an [`Fnn`], and of the [`Network`] it makes. The types that go with a network, as
/// [`State`](super::State), are named by it. Sealed.
pub trait Architecture: Sealed + Sized + 'static {
    /// The scalar.
    type Scalar: Scalar;
    /// The form of feedback.
    type Form: Form;
    /// The activation of the hidden layers.
    type Hidden: Activation;
    /// The activation of the output layer.
    type Outputs: Activation;
    /// The layout of parameters and units.
    const LAYOUT: Layout;
    /// All of it as a value. It does not compile where an activation is of your own, which has no number.
    const SHAPE: Shape;
    /// The same, with activations of a user's own all alike.
    #[doc(hidden)]
    const OUTLINE: Shape;
    /// The activations of `B` samples.
    type States<const B: usize>: fmt::Debug + Clone + Send + Sync + 'static;
    /// `B` samples of the first layer.
    type First<const B: usize>: Flat<Scalar = Self::Scalar> + fmt::Debug + Clone + Send + Sync + 'static;
    /// `B` samples of the output layer, a matrix: `output[(sample, unit)]`.
    type Output<const B: usize>: Rows<Scalar = Self::Scalar, Labels = [usize; B]>
        + IndexMut<(usize, usize), Output = Self::Scalar>
        + fmt::Debug
        + Clone
        + Send
        + Sync
        + 'static;
    /// As many entries as there are parameters, of another kind.
    type Params<W: Entry>: fmt::Debug + Clone + Send + Sync + 'static;
    /// As many entries as there are units, of another kind.
    type Units<W: Entry>: fmt::Debug + Clone + Send + Sync + 'static;
    /// One sample of inputs, of any kind.
    type Inputs<W: Entry>: Flat<Scalar = W> + fmt::Debug + Clone + Send + Sync + 'static;
    /// As many entries as the first layer has units, of another kind.
    type FirstUnits<W: Entry>: Flat<Scalar = W> + fmt::Debug + Clone + Send + Sync + 'static;
    /// Room for the half sums of a sweep of `B` samples.
    #[doc(hidden)]
    type Scratch<const B: usize>: Flat<Scalar = Self::Scalar>;
    /// Corrections of rank `R` to all layers.
    #[doc(hidden)]
    type LowRank<const R: usize>: Flat<Scalar = Self::Scalar> + fmt::Debug + Clone + Send + Sync + 'static;
    /// `B` samples of `R` values for each layer.
    #[doc(hidden)]
    type Thin<const B: usize, const R: usize>: Flat<Scalar = Self::Scalar>;
    /// The parameters of the last layer.
    #[doc(hidden)]
    type LastLayer: Flat<Scalar = Self::Scalar> + fmt::Debug + Clone + Send + Sync + 'static;
    /// Visits the first layer.
    #[doc(hidden)]
    fn first<E: EachLayer>(each: &mut E);
    /// Visits the layers from the first to the last, unrolled.
    #[doc(hidden)]
    fn up<E: EachLayer>(each: &mut E);
    /// Visits the layers from the last to the first, unrolled.
    #[doc(hidden)]
    fn down<E: EachLayer>(each: &mut E);
}

/// A network of `I` inputs. Only one `I` fits, so it is inferred, and an input of another width is an error that names both. Sealed.
pub trait Takes<const I: usize>: Architecture {}

/// An architecture with the widths and activations of `G`, whatever the feedback of each. Sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` and `{G}` do not have the same layers",
    note = "inputs, widths, scalar and activations must be the same; only the feedback may be another"
)]
pub trait SameLayers<G>: Architecture {}

impl<const INPUT: usize, S, T, F, H, O> Sealed for Fnn<INPUT, S, T, F, H, O> {}

impl<const INPUT: usize, S: Stack, T: Scalar, F: Form, H: Activation, O: Activation> Architecture
    for Fnn<INPUT, S, T, F, H, O>
{
    type Scalar = T;
    type Form = F;
    type Hidden = H;
    type Outputs = O;
    const LAYOUT: Layout = {
        let layout = Layout::new(INPUT, &S::WIDTHS, S::DEPTH, F::REACH, F::TIED).sharing(&S::SHARED);
        let bytes = size_of::<S::Params<T, F, INPUT>>();
        assert!(layout.params() * size_of::<T>() == bytes, "the layout is the memory");
        layout
    };
    const SHAPE: Shape = {
        let mut shape = Self::OUTLINE;
        (shape.hidden, shape.output) = (built_in::<H>(), built_in::<O>());
        shape
    };
    const OUTLINE: Shape = {
        let mut shape = Shape {
            widths: [0; MAX_DEPTH + 1],
            depth: S::DEPTH as u8,
            scalar: (size_of::<T>() / 4) as u8,
            feedback: F::CODE,
            percent: F::TIED as u8,
            hidden: number::<H>(),
            output: number::<O>(),
            shared: 0,
        };
        assert!(INPUT > 0 && INPUT <= u32::MAX as usize, "a network needs at least one input");
        shape.widths[0] = INPUT as u32;
        let mut l = 0;
        while l < S::DEPTH {
            shape.widths[l + 1] = S::WIDTHS[l] as u32;
            shape.shared |= (S::SHARED[l] as u32) << l;
            l += 1;
        }
        shape
    };
    type States<const B: usize> = S::States<T, B>;
    type First<const B: usize> = S::First<T, B>;
    type Output<const B: usize> = S::Output<T, B>;
    type Params<W: Entry> = S::Params<W, F, INPUT>;
    type Units<W: Entry> = S::States<W, 1>;
    type Inputs<W: Entry> = SMatrix<W, 1, INPUT>;
    type FirstUnits<W: Entry> = S::First<W, 1>;
    type Scratch<const B: usize> = F::Scratch<T, S, B>;
    type LowRank<const R: usize> = S::LowRank<T, F, INPUT, R>;
    type Thin<const B: usize, const R: usize> = S::Thin<T, B, R>;
    type LastLayer = S::LastLayer<T, F, INPUT>;

    #[inline(always)]
    fn first<E: EachLayer>(each: &mut E) {
        S::first(each);
    }
    #[inline(always)]
    fn up<E: EachLayer>(each: &mut E) {
        S::up(each, 0);
    }
    #[inline(always)]
    fn down<E: EachLayer>(each: &mut E) {
        S::down(each, 0);
    }
}

impl<const INPUT: usize, S: Stack, T: Scalar, F: Form, H: Activation, O: Activation> Takes<INPUT>
    for Fnn<INPUT, S, T, F, H, O>
{
}

impl<const INPUT: usize, S: Stack, T: Scalar, F: Form, G: Form, H: Activation, O: Activation>
    SameLayers<Fnn<INPUT, S, T, G, H, O>> for Fnn<INPUT, S, T, F, H, O>
{
}

impl<A: Architecture> Sealed for Network<A> {}

impl<A: Architecture> Architecture for Network<A> {
    type Scalar = A::Scalar;
    type Form = A::Form;
    type Hidden = A::Hidden;
    type Outputs = A::Outputs;
    const LAYOUT: Layout = A::LAYOUT;
    const SHAPE: Shape = A::SHAPE;
    const OUTLINE: Shape = A::OUTLINE;
    type States<const B: usize> = A::States<B>;
    type First<const B: usize> = A::First<B>;
    type Output<const B: usize> = A::Output<B>;
    type Params<W: Entry> = A::Params<W>;
    type Units<W: Entry> = A::Units<W>;
    type Inputs<W: Entry> = A::Inputs<W>;
    type FirstUnits<W: Entry> = A::FirstUnits<W>;
    type Scratch<const B: usize> = A::Scratch<B>;
    type LowRank<const R: usize> = A::LowRank<R>;
    type Thin<const B: usize, const R: usize> = A::Thin<B, R>;
    type LastLayer = A::LastLayer;

    #[inline(always)]
    fn first<E: EachLayer>(each: &mut E) {
        A::first(each);
    }
    #[inline(always)]
    fn up<E: EachLayer>(each: &mut E) {
        A::up(each);
    }
    #[inline(always)]
    fn down<E: EachLayer>(each: &mut E) {
        A::down(each);
    }
}

impl<const I: usize, A: Takes<I>> Takes<I> for Network<A> {}
