//! The graphs of the system: a training step, an inference, and `forward` with everything it can be asked for.

use super::config::{Config, ModelConfig};
use super::loss::loss;
use super::model::{Outputs, network};
use crate::array::Spec;
use crate::autodiff;
use crate::error::Result;
use crate::graph::{Graph, Recorder};
use crate::nn::BatchNormMode;
use crate::shape::Shape;
use crate::train::{Groups, record_sgd};

/// The names of the two tasks, in the order of the branches.
pub const TASKS: [&str; 2] = ["heavy", "light"];

/// One training step: inputs `x`, `heavy`, `light`, `learning_rate`; outputs the terms of the loss and
/// `gradient.square_norm`; assigns parameters, momentum buffers and running statistics.
///
/// # Errors
/// The configuration does not fit the image size.
pub fn training_step(config: &Config, batch: usize) -> Result<Graph> {
    Graph::record(|r| {
        let size = config.model.size;
        let x = r.input("x", Spec::real([batch, 3, size, size]))?;
        let heavy = r.input("heavy", Spec::index([batch]))?;
        let light = r.input("light", Spec::index([batch]))?;
        let learning_rate = r.input("learning_rate", Spec::real([]))?;
        let outputs = network(&r.scope(), x, &config.model, BatchNormMode::Batch)?;
        let loss = loss(&outputs, heavy, light, &config.loss, config.model.variant)?;
        loss.terms()
            .into_iter()
            .try_for_each(|(name, term)| r.output(name, term))?;
        let settings = config.train.sgd();
        let square_norm = record_sgd(r, loss.total, learning_rate, settings, &Groups::default())?;
        r.output("gradient.square_norm", square_norm)
    })
}

/// One inference: input `x`; outputs `y.heavy`, `y.light`, the attention maps, and `features.heavy`, `features.light`
/// [N, 8·width], what the last layers see.
///
/// # Errors
/// As [`training_step`].
pub fn inference(model: &ModelConfig, batch: usize) -> Result<Graph> {
    Graph::record(|r| {
        let x = r.input("x", Spec::real([batch, 3, model.size, model.size]))?;
        let outputs = network(&r.scope(), x, model, BatchNormMode::Running)?;
        name_outputs(r, &outputs)?;
        for (task, features) in TASKS.iter().zip(outputs.features) {
            r.output(&format!("features.{task}"), features)?;
        }
        Ok(())
    })
}

/// What `axenic forward ife` asks for.
#[derive(Clone, Copy, Debug)]
pub struct ForwardRequest<'a> {
    /// Batch statistics, or running ones.
    pub mode: BatchNormMode,
    /// Whether labels are given, and the loss wanted.
    pub with_loss: bool,
    /// Whether the gradients of the total loss are wanted; needs the loss.
    pub with_gradients: bool,
    /// Paths of scopes whose values are wanted too.
    pub taps: &'a [String],
}

/// The network on images of any size: outputs `y.heavy`, `y.light`, the attention maps; with labels the terms of the
/// loss; with gradients `grad.x` and `grad.<parameter>`; every wanted tap under its path.
///
/// # Errors
/// The images do not fit the network, or a wanted tap is not there.
pub fn forward(config: &Config, images: Shape, request: ForwardRequest) -> Result<Graph> {
    Graph::record(|r| {
        let x = r.input("x", Spec::real(images))?;
        let outputs = network(&r.scope(), x, &config.model, request.mode)?;
        name_outputs(r, &outputs)?;
        r.output_taps(request.taps)?;
        if !request.with_loss {
            return Ok(());
        }
        let heavy = r.input("heavy", Spec::index([images[0]]))?;
        let light = r.input("light", Spec::index([images[0]]))?;
        let loss = loss(&outputs, heavy, light, &config.loss, config.model.variant)?;
        loss.terms()
            .into_iter()
            .try_for_each(|(name, term)| r.output(name, term))?;
        if !request.with_gradients {
            return Ok(());
        }
        let mut targets = vec![("x".to_string(), x)];
        targets.extend(r.parameters());
        let tensors: Vec<_> = targets.iter().map(|(_, tensor)| *tensor).collect();
        let gradients = autodiff::gradients(loss.total, &tensors)?;
        targets
            .iter()
            .zip(gradients)
            .try_for_each(|((name, _), grad)| r.output(&format!("grad.{name}"), grad))
    })
}

fn name_outputs(r: &Recorder, outputs: &Outputs<'_>) -> Result<()> {
    r.output("y.heavy", outputs.heavy)?;
    r.output("y.light", outputs.light)?;
    for (stage, maps) in outputs.attention.iter().enumerate() {
        for (task, map) in TASKS.iter().zip(maps) {
            r.output(&format!("attention.{}.{task}", stage + 1), *map)?;
        }
    }
    Ok(())
}
