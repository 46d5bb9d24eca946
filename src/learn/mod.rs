//! Learning: exact gradients through the fixed point, losses, optimizers, a trainer.
//!
//! With D = s'(z) and g = dJ/dh of the outputs, the adjoint at a solution satisfies for every layer
//!
//! d^l = D^l * ( g^l + (W^(l+1))^T d^(l+1) + sum over k < l of (U^(k,l))^T d^k ),
//!
//! a recurrence of the same form as the network's own, swept from the last layer to the first until it stops
//! changing (Almeida 1987, Pineda 1987: recurrent back-propagation). Then dJ/dW^l = d^l (h^(l-1))^T,
//! dJ/dU^(l,k) = d^l (h^k)^T, dJ/db^l = d^l, dJ/dx = (W^1)^T d^1. It needs h and d, two scalars a unit, however many
//! sweeps the solve took.

mod adjoint;
mod descent;
mod gradient;
#[cfg(feature = "rand_core")]
mod initialize;
mod jacobian;
mod learner;
mod loss;
mod one_pass;
mod optimizer;
mod planned;
mod room;
mod scaling;
mod schedule;
mod trainer;
#[cfg(not(feature = "rand_core"))]
mod uninitialized;
mod units;
mod unsolved;

pub(crate) use adjoint::{Sent, fits_gradient};
pub use descent::Descent;
pub use gradient::{GradientReport, LearnError, Method, Objective, UnrolledTape};
pub(crate) use gradient::{add_flat, adjoint_flat, all_finite, both, lost_adjoint_flat, lost_gradient};
#[cfg(feature = "rand_core")]
pub(crate) use initialize::initialize;
pub use jacobian::JacobianPenalty;
pub use learner::Learner;
pub(crate) use loss::SquaresOnce;
pub use loss::{CrossEntropy, Loss, LossError, MeanSquared, Targets};
#[cfg(feature = "alloc")]
pub(crate) use one_pass::OnePass;
pub(crate) use optimizer::check_rate;
pub use optimizer::{Adam, Entrywise, Moments, Optimizer, Sgd, UpdateError, clip, clip_on};
pub use room::AdjointSweeps;
pub(crate) use room::into_solve;
pub use scaling::Scaling;
pub(crate) use scaling::saturated;
#[cfg(feature = "alloc")]
pub(crate) use scaling::saturated_flat;
pub use schedule::Cosine;
pub use trainer::{Step, Trainer};
pub(crate) use trainer::{check_held, check_settings, clip_and_update, hold};
pub use units::{OfOutputs, UnitLoss, UnitRoom};
pub use unsolved::{Outcome, Unsolved};
