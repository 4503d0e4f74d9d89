//! `axenic demo`: the main job on the embedded default, from nothing to a report.

use super::check::examined;
use super::compute::{Compute, seeds};
use super::synth::render;
use super::train::{CHECKPOINT_EVERY, OnDeviceLoss, train_and_report};
use super::{Outcome, show};
use crate::error::{Error, Result};
use crate::systems::ife::config::Preset;
use crate::systems::ife::fit::{FitOptions, Task};
use crate::systems::ife::run::RunFolder;
use crate::systems::ife::survey::{Bad, Purpose};
use crate::systems::ife::synth::Balance;
use crate::train::Files;
use std::path::PathBuf;

/// Trains the IFE system on synthetic gels, evaluates and explains it, and writes a run folder with report.html.
///
/// It takes under four minutes on two cores without a GPU.
///
/// Example: axenic demo --out runs/demo
#[derive(clap::Args)]
pub(super) struct Demo {
    /// The run folder; by default the first free one of runs/demo, runs/demo-2, …
    #[arg(long)]
    out: Option<PathBuf>,
    /// How many gels to render
    #[arg(long, default_value_t = GELS)]
    count: usize,
    /// Where all chance comes from
    #[arg(long, default_value_t = SEED, value_parser = seeds())]
    seed: u64,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

const GELS: usize = 3600;
const SEED: u64 = 42;

impl Default for Demo {
    fn default() -> Self {
        Self {
            out: None,
            count: GELS,
            seed: SEED,
            json: false,
            compute: Compute::default(),
        }
    }
}

impl Demo {
    pub(super) fn run(self) -> Result<Outcome> {
        let path = match &self.out {
            Some(path) if RunFolder::open(path).is_ok() => {
                return Err(Error::input(format!(
                    "{} holds a run already; choose another folder",
                    path.display()
                )));
            }
            Some(path) => path.clone(),
            None => free_folder(),
        };
        let mut config = Preset::Demo
            .config()
            .with(&format!("train.seed={}", self.seed))?;
        config.train.precision = self.compute.precision().unwrap_or_default();
        self.compute.check_precision()?;
        let folder = RunFolder::create(&path, Files::default())?;
        let gels = path.join("gels");
        let threads = self.compute.threads;
        render(&gels, self.count, Balance::Even, self.seed, threads)?;
        show::stop_gently_on_interrupt()?;
        // A small set may have a single gel of a rare class; the demo does without it.
        let purpose = Purpose::Training { batch: None };
        let images = examined(&gels, &config, purpose, Bad::Skipped, threads)?;
        let task = Task {
            config: &config,
            images: &images,
            folder: &folder,
            options: FitOptions {
                threads,
                checkpoint_every: CHECKPOINT_EVERY as usize,
                resume: false,
            },
        };
        let outcome = train_and_report(&task, &self.compute, OnDeviceLoss::Stop, self.json)?;
        if outcome == Outcome::Done && !self.json {
            let (run, gel) = (path.display(), gels.join("data/1.jpg"));
            show::result(&format!(
                "next: axenic predict {run} {0}\n      axenic explain {run} {0} --out {run}/explained\n",
                gel.display()
            ))?;
        }
        Ok(outcome)
    }
}

fn free_folder() -> PathBuf {
    let candidates = (1..).map(|n| {
        PathBuf::from(if n == 1 {
            "runs/demo".to_string()
        } else {
            format!("runs/demo-{n}")
        })
    });
    candidates
        .into_iter()
        .find(|path| !path.exists())
        .unwrap_or_default()
}
