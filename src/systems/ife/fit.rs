//! The training loop.

use super::config::Config;
use super::graphs::training_step;
use super::images::{Batch, Images, Part, require};
use super::result::EpochRow;
use super::run::{RunFolder, Standing};
use super::score::{Outcome, confusion};
use super::study;
use crate::array::Array;
use crate::data::sampler::Sampler;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::train::{Progress, Runner, Values, WarmupCosine, Weights};
use std::sync::Arc;

/// How the loop runs; nothing here changes what is learnt.
#[derive(Clone, Copy, Debug)]
pub struct FitOptions {
    /// Threads that read images; 0 means one for each core.
    pub threads: usize,
    /// A checkpoint every so many steps, beside the one at the end of every epoch.
    pub checkpoint_every: Option<usize>,
    /// Go on from the last checkpoint, if there is one.
    pub resume: bool,
}

/// How a training ended.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The standing at the end.
    pub standing: Standing,
    /// Images that went through training steps in this session, and the seconds that took.
    pub trained: (usize, f64),
    /// True if the work was asked to stop before its end.
    pub was_stopped: bool,
}

struct Fit<'a> {
    runner: &'a mut Runner,
    config: &'a Config,
    images: &'a Images,
    folder: &'a RunFolder,
    options: FitOptions,
    progress: &'a mut dyn Progress,
    train: Vec<usize>,
    validation: Vec<usize>,
    standing: Standing,
    trained: (usize, f64),
}

/// Trains as the configuration says, from the beginning or from the last checkpoint, and leaves checkpoints,
/// `metrics.csv` and the best epoch's weights in the run folder.
///
/// The best epoch is the one with the highest macro F1 on the validation part; of equal ones the one with the lowest
/// validation loss; of those the earliest.
///
/// # Errors
/// The data has no images to train on or to choose by, the device fails, the loss stops being a finite number, or a file
/// cannot be written.
pub fn fit(
    runner: &mut Runner,
    config: &Config,
    images: &Images,
    folder: &RunFolder,
    options: FitOptions,
    progress: &mut dyn Progress,
) -> Result<Fitted> {
    let (train, validation) = (
        require(images, Part::Train)?,
        require(images, Part::Validation)?,
    );
    let mut fit = Fit {
        runner,
        config,
        images,
        folder,
        options,
        progress,
        train,
        validation,
        standing: Standing {
            data: images.digest.clone(),
            training_counts: images.class_counts(Part::Train).to_vec(),
            ..Standing::default()
        },
        trained: (0, 0.0),
    };
    fit.start()?;
    while fit.standing.epoch < config.train.epochs {
        if !fit.epoch()? {
            return Ok(Fitted {
                standing: fit.standing,
                trained: fit.trained,
                was_stopped: true,
            });
        }
    }
    Ok(Fitted {
        standing: fit.standing,
        trained: fit.trained,
        was_stopped: false,
    })
}

