//! Sudokus: every row, column and box holds each digit once. A cell is 0 while it is empty.

use attractor_language::random::Random;

/// Sides of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Boxes {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

/// A puzzle with exactly one solution.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Puzzle {
    pub(crate) cells: Vec<u32>,
    pub(crate) solution: Vec<u32>,
}

impl Boxes {
    /// Cells of a side, and digits.
    pub(crate) const fn side(self) -> usize {
        self.rows * self.columns
    }

    pub(crate) const fn cells(self) -> usize {
        self.side() * self.side()
    }

    /// Digits that a cell may have, a bit each.
    fn free(self, grid: &[u32], cell: usize) -> u32 {
        let side = self.side();
        let (row, column) = (cell / side, cell % side);
        let (top, left) = (row / self.rows * self.rows, column / self.columns * self.columns);
        let taken = (0..side).fold(0, |taken, i| {
            let in_box = (top + i / self.columns) * side + left + i % self.columns;
            taken | 1 << grid[row * side + i] | 1 << grid[i * side + column] | 1 << grid[in_box]
        });
        ((2 << side) - 2) & !taken
    }

    /// Counts solutions up to `most`, trying digits in this order; `last` is the last one.
    fn solutions(self, grid: &mut [u32], order: &[u32], most: usize, last: &mut Vec<u32>) -> usize {
        let empty = (0..self.cells()).filter(|&cell| grid[cell] == 0);
        // The cell with the fewest digits left.
        let fewest =
            empty.map(|cell| (self.free(grid, cell), cell)).min_by_key(|(free, _)| free.count_ones());
        let Some((free, cell)) = fewest else {
            last.clear();
            last.extend_from_slice(grid);
            return 1;
        };
        let mut found = 0;
        for &digit in order.iter().filter(|&&digit| free >> digit & 1 == 1) {
            grid[cell] = digit;
            found += self.solutions(grid, order, most - found, last);
            if found >= most {
                break;
            }
        }
        grid[cell] = 0;
        found
    }

    /// A filled grid.
    pub(crate) fn filled(self, random: &mut Random) -> Vec<u32> {
        let mut grid = vec![0; self.cells()];
        // Some cells anywhere, then whatever fits: tried again where nothing does.
        loop {
            grid.fill(0);
            for _ in 0..self.side() {
                let cell = random.below(self.cells());
                let free = self.free(&grid, cell);
                let digits: Vec<u32> =
                    (1..=self.side() as u32).filter(|digit| free >> digit & 1 == 1).collect();
                if grid[cell] == 0 && !digits.is_empty() {
                    grid[cell] = digits[random.below(digits.len())];
                }
            }
            let order = shuffled((1..=self.side() as u32).collect(), random);
            let mut filled = Vec::new();
            if self.solutions(&mut grid, &order, 1, &mut filled) == 1 {
                return filled;
            }
        }
    }

    /// A puzzle of this solution, with so many cells given, or more if none can be left out.
    pub(crate) fn puzzle(self, solution: &[u32], givens: usize, random: &mut Random) -> Puzzle {
        let mut cells = solution.to_vec();
        let order: Vec<u32> = (1..=self.side() as u32).collect();
        let (mut left, mut last) = (self.cells(), Vec::new());
        for cell in shuffled((0..self.cells()).collect(), random) {
            if left <= givens {
                break;
            }
            let digit = core::mem::take(&mut cells[cell]);
            if self.solutions(&mut cells, &order, 2, &mut last) == 1 {
                left -= 1;
            } else {
                cells[cell] = digit;
            }
        }
        Puzzle { cells, solution: solution.to_vec() }
    }
}

impl Puzzle {
    /// The same with other digits.
    pub(crate) fn renamed(&self, random: &mut Random) -> Self {
        let most = self.solution.iter().max().copied().unwrap_or_default();
        let names = shuffled((1..=most).collect(), random);
        let name = |digit: &u32| if *digit == 0 { 0 } else { names[*digit as usize - 1] };
        Self {
            cells: self.cells.iter().map(name).collect(),
            solution: self.solution.iter().map(name).collect(),
        }
    }

    /// Whether this is the solution.
    pub(crate) fn is_solved_by(&self, answer: &[u32]) -> bool {
        let cells = self.cells.iter().zip(&self.solution).zip(answer);
        cells.into_iter().all(|((cell, right), found)| *cell != 0 || right == found)
    }
}

fn shuffled<T>(mut all: Vec<T>, random: &mut Random) -> Vec<T> {
    for i in (1..all.len()).rev() {
        all.swap(i, random.below(i + 1));
    }
    all
}
