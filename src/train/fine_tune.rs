//! Fine-tuning: a classifier of [`models`](crate::models) with weights from elsewhere learns new classes.
//!
//! A task ([`FineTune`]) says which network, which parts of it learn and how fast ([`Groups`]), by which optimiser and
//! schedule. It learns from images, or, where the backbone is frozen as a whole, from its features as
//! [`cached_features`](super::cached_features) keeps them: the same steps bit for bit, without the backbone's work.
//!
//! ```
//! use axenic::exec::Cpu;
//! use axenic::models::resnet::{Block, ResNet};
//! use axenic::train::*;
//! use axenic::{Array, Result, graph::Recompute, models::Model, ops, rng::Stream};
//!
//! /// Noise, of which class 1 is the brighter.
//! struct Bright;
//! impl Samples for Bright {
//!     fn count(&self) -> usize {
//!         8
//!     }
//!     fn batch(&mut self, items: &[usize]) -> Result<Batch> {
//!         let labels: Vec<u32> = items.iter().map(|item| (item % 2) as u32).collect();
//!         let pixels = items.iter().flat_map(|&item| {
//!             let mut noise = Stream::new(1, "noise", item as u64, 0);
//!             (0..3 * 32 * 32).map(move |_| (noise.normal() + (item % 2) as f64) as f32)
//!         });
//!         let x = Array::new([items.len(), 3, 32, 32], pixels.collect::<Vec<_>>())?;
//!         Ok(Batch { x, labels: Array::new([items.len()], labels)? })
//!     }
//! }
//!
//! let mut model = axenic::models::resnet::resnet18();
//! let pretrained = untrained(&model, 7)?; // in earnest: Weights::load(path)?
//! model.set_num_classes(Some(2));
//! let task = FineTune {
//!     model: &model,
//!     // The backbone stays as it is, its last block learns at a tenth of the head's rate.
//!     groups: Groups::default().freeze("*").rate("layer4.1", 0.1).rate("fc", 1.0),
//!     recompute: Recompute::No,
//!     optimizer: Optimizer::AdamW(AdamW { update: ops::AdamW::default(), clip_norm: 1.0 }),
//!     schedule: WarmupCosine { peak: 1e-3, warmup_steps: 1, total_steps: 2 },
//!     batch: 4,
//!     seed: 42,
//! };
//! let mut runner = Runner::new(Box::new(Cpu::new(1)?));
//! let tuned = task.fit(&mut runner, Input::Images, &mut Bright, &pretrained, None, &mut Silent)?;
//! assert_eq!(tuned.weights.tensors["conv1.weight"], pretrained.tensors["conv1.weight"]);
//! assert_ne!(tuned.weights.tensors["layer4.1.bn2.bias"], pretrained.tensors["layer4.1.bn2.bias"]);
//! # axenic::Result::Ok(())
//! ```

use super::weights::hex;
use super::{
    AdamW, Checkpoint, Checkpoints, Groups, Progress, Runner, Sgd, WarmupCosine, Weights,
    record_adamw, record_sgd,
};
use crate::array::{Array, Spec};
use crate::data::sampler::Sampler;
use crate::error::{Error, Result};
use crate::graph::{Graph, Recompute, Recorder, Tensor};
use crate::models::{self, Model};
use crate::nn::Mode;
use crate::ops;
use crate::rng::stream_key;
use crate::shape::{KeepAxes, Shape};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What is to be fine-tuned, and how.
#[derive(Clone, Debug)]
pub struct FineTune<'m> {
    /// The network, with the new classes.
    pub model: &'m dyn Model,
    /// What learns, how fast, and what decays.
    pub groups: Groups,
    /// Whether blocks are computed again for the gradient, to save memory.
    pub recompute: Recompute,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// The learning rate of every step, and the number of steps.
    pub schedule: WarmupCosine,
    /// Samples in a step; the last step of an epoch has what is left.
    pub batch: usize,
    /// Decides the order of the samples, what is dropped, and a new classifier's first values.
    pub seed: u64,
}

/// What updates the parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// [`record_sgd`].
    Sgd(Sgd),
    /// [`record_adamw`].
    AdamW(AdamW),
}

/// What a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Input {
    /// An image [3, H, W].
    Images,
    /// The embedding [D] that the frozen backbone makes of an image.
    Features,
}

/// Samples and their labels.
#[derive(Clone, Debug)]
pub struct Batch {
    /// [N, 3, H, W] or [N, D].
    pub x: Array,
    /// Classes `[N]`, as indices.
    pub labels: Array,
}

