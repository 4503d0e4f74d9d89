//! The old format of `torch.save`: a magic number, the version, the writer's machine, the pickled object, the keys of its
//! storages, each a pickle; then for each key the number of elements and the elements.
//!
//! Reference: `_legacy_save` in `torch/serialization.py`.

use super::pickle::{Budget, Object, Pickle, Storage, Value};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::ops::Range;

/// The version that has been written since 2016.
const VERSION: Value = Value::Int(1001);
/// The magic number 0x1950A86A20F9469CFC6C is longer than a word; as a pickle it looks like this, behind its first two bytes
/// and perhaps a frame.
const MAGIC: [u8; 13] = [
    0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, b'.',
];

/// The pickled object, and where the bytes behind it begin.
pub(super) fn object<'a>(bytes: &'a [u8], budget: &mut Budget) -> Result<(Pickle<'a>, usize)> {
    let magic = Pickle::read(bytes, budget)?;
    let mut at = magic.length;
    if !bytes[..at].ends_with(&MAGIC) {
        return Err(Error::checkpoint(
            "it is a pickle, but not one that torch.save wrote",
        ));
    }
    let mut next = |at: &mut usize| -> Result<Pickle<'a>> {
        let pickle = Pickle::read(&bytes[*at..], budget)?;
        *at += pickle.length;
        Ok(pickle)
    };
    let version = next(&mut at)?.root;
    if version != VERSION {
        return Err(Error::checkpoint(
            "it is of another version of PyTorch's old format than 1001",
        ));
    }
    let machine = next(&mut at)?;
    if !is_little_endian(&machine) {
        return Err(Error::checkpoint(
            "it was not written on a little-endian machine",
        ));
    }
    let object = next(&mut at)?;
    Ok((object, at))
}

fn is_little_endian(machine: &Pickle) -> bool {
    let is_it = |(key, value): &(Value, Value)| match *key {
        Value::Text(from, to) => {
            machine.text((from, to)) == "little_endian" && *value == Value::Bool(true)
        }
        _ => false,
    };
    match machine.object(machine.root) {
        Some(Object::Dict(pairs)) => pairs.iter().any(is_it),
        _ => false,
    }
}

/// Where each of the object's storages lies.
pub(super) fn storages<'a>(
    bytes: &'a [u8],
    mut at: usize,
    known: &HashMap<&'a str, Storage>,
    budget: &mut Budget,
) -> Result<HashMap<&'a str, Range<usize>>> {
    let keys = Pickle::read(&bytes[at..], budget)?;
    at += keys.length;
    let Some(Object::List(list)) = keys.object(keys.root) else {
        return Err(Error::checkpoint("its list of storages is missing"));
    };
    let mut places = HashMap::new();
    for key in list {
        let key = match *key {
            Value::Text(from, to) => keys.text((from, to)),
            _ => "",
        };
        let wrong = |what: &str| Error::checkpoint(format!("its storage {key:?} {what}"));
        let storage = known
            .get(key)
            .ok_or_else(|| wrong("belongs to no tensor"))?;
        let stated = bytes[at..].first_chunk();
        let stated = stated.ok_or_else(|| wrong("is cut off"))?;
        if u64::from_le_bytes(*stated) != storage.count {
            return Err(wrong("has another length than its tensors say"));
        }
        let length = super::state_dict::storage_bytes(storage);
        let from = at + stated.len();
        let end = length.and_then(|length| from.checked_add(length));
        let end = end
            .filter(|&end| end <= bytes.len())
            .ok_or_else(|| wrong("is cut off"))?;
        if places.insert(key, from..end).is_some() {
            return Err(wrong("is there twice"));
        }
        at = end;
    }
    match at == bytes.len() {
        true => Ok(places),
        false => Err(Error::checkpoint(format!(
            "its last {} bytes belong to no storage",
            bytes.len() - at
        ))),
    }
}
