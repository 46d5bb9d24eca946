//! When to stop, and what came of it.

use super::NonFinite;
use crate::simd::Element;
use core::fmt;

/// When a solve may stop: as soon as no unit of a sample changed by more than `absolute + relative * |h|` in a
/// sweep, |h| being the sample's largest activation; at the latest after `limit` sweeps.
///
/// ```
/// use attractor::Stop;
/// let tolerance = Stop::residual(1e-5_f32).at_most(64);
/// assert_eq!(tolerance.limit(), 64);
/// ```
///
/// Tolerances are at least 0 and finite, and at least one sweep is allowed. Whatever takes a `Stop` [checks](Self::check) it first, and
/// changes nothing if it is refused: [`SolveError::Setting`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use]
pub struct Stop<T = f32> {
    pub(crate) absolute: T,
    pub(crate) relative: T,
    pub(crate) limit: usize,
    pub(crate) exact: bool,
}

impl<T: Element> Stop<T> {
    /// Sweeps allowed unless [`at_most`](Self::at_most) says otherwise.
    pub const LIMIT: usize = 100;

    /// A residual of at most `absolute`, which is at least 0: with 0 it sweeps until nothing changes.
    pub const fn residual(absolute: T) -> Self {
        Self { absolute, relative: T::ZERO, limit: Self::LIMIT, exact: false }
    }
    /// A residual of at most `relative`, which is at least 0, times the sample's largest activation.
    pub const fn relative(relative: T) -> Self {
        Self { absolute: T::ZERO, relative, limit: Self::LIMIT, exact: false }
    }
    /// `relative` added to what is asked for.
    pub const fn or_relative(self, relative: T) -> Self {
        Self { relative, ..self }
    }
    /// At most so many sweeps, at least 1.
    pub const fn at_most(self, limit: usize) -> Self {
        Self { limit, ..self }
    }
    /// Exactly so many sweeps, at least 1, always a success if finite: always the same instructions.
    ///
    /// That is constant time where an instruction takes as long for all numbers. On some x86 processors those with subnormal numbers
    /// (below 1.2e-38 in `f32`, not zero) do not: with inputs so small, 16 sweeps can take tens of times as long.
    /// Where time must not depend on the data, make inputs so small zero; docs/performance.md has more.
    pub const fn after(sweeps: usize) -> Self {
        Self { absolute: T::ZERO, relative: T::ZERO, limit: sweeps, exact: true }
    }
    /// The most sweeps.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }
    /// Whether all of it is in its range. What takes a `Stop` asks this first; it is here for settings that a program reads.
    ///
    /// ```
    /// use attractor::Stop;
    /// let refused = Stop::residual(-1e-5_f32).check().unwrap_err();
    /// assert_eq!(refused.to_string(), "`Stop::residual` is -1e-5, its range is 0 or more, finite");
    /// ```
    ///
    /// # Errors
    /// [`Setting`], the first that is out of its range.
    #[inline(always)]
    pub fn check(&self) -> Result<(), Setting<T>> {
        if self.is_sound() { Ok(()) } else { Err(self.refused()) }
    }
    /// The same of a `Stop` that lies in memory. In line nothing remains of the check of a constant; of this one all does, and where flash is small it
    /// stands there once.
    #[inline(always)]
    pub(crate) fn check_stored(&self) -> Result<(), Setting<T>> {
        let sound = if const { crate::kernel::TYPED } { self.is_sound_once() } else { self.is_sound() };
        if sound { Ok(()) } else { Err(self.refused()) }
    }
    /// Whether all of it is in its range.
    #[inline(always)]
    fn is_sound(&self) -> bool {
        self.absolute.is_tolerance() && self.relative.is_tolerance() && self.limit > 0
    }
    /// The same as a function.
    #[inline(never)]
    fn is_sound_once(&self) -> bool {
        self.is_sound()
    }
    /// What is out of its range, and how it is set.
    #[cold]
    #[inline(never)]
    fn refused(&self) -> Setting<T> {
        if const { crate::kernel::TYPED } {
            // Where flash is small, one text for all of it.
            let rule = &Rule { name: "Stop", range: "tolerances of 0 or more, finite, and 1 sweep or more" };
            return Setting { rule, value: self.absolute };
        }
        for (rule, value) in [
            (&Rule { name: "Stop::residual", range: "0 or more, finite" }, self.absolute),
            (&Rule { name: "Stop::relative", range: "0 or more, finite" }, self.relative),
        ] {
            if !value.is_tolerance() {
                return Setting { rule, value };
            }
        }
        let after = &Rule { name: "Stop::after", range: "1 or more" };
        let most = &Rule { name: "Stop::at_most", range: "1 or more" };
        Setting { rule: if self.exact { after } else { most }, value: T::from_usize(self.limit) }
    }
}

