//! The features of a frozen backbone, kept on disk: training a head then costs one pass of the backbone over the images,
//! whatever the number of epochs and of trainings.
//!
//! ```text
//! folder/5f2a…/lock                              locked while a pass looks through the shards and writes new ones
//! folder/5f2a…/features-00000000.safetensors     so many images' features, with the digests of their files
//! folder/5f2a…/features-00000001.safetensors     …
//! ```
//!
//! The inner folder's name is the digest of the *recipe*: everything that decides the features of an image file but the
//! file itself. That is the backbone's graph (architecture, configuration, image size, batch) and weights, how
//! files become numbers, the device, the version of this program, and the features of a batch of noise, computed now:
//! another processor, driver or build that gives other bits gives other ones there. Within it an image is known by the
//! digest of its file's bytes, which are read at every pass. So a feature is found only where it is the one that would be
//! computed now; a new or changed image costs one image, and a pass that finds everything the batch of noise.
//!
//! A shard is written whole or not at all, and carries a digest over its content: a pass that was interrupted goes on behind
//! its last shard, and a damaged shard is computed again, said aloud. Equal passes leave equal bytes, interrupted or not.

mod shards;

use self::shards::{FEATURES, FileDigest, Shards, joined, sliced};
use super::weights::hex;
use super::{Files, Progress, Runner, Weights};
use crate::array::{Array, Spec};
use crate::data::loader::{Loader, Options};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::models::Model;
use crate::nn::Mode;
use crate::rng::Stream;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// The output of a backbone's graph where no other is wanted.
const EMBEDDING: &str = "embedding";
/// A shard holds about so many images,
const SHARD_IMAGES: usize = 256;
/// and about so many bytes at most.
const SHARD_BYTES: usize = 64 << 20;
/// How many bytes of shards stay in memory while features are read.
const RECENT_BYTES: usize = 256 << 20;

/// What makes the features.
#[derive(Clone, Copy, Debug)]
pub struct Backbone<'m> {
    /// The network.
    pub model: &'m dyn Model,
    /// Its weights; others than the backbone's may be there.
    pub weights: &'m Weights,
    /// Height and width of the images.
    pub size: usize,
    /// The path of a part whose output [N, …] is wanted; `None` for the embedding [N, D].
    pub tap: Option<&'m str>,
    /// How many images go through the network at once.
    pub batch: usize,
}

/// Image files, and how they become numbers.
pub trait ImageFiles: Send + Sync + 'static {
    /// How many there are.
    fn count(&self) -> usize;

    /// The bytes of a file.
    ///
    /// # Errors
    /// It cannot be read.
    fn bytes(&self, item: usize) -> Result<Vec<u8>>;

    /// What the network is given for a file of these bytes [3, H, W].
    ///
    /// # Errors
    /// They are no image.
    fn prepare(&self, bytes: &[u8]) -> Result<Vec<f32>>;

    /// All that decides what [`prepare`](Self::prepare) gives, in words and numbers: the resizing, the crop, mean and
    /// standard deviation. Features made with other words are other features.
    fn preparation(&self) -> String;
}

/// The features of images, in the images' order. Kept on disk; the shards that were read last stay in memory.
#[derive(Debug)]
pub struct CachedFeatures {
    shards: Shards,
    /// Where each image's features are.
    places: Vec<(usize, usize)>,
    computed: usize,
    recent: Vec<(usize, Array)>,
}

/// The features of all images, from the cache in `folder`; those that are not there are computed first, and kept.
///
/// # Errors
/// An image cannot be read; its features are not finite; the weights do not fit; another process fills the same cache; a
/// file cannot be written. An error that [`is_stopped`](Error::is_stopped) if the work was asked to stop. What was written
/// before is used by the next pass.
pub fn cached_features(
    files: &Files,
    folder: &Path,
    backbone: Backbone<'_>,
    runner: &mut Runner,
    images: Arc<dyn ImageFiles>,
    progress: &mut dyn Progress,
) -> Result<CachedFeatures> {
    let graph = backbone.graph()?;
    let weights = backbone.weights.needed_by(&graph);
    weights.check(&graph)?;
    let row = backbone.row(&graph)?;
    let recipe = backbone.recipe(&graph, weights, runner, images.as_ref())?;
    let mut shards = Shards {
        files: files.clone(),
        folder: folder.join(hex(Sha256::new_with_prefix(recipe.to_string()))),
        row,
        recipe,
        held: BTreeMap::new(),
    };
    let _lock = shards.lock()?;
    shards.look_through(progress)?;
    let known = shards.digests();
    let mut pass = Pass {
        backbone,
        runner,
        shards,
        images: Vec::new(),
        digests: Vec::new(),
        rows: Vec::new(),
        computed: 0,
    };
    let order = pass.run(images, known, progress)?;
    Ok(CachedFeatures {
        places: places(&order, &pass.shards)?,
        shards: pass.shards,
        computed: pass.computed,
        recent: Vec::new(),
    })
}

