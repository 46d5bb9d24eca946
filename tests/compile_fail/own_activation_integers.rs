use attractor::fnn;
use attractor::kernel::{Activation, Scalar};
use attractor::quantized::{Calibration, Quantized};
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

type Net = fnn![2, 8, 1; hidden = Twice];

fn main() {
    let _ = Quantized::<Net, i8>::new(&Net::ZERO, &Calibration::ZERO);
}
