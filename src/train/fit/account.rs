//! What became of every tensor of a file and of a network.

use super::{Request, Source};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::train::stored::{StoredTensor, WeightFile};
use serde::Serialize;

/// What became of every tensor.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    /// How the file is made.
    pub format: &'static str,
    /// The network's name, if there is one.
    pub network: Option<String>,
    /// Where in the file its tensors lie.
    pub source: Source,
    /// The file's element types that became f32, with how many tensors had each.
    pub converted: Vec<(&'static str, usize)>,
    /// A line for each tensor of the network, then for each further one of the file.
    pub lines: Vec<Line>,
}

/// One tensor.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Its name in the network, or its path in the file if it is none of the network's.
    pub name: String,
    /// The type of its elements in the file, if it is there.
    pub dtype: Option<&'static str>,
    /// Its shape in the file, if it is there.
    pub stored: Option<Vec<usize>>,
    /// Its shape in the network, if it is there.
    pub needed: Option<Vec<usize>>,
    /// What became of it.
    #[serde(flatten)]
    pub fate: Fate,
}

/// What became of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fate", content = "how", rename_all = "snake_case")]
pub enum Fate {
    /// Taken as it is.
    Loaded,
    /// Taken, and made to fit.
    Adapted(String),
    /// Taken, though the network does not use it.
    Kept(String),
    /// Starts from the seed, as was asked for.
    Started(String),
    /// Left away: none of the network's.
    Skipped(String),
    /// The file lacks it.
    Missing,
    /// The network has no such name.
    Unknown,
    /// Its shape differs in a way that nothing is known to do about.
    WrongShape,
}

impl Fate {
    /// The fate in a word.
    pub fn word(&self) -> &'static str {
        match self {
            Fate::Loaded => "loaded",
            Fate::Adapted(_) => "adapted",
            Fate::Kept(_) => "kept",
            Fate::Started(_) => "new",
            Fate::Skipped(_) => "skipped",
            Fate::Missing => "missing",
            Fate::Unknown => "unknown",
            Fate::WrongShape => "wrong shape",
        }
    }

    /// How, or why.
    pub fn how(&self) -> &str {
        match self {
            Fate::Adapted(how) | Fate::Kept(how) | Fate::Started(how) | Fate::Skipped(how) => how,
            Fate::Loaded | Fate::Missing | Fate::Unknown | Fate::WrongShape => "",
        }
    }
}

impl Line {
    pub(super) fn new(
        name: &str,
        stored: Option<&StoredTensor>,
        needed: Option<Spec>,
        fate: Fate,
    ) -> Self {
        Self {
            name: name.to_string(),
            dtype: stored.map(|stored| stored.dtype.name()),
            stored: stored.map(|stored| stored.shape.clone()),
            needed: needed.map(|spec| spec.shape.to_vec()),
            fate,
        }
    }
}

impl Account {
    pub(super) fn new(
        file: &WeightFile,
        network: Option<&str>,
        source: Source,
        lines: Vec<Line>,
        request: &Request,
    ) -> Self {
        let allowed = |line: Line| match line.fate {
            Fate::Missing if request.allow_missing => Line {
                fate: Fate::Started("missing in the file".into()),
                ..line
            },
            Fate::Unknown if request.allow_unknown => Line {
                fate: Fate::Skipped("unknown to the network".into()),
                ..line
            },
            _ => line,
        };
        let lines: Vec<Line> = lines.into_iter().map(allowed).collect();
        let is_taken =
            |line: &&Line| matches!(line.fate, Fate::Loaded | Fate::Adapted(_) | Fate::Kept(_));
        let mut converted: Vec<(&'static str, usize)> = Vec::new();
        let types = lines.iter().filter(is_taken).filter_map(|line| line.dtype);
        // Without a network doubles stay as they are.
        let is_converted = |dtype: &&str| {
            ["F16", "BF16"].contains(dtype) || (*dtype == "F64" && network.is_some())
        };
        for dtype in types.filter(is_converted) {
            match converted.iter_mut().find(|(own, _)| *own == dtype) {
                Some((_, count)) => *count += 1,
                None => converted.push((dtype, 1)),
            }
        }
        Self {
            format: file.format.name(),
            network: network.map(str::to_string),
            source,
            converted,
            lines,
        }
    }

    /// That nothing is amiss that was not allowed.
    pub(super) fn settle(&self, request: &Request) -> Result<()> {
        let mut complaints: Vec<String> = Vec::new();
        for line in &self.lines {
            let name = &line.name;
            match (&line.fate, &line.stored, &line.needed) {
                (Fate::Missing, ..) => complaints.push(format!("{name} is missing")),
                (Fate::Unknown, ..) => complaints.push(format!("{name} is unknown")),
                (Fate::WrongShape, Some(stored), Some(needed)) => {
                    complaints.push(format!("{name} has shape {stored:?} instead of {needed:?}"));
                }
                _ => {}
            }
        }
        if complaints.is_empty() {
            return Ok(());
        }
        complaints.sort();
        let is_there = |fate: Fate| self.lines.iter().any(|line| line.fate == fate);
        let mut advice = Vec::new();
        if is_there(Fate::Missing) && !request.allow_missing {
            advice.push("--allow-missing starts what is missing anew");
        }
        if is_there(Fate::Unknown) && !request.allow_unknown {
            advice.push("--allow-unknown leaves away what is unknown");
        }
        let advice = match advice.is_empty() {
            true => String::new(),
            false => format!(" ({})", advice.join("; ")),
        };
        Err(Error::checkpoint(format!(
            "the weights do not fit {}: {}{advice}",
            self.network.as_deref().unwrap_or_default(),
            complaints.join(", ")
        )))
    }

    /// How many tensors had each fate, in the order of first appearance.
    pub fn counts(&self) -> Vec<(&'static str, usize)> {
        let mut counts: Vec<(&'static str, usize)> = Vec::new();
        for line in &self.lines {
            match counts
                .iter_mut()
                .find(|(word, _)| *word == line.fate.word())
            {
                Some((_, count)) => *count += 1,
                None => counts.push((line.fate.word(), 1)),
            }
        }
        counts
    }
}
