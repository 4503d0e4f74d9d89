//! The images of a data folder, split, and made into batches by worker threads ahead of the step.

use super::config::Config;
use super::manifest::Manifest;
use crate::array::Array;
use crate::data::augment::Augment;
use crate::data::gel_table::{CLASSES, GelTable, Record};
use crate::data::loader::{Loader, Options};
use crate::data::resize::{Normalisation, Planes, resize};
use crate::data::sampler::batches;
use crate::data::{decode, split};
use crate::error::{Error, Result};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Mean and standard deviation of the method: 0.5 in every channel.
pub const NORMALISATION: Normalisation = Normalisation {
    mean: [0.5; 3],
    std: [0.5; 3],
};

/// Memory that resized images may be kept in, so that an epoch need not decode them again.
const CACHE_BYTES: usize = 1 << 30;

/// A part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What is learnt from.
    Train,
    /// What the epoch is chosen on.
    Validation,
    /// What is reported.
    Test,
    /// Everything, for a folder that was never split.
    All,
}

impl Part {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Validation => "validation",
            Part::Test => "test",
            Part::All => "all",
        }
    }
}

/// The labelled images of a folder.
pub struct Images {
    records: Arc<Vec<Record>>,
    train: Vec<usize>,
    validation: Vec<usize>,
    test: Vec<usize>,
    /// SHA-256 of the files and labels, whatever their order.
    pub digest: String,
    /// What is trained on, file by file and in order.
    pub manifest: Manifest,
    size: usize,
    cache: Arc<Vec<OnceLock<Planes>>>,
}

/// One step's images and labels.
pub struct Batch {
    /// [N, 3, H, W], normalised.
    pub x: Array,
    /// Heavy labels `[N]`.
    pub heavy: Array,
    /// Light labels `[N]`.
    pub light: Array,
    /// Which records they are.
    pub items: Vec<usize>,
}

impl Images {
    /// Reads a folder's tables, and splits it as the configuration says: a test part unless the folder has its own, then
    /// a validation part of what is left, both stratified.
    ///
    /// # Errors
    /// The folder has problems; the first and their count.
    pub fn open(folder: &Path, config: &Config) -> Result<Self> {
        let table = GelTable::read(folder)?;
        let fingerprints = table.fingerprints()?;
        let seed = config.train.seed;
        let (kept, test) = match &table.split {
            Some(given) => (given.train.clone().collect(), given.test.clone().collect()),
            None => held_out(
                &table.records,
                (0..table.records.len()).collect(),
                config.train.test_share,
                seed,
                "test",
            )?,
        };
        let (train, validation) = held_out(
            &table.records,
            kept,
            config.train.validation_share,
            seed,
            "validation",
        )?;
        let size = config.model.size;
        let manifest = Manifest::new(
            &table.records,
            &fingerprints,
            [
                (&train, Part::Train),
                (&validation, Part::Validation),
                (&test, Part::Test),
            ],
        );
        let affordable = table.records.len() * 3 * size * size * size_of::<f32>() <= CACHE_BYTES;
        let cached = if affordable { table.records.len() } else { 0 };
        let cache = Arc::new((0..cached).map(|_| OnceLock::new()).collect());
        Ok(Self {
            digest: table.digest(&fingerprints),
            manifest,
            records: Arc::new(table.records),
            train,
            validation,
            test,
            size,
            cache,
        })
    }

    /// The records of a part, by position.
    pub fn part(&self, part: Part) -> Vec<usize> {
        match part {
            Part::Train => self.train.clone(),
            Part::Validation => self.validation.clone(),
            Part::Test => self.test.clone(),
            Part::All => (0..self.records.len()).collect(),
        }
    }

    /// A record.
    pub fn record(&self, item: usize) -> &Record {
        &self.records[item]
    }

    /// How many images of each class a part has.
    pub fn class_counts(&self, part: Part) -> [u64; CLASSES.len()] {
        let mut counts = [0; CLASSES.len()];
        self.part(part)
            .into_iter()
            .for_each(|item| counts[self.records[item].class] += 1);
        counts
    }

