//! Named tensors: initialising, checking against a graph, and their files (safetensors).

use super::optimizer::OPTIMIZER;
use super::stored::{StoredTensor, WeightFile};
use crate::array::{Array, Element, Numbers, Spec};
use crate::error::{Error, Result};
use crate::exec::Executor;
use crate::graph::Graph;
use crate::workers;
use safetensors::{Dtype, tensor::TensorView};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::mpsc;

/// The one key of a file's metadata; its value is JSON.
const METADATA_KEY: &str = "axenic";
/// The entry of the metadata that holds the digest of the tensors and of the other entries.
const DIGEST_ENTRY: &str = "sha256";

/// The end of the names of the counters that PyTorch's batch norms keep: 64-bit integers there.
const COUNTER: &str = "num_batches_tracked";

/// What vouches for a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A digest that fits.
    Digest,
    /// Nothing: the file is of another program.
    None,
}

/// Parameters and states by name, with what is to be known about them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// The tensors.
    pub tensors: BTreeMap<String, Array>,
    /// Labels, preprocessing, configuration: a JSON object without time, host or path, so that equal runs give equal files.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

impl Weights {
    /// The first values of a graph's parameters and states, optimiser included, from the seed.
    ///
    /// # Errors
    /// None in practice.
    pub fn initial(graph: &Graph, seed: u64) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for (_, leaf, spec) in graph.leaves() {
            if let Some(init) = leaf.kind.init() {
                tensors.insert(leaf.name.clone(), init.numbers(seed, &leaf.name, spec)?);
            }
        }
        Ok(Self {
            tensors,
            ..Self::default()
        })
    }

    /// Takes the present values of a graph's parameters and states from an executor.
    ///
    /// # Errors
    /// The executor fails.
    pub fn read_back(graph: &Graph, executor: &mut dyn Executor) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for (_, leaf, _) in graph
            .leaves()
            .filter(|(_, leaf, _)| leaf.kind.init().is_some())
        {
            tensors.insert(leaf.name.clone(), executor.read(&leaf.name)?);
        }
        Ok(Self {
            tensors,
            ..Self::default()
        })
    }

    /// Hands everything that the graph needs over to an executor that has prepared it.
    ///
    /// # Errors
    /// As [`check`](Self::check), or the executor fails.
    pub fn write_to(mut self, graph: &Graph, executor: &mut dyn Executor) -> Result<()> {
        self.check(graph)?;
        let lasting = graph
            .leaves()
            .filter(|(_, leaf, _)| leaf.kind.init().is_some());
        for (_, leaf, _) in lasting {
            if let Some(array) = self.tensors.remove(&leaf.name) {
                executor.write(&leaf.name, array)?;
            }
        }
        Ok(())
    }

    /// That the tensors are exactly those of the graph: none missing, none unknown, none of another shape. Tensors that
    /// the graph declares as travelling, the optimiser's, and `num_batches_tracked` may be there or not. Every number must
    /// be finite: with one that is not, a network answers nonsense or nothing.
    ///
    /// # Errors
    /// One sentence that lists every difference.
    pub fn check(&self, graph: &Graph) -> Result<()> {
        let lasting = graph
            .leaves()
            .filter(|(_, leaf, _)| leaf.kind.init().is_some());
        let needed: HashMap<&str, Spec> = lasting
            .map(|(_, leaf, spec)| (leaf.name.as_str(), spec))
            .collect();
        let travelling: HashMap<&str, Spec> = graph
            .travelling()
            .iter()
            .map(|(name, spec)| (name.as_str(), *spec))
            .collect();
        let mut complaints: Vec<String> = Vec::new();
        for (name, spec) in &needed {
            match self.tensors.get(*name).map(Array::spec) {
                None => complaints.push(format!("{name} is missing")),
                Some(own) if own != *spec => {
                    complaints.push(format!("{name} has shape {own} instead of {spec}"))
                }
                Some(_) => {}
            }
        }
        for (name, array) in &self.tensors {
            let own = array.spec();
            if let Some(at) = not_finite(array) {
                complaints.push(format!("{name} holds no finite number at element {at}"));
            }
            match travelling.get(name.as_str()) {
                _ if needed.contains_key(name.as_str()) => {}
                Some(spec) if *spec == own => {}
                Some(spec) => complaints.push(format!("{name} has shape {own} instead of {spec}")),
                None if is_counter(name) || name.starts_with(OPTIMIZER) => {}
                None => complaints.push(format!("{name} is unknown")),
            }
        }
        if complaints.is_empty() {
            return Ok(());
        }
        complaints.sort();
        Err(Error::checkpoint(format!(
            "the weights do not fit the model: {}",
            complaints.join(", ")
        )))
    }

    /// Those of the tensors that the graph needs.
    pub fn needed_by(&self, graph: &Graph) -> Self {
        let own = graph
            .leaves()
            .filter(|(_, leaf, _)| leaf.kind.init().is_some())
            .filter_map(|(_, leaf, _)| self.tensors.get_key_value(&leaf.name));
        Self {
            tensors: own
                .map(|(name, array)| (name.clone(), array.clone()))
                .collect(),
            metadata: self.metadata.clone(),
        }
    }

    /// These tensors without the optimiser's.
    pub fn without_optimizer(&self) -> Self {
        let model = self
            .tensors
            .iter()
            .filter(|(name, _)| !name.starts_with(OPTIMIZER));
        Self {
            tensors: model
                .map(|(name, array)| (name.clone(), array.clone()))
                .collect(),
            metadata: self.metadata.clone(),
        }
    }

    /// SHA-256 over the sorted names, the shapes and the bytes.
    pub fn digest(&self) -> String {
        self.hashed(Sha256::new())
    }

    /// SHA-256 over everything that a file holds.
    fn payload_digest(&self) -> String {
        let numbers = self.tensors.values().map(Array::numbers);
        self.hashed(payload_hasher(&self.metadata, numbers))
    }

    fn hashed(&self, mut hasher: Sha256) -> String {
        let tensors = self.tensors.iter();
        tensors.for_each(|(name, array)| hash(&mut hasher, name, array));
        hex(hasher)
    }

    /// The first tensor, by name, that holds a number that is not finite.
    pub fn first_not_finite(&self) -> Option<&str> {
        self.tensors
            .iter()
            .find(|(_, array)| not_finite(array).is_some())
            .map(|(name, _)| name.as_str())
    }

    /// The number of a metadata entry's parsed value.
    ///
    /// # Errors
    /// The entry is missing or of another type.
    pub fn entry<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        let value = self
            .metadata
            .get(name)
            .cloned()
            .unwrap_or(serde_json::Value::Null);
        serde_json::from_value(value).map_err(|e| {
            Error::checkpoint(format!(
                "the weight file's entry {name:?} cannot be read: {e}"
            ))
        })
    }

    /// The tensors with their metadata and a digest over both as a safetensors file.
    ///
    /// # Errors
    /// None in practice; the writer is fallible.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut metadata = self.metadata.clone();
        metadata.insert(DIGEST_ENTRY.into(), self.payload_digest().into());
        let json = serde_json::Value::Object(metadata).to_string();
        let failed =
            |e: safetensors::SafeTensorError| Error::checkpoint(format!("cannot be written: {e}"));
        let mut views = Vec::with_capacity(self.tensors.len());
        for (name, array) in &self.tensors {
            let (dtype, bytes) = tensor_bytes(name, array);
            views.push((name.as_str(), dtype, array.shape(), bytes));
        }
        let views = views.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.to_vec(), bytes);
            view.map(|view| (*name, view)).map_err(failed)
        });
        safetensors::serialize(
            views.collect::<Result<Vec<_>>>()?,
            Some(HashMap::from([(METADATA_KEY.to_string(), json)])),
        )
        .map_err(failed)
    }

    /// Reads a weight file of any origin with all its tensors, by their paths. If it is one of ours, its digest is checked.
    ///
    /// # Errors
    /// As [`WeightFile::read`], or a tensor holds elements that are neither real nor index.
    pub fn load(path: &Path) -> Result<Self> {
        Ok(Self::read(path)?.0)
    }

    /// Reads a file that this program wrote: without a digest it is refused.
    ///
    /// # Errors
    /// As [`load`](Self::load), or the file has no digest.
    pub fn load_own(path: &Path) -> Result<Self> {
        proven(Self::read(path)?).map_err(|e| e.within(path.display()))
    }

    fn read(path: &Path) -> Result<(Self, Proof)> {
        Self::from_file(&WeightFile::read(path)?).map_err(|e| e.within(path.display()))
    }

    /// As [`load_own`](Self::load_own), of a file that is open; the error does not name it.
    ///
    /// # Errors
    /// As [`load_own`](Self::load_own).
    pub fn read_own(file: File) -> Result<Self> {
        proven(Self::from_file(&WeightFile::open(file)?)?)
    }

    /// Reads the bytes of a weight file.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Ok(Self::from_file(&WeightFile::parse(bytes)?)?.0)
    }

    /// Reads the bytes of a file that this program wrote: without a digest they are refused.
    ///
    /// # Errors
    /// As [`load_own`](Self::load_own).
    pub fn parse_own(bytes: &[u8]) -> Result<Self> {
        proven(Self::from_file(&WeightFile::parse(bytes)?)?)
    }

    /// All tensors of a file by their paths, its metadata, and what vouches for both.
    ///
    /// # Errors
    /// A tensor holds elements that are neither real nor index, a path is there twice, or the digest does not match.
    pub fn from_file(file: &WeightFile) -> Result<(Self, Proof)> {
        if let Some(own) = Self::own(file)? {
            return Ok((own, Proof::Digest));
        }
        let tensors = decoded(file)?;
        let weights = Self {
            tensors,
            ..Self::default()
        };
        Ok((weights, Proof::None))
    }

    /// The content of a file of ours, its digest checked. `None` if the file is of another program: then no tensor of it is
    /// looked at.
    ///
    /// # Errors
    /// The content is not what the digest was made of.
    pub(crate) fn own(file: &WeightFile) -> Result<Option<Self>> {
        if !file.metadata.contains_key(METADATA_KEY) {
            return Ok(None);
        }
        let mut metadata = Self::entries(file)?;
        let stated = metadata.remove(DIGEST_ENTRY);
        let (tensors, digest) = decoded_and_hashed(file, &metadata)?;
        match stated == Some(digest.into()) {
            true => Ok(Some(Self { tensors, metadata })),
            false => Err(Error::checkpoint(
                "its content does not match its digest: the file is damaged",
            )),
        }
    }

    /// Our own metadata of a file; none if it is of another program.
    pub(super) fn entries(file: &WeightFile) -> Result<serde_json::Map<String, serde_json::Value>> {
        let Some(json) = file.metadata.get(METADATA_KEY) else {
            return Ok(serde_json::Map::new());
        };
        let damaged = |what: String| Error::checkpoint(format!("its metadata {what}"));
        let entries: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json)
            .map_err(|e| damaged(format!("cannot be read: the file is damaged ({e})")))?;
        // What reads the same but is written otherwise was changed by someone.
        match serde_json::to_string(&entries).ok().as_ref() == Some(json) {
            true => Ok(entries),
            false => Err(damaged("was rewritten: the file is damaged".to_string())),
        }
    }
}

