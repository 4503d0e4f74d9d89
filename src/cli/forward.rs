//! `axenic forward`: a model on given numbers, for comparing with other implementations.

mod bare;
mod ife;

use super::compute::{Compute, seeds};
use super::fitting::Resampled;
use super::network::{Configured, Network};
use super::{Outcome, fitting, show};
use crate::array::{Array, Element, Numbers};
use crate::error::{Error, Result};
use crate::graph::{Graph, LeafKind};
use crate::train::fit::Request;
use crate::train::{Files, Runner, Weights};
use std::path::PathBuf;

/// Runs a model or a system on the numbers of a file and writes the results to another.
///
/// X holds the images `x` (N,C,H,W), normalised. Y receives a model's result `y` (or `y.0`, `y.1`, … where there are
/// several), with --taps the values of its parts under their paths, with --train the updated running statistics as
/// `state.<name>`. With --gradients X also holds the cotangent `dy` (or `dy.0`, …; one that is left out counts as zero),
/// and Y receives `grad.x` and `grad.<parameter>`. The number of classes follows from the weights.
///
/// Of the system `ife`, Y receives the logits, the attention maps, and with the labels `heavy` and `light` (N) in X the
/// terms of the loss; the gradients are those of the total loss.
///
/// Example: axenic forward resnet18 --weights W.safetensors --input X.safetensors --output Y.safetensors --train --gradients
#[derive(clap::Args)]
pub(super) struct Forward {
    /// The model or system
    #[arg(value_name = "MODEL|SYSTEM", value_parser = Network::named)]
    network: Network,
    /// The weights (.safetensors, .pth), of any nesting
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
    /// Gradients too
    #[arg(long)]
    gradients: bool,
    /// Also the values of these parts, by their paths, as in layer1.0,layer4
    #[arg(long, value_name = "PATHS", value_delimiter = ',')]
    taps: Vec<String>,
    /// Dropout and stochastic depth, with chance from this seed; without it nothing is dropped
    #[arg(long, value_name = "N", value_parser = seeds())]
    dropout_seed: Option<u64>,
    /// How a table of positions is resized where the images have another size
    #[arg(long, value_enum)]
    resampling: Option<Resampled>,
    /// One setting of a system, as in variant=released or share=2; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    #[command(flatten)]
    compute: Compute,
}

/// What is to be run.
struct Asked {
    graph: Graph,
    inputs: Vec<(String, Array)>,
}

impl Forward {
    pub(super) fn run(self) -> Result<Outcome> {
        let given = Weights::load(&self.input)?;
        let x = images(&given).map_err(|e| e.within(self.input.display()))?;
        let mut configured = self.network.configured(None, &self.settings)?;
        let weights = self.load(&mut configured, x)?;
        let Asked { graph, inputs } = match configured {
            Configured::Ife(config) => ife::ask(&self, &config, &given, x)?,
            Configured::Model { model, .. } => bare::ask(&self, model.as_ref(), &given, x)?,
        };
        let mut runner = self.compute.runner()?;
        let graph = runner.prepare("forward", 0, || Ok(graph))?;
        runner
            .set_weights(&graph, weights)
            .map_err(|e| e.within(self.weights.display()))?;
        let named: Vec<(&str, &Array)> = inputs
            .iter()
            .map(|(name, array)| (name.as_str(), array))
            .collect();
        let mut found = runner.run("forward", 0, &named)?.into_inner();
        if self.train {
            found.extend(states(&graph, &mut runner)?);
        }
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

    /// The weights of the file, a table of positions and a first convolution made for these images; what is not as the file
    /// has it is said.
    fn load(&self, configured: &mut Configured, x: &Array) -> Result<Weights> {
        let [_, channels, height, width] = x.shape()[..] else {
            return Err(Error::input("images are (N, C, H, W)"));
        };
        let request = Request {
            channels: Some(channels),
            image_size: Some([height, width]),
            resampling: fitting::resampling(self.resampling),
            ..Request::default()
        };
        let fitted = fitting::load(&self.weights, configured, &request)?;
        fitting::say(&fitted.account);
        fitting::say_unused(self.resampling, configured);
        Ok(fitted.weights)
    }
}

/// The images (N, C, H, W).
fn images(given: &Weights) -> Result<&Array> {
    let x = given.tensor("x", Element::Real)?;
    let shape = x.shape();
    if shape.len() == 4 && shape.elements() > 0 {
        return Ok(x);
    }
    Err(Error::input(format!(
        "x has shape {shape}; images are (N, C, H, W)"
    )))
}

/// The same in f32, unless it holds indices.
fn single((name, array): (String, Array)) -> Result<(String, Array)> {
    let array = match array.numbers() {
        Numbers::U32(_) => array,
        Numbers::F32(_) | Numbers::F64(_) => Array::new(array.shape(), array.into_f32())?,
    };
    Ok((name, array))
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
