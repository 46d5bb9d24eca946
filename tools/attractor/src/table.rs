//! Rows of numbers to learn from: CSV, or IDX as MNIST has it.

use crate::files::{about, read};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// More classes than that are numbers that were not meant as classes.
const MOST_CLASSES: usize = 65_536;

/// How a file is to be read.
pub(crate) struct Reading<'a> {
    /// What the last columns are.
    pub(crate) last: Last<'a>,
    /// Between the columns of a CSV file.
    pub(crate) separator: u8,
    /// The labels of a file of images.
    pub(crate) labels: Option<&'a PathBuf>,
}

#[derive(Clone, Copy)]
pub(crate) enum Last<'a> {
    /// One column: a class, an integer from 0 or one of these names.
    Class(Option<&'a [String]>),
    /// So many columns of numbers.
    Numbers(usize),
}

pub(crate) struct Table {
    /// Values of a row.
    pub(crate) columns: usize,
    /// Row after row.
    pub(crate) inputs: Vec<f64>,
    pub(crate) targets: Targets,
    /// Rows and columns of an image, if the file says that rows are images.
    pub(crate) image: Option<(usize, usize)>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Targets {
    Classes { labels: Vec<usize>, names: Vec<String> },
    Numbers { columns: usize, values: Vec<f64> },
}

impl Table {
    pub(crate) fn rows(&self) -> usize {
        self.inputs.len() / self.columns
    }
    pub(crate) fn row(&self, row: usize) -> &[f64] {
        &self.inputs[row * self.columns..][..self.columns]
    }
    /// Units that outputs for these targets have.
    pub(crate) fn outputs(&self) -> usize {
        match &self.targets {
            Targets::Classes { names, .. } => names.len(),
            Targets::Numbers { columns, .. } => *columns,
        }
    }
    /// Reads a file, whichever of the formats it is in.
    pub(crate) fn read(path: &Path, reading: &Reading<'_>) -> Result<Self, String> {
        let bytes = read(path)?;
        let table = match bytes.as_slice() {
            [0, 0, kind, _, ..] if *kind != 0 => {
                let labels = reading.labels.ok_or_else(|| {
                    about(path, "is an IDX file of images: `--labels` and the IDX file of their labels")
                })?;
                idx(&bytes, reading).map_err(|error| about(path, error)).and_then(|table| {
                    labelled(table, &read(labels)?, reading).map_err(|error| about(labels, error))
                })?
            }
            [0x1f, 0x8b, ..] => return Err(about(path, "is compressed: unpack it first, `gunzip`")),
            _ if reading.labels.is_some() => {
                return Err(about(path, "is no IDX file: of a CSV file the last column is the label"));
            }
            bytes => csv(bytes, reading).map_err(|error| about(path, error))?,
        };
        if table.inputs.is_empty() {
            return Err(about(path, "has no rows"));
        }
        Ok(table)
    }
}

/// A number, and what is wrong with a field that is none.
fn number(text: &str, line: u64, column: usize) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(number) => Err(format!("line {line}, column {column}: {number} is not finite")),
        Err(_) if text.is_empty() => {
            Err(format!("line {line}, column {column}: is empty, and a number must be there"))
        }
        Err(_) => Err(format!("line {line}, column {column}: `{text}` is not a number")),
    }
}

