//! Feedback neural networks that settle to a fixed point (deep equilibrium models), with exact gradients and provable convergence, in
//! fixed memory, for `no_std`.
//!
//! A network has weights W from the layer below and feedback weights U from the layer above. Sweeps refine its states until they stop
//! changing:
//!
//! ```text
//! z^l = W^l h^(l-1) + b^l + U^l h^(l+1),    h^l = s(z^l)
//! ```
//!
//! Gradients come from implicit differentiation: one adjoint system of the same form. `fnn` stands for feedback neural network.
//!
//! ```
//! use attractor::learn::{Adam, MeanSquared, Objective, Trainer};
//! use attractor::{Stop, fnn};
//!
//! type Net = fnn![2, 8, 1]; // 2 inputs, 8 hidden units, 1 output that is fed back
//! let mut net = Net::ZERO;
//! for (i, w) in net.params_mut().iter_mut().enumerate() {
//!     *w = 0.3 * (i as f32).sin(); // or `net.initialize(&mut rng)`, with the feature `rand_core`
//! }
//! let mut trainer = Trainer::new(net, Adam::<Net>::new(), Objective::new(MeanSquared));
//! for _ in 0..100 {
//!     trainer.step(&[1.0, -1.0], &[0.5])?;
//! }
//! let mut state = Net::state();
//! let solved = trainer.network.solve(&[1.0, -1.0], &mut state, Stop::residual(1e-5))?;
//! assert!(solved.residual <= 1e-5 && (state.output()[0] - 0.5).abs() < 0.2);
//! # Ok::<(), attractor::learn::LearnError>(())
//! ```
//!
//! | where | what |
//! |-|-|
//! | [`fnn!`], [`Network`] | networks as types: widths, [feedback](network::Form), activations, scalar |
//! | [`Network::solve`], [`Stop`] | sweeps to the fixed point |
//! | [`learn`] | gradients, losses, optimizers, [`Trainer`](learn::Trainer) |
//! | [`dynamic`] | widths chosen when running |
//! | [`certificate`] | proofs of convergence and error bounds |
//! | [`network`] | what networks are made of, for code that is generic over them |
//! | [`file`](mod@file), [`include_network!`] | model files |
//! | [`quantized`], [`adapt`], [`compress`] | integers, adapters, smaller networks |
//! | [`kernel`], [`simd`] | the kernels and vectors underneath |
//!
#![cfg_attr(doc, doc = "The [guide] has a page for each subject.")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod adapt;
pub mod certificate;
pub mod compress;
pub mod dynamic;
pub mod file;
#[cfg(any(doc, doctest))]
pub mod guide;
#[allow(unsafe_code, reason = "kernels read and write through pointers whose shapes they have compared")]
pub mod kernel;
pub mod learn;
#[allow(unsafe_code, reason = "networks and states are seen as flat scalars")]
pub mod network;
pub mod quantized;
#[cfg(feature = "serde")]
mod serde;
#[allow(unsafe_code, reason = "instruction sets are entered by proof of their presence")]
pub mod simd;
pub mod solve;
mod threads;

pub use adapt::Adapted;
pub use certificate::{Certificate, CertificateError, Certified};
pub use nalgebra;
#[cfg(feature = "alloc")]
pub use network::Boxed;
pub use network::{
    Adjacent, Align64, Dense, Feedforward, Layer, LengthError, Memory, Network, Repeat, Samples, Shape, Skip,
    State, Tied, Workspace,
};
pub use solve::{
    Acceleration, Diagnosis, Injection, NonFinite, Rule, Runner, Setting, SolveError, Solved, Stop, Trace,
};
pub use threads::Threads;

/// README.md, whose examples are tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
