use attractor::fnn;

type Net = fnn![2, 3, 1];

static NET: Net = Net::from_array([0.0; 15]);

fn main() {
    assert_eq!(NET.params().len(), Net::PARAMS);
}
