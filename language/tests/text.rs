//! Batches of a text.

use attractor_language::pass::IGNORED;
use attractor_language::text::{Batches, MASK, Random, Task, Text, TextError};
use std::collections::BTreeMap;

/// Bytes that say where they are: no two windows of 4 are equal.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| if i % 2 == 0 { (i / 2 % 251) as u8 + 1 } else { (i / 502) as u8 + 1 }).collect()
}

#[test]
fn the_last_tenth_is_held_out() {
    for (count, learnt) in [(1, 1), (9, 9), (10, 9), (19, 18), (1000, 900), (1009, 909)] {
        let text = Text::new(bytes(count)).unwrap();
        assert_eq!((text.training().len(), text.held_out().len()), (learnt, count - learnt));
        assert_eq!([text.training(), text.held_out()].concat(), bytes(count));
        assert_eq!(text.bytes(), bytes(count));
    }
}

#[test]
fn short_texts_are_refused_with_both_numbers() {
    assert!(matches!(Text::new(Vec::new()), Err(TextError::Empty)));
    let message =
        |count: usize, context| Text::new(bytes(count)).unwrap().check(context).unwrap_err().to_string();
    assert_eq!(message(10, 9), "the text before the held-out tenth has 9 bytes, and a context of 9 needs 10");
    assert_eq!(message(99, 9), "the held-out tenth has 9 bytes, and a context of 9 needs 10");
    assert!(Text::new(bytes(100)).unwrap().check(9).is_ok());
    let mut batches = Batches::new(2, 9);
    let before = batches.clone();
    let error = batches.draw(&bytes(9), Task::Next, &mut Random::new(1)).unwrap_err();
    assert!(matches!(error, TextError::TooShort { bytes: 9, context: 9, .. }), "{error}");
    assert!(batches.take(&bytes(9), Task::Masked, 0..1).is_err());
    assert_eq!(batches, before);
    batches.draw(&bytes(10), Task::Next, &mut Random::new(1)).unwrap();
    assert_eq!(batches.tokens()[..9], bytes(9).into_iter().map(u32::from).collect::<Vec<_>>());
}

/// After any number of draws of any kind.
#[test]
fn random_numbers_go_on_from_their_state() {
    let mut random = Random::new(0x0123_4567_89ab_cdef);
    for round in 0..200 {
        let mut other = Random::from_state(random.state());
        assert_eq!(random.state(), other.state());
        let mut ahead = random.clone();
        for _ in 0..3 {
            assert_eq!(ahead.unit().to_bits(), other.unit().to_bits(), "{round}");
            assert_eq!(ahead.below(1000), other.below(1000), "{round}");
        }
        if round % 3 == 0 {
            random.below(7);
        }
        random.unit();
    }
    assert_eq!(random.state()[..8], 0x0123_4567_89ab_cdef_u64.to_le_bytes());
    assert_ne!(Random::new(1).unit(), Random::new(2).unit());
}

#[test]
fn random_numbers_are_evenly_spread() {
    let mut random = Random::new(3);
    let mut counts = [0_u32; 10];
    let mut sum = 0.0;
    for _ in 0..100_000 {
        counts[random.below(10)] += 1;
        let unit = random.unit();
        assert!((0.0..1.0).contains(&unit));
        sum += unit;
    }
    // Five standard deviations.
    assert!(counts.iter().all(|count| count.abs_diff(10_000) < 475), "{counts:?}");
    assert!((sum / 1e5 - 0.5).abs() < 0.0046);
    assert_eq!(random.below(1), 0);
    assert_eq!(random.below(0), 0);
}

#[test]
fn next_bytes_are_drawn_from_everywhere() {
    const LENGTH: usize = 8;
    let text = bytes(40);
    let place: BTreeMap<&[u8], usize> =
        text.windows(LENGTH + 1).enumerate().map(|(at, window)| (window, at)).collect();
    let mut counts = [0_u32; 40 - LENGTH];
    let (mut batches, mut random) = (Batches::new(5, LENGTH), Random::new(4));
    for _ in 0..2000 {
        batches.draw(&text, Task::Next, &mut random).unwrap();
        for (tokens, targets) in batches.tokens().chunks(LENGTH).zip(batches.targets().chunks(LENGTH)) {
            let mut window: Vec<u8> = tokens.iter().map(|token| *token as u8).collect();
            window.push(targets[LENGTH - 1] as u8);
            assert_eq!(tokens[1..], targets[..LENGTH - 1]);
            counts[place[&window[..]]] += 1;
        }
    }
    // 312 each, five standard deviations of it; the first and the last place too.
    assert!(counts.iter().all(|count| count.abs_diff(312) < 90), "{counts:?}");
}

