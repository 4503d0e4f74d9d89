//! The shards in which features are kept.

use crate::array::{Array, Numbers, Spec};
use crate::error::{Error, Result};
use crate::train::{Files, Lock, Progress, Weights};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// The metadata entries of a shard.
const RECIPE: &str = "recipe";
const IMAGES: &str = "images";
/// The tensor of a shard.
pub(super) const FEATURES: &str = "features";

/// SHA-256 of a file's bytes, in hexadecimal digits.
pub(super) type FileDigest = String;

/// A folder of shards.
#[derive(Debug)]
pub(super) struct Shards {
    pub(super) files: Files,
    pub(super) folder: PathBuf,
    pub(super) recipe: serde_json::Value,
    /// One image's features [1, …].
    pub(super) row: Spec,
    /// The files whose features each shard holds, by the shard's number.
    pub(super) held: BTreeMap<usize, Vec<FileDigest>>,
}

impl Shards {
    pub(super) fn path(&self, number: usize) -> PathBuf {
        self.folder
            .join(format!("features-{number:08}.safetensors"))
    }

    pub(super) fn lock(&self) -> Result<Lock> {
        self.files.make_folder(&self.folder)?;
        let path = self.folder.join("lock");
        self.files.lock(&path)?.ok_or_else(|| {
            Error::input(format!(
                "another process fills the feature cache {}; wait for it to end",
                self.folder.display()
            ))
        })
    }

    /// Finds out what the shards hold. A damaged one is removed: its images' features are then missing.
    pub(super) fn look_through(&mut self, progress: &mut dyn Progress) -> Result<()> {
        self.files.sweep(&self.folder)?;
        for path in self.files.list(&self.folder)? {
            let Some(number) = number_of(&path) else {
                continue;
            };
            match self.parse(&self.files.read(&path)?) {
                Ok((images, _)) => {
                    self.held.insert(number, images);
                }
                Err(e) => {
                    let path = path.display();
                    progress.note(&format!("{path}: {e}; these features are computed again"));
                    self.files.remove(&self.path(number))?;
                }
            }
        }
        Ok(())
    }

    /// The images and features of a shard.
    pub(super) fn parse(&self, bytes: &[u8]) -> Result<(Vec<FileDigest>, Array)> {
        let mut shard = Weights::parse_own(bytes)?;
        if shard.metadata.get(RECIPE) != Some(&self.recipe) {
            return Err(Error::checkpoint("it was made by another recipe"));
        }
        let images: Vec<FileDigest> = shard.entry(IMAGES)?;
        let features = shard.tensors.remove(FEATURES);
        match features.filter(|array| array.spec() == self.spec(images.len())) {
            Some(features) => Ok((images, features)),
            None => Err(Error::checkpoint("its features have another shape")),
        }
    }

    pub(super) fn spec(&self, images: usize) -> Spec {
        Spec {
            shape: self.row.shape.with(0, images),
            ..self.row
        }
    }

    /// Writes a shard under the lowest number that is free.
    pub(super) fn write(&mut self, images: Vec<FileDigest>, rows: Vec<Array>) -> Result<()> {
        let number = (0..)
            .find(|number| !self.held.contains_key(number))
            .unwrap_or(0);
        let features = joined(self.spec(images.len()), &rows)?;
        let mut shard = Weights::default();
        shard.tensors.insert(FEATURES.into(), features);
        shard.metadata.insert(RECIPE.into(), self.recipe.clone());
        shard.metadata.insert(IMAGES.into(), images.clone().into());
        self.files.write(&self.path(number), &shard.to_bytes()?)?;
        self.held.insert(number, images);
        Ok(())
    }

    pub(super) fn digests(&self) -> HashSet<FileDigest> {
        self.held.values().flatten().cloned().collect()
    }

    pub(super) fn places(&self) -> impl Iterator<Item = (&FileDigest, (usize, usize))> {
        self.held.iter().flat_map(|(&number, images)| {
            let rows = images.iter().enumerate();
            rows.map(move |(row, digest)| (digest, (number, row)))
        })
    }
}

/// The number in a shard's name.
fn number_of(path: &Path) -> Option<usize> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("features-")?
        .strip_suffix(".safetensors")?
        .parse()
        .ok()
}

/// One of several rows.
pub(super) fn sliced(spec: Spec, rows: &Array, row: usize) -> Result<Array> {
    let length = spec.shape.elements();
    let range = row * length..(row + 1) * length;
    let short = || Error::shape(format!("there is no row {row} of {spec}"));
    let numbers: Numbers = match rows.numbers() {
        Numbers::F32(all) => all.get(range).ok_or_else(short)?.to_vec().into(),
        Numbers::F64(all) => all.get(range).ok_or_else(short)?.to_vec().into(),
        Numbers::U32(all) => all.get(range).ok_or_else(short)?.to_vec().into(),
    };
    Array::new(spec.shape, numbers)
}

/// Rows one behind the other; of the type that the executor gave them.
pub(super) fn joined(spec: Spec, rows: &[Array]) -> Result<Array> {
    let is_wide = |row: &Array| matches!(row.numbers(), Numbers::F64(_));
    let numbers: Numbers = if rows.iter().any(is_wide) {
        rows.iter()
            .flat_map(|row| row.to_f64().into_owned())
            .collect::<Vec<f64>>()
            .into()
    } else {
        rows.iter()
            .flat_map(|row| row.to_f32().into_owned())
            .collect::<Vec<f32>>()
            .into()
    };
    Array::new(spec.shape, numbers)
}
