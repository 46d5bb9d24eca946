use attractor::fnn;

type Net = fnn![64, 48, 10];

fn main() {
    let net = Net::boxed();
    let _ = net.layer::<3>();
}