/// Where each file's features are.
///
/// # Errors
/// They are nowhere: then every later file would be given the features of another.
fn places(order: &[FileDigest], shards: &Shards) -> Result<Vec<(usize, usize)>> {
    let place_of: HashMap<&FileDigest, (usize, usize)> = shards.places().collect();
    let place = |digest: &FileDigest| {
        place_of.get(digest).copied().ok_or_else(|| {
            Error::checkpoint(format!(
                "no shard holds the features of the file with the digest {digest}"
            ))
        })
    };
    order.iter().map(place).collect()
}

impl Backbone<'_> {
    fn graph(&self) -> Result<Graph> {
        if self.batch == 0 {
            return Err(Error::input("a batch has at least one image"));
        }
        Graph::record(|r| {
            let x = r.input("x", Spec::real([self.batch, 3, self.size, self.size]))?;
            let features = self.model.features(&r.scope(), x, &Mode::inference())?;
            match self.tap {
                None => r.output(EMBEDDING, features.embedding),
                Some(tap) => r.output_taps(&[tap.to_string()]),
            }
        })
    }

    /// What the graph calls them.
    fn output(&self) -> &str {
        self.tap.unwrap_or(EMBEDDING)
    }

    /// One image's features [1, …].
    fn row(&self, graph: &Graph) -> Result<Spec> {
        let all = graph.spec(graph.output(self.output())?);
        match all.shape.first() == Some(&self.batch) {
            true => Ok(Spec {
                shape: all.shape.with(0, 1),
                ..all
            }),
            false => Err(Error::input(format!(
                "what {:?} gives, {all}, does not belong to single images",
                self.output()
            ))),
        }
    }

    fn recipe(
        &self,
        graph: &Graph,
        weights: Weights,
        runner: &mut Runner,
        images: &dyn ImageFiles,
    ) -> Result<serde_json::Value> {
        let digest = weights.digest();
        let noise = self.of_noise(graph, weights, runner)?;
        Ok(serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "model": self.model.name(),
            "features": self.output(),
            "graph_sha256": graph.digest(),
            "weights_sha256": digest,
            "preparation": images.preparation(),
            "device": runner.device(),
            "noise_sha256": noise,
        }))
    }

    /// Gives the runner the backbone, and a digest of the features that it makes of a batch of noise.
    fn of_noise(&self, graph: &Graph, weights: Weights, runner: &mut Runner) -> Result<String> {
        let prepared = runner.prepare_graph(FEATURES, self.batch, graph)?;
        let prepared = prepared
            .ok_or_else(|| Error::input("the runner holds another backbone; take a new one"))?;
        runner.set_weights(&prepared, weights)?;
        let mut stream = Stream::new(0, "features of noise", 0, 0);
        let count = self.batch * 3 * self.size * self.size;
        let noise = (0..count).map(|_| stream.normal() as f32);
        let noise = self.input(noise.collect())?;
        let values = runner.run(FEATURES, self.batch, &[("x", &noise)])?;
        let mut found = Weights::default();
        let features = values.get(self.output())?.clone();
        found.tensors.insert(FEATURES.into(), features);
        Ok(found.digest())
    }

    fn input(&self, pixels: Vec<f32>) -> Result<Array> {
        Array::new([self.batch, 3, self.size, self.size], pixels)
    }
}

/// One pass over the images.
struct Pass<'a> {
    backbone: Backbone<'a>,
    runner: &'a mut Runner,
    shards: Shards,
    /// Prepared images that wait for a batch to be full.
    images: Vec<f32>,
    /// The files of `rows`, and then of `images`.
    digests: Vec<FileDigest>,
    /// Features that wait for a shard to be full.
    rows: Vec<Array>,
    computed: usize,
}

