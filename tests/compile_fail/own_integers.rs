use attractor::simd::{Integers, Packed};

#[derive(Clone, Copy)]
struct Mine;

impl Integers for Mine {}

impl Packed<i8, i8> for Mine {}

fn main() {}
