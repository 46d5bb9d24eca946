use attractor::{Stop, fnn};

type Net = fnn![64, 48, 10];

fn main() {
    let mut state = Net::state();
    let pixels = [0.5; 60];
    let _ = Net::ZERO.solve(&pixels, &mut state, Stop::residual(1e-5));
}
