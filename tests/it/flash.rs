//! Weights in flash: a `static` network is read-only data, read where it lies.

use attractor::{Align64, Boxed, Dense, LengthError, State, Stop, fnn};
use nalgebra::{Matrix3x2, SMatrix};

type Tiny = fnn![2, 3, 1];
type Wide = fnn![2, 3, 1; scalar = f64];
type Deep = fnn![2, 4, 3, 2; feedback = Dense];

/// 0.5, 1.0, 1.5, ... as a file would hold them, little-endian.
const FILE: [u8; Tiny::BYTES] = {
    let mut bytes = [0; Tiny::BYTES];
    let mut i = 0;
    while i < Tiny::PARAMS {
        let value = (0.5 * (i + 1) as f32).to_le_bytes();
        let mut k = 0;
        while k < 4 {
            bytes[4 * i + k] = value[k];
            k += 1;
        }
        i += 1;
    }
    bytes
};
const NUMBERS: [f32; Tiny::PARAMS] = {
    let mut numbers = [0.0; Tiny::PARAMS];
    let mut i = 0;
    while i < Tiny::PARAMS {
        numbers[i] = 0.5 * (i + 1) as f32;
        i += 1;
    }
    numbers
};

static FROM_FILE: Align64<Tiny> = Align64(Tiny::from_le_bytes(&FILE));
static FROM_ARRAY: Align64<Tiny> = Align64(Tiny::from_array(NUMBERS));
static UNALIGNED: Tiny = Tiny::from_array(NUMBERS);
static OF_F64: Align64<Wide> = Align64(Wide::from_le_bytes(&[0x3f; Wide::BYTES]));

#[test]
fn constructors_keep_every_number() {
    assert_eq!(FROM_FILE.params(), NUMBERS);
    assert_eq!(FROM_ARRAY.params(), NUMBERS);
    assert_eq!(UNALIGNED.params(), NUMBERS);
    let as_bytes: Vec<u8> = FROM_FILE.params().iter().flat_map(|w| w.to_le_bytes()).collect();
    assert_eq!(as_bytes, FILE);
    assert!(OF_F64.params().iter().all(|w| w.to_bits() == 0x3f3f_3f3f_3f3f_3f3f));
    assert_eq!(OF_F64.params().len() * 8, Wide::BYTES);
}

#[test]
fn any_bits_survive() {
    // NaNs with payloads, infinities, subnormal numbers, both zeros.
    let bits = [0x7fc0_1234_u32, 0xffa0_0001, 0x7f80_0000, 0xff80_0000, 1, 0x8000_0000, 0, 0x3f80_0000];
    let mut bytes = [0; Tiny::BYTES];
    for (i, chunk) in bytes.chunks_exact_mut(4).enumerate() {
        chunk.copy_from_slice(&bits[i % bits.len()].to_le_bytes());
    }
    let net = Tiny::from_le_bytes(&bytes);
    for (i, weight) in net.params().iter().enumerate() {
        assert_eq!(weight.to_bits(), bits[i % bits.len()]);
    }
}

#[test]
fn aligned_places_are_aligned() {
    for address in [&raw const FROM_FILE as usize, &raw const FROM_ARRAY as usize, &raw const OF_F64 as usize]
    {
        assert_eq!(address % 64, 0);
    }
    assert_eq!(
        FROM_FILE.params().as_ptr() as usize,
        &raw const FROM_FILE as usize,
        "the network starts the place"
    );
    let boxed: [Boxed<Tiny>; 5] = core::array::from_fn(|_| Tiny::boxed());
    for place in &boxed {
        assert_eq!(place.params().as_ptr() as usize % 64, 0);
        assert!(place.params().iter().all(|w| w.to_bits() == 0));
    }
    assert_eq!(State::<Tiny, 7>::boxed().as_slice().as_ptr() as usize % 64, 0);
    // Alignment is the place's: a bare network is as small as its numbers.
    assert_eq!(size_of::<Tiny>(), Tiny::PARAMS * 4);
    assert_eq!(align_of::<Tiny>(), 4);
    assert_eq!(size_of::<State<Tiny, 7>>(), 7 * Tiny::UNITS * 4);
}

/// Whether an address lies in a mapping that can be written. (A linker may put constants beside the code, `r-xp`.)
#[cfg(target_os = "linux")]
fn writable(address: usize) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the kernel lists this process's mappings");
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, permissions) = (fields.next().unwrap(), fields.next().unwrap());
        let (from, to) = range.split_once('-').unwrap();
        let hex = |text| usize::from_str_radix(text, 16).unwrap();
        if (hex(from)..hex(to)).contains(&address) {
            assert!(permissions.starts_with('r'), "{permissions}");
            return permissions.contains('w');
        }
    }
    panic!("{address:#x} is not mapped");
}

#[cfg(target_os = "linux")]
#[test]
fn statics_lie_in_read_only_memory() {
    for net in [&*FROM_FILE, &*FROM_ARRAY, &UNALIGNED] {
        let mut state = Tiny::state();
        net.solve(&[0.01, 0.01], &mut state, Stop::after(4)).unwrap();
        assert!(state.output()[0] != 0.0, "it is solved where it lies");
        let weights = net.params();
        for address in [&raw const weights[0] as usize, &raw const weights[Tiny::PARAMS - 1] as usize] {
            assert!(!writable(address));
        }
    }
    assert!(!writable(&raw const OF_F64 as usize));
    // The same question has another answer where memory can be written.
    let on_the_heap = Tiny::boxed();
    assert!(writable(on_the_heap.params().as_ptr() as usize));
}