fn csv(bytes: &[u8], reading: &Reading<'_>) -> Result<Table, String> {
    // Some programs begin a text with the mark of UTF-8.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(reading.separator)
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let last = match reading.last {
        Last::Class(_) => 1,
        Last::Numbers(columns) => columns,
    };
    let mut table = Table {
        columns: 0,
        inputs: Vec::new(),
        targets: Targets::Numbers { columns: last, values: Vec::new() },
        image: None,
    };
    let (mut classes, mut values) = (Vec::new(), Vec::new());
    let mut first = true;
    // Where an empty line precedes a row, the reader's count is that of the empty line.
    let skip = |at: u64| {
        let rest = &bytes[at as usize..];
        at + rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count() as u64
    };
    let mut lines = (0, 1);
    let mut record = csv::StringRecord::new();
    loop {
        let start = skip(reader.position().byte());
        // Counted on from the row before: a whole count for each row would take the square of their number.
        lines = (start, lines.1 + line_of_part(bytes, lines.0, start));
        let line = lines.1;
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                return Err(format!("line {line}: is not text in UTF-8"));
            }
            Err(error) => return Err(format!("line {line}: {error}")),
        }
        let fields = record.len();
        if first {
            first = false;
            if fields <= last {
                return Err(format!(
                    "line {line}: has {fields} columns, and at least {} are needed: {last} to learn and 1 to learn it from (`--separator` names another than `{}`)",
                    last + 1,
                    reading.separator.escape_ascii()
                ));
            }
            table.columns = fields - last;
            // Names of columns, not one number among them.
            if record
                .iter()
                .take(table.columns)
                .all(|field| field.parse::<f64>().is_err() && !field.is_empty())
            {
                continue;
            }
        }
        if fields != table.columns + last {
            return Err(format!(
                "line {line}: has {fields} columns, and the first row has {}",
                table.columns + last
            ));
        }
        for (column, field) in (1..).zip(&record) {
            if column <= table.columns {
                table.inputs.push(number(field, line, column)?);
            } else if matches!(reading.last, Last::Class(_)) {
                classes.push((field.to_owned(), line));
            } else {
                values.push(number(field, line, column)?);
            }
        }
    }
    table.targets = match reading.last {
        Last::Class(names) => classed(&classes, names, table.columns + 1)?,
        Last::Numbers(columns) => Targets::Numbers { columns, values },
    };
    Ok(table)
}

/// Ends of lines between two places.
fn line_of_part(bytes: &[u8], from: u64, to: u64) -> u64 {
    bytes[from as usize..to as usize].iter().filter(|byte| **byte == b'\n').count() as u64
}

/// The classes of labels with their lines: integers from 0, or names, which are sorted unless they are given.
fn classed(labels: &[(String, u64)], names: Option<&[String]>, column: usize) -> Result<Targets, String> {
    let integer = |text: &str| text.parse::<f64>().ok().filter(|number| number.fract() == 0.0);
    if names.is_none() && labels.iter().all(|(label, _)| integer(label).is_some()) {
        let mut found = Vec::with_capacity(labels.len());
        for (label, line) in labels {
            match integer(label) {
                Some(class) if class >= 0.0 && class < MOST_CLASSES as f64 => found.push(class as usize),
                _ => {
                    return Err(format!(
                        "line {line}, column {column}: {label} is no class, these are integers from 0 to {} (`--classes` gives them names; `--regression` learns numbers)",
                        MOST_CLASSES - 1
                    ));
                }
            }
        }
        let (least, most) = (found.iter().min(), found.iter().max());
        if let Some(least @ 1..) = least.copied() {
            return Err(format!(
                "column {column}: classes begin at {least} and not at 0; say which there are, such as `--classes {}`",
                (least..least + 3).map(|class| class.to_string()).collect::<Vec<_>>().join(",")
            ));
        }
        let names = (0..=most.copied().unwrap_or(0)).map(|class| class.to_string()).collect();
        return Ok(Targets::Classes { labels: found, names });
    }
    if let Some((label, line)) = labels
        .iter()
        .find(|(label, _)| names.is_none() && label.parse::<f64>().is_ok_and(|number| number.fract() != 0.0))
    {
        return Err(format!(
            "line {line}, column {column}: {label} is no class, these are integers or names (`--regression` learns numbers)"
        ));
    }
    let names: Vec<String> = match names {
        Some(names) => names.to_vec(),
        None => labels.iter().map(|(label, _)| label).collect::<BTreeSet<_>>().into_iter().cloned().collect(),
    };
    let mut found = Vec::with_capacity(labels.len());
    for (label, line) in labels {
        match names.iter().position(|name| name == label) {
            Some(class) => found.push(class),
            None => {
                return Err(format!(
                    "line {line}, column {column}: `{label}` is none of the classes {}",
                    names.join(", ")
                ));
            }
        }
    }
    Ok(Targets::Classes { labels: found, names })
}

