//! Model files: the format as its page has it, whatever is damaged is refused, and nothing is copied.

#![allow(clippy::result_large_err, reason = "an error that names both shapes, without allocation")]

use crate::oracle::subject;
use attractor::file::{self, FileError, Uncertified};
use attractor::kernel::{HardTanh, LeakyRelu, Relu, Sigmoid, Tanh};
use attractor::network::{Architecture, Fnn};
use attractor::quantized::{Bf16Network, Calibration, Quantized};
use attractor::{
    Align64, Certificate, CertificateError, Dense, Feedforward, Layer, Network, Repeat, Shape, Skip, Stop,
    Tied, fnn, include_network,
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

type Tiny = fnn![2, 3, 1];

/// CRC-32 bit by bit, as its definition has it.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// A file as `docs/model-file.md` describes it. `codes`: scalar, form, percent, hidden, output.
fn described(codes: [u8; 5], widths: &[u32], params: &[u8], certificate: Option<&[u8]>) -> Vec<u8> {
    let scalar = if codes[0] == 1 { 4 } else { 8 };
    let mut file = b"\x89attr\r\n\x1a\0\0\0\0\x01\0".to_vec();
    file.extend(codes);
    file.extend([(widths.len() - 1) as u8, u8::from(certificate.is_some()), 0, 0, 0]);
    file.extend(((params.len() / scalar) as u32).to_le_bytes());
    file.extend(((certificate.map_or(0, <[u8]>::len) / scalar) as u32).to_le_bytes());
    file.extend(widths.iter().flat_map(|width| width.to_le_bytes()));
    file.resize(file.len().next_multiple_of(64), 0);
    file.extend(params);
    if let Some(certificate) = certificate {
        file.resize(file.len().next_multiple_of(64), 0);
        file.extend(certificate);
    }
    let crc = crc(&file[12..]);
    file[8..12].copy_from_slice(&crc.to_le_bytes());
    file
}

/// Little-endian bytes of numbers.
macro_rules! bytes {
    ($scalars:expr) => {
        $scalars.iter().flat_map(|scalar| scalar.to_le_bytes()).collect::<Vec<u8>>()
    };
}

/// Bytes at a multiple of 64.
struct Aligned(Vec<Align64<[u8; 64]>>, usize);

impl Aligned {
    fn new(bytes: &[u8]) -> Self {
        let mut blocks = vec![Align64([0; 64]); bytes.len().div_ceil(64)];
        for (block, bytes) in blocks.iter_mut().zip(bytes.chunks(64)) {
            block.0[..bytes.len()].copy_from_slice(bytes);
        }
        Self(blocks, bytes.len())
    }
    fn bytes(&self) -> &[u8] {
        // Blocks lie side by side.
        &self.0.as_flattened_bytes()[..self.1]
    }
}

trait Flattened {
    fn as_flattened_bytes(&self) -> &[u8];
}
impl Flattened for Vec<Align64<[u8; 64]>> {
    fn as_flattened_bytes(&self) -> &[u8] {
        let start = self.as_ptr().cast::<u8>();
        // SAFETY: blocks of 64 bytes aligned to 64 have nothing between them.
        unsafe { std::slice::from_raw_parts(start, 64 * self.len()) }
    }
}

macro_rules! written {
    ($($name:ident: $net:ty, $codes:expr;)*) => {$(
        #[test]
        fn $name() {
            type Net = $net;
            let mut network = subject::oracle(&Net::ZERO);
            network.draw(&mut SmallRng::seed_from_u64(1), 0.7, 0.3);
            let net: Net = subject::network(&network);
            let widths: Vec<u32> = network.widths.iter().map(|width| *width as u32).collect();
            let certificate = net.certify().unwrap();
            let params = bytes!(net.params());
            for given in [None, Some(&certificate)] {
                let length = Net::file_bytes(given.is_some());
                let mut room = vec![7; length + 5];
                assert_eq!(net.to_bytes(given, &mut room), Ok(length));
                assert_eq!(room[length..], [7; 5], "nothing is written behind the file");
                room.truncate(length);
                let states = given.map(|certificate| bytes!(certificate.as_slice()));
                assert!(room == described($codes, &widths, &params, states.as_deref()), "as described");

                let aligned = Aligned::new(&room);
                let model = Net::from_bytes(aligned.bytes()).unwrap();
                assert_eq!(model.network(), &net);
                assert_eq!(model.certificate(), given);
                let file = aligned.bytes().as_ptr_range();
                let place = std::ptr::from_ref(model.network()).cast::<u8>();
                assert!(file.contains(&place) && place.addr() % 64 == 0, "nothing is copied");
                match given {
                    None => assert!(matches!(model.certified(), Err(Uncertified::Missing))),
                    Some(_) => {
                        let place = std::ptr::from_ref(model.certificate().unwrap()).cast::<u8>();
                        assert!(file.contains(&place) && place.addr() % 64 == 0, "nothing is copied");
                        assert_eq!(model.certified().unwrap().certificate().rate(), certificate.rate());
                    }
                }
                // Without types.
                let contents = file::read(&room).unwrap();
                assert_eq!(contents.shape(), &Net::SHAPE);
                assert_eq!(room[contents.params_start()..][..contents.params_bytes()], params);
                assert_eq!(contents.is_certified(), given.is_some());
                if let Some(states) = states {
                    assert_eq!(room[contents.certificate_start()..][..contents.certificate_bytes()], states);
                }

                let mut small = vec![7; length - 1];
                let error = FileError::Length { expected: length as u64, found: length as u64 - 1 };
                assert_eq!(net.to_bytes(given, &mut small), Err(error));
                assert!(small.iter().all(|byte| *byte == 7), "nothing is written");
            }
        }
    )*};
}

written! {
    adjacent: fnn![5, 7, 3], [1, 1, 0, 1, 0];
    skip: fnn![2, 4, 3, 2; feedback = Skip], [1, 4, 0, 1, 0];
    dense_double: fnn![2, 4, 3, 2; feedback = Dense, hidden = Sigmoid, scalar = f64], [2, 2, 0, 2, 0];
    tied: fnn![3, 4, 4; feedback = Tied<35>, output = Tanh], [1, 3, 35, 1, 1];
    plain: fnn![3, 5, 2; feedback = Feedforward, hidden = Relu, output = HardTanh], [1, 0, 0, 3, 4];
    leaky: fnn![3, 5, 2; hidden = LeakyRelu, output = LeakyRelu], [1, 1, 0, 5, 5];
    deep: fnn![2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2],
        [1, 1, 0, 1, 0];
}

/// A file, which is not that of another program.
const GOLDEN: &[u8] = include_bytes!("../data/tiny.attr");

/// The network of `data/tiny.attr`.
fn tiny() -> Tiny {
    Tiny::from_array::<16>(core::array::from_fn(|k| (((k + 1) * 37 % 64) as f32 - 32.0) / 64.0))
}

#[test]
fn the_format_does_not_drift() {
    let certificate = tiny().certify().unwrap();
    let mut file = vec![0; Tiny::file_bytes(true)];
    tiny().to_bytes(Some(&certificate), &mut file).unwrap();
    assert_eq!(file, GOLDEN);
}

#[test]
fn a_file_in_the_program() {
    let model = include_network!("../data/tiny.attr", Tiny);
    assert_eq!(model.network(), &tiny());
    let mut state = Tiny::state();
    model.certified().unwrap().solve(&[1.0, -0.5], &mut state, 1e-4).unwrap();
    let mut other = Tiny::state();
    tiny().solve(&[1.0, -0.5], &mut other, Stop::residual(1e-7)).unwrap();
    assert!((state.output()[0] - other.output()[0]).abs() <= 1.1e-4);
}

#[test]
fn every_bit_counts() {
    let mut file = Aligned::new(GOLDEN);
    Tiny::from_bytes(file.bytes()).unwrap();
    for bit in 0..8 * GOLDEN.len() {
        file.0[bit / 512].0[bit / 8 % 64] ^= 1 << (bit % 8);
        assert!(Tiny::from_bytes(file.bytes()).is_err() && file::read(file.bytes()).is_err(), "bit {bit}");
        file.0[bit / 512].0[bit / 8 % 64] ^= 1 << (bit % 8);
    }
    Tiny::from_bytes(file.bytes()).unwrap();
    for length in 0..GOLDEN.len() {
        file.1 = length;
        let error = match length {
            0..8 => FileError::Magic,
            8..64 => FileError::Length { expected: 64, found: length as u64 },
            _ => FileError::Length { expected: GOLDEN.len() as u64, found: length as u64 },
        };
        assert_eq!(file::read(file.bytes()), Err(error));
        assert_eq!(Tiny::from_bytes(file.bytes()).err(), Some(error));
        // A bit that is wrong in the header is no cut.
        if length > 64 {
            file.0[0].0[33] ^= 4;
            assert!(matches!(file::read(file.bytes()), Err(FileError::Damaged { .. })), "{length} bytes");
            file.0[0].0[33] ^= 4;
        }
    }
    for more in [1, 4, 64] {
        let mut longer = GOLDEN.to_vec();
        longer.resize(GOLDEN.len() + more, 0);
        assert!(Tiny::from_bytes(Aligned::new(&longer).bytes()).is_err(), "{more} more");
    }
}

/// A cut file says its length and the one it should have, whatever is in it.
#[test]
fn every_cut_is_named() {
    let check = |name: &str, file: &[u8], open: &dyn Fn(&[u8]) -> Option<FileError>| {
        assert_eq!(open(Aligned::new(file).bytes()), None, "{name} is whole");
        let header = file::read(file).unwrap().params_start();
        for length in 8..file.len() {
            let error = open(Aligned::new(&file[..length]).bytes());
            let Some(FileError::Length { expected, found }) = error else {
                panic!("{name}, {length}: {error:?}")
            };
            assert_eq!(found, length as u64, "{name}");
            let whole = if length < 64 {
                64
            } else if length < header {
                expected // that of a header at least
            } else {
                file.len() as u64
            };
            assert_eq!(expected, whole, "{name}, {length}");
            assert!(expected <= file.len() as u64 && expected > found, "{name}, {length}: {expected}");
        }
    };
    type Deep = fnn![2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1; feedback = Dense, scalar = f64];
    let mut file = vec![0; Deep::file_bytes(true)];
    Deep::ZERO.to_bytes(Some(&Deep::ZERO.certify().unwrap()), &mut file).unwrap();
    check("a deep network, certified", &file, &|file| Deep::from_bytes(file).err());
    let mut file = vec![0; Tiny::file_bytes(false)];
    tiny().to_bytes(None, &mut file).unwrap();
    check("one without a certificate", &file, &|file| Tiny::from_bytes(file).err());

    let half = Bf16Network::new(&tiny()).unwrap();
    let mut file = vec![0; Bf16Network::<Tiny>::file_bytes()];
    half.to_bytes(&mut file).unwrap();
    check("weights of 16 bits", &file, &|file| Bf16Network::<Tiny>::from_bytes(file).err());

    let mut calibration = Calibration::<Tiny>::ZERO;
    let mut state = Tiny::state();
    tiny().solve(&[1.0, -0.5], &mut state, Stop::residual(1e-5)).unwrap();
    calibration.observe(&[1.0, -0.5], &state).unwrap();
    let small = Quantized::<Tiny, i8>::new(&tiny(), &calibration).unwrap();
    let certificate = small.certify().unwrap();
    for given in [None, Some(&certificate)] {
        let mut file = vec![0; Quantized::<Tiny, i8>::file_bytes(given.is_some())];
        small.to_bytes(given, &mut file).unwrap();
        check("integers", &file, &|file| Quantized::<Tiny, i8>::from_bytes(file).err());
    }
}

#[test]
fn another_shape_is_named() {
    let file = Aligned::new(GOLDEN);
    let text = |error: FileError| error.to_string();
    let found = "fnn![2, 3, 1; feedback = adjacent, hidden = tanh, output = identity, scalar = f32]";
    macro_rules! refused {
        ($net:ty, $expected:literal) => {
            let error = <$net>::from_bytes(file.bytes()).unwrap_err();
            assert_eq!(text(error), format!("expected {}, found {found}", $expected));
        };
    }
    refused!(
        fnn![2, 4, 1],
        "fnn![2, 4, 1; feedback = adjacent, hidden = tanh, output = identity, scalar = f32]"
    );
    refused!(
        fnn![2, 3, 1; feedback = Tied<40>, scalar = f64],
        "fnn![2, 3, 1; feedback = tied<40>, hidden = tanh, output = identity, scalar = f64]"
    );
    refused!(
        fnn![2, 3, 1; feedback = Dense, hidden = HardTanh, output = Sigmoid],
        "fnn![2, 3, 1; feedback = dense, hidden = hard tanh, output = sigmoid, scalar = f32]"
    );
}

#[test]
fn what_makes_no_sense_is_refused_though_its_sum_is_right() {
    let sealed = |mut file: Vec<u8>| {
        let sum = crc(&file[12..]);
        file[8..12].copy_from_slice(&sum.to_le_bytes());
        file
    };
    assert_eq!(file::read(&sealed(GOLDEN.to_vec())).map(|contents| *contents.shape()), Ok(Tiny::SHAPE));
    let with = |at: usize, byte: u8| {
        let mut file = GOLDEN.to_vec();
        assert_ne!(file[at], byte);
        file[at] = byte;
        file::read(&sealed(file))
    };
    for (at, byte) in [
        (14, 0),
        (14, 3),
        (15, 5),
        (15, 3),
        (16, 1),
        (17, 6),
        (18, 6),
        (19, 0),
        (19, 3),
        (19, 33),
        (19, 255),
        (20, 2),
        (20, 0),
        (21, 1),
        (23, 1),
        (24, 9),
        (27, 1),
        (28, 0),
        (31, 255),
        (32, 0),
        (32, 3),
        (35, 255),
        (44, 1),
    ] {
        assert_eq!(with(at, byte), Err(FileError::Malformed), "{byte} at {at}");
    }
    assert_eq!(with(12, 2), Err(FileError::Version(2)));
    assert_eq!(with(0, b'a'), Err(FileError::Magic));
    assert_eq!(file::read(b""), Err(FileError::Magic));
    // Padding is nothing, whoever sealed it.
    let contents = file::read(GOLDEN).unwrap();
    type Other = fnn![3, 4, 2];
    let mut padded = vec![0; Other::file_bytes(true)];
    Other::ZERO.to_bytes(Some(&Other::ZERO.certify().unwrap()), &mut padded).unwrap();
    let gap = file::read(&padded).unwrap();
    let first = gap.params_start() + gap.params_bytes();
    for at in [first, gap.certificate_start() - 1] {
        let mut padded = padded.clone();
        assert_eq!(std::mem::replace(&mut padded[at], 1), 0);
        assert_eq!(file::read(&sealed(padded)), Err(FileError::Malformed), "{at}");
    }
    let mut longer = GOLDEN.to_vec();
    longer.extend([0; 4]);
    let error = FileError::Length { expected: GOLDEN.len() as u64, found: GOLDEN.len() as u64 + 4 };
    assert_eq!(file::read(&sealed(longer)), Err(error));

    // A weight that was changed by one who knows how to seal: the certificate finds it.
    let mut other = GOLDEN.to_vec();
    other[contents.params_start() + 24..][..4].copy_from_slice(&9.5_f32.to_le_bytes()); // U of the first layer
    let other = Aligned::new(&sealed(other));
    let model = Tiny::from_bytes(other.bytes()).unwrap();
    assert!(matches!(
        model.certified(),
        Err(Uncertified::Refused(CertificateError::Refuted { what: "rate", .. }))
    ));
}

#[test]
fn bytes_out_of_line_are_no_scalars() {
    let mut shifted = vec![0];
    shifted.extend(GOLDEN);
    let shifted = Aligned::new(&shifted);
    assert_eq!(Tiny::from_bytes(&shifted.bytes()[1..]).map(|_| ()), Err(FileError::Place));
}

/// Random bytes, and random changes of a good file, are never taken for another.
#[test]
fn noise_is_refused() {
    let random = &mut SmallRng::seed_from_u64(4);
    for _ in 0..20_000 {
        let mut bytes = GOLDEN.to_vec();
        for _ in 0..random.random_range(1..20) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        if bytes != GOLDEN {
            assert!(file::read(&bytes).is_err());
        }
    }
}

#[test]
fn shapes() {
    assert_eq!(Shape::new(&[3, 2], "f16", "dense", 0, "tanh", "identity"), None);
    assert_eq!(Shape::new(&[3], "f32", "dense", 0, "tanh", "identity"), None);
    assert_eq!(Shape::new(&[3, 0], "f32", "dense", 0, "tanh", "identity"), None);
    assert_eq!(Shape::new(&[1; 34], "f32", "dense", 0, "tanh", "identity"), None);
    assert_eq!(Shape::new(&[3, 2], "f32", "tied", 0, "tanh", "identity"), None);
    assert_eq!(Shape::new(&[3, 2], "f32", "adjacent", 5, "tanh", "identity"), None);
    assert_eq!(Shape::new(&[3, 2], "f32", "", 0, "tanh", "identity"), None);
    let shape = Shape::new(&[3, 2, 5, 4], "f64", "dense", 0, "hard tanh", "relu").unwrap();
    type Net = fnn![3, 2, 5, 4; feedback = Dense, hidden = HardTanh, output = Relu, scalar = f64];
    assert_eq!(shape, Net::SHAPE);
    assert_eq!((shape.params(), shape.units()), (Net::PARAMS as u64, Net::UNITS as u64));
    assert_eq!([0, 1, 2, 3, 4].map(|layer| shape.feedback_units(layer)), [0, 9, 4, 0, 0]);
    // No sum of sizes is taken for another because it overflows.
    let huge = Shape::new(&[u32::MAX as usize; 33], "f64", "dense", 0, "tanh", "tanh").unwrap();
    assert_eq!(huge.params(), u64::MAX);
    let mut room = [0; 256];
    assert!(matches!(file::write(&huge, &[0; 8], None, &mut room, false), Err(FileError::Length { .. })));
    let _: Option<Certificate<Net>> = None;
}

/// Whatever is written can be read: every scalar and form, with certificates of any length or none. What cannot be is not written.
#[test]
fn what_is_written_can_be_read() {
    let (mut written, mut refused) = (0, 0);
    for (scalar, one) in [("f32", 4), ("f64", 8), ("bf16", 2), ("i8", 4), ("i16", 4)] {
        for (feedback, percent) in [("feedforward", 0), ("adjacent", 0), ("dense", 0), ("tied", 50)] {
            for widths in [&[2, 3][..], &[3, 5, 1], &[1; 33]] {
                let Some(shape) = Shape::new(widths, scalar, feedback, percent, "tanh", "identity") else {
                    continue;
                };
                let units: usize = widths[1..].iter().sum();
                // How many bytes of parameters there are, the refusal says.
                let mut room = vec![0xaa; 1 << 16];
                let Err(FileError::Length { expected, .. }) =
                    file::write(&shape, &[0; 1], None, &mut room, false)
                else {
                    panic!("a parameter of one byte: {shape}");
                };
                let params = vec![0; expected as usize];
                let whole = if scalar.starts_with('i') { (units + 3) * one } else { (units + 6) * one };
                for certificate in [None, Some(0), Some(1), Some(whole - one), Some(whole), Some(whole + one)]
                {
                    let bytes = certificate.map(|length| vec![0; length]);
                    room.fill(0xaa);
                    match file::write(&shape, &params, bytes.as_deref(), &mut room, false) {
                        Ok(length) => {
                            let contents = file::read(&room[..length]).unwrap();
                            assert_eq!(contents.shape(), &shape);
                            assert_eq!(contents.certificate_bytes(), certificate.unwrap_or(0));
                            written += 1;
                        }
                        Err(error) => {
                            let right = scalar != "bf16" && certificate == Some(whole);
                            assert!(certificate.is_some() && !right, "{shape}: {error}");
                            assert!(room.iter().all(|byte| *byte == 0xaa), "nothing is written");
                            refused += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(written > 80 && refused > 100, "{written} {refused}");
    // Layers that share parameters are in no file.
    type Deep = Network<Fnn<2, Layer<3, Layer<3, Repeat<3, Layer<3>>>>>>;
    let mut room = vec![0xaa; 4096];
    let params = vec![0; size_of::<Deep>()];
    for length in [params.len(), params.len() + 84] {
        let params = vec![0; length];
        assert!(file::write(&Deep::SHAPE, &params, None, &mut room, false).is_err());
    }
    assert!(room.iter().all(|byte| *byte == 0xaa));
}
