//! Fitting a file's weights to a network: what has its name and shape is taken, what differs in a known way is adapted, and
//! every tensor of the file and of the network is accounted for.
//!
//! ```
//! use axenic::models;
//! use axenic::train::{WeightFile, Weights, fit::{self, Request}};
//! let mut model = models::find("resnet18")?;
//! let request = Request { allow_missing: true, ..Request::default() };
//! let mut given = Weights::default();
//! let one = axenic::Array::new([64], vec![1.0f32; 64])?;
//! given.tensors.insert("module.bn1.weight".into(), one);
//! let file = WeightFile::parse(&given.to_bytes()?)?;
//! let fitted = fit::fit(&file, model.as_mut(), &request)?;
//! assert_eq!(fitted.account.source.prefix, "module.");
//! assert_eq!(fitted.weights.tensors["conv1.weight"].shape(), [64, 3, 7, 7].into());
//! # axenic::Result::Ok(())
//! ```

mod account;
pub mod channels;
pub mod positions;
mod source;
mod target;

pub use account::{Account, Fate, Line};
pub use positions::Resampling;
pub use source::Source;
pub use target::Target;

use super::card::{Card, Configuration};
use super::stored::{StoredTensor, WeightFile};
use super::weights::{Weights, is_counter, not_finite};
use crate::array::{Array, Numbers, Spec};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::models::Profile;
use crate::shape::Shape;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What a network is to become, and what may be amiss with a file. By default everything is as the file has it, and
/// nothing may be amiss.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The dictionary that holds the weights, instead of the one that fits best.
    pub entry: Option<String>,
    /// Height and width of the images.
    pub image_size: Option<[usize; 2]>,
    /// The images' channels.
    pub channels: Option<usize>,
    /// How many classes there are to be.
    pub classes: Classes,
    /// How a table of positions is resized.
    pub resampling: Resampling,
    /// From which everything new starts.
    pub seed: u64,
    /// Parameters that the file lacks start anew.
    pub allow_missing: bool,
    /// Tensors beside the network's own that it has no name for are left away.
    pub allow_unknown: bool,
}

/// How many classes a network is to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Classes {
    /// As many as the file has.
    #[default]
    OfFile,
    /// So many; if the file has another number, or no classifier, a new one starts from the seed.
    Count(usize),
    /// No classifier.
    None,
}

/// Weights that fit a network, and where each came from.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The network's weights; their metadata is a [`Card`].
    pub weights: Weights,
    /// What became of every tensor.
    pub account: Account,
    /// Channels, height and width of the images.
    pub image: [usize; 3],
}

/// Fits a file's weights to a network, which takes from the file what that decides (as its number of classes).
///
/// # Errors
/// The file says that it is of another network; no dictionary of it is this network's; a tensor is missing, unknown or of
/// a shape that cannot be adapted, and that was not allowed; a number is not finite. The error lists all of it.
pub fn fit<T: Target + ?Sized>(
    file: &WeightFile,
    target: &mut T,
    request: &Request,
) -> Result<Fitted> {
    let card = own_card(file, target.name())?;
    let first = target.profile().map(|profile| profile.first_convolution);
    let image = usual_image(target);
    let source = source::choose_for(file, request.entry.as_deref(), first.as_deref(), |own| {
        target.fit_to(&|name| shape_of(own, name));
        let graph = target.record(image)?;
        let names = needed(&graph);
        let has = names.keys().filter(|name| own.contains_key(**name));
        Ok((has.count(), names.len()))
    })?;
    let named = file.tensors.iter();
    let named = named.filter_map(|tensor| Some((source.name_of(tensor)?, tensor)));
    let own: BTreeMap<&str, &StoredTensor> = named.collect();
    target.fit_to(&|name| shape_of(&own, name));
    set_classes(target, request.classes)?;
    let profile = target.profile();
    let image = image_of(target, profile.as_ref(), &own, request);
    let graph = target.record(image)?;
    let fitting = Fitting {
        file,
        own: &own,
        profile: profile.as_ref(),
        image,
        request,
    };
    let (mut weights, lines) = fitting.all(&graph, &source)?;
    let account = Account::new(file, Some(target.name()), source, lines, request);
    // Before anything starts anew: sizes that a file only states cost nothing then.
    account.settle(request)?;
    for (_, leaf, spec) in graph.leaves() {
        let is_lacking = !weights.tensors.contains_key(&leaf.name);
        if let Some(init) = leaf.kind.init().filter(|_| is_lacking) {
            let array = init.numbers(request.seed, &leaf.name, spec)?;
            weights.tensors.insert(leaf.name.clone(), array);
        }
    }
    let configuration = Configuration {
        num_classes: target.num_classes(),
        image_size: [image[1], image[2]],
        channels: image[0],
    };
    let card = Card::new(target.name(), configuration, target.preprocessing(), card);
    card.write(&mut weights)?;
    Ok(Fitted {
        weights,
        account,
        image,
    })
}

