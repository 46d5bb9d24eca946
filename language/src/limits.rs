//! What the processor can do at best: the limits that speeds are measured against.

use attractor::kernel::sum_of_squares;
use attractor::simd::{Backend, Element, Lanes, Operation};
use std::hint::black_box;
use std::time::Instant;

/// What one thread can do at best, in multiplications and additions a second: fused ones, in registers alone. Takes a few milliseconds.
#[must_use]
pub fn peak_flops() -> f64 {
    const COUNT: usize = 1 << 20;
    let work = MultiplyAdds(COUNT);
    2.0 * COUNT as f64 / shortest(5, || f32::run(Backend::best(), black_box(work)))
}

/// How many seconds one thread takes at least to load so many numbers, once they are in the cache they fit into: each is loaded and multiplied once.
#[must_use]
pub fn load_seconds(numbers: &[f32]) -> f64 {
    shortest(20, || sum_of_squares(Backend::best(), black_box(numbers)))
}

/// The shortest time of some.
fn shortest<R>(times: usize, mut work: impl FnMut() -> R) -> f64 {
    (0..times).fold(f64::INFINITY, |best, _| {
        let start = Instant::now();
        black_box(work());
        best.min(start.elapsed().as_secs_f64())
    })
}

/// So many fused multiply-adds in registers alone: sums that do not wait for one another.
#[derive(Clone, Copy, Debug)]
pub struct MultiplyAdds(pub usize);

impl Operation<f32> for MultiplyAdds {
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes<f32>>(self, lanes: L) -> f32 {
        const SUMS: usize = 12;
        let (factor, term) = (lanes.splat(black_box(0.5)), lanes.splat(black_box(1.0)));
        // Sums that start alike would be computed once.
        let mut sums: [L::Vector; SUMS] = core::array::from_fn(|v| lanes.splat(v as f32));
        for _ in 0..self.0 / (SUMS * L::WIDTH) {
            for sum in &mut sums {
                *sum = lanes.mul_add(*sum, factor, term);
            }
        }
        let total = sums.into_iter().fold(lanes.splat(0.0), |total, sum| lanes.add(total, sum));
        lanes.reduce_add(total)
    }
}
