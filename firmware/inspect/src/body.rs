//! Follows one function from its entry, instruction by instruction, and knows at each how deep the stack is.
//!
//! Depth is counted in bytes below the stack pointer at entry. Where two ways meet, what they do not agree on is
//! not known any more; so the walk ends. Conditional instructions are walked twice, once for their condition and
//! once for the opposite, as a conditional return would else leave two depths behind.

use crate::error::Error;
use crate::image::{Function, Image};
use crate::tables::Tables;
use crate::thumb::{self, Condition, Flow, Instruction, LINK, SAVED};
use crate::value::{Alignment, State, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What a function does, as far as the stack is concerned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    /// Its own frame where it is largest; `None` if neither the code nor `.stack_sizes` tell.
    pub own: Option<u32>,
    pub calls: Vec<Call>,
    /// Calls or jumps to where nothing is known of.
    pub indirect: bool,
    /// How it comes back, if ever, given how its callees do.
    pub returns: Option<Return>,
}

/// A function, as it is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub address: u32,
    pub alignment: Alignment,
}

/// What a caller finds changed. By the procedure call standard neither its stack pointer nor r4 to r11; but the
/// compiler may move code that several functions share, even the end of their frames, into functions of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Return {
    /// Bytes more on the stack, or less.
    pub depth: i32,
    pub changed: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub callee: Entry,
    /// Bytes of the caller that lie on the stack meanwhile: none for a tail call after its frame is given back,
    /// and less where code that was moved out of its function gives back the frame of that.
    pub depth: i32,
}

/// Where the walk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    address: u32,
    /// Which of the next instructions are run, as in `Flow::If`; zero outside of an IT block.
    pattern: u8,
    /// The condition that holds in the block. It holds behind it too, for another block or a branch: a block has
    /// four instructions at most, and a compiler that needs more begins another.
    holds: Option<u8>,
}

impl Place {
    fn plain(address: u32) -> Self {
        Self { address, pattern: 0, holds: None }
    }
}

/// What an instruction leads to.
#[derive(Debug, Default)]
struct Step {
    next: Vec<(Place, State)>,
    calls: Vec<(Entry, Option<i32>)>,
    indirect: bool,
    /// Returns with so much on the stack, if that is known.
    returns: Vec<Option<i32>>,
    pushed: u16,
    changed: u16,
    /// Jumps to what it finds in its own frame.
    pops_own: bool,
    /// `None` where it is not known.
    depth: Option<i32>,
}

struct Walk<'a> {
    image: &'a Image,
    function: &'a Function,
    /// The functions that come back.
    returning: &'a BTreeMap<u32, Return>,
}

/// Walks through `function`; calls to functions not in `returning` end the way.
pub fn follow(
    image: &Image,
    function: &Function,
    alignment: Alignment,
    returning: &BTreeMap<u32, Return>,
) -> Result<Body, Error> {
    let walk = Walk { image, function, returning };
    let mut states: BTreeMap<Place, State> = BTreeMap::new();
    let mut work = vec![(Place::plain(function.address), State::at_entry(alignment))];
    while let Some((place, mut state)) = work.pop() {
        if let Some(known) = states.get(&place) {
            state.join(known);
            if state == *known {
                continue;
            }
        }
        states.insert(place, state);
        work.append(&mut walk.step(place, &state)?.next);
    }

    // Every state is settled: now what they mean.
    let mut steps = Vec::with_capacity(states.len());
    for (place, state) in &states {
        steps.push(walk.step(*place, state)?);
    }
    walk.gather(&steps)
}

