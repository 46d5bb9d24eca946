//! Logits and gradients against plain loops and central differences in `f64`.

mod naive;

use attractor::Stop;
use attractor::simd::Backend;
use attractor::solve::{Map, Solver, Transposed};
use attractor_language::generate::Generator;
use attractor_language::pass::{IGNORED, Model, PassError, Sequences, Sweeps, Teacher, room};
use attractor_language::{Config, ConfigError};
use naive::{Noise, Rows};

/// Shapes: blocks, heads, causal or not, feedback or not, sequences, their length.
fn cases() -> Vec<(Config, usize, usize)> {
    let config = |blocks, heads, causal, feedback| Config {
        vocabulary: 11,
        context: 9,
        width: 6,
        heads,
        blocks,
        feedback,
        causal,
        tied: false,
        places: true,
        window: 0,
    };
    let tied = |config| Config { tied: true, ..config };
    let near = |window, config| Config { window, places: false, ..config };
    vec![
        (config(1, 1, true, true), 1, 1),
        (config(1, 2, false, true), 2, 9),
        (config(2, 3, true, true), 3, 7),
        (config(2, 1, false, true), 1, 9),
        (config(3, 2, true, true), 2, 9),
        (config(3, 6, false, true), 2, 5),
        (config(3, 2, true, false), 3, 9),
        (tied(config(3, 2, true, true)), 2, 5),
        (tied(config(2, 1, false, true)), 1, 9),
        (tied(config(3, 3, true, false)), 1, 7),
        (tied(config(1, 2, true, true)), 1, 4),
        (near(2, config(2, 3, true, true)), 2, 9),
        (near(1, tied(config(2, 1, true, true))), 1, 5),
        (Config { window: 4, ..config(3, 2, true, false) }, 1, 9),
        (Config { places: false, ..config(2, 2, false, true) }, 2, 6),
    ]
}

fn drawn(config: &Config, count: usize, noise: &mut Noise) -> (Vec<u32>, Vec<u32>) {
    let token = |noise: &mut Noise| noise.below(config.vocabulary) as u32;
    let tokens = (0..count).map(|_| token(noise)).collect();
    // Some are not counted, but for the first.
    let target = |i, noise: &mut Noise| if i > 0 && noise.next() > 0.4 { IGNORED } else { token(noise) };
    (tokens, (0..count).map(|i| target(i, noise)).collect())
}

#[test]
fn logits_and_losses_are_those_of_plain_loops() {
    for (config, sequences, length) in cases() {
        let all = naive::parameters(&config, 0.4, 3);
        let small: Vec<f32> = all.iter().map(|x| *x as f32).collect();
        let mut noise = Noise::new(5);
        let (tokens, targets) = drawn(&config, sequences * length, &mut noise);
        for sweeps in 1..=3 {
            let of = &tokens[..length];
            let right = naive::logits(&config, &all, of, sweeps);
            let total = naive::loss(&config, &all, length, &tokens, &targets, sweeps);
            for backend in Backend::available() {
                let model = Model::new(config, &small).unwrap();
                let mut memory = vec![f32::NAN; room(&config, sequences, length, 0)];
                let mut logits = vec![f32::NAN; length * config.vocabulary];
                let some = Sweeps::Unrolled(sweeps);
                assert_eq!(model.logits(backend, of, some, &mut memory, &mut logits), Ok(sweeps));
                for (t, row) in right.iter().enumerate() {
                    for (v, right) in row.iter().enumerate() {
                        let found = f64::from(logits[v * length + t]);
                        assert!(
                            (found - right).abs() < 2e-5,
                            "{config}, {sweeps} sweeps: {found}, not {right}"
                        );
                    }
                }
                let of = Sequences { length, tokens: &tokens, targets: &targets };
                let (loss, counted) = model.loss(backend, of, some, &mut memory).unwrap();
                assert!((f64::from(loss) - total).abs() < 1e-5 * total, "{loss}, not {total}");
                assert_eq!(counted, targets.iter().filter(|t| **t != IGNORED).count());
            }
        }
    }
}

