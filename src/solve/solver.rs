//! Fixed points of any map: plain and damped sweeps, Anderson acceleration, Broyden's method, in memory of the caller.

use super::map::{Adjoint, Map, Transposed};
use super::trace::Seen;
use super::{NonFinite, Rule, Setting, SolveError, Solved, Stop, Trace};
use crate::kernel::Scalar;
use crate::network::{Architecture, Layout};
use crate::simd::Element;
use core::fmt;

/// How a fixed point of a [`Map`] is found. All of it works on flat slices of the caller, allocates nothing, and takes any number of samples
/// side by side, each with its own history.
///
/// | | goes on from | room | for |
/// |-|-|-|-|
/// | [`plain`](Self::plain) | f(h) | 6 states | maps that contract well |
/// | [`damped`](Self::damped) | (1 - a) h + a f(h) | 6 states | changes that alternate |
/// | [`anderson`](Self::anderson) | the combination of the last sweeps that a linear map would change least (Walker and Ni 2011) | 6 + 2 `window` states | maps that contract weakly, or do not |
/// | [`broyden`](Self::broyden) | a step of Newton's method with a Jacobian learnt from the sweeps (Broyden 1965) | 6 + 2 `memory` states | the same |
///
/// Anderson and Broyden are *safeguarded*, for each sample: where a sweep leaves the finite numbers, or changes it by more than a million
/// times the least change so far, it goes back to where the change was least, and takes half the step until the change is smaller than ever. (Going back
/// sooner, at 4, 16 or 64 times, solves fewer: `cargo run --release --example solvers`.)
///
/// A sample that meets the tolerance is not changed any more. The state is then what the last sweep gave, f(h), and the residual is the largest change of
/// that sweep, |f(h) - h|. At the limit it is the best there was: f(h) of the h that it changed least, with its residual.
///
/// ```
/// use attractor::Stop;
/// use attractor::solve::{Map, Solver, Transposed};
///
/// /// h = sin(w h + x), unit by unit.
/// struct Wave {
///     w: f64,
///     x: [f64; 3],
/// }
/// impl Map for Wave {
///     type Scalar = f64;
///     fn units(&self) -> usize {
///         3
///     }
///     fn apply(&self, h: &[f64], next: &mut [f64]) {
///         for ((next, h), x) in next.iter_mut().zip(h).zip(&self.x) {
///             *next = (self.w * h + x).sin();
///         }
///     }
/// }
/// impl Transposed for Wave {
///     fn apply_transposed(&self, h: &[f64], deltas: &[f64], next: &mut [f64]) {
///         for (((next, h), d), x) in next.iter_mut().zip(h).zip(deltas).zip(&self.x) {
///             *next = self.w * (self.w * h + x).cos() * d;
///         }
///     }
/// }
///
/// let map = Wave { w: -0.95, x: [0.1, 0.5, -1.0] };
/// let (solver, stop) = (Solver::anderson(2), Stop::residual(1e-12));
/// let mut room = [0.0; Solver::<f64>::anderson(2).room(3, 1)];
/// let mut h = [0.0; 3];
/// let solved = solver.solve(&map, &mut h, stop, &mut room)?;
/// assert!(solved.sweeps < 20);
///
/// // The exact gradient of J = h_1 at the fixed point: d = J^T d + dJ/dh, then dJ/dx_i = cos(w h_i + x_i) d_i.
/// let mut d = [0.0; 3];
/// solver.adjoint(&map, &h, &[1.0, 0.0, 0.0], &mut d, stop, &mut room)?;
/// let slope = (map.w * h[0] + map.x[0]).cos();
/// assert!((slope * d[0] - slope / (1.0 - map.w * slope)).abs() < 1e-9);
/// # Ok::<(), attractor::solve::MapError<f64>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use]
pub struct Solver<T = f32> {
    kind: Kind,
    damping: T,
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Kind {
    Plain,
    Damped,
    Anderson(usize),
    Broyden(usize),
}

/// Why a [`Solver`] found nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum MapError<T = f32> {
    /// No fixed point: the limit was reached, or the numbers are not finite.
    Solve(SolveError<T>),
    /// A slice of the wrong length. Nothing was changed.
    Length {
        /// Which: `state`, `room`, `deltas`, `gradient`, `reports`.
        what: &'static str,
        /// Numbers needed; of the room, at least.
        needed: usize,
        /// Numbers there are.
        given: usize,
    },
    /// A setting out of its range. Nothing was changed.
    Setting(Setting<T>),
}

