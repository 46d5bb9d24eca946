//! The Jacobian at a solution: a penalty on it, its largest singular value, and how fast sweeps converge there.
//!
//! Layers all at once are h = s(A h + W^1 x + b), where A holds the weights inside the loop, W^2.. and all U. With S the slopes at h, the
//! Jacobian is J = S A. Sweeps take layers one after the other, each from the freshest values below: theirs is (I - S Lo)^-1 S Up, Lo the part
//! of A from W and Up that from U.

use super::adjoint::fits_gradient;
use super::gradient::LearnError;
use super::loss::LossError;
use super::units::{UnitLoss, UnitRoom};
use crate::certificate::NotFinite;
use crate::kernel::{
    Base, Matrix, MatrixMut, Outer, Product, Scalar, ShapeError, affine, bends, largest_on, of_value, once,
    slopes, transposed,
};
use crate::network::{Architecture, LayerLayout, MAX_DEPTH, Network, Parameters, State};
use crate::simd::{Backend, Element};
use crate::solve::{Rule, Setting};

/// A loss, and beside it a penalty on the Jacobian J of all layers at once at the solution h (Bai, Koltun and Kolter 2021):
///
/// loss + weight / (B UNITS) sum over samples of |v^T J|^2,
///
/// with v of random signs, of each unit and sample its own. Its mean over v is the mean over samples and units of |J|^2, the squares of all entries
/// (Hutchinson 1989), so that feedback stays weak where it is of no use, and sweeps go on converging. Another `seed` draws another v; take a
/// new one for every step.
///
/// With y = S v and u = A^T y, the gradient is exact: 2 y u^T by A, and by h 2 v (A u) ds'/dh, which goes back through the adjoint. It takes three
/// products with the weights more. What is wanted of activations is [`Activation::bend`](crate::kernel::Activation::bend), which the built-in ones have.
/// It takes a [`UnitLoss`] and is one; [`OfOutputs`](super::OfOutputs) makes one of a [`Loss`](super::Loss).
///
/// ```
/// use attractor::fnn;
/// use attractor::learn::{JacobianPenalty, MeanSquared, Objective, OfOutputs, Sgd, Trainer, UnitRoom};
/// type Net = fnn![2, 4, 1];
/// let mut net = Net::ZERO;
/// for (i, w) in net.params_mut().iter_mut().enumerate() {
///     *w = 0.3 * (i as f32).sin();
/// }
/// let loss = JacobianPenalty { loss: OfOutputs(MeanSquared), weight: 0.1, seed: 0 };
/// let objective = Objective::new(loss);
/// let mut trainer: Trainer<Net, _, _> = Trainer::new(net, Sgd::plain(), objective);
/// let mut room = UnitRoom::ZERO;
/// for seed in 0..10 {
///     trainer.objective.loss.seed = seed;
///     trainer.step_of_units(&[1.0, -1.0], &[0.5], &mut room)?;
/// }
/// # Ok::<(), attractor::learn::LearnError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JacobianPenalty<C, T = f32> {
    /// The loss.
    pub loss: C,
    /// How much the penalty weighs, at least 0.
    pub weight: T,
    /// Which v is drawn.
    pub seed: u32,
}

impl<C, T: Scalar> JacobianPenalty<C, T> {
    /// What |v^T J|^2 is multiplied with.
    fn share<A: Architecture<Scalar = T>, const B: usize>(&self) -> T {
        self.weight / T::from_usize(B * Network::<A>::UNITS)
    }

    /// Sets `y` to S v.
    fn probe<A: Architecture<Scalar = T>, const B: usize>(
        &self,
        backend: Backend,
        state: &State<Network<A>, B>,
        y: &mut State<Network<A>, B>,
    ) {
        y.as_mut_slice().copy_from_slice(state.as_slice());
        all_slopes::<A, B>(backend, y.as_mut_slice());
        for (i, y) in y.as_mut_slice().iter_mut().enumerate() {
            *y = sign(self.seed, i, *y);
        }
    }
}

