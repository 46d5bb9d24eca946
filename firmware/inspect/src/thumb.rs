//! As much of Thumb and Thumb-2 as is needed to follow control, the stack pointer, and constants that become
//! addresses.
//!
//! What an instruction computes matters only where it can end in `sp` or `pc`: constants, `sp` and its copies,
//! sums of these, and rounding down to an alignment. Every other result is a register of unknown value, and it
//! must be said which.

use crate::image::Image;

/// Registers are their numbers.
pub const STACK: u8 = 13;
pub const LINK: u8 = 14;
pub const COUNTER: u8 = 15;

/// Registers a call may change by the procedure call standard: r0 to r3, r12, lr.
pub const SCRATCH: u16 = 0b0101_0000_0000_1111;

/// Registers it must give back as they were, apart from the stack pointer: r4 to r11.
pub const SAVED: u16 = 0b0000_1111_1111_0000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Two or four bytes.
    pub size: u32,
    /// A bit for every register whose value is not known afterwards.
    pub lost: u16,
    /// A register whose value may be known afterwards; it wins over `lost`.
    pub set: Option<(u8, Expression)>,
    /// A bit for every register it pushes.
    pub pushed: u16,
    /// Changes the flags even within an IT block.
    pub compares: bool,
    pub flow: Flow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expression {
    Constant(u32),
    /// The word at this address.
    Literal(u32),
    /// A register and a number.
    Offset(u8, i32),
    /// Two registers.
    Sum(u8, u8),
    Difference(u8, u8),
    ShiftLeft(u8, u32),
    ShiftRight(u8, u32),
    /// The register with its lowest bits cleared, so many.
    Align(u8, u32),
    /// The first register with the bits of the second cleared.
    Clear(u8, u8),
    /// The register with its upper half replaced.
    Upper(u8, u16),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Next,
    /// Goes on if whoever is asked lets it: `svc`, `bkpt`.
    Ask,
    Branch {
        target: u32,
        condition: Condition,
    },
    Call(u32),
    CallRegister(u8),
    /// `bx`.
    Jump(u8),
    /// `mov pc`: as `bx`, or through a table.
    Move(u8),
    /// To the word at this address.
    JumpLiteral(u32),
    /// To what a load found: `ldr pc`, or a return if the stack held it.
    JumpLoaded,
    JumpPopped,
    /// `tbb` and `tbh`: the table begins where the register says; entries are one or two bytes.
    Table {
        base: u8,
        wide: bool,
    },
    /// `add pc`: the compiler's own `tbb` where there is none.
    AddCounter,
    /// The next instructions are run on a condition or on its opposite: one bit each, first lowest, set where it
    /// is the condition, and a one above them.
    If {
        condition: u8,
        pattern: u8,
    },
    /// `udf`.
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Always,
    /// What the flags must be, by its number; the opposite has the other lowest bit.
    Flags(u8),
    /// What a register must be.
    Register,
}

impl Instruction {
    const fn new(size: u32) -> Self {
        Self { size, lost: 0, set: None, pushed: 0, compares: false, flow: Flow::Next }
    }

    const fn lost(mut self, registers: u16) -> Self {
        self.lost |= registers;
        self
    }

    const fn set(mut self, register: u8, expression: Expression) -> Self {
        self.set = Some((register, expression));
        self
    }

    const fn flow(mut self, flow: Flow) -> Self {
        self.flow = flow;
        self
    }

    const fn compares(mut self, compares: bool) -> Self {
        self.compares = compares;
        self
    }

    const fn pushed(mut self, registers: u16) -> Self {
        self.pushed |= registers;
        self
    }
}

const fn one(register: u32) -> u16 {
    1 << (register & 15)
}

/// `width` bits from bit `low` on.
const fn bits(word: u16, low: u32, width: u32) -> u32 {
    ((word >> low) as u32) & ((1 << width) - 1)
}

const fn register(word: u16, low: u32) -> u8 {
    (word >> low & 15) as u8
}

/// A low register: three bits.
const fn low(word: u16, low: u32) -> u8 {
    (word >> low & 7) as u8
}

const fn bit(word: u16, index: u32) -> bool {
    word >> index & 1 != 0
}

const fn signed(value: u32, width: u32) -> i32 {
    ((value << (32 - width)) as i32) >> (32 - width)
}

