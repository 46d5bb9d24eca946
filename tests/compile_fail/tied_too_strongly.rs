use attractor::{State, Tied, fnn};

type Net = fnn![64, 48, 10; feedback = Tied<101>];

static STATE: State<Net> = Net::state();

fn main() {
    assert!(STATE.as_slice().is_empty());
}
