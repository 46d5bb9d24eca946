//! The guide: a page a subject, each with an example that runs.
//!
//! | page | |
//! |-|-|
//! | [`convergence`] | tolerance, certificates, traces, acceleration |
//! | [`fixed_points`] | maps of your own, Anderson, Broyden, implicit gradients |
//! | [`own_parts`] | activations, losses and penalties of your own |
//! | [`training`] | gradients, losses, optimizers, threads |
//! | [`run_time`] | widths from a file or a command line |
//! | [`model_files`] | files that are read in place, also from flash |
//! | [`integers`] | 8-bit and 16-bit weights |
//! | [`adapters`] | low-rank adapters of a network in flash |
//! | [`compression`] | pruning, distillation, shared weights |
//! | [`embedded`] | RAM, flash, stack and time on a microcontroller |
//! | [`speed`] | backends, compile time |

#[doc = include_str!("../docs/guide/adapters.md")]
pub mod adapters {}
#[doc = include_str!("../docs/guide/compression.md")]
pub mod compression {}
#[doc = include_str!("../docs/guide/convergence.md")]
pub mod convergence {}
#[doc = include_str!("../docs/embedded.md")]
pub mod embedded {}
#[doc = include_str!("../docs/guide/fixed_points.md")]
pub mod fixed_points {}
#[doc = include_str!("../docs/guide/integers.md")]
pub mod integers {}
#[doc = include_str!("../docs/guide/model_files.md")]
pub mod model_files {}
#[doc = include_str!("../docs/guide/run_time.md")]
pub mod run_time {}
#[doc = include_str!("../docs/guide/own_parts.md")]
pub mod own_parts {}
#[doc = include_str!("../docs/guide/speed.md")]
pub mod speed {}
#[doc = include_str!("../docs/guide/training.md")]
pub mod training {}
