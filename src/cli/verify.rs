//! `axenic verify`: a run folder's digests and records, checked.

use super::{Outcome, show};
use crate::error::Result;
use crate::systems::ife::run::RunFolder;
use crate::systems::ife::verify::{Finding, State, verify};
use std::path::PathBuf;

/// Holds a run folder against its audit record, record.json.
///
/// Held against it are the content of all weights and checkpoints, the files, the configuration, the data if it is still
/// there, and this program's version and shaders.
///
/// What cannot be checked is said; what has changed makes the exit code 1.
///
/// Example: axenic verify run
#[derive(clap::Args)]
pub(super) struct Verify {
    /// The run folder
    run: PathBuf,
    /// Where the data is, if not where it was
    #[arg(long)]
    data: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(self) -> Result<Outcome> {
        let findings = verify(&RunFolder::open(&self.run)?, self.data.as_deref())?;
        if self.json {
            show::json(&findings)?;
        } else {
            let row = |finding: &Finding| {
                let state = match finding.state {
                    State::Ok => "OK",
                    State::Changed => "changed",
                    State::CannotBeChecked => "cannot be checked",
                };
                vec![finding.what.clone(), state.into(), finding.detail.clone()]
            };
            let rows: Vec<Vec<String>> = findings.iter().map(row).collect();
            show::result(&show::table(&rows))?;
        }
        let is_changed = |finding: &&Finding| finding.state == State::Changed;
        match findings.iter().filter(is_changed).count() {
            0 => Ok(Outcome::Done),
            changed => {
                let of = findings.len();
                let run = self.run.display();
                show::note(&format!("axenic: {run}: {changed} of {of} checks failed"));
                Ok(Outcome::Incomplete)
            }
        }
    }
}