#[test]
fn slices_are_borrowed_not_copied() {
    let net = Tiny::from_slice(&NUMBERS).unwrap();
    assert_eq!(net.params().as_ptr(), core::ptr::from_ref(net).cast());
    let mut heap = [0.0_f32; Tiny::PARAMS + 3].to_vec();
    // Any place will do: this one is not aligned to anything but a scalar.
    for offset in 0..=3 {
        let place = &mut heap[offset..offset + Tiny::PARAMS];
        let address = place.as_ptr();
        let net = Tiny::from_slice_mut(place).unwrap();
        assert_eq!(net.params().as_ptr(), address);
        net.layer_mut::<2>().b[0] = 7.0 + offset as f32;
        assert_eq!(heap[offset + Tiny::PARAMS - 1], 7.0 + offset as f32, "writing goes through");
    }
    let mut units = [1.0_f32; 2 * Tiny::UNITS];
    let address = units.as_ptr();
    let state = State::<Tiny, 2>::from_slice_mut(&mut units).unwrap();
    assert_eq!(state.as_slice().as_ptr(), address);
    assert_eq!(state.output().as_ptr(), address.wrapping_add(6), "the output layer is the last");
}

#[test]
fn wrong_lengths_are_named() {
    for found in [0, 1, Tiny::PARAMS - 1, Tiny::PARAMS + 1, 1000] {
        let mut numbers = vec![0.0_f32; found];
        let check = |error: LengthError| {
            assert_eq!((error.expected, error.found), (Tiny::PARAMS, found));
            let text = error.to_string();
            assert!(text.contains(&Tiny::PARAMS.to_string()) && text.contains(&found.to_string()), "{text}");
        };
        check(Tiny::from_slice(&numbers).unwrap_err());
        check(Tiny::from_slice_mut(&mut numbers).unwrap_err());
        let error = State::<Tiny, 2>::from_slice_mut(&mut numbers[..found.min(7)]).unwrap_err();
        assert_eq!((error.expected, error.found), (8, found.min(7)));
    }
}

#[test]
fn layers_lie_where_the_layout_says() {
    // 2 -> 3 -> 1, adjacent: W 3x2, U 3x1, b 3; then W 1x3, b 1.
    let net = &*FROM_FILE;
    let number = |i: usize| 0.5 * (i + 1) as f32;
    assert_eq!(
        net.layer::<1>().w,
        Matrix3x2::from_fn(|row, col| number(3 * col + row)),
        "column after column"
    );
    assert_eq!(net.layer::<1>().u, SMatrix::<f32, 3, 1>::from_fn(|row, _| number(6 + row)));
    assert_eq!(net.layer::<1>().b, SMatrix::<f32, 3, 1>::from_fn(|row, _| number(9 + row)));
    assert_eq!(net.layer::<2>().w, SMatrix::<f32, 1, 3>::from_fn(|_, col| number(12 + col)));
    assert_eq!(net.layer::<2>().b[0], number(15));
    assert_eq!(Tiny::PARAMS, 16);

    // 2 -> 4 -> 3 -> 2, dense: the first layer reads both layers above it, the nearest first.
    let numbers: Vec<f32> = (0..Deep::PARAMS).map(|i| i as f32).collect();
    let deep = Deep::from_slice(&numbers).unwrap();
    let first = deep.layer::<1>();
    assert_eq!(first.w[(3, 1)], 7.0); // W^1 4x2: 0..8
    assert_eq!(first.u.nearest[(1, 2)], 8.0 + 9.0); // U^(1,2) 4x3: 8..20
    assert_eq!(first.u.farther.nearest[(3, 1)], 20.0 + 7.0); // U^(1,3) 4x2: 20..28
    assert_eq!(first.b[2], 28.0 + 2.0); // b^1: 28..32
    let second = deep.layer::<2>();
    assert_eq!(second.w[(2, 3)], 32.0 + 11.0); // W^2 3x4: 32..44
    assert_eq!(second.u.nearest[(1, 1)], 44.0 + 4.0); // U^(2,3) 3x2: 44..50
    assert_eq!(second.b[0], 50.0); // b^2: 50..53
    let third = deep.layer::<3>();
    assert_eq!(third.w[(1, 2)], 53.0 + 5.0); // W^3 2x3: 53..59
    assert_eq!(third.b[1], 60.0); // b^3: 59..61
    assert_eq!(Deep::PARAMS, 61);

    // States: unit after unit, the samples of a unit side by side.
    let mut units: Vec<f32> = (0..3 * Deep::UNITS).map(|i| i as f32).collect();
    let state = State::<Deep, 3>::from_slice_mut(&mut units).unwrap();
    assert_eq!(state.first()[(2, 3)], 11.0);
    assert_eq!(state.layer::<1>().h[(2, 3)], 11.0);
    assert_eq!(state.layer::<2>().h[(1, 0)], 13.0);
    assert_eq!(state.output()[(0, 1)], 24.0);
}
