use attractor::{Stop, fnn};
use nalgebra::SMatrix;

type Net = fnn![64, 48, 10];

fn main() {
    let mut state = Net::state::<16>();
    let batch = SMatrix::<f32, 16, 60>::zeros();
    let _ = Net::ZERO.solve(&batch, &mut state, Stop::residual(1e-5));
}