/// The tensors of a file by their paths.
fn by_path(file: &WeightFile) -> Result<BTreeMap<String, &StoredTensor>> {
    let mut tensors = BTreeMap::new();
    for tensor in &file.tensors {
        let path = tensor.path();
        if tensors.insert(path.clone(), tensor).is_some() {
            return Err(Error::checkpoint(format!(
                "its tensor {path:?} is there twice"
            )));
        }
    }
    Ok(tensors)
}

/// All tensors of a file by their paths.
fn decoded(file: &WeightFile) -> Result<BTreeMap<String, Array>> {
    let tensors = by_path(file)?.into_iter();
    let read = |(path, tensor)| Ok((path, file.array(tensor)?));
    tensors.map(read).collect()
}

/// All tensors of a file by their paths, and the digest of these and its metadata: while a tensor is read, those before
/// it are hashed beside it.
fn decoded_and_hashed(
    file: &WeightFile,
    metadata: &serde_json::Map<String, serde_json::Value>,
) -> Result<(BTreeMap<String, Array>, String)> {
    let stored = by_path(file)?;
    let none = stored.values().map(|tensor| tensor.no_numbers());
    let mut hasher = payload_hasher(metadata, &none.collect::<Result<Vec<_>>>()?);
    let (send, receive) = mpsc::channel();
    let read = || -> Result<()> {
        let send = send;
        for (path, tensor) in stored {
            // The receiver ends behind this sender.
            send.send((path, file.array(tensor)?)).ok();
        }
        Ok(())
    };
    let hashed = || {
        let received = receive.into_iter();
        let tensors = received.inspect(|(name, array)| hash(&mut hasher, name, array));
        (tensors.collect(), hex(hasher))
    };
    let (read, hashed) = workers::both(read, hashed)?;
    read.map(|()| hashed)
}

