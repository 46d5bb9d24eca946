//! The reader of the example mnist, on files that are sound and on files that are not.

#[path = "../../examples/mnist/idx.rs"]
mod reader;

use reader::{Images, PIXELS};
use std::fs;
use std::path::{Path, PathBuf};

const IMAGES: &str = "train-images-idx3-ubyte";
const LABELS: &str = "train-labels-idx1-ubyte";

fn file(magic: u32, lengths: &[u32], content: &[u8]) -> Vec<u8> {
    let header = [magic].into_iter().chain(lengths.iter().copied());
    header.flat_map(u32::to_be_bytes).chain(content.iter().copied()).collect()
}

/// Two images whose pixel i is i and 2 i modulo 256.
fn images() -> Vec<u8> {
    let pixels: Vec<u8> = [1, 2].into_iter().flat_map(|k| (0..PIXELS).map(move |i| (k * i) as u8)).collect();
    file(0x803, &[2, 28, 28], &pixels)
}

fn labels() -> Vec<u8> {
    file(0x801, &[2], &[7, 9])
}

/// A folder with these files.
fn folder(name: &str, files: &[(&str, Vec<u8>)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("idx").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
    folder
}

#[test]
fn sound_files_give_their_pixels_and_labels() {
    let training = folder("training", &[(IMAGES, images()), (LABELS, labels())]);
    let test = folder("test", &[("t10k-images-idx3-ubyte", images()), ("t10k-labels-idx1-ubyte", labels())]);
    for images in [reader::training(&training).unwrap(), reader::test(&test).unwrap()] {
        assert_eq!(images.len(), 2);
        let Images { pixels, labels } = images;
        assert_eq!(labels, [7, 9]);
        assert_eq!(pixels.len(), 2);
        for (k, image) in pixels.iter().enumerate() {
            assert!(image.iter().enumerate().all(|(i, &pixel)| pixel == ((k + 1) * i) as u8));
        }
    }
    // Each set is looked for under its own names.
    assert!(reader::test(&training).unwrap_err().contains("t10k-images-idx3-ubyte"));
}

#[test]
fn damaged_files_are_told_apart() {
    let cut = |mut bytes: Vec<u8>, by: usize| {
        bytes.truncate(bytes.len() - by);
        bytes
    };
    let longer = |mut bytes: Vec<u8>| {
        bytes.push(0);
        bytes
    };
    let pixels = images()[16..].to_vec();
    let mut packed = images();
    packed[..2].copy_from_slice(&[0x1F, 0x8B]);
    let cases = [
        (
            "magic",
            file(0x802, &[2, 28, 28], &pixels),
            labels(),
            IMAGES,
            "magic number 0x00000802, not 0x00000803",
        ),
        ("swapped", labels(), images(), IMAGES, "magic number 0x00000801"),
        ("compressed", packed, labels(), IMAGES, "gunzip"),
        ("shape", file(0x803, &[2, 32, 28], &pixels), labels(), IMAGES, "shape [32, 28], not [28, 28]"),
        ("turned", file(0x803, &[2, 28, 56], &pixels), labels(), IMAGES, "shape [28, 56]"),
        ("short", cut(images(), 1), labels(), IMAGES, "1583 bytes, but its header promises 1584"),
        ("long", longer(images()), labels(), IMAGES, "1585 bytes"),
        ("huge", file(0x803, &[u32::MAX, 28, 28], &pixels), labels(), IMAGES, "promises 3367254359296"),
        ("header", images()[..11].to_vec(), labels(), IMAGES, "within the header, after 11 bytes"),
        ("empty", Vec::new(), labels(), IMAGES, "0 bytes are no header"),
        ("none", file(0x803, &[0, 28, 28], &[]), file(0x801, &[0], &[]), IMAGES, "no images"),
        ("label short", images(), cut(labels(), 1), LABELS, "9 bytes, but its header promises 10"),
        ("label missing", images(), file(0x801, &[1], &[7]), LABELS, "1 labels for 2 images"),
        ("label large", images(), file(0x801, &[2], &[7, 10]), LABELS, "label 1 is 10, not 0 to 9"),
    ];
    for (name, images, labels, culprit, message) in cases {
        let folder = folder(name, &[(IMAGES, images), (LABELS, labels)]);
        let error = reader::training(&folder).expect_err(name);
        assert!(error.contains(culprit) && error.contains(message), "{name}: {error}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let nowhere = folder("nowhere", &[]).join("further");
    let error = reader::training(&nowhere).unwrap_err();
    assert!(error.contains("further: no such folder") && error.contains("scripts/fetch-mnist"), "{error}");

    let error = reader::training(&folder("no labels", &[(IMAGES, images())])).unwrap_err();
    assert!(error.contains(LABELS), "{error}");

    let packed = folder("packed", &[(&format!("{IMAGES}.gz"), images()), (LABELS, labels())]);
    let error = reader::training(&packed).unwrap_err();
    assert!(error.contains("compressed as .gz"), "{error}");
}
