//! `axenic predict`: images read by a trained run.

use super::compute::Compute;
use super::{Outcome, show};
use crate::error::Result;
use crate::report;
use crate::systems::ife::reader::{Reader, pictures};
use crate::systems::ife::run::RunFolder;
use std::path::PathBuf;

/// Reads images: class, probabilities, confidence, and a warning where an image does not look like the training data.
///
/// Images that cannot be read are reported one by one and make the exit code 1; the others are read all the same.
///
/// Example: axenic predict run gel1.jpg gel2.png --csv
#[derive(clap::Args)]
pub(super) struct Predict {
    /// The run folder
    run: PathBuf,
    /// The image files
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

impl Predict {
    pub(super) fn run(self) -> Result<Outcome> {
        let folder = RunFolder::open(&self.run)?;
        let size = folder.config()?.model.size;
        let pictures = pictures(self.images, size, self.compute.threads)?;
        let (reader, mut runner) = Reader::open(&folder, 1, || self.compute.runner())?;
        let mut predictions = Vec::new();
        let mut outcome = Outcome::Done;
        for picture in pictures {
            match picture.and_then(|picture| reader.read(&mut runner, &picture, None)) {
                Ok(example) => predictions.push(example.prediction),
                Err(e) if e.is_input() => {
                    show::note(&format!("axenic: {e}"));
                    outcome = Outcome::Incomplete;
                }
                Err(e) => return Err(e),
            }
        }
        if self.json {
            show::json(&predictions)?;
        } else if self.csv {
            show::result(&report::predictions_csv(&predictions)?)?;
        } else if !predictions.is_empty() {
            show::result(&report::predictions_text(&predictions))?;
        }
        Ok(outcome)
    }
}