impl<T> From<SolveError<T>> for MapError<T> {
    fn from(error: SolveError<T>) -> Self {
        Self::Solve(error)
    }
}

impl<T: fmt::Debug> fmt::Display for MapError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Solve(error) => error.fmt(f),
            Self::Length { what, needed, given } => {
                write!(f, "{what} has {given} numbers, {needed} are needed")
            }
            Self::Setting(setting) => setting.fmt(f),
        }
    }
}

impl<T: fmt::Debug> core::error::Error for MapError<T> {}

/// The widest window and the largest memory.
const MOST_COLUMNS: usize = 32;
/// How much larger than the least so far a change may be, if it is not to count as lost.
const LOST: usize = 1 << 20;
/// What the parts of steps are halved to, at the least: 2^-6.
const LEAST_PART: usize = 64;

impl<T: Element> Solver<T> {
    /// h := f(h).
    pub const fn plain() -> Self {
        Self { kind: Kind::Plain, damping: T::ONE }
    }
    /// h := (1 - a) h + a f(h), 0 < `a` <= 1.
    pub const fn damped(a: T) -> Self {
        Self { kind: Kind::Damped, damping: a }
    }
    /// Anderson acceleration by the last `window` + 1 sweeps: 1 to 32; 2 to 5 is usual.
    pub const fn anderson(window: usize) -> Self {
        Self { kind: Kind::Anderson(window), damping: T::ONE }
    }
    /// Broyden's method with room for `memory` updates, 1 to 32; when it is full it begins anew.
    pub const fn broyden(memory: usize) -> Self {
        Self { kind: Kind::Broyden(memory), damping: T::ONE }
    }
    /// Goes only the part `a` of every step, 0 < `a` <= 1.
    pub const fn damping(self, a: T) -> Self {
        let kind = if self.is_plain() { Kind::Damped } else { self.kind };
        Self { kind, damping: a }
    }
    /// Numbers of room that a solve takes, of `units` units and so many samples.
    #[must_use]
    pub const fn room(&self, units: usize, samples: usize) -> usize {
        let vectors = self.columns().saturating_mul(2).saturating_add(FLAT);
        vectors.saturating_mul(units).saturating_add(EACH).saturating_mul(samples)
    }
    /// Numbers of room that a solve of a network `N` takes, of so many samples: those of [`room`](Self::room), and W^1 x + b^1.
    #[must_use]
    pub const fn room_of<N: Architecture<Scalar = T>>(&self, samples: usize) -> usize {
        self.room_in(&N::LAYOUT, samples)
    }
    /// The same of a network of this layout.
    pub(crate) const fn room_in(&self, layout: &Layout, samples: usize) -> usize {
        let first = layout.layer(0).width;
        first.saturating_mul(samples).saturating_add(self.room(layout.units(), samples))
    }
    /// The window or memory.
    pub(crate) const fn columns(&self) -> usize {
        match self.kind {
            Kind::Plain | Kind::Damped => 0,
            Kind::Anderson(columns) | Kind::Broyden(columns) => columns,
        }
    }
    /// Whether it is h := f(h) and nothing else.
    pub(crate) const fn is_plain(&self) -> bool {
        matches!(self.kind, Kind::Plain)
    }
    fn check(&self, stop: Stop<T>) -> Result<(), MapError<T>> {
        stop.check().map_err(MapError::Setting)?;
        self.check_own().map_err(MapError::Setting)
    }
    /// Refuses settings out of their range.
    pub(crate) fn check_own(&self) -> Result<(), Setting<T>> {
        if !(self.damping > T::ZERO && self.damping <= T::ONE) {
            return Err(refused(&Rule { name: "Solver::damping", range: DAMPING }, self.damping));
        }
        let rule = match self.kind {
            Kind::Plain | Kind::Damped => return Ok(()),
            Kind::Anderson(_) => &Rule { name: "Solver::anderson", range: "1 to 32" },
            Kind::Broyden(_) => &Rule { name: "Solver::broyden", range: "1 to 32" },
        };
        if !(1..=MOST_COLUMNS).contains(&self.columns()) {
            return Err(refused(rule, T::from_usize(self.columns())));
        }
        Ok(())
    }
}

