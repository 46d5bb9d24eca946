use attractor::{Acceleration, fnn};

static ACCELERATION: Acceleration<fnn![4, 8, 2], 4> = Acceleration::new();

fn main() {
    println!("{ACCELERATION:?}");
}
