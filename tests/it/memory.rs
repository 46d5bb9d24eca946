//! `Network::MEMORY` against the sizes the compiler gives.

use attractor::kernel::{Identity, Relu, Sigmoid, Tanh};
use attractor::learn::{Adam, Descent, MeanSquared, Objective, Sgd, Trainer};
use attractor::network::NoMemory;
use attractor::{Dense, Feedforward, Injection, Memory, State, Workspace, fnn};

type Plain = fnn![16, 32, 16, 4];
type Awkward = fnn![17, 33, 1, 65, 3];
type Everywhere = fnn![3, 7, 5, 2; feedback = Dense, hidden = Tanh, output = Identity];
type Forward = fnn![1, 13, 1; feedback = Feedforward, hidden = Relu];
type Shallow = fnn![5, 3];
type Double = fnn![9, 11, 6; scalar = f64];
type DoubleEverywhere = fnn![4, 3, 7, 31, 5; feedback = Dense, hidden = Sigmoid, scalar = f64];

/// A description of the use, the bytes the compiler gives, and those `MEMORY` says.
type Sizes = Vec<(&'static str, usize, usize)>;

macro_rules! each_network {
    ($check:ident, $($batch:literal)*) => {$(
        $check!(Plain, f32, $batch);
        $check!(Awkward, f32, $batch);
        $check!(Everywhere, f32, $batch);
        $check!(Forward, f32, $batch);
        $check!(Shallow, f32, $batch);
        $check!(Double, f64, $batch);
        $check!(DoubleEverywhere, f64, $batch);
    )*};
}

#[test]
fn parts_have_the_sizes_said() {
    macro_rules! check {
        ($network:ident, $scalar:ty, $batch:literal) => {{
            let memory: Memory = $network::MEMORY;
            let (state, injection) =
                (size_of::<State<$network, $batch>>(), size_of::<Injection<$network, $batch>>());
            let sizes: Sizes = vec![
                // A gradient has the type of the network.
                ("parameters, gradient", size_of::<$network>(), memory.parameters()),
                ("parameters by number", $network::PARAMS * size_of::<$scalar>(), memory.parameters()),
                ("state", state, memory.state($batch)),
                ("injection", injection, memory.injection($batch)),
                ("workspace", size_of::<Workspace<$network, $batch>>(), memory.workspace($batch)),
                ("inference", state, memory.inference($batch)),
                ("stream", state + injection, memory.stream($batch)),
            ];
            for (what, found, said) in sizes {
                assert_eq!(found, said, "{what} of {}, batches of {}", stringify!($network), $batch);
            }
        }};
    }
    each_network!(check, 1 3 64);
}

/// Beside what `MEMORY` says there are settings: few, and as many whatever the network and the batch, but for the
/// padding to the alignment of the counters among them.
#[test]
fn learning_takes_what_is_said_and_a_few_settings() {
    const PADDING: usize = align_of::<u64>();
    let mut single: Vec<Sizes> = Vec::new();
    let mut double: Vec<Sizes> = Vec::new();
    macro_rules! check {
        ($network:ident, $scalar:ty, $batch:literal) => {{
            let memory: Memory = $network::MEMORY;
            macro_rules! trainer {
                ($optimizer:ty) => {{
                    type Whole = Trainer<$network, $optimizer, MeanSquared, $batch>;
                    assert_eq!(Whole::BYTES, size_of::<Whole>());
                    Whole::BYTES
                }};
            }
            type Plainly = Descent<$network, MeanSquared, $batch>;
            assert_eq!(Plainly::BYTES, size_of::<Plainly>());
            let sizes: Sizes = vec![
                ("descent", Plainly::BYTES, memory.descent($batch) + memory.holding()),
                ("sgd", trainer!(Sgd<NoMemory<$scalar>>), memory.sgd($batch) + memory.holding()),
                ("momentum", trainer!(Sgd<$network>), memory.momentum($batch) + memory.holding()),
                ("adam", trainer!(Adam<$network>), memory.adam($batch) + memory.holding()),
            ];
            if size_of::<$scalar>() == 4 { single.push(sizes) } else { double.push(sizes) }
        }};
    }
    each_network!(check, 1 3 64);
    for (all, scalar, objective) in [
        (single, size_of::<f32>(), size_of::<Objective<MeanSquared, f32>>()),
        (double, size_of::<f64>(), size_of::<Objective<MeanSquared, f64>>()),
    ] {
        // The objective is in all of them; of scalars and what else there is, no more than 24 scalars' worth.
        let limit = objective + 24 * scalar;
        for way in 0..4 {
            let settings: Vec<usize> = all
                .iter()
                .map(|sizes| {
                    let (what, whole, said) = sizes[way];
                    whole.checked_sub(said).unwrap_or_else(|| panic!("{what}: {whole} bytes, {said} said"))
                })
                .collect();
            let (what, ..) = all[0][way];
            let (least, most) = (*settings.iter().min().unwrap(), *settings.iter().max().unwrap());
            println!("{what}, scalars of {scalar} bytes: {least} to {most} bytes of settings");
            assert!(most - least < PADDING, "{what}: settings of {settings:?} bytes");
            assert!(
                (objective..=limit).contains(&least) && most <= limit,
                "{what}: {settings:?}, {objective}"
            );
        }
    }
}