/// Compares entries of every tensor with central differences of `loss`.
fn compare(config: &Config, all: &[f64], gradient: &[f64], bound: f64, loss: impl Fn(&[f64]) -> f64) {
    let step = 1e-5;
    let mut noise = Noise::new(17);
    config.tensors(|name, _, place| {
        for _ in 0..3 {
            let at = place.start + noise.below(place.len());
            let mut moved = all.to_vec();
            moved[at] = all[at] + step;
            let above = loss(&moved);
            moved[at] = all[at] - step;
            let right = (above - loss(&moved)) / (2.0 * step);
            let found = gradient[at];
            let off = (found - right).abs();
            assert!(off < bound * (1.0 + right.abs()), "{config}, {name}, entry {at}: {found}, not {right}");
        }
    });
}

#[test]
fn gradients_through_all_sweeps_are_exact() {
    for (config, sequences, length) in cases() {
        let all = naive::parameters(&config, 0.4, 8);
        let mut noise = Noise::new(9);
        let (tokens, targets) = drawn(&config, sequences * length, &mut noise);
        for sweeps in 1..=3 {
            let backend = if sweeps == 2 { Backend::portable() } else { Backend::best() };
            let model = Model::new(config, &all).unwrap();
            let mut memory = vec![f64::NAN; room(&config, sequences, length, sweeps)];
            let mut gradient = vec![0.0; all.len()];
            let of = Sequences { length, tokens: &tokens, targets: &targets };
            model.gradient(backend, of, Sweeps::Unrolled(sweeps), 0.25, &mut memory, &mut gradient).unwrap();
            compare(&config, &all, &gradient, 1e-7, |all| {
                0.25 * naive::loss(&config, all, length, &tokens, &targets, sweeps)
            });
            // What was there before is added to.
            let once = gradient.clone();
            model.gradient(backend, of, Sweeps::Unrolled(sweeps), 0.25, &mut memory, &mut gradient).unwrap();
            assert!(once.iter().zip(&gradient).all(|(once, twice)| (twice - 2.0 * once).abs() < 1e-12));
        }
    }
}

/// A loss after every sweep, each with targets of its own, and one that has none.
#[test]
fn gradients_of_losses_after_every_sweep_are_exact() {
    for (config, sequences, length) in cases() {
        let all = naive::parameters(&config, 0.4, 18);
        let small: Vec<f32> = all.iter().map(|x| *x as f32).collect();
        let mut noise = Noise::new(19);
        let (tokens, _) = drawn(&config, sequences * length, &mut noise);
        for sweeps in 1..=3 {
            let (_, mut targets) = drawn(&config, sequences * sweeps * length, &mut noise);
            if sweeps == 3 {
                let second = targets.chunks_exact_mut(length).skip(1).step_by(3);
                second.for_each(|targets| targets.fill(IGNORED));
            }
            let loss = |all: &[f64]| -> f64 {
                let each = tokens.chunks_exact(length).zip(targets.chunks_exact(sweeps * length));
                each.map(|(tokens, targets)| {
                    let after = targets.chunks_exact(length).enumerate();
                    after
                        .map(|(sweep, targets)| {
                            naive::loss_of(&naive::logits(&config, all, tokens, sweep + 1), targets)
                        })
                        .sum::<f64>()
                })
                .sum()
            };
            let counted = targets.iter().filter(|target| **target != IGNORED).count();
            let of = Sequences { length, tokens: &tokens, targets: &targets };
            let some = Sweeps::Supervised(sweeps);
            let model = Model::new(config, &all).unwrap();
            let mut memory = vec![f64::NAN; room(&config, sequences, length, sweeps)];
            let mut gradient = vec![0.0; all.len()];
            let found = model.gradient(Backend::best(), of, some, 0.25, &mut memory, &mut gradient).unwrap();
            assert!((found.0 - loss(&all)).abs() < 1e-9, "{config}: {}, not {}", found.0, loss(&all));
            assert_eq!(found.1, counted);
            compare(&config, &all, &gradient, 1e-6, |all| 0.25 * loss(all));
            let model = Model::new(config, &small).unwrap();
            let mut memory = vec![f32::NAN; room(&config, sequences, length, 0)];
            let found = model.loss(Backend::best(), of, some, &mut memory).unwrap();
            assert!((f64::from(found.0) - loss(&all)).abs() < 1e-5 * loss(&all));
            assert_eq!(found.1, counted);
            let short = Sequences { targets: &targets[1..], ..of };
            let (expected, found) = (targets.len(), targets.len() - 1);
            assert_eq!(
                model.loss(Backend::best(), short, some, &mut memory),
                Err(PassError::Length { what: "targets", expected, found })
            );
        }
    }
}

