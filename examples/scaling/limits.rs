//! What the processor can do at best: the limits that the benchmarks and `scaling` stand beside.

use attractor::simd::{Lanes, Operation};
use std::hint::black_box;

/// Loads the bytes a solve loads, and does nothing else with them: W^1 once, the rest once a sweep.
pub(crate) struct LoadRoof<'a> {
    pub(crate) once: &'a [f32],
    pub(crate) each_sweep: &'a [f32],
    pub(crate) sweeps: usize,
}

impl Operation<f32> for LoadRoof<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes<f32>>(self, lanes: L) -> f32 {
        let mut sums = [lanes.splat(0.0); 8];
        take(lanes, self.once, &mut sums);
        for _ in 0..self.sweeps {
            take(lanes, black_box(self.each_sweep), &mut sums);
        }
        let mut total = 0.0;
        for sum in sums {
            total += lanes.reduce_add(sum);
        }
        total
    }
}

#[inline(always)]
fn take<L: Lanes<f32>>(lanes: L, from: &[f32], sums: &mut [L::Vector; 8]) {
    let mut blocks = from.chunks_exact(8 * L::WIDTH);
    for block in &mut blocks {
        for (v, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the block holds eight vectors.
            *sum = lanes.add(*sum, unsafe { lanes.load(block.as_ptr().add(v * L::WIDTH)) });
        }
    }
    for rest in blocks.remainder().chunks_exact(L::WIDTH) {
        // SAFETY: the chunk holds one vector.
        sums[0] = lanes.add(sums[0], unsafe { lanes.load(rest.as_ptr()) });
    }
}

/// As many fused multiply-adds as asked for, in registers alone: twelve sums that do not wait for one another.
pub(crate) struct FmaPeak {
    pub(crate) count: usize,
}

impl Operation<f32> for FmaPeak {
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes<f32>>(self, lanes: L) -> f32 {
        const SUMS: usize = 12;
        let (factor, term) = (lanes.splat(black_box(0.5)), lanes.splat(black_box(1.0)));
        // Sums that start alike would be computed once.
        let mut sums: [L::Vector; SUMS] = std::array::from_fn(|v| lanes.splat(v as f32));
        for _ in 0..self.count.div_ceil(SUMS * L::WIDTH) {
            for sum in &mut sums {
                *sum = lanes.mul_add(*sum, factor, term);
            }
        }
        let mut total = sums[0];
        for sum in &sums[1..] {
            total = lanes.add(total, *sum);
        }
        lanes.reduce_add(total)
    }
}
