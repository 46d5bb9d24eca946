//! Files that are written beside their place, and renamed when they are whole.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use tempfile::{Builder, NamedTempFile};

/// A file in a folder, of no lasting name yet; that begins and ends so.
pub(crate) fn part(folder: &Path, (start, end): (&str, &str)) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(start).suffix(end);
    #[cfg(unix)]
    {
        use std::fs::Permissions;
        use std::os::unix::fs::PermissionsExt;
        // As of any file: what the user's mask leaves.
        builder.permissions(Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Writes a file, which is on the disk then; if that fails the one that is there stays.
pub(crate) fn save(
    path: &Path,
    names: (&str, &str),
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let part = part(folder, names)?;
    let mut out = BufWriter::with_capacity(1 << 16, part.as_file());
    write(&mut out)?;
    out.flush()?;
    drop(out);
    // What the disk does not take shows here at the latest.
    part.as_file().sync_all()?;
    part.persist(path).map_err(|error| error.error)?;
    // The new name too; where folders cannot be opened there is no way to.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}