#[test]
fn drawing_depends_on_the_random_state_only() {
    let text = bytes(500);
    for task in [Task::Next, Task::Masked] {
        let (mut one, mut other) = (Batches::new(3, 16), Batches::new(3, 16));
        let mut random = Random::new(5);
        one.draw(&text, task, &mut random).unwrap();
        let mut again = Random::from_state(random.state());
        one.draw(&text, task, &mut random).unwrap();
        other.draw(&text, task, &mut again).unwrap();
        assert_eq!(one, other);
        one.draw(&text, task, &mut random).unwrap();
        assert_ne!(one, other);
    }
}

#[test]
fn masks_are_as_often_as_they_should_be() {
    const LENGTH: usize = 64;
    // No 0 among them, so a mask shows.
    let text = bytes(5000);
    let (mut batches, mut random) = (Batches::new(10, LENGTH), Random::new(6));
    let (mut all, mut hidden, mut replaced, mut kept, mut other) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for _ in 0..300 {
        batches.draw(&text, Task::Masked, &mut random).unwrap();
        for (tokens, targets) in batches.tokens().chunks(LENGTH).zip(batches.targets().chunks(LENGTH)) {
            assert!(targets.iter().any(|target| *target != IGNORED));
            let original: Vec<u8> = tokens
                .iter()
                .zip(targets)
                .map(|(token, target)| if *target == IGNORED { *token } else { *target } as u8)
                .collect();
            assert!(text.windows(LENGTH).any(|window| window == original));
        }
        for (token, target) in batches.tokens().iter().zip(batches.targets()) {
            all += 1.0;
            if *target != IGNORED {
                hidden += 1.0;
                let kind = match *token {
                    MASK => &mut replaced,
                    token if token == *target => &mut kept,
                    _ => &mut other,
                };
                *kind += 1.0;
            }
        }
    }
    // Of 192,000 and 28,800; a random byte is a mask or the byte itself once in 256 each.
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 0.01, "{found} {expected}");
    close(hidden / all, 0.15);
    close(replaced / hidden, 0.8 + 0.1 / 256.0);
    close(kept / hidden, 0.1 + 0.1 / 256.0);
    close(other / hidden, 0.1 * 254.0 / 256.0);
}

/// However short: of one byte it is that one.
#[test]
fn something_is_masked_in_every_sequence() {
    let mut batches = Batches::new(4, 1);
    let mut random = Random::new(7);
    for _ in 0..50 {
        batches.draw(&bytes(30), Task::Masked, &mut random).unwrap();
        assert!(batches.targets().iter().all(|target| *target != IGNORED));
    }
}

#[test]
fn windows_predict_every_byte_once() {
    const LENGTH: usize = 7;
    for (count, overlap) in [8, 14, 15, 16, 50].into_iter().flat_map(|n| [0, 1, 3, 6, 9].map(|o| (n, o))) {
        let text = bytes(count);
        let mut batches = Batches::new(3, LENGTH).overlapping(overlap);
        // At most all but one.
        let overlap = overlap.min(LENGTH - 1);
        let windows = batches.windows(&text, Task::Next);
        let mut found = Vec::new();
        for start in (0..windows).step_by(3) {
            batches.take(&text, Task::Next, start..(start + 3).min(windows)).unwrap();
            for (i, target) in batches.targets().iter().enumerate() {
                if *target != IGNORED {
                    // What is seen are the bytes before it: as many as overlap, and all behind the start.
                    let seen = i % LENGTH + 1;
                    assert!(seen > overlap || found.len() < LENGTH);
                    let before = &text[found.len() + 1 - seen..=found.len()];
                    let tokens = &batches.tokens()[i + 1 - seen..=i];
                    assert!(tokens.iter().zip(before).all(|(token, byte)| *token == u32::from(*byte)));
                    found.push(*target as u8);
                }
            }
        }
        assert_eq!(found, text[1..], "{count} {overlap}");
    }
    // As many windows as it takes, and no more.
    let windows = |overlap, count| Batches::new(1, 4).overlapping(overlap).windows(&bytes(count), Task::Next);
    assert_eq!([0, 1, 5, 6, 9, 10].map(|count| windows(0, count)), [0, 0, 1, 2, 2, 3]);
    assert_eq!([0, 1, 5, 6, 7, 8].map(|count| windows(2, count)), [0, 0, 1, 2, 2, 3]);
    // Masked: whole windows, and the same masks each time, whatever the batch.
    let text = bytes(50);
    let (mut one, mut three) = (Batches::new(1, LENGTH), Batches::new(3, LENGTH).overlapping(2));
    assert_eq!(one.windows(&text, Task::Masked), 7);
    three.take(&text, Task::Masked, 2..5).unwrap();
    for window in 2..5 {
        one.take(&text, Task::Masked, window..window + 1).unwrap();
        let place = (window - 2) * LENGTH..(window - 1) * LENGTH;
        assert_eq!(one.tokens(), &three.tokens()[place.clone()]);
        assert_eq!(one.targets(), &three.targets()[place]);
    }
}
