//! The adjoint sweep and the accumulation of gradients, over flat memory.

use crate::kernel::{
    Base, Change, EachProduct, End, Ends, Finish, MOST_PRODUCTS, Matrix, MatrixMut, Outer, Product, Products,
    Scalar, ShapeError, SideBySide, Term, Terms, column_sums, largest,
};
use crate::network::{
    Architecture, EachLayer, LayerLayout, Layout, MAX_DEPTH, ParametersMut, Source, State, Walk,
};
use crate::simd::{Backend, Lanes, Operation, Site};
use crate::solve::{HalfRoom, Halves, Sweep, apply, fits, no_room, thin_back};
use crate::threads::Threads;

/// dJ/dh of hidden units, if the loss is one of them too: what their sums start from.
pub(crate) trait OfHidden<T>: Copy + Send {
    /// Whether there may be any.
    const ANY: bool;
    /// That of a layer.
    fn of(&self, layer: &LayerLayout) -> Base<'_, T>;
    /// That of some samples.
    fn rows(self, from: usize, count: usize) -> Self;
    /// As one type, for what is compiled once.
    fn matrix(&self) -> Option<Matrix<'_, T>>;
}

/// None, where code is compiled for a network: then there is no code for it.
impl<T> OfHidden<T> for () {
    const ANY: bool = false;
    #[inline(always)]
    fn of(&self, _: &LayerLayout) -> Base<'_, T> {
        Base::Zero
    }
    #[inline(always)]
    fn rows(self, _: usize, _: usize) {}
    #[inline(always)]
    fn matrix(&self) -> Option<Matrix<'_, T>> {
        None
    }
}

/// Of all units, if there is any.
impl<T: Scalar> OfHidden<T> for Option<Matrix<'_, T>> {
    const ANY: bool = true;
    #[inline(always)]
    fn of(&self, layer: &LayerLayout) -> Base<'_, T> {
        self.map_or(Base::Zero, |gradient| Base::Matrix(layer.own_of(gradient)))
    }
    #[inline(always)]
    fn rows(self, from: usize, count: usize) -> Self {
        self.map(|gradient| gradient.row_range(from, count))
    }
    #[inline(always)]
    fn matrix(&self) -> Option<Matrix<'_, T>> {
        *self
    }
}

/// One adjoint sweep, from the last layer to the first, each from the freshest deltas. `FAR` says whether layers may
/// read others than the next.
pub(super) struct Backward<'a, T, S, E, R, W, G, const FAR: bool> {
    pub(super) params: S,
    /// g, the gradient of the outputs, or nothing.
    pub(super) injected: Option<Matrix<'a, T>>,
    /// The gradient of the hidden units.
    pub(super) hidden: G,
    /// Leaves out what the output layer receives from below through U, as the article's rule does.
    pub(super) literal: bool,
    pub(super) states: Matrix<'a, T>,
    pub(super) deltas: MatrixMut<'a, T>,
    pub(super) ends: E,
    pub(super) walk: W,
    /// Room for half the sums of a layer, where feedback is tied; for t = P^T d of all layers, where there are corrections; or none.
    pub(super) room: R,
}

impl<'a, T, S, E, R, W, G, const FAR: bool> Sweep<T> for Backward<'_, T, S, E, &mut R, W, G, FAR>
where
    G: OfHidden<T>,
    T: Scalar,
    S: Source<'a, T>,
    E: Ends<T>,
    R: HalfRoom<T>,
    W: Walk,
{
    const OUTLINED: bool = E::ALIKE;

    #[inline(always)]
    fn sweep<const C: usize, L: Lanes<T>>(&mut self, lanes: L, changes: &mut [Change<L::Vector>]) {
        let layout = self.walk.layout(self.params.layout());
        let walk = self.walk;
        if const { L::BLOCKING.outlined } {
            self.params = self.params.afresh();
        }
        walk.down(layout, &mut AtLayer::<_, _, T, C> { backward: self, lanes, changes, layout });
    }
    #[inline(always)]
    fn refined(&self) -> Matrix<'_, T> {
        self.deltas.as_ref()
    }
}

