//! Where learning starts from: weights that keep signals their size and sweeps well inside convergence.

use crate::kernel::{Scalar, gain};
use crate::network::{Architecture, Network, ParametersMut};
use rand_core::Rng;

/// How much the error may shrink at worst in a sweep, by the estimate below.
const RATE: f64 = 0.25;

impl<T: Scalar, A: Architecture<Scalar = T>> Network<A> {
    /// Draws W and U from `random` and sets b to zero.
    ///
    /// W is uniform with variance 1 / inputs (Glorot and Bengio 2010; 2 / inputs below ReLU, He et al. 2015). A
    /// random n x m matrix of standard deviation s has norm s (sqrt n + sqrt m) or a little less. A feedback block
    /// U^(l,k) closes a loop through W^(l+1) .. W^k; its deviation is chosen so that all loops through a layer
    /// together have a gain of at most 1/16, which makes the sweeps shrink an error to a quarter or less, whatever
    /// the widths. With [`Tied`](crate::Tied) feedback W itself closes the loops, and from the second layer on is drawn no larger than
    /// k |W|^2 = 1/4.
    ///
    /// ```
    /// use attractor::{fnn, Stop};
    /// use rand::{SeedableRng, rngs::SmallRng};
    /// type Net = fnn![64, 128, 64, 10];
    /// let mut net = Net::ZERO;
    /// net.initialize(&mut SmallRng::seed_from_u64(1));
    /// let mut state = Net::state();
    /// let solved = net.solve(&[0.5; 64], &mut state, Stop::residual(1e-5))?;
    /// assert!(solved.sweeps <= 8);
    /// # Ok::<(), attractor::SolveError>(())
    /// ```
    pub fn initialize<R: Rng + ?Sized>(&mut self, random: &mut R) {
        if let Ok(mut params) = self.parameters_mut() {
            initialize(&mut params, const { gain::<A::Hidden>() }, random);
        }
    }
}

/// [`Network::initialize`] of whatever network; `gain` is that of the hidden layers.
pub(crate) fn initialize<T: Scalar, R: Rng + ?Sized>(
    params: &mut ParametersMut<'_, T>,
    gain: f64,
    random: &mut R,
) {
    let (layers, tied) = (params.layout().layers(), params.layout().percent());
    for (l, layer) in layers.iter().enumerate() {
        let (mut w, mut u, b) = params.layer(layer);
        b.fill(T::ZERO);
        let mut deviation = libm::sqrt(gain / layer.inputs as f64);
        if tied > 0 && l > 0 {
            // A loop goes up through this W and down through k W^T.
            let most = libm::sqrt(RATE / gain * 100.0 / tied as f64) / norm(layer.width, layer.inputs, 1.0);
            deviation = f64::min(deviation, most);
        }
        w.fill_with(|_| uniform(random, deviation));
        // The blocks of U stand side by side, the nearest layer first.
        let mut column = 0;
        let mut through = 1.0;
        let blocks = layers.iter().skip(l + 1).take_while(|above| above.units < layer.above().end);
        let count = blocks.clone().count();
        for above in blocks {
            through *=
                libm::sqrt(gain) * norm(above.width, above.inputs, 1.0 / libm::sqrt(above.inputs as f64));
            let share = RATE / 4.0 / count as f64;
            let deviation = share / (through * norm(layer.width, above.width, 1.0));
            u.reborrow().column_range(column, above.width).fill_with(|_| uniform(random, deviation));
            column += above.width;
        }
    }
}

/// The norm to expect of a random matrix.
fn norm(rows: usize, cols: usize, deviation: f64) -> f64 {
    deviation * (libm::sqrt(rows as f64) + libm::sqrt(cols as f64))
}

/// A number between -a and a, with a = sqrt 3 deviations.
fn uniform<T: Scalar, R: Rng + ?Sized>(random: &mut R, deviation: f64) -> T {
    let unit = f64::from(random.next_u32()) / f64::from(u32::MAX);
    T::from_f64((2.0 * unit - 1.0) * deviation * 1.732_050_807_568_877_2)
}