/// Channels, height and width of the images that a network is meant for.
fn usual_image<T: Target + ?Sized>(target: &T) -> [usize; 3] {
    let size = target.preprocessing().size;
    [3, size, size]
}

fn set_classes<T: Target + ?Sized>(target: &mut T, classes: Classes) -> Result<()> {
    let wanted = match classes {
        Classes::OfFile => return Ok(()),
        Classes::Count(count) => Some(count),
        Classes::None => None,
    };
    target.set_num_classes(wanted);
    match target.num_classes() == wanted {
        true => Ok(()),
        false => Err(Error::input(format!(
            "the number of classes of {} is fixed",
            target.name()
        ))),
    }
}

/// The card of a file of ours, which must be of this network.
fn own_card(file: &WeightFile, name: &str) -> Result<Option<Card>> {
    let card = Card::of_file(file)?;
    match &card {
        Some(card) if card.model != name => Err(Error::checkpoint(format!(
            "the file holds the weights of {:?}, not of {name:?}",
            card.model
        ))),
        _ => Ok(card),
    }
}

/// The shape of a tensor that has elements: lengths that cost the file nothing decide nothing.
fn shape_of(own: &BTreeMap<&str, &StoredTensor>, name: &str) -> Option<Shape> {
    let shape = Shape::new(&own.get(name)?.shape).ok()?;
    (shape.elements() > 0).then_some(shape)
}

/// A file's tensors without a network to hold them against: those of the likeliest dictionary, without the prefix that all
/// of its names have, as they are; halves become f32.
///
/// # Errors
/// The file has no tensors, or several dictionaries and none is likelier; a number is not finite; the digest does not match.
pub fn as_they_are(file: &WeightFile, entry: Option<&str>) -> Result<(Weights, Account)> {
    let source = source::choose(file, entry)?;
    let mut weights = Weights::default();
    if !file.metadata.is_empty() {
        weights.metadata = Weights::from_file(file)?.0.metadata;
    }
    let mut lines = Vec::new();
    for tensor in &file.tensors {
        let name = source.name_of(tensor);
        let array = name.map(|_| file.array(tensor)).transpose();
        let (fate, array) = match (name, array) {
            (None, _) => (Fate::Skipped(format!("in {:?}", tensor.entry)), None),
            (_, Err(e)) if !tensor.dtype.is_read() || is_counter(&tensor.name) => {
                (Fate::Skipped(e.to_string()), None)
            }
            (_, array) => (Fate::Loaded, array?),
        };
        let shown = name.map_or_else(|| tensor.path(), str::to_string);
        lines.push(Line::new(&shown, Some(tensor), None, fate));
        weights.tensors.extend(array.map(|array| (shown, array)));
    }
    if let Some(name) = weights.first_not_finite() {
        return Err(Error::checkpoint(format!(
            "{name} holds numbers that are not finite"
        )));
    }
    let account = Account::new(file, None, source, lines, &Request::default());
    Ok((weights, account))
}

