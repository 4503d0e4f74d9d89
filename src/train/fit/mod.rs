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
mod tensors;

pub use account::{Account, Conversion, Fate, Line};
pub use positions::Resampling;
pub use source::Source;
pub use target::Target;

use super::card::{Card, Classifier, Configuration};
use super::stored::{StoredTensor, WeightFile};
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::models::{PositionEmbedding, Preprocessing};
use crate::shape::Shape;
use source::Names;
use std::collections::BTreeMap;
use tensors::{Fitting, weight_of};

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
    /// How images are prepared, if that is known.
    pub preprocessing: Option<Preprocessing>,
}

/// A file's tensors by their names in the network.
type Own<'f> = BTreeMap<&'f str, &'f StoredTensor>;

/// What came of fitting.
#[derive(Clone, Debug)]
pub enum Attempt {
    /// Everything is there, or was allowed not to be.
    Fits(Box<Fitted>),
    /// Something is amiss: [`Account::complaint`] tells what.
    Amiss(Account),
}

/// Fits a file's weights to a network, which takes from the file what that decides (as its number of classes).
///
/// # Errors
/// As [`attempt`]; or a tensor is missing, unknown or of a shape that cannot be adapted, and that was not allowed. The
/// error lists all of it.
pub fn fit<T: Target + ?Sized>(
    file: &WeightFile,
    target: &mut T,
    request: &Request,
) -> Result<Fitted> {
    match attempt(file, target, request)? {
        Attempt::Fits(fitted) => Ok(*fitted),
        Attempt::Amiss(account) => {
            let complaint = account.complaint(usize::MAX);
            Err(Error::checkpoint(complaint.unwrap_or_default()))
        }
    }
}

/// As [`fit`], with the account of every tensor also where something is amiss.
///
/// # Errors
/// The file says that it is of another network, or something else than its tensors do; no dictionary of it is this
/// network's; a number is not finite.
pub fn attempt<T: Target + ?Sized>(
    file: &WeightFile,
    target: &mut T,
    request: &Request,
) -> Result<Attempt> {
    let proven = Weights::own(file)?;
    let card = own_card(proven.as_ref(), target.name())?;
    let usual = Usual::of(target, request)?;
    let source = usual.source(file, target, request)?;
    let named = file.tensors.iter();
    let named = named.filter_map(|tensor| Some((source.name_of(tensor)?, tensor)));
    let own: Own<'_> = named.collect();
    fit_target(target, &own, &usual, card.as_ref(), request)?;
    let profile = target.profile();
    let grid = grid_of(target, &own, card.as_ref());
    let image = image_of(target, &own, grid, card.as_ref(), request);
    let graph = target.record(image)?;
    let fitting = Fitting {
        file,
        proven,
        own: &own,
        profile: profile.as_ref(),
        image,
        grid,
        request,
    };
    let (mut weights, lines) = fitting.all(&graph, &source)?;
    let account = Account::new(file, Some(target.name()), source, lines, request);
    // Before anything starts anew: sizes that a file only states cost nothing then.
    if account.is_amiss() {
        return Ok(Attempt::Amiss(account));
    }
    usual.start(&graph, file, &mut weights, request.seed)?;
    let card = new_card(target, image, card, &account);
    card.write(&mut weights)?;
    Ok(Attempt::Fits(Box::new(Fitted {
        weights,
        account,
        image,
        preprocessing: card.preprocessing,
    })))
}

/// A network as it is asked for, before it has taken anything from a file.
struct Usual {
    /// How many classes its published weights have.
    published: Option<usize>,
    names: Names,
    /// The numbers of all its parameters and states.
    elements: usize,
}

/// What starts anew may be so many times the file, beside what the network has in any case.
const MOST_STARTED: usize = 8;

impl Usual {
    fn of<T: Target + ?Sized>(target: &mut T, request: &Request) -> Result<Self> {
        let published = target.num_classes();
        set_classes(target, request.classes)?;
        let [channels, height, width] = usual_image(target);
        let [height, width] = request.image_size.unwrap_or([height, width]);
        let channels = request.channels.unwrap_or(channels);
        let graph = target.record([channels, height, width])?;
        Ok(Self {
            published,
            names: needed(&graph).map(|(name, _)| name.to_string()).collect(),
            elements: needed(&graph).map(|(_, shape)| shape.elements()).sum(),
        })
    }

