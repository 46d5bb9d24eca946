//! All tests that nothing else than `cargo test` runs, in one program: what they have in common is compiled and linked once.

#[path = "../oracle/mod.rs"]
mod oracle;

mod accelerate;
mod adapt;
mod compress;
mod descent;
mod diagnosis;
mod energy;
mod flash;
mod gradients;
mod hold;
mod idx;
mod memory;
mod model_file;
mod own_activation;
mod own_loss;
mod serde;
mod settings;
mod skipping;
mod solver;
mod support;
mod threads;
