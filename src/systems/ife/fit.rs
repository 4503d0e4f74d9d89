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
use crate::train::{
    Checkpoint, LossScaling, Progress, Runner, Silent, Values, WarmupCosine, Weights,
};
use std::sync::Arc;

/// What is to be trained, and where it is kept.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    /// What the training is to be.
    pub config: &'a Config,
    /// What it learns from.
    pub images: &'a Images,
    /// Where everything is written.
    pub folder: &'a RunFolder,
    /// How the loop runs.
    pub options: FitOptions,
}

/// How the loop runs; nothing here changes what is learnt.
#[derive(Clone, Copy, Debug)]
pub struct FitOptions {
    /// Threads that read images; 0 means one for each core.
    pub threads: usize,
    /// A checkpoint every so many steps, at least 1, beside the one at the end of every epoch.
    pub checkpoint_every: usize,
    /// Go on from the last checkpoint, if there is one.
    pub resume: bool,
}

/// A training that has come to its end.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The standing at the end.
    pub standing: Standing,
    /// Images that went through training steps in this session, and the seconds that took.
    pub trained: (usize, f64),
}

struct Fit<'a> {
    runner: &'a mut Runner,
    task: &'a Task<'a>,
    progress: &'a mut dyn Progress,
    train: Vec<usize>,
    validation: Vec<usize>,
    standing: Standing,
    best: Option<Weights>,
    trained: (usize, f64),
}

/// Trains as the configuration says, from the beginning or from the last checkpoint, and leaves checkpoints,
/// `metrics.csv` and the best epoch's weights in the run folder.
///
/// The best epoch is the one with the highest macro F1 on the validation part; of equal ones the one with the lowest
/// validation loss; of those the earliest.
///
/// # Errors
/// The data has no images to train on or to choose by, the folder holds a run that is not to be resumed, configuration or
/// data are not those of the checkpoint, the device fails, a number stops being finite, or a file cannot be written. An
/// error that [`is_stopped`](Error::is_stopped) if the work was asked to stop: then all is saved.
pub fn fit(task: &Task<'_>, runner: &mut Runner, progress: &mut dyn Progress) -> Result<Fitted> {
    let folder = task.folder;
    if !task.options.resume && !folder.checkpoints().steps()?.is_empty() {
        return Err(folder.taken());
    }
    let mut fit = Fit {
        runner,
        task,
        progress,
        train: require(task.images, Part::Train)?,
        validation: require(task.images, Part::Validation)?,
        standing: Standing::first(task.config, task.images),
        best: None,
        trained: (0, 0.0),
    };
    if fit.start(task.options.resume)? {
        let Standing { epoch, step, .. } = fit.standing;
        fit.progress
            .note(&format!("continuing behind epoch {epoch}, step {step}"));
    }
    fit.open()?;
    while !fit.standing.is_finished {
        fit.epoch()?;
    }
    Ok(Fitted {
        standing: fit.standing,
        trained: fit.trained,
    })
}

/// That the task may be carried out in its folder; what it is to be is then stated there, before anything else is done.
///
/// # Errors
/// The folder holds a run that is not to be resumed, configuration or data are not those of its last checkpoint, no
/// checkpoint is whole, or a file cannot be written.
pub fn admit(task: &Task<'_>) -> Result<()> {
    let folder = task.folder;
    let is_new = folder.checkpoints().steps()?.is_empty();
    match (is_new, task.options.resume) {
        (true, _) => folder.state_purpose(task.config, task.images),
        (false, true) => last(task, &mut Silent).map(|_| ()),
        (false, false) => Err(folder.taken()),
    }
}

