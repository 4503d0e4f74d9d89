//! What `audit` and `trace` look at: a graph with its parameters and inputs, of a system, a model, or a trained run.

use super::fitting;
use super::network::{Configured, Network, Pass, Tuning, names};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::graph::{Graph, Precision};
use crate::systems::ife::run::{RunFolder, Standing};
use crate::train::Weights;
use crate::train::fit::Request;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How large the subject is, and what it starts from.
#[derive(clap::Args)]
pub(super) struct Extent {
    /// Images in a batch
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub(super) batch: u64,
    /// Height and width of the images; a run's or a model's own if left out, 64 for a system
    #[arg(long)]
    pub(super) size: Option<usize>,
    /// Seed of the images and, where there are no weights, of the parameters
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,
    /// The weights of a model or system (.safetensors, .pth), of any nesting, instead of fresh ones
    #[arg(long)]
    pub(super) weights: Option<PathBuf>,
    /// One setting of a system, as in share=2; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) settings: Vec<String>,
    #[command(flatten)]
    tuning: Tuning,
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

/// Whose computation it is.
struct Target {
    configured: Configured,
    /// A trained run.
    folder: Option<RunFolder>,
    /// The weights given.
    weights: Option<Weights>,
}

impl Subject {
    /// A pass of a system or model with the weights given, else with fresh parameters, or of a run with its own: those of
    /// its best epoch for an inference, those of its last checkpoint for a training step. On one image, or on made-up ones. A run's training step is that of the
    /// precision it was trained in.
    pub(super) fn open(
        target: &str,
        extent: &Extent,
        pass: Pass,
        image: Option<&Path>,
        precision: Option<Precision>,
    ) -> Result<Self> {
        let batch = if image.is_some() {
            1
        } else {
            extent.batch as usize
        };
        let mut target = Target::open(target, extent, pass)?;
        if target.folder.is_none() {
            target.configured = target.configured.in_precision(precision);
        }
        let inputs = match image {
            Some(path) => vec![("x", target.configured.picture(path)?)],
            None => target.configured.inputs(pass, batch, extent.seed)?,
        };
        let graph = Arc::new(target.configured.graph(pass, batch)?);
        let weights = target.weights(&graph, pass, extent)?;
        weights.check(&graph)?;
        Ok(Self {
            graph,
            weights,
            inputs,
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

impl Target {
    /// A system or model by its name, or a run folder.
    fn open(target: &str, extent: &Extent, pass: Pass) -> Result<Self> {
        let path = Path::new(target);
        if let Ok(network) = Network::named(target) {
            let own = match network {
                Network::System(_) => Some(64),
                Network::Model(_) => None,
            };
            let size = extent.size.or(own);
            let mut configured = network.configured(size, &extent.settings)?;
            let request = Request {
                image_size: size.map(|size| [size; 2]),
                ..Request::default()
            };
            let load = |path: &PathBuf| fitting::load(path, &mut configured, &request);
            let fitted = extent.weights.as_ref().map(load).transpose()?;
            fitted
                .iter()
                .for_each(|fitted| fitting::say(&fitted.account));
            return Ok(Self {
                configured: configured.tuned(extent.tuning.clone(), pass)?,
                folder: None,
                weights: fitted.map(|fitted| fitted.weights),
            });
        }
        if !path.exists() {
            return Err(Error::input(format!(
                "{target:?} is neither a system, nor a model, nor a run folder; {}",
                names()
            )));
        }
        if extent.weights.is_some() {
            return Err(Error::input(format!(
                "{target} is a run folder, which has its own weights; leave --weights away"
            )));
        }
        let folder = RunFolder::open(path)?;
        let mut config = folder.config()?;
        if let Some(size) = extent.size {
            config = config.with(&format!("model.size={size}"))?;
        }
        for setting in &extent.settings {
            config = config.with(setting)?;
        }
        Ok(Self {
            configured: Configured::Ife(config).tuned(extent.tuning.clone(), pass)?,
            folder: Some(folder),
            weights: None,
        })
    }

    /// The parameters and states that its graph starts from.
    fn weights(self, graph: &Graph, pass: Pass, extent: &Extent) -> Result<Weights> {
        match (self.folder, pass) {
            (Some(folder), Pass::Inference) => return folder.load_best(),
            (Some(folder), Pass::TrainingStep) => return last_weights(&folder),
            (None, _) => {}
        }
        let mut fresh = Weights::initial(graph, extent.seed)?;
        if let Some(given) = self.weights {
            let model = fresh.without_optimizer();
            let is_optimizer = |name: &String, _: &mut Array| !model.tensors.contains_key(name);
            fresh.tensors.retain(is_optimizer);
            fresh.tensors.extend(given.tensors);
        }
        Ok(fresh)
    }
}
