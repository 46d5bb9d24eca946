//! Memory for the large arrays of a run: parameters, gradients, room.

use crate::pass::LINE;
use core::ops::{Deref, DerefMut};

/// Zeros at first, as many as asked for, that begin at a line of the caches: vectors of them lie in one line each.
#[derive(Debug)]
pub struct Numbers {
    data: Vec<f32>,
    start: usize,
    count: usize,
}

impl Numbers {
    /// So many.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let data = vec![0.0_f32; count + LINE - 1];
        // The data stay where they are: nothing is ever pushed.
        let start = data.as_ptr().align_offset(LINE * size_of::<f32>()).min(data.len() - count);
        Self { data, start, count }
    }
}

impl Deref for Numbers {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.data.get(self.start..self.start + self.count).unwrap_or_default()
    }
}

impl DerefMut for Numbers {
    fn deref_mut(&mut self) -> &mut [f32] {
        self.data.get_mut(self.start..self.start + self.count).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Numbers;

    #[test]
    fn begins_at_a_line() {
        for count in [0, 1, 15, 16, 17, 1000, 100_003] {
            let mut numbers = Numbers::new(count);
            assert_eq!(numbers.len(), count);
            assert!(numbers.iter().all(|&x| x == 0.0));
            numbers.fill(1.0);
            assert_eq!(numbers.as_ptr().addr() % 64, 0);
        }
    }
}
