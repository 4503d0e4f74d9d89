//! The data examined before anything is trained on it: every table, every image, and the set as a whole.
//!
//! Each image is read once, hashed, decoded and, as far as memory allows, kept resized, so that a training that follows
//! need not decode it again. The survey finds problems and does not judge them: [`Survey::images`] does.

use super::config::Config;
use super::images::{Images, Kept, are_affordable, planes_of};
use crate::data::decode::{Conversion, MAX_FILE_BYTES, decode_bytes};
use crate::data::file::read_whole;
use crate::data::gel_table::{CLASSES, GelTable, Kind, Problem, Record, Side, digest};
use crate::data::loader::{Loader, Options};
use crate::data::resize::Planes;
use crate::error::{Error, Result};
use crate::train::Progress;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// What the data are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be trained on, in batches of so many images if that is known.
    Training {
        /// Images in a batch.
        batch: Option<usize>,
    },
    /// To be read by a network that was trained before: every image counts for itself.
    Scoring,
}

/// What becomes of data with problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// They are refused.
    Refused,
    /// What is concerned is left out, if the rest can do without.
    Skipped,
}

/// What was found in a data folder.
pub struct Survey {
    folder: PathBuf,
    /// Everything that is wrong, in the order of files and lines.
    pub problems: Vec<Problem>,
    /// The images without problems, with their digests and pictures.
    good: Vec<(Record, Examined)>,
    /// The names of the other images that the tables list rightly.
    without: Vec<String>,
}

/// What examining an image file gives.
struct Examined {
    sha256: [u8; 32],
    conversions: Vec<Conversion>,
    /// The resized picture, where memory allows.
    planes: Option<Planes>,
}

/// Images that a worker examines before the progress is told.
const STRIDE: usize = 16;

impl Survey {
    /// Examines a data folder.
    ///
    /// # Errors
    /// The system refuses threads. What is wrong with the data is no error but a result.
    pub fn take(
        folder: &Path,
        config: &Config,
        purpose: Purpose,
        threads: usize,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        let GelTable {
            records,
            mut problems,
        } = GelTable::read(folder);
        let unlabelled = match purpose {
            // Where no image is labelled, it is the table that is at fault.
            Purpose::Training { .. } if !records.is_empty() => unlabelled(folder, &records),
            _ => Vec::new(),
        };
        let mut without: BTreeSet<String> = records.iter().map(|r| r.name.clone()).collect();
        let examined = examine(&records, config.model.size, threads, progress)?;
        let mut good = Vec::new();
        for (record, examined) in records.into_iter().zip(examined) {
            match examined {
                Ok(examined) => good.push((record, examined)),
                Err(e) => {
                    problems.push(record.problem(Kind::DamagedImage, format!("is unusable: {e}")))
                }
            }
        }
        let same = same_bytes(&good);
        remove(&mut good, same, &mut problems);
        if let Purpose::Training { batch } = purpose {
            let single = single_samples(&good);
            remove(&mut good, single, &mut problems);
            problems.extend(batch.and_then(|batch| large_batch(folder, good.len(), batch)));
        }
        for (record, _) in &good {
            without.remove(&record.name);
        }
        problems.extend(unlabelled);
        problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        Ok(Self {
            folder: folder.to_path_buf(),
            problems,
            good,
            without: without.into_iter().collect(),
        })
    }

    /// How many images are without problems.
    pub fn count(&self) -> usize {
        self.good.len()
    }

    /// How many of them each class has.
    pub fn class_counts(&self) -> [u64; CLASSES.len()] {
        let mut counts = [0; CLASSES.len()];
        for (record, _) in &self.good {
            counts[record.class] += 1;
        }
        counts
    }

    /// How many of them were converted, and how.
    pub fn conversions(&self) -> BTreeMap<Conversion, usize> {
        let mut counts = BTreeMap::new();
        let all = self.good.iter().flat_map(|(_, e)| &e.conversions);
        all.for_each(|&conversion| *counts.entry(conversion).or_default() += 1);
        counts
    }

    /// The images to use, split as the configuration says.
    ///
    /// # Errors
    /// There are problems, and they are not to be skipped or cannot be: the first that stands in the way, and how many.
    pub fn images(self, config: &Config, bad: Bad) -> Result<Images> {
        let stands_in_the_way = |problem: &&Problem| match bad {
            Bad::Refused => true,
            Bad::Skipped => !problem.kind.can_be_left_out(),
        };
        let mut standing = self.problems.iter().filter(stands_in_the_way);
        if let Some(first) = standing.next() {
            return Err(Error::input(match standing.count() {
                0 => first.to_string(),
                more => format!("{first} (the first of {} problems)", more + 1),
            }));
        }
        if self.good.is_empty() {
            let folder = self.folder.display();
            return Err(Error::input(format!(
                "{folder}: no image is left to be used"
            )));
        }
        let conversions = self.conversions();
        let digest = digest(self.good.iter().map(|(record, e)| (record, e.sha256)));
        let fingerprints = self.good.iter().map(|(_, e)| e.sha256).collect();
        let kept = self.good.into_iter().map(|(record, e)| (record, e.planes));
        Images::new(
            Kept {
                folder: self.folder,
                images: kept.collect(),
                fingerprints,
                digest,
                conversions,
                left_out: self.problems,
                without: self.without,
            },
            config,
        )
    }
}