impl<A, Y: ?Sized, C, const B: usize> UnitLoss<A, Y, B> for JacobianPenalty<C, A::Scalar>
where
    A: Architecture,
    C: UnitLoss<A, Y, B>,
{
    fn evaluate(
        &self,
        _: &State<Network<A>, B>,
        _: &Y,
        _: &mut State<Network<A>, B>,
    ) -> Result<A::Scalar, LossError> {
        Err(LossError::Unsupported("a penalty on the Jacobian stands around a loss, not in another penalty"))
    }

    fn evaluate_on(
        &self,
        backend: Backend,
        network: &Network<A>,
        state: &State<Network<A>, B>,
        target: &Y,
        room: &mut UnitRoom<Network<A>, B>,
        deltas: &mut State<Network<A>, B>,
    ) -> Result<A::Scalar, LossError> {
        let zero = <A::Scalar as Element>::ZERO;
        if !(self.weight >= zero && self.weight.is_finite()) {
            const RULE: &Rule = &Rule { name: "JacobianPenalty::weight", range: "0 or more, finite" };
            return Err(Setting { rule: RULE, value: self.weight }.into());
        }
        let shape = |_: ShapeError| LossError::Target("shapes that do not fit");
        let params = network.parameters().map_err(|_| LossError::Target("shapes that do not fit"))?;
        let UnitRoom { gradient, spare } = room;
        let loss = self.loss.evaluate_units(backend, state, target, gradient)?;
        self.probe::<A, B>(backend, state, deltas);
        let units = Network::<A>::UNITS;
        let job = Linear::new(backend, params, B, deltas.as_slice(), spare.as_mut_slice()).map_err(shape)?;
        A::Scalar::once::<BackOnce>(job).map_err(shape)?;
        let mut squares = zero;
        for u in spare.as_slice() {
            squares += *u * *u;
        }
        let job = Linear::new(backend, params, B, spare.as_slice(), deltas.as_mut_slice()).map_err(shape)?;
        A::Scalar::once::<ForthOnce>(job).map_err(shape)?;
        let twice = self.share::<A, B>() + self.share::<A, B>();
        const PART: usize = 64;
        let hidden = B * (units - A::LAYOUT.layer(A::LAYOUT.depth() - 1).width);
        let mut known = true;
        let (mut at, all) = (0, state.as_slice());
        while let Some(h) = all.get(at..).filter(|rest| !rest.is_empty()) {
            // Of one activation.
            let end = if at < hidden { hidden - at } else { h.len() };
            let h = h.get(..PART.min(end)).unwrap_or(h);
            let mut part = [zero; PART];
            let bend = part.get_mut(..h.len()).unwrap_or_default();
            bend.copy_from_slice(h);
            known &= if at < hidden {
                bends::<_, A::Hidden>(backend, bend)
            } else {
                bends::<_, A::Outputs>(backend, bend)
            };
            let to = gradient.as_mut_slice().iter_mut().skip(at);
            let au = deltas.as_slice().iter().skip(at);
            for (i, ((to, au), bend)) in to.zip(au).zip(bend).enumerate() {
                *to += sign(self.seed, at + i, twice * *au * *bend);
            }
            at += h.len();
        }
        deltas.reset();
        if !known {
            return Err(LossError::Unsupported(
                "a penalty on the Jacobian asks for the bend of every activation (Activation::bend)",
            ));
        }
        Ok(loss + self.share::<A, B>() * squares)
    }

    fn prepare_direct(
        &self,
        backend: Backend,
        state: &State<Network<A>, B>,
        room: &mut UnitRoom<Network<A>, B>,
    ) -> bool {
        self.probe::<A, B>(backend, state, &mut room.gradient);
        let units = Network::<A>::UNITS;
        let (Ok(y), Ok(u)) =
            (Matrix::new(room.gradient.as_slice(), B, units), Matrix::new(room.spare.as_slice(), B, units))
        else {
            return false;
        };
        let twice = self.share::<A, B>() + self.share::<A, B>();
        let (y, u) = (largest_on(backend, y), largest_on(backend, u));
        // As large as a rate of descent may be.
        let twice = twice * A::Scalar::from_usize(1024);
        fits_gradient(twice * y, u, B * A::LAYOUT.shares())
    }

    fn add_direct(
        &self,
        backend: Backend,
        factor: A::Scalar,
        room: &UnitRoom<Network<A>, B>,
        to: &mut Network<A>,
    ) -> Result<(), LearnError<A::Scalar>> {
        let units = Network::<A>::UNITS;
        let y = Matrix::new(room.gradient.as_slice(), B, units)?;
        let u = Matrix::new(room.spare.as_slice(), B, units)?;
        let factor = factor * (self.share::<A, B>() + self.share::<A, B>());
        A::Scalar::once::<DirectOnce>(Direct { backend, factor, y, u, to: to.parameters_mut()? })?;
        Ok(())
    }
}

