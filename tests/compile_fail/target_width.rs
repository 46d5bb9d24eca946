use attractor::learn::{MeanSquared, Objective};
use attractor::{Workspace, fnn};

type Net = fnn![64, 48, 10];

fn main() {
    let mut workspace = Workspace::<Net>::ZERO;
    let target = [0.5; 9];
    let objective = Objective::new(MeanSquared);
    let _ = Net::ZERO.gradient(&objective, &[0.5; 64], &target, &mut workspace, &mut Net::boxed());
}