impl Walk<'_> {
    fn gather(&self, steps: &[Step]) -> Result<Body, Error> {
        let decoded = steps.iter().filter_map(|step| step.depth).max().unwrap_or(0);
        let decoded = u32::try_from(decoded).unwrap_or(0);
        let own = match self.function.entry {
            Some(entry) => Some(entry.max(decoded)),
            None if steps.iter().any(|step| step.depth.is_none()) => None,
            None => Some(decoded),
        };
        // Where the depth is not known, the whole frame is there.
        let whole = own.map_or(0, |own| i32::try_from(own).unwrap_or(i32::MAX));
        let calls: BTreeSet<Call> = steps
            .iter()
            .flat_map(|step| &step.calls)
            .map(|(callee, depth)| Call { callee: *callee, depth: depth.unwrap_or(whole) })
            .collect();
        let pushed = steps.iter().fold(0, |pushed, step| pushed | step.pushed);
        let changed = steps.iter().fold(0, |changed, step| changed | step.changed);
        // What was never saved cannot be returned to: a linker's veneer jumps so.
        let veneer = steps.iter().any(|step| step.pops_own) && pushed >> LINK & 1 == 0;
        Ok(Body {
            own,
            calls: calls.into_iter().collect(),
            indirect: veneer || steps.iter().any(|step| step.indirect),
            returns: self.returns(steps)?.map(|depth| Return { depth, changed: changed & SAVED & !pushed }),
        })
    }

    /// The depth at every return, which must be the same; where it is not known, the standard's.
    fn returns(&self, steps: &[Step]) -> Result<Option<i32>, Error> {
        let depths: BTreeSet<Option<i32>> = steps.iter().flat_map(|step| &step.returns).copied().collect();
        let mut known = depths.iter().flatten();
        match (known.next(), known.next()) {
            (Some(depth), None) => Ok(Some(*depth)),
            (Some(_), Some(_)) => Err(Error::Unbalanced { function: self.name() }),
            (None, _) => Ok(depths.first().map(|_| 0)),
        }
    }

    fn name(&self) -> String {
        self.function.name().to_owned()
    }

    fn decode(&self, address: u32) -> Result<Instruction, Error> {
        let found = thumb::decode(self.image, address);
        found.ok_or_else(|| Error::UnknownInstruction { function: self.name(), address })
    }

    fn step(&self, place: Place, state: &State) -> Result<Step, Error> {
        let Place { address, pattern, holds } = place;
        let instruction = self.decode(address)?;
        let following = Place {
            address: address.wrapping_add(instruction.size),
            // Of one alone, nothing follows.
            pattern: if pattern > 3 { pattern >> 1 } else { 0 },
            // Who is called may change the flags.
            holds: holds.filter(|_| pattern > 1 && instruction.flow == Flow::Next),
        };
        let mut step = Step { depth: state.depth(), ..Step::default() };
        if pattern > 1 && pattern & 1 == 0 {
            self.go_on(&mut step, address, following, state, false)?;
            return Ok(step);
        }
        let after = state.after(&instruction, self.image);
        let tables =
            Tables { image: self.image, function: self.function, address, following: following.address };
        step.pushed = instruction.pushed;
        step.changed = instruction.lost | instruction.set.map_or(0, |(register, _)| 1 << register);
        step.depth = after.depth();
        match instruction.flow {
            Flow::Next if pattern > 1 && instruction.compares => {
                // What held may hold no more.
                let following = Place { holds: None, ..following };
                self.go_on(&mut step, address, following, &after, false)?;
                if following.pattern != 0 {
                    let opposite = Place { pattern: inverted(following.pattern), ..following };
                    self.go_on(&mut step, address, opposite, &after, false)?;
                }
            }
            Flow::Next => self.go_on(&mut step, address, following, &after, false)?,
            Flow::Ask => self.go_on(&mut step, address, following, &after, true)?,
            Flow::If { condition, pattern } => {
                for (condition, pattern) in [(condition, pattern), (condition ^ 1, inverted(pattern))] {
                    if holds != Some(condition ^ 1) {
                        let block = Place { pattern, holds: Some(condition), ..following };
                        self.go_on(&mut step, address, block, &after, false)?;
                    }
                }
            }
            Flow::Branch { target, condition } => {
                let never = matches!(condition, Condition::Flags(flags) if holds == Some(flags ^ 1));
                let always = matches!(condition, Condition::Flags(flags) if holds == Some(flags));
                if !never {
                    self.jump(&mut step, address, target, &after)?;
                }
                if condition != Condition::Always && !always {
                    self.go_on(&mut step, address, following, &after, false)?;
                }
            }
            // How compilers branch far on an M0; in assembly it may as well be a subroutine, which is not
            // followed.
            Flow::Call(target)
                if self.function.entry.is_some()
                    && target != self.function.address
                    && self.image.is_code(self.function, target) =>
            {
                self.jump(&mut step, address, target, &after)?;
            }
            Flow::Call(target) => self.call_and_go_on(&mut step, address, target, following, after)?,
            Flow::CallRegister(register) => match self.known(state.get(register)) {
                Some(target) => self.call_and_go_on(&mut step, address, target, following, after)?,
                None => {
                    step.indirect = true;
                    self.go_on(&mut step, address, following, &after, true)?;
                }
            },
            Flow::Jump(register) | Flow::Move(register) => match self.known(state.get(register)) {
                Some(target) => self.jump(&mut step, address, target, &after)?,
                None if register == LINK => step.returns.push(after.depth()),
                None if instruction.flow == Flow::Move(register) => {
                    self.table_or_indirect(&mut step, tables.after_move(state), &after);
                }
                None => self.table_or_indirect(&mut step, Vec::new(), &after),
            },
            Flow::JumpLiteral(place) => match self.image.word(place).map(|target| target & !1) {
                Some(target) => self.jump(&mut step, address, target, &after)?,
                None => self.table_or_indirect(&mut step, Vec::new(), &after),
            },
            Flow::JumpLoaded => self.table_or_indirect(&mut step, tables.of_addresses(state), &after),
            Flow::JumpPopped => {
                step.returns.push(after.depth());
                step.pops_own = after.depth().is_none_or(|depth| depth >= 0);
            }
            Flow::Table { base, wide } => {
                let targets = tables.of_distances(state, base, wide);
                self.table_or_indirect(&mut step, targets, &after);
            }
            Flow::AddCounter => self.table_or_indirect(&mut step, tables.before_sum(state), &after),
            Flow::Stop => {}
        }
        Ok(step)
    }

    /// The function whose address a register holds.
    fn known(&self, value: Value) -> Option<u32> {
        match value {
            Value::Constant(address) => {
                let address = address & !1;
                (self.image.functions.contains_key(&address) || self.function.contains(address))
                    .then_some(address)
            }
            _ => None,
        }
    }

    /// To the next instruction, or into the next function. What ends with a call has one that does not come back.
    fn go_on(
        &self,
        step: &mut Step,
        address: u32,
        following: Place,
        state: &State,
        may_end: bool,
    ) -> Result<(), Error> {
        if self.image.is_code(self.function, following.address) {
            step.next.push((following, *state));
            return Ok(());
        }
        let elsewhere = !self.function.contains(following.address);
        if elsewhere && !may_end && self.image.functions.contains_key(&following.address) {
            return self.jump(step, address, following.address, state);
        }
        if may_end {
            return Ok(());
        }
        Err(Error::RunsOn { function: self.name(), address: following.address })
    }

    /// To another place in the function, or the tail call of another one.
    fn jump(&self, step: &mut Step, address: u32, target: u32, state: &State) -> Result<(), Error> {
        let again = target == self.function.address && state.depth() != Some(0);
        if self.image.is_code(self.function, target) && !again {
            step.next.push((Place::plain(target), *state));
            return Ok(());
        }
        self.call(step, address, target, state)?;
        if let Some(found) = self.returning.get(&target) {
            step.returns.push(state.depth().map(|depth| depth.saturating_add(found.depth)));
            step.changed |= found.changed;
        }
        Ok(())
    }

    fn call(&self, step: &mut Step, address: u32, target: u32, state: &State) -> Result<(), Error> {
        if !self.image.functions.contains_key(&target) {
            return Err(Error::NoFunction { function: self.name(), address, target });
        }
        step.calls.push((Entry { address: target, alignment: state.alignment() }, state.depth()));
        Ok(())
    }

    fn call_and_go_on(
        &self,
        step: &mut Step,
        address: u32,
        target: u32,
        following: Place,
        mut state: State,
    ) -> Result<(), Error> {
        self.call(step, address, target, &state)?;
        let Some(found) = self.returning.get(&target) else { return Ok(()) };
        step.changed |= found.changed;
        state.lose(found.changed);
        state.deepen(found.depth);
        self.go_on(step, address, following, &state, true)
    }

    /// A jump within the function if there is a table of targets, else to anywhere.
    fn table_or_indirect(&self, step: &mut Step, targets: Vec<u32>, state: &State) {
        if targets.is_empty() {
            step.indirect = true;
            step.returns.push(None);
        }
        step.next.extend(targets.into_iter().map(|target| (Place::plain(target), *state)));
    }
}

/// The pattern of the opposite condition.
fn inverted(pattern: u8) -> u8 {
    let highest = 1 << (7 - pattern.max(1).leading_zeros());
    pattern ^ (highest - 1)
}
