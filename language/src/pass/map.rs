//! A sweep as a map of states, for the solvers of the core.

use super::plan::{On, Plan, split_room};
use super::{Back, Model, PassError, carried, expect};
use attractor::kernel::Scalar;
use attractor::simd::Backend;
use attractor::solve::{Map, Transposed};
use core::cell::RefCell;
use core::fmt;

/// A sweep of a model over some sequences, as a map of the states that are fed back, those of all blocks but the first: its fixed point is that of
/// [`Sweeps::Settled`](super::Sweeps::Settled), to be found by any [`Solver`](attractor::solve::Solver) of the core, from any state, and so is its
/// adjoint.
///
/// ```
/// use attractor_language::{Config, pass::{Model, room}};
/// use attractor::{Stop, simd::Backend, solve::Solver};
///
/// const CONFIG: Config = Config { vocabulary: 5, ..Config::new(8, 2, 2, 4) };
/// let parameters: Vec<f32> = (0..CONFIG.parameters()).map(|i| ((i * 7) % 11) as f32 / 40.0).collect();
/// let mut memory = vec![0.0; room(&CONFIG, 1, 3, 1)];
/// let map = Model::new(CONFIG, &parameters)?.map(Backend::best(), &[0, 4, 2], 3, &mut memory)?;
///
/// let mut states = vec![0.0; map.size()];
/// map.start(&mut states)?; // as one sweep leaves them, which is better than zeros
/// let solver = Solver::anderson(3);
/// let mut history = vec![0.0; solver.room(states.len(), 1)];
/// let solved = solver.solve(&map, &mut states, Stop::residual(1e-5), &mut history)?;
/// assert!(solved.residual <= 1e-5);
/// let mut logits = [0.0; 3 * 5];
/// map.logits(&states, &mut logits)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StateMap<'m, T> {
    model: Model<'m, T>,
    plan: Plan,
    /// Maps are applied through a shared reference; nobody sees what is written here.
    memory: RefCell<(&'m mut [T], On<'m, T>)>,
}

impl<T> fmt::Debug for StateMap<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateMap({} tokens)", self.plan.rows)
    }
}

impl<'m, T: Scalar> Model<'m, T> {
    /// The sweep over sequences of one length as a [`Map`]. Room: [`room`](super::room), with one sweep kept.
    ///
    /// # Errors
    /// [`PassError`].
    pub fn map(
        self,
        backend: Backend,
        tokens: &[u32],
        length: usize,
        room: &'m mut [T],
    ) -> Result<StateMap<'m, T>, PassError> {
        let plan = self.plan(tokens, length, 1, room)?;
        let (memory, working) = split_room(&plan, room);
        self.embed(&plan, tokens, memory.get_mut(plan.embedding()).unwrap_or_default());
        Ok(StateMap {
            model: self,
            plan,
            memory: RefCell::new((memory, On { backend, plan, room: working })),
        })
    }
}

impl<T: Scalar> StateMap<'_, T> {
    /// How many numbers the states are: one a feature, token and block, but for the first block; none of a single block, which nothing is fed back to.
    #[must_use]
    pub const fn size(&self) -> usize {
        (self.plan.blocks - 1) * self.plan.width * self.plan.rows
    }

    /// The states that one sweep without feedback leaves.
    ///
    /// # Errors
    /// [`PassError`] if `states` is not of [`size`](Self::size).
    pub fn start(&self, states: &mut [T]) -> Result<(), PassError> {
        self.fits(states.len())?;
        self.sweep(None)?;
        self.read(states);
        Ok(())
    }

    /// The logits that a sweep from these states leaves: `tokens x vocabulary`, column after column.
    ///
    /// # Errors
    /// [`PassError`] if something is of another size, or not finite; the logits are unchanged then.
    pub fn logits(&self, states: &[T], logits: &mut [T]) -> Result<(), PassError> {
        self.fits(states.len())?;
        let plan = self.plan;
        self.sweep(Some(states))?;
        let memory = &mut *self.memory.borrow_mut();
        self.model.head(&mut memory.1, memory.0, plan.kept(0, plan.blocks - 1).output)?;
        plan.hand_out(memory.0, logits)
    }

    fn fits(&self, found: usize) -> Result<(), PassError> {
        expect("states", self.size(), found)
    }

    /// A sweep, from these states or without feedback.
    fn sweep(&self, states: Option<&[T]>) -> Result<(), PassError> {
        let plan = self.plan;
        let (memory, on) = &mut *self.memory.borrow_mut();
        let wide = plan.width * plan.rows;
        for (block, states) in states.into_iter().flat_map(|states| states.chunks_exact(wide).enumerate()) {
            let to = memory.get_mut(plan.state(block + 1)).unwrap_or_default();
            for (to, from) in to.chunks_exact_mut(plan.stride).zip(states.chunks_exact(plan.rows)) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
        }
        for block in 0..plan.blocks {
            let kept = plan.kept(0, block);
            let below = if block == 0 { plan.embedding() } else { plan.kept(0, block - 1).output };
            let above = (states.is_some() && self.model.config.feedback && block + 1 < plan.blocks)
                .then(|| plan.state(block + 1));
            self.model.block(on, block, memory, (below, above, kept.output.clone()), &kept)?;
        }
        Ok(())
    }

    /// What the last sweep left.
    fn read(&self, states: &mut [T]) {
        let plan = self.plan;
        let memory = self.memory.borrow();
        for (block, to) in states.chunks_exact_mut(plan.width * plan.rows).enumerate() {
            let from = memory.0.get(plan.kept(0, block + 1).output).unwrap_or_default();
            for (to, from) in to.chunks_exact_mut(plan.rows).zip(from.chunks_exact(plan.stride)) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

impl<T: Scalar> Map for StateMap<'_, T> {
    type Scalar = T;

    fn units(&self) -> usize {
        self.size()
    }

    fn apply(&self, state: &[T], next: &mut [T]) {
        match self.sweep(Some(state)) {
            Ok(()) => self.read(next),
            Err(_) => next.fill(T::NAN),
        }
    }
}

impl<T: Scalar> Transposed for StateMap<'_, T> {
    fn apply_transposed(&self, state: &[T], deltas: &[T], next: &mut [T]) {
        let plan = self.plan;
        let wide = plan.width * plan.rows;
        let done = self.sweep(Some(state)).and_then(|()| {
            let (memory, on) = &mut *self.memory.borrow_mut();
            carried(&plan, memory, 0).fill(T::ZERO);
            for (block, deltas) in deltas.chunks_exact(wide).enumerate() {
                let to = memory.get_mut(plan.carried(0, block + 1)).unwrap_or_default();
                for (to, from) in to.chunks_exact_mut(plan.stride).zip(deltas.chunks_exact(plan.rows)) {
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                }
            }
            let back = Back { seed: None, fixed: true, tokens: &[], gradient: None };
            self.model.sweep_back(on, memory, 0, 0, back)?;
            for (block, next) in next.chunks_exact_mut(wide).enumerate() {
                let from = memory.get(plan.carried(1, block + 1)).unwrap_or_default();
                for (to, from) in next.chunks_exact_mut(plan.rows).zip(from.chunks_exact(plan.stride)) {
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                }
            }
            Ok(())
        });
        if done.is_err() {
            next.fill(T::NAN);
        }
    }
}