impl Fit<'_> {
    /// Sets the weights: those of the last checkpoint, or first ones.
    fn start(&mut self) -> Result<()> {
        let graph = self.prepare(self.config.train.batch.min(self.train.len()))?;
        if !(self.options.resume && self.folder.has_checkpoint()) {
            return self
                .runner
                .set_weights(&graph, &Weights::initial(&graph, self.config.train.seed)?);
        }
        let (weights, standing) = self.folder.load_last()?;
        if standing.data != self.standing.data {
            let advice = "train in a new folder, or bring the data back";
            return Err(Error::input(format!(
                "the data is not what this run was trained on; {advice}"
            )));
        }
        self.standing = standing;
        self.runner.set_weights(&graph, &weights)?;
        let (epoch, step) = (self.standing.epoch, self.standing.step);
        self.progress
            .note(&format!("continuing behind epoch {epoch}, step {step}"));
        Ok(())
    }

    fn prepare(&mut self, batch: usize) -> Result<Arc<Graph>> {
        self.runner
            .prepare("training", batch, || training_step(self.config, batch))
    }

    /// One epoch, from where the standing says. False if the work was asked to stop.
    fn epoch(&mut self) -> Result<bool> {
        let train = &self.config.train;
        let order: Vec<usize> = Sampler::shuffled(self.train.len(), train.seed)
            .epoch(self.standing.epoch as u64)
            .into_iter()
            .map(|position| self.train[position])
            .collect();
        let done = (self.standing.step_in_epoch * train.batch).min(order.len());
        let steps = order.len().div_ceil(train.batch);
        let schedule = WarmupCosine {
            peak: train.learning_rate,
            warmup_steps: (train.warmup_epochs * steps as f64).round() as usize,
            total_steps: train.epochs * steps,
        };
        let number = self.standing.epoch + 1;
        self.progress.begin(
            &format!("epoch {number}/{}", train.epochs),
            "images",
            order.len() as u64,
        );
        self.progress.advance(done as u64);
        let augmented = Some((self.config.augment, train.seed));
        let epoch = self.standing.epoch as u64;
        for batch in self.images.batches(
            &order[done..],
            train.batch,
            augmented,
            epoch,
            self.options.threads,
        )? {
            self.step(batch?, schedule.rate(self.standing.step))?;
            let is_due = self
                .options
                .checkpoint_every
                .is_some_and(|every| self.standing.step.is_multiple_of(every));
            let is_stopped = self.progress.should_stop();
            if is_stopped || (is_due && self.standing.step_in_epoch < steps) {
                self.save()?;
            }
            if is_stopped {
                self.progress.end();
                return Ok(false);
            }
        }
        self.progress.end();
        self.finish_epoch(schedule.rate(self.standing.step.saturating_sub(1)), steps)?;
        Ok(true)
    }

    fn step(&mut self, batch: Batch, learning_rate: f64) -> Result<()> {
        let begin = std::time::Instant::now();
        let count = batch.items.len();
        self.prepare(count)?;
        let rate = Array::scalar(learning_rate);
        let inputs = [
            ("x", &batch.x),
            ("heavy", &batch.heavy),
            ("light", &batch.light),
            ("learning_rate", &rate),
        ];
        let values = self.runner.run("training", count, &inputs)?;
        let measured = measured(&values)?;
        if let Some(bad) = measured.iter().position(|x| !x.is_finite()) {
            let what = TERMS[bad];
            let step = self.standing.step + 1;
            let advice = "lower train.learning_rate; the last checkpoint is kept";
            return Err(Error::input(format!(
                "{what} is {} in step {step}; {advice}",
                measured[bad]
            )));
        }
        self.standing
            .sums
            .iter_mut()
            .zip(measured)
            .for_each(|(sum, x)| *sum += x);
        self.standing.step += 1;
        self.standing.step_in_epoch += 1;
        self.trained.0 += count;
        self.trained.1 += begin.elapsed().as_secs_f64();
        self.progress.advance(count as u64);
        Ok(())
    }

    /// Validates, keeps the weights if they are the best so far, writes the checkpoint.
    fn finish_epoch(&mut self, learning_rate: f64, steps: usize) -> Result<()> {
        self.progress
            .begin("validation", "images", self.validation.len() as u64);
        let outcomes = study::outcomes(
            self.runner,
            self.config,
            self.images,
            &self.validation,
            self.options.threads,
            self.progress,
        )?;
        self.progress.end();
        let row = self.row(learning_rate, steps, &outcomes)?;
        let is_better = match self
            .standing
            .rows
            .get(self.standing.best_epoch.wrapping_sub(1))
        {
            None => true,
            Some(best) => {
                let key = |row: &EpochRow| (row.validation_macro_f1, -row.validation_loss);
                key(&row) > key(best)
            }
        };
        self.standing.rows.push(row);
        self.standing.epoch += 1;
        self.standing.step_in_epoch = 0;
        self.standing.sums = [0.0; 6];
        self.standing.is_finished = self.standing.epoch == self.config.train.epochs;
        let weights = self.weights()?;
        if is_better {
            self.standing.best_epoch = self.standing.epoch;
            self.folder
                .save_best(&weights, self.config, self.standing.epoch)?;
        }
        self.progress.note(&format!(
            "epoch {:>3}  loss {:.4}  validation: accuracy {:.4}, macro F1 {:.4}{}  weights {}",
            row.epoch,
            row.loss_total,
            row.validation_accuracy,
            row.validation_macro_f1,
            if is_better { " *" } else { "  " },
            weights.digest(),
        ));
        self.folder.save_last(weights, &self.standing)
    }

    fn row(&self, learning_rate: f64, steps: usize, outcomes: &[Outcome]) -> Result<EpochRow> {
        let confusion = confusion(outcomes)?;
        let [
            loss_heavy,
            loss_light,
            loss_inner,
            loss_inter,
            loss_total,
            gradient_norm,
        ] = self.standing.sums.map(|sum| sum / steps as f64);
        Ok(EpochRow {
            epoch: self.standing.epoch + 1,
            step: self.standing.step,
            learning_rate,
            loss_heavy,
            loss_light,
            loss_inner,
            loss_inter,
            loss_total,
            gradient_norm,
            validation_loss: outcomes.iter().map(|outcome| outcome.loss).sum::<f64>()
                / outcomes.len() as f64,
            validation_accuracy: confusion.accuracy().unwrap_or(0.0),
            validation_macro_f1: confusion.macro_f1().unwrap_or(0.0),
            validation_fnr: confusion.false_negative_rate(0),
        })
    }

    fn weights(&mut self) -> Result<Weights> {
        let graph = self.prepare(self.config.train.batch.min(self.train.len()))?;
        self.runner.weights(&graph)
    }

    fn save(&mut self) -> Result<()> {
        let weights = self.weights()?;
        self.folder.save_last(weights, &self.standing)
    }
}

/// What is watched in every step, in the order of [`Standing::sums`].
const TERMS: [&str; 6] = [
    "loss.heavy",
    "loss.light",
    "loss.inner",
    "loss.inter",
    "loss.total",
    "the norm of the gradient",
];

fn measured(values: &Values) -> Result<[f64; 6]> {
    let mut numbers = [0.0; 6];
    for (number, name) in numbers.iter_mut().zip(&TERMS[..5]) {
        *number = values.number(name)?;
    }
    numbers[5] = values.number("gradient.square_norm")?.sqrt();
    Ok(numbers)
}
