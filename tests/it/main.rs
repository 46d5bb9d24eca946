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
mod one_pass;
mod own_activation;
mod own_loss;
mod scaling;
mod serde;
mod settings;
mod skipping;
mod solver;
mod support;
mod threads;
mod transformer;

/// A property of so many random seeds. What proptest does with it is compiled once, and not for every test.
fn seeds(cases: u32, property: &dyn Fn(u64) -> Result<(), proptest::test_runner::TestCaseError>) {
    use proptest::test_runner::{Config, TestRunner};
    let config = Config { failure_persistence: None, ..Config::with_cases(cases) };
    let tested = TestRunner::new(config).run(&proptest::num::u64::ANY, property);
    tested.unwrap_or_else(|error| panic!("{error}"));
}
