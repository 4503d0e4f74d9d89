//! Which of a file's dictionaries holds a network's weights, and what stands before their names.
//!
//! Checkpoints nest: `{"teacher": {…}, "student": {…}, "optimizer": {…}}`, and training wraps: a network in
//! `DataParallel` has `module.` before every name. With a network to fit, it is counted how many of its names each
//! dictionary has behind each prefix, and where there are most is taken. Without one, the dictionary's own name decides,
//! and a prefix goes only where every name has it.

use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::train::stored::{StoredTensor, WeightFile};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

/// The names of a network's parameters and states.
pub(super) type Names = HashSet<String>;

/// What checkpoints call the dictionary of a network's weights. Of two that serve equally the earlier is taken: averaged
/// weights, which evaluation uses, come before those that were trained.
const ENTRIES: &[&str] = &[
    "teacher",
    "model_ema",
    "state_dict_ema",
    "params_ema",
    "ema",
    "ema_state_dict",
    "model_state_dict",
    "model_state",
    "state_dict",
    "model",
    "params",
    "net",
    "network",
    "weights",
    "student",
];

/// Dictionaries with such a part in their path are none of a network.
const OTHERS: &[&str] = &["optim", "scheduler", "scaler"];

/// What training puts before the names of a network.
const WRAPPERS: &[&str] = &[
    "module.",
    "_orig_mod.",
    "backbone.",
    "body.",
    "encoder.",
    "model.",
    "net.",
    "network.",
    "teacher.",
    "student.",
    "trunk.",
];

/// So many dictionaries are listed in a sentence.
const MOST_LISTED: usize = 8;

/// Where a network's tensors lie in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The dictionary; empty at the top.
    pub entry: String,
    /// What stands before every name.
    pub prefix: String,
    /// Why this one.
    pub reason: String,
}

impl Source {
    /// The tensor's name in the network, if it lies here.
    pub fn name_of<'t>(&self, tensor: &'t StoredTensor) -> Option<&'t str> {
        let is_here = tensor.entry == self.entry;
        let name = tensor.name.strip_prefix(self.prefix.as_str());
        name.filter(|name| is_here && !name.is_empty())
    }
}

/// The shape of a tensor that can be read and has elements: lengths that cost the file nothing tell nothing.
pub(super) fn telling_shape(tensor: &StoredTensor) -> Option<Shape> {
    let shape = Shape::new(&tensor.shape).ok()?;
    (tensor.dtype.is_read() && shape.elements() > 0).then_some(shape)
}

/// The shape of the first tensor whose path ends with a name.
pub(super) fn shape_anywhere(file: &WeightFile, name: &str) -> Option<Shape> {
    let ends = |tensor: &&StoredTensor| {
        let before = tensor.name.strip_suffix(name);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    file.tensors
        .iter()
        .filter(ends)
        .filter(|tensor| !is_other(&tensor.entry))
        .find_map(telling_shape)
}

/// Whether a dictionary is none of a network.
fn is_other(entry: &str) -> bool {
    let is_in = |part: &str| OTHERS.iter().any(|other| part.contains(other));
    entry.split('.').any(is_in)
}

/// The dictionaries that can be meant: those that [`ENTRIES`] prefers first, then those with most tensors.
fn entries<'f>(file: &'f WeightFile, wanted: Option<&str>) -> Result<Vec<&'f str>> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for tensor in &file.tensors {
        *counts.entry(tensor.entry.as_str()).or_default() += 1;
    }
    let mut all: Vec<(&str, usize)> = counts.into_iter().collect();
    all.sort_by_key(|(entry, count)| (rank(entry), Reverse(*count)));
    let all: Vec<&str> = all.into_iter().map(|(entry, _)| entry).collect();
    if let Some(wanted) = wanted {
        return asked(&all, wanted);
    }
    let found: Vec<&str> = all
        .iter()
        .copied()
        .filter(|entry| !is_other(entry))
        .collect();
    match found.is_empty() {
        true if all.is_empty() => Err(Error::checkpoint("the file holds no tensors")),
        true => Err(Error::checkpoint(format!(
            "the file holds only tensors of an optimiser: {}",
            listed(&all)
        ))),
        false => Ok(found),
    }
}

