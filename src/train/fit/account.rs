//! What became of every tensor of a file and of a network.

use super::{Request, Source};
use crate::array::Spec;
use crate::train::stored::{StoredTensor, WeightFile};
use crate::train::weights::is_counter;
use serde::Serialize;
use std::fmt;

/// What became of every tensor.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    /// How the file is made.
    pub format: &'static str,
    /// The network's name, if there is one.
    pub network: Option<String>,
    /// Where in the file its tensors lie.
    pub source: Source,
    /// The file's element types that became others, with how many tensors had each.
    pub converted: Vec<Conversion>,
    /// A line for each tensor of the network, then for each further one of the file.
    pub lines: Vec<Line>,
    /// What lies in the file beside its tensors: where, and what it is.
    pub others: Vec<(String, String)>,
}

/// Elements of one type that became elements of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conversion {
    /// The type in the file.
    pub from: &'static str,
    /// The type that they became.
    pub to: &'static str,
    /// How many tensors had it.
    pub tensors: usize,
}

impl fmt::Display for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, tensors } = self;
        write!(f, "{tensors} tensors of type {from} became {to}")
    }
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

    /// The types from which and to which its elements were converted.
    fn conversion(&self, network: Option<&str>) -> Option<(&'static str, &'static str)> {
        let is_taken = matches!(self.fate, Fate::Loaded | Fate::Adapted(_) | Fate::Kept(_));
        match self.dtype.filter(|_| is_taken)? {
            dtype @ ("F16" | "BF16") => Some((dtype, "F32")),
            // Without a network doubles stay as they are.
            dtype @ "F64" if network.is_some() => Some((dtype, "F32")),
            dtype @ ("I64" | "I32") if !is_counter(&self.name) => Some((dtype, "U32")),
            _ => None,
        }
    }

    fn complaint(&self) -> Option<String> {
        let name = &self.name;
        match (&self.fate, &self.stored, &self.needed) {
            (Fate::Missing, ..) => Some(format!("{name} is missing")),
            (Fate::Unknown, ..) => Some(format!("{name} is unknown")),
            (Fate::WrongShape, Some(stored), Some(needed)) => {
                Some(format!("{name} has shape {stored:?} instead of {needed:?}"))
            }
            _ => None,
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
        let mut converted: Vec<Conversion> = Vec::new();
        for (from, to) in lines.iter().filter_map(|line| line.conversion(network)) {
            match converted.iter_mut().find(|own| own.from == from) {
                Some(own) => own.tensors += 1,
                None => converted.push(Conversion {
                    from,
                    to,
                    tensors: 1,
                }),
            }
        }
        Self {
            format: file.format.name(),
            network: network.map(str::to_string),
            source,
            converted,
            lines,
            others: file.others.clone(),
        }
    }

    /// Whether something is amiss that was not allowed.
    pub fn is_amiss(&self) -> bool {
        self.lines.iter().any(|line| line.complaint().is_some())
    }

    /// What is amiss that was not allowed, in a sentence that lists so many tensors at most; `None` if nothing is.
    pub fn complaint(&self, most: usize) -> Option<String> {
        let mut complaints: Vec<String> = self.lines.iter().filter_map(Line::complaint).collect();
        if complaints.is_empty() {
            return None;
        }
        complaints.sort();
        let more = match complaints.len().saturating_sub(most) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        complaints.truncate(most);
        let advice = [
            (
                Fate::Missing,
                "--allow-missing to start what is missing anew",
            ),
            (
                Fate::Unknown,
                "--allow-unknown to leave away what is unknown",
            ),
        ];
        let is_there = |fate: &Fate| self.lines.iter().any(|line| line.fate == *fate);
        let advice = advice.iter().filter(|(fate, _)| is_there(fate));
        let advice: Vec<&str> = advice.map(|(_, advice)| *advice).collect();
        let advice = match advice.is_empty() {
            true => String::new(),
            false => format!(" (`axenic convert` takes {})", advice.join(", ")),
        };
        Some(format!(
            "the weights do not fit {}: {}{more}{advice}",
            self.network.as_deref().unwrap_or_default(),
            complaints.join(", ")
        ))
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
