//! Shapes and memory: the network and its states as types. No arithmetic.

mod adapted;
mod align;
mod architecture;
mod flat;
mod form;
mod layout;
mod like;
mod links;
mod memory;
mod shape;
mod source;
mod stack;
mod state;
mod storage;
mod text;
mod walk;

pub use adapted::Plan;
pub(crate) use adapted::{Own, View, own};
pub use align::Align64;
#[cfg(feature = "alloc")]
pub use align::Aligned;
pub use architecture::{Architecture, Fnn, SameLayers, Takes};
#[cfg(feature = "alloc")]
pub(crate) use flat::boxed;
pub(crate) use flat::in_a_box;
pub use flat::{Flat, LengthError, NoMemory};
pub(crate) use flat::{Parameters, ParametersMut, Plain, bytes, seen, seen_at};
pub use form::{Adjacent, Dense, Feedforward, Form, Skip, Tied};
pub(crate) use layout::LayerLayout;
pub use layout::{Layout, MAX_DEPTH, Reach};
pub(crate) use like::{ParamsOf, UnitsOf};
pub use memory::Memory;
pub(crate) use shape::BF16;
#[cfg(feature = "alloc")]
pub(crate) use shape::F32;
pub use shape::Shape;
pub(crate) use source::{Correction, Source, Viewed};
pub(crate) use stack::sealed::Sealed;
pub use stack::{
    At, Blocks, Layer, LayerCorrection, LayerParams, LayerStates, Repeat, Stack, Tail, Thin, Top, Widest,
};
pub(crate) use state::Numbered;
pub use state::{Rows, Samples, State, Workspace};
#[cfg(feature = "alloc")]
pub use storage::Boxed;
#[cfg(not(feature = "alloc"))]
#[doc(hidden)]
pub use storage::FeatureAlloc;
pub use storage::Storage;
pub(crate) use text::Text;
pub use walk::EachLayer;
pub(crate) use walk::{Looped, OneOrAll, Only, Unrolled, Walk};

use crate::kernel::{Activation as _, Scalar, TYPED};
use core::fmt;

/// The type of a feedback network, from its widths: inputs first, outputs last.
///
/// Options follow a semicolon, in any order: `feedback =` [`Adjacent`] (the default), [`Dense`],
/// [`Skip`], [`Tied`] or [`Feedforward`]; `hidden =` and `output =` an [`Activation`](crate::kernel::Activation) (tanh and identity by default);
/// `scalar =` `f32` (the default) or `f64`.
///
/// ```
/// use attractor::fnn;
/// type Digits = fnn![64, 48, 32, 10];
/// assert_eq!(Digits::PARAMS, 6874);
///
/// use attractor::{Dense, kernel::{Relu, Sigmoid}};
/// type Other = fnn![8, 16, 8, 1; feedback = Dense, hidden = Relu, output = Sigmoid, scalar = f64];
/// assert_eq!(Other::DEPTH, 3);
/// ```
#[macro_export]
macro_rules! fnn {
    ($inputs:expr $(, $width:expr)* $(,)? $(; $($options:tt)*)?) => {
        $crate::fnn!(
            @options [$inputs] [$($width),*] [f32] [$crate::Adjacent]
            [$crate::kernel::Tanh] [$crate::kernel::Identity] $($($options)*)?
        )
    };
    (@options $i:tt $w:tt $t:tt $f:tt $h:tt $o:tt scalar = $new:ty $(, $($rest:tt)*)?) => {
        $crate::fnn!(@options $i $w [$new] $f $h $o $($($rest)*)?)
    };
    (@options $i:tt $w:tt $t:tt $f:tt $h:tt $o:tt feedback = $new:ty $(, $($rest:tt)*)?) => {
        $crate::fnn!(@options $i $w $t [$new] $h $o $($($rest)*)?)
    };
    (@options $i:tt $w:tt $t:tt $f:tt $h:tt $o:tt hidden = $new:ty $(, $($rest:tt)*)?) => {
        $crate::fnn!(@options $i $w $t $f [$new] $o $($($rest)*)?)
    };
    (@options $i:tt $w:tt $t:tt $f:tt $h:tt $o:tt output = $new:ty $(, $($rest:tt)*)?) => {
        $crate::fnn!(@options $i $w $t $f $h [$new] $($($rest)*)?)
    };
    (@options [$i:expr] $w:tt [$t:ty] [$f:ty] [$h:ty] [$o:ty]) => {
        $crate::Network<$crate::network::Fnn<{ $i }, $crate::fnn!(@stack $w), $t, $f, $h, $o>>
    };
    (@options $i:tt $w:tt $t:tt $f:tt $h:tt $o:tt $unknown:ident $($rest:tt)*) => {
        compile_error!(concat!(
            "unknown option `", stringify!($unknown), "`: fnn! knows feedback, hidden, output and scalar"
        ))
    };
    (@stack []) => { $crate::network::Top };
    (@stack [$width:expr $(, $rest:expr)*]) => {
        $crate::Layer<{ $width }, $crate::fnn!(@stack [$($rest),*])>
    };
}