/// The instruction at an address; `None` if there is none, or none that this tool knows.
pub fn decode(image: &Image, address: u32) -> Option<Instruction> {
    let first = image.halfword(address)?;
    if is_wide(first) {
        wide(first, image.halfword(address.checked_add(2)?)?, address)
    } else {
        narrow(first, address)
    }
}

/// Whether an instruction with this first half has a second one.
const fn is_wide(first: u16) -> bool {
    first >> 11 >= 0b11101
}

/// What `pc` reads as: two instructions ahead.
const fn ahead(address: u32) -> u32 {
    address.wrapping_add(4)
}

const fn aligned(address: u32) -> u32 {
    ahead(address) & !3
}

/// An instruction of two bytes.
fn narrow(word: u16, address: u32) -> Option<Instruction> {
    use Expression::{Clear, Constant, Literal, Offset, ShiftLeft, ShiftRight, Sum};
    let plain = Instruction::new(2);
    let (destination, source) = (low(word, 0), low(word, 3));
    let middle = low(word, 8);
    let byte = bits(word, 0, 8);
    Some(match word >> 11 {
        0b00000 => plain.set(destination, ShiftLeft(source, bits(word, 6, 5))),
        // A shift of zero stands for 32.
        0b00001 if bits(word, 6, 5) != 0 => plain.set(destination, ShiftRight(source, bits(word, 6, 5))),
        0b00001 | 0b00010 => plain.lost(one(destination.into())),
        0b00011 => {
            let (third, subtract) = (low(word, 6), bit(word, 9));
            let expression = match (bit(word, 10), subtract) {
                (true, false) => Offset(source, third.into()),
                (true, true) => Offset(source, -i32::from(third)),
                (false, false) => Sum(source, third),
                (false, true) => Expression::Difference(source, third),
            };
            plain.set(destination, expression)
        }
        0b00100 => plain.set(middle, Constant(byte)),
        0b00101 => plain.compares(true),
        0b00110 => plain.set(middle, Offset(middle, byte as i32)),
        0b00111 => plain.set(middle, Offset(middle, -(byte as i32))),
        0b01000 if !bit(word, 10) => match bits(word, 6, 4) {
            // TST, CMP, CMN
            8 | 10 | 11 => plain.compares(true),
            14 => plain.set(destination, Clear(destination, source)),
            _ => plain.lost(one(destination.into())),
        },
        0b01000 => {
            let destination = destination | if bit(word, 7) { 8 } else { 0 };
            let source = register(word, 3);
            match bits(word, 8, 2) {
                0 if destination == COUNTER => plain.flow(Flow::AddCounter),
                0 => plain.set(destination, Sum(destination, source)),
                1 => plain.compares(true),
                2 if destination == COUNTER => plain.flow(Flow::Move(source)),
                2 => plain.set(destination, Offset(source, 0)),
                _ if bit(word, 7) => plain.lost(SCRATCH).flow(Flow::CallRegister(source)),
                _ => plain.flow(Flow::Jump(source)),
            }
        }
        0b01001 => plain.set(middle, Literal(aligned(address).wrapping_add(4 * byte))),
        0b01010 | 0b01011 => {
            // The first three of eight are stores.
            if bits(word, 9, 3) < 3 { plain } else { plain.lost(one(destination.into())) }
        }
        // Stores and loads, by turns.
        0b01100 | 0b01110 | 0b10000 | 0b10010 => plain,
        0b01101 | 0b01111 | 0b10001 => plain.lost(one(destination.into())),
        0b10011 => plain.lost(one(middle.into())),
        0b10100 => plain.set(middle, Constant(aligned(address).wrapping_add(4 * byte))),
        0b10101 => plain.set(middle, Offset(STACK, 4 * byte as i32)),
        0b10110 | 0b10111 => return miscellaneous(word, address),
        0b11000 => plain.lost(one(middle.into())),
        0b11001 => plain.lost(byte as u16 | one(middle.into())),
        0b11010 | 0b11011 => match bits(word, 8, 4) {
            14 => plain.flow(Flow::Stop),
            15 => plain.lost(SCRATCH & 0xff).flow(Flow::Ask),
            _ => {
                let target = ahead(address).wrapping_add_signed(2 * signed(byte, 8));
                plain.flow(Flow::Branch { target, condition: Condition::Flags(register(word, 8)) })
            }
        },
        0b11100 => {
            let target = ahead(address).wrapping_add_signed(2 * signed(bits(word, 0, 11), 11));
            plain.flow(Flow::Branch { target, condition: Condition::Always })
        }
        _ => return None,
    })
}

