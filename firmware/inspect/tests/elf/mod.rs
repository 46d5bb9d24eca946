//! Small ELF images made by hand.

/// Where the code is.
pub const TEXT: u32 = 0x1000;
/// Where read-only data is.
pub const RODATA: u32 = 0x8000;

const ARM: u16 = 40;
pub const RISC_V: u16 = 243;

struct Section {
    name: &'static str,
    kind: u32,
    flags: u32,
    address: u32,
    bytes: Vec<u8>,
    size: u32,
    link: u32,
    entry: u32,
}

/// An image in the making.
pub struct Elf {
    machine: u16,
    text: Vec<u8>,
    rodata: Vec<u8>,
    stack_sizes: Option<Vec<u8>>,
    /// Name, address, size, kind.
    symbols: Vec<(String, u32, u32, u8)>,
}

impl Elf {
    pub fn new() -> Self {
        Self {
            machine: ARM,
            text: Vec::new(),
            rodata: Vec::new(),
            stack_sizes: Some(Vec::new()),
            symbols: Vec::new(),
        }
    }

    pub fn machine(mut self, machine: u16) -> Self {
        self.machine = machine;
        self
    }

    pub fn without_stack_sizes(mut self) -> Self {
        self.stack_sizes = None;
        self
    }

    /// A function as the compiler makes it, with its frame in `.stack_sizes`.
    pub fn function(mut self, name: &str, address: u32, code: &[u16], frame: u32) -> Self {
        assert!(frame < 1 << 14);
        let entries = self.stack_sizes.get_or_insert_default();
        entries.extend(address.to_le_bytes());
        entries.extend([frame as u8 | 0x80, (frame >> 7) as u8]);
        self.assembly(name, address, code)
    }

    /// A function without.
    pub fn assembly(mut self, name: &str, address: u32, code: &[u16]) -> Self {
        let bytes: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
        let start = (address - TEXT) as usize;
        if self.text.len() < start + bytes.len() {
            self.text.resize(start + bytes.len(), 0);
        }
        self.text[start..start + bytes.len()].copy_from_slice(&bytes);
        let thumb = u32::from(self.machine == ARM);
        self.symbols.push((name.to_owned(), address | thumb, bytes.len() as u32, 2));
        self.mapping("$t", address)
    }

    pub fn mapping(mut self, name: &str, address: u32) -> Self {
        self.symbols.push((name.to_owned(), address, 0, 0));
        self
    }

    /// Read-only data at the end of what there is.
    pub fn data(mut self, name: &str, size: u32) -> Self {
        let address = RODATA + self.rodata.len() as u32;
        self.rodata.resize(self.rodata.len() + size as usize, 0x55);
        self.symbols.push((name.to_owned(), address, size, 1));
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        const ALLOCATED: u32 = 2;
        let (mut symbols, mut strings) = (vec![0; 16], vec![0]);
        for (name, address, size, kind) in &self.symbols {
            let section: u16 = if *address >= RODATA { 2 } else { 1 };
            symbols.extend((strings.len() as u32).to_le_bytes());
            symbols.extend(address.to_le_bytes());
            symbols.extend(size.to_le_bytes());
            symbols.extend([*kind, 0]);
            symbols.extend(section.to_le_bytes());
            strings.extend(name.bytes());
            strings.push(0);
        }
        let section = |name, kind, flags, address, bytes: Vec<u8>| {
            let size = bytes.len() as u32;
            Section { name, kind, flags, address, bytes, size, link: 0, entry: 0 }
        };
        let mut sections = vec![
            section("", 0, 0, 0, Vec::new()),
            section(".text", 1, ALLOCATED | 4, TEXT, self.text),
            section(".rodata", 1, ALLOCATED, RODATA, self.rodata),
            Section { size: 24, ..section(".bss", 8, ALLOCATED | 1, 0x2000_0000, Vec::new()) },
            section(".vector_table", 1, ALLOCATED, 0, vec![0; 64]),
            Section { size: 8, ..section(".uninit", 8, ALLOCATED | 1, 0x2000_0100, Vec::new()) },
        ];
        if !self.symbols.is_empty() {
            let link = sections.len() as u32 + 1;
            sections.push(Section { link, entry: 16, ..section(".symtab", 2, 0, 0, symbols) });
            sections.push(section(".strtab", 3, 0, 0, strings));
        }
        sections.extend(self.stack_sizes.map(|entries| section(".stack_sizes", 1, 0x80, 0, entries)));

        let names_index = sections.len() as u16;
        let names_size: usize = sections.iter().map(|section| section.name.len() + 1).sum();
        sections.push(section(".shstrtab", 3, 0, 0, vec![0; names_size + 10]));
        let (mut names, mut headers, mut body) = (Vec::new(), Vec::new(), Vec::<u8>::new());
        for section in &mut sections {
            if section.name == ".shstrtab" {
                let mut all = names.clone();
                all.extend(section.name.bytes().chain([0]));
                section.bytes = all;
                section.size = section.bytes.len() as u32;
            }
            let fields = [
                names.len() as u32,
                section.kind,
                section.flags,
                section.address,
                52 + body.len() as u32,
                section.size,
                section.link,
                0,
                4,
                section.entry,
            ];
            headers.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
            names.extend(section.name.bytes().chain([0]));
            body.extend(&section.bytes);
        }

        let mut image = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        let halves = |halves: &[u16]| halves.iter().flat_map(|half| half.to_le_bytes()).collect::<Vec<_>>();
        image.extend(halves(&[2, self.machine]));
        for word in [1, TEXT, 0, 52 + body.len() as u32, 0] {
            image.extend(word.to_le_bytes());
        }
        image.extend(halves(&[52, 0, 0, 40, names_index + 1, names_index]));
        image.extend(body);
        image.extend(headers);
        image
    }
}
