use attractor::fnn;

type Large = fnn![64, 48, 32, 10];
type Small = fnn![64, 32, 10];

fn main() {
    let (large, state) = (Large::ZERO, Large::state());
    let mut small = Small::ZERO;
    let _ = large.prune(&state, &state, &mut small);
}
