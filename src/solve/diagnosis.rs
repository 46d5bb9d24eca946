//! What the residuals of a solve say, in words.

use super::Trace;
use super::trace::Seen;
use crate::simd::Element;
use core::fmt;

/// Why a solve ended as it did, from its [`Trace`]; [`Display`](fmt::Display) says what to do about it.
///
/// It is a judgement of what was seen, not a proof: a proof is what a [certificate](crate::certificate) is for. `rate` is
/// [`Trace::rate`], `proved` is what was handed to [`Trace::diagnosis`], and `alternating` says whether the sweeps go
/// to and fro: the state is nearer to that of two sweeps before than to that of one.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Diagnosis<T = f32> {
    /// The last sweep met the tolerance.
    Converged {
        /// Sweeps made.
        sweeps: usize,
        /// The rate seen, after three sweeps.
        rate: Option<T>,
    },
    /// Fewer than three sweeps were made: too few to tell.
    TooShort {
        /// Sweeps made.
        sweeps: usize,
    },
    /// The residual shrinks, but was not small enough in time.
    Converging {
        /// The rate seen, below 1.
        rate: T,
        /// Sweeps still needed at this rate; nothing if the tolerance is below what rounding allows.
        sweeps: Option<usize>,
        /// Whether the sweeps go to and fro.
        alternating: bool,
        /// The rate of a certificate.
        proved: Option<T>,
    },
    /// The residual neither shrinks nor grows: the state goes round.
    Oscillating {
        /// The rate seen, about 1.
        rate: T,
        /// The last residual.
        residual: T,
        /// Whether it goes to and fro.
        alternating: bool,
        /// The rate of a certificate.
        proved: Option<T>,
    },
    /// The residual grows, but what is fed back has bounds, so that this comes to an end: so it is on the way from a state that is not stable.
    Growing {
        /// The rate seen, above 1.
        rate: T,
        /// Sweeps until the changes are as large as the bounds allow, at this rate. Only then is it seen whether it settles or goes round.
        sweeps: usize,
        /// Whether the sweeps go to and fro.
        alternating: bool,
        /// The rate of a certificate.
        proved: Option<T>,
    },
    /// The residual grows, and nothing bounds it.
    Diverging {
        /// The rate seen, above 1.
        rate: T,
        /// Whether the sweeps go to and fro.
        alternating: bool,
        /// The rate of a certificate.
        proved: Option<T>,
    },
    /// The residual is no more than rounding makes it, and the tolerance asks for less.
    Stalled {
        /// The last residual.
        residual: T,
        /// The residual asked for.
        asked: T,
        /// What rounding may be here: 32 units in the last place of the largest activation.
        rounding: T,
    },
    /// A NaN or an infinity.
    NotFinite {
        /// Sweeps that were finite.
        sweeps: usize,
        /// The rate until then.
        rate: Option<T>,
    },
}

impl<T: Element, const CAPACITY: usize> Trace<T, CAPACITY> {
    /// What the residuals say. `proved`: the rate of a certificate of this network, if there is one.
    ///
    /// ```
    /// use attractor::{Diagnosis, Stop, Trace, fnn, kernel::Identity};
    /// type Net = fnn![1, 2, 1; hidden = Identity];
    /// let mut net = Net::ZERO;
    /// net.layer_mut::<1>().w.fill(1.0);
    /// net.layer_mut::<1>().u.fill(0.9);
    /// net.layer_mut::<2>().w.fill(0.5);
    /// let certificate = net.certify()?;
    /// let (mut state, mut trace) = (Net::state(), Trace::<f32, 16>::new());
    /// let tolerance = Stop::residual(1e-4).at_most(50);
    /// net.solve_traced(&[1.0], &mut state, tolerance, &mut trace).unwrap_err();
    /// let diagnosis = trace.diagnosis(Some(certificate.rate()));
    /// let Diagnosis::Converging { sweeps: Some(more), .. } = diagnosis else { panic!("{diagnosis}") };
    /// // converging slowly: a sweep leaves 0.900 of the change (proved: 0.900). At this rate 40 more sweeps will do: ...
    /// assert!(net.solve(&[1.0], &mut state, tolerance.at_most(more + 1)).is_ok());
    /// # Ok::<(), attractor::CertificateError>(())
    /// ```
    #[must_use]
    pub fn diagnosis(&self, proved: Option<T>) -> Diagnosis<T> {
        let (sweeps, rate) = (self.sweeps(), self.rate());
        let Seen { asked, largest, returned, met, finite, bound } = self.seen;
        if !finite {
            return Diagnosis::NotFinite { sweeps, rate };
        }
        if met {
            return Diagnosis::Converged { sweeps, rate };
        }
        let (Some(rate), Some(residual)) = (rate, self.residuals().next_back()) else {
            return Diagnosis::TooShort { sweeps };
        };
        let unit = (largest * T::PRECISION).to_f64();
        let rounding = T::from_f64(32.0 * unit);
        let alternating = returned < residual;
        // As long as it shrinks by a tenth a sweep, rounding does not rule yet.
        if residual <= rounding && !(rate.to_f64() <= 0.9 && residual > T::ZERO) {
            return Diagnosis::Stalled { residual, asked, rounding };
        }
        // How much the newer half of the residuals must be below or above the older half, in its largest and its smallest, to
        // count as a trend and not as the ups and downs of a cycle. Less does if every single one agrees.
        const TREND: f64 = 0.9;
        let count = self.telling().count();
        let (older, newer) = (range(self.telling().take(count / 2)), range(self.telling().skip(count / 2)));
        let below = |one: (f64, f64), other: (f64, f64)| one.0 <= TREND * other.0 && one.1 <= TREND * other.1;
        let mut pairs = self.telling().zip(self.telling().skip(1));
        let falls =
            below(newer, older) || !alternating && pairs.clone().all(|(before, after)| after < before);
        let rises = below(older, newer) || !alternating && pairs.all(|(before, after)| after > before);
        if falls && rate < T::ONE {
            let need = libm::ceil(libm::log(asked.to_f64() / residual.to_f64()) / libm::log(rate.to_f64()));
            let sweeps = (asked.to_f64() >= unit && need.is_finite()).then_some(need as usize);
            Diagnosis::Converging { rate, sweeps, alternating, proved }
        } else if rises
            && rate > T::ONE
            && let Some(bound) = bound
        {
            let room = (2.0 * bound.to_f64() / residual.to_f64()).max(1.0);
            let sweeps = libm::ceil(libm::log(room) / libm::log(rate.to_f64())) as usize;
            Diagnosis::Growing { rate, sweeps, alternating, proved }
        } else if rises && rate > T::ONE {
            Diagnosis::Diverging { rate, alternating, proved }
        } else {
            Diagnosis::Oscillating { rate, residual, alternating, proved }
        }
    }
}

