//! `axenic train`: a whole training, into a run folder.

use super::check::examined;
use super::compute::Compute;
use super::settings::Settings;
use super::{Outcome, System, show};
use crate::error::{Error, Result};
use crate::report;
use crate::systems::ife::config::Config;
use crate::systems::ife::finish::finish;
use crate::systems::ife::fit::{FitOptions, fit};
use crate::systems::ife::images::Images;
use crate::systems::ife::record::Record;
use crate::systems::ife::run::RunFolder;
use crate::systems::ife::survey::{Bad, Purpose};
use crate::train::write_whole;
use std::path::{Path, PathBuf};

/// Trains a system on a folder of labelled images.
///
/// The run folder holds config.toml (everything resolved), checkpoint/, metrics.csv, report.html and record.json. Ctrl-C saves and
/// stops; --resume continues bit for bit.
///
/// The data are examined first, as by `axenic check`; with problems nothing is trained, unless --skip-bad is given.
///
/// Example: axenic train ife --data gels --out run --preset demo --set epochs=20
#[derive(clap::Args)]
pub(super) struct Train {
    /// The system
    system: System,
    /// The folder with the images and their label tables
    #[arg(long)]
    data: PathBuf,
    /// The run folder to write
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    settings: Settings,
    /// A checkpoint every so many steps, beside the one at the end of every epoch
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: Option<u64>,
    /// Go on where the run in the folder stopped
    #[arg(long)]
    resume: bool,
    /// Leave out what is wrong with the data, list it in the report, and train on the rest
    #[arg(long)]
    skip_bad: bool,
    #[command(flatten)]
    compute: Compute,
}

impl Train {
    pub(super) fn run(self) -> Result<Outcome> {
        let System::Ife = self.system;
        let config = match self.resolve()? {
            Some(config) => {
                refuse_to_overwrite(&self.out, self.resume)?;
                config
            }
            None => RunFolder::open(&self.out)?.config()?,
        };
        // Nothing is written before the data is known to be good.
        let purpose = Purpose::Training {
            batch: Some(config.train.batch),
        };
        let bad = if self.skip_bad {
            Bad::Skipped
        } else {
            Bad::Refused
        };
        let images = examined(&self.data, &config, purpose, bad, self.compute.threads)?;
        let folder = RunFolder::create(&self.out)?;
        folder.save_config(&config)?;
        let options = FitOptions {
            threads: self.compute.threads,
            checkpoint_every: self.checkpoint_every.map(|every| every as usize),
            resume: self.resume,
        };
        show::stop_gently_on_interrupt()?;
        train_and_report(&folder, &config, &images, options, &self.compute)
    }

    /// The configuration to start with; `None` if an existing run is to be continued with its own.
    fn resolve(&self) -> Result<Option<Config>> {
        let exists = RunFolder::open(&self.out).ok();
        if let (true, true, Some(_)) = (self.resume, self.settings.is_plain(), &exists) {
            return Ok(None);
        }
        let config = self.settings.resolve()?;
        match exists {
            Some(folder) if self.resume && folder.config()? == config => Ok(None),
            Some(folder) if self.resume => Err(Error::input(format!(
                "{} was started with another configuration; resume it without --preset, --config and --set, or train \
                 in a new folder",
                folder.path().display()
            ))),
            _ => Ok(Some(config)),
        }
    }
}

fn refuse_to_overwrite(path: &Path, resume: bool) -> Result<()> {
    if resume || RunFolder::open(path).is_err() {
        return Ok(());
    }
    let advice = "continue it with --resume, or train in a new folder";
    Err(Error::input(format!(
        "{} holds a run already; {advice}",
        path.display()
    )))
}

/// Trains in a run folder, scores, and writes the report.
pub(super) fn train_and_report(
    folder: &RunFolder,
    config: &Config,
    images: &Images,
    options: FitOptions,
    compute: &Compute,
) -> Result<Outcome> {
    let mut progress = show::Shown::default();
    if options.resume
        && folder.has_checkpoint()
        && folder.load_last()?.1.is_finished
        && folder.report_path().is_file()
    {
        show::note(&format!(
            "the run in {} is finished",
            folder.path().display()
        ));
        return Ok(Outcome::Done);
    }
    let mut runner = compute.runner()?;
    show::note(&format!("training on {}", runner.description()));
    let command = std::env::args().collect();
    let record = Record::begin(folder, config, images, runner.description(), command)?;
    let fitted = fit(&mut runner, config, images, folder, options, &mut progress)?;
    if fitted.was_stopped {
        let path = folder.path().display();
        show::note(&format!(
            "stopped behind step {}; continue with --resume in {path}",
            fitted.standing.step
        ));
        return Ok(Outcome::Incomplete);
    }
    let report = finish(
        &mut runner,
        config,
        images,
        folder,
        &fitted,
        options.threads,
        &mut progress,
    )?;
    write_whole(&folder.report_path(), report::run_html(&report)?.as_bytes())?;
    record.finish(folder, report.best_epoch)?;
    for evaluation in &report.evaluations {
        show::result(&report::evaluation_text(evaluation))?;
    }
    let weights = folder.load_best()?.digest();
    show::result(&format!(
        "\nbest epoch {}, weights {weights}\n",
        report.best_epoch
    ))?;
    show::result(&format!("report: {}\n", folder.report_path().display()))?;
    Ok(Outcome::Done)
}
