//! A training under way: step by step, kept and gone on with.

use super::{Batch, FineTune, Input, Kept, Samples, Standing};
use crate::array::Array;
use crate::data::sampler::Sampler;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::rng::stream_key;
use crate::shape::Shape;
use crate::train::weights::hex;
use crate::train::{Checkpoint, Progress, Runner, Weights};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// A training under way.
pub(super) struct Fit<'a> {
    task: &'a FineTune<'a>,
    input: Input,
    runner: &'a mut Runner,
    samples: &'a mut dyn Samples,
    pub(super) kept: Option<Kept<'a>>,
    pub(super) standing: Standing,
    /// The whole batch's step.
    graph: Option<Arc<Graph>>,
    /// What it began with; the description is that of the end.
    start: Weights,
}

impl<'a> Fit<'a> {
    /// A training at the last checkpoint, or at the beginning.
    pub(super) fn open(
        task: &'a FineTune<'a>,
        runner: &'a mut Runner,
        input: Input,
        samples: &'a mut dyn Samples,
        pretrained: &Weights,
        kept: Option<Kept<'a>>,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        let (mut start, restarted) = task.start(pretrained)?;
        for name in &restarted {
            let spec = |weights: &Weights| weights.tensors.get(name).map(Array::spec);
            let before = spec(pretrained).map_or("missing".to_string(), |spec| spec.to_string());
            let spec = spec(&start).map_or_else(String::new, |spec| spec.to_string());
            progress.note(&format!(
                "{name}, {before} in the weights, starts anew as {spec}"
            ));
        }
        let first: Vec<usize> = (0..task.batch.min(samples.count())).collect();
        let shape = samples.batch(&first)?.x.shape();
        let image_size = match *shape {
            [_, _, height, width] => Some([height, width]),
            _ => None,
        };
        let card = task.card(pretrained, &restarted, image_size)?;
        card.write(&mut start)?;
        let mut fit = Self {
            task,
            input,
            runner,
            samples,
            kept,
            standing: Standing::default(),
            graph: None,
            start,
        };
        fit.resume(shape, progress)?;
        Ok(fit)
    }

    /// Prepares the step of a whole batch, and puts weights and standing where the last checkpoint was, or at the beginning.
    fn resume(&mut self, shape: Shape, progress: &mut dyn Progress) -> Result<()> {
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
                    "the checkpoints are of another task: of other weights, samples or settings, or of another device; train in a new folder",
                ));
            }
            None => {
                let mut weights = Weights::initial(&graph, self.task.seed)?;
                weights.tensors.extend(self.start.tensors.clone());
                weights
            }
        };
        self.standing.task = task;
        self.runner.set_weights(&graph, weights.needed_by(&graph))?;
        self.graph = Some(graph);
        Ok(())
    }

    /// All that decides the result.
    fn digest(&mut self, graph: &Graph) -> String {
        let FineTune {
            schedule,
            seed,
            batch,
            ..
        } = self.task;
        let (count, content) = (self.samples.count(), self.samples.content());
        let (graph, start) = (graph.digest(), self.start.digest());
        let device = self.runner.device();
        let all =
            format!("{graph} {start} {schedule:?} {seed} {batch} {count} {device:?} {content:?}");
        hex(Sha256::new_with_prefix(all))
    }

    /// The step for samples of this shape.
    fn prepare(&mut self, shape: Shape) -> Result<Arc<Graph>> {
        let purpose = self.purpose();
        let batch = shape.first().copied().unwrap_or(0);
        let own = self.task.record(self.input, shape)?;
        let graph = self.runner.prepare_graph(purpose, batch, &own)?;
        graph.ok_or_else(|| {
            Error::input(format!(
                "the runner holds another task for batches of {batch}; take a new one"
            ))
        })
    }

    fn purpose(&self) -> &'static str {
        match self.input {
            Input::Images => "fine-tuning from images",
            Input::Features => "fine-tuning from features",
        }
    }

    /// One epoch, or what is left of it.
    pub(super) fn epoch(&mut self, progress: &mut dyn Progress) -> Result<()> {
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
        if values.number("loss_scale").is_ok_and(|scale| scale < 1.0) {
            return Err(Error::input(format!(
                "the gradients of step {} are not finite, whatever the loss scale; lower the learning rate",
                step + 1
            )));
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
    pub(super) fn weights(&mut self) -> Result<Weights> {
        let mut weights = self.start.clone();
        if let Some(graph) = &self.graph {
            weights.tensors.extend(self.runner.weights(graph)?.tensors);
        }
        Ok(weights)
    }

    pub(super) fn save(&mut self) -> Result<()> {
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