/// The parameters of a feedback network: for every layer l
///
/// z^l = W^l h^(l-1) + b^l + sum over the layers k it reads of U^(l,k) h^k,  h^l = s(z^l).
///
/// `A` is its architecture: inputs, layers, scalar, feedback and activations, an [`Fnn`]. Write the type with [`fnn!`].
///
/// It is plain scalars in a row (`repr(C)`, no padding): layer after layer, each W, U, b, column-major. A
/// gradient has the type of its network.
#[repr(transparent)]
pub struct Network<A: Architecture> {
    layers: A::Params<A::Scalar>,
}

// SAFETY: repr(transparent) over repr(C) structs of nalgebra matrices of the scalar; LAYOUT compares the size.
unsafe impl<A: Architecture> Flat for Network<A> {
    type Scalar = A::Scalar;
}

impl<T: Scalar, A: Architecture<Scalar = T>> Network<A> {
    /// All parameters zero: where a network starts, or a gradient.
    pub const ZERO: Self = Flat::ZERO;
    /// Number of parameters.
    pub const PARAMS: usize = A::LAYOUT.params();
    /// Number of units in all layers.
    pub const UNITS: usize = A::LAYOUT.units();
    /// Number of units in the last layer.
    pub const OUTPUTS: usize = A::LAYOUT.layer(A::LAYOUT.depth() - 1).width;
    /// Number of layers above the input.
    pub const DEPTH: usize = A::LAYOUT.depth();
    /// Number of units in the first layer.
    pub(crate) const FIRST: usize = A::LAYOUT.layer(0).width;
    /// Bytes of the parameters.
    pub const BYTES: usize = size_of::<Self>();
    /// Bytes of RAM, for every way to use the network.
    pub const MEMORY: Memory = Memory {
        scalar: size_of::<T>(),
        params: Self::PARAMS,
        units: Self::UNITS,
        first: Self::FIRST,
        outputs: Self::OUTPUTS,
    };

    /// Whether one sample can have code of its own, every width a constant; not while developing, when compiling should be quick. The
    /// sums are the same.
    pub(crate) const SPECIAL: bool = !cfg!(debug_assertions) && Self::PARAMS <= 1 << 16 && Self::DEPTH <= 8;

    /// Whether it has that without being asked: where the engine is compiled for every network anyway.
    pub(crate) const UNROLLED: bool = TYPED && Self::SPECIAL;

    /// Whether a batch of `samples` can have code of its own as well: a tiny network spends as long on finding out its
    /// shapes as on their sums, and its code is short.
    pub(crate) const fn specializes(samples: usize) -> bool {
        Self::SPECIAL && (samples == 1 || Self::PARAMS <= 1 << 11)
    }

    /// Whether it has that without being asked.
    pub(crate) const fn unrolls(samples: usize) -> bool {
        TYPED && Self::specializes(samples)
    }

    /// A state of `B` samples at zero, where the first sweep is the plain feed-forward pass.
    #[must_use]
    #[inline]
    pub const fn state<const B: usize>() -> State<Self, B> {
        State::ZERO
    }

    /// All parameters, layer after layer, each W, U, b, column-major.
    #[must_use]
    #[inline]
    pub fn params(&self) -> &[T] {
        self.flat()
    }
    /// All parameters, to change.
    #[must_use]
    #[inline]
    pub fn params_mut(&mut self) -> &mut [T] {
        self.flat_mut()
    }

    /// Sees scalars, wherever they are, as a network.
    ///
    /// # Errors
    /// [`LengthError`] unless there are exactly [`PARAMS`](Self::PARAMS).
    #[inline]
    pub fn from_slice(params: &[T]) -> Result<&Self, LengthError> {
        Self::view(params)
    }
    /// Sees scalars, wherever they are, as a network that can be changed.
    ///
    /// # Errors
    /// [`LengthError`] unless there are exactly [`PARAMS`](Self::PARAMS).
    #[inline]
    pub fn from_slice_mut(params: &mut [T]) -> Result<&mut Self, LengthError> {
        Self::view_mut(params)
    }
    /// The network with these parameters. Another length than [`PARAMS`](Self::PARAMS) does not compile.
    #[must_use]
    pub const fn from_array<const LEN: usize>(params: [T; LEN]) -> Self {
        // SAFETY: a network is PARAMS scalars in a row.
        unsafe { flat::reshape(params) }
    }
    /// The network with these parameters, little-endian. Another length than [`BYTES`](Self::BYTES) does not
    /// compile. In a `static` it is read-only data and costs nothing at run time:
    ///
    /// ```
    /// use attractor::{fnn, Align64};
    /// type Tiny = fnn![2, 3, 1];
    /// static TINY: Align64<Tiny> = Align64(Tiny::from_le_bytes(&[0; 64])); // or include_bytes!
    /// assert_eq!(TINY.params(), [0.0; 16]);
    /// ```
    #[must_use]
    pub const fn from_le_bytes<const LEN: usize>(bytes: &[u8; LEN]) -> Self {
        // SAFETY: a network is PARAMS scalars in a row, and any bytes are scalars.
        unsafe { flat::from_le_bytes(bytes, size_of::<T>()) }
    }

