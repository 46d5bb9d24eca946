//! Files that are written beside their place, and renamed when they are whole.

use std::io;
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
