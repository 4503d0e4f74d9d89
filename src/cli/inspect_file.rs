//! `axenic inspect` of a weight file: its tensors, its nesting, what it says about itself.

use super::{Outcome, show};
use crate::error::Result;
use crate::report::{Align, Table, harmless};
use crate::train::{WeightFile, Weights};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Serialize)]
struct Inspection<'f> {
    format: &'static str,
    /// Whether the digest over the contents matches, if there is one.
    digest: String,
    /// Each dictionary with tensors: their number and that of their elements.
    entries: BTreeMap<&'f str, Totals>,
    totals: Totals,
    tensors: Vec<Row<'f>>,
    /// What else lies in the dictionaries.
    others: &'f [(String, String)],
    metadata: BTreeMap<&'f str, serde_json::Value>,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Totals {
    tensors: usize,
    elements: usize,
}

#[derive(Serialize)]
struct Row<'f> {
    entry: &'f str,
    name: &'f str,
    dtype: &'static str,
    shape: &'f [usize],
    elements: usize,
}

impl Totals {
    fn add(&mut self, elements: usize) {
        self.tensors += 1;
        self.elements = self.elements.saturating_add(elements);
    }
}

/// Prints what a weight file of any origin holds. If its digest does not match, something is left to be done.
///
/// # Errors
/// It cannot be read or is damaged; the error names it.
pub(super) fn inspect(path: &Path, is_json: bool) -> Result<Outcome> {
    let file = WeightFile::read(path)?;
    let mut entries: BTreeMap<&str, Totals> = BTreeMap::new();
    let mut totals = Totals::default();
    let mut tensors = Vec::new();
    for tensor in &file.tensors {
        let elements = tensor.elements();
        entries.entry(&tensor.entry).or_default().add(elements);
        totals.add(elements);
        tensors.push(Row {
            entry: &tensor.entry,
            name: &tensor.name,
            dtype: tensor.dtype.name(),
            shape: &tensor.shape,
            elements,
        });
    }
    tensors.sort_by_key(|row| row.entry);
    let metadata = file.metadata.iter().map(|(name, text)| {
        let value = serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into());
        (name.as_str(), value)
    });
    let digest = digest(&file);
    let outcome = match digest {
        Ok(_) => Outcome::Done,
        Err(_) => Outcome::Incomplete,
    };
    let inspection = Inspection {
        format: file.format.name(),
        digest: digest.unwrap_or_else(|e| e.to_string()),
        entries,
        totals,
        tensors,
        others: &file.others,
        metadata: metadata.collect(),
    };
    match is_json {
        true => show::json(&inspection)?,
        false => show::result(&inspection.text())?,
    }
    Ok(outcome)
}

/// Whether a file has a digest.
///
/// # Errors
/// It does not match the contents.
fn digest(file: &WeightFile) -> Result<String> {
    Ok(match Weights::own(file)? {
        Some(_) => "matches".to_string(),
        None => "none".to_string(),
    })
}

impl Inspection<'_> {
    fn text(&self) -> String {
        let Totals { tensors, elements } = self.totals;
        let mut text = format!(
            "{}: {tensors} tensors, {elements} numbers; digest: {}\n",
            self.format,
            harmless(&self.digest)
        );
        let mut table = Table::new(vec![Align::Left, Align::Left, Align::Left, Align::Right]);
        table.row(["tensor", "type", "shape", "numbers"]);
        let mut entry = "";
        for row in &self.tensors {
            if row.entry != entry {
                entry = row.entry;
                let totals = self.entries.get(entry).copied().unwrap_or_default();
                let head = format!("{entry}: {} tensors", totals.tensors);
                table.row([&head, "", "", &totals.elements.to_string()]);
            }
            let indent = if entry.is_empty() { "" } else { "  " };
            table.row([
                format!("{indent}{}", row.name),
                row.dtype.to_string(),
                format!("{:?}", row.shape),
                row.elements.to_string(),
            ]);
        }
        text += &table.render(2);
        let mut rest = Table::new(vec![Align::Left; 2]);
        let others = self.others.iter();
        others.for_each(|(path, what)| rest.row([path, what]));
        for (name, value) in &self.metadata {
            match value.as_object() {
                Some(own) => own
                    .iter()
                    .for_each(|(name, value)| rest.row([name, &value.to_string()])),
                None => rest.row([*name, &value.to_string()]),
            }
        }
        text + &rest.render(2)
    }
}
