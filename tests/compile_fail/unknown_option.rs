use attractor::fnn;

type Net = fnn![64, 48, 10; dropout = 0.5];

fn main() {
    let _ = Net::ZERO;
}
