//! What `axenic forward` runs for the IFE system.

use super::{Asked, Forward};
use crate::array::{Array, Element};
use crate::error::{Error, Result};
use crate::nn::BatchNormMode;
use crate::systems::ife::config::Config;
use crate::systems::ife::graphs::{self, ForwardRequest};
use crate::systems::ife::model::{HEAVY_CLASSES, LIGHT_CLASSES};
use crate::train::Weights;

/// The network on the images of the input; with labels the loss, with its gradients if they are wanted.
pub(super) fn ask(command: &Forward, config: &Config, given: &Weights, x: &Array) -> Result<Asked> {
    let within_input = |e: Error| e.within(command.input.display());
    if command.dropout_seed.is_some() {
        return Err(Error::input(
            "--dropout-seed goes with a model; ife drops nothing",
        ));
    }
    let labels = labels(given, x).map_err(within_input)?;
    if command.gradients && labels.is_none() {
        let advice = "the gradients are those of the total loss, which needs them";
        return Err(within_input(Error::input(format!(
            "the labels `heavy` and `light` are missing; {advice}"
        ))));
    }
    let request = ForwardRequest {
        mode: if command.train {
            BatchNormMode::Batch
        } else {
            BatchNormMode::Running
        },
        with_loss: labels.is_some(),
        with_gradients: command.gradients,
        taps: &command.taps,
    };
    let graph = graphs::forward(config, x.shape(), request)?;
    let mut inputs = vec![("x".to_string(), x.clone())];
    if let Some([heavy, light]) = labels {
        inputs.extend([("heavy".to_string(), heavy), ("light".to_string(), light)]);
    }
    Ok(Asked { graph, inputs })
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
