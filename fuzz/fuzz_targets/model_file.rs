//! Any bytes as a model file: they are refused, or they are a whole file, which written again gives the same bytes. A good file with
//! some bytes changed, its checksum right or wrong, is no other good file by accident.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use attractor::{Align64, Tied, file, fnn};
use libfuzzer_sys::fuzz_target;

type Net = fnn![2, 3, 2];
type Other = fnn![2, 3, 2; feedback = Tied<50>, scalar = f64];

const BYTES: usize = 512;

/// CRC-32 bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

fn try_one(u: &mut Unstructured<'_>) -> Result<()> {
    let mut bytes = Align64([0; BYTES]);
    let mut length = 0;
    if bool::arbitrary(u)? {
        for byte in &mut bytes.0 {
            if u.is_empty() {
                break;
            }
            *byte = u.arbitrary()?;
            length += 1;
        }
    } else {
        let mut net = Net::ZERO;
        for param in net.params_mut() {
            *param = f32::from(i8::arbitrary(u)?) / 128.0;
        }
        let certificate = net.certify().ok().filter(|_| u.arbitrary().unwrap_or(false));
        length = net.to_bytes(certificate.as_ref(), &mut bytes.0).expect("there is room");
        for _ in 0..u.int_in_range(0..=4)? {
            let at = u.choose_index(length)?;
            bytes.0[at] = u.arbitrary()?;
        }
        length = length.saturating_sub(u.int_in_range(0..=4)?);
    }
    if length >= 12 && bool::arbitrary(u)? {
        let sum = crc(&bytes.0[12..length]);
        bytes.0[8..12].copy_from_slice(&sum.to_le_bytes());
    }
    let file = &bytes.0[..length];
    let whole = file::read(file);
    if let Ok(contents) = whole {
        let params = &file[contents.params_start()..][..contents.params_bytes()];
        let certificate = &file[contents.certificate_start().min(length)..];
        let certificate = contents.is_certified().then_some(certificate);
        let mut again = [1; BYTES];
        let written = file::write(contents.shape(), params, certificate, &mut again, false);
        assert_eq!(written, Ok(length));
        assert_eq!(&again[..length], file);
    }
    for good in [
        Net::from_bytes(file).map(|model| model.certified().is_ok()),
        Other::from_bytes(file).map(|model| model.certified().is_ok()),
    ] {
        assert!(good.is_err() || whole.is_ok());
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let _ = try_one(&mut Unstructured::new(data));
});
