use attractor::fnn;

type Net = fnn![64];

fn main() {
    let _ = Net::ZERO;
}
