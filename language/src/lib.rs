//! Feedback Transformers, trained from scratch on a processor.
//!
//! A model is GPT-2's (Radford et al. 2019) with feedback: from the second sweep on every block but the last also takes the states of the block
//! above, through weights U of its own and a gate a feature. With one sweep it is a plain Transformer, bit for bit.
//!
//! | part | what it is | needs |
//! |-|-|-|
//! | [`Config`] | the shape, where each parameter lies | nothing |
//! | [`pass`] | sweeps forward and back: states, logits, exact gradients | memory of the caller's |
//! | [`generate`] | one token after another, with keys and values kept | memory of the caller's |
//! | [`draw`], [`random`] | a token of its logits: temperature, top-k, top-p; random numbers | memory of the caller's |
//! | [`small`], [`weights`] | models of 8 and 16 bits, in files and in constants; what a generator has its weights from | memory of the caller's |
//! | [`train`], [`adapt`] | AdamW and Muon over batches, on all cores, the same bits on any number; what learns | `std` |
//! | [`ranks`] | one training by several processes, the same bits on any number | `std`, MPI `mpi` |
//! | [`text`], [`labels`], [`checkpoint`], [`exchange`] | batches of a text, labelled lines, files, GPT-2's tensors | `std` |
//! | [`tokens`] | text as tokens: bytes, or pieces of words | `std`, pieces `bpe` |
//! | [`schedule`], [`plot`] | rate and sweeps of every step, the curve of a run | `std` |
//! | [`limits`] | what the processor can do at best | `std` |
//! | [`memory`] | large arrays that begin at a line of the caches | `std` |
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]
#![cfg_attr(all(doctest, feature = "std"), doc = include_str!("../../docs/language.md"))]

#[cfg(feature = "std")]
pub mod adapt;
#[cfg(feature = "std")]
pub mod checkpoint;
mod config;
pub mod draw;
#[cfg(feature = "std")]
pub mod exchange;
#[cfg(feature = "std")]
mod files;
pub mod generate;
mod head;
#[cfg(feature = "std")]
pub mod labels;
#[cfg(feature = "std")]
pub mod limits;
#[cfg(feature = "std")]
pub mod memory;
#[cfg(feature = "std")]
mod muon;
pub mod pass;
#[cfg(feature = "std")]
pub mod plot;
pub mod random;
#[cfg(feature = "std")]
pub mod ranks;
#[cfg(feature = "std")]
pub mod schedule;
pub mod small;
#[cfg(feature = "std")]
pub mod text;
#[cfg(feature = "std")]
pub mod tokens;
#[cfg(feature = "std")]
pub mod train;
#[cfg(feature = "std")]
#[path = "../../tools/attractor/src/twice.rs"]
mod twice;
pub mod weights;

pub use config::{BlockLayout, Config, ConfigError, EPSILON, FeedbackLayout};