/// The range of dampings, everywhere.
pub(super) const DAMPING: &str = "more than 0, at most 1";

fn refused<T>(rule: &'static Rule, value: T) -> Setting<T> {
    Setting { rule, value }
}

impl<T: Scalar> Solver<T> {
    /// Solves h = f(h) from what `state` holds.
    ///
    /// `room`: at least [`room`](Self::room) numbers; what they hold is of no account.
    ///
    /// # Errors
    /// [`MapError::Solve`]: [`SolveError::NotConverged`], with the best state there was and its residual (the largest of all samples);
    /// [`SolveError::NotFinite`] if the state or every way on is not finite, with the state reset to zero.
    /// [`MapError::Length`] and [`MapError::Setting`], with the state unchanged.
    pub fn solve<M: Map<Scalar = T> + ?Sized>(
        &self,
        map: &M,
        state: &mut [T],
        stop: Stop<T>,
        room: &mut [T],
    ) -> Result<Solved<T>, MapError<T>> {
        self.run(map, state, stop, room, &mut [], |_, _| {})
    }

    /// [`solve`](Self::solve), with what came of every sample: the sweeps after which it met the tolerance, or the limit, and its residual.
    ///
    /// # Errors
    /// As [`solve`](Self::solve). `reports` has as many entries as the map has samples.
    pub fn solve_each<M: Map<Scalar = T> + ?Sized>(
        &self,
        map: &M,
        state: &mut [T],
        stop: Stop<T>,
        room: &mut [T],
        reports: &mut [Solved<T>],
    ) -> Result<Solved<T>, MapError<T>> {
        length("reports", map.samples(), reports.len())?;
        self.run(map, state, stop, room, reports, |_, _| {})
    }

    /// [`solve`](Self::solve), with its residuals written down in `trace`, the largest of all samples each. What was in there before is
    /// forgotten.
    ///
    /// # Errors
    /// As [`solve`](Self::solve).
    pub fn solve_traced<M: Map<Scalar = T> + ?Sized, const CAPACITY: usize>(
        &self,
        map: &M,
        state: &mut [T],
        stop: Stop<T>,
        room: &mut [T],
        trace: &mut Trace<T, CAPACITY>,
    ) -> Result<Solved<T>, MapError<T>> {
        self.check(stop)?;
        *trace = Trace::new();
        self.run(map, state, stop, room, &mut [], |residual, seen| {
            trace.record(residual);
            trace.seen = seen;
        })
    }

    /// Solves the adjoint of a fixed point, d = J^T d + g: implicit differentiation. For a loss J(h*) with g = dJ/dh at the fixed point h*, and a
    /// parameter p of f, dJ/dp is then the sum over i of d_i df_i/dp.
    ///
    /// `state`: the fixed point; `gradient`: g; `deltas`: d, from what it holds on.
    ///
    /// # Errors
    /// As [`solve`](Self::solve).
    pub fn adjoint<M: Transposed<Scalar = T> + ?Sized>(
        &self,
        map: &M,
        state: &[T],
        gradient: &[T],
        deltas: &mut [T],
        stop: Stop<T>,
        room: &mut [T],
    ) -> Result<Solved<T>, MapError<T>> {
        let all = map.units().saturating_mul(map.samples());
        length("state", all, state.len())?;
        length("gradient", all, gradient.len())?;
        length("deltas", all, deltas.len())?;
        self.run(&Adjoint { map, state, gradient }, deltas, stop, room, &mut [], |_, _| {})
    }

    fn run<M: Map<Scalar = T> + ?Sized>(
        &self,
        map: &M,
        state: &mut [T],
        stop: Stop<T>,
        room: &mut [T],
        reports: &mut [Solved<T>],
        mut record: impl FnMut(T, Seen<T>),
    ) -> Result<Solved<T>, MapError<T>> {
        self.check(stop)?;
        let (units, samples) = (map.units(), map.samples());
        if samples == 0 || units == 0 {
            let none = &Rule { name: "Map::samples", range: "1 or more" };
            let empty = &Rule { name: "Map::units", range: "1 or more" };
            return Err(MapError::Setting(refused(if samples == 0 { none } else { empty }, T::ZERO)));
        }
        length("state", units.saturating_mul(samples), state.len())?;
        let mut work = Work::of(*self, units, samples, room)?;
        let mut goes_on = true;
        while goes_on && work.sweeps < stop.limit {
            map.apply(state, work.next);
            goes_on = work.advance(state, stop, map.bound());
            record(work.residual, work.seen);
        }
        let result = work.finish(state, stop);
        work.report(reports);
        Ok(result?)
    }
}