/// Of a share of the text its teacher's probabilities are in the place, after every sweep that has a loss.
#[test]
fn gradients_of_what_is_taught_are_exact() {
    let share = 0.7;
    for (config, sequences, length) in cases() {
        let other = Config { width: 4, heads: 2, blocks: 2, tied: false, feedback: true, ..config };
        let (all, of_teacher) = (naive::parameters(&config, 0.4, 28), naive::parameters(&other, 0.5, 29));
        let mut noise = Noise::new(30);
        for supervised in [false, true] {
            let losses = if supervised { 2 } else { 1 };
            let (tokens, _) = drawn(&config, sequences * length, &mut noise);
            let (_, targets) = drawn(&config, sequences * length * losses, &mut noise);
            let entropy = |logits: &Rows, answers: &Rows, targets: &[u32]| -> f64 {
                let one = |((logits, answers), target): ((&Vec<f64>, &Vec<f64>), &u32)| {
                    let sum: f64 = answers.iter().map(|x| x.exp()).sum();
                    let of = |token: usize| naive::loss_of(&vec![logits.clone()], &[token as u32]);
                    let taught: f64 = (0..answers.len()).map(|v| answers[v].exp() / sum * of(v)).sum();
                    (1.0 - share) * of(*target as usize) + share * taught
                };
                let rows = logits.iter().zip(answers).zip(targets);
                rows.filter(|(_, target)| **target != IGNORED).map(one).sum()
            };
            let loss = |all: &[f64]| -> f64 {
                let each = tokens.chunks_exact(length).zip(targets.chunks_exact(losses * length));
                each.map(|(tokens, targets)| {
                    let answers = naive::logits(&other, &of_teacher, tokens, 3);
                    let after = targets.chunks_exact(length).enumerate();
                    let sweeps = |sweep: usize| if supervised { sweep + 1 } else { 2 };
                    after
                        .map(|(sweep, targets)| {
                            entropy(&naive::logits(&config, all, tokens, sweeps(sweep)), &answers, targets)
                        })
                        .sum::<f64>()
                })
                .sum()
            };
            let sweeps = if supervised { Sweeps::Supervised(2) } else { Sweeps::Unrolled(2) };
            let of = Sequences { length, tokens: &tokens, targets: &targets };
            let model = Model::new(config, &all).unwrap();
            let mut memory = vec![f64::NAN; room(&config, sequences, length, 2)];
            let mut others = vec![f64::NAN; room(&other, sequences, length, 0)];
            let mut teacher = Teacher {
                model: Model::new(other, &of_teacher).unwrap(),
                sweeps: Sweeps::Unrolled(3),
                share,
                room: &mut others,
            };
            let mut gradient = vec![0.0; all.len()];
            let backend = Backend::best();
            model
                .gradient_taught(backend, of, sweeps, 0.25, Some(&mut teacher), &mut memory, &mut gradient)
                .unwrap();
            compare(&config, &all, &gradient, 1e-6, |all| 0.25 * loss(all));
            teacher.share = 1.5;
            let kept = gradient.clone();
            assert_eq!(
                model.gradient_taught(
                    backend,
                    of,
                    sweeps,
                    0.25,
                    Some(&mut teacher),
                    &mut memory,
                    &mut gradient
                ),
                Err(PassError::Share { found: 1.5 })
            );
            assert!(gradient == kept);
        }
    }
}

/// Sweeps after which nothing changes any more, with gates that let them settle.
const SETTLED: usize = 30;

/// Parameters with such gates.
fn settling(config: &Config, seed: u64) -> Vec<f64> {
    let mut all = naive::parameters(config, 0.25, seed);
    for at in (0..config.blocks).filter_map(|block| config.feedback_of(block)) {
        all[at.gate].iter_mut().for_each(|gate| *gate *= 0.3);
    }
    all
}

