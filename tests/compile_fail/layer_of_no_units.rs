use attractor::fnn;

type Net = fnn![64, 0, 10];

static WEIGHTS: [f32; Net::PARAMS] = [0.0; Net::PARAMS];

fn main() {
    assert_eq!(Net::ZERO.params(), WEIGHTS);
}