/// Whether a slice has as many numbers as it must.
fn length<T>(what: &'static str, needed: usize, given: usize) -> Result<(), MapError<T>> {
    if given == needed { Ok(()) } else { Err(MapError::Length { what, needed, given }) }
}

/// Vectors of a state besides the columns, and numbers for every sample.
const FLAT: usize = 6;
const EACH: usize = 6;

/// A solve under way, in the caller's room. Not generic over the map: what is here is compiled once for a scalar.
struct Work<'r, T> {
    solver: Solver<T>,
    samples: usize,
    /// Sweeps made.
    sweeps: usize,
    columns: Columns<'r, T>,
    /// What the last sweep showed: the largest change, and what [`Seen`] has.
    residual: T,
    seen: Seen<T>,
    /// f(h), and then room for one thing or another.
    next: &'r mut [T],
    /// f(h) - h.
    change: &'r mut [T],
    /// The h that was changed least, and its f(h).
    from: &'r mut [T],
    best: &'r mut [T],
    /// h, and f(h) - h, of the sweep before.
    last: &'r mut [T],
    last_change: &'r mut [T],
    /// Of every sample: 1 while it does not meet the tolerance, then 0; the sweeps made while it did not; the largest change of this sweep, and the least
    /// of those so far, or that by which it met the tolerance; the part of a step that it goes; and sums.
    open: &'r mut [T],
    count: &'r mut [T],
    largest: &'r mut [T],
    least: &'r mut [T],
    part: &'r mut [T],
    sums: &'r mut [T],
}

/// Pairs of vectors, [`Kind`] says of what.
struct Columns<'r, T> {
    flat: &'r mut [T],
    /// Numbers in a vector, and samples.
    all: usize,
    samples: usize,
    most: usize,
    kept: usize,
    newest: usize,
}

impl<'r, T: Scalar> Work<'r, T> {
    fn of(solver: Solver<T>, units: usize, samples: usize, room: &'r mut [T]) -> Result<Self, MapError<T>> {
        let (needed, given, all) = (solver.room(units, samples), room.len(), units * samples);
        let short = MapError::Length { what: "room", needed, given };
        let mut rest = room.get_mut(..needed).ok_or(short)?;
        rest.fill(T::ZERO);
        let mut take = |count: usize| {
            let (part, others) = core::mem::take(&mut rest).split_at_mut_checked(count)?;
            rest = others;
            Some(part)
        };
        let most = solver.columns();
        let mut work = || {
            Some(Self {
                solver,
                samples,
                sweeps: 0,
                columns: Columns { flat: take(2 * most * all)?, all, samples, most, kept: 0, newest: 0 },
                residual: T::MAX,
                seen: Seen::NOTHING,
                next: take(all)?,
                change: take(all)?,
                from: take(all)?,
                best: take(all)?,
                last: take(all)?,
                last_change: take(all)?,
                open: take(samples)?,
                count: take(samples)?,
                largest: take(samples)?,
                least: take(samples)?,
                part: take(samples)?,
                sums: take(samples)?,
            })
        };
        let work = work().ok_or(short)?;
        work.open.fill(T::ONE);
        work.least.fill(T::INFINITE);
        work.part.fill(T::ONE);
        Ok(work)
    }

    /// Takes in f(`state`), which is in `next`, and leaves in `state` where the next sweep starts from. Whether there is one to make: a sample is open, and
    /// none is lost for good.
    fn advance(&mut self, state: &mut [T], stop: Stop<T>, bound: Option<T>) -> bool {
        self.sweeps += 1;
        self.judge(state, stop, bound);
        self.keep(state, stop);
        let goes_on = self.open.contains(&T::ONE) && self.is_finite();
        if goes_on {
            match self.solver.kind {
                Kind::Plain | Kind::Damped => {
                    self.last.copy_from_slice(state);
                    self.plain(state);
                }
                Kind::Anderson(_) | Kind::Broyden(_) => self.accelerated(state),
            }
        }
        goes_on
    }

