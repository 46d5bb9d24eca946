//! How a file of a model begins: its kind, its version, flags, its length, the shape and the sweeps it is for. All numbers are little-endian.

use crate::Config;

/// Bytes of it.
pub(crate) const BYTES: usize = 8 + 4 + 4 + 8 + 6 * 8;

/// Flags of a shape, in every kind of file.
const FEEDBACK: u32 = 1;
const CAUSAL: u32 = 2;
const TIED: u32 = 256;
const NO_PLACES: u32 = 512;
/// The window of attention is in the higher half.
const WINDOW: u32 = 16;
pub(crate) const SHAPE: u32 = FEEDBACK | CAUSAL | TIED | NO_PLACES | u32::MAX << WINDOW;

/// A number of a file, which is long enough.
pub(crate) const fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
pub(crate) const fn long(bytes: &[u8], at: usize) -> u64 {
    word(bytes, at) as u64 | (word(bytes, at + 4) as u64) << 32
}

/// The shape and the sweeps, of a file that is long enough; none if no memory has so many of anything.
pub(crate) const fn shape(bytes: &[u8], flags: u32) -> Option<(Config, usize)> {
    let mut sizes = [0; 6];
    let mut i = 0;
    while i < sizes.len() {
        let size = long(bytes, 24 + 8 * i);
        if size > usize::MAX as u64 {
            return None;
        }
        sizes[i] = size as usize;
        i += 1;
    }
    let [vocabulary, context, width, heads, blocks, sweeps] = sizes;
    let (feedback, causal, tied) = (flags & FEEDBACK != 0, flags & CAUSAL != 0, flags & TIED != 0);
    let (places, window) = (flags & NO_PLACES == 0, (flags >> WINDOW) as usize);
    Some((
        Config { vocabulary, context, width, heads, blocks, feedback, causal, tied, places, window },
        sweeps,
    ))
}

/// What is written: flags beside those of the shape.
#[cfg(feature = "std")]
pub(crate) fn bytes(
    (magic, version): ([u8; 8], u32),
    flags: u32,
    length: usize,
    config: &Config,
    sweeps: usize,
) -> [u8; BYTES] {
    let Config { vocabulary, context, width, heads, blocks, feedback, causal, tied, places, window } =
        *config;
    let flags = flags | flag(feedback, FEEDBACK) | flag(causal, CAUSAL) | flag(tied, TIED);
    let flags = flags | flag(!places, NO_PLACES) | (window as u32) << WINDOW;
    let (version, flags) = (version.to_le_bytes(), flags.to_le_bytes());
    let numbers = [length, vocabulary, context, width, heads, blocks, sweeps].map(|number| number as u64);
    let numbers = numbers.into_iter().flat_map(u64::to_le_bytes);
    let mut all = magic.into_iter().chain(version).chain(flags).chain(numbers);
    core::array::from_fn(|_| all.next().unwrap_or_default())
}

#[cfg(feature = "std")]
pub(crate) const fn flag(is: bool, flag: u32) -> u32 {
    if is { flag } else { 0 }
}
