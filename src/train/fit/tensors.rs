//! The tensors of a network, one by one: taken from a file as they are, or adapted, or not to be had.

use super::account::{Fate, Line};
use super::source::Source;
use super::{Classes, Own, Request, channels, positions};
use crate::array::{Array, Numbers, Spec};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::models::Profile;
use crate::train::stored::{StoredTensor, WeightFile};
use crate::train::weights::{Weights, is_counter, not_finite};
use std::collections::{HashMap, HashSet};

/// The name of a layer's weight.
pub(super) fn weight_of(layer: &str) -> String {
    format!("{layer}.weight")
}

/// Whether a parameter is one of a scope's.
pub(super) fn is_below(scope: &str, name: &str) -> bool {
    let rest = name.strip_prefix(scope);
    rest.is_some_and(|rest| rest.starts_with('.'))
}

/// The numbers of one of a file's tensors; those that were read for the file's digest are not read again.
pub(super) fn take(
    file: &WeightFile,
    proven: &mut Option<Weights>,
    tensor: &StoredTensor,
) -> Result<Array> {
    let read = proven.as_mut();
    match read.and_then(|read| read.tensors.remove(&tensor.path())) {
        Some(array) => Ok(array),
        None => file.array(tensor),
    }
}

/// What all tensors are fitted with.
pub(super) struct Fitting<'a> {
    pub(super) file: &'a WeightFile,
    /// The content of a file of ours.
    pub(super) proven: Option<Weights>,
    pub(super) own: &'a Own<'a>,
    pub(super) profile: Option<&'a Profile>,
    /// Channels, height and width.
    pub(super) image: [usize; 3],
    /// The rows and columns that the file's table of positions is for.
    pub(super) grid: Option<[usize; 2]>,
    pub(super) request: &'a Request,
}

impl Fitting<'_> {
    /// The network's tensors, and what became of each of the network's and of the file's.
    pub(super) fn all(mut self, graph: &Graph, source: &Source) -> Result<(Weights, Vec<Line>)> {
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
        &mut self,
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
        scope.is_some_and(|scope| is_below(scope, name))
    }

    /// A stored tensor with finite numbers, reals in single precision.
    fn single(&mut self, name: &str, stored: &StoredTensor) -> Result<Array> {
        let array = take(self.file, &mut self.proven, stored)?;
        let array = match array.numbers() {
            Numbers::F64(_) => Array::new(array.shape(), array.into_f32())?,
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
        let to = [height, width];
        let rows = table.prefix_tokens + height * width;
        let Some(from) = self.grid.filter(|from| *from != to) else {
            return Ok(None);
        };
        if array.shape().with(1, rows) != spec.shape {
            return Ok(None);
        }
        let resampling = self.request.resampling;
        let resized = positions::resize(array, table.prefix_tokens, from, to, resampling)
            .map_err(|e| e.within(name))?;
        let grids = [from, to].map(|[rows, columns]| format!("{rows}×{columns}"));
        let how = format!("{} positions, {}", grids.join(" → "), resampling.name());
        Ok(Some((resized, how)))
    }

    /// A tensor of the file that is none of the network's parameters and states.
    fn left_over(
        &mut self,
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
        match take(self.file, &mut self.proven, tensor) {
            Ok(array) => Ok((Some(array), Fate::Kept("counted, not used".into()))),
            Err(e) => skipped(e.to_string()),
        }
    }
}