/// What is learnt from.
pub trait Samples {
    /// How many samples there are.
    fn count(&self) -> usize;

    /// Some of them.
    ///
    /// # Errors
    /// One cannot be read.
    fn batch(&mut self, items: &[usize]) -> Result<Batch>;
}

/// Where and how often the standing of a training is kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// The checkpoints; a training goes on from the last.
    pub checkpoints: &'a Checkpoints,
    /// One every so many steps, beside the one at the end.
    pub every: usize,
}

/// What came of a training.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// The whole network's parameters and running statistics.
    pub weights: Weights,
    /// The mean loss of every finished epoch.
    pub losses: Vec<f64>,
}

/// How far a training has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Standing {
    step: usize,
    /// The sum of the losses of the present epoch's steps, each by its number of samples.
    sum: f64,
    losses: Vec<f64>,
    /// A digest of all that decides the result.
    task: String,
}

impl Optimizer {
    /// Records the update behind a loss, and gives the gradient's norm before clipping, squared.
    ///
    /// # Errors
    /// As [`record_sgd`].
    pub fn record<'g>(
        self,
        r: &'g Recorder,
        loss: Tensor<'g>,
        learning_rate: Tensor<'g>,
        groups: &Groups,
    ) -> Result<Tensor<'g>> {
        match self {
            Optimizer::Sgd(settings) => record_sgd(r, loss, learning_rate, settings, groups),
            Optimizer::AdamW(settings) => record_adamw(r, loss, learning_rate, settings, groups),
        }
    }
}

impl FineTune<'_> {
    /// One step of the training on samples of this shape [N, …]: inputs `x`, `labels`, `learning_rate`, and
    /// `dropout_key`; outputs `y`, the logits, `loss`, the mean cross-entropy, and `gradient.square_norm`.
    ///
    /// # Errors
    /// The groups do not fit the model: a pattern covers nothing, nothing learns, or what is to learn is not in what the
    /// samples go through.
    pub fn record(&self, input: Input, shape: Shape) -> Result<Graph> {
        let groups = match input {
            Input::Images => self.groups.clone(),
            Input::Features => self.head_groups()?,
        };
        Graph::record(|r| {
            let x = r.input("x", Spec::real(shape))?;
            let labels = r.input("labels", Spec::index([shape.first().copied().unwrap_or(0)]))?;
            let rate = r.input("learning_rate", Spec::real([]))?;
            let key = r.input("dropout_key", Spec::index([2]))?;
            let mode = Mode::training(Some(key))
                .with_frozen(self.groups.parts())
                .with_recompute(self.recompute);
            let scope = r.scope();
            let embedding = match input {
                Input::Images => self.model.features(&scope, x, &mode)?.embedding,
                Input::Features => x,
            };
            let y = self.model.classify(&scope, embedding, &mode)?;
            let loss = ops::mean(ops::cross_entropy(y, labels)?, &[0], KeepAxes::No)?;
            r.output("y", y)?;
            r.output("loss", loss)?;
            let square_norm = self.optimizer.record(r, loss, rate, &groups)?;
            r.output("gradient.square_norm", square_norm)
        })
    }

    /// The groups for the head alone; the backbone must be frozen.
    fn head_groups(&self) -> Result<Groups> {
        let whole = inference(self.model)?;
        let names: Vec<&str> = whole.parameters().map(|(name, _)| name).collect();
        self.groups.check(&names)?;
        let backbone = backbone(self.model)?;
        let backbone: Vec<&str> = backbone.parameters().map(|(name, _)| name).collect();
        if let Some(name) = backbone.iter().find(|name| !self.groups.is_frozen(name)) {
            return Err(Error::input(format!(
                "{name} is to learn, but its features are given: freeze the backbone, or train from images"
            )));
        }
        let head: Vec<&str> = names
            .into_iter()
            .filter(|name| !backbone.contains(name))
            .collect();
        Ok(self.groups.about(&head))
    }

    /// The weights that a training begins with: the given ones, and first values for what of the classifier they lack or
    /// have for other classes.
    fn start(&self, pretrained: &Weights) -> Result<Weights> {
        let graph = inference(self.model)?;
        let classifier = format!("{}.", self.model.profile().classifier);
        let mut start = Weights::initial(&graph, self.seed)?;
        let mut given = pretrained.without_optimizer();
        for (name, first) in &mut start.tensors {
            match given.tensors.get(name) {
                Some(own) if own.spec() == first.spec() => {}
                _ if name.starts_with(&classifier) && !self.groups.is_frozen(name) => {
                    given.tensors.insert(name.clone(), first.clone());
                }
                _ => {}
            }
        }
        let is_needed = |name: &String| start.tensors.contains_key(name);
        given
            .tensors
            .retain(|name, _| is_needed(name) || !name.starts_with(&classifier));
        given.check(&graph)?;
        Ok(given)
    }

    /// Trains to the end of the schedule, from the last checkpoint if there is one.
    ///
    /// # Errors
    /// The weights do not fit the model; the groups do not fit; a sample cannot be read; a loss is not finite; the
    /// checkpoints are of another task, or cannot be written. An error that [`is_stopped`](Error::is_stopped) if the work
    /// was asked to stop: then its standing is kept.
    pub fn fit(
        &self,
        runner: &mut Runner,
        input: Input,
        samples: &mut dyn Samples,
        pretrained: &Weights,
        kept: Option<Kept<'_>>,
        progress: &mut dyn Progress,
    ) -> Result<Tuned> {
        if samples.count() == 0 || self.batch == 0 {
            return Err(Error::input("there is nothing to learn from, or no batch"));
        }
        let start = self.start(pretrained)?;
        let mut fit = Fit {
            task: self,
            input,
            runner,
            samples,
            kept,
            standing: Standing {
                step: 0,
                sum: 0.0,
                losses: Vec::new(),
                task: String::new(),
            },
            graph: None,
            start,
        };
        fit.open(progress)?;
        while fit.standing.step < self.schedule.total_steps {
            fit.epoch(progress)?;
        }
        if fit.kept.is_some() {
            fit.save()?;
        }
        Ok(Tuned {
            weights: fit.weights()?.without_optimizer(),
            losses: fit.standing.losses,
        })
    }
}

