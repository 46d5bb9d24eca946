//! Fewer sweeps for networks that contract weakly: damping, and Anderson acceleration in fixed memory.

use super::solver::DAMPING;
use super::steps::Steps;
use super::{Injection, Model, Rule, Runner, Setting, SolveError, Solved, Stop};
use crate::kernel::Scalar;
use crate::network::{Architecture, Network, Samples, State, Takes};
use crate::simd::{Backend, Element};
use core::fmt;

/// How [`Network::solve_accelerated`] accelerates, and the memory it takes: `3 + 2 WINDOW` states and W^1 x + b^1.
///
/// *Anderson acceleration* (Walker and Ni 2011) looks at the last `WINDOW` + 1 sweeps, finds the combination of where they
/// started whose change would be smallest if the network were linear, and goes on from there. `WINDOW` is 1, 2 or 3; with
/// 0 there is none. It knows no maximum norm and promises nothing by itself, so every point is *safeguarded*: it is taken
/// only if the sweep from it changes less than any before, by the factor [`safeguard`](Self::safeguard). If not, that
/// sweep is lost and the solve goes on from where plain sweeps had led. After the k-th loss in a row 2^k plain sweeps
/// come before the next look, so that little is lost where nothing can be won.
///
/// *Damping* goes only a part of the way, h <- (1 - a) h + a sweep(h). It costs sweeps, but tames changes that alternate.
///
/// Where a sweep leaves a third of an error or less, neither is worth having. Where it leaves nine tenths or more, or
/// nothing is known, look at docs/results.md for what is gained.
///
/// ```
/// use attractor::{Acceleration, Stop, fnn, kernel::Identity};
/// type Net = fnn![1, 2, 1; hidden = Identity, scalar = f64];
/// let mut net = Net::ZERO;
/// net.layer_mut::<1>().w.fill(1.0);
/// net.layer_mut::<1>().u.fill(0.95); // a sweep leaves 95 % of an error
/// net.layer_mut::<2>().w.fill(0.5);
/// let (mut state, tolerance) = (Net::state(), Stop::residual(1e-9).at_most(1000));
/// let plain = net.solve(&[1.0], &mut state, tolerance)?;
///
/// let mut acceleration = Acceleration::<Net, 1>::new();
/// state.reset();
/// let solved = net.solve_accelerated(&[1.0], &mut state, tolerance, &mut acceleration)?;
/// assert!((state.output()[0] - 20.0).abs() < 1e-6);
/// assert!(plain.sweeps > 300 && solved.sweeps < 10);
/// # Ok::<(), attractor::SolveError<f64>>(())
/// ```
pub struct Acceleration<N: Architecture, const WINDOW: usize> {
    injection: Injection<N>,
    history: History<N, WINDOW>,
}

/// The last sweeps that were taken.
struct History<N: Architecture, const WINDOW: usize> {
    /// Where the last sweep started.
    from: State<N>,
    /// Where the last sweep that was taken ended.
    swept: State<N>,
    /// What that sweep changed.
    change: State<N>,
    columns: [Column<N>; WINDOW],
    /// The place of the newest column, and how many there are.
    newest: usize,
    kept: usize,
    damping: N::Scalar,
    safeguard: N::Scalar,
}

/// By how much two sweeps differ, orthogonalised: the changes of the columns are perpendicular, each of length 1, and what
/// was done to the changes was done to the ends.
struct Column<N: Architecture> {
    change: State<N>,
    swept: State<N>,
}

impl<N: Architecture, const WINDOW: usize> Acceleration<N, WINDOW> {
    /// Bytes of it.
    pub const BYTES: usize = size_of::<Self>();

    /// No damping, and a safeguard of 1.
    #[must_use]
    pub const fn new() -> Self {
        const {
            assert!(
                WINDOW <= 3,
                "the window of an acceleration is 1, 2 or 3, or 0 for damping alone: Acceleration::<Net, 2>::new()"
            );
        }
        let history = History {
            from: State::ZERO,
            swept: State::ZERO,
            change: State::ZERO,
            columns: [const { Column { change: State::ZERO, swept: State::ZERO } }; WINDOW],
            newest: 0,
            kept: 0,
            damping: N::Scalar::ONE,
            safeguard: N::Scalar::ONE,
        };
        Self { injection: Injection::ZERO, history }
    }

    /// h <- (1 - a) h + a sweep(h), with 0 < `a` <= 1; a solve refuses any other number. Accelerated points go as much of their way.
    #[must_use]
    pub const fn damping(mut self, a: N::Scalar) -> Self {
        self.history.damping = a;
        self
    }