    /// Whether every sample has been finite; plain sweeps have no other way to go.
    fn is_finite(&self) -> bool {
        let all = |each: &[T]| each.iter().all(|change| change.is_finite());
        all(self.least) && (self.solver.columns() > 0 || all(self.largest))
    }

    /// How much f(h) is from h, and what a trace is told of it.
    fn judge(&mut self, state: &[T], stop: Stop<T>, bound: Option<T>) {
        let samples = self.samples;
        for ((change, next), h) in self.change.iter_mut().zip(&*self.next).zip(state) {
            *change = *next - *h;
        }
        magnitudes(samples, self.change, self.largest);
        magnitudes(samples, self.next, self.sums);
        self.residual = T::ZERO;
        self.seen = Seen { asked: stop.absolute, met: true, bound, ..Seen::NOTHING };
        for (((largest, scale), open), count) in
            self.largest.iter().zip(&*self.sums).zip(&*self.open).zip(self.count.iter_mut())
        {
            if *open == T::ZERO {
                continue;
            }
            *count = T::from_usize(self.sweeps);
            let asked = stop.absolute + stop.relative * *scale;
            self.seen.met &= *largest <= asked;
            self.seen.largest = larger(self.seen.largest, *scale);
            if !(*largest <= self.residual) {
                (self.residual, self.seen.asked) = (*largest, asked);
            }
        }
        // How far it is from where the sweep before started.
        let open = &*self.open;
        for (next, last) in self.next.chunks_exact(samples).zip(self.last.chunks_exact(samples)) {
            for ((next, last), open) in next.iter().zip(last).zip(open) {
                if *open > T::ZERO {
                    self.seen.returned = larger(self.seen.returned, (*next - *last).magnitude());
                }
            }
        }
        if self.sweeps == 1 {
            self.seen.returned = T::INFINITE;
        }
        self.seen.finite = self.residual.is_finite();
    }

    /// Keeps the best, and ends samples that meet the tolerance, which become f(h).
    fn keep(&mut self, state: &mut [T], stop: Stop<T>) {
        let samples = self.samples;
        let better = |((sum, largest), least): ((&mut T, &T), &T)| {
            *sum = if largest.is_finite() && *largest < *least { T::ONE } else { T::ZERO };
        };
        self.sums.iter_mut().zip(&*self.largest).zip(&*self.least).for_each(better);
        // That of an ended sample is what it ended with.
        self.sums.iter_mut().zip(&*self.open).for_each(|(sum, open)| *sum = *sum * *open);
        update(
            samples,
            self.from,
            state,
            self.sums,
            |from, h, better| if better > T::ZERO { h } else { from },
        );
        update(
            samples,
            self.best,
            self.next,
            self.sums,
            |best, next, better| {
                if better > T::ZERO { next } else { best }
            },
        );
        for ((least, largest), better) in self.least.iter_mut().zip(&*self.largest).zip(&*self.sums) {
            if *better > T::ZERO {
                *least = *largest;
            }
        }
        if stop.exact {
            return;
        }
        // 1 for those that end, from what their tolerance is relative to.
        magnitudes(samples, self.next, self.sums);
        for (((sum, largest), open), least) in
            self.sums.iter_mut().zip(&*self.largest).zip(self.open.iter_mut()).zip(self.least.iter_mut())
        {
            let ends = *open > T::ZERO && *largest <= stop.absolute + stop.relative * *sum;
            *sum = if ends { T::ONE } else { T::ZERO };
            if ends {
                (*open, *least) = (T::ZERO, *largest);
            }
        }
        update(samples, state, self.next, self.sums, |h, next, ends| if ends > T::ZERO { next } else { h });
    }

    /// h := h + a (f(h) - h).
    fn plain(&mut self, state: &mut [T]) {
        let a = self.solver.damping;
        if a == T::ONE {
            return update(
                self.samples,
                state,
                self.next,
                self.open,
                |h, next, open| {
                    if open > T::ZERO { next } else { h }
                },
            );
        }
        update(self.samples, state, self.change, self.open, |h, change, open| h + open * a * change);
    }

