use attractor::{State, fnn};

type Net = fnn![64, 48, 10];

static STATE: State<Net, 0> = Net::state();

fn main() {
    assert!(STATE.as_slice().is_empty());
}