/// `x` with a sign drawn for the number `i`.
fn sign<T: Scalar>(seed: u32, i: usize, x: T) -> T {
    let i = (i as u32).wrapping_add(1).wrapping_mul(0x9e37_79b9);
    let mut hash = seed.wrapping_mul(0x85eb_ca6b).wrapping_add(i);
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x7feb_352d);
    hash = (hash ^ (hash >> 15)).wrapping_mul(0x846c_a68b);
    if (hash ^ (hash >> 16)) & 1 == 0 { x } else { -x }
}

/// Replaces states of all units by the slopes there.
fn all_slopes<A: Architecture, const B: usize>(backend: Backend, states: &mut [A::Scalar]) {
    const { of_value::<A::Hidden, A::Outputs>() };
    let last = A::LAYOUT.layer(A::LAYOUT.depth() - 1);
    let (hidden, output) = states.split_at_mut(B * last.units);
    slopes::<_, A::Hidden>(backend, hidden);
    slopes::<_, A::Outputs>(backend, output);
}

/// A product of A or of its transpose.
struct Linear<'a, T> {
    backend: Backend,
    params: Parameters<'a, T>,
    from: Matrix<'a, T>,
    to: MatrixMut<'a, T>,
}

impl<'a, T: Scalar> Linear<'a, T> {
    /// Of so many samples.
    fn new(
        backend: Backend,
        params: Parameters<'a, T>,
        samples: usize,
        from: &'a [T],
        to: &'a mut [T],
    ) -> Result<Self, ShapeError> {
        let units = params.layout().units();
        let (from, to) = (Matrix::new(from, samples, units)?, MatrixMut::new(to, samples, units)?);
        Ok(Self { backend, params, from, to })
    }
    /// Of one sample.
    fn of_one(params: Parameters<'a, T>, from: &'a [T], to: &'a mut [T]) -> Result<Self, NotFinite> {
        Self::new(Backend::best(), params, 1, from, to).map_err(|_| NotFinite)
    }
}
once!(ForthOnce: Linear<'a, T> => Result<(), ShapeError>, forth_once);
once!(BackOnce: Linear<'a, T> => Result<(), ShapeError>, back_once);

/// to = A from.
fn forth_once<T: Scalar>(job: Linear<'_, T>) -> Result<(), ShapeError> {
    let Linear { backend, params, from, mut to } = job;
    let layout = params.layout();
    for (index, layer) in layout.layers().iter().enumerate() {
        let mut own = to.reborrow().column_range(layer.units, layer.width);
        let below = (index > 0).then(|| layer.below_of(from));
        sums(backend, params, layer, below, layer.above_of(from), own.reborrow())?;
        if let Some((k, next)) = layout.tied_to(index) {
            add_tied(k, params.w(next), next.own_of(from), own);
        }
    }
    Ok(())
}

/// own = W below + U above.
fn sums<T: Scalar>(
    backend: Backend,
    params: Parameters<'_, T>,
    layer: &LayerLayout,
    below: Option<Matrix<'_, T>>,
    above: Matrix<'_, T>,
    own: MatrixMut<'_, T>,
) -> Result<(), ShapeError> {
    let u = Product { matrix: params.u(layer), operand: above };
    let w = below.map(|operand| Product { matrix: params.w(layer), operand });
    let both = [w.unwrap_or(u), u];
    let products = match (w, layer.feedback > 0) {
        (Some(_), true) => both.get(..),
        (Some(_), false) => both.get(..1),
        (None, true) => both.get(1..),
        (None, false) => None,
    };
    affine(backend, Base::Zero, products.unwrap_or_default(), own)
}

/// own += k W^T from, entry by entry.
fn add_tied<T: Scalar>(k: T, w: Matrix<'_, T>, from: Matrix<'_, T>, mut own: MatrixMut<'_, T>) {
    for unit in 0..own.cols() {
        let mut sample = 0;
        own.reborrow().column_range(unit, 1).fill_with(|was| {
            let mut sum = T::ZERO;
            for i in 0..w.rows() {
                sum += w.at(i, unit).unwrap_or(T::NAN) * from.at(sample, i).unwrap_or(T::NAN);
            }
            sample += 1;
            was + k * sum
        });
    }
}

/// to = A^T from.
fn back_once<T: Scalar>(job: Linear<'_, T>) -> Result<(), ShapeError> {
    let Linear { backend, params, from, mut to } = job;
    let (layout, layers) = (params.layout(), params.layout().layers());
    for (index, layer) in layers.iter().enumerate() {
        let mut own = to.reborrow().column_range(layer.units, layer.width);
        let above =
            layers.get(index + 1).map(|next| Product { matrix: params.w(next), operand: next.own_of(from) });
        let readers = layers.get(layout.readers(index)).unwrap_or_default().iter().map(|reader| {
            let matrix = params.u(reader).columns(layer.columns_in(reader).start, layer.width);
            Product { matrix, operand: reader.own_of(from) }
        });
        let mut products = [Product { matrix: params.w(layer), operand: layer.own_of(from) }; MAX_DEPTH + 1];
        let mut count = 0;
        for (place, product) in products.iter_mut().zip(above.into_iter().chain(readers)) {
            *place = product;
            count += 1;
        }
        transposed(backend, Base::Zero, products.get(..count).unwrap_or_default(), own.reborrow())?;
        if let Some(k) = layout.tied::<T>()
            && index > 0
        {
            // The layer below reads this one through k W^T.
            let (w, sent) = (params.w(layer), layer.below_of(from));
            for unit in 0..own.cols() {
                let mut sample = 0;
                own.reborrow().column_range(unit, 1).fill_with(|was| {
                    let mut sum = T::ZERO;
                    for j in 0..w.cols() {
                        sum += w.at(unit, j).unwrap_or(T::NAN) * sent.at(sample, j).unwrap_or(T::NAN);
                    }
                    sample += 1;
                    was + k * sum
                });
            }
        }
    }
    Ok(())
}

/// The outer product of y and u, where A has weights.
struct Direct<'a, T> {
    backend: Backend,
    factor: T,
    y: Matrix<'a, T>,
    u: Matrix<'a, T>,
    to: crate::network::ParametersMut<'a, T>,
}
once!(DirectOnce: Direct<'a, T> => Result<(), ShapeError>, direct_once);

fn direct_once<T: Scalar>(job: Direct<'_, T>) -> Result<(), ShapeError> {
    let Direct { backend, factor, y, u, mut to } = job;
    let layout = to.layout();
    for (index, layer) in layout.layers().iter().enumerate() {
        let (mut w, of_u, _) = to.layer(layer);
        let deltas = layer.own_of(y);
        if index > 0 {
            let gradient = w.reborrow();
            T::run(backend, Outer { factor, deltas, inputs: layer.below_of(u), gradient })?;
            if let Some(k) = layout.tied::<T>() {
                let (factor, deltas) = (factor * k, layer.own_of(u));
                T::run(backend, Outer { factor, deltas, inputs: layer.below_of(y), gradient: w })?;
            }
        }
        if layer.feedback > 0 {
            T::run(backend, Outer { factor, deltas, inputs: layer.above_of(u), gradient: of_u })?;
        }
    }
    Ok(())
}

impl<T: Scalar, A: Architecture<Scalar = T>> Network<A> {
    /// The largest singular value of the Jacobian J = S A of all layers at once, at a state of one sample, by so many iterations x := J^T J x (power
    /// iteration): never more than it, up to rounding, and the closer the more there are. What [`JacobianPenalty`] makes small is the sum of
    /// the squares of all singular values.
    ///
    /// `room` is overwritten.
    ///
    /// ```
    /// use attractor::{State, fnn, kernel::Identity};
    /// type Net = fnn![1, 1, 1; hidden = Identity];
    /// let mut net = Net::ZERO;
    /// net.layer_mut::<1>().u.fill(0.75);
    /// net.layer_mut::<2>().w.fill(2.0);
    /// let norm = net.jacobian_norm(&Net::state(), &mut State::ZERO, 20)?;
    /// assert!((norm - 2.0).abs() < 1e-5); // of 0, 0.75; 2, 0
    /// # Ok::<(), attractor::certificate::NotFinite>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFinite`] if the state, a weight or a product is a NaN or an infinity.
    pub fn jacobian_norm(
        &self,
        state: &State<Self>,
        room: &mut State<Self, 3>,
        iterations: usize,
    ) -> Result<T, NotFinite> {
        let params = self.parameters().map_err(|_| NotFinite)?;
        let (slopes, rest) = room.as_mut_slice().split_at_mut(Self::UNITS);
        let (x, t) = rest.split_at_mut(Self::UNITS);
        start::<A>(state, slopes, x)?;
        let mut norm = T::ZERO;
        for _ in 0..iterations.max(1) {
            if !normalize(x)? {
                return Ok(T::ZERO);
            }
            T::once::<ForthOnce>(Linear::of_one(params, x, t)?).map_err(|_| NotFinite)?;
            t.iter_mut().zip(&*slopes).for_each(|(t, s)| *t = *t * *s);
            norm = length(t);
            t.iter_mut().zip(&*slopes).for_each(|(t, s)| *t = *t * *s);
            T::once::<BackOnce>(Linear::of_one(params, t, x)?).map_err(|_| NotFinite)?;
        }
        if norm.is_finite() { Ok(norm) } else { Err(NotFinite) }
    }

    /// The spectral radius of the Jacobian of a sweep at a state of one sample: what is left of a small error after a sweep, in the long run. Less
    /// than 1, sweeps near a solution converge to it, and more, they leave it. By power iteration, as the mean growth over the second half of so many
    /// iterations: an estimate, not a bound, rough by few iterations. What holds everywhere and for certain is a
    /// [`Certificate`](crate::Certificate)'s rate, which is no less.
    ///
    /// `room` is overwritten.
    ///
    /// ```
    /// use attractor::{State, fnn, kernel::Identity};
    /// type Net = fnn![1, 1, 1; hidden = Identity];
    /// let mut net = Net::ZERO;
    /// net.layer_mut::<1>().u.fill(0.25);
    /// net.layer_mut::<2>().w.fill(2.0);
    /// let radius = net.sweep_radius(&Net::state(), &mut State::ZERO, 50)?;
    /// assert!((radius - 0.5).abs() < 1e-5);
    /// # Ok::<(), attractor::certificate::NotFinite>(())
    /// ```
    ///
    /// # Errors
    /// As [`jacobian_norm`](Self::jacobian_norm).
    pub fn sweep_radius(
        &self,
        state: &State<Self>,
        room: &mut State<Self, 2>,
        iterations: usize,
    ) -> Result<T, NotFinite> {
        let params = self.parameters().map_err(|_| NotFinite)?;
        let (slopes, x) = room.as_mut_slice().split_at_mut(Self::UNITS);
        start::<A>(state, slopes, x)?;
        let iterations = iterations.max(2);
        let (mut growth, mut counted) = (0.0, 0);
        for iteration in 0..iterations {
            if !normalize(x)? {
                return Ok(T::ZERO);
            }
            let job = Swept { params, slopes, x: &mut *x };
            T::once::<SweptOnce>(job).map_err(|_| NotFinite)?;
            if iteration >= iterations / 2 {
                let length = length(x);
                if length == T::ZERO {
                    return Ok(T::ZERO);
                }
                growth += libm::log(length.to_f64());
                counted += 1;
            }
        }
        let radius = libm::exp(growth / f64::from(counted));
        if radius.is_finite() { Ok(T::from_f64(radius)) } else { Err(NotFinite) }
    }
}

/// The slopes at a state, and a vector to begin with.
fn start<A: Architecture>(
    state: &State<Network<A>>,
    slopes: &mut [A::Scalar],
    x: &mut [A::Scalar],
) -> Result<(), NotFinite> {
    slopes.copy_from_slice(state.as_slice());
    all_slopes::<A, 1>(Backend::best(), slopes);
    let finite = |values: &[A::Scalar]| values.iter().all(|value| value.is_finite());
    if !finite(state.as_slice()) || !finite(slopes) {
        return Err(NotFinite);
    }
    for (i, x) in x.iter_mut().enumerate() {
        // Of several sizes, so that no symmetry of the network hides what is looked for.
        let size = A::Scalar::from_usize(64 + i % 61);
        *x = sign(1, i, size);
    }
    Ok(())
}

/// The length of a vector.
fn length<T: Scalar>(x: &[T]) -> T {
    let mut largest = T::ZERO;
    for x in x {
        let x = x.magnitude();
        largest = if x > largest || !(x <= T::INFINITE) { x } else { largest };
    }
    if !(largest > T::ZERO) || !largest.is_finite() {
        return largest;
    }
    let mut sum = T::ZERO;
    for x in x {
        let x = *x / largest;
        sum += x * x;
    }
    largest * sum.sqrt()
}

/// Makes a vector of length 1; whether it is not zero.
fn normalize<T: Scalar>(x: &mut [T]) -> Result<bool, NotFinite> {
    let length = length(x);
    if !length.is_finite() {
        return Err(NotFinite);
    }
    x.iter_mut().for_each(|x| *x = *x / length);
    Ok(length > T::ZERO)
}

/// One sweep of what is left of a small error.
struct Swept<'a, T> {
    params: Parameters<'a, T>,
    slopes: &'a [T],
    x: &'a mut [T],
}
once!(SweptOnce: Swept<'a, T> => Result<(), ShapeError>, swept_once);

fn swept_once<T: Scalar>(job: Swept<'_, T>) -> Result<(), ShapeError> {
    let Swept { params, slopes, x } = job;
    let layout = params.layout();
    for (index, layer) in layout.layers().iter().enumerate() {
        let units = x.len();
        let (below, mut own, above) = MatrixMut::new(&mut *x, 1, units)?.split(layer.units, layer.width);
        let from_below = (index > 0).then(|| layer.below_of(below));
        let fed_back = above.columns(0, layer.feedback);
        sums(Backend::best(), params, layer, from_below, fed_back, own.reborrow())?;
        if let Some((k, next)) = layout.tied_to(index) {
            add_tied(k, params.w(next), above.columns(0, next.width), own);
        }
        let own = x.get_mut(layer.own()).unwrap_or_default();
        own.iter_mut().zip(slopes.get(layer.own()).unwrap_or_default()).for_each(|(x, s)| *x = *x * *s);
    }
    Ok(())
}