/// The instructions of two bytes that begin with 1011.
fn miscellaneous(word: u16, address: u32) -> Option<Instruction> {
    let plain = Instruction::new(2);
    let destination = low(word, 0);
    let list = word & 0xff;
    let count = list.count_ones() as i32;
    Some(match bits(word, 8, 4) {
        0b0000 => {
            let offset = 4 * bits(word, 0, 7) as i32;
            plain.set(STACK, Expression::Offset(STACK, if bit(word, 7) { -offset } else { offset }))
        }
        // CBZ, CBNZ
        0b0001 | 0b0011 | 0b1001 | 0b1011 => {
            let offset = bits(word, 9, 1) << 6 | bits(word, 3, 5) << 1;
            let target = ahead(address).wrapping_add(offset);
            plain.flow(Flow::Branch { target, condition: Condition::Register })
        }
        // Extensions and reversals of bytes
        0b0010 | 0b1010 => plain.lost(one(destination.into())),
        0b0100 | 0b0101 => {
            let link = bit(word, 8);
            let offset = -4 * (count + i32::from(link));
            let pushed = if link { list | one(LINK.into()) } else { list };
            plain.set(STACK, Expression::Offset(STACK, offset)).pushed(pushed)
        }
        // CPS
        0b0110 => plain,
        0b1100 | 0b1101 => {
            let counter = bit(word, 8);
            let popped =
                plain.lost(list).set(STACK, Expression::Offset(STACK, 4 * (count + i32::from(counter))));
            if counter { popped.flow(Flow::JumpPopped) } else { popped }
        }
        // BKPT: a debugger or semihosting, which answers in r0.
        0b1110 => plain.lost(one(0)).flow(Flow::Ask),
        0b1111 if word & 15 != 0 => {
            plain.flow(Flow::If { condition: register(word, 4), pattern: pattern(word) })
        }
        // Hints
        0b1111 => plain,
        _ => return None,
    })
}

/// The conditions of an IT block, as `Flow::If` has them.
fn pattern(word: u16) -> u8 {
    let (first, mask) = (word >> 4 & 1, word & 15);
    let more = 3 - mask.trailing_zeros();
    // The first is always the condition itself; the others have its lowest bit, or not.
    let mut pattern = 1;
    for index in 0..more {
        let same = mask >> (3 - index) & 1 == first;
        pattern |= u8::from(same) << (index + 1);
    }
    pattern | 1 << (more + 1)
}

/// An instruction of four bytes.
fn wide(first: u16, second: u16, address: u32) -> Option<Instruction> {
    match (bits(first, 11, 2), bits(first, 9, 2)) {
        (1, 0b00) if !bit(first, 6) => load_store_multiple(first, second),
        (1, 0b00) => load_store_dual(first, second),
        (1, 0b01) => shifted_register(first, second),
        (1 | 3, 0b10 | 0b11) => coprocessor(first, second),
        (2, _) if bit(second, 15) => branch(first, second, address),
        (2, 0b00 | 0b10) => modified_immediate(first, second),
        (2, _) => plain_immediate(first, second, address),
        (3, 0b00) => load_store_single(first, second, address),
        (3, 0b01) => Some(arithmetic(first, second)),
        _ => None,
    }
}

fn load_store_multiple(first: u16, second: u16) -> Option<Instruction> {
    let plain = Instruction::new(4);
    // SG, where secure code is entered.
    if (first, second) == (0xe97f, 0xe97f) {
        return Some(plain);
    }
    let base = register(first, 0);
    let bytes = 4 * second.count_ones() as i32;
    let offset = match bits(first, 7, 2) {
        0b01 => bytes,
        0b10 => -bytes,
        _ => return None,
    };
    let mut instruction = plain;
    if bit(first, 5) {
        instruction = instruction.set(base, Expression::Offset(base, offset));
    }
    if !bit(first, 4) {
        let pushes = base == STACK && bit(first, 5);
        return Some(if pushes { instruction.pushed(second) } else { instruction });
    }
    instruction = instruction.lost(second);
    if !bit(second, COUNTER.into()) {
        return Some(instruction);
    }
    Some(instruction.flow(if base == STACK { Flow::JumpPopped } else { Flow::JumpLoaded }))
}

