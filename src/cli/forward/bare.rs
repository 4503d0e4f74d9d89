//! What `axenic forward` runs for a bare model.

use super::{Asked, Forward};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::models::Model;
use crate::nn::Phase;
use crate::rng::stream_key;
use crate::train::Weights;
use crate::train::bare::{self, DROPOUT_KEY, Dropout, ForwardRequest};

/// The model on the images and cotangents of the input.
pub(super) fn ask(
    command: &Forward,
    model: &dyn Model,
    given: &Weights,
    x: &Array,
) -> Result<Asked> {
    let cotangents = cotangents(command, given)?;
    let names: Vec<String> = cotangents
        .iter()
        .map(|(name, _)| name[1..].to_string())
        .collect();
    let request = ForwardRequest {
        phase: if command.train {
            Phase::Training
        } else {
            Phase::Inference
        },
        dropout: match command.dropout_seed {
            Some(_) => Dropout::Keyed,
            None => Dropout::Off,
        },
        taps: &command.taps,
        cotangents: &names,
    };
    let graph = bare::forward(model, x.shape(), request)?;
    let mut inputs = vec![("x".to_string(), x.clone())];
    if let Some(seed) = command.dropout_seed {
        let key = stream_key(seed, "dropout", 0);
        inputs.push((DROPOUT_KEY.to_string(), key.into()));
    }
    inputs.extend(cotangents);
    Ok(Asked { graph, inputs })
}

/// The cotangents of the results, by their names in the file; one that is left out counts as zero.
fn cotangents(command: &Forward, given: &Weights) -> Result<Vec<(String, Array)>> {
    if !command.gradients {
        return Ok(Vec::new());
    }
    let is_cotangent = |name: &str| name == "dy" || name.starts_with("dy.");
    let found = given.tensors.iter().filter(|(name, _)| is_cotangent(name));
    let found: Vec<_> = found
        .map(|(name, array)| (name.clone(), array.clone()))
        .collect();
    if found.is_empty() {
        let advice = "(or `dy.0`, … where there are several results)";
        return Err(Error::input(format!(
            "{}: gradients need the cotangent `dy` {advice}",
            command.input.display()
        )));
    }
    Ok(found)
}