    /// The batches of an order of records, in order, with augmentation if any. The last one may be shorter.
    ///
    /// # Errors
    /// The system refuses threads; an image that cannot be read is the error of its batch.
    pub fn batches(
        &self,
        order: &[usize],
        batch: usize,
        augmented: Option<(Augment, u64)>,
        epoch: u64,
        threads: usize,
    ) -> Result<impl Iterator<Item = Result<Batch>> + use<>> {
        let order = batches(order, batch);
        let (records, cache, size) = (self.records.clone(), self.cache.clone(), self.size);
        let load = move |item: usize, epoch: u64, _position: usize| -> Result<(usize, Vec<f32>)> {
            let mut planes = cached_picture(&records[item].path, size, cache.get(item))?;
            if let Some((augment, seed)) = &augmented {
                augment.apply(&mut planes, *seed, epoch, item as u64);
            }
            Ok((item, planes.normalised(&NORMALISATION)))
        };
        let loader = Loader::new(&order, epoch, Options { threads, ahead: 2 }, load)?;
        let records = self.records.clone();
        Ok(loader.map(move |loaded| assemble(&records, loaded?, size)))
    }
}

fn held_out(
    records: &[Record],
    of: Vec<usize>,
    share: f64,
    seed: u64,
    purpose: &str,
) -> Result<(Vec<usize>, Vec<usize>)> {
    let ids: Vec<&str> = of.iter().map(|&item| records[item].id.as_str()).collect();
    let classes: Vec<usize> = of.iter().map(|&item| records[item].class).collect();
    let split = split::stratified(&ids, &classes, share, seed, purpose)?;
    let pick = |positions: Vec<usize>| positions.into_iter().map(|position| of[position]).collect();
    Ok((pick(split.kept), pick(split.held_out)))
}

fn cached_picture(path: &Path, size: usize, cache: Option<&OnceLock<Planes>>) -> Result<Planes> {
    if let Some(planes) = cache.and_then(OnceLock::get) {
        return Ok(planes.clone());
    }
    let planes = picture(path, size)?;
    if let Some(cell) = cache {
        // Two workers may decode the same image at the same time; they find the same.
        cell.set(planes.clone()).ok();
    }
    Ok(planes)
}

/// An image file, resized whole to `size` × `size`.
///
/// # Errors
/// It is not an image, or damaged, or too large.
pub fn picture(path: &Path, size: usize) -> Result<Planes> {
    resize(&decode::decode(path)?.image, size, size)
}

/// Pieces of normalised images [3, H, W], one after the other, as one array [N, 3, H, W].
///
/// # Errors
/// They do not make up `count` images.
pub fn stack(pieces: &[&[f32]], size: usize, count: usize) -> Result<Array> {
    Array::new([count, 3, size, size], pieces.concat())
}

fn assemble(records: &[Record], loaded: Vec<(usize, Vec<f32>)>, size: usize) -> Result<Batch> {
    let items: Vec<usize> = loaded.iter().map(|(item, _)| *item).collect();
    let images: Vec<&[f32]> = loaded.iter().map(|(_, values)| values.as_slice()).collect();
    let labels = |label: fn(&Record) -> usize| {
        let values: Vec<u32> = items
            .iter()
            .map(|&item| label(&records[item]) as u32)
            .collect();
        Array::new([items.len()], values)
    };
    Ok(Batch {
        x: stack(&images, size, items.len())?,
        heavy: labels(|record| record.heavy)?,
        light: labels(|record| record.light)?,
        items,
    })
}

/// That a part has images at all.
///
/// # Errors
/// It has none; the sentence says what to do.
pub fn require(images: &Images, part: Part) -> Result<Vec<usize>> {
    let items = images.part(part);
    if items.is_empty() {
        let advice = "use --split all, or a folder with more images";
        return Err(Error::input(format!(
            "the {} part of the data has no images; {advice}",
            part.name()
        )));
    }
    Ok(items)
}
