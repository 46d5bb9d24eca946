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
//! | [`train`] | AdamW over batches, on all cores, the same bits on any number | `std` |
//! | [`text`], [`checkpoint`], [`exchange`] | batches of a text, files, GPT-2's tensors | `std` |
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

mod config;
pub mod generate;
pub mod pass;
#[cfg(feature = "std")]
pub mod train;

pub use config::{BlockLayout, Config, ConfigError, EPSILON, FeedbackLayout};