/// Whether the task is to be resumed, but was done to the end. Mends what is missing of `metrics.csv` and the best weights.
///
/// # Errors
/// Configuration or data are not those of the run, no checkpoint is whole, or a file cannot be written.
pub fn is_finished(task: &Task<'_>) -> Result<bool> {
    let Task {
        images,
        folder,
        options,
        ..
    } = task;
    if !(options.resume && folder.report_path().is_file()) {
        return Ok(false);
    }
    match last(task, &mut Silent)? {
        Some(Checkpoint { standing, best, .. }) if standing.is_finished => {
            folder.publish(&standing, best.as_ref(), images)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// The last checkpoint that is whole, if configuration and data are still the same.
fn last(task: &Task<'_>, progress: &mut dyn Progress) -> Result<Option<Checkpoint<Standing>>> {
    let Task {
        config,
        images,
        folder,
        ..
    } = task;
    let mut passed_over =
        |e: &Error| progress.note(&format!("a damaged checkpoint is passed over: {e}"));
    let last: Option<Checkpoint<Standing>> = folder.checkpoints().load(&mut passed_over)?;
    if let Some(Checkpoint { standing, .. }) = &last {
        folder.expect_unchanged(standing, config, images)?;
    }
    Ok(last)
}

impl Fit<'_> {
    /// Puts weights and standing where the last checkpoint was, or at the beginning. True if there was a checkpoint.
    fn start(&mut self, resume: bool) -> Result<bool> {
        let graph = self.prepare(self.task.config.train.batch.min(self.train.len()))?;
        let last = if resume {
            last(self.task, self.progress)?
        } else {
            None
        };
        let is_there = last.is_some();
        let Checkpoint {
            weights,
            best,
            standing,
        } = match last {
            Some(last) => last,
            None => Checkpoint {
                weights: Weights::initial(&graph, self.task.config.train.seed)?,
                best: None,
                standing: Standing::first(self.task.config, self.task.images),
            },
        };
        self.runner.set_weights(&graph, weights)?;
        (self.standing, self.best) = (standing, best);
        Ok(is_there)
    }

    /// Brings the run folder to the standing, and notes which device goes on.
    fn open(&mut self) -> Result<()> {
        let Task {
            config,
            images,
            folder,
            ..
        } = self.task;
        folder.state_purpose(config, images)?;
        folder.publish(&self.standing, self.best.as_ref(), images)?;
        let device = self.runner.description();
        if self.standing.devices.last().map(|(_, device)| device) != Some(&device) {
            self.standing.devices.push((self.standing.step, device));
        }
        Ok(())
    }

    fn prepare(&mut self, batch: usize) -> Result<Arc<Graph>> {
        let config = self.task.config;
        self.runner
            .prepare("training", batch, || training_step(config, batch))
    }

    fn steps_per_epoch(&self) -> usize {
        self.train.len().div_ceil(self.task.config.train.batch)
    }

    fn learning_rate(&self, step: usize) -> f64 {
        let train = &self.task.config.train;
        let steps = self.steps_per_epoch();
        let schedule = WarmupCosine {
            peak: train.learning_rate,
            warmup_steps: (train.warmup_epochs * steps as f64).round() as usize,
            total_steps: train.epochs * steps,
        };
        schedule.rate(step)
    }

    /// The batches of the present epoch that are still to come, and how many images are behind.
    fn batches(&self) -> Result<(impl Iterator<Item = Result<Batch>> + use<>, usize)> {
        let Task {
            config,
            images,
            options,
            ..
        } = self.task;
        let (train, epoch) = (&config.train, self.standing.epoch as u64);
        let order: Vec<usize> = Sampler::shuffled(self.train.len(), train.seed)
            .epoch(epoch)
            .into_iter()
            .map(|position| self.train[position])
            .collect();
        let done = (self.standing.step_in_epoch * train.batch).min(order.len());
        let augmented = Some((config.augment, train.seed));
        let batches = images.batches(
            &order[done..],
            train.batch,
            augmented,
            epoch,
            options.threads,
        )?;
        Ok((batches, done))
    }

    /// One epoch, from where the standing says.
    fn epoch(&mut self) -> Result<()> {
        let (number, epochs) = (self.standing.epoch + 1, self.task.config.train.epochs);
        let (batches, done) = self.batches()?;
        self.progress.begin(
            &format!("epoch {number}/{epochs}"),
            "images",
            self.train.len() as u64,
        );
        self.progress.advance(done as u64);
        for batch in batches {
            self.step(&batch?)?;
            let every = self.task.options.checkpoint_every.max(1);
            let is_stopped = self.progress.should_stop();
            if is_stopped || self.standing.step.is_multiple_of(every) {
                let weights = self.weights()?;
                self.save(weights)?;
            }
            if is_stopped {
                self.progress.end();
                return Err(self.stopped());
            }
        }
        self.progress.end();
        self.finish_epoch()
    }

    fn stopped(&self) -> Error {
        let (step, folder) = (self.standing.step, self.task.folder.path().display());
        Error::stopped(format!(
            "stopped behind step {step}, which is saved; to continue, train with --resume and --out {folder}"
        ))
    }

    /// Runs the training step on a batch.
    fn run(&mut self, batch: &Batch) -> Result<Values> {
        let count = batch.items.len();
        self.prepare(count)?;
        let rate = Array::scalar(self.learning_rate(self.standing.step));
        self.runner.run("training", count, &inputs(batch, &rate))
    }

    fn step(&mut self, batch: &Batch) -> Result<()> {
        let begin = std::time::Instant::now();
        let values = self.run(batch)?;
        let measured = measured(&values)?;
        if let Some(bad) = measured.iter().position(|x| !x.is_finite()) {
            let what = format!("{} is {}", TERMS[bad], measured[bad]);
            let step = self.standing.step + 1;
            return Err(self.fault(&what, step, step)?);
        }
        self.count_skipped(&values)?;
        self.standing
            .sums
            .iter_mut()
            .zip(measured)
            .for_each(|(sum, x)| *sum += x);
        self.standing.step += 1;
        self.standing.step_in_epoch += 1;
        self.trained.0 += batch.items.len();
        self.trained.1 += begin.elapsed().as_secs_f64();
        self.progress.advance(batch.items.len() as u64);
        Ok(())
    }

    /// Takes note of a step that loss scaling has skipped.
    fn count_skipped(&mut self, values: &Values) -> Result<()> {
        if LossScaling::from(self.task.config.train.precision) == LossScaling::Off {
            return Ok(());
        }
        let skipped = values.number("skipped_steps")? as usize;
        if skipped == std::mem::replace(&mut self.standing.skipped, skipped) {
            return Ok(());
        }
        let (step, scale) = (self.standing.step + 1, values.number("loss_scale")?);
        let what = format!("the gradients of step {step} overflowed");
        if scale < 1.0 {
            return Err(self.fault(&format!("{what}, whatever the loss scale"), step, step)?);
        }
        self.progress.note(&format!(
            "{what}: it is skipped, and the loss scale is now {scale}"
        ));
        Ok(())
    }

    /// Behind step `last` something was not finite. Repeats the steps since the last checkpoint, from step `first` on
    /// operation by operation, and gives the error that names the first that is at fault.
    fn fault(&mut self, what: &str, first: usize, last: usize) -> Result<Error> {
        self.progress.end();
        self.progress.note(&format!(
            "{what} in step {last}: looking for the first operation at fault"
        ));
        let kept = if self.start(true)? {
            format!("the checkpoint of step {} is kept", self.standing.step)
        } else {
            "there is no checkpoint yet".to_string()
        };
        let advice = format!("lower train.learning_rate and train in a new folder; {kept}");
        for batch in self.batches()?.0 {
            let (batch, step) = (batch?, self.standing.step + 1);
            if step < first {
                self.run(&batch)?;
            } else if let Some(operation) = self.watch(&batch)? {
                return Ok(Error::input(format!(
                    "{what}: the first numbers that are not finite come in step {step} from {operation}; {advice}"
                )));
            }
            self.standing.step = step;
            if step == last {
                break;
            }
        }
        Ok(Error::device(format!(
            "{what} in step {last}, but not when the step was repeated from the same numbers: the device does not compute \
             reliably; {kept}"
        )))
    }

    /// As [`run`](Self::run), operation by operation up to the first at fault, if there is one.
    fn watch(&mut self, batch: &Batch) -> Result<Option<String>> {
        let count = batch.items.len();
        self.prepare(count)?;
        let rate = Array::scalar(self.learning_rate(self.standing.step));
        self.runner
            .run_to_fault("training", count, &inputs(batch, &rate))
    }

    /// Validates, keeps the weights if they are the best so far, writes the checkpoint.
    fn finish_epoch(&mut self) -> Result<()> {
        let weights = self.weights()?;
        let outcomes = match self.validate() {
            Err(e) if e.is_stopped() => {
                self.save(weights)?;
                return Err(self.stopped());
            }
            outcomes => outcomes?,
        };
        let row = self.row(&outcomes)?;
        let best = self.standing.best_epoch.checked_sub(1);
        let is_better = best.is_none_or(|best| {
            let key = |row: &EpochRow| (row.validation_macro_f1, -row.validation_loss);
            key(&row) > key(&self.standing.rows[best])
        });
        self.standing.rows.push(row);
        self.standing.epoch += 1;
        self.standing.step_in_epoch = 0;
        self.standing.sums = [0.0; 6];
        self.standing.is_finished = self.standing.epoch == self.task.config.train.epochs;
        let model = weights.without_optimizer();
        self.progress.note(&format!(
            "epoch {:>3}  loss {:.4}  validation: accuracy {:.4}, macro F1 {:.4}{}  weights {}",
            row.epoch,
            row.loss_total,
            row.validation_accuracy,
            row.validation_macro_f1,
            if is_better { " *" } else { "  " },
            model.digest(),
        ));
        if is_better {
            self.standing.best_epoch = self.standing.epoch;
            self.best = Some(model);
        }
        self.save(weights)?;
        let Task { images, folder, .. } = self.task;
        folder
            .publish(&self.standing, self.best.as_ref(), images)
            .map_err(advise)
    }

    fn validate(&mut self) -> Result<Vec<Outcome>> {
        let Task {
            config,
            images,
            options,
            ..
        } = self.task;
        let items = &self.validation;
        self.progress
            .begin("validation", "images", items.len() as u64);
        let outcomes = study::outcomes(
            self.runner,
            config,
            images,
            items,
            options.threads,
            self.progress,
        );
        self.progress.end();
        outcomes
    }

    fn row(&self, outcomes: &[Outcome]) -> Result<EpochRow> {
        let confusion = confusion(outcomes)?;
        let steps = self.steps_per_epoch();
        let sums = self.standing.sums;
        let [
            loss_heavy,
            loss_light,
            loss_inner,
            loss_inter,
            loss_total,
            _,
        ] = sums.map(|sum| sum / steps as f64);
        // A step that is skipped has no gradient.
        let skipped_before: usize = self.standing.rows.iter().map(|row| row.skipped_steps).sum();
        let skipped_steps = self.standing.skipped - skipped_before;
        let gradients = steps.saturating_sub(skipped_steps).max(1);
        Ok(EpochRow {
            epoch: self.standing.epoch + 1,
            step: self.standing.step,
            learning_rate: self.learning_rate(self.standing.step.saturating_sub(1)),
            loss_heavy,
            loss_light,
            loss_inner,
            loss_inter,
            loss_total,
            gradient_norm: sums[5] / gradients as f64,
            validation_loss: outcomes.iter().map(|outcome| outcome.loss).sum::<f64>()
                / outcomes.len() as f64,
            validation_accuracy: confusion.accuracy().unwrap_or(0.0),
            validation_macro_f1: confusion.macro_f1().unwrap_or(0.0),
            validation_fnr: confusion.false_negative_rate(0),
            skipped_steps,
        })
    }

    /// The present weights, all finite.
    fn weights(&mut self) -> Result<Weights> {
        let graph = self.prepare(self.task.config.train.batch.min(self.train.len()))?;
        let weights = self.runner.weights(&graph)?;
        match weights.first_not_finite() {
            None => Ok(weights),
            Some(name) => {
                let what = format!("{name} holds numbers that are not finite");
                Err(self.fault(&what, 1, self.standing.step)?)
            }
        }
    }

    fn save(&mut self, weights: Weights) -> Result<()> {
        let checkpoint = Checkpoint {
            weights,
            best: self.best.clone(),
            standing: self.standing.clone(),
        };
        let checkpoints = self.task.folder.checkpoints();
        checkpoints
            .save(self.standing.step, checkpoint)
            .map_err(advise)
    }
}

/// What to do where a file cannot be written.
fn advise(e: Error) -> Error {
    e.at("the checkpoint before is still good: free the disk, then continue with --resume")
}

fn inputs<'a>(batch: &'a Batch, learning_rate: &'a Array) -> [(&'static str, &'a Array); 4] {
    [
        ("x", &batch.x),
        ("heavy", &batch.heavy),
        ("light", &batch.light),
        ("learning_rate", learning_rate),
    ]
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
