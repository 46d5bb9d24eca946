//! Forms of feedback: which layers above a layer reads.

use super::flat::{Flat, NoMemory};
use super::layout::Reach;
use super::stack::{Stack, Tail, sealed};
use crate::simd::{Entry, numbered};
use core::fmt::Debug;

/// The forms there are, in the order of their numbers.
macro_rules! forms {
    ($($form:ty),*) => {
        /// Their names.
        pub(super) const FORMS: [&str; [$(<$form>::CODE),*].len()] = [$(<$form>::NAME),*];
        /// Which layers above a layer reads.
        pub(super) const REACHES: [Reach; FORMS.len()] = [$(<$form>::REACH),*];
        const _: () = assert!(numbered(&[$(<$form>::CODE),*]), "a form stands at its number");
    };
}
forms!(Feedforward, Adjacent, Dense, Tied<1>, Skip);

/// A form of feedback. Sealed.
pub trait Form: sealed::Sealed + Copy + Debug + Default + Send + Sync + 'static {
    /// The name in reports.
    const NAME: &'static str;
    /// Its number in model files.
    const CODE: u8;
    /// Which layers above a layer reads.
    const REACH: Reach;
    /// How strongly a layer reads the next one through its W, in percent; 0 where feedback has weights of its own.
    const TIED: usize = 0;
    /// The feedback weights of a layer of `ROWS` units below the layers `Above`.
    type Block<T: Entry, Above: Tail, const ROWS: usize>: Debug + Clone + Send + Sync + 'static;
    /// Room for half a sum, where a sweep takes a layer in two steps.
    #[doc(hidden)]
    type Scratch<T: Entry, S: Stack, const B: usize>: Flat<Scalar = T>;
}

/// Every layer reads the next one. The default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adjacent;

/// Every layer reads the next two layers: feedback that skips one, at a cost that does not grow with depth as [`Dense`]'s does.
///
/// ```
/// use attractor::{Skip, fnn};
/// type Net = fnn![2, 3, 4, 5, 1; feedback = Skip];
/// // W, U and b: the last layer has no feedback, the one below it that of one layer.
/// assert_eq!(Net::PARAMS, 3 * (2 + 9 + 1) + 4 * (3 + 6 + 1) + 5 * (4 + 1 + 1) + (5 + 1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skip;

/// Every layer reads all layers above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dense;

/// No layer reads another above it: the plain feed-forward network, to compare with. Its first sweep is its
/// solution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feedforward;

/// Every layer reads the next one through that layer's own weights: U^(l,l+1) = k (W^(l+1))^T with k = `PERCENT` / 100, from 1
/// to 100. No parameters of its own.
///
/// Such a network has an energy ([`Network::energy`](crate::Network::energy)), and no update of a layer raises it (Hopfield 1984): sweeps
/// settle whatever the weights are, though not always in the one and only solution, and how fast is up to k |W|^2.
///
/// ```
/// use attractor::{Tied, Stop, fnn};
/// type Net = fnn![2, 16, 16, 4; feedback = Tied<50>, output = attractor::kernel::Tanh];
/// assert_eq!(Net::PARAMS, <fnn![2, 16, 16, 4; feedback = attractor::Feedforward]>::PARAMS);
/// let mut net = Net::ZERO;
/// for (i, w) in net.params_mut().iter_mut().enumerate() {
///     *w = 3.0 * (i as f32).sin(); // far beyond what a certificate allows
/// }
/// let mut state = Net::state();
/// let mut energy = f64::INFINITY;
/// for _ in 0..20 {
///     net.solve(&[1.0, -0.5], &mut state, Stop::after(1))?;
///     let now = net.energy(&[1.0, -0.5], &state).unwrap();
///     assert!(now <= energy + 1e-5);
///     energy = now;
/// }
/// # Ok::<(), attractor::SolveError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tied<const PERCENT: usize = 100>;

impl sealed::Sealed for Adjacent {}
impl sealed::Sealed for Dense {}
impl sealed::Sealed for Skip {}
impl sealed::Sealed for Feedforward {}
impl<const PERCENT: usize> sealed::Sealed for Tied<PERCENT> {}

impl Form for Adjacent {
    const NAME: &'static str = "adjacent";
    const CODE: u8 = 1;
    const REACH: Reach = Reach::Next;
    type Block<T: Entry, Above: Tail, const ROWS: usize> = Above::Nearest<T, ROWS>;
    type Scratch<T: Entry, S: Stack, const B: usize> = NoMemory<T>;
}

impl Form for Skip {
    const NAME: &'static str = "skip";
    const CODE: u8 = 4;
    const REACH: Reach = Reach::NextTwo;
    type Block<T: Entry, Above: Tail, const ROWS: usize> = Above::NextTwo<T, ROWS>;
    type Scratch<T: Entry, S: Stack, const B: usize> = NoMemory<T>;
}

impl Form for Dense {
    const NAME: &'static str = "dense";
    const CODE: u8 = 2;
    const REACH: Reach = Reach::All;
    type Block<T: Entry, Above: Tail, const ROWS: usize> = Above::Every<T, ROWS>;
    type Scratch<T: Entry, S: Stack, const B: usize> = NoMemory<T>;
}

impl Form for Feedforward {
    const NAME: &'static str = "feedforward";
    const CODE: u8 = 0;
    const REACH: Reach = Reach::None;
    type Block<T: Entry, Above: Tail, const ROWS: usize> = ();
    type Scratch<T: Entry, S: Stack, const B: usize> = NoMemory<T>;
}

impl<const PERCENT: usize> Form for Tied<PERCENT> {
    const NAME: &'static str = "tied";
    const CODE: u8 = 3;
    const REACH: Reach = Reach::None;
    const TIED: usize = {
        assert!(PERCENT >= 1 && PERCENT <= 100, "tied feedback has a strength of 1 to 100 percent");
        PERCENT
    };
    type Block<T: Entry, Above: Tail, const ROWS: usize> = ();
    type Scratch<T: Entry, S: Stack, const B: usize> = S::Widest<T, B>;
}
