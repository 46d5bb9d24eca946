//! Forms of feedback: which layers above a layer hears.

use super::layout::Reach;
use super::stack::{Tail, sealed};
use crate::kernel::Scalar;
use core::fmt::Debug;

/// A form of feedback. Sealed.
pub trait Form: sealed::Sealed + Copy + Debug + Default + Send + Sync + 'static {
    /// The name in reports.
    const NAME: &'static str;
    /// Which layers above a layer hears.
    const REACH: Reach;
    /// The feedback weights of a layer of `ROWS` units below the layers `Above`.
    type Block<T: Scalar, Above: Tail, const ROWS: usize>: Debug + Clone + Send + Sync + 'static;
}

/// Every layer hears the next one. The default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adjacent;

/// Every layer hears all layers above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dense;

/// No layer hears another above it: the plain feed-forward network, to compare with. Its first sweep is its
/// solution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feedforward;

impl sealed::Sealed for Adjacent {}
impl sealed::Sealed for Dense {}
impl sealed::Sealed for Feedforward {}

impl Form for Adjacent {
    const NAME: &'static str = "adjacent";
    const REACH: Reach = Reach::Next;
    type Block<T: Scalar, Above: Tail, const ROWS: usize> = Above::Nearest<T, ROWS>;
}

impl Form for Dense {
    const NAME: &'static str = "dense";
    const REACH: Reach = Reach::All;
    type Block<T: Scalar, Above: Tail, const ROWS: usize> = Above::Every<T, ROWS>;
}

impl Form for Feedforward {
    const NAME: &'static str = "feedforward";
    const REACH: Reach = Reach::None;
    type Block<T: Scalar, Above: Tail, const ROWS: usize> = ();
}