    fn accelerated(&mut self, state: &mut [T]) {
        let Self {
            solver,
            samples,
            sweeps,
            columns,
            next,
            change,
            from,
            best,
            last,
            last_change,
            open,
            largest,
            least,
            part,
            sums,
            ..
        } = self;
        let samples = *samples;
        // What is lost goes back and takes smaller steps. They grow again where it is best.
        let lost = T::from_usize(LOST);
        for (((sum, largest), least), part) in
            sums.iter_mut().zip(&**largest).zip(&**least).zip(part.iter_mut())
        {
            let is_lost = !(*largest <= lost * *least);
            *sum = if is_lost { T::ONE } else { T::ZERO };
            if is_lost {
                *part = larger(*part * T::from_f64(0.5), T::ONE / T::from_usize(LEAST_PART));
            } else if *largest == *least {
                *part = if *part < T::from_f64(0.5) { *part + *part } else { T::ONE };
            }
        }
        update_own(samples, change, sums, none_if);
        if *sweeps > 1 {
            let room = (&mut **next, &mut **largest);
            columns.renew(solver.kind, (state, last), (change, last_change), sums, room);
        }
        update(samples, last, state, sums, |_, h, lost| if lost > T::ZERO { T::NAN } else { h });
        last_change.copy_from_slice(change);

        // Lost ones go back to where the change was least, and less far from there.
        update(samples, state, from, sums, |h, from, lost| if lost > T::ZERO { from } else { h });
        update(samples, change, best, sums, |change, best, lost| if lost > T::ZERO { best } else { change });
        update(
            samples,
            change,
            state,
            sums,
            |change, h, lost| if lost > T::ZERO { change - h } else { change },
        );
        let going = |((sum, open), part): ((&mut T, &T), &T)| *sum = *open * *part * solver.damping;
        sums.iter_mut().zip(&**open).zip(&**part).for_each(going);
        // The part of the step, in `largest`, which is not needed any more.
        largest.copy_from_slice(sums);
        update(samples, state, change, largest, |h, change, part| h + part * change);
        columns.step(solver.kind, state, change, largest, sums);
    }

    /// What came of it, and the best state where the tolerance is not met.
    fn finish(&mut self, state: &mut [T], stop: Stop<T>) -> Result<Solved<T>, SolveError<T>> {
        let sweeps = self.sweeps;
        if !self.is_finite() {
            let found = self.found(state);
            state.fill(T::ZERO);
            return Err(SolveError::NotFinite(found));
        }
        if stop.exact {
            return Ok(Solved { sweeps, residual: self.residual });
        }
        let residual = self.least.iter().fold(T::ZERO, |most, least| larger(most, *least));
        if !self.open.contains(&T::ONE) {
            return Ok(Solved { sweeps, residual });
        }
        update(
            self.samples,
            state,
            self.best,
            self.open,
            |h, best, open| if open > T::ZERO { best } else { h },
        );
        Err(SolveError::NotConverged { sweeps, residual })
    }

    /// What is not finite: a number of f(h), or of h.
    fn found(&self, state: &[T]) -> NonFinite {
        let samples = self.samples.max(1);
        let wrong = |numbers: &[T]| numbers.iter().position(|number| !number.is_finite());
        let Some(at) = wrong(self.next).or_else(|| wrong(state)) else { return NonFinite::Overflow };
        NonFinite::Map { sample: at % samples, unit: at / samples }
    }

    /// What came of every sample.
    fn report(&self, reports: &mut [Solved<T>]) {
        for ((report, count), least) in reports.iter_mut().zip(&*self.count).zip(&*self.least) {
            let residual = if least.is_finite() { *least } else { T::MAX };
            *report = Solved { sweeps: count.to_f64() as usize, residual };
        }
    }
}

