//! `axenic train`: a whole training, into a run folder.

use super::compute::{Compute, seeds};
use super::{Outcome, System, show};
use crate::error::{Error, Result};
use crate::report;
use crate::systems::ife::config::{Config, Preset};
use crate::systems::ife::finish::finish;
use crate::systems::ife::fit::{FitOptions, fit};
use crate::systems::ife::images::Images;
use crate::systems::ife::result::Evaluation;
use crate::systems::ife::run::RunFolder;
use crate::train::write_whole;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Trains a system on a folder of labelled images.
///
/// The run folder holds config.toml (everything resolved), checkpoint/, metrics.csv and report.html. Ctrl-C saves and
/// stops; --resume continues bit for bit.
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
    /// The configuration to start from; paper without it
    #[arg(long, value_parser = Preset::NAMED.map(|(name, _)| name))]
    preset: Option<String>,
    /// A configuration file; what it leaves out comes from the preset
    #[arg(long)]
    config: Option<PathBuf>,
    /// One setting, as in epochs=20 or train.epochs=20; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Where all chance comes from (the same as --set seed=N)
    #[arg(long, value_parser = seeds())]
    seed: Option<u64>,
    /// A checkpoint every so many steps, beside the one at the end of every epoch
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: Option<u64>,
    /// Go on where the run in the folder stopped
    #[arg(long)]
    resume: bool,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
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
        let images = Images::open(&self.data, &config)?;
        let folder = RunFolder::create(&self.out)?;
        folder.save_config(&config)?;
        let options = FitOptions {
            threads: self.compute.threads,
            checkpoint_every: self.checkpoint_every.map(|every| every as usize),
            resume: self.resume,
        };
        show::stop_gently_on_interrupt()?;
        train_and_report(&folder, &config, &images, options, &self.compute, self.json)
    }

    /// The configuration to start with; `None` if an existing run is to be continued with its own.
    fn resolve(&self) -> Result<Option<Config>> {
        let is_plain = self.preset.is_none()
            && self.config.is_none()
            && self.settings.is_empty()
            && self.seed.is_none();
        let exists = RunFolder::open(&self.out).ok();
        if let (true, true, Some(_)) = (self.resume, is_plain, &exists) {
            return Ok(None);
        }
        let mut config = Preset::parse(self.preset.as_deref().unwrap_or("paper"))?.config();
        if let Some(path) = &self.config {
            let text = std::fs::read_to_string(path)
                .map_err(|e| Error::input(format!("cannot read {}: {e}", path.display())))?;
            config = Config::read(&text, &config).map_err(|e| e.within(path.display()))?;
        }
        for setting in &self.settings {
            config = config.with(setting)?;
        }
        if let Some(seed) = self.seed {
            config = config.with(&format!("train.seed={seed}"))?;
        }
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
    json: bool,
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
    if let Some(remark) = config.remark() {
        show::note(&remark);
    }
    let mut runner = compute.runner()?;
    show::note(&format!("training on {}", runner.description()));
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
    let trained = Trained {
        best_epoch: report.best_epoch,
        weights_sha256: folder.load_best()?.digest(),
        evaluations: report.evaluations,
        report: folder.report_path().display().to_string(),
    };
    trained.show(json)?;
    Ok(Outcome::Done)
}

/// What a training prints when it is done.
#[derive(Serialize)]
struct Trained {
    best_epoch: usize,
    weights_sha256: String,
    evaluations: Vec<Evaluation>,
    report: String,
}

impl Trained {
    fn show(&self, json: bool) -> Result<()> {
        if json {
            return show::json(self);
        }
        for evaluation in &self.evaluations {
            show::result(&report::evaluation_text(evaluation))?;
        }
        let (epoch, weights) = (self.best_epoch, &self.weights_sha256);
        show::result(&format!(
            "\nbest epoch {epoch}, weights {weights}\nreport: {}\n",
            self.report
        ))
    }
}
