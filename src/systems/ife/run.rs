//! A run folder: where its files are, and what its checkpoints hold.

use super::config::{Config, Preset};
use super::images::NORMALISATION;
use super::result::{EpochRow, HEAVY_NAMES, LIGHT_NAMES};
use crate::data::gel_table::CLASSES;
use crate::error::{Error, Result};
use crate::train::{Weights, write_whole};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A run folder.
#[derive(Clone, Debug)]
pub struct RunFolder(PathBuf);

/// How far a training has come: all that is needed, beside the weights, to go on as if nothing had happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Steps done.
    pub step: usize,
    /// Epochs done.
    pub epoch: usize,
    /// Steps done in the present epoch.
    pub step_in_epoch: usize,
    /// Sums over the present epoch's steps: five loss terms and the gradient norm.
    pub sums: [f64; 6],
    /// The finished epochs.
    pub rows: Vec<EpochRow>,
    /// The epoch whose weights are kept, from 1; 0 before the first.
    pub best_epoch: usize,
    /// True when the last epoch is done.
    pub is_finished: bool,
    /// Digest of the data that is trained on.
    pub data: String,
    /// Counts of the nine classes in the training part.
    pub training_counts: Vec<u64>,
}

impl RunFolder {
    /// The folder at a path, made if it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let folder = Self(path.to_path_buf());
        std::fs::create_dir_all(folder.0.join("checkpoint"))
            .map_err(|e| Error::input(format!("cannot make the folder {}: {e}", path.display())))?;
        Ok(folder)
    }

    /// An existing run.
    ///
    /// # Errors
    /// There is no run at this path.
    pub fn open(path: &Path) -> Result<Self> {
        let folder = Self(path.to_path_buf());
        if folder.config_path().is_file() {
            return Ok(folder);
        }
        let advice = "give a folder that `axenic train` has written";
        Err(Error::input(format!(
            "{} is no run folder: it has no config.toml; {advice}",
            path.display()
        )))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn config_path(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    fn last_path(&self) -> PathBuf {
        self.0.join("checkpoint/last.safetensors")
    }

    /// Where the weights of the best epoch are.
    pub fn best_path(&self) -> PathBuf {
        self.0.join("checkpoint/best.safetensors")
    }

    /// Where it is kept what training images look like.
    pub fn familiarity_path(&self) -> PathBuf {
        self.0.join("checkpoint/familiarity.safetensors")
    }

    /// Where the report is.
    pub fn report_path(&self) -> PathBuf {
        self.0.join("report.html")
    }

    /// True if the run has got as far as a checkpoint.
    pub fn has_checkpoint(&self) -> bool {
        self.last_path().is_file()
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub fn config(&self) -> Result<Config> {
        let path = self.config_path();
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Error::input(format!("cannot read {}: {e}", path.display())))?;
        Config::read(&text, &Preset::Paper.config()).map_err(|e| e.within(path.display()))
    }

    /// Writes the configuration.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save_config(&self, config: &Config) -> Result<()> {
        write_whole(&self.config_path(), config.to_toml()?.as_bytes())
    }

    /// Writes weights (optimiser included) and standing, and `metrics.csv` from it.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save_last(&self, mut weights: Weights, standing: &Standing) -> Result<()> {
        let value = serde_json::to_value(standing)
            .map_err(|e| Error::checkpoint(format!("the standing: {e}")))?;
        weights.metadata.insert("standing".into(), value);
        weights.save(&self.last_path())?;
        write_whole(&self.0.join("metrics.csv"), &rows_as_csv(&standing.rows)?)
    }

    /// The last checkpoint.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub fn load_last(&self) -> Result<(Weights, Standing)> {
        let weights = Weights::load_own(&self.last_path())?;
        let standing = weights
            .entry("standing")
            .map_err(|e| e.within(self.last_path().display()))?;
        Ok((weights, standing))
    }

    /// Writes the weights of the best epoch, with all that is needed to use them elsewhere.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save_best(&self, weights: &Weights, config: &Config, epoch: usize) -> Result<()> {
        let mut weights = weights.without_optimizer();
        let classes: Vec<&str> = CLASSES.iter().map(|(name, _, _)| *name).collect();
        let size = config.model.size;
        weights.metadata = [
            ("system".to_string(), "ife".into()),
            ("epoch".to_string(), epoch.into()),
            ("labels".to_string(), serde_json::json!({ "class": classes, "heavy": HEAVY_NAMES, "light": LIGHT_NAMES })),
            ("preprocessing".to_string(), serde_json::json!({ "size": [size, size], "mean": NORMALISATION.mean, "std": NORMALISATION.std })),
            ("model".to_string(), serde_json::to_value(&config.model).unwrap_or_default()),
        ]
        .into_iter()
        .collect();
        weights.save(&self.best_path())
    }

    /// The weights of the best epoch.
    ///
    /// # Errors
    /// They are missing or damaged.
    pub fn load_best(&self) -> Result<Weights> {
        if !self.best_path().is_file() {
            let advice =
                "let the training reach the end of its first epoch (`axenic train … --resume`)";
            return Err(Error::input(format!(
                "{} has no trained weights yet; {advice}",
                self.0.display()
            )));
        }
        Weights::load_own(&self.best_path())
    }
}

fn rows_as_csv(rows: &[EpochRow]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |e: csv::Error| Error::input(format!("metrics.csv: {e}"));
    rows.iter()
        .try_for_each(|row| writer.serialize(row))
        .map_err(failed)?;
    writer
        .into_inner()
        .map_err(|e| Error::input(format!("metrics.csv: {e}")))
}