impl<T: Scalar> Columns<'_, T> {
    /// The place of the column so many younger ones came after.
    fn place(&self, younger: usize) -> usize {
        let place = self.newest + self.most - younger;
        if place < self.most { place } else { place - self.most }
    }

    /// Both vectors of a column.
    fn pair(&mut self, place: usize) -> Option<[&mut [T]; 2]> {
        let all = self.all;
        let (first, second) = self.flat.get_mut(2 * place * all..)?.split_at_mut_checked(all)?;
        Some([first, second.get_mut(..all)?])
    }

    /// Both vectors of two columns.
    fn pairs(&mut self, one: usize, other: usize) -> Option<[&mut [T]; 4]> {
        let all = self.all;
        let at = |vector: usize| vector * all..(vector + 1) * all;
        self.flat.get_disjoint_mut([at(2 * one), at(2 * one + 1), at(2 * other), at(2 * other + 1)]).ok()
    }

    /// Takes in how the last two states and changes differ. Of samples that are lost there is nothing to take in, nor of those that have no sweep before,
    /// whose `last` is NaN. `spare`: as many numbers as a state; `sums`: one a sample.
    fn renew(
        &mut self,
        kind: Kind,
        (h, last): (&[T], &[T]),
        (g, last_g): (&[T], &[T]),
        lost: &[T],
        (spare, sums): (&mut [T], &mut [T]),
    ) {
        let (samples, most) = (self.samples, self.most);
        if let Kind::Broyden(_) = kind
            && self.kept == most
        {
            // Full: it begins anew.
            self.kept = 0;
        }
        self.newest = if self.kept == 0 || self.newest + 1 == most { 0 } else { self.newest + 1 };
        self.kept = most.min(self.kept + 1);
        let Some([dx, dg]) = self.pair(self.newest) else { return };
        for (((((dx, dg), h), last), g), last_g) in
            dx.iter_mut().zip(dg.iter_mut()).zip(h).zip(last).zip(g).zip(last_g)
        {
            let moved = *h - *last;
            (*dx, *dg) = if moved.is_finite() { (moved, *g - *last_g) } else { (T::ZERO, T::ZERO) };
        }
        update_own(samples, dx, lost, none_if);
        update_own(samples, dg, lost, none_if);
        match kind {
            Kind::Broyden(_) => self.update_inverse(spare, sums),
            _ => self.orthogonalize(sums),
        }
    }

    /// Makes the changes of the columns perpendicular and of length 1, the newest first, and does to the differences of the states what it does to them.
    /// A column that is next to dependent on younger ones becomes zero. (The modified Gram-Schmidt process.)
    fn orthogonalize(&mut self, sums: &mut [T]) {
        let samples = self.samples;
        for own in 0..self.kept {
            let place = self.place(own);
            for younger in 0..own {
                let younger = self.place(younger);
                if let Some([young_dx, young_dg, dx, dg]) = self.pairs(younger, place) {
                    dots(samples, young_dg, dg, sums);
                    update(samples, dx, young_dx, sums, |own, young, along| own - along * young);
                    update(samples, dg, young_dg, sums, |own, young, along| own - along * young);
                }
            }
            let Some([dx, dg]) = self.pair(place) else { return };
            dots(samples, dg, dg, sums);
            // What is left of a column of length 1 after cancellation, if half its digits are to be good.
            let least = if own == 0 { T::MIN_POSITIVE } else { T::PRECISION };
            for sum in sums.iter_mut() {
                *sum = if *sum >= least && sum.is_finite() { T::ONE / sum.sqrt() } else { T::ZERO };
            }
            let scaled = |value: T, by: T| if by > T::ZERO { value * by } else { T::ZERO };
            update_own(samples, dx, sums, scaled);
            update_own(samples, dg, sums, scaled);
        }
    }

    /// Makes of the newest column, which holds dx and dg, the next term u v^T of B = -I + sum u v^T, the inverse Jacobian of f(h) - h, such that it takes
    /// dg to dx (the formula of Sherman and Morrison).
    fn update_inverse(&mut self, w: &mut [T], sums: &mut [T]) {
        let (samples, newest) = (self.samples, self.newest);
        // w = B dg.
        let Some([_, dg]) = self.pair(newest) else { return };
        w.iter_mut().zip(&*dg).for_each(|(w, dg)| *w = -*dg);
        for older in 0..newest {
            let Some([u, v, _, dg]) = self.pairs(older, newest) else { return };
            dots(samples, v, dg, sums);
            update(samples, w, u, sums, |w, u, sum| w + sum * u);
        }
        // v = B^T dx, in the place of dg.
        let Some([dx, v]) = self.pair(newest) else { return };
        v.iter_mut().zip(&*dx).for_each(|(v, dx)| *v = -*dx);
        for older in 0..newest {
            let Some([u, other, dx, v]) = self.pairs(older, newest) else { return };
            dots(samples, u, dx, sums);
            update(samples, v, other, sums, |v, other, sum| v + sum * other);
        }
        // u = (dx - w) / (dx . w).
        let Some([u, v]) = self.pair(newest) else { return };
        dots(samples, u, w, sums);
        for sum in sums.iter_mut() {
            let inverse = T::ONE / *sum;
            *sum = if inverse.is_finite() { inverse } else { T::ZERO };
        }
        update(samples, u, w, sums, |dx, w, by| if by == T::ZERO { T::ZERO } else { (dx - w) * by });
        update_own(samples, v, sums, |v, by| if by == T::ZERO { T::ZERO } else { v });
    }

    /// Takes from `state` what the columns say of the change `g`; `part`: how much of its step a sample goes, 0 where it goes none.
    fn step(&mut self, kind: Kind, state: &mut [T], g: &[T], part: &[T], sums: &mut [T]) {
        let samples = self.samples;
        for column in 0..self.kept {
            let place = self.place(column);
            let Some([first, second]) = self.pair(place) else { return };
            dots(samples, second, g, sums);
            if let Kind::Broyden(_) = kind {
                sums.iter_mut().zip(part).for_each(|(sum, part)| *sum = *sum * *part);
                update(samples, state, first, sums, |h, u, sum| h - sum * u);
                continue;
            }
            let going = |(sum, part): (&mut T, &T)| *sum = if *part > T::ZERO { *sum } else { T::ZERO };
            sums.iter_mut().zip(part).for_each(going);
            update(samples, state, first, sums, |h, dx, along| h - along * dx);
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum = *sum * *part);
            update(samples, state, second, sums, |h, dg, along| h - along * dg);
        }
    }
}

