//! What an ELF image says of itself: sections, symbols, functions, stack sizes.

use crate::error::Error;
use object::{Architecture, Object, ObjectSection, ObjectSymbol, SectionFlags, SymbolKind, elf};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    Thumb,
    RiscV,
}

#[derive(Debug)]
pub struct Section {
    pub name: String,
    pub address: u32,
    pub size: u32,
    /// Takes room in the memory of the controller.
    pub allocated: bool,
    writable: bool,
    executable: bool,
    /// Empty where the file holds nothing, as for `.bss`.
    data: Vec<u8>,
}

impl Section {
    pub fn contains(&self, address: u32) -> bool {
        address.checked_sub(self.address).is_some_and(|offset| offset < self.size)
    }

    pub fn end(&self) -> u32 {
        self.address.saturating_add(self.size)
    }
}

#[derive(Debug)]
pub struct Symbol {
    pub name: String,
    /// Without the bit that marks Thumb code.
    pub address: u32,
    pub size: u32,
}

#[derive(Debug)]
pub struct Function {
    /// More than one where the linker gave one body to several symbols.
    pub names: Vec<String>,
    pub address: u32,
    pub size: u32,
    /// The frame by the compiler's account.
    pub entry: Option<u32>,
}

impl Function {
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    pub fn contains(&self, address: u32) -> bool {
        address.checked_sub(self.address).is_some_and(|offset| offset < self.size)
    }

    pub fn end(&self) -> u32 {
        self.address.saturating_add(self.size)
    }

    fn is_named(&self, part: &str) -> bool {
        self.names.iter().any(|name| name.contains(part))
    }
}

#[derive(Debug)]
pub struct Image {
    pub machine: Machine,
    pub sections: Vec<Section>,
    pub symbols: Vec<Symbol>,
    /// By address.
    pub functions: BTreeMap<u32, Function>,
    /// Where code (`false`) and data (`true`) begin, by the mapping symbols.
    mapping: BTreeMap<u32, bool>,
    has_stack_sizes: bool,
}

