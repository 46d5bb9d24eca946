use attractor::{Align64, fnn};

type Net = fnn![64, 48, 10];

static NET: Align64<Net> = Align64(Net::from_le_bytes(&[0; 15_000]));

fn main() {
    assert_eq!(NET.params().len(), Net::PARAMS);
}
