//! The graphs of a bare model: one of [`models`](crate::models) by itself, outside any system.

use super::optimizer::gradients_of;
use super::{Groups, Sgd, record_sgd};
use crate::array::Spec;
use crate::error::{Error, Result};
use crate::graph::{Graph, Recompute, Recorder, Tensor};
use crate::models::Model;
use crate::nn::{Mode, Phase};
use crate::ops;
use crate::shape::{KeepAxes, Shape};

/// The name of the input that carries the key of chance.
pub const DROPOUT_KEY: &str = "dropout_key";

/// Whether something is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropout {
    /// By the key of the input [`DROPOUT_KEY`], `[2]`.
    Keyed,
    /// Nothing.
    Off,
}

/// What is wanted of a model.
#[derive(Clone, Copy, Debug)]
pub struct ForwardRequest<'a> {
    /// Running statistics, or those of the batch, which then move the running ones.
    pub phase: Phase,
    /// Whether something is dropped.
    pub dropout: Dropout,
    /// Paths of scopes whose values are wanted too.
    pub taps: &'a [String],
    /// The results, by name, whose cotangents are given; the gradients are wanted if there is any.
    pub cotangents: &'a [String],
}

impl ForwardRequest<'_> {
    /// The model's results at inference, and nothing else.
    pub const INFERENCE: Self = Self {
        phase: Phase::Inference,
        dropout: Dropout::Off,
        taps: &[],
        cotangents: &[],
    };
}

/// The model on images [N, C, H, W], the input `x`. Gives its results under their names, every wanted tap under its
/// path, and with cotangents (inputs named `d<result>`) `grad.x` and `grad.<parameter>` for every parameter.
///
/// ```
/// use axenic::{models, train::bare::{self, ForwardRequest}};
/// let taps = ["layer1.0".to_string()];
/// let request = ForwardRequest { taps: &taps, ..ForwardRequest::INFERENCE };
/// let graph = bare::forward(models::find("resnet18")?.as_ref(), [1, 3, 32, 32].into(), request)?;
/// let names: Vec<_> = graph.outputs().iter().map(|(name, _)| name.as_str()).collect();
/// assert_eq!(names, ["y", "layer1.0"]);
/// # axenic::Result::Ok(())
/// ```
///
/// # Errors
/// The images do not fit the model, a wanted tap or result is not there, or a parameter gets no gradient.
pub fn forward(model: &dyn Model, images: Shape, request: ForwardRequest) -> Result<Graph> {
    Graph::record(|r| {
        let x = r.input("x", Spec::real(images))?;
        let outputs = model.outputs(&r.scope(), x, &mode(r, request.phase, request.dropout)?)?;
        for (name, value) in &outputs {
            r.output(name, *value)?;
        }
        r.output_taps(request.taps)?;
        if request.cotangents.is_empty() {
            return Ok(());
        }
        let mut given = Vec::with_capacity(request.cotangents.len());
        for name in request.cotangents {
            let value = named(&outputs, name)?;
            given.push((value, r.input(&cotangent(name), value.spec())?));
        }
        let mut targets = vec![("x".to_string(), x)];
        targets.extend(r.parameters());
        for (name, _, gradient) in gradients_of(&given, targets)? {
            r.output(&format!("grad.{name}"), gradient)?;
        }
        Ok(())
    })
}

/// How a model is to be trained.
#[derive(Clone, Copy, Debug)]
pub struct TrainingRequest<'a> {
    /// The optimiser.
    pub optimizer: Sgd,
    /// What stays as it is, and how fast the rest learns.
    pub groups: &'a Groups,
    /// Whether blocks are computed again for the gradient.
    pub recompute: Recompute,
}

/// A training step without data to learn from: inputs `x`, [`DROPOUT_KEY`] and `learning_rate`, output `loss`, the mean
/// square of the model's result (of several results the sum of theirs). Assigns parameters, momentum buffers and running
/// statistics. Measures what a step costs, whatever the task.
///
/// # Errors
/// As [`forward`]; or the groups do not fit the model.
pub fn training_step(
    model: &dyn Model,
    images: Shape,
    request: TrainingRequest<'_>,
) -> Result<Graph> {
    let TrainingRequest {
        optimizer,
        groups,
        recompute,
    } = request;
    Graph::record(|r| {
        let x = r.input("x", Spec::real(images))?;
        let mode = mode(r, Phase::Training, Dropout::Keyed)?
            .with_frozen(groups.parts())
            .with_recompute(recompute);
        let mut loss = None;
        for (_, value) in model.outputs(&r.scope(), x, &mode)? {
            let axes: Vec<usize> = (0..value.shape().len()).collect();
            let square = ops::mean(ops::mul(value, value)?, &axes, KeepAxes::No)?;
            loss = Some(match loss {
                Some(sum) => ops::add(sum, square)?,
                None => square,
            });
        }
        let loss = loss.ok_or_else(|| Error::shape("the model gives no result"))?;
        r.output("loss", loss)?;
        let learning_rate = r.input("learning_rate", Spec::real([]))?;
        record_sgd(r, loss, learning_rate, optimizer, groups)?;
        Ok(())
    })
}

/// The name of a result's cotangent: `dy` for `y`, `dy.0` for `y.0`.
pub fn cotangent(output: &str) -> String {
    format!("d{output}")
}

fn mode(r: &Recorder, phase: Phase, dropout: Dropout) -> Result<Mode<'_>> {
    let dropout_key = match dropout {
        Dropout::Keyed => Some(r.input(DROPOUT_KEY, Spec::index([2]))?),
        Dropout::Off => None,
    };
    let mode = match phase {
        Phase::Inference => Mode::inference(),
        Phase::Training => Mode::training(None),
    };
    Ok(Mode {
        dropout_key,
        ..mode
    })
}

fn named<'g>(outputs: &[(String, Tensor<'g>)], name: &str) -> Result<Tensor<'g>> {
    let found = outputs.iter().find(|(own, _)| own == name);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let own: Vec<&str> = outputs.iter().map(|(own, _)| own.as_str()).collect();
        Error::input(format!(
            "the model has no result {name:?}; its results are {}",
            own.join(", ")
        ))
    })
}
