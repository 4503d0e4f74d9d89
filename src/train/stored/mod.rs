//! Weight files as they lie on the disk, of any origin: safetensors, and what `torch.save` writes, in its present and its old
//! format. Nothing in a file is ever executed, and none makes the program ask for more memory than a few times its size.
//!
//! The file is told by its first bytes, not by its name. What is read are tensors with the types and the nesting that they
//! have in the file; which of them a network takes is decided in [`fit`](super::fit).

mod dtype;
mod legacy;
mod pickle;
mod safetensors;
mod state_dict;
mod zip;

pub use dtype::Dtype;

use crate::array::Array;
use crate::error::{Error, Result};
use crate::shape::Shape;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

/// How a file is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// <https://github.com/huggingface/safetensors>
    Safetensors,
    /// `torch.save` since version 1.6: a pickle and raw numbers in a zip archive.
    Torch,
    /// `torch.save` before, and with `_use_new_zipfile_serialization=False`: pickles and raw numbers in a row.
    TorchLegacy,
}

impl Format {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Format::Safetensors => "safetensors",
            Format::Torch => "PyTorch (zip)",
            Format::TorchLegacy => "PyTorch (before 1.6)",
        }
    }
}

/// A file's tensors, with everything that is known of them before anything is chosen or changed.
#[derive(Debug)]
pub struct WeightFile {
    /// How the file is made.
    pub format: Format,
    /// The tensors, in the order of the file.
    pub tensors: Vec<StoredTensor>,
    /// What else lies in a pickle's dictionaries: where, and what it is.
    pub others: Vec<(String, String)>,
    /// The texts of a safetensors file.
    pub metadata: BTreeMap<String, String>,
    /// What the tensors' ranges refer to.
    data: Vec<u8>,
}

/// A tensor as a file holds it.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    /// The names of the dictionaries that it lies in, with dots between them; empty at the top, and in safetensors always.
    pub entry: String,
    /// Its name in the innermost dictionary.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// The lengths of its axes.
    pub shape: Vec<usize>,
    /// Its storage in the file's data.
    bytes: Range<usize>,
    layout: Layout,
}

/// How a tensor's elements lie in its storage.
#[derive(Clone, Debug)]
enum Layout {
    /// Row by row, and nothing else.
    Rows,
    /// From `offset` elements on, with so many elements between neighbours along each axis; checked when read.
    Strided { offset: usize, strides: Vec<usize> },
}

impl StoredTensor {
    /// How many elements it has.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The entry and the name, as one path.
    pub fn path(&self) -> String {
        match self.entry.is_empty() {
            true => self.name.clone(),
            false => format!("{}.{}", self.entry, self.name),
        }
    }
}

impl WeightFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is damaged, is of no known format, or holds what tensors do not need; the error names it.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = |e: std::io::Error| Error::input(format!("the file cannot be read: {e}"));
        let content = || -> Result<Self> {
            // Asked before opening, because opening a pipe waits for its writer.
            let metadata = path.metadata().map_err(failed)?;
            if !metadata.is_file() {
                return Err(Error::input("this is not a file"));
            }
            Self::from_reader(File::open(path).map_err(failed)?, metadata.len())
        };
        content().map_err(|e| e.clipped(LONGEST).within(path.display()))
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Self::from_reader(bytes, bytes.len() as u64).map_err(|e| e.clipped(LONGEST))
    }

    fn from_reader(mut file: impl Read, length: u64) -> Result<Self> {
        let head = take(&mut file, length.min(HEAD))?;
        let format = format(&head);
        let mut whole = head.as_slice().chain(file);
        if format == Format::Safetensors {
            let (tensors, metadata, data) = safetensors::read(whole, length)?;
            return Ok(Self {
                format,
                tensors,
                others: Vec::new(),
                metadata,
                data,
            });
        }
        let data = take(&mut whole, length)?;
        let (tensors, others) = match format {
            Format::Torch => state_dict::read_zip(&data)?,
            _ => state_dict::read_legacy(&data)?,
        };
        Ok(Self {
            format,
            tensors,
            others,
            metadata: BTreeMap::new(),
            data,
        })
    }

    /// The numbers of one of the file's tensors.
    ///
    /// # Errors
    /// Its type is not read, it has too many axes or elements, or an integer is no index.
    pub fn array(&self, tensor: &StoredTensor) -> Result<Array> {
        let wrong = |e: Error| Error::checkpoint(format!("its tensor {:?}: {e}", tensor.path()));
        let shape = Shape::new(&tensor.shape).map_err(wrong)?;
        let bytes = self.data.get(tensor.bytes.clone()).unwrap_or_default();
        let rows = match &tensor.layout {
            Layout::Rows => Cow::Borrowed(bytes),
            Layout::Strided { offset, strides } => {
                let size = tensor.dtype.bytes(1).unwrap_or(1) as usize;
                gather(bytes, size, *offset, &tensor.shape, strides)
            }
        };
        let numbers = tensor.dtype.numbers(&rows).map_err(wrong)?;
        Array::new(shape, numbers).map_err(wrong)
    }
}

/// Exactly `length` bytes.
fn take(file: &mut impl Read, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let room = usize::try_from(length)
        .ok()
        .map(|n| bytes.try_reserve_exact(n));
    if !matches!(room, Some(Ok(()))) {
        return Err(Error::checkpoint(format!(
            "{length} bytes do not fit into the memory"
        )));
    }
    let failed = |e: std::io::Error| Error::input(format!("the file cannot be read: {e}"));
    file.take(length).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 == length {
        return Ok(bytes);
    }
    Err(Error::checkpoint("it became shorter while it was read"))
}

/// No sentence about a file is longer, whatever names it holds.
const LONGEST: usize = 400;

/// As many bytes as tell the format.
const HEAD: u64 = 16;

/// The format of a file that begins so. What is none of PyTorch's is read as safetensors, which says what is wrong.
fn format(head: &[u8]) -> Format {
    match head {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Format::Torch,
        // The length of a header can begin like a pickle, but is followed by the header.
        [_, _, _, _, 0, 0, 0, 0, b'{', ..] => Format::Safetensors,
        [0x80, 2..=5, 0x8A | 0x95, ..] => Format::TorchLegacy,
        _ => Format::Safetensors,
    }
}

/// The elements of a view, row by row. The view lies within its storage.
fn gather<'a>(
    bytes: &'a [u8],
    size: usize,
    offset: usize,
    shape: &[usize],
    strides: &[usize],
) -> Cow<'a, [u8]> {
    let elements: usize = shape.iter().product();
    if elements == 0 {
        return Cow::Borrowed(&[]);
    }
    let mut expected = 1;
    let is_rows = shape.iter().zip(strides).rev().all(|(&length, &stride)| {
        let fits = length == 1 || stride == expected;
        expected *= length;
        fits
    });
    if is_rows {
        let first = (offset * size).min(bytes.len());
        let end = (first + elements * size).min(bytes.len());
        return Cow::Borrowed(&bytes[first..end]);
    }
    let mut rows = Vec::with_capacity(elements * size);
    let mut index = vec![0; shape.len()];
    let mut at = offset;
    for _ in 0..elements {
        rows.extend(bytes.get(at * size..(at + 1) * size).unwrap_or_default());
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    Cow::Owned(rows)
}