/// The sizes and the numbers of an IDX file: two bytes 0, a type, the number of sizes, the sizes, the numbers, all big-endian.
fn numbers(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f64>), String> {
    let &[0, 0, kind, depth, ref rest @ ..] = bytes else {
        return Err("is no IDX file".to_owned());
    };
    let size = match kind {
        0x08 | 0x09 => 1,
        0x0b => 2,
        0x0c | 0x0d => 4,
        0x0e => 8,
        other => {
            return Err(format!("is an IDX file of type 0x{other:02x}; known are 08, 09, 0b, 0c, 0d, 0e"));
        }
    };
    let cut = || format!("is cut: {} bytes", bytes.len());
    let (sizes, values) = rest.split_at_checked(4 * usize::from(depth)).ok_or_else(cut)?;
    let sizes: Vec<usize> =
        sizes.as_chunks::<4>().0.iter().map(|size| u32::from_be_bytes(*size) as usize).collect();
    let count = sizes.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    let expected = count.and_then(|count| count.checked_mul(size));
    if expected != Some(values.len()) {
        let expected = expected.map_or("more".to_owned(), |expected| expected.to_string());
        return Err(format!("has {} bytes of numbers, and its sizes ask for {expected}", values.len()));
    }
    let numbers = values.chunks_exact(size).map(|number| match (kind, number) {
        (0x08, [a]) => f64::from(*a),
        (0x09, [a]) => f64::from(*a as i8),
        (_, &[a, b]) => f64::from(i16::from_be_bytes([a, b])),
        (0x0c, &[a, b, c, d]) => f64::from(i32::from_be_bytes([a, b, c, d])),
        (_, &[a, b, c, d]) => f64::from(f32::from_be_bytes([a, b, c, d])),
        (_, number) => number.try_into().map_or(f64::NAN, f64::from_be_bytes),
    });
    let numbers: Vec<f64> = numbers.collect();
    match numbers.iter().position(|number| !number.is_finite()) {
        Some(at) => Err(format!("number {} is not finite", at + 1)),
        None => Ok((sizes, numbers)),
    }
}

fn idx(bytes: &[u8], _: &Reading<'_>) -> Result<Table, String> {
    let (sizes, inputs) = numbers(bytes)?;
    let (rows, shape) = match sizes.as_slice() {
        [rows, shape @ ..] if !shape.is_empty() => (*rows, shape),
        _ => {
            return Err(format!(
                "has {} sizes; images have at least two: how many, and how large",
                sizes.len()
            ));
        }
    };
    let columns = shape.iter().product();
    if rows == 0 || columns == 0 {
        return Err("has no rows".to_owned());
    }
    let image = match shape {
        [rows, columns] => Some((*rows, *columns)),
        _ => None,
    };
    Ok(Table { columns, inputs, targets: Targets::Numbers { columns: 0, values: Vec::new() }, image })
}

