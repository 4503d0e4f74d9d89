//! The layout of the immunofixation gels: a folder of images and label tables.
//!
//! ```text
//! folder/data/1.JPG …
//! folder/label/train.csv and folder/label/test.csv    or, if neither is there,    folder/label/all.csv
//! ```
//!
//! A table has the columns `id,label,label1,label2`: `id` is the image's path relative to the table's folder
//! (`../data/1.JPG`), `label` the class 0–8, `label1` the heavy chain 0–3, `label2` the light chain 0–2. The order of the
//! columns, further columns, a byte-order mark, CRLF, quotes, blanks around fields and empty lines do not matter.
//! When both train and test tables are there, `all.csv` is not read: it would repeat them.
//!
//! Nothing outside the data folder is read: neither what a path with `..` leads to, nor what a symbolic link does. The
//! data folder itself may be a link.

mod problem;
mod reader;
#[cfg(test)]
mod tests;

pub use problem::{Kind, Problem};

use super::decode::MAX_FILE_BYTES;
use super::file::read_whole;
use crate::error::Result;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Name, heavy chain (0 none, 1 G, 2 A, 3 M) and light chain (0 none, 1 κ, 2 λ) of each class.
pub const CLASSES: [(&str, usize, usize); 9] = [
    ("Negative", 0, 0),
    ("κ", 0, 1),
    ("λ", 0, 2),
    ("IgG-κ", 1, 1),
    ("IgG-λ", 1, 2),
    ("IgA-κ", 2, 1),
    ("IgA-λ", 2, 2),
    ("IgM-κ", 3, 1),
    ("IgM-λ", 3, 2),
];

/// The labelled images of a data folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GelTable {
    /// The images whose lines are in order, by name: `2.JPG` comes before `10.JPG`, whatever the tables' order.
    pub records: Vec<Record>,
    /// Everything that is wrong with the tables, in the order of tables and lines.
    pub problems: Vec<Problem>,
}

/// What the tables say of an image's use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// It is listed in `train.csv`.
    Train,
    /// It is listed in `test.csv`.
    Test,
    /// It is listed in `all.csv`, which is still to be split.
    Either,
}

/// One labelled image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The image as the table names it.
    pub id: String,
    /// The image's path inside the data folder, in its shortest form.
    pub name: String,
    /// The image file: the data folder and [`name`](Self::name).
    pub path: PathBuf,
    /// Class, 0 to 8: an index into [`CLASSES`].
    pub class: usize,
    /// Heavy chain, 0 to 3.
    pub heavy: usize,
    /// Light chain, 0 to 2.
    pub light: usize,
    /// What it is for.
    pub side: Side,
    /// The table that lists it.
    pub table: PathBuf,
    /// Line of the table, from 1.
    pub line: u64,
}

impl GelTable {
    /// Reads the tables of a data folder and checks everything but the images' content.
    pub fn read(folder: &Path) -> Self {
        reader::read(folder)
    }
}

impl Record {
    /// A problem with the image, at its line.
    pub fn problem(&self, kind: Kind, what: impl std::fmt::Display) -> Problem {
        let what = format!("image `{}` {what}", problem::shown(&self.id));
        Problem::new(kind, &self.table, Some(self.line), what)
    }

    /// `table:line`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.table.display(), self.line)
    }
}

/// A digest of labelled images: SHA-256 in hexadecimal over each one's name, side, class and SHA-256, in whatever order
/// they come.
pub fn digest<'a>(images: impl IntoIterator<Item = (&'a Record, [u8; 32])>) -> String {
    let line = |(record, bytes): (&Record, [u8; 32])| {
        let Record {
            name, side, class, ..
        } = record;
        format!("{name:?} {side:?} {class} {}\n", hex(&bytes))
    };
    let mut lines: Vec<String> = images.into_iter().map(line).collect();
    lines.sort_unstable();
    hex(&Sha256::digest(lines.concat()))
}

/// The digest of images that are not decoded.
///
/// # Errors
/// An image cannot be read.
pub fn digest_of_files(records: &[Record]) -> Result<String> {
    let mut hashed = Vec::with_capacity(records.len());
    for record in records {
        let bytes = read_whole(&record.path, MAX_FILE_BYTES)
            .map_err(|e| e.within(record.path.display()))?;
        hashed.push((record, Sha256::digest(bytes).into()));
    }
    Ok(digest(hashed))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What names are sorted by, as people do: runs of digits by the numbers they are.
fn by_number(name: &str) -> (Vec<(usize, String)>, String) {
    let alike = |a: &u8, b: &u8| a.is_ascii_digit() == b.is_ascii_digit();
    // A number's length without leading zeros, then its digits; 0 and the text between numbers.
    let piece = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        match bytes.first() {
            Some(byte) if byte.is_ascii_digit() => {
                let digits = text.trim_start_matches('0');
                (digits.len() + 1, digits.to_string())
            }
            _ => (0, text.into_owned()),
        }
    };
    let pieces = name.as_bytes().chunk_by(alike).map(piece);
    (pieces.collect(), name.to_string())
}