/// Reads, hashes and decodes every image, on all workers.
fn examine(
    records: &[Record],
    size: usize,
    threads: usize,
    progress: &mut dyn Progress,
) -> Result<Vec<Result<Examined>>> {
    let paths: Vec<PathBuf> = records.iter().map(|record| record.path.clone()).collect();
    let are_kept = are_affordable(records.len(), size);
    let load = move |item: usize, _epoch: u64, _position: usize| -> Result<Result<Examined>> {
        Ok(examine_one(&paths[item], size, are_kept))
    };
    let order: Vec<usize> = (0..records.len()).collect();
    let batches: Vec<Vec<usize>> = order.chunks(STRIDE).map(<[usize]>::to_vec).collect();
    progress.begin("checking the images", "images", records.len() as u64);
    let mut examined = Vec::with_capacity(records.len());
    for batch in Loader::new(&batches, 0, Options { threads, ahead: 2 }, load)? {
        examined.extend(batch?);
        progress.advance(STRIDE as u64);
    }
    progress.end();
    Ok(examined)
}

fn examine_one(path: &Path, size: usize, is_kept: bool) -> Result<Examined> {
    let bytes = read_whole(path, MAX_FILE_BYTES)?;
    let decoded = decode_bytes(&bytes)?;
    let planes = is_kept.then(|| planes_of(&decoded.image, size));
    Ok(Examined {
        sha256: Sha256::digest(&bytes).into(),
        conversions: decoded.conversions,
        planes: planes.transpose()?,
    })
}

/// A problem for some of the good images, by their positions.
type Found = BTreeMap<usize, Problem>;

/// Takes out the images concerned, and keeps what is said of them.
fn remove(good: &mut Vec<(Record, Examined)>, found: Found, problems: &mut Vec<Problem>) {
    let mut position = 0;
    good.retain(|_| {
        position += 1;
        !found.contains_key(&(position - 1))
    });
    problems.extend(found.into_values());
}

/// Images with the same bytes as another. Of two with different labels neither can be trusted; of one in the training
/// and one in the test table the test's stays, so that the test is as it was meant; else the first stays.
fn same_bytes(good: &[(Record, Examined)]) -> Found {
    let mut first: HashMap<[u8; 32], usize> = HashMap::new();
    let mut found = Found::new();
    for (i, (record, examined)) in good.iter().enumerate() {
        let &mut kept = first.entry(examined.sha256).or_insert(i);
        if kept == i {
            continue;
        }
        let other = &good[kept].0;
        let place = other.place();
        let mut report = |at: usize, of: &Record, what: String| {
            found.insert(at, of.problem(Kind::SameBytes, what));
        };
        if record.class != other.class {
            let what = |label: usize, place: &str| {
                format!("has the same bytes as the image of {place}, which has label {label}")
            };
            report(i, record, what(other.class, &place));
            report(kept, other, what(record.class, &record.place()));
        } else if (other.side, record.side) == (Side::Train, Side::Test) {
            let here = record.place();
            let what = format!("has the same bytes as the test image of {here}");
            report(kept, other, what);
            first.insert(examined.sha256, i);
        } else {
            let whose = match (record.side, other.side) {
                (Side::Train, Side::Test) => "the test image",
                _ => "the image",
            };
            report(
                i,
                record,
                format!("has the same bytes as {whose} of {place}"),
            );
        }
    }
    found
}

/// Images that are alone in their class, so that training and choosing cannot both have one.
fn single_samples(good: &[(Record, Examined)]) -> Found {
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, (record, _)) in good.iter().enumerate() {
        if record.side != Side::Test {
            members.entry(record.class).or_default().push(i);
        }
    }
    let alone = members.into_iter().filter_map(|(class, members)| {
        let &[i] = members.as_slice() else {
            return None;
        };
        let name = CLASSES[class].0;
        let what = format!("is the only one of class {class} ({name}) to train and to choose on");
        Some((i, good[i].0.problem(Kind::SingleSample, what)))
    });
    alone.collect()
}

/// A batch that all images together do not fill.
fn large_batch(folder: &Path, count: usize, batch: usize) -> Option<Problem> {
    (0 < count && count < batch).then(|| {
        let what = format!(
            "a batch of {batch} is larger than the data set, {count} images; choose a smaller one with --set batch=…"
        );
        Problem::new(Kind::LargeBatch, folder, None, what)
    })
}

/// Image files in the folder that no line of the tables names, without those that are hidden.
fn unlabelled(folder: &Path, records: &[Record]) -> Vec<Problem> {
    let named: BTreeSet<&Path> = records.iter().map(|record| record.path.as_path()).collect();
    let mut folders = vec![folder.to_path_buf()];
    let mut problems = Vec::new();
    while let Some(folder) = folders.pop() {
        // A folder that cannot be listed holds no labelled image, or that one is missing and was reported.
        for entry in folder.read_dir().into_iter().flatten().flatten() {
            let path = entry.path();
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !is_hidden => folders.push(path),
                Ok(kind)
                    if kind.is_file()
                        && !is_hidden
                        && is_image(&path)
                        && !named.contains(path.as_path()) =>
                {
                    let what = "the image is in no table";
                    problems.push(Problem::new(Kind::UnlabelledImage, &path, None, what));
                }
                _ => {}
            }
        }
    }
    problems
}

fn is_image(path: &Path) -> bool {
    const ENDINGS: [&str; 7] = ["jpg", "jpeg", "png", "bmp", "tif", "tiff", "webp"];
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ENDINGS.iter().any(|own| own.eq_ignore_ascii_case(ending)))
}