#[test]
fn gradients_at_fixed_points_are_exact_and_those_of_one_step_are_its() {
    for (config, sequences, length) in cases() {
        let all = settling(&config, 21);
        let mut noise = Noise::new(23);
        let (tokens, targets) = drawn(&config, sequences * length, &mut noise);
        let model = Model::new(config, &all).unwrap();
        let of = Sequences { length, tokens: &tokens, targets: &targets };
        let mut memory = vec![f64::NAN; room(&config, sequences, length, 1)];
        let mut gradient = vec![0.0; all.len()];
        let sweeps = Sweeps::Settled { tolerance: 1e-12, most: 200 };
        let (loss, _) = model.gradient(Backend::best(), of, sweeps, 1.0, &mut memory, &mut gradient).unwrap();
        let right = naive::loss(&config, &all, length, &tokens, &targets, SETTLED);
        assert!((loss - right).abs() < 1e-9 * right);
        compare(&config, &all, &gradient, 1e-6, |all| {
            naive::loss(&config, all, length, &tokens, &targets, SETTLED)
        });

        // What is fed back is held where it settled.
        let mut gradient = vec![0.0; all.len()];
        let sweeps = Sweeps::OneStep { tolerance: 1e-12, most: 200 };
        model.gradient(Backend::best(), of, sweeps, 1.0, &mut memory, &mut gradient).unwrap();
        let held: Vec<_> =
            tokens.chunks_exact(length).map(|tokens| naive::states(&config, &all, tokens, SETTLED)).collect();
        compare(&config, &all, &gradient, 1e-6, |all| {
            let each = tokens.chunks_exact(length).zip(targets.chunks_exact(length)).zip(&held);
            each.map(|((tokens, targets), held)| {
                let embedded = naive::embedded(&config, all, tokens);
                let states = naive::sweep(&config, all, &embedded, Some(held));
                naive::loss_of(&naive::logits_of(&config, all, states.last().unwrap()), targets)
            })
            .sum()
        });
    }
}

/// States of all blocks but the first, as a map has them: of all sequences, column after column.
fn flat(config: &Config, sequences: &[Vec<Rows>]) -> Vec<f64> {
    let mut all = Vec::new();
    for block in 1..config.blocks {
        for feature in 0..config.width {
            all.extend(sequences.iter().flat_map(|states| states[block].iter().map(|row| row[feature])));
        }
    }
    all
}

/// The same the other way round; the first block has none.
fn unflat(config: &Config, flat: &[f64], count: usize, length: usize) -> Vec<Vec<Rows>> {
    let at = |sequence: usize, block: usize, row: usize, feature: usize| {
        flat[((block - 1) * config.width + feature) * count * length + sequence * length + row]
    };
    let rows = |sequence, block| -> Rows {
        (0..length).map(|row| (0..config.width).map(|f| at(sequence, block, row, f)).collect()).collect()
    };
    let states =
        |sequence| (0..config.blocks).map(|b| if b == 0 { Vec::new() } else { rows(sequence, b) }).collect();
    (0..count).map(states).collect()
}

