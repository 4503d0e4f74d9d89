//! From what a pickle builds to named tensors: the dictionaries are walked, and every tensor is held against the bytes of
//! its storage.

use super::pickle::{Budget, Object, Pickle, Storage, Tensor, Value};
use super::zip::Archive;
use super::{Layout, StoredTensor, legacy};
use crate::error::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Tensors, and what else there is.
type Content = (Vec<StoredTensor>, Vec<(String, String)>);

/// How deep dictionaries may lie in each other.
const MOST_DEPTH: usize = 16;
/// How many times the file's length the tensors may take together: views of one storage can repeat its numbers.
const MOST_REPEATED: usize = 8;

/// Reads a zip archive of `torch.save`.
pub(super) fn read_zip(bytes: &[u8]) -> Result<Content> {
    let archive = Archive::open(bytes)?;
    let pickles = archive.names().filter(|name| is_pickle(name));
    let roots: Vec<&str> = pickles
        .filter_map(|name| name.strip_suffix("data.pkl"))
        .collect();
    let [root] = *roots else {
        return Err(Error::checkpoint(
            "it is a zip archive without the one folder with data.pkl that torch.save writes",
        ));
    };
    let order = format!("{root}byteorder");
    if archive.names().any(|name| name == order) && bytes[archive.member(&order)?] != *b"little" {
        return Err(Error::checkpoint(
            "it was not written on a little-endian machine",
        ));
    }
    let mut budget = Budget::of_file(bytes.len());
    let pickle = archive.member(&format!("{root}data.pkl"))?;
    let pickle = Pickle::read(&bytes[pickle], &mut budget)?;
    let mut places = HashMap::new();
    for (key, _) in storages(&pickle)? {
        let place = archive.member(&format!("{root}data/{key}"))?;
        places.insert(key, place);
    }
    walk(&pickle, &places, bytes.len(), &mut budget)
}

/// `<folder>/data.pkl`.
fn is_pickle(name: &str) -> bool {
    name.strip_suffix("/data.pkl")
        .is_some_and(|root| !root.contains('/'))
}

/// Reads the old format of `torch.save`.
pub(super) fn read_legacy(bytes: &[u8]) -> Result<Content> {
    let mut budget = Budget::of_file(bytes.len());
    let (pickle, at) = legacy::object(bytes, &mut budget)?;
    let known = storages(&pickle)?;
    let places = legacy::storages(bytes, at, &known, &mut budget)?;
    walk(&pickle, &places, bytes.len(), &mut budget)
}

/// The bytes of a storage; `None` if there are too many to count.
pub(super) fn storage_bytes(storage: &Storage) -> Option<usize> {
    let bytes = match storage.dtype {
        Some(dtype) => dtype.bytes(storage.count)?,
        None => storage.count,
    };
    usize::try_from(bytes).ok()
}

/// All storages by their keys: one key, one storage.
fn storages<'a>(pickle: &Pickle<'a>) -> Result<HashMap<&'a str, Storage>> {
    let mut known: HashMap<&str, Storage> = HashMap::new();
    for object in &pickle.objects {
        let Object::Storage(storage) = object else {
            continue;
        };
        let key = pickle.text(storage.key);
        let first = known.entry(key).or_insert(*storage);
        if (first.dtype, first.count) != (storage.dtype, storage.count) {
            return Err(Error::checkpoint(format!(
                "its storage {key:?} is described in two ways"
            )));
        }
    }
    Ok(known)
}

/// A dictionary that is to be walked: which, where it lies, and how deep.
struct Dictionary {
    number: u32,
    path: String,
    depth: usize,
}

struct Walk<'a, 'b> {
    pickle: &'b Pickle<'a>,
    places: &'b HashMap<&'a str, Range<usize>>,
    /// Dictionaries that were met: each is walked once, so that no web of references takes long.
    met: HashSet<u32>,
    /// The paths of all tensors and dictionaries: a name with a dot in it can read like the way to another.
    paths: HashSet<String>,
    /// Bytes that the tensors may still take.
    room: usize,
    tensors: Vec<StoredTensor>,
    others: Vec<(String, String)>,
}

