//! Text that goes on and on: whatever was pushed, the logits are those of the tokens that are said to be read.

mod naive;

use attractor::simd::Backend;
use attractor_language::Config;
use attractor_language::generate::{Continued, Generator};
use attractor_language::pass::{Model, PassError};

#[test]
fn a_full_context_goes_on_with_its_newer_half() {
    for context in [1, 2, 3, 5, 8] {
        let config = Config { vocabulary: 13, ..Config::new(8, 2, 2, context) };
        let parameters = naive::natural(&config, 9);
        let wide: Vec<f64> = parameters.iter().map(|x| f64::from(*x)).collect();
        let model = Model::new(config, &parameters).unwrap();
        for length in [1, context, context + 2] {
            let mut prompt: Vec<u32> = (0..length as u32).map(|i| i * 5 % 13).collect();
            let mut room = vec![f32::NAN; Generator::room(&config, 2, 2)];
            let generator = Generator::new(Backend::best(), model, 2, 2, &mut room).unwrap();
            let mut newest = vec![99; context + 3];
            let mut text = Continued::new(generator, &prompt, &mut newest).unwrap();
            prompt.drain(..length.saturating_sub(context));
            let mut window = prompt;
            for next in 0..3 * context as u32 + 2 {
                let found = text.logits().unwrap();
                let right = naive::logits(&config, &wide, &window, 2).pop().unwrap();
                for (found, right) in found.iter().zip(&right) {
                    assert!((f64::from(*found) - right).abs() < 1e-4, "{context} {length} {next}");
                }
                let token = next * next % 13;
                text.push(token);
                window.push(token);
                if window.len() > context {
                    window.drain(..window.len() - (context / 2).max(1));
                }
            }
        }
    }
}

#[test]
fn a_text_needs_a_prompt_and_room() {
    let config = Config { vocabulary: 5, ..Config::new(8, 2, 2, 4) };
    let parameters = vec![0.0; config.parameters()];
    let mut room = vec![0.0; Generator::room(&config, 1, 1)];
    let mut begin = |prompt: &[u32], tokens: &mut [u32]| {
        let model = Model::new(config, &parameters).unwrap();
        let generator = Generator::new(Backend::best(), model, 1, 1, &mut room).unwrap();
        Continued::new(generator, prompt, tokens).map(|mut text| {
            let first = text.logits().map(<[f32]>::len);
            // The next token is to be pushed before there are other logits.
            (first, text.logits().map(<[f32]>::len))
        })
    };
    let none = PassError::Tokens { found: 0, most: 4 };
    assert_eq!(begin(&[], &mut [0; 4]), Err(none));
    assert_eq!(begin(&[1], &mut [0; 3]), Err(PassError::Length { what: "tokens", expected: 4, found: 3 }));
    assert_eq!(begin(&[1], &mut [0; 4]), Ok((Ok(5), Err(PassError::Tokens { found: 0, most: 3 }))));
    assert_eq!(begin(&[7], &mut [0; 4]).unwrap().0, Err(PassError::Token { token: 7, vocabulary: 5 }));
}
