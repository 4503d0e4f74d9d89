//! The images of a data folder, split, and made into batches by worker threads ahead of the step.

use super::config::Config;
use super::manifest::Manifest;
use super::survey::{Bad, Purpose, Survey};
use crate::array::Array;
use crate::data::augment::Augment;
use crate::data::decode::Conversion;
use crate::data::gel_table::{CLASSES, Problem, Record, Side};
use crate::data::loader::{Loader, Options};
use crate::data::resize::{Normalisation, Planes, resize};
use crate::data::sampler::batches;
use crate::data::{Image, decode, split};
use crate::error::{Error, Result};
use crate::train::Silent;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
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
    /// The folder.
    pub folder: PathBuf,
    records: Arc<Vec<Record>>,
    parts: Parts,
    /// SHA-256 over all images' names, labels and bytes, whatever their order.
    pub digest: String,
    /// What is trained on, file by file and in order.
    pub manifest: Manifest,
    /// How many images were converted, and how.
    pub conversions: BTreeMap<Conversion, usize>,
    /// What is wrong with the folder, and was left out.
    pub left_out: Vec<Problem>,
    /// The names of the labelled images that were left out.
    pub without: Vec<String>,
    size: usize,
    cache: Arc<Vec<OnceLock<Planes>>>,
}

/// What a survey keeps of a folder.
pub(super) struct Kept {
    pub(super) folder: PathBuf,
    pub(super) images: Vec<(Record, Option<Planes>)>,
    pub(super) fingerprints: Vec<[u8; 32]>,
    pub(super) digest: String,
    pub(super) conversions: BTreeMap<Conversion, usize>,
    pub(super) left_out: Vec<Problem>,
    pub(super) without: Vec<String>,
}

/// Positions of the records of each part.
struct Parts {
    train: Vec<usize>,
    validation: Vec<usize>,
    test: Vec<usize>,
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
    /// Examines a folder that is to be trained on, and splits it as the configuration says.
    ///
    /// # Errors
    /// The folder has problems; the first and their count.
    pub fn open(folder: &Path, config: &Config) -> Result<Self> {
        let purpose = Purpose::Training { batch: None };
        Survey::take(folder, config, purpose, 0, &mut Silent)?.images(config, Bad::Refused)
    }

    /// The images that a survey keeps.
    pub(super) fn new(kept: Kept, config: &Config) -> Result<Self> {
        let size = config.model.size;
        let is_affordable = are_affordable(kept.images.len(), size);
        let (records, planes): (Vec<Record>, Vec<Option<Planes>>) = kept.images.into_iter().unzip();
        let cell = |planes: Option<Planes>| planes.map_or_else(OnceLock::new, OnceLock::from);
        let cache = match is_affordable {
            true => planes.into_iter().map(cell).collect(),
            false => Vec::new(),
        };
        let parts = parts(&records.iter().collect::<Vec<_>>(), config)?;
        let Parts {
            train,
            validation,
            test,
        } = &parts;
        let by_part = [
            (train, Part::Train),
            (validation, Part::Validation),
            (test, Part::Test),
        ];
        Ok(Self {
            folder: kept.folder,
            manifest: Manifest::new(&records, &kept.fingerprints, by_part),
            parts,
            records: Arc::new(records),
            digest: kept.digest,
            conversions: kept.conversions,
            left_out: kept.left_out,
            without: kept.without,
            size,
            cache: Arc::new(cache),
        })
    }

    /// Whether the label tables say which images are the test's.
    pub fn are_split(&self) -> bool {
        self.records.iter().any(|record| record.side == Side::Test)
    }

    /// The records of a part, by position.
    pub fn part(&self, part: Part) -> Vec<usize> {
        match part {
            Part::Train => self.parts.train.clone(),
            Part::Validation => self.parts.validation.clone(),
            Part::Test => self.parts.test.clone(),
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

    /// How many images were converted, and how, in words.
    pub fn converted(&self) -> String {
        let counts = self.conversions.iter();
        let listed: Vec<String> = counts.map(|(what, n)| format!("{n}: {what}")).collect();
        match listed.as_slice() {
            [] => "none".to_string(),
            listed => listed.join("; "),
        }
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

/// Splits records as the configuration says: a test part unless the tables have their own, then a validation part of what
/// is left, both stratified.
fn parts(records: &[&Record], config: &Config) -> Result<Parts> {
    let seed = config.train.seed;
    let of = |side: Side| (0..records.len()).filter(move |&i| records[i].side == side);
    let share = config.train.test_share;
    let (mut kept, mut test) = held_out(records, of(Side::Either).collect(), share, seed, "test")?;
    kept.extend(of(Side::Train));
    test.extend(of(Side::Test));
    let share = config.train.validation_share;
    let (train, validation) = held_out(records, kept, share, seed, "validation")?;
    Ok(Parts {
        train,
        validation,
        test,
    })
}

/// Whether so many resized images may be kept in memory.
pub(super) fn are_affordable(count: usize, size: usize) -> bool {
    count * 3 * size * size * size_of::<f32>() <= CACHE_BYTES
}

fn held_out(
    records: &[&Record],
    of: Vec<usize>,
    share: f64,
    seed: u64,
    purpose: &str,
) -> Result<(Vec<usize>, Vec<usize>)> {
    let ids: Vec<&str> = of.iter().map(|&item| records[item].name.as_str()).collect();
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
    planes_of(&decode::decode(path)?.image, size)
}

/// A picture, resized whole to `size` × `size`.
pub(super) fn planes_of(image: &Image, size: usize) -> Result<Planes> {
    resize(image, size, size)
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
        let advice = "it needs more images, or a larger share of them";
        return Err(Error::input(format!(
            "the {} part of the data has no images; {advice}",
            part.name()
        )));
    }
    Ok(items)
}
