//! Checkpoints: everything that a training needs to go on, in one file each, of which the last two are kept.
//!
//! ```text
//! folder/step-00000040.safetensors      the last but one
//! folder/step-00000060.safetensors      the last
//! ```
//!
//! A file holds the weights (optimiser and running statistics included), the best weights so far under names with the
//! prefix `best.`, and the standing of the training in its metadata; a digest covers all three. A new checkpoint is in its
//! place before an old one goes.

use super::{Files, Weights};
use crate::error::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// The prefix of the best weights' names.
const BEST: &str = "best.";
/// The metadata entry of the standing.
const STANDING: &str = "standing";

/// All that is needed to go on; `S` is what a system knows of its own progress.
#[derive(Clone, Debug)]
pub struct Checkpoint<S> {
    /// Parameters, running statistics and the optimiser's state.
    pub weights: Weights,
    /// The best weights so far, without the optimiser's state.
    pub best: Option<Weights>,
    /// Everything else.
    pub standing: S,
}

/// The checkpoints of a run.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    files: Files,
    folder: PathBuf,
}

impl Checkpoints {
    /// Those in a folder.
    pub fn new(files: Files, folder: PathBuf) -> Self {
        Self { files, folder }
    }

    fn path(&self, step: usize) -> PathBuf {
        self.folder.join(format!("step-{step:08}.safetensors"))
    }

    /// The steps that there are checkpoints of, the last first.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn steps(&self) -> Result<Vec<usize>> {
        let mut steps: Vec<usize> = self
            .files
            .list(&self.folder)?
            .iter()
            .filter_map(|path| step_of(path))
            .collect();
        steps.sort_unstable_by(|a, b| b.cmp(a));
        Ok(steps)
    }

    /// Writes a checkpoint, then removes all but this one and the one before it. One of a later step is removed too: it
    /// was found damaged, or the training would have gone on from there.
    ///
    /// # Errors
    /// A number is not finite, or a file cannot be written or removed; those there were are still good then.
    pub fn save<S: Serialize>(&self, step: usize, checkpoint: Checkpoint<S>) -> Result<()> {
        let mut file = checkpoint.weights;
        if let Some(best) = checkpoint.best {
            let renamed = best
                .tensors
                .into_iter()
                .map(|(name, array)| (format!("{BEST}{name}"), array));
            file.tensors.extend(renamed);
        }
        let standing = serde_json::to_value(&checkpoint.standing)
            .map_err(|e| Error::checkpoint(format!("the standing cannot be written: {e}")))?;
        file.metadata.insert(STANDING.into(), standing);
        if let Some(name) = file.first_not_finite() {
            return Err(Error::checkpoint(format!(
                "{name} holds numbers that are not finite: not kept"
            )));
        }
        self.files.write(&self.path(step), &file.to_bytes()?)?;
        let present = self.steps()?;
        let before = present.iter().find(|&&own| own < step);
        let is_over = |own: &&usize| **own != step && Some(*own) != before;
        present
            .iter()
            .filter(is_over)
            .try_for_each(|&own| self.files.remove(&self.path(own)))
    }

    /// The last checkpoint that is whole; `None` if there was never one. `passed_over` hears of those that are not.
    ///
    /// # Errors
    /// None of those there are is whole.
    pub fn load<S: DeserializeOwned>(
        &self,
        passed_over: &mut dyn FnMut(&Error),
    ) -> Result<Option<Checkpoint<S>>> {
        let mut last = None;
        for step in self.steps()? {
            match self.open(&self.path(step)) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(e) => {
                    passed_over(&e);
                    last = Some(e);
                }
            }
        }
        match last {
            None => Ok(None),
            Some(e) => Err(Error::checkpoint(format!(
                "no checkpoint is whole ({e}); train in a new folder"
            ))),
        }
    }

    /// Reads one checkpoint.
    fn open<S: DeserializeOwned>(&self, path: &Path) -> Result<Checkpoint<S>> {
        let read = || -> Result<(Weights, S)> {
            let file = Weights::read_own(self.files.open(path)?)?;
            let standing = file.entry(STANDING)?;
            Ok((file, standing))
        };
        let (file, standing) = read().map_err(|e| e.within(path.display()))?;
        let (mut weights, mut best) = (Weights::default(), Weights::default());
        for (name, array) in file.tensors {
            match name.strip_prefix(BEST) {
                Some(name) => best.tensors.insert(name.to_string(), array),
                None => weights.tensors.insert(name, array),
            };
        }
        Ok(Checkpoint {
            weights,
            best: (!best.tensors.is_empty()).then_some(best),
            standing,
        })
    }
}

/// The step in a checkpoint's name.
fn step_of(path: &Path) -> Option<usize> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("step-")?
        .strip_suffix(".safetensors")?
        .parse()
        .ok()
}
