//! A run folder: where its files are, who may write them, and how far its training has come.
//!
//! ```text
//! config.toml                              everything resolved
//! data.csv                                 what it is trained on, file by file
//! metrics.csv                              a row for each finished epoch
//! report.html                              the last to be written
//! checkpoint/step-00000120.safetensors     everything needed to go on; the last two are kept
//! checkpoint/best.safetensors              the weights of the best epoch
//! checkpoint/familiarity.safetensors       what training images look like
//! checkpoint/lock                          empty; locked by the process that trains
//! ```

use super::config::{Config, Preset};
use super::images::{Images, NORMALISATION, Part, require};
use super::result::{EpochRow, HEAVY_NAMES, LIGHT_NAMES};
use crate::data::gel_table::CLASSES;
use crate::error::{Error, Result};
use crate::train::{Checkpoints, Files, Lock, Weights};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The entry of the weights' metadata that says how many images of each class they were trained on.
pub const TRAINING_COUNTS: &str = "training_counts";

/// A run folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    files: Files,
    /// Held as long as a clone of this lives, where it was opened for writing.
    _lock: Option<Arc<Lock>>,
}

/// How far a training has come: all that is needed, beside the weights, to go on as if nothing had happened. The keys of
/// all generators follow from it: seed, epoch, and the position in the epoch's order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Steps done.
    pub step: usize,
    /// Epochs done.
    pub epoch: usize,
    /// Steps done in the present epoch: the position in its order, in batches.
    pub step_in_epoch: usize,
    /// Sums over the present epoch's steps: five loss terms and the gradient norm.
    pub sums: [f64; 6],
    /// Steps skipped so far, because their gradients overflowed in mixed precision.
    #[serde(default)]
    pub skipped: usize,
    /// The finished epochs.
    pub rows: Vec<EpochRow>,
    /// The epoch whose weights are kept, from 1; 0 before the first.
    pub best_epoch: usize,
    /// True when the last epoch is done.
    pub is_finished: bool,
    /// What the training is to be.
    pub config: Config,
    /// Digest of the manifest of the data that is trained on.
    pub data: String,
    /// The devices that trained, each with the number of steps done before it came.
    pub devices: Vec<(usize, String)>,
}

impl Standing {
    /// Before the first step.
    pub fn first(config: &Config, images: &Images) -> Self {
        Self {
            step: 0,
            epoch: 0,
            step_in_epoch: 0,
            sums: [0.0; 6],
            skipped: 0,
            rows: Vec::new(),
            best_epoch: 0,
            is_finished: false,
            config: config.clone(),
            data: images.manifest.digest(),
            devices: Vec::new(),
        }
    }
}

impl RunFolder {
    /// The folder at a path, made if it is missing, for this process to write: what a killed one has left half-written is
    /// removed.
    ///
    /// # Errors
    /// It cannot be made, or another process writes it.
    pub fn create(path: &Path, files: Files) -> Result<Self> {
        let checkpoints = path.join("checkpoint");
        files.make_folder(&checkpoints)?;
        let lock = files.lock(&checkpoints.join("lock"))?.ok_or_else(|| {
            Error::input(format!(
                "another process trains in {}; wait until it ends, or stop it",
                path.display()
            ))
        })?;
        files.sweep(path)?;
        files.sweep(&checkpoints)?;
        Ok(Self {
            path: path.to_path_buf(),
            files,
            _lock: Some(Arc::new(lock)),
        })
    }

    /// An existing run, to be read.
    ///
    /// # Errors
    /// There is no run at this path.
    pub fn open(path: &Path) -> Result<Self> {
        let folder = Self {
            path: path.to_path_buf(),
            files: Files::default(),
            _lock: None,
        };
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
        &self.path
    }

    /// What to say to someone who wants to start a run here, where one is.
    pub fn taken(&self) -> Error {
        let advice = "continue it with --resume, or train in a new folder";
        Error::input(format!(
            "{} holds a run already; {advice}",
            self.path.display()
        ))
    }