/// The names of all parameters and states.
fn needed(graph: &Graph) -> HashMap<&str, Spec> {
    let lasting = graph
        .leaves()
        .filter(|(_, leaf, _)| leaf.kind.init().is_some());
    lasting
        .map(|(_, leaf, spec)| (leaf.name.as_str(), spec))
        .collect()
}

/// Channels, height and width: as asked for; else as the file's first convolution and table of positions have them.
fn image_of<T: Target + ?Sized>(
    target: &T,
    profile: Option<&Profile>,
    own: &BTreeMap<&str, &StoredTensor>,
    request: &Request,
) -> [usize; 3] {
    let [channels, height, width] = usual_image(target);
    let first = profile.and_then(|profile| own.get(weight_of(&profile.first_convolution).as_str()));
    let channels_of_file = first.and_then(|weight| match *weight.shape {
        [_, channels, _, _] => Some(channels),
        _ => None,
    });
    let table = profile.and_then(|profile| profile.position_embedding.as_ref());
    let size_of_file = table.and_then(|table| match *own.get(table.name.as_str())?.shape {
        [1, rows, _] => Some(positions::square(rows, table.prefix_tokens)? * table.patch_size),
        _ => None,
    });
    let [height, width] = request
        .image_size
        .or(size_of_file.map(|size| [size; 2]))
        .unwrap_or([height, width]);
    let channels = request.channels.or(channels_of_file).unwrap_or(channels);
    [channels, height, width]
}

fn weight_of(layer: &str) -> String {
    format!("{layer}.weight")
}

/// What all tensors are fitted with.
struct Fitting<'a> {
    file: &'a WeightFile,
    own: &'a BTreeMap<&'a str, &'a StoredTensor>,
    profile: Option<&'a Profile>,
    image: [usize; 3],
    request: &'a Request,
}