/// Two registers, exclusive access, and jumps through tables of bytes or halfwords.
fn load_store_dual(first: u16, second: u16) -> Option<Instruction> {
    let plain = Instruction::new(4);
    let base = register(first, 0);
    let (third, fourth) = (bits(second, 12, 4), bits(second, 8, 4));
    // Neither before nor after, and not written back: these are others.
    if !bit(first, 8) && !bit(first, 5) {
        return Some(match bits(first, 4, 4) {
            // STREX; TT
            0b0100 => plain.lost(one(fourth)),
            // LDREX
            0b0101 => plain.lost(one(third)),
            // STREXB, STREXH, and the stores with release that have no result
            0b1100 => plain.lost(one(bits(second, 0, 4))),
            0b1101 => match bits(second, 4, 4) {
                0b0000 => plain.flow(Flow::Table { base, wide: false }),
                0b0001 => plain.flow(Flow::Table { base, wide: true }),
                _ => plain.lost(one(third) | one(fourth)),
            },
            _ => return None,
        });
    }
    let offset = 4 * bits(second, 0, 8) as i32;
    let offset = if bit(first, 7) { offset } else { -offset };
    let both = one(third) | one(fourth);
    let instruction = if bit(first, 4) { plain.lost(both) } else { plain };
    if !bit(first, 5) {
        return Some(instruction);
    }
    let instruction = instruction.set(base, Expression::Offset(base, offset));
    Some(if base == STACK && !bit(first, 4) { instruction.pushed(both) } else { instruction })
}

fn shifted_register(first: u16, second: u16) -> Option<Instruction> {
    use Expression::{Clear, Difference, Offset, ShiftLeft, ShiftRight, Sum};
    let plain = Instruction::new(4).compares(bit(first, 4));
    let (operand, destination, shifted) = (register(first, 0), register(second, 8), register(second, 0));
    let amount = bits(second, 12, 3) << 2 | bits(second, 6, 2);
    let kind = bits(second, 4, 2);
    let same = amount == 0 && kind == 0;
    if destination == COUNTER {
        // TST, TEQ, CMN, CMP
        return bit(first, 4).then_some(plain);
    }
    let expression = match bits(first, 5, 4) {
        1 if same => Clear(operand, shifted),
        2 if operand == COUNTER => match kind {
            0 if same => Offset(shifted, 0),
            0 => ShiftLeft(shifted, amount),
            1 if amount != 0 => ShiftRight(shifted, amount),
            _ => return Some(plain.lost(one(destination.into()))),
        },
        8 if same => Sum(operand, shifted),
        13 if same => Difference(operand, shifted),
        _ => return Some(plain.lost(one(destination.into()))),
    };
    Some(plain.set(destination, expression))
}

/// Floating point: of it only the stack and the moves into the other registers matter.
fn coprocessor(first: u16, second: u16) -> Option<Instruction> {
    let plain = Instruction::new(4);
    let (base, target) = (register(first, 0), bits(second, 12, 4));
    match bits(first, 8, 2) {
        0b00 | 0b01 => {
            // P, U, D, W
            match (bit(first, 8), bit(first, 7), bit(first, 6), bit(first, 5)) {
                // Two registers to or from the coprocessor.
                (false, false, true, false) => {
                    Some(if bit(first, 4) { plain.lost(one(target) | one(base.into())) } else { plain })
                }
                (false, false, false, false) => None,
                // Helium's loads and stores count otherwise.
                _ if bits(second, 8, 4) >= 14 => None,
                (_, up, _, true) => {
                    let offset = 4 * bits(second, 0, 8) as i32;
                    Some(plain.set(base, Expression::Offset(base, if up { offset } else { -offset })))
                }
                _ => Some(plain),
            }
        }
        // To r15 means to the flags.
        0b10 if bit(second, 4) && bit(first, 4) && target == COUNTER.into() => Some(plain.compares(true)),
        0b10 if bit(second, 4) && bit(first, 4) => Some(plain.lost(one(target))),
        0b10 => Some(plain),
        // Vectors of processors with Helium.
        _ => None,
    }
}

/// Eight bits, repeated or shifted, as the manual says under ThumbExpandImm.
fn expand(code: u32) -> u32 {
    let byte = code & 0xff;
    match code >> 8 {
        0b0000 => byte,
        0b0001 => byte << 16 | byte,
        0b0010 => byte << 24 | byte << 8,
        0b0011 => byte << 24 | byte << 16 | byte << 8 | byte,
        _ => (0x80 | code & 0x7f).rotate_right(code >> 7),
    }
}

