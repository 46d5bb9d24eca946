//! What takes room in the memory of the controller.

use crate::error::Error;
use crate::image::Image;

/// Bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    pub code: u32,
    pub read_only: u32,
    /// Of these, the named statics.
    pub named: u32,
    pub vector_table: u32,
    pub data: u32,
    pub bss: u32,
    /// All other sections in the controller's memory that are not empty.
    pub others: Vec<(String, u32)>,
}

const NAMES: [&str; 5] = [".text", ".rodata", ".vector_table", ".data", ".bss"];

impl Sizes {
    /// `without` are parts of the names of statics.
    pub fn new(image: &Image, without: &[String]) -> Result<Self, Error> {
        let size = |name| image.section(name).map_or(0, |section| section.size);
        let [code, read_only, vector_table, data, bss] = NAMES.map(size);
        let others = image.sections.iter().filter(|section| {
            section.allocated && section.size > 0 && !NAMES.contains(&section.name.as_str())
        });
        let others = others.map(|section| (section.name.clone(), section.size)).collect();
        Ok(Self { code, read_only, named: named(image, without)?, vector_table, data, bss, others })
    }
}

/// How many bytes of `.rodata` the statics with these parts in their names take; what two of them share counts
/// once.
fn named(image: &Image, parts: &[String]) -> Result<u32, Error> {
    if parts.is_empty() {
        return Ok(0);
    }
    image.require_symbols()?;
    let section = image.section(".rodata").ok_or(Error::MissingSection(".rodata"))?;
    let mut ranges = Vec::new();
    for part in parts {
        let before = ranges.len();
        let statics = image.symbols.iter().filter(|symbol| {
            symbol.name.contains(part.as_str()) && symbol.size > 0 && section.contains(symbol.address)
        });
        ranges.extend(statics.map(|symbol| (symbol.address, symbol.address.saturating_add(symbol.size))));
        if ranges.len() == before {
            return Err(Error::UnknownStatic(part.clone()));
        }
    }
    ranges.sort_unstable();
    let (mut bytes, mut last) = (0, section.address);
    for (start, end) in ranges {
        let end = end.min(section.end());
        bytes += end.saturating_sub(start.max(last));
        last = last.max(end);
    }
    Ok(bytes)
}