/// With the labels of another IDX file.
fn labelled(table: Table, bytes: &[u8], reading: &Reading<'_>) -> Result<Table, String> {
    let (sizes, values) = numbers(bytes)?;
    if sizes.first().copied() != Some(table.rows()) {
        let found = sizes.first().copied().unwrap_or(0);
        return Err(format!("has {found} labels, and there are {} images", table.rows()));
    }
    let per_row = values.len() / table.rows();
    let targets = match reading.last {
        Last::Numbers(columns) if columns == per_row => Targets::Numbers { columns, values },
        Last::Class(names) if per_row == 1 => {
            // Counted as the lines of a file with one on each.
            let labels: Vec<(String, u64)> =
                (1..).zip(&values).map(|(line, label)| (label.to_string(), line)).collect();
            classed(&labels, names, 1)?
        }
        _ => return Err(format!("has {per_row} numbers an image")),
    };
    Ok(Table { targets, ..table })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(last: Last<'_>) -> Reading<'_> {
        Reading { last, separator: b',', labels: None }
    }
    fn classes(text: &str) -> Result<Table, String> {
        csv(text.as_bytes(), &reading(Last::Class(None)))
    }

    #[test]
    fn rows_labels_and_names() {
        let table = classes("a,b,kind\n1,2,1\n\n-3e2, 4.5 ,0\r\n").unwrap();
        assert_eq!((table.columns, table.rows()), (2, 2));
        assert_eq!(table.inputs, [1.0, 2.0, -300.0, 4.5]);
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(table.targets, Targets::Classes { labels: vec![1, 0], names: names(&["0", "1"]) });
        let table = classes("\u{feff}1,2,pine\n3,4,\"oak, red\"\n5,6,pine\n").unwrap();
        assert_eq!(
            table.targets,
            Targets::Classes { labels: vec![1, 0, 1], names: names(&["oak, red", "pine"]) }
        );
        let given = names(&["7", "5"]);
        let table = csv(b"1,5\n2,7\n", &reading(Last::Class(Some(&given)))).unwrap();
        assert_eq!(table.targets, Targets::Classes { labels: vec![1, 0], names: given });
        let table = csv(b"1,2,3\n4,5,6\n", &reading(Last::Numbers(2))).unwrap();
        assert_eq!(table.targets, Targets::Numbers { columns: 2, values: vec![2.0, 3.0, 5.0, 6.0] });
        assert_eq!(table.inputs, [1.0, 4.0]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, error) in [
            ("1,2,0\n1,x,0\n", "line 2, column 2: `x` is not a number"),
            ("1,2,0\n\n\n1,,0\n", "line 4, column 2: is empty, and a number must be there"),
            ("1,2,0\n1,nan,0\n", "line 2, column 2: NaN is not finite"),
            ("1,2,0\n1,2,3,0\n", "line 2: has 4 columns, and the first row has 3"),
            (
                "1,2,0.5\n",
                "line 1, column 3: 0.5 is no class, these are integers or names (`--regression` learns numbers)",
            ),
            (
                "1,-1\n2,0\n",
                "line 1, column 2: -1 is no class, these are integers from 0 to 65535 (`--classes` gives them names; `--regression` learns numbers)",
            ),
            (
                "1,1\n2,2\n",
                "column 2: classes begin at 1 and not at 0; say which there are, such as `--classes 1,2,3`",
            ),
            (
                "1;2\n",
                "line 1: has 1 columns, and at least 2 are needed: 1 to learn and 1 to learn it from (`--separator` names another than `,`)",
            ),
            // A first line with one number is a row.
            ("x,2,0\n", "line 1, column 1: `x` is not a number"),
        ] {
            assert_eq!(classes(text).err().as_deref(), Some(error), "{text:?}");
        }
        let names = ["a".to_owned(), "b".to_owned()];
        let error = csv(b"1,a\n\"2\n\",c\n", &reading(Last::Class(Some(&names)))).err();
        assert_eq!(error.as_deref(), Some("line 2, column 2: `c` is none of the classes a, b"));
        assert_eq!(
            csv(b"1,\xff\n", &reading(Last::Class(None))).err().as_deref(),
            Some("line 1: is not text in UTF-8")
        );
    }

    #[test]
    fn images_and_labels() {
        let images = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2][..], &[0, 255, 7, 8]].concat();
        let table = idx(&images, &reading(Last::Class(None))).unwrap();
        assert_eq!((table.rows(), table.columns, table.image), (2, 2, Some((1, 2))));
        assert_eq!(table.inputs, [0.0, 255.0, 7.0, 8.0]);
        let table = labelled(table, &[0, 0, 8, 1, 0, 0, 0, 2, 1, 0], &reading(Last::Class(None))).unwrap();
        assert!(matches!(&table.targets, Targets::Classes { labels, .. } if *labels == [1, 0]));
        let three = labelled(table, &[0, 0, 8, 1, 0, 0, 0, 3, 1, 0, 0], &reading(Last::Class(None)));
        assert_eq!(three.err().as_deref(), Some("has 3 labels, and there are 2 images"));
        for (kind, bytes, number) in [
            (9, &[0xff][..], -1.0),
            (0x0b, &[0xff, 0xfe], -2.0),
            (0x0c, &[0xff, 0xff, 0xff, 0xfd], -3.0),
            (0x0d, &[0x3f, 0xc0, 0, 0], 1.5),
            (0x0e, &[0xc0, 0x04, 0, 0, 0, 0, 0, 0], -2.5),
        ] {
            let file = [&[0, 0, kind, 1, 0, 0, 0, 1][..], bytes].concat();
            assert_eq!(numbers(&file), Ok((vec![1], vec![number])));
            assert!(numbers(&file[..file.len() - 1]).unwrap_err().contains("its sizes ask for"));
        }
        assert!(numbers(&[0, 0, 8, 4, 0xff, 0xff, 0xff, 0xff]).unwrap_err().starts_with("is cut"));
        let large = [&[0, 0, 0x0e, 4][..], &[0xff; 16], &[0; 8]].concat();
        assert_eq!(numbers(&large).unwrap_err(), "has 8 bytes of numbers, and its sizes ask for more");
    }
}