/// A hasher of everything that a file holds, which has taken in the metadata and the types; the tensors follow, sorted by
/// their names.
fn payload_hasher<'a>(
    metadata: &serde_json::Map<String, serde_json::Value>,
    numbers: impl IntoIterator<Item = &'a Numbers>,
) -> Sha256 {
    let metadata = serde_json::Value::Object(metadata.clone()).to_string();
    let mut hasher = Sha256::new();
    hasher.update((metadata.len() as u64).to_le_bytes());
    hasher.update(metadata);
    for numbers in numbers {
        hasher.update([match numbers {
            Numbers::F32(_) => 0,
            Numbers::U32(_) => 1,
            Numbers::F64(_) => 2,
        }]);
    }
    hasher
}

/// Takes in a tensor.
fn hash(hasher: &mut Sha256, name: &str, array: &Array) {
    hasher.update((name.len() as u64).to_le_bytes());
    hasher.update(name);
    hasher.update((array.shape().len() as u64).to_le_bytes());
    let lengths = array.shape();
    lengths
        .iter()
        .for_each(|&n| hasher.update((n as u64).to_le_bytes()));
    hasher.update(array_bytes(array));
}

fn proven((weights, proof): (Weights, Proof)) -> Result<Weights> {
    match proof {
        Proof::Digest => Ok(weights),
        Proof::None => Err(Error::checkpoint(
            "its digest is missing: the file is damaged, or not of this program",
        )),
    }
}

