//! Any network.

use crate::{Outcome, Work};
use engine::SolveError;
use engine::dynamic::{DynError, DynNetwork, DynStates};
use engine::kernel::Scalar;
use engine::nalgebra::DMatrixView;

pub(crate) use solve as f32;
pub(crate) use solve as f64;

pub(crate) fn solve<T: Scalar>(work: Work<'_, T>) -> Outcome<T> {
    let Work { shape, weights, input, output, memory, stop } = work;
    let failure = |error| match error {
        DynError::Solve(error) => Some(error),
        _ => None,
    };
    let net = DynNetwork::new(shape, weights).map_err(failure)?;
    let room = memory.get_mut(..DynStates::<T>::length(&net, 1)).ok_or(None)?;
    let mut states = DynStates::new(&net, 1, room).map_err(|_| None)?;
    let solved = net.solve(&DMatrixView::from_slice(input, 1, net.inputs()), &mut states, stop);
    if matches!(solved, Ok(_) | Err(DynError::Solve(SolveError::NotConverged { .. }))) {
        for (to, from) in output.iter_mut().zip(states.output().iter()) {
            *to = *from;
        }
    }
    solved.map_err(failure)
}
