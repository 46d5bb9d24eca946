//! Sudokus of 4x4 cells: every row, column and 2x2 box holds 1 to 4.

use crate::clamped::{Problem, UNITS, Units};
use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use std::collections::BTreeSet;

const SIDE: usize = 4;
pub(crate) const CELLS: usize = SIDE * SIDE;

/// A digit, 0 to 3, in each cell, row by row.
pub(crate) type Grid = [u8; CELLS];

/// A puzzle with exactly one solution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Puzzle {
    pub(crate) solution: Grid,
    pub(crate) given: [bool; CELLS],
}

/// Whether no row, column or box holds two of the same among the first `filled` cells, the last of which is new.
fn fits(grid: &Grid, filled: usize) -> bool {
    let new = filled - 1;
    let (row, column) = (new / SIDE, new % SIDE);
    (0..new).all(|other| {
        let (other_row, other_column) = (other / SIDE, other % SIDE);
        let meets = row == other_row
            || column == other_column
            || (row / 2, column / 2) == (other_row / 2, other_column / 2);
        !meets || grid[new] != grid[other]
    })
}

/// All 288 filled grids.
pub(crate) fn grids() -> Vec<Grid> {
    let mut all = vec![[0; CELLS]];
    for filled in 1..=CELLS {
        let with = |grid: Grid| {
            (0..SIDE as u8).map(move |digit| {
                let mut grid = grid;
                grid[filled - 1] = digit;
                grid
            })
        };
        all = all.into_iter().flat_map(with).filter(|grid| fits(grid, filled)).collect();
    }
    all
}

/// Makes puzzles whose solutions are some of all grids.
#[derive(Clone)]
pub(crate) struct Maker {
    all: Vec<Grid>,
    solutions: Vec<Grid>,
}

impl Maker {
    /// Two makers that share no solution, the second with `held_out` of them; the same on every run.
    pub(crate) fn pair(held_out: usize) -> (Self, Self) {
        let all = grids();
        let mut order = all.clone();
        order.shuffle(&mut SmallRng::seed_from_u64(0));
        let rest = order.split_off(held_out);
        (Self { all: all.clone(), solutions: rest }, Self { all, solutions: order })
    }

    pub(crate) fn solutions(&self) -> usize {
        self.solutions.len()
    }

    /// A puzzle with so many cells given.
    pub(crate) fn puzzle(&self, givens: usize, random: &mut impl Rng) -> Puzzle {
        loop {
            let solution = self.solutions[random.random_range(0..self.solutions.len())];
            let mut given = core::array::from_fn(|cell| cell < givens);
            given.shuffle(random);
            let agrees = |other: &&Grid| (0..CELLS).all(|cell| !given[cell] || other[cell] == solution[cell]);
            if self.all.iter().filter(agrees).count() == 1 {
                return Puzzle { solution, given };
            }
        }
    }

    /// So many different puzzles.
    pub(crate) fn different(&self, count: usize, givens: usize, random: &mut impl Rng) -> Vec<Puzzle> {
        let mut puzzles = BTreeSet::new();
        while puzzles.len() < count {
            puzzles.insert(self.puzzle(givens, random));
        }
        puzzles.into_iter().collect()
    }
}

impl Puzzle {
    /// Four units a cell, that of its digit 1 and the others -1.
    pub(crate) fn problem(&self) -> Problem {
        let truth: Units = core::array::from_fn(|unit| {
            if usize::from(self.solution[unit / SIDE]) == unit % SIDE { 1.0 } else { -1.0 }
        });
        let known = core::array::from_fn(|unit| if self.given[unit / SIDE] { truth[unit] } else { 0.0 });
        Problem { known, truth }
    }

    /// The digit of every cell: the given one, or that of the largest of its units.
    pub(crate) fn answer(&self, output: &Units) -> Grid {
        core::array::from_fn(|cell| {
            if self.given[cell] {
                return self.solution[cell];
            }
            let units = &output[cell * SIDE..][..SIDE];
            (1..SIDE).fold(0, |best, digit| if units[digit] > units[best] { digit } else { best }) as u8
        })
    }
}
const _: () = assert!(CELLS * SIDE == UNITS);
