//! The network that `ATTRACTOR_NET` names.

use crate::{Outcome, Work};
use engine::network::Architecture;
use engine::{SolveError, State};

#[allow(dead_code, reason = "its weights are where C has them")]
mod net {
    include!(env!("ATTRACTOR_NET_FILE"));
}
use net::Net;

#[cfg(not(attractor_net_f64))]
pub(crate) use {other as f64, solve as f32};
#[cfg(attractor_net_f64)]
pub(crate) use {other as f32, solve as f64};

type Scalar = <Net as Architecture>::Scalar;

pub(crate) fn solve(work: Work<'_, Scalar>) -> Outcome<Scalar> {
    let Work { shape, weights, input, output, memory, stop } = work;
    if shape != Net::SHAPE {
        return Err(None);
    }
    let net = Net::from_slice(weights).map_err(|_| None)?;
    let input: &[Scalar; _] = input.try_into().map_err(|_| None)?;
    let units = memory.get_mut(..Net::UNITS).ok_or(None)?;
    units.fill(0.0);
    let state = State::<Net>::from_slice_mut(units).map_err(|_| None)?;
    let solved = net.solve(input, state, stop);
    if matches!(solved, Ok(_) | Err(SolveError::NotConverged { .. })) {
        output.copy_from_slice(state.output().as_slice());
    }
    solved.map_err(Some)
}

/// The library has no network of this scalar.
pub(crate) fn other<T>(_: Work<'_, T>) -> Outcome<T> {
    Err(None)
}
