//! The program `attractor-lm`.

fn main() {}