pub(super) fn hex(hasher: Sha256) -> String {
    let bytes = hasher.finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first element that is no finite number.
pub(super) fn not_finite(array: &Array) -> Option<usize> {
    match array.numbers() {
        Numbers::F32(values) if are_finite(values) => None,
        Numbers::F32(values) => values.iter().position(|x| !x.is_finite()),
        Numbers::F64(values) => values.iter().position(|x| !x.is_finite()),
        _ => None,
    }
}

/// Without leaving early, so that the usual answer comes fast.
fn are_finite(values: &[f32]) -> bool {
    workers::vectorised(
        #[inline(always)]
        || values.iter().fold(true, |all, x| all & x.is_finite()),
    )
}

/// The format is little-endian, as every machine this is built for.
const _: () = assert!(cfg!(target_endian = "little"));

/// Whether a name is that of a batch norm's counter, which is kept and not used.
pub(super) fn is_counter(name: &str) -> bool {
    name.ends_with(COUNTER)
}

/// A tensor as safetensors holds it, not a bit lost. Counters are 64 bits wide, as PyTorch wants them.
fn tensor_bytes<'a>(name: &str, array: &'a Array) -> (Dtype, Cow<'a, [u8]>) {
    let dtype = match array.numbers() {
        Numbers::U32(values) if is_counter(name) => {
            let wide = values.iter().flat_map(|&n| u64::from(n).to_le_bytes());
            return (Dtype::I64, wide.collect());
        }
        Numbers::U32(_) => Dtype::U32,
        Numbers::F32(_) => Dtype::F32,
        Numbers::F64(_) => Dtype::F64,
    };
    (dtype, array_bytes(array).into())
}

/// An array's elements as they lie in memory.
fn array_bytes(array: &Array) -> &[u8] {
    match array.numbers() {
        Numbers::U32(values) => bytemuck::cast_slice(values),
        Numbers::F32(values) => bytemuck::cast_slice(values),
        Numbers::F64(values) => bytemuck::cast_slice(values),
    }
}

impl Weights {
    /// The tensor of this name and element type; for files whose tensors are a program's input.
    ///
    /// # Errors
    /// It is missing, or of another type.
    pub fn tensor(&self, name: &str, element: Element) -> Result<&Array> {
        let array = self
            .tensors
            .get(name)
            .ok_or_else(|| Error::input(format!("the tensor {name:?} is missing")))?;
        if array.spec().element == element {
            return Ok(array);
        }
        Err(Error::input(format!(
            "the tensor {name:?} holds {:?} elements instead of {element:?}",
            array.spec().element
        )))
    }
}