struct AtLayer<'a, K, L: Lanes<T>, T: Scalar, const C: usize> {
    backward: &'a mut K,
    lanes: L,
    changes: &'a mut [Change<L::Vector>],
    layout: &'a Layout,
}

impl<'a, T, L, S, E, R, W, G, const C: usize, const FAR: bool> EachLayer
    for AtLayer<'_, Backward<'_, T, S, E, &mut R, W, G, FAR>, L, T, C>
where
    G: OfHidden<T>,
    T: Scalar,
    S: Source<'a, T>,
    L: Lanes<T>,
    E: Ends<T>,
    R: HalfRoom<T>,
    W: Walk,
{
    const ALIKE: bool = E::ALIKE;

    #[inline(always)]
    fn layer<const UNITS: usize, const LAST: bool>(&mut self, index: usize) {
        let Self { backward, lanes, changes, layout } = self;
        let Backward { params, injected, hidden, literal, states, deltas, ends, room, .. } = &mut **backward;
        let (params, layers, ends) = (*params, layout.layers(), *ends);
        let Some(layer) = layers.get(index) else { return };
        let is_output = LAST || (E::ALIKE && index + 1 == layers.len());
        let by = (ends, is_output);
        let (below, mut own, above) = deltas.reborrow().split(layer.units, layer.width);
        let base = match injected {
            Some(gradient) if is_output => Base::Matrix(*gradient),
            _ if is_output => Base::Zero,
            _ => hidden.of(layer),
        };
        let from_above = layers
            .get(index + 1)
            .map(|next| Product { matrix: params.w(next), operand: above.columns(0, next.width) });
        let h = layer.own_of(*states);
        if const { R::ANY && (!S::CORRECTED || R::BOUNDED) }
            && let Some(k) = layout.tied::<T>()
        {
            // W^l is the U^T of the layer below too.
            let from_below = (index > 0 && !(is_output && *literal)).then(|| {
                let operand = layer.below_of(below);
                Product { matrix: params.w(layer), operand }
            });
            let (room, sum) = (&mut **room, ends.sum());
            if is_output {
                let halves = Halves { base, first: (None, T::ONE / k), then: (from_below, k), room };
                let step = InHalves::<_, _, _, false, false>(halves, sum);
                slope::<C, UNITS, LAST, W, T, L, E>(*lanes, by, step, h, own, changes);
            } else if const { G::ANY } && matches!(base, Base::Matrix(_)) {
                // The first factor is one of what the sum starts from, too.
                let halves = Halves { base, first: (from_above, T::ONE / k), then: (from_below, k), room };
                let step = InHalves::<_, _, _, true, false>(halves, sum);
                slope::<C, UNITS, LAST, W, T, L, E>(*lanes, by, step, h, own, changes);
            } else {
                let halves = Halves { base, first: (from_below, k), then: (from_above, T::ONE), room };
                let step = InHalves::<_, _, _, false, true>(halves, sum);
                slope::<C, UNITS, LAST, W, T, L, E>(*lanes, by, step, h, own, changes);
            }
            return;
        }
        let readers = if is_output && *literal { index..index } else { layout.readers(index) };
        // Where networks and adapted ones are one type, it is asked; there corrections have a rank.
        if const { S::CORRECTED } && (const { !R::BOUNDED } || params.rank() > 0) {
            let all = layers.len() * own.rows() * params.rank();
            let Some(room) = room.first(all) else { return no_room() };
            let received = Received { source: params, index, first: readers.start, below, above, room };
            let step = InOne(base, received);
            slope::<C, UNITS, LAST, W, T, L, E>(*lanes, by, step, h, own.reborrow(), changes);
            return send::<C, _, _, _>(*lanes, params, (index, layer), own.as_ref(), room);
        }
        let (nearest, farther) = match layers.get(readers).unwrap_or_default().split_last() {
            Some((nearest, farther)) => (Some(nearest), farther),
            None => (None, Default::default()),
        };
        // What the layers below sent is known since the last sweep: its product runs while the layer above finishes.
        let neighbours = (nearest.map(|from| sent(params, from, layer, below)), from_above);
        if FAR {
            let products = FromFar { params, layers: farther, to: layer, deltas: below, neighbours };
            slope::<C, UNITS, LAST, W, T, L, E>(*lanes, by, InOne(base, products), h, own, changes);
        } else {
            // A program without the farther ones does not keep the layout.
            slope::<C, UNITS, LAST, W, T, L, E>(*lanes, by, InOne(base, neighbours), h, own, changes);
        }
    }
}

