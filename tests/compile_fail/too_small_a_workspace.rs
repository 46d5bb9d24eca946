use attractor::learn::{CrossEntropy, Objective};
use attractor::{Workspace, fnn};
use nalgebra::SMatrix;

type Net = fnn![64, 48, 10];

fn main() {
    let mut workspace = Workspace::<Net, 8>::ZERO;
    let batch = SMatrix::<f32, 16, 64>::zeros();
    let objective = Objective::new(CrossEntropy::new());
    let _ = Net::ZERO.gradient(&objective, &batch, &[0; 16], &mut workspace, &mut Net::boxed());
}
