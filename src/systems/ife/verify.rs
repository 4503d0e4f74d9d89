//! A run folder held against its audit record: everything that can still be checked.

use super::config::Config;
use super::record::{FILE, Outcome, Program, Record, file_sha256, sha256, tensor_files};
use super::result::EpochRow;
use super::run::RunFolder;
use crate::data::file::read_whole;
use crate::data::gel_table::{GelTable, digest_of_files};
use crate::error::{Error, Result};
use crate::train::Weights;
use serde::Serialize;
use std::path::Path;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is as recorded.
    Ok,
    /// It is not as recorded.
    Changed,
    /// Nothing is there to hold it against.
    CannotBeChecked,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked.
    pub what: String,
    /// What was found.
    pub state: State,
    /// The digest, or in what they differ.
    pub detail: String,
}

/// Checks a run folder. The data is looked for in `data`, or where it was.
///
/// # Errors
/// There is no run folder. What is wrong with a run is no error but a finding.
pub fn verify(folder: &RunFolder, data: Option<&Path>) -> Result<Vec<Finding>> {
    let root = folder.path();
    let mut verify = Verify {
        findings: Vec::new(),
    };
    for name in tensor_files(root) {
        let loaded = Weights::load_own(&root.join(&name)).map(|weights| weights.digest());
        verify.result(&format!("content of {name}"), loaded);
    }
    let config = folder.config();
    if let Err(e) = &config {
        verify.add("configuration", State::Changed, e.to_string());
    }
    let rows = rows(&root.join("metrics.csv"));
    if let Err(e) = &rows {
        verify.add("rows of metrics.csv", State::Changed, e.to_string());
    }
    let record = match Record::read(root) {
        Ok(record) => record,
        Err(e) => {
            verify.add(FILE, State::Changed, e.to_string());
            return Ok(verify.findings);
        }
    };
    let calls = record.sessions.len();
    let plural = if calls == 1 { "" } else { "s" };
    verify.add(FILE, State::Ok, format!("{calls} session{plural}"));
    if let Ok(config) = &config {
        verify.configuration(&record, config);
    }
    match &record.result {
        Some(outcome) => verify.outcome(folder, outcome, rows.ok(), config.ok()),
        None => {
            let why = "the run is not finished";
            verify.add("files and weights", State::CannotBeChecked, why);
        }
    }
    verify.data(&record, data);
    verify.program(&record.program, &Program::this());
    if let Some(session) = record.sessions.last() {
        let recorded = format!("recorded: {}", session.device);
        verify.add("device", State::CannotBeChecked, recorded);
    }
    Ok(verify.findings)
}

struct Verify {
    findings: Vec<Finding>,
}

impl Verify {
    fn add(&mut self, what: &str, state: State, detail: impl Into<String>) {
        self.findings.push(Finding {
            what: what.to_string(),
            state,
            detail: detail.into(),
        });
    }

    fn result(&mut self, what: &str, found: Result<String>) {
        match found {
            Ok(detail) => self.add(what, State::Ok, detail),
            Err(e) => self.add(what, State::Changed, e.to_string()),
        }
    }

    fn same(&mut self, what: &str, recorded: &str, found: &str) {
        if recorded == found {
            return self.add(what, State::Ok, found);
        }
        let detail = format!("recorded {recorded}, found {found}");
        self.add(what, State::Changed, detail);
    }

    fn configuration(&mut self, record: &Record, config: &Config) {
        match config.to_toml() {
            Ok(text) => self.same(
                "configuration",
                &record.config_sha256,
                &sha256(text.as_bytes()),
            ),
            Err(e) => self.add("configuration", State::Changed, e.to_string()),
        }
        let (recorded, found) = (record.seed.to_string(), config.train.seed.to_string());
        self.same("seed", &recorded, &found);
    }

    fn outcome(
        &mut self,
        folder: &RunFolder,
        outcome: &Outcome,
        rows: Option<Vec<EpochRow>>,
        config: Option<Config>,
    ) {
        for (name, recorded) in &outcome.files {
            match file_sha256(&folder.path().join(name)) {
                Ok(found) => self.same(name, recorded, &found),
                Err(e) => self.add(name, State::Changed, e.to_string()),
            }
        }
        match folder.load_best() {
            Ok(best) => self.same(
                "weights of the best epoch",
                &outcome.weights_sha256,
                &best.digest(),
            ),
            Err(e) => self.add("weights of the best epoch", State::Changed, e.to_string()),
        }
        let (Some(rows), Some(config)) = (rows, config) else {
            return;
        };
        let (epochs, found) = (config.train.epochs.to_string(), rows.len().to_string());
        self.same("rows of metrics.csv", &epochs, &found);
        let best = best_epoch(&rows).to_string();
        self.same("best epoch", &outcome.best_epoch.to_string(), &best);
    }

    fn data(&mut self, record: &Record, data: Option<&Path>) {
        let folder = data.unwrap_or(&record.data.folder);
        if !folder.is_dir() {
            let why = format!("{} is not there", folder.display());
            return self.add("data", State::CannotBeChecked, why);
        }
        let mut records = GelTable::read(folder).records;
        records.retain(|image| !record.data.without.contains(&image.name));
        match digest_of_files(&records) {
            Ok(found) => self.same("data", &record.data.sha256, &found),
            Err(e) => self.add("data", State::Changed, e.to_string()),
        }
    }

    fn program(&mut self, recorded: &Program, this: &Program) {
        self.same("version of the program", &recorded.axenic, &this.axenic);
        self.same(
            "versions of its dependencies",
            &recorded.lock_sha256,
            &this.lock_sha256,
        );
        let names = recorded.shaders.keys().chain(this.shaders.keys());
        let mut differing: Vec<&str> = names
            .filter(|&name| recorded.shaders.get(name) != this.shaders.get(name))
            .map(String::as_str)
            .collect();
        differing.sort_unstable();
        differing.dedup();
        match differing.as_slice() {
            [] => self.add(
                "shaders",
                State::Ok,
                format!("{} texts", this.shaders.len()),
            ),
            names => self.add("shaders", State::Changed, names.join(", ")),
        }
    }
}

/// The rows of `metrics.csv`: epochs from 1 without gaps, steps that rise.
fn rows(path: &Path) -> Result<Vec<EpochRow>> {
    let bytes = read_whole(path, super::record::MAX_BYTES).map_err(|e| e.within(path.display()))?;
    let rows: std::result::Result<Vec<EpochRow>, csv::Error> =
        csv::Reader::from_reader(bytes.as_slice())
            .deserialize()
            .collect();
    let rows = rows.map_err(|e| Error::checkpoint(format!("{}: {e}", path.display())))?;
    let numbered = rows.iter().zip(1..).all(|(row, epoch)| row.epoch == epoch);
    if numbered && rows.windows(2).all(|pair| pair[0].step < pair[1].step) {
        return Ok(rows);
    }
    Err(Error::checkpoint(format!(
        "{}: its rows do not follow each other",
        path.display()
    )))
}

/// The epoch with the highest macro F1, of equal ones the one with the lowest loss, of those the first; 0 without rows.
fn best_epoch(rows: &[EpochRow]) -> usize {
    let key = |row: &EpochRow| (row.validation_macro_f1, -row.validation_loss);
    let better = |best: Option<EpochRow>, row: &EpochRow| match best {
        Some(best) if key(row) <= key(&best) => Some(best),
        _ => Some(*row),
    };
    rows.iter().fold(None, better).map_or(0, |row| row.epoch)
}