/// Sets t = P^T d of a layer, if it has a correction, in the room of all layers.
#[inline(always)]
fn send<'a, const C: usize, T: Scalar, L: Lanes<T>, S: Source<'a, T>>(
    lanes: L,
    source: S,
    (index, layer): (usize, &LayerLayout),
    deltas: Matrix<'_, T>,
    room: &mut [T],
) {
    let (samples, rank) = (deltas.rows(), source.rank());
    let (start, values) = (index * samples * rank, samples * rank);
    if let Some(correction) = source.correction(layer)
        && let Some(room) = room.get_mut(start..start + values)
        && let Ok(room) = MatrixMut::new(room, samples, rank)
    {
        thin_back::<C, T, L>(lanes, correction, deltas, room);
    }
}

/// Before the first sweep: t of the deltas that are there.
pub(super) struct Start<'b, B, const C: usize>(pub(super) &'b mut B);

impl<'a, T, S, E, R, W, G, const FAR: bool, const C: usize> Operation<T>
    for Start<'_, Backward<'_, T, S, E, &mut R, W, G, FAR>, C>
where
    T: Scalar,
    S: Source<'a, T>,
    R: HalfRoom<T>,
{
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        let Backward { params, deltas, room, .. } = self.0;
        let layers = params.layout().layers();
        let deltas = deltas.as_ref();
        let all = layers.len() * deltas.rows() * params.rank();
        let Some(room) = room.first(all) else { return no_room() };
        for (index, layer) in layers.iter().enumerate() {
            let own = layer.own_of(deltas);
            send::<C, _, _, _>(lanes, *params, (index, layer), own, room);
        }
    }
}

// A layer reads every other at most, through a matrix and through a correction. No layer has more products than that.
const _: () = assert!(2 * (MAX_DEPTH + 1) <= MOST_PRODUCTS);

/// What a layer with corrections receives: from every layer below that reads it, through U and through Q, and from the next one through W
/// and through Q.
#[derive(Clone, Copy)]
struct Received<'a, T, S> {
    source: S,
    index: usize,
    /// The first layer that reads it.
    first: usize,
    below: Matrix<'a, T>,
    above: Matrix<'a, T>,
    /// t of all layers.
    room: &'a [T],
}

impl<'a, T: Scalar, S> Received<'a, T, S> {
    #[inline(always)]
    fn product<'w: 'a>(&self, number: usize) -> Option<Product<'a, T>>
    where
        S: Source<'w, T>,
    {
        let (layers, rank) = (self.source.layout().layers(), self.source.rank());
        let (step, corrected) = if rank > 0 { (number / 2, number % 2 == 1) } else { (number, false) };
        // The layers below that read it, then the one above.
        let mut sender = self.first + step;
        if sender >= self.index {
            sender += 1;
        }
        if sender > self.index + 1 {
            return None;
        }
        let (own, from) = (layers.get(self.index)?, layers.get(sender)?);
        if corrected {
            self.through_correction(sender, from, own)
        } else {
            Some(self.through(sender, from, own))
        }
    }

