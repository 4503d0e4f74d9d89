//! Writing a file so that it is either whole or not there.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Writes a file beside its place, makes it durable, and moves it there: a reader, or a crash at any moment, finds the
/// old content or the new one, never a part.
///
/// # Errors
/// The disk is full, the folder is missing or read-only; the error names the file.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |e: std::io::Error| Error::input(format!("cannot write {}: {e}", path.display()));
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let mut file = File::create(&partial).map_err(failed)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&partial, path));
    if let Err(e) = written {
        // The partial file is of no use to anyone; that it cannot be removed changes nothing about the failure.
        fs::remove_file(&partial).ok();
        return Err(failed(e));
    }
    sync_folder(path.parent().unwrap_or(Path::new("."))).map_err(failed)
}

/// Makes the renaming durable. Only Unix can open folders.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}