    fn config_path(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    fn manifest_path(&self) -> PathBuf {
        self.path.join("data.csv")
    }

    /// Where the weights of the best epoch are.
    pub fn best_path(&self) -> PathBuf {
        self.path.join("checkpoint/best.safetensors")
    }

    /// Where it is kept what training images look like.
    pub fn familiarity_path(&self) -> PathBuf {
        self.path.join("checkpoint/familiarity.safetensors")
    }

    /// Where the report is.
    pub fn report_path(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// The file layer that writes this folder.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The checkpoints.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.files.clone(), self.path.join("checkpoint"))
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub fn config(&self) -> Result<Config> {
        let path = self.config_path();
        let text = String::from_utf8(self.files.read(&path)?)
            .map_err(|e| Error::input(format!("{}: {e}", path.display())))?;
        Config::read(&text, &Preset::Paper.config()).map_err(|e| e.within(path.display()))
    }

    /// Writes what a training is to be: `config.toml` and `data.csv`, where they are not so yet.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn state_purpose(&self, config: &Config, images: &Images) -> Result<()> {
        self.files
            .restore(&self.config_path(), config.to_toml()?.as_bytes())?;
        let manifest = images.manifest.text().as_bytes();
        self.files.restore(&self.manifest_path(), manifest)
    }

    /// That configuration and data are those of the standing.
    ///
    /// # Errors
    /// One sentence that says what changed.
    pub fn expect_unchanged(
        &self,
        standing: &Standing,
        config: &Config,
        images: &Images,
    ) -> Result<()> {
        config.expect_unchanged(&standing.config)?;
        if images.manifest.digest() == standing.data {
            return Ok(());
        }
        let was = self.files.read(&self.manifest_path()).unwrap_or_default();
        Err(Error::input(format!(
            "the data is not what this run was trained on: {}; bring it back, or train in a new folder",
            images.manifest.changes_since(&was, &standing.data)
        )))
    }

    /// Those of the images that were in a part when the run was trained; of tables that have a split of their own, what
    /// they say.
    ///
    /// # Errors
    /// There are none, as with images that the run was not trained on: only the run knows how it split them.
    pub fn items(&self, images: &Images, part: Part) -> Result<Vec<usize>> {
        if part == Part::All || (part == Part::Test && images.are_split()) {
            return require(images, part);
        }
        let was = self.files.read(&self.manifest_path())?;
        let was = String::from_utf8_lossy(&was);
        let parts = images.manifest.parts_in(&was);
        let items: Vec<usize> = (0..parts.len())
            .filter(|&i| parts[i] == part.name())
            .collect();
        if items.is_empty() {
            return Err(Error::input(format!(
                "none of the images in {} was in the {} part when this run was trained; to score images that it has \
                 never seen, use --split all",
                images.folder.display(),
                part.name()
            )));
        }
        Ok(items)
    }

    /// Writes what follows from a standing, where it is not so yet: `metrics.csv`, and the weights of the best epoch with
    /// all that is needed to use them elsewhere.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn publish(
        &self,
        standing: &Standing,
        best: Option<&Weights>,
        images: &Images,
    ) -> Result<()> {
        if let Some(best) = best {
            let mut best = best.clone();
            let classes: Vec<&str> = CLASSES.iter().map(|(name, _, _)| *name).collect();
            let counts = images.class_counts(Part::Train);
            best.metadata = [
                ("system".to_string(), "ife".into()),
                ("epoch".to_string(), standing.best_epoch.into()),
                (
                    "labels".to_string(),
                    serde_json::json!({ "class": classes, "heavy": HEAVY_NAMES, "light": LIGHT_NAMES }),
                ),
                (TRAINING_COUNTS.to_string(), counts.as_slice().into()),
            ]
            .into_iter()
            .chain(what_weights_depend_on(&standing.config))
            .collect();
            self.files.restore(&self.best_path(), &best.to_bytes()?)?;
        }
        self.files
            .restore(&self.path.join("metrics.csv"), &as_csv(&standing.rows)?)
    }

    /// The weights of the best epoch. Their metadata has the entry [`TRAINING_COUNTS`], the images of each class that they
    /// were trained on.
    ///
    /// # Errors
    /// They are missing or damaged.
    pub fn load_best(&self) -> Result<Weights> {
        let path = self.best_path();
        if !path.is_file() {
            let advice =
                "let the training reach the end of its first epoch (`axenic train … --resume`)";
            return Err(Error::input(format!(
                "{} has no trained weights yet; {advice}",
                self.path.display()
            )));
        }
        Weights::load_own(&path)
    }
}

/// The entries of the metadata without which the weights mean nothing.
fn what_weights_depend_on(config: &Config) -> [(String, serde_json::Value); 2] {
    let size = config.model.size;
    [
        (
            "preprocessing".to_string(),
            serde_json::json!({ "size": [size, size], "mean": NORMALISATION.mean, "std": NORMALISATION.std }),
        ),
        (
            "model".to_string(),
            serde_json::to_value(&config.model).unwrap_or_default(),
        ),
    ]
}

/// That weights were trained for the network and the preprocessing of a configuration. Their shapes alone do not tell.
///
/// # Errors
/// One sentence that lists every difference.
pub fn expect_trained_for(config: &Config, weights: &Weights) -> Result<()> {
    let mut differences = Vec::new();
    for (entry, expected) in what_weights_depend_on(config) {
        let stated = weights.metadata.get(&entry);
        for (name, expected) in expected.as_object().into_iter().flatten() {
            match stated.and_then(|stated| stated.get(name)) {
                Some(own) if own == expected => {}
                Some(own) => differences.push(format!("{entry}.{name} is {own}, not {expected}")),
                None => differences.push(format!("{entry}.{name} is not stated")),
            }
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::checkpoint(format!(
        "the weights were not trained with this configuration: {}; bring its config.toml back",
        differences.join(", ")
    )))
}

/// The rows below their head, which is there even if no row is.
fn as_csv(rows: &[EpochRow]) -> Result<Vec<u8>> {
    let table = |rows: &[EpochRow]| {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let failed = |e: String| Error::input(format!("metrics.csv: {e}"));
        rows.iter()
            .try_for_each(|row| writer.serialize(row))
            .map_err(|e| failed(e.to_string()))?;
        writer.into_inner().map_err(|e| failed(e.to_string()))
    };
    if !rows.is_empty() {
        return table(rows);
    }
    let mut head = table(&[EpochRow::default()])?;
    let end = head.iter().position(|&byte| byte == b'\n');
    head.truncate(end.map_or(0, |end| end + 1));
    Ok(head)
}
