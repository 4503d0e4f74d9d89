//! A disk that fails.

use axenic::train::Disk;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A disk on which the `at`-th operation fails: it alone, or it and all behind it, as if the process had been killed. A
/// write that fails leaves nothing, half, or all of its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Failing {
    pub(crate) done: Arc<AtomicUsize>,
    at: usize,
    for_good: bool,
}

impl Failing {
    pub(crate) fn new(at: usize, for_good: bool) -> Self {
        let done = Arc::default();
        Self { done, at, for_good }
    }

    fn step(&self) -> io::Result<()> {
        let own = self.done.fetch_add(1, Ordering::SeqCst);
        if own == self.at || (self.for_good && own > self.at) {
            return Err(io::Error::other("the disk fails"));
        }
        Ok(())
    }
}

impl Disk for Failing {
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        self.step()?;
        fs::create_dir_all(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.step()?;
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        self.step()?;
        File::open(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Err(e) = self.step() {
            let is_killed = self.done.load(Ordering::SeqCst) > self.at + 1;
            match self.at % 3 {
                _ if is_killed => {}
                0 => {}
                1 => fs::write(path, &bytes[..bytes.len() / 2])?,
                _ => fs::write(path, bytes)?,
            }
            return Err(e);
        }
        fs::write(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        fs::remove_file(path)
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        self.step()
    }

    fn lock(&self, path: &Path) -> io::Result<File> {
        self.step()?;
        let file = File::create(path)?;
        file.try_lock()?;
        Ok(file)
    }
}