/// A setting that is out of its range: nothing was done with it.
///
/// ```
/// use attractor::{SolveError, Stop, fnn};
/// type Net = fnn![2, 3, 1];
/// let solved = Net::ZERO.solve(&[0.5, 1.0], &mut Net::state(), Stop::residual(1e-5).at_most(0));
/// let Err(SolveError::Setting(setting)) = solved else { panic!("{solved:?}") };
/// assert_eq!((setting.name(), setting.value, setting.range()), ("Stop::at_most", 0.0, "1 or more"));
/// ```
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Setting<T = f32> {
    /// Which, and what it may be. In one place, so that errors are small.
    pub rule: &'static Rule,
    /// What it is; a count as a number of the scalar.
    pub value: T,
}

/// What a setting may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Rule {
    /// The name of the setting.
    pub name: &'static str,
    /// Its range, in words.
    pub range: &'static str,
}

impl<T> Setting<T> {
    /// Which.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.rule.name
    }
    /// What it may be, in words.
    #[must_use]
    pub const fn range(&self) -> &'static str {
        self.rule.range
    }
}

/// Two values that are no number are the same here, so that an error is equal to itself.
impl<T: PartialEq> PartialEq for Setting<T> {
    fn eq(&self, other: &Self) -> bool {
        let is_nan = |x: &T| x.ne(x);
        let values = self.value == other.value || (is_nan(&self.value) && is_nan(&other.value));
        values && self.rule == other.rule
    }
}

impl<T: PartialEq> Eq for Setting<T> {}

impl<T: Element> Setting<T> {
    /// The same with its value as the nearest `f32`, for errors that know no scalar: processors without `f64` need none here. What is not 0 does not
    /// become so.
    pub(crate) fn narrow(self) -> Setting<f32> {
        let near = self.value.to_f64() as f32;
        let least = if self.value < T::ZERO { -f32::MIN_POSITIVE } else { f32::MIN_POSITIVE };
        let value = if near == 0.0 && self.value != T::ZERO { least } else { near };
        Setting { rule: self.rule, value }
    }
}

impl<T: fmt::Debug> fmt::Display for Setting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {:?}, its range is {}", self.name(), self.value, self.range())
    }
}

impl<T: fmt::Debug> core::error::Error for Setting<T> {}

/// A solve that met its tolerance.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Solved<T = f32> {
    /// Sweeps made; of a batch, those of its slowest sample.
    pub sweeps: usize,
    /// The largest change of a unit in the last sweep.
    pub residual: T,
}

/// A solve without a solution.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SolveError<T = f32> {
    /// The limit was reached with a residual above the tolerance. The state is kept.
    NotConverged {
        /// Sweeps made.
        sweeps: usize,
        /// The largest change of a unit in the last sweep.
        residual: T,
    },
    /// A NaN or an infinity, in the input, the weights or the state, or by overflow: which, and where.
    NotFinite(NonFinite),
    /// A setting out of its range. Nothing was changed.
    Setting(Setting<T>),
}

impl<T> SolveError<T> {
    /// Where nobody has looked yet what it is.
    pub(crate) const NOT_FINITE: Self = Self::NotFinite(NonFinite::Overflow);
}

impl<T> From<Setting<T>> for SolveError<T> {
    fn from(setting: Setting<T>) -> Self {
        Self::Setting(setting)
    }
}

impl<T: fmt::Debug> fmt::Display for SolveError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConverged { sweeps, residual } => {
                write!(f, "not converged after {sweeps} sweeps, residual {residual:?}")
            }
            Self::NotFinite(what) => what.fmt(f),
            Self::Setting(setting) => setting.fmt(f),
        }
    }
}

impl<T: fmt::Debug> core::error::Error for SolveError<T> {}