    /// What a layer sends through its weights.
    #[inline(always)]
    fn through<'w: 'a>(&self, sender: usize, from: &LayerLayout, own: &LayerLayout) -> Product<'a, T>
    where
        S: Source<'w, T>,
    {
        if sender > self.index {
            Product { matrix: self.source.w(from), operand: self.above.columns(0, from.width) }
        } else {
            sent(self.source, from, own, self.below)
        }
    }

    /// What a layer sends through its correction.
    #[inline(always)]
    fn through_correction<'w: 'a>(
        &self,
        sender: usize,
        from: &LayerLayout,
        own: &LayerLayout,
    ) -> Option<Product<'a, T>>
    where
        S: Source<'w, T>,
    {
        let rank = self.source.rank();
        let first = if sender > self.index { 0 } else { from.inputs + own.columns_in(from).start };
        let samples = self.above.rows();
        let (start, values) = (sender * samples * rank, samples * rank);
        let operand = Matrix::new(self.room.get(start..start + values)?, samples, rank).ok()?;
        let matrix = self.source.correction(from)?.q.columns(first, own.width);
        Some(Product { matrix, operand })
    }
}

impl<'a, 'w: 'a, T: Scalar, S: Source<'w, T>> Products<'a, T> for Received<'a, T, S> {
    type Terms = Self;
    #[inline(always)]
    fn visit<V: EachProduct<'a, T>>(self, each: &mut V) {
        let layers = self.source.layout().layers();
        let Some(own) = layers.get(self.index) else { return };
        let is_corrected = self.source.rank() > 0;
        let mut sender = self.first;
        while let Some(from) = layers.get(sender).filter(|_| sender <= self.index + 1) {
            if sender != self.index {
                each.product(self.through(sender, from, own));
                if is_corrected && let Some(product) = self.through_correction(sender, from, own) {
                    each.product(product);
                }
            }
            sender += 1;
        }
    }
    #[inline(always)]
    fn terms(self) -> Self {
        self
    }
}

impl<'w, T: Scalar, S: Source<'w, T>> Terms<T> for Received<'_, T, S> {
    #[inline(always)]
    fn at(&self, index: usize) -> Option<Term<T>> {
        self.product(index).map(Term::of)
    }
}

/// What a layer receives from layers other than its neighbours, and then from those.
#[derive(Clone, Copy)]
struct FromFar<'a, T, S> {
    params: S,
    /// The farther layers below, that read this one through U.
    layers: &'a [LayerLayout],
    /// This one.
    to: &'a LayerLayout,
    /// The deltas of all layers below it.
    deltas: Matrix<'a, T>,
    neighbours: (Option<Product<'a, T>>, Option<Product<'a, T>>),
}

/// What one layer sends back through U.
#[inline(always)]
fn sent<'a, 'w: 'a, T: Scalar>(
    params: impl Source<'w, T>,
    from: &LayerLayout,
    to: &LayerLayout,
    deltas: Matrix<'a, T>,
) -> Product<'a, T> {
    let matrix = params.u(from).columns(to.columns_in(from).start, to.width);
    Product { matrix, operand: from.own_of(deltas) }
}

impl<'a, 'w: 'a, T: Scalar, S: Source<'w, T>> Products<'a, T> for FromFar<'a, T, S> {
    type Terms = Self;
    #[inline(always)]
    fn visit<V: EachProduct<'a, T>>(self, each: &mut V) {
        for from in self.layers {
            each.product(sent(self.params, from, self.to, self.deltas));
        }
        self.neighbours.visit(each);
    }
    #[inline(always)]
    fn terms(self) -> Self {
        self
    }
}

impl<'w, T: Scalar, S: Source<'w, T>> Terms<T> for FromFar<'_, T, S> {
    #[inline(always)]
    fn at(&self, index: usize) -> Option<Term<T>> {
        match self.layers.get(index) {
            Some(from) => Some(Term::of(sent(self.params, from, self.to, self.deltas))),
            None => self.neighbours.terms().at(index - self.layers.len()),
        }
    }
}

