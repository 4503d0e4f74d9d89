//! What can be wrong with a data folder.

use serde::Serialize;
use std::fmt;
use std::path::Path;

/// Something that is wrong with a data folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The table; or the folder or image, where no line of a table is concerned.
    pub file: String,
    /// Line in the table, from 1.
    pub line: Option<u64>,
    /// What kind of problem it is.
    pub kind: Kind,
    /// What is wrong there.
    pub what: String,
}

/// The kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The folder or a table is missing or cannot be read.
    Unreadable,
    /// A table lacks a column, or has one twice.
    Column,
    /// A line cannot be read.
    Line,
    /// A label is missing, unknown, or contradicts another.
    Label,
    /// A line names no image, or one that does not exist.
    MissingImage,
    /// A path leaves the data folder.
    OutsideFolder,
    /// An image is listed twice.
    DuplicateId,
    /// Two images have the same bytes.
    SameBytes,
    /// An image file cannot be decoded.
    DamagedImage,
    /// An image in the folder is listed in no table.
    UnlabelledImage,
    /// A class has a single image.
    SingleSample,
    /// There are fewer images than in a batch.
    LargeBatch,
    /// There are so many problems that not all are listed.
    TooMany,
}

impl Kind {
    /// Whether the rest of the data can be used without what is concerned.
    pub fn can_be_left_out(self) -> bool {
        !matches!(
            self,
            Kind::Unreadable | Kind::Column | Kind::LargeBatch | Kind::TooMany
        )
    }
}

impl Problem {
    /// A problem with a file, at a line if a single one is concerned.
    pub fn new(kind: Kind, file: &Path, line: Option<u64>, what: impl Into<String>) -> Self {
        Self {
            file: file.display().to_string(),
            line,
            kind,
            what: what.into(),
        }
    }

    /// `file:line`.
    pub fn place(&self) -> String {
        match self.line {
            Some(line) => format!("{}:{line}", self.file),
            None => self.file.clone(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.what)
    }
}

/// The most characters of a field that a sentence repeats.
const SHOWN: usize = 80;

/// A field from a table, fit for a sentence: short, and with what cannot be seen made visible.
pub(super) fn shown(field: &str) -> String {
    let mut text: String = field
        .chars()
        .take(SHOWN)
        .map(|c| match c.is_control() {
            true => c.escape_default().to_string(),
            false => c.to_string(),
        })
        .collect();
    if field.chars().nth(SHOWN).is_some() {
        text.push('…');
    }
    text
}
