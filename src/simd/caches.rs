//! How large this processor's caches are.

/// Bytes of caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caches {
    /// Of the second cache, or of what comes after the first.
    pub(crate) second: usize,
    /// Of the last one; not less than the second.
    pub(crate) third: usize,
}

impl Caches {
    /// Half of the smallest second cache of processors that have one: what is not larger needs no question.
    pub(crate) const SMALL: usize = 128 << 10;
    /// Half of the smallest first cache of those processors.
    pub(crate) const FIRST: usize = 16 << 10;
    /// Of a line.
    pub(crate) const LINE: usize = 64;
    /// Where nothing is known.
    const USUAL: Self = Self { second: 512 << 10, third: 4 << 20 };

    /// Those of this processor, as far as it says so.
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    pub(crate) fn get() -> Self {
        use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
        /// Zero until the processor was asked, which takes long where it is emulated. Who asks at the same time gets the same answer.
        static KNOWN: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];
        let [second, third] = &KNOWN;
        let known = Self { second: second.load(Relaxed), third: third.load(Relaxed) };
        if known.second > 0 && known.third > 0 {
            return known;
        }
        let asked = ask();
        second.store(asked.second, Relaxed);
        third.store(asked.third, Relaxed);
        asked
    }

    /// Those of this processor.
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    #[inline(always)]
    pub(crate) fn get() -> Self {
        Self::USUAL
    }
}

/// Asks the processor: Intel's leaf 4, or AMD's leaf 0x8000001d of the same form.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[cold]
fn ask() -> Caches {
    let mut found = [0; 4];
    let leaf = match cpuid(0, 0) {
        // "cAMD" and "uine", the ends of the makers' names that have that leaf.
        [_, _, 0x444d_4163 | 0x656e_6975, _] => match cpuid(0x8000_0000, 0) {
            [highest, ..] if highest >= 0x8000_001d => 0x8000_001d,
            _ => return Caches::USUAL,
        },
        [highest, ..] if highest >= 4 => 4,
        _ => return Caches::USUAL,
    };
    // One cache after another, up to one that is none.
    for index in 0..8 {
        let [about, shape, sets, _] = cpuid(leaf, index);
        let (kind, level) = (about & 0x1f, about >> 5 & 7);
        if kind == 0 {
            break;
        }
        // Instructions only.
        if kind == 2 {
            continue;
        }
        let (ways, partitions, line) = ((shape >> 22) + 1, (shape >> 12 & 0x3ff) + 1, (shape & 0xfff) + 1);
        let bytes = u64::from(ways) * u64::from(partitions) * u64::from(line) * (u64::from(sets) + 1);
        // A word on an emulated processor may be anything.
        let bytes = bytes.min(1 << 30) as usize;
        if let Some(found) = found.get_mut(level as usize) {
            *found = bytes;
        }
    }
    let [_, _, second, third] = found;
    let second = if second > 0 { second } else { Caches::USUAL.second };
    Caches { second, third: if third > 0 { third } else { second } }
}

/// What the processor says of itself.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn cpuid(leaf: u32, part: u32) -> [u32; 4] {
    #[cfg(target_arch = "x86")]
    use core::arch::x86::__cpuid_count;
    #[cfg(target_arch = "x86_64")]
    use core::arch::x86_64::__cpuid_count;
    // SAFETY: every processor with SSE2, which this crate asks for, has the instruction.
    #[allow(unused_unsafe, reason = "newer compilers know that it is safe")]
    let said = unsafe { __cpuid_count(leaf, part) };
    [said.eax, said.ebx, said.ecx, said.edx]
}