impl Image {
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path)
            .map_err(|error| Error::Read { path: path.to_owned(), reason: error.to_string() })?;
        Self::parse(&bytes)
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let damaged = |error: object::Error| Error::Format(error.to_string());
        let file = object::File::parse(bytes).map_err(damaged)?;
        let machine = match file.architecture() {
            Architecture::Arm => Machine::Thumb,
            Architecture::Riscv32 => Machine::RiscV,
            other => return Err(Error::Format(format!("made for {other:?}, not for Arm or RV32"))),
        };
        if !file.is_little_endian() {
            return Err(Error::Format("not little-endian".to_owned()));
        }
        if file.kind() != object::ObjectKind::Executable {
            return Err(Error::Format("not a linked image".to_owned()));
        }
        let mut sections = Vec::new();
        for section in file.sections() {
            let SectionFlags::Elf { sh_flags: flags, .. } = section.flags() else { continue };
            let is = |flag: elf::SectionFlags| flags.0 & flag.0 != 0;
            sections.push(Section {
                name: section.name().map_err(damaged)?.to_owned(),
                address: narrow(section.address())?,
                size: narrow(section.size())?,
                allocated: is(elf::SHF_ALLOC),
                writable: is(elf::SHF_WRITE),
                executable: is(elf::SHF_EXECINSTR),
                data: section.data().map_err(damaged)?.to_vec(),
            });
        }
        let mut image = Self {
            machine,
            sections,
            symbols: Vec::new(),
            functions: BTreeMap::new(),
            mapping: BTreeMap::new(),
            has_stack_sizes: false,
        };
        image.take_symbols(&file)?;
        image.bound_functions();
        image.take_stack_sizes()?;
        Ok(image)
    }

    fn take_symbols(&mut self, file: &object::File<'_>) -> Result<(), Error> {
        for symbol in file.symbols() {
            let name = symbol.name().map_err(|error| Error::Format(error.to_string()))?;
            if name.is_empty() || matches!(symbol.kind(), SymbolKind::File | SymbolKind::Section) {
                continue;
            }
            let mut address = narrow(symbol.address())?;
            if let Some(data) = mapping(name) {
                // Where both stand, the stretch of one of them is empty; an instruction there is code.
                let stretch = self.mapping.entry(address).or_insert(data);
                *stretch &= data;
                continue;
            }
            let size = narrow(symbol.size())?;
            if symbol.kind() == SymbolKind::Text && !symbol.is_undefined() {
                if self.machine == Machine::Thumb {
                    address &= !1;
                }
                if self.sections.iter().any(|section| section.executable && section.contains(address)) {
                    let function = self.functions.entry(address).or_insert(Function {
                        names: Vec::new(),
                        address,
                        size: 0,
                        entry: None,
                    });
                    function.names.push(name.to_owned());
                    function.size = function.size.max(size);
                }
            }
            self.symbols.push(Symbol { name: name.to_owned(), address, size });
        }
        Ok(())
    }

    /// Assembly may leave out sizes: such a function ends where the next one starts. And none leaves its section.
    fn bound_functions(&mut self) {
        let starts: Vec<u32> = self.functions.keys().copied().collect();
        for (index, (address, function)) in self.functions.iter_mut().enumerate() {
            let section =
                self.sections.iter().find(|section| section.executable && section.contains(*address));
            let end = section.map_or(*address, Section::end);
            if function.size == 0 {
                function.size = starts.get(index + 1).map_or(end, |next| end.min(*next)) - address;
            }
            function.size = function.size.min(end - address);
        }
    }

    /// Entries are the address of a function, four bytes, and its frame, ULEB128.
    fn take_stack_sizes(&mut self) -> Result<(), Error> {
        let Some(section) = self.sections.iter().find(|section| section.name == ".stack_sizes") else {
            return Ok(());
        };
        self.has_stack_sizes = true;
        let mut rest = section.data.as_slice();
        while !rest.is_empty() {
            let damaged = Error::StackSizes { offset: section.data.len() - rest.len() };
            let Some((address, after)) = rest.split_first_chunk() else { return Err(damaged) };
            let Some((frame, after)) = unsigned(after) else { return Err(damaged) };
            rest = after;
            let mut address = u32::from_le_bytes(*address);
            if self.machine == Machine::Thumb {
                address &= !1;
            }
            if let Some(function) = self.functions.get_mut(&address) {
                function.entry = function.entry.max(Some(frame));
            }
        }
        Ok(())
    }

    pub fn require_symbols(&self) -> Result<(), Error> {
        if self.symbols.is_empty() { Err(Error::NoSymbols) } else { Ok(()) }
    }

    pub fn require_stack_sizes(&self) -> Result<(), Error> {
        if self.has_stack_sizes { Ok(()) } else { Err(Error::MissingSection(".stack_sizes")) }
    }

    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The function of this name, or the only one that has it in its name.
    pub fn function(&self, name: &str) -> Result<&Function, Error> {
        if let Some(function) =
            self.functions.values().find(|function| function.names.iter().any(|own| own == name))
        {
            return Ok(function);
        }
        let candidates: Vec<&Function> =
            self.functions.values().filter(|function| function.is_named(name)).collect();
        match candidates.as_slice() {
            [] => Err(Error::UnknownName(name.to_owned())),
            [function] => Ok(function),
            several => Err(Error::AmbiguousName {
                name: name.to_owned(),
                candidates: several.iter().map(|function| function.name().to_owned()).collect(),
            }),
        }
    }

    /// The addresses of all functions that have one of these parts in their name.
    pub fn functions_named(&self, parts: &[String]) -> Result<BTreeSet<u32>, Error> {
        let mut found = BTreeSet::new();
        for part in parts {
            let mut named = self.functions.values().filter(|function| function.is_named(part)).peekable();
            if named.peek().is_none() {
                return Err(Error::UnknownName(part.clone()));
            }
            found.extend(named.map(|function| function.address));
        }
        Ok(found)
    }

    /// Whether the mapping symbols call this data: a literal pool or a table within code.
    pub fn is_data(&self, address: u32) -> bool {
        let Some((start, data)) = self.mapping.range(..=address).next_back() else { return false };
        let section = self.sections.iter().find(|section| section.allocated && section.contains(address));
        *data && section.is_some_and(|section| section.contains(*start))
    }

    /// Whether an instruction of this function may be there.
    pub fn is_code(&self, function: &Function, address: u32) -> bool {
        function.contains(address) && !self.is_data(address)
    }

    /// Bytes that do not change while the program runs.
    fn constant<const SIZE: usize>(&self, address: u32) -> Option<[u8; SIZE]> {
        let section = self
            .sections
            .iter()
            .find(|section| section.allocated && section.contains(address))
            .filter(|section| section.executable || !section.writable)?;
        let offset = usize::try_from(address - section.address).ok()?;
        section.data.get(offset..)?.first_chunk().copied()
    }

    pub fn byte(&self, address: u32) -> Option<u8> {
        self.constant(address).map(u8::from_le_bytes)
    }

    pub fn halfword(&self, address: u32) -> Option<u16> {
        self.constant(address).map(u16::from_le_bytes)
    }

    pub fn word(&self, address: u32) -> Option<u32> {
        self.constant(address).map(u32::from_le_bytes)
    }
}

fn narrow(value: u64) -> Result<u32, Error> {
    u32::try_from(value).map_err(|_| Error::Format("an address or size of more than 32 bits".to_owned()))
}

/// For a mapping symbol (`$t`, `$d`, `$x`, perhaps with a dot and more), whether data begins there.
fn mapping(name: &str) -> Option<bool> {
    let kind = name.strip_prefix('$')?;
    let kind = kind.split('.').next().unwrap_or(kind);
    match kind.chars().next()? {
        'd' if kind.len() == 1 => Some(true),
        't' | 'a' if kind.len() == 1 => Some(false),
        // RISC-V may write the instruction set behind it.
        'x' => Some(false),
        _ => None,
    }
}

/// A ULEB128 number and what follows it.
fn unsigned(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value: u64 = 0;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(value).ok()?, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_variable_length() {
        assert_eq!(unsigned(&[0x08, 0xff]), Some((8, &[0xff][..])));
        assert_eq!(unsigned(&[0xe0, 0x01]), Some((224, &[][..])));
        assert_eq!(unsigned(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some((u32::MAX, &[][..])));
        assert_eq!(unsigned(&[0xff, 0xff, 0xff, 0xff, 0x1f]), None);
        assert_eq!(unsigned(&[0x80]), None);
        assert_eq!(unsigned(&[]), None);
    }

    #[test]
    fn mapping_symbols() {
        assert_eq!(mapping("$t"), Some(false));
        assert_eq!(mapping("$d.1"), Some(true));
        assert_eq!(mapping("$xrv32imac"), Some(false));
        assert_eq!(mapping("$dollar"), None);
        assert_eq!(mapping("main"), None);
    }
}
