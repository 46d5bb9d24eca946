//! The worst case of the stack: the deepest way through the graph of calls.

use crate::body::{Body, Call, Entry, Return, follow};
use crate::error::{Error, Path};
use crate::image::{Image, Machine};
use crate::value::Alignment;
use std::collections::{BTreeMap, BTreeSet};

/// All functions of an image, walked through.
#[derive(Debug)]
pub struct Graph<'a> {
    image: &'a Image,
    /// Each as if it were entered by the standard.
    bodies: BTreeMap<u32, Result<Body, Error>>,
    returning: BTreeMap<u32, Return>,
}

/// The stack of a function with all it calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    pub bytes: u32,
    /// The deepest way: functions, and how much of the stack lies between each and the next, of the last its own
    /// frame.
    pub path: Vec<(String, i64)>,
}

#[derive(Debug, Clone, Copy)]
struct Deepest {
    bytes: u32,
    /// The depth at the deepest call, and whom it calls; of a leaf its frame.
    depth: i64,
    next: Option<Entry>,
}

/// A function on the way from the first to the one in hand.
#[derive(Debug)]
struct Stop {
    entry: Entry,
    body: Body,
    /// How many of its calls are done.
    done: usize,
}

impl<'a> Graph<'a> {
    pub fn new(image: &'a Image) -> Result<Self, Error> {
        if image.machine != Machine::Thumb {
            return Err(Error::NotThumb);
        }
        // Code behind a call that never comes back is not run, and may have another depth. So first nobody comes
        // back, then who does so without calls, then who does given these, and so on.
        let mut returning: BTreeMap<u32, Return> = BTreeMap::new();
        loop {
            let bodies: BTreeMap<u32, Result<Body, Error>> = image
                .functions
                .values()
                .map(|function| (function.address, follow(image, function, Alignment::STANDARD, &returning)))
                .collect();
            let before = returning.clone();
            for (address, body) in &bodies {
                // Of what cannot be followed, the standard is taken for granted until somebody asks for it.
                let found = body.as_ref().map_or(Some(Return::default()), |body| body.returns);
                if let Some(found) = found {
                    returning.entry(*address).or_insert(found).changed |= found.changed;
                }
            }
            if returning == before {
                return Ok(Self { image, bodies, returning });
            }
        }
    }

    /// What a function takes by itself, if that can be told.
    pub fn own(&self, address: u32) -> Option<u32> {
        self.bodies.get(&address)?.as_ref().ok()?.own
    }

    /// `allowed` are the functions whose indirect calls are taken to need no stack.
    pub fn bound(&self, function: u32, allowed: &BTreeSet<u32>) -> Result<Bound, Error> {
        let mut known: BTreeMap<Entry, Deepest> = BTreeMap::new();
        let mut indirect = Vec::new();
        let start = Entry { address: function, alignment: Alignment::STANDARD };
        let mut way = vec![self.stop(start)?];
        while let Some(stop) = way.last_mut() {
            let call = stop.body.calls.get(stop.done).copied();
            stop.done += 1;
            if let Some(Call { callee, .. }) = call {
                if known.contains_key(&callee) {
                    continue;
                }
                if let Some(start) = way.iter().position(|stop| stop.entry.address == callee.address) {
                    let mut cycle = self.names(&way[start..]);
                    cycle.push(self.name(callee.address));
                    return Err(Error::Recursion(cycle));
                }
                way.push(self.stop(callee)?);
                continue;
            }
            let path = if stop.body.indirect { self.names(&way) } else { Path::new() };
            let Some(Stop { entry, body, .. }) = way.pop() else { break };
            if body.indirect && !allowed.contains(&entry.address) {
                indirect.push(path);
            }
            known.insert(entry, self.deepest(entry, &body, &known)?);
        }
        if !indirect.is_empty() {
            return Err(Error::Indirect(indirect));
        }
        Ok(self.trace(start, &known))
    }

    fn stop(&self, entry: Entry) -> Result<Stop, Error> {
        let function = self.image.functions.get(&entry.address);
        let function = function.ok_or_else(|| Error::UnknownName(self.name(entry.address)))?;
        Ok(Stop { entry, body: follow(self.image, function, entry.alignment, &self.returning)?, done: 0 })
    }

    /// All callees are `known`.
    fn deepest(&self, entry: Entry, body: &Body, known: &BTreeMap<Entry, Deepest>) -> Result<Deepest, Error> {
        let own = body.own.ok_or_else(|| Error::UnknownStack { function: self.name(entry.address) })?;
        let mut deepest = Deepest { bytes: own, depth: own.into(), next: None };
        for Call { callee, depth } in &body.calls {
            let bytes = known.get(callee).map_or(0, |found| found.bytes).saturating_add_signed(*depth);
            // Of equals, the way that is longer says more.
            if bytes >= deepest.bytes {
                deepest = Deepest { bytes, depth: (*depth).into(), next: Some(*callee) };
            }
        }
        Ok(deepest)
    }

    fn trace(&self, start: Entry, known: &BTreeMap<Entry, Deepest>) -> Bound {
        let mut path = Vec::new();
        let mut next = Some(start);
        while let Some((entry, deepest)) = next.and_then(|entry| known.get_key_value(&entry)) {
            path.push((self.name(entry.address), deepest.depth));
            next = deepest.next;
        }
        Bound { bytes: known.get(&start).map_or(0, |deepest| deepest.bytes), path }
    }

    fn name(&self, address: u32) -> String {
        self.image
            .functions
            .get(&address)
            .map_or_else(|| format!("{address:#x}"), |found| found.name().to_owned())
    }

    fn names(&self, way: &[Stop]) -> Path {
        way.iter().map(|stop| self.name(stop.entry.address)).collect()
    }
}