    /// An accelerated point is taken only if its residual is below `factor` times the smallest so far, or meets the
    /// tolerance: gamma, where a certificate tells it. It is at least 0, or a solve refuses it; more than 1, which is the default, is as 1.
    #[must_use]
    pub const fn safeguard(mut self, factor: N::Scalar) -> Self {
        self.history.safeguard = factor;
        self
    }
}

impl<N: Architecture, const WINDOW: usize> History<N, WINDOW> {
    fn check(&self) -> Result<(), Setting<N::Scalar>> {
        let (zero, one) = (N::Scalar::ZERO, N::Scalar::ONE);
        if !(self.damping > zero && self.damping <= one) {
            return Err(Setting {
                rule: &Rule { name: "Acceleration::damping", range: DAMPING },
                value: self.damping,
            });
        }
        if !(self.safeguard >= zero) {
            return Err(Setting {
                rule: &Rule { name: "Acceleration::safeguard", range: "0 or more" },
                value: self.safeguard,
            });
        }
        Ok(())
    }

    /// The place of the column so many younger ones came after.
    fn place(&self, younger: usize) -> usize {
        let place = self.newest + younger;
        if place < WINDOW { place } else { place - WINDOW }
    }

    /// Takes in a sweep from `from` to `state`.
    fn remember(&mut self, state: &State<N>, first: bool) {
        for (from, state) in self.from.as_mut_slice().iter_mut().zip(state.as_slice()) {
            let change = *state - *from;
            // NaN only where a state began with it in the first layer, which no layer reads before it is computed: no change is known.
            *from = if change.is_finite() { change } else { N::Scalar::ZERO };
        }
        // What `from` holds now is the change.
        if !first && WINDOW > 0 {
            self.newest = if self.newest == 0 { WINDOW - 1 } else { self.newest - 1 };
            self.kept = WINDOW.min(self.kept + 1);
            if let Some(column) = self.columns.get_mut(self.newest) {
                differ(&mut column.change, &self.from, &self.change);
                differ(&mut column.swept, state, &self.swept);
            }
            self.orthogonalize();
        }
        self.change.as_mut_slice().copy_from_slice(self.from.as_slice());
        self.swept.as_mut_slice().copy_from_slice(state.as_slice());
    }

    /// Makes the columns perpendicular, the newest first, and drops the oldest from the first on that is next to dependent
    /// on younger ones. (The modified Gram-Schmidt process; normal equations would square the condition.)
    fn orthogonalize(&mut self) {
        // What is left of a column of length 1 after cancellation, if half its digits are to be good.
        let dependent = N::Scalar::PRECISION;
        for own in 0..self.kept {
            for younger in 0..own {
                let places = [self.place(younger), self.place(own)];
                if let Ok([younger, own]) = self.columns.get_disjoint_mut(places) {
                    let along = -dot(&younger.change, &own.change);
                    add(&mut own.change, along, &younger.change);
                    add(&mut own.swept, along, &younger.swept);
                }
            }
            let place = self.place(own);
            let Some(column) = self.columns.get_mut(place) else { return };
            let square = dot(&column.change, &column.change);
            let least = if own == 0 { N::Scalar::MIN_POSITIVE } else { dependent };
            if !(square >= least && square.is_finite()) {
                self.kept = own;
                return;
            }
            let factor = N::Scalar::from_f64(1.0 / libm::sqrt(square.to_f64()));
            for value in column.change.as_mut_slice().iter_mut().chain(column.swept.as_mut_slice()) {
                *value = *value * factor;
            }
        }
    }

    /// Where a sweep leads that is not accelerated.
    fn plain(&self, state: &mut State<N>) {
        let back = self.damping - N::Scalar::ONE;
        state.as_mut_slice().copy_from_slice(self.swept.as_slice());
        if back != N::Scalar::ZERO {
            add(state, back, &self.change);
        }
    }

    /// The accelerated point.
    fn accelerated(&self, state: &mut State<N>) {
        self.plain(state);
        let back = self.damping - N::Scalar::ONE;
        for age in 0..self.kept {
            if let Some(column) = self.columns.get(self.place(age)) {
                let along = -dot(&column.change, &self.change);
                add(state, along, &column.swept);
                if back != N::Scalar::ZERO {
                    add(state, along * back, &column.change);
                }
            }
        }
    }
}

