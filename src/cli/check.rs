//! `axenic check`: the data examined before training. Every command that uses labelled images examines them so.

use super::settings::Settings;
use super::{Outcome, System, show};
use crate::data::decode::Conversion;
use crate::data::gel_table::Problem;
use crate::error::{Error, Result};
use crate::report;
use crate::systems::ife::config::Config;
use crate::systems::ife::images::Images;
use crate::systems::ife::result::CLASS_NAMES;
use crate::systems::ife::survey::{Bad, Purpose, Survey};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Examines a folder of labelled images and lists everything that is wrong with it, with file and line.
///
/// Every table is read and every image decoded. Training examines its data in the same way before it starts; what can be
/// left out, it leaves out with --skip-bad. With a configuration, the batch is held against the training part too.
///
/// Example: axenic check ife --data gels --set batch=32
#[derive(clap::Args)]
pub(super) struct Check {
    /// The system
    system: System,
    /// The folder with the images and their label tables
    #[arg(long)]
    data: PathBuf,
    #[command(flatten)]
    settings: Settings,
    /// Worker threads; 0 is one for each core
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Checked<'a> {
    folder: String,
    /// Images without problems.
    images: usize,
    classes: BTreeMap<&'static str, u64>,
    conversions: BTreeMap<Conversion, usize>,
    problems: &'a [Problem],
}

impl Check {
    pub(super) fn run(self) -> Result<Outcome> {
        let System::Ife = self.system;
        let config = self.settings.resolve()?;
        let batch = (!self.settings.is_plain()).then_some(config.train.batch);
        let purpose = Purpose::Training { batch };
        let mut progress = show::Shown::default();
        let survey = Survey::take(&self.data, &config, purpose, self.threads, &mut progress)?;
        let problems = &survey.problems;
        if self.json {
            let classes = CLASS_NAMES.into_iter().zip(survey.class_counts());
            show::json(&Checked {
                folder: self.data.display().to_string(),
                images: survey.count(),
                classes: classes.collect(),
                conversions: survey.conversions(),
                problems,
            })?;
        } else {
            show::result(&report::problems_text(problems))?;
            let counts = CLASS_NAMES.iter().zip(survey.class_counts());
            let listed: Vec<String> = counts.map(|(name, n)| format!("{n} {name}")).collect();
            let (good, listed) = (survey.count(), listed.join(", "));
            show::result(&format!("{good} images without problems: {listed}\n"))?;
            for line in converted(&survey.conversions()) {
                show::result(&format!("{line}\n"))?;
            }
        }
        if problems.is_empty() {
            return Ok(Outcome::Done);
        }
        let count = problems.len();
        let plural = if count == 1 { "" } else { "s" };
        show::note(&format!(
            "axenic: {} has {count} problem{plural}",
            self.data.display()
        ));
        Ok(Outcome::Incomplete)
    }
}

/// A line per kind of conversion.
fn converted(conversions: &BTreeMap<Conversion, usize>) -> Vec<String> {
    let line = |(conversion, &count): (&Conversion, &usize)| match count {
        1 => format!("1 image: {conversion}"),
        _ => format!("{count} images: {conversion}"),
    };
    conversions.iter().map(line).collect()
}

/// The most problems that are listed where they are not the result asked for.
const LISTED: usize = 50;

/// Examines a folder and gives its images. Problems are listed, and are an error unless they are to be skipped and can be.
pub(super) fn examined(
    folder: &Path,
    config: &Config,
    purpose: Purpose,
    bad: Bad,
    threads: usize,
) -> Result<Images> {
    let mut progress = show::Shown::default();
    let survey = Survey::take(folder, config, purpose, threads, &mut progress)?;
    let problems = &survey.problems;
    let listed = &problems[..problems.len().min(LISTED)];
    if problems.len() > 1 || (bad == Bad::Skipped && !problems.is_empty()) {
        show::note(report::problems_text(listed).trim_end());
        if problems.len() > listed.len() {
            let more = problems.len() - listed.len();
            show::note(&format!("… and {more} more; `axenic check` lists all"));
        }
    }
    for line in converted(&survey.conversions()) {
        show::note(&line);
    }
    if bad == Bad::Skipped && !problems.is_empty() {
        let (good, skipped) = (survey.count(), problems.len());
        show::note(&format!(
            "using {good} images; the {skipped} problems above are left out"
        ));
    }
    let can_help = bad == Bad::Refused && problems.iter().all(|p| p.kind.can_be_left_out());
    survey.images(config, bad).map_err(|e| match can_help {
        true => Error::input(format!("{e}; --skip-bad uses the rest")),
        false => e,
    })
}
