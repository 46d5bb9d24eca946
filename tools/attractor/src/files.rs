//! Files that are read and written.

use crate::output;
use std::fs;
use std::path::Path;

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| about(path, error))
}

/// An error about a file.
pub(crate) fn about(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

/// Whether what is read and what is to be written are two files, whatever their names.
pub(crate) fn other(from: &Path, to: &Path) -> Result<(), String> {
    let same = match (fs::canonicalize(from), fs::canonicalize(to)) {
        (Ok(from), Ok(to)) => from == to || same_inode(&from, &to),
        _ => false,
    };
    if same { Err(about(to, "`--to` is the file that is read")) } else { Ok(()) }
}

/// Two names of one file.
fn same_inode(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let place = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
        place(one).is_some() && place(one) == place(other)
    }
    #[cfg(not(unix))]
    {
        let _ = (one, other);
        false
    }
}

/// After everything was checked: what fails leaves no file behind.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    output::write(path, bytes)
}

/// The name of a file without its folder, fit for a comment of any language.
pub(crate) fn name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    output::plain(&name).replace(['*', '"', '\\'], "_")
}

/// Sees that a file can be written: before the work, not after it.
pub(crate) fn writable(path: &Path) -> Result<(), String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        return Err(about(path, "is a folder"));
    }
    if !folder.is_dir() {
        return Err(about(path, "its folder is not there"));
    }
    // A device or a pipe has no place beside it.
    if path.exists() && !path.is_file() { Ok(()) } else { output::folder(folder) }
}