    /// Where in a file the network lies. Some networks have their parameters under other names in other libraries; so their
    /// names are asked for as they are without a file, and as the file as a whole would have them.
    fn source<T: Target + ?Sized>(
        &self,
        file: &WeightFile,
        target: &mut T,
        request: &Request,
    ) -> Result<Source> {
        let first = target.profile().map(|profile| profile.first_convolution);
        let image = usual_image(target);
        target.fit_to(&|name| source::shape_anywhere(file, name));
        let other = target.record(image).map(|graph| {
            let names = needed(&graph).map(|(name, _)| name.to_string());
            names.collect::<Names>()
        });
        // What does not fit in the least has no names to look for.
        let mut all = vec![&self.names];
        all.extend(other.as_ref().ok().filter(|other| **other != self.names));
        source::choose_for(file, request.entry.as_deref(), first.as_deref(), &all)
    }

    /// First values for what the file lacks.
    ///
    /// # Errors
    /// It is many times what the network has and the file holds: then a shape in the file was made to ask for memory.
    fn start(
        &self,
        graph: &Graph,
        file: &WeightFile,
        weights: &mut Weights,
        seed: u64,
    ) -> Result<()> {
        let is_lacking = |name: &str| !weights.tensors.contains_key(name);
        let lacking = needed(graph).filter(|(name, _)| is_lacking(name));
        let lacking = lacking.fold(0usize, |sum, (_, shape)| {
            sum.saturating_add(shape.elements())
        });
        let held: usize = file.tensors.iter().map(StoredTensor::elements).sum();
        if lacking
            > self
                .elements
                .saturating_add(held.saturating_mul(MOST_STARTED))
        {
            return Err(Error::checkpoint(format!(
                "by its shapes {lacking} numbers are missing, many times the {held} that it holds: it is no honest weight file"
            )));
        }
        for (_, leaf, spec) in graph.leaves() {
            let init = leaf.kind.init();
            if let Some(init) = init.filter(|_| !weights.tensors.contains_key(&leaf.name)) {
                let array = init.numbers(seed, &leaf.name, spec)?;
                weights.tensors.insert(leaf.name.clone(), array);
            }
        }
        Ok(())
    }
}

/// Lets a network take from a file's tensors what they decide, and from the request what that does.
fn fit_target<T: Target + ?Sized>(
    target: &mut T,
    own: &Own<'_>,
    usual: &Usual,
    card: Option<&Card>,
    request: &Request,
) -> Result<()> {
    target.fit_to(&|name| shape_of(own, name));
    let is_headless = card.is_some_and(|card| card.configuration.num_classes.is_none());
    if let Some(card) = card {
        agree(target, own, card)?;
    }
    if target.num_classes().is_none() && !is_headless {
        target.set_num_classes(usual.published); // Then it is missing, unless something else is asked for.
    }
    set_classes(target, request.classes)
}

/// That a file's card says of its network what its tensors do, as far as they are there.
fn agree<T: Target + ?Sized>(target: &T, own: &Own<'_>, card: &Card) -> Result<()> {
    let Configuration {
        num_classes,
        image_size,
        channels,
    } = card.configuration;
    let differs = |what: &str, said: String, found: String| {
        Err(Error::checkpoint(format!(
            "its description has {said} {what}, its tensors have {found}"
        )))
    };
    let found = target.num_classes();
    if found.is_some() && found != num_classes {
        let shown = |count: Option<usize>| count.map_or("no".into(), |count| count.to_string());
        return differs("classes", shown(num_classes), shown(found));
    }
    let found = channels_of(target, own).unwrap_or(channels);
    if found != channels {
        return differs("channels", channels.to_string(), found.to_string());
    }
    let Some(table) = position_embedding(target) else {
        return Ok(());
    };
    let patches = patches_of(&table, own);
    if patches.is_some() && grid_of(target, own, Some(card)).is_none() {
        let [height, width] = image_size;
        let found = format!("{} for patches", patches.unwrap_or(0));
        return differs(
            "positions",
            format!("images of {height}×{width} and their"),
            found,
        );
    }
    Ok(())
}