/// Nothing where the second number is above zero.
fn none_if<T: Element>(value: T, marked: T) -> T {
    if marked > T::ZERO { T::ZERO } else { value }
}

/// The larger one; `most` beside a NaN.
fn larger<T: Element>(most: T, other: T) -> T {
    if other > most { other } else { most }
}

/// to := f(to, from, by), `by` being one number a sample.
fn update<T: Element>(samples: usize, to: &mut [T], from: &[T], by: &[T], f: impl Fn(T, T, T) -> T) {
    if let [by] = *by {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = f(*to, *from, by));
        return;
    }
    for (to, from) in to.chunks_exact_mut(samples).zip(from.chunks_exact(samples)) {
        to.iter_mut().zip(from).zip(by).for_each(|((to, from), by)| *to = f(*to, *from, *by));
    }
}

/// to := f(to, by).
fn update_own<T: Element>(samples: usize, to: &mut [T], by: &[T], f: impl Fn(T, T) -> T) {
    if by.iter().all(|by| *by == T::ZERO) && f(T::ONE, T::ZERO) == T::ONE {
        return;
    }
    for to in to.chunks_exact_mut(samples) {
        to.iter_mut().zip(by).for_each(|(to, by)| *to = f(*to, *by));
    }
}

/// The inner products of every sample.
fn dots<T: Element>(samples: usize, one: &[T], other: &[T], sums: &mut [T]) {
    if let [sum] = sums {
        // Four sums, so that none waits for another.
        let (ones, one) = one.as_chunks::<4>();
        let (others, other) = other.as_chunks::<4>();
        let mut four = [T::ZERO; 4];
        for (a, b) in ones.iter().zip(others) {
            four.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += *a * *b);
        }
        let [a, b, c, d] = four;
        *sum = one.iter().zip(other).fold((a + b) + (c + d), |sum, (a, b)| sum + *a * *b);
        return;
    }
    sums.fill(T::ZERO);
    for (one, other) in one.chunks_exact(samples).zip(other.chunks_exact(samples)) {
        sums.iter_mut().zip(one).zip(other).for_each(|((sum, a), b)| *sum += *a * *b);
    }
}

/// The largest magnitude in every sample, infinite where something is not finite.
fn magnitudes<T: Element>(samples: usize, of: &[T], most: &mut [T]) {
    most.fill(T::ZERO);
    let magnitude = |of: &T| if of.is_finite() { of.magnitude() } else { T::INFINITE };
    for of in of.chunks_exact(samples) {
        most.iter_mut().zip(of).for_each(|(most, of)| *most = larger(*most, magnitude(of)));
    }
}
