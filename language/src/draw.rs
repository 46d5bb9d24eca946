//! Draws a token by its logits: temperature, top-k, top-p.

use core::cmp::Ordering;

/// How a token is drawn.
///
/// Of the logits divided by the temperature a softmax is made. Of it the `top_k` most likely tokens stay, and of these the fewest that have a
/// probability of `top_p` together (Holtzman et al. 2019); what stays is scaled to a sum of 1.
///
/// ```
/// use attractor_language::draw::{Choice, Draw};
/// let logits = [0.0, 2.0, 1.0];
/// let mut room = [Choice::EMPTY; 3];
/// let mut draw = Draw::new(1.0, 2, 1.0, &mut room);
/// // Of the tokens 1 and 2, in this order: e / (e + 1) = 0.731.
/// assert_eq!([0.0, 0.73, 0.74, 0.999].map(|unit| draw.token(&logits, unit)), [1, 1, 2, 2].map(Some));
/// ```
#[derive(Debug)]
pub struct Draw<'a> {
    temperature: f32,
    top_k: usize,
    top_p: f64,
    room: &'a mut [Choice],
}

/// A token that may be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    token: u32,
    logit: f32,
    weight: f64,
}

impl Choice {
    /// None: room for one.
    pub const EMPTY: Self = Self { token: 0, logit: 0.0, weight: 0.0 };
}

/// The more likely first, of equals the one of the smaller number.
fn order(a: &Choice, b: &Choice) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

impl<'a> Draw<'a> {
    /// A way to draw among as many tokens as there is room for. At a temperature of 0 or below the most likely token is taken; a `top_k` of 0 and a
    /// `top_p` of 1 leave all tokens.
    #[must_use]
    pub const fn new(temperature: f32, top_k: usize, top_p: f64, room: &'a mut [Choice]) -> Self {
        Self { temperature, top_k, top_p, room }
    }

    /// The token that a number from 0 to below 1 stands for. Logits that are not finite are never taken, nor those that there is no room for; none is if
    /// there are no others.
    pub fn token(&mut self, logits: &[f32], unit: f64) -> Option<u32> {
        if !(self.temperature > 0.0) || self.top_k == 0 && !(self.top_p < 1.0) {
            return of_all(self.temperature, logits, unit, self.room);
        }
        let mut some = choices(logits, self.room);
        if self.top_k > 0 && self.top_k < some.len() {
            some.select_nth_unstable_by(self.top_k - 1, order);
            some = some.get_mut(..self.top_k).unwrap_or_default();
        }
        some.sort_unstable_by(order);
        let mut all = weigh(some, self.temperature);
        if self.top_p < 1.0 {
            let enough = self.top_p * all;
            all = 0.0;
            let count = some.iter().take_while(|choice| {
                let before = all < enough;
                if before {
                    all += choice.weight;
                }
                before
            });
            // The most likely one always stays.
            let count = count.count().max(1);
            some = some.get_mut(..count).unwrap_or_default();
            all = some.iter().map(|choice| choice.weight).sum();
        }
        taken(some, unit * all)
    }
}

/// [`Draw::token`] among all tokens, of which none is sorted.
pub fn of_all(temperature: f32, logits: &[f32], unit: f64, room: &mut [Choice]) -> Option<u32> {
    let some = choices(logits, room);
    if !(temperature > 0.0) {
        return some.iter().min_by(|a, b| order(a, b)).map(|choice| choice.token);
    }
    let all = weigh(some, temperature);
    taken(some, unit * all)
}

/// The finite ones.
fn choices<'r>(logits: &[f32], room: &'r mut [Choice]) -> &'r mut [Choice] {
    let mut count = 0;
    for (token, logit) in (0..).zip(logits).filter(|(_, logit)| logit.is_finite()) {
        if let Some(place) = room.get_mut(count) {
            *place = Choice { token, logit: *logit, weight: 0.0 };
            count += 1;
        }
    }
    room.get_mut(..count).unwrap_or_default()
}

/// Makes weights of logits, that of the most likely being 1; their sum.
fn weigh(some: &mut [Choice], temperature: f32) -> f64 {
    let most = some.iter().fold(f32::NEG_INFINITY, |most, choice| most.max(choice.logit));
    let mut all = 0.0;
    for choice in some {
        let apart = (f64::from(choice.logit) - f64::from(most)) / f64::from(temperature);
        // Not the system's, which has other bits on other systems.
        choice.weight = libm::exp(apart);
        all += choice.weight;
    }
    all
}

