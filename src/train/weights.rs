//! Named tensors: initialising, checking against a graph, and their files (safetensors).

use super::optimizer::OPTIMIZER;
use super::write_whole;
use crate::array::{Array, Element, Numbers, Spec};
use crate::error::{Error, Result};
use crate::exec::Executor;
use crate::graph::Graph;
use crate::shape::Shape;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The one key of a file's metadata; its value is JSON.
const METADATA_KEY: &str = "axenic";
/// The entry of the metadata that holds the digest of the tensors.
const DIGEST_ENTRY: &str = "sha256";

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

    /// Writes everything that the graph needs to an executor that has prepared it.
    ///
    /// # Errors
    /// As [`check`](Self::check), or the executor fails.
    pub fn write_to(&self, graph: &Graph, executor: &mut dyn Executor) -> Result<()> {
        self.check(graph)?;
        for (_, leaf, _) in graph
            .leaves()
            .filter(|(_, leaf, _)| leaf.kind.init().is_some())
        {
            executor.write(&leaf.name, &self.tensors[&leaf.name])?;
        }
        Ok(())
    }

    /// That the tensors are exactly those of the graph: none missing, none unknown, none of another shape. Tensors that
    /// the graph declares as travelling, the optimiser's, and `num_batches_tracked` may be there or not.
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
            match travelling.get(name.as_str()) {
                _ if needed.contains_key(name.as_str()) => {}
                Some(spec) if *spec == own => {}
                Some(spec) => complaints.push(format!("{name} has shape {own} instead of {spec}")),
                None if name.ends_with("num_batches_tracked") || name.starts_with(OPTIMIZER) => {}
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
        let mut hasher = Sha256::new();
        for (name, array) in &self.tensors {
            hasher.update((name.len() as u64).to_le_bytes());
            hasher.update(name);
            hasher.update((array.shape().len() as u64).to_le_bytes());
            array
                .shape()
                .iter()
                .for_each(|&n| hasher.update((n as u64).to_le_bytes()));
            hasher.update(tensor_bytes(array).1);
        }
        hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
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

    /// Writes the tensors with their metadata and digest as a safetensors file, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut metadata = self.metadata.clone();
        metadata.insert(DIGEST_ENTRY.into(), self.digest().into());
        let json = serde_json::Value::Object(metadata).to_string();
        let held: Vec<_> = self
            .tensors
            .iter()
            .map(|(name, array)| (name, array.shape(), tensor_bytes(array)))
            .collect();
        let mut views = Vec::with_capacity(held.len());
        for (name, shape, (dtype, bytes)) in &held {
            let view = TensorView::new(*dtype, shape.to_vec(), bytes)
                .map_err(|e| cannot_write(path, e))?;
            views.push((name.as_str(), view));
        }
        let bytes = safetensors::serialize(
            views,
            Some(HashMap::from([(METADATA_KEY.to_string(), json)])),
        )
        .map_err(|e| cannot_write(path, e))?;
        write_whole(path, &bytes)
    }

    /// Reads a safetensors file. If it is one of ours, its digest is checked.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or holds types that are neither real nor index.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path)
            .map_err(|e| Error::input(format!("cannot read {}: {e}", path.display())))?;
        Self::parse(&bytes).map_err(|e| e.within(path.display()))
    }

    /// Reads the bytes of a safetensors file.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let damaged = |e: safetensors::SafeTensorError| {
            Error::checkpoint(format!("not a whole safetensors file: {e}"))
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let mut weights = Self::default();
        for (name, view) in file.tensors() {
            let array = from_view(&view).map_err(|e| e.within(&name))?;
            weights.tensors.insert(name, array);
        }
        if let Some(json) = header
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get(METADATA_KEY))
        {
            weights.metadata = serde_json::from_str(json)
                .map_err(|e| Error::checkpoint(format!("its metadata is damaged: {e}")))?;
            let stated = weights.metadata.remove(DIGEST_ENTRY);
            if stated != Some(weights.digest().into()) {
                return Err(Error::checkpoint(
                    "its tensors do not match their digest: the file is damaged",
                ));
            }
        }
        Ok(weights)
    }
}

fn cannot_write(path: &Path, e: safetensors::SafeTensorError) -> Error {
    Error::input(format!("cannot write {}: {e}", path.display()))
}

/// A tensor as safetensors holds it: reals in single precision, indices as u32; little-endian.
fn tensor_bytes(array: &Array) -> (Dtype, Vec<u8>) {
    match array.numbers() {
        Numbers::U32(values) => (
            Dtype::U32,
            values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ),
        _ => (
            Dtype::F32,
            array
                .to_f32()
                .iter()
                .flat_map(|x| x.to_le_bytes())
                .collect(),
        ),
    }
}

fn from_view(view: &TensorView<'_>) -> Result<Array> {
    let shape = Shape::new(view.shape()).map_err(|e| Error::checkpoint(e.to_string()))?;
    let data = view.data();
    let numbers: Numbers = match view.dtype() {
        Dtype::F32 => words(data, f32::from_le_bytes).collect::<Vec<_>>().into(),
        Dtype::F64 => words(data, f64::from_le_bytes).collect::<Vec<_>>().into(),
        Dtype::U32 => words(data, u32::from_le_bytes).collect::<Vec<_>>().into(),
        Dtype::I32 => index(words(data, i32::from_le_bytes).map(i64::from))?,
        Dtype::I64 => index(words(data, i64::from_le_bytes))?,
        other => {
            return Err(Error::checkpoint(format!(
                "elements of type {other:?} are not supported (F32, F64, U32, I32, I64 are)"
            )));
        }
    };
    Array::new(shape, numbers).map_err(|e| Error::checkpoint(e.to_string()))
}

fn words<const N: usize, T>(data: &[u8], read: fn([u8; N]) -> T) -> impl Iterator<Item = T> {
    data.as_chunks::<N>().0.iter().map(move |&word| read(word))
}

fn index(values: impl Iterator<Item = i64>) -> Result<Numbers> {
    let convert =
        |x: i64| u32::try_from(x).map_err(|_| Error::checkpoint(format!("{x} is not an index")));
    Ok(values.map(convert).collect::<Result<Vec<u32>>>()?.into())
}

/// That an array holds what is asked for: used where a file's tensors are a program's input.
impl Weights {
    /// The tensor of this name and element type.
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