/// How the sums of a layer are taken. A trait and not a closure, as everywhere below the backends.
trait Step<T: Scalar> {
    fn take<const C: usize, const UNITS: usize, W: Walk, L: Lanes<T>, F: Finish<T>>(
        self,
        lanes: L,
        finish: F,
        own: MatrixMut<'_, T>,
        changes: &mut [Change<L::Vector>],
    );
}

/// At once, with the transposes of the matrices.
struct InOne<'a, T, P>(Base<'a, T>, P);

impl<'a, T: Scalar, P: Products<'a, T>> Step<T> for InOne<'a, T, P> {
    #[inline(always)]
    fn take<const C: usize, const UNITS: usize, W: Walk, L: Lanes<T>, F: Finish<T>>(
        self,
        lanes: L,
        finish: F,
        own: MatrixMut<'_, T>,
        changes: &mut [Change<L::Vector>],
    ) {
        apply::<true, C, UNITS, W, T, L, F>(lanes, self.0, self.1, finish, own, changes);
    }
}

/// In two steps, each with a matrix or with its transpose.
struct InHalves<'a, 'b, T, R, S, const FIRST: bool, const THEN: bool>(Halves<'a, 'b, T, R>, S);

impl<T: Scalar, R: HalfRoom<T>, S: Finish<T>, const FIRST: bool, const THEN: bool> Step<T>
    for InHalves<'_, '_, T, R, S, FIRST, THEN>
{
    #[inline(always)]
    fn take<const C: usize, const UNITS: usize, W: Walk, L: Lanes<T>, F: Finish<T>>(
        self,
        lanes: L,
        finish: F,
        own: MatrixMut<'_, T>,
        changes: &mut [Change<L::Vector>],
    ) {
        self.0.apply::<FIRST, THEN, C, UNITS, W, L, S, F>(lanes, self.1, finish, own, changes);
    }
}

/// A layer's deltas: its sums times the slope of its activation.
#[inline(always)]
fn slope<const C: usize, const UNITS: usize, const LAST: bool, W: Walk, T: Scalar, L: Lanes<T>, E>(
    lanes: L,
    (ends, is_output): (E, bool),
    step: impl Step<T>,
    states: Matrix<'_, T>,
    own: MatrixMut<'_, T>,
    changes: &mut [Change<L::Vector>],
) where
    E: Ends<T>,
{
    if const { E::ALIKE } {
        slope_of::<C, UNITS, W, T, L, _>(lanes, ends.either(is_output), step, states, own, changes);
    } else if LAST {
        slope_of::<C, UNITS, W, T, L, _>(lanes, ends.output(), step, states, own, changes);
    } else {
        slope_of::<C, UNITS, W, T, L, _>(lanes, ends.hidden(), step, states, own, changes);
    }
}

#[inline(always)]
fn slope_of<const C: usize, const UNITS: usize, W: Walk, T: Scalar, L: Lanes<T>, A: End<T>>(
    lanes: L,
    end: A,
    step: impl Step<T>,
    states: Matrix<'_, T>,
    own: MatrixMut<'_, T>,
    changes: &mut [Change<L::Vector>],
) {
    if const { A::IDENTITY } {
        // Its slope is 1, and there is code that stores sums as they are.
        return step.take::<C, UNITS, W, L, _>(lanes, end.up(), own, changes);
    }
    match end.back(states, &own) {
        Ok(finish) => step.take::<C, UNITS, W, L, _>(lanes, finish, own, changes),
        Err(error) => fits(Err(error)),
    }
}

/// What a gradient is summed from, `samples` rows each.
#[derive(Clone, Copy)]
pub(crate) struct Sent<'a, T> {
    pub(crate) input: Matrix<'a, T>,
    pub(crate) states: Matrix<'a, T>,
    pub(crate) deltas: Matrix<'a, T>,
}