fn walk(
    pickle: &Pickle<'_>,
    places: &HashMap<&str, Range<usize>>,
    length: usize,
    budget: &mut Budget,
) -> Result<Content> {
    let (Value::Object(root), Some(Object::Dict(_))) = (pickle.root, pickle.object(pickle.root))
    else {
        return Err(Error::checkpoint(
            "it holds no dictionary of tensors; save the model's state_dict()",
        ));
    };
    let mut walk = Walk {
        pickle,
        places,
        met: HashSet::from([root]),
        paths: HashSet::from([String::new()]),
        room: length
            .saturating_mul(MOST_REPEATED)
            .saturating_add(64 << 10),
        tensors: Vec::new(),
        others: Vec::new(),
    };
    let mut waiting = vec![Dictionary {
        number: root,
        path: String::new(),
        depth: 0,
    }];
    while let Some(dictionary) = waiting.pop() {
        let mut inner = walk.dictionary(&dictionary, budget)?;
        // The last is taken first: so they come in their order.
        inner.reverse();
        waiting.extend(inner);
    }
    Ok((walk.tensors, walk.others))
}

impl Walk<'_, '_> {
    /// Takes the tensors of a dictionary, and gives the dictionaries in it.
    fn dictionary(&mut self, own: &Dictionary, budget: &mut Budget) -> Result<Vec<Dictionary>> {
        let mut inner = Vec::new();
        let Some(Object::Dict(pairs)) = self.pickle.objects.get(own.number as usize) else {
            return Ok(inner);
        };
        for (name, value) in self.last_values(own, pairs, budget)? {
            let path = match own.path.is_empty() {
                true => name.clone(),
                false => format!("{}.{name}", own.path),
            };
            let object = self.pickle.object(value);
            if let Some(Object::Tensor(_) | Object::Dict(_)) = object {
                self.claim(&path)?;
            }
            match (value, object) {
                (_, Some(Object::Tensor(tensor))) => {
                    let stored = self.tensor(tensor, &own.path, name);
                    self.tensors
                        .push(stored.map_err(|e| e.within(format!("its tensor {path:?}")))?);
                }
                (Value::Object(number), Some(Object::Dict(_))) => {
                    if own.depth == MOST_DEPTH {
                        return Err(Error::checkpoint(format!(
                            "its dictionaries lie more than {MOST_DEPTH} deep in each other"
                        )));
                    }
                    let depth = own.depth + 1;
                    match self.met.insert(number) {
                        true => inner.push(Dictionary {
                            number,
                            path,
                            depth,
                        }),
                        false => self.others.push((path, "a dictionary met before".into())),
                    }
                }
                _ => self.others.push((path, self.describe(value))),
            }
        }
        Ok(inner)
    }

    /// The names of a dictionary in their order with their values: as in Python, a later value takes the place of an
    /// earlier one. But 1 and "1" are two names there and one here.
    fn last_values(
        &self,
        own: &Dictionary,
        pairs: &[(Value, Value)],
        budget: &mut Budget,
    ) -> Result<Vec<(String, Value)>> {
        let mut found: HashMap<String, (usize, bool, Value)> = HashMap::new();
        for &(key, value) in pairs {
            let name = self.key(key, &own.path)?;
            budget.spend(2 * (own.path.len() + name.len()) + 160)?;
            let (next, is_number) = (found.len(), matches!(key, Value::Int(_)));
            let place = found.entry(name).or_insert((next, is_number, value));
            if place.1 != is_number {
                return Err(Error::checkpoint(format!(
                    "its dictionary {:?} has a number and a text for names that read alike, {:?}",
                    own.path,
                    self.key(key, &own.path)?
                )));
            }
            place.2 = value;
        }
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_unstable_by_key(|(_, (place, ..))| *place);
        let values = found.into_iter();
        Ok(values.map(|(name, (.., value))| (name, value)).collect())
    }

    /// Takes a path for a tensor or a dictionary.
    fn claim(&mut self, path: &str) -> Result<()> {
        match self.paths.insert(path.to_string()) {
            true => Ok(()),
            false => Err(Error::checkpoint(format!(
                "two of its tensors or dictionaries have the path {path:?}"
            ))),
        }
    }