impl Pass<'_> {
    /// Computes what is missing, and gives the files in the images' order.
    fn run(
        &mut self,
        images: Arc<dyn ImageFiles>,
        known: HashSet<FileDigest>,
        progress: &mut dyn Progress,
    ) -> Result<Vec<FileDigest>> {
        let count = images.count();
        let batches: Vec<Vec<usize>> = (0..count)
            .collect::<Vec<_>>()
            .chunks(self.backbone.batch.max(1))
            .map(<[usize]>::to_vec)
            .collect();
        let mut seen = known.clone();
        let load = move |item: usize, _epoch: u64, _position: usize| {
            let bytes = images.bytes(item)?;
            let digest = hex(Sha256::new_with_prefix(&bytes));
            let is_known = known.contains(&digest);
            let prepared = (!is_known).then(|| images.prepare(&bytes)).transpose()?;
            Ok((digest, prepared))
        };
        progress.begin("features", "images", count as u64);
        let mut order = Vec::with_capacity(count);
        for batch in Loader::new(&batches, 0, Options::default(), load)? {
            for (digest, prepared) in batch? {
                order.push(digest.clone());
                if let Some(prepared) = prepared.filter(|_| seen.insert(digest.clone())) {
                    self.take(digest, prepared)?;
                }
                progress.advance(1);
            }
            if progress.should_stop() && order.len() < count {
                progress.end();
                let done = order.len();
                return Err(Error::stopped(format!(
                    "stopped after {done} of {count} images; their features are kept in whole shards, the next pass goes on from there"
                )));
            }
        }
        if !self.images.is_empty() {
            self.compute()?;
        }
        if !self.rows.is_empty() {
            self.write()?;
        }
        progress.end();
        Ok(order)
    }

    fn take(&mut self, digest: FileDigest, prepared: Vec<f32>) -> Result<()> {
        let Backbone { size, batch, .. } = self.backbone;
        let length = 3 * size * size;
        if prepared.len() != length {
            let found = prepared.len();
            return Err(Error::input(format!(
                "the file with the digest {digest} was prepared into {found} numbers instead of 3·{size}·{size}"
            )));
        }
        self.images.extend(prepared);
        self.digests.push(digest);
        if self.images.len() < batch * length {
            return Ok(());
        }
        self.compute()?;
        let row_bytes = 8 * self.shards.row.shape.elements().max(1);
        let whole = (SHARD_BYTES / row_bytes)
            .clamp(1, SHARD_IMAGES)
            .next_multiple_of(batch);
        if self.digests.len() >= whole {
            self.write()?;
        }
        Ok(())
    }

    /// Runs the backbone on the images that wait. Where they are fewer than a batch the last is repeated, so that every
    /// image goes through the same plan.
    fn compute(&mut self) -> Result<()> {
        let Backbone { size, batch, .. } = self.backbone;
        let length = 3 * size * size;
        let count = self.images.len() / length;
        let mut images = std::mem::take(&mut self.images);
        for _ in count..batch {
            images.extend_from_within((count - 1) * length..count * length);
        }
        let x = self.backbone.input(images)?;
        let values = self.runner.run(FEATURES, batch, &[("x", &x)])?;
        let features = values.get(self.backbone.output())?;
        for row in 0..count {
            let row = sliced(self.shards.row, features, row)?;
            if !row.is_finite() {
                return Err(Error::input(format!(
                    "the features of the file with the digest {} are not finite",
                    self.digests[self.rows.len()]
                )));
            }
            self.rows.push(row);
        }
        self.computed += count;
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        let (images, rows) = (
            std::mem::take(&mut self.digests),
            std::mem::take(&mut self.rows),
        );
        self.shards.write(images, rows)
    }
}

impl CachedFeatures {
    /// How many images there are.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// A digest of what the features are of: the recipe, and the images' files in their order.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new_with_prefix(self.shards.recipe.to_string());
        for (number, row) in &self.places {
            let images = self.shards.held.get(number);
            let file = images.and_then(|images| images.get(*row));
            hasher.update(file.map(String::as_str).unwrap_or_default());
        }
        hex(hasher)
    }

    /// Of how many files the backbone had to compute the features.
    pub fn computed(&self) -> usize {
        self.computed
    }

    /// The features of images [N, …], read from their shards.
    ///
    /// # Errors
    /// There is no such image, or a shard has been damaged or removed since the pass.
    pub fn rows(&mut self, items: &[usize]) -> Result<Array> {
        let mut rows = Vec::with_capacity(items.len());
        for &item in items {
            let count = self.count();
            let place = self.places.get(item).copied();
            let (number, row) = place.ok_or_else(|| {
                Error::input(format!("there is no image {item}: there are {count}"))
            })?;
            self.open(number)?;
            rows.push(sliced(self.shards.row, &self.recent[0].1, row)?);
        }
        joined(self.shards.spec(items.len()), &rows)
    }

    /// Makes a shard the first of those in memory.
    fn open(&mut self, number: usize) -> Result<()> {
        if let Some(at) = self.recent.iter().position(|(own, _)| *own == number) {
            self.recent[..=at].rotate_right(1);
            return Ok(());
        }
        let path = self.shards.path(number);
        let parsed = self
            .shards
            .files
            .read(&path)
            .and_then(|bytes| self.shards.parse(&bytes));
        let (images, features) = parsed.map_err(|e| e.within(path.display()))?;
        if self.shards.held.get(&number) != Some(&images) {
            return Err(Error::checkpoint(format!(
                "{} was replaced: gather the features again",
                path.display()
            )));
        }
        self.recent.insert(0, (number, features));
        let mut bytes = 0;
        self.recent.retain(|(own, features)| {
            bytes += 4 * features.spec().shape.elements();
            *own == number || bytes <= RECENT_BYTES
        });
        Ok(())
    }
}
