//! Which of a file's dictionaries holds a network's weights, and what stands before their names.
//!
//! Checkpoints nest: `{"teacher": {…}, "student": {…}, "optimizer": {…}}`, and training wraps: a network in
//! `DataParallel` has `module.` before every name. With a network to fit, every dictionary is tried with every prefix that
//! occurs, and the one with most of the network's names is taken. Without one, the dictionary's own name decides, and a
//! prefix goes only where every name has it.

use crate::error::{Error, Result};
use crate::train::stored::{StoredTensor, WeightFile};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

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

/// So many dictionaries, and so many prefixes in each, are tried; honest files have fewer.
const MOST_TRIED: usize = 32;

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

/// The dictionaries that can be meant, those that `ENTRIES` prefers first.
fn entries<'f>(file: &'f WeightFile, wanted: Option<&str>) -> Result<Vec<&'f str>> {
    let all: BTreeSet<&str> = file
        .tensors
        .iter()
        .map(|tensor| tensor.entry.as_str())
        .collect();
    if let Some(wanted) = wanted {
        // A whole path means just that; the last part of one is enough where only one ends so.
        let exact: Vec<&str> = all
            .iter()
            .copied()
            .filter(|entry| *entry == wanted)
            .collect();
        let ends = all
            .iter()
            .copied()
            .filter(|entry| last_part(entry) == wanted);
        let found = if exact.is_empty() {
            ends.collect()
        } else {
            exact
        };
        return match found.len() {
            1 => Ok(found),
            _ => Err(Error::input(format!(
                "the file has {} with tensors that is called {wanted:?}; there are {}",
                if found.is_empty() {
                    "no entry"
                } else {
                    "more than one entry"
                },
                listed(&all)
            ))),
        };
    }
    let is_other = |entry: &&str| {
        let is_in = |part: &str| OTHERS.iter().any(|other| part.contains(other));
        entry.split('.').any(is_in)
    };
    let mut found: Vec<&str> = all
        .iter()
        .copied()
        .filter(|entry| !is_other(entry))
        .collect();
    found.sort_by_key(|entry| rank(entry));
    found.truncate(MOST_TRIED);
    match found.is_empty() {
        true if all.is_empty() => Err(Error::checkpoint("the file holds no tensors")),
        true => Err(Error::checkpoint(format!(
            "the file holds only tensors of an optimiser: {}",
            listed(&all)
        ))),
        false => Ok(found),
    }
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

fn listed<'e>(entries: impl IntoIterator<Item = &'e &'e str>) -> String {
    let shown = entries.into_iter().map(|entry| shown(entry));
    shown.collect::<Vec<_>>().join(", ")
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

/// The entry and the prefix with most of a network's names. `count` gives how many of a network's names there are, and of
/// how many, where a tensor's shape is given by the name in the network.
///
/// # Errors
/// No name fits; or as [`choose`].
pub(in crate::train) fn choose_for(
    file: &WeightFile,
    wanted: Option<&str>,
    first_layer: Option<&str>,
    mut count: impl FnMut(&BTreeMap<&str, &StoredTensor>) -> Result<(usize, usize)>,
) -> Result<Source> {
    let entries = entries(file, wanted)?;
    let mut found: Vec<(usize, usize, &str, String)> = Vec::new();
    for &entry in &entries {
        let mut best: Option<(usize, usize, &str, String)> = None;
        for prefix in prefixes(file, entry, first_layer) {
            let own = file.tensors.iter().filter(|tensor| tensor.entry == entry);
            let own = own.filter_map(|tensor| Some((tensor.name.strip_prefix(&prefix)?, tensor)));
            let (has, of) = count(&own.collect())?;
            if best.as_ref().is_none_or(|(most, ..)| has > *most) {
                best = Some((has, of, entry, prefix));
            }
        }
        found.extend(best);
    }
    // Stable: of equals the first in the order of preference stays first.
    found.sort_by_key(|(has, ..)| std::cmp::Reverse(*has));
    let Some((has @ 1.., of, entry, prefix)) = found.first().cloned() else {
        let example = entries.iter().flat_map(|entry| names(file, entry)).next();
        return Err(Error::checkpoint(format!(
            "no tensor of the file has a name of the network's; it holds {:?} and others",
            example.unwrap_or_default()
        )));
    };
    let others: Vec<String> = found[1..]
        .iter()
        .filter(|(own, ..)| *own > 0)
        .map(|(own, _, entry, _)| format!("{} has {own}", shown(entry)))
        .collect();
    let mut reason = format!("{has} of {of} names of the network");
    if !others.is_empty() {
        reason = format!("{reason}; {}", others.join(", "));
    }
    Ok(Source {
        entry: entry.to_string(),
        prefix,
        reason,
    })
}

/// The prefixes worth trying, none first: wrappers in each other, and whatever stands before the first layer's weight.
fn prefixes(file: &WeightFile, entry: &str, first_layer: Option<&str>) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut at = 0;
    while let Some(outer) = found.get(at).cloned() {
        at += 1;
        // Deeper than this nobody wraps.
        if outer.matches('.').count() >= 4 || found.len() >= MOST_TRIED {
            continue;
        }
        for wrapper in WRAPPERS {
            let inner = format!("{outer}{wrapper}");
            if names(file, entry).any(|name| name.starts_with(&inner)) {
                found.push(inner);
            }
        }
    }
    let weight = first_layer.map(|layer| format!(".{layer}.weight"));
    for name in names(file, entry) {
        let before = weight
            .as_ref()
            .and_then(|weight| name.strip_suffix(weight.as_str()));
        let prefix = before.map(|before| format!("{before}."));
        found.extend(prefix.filter(|prefix| found.len() < MOST_TRIED && !found.contains(prefix)));
    }
    found
}
