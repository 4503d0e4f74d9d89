//! A trained network at work: weights on an executor, images in, outcomes out. Training uses it to choose its epoch.

use super::config::{Config, Decoding, ModelConfig};
use super::decode::{Decoded, decode};
use super::graphs::{TASKS, inference};
use super::images::{Batch, Images, stack};
use super::score::Outcome;
use crate::array::Array;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::train::{Progress, Runner, Values, Weights};
use std::sync::Arc;

/// Images that go through the network at once.
pub const INFERENCE_BATCH: usize = 32;

/// What the network says of one image.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Class and probabilities.
    pub decoded: Decoded,
    /// Attention over the rows: `[stage][task][row]`.
    pub attention: Vec<[Vec<f32>; 2]>,
    /// What the last layers see, heavy then light.
    pub features: Vec<f64>,
}

/// Prepares inference for a batch size.
///
/// # Errors
/// Planning fails, for instance because the device is too small.
pub fn prepare(runner: &mut Runner, model: &ModelConfig, batch: usize) -> Result<Arc<Graph>> {
    runner.prepare("inference", batch, || inference(model, batch))
}

/// Reads normalised images x [N, 3, H, W].
///
/// # Errors
/// The executor fails, or the outputs are not finite.
pub fn read(runner: &mut Runner, config: &Config, x: &Array) -> Result<Vec<Reading>> {
    let batch = x.shape()[0];
    prepare(runner, &config.model, batch)?;
    let values = runner.run("inference", batch, &[("x", x)])?;
    for task in TASKS {
        if !values.get(&format!("y.{task}"))?.is_finite() {
            let fault = runner.run_to_fault("inference", batch, &[("x", x)])?;
            let first = fault.unwrap_or_else(|| "none when it is repeated".to_string());
            return Err(Error::input(format!(
                "the network's outputs are not finite numbers; the first operation that gives such: {first}"
            )));
        }
    }
    (0..batch)
        .map(|i| reading(&values, i, config.train.decoding))
        .collect()
}

fn reading(values: &Values, i: usize, decoding: Decoding) -> Result<Reading> {
    let heavy = row(values, "y.heavy", i)?;
    let light = row(values, "y.light", i)?;
    let logits = |values: &[f64]| Error::shape(format!("{} logits", values.len()));
    let decoded = decode(
        heavy.as_slice().try_into().map_err(|_| logits(&heavy))?,
        light.as_slice().try_into().map_err(|_| logits(&light))?,
        decoding,
    );
    let attention = (1..=4).map(|stage| {
        let map = |task: &str| -> Result<Vec<f32>> {
            Ok(row(values, &format!("attention.{stage}.{task}"), i)?
                .into_iter()
                .map(|x| x as f32)
                .collect())
        };
        Ok([map(TASKS[0])?, map(TASKS[1])?])
    });
    let mut features = row(values, "features.heavy", i)?;
    features.extend(row(values, "features.light", i)?);
    Ok(Reading {
        decoded,
        attention: attention.collect::<Result<_>>()?,
        features,
    })
}

/// Row i of a result [N, …].
fn row(values: &Values, name: &str, i: usize) -> Result<Vec<f64>> {
    let array = values.get(name)?;
    let length = array.shape().elements() / array.shape()[0];
    Ok(array.to_f64()[i * length..(i + 1) * length].to_vec())
}

/// Reads some of the images, in their order, without augmentation.
///
/// # Errors
/// An image cannot be read, the executor fails, or the work was asked to stop.
pub fn read_images(
    runner: &mut Runner,
    config: &Config,
    images: &Images,
    items: &[usize],
    threads: usize,
    progress: &mut dyn Progress,
) -> Result<Vec<Reading>> {
    let mut readings = Vec::with_capacity(items.len());
    for batch in images.batches(items, INFERENCE_BATCH, None, 0, threads)? {
        let Batch { x, items, .. } = padded(batch?, config.model.size)?;
        readings.extend(read(runner, config, &x)?.into_iter().take(items.len()));
        progress.advance(items.len() as u64);
        if progress.should_stop() {
            return Err(Error::stopped(
                "stopped; everything learnt is saved, --resume continues",
            ));
        }
    }
    Ok(readings)
}

/// Fills a short last batch up, so that one plan serves all; the surplus is dropped. Inference treats every image alone.
fn padded(batch: Batch, size: usize) -> Result<Batch> {
    let missing = INFERENCE_BATCH - batch.items.len();
    if missing == 0 {
        return Ok(batch);
    }
    let filling = vec![0.0; missing * 3 * size * size];
    let x = stack(&[&batch.x.to_f32(), &filling], size, INFERENCE_BATCH)?;
    Ok(Batch { x, ..batch })
}

/// The outcomes for some of the images.
///
/// # Errors
/// As [`read_images`].
pub fn outcomes(
    runner: &mut Runner,
    config: &Config,
    images: &Images,
    items: &[usize],
    threads: usize,
    progress: &mut dyn Progress,
) -> Result<Vec<Outcome>> {
    let readings = read_images(runner, config, images, items, threads, progress)?;
    Ok(items
        .iter()
        .zip(readings)
        .map(|(&item, reading)| Outcome::new(images.record(item), reading.decoded))
        .collect())
}

/// Puts weights on a runner for inference.
///
/// # Errors
/// The weights do not fit the configuration.
pub fn load(runner: &mut Runner, config: &Config, weights: Weights, batch: usize) -> Result<()> {
    let graph = prepare(runner, &config.model, batch)?;
    runner.set_weights(&graph, weights)
}