impl Fitting<'_> {
    /// The network's tensors, and what became of each of the network's and of the file's.
    fn all(&self, graph: &Graph, source: &Source) -> Result<(Weights, Vec<Line>)> {
        let mut weights = Weights::default();
        let mut lines = Vec::new();
        let mut used: HashSet<&str> = HashSet::new();
        for (_, leaf, spec) in graph.leaves() {
            if leaf.kind.init().is_none() {
                continue;
            }
            let name = leaf.name.as_str();
            let stored = self
                .own
                .get(name)
                .copied()
                .filter(|stored| stored.dtype.is_read());
            let (array, fate) = self.one(name, spec, stored)?;
            used.extend(stored.map(|_| name));
            weights
                .tensors
                .extend(array.map(|array| (name.to_string(), array)));
            lines.push(Line::new(name, stored, Some(spec), fate));
        }
        let travelling: HashMap<&str, Spec> = graph
            .travelling()
            .iter()
            .map(|(name, spec)| (name.as_str(), *spec))
            .collect();
        for tensor in &self.file.tensors {
            let name = source.name_of(tensor);
            if name.is_some_and(|name| used.contains(name)) {
                continue;
            }
            let (array, fate) = self.left_over(tensor, name, &travelling, source)?;
            let shown = name.map_or_else(|| tensor.path(), str::to_string);
            let spec = name.and_then(|name| travelling.get(name).copied());
            lines.push(Line::new(&shown, Some(tensor), spec, fate));
            weights.tensors.extend(array.map(|array| (shown, array)));
        }
        Ok((weights, lines))
    }

    /// One of the network's tensors: as the file has it, or adapted.
    fn one(
        &self,
        name: &str,
        spec: Spec,
        stored: Option<&StoredTensor>,
    ) -> Result<(Option<Array>, Fate)> {
        let is_new_classifier = self.is_classifier(name) && self.request.classes != Classes::OfFile;
        let Some(stored) = stored else {
            return Ok(match is_new_classifier {
                true => (None, Fate::Started("a new classifier".into())),
                false => (None, Fate::Missing),
            });
        };
        let array = self.single(name, stored)?;
        if let Some((adapted, how)) = self.adapted(name, &array, spec)? {
            return Ok((Some(adapted), Fate::Adapted(how)));
        }
        Ok(match array.spec() == spec {
            true => (Some(array), Fate::Loaded),
            false if is_new_classifier => {
                let classes = stored.shape.first().copied().unwrap_or(0);
                let why = format!("a new classifier instead of the one for {classes}");
                (None, Fate::Started(why))
            }
            false => (None, Fate::WrongShape),
        })
    }

    fn is_classifier(&self, name: &str) -> bool {
        let scope = self.profile.map(|profile| profile.classifier.as_str());
        let rest = scope.and_then(|scope| name.strip_prefix(scope));
        rest.is_some_and(|rest| rest.starts_with('.'))
    }

    /// A stored tensor with finite numbers, reals in single precision.
    fn single(&self, name: &str, stored: &StoredTensor) -> Result<Array> {
        let array = self.file.array(stored)?;
        let array = match array.numbers() {
            Numbers::F64(_) => Array::new(array.shape(), array.to_f32().into_owned())?,
            _ => array,
        };
        match not_finite(&array) {
            None => Ok(array),
            Some(at) => Err(Error::checkpoint(format!(
                "{name} holds no finite number at element {at}"
            ))),
        }
    }

    /// The table of positions or the first convolution for other images, if the tensor is one and differs.
    fn adapted(&self, name: &str, array: &Array, spec: Spec) -> Result<Option<(Array, String)>> {
        let Some(profile) = self.profile else {
            return Ok(None);
        };
        if name == weight_of(&profile.first_convolution) && array.shape().len() == 4 {
            let [channels, _, _] = self.image;
            let from = array.shape()[1];
            if from == channels || array.shape().with(1, channels) != spec.shape {
                return Ok(None);
            }
            let adapted = channels::adapt(array, channels).map_err(|e| e.within(name))?;
            return Ok(Some((adapted, format!("{from} → {channels} channels"))));
        }
        let table = profile.position_embedding.as_ref();
        let Some(table) = table.filter(|table| table.name == name && array.shape().len() == 3)
        else {
            return Ok(None);
        };
        let [_, height, width] = self.image.map(|length| length / table.patch_size.max(1));
        let Some(side) = positions::square(array.shape()[1], table.prefix_tokens) else {
            return Ok(None);
        };
        let rows = table.prefix_tokens + height * width;
        if [height, width] == [side; 2] || array.shape().with(1, rows) != spec.shape {
            return Ok(None);
        }
        let resampling = self.request.resampling;
        let resized = positions::resize(array, table.prefix_tokens, [height, width], resampling)
            .map_err(|e| e.within(name))?;
        let how = format!(
            "{side}×{side} → {height}×{width} positions, {}",
            resampling.name()
        );
        Ok(Some((resized, how)))
    }

    /// A tensor of the file that is none of the network's parameters and states.
    fn left_over(
        &self,
        tensor: &StoredTensor,
        name: Option<&str>,
        travelling: &HashMap<&str, Spec>,
        source: &Source,
    ) -> Result<(Option<Array>, Fate)> {
        let skipped = |why: String| Ok((None, Fate::Skipped(why)));
        let Some(name) = name else {
            return skipped(match tensor.entry == source.entry {
                true => format!("not under {:?}", source.prefix),
                false => format!("in {:?}", tensor.entry),
            });
        };
        if !tensor.dtype.is_read() {
            return skipped(format!(
                "elements of type {} are not read",
                tensor.dtype.name()
            ));
        }
        if self.request.classes == Classes::None && self.is_classifier(name) {
            return skipped("the classifier is left away".into());
        }
        if let Some(spec) = travelling.get(name) {
            let array = self.single(name, tensor)?;
            return Ok(match array.spec() == *spec {
                true => (Some(array), Fate::Kept("takes no part".into())),
                false => (None, Fate::WrongShape),
            });
        }
        if !is_counter(name) {
            return Ok((None, Fate::Unknown));
        }
        // Not used here: a count that does not fit is not worth a file.
        match self.file.array(tensor) {
            Ok(array) => Ok((Some(array), Fate::Kept("counted, not used".into()))),
            Err(e) => skipped(e.to_string()),
        }
    }
}