#[test]
fn solvers_of_the_core_find_the_fixed_point_and_its_adjoint() {
    for (config, sequences, length) in cases().into_iter().filter(|(config, ..)| config.blocks > 1) {
        let all = settling(&config, 41);
        let mut noise = Noise::new(42);
        let (tokens, _) = drawn(&config, sequences * length, &mut noise);
        let swept = |before: Option<&[Vec<Rows>]>| -> Vec<Vec<Rows>> {
            let each = tokens.chunks_exact(length).enumerate();
            each.map(|(s, tokens)| {
                let embedded = naive::embedded(&config, &all, tokens);
                naive::sweep(&config, &all, &embedded, before.map(|before| &before[s][..]))
            })
            .collect()
        };
        let close = |found: &[f64], right: &[f64], bound: f64| {
            assert_eq!(found.len(), right.len());
            for (found, right) in found.iter().zip(right) {
                assert!((found - right).abs() < bound, "{config}: {found}, not {right}");
            }
        };

        let model = Model::new(config, &all).unwrap();
        let mut memory = vec![f64::NAN; room(&config, sequences, length, 1)];
        let map = model.map(Backend::best(), &tokens, length, &mut memory).unwrap();
        let mut states = vec![f64::NAN; map.size()];
        map.start(&mut states).unwrap();
        close(&states, &flat(&config, &swept(None)), 1e-12);

        // J^T d where nothing has settled yet, by central differences of plain loops.
        let deltas: Vec<f64> = states.iter().map(|_| noise.next()).collect();
        let mut sent = vec![f64::NAN; states.len()];
        map.apply_transposed(&states, &deltas, &mut sent);
        for _ in 0..20.min(states.len()) {
            let at = noise.below(states.len());
            let along = |step: f64| {
                let mut moved = states.clone();
                moved[at] += step;
                let next = flat(&config, &swept(Some(&unflat(&config, &moved, sequences, length))));
                next.iter().zip(&deltas).map(|(f, d)| f * d).sum::<f64>()
            };
            let right = (along(1e-5) - along(-1e-5)) / 2e-5;
            assert!((sent[at] - right).abs() < 1e-7, "{config}: {}, not {right}", sent[at]);
        }

        for solver in [Solver::anderson(3), Solver::broyden(8)] {
            map.start(&mut states).unwrap();
            let mut history = vec![f64::NAN; solver.room(map.units(), 1)];
            let solved = solver.solve(&map, &mut states, Stop::residual(1e-11).at_most(200), &mut history);
            assert!(solved.unwrap().residual <= 1e-11);
            let settled: Vec<_> = tokens
                .chunks_exact(length)
                .map(|tokens| naive::states(&config, &all, tokens, SETTLED))
                .collect();
            close(&states, &flat(&config, &settled), 1e-9);
            let mut logits = vec![f64::NAN; sequences * length * config.vocabulary];
            map.logits(&states, &mut logits).unwrap();
            let rows: Rows = settled
                .iter()
                .flat_map(|states| naive::logits_of(&config, &all, states.last().unwrap()))
                .collect();
            let right: Vec<f64> =
                (0..config.vocabulary).flat_map(|v| rows.iter().map(move |row| row[v])).collect();
            close(&logits, &right, 1e-8);
            assert!(map.logits(&states, &mut logits[1..]).is_err());
        }
    }
}

#[test]
fn what_does_not_settle_is_an_error_and_gives_no_gradient() {
    let (config, sequences, length) = cases()[4];
    let all = naive::parameters(&config, 3.0, 2);
    let (tokens, targets) = drawn(&config, sequences * length, &mut Noise::new(4));
    let model = Model::new(config, &all).unwrap();
    let mut memory = vec![0.0; room(&config, sequences, length, 1)];
    let mut gradient = vec![7.0; all.len()];
    let of = Sequences { length, tokens: &tokens, targets: &targets };
    let sweeps = Sweeps::Settled { tolerance: 1e-12, most: 5 };
    let error = model.gradient(Backend::best(), of, sweeps, 1.0, &mut memory, &mut gradient);
    assert!(
        matches!(error, Err(PassError::NotConverged { sweeps: 5, residual }) if residual > 1e-12),
        "{error:?}"
    );
    assert!(gradient.iter().all(|x| *x == 7.0));
}

#[test]
fn tokens_one_by_one_have_the_logits_of_whole_sequences() {
    for (config, _, _) in cases().into_iter().filter(|(config, ..)| config.causal) {
        let all = naive::parameters(&config, 0.4, 31);
        let small: Vec<f32> = all.iter().map(|x| *x as f32).collect();
        let (tokens, _) = drawn(&config, config.context, &mut Noise::new(32));
        for sweeps in 1..=3 {
            let right = naive::logits(&config, &all, &tokens, sweeps);
            for together in 1..=4 {
                let mut memory = vec![f32::NAN; Generator::room(&config, sweeps, together)];
                let model = Model::new(config, &small).unwrap();
                assert_eq!(
                    Generator::new(Backend::best(), model, sweeps, 0, &mut memory).unwrap_err(),
                    PassError::Tokens { found: 0, most: config.context }
                );
                let mut generator =
                    Generator::new(Backend::best(), model, sweeps, together, &mut memory).unwrap();
                // Some at once, then each on its own; and all of it once more.
                for _ in 0..2 {
                    let mut read = 0;
                    for count in [1, 2, 3, 1, 1, 1] {
                        let found = generator.read(&tokens[read..read + count]).unwrap();
                        read += count;
                        for (found, right) in found.iter().zip(&right[read - 1]) {
                            let error = (f64::from(*found) - right).abs();
                            assert!(error < 2e-5, "{config}, {together} at a time: {found}, not {right}");
                        }
                    }
                    assert_eq!(generator.len(), 9);
                    assert_eq!(generator.read(&[0]), Err(PassError::Tokens { found: 1, most: 0 }));
                    generator.clear();
                }
            }
        }
    }
}