/// The card of weights that were fitted.
fn new_card<T: Target + ?Sized>(
    target: &T,
    [channels, height, width]: [usize; 3],
    before: Option<Card>,
    account: &Account,
) -> Card {
    let classifier = target.profile().map(|profile| profile.classifier);
    let is_new = account.lines.iter().any(|line| {
        let is_started = matches!(line.fate, Fate::Started(_));
        let scope = classifier.as_ref();
        is_started && scope.is_some_and(|scope| tensors::is_below(scope, &line.name))
    });
    let configuration = Configuration {
        num_classes: target.num_classes(),
        image_size: [height, width],
        channels,
    };
    let classifier = match is_new {
        true => Classifier::New,
        false => Classifier::Kept,
    };
    let usual = target.preprocessing();
    Card::new(target.name(), configuration, usual, before, classifier)
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
fn own_card(proven: Option<&Weights>, name: &str) -> Result<Option<Card>> {
    let card = proven.map(Card::read).transpose()?.flatten();
    match &card {
        Some(card) if card.model != name => Err(Error::checkpoint(format!(
            "the file holds the weights of {:?}, not of {name:?}",
            card.model
        ))),
        _ => Ok(card),
    }
}

/// The shape of a tensor that can be read and has elements: lengths that cost the file nothing decide nothing.
fn shape_of(own: &Own<'_>, name: &str) -> Option<Shape> {
    source::telling_shape(own.get(name)?)
}

/// A file's tensors without a network to hold them against: those of the likeliest dictionary, without the prefix that all
/// of its names have, as they are; halves become f32.
///
/// # Errors
/// The file has no tensors, or several dictionaries and none is likelier; a number is not finite; the digest does not match.
pub fn as_they_are(file: &WeightFile, entry: Option<&str>) -> Result<(Weights, Account)> {
    let source = source::choose(file, entry)?;
    let mut proven = Weights::own(file)?;
    let mut weights = Weights::default();
    if let Some(proven) = &proven {
        weights.metadata = proven.metadata.clone();
    }
    let mut lines = Vec::new();
    for tensor in &file.tensors {
        let name = source.name_of(tensor);
        let array = name.map(|_| tensors::take(file, &mut proven, tensor));
        let array = array.transpose();
        let (fate, array) = match (name, array) {
            (None, _) => (Fate::Skipped(format!("in {:?}", tensor.entry)), None),
            (_, Err(e)) => (Fate::Skipped(e.to_string()), None),
            (_, Ok(array)) => (Fate::Loaded, array),
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

/// The names and shapes of all parameters and states.
fn needed(graph: &Graph) -> impl Iterator<Item = (&str, Shape)> {
    let leaves = graph.leaves();
    let lasting = leaves.filter(|(_, leaf, _)| leaf.kind.init().is_some());
    lasting.map(|(_, leaf, spec)| (leaf.name.as_str(), spec.shape))
}

/// Channels, height and width: as asked for; else as the file's first convolution and table of positions have them; a
/// network without such a table takes images of any size, and of what size they were only the card knows.
fn image_of<T: Target + ?Sized>(
    target: &T,
    own: &Own<'_>,
    grid: Option<[usize; 2]>,
    card: Option<&Card>,
    request: &Request,
) -> [usize; 3] {
    let [usual_channels, height, width] = usual_image(target);
    let said = card.map(|card| card.configuration.image_size);
    let of_file = match position_embedding(target) {
        None => said,
        Some(table) => grid.map(|grid| {
            let least = grid.map(|length| length * table.patch_size);
            said.unwrap_or(least)
        }),
    };
    let [height, width] = request.image_size.or(of_file).unwrap_or([height, width]);
    let channels = request.channels.or(channels_of(target, own));
    [channels.unwrap_or(usual_channels), height, width]
}

/// The channels that a file's first convolution reads.
fn channels_of<T: Target + ?Sized>(target: &T, own: &Own<'_>) -> Option<usize> {
    let weight = weight_of(&target.profile()?.first_convolution);
    match *shape_of(own, &weight)? {
        [_, channels, _, _] => Some(channels),
        _ => None,
    }
}

fn position_embedding<T: Target + ?Sized>(target: &T) -> Option<PositionEmbedding> {
    target.profile()?.position_embedding
}

/// How many patches a file's table of positions has rows for.
fn patches_of(table: &PositionEmbedding, own: &Own<'_>) -> Option<usize> {
    match *shape_of(own, &table.name)? {
        [1, rows, _] => rows.checked_sub(table.prefix_tokens).filter(|&n| n > 0),
        _ => None,
    }
}

/// How many rows and columns of patches a file's table of positions is for: as many as its card's images have, or, of a
/// file without a card, as a square has.
fn grid_of<T: Target + ?Sized>(
    target: &T,
    own: &Own<'_>,
    card: Option<&Card>,
) -> Option<[usize; 2]> {
    let table = position_embedding(target)?;
    let patches = patches_of(&table, own)?;
    let Some(card) = card else {
        let side = patches.isqrt();
        return (side * side == patches).then_some([side; 2]);
    };
    let [height, width] = card.configuration.image_size;
    let grid = [height, width].map(|length| length / table.patch_size.max(1));
    (grid[0].checked_mul(grid[1]) == Some(patches)).then_some(grid)
}
