//! What is known of the registers.

use crate::image::Image;
use crate::thumb::{Expression, Instruction, STACK};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    Unknown,
    Constant(u32),
    /// An address so many bytes below the stack pointer at entry, or less far.
    Below(i32, Alignment),
    /// Such an address, shifted right by so many bits: `lsr` and `lsl` are how an M0 rounds down.
    Shifted(i32, Alignment, u32),
}

/// What is known of the lowest bits of an address. Once a frame has been rounded to 16 bytes, the frames on it
/// need not be taken for the least lucky ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alignment {
    /// How many bits.
    bits: u32,
    rest: u32,
}

impl Alignment {
    /// Where functions begin, by the procedure call standard.
    pub const STANDARD: Self = Self { bits: 3, rest: 0 };

    fn plus(self, offset: i32) -> Self {
        Self { rest: self.rest.wrapping_add_signed(offset) & ((1 << self.bits) - 1), ..self }
    }

    /// What holds of both.
    fn common(self, other: Self) -> Self {
        let bits = self.bits.min(other.bits).min((self.rest ^ other.rest).trailing_zeros());
        Self { bits, rest: self.rest & ((1 << bits) - 1) }
    }

    /// How much is lost at the worst by rounding down to 2^bits.
    fn loss(self, bits: u32) -> i32 {
        let worst = if bits > self.bits {
            (1 << bits) - (1 << self.bits) + self.rest
        } else {
            self.rest & ((1 << bits) - 1)
        };
        worst as i32
    }
}

/// The registers but `pc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State([Value; 15]);

impl State {
    pub fn at_entry(alignment: Alignment) -> Self {
        let mut values = [Value::Unknown; 15];
        values[usize::from(STACK)] = Value::Below(0, alignment);
        Self(values)
    }

    pub fn get(&self, register: u8) -> Value {
        self.0.get(usize::from(register)).copied().unwrap_or(Value::Unknown)
    }

    /// `None` where it is not known.
    pub fn depth(&self) -> Option<i32> {
        match self.get(STACK) {
            Value::Below(depth, _) => Some(depth),
            _ => None,
        }
    }

    /// How a function finds the stack pointer that is called now.
    pub fn alignment(&self) -> Alignment {
        match self.get(STACK) {
            Value::Below(_, alignment) => alignment,
            _ => Alignment::STANDARD,
        }
    }

    pub fn lose(&mut self, registers: u16) {
        for (index, value) in self.0.iter_mut().enumerate() {
            if registers >> index & 1 != 0 {
                *value = Value::Unknown;
            }
        }
    }

    pub fn join(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            *own = match (*own, *other) {
                (own, other) if own == other => own,
                (Value::Below(depth, own), Value::Below(same, other)) if depth == same => {
                    Value::Below(depth, own.common(other))
                }
                _ => Value::Unknown,
            };
        }
    }

    pub fn after(&self, instruction: &Instruction, image: &Image) -> Self {
        let mut after = *self;
        after.lose(instruction.lost);
        if let Some((register, expression)) = instruction.set
            && let Some(value) = after.0.get_mut(usize::from(register))
        {
            *value = self.evaluate(expression, image);
        }
        after
    }

    /// Moves the stack pointer.
    pub fn deepen(&mut self, bytes: i32) {
        self.0[usize::from(STACK)] = self.get(STACK).plus(bytes.saturating_neg());
    }

    fn evaluate(&self, expression: Expression, image: &Image) -> Value {
        use Value::{Below, Constant, Shifted, Unknown};
        match expression {
            Expression::Constant(value) => Constant(value),
            Expression::Literal(address) => image.word(address).map_or(Unknown, Constant),
            Expression::Offset(register, offset) => self.get(register).plus(offset),
            Expression::Sum(left, right) => match (self.get(left), self.get(right)) {
                (value, Constant(offset)) | (Constant(offset), value) => value.plus(offset as i32),
                _ => Unknown,
            },
            Expression::Difference(left, right) => match (self.get(left), self.get(right)) {
                (value, Constant(offset)) => value.plus((offset as i32).wrapping_neg()),
                _ => Unknown,
            },
            Expression::ShiftLeft(register, bits) => match self.get(register) {
                value if bits == 0 => value,
                Constant(value) => Constant(value << bits),
                Shifted(depth, alignment, shifted) if shifted == bits => {
                    Below(depth, alignment).aligned(bits)
                }
                _ => Unknown,
            },
            Expression::ShiftRight(register, bits) => match self.get(register) {
                Constant(value) => Constant(value >> bits),
                Below(depth, alignment) => Shifted(depth, alignment, bits),
                _ => Unknown,
            },
            Expression::Align(register, bits) => self.get(register).aligned(bits),
            Expression::Clear(register, mask) => match self.get(mask) {
                Constant(mask) if mask.wrapping_add(1).is_power_of_two() => {
                    self.get(register).aligned(mask.trailing_ones())
                }
                _ => Unknown,
            },
            Expression::Upper(register, half) => match self.get(register) {
                Constant(value) => Constant(value & 0xffff | u32::from(half) << 16),
                _ => Unknown,
            },
        }
    }
}

