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

use crate::array::{Array, Numbers};
use crate::error::{Error, Result};
use crate::shape::Shape;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

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
    data: Data,
}

/// What the tensors' ranges refer to.
#[derive(Debug)]
enum Data {
    /// All of its bytes.
    Memory(Vec<u8>),
    /// The file, from which a tensor is read when it is asked for: its bytes go straight into its numbers.
    File(Mutex<File>),
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
    /// Its storage in the file.
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

    /// Numbers as its are, but none of them.
    ///
    /// # Errors
    /// Its type is not read.
    pub(super) fn no_numbers(&self) -> Result<Numbers> {
        let none = self.dtype.numbers(0, &mut std::io::empty());
        none.map_err(|e| self.wrong(&e))
    }

    fn wrong(&self, e: &Error) -> Error {
        Error::checkpoint(format!("its tensor {:?}: {e}", self.path()))
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
    /// Reads a file. Of safetensors this is the header: the numbers are read by [`array`](Self::array).
    ///
    /// # Errors
    /// It cannot be read, is damaged, is of no known format, or holds what tensors do not need; the error names it.
    pub fn read(path: &Path) -> Result<Self> {
        let content = || -> Result<Self> {
            // Asked before opening, because opening a pipe waits for its writer.
            require_file(&path.metadata().map_err(unreadable)?)?;
            Self::open(File::open(path).map_err(unreadable)?)
        };
        content().map_err(|e| e.clipped(LONGEST).within(path.display()))
    }

    /// Reads an open file as [`read`](Self::read) does.
    ///
    /// # Errors
    /// As [`read`](Self::read), but that the error does not name it.
    pub fn open(mut file: File) -> Result<Self> {
        let metadata = file.metadata().map_err(unreadable)?;
        require_file(&metadata)?;
        let length = metadata.len();
        let head = take(&mut file, length.min(HEAD))?;
        let mut whole = head.as_slice().chain(&mut file);
        match format(&head) {
            Format::Safetensors => {
                let content = safetensors::read(whole, length)?;
                Ok(Self::safetensors(content, Data::File(Mutex::new(file))))
            }
            pickled => Self::pickled(pickled, take(&mut whole, length)?),
        }
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let content = || match format(bytes) {
            Format::Safetensors => {
                let content = safetensors::read(bytes, bytes.len() as u64)?;
                Ok(Self::safetensors(content, Data::Memory(bytes.to_vec())))
            }
            pickled => Self::pickled(pickled, bytes.to_vec()),
        };
        content().map_err(|e| e.clipped(LONGEST))
    }

    fn safetensors((tensors, metadata): safetensors::Content, data: Data) -> Self {
        Self {
            format: Format::Safetensors,
            tensors,
            others: Vec::new(),
            metadata,
            data,
        }
    }

    fn pickled(format: Format, bytes: Vec<u8>) -> Result<Self> {
        let (tensors, others) = match format {
            Format::Torch => state_dict::read_zip(&bytes)?,
            _ => state_dict::read_legacy(&bytes)?,
        };
        Ok(Self {
            format,
            tensors,
            others,
            metadata: BTreeMap::new(),
            data: Data::Memory(bytes),
        })
    }

    /// The numbers of one of the file's tensors.
    ///
    /// # Errors
    /// Its type is not read, it has too many axes or elements, an integer is no index, or the file cannot be read.
    pub fn array(&self, tensor: &StoredTensor) -> Result<Array> {
        let array = || Array::new(Shape::new(&tensor.shape)?, self.numbers(tensor)?);
        array().map_err(|e| tensor.wrong(&e))
    }

    fn numbers(&self, tensor: &StoredTensor) -> Result<Numbers> {
        let StoredTensor { bytes, dtype, .. } = tensor;
        let own = match &self.data {
            Data::Memory(all) => all.get(bytes.clone()).unwrap_or_default(),
            Data::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let begin = SeekFrom::Start(bytes.start as u64);
                file.seek(begin).map_err(unreadable)?;
                return dtype.numbers(bytes.len(), &mut *file);
            }
        };
        let rows = match &tensor.layout {
            Layout::Rows => Cow::Borrowed(own),
            Layout::Strided { offset, strides } => {
                let size = dtype.bytes(1).unwrap_or(1) as usize;
                gather(own, size, *offset, &tensor.shape, strides)
            }
        };
        dtype.numbers(rows.len(), &mut &*rows)
    }
}

fn require_file(metadata: &Metadata) -> Result<()> {
    match metadata.is_file() {
        true => Ok(()),
        false => Err(Error::input("this is not a file")),
    }
}

fn unreadable(e: std::io::Error) -> Error {
    match e.kind() {
        ErrorKind::UnexpectedEof => Error::checkpoint("it became shorter while it was read"),
        _ => Error::input(format!("the file cannot be read: {e}")),
    }
}

/// Room for so many items.
fn room<T>(count: usize) -> Result<Vec<T>> {
    let mut items = Vec::new();
    items.try_reserve_exact(count).map_err(|_| {
        let bytes = count.saturating_mul(size_of::<T>());
        Error::checkpoint(format!("{bytes} bytes do not fit into the memory"))
    })?;
    Ok(items)
}

/// Exactly `length` bytes.
fn take(file: &mut impl Read, length: u64) -> Result<Vec<u8>> {
    let mut bytes = room(usize::try_from(length).unwrap_or(usize::MAX))?;
    file.take(length)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    match bytes.len() as u64 == length {
        true => Ok(bytes),
        false => Err(unreadable(ErrorKind::UnexpectedEof.into())),
    }
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