    in_a_box!("A zeroed network");

    /// Layer `L`, counted from 1 as in the formulas: its `w`, `u` and `b` are matrices.
    ///
    /// ```
    /// use attractor::fnn;
    /// let mut net = <fnn![64, 48, 32, 10]>::ZERO;
    /// net.layer_mut::<2>().w[(31, 47)] = 1.0; // W^2 is 32 x 48
    /// assert_eq!(net.layer::<2>().u.shape(), (32, 10));
    /// ```
    #[must_use]
    #[inline]
    pub fn layer<const L: usize>(&self) -> &<A::Params<T> as At<L>>::Layer
    where
        A::Params<T>: At<L>,
    {
        self.layers.at()
    }
    /// Layer `L`, to change.
    #[must_use]
    #[inline]
    pub fn layer_mut<const L: usize>(&mut self) -> &mut <A::Params<T> as At<L>>::Layer
    where
        A::Params<T>: At<L>,
    {
        self.layers.at_mut()
    }

    /// Takes W and b of a network of the same widths, whatever the form of its feedback, and keeps its own U: what one form learnt is
    /// where another starts from.
    ///
    /// [`Tied`] feedback has no U, so that is a way to do without one: take the weights of a trained network, hold them to a rate
    /// ([`limit_rate`](Self::limit_rate)), and train on. Without that last step, what U added is missing.
    ///
    /// ```
    /// use attractor::{Tied, fnn};
    /// let mut trained = <fnn![2, 3, 1]>::ZERO;
    /// trained.layer_mut::<1>().w.fill(0.5);
    /// let mut tied = <fnn![2, 3, 1; feedback = Tied<50>]>::ZERO;
    /// tied.take_weights(&trained);
    /// assert_eq!(tied.layer::<1>().w, trained.layer::<1>().w);
    /// ```
    pub fn take_weights<G: Architecture<Scalar = T>>(&mut self, from: &Network<G>)
    where
        A: SameLayers<G>,
    {
        let (Ok(mut params), Ok(from)) = (self.parameters_mut(), from.parameters()) else { return };
        for (layer, given) in params.layout().layers().iter().zip(from.layout().layers()) {
            let (mut w, _, b) = params.layer(layer);
            let (weights, rows) = (from.w(given), given.width);
            let mut index = 0;
            w.fill_with(|own| {
                let weight = weights.at(index % rows, index / rows).unwrap_or(own);
                index += 1;
                weight
            });
            b.copy_from_slice(from.b(given));
        }
    }

    /// The parameters through their layout.
    #[inline(always)]
    pub(crate) fn parameters(&self) -> Result<Parameters<'_, T>, LengthError> {
        Parameters::new(self.flat(), const { &A::LAYOUT })
    }
    /// The parameters through their layout, to change.
    #[inline(always)]
    pub(crate) fn parameters_mut(&mut self) -> Result<ParametersMut<'_, T>, LengthError> {
        ParametersMut::new(self.flat_mut(), const { &A::LAYOUT })
    }
}

impl<A: Architecture> Clone for Network<A> {
    fn clone(&self) -> Self {
        Self { layers: self.layers.clone() }
    }
}

impl<A: Architecture> PartialEq for Network<A> {
    fn eq(&self, other: &Self) -> bool {
        self.flat() == other.flat()
    }
}

impl<A: Architecture> Default for Network<A> {
    fn default() -> Self {
        Flat::ZERO
    }
}

impl<A: Architecture> fmt::Debug for Network<A> {
    /// The shape; the parameters too with `{:#?}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fnn![{}", A::LAYOUT.layer(0).inputs)?;
        for layer in A::LAYOUT.layers() {
            write!(f, ", {}", layer.width)?;
        }
        let (form, hidden, output) = (<A::Form>::NAME, <A::Hidden>::NAME, <A::Outputs>::NAME);
        write!(f, "; feedback = {form}, hidden = {hidden}, output = {output}]")?;
        if f.alternate() {
            write!(f, " {:#?}", self.layers)?;
        }
        Ok(())
    }
}