/// The one at which the sum of weights passes a number, or the last of any weight.
fn taken(some: &[Choice], mut left: f64) -> Option<u32> {
    let mut last = None;
    for choice in some {
        if choice.weight > 0.0 {
            last = Some(choice.token);
            if left < choice.weight {
                break;
            }
        }
        left -= choice.weight;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::{Choice, Draw};

    fn draw(temperature: f32, top_k: usize, top_p: f64) -> Draw<'static> {
        Draw::new(temperature, top_k, top_p, Box::leak(Box::new([Choice::EMPTY; 4])))
    }

    /// How often each token is drawn by numbers that are evenly spread.
    fn shares(draw: &mut Draw<'_>, logits: &[f32]) -> Vec<f64> {
        const COUNT: usize = 20_000;
        let mut shares = vec![0.0; logits.len()];
        for i in 0..COUNT {
            let unit = (i as f64 + 0.5) / COUNT as f64;
            shares[draw.token(logits, unit).unwrap() as usize] += 1.0 / COUNT as f64;
        }
        shares
    }

    fn close(found: &[f64], expected: &[f64]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 2e-4, "{found} {expected}");
        }
    }

    /// Logits whose softmax is 1/8, 1/2, 1/8, 1/4.
    fn eighths() -> [f32; 4] {
        [1.0_f32, 4.0, 1.0, 2.0].map(f32::ln)
    }

    #[test]
    fn shares_are_the_softmax() {
        close(&shares(&mut draw(1.0, 0, 1.0), &eighths()), &[0.125, 0.5, 0.125, 0.25]);
        // Half the temperature squares the odds: 1, 16, 1, 4.
        let squares = [1.0, 16.0, 1.0, 4.0].map(|odds| odds / 22.0);
        close(&shares(&mut draw(0.5, 0, 1.0), &eighths()), &squares);
        // Logits far beyond what exponentials can be of.
        close(&shares(&mut draw(1.0, 0, 1.0), &[1e30, -1e30]), &[1.0, 0.0]);
    }

    #[test]
    fn the_top_stays() {
        close(&shares(&mut draw(1.0, 2, 1.0), &eighths()), &[0.0, 2.0 / 3.0, 0.0, 1.0 / 3.0]);
        // Of equals the first.
        close(&shares(&mut draw(1.0, 3, 1.0), &eighths()), &[1.0 / 7.0, 4.0 / 7.0, 0.0, 2.0 / 7.0]);
        close(&shares(&mut draw(1.0, 1, 1.0), &eighths()), &[0.0, 1.0, 0.0, 0.0]);
        close(&shares(&mut draw(1.0, 9, 1.0), &eighths()), &[0.125, 0.5, 0.125, 0.25]);
    }

    #[test]
    fn the_fewest_that_are_likely_enough_stay() {
        let nucleus = |top_p| shares(&mut draw(1.0, 0, top_p), &eighths());
        close(&nucleus(0.49), &[0.0, 1.0, 0.0, 0.0]);
        close(&nucleus(0.74), &[0.0, 2.0 / 3.0, 0.0, 1.0 / 3.0]);
        close(&nucleus(0.76), &[1.0 / 7.0, 4.0 / 7.0, 0.0, 2.0 / 7.0]);
        close(&nucleus(0.0), &[0.0, 1.0, 0.0, 0.0]);
        // After top-k: of 2/3 and 1/3 the first is enough for 0.6.
        close(&shares(&mut draw(1.0, 2, 0.6), &eighths()), &[0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn without_temperature_the_most_likely_is_taken() {
        let mut draw = draw(0.0, 0, 1.0);
        assert_eq!(draw.token(&eighths(), 0.99), Some(1));
        assert_eq!(draw.token(&[3.0, 5.0, 5.0], 0.99), Some(1));
    }

    #[test]
    fn what_is_not_finite_is_never_taken() {
        let logits = [f32::NAN, 0.0, f32::NEG_INFINITY, f32::INFINITY];
        for (temperature, top_k, top_p) in [(0.0, 0, 1.0), (1.0, 0, 1.0), (1.0, 2, 0.5)] {
            let mut draw = draw(temperature, top_k, top_p);
            for unit in [0.0, 0.5, 0.999_999] {
                assert_eq!(draw.token(&logits, unit), Some(1));
            }
            assert_eq!(draw.token(&[f32::NAN; 3], 0.5), None);
            assert_eq!(draw.token(&[], 0.5), None);
        }
    }
}