    fn key(&self, key: Value, path: &str) -> Result<String> {
        match key {
            Value::Text(from, to) => Ok(self.pickle.text((from, to)).to_string()),
            Value::Int(number) => Ok(number.to_string()),
            _ => Err(Error::checkpoint(format!(
                "its dictionary {path:?} has a name that is neither text nor number"
            ))),
        }
    }

    /// A value that is neither tensor nor dictionary, in words.
    fn describe(&self, value: Value) -> String {
        match (value, self.pickle.object(value)) {
            (Value::None, _) => "none".into(),
            (Value::Bool(value), _) => value.to_string(),
            (Value::Int(number), _) => number.to_string(),
            (Value::Inert(what), _) => what.into(),
            (Value::Text(from, to), _) => {
                let text = self.pickle.text((from, to));
                let short: String = text.chars().take(60).collect();
                let dots = if short.len() < text.len() { "…" } else { "" };
                format!("{short:?}{dots}")
            }
            (_, Some(Object::List(values))) => format!("a list of {}", values.len()),
            (_, Some(Object::Tuple(values))) => format!("a tuple of {}", values.len()),
            (_, Some(Object::Inert(name))) => (*name).into(),
            _ => "no tensor".into(),
        }
    }

    /// A tensor whose every element lies in its storage.
    fn tensor(&mut self, tensor: &Tensor, entry: &str, name: String) -> Result<StoredTensor> {
        let wrong = |what: String| Error::checkpoint(what);
        let key = self.pickle.text(tensor.storage.key);
        let bytes = self.places.get(key).cloned();
        let bytes = bytes.ok_or_else(|| wrong(format!("its storage {key:?} is missing")))?;
        let Some(length) = storage_bytes(&tensor.storage).filter(|&length| length == bytes.len())
        else {
            let (stated, has) = (tensor.storage.count, bytes.len());
            return Err(wrong(format!(
                "its storage {key:?} of {stated} elements has {has} bytes, which does not fit"
            )));
        };
        let size = tensor.dtype.bytes(1).unwrap_or(1).max(1) as usize;
        let shape = lengths(&tensor.shape);
        let strides = lengths(&tensor.strides);
        let extent = extent(&tensor.shape, &tensor.strides, tensor.offset);
        let ((Some(shape), Some(strides)), Some((elements, end))) = ((shape, strides), extent)
        else {
            return Err(wrong(format!(
                "of {:?} with strides {:?} is impossible",
                tensor.shape, tensor.strides
            )));
        };
        if end > (length / size) as u64 {
            return Err(wrong(format!(
                "reaches to element {end} of a storage of {}",
                length / size
            )));
        }
        // In memory an element takes 4 bytes at least.
        let room = elements.checked_mul(size.max(4));
        let left = room.and_then(|room| self.room.checked_sub(room));
        self.room = left.ok_or_else(|| {
            wrong("and those before it take many times as much memory as the file: it is no honest weight file".into())
        })?;
        Ok(StoredTensor {
            entry: entry.to_string(),
            name,
            dtype: tensor.dtype,
            shape,
            bytes,
            layout: Layout::Strided {
                offset: usize::try_from(tensor.offset).unwrap_or(0),
                strides,
            },
        })
    }
}

fn lengths(lengths: &[u64]) -> Option<Vec<usize>> {
    lengths.iter().map(|&n| usize::try_from(n).ok()).collect()
}

/// How many elements a view has, and where in its storage the last one ends. No length or stride can overflow later: of
/// an empty view too, the products of what is not zero are counted.
fn extent(shape: &[u64], strides: &[u64], offset: u64) -> Option<(usize, u64)> {
    if shape.len() != strides.len() {
        return None;
    }
    let mut elements = 1u64;
    let mut last = offset;
    for (&length, &stride) in shape.iter().zip(strides) {
        elements = elements.checked_mul(length.max(1))?;
        let reach = length.max(1).checked_mul(stride)?;
        last = last.checked_add(reach - stride)?;
    }
    let is_empty = shape.contains(&0);
    let end = if is_empty { 0 } else { last.checked_add(1)? };
    let elements = if is_empty { 0 } else { elements };
    Some((usize::try_from(elements).ok()?, end))
}
