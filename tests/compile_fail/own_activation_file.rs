use attractor::fnn;
use attractor::kernel::{Activation, Scalar};
use attractor::simd::Lanes;

#[derive(Clone, Copy, Debug, Default)]
struct Twice;

impl Activation for Twice {
    const NAME: &'static str = "twice";
    fn value<T: Scalar, L: Lanes<T>>(lanes: L, z: L::Vector) -> L::Vector {
        lanes.add(z, z)
    }
    fn slope<T: Scalar, L: Lanes<T>>(lanes: L, _: L::Vector) -> L::Vector {
        lanes.splat(T::ONE + T::ONE)
    }
}

fn main() {
    let net = <fnn![2, 8, 1; hidden = Twice]>::ZERO;
    let _ = net.to_bytes(None, &mut [0; 4096]);
}