/// The twelve bits of an immediate, which lie in three places.
const fn immediate(first: u16, second: u16) -> u32 {
    bits(first, 10, 1) << 11 | bits(second, 12, 3) << 8 | bits(second, 0, 8)
}

fn modified_immediate(first: u16, second: u16) -> Option<Instruction> {
    use Expression::{Align, Constant, Offset};
    let plain = Instruction::new(4).compares(bit(first, 4));
    let (operand, destination) = (register(first, 0), register(second, 8));
    let value = expand(immediate(first, second));
    if destination == COUNTER {
        return bit(first, 4).then_some(plain);
    }
    let operation = bits(first, 5, 4);
    let expression = match (operation, operand) {
        // BIC with ones below
        (1, _) if value.wrapping_add(1).is_power_of_two() => Align(operand, value.trailing_ones()),
        (2, COUNTER) => Constant(value),
        (3, COUNTER) => Constant(!value),
        (8, _) => Offset(operand, value as i32),
        (13, _) => Offset(operand, (value as i32).wrapping_neg()),
        _ => return Some(plain.lost(one(destination.into()))),
    };
    Some(plain.set(destination, expression))
}

fn plain_immediate(first: u16, second: u16, address: u32) -> Option<Instruction> {
    use Expression::{Align, Constant, Offset, Upper};
    let plain = Instruction::new(4);
    let (operand, destination) = (register(first, 0), register(second, 8));
    if destination == COUNTER {
        return None;
    }
    let value = immediate(first, second);
    let half = bits(first, 0, 4) << 12 | value;
    let least = bits(second, 12, 3) << 2 | bits(second, 6, 2);
    let expression = match (bits(first, 4, 5), operand) {
        (0, COUNTER) => Constant(aligned(address).wrapping_add(value)),
        (0, _) => Offset(operand, value as i32),
        (4, _) => Constant(half),
        (10, COUNTER) => Constant(aligned(address).wrapping_sub(value)),
        (10, _) => Offset(operand, -(value as i32)),
        (12, _) => Upper(destination, half as u16),
        // BFC
        (22, COUNTER) if least == 0 => Align(destination, bits(second, 0, 5) + 1),
        _ => return Some(plain.lost(one(destination.into()))),
    };
    Some(plain.set(destination, expression))
}

fn branch(first: u16, second: u16, address: u32) -> Option<Instruction> {
    let plain = Instruction::new(4);
    let sign = bits(first, 10, 1);
    let (thirteenth, eleventh) = (bits(second, 13, 1), bits(second, 11, 1));
    let far = || {
        let (upper, lower) = (!(thirteenth ^ sign) & 1, !(eleventh ^ sign) & 1);
        let offset =
            sign << 24 | upper << 23 | lower << 22 | bits(first, 0, 10) << 12 | bits(second, 0, 11) << 1;
        ahead(address).wrapping_add_signed(signed(offset, 25))
    };
    match (bit(second, 14), bit(second, 12)) {
        (true, true) => Some(plain.lost(SCRATCH).flow(Flow::Call(far()))),
        (false, true) => Some(plain.flow(Flow::Branch { target: far(), condition: Condition::Always })),
        // BLX into Arm code, which no Cortex-M has; loops of processors with Helium.
        (true, false) => None,
        (false, false) if bits(first, 7, 3) != 0b111 => {
            let offset = sign << 20
                | eleventh << 19
                | thirteenth << 18
                | bits(first, 0, 6) << 12
                | bits(second, 0, 11) << 1;
            let target = ahead(address).wrapping_add_signed(signed(offset, 21));
            Some(plain.flow(Flow::Branch { target, condition: Condition::Flags(register(first, 6)) }))
        }
        (false, false) => match bits(first, 4, 7) {
            // MSR: the stack pointers, their limits apart, and which of them is in use
            0b011_1000 | 0b011_1001 => {
                let stack = matches!(bits(second, 0, 8) & 0x7f, 8 | 9 | 20 | 24);
                Some(if stack { plain.lost(one(STACK.into())) } else { plain })
            }
            // Hints, barriers
            0b011_1010 | 0b011_1011 => Some(plain),
            // MRS
            0b011_1110 | 0b011_1111 => Some(plain.lost(one(bits(second, 8, 4)))),
            // UDF
            0b111_1111 if bit(second, 13) => Some(plain.flow(Flow::Stop)),
            _ => None,
        },
    }
}