/// The one dictionary that is asked for. A whole path means just that; the last part of one is enough where only one ends
/// so.
fn asked<'f>(all: &[&'f str], wanted: &str) -> Result<Vec<&'f str>> {
    let entries = all.iter().copied();
    let exact: Vec<&str> = entries.clone().filter(|entry| *entry == wanted).collect();
    let found = match exact.is_empty() {
        true => entries.filter(|entry| last_part(entry) == wanted).collect(),
        false => exact,
    };
    let count = match found.len() {
        1 => return Ok(found),
        0 => "no entry",
        _ => "more than one entry",
    };
    Err(Error::input(format!(
        "the file has {count} with tensors that is called {wanted:?}; there are {}",
        listed(all)
    )))
}

fn last_part(entry: &str) -> &str {
    entry.rsplit('.').next().unwrap_or(entry)
}

/// The place in [`ENTRIES`]; the top and unknown names come last.
fn rank(entry: &str) -> usize {
    let own = last_part(entry);
    let place = ENTRIES.iter().position(|name| *name == own);
    place.unwrap_or(ENTRIES.len())
}

fn listed(entries: &[&str]) -> String {
    let first = entries.iter().take(MOST_LISTED);
    let first: Vec<String> = first.map(|entry| shown(entry)).collect();
    match entries.len().saturating_sub(MOST_LISTED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// An entry as the user reads it.
fn shown(entry: &str) -> String {
    match entry.is_empty() {
        true => "the top".to_string(),
        false => format!("`{entry}`"),
    }
}

/// The entry that a file's names alone make likeliest, and the prefix that all of its names have.
///
/// # Errors
/// There are no tensors, or several dictionaries that no rule tells apart; the error lists them.
pub(in crate::train) fn choose(file: &WeightFile, wanted: Option<&str>) -> Result<Source> {
    let entries = entries(file, wanted)?;
    let &[first, ref rest @ ..] = entries.as_slice() else {
        return Err(Error::checkpoint("the file holds no tensors"));
    };
    if rank(first) == ENTRIES.len() && !rest.is_empty() && !first.is_empty() {
        return Err(Error::input(format!(
            "several dictionaries hold tensors: choose one by --entry: {}",
            listed(&entries)
        )));
    }
    let names: Vec<&str> = names(file, first).collect();
    let mut prefix = String::new();
    let all_have = |prefix: &str| names.iter().all(|name| name.starts_with(prefix));
    while let Some(next) = WRAPPERS
        .iter()
        .map(|wrapper| format!("{prefix}{wrapper}"))
        .find(|next| all_have(next))
    {
        prefix = next;
    }
    let reason = match (wanted, rest) {
        (Some(_), _) => "as asked".to_string(),
        (None, []) => "the only one with tensors".to_string(),
        (None, rest) => format!("by its name; there is also {}", listed(rest)),
    };
    Ok(Source {
        entry: first.to_string(),
        prefix,
        reason,
    })
}

fn names<'f>(file: &'f WeightFile, entry: &str) -> impl Iterator<Item = &'f str> {
    let own = file
        .tensors
        .iter()
        .filter(move |tensor| tensor.entry == entry);
    own.map(|tensor| tensor.name.as_str())
}

/// A dictionary and a prefix, with how many of a network's names there are, and of how many.
struct Found<'f> {
    entry: &'f str,
    prefix: &'f str,
    has: usize,
    of: usize,
}

