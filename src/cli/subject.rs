//! What `audit` and `trace` look at: a graph with its parameters and inputs, of a system or of a trained run.

use super::System;
use crate::array::Array;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::systems::ife::config::{Config, Preset};
use crate::systems::ife::graphs::{inference, training_step};
use crate::systems::ife::images::{NORMALISATION, picture, stack};
use crate::systems::ife::run::{RunFolder, Standing};
use crate::systems::ife::synth;
use crate::train::Weights;
use clap::ValueEnum as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How large the subject is.
#[derive(clap::Args)]
pub(super) struct Extent {
    /// Images in a batch
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub(super) batch: u64,
    /// Height and width of the images; a run's own if left out, else 64
    #[arg(long)]
    pub(super) size: Option<usize>,
    /// Seed of the images and, for a system, of its parameters
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,
    /// One setting, as in share=2; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) settings: Vec<String>,
}

/// A computation that can be run.
pub(super) struct Subject {
    /// The computation.
    pub(super) graph: Arc<Graph>,
    /// Its parameters and states.
    pub(super) weights: Weights,
    /// Its inputs.
    pub(super) inputs: Vec<(&'static str, Array)>,
}

impl Subject {
    /// A whole training step of a system with fresh parameters, or of a run with those of its last checkpoint, on
    /// synthetic images.
    pub(super) fn training_step(target: &str, extent: &Extent) -> Result<Self> {
        let (config, folder) = configuration(target, extent)?;
        let batch = extent.batch as usize;
        let graph = Arc::new(training_step(&config, batch)?);
        let weights = match &folder {
            Some(folder) => last_weights(folder)?,
            None => Weights::initial(&graph, extent.seed)?,
        };
        weights.check(&graph)?;
        let inputs = synth::step_inputs(&config, batch, extent.seed)?;
        Ok(Self {
            graph,
            weights,
            inputs,
        })
    }

    /// An inference of a system with fresh parameters, or of a run with those of its best epoch, on one image or on
    /// synthetic ones.
    pub(super) fn inference(target: &str, extent: &Extent, image: Option<&Path>) -> Result<Self> {
        let (config, folder) = configuration(target, extent)?;
        let (size, batch) = (config.model.size, extent.batch as usize);
        let x = match image {
            Some(path) => stack(&[&picture(path, size)?.normalised(&NORMALISATION)], size, 1)?,
            None => {
                synth::step_inputs(&config, batch, extent.seed)?
                    .swap_remove(0)
                    .1
            }
        };
        let graph = Arc::new(inference(&config.model, x.shape()[0])?);
        let weights = match &folder {
            Some(folder) => folder.load_best()?,
            None => Weights::initial(&graph, extent.seed)?,
        };
        weights.check(&graph)?;
        Ok(Self {
            graph,
            weights,
            inputs: vec![("x", x)],
        })
    }

    /// Its parameters and states by name, those that the graph has.
    pub(super) fn lasting(&self) -> Vec<(&str, &Array)> {
        let leaves = self.graph.leaves();
        let own = leaves.filter(|(_, leaf, _)| leaf.kind.init().is_some());
        own.map(|(_, leaf, _)| (leaf.name.as_str(), &self.weights.tensors[&leaf.name]))
            .collect()
    }

    /// Its inputs by name.
    pub(super) fn inputs(&self) -> Vec<(&str, &Array)> {
        self.inputs
            .iter()
            .map(|(name, array)| (*name, array))
            .collect()
    }
}

/// The weights of a run's last checkpoint, optimiser included.
fn last_weights(folder: &RunFolder) -> Result<Weights> {
    let mut damaged = None;
    let last = folder
        .checkpoints()
        .load::<Standing>(&mut |e| damaged = Some(e.to_string()))?;
    match (last, damaged) {
        (Some(checkpoint), None) => Ok(checkpoint.weights),
        (_, Some(damage)) => Err(Error::checkpoint(damage)),
        (None, None) => {
            let path = folder.path().display();
            Err(Error::input(format!(
                "{path} has no checkpoint yet; let the training begin"
            )))
        }
    }
}

/// The configuration of a system (`ife`) or of a run folder.
fn configuration(target: &str, extent: &Extent) -> Result<(Config, Option<RunFolder>)> {
    let path = PathBuf::from(target);
    let (mut config, folder) = match System::from_str(target, true) {
        Ok(System::Ife) => (Preset::Paper.config().with("model.size=64")?, None),
        Err(_) if path.exists() => {
            let folder = RunFolder::open(&path)?;
            (folder.config()?, Some(folder))
        }
        Err(_) => {
            return Err(Error::input(format!(
                "{target:?} is neither a system (ife) nor a run folder"
            )));
        }
    };
    if let Some(size) = extent.size {
        config = config.with(&format!("model.size={size}"))?;
    }
    for setting in &extent.settings {
        config = config.with(setting)?;
    }
    Ok((config, folder))
}
