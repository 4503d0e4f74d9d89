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

mod reader;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GelTable {
    /// All images, in the order of the tables.
    pub records: Vec<Record>,
    /// Which records are for training and which for testing, if the folder says so.
    pub split: Option<GivenSplit>,
}

/// Ranges of [`GelTable::records`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenSplit {
    /// The records of `train.csv`.
    pub train: Range<usize>,
    /// The records of `test.csv`.
    pub test: Range<usize>,
}

/// One labelled image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The image as the table names it.
    pub id: String,
    /// The image file, inside the data folder.
    pub path: PathBuf,
    /// Class, 0 to 8: an index into [`CLASSES`].
    pub class: usize,
    /// Heavy chain, 0 to 3.
    pub heavy: usize,
    /// Light chain, 0 to 2.
    pub light: usize,
    /// Line of the table, from 1.
    pub line: u64,
}

/// Something that is wrong with a data folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The table, or the folder where a table is missing.
    pub file: PathBuf,
    /// Line in the table, from 1.
    pub line: Option<u64>,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// All that is wrong with a data folder; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems, in the order of tables and lines.
    pub fn list(&self) -> &[Problem] {
        &self.0
    }
}

/// The first problem, and how many there are.
impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        let first = problems
            .0
            .first()
            .map(Problem::to_string)
            .unwrap_or_default();
        Error::input(match problems.0.len() {
            0 | 1 => first,
            count => format!("{first} (the first of {count} problems)"),
        })
    }
}

impl GelTable {
    /// Reads the tables of a data folder and checks everything but the images' content.
    ///
    /// # Errors
    /// Every problem found, not only the first.
    pub fn read(folder: &Path) -> std::result::Result<Self, Problems> {
        reader::read(folder).map_err(Problems)
    }

    /// SHA-256 of every image's bytes in hexadecimal, in the order of the records.
    ///
    /// # Errors
    /// An image cannot be read.
    pub fn fingerprints(&self) -> Result<Vec<String>> {
        let fingerprint = |record: &Record| {
            let mut hash = Sha256::new();
            File::open(&record.path)
                .and_then(|mut file| io::copy(&mut file, &mut Writer(&mut hash)))
                .map_err(|e| Error::input(format!("{}: {e}", record.path.display())))?;
            Ok(hex(&hash.finalize()))
        };
        self.records.iter().map(fingerprint).collect()
    }

    /// A digest of the data: SHA-256 in hexadecimal over the images' fingerprints and labels, in whatever order and under
    /// whatever names they are stored.
    pub fn digest(&self, fingerprints: &[String]) -> String {
        let line = |(record, fingerprint): (&Record, &String)| {
            let labels = [record.class, record.heavy, record.light];
            format!("{fingerprint} {labels:?}\n")
        };
        let mut lines: Vec<String> = self.records.iter().zip(fingerprints).map(line).collect();
        lines.sort_unstable();
        hex(&Sha256::digest(lines.concat()))
    }
}

/// Lets bytes be copied into a hash.
struct Writer<'a>(&'a mut Sha256);

impl io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
