//! `axenic evaluate`: a trained run on labelled images.

use super::check::examined;
use super::compute::Compute;
use super::{Outcome, show};
use crate::error::Result;
use crate::report;
use crate::systems::ife::images::Part;
use crate::systems::ife::reader::Reader;
use crate::systems::ife::run::RunFolder;
use crate::systems::ife::score::evaluate;
use crate::systems::ife::study::{INFERENCE_BATCH, outcomes};
use crate::systems::ife::survey::{Bad, Purpose};
use crate::train::Progress as _;
use clap::ValueEnum;
use std::path::PathBuf;

/// Scores a trained run on labelled images: metrics with 95 % intervals, confusion matrices, operating points.
///
/// The parts are those that training made of the same images, by their names and content, or those of the folder's own
/// label tables; `all` is for a folder that was never split.
///
/// Example: axenic evaluate run --data gels --split test
#[derive(clap::Args)]
pub(super) struct Evaluate {
    /// The run folder
    run: PathBuf,
    /// The folder with the images and their label tables
    #[arg(long)]
    data: PathBuf,
    /// Which part of it
    #[arg(long, value_enum, default_value_t = PartWord::Test)]
    split: PartWord,
    /// Where the chance of the intervals' bootstrap comes from; by default the run's seed
    #[arg(long)]
    seed: Option<u64>,
    /// Leave out what is wrong with the data, as a training with --skip-bad did
    #[arg(long)]
    skip_bad: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PartWord {
    Train,
    Validation,
    Test,
    All,
}

impl Evaluate {
    pub(super) fn run(self) -> Result<Outcome> {
        let part = match self.split {
            PartWord::Train => Part::Train,
            PartWord::Validation => Part::Validation,
            PartWord::Test => Part::Test,
            PartWord::All => Part::All,
        };
        let folder = RunFolder::open(&self.run)?;
        let open = || self.compute.runner();
        let (reader, mut runner) = Reader::open(&folder, INFERENCE_BATCH, open)?;
        // What is to be split as in training is examined as in training.
        let purpose = match part {
            Part::All => Purpose::Scoring,
            _ => Purpose::Training { batch: None },
        };
        let bad = if self.skip_bad {
            Bad::Skipped
        } else {
            Bad::Refused
        };
        let threads = self.compute.threads;
        let images = examined(&self.data, &reader.config, purpose, bad, threads)?;
        let items = folder.items(&images, part)?;
        let mut progress = show::Shown::default();
        progress.begin(
            &format!("scoring the {} part", part.name()),
            "images",
            items.len() as u64,
        );
        let outcomes = outcomes(
            &mut runner,
            &reader.config,
            &images,
            &items,
            self.compute.threads,
            &mut progress,
        );
        progress.end();
        let seed = self.seed.unwrap_or(reader.config.train.seed);
        let evaluation = evaluate(part.name(), &outcomes?, &reader.training_counts, seed)?;
        if self.json {
            show::json(&evaluation)?
        } else {
            show::result(&report::evaluation_text(&evaluation))?
        }
        Ok(Outcome::Done)
    }
}
