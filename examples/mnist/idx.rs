//! The IDX files of MNIST and of whatever has its shape, such as Fashion-MNIST: big-endian headers, then bytes.
//!
//! The header is a magic number, 0x0000_08NN for bytes in NN dimensions, and the length of every dimension.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Pixels in a row and in a column.
pub(crate) const SIDE: usize = 28;
pub(crate) const PIXELS: usize = SIDE * SIDE;
pub(crate) const CLASSES: usize = 10;

/// Images and what they show.
#[derive(Debug)]
pub(crate) struct Images {
    /// Image after image, row after row, 0 for paper to 255 for ink.
    pub(crate) pixels: Vec<[u8; PIXELS]>,
    /// One for each image, below [`CLASSES`].
    pub(crate) labels: Vec<usize>,
}

impl Images {
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }
}

/// The images to train with.
pub(crate) fn training(folder: &Path) -> Result<Images, String> {
    read(folder, "train")
}

/// The images to test with.
pub(crate) fn test(folder: &Path) -> Result<Images, String> {
    read(folder, "t10k")
}

fn read(folder: &Path, set: &str) -> Result<Images, String> {
    if !folder.is_dir() {
        return Err(format!("{}: no such folder; `scripts/fetch-mnist` makes one", folder.display()));
    }
    let first = format!("{set}-images-idx3-ubyte");
    if !folder.join(&first).exists() {
        // Where torchvision puts them.
        for raw in ["raw", "MNIST/raw", "FashionMNIST/raw"].map(|raw| folder.join(raw)) {
            if raw.join(&first).exists() {
                return Err(format!(
                    "{}: not there, but in {}: give that folder",
                    folder.join(first).display(),
                    raw.display()
                ));
            }
        }
    }
    let images = format!("{set}-images-idx3-ubyte");
    let labels = format!("{set}-labels-idx1-ubyte");
    let (pixels, count) = entries(&folder.join(&images), [SIDE, SIDE])?;
    let (classes, label_count) = entries(&folder.join(&labels), [])?;
    if count == 0 {
        return Err(format!("{}: holds no images", folder.join(images).display()));
    }
    if label_count != count {
        return Err(format!("{}: {label_count} labels for {count} images", folder.join(labels).display()));
    }
    if let Some(at) = classes.iter().position(|&class| usize::from(class) >= CLASSES) {
        let (path, class) = (folder.join(labels), classes[at]);
        return Err(format!("{}: label {at} is {class}, not 0 to {}", path.display(), CLASSES - 1));
    }
    Ok(Images {
        pixels: pixels.as_chunks().0.to_vec(),
        labels: classes.into_iter().map(usize::from).collect(),
    })
}

/// The bytes after the header, and how many entries of the shape `entry` they are.
fn entries<const D: usize>(path: &Path, entry: [usize; D]) -> Result<(Vec<u8>, usize), String> {
    let of_path = |message: String| format!("{}: {message}", path.display());
    let mut bytes = fs::read(path).map_err(|error| {
        let mut packed = path.as_os_str().to_owned();
        packed.push(".gz");
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let dotted = path.with_file_name(name.replace("-idx", ".idx"));
        if error.kind() == ErrorKind::NotFound && Path::new(&packed).exists() {
            of_path("not there, but compressed as .gz: `gunzip` it".to_owned())
        } else if error.kind() == ErrorKind::NotFound && dotted.exists() {
            of_path(format!("not there, but {}: rename it", dotted.display()))
        } else {
            of_path(error.to_string())
        }
    })?;

    let word = |index: usize| -> Option<u32> {
        bytes.get(4 * index..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
    };
    let dimensions = D + 1;
    let header = 4 * (1 + dimensions);
    let magic = 0x0800 + dimensions as u32;
    match word(0) {
        Some(found) if found == magic => {}
        Some(found) if found >> 16 == 0x1F8B => {
            return Err(of_path("compressed: rename it to .gz and `gunzip` it".to_owned()));
        }
        Some(found) => return Err(of_path(format!("magic number {found:#010x}, not {magic:#010x}"))),
        None => return Err(of_path(format!("{} bytes are no header", bytes.len()))),
    }
    let lengths: Option<Vec<u32>> = (1..=dimensions).map(word).collect();
    let Some(lengths) = lengths else {
        return Err(of_path(format!("cut off within the header, after {} bytes", bytes.len())));
    };
    let (count, shape) = (lengths[0] as usize, &lengths[1..]);
    if !shape.iter().zip(entry).all(|(&found, expected)| found as usize == expected) {
        return Err(of_path(format!("entries of shape {shape:?}, not {entry:?}")));
    }
    // In u128, for a header may claim anything.
    let expected = header as u128 + count as u128 * entry.iter().product::<usize>() as u128;
    if bytes.len() as u128 != expected {
        return Err(of_path(format!("{} bytes, but its header promises {expected}", bytes.len())));
    }
    Ok((bytes.split_off(header), count))
}
