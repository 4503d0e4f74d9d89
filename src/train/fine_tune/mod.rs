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
//!     fn content(&self) -> String {
//!         "noise 1".into()
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
//!     optimizer: Optimizer::AdamW(AdamW { update: ops::AdamW::default(), clip_norm: 1.0, loss_scaling: LossScaling::Off }),
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

mod under_way;

use super::card::{Card, Classifier, Configuration};
use super::{
    AdamW, Checkpoints, Groups, Progress, Runner, Sgd, WarmupCosine, Weights, record_adamw,
    record_sgd,
};
use crate::array::{Array, Spec};
use crate::error::{Error, Result};
use crate::graph::{Graph, Recompute, Recorder, Tensor};
use crate::models::{self, Model};
use crate::nn::Mode;
use crate::ops;
use crate::shape::{KeepAxes, Shape};
use serde::{Deserialize, Serialize};
use under_way::Fit;

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
    /// The embedding `[D]` that the frozen backbone makes of an image.
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

    /// All that decides what [`batch`](Self::batch) gives: digests of the files and their labels, and how they are prepared.
    /// A training goes on from a checkpoint only with samples of the same content.
    fn content(&self) -> String;

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
    /// The whole network's parameters and running statistics; their metadata is a [`Card`].
    pub weights: Weights,
    /// The mean loss of every finished epoch.
    pub losses: Vec<f64>,
}

/// How far a training has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// have for other classes, whose names are given too.
    fn start(&self, pretrained: &Weights) -> Result<(Weights, Vec<String>)> {
        let graph = inference(self.model)?;
        let classifier = format!("{}.", self.model.profile().classifier);
        let mut start = Weights::initial(&graph, self.seed)?;
        let mut given = pretrained.without_optimizer();
        let mut restarted = Vec::new();
        for (name, first) in &mut start.tensors {
            match given.tensors.get(name) {
                Some(own) if own.spec() == first.spec() => {}
                _ if name.starts_with(&classifier) && !self.groups.is_frozen(name) => {
                    given.tensors.insert(name.clone(), first.clone());
                    restarted.push(name.clone());
                }
                _ => {}
            }
        }
        let is_needed = |name: &String| start.tensors.contains_key(name);
        given
            .tensors
            .retain(|name, _| is_needed(name) || !name.starts_with(&classifier));
        given.check(&graph)?;
        Ok((given, restarted))
    }

    /// The description of the tuned weights. Thresholds were those of the weights before, so none are left; the names of the
    /// classes stay where the classifier did not start anew.
    fn card(
        &self,
        pretrained: &Weights,
        restarted: &[String],
        image_size: Option<[usize; 2]>,
    ) -> Result<Card> {
        let before = Card::read(pretrained)?;
        let name = self.model.name();
        if let Some(before) = before.as_ref().filter(|before| before.model != name) {
            return Err(Error::checkpoint(format!(
                "the weights are those of {:?}, not of {name:?}",
                before.model
            )));
        }
        let usual = self.model.profile().preprocessing;
        let said = before.as_ref().map(|card| card.configuration.image_size);
        let configuration = Configuration {
            num_classes: self.model.num_classes(),
            image_size: image_size.or(said).unwrap_or([usual.size; 2]),
            channels: 3,
        };
        let classifier = match restarted {
            [] => Classifier::Kept,
            _ => Classifier::New,
        };
        let card = Card::new(name, configuration, usual, before, classifier);
        Ok(Card {
            thresholds: None,
            ..card
        })
    }

    /// Trains to the end of the schedule, from the last checkpoint if there is one.
    ///
    /// # Errors
    /// The weights do not fit the model, or are said to be of another; the groups do not fit; a sample cannot be read; a loss is not finite; the
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
        let mut fit = Fit::open(self, runner, input, samples, pretrained, kept, progress)?;
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
