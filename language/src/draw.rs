//! Draws a token by its logits: temperature, top-k, top-p.

/// How a token is drawn.
///
/// Of the logits divided by the temperature a softmax is made. Of it the `top_k` most likely tokens stay, and of these the fewest that have a
/// probability of `top_p` together (Holtzman et al. 2019); what stays is scaled to a sum of 1.
///
/// ```
/// use attractor_language::draw::Draw;
/// let logits = [0.0, 2.0, 1.0];
/// let mut draw = Draw::new(1.0, 2, 1.0, 3);
/// // Of the tokens 1 and 2, in this order: e / (e + 1) = 0.731.
/// assert_eq!([0.0, 0.73, 0.74, 0.999].map(|unit| draw.token(&logits, unit)), [1, 1, 2, 2].map(Some));
/// ```
#[derive(Clone, Debug)]
pub struct Draw {
    temperature: f32,
    top_k: usize,
    top_p: f64,
    order: Vec<u32>,
    weights: Vec<f64>,
}

impl Draw {
    /// A way to draw among up to `vocabulary` tokens. At a temperature of 0 or below the most likely token is taken; a `top_k` of 0 and a
    /// `top_p` of 1 leave all tokens.
    #[must_use]
    pub fn new(temperature: f32, top_k: usize, top_p: f64, vocabulary: usize) -> Self {
        let (order, weights) = (Vec::with_capacity(vocabulary), Vec::with_capacity(vocabulary));
        Self { temperature, top_k, top_p, order, weights }
    }

    /// The token that a number from 0 to below 1 stands for. Logits that are not finite are never taken; none is if there are no others.
    pub fn token(&mut self, logits: &[f32], unit: f64) -> Option<u32> {
        let likely = |a: &u32, b: &u32| {
            // Of equals the first.
            logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b))
        };
        self.order.clear();
        self.order.extend((0..).zip(logits).filter(|(_, logit)| logit.is_finite()).map(|(token, _)| token));
        let first = *self.order.iter().min_by(|a, b| likely(a, b))?;
        if !(self.temperature > 0.0) {
            return Some(first);
        }
        if self.top_k > 0 && self.top_k < self.order.len() {
            self.order.select_nth_unstable_by(self.top_k - 1, likely);
            self.order.truncate(self.top_k);
        }
        // In the order of tokens nothing need be sorted, but a part is of a given set only when it is.
        if self.top_k > 0 || self.top_p < 1.0 {
            self.order.sort_unstable_by(likely);
        }
        let temperature = f64::from(self.temperature);
        let most = f64::from(logits[first as usize]);
        self.weights.clear();
        let weight = |token: &u32| ((f64::from(logits[*token as usize]) - most) / temperature).exp();
        self.weights.extend(self.order.iter().map(weight));
        if self.top_p < 1.0 {
            let enough = self.top_p * self.weights.iter().sum::<f64>();
            let mut sum = 0.0;
            let count = self.weights.iter().take_while(|weight| {
                let before = sum < enough;
                sum += **weight;
                before
            });
            // The most likely one always stays.
            let count = count.count().max(1);
            self.weights.truncate(count);
        }
        let mut left = unit * self.weights.iter().sum::<f64>();
        let mut last = first;
        for (token, weight) in self.order.iter().zip(&self.weights) {
            if *weight > 0.0 {
                last = *token;
                if left < *weight {
                    break;
                }
            }
            left -= weight;
        }
        Some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::Draw;

    /// How often each token is drawn by numbers that are evenly spread.
    fn shares(draw: &mut Draw, logits: &[f32]) -> Vec<f64> {
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
        close(&shares(&mut Draw::new(1.0, 0, 1.0, 4), &eighths()), &[0.125, 0.5, 0.125, 0.25]);
        // Half the temperature squares the odds: 1, 16, 1, 4.
        let squares = [1.0, 16.0, 1.0, 4.0].map(|odds| odds / 22.0);
        close(&shares(&mut Draw::new(0.5, 0, 1.0, 4), &eighths()), &squares);
        // Logits far beyond what exponentials can be of.
        close(&shares(&mut Draw::new(1.0, 0, 1.0, 2), &[1e30, -1e30]), &[1.0, 0.0]);
    }

    #[test]
    fn the_top_stays() {
        close(&shares(&mut Draw::new(1.0, 2, 1.0, 4), &eighths()), &[0.0, 2.0 / 3.0, 0.0, 1.0 / 3.0]);
        // Of equals the first.
        close(&shares(&mut Draw::new(1.0, 3, 1.0, 4), &eighths()), &[1.0 / 7.0, 4.0 / 7.0, 0.0, 2.0 / 7.0]);
        close(&shares(&mut Draw::new(1.0, 1, 1.0, 4), &eighths()), &[0.0, 1.0, 0.0, 0.0]);
        close(&shares(&mut Draw::new(1.0, 9, 1.0, 4), &eighths()), &[0.125, 0.5, 0.125, 0.25]);
    }

    #[test]
    fn the_fewest_that_are_likely_enough_stay() {
        let nucleus = |top_p| shares(&mut Draw::new(1.0, 0, top_p, 4), &eighths());
        close(&nucleus(0.49), &[0.0, 1.0, 0.0, 0.0]);
        close(&nucleus(0.74), &[0.0, 2.0 / 3.0, 0.0, 1.0 / 3.0]);
        close(&nucleus(0.76), &[1.0 / 7.0, 4.0 / 7.0, 0.0, 2.0 / 7.0]);
        close(&nucleus(0.0), &[0.0, 1.0, 0.0, 0.0]);
        // After top-k: of 2/3 and 1/3 the first is enough for 0.6.
        close(&shares(&mut Draw::new(1.0, 2, 0.6, 4), &eighths()), &[0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn without_temperature_the_most_likely_is_taken() {
        let mut draw = Draw::new(0.0, 0, 1.0, 4);
        assert_eq!(draw.token(&eighths(), 0.99), Some(1));
        assert_eq!(draw.token(&[3.0, 5.0, 5.0], 0.99), Some(1));
    }

    #[test]
    fn what_is_not_finite_is_never_taken() {
        let logits = [f32::NAN, 0.0, f32::NEG_INFINITY, f32::INFINITY];
        for (temperature, top_k, top_p) in [(0.0, 0, 1.0), (1.0, 0, 1.0), (1.0, 2, 0.5)] {
            let mut draw = Draw::new(temperature, top_k, top_p, 4);
            for unit in [0.0, 0.5, 0.999_999] {
                assert_eq!(draw.token(&logits, unit), Some(1));
            }
            assert_eq!(draw.token(&[f32::NAN; 3], 0.5), None);
            assert_eq!(draw.token(&[], 0.5), None);
        }
    }
}