/// The smallest and the largest.
fn range<T: Element>(residuals: impl Iterator<Item = T>) -> (f64, f64) {
    residuals.map(Element::to_f64).fold((f64::INFINITY, 0.0), |(low, high), x| (low.min(x), high.max(x)))
}

impl<T: Element> fmt::Display for Diagnosis<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_f64 = if size_of::<T>() == 4 { ", or use f64" } else { "" };
        match *self {
            Self::Converged { sweeps, rate } => {
                write!(f, "converged after {sweeps} sweeps")?;
                rate.map_or(Ok(()), |rate| write!(f, ", each leaving {:.3} of the change", rate.to_f64()))
            }
            Self::TooShort { sweeps } => {
                write!(f, "{sweeps} sweeps are too few to tell: allow three or more")
            }
            Self::Converging { rate, sweeps, alternating, proved } => {
                let rate = rate.to_f64();
                write!(f, "converging slowly: a sweep leaves {rate:.3} of the change{}. ", Beside(proved))?;
                match sweeps {
                    Some(sweeps) => write!(f, "At this rate {sweeps} more sweeps will do: allow them")?,
                    None => write!(f, "Rounding will end it before the tolerance is met: raise it{or_f64}")?,
                }
                f.write_str(". Fewer will do with solve_accelerated")?;
                f.write_str(if alternating { ", with damping (changes alternate)" } else { "" })?;
                f.write_str(" or after limit_rate to a smaller rate")
            }
            Self::Oscillating { rate, residual, alternating, proved } => {
                let (rate, residual) = (rate.to_f64(), residual.to_f64());
                let way = if alternating { "to and fro" } else { "round" };
                write!(f, "oscillating: the state goes {way}, changes stay at {residual:.1e}, ")?;
                write!(f, "a sweep leaves {rate:.3} of them{}. ", Beside(proved))?;
                advise(f, proved, "damping, solve_accelerated and limit_rate do")
            }
            Self::Growing { rate, sweeps, proved, .. } => {
                let rate = rate.to_f64();
                write!(f, "growing: a sweep multiplies the change by {rate:.3}{}, ", Beside(proved))?;
                write!(
                    f,
                    "as on the way from a state that is not stable. Activations have bounds: in about {sweeps} sweeps "
                )?;
                f.write_str("it is seen whether it settles or goes round. Allow more than that, or make sure with limit_rate")
            }
            Self::Diverging { rate, alternating, proved } => {
                let rate = rate.to_f64();
                write!(f, "diverging: a sweep multiplies the change by {rate:.3}{}. ", Beside(proved))?;
                let damping = "limit_rate does, and damping may, since changes alternate";
                advise(f, proved, if alternating { damping } else { "limit_rate does" })
            }
            Self::Stalled { residual, asked, rounding } => {
                let [residual, asked, rounding] = [residual, asked, rounding].map(Element::to_f64);
                write!(
                    f,
                    "stalled at rounding: changes stay at {residual:.1e}, {asked:.1e} was asked for, "
                )?;
                write!(f, "rounding may be {rounding:.1e} here: raise the tolerance to that{or_f64}")
            }
            Self::NotFinite { sweeps: 0, .. } => f.write_str(
                "not finite: a NaN or an infinity in input, weights or state, or an overflow at once",
            ),
            Self::NotFinite { sweeps, rate } => {
                write!(f, "not finite: an overflow after {sweeps} sweeps")?;
                if let Some(rate) = rate {
                    write!(f, ", each multiplying the change by {:.3}", rate.to_f64())?;
                }
                f.write_str(". limit_rate helps, or hidden layers with bounds (Tanh, HardTanh, Sigmoid)")
            }
        }
    }
}

/// What helps where more sweeps do not, unless there is a certificate, with which they do.
fn advise<T: Element>(f: &mut fmt::Formatter<'_>, proved: Option<T>, helps: &str) -> fmt::Result {
    if proved.is_some_and(|proved| proved < T::ONE) {
        f.write_str(
            "With a certificate that cannot last: allow more sweeps, and verify that it is of these weights",
        )
    } else {
        write!(f, "More sweeps do not help; {helps}")
    }
}

/// The proved rate in brackets, if there is one.
struct Beside<T>(Option<T>);

impl<T: Element> fmt::Display for Beside<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |proved| write!(f, " (proved: {:.3})", proved.to_f64()))
    }
}
