//! `axenic train`: a whole training, into a run folder.

use super::check::examined;
use super::compute::Compute;
use super::settings::Settings;
use super::{Outcome, System, show};
use crate::error::Result;
use crate::graph::Target;
use crate::report;
use crate::systems::ife::config::Config;
use crate::systems::ife::fit::{FitOptions, Task, admit, is_finished};
use crate::systems::ife::record::Record;
use crate::systems::ife::result::Evaluation;
use crate::systems::ife::run::RunFolder;
use crate::systems::ife::survey::{Bad, Purpose};
use crate::systems::ife::train::train;
use crate::train::{Files, Runner};
use clap::ValueEnum;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Trains a system on a folder of labelled images.
///
/// The run folder holds config.toml (everything resolved), data.csv (what is trained on, file by file), checkpoint/,
/// metrics.csv, report.html and record.json.
///
/// Nothing is lost: a checkpoint is written every 20 steps, and --resume continues bit for bit, as if the run had never
/// been interrupted, whatever ended it: Ctrl-C, SIGTERM or the terminal's end (the step is finished and saved, the exit
/// code is 1, a second signal ends at once; to outlive the terminal, start it with setsid or in tmux), a full disk,
/// kill -9, a power cut.
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
    #[arg(long, value_name = "STEPS", default_value_t = CHECKPOINT_EVERY,
          value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: u64,
    /// Go on where the run in the folder stopped; before its first checkpoint at the beginning
    #[arg(long)]
    resume: bool,
    /// What to do when the device is lost or its memory does not suffice
    #[arg(long, value_enum, default_value_t)]
    on_device_loss: OnDeviceLoss,
    /// Leave out what is wrong with the data, list it in the report, and train on the rest
    #[arg(long)]
    skip_bad: bool,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

/// Steps between checkpoints, where nothing else is asked for.
pub(super) const CHECKPOINT_EVERY: u64 = 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum OnDeviceLoss {
    /// End; --resume continues
    #[default]
    Stop,
    /// Go on with the cpu from the last checkpoint
    Cpu,
}

impl Train {
    pub(super) fn run(self) -> Result<Outcome> {
        let System::Ife = self.system;
        let config = match self.resolve()? {
            Some(config) => {
                refuse_to_overwrite(&self.out, self.resume)?;
                config
            }
            None => {
                let own = RunFolder::open(&self.out)?.config()?;
                self.with_precision(own.clone()).expect_unchanged(&own)?;
                own
            }
        };
        let compute = self.compute.in_precision(config.train.precision);
        compute.check_precision()?;
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
        let folder = RunFolder::create(&self.out, Files::default())?;
        let task = Task {
            config: &config,
            images: &images,
            folder: &folder,
            options: FitOptions {
                threads: self.compute.threads,
                checkpoint_every: self.checkpoint_every as usize,
                resume: self.resume,
            },
        };
        show::stop_gently_on_interrupt()?;
        train_and_report(&task, &compute, self.on_device_loss, self.json)
    }

    /// The configuration to start with; `None` if an existing run is to be continued with its own.
    fn resolve(&self) -> Result<Option<Config>> {
        let exists = RunFolder::open(&self.out).ok();
        if let (true, true, Some(_)) = (self.resume, self.settings.is_plain(), &exists) {
            return Ok(None);
        }
        let config = self.with_precision(self.settings.resolve()?);
        if self.resume && self.settings.is_plain() {
            show::note(&format!(
                "no run was begun in {} yet; starting at the beginning, with the default preset",
                self.out.display()
            ));
        }
        match exists {
            Some(folder) if self.resume => {
                config.expect_unchanged(&folder.config()?)?;
                Ok(None)
            }
            _ => Ok(Some(config)),
        }
    }

    /// A configuration in the precision that is asked for, if any is.
    fn with_precision(&self, mut config: Config) -> Config {
        let asked = self.compute.precision();
        config.train.precision = asked.unwrap_or(config.train.precision);
        config
    }
}

fn refuse_to_overwrite(path: &Path, resume: bool) -> Result<()> {
    match RunFolder::open(path) {
        // A start that failed before its first checkpoint has left nothing worth keeping.
        Ok(folder) if !resume && !folder.checkpoints().steps()?.is_empty() => Err(folder.taken()),
        _ => Ok(()),
    }
}

/// Trains in a run folder, scores, and writes the report.
pub(super) fn train_and_report(
    task: &Task<'_>,
    compute: &Compute,
    on_device_loss: OnDeviceLoss,
    json: bool,
) -> Result<Outcome> {
    let folder = task.folder;
    if is_finished(task)? {
        Record::complete(folder)?;
        show::note(&format!(
            "the run in {} is finished",
            folder.path().display()
        ));
        return Ok(Outcome::Done);
    }
    // Before the record: one that is refused leaves everything as it is.
    admit(task)?;
    if let Some(remark) = task.config.remark() {
        show::note(&remark);
    }
    let mut runner = compute.runner()?;
    show::note(&format!("training on {}", runner.description()));
    let command = std::env::args().collect();
    let record = Record::begin(task, runner.description(), command)?;
    let is_gpu = matches!(runner.executor().target(), Target::Gpu(_));
    let cpu = || compute.spare();
    let is_spared = is_gpu && on_device_loss == OnDeviceLoss::Cpu;
    let spare: Option<&dyn Fn() -> Result<Runner>> = is_spared.then_some(&cpu);
    let report = train(task, &mut runner, spare, &mut show::Shown::default())?;
    let page = report::run_html(&report)?;
    folder
        .files()
        .write(&folder.report_path(), page.as_bytes())?;
    record.finish(folder, report.best_epoch)?;
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