impl<'a, T: Scalar> Sent<'a, T> {
    /// # Errors
    /// [`ShapeError`] if something does not fit, which one layout does not let happen.
    #[inline(always)]
    pub(super) fn new<const B: usize, N: Architecture<Scalar = T>>(
        input: Matrix<'a, T>,
        state: &'a State<N, B>,
        deltas: &'a State<N, B>,
    ) -> Result<Self, ShapeError> {
        let units = const { N::LAYOUT.units() };
        Ok(Self {
            input,
            states: Matrix::new(state.as_slice(), B, units)?,
            deltas: Matrix::new(deltas.as_slice(), B, units)?,
        })
    }
    /// Whether no sum of `factor` times the gradient of a network of this layout can leave the finite numbers.
    #[inline(always)]
    pub(super) fn fits(self, site: impl Site<T>, factor: T, layout: &Layout) -> bool {
        site.run(Fits { from: self, factor, layout, most: T::HEADROOM })
    }
    /// Whether no such sum can reach `most`.
    #[inline(always)]
    fn is_below<L: Lanes<T>>(&self, lanes: L, factor: T, layout: &Layout, most: T) -> bool {
        let delta = factor.magnitude() * largest(lanes, self.deltas);
        // A W that feeds back too has two shares, one that layers share has more, none larger than this.
        let samples = self.deltas.rows() * layout.shares();
        is_below(delta, largest(lanes, self.input), samples, most)
            && is_below(delta, largest(lanes, self.states), samples, most)
    }
}

/// Whether no sum of `factor` times a gradient can reach `most`.
pub(super) struct Fits<'a, T> {
    pub(super) from: Sent<'a, T>,
    pub(super) factor: T,
    pub(super) layout: &'a Layout,
    pub(super) most: T,
}

impl<T: Scalar> Operation<T> for Fits<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) -> bool {
        self.from.is_below(lanes, self.factor, self.layout, self.most)
    }
}

/// Adds `factor` times what the deltas make of a gradient: with W^l what the layer below sent, with U^l what the layers
/// above did.
pub(super) struct Share<'a, T> {
    pub(super) factor: T,
    /// x, for W^1 and b^1; without it these two are left alone, to be added once for all sweeps.
    pub(super) input: Option<Matrix<'a, T>>,
    /// The states W was multiplied with.
    pub(super) below: Matrix<'a, T>,
    /// The states U was multiplied with.
    pub(super) above: Matrix<'a, T>,
    pub(super) deltas: Matrix<'a, T>,
}

impl<T: Scalar> Share<'_, T> {
    #[inline(always)]
    pub(super) fn add<const C: usize>(
        &self,
        site: impl Site<T>,
        to: &mut ParametersMut<'_, T>,
        walk: impl Walk,
    ) {
        site.run(AddShare::<_, _, C> { share: self, to, walk });
    }
}

struct AddShare<'s, 'a, 'b, T, W, const C: usize> {
    share: &'s Share<'a, T>,
    to: &'s mut ParametersMut<'b, T>,
    walk: W,
}

impl<T: Scalar, W: Walk, const C: usize> Operation<T> for AddShare<'_, '_, '_, T, W, C> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes<T>>(self, lanes: L) {
        let Self { share, to, walk } = self;
        let layout = walk.layout(to.layout());
        walk.up(layout, &mut AddLayer::<_, _, C> { share, lanes, to, layout });
    }
}

struct AddLayer<'s, 'a, 'b, T, L, const C: usize> {
    share: &'s Share<'a, T>,
    lanes: L,
    to: &'s mut ParametersMut<'b, T>,
    layout: &'a Layout,
}