/// First values for the parameters and running statistics of a model.
///
/// # Errors
/// The model cannot be recorded.
pub fn untrained(model: &dyn Model, seed: u64) -> Result<Weights> {
    Weights::initial(&inference(model)?, seed)
}

/// The whole network on one image of its own size.
fn inference(model: &dyn Model) -> Result<Graph> {
    let size = model.profile().preprocessing.size;
    Graph::record(|r| {
        let x = r.input("x", Spec::real([1, 3, size, size]))?;
        models::record(model, &r.scope(), x, &Mode::inference())
    })
}

/// What of it comes before the classifier.
fn backbone(model: &dyn Model) -> Result<Graph> {
    let size = model.profile().preprocessing.size;
    Graph::record(|r| {
        let x = r.input("x", Spec::real([1, 3, size, size]))?;
        let features = model.features(&r.scope(), x, &Mode::inference())?;
        r.output("embedding", features.embedding)
    })
}

/// A training under way.
struct Fit<'a> {
    task: &'a FineTune<'a>,
    input: Input,
    runner: &'a mut Runner,
    samples: &'a mut dyn Samples,
    kept: Option<Kept<'a>>,
    standing: Standing,
    /// The whole batch's step.
    graph: Option<Arc<Graph>>,
    start: Weights,
}