/// out = a - b.
fn differ<N: Architecture>(out: &mut State<N>, a: &State<N>, b: &State<N>) {
    for ((out, a), b) in out.as_mut_slice().iter_mut().zip(a.as_slice()).zip(b.as_slice()) {
        *out = *a - *b;
    }
}

/// out += factor * x.
fn add<N: Architecture>(out: &mut State<N>, factor: N::Scalar, x: &State<N>) {
    for (out, x) in out.as_mut_slice().iter_mut().zip(x.as_slice()) {
        *out += factor * *x;
    }
}

/// The scalar product.
fn dot<N: Architecture>(a: &State<N>, b: &State<N>) -> N::Scalar {
    let products = a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| *a * *b);
    products.fold(N::Scalar::ZERO, |sum, product| sum + product)
}

impl<N: Architecture, const WINDOW: usize> Default for Acceleration<N, WINDOW> {
    fn default() -> Self {
        Self::new()
    }
}

impl<N: Architecture, const WINDOW: usize> fmt::Debug for Acceleration<N, WINDOW> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Acceleration");
        out.field("window", &WINDOW)
            .field("damping", &self.history.damping)
            .field("safeguard", &self.history.safeguard);
        out.finish()
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>> Network<A> {
    /// [`solve`](Self::solve) of one sample, [accelerated](Acceleration): for networks that contract weakly, or of which
    /// nothing is known.
    ///
    /// All sweeps count, also those from points that were not taken. The residual is that of the last point taken, the
    /// largest change by the sweep from it. When the limit is reached, `state` is where plain (or damped) sweeps go on.
    ///
    /// # Errors
    /// As [`solve`](Self::solve).
    pub fn solve_accelerated<X: Samples<T, I, 1>, const I: usize, const WINDOW: usize>(
        &self,
        input: &X,
        state: &mut State<Self>,
        stop: Stop<T>,
        acceleration: &mut Acceleration<Self, WINDOW>,
    ) -> Result<Solved<T>, SolveError<T>>
    where
        A: Takes<I>,
    {
        self.on(Backend::best()).solve_accelerated(input, state, stop, acceleration)
    }
}

impl<T: Scalar, A: Architecture<Scalar = T>, M: Model<Architecture = A>> Runner<'_, M> {
    /// [`Network::solve_accelerated`] on this backend.
    ///
    /// # Errors
    /// As [`Network::solve`].
    pub fn solve_accelerated<X: Samples<T, I, 1>, const I: usize, const WINDOW: usize>(
        self,
        input: &X,
        state: &mut State<Network<A>>,
        stop: Stop<T>,
        acceleration: &mut Acceleration<Network<A>, WINDOW>,
    ) -> Result<Solved<T>, SolveError<T>>
    where
        A: Takes<I>,
    {
        let Acceleration { injection, history } = acceleration;
        history.check()?;
        let mut steps = Steps::new(self, input, injection, state, stop)?;
        history.kept = 0;
        // Of the last point taken, and the smallest so far. A map that contracts may still let the maximum norm grow at first;
        // compared with the last residual alone, steps that win a little before plain sweeps lose much could go on for ever.
        let (mut residual, mut best) = (None, T::INFINITE);
        // Whether the state is an accelerated point that is not taken yet; the losses in a row, and the sweeps to wait.
        let (mut looking, mut lost, mut wait) = (false, 0_u32, 0_usize);
        while steps.allowed() {
            history.from.as_mut_slice().copy_from_slice(state.as_slice());
            let swept = steps.sweep(state);
            if looking {
                let taken = swept.as_ref().is_ok_and(|step| {
                    step.residual < best && (step.residual < history.safeguard * best || step.met())
                });
                if !taken {
                    history.plain(state);
                    (looking, lost) = (false, lost.saturating_add(1));
                    wait = 1_usize.checked_shl(lost).unwrap_or(usize::MAX);
                    continue;
                }
                lost = 0;
            }
            let step = swept?;
            let first = residual.replace(step.residual).is_none();
            best = if step.residual < best { step.residual } else { best };
            if steps.ends(&step) {
                return steps.finish(residual, true);
            }
            history.remember(state, first);
            wait = wait.saturating_sub(1);
            looking = wait == 0 && history.kept > 0;
            if looking {
                history.accelerated(state);
            } else {
                history.plain(state);
            }
        }
        if looking {
            history.plain(state);
        }
        if residual.is_some() && !steps.largest(state).is_finite() {
            return Err(self.lost(None, state));
        }
        steps.finish(residual, false)
    }
}