fn load_store_single(first: u16, second: u16, address: u32) -> Option<Instruction> {
    let plain = Instruction::new(4);
    let (base, target) = (register(first, 0), register(second, 12));
    let (load, is_signed, size) = (bit(first, 4), bit(first, 8), bits(first, 5, 2));
    if size == 3 || is_signed && !load {
        return None;
    }
    let literal = base == COUNTER;
    // Without twelve bits of offset, it has eight bits or a register.
    let short = !literal && !bit(first, 7) && bit(second, 11);
    let mut instruction = plain;
    let written_back = short && bit(second, 8);
    if written_back {
        let offset = bits(second, 0, 8) as i32;
        let offset = if bit(second, 9) { offset } else { -offset };
        instruction = instruction.set(base, Expression::Offset(base, offset));
    }
    if !load {
        let pushes = written_back && base == STACK;
        return Some(if pushes { instruction.pushed(one(target.into())) } else { instruction });
    }
    let place = if bit(first, 7) {
        aligned(address).wrapping_add(bits(second, 0, 12))
    } else {
        aligned(address).wrapping_sub(bits(second, 0, 12))
    };
    let word = size == 2 && !is_signed;
    Some(match target {
        COUNTER if word && literal => instruction.flow(Flow::JumpLiteral(place)),
        COUNTER if word && base == STACK => instruction.flow(Flow::JumpPopped),
        COUNTER if word => instruction.flow(Flow::JumpLoaded),
        // To r15 a byte or a halfword is only fetched ahead.
        COUNTER => instruction,
        _ if word && literal => instruction.set(target, Expression::Literal(place)),
        _ => instruction.lost(one(target.into())),
    })
}