impl Fit<'_> {
    /// Prepares the step of a whole batch, and puts weights and standing where the last checkpoint was, or at the beginning.
    fn open(&mut self, progress: &mut dyn Progress) -> Result<()> {
        let first: Vec<usize> = (0..self.task.batch.min(self.samples.count())).collect();
        let shape = self.samples.batch(&first)?.x.shape();
        let graph = self.prepare(shape)?;
        let task = self.digest(&graph);
        let mut passed_over =
            |e: &Error| progress.note(&format!("a damaged checkpoint is passed over: {e}"));
        let last: Option<Checkpoint<Standing>> = match &self.kept {
            Some(kept) => kept.checkpoints.load(&mut passed_over)?,
            None => None,
        };
        let weights = match last {
            Some(last) if last.standing.task == task => {
                self.standing = last.standing;
                last.weights
            }
            Some(_) => {
                return Err(Error::checkpoint(
                    "the checkpoints are of another task: of other weights, samples or settings; train in a new folder",
                ));
            }
            None => {
                let mut weights = Weights::initial(&graph, self.task.seed)?;
                weights.tensors.extend(self.start.tensors.clone());
                weights
            }
        };
        self.standing.task = task;
        self.runner
            .set_weights(&graph, &weights.needed_by(&graph))?;
        self.graph = Some(graph);
        Ok(())
    }

    /// All that decides the result, but for the samples' content.
    fn digest(&self, graph: &Graph) -> String {
        let FineTune {
            schedule,
            seed,
            batch,
            ..
        } = self.task;
        let count = self.samples.count();
        let (graph, start) = (graph.digest(), self.start.digest());
        let all = format!("{graph} {start} {schedule:?} {seed} {batch} {count}");
        hex(Sha256::new_with_prefix(all))
    }

    /// The step for samples of this shape.
    fn prepare(&mut self, shape: Shape) -> Result<Arc<Graph>> {
        let purpose = self.purpose();
        let batch = shape.first().copied().unwrap_or(0);
        let own = self.task.record(self.input, shape)?;
        let digest = own.digest();
        let graph = self.runner.prepare(purpose, batch, || Ok(own))?;
        if graph.digest() == digest {
            return Ok(graph);
        }
        Err(Error::input(format!(
            "the runner holds another task for batches of {batch}; take a new one"
        )))
    }

    fn purpose(&self) -> &'static str {
        match self.input {
            Input::Images => "fine-tuning from images",
            Input::Features => "fine-tuning from features",
        }
    }

    /// One epoch, or what is left of it.
    fn epoch(&mut self, progress: &mut dyn Progress) -> Result<()> {
        let (count, batch) = (self.samples.count(), self.task.batch);
        let steps = count.div_ceil(batch);
        let (epoch, done) = (self.standing.step / steps, self.standing.step % steps);
        let order = Sampler::shuffled(count, self.task.seed).epoch(epoch as u64);
        progress.begin(&format!("epoch {}", epoch + 1), "images", count as u64);
        progress.advance((done * batch) as u64);
        let left = self.task.schedule.total_steps - self.standing.step;
        for items in order.chunks(batch).skip(done).take(left) {
            self.step(items)?;
            progress.advance(items.len() as u64);
            let is_stopped = progress.should_stop();
            let every = self.kept.map_or(usize::MAX, |kept| kept.every.max(1));
            if self.kept.is_some() && (is_stopped || self.standing.step.is_multiple_of(every)) {
                self.save()?;
            }
            if is_stopped {
                progress.end();
                let step = self.standing.step;
                return Err(Error::stopped(format!("stopped behind step {step}")));
            }
        }
        progress.end();
        Ok(())
    }

    fn step(&mut self, items: &[usize]) -> Result<()> {
        let Batch { x, labels } = self.samples.batch(items)?;
        let whole = self.task.batch.min(self.samples.count());
        if items.len() != whole {
            self.prepare(x.shape())?;
        }
        let step = self.standing.step;
        let rate = Array::scalar(self.task.schedule.rate(step));
        let key: Array = stream_key(self.task.seed, "fine-tuning dropout", step as u64).into();
        let inputs = [
            ("x", &x),
            ("labels", &labels),
            ("learning_rate", &rate),
            ("dropout_key", &key),
        ];
        let values = self.runner.run(self.purpose(), items.len(), &inputs)?;
        for name in ["loss", "gradient.square_norm"] {
            let number = values.number(name)?;
            if !number.is_finite() {
                return Err(Error::input(format!(
                    "{name} is {number} in step {}; lower the learning rate",
                    step + 1
                )));
            }
        }
        self.standing.sum += values.number("loss")? * items.len() as f64;
        self.standing.step += 1;
        let count = self.samples.count();
        if self
            .standing
            .step
            .is_multiple_of(count.div_ceil(self.task.batch))
        {
            let sum = std::mem::take(&mut self.standing.sum);
            self.standing.losses.push(sum / count as f64);
        }
        Ok(())
    }

    /// The whole network's weights as they are now, with the optimiser's.
    fn weights(&mut self) -> Result<Weights> {
        let mut weights = self.start.clone();
        if let Some(graph) = &self.graph {
            weights.tensors.extend(self.runner.weights(graph)?.tensors);
        }
        Ok(weights)
    }

    fn save(&mut self) -> Result<()> {
        let weights = self.weights()?;
        match self.kept {
            Some(kept) => kept.checkpoints.save(
                self.standing.step,
                Checkpoint {
                    weights,
                    best: None,
                    standing: self.standing.clone(),
                },
            ),
            None => Ok(()),
        }
    }
}
