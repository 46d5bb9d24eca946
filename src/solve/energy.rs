//! The energy of a network with tied feedback.

use super::{NonFinite, SolveError, in_input, in_params, in_states};
use crate::kernel::{Activation, Matrix, Scalar};
use crate::network::{Architecture, Network, Samples, State, Takes, Tied};

impl<T: Scalar, A: Architecture<Scalar = T, Form = Tied<PERCENT>>, const PERCENT: usize> Network<A> {
    /// The energy of a state of one sample, in `f64`:
    ///
    /// E = sum over l of k^(l-1) (sum of G(h^l_i) - b^l . h^l - h^l . W^l h^(l-1)),  G(h) the integral of s^-1 from where it is 0.
    ///
    /// Its slope by h^l is k^(l-1) (s^-1(h^l) - z^l), so that a sweep gives every layer the least energy there is for it while the others
    /// stay, and a solution is where no layer alone can lower it (Hopfield 1984, with a weight for each layer because what
    /// comes down is k times what goes up). Infinite for a state out of the range of its activations, which no sweep leaves.
    ///
    /// # Errors
    /// [`SolveError::NotFinite`] if input or state have a NaN or infinity, or the sum is a NaN.
    pub fn energy<X: Samples<T, I, 1>, const I: usize>(
        &self,
        input: &X,
        state: &State<Self>,
    ) -> Result<f64, SolveError<T>>
    where
        A: Takes<I>,
    {
        let (input, h) = (input.samples(), state.as_slice());
        let params = self.parameters().map_err(|_| SolveError::NOT_FINITE)?;
        let found = in_input(input).or_else(|| in_states(&Self::OUTLINE, Matrix::of_row(h)));
        if let Some(found) = found {
            return Err(SolveError::NotFinite(found));
        }
        let (mut energy, mut weight) = (0.0, 1.0);
        for (index, layer) in params.layout().layers().iter().enumerate() {
            let last = index + 1 == A::LAYOUT.depth();
            let own = h.get(layer.own()).unwrap_or_default().iter();
            for ((i, h), b) in own.enumerate().zip(params.b(layer)) {
                let mut z = b.to_f64();
                for j in 0..layer.inputs {
                    let below = || state.as_slice().get(layer.below().start + j).copied();
                    let from = if index == 0 { input.at(0, j) } else { below() };
                    let weight = params.w(layer).at(i, j).unwrap_or(T::NAN);
                    z += weight.to_f64() * from.unwrap_or(T::NAN).to_f64();
                }
                let h = h.to_f64();
                energy += weight
                    * (if last { <A::Outputs>::potential(h) } else { <A::Hidden>::potential(h) } - z * h);
            }
            weight *= PERCENT as f64 / 100.0;
        }
        if energy.is_nan() {
            let found = in_params(&Self::OUTLINE, self.params()).unwrap_or(NonFinite::Overflow);
            return Err(SolveError::NotFinite(found));
        }
        Ok(energy)
    }
}
