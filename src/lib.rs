#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod adapt;
pub mod certificate;
pub mod compress;
pub mod file;
#[allow(unsafe_code, reason = "kernels read and write through pointers whose shapes they have compared")]
pub mod kernel;
pub mod learn;
#[allow(unsafe_code, reason = "networks and states are seen as flat scalars")]
mod network;
pub mod quantized;
#[cfg(feature = "serde")]
mod serde;
#[allow(unsafe_code, reason = "instruction sets are entered by proof of their presence")]
pub mod simd;
mod solve;
mod threads;

pub use adapt::Adapted;
pub use certificate::{
    AdjointCertificate, Answer, Certificate, CertificateError, Certified, ErrorBound, Label, NotFinite,
    Refinement, Skipping, Visited,
};
pub use nalgebra;
#[cfg(feature = "alloc")]
pub use network::Boxed;
pub use network::{
    Adjacent, Align64, Architecture, At, Blocks, Dense, EachLayer, Feedforward, Flat, Form, Layer,
    LayerCorrection, LayerParams, LayerStates, Layout, LengthError, MAX_DEPTH, Memory, Network, Nothing,
    Reach, Room, Samples, Shape, Shared, Stack, State, Tail, Thin, Tied, Top, Widest, Workspace,
};
pub use solve::{Acceleration, Diagnosis, Drive, On, SolveError, Solved, Specialized, Tolerance, Trace};
pub use threads::Threads;

/// docs/embedded.md, whose example is tested.
#[cfg(doctest)]
#[doc = include_str!("../docs/embedded.md")]
struct Embedded;
