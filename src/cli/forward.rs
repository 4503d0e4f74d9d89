//! `axenic forward`: a model on given numbers, for comparing with other implementations.

use super::compute::Compute;
use super::{Outcome, System, show};
use crate::array::{Array, Element};
use crate::error::{Error, Result};
use crate::graph::{Graph, LeafKind};
use crate::nn::BatchNormMode;
use crate::systems::ife::config::{Config, Preset};
use crate::systems::ife::graphs::{self, ForwardRequest};
use crate::systems::ife::model::{HEAVY_CLASSES, LIGHT_CLASSES};
use crate::train::{Files, Runner, Weights};
use std::path::PathBuf;

/// Runs a system on the numbers of a file and writes the results to another.
///
/// X holds `x` (N,3,H,W), normalised, and for the loss the labels `heavy` and `light` (N). Y receives the logits, the
/// attention maps, the terms of the loss; with --train the updated running statistics as `state.<name>`; with
/// --gradients `grad.x` and `grad.<parameter>` of the total loss.
///
/// Example: axenic forward ife --weights W.safetensors --input X.safetensors --output Y.safetensors --train --gradients
#[derive(clap::Args)]
pub(super) struct Forward {
    /// The system
    system: System,
    /// The weights (safetensors)
    #[arg(long)]
    weights: PathBuf,
    /// The numbers that go in (safetensors)
    #[arg(long)]
    input: PathBuf,
    /// Where the results go (safetensors)
    #[arg(long)]
    output: PathBuf,
    /// Batch statistics, and their running update
    #[arg(long)]
    train: bool,
    /// Gradients of the total loss
    #[arg(long)]
    gradients: bool,
    /// One setting, as in variant=released or share=2; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    #[command(flatten)]
    compute: Compute,
}

impl Forward {
    pub(super) fn run(self) -> Result<Outcome> {
        let System::Ife = self.system;
        let given = Weights::load(&self.input)?;
        let within_input = |e: Error| e.within(self.input.display());
        let x = given.tensor("x", Element::Real).map_err(within_input)?;
        let labels = labels(&given, x).map_err(within_input)?;
        if self.gradients && labels.is_none() {
            let advice = "the gradients are those of the total loss, which needs them";
            return Err(Error::input(format!(
                "{}: the labels `heavy` and `light` are missing; {advice}",
                self.input.display()
            )));
        }
        let weights = Weights::load(&self.weights)?;
        let config = self
            .config(&weights)
            .map_err(|e| e.within(self.weights.display()))?;
        let request = ForwardRequest {
            mode: if self.train {
                BatchNormMode::Batch
            } else {
                BatchNormMode::Running
            },
            with_loss: labels.is_some(),
            with_gradients: self.gradients,
        };
        let mut runner = self.compute.runner()?;
        let graph = runner.prepare("forward", 0, || {
            graphs::forward(&config, x.shape(), request)
        })?;
        runner
            .set_weights(&graph, &weights)
            .map_err(|e| e.within(self.weights.display()))?;
        let mut inputs = vec![("x", x)];
        if let Some([heavy, light]) = &labels {
            inputs.extend([("heavy", heavy), ("light", light)]);
        }
        let results = runner.run("forward", 0, &inputs)?;
        let mut found = results.into_inner();
        if self.train {
            found.extend(states(&graph, &mut runner)?);
        }
        let single = |(name, array): (String, Array)| {
            let array = Array::new(array.shape(), array.to_f32().into_owned())?;
            Ok((name, array))
        };
        let results = Weights {
            tensors: found.into_iter().map(single).collect::<Result<_>>()?,
            ..Weights::default()
        };
        Files::default().write(&self.output, &results.to_bytes()?)?;
        show::note(&format!(
            "wrote {} on {}",
            self.output.display(),
            runner.description()
        ));
        Ok(Outcome::Done)
    }

    /// The paper's configuration with the network's width taken from the weights, and the settings given.
    fn config(&self, weights: &Weights) -> Result<Config> {
        let mut config = Preset::Paper.config();
        // If one is missing, the other tells; that it is missing is said with whatever else does not fit.
        let stem = ["encoder.conv1.weight", "encoder.bn1.weight"];
        let stem = stem.iter().find_map(|name| weights.tensors.get(*name));
        if let Some(width) = stem.and_then(|tensor| tensor.shape().first().copied()) {
            config = config.with(&format!("model.width={width}"))?;
        }
        for setting in &self.settings {
            config = config.with(setting)?;
        }
        Ok(config)
    }
}

/// The labels [heavy, light], if the file has them, checked against the images and the classes.
fn labels(given: &Weights, x: &Array) -> Result<Option<[Array; 2]>> {
    let shape = x.shape();
    if shape.len() != 4 || shape[1] != 3 || shape.elements() == 0 {
        return Err(Error::input(format!(
            "x has shape {shape}; images are (N, 3, H, W)"
        )));
    }
    if !given.tensors.contains_key("heavy") && !given.tensors.contains_key("light") {
        return Ok(None);
    }
    let label = |name: &str, classes: usize| -> Result<Array> {
        let array = given.tensor(name, Element::Index)?;
        let values = array.as_u32().unwrap_or_default();
        if array.shape()[..] != shape[..1] {
            return Err(Error::input(format!(
                "{name} has shape {} for {} images",
                array.shape(),
                shape[0]
            )));
        }
        match values.iter().find(|&&value| value as usize >= classes) {
            Some(value) => Err(Error::input(format!(
                "{name} holds the label {value}; there are {classes} classes, from 0"
            ))),
            None => Ok(array.clone()),
        }
    };
    Ok(Some([
        label("heavy", HEAVY_CLASSES)?,
        label("light", LIGHT_CLASSES)?,
    ]))
}

/// The running statistics after the run, as `state.<name>`.
fn states(graph: &Graph, runner: &mut Runner) -> Result<Vec<(String, Array)>> {
    let is_state = |kind: &LeafKind| matches!(kind, LeafKind::State(_));
    let leaves = graph.leaves().filter(|(_, leaf, _)| is_state(&leaf.kind));
    leaves
        .map(|(_, leaf, _)| {
            Ok((
                format!("state.{}", leaf.name),
                runner.executor().read(&leaf.name)?,
            ))
        })
        .collect()
}
