//! All tests that nothing else than `cargo test` runs, in one program: what they have in common is compiled and linked once.

#[path = "../oracle/mod.rs"]
mod oracle;

mod accelerate;
mod adapt;
mod adapter_trainer;
mod compress;
mod descent;
mod diagnosis;
mod dynamic;
mod energy;
mod flash;
mod gradients;
mod hold;
mod idx;
mod lent_room;
mod memory;
mod model_file;
mod multiply;
mod non_finite;
mod own_activation;
mod own_loss;
mod scaling;
mod serde;
mod settings;
mod skipping;
mod solver;
mod support;
mod threads;