impl<T: Scalar, L: Lanes<T>, const C: usize> EachLayer for AddLayer<'_, '_, '_, T, L, C> {
    const ALIKE: bool = true;

    #[inline(always)]
    fn layer<const UNITS: usize, const LAST: bool>(&mut self, index: usize) {
        let Self { share, lanes, to, layout } = self;
        let Share { factor, input, below, above, deltas } = **share;
        let Some(layer) = layout.layers().get(index) else { return };
        let own = layer.own_of(deltas);
        let sender = if index == 0 { input } else { Some(layer.below_of(below)) };
        let fed_back = layer.above_of(above);
        if let Some(k) = layout.tied::<T>()
            && index > 0
        {
            // What is fed back to the layer below through this W.
            let deltas = layer.below_of(deltas);
            let (factor, sent) = (factor * k, layer.own_of(above));
            let (gradient, ..) = to.layer(layer);
            fits(lanes.vectorize(Outer { factor, deltas: sent, inputs: deltas, gradient }));
        }
        if C == 1
            && let Some(sender) = sender
        {
            let gradient = to.block(layer);
            return fits(SideBySide { factor, deltas: own, sent: sender, fed_back, gradient }.add(*lanes));
        }
        let (w, u, b) = to.layer(layer);
        if let Some(inputs) = sender {
            fits(lanes.vectorize(Outer { factor, deltas: own, inputs, gradient: w }));
            fits(column_sums(factor, own, b));
        }
        if layer.feedback > 0 {
            fits(lanes.vectorize(Outer { factor, deltas: own, inputs: fed_back, gradient: u }));
        }
    }
}

/// [`Share::add`] with the columns of every gradient shared out among threads: each entry is summed by one thread, over all
/// samples in their order.
pub(super) fn accumulate_side_by_side<'a, T: Scalar>(
    backend: Backend,
    threads: Threads,
    factor: T,
    sent: Sent<'a, T>,
    layout: &'a Layout,
    mut layers: impl Iterator<Item = (&'a LayerLayout, MatrixMut<'a, T>, MatrixMut<'a, T>, &'a mut [T])> + Send,
) {
    let Some((layer, mut w, u, b)) = layers.next() else { return };
    let Sent { input, states, deltas } = sent;
    let own = layer.own_of(deltas);
    // The first layer reads the input.
    let below = if layer.units == 0 { input } else { layer.below_of(states) };
    let above = layer.above_of(states);
    threads.join(
        || {
            fits(column_sums(factor, own, b));
            if let Some(k) = layout.tied::<T>()
                && layer.units > 0
            {
                let fed_back = layer.below_of(deltas);
                let sent = layer.own_of(states);
                outer_side_by_side(backend, threads, (factor * k, sent), fed_back, w.reborrow());
            }
            outer_side_by_side(backend, threads, (factor, own), below, w);
            outer_side_by_side(backend, threads, (factor, own), above, u);
        },
        || accumulate_side_by_side(backend, threads, factor, sent, layout, layers),
    );
}

/// A factor times an outer product, its columns shared out.
fn outer_side_by_side<T: Scalar>(
    backend: Backend,
    threads: Threads,
    (factor, deltas): (T, Matrix<'_, T>),
    inputs: Matrix<'_, T>,
    gradient: MatrixMut<'_, T>,
) {
    // Few columns are not worth a thread's attention.
    const COLUMNS: usize = 64;
    let columns = gradient.cols();
    if columns <= COLUMNS {
        return fits(T::run(backend, Outer { factor, deltas, inputs, gradient }));
    }
    let half = columns.div_ceil(2);
    let (first, second) = gradient.split_columns(half);
    threads.join(
        || outer_side_by_side(backend, threads, (factor, deltas), inputs.columns(0, half), first),
        || outer_side_by_side(backend, threads, (factor, deltas), inputs.columns(half, columns), second),
    );
}

/// Whether sums of products of these magnitudes, over `samples`, can be added to any finite gradient without
/// overflow. NaN magnitudes cannot.
pub(crate) fn fits_gradient<T: Scalar>(delta: T, factor: T, samples: usize) -> bool {
    is_below(delta, factor, samples, T::HEADROOM)
}

/// Whether such sums stay below `most`. Those of NaN magnitudes do not.
#[inline(always)]
fn is_below<T: Scalar>(delta: T, factor: T, samples: usize, most: T) -> bool {
    // A NaN is not smaller and stays.
    let factor = if factor < T::ONE { T::ONE } else { factor };
    factor.is_finite() && delta * factor * T::from_f64(samples as f64) < most
}