#[test]
fn wrong_input_is_refused_and_changes_nothing() {
    let (config, sequences, length) = cases()[2];
    let all = naive::parameters(&config, 0.4, 1);
    assert_eq!(
        Model::new(config, &all[1..]).unwrap_err(),
        PassError::Length { what: "parameters", expected: all.len(), found: all.len() - 1 }
    );
    let odd = Config { heads: 4, ..config };
    assert_eq!(odd.check(), Err(ConfigError::Heads { width: 6, heads: 4 }));
    for wrong in [
        Config { blocks: 0, ..config },
        Config { heads: 0, ..config },
        Config { width: 0, ..config },
        Config { context: 0, ..config },
        Config { vocabulary: 1, ..config },
        Config { width: usize::MAX, ..config },
        Config { blocks: usize::MAX, ..config },
    ] {
        assert!(matches!(wrong.check(), Err(ConfigError::Range { .. })), "{wrong}");
        assert!(Model::<f64>::new(wrong, &[]).is_err());
    }
    let model = Model::new(config, &all).unwrap();
    let (tokens, targets) = drawn(&config, sequences * length, &mut Noise::new(1));
    let mut memory = vec![0.0; room(&config, sequences, length, 2)];
    let size = memory.len();
    let mut gradient = vec![7.0; all.len()];
    let mut refused =
        |tokens: &[u32], targets: &[u32], length, sweeps, share_of_room: usize, what: PassError| {
            let of = Sequences { length, tokens, targets };
            let found =
                model.gradient(Backend::best(), of, sweeps, 1.0, &mut memory[..share_of_room], &mut gradient);
            assert_eq!(found, Err(what));
            assert!(gradient.iter().all(|x| *x == 7.0));
        };
    let two = Sweeps::Unrolled(2);
    let unknown = [11; 21];
    refused(&tokens, &targets, length, Sweeps::Unrolled(0), size, PassError::NoSweep);
    refused(&tokens, &targets, 0, two, size, PassError::Tokens { found: 0, most: 9 });
    refused(&tokens, &targets, 10, two, size, PassError::Tokens { found: 10, most: 9 });
    refused(&[], &[], 3, two, size, PassError::Length { what: "tokens", expected: 3, found: 0 });
    refused(
        &tokens[1..],
        &targets[1..],
        length,
        two,
        size,
        PassError::Length { what: "tokens", expected: 21, found: 20 },
    );
    refused(
        &tokens,
        &targets[1..],
        length,
        two,
        size,
        PassError::Length { what: "targets", expected: 21, found: 20 },
    );
    refused(&unknown, &targets, length, two, size, PassError::Token { token: 11, vocabulary: 11 });
    refused(&tokens, &unknown, length, two, size, PassError::Token { token: 11, vocabulary: 11 });
    refused(&tokens, &[IGNORED; 21], length, two, size, PassError::NoTarget);
    refused(
        &tokens,
        &targets,
        length,
        two,
        size - 1,
        PassError::Length { what: "room", expected: size, found: size - 1 },
    );
    let mut broken = all.clone();
    broken[config.wte().start + tokens[0] as usize * config.width] = f64::NAN;
    let model = Model::new(config, &broken).unwrap();
    let of = Sequences { length, tokens: &tokens, targets: &targets };
    let found = model.gradient(Backend::best(), of, two, 1.0, &mut memory, &mut gradient);
    assert_eq!(found, Err(PassError::NotFinite));
    assert!(gradient.iter().all(|x| *x == 7.0));
}
