//! Where a jump through a table can lead.
//!
//! Tables lie within their functions, and the instructions that read them come in few forms. A jump that fits none
//! of them has no targets here; it counts as a jump to anywhere.

use crate::image::{Function, Image};
use crate::thumb::{self, COUNTER, Condition, Flow};
use crate::value::{State, Value};
use std::collections::BTreeSet;

/// The surroundings of a jump.
pub struct Tables<'a> {
    pub image: &'a Image,
    pub function: &'a Function,
    /// The jump itself.
    pub address: u32,
    /// Behind it.
    pub following: u32,
}

impl Tables<'_> {
    /// `tbb` and `tbh`.
    pub fn of_distances(&self, state: &State, base: u8, wide: bool) -> Vec<u32> {
        match state.get(base) {
            _ if base == COUNTER => self.distances(self.following, wide),
            Value::Constant(table) => self.distances(table, wide),
            _ => Vec::new(),
        }
    }

    /// What an M0 does instead: `ldrb` or `ldrh`, `lsls`, `add pc`. The load has the table's address in a
    /// register, or has had `pc` added to the index.
    pub fn before_sum(&self, state: &State) -> Vec<u32> {
        let Some(load) = self.address.checked_sub(4).and_then(|place| self.image.halfword(place)) else {
            return Vec::new();
        };
        match load >> 9 {
            0b011_1100..=0b011_1111 => self.distances(self.following, false),
            0b100_0100..=0b100_0111 => self.distances(self.following, true),
            0b010_1110 => {
                self.loaded_from(state, load).map_or_else(Vec::new, |table| self.distances(table, false))
            }
            0b010_1101 => {
                self.loaded_from(state, load).map_or_else(Vec::new, |table| self.distances(table, true))
            }
            _ => Vec::new(),
        }
    }

    /// `ldr pc`: a table of addresses.
    pub fn of_addresses(&self, state: &State) -> Vec<u32> {
        let aligned = self.following.wrapping_add(3) & !3;
        let places = [aligned].into_iter().chain(self.constants(state));
        places.map(|place| self.addresses(place)).find(|targets| !targets.is_empty()).unwrap_or_default()
    }

    /// `mov pc`: a table of addresses, or one of branches, which are targets themselves.
    pub fn after_move(&self, state: &State) -> Vec<u32> {
        let targets = self.of_addresses(state);
        if !targets.is_empty() {
            return targets;
        }
        // There may be a gap before it.
        let aligned = self.following.wrapping_add(3) & !3;
        let places = [self.following, aligned].into_iter();
        places.map(|place| self.branches(place)).find(|targets| !targets.is_empty()).unwrap_or_default()
    }

    /// The constant of the two registers that a load adds.
    fn loaded_from(&self, state: &State, load: u16) -> Option<u32> {
        [load >> 3 & 7, load >> 6 & 7].into_iter().find_map(|register| match state.get(register as u8) {
            Value::Constant(table) if self.function.contains(table) => Some(table),
            _ => None,
        })
    }

    /// Constants that may be where a table begins.
    fn constants(&self, state: &State) -> impl Iterator<Item = u32> {
        let constants = (0..COUNTER).filter_map(|register| match state.get(register) {
            Value::Constant(place) => Some(place),
            _ => None,
        });
        constants.filter(|place| *place >= self.following && self.is_data(*place))
    }

    fn is_data(&self, place: u32) -> bool {
        self.function.contains(place) && self.image.is_data(place)
    }

    /// Distances from behind the jump, in halfwords. The targets lie behind the table, which so ends at the
    /// nearest of them.
    fn distances(&self, table: u32, wide: bool) -> Vec<u32> {
        let origin = self.address.wrapping_add(4);
        let mut targets: BTreeSet<u32> = BTreeSet::new();
        let mut place = table;
        while self.is_data(place) && targets.first().is_none_or(|nearest| place < *nearest) {
            let distance = if wide {
                self.image.halfword(place).map(u32::from)
            } else {
                self.image.byte(place).map(u32::from)
            };
            let Some(distance) = distance else { break };
            let target = origin.wrapping_add(2 * distance);
            // A byte that fills the table up points into it.
            if self.image.is_code(self.function, target) {
                targets.insert(target);
            }
            place = place.wrapping_add(if wide { 2 } else { 1 });
        }
        targets.into_iter().collect()
    }

    fn addresses(&self, table: u32) -> Vec<u32> {
        let mut targets = BTreeSet::new();
        let mut place = table;
        while self.is_data(place) {
            let Some(target) = self.image.word(place).map(|target| target & !1) else { break };
            if !self.image.is_code(self.function, target) {
                break;
            }
            targets.insert(target);
            place = place.wrapping_add(4);
        }
        targets.into_iter().collect()
    }

    fn branches(&self, table: u32) -> Vec<u32> {
        let is_far = |place: &u32| {
            let found = thumb::decode(self.image, *place).filter(|found| found.size == 4);
            let flow = found.map(|found| found.flow);
            self.image.is_code(self.function, *place)
                && matches!(flow, Some(Flow::Branch { condition: Condition::Always, .. }))
        };
        (table..self.function.end()).step_by(4).take_while(is_far).collect()
    }
}
