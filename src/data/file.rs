//! Reading a whole file that may be anything: a pipe, a device, a folder, or larger than memory.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The bytes of a regular file of at most `limit` bytes. Nothing else is opened, because opening a pipe waits for its
/// writer and reading a device may never end. The sentences of the errors do not name the file: callers know in whose
/// name they read.
///
/// # Errors
/// There is no such file, it is no regular file, is larger than `limit`, or cannot be read.
pub fn read_whole(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let failed = |e: std::io::Error| {
        Error::input(match e.kind() {
            ErrorKind::NotFound => "there is no such file".to_string(),
            ErrorKind::PermissionDenied => "reading the file is not permitted".to_string(),
            _ => format!("the file cannot be read: {e}"),
        })
    };
    let too_large = || Error::input(format!("the file is larger than {} MiB", limit >> 20));
    let metadata = path.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(Error::input(if metadata.is_dir() {
            "this is a folder, not a file"
        } else {
            "this is a pipe or a device, not a file"
        }));
    }
    if metadata.len() > limit {
        return Err(too_large());
    }
    // The file may grow or shrink while it is read; the limit holds all the same.
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    let file = File::open(path).map_err(failed)?;
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(too_large());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_within_the_limit_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        let text = |result: Result<Vec<u8>>| result.expect_err("refused").to_string();
        assert_eq!(text(read_whole(&path, 9)), "there is no such file");
        std::fs::write(&path, b"123").expect("written");
        assert_eq!(read_whole(&path, 3).expect("read"), b"123");
        assert!(text(read_whole(&path, 2)).contains("larger than"));
        assert!(text(read_whole(folder.path(), 9)).contains("a folder"));
        #[cfg(unix)]
        assert!(text(read_whole(Path::new("/dev/zero"), 9)).contains("a device"));
    }
}