impl Value {
    fn plus(self, offset: i32) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(value.wrapping_add_signed(offset)),
            Self::Below(depth, alignment) => match depth.checked_sub(offset) {
                Some(depth) => Self::Below(depth, alignment.plus(offset)),
                None => Self::Unknown,
            },
            Self::Unknown | Self::Shifted(..) => Self::Unknown,
        }
    }

    /// Rounded down to 2^bits.
    fn aligned(self, bits: u32) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(value.checked_shr(bits).map_or(0, |value| value << bits)),
            Self::Below(depth, alignment) if bits < 16 => {
                let loss = alignment.loss(bits);
                let rounded = alignment.plus(-loss);
                let alignment = if bits > alignment.bits { Alignment { bits, rest: 0 } } else { rounded };
                depth.checked_add(loss).map_or(Self::Unknown, |depth| Self::Below(depth, alignment))
            }
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Value {
        Value::Below(0, Alignment::STANDARD)
    }

    fn depth(value: Value) -> i32 {
        let Value::Below(depth, _) = value else { panic!("{value:?} is not on the stack") };
        depth
    }

    #[test]
    fn rounding_down() {
        // A multiple of eight is known, of more the worst is taken.
        assert_eq!(depth(entry().plus(-12).aligned(3)), 16);
        assert_eq!(depth(entry().plus(-16).aligned(3)), 16);
        assert_eq!(depth(entry().plus(-16).aligned(4)), 24);
        assert_eq!(depth(entry().plus(-192).aligned(6)), 248);
        assert_eq!(depth(entry().plus(-12).aligned(6)), 72);
        assert_eq!(Value::Constant(0x1fff).aligned(4), Value::Constant(0x1ff0));
        assert_eq!(Value::Unknown.aligned(3), Value::Unknown);
    }

    #[test]
    fn what_is_rounded_stays_known() {
        let rounded = entry().plus(-16).aligned(4);
        assert_eq!(depth(rounded.aligned(4)), 24);
        assert_eq!(depth(rounded.plus(-8).aligned(4)), 40);
        assert_eq!(depth(rounded.plus(-16).aligned(4)), 40);
        assert_eq!(depth(rounded.aligned(5)), 40);
        assert_eq!(depth(rounded.plus(-4).aligned(2)), 28);
    }

    #[test]
    fn what_two_ways_have_in_common() {
        let here = Alignment { bits: 6, rest: 0b01_1000 };
        let there = Alignment { bits: 5, rest: 0b0_1000 };
        assert_eq!(here.common(there), Alignment { bits: 4, rest: 0b1000 });
        assert_eq!(here.common(here), here);
    }

    #[test]
    fn sums_do_not_overflow() {
        assert_eq!(Value::Below(i32::MIN, Alignment::STANDARD).plus(1), Value::Unknown);
        assert_eq!(Value::Below(i32::MAX - 1, Alignment::STANDARD).aligned(6), Value::Unknown);
        assert_eq!(Value::Constant(u32::MAX).plus(1), Value::Constant(0));
    }
}
