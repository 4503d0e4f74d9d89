//! The safetensors container, read strictly: files may come from strangers.
//!
//! Eight bytes give the header's length, the header is JSON, and the tensors' bytes follow without gaps. The header is
//! held against the file's length before anything else is read, so that no file can ask for more memory than it has bytes.
//! Unlike the library that writes them, this reader refuses names that come twice, and says which tensor is wrong.
//!
//! Reference: <https://github.com/huggingface/safetensors>, section "Format".

use super::{Dtype, Layout, StoredTensor, take};
use crate::error::{Error, Result};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;

/// A header of so many bytes describes a hundred thousand tensors.
const MAX_HEADER_BYTES: u64 = 16 << 20;
/// Bytes of the header's length.
const PREFIX: u64 = 8;
/// The one member of the header that is no tensor.
const METADATA: &str = "__metadata__";

/// What a header tells: the tensors in the order of their bytes, and the metadata.
pub(super) type Content = (Vec<StoredTensor>, BTreeMap<String, String>);

/// Reads the header of a file of `length` bytes.
pub(super) fn read(mut file: impl Read, length: u64) -> Result<Content> {
    let head = take(&mut file, PREFIX.min(length))?;
    let stated = match head.first_chunk::<8>() {
        Some(&bytes) => u64::from_le_bytes(bytes),
        None => return Err(damaged(format!("it ends after {length} bytes"))),
    };
    if stated > MAX_HEADER_BYTES {
        return Err(damaged(format!(
            "its first bytes state a header of {stated} bytes, more than {} MiB",
            MAX_HEADER_BYTES >> 20
        )));
    }
    let Some(rest) = length.checked_sub(PREFIX + stated) else {
        return Err(damaged(format!(
            "it ends after {length} bytes, in the middle of its header of {stated} bytes"
        )));
    };
    let header = take(&mut file, stated)?;
    let Header { tensors, metadata } = parse(&header)?;
    Ok((entries(tensors, PREFIX + stated, rest)?, metadata))
}

fn damaged(what: impl Into<String>) -> Error {
    Error::checkpoint(what)
}

fn parse(header: &[u8]) -> Result<Header> {
    let text = std::str::from_utf8(header).map_err(|e| {
        let at = PREFIX as usize + e.valid_up_to();
        damaged(format!("its header is no UTF-8 text at byte {at}"))
    })?;
    if !text.starts_with('{') {
        return Err(damaged(format!(
            "its header does not begin at byte {PREFIX}"
        )));
    }
    serde_json::from_str(text).map_err(|e| damaged(format!("its header is damaged: {e}")))
}

/// The tensors in the order of their bytes, of which there are `length` behind the first `start` of the file: each begins
/// where the one before ends, the last ends with the file.
fn entries(mut tensors: Vec<(String, Info)>, start: u64, length: u64) -> Result<Vec<StoredTensor>> {
    tensors.sort_by(|(a, x), (b, y)| (x.data_offsets, a).cmp(&(y.data_offsets, b)));
    let mut end = 0;
    let mut entries = Vec::with_capacity(tensors.len());
    for (name, info) in tensors {
        let wrong = |what: String| damaged(format!("its tensor {name:?} {what}"));
        let (from, to) = info.data_offsets;
        if from < end {
            return Err(wrong(format!(
                "begins at {from}, inside the one before, which ends at {end}"
            )));
        }
        if from > end {
            return Err(wrong(format!(
                "begins at {from}; the bytes from {end} belong to no tensor"
            )));
        }
        if to < from || to > length {
            return Err(wrong(format!("has the bytes {from} to {to} of {length}")));
        }
        let Some(dtype) = Dtype::named(&info.dtype) else {
            let name = &info.dtype;
            return Err(wrong(format!("has elements of the unknown type {name:?}")));
        };
        let mut lengths = info.shape.iter();
        let elements = lengths.try_fold(1u64, |product, &n| product.checked_mul(n));
        if elements.and_then(|n| dtype.bytes(n)) != Some(to - from) {
            let (dtype, shape, has) = (&info.dtype, &info.shape, to - from);
            return Err(wrong(format!(
                "of {dtype} {shape:?} has {has} bytes, which does not fit"
            )));
        }
        end = to;
        // Every length is at most the file's, or the tensor is empty.
        let shape = info.shape.iter().map(|&n| usize::try_from(n).ok());
        let shape = shape.collect::<Option<Vec<usize>>>();
        entries.push(StoredTensor {
            entry: String::new(),
            shape: shape.ok_or_else(|| wrong("is too long".to_string()))?,
            bytes: (start + from) as usize..(start + to) as usize,
            layout: Layout::Rows,
            dtype,
            name,
        });
    }
    if end < length {
        return Err(damaged(format!(
            "its last {} bytes belong to no tensor",
            length - end
        )));
    }
    Ok(entries)
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Info {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

struct Header {
    tensors: Vec<(String, Info)>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

/// Reads the members one by one, because a map would keep the last of two with the same name.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
        let mut names = BTreeSet::new();
        let mut header = Header {
            tensors: Vec::new(),
            metadata: BTreeMap::new(),
        };
        while let Some(name) = map.next_key::<String>()? {
            let within = |e: A::Error| A::Error::custom(format!("{name:?}: {e}"));
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("{name:?} is there twice")));
            }
            if name == METADATA {
                header.metadata = map.next_value::<Texts>().map_err(within)?.0;
            } else {
                let info = map.next_value().map_err(within)?;
                header.tensors.push((name, info));
            }
        }
        Ok(header)
    }
}

/// Texts by name, each name once.
struct Texts(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Texts, A::Error> {
        let mut texts = BTreeMap::new();
        while let Some((name, text)) = map.next_entry::<String, String>()? {
            if texts.contains_key(&name) {
                return Err(A::Error::custom(format!("{name:?} is there twice")));
            }
            texts.insert(name, text);
        }
        Ok(Texts(texts))
    }
}
