//! The file layer: every file of a run folder is written, read and removed here.
//!
//! A file is written beside its place, made durable, and moved there: a reader, or an end at any moment, finds the old
//! content or the new one, never a part. What the layer asks of the disk is the trait [`Disk`], so that tests can let any
//! single operation fail.

use crate::error::{Error, Result};
use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The ending of a file that is not yet in its place.
const PARTIAL: &str = "partial";
/// As many partial files of one name are tried: what other writers make at the moment, or left behind.
const MOST_PARTIAL: usize = 1000;

/// The operations of a disk. Each either does all it says, or fails; a write that fails may leave anything at its path.
pub trait Disk: Debug + Send + Sync {
    /// Makes a folder, and those it lies in.
    ///
    /// # Errors
    /// As the system says; so for all.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;
    /// The paths in a folder.
    ///
    /// # Errors
    /// There is no such folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
    /// Opens a file to be read.
    ///
    /// # Errors
    /// There is no such file.
    fn open(&self, path: &Path) -> io::Result<File>;
    /// Makes a file, writes it, and makes its content durable.
    ///
    /// # Errors
    /// The disk is full, or read-only; of kind `AlreadyExists` where there is one of this name, which stays as it is.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Moves a file to a place in the same folder, over what is there.
    ///
    /// # Errors
    /// There is no such file.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// There is no such file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes durable which files a folder holds.
    ///
    /// # Errors
    /// There is no such folder.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Opens a file, made if it is missing, that no other process can lock as long as it stays open.
    ///
    /// # Errors
    /// Of kind `WouldBlock` where another has locked it.
    fn lock(&self, path: &Path) -> io::Result<File>;
}

/// The disks of this machine.
#[derive(Clone, Copy, Debug)]
struct System;

impl Disk for System {
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    #[cfg(unix)]
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    /// Only Unix can open folders.
    #[cfg(not(unix))]
    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<File> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        file.try_lock()?;
        Ok(file)
    }
}

/// A locked file, free again when this is dropped.
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    /// Closing alone would not do: a lock belongs to the opened file, which a child process shares from the moment it is
    /// forked until it runs its own program.
    fn drop(&mut self) {
        // One that cannot be freed ends with this process.
        let _ = self.0.unlock();
    }
}

/// A disk, with the ways in which this program writes to it.
#[derive(Clone, Debug)]
pub struct Files(Arc<dyn Disk>);

impl Default for Files {
    /// The disks of this machine.
    fn default() -> Self {
        Self::on(System)
    }
}

impl Files {
    /// Files on another disk.
    pub fn on(disk: impl Disk + 'static) -> Self {
        Self(Arc::new(disk))
    }

    /// Writes a file, whole or not at all, and durably.
    ///
    /// # Errors
    /// The disk is full, the folder is missing or read-only; the error names the file.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let failed = |e: io::Error| cannot("write", path, &e);
        let partial = self.write_partial(path, bytes).map_err(failed)?;
        if let Err(e) = self.0.rename(&partial, path) {
            self.discard(&partial);
            return Err(failed(e));
        }
        self.0.sync_folder(folder_of(path)).map_err(failed)
    }

    /// Writes the bytes beside the path, under the first name that nobody else has, and gives that.
    fn write_partial(&self, path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
        let name = path.file_name().unwrap_or_default();
        let mut written = Err(io::ErrorKind::AlreadyExists.into());
        for number in 0..MOST_PARTIAL {
            let mut name = name.to_os_string();
            name.push(format!(".{number}.{PARTIAL}"));
            let partial = path.with_file_name(name);
            written = self.0.write(&partial, bytes).map(|()| partial.clone());
            match &written {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(_) => {
                    self.discard(&partial);
                    break;
                }
                Ok(_) => break,
            }
        }
        written
    }

    /// Removes a partial file, which is of no use to anyone; that it cannot be removed changes nothing about the failure.
    fn discard(&self, partial: &Path) {
        self.0.remove(partial).ok();
    }

    /// Opens a file to be read.
    ///
    /// # Errors
    /// It is missing or cannot be read; the error names it.
    pub fn open(&self, path: &Path) -> Result<File> {
        self.0.open(path).map_err(|e| cannot("read", path, &e))
    }

    /// The whole content of a file.
    ///
    /// # Errors
    /// It is missing or cannot be read; the error names it.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>> {
        self.content(path).map_err(|e| cannot("read", path, &e))
    }

    fn content(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.0.open(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes a file unless it holds just that.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn restore(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        match self.content(path) {
            Ok(present) if present == bytes => Ok(()),
            _ => self.write(path, bytes),
        }
    }

    /// Removes a file, durably.
    ///
    /// # Errors
    /// It is missing or cannot be removed; the error names it.
    pub fn remove(&self, path: &Path) -> Result<()> {
        self.0
            .remove(path)
            .and_then(|()| self.0.sync_folder(folder_of(path)))
            .map_err(|e| cannot("remove", path, &e))
    }

    /// The paths in a folder, sorted.
    ///
    /// # Errors
    /// It is missing or cannot be read; the error names it.
    pub fn list(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut paths = self
            .0
            .list(folder)
            .map_err(|e| cannot("read the folder", folder, &e))?;
        paths.sort_unstable();
        Ok(paths)
    }

    /// Makes a folder, and those it lies in, durably. One that exists is left alone.
    ///
    /// # Errors
    /// It cannot be made; the error names it.
    pub fn make_folder(&self, folder: &Path) -> Result<()> {
        let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let missing: Vec<&Path> = folder.ancestors().take_while(is_missing).collect();
        if missing.is_empty() && folder.is_dir() {
            return Ok(());
        }
        self.0
            .make_folder(folder)
            .and_then(|()| {
                missing
                    .into_iter()
                    .try_for_each(|made| self.0.sync_folder(folder_of(made)))
            })
            .map_err(|e| cannot("make the folder", folder, &e))
    }

    /// Removes what a killed process may have left half-written in a folder.
    ///
    /// # Errors
    /// The folder cannot be read, or a file not be removed.
    pub fn sweep(&self, folder: &Path) -> Result<()> {
        let is_left = |path: &PathBuf| path.extension().is_some_and(|ending| ending == PARTIAL);
        let left = self.list(folder)?.into_iter().filter(is_left);
        left.into_iter().try_for_each(|path| self.remove(&path))
    }

    /// Locks a file, made if it is missing: no other process can lock it until this one drops what it is given, or ends,
    /// however it ends. `None` where another process has locked it.
    ///
    /// # Errors
    /// The file cannot be made, or the file system has no locks.
    pub fn lock(&self, path: &Path) -> Result<Option<Lock>> {
        match self.0.lock(path) {
            Ok(file) => Ok(Some(Lock(file))),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(cannot("lock", path, &e)),
        }
    }
}

fn cannot(what: &str, path: &Path, e: &io::Error) -> Error {
    Error::input(format!("cannot {what} {}: {e}", path.display()))
}

/// The folder that a path lies in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_when_dropped_though_a_child_still_shares_the_file() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("lock");
        let lock = || Files::default().lock(&path).expect("it can be locked");
        let held = lock().expect("nobody else has it");
        let shared = held.0.try_clone().expect("another descriptor");
        assert!(lock().is_none(), "it is held");
        drop(held);
        assert!(lock().is_some(), "it is free");
        drop(shared);
    }
}