/// Operations on registers alone, multiplications, divisions.
fn arithmetic(first: u16, second: u16) -> Instruction {
    let plain = Instruction::new(4);
    let destination = one(bits(second, 8, 4));
    match bits(first, 7, 2) {
        // Shifts can set flags.
        0b00 | 0b01 => plain.lost(destination).compares(bit(first, 4) && !bit(second, 7)),
        0b10 => plain.lost(destination),
        // Of long products, two registers are written.
        _ => plain.lost(destination | one(bits(second, 12, 4))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(words: &[u16], address: u32) -> Option<Instruction> {
        let first = words[0];
        if is_wide(first) { wide(first, words[1], address) } else { narrow(first, address) }
    }

    fn flow(words: &[u16], address: u32) -> Flow {
        decoded(words, address).unwrap().flow
    }

    fn set(words: &[u16]) -> Option<(u8, Expression)> {
        decoded(words, 0x1000).unwrap().set
    }

    #[test]
    fn calls_forward_and_backward() {
        // From a linked image: 704: bl 0xbf0; a94: bl 0x458; 438: bl 0x10c0.
        assert_eq!(flow(&[0xf000, 0xfa74], 0x704), Flow::Call(0xbf0));
        assert_eq!(flow(&[0xf7ff, 0xfce0], 0xa94), Flow::Call(0x458));
        assert_eq!(flow(&[0xf000, 0xfe42], 0x438), Flow::Call(0x10c0));
    }

    #[test]
    fn branches() {
        let to = |target, condition| Flow::Branch { target, condition };
        let (always, equal, unequal) = (Condition::Always, Condition::Flags(0), Condition::Flags(1));
        assert_eq!(flow(&[0xe7fe], 0x100), to(0x100, always));
        assert_eq!(flow(&[0xe002], 0x100), to(0x108, always));
        assert_eq!(flow(&[0xd1fc], 0x100), to(0xfc, unequal));
        assert_eq!(flow(&[0xb910], 0x100), to(0x108, Condition::Register));
        // cbz with its highest bit
        assert_eq!(flow(&[0xb300], 0x100), to(0x144, Condition::Register));
        // 132a: b.w 0xb30; 800: beq.w 0xa30; a28: bne.w 0x7c0
        assert_eq!(flow(&[0xf7ff, 0xbc01], 0x132a), to(0xb30, always));
        assert_eq!(flow(&[0xf000, 0x8116], 0x800), to(0xa30, equal));
        assert_eq!(flow(&[0xf47f, 0xaeca], 0xa28), to(0x7c0, unequal));
        assert_eq!(decoded(&[0xf000, 0xe800], 0), None, "blx into Arm code");
    }

    #[test]
    fn jumps() {
        assert_eq!(flow(&[0x4770], 0), Flow::Jump(LINK));
        assert_eq!(flow(&[0x4718], 0), Flow::Jump(3));
        assert_eq!(flow(&[0x4790], 0), Flow::CallRegister(2));
        assert_eq!(flow(&[0x4687], 0), Flow::Move(0));
        assert_eq!(flow(&[0x448f], 0), Flow::AddCounter);
        assert_eq!(flow(&[0xbd80], 0), Flow::JumpPopped);
        // pop.w {r8, pc}; ldr pc, [sp], #4; ldr.w pc, [pc]; ldr.w pc, [r0, r1, lsl #2]
        assert_eq!(flow(&[0xe8bd, 0x8100], 0), Flow::JumpPopped);
        assert_eq!(flow(&[0xf85d, 0xfb04], 0), Flow::JumpPopped);
        assert_eq!(flow(&[0xf8df, 0xf000], 0x102), Flow::JumpLiteral(0x104));
        assert_eq!(flow(&[0xf850, 0xf021], 0), Flow::JumpLoaded);
        assert_eq!(flow(&[0xe8df, 0xf001], 0), Flow::Table { base: COUNTER, wide: false });
        assert_eq!(flow(&[0xe8df, 0xf011], 0), Flow::Table { base: COUNTER, wide: true });
        assert_eq!(flow(&[0xde00], 0), Flow::Stop);
        assert_eq!(flow(&[0xf7f0, 0xa000], 0), Flow::Stop);
    }

    #[test]
    fn the_stack_pointer() {
        let moved = |offset| Some((STACK, Expression::Offset(STACK, offset)));
        // push {r4, r5, r6, r7, lr}; push.w {r8, r9, r10, r11}; sub sp, #188; vpush {d8, d9}
        assert_eq!(set(&[0xb5f0]), moved(-20));
        assert_eq!(set(&[0xe92d, 0x0f00]), moved(-16));
        assert_eq!(set(&[0xb0af]), moved(-188));
        assert_eq!(set(&[0xed2d, 0x8b04]), moved(-16));
        // str r8, [sp, #-4]!; strd r4, r5, [sp, #-8]!
        assert_eq!(set(&[0xf84d, 0x8d04]), moved(-4));
        assert_eq!(set(&[0xe96d, 0x4502]), moved(-8));
        // sub.w sp, sp, #8000; subw sp, sp, #4095; add sp, #188; pop {r7}; vpop {d8, d9}
        assert_eq!(set(&[0xf5ad, 0x5dfa]), moved(-8000));
        assert_eq!(set(&[0xf6ad, 0x7dff]), moved(-4095));
        assert_eq!(set(&[0xb02f]), moved(188));
        assert_eq!(set(&[0xbc80]), moved(4));
        assert_eq!(set(&[0xecbd, 0x8b04]), moved(16));
        // mov r7, sp; add r7, sp, #12; mov sp, r4; sub.w r4, r7, #8; bfc r4, #0, #6
        assert_eq!(set(&[0x466f]), Some((7, Expression::Offset(STACK, 0))));
        assert_eq!(set(&[0xaf03]), Some((7, Expression::Offset(STACK, 12))));
        assert_eq!(set(&[0x46a5]), Some((STACK, Expression::Offset(4, 0))));
        assert_eq!(set(&[0xf1a7, 0x0408]), Some((4, Expression::Offset(7, -8))));
        assert_eq!(set(&[0xf36f, 0x0405]), Some((4, Expression::Align(4, 6))));
        // bic r4, r4, #63
        assert_eq!(set(&[0xf024, 0x043f]), Some((4, Expression::Align(4, 6))));
        // add sp, r6
        assert_eq!(set(&[0x44b5]), Some((STACK, Expression::Sum(STACK, 6))));
        // msr msp, r0
        assert_eq!(decoded(&[0xf380, 0x8808], 0).unwrap().lost, 1 << STACK);
        // msr basepri, r0
        assert_eq!(decoded(&[0xf380, 0x8811], 0).unwrap().lost, 0);
    }

    #[test]
    fn registers_that_are_pushed() {
        let pushed = |words: &[u16]| decoded(words, 0).unwrap().pushed;
        // push {r7, lr}; push {r7}; push.w {r4-r11, lr}; str lr, [sp, #-4]!; strd r4, r5, [sp, #-8]!; str r4, [sp]
        assert_eq!(pushed(&[0xb580]), 1 << 14 | 1 << 7);
        assert_eq!(pushed(&[0xb480]), 1 << 7);
        assert_eq!(pushed(&[0xe92d, 0x4ff0]), 0x4ff0);
        assert_eq!(pushed(&[0xf84d, 0xed04]), 1 << 14);
        assert_eq!(pushed(&[0xe96d, 0x4502]), 0b11_0000);
        assert_eq!(pushed(&[0x9400]), 0);
    }

    #[test]
    fn constants() {
        // movw r0, #0x1234; movt r0, #0x2000; movs r2, #5; mov.w r1, #0xf00000; ldr r6, [pc, #148]; adr r0, #4
        assert_eq!(set(&[0xf241, 0x2034]), Some((0, Expression::Constant(0x1234))));
        assert_eq!(set(&[0xf2c2, 0x0000]), Some((0, Expression::Upper(0, 0x2000))));
        assert_eq!(set(&[0x2205]), Some((2, Expression::Constant(5))));
        assert_eq!(set(&[0xf44f, 0x0170]), Some((1, Expression::Constant(0x00f0_0000))));
        assert_eq!(narrow(0x4e25, 0xe28).unwrap().set, Some((6, Expression::Literal(0xec0))));
        assert_eq!(set(&[0xa001]), Some((0, Expression::Constant(0x1008))));
    }

    #[test]
    fn registers_that_are_lost() {
        let lost = |words: &[u16]| {
            let instruction = decoded(words, 0).unwrap();
            assert_eq!(instruction.set, None);
            instruction.lost
        };
        // ldr r4, [sp, #4]; ldr.w r8, [r0]; ldrd r0, r1, [sp, #180]; umull r2, r3, r0, r2; ldm r0, {r1, r2}
        assert_eq!(lost(&[0x9c01]), 1 << 4);
        assert_eq!(lost(&[0xf8d0, 0x8000]), 1 << 8);
        assert_eq!(lost(&[0xe9dd, 0x012d]), 0b11);
        assert_eq!(lost(&[0xfba0, 0x2302]), 0b1100);
        assert_eq!(lost(&[0xc806]), 0b111);
        // vmov r1, s0; vmov r4, r5, d0; vadd.f32; vmrs apsr, fpscr; cmp.w r0, #-1; str r1, [sp]; dsb
        assert_eq!(lost(&[0xee10, 0x1a10]), 1 << 1);
        assert_eq!(lost(&[0xec55, 0x4b10]), 0b11_0000);
        assert_eq!(lost(&[0xee30, 0x0a01]), 0);
        assert_eq!(lost(&[0xeef1, 0xfa10]), 0);
        assert_eq!(lost(&[0xf1b0, 0x3fff]), 0);
        assert_eq!(lost(&[0x9100]), 0);
        assert_eq!(lost(&[0xf3bf, 0x8f4f]), 0);
        assert_eq!(lost(&[0xf000, 0xf800]), SCRATCH);
    }

    #[test]
    fn conditional_blocks() {
        // it eq; ite eq; ite ne; itt mi; ittet ne
        let block = |condition, pattern| Flow::If { condition, pattern };
        assert_eq!(flow(&[0xbf08], 0), block(0, 0b11));
        assert_eq!(flow(&[0xbf0c], 0), block(0, 0b101));
        assert_eq!(flow(&[0xbf14], 0), block(1, 0b101));
        assert_eq!(flow(&[0xbf44], 0), block(4, 0b111));
        assert_eq!(flow(&[0xbf1b], 0), block(1, 0b1_1011));
        assert!(narrow(0x2801, 0).unwrap().compares);
    }

    /// No pattern of bits stops the decoder, and none is of another size than it should be.
    #[test]
    fn every_first_half() {
        for first in 0..=u16::MAX {
            if is_wide(first) {
                for second in [0, 0x0fff, 0x4b10, 0x8000, 0xa000, 0xd000, 0xf000, 0xfb04, u16::MAX] {
                    assert!(wide(first, second, 0xffff_fffe).is_none_or(|found| found.size == 4));
                }
            } else {
                assert!(narrow(first, 0xffff_fffe).is_none_or(|found| found.size == 2));
            }
        }
    }
}