/// The entry and the prefix with most of a network's names, as one of its kinds has them.
///
/// # Errors
/// No name fits; or as [`choose`].
pub(super) fn choose_for(
    file: &WeightFile,
    wanted: Option<&str>,
    first_layer: Option<&str>,
    kinds: &[&Names],
) -> Result<Source> {
    let entries = entries(file, wanted)?;
    let found = kinds
        .iter()
        .flat_map(|names| count(file, &entries, first_layer, names));
    let mut found: Vec<Found<'_>> = found.collect();
    let place = |entry: &str| entries.iter().position(|own| *own == entry);
    found.sort_by_cached_key(|own| (Reverse(own.has), place(own.entry), preference(own.prefix)));
    let mut seen = HashSet::new();
    found.retain(|own| seen.insert((own.entry, own.prefix)));
    let Some(best) = found.first() else {
        let example = entries.iter().flat_map(|entry| names(file, entry)).next();
        return Err(Error::checkpoint(format!(
            "no tensor of the file has a name of the network's; it holds {:?} and others",
            example.unwrap_or_default()
        )));
    };
    Ok(Source {
        entry: best.entry.to_string(),
        prefix: best.prefix.to_string(),
        reason: reason(best, &found),
    })
}

/// How many of a network's names each dictionary has behind each prefix that is worth a look: wrappers in each other, and
/// whatever stands before the first layer's weight.
fn count<'f>(
    file: &'f WeightFile,
    entries: &[&str],
    first_layer: Option<&str>,
    names: &Names,
) -> Vec<Found<'f>> {
    let longest = names.iter().map(String::len).max().unwrap_or(0);
    let first = first_layer.map(|layer| format!("{layer}.weight"));
    let entries: HashSet<&str> = entries.iter().copied().collect();
    // By entry and prefix: how many names, and whether the first layer's weight is one of them.
    let mut counts: BTreeMap<(&str, &str), (usize, bool)> = BTreeMap::new();
    for tensor in &file.tensors {
        if !entries.contains(tensor.entry.as_str()) {
            continue;
        }
        let whole = tensor.name.as_str();
        let dots = whole.rmatch_indices('.').map(|(at, _)| at + 1);
        for at in dots.chain([0]).take_while(|at| whole.len() - at <= longest) {
            let (prefix, name) = whole.split_at(at);
            if names.contains(name) {
                let (has, has_first) = counts.entry((&tensor.entry, prefix)).or_default();
                *has += 1;
                *has_first |= first.as_deref() == Some(name);
            }
        }
    }
    let is_wrapped = |prefix: &str| {
        let mut parts = prefix.split_inclusive('.');
        parts.all(|part| WRAPPERS.contains(&part))
    };
    let worth = counts
        .into_iter()
        .filter(|((_, prefix), (_, has_first))| *has_first || is_wrapped(prefix));
    let found = worth.map(|((entry, prefix), (has, _))| Found {
        entry,
        prefix,
        has,
        of: names.len(),
    });
    found.collect()
}

/// Of prefixes that serve equally none is taken first, then as of dictionaries, then the shortest.
fn preference(prefix: &str) -> (bool, usize, usize) {
    let ranks = prefix.split('.').map(rank);
    let best = ranks.min().unwrap_or(ENTRIES.len());
    (!prefix.is_empty(), best, prefix.len())
}

/// Why this one, and what else there is: of other dictionaries the best, of its own what serves equally.
fn reason(best: &Found<'_>, found: &[Found<'_>]) -> String {
    let mut reason = format!("{} of {} names of the network", best.has, best.of);
    let mut told = HashSet::new();
    let others = found
        .iter()
        .skip(1)
        .filter(|own| match own.entry == best.entry {
            true => own.has == best.has,
            false => told.insert(own.entry),
        });
    for own in others.take(MOST_LISTED) {
        let has = own.has;
        reason += &match own.entry == best.entry {
            true => format!("; behind `{}` there are {has} too", own.prefix),
            false => format!("; {} has {has}", shown(own.entry)),
        };
    }
    reason
}
