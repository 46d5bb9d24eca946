use attractor::{Acceleration, fnn};

fn main() {
    let _ = Acceleration::<fnn![4, 8, 2], 4>::new();
}
